//! What this node remembers over the end of its core: an operator's freeze, and which groups it had.
//!
//! One small file in the state directory, replaced as a whole whenever that changes. It decides
//! nothing. A file that can't be read, or is of another node, is as good as none: the start goes
//! on, with a warning. A disk that is full or slow never holds up the core: writing is done on a
//! thread of its own. `cluster` says what follows from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::cluster::{Past, View};
use crate::daemon::Paths;
use crate::names::NodeName;
use crate::store;

/// Of the file's form.
const VERSION: u32 = 1;
/// Longest file that is read: 64 groups with the longest names are some 5 KiB.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    node: NodeName,
    past: Past,
}

/// The file, and what was last given to be written there.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    node: NodeName,
    past: Past,
    /// What is to be written; whoever writes takes the newest.
    newest: Arc<Mutex<Option<Form>>>,
}

impl Memory {
    /// What an earlier life left behind.
    pub(super) fn open(paths: &Paths) -> Self {
        let path = paths.memory_file();
        let past = match read(&path) {
            Ok(Some(form)) if form.version == VERSION && form.node == paths.node => form.past,
            Ok(Some(_)) => {
                warn!("{}: of another node or version, not used", path.display());
                Past::default()
            }
            Ok(None) => Past::default(),
            Err(error) => {
                warn!("{}: {error}; a freeze of before is not known", path.display());
                Past::default()
            }
        };
        Self { path, node: paths.node.clone(), past, newest: Arc::default() }
    }

    /// What is remembered.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Remembers what is to be seen now, where it is news.
    pub(super) fn note(&mut self, view: &View) {
        let here = view.groups.iter().filter(|group| group.was_here);
        let here = here.map(|group| group.name.clone()).collect();
        let past = Past { freeze: view.freeze, here };
        if past == self.past {
            return;
        }
        self.past = past.clone();
        let form = Form { version: VERSION, node: self.node.clone(), past };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(form);
        let (path, newest) = (self.path.clone(), Arc::clone(&self.newest));
        tokio::task::spawn_blocking(move || {
            // Held while writing: what is newer is written later.
            let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(form) = newest.take() else { return };
            if let Err(error) = write(&path, &form) {
                warn!("{}: {error}; a restart will not know of the freeze", path.display());
            }
        });
    }
}

fn read(path: &Path) -> io::Result<Option<Form>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let bounded = io::Read::take(file, FILE_LEN_MAX);
    Ok(Some(serde_json::from_reader(io::BufReader::new(bounded))?))
}

fn write(path: &Path, form: &Form) -> io::Result<()> {
    store::replace(path, &serde_json::to_vec(form)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::message::{Extent, Freeze};
    use crate::sys::scratch::Scratch;

    fn paths(place: &Scratch) -> Paths {
        Paths {
            config: PathBuf::new(),
            node: NodeName::new("alpha").unwrap(),
            runtime_dir: place.to_path_buf(),
            state_dir: place.to_path_buf(),
        }
    }

    #[test]
    fn what_was_written_is_known_again() {
        let place = Scratch::new("again");
        let paths = paths(&place);
        let freeze = Freeze { generation: 3, extent: Extent::All };
        let here = vec![crate::names::GroupName::new("web").unwrap()];
        let past = Past { freeze, here };
        let form = Form { version: VERSION, node: paths.node.clone(), past: past.clone() };
        write(&paths.memory_file(), &form).unwrap();
        assert_eq!(*Memory::open(&paths).past(), past);
    }

    #[test]
    fn a_file_that_is_cut_off_or_of_another_node_or_version_is_as_good_as_none() {
        let place = Scratch::new("bad");
        let paths = paths(&place);
        let past =
            Past { freeze: Freeze { generation: 1, extent: Extent::All }, ..Past::default() };
        let good = Form { version: VERSION, node: paths.node.clone(), past };
        let text = serde_json::to_string(&good).unwrap();
        let stranger = text.replace("alpha", "beta");
        let newer = text.replace("\"version\":1", "\"version\":2");
        let cut = text.split_at(text.len() / 2).0.to_owned();
        for bad in [stranger, newer, cut, String::new(), "[1]".to_owned()] {
            std::fs::write(paths.memory_file(), &bad).unwrap();
            assert_eq!(*Memory::open(&paths).past(), Past::default(), "{bad}");
        }
    }
}
