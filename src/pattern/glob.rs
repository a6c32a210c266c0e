//! Globs to the same programs: `*`, `?`, `[...]`, `[!...]` and `\x`, over the whole text.

use super::parser::Fault;
use super::program::{Assertion, Class, Place, Program, CLASSES, LIMIT};

const TOO_LARGE: &str = "the glob is too large (more than 4096 steps)";
const TOO_MANY_CLASSES: &str = "there are too many classes (more than 256)";
const UNCLOSED_CLASS: &str = "this class is never closed";
const RANGE_REVERSED: &str = "this range ends before it begins";
const TRAILING_BACKSLASH: &str = "a backslash at the end escapes nothing";

/// Compiles `text`. `*` and `?` match any byte, also `/`.
pub fn parse(text: &[u8]) -> Result<Program, Fault> {
    let mut places = vec![Place::Assert(Assertion::Start)];
    let mut classes = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        // A star takes three, and the end one.
        if places.len() + 4 > LIMIT {
            return Err(Fault { at, what: TOO_LARGE });
        }
        let mut taken = 1;
        match byte {
            b'*' => places.extend([Place::Split(1, 3), Place::Any, Place::Jump(-2)]),
            b'?' => places.push(Place::Any),
            b'[' => {
                let (class, length) = class(text, at)?;
                if classes.len() == CLASSES {
                    return Err(Fault { at, what: TOO_MANY_CLASSES });
                }
                places.push(Place::Class(classes.len() as u16));
                classes.push(class);
                taken = length;
            }
            b'\\' => {
                let fault = Fault { at, what: TRAILING_BACKSLASH };
                places.push(Place::Byte(*text.get(at + 1).ok_or(fault)?));
                taken = 2;
            }
            _ => places.push(Place::Byte(byte)),
        }
        at += taken;
    }
    places.push(Place::Assert(Assertion::End));
    Ok(Program::new(places, classes))
}

/// The class that begins at `open`, and how many bytes it takes. `]` right at the
/// beginning is a member, as in glob(7).
fn class(text: &[u8], open: usize) -> Result<(Class, usize), Fault> {
    let unclosed = Fault { at: open, what: UNCLOSED_CLASS };
    let inverted = matches!(text.get(open + 1), Some(b'!' | b'^'));
    let first = open + 1 + usize::from(inverted);
    let mut class = Class::default();
    let mut at = first;
    loop {
        let (from, length) = member(text, at).ok_or(unclosed)?;
        if from == b']' && length == 1 && at > first {
            break;
        }
        let start = at;
        at += length;
        match (text.get(at), text.get(at + 1)) {
            (Some(b'-'), Some(next)) if *next != b']' => {
                let (to, length) = member(text, at + 1).ok_or(unclosed)?;
                if to < from {
                    return Err(Fault { at: start, what: RANGE_REVERSED });
                }
                class.add_range(from, to);
                at += 1 + length;
            }
            _ => class.add(from),
        }
    }
    Ok((if inverted { class.inverted() } else { class }, at + 1 - open))
}

/// A byte, perhaps escaped, and how many bytes of text it takes.
fn member(text: &[u8], at: usize) -> Option<(u8, usize)> {
    match text.get(at)? {
        b'\\' => Some((*text.get(at + 1)?, 2)),
        &byte => Some((byte, 1)),
    }
}
