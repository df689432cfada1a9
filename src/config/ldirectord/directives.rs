//! Every directive of ldirectord 4.12: where it may stand and what becomes of it.
//!
//! Source: ldirectord(8) and the parser of ldirectord 4.12.

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// At the start of a line, for the whole file.
    Global,
    /// In a virtual service.
    Virtual,
    /// Either; the virtual service's own counts.
    Both,
}

/// What becomes of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Acted on.
    Active,
    /// Not acted on, with the consequence: the end of the sentence "`x` is not acted on".
    Ignored(&'static str),
    /// The same, but `no` is what happens anyway and needs no warning.
    IgnoredSwitch(&'static str),
    /// Refused by ldirectord too, with the successor's name.
    Deprecated(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directive {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    pub(super) role: Role,
}

const fn row(name: &'static str, scope: Scope, role: Role) -> Directive {
    Directive { name, scope, role }
}

const MAIL: Role = Role::Ignored(" yet: no mail is sent");
const CREDENTIALS: Role = Role::Ignored(": no check that is supported logs in");

#[rustfmt::skip]
const TABLE: &[Directive] = &[
    row("virtual", Scope::Global, Role::Active),
    row("virtual6", Scope::Global, Role::Active),
    row("real", Scope::Virtual, Role::Active),
    row("real6", Scope::Virtual, Role::Active),
    row("scheduler", Scope::Virtual, Role::Active),
    row("persistent", Scope::Virtual, Role::Active),
    row("netmask", Scope::Virtual, Role::Active),
    row("protocol", Scope::Virtual, Role::Active),
    row("ops", Scope::Virtual, Role::Active),
    row("service", Scope::Virtual, Role::Active),
    row("checktype", Scope::Virtual, Role::Active),
    row("checkport", Scope::Virtual, Role::Active),
    row("request", Scope::Virtual, Role::Active),
    row("receive", Scope::Virtual, Role::Active),
    row("virtualhost", Scope::Virtual, Role::Active),
    row("httpmethod", Scope::Virtual, Role::Active),
    row("checkinterval", Scope::Both, Role::Active),
    row("checktimeout", Scope::Both, Role::Active),
    row("negotiatetimeout", Scope::Both, Role::Active),
    row("failurecount", Scope::Both, Role::Active),
    row("quiescent", Scope::Both, Role::Active),
    row("cleanstop", Scope::Both, Role::Active),
    row("fallback", Scope::Both, Role::Active),
    row("fallback6", Scope::Both, Role::Active),
    row("checkcount", Scope::Both, Role::Ignored(": a ping check is one echo; use failurecount")),
    row("checkcommand", Scope::Virtual, Role::Ignored(" yet: no external check is run")),
    row("login", Scope::Virtual, CREDENTIALS),
    row("passwd", Scope::Virtual, CREDENTIALS),
    row("database", Scope::Virtual, CREDENTIALS),
    row("secret", Scope::Virtual, CREDENTIALS),
    row("load", Scope::Virtual, Role::Ignored(", nor is it by ldirectord")),
    row("schedflags", Scope::Virtual, Role::Ignored(" yet: the scheduler runs without flags")),
    row("monitorfile", Scope::Virtual, Role::Ignored(" yet: checks are not written to a file")),
    row("servicename", Scope::Virtual, MAIL),
    row("comment", Scope::Virtual, MAIL),
    row("emailalert", Scope::Both, MAIL),
    row("emailalertfreq", Scope::Both, MAIL),
    row("emailalertstatus", Scope::Both, MAIL),
    row("emailalertfrom", Scope::Global, MAIL),
    row("smtp", Scope::Both, MAIL),
    row("fallbackcommand", Scope::Both, Role::Ignored(" yet: the command is not run")),
    row("callback", Scope::Global, Role::Ignored(" yet: the command is not run")),
    row("logfile", Scope::Global,
        Role::Ignored(": everything goes to the standard error, which systemd keeps")),
    row("execute", Scope::Global,
        Role::Ignored(": name that file in haresources too, `ldirectord::FILE`")),
    row("maintenancedir", Scope::Global,
        Role::Ignored(" yet: servers marked there are not taken out")),
    row("autoreload", Scope::Global,
        Role::IgnoredSwitch(": a change takes effect with `pairbeat reload`")),
    row("supervised", Scope::Global, Role::IgnoredSwitch(": pairbeat runs the director itself")),
    row("fork", Scope::Global, Role::IgnoredSwitch(": checks never wait for each other anyway")),
    row("readdquiescent", Scope::Global,
        Role::IgnoredSwitch(": the kernel's table is always made what it should be")),
    row("timeout", Scope::Global, Role::Deprecated("negotiatetimeout")),
    row("connecttimeout", Scope::Both, Role::Deprecated("negotiatetimeout")),
];

/// The directive of that name.
pub(super) fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// Every name, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|directive| directive.name)
}
