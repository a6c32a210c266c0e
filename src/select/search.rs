//! The search for the first candidate through all of `/proc`, with as few files as will do.
//!
//! First `oom_score` of all processes, one file each, which leaves a short list; `stat`
//! and more only for the processes in it. If the list does not settle it (too many alike, or all
//! of it protected), a second pass reads `statm` of all, the cheapest file that tells a
//! size. Never signals.

use super::candidate::{Candidate, Protection};
use super::recent::Empty;
use super::rules::Rules;
use super::shortlist::Shortlist;
use crate::memory::Memory;
use crate::procfs::Proc;
use crate::sys::{io, machine};
use crate::units::{Identity, KiB, Pid};

/// What a search has found, and what it cost.
pub struct Found {
    pub best: Option<Candidate>,
    pub empty: Empty,
    /// Processes seen, kernel threads included.
    pub seen: u32,
    /// Files read.
    pub files: u32,
    /// Why some could not be opened that are there: for want of descriptors or memory.
    pub shortage: Option<io::Error>,
}

impl Found {
    fn note(&mut self, error: io::Error) {
        if error.is_shortage() {
            self.shortage = Some(error);
        }
    }
}

/// The candidate that goes first now.
pub fn find(proc: &mut Proc, rules: &mut Rules<'_>, memory: &Memory) -> io::Result<Found> {
    let mut search = Search::new(rules, memory);
    if !search.rules.config.choice.sort_by_rss {
        let mut list = Shortlist::new();
        proc.for_each(|proc, pid| {
            search.found.files += 1;
            let score = match proc.oom_score(pid) {
                Ok(score) => score,
                Err(error) => return search.found.note(error),
            };
            if search.rules.scale.exempts(score) != Some(true) {
                list.add(score as u64, pid);
            }
            if score == 0 {
                search.found.empty.add(pid);
            }
        })?;
        search.found.seen = search.found.files;
        for &(score, pid) in list.entries() {
            search.consider(proc, pid, Some(score as i32));
        }
        search.most_score = list.dropped().map_or(-1, |score| score as i32);
        if search.most_score < 0 || !search.may_go_first(search.most_score) {
            return Ok(search.found);
        }
    }
    search.found.seen = 0;
    proc.for_each(|proc, pid| {
        search.found.seen += 1;
        search.consider(proc, pid, None);
    })?;
    Ok(search.found)
}

/// One process as a candidate, as it is now. It counts as gone if its number is another one's by now,
/// or if its files cannot be read.
pub fn look_at(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    memory: &Memory,
    id: Identity,
) -> Result<Candidate, Protection> {
    let now = Search::new(rules, memory).examine(proc, id.pid, None)?;
    now.filter(|now| now.id() == id).ok_or(Protection::Gone)
}

/// A process that exits by itself, if there is one. Its memory does not show any more while the kernel
/// takes it back (`exit_mm` in kernel/exit.c). Reads a file of each of the `empty` ones.
pub fn leaving(proc: &mut Proc, rules: &Rules<'_>, empty: &Empty) -> Option<Identity> {
    empty.kept().iter().find_map(|&pid| {
        let stat = &proc.stat_with_threads(pid).ok()?;
        let leaves = (stat.is_leaving() || stat.is_ended()) && stat.rss_pages == 0;
        let may_be = leaves && rules.check_stat(stat).is_ok();
        (may_be && rules.is_within(proc, stat)).then_some(stat.id)
    })
}

/// Eligible processes with more than `limit` resident, marked by KiB: the largest first, and of
/// equals the higher number. Only what comes behind `last` counts. Ends early, with what was
/// found, once `goes_on` says so; it is asked before each.
pub fn above(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    limit: KiB,
    last: Option<(u64, Pid)>,
    goes_on: &mut dyn FnMut(&mut Proc) -> bool,
) -> io::Result<Shortlist> {
    let mut list = Shortlist::new();
    let page = machine::page();
    proc.for_each(|proc, pid| {
        if !goes_on(proc) {
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
        let mark = KiB::from_pages(pages, page).0;
        let comes = last.map_or(true, |last| (mark, pid) < last);
        if is_above(pages) && comes && rules.protection(proc, stat).is_none() {
            list.add(mark, pid);
        }
    })?;
    Ok(list)
}

/// Stands for a process as long as its start was not read: younger than any.
const YOUNGEST: Identity = Identity { pid: Pid::INIT, start: u64::MAX };
/// Stands for a size that was not read.
const LARGEST: KiB = KiB(u64::MAX);

struct Search<'s, 'a> {
    rules: &'s mut Rules<'a>,
    swap_used: KiB,
    page: KiB,
    /// No score that was not read is higher.
    most_score: i32,
    found: Found,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(rules: &'s mut Rules<'a>, memory: &Memory) -> Search<'s, 'a> {
        Search {
            rules,
            swap_used: memory.swap_used(),
            page: machine::page(),
            most_score: i32::MAX,
            found: Found {
                best: None,
                empty: Empty::none(Pid::INIT),
                seen: 0,
                files: 0,
                shortage: None,
            },
        }
    }

    fn consider(&mut self, proc: &mut Proc, pid: Pid, score: Option<i32>) {
        if let Ok(Some(candidate)) = self.examine(proc, pid, score) {
            self.found.best = Some(candidate);
        }
    }

    /// The process as a candidate; `None` if it goes behind the best so far. Reads what tells that, the
    /// cheapest first, and no more than is needed. The score is read unless it is given.
    fn examine(
        &mut self,
        proc: &mut Proc,
        pid: Pid,
        score: Option<i32>,
    ) -> Result<Option<Candidate>, Protection> {
        let most_score = score.unwrap_or(self.most_score);
        if !self.may_go_first(most_score) {
            return Ok(None);
        }
        let most_bonus = self.rules.most_bonus();
        // If a pattern may raise it, its size alone settles nothing.
        let by_size = score.is_none() && self.found.best.is_some() && most_bonus == 0;
        if by_size && self.is_too_small(proc, pid, most_score)? {
            return Ok(None);
        }
        let stat = self.read(proc.stat_with_threads(pid))?;
        self.rules.check_stat(&stat)?;
        let rss = KiB::from_pages(stat.rss_pages, self.page);
        if rss == KiB::ZERO && self.rules.config.choice.sort_by_rss {
            self.found.empty.add(pid);
        }
        let most_points = self.rules.points(most_score, 0, rss);
        let mut size = rss.plus(self.swap_used);
        if self.swap_used > KiB::ZERO && self.goes_first(most_points + most_bonus, size, stat.id) {
            size = rss.plus(self.read(proc.status(&stat))?.swap);
        }
        // Before the patterns are asked: some of what they look at costs more than a file.
        if !self.goes_first(most_points + most_bonus, size, stat.id) {
            return Ok(None);
        }
        self.found.files += u32::from(self.rules.cgroup.is_some());
        let preference = self.rules.check_scope(proc, &stat)?;
        let bonus = self.rules.bonus_for(&preference);
        if !self.goes_first(most_points + bonus, size, stat.id) {
            return Ok(None);
        }
        let score = match score {
            Some(score) => score,
            None => self.read(proc.oom_score(pid))?,
        };
        self.found.files += u32::from(self.rules.scale.exempts(score).is_none());
        self.rules.check_rights(proc, pid, Some(score))?;
        let mut adj = 0;
        if self.rules.config.choice.ignore_positive_adj {
            adj = self.read(proc.oom_score_adj(pid))?;
        }
        let points = self.rules.points(score, adj, rss) + bonus;
        if !self.goes_first(points, size, stat.id) {
            return Ok(None);
        }
        let rank = self.rules.rank(points, size, stat.id);
        let candidate = Candidate { stat, score, rank, preference };
        if self.rules.config.debug {
            let shown = self.rules.shown(points);
            let matcher = &mut self.rules.matcher;
            matcher.assistant.met(&candidate, shown, matcher.patterns);
        }
        Ok(Some(candidate))
    }

    /// Its resident size alone, which is one short file, tells that it does not go first.
    fn is_too_small(
        &mut self,
        proc: &mut Proc,
        pid: Pid,
        most_score: i32,
    ) -> Result<bool, Protection> {
        let rss = KiB::from_pages(self.read(proc.resident_pages(pid))?, self.page);
        let points = self.rules.points(most_score, 0, rss);
        let size = rss.plus(self.swap_used);
        // 0 is shown for a kernel thread, and for a leader that has ended before its threads.
        Ok(rss > KiB::ZERO && !self.goes_first(points, size, YOUNGEST))
    }

    /// Counts a file. If it cannot be read, the process counts as gone.
    fn read<T>(&mut self, file: io::Result<T>) -> Result<T, Protection> {
        self.found.files += 1;
        file.map_err(|error| {
            self.found.note(error);
            Protection::Gone
        })
    }

    /// Whether a process with so many points and that size goes before the best so far.
    fn goes_first(&self, points: i64, size: KiB, id: Identity) -> bool {
        let rank = self.rules.rank(points, size, id);
        self.found.best.as_ref().map_or(true, |best| rank > best.rank)
    }

    /// Whether a process might, if at most its score is known.
    fn may_go_first(&self, score: i32) -> bool {
        let points = self.rules.points(score, 0, LARGEST) + self.rules.most_bonus();
        self.goes_first(points, LARGEST, YOUNGEST)
    }
}
