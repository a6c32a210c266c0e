//! Fork bombs: what many new processes have in common, and when they are one.
//!
//! One process of a bomb holds next to nothing, and others come faster than one can be ended;
//! so all of it counts as one candidate. It is known by what the processes share: user,
//! session and program, all of them started a moment ago. Never signals.
//!
//! While it goes on, a look at it opens few files: each costs a KiB of the kernel's memory, and
//! a bomb leaves little. Numbers are given out in turn, so those that came last are found by
//! number, and their session is known without any file. Only once they are stopped, everyone's
//! `stat` is read.

use crate::filter::Spared;
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::scan::{self, Judge};
use crate::sys::clock::HZ;
use crate::sys::io;
use crate::units::{KiB, Pid};
use crate::victim::{Protection, Rules};

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
/// How many of those that came last are looked at, and how many of them must be in one session:
/// others are started meanwhile.
const SAMPLE: usize = 32;
const ALIKE: usize = 8;
/// Of so many of a session files are read. Half of them must be alike: a bomb may have two
/// programs that take turns.
const READ: usize = 8;
/// A session has no others where so many numbers in turn are none of it. Where parents exit, one
/// in some dozens lives; and so many calls take less than a millisecond.
const GAP: usize = 1024;
/// Nor is it looked for further, so that nobody can have that take long: twice the numbers that
/// there are by default (`PID_MAX_DEFAULT` in include/linux/threads.h).
const SPAN: usize = 65_536;
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

impl Swarm {
    /// Holds no more than there is: what they have in common was counted with each.
    pub fn within(self, memory: &Memory) -> Swarm {
        Swarm { held: self.held.min(in_use(memory)), ..self }
    }

    /// No other can hold more.
    pub fn is_most(&self, memory: &Memory) -> bool {
        self.held >= KiB(in_use(memory).0 / 2)
    }
}

/// What processes hold at most.
fn in_use(memory: &Memory) -> KiB {
    memory.user.less(memory.available).plus(memory.swap_used())
}

/// How many it must be at least.
pub fn least(processors: u32) -> u32 {
    processors.saturating_mul(LEAST_FOR_EACH_PROCESSOR).max(LEAST)
}

/// Tells the session of a process without a file (`session_of` in sys/process.rs).
pub type Sessions<'a> = &'a dyn Fn(Pid) -> Option<i32>;

/// A session to which many belong of those that came last.
pub struct Herd {
    pub session: i32,
    /// From the lowest number of one to the last that was given to anyone. What has come before
    /// numbers began anew is not in there, and meets the walks.
    pub lowest: i32,
    pub last: i32,
    count: u32,
    least: u32,
    /// The number of the one that was the last but `least`.
    mark: i32,
}

impl Herd {
    /// `None` for fewer than `least`.
    pub fn find(last: Pid, least: u32, session_of: Sessions<'_>) -> Option<Herd> {
        let last = last.number();
        let (mut sessions, mut met) = ([0; SAMPLE], 0);
        for pid in down_from(last).take(GAP) {
            if let (Some(session), Some(place)) = (session_of(pid), sessions.get_mut(met)) {
                *place = session;
                met += 1;
            }
        }
        let (at, alike) = most_frequent(met, &|one, other| sessions[one] == sessions[other])?;
        let session = sessions[at];
        if alike < ALIKE || session <= 0 {
            return None;
        }
        let mut herd = Herd { session, lowest: last, last, count: 0, least, mark: 0 };
        let mut gap = 0;
        for pid in down_from(last).take(SPAN) {
            gap += 1;
            if session_of(pid) == Some(session) {
                (herd.lowest, gap) = (pid.number(), 0);
                herd.count += 1;
                if herd.count == least {
                    herd.mark = herd.lowest;
                }
            } else if gap == GAP {
                break;
            }
        }
        (herd.count >= least).then_some(herd)
    }

    /// Those from that number downwards, as they are now.
    fn members<'a>(
        &'a self,
        from: i32,
        session_of: Sessions<'a>,
    ) -> impl Iterator<Item = Pid> + 'a {
        down_from(from)
            .take_while(|pid| pid.number() >= self.lowest)
            .filter(move |&pid| session_of(pid) == Some(self.session))
    }
}

fn down_from(last: i32) -> impl Iterator<Item = Pid> {
    (1..=last).rev().filter_map(|number| Pid::new(number.into()))
}

/// Which of so many is there most often, and how often.
fn most_frequent(len: usize, is_alike: &dyn Fn(usize, usize) -> bool) -> Option<(usize, usize)> {
    let mut found = None;
    for one in 0..len {
        let count = (0..len).filter(|&other| is_alike(one, other)).count();
        if found.map_or(true, |(_, most)| count > most) {
            found = Some((one, count));
        }
    }
    found
}

/// What a herd is, as far as the files of few tell.
pub fn glance(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    herd: &Herd,
    now: u64,
    session_of: Sessions<'_>,
) -> Option<Swarm> {
    // Some of all ages: those that came last do not hold yet what they will.
    let step = (herd.count as usize / READ).max(1);
    let (mut kinds, mut sums) = ([None; READ], [KiB::ZERO; READ]);
    let (mut newest, mut met, mut tried, mut skip) = (0, 0, 0, 0);
    for pid in herd.members(herd.last, session_of) {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        tried += 1;
        if met == READ || tried > SAMPLE {
            break;
        }
        let Ok(stat) = &proc.stat(pid) else { continue };
        if stat.is_gone() {
            continue;
        }
        newest = newest.max(stat.id.start);
        let is_young = now.saturating_sub(stat.id.start) <= LONGEST as u64 * HZ;
        if is_young && is_free(proc, rules, judge, stat) {
            kinds[met] = Kind::of(proc, stat);
            sums[met] = proc.status(stat).unwrap_or_default().held().total();
        }
        met += 1;
        skip = step - 1;
    }
    let is_alike = |one: usize, other: usize| kinds[one].is_some() && kinds[one] == kinds[other];
    let (at, alike) = most_frequent(met, &is_alike)?;
    let oldest = herd.members(herd.mark, session_of).take(SAMPLE);
    let oldest = oldest.filter_map(|pid| proc.stat(pid).ok()).find(|stat| !stat.is_gone())?;
    let since = oldest.id.start;
    let came_fast = newest.saturating_sub(since) * RATE <= u64::from(herd.least) * HZ;
    if alike * 2 < READ || !came_fast || now.saturating_sub(newest) > RECENT * HZ {
        return None;
    }
    let mut sum = KiB::ZERO;
    for (other, held) in sums[..met].iter().enumerate() {
        if is_alike(at, other) {
            sum = sum.plus(held.plus(KERNEL));
        }
    }
    // `met` stand for all.
    let all = |part: u64| part * u64::from(herd.count) / met as u64;
    let count = all(alike as u64) as u32;
    Some(Swarm { kind: kinds[at]?, since, count, held: KiB(all(sum.0)) })
}

/// It may be ended. Nobody is ended yet: what takes too long to be told counts.
fn is_free(proc: &mut Proc, rules: &Rules<'_>, judge: &mut dyn Judge, stat: &Stat) -> bool {
    matches!(
        scan::protection(proc, rules, judge, stat),
        None | Some(Protection::Spared(Spared::Ignored(None)))
    )
}

/// Measures what there is of a kind, but for those that `stat` and patterns protect; `visit` is
/// called with each that counts. `None` if it does not come in a swarm.
///
/// What they hold, and what else may protect them, is read of few, and the others are taken to
/// be as these.
pub fn measure(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    kind: Kind,
    now: u64,
    session_of: Sessions<'_>,
    visit: &mut dyn FnMut(&Stat),
) -> io::Result<Option<Swarm>> {
    let mut tally = Tally::new();
    let (mut met, mut asked, mut sum) = (0u64, 0u64, KiB::ZERO);
    let since = now.saturating_sub(LONGEST as u64 * HZ);
    for_each(proc, kind, since, session_of, &mut |proc, stat| {
        let is_asked = met < ASKED || met % ASKED == 0;
        let may_be_ended = match is_asked || !judge.is_idle() {
            true => is_free(proc, rules, judge, stat),
            false => rules.protection(stat).is_none(),
        };
        if !may_be_ended {
            return;
        }
        if is_asked {
            if let Ok(status) = proc.status(stat) {
                sum = sum.plus(status.held().total());
                asked += 1;
            }
        }
        met += 1;
        tally.add(now.saturating_sub(stat.id.start), KiB(sum.0 / asked.max(1)).plus(KERNEL));
        visit(stat);
    })?;
    Ok(tally.swarm(kind, now))
}

/// Calls `visit` with each process of a kind that was started since then and is not gone,
/// protected ones included.
pub fn for_each(
    proc: &mut Proc,
    kind: Kind,
    since: u64,
    session_of: Sessions<'_>,
    visit: &mut dyn FnMut(&mut Proc, &Stat),
) -> io::Result<()> {
    proc.for_each(|proc, pid| {
        if session_of(pid) != Some(kind.session) {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::filter::Verdict;
    use crate::options::Settings;
    use crate::procfs::fixture::{stat_line, Fixture};
    use crate::victim::{Candidate, Family, Remembered, Scale};
    use std::cell::Cell;

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
    fn the_most_frequent_is_found_and_of_those_alike_the_first() {
        let find = |all: &[u8]| most_frequent(all.len(), &|one, other| all[one] == all[other]);
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[5]), Some((0, 1)));
        assert_eq!(find(&[5, 6, 7, 6, 5]), Some((0, 2)));
        assert_eq!(find(&[5, 6, 7, 6]), Some((1, 2)));
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

        /// As the kernel tells it without a file.
        fn session_of(&self, pid: Pid) -> Option<i32> {
            self.0.open().stat(pid).ok().map(|stat| stat.session)
        }

        fn herd(&self, last: i32, least: u32) -> Option<Herd> {
            let last = Pid::new((FIRST + last).into()).unwrap();
            Herd::find(last, least, &|pid| self.session_of(pid))
        }

        /// What is suspected if the last number is that one.
        fn suspect(&self, last: i32, spares: &'static [i32]) -> Option<Swarm> {
            let herd = self.herd(last, 32)?;
            let sessions = |pid| self.session_of(pid);
            let proc = &mut self.0.open();
            with_rules(|rules| {
                let judge = &mut Spares(spares);
                glance(proc, rules, judge, &herd, NOW, &sessions)
            })
        }

        fn session(&self, last: i32) -> Option<i32> {
            self.suspect(last, &[]).map(|swarm| swarm.kind.session)
        }
    }

    fn with_rules<T>(body: impl FnOnce(&Rules<'_>) -> T) -> T {
        let config = Config::resolve(Settings::default(), false).unwrap();
        let left = Remembered::default();
        let family = Family::trace(Pid::INIT, None, &mut |_| None);
        body(&Rules::new(&config, KiB::from_mib(1000), Scale::Shifted, family, &left))
    }

    #[test]
    fn many_of_a_session_that_came_last_are_found_by_number() {
        let world = World::new();
        world.add(0, 100, SESSION + 1, "/bin/old", 5000);
        world.add(100, 20, SESSION, "/bin/sh", 500);
        // Free ones between them, and some of another session.
        world.add(600, 40, SESSION, "/bin/bomb", 10);
        world.add(640, 5, SESSION + 1, "/bin/other", 10);
        let herd = world.herd(700, 32).unwrap();
        assert_eq!((herd.session, herd.count), (SESSION, 60));
        assert_eq!((herd.lowest, herd.last, herd.mark), (FIRST + 100, FIRST + 700, FIRST + 608));
        assert_eq!(world.herd(700, 60).map(|herd| herd.mark), Some(FIRST + 100));
        assert!(world.herd(700, 61).is_none());
        // Further down, behind many numbers that none of them has, there are others.
        world.add(2000, 40, SESSION, "/bin/bomb", 10);
        assert_eq!(world.herd(2039, 32).map(|herd| herd.lowest), Some(FIRST + 2000));
        // Numbers have begun anew: the highest are not the last.
        let herd = world.herd(645, 32).unwrap();
        assert_eq!((herd.count, herd.last), (60, FIRST + 645));
    }

    #[test]
    fn where_nothing_is_to_be_suspected_few_numbers_are_asked_for() {
        let world = World::new();
        (0..40).for_each(|number| world.add(number, 1, SESSION + number, "/bin/bomb", 10));
        let (asked, last) = (Cell::new(0), Pid::new((FIRST + 5000).into()).unwrap());
        let ask = |pid| {
            asked.set(asked.get() + 1);
            world.session_of(pid)
        };
        assert!(Herd::find(last, 32, &ask).is_none());
        assert_eq!(asked.get(), GAP);
        // Nor where all are of one session, however far it goes.
        asked.set(0);
        let all = |_| {
            asked.set(asked.get() + 1);
            Some(SESSION)
        };
        assert_eq!(Herd::find(last, 32, &all).map(|herd| herd.count), Some(SPAN as u32));
        assert!(asked.get() <= GAP + SPAN);
    }

    #[test]
    fn many_that_came_last_and_are_alike_are_suspect() {
        let world = World::new();
        world.add(0, 100, SESSION, "/bin/old", 5000);
        assert_eq!(world.session(99), None);
        world.add(100, 40, SESSION + 1, "/bin/bomb", 10);
        let found = world.suspect(139, &[]).unwrap();
        assert_eq!((found.kind.session, found.count, found.since), (SESSION + 1, 40, NOW - 10));
        // 10 pages of 4 KiB each, and what the kernel holds.
        assert_eq!(found.held, KiB(40 * (40 + 64)));
        // Each in a session, or of a program, of its own.
        let world = World::new();
        (0..40).for_each(|number| world.add(number, 1, SESSION + number, "/bin/bomb", 10));
        assert_eq!(world.session(39), None);
        let world = World::new();
        (0..40).for_each(|number| world.add(number, 1, SESSION, &format!("/bin/{number}"), 10));
        assert_eq!(world.session(39), None);
        // Two programs that take turns.
        let world = World::new();
        (0..64)
            .for_each(|number| world.add(number, 1, SESSION, &format!("/{}", number / 8 % 2), 10));
        assert_eq!(world.suspect(63, &[]).map(|swarm| swarm.count), Some(32));
        // Sessions out of sight may be different ones.
        let world = World::new();
        world.add(0, 40, 0, "/bin/bomb", 10);
        assert_eq!(world.session(39), None);
    }

    #[test]
    fn what_was_started_long_ago_or_slowly_or_is_protected_is_not_suspect() {
        let world = World::new();
        world.add(0, 40, SESSION, "/bin/bomb", 1000);
        assert_eq!(world.session(39), Some(SESSION));
        let world = World::new();
        world.add(0, 40, SESSION, "/bin/bomb", 1001);
        assert_eq!(world.session(39), None);
        // The last 32 of them within 3.2 seconds.
        for (age, is_suspect) in [(330, true), (331, false)] {
            let world = World::new();
            world.add(0, 9, SESSION, "/bin/bomb", age);
            world.add(9, 31, SESSION, "/bin/bomb", 10);
            assert_eq!(world.session(39), is_suspect.then_some(SESSION), "{age}");
        }
        let world = World::new();
        world.add(0, 40, SESSION, "/bin/bomb", 10);
        // Of 8 that are looked at, each fifth one from the last.
        assert!(world.suspect(39, &[39, 34, 29, 24]).is_some());
        assert!(world.suspect(39, &[39, 34, 29, 24, 19]).is_none());
    }

    #[test]
    fn nobody_holds_more_than_who_holds_half_of_what_is_in_use() {
        let swarm = |held| Swarm { kind: kind(1), since: 0, count: 99, held: KiB(held) };
        let memory = Memory {
            user: KiB(1000),
            available: KiB(100),
            swap_total: KiB(200),
            swap_free: KiB(100),
            ..Memory::default()
        };
        assert!(swarm(500).is_most(&memory));
        assert!(!swarm(499).is_most(&memory));
        // What they have in common was counted with each.
        assert_eq!(swarm(5000).within(&memory).held, KiB(1000));
        assert_eq!((least(1), least(8), least(64)), (32, 32, 256));
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
        let stat = proc.stat(Pid::new((FIRST + 2).into()).unwrap()).unwrap();
        let kind = Kind::of(&mut proc, &stat).unwrap();
        let sessions = |pid| world.session_of(pid);
        let mut visited = 0;
        let swarm = with_rules(|rules| {
            let (spares, visit) = (&mut Spares(&[6, 7]), &mut |_: &Stat| visited += 1);
            measure(&mut proc, rules, spares, kind, NOW, &sessions, visit)
        });
        // 10 pages of 4 KiB each, and what the kernel holds.
        let held = KiB(48 * (40 + 64));
        assert_eq!(swarm.unwrap(), Some(Swarm { kind, since: NOW - 200, count: 48, held }));
        // With the older ones.
        assert_eq!(visited, 50);
        let mut met = Vec::new();
        for_each(&mut proc, kind, NOW - 200, &sessions, &mut |_, stat| met.push(stat.id.pid))
            .unwrap();
        assert_eq!(met.len(), 50);
    }
}
