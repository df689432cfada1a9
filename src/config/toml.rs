//! `pairbeat.toml`: the native format.

use std::path::Path;

use crate::config::Environment;
use crate::config::check::Draft;
use crate::config::diag::Diagnostic;
use crate::config::source::Source;

/// Reads the file and the key file that it names.
pub(super) fn read(
    path: &Path,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Draft> {
    if let Err(fault) = Source::open(path, environment) {
        found.push(*fault);
    }
    None
}
