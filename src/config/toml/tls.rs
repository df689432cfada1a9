//! What a check of pairbeat.toml says of TLS: `verify`, `ca`, `warn_days`, `starttls`.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::diag::Span;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::exchange::{Authority, Encryption, Tls, WARN_DAYS};

/// Most days before the end of a certificate from which on it can be warned of.
const WARN_DAYS_MAX: u32 = 3650;

/// How far a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    /// `false`: not at all.
    Nothing,
    /// `true`: who has signed it.
    Chain,
    /// `"name"`: also whether it is for the name that is asked for.
    Name,
}

/// The words.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    verify: Option<Verify>,
    ca: Option<PathBuf>,
    warn_days: Option<u16>,
    pub(super) starttls: Option<bool>,
}

impl Said {
    /// From the fields of a check.
    pub(super) fn read(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Self {
        let verify = fields.take("verify");
        let at = verify.map(|item| item.span);
        let verify = verify.and_then(|item| self::verify(item, walk));
        let ca = fields.take("ca").and_then(|item| ca(item, walk));
        if let (Some(at), Some(Verify::Nothing), Some(_)) = (at, verify, &ca) {
            walk.faults.fault(at, "`verify = false`, and yet there is a `ca`");
        }
        let days = fields.take("warn_days").and_then(|it| it.number(0, WARN_DAYS_MAX, walk));
        Self {
            verify,
            ca,
            warn_days: days.and_then(|days| u16::try_from(days).ok()),
            starttls: fields.take("starttls").and_then(|item| item.boolean(walk)),
        }
    }

    /// What this one does not say, `farther` does; but anybody is nobody in particular.
    pub(super) fn or(self, farther: &Self) -> Self {
        let anybody = self.verify == Some(Verify::Nothing);
        let by_whom = self.ca.is_some();
        Self {
            verify: self.verify.or(farther.verify.filter(|it| !by_whom || *it != Verify::Nothing)),
            ca: self.ca.or_else(|| farther.ca.clone().filter(|_| !anybody)),
            warn_days: self.warn_days.or(farther.warn_days),
            starttls: self.starttls.or(farther.starttls),
        }
    }

    /// TLS where the type of the check has it.
    pub(super) fn tls(&self) -> Tls {
        let authority = match (self.verify, &self.ca) {
            (Some(Verify::Nothing), _) => Authority::Anybody,
            (_, Some(path)) => Authority::File(path.clone()),
            (_, None) => Authority::System,
        };
        let name = self.verify == Some(Verify::Name);
        Tls { authority, name, warn_days: self.warn_days.unwrap_or(WARN_DAYS) }
    }

    /// TLS where it must be asked for: only with somebody who is known.
    pub(super) fn demanded(&self) -> Option<Tls> {
        let verified = matches!(self.verify, Some(Verify::Chain | Verify::Name));
        (verified || self.ca.is_some()).then(|| self.tls())
    }

    /// Of a protocol that can begin TLS later, where `direct` does not say from the first byte on.
    pub(super) fn encryption(&self, direct: bool) -> Encryption {
        match (direct, self.starttls) {
            (true, _) => Encryption::Tls(self.tls()),
            (false, Some(true)) => Encryption::StartTls(self.tls()),
            (false, _) => Encryption::Plain,
        }
    }

    /// A protocol that has no STARTTLS here is not taken for encrypted.
    pub(super) fn without_starttls(&self, kind: &str, at: Span, walk: &mut Walk<'_>) {
        if self.starttls == Some(true) {
            let message = format!("`starttls` is not for a check of type {kind}");
            walk.faults.fault(at, message).help("smtp, submission, imap and pop have it");
        }
    }
}

fn verify(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Verify> {
    if !item.is_text() {
        let on = item.boolean(walk)?;
        return Some(if on { Verify::Chain } else { Verify::Nothing });
    }
    let word = item.text(walk)?;
    if word.text == "name" {
        return Some(Verify::Name);
    }
    let message = format!("`{}` is not a way to look at a certificate", word.text);
    let help = "true (who has signed it), \"name\" (also for whom), or false";
    walk.faults.fault(item.span, message).help(help);
    None
}

/// A file with certificates in it, beside this one where the path is not absolute. The checker
/// reads it again with each list of checks.
fn ca(item: Item<'_>, walk: &mut Walk<'_>) -> Option<PathBuf> {
    let word = item.text(walk)?;
    let path = walk.directory.join(word.text);
    let found = match walk.environment.read(&path) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("`{}`: cannot read: {error}", word.text);
            walk.faults.fault(word.span(), message);
            return None;
        }
    };
    if CertificateDer::pem_slice_iter(&found.bytes).any(|it| it.is_ok()) {
        return Some(path);
    }
    let message = format!("no certificate in `{}`", word.text);
    walk.faults.fault(word.span(), message).help("PEM: `-----BEGIN CERTIFICATE-----`");
    None
}
