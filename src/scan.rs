//! The search for the victim through all of `/proc`, with as few files as will do.
//!
//! First `oom_score` of everyone, one file a process, which leaves a short list; `stat`
//! and more only for those. Where the list does not settle it (too many alike, or all
//! of it spared), a second pass reads `statm` of everyone, the cheapest file that tells a
//! size. Never signals.

use crate::filter::Verdict;
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::sys::{errno, machine, process};
use crate::units::{KiB, Pid};
use crate::victim::{Candidate, Family, Protection, Ranking, Rules, Standing};
use std::io;

/// Everyone alike is a longer list than any; this covers those that stand out.
const SHORTLIST: usize = 64;

/// What one search found and what it cost.
pub struct Found {
    pub best: Option<Candidate>,
    /// Processes seen, kernel threads included.
    pub seen: u32,
    /// Files read.
    pub files: u32,
}

/// What the patterns say of processes.
pub trait Judge {
    /// There are no patterns: never ask.
    fn is_idle(&self) -> bool;
    /// Some process could be raised.
    fn may_prefer(&self) -> bool;
    fn judge(&mut self, proc: &mut Proc, stat: &Stat) -> Verdict;
    /// Hears of each candidate that goes before those met so far.
    fn met(&mut self, candidate: &Candidate);
}

/// The one who would go first now.
pub fn find(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    memory: &Memory,
) -> io::Result<Found> {
    let mut search = Search::new(rules, judge, memory);
    let mut seen = 0;
    match rules.ranking {
        Ranking::Rss => proc.for_each(|proc, pid| {
            seen += 1;
            search.consider(proc, pid, Score::AtMost(i32::MAX));
        })?,
        Ranking::OomScore => {
            let mut list = Shortlist::new();
            proc.for_each(|proc, pid| {
                seen += 1;
                search.files += 1;
                match proc.oom_score(pid) {
                    Ok(0) if rules.zero_is_exempt() => {}
                    Ok(score) => list.add(score, pid),
                    Err(_) => {}
                }
            })?;
            for &(score, pid) in list.entries() {
                search.consider(proc, pid, Score::Is(score));
            }
            if let Some(dropped) = list.dropped.filter(|&score| search.may_be_beaten_by(score)) {
                proc.for_each(|proc, pid| search.consider(proc, pid, Score::AtMost(dropped)))?;
            }
        }
    }
    Ok(Found { best: search.best, seen, files: search.files })
}

/// Everyone with more than `limit` resident who may be ended, the largest first, and of those
/// alike the lower number; of them, those behind `last`. Ends early, with what was found, once
/// `go_on` says so; it is asked before each.
pub fn above(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    limit: KiB,
    last: Option<(KiB, Pid)>,
    go_on: &mut dyn FnMut(&mut Proc) -> bool,
) -> io::Result<Shortlist<KiB>> {
    let mut list = Shortlist::new();
    let page = machine::page();
    proc.for_each(|proc, pid| {
        if !go_on(proc) {
            return;
        }
        // The cheapest file that tells. Of a kernel thread it tells 0, and of a leader that has
        // ended before its threads.
        let is_above = |pages| KiB::from_pages(pages, page) > limit;
        if !proc.resident_pages(pid).is_ok_and(|pages| pages == 0 || is_above(pages)) {
            return;
        }
        let Ok(stat) = proc.stat(pid) else { return };
        let Ok(pages) = proc.exact_resident_pages(&stat) else { return };
        let rss = KiB::from_pages(pages, page);
        let comes = last.map_or(true, |(least, last)| rss < least || (rss == least && pid > last));
        if is_above(pages) && comes && protection(proc, rules, judge, &stat).is_none() {
            list.add(rss, pid);
        }
    })?;
    Ok(list)
}

/// Looks at one process again: it must be the same, still a candidate, and is returned as
/// it is now.
pub fn again(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    memory: &Memory,
    old: &Candidate,
) -> Option<Candidate> {
    let mut search = Search::new(rules, judge, memory);
    search.consider(proc, old.id().pid, Score::AtMost(i32::MAX));
    search.best.filter(|new| new.id() == old.id())
}

/// The guard and its ancestors, as they are now.
#[inline(never)]
pub fn family(proc: &mut Proc, helper: Option<Pid>) -> Family {
    Family::trace(process::own_pid(), helper, |pid| {
        proc.stat(pid).ok().and_then(|stat| Pid::new(stat.ppid.into()))
    })
}

/// What is known of a score before its file is read.
#[derive(Clone, Copy)]
enum Score {
    Is(i32),
    AtMost(i32),
}

struct Search<'a> {
    rules: &'a Rules<'a>,
    judge: &'a mut dyn Judge,
    swap_used: KiB,
    page: KiB,
    best: Option<Candidate>,
    files: u32,
}

impl<'a> Search<'a> {
    fn new(rules: &'a Rules<'a>, judge: &'a mut dyn Judge, memory: &Memory) -> Search<'a> {
        let swap_used = memory.swap_used();
        Search { rules, judge, swap_used, page: machine::page(), best: None, files: 0 }
    }

    /// Reads of `pid` what is needed to tell whether it goes before the best so far, in
    /// the order of what that costs, and stops where it cannot. A process that vanishes
    /// meanwhile is none.
    fn consider(&mut self, proc: &mut Proc, pid: Pid, score: Score) {
        let better = self.try_consider(proc, pid, score);
        if let Ok(Some(candidate)) = better {
            self.judge.met(&candidate);
            self.best = Some(candidate);
        }
    }

    fn try_consider(
        &mut self,
        proc: &mut Proc,
        pid: Pid,
        score: Score,
    ) -> io::Result<Option<Candidate>> {
        if !self.could_win(proc, pid, score)? {
            return Ok(None);
        }
        self.files += 1;
        let stat = proc.stat_with_threads(pid)?;
        if self.rules.protection(&stat).is_some() {
            return Ok(None);
        }
        let rss = KiB::from_pages(stat.rss_pages, self.page);
        let most_points = match (self.rules.ranking, score) {
            (Ranking::Rss, _) => points_of(rss),
            (_, Score::Is(score) | Score::AtMost(score)) => self.rules.scale.points(score),
        };
        let standing = |points, size| self.rules.standing(points, size);
        let raised = most_points.saturating_add(self.most_bonus());
        if !self.beats_best(standing(raised, rss.plus(self.swap_used))) {
            return Ok(None);
        }
        // Before the patterns are asked: some of what they look at costs more than a file.
        let mut size = rss;
        if self.swap_used > KiB::ZERO {
            self.files += 1;
            size = rss.plus(proc.status(&stat)?.swap);
            if !self.beats_best(standing(raised, size)) {
                return Ok(None);
            }
        }
        let verdict = match self.judge.is_idle() {
            true => Verdict::default(),
            false => self.judge.judge(proc, &stat),
        };
        if verdict.spared.is_some() {
            return Ok(None);
        }
        let bonus = self.rules.bonus_for(&verdict);
        let most_points = most_points.saturating_add(bonus);
        if !self.beats_best(standing(most_points, size)) {
            return Ok(None);
        }
        let score = match score {
            Score::Is(score) => score,
            Score::AtMost(_) => {
                self.files += 1;
                proc.oom_score(pid)?
            }
        };
        let mut points = match self.rules.ranking {
            Ranking::Rss => most_points,
            Ranking::OomScore => self.rules.scale.points(score) + bonus,
        };
        if score == 0 || self.rules.ignore_positive_adj {
            self.files += 1;
            let adj = proc.oom_score_adj(pid)?;
            if adj == -1000 || (score == 0 && self.rules.zero_is_exempt()) {
                return Ok(None);
            }
            if self.rules.ranking == Ranking::OomScore && self.rules.ignore_positive_adj {
                points -= i64::from(adj.max(0));
            }
        }
        let standing = standing(points, size);
        if !self.beats_best(standing) || !process::may_signal(pid) {
            return Ok(None);
        }
        if self.rules.ignore_root_user && proc.owner(pid)? == 0 {
            return Ok(None);
        }
        Ok(Some(Candidate { stat, score, standing, verdict }))
    }

    /// Whether it is worth reading more of `pid`, by the cheapest that tells.
    fn could_win(&mut self, proc: &mut Proc, pid: Pid, score: Score) -> io::Result<bool> {
        let most_points = match (self.rules.ranking, score) {
            (Ranking::OomScore, Score::Is(score) | Score::AtMost(score)) => {
                self.rules.scale.points(score)
            }
            (Ranking::Rss, _) => i64::MAX,
        };
        let raised = most_points.saturating_add(self.most_bonus());
        if !self.beats_best(self.rules.standing(raised, KiB(u64::MAX))) {
            return Ok(false);
        }
        // Where a name may raise it, its size alone settles nothing.
        if self.best.is_none() || matches!(score, Score::Is(_)) || self.judge.may_prefer() {
            return Ok(true);
        }
        self.files += 1;
        let rss = KiB::from_pages(proc.resident_pages(pid)?, self.page);
        // Kernel threads show nothing, but so does a leader whose threads hold a lot.
        if rss == KiB::ZERO {
            return Ok(true);
        }
        let points = match self.rules.ranking {
            Ranking::OomScore => most_points,
            Ranking::Rss => points_of(rss),
        };
        Ok(self.beats_best(self.rules.standing(points, rss.plus(self.swap_used))))
    }

    fn beats_best(&self, standing: Standing) -> bool {
        self.best.as_ref().map_or(true, |best| standing > best.standing)
    }

    fn most_bonus(&self) -> i64 {
        if self.judge.may_prefer() {
            self.rules.bonus
        } else {
            0
        }
    }

    /// Whether a process with `score` that was not looked at could go before the best.
    fn may_be_beaten_by(&self, score: i32) -> bool {
        self.best.as_ref().map_or(true, |best| {
            let most_points = self.rules.scale.points(score) + self.most_bonus();
            !best.standing.large || most_points >= best.standing.points
        })
    }
}

/// What counts with `--sort-by-rss`.
fn points_of(rss: KiB) -> i64 {
    i64::try_from(rss.0).unwrap_or(i64::MAX)
}

/// The highest scores met, in falling order.
pub struct Shortlist<T> {
    entries: [(T, Pid); SHORTLIST],
    len: usize,
    /// The highest score that found no place.
    dropped: Option<T>,
}

impl<T: Copy + Ord + Default> Shortlist<T> {
    fn new() -> Shortlist<T> {
        Shortlist { entries: [(T::default(), Pid::INIT); SHORTLIST], len: 0, dropped: None }
    }

    fn add(&mut self, score: T, pid: Pid) {
        if self.len == SHORTLIST {
            let lowest = self.entries[SHORTLIST - 1].0;
            self.dropped = self.dropped.max(Some(lowest.min(score)));
            if score <= lowest {
                return;
            }
            self.len -= 1;
        }
        let at = self.entries[..self.len].partition_point(|entry| entry.0 >= score);
        self.entries.copy_within(at..self.len, at + 1);
        self.entries[at] = (score, pid);
        self.len += 1;
    }

    pub fn entries(&self) -> &[(T, Pid)] {
        &self.entries[..self.len]
    }

    /// Everyone found a place.
    pub fn is_whole(&self) -> bool {
        self.dropped.is_none()
    }
}

/// What is known of a whole process group.
pub struct Group {
    /// A member that must not be signalled, and why.
    pub protected: Option<(Pid, Protection)>,
    pub living: u32,
    /// What its end gives back: memory of its own of each member, no page twice.
    pub held: Held,
}

/// Looks at every member of the group `leader`.
pub fn group(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    leader: Pid,
) -> io::Result<Group> {
    let mut group = Group { protected: None, living: 0, held: Held::default() };
    proc.for_each(|proc, pid| {
        let Ok(stat) = proc.stat(pid) else { return };
        if stat.pgid != leader.number() || stat.is_gone() {
            return;
        }
        group.living += 1;
        if let Ok(status) = proc.status(&stat) {
            group.held = group.held.and(status.held());
        }
        match protection(proc, rules, judge, &stat) {
            None | Some(Protection::Gone) => {}
            Some(why) => group.protected = group.protected.or(Some((pid, why))),
        }
    })?;
    Ok(group)
}

/// Why a process must be left alone, if it must.
pub fn protection(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    stat: &Stat,
) -> Option<Protection> {
    rules.protection(stat).or_else(|| exemption(proc, rules, judge, stat))
}

/// What `stat` does not tell about why a process must be left alone. When in doubt, it
/// must.
pub fn exemption(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    stat: &Stat,
) -> Option<Protection> {
    let pid = stat.id.pid;
    match proc.oom_score_adj(pid) {
        Ok(-1000) => return Some(Protection::Exempt),
        Err(error) if errno::is_gone(&error) => return Some(Protection::Gone),
        _ => {}
    }
    if rules.ignore_root_user && proc.owner(pid).map_or(true, |owner| owner == 0) {
        return Some(Protection::Root);
    }
    if let Some(spared) = judge.judge(proc, stat).spared {
        return Some(Protection::Spared(spared));
    }
    (!process::may_signal(pid)).then_some(Protection::NotPermitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::filter::Spared;
    use crate::kill::{Look, Machine};
    use crate::options::Settings;
    use crate::policy::{FillRate, Limits};
    use crate::procfs::fixture::{stat_line, Fixture};
    use crate::procfs::meminfo::MemInfo;
    use crate::sys::arena::counted;
    use crate::units::Moment;
    use crate::victim::{Remembered, Scale};

    /// Numbers that no process of the machine has on which the test runs.
    const FIRST: i32 = 4_150_000;
    /// Pages of 4 KiB in 100 MiB.
    const LARGE: u64 = 25_600;

    struct World {
        fixture: Fixture,
        settings: Settings,
        scale: Scale,
        memory: Memory,
    }

    impl World {
        fn new() -> World {
            let fixture = Fixture::new();
            fixture.write("meminfo", MEMINFO);
            let total = KiB::from_mib(24_000);
            let memory = Memory { total, user: total, available: total, ..Memory::default() };
            World { fixture, settings: Settings::default(), scale: Scale::Shifted, memory }
        }

        fn add(&self, number: i32, score: i32, pages: u64) {
            self.fixture.process(FIRST + number, b"x", score, pages);
        }

        fn with_rules<T>(&self, act: impl FnOnce(&mut Proc, &Rules<'_>) -> T) -> T {
            let config = Config::resolve(self.settings.clone(), false).unwrap();
            let mut proc = self.fixture.open();
            let (family, left) = (family(&mut proc, None), Remembered::default());
            let rules = Rules::new(&config, self.memory.total, self.scale, &family, &left);
            act(&mut proc, &rules)
        }

        fn find(&self) -> Found {
            self.find_with(&mut ByName(Vec::new()))
        }

        fn find_with(&self, judge: &mut dyn Judge) -> Found {
            self.with_rules(|proc, rules| find(proc, rules, judge, &self.memory).unwrap())
        }

        /// The victim's number, counted from `FIRST`.
        fn victim(&self) -> Option<i32> {
            self.find().best.map(|best| best.id().pid.number() - FIRST)
        }
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
            world.settings.sort_by_rss = by_rss;
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
        assert!(found.files <= 2 * 300 + SHORTLIST as u32 + 4, "{} files", found.files);
    }

    /// What a process shows, and what patterns say of its name.
    struct Shown {
        score: i32,
        adj: i32,
        rss: KiB,
        swap: KiB,
        verdict: Verdict,
    }

    /// The place that `find` must come to: all that counts of everyone, and the greatest.
    fn first_of_all<'a>(
        all: impl Iterator<Item = &'a Shown>,
        rules: &Rules<'_>,
    ) -> Option<Standing> {
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
            rules.standing(points + rules.bonus_for(&shown.verdict), shown.rss.plus(shown.swap))
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
            for number in 0..SHORTLIST as i32 + 16 {
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
                let shown = Shown { score, adj, rss, swap, verdict: Verdict::default() };
                all.push((name, shown));
            }
            world.memory.swap_total = if has_swap { KiB(10_000) } else { KiB::ZERO };
            for round in 0..40 {
                world.settings.sort_by_rss = below(4) == 0;
                world.settings.ignore_positive_adj = below(3) == 0;
                world.settings.min_rss = (below(3) == 0).then_some(KiB(4 * below(20_000)));
                world.scale = if below(3) == 0 { Scale::Plain } else { Scale::Shifted };
                let verdicts = [PREFERRED, AVOIDED, IGNORED, Verdict::default()];
                let mut verdicts = names.map(|_| verdicts[below(4) as usize]);
                if below(4) == 0 {
                    verdicts = [Verdict::default(); 4];
                }
                all.iter_mut().for_each(|(name, shown)| shown.verdict = verdicts[*name]);
                let mut judge = ByName(names.into_iter().zip(verdicts).collect());
                world.with_rules(|proc, rules| {
                    let found = find(proc, rules, &mut judge, &world.memory).unwrap();
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
        assert!(found.files <= 301 + 2, "{} files", found.files);
    }

    #[test]
    fn where_all_are_alike_the_largest_of_all_goes_at_two_files_a_process() {
        for largest in [1, 150, 300] {
            let world = World::new();
            for number in 1..=300 {
                world.add(number, 666, if number == largest { 200 } else { 100 });
            }
            assert_eq!(world.victim(), Some(largest));
            let found = world.find();
            assert_eq!(found.best.unwrap().id().pid.number(), FIRST + largest);
            let limit = 2 * 300 + SHORTLIST as u32 + 20;
            assert!(found.files <= limit, "{} files", found.files);
        }
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
        world.settings.min_rss = Some(KiB::ZERO);
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
        world.settings.sort_by_rss = true;
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
        world.settings.ignore_positive_adj = true;
        world.add(1, 933, LARGE);
        world.fixture.write(&format!("{}/oom_score_adj", FIRST + 1), "390\n");
        world.add(2, 700, LARGE);
        assert_eq!(world.victim(), Some(2));
    }

    #[test]
    fn a_zombie_leader_counts_with_what_its_threads_hold() {
        for by_rss in [false, true] {
            let mut world = World::new();
            world.settings.sort_by_rss = by_rss;
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
            world.with_rules(|proc, rules| {
                again(proc, rules, &mut ByName(Vec::new()), &world.memory, &best).is_some()
            })
        };
        assert!(again(&world));
        let line = stat_line(FIRST + 1, b"x", b'S', 0, 1, LARGE);
        let later =
            String::from_utf8(line).unwrap().replace(&format!("{}", (FIRST + 1) * 10), "77");
        world.fixture.write(&format!("{}/stat", FIRST + 1), later);
        assert!(!again(&world));
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
            world.with_rules(|proc, rules| {
                group(proc, rules, &mut ByName(Vec::new()), leader).unwrap()
            })
        };
        let free = of(&world);
        assert_eq!((free.living, free.held.total()), (2, KiB::from_mib(200)));
        assert!(free.protected.is_none());
        world.fixture.write(&format!("{}/oom_score_adj", FIRST + 2), "-1000\n");
        let (pid, why) = of(&world).protected.unwrap();
        assert_eq!((pid.number(), why), (FIRST + 2, Protection::Exempt));
    }

    #[test]
    fn ten_thousand_looks_and_a_scan_allocate_nothing() {
        let world = World::new();
        (1..=200).for_each(|number| world.add(number, 666, 100));
        let config = Config::resolve(world.settings.clone(), false).unwrap();
        let mut machine = Machine::new(&config);
        let mut rate = FillRate::new(KiB(1000));
        world.with_rules(|proc, rules| {
            let meminfo = MemInfo::open(proc).unwrap();
            let before = counted::allocations();
            for round in 0..10_000 {
                let memory = meminfo.read(proc).unwrap().unwrap();
                let limits = Limits::of(&config, &memory);
                let now = Moment(round * 1_000_000);
                rate.observe(memory.available, now);
                let victim_gone = false;
                machine.step(Look { now, memory: &memory, limits: &limits, victim_gone });
            }
            let judge = &mut ByName(Vec::new());
            let found = find(proc, rules, judge, &world.memory).unwrap();
            assert_eq!(counted::allocations(), before);
            assert_eq!(found.seen, 200);
        });
    }

    #[test]
    fn the_shortlist_keeps_the_highest_and_tells_what_it_dropped() {
        let mut list = Shortlist::new();
        let pid = |number: i64| Pid::new(number).unwrap();
        (1..=64).for_each(|score| list.add(score, pid(1)));
        assert_eq!(list.dropped, None);
        list.add(100, pid(2));
        assert_eq!((list.entries()[0], list.dropped), ((100, pid(2)), Some(1)));
        list.add(2, pid(3));
        assert_eq!(list.dropped, Some(2));
        assert_eq!(list.entries().len(), SHORTLIST);
        assert!(list.entries().windows(2).all(|pair| pair[0].0 >= pair[1].0));
    }
}
