//! Quantities with one unit each: memory in KiB, percentages, process numbers, moments of the
//! monotonic clock.
//!
//! Never reads anything.

use std::fmt;
use std::time::Duration;

/// An amount of memory in KiB, the unit of `/proc/meminfo` (proc(5) calls it kB).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct KiB(pub u64);

impl KiB {
    pub const ZERO: KiB = KiB(0);

    pub const fn from_mib(mib: u64) -> KiB {
        KiB(mib * 1024)
    }

    /// `count` pages of `page` KiB each.
    pub const fn from_pages(count: u64, page: KiB) -> KiB {
        KiB(count.saturating_mul(page.0))
    }

    /// Whole MiB, rounded down.
    pub const fn mib(self) -> u64 {
        self.0 / 1024
    }

    pub const fn half(self) -> KiB {
        KiB(self.0 / 2)
    }

    pub fn plus(self, other: KiB) -> KiB {
        KiB(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away, at least nothing.
    pub fn less(self, other: KiB) -> KiB {
        KiB(self.0.saturating_sub(other.0))
    }

    /// `self * part / whole`; nothing of nothing.
    pub fn scaled(self, part: KiB, whole: KiB) -> KiB {
        KiB(mul_div(self.0, part.0, whole.0))
    }
}

/// `number * part / whole`, at most the largest number; nothing of nothing. Products beyond 64 bits
/// lose their last bits: exact ones would need a division of 128 bits.
pub fn mul_div(number: u64, mut part: u64, mut whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    loop {
        match number.checked_mul(part) {
            _ if whole == 0 => return u64::MAX,
            Some(product) => return product / whole,
            None => (part, whole) = (part / 2, whole / 2),
        }
    }
}

/// A percentage in millionths of a percent, so that what a user writes with up
/// to six decimals is kept exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Percent(u32);

impl Percent {
    const ONE: u32 = 1_000_000;
    pub const HUNDRED: Percent = Percent(100 * Percent::ONE);
    pub const BELOW_HUNDRED: Percent = Percent::HUNDRED.just_below();

    pub const fn whole(percent: u32) -> Percent {
        Percent(percent * Percent::ONE)
    }

    /// This share of `whole`, rounded down.
    pub fn of(self, whole: KiB) -> KiB {
        KiB(self.of_number(whole.0))
    }

    fn of_number(self, whole: u64) -> u64 {
        mul_div(whole, self.0.into(), Percent::HUNDRED.0.into())
    }

    /// Which share `part` is of `whole`; 0 of nothing, as earlyoom prints it.
    pub fn share(part: KiB, whole: KiB) -> Percent {
        Percent::ratio(part.0, whole.0)
    }

    fn ratio(part: u64, whole: u64) -> Percent {
        let share = mul_div(Percent::HUNDRED.0.into(), part, whole);
        Percent(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Which share `part` is of `whole`, at most all of it.
    pub fn of_time(part: Duration, whole: Duration) -> Percent {
        Percent::ratio(part.as_micros() as u64, whole.as_micros() as u64).min(Percent::HUNDRED)
    }

    /// This share of a time.
    pub fn of_duration(self, whole: Duration) -> Duration {
        Duration::from_micros(self.of_number(whole.as_micros() as u64))
    }

    pub const fn from_millionths(number: u32) -> Percent {
        Percent(number)
    }

    /// Millionths of the whole.
    pub fn parts_per_million(self) -> u64 {
        self.of_number(1_000_000)
    }

    pub const fn half(self) -> Percent {
        Percent(self.0 / 2)
    }

    pub const fn just_below(self) -> Percent {
        Percent(self.0.saturating_sub(1))
    }

    /// What is missing up to `other`, at least nothing.
    pub fn up_to(self, other: Percent) -> Percent {
        Percent(other.0.saturating_sub(self.0))
    }
}

/// Two decimals, padded to the width that `{:5}` asks for.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (u64::from(self.0) + 5_000) / 10_000;
        let decimals_and_dot = 3;
        let width = f.width().unwrap_or(0).saturating_sub(decimals_and_dot);
        write!(f, "{:width$}.{:02}", hundredths / 100, hundredths % 100)
    }
}

/// The number of a process, above 0 (`pid_t`; never a group, never "all").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pid(i32);

impl Pid {
    pub const INIT: Pid = Pid(1);

    /// The one place where a number becomes a `Pid`.
    pub fn new(number: i64) -> Option<Pid> {
        i32::try_from(number).ok().filter(|&n| n > 0).map(Pid)
    }

    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A process as the kernel will never name another one: its number, and its start
/// in clock ticks since boot (`starttime`, field 22 of `/proc/PID/stat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub pid: Pid,
    pub start: u64,
}

impl Identity {
    /// No process: init is never meant.
    pub const NONE: Identity = Identity { pid: Pid::INIT, start: 0 };
}

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Not inlined: 300 bytes smaller.
    #[inline(never)]
    pub fn after(self, wait: Duration) -> Moment {
        let seconds = wait.as_secs().saturating_mul(1_000_000_000);
        Moment(self.0.saturating_add(seconds).saturating_add(wait.subsec_nanos().into()))
    }

    /// Time gone since `earlier`; none if that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment since 1970, shown as UTC: `2026-11-21T22:55:12.042Z` (RFC 3339).
pub struct Timestamp(pub Duration);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        let (seconds, millis) = (seconds % 60, self.0.subsec_millis());
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1 January 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March, so that a leap day is the last: `civil_from_days` of Howard Hinnant
    // (chrono-Compatible Low-Level Date Algorithms).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let is_next = month >= 10;
    let first = (153 * month + 2) / 5;
    let month = if is_next { month - 9 } else { month + 3 };
    (400 * era + year + u64::from(is_next), month, day - first + 1)
}

/// The two levels of a threshold: ask with SIGTERM, end with SIGKILL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels<T> {
    pub term: T,
    pub kill: T,
}

/// The lesser of what is there.
pub fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// Where a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// With its ending NUL, as the kernel takes it.
    terminated: Box<[u8]>,
}

impl Path {
    /// Any path, also one that is not absolute.
    pub fn of(text: &[u8]) -> Path {
        Path { terminated: [text, b"\0"].concat().into() }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.terminated[..self.terminated.len() - 1]
    }

    pub fn terminated(&self) -> &[u8] {
        &self.terminated
    }

    /// Up to the last slash.
    pub fn parent(&self) -> Path {
        let end = self.terminated.iter().rposition(|&byte| byte == b'/');
        Path::of(&self.terminated[..end.map_or(0, |end| end + 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_show_as_dates() {
        let shown = |seconds| Timestamp(Duration::new(seconds, 42_000_000)).to_string();
        assert_eq!(shown(0), "1970-01-01T00:00:00.042Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59.042Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00.042Z");
        assert_eq!(shown(1_795_906_800), "2026-11-28T23:00:00.042Z");
        assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00.042Z");
        assert_eq!(shown(13_574_563_200), "2400-02-29T00:00:00.042Z");
        assert_eq!(shown(13_601_087_999), "2400-12-31T23:59:59.042Z");
    }

    #[test]
    fn percentages_keep_six_decimals() {
        assert_eq!(Percent::from_millionths(1).of(KiB(100_000_000)), KiB(1));
        assert_eq!(Percent::whole(10).of(KiB(1001)), KiB(100));
        assert_eq!(Percent::HUNDRED.of(KiB(u64::MAX)), KiB(u64::MAX));
        assert_eq!(Percent::share(KiB(1), KiB::ZERO), Percent(0));
        assert_eq!(Percent::share(KiB(u64::MAX), KiB(1)), Percent(u32::MAX));
    }

    #[test]
    fn percentages_print_with_two_decimals_and_a_width() {
        assert_eq!(format!("{}", Percent::from_millionths(3_141_590)), "3.14");
        assert_eq!(format!("{:5}", Percent::whole(5)), " 5.00");
        assert_eq!(format!("{:5}", Percent::HUNDRED), "100.00");
    }

    #[test]
    fn a_pid_is_above_zero() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(1 << 40), None);
        assert_eq!(Pid::new(1), Some(Pid::INIT));
    }
}
