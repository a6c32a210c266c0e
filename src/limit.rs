//! `--process-limit`: each process above it is proposed, the largest first.
//!
//! Never signals: `kill` does that. Memory comes first: between any two steps here it has its turn,
//! and a check gives way where something can be done about memory.

use crate::context::{Context, Selection};
use crate::kill::{Kills, Proposal, DRY, HOOK};
use crate::observe::Glances;
use crate::policy::Scene;
use crate::say;
use crate::select::{self, Shortlist};
use crate::settings::{Config, Limit};
use crate::sys::clock;
use crate::sys::process::KillSignal;
use crate::units::{Moment, Pid};
use std::time::Duration;

/// Where not all could be dealt with, or memory came first.
const SOON: Duration = Duration::from_secs(1);
/// A helper that owes an answer for so long is replaced, and the process that it is about is passed
/// over for a minute. Less, and a new one that waits for its turn on a busy machine would be.
const HANGS: Duration = Duration::from_secs(3);

/// The check of the limit, and what it found.
pub struct LimitCheck {
    /// What the last check found, as long as not all of it was dealt with.
    found: Option<Queue>,
    next: Option<Moment>,
    /// Those up to here were named already, in a dry run.
    last: Option<(u64, Pid)>,
}

struct Queue {
    list: Shortlist,
    next: usize,
    /// Not all could be dealt with.
    again_soon: bool,
    /// How long all of them together wait for hooks: no longer than one would.
    hook_until: Moment,
}

impl LimitCheck {
    pub fn new(limit: Option<Limit>, now: Moment) -> LimitCheck {
        LimitCheck { found: None, next: limit.map(|_| now), last: None }
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Does one step of what is due. True if that took a while, or another step is due.
    pub fn step(&mut self, cx: &mut Context, kills: &mut Kills, scene: Option<&Scene>) -> bool {
        let Some(limit) = cx.config.limit() else { return false };
        let now = clock::now();
        if self.deal_with_next(cx, kills, limit, scene) {
            return true;
        }
        let is_due = self.next.is_some_and(|at| now >= at);
        if is_due {
            self.check(cx, kills, limit, now);
        }
        is_due
    }

    /// Finds every process above the limit. Where something can be done about memory, that ends
    /// early.
    fn check(&mut self, cx: &mut Context, kills: &Kills, limit: Limit, now: Moment) {
        let acts_at = kills.acts_at(now);
        let (mut glances, mut give_way) = (Glances::default(), false);
        let Selection { proc, mut rules, observer, config, .. } = cx.selection();
        let found = select::above(proc, &mut rules, limit.rss, self.last, &mut |proc| {
            if glances.is_due() && !give_way {
                let level = observer.glance(proc, config);
                give_way = acts_at.is_some_and(|acts_at| level >= Some(acts_at));
            }
            !give_way
        });
        self.next = Some(now.after(pace(&cx.config, limit.every)));
        let mut again_soon = give_way;
        // Others may have been spared only because the helper hangs.
        if cx.output.helper.is_behind() && !cx.config.patterns.is_empty() {
            // It may be only late.
            cx.output.replace_helper(HANGS);
            again_soon = true;
        }
        match found {
            Ok(list) => {
                let is_whole = list.dropped().is_none();
                again_soon |= !is_whole;
                // In a dry run the largest would be found again and again.
                let goes_on = cx.config.dryrun && !is_whole;
                self.last = list.entries().last().copied().filter(|_| goes_on);
                let hook_until = clock::now().after(HOOK);
                self.found = Some(Queue { list, next: 0, again_soon, hook_until });
            }
            Err(error) => {
                let helper = &mut cx.output.helper;
                say!(helper, Error, "cannot list /proc for the limit: {error}; trying again");
            }
        }
    }

    /// Proposes the next one. False if there is none.
    fn deal_with_next(
        &mut self,
        cx: &mut Context,
        kills: &mut Kills,
        limit: Limit,
        scene: Option<&Scene>,
    ) -> bool {
        let Some(queue) = &mut self.found else { return false };
        let Some(&(_, pid)) = queue.list.entries().get(queue.next) else {
            let some_are_late = cx.output.helper.is_behind() && !cx.config.patterns.is_empty();
            if queue.again_soon || some_are_late {
                let soon = pace(&cx.config, SOON.min(limit.every));
                self.next = Some(clock::now().after(soon));
            }
            self.found = None;
            return false;
        };
        queue.next += 1;
        let Some(stat) = cx.above(pid, limit.rss) else { return true };
        match kills.includes(cx, stat.id) {
            Some(false) => {}
            // Low memory may still let it off, or there is no room.
            Some(true) => queue.again_soon = true,
            None if !kills.has_room() => queue.again_soon = true,
            None => {
                let (signal, hook_until) = (KillSignal::Term, queue.hook_until);
                let limit = Some(limit.rss);
                let proposal = Proposal { stat, signal, limit, writer: None, hook_until };
                // One that vanishes meanwhile, or may not be ended, is none.
                let _ = kills.begin(cx, proposal, scene);
            }
        }
        true
    }
}

/// A dry run says each victim at most once a second.
fn pace(config: &Config, every: Duration) -> Duration {
    if config.dryrun {
        every.max(DRY)
    } else {
        every
    }
}
