//! Whether the machine hangs for want of memory: in which share of the last seconds all tasks
//! waited for it, while at least one waited for a disk.
//!
//! The lesser of the two shares counts: compressing pages into zram is waiting for memory as well, but a
//! program that starts meanwhile does so soon. A stall counts only if the machine is short of memory, not
//! a cgroup that has a limit of its own. Decides nothing: `policy` says which share asks for what.

mod meter;
mod reclaim;

use crate::memory::Memory;
use crate::policy::Limits;
use crate::procfs::cgroup::Cgroup;
use crate::procfs::pressure::{self, Waiting};
use crate::procfs::Proc;
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::{Moment, Percent};
use meter::Meter;
use reclaim::{Reclaim, Short};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The stalls of the machine or of a cgroup, as they are measured.
pub struct Stalls {
    memory: Waits,
    /// An error if nothing tells of them: then memory alone counts.
    disks: io::Result<Waits>,
    reclaim: Reclaim,
    /// Over which both were measured last.
    window: Duration,
}

/// How long tasks have waited.
struct Waits {
    file: OwnedFd,
    waiting: Waiting,
    meter: Meter,
}

impl Waits {
    fn open(file: OwnedFd, waiting: Waiting) -> io::Result<Waits> {
        // With `psi=0` it can be opened and not read.
        fd::reread(file.as_fd(), &mut [0; 1])?;
        Ok(Waits { file, waiting, meter: Meter::default() })
    }

    /// `None` if what is read makes no sense.
    fn share(
        &mut self,
        proc: &mut Proc,
        window: Duration,
        now: Moment,
    ) -> io::Result<Option<Percent>> {
        let total = pressure::total(proc.reread(&self.file)?, self.waiting);
        Ok(total.map(|total| self.meter.share(now, total, window)))
    }
}

/// What a reading says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stall {
    /// The share that counts.
    Counts(Percent),
    /// Such a share, but of a cgroup that is at its limit while the machine has memory: it counts
    /// as nothing.
    OfLimit(Percent),
}

impl Stalls {
    /// Measures from now on: the machine, or `cgroup`. Fails if the kernel tells nothing of it.
    pub fn open(proc: &Proc, cgroup: Option<&Cgroup>) -> io::Result<Stalls> {
        let open = |of_machine, of_cgroup| match cgroup {
            Some(cgroup) => cgroup.open_pressure(of_cgroup, Access::Read),
            None => proc.open_file(of_machine, Access::Read),
        };
        let memory = open(pressure::PATH, pressure::OF_CGROUP)?;
        let memory = Waits::open(memory, Waiting::All)?;
        let disks = open(pressure::PATH_OF_DISKS, pressure::OF_CGROUP_DISKS)
            .and_then(|file| Waits::open(file, Waiting::Some));
        let disks = match disks {
            // To be tried again.
            Err(error) if error.is_shortage() => return Err(error),
            disks => disks,
        };
        let (reclaim, window) = (Reclaim::default(), Duration::ZERO);
        Ok(Stalls { memory, disks, reclaim, window })
    }

    /// Why it cannot be told for what the kernel takes memory back, if so.
    pub fn unread(&self) -> Option<io::Error> {
        self.reclaim.unread()
    }

    /// Why nothing tells of waiting for disks, if so.
    pub fn without_disks(&self) -> Option<io::Error> {
        self.disks.as_ref().err().copied()
    }

    /// No stall up to now counts any more: it was that of a process which has ended.
    pub fn restart(&mut self) {
        self.memory.meter.restart();
        if let Ok(disks) = &mut self.disks {
            disks.meter.restart();
        }
    }

    /// Two `pread`; while memory is short, `vmstat` is opened, read and closed. Fails if the file went
    /// with its cgroup. What makes no sense is no stall.
    pub fn read(
        &mut self,
        proc: &mut Proc,
        memory: &Memory,
        limits: &Limits,
        now: Moment,
    ) -> io::Result<Stall> {
        let window = limits.stall.window;
        if window != self.window {
            // Swap came or went, which makes everything wait, too; or settings are other ones.
            self.restart();
            self.window = window;
        }
        let mut share = self.memory.share(proc, window, now)?.unwrap_or_default();
        if let Ok(disks) = &mut self.disks {
            share = share.min(disks.share(proc, window, now)?.unwrap_or(Percent::HUNDRED));
        }
        // Of the memory of a cgroup its own pressure tells.
        if memory.is_limited() || !limits.stall.may_act_at(memory.available) {
            self.reclaim.forget_old(now, window);
            return Ok(Stall::Counts(share));
        }
        if !limits.is_stall(&Memory { stall: share, ..*memory }) {
            self.reclaim.forget_old(now, window);
            self.reclaim.begin(proc, now);
            return Ok(Stall::Counts(share));
        }
        Ok(match self.reclaim.short(proc, now) {
            Short::Machine => Stall::Counts(share),
            Short::Unknown => {
                self.reclaim.begin(proc, now);
                Stall::Counts(limits.stall.brink())
            }
            Short::Limited => {
                self.restart();
                self.reclaim.restart();
                Stall::OfLimit(share)
            }
        })
    }
}

/// A stall wakes the guard early: of a tenth of the shortest window that the kernel has, or
/// if that is refused, of a twentieth of two seconds, which need no privilege
/// (Documentation/accounting/psi.rst) and are looked at every two seconds only.
const TRIGGERS: [&[u8]; 2] = [b"some 50000 500000\0", b"some 100000 2000000\0"];

/// A descriptor that tells the beginning of a stall: of the cgroup if that can be had (in a
/// container it may be read, but not written), or else of the machine.
pub fn open_trigger(proc: &Proc, cgroup: Option<&Cgroup>) -> Option<OwnedFd> {
    let set = |file: io::Result<OwnedFd>, trigger: &[u8]| {
        let file = file.ok()?;
        fd::write(file.as_fd(), trigger).ok()?;
        Some(file)
    };
    let of_cgroup =
        |trigger: &&[u8]| set(cgroup?.open_pressure(pressure::OF_CGROUP, Access::Trigger), trigger);
    let of_machine =
        |trigger: &&[u8]| set(proc.open_file(pressure::PATH, Access::Trigger), trigger);
    TRIGGERS.iter().find_map(of_cgroup).or_else(|| TRIGGERS.iter().find_map(of_machine))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::Fixture;
    use crate::settings::{value, Config, Thresholds};
    use crate::units::{KiB, Levels};

    /// What is told at each moment, in milliseconds: of so many of them lost and pages looked at for
    /// the machine and in all.
    fn told(memory: &Memory, readings: &[(u64, u64, u64, u64)]) -> Vec<Stall> {
        let fixture = Fixture::new();
        let window = Duration::from_secs(5);
        let psi = value::shares(b"10").unwrap();
        let thresholds = Thresholds { psi, psi_window: window, ..Config::default().thresholds };
        let config = Config { thresholds, ..Config::default() }.resolve(false).unwrap();
        let limits = Limits::of(&config, memory);
        assert_eq!(limits.mem, Levels { term: Some(KiB(100)), kill: Some(KiB(50)) });
        fixture.write("pressure/memory", "");
        let mut proc = fixture.open();
        let mut stalls = Stalls::open(&proc, None).unwrap();
        let told = readings.iter().map(|&(millis, lost, for_machine, in_all)| {
            let total = lost * 1000;
            fixture.write("pressure/memory", format!("full avg10=0.00 total={total}\n"));
            fixture.write(
                "vmstat",
                format!(
                    "pgscan_kswapd {for_machine}\npgscan_direct 0\npgscan_anon {in_all}\n\
                     pgscan_file 0\n"
                ),
            );
            stalls.read(&mut proc, memory, &limits, Moment(millis * 1_000_000)).unwrap()
        });
        told.collect()
    }

    fn memory(available: u64) -> Memory {
        Memory {
            total: KiB(1000),
            machine: KiB(1000),
            available: KiB(available),
            user: KiB(1000),
            swap_total: KiB(1000),
            swap_free: KiB(900),
            ..Memory::default()
        }
    }

    fn share(percent: u32) -> Stall {
        Stall::Counts(Percent::whole(percent))
    }

    #[test]
    fn the_stall_of_a_cgroup_at_its_limit_counts_as_nothing_nor_what_was_before() {
        let readings = [
            (0, 0, 0, 0),
            (200, 4000, 100, 10_000),
            (400, 4400, 5100, 20_000),
            (600, 5400, 10_100, 30_000),
        ];
        let of_limit = Stall::OfLimit(Percent::whole(80));
        assert_eq!(told(&memory(95), &readings), [share(0), of_limit, share(0), share(20)]);
    }

    #[test]
    fn a_stall_is_on_the_brink_until_it_is_told_what_is_short() {
        let readings = [(0, 0, 0, 0), (50, 4000, 100, 100), (100, 4000, 200, 200)];
        let brink = Stall::Counts(Percent::whole(10).just_below());
        assert_eq!(told(&memory(95), &readings), [share(0), brink, share(80)]);
    }

    #[test]
    fn with_memory_to_spare_or_in_a_cgroup_it_is_not_doubted() {
        let readings = [(0, 0, 0, 0), (200, 4000, 0, 10_000)];
        assert_eq!(told(&memory(201), &readings), [share(0), share(80)]);
        let limited = Memory { machine: KiB(2000), ..memory(95) };
        assert_eq!(told(&limited, &readings), [share(0), share(80)]);
    }
}
