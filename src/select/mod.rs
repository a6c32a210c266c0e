//! Which process is killed: the rules, the rank, and the search through `/proc`.
//!
//! `candidate` holds the words, `rules` which processes are eligible, `filter` the patterns, `search`
//! the order. Reads only; never signals and never decides whether a process must be killed.

mod candidate;
mod filter;
mod group;
mod leaving;
mod rules;
mod search;
mod shortlist;

pub use candidate::{Candidate, Preference, Protection, Rank, Ranking, Scale};
pub use filter::{users_of, Assistant, Filter, Matcher};
pub use group::{group, Group};
pub use leaving::{leaving, Empty};
pub use rules::{Family, Remembered, Rules};
pub use search::{above, find, look_at, Found};
pub use shortlist::Shortlist;

#[cfg(test)]
mod tests;
