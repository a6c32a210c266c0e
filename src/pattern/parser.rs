//! Text of a regular expression or a glob to a program.
//!
//! The program is written while the text is read, from left to right and without
//! recursion: what repeats or branches is already there as a run of places, which can be
//! copied and moved because ways are relative.

use super::program::{Assertion, Class, Place, Program, CLASSES, LIMIT};
use crate::bytes;

/// What is wrong with a pattern, and at which byte (from 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: usize,
    pub what: &'static str,
}

// Messages of more than one place.
const BAD_COUNT: &str = "a count is written {n}, {n,} or {n,m}; a literal { as \\{";
const UNCLOSED_CLASS: &str = "this class is never closed";
const UNKNOWN_CLASS: &str = "there is no class of that name";

/// Longest text: more than any program within `LIMIT` is written with by hand.
const LONGEST: usize = 16 * 1024;
/// No person nests deeper.
const DEEPEST: usize = 100;
const MOST_REPEATS: usize = 1000;

/// The classes of POSIX (regex(7)), and `word`: the name, then the first and last byte of
/// each range, then 0xff.
const NAMED: &[u8] = b"digit=09\xff\
    word=09AZ__az\xff\
    space=\t\r  \xff\
    alnum=09AZaz\xff\
    alpha=AZaz\xff\
    ascii=\0\x7f\xff\
    blank=\t\t  \xff\
    cntrl=\0\x1f\x7f\x7f\xff\
    graph=!~\xff\
    lower=az\xff\
    print= ~\xff\
    punct=!/:@[`{~\xff\
    upper=AZ\xff\
    xdigit=09AFaf\xff";

/// Compiles what stands in `text` from `start` on.
pub fn parse(text: &[u8], start: usize, is_glob: bool) -> Result<Program, Fault> {
    let mut program = Program::default();
    let (fold, groups, atom) = (false, Vec::new(), None);
    let mut parser = Parser { text, at: start, is_glob, fold, program: &mut program, groups, atom };
    match parser.whole(start) {
        Ok(()) => Ok(program.finished()),
        Err(what) => Err(Fault { at: parser.at, what }),
    }
}

/// What is wrong, at the byte that the parser has reached.
type Step<T = ()> = Result<T, &'static str>;

struct Parser<'a> {
    text: &'a [u8],
    /// The byte to be read next.
    at: usize,
    is_glob: bool,
    /// Letters match in either case.
    fold: bool,
    program: &'a mut Program,
    /// The whole pattern first, then the groups that are open.
    groups: Vec<Group>,
    /// The place at which begins what a repeat would repeat.
    atom: Option<usize>,
}

struct Group {
    /// In the text, for messages.
    at: usize,
    /// In `places`: the group, and its present branch.
    start: usize,
    branch: usize,
    /// The last jump from the end of a branch, whose way is filled in when the group ends.
    /// Until then it holds the place of the one before; 0 for none.
    jump: usize,
    fold_outside: bool,
}

impl Parser<'_> {
    fn whole(&mut self, start: usize) -> Step {
        if self.text.len() - start > LONGEST && !self.is_glob {
            self.at += LONGEST;
            return Err("the pattern is longer than 16 KiB");
        }
        self.open_group();
        if self.is_glob {
            self.push(Place::Assert(Assertion::Start))?;
        } else if self.rest().starts_with(b"(?i)") {
            self.fold = true;
            self.at += 4;
        }
        while let Some(&byte) = self.text.get(self.at) {
            self.take(byte)?;
        }
        if let [_, .., open] = &self.groups[..] {
            self.at = open.at;
            return Err("this group is never closed");
        }
        self.close_group();
        if self.is_glob {
            self.push(Place::Assert(Assertion::End))?;
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Step {
        let start = self.program.places.len();
        match (byte, self.is_glob) {
            (b'(', false) => return self.group(),
            (b')', false) => {
                if self.groups.len() == 1 {
                    return Err("this closes a group that was never opened");
                }
                self.at += 1;
                self.close_group();
                return Ok(());
            }
            (b'|', false) => return self.branch(),
            (b'*' | b'+' | b'?' | b'{', false) => return self.repeat(byte),
            (b'*', true) => {
                self.push(Place::Any)?;
                self.expand(start, 0, None)?;
                self.at += 1;
            }
            (b'?', true) | (b'.', false) => self.single(Place::Any)?,
            (b'^', false) => self.single(Place::Assert(Assertion::Start))?,
            (b'$', false) => self.single(Place::Assert(Assertion::End))?,
            (b'[', _) => self.class()?,
            (b'\\', _) => self.escape()?,
            // A character: all bytes of it are one atom, so that a repeat repeats them all.
            _ => {
                for _ in 0..bytes::first_char(self.rest()).len().max(1) {
                    self.push_byte(self.text[self.at])?;
                    self.at += 1;
                }
            }
        }
        self.atom = Some(start);
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    /// The byte that is so many ahead; NUL at the end.
    fn ahead(&self, count: usize) -> u8 {
        self.text.get(self.at + count).copied().unwrap_or(0)
    }

    // --- places ---

    fn push(&mut self, place: Place) -> Step {
        self.make_room(self.program.places.len() + 1)?;
        self.program.places.push(place);
        Ok(())
    }

    fn make_room(&self, count: usize) -> Step {
        match self.is_glob {
            _ if count <= LIMIT => Ok(()),
            true => Err("the glob is too large (more than 4096 steps)"),
            false => Err("the pattern is too large here (more than 4096 steps)"),
        }
    }

    /// One place that is written with one byte of the text.
    fn single(&mut self, place: Place) -> Step {
        self.push(place)?;
        self.at += 1;
        Ok(())
    }

    fn push_byte(&mut self, byte: u8) -> Step {
        if self.fold && byte.is_ascii_alphabetic() {
            let mut class = Class::default();
            class.add(byte);
            class.fold();
            return self.push_class(&class);
        }
        self.push(Place::Byte(byte))
    }

    fn push_class(&mut self, class: &Class) -> Step {
        let known = self.program.classes.iter().position(|other| other == class);
        let index = known.unwrap_or(self.program.classes.len());
        if index == CLASSES {
            return Err("there are too many different classes (more than 256)");
        }
        self.push(Place::Class(index as u8))?;
        if known.is_none() {
            self.program.classes.push(*class);
        }
        Ok(())
    }

    // --- groups and branches ---

    fn group(&mut self) -> Step {
        let (open, fold) = match [self.ahead(1), self.ahead(2), self.ahead(3)] {
            [b'?', b':', _] => (3, self.fold),
            [b'?', b'i', b':'] => (4, true),
            [b'?', b'i', b')'] => return Err("(?i) is supported at the start only; use (?i:...)"),
            [b'?', b'=' | b'!', _] | [b'?', b'<', b'=' | b'!'] => {
                return Err("look-around is not supported")
            }
            [b'?', b'<' | b'P' | b'\'', _] => return Err("named groups are not supported"),
            [b'?', ..] => {
                return Err("only (?:...), (?i:...) and, at the start, (?i) are supported")
            }
            _ => (1, self.fold),
        };
        // The whole pattern counts as one.
        if self.groups.len() > DEEPEST {
            return Err("groups are nested too deeply (more than 100)");
        }
        self.open_group();
        self.fold = fold;
        self.at += open;
        Ok(())
    }

    fn open_group(&mut self) {
        let start = self.program.places.len();
        let (at, fold_outside) = (self.at, self.fold);
        self.groups.push(Group { at, start, branch: start, jump: 0, fold_outside });
        self.atom = None;
    }

    /// A bar: the branch before it becomes one of two ways, and jumps over the others.
    fn branch(&mut self) -> Step {
        self.at += 1;
        self.make_room(self.program.places.len() + 2)?;
        let end = self.program.places.len() + 1;
        if let Some(&Group { branch, jump, .. }) = self.groups.last() {
            self.program.places.insert(branch, Place::Split(way(end + 1 - branch)));
            self.program.places.push(Place::Jump(way(jump)));
        }
        if let Some(group) = self.groups.last_mut() {
            (group.branch, group.jump) = (end + 1, end);
        }
        self.atom = None;
        Ok(())
    }

    fn close_group(&mut self) {
        let Some(group) = self.groups.pop() else { return };
        let end = self.program.places.len();
        let mut jump = group.jump;
        while let (1.., Some(Place::Jump(way_on))) = (jump, self.program.places.get_mut(jump)) {
            let before = *way_on as usize;
            *way_on = way(end - jump);
            jump = before;
        }
        self.fold = group.fold_outside;
        self.atom = Some(group.start);
    }

    // --- repeats ---

    fn repeat(&mut self, byte: u8) -> Step {
        let start = self.atom.ok_or("there is nothing to repeat here")?;
        let mut end = self.at + 1;
        let (least, most) = match byte {
            b'*' => (0, None),
            b'+' => (1, None),
            b'?' => (0, Some(1)),
            _ => {
                let least = self.number(&mut end).ok_or(BAD_COUNT)?;
                let mut most = Some(least);
                if self.text.get(end) == Some(&b',') {
                    end += 1;
                    most = self.number(&mut end);
                }
                if self.text.get(end) != Some(&b'}') {
                    return Err(BAD_COUNT);
                }
                end += 1;
                (least, most)
            }
        };
        if most.unwrap_or(least).max(least) > MOST_REPEATS {
            return Err("a count is at most 1000");
        }
        if most.unwrap_or(least) < least {
            return Err("the first count is above the second");
        }
        self.expand(start, least, most)?;
        self.at = end;
        // Lazy or not, what matches is the same; only how much of it would differ.
        if self.ahead(0) == b'?' {
            self.at += 1;
        }
        Ok(())
    }

    /// The number in digits that begins at `at`, which is moved behind it. All above the
    /// most that is allowed count as one more.
    fn number(&self, at: &mut usize) -> Option<usize> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.text.get(*at) {
            let sum = number.unwrap_or(0) * 10 + usize::from(digit - b'0');
            number = Some(sum.min(MOST_REPEATS + 1));
            *at += 1;
        }
        number
    }

    /// Writes out what begins at `start` as often as asked.
    fn expand(&mut self, start: usize, least: usize, most: Option<usize>) -> Step {
        let length = self.program.places.len() - start;
        // Each copy with a way around it, and without end one more place to go back.
        let copies = most.unwrap_or(least.max(1));
        self.make_room(start + copies * (length + 1) + 1)?;
        // The way that leads around the copy `written`.
        let around = |written| way((copies - written) * (length + 1) + usize::from(most.is_none()));
        let mut body = start;
        match (copies, least) {
            (0, _) => self.program.places.truncate(start),
            (_, 0) => {
                self.program.places.insert(start, Place::Split(around(0)));
                body += 1;
            }
            _ => {}
        }
        for written in 1..copies {
            if written >= least {
                self.program.places.push(Place::Split(around(written)));
            }
            for at in body..body + length {
                self.program.places.push(self.program.places[at]);
            }
        }
        if most.is_none() {
            self.program.places.push(match least {
                0 => Place::Jump(-way(length + 1)),
                _ => Place::Split(-way(length)),
            });
        }
        Ok(())
    }

    // --- escapes and classes ---

    fn escape(&mut self) -> Step {
        match (self.ahead(1), self.is_glob) {
            (b'b', false) => self.push(Place::Assert(Assertion::WordBoundary))?,
            (b'B', false) => self.push(Place::Assert(Assertion::NotWordBoundary))?,
            _ => {
                let mut class = Class::default();
                return match self.escaped(&mut class)? {
                    Some(byte) => self.push_byte(byte),
                    None => self.push_class(&class),
                };
            }
        }
        self.at += 2;
        Ok(())
    }

    /// What a backslash and the byte after it stand for: a byte, or members of `class`.
    fn escaped(&mut self, class: &mut Class) -> Step<Option<u8>> {
        let mut byte = self.ahead(1);
        if self.at + 1 == self.text.len() {
            return Err("a backslash at the end escapes nothing");
        }
        if !self.is_glob {
            let name: &[u8] = match byte | 0x20 {
                b'd' => b"digit",
                b'w' => b"word",
                b's' => b"space",
                _ => b"",
            };
            if !name.is_empty() {
                self.at += 2;
                return add_named(class, name, byte.is_ascii_uppercase());
            }
            if let Some(place) = b"tnrfva".iter().position(|&letter| letter == byte) {
                byte = b"\t\n\r\x0c\x0b\x07"[place];
            } else if byte == b'x' {
                let digit = |count| char::from(self.ahead(count)).to_digit(16);
                let (Some(high), Some(low)) = (digit(2), digit(3)) else {
                    return Err("\\x takes two hexadecimal digits");
                };
                byte = (high * 16 + low) as u8;
                self.at += 2;
            } else if matches!(byte, b'1'..=b'9') {
                return Err("backreferences are not supported");
            } else if !matches!(byte, b' '..=b';' | b'=' | b'?'..=b'~')
                || byte.is_ascii_alphanumeric()
            {
                return Err("this escape is not supported");
            }
        }
        self.at += 2;
        Ok(Some(byte))
    }

    fn class(&mut self) -> Step {
        let open = self.at;
        self.at += 1;
        let inverted = matches!((self.ahead(0), self.is_glob), (b'^', _) | (b'!', true));
        self.at += usize::from(inverted);
        let mut class = Class::default();
        let first = self.at;
        // Right at the beginning the bracket is a member.
        while self.ahead(0) != b']' || self.at == first {
            if self.at == self.text.len() {
                self.at = open;
                return Err(UNCLOSED_CLASS);
            }
            self.members(&mut class)?;
        }
        if self.fold {
            class.fold();
        }
        if inverted {
            class.invert();
        }
        self.at += 1;
        self.push_class(&class)
    }

    /// One byte, range, or named class inside brackets.
    fn members(&mut self, class: &mut Class) -> Step {
        let at = self.at;
        let from = self.member(class)?;
        let mut to = from;
        if self.ahead(0) == b'-' && self.at + 1 < self.text.len() && self.ahead(1) != b']' {
            self.at += 1;
            to = self.member(class)?;
            if from.is_none() || to.is_none() {
                self.at = at;
                return Err("a class cannot begin or end a range");
            }
        }
        if to < from {
            self.at = at;
            return Err("this range ends before it begins");
        }
        if let (Some(from), Some(to)) = (from, to) {
            class.add_range(from, to);
        }
        Ok(())
    }

    /// A byte, or a named class, which is added to `class`.
    fn member(&mut self, class: &mut Class) -> Step<Option<u8>> {
        match *self.rest() {
            [b'\\', ..] => self.escaped(class),
            [b'[', b':', ref rest @ ..] => {
                let end = rest.iter().position(|&byte| byte == b':').ok_or(UNKNOWN_CLASS)?;
                if rest.get(end + 1) != Some(&b']') {
                    return Err(UNKNOWN_CLASS);
                }
                let name = rest[..end].strip_prefix(b"^");
                let found = add_named(class, name.unwrap_or(&rest[..end]), name.is_some());
                if found.is_ok() {
                    self.at += end + 4;
                }
                found
            }
            [0x80..=0xff, ..] if !self.is_glob => {
                Err("a class holds single bytes only; use (a|b) for other characters")
            }
            [byte, ..] => {
                self.at += 1;
                Ok(Some(byte))
            }
            [] => Err(UNCLOSED_CLASS),
        }
    }
}

/// Adds the class of that name, or all bytes outside it.
fn add_named(class: &mut Class, name: &[u8], inverted: bool) -> Step<Option<u8>> {
    for known in (bytes::Parts { rest: NAMED, last: 0xff }) {
        if let Some([b'=', ranges @ ..]) = known.strip_prefix(name) {
            let mut members = Class::default();
            for range in ranges.chunks(2) {
                members.add_range(range[0], range[1]);
            }
            if inverted {
                members.invert();
            }
            class.add_all(&members);
            return Ok(None);
        }
    }
    Err(UNKNOWN_CLASS)
}

/// `LIMIT` keeps every distance far inside.
fn way(distance: usize) -> i16 {
    distance as i16
}
