//! `[FIELD:][glob:]TEXT`: what a user writes after `--prefer`, `--avoid`, `--ignore` and
//! `--only`.
//!
//! Compiled at the start into a program of bounded size; matching allocates nothing,
//! recurses nowhere, and takes time linear in the text. Never reads a process itself: its
//! fields are handed in.

mod field;
mod parser;
mod program;

pub use field::Field;
pub use parser::Fault;
pub use program::Scratch;

use crate::bytes;
use program::Program;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    field: Field,
    program: Program,
    /// As it was written.
    text: Vec<u8>,
}

const EMPTY: &str = "an empty pattern matches everything; write .* if that is meant";

impl Pattern {
    pub fn parse(text: &[u8]) -> Result<Pattern, Fault> {
        let (mut field, mut start) = (Field::Name, 0);
        for &known in &Field::ALL {
            let word = known.word().as_bytes();
            if let Some([b':', ..]) = text.strip_prefix(word) {
                (field, start) = (known, word.len() + 1);
            }
        }
        let is_glob = text[start..].starts_with(b"glob:");
        if is_glob {
            start += b"glob:".len();
        }
        if start == text.len() {
            return Err(Fault { at: start, what: EMPTY });
        }
        let program = parser::parse(text, start, is_glob)?;
        Ok(Pattern { field, program, text: text.to_vec() })
    }

    pub fn field(&self) -> Field {
        self.field
    }

    /// The number that TEXT is, if it is nothing but that: `user:0` means root, and not
    /// every user with a 0 in it.
    pub fn number(&self) -> Option<u64> {
        bytes::parse_u64(self.text.rsplit(|&byte| byte == b':').next()?)
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Places of the program, which a `Scratch` must be made for.
    pub fn len(&self) -> usize {
        self.program.len()
    }

    pub fn is_match(&self, value: &[u8], scratch: &mut Scratch) -> bool {
        self.program.is_match(value, scratch)
    }
}

#[cfg(test)]
mod tests;
