//! `logfile`, `debugfile`, `logfacility`, `debug`, `watchdog`, `realtime`, `rtprio`, `respawn`,
//! `failfast`, `env`.

use std::path::{Path, PathBuf};

use crate::config::diag::{Word, nearest};
use crate::config::ha_cf::Reader;
use crate::config::service::{
    ENV_MAX, Facility, NO_USER_HELP, PRIORITY_MAX, RESPAWNS_MAX, Respawn, no_user,
};

impl<'a> Reader<'a> {
    /// Whether the directive is one of this module; then it has been read.
    pub(super) fn service(&mut self, directive: Word<'a>, args: &[Word<'a>]) -> bool {
        match directive.text {
            "respawn" | "failfast" => self.respawn(directive, args),
            "env" => self.env(directive, args),
            "realtime" | "rtprio" | "debug" | "logfacility" | "logfile" | "debugfile"
            | "watchdog" => {
                if let Some(word) = self.one(directive, args) {
                    self.service_value(directive, word);
                }
            }
            _ => return false,
        }
        true
    }

    fn service_value(&mut self, directive: Word<'a>, word: Word<'a>) {
        match directive.text {
            "realtime" => {
                self.service.realtime = self.switch(word).unwrap_or(self.service.realtime);
            }
            "rtprio" => {
                let priority = self.number(word, 1, PRIORITY_MAX);
                self.service.priority = priority.unwrap_or(self.service.priority);
            }
            "debug" => {
                self.service.log.debug = self.number(word, 0, 255).unwrap_or_default();
            }
            "logfacility" => self.facility(word),
            "logfile" => self.service.log.file = self.absolute(word),
            "debugfile" => self.service.log.debug_file = self.absolute(word),
            _ => self.service.watchdog = self.absolute(word),
        }
    }

    fn number(&mut self, word: Word<'a>, low: u32, high: u32) -> Option<u8> {
        let number = word.text.parse::<u32>().ok().filter(|number| (low..=high).contains(number));
        if number.is_none() {
            let message = format!("`{}` is not a number of {low} to {high}", word.text);
            self.faults.fault(word.span(), message);
        }
        number.and_then(|number| u8::try_from(number).ok())
    }

    fn facility(&mut self, word: Word<'a>) {
        if word.text.eq_ignore_ascii_case("none") {
            self.service.log.facility = None;
            return;
        }
        self.service.log.facility = Facility::of(word.text);
        if self.service.log.facility.is_none() {
            let near = nearest(word.text, Facility::names());
            let message = format!("`{}` is no syslog facility", word.text);
            let fault = self.faults.fault(word.span(), message);
            match near {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault.help("`daemon`, `local0` to `local7`, or `none`"),
            }
        }
    }

    fn absolute(&mut self, word: Word<'a>) -> Option<PathBuf> {
        let path = Path::new(word.text);
        if !path.is_absolute() {
            let message = format!("`{}` is not an absolute path", word.text);
            self.faults.fault(word.span(), message);
            return None;
        }
        Some(path.to_owned())
    }

    /// `respawn USER PROGRAM ARGUMENTS`. Heartbeat's own programs talk to its API.
    fn respawn(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let [user, program, rest @ ..] = args else {
            let message = format!("`{}` needs a user and a program", directive.text);
            let help = format!("`{} nobody /usr/local/bin/watcher --all`", directive.text);
            self.faults.fault(directive.span(), message).help(help);
            return;
        };
        let Some(path) = self.absolute(*program) else { return };
        let name = path.file_name().and_then(|name| name.to_str());
        if name == Some("ipfail") {
            self.outside.ipfail = true;
            return;
        }
        if path.parent().is_some_and(|directory| directory.ends_with("heartbeat")) {
            let message = format!("`{}` speaks to Heartbeat, so it is not started", program.text);
            self.faults.warn(program.span(), message);
            return;
        }
        if !self.environment.executable(&path) {
            let message = format!("`{}` is not an executable file", program.text);
            self.faults.fault(program.span(), message);
            return;
        }
        if !self.environment.user(user.text) {
            self.faults.fault(user.span(), no_user(user.text)).help(NO_USER_HELP);
            return;
        }
        if self.service.respawn.len() >= RESPAWNS_MAX {
            let message = format!("over {RESPAWNS_MAX} programs to keep running");
            self.faults.fault(directive.span(), message);
            return;
        }
        self.service.respawn.push(Respawn {
            user: user.text.to_owned(),
            program: path,
            args: rest.iter().map(|word| word.text.to_owned()).collect(),
            vital: directive.text == "failfast",
        });
    }

    fn env(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        for word in args {
            let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
            match word.split_once("=") {
                Some((name, _)) if self.service.env.len() >= ENV_MAX => {
                    self.faults.fault(name.span(), format!("over {ENV_MAX} variables"));
                }
                Some((name, value)) if !name.text.is_empty() && name.text.chars().all(fit) => {
                    self.service.env.push((name.text.to_owned(), value.text.to_owned()));
                }
                _ => drop(self.faults.fault(word.span(), "not NAME=VALUE")),
            }
        }
        if args.is_empty() {
            self.faults.fault(directive.span(), "`env` has no value");
        }
    }
}
