//! Bytes in and out without allocation: integers, lines and fields of what the
//! kernel writes, a fixed buffer that truncates, and the escaping of text that a
//! process chose.
//!
//! Never opens anything, never allocates.

use std::fmt::{self, Write};
use std::ops::{Deref, DerefMut};

/// A decimal number without sign; `None` for anything else or beyond `u64`.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let mut sum = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!text.is_empty()).then_some(sum)
}

/// A decimal number, perhaps negative.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-");
    let number = i64::try_from(parse_u64(digits.unwrap_or(text))?).ok()?;
    Some(if digits.is_some() { -number } else { number })
}

/// The same of fewer bits.
pub fn parse_i32(text: &[u8]) -> Option<i32> {
    i32::try_from(parse_i64(text)?).ok()
}

/// Whether two texts differ in nothing but the case of letters. That of the standard library is
/// fast, and 200 bytes larger.
pub fn is_same_word(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// The bytes up to the first newline or blank.
pub fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    &text[..end]
}

/// `text` without the blanks and tabs around it.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Fields between runs of blanks.
pub fn fields(text: &[u8]) -> Fields<'_> {
    Fields(text)
}

pub struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let field = first_word(&self.0[start..]);
        self.0 = &self.0[start + field.len()..];
        Some(field)
    }
}

/// Whole lines, without their newline. A last line that has none was cut, and a cut
/// number is a wrong number: it is left out.
pub fn whole_lines(text: &[u8]) -> Parts<'_> {
    Parts { rest: text, last: b'\n' }
}

/// What comes before the first `byte`, and what behind; without it all, and nothing.
pub fn cut_at(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let mut parts = Parts { rest: text, last: byte };
    match parts.next() {
        Some(part) => (part, parts.rest),
        None => (text, b""),
    }
}

/// Parts that each end with the byte `last`, which does not belong to them.
pub struct Parts<'a> {
    pub rest: &'a [u8],
    pub last: u8,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| byte == self.last)?;
        let part = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(part)
    }
}

/// 64 bits that stand for `text` (FNV-1a). Two texts can have the same number.
pub fn mark(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |mark, &byte| {
        (mark ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The number of a line such as `VmRSS:   620 kB` if it begins with `key` (colon
/// included). A value without its unit was cut or is no amount.
pub fn kib_after(line: &[u8], key: &[u8]) -> Option<u64> {
    let mut fields = fields(line.strip_prefix(key)?);
    let number = parse_u64(fields.next()?)?;
    (fields.next() == Some(b"kB") && fields.next().is_none()).then_some(number)
}

/// A buffer of at most `N` bytes that can be written to. What does not fit is
/// dropped, and `is_cut` tells.
pub type Buf<const N: usize> = Buffer<[u8; N]>;

/// The same whatever its size, which is what all is done with: there is one copy of the
/// code.
pub type AnyBuf = Buffer<[u8]>;

pub struct Buffer<Room: ?Sized> {
    len: usize,
    /// Not all did fit.
    lost: usize,
    bytes: Room,
}

impl<const N: usize> Buf<N> {
    pub const fn new() -> Self {
        Buffer { bytes: [0; N], len: 0, lost: 0 }
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut buf = Buf::new();
        buf.push(bytes);
        buf
    }
}

impl<const N: usize> Deref for Buf<N> {
    type Target = AnyBuf;

    fn deref(&self) -> &AnyBuf {
        self
    }
}

impl<const N: usize> DerefMut for Buf<N> {
    fn deref_mut(&mut self) -> &mut AnyBuf {
        self
    }
}

impl AnyBuf {
    pub fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.room());
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        self.lost += bytes.len() - taken;
    }

    /// A number in decimal. Paths of `/proc` are built with this a few thousand times
    /// in a scan, where `write!` costs a tenth of the whole.
    pub fn push_number(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    pub fn replace(&mut self, from: u8, to: u8) {
        for byte in &mut self.bytes[..self.len] {
            if *byte == from {
                *byte = to;
            }
        }
    }

    /// Puts `mark` over the end, to show that something was cut. Cuts no character of UTF-8 in two.
    pub fn end_with(&mut self, mark: &[u8]) {
        let most = self.bytes.len() - mark.len();
        if self.len > most {
            // A character has four bytes at most, of which each but the first begins with these bits.
            let is_first = |&at: &usize| self.bytes[at] & 0xc0 != 0x80;
            let first = (most.saturating_sub(3)..=most).rev().find(is_first);
            self.len = first.unwrap_or(most);
        }
        self.push(mark);
    }

    pub fn drop_front(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }

    pub fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    pub fn clear(&mut self) {
        self.len = 0;
        self.lost = 0;
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_cut(&self) -> bool {
        self.lost > 0
    }
}

impl<const N: usize> Clone for Buf<N> {
    fn clone(&self) -> Self {
        Buffer { ..*self }
    }
}

impl<const N: usize> PartialEq for Buf<N> {
    fn eq(&self, other: &Buf<N>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for Buf<N> {}

impl<const N: usize> fmt::Debug for Buf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.as_bytes()))
    }
}

impl Write for AnyBuf {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Bytes that a process chose, shown so that they stay one quoted piece of one line:
/// control characters, quotes, backslashes, what cannot be seen or turns the writing direction,
/// and whatever is not UTF-8 are escaped.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(&byte) = rest.first() {
            let text = first_char(rest);
            match text.chars().next() {
                Some('"') => f.write_str("\\\"")?,
                Some('\\') => f.write_str("\\\\")?,
                Some('\n') => f.write_str("\\n")?,
                Some('\t') => f.write_str("\\t")?,
                Some('\r') => f.write_str("\\r")?,
                Some(c) if !is_treacherous(c) => f.write_str(text)?,
                Some(c) if !c.is_ascii() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                _ => write!(f, "\\x{:02x}", u32::from(byte))?,
            }
            rest = &rest[text.len().max(1)..];
        }
        Ok(())
    }
}

/// The same with dots behind its first part if it is long, so that all of a line is seen.
pub struct Shortened<'a>(pub &'a [u8]);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Buf::<200>::new();
        write!(shown, "{}", Escaped(self.0))?;
        if shown.is_cut() {
            shown.end_with(b"...");
        }
        f.write_str(std::str::from_utf8(shown.as_bytes()).unwrap_or_default())
    }
}

/// The character that `bytes` begin with; empty where that is not UTF-8.
pub fn first_char(bytes: &[u8]) -> &str {
    let len = match bytes.first() {
        None | Some(..=0x7f) => 1,
        Some(..=0xdf) => 2,
        Some(..=0xef) => 3,
        _ => 4,
    };
    let char = bytes.get(..len).map(std::str::from_utf8);
    char.and_then(Result::ok).unwrap_or_default()
}

/// Ends a line, steers a terminal, or shows it as another one: what has no picture of its own,
/// turns the writing direction or is a blank other than the usual ones.
pub fn is_treacherous(c: char) -> bool {
    c.is_control() || UNSEEN.iter().any(|&(first, last)| (first..=last).contains(&c))
}

/// The property Default_Ignorable_Code_Point of Unicode 16, and the categories Cf (format), Zl and Zp
/// (separators of lines and paragraphs) and Zs (blanks), but for the usual blank.
const UNSEEN: [(char, char); 28] = [
    ('\u{a0}', '\u{a0}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2000}', '\u{200f}'),
    ('\u{2028}', '\u{202f}'),
    ('\u{205f}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110cd}'),
    ('\u{13430}', '\u{1345f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b""), None);
        assert_eq!(parse_u64(b"1 "), None);
        assert_eq!(parse_i64(b"-1000"), Some(-1000));
        assert_eq!(parse_i64(b"--1"), None);
    }

    #[test]
    fn a_line_without_its_end_does_not_count() {
        let lines: Vec<_> = whole_lines(b"a\nb\ncut").collect();
        assert_eq!(lines, [b"a", b"b"]);
        assert_eq!(whole_lines(b"cut").filter(|l| !l.is_empty()).count(), 0);
    }

    #[test]
    fn an_amount_needs_key_number_and_unit() {
        assert_eq!(kib_after(b"MemFree:  12 kB", b"MemFree:"), Some(12));
        assert_eq!(kib_after(b"MemFree:  12", b"MemFree:"), None);
        assert_eq!(kib_after(b"MemFree:  12 kB x", b"MemFree:"), None);
        assert_eq!(kib_after(b"MemFree: -12 kB", b"MemFree:"), None);
        assert_eq!(kib_after(b" MemFree: 12 kB", b"MemFree:"), None);
    }

    #[test]
    fn a_full_buffer_says_so() {
        let mut buf = Buf::<4>::new();
        buf.push_number(1234);
        assert!(!buf.is_cut());
        buf.push(b"5");
        assert_eq!((buf.as_bytes(), buf.is_cut()), (&b"1234"[..], true));
        buf.clear();
        buf.push_number(0);
        assert_eq!(buf.as_bytes(), b"0");
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for (text, cut) in [
            ("abcdefgh", "abcde..."),
            ("abcdéfgh", "abcd..."),
            ("abcdeéfg", "abcde..."),
            ("abc名前", "abc..."),
            ("abcd名前", "abcd..."),
            ("a💾💾", "a💾..."),
            ("ab💾💾", "ab..."),
        ] {
            let mut buf = Buf::<8>::from_bytes(text.as_bytes());
            buf.end_with(b"...");
            assert_eq!(std::str::from_utf8(buf.as_bytes()), Ok(cut));
        }
        let mut buf = Buf::<8>::from_bytes(&[0x80; 9]);
        buf.end_with(b"...");
        assert_eq!(buf.as_bytes(), b"\x80\x80\x80\x80\x80...");
    }

    #[test]
    fn of_a_long_text_the_first_part_is_shown() {
        let shown = |text: &str| Shortened(text.as_bytes()).to_string();
        assert_eq!(shown(&"a".repeat(200)), "a".repeat(200));
        assert_eq!(shown(&"a".repeat(201)), format!("{}...", "a".repeat(197)));
        assert_eq!(shown(&"é".repeat(101)), format!("{}...", "é".repeat(98)));
        assert_eq!(shown("/a\nb"), "/a\\nb");
    }

    #[test]
    fn no_process_forges_a_line() {
        let shown = |bytes: &[u8]| Escaped(bytes).to_string();
        assert_eq!(shown(b"a\nb\t\x1b[2J\x7f"), "a\\nb\\t\\x1b[2J\\x7f");
        assert_eq!(shown(b"say \"hi\" \\"), "say \\\"hi\\\" \\\\");
        assert_eq!(shown("größe".as_bytes()), "größe");
        assert_eq!(shown(b"\xff\xfeok\xc3"), "\\xff\\xfeok\\xc3");
        assert_eq!(shown("\u{202e}x\u{85}".as_bytes()), "\\u{202e}x\\u{85}");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for text in [
            "\u{feff}sshd",
            "ss\u{200b}hd",
            "ss\u{200d}hd",
            "ss\u{ad}hd",
            "sshd\u{2060}",
            "sshd\u{3164}",
            "sshd\u{fe0f}",
            "sshd\u{e0041}",
            "sshd\u{2800}",
            "sshd\u{2009}",
            "sshd\u{202f}",
            "sshd\u{205f}",
            "sshd\u{a0}",
            "sshd\u{1680}",
            "\u{3000}sshd",
            "\u{2067}sshd",
            "\u{180e}sshd",
            "sshd\u{1d173}",
            "sshd\u{fff9}",
        ] {
            let shown = Escaped(text.as_bytes()).to_string();
            let is_seen = shown.is_ascii() && shown.contains("\\u{");
            assert!(is_seen, "{shown}");
        }
        for text in ["größe", "名前", "имя", "שם", "نام", "ไทย", "नाम", "💾"]
        {
            assert_eq!(Escaped(text.as_bytes()).to_string(), text);
        }
    }
}
