//! The wall clock as people write it, in the machine's time zone. Decides nothing.

use std::time::Duration;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    year: i64,
    month: &'static str,
    day: u8,
    weekday: &'static str,
    time: (u8, u8, u8),
    /// East of Greenwich.
    offset_minutes: i64,
}

impl Moment {
    /// That long after the beginning of 1970 (UTC), in the time zone of `TZ` or of /etc/localtime.
    pub fn local(wall: Duration) -> Self {
        Self::of(&broken_down(wall))
    }

    fn of(tm: &libc::tm) -> Self {
        let small = |number: libc::c_int| u8::try_from(number).unwrap_or_default();
        let named = |names: &[&'static str], at: libc::c_int| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
        };
        Self {
            year: i64::from(tm.tm_year) + 1900,
            month: named(&MONTHS, tm.tm_mon),
            day: small(tm.tm_mday),
            weekday: named(&WEEKDAYS, tm.tm_wday),
            time: (small(tm.tm_hour), small(tm.tm_min), small(tm.tm_sec)),
            offset_minutes: tm.tm_gmtoff / 60,
        }
    }

    /// As asctime(3) has it: `Sat Nov  7 23:55:29 2026`.
    pub fn asctime(&self) -> String {
        let Self { year, month, day, weekday, time: (hour, minute, second), .. } = self;
        format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
    }

    /// As in the header of a mail (RFC 5322): `Sat, 7 Nov 2026 23:55:29 +0100`.
    pub fn rfc5322(&self) -> String {
        let Self { year, month, day, weekday, time: (hour, minute, second), .. } = self;
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let offset = self.offset_minutes.abs();
        let (hours, minutes) = (offset / 60, offset % 60);
        format!(
            "{weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} {sign}{hours:02}{minutes:02}"
        )
    }
}

#[expect(unsafe_code, reason = "no safe wrapper of localtime_r(3) among our crates")]
fn broken_down(wall: Duration) -> libc::tm {
    let seconds = libc::time_t::try_from(wall.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: `tm` is plain data for which zeros are valid, and the null pointer of the zone's name
    // is never read; localtime_r(3) writes nothing but `tm`, and on an error nothing at all.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut tm);
        tm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_asctime_and_as_a_mail_have_it() {
        let mut tm = broken_down(Duration::ZERO);
        (tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_wday) = (126, 10, 7, 6);
        (tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_gmtoff) = (23, 5, 9, -12_600);
        let moment = Moment::of(&tm);
        assert_eq!(moment.asctime(), "Sat Nov  7 23:05:09 2026");
        assert_eq!(moment.rfc5322(), "Sat, 7 Nov 2026 23:05:09 -0330");
    }

    #[test]
    fn the_clock_of_this_machine_can_be_read() {
        // Noon, so that it is the same day nearly everywhere.
        let moment = Moment::local(Duration::from_secs(1_795_262_400));
        assert!(moment.asctime().ends_with(" 2026") && moment.rfc5322().contains(" Nov 2026 "));
    }
}
