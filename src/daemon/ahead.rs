//! The search for the victim before memory has reached the level, while it falls towards it: that
//! is half of the time from there to the signal, and on a slow processor a twentieth of a small
//! machine fills meanwhile.

use super::hold::Court;
use super::Daemon;
use crate::kill::aftermath::Baseline;
use crate::memory::Memory;
use crate::select::{self, Candidate};
use crate::sys::clock;
use crate::units::{KiB, Moment};
use std::time::Duration;

/// So near the search begins.
const NEAR: Duration = Duration::from_millis(100);
/// What was found longer ago is not used.
const FRESH: Duration = Duration::from_millis(200);
/// Of the time no more than one part in so many goes to such searches: memory may fall towards the
/// level again and again without getting there.
const ONE_IN: u32 = 100;
/// What a search takes on a slow processor, until it is known.
const COST: Duration = Duration::from_millis(20);

/// What is searched for ahead.
pub struct Ahead {
    found: Option<Foreseen>,
    /// No search before this.
    next: Moment,
    /// What the last one took; the next one is to be over in time.
    cost: Duration,
}

/// The process that would have gone first, when, and how memory was then.
struct Foreseen {
    candidate: Candidate,
    at: Moment,
    memory: Baseline,
}

/// Whether one that came first, and has `grown` since, still does: if of what was `taken` it took
/// at least half, and more than memory moves by itself.
fn still_comes_first(grown: KiB, taken: KiB, noise: KiB) -> bool {
    grown > noise && grown.0 >= taken.0 / 2
}

impl Ahead {
    pub fn new() -> Ahead {
        Ahead { found: None, next: Moment::default(), cost: COST }
    }

    /// The time to the next look, while memory falls, with which a search can still be over before
    /// `quiet` is.
    pub fn wait(&self, quiet: Duration, now: Moment) -> Duration {
        match now >= self.next && quiet > 2 * self.cost {
            true => quiet - 2 * self.cost,
            false => quiet,
        }
    }

    /// Settings have changed, and with them which candidate comes first.
    pub fn forget(&mut self) {
        self.found = None;
    }
}

impl Daemon {
    /// Searches, if memory may be at the level soon. True if it did. Not with patterns, which may
    /// have to wait for command lines.
    pub(super) fn look_ahead(&mut self) -> bool {
        let (Some(scene), now) = (self.scene, clock::now()) else { return false };
        let memory = scene.memory;
        let waits = self.config.kernel_oom || !self.config.patterns.is_empty();
        let may = self.machine.is_idle() && !waits && now >= self.ahead.next;
        if !may || !self.rate.falls(memory.noise()) {
            return false;
        }
        let quiet = scene.time_to_low(self.rate.at(now));
        if !quiet.is_some_and(|quiet| (self.ahead.cost..NEAR).contains(&quiet)) {
            return false;
        }
        let found = self.find(&memory).ok().and_then(|found| found.best);
        let (end, memory) = (clock::now(), Baseline::of(&memory));
        self.ahead.cost = end.since(now);
        self.ahead.next = end.after(self.ahead.cost * ONE_IN);
        self.ahead.found = found.map(|candidate| Foreseen { candidate, at: now, memory });
        true
    }

    /// That candidate as it is now, if it still comes first.
    pub(super) fn foreseen(&mut self, memory: &Memory) -> Option<Candidate> {
        let Foreseen { candidate, at, memory: then } = self.ahead.found.take()?;
        if clock::now().since(at) > FRESH {
            return None;
        }
        let Court { proc, mut rules, .. } = self.court();
        let now = select::look_at(proc, &mut rules, memory, candidate.id()).ok()?;
        let grown = now.rank.size.less(candidate.rank.size);
        let taken = Baseline::of(memory).taken_since(then);
        still_comes_first(grown, taken, memory.noise()).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_in_time_for_a_search() {
        let mut ahead = Ahead::new();
        let wait = |ahead: &Ahead, millis| {
            ahead.wait(Duration::from_millis(millis), Moment(7)).as_millis()
        };
        assert_eq!([100, 41, 40, 3].map(|millis| wait(&ahead, millis)), [60, 1, 40, 3]);
        ahead.next = Moment(8);
        assert_eq!(wait(&ahead, 100), 100);
    }

    #[test]
    fn one_that_took_half_and_more_than_noise_comes_first() {
        for (grown, taken, expected) in
            [(50, 100, true), (49, 100, false), (11, 0, true), (10, 0, false), (0, 1, false)]
        {
            assert_eq!(still_comes_first(KiB(grown), KiB(taken), KiB(10)), expected, "{grown}");
        }
    }
}
