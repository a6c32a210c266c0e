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
use crate::scan::{Judge, Shortlist};
use crate::sys::clock::HZ;
use crate::units::{KiB, Pid};
use crate::victim::Rules;
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
/// Of so many, and then of one in so many, is read what they hold.
const ASKED: u64 = 32;
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
    let mut newest = Shortlist::new();
    proc.for_each(|_, pid| {
        if last.map_or(true, |last| pid <= last) {
            newest.add(pid.number() as u64, pid);
        }
    })?;
    let (mut kinds, mut old) = ([None; SAMPLE], 0);
    for (kind, &(_, pid)) in kinds.iter_mut().zip(newest.entries()) {
        let Ok(stat) = &proc.stat(pid) else { continue };
        if now.saturating_sub(stat.id.start) > RECENT * HZ {
            old += 1;
            if old == OLD {
                break;
            }
        } else if !stat.is_gone() {
            old = 0;
            *kind = Kind::of(proc, stat);
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

/// Measures what there is of a kind, but for those that `stat` and patterns protect. `None` if it
/// does not come in a swarm.
///
/// Each file that is opened for the first time costs a KiB of the kernel's memory, and a bomb
/// leaves little: so what they hold is read of few, and the others are taken to be as these.
pub fn measure(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    kind: Kind,
    now: u64,
) -> io::Result<Option<Swarm>> {
    let mut tally = Tally::new();
    let (mut met, mut asked, mut sum) = (0u64, 0u64, KiB::ZERO);
    let since = now.saturating_sub(LONGEST as u64 * HZ);
    for_each(proc, kind, since, &mut |proc, stat| {
        // Nobody is ended yet: what takes too long to be told counts.
        let spared = judge.judge(proc, stat).spared;
        let is_free = matches!(spared, None | Some(Spared::Ignored(None)));
        if !is_free || rules.protection(stat).is_some() {
            return;
        }
        if met < ASKED || met % ASKED == 0 {
            if let Ok(status) = proc.status(stat) {
                sum = sum.plus(status.held().total());
                asked += 1;
            }
        }
        met += 1;
        tally.add(now.saturating_sub(stat.id.start), KiB(sum.0 / asked.max(1)).plus(KERNEL));
    })?;
    Ok(tally.swarm(kind, now))
}

/// The kernel would never end it (or it is gone). Where the score tells that, its file was opened
/// for the choice already.
pub fn is_exempt(proc: &mut Proc, rules: &Rules<'_>, pid: Pid) -> bool {
    match rules.zero_is_exempt() {
        true => proc.oom_score(pid).map_or(true, |score| score == 0),
        false => proc.oom_score_adj(pid).map_or(true, |adj| adj == -1000),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::filter::Verdict;
    use crate::options::Settings;
    use crate::procfs::fixture::{stat_line, Fixture};
    use crate::victim::{Candidate, Family, Remembered, Scale};

    /// Numbers that no process of the machine has on which the test runs.
    const FIRST: i32 = 4_150_000;
    const SESSION: i32 = 4_140_000;
    /// Ticks since boot.
    const NOW: u64 = 1_000_000;

    fn kind(session: i32) -> Kind {
        Kind { user: 1000, session, program: 7 }
    }

    fn tally(ages: impl IntoIterator<Item = (u64, u32)>) -> Option<(u64, u32)> {
        let mut tally = Tally::new();
        for (seconds, count) in ages {
            (0..count).for_each(|_| tally.add(seconds * HZ + HZ / 2, KiB(10)));
        }
        let swarm = tally.swarm(kind(1), NOW)?;
        assert_eq!(swarm.held, KiB(10 * u64::from(swarm.count)));
        Some(((NOW - swarm.since) / HZ, swarm.count))
    }

    #[test]
    fn a_swarm_began_where_nobody_was_started_before() {
        assert_eq!(tally([(0, 200), (1, 100), (2, 1)]), Some((3, 301)));
        // A shell half a minute old.
        assert_eq!(tally([(0, 200), (1, 100), (30, 1)]), Some((2, 300)));
        // It began slowly, or one second was lost to thrashing.
        assert_eq!(tally([(0, 200), (2, 3), (4, 1)]), Some((5, 204)));
        assert_eq!(tally([(0, 200), (2, 3), (5, 1)]), Some((3, 203)));
        // It can make no more and waits.
        assert_eq!(tally([(8, 200), (9, 100)]), Some((10, 300)));
    }

    #[test]
    fn few_a_second_are_none() {
        assert_eq!(tally([]), None);
        // A build that began 15 seconds ago, with 64 compilers that take half a minute each.
        assert_eq!(tally((0..15).map(|second| (second, 2)).chain([(15, 64)])), None);
        // Connections that somebody opens, 9 a second.
        assert_eq!(tally((0..59).map(|second| (second, 9))), None);
        assert!(tally((0..59).map(|second| (second, 10))).is_some());
        // Before which there were many: they are older than it takes.
        assert_eq!(tally([(0, 30), (20, 500)]), Some((1, 30)));
        assert_eq!(tally([(59, 1), (60, 5000), (1_000_000, 9)]), None);
    }

    #[test]
    fn it_must_be_many_and_go_before_the_largest_and_bring_memory_back() {
        let swarm = |count, held| Swarm { kind: kind(1), since: 0, count, held: KiB(held) };
        let measure = |processors| Measure::new(processors, KiB(500), KiB(300));
        assert!(measure(1).exceeded_by(&swarm(32, 500)));
        assert!(!measure(1).exceeded_by(&swarm(31, 500)));
        assert!(!measure(1).exceeded_by(&swarm(32, 499)));
        assert!(!measure(64).exceeded_by(&swarm(255, 500)));
        assert!(measure(64).exceeded_by(&swarm(256, 500)));
        let far = Measure { missing: KiB(501), ..measure(1) };
        assert!(!far.exceeded_by(&swarm(1000, 500)));
    }

    #[test]
    fn the_kind_of_most_is_the_one_that_comes_up_often_enough() {
        let mut kinds = [None; SAMPLE];
        assert_eq!(most_frequent(&kinds), None);
        kinds[..7].fill(Some(kind(1)));
        assert_eq!(most_frequent(&kinds), None);
        kinds[7] = Some(kind(1));
        kinds[8..20].fill(Some(kind(2)));
        assert_eq!(most_frequent(&kinds), Some(kind(2)));
    }

    /// Processes in a `/proc` of the test's own.
    struct World(Fixture);

    impl World {
        fn new() -> World {
            let fixture = Fixture::new();
            fixture.write("meminfo", "");
            World(fixture)
        }

        /// `count` with numbers from `FIRST + number` on, started `age` ticks ago.
        fn add(&self, number: i32, count: i32, session: i32, program: &str, age: u64) {
            for pid in FIRST + number..FIRST + number + count {
                self.0.process(pid, b"x", 700, 10);
                let line = String::from_utf8(stat_line(pid, b"x", b'S', 0, 1, 10)).unwrap();
                let line =
                    line.replacen(&format!("1 {pid} {pid}"), &format!("1 {pid} {session}"), 1);
                let line =
                    line.replace(&format!(" {} 1000 ", pid * 10), &format!(" {} 1000 ", NOW - age));
                self.0.write(&format!("{pid}/stat"), line);
                self.0.link(&format!("{pid}/exe"), program);
            }
        }

        fn last(&self, number: i32) {
            self.0.write("loadavg", format!("0.00 0.00 0.00 1/99 {}\n", FIRST + number));
        }

        fn suspect(&self) -> Option<i32> {
            suspect(&mut self.0.open(), NOW).unwrap().map(|kind| kind.session)
        }
    }

    #[test]
    fn many_that_came_last_and_are_alike_are_suspect() {
        let world = World::new();
        world.add(0, 100, SESSION, "/bin/old", 5000);
        assert_eq!(world.suspect(), None);
        world.add(100, 40, SESSION + 1, "/bin/bomb", 10);
        assert_eq!(world.suspect(), Some(SESSION + 1));
        // Each in a session, or of a program, of its own.
        let world = World::new();
        (0..40).for_each(|number| world.add(number, 1, SESSION + number, "/bin/bomb", 10));
        assert_eq!(world.suspect(), None);
        let world = World::new();
        (0..40).for_each(|number| world.add(number, 1, SESSION, &format!("/bin/{number}"), 10));
        assert_eq!(world.suspect(), None);
        // Sessions out of sight may be different ones.
        let world = World::new();
        world.add(0, 40, 0, "/bin/bomb", 10);
        assert_eq!(world.suspect(), None);
        // Long ago.
        let world = World::new();
        world.add(0, 40, SESSION, "/bin/bomb", 1001);
        assert_eq!(world.suspect(), None);
    }

    #[test]
    fn where_numbers_have_begun_anew_the_last_are_not_the_highest() {
        let world = World::new();
        world.add(0, 40, SESSION, "/bin/bomb", 10);
        world.add(100, 100, SESSION + 1, "/bin/old", 5000);
        world.last(199);
        assert_eq!(world.suspect(), None);
        world.last(60);
        assert_eq!(world.suspect(), Some(SESSION));
        // Old ones between the new ones.
        (0..40).filter(|number| number % 3 == 0).for_each(|number| {
            world.0.remove(&format!("{}", FIRST + number));
            world.add(number, 1, SESSION + 1, "/bin/old", 5000);
        });
        assert_eq!(world.suspect(), Some(SESSION));
    }

    #[test]
    fn it_looks_no_further_than_to_eight_old_ones_in_turn() {
        let world = World::new();
        world.add(0, 100, SESSION, "/bin/bomb", 10);
        world.add(100, 7, SESSION, "/bin/old", 5000);
        assert_eq!(world.suspect(), Some(SESSION));
        world.add(107, 1, SESSION, "/bin/old", 5000);
        assert_eq!(world.suspect(), None);
    }

    struct Spares(&'static [i32]);

    impl Judge for Spares {
        fn is_idle(&self) -> bool {
            false
        }

        fn may_prefer(&self) -> bool {
            false
        }

        fn judge(&mut self, _: &mut Proc, stat: &Stat) -> Verdict {
            let number = stat.id.pid.number() - FIRST;
            let spared = self.0.contains(&number).then_some(Spared::Ignored(Some(0)));
            Verdict { spared, ..Verdict::default() }
        }

        fn met(&mut self, _: &Candidate) {}
    }

    #[test]
    fn what_is_of_another_kind_or_protected_does_not_count() {
        let world = World::new();
        world.add(0, 1, SESSION, "/bin/bomb", 6000);
        world.add(1, 1, SESSION, "/bin/bomb", 1000);
        world.add(2, 50, SESSION, "/bin/bomb", 150);
        world.add(60, 10, SESSION, "/bin/other", 150);
        world.add(70, 10, SESSION + 1, "/bin/bomb", 150);
        let mut proc = world.0.open();
        let config = Config::resolve(Settings::default(), false).unwrap();
        let left = Remembered::default();
        let family = Family::trace(Pid::INIT, None, &mut |_| None);
        let rules = Rules::new(&config, KiB::from_mib(1000), Scale::Shifted, family, &left);
        let stat = proc.stat(Pid::new((FIRST + 2).into()).unwrap()).unwrap();
        let kind = Kind::of(&mut proc, &stat).unwrap();
        let spares = &mut Spares(&[6, 7]);
        let swarm = measure(&mut proc, &rules, spares, kind, NOW).unwrap().unwrap();
        // 10 pages of 4 KiB each, and what the kernel holds.
        let held = KiB(48 * (40 + 64));
        assert_eq!(swarm, Swarm { kind, since: NOW - 200, count: 48, held });
        let mut met = Vec::new();
        for_each(&mut proc, kind, swarm.since, &mut |_, stat| met.push(stat.id.pid)).unwrap();
        assert_eq!(met.len(), 50);
    }

    #[test]
    fn the_parent_of_more_than_half_is_found() {
        let mut parents = Parents::default();
        assert_eq!(parents.most(), None);
        [5, 6, 5, 7, 5, 8, 5, 5].iter().for_each(|&ppid| parents.add(ppid));
        assert_eq!(parents.most(), Pid::new(5));
    }
}
