//! What the core was told and what it ordered, with the state it started from: enough to run the
//! same decisions again, elsewhere and later.
//!
//! [`Recorder`] keeps the last inputs of a running core in memory, [`Recording`] is a copy of that
//! and its form as text: a line of JSON with version, names and the whole core, then one line for
//! each step. There is no secret in it: keys and packets stay below, in `wire`. [`Recording::replay`]
//! runs it. The files are kept by others.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::{Input, Output};
use crate::cluster::message::{Beat, GROUPS_MAX, LINKS_MAX};
use crate::names::{GroupId, NodeName};
use crate::time::Instant;

/// Version of the text form.
pub const VERSION: u32 = 1;
/// What one of the two halves of the memory may weigh, in bytes, roughly: some minutes of beats at
/// ten a second. The halves are forgotten in turn.
const HALF_MAX: usize = 512 * 1024;
/// What a step weighs without its beats, and what each claim of a beat adds.
const STEP_WEIGHT: usize = 256;
const CLAIM_WEIGHT: usize = 160;
/// Longest time span in a recording that is believed: no configuration has a longer one.
const SPAN_MAX: std::time::Duration = std::time::Duration::from_secs(366 * 24 * 3600);

/// One call of the core, and what came out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The `now` of the call, on the boot clock in nanoseconds.
    pub at: Instant,
    /// The call.
    pub act: Act,
    /// What the core ordered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
}

/// A call of the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// [`Core::handle`].
    Input(Input),
    /// [`Core::set_via`].
    Via(GroupId, Option<IpAddr>),
}

impl Act {
    fn weight(&self) -> usize {
        match self {
            Self::Input(Input::Heard { beat, .. }) => STEP_WEIGHT + beat_weight(beat),
            Self::Input(_) | Self::Via(..) => STEP_WEIGHT,
        }
    }
}

fn beat_weight(beat: &Beat) -> usize {
    beat.groups.len() * CLAIM_WEIGHT
}

/// A core that remembers what it was told.
#[derive(Debug)]
pub struct Recorder {
    core: Core,
    old: Half,
    new: Half,
    /// The last call: its outputs are still being fetched.
    open: Option<Step>,
}

/// Some minutes of memory.
#[derive(Debug, Clone)]
struct Half {
    base: Arc<Core>,
    steps: Vec<Arc<Step>>,
    weight: usize,
}

impl Half {
    fn new(core: &Core) -> Self {
        Self { base: Arc::new(core.clone()), steps: Vec::new(), weight: 0 }
    }
}

impl Recorder {
    /// Remembers from now on.
    pub fn new(core: Core) -> Self {
        let half = Half::new(&core);
        Self { core, old: half.clone(), new: half, open: None }
    }

    /// The core itself, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// When the last call was made.
    pub fn now(&self) -> Instant {
        let last = self.open.as_ref().map(|step| step.at);
        last.or_else(|| self.new.steps.last().map(|step| step.at)).unwrap_or_default()
    }

    /// Makes a call and remembers it.
    pub fn act(&mut self, at: Instant, act: Act) {
        self.seal();
        if self.new.weight >= HALF_MAX {
            self.old = std::mem::replace(&mut self.new, Half::new(&self.core));
        }
        self.new.weight += act.weight();
        self.open = Some(Step { at, act: act.clone(), outputs: Vec::new() });
        self.core.act(at, act);
    }

    /// [`Core::poll`].
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.core.poll()?;
        if let Some(step) = &mut self.open {
            self.new.weight += match &output {
                Output::Send(beat) => STEP_WEIGHT + beat_weight(beat),
                _ => STEP_WEIGHT,
            };
            step.outputs.push(output.clone());
        }
        Some(output)
    }

    /// Everything that is remembered, as it is now. Cheap: the steps are shared.
    pub fn recording(&mut self) -> Recording {
        self.seal();
        let steps = self.old.steps.iter().chain(&self.new.steps).cloned().collect();
        Recording { base: Arc::clone(&self.old.base), steps }
    }

    fn seal(&mut self) {
        self.new.steps.extend(self.open.take().map(Arc::new));
    }
}

impl Core {
    fn act(&mut self, at: Instant, act: Act) {
        match act {
            Act::Input(input) => self.handle(at, input),
            Act::Via(group, via) => self.set_via(group, via),
        }
    }

    /// Whether the numbers of a core that was read from a file are such as a configuration gives.
    fn is_plausible(&self) -> bool {
        let settings = &self.settings;
        let spans = [settings.keepalive, settings.warntime, settings.deadtime, settings.initdead];
        let limits = settings.groups.iter().flat_map(|group| &group.resources);
        let limits = limits.flat_map(|it| [it.start_timeout, it.stop_timeout]);
        let bounded = spans.into_iter().chain(limits).all(|span| span <= SPAN_MAX);
        let counted = settings.groups.len() <= GROUPS_MAX
            && self.groups.len() == settings.groups.len()
            && usize::from(settings.links) <= LINKS_MAX;
        bounded && counted && !settings.keepalive.is_zero()
    }
}

/// A core has another shape in each release: a recording is replayed by the one that made it.
fn unlike(first: &str, why: &serde_json::Error) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(first).ok();
    let program = value.as_ref().and_then(|value| value.get("program")?.as_str());
    match program.filter(|program| *program != env!("CARGO_PKG_VERSION")) {
        Some(program) => format!("it was made by version {program}, which can replay it: {why}"),
        None => why.to_string(),
    }
}

/// Some minutes of a core's life.
#[derive(Debug, Clone)]
pub struct Recording {
    base: Arc<Core>,
    steps: Vec<Arc<Step>>,
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    pairbeat_recording: u32,
    /// The version of the program.
    program: String,
    node: NodeName,
    peer: NodeName,
    core: Core,
}

/// Why a text is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Something else, or damaged in its first line.
    #[error("this is no recording of pairbeat: {0}")]
    Head(String),
    /// Of another version.
    #[error("a recording of version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// A step can't be read.
    #[error("line {line}: {why}")]
    Step {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// A step that was run again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The step as recorded.
    pub recorded: Arc<Step>,
    /// What came out of it now.
    pub outputs: Vec<Output>,
}

impl Replayed {
    /// Whether the same came out.
    pub fn agrees(&self) -> bool {
        self.recorded.outputs == self.outputs
    }
}

impl Recording {
    /// Whose life it is.
    pub fn node(&self) -> &NodeName {
        &self.base.settings.node
    }

    /// The steps, oldest first.
    pub fn steps(&self) -> &[Arc<Step>] {
        &self.steps
    }

    /// As text. The last line ends with a line break.
    pub fn to_text(&self) -> String {
        let head = Head {
            pairbeat_recording: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.base.settings.node.clone(),
            peer: self.base.settings.peer.clone(),
            core: Core::clone(&self.base),
        };
        // Plain data with text keys always has a JSON form.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        text.push('\n');
        for step in &self.steps {
            text.push_str(&serde_json::to_string(step.as_ref()).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// Reads the text form. A last line that was cut off is left out.
    ///
    /// # Errors
    /// [`RecordingError`], by line.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        let version = |text: &str| {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            u32::try_from(value.get("pairbeat_recording")?.as_u64()?).ok()
        };
        if let Some(other) = version(first).filter(|version| *version != VERSION) {
            return Err(RecordingError::Version(other));
        }
        let head: Head =
            serde_json::from_str(first).map_err(|e| RecordingError::Head(unlike(first, &e)))?;
        if !head.core.is_plausible() {
            return Err(RecordingError::Head("its settings can't be".to_owned()));
        }
        let mut steps = Vec::new();
        for (line, text) in (2..).zip(lines) {
            match serde_json::from_str::<Step>(text) {
                Ok(step) => steps.push(Arc::new(step)),
                Err(_) if !text.ends_with('\n') => break,
                Err(e) => return Err(RecordingError::Step { line, why: e.to_string() }),
            }
        }
        Ok(Self { base: Arc::new(head.core), steps })
    }

    /// Runs the same inputs through the same core, one step for each that was recorded.
    pub fn replay(&self) -> impl Iterator<Item = Replayed> {
        let mut core = Core::clone(&self.base);
        self.steps.iter().map(move |step| {
            core.act(step.at, step.act.clone());
            let outputs = std::iter::from_fn(|| core.poll()).collect();
            Replayed { recorded: Arc::clone(step), outputs }
        })
    }
}

#[cfg(test)]
mod tests;
