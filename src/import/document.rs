//! TOML text with comments: a small tree, and its writer.

use std::fmt::Write as _;
use std::time::Duration;

/// Longest line that an array or a table is put on.
const LINE_MAX: usize = 100;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Number(u64),
    /// `true` or `false`.
    Boolean(bool),
    /// Several; one on each line where they are long.
    Array(Vec<Value>),
    /// An inline table.
    Table(Table),
}

/// Keys and values in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table(pub(super) Vec<(String, Value)>);

impl Table {
    pub(super) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push((key.to_owned(), value.into()));
    }

    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.put(key, value);
        self
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a key; empty where it has none.
    pub(super) fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// Nothing where there is nothing.
    pub(super) fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(u64::from(number))
    }
}

impl From<bool> for Value {
    fn from(on: bool) -> Self {
        Self::Boolean(on)
    }
}

/// As short as it can be said: `90s`, `1500ms`.
impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        let millis = time.as_millis();
        Self::Text(if millis.is_multiple_of(1000) {
            format!("{}s", millis / 1000)
        } else {
            format!("{millis}ms")
        })
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

/// A table with its header, or the comments at the beginning and at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Block {
    /// Lines above it.
    pub(super) comments: Vec<String>,
    /// `[cluster]`, `[[link]]`; empty: none.
    pub(super) header: String,
    /// What it holds, each with the comments above it.
    pub(super) entries: Vec<(Vec<String>, String, Value)>,
}

impl Block {
    pub(super) fn new(header: &str) -> Self {
        Self { header: header.to_owned(), ..Self::default() }
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.entries.push((Vec::new(), key.to_owned(), value.into()));
    }

    pub(super) fn put_table(&mut self, table: Table) {
        for (key, value) in table.0 {
            self.put(&key, value);
        }
    }
}

/// The whole text.
pub(super) fn text(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        comments(&mut text, &block.comments);
        if !block.header.is_empty() {
            let _ = writeln!(text, "{}", block.header);
        }
        for (above, name, value) in &block.entries {
            comments(&mut text, above);
            let _ = writeln!(text, "{} = {}", key(name), written(value, name.len() + 3));
        }
    }
    text
}

fn comments(text: &mut String, lines: &[String]) {
    for line in lines {
        let line: String =
            line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

/// Bare where it can be.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

fn written(value: &Value, before: usize) -> String {
    let Value::Array(items) = value else { return inline(value) };
    let line = inline(value);
    let several_tables = matches!(items.as_slice(), [Value::Table(_), ..]);
    if !several_tables && line.len() + before <= LINE_MAX {
        return line;
    }
    let items: String = items.iter().map(|item| format!("    {},\n", inline(item))).collect();
    format!("[\n{items}]")
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Boolean(on) => on.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Table(Table(entries)) => {
            let entries =
                entries.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A basic string (TOML 1.0).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_is_read_back() {
        let odd = "a \"b\" \\ c\nd\te \u{1}\u{85} é";
        let table = Table::default().with("text", odd).with("a key", 7).with("on", true);
        let mut block = Block::new("[x]");
        block.comments.push("several\nlines".to_owned());
        block.put("list", vec![table.clone(), table]);
        block.put("time", Duration::from_millis(1500));
        let text = text(&[block]);
        let read: toml::Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read["x"]["list"][1]["text"].as_str(), Some(odd));
        assert_eq!(read["x"]["list"][0]["a key"].as_integer(), Some(7));
        assert_eq!(read["x"]["time"].as_str(), Some("1500ms"));
    }
}
