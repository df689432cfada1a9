//! `[ipvs]`: settings of the kernel's IPVS.

use std::collections::BTreeMap;

use crate::config::diag::nearest;
use crate::config::ipvs::{Ipvs, Range, SETTINGS, TEXT_MAX};
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::settings::{TIMEOUT_MAX, Timeout};

/// The section.
pub(super) fn read(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Ipvs {
    let Some(mut fields) = item.and_then(|item| item.fields(walk)) else { return Ipvs::default() };
    let settings = fields.take("sysctl").and_then(|item| item.fields(walk));
    let sysctl = settings.map(|fields| sysctl(fields, walk)).unwrap_or_default();
    let prepare = fields.take("prepare").and_then(|item| item.boolean(walk));
    let times = fields.take("timeouts").and_then(|item| item.fields(walk));
    let timeouts = times.map(|fields| timeouts(fields, walk)).unwrap_or_default();
    fields.finish(walk);
    Ipvs { sysctl, timeouts, prepare: prepare.unwrap_or_default() }
}

fn timeouts(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> BTreeMap<Timeout, u32> {
    let mut found = BTreeMap::new();
    for timeout in Timeout::ALL {
        let Some(item) = fields.take(timeout.word()) else { continue };
        let Some(time) = item.time(walk) else { continue };
        match u32::try_from(time.as_secs()) {
            Ok(seconds @ 1..=TIMEOUT_MAX) if time.subsec_nanos() == 0 => {
                found.insert(timeout, seconds);
            }
            _ => {
                let message = format!("whole seconds, at least 1s and at most {TIMEOUT_MAX}s");
                let help = "one that is left out stays as it is";
                walk.faults.fault(item.span, message).help(help);
            }
        }
    }
    fields.finish(walk);
    found
}

fn sysctl(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for (key, item) in fields.take_all() {
        let short = key.text.strip_prefix("net.ipv4.vs.").unwrap_or(key.text);
        let Some((name, range)) = SETTINGS.iter().find(|(name, _)| *name == short) else {
            let names = SETTINGS.iter().map(|(name, _)| *name);
            let help = match nearest(short, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("IPVS has no setting `{}`", key.text);
            walk.faults.fault(key.span(), message).help(help);
            continue;
        };
        let Some(value) = value(item, *range, walk) else { continue };
        if found.insert(*name, value).is_some() {
            walk.faults.fault(key.span(), format!("`{name}` is set twice"));
        }
    }
    found
}

fn value(item: Item<'_>, range: Range, walk: &mut Walk<'_>) -> Option<String> {
    match range {
        Range::Switch if item.is_boolean() => Some(u8::from(item.boolean(walk)?).to_string()),
        Range::Switch => Some(item.integer(0, 1, walk)?.to_string()),
        Range::Number(low, high) => Some(item.integer(low, high, walk)?.to_string()),
        Range::Pair => pair(item, walk),
        Range::Processors => processors(item, walk),
    }
}

/// `sync_threshold`: a connection is told at the packet whose number, modulo the second, is the
/// first. A second of 0: by time alone.
fn pair(item: Item<'_>, walk: &mut Walk<'_>) -> Option<String> {
    let numbers: Option<Vec<i64>> = item
        .items(walk)
        .into_iter()
        .map(|item| item.integer(0, i64::from(i32::MAX), walk))
        .collect();
    match numbers?.as_slice() {
        [threshold, period] if *period == 0 || threshold <= period => {
            Some(format!("{threshold} {period}"))
        }
        _ => {
            let message = "two numbers are wanted here, of which the first is not over the second";
            walk.faults.fault(item.span, message).help("`sync_threshold = [3, 50]`");
            None
        }
    }
}

fn processors(item: Item<'_>, walk: &mut Walk<'_>) -> Option<String> {
    let word = item.text(walk)?;
    let fit = |letter: char| letter.is_ascii_digit() || ",-:/".contains(letter);
    let good = word.text == "all" || word.text.chars().all(fit);
    if !good || word.text.is_empty() || word.text.len() > TEXT_MAX {
        let message = format!("`{}` is no list of processors", word.text);
        walk.faults.fault(item.span, message).help("`\"0-3,6\"`, or `\"all\"`");
        return None;
    }
    Some(word.text.to_owned())
}
