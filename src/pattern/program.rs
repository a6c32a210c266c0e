//! A compiled pattern, and how it is run over bytes.
//!
//! All ways through the pattern are followed at once, byte by byte, each place in the
//! program at most once for each byte: time is linear in the text whatever the pattern,
//! and what is needed was allocated when the pattern was compiled.

/// Places that one program may have: room for an alternation of 3 KiB. With what it takes to
/// run it, the largest has 70 KiB of memory; what is larger is a list, not a pattern.
pub const LIMIT: usize = 4096;
/// Different classes that one program may have, of 32 bytes each: more than a pattern needs.
pub const CLASSES: usize = 256;

/// One place of a program. Ways lead from it by so many places; a program matches when a
/// way leads behind its last place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Byte(u8),
    /// Any byte of that class.
    Class(u8),
    Any,
    Jump(i16),
    /// Here, and on to the next place as well.
    Split(i16),
    Assert(Assertion),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assertion {
    Start,
    End,
    WordBoundary,
    NotWordBoundary,
}

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Class([u64; 4]);

impl Class {
    pub fn add(&mut self, byte: u8) {
        self.add_range(byte, byte);
    }

    pub fn add_range(&mut self, from: u8, to: u8) {
        for byte in from..=to {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    pub fn add_all(&mut self, other: &Class) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub fn invert(&mut self) {
        for word in &mut self.0 {
            *word = !*word;
        }
    }

    /// Adds the other case of each letter.
    pub fn fold(&mut self) {
        for letter in b'a'..=b'z' {
            let upper = letter.to_ascii_uppercase();
            if self.contains(letter) || self.contains(upper) {
                self.add(letter);
                self.add(upper);
            }
        }
    }
}

/// `places` lead nowhere but into themselves and right behind the last; there are at most
/// `LIMIT`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    pub places: Vec<Place>,
    pub classes: Vec<Class>,
    /// The bytes that a match can begin with; `None` if it may be empty.
    first: Option<Class>,
}

impl Program {
    /// With all places written.
    pub fn finished(mut self) -> Program {
        self.first = self.first_bytes();
        self
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn first_bytes(&self) -> Option<Class> {
        let mut first = Class::default();
        let mut open = Set::for_places(self.len() + 1);
        open.insert(0);
        let mut seen = 0;
        while let Some(&here) = open.members.get(seen) {
            seen += 1;
            match *self.places.get(usize::from(here))? {
                Place::Byte(byte) => first.add(byte),
                Place::Class(class) => first.add_all(&self.classes[usize::from(class)]),
                Place::Any => first.add_range(0, 255),
                Place::Assert(_) => open.insert(here + 1),
                Place::Jump(way) => open.insert(led(here, way)),
                Place::Split(way) => {
                    open.insert(here + 1);
                    open.insert(led(here, way));
                }
            }
        }
        Some(first)
    }

    /// Whether `^` and `$` let some text match. Boundaries of words count as if each could be had.
    pub fn can_match(&self) -> bool {
        // From each place on, all that matters is whether a byte was read, and whether the text is over.
        let count = self.len() + 1;
        let state = |place: u16, is_read: bool, is_over: bool| {
            (usize::from(is_read) * 2 + usize::from(is_over)) * count + usize::from(place)
        };
        let mut known = vec![false; 4 * count];
        let mut open = vec![(0, false, false)];
        while let Some((here, is_read, is_over)) = open.pop() {
            if std::mem::replace(&mut known[state(here, is_read, is_over)], true) {
                continue;
            }
            let Some(&place) = self.places.get(usize::from(here)) else { return true };
            match place {
                Place::Byte(_) | Place::Class(_) | Place::Any if is_over => {}
                Place::Byte(_) | Place::Class(_) | Place::Any => open.push((here + 1, true, false)),
                Place::Jump(way) => open.push((led(here, way), is_read, is_over)),
                Place::Split(way) => {
                    open.push((here + 1, is_read, is_over));
                    open.push((led(here, way), is_read, is_over));
                }
                Place::Assert(Assertion::Start) if is_read => {}
                Place::Assert(Assertion::End) => open.push((here + 1, is_read, true)),
                Place::Assert(_) => open.push((here + 1, is_read, is_over)),
            }
        }
        false
    }

    /// Whether the pattern matches anywhere in `text`. `scratch` must have been made for
    /// programs of at least this length.
    pub fn is_match(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        let Scratch { now, next, steps } = scratch;
        let (mut now, mut next) = (now, next);
        now.members.clear();
        *steps = 0;
        let mut at = 0;
        loop {
            let byte = text.get(at).copied();
            if self.may_begin_with(byte) {
                now.insert(0);
            }
            next.members.clear();
            // What can be reached without a byte is added at the end, and met in its turn.
            let mut seen = 0;
            while let Some(&here) = now.members.get(seen) {
                seen += 1;
                let goes_on = match self.places.get(usize::from(here)) {
                    None => return true,
                    Some(&Place::Byte(wanted)) => byte == Some(wanted),
                    Some(&Place::Class(class)) => {
                        byte.is_some_and(|byte| self.classes[usize::from(class)].contains(byte))
                    }
                    Some(Place::Any) => byte.is_some(),
                    Some(&Place::Jump(way)) => {
                        now.insert(led(here, way));
                        false
                    }
                    Some(&Place::Split(way)) => {
                        now.insert(here + 1);
                        now.insert(led(here, way));
                        false
                    }
                    Some(&Place::Assert(assertion)) => {
                        if assertion.holds(text, at) {
                            now.insert(here + 1);
                        }
                        false
                    }
                };
                if goes_on {
                    next.insert(here + 1);
                }
            }
            *steps += seen as u64;
            if byte.is_none() {
                return false;
            }
            at += 1;
            std::mem::swap(&mut now, &mut next);
        }
    }

    fn may_begin_with(&self, byte: Option<u8>) -> bool {
        match (&self.first, byte) {
            (None, _) => true,
            (Some(first), Some(byte)) => first.contains(byte),
            (Some(_), None) => false,
        }
    }
}

/// The place that `way` leads to from `here`.
fn led(here: u16, way: i16) -> u16 {
    here.wrapping_add_signed(way)
}

impl Assertion {
    fn holds(self, text: &[u8], at: usize) -> bool {
        let is_word = |at: usize| {
            text.get(at).is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let boundary = || is_word(at.wrapping_sub(1)) != is_word(at);
        match self {
            Assertion::Start => at == 0,
            Assertion::End => at == text.len(),
            Assertion::WordBoundary => boundary(),
            Assertion::NotWordBoundary => !boundary(),
        }
    }
}

/// A set of places that is cleared in no time (Briggs and Torczon, "An efficient
/// representation for sparse sets"): a place is in it if its index points at a member that
/// says so.
struct Set {
    members: Vec<u16>,
    index: Vec<u16>,
}

impl Set {
    fn for_places(count: usize) -> Set {
        Set { members: Vec::with_capacity(count), index: vec![0; count] }
    }

    fn insert(&mut self, place: u16) {
        let index = &mut self.index[usize::from(place)];
        if self.members.get(usize::from(*index)) != Some(&place) {
            *index = self.members.len() as u16;
            self.members.push(place);
        }
    }
}

/// What running a program needs, made once for the longest.
pub struct Scratch {
    now: Set,
    next: Set,
    /// Places that the last run looked at, for the tests that count them.
    #[cfg_attr(not(test), allow(dead_code))]
    pub steps: u64,
}

impl Scratch {
    /// For programs of up to `length` places.
    pub fn new(length: usize) -> Scratch {
        let count = length + 1;
        Scratch { now: Set::for_places(count), next: Set::for_places(count), steps: 0 }
    }
}
