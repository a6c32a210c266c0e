//! A compiled pattern, and how it is run over bytes.
//!
//! All ways through the pattern are followed at once, byte by byte, each place in the
//! program at most once for each byte: time is linear in the text whatever the pattern,
//! and what is needed was allocated when the pattern was compiled.

/// Places that one program may have: room for an alternation of 3 KiB. With what it takes to
/// run it, the largest has 70 KiB of memory; what is larger is a list, not a pattern.
pub const LIMIT: usize = 4096;
/// Different classes that one program may have, of 32 bytes each: more than anyone writes.
pub const CLASSES: usize = 256;

/// One place of a program. Ways lead from it by so many places; a program matches when a
/// way leads behind its last place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Byte(u8),
    /// Any byte of that class.
    Class(u16),
    Any,
    Jump(i16),
    Split(i16, i16),
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
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub fn add_range(&mut self, from: u8, to: u8) {
        (from..=to).for_each(|byte| self.add(byte));
    }

    pub fn add_all(&mut self, other: Class) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub fn inverted(self) -> Class {
        Class(self.0.map(|word| !word))
    }

    /// With the other case of each letter.
    pub fn folded(mut self) -> Class {
        for letter in b'a'..=b'z' {
            let upper = letter.to_ascii_uppercase();
            if self.contains(letter) || self.contains(upper) {
                self.add(letter);
                self.add(upper);
            }
        }
        self
    }
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    places: Vec<Place>,
    classes: Vec<Class>,
    /// The bytes that a match can begin with; `None` if it may be empty.
    first: Option<Class>,
}

impl Program {
    /// `places` lead nowhere but into themselves and right behind the last; there are at
    /// most `LIMIT`.
    pub fn new(places: Vec<Place>, classes: Vec<Class>) -> Program {
        let mut program = Program { places, classes, first: None };
        program.first = program.first_bytes();
        program
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    fn first_bytes(&self) -> Option<Class> {
        let mut first = Class::default();
        let mut seen = vec![false; self.places.len() + 1];
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match *self.places.get(at)? {
                Place::Byte(byte) => first.add(byte),
                Place::Class(class) => first.add_all(self.classes[usize::from(class)]),
                Place::Any => first.add_range(0, 255),
                Place::Assert(_) => open.push(at + 1),
                Place::Jump(way) => open.push(led(at, way)),
                Place::Split(one, other) => open.extend([led(at, one), led(at, other)]),
            }
        }
        Some(first)
    }

    /// Whether the pattern matches anywhere in `text`. `scratch` must have been made for
    /// programs of at least this length.
    pub fn is_match(&self, text: &[u8], scratch: &mut Scratch) -> bool {
        let mut run = Run { program: self, text, stack: &mut scratch.stack, steps: 0 };
        let (mut now, mut next) = (&mut scratch.now, &mut scratch.next);
        now.clear();
        let mut at = 0;
        let matched = loop {
            if now.is_empty() {
                match self.next_start(text, at) {
                    Some(start) => at = start,
                    None => break false,
                }
            }
            if run.follow(now, 0, at) {
                break true;
            }
            let Some(&byte) = text.get(at) else { break false };
            next.clear();
            at += 1;
            if now.places().iter().any(|&place| {
                run.accepts(place, byte) && run.follow(next, usize::from(place) + 1, at)
            }) {
                break true;
            }
            std::mem::swap(&mut now, &mut next);
        };
        scratch.steps = run.steps;
        matched
    }

    /// The next position from `at` on where a match could begin.
    fn next_start(&self, text: &[u8], at: usize) -> Option<usize> {
        let Some(first) = &self.first else { return Some(at) };
        text[at..].iter().position(|&byte| first.contains(byte)).map(|ahead| at + ahead)
    }
}

/// Where `way` leads from `at`.
fn led(at: usize, way: i16) -> usize {
    at.wrapping_add_signed(isize::from(way))
}

struct Run<'a> {
    program: &'a Program,
    text: &'a [u8],
    stack: &'a mut Vec<u16>,
    steps: u64,
}

impl Run<'_> {
    /// Puts into `set` all places that wait for a byte and can be reached from `place`
    /// without one; true if the end is among them.
    fn follow(&mut self, set: &mut Set, place: usize, at: usize) -> bool {
        self.stack.clear();
        self.stack.push(place as u16);
        while let Some(place) = self.stack.pop() {
            self.steps += 1;
            let here = usize::from(place);
            if !set.insert(place) {
                continue;
            }
            match self.program.places.get(here) {
                None => return true,
                Some(Place::Byte(_) | Place::Class(_) | Place::Any) => {}
                Some(&Place::Jump(way)) => self.stack.push(led(here, way) as u16),
                Some(&Place::Split(one, other)) => {
                    self.stack.push(led(here, other) as u16);
                    self.stack.push(led(here, one) as u16);
                }
                Some(&Place::Assert(assertion)) => {
                    if self.holds(assertion, at) {
                        self.stack.push(place + 1);
                    }
                }
            }
        }
        false
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let word_at = |at: Option<usize>| {
            at.and_then(|at| self.text.get(at)).is_some_and(|&byte| is_word(byte))
        };
        let boundary = || word_at(at.checked_sub(1)) != word_at(Some(at));
        match assertion {
            Assertion::Start => at == 0,
            Assertion::End => at == self.text.len(),
            Assertion::WordBoundary => boundary(),
            Assertion::NotWordBoundary => !boundary(),
        }
    }

    fn accepts(&mut self, place: u16, byte: u8) -> bool {
        self.steps += 1;
        match self.program.places.get(usize::from(place)) {
            Some(&Place::Byte(wanted)) => wanted == byte,
            Some(&Place::Class(class)) => self.program.classes[usize::from(class)].contains(byte),
            Some(Place::Any) => true,
            _ => false,
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

    fn clear(&mut self) {
        self.members.clear();
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn places(&self) -> &[u16] {
        &self.members
    }

    /// False if it was in the set.
    fn insert(&mut self, place: u16) -> bool {
        let index = usize::from(self.index[usize::from(place)]);
        if self.members.get(index) == Some(&place) {
            return false;
        }
        self.index[usize::from(place)] = self.members.len() as u16;
        self.members.push(place);
        true
    }
}

/// What running a program needs, made once for the longest.
pub struct Scratch {
    now: Set,
    next: Set,
    /// Places yet to follow: each place that is new pushes at most two.
    stack: Vec<u16>,
    /// What the last run took, for the tests that count it.
    #[cfg_attr(not(test), allow(dead_code))]
    steps: u64,
}

impl Scratch {
    /// For programs of up to `length` places.
    pub fn new(length: usize) -> Scratch {
        let count = length + 1;
        Scratch {
            now: Set::for_places(count),
            next: Set::for_places(count),
            stack: Vec::with_capacity(2 * count + 1),
            steps: 0,
        }
    }

    /// Places that the last run looked at.
    #[cfg(test)]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
