//! The lines of an ldirectord.cf: globals, and sections that begin with `virtual=`.
//!
//! Knows indents, comments and which directive may stand where; no values.

use crate::config::diag::{Faults, Word, lines, nearest};
use crate::config::ldirectord::directives::{self, Directive, Role, Scope};
use crate::config::value;

/// Blanks that make a line part of a section for ldirectord; a tab counts for so many.
const INDENT: usize = 4;

/// One `key = value`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) directive: &'static Directive,
    pub(super) key: Word<'a>,
    /// Without comment and blanks at the ends.
    pub(super) value: Word<'a>,
}

/// A virtual service as it stands there.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) head: Entry<'a>,
    pub(super) entries: Vec<Entry<'a>>,
}

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct File<'a> {
    pub(super) globals: Vec<Entry<'a>>,
    pub(super) sections: Vec<Section<'a>>,
}

/// Cuts the text; only entries that are acted on are left.
pub(super) fn split<'a>(text: &'a str, faults: &mut Faults<'_>) -> File<'a> {
    let mut file = File::default();
    // Whether ldirectord would take an indented line as part of the last section.
    let mut open = false;
    for line in lines(text) {
        let body = line.trim();
        if body.text.is_empty() {
            open = false;
            continue;
        }
        if body.text.starts_with('#') {
            continue;
        }
        let indent = indent(line);
        if let Some(entry) = entry(body, indent, faults) {
            place(&mut file, entry, indent, &mut open, faults);
        }
    }
    file
}

fn indent(line: Word<'_>) -> usize {
    let blanks = line.text.chars().take_while(|c| c.is_whitespace());
    blanks.map(|c| if c == '\t' { INDENT } else { 1 }).sum()
}

/// The entry of a line; `None` after a fault, or when it is not acted on.
fn entry<'a>(body: Word<'a>, indent: usize, faults: &mut Faults<'_>) -> Option<Entry<'a>> {
    let (key, value) = match body.split_once("=") {
        Some((key, value)) => (key.trim(), value),
        None => (body.split(|c| c.is_whitespace() || c == '#').first().copied()?, body.part(0..0)),
    };
    let directive = find(key, faults)?;
    if !body.text.contains('=') && directive.name != "supervised" {
        let help = format!("`{} = VALUE`", directive.name);
        faults.fault(body.span(), "no `=`").help(help);
        return None;
    }
    let value = uncommented(value);
    let end = value.start + value.text.len();
    let cut = end < body.start + body.text.len();
    if cut && indent < INDENT && !directive.name.starts_with("virtual") {
        let comment = body.part(end - body.start..body.text.len()).trim();
        let help = "harmless here; ldirectord would refuse a yes or no with a comment behind it";
        faults.warn(comment.span(), "comment behind a global value").help(help);
    }
    let entry = Entry { directive, key, value: value.trim() };
    acted_on(&entry, faults).then_some(entry)
}

fn find(key: Word<'_>, faults: &mut Faults<'_>) -> Option<&'static Directive> {
    if let Some(directive) = directives::find(key.text) {
        return Some(directive);
    }
    let lower = key.text.to_ascii_lowercase();
    if let Some(directive) = directives::find(&lower) {
        faults.warn(key.span(), format!("read as `{lower}`; ldirectord takes small letters only"));
        return Some(directive);
    }
    let near = nearest(key.text, directives::names());
    let fault = faults.fault(key.span(), format!("unknown directive `{}`", key.text));
    if let Some(near) = near {
        fault.help(format!("did you mean `{near}`?"));
    }
    None
}

fn acted_on(entry: &Entry<'_>, faults: &mut Faults<'_>) -> bool {
    let name = entry.directive.name;
    let consequence = match entry.directive.role {
        Role::Active => return true,
        Role::Ignored(consequence) => consequence,
        Role::IgnoredSwitch(consequence) => match value::boolean(entry.value.text) {
            Some(false) => return false,
            Some(true) => consequence,
            None if name == "supervised" && entry.value.text.is_empty() => consequence,
            None => {
                faults.fault(entry.value.span(), format!("`{name}` is yes or no"));
                return false;
            }
        },
        Role::Deprecated(successor) => {
            let message = format!("`{name}` is no longer a directive of ldirectord");
            faults.fault(entry.key.span(), message).help(format!("write `{successor}`"));
            return false;
        }
    };
    let message = format!("`{name}` is not acted on{consequence}");
    let warning = faults.warn(entry.key.span(), message);
    if matches!(name, "login" | "passwd" | "secret") {
        warning.conceal();
    }
    false
}

/// Up to the first `#` outside of quotes. Where the quotes do not match, up to the first one at
/// all, as with ldirectord.
fn uncommented(value: Word<'_>) -> Word<'_> {
    let mut quoted = false;
    for (at, c) in value.text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return value.part(0..at),
            _ => (),
        }
    }
    match value.text.find('#') {
        Some(at) if quoted => value.part(0..at),
        _ => value,
    }
}

/// Puts an entry where it belongs, with a warning where ldirectord would not.
fn place<'a>(
    file: &mut File<'a>,
    entry: Entry<'a>,
    indent: usize,
    open: &mut bool,
    faults: &mut Faults<'_>,
) {
    let name = entry.directive.name;
    let span = entry.key.span();
    if matches!(name, "virtual" | "virtual6") {
        if indent > 0 {
            faults.warn(span, format!("`{name}` is indented; ldirectord wants it at the margin"));
        }
        file.sections.push(Section { head: entry, entries: Vec::new() });
        *open = true;
        return;
    }
    let section = file.sections.last_mut();
    match (entry.directive.scope, section, indent) {
        (Scope::Global, _, 0) | (Scope::Both, _, 0) => file.globals.push(entry),
        (Scope::Global, ..) | (Scope::Both, None, _) => {
            let help = "ldirectord wants it at the margin";
            faults.warn(span, format!("`{name}` is read as a global")).help(help);
            file.globals.push(entry);
        }
        (Scope::Virtual, None, _) => {
            let help = "put it, indented, below a `virtual=` line";
            faults.fault(span, format!("`{name}` outside of a virtual service")).help(help);
        }
        (_, Some(section), _) => {
            if !*open || indent < INDENT {
                let head = section.head.value.text;
                let why = if *open {
                    "ldirectord wants it indented by a tab or four blanks"
                } else {
                    "for ldirectord a section ends with the first blank line or global"
                };
                faults.warn(span, format!("`{name}` is read as part of {head}")).help(why);
                // One warning for a whole block that is set apart.
                *open = *open || indent >= INDENT;
            }
            section.entries.push(entry);
            return;
        }
    }
    *open = *open && indent > 0;
}
