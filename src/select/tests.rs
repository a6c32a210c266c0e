//! The search in worlds of the tests' own making.

// Without patterns, the tests of them are left out.
#![cfg_attr(not(feature = "patterns"), allow(dead_code))]

use super::*;
use crate::kill::low_memory::LowMemory;
use crate::memory::Memory;
use crate::pattern::Pattern;
use crate::policy::{FillRate, Limits, Scene};
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::cgroup::Cgroup;
use crate::procfs::fixture::{stat_line, Fixture};
use crate::procfs::meminfo::MemInfo;
use crate::procfs::process::CommandLine;
use crate::procfs::Proc;
use crate::settings::Config;
use crate::sys::arena::counted;
use crate::sys::machine;
use crate::units::{Identity, KiB, Moment, Path, Pid};
use std::time::Duration;

/// Numbers that no process of the machine has on which the test runs.
const FIRST: i32 = 4_150_000;
/// Pages of 4 KiB in 100 MiB.
const LARGE: u64 = 25_600;

struct World {
    fixture: Fixture,
    settings: Config,
    scale: Scale,
    memory: Memory,
}

impl World {
    fn new() -> World {
        let fixture = Fixture::new();
        fixture.write("meminfo", MEMINFO);
        let total = KiB::from_mib(24_000);
        let memory = Memory { total, user: total, available: total, ..Memory::default() };
        World { fixture, settings: Config::default(), scale: Scale::Shifted, memory }
    }

    fn add(&self, number: i32, score: i32, pages: u64) {
        self.fixture.process(FIRST + number, b"x", score, pages);
    }

    fn with_rules<T>(&self, act: impl FnOnce(&mut Proc, &mut Rules<'_>) -> T) -> T {
        self.with_rules_for(None, &mut self.fixture.open(), act)
    }

    fn with_rules_for<T>(
        &self,
        cgroup: Option<&Cgroup>,
        proc: &mut Proc,
        act: impl FnOnce(&mut Proc, &mut Rules<'_>) -> T,
    ) -> T {
        let config = self.settings.clone().resolve(false).unwrap();
        let patterns = &config.patterns;
        let (filter, assistant) = (&mut Filter::new(patterns, b""), &mut Absent);
        let matcher = Matcher { patterns, filter, assistant, patience: Duration::ZERO };
        let (family, unkillable) = (Family::now(proc, None), Unkillable::default());
        let seen = (&self.memory, cgroup);
        act(proc, &mut Rules::new(&config, seen, self.scale, family, &unkillable, matcher))
    }

    fn find(&self) -> Found {
        self.with_rules(|proc, rules| find(proc, rules, &self.memory).unwrap())
    }

    /// The victim's number, counted from `FIRST`.
    fn victim(&self) -> Option<i32> {
        self.find().best.map(|best| best.id().pid.number() - FIRST)
    }

    /// Has processes of these names preferred, avoided or ignored.
    fn set_patterns(&mut self, of_names: &[(&str, Wish)]) {
        let patterns = &mut self.settings.patterns;
        *patterns = Default::default();
        for (name, wish) in of_names {
            let list = match wish {
                Wish::Prefer => &mut patterns.prefer,
                Wish::Avoid => &mut patterns.avoid,
                Wish::Ignore => &mut patterns.ignore,
                Wish::Nothing => continue,
            };
            list.push(Pattern::parse(format!("^{name}$").as_bytes()).unwrap());
        }
    }
}

/// The number of the process that leaves, counted from `FIRST`.
fn number_leaving(proc: &mut Proc, rules: &Rules<'_>, found: &Found) -> Option<i32> {
    leaving(proc, rules, &found.empty).map(|id| id.pid.number() - FIRST)
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

/// What a pattern is for.
#[derive(Clone, Copy, PartialEq)]
enum Wish {
    Prefer,
    Avoid,
    Ignore,
    Nothing,
}

use Wish::{Avoid, Ignore, Nothing, Prefer};

#[test]
#[cfg(feature = "patterns")]
fn patterns_raise_lower_and_protect() {
    let victim = |wishes: &[(&str, Wish)], by_rss| {
        let mut world = World::new();
        world.settings.choice.sort_by_rss = by_rss;
        world.fixture.process(FIRST + 1, b"a", 700, 10 * LARGE);
        world.fixture.process(FIRST + 2, b"b", 690, 9 * LARGE);
        world.fixture.process(FIRST + 3, b"c", 680, 8 * LARGE);
        world.set_patterns(wishes);
        world.victim()
    };
    for by_rss in [false, true] {
        assert_eq!(victim(&[], by_rss), Some(1));
        assert_eq!(victim(&[("c", Prefer)], by_rss), Some(3));
        assert_eq!(victim(&[("a", Avoid)], by_rss), Some(2));
        assert_eq!(victim(&[("a", Ignore), ("b", Avoid)], by_rss), Some(3));
        assert_eq!(victim(&[("a", Ignore), ("b", Ignore), ("c", Ignore)], by_rss), None);
        assert_eq!(victim(&[("a", Prefer), ("b", Prefer)], by_rss), Some(1));
    }
}

#[test]
#[cfg(feature = "patterns")]
fn one_that_stands_out_costs_one_file_a_process_with_patterns_too() {
    let mut world = World::new();
    (1..=300).for_each(|number| world.add(number, 666, 100));
    world.add(301, 933, LARGE);
    world.set_patterns(&[("y", Prefer), ("z", Avoid)]);
    let found = world.find();
    assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 301);
    assert!(found.files <= 301 + 2, "{} files", found.files);
}

#[test]
#[cfg(feature = "patterns")]
fn a_preferred_one_is_found_among_many_alike() {
    let mut world = World::new();
    (1..=300).for_each(|number| world.add(number, 690, LARGE));
    world.fixture.process(FIRST + 200, b"y", 690, LARGE);
    world.set_patterns(&[("y", Prefer)]);
    let found = world.find();
    assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 200);
    assert!(found.files <= 2 * 300 + shortlist::LEN as u32 + 4, "{} files", found.files);
}

/// What a process shows, and what patterns say of its name.
struct Shown {
    id: Identity,
    score: i32,
    adj: i32,
    rss: KiB,
    swap: KiB,
    wish: Wish,
}

/// The rank that `find` must come to: the greatest of all, with all that counts.
fn first_of_all<'a>(all: impl Iterator<Item = &'a Shown>, rules: &Rules<'_>) -> Option<Rank> {
    let is_eligible = |shown: &&Shown| {
        let zero_is_exempt = rules.scale == Scale::Shifted;
        let is_exempt = shown.score == 0 && (zero_is_exempt || shown.adj == -1000);
        !is_exempt && shown.wish != Ignore
    };
    let rank = |shown: &Shown| {
        let raise =
            if rules.config.choice.ignore_positive_adj { i64::from(shown.adj.max(0)) } else { 0 };
        let points = match rules.config.choice.sort_by_rss {
            true => shown.rss.0 as i64,
            false => rules.scale.points(shown.score) - raise,
        };
        let bonus = match shown.wish {
            Prefer => rules.bonus,
            Avoid => -rules.bonus,
            Ignore | Nothing => 0,
        };
        rules.rank(points + bonus, shown.rss.plus(shown.swap), shown.id)
    };
    all.filter(is_eligible).map(rank).max()
}

#[test]
fn the_winner_is_the_one_that_comparing_all_would_give() {
    // xorshift64 (Marsaglia 2003): the same worlds each time.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    let names = ["a", "b", "c", "d"];
    // More than the shortlist holds; scores close together and far apart.
    for width in [1, 30, 150, 150, 300, 600] {
        let mut world = World::new();
        let has_swap = below(2) == 0;
        let mut all = Vec::new();
        for number in 0..shortlist::LEN as i32 + 16 {
            let score = if below(20) == 0 { 0 } else { (400 + below(width)) as i32 };
            let adj = match (score, below(4)) {
                (0, 0) => -1000,
                (_, adj) => 200 * adj as i32 - 200,
            };
            // Small ones have the higher scores, now and then.
            let is_small = width == 300 && score > 420 || below(3) == 0;
            let pages = if is_small { below(3000) } else { below(60_000) };
            let swap = KiB(if has_swap { below(10_000) } else { 0 });
            let (pid, name) = (FIRST + number, (below(12) as usize).min(3));
            world.fixture.process(pid, names[name].as_bytes(), score, pages);
            world.fixture.write(&format!("{pid}/oom_score_adj"), format!("{adj}\n"));
            world.fixture.write(&format!("{pid}/status"), format!("VmSwap:\t{} kB\n", swap.0));
            let rss = KiB::from_pages(pages, machine::page());
            // As the fixture has it.
            let id = Identity { pid: Pid::new(pid.into()).unwrap(), start: pid as u64 * 10 };
            let shown = Shown { id, score, adj, rss, swap, wish: Nothing };
            all.push((name, shown));
        }
        world.memory.swap_total = if has_swap { KiB(10_000) } else { KiB::ZERO };
        for round in 0..40 {
            world.settings.choice.sort_by_rss = below(4) == 0;
            world.settings.choice.ignore_positive_adj = below(3) == 0;
            world.settings.choice.min_rss = (below(3) == 0).then_some(KiB(4 * below(20_000)));
            world.scale = if below(3) == 0 { Scale::Plain } else { Scale::Shifted };
            let mut wishes = names.map(|_| [Prefer, Avoid, Ignore, Nothing][below(4) as usize]);
            if below(4) == 0 || !cfg!(feature = "patterns") {
                wishes = [Nothing; 4];
            }
            all.iter_mut().for_each(|(name, shown)| shown.wish = wishes[*name]);
            let of_names: Vec<_> = names.into_iter().zip(wishes).collect();
            world.set_patterns(&of_names);
            world.with_rules(|proc, rules| {
                let found = find(proc, rules, &world.memory).unwrap();
                let rank = found.best.map(|best| best.rank);
                let expected = first_of_all(all.iter().map(|(_, shown)| shown), rules);
                assert_eq!(rank, expected, "round {round}, scores over {width}");
            });
        }
    }
}

const MEMINFO: &str = "MemTotal: 24576000 kB\nMemAvailable: 1000000 kB\n\
    AnonPages: 20000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";

#[test]
fn the_highest_score_goes_first() {
    let world = World::new();
    (1..=5).for_each(|number| world.add(number, 666 + number, LARGE));
    assert_eq!(world.victim(), Some(5));
}

#[test]
fn one_that_stands_out_costs_one_file_a_process() {
    let world = World::new();
    (1..=300).for_each(|number| world.add(number, 666, 100));
    world.add(301, 933, LARGE);
    let found = world.find();
    assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 301);
    assert!(found.files <= 301 + 10, "{} files", found.files);
}

#[test]
fn where_all_score_alike_the_largest_of_all_goes_at_two_files_a_process() {
    for largest in [1, 150, 300] {
        let world = World::new();
        // The first of the others is the largest of them.
        for number in 1..=300 {
            world.add(number, 666, if number == largest { 800 } else { 700 - number as u64 });
        }
        assert_eq!(world.victim(), Some(largest));
        let found = world.find();
        assert_eq!(found.best.unwrap().id().pid.number(), FIRST + largest);
        let limit = 2 * 300 + shortlist::LEN as u32 + 20;
        assert!(found.files <= limit, "{} files", found.files);
    }
}

#[test]
fn of_equals_the_youngest_goes_at_one_more_file_each() {
    let world = World::new();
    (1..=300).for_each(|number| world.add(number, 666, 100));
    let found = world.find();
    assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 300);
    let limit = 3 * 300 + shortlist::LEN as u32 + 20;
    assert!(found.files <= limit, "{} files", found.files);
    // Numbers have begun anew: the youngest has a low one.
    let line = String::from_utf8(stat_line(FIRST + 7, b"x", b'S', 0, 1, 100)).unwrap();
    let start = |pid: i32| format!(" {} ", pid * 10);
    let later = line.replace(&start(FIRST + 7), &start(FIRST + 301));
    world.fixture.write(&format!("{}/stat", FIRST + 7), later);
    assert_eq!(world.victim(), Some(7));
}

#[test]
fn a_large_one_behind_many_small_ones_with_more_points_is_found() {
    let world = World::new();
    (1..=200).for_each(|number| world.add(number, 900, 100));
    world.add(201, 700, LARGE);
    assert_eq!(world.victim(), Some(201));
}

#[test]
fn small_ones_are_spared_only_while_there_is_a_larger_one() {
    let world = World::new();
    world.add(1, 933, 1000);
    world.add(2, 700, LARGE);
    assert_eq!(world.victim(), Some(2));
    world.fixture.remove(&format!("{}", FIRST + 2));
    assert_eq!(world.victim(), Some(1));
}

#[test]
fn min_rss_of_zero_spares_no_process() {
    let mut world = World::new();
    world.settings.choice.min_rss = Some(KiB::ZERO);
    world.add(1, 933, 1000);
    world.add(2, 700, LARGE);
    assert_eq!(world.victim(), Some(1));
}

#[test]
fn swap_counts_into_size() {
    let mut world = World::new();
    world.memory.swap_total = KiB::from_mib(1000);
    world.add(1, 700, LARGE);
    world.add(2, 700, LARGE);
    let status = |number: i32, swap: u64| {
        let path = format!("{}/status", FIRST + number);
        world.fixture.write(&path, format!("VmSwap:\t{swap} kB\n"));
    };
    status(1, 5000);
    status(2, 100);
    assert_eq!(world.victim(), Some(1));
    status(2, 5001);
    assert_eq!(world.victim(), Some(2));
}

#[test]
fn by_rss_the_score_does_not_matter_unless_it_exempts() {
    let mut world = World::new();
    world.settings.choice.sort_by_rss = true;
    world.add(1, 900, LARGE);
    world.add(2, 670, 2 * LARGE);
    world.add(3, 0, 3 * LARGE);
    assert_eq!(world.victim(), Some(2));
}

#[test]
fn before_5_9_a_score_of_zero_is_a_candidate_unless_it_asked_not_to_be() {
    let mut world = World::new();
    world.scale = Scale::Plain;
    world.add(1, 0, LARGE);
    world.add(2, 0, 2 * LARGE);
    assert_eq!(world.victim(), Some(2));
    world.fixture.write(&format!("{}/oom_score_adj", FIRST + 2), "-1000\n");
    assert_eq!(world.victim(), Some(1));
    world.scale = Scale::Shifted;
    assert_eq!(world.victim(), None);
}

#[test]
fn a_positive_adj_can_be_ignored() {
    let mut world = World::new();
    world.settings.choice.ignore_positive_adj = true;
    world.add(1, 933, LARGE);
    world.fixture.write(&format!("{}/oom_score_adj", FIRST + 1), "390\n");
    world.add(2, 700, LARGE);
    assert_eq!(world.victim(), Some(2));
}

#[test]
fn a_zombie_leader_counts_with_what_its_threads_hold() {
    for by_rss in [false, true] {
        let mut world = World::new();
        world.settings.choice.sort_by_rss = by_rss;
        world.add(1, 700, LARGE);
        world.add(2, 700, 0);
        let leader = FIRST + 2;
        let zombie = stat_line(leader, b"x", b'Z', 0, 2, 0);
        world.fixture.write(&format!("{leader}/stat"), zombie);
        let thread = stat_line(leader + 1, b"x", b'S', 0, 2, 2 * LARGE);
        world.fixture.write(&format!("{leader}/task/{}/stat", leader + 1), thread);
        world.fixture.write(&format!("{leader}/task/{leader}/stat"), "");
        assert_eq!(world.victim(), Some(2));
    }
}

#[test]
fn kernel_threads_and_the_dead_are_no_candidates() {
    let mut world = World::new();
    world.scale = Scale::Plain;
    world.add(1, 0, 0);
    let thread = stat_line(FIRST + 1, b"kthreadd", b'S', 0x0020_8040, 1, 0);
    world.fixture.write(&format!("{}/stat", FIRST + 1), thread);
    world.add(2, 0, 0);
    let zombie = stat_line(FIRST + 2, b"x", b'Z', 0, 1, 0);
    world.fixture.write(&format!("{}/stat", FIRST + 2), zombie);
    assert_eq!(world.victim(), None);
}

#[test]
fn files_that_vanish_or_are_garbage_cost_one_candidate_and_no_more() {
    for (file, content) in [
        ("oom_score", None),
        ("stat", None),
        ("status", None),
        ("oom_score", Some("")),
        ("oom_score", Some("abc")),
        ("stat", Some("")),
        ("stat", Some("4150002 (x")),
        ("stat", Some("1 (init) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 99 0\n")),
    ] {
        let mut world = World::new();
        world.memory.swap_total = KiB(1);
        world.add(1, 700, LARGE);
        world.add(2, 900, LARGE);
        let path = format!("{}/{file}", FIRST + 2);
        match content {
            Some(content) => world.fixture.write(&path, content),
            None => world.fixture.remove(&path),
        }
        assert_eq!(world.victim(), Some(1), "{file} {content:?}");
    }
}

#[test]
fn a_second_look_sees_another_process_under_the_same_number() {
    let world = World::new();
    world.add(1, 700, LARGE);
    let best = world.find().best.unwrap();
    let again = |world: &World| {
        world.with_rules(|proc, rules| look_at(proc, rules, &world.memory, best.id()).is_ok())
    };
    assert!(again(&world));
    let line = stat_line(FIRST + 1, b"x", b'S', 0, 1, LARGE);
    let later = String::from_utf8(line).unwrap().replace(&format!("{}", (FIRST + 1) * 10), "77");
    world.fixture.write(&format!("{}/stat", FIRST + 1), later);
    assert!(!again(&world));
}

#[test]
fn one_that_leaves_is_told_of_while_its_memory_may_come_back() {
    const EXITING: u32 = 0x4;
    const KERNEL: u32 = 0x0020_0000;
    for (state, flags, threads, expected) in [
        (b'R', EXITING, 1, Some(2)),
        // The leader has ended, and a thread that is left holds no memory either.
        (b'Z', EXITING, 2, Some(2)),
        (b'Z', EXITING, 1, None),
        (b'R', EXITING | KERNEL, 1, None),
        (b'S', 0, 1, None),
    ] {
        let mut world = World::new();
        world.add(1, 700, LARGE);
        world.add(2, 0, 0);
        let line = |pid, state| stat_line(pid, b"x", state, flags, threads, 0);
        let (leader, thread) = (FIRST + 2, FIRST + 3);
        world.fixture.write(&format!("{leader}/stat"), line(leader, state));
        world.fixture.write(&format!("{leader}/task/{thread}/stat"), line(thread, b'R'));
        for by_rss in [false, true] {
            world.settings.choice.sort_by_rss = by_rss;
            world.with_rules(|proc, rules| {
                let found = find(proc, rules, &world.memory).unwrap();
                let leaving = number_leaving(proc, rules, &found);
                assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 1);
                assert_eq!(leaving, expected, "{} {flags} {threads}", char::from(state));
            });
        }
    }
}

#[test]
fn a_leader_whose_threads_live_on_does_not_leave() {
    let world = World::new();
    world.add(1, 0, 0);
    let leader = FIRST + 1;
    world.fixture.write(&format!("{leader}/stat"), stat_line(leader, b"x", b'Z', 4, 2, 0));
    let thread = stat_line(leader + 1, b"x", b'S', 0, 2, LARGE);
    world.fixture.write(&format!("{leader}/task/{}/stat", leader + 1), thread);
    world.with_rules(|proc, rules| {
        let found = find(proc, rules, &world.memory).unwrap();
        assert_eq!(number_leaving(proc, rules, &found), None);
    });
}

#[test]
fn a_group_with_a_protected_member_says_so() {
    let world = World::new();
    world.add(1, 700, LARGE);
    world.add(2, 700, LARGE);
    let member = String::from_utf8(stat_line(FIRST + 2, b"x", b'S', 0, 1, LARGE)).unwrap();
    let own_group = format!("1 {0} {0}", FIRST + 2);
    let member = member.replace(&own_group, &format!("1 {0} {0}", FIRST + 1));
    world.fixture.write(&format!("{}/stat", FIRST + 2), member);
    let of = |world: &World, number| {
        world.with_rules(|proc, rules| {
            let oom_group = OomGroup::open(proc);
            members(proc, rules, &oom_group, Group::Processes(number), None)
        })
    };
    let free = of(&world, FIRST + 1).unwrap();
    assert_eq!((free.living, free.exempt, free.held.total()), (2, 0, KiB::from_mib(200)));
    world.fixture.write(&format!("{}/oom_score_adj", FIRST + 2), "-1000\n");
    let why = of(&world, FIRST + 1).unwrap_err();
    let exempt = Pid::new((FIRST + 2).into()).unwrap();
    assert!(matches!(why, Alone::Holds(pid, Protection::Exempt) if pid == exempt), "{why:?}");
    // Out of sight, or "all" to kill(2).
    for number in [0, 1] {
        assert!(matches!(of(&world, number), Err(Alone::NoGroup)), "{number}");
    }
}

#[test]
fn what_cannot_be_read_of_a_member_spares_its_group() {
    for (name, with_cgroup_file) in
        [("stat", true), ("cgroup", true), ("oom_score_adj", true), ("stat", false)]
    {
        let world = World::new();
        (1..=3).for_each(|number| world.add(number, 700, LARGE));
        world.fixture.write("cg/web/memory.oom.group", "1\n");
        with_cgroup(&world, &[1, 2], &mut |proc, rules| {
            let mut oom_group = OomGroup::open(proc);
            let group = match with_cgroup_file {
                true => Group::Cgroup,
                false => Group::Processes(FIRST + 1),
            };
            assert!(oom_group.find(b"/web/worker", None));
            assert!(members(proc, rules, &oom_group, group, None).is_ok());
            // A directory cannot be read.
            let file = format!("{}/{name}", FIRST + 2);
            world.fixture.remove(&file);
            world.fixture.write(&format!("{file}/x"), "");
            let told = members(proc, rules, &oom_group, group, None);
            let expected = match name {
                "oom_score_adj" => matches!(told, Err(Alone::Holds(_, Protection::Unreadable))),
                _ => matches!(told, Err(Alone::Unknown)),
            };
            assert!(expected, "{name}: {told:?}");
            // It has ended.
            world.fixture.remove(&(FIRST + 2).to_string());
            assert!(members(proc, rules, &oom_group, group, None).is_ok());
        });
    }
}

/// A machine with a cgroup `web`, and the processes that are in it.
fn with_cgroup(world: &World, within: &[i32], act: &mut dyn FnMut(&mut Proc, &mut Rules<'_>)) {
    let point = world.fixture.path("cg");
    let mount = format!("30 22 0:26 / {} rw - cgroup2 cgroup2 rw\n", point);
    world.fixture.write("self/mountinfo", mount);
    for (name, text) in [("max", "1073741824"), ("current", "0"), ("stat", "anon 0")] {
        world.fixture.write(&format!("cg/web/memory.{name}"), format!("{text}\n"));
    }
    let proc = &mut world.fixture.open();
    let mut pids = Vec::new();
    proc.for_each(|_, pid| pids.push(pid.number())).unwrap();
    for pid in pids {
        let path = if within.contains(&(pid - FIRST)) { "/web/worker" } else { "/other" };
        world.fixture.write(&format!("{pid}/cgroup"), format!("0::{path}\n"));
    }
    let cgroup = Cgroup::find(proc, Some(&Path::of(b"/web")));
    world.with_rules_for(cgroup.as_ref(), proc, |proc, rules| act(proc, rules));
}

#[test]
fn the_cgroup_of_a_victim_goes_before_its_process_group_unless_it_holds_a_protected_process() {
    let mut world = World::new();
    world.settings.kill_group = true;
    (1..=5).for_each(|number| world.add(number, 700, LARGE));
    world.fixture.write("cg/web/memory.oom.group", "1\n");
    let company = |world: &World, within: &[i32], for_memory: bool| {
        let mut company = Company::default();
        with_cgroup(world, within, &mut |proc, rules| {
            let stat = proc.stat(Pid::new((FIRST + 1).into()).unwrap()).unwrap();
            let mut oom_group = OomGroup::open(proc);
            let held = proc.status(&stat).unwrap().held();
            let path = for_memory.then_some(&b"/web/worker"[..]);
            company = Company::of(proc, rules, &mut oom_group, (&stat, held), path);
        });
        company
    };
    world.fixture.write(&format!("{}/oom_score_adj", FIRST + 2), "-1000\n");
    let Company { members, spared } = company(&world, &[1, 2, 3, 4], true);
    let members = members.unwrap();
    assert_eq!((members.group, members.living, members.exempt), (Group::Cgroup, 3, 1));
    assert_eq!(members.held.total(), KiB::from_mib(300));
    assert!(spared.iter().all(Option::is_none));
    let own_group = Group::Processes(FIRST + 1);
    // For the limit of a process its process group alone.
    assert_eq!(company(&world, &[1, 3], false).members.unwrap().group, own_group);
    world.settings.choice.ignore_root_user = true;
    world.settings.kill_group = false;
    let Company { members, spared } = company(&world, &[1, 3], true);
    assert!(members.is_none());
    let holds = |why: &Alone| matches!(why, Alone::Holds(_, Protection::Root));
    assert!(matches!(&spared[0], Some((Group::Cgroup, why)) if holds(why)), "{spared:?}");
}

#[test]
fn only_what_is_within_the_cgroup_goes_and_only_for_it_a_file_more_is_read() {
    let world = World::new();
    // More outside than the short list has room for, all of them before those within.
    (100..200).for_each(|number| world.add(number, 900, 10 * LARGE));
    (1..=50).for_each(|number| world.add(number, 700, LARGE + number as u64));
    let within: Vec<_> = (1..=50).collect();
    with_cgroup(&world, &within, &mut |proc, rules| {
        let best = find(proc, rules, &world.memory).unwrap().best.unwrap();
        assert_eq!(best.id().pid.number() - FIRST, 50);
        // It moves away between choice and signal.
        assert!(look_at(proc, rules, &world.memory, best.id()).is_ok());
        world.fixture.write(&format!("{}/cgroup", FIRST + 50), "0::/webs\n");
        let again = look_at(proc, rules, &world.memory, best.id());
        assert_eq!(again.err(), Some(Protection::Outside));
        assert_eq!(rules.protection(proc, &best.stat), Some(Protection::Outside));
    });
    with_cgroup(&world, &[], &mut |proc, rules| {
        assert!(find(proc, rules, &world.memory).unwrap().best.is_none());
    });
    // Memory that comes back outside does not come back within.
    world.add(3, 0, 0);
    let exiting = stat_line(FIRST + 3, b"x", b'R', 4, 1, 0);
    world.fixture.write(&format!("{}/stat", FIRST + 3), exiting);
    for (within, expected) in [(vec![], None), (vec![3], Some(3))] {
        with_cgroup(&world, &within, &mut |proc, rules| {
            let found = find(proc, rules, &world.memory).unwrap();
            assert_eq!(number_leaving(proc, rules, &found), expected);
        });
    }
    // One that stands out: each of all is read once, and of it `stat` and `cgroup`.
    let world = World::new();
    (1..=50).for_each(|number| world.add(number, 700, LARGE));
    world.add(60, 900, 10 * LARGE);
    with_cgroup(&world, &[60], &mut |proc, rules| {
        let found = find(proc, rules, &world.memory).unwrap();
        assert_eq!((found.best.is_some(), found.files), (true, 51 + 2));
    });
}

#[test]
fn a_bonus_is_a_share_of_the_limit() {
    let mut world = World::new();
    world.memory.machine = KiB::from_mib(24_000);
    world.with_rules(|_, rules| assert_eq!(rules.bonus, 300));
    world.memory.total = KiB::from_mib(2_400);
    with_cgroup(&world, &[], &mut |_, rules| assert_eq!(rules.bonus, 30));
    world.memory.total = KiB(1);
    with_cgroup(&world, &[], &mut |_, rules| assert_eq!(rules.bonus, 1));
    world.settings.choice.sort_by_rss = true;
    world.memory.total = KiB(1000);
    with_cgroup(&world, &[], &mut |_, rules| assert_eq!(rules.bonus, 300));
}

#[test]
fn ten_thousand_looks_and_a_scan_allocate_nothing() {
    let world = World::new();
    (1..=200).for_each(|number| world.add(number, 666, 100));
    let config = world.settings.clone().resolve(false).unwrap();
    let mut low = LowMemory::new(&config);
    let mut rate = FillRate::new(KiB(1000));
    world.with_rules(|proc, rules| {
        let meminfo = MemInfo::open(proc).unwrap();
        let before = counted::allocations();
        for round in 0..10_000 {
            let memory = meminfo.read(proc).unwrap();
            let (now, limits) = (Moment(round * 1_000_000), Limits::of(&config, &memory));
            rate.observe(memory.available, now);
            let _ = low.step(&Scene::of(now, memory, limits));
        }
        let found = find(proc, rules, &world.memory).unwrap();
        assert_eq!(counted::allocations(), before);
        assert_eq!(found.seen, 200);
    });
}
