//! For what the kernel takes memory back: for the machine, which is short of it, or for a cgroup
//! that is at its limit while the machine has enough.
//!
//! Pressure counts both, and nothing is ended here for a cgroup that is at its limit.

use crate::procfs::vmstat::Scanned;
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::Moment;
use std::time::Duration;

/// A shorter time says nothing: a machine whose disk is slow scans in bursts (none for up to a
/// second was seen on an SD card).
const LEAST: Duration = Duration::from_millis(100);
/// A container that scanned half a minute ago says nothing of a machine that thrashes now.
const MOST: Duration = Duration::from_secs(12);
/// Of what is scanned, one page in so many must be for the machine. If only a limit was
/// exceeded it was none, and if memory was short all; but the kernel makes room for files
/// that are read beside either, and more than one cgroup may be at its limit.
const ONE_IN: u64 = 4;

/// What was short of memory lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Short {
    Machine,
    /// Only cgroups with a limit of their own.
    Limited,
    /// Nothing so far, or too little time has passed to tell.
    Unknown,
}

/// Since when it is counted.
#[derive(Default)]
pub struct Reclaim {
    begun: Option<(Moment, Scanned)>,
    /// Why that cannot be read now.
    unread: Option<io::Error>,
}

impl Reclaim {
    /// Why what was scanned could not be read, if so.
    pub fn unread(&self) -> Option<io::Error> {
        self.unread
    }

    /// Counts from now on, unless it does already.
    pub fn begin(&mut self, proc: &mut Proc, now: Moment) {
        if self.begun.is_none() {
            self.begun = self.scanned(proc).ok().map(|scanned| (now, scanned));
        }
    }

    /// What has been counted for longer than the stall is measured, or for too long, says nothing of
    /// now.
    pub fn forget_old(&mut self, now: Moment, window: Duration) {
        self.begun = self.begun.filter(|(at, _)| now.since(*at) < window.min(MOST));
    }

    /// What was, since it is counted. If nothing tells, the machine.
    pub fn short(&mut self, proc: &mut Proc, now: Moment) -> Short {
        let Ok(scanned) = self.scanned(proc) else { return Short::Machine };
        let Some((at, before)) = self.begun else { return Short::Unknown };
        let for_machine = scanned.for_machine.saturating_sub(before.for_machine);
        let in_all = scanned.in_all.saturating_sub(before.in_all);
        if now.since(at) < LEAST || for_machine.max(in_all) == 0 {
            Short::Unknown
        } else if for_machine >= in_all / ONE_IN {
            Short::Machine
        } else {
            Short::Limited
        }
    }

    /// What was does not count any more.
    pub fn restart(&mut self) {
        self.begun = None;
    }

    fn scanned(&mut self, proc: &mut Proc) -> io::Result<Scanned> {
        let scanned = proc.scanned();
        self.unread = scanned.err();
        scanned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::Fixture;

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    fn vmstat(kswapd: u64, direct: u64, anon: u64, file: u64) -> String {
        format!(
            "nr_free_pages 1\npgscan_kswapd {kswapd}\npgscan_direct {direct}\n\
             pgscan_direct_throttle 9\npgscan_anon {anon}\npgscan_file {file}\nnr_unstable 0\n"
        )
    }

    /// What is told after each of these, counted from the first on.
    fn told(before: &str, later: &[(u64, &str)]) -> Vec<Short> {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let mut reclaim = Reclaim::default();
        fixture.write("vmstat", before);
        reclaim.begin(&mut proc, at(0));
        let told = later.iter().map(|(millis, text)| {
            fixture.write("vmstat", text);
            reclaim.short(&mut proc, at(*millis))
        });
        told.collect()
    }

    #[test]
    fn what_is_scanned_for_is_short() {
        let before = vmstat(700, 300, 600, 9000);
        let machine = vmstat(1700, 300, 600, 10_000);
        let limited = vmstat(700, 300, 4600, 9000);
        let mostly_limited = vmstat(1700, 300, 5600, 10_000);
        let both = vmstat(1700, 800, 4600, 10_500);
        let later = [
            (99, &*limited),
            (100, &*limited),
            (200, &*mostly_limited),
            (300, &*both),
            (400, &*machine),
            (5000, &*before),
        ];
        use Short::*;
        let expected = [Unknown, Limited, Limited, Machine, Machine, Unknown];
        assert_eq!(told(&before, &later), expected);
    }

    #[test]
    fn kernels_that_tell_less_are_believed() {
        let old = |direct| format!("pgscan_kswapd 1\npgscan_direct {direct}\n");
        assert_eq!(
            told(&old(1), &[(200, &old(1)), (201, &old(2))]),
            [Short::Unknown, Short::Machine]
        );
        assert_eq!(told("", &[(0, ""), (200, "pgscan_kswapd 1\n")]), [Short::Machine; 2]);
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let mut reclaim = Reclaim::default();
        let follow = |reclaim: &mut Reclaim, proc: &mut Proc, now| {
            reclaim.forget_old(now, Duration::from_secs(12));
            reclaim.begin(proc, now);
        };
        fixture.write("vmstat", vmstat(0, 0, 0, 0));
        follow(&mut reclaim, &mut proc, at(0));
        fixture.write("vmstat", vmstat(500, 0, 500, 0));
        follow(&mut reclaim, &mut proc, at(11_999));
        assert_eq!(reclaim.short(&mut proc, at(11_999)), Short::Machine);
        follow(&mut reclaim, &mut proc, at(12_000));
        assert_eq!(reclaim.short(&mut proc, at(13_000)), Short::Unknown);
        reclaim.restart();
        fixture.write("vmstat", vmstat(900, 0, 900, 0));
        assert_eq!(reclaim.short(&mut proc, at(14_000)), Short::Unknown);
    }
}
