//! Keeps the book of what operators have ordered of real servers: on disk, and told to the peer
//! through the beat thread. What the orders mean is `lvs::overrides`'s.

use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::cluster::message::{Verdicts, Word};
use crate::daemon::beat::{Order, Orders};
use crate::lvs::follow;
use crate::lvs::overrides::{Book, Command, Entry, Full, Overrides, Target};
use crate::store;
use crate::sys::clock;
use crate::time::millis;

/// The book and where it goes.
pub(super) struct BookKeeper {
    book: Book,
    file: PathBuf,
    beat: Option<Orders>,
    /// The beat thread does not know the latest yet.
    untold: bool,
    /// Verdicts that it does not know yet.
    verdicts: Option<Verdicts>,
}

impl BookKeeper {
    /// The book as an earlier run left it; empty where there is no readable file.
    pub(super) fn open(file: PathBuf) -> Self {
        let mut book = Book::default();
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let entries: Vec<Entry> = text.lines().filter_map(entry).collect();
                book.merge(&entries);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => warn!("{}: {e}; orders about real servers are forgotten", file.display()),
        }
        Self { book, file, beat: None, untold: true, verdicts: None }
    }

    /// Whom to tell, for the peer; nobody where there is no cluster.
    pub(super) fn connect(&mut self, beat: Orders) {
        self.beat = Some(beat);
        self.untold = true;
    }

    /// The orders in force, in the time of this moment.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides::of(&self.book, clock::now(), clock::wall().as_secs())
    }

    /// Equal for equal orders in force; 0 for none.
    pub(super) fn digest(&self) -> u64 {
        self.book.digest()
    }

    /// Takes an order of this node's operator.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn order(&mut self, target: Target, command: Command) -> Result<(), Full> {
        self.order_all(&[(target, command)])
    }

    /// Takes several at once.
    ///
    /// # Errors
    /// [`Full`]: those before it are taken.
    pub(super) fn order_all(&mut self, orders: &[(Target, Command)]) -> Result<(), Full> {
        let now_ms = millis(clock::wall());
        let mut orders = orders.iter();
        let taken =
            orders.try_for_each(|(target, command)| self.book.order(*target, *command, now_ms));
        self.save();
        taken
    }

    /// Takes over what the peer's operator has ordered; what has changed by it.
    pub(super) fn merge(&mut self, words: Vec<Word>) -> Vec<String> {
        let before: Vec<_> = self.book.commands().collect();
        let entries: Vec<Entry> =
            words.into_iter().map(|Word { stamp, text }| Entry { stamp, text }).collect();
        if !self.book.merge(&entries) {
            return Vec::new();
        }
        self.save();
        let after: Vec<_> = self.book.commands().collect();
        let ended = before.iter().filter(|(old, _)| after.iter().all(|(new, _)| new != old));
        let ended = ended.map(|(target, _)| format!("enable {target}"));
        let new = after.iter().filter(|new| !before.contains(new));
        new.map(|(target, command)| format!("{command} {target}")).chain(ended).collect()
    }

    /// What a standby may go by from now on.
    pub(super) fn judge(&mut self, verdicts: follow::Verdicts) {
        let follow::Verdicts { list, first, states } = verdicts;
        self.verdicts = Some(Verdicts { list, first, states });
    }

    /// Tells the beat thread what it does not know yet; to be called again and again.
    pub(super) fn tell(&mut self) {
        let Some(beat) = &self.beat else { return };
        if let Some(verdicts) = self.verdicts.take()
            && beat.push(Order::Verdicts(verdicts.clone())).is_err()
        {
            self.verdicts = Some(verdicts);
        }
        if !self.untold {
            return;
        }
        let words = self.book.entries().map(|Entry { stamp, text }| Word { stamp, text });
        self.untold = beat.push(Order::Words(self.book.digest(), words.collect())).is_err();
    }

    fn save(&mut self) {
        self.untold = true;
        if let Err(e) = write(&self.file, &self.book) {
            warn!("{}: {e}; the order holds until this node restarts", self.file.display());
        }
    }
}

/// `STAMP TEXT`.
fn entry(line: &str) -> Option<Entry> {
    let (stamp, text) = line.split_once(' ')?;
    Some(Entry { stamp: stamp.parse().ok()?, text: text.to_owned() })
}

fn write(file: &Path, book: &Book) -> io::Result<()> {
    let lines = book.entries().map(|Entry { stamp, text }| format!("{stamp} {text}\n"));
    store::replace(file, lines.collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn the_book_survives_on_disk_and_broken_lines_cost_only_themselves() {
        let directory = Scratch::new("book");
        let file = directory.join("real-servers");
        let mut keeper = BookKeeper::open(file.clone());
        keeper.order("10.0.1.1".parse().unwrap(), Command::Disable).unwrap();
        keeper.order("10.0.1.2:80".parse().unwrap(), Command::Weight(3)).unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("garbage\n7 10.0.1.3 = drain\nx 10.0.1.4 = drain\n");
        std::fs::write(&file, text).unwrap();
        let read = BookKeeper::open(file);
        let said: Vec<_> = read.book.commands().map(|(t, c)| format!("{c} {t}")).collect();
        assert_eq!(said, ["disable 10.0.1.1", "weight 3 10.0.1.2:80", "drain 10.0.1.3"]);
    }

    #[test]
    fn what_the_peer_ordered_is_named_once() {
        let place = Scratch::new("peer");
        let file = place.join("real-servers");
        let mut keeper = BookKeeper::open(file.clone());
        let word = |stamp, text: &str| Word { stamp, text: text.to_owned() };
        let told = vec![word(5, "10.0.1.1 = drain"), word(6, "10.0.1.2 = weight 2")];
        assert_eq!(keeper.merge(told.clone()), ["drain 10.0.1.1", "weight 2 10.0.1.2"]);
        assert_eq!(keeper.merge(told), Vec::<String>::new());
        assert_eq!(keeper.merge(vec![word(7, "10.0.1.1 = nothing")]), ["enable 10.0.1.1"]);
    }
}
