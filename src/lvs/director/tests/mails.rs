//! Who gets mails about what, and when.

use super::*;
use crate::lvs::director::letters::{ENTRIES_MAX, GATHER, LAST_LETTERS, LETTER_PAUSE};
use crate::lvs::mail::{Envelope, Line, Mail, MailAddress, Relay as By, Stages};
use crate::lvs::overrides::Command;
use crate::names::DirectorName;

fn mail(to: &str, relay: Option<&str>) -> Mail {
    let relay = relay.map(|host| By { host: host.to_owned(), port: 25 });
    let to = vec![MailAddress::new(to).unwrap()];
    let envelope = Envelope { to, from: None, relay };
    Mail { envelope, repeat: None, stages: Stages::ALL }
}

fn mailed(n: u8, reals: &[u8]) -> VirtualService {
    let mut service = service(n, reals);
    service.notify.name = Some(Line::new("Shop").unwrap());
    service.notify.mail = Some(mail("ops", None));
    service
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// A director that serves here, with all servers up and everybody told so.
    fn posting(services: Vec<VirtualService>) -> Self {
        let mut world = Self::leading(services);
        for id in world.checks.iter().map(|spec| spec.id).collect::<Vec<_>>() {
            world.tell(Input::Checked(up(id)));
        }
        world.pass(2 * LETTER_PAUSE);
        world.letters.clear();
        world
    }

    fn leading(services: Vec<VirtualService>) -> Self {
        let mut world = Self::configured(services);
        world.take_lead();
        world
    }

    fn take_lead(&mut self) {
        let director = DirectorName::new("test.cf").unwrap();
        self.tell(Input::Lead { director, lead: true });
    }

    /// What was mailed since the last look: addressees, stage of the first event, subject.
    fn mails(&mut self) -> Vec<String> {
        let mails = std::mem::take(&mut self.letters).into_iter().map(|(_, letter)| {
            let stage = letter.entries[0].stage.word();
            format!("{} {stage}: {}", letter.envelope.addressees(), letter.subject())
        });
        mails.collect()
    }
}

const DOWN: &str = "tcp 10.0.0.1:80: 10.0.1.2:80 is down: connection refused";

#[test]
fn a_server_that_falls_and_one_that_returns_are_mailed_and_only_by_the_node_that_serves() {
    let mut world = World::posting(vec![mailed(1, &[2, 3])]);
    world.verdict(2, false);
    assert_eq!(world.mails(), NONE, "it waits for what else happens");
    world.pass(GATHER);
    assert_eq!(world.mails(), [format!("ops running: [Shop] {DOWN}")]);
    world.verdict(2, true);
    world.pass(LETTER_PAUSE);
    assert_eq!(world.mails(), ["ops running: [Shop] tcp 10.0.0.1:80: 10.0.1.2:80 is up"]);

    let mut standby = World::configured(vec![mailed(1, &[2, 3])]);
    standby.verdict(2, false);
    standby.verdict(3, true);
    standby.pass(LETTER_PAUSE);
    assert_eq!(standby.mails(), NONE);
    standby.take_lead();
    standby.pass(LETTER_PAUSE);
    assert_eq!(standby.mails(), [format!("ops starting: [Shop] {DOWN}")], "who serves says it");
}

#[test]
fn what_happens_in_a_moment_to_one_addressee_is_one_letter_with_a_limit() {
    let reals: Vec<u8> = (1..=80).collect();
    let mut other = service(2, &[90]);
    other.notify.mail = Some(mail("others", None));
    let mut world = World::posting(vec![mailed(1, &reals), mailed(3, &reals), other]);
    for real in 1..=80 {
        world.verdict(real, false);
    }
    world.verdict(90, false);
    world.pass(LETTER_PAUSE.saturating_sub(SECOND));
    let letters: Vec<Letter> = world.letters.drain(..).map(|(_, letter)| letter).collect();
    assert_eq!(letters.len(), 2, "one for each addressee");
    let ops = letters.iter().find(|it| it.envelope.addressees() == "ops").unwrap();
    assert_eq!((ops.entries.len(), ops.entries.len() + ops.more), (ENTRIES_MAX, 162));
    assert!(ops.subject().as_str().ends_with(", and 161 more"), "{}", ops.subject());
    assert!(ops.subject().as_str().starts_with("tcp "), "of two services, no name of one");
    // What comes later waits until somebody has read the first one.
    world.verdict(1, true);
    world.pass(GATHER);
    world.verdict(2, true);
    world.pass(GATHER);
    assert_eq!(world.mails(), ["ops running: tcp 10.0.0.1:80: 10.0.1.1:80 is up, and 5 more"]);
}

#[test]
fn a_server_that_stays_down_is_mailed_again_and_again_and_not_when_it_is_ordered_out() {
    let mut repeating = mailed(1, &[2, 3]);
    repeating.notify.mail.as_mut().unwrap().repeat = Some(100 * SECOND);
    let mut world = World::posting(vec![repeating.clone(), mailed(5, &[6])]);
    world.verdict(2, false);
    world.verdict(6, false);
    world.pass(90 * SECOND);
    assert_eq!(world.mails().len(), 1, "one letter of both");
    world.pass(20 * SECOND);
    let still = "tcp 10.0.0.1:80: 10.0.1.2:80 is still down, for 100 s: connection refused";
    assert_eq!(world.mails(), [format!("ops running: [Shop] {still}")]);
    // A reload forgets nothing of it.
    world.configure(vec![repeating, mailed(5, &[6])]);
    world.pass(100 * SECOND);
    let again = still.replace("100 s", "200 s");
    assert_eq!(world.mails(), [format!("ops running: [Shop] {again}")]);
    let target = Target { service: None, address: at(2).address, port: None };
    world.book.order(target, Command::Disable, 0).unwrap();
    world.tell(Input::Override(Overrides::of(&world.book, world.now, 0)));
    world.pass(300 * SECOND);
    assert_eq!(world.mails(), NONE, "who has ordered it knows it");
    world.verdict(2, true);
    world.pass(300 * SECOND);
    assert_eq!(world.mails(), ["ops running: [Shop] tcp 10.0.0.1:80: 10.0.1.2:80 is up"]);
}

#[test]
fn mails_are_written_in_the_stages_that_are_asked_for() {
    let only = |word: &str| {
        let mut service = mailed(1, &[2, 3]);
        let mail = service.notify.mail.as_mut().unwrap();
        mail.stages = Stages::NONE;
        assert!(mail.stages.add(word));
        service
    };
    for (word, want) in [
        ("starting", "ops starting: [Shop] tcp 10.0.0.1:80: 10.0.1.2:80 is up, and 2 more"),
        ("running", "ops running: [Shop] tcp 10.0.0.1:80: 10.0.1.2:80 is down: connection refused"),
        (
            "reloading",
            "ops reloading: [Shop] tcp 10.0.0.1:80: 10.0.1.3:80 is no longer configured, and 1 more",
        ),
        (
            "stopping",
            "ops stopping: [Shop] tcp 10.0.0.1:80: the director stops, and it leaves the kernel",
        ),
    ] {
        let mut world = World::leading(vec![only(word)]);
        world.verdict(2, true);
        world.verdict(3, true);
        world.pass(LETTER_PAUSE);
        world.verdict(2, false);
        world.pass(LETTER_PAUSE);
        let mut less = only(word);
        less.reals.pop();
        world.configure(vec![less]);
        world.pass(LETTER_PAUSE);
        world.tell(Input::Shutdown);
        assert!(world.stopped.is_some());
        assert_eq!(world.mails(), [want]);
    }
}

#[test]
fn an_order_that_the_kernel_refuses_for_good_keeps_no_mail_of_a_running_director_back() {
    let mut service = mailed(1, &[2, 3]);
    let mail = service.notify.mail.as_mut().unwrap();
    mail.stages = Stages::NONE;
    assert!(mail.stages.add("running"));
    let mut world = World::leading(vec![service]);
    world.refuses = |op| op.to_string().starts_with("add 10.0.1.3:80").then_some(OpError::Invalid);
    world.verdict(2, true);
    world.verdict(3, true);
    world.pass(LETTER_PAUSE);
    world.verdict(2, false);
    world.pass(LETTER_PAUSE);
    let down = "10.0.1.2:80 is down";
    assert!(world.mails().iter().any(|mail| mail.contains(down)), "nobody is told");
}

#[test]
fn a_letter_that_fails_is_tried_ever_more_rarely_and_then_dropped_and_one_that_is_refused_at_once()
{
    let mut world = World::posting(vec![mailed(1, &[2])]);
    world.take_events();
    world.relay = Relay::Refuses(MailFailure::passing("connection refused"));
    world.verdict(2, false);
    let start = world.now;
    world.pass(900 * SECOND);
    let tries: Vec<u64> = world.letters.iter().map(|(at, _)| at.since(start).as_secs()).collect();
    assert_eq!(tries, [2, 32, 152, 752]);
    let why = |event: &String| event.contains("mail to ops");
    let events: Vec<String> = world.take_events().into_iter().filter(why).collect();
    assert_eq!(events.len(), 4);
    assert!(
        events[0].starts_with("no mail to ops yet, next try in 30 s: connection refused: [Shop]")
    );
    assert!(events[3].starts_with("no mail to ops, it is dropped: connection refused"));

    world.letters.clear();
    world.relay = Relay::Refuses(MailFailure::for_good("the relay says: 550 who"));
    world.verdict(2, true);
    world.pass(900 * SECOND);
    assert_eq!(world.letters.len(), 1);
}

#[test]
fn a_dead_mail_relay_stops_nobody_else() {
    let mut silent = mailed(1, &[2]);
    silent.notify.mail = Some(mail("dead", Some("192.0.2.25")));
    let mut world = World::posting(vec![silent, mailed(3, &[4])]);
    world.relay = Relay::Silent;
    world.verdict(2, false);
    world.pass(GATHER);
    assert!(world.mails()[0].starts_with("dead "), "it is under way, and nobody answers");
    let late = world.posting.unwrap();
    world.relay = Relay::Well;
    world.verdict(4, false);
    assert_eq!(world.kernel.0[&key(3)].dests.len(), 1, "the sorry server is in, in the same turn");
    world.pass(GATHER);
    assert!(world.mails()[0].starts_with("ops "), "the other way is free");
    // A late answer is nobody's.
    world.pass(300 * SECOND);
    world.take_events();
    world.tell(Input::Mailed { id: late, result: Ok(()) });
    assert_eq!(world.take_events(), NONE);
    // The end waits a moment, and no longer.
    world.relay = Relay::Silent;
    world.tell(Input::Shutdown);
    assert!(world.kernel.0.is_empty(), "the table does not wait");
    assert!(world.stopped.is_none());
    world.pass(LAST_LETTERS);
    assert_eq!(world.stopped, Some(vec![]));
    let lost = world.take_events();
    assert!(
        lost.iter().any(|it| it.contains("it is dropped: the director has stopped")),
        "{lost:?}"
    );
}

#[test]
fn too_many_addressees_at_a_time_are_counted_and_keep_nobody_from_being_served() {
    let services = (1..=100).map(|n| {
        let mut service = service(n, &[200]);
        service.notify.mail = Some(mail(&format!("a{n}"), None));
        service
    });
    let mut world = World::posting(services.collect());
    world.take_events();
    world.verdict(200, false);
    world.pass(GATHER);
    assert_eq!(world.letters.len(), 64);
    let lost = "36 events are in no mail: too many addressees wait for theirs";
    let said = world.take_events().into_iter().filter(|event| event == lost).count();
    assert_eq!(said, 2, "the servers, and then the sorry servers");
}
