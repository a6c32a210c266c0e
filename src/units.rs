//! Quantities and their spelling: memory in KiB, percentages, process numbers,
//! moments of the monotonic clock, and how a user writes each of them.
//!
//! Never reads anything: what is parsed here was handed in as bytes.

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

    pub fn plus(self, other: KiB) -> KiB {
        KiB(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away, at least nothing.
    pub fn less(self, other: KiB) -> KiB {
        KiB(self.0.saturating_sub(other.0))
    }

    /// `self * part / whole`; nothing of nothing.
    pub fn scaled(self, part: KiB, whole: KiB) -> KiB {
        if whole == KiB::ZERO {
            return KiB::ZERO;
        }
        let scaled = u128::from(self.0) * u128::from(part.0) / u128::from(whole.0);
        KiB(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

/// A percentage in millionths of a percent, so that what a user writes with up
/// to six decimals is kept exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Percent(u32);

impl Percent {
    const ONE: u32 = 1_000_000;
    pub const HUNDRED: Percent = Percent(100 * Percent::ONE);

    pub const fn whole(percent: u32) -> Percent {
        Percent(percent * Percent::ONE)
    }

    /// This share of `whole`, rounded down.
    pub fn of(self, whole: KiB) -> KiB {
        whole.scaled(KiB(u64::from(self.0)), KiB(u64::from(Percent::HUNDRED.0)))
    }

    /// Which share `part` is of `whole`; 0 of nothing, as earlyoom prints it.
    pub fn share(part: KiB, whole: KiB) -> Percent {
        let share = KiB(u64::from(Percent::HUNDRED.0)).scaled(part, whole).0;
        Percent(u32::try_from(share).unwrap_or(u32::MAX))
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

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    pub fn after(self, wait: Duration) -> Moment {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanos))
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
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        write!(f, ".{:03}Z", self.0.subsec_millis())
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1 January 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

/// The two levels of a threshold: ask with SIGTERM, end with SIGKILL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels<T> {
    pub term: T,
    pub kill: T,
}

/// What is wrong with a value; worded to follow it in a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Empty,
    NotANumber,
    Negative,
    TooManyDigits,
    OutOfRange,
    NotASwitch,
    NotAChoice,
    NotAbsolute,
    TooLong,
}

impl Fault {
    pub const fn text(self) -> &'static str {
        match self {
            Fault::Empty => "is empty",
            Fault::NotANumber => "is not a number",
            Fault::Negative => "is negative",
            Fault::TooManyDigits => "has too many digits",
            Fault::OutOfRange => "is out of range",
            Fault::NotASwitch => "is neither yes nor no",
            Fault::NotAChoice => "is none of the choices",
            Fault::NotAbsolute => "is not the absolute path of a file",
            Fault::TooLong => "is too long",
        }
    }
}

/// Decimals that are kept; a seventh is refused rather than dropped in silence.
const DECIMALS: usize = 6;
/// Digits before the point: 12 keep a size in T and a percentage far inside u128,
/// and no machine needs more.
const DIGITS: usize = 12;

/// A plain decimal number in millionths: digits, perhaps a point and more digits.
/// No sign, no exponent, no words such as `nan` or `inf`.
fn millionths(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    if text[0] == b'-' && text.len() > 1 && millionths(&text[1..]).is_ok() {
        return Err(Fault::Negative);
    }
    let point = text.iter().position(|&b| b == b'.');
    let (whole, decimals) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let all_digits = whole.iter().chain(decimals).all(u8::is_ascii_digit);
    let dangling = whole.is_empty() || (point.is_some() && decimals.is_empty());
    if !all_digits || dangling {
        return Err(Fault::NotANumber);
    }
    if whole.len() > DIGITS || decimals.len() > DECIMALS {
        return Err(Fault::TooManyDigits);
    }
    let padding = std::iter::repeat(&b'0').take(DECIMALS - decimals.len());
    let digits = whole.iter().chain(decimals).chain(padding);
    Ok(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `PERCENT`, from 0 to 100.
pub fn parse_percent(text: &[u8]) -> Result<Percent, Fault> {
    let millionths = millionths(text)?;
    match u32::try_from(millionths) {
        Ok(value) if value <= Percent::HUNDRED.0 => Ok(Percent(value)),
        _ => Err(Fault::OutOfRange),
    }
}

/// `SIZE`: KiB, or with a binary suffix `K`, `M`, `G` or `T`. Rounded down to KiB.
pub fn parse_size(text: &[u8]) -> Result<KiB, Fault> {
    let (number, shift) = match text.split_last() {
        Some((b'K' | b'k', rest)) => (rest, 0),
        Some((b'M' | b'm', rest)) => (rest, 10),
        Some((b'G' | b'g', rest)) => (rest, 20),
        Some((b'T' | b't', rest)) => (rest, 30),
        _ => (text, 0),
    };
    if number.is_empty() && !text.is_empty() {
        return Err(Fault::NotANumber);
    }
    let kib = (u128::from(millionths(number)?) << shift) / u128::from(Percent::ONE);
    u64::try_from(kib).ok().filter(|&kib| kib <= MOST).map(KiB).ok_or(Fault::OutOfRange)
}

/// 2^53 KiB are 8 ZiB: beyond any machine, and what a sum of them keeps in range.
const MOST: u64 = 1 << 53;

/// GiB without a suffix.
pub fn parse_gib(text: &[u8]) -> Result<KiB, Fault> {
    let kib = (u128::from(millionths(text)?) << 20) / u128::from(Percent::ONE);
    u64::try_from(kib).ok().filter(|&kib| kib <= MOST).map(KiB).ok_or(Fault::OutOfRange)
}

/// `true` or `false`, `1` or `0`, `yes` or `no`, `on` or `off`, in any case.
pub fn parse_switch(text: &[u8]) -> Result<bool, Fault> {
    let is_one_of =
        |words: [&str; 4]| words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(text));
    match text {
        b"" => Err(Fault::Empty),
        _ if is_one_of(["true", "1", "yes", "on"]) => Ok(true),
        _ if is_one_of(["false", "0", "no", "off"]) => Ok(false),
        _ => Err(Fault::NotASwitch),
    }
}

/// Where a file lies: absolute, since a service's working directory is anyone's guess, and
/// short enough to be handed on in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// With its ending NUL, as the kernel takes it.
    terminated: Box<[u8]>,
}

impl Path {
    pub fn as_bytes(&self) -> &[u8] {
        &self.terminated[..self.terminated.len() - 1]
    }

    pub fn terminated(&self) -> &[u8] {
        &self.terminated
    }
}

const LONGEST_PATH: usize = 1000;

pub fn parse_path(text: &[u8]) -> Result<Path, Fault> {
    match text {
        b"" => Err(Fault::Empty),
        [b'/', ..] if text.len() > LONGEST_PATH => Err(Fault::TooLong),
        [b'/', ..] if !text.ends_with(b"/") => {
            Ok(Path { terminated: [text, b"\0"].concat().into() })
        }
        _ => Err(Fault::NotAbsolute),
    }
}

/// `SECONDS`, decimals allowed, up to a year: longer is a slip of the finger.
pub fn parse_seconds(text: &[u8]) -> Result<Duration, Fault> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let wait = Duration::from_micros(millionths(text)?);
    if wait > YEAR {
        return Err(Fault::OutOfRange);
    }
    Ok(wait)
}

/// A whole number with an optional minus sign, within `range`.
pub fn parse_integer(text: &[u8], range: std::ops::RangeInclusive<i32>) -> Result<i32, Fault> {
    let (sign, digits) = match text.split_first() {
        Some((b'-', rest)) if !rest.is_empty() => (-1, rest),
        _ => (1, text),
    };
    if digits.is_empty() {
        return Err(Fault::Empty);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::NotANumber);
    }
    if digits.len() > 9 {
        return Err(Fault::TooManyDigits);
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')) * sign;
    if !range.contains(&number) {
        return Err(Fault::OutOfRange);
    }
    Ok(number)
}

/// `TERM[,KILL]`; KILL is `half` of TERM where it is left out.
pub fn parse_levels<T: Copy>(
    text: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, Fault>,
    half: impl Fn(T) -> T,
) -> Result<Levels<T>, Fault> {
    match text.iter().position(|&b| b == b',') {
        Some(comma) => {
            let (term, kill) = (parse(&text[..comma])?, parse(&text[comma + 1..])?);
            Ok(Levels { term, kill })
        }
        None => {
            let term = parse(text)?;
            let kill = half(term);
            Ok(Levels { term, kill })
        }
    }
}

pub fn half_percent(percent: Percent) -> Percent {
    Percent(percent.0 / 2)
}

pub fn half_size(size: KiB) -> KiB {
    KiB(size.0 / 2)
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
    }

    #[test]
    fn switches_say_yes_or_no_in_any_case() {
        for (text, on) in [("TRUE", true), ("1", true), ("Yes", true), ("on", true)] {
            assert_eq!(parse_switch(text.as_bytes()), Ok(on));
        }
        for (text, on) in [("false", false), ("0", false), ("NO", false), ("Off", false)] {
            assert_eq!(parse_switch(text.as_bytes()), Ok(on));
        }
        assert_eq!(parse_switch(b""), Err(Fault::Empty));
        assert_eq!(parse_switch(b"2"), Err(Fault::NotASwitch));
    }

    #[test]
    fn paths_are_absolute_and_name_a_file() {
        let path = parse_path(b"/x").unwrap();
        assert_eq!((path.as_bytes(), path.terminated()), (&b"/x"[..], &b"/x\0"[..]));
        assert_eq!(parse_path(b""), Err(Fault::Empty));
        assert_eq!(parse_path(b"x"), Err(Fault::NotAbsolute));
        assert_eq!(parse_path(b"/x/"), Err(Fault::NotAbsolute));
        assert_eq!(parse_path(&[b'/'; 1001]), Err(Fault::TooLong));
    }

    #[test]
    fn gib_may_have_decimals() {
        assert_eq!(parse_gib(b"20"), Ok(KiB(20 << 20)));
        assert_eq!(parse_gib(b"0.5"), Ok(KiB(512 << 10)));
        assert_eq!(parse_gib(b"20G"), Err(Fault::NotANumber));
        assert_eq!(parse_gib(b"999999999999"), Err(Fault::OutOfRange));
    }

    #[test]
    fn sizes_are_kib_or_carry_a_binary_suffix() {
        assert_eq!(parse_size(b"100"), Ok(KiB(100)));
        assert_eq!(parse_size(b"2M"), Ok(KiB(2048)));
        assert_eq!(parse_size(b"1.5G"), Ok(KiB(1_572_864)));
        assert_eq!(parse_size(b"1T"), Ok(KiB(1 << 30)));
        assert_eq!(parse_size(b"0.5"), Ok(KiB(0)));
    }

    #[test]
    fn faulty_numbers_tell_what_is_wrong() {
        for (text, fault) in [
            (&b""[..], Fault::Empty),
            (b"abc", Fault::NotANumber),
            (b"nan", Fault::NotANumber),
            (b"inf", Fault::NotANumber),
            (b"1e3", Fault::NotANumber),
            (b"+5", Fault::NotANumber),
            (b"-", Fault::NotANumber),
            (b".", Fault::NotANumber),
            (b"5.", Fault::NotANumber),
            (b".5", Fault::NotANumber),
            (b"1.2.3", Fault::NotANumber),
            (b" 5", Fault::NotANumber),
            (b"0x10", Fault::NotANumber),
            (b"-5", Fault::Negative),
            (b"1.1234567", Fault::TooManyDigits),
            (b"1234567890123", Fault::TooManyDigits),
        ] {
            assert_eq!(millionths(text), Err(fault), "{text:?}");
        }
        assert_eq!(parse_size(b"M"), Err(Fault::NotANumber));
        assert_eq!(parse_size(b"5MB"), Err(Fault::NotANumber));
        assert_eq!(parse_size(b"999999999999T"), Err(Fault::OutOfRange));
        assert_eq!(parse_percent(b"100.000001"), Err(Fault::OutOfRange));
        assert_eq!(parse_seconds(b"31536001"), Err(Fault::OutOfRange));
        assert_eq!(parse_integer(b"20", -20..=19), Err(Fault::OutOfRange));
    }

    #[test]
    fn percentages_keep_six_decimals() {
        let tiny = parse_percent(b"0.000001").unwrap();
        assert_eq!(tiny.of(KiB(100_000_000)), KiB(1));
        assert_eq!(parse_percent(b"10").unwrap().of(KiB(1001)), KiB(100));
        assert_eq!(Percent::HUNDRED.of(KiB(u64::MAX)), KiB(u64::MAX));
        assert_eq!(Percent::share(KiB(1), KiB::ZERO), Percent(0));
    }

    #[test]
    fn percentages_print_with_two_decimals_and_a_width() {
        assert_eq!(format!("{}", parse_percent(b"3.14159").unwrap()), "3.14");
        assert_eq!(format!("{:5}", Percent::whole(5)), " 5.00");
        assert_eq!(format!("{:5}", Percent::HUNDRED), "100.00");
    }

    #[test]
    fn kill_is_half_unless_given() {
        let parse = |text: &[u8]| parse_levels(text, parse_size, half_size);
        assert_eq!(parse(b"100"), Ok(Levels { term: KiB(100), kill: KiB(50) }));
        assert_eq!(parse(b"100,0"), Ok(Levels { term: KiB(100), kill: KiB(0) }));
        assert_eq!(parse(b"100,"), Err(Fault::Empty));
        assert_eq!(parse(b",5"), Err(Fault::Empty));
        assert_eq!(parse(b"1,2,3"), Err(Fault::NotANumber));
    }

    #[test]
    fn a_pid_is_above_zero() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(1 << 40), None);
        assert_eq!(Pid::new(1), Some(Pid::INIT));
    }
}
