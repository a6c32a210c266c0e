//! Which process is killed: the rules, the rank, and the search through `/proc`.
//!
//! `candidate` holds the words, `rules` tells which processes are eligible, `filter` asks the
//! patterns, and `search` finds the candidate that goes first. Reads only: never signals, and never
//! decides whether a kill is needed.

mod candidate;
mod filter;
mod group;
mod holders;
mod recent;
mod rules;
mod search;
mod shortlist;

pub use candidate::{Candidate, Preference, Protection, Rank, Scale};
pub use filter::{users_of, Assistant, Filter, Matcher};
pub use group::{members, Alone, Company, Group, Members};
pub use holders::{holders, Holders};
pub use recent::{Empty, Recent, Unkillable};
pub use rules::{Family, Rules};
pub use search::{above, find, leaving, look_at, Found};
pub use shortlist::Shortlist;

#[cfg(test)]
mod tests;
