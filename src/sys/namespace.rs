//! For tests only: a network of one's own, for one thread and the threads and processes it starts.

use std::process::Command;

use rustix::thread::UnshareFlags;

/// Runs a test in a new network namespace, with `lo` up. Where that is not allowed it prints
/// SKIP, and fails when PAIRBEAT_REQUIRE_ALL=1.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let result = std::thread::spawn(|| match enter() {
        Ok(()) => test(),
        Err(error) => {
            let required = std::env::var_os("PAIRBEAT_REQUIRE_ALL").is_some_and(|it| it == "1");
            assert!(!required, "no network namespace: {error}");
            println!("SKIP no network namespace: {error}");
        }
    });
    if let Err(panic) = result.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Puts the calling thread into a new network namespace, with `lo` up.
pub(crate) fn enter() -> std::io::Result<()> {
    #[expect(deprecated, reason = "the safe function; a network namespace shares no descriptors")]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    ip("link set lo up");
    Ok(())
}

/// `ip(8)` with these words.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}
