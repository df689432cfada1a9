//! An ldirectord.cf as values: everything that ldirectord 4.12 can say, with its defaults.
//!
//! This is what was written, whether there is anything to do for it or not; `needless` names what
//! has nothing, and `build` makes the services that it runs from the rest. Source of the meanings and
//! defaults: ldirectord(8) and the behaviour of ldirectord 4.12.

use std::net::IpAddr;

use crate::config::diag::{Span, Word};
use crate::keys::Secret;
use crate::lvs::exchange::HttpMethod;
use crate::lvs::mail::Stages;
use crate::lvs::model::{Forwarding, ServiceKey};

/// Seconds between checks, ldirectord's default.
const INTERVAL: u32 = 10;
/// What is run by `checktype=external` where nothing is said.
const CHECK_COMMAND: &str = "/bin/true";

/// The whole file.
#[derive(Debug, Default)]
pub struct File<'a> {
    /// What holds for all.
    pub globals: Globals<'a>,
    /// The virtual services that have no fault in their first line.
    pub virtuals: Vec<Virtual<'a>>,
}

/// A directive that stands there, for whoever has something to say about it.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Its name in the table of directives.
    pub directive: &'static str,
    /// The name as written.
    pub key: Span,
    /// The value.
    pub value: Span,
}

/// What may stand in a section and as a global; the section's own counts.
#[derive(Debug, Clone, Default)]
pub struct Settings<'a> {
    /// `checkinterval`: seconds, 1 to 86400; default 10.
    pub check_interval: Option<u32>,
    /// `checktimeout`: seconds, 1 to 86400. See [`Virtual::check_timeout`].
    pub check_timeout: Option<u32>,
    /// `negotiatetimeout`: seconds, 1 to 86400. See [`Virtual::negotiate_timeout`].
    pub negotiate_timeout: Option<u32>,
    /// `checkcount`: echoes of a ping check, 1 or more; default 1.
    pub check_count: Option<u32>,
    /// `failurecount`: failures in a row, 1 or more; default 1.
    pub failure_count: Option<u32>,
    /// `quiescent`; default no.
    pub quiescent: Option<bool>,
    /// `cleanstop`; default yes.
    pub clean_stop: Option<bool>,
    /// `fallback`.
    pub fallback: Option<Sorry<'a>>,
    /// `fallback6`.
    pub fallback6: Option<Sorry<'a>>,
    /// `fallbackcommand`: a command line for the shell.
    pub fallback_command: Option<Word<'a>>,
    /// `emailalert`: addresses; never empty.
    pub mail_to: Option<Vec<Word<'a>>>,
    /// `emailalertfreq`: seconds from one mail to the next while a server is down; 0, the
    /// default, is one mail only.
    pub mail_frequency: Option<u32>,
    /// `emailalertstatus`; default all.
    pub mail_stages: Option<Stages>,
    /// `smtp`: host that takes the mails; default the machine's own mail system.
    pub smtp: Option<Word<'a>>,
}

impl<'a> Settings<'a> {
    /// These, and where nothing is said `globals`. Sorry servers are not among it.
    #[must_use]
    pub(super) fn or(&self, globals: &Self) -> Self {
        let (own, other) = (self.clone(), globals.clone());
        Self {
            check_interval: own.check_interval.or(other.check_interval),
            check_timeout: own.check_timeout.or(other.check_timeout),
            negotiate_timeout: own.negotiate_timeout.or(other.negotiate_timeout),
            check_count: own.check_count.or(other.check_count),
            failure_count: own.failure_count.or(other.failure_count),
            quiescent: own.quiescent.or(other.quiescent),
            clean_stop: own.clean_stop.or(other.clean_stop),
            fallback: own.fallback,
            fallback6: own.fallback6,
            fallback_command: own.fallback_command.or(other.fallback_command),
            mail_to: own.mail_to.or(other.mail_to),
            mail_frequency: own.mail_frequency.or(other.mail_frequency),
            mail_stages: own.mail_stages.or(other.mail_stages),
            smtp: own.smtp.or(other.smtp),
        }
    }

    /// Seconds between checks.
    pub fn interval(&self) -> u32 {
        self.check_interval.unwrap_or(INTERVAL)
    }
}

/// The globals, as written.
#[derive(Debug, Default)]
pub struct Globals<'a> {
    /// Which of them are there, in order.
    pub written: Vec<Written>,
    /// Those that a section may have too.
    pub settings: Settings<'a>,
    /// `autoreload`; default no.
    pub auto_reload: Option<bool>,
    /// `callback`: a program that is told of a changed file.
    pub callback: Option<Word<'a>>,
    /// `logfile`; default `/var/log/ldirectord.log`.
    pub log: Option<Log<'a>>,
    /// `emailalertfrom`.
    pub mail_from: Option<Word<'a>>,
    /// `execute`: other files that are to be started with this one.
    pub execute: Vec<Word<'a>>,
    /// `supervised`; default no, yes when it stands there alone.
    pub supervised: Option<bool>,
    /// `fork`; default no.
    pub fork: Option<bool>,
    /// `readdquiescent`; default no.
    pub readd_quiescent: Option<bool>,
    /// `maintenancedir`: files in it name servers that are to be out of service.
    pub maintenance: Option<Word<'a>>,
}

/// `logfile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log<'a> {
    /// A path: it begins with a slash.
    File(Word<'a>),
    /// A facility of syslog.
    Facility(Word<'a>),
}

/// A sorry server as written.
#[derive(Debug, Clone, Copy)]
pub struct Sorry<'a> {
    /// The server's words.
    pub word: Word<'a>,
    /// Its address.
    pub address: IpAddr,
    /// `None`: that of the virtual service.
    pub port: Option<u16>,
    /// Default gate.
    pub forwarding: Forwarding,
}

/// A virtual service.
#[derive(Debug)]
pub struct Virtual<'a> {
    /// The value of its first line.
    pub head: Span,
    /// Which directives are in it, in order.
    pub written: Vec<Written>,
    /// What clients connect to.
    pub key: ServiceKey,
    /// Its own settings, and where it has none the global ones; but see [`Virtual::fallback`].
    pub settings: Settings<'a>,
    /// Seconds for connect, ping and external checks: the own `checktimeout`, the own
    /// `negotiatetimeout`, then the globals in the same order, then 5.
    pub check_timeout: u32,
    /// Seconds for negotiate checks: the same with `negotiatetimeout` first, then 30.
    pub negotiate_timeout: u32,
    /// `scheduler`; default wrr.
    pub scheduler: &'a str,
    /// `schedflags`, as for `ipvsadm -b`.
    pub sched_flags: Option<Word<'a>>,
    /// `persistent`: seconds, 1 to 31 days.
    pub persistent: Option<u32>,
    /// `netmask` as prefix length, shorter than the address; only with `persistent`.
    pub netmask: Option<u8>,
    /// `ops`; only for UDP.
    pub one_packet: bool,
    /// How its servers are checked.
    pub check: Check<'a>,
    /// Its servers, ranges taken apart, in order.
    pub reals: Vec<Real<'a>>,
    /// The sorry server: its own, or the global one of its family.
    pub fallback: Option<Sorry<'a>>,
    /// `monitorfile`: a line for each check.
    pub monitor_file: Option<Word<'a>>,
    /// `servicename`, for mails.
    pub service_name: Option<Word<'a>>,
    /// `comment`, for mails.
    pub comment: Option<Word<'a>>,
    /// `load`, which ldirectord never looks at either.
    pub load: Option<Word<'a>>,
}

/// The check of a virtual service.
#[derive(Debug)]
pub struct Check<'a> {
    /// `checktype`; default negotiate.
    pub kind: CheckType,
    /// Where the type stands; the head where it does not.
    pub kind_at: Span,
    /// `service`, or what the port says; none for a mark.
    pub service: Service,
    /// Where the service stands; `None`: nowhere, the port says it.
    pub service_at: Option<Span>,
    /// `checkport`: 1 to 65535; default the server's, then the service's.
    pub port: Option<u16>,
    /// `checkcommand`, without arguments.
    pub command: Option<Word<'a>>,
    /// `request`, with or without its leading slash.
    pub request: Option<Word<'a>>,
    /// `receive`: a regular expression.
    pub receive: Option<Word<'a>>,
    /// `httpmethod`; default GET.
    pub method: HttpMethod,
    /// `virtualhost`.
    pub host: Option<&'a str>,
    /// `login`; the check of ftp and sip have a default of their own.
    pub login: Option<Word<'a>>,
    /// `passwd`.
    pub password: Option<Secret>,
    /// `database`.
    pub database: Option<Word<'a>>,
    /// `secret`, of radius.
    pub secret: Option<Secret>,
}

impl<'a> Check<'a> {
    /// What is run by an external check.
    pub fn command(&self) -> &'a str {
        self.command.map_or(CHECK_COMMAND, |word| word.text)
    }

    /// Whether a service is spoken to, always or now and then.
    pub fn negotiates(&self) -> bool {
        matches!(self.kind, CheckType::Negotiate | CheckType::Every(_))
    }
}

/// `checktype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckType {
    /// The service is spoken to.
    Negotiate,
    /// A connection is made.
    Connect,
    /// ICMP echo.
    Ping,
    /// A program says it by its exit code.
    External,
    /// A Perl script does.
    ExternalPerl,
    /// Always up.
    On,
    /// Always down.
    Off,
    /// One negotiate check, then so many connect checks; 1 or more.
    Every(u32),
    /// A fault that has been reported.
    Unusable,
}

/// `service`: what a negotiate check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// A question of type A or PTR.
    Dns,
    /// Log in and fetch a file.
    Ftp,
    /// A request.
    Http,
    /// The same in TLS.
    Https,
    /// A request by a proxy.
    HttpProxy,
    /// Greeting, and login where there is one.
    Imap,
    /// The same in TLS.
    Imaps,
    /// Bind and search.
    Ldap,
    /// The same in TLS.
    Ldaps,
    /// A query.
    Mysql,
    /// Greeting.
    Nntp,
    /// Nothing.
    None,
    /// A query.
    Oracle,
    /// A query.
    Pgsql,
    /// Greeting, and login where there is one.
    Pop,
    /// The same in TLS.
    Pops,
    /// Access-Request.
    Radius,
    /// A text is sent, another one expected.
    Simpletcp,
    /// OPTIONS.
    Sip,
    /// EHLO.
    Smtp,
    /// EHLO at another port.
    Submission,
    /// A fault that has been reported.
    Unusable,
}

/// The services with their names and default ports; 0: none.
const SERVICES: &[(Service, &str, u16)] = &[
    (Service::Dns, "dns", 53),
    (Service::Ftp, "ftp", 21),
    (Service::Http, "http", 80),
    (Service::Https, "https", 443),
    (Service::HttpProxy, "http_proxy", 3128),
    (Service::Imap, "imap", 143),
    (Service::Imaps, "imaps", 993),
    (Service::Ldap, "ldap", 389),
    (Service::Ldaps, "ldaps", 636),
    (Service::Mysql, "mysql", 3306),
    (Service::Nntp, "nntp", 119),
    (Service::None, "none", 0),
    (Service::Oracle, "oracle", 1521),
    (Service::Pgsql, "pgsql", 5432),
    (Service::Pop, "pop", 110),
    (Service::Pops, "pops", 995),
    (Service::Radius, "radius", 1812),
    (Service::Simpletcp, "simpletcp", 0),
    (Service::Sip, "sip", 5060),
    (Service::Smtp, "smtp", 25),
    (Service::Submission, "submission", 587),
];

impl Service {
    /// Every name, in order.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        SERVICES.iter().map(|row| row.1)
    }

    /// The service of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        SERVICES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The service that ldirectord takes for a virtual service at this port.
    pub(super) fn of_port(port: u16) -> Self {
        SERVICES.iter().find(|row| row.2 == port && port > 0).map_or(Self::None, |row| row.0)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        SERVICES.iter().find(|row| row.0 == self).map_or("none", |row| row.1)
    }

    /// Where it is checked when nothing else says it; `None`: nowhere.
    pub fn port(self) -> Option<u16> {
        SERVICES.iter().find(|row| row.0 == self).map(|row| row.2).filter(|port| *port > 0)
    }
}

/// A real server.
#[derive(Debug, Clone, Copy)]
pub struct Real<'a> {
    /// Its words; those of the range where it is of one.
    pub word: Word<'a>,
    /// Its address.
    pub address: IpAddr,
    /// As written; 0 where it is left out.
    pub port: u16,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// 0 to 65535; default 1.
    pub weight: u32,
    /// Its own request; never empty.
    pub request: Option<Word<'a>>,
    /// Its own answer; never empty. It counts when there is a request of its own.
    pub receive: Option<Word<'a>>,
    /// `l:N`: connections under which it takes new ones again; 0: none.
    pub lower: u32,
    /// `u:N`: connections above which it takes no new one; 0: none.
    pub upper: u32,
    /// Where the thresholds stand, if there are any.
    pub thresholds_at: Option<Span>,
}

impl<'a> Real<'a> {
    /// What is sent to it: its own request before that of its service.
    pub fn request(&self, check: &Check<'a>) -> Option<Word<'a>> {
        self.request.or(check.request)
    }

    /// What it must answer: that of the service only without a request of its own.
    pub fn receive(&self, check: &Check<'a>) -> Option<Word<'a>> {
        self.receive.or(check.receive.filter(|_| self.request.is_none()))
    }
}
