//! What is worth a letter, and when: a server or a pool that turns, in the stages that are asked for,
//! and again and again while a server is down. Only the node that serves writes.

use std::collections::BTreeMap;

use super::letters::{LetterId, Letters, Tried};
use super::{Control, DirectorEvent, Output, Phase};
use crate::lvs::health::State;
use crate::lvs::mail::{About, Entry, Line, Mail, MailFailure, Stage};
use crate::lvs::model::{Director, RealKey, ServiceKey, VirtualService};
use crate::lvs::overrides::Override;
use crate::time::Instant;

/// What mails are written of.
#[derive(Debug, Default)]
pub(super) struct Mails {
    pub(super) letters: Letters,
    /// The services that somebody gets mails about: places in the directors, and in their services.
    wanted: BTreeMap<ServiceKey, (usize, usize)>,
    /// What has happened in this turn.
    heard: Vec<Heard>,
    /// When somebody is reminded of a server that is down.
    repeats: BTreeMap<(ServiceKey, RealKey), Instant>,
    /// The first of them, or a moment before.
    next: Option<Instant>,
    /// The last configuration was not the first.
    reloaded: bool,
    /// All that can be waited for has come: the kernel does not take the table that it asks for.
    hindered: bool,
}

#[derive(Debug)]
struct Heard {
    service: ServiceKey,
    stage: Stage,
    what: Line,
    /// The server that this is the fall of.
    fallen: Option<RealKey>,
}

impl Mails {
    /// When to come back.
    pub(super) fn deadline(&self) -> Instant {
        self.letters.deadline().min(self.next.unwrap_or(Instant::NEVER))
    }

    fn remind(&mut self, at: Instant, server: (ServiceKey, RealKey)) {
        self.repeats.insert(server, at);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Control {
    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Stopping { .. } => Stage::Stopping,
            Phase::Idle | Phase::Running if self.announced || self.mails.hindered => Stage::Running,
            Phase::Idle | Phase::Running if self.mails.reloaded => Stage::Reloading,
            Phase::Idle | Phase::Running => Stage::Starting,
        }
    }

    /// The kernel refuses something: a start or a reload that waits for it would never end.
    pub(super) fn wait_no_longer(&mut self) {
        self.mails.hindered |= self.health.is_complete();
    }

    /// Keeps what a letter may be written of.
    pub(super) fn note_for_mail(&mut self, event: &DirectorEvent) {
        let Some(service) = mailed(event) else { return };
        // What a stop takes out goes without saying.
        let stopping = matches!(self.phase, Phase::Stopping { .. });
        if stopping || !self.mails.wanted.contains_key(&service) {
            return;
        }
        let fallen = match event {
            DirectorEvent::RealDown { real, .. } => Some(*real),
            _ => None,
        };
        if let DirectorEvent::RealUp { real, .. } = event {
            self.mails.repeats.remove(&(service, *real));
        }
        let (stage, what) = (self.stage(), Line::of(&event.to_string()));
        self.mails.heard.push(Heard { service, stage, what, fallen });
    }

    /// Whose mails are to be written about a service, where this node is the one to write.
    fn written_of(&self, service: ServiceKey) -> Option<(&Mail, &VirtualService)> {
        let (director, place) = *self.mails.wanted.get(&service)?;
        let director = self.directors.get(director)?;
        let service = director.services.get(place)?;
        let leads = self.following.leads(&director.name);
        service.notify.mail.as_ref().filter(|_| leads).map(|mail| (mail, service))
    }

    /// The services that this node writes mails about.
    fn writing(&self) -> Vec<ServiceKey> {
        let keys = self.mails.wanted.keys().copied();
        keys.filter(|service| self.written_of(*service).is_some()).collect()
    }

    /// Puts what has happened into letters, and orders those that are due to be sent.
    pub(super) fn write_letters(&mut self, now: Instant) {
        for Heard { service, stage, what, fallen } in std::mem::take(&mut self.mails.heard) {
            let Some((mail, about)) = self.written_of(service) else { continue };
            let (mail, about) = (mail.clone(), about_of(about));
            if let (Some(real), Some(pause)) = (fallen, mail.repeat) {
                self.mails.remind(now.plus(pause), (service, real));
            }
            self.mails.letters.hear(now, &mail, about, Entry { at: now, stage, what });
        }
        if self.phase == Phase::Idle {
            return;
        }
        let lost = self.mails.letters.crowded();
        if lost > 0 {
            self.report(DirectorEvent::MailsCrowded { lost });
        }
        for (id, letter) in self.mails.letters.advance(now) {
            self.outputs.push_back(Output::Mail { id, letter });
        }
    }

    /// What the passing of time asks for: reminders, and the end of tries and of a stop.
    pub(super) fn attend_mails(&mut self, now: Instant) {
        for tried in self.mails.letters.overdue(now) {
            self.report_try(tried);
        }
        if matches!(self.phase, Phase::Stopping { .. }) && self.mails.letters.is_done(now) {
            self.drop_letters();
            // The stop looks again whether it is at its end.
            self.dirty = true;
        }
        if self.mails.next.is_none_or(|next| next > now) {
            return;
        }
        let due = self.mails.repeats.iter().filter(|(_, at)| **at <= now).map(|(it, _)| *it);
        for server in due.collect::<Vec<_>>() {
            self.mails.repeats.remove(&server);
            self.remind_of(now, server);
        }
        self.mails.next = self.mails.repeats.values().min().copied();
    }

    /// Reminds of a server that is still down. Who has ordered it out of service knows it.
    fn remind_of(&mut self, now: Instant, (service, real): (ServiceKey, RealKey)) {
        let Some((mail, found)) = self.written_of(service) else { return };
        let Some(pause) = mail.repeat else { return };
        let Some(server) = found.pools().find(|server| server.key == real) else { return };
        let standing = self.health.standing(found, server);
        let State::Down(Some(cause)) = standing.state else { return };
        self.mails.remind(now.plus(pause), (service, real));
        let ordered = self.overrides.on(&service, &real);
        if self.phase != Phase::Running
            || matches!(
                ordered,
                Some(Override::Drain { .. } | Override::Disable | Override::Maintenance)
            )
        {
            return;
        }
        let seconds = now.since(standing.since).as_secs();
        let what = format!("{service:#}: {real} is still down, for {seconds} s: {cause}");
        let (stage, what) = (self.stage(), Line::of(&what));
        self.mails.heard.push(Heard { service, stage, what, fallen: None });
    }

    /// A try to send a letter has ended.
    pub(super) fn mailed(&mut self, now: Instant, id: LetterId, result: Result<(), MailFailure>) {
        if let Some(tried) = self.mails.letters.tried(now, id, result) {
            self.report_try(tried);
        }
    }

    fn report_try(&mut self, Tried { letter, failed }: Tried) {
        let (to, subject) = (letter.envelope.addressees(), letter.subject().to_string());
        self.report(match failed {
            None => DirectorEvent::Mailed { to, subject },
            Some((why, again)) => {
                DirectorEvent::NotMailed { to, subject, why, again_s: Tried::again_s(again) }
            }
        });
    }

    /// Writes of what a new configuration, which is about to be taken over, no longer has.
    pub(super) fn mail_of_parted(&mut self, now: Instant, new: &[Director]) {
        let kept: BTreeMap<ServiceKey, &VirtualService> = new
            .iter()
            .flat_map(|director| &director.services)
            .map(|service| (service.key, service))
            .collect();
        for key in self.writing() {
            let Some((mail, service)) = self.written_of(key) else { continue };
            let gone: Vec<String> = match kept.get(&key) {
                None => vec![format!("{key:#} is no longer configured")],
                Some(kept) => service
                    .pools()
                    .filter(|old| !kept.pools().any(|new| new.key == old.key))
                    .map(|old| format!("{key:#}: {} is no longer configured", old.key))
                    .collect(),
            };
            let (mail, about) = (mail.clone(), about_of(service));
            for what in gone {
                let entry = Entry { at: now, stage: Stage::Reloading, what: Line::of(&what) };
                self.mails.letters.hear(now, &mail, about.clone(), entry);
            }
        }
    }

    /// Sorts out who gets mails, after a configuration was taken over.
    pub(super) fn sort_mails(&mut self, now: Instant, reloaded: bool) {
        (self.mails.reloaded, self.mails.hindered) = (reloaded, false);
        self.mails.letters.resume();
        self.mails.wanted.clear();
        for (d, director) in self.directors.iter().enumerate() {
            for (s, service) in director.services.iter().enumerate() {
                if service.notify.mail.is_some() {
                    self.mails.wanted.entry(service.key).or_insert((d, s));
                }
            }
        }
        let before = std::mem::take(&mut self.mails.repeats);
        self.mails.next = None;
        for service in self.writing() {
            for (real, pause) in self.down(service) {
                let server = (service, real);
                let at = before.get(&server).copied().unwrap_or(now.plus(pause));
                self.mails.remind(at.min(now.plus(pause)), server);
            }
        }
    }

    /// The servers of a service that somebody wants to be reminded of, and how often.
    fn down(&self, service: ServiceKey) -> Vec<(RealKey, std::time::Duration)> {
        let Some((mail, service)) = self.written_of(service) else { return Vec::new() };
        let Some(pause) = mail.repeat else { return Vec::new() };
        let down = service.pools().filter(|real| {
            matches!(self.health.standing(service, real).state, State::Down(Some(_)))
        });
        down.map(|real| (real.key, pause)).collect()
    }

    /// A node that begins to serve says what is down: what was said elsewhere may never have arrived.
    pub(super) fn mail_of_lead(&mut self) {
        for key in self.writing() {
            let Some((_, service)) = self.written_of(key) else { continue };
            let down = service.pools().filter_map(|real| {
                match self.health.standing(service, real).state {
                    State::Down(Some(cause)) => Some((real.key, cause)),
                    State::Down(None) | State::Up | State::Unknown => None,
                }
            });
            for (real, cause) in down.collect::<Vec<_>>() {
                let event = DirectorEvent::RealDown { service: key, real, cause };
                let what = Line::of(&event.to_string());
                let fallen = Some(real);
                self.mails.heard.push(Heard { service: key, stage: Stage::Starting, what, fallen });
            }
        }
    }

    /// The director has been told to stop.
    pub(super) fn mail_of_stop(&mut self, now: Instant) {
        for key in self.writing() {
            let Some((_, service)) = self.written_of(key) else { continue };
            let rest = if service.clean_stop { "leaves the kernel" } else { "stays in the kernel" };
            let what = Line::of(&format!("{key:#}: the director stops, and it {rest}"));
            self.mails.heard.push(Heard {
                service: key,
                stage: Stage::Stopping,
                what,
                fallen: None,
            });
        }
        self.mails.letters.finish(now);
        // Before the stop looks whether it is at its end.
        self.write_letters(now);
    }

    /// What has not left by now never will.
    fn drop_letters(&mut self) {
        for letter in self.mails.letters.forget() {
            let failed = Some(("the director has stopped".to_owned(), None));
            self.report_try(Tried { letter, failed });
        }
    }

    /// The end.
    pub(super) fn forget_mails(&mut self) {
        self.drop_letters();
        let letters = std::mem::take(&mut self.mails.letters);
        self.mails = Mails { letters, ..Mails::default() };
    }
}

fn about_of(service: &VirtualService) -> About {
    let (name, comment) = (service.notify.name.clone(), service.notify.comment.clone());
    About { service: format!("{:#}", service.key), name, comment }
}

/// The service that an event is about, where a mail is written of it.
fn mailed(event: &DirectorEvent) -> Option<ServiceKey> {
    match event {
        DirectorEvent::RealUp { service, .. }
        | DirectorEvent::RealDown { service, .. }
        | DirectorEvent::RealWarning { service, .. }
        | DirectorEvent::Quorum { service, .. }
        | DirectorEvent::Panic { service, .. }
        | DirectorEvent::Flapping { service, .. }
        | DirectorEvent::BackupIn { service, .. }
        | DirectorEvent::BackupOut { service }
        | DirectorEvent::SorryUp { service, .. }
        | DirectorEvent::SorryDown { service, .. }
        | DirectorEvent::SorryIn { service, .. }
        | DirectorEvent::SorryOut { service, .. } => Some(*service),
        _ => None,
    }
}
