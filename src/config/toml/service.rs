//! `[service]` and `[[respawn]]`: log, watchdog, priority, programs that are kept running.

use std::path::PathBuf;

use crate::config::diag::nearest;
use crate::config::service::{
    Facility, NO_USER_HELP, PRIORITY_MAX, RESPAWNS_MAX, Respawn, Service, no_user,
};
use crate::config::toml::walk::{Fields, Item, Walk};

/// Both sections.
pub(super) fn read(
    service: Option<Item<'_>>,
    respawn: Option<Item<'_>>,
    walk: &mut Walk<'_>,
) -> Service {
    let mut read = Service::default();
    if let Some(fields) = service.and_then(|item| item.fields(walk)) {
        read_service(fields, &mut read, walk);
    }
    let items = respawn.map_or_else(Vec::new, |item| item.items(walk));
    if let Some(item) = items.get(RESPAWNS_MAX) {
        let message = format!("over {RESPAWNS_MAX} programs to keep running");
        walk.faults.fault(item.span, message);
    }
    for item in items.into_iter().take(RESPAWNS_MAX) {
        let Some(fields) = item.fields(walk) else { continue };
        read.respawn.extend(program(fields, walk));
    }
    read
}

fn read_service(mut fields: Fields<'_>, read: &mut Service, walk: &mut Walk<'_>) {
    let realtime = fields.take("realtime").and_then(|item| item.boolean(walk));
    read.realtime = realtime.unwrap_or(read.realtime);
    let priority = fields.take("priority").and_then(|item| item.number(1, PRIORITY_MAX, walk));
    let priority = priority.and_then(|number| u8::try_from(number).ok());
    read.priority = priority.unwrap_or(read.priority);
    read.watchdog = absolute(fields.take("watchdog"), walk);
    read.log.file = absolute(fields.take("log_file"), walk);
    read.log.debug_file = absolute(fields.take("debug_file"), walk);
    read.log.facility = fields.take("log_facility").and_then(|item| facility(item, walk));
    let debug = fields.take("debug").and_then(|item| item.number(0, 255, walk));
    read.log.debug = debug.and_then(|number| u8::try_from(number).ok()).unwrap_or_default();
    fields.finish(walk);
}

fn absolute(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Option<PathBuf> {
    let word = item?.text(walk)?;
    let path = PathBuf::from(word.text);
    if !path.is_absolute() {
        walk.faults.fault(word.span(), format!("`{}` is not an absolute path", word.text));
        return None;
    }
    Some(path)
}

fn facility(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Facility> {
    let word = item.text(walk)?;
    let found = Facility::of(word.text);
    if found.is_none() {
        let near = nearest(word.text, Facility::names());
        let fault =
            walk.faults.fault(word.span(), format!("`{}` is no syslog facility", word.text));
        match near {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None => fault.help("`daemon`, or `local0` to `local7`"),
        }
    }
    found
}

fn program(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> Option<Respawn> {
    let span = fields.span;
    let user = fields.take("user").and_then(|item| item.text(walk));
    let command = fields.take("command");
    let vital = fields.take("vital").and_then(|item| item.boolean(walk)).unwrap_or_default();
    fields.finish(walk);
    let words = command.map_or_else(Vec::new, |item| item.items(walk));
    let words: Vec<_> = words.into_iter().filter_map(|item| item.text(walk)).collect();
    let (Some(user), [first, args @ ..]) = (user, words.as_slice()) else {
        let help = "`user = \"nobody\"` and `command = [\"/usr/local/bin/watcher\", \"--all\"]`";
        walk.missing(span, "a program without `user` or `command`", help);
        return None;
    };
    let program = PathBuf::from(first.text);
    if !program.is_absolute() || !walk.environment.executable(&program) {
        let message = format!("`{}` is not the absolute path of an executable file", first.text);
        walk.faults.fault(first.span(), message);
        return None;
    }
    if !walk.environment.user(user.text) {
        walk.faults.fault(user.span(), no_user(user.text)).help(NO_USER_HELP);
        return None;
    }
    let args = args.iter().map(|word| word.text.to_owned()).collect();
    Some(Respawn { user: user.text.to_owned(), program, args, vital })
}
