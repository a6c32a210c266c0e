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

/// What was seen of memory since the first one was seen to leave.
#[derive(Clone, Copy)]
pub struct Departure {
    /// The one that is waited for now.
    pub id: Identity,
    until: Moment,
    available: KiB,
    held: KiB,
}

impl Departure {
    pub fn of(id: Identity, memory: &Memory, now: Moment) -> Departure {
        let (available, held) = (memory.available, memory.held_by_processes());
        Departure { id, until: now.after(PATIENCE), available, held }
    }

    /// False once nothing comes back for too long, or somebody takes memory meanwhile. One end
    /// may follow another: together they have no more time than one.
    pub fn is_worth_waiting(&mut self, memory: &Memory, now: Moment) -> bool {
        let (noise, held) = (memory.noise(), memory.held_by_processes());
        // What the process has no more is not always available at once.
        if memory.available > self.available.plus(noise) || held.plus(noise) < self.held {
            self.until = now.after(PATIENCE);
            self.available = self.available.max(memory.available);
            self.held = self.held.min(held);
        }
        memory.available.plus(noise) >= self.available && now < self.until
    }
}
