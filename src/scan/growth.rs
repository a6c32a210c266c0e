//! Of those that are nearly alike, who fills memory: not always the largest when it is looked for.

use super::{Judge, Shortlist};
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::sys::clock::HZ;
use crate::sys::machine;
use crate::units::{KiB, Pid};
use crate::victim::{Candidate, Next, Rules, RunnerUp};

/// So many times what was gained between search and signal counts as gained: that is a moment.
const MOMENT: i32 = 4;
/// What one holds that was started a moment ago tells how much it takes in a second, as long as its
/// start itself does not weigh more.
const LEAST_TICKS: u64 = HZ / 4;

/// Those of `list` that come next to `best`. Who is above it is spared.
pub fn next_to(best: &Candidate, list: &Shortlist) -> Next {
    let mut next = Next::default();
    let behind = |score: u64| best.score - score as i32;
    let others = list
        .entries()
        .iter()
        .filter(|(score, pid)| *pid != best.stat.id.pid && behind(*score) >= 0);
    for (place, &(score, pid)) in next.iter_mut().zip(others) {
        *place = Some(RunnerUp { pid, score: score as i32, behind: behind(score) });
    }
    next
}

/// Who came next to `candidate` and is past it by growing, or soon will be: in a moment, at the
/// rate since the search, or within a second, at that of its life. What the other one would give
/// back lasts no longer. On one processor nobody grows while the guard searches, so the first
/// alone does not tell. Only where the kernel's badness alone decides: else who was far behind by
/// what was asked for might go. `all` is memory and swap, `now` in ticks since boot.
pub fn outgrown_by(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &dyn Judge,
    candidate: &Candidate,
    all: KiB,
    now: u64,
) -> Option<Pid> {
    if !judge.is_idle() || rules.ignore_positive_adj {
        return None;
    }
    let own_gain = gain(proc, &candidate.stat, now);
    candidate.next.iter().flatten().find_map(|&RunnerUp { pid, score, behind }| {
        let score_now = proc.oom_score(pid).ok()?;
        let behind_now = candidate.score - score_now;
        // That `candidate` shrinks is nothing to lay at its door.
        let gained = (behind - behind_now).min(score_now - score);
        let in_a_moment = gained > 0 && behind_now < MOMENT * gained;
        let within_a_second = |proc: &mut Proc| {
            let stat = &proc.stat_with_threads(pid).ok()?;
            let thousandths = gain(proc, stat, now).less(own_gain).scaled(KiB(1000), all).0;
            Some(i64::from(behind_now) < rules.scale.steps(thousandths) && thousandths > 0)
        };
        (in_a_moment || within_a_second(proc) == Some(true)).then_some(pid)
    })
}

/// What it has taken in each second since it was started. What its parent holds, too, it may have
/// had from the first moment on.
fn gain(proc: &mut Proc, stat: &Stat, now: u64) -> KiB {
    let parent = Pid::new(stat.ppid.into()).and_then(|parent| proc.stat(parent).ok());
    let pages = stat.rss_pages.saturating_sub(parent.map_or(0, |parent| parent.rss_pages));
    let ticks = now.saturating_sub(stat.id.start).max(LEAST_TICKS);
    KiB::from_pages(pages, machine::page()).scaled(KiB(HZ), KiB(ticks))
}
