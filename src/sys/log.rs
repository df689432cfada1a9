//! The log: lines on standard error, where systemd and every other supervisor picks them up.

use tracing_subscriber::EnvFilter;

use crate::config::diag::{Diagnostic, Severity};

/// Environment variable that sets what is logged (`debug`, `pairbeat::daemon=trace`).
pub const FILTER: &str = "PAIRBEAT_LOG";

/// Starts logging; a second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    // Only a second call can fail.
    let _started_before = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(rustix::termios::isatty(std::io::stderr()))
        .with_target(false)
        .try_init();
}

/// A fault or warning of the configuration.
pub fn diagnostic(diagnostic: &Diagnostic) {
    let text = diagnostic.to_string();
    match diagnostic.severity {
        Severity::Fault => tracing::error!("{}", text.trim_end()),
        Severity::Warning => tracing::warn!("{}", text.trim_end()),
    }
}
