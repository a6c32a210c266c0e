//! Somebody else's end: the kernel's victim, or one whose work is done, while memory is low.
//!
//! Its memory comes back without a signal, but late: nothing tells how much it still has, and
//! what is seen meanwhile would cost the largest of those who stay. Pure.

use crate::procfs::meminfo::Memory;
use crate::units::{Identity, KiB, Moment};
use std::time::Duration;

/// 90 MiB came back within that on an emulated board. An end that gives nothing back for so long
/// is that of somebody small, or waits for a disk.
const PATIENCE: Duration = Duration::from_millis(100);
/// What comes back slowly may have another reason.
const LONGEST: Duration = Duration::from_secs(1);

/// What was seen of memory since the first one was seen to leave.
pub struct Departure {
    /// The one that is waited for now.
    pub id: Identity,
    first: Moment,
    until: Moment,
    available: KiB,
    taken: KiB,
}

/// What the wait for somebody's end has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hope {
    /// Memory comes back, or may soon.
    Left,
    /// Nothing came back for too long.
    Lost,
    /// Somebody takes memory meanwhile.
    Late,
}

impl Departure {
    pub fn of(id: Identity, memory: &Memory, now: Moment) -> Departure {
        let (available, taken) = (memory.available, memory.taken_by_processes());
        Departure { id, first: now, until: now.after(PATIENCE), available, taken }
    }

    /// One end may follow another: together they have no more time than one.
    #[inline(never)]
    pub fn hope(&mut self, memory: &Memory, now: Moment) -> Hope {
        let (noise, taken) = (memory.noise(), memory.taken_by_processes());
        // What the process has no more is not always available at once.
        if memory.available > self.available.plus(noise) || taken.plus(noise) < self.taken {
            self.until = now.after(PATIENCE);
            self.available = self.available.max(memory.available);
            self.taken = self.taken.min(taken);
        }
        if memory.available.plus(noise) < self.available {
            Hope::Late
        } else if now < self.until && now.since(self.first) < LONGEST {
            Hope::Left
        } else {
            Hope::Lost
        }
    }
}
