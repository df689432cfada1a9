//! The checkers of a real server, and how often they run.

use std::fmt;
use std::time::Duration;

use crate::config::{CHECK_TIME_MAX, CHECK_TIME_MIN, COUNT_MAX};
use crate::import::document::Table;
use crate::import::keepalived::lines::Node;
use crate::import::keepalived::lvs::of_type;
use crate::import::keepalived::table::{self, Place};
use crate::import::model::plain_check;
use crate::import::remark::{At, Remarks};
use crate::lvs::model::ServiceKey;

/// The checkers, the one that says most first.
const CHECKS: &[&str] = &[
    "HTTP_GET",
    "SSL_GET",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "TCP_CHECK",
    "UDP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
    "BFD_CHECK",
];

/// keepalived's times.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Timing {
    loops: Option<Duration>,
    timeout: Option<Duration>,
    retry: Option<u32>,
    pause: Option<Duration>,
    warmup: Option<Duration>,
    kind: Kind,
}

/// What the defaults depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Plain,
    Http,
    Dns,
    Misc,
}

impl Timing {
    /// Takes a line that is about time.
    pub(super) fn setting(&mut self, line: &Node) -> bool {
        let value = line.word(1).unwrap_or_default();
        match line.keyword() {
            "delay_loop" => self.loops = seconds(value).or(self.loops),
            "connect_timeout" => self.timeout = seconds(value).or(self.timeout),
            "misc_timeout" => self.timeout = seconds(value).or(self.timeout),
            "retry" | "nb_get_retry" => self.retry = value.parse().ok().or(self.retry),
            "delay_before_retry" => self.pause = seconds(value).or(self.pause),
            "warmup" => self.warmup = seconds(value).or(self.warmup),
            _ => return false,
        }
        true
    }

    fn interval(&self) -> Duration {
        self.loops.unwrap_or(Duration::from_secs(60)).clamp(CHECK_TIME_MIN, CHECK_TIME_MAX)
    }

    fn limit(&self) -> Duration {
        let default = match self.kind {
            Kind::Misc => self.interval(),
            Kind::Plain | Kind::Http | Kind::Dns => Duration::from_secs(5),
        };
        self.timeout.unwrap_or(default).clamp(CHECK_TIME_MIN, CHECK_TIME_MAX)
    }

    /// One failure more than there are retries.
    fn fall(&self) -> u32 {
        let default = match self.kind {
            Kind::Misc => 0,
            Kind::Plain | Kind::Http => 1,
            Kind::Dns => 3,
        };
        self.retry.unwrap_or(default).saturating_add(1).min(COUNT_MAX)
    }

    fn again(&self) -> Duration {
        let default = if self.kind == Kind::Http { 3 } else { 1 };
        self.pause.unwrap_or(Duration::from_secs(default))
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::default();
        table.put("interval", self.interval());
        table.put("timeout", self.limit());
        table.put("fall", self.fall());
        let again = Some(self.again())
            .filter(|it| (CHECK_TIME_MIN..=CHECK_TIME_MAX).contains(it) && self.fall() > 1);
        table.put_some("retry", again);
        table.put_some(
            "warmup",
            self.warmup.filter(|it| (CHECK_TIME_MIN..=CHECK_TIME_MAX).contains(it)),
        );
        table
    }
}

/// `every 6s, timeout 3s, out after 4 failures`
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (every, limit, again) = (self.interval(), self.limit(), self.again());
        write!(f, "every {every:?}, timeout {limit:?}, {} failures, {again:?} apart", self.fall())
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok().filter(|it| (0.0..=86_400.0).contains(it))?;
    // As exact as keepalived is.
    Duration::try_from_secs_f64(seconds)
        .ok()
        .map(|it| Duration::from_millis(u64::try_from(it.as_millis()).unwrap_or(0)))
}

pub(super) fn is_check(word: &str) -> bool {
    CHECKS.contains(&word)
}

/// A block that is no checker: keepalived drops it, and checks nothing.
pub(super) fn unknown(line: &Node, remarks: &mut Remarks) {
    let near = crate::config::diag::nearest(line.keyword(), CHECKS.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    remarks.unknown(
        &line.at,
        format!(
            "`{}` is no check, keepalived drops it with all that is in it{near}",
            line.keyword()
        ),
    );
    for inner in line.lines() {
        remarks.left_out(
            &inner.at,
            format!("`{}` of the dropped `{}`", inner.keyword(), line.keyword()),
        );
    }
}

/// What a checker finds around it.
pub(super) struct Base<'b> {
    pub(super) key: &'b ServiceKey,
    pub(super) port: u16,
    pub(super) host: Option<String>,
    pub(super) timing: Timing,
}

impl Base<'_> {
    fn has_port(&self) -> bool {
        self.port > 0 || matches!(self.key, ServiceKey::Address { port: 1.., .. })
    }
}

/// The checks of a real server, all of which must pass.
pub(super) struct Checked {
    /// At least one; first that which says most.
    pub(super) checks: Vec<(At, Table)>,
    /// The rhythm of each checker; none where nothing is checked.
    pub(super) timings: Vec<(At, Timing)>,
}

/// The checks, the one that says most first.
pub(super) fn of(checks: &[&Node], base: &Base<'_>, real: &Node, remarks: &mut Remarks) -> Checked {
    let rank = |node: &Node| CHECKS.iter().position(|it| *it == node.keyword());
    let Some(best) = checks.iter().min_by_key(|node| rank(node)) else {
        let text = "no check: always up, as keepalived does; `check = \"connect\"` would be better";
        remarks.changed(&real.at, text);
        return Checked { checks: vec![(real.at.clone(), of_type("on"))], timings: Vec::new() };
    };
    let others = checks.iter().filter(|it| !std::ptr::eq(**it, *best));
    let mut found = Checked { checks: Vec::new(), timings: Vec::new() };
    for node in std::iter::once(best).chain(others) {
        let (tables, timing) = one(node, base, remarks);
        found.checks.extend(tables.into_iter().map(|table| (node.at.clone(), table)));
        found.timings.push((node.at.clone(), timing));
    }
    found
}

/// What one checker checks, each page by itself.
fn one(node: &Node, base: &Base<'_>, remarks: &mut Remarks) -> (Vec<Table>, Timing) {
    let mut timing = base.timing.clone();
    timing.kind = match node.keyword() {
        "HTTP_GET" | "SSL_GET" => Kind::Http,
        "DNS_CHECK" => Kind::Dns,
        "MISC_CHECK" => Kind::Misc,
        _ => Kind::Plain,
    };
    let mut common = Table::default();
    let mut rest: Vec<&Node> = Vec::new();
    for line in node.lines() {
        setting(line, base, (&mut timing, &mut common, &mut rest), remarks);
    }
    let mark = matches!(base.key, ServiceKey::Mark { .. });
    if mark && base.port > 0 && common.get("port").is_none() {
        common.put("port", u32::from(base.port));
    }
    let mut checks = match node.keyword() {
        "HTTP_GET" => http("http", &rest, base, remarks),
        "SSL_GET" => http("https", &rest, base, remarks),
        "SMTP_CHECK" => vec![plain("smtp", &rest, remarks)],
        "DNS_CHECK" => vec![dns(&rest, remarks)],
        "MISC_CHECK" => vec![misc(node, &rest, base, remarks)],
        "TCP_CHECK" => vec![plain("connect", &rest, remarks)],
        "UDP_CHECK" => vec![udp(node, &rest, remarks)],
        "PING_CHECK" => vec![plain("ping", &rest, remarks)],
        other => {
            let fallback = plain_check(base.key);
            remarks.changed(&node.at, format!("`{other}` has no equivalent: `{fallback}`"));
            vec![plain(fallback, &rest, remarks)]
        }
    };
    let port = base.has_port() || common.get("port").is_some();
    for check in &mut checks {
        if !port && matches!(check.text("type"), "connect" | "udp") {
            remarks.changed(&node.at, "no port to check at: `ping`");
            *check = of_type("ping");
        }
        let has_port = check.text("type") != "ping";
        check.0.extend(common.0.iter().filter(|(key, _)| has_port || key != "port").cloned());
    }
    (checks, timing)
}

/// What all checkers have.
fn setting<'n>(
    line: &'n Node,
    base: &Base<'_>,
    (timing, common, rest): (&mut Timing, &mut Table, &mut Vec<&'n Node>),
    remarks: &mut Remarks,
) {
    let value = line.word(1).unwrap_or_default();
    match line.keyword() {
        _ if timing.setting(line) => {}
        "connect_port" => match value.parse::<u16>() {
            Ok(port @ 1..) if common.get("port").is_none() => {
                if port != base.port || matches!(base.key, ServiceKey::Mark { .. }) {
                    common.put("port", u32::from(port));
                }
            }
            _ => remarks.left_out(&line.at, format!("`{}` is no port", line.text())),
        },
        "connect_ip" => match value.parse::<std::net::IpAddr>() {
            Ok(ip) if ip.is_ipv6() == base.key.is_ipv6() && common.get("address").is_none() => {
                common.put("address", ip.to_string());
            }
            _ => remarks.left_out(
                &line.at,
                format!("`{}` is no address of the service's family", line.text()),
            ),
        },
        // The host of a mail server's check holds the same words.
        "host" if line.block.is_some() => {
            for line in line.lines() {
                setting(line, base, (timing, common, rest), remarks);
            }
        }
        _ => rest.push(line),
    }
}

/// A check without settings of its own.
fn plain(kind: &str, rest: &[&Node], remarks: &mut Remarks) -> Table {
    for line in rest {
        table::rest(Place::Check, line, remarks);
    }
    of_type(kind)
}

/// A check for each page.
fn http(kind: &str, rest: &[&Node], base: &Base<'_>, remarks: &mut Remarks) -> Vec<Table> {
    let mut common = base.host.clone();
    let mut urls = Vec::new();
    for line in rest {
        match line.keyword() {
            "url" => urls.push(line),
            "virtualhost" => common = line.word(1).map(str::to_owned),
            _ => table::rest(Place::Check, line, remarks),
        }
    }
    let page = |url: Option<&&Node>| {
        let mut check = of_type(kind);
        let mut host = common.clone();
        if let Some(line) = url {
            self::url(line, &mut check, &mut host, remarks);
        }
        let fit = |host: &String| {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        if let Some(bad) = host.take_if(|host| !fit(host)) {
            let text = format!("`virtualhost {bad}` is no host");
            rest.first().map_or_else(|| (), |line| remarks.left_out(&line.at, text));
        }
        check.put_some("host", host);
        if kind == "https" {
            // keepalived takes any certificate.
            check.put("verify", false);
        }
        check
    };
    if urls.is_empty() { vec![None] } else { urls.into_iter().map(Some).collect() }
        .into_iter()
        .map(page)
        .collect()
}

fn url(block: &Node, page: &mut Table, host: &mut Option<String>, remarks: &mut Remarks) {
    let mut expected = None;
    let mut path = None;
    let mut receive = None;
    let mut sum = None;
    for line in block.lines() {
        let value = line.word(1).unwrap_or_default();
        match line.keyword() {
            "path" => {
                let good = is_path(value);
                path = good.then(|| value.to_owned());
                if !good {
                    remarks.changed(&line.at, format!("`path {value}` is none: `/`"));
                }
            }
            "status_code" => expected = status(line, remarks),
            "regex" => {
                let good = crate::lvs::check::receive_pattern(value).is_ok() && !value.is_empty();
                receive = good.then(|| value.to_owned());
                if good {
                    let text =
                        format!("`regex {value}` is looked for in the body, not in the header");
                    remarks.changed(&line.at, text);
                } else {
                    remarks.left_out(&line.at, format!("`regex {value}` can't be matched here"));
                }
            }
            "virtualhost" => *host = Some(value.to_owned()),
            "digest" => match crate::lvs::exchange::Md5::read(value) {
                Some(read) => sum = Some(read.to_string()),
                None => remarks.left_out(&line.at, format!("`digest {value}` is no MD5")),
            },
            _ => table::rest(Place::Url, line, remarks),
        }
    }
    page.put("path", path.unwrap_or_else(|| "/".to_owned()));
    page.put_some("receive", receive);
    page.put_some("status", expected);
    page.put_some("md5", sum);
}

/// What can be asked for; what looks like a whole URL is taken for one.
fn is_path(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@?%".contains(c);
    text.starts_with('/') && text.chars().all(fit) && !text.contains("://")
}

/// `200`, or `200-299 301`.
fn status(line: &Node, remarks: &mut Remarks) -> Option<String> {
    let words = line.words.get(1..).unwrap_or_default();
    let number = |text: &str| text.parse::<u16>().is_ok_and(|code| (100..=599).contains(&code));
    let good = |word: &String| match word.split_once('-') {
        Some((low, high)) => number(low) && number(high) && low <= high,
        None => number(word),
    };
    if words.is_empty() || !words.iter().all(good) {
        remarks.left_out(&line.at, format!("`{}` is no HTTP status", line.text()));
        return None;
    }
    Some(words.join(","))
}

fn dns(rest: &[&Node], remarks: &mut Remarks) -> Table {
    let (mut name, mut record) = (None, "SOA".to_owned());
    for line in rest {
        let value = line.word(1).unwrap_or_default();
        match line.keyword() {
            "name" => {
                let fit = |label: &str| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
                };
                let bare = value.strip_suffix('.').unwrap_or(value);
                name = (bare.len() < 254 && bare.split('.').all(fit)).then(|| value.to_owned());
                if name.is_none() && value != "." {
                    remarks.changed(&line.at, format!("`name {value}` is none: the root"));
                }
            }
            "type" => {
                let upper = value.to_ascii_uppercase();
                let known =
                    crate::lvs::exchange::DnsRecord::ALL.iter().any(|it| it.word() == upper);
                if known {
                    record = upper;
                } else {
                    remarks.changed(
                        &line.at,
                        format!("records of type `{value}` can't be asked for: {record}"),
                    );
                }
            }
            _ => table::rest(Place::Check, line, remarks),
        }
    }
    let mut check = of_type("dns");
    check.put("request", name.unwrap_or_else(|| ".".to_owned()));
    check.put("record", record);
    check
}

/// The words of a command line.
pub(super) fn program(line: &Node, words: &str, remarks: &mut Remarks) -> Vec<String> {
    if words.contains(['\'', '"', '|', ';', '&', '$', '`', '>', '<', '*']) {
        let keyword = line.keyword();
        remarks.changed(
            &line.at,
            format!("`{keyword}`: there is no shell; see whether its words are right"),
        );
    }
    words.split_whitespace().map(str::to_owned).collect()
}

fn misc(node: &Node, rest: &[&Node], base: &Base<'_>, remarks: &mut Remarks) -> Table {
    let mut command: Vec<String> = Vec::new();
    for line in rest {
        match line.keyword() {
            "misc_path" => {
                let words = line.words.get(1..).unwrap_or_default().join(" ");
                command = program(line, &words, remarks);
            }
            _ => table::rest(Place::Check, line, remarks),
        }
    }
    if command.first().is_some_and(|program| program.starts_with('/')) {
        return of_type("script").with("command", command);
    }
    let fallback = plain_check(base.key);
    remarks.changed(&node.at, format!("`MISC_CHECK` without the path of a program: `{fallback}`"));
    of_type(fallback)
}

fn udp(node: &Node, rest: &[&Node], remarks: &mut Remarks) -> Table {
    let mut payload = None;
    let mut reply = false;
    for line in rest {
        match line.keyword() {
            "payload" => payload = hex(&line.words.get(1..).unwrap_or_default().concat()),
            "require_reply" => {
                reply = true;
                if let Some(wanted) = line.word(1) {
                    remarks.left_out(
                        &line.at,
                        format!("`require_reply {wanted}`: any answer will do"),
                    );
                }
            }
            _ => table::rest(Place::Check, line, remarks),
        }
    }
    match payload {
        Some(text) if reply => of_type("udp").with("request", text),
        _ => {
            let text = "`UDP_CHECK` without a payload that is text, or without an answer: `ping`";
            remarks.changed(&node.at, text);
            of_type("ping")
        }
    }
}

/// Two digits for each byte; only what is a text can be sent.
fn hex(digits: &str) -> Option<String> {
    let pair = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|two| pair(two)).collect();
    let text = String::from_utf8(bytes?).ok()?;
    (rest.is_empty() && !text.is_empty()).then_some(text)
}
