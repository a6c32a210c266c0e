//! In place of the engine in a build without the feature `patterns`, for the smallest
//! binary: no pattern exists, and none can be made.

mod field;

pub use field::Field;
use std::convert::Infallible;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: usize,
    pub what: &'static str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    none: Infallible,
    field: Field,
}

impl Pattern {
    pub fn parse(_: &[u8]) -> Result<Pattern, Fault> {
        Err(Fault { at: 0, what: "this build has no patterns" })
    }

    pub fn field(&self) -> Field {
        self.field
    }

    pub fn number(&self) -> Option<u64> {
        match self.none {}
    }

    pub fn text(&self) -> &[u8] {
        match self.none {}
    }

    pub fn searched(&self) -> &[u8] {
        match self.none {}
    }

    pub fn is_without_field(&self) -> bool {
        match self.none {}
    }

    pub fn can_match(&self) -> bool {
        match self.none {}
    }

    pub fn len(&self) -> usize {
        match self.none {}
    }

    pub fn is_match(&self, _: &[u8], _: &mut Scratch) -> bool {
        match self.none {}
    }
}

pub struct Scratch;

impl Scratch {
    pub fn new(_: usize) -> Scratch {
        Scratch
    }
}
