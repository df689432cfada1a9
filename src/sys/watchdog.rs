//! A hardware watchdog, or softdog: a device that restarts the machine when it is not fed
//! (Documentation/watchdog/watchdog-api.rst of the kernel).
//!
//! When to feed it is decided in `daemon::watchdog`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An open device: from now on it must be fed.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
}

impl Watchdog {
    /// Opens the device and asks for a timeout in seconds; the device may only know others, and a
    /// file that is no device (for tests) knows none.
    ///
    /// # Errors
    /// When it can't be opened: no driver, no permission, in use.
    pub fn open(path: &Path, timeout_s: u32) -> io::Result<Self> {
        let flags = libc::O_NONBLOCK | libc::O_APPEND;
        let device = File::options().write(true).custom_flags(flags).open(path)?;
        let _not_known = set_timeout(&device, timeout_s);
        Ok(Self { device })
    }

    /// Puts the restart off by another timeout.
    ///
    /// # Errors
    /// The system's.
    pub fn feed(&mut self) -> io::Result<()> {
        self.device.write_all(b"\0")
    }

    /// Switches it off by the magic character and closes it; one built with `nowayout` goes on.
    ///
    /// # Errors
    /// The system's.
    pub fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(b"V")
    }
}

/// `WDIOC_SETTIMEOUT` of linux/watchdog.h: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: u32 = 0xc004_5706;

#[expect(unsafe_code, reason = "ioctl(2) of watchdog devices has no safe wrapper here")]
fn set_timeout(device: &File, timeout_s: u32) -> io::Result<()> {
    let mut seconds = libc::c_int::try_from(timeout_s).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for the whole call, and the request reads and writes one int,
    // which `seconds` is. The request's type differs between libcs, its bits do not.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), SET_TIMEOUT as _, &raw mut seconds) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
