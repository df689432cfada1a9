//! The lines of an ldirectord.cf: globals, and sections that begin with `virtual=`.
//!
//! Knows indents, comments and which directive may stand where; no values.

use crate::config::diag::{Faults, Word, lines, nearest};
use crate::config::ldirectord::directives::{self, Directive, Scope};

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

/// Cuts the text.
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

/// The entry of a line; `None` after a fault.
fn entry<'a>(body: Word<'a>, indent: usize, faults: &mut Faults<'_>) -> Option<Entry<'a>> {
    let (key, value) = match body.split_once("=") {
        Some((key, value)) => (key.trim(), value),
        None => (body.split(|c| c.is_whitespace() || c == '#').first().copied()?, body.part(0..0)),
    };
    let directive = find(key, body, faults)?;
    if let Scope::Nowhere(successor) = directive.scope {
        let message = format!("`{}` is no longer a directive of ldirectord", directive.name);
        faults.fault(key.span(), message).help(format!("write `{successor}`"));
        return None;
    }
    if !body.text.contains('=') && directive.name != "supervised" {
        let help = format!("`{} = VALUE`", directive.name);
        faults.fault(body.span(), "no `=`").help(help);
        return None;
    }
    let value = uncommented(value, faults);
    let end = value.start + value.text.len();
    let cut = end < body.start + body.text.len();
    if cut && indent < INDENT && !directive.name.starts_with("virtual") {
        let comment = body.part(end - body.start..body.text.len()).trim();
        let help = "harmless here; ldirectord would refuse a yes or no with a comment behind it";
        faults.warn(comment.span(), "comment behind a global value").help(help);
    }
    Some(Entry { directive, key, value: value.trim() })
}

/// The directive that the key of the line `body` means; a line with a secret is hidden first.
fn find(key: Word<'_>, body: Word<'_>, faults: &mut Faults<'_>) -> Option<&'static Directive> {
    let exact = directives::find(key.text);
    let lower = key.text.to_ascii_lowercase();
    let folded = exact.or_else(|| directives::find(&lower));
    let near = folded.is_none().then(|| nearest(key.text, directives::names())).flatten();
    let meant = folded.or_else(|| near.and_then(directives::find));
    if meant.is_some_and(Directive::is_secret) {
        faults.hide(body.span());
    }
    if exact.is_some() {
        return exact;
    }
    if let Some(directive) = folded {
        faults.warn(key.span(), format!("read as `{lower}`; ldirectord takes small letters only"));
        return Some(directive);
    }
    let fault = faults.fault(key.span(), format!("unknown directive `{}`", key.text));
    if let Some(near) = near {
        fault.help(format!("did you mean `{near}`?"));
    }
    None
}

/// Up to the first `#` outside of quotes. Where the quotes do not match, up to the first one at
/// all, as with ldirectord.
fn uncommented<'a>(value: Word<'a>, faults: &mut Faults<'_>) -> Word<'a> {
    let mut quoted = false;
    let mut inside = false;
    let mut end = None;
    for (at, c) in value.text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => {
                end = Some(at);
                break;
            }
            '#' => inside = true,
            _ => (),
        }
    }
    if quoted {
        end = value.text.find('#');
    } else if inside {
        let span = value.part(0..end.unwrap_or(value.text.len())).trim().span();
        let message = "a `#` in quotes is part of the text; in a section ldirectord cuts it there";
        faults.warn_once(span, message);
    }
    value.part(0..end.unwrap_or(value.text.len()))
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
        (Scope::Nowhere(_), ..) => (),
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
