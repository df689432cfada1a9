//! What an agent says of its server: a weight, or that it should be left alone.
//!
//! One line of words as HAProxy's agents say it (`agent-check` in its manual): `75%`, `up`, `ready`,
//! `drain`, `maint`, `down`, `failed`, `stopped`, with the reason behind a `#`. Each answer stands for
//! itself; of several states the worst counts. `maxconn:N` is passed over.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::model::WEIGHT_MAX;
use crate::lvs::program::ProgramCheck;

/// Longest answer that is read, in bytes.
pub const ANSWER_MAX: usize = 512;

/// Most percent of the configured weight that an agent can ask for.
pub const PERCENT_MAX: u16 = 1000;

/// How an agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentCheck {
    /// Over TCP: this is sent, if anything, and a line is read.
    Tcp {
        /// As it is, without a line feed of its own.
        send: Option<String>,
    },
    /// A program says it in its last line, and ends with exit code 0.
    Program(ProgramCheck),
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Percent of the configured weight, 0 to [`PERCENT_MAX`]; with 0 no new connections.
    pub percent: u16,
    /// Why the server is to be out of service.
    pub down: Option<String>,
}

impl FromStr for Advice {
    type Err = CheckFailure;

    fn from_str(text: &str) -> Result<Self, CheckFailure> {
        let not_understood = || CheckFailure::Protocol(format!("`{}`", shown(text.as_bytes())));
        let line = text.lines().next().unwrap_or_default();
        let (words, reason) = line.split_once('#').unwrap_or((line, ""));
        let (mut percent, mut drain, mut down) = (None, false, None);
        let mut said = false;
        for word in words.split([' ', ',', '\t', '\r', '\0']).filter(|word| !word.is_empty()) {
            said = true;
            match word.to_ascii_lowercase().as_str() {
                "up" | "ready" => {}
                "drain" => drain = true,
                word @ ("maint" | "down" | "fail" | "failed" | "stopped") => {
                    let reason = shown(reason.as_bytes());
                    down = Some(if reason.is_empty() { word.to_owned() } else { reason });
                }
                word if word.starts_with("maxconn:") => {}
                word => {
                    let number = word.strip_suffix('%').and_then(|number| number.parse().ok());
                    let number = number.filter(|number| *number <= PERCENT_MAX);
                    percent = Some(number.ok_or_else(not_understood)?);
                }
            }
        }
        if !said {
            return Err(not_understood());
        }
        Ok(Self { percent: if drain { 0 } else { percent.unwrap_or(100) }, down })
    }
}

/// So many percent of a weight: never 0 where both are more than that, at most the kernel's highest.
pub fn share(weight: u32, percent: u16) -> u32 {
    let part = u64::from(weight) * u64::from(percent) / 100;
    let least = u64::from(weight > 0 && percent > 0);
    u32::try_from(part.max(least)).unwrap_or(WEIGHT_MAX).min(WEIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_share_of_the_weight_or_takes_the_server_out() {
        for (text, percent, down) in [
            ("75%\n", 75, None),
            ("up 50%\r\n", 50, None),
            ("ready,up,100% maxconn:30", 100, None),
            ("up", 100, None),
            ("drain\n75%\n", 0, None),
            ("50% DRAIN", 0, None),
            ("down # disk full\n", 100, Some("disk full")),
            ("stopped", 100, Some("stopped")),
            ("up maint", 100, Some("maint")),
            ("0%", 0, None),
        ] {
            let want = Advice { percent, down: down.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(want), "{text:?}");
        }
        for text in ["", "\n", "75", "1001%", "-1%", "HTTP/1.1 200 OK", "# up", "%"] {
            assert!(text.parse::<Advice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_share_is_never_nothing_by_rounding_and_never_more_than_the_kernel_takes() {
        for (weight, percent, want) in
            [(100, 75, 75), (1, 50, 1), (10, 0, 0), (0, 100, 0), (60_000, 200, 65_535)]
        {
            assert_eq!(share(weight, percent), want, "{weight} {percent}");
        }
    }
}
