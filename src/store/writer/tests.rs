//! Nobody waits for the thread, whatever the disk does.

use std::sync::mpsc::Sender;
use tokio::time::Instant;

use super::*;

/// A disk that takes a line when it is allowed to.
struct Slow {
    allowed: Receiver<io::Result<()>>,
    taken: Sender<String>,
}

impl Disk for Slow {
    fn append(&mut self, line: &str) -> io::Result<()> {
        let allowed = self.allowed.recv().unwrap_or(Ok(()));
        let _ = self.taken.send(line.to_owned());
        allowed
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn record(&mut self, _: &str) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn strangers(&self) -> Vec<String> {
        vec!["x".to_owned()]
    }
}

fn slow() -> (Writer, Sender<io::Result<()>>, Receiver<String>) {
    let (allow, allowed) = mpsc::channel();
    let (take, taken) = mpsc::channel();
    (Writer::spawn(Slow { allowed, taken: take }).unwrap(), allow, taken)
}

const PATIENCE: Duration = Duration::from_secs(30);

fn stands(writer: &Writer, so: impl Fn(&Standing) -> bool) -> Standing {
    let begun = Instant::now();
    loop {
        let standing = writer.standing();
        if so(&standing) || begun.elapsed() > PATIENCE {
            return standing;
        }
        thread::yield_now();
    }
}

#[test]
fn a_disk_that_stands_still_costs_records_and_no_time() {
    let (mut writer, allow, taken) = slow();
    let begun = Instant::now();
    let extra = 10;
    for number in 0..QUEUE_MAX + BATCH_MAX + extra {
        writer.put(number.to_string(), true);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let standing = writer.standing();
    assert!(standing.dropped >= extra as u64, "{standing:?}");
    assert!(standing.error.unwrap().starts_with("the disk is slow"));
    // The close does not wait for it for ever either.
    let begun = Instant::now();
    writer.close();
    assert!(begun.elapsed() < PATIENCE);
    drop(allow);
    assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), "0");
}

#[test]
fn what_the_disk_refuses_is_counted_and_the_alarm_ends_with_the_next_record() {
    let (writer, allow, _taken) = slow();
    allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    writer.put("one".to_owned(), false);
    let standing = stands(&writer, |standing| standing.dropped == 1);
    assert_eq!(standing.error.as_deref(), Some("no storage space"));
    allow.send(Ok(())).unwrap();
    writer.put("two".to_owned(), false);
    let standing = stands(&writer, |standing| standing.written == 1);
    assert_eq!((standing.dropped, standing.error), (1, None));
    assert_eq!(standing.last_error.as_deref(), Some("no storage space"));
}

#[test]
fn an_orderly_end_writes_what_waits() {
    let (mut writer, allow, taken) = slow();
    drop(allow);
    for number in 0..100 {
        writer.put(number.to_string(), false);
    }
    writer.close();
    assert_eq!(taken.try_iter().count(), 100);
    assert_eq!(writer.standing().strangers, ["x"]);
}
