//! Programs as resources: scripts, OCF agents, systemd units.
//!
//! ```text
//!   NAME::ARG::ARG                a script in resource.d, or without arguments in /etc/init.d;
//!                                 where there is none, the OCF agent that Heartbeat's script of
//!                                 that name was a wrapper of
//!   ocf:PROVIDER:AGENT::NAME=VALUE::NAME=VALUE
//!   OCF::AGENT::NAME=VALUE        the same with the provider `heartbeat`
//!   OCF::AGENT::FILE              parameters from conf/OCF/AGENT/FILE
//!   PROVIDER::AGENT::NAME=VALUE
//!   systemd:UNIT
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::resource::{ACTION_TIMEOUT, BUILT_IN, Context, MONITOR};
use crate::cluster::Monitor;
use crate::config::diag::{Word, nearest};
use crate::config::ocf::Metadata;
use crate::config::outside::names_a_secret;
use crate::config::{OcfAgent, Script, ScriptStyle};

/// Where Heartbeat's resource scripts are, beside the directory of the configuration.
const RESOURCE_D: &str = "/etc/ha.d/resource.d";
/// Where LSB scripts are.
const INIT_D: &str = "/etc/init.d";
/// Where OCF agents are, by provider (OCF Resource Agent API 1.0).
const OCF_AGENTS: &str = "/usr/lib/ocf/resource.d";
/// The provider of the `resource-agents` package.
const HEARTBEAT: &str = "heartbeat";
/// Where systemctl is.
const SYSTEMCTL: &[&str] = &["/usr/bin/systemctl", "/bin/systemctl"];
/// Longest unit name (systemd.unit(5)).
const UNIT_LEN_MAX: usize = 255;
/// Most parameters of one agent.
pub(crate) const OCF_PARAMS_MAX: usize = 100;

/// Heartbeat's scripts that were wrappers of OCF agents, and the parameters that their arguments
/// were, in order.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("Delay", &["startdelay", "stopdelay"]),
    ("Filesystem", &["device", "directory", "fstype", "options"]),
    ("ICP", &["driveid", "device"]),
    ("IPsrcaddr", &["ipaddress"]),
    ("LVM", &["volgrpname"]),
    ("LinuxSCSI", &["scsi"]),
    ("Raid1", &["raidconf", "raiddev"]),
    ("ServeRAID", &["serveraid", "mergegroup"]),
    ("WAS", &["config"]),
    ("WinPopup", &["hostfile"]),
    ("Xinetd", &["service"]),
    ("apache", &["configfile"]),
    ("db2", &["instance"]),
    ("ids", &["informixdir", "informixserver", "onconfig"]),
    ("portblock", &["protocol", "portno", "action"]),
];

/// A program, and the limits that hold for it where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) script: Script,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) monitor: Monitor,
}

impl Program {
    fn usual(script: Script) -> Self {
        let wary = matches!(script.style, ScriptStyle::Heartbeat | ScriptStyle::Lsb);
        let monitor = Monitor { wary, ..MONITOR };
        Self { script, start_timeout: ACTION_TIMEOUT, stop_timeout: ACTION_TIMEOUT, monitor }
    }
}

/// Reads one word of haresources that is no built-in resource.
pub(super) fn program(
    word: Word<'_>,
    (name, args): (Word<'_>, Option<Word<'_>>),
    context: &mut Context<'_, '_>,
) -> Option<Program> {
    if let Some(unit) = word.strip_prefix("systemd:") {
        return systemd(unit, context);
    }
    let args: Vec<Word<'_>> = args.map_or_else(Vec::new, |args| args.pieces("::"));
    if let Some(agent) = name.strip_prefix("ocf:") {
        return agent_of(agent, &args, context);
    }
    if let Some((path, lsb)) = lookup(name, context) {
        return Some(script(path, lsb, args.iter().map(|arg| arg.text.to_owned()).collect()));
    }
    match args.split_first() {
        Some((agent, args)) if name.text == "OCF" => {
            let params = params_of(*agent, args, context)?;
            ocf(word, (HEARTBEAT, agent.text), params, context)
        }
        Some((agent, args)) if is_agent((name.text, agent.text), context) => {
            let params = given(args, context)?;
            ocf(word, (name.text, agent.text), params, context)
        }
        _ => wrapped(word, name, &args, context),
    }
}

/// A script that was found, with its arguments.
pub(crate) fn script(path: PathBuf, lsb: bool, args: Vec<String>) -> Program {
    let style = if lsb && args.is_empty() { ScriptStyle::Lsb } else { ScriptStyle::Heartbeat };
    Program::usual(Script { path, args, style })
}

/// The first executable of that name, and whether it is an LSB one.
fn lookup(name: Word<'_>, context: &Context<'_, '_>) -> Option<(PathBuf, bool)> {
    if !is_plain(name.text) {
        return None;
    }
    let places = [
        (context.directory.join("resource.d").join(name.text), false),
        (Path::new(RESOURCE_D).join(name.text), false),
        (Path::new(INIT_D).join(name.text), true),
    ];
    places.into_iter().find(|(path, _)| context.environment.executable(path))
}

/// The same; none is a fault.
pub(crate) fn found(name: Word<'_>, context: &mut Context<'_, '_>) -> Option<(PathBuf, bool)> {
    let found = lookup(name, context);
    if found.is_none() {
        missing(name, context);
    }
    found
}

/// One file name that is not hidden.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

fn missing(name: Word<'_>, context: &mut Context<'_, '_>) {
    if name.text.contains('/') || name.text.starts_with('.') {
        let help = "the name of a script in resource.d or /etc/init.d";
        context.faults.fault(name.span(), "a resource is a name, not a path").help(help);
        return;
    }
    let message = format!("no resource script `{}`", name.text);
    let resource_d = context.directory.join("resource.d");
    let mut help = format!("neither in {}", resource_d.display());
    if resource_d != Path::new(RESOURCE_D) {
        help.push_str(&format!(", {RESOURCE_D}"));
    }
    help.push_str(&format!(" nor in {INIT_D} is an executable of that name"));
    if WRAPPERS.iter().any(|(wrapper, _)| *wrapper == name.text) {
        help.push_str("; the package resource-agents has an agent for it");
    }
    if let Some(near) = nearest(name.text, BUILT_IN.iter().copied()) {
        help = format!("did you mean the built-in `{near}`? {help}");
    }
    context.faults.fault(name.span(), message).help(help);
}

/// A script of Heartbeat's that is not installed here, while the agent behind it is.
fn wrapped(
    word: Word<'_>,
    name: Word<'_>,
    args: &[Word<'_>],
    context: &mut Context<'_, '_>,
) -> Option<Program> {
    let known = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name.text);
    let Some((_, names)) = known.filter(|_| is_agent((HEARTBEAT, name.text), context)) else {
        missing(name, context);
        return None;
    };
    if let Some(extra) = args.get(names.len()) {
        let help = format!("`{}::{}`", name.text, names.join("::").to_uppercase());
        context.faults.fault(extra.span(), "too many arguments").help(help);
        return None;
    }
    let pairs = names.iter().zip(args).filter(|(_, arg)| !arg.text.is_empty());
    let params = pairs.map(|(name, arg)| ((*name).to_owned(), arg.text.to_owned())).collect();
    ocf(word, (HEARTBEAT, name.text), params, context)
}

fn agent_path((provider, agent): (&str, &str)) -> PathBuf {
    Path::new(OCF_AGENTS).join(provider).join(agent)
}

fn is_agent(name: (&str, &str), context: &Context<'_, '_>) -> bool {
    is_plain(name.0) && is_plain(name.1) && context.environment.executable(&agent_path(name))
}

/// `PROVIDER:AGENT` and what stands behind it.
pub(crate) fn agent_of(
    agent: Word<'_>,
    args: &[Word<'_>],
    context: &mut Context<'_, '_>,
) -> Option<Program> {
    let name = agent_name(agent, context)?;
    let params = given(args, context)?;
    ocf(agent, name, params, context)
}

/// `PROVIDER:AGENT`.
pub(crate) fn agent_name<'t>(
    agent: Word<'t>,
    context: &mut Context<'_, '_>,
) -> Option<(&'t str, &'t str)> {
    let name = agent.text.split_once(':').filter(|it| is_plain(it.0) && is_plain(it.1));
    if name.is_none() {
        let message = format!("`{}` is no OCF agent", agent.text);
        let help = "provider and agent: `ocf:heartbeat:Filesystem`";
        context.faults.fault(agent.span(), message).help(help);
    }
    name
}

/// `NAME=VALUE` each.
fn given(args: &[Word<'_>], context: &mut Context<'_, '_>) -> Option<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    for arg in args {
        let Some((name, value)) = arg.split_once("=").filter(|(name, _)| is_param(name.text))
        else {
            let message = format!("`{}` is no parameter of an agent", arg.text);
            let help = "NAME=VALUE, for example `device=/dev/sdb1`";
            context.faults.fault(arg.span(), message).help(help);
            return None;
        };
        if names_a_secret(name.text) {
            let message =
                format!("`{}` is a secret, and this line is shown in the status", name.text);
            let help = "`OCF::AGENT::FILE`: lines of NAME=VALUE in conf/OCF/AGENT/FILE, mode 600";
            context.faults.warn(arg.span(), message).help(help);
        }
        params.insert(name.text.to_owned(), value.text.to_owned());
    }
    Some(params)
}

/// Whether it can be the end of a variable's name.
pub(crate) fn is_param(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Parameters, or the one name of a file that has them.
fn params_of(
    agent: Word<'_>,
    args: &[Word<'_>],
    context: &mut Context<'_, '_>,
) -> Option<BTreeMap<String, String>> {
    match args {
        [file] if !file.text.contains('=') => from_file(agent, *file, context),
        _ => given(args, context),
    }
}

/// Heartbeat's file of shell variables; assignments alone are read.
fn from_file(
    agent: Word<'_>,
    file: Word<'_>,
    context: &mut Context<'_, '_>,
) -> Option<BTreeMap<String, String>> {
    let path = context.directory.join("conf/OCF").join(agent.text).join(file.text);
    let text = is_plain(agent.text) && is_plain(file.text);
    let text = text.then(|| context.environment.read(&path)).and_then(Result::ok);
    let Some(text) = text.and_then(|it| String::from_utf8(it.bytes).ok()) else {
        let message = format!("no file {} for the agent", path.display());
        let help = "lines of NAME=VALUE; or give the parameters here: `OCF::AGENT::NAME=VALUE`";
        context.faults.fault(file.span(), message).help(help);
        return None;
    };
    let mut params = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Some((name, value)) => params.insert(name, value),
            None => {
                let message = format!("{}:{number}: not NAME=VALUE", path.display());
                let help = "no shell reads this file: no variables, no commands";
                context.faults.fault(file.span(), message).help(help);
                return None;
            }
        };
    }
    Some(params)
}

/// `NAME=VALUE` of a shell, where it means just that.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim();
    let (name, value) = line.split_once('=')?;
    let name = name.strip_prefix("OCF_RESKEY_").unwrap_or(name);
    let quoted = |quote: char| {
        let inside = value.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains(quote)).then_some(inside)
    };
    let plain = (!value.contains(['\'', '"', ' ', '\t', ';', '`', '$', '\\'])).then_some(value);
    let value = quoted('\'').or_else(|| quoted('"').filter(|it| !it.contains(['$', '`', '\\'])));
    let value = value.or(plain)?;
    is_param(name).then(|| (name.to_owned(), value.to_owned()))
}

/// An agent with its parameters.
pub(crate) fn ocf(
    at: Word<'_>,
    name: (&str, &str),
    parameters: BTreeMap<String, String>,
    context: &mut Context<'_, '_>,
) -> Option<Program> {
    let path = agent_path(name);
    if !is_agent(name, context) {
        let message = format!("no OCF agent `{}:{}`", name.0, name.1);
        let mut help = format!("there is no executable {}", path.display());
        if name.0 == HEARTBEAT {
            help.push_str("; the package resource-agents has them");
        }
        context.faults.fault(at.span(), message).help(help);
        return None;
    }
    if parameters.len() > OCF_PARAMS_MAX {
        context.faults.fault(at.span(), format!("over {OCF_PARAMS_MAX} parameters"));
        return None;
    }
    let known = context.environment.metadata(&path).and_then(|text| Metadata::parse(&text));
    let known = known.unwrap_or_default();
    compare(at, &parameters, &known, context);
    let instance = instance(name, &parameters);
    let (provider, agent) = (name.0.to_owned(), name.1.to_owned());
    let style = ScriptStyle::Ocf(OcfAgent { provider, agent, instance, parameters });
    let usual = Program::usual(Script { path, args: Vec::new(), style });
    Some(Program {
        start_timeout: known.timeout("start").unwrap_or(ACTION_TIMEOUT),
        stop_timeout: known.timeout("stop").unwrap_or(ACTION_TIMEOUT),
        monitor: Monitor {
            timeout: known.timeout("monitor").unwrap_or(usual.monitor.timeout),
            interval: known.interval().unwrap_or(usual.monitor.interval),
            ..usual.monitor
        },
        ..usual
    })
}

/// The name that tells it from other resources of the same agent (`OCF_RESOURCE_INSTANCE`): the
/// same on both nodes and in each life.
fn instance(name: (&str, &str), parameters: &BTreeMap<String, String>) -> String {
    let open: Vec<_> = parameters.iter().filter(|(name, _)| !names_a_secret(name)).collect();
    let digest = Sha256::digest(format!("{name:?} {open:?}"));
    let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{tail}", name.1)
}

/// Warns of parameters that the agent does not know, or misses.
fn compare(
    at: Word<'_>,
    given: &BTreeMap<String, String>,
    known: &Metadata,
    context: &mut Context<'_, '_>,
) {
    if known.parameters.is_empty() {
        return;
    }
    let names: Vec<&str> = known.parameters.iter().map(|(name, _)| name.as_str()).collect();
    for name in given.keys().filter(|name| !names.contains(&name.as_str())) {
        let message = format!("the agent has no parameter `{name}`");
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", names.join(", ")),
        };
        context.faults.warn(at.span(), message).help(help);
    }
    let missing =
        known.parameters.iter().filter(|(name, required)| *required && !given.contains_key(name));
    for (name, _) in missing {
        let message = format!("the agent wants its parameter `{name}`");
        context.faults.warn(at.span(), message).help(format!("`{name}=VALUE`"));
    }
}

/// A unit; without a suffix it is a service, as for systemctl.
pub(crate) fn systemd(unit: Word<'_>, context: &mut Context<'_, '_>) -> Option<Program> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let fit = !unit.text.is_empty()
        && unit.text.len() <= UNIT_LEN_MAX - ".service".len()
        && unit.text.bytes().all(allowed)
        && !unit.text.starts_with(['-', '.']);
    if !fit {
        let message = format!("`{}` is no name of a unit", unit.text);
        context.faults.fault(unit.span(), message).help("`systemd:postgresql.service`");
        return None;
    }
    let mut systemctl = SYSTEMCTL.iter().map(Path::new);
    let Some(path) = systemctl.find(|path| context.environment.executable(path)) else {
        let message = "there is no systemctl on this machine";
        context.faults.fault(unit.span(), message).help("a unit needs systemd");
        return None;
    };
    let name = match unit.text.contains('.') {
        true => unit.text.to_owned(),
        false => format!("{}.service", unit.text),
    };
    let (path, style) = (path.to_owned(), ScriptStyle::Systemd);
    Some(Program::usual(Script { path, args: vec![name], style }))
}
