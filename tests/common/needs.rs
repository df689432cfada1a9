//! What a test can't run without. Where it is missing the test says SKIP, and fails where
//! everything is required.

/// Whether what is needed is there, as the caller has found.
///
/// # Panics
/// Where it is not, and `PAIRBEAT_REQUIRE_ALL=1`.
pub(crate) fn met(there: bool, what: &str) -> bool {
    if !there {
        eprintln!("SKIP needs {what}");
        assert!(
            std::env::var_os("PAIRBEAT_REQUIRE_ALL").is_none_or(|v| v != "1"),
            "skipped where PAIRBEAT_REQUIRE_ALL=1"
        );
    }
    there
}
