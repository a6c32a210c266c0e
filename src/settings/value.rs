//! From text to a value, and what is wrong with a text that is none.
//!
//! Never reads anything, and knows no option: what may lie between which bounds is handed in.

use super::config::{SwapSize, Watch};
use crate::bytes;
use crate::units::{KiB, Levels, Path, Percent};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What is wrong with something given, in one line without the program's name: where it stands,
/// what it is, and what would be right.
pub type Mistake = String;

/// What is wrong with a value, worded to follow it in a message.
pub type Fault = &'static str;

pub const EMPTY: Fault = "is empty";
const NOT_A_NUMBER: Fault = "is not a number";
const NEGATIVE: Fault = "is negative";
const TOO_MANY_DIGITS: Fault = "has too many digits";
const OUT_OF_RANGE: Fault = "is out of range";
const NOT_A_SWITCH: Fault = "is neither yes nor no";
const NOT_A_CHOICE: Fault = "is none of the choices";
const NOT_ABSOLUTE: Fault = "is not the absolute path of a file";
const TOO_LONG: Fault = "is too long";

fn within<T>(value: T, is_within: bool) -> Result<T, Fault> {
    is_within.then_some(value).ok_or(OUT_OF_RANGE)
}

/// Decimals that are kept; a seventh is refused rather than dropped in silence.
const DECIMALS: usize = 6;
/// Digits before the point: 12 keep millionths inside 64 bits, and no machine needs more.
const DIGITS: usize = 12;
const MILLION: u64 = 1_000_000;

/// A plain decimal number in millionths: digits, perhaps a point and more digits, or those alone.
/// No sign, no exponent, no words such as `nan` or `inf`.
fn millionths(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() {
        return Err(EMPTY);
    }
    let positive = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, decimals) = match positive.iter().position(|&byte| byte == b'.') {
        Some(0) => (&b"0"[..], &positive[1..]),
        Some(point) => (&positive[..point], &positive[point + 1..]),
        None => (positive, &b"0"[..]),
    };
    if !is_digits(whole) || !is_digits(decimals) {
        return Err(NOT_A_NUMBER);
    }
    if whole.len() > DIGITS || decimals.len() > DECIMALS {
        return Err(TOO_MANY_DIGITS);
    }
    if positive.len() < text.len() {
        return Err(NEGATIVE);
    }
    let zeros = &[b'0'; DECIMALS][decimals.len()..];
    let digits = whole.iter().chain(decimals).chain(zeros);
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// `PERCENT`, from 0 to 100.
fn percent(text: &[u8]) -> Result<Percent, Fault> {
    let number = u32::try_from(millionths(text)?).unwrap_or(u32::MAX);
    let percent = Percent::from_millionths(number);
    within(percent, percent <= Percent::HUNDRED)
}

/// `PERCENT`, from 0, which is never, to below 100.
pub fn percent_or_never(text: &[u8]) -> Result<Option<Percent>, Fault> {
    let percent = percent(text)?;
    within(Some(percent).filter(|&it| it > Percent::default()), percent < Percent::HUNDRED)
}

/// `TERM[,KILL]`.
fn pair<T>(text: &[u8], read: fn(&[u8]) -> Result<T, Fault>) -> Result<(T, Option<T>), Fault> {
    let (first, second) = bytes::cut_at(text, b',');
    let term = read(first)?;
    let kill = (first.len() < text.len()).then(|| read(second)).transpose()?;
    Ok((term, kill))
}

/// The same with the KILL that is meant if it is left out.
fn levels<T: Copy>(
    text: &[u8],
    read: fn(&[u8]) -> Result<T, Fault>,
    missing: fn(T) -> T,
) -> Result<Levels<T>, Fault> {
    let (term, kill) = pair(text, read)?;
    Ok(Levels { term, kill: kill.unwrap_or_else(|| missing(term)) })
}

/// `PERCENT[,KILL]`, above 0 and at most `most`. KILL is half of PERCENT if it is left out; of 100,
/// which is "whatever there is", it is 100.
pub fn percents(text: &[u8], most: Percent) -> Result<Levels<Percent>, Fault> {
    let missing = |term| match term {
        Percent::HUNDRED => term,
        term => term.half(),
    };
    let levels = levels(text, percent, missing)?;
    within(levels, levels.term > Percent::whole(0) && levels.term.max(levels.kill) <= most)
}

/// From 0 to 100, of a share that is bad when it is high: 0 is never, and so is a KILL left out.
pub fn shares(text: &[u8]) -> Result<Levels<Percent>, Fault> {
    levels(text, percent, |_| Percent::whole(0))
}

/// `SIZE[,KILL]`, above 0. KILL is half of SIZE if it is left out.
pub fn sizes(text: &[u8]) -> Result<Levels<KiB>, Fault> {
    let levels = levels(text, any_size, KiB::half)?;
    within(levels, levels.term > KiB::ZERO)
}

/// The same, where a KILL left out depends on the swap there is.
pub fn swap_size(text: &[u8]) -> Result<SwapSize, Fault> {
    let (term, kill) = pair(text, any_size)?;
    within(SwapSize { term, kill }, term > KiB::ZERO)
}

fn any_size(text: &[u8]) -> Result<KiB, Fault> {
    size(text, KiB::ZERO)
}

/// `SIZE`: KiB, or with a binary suffix `K`, `M`, `G` or `T`. Rounded down to KiB.
pub fn size(text: &[u8], least: KiB) -> Result<KiB, Fault> {
    let (number, shift) = match text {
        [number @ .., b'K' | b'k'] => (number, 0),
        [number @ .., b'M' | b'm'] => (number, 10),
        [number @ .., b'G' | b'g'] => (number, 20),
        [number @ .., b'T' | b't'] => (number, 30),
        _ => (text, 0),
    };
    if number.is_empty() && !text.is_empty() {
        return Err(NOT_A_NUMBER);
    }
    let size = kib(number, shift)?;
    within(size, size >= least)
}

/// GiB without a suffix, above 0.
pub fn gib(text: &[u8]) -> Result<KiB, Fault> {
    let size = kib(text, 20)?;
    within(size, size > KiB::ZERO)
}

/// 2^53 KiB are 8 ZiB: beyond any machine, and what a sum of them keeps in range.
const MOST: u64 = 1 << 53;

fn kib(text: &[u8], shift: u32) -> Result<KiB, Fault> {
    let millionths = millionths(text)?;
    let whole = within(millionths / MILLION, millionths / MILLION <= MOST >> shift)?;
    let kib = (whole << shift) + ((millionths % MILLION) << shift) / MILLION;
    within(KiB(kib), kib <= MOST)
}

/// `SECONDS`, decimals allowed, up to a year: longer is a slip of the finger.
pub fn seconds(text: &[u8], least: Duration) -> Result<Duration, Fault> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let wait = Duration::from_micros(millionths(text)?);
    within(wait, wait >= least && wait <= YEAR)
}

/// The same, where 0 is never.
pub fn seconds_or_never(text: &[u8]) -> Result<Option<Duration>, Fault> {
    seconds(text, Duration::ZERO).map(|wait| Some(wait).filter(|wait| !wait.is_zero()))
}

/// The same, where there is a least that is not never.
pub fn seconds_from_or_never(text: &[u8], least: Duration) -> Result<Option<Duration>, Fault> {
    let wait = seconds_or_never(text)?;
    within(wait, wait.map_or(true, |wait| wait >= least))
}

pub fn watch(text: &[u8]) -> Result<Watch, Fault> {
    match text {
        b"memory" => Ok(Watch::Memory),
        b"limit" => Ok(Watch::Limit),
        b"both" => Ok(Watch::Both),
        _ => Err(NOT_A_CHOICE),
    }
}

/// From -20 to 19 (setpriority(2)).
pub fn niceness(text: &[u8]) -> Result<i32, Fault> {
    whole(text, -20..=19)
}

/// The number of a descriptor that is not a standard one. More than a million are never open
/// (`fs.nr_open`, Documentation/admin-guide/sysctl/fs.rst).
pub fn descriptor(text: &[u8]) -> Result<i32, Fault> {
    whole(text, 3..=1 << 20)
}

/// A whole number with an optional minus sign.
fn whole(text: &[u8], range: RangeInclusive<i32>) -> Result<i32, Fault> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if text.is_empty() {
        return Err(EMPTY);
    }
    if !is_digits(digits) {
        return Err(NOT_A_NUMBER);
    }
    if digits.len() < text.len() && *range.start() >= 0 {
        return Err(NEGATIVE);
    }
    let number = bytes::parse_i32(text).filter(|_| digits.len() < 10);
    let number = number.ok_or(TOO_MANY_DIGITS)?;
    within(number, range.contains(&number))
}

/// `true` or `false`, `1` or `0`, `yes` or `no`, `on` or `off`, in any case.
pub fn switch(text: &[u8]) -> Result<bool, Fault> {
    let is_one_of =
        |words: [&str; 4]| words.iter().any(|word| bytes::is_same_word(text, word.as_bytes()));
    match text {
        b"" => Err(EMPTY),
        _ if is_one_of(["true", "1", "yes", "on"]) => Ok(true),
        _ if is_one_of(["false", "0", "no", "off"]) => Ok(false),
        _ => Err(NOT_A_SWITCH),
    }
}

const LONGEST_PATH: usize = 1000;

/// Absolute, because a service's working directory is unknown, and short enough to be
/// handed on in one message.
pub fn path(text: &[u8]) -> Result<Path, Fault> {
    match text {
        b"" => Err(EMPTY),
        [b'/', ..] if text.len() > LONGEST_PATH => Err(TOO_LONG),
        [b'/', ..] if !text.ends_with(b"/") => Ok(Path::of(text)),
        _ => Err(NOT_ABSOLUTE),
    }
}

/// The same of a directory, which a shell completes with a slash.
pub fn cgroup(text: &[u8]) -> Result<Path, Fault> {
    match text {
        b"/" => Ok(Path::of(text)),
        [directory @ .., b'/'] => path(directory),
        _ => path(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_say_yes_or_no_in_any_case() {
        for (text, on) in [("TRUE", true), ("1", true), ("Yes", true), ("on", true)] {
            assert_eq!(switch(text.as_bytes()), Ok(on));
        }
        for (text, on) in [("false", false), ("0", false), ("NO", false), ("Off", false)] {
            assert_eq!(switch(text.as_bytes()), Ok(on));
        }
        assert_eq!(switch(b""), Err(EMPTY));
        assert_eq!(switch(b"2"), Err(NOT_A_SWITCH));
    }

    #[test]
    fn paths_are_absolute_and_name_a_file() {
        let found = path(b"/x").unwrap();
        assert_eq!((found.as_bytes(), found.terminated()), (&b"/x"[..], &b"/x\0"[..]));
        assert_eq!(path(b""), Err(EMPTY));
        assert_eq!(path(b"x"), Err(NOT_ABSOLUTE));
        assert_eq!(path(b"/x/"), Err(NOT_ABSOLUTE));
        assert_eq!(path(&[b'/'; 1001]), Err(TOO_LONG));
    }

    #[test]
    fn gib_may_have_decimals() {
        assert_eq!(gib(b"20"), Ok(KiB(20 << 20)));
        assert_eq!(gib(b"0.5"), Ok(KiB(512 << 10)));
        assert_eq!(gib(b"20G"), Err(NOT_A_NUMBER));
        assert_eq!(gib(b"999999999999"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn sizes_are_kib_or_carry_a_binary_suffix() {
        let size = |text| size(text, KiB::ZERO);
        assert_eq!(size(b"100"), Ok(KiB(100)));
        assert_eq!(size(b"2M"), Ok(KiB(2048)));
        assert_eq!(size(b"1.5G"), Ok(KiB(1_572_864)));
        assert_eq!(size(b"1T"), Ok(KiB(1 << 30)));
        assert_eq!(size(b"0.5"), Ok(KiB(0)));
    }

    #[test]
    fn faulty_numbers_tell_what_is_wrong() {
        for (text, fault) in [
            (&b""[..], EMPTY),
            (b"abc", NOT_A_NUMBER),
            (b"nan", NOT_A_NUMBER),
            (b"inf", NOT_A_NUMBER),
            (b"1e3", NOT_A_NUMBER),
            (b"+5", NOT_A_NUMBER),
            (b"-", NOT_A_NUMBER),
            (b".", NOT_A_NUMBER),
            (b"5.", NOT_A_NUMBER),
            (b"..5", NOT_A_NUMBER),
            (b"-.5", NEGATIVE),
            (b".1234567", TOO_MANY_DIGITS),
            (b"1.2.3", NOT_A_NUMBER),
            (b" 5", NOT_A_NUMBER),
            (b"0x10", NOT_A_NUMBER),
            (b"-5", NEGATIVE),
            (b"1.1234567", TOO_MANY_DIGITS),
            (b"1234567890123", TOO_MANY_DIGITS),
        ] {
            assert_eq!(millionths(text), Err(fault), "{text:?}");
        }
        assert_eq!(size(b"M", KiB::ZERO), Err(NOT_A_NUMBER));
        assert_eq!(size(b"5MB", KiB::ZERO), Err(NOT_A_NUMBER));
        assert_eq!(size(b"999999999999T", KiB::ZERO), Err(OUT_OF_RANGE));
        assert_eq!(percent(b"100.000001"), Err(OUT_OF_RANGE));
        assert_eq!(seconds(b"31536001", Duration::ZERO), Err(OUT_OF_RANGE));
        assert_eq!(niceness(b"20"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn nothing_before_the_point_is_zero() {
        assert_eq!(millionths(b".5"), millionths(b"0.5"));
        assert_eq!(size(b".5G", KiB(1)), Ok(KiB(512 << 10)));
        assert_eq!(seconds_or_never(b".5"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(percents(b".5,.25", Percent::HUNDRED), percents(b"0.5,0.25", Percent::HUNDRED));
    }

    #[test]
    fn a_value_lies_within_its_bounds() {
        assert_eq!(percents(b"0", Percent::HUNDRED), Err(OUT_OF_RANGE));
        assert_eq!(percents(b"100", Percent::BELOW_HUNDRED), Err(OUT_OF_RANGE));
        assert_eq!(percents(b"5,100", Percent::BELOW_HUNDRED), Err(OUT_OF_RANGE));
        assert_eq!(sizes(b"0,5"), Err(OUT_OF_RANGE));
        assert_eq!(size(b"0", KiB(1)), Err(OUT_OF_RANGE));
        assert_eq!(seconds(b"0.05", Duration::from_millis(100)), Err(OUT_OF_RANGE));
        let ten = Duration::from_secs(10);
        assert_eq!(seconds_from_or_never(b"0", ten), Ok(None));
        assert_eq!(seconds_from_or_never(b"10", ten), Ok(Some(ten)));
        assert_eq!(seconds_from_or_never(b"9.999999", ten), Err(OUT_OF_RANGE));
        assert_eq!((niceness(b"-20"), niceness(b"-21")), (Ok(-20), Err(OUT_OF_RANGE)));
    }

    #[test]
    fn percentages_keep_six_decimals() {
        assert_eq!(percent(b"0.000001").unwrap().of(KiB(100_000_000)), KiB(1));
        assert_eq!(percent(b"10").unwrap().of(KiB(1001)), KiB(100));
        assert_eq!(percent(b"3.14159").unwrap().to_string(), "3.14");
    }

    #[test]
    fn kill_is_half_unless_given() {
        assert_eq!(sizes(b"100"), Ok(Levels { term: KiB(100), kill: KiB(50) }));
        assert_eq!(sizes(b"100,0"), Ok(Levels { term: KiB(100), kill: KiB(0) }));
        assert_eq!(sizes(b"100,"), Err(EMPTY));
        assert_eq!(sizes(b",5"), Err(EMPTY));
        assert_eq!(sizes(b"1,2,3"), Err(NOT_A_NUMBER));
        let swap = |text: &[u8]| swap_size(text).map(|size| (size.term, size.kill));
        assert_eq!(swap(b"100"), Ok((KiB(100), None)));
        assert_eq!(swap(b"100,0"), Ok((KiB(100), Some(KiB(0)))));
        assert_eq!(swap(b"100,"), Err(EMPTY));
        assert_eq!(swap(b"0"), Err(OUT_OF_RANGE));
        let percents = |text: &[u8]| percents(text, Percent::HUNDRED).map(|levels| levels.kill);
        assert_eq!(percents(b"99"), Ok(Percent::from_millionths(49_500_000)));
        assert_eq!(percents(b"100"), Ok(Percent::HUNDRED));
        assert_eq!(percents(b"100,50"), Ok(Percent::whole(50)));
        let never = shares(b"10").unwrap();
        assert_eq!((never.term, never.kill), (Percent::whole(10), Percent::whole(0)));
    }
}
