//! Fork bombs: what many new processes have in common, and when they are one.
//!
//! One process of a bomb holds next to nothing, and others come faster than one can be ended;
//! so all of it counts as one candidate. It is known by what the processes share: user,
//! session and program, all of them started a moment ago. Never signals.
//!
//! The first look costs a walk over the numbers and eight files: numbers are given out in
//! turn, so the processes that came last are those below the last number that was given.
//! Only where these are alike is everyone's `stat` read.

use crate::filter::Spared;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::scan::{self, Judge};
use crate::sys::clock::HZ;
use crate::units::{KiB, Pid};
use crate::victim::{Protection, Rules};
use std::io;

/// Fewer can be ended one by one, as twenty hogs that somebody starts at once. The smallest
/// machines (64 MiB) have room for so many processes that hold half a MiB each.
const LEAST: u32 = 32;
/// A build has a compiler running on each processor, or two.
const LEAST_FOR_EACH_PROCESSOR: u32 = 4;
/// New ones a second, on average. A single slow processor whose memory is full manages as many
/// still; in a build with compilers that are large enough to fill memory, each of them takes
/// seconds, and hundreds a second do not live long enough to be counted.
const RATE: u64 = 10;
/// Where nobody was started for so long, the bomb has begun later: what is older, as the shell
/// in which it was typed, is none of it.
const QUIET: usize = 2;
/// Nor is what was started before that many seconds. It takes less to fill memory, or swap on
/// an SD card is being filled.
const LONGEST: usize = 60;
/// What is over for so many seconds is no bomb: from memory being low to a look it takes
/// milliseconds, and a first victim that ignores SIGTERM takes a grace.
const RECENT: u64 = 10;
/// How many of those that came last are looked at, and how many of them must be alike: a bomb
/// may have two programs that take turns, and others are started meanwhile.
const SAMPLE: usize = 32;
const ALIKE: usize = 8;
/// So many in turn that came earlier, and there is no bomb. Where numbers have begun anew, old
/// processes are between the new ones.
const OLD: usize = 8;
/// What the kernel holds for each: 16 KiB of stack, 40 of page tables, 12 of other things (seen
/// on x86_64 with Linux 6.18 for a process that does nothing).
const KERNEL: KiB = KiB(64);

/// What the processes of a swarm have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Effective.
    pub user: u32,
    pub session: i32,
    /// By its path.
    program: u64,
}

impl Kind {
    /// `None` for one whose session is out of sight, or whose program cannot be told.
    fn of(proc: &mut Proc, stat: &Stat) -> Option<Kind> {
        let session = Some(stat.session).filter(|&session| session > 0)?;
        let program = proc.program_mark(stat).ok()?;
        Some(Kind { user: proc.owner(stat.id.pid).ok()?, session, program })
    }
}

/// Processes of a kind that were started since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swarm {
    pub kind: Kind,
    /// In ticks since boot.
    pub since: u64,
    pub count: u32,
    /// Each with what the kernel holds for it; what they have in common counts with each.
    pub held: KiB,
}

/// What a swarm is measured by.
pub struct Measure {
    /// How many it must be at least.
    least: u32,
    /// What the largest single candidate holds.
    pub rival: KiB,
    /// What available memory is below the level.
    pub missing: KiB,
}

impl Measure {
    pub fn new(processors: u32, rival: KiB, missing: KiB) -> Measure {
        let least = processors.saturating_mul(LEAST_FOR_EACH_PROCESSOR).max(LEAST);
        Measure { least, rival, missing }
    }

    /// It goes before the largest single candidate, and its end brings memory back: else it is
    /// not what fills memory.
    pub fn exceeded_by(&self, swarm: &Swarm) -> bool {
        swarm.count >= self.least && swarm.held >= self.rival && swarm.held >= self.missing
    }
}

/// The kind of most of those that were started last, if they are of one kind.
pub fn suspect(proc: &mut Proc, now: u64) -> io::Result<Option<Kind>> {
    let last = proc.last_pid().ok();
    let mut newest = Newest { ring: [Pid::INIT; SAMPLE], next: 0 };
    proc.for_each(|_, pid| {
        if last.map_or(true, |last| pid <= last) {
            newest.add(pid);
        }
    })?;
    let (mut kinds, mut old) = ([None; SAMPLE], 0);
    for (place, pid) in newest.backwards().enumerate() {
        let Ok(stat) = &proc.stat(pid) else { continue };
        if now.saturating_sub(stat.id.start) > RECENT * HZ {
            old += 1;
            if old == OLD {
                break;
            }
        } else if !stat.is_gone() {
            old = 0;
            kinds[place] = Kind::of(proc, stat);
        }
    }
    Ok(most_frequent(&kinds))
}

/// What is there `ALIKE` times at least, and more often than all else.
fn most_frequent(kinds: &[Option<Kind>; SAMPLE]) -> Option<Kind> {
    let (mut found, mut most) = (None, ALIKE - 1);
    for &kind in kinds.iter().flatten() {
        let count = kinds.iter().filter(|&&other| other == Some(kind)).count();
        if count > most {
            (found, most) = (Some(kind), count);
        }
    }
    found
}

/// The last numbers of a walk, which lists them in rising order.
struct Newest {
    ring: [Pid; SAMPLE],
    next: usize,
}

impl Newest {
    fn add(&mut self, pid: Pid) {
        self.ring[self.next % SAMPLE] = pid;
        self.next += 1;
    }

    fn backwards(&self) -> impl Iterator<Item = Pid> + '_ {
        let first = self.next.saturating_sub(SAMPLE);
        (first..self.next).rev().map(|place| self.ring[place % SAMPLE])
    }
}

/// Measures what there is of a kind, but for those that must be left alone. `None` if it does
/// not come in a swarm.
pub fn measure(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    kind: Kind,
    now: u64,
) -> io::Result<Option<Swarm>> {
    let mut tally = Tally::new();
    let since = now.saturating_sub(LONGEST as u64 * HZ);
    for_each(proc, kind, since, &mut |proc, stat| {
        // Nobody is ended yet: what takes too long to be told counts.
        let protection = scan::protection(proc, rules, judge, stat);
        if matches!(protection, None | Some(Protection::Spared(Spared::Ignored(None)))) {
            let held = proc.status(stat).map(|status| status.held().total()).unwrap_or_default();
            tally.add(now.saturating_sub(stat.id.start), held.plus(KERNEL));
        }
    })?;
    Ok(tally.swarm(kind, now))
}

/// Calls `visit` with each process of a kind that was started since then and is not gone,
/// protected ones included.
pub fn for_each(
    proc: &mut Proc,
    kind: Kind,
    since: u64,
    visit: &mut dyn FnMut(&mut Proc, &Stat),
) -> io::Result<()> {
    proc.for_each(|proc, pid| {
        let Ok(stat) = &proc.stat(pid) else { return };
        let may_be = stat.session == kind.session && stat.id.start >= since && !stat.is_gone();
        if may_be && Kind::of(proc, stat) == Some(kind) {
            visit(proc, stat);
        }
    })
}

/// How many were started, and what they hold, by how many seconds that is ago.
struct Tally([(u32, KiB); LONGEST]);

impl Tally {
    fn new() -> Tally {
        Tally([(0, KiB::ZERO); LONGEST])
    }

    fn add(&mut self, age: u64, held: KiB) {
        if let Some((count, sum)) = self.0.get_mut((age / HZ) as usize) {
            *count += 1;
            *sum = sum.plus(held);
        }
    }

    /// As far back as new ones came without a pause, if they came fast enough.
    fn swarm(&self, kind: Kind, now: u64) -> Option<Swarm> {
        let (mut count, mut held, mut quiet) = (0, KiB::ZERO, 0);
        let mut found = None;
        for (second, &(started, more)) in self.0.iter().enumerate() {
            quiet = if started == 0 { quiet + 1 } else { 0 };
            if count > 0 && quiet == QUIET {
                break;
            }
            count += started;
            held = held.plus(more);
            let seconds = second as u64 + 1;
            if started > 0 && u64::from(count) >= RATE * seconds {
                let since = now.saturating_sub(seconds * HZ);
                found = Some(Swarm { kind, since, count, held });
            }
        }
        found
    }
}

/// Whose children most of a swarm are, if more than half are one's (Boyer and Moore's majority
/// vote): counted in one go.
#[derive(Default)]
pub struct Parents {
    pid: i32,
    lead: u32,
}

impl Parents {
    pub fn add(&mut self, ppid: i32) {
        if self.lead == 0 {
            self.pid = ppid;
        }
        if self.pid == ppid {
            self.lead += 1;
        } else {
            self.lead -= 1;
        }
    }

    /// Where none is everybody's, one that is some's.
    pub fn most(&self) -> Option<Pid> {
        Pid::new(self.pid.into())
    }
}
