//! Single values as text: times, booleans, netmasks, interface names.
//!
//! Pure text to value, no diagnostics; the readers say what is wrong in their own words.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Longest interface name and address label: `IFNAMSIZ` without its NUL (linux/if.h).
pub(crate) const INTERFACE_LEN_MAX: usize = 15;

/// A boolean of ha.cf: true, on, yes, y, 1 and false, off, no, n, 0, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A time of ha.cf: seconds, with decimals if need be, or with `ms` or `us` behind it.
pub(super) fn heartbeat_time(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    let (number, nanos_per_unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1_000_000)
    } else if let Some(number) = text.strip_suffix("us") {
        (number, 1_000)
    } else {
        (text.as_str(), 1_000_000_000)
    };
    decimal(number, nanos_per_unit)
}

/// A time of pairbeat.toml: a number with its unit, `us`, `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(at)?;
    let nanos_per_unit = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    decimal(number.trim_end(), nanos_per_unit)
}

/// Digits with an optional fraction, times a unit. Integer arithmetic: 0.1 is exactly a tenth.
fn decimal(number: &str, nanos_per_unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(nanos_per_unit)?;
    let mut unit = nanos_per_unit;
    for digit in fraction.bytes() {
        unit /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0').checked_mul(unit)?)?;
    }
    Some(Duration::from_nanos(nanos))
}

/// A time as ha.cf and pairbeat.toml would write it: `2s`, `200ms`.
pub(super) fn time_text(time: Duration) -> String {
    let micros = time.as_micros();
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

/// A prefix length of 1 to `max`, or a dotted netmask where `max` is 32.
pub(crate) fn prefix(text: &str, max: u8) -> Option<u8> {
    if max == 32
        && let Ok(mask) = text.parse::<Ipv4Addr>()
    {
        let mask = mask.to_bits();
        let contiguous = mask.leading_ones() == mask.count_ones() && mask != 0;
        return contiguous.then(|| u8::try_from(mask.leading_ones()).ok()).flatten();
    }
    text.parse::<u8>().ok().filter(|length| (1..=max).contains(length))
}

/// Longest prefix of the address's family.
pub(super) fn prefix_max(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Whether the kernel would take it as an interface name.
pub(crate) fn is_interface(text: &str) -> bool {
    (1..=INTERFACE_LEN_MAX).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
}

/// Why an address can't be a virtual IP, if so.
pub(crate) fn unfit_vip(ip: IpAddr) -> Option<&'static str> {
    match ip {
        _ if ip.is_unspecified() => Some("the unspecified address"),
        _ if ip.is_loopback() => Some("a loopback address"),
        _ if ip.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_ha_cf_are_seconds_unless_a_unit_follows() {
        for (text, want) in [
            ("2", Some(2_000_000)),
            ("0.5", Some(500_000)),
            (".5", Some(500_000)),
            ("1.25", Some(1_250_000)),
            ("200ms", Some(200_000)),
            ("200MS", Some(200_000)),
            ("0.5ms", Some(500)),
            ("50us", Some(50)),
            ("2s", None),
            ("ten", None),
            ("", None),
            ("ms", None),
            ("-1", None),
            ("1e3", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(heartbeat_time(text), want.map(Duration::from_micros), "{text:?}");
        }
    }

    #[test]
    fn times_of_toml_have_a_unit() {
        for (text, want) in [
            ("200ms", Some(200)),
            ("2s", Some(2_000)),
            ("1.5 s", Some(1_500)),
            ("1m", Some(60_000)),
            ("1h", Some(3_600_000)),
            ("2", None),
            ("2 sec", None),
            ("s", None),
        ] {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text:?}");
        }
        for text in ["2s", "200ms", "50us", "90s"] {
            assert_eq!(duration(text).map(time_text).as_deref(), Some(text));
        }
    }

    #[test]
    fn netmasks_are_lengths_or_contiguous_dotted_masks() {
        for (text, max, want) in [
            ("24", 32, Some(24)),
            ("255.255.255.0", 32, Some(24)),
            ("255.255.255.255", 32, Some(32)),
            ("255.0.255.0", 32, None),
            ("0.0.0.0", 32, None),
            ("0", 32, None),
            ("33", 32, None),
            ("64", 128, Some(64)),
            ("255.255.255.0", 128, None),
            ("", 32, None),
        ] {
            assert_eq!(prefix(text, max), want, "{text:?} of {max}");
        }
    }
}
