//! After a victim's end: has its memory come back, has something else taken it, or was the kill
//! useless? Pure, and memory is judged as it is: nothing is expected later.
//!
//! The rows apply from top to bottom. A change counts from `Memory::step` since the last sample.
//!
//! | state | seen | next |
//! |---|---|---|
//! | settling | memory back above the level | done |
//! | settling | taken: available memory or free swap falls, zram grows, processes hold more | done |
//! | settling | available memory rises, at most 1 s since the end | wait |
//! | settling | nothing has risen for 100 ms (SIGTERM level), 30 ms (SIGKILL level) | done |
//! | done, still low | less than a quarter came back, and nothing was taken | useless |

use crate::memory::Memory;
use crate::policy::{Level, Scene};
use crate::procfs::status::Held;
use crate::units::{KiB, Moment};
use std::time::Duration;

/// Memory of 2.4 GB was back the moment its process was gone; what comes later has another cause.
const LONGEST: Duration = Duration::from_secs(1);
/// The kernel accounts for memory in batches, which may show tens of milliseconds late. At the
/// SIGKILL level that is too long to wait for.
const fn quiet(level: Level) -> Duration {
    match level {
        Level::Kill => Duration::from_millis(30),
        Level::Fine | Level::Term => Duration::from_millis(100),
    }
}

/// Memory at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Baseline {
    available: KiB,
    /// What processes hold, with what was swapped out of them.
    held: KiB,
    swap_free: KiB,
    /// What zram and zswap take. It comes back with what is in them.
    compressed: KiB,
    /// In tmpfs.
    files: KiB,
}

impl Baseline {
    pub fn of(memory: &Memory) -> Baseline {
        Baseline {
            available: memory.available,
            held: memory.taken_by_processes(),
            swap_free: memory.swap_free,
            compressed: memory.compressed,
            files: memory.files,
        }
    }

    /// What can still be taken. Swapping out changes nothing about that.
    fn room(self) -> KiB {
        self.available.plus(self.swap_free).plus(self.compressed)
    }

    /// What processes hold more than at `before`.
    pub fn held_since(self, before: Baseline) -> KiB {
        self.held.less(before.held)
    }

    /// What was taken since `before`, files in tmpfs apart: killing does not give those back.
    pub fn taken_since(self, before: Baseline) -> KiB {
        let fall = before.room().less(self.room()).less(self.files_since(before));
        // With nothing available, what processes take shows nowhere else.
        fall.max(self.held_since(before))
    }

    fn files_since(self, before: Baseline) -> KiB {
        self.files.less(before.files)
    }

    fn has_risen_since(self, before: Baseline, step: KiB) -> bool {
        self.available >= before.available.plus(step)
            || self.swap_free >= before.swap_free.plus(step)
    }
}

/// What a look shows beside the last sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    None,
    Risen,
    Taken,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    Wait,
    /// Judge memory as it is.
    Done,
    Useless {
        gained: KiB,
    },
}

/// What was seen of memory since the last look before a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aftermath {
    held: Held,
    before: Baseline,
    /// As of the last change.
    sample: Baseline,
    /// By others, and by the victim as long as it lived.
    taken: KiB,
    ended: Moment,
    risen: Moment,
}

impl Aftermath {
    /// At the signal, before which `memory` was seen last. The victim holds `held`.
    pub fn of(held: Held, memory: &Memory) -> Aftermath {
        let before = Baseline::of(memory);
        let (ended, risen) = (Moment::default(), Moment::default());
        Aftermath { held, before, sample: before, taken: KiB::ZERO, ended, risen }
    }

    /// Other members of the group are alive. How much of the memory they keep is unknown.
    pub fn of_a_part(self) -> Aftermath {
        Aftermath { held: Held::default(), ..self }
    }

    /// How memory was before the signal.
    pub fn before(&self) -> Baseline {
        self.before
    }

    /// At the end, or when it will have ended at the latest. A victim's pages may come back before
    /// that is told.
    pub fn begin(mut self, now: Moment) -> Aftermath {
        (self.ended, self.risen) = (now, now);
        self
    }

    /// Takes in one look.
    pub fn observe(&mut self, memory: &Memory) -> Change {
        let (now, step) = (Baseline::of(memory), memory.step());
        let taken = now.taken_since(self.sample);
        let change = if taken >= step {
            self.taken = self.taken.plus(taken);
            Change::Taken
        } else if now.has_risen_since(self.sample, step) {
            Change::Risen
        } else {
            return Change::None;
        };
        self.sample = now;
        change
    }

    pub fn verdict(&mut self, scene: &Scene) -> Verdict {
        let change = self.observe(&scene.memory);
        if scene.worst_level == Level::Fine {
            return Verdict::Done;
        }
        if scene.now < self.ended {
            return Verdict::Wait;
        }
        if change == Change::Taken {
            return Verdict::Done;
        }
        if change == Change::Risen {
            self.risen = scene.now;
        }
        let quiet_at = self.risen.after(quiet(scene.level));
        if scene.now < quiet_at.min(self.until()) {
            return Verdict::Wait;
        }
        let gained = self.gained(&scene.memory);
        match gained.0 < self.expected().0 / 4 {
            true => Verdict::Useless { gained },
            false => Verdict::Done,
        }
    }

    /// When it is over at the latest.
    pub fn until(&self) -> Moment {
        self.ended.after(LONGEST)
    }

    /// What came back: what others took of that did so, too.
    fn gained(&self, memory: &Memory) -> KiB {
        Baseline::of(memory).room().plus(self.taken).less(self.before.room())
    }

    /// What the end should give back.
    pub fn expected(&self) -> KiB {
        self.held.total()
    }

    /// How much of what came back files in tmpfs have taken since, if that is where it went: the
    /// next kill would only make room for more of them.
    pub fn taken_by_files(&self, memory: &Memory) -> Option<KiB> {
        let now = Baseline::of(memory);
        let taken = now.files_since(self.sample).less(memory.unseen);
        let is_most = taken.0 >= self.expected().0 / 2
            && taken > now.held_since(self.sample).plus(memory.noise());
        is_most.then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 1000 MiB with 1000 of swap, in MiB.
    fn memory(available: u64, anon: u64, swap_free: u64, compressed: u64) -> Memory {
        Memory {
            available: KiB::from_mib(available),
            anon: KiB::from_mib(anon),
            swap_total: KiB::from_mib(1000),
            swap_free: KiB::from_mib(swap_free),
            compressed: KiB::from_mib(compressed),
            user: KiB::from_mib(1000),
            total: KiB::from_mib(1000),
            ..Memory::default()
        }
    }

    #[test]
    fn what_was_taken_counts_wherever_it_shows() {
        let before = memory(500, 300, 900, 0);
        for (now, taken) in [
            (memory(400, 400, 900, 0), 100),
            (memory(520, 280, 900, 0), 0),
            (memory(480, 310, 700, 0), 220),
            // Swapped out, to a disk and to zram.
            (memory(550, 250, 850, 0), 0),
            (memory(533, 250, 850, 17), 0),
            // Swapped out to zram, and as much taken.
            (memory(483, 300, 850, 17), 50),
            // By the kernel.
            (memory(450, 300, 900, 0), 50),
            // Nothing is available, and processes take what was not counted as that.
            (memory(500, 320, 900, 0), 20),
        ] {
            let taken_now = Baseline::of(&now).taken_since(Baseline::of(&before));
            assert_eq!(taken_now, KiB::from_mib(taken), "{now:?}");
        }
        let with_files = |available, files| {
            let files = KiB::from_mib(files);
            Baseline::of(&Memory { files, ..memory(available, 300, 900, 0) })
        };
        assert_eq!(with_files(400, 110).taken_since(with_files(500, 10)), KiB::ZERO);
        assert_eq!(with_files(400, 40).taken_since(with_files(500, 10)), KiB::from_mib(70));
    }

    fn observed(looks: &[Memory]) -> (Vec<Change>, KiB) {
        let mut aftermath = Aftermath::of(Held::default(), &looks[0]);
        let changes = looks[1..].iter().map(|memory| aftermath.observe(memory)).collect();
        (changes, aftermath.taken)
    }

    #[test]
    fn a_change_counts_from_a_mib_or_a_thousandth_and_small_ones_add_up() {
        let kib = |available| Memory { available: KiB(available), ..memory(0, 300, 900, 0) };
        let all =
            |looks: &[u64]| observed(&looks.iter().map(|&kib_| kib(kib_)).collect::<Vec<_>>());
        use Change::{None, Risen, Taken};
        assert_eq!(all(&[50_000, 48_977, 51_023]).0, [None, None]);
        assert_eq!(all(&[50_000, 51_024, 50_001, 50_000]).0, [Risen, None, Taken]);
        // Half a MiB from each look to the next.
        let slowly = all(&[50_000, 49_500, 49_000, 48_500, 48_000, 47_500]);
        assert_eq!(slowly, (vec![None, None, Taken, None, None], KiB(1500)));
        let large = |available| Memory { user: KiB::from_mib(24_000), ..kib(available) };
        assert_eq!(observed(&[large(50_000), large(25_425)]).0, [None]);
        assert_eq!(observed(&[large(50_000), large(25_424)]).0, [Taken]);
    }
}
