//! A directory of a test's own.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Under the system's directory for such things; gone when dropped. Tests of one process have one each, whatever they
/// are called: `cargo test` runs them side by side.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one, with a name that tells whose it is.
    pub(crate) fn new(test: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = format!("pairbeat-{}-{count}-{test}", std::process::id());
        let path = std::env::temp_dir().join(own);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A program there, executable.
    ///
    /// It is written by another process: a child forked by another test meanwhile would hold our
    /// descriptor open for writing, and the program could not be executed (ETXTBSY).
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        let (source, program) = (self.join(format!("{name}.text")), self.join(name));
        std::fs::write(&source, text).unwrap();
        let mut install = std::process::Command::new("install");
        assert!(install.args(["-m", "755"]).args([&source, &program]).status().unwrap().success());
        program
    }

    /// What is in a file there; nothing when there is none.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.join(file)).unwrap_or_default()
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
