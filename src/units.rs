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

    /// `self * part / whole`; nothing of nothing. Products beyond 64 bits lose their last bits.
    pub fn scaled(self, part: KiB, whole: KiB) -> KiB {
        let (mut part, mut whole) = (part.0, whole.0);
        if whole == 0 {
            return KiB::ZERO;
        }
        loop {
            match self.0.checked_mul(part) {
                _ if whole == 0 => return KiB(u64::MAX),
                Some(product) => return KiB(product / whole),
                None => (part, whole) = (part / 2, whole / 2),
            }
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
        whole.scaled(KiB(u64::from(self.0)), KiB(u64::from(Percent::HUNDRED.0)))
    }

    /// Which share `part` is of `whole`; 0 of nothing, as earlyoom prints it.
    pub fn share(part: KiB, whole: KiB) -> Percent {
        let share = KiB(u64::from(Percent::HUNDRED.0)).scaled(part, whole).0;
        Percent(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Which share `part` is of `whole`, at most all of it.
    pub fn of_time(part: Duration, whole: Duration) -> Percent {
        let micros = |time: Duration| KiB(time.as_micros() as u64);
        Percent::share(micros(part), micros(whole)).min(Percent::HUNDRED)
    }

    /// This share of a time.
    pub fn of_duration(self, whole: Duration) -> Duration {
        Duration::from_micros(self.of(KiB(whole.as_micros() as u64)).0)
    }

    pub const fn just_below(self) -> Percent {
        Percent(self.0.saturating_sub(1))
    }

    /// So many times this share, at most all.
    pub fn times(self, times: u32) -> Percent {
        Percent(self.0.saturating_mul(times)).min(Percent::HUNDRED)
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

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
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
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for &(end, mut number) in &[
            (4, year),
            (7, month),
            (10, day),
            (13, seconds / 3600 % 24),
            (16, seconds / 60 % 60),
            (19, seconds % 60),
            (23, self.0.subsec_millis().into()),
        ] {
            for digit in text[..end].iter_mut().rev().take_while(|digit| **digit == b'0') {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
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
/// Digits before the point: 12 keep millionths inside 64 bits, and no machine needs more.
const DIGITS: usize = 12;
const MILLION: u64 = Percent::ONE as u64;

/// A plain decimal number in millionths: digits, perhaps a point and more digits.
/// No sign, no exponent, no words such as `nan` or `inf`.
fn millionths(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    let positive = text.strip_prefix(b"-").unwrap_or(text);
    let (mut number, mut whole, mut decimals) = (0u64, 0, None);
    for &byte in positive {
        match byte {
            b'0'..=b'9' => {
                number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                *decimals.as_mut().unwrap_or(&mut whole) += 1;
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return Err(Fault::NotANumber),
        }
    }
    if whole == 0 || decimals == Some(0) {
        return Err(Fault::NotANumber);
    }
    if whole > DIGITS || decimals > Some(DECIMALS) {
        return Err(Fault::TooManyDigits);
    }
    if positive.len() < text.len() {
        return Err(Fault::Negative);
    }
    for _ in decimals.unwrap_or(0)..DECIMALS {
        number *= 10;
    }
    Ok(number)
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
    kib(number, shift)
}

/// GiB without a suffix.
pub fn parse_gib(text: &[u8]) -> Result<KiB, Fault> {
    kib(text, 20)
}

/// 2^53 KiB are 8 ZiB: beyond any machine, and what a sum of them keeps in range.
const MOST: u64 = 1 << 53;

fn kib(text: &[u8], shift: u32) -> Result<KiB, Fault> {
    let millionths = millionths(text)?;
    let whole = millionths / MILLION;
    if whole > MOST >> shift {
        return Err(Fault::OutOfRange);
    }
    let kib = (whole << shift) + ((millionths % MILLION) << shift) / MILLION;
    Some(KiB(kib)).filter(|_| kib <= MOST).ok_or(Fault::OutOfRange)
}

const SWITCH: [(&str, bool); 8] = [
    ("true", true),
    ("1", true),
    ("yes", true),
    ("on", true),
    ("false", false),
    ("0", false),
    ("no", false),
    ("off", false),
];

/// `true` or `false`, `1` or `0`, `yes` or `no`, `on` or `off`, in any case.
pub fn parse_switch(text: &[u8]) -> Result<bool, Fault> {
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    // The standard library's comparison is made for long texts, and four times the code.
    let letters = || text.iter().map(u8::to_ascii_lowercase);
    let meant = SWITCH.iter().find(|(word, _)| letters().eq(word.bytes()));
    meant.map(|(_, on)| *on).ok_or(Fault::NotASwitch)
}

/// Where a file lies: absolute, since a service's working directory is anyone's guess, and
/// short enough to be handed on in one message.
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

const LONGEST_PATH: usize = 1000;

pub fn parse_path(text: &[u8]) -> Result<Path, Fault> {
    match text {
        b"" => Err(Fault::Empty),
        [b'/', ..] if text.len() > LONGEST_PATH => Err(Fault::TooLong),
        [b'/', ..] if !text.ends_with(b"/") => Ok(Path::of(text)),
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

/// A whole number with an optional minus sign: from -20 to 19 (setpriority(2)).
pub fn parse_niceness(text: &[u8]) -> Result<i32, Fault> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if text.contains(&b'.') {
        return Err(Fault::NotANumber);
    }
    let number = match millionths(text) {
        Err(Fault::Negative) => millionths(digits)?,
        number => number?,
    };
    if digits.len() > 9 {
        return Err(Fault::TooManyDigits);
    }
    let number = (number / MILLION) as i32;
    let niceness = if digits.len() < text.len() { -number } else { number };
    Some(niceness).filter(|niceness| (-20..20).contains(niceness)).ok_or(Fault::OutOfRange)
}

/// `TERM[,KILL]`; KILL, where it is left out, is half of TERM.
fn pair(text: &[u8], parse: fn(&[u8]) -> Result<u64, Fault>) -> Result<Levels<u64>, Fault> {
    let comma = text.iter().position(|&byte| byte == b',');
    let term = parse(&text[..comma.unwrap_or(text.len())])?;
    let kill = match comma {
        Some(comma) => parse(&text[comma + 1..])?,
        None => term / 2,
    };
    Ok(Levels { term, kill })
}

pub fn parse_percents(text: &[u8]) -> Result<Levels<Percent>, Fault> {
    let Levels { term, kill } = pair(text, |text| Ok(parse_percent(text)?.0.into()))?;
    Ok(Levels { term: Percent(term as u32), kill: Percent(kill as u32) })
}

/// The same for a share that is bad when it is high: KILL, where it is left out, is 0 for never.
pub fn parse_shares(text: &[u8]) -> Result<Levels<Percent>, Fault> {
    let mut levels = parse_percents(text)?;
    if !text.contains(&b',') {
        levels.kill = Percent::default();
    }
    Ok(levels)
}

pub fn parse_sizes(text: &[u8]) -> Result<Levels<KiB>, Fault> {
    let Levels { term, kill } = pair(text, |text| Ok(parse_size(text)?.0))?;
    Ok(Levels { term: KiB(term), kill: KiB(kill) })
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
        assert_eq!(parse_niceness(b"20"), Err(Fault::OutOfRange));
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
        let parse = parse_sizes;
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
