//! After a victim's end: has its memory come back?
//!
//! The kernel gives memory back late: of a GiB a fifth was seen missing for seconds. What
//! the victim held is credited meanwhile, so that nobody else is ended for it. Pure.

use super::Look;
use crate::policy::Level;
use crate::procfs::meminfo::Memory;
use crate::procfs::status::Held;
use crate::units::{KiB, Moment};
use std::time::Duration;

/// Longer than any late return that was seen.
const CREDIT: Duration = Duration::from_secs(10);

/// What was seen of memory since the signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settling {
    held: Held,
    until: Moment,
    /// Least available from the signal to the end, and most since then.
    low: KiB,
    high: KiB,
    /// Least that processes held since the signal; what is above it now was taken anew.
    least_held: KiB,
    swap_free: KiB,
    most_swap_free: KiB,
    /// Least that tmpfs held, as far as it was seen.
    least_files: KiB,
}

pub enum Verdict {
    /// Credit what is still to come.
    Wait,
    /// Nothing more is owed: judge memory by what it is.
    Over,
    Useless {
        gained: KiB,
        expected: KiB,
    },
}

impl Settling {
    /// At the signal.
    pub fn expect(held: Held, memory: &Memory) -> Settling {
        Settling {
            held,
            until: Moment::default(),
            low: memory.available,
            high: memory.available,
            least_held: memory.held_by_processes(),
            swap_free: memory.swap_free,
            most_swap_free: memory.swap_free,
            least_files: memory.files,
        }
    }

    /// Between signal and end.
    pub fn watch_flight(&mut self, memory: &Memory) {
        self.low = self.low.min(memory.available);
        self.least_held = self.least_held.min(memory.held_by_processes());
        self.swap_free = self.swap_free.min(memory.swap_free);
    }

    /// At the end.
    pub fn begin(&mut self, now: Moment, memory: &Memory) -> Settling {
        self.watch_flight(memory);
        self.until = now.after(CREDIT);
        self.high = memory.available;
        *self
    }

    /// When the credit is over at the latest.
    pub fn until(&self) -> Moment {
        self.until
    }

    pub fn verdict(&mut self, look: Look<'_>) -> Verdict {
        let memory = look.memory;
        self.high = self.high.max(memory.available);
        self.least_held = self.least_held.min(memory.held_by_processes());
        self.most_swap_free = self.most_swap_free.max(memory.swap_free);
        self.least_files = self.least_files.min(memory.files);

        let returned = self.high.less(self.low);
        let owed = self.held.anon.less(returned);
        let retaken = memory.held_by_processes().less(self.least_held);
        let gained = returned.plus(retaken).plus(self.most_swap_free.less(self.swap_free));
        let gave_back = gained.0 >= self.held.total().0 / 4;
        if look.level_but_for_noise() == Level::Fine {
            // What is still owed counts again if memory gets low before the time is over.
            return if (owed == KiB::ZERO && gave_back) || look.now >= self.until {
                Verdict::Over
            } else {
                Verdict::Wait
            };
        }
        let fall = self.low.less(memory.available);
        if fall > memory.noise() {
            // Somebody takes memory. Where that is a process, killing reaches it, whatever
            // the last kill is late with.
            return if gave_back || retaken.0 >= fall.0 / 2 {
                Verdict::Over
            } else {
                self.useless(gained)
            };
        }
        if look.now >= self.until {
            return if gave_back { Verdict::Over } else { self.useless(gained) };
        }
        let with_credit = look.limits.level(memory.available.plus(owed), memory);
        if gave_back && with_credit != Level::Fine {
            return Verdict::Over;
        }
        Verdict::Wait
    }

    fn useless(&self, gained: KiB) -> Verdict {
        Verdict::Useless { gained, expected: self.expected() }
    }

    /// What the end should give back.
    pub fn expected(&self) -> KiB {
        self.held.total()
    }

    /// How much of what was given back files in tmpfs have taken, if that is where it went:
    /// ending the next one would only make room for more of them.
    pub fn taken_by_files(&self, memory: &Memory) -> Option<KiB> {
        let taken = memory.files.less(memory.unseen).less(self.least_files);
        let taken_anew = memory.held_by_processes().less(self.least_held);
        (taken.0 >= self.expected().0 / 2 && taken > taken_anew.plus(memory.noise()))
            .then_some(taken)
    }
}
