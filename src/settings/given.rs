//! One setting as a source gives it, and what is said if it is wrong.

use super::config::Config;
use super::option::{Form, Spec};
use super::value::Mistake;
use crate::bytes::Escaped;
use std::fmt::Write;

/// One setting as a source gives it.
#[derive(Clone, Debug)]
pub struct Given {
    pub spec: &'static Spec,
    pub text: Vec<u8>,
    /// Where it stands, as it is shown.
    pub place: String,
}

/// How much of a value is shown, and how much from the faulty byte on.
const WHOLE: usize = 200;
const REST: usize = 20;

impl Given {
    /// Sets what it says.
    pub fn apply(&self, config: &mut Config) -> Result<(), Mistake> {
        let Err((what, at)) = self.spec.set(config, &self.text) else { return Ok(()) };
        let mut said = format!("{}: ", self.place);
        quote(&mut said, &self.text, WHOLE);
        let Form(_, expects) = self.spec.form();
        let _ = match at {
            None => write!(said, " {what} (expected: {expects})"),
            Some(at) => write!(said, ": {what}, at byte {}", at + 1),
        };
        if let Some(rest @ [_, ..]) = at.and_then(|at| self.text.get(at..)) {
            said += ": ";
            quote(&mut said, rest, REST);
        }
        Err(said)
    }
}

/// Adds quoted text, at most so many bytes of it.
fn quote(said: &mut String, text: &[u8], most: usize) {
    let dots = if text.len() > most { "..." } else { "" };
    let _ = write!(said, "\"{}\"{dots}", Escaped(&text[..text.len().min(most)]));
}
