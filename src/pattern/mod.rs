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
    /// Where TEXT begins in it.
    start: usize,
}

const GLOB: &[u8] = b"glob:";

const EMPTY: &str = "an empty pattern matches everything; write .* if that is meant";

impl Pattern {
    pub fn parse(text: &[u8]) -> Result<Pattern, Fault> {
        let (mut field, mut start) = (Field::Name, 0);
        for (word, known) in Field::WORDS {
            if let Some([b':', ..]) = text.strip_prefix(word.as_bytes()) {
                (field, start) = (known, word.len() + 1);
            }
        }
        let is_glob = text[start..].starts_with(GLOB);
        if is_glob {
            start += GLOB.len();
        }
        if start == text.len() {
            return Err(Fault { at: start, what: EMPTY });
        }
        let program = parser::parse(text, start, is_glob)?;
        Ok(Pattern { field, program, text: text.to_vec(), start })
    }

    pub fn field(&self) -> Field {
        self.field
    }

    /// The number that TEXT is, if it is nothing but that: `user:0` means root, and not
    /// every user with a 0 in it.
    pub fn number(&self) -> Option<u64> {
        bytes::parse_u64(self.searched())
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// TEXT alone.
    pub fn searched(&self) -> &[u8] {
        &self.text[self.start..]
    }

    /// No FIELD stands before TEXT.
    pub fn is_without_field(&self) -> bool {
        let before = &self.text[..self.start];
        before.is_empty() || before == GLOB
    }

    /// False if nothing can match, because there is text before `^` or after `$`.
    pub fn can_match(&self) -> bool {
        self.program.can_match()
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
