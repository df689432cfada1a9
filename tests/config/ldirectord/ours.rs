//! What our reader has of a file, in the words of ldirectord.

use pairbeat::config::diag::Word;
use pairbeat::config::ldirectord::file::{
    CheckType, File, Globals, Log, Real, Settings, Sorry, Virtual,
};
use pairbeat::lvs::exchange::HttpMethod;
use pairbeat::lvs::mail::Stages;
use pairbeat::lvs::model::ServiceKey;

use super::Values;

/// Where ldirectord's log goes when nothing is said.
const LOG: &str = "/var/log/ldirectord.log";

pub(super) fn values(file: &File<'_>) -> Values {
    let mut values = Values::new();
    globals(&file.globals, &mut values);
    for (index, section) in file.virtuals.iter().enumerate() {
        section_values(&format!("virtual {index} "), section, &mut values);
    }
    values
}

/// Writes down what is there; what has its default is not.
fn put(values: &mut Values, key: String, value: Option<impl ToString>) {
    if let Some(value) = value {
        values.insert(key, value.to_string());
    }
}

fn text(word: Option<Word<'_>>) -> Option<String> {
    word.map(|word| word.text.to_owned())
}

/// `None` for what is so by default.
fn switch(on: Option<bool>, default: bool) -> Option<&'static str> {
    on.filter(|on| *on != default).map(|on| if on { "yes" } else { "no" })
}

fn number(number: Option<u32>, default: u32) -> Option<u32> {
    number.filter(|number| *number != default)
}

fn globals(globals: &Globals<'_>, values: &mut Values) {
    let key = |name: &str| format!("global {name}");
    let own = &globals.settings;
    settings("global ", own, values);
    put(values, key("checktimeout"), own.check_timeout);
    put(values, key("negotiatetimeout"), own.negotiate_timeout);
    put(values, key("fallback"), own.fallback.map(|sorry| server(sorry, None)));
    put(values, key("fallback6"), own.fallback6.map(|sorry| server(sorry, None)));
    put(values, key("autocheck"), switch(globals.auto_reload, false));
    put(values, key("callback"), text(globals.callback));
    let log = globals.log.map(|(Log::File(word) | Log::Facility(word))| word.text);
    let log = log.filter(|log| *log != LOG);
    put(values, key("ldirlog"), log);
    put(values, key("emailalertfrom"), text(globals.mail_from));
    put(values, key("supervised"), switch(globals.supervised, false));
    put(values, key("forking"), switch(globals.fork, false));
    put(values, key("readdquiescent"), switch(globals.readd_quiescent, false));
    put(values, key("maintdir"), text(globals.maintenance));
    for word in &globals.execute {
        values.insert(format!("execute {}", word.text), "yes".to_owned());
    }
}

fn settings(prefix: &str, settings: &Settings<'_>, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    put(values, key("checkinterval"), number(settings.check_interval, 10));
    put(values, key("checkcount"), number(settings.check_count, 1));
    put(values, key("failurecount"), number(settings.failure_count, 1));
    put(values, key("quiescent"), switch(settings.quiescent, false));
    put(values, key("cleanstop"), switch(settings.clean_stop, true));
    put(values, key("fallbackcommand"), text(settings.fallback_command));
    let to = settings
        .mail_to
        .as_ref()
        .map(|list| list.iter().map(|word| word.text).collect::<Vec<_>>().join(","));
    put(values, key("emailalert"), to);
    put(values, key("emailalertfreq"), number(settings.mail_frequency, 0));
    put(values, key("emailalertstatus"), number(settings.mail_stages.map(bits), 15));
    put(values, key("smtp"), text(settings.smtp));
}

/// ldirectord's bits.
fn bits(stages: Stages) -> u32 {
    let Stages { starting, running, stopping, reloading } = stages;
    [starting, running, stopping, reloading]
        .iter()
        .rev()
        .fold(0, |bits, on| bits * 2 + u32::from(*on))
}

fn server(sorry: Sorry<'_>, port: Option<u16>) -> String {
    let port = sorry.port.or(port).map_or("-".to_owned(), |port| port.to_string());
    format!("{} {port} {}", sorry.address, sorry.forwarding)
}

fn section_values(prefix: &str, section: &Virtual<'_>, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    settings(prefix, &section.settings, values);
    put(values, key("key"), Some(format!("{:#}", section.key)));
    let port = match section.key {
        ServiceKey::Address { port, .. } => port,
        ServiceKey::Mark { .. } => 0,
    };
    put(values, key("fallback"), section.fallback.map(|sorry| server(sorry, Some(port))));
    put(values, key("checktimeout"), Some(section.check_timeout));
    put(values, key("negotiatetimeout"), Some(section.negotiate_timeout));
    put(values, key("scheduler"), Some(section.scheduler));
    put(values, key("schedflags"), text(section.sched_flags));
    put(values, key("persistent"), section.persistent);
    put(values, key("netmask"), section.netmask);
    put(values, key("ops"), switch(Some(section.one_packet), false));
    put(values, key("monitorfile"), text(section.monitor_file));
    put(values, key("servicename"), text(section.service_name));
    put(values, key("comment"), text(section.comment));
    check_values(prefix, section, values);
    for (index, real) in section.reals.iter().enumerate() {
        real_values(&format!("{prefix}real {index} "), real, section, values);
    }
}

fn check_values(prefix: &str, section: &Virtual<'_>, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    let check = &section.check;
    let kind = match check.kind {
        CheckType::Negotiate => "negotiate".to_owned(),
        CheckType::Connect => "connect".to_owned(),
        CheckType::Ping => "ping".to_owned(),
        CheckType::External => "external".to_owned(),
        CheckType::ExternalPerl => "external-perl".to_owned(),
        CheckType::On => "on".to_owned(),
        CheckType::Off => "off".to_owned(),
        CheckType::Every(connects) => connects.to_string(),
        CheckType::Unusable => "unusable".to_owned(),
    };
    put(values, key("checktype"), Some(kind));
    put(values, key("service"), Some(check.service.name()));
    put(values, key("checkport"), check.port);
    put(values, key("checkcommand"), Some(check.command()));
    put(values, key("request"), check.request.map(request));
    put(values, key("receive"), text(check.receive));
    let head = check.method == HttpMethod::Head;
    put(values, key("httpmethod"), head.then_some("HEAD"));
    put(values, key("virtualhost"), check.host);
    let login = text(check.login).filter(|login| login != "anonymous");
    put(values, key("login"), login);
    put(values, key("passwd"), check.password.as_ref().map(|secret| secret.reveal()));
    put(values, key("database"), text(check.database));
    put(values, key("secret"), check.secret.as_ref().map(|secret| secret.reveal()));
}

/// ldirectord keeps it with a slash before it; that alone is the default.
fn request(word: Word<'_>) -> String {
    format!("/{}", word.text.trim_start_matches('/'))
}

fn real_values(prefix: &str, real: &Real<'_>, section: &Virtual<'_>, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    put(values, key("server"), Some(real.address));
    put(values, key("port"), Some(real.port));
    put(values, key("forward"), Some(real.forwarding));
    put(values, key("weight"), Some(real.weight));
    put(values, key("request"), real.request(&section.check).map(request));
    put(values, key("receive"), text(real.receive(&section.check)));
    put(values, key("l-threshold"), number(Some(real.lower), 0));
    put(values, key("u-threshold"), number(Some(real.upper), 0));
}
