//! keepalived.conf as a tree: comments, quotes, macros, `include`, conditional lines.
//!
//! Knows no keyword but `include`. What it can't make sense of is a remark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::import::World;
use crate::import::remark::{At, Remarks};

/// Deepest blocks; keepalived's own language has five.
const DEPTH_MAX: usize = 16;
/// Deepest includes, and most files: a file that includes itself ends there.
const INCLUDE_DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 1_000;
/// Longest line once its macros are in, in bytes.
const LINE_MAX: usize = 4_096;
/// Most lines of all files.
const LINES_MAX: usize = 200_000;
/// Ways to say that a file is to be read here.
const INCLUDES: &[&str] = &["include", "includer", "includem", "includew", "includeb", "includea"];

/// A line, and the block that it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) at: At,
    /// At least one.
    pub(super) words: Vec<String>,
    /// `None`: a line without a block.
    pub(super) block: Option<Vec<Node>>,
}

impl Node {
    pub(super) fn word(&self, number: usize) -> Option<&str> {
        self.words.get(number).map(String::as_str)
    }

    pub(super) fn keyword(&self) -> &str {
        self.word(0).unwrap_or_default()
    }

    /// The lines of its block.
    pub(super) fn lines(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it was written, more or less.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// One line of one file, in pieces.
struct Line {
    at: At,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

/// The files of one node.
#[derive(Debug)]
pub(super) struct Files {
    /// The tree.
    pub(super) nodes: Vec<Node>,
    /// What lines are conditional on (`@id`), each once.
    pub(super) ids: Vec<String>,
}

/// Reads a file and those that it includes, as the node `id` does.
///
/// # Errors
/// Why the first file can't be read.
pub(super) fn read(
    path: &Path,
    id: Option<&str>,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Result<Files, String> {
    let mut reader = Reader {
        id,
        world,
        remarks,
        ids: Vec::new(),
        macros: BTreeMap::new(),
        lines: Vec::new(),
        files: 0,
    };
    reader.file(path, 0)?;
    let Reader { ids, lines, .. } = reader;
    let mut lines = lines.into_iter().peekable();
    let mut nodes = Vec::new();
    let mut stack: Vec<Node> = Vec::new();
    for line in &mut lines {
        tree(line, &mut nodes, &mut stack, remarks);
    }
    while let Some(open) = stack.pop() {
        remarks.changed(
            &open.at,
            format!("`{}`: its block is never closed; it ends with the file", open.text()),
        );
        stack.last_mut().map_or(&mut nodes, |it| it.block.get_or_insert_default()).push(open);
    }
    Ok(Files { nodes, ids })
}

/// Puts the pieces of a line into the tree.
fn tree(line: Line, nodes: &mut Vec<Node>, stack: &mut Vec<Node>, remarks: &mut Remarks) {
    let at = line.at;
    let mut words: Vec<String> = Vec::new();
    let flush = |words: &mut Vec<String>, nodes: &mut Vec<Node>, stack: &mut Vec<Node>| {
        if !words.is_empty() {
            let node = Node { at: at.clone(), words: std::mem::take(words), block: None };
            stack.last_mut().map_or(nodes, |it| it.block.get_or_insert_default()).push(node);
        }
    };
    for token in line.tokens {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open if stack.len() >= DEPTH_MAX => {
                remarks.left_out(&at, format!("over {DEPTH_MAX} blocks in each other"));
                words.clear();
            }
            Token::Open => {
                if words.is_empty() {
                    // On a line of its own: the block of the line above.
                    let above =
                        stack.last_mut().map_or(&mut *nodes, |it| it.block.get_or_insert_default());
                    match above.pop_if(|node| node.block.is_none()) {
                        Some(node) => stack.push(Node { block: Some(Vec::new()), ..node }),
                        None => remarks.unknown(&at, "a `{` that opens no block"),
                    }
                } else {
                    let words = std::mem::take(&mut words);
                    stack.push(Node { at: at.clone(), words, block: Some(Vec::new()) });
                }
            }
            Token::Close => {
                flush(&mut words, nodes, stack);
                match stack.pop() {
                    Some(node) => stack
                        .last_mut()
                        .map_or(&mut *nodes, |it| it.block.get_or_insert_default())
                        .push(node),
                    None => remarks.unknown(&at, "a `}` that closes no block"),
                }
            }
        }
    }
    flush(&mut words, nodes, stack);
}

struct Reader<'r> {
    id: Option<&'r str>,
    world: &'r World<'r>,
    remarks: &'r mut Remarks,
    ids: Vec<String>,
    macros: BTreeMap<String, String>,
    lines: Vec<Line>,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        self.files += 1;
        let text = self.world.text(path)?;
        let mut number = 0;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            number += 1;
            let at = At::new(path, number);
            let mut whole = line.to_owned();
            while whole.ends_with('\\') && whole.len() < LINE_MAX {
                whole.pop();
                let Some(next) = lines.next() else { break };
                number += 1;
                whole.push('\n');
                whole.push_str(next);
            }
            if self.lines.len() >= LINES_MAX {
                self.remarks
                    .left_out(&at, format!("this and everything below: over {LINES_MAX} lines"));
                break;
            }
            self.line(&whole, &at, path, depth);
        }
        Ok(())
    }

    fn line(&mut self, text: &str, at: &At, path: &Path, depth: usize) {
        let text = without_comment(text);
        let Some(text) = self.for_us(text.trim(), at) else { return };
        if self.definition(&text, at) {
            return;
        }
        let text = self.expanded(&text, at);
        for line in text.split('\n') {
            let tokens = tokens(line);
            let include = match tokens.as_slice() {
                [Token::Word(word), Token::Word(pattern)] if INCLUDES.contains(&word.as_str()) => {
                    Some(pattern)
                }
                _ => None,
            };
            if let Some(pattern) = include {
                self.include(pattern, at, path, depth);
            } else if !tokens.is_empty() {
                self.lines.push(Line { at: at.clone(), tokens });
            }
        }
    }

    /// `@id rest` is for the node with that id, `@^id rest` for all others.
    fn for_us(&mut self, text: &str, at: &At) -> Option<String> {
        let Some(conditional) = text.strip_prefix('@') else { return Some(text.to_owned()) };
        let Some((id, rest)) = conditional.split_once(char::is_whitespace) else {
            return Some(text.to_owned());
        };
        let (id, negated) = id.strip_prefix('^').map_or((id, false), |id| (id, true));
        if !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
        }
        if (self.id == Some(id)) == negated {
            if self.id.is_none() {
                self.remarks.left_out(at, format!("`{text}` is for the node `{id}` only"));
            }
            return None;
        }
        Some(rest.trim_start().to_owned())
    }

    /// `$NAME=VALUE`.
    fn definition(&mut self, text: &str, at: &At) -> bool {
        let Some((name, value)) = text.strip_prefix('$').and_then(|text| text.split_once('='))
        else {
            return false;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        let value = self.expanded(value, at);
        self.macros.insert(name.to_owned(), value);
        true
    }

    fn expanded(&mut self, text: &str, at: &At) -> String {
        if text.contains("~SEQ(") || text.contains("~LST(") {
            self.remarks.left_out(
                at,
                "`~SEQ` and `~LST` are not worked out: write the lines that they make",
            );
        }
        if !text.contains('$') {
            return text.to_owned();
        }
        let mut made = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            made.push_str(before);
            let (name, behind) = match after.strip_prefix('{').and_then(|it| it.split_once('}')) {
                Some(found) => found,
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    after.split_at(end.unwrap_or(after.len()))
                }
            };
            match self.macros.get(name) {
                Some(value) if made.len() + value.len() <= LINE_MAX => {
                    made.push_str(value);
                    rest = behind;
                }
                _ => {
                    if !name.is_empty() {
                        self.remarks.unknown(at, format!("`${name}` is not defined"));
                    }
                    made.push('$');
                    rest = after;
                }
            }
        }
        made.push_str(rest);
        made
    }

    fn include(&mut self, pattern: &str, at: &At, path: &Path, depth: usize) {
        let pattern = path.parent().unwrap_or(Path::new("")).join(pattern);
        let mut files: Vec<PathBuf> = (self.world.list)(&pattern);
        files.sort();
        if files.is_empty() {
            self.remarks.left_out(at, format!("`include {}`: no such file", pattern.display()));
        }
        for file in files {
            if depth >= INCLUDE_DEPTH_MAX || self.files >= FILES_MAX {
                self.remarks.left_out(at, format!("`{}`: too many includes", file.display()));
            } else if let Err(why) = self.file(&file, depth + 1) {
                self.remarks.left_out(at, format!("`include`: {why}"));
            }
        }
    }
}

/// `!` and `#` begin one wherever they stand, but for quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '!' | '#' if !quoted => return line.get(..at).unwrap_or_default(),
            _ => (),
        }
    }
    line
}

/// Words; quotes are taken off, and braces stand for themselves even where no blank is beside them.
fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => word.get_or_insert_default().push(c),
            '"' | '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            c if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    tokens
}
