//! What a negotiate check says to a server: `service`, `request`, `receive` and what else the file
//! gives it, as the exchange that is made.

use std::net::IpAddr;

use crate::config::ldirectord::file::{Real, Service, Virtual};
use crate::config::ldirectord::{Context, http};
use crate::lvs::exchange::{Exchange, HttpCheck};

/// Whether servers of this kind can be spoken to.
pub(super) fn is_spoken(service: Service) -> bool {
    matches!(service, Service::Http | Service::Https)
}

/// The exchange with the first server of a line, and where it goes when not to the server itself.
/// `None` after a fault.
pub(super) fn of(
    from: &Virtual<'_>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    match from.check.service {
        Service::Http => http(from, line, false, context),
        Service::Https => http(from, line, true, context),
        _ => None,
    }
}

fn http(
    from: &Virtual<'_>,
    line: &Real<'_>,
    tls: bool,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    let request = match line.request(&from.check) {
        Some(word) => http::request(word, tls, context)?,
        None => http::Request { path: "/".to_owned(), elsewhere: None },
    };
    let http = HttpCheck {
        tls,
        method: from.check.method,
        path: request.path,
        host: from.check.host.map(str::to_owned),
        receive: line.receive(&from.check).map(|word| word.text.to_owned()),
    };
    Some((Exchange::Http(http), request.elsewhere))
}
