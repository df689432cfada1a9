//! What ldirectord has of a file, as it shows it.

use serde_json::Value;

use super::Values;

/// Where its log goes when nothing is said, and where it was made to go for these cases.
const LOGS: [&str; 2] = ["/var/log/ldirectord.log", "/dev/null"];
/// Virtual service and global: the latter counts where the former says nothing.
const INHERITED: &[&str] = &[
    "checkinterval",
    "checkcount",
    "failurecount",
    "quiescent",
    "cleanstop",
    "fallbackcommand",
    "emailalert",
    "emailalertfreq",
    "emailalertstatus",
    "smtp",
];
const GLOBALS: &[&str] = &[
    "checktimeout",
    "negotiatetimeout",
    "autocheck",
    "callback",
    "ldirlog",
    "emailalertfrom",
    "supervised",
    "forking",
    "readdquiescent",
    "maintdir",
];
const SECTION: &[&str] = &[
    "schedflags",
    "persistent",
    "checkport",
    "request",
    "receive",
    "httpmethod",
    "virtualhost",
    "login",
    "passwd",
    "database",
    "secret",
    "monitorfile",
    "servicename",
    "comment",
];

pub(super) fn values(out: &Value) -> Values {
    let mut values = Values::new();
    let global = &out["global"];
    for name in GLOBALS.iter().chain(INHERITED) {
        put(&mut values, format!("global {name}"), value(name, &global[*name]));
    }
    for name in ["fallback", "fallback6"] {
        let sorry = server(&global[name]["tcp"], None);
        put(&mut values, format!("global {name}"), sorry);
    }
    for name in out["execute"].as_array().into_iter().flatten() {
        values.insert(format!("execute {}", name.as_str().unwrap()), "yes".to_owned());
    }
    for (index, section) in out["virtual"].as_array().into_iter().flatten().enumerate() {
        section_values(&format!("virtual {index} "), section, global, &mut values);
    }
    values
}

fn put(values: &mut Values, key: String, value: Option<String>) {
    if let Some(value) = value {
        values.insert(key, value);
    }
}

/// A number or a text; null is neither.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `None` for what is so by default.
fn value(name: &str, value: &Value) -> Option<String> {
    let text = plain(value)?.trim().to_owned();
    let default = match name {
        "checkinterval" => text == "10",
        "checkcount" | "failurecount" => text == "1",
        "checktimeout" | "negotiatetimeout" => text == "-1",
        "emailalertfreq" => text == "0",
        "emailalertstatus" => text == "15",
        "cleanstop" => text == "yes",
        "autocheck" | "quiescent" | "supervised" | "forking" | "readdquiescent" => text == "no",
        "ldirlog" => LOGS.contains(&text.as_str()),
        "request" => text == "/",
        "httpmethod" => text == "GET",
        "login" | "passwd" => ["anonymous", "ldirectord@HOST"].contains(&text.as_str()),
        _ => false,
    };
    if default || text.is_empty() {
        return None;
    }
    match name {
        "emailalert" => {
            let list = text.split([',', ' ']).filter(|word| !word.is_empty());
            Some(list.collect::<Vec<_>>().join(","))
        }
        "request" => Some(format!("/{}", text.trim_start_matches('/'))),
        _ => Some(text),
    }
}

fn server(sorry: &Value, port: Option<&str>) -> Option<String> {
    let address = address(sorry["server"].as_str()?);
    let port = plain(&sorry["port"]).or(port.map(str::to_owned)).unwrap_or("-".to_owned());
    Some(format!("{address} {port} {}", sorry["forward"].as_str().unwrap()))
}

fn address(text: &str) -> &str {
    text.trim_start_matches('[').trim_end_matches(']')
}

fn section_values(prefix: &str, section: &Value, global: &Value, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    let text = |name: &str, default: &str| plain(&section[name]).unwrap_or(default.to_owned());
    let ipv6 = section["addressfamily"].as_i64() == Some(6);
    let port = text("port", "0");
    let protocol = text("protocol", "tcp");
    let own = match (plain(&section["fwm"]), ipv6) {
        (Some(mark), false) => format!("fwm {mark}"),
        (Some(mark), true) => format!("fwm6 {mark}"),
        (None, _) => format!("{protocol} {}:{port}", section["server"].as_str().unwrap()),
    };
    values.insert(key("key"), own);
    for name in SECTION {
        put(values, key(name), value(name, &section[*name]));
    }
    for name in INHERITED {
        let own = if section[*name].is_null() { &global[*name] } else { &section[*name] };
        put(values, key(name), value(name, own));
    }
    let sorry = match &section["fallback"] {
        Value::Null if ipv6 => &global["fallback6"]["tcp"],
        Value::Null => &global["fallback"]["tcp"],
        own => own,
    };
    put(values, key("fallback"), server(sorry, Some(&port)));
    values.insert(key("checktimeout"), text("checktimeout", "5"));
    values.insert(key("negotiatetimeout"), text("negotiatetimeout", "30"));
    values.insert(key("scheduler"), text("scheduler", "wrr"));
    values.insert(key("checkcommand"), text("checkcommand", "/bin/true"));
    values.insert(key("service"), text("service", "none"));
    let kind = match text("checktype", "negotiate").as_str() {
        "combined" => text("num_connects", "0"),
        other => other.to_owned(),
    };
    values.insert(key("checktype"), if kind == "0" { "negotiate".to_owned() } else { kind });
    // Both count under a condition only.
    let one_packet = text("ops", "no") == "yes" && protocol == "udp";
    put(values, key("ops"), one_packet.then(|| "yes".to_owned()));
    let netmask = plain(&section["netmask"]).filter(|_| !section["persistent"].is_null());
    put(values, key("netmask"), netmask.and_then(|mask| prefix_length(&mask)));
    for (index, real) in section["real"].as_array().into_iter().flatten().enumerate() {
        real_values(&format!("{prefix}real {index} "), real, values);
    }
}

fn prefix_length(mask: &str) -> Option<String> {
    let length = match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => mask.to_bits().count_ones(),
        Err(_) => return Some(mask.to_owned()),
    };
    (length < 32).then(|| length.to_string())
}

fn real_values(prefix: &str, real: &Value, values: &mut Values) {
    let key = |name: &str| format!("{prefix}{name}");
    values.insert(key("server"), address(real["server"].as_str().unwrap()).to_owned());
    values.insert(key("port"), plain(&real["port"]).unwrap_or("0".to_owned()));
    values.insert(key("forward"), plain(&real["forward"]).unwrap());
    values.insert(key("weight"), plain(&real["weight"]).unwrap_or("1".to_owned()));
    for name in ["request", "receive", "l-threshold", "u-threshold"] {
        put(values, key(name), value(name, &real[name]).filter(|text| text != "0"));
    }
}
