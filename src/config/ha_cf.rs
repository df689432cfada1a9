//! `ha.cf`: nodes, timing and heartbeat links, as Heartbeat 3.0.6 reads it.
//!
//! Every directive of Heartbeat is known (`table`). Those that are not acted on yet are checked
//! and named in a warning, so that nobody believes in a link or a fence that is not there. What
//! holds across files is checked in `config::check`.

mod media;
mod outside;
mod service;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::cluster::Damping;
use crate::cluster::calm::SWITCHES_MAX;
use crate::config::damping::{self, Written};
use crate::config::diag::{Diagnostic, Excerpts, Faults, Mark, Span, Word, lines, nearest};
use crate::config::outside::Outside;
use crate::config::source::Source;
use crate::config::{AutoFailback, DraftLink, Environment, Family, Service, Timing, timing, value};
use crate::names::NodeName;
use media::Media;

/// What ha.cf says.
#[derive(Debug)]
pub struct HaCf {
    /// The nodes, in the order of the file, with their places.
    pub nodes: Vec<(NodeName, Mark)>,
    /// Heartbeat timing.
    pub timing: Timing,
    /// `auto_failback`.
    pub auto_failback: AutoFailback,
    /// `damping`.
    pub damping: Damping,
    /// `ucast` with one link per interface and family, `bcast`, `mcast`, `serial`.
    pub links: Vec<DraftLink>,
    /// Ping nodes and fencing.
    pub(super) outside: Outside,
    /// Log, watchdog, priority, programs.
    pub service: Service,
}

/// Reads the whole file; the value is only good when no fault is among the diagnostics.
pub fn read(source: &Source, environment: &dyn Environment) -> (HaCf, Vec<Diagnostic>) {
    let mut reader = Reader {
        faults: source.legacy_faults(Excerpts::Shown),
        environment,
        nodes: Vec::new(),
        written: timing::Written::default(),
        auto_failback: None,
        damping: Damping::default(),
        media: Media::default(),
        outside: Outside::default(),
        service: Service::default(),
    };
    for line in lines(&source.text) {
        let text = line.split_once("#").map_or(line, |(before, _)| before);
        let words = text.split(|c| c.is_whitespace() || c == ',');
        if let Some((directive, args)) = words.split_first() {
            reader.directive(*directive, args, text);
        }
    }
    reader.finish()
}

/// Which of the four times a directive sets.
#[derive(Clone, Copy)]
enum Time {
    Keepalive,
    Warntime,
    Deadtime,
    Initdead,
}

struct Reader<'a> {
    faults: Faults<'a>,
    environment: &'a dyn Environment,
    nodes: Vec<(NodeName, Mark)>,
    written: timing::Written,
    auto_failback: Option<AutoFailback>,
    damping: Damping,
    media: Media<'a>,
    outside: Outside,
    service: Service,
}

impl<'a> Reader<'a> {
    fn directive(&mut self, directive: Word<'a>, args: &[Word<'a>], line: Word<'a>) {
        match directive.text {
            "node" => self.node(directive, args),
            "keepalive" => self.time(Time::Keepalive, directive, args),
            "warntime" => self.time(Time::Warntime, directive, args),
            "deadtime" => self.time(Time::Deadtime, directive, args),
            "initdead" => self.time(Time::Initdead, directive, args),
            "udpport" => self.udp_port(directive, args),
            "ucast" => self.ucast(directive, args, Family::V4),
            "ucast6" => self.ucast(directive, args, Family::V6),
            "bcast" | "udp" => self.bcast(directive, args),
            "mcast" => self.mcast(directive, args, Family::V4),
            "mcast6" => self.mcast(directive, args, Family::V6),
            "serial" => self.serial(directive, args),
            "baud" => self.baud(directive, args),
            "damping" => self.damping(directive, args),
            "auto_failback" => self.auto_failback(directive, args),
            "nice_failback" => self.nice_failback(directive, args),
            "crm" | "pacemaker" => self.crm(directive, args),
            "autojoin" => self.autojoin(directive, args),
            "ping" => self.ping(directive, args, Family::V4),
            "ping6" => self.ping(directive, args, Family::V6),
            "ping_group" => self.ping_group(directive, args),
            "deadping" => self.deadping(directive, args),
            "stonith" => self.stonith(directive, args),
            "stonith_host" => self.stonith_host(directive, args, line),
            _ if self.service(directive, args) => {}
            _ => self.other(directive, args),
        }
    }

    fn one(&mut self, directive: Word<'a>, args: &[Word<'a>]) -> Option<Word<'a>> {
        let [first, rest @ ..] = args else {
            self.faults.fault(directive.span(), format!("`{}` has no value", directive.text));
            return None;
        };
        if let Some(extra) = rest.first() {
            let message = format!("`{}` takes one value", directive.text);
            self.faults.warn(extra.span(), message).help("the rest of the line is ignored");
        }
        Some(*first)
    }

    fn node(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        if args.is_empty() {
            self.faults.fault(directive.span(), "`node` has no name");
        }
        for word in args {
            match NodeName::new(word.text) {
                Err(error) => drop(self.faults.fault(word.span(), error.to_string())),
                Ok(name) if self.nodes.iter().any(|(other, _)| *other == name) => {
                    self.faults.warn(word.span(), format!("node {name} is listed twice"));
                }
                Ok(name) => self.nodes.push((name, self.faults.mark(word.span()))),
            }
        }
    }

    fn time(&mut self, which: Time, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        let Some(time) = self.time_value(word) else { return };
        let mark = self.faults.mark(word.span());
        let slot = match which {
            Time::Keepalive => &mut self.written.keepalive,
            Time::Warntime => &mut self.written.warntime,
            Time::Deadtime => &mut self.written.deadtime,
            Time::Initdead => &mut self.written.initdead,
        };
        if slot.replace((time, mark)).is_some() {
            let message = format!("`{}` is given twice; this one counts", directive.text);
            self.faults.warn(directive.span(), message);
        }
    }

    fn time_value(&mut self, word: Word<'a>) -> Option<Duration> {
        let time = value::heartbeat_time(word.text);
        if time.is_none() {
            self.faults
                .fault(word.span(), format!("`{}` is not a time", word.text))
                .help("seconds, or milliseconds with `ms`: `2`, `0.5`, `500ms`");
        }
        time
    }

    fn switch(&mut self, word: Word<'a>) -> Option<bool> {
        let switch = value::boolean(word.text);
        if switch.is_none() {
            self.faults
                .fault(word.span(), format!("`{}` is neither on nor off", word.text))
                .help("true, on, yes, y, 1, or false, off, no, n, 0");
        }
        switch
    }

    fn auto_failback(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let value = match self.one(directive, args) {
            Some(word) if word.text.eq_ignore_ascii_case("legacy") => {
                self.faults
                    .warn(word.span(), "`legacy` is read as `off`")
                    .help("`on`: a returning node takes its groups back; `off`: it stays standby");
                AutoFailback::Off
            }
            Some(word) if self.switch(word) == Some(true) => AutoFailback::On,
            // What is faulty has been said, and is there all the same.
            Some(_) | None => AutoFailback::Off,
        };
        self.failback(directive, value);
    }

    fn failback(&mut self, directive: Word<'a>, value: AutoFailback) {
        if self.auto_failback.replace(value).is_some_and(|before| before != value) {
            let message = "`auto_failback` is given twice; this one counts";
            self.faults.warn(directive.span(), message);
        }
    }

    /// Ours, not Heartbeat's: `damping 3 600 300 1200`, or `damping off`.
    fn damping(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        const HELP: &str =
            "`damping off`, or switches, window, hold and longest hold: `damping 3 600 300 1200`";
        let [switches, times @ ..] = args else {
            self.faults.fault(directive.span(), "`damping` has no value").help(HELP);
            return;
        };
        let count = match switches.text {
            "off" if times.is_empty() => Some(0),
            text => text.parse().ok().filter(|count| *count <= SWITCHES_MAX),
        };
        if count.is_none() || times.len() > 3 {
            self.faults.fault(switches.span(), "not a damping").help(HELP);
            return;
        }
        let mut times = times.iter().copied();
        let mut next = || {
            let word = times.next()?;
            Some((self.time_value(word)?, word.span()))
        };
        let written = Written { switches: count, window: next(), hold: next(), hold_max: next() };
        let (damping, faults) = damping::resolve(written);
        self.damping = damping;
        for (span, message) in faults {
            self.faults.fault(span, message);
        }
    }

    fn nice_failback(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        if self.switch(word).is_some() {
            self.faults
                .warn(
                    directive.span(),
                    "`nice_failback` is obsolete and read as `auto_failback off`",
                )
                .help("write `auto_failback off`");
            self.failback(directive, AutoFailback::Off);
        }
    }

    fn crm(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        if value::boolean(word.text) != Some(false) {
            self.faults
                .fault(
                    word.span(),
                    format!("`{} {}`: no Pacemaker here", directive.text, word.text),
                )
                .help("pairbeat runs the groups of haresources itself: `crm off`");
        }
    }

    fn autojoin(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(word) = self.one(directive, args) else { return };
        if word.text != "none" {
            self.faults
                .fault(
                    word.span(),
                    format!("`autojoin {}`: nodes can't join by themselves", word.text),
                )
                .help("`autojoin none`, and a `node` line for each of the two");
        }
    }

    fn other(&mut self, directive: Word<'a>, args: &[Word<'a>]) {
        let Some(known) = table::find(directive.text) else {
            self.unknown(directive);
            return;
        };
        let (table::Fate::NotYet(why) | table::Fate::Accepted(why)) = known.fate else { return };
        self.shape(directive, args, known.shape);
        let message = format!("`{}` is not acted on{why}", directive.text);
        self.faults.warn(directive.span(), message);
    }

    fn unknown(&mut self, directive: Word<'a>) {
        let near = nearest(directive.text, table::names());
        let message = format!("unknown directive `{}`", directive.text);
        let fault = self.faults.fault(directive.span(), message);
        if let Some(near) = near {
            fault.help(format!("did you mean `{near}`?"));
        }
    }

    fn shape(&mut self, directive: Word<'a>, args: &[Word<'a>], shape: table::Shape) {
        use table::Shape;
        let Some(first) = args.first().copied() else {
            self.faults.fault(directive.span(), format!("`{}` has no value", directive.text));
            return;
        };
        match shape {
            Shape::Time => drop(self.time_value(first)),
            Shape::Switch => drop(self.switch(first)),
            Shape::Words(least) if args.len() < least => {
                let message = format!("`{}` needs {least} values", directive.text);
                self.faults.fault(directive.span(), message);
            }
            Shape::Words(_) => (),
            Shape::Number(low, high) => {
                if !first.text.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n)) {
                    let message = format!("`{}` is not a number of {low} to {high}", first.text);
                    self.faults.fault(first.span(), message);
                }
            }
            Shape::OneOf(words) => {
                if !words.contains(&first.text) {
                    let message = format!("`{}` is not one of {}", first.text, words.join(", "));
                    self.faults.fault(first.span(), message);
                }
            }
        }
    }

    fn finish(mut self) -> (HaCf, Vec<Diagnostic>) {
        if self.auto_failback.is_none() {
            self.faults
                .warn(Span::FILE, "no `auto_failback`, which is read as `off`")
                .help("say `auto_failback off`, or `on` to have groups go back by themselves");
        }
        let links = self.links();
        let (timing, timing_faults) = timing::resolve(self.written, timing::HEARTBEAT);
        let auto_failback = self.auto_failback.unwrap_or(AutoFailback::Off);
        let mut found = self.faults.into_list();
        found.extend(timing_faults);
        let Self { nodes, outside, damping, service, .. } = self;
        (HaCf { nodes, timing, auto_failback, damping, links, outside, service }, found)
    }
}
