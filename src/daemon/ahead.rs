//! The search for the victim before memory has reached the level, while it falls towards it: that
//! is half of the time from there to the signal, and on a slow processor a twentieth of a small
//! machine fills meanwhile.

use super::hold::Court;
use super::Daemon;
use crate::policy::Limits;
use crate::procfs::meminfo::Memory;
use crate::scan;
use crate::sys::clock;
use crate::units::{KiB, Moment};
use crate::victim::Candidate;
use std::time::Duration;

/// So near the search begins: it takes some 20 ms on a slow processor.
const NEAR: Duration = Duration::from_millis(50);
/// What was found longer ago is not used.
const FRESH: Duration = Duration::from_millis(200);
/// Of the time no more than one part in so many goes to such searches: memory may fall towards the
/// level again and again without getting there.
const ONE_IN: u32 = 100;

/// Who would have gone first, when, and what was available then.
pub struct Foreseen {
    candidate: Candidate,
    at: Moment,
    available: KiB,
}

impl Daemon {
    /// Searches, if memory may be at the level soon. True if it did. Not with patterns, which may
    /// have to wait for command lines.
    #[inline(never)]
    pub(super) fn look_ahead(&mut self) -> bool {
        let (Some(memory), now) = (self.memory, clock::now()) else { return false };
        let waits = self.config.kernel_oom || !self.config.patterns.is_empty();
        let may = self.machine.is_idle() && !waits && now >= self.next_ahead;
        if !may || !self.rate.falls(memory.noise()) {
            return false;
        }
        let limits = Limits::of(&self.config, &memory);
        if !limits.may_be_low_within(NEAR, &memory, self.rate.at(now)) {
            return false;
        }
        let mut best = None;
        let _ = self.find(&memory, &mut best);
        let cost = clock::now().since(now);
        self.next_ahead = clock::now().after(cost * ONE_IN);
        let available = memory.available;
        self.foreseen = best.map(|candidate| Foreseen { candidate, at: now, available });
        true
    }

    /// That candidate as it is now, if it took at least half of what was taken since: then nobody
    /// else can have come before it.
    #[inline(never)]
    pub(super) fn foreseen(&mut self, memory: &Memory) -> Option<Candidate> {
        let Foreseen { mut candidate, at, available } = self.foreseen.take()?;
        let taken = available.less(memory.available);
        if clock::now().since(at) > FRESH || taken == KiB::ZERO {
            return None;
        }
        let before = candidate.standing.size;
        let Court { proc, rules, mut judge, .. } = self.court();
        let is_there = scan::again(proc, &rules, &mut judge, memory, &mut candidate);
        let grown = candidate.standing.size.less(before);
        (is_there && grown.0 >= taken.0 / 2).then_some(candidate)
    }
}
