//! Every directive of ldirectord 4.12, and where it may stand.
//!
//! Source: ldirectord(8) and the parser of ldirectord 4.12. What becomes of each is in
//! docs/LDIRECTORD.md; what there is nothing to do for, in `needless`.

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// At the start of a line, for the whole file.
    Global,
    /// In a virtual service.
    Virtual,
    /// Either; the virtual service's own counts.
    Both,
    /// Nowhere any more, in ldirectord too; write this instead.
    Nowhere(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directive {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
}

impl Directive {
    /// Whether its value is nobody's business: its line is never shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.name, "login" | "passwd" | "secret")
    }
}

const fn row(name: &'static str, scope: Scope) -> Directive {
    Directive { name, scope }
}

pub(super) const TABLE: &[Directive] = &[
    row("virtual", Scope::Global),
    row("virtual6", Scope::Global),
    row("real", Scope::Virtual),
    row("real6", Scope::Virtual),
    row("scheduler", Scope::Virtual),
    row("schedflags", Scope::Virtual),
    row("persistent", Scope::Virtual),
    row("netmask", Scope::Virtual),
    row("protocol", Scope::Virtual),
    row("ops", Scope::Virtual),
    row("service", Scope::Virtual),
    row("checktype", Scope::Virtual),
    row("checkport", Scope::Virtual),
    row("checkcommand", Scope::Virtual),
    row("request", Scope::Virtual),
    row("receive", Scope::Virtual),
    row("virtualhost", Scope::Virtual),
    row("httpmethod", Scope::Virtual),
    row("login", Scope::Virtual),
    row("passwd", Scope::Virtual),
    row("database", Scope::Virtual),
    row("secret", Scope::Virtual),
    row("load", Scope::Virtual),
    row("monitorfile", Scope::Virtual),
    row("servicename", Scope::Virtual),
    row("comment", Scope::Virtual),
    row("checkinterval", Scope::Both),
    row("checktimeout", Scope::Both),
    row("negotiatetimeout", Scope::Both),
    row("checkcount", Scope::Both),
    row("failurecount", Scope::Both),
    row("quiescent", Scope::Both),
    row("cleanstop", Scope::Both),
    row("fallback", Scope::Both),
    row("fallback6", Scope::Both),
    row("fallbackcommand", Scope::Both),
    row("emailalert", Scope::Both),
    row("emailalertfreq", Scope::Both),
    row("emailalertstatus", Scope::Both),
    row("smtp", Scope::Both),
    row("emailalertfrom", Scope::Global),
    row("autoreload", Scope::Global),
    row("callback", Scope::Global),
    row("execute", Scope::Global),
    row("fork", Scope::Global),
    row("logfile", Scope::Global),
    row("maintenancedir", Scope::Global),
    row("readdquiescent", Scope::Global),
    row("supervised", Scope::Global),
    row("timeout", Scope::Nowhere("checktimeout` and `negotiatetimeout")),
    row("connecttimeout", Scope::Nowhere("negotiatetimeout")),
];

/// The directive of that name.
pub(super) fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// Every name, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|directive| directive.name)
}
