//! Of those that are nearly alike, who fills memory: that tells its pace, its size does not. On a
//! small machine a hog is no larger than others when memory is low.

use super::{protection, Search, Shortlist};
use crate::filter::Verdict;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::sys::clock::HZ;
use crate::units::{KiB, Pid};
use crate::victim::{Candidate, Ranking};

/// So many that come next are looked at, at one file each: some may be small, and come there by
/// their `oom_score_adj`, or lie outside the cgroup that counts.
const NEXT: usize = 8;
/// What is that many hundredths as large at least is nearly alike. Who is smaller gives back much
/// less, and goes by its size.
const ALIKE: u64 = 75;
/// In ticks. In less time than that what is taken by the start itself weighs too much.
const LEAST: u64 = HZ / 4;

impl Search<'_> {
    /// Who is nearly as large as the best so far, and at its pace will have passed it within a
    /// second, goes in its place. Only where the kernel's badness alone decides: a pattern, or
    /// another `oom_score_adj`, says more of who should go than growth does.
    pub(super) fn prefer_growing(&mut self, proc: &mut Proc, list: &Shortlist, now: u64) {
        let by_badness = self.rules.ranking == Ranking::OomScore;
        if !by_badness || self.rules.ignore_positive_adj || !self.judge.is_idle() {
            return;
        }
        let Some(best) = self.best.clone() else { return };
        let mut first = None;
        // Those above it are spared.
        let next = list.entries().iter().map(|&(score, pid)| (score as i32, pid));
        let next = next.filter(|&(score, pid)| score <= best.score && pid != best.id().pid);
        for (score, pid) in next.take(NEXT) {
            let Some((other, held)) = self.one_like(&best, proc, pid, score) else { continue };
            let first = first.get_or_insert_with(|| Pace::at_most(proc, &best, now));
            let pace = Pace::at_least(proc, &other, held, now);
            self.files += 2;
            if pace.passes(first) {
                *first = pace;
                self.judge.met(self.best.insert(other));
            }
        }
    }

    /// That process, with what it holds, if it may be ended and is nearly as large as the best.
    fn one_like(
        &mut self,
        best: &Candidate,
        proc: &mut Proc,
        pid: Pid,
        score: i32,
    ) -> Option<(Candidate, Held)> {
        self.files += 1;
        let stat = proc.stat_with_threads(pid).ok()?;
        let rss = KiB::from_pages(stat.rss_pages, self.page);
        let is_alike = |size: KiB| size >= best.standing.size.scaled(KiB(ALIKE), KiB(100));
        if !is_alike(rss.plus(self.swap_used)) {
            return None;
        }
        self.files += 4;
        let held = proc.status(&stat).ok()?.held();
        let size = rss.plus(held.swap);
        let standing = self.rules.standing(self.rules.scale.points(score), size);
        let may_be = standing.large
            && is_alike(size)
            && proc.oom_score_adj(pid).ok()? == proc.oom_score_adj(best.id().pid).ok()?
            && protection(proc, self.rules, self.judge, &stat).is_none();
        let verdict = Verdict::default();
        may_be.then_some((Candidate { stat, score, standing, verdict }, held))
    }
}

/// How fast one grows.
struct Pace {
    /// In a second.
    taken: KiB,
    /// What it will hold in a second.
    soon: KiB,
}

impl Pace {
    /// When in doubt, the one that comes first goes: of that one the most that may be, with what it
    /// shares and what it may have from its parent.
    fn at_most(proc: &mut Proc, first: &Candidate, now: u64) -> Pace {
        let held = proc.status(&first.stat).unwrap_or_default().held();
        Pace::of(first, held.own().plus(held.shared), now)
    }

    /// And of others the least. What its parent holds, too, one may have had from the first moment.
    fn at_least(proc: &mut Proc, other: &Candidate, held: Held, now: u64) -> Pace {
        let parent = Pid::new(other.stat.ppid.into()).and_then(|pid| proc.stat(pid).ok());
        let inherited = parent.and_then(|parent| proc.status(&parent).ok()).unwrap_or_default();
        Pace::of(other, held.own().less(inherited.held().own()), now)
    }

    /// Of one that has taken so much since it was started.
    fn of(candidate: &Candidate, taken: KiB, now: u64) -> Pace {
        // Later than now is a start by another clock.
        let age = now.checked_sub(candidate.stat.id.start);
        let taken = age.map_or(KiB::ZERO, |age| taken.scaled(KiB(HZ), KiB(age.max(LEAST))));
        Pace { taken, soon: candidate.standing.size.plus(taken) }
    }

    fn passes(&self, other: &Pace) -> bool {
        self.taken > other.taken && self.soon > other.soon
    }
}
