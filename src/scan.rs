//! The search for the victim through all of `/proc`, with as few files as will do.
//!
//! First `oom_score` of everyone, one file a process, which leaves a short list; `stat`
//! and more only for those. Where the list does not settle it (too many alike, or all
//! of it spared), a second pass looks at the `stat` of everyone. Never signals.

use crate::procfs::meminfo::Memory;
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

/// The one who would go first now.
pub fn find(proc: &mut Proc, rules: &Rules<'_>, memory: &Memory) -> io::Result<Found> {
    let mut search = Search {
        rules,
        swap_used: memory.swap_used(),
        page: machine::page_kib(),
        best: None,
        files: 0,
    };
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

/// Looks at one process again: it must be the same, still a candidate, and is returned as
/// it is now.
pub fn again(
    proc: &mut Proc,
    rules: &Rules<'_>,
    memory: &Memory,
    old: &Candidate,
) -> Option<Candidate> {
    let mut search = Search {
        rules,
        swap_used: memory.swap_used(),
        page: machine::page_kib(),
        best: None,
        files: 0,
    };
    search.consider(proc, old.id().pid, Score::AtMost(i32::MAX));
    search.best.filter(|new| new.id() == old.id())
}

/// The guard and its ancestors, as they are now.
pub fn family(proc: &mut Proc) -> Family {
    Family::trace(process::own_pid(), |pid| {
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
    swap_used: KiB,
    page: u64,
    best: Option<Candidate>,
    files: u32,
}

impl Search<'_> {
    /// Reads of `pid` what is needed to tell whether it goes before the best so far, in
    /// the order of what that costs, and stops where it cannot. A process that vanishes
    /// meanwhile is none.
    fn consider(&mut self, proc: &mut Proc, pid: Pid, score: Score) {
        let better = self.try_consider(proc, pid, score);
        if let Ok(Some(candidate)) = better {
            self.best = Some(candidate);
        }
    }

    fn try_consider(
        &mut self,
        proc: &mut Proc,
        pid: Pid,
        score: Score,
    ) -> io::Result<Option<Candidate>> {
        self.files += 1;
        let stat = proc.stat_with_threads(pid)?;
        if self.rules.protection(&stat).is_some() {
            return Ok(None);
        }
        let rss = KiB(stat.rss_pages * self.page);
        let most_points = match (self.rules.ranking, score) {
            (Ranking::Rss, _) => rss.0 as i64,
            (_, Score::Is(score) | Score::AtMost(score)) => self.rules.scale.points(score),
        };
        let standing = |points, size| self.rules.standing(stat.id, points, size);
        if !self.beats_best(standing(most_points, rss.plus(self.swap_used))) {
            return Ok(None);
        }
        let mut size = rss;
        if self.swap_used > KiB::ZERO {
            self.files += 1;
            size = rss.plus(proc.status(pid, stat.is_ended())?.swap);
        }
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
            Ranking::OomScore => self.rules.scale.points(score),
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
        Ok(Some(Candidate { stat, score, standing }))
    }

    fn beats_best(&self, standing: Standing) -> bool {
        self.best.as_ref().map_or(true, |best| standing > best.standing)
    }

    /// Whether a process with `score` that was not looked at could go before the best.
    fn may_be_beaten_by(&self, score: i32) -> bool {
        self.best.as_ref().map_or(true, |best| {
            !best.standing.large || self.rules.scale.points(score) >= best.standing.points
        })
    }
}

/// The highest scores met, in falling order.
struct Shortlist {
    entries: [(i32, Pid); SHORTLIST],
    len: usize,
    /// The highest score that found no place.
    dropped: Option<i32>,
}

impl Shortlist {
    fn new() -> Shortlist {
        Shortlist { entries: [(0, Pid::INIT); SHORTLIST], len: 0, dropped: None }
    }

    fn add(&mut self, score: i32, pid: Pid) {
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

    fn entries(&self) -> &[(i32, Pid)] {
        &self.entries[..self.len]
    }
}

/// What is known of a whole process group.
pub struct Group {
    /// A member that must not be signalled, and why.
    pub protected: Option<(Pid, Protection)>,
    pub living: u32,
    pub rss: KiB,
}

/// Looks at every member of the group `leader`.
pub fn group(proc: &mut Proc, rules: &Rules<'_>, leader: Pid) -> io::Result<Group> {
    let mut group = Group { protected: None, living: 0, rss: KiB::ZERO };
    let page = machine::page_kib();
    proc.for_each(|proc, pid| {
        let Ok(stat) = proc.stat_with_threads(pid) else { return };
        if stat.pgid != leader.number() || stat.is_gone() {
            return;
        }
        group.living += 1;
        group.rss = group.rss.plus(KiB(stat.rss_pages * page));
        match rules.protection(&stat).or_else(|| exemption(proc, rules, pid)) {
            None | Some(Protection::Gone) => {}
            Some(why) => group.protected = group.protected.or(Some((pid, why))),
        }
    })?;
    Ok(group)
}

/// What `stat` does not tell about why a process must be left alone. When in doubt, it
/// must.
pub fn exemption(proc: &mut Proc, rules: &Rules<'_>, pid: Pid) -> Option<Protection> {
    match proc.oom_score_adj(pid) {
        Ok(-1000) => return Some(Protection::Exempt),
        Err(error) if errno::is_gone(&error) => return Some(Protection::Gone),
        _ => {}
    }
    if rules.ignore_root_user && proc.owner(pid).map_or(true, |owner| owner == 0) {
        return Some(Protection::Root);
    }
    (!process::may_signal(pid)).then_some(Protection::NotPermitted)
}
