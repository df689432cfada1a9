//! The clock: the one place that reads the time.
//!
//! Decisions run on the boot clock, which counts while the machine is suspended and which nobody
//! can set. The wall clock is read for log timestamps, and to translate the kernel's receive
//! timestamps, which it stamps with nothing else.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::Instant;

/// Now, on the boot clock (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub fn now() -> Instant {
    let boot = span(clock_gettime(ClockId::Boottime));
    Instant::BOOT.plus(boot)
}

/// Now, on the wall clock, as time since 1970 in UTC. Decides nothing.
pub fn wall() -> Duration {
    span(clock_gettime(ClockId::Realtime))
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// The boot clock.
    pub boot: Instant,
    /// The wall clock.
    pub wall: Duration,
}

impl Clocks {
    /// Reads both.
    pub fn read() -> Self {
        Self { wall: wall(), boot: now() }
    }

    /// A moment of the past on the boot clock, given on the wall clock. Wrong by as much as the
    /// wall clock was set in between, so the caller must know bounds; never after
    /// [`Clocks::boot`].
    pub fn boot_of(&self, wall: Duration) -> Instant {
        self.boot.minus(self.wall.saturating_sub(wall))
    }
}

/// A point on the boot clock as the kernel takes it.
pub fn timespec(at: Instant) -> Timespec {
    let span = Duration::from_nanos(at.as_nanos());
    // Nanoseconds in 64 bits are 585 years.
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// Neither clock stands before its zero on a machine that runs us.
fn span(time: Timespec) -> Duration {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_found_on_the_boot_clock() {
        let clocks =
            Clocks { boot: Instant::from_millis(5000), wall: Duration::from_millis(900_000) };
        let past = clocks.boot_of(Duration::from_millis(899_990));
        assert_eq!(past, Instant::from_millis(4990));
        // The wall clock was set back after the packet came.
        assert_eq!(clocks.boot_of(Duration::from_millis(900_500)), clocks.boot);
    }

    #[test]
    fn the_boot_clock_runs_and_fits_the_kernels_type() {
        let before = now();
        let read = Clocks::read();
        assert!(before <= read.boot && read.boot <= now());
        assert!(before > Instant::BOOT && read.wall > Duration::from_secs(1_700_000_000));
        let spec = timespec(Instant::from_nanos(3_000_000_007));
        assert_eq!((spec.tv_sec, spec.tv_nsec), (3, 7));
    }
}
