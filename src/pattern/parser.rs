//! Text of a regular expression to a program.
//!
//! The program is written while the text is read, from left to right and without
//! recursion: what repeats or branches is already there as a run of places, which can be
//! copied and moved since ways are relative.

use super::program::{is_word, Assertion, Class, Place, Program, CLASSES, LIMIT};

/// What is wrong with a pattern, and at which byte (from 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: usize,
    pub what: &'static str,
}

// Each is used at one place, so that a message tells where it comes from.
const TOO_LONG: &str = "the pattern is longer than 16 KiB";
const TOO_LARGE: &str = "the pattern is too large here (more than 4096 steps)";
const TOO_MANY_CLASSES: &str = "there are too many different classes (more than 256)";
const TOO_DEEP: &str = "groups are nested too deeply (more than 100)";
const UNCLOSED_GROUP: &str = "this group is never closed";
const UNOPENED_GROUP: &str = "this closes a group that was never opened";
const LOOK_AROUND: &str = "look-around is not supported";
const NAMED_GROUP: &str = "named groups are not supported";
const UNKNOWN_GROUP: &str = "only (?:...), (?i:...) and, at the start, (?i) are supported";
const LATE_FLAG: &str = "(?i) is supported at the start only; use (?i:...)";
const NOTHING_TO_REPEAT: &str = "there is nothing to repeat here";
const BAD_COUNT: &str = "a count is written {n}, {n,} or {n,m}; a literal { as \\{";
const COUNT_TOO_LARGE: &str = "a count is at most 1000";
const COUNT_REVERSED: &str = "the first count is above the second";
const UNCLOSED_CLASS: &str = "this class is never closed";
const UNKNOWN_CLASS: &str = "there is no class of that name";
const RANGE_REVERSED: &str = "this range ends before it begins";
const RANGE_OF_CLASS: &str = "a class cannot begin or end a range";
const WIDE_IN_CLASS: &str = "a class holds single bytes only; use (a|b) for other characters";
const BACKREFERENCE: &str = "backreferences are not supported";
const UNKNOWN_ESCAPE: &str = "this escape is not supported";
const BAD_HEX: &str = "\\x takes two hexadecimal digits";
const TRAILING_BACKSLASH: &str = "a backslash at the end escapes nothing";

/// Longest text: more than any program within `LIMIT` is written with by hand.
const LONGEST: usize = 16 * 1024;
/// No person nests deeper.
const DEEPEST: usize = 100;
const MOST_REPEATS: usize = 1000;

/// Compiles `text`.
pub fn parse(text: &[u8]) -> Result<Program, Fault> {
    if text.len() > LONGEST {
        return Err(Fault { at: LONGEST, what: TOO_LONG });
    }
    let mut parser = Parser {
        text,
        at: 0,
        fold: text.starts_with(b"(?i)"),
        places: Vec::new(),
        classes: Vec::new(),
        groups: Vec::new(),
        jumps: Vec::new(),
        atom: None,
    };
    parser.open_group(0);
    if parser.fold {
        parser.at = 4;
    }
    while let Some(&byte) = text.get(parser.at) {
        parser.take(byte)?;
    }
    if parser.groups.len() > 1 {
        let at = parser.groups.last().map_or(0, |group| group.at);
        return Err(Fault { at, what: UNCLOSED_GROUP });
    }
    parser.close_group();
    Ok(Program::new(parser.places, parser.classes))
}

struct Parser<'a> {
    text: &'a [u8],
    /// The byte to be read next.
    at: usize,
    /// Letters match in either case.
    fold: bool,
    places: Vec<Place>,
    classes: Vec<Class>,
    /// The whole pattern first, then the groups that are open.
    groups: Vec<Group>,
    /// Jumps from the ends of branches, whose ways are filled in when their group ends.
    jumps: Vec<usize>,
    /// Where in `places` begins what a repeat would repeat.
    atom: Option<usize>,
}

struct Group {
    /// In the text, for messages.
    at: usize,
    /// In `places`: the group, and its present branch.
    start: usize,
    branch: usize,
    /// The first of its jumps in `jumps`.
    jumps: usize,
    fold_outside: bool,
}

impl Parser<'_> {
    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b'(' => self.group(),
            b')' => {
                if self.groups.len() == 1 {
                    return self.fail(UNOPENED_GROUP);
                }
                self.at += 1;
                self.close_group();
                Ok(())
            }
            b'|' => {
                self.at += 1;
                self.branch()
            }
            b'*' | b'+' | b'?' | b'{' => self.repeat(byte),
            b'[' => self.class(),
            b'\\' => self.escape(),
            b'.' => self.single(Place::Any),
            b'^' => self.single(Place::Assert(Assertion::Start)),
            b'$' => self.single(Place::Assert(Assertion::End)),
            _ => self.literal(),
        }
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what })
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    // --- places ---

    fn push(&mut self, place: Place) -> Result<(), Fault> {
        self.make_room(1)?;
        self.places.push(place);
        Ok(())
    }

    fn make_room(&self, count: usize) -> Result<(), Fault> {
        if self.places.len() + count > LIMIT {
            return self.fail(TOO_LARGE);
        }
        Ok(())
    }

    /// One place that is an atom of its own, written with one byte of the text.
    fn single(&mut self, place: Place) -> Result<(), Fault> {
        self.atom = Some(self.places.len());
        self.push(place)?;
        self.at += 1;
        Ok(())
    }

    fn push_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if self.fold && byte.is_ascii_alphabetic() {
            let mut class = Class::default();
            class.add(byte);
            return self.push_class(class.folded());
        }
        self.push(Place::Byte(byte))
    }

    fn push_class(&mut self, class: Class) -> Result<(), Fault> {
        let known = self.classes.iter().position(|&other| other == class);
        let index = known.unwrap_or(self.classes.len());
        if index == CLASSES {
            return self.fail(TOO_MANY_CLASSES);
        }
        self.push(Place::Class(index as u16))?;
        if known.is_none() {
            self.classes.push(class);
        }
        Ok(())
    }

    /// A character: all bytes of it are one atom, so that a repeat repeats them all.
    fn literal(&mut self) -> Result<(), Fault> {
        self.atom = Some(self.places.len());
        for _ in 0..character_len(self.rest()) {
            self.push_byte(self.text[self.at])?;
            self.at += 1;
        }
        Ok(())
    }

    // --- groups and branches ---

    fn group(&mut self) -> Result<(), Fault> {
        let (open, fold) = match self.rest() {
            [b'(', b'?', b':', ..] => (3, self.fold),
            [b'(', b'?', b'i', b':', ..] => (4, true),
            [b'(', b'?', b'i', b')', ..] => return self.fail(LATE_FLAG),
            [b'(', b'?', b'=' | b'!', ..] | [b'(', b'?', b'<', b'=' | b'!', ..] => {
                return self.fail(LOOK_AROUND)
            }
            [b'(', b'?', b'<' | b'P' | b'\'', ..] => return self.fail(NAMED_GROUP),
            [b'(', b'?', ..] => return self.fail(UNKNOWN_GROUP),
            _ => (1, self.fold),
        };
        // The whole pattern counts as one.
        if self.groups.len() > DEEPEST {
            return self.fail(TOO_DEEP);
        }
        self.open_group(self.at);
        self.fold = fold;
        self.at += open;
        Ok(())
    }

    fn open_group(&mut self, at: usize) {
        self.groups.push(Group {
            at,
            start: self.places.len(),
            branch: self.places.len(),
            jumps: self.jumps.len(),
            fold_outside: self.fold,
        });
        self.atom = None;
    }

    /// A bar: the branch before it becomes one of two ways, and jumps over the others.
    fn branch(&mut self) -> Result<(), Fault> {
        self.make_room(2)?;
        let Some(group) = self.groups.last_mut() else { return Ok(()) };
        let length = self.places.len() - group.branch;
        self.places.insert(group.branch, Place::Split(1, way(length + 2)));
        self.jumps.push(self.places.len());
        self.places.push(Place::Jump(0));
        group.branch = self.places.len();
        self.atom = None;
        Ok(())
    }

    fn close_group(&mut self) {
        let Some(group) = self.groups.pop() else { return };
        for jump in self.jumps.drain(group.jumps..) {
            self.places[jump] = Place::Jump(way(self.places.len() - jump));
        }
        self.fold = group.fold_outside;
        self.atom = Some(group.start);
    }

    // --- repeats ---

    fn repeat(&mut self, byte: u8) -> Result<(), Fault> {
        let Some(start) = self.atom else { return self.fail(NOTHING_TO_REPEAT) };
        let (least, most, length) = match byte {
            b'*' => (0, None, 1),
            b'+' => (1, None, 1),
            b'?' => (0, Some(1), 1),
            _ => self.count()?,
        };
        self.expand(start, least, most)?;
        self.at += length;
        // Lazy or not, what matches is the same; only how much of it would differ.
        if self.rest().first() == Some(&b'?') {
            self.at += 1;
        }
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`, and how many bytes it takes.
    fn count(&self) -> Result<(usize, Option<usize>, usize), Fault> {
        let Some(end) = self.rest().iter().position(|&byte| byte == b'}') else {
            return self.fail(BAD_COUNT);
        };
        let inside = &self.rest()[1..end];
        let (least, most) = match inside.iter().position(|&byte| byte == b',') {
            None => (inside, Some(inside)),
            Some(comma) if comma + 1 == inside.len() => (&inside[..comma], None),
            Some(comma) => (&inside[..comma], Some(&inside[comma + 1..])),
        };
        let least = self.number(least)?;
        let most = most.map(|most| self.number(most)).transpose()?;
        if most.is_some_and(|most| most < least) {
            return self.fail(COUNT_REVERSED);
        }
        Ok((least, most, end + 1))
    }

    fn number(&self, digits: &[u8]) -> Result<usize, Fault> {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return self.fail(BAD_COUNT);
        }
        let add =
            |sum: usize, digit: &u8| (sum * 10 + usize::from(digit - b'0')).min(MOST_REPEATS + 1);
        match digits.iter().fold(0, add) {
            number if number > MOST_REPEATS => self.fail(COUNT_TOO_LARGE),
            number => Ok(number),
        }
    }

    /// Writes out what begins at `start` as often as asked.
    fn expand(&mut self, start: usize, least: usize, most: Option<usize>) -> Result<(), Fault> {
        if (least, most) == (1, Some(1)) {
            return Ok(());
        }
        let length = self.places.len() - start;
        // Each copy with a way around it, and for `*` one more to go back.
        let copies = most.unwrap_or(least.max(1));
        let total = copies * (length + 1) + 1;
        if start + total > LIMIT {
            return self.fail(TOO_LARGE);
        }
        let body = self.places.split_off(start);
        (0..least).for_each(|_| self.places.extend_from_slice(&body));
        match most {
            Some(most) => {
                let optional = most - least;
                for written in 0..optional {
                    let around = (optional - written) * (length + 1);
                    self.places.push(Place::Split(1, way(around)));
                    self.places.extend_from_slice(&body);
                }
            }
            None if least == 0 => {
                self.places.push(Place::Split(1, way(length + 2)));
                self.places.extend_from_slice(&body);
                self.places.push(Place::Jump(-way(length + 1)));
            }
            None => self.places.push(Place::Split(-way(length), 1)),
        }
        Ok(())
    }

    // --- escapes and classes ---

    fn escape(&mut self) -> Result<(), Fault> {
        let place = match self.rest().get(1) {
            Some(b'b') => Place::Assert(Assertion::WordBoundary),
            Some(b'B') => Place::Assert(Assertion::NotWordBoundary),
            _ => {
                let start = self.places.len();
                match self.escaped()? {
                    Item::Byte(byte) => self.push_byte(byte)?,
                    Item::Class(class) => self.push_class(class)?,
                }
                self.atom = Some(start);
                return Ok(());
            }
        };
        self.at += 1;
        self.single(place)
    }

    /// What a backslash and the byte after it stand for, in a class or outside.
    fn escaped(&mut self) -> Result<Item, Fault> {
        let Some(&byte) = self.rest().get(1) else { return self.fail(TRAILING_BACKSLASH) };
        let item = match byte {
            b't' => Item::Byte(b'\t'),
            b'n' => Item::Byte(b'\n'),
            b'r' => Item::Byte(b'\r'),
            b'f' => Item::Byte(0x0c),
            b'v' => Item::Byte(0x0b),
            b'a' => Item::Byte(0x07),
            b'x' => {
                let digits = self.rest().get(2..4);
                let Some(byte) = digits.and_then(hexadecimal) else { return self.fail(BAD_HEX) };
                self.at += 2;
                Item::Byte(byte)
            }
            b'd' => Item::Class(named(b"digit")),
            b'D' => Item::Class(named(b"digit").inverted()),
            b'w' => Item::Class(named(b"word")),
            b'W' => Item::Class(named(b"word").inverted()),
            b's' => Item::Class(named(b"space")),
            b'S' => Item::Class(named(b"space").inverted()),
            b'1'..=b'9' => return self.fail(BACKREFERENCE),
            b'<' | b'>' => return self.fail(UNKNOWN_ESCAPE),
            _ if byte.is_ascii_punctuation() || byte == b' ' => Item::Byte(byte),
            _ => return self.fail(UNKNOWN_ESCAPE),
        };
        self.at += 2;
        Ok(item)
    }

    fn class(&mut self) -> Result<(), Fault> {
        let (start, open) = (self.places.len(), self.at);
        let unclosed = Fault { at: open, what: UNCLOSED_CLASS };
        self.at += 1;
        let inverted = self.rest().first() == Some(&b'^');
        self.at += usize::from(inverted);
        let mut class = Class::default();
        let first = self.at;
        loop {
            match self.rest() {
                [] => return Err(unclosed),
                // Right at the beginning it is a member.
                [b']', ..] if self.at > first => break,
                _ => self.members(&mut class, unclosed)?,
            }
        }
        self.at += 1;
        let class = if self.fold { class.folded() } else { class };
        self.push_class(if inverted { class.inverted() } else { class })?;
        self.atom = Some(start);
        Ok(())
    }

    /// One byte, range, or named class inside brackets.
    fn members(&mut self, class: &mut Class, unclosed: Fault) -> Result<(), Fault> {
        let at = self.at;
        let from = self.member(unclosed)?;
        let is_range = matches!(self.rest(), [b'-', next, ..] if *next != b']');
        if !is_range {
            match from {
                Item::Byte(byte) => class.add(byte),
                Item::Class(members) => class.add_all(members),
            }
            return Ok(());
        }
        self.at += 1;
        match (from, self.member(unclosed)?) {
            (Item::Byte(from), Item::Byte(to)) if from <= to => class.add_range(from, to),
            (Item::Byte(_), Item::Byte(_)) => return Err(Fault { at, what: RANGE_REVERSED }),
            _ => return Err(Fault { at, what: RANGE_OF_CLASS }),
        }
        Ok(())
    }

    fn member(&mut self, unclosed: Fault) -> Result<Item, Fault> {
        match self.rest() {
            [] => Err(unclosed),
            [b'\\', ..] => self.escaped(),
            [b'[', b':', rest @ ..] => {
                let Some(end) = rest.windows(2).position(|two| two == b":]") else {
                    return self.fail(UNKNOWN_CLASS);
                };
                let class = match rest[..end].split_first() {
                    Some((b'^', name)) => known_class(name).map(Class::inverted),
                    _ => known_class(&rest[..end]),
                };
                let Some(class) = class else { return self.fail(UNKNOWN_CLASS) };
                self.at += end + 4;
                Ok(Item::Class(class))
            }
            [byte, ..] if !byte.is_ascii() => self.fail(WIDE_IN_CLASS),
            &[byte, ..] => {
                self.at += 1;
                Ok(Item::Byte(byte))
            }
        }
    }
}

enum Item {
    Byte(u8),
    Class(Class),
}

/// `LIMIT` keeps every distance far inside.
fn way(distance: usize) -> i16 {
    distance as i16
}

/// Bytes of the UTF-8 character that `text` begins with; 1 where it is none.
fn character_len(text: &[u8]) -> usize {
    let longest = &text[..text.len().min(4)];
    let wide = |len: &usize| longest.get(..*len).is_some_and(|c| std::str::from_utf8(c).is_ok());
    match longest.first() {
        Some(0x80..) => (2..=4).find(wide).unwrap_or(1),
        _ => 1,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(digits[0])? * 16 + digit(digits[1])?;
    u8::try_from(value).ok()
}

/// The classes of POSIX (regex(7)), and `word`.
fn known_class(name: &[u8]) -> Option<Class> {
    let member: fn(u8) -> bool = match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"ascii" => |byte| byte.is_ascii(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"word" => is_word,
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    };
    let mut class = Class::default();
    (0..=255).filter(|&byte| member(byte)).for_each(|byte| class.add(byte));
    Some(class)
}

fn named(name: &[u8]) -> Class {
    known_class(name).unwrap_or_default()
}
