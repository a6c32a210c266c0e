//! `[FIELD:][glob:]TEXT`: what a user writes after `--prefer`, `--avoid`, `--ignore` and
//! `--only`.
//!
//! Compiled at the start into a program of bounded size; matching allocates nothing,
//! recurses nowhere, and takes time linear in the text. Never reads a process itself: its
//! fields are handed in.

mod field;
mod glob;
mod parser;
mod program;

pub use field::Field;
pub use parser::Fault;
use program::Program;
pub use program::Scratch;

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
        let after = |word: &str| {
            let rest = text.strip_prefix(word.as_bytes())?;
            rest.strip_prefix(b":").map(|_| word.len() + 1)
        };
        let named = Field::ALL.into_iter().find_map(|field| Some((field, after(field.word())?)));
        let (field, mut start) = named.unwrap_or((Field::Name, 0));
        let is_glob = text[start..].starts_with(b"glob:");
        if is_glob {
            start += b"glob:".len();
        }
        let body = &text[start..];
        if body.is_empty() {
            return Err(Fault { at: start, what: EMPTY });
        }
        let program = if is_glob { glob::parse(body) } else { parser::parse(body) };
        let program = program.map_err(|fault| Fault { at: start + fault.at, ..fault })?;
        Ok(Pattern { field, program, text: text.to_vec() })
    }

    pub fn field(&self) -> Field {
        self.field
    }

    /// The number that TEXT is, if it is nothing but that: `user:0` means root, and not
    /// everyone with a 0 in it.
    pub fn number(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.text.rsplit(|&byte| byte == b':').next()?).ok()?;
        text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
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
