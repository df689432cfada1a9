//! Programs that are told what becomes of a virtual service. When they are told what is
//! `lvs::director`'s; how a program is run, the daemon's.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::lvs::mail::{Line, Mail};
use crate::lvs::model::ServiceKey;
use crate::lvs::program::ProgramEnd;

/// What a shell would take for more than a word. Without any of these a command line is words with
/// blanks between them, and needs no shell (as with Perl's `system`, which ldirectord uses).
const SHELL: &[char] = &[
    '$', '&', '*', '(', ')', '{', '}', '[', ']', '\'', '"', ';', '\\', '|', '?', '<', '>', '~',
    '`', '\n',
];

/// Who is told of a virtual service, and by which name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// What people call it (`servicename`); in the status and in mails.
    pub name: Option<Line>,
    /// What there is to know of it (`comment`); in the status and in mails.
    pub comment: Option<Line>,
    /// Who gets mails about it (`emailalert`).
    pub mail: Option<Mail>,
    /// Gets a line for each of its checks (`monitorfile`).
    pub monitor: Option<PathBuf>,
    /// Told when the sorry server's time begins and when it ends (`fallbackcommand`).
    pub fallback_command: Option<Program>,
    /// Run when the primary pool has its quorum (keepalived's `quorum_up`).
    pub quorum_up: Option<Program>,
    /// Run when it has lost it, and when a director that has run the other one ends.
    pub quorum_down: Option<Program>,
}

impl Notify {
    /// These, and where something is not said, what is said farther out.
    #[must_use]
    pub fn or(self, farther: &Self) -> Self {
        Self {
            fallback_command: self.fallback_command.or_else(|| farther.fallback_command.clone()),
            quorum_up: self.quorum_up.or_else(|| farther.quorum_up.clone()),
            quorum_down: self.quorum_down.or_else(|| farther.quorum_down.clone()),
            ..self
        }
    }
}

/// A program with its first arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// The executable: a path, or a name that is looked up in `PATH`.
    pub program: String,
    /// Its first arguments.
    pub args: Vec<String>,
}

impl Program {
    /// A command line. Where it needs a shell it gets one, and what is added later is added to the
    /// end of the line. `None` where nothing stands there.
    pub fn of_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let mut words = line.split_whitespace().map(str::to_owned);
        if line.contains(SHELL) {
            let script = format!("{line} \"$@\"");
            let args = vec!["-c".to_owned(), script, "sh".to_owned()];
            return Some(Self { program: "/bin/sh".to_owned(), args });
        }
        Some(Self { program: words.next()?, args: words.collect() })
    }

    /// The same with more arguments.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = String>) -> Self {
        let args = self.args.iter().cloned().chain(more).collect();
        Self { program: self.program.clone(), args }
    }
}

/// As it would be typed, for logs.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// What ldirectord tells a `fallbackcommand` of a service: `VIP:PORT PROTOCOL`. Of a mark it tells
/// nothing; here that is `MARK:0 fwm`.
pub fn told_of(service: &ServiceKey) -> [String; 2] {
    let place = match service {
        ServiceKey::Address { .. } => service.to_string(),
        ServiceKey::Mark { mark, .. } => format!("{mark}:0"),
    };
    [place, service.protocol().to_owned()]
}

/// Why a program that was to be told something did not do its part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunFailure {
    /// It could not be run.
    NotRun(String),
    /// It ended so.
    Ended {
        /// How.
        end: ProgramEnd,
        /// The last line that it printed, at most 80 characters.
        said: String,
    },
    /// Nothing was heard of it for longer than its limit.
    Unanswered,
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(why) => f.write_str(why),
            Self::Ended { end, said } if said.is_empty() => write!(f, "{end}"),
            Self::Ended { end, said } => write!(f, "{end}: {said}"),
            Self::Unanswered => f.write_str("nothing was heard of it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_a_shell_only_where_it_needs_one() {
        for (line, words) in [
            ("/usr/local/bin/sorry", &["/usr/local/bin/sorry"][..]),
            ("  notify  -p 3 ", &["notify", "-p", "3"]),
            ("cd /srv && ./sorry", &["/bin/sh", "-c", "cd /srv && ./sorry \"$@\"", "sh"]),
            ("sorry --to 'a b'", &["/bin/sh", "-c", "sorry --to 'a b' \"$@\"", "sh"]),
        ] {
            let Program { program, args } = Program::of_line(line).unwrap();
            assert_eq!([vec![program], args].concat(), words, "{line}");
        }
        assert_eq!(Program::of_line(" \t"), None);
    }
}
