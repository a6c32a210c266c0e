//! The search for the victim through all of `/proc`, with as few files as will do.
//!
//! First `oom_score` of everyone, one file a process, which leaves a short list; `stat`
//! and more only for those. Where the list does not settle it (too many alike, or all
//! of it spared), a second pass reads `statm` of everyone, the cheapest file that tells a
//! size. Never signals.

mod empty;
mod shortlist;

use crate::filter::Verdict;
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::sys::io;
use crate::sys::{errno, machine, process};
use crate::units::{Identity, KiB, Pid};
use crate::victim::{Candidate, Family, Protection, Ranking, Rules};
pub use empty::Empty;
pub use shortlist::Shortlist;

/// What one search cost.
pub struct Cost {
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

/// Puts the process that would go first now into `best`, and processes that show no memory into
/// `empty`.
pub fn find(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    memory: &Memory,
    best: &mut Option<Candidate>,
    empty: &mut Empty,
) -> io::Result<Cost> {
    empty.clear();
    let mut search = Search::new(rules, judge, memory, best);
    search.empty = Some(empty);
    let mut seen = 0;
    let mut rest = Some(i32::MAX);
    let mut list = Shortlist::new();
    if rules.ranking == Ranking::OomScore {
        proc.for_each(|proc, pid| {
            seen += 1;
            let score = proc.oom_score(pid).unwrap_or(-1);
            if score > 0 || (score == 0 && !rules.zero_is_exempt()) {
                list.add(score as u64, pid);
            }
            if score == 0 {
                search.note_empty(pid);
            }
        })?;
        search.files = seen;
        for &(score, pid) in list.entries() {
            search.consider(proc, pid, Score::Is(score as i32));
        }
        rest = list.dropped().map(|score| score as i32).filter(|&score| search.may_lose_to(score));
    }
    if let Some(most) = rest {
        seen = 0;
        proc.for_each(|proc, pid| {
            seen += 1;
            search.consider(proc, pid, Score::AtMost(most));
        })?;
    }
    Ok(Cost { seen, files: search.files })
}

/// All processes with more than `limit` resident that may be ended, the largest first, and of equals
/// the higher number, marked by KiB; of them, those behind `last`. Ends early, with what
/// was found, once `go_on` says so; it is asked before each.
pub fn above(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    limit: KiB,
    last: Option<(u64, Pid)>,
    go_on: &mut dyn FnMut(&mut Proc) -> bool,
) -> io::Result<Shortlist> {
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
        let Ok(stat) = &proc.stat(pid) else { return };
        let Ok(pages) = proc.exact_resident_pages(stat) else { return };
        let rss = KiB::from_pages(pages, page);
        let comes =
            last.map_or(true, |(least, last)| rss.0 < least || (rss.0 == least && pid < last));
        if is_above(pages) && comes && protection(proc, rules, judge, stat).is_none() {
            list.add(rss.0, pid);
        }
    })?;
    Ok(list)
}

/// A process that exits by itself and whose memory may be on its way back: its memory does not show
/// any more while the kernel takes it (`exit_mm` in kernel/exit.c). Costs a file of each
/// of the `empty` ones.
pub fn leaving(proc: &mut Proc, rules: &Rules<'_>, empty: &Empty) -> Option<Identity> {
    empty.pids().iter().find_map(|&pid| {
        let stat = &proc.stat_with_threads(pid).ok()?;
        let leaves = (stat.is_leaving() || stat.is_ended()) && stat.rss_pages == 0;
        let may_be = leaves && rules.protection(stat).is_none();
        let is_within = may_be && rules.cgroup.map_or(true, |cgroup| cgroup.holds(proc, stat));
        is_within.then_some(stat.id)
    })
}

/// Looks at one process again: `candidate` becomes what it is now. False if it is not the same,
/// or none any more.
pub fn again(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    memory: &Memory,
    candidate: &mut Candidate,
) -> bool {
    let mut now = None;
    let pid = candidate.id().pid;
    Search::new(rules, judge, memory, &mut now).consider(proc, pid, Score::AtMost(i32::MAX));
    match now {
        Some(now) if now.id() == candidate.id() => {
            *candidate = now;
            true
        }
        _ => false,
    }
}

/// The guard and its ancestors, as they are now.
pub fn family(proc: &mut Proc, helper: Option<Pid>) -> Family {
    Family::trace(process::own_pid(), helper, &mut |pid| {
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
    best: &'a mut Option<Candidate>,
    files: u32,
    empty: Option<&'a mut Empty>,
}

impl<'a> Search<'a> {
    fn new(
        rules: &'a Rules<'a>,
        judge: &'a mut dyn Judge,
        memory: &Memory,
        best: &'a mut Option<Candidate>,
    ) -> Search<'a> {
        let swap_used = memory.swap_used();
        Search { rules, judge, swap_used, page: machine::page(), best, files: 0, empty: None }
    }

    /// Reads of `pid` what is needed to tell whether it goes before the best so far, in
    /// the order of what that costs, and stops where it cannot. A process that vanishes
    /// meanwhile is none.
    fn consider(&mut self, proc: &mut Proc, pid: Pid, score: Score) {
        let _ = self.try_consider(proc, pid, score);
    }

    fn try_consider(&mut self, proc: &mut Proc, pid: Pid, score: Score) -> io::Result<()> {
        let (rules, swap_used) = (self.rules, self.swap_used);
        let by_rss = rules.ranking == Ranking::Rss;
        let (mut score, is_known) = match score {
            Score::Is(score) => (score, true),
            Score::AtMost(score) => (score, false),
        };
        // The most points and the most size that it can have, as far as is known.
        let mut most = if by_rss { MOST } else { rules.scale.points(score) };
        let most_bonus = self.most_bonus();
        if !self.is_beaten_by(most + most_bonus, KiB(u64::MAX), YOUNGEST) {
            return Ok(());
        }
        // Where a name may raise it, its size alone settles nothing.
        if !is_known && self.best.is_some() && most_bonus == 0 {
            self.files += 1;
            let rss = KiB::from_pages(proc.resident_pages(pid)?, self.page);
            let points = if by_rss { points_of(rss) } else { most };
            // Kernel threads show nothing, but so does a leader whose threads hold a lot.
            if rss > KiB::ZERO && !self.is_beaten_by(points, rss.plus(swap_used), YOUNGEST) {
                return Ok(());
            }
        }
        self.files += 1;
        let Ok(stat) = &proc.stat_with_threads(pid) else { return Ok(()) };
        if rules.protection(stat).is_some() {
            return Ok(());
        }
        let rss = KiB::from_pages(stat.rss_pages, self.page);
        if by_rss {
            if rss == KiB::ZERO {
                self.note_empty(pid);
            }
            most = points_of(rss);
        }
        let raised = most + most_bonus;
        let mut size = rss.plus(swap_used);
        if swap_used > KiB::ZERO && self.is_beaten_by(raised, size, stat.id) {
            self.files += 1;
            size = rss.plus(proc.status(stat)?.swap);
        }
        // Before the patterns are asked: some of what they look at costs more than a file.
        if !self.is_beaten_by(raised, size, stat.id) {
            return Ok(());
        }
        if let Some(cgroup) = rules.cgroup {
            self.files += 1;
            if !cgroup.holds(proc, stat) {
                return Ok(());
            }
        }
        let mut verdict = Verdict::default();
        if !self.judge.is_idle() {
            verdict = self.judge.judge(proc, stat);
        }
        let bonus = rules.bonus_for(&verdict);
        if verdict.spared.is_some() || !self.is_beaten_by(most + bonus, size, stat.id) {
            return Ok(());
        }
        if !is_known {
            self.files += 1;
            score = proc.oom_score(pid)?;
            if !by_rss {
                most = rules.scale.points(score);
            }
        }
        let mut points = most + bonus;
        if score == 0 || rules.ignore_positive_adj {
            self.files += 1;
            let adj = proc.oom_score_adj(pid)?;
            if adj == -1000 || (score == 0 && rules.zero_is_exempt()) {
                return Ok(());
            }
            if !by_rss && rules.ignore_positive_adj {
                points -= i64::from(adj.max(0));
            }
        }
        if !self.is_beaten_by(points, size, stat.id)
            || !process::may_signal(pid)
            || (rules.ignore_root_user && proc.owner(pid)? == 0)
        {
            return Ok(());
        }
        let standing = rules.standing(points, size, stat.id);
        let candidate =
            self.best.insert(Candidate { stat: stat.clone(), score, standing, verdict });
        self.judge.met(candidate);
        Ok(())
    }

    fn note_empty(&mut self, pid: Pid) {
        if let Some(empty) = &mut self.empty {
            empty.add(pid);
        }
    }

    /// Whether a process with so many points and that size goes before the best so far.
    fn is_beaten_by(&self, points: i64, size: KiB, id: Identity) -> bool {
        let standing = self.rules.standing(points, size, id);
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
    fn may_lose_to(&self, score: i32) -> bool {
        self.best.as_ref().map_or(true, |best| {
            let most_points = self.rules.scale.points(score) + self.most_bonus();
            !best.standing.large || most_points >= best.standing.points
        })
    }
}

/// Stands for a process as long as its start was not read: younger than any.
const YOUNGEST: Identity = Identity { pid: Pid::INIT, start: u64::MAX };

/// More than any process holds, and a bonus can be added.
const MOST: i64 = i64::MAX / 2;

/// What counts with `--sort-by-rss`.
fn points_of(rss: KiB) -> i64 {
    rss.0.min(MOST as u64) as i64
}

/// What is known of a whole process group.
pub struct Group {
    pub leader: Pid,
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
    let mut group = Group { leader, protected: None, living: 0, held: Held::default() };
    proc.for_each(|proc, pid| {
        let Ok(stat) = &proc.stat(pid) else { return };
        if stat.pgid != leader.number() || stat.is_gone() {
            return;
        }
        group.living += 1;
        if let Ok(status) = proc.status(stat) {
            group.held = group.held.and(status.held());
        }
        match protection(proc, rules, judge, stat) {
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
        Err(error) if errno::is_gone(error) => return Some(Protection::Gone),
        _ => {}
    }
    if rules.ignore_root_user && proc.owner(pid).map_or(true, |owner| owner == 0) {
        return Some(Protection::Root);
    }
    if rules.cgroup.is_some_and(|cgroup| !cgroup.holds(proc, stat)) {
        return Some(Protection::Outside);
    }
    if let Some(spared) = judge.judge(proc, stat).spared {
        return Some(Protection::Spared(spared));
    }
    (!process::may_signal(pid)).then_some(Protection::NotPermitted)
}

#[cfg(test)]
mod tests;
