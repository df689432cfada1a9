//! `ldirectord.cf`: virtual services, real servers and their checks, as ldirectord 4.12 reads it.
//!
//! `lines` cuts the text into globals and sections, `section` and `server` read the values,
//! `service` puts them together: a [`File`], which says everything that the text does. From it
//! `build` makes the [`VirtualService`]s that the director runs, and `needless` names what there is
//! nothing to do for. The reader is more tolerant than ldirectord where a file that people have is refused
//! over blanks, comments or quotes, and does what the manual page says where ldirectord does
//! something else; each such place is a warning. Defaults are those of ldirectord's code
//! (`quiescent=no`). docs/LDIRECTORD.md is the whole of it, directive by directive.
//!
//! Neighbours: `legacy` finds the files, `check` compares services of several directors.

pub(super) mod address;
pub(super) mod build;
mod directives;
mod exchange;
pub mod file;
pub(super) mod http;
mod lines;
pub(super) mod mail;
mod needless;
pub(super) mod section;
pub(super) mod server;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::check::DraftDirector;
use crate::config::diag::{Diagnostic, Excerpts, Faults, Mark, Span};
use crate::config::source::Source;
use crate::config::{Environment, Watched};
use crate::lvs::model::Director;
#[cfg(doc)]
use crate::lvs::model::VirtualService;
use crate::lvs::notify::Program;
use crate::names::DirectorName;

pub use file::File;

/// What all steps need.
pub(super) struct Context<'c, 's> {
    pub(super) faults: &'c mut Faults<'s>,
    pub(super) environment: &'c dyn Environment,
}

/// A file that was read.
#[derive(Debug)]
pub struct Reading<'s> {
    /// All that it says.
    pub file: File<'s>,
    /// What the director runs of it; incomplete where there is a fault.
    pub director: DraftDirector,
    /// What is wrong with it, and where it is read otherwise than by ldirectord.
    pub found: Vec<Diagnostic>,
    /// What it asks for and is not acted on.
    pub needless: Vec<Diagnostic>,
}

/// What a cluster makes of a file.
#[derive(Debug)]
pub struct Read {
    /// The director.
    pub director: DraftDirector,
    /// What `autoreload` and `callback` ask for, if they do.
    pub watched: Option<Watched>,
    /// Other files that are to be started with this one, and where that is said. `execute`.
    pub execute: Vec<(DirectorName, Mark)>,
    /// What is wrong with it, and what is not acted on.
    pub found: Vec<Diagnostic>,
}

/// Reads the whole file as the director `name`.
pub fn read(source: &Source, name: &DirectorName, environment: &dyn Environment) -> Read {
    let Reading { file, director, mut found, needless } = reading(source, name, environment);
    found.extend(needless);
    let mut faults = source.faults(Excerpts::Shown);
    let mut execute = Vec::new();
    for word in &file.globals.execute {
        match DirectorName::new(word.text) {
            Ok(name) => execute.push((name, faults.mark(word.span()))),
            Err(error) => drop(faults.fault(word.span(), error.to_string())),
        }
    }
    found.extend(faults.into_list());
    found.sort_by_key(|diagnostic| (diagnostic.place.line, diagnostic.place.column));
    let watched = Watched::of(source, &file.globals);
    Read { director, watched: Some(watched).filter(Watched::is_wanted), execute, found }
}

impl Watched {
    /// What the globals of a file ask for.
    pub(super) fn of(source: &Source, globals: &file::Globals<'_>) -> Self {
        Self {
            file: source.file.clone(),
            digest: source.digest,
            auto_reload: globals.auto_reload == Some(true),
            callback: globals.callback.and_then(|line| Program::of_line(line.text)),
        }
    }

    fn is_wanted(&self) -> bool {
        self.auto_reload || self.callback.is_some()
    }
}

/// The same, with the file as values, and with what is wrong apart from what is not acted on.
pub fn reading<'s>(
    source: &'s Source,
    name: &DirectorName,
    environment: &dyn Environment,
) -> Reading<'s> {
    reading_but(source, name, environment, &[])
}

/// The same, where some directives are acted on that are not otherwise.
pub(super) fn reading_but<'s>(
    source: &'s Source,
    name: &DirectorName,
    environment: &dyn Environment,
    acted_on: &[&str],
) -> Reading<'s> {
    let mut faults = source.legacy_faults(Excerpts::Shown);
    let cut = lines::split(&source.text, &mut faults);
    let mut context = Context { faults: &mut faults, environment };
    let file = values(&cut, &mut context);
    readable(source, &file, context.faults);
    let mut services = Vec::new();
    let mut marks = Vec::new();
    for section in &file.virtuals {
        services.push(build::service(section, &file.globals, &mut context));
        marks.push(context.faults.mark(section.head));
    }
    mail::check(&file.globals, &file.virtuals, &mut context);
    let mut rest = source.faults(Excerpts::Shown);
    needless::say(&file, acted_on, &mut rest);
    let maintenance = file.globals.maintenance.map(|word| PathBuf::from(word.text));
    let director =
        Director { name: name.clone(), services, maintenance, follow: false, adopt: false };
    let director = DraftDirector { director, services: marks };
    Reading { file, director, found: faults.into_list(), needless: rest.into_list() }
}

/// A warning about passwords in a file that everybody may read.
fn readable(source: &Source, file: &File<'_>, faults: &mut Faults<'_>) {
    let secret = |section: &file::Virtual<'_>| {
        section.check.password.is_some() || section.check.secret.is_some()
    };
    if source.mode & 0o004 != 0 && file.virtuals.iter().any(secret) {
        let mode = source.mode & 0o7777;
        let message = format!("everybody may read the passwords in this file (mode {mode:04o})");
        faults.warn(Span::FILE, message).help(format!("`chmod 640 {}`", source.file.display()));
    }
}

fn values<'a>(cut: &lines::File<'a>, context: &mut Context<'_, '_>) -> File<'a> {
    let globals = section::globals(&cut.globals, context);
    let mut virtuals = Vec::new();
    let mut keys = BTreeMap::new();
    for raw in &cut.sections {
        let section = section::read(raw, context);
        let head = raw.head;
        let Some(section) = service::resolve(head, section, &globals, context) else { continue };
        let span = head.value.span();
        if let Some(first) = keys.get(&section.key) {
            let message = format!("the virtual service {:#} is there twice", section.key);
            let first = context.faults.mark(*first).place;
            let help = format!("the other one is at {first}");
            context.faults.fault(span, message).help(help);
            continue;
        }
        keys.insert(section.key, span);
        virtuals.push(section);
    }
    if cut.sections.is_empty() {
        let help = "`virtual=192.168.2.110:80`, and below it, indented, `real=...` lines";
        context.faults.warn(Span::FILE, "no virtual service").help(help);
    }
    File { globals, virtuals }
}
