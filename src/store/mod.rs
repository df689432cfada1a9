//! Files that outlive a process: the journal, written by a thread of its own, bounded in size and
//! number, and what a process that restarts leaves to the next ([`carried`]).
//!
//! ```text
//!  STATE_DIR/journal/events-00000007.jsonl      a head line, then one record a line
//!  STATE_DIR/journal/recording-00000003.jsonl   the core's inputs around a role change
//!  STATE_DIR/realserver.json                    what `realserver up` has changed ([`prepared`])
//!  STATE_DIR/kernel-settings.json               what a director has changed of the kernel's settings (the same)
//! ```
//!
//! What a record is stands in [`crate::journal`]; this module only carries lines. Nobody ever waits
//! for it: what a slow or full disk does not take is dropped and counted.

pub mod carried;
pub mod files;
pub mod prepared;
pub mod writer;

/// Replaces a file as a whole: a crash leaves the old one or the new one.
///
/// # Errors
/// The system's; then the old one is there.
pub fn replace(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, path)
}
