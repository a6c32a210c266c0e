//! The search in worlds of the tests' own making.

use super::*;
use crate::filter::Spared;
use crate::kill::{Look, Machine};
use crate::policy::{FillRate, Limits};
use crate::procfs::cgroup::Cgroup;
use crate::procfs::fixture::{stat_line, Fixture};
use crate::procfs::meminfo::MemInfo;
use crate::settings::Config;
use crate::sys::arena::counted;
use crate::units::{Moment, Path};
use crate::victim::{Remembered, Scale, Standing};

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

    fn with_rules<T>(&self, act: impl FnOnce(&mut Proc, &Rules<'_>) -> T) -> T {
        let config = self.settings.clone().resolve(false).unwrap();
        let mut proc = self.fixture.open();
        let (family, left) = (family(&mut proc, None), Remembered::default());
        let rules = Rules::new(&config, self.memory.total, self.scale, family, &left);
        act(&mut proc, &rules)
    }

    fn find(&self) -> Found {
        self.find_with(&mut ByName(Vec::new()))
    }

    fn find_with(&self, judge: &mut dyn Judge) -> Found {
        self.with_rules(|proc, rules| found(proc, rules, judge, &self.memory))
    }

    /// The victim's number, counted from `FIRST`.
    fn victim(&self) -> Option<i32> {
        self.find().best.map(|best| best.id().pid.number() - FIRST)
    }
}

struct Found {
    best: Option<Candidate>,
    seen: u32,
    files: u32,
    leaving: Option<i32>,
}

fn found(proc: &mut Proc, rules: &Rules<'_>, judge: &mut dyn Judge, memory: &Memory) -> Found {
    let (mut best, mut empty) = (None, Empty::new());
    let Cost { seen, files } = find(proc, rules, judge, memory, &mut best, &mut empty).unwrap();
    let leaving = leaving(proc, rules, &empty).map(|id| id.pid.number() - FIRST);
    Found { best, seen, files, leaving }
}

/// What patterns would say, by name.
struct ByName(Vec<(&'static [u8], Verdict)>);

impl Judge for ByName {
    fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    fn may_prefer(&self) -> bool {
        self.0.iter().any(|(_, verdict)| verdict.prefer.is_some())
    }

    fn judge(&mut self, _: &mut Proc, stat: &Stat) -> Verdict {
        let of_name = self.0.iter().find(|(name, _)| *name == stat.comm.as_bytes());
        of_name.map_or(Verdict::default(), |(_, verdict)| *verdict)
    }

    fn met(&mut self, _: &Candidate) {}
}

const PREFERRED: Verdict = Verdict { prefer: Some(0), avoid: None, spared: None };
const AVOIDED: Verdict = Verdict { prefer: None, avoid: Some(0), spared: None };
const IGNORED: Verdict =
    Verdict { prefer: None, avoid: None, spared: Some(Spared::Ignored(Some(0))) };

#[test]
fn patterns_raise_lower_and_spare() {
    let victim = |verdicts: Vec<(&'static [u8], Verdict)>, by_rss| {
        let mut world = World::new();
        world.settings.choice.sort_by_rss = by_rss;
        world.fixture.process(FIRST + 1, b"a", 700, 10 * LARGE);
        world.fixture.process(FIRST + 2, b"b", 690, 9 * LARGE);
        world.fixture.process(FIRST + 3, b"c", 680, 8 * LARGE);
        let found = world.find_with(&mut ByName(verdicts));
        found.best.map(|best| best.id().pid.number() - FIRST)
    };
    for by_rss in [false, true] {
        assert_eq!(victim(vec![], by_rss), Some(1));
        assert_eq!(victim(vec![(b"c", PREFERRED)], by_rss), Some(3));
        assert_eq!(victim(vec![(b"a", AVOIDED)], by_rss), Some(2));
        assert_eq!(victim(vec![(b"a", IGNORED), (b"b", AVOIDED)], by_rss), Some(3));
        let all = vec![(&b"a"[..], IGNORED), (b"b", IGNORED), (b"c", IGNORED)];
        assert_eq!(victim(all, by_rss), None);
        assert_eq!(victim(vec![(b"a", PREFERRED), (b"b", PREFERRED)], by_rss), Some(1));
    }
}

#[test]
fn one_that_stands_out_costs_one_file_a_process_with_patterns_too() {
    let world = World::new();
    (1..=300).for_each(|number| world.add(number, 666, 100));
    world.add(301, 933, LARGE);
    let found = world.find_with(&mut ByName(vec![(b"y", PREFERRED), (b"z", AVOIDED)]));
    assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 301);
    assert!(found.files <= 301 + 2, "{} files", found.files);
}

#[test]
fn a_preferred_one_is_found_among_many_alike() {
    let world = World::new();
    (1..=300).for_each(|number| world.add(number, 690, LARGE));
    world.fixture.process(FIRST + 200, b"y", 690, LARGE);
    let found = world.find_with(&mut ByName(vec![(b"y", PREFERRED)]));
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
    verdict: Verdict,
}

/// The place that `find` must come to: all that counts of everyone, and the greatest.
fn first_of_all<'a>(all: impl Iterator<Item = &'a Shown>, rules: &Rules<'_>) -> Option<Standing> {
    let exempt = |shown: &&Shown| {
        shown.score == 0 && (rules.zero_is_exempt() || shown.adj == -1000)
            || shown.verdict.spared.is_some()
    };
    let standing = |shown: &Shown| {
        let raise = if rules.ignore_positive_adj { i64::from(shown.adj.max(0)) } else { 0 };
        let points = match rules.ranking {
            Ranking::OomScore => rules.scale.points(shown.score) - raise,
            Ranking::Rss => points_of(shown.rss),
        };
        let points = points + rules.bonus_for(&shown.verdict);
        rules.standing(points, shown.rss.plus(shown.swap), shown.id)
    };
    all.filter(|shown| !exempt(shown)).map(standing).max()
}

#[test]
fn the_winner_is_the_one_that_comparing_everyone_would_give() {
    // xorshift64 (Marsaglia 2003): the same worlds each time.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
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
            world.fixture.process(pid, names[name], score, pages);
            world.fixture.write(&format!("{pid}/oom_score_adj"), format!("{adj}\n"));
            world.fixture.write(&format!("{pid}/status"), format!("VmSwap:\t{} kB\n", swap.0));
            let rss = KiB::from_pages(pages, machine::page());
            // As the fixture has it.
            let id = Identity { pid: Pid::new(pid.into()).unwrap(), start: pid as u64 * 10 };
            let shown = Shown { id, score, adj, rss, swap, verdict: Verdict::default() };
            all.push((name, shown));
        }
        world.memory.swap_total = if has_swap { KiB(10_000) } else { KiB::ZERO };
        for round in 0..40 {
            world.settings.choice.sort_by_rss = below(4) == 0;
            world.settings.choice.ignore_positive_adj = below(3) == 0;
            world.settings.choice.min_rss = (below(3) == 0).then_some(KiB(4 * below(20_000)));
            world.scale = if below(3) == 0 { Scale::Plain } else { Scale::Shifted };
            let verdicts = [PREFERRED, AVOIDED, IGNORED, Verdict::default()];
            let mut verdicts = names.map(|_| verdicts[below(4) as usize]);
            if below(4) == 0 {
                verdicts = [Verdict::default(); 4];
            }
            all.iter_mut().for_each(|(name, shown)| shown.verdict = verdicts[*name]);
            let mut judge = ByName(names.into_iter().zip(verdicts).collect());
            world.with_rules(|proc, rules| {
                let found = found(proc, rules, &mut judge, &world.memory);
                let standing = found.best.map(|best| best.standing);
                let expected = first_of_all(all.iter().map(|(_, shown)| shown), rules);
                assert_eq!(standing, expected, "round {round}, scores over {width}");
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
fn min_rss_of_zero_spares_nobody() {
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
    let mut best = world.find().best.unwrap();
    let mut again = |world: &World| {
        world.with_rules(|proc, rules| {
            again(proc, rules, &mut ByName(Vec::new()), &world.memory, &mut best)
        })
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
            let found = world.find();
            assert_eq!(found.best.unwrap().id().pid.number(), FIRST + 1);
            assert_eq!(found.leaving, expected, "{} {flags} {threads}", char::from(state));
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
    assert_eq!(world.find().leaving, None);
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
    let leader = Pid::new((FIRST + 1).into()).unwrap();
    let of = |world: &World| {
        world.with_rules(|proc, rules| group(proc, rules, &mut ByName(Vec::new()), leader).unwrap())
    };
    let free = of(&world);
    assert_eq!((free.living, free.held.total()), (2, KiB::from_mib(200)));
    assert!(free.protected.is_none());
    world.fixture.write(&format!("{}/oom_score_adj", FIRST + 2), "-1000\n");
    let (pid, why) = of(&world).protected.unwrap();
    assert_eq!((pid.number(), why), (FIRST + 2, Protection::Exempt));
}

/// A machine with a cgroup `web`, and who is in it.
fn with_cgroup(world: &World, within: &[i32], act: &mut dyn FnMut(&mut Proc, &Rules<'_>)) {
    let point = world.fixture.path("cg");
    let mount = format!("30 22 0:26 / {} rw - cgroup2 cgroup2 rw\n", point);
    world.fixture.write("self/mountinfo", mount);
    for (name, text) in [("max", "1073741824"), ("current", "0"), ("stat", "anon 0")] {
        world.fixture.write(&format!("cg/web/memory.{name}"), format!("{text}\n"));
    }
    world.with_rules(|proc, rules| {
        let mut pids = Vec::new();
        proc.for_each(|_, pid| pids.push(pid.number())).unwrap();
        for pid in pids {
            let path = if within.contains(&(pid - FIRST)) { "/web/worker" } else { "/other" };
            world.fixture.write(&format!("{pid}/cgroup"), format!("0::{path}\n"));
        }
        let cgroup = Cgroup::find(proc, Some(&Path::of(b"/web")));
        let rules = Rules { left: rules.left, family: family(proc, None), ..*rules };
        act(proc, &rules.within(cgroup.as_ref(), &world.memory));
    });
}

#[test]
fn only_who_is_within_the_cgroup_goes_and_only_for_it_a_file_more_is_read() {
    let world = World::new();
    // More outside than the short list has room for, all of them before those within.
    (100..200).for_each(|number| world.add(number, 900, 10 * LARGE));
    (1..=50).for_each(|number| world.add(number, 700, LARGE + number as u64));
    let judge = &mut ByName(Vec::new());
    let within: Vec<_> = (1..=50).collect();
    with_cgroup(&world, &within, &mut |proc, rules| {
        let found = found(proc, rules, judge, &world.memory);
        let mut best = found.best.unwrap();
        assert_eq!(best.id().pid.number() - FIRST, 50);
        // It moves away between choice and signal.
        assert!(again(proc, rules, judge, &world.memory, &mut best));
        world.fixture.write(&format!("{}/cgroup", FIRST + 50), "0::/webs\n");
        assert!(!again(proc, rules, judge, &world.memory, &mut best));
        assert_eq!(protection(proc, rules, judge, &best.stat), Some(Protection::Outside));
    });
    with_cgroup(&world, &[], &mut |proc, rules| {
        assert!(found(proc, rules, judge, &world.memory).best.is_none());
    });
    // Outside, nobody's memory comes back within.
    world.add(3, 0, 0);
    let exiting = stat_line(FIRST + 3, b"x", b'R', 4, 1, 0);
    world.fixture.write(&format!("{}/stat", FIRST + 3), exiting);
    for (within, expected) in [(vec![], None), (vec![3], Some(3))] {
        with_cgroup(&world, &within, &mut |proc, rules| {
            assert_eq!(found(proc, rules, judge, &world.memory).leaving, expected);
        });
    }
    // One that stands out: each of all is read once, and of it `stat` and `cgroup`.
    let world = World::new();
    (1..=50).for_each(|number| world.add(number, 700, LARGE));
    world.add(60, 900, 10 * LARGE);
    with_cgroup(&world, &[60], &mut |proc, rules| {
        let found = found(proc, rules, judge, &world.memory);
        assert_eq!((found.best.is_some(), found.files), (true, 51 + 2));
    });
}

#[test]
fn a_bonus_is_a_share_of_the_limit() {
    let mut world = World::new();
    world.memory.machine = KiB::from_mib(24_000);
    world.memory.total = KiB::from_mib(2_400);
    world.with_rules(|_, rules| assert_eq!(rules.bonus, 300));
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
    let mut machine = Machine::new(&config);
    let mut rate = FillRate::new(KiB(1000));
    world.with_rules(|proc, rules| {
        let mut meminfo = MemInfo::open(proc).unwrap();
        let before = counted::allocations();
        for round in 0..10_000 {
            let memory = meminfo.read(proc, None).unwrap().unwrap();
            let limits = Limits::of(&config, &memory);
            let now = Moment(round * 1_000_000);
            rate.observe(memory.available, now);
            let victim_gone = false;
            machine.step(Look { now, memory: &memory, limits: &limits, victim_gone });
        }
        let judge = &mut ByName(Vec::new());
        let found = found(proc, rules, judge, &world.memory);
        assert_eq!(counted::allocations(), before);
        assert_eq!(found.seen, 200);
    });
}
