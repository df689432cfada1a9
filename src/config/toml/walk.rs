//! Walking through a parsed TOML document with every fault collected.
//!
//! [`Fields`] remembers which keys were asked for, so that what is left over is unknown, and the
//! suggestions are exactly the keys that are understood there. Knows no key by name.

use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::diag::{Diagnostic, Excerpts, Faults, Span, Word, nearest};
use crate::config::keys::permissions;
use crate::config::source::Source;
use crate::config::{Environment, haresources, ldirectord, value};
use crate::keys::Secret;
use crate::names::NodeName;

/// What all parts of the reader need.
pub(super) struct Walk<'s> {
    pub(super) faults: Faults<'s>,
    pub(super) text: &'s str,
    pub(super) environment: &'s dyn Environment,
    /// Whose configuration this will be.
    pub(super) node: &'s NodeName,
    /// Of the file.
    pub(super) directory: &'s Path,
    /// The syntax is faulty: what is missing or of the wrong type may be well all the same.
    pub(super) broken: bool,
    /// What is wrong with other files that this one names.
    pub(super) others: Vec<Diagnostic>,
}

impl<'s> Walk<'s> {
    /// For the parts shared with ldirectord.cf.
    pub(super) fn director(&mut self) -> ldirectord::Context<'_, 's> {
        ldirectord::Context { faults: &mut self.faults, environment: self.environment }
    }

    /// For the parts shared with haresources.
    pub(super) fn resource(&mut self) -> haresources::Context<'_, 's> {
        haresources::Context {
            directory: self.directory,
            environment: self.environment,
            faults: &mut self.faults,
        }
    }

    /// The first line of a file that only its owner may read.
    pub(super) fn password(&mut self, file: Word<'_>) -> Option<Secret> {
        let source = match Source::open(&self.directory.join(file.text), self.environment) {
            Ok(source) => source,
            Err(error) => {
                self.faults.fault(file.span(), format!("`{}`: {}", file.text, error.message));
                return None;
            }
        };
        let mut faults = source.faults(Excerpts::Hidden);
        permissions(&source, &mut faults);
        self.others.extend(faults.into_list());
        let line = source.text.lines().next().map(str::trim).filter(|line| !line.is_empty());
        if line.is_none() {
            let message = format!("no password in the first line of `{}`", file.text);
            self.faults.fault(file.span(), message);
        }
        line.map(Secret::new)
    }

    /// Complains that something is missing.
    pub(super) fn missing(&mut self, at: Span, message: &str, help: &str) {
        if !self.broken {
            self.faults.fault(at, message).help(help);
        }
    }
}

/// A value and its place.
#[derive(Clone, Copy)]
pub(super) struct Item<'d> {
    value: &'d DeValue<'d>,
    pub(super) span: Span,
}

impl<'d> Item<'d> {
    fn wrong<T>(&self, walk: &mut Walk<'_>, wanted: &str) -> Option<T> {
        let found = match self.value {
            DeValue::Integer(_) => "an integer",
            DeValue::Array(_) => "an array",
            other => &format!("a {}", other.type_str()),
        };
        // The parser's guess at what a broken line means is nobody's mistake.
        if walk.broken {
            return None;
        }
        walk.faults.fault(self.span, format!("{wanted} is wanted here, not {found}"));
        None
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_boolean(&self) -> bool {
        self.value.is_bool()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// A string. Its parts have the right places where it has no escapes.
    pub(super) fn text(&self, walk: &mut Walk<'_>) -> Option<Word<'d>> {
        let Some(text) = self.value.as_str() else { return self.wrong(walk, "a string") };
        let raw = walk.text.get(self.span.start..self.span.end).unwrap_or_default();
        let quotes = if raw.get(1..raw.len().saturating_sub(1)) == Some(text) { 1 } else { 0 };
        Some(Word { text, start: self.span.start + quotes })
    }

    pub(super) fn boolean(&self, walk: &mut Walk<'_>) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong(walk, "true or false"))
    }

    /// A string, a whole number or a boolean, as text.
    pub(super) fn scalar(&self, walk: &mut Walk<'_>) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(integer) => Some(integer.as_str().to_owned()),
            DeValue::Boolean(on) => Some(on.to_string()),
            _ => self.wrong(walk, "a string, a number, true or false"),
        }
    }

    pub(super) fn number(&self, low: u32, high: u32, walk: &mut Walk<'_>) -> Option<u32> {
        u32::try_from(self.integer(low.into(), high.into(), walk)?).ok()
    }

    pub(super) fn integer(&self, low: i64, high: i64, walk: &mut Walk<'_>) -> Option<i64> {
        let Some(integer) = self.value.as_integer() else {
            return self.wrong(walk, "a whole number");
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            walk.faults.fault(self.span, format!("not a whole number of {low} to {high}"));
        }
        number
    }

    pub(super) fn port(&self, walk: &mut Walk<'_>) -> Option<u16> {
        u16::try_from(self.number(1, u32::from(u16::MAX), walk)?).ok()
    }

    /// A time with its unit.
    pub(super) fn time(&self, walk: &mut Walk<'_>) -> Option<Duration> {
        const HELP: &str = "a number and its unit: \"200ms\", \"2s\", \"1m\"";
        if !self.is_text() {
            return self.wrong(walk, "a time in quotes, as \"200ms\",");
        }
        let word = self.text(walk)?;
        let time = value::duration(word.text);
        if time.is_none() {
            walk.faults.fault(word.span(), format!("`{}` is not a time", word.text)).help(HELP);
        }
        time
    }

    /// The items of an array.
    pub(super) fn items(&self, walk: &mut Walk<'_>) -> Vec<Item<'d>> {
        match self.value.as_array() {
            Some(array) => array
                .iter()
                .map(|item| Item { value: item.get_ref(), span: item.span().into() })
                .collect(),
            None => {
                self.wrong::<()>(walk, "an array");
                Vec::new()
            }
        }
    }

    pub(super) fn fields(&self, walk: &mut Walk<'_>) -> Option<Fields<'d>> {
        match self.value.as_table() {
            Some(table) => Some(Fields::new(table, self.span)),
            None => self.wrong(walk, "a table"),
        }
    }
}

/// One key of a table.
struct Field<'d> {
    key: Word<'d>,
    key_span: Span,
    item: Item<'d>,
    taken: bool,
}

/// A table whose keys are taken one by one.
pub(super) struct Fields<'d> {
    /// The table's header, or the whole inline table.
    pub(super) span: Span,
    fields: Vec<Field<'d>>,
    asked: Vec<&'static str>,
}

impl<'d> Fields<'d> {
    pub(super) fn new(table: &'d DeTable<'d>, span: Span) -> Self {
        let fields = table.iter().map(|(key, value)| Field {
            key: Word { text: key.get_ref(), start: key.span().start },
            key_span: key.span().into(),
            item: Item { value: value.get_ref(), span: value.span().into() },
            taken: false,
        });
        Self { span, fields: fields.collect(), asked: Vec::new() }
    }

    /// A table with nothing in it.
    pub(super) fn none() -> Self {
        Self { span: Span::FILE, fields: Vec::new(), asked: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.push(key);
        let field = self.fields.iter_mut().find(|field| field.key.text == key)?;
        field.taken = true;
        Some(field.item)
    }

    /// All keys with their values, for tables whose keys are names.
    pub(super) fn take_all(&mut self) -> Vec<(Word<'d>, Item<'d>)> {
        let fields = self.fields.iter_mut();
        fields
            .map(|field| {
                field.taken = true;
                (field.key, field.item)
            })
            .collect()
    }

    /// Complains about the keys that nobody asked for.
    pub(super) fn finish(self, walk: &mut Walk<'_>) {
        for field in self.fields.iter().filter(|field| !field.taken) {
            let near = nearest(field.key.text, self.asked.iter().copied());
            let known = self.asked.join(", ");
            let message = format!("unknown key `{}`", field.key.text);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {known}"),
            };
            walk.faults.fault(field.key_span, message).help(help);
        }
    }
}
