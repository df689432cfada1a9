//! What is JSON: the control socket, the status, the channels between our processes, the file of
//! owned services, the journal and recordings.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use pairbeat::cluster::recording::{Recorder, Recording};
use pairbeat::control::protocol::Call;
use pairbeat::daemon::channel::{self, Channel, ChannelError};
use pairbeat::daemon::checker::{FromChecker, ToChecker};
use pairbeat::daemon::messages::{FromCore, ToCore};
use pairbeat::journal::{self, Head};
use pairbeat::lvs::model::ServiceKey;
use pairbeat::outside::etcd::json as etcd;
use pairbeat::status::{Status, render};
use pairbeat::store::carried::Leaving;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

/// What fits into a socket that nobody reads yet.
const STREAM_MAX: usize = 64 * 1024;

/// A value that was read is the same after writing and reading.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).unwrap();
    assert_eq!(&serde_json::from_slice::<T>(&text).unwrap(), value);
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(bytes).ok()?;
    survives(&value);
    Some(value)
}

/// The first line is method and path, the rest the body.
pub(super) fn call(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head);
    let (method, path) = head.split_once(' ').unwrap_or((&head, ""));
    match Call::parse(method, path, body.get(1..).unwrap_or_default()) {
        Err(why) => {
            assert!(!why.is_empty());
            false
        }
        Ok(call) => {
            assert_eq!(call.route(), (method, path));
            assert_eq!(Call::parse(method, path, &call.body()), Ok(call));
            true
        }
    }
}

pub(super) fn status(bytes: &[u8]) -> bool {
    let status = read::<Status>(bytes);
    status.is_some_and(|status| !render(&status).is_empty())
}

/// As on the disk, and its first line as if its sum were right.
pub(super) fn carried(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(left) = Leaving::parse(&text) {
        assert_eq!(Leaving::parse(&left.to_text()).unwrap(), left);
    }
    let body = text.lines().next().unwrap_or_default();
    read::<Leaving>(body.as_bytes()).is_some_and(|left| {
        let read = Leaving::parse(&left.to_text());
        // Another version's is refused, and nothing else.
        read.is_ok_and(|read| read == left)
    })
}

pub(super) fn owned_services(bytes: &[u8]) -> bool {
    read::<BTreeSet<ServiceKey>>(bytes).is_some()
}

/// An answer of etcd, as each of the questions would take it.
pub(super) fn etcd_answer(bytes: &[u8]) -> bool {
    assert!(!etcd::refusal(500, bytes).to_string().contains('\n'));
    let found = etcd::range(bytes);
    if let Ok(Some(found)) = &found {
        assert!(!found.value.contains(char::is_control));
    }
    let taken = [
        found.is_ok(),
        etcd::grant(bytes).is_ok(),
        etcd::keep_alive(bytes).is_ok(),
        etcd::txn(bytes).is_ok(),
        etcd::token(bytes).is_ok(),
    ];
    taken.contains(&true)
}

/// The stream as each of the four ends of our channels would hear it.
pub(super) fn channel(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..STREAM_MAX).unwrap_or(bytes);
    let heard = [
        heard::<ToCore>(bytes),
        heard::<FromCore>(bytes),
        heard::<ToChecker>(bytes),
        heard::<FromChecker>(bytes),
    ];
    heard.iter().any(|messages| *messages > 0)
}

/// How many messages of this kind are in a stream.
fn heard<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> usize {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(bytes).unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let work = async {
        let mut channel = Channel::<(), T>::new(channel::from_fd(&far).unwrap());
        let mut messages = 0;
        loop {
            match channel.recv().await {
                Ok(Some(message)) => {
                    survives(&message);
                    messages += 1;
                }
                // One frame that can't be read does not spoil the next one.
                Err(ChannelError::Malformed(_)) => {}
                Ok(None) | Err(ChannelError::Truncated | ChannelError::Oversized(_)) => break,
                Err(other) => panic!("{other}: {other:?}"),
            }
        }
        messages
    };
    let new = || Builder::new_current_thread().enable_io().build().unwrap();
    RUNTIME.with(|runtime| runtime.get_or_init(new).block_on(work))
}

/// The first line as the head of a file, the others as records.
pub(super) fn journal(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut taken = false;
    for line in text.lines() {
        taken |= read::<Head>(line.as_bytes()).is_some();
        let Some(record) = journal::parse(line) else { continue };
        let shown = journal::shown(&record);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(journal::parse(journal::line(&record).trim_end()), Some(record));
        taken = true;
    }
    taken
}

/// The steps of a recording, behind the head of a core as it is now: the shape of a core changes
/// with the program, and a corpus should not.
pub(super) fn recording(bytes: &[u8]) -> bool {
    let mut text = Recorder::new(super::engine::core()).recording().to_text();
    text.push_str(&String::from_utf8_lossy(bytes));
    if let Err(error) = Recording::parse(&String::from_utf8_lossy(bytes)) {
        assert!(!error.to_string().is_empty());
    }
    let Ok(recording) = Recording::parse(&text) else { return false };
    let again = Recording::parse(&recording.to_text()).unwrap();
    assert_eq!(again.steps(), recording.steps());
    assert_eq!(again.replay().count(), recording.steps().len());
    true
}
