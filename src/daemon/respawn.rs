//! A hog that comes back whenever it is ended: who starts it is ended with it.

use super::hold::{Court, HOOK};
use super::Daemon;
use crate::filter::Verdict;
use crate::log;
use crate::policy::{self, Level};
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::respawn;
use crate::scan;
use crate::sys::io;
use crate::sys::process::Deadly;
use crate::sys::{clock, machine};
use crate::units::{Identity, KiB, Moment, Pid};
use crate::victim::{Candidate, Protection};

impl Daemon {
    /// Whose child it is. Init has whoever lost a parent, and may never be ended.
    pub(super) fn parent_of(&mut self, stat: &Stat) -> Option<Identity> {
        let parent = Pid::new(stat.ppid.into()).filter(|&parent| parent != Pid::INIT)?;
        Some(self.proc.stat(parent).ok()?.id)
    }

    /// Ends `parent`, if its child `child`, which was started at `start`, is a hog that came
    /// after each of several victims.
    #[inline(never)]
    pub(super) fn end_respawner(
        &mut self,
        parent: Identity,
        child: &Stat,
        start: u64,
        wanted: Deadly,
        before: &Memory,
    ) {
        let now = clock::ticks();
        let Some(first) = self.respawns.is_due(parent, start, now) else { return };
        let Some(mut candidate) = self.respawner(parent, child, first) else { return };
        // One that was asked already and has started another one is not asked again.
        let was_asked = self.respawner.as_ref().is_some_and(|(hand, _)| hand.target.id == parent);
        let signal_for = |daemon: &Daemon, signal| match was_asked {
            true => Deadly::Kill,
            false => daemon.machine.signal_for(parent, signal),
        };
        let wanted = signal_for(self, wanted);
        let hook_until = clock::now().after(HOOK);
        let reason = self.reason(before);
        let hand = self.take_hold(&candidate, wanted, reason, hook_until, Level::Kill);
        let Some(mut hand) = hand else { return };
        // All that takes time is done: look again.
        let memory = self.fresh_memory().unwrap_or(*before);
        let signal = match policy::level(&self.config, &memory) {
            Level::Fine => return,
            Level::Term => wanted,
            Level::Kill => Deadly::Kill,
        };
        match self.respawner(parent, child, first) {
            Some(again) => candidate = again,
            None => return,
        }
        log::respawner(&mut self.helper, &candidate.stat, child);
        let grand = self.parent_of(&candidate.stat);
        if self.send(&mut hand, &candidate, signal, Some(&memory)).is_ok() && !self.config.dryrun {
            self.respawner = Some((hand, clock::now()));
            // It may be started again as well.
            if let Some(grand) = grand {
                self.respawns.note(grand, parent.start, clock::ticks());
            }
        }
    }

    /// The parent as one that may be ended, if it is one.
    #[inline(never)]
    fn respawner(&mut self, id: Identity, child: &Stat, first: u64) -> Option<Candidate> {
        let Ok(stat) = self.proc.stat_with_threads(id.pid) else { return None };
        let Court { proc, rules, mut judge, .. } = self.court();
        if stat.id != id {
            return None;
        }
        let protection = scan::protection(proc, &rules, &mut judge, &stat);
        if matches!(protection, Some(Protection::Guard | Protection::Ancestor | Protection::Gone)) {
            return None;
        }
        let why = protection.map(Protection::text).or_else(|| {
            let cares = looks_after_sessions(proc, &stat, first).unwrap_or(true);
            cares.then_some("looks after other sessions")
        });
        let score = proc.oom_score(id.pid).unwrap_or(0);
        let rss = KiB::from_pages(stat.rss_pages, machine::page());
        let standing = rules.standing(rules.scale.points(score), rss);
        if let Some(why) = why {
            log::respawner_spared(&mut self.helper, &stat, child, why);
            return None;
        }
        Some(Candidate { stat, score, standing, verdict: Verdict::default() })
    }

    /// Takes note of the end of one that was asked.
    pub(super) fn follow_respawner(&mut self) {
        let Daemon { respawner, proc, .. } = self;
        // One that lives on and starts no more hogs is nobody's concern any more.
        let is_over = |since: Moment| clock::now().since(since).as_secs() > respawn::SECONDS;
        if respawner.as_ref().is_some_and(|&(_, since)| is_over(since)) {
            *respawner = None;
        }
        if !respawner.as_mut().is_some_and(|(hand, _)| hand.target.is_gone(proc)) {
            return;
        }
        if let Some((hand, since)) = self.respawner.take() {
            let (target, now) = (&hand.target, clock::now());
            log::exited(&mut self.helper, target.id.pid, target.group, now.since(since));
            self.ended(&hand.event);
        }
    }
}

/// Whether it has children in sessions of their own that were there before the `first` of its
/// victims ended: then it is the init of a container, of a user's services or of terminals, with
/// which others would go.
fn looks_after_sessions(proc: &mut Proc, parent: &Stat, first: u64) -> io::Result<bool> {
    let mut found = false;
    proc.for_each(|proc, pid| {
        if let (Ok(child), false) = (&proc.stat(pid), found) {
            found = child.ppid == parent.id.pid.number()
                && child.session != parent.session
                && child.id.start < first
                && !child.is_gone();
        }
    })?;
    Ok(found)
}
