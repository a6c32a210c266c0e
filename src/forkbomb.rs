//! Fork bombs: when a process group counts as one candidate. Never signals.
//!
//! One process of a bomb holds next to nothing, and others come faster than they could be ended one
//! by one. While that goes on, each file that is opened under `/proc` costs the kernel memory: groups
//! are counted without any, and of most members only `stat` is read.

use crate::memory::Memory;
use crate::policy::{Level, Scene};
use crate::procfs::stat::{Comm, Stat};
use crate::procfs::Proc;
use crate::select::{Protection, Recent, Rules};
use crate::sys::clock::HZ;
use crate::sys::io;
use crate::units::{KiB, Moment, Pid};
use std::time::Duration;

/// Fewer can be ended one by one.
const LEAST: u32 = 32;
/// A build has a compiler or two running on each.
const LEAST_FOR_EACH_PROCESSOR: u32 = 4;
/// In ticks: longer than it takes to fill memory, or swap on an SD card.
const OLD: u64 = 60 * HZ;
/// Half of the members of a bomb are younger: a group that has come to rest is none.
const RECENT: u64 = 10 * HZ;
/// Counters for the first, cheap count: groups with the same remainder share one.
const PLACES: usize = 512;
/// Most large groups are old ones, the kernel's threads among them. One of so many shows that: the
/// members of a bomb have numbers close together.
const SAMPLED: u32 = LEAST / 2;
/// So many members are read in full, and then one of so many.
const READ: u32 = 32;
/// Programs of large groups to tell apart. Usually there is one.
const KINDS: usize = 8;

/// How many members a bomb has at least.
pub fn least(processors: u32) -> u32 {
    processors.saturating_mul(LEAST_FOR_EACH_PROCESSOR).max(LEAST)
}

/// What the members of a bomb have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    pub group: i32,
    /// Effective.
    pub user: u32,
    /// Stands for the path of the executable.
    program: u64,
    /// No member was started before, in ticks since boot.
    since: u64,
}

impl Kind {
    /// `None` if the executable or the owner of the process cannot be read.
    fn of(proc: &mut Proc, stat: &Stat, since: u64) -> Option<Kind> {
        let program = proc.program_mark(stat).ok()?;
        Some(Kind { group: stat.pgid, user: proc.owner(stat.id.pid).ok()?, program, since })
    }

    fn may_include(&self, stat: &Stat) -> bool {
        stat.pgid == self.group && stat.id.start >= self.since
    }

    /// Whether a process is a member.
    pub fn includes(&self, proc: &mut Proc, stat: &Stat) -> bool {
        self.may_include(stat) && Kind::of(proc, stat, self.since) == Some(*self)
    }
}

/// A process group that counts as one candidate.
pub struct Bomb {
    pub kind: Kind,
    pub count: u32,
    /// Shared memory counts once.
    pub held: KiB,
    pub largest: Stat,
}

/// What is known of bombs from one look to the next.
#[derive(Default)]
pub struct Bombs {
    /// The group that was the largest, how many it had, and when.
    seen: Option<(i32, u32, Moment)>,
    /// One that does not end.
    unkillable: Option<i32>,
}

impl Bombs {
    /// False if it could not be ended before, or if it ends by itself: it has fewer members than a
    /// second ago.
    pub fn may_end(&mut self, bomb: &Bomb, now: Moment) -> bool {
        let group = bomb.kind.group;
        if self.unkillable == Some(group) {
            return false;
        }
        let before = self.seen.filter(|&(seen, ..)| seen == group);
        if before.is_some_and(|(.., at)| now.since(at) < Duration::from_secs(1)) {
            return true;
        }
        self.seen = Some((group, bomb.count, now));
        before.map_or(true, |(_, count, _)| bomb.count >= count)
    }

    pub fn is_unkillable(&mut self, kind: &Kind) {
        self.unkillable = Some(kind.group);
    }

    pub fn forget(&mut self) {
        *self = Bombs::default();
    }
}

/// The members of one kind, as they are met.
#[derive(Clone)]
struct Tally {
    kind: Kind,
    name: Comm,
    count: u32,
    recent: u32,
    /// What `stat` shows of all members.
    shown: u64,
    /// The same for the members that were read in full, and their private memory.
    shown_of_read: u64,
    own: KiB,
    /// The one with most private memory, and how much that is.
    largest: Stat,
    largest_own: KiB,
    members: Few,
}

/// A handful of processes. Once some are lost, it may be any.
type Few = Recent<Pid, 8>;

impl Tally {
    /// As far as `stat` tells.
    fn seems_to_include(&self, stat: &Stat) -> bool {
        self.kind.may_include(stat) && self.name.as_bytes() == stat.comm.as_bytes()
    }

    /// Scaled up from the members that were read.
    fn held(&self) -> KiB {
        self.own.scaled(KiB(self.shown), KiB(self.shown_of_read))
    }

    /// Whether enough of such members were read.
    fn has_read(&self, stat: &Stat) -> bool {
        let is_one_of_many = self.count < READ || self.count % READ == 0;
        !is_one_of_many && shown(stat) <= shown(&self.largest)
    }

    fn count(&mut self, stat: &Stat, recent: u64) {
        self.count += 1;
        self.members.add(stat.id.pid);
        self.shown += shown(stat);
        self.recent += u32::from(stat.id.start >= recent);
    }

    fn is_bomb(&self, least: u32) -> bool {
        self.count >= least && self.recent * 2 >= self.count
    }
}

/// Tells the group of a process without a file (`group_of` in sys/process.rs).
pub type Groups<'a> = &'a dyn Fn(Pid) -> Option<i32>;

/// The bomb that goes before all other candidates, if there is one. It has at least so many members;
/// `now` is in ticks since boot.
pub fn find(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    groups: Groups<'_>,
    scene: &Scene,
    (least, now): (u32, u64),
) -> io::Result<Option<Bomb>> {
    let Some((tally, strangers)) = largest_crowd(proc, rules, groups, (least, now))? else {
        return Ok(None);
    };
    let others = Others::of(proc, rules, groups, &tally, &strangers)?;
    let memory = &scene.memory;
    let held = tally.held().min(others.rest(memory));
    // Memory that is above the level by less than it moves by itself is at that level.
    let then = memory.available.plus(tally.largest_own).less(memory.noise());
    let one_will_do = scene.level_at(then) == Level::Fine;
    if held <= others.largest || one_will_do {
        return Ok(None);
    }
    Ok(Some(Bomb { kind: tally.kind, count: tally.count, held, largest: tally.largest }))
}

/// Of all kinds with enough young and recent members, the one that holds most. With it come the other
/// processes of its group, or of a group that shares its place.
fn largest_crowd(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    groups: Groups<'_>,
    (least, now): (u32, u64),
) -> io::Result<Option<(Tally, Few)>> {
    let place_of = |pid| groups(pid).map(|group| group as usize % PLACES);
    let mut crowds = [0u16; PLACES];
    proc.for_each(|_, pid| {
        if let Some(place) = place_of(pid) {
            crowds[place] = crowds[place].saturating_add(1);
        }
    })?;
    if crowds.iter().all(|&count| u32::from(count) < least) {
        return Ok(None);
    }
    let (since, recent) = (now.saturating_sub(OLD), now.saturating_sub(RECENT));
    let is_young = |stat: &Stat| lives(stat) && stat.id.start >= since;
    let (mut met, mut young) = (0, [false; PLACES]);
    proc.for_each(|proc, pid| {
        let place = place_of(pid).filter(|&place| u32::from(crowds[place]) >= least);
        let Some(place) = place else { return };
        met += 1;
        if met % SAMPLED == 0 && proc.stat(pid).is_ok_and(|stat| is_young(&stat)) {
            young[place] = true;
        }
    })?;
    const NONE: Option<Tally> = None;
    let mut tallies = [NONE; KINDS];
    let mut strangers = Few::none(Pid::INIT);
    proc.for_each(|proc, pid| {
        if !place_of(pid).is_some_and(|place| young[place]) {
            return;
        }
        let Ok(stat) = proc.stat(pid) else { return };
        if !is_young(&stat) {
            strangers.add(pid);
            return;
        }
        let known = tallies.iter_mut().flatten().find(|tally| tally.seems_to_include(&stat));
        match known {
            Some(tally) if tally.has_read(&stat) => tally.count(&stat, recent),
            _ => match read_in_full(proc, rules, &stat, since, &mut tallies) {
                Some(tally) => tally.count(&stat, recent),
                None => strangers.add(pid),
            },
        }
    })?;
    let bombs = tallies.iter().flatten().filter(|tally| tally.is_bomb(least));
    let Some(bomb) = bombs.max_by_key(|tally| tally.held()) else { return Ok(None) };
    let others = tallies.iter().flatten().filter(|tally| tally.kind != bomb.kind);
    others.for_each(|tally| strangers.add_all(&tally.members));
    Ok(Some((bomb.clone(), strangers)))
}

/// The tally of a process that may be ended, with what that holds.
fn read_in_full<'a>(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    stat: &Stat,
    since: u64,
    tallies: &'a mut [Option<Tally>],
) -> Option<&'a mut Tally> {
    // No process is ended yet: what takes too long to be told counts.
    match rules.protection(proc, stat) {
        None | Some(Protection::Ignored(None)) => {}
        Some(_) => return None,
    }
    let kind = Kind::of(proc, stat, since)?;
    let own = proc.status(stat).ok()?.held().own();
    let is_it =
        |place: &&mut Option<Tally>| place.as_ref().map_or(true, |tally| tally.kind == kind);
    let tally = tallies.iter_mut().find(is_it)?.get_or_insert_with(|| Tally {
        kind,
        name: stat.comm.clone(),
        count: 0,
        recent: 0,
        shown: 0,
        shown_of_read: 0,
        own: KiB::ZERO,
        largest: stat.clone(),
        largest_own: own,
        members: Few::none(Pid::INIT),
    });
    tally.shown_of_read += shown(stat);
    tally.own = tally.own.plus(own);
    if own > tally.largest_own {
        (tally.largest, tally.largest_own) = (stat.clone(), own);
    }
    Some(tally)
}

/// RSS in pages as `stat` has it, which may be too low by some that each processor has counted.
fn shown(stat: &Stat) -> u64 {
    const UNCOUNTED: u64 = 32;
    stat.rss_pages + UNCOUNTED
}

/// Not when it is on its way out with all its threads.
pub fn lives(stat: &Stat) -> bool {
    let leaves = stat.is_leaving() && stat.threads <= 1;
    !stat.is_gone() && !stat.is_kernel_thread() && !leaves
}

/// What all processes but the members hold.
struct Others {
    /// RSS and swap of the largest that may be ended, and what is its own of that.
    largest: KiB,
    own: KiB,
    /// Their own of all.
    all: KiB,
}

impl Others {
    fn of(
        proc: &mut Proc,
        rules: &mut Rules<'_>,
        groups: Groups<'_>,
        bomb: &Tally,
        strangers: &Few,
    ) -> io::Result<Others> {
        let mut others = Others { largest: KiB::ZERO, own: KiB::ZERO, all: KiB::ZERO };
        // A file of each of hundreds takes long while memory is short.
        let may_be_stranger = |pid| strangers.has_lost() || strangers.contains(pid);
        let is_member = |pid| groups(pid) == Some(bomb.kind.group) && !may_be_stranger(pid);
        proc.for_each(|proc, pid| {
            if is_member(pid) {
                return;
            }
            let Ok(stat) = &proc.stat_with_threads(pid) else { return };
            if stat.is_gone() || stat.is_kernel_thread() || bomb.seems_to_include(stat) {
                return;
            }
            let Ok(status) = proc.status(stat) else { return };
            if !rules.is_within(proc, stat) {
                return;
            }
            let (own, size) = (status.held().own(), status.rss.plus(status.swap));
            others.all = others.all.plus(own);
            if size > others.largest && rules.protection(proc, stat).is_none() {
                (others.largest, others.own) = (size, own);
            }
        })?;
        Ok(others)
    }

    /// What is left of all memory that no file backs for the members, each page of it counted once.
    fn rest(&self, memory: &Memory) -> KiB {
        // Some containers do not tell.
        if memory.anon == KiB::ZERO {
            return KiB(u64::MAX);
        }
        let held = memory.anon.plus(memory.swap_used());
        // More than there is: they share much of it among themselves.
        held.less(if self.all <= held { self.all } else { self.own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Limits;
    use crate::procfs::fixture::Fixture;
    use crate::procfs::process::CommandLine;
    use crate::select::{Assistant, Family, Filter, Matcher, Scale, Unkillable};
    use crate::settings::Config;
    use crate::units::Identity;
    use std::time::Duration;

    /// Numbers that no process of the machine has on which the test runs.
    const FIRST: i32 = 4_150_000;
    const GROUP: i32 = 4_140_000;
    /// Ticks since boot.
    const NOW: u64 = 1_000_000;
    /// KiB that each process holds unless a test says otherwise.
    const EACH: u64 = 1000;

    struct World {
        fixture: Fixture,
        memory: Memory,
        /// The group of each process, from `FIRST` on.
        groups: Vec<i32>,
        least: u32,
    }

    /// Processes that are alike.
    #[derive(Clone, Copy)]
    struct Crowd {
        count: i32,
        group: i32,
        name: &'static str,
        age: u64,
        state: char,
        anon: u64,
        swap: u64,
    }

    const BOMB: Crowd =
        Crowd { count: 40, group: GROUP, name: "bomb", age: 500, state: 'S', anon: EACH, swap: 0 };

    impl World {
        /// 10 MiB below the level, with room for 100 MiB of all these.
        fn new() -> World {
            let fixture = Fixture::new();
            fixture.write("meminfo", "");
            let mib = KiB::from_mib;
            let memory = Memory {
                total: mib(1000),
                user: mib(1000),
                available: mib(90),
                anon: mib(100),
                ..Memory::default()
            };
            World { fixture, memory, groups: Vec::new(), least: 32 }
        }

        fn with(all: &[Crowd]) -> World {
            let mut world = World::new();
            all.iter().for_each(|some| world.add(*some));
            world
        }

        fn add(&mut self, some: Crowd) {
            let Crowd { count, group, name, age, state, anon, swap } = some;
            for _ in 0..count {
                let pid = FIRST + self.groups.len() as i32;
                self.groups.push(group);
                let (start, zeros, pages) = (NOW - age, "0 ".repeat(8), anon / 4);
                let stat = format!(
                    "{pid} ({name}) {state} 1 {group} 1 0 -1 0 {zeros}20 0 1 0 {start} 1 {pages} 1\n"
                );
                let status =
                    format!("VmRSS:\t{anon} kB\nRssAnon:\t{anon} kB\nVmSwap:\t{swap} kB\n");
                self.fixture.process(pid, b"x", 700, 9);
                self.fixture.write(&format!("{pid}/stat"), stat);
                self.fixture.write(&format!("{pid}/status"), status);
                self.fixture.link(&format!("{pid}/exe"), &format!("/bin/{name}"));
            }
        }

        /// Makes one of them exempt.
        fn protect(&self, number: i32) {
            self.fixture.write(&format!("{}/oom_score_adj", FIRST + number), "-1000\n");
        }

        fn find(&self) -> Option<Bomb> {
            let config = Config::default().resolve(false).unwrap();
            let (patterns, unkillable) = (&config.patterns, Unkillable::default());
            let (filter, assistant) = (&mut Filter::new(patterns, b""), &mut Absent);
            let matcher = Matcher { patterns, filter, assistant, patience: Duration::ZERO };
            let proc = &mut self.fixture.open();
            let (family, seen) = (Family::now(proc, None), (&self.memory, None));
            let mut rules = Rules::new(&config, seen, Scale::Shifted, family, &unkillable, matcher);
            let limits = Limits::of(&config, &self.memory);
            let scene = Scene::of(Moment(0), self.memory, limits);
            let groups = |pid: Pid| self.groups.get((pid.number() - FIRST) as usize).copied();
            find(proc, &mut rules, &groups, &scene, (self.least, NOW)).unwrap()
        }

        /// How many there are, and what they hold in KiB.
        fn bomb(&self) -> Option<(u32, u64)> {
            self.find().map(|bomb| (bomb.count, bomb.held.0))
        }
    }

    struct Absent;

    impl Assistant for Absent {
        fn command_line(&mut self, _: Identity, _: Duration) -> Option<CommandLine> {
            None
        }

        fn is_in_place(&mut self, _: Identity, _: &[u8], _: Duration) -> Option<bool> {
            None
        }
    }

    #[test]
    fn a_group_of_many_young_ones_is_one_candidate() {
        let bomb = World::with(&[BOMB]).find().unwrap();
        assert_eq!((bomb.count, bomb.held), (40, KiB(40 * EACH)));
        assert_eq!((bomb.kind.group, bomb.kind.since), (GROUP, NOW - OLD));
        assert!(bomb.largest.id.pid.number() >= FIRST);
        let few = |count| World::with(&[Crowd { count, ..BOMB }]).bomb().is_some();
        assert_eq!([31, 32].map(few), [false, true]);
        assert_eq!([1, 8, 9, 64].map(least), [32, 32, 36, 256]);
        // What is on its way out, or has ended, is none of them.
        let dead = Crowd { count: 40, state: 'Z', ..BOMB };
        assert_eq!(World::with(&[Crowd { count: 31, ..BOMB }, dead]).bomb(), None);
    }

    #[test]
    fn half_of_them_must_be_recent_and_none_counts_that_is_old() {
        let with = |recent, older, age| {
            World::with(&[
                Crowd { count: recent, age: RECENT, ..BOMB },
                Crowd { count: older, age, ..BOMB },
            ])
            .bomb()
        };
        assert_eq!(with(20, 20, OLD), Some((40, 40 * EACH)));
        assert_eq!(with(20, 21, OLD), None);
        // An older one may be in its group.
        assert_eq!(with(40, 1, OLD + 1), Some((40, 40 * EACH)));
        assert_eq!(with(31, 1, OLD + 1), None);
        assert_eq!(with(0, 40, RECENT + 1), None);
    }

    #[test]
    fn each_group_and_each_program_counts_by_itself() {
        let of = |group, name| Crowd { count: 31, group, name, ..BOMB };
        assert_eq!(World::with(&[of(GROUP, "a"), of(GROUP, "b")]).bomb(), None);
        // Counted together at first.
        let alike = GROUP + PLACES as i32;
        assert_eq!(World::with(&[of(GROUP, "a"), of(alike, "a")]).bomb(), None);
        assert!(World::with(&[of(GROUP, "a"), of(alike, "a"), BOMB]).bomb().is_some());
        // The one that holds most.
        let larger = Crowd { group: GROUP + 1, anon: 2 * EACH, ..BOMB };
        let found = World::with(&[BOMB, larger]).find();
        assert_eq!(found.map(|bomb| bomb.kind.group), Some(GROUP + 1));
        // Groups out of sight, and init's, hold many processes, and perhaps a bomb.
        assert!(World::with(&[Crowd { group: 0, ..BOMB }]).bomb().is_some());
    }

    #[test]
    fn protected_ones_do_not_count() {
        let world = World::with(&[BOMB]);
        (0..8).for_each(|number| world.protect(number));
        assert_eq!(world.bomb(), Some((32, 32 * EACH)));
        world.protect(8);
        assert_eq!(world.bomb(), None);
    }

    #[test]
    fn of_many_only_some_are_read_in_full() {
        let world = World::with(&[Crowd { count: 200, anon: 200, ..BOMB }]);
        assert_eq!(world.bomb(), Some((200, 200 * 200)));
        // A large one among them is always read, and does not stand for others.
        let large = Crowd { count: 1, anon: 10_000, ..BOMB };
        let with_large =
            World::with(&[Crowd { count: 140, anon: 500, ..BOMB }, large]).find().unwrap();
        let held = with_large.held.0;
        assert!((72_000..=88_000).contains(&held), "{held}");
        assert_eq!(with_large.largest.rss_pages, 2500);
        // Read in full, all of these would not count.
        (0..100).for_each(|number| world.fixture.remove(&format!("{}/exe", FIRST + number)));
        assert!(world.bomb().is_some_and(|(count, _)| count > 100));
    }

    #[test]
    fn it_must_hold_more_than_any_other_candidate() {
        let other = |anon, swap| {
            let hog =
                Crowd { count: 1, group: GROUP + 1, name: "hog", age: 50, anon, swap, ..BOMB };
            let mut world = World::with(&[BOMB, hog]);
            (world.memory.swap_total, world.memory.swap_free) = (KiB::from_mib(50), KiB::ZERO);
            world
        };
        assert!(other(40 * EACH - 1, 0).bomb().is_some());
        assert!(other(40 * EACH, 0).bomb().is_none());
        assert!(other(20 * EACH, 20 * EACH).bomb().is_none());
        // One that may not be ended is no candidate.
        let protected = other(40 * EACH, 0);
        protected.protect(40);
        assert!(protected.bomb().is_some());
        // In its own group as well.
        let hog = Crowd { count: 1, name: "hog", anon: 41 * EACH, ..BOMB };
        assert!(World::with(&[BOMB, hog]).bomb().is_none());
    }

    #[test]
    fn what_they_share_counts_once() {
        // Each shows 40 MiB, which are the same.
        let workers = Crowd { anon: 40 << 10, ..BOMB };
        let hog = Crowd { count: 1, group: GROUP + 1, name: "hog", anon: 60 << 10, ..BOMB };
        let mut world = World::with(&[workers, hog]);
        world.memory.available = KiB::from_mib(20);
        assert_eq!(world.bomb(), None);
        // A hog of 30 MiB beside others that hold as much together.
        let with_others = |count| {
            let hog = Crowd { count, group: GROUP + 1, name: "hog", anon: 30 << 10, ..BOMB };
            let mut world = World::with(&[workers, hog]);
            // The end of one would not do, with all that it shows.
            world.memory.available = KiB::from_mib(20);
            world
        };
        assert_eq!(with_others(1).bomb(), Some((40, 70 << 10)));
        assert_eq!(with_others(2).bomb(), Some((40, 40 << 10)));
        assert_eq!(with_others(3).bomb(), None);
        // These share as well: together they show more than there is.
        assert_eq!(with_others(4).bomb(), Some((40, 70 << 10)));
        // Some containers do not tell what there is.
        (world.memory.anon, world.memory.available) = (KiB::ZERO, KiB::ZERO);
        assert_eq!(world.bomb(), Some((40, 40 * (40 << 10))));
    }

    #[test]
    fn the_end_of_the_largest_alone_must_not_do() {
        let with = |anon| {
            let large = Crowd { count: 1, anon, ..BOMB };
            World::with(&[BOMB, large]).bomb().is_some()
        };
        // From 90 MiB to more than 100 and noise.
        assert_eq!([14_240, 14_241].map(with), [true, false]);
    }
}
