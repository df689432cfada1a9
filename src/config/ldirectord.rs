//! `ldirectord.cf`: virtual services, real servers and their checks, as ldirectord 4.12 reads it.
//!
//! Three steps: `lines` cuts the text into globals and sections, `section` reads the values of
//! each, `service` and `server` build [`VirtualService`]s from them. The reader is more tolerant
//! than ldirectord where a file that people have is refused over blanks, comments or quotes, and
//! does what the manual page says where ldirectord does something else; each such place is a
//! warning. Defaults are those of ldirectord's code (`quiescent=no`).
//!
//! Neighbours: `legacy` finds the files, `check` compares services of several directors.

pub(super) mod address;
mod directives;
pub(super) mod http;
mod lines;
pub(super) mod section;
pub(super) mod server;
pub(super) mod service;
#[cfg(test)]
mod tests;

use crate::config::Environment;
use crate::config::check::DraftDirector;
use crate::config::diag::{Diagnostic, Excerpts, Faults};
use crate::config::source::Source;
use crate::lvs::model::Director;
#[cfg(doc)]
use crate::lvs::model::VirtualService;
use crate::names::DirectorName;

/// What all steps need.
pub(super) struct Context<'c, 's> {
    pub(super) faults: &'c mut Faults<'s>,
    pub(super) environment: &'c dyn Environment,
}

/// Reads the whole file as the director `name`.
pub fn read(
    source: &Source,
    name: &DirectorName,
    environment: &dyn Environment,
) -> (DraftDirector, Vec<Diagnostic>) {
    let mut faults = source.legacy_faults(Excerpts::Shown);
    let file = lines::split(&source.text, &mut faults);
    let mut context = Context { faults: &mut faults, environment };
    let globals = section::common(&file.globals, &mut context);
    let mut services = Vec::new();
    let mut marks = Vec::new();
    for raw in &file.sections {
        let section = section::read(raw, &mut context);
        if let Some(service) = service::build(raw.head, &section, &globals, &mut context) {
            services.push(service);
            marks.push(context.faults.mark(raw.head.value.span()));
        }
    }
    if file.sections.is_empty() {
        let help = "`virtual=192.168.2.110:80`, and below it, indented, `real=...` lines";
        faults.warn(crate::config::diag::Span::FILE, "no virtual service").help(help);
    }
    let director = Director { name: name.clone(), services };
    (DraftDirector { director, services: marks }, faults.into_list())
}
