//! Runs a recording through the same core again and says what it decides.

use std::io::Read;
use std::path::Path;

use super::exit::Code;
use super::out;
use crate::cluster::event::{Input, Output};
use crate::cluster::recording::{Act, Recording, Replayed};
use crate::journal::{printable, words};

/// Longest file that is read, in bytes: ten times what a core remembers.
const LEN_MAX: u64 = 64 * 1024 * 1024;

pub(super) fn replay(path: &Path, all: bool) -> Code {
    let fault = |why: &dyn std::fmt::Display| {
        out::fault(Code::Failed, &format!("{}: {}", path.display(), printable(&why.to_string())))
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map(|file| file.take(LEN_MAX));
    if let Err(e) = file.and_then(|mut file| file.read_to_string(&mut text)) {
        return fault(&e);
    }
    let recording = match Recording::parse(&text) {
        Ok(recording) => recording,
        Err(e) => return fault(&e),
    };
    out::line(&format!("{}: {} steps", recording.node(), recording.steps().len()));
    let mut diverged = 0_usize;
    for step in recording.replay() {
        diverged += usize::from(!step.agrees());
        show(&step, all);
    }
    if diverged == 0 {
        out::line("every step as recorded");
        return Code::Well;
    }
    out::fault(Code::Failed, &format!("{diverged} steps differ from what was recorded"))
}

fn show(step: &Replayed, all: bool) {
    let at = step.recorded.at;
    if let Act::Input(input) = &step.recorded.act
        && (all || matches!(input, Input::Request { .. } | Input::Ended { .. }))
    {
        out::line(&printable(&format!("{at:>14}  < {input:?}")));
    }
    let shown = |output: &&Output| all || !matches!(output, Output::Send(_));
    for output in step.outputs.iter().filter(shown) {
        out::line(&printable(&format!("{at:>14}  {}", in_words(output))));
    }
    if !step.agrees() {
        out::line(&format!("{at:>14}  DIFFERS, recorded was:"));
        for output in step.recorded.outputs.iter().filter(shown) {
            out::line(&printable(&format!("{at:>14}    {}", in_words(output))));
        }
    }
}

fn in_words(output: &Output) -> String {
    match output {
        Output::Report(event) => words::sentence(&[], event),
        other => format!("> {other:?}"),
    }
}
