//! What an OCF agent says of itself: its parameters, and how long its actions may take.
//!
//! The text is the agent's `meta-data` (OCF Resource Agent API 1.0, ra-api-1.dtd). It advises: an
//! agent whose text can't be read is used as it is.

use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

/// Most elements of a text that is read; the largest agent of Debian has some 500.
const NODES_MAX: u32 = 20_000;

/// An agent in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Metadata {
    /// Its parameters in order, each with whether it must be given.
    pub(super) parameters: Vec<(String, bool)>,
    actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Action {
    name: String,
    timeout: Option<Duration>,
    interval: Option<Duration>,
}

impl Metadata {
    /// Reads the text; `None` when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let options =
            ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
        let document = Document::parse_with_options(text, options).ok()?;
        let root = document.root_element();
        if root.tag_name().name() != "resource-agent" {
            return None;
        }
        let named = |tag: &'static str| root.descendants().filter(move |it| it.has_tag_name(tag));
        let parameters = named("parameter").filter_map(|it| {
            let required = matches!(it.attribute("required"), Some("1" | "true" | "yes"));
            Some((it.attribute("name")?.to_owned(), required))
        });
        let actions = named("action").filter_map(action);
        Some(Self { parameters: parameters.collect(), actions: actions.collect() })
    }

    /// The longest that this action should take.
    pub(super) fn timeout(&self, action: &str) -> Option<Duration> {
        self.actions.iter().find(|it| it.name == action)?.timeout
    }

    /// From one monitoring to the next.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.actions.iter().find(|it| it.name == "monitor")?.interval
    }
}

fn action(node: Node<'_, '_>) -> Option<Action> {
    let time = |key| node.attribute(key).and_then(time).filter(|time| !time.is_zero());
    let name = node.attribute("name")?.to_owned();
    Some(Action { name, timeout: time("timeout"), interval: time("interval") })
}

/// A time of the meta-data: seconds, or with a unit.
fn time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let number: u64 = number.parse().ok()?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit.trim() {
        "" | "s" | "sec" => seconds(1),
        "ms" | "msec" => Some(Duration::from_millis(number)),
        "m" | "min" => seconds(60),
        "h" | "hr" => seconds(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_limits_are_found_behind_a_document_type() {
        let text = r#"<?xml version="1.0"?>
            <!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
            <resource-agent name="A"><parameters>
              <parameter name="device" required="1"><content type="string"/></parameter>
              <parameter name="options"/>
            </parameters><actions>
              <action name="start" timeout="1m"/><action name="stop" timeout="20"/>
              <action name="monitor" depth="0" timeout="40s" interval="20s"/>
            </actions></resource-agent>"#;
        let known = Metadata::parse(text).unwrap();
        assert_eq!(known.parameters, [("device".to_owned(), true), ("options".to_owned(), false)]);
        let seconds = |action| known.timeout(action).map(|it| it.as_secs());
        let all = ["start", "stop", "monitor", "reload"].map(seconds);
        assert_eq!(all, [Some(60), Some(20), Some(40), None]);
        assert_eq!(known.interval(), Some(Duration::from_secs(20)));
    }

    #[test]
    fn what_is_no_metadata_is_none() {
        for text in ["", "usage: A {start|stop}", "<a/>", "<resource-agent>"] {
            assert_eq!(Metadata::parse(text), None, "{text}");
        }
    }

    #[test]
    fn entities_that_multiply_are_refused() {
        let text = r#"<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
            <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">
            <!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;">
            <!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;"><!ENTITY h "&g;&g;&g;&g;&g;&g;&g;&g;">
            ]><resource-agent>&h;</resource-agent>"#;
        assert_eq!(Metadata::parse(text), None);
    }
}
