//! One configuration file as text, read through the [`Environment`].
//!
//! Knows bytes, encodings and sizes; no format. Neighbours: `diag` points into the text.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::Environment;
use crate::config::diag::{Diagnostic, Excerpts, Faults, Mark, Span};

/// Longest configuration file, in bytes. The largest production file known to us has 480 virtual
/// services in some 200 kB.
pub const FILE_LEN_MAX: usize = 4 << 20;

/// The text of one file. Wiped when dropped, for some hold secrets.
#[derive(Debug)]
pub struct Source {
    /// As it is shown.
    pub file: PathBuf,
    /// Its text; what is not UTF-8 is replaced (U+FFFD), a byte order mark is gone.
    pub text: Zeroizing<String>,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Permission bits.
    pub mode: u32,
    /// Where the text stops to be UTF-8.
    pub not_utf8: Option<usize>,
    /// It began with a byte order mark.
    pub marked: bool,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// A fault that says why it can't be read, or that it is too long.
    pub fn open(file: &Path, environment: &dyn Environment) -> Result<Self, Box<Diagnostic>> {
        match environment.read(file) {
            Ok(found) => Self::decode(file, &Zeroizing::new(found.bytes), found.mode),
            Err(error) => Err(Mark::file(file).fault(format!("cannot read: {error}")).into()),
        }
    }

    /// A text that is there already; for tests.
    pub fn literal(file: &str, text: &str) -> Self {
        let digest = Sha256::digest(text).into();
        let text = Zeroizing::new(text.to_owned());
        Self { file: PathBuf::from(file), text, digest, mode: 0o600, not_utf8: None, marked: false }
    }

    fn decode(file: &Path, bytes: &[u8], mode: u32) -> Result<Self, Box<Diagnostic>> {
        if bytes.len() > FILE_LEN_MAX {
            let limit = FILE_LEN_MAX >> 20;
            return Err(Mark::file(file).fault(format!("longer than {limit} MiB")).into());
        }
        let body = bytes.strip_prefix("\u{feff}".as_bytes());
        let marked = body.is_some();
        let body = body.unwrap_or(bytes);
        let not_utf8 = std::str::from_utf8(body).err().map(|error| error.valid_up_to());
        let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
        let digest = Sha256::digest(bytes).into();
        Ok(Self { file: file.to_owned(), text, digest, mode, not_utf8, marked })
    }

    /// An empty list of faults of this file.
    pub fn faults(&self, excerpts: Excerpts) -> Faults<'_> {
        Faults::new(&self.file, &self.text, excerpts)
    }

    /// The same, with a warning for everything about the encoding that Heartbeat and ldirectord
    /// would stumble over.
    pub fn legacy_faults(&self, excerpts: Excerpts) -> Faults<'_> {
        let mut faults = self.faults(excerpts);
        if self.marked {
            faults.warn(Span::FILE, "begins with a byte order mark, which is ignored");
        }
        if self.text.contains("\r\n") {
            faults.warn(Span::FILE, "has the line ends of Windows (CRLF), which are accepted");
        }
        if let Some(at) = self.not_utf8 {
            faults.warn(at..at + 1, "not UTF-8 from here on; other bytes are read as U+FFFD");
        }
        faults
    }
}
