//! The end of a fork bomb: each member gets SIGKILL as it is met, by a pidfd of its own, in passes
//! until one meets none. If the first pass met no process of the group that must live, the whole
//! group gets one SIGKILL besides, which no fork escapes (`copy_process` in kernel/fork.c).

use super::aftermath::Aftermath;
use super::progress::Progress;
use super::target::Target;
use super::{Kill, Kills, Proposal};
use crate::context::{Context, Selection};
use crate::event::Event;
use crate::forkbomb::{self, Bomb, Kind};
use crate::log;
use crate::policy::{Level, Scene};
use crate::procfs::status::Held;
use crate::say;
use crate::select::Alone;
use crate::sys::process::{self, KillSignal};
use crate::sys::{clock, machine};
use crate::units::{Identity, Moment, Pid};
use std::time::Duration;

/// Between two passes: no descriptor tells the end of the last member.
const PASS: Duration = Duration::from_millis(20);

/// A bomb that is being ended.
pub struct Crowd {
    pub kind: Kind,
    pub count: u32,
    /// Members that the last pass met.
    left: u32,
    next_pass: Moment,
}

/// What a pass over a group has met.
struct Pass {
    /// Members that live and were signalled, or would be in a dry run.
    count: u32,
    /// The one that was spared is one of them.
    has_spared: bool,
    /// Why it is not all of the group.
    others: Option<Alone>,
}

/// What a later pass shows.
pub struct Left {
    pub is_empty: bool,
    /// There are fewer than before.
    pub has_shrunk: bool,
}

impl Kills {
    /// Ends the fork bomb that goes before all other candidates, if there is one. True if that is
    /// all that is to be done now.
    pub(super) fn end_bomb(&mut self, cx: &mut Context, before: &Scene) -> bool {
        let Some(bomb) = self.find_bomb(cx, before) else { return false };
        let (signal, hook_until) = (KillSignal::Kill, clock::now());
        // Hooks and notices are for the largest member, which stands for all.
        let stat = bomb.largest.clone();
        let proposal = Proposal { stat, signal, limit: None, writer: None, hook_until };
        let acquired = self.acquire(cx, &proposal, Some(before));
        let Ok((mut target, with_hooks)) = acquired else { return false };
        // All that takes time is done: look again.
        let fresh = cx.observe_again();
        let scene = fresh.as_ref().unwrap_or(before);
        if scene.level == Level::Fine {
            return true;
        }
        let held = Held { anon: bomb.held, ..Held::default() };
        let event =
            Event { held, ..cx.event(&proposal.stat, signal, proposal.reason(Some(scene))) };
        // As long as this one lives, the number of the group is no other's.
        let id = target.id;
        let pass = pass(cx, &bomb.kind, Some(id));
        if pass.count == 0 {
            return false;
        }
        let alone = why_alone(&bomb.kind, pass.others);
        if pass.has_spared && !cx.config.dryrun {
            let is_whole = alone.is_none() && kill_group(cx, &bomb.kind, &mut target);
            if !is_whole {
                // Where that fails it is gone meanwhile.
                let _ = target.signal(&mut cx.proc, signal);
            }
        }
        log::low(&mut cx.output.helper, scene, signal);
        let (kind, count) = (bomb.kind, pass.count);
        let bomb = Bomb { count, ..bomb };
        log::bomb(&mut cx.output.helper, &bomb, alone.as_ref(), cx.config.dryrun);
        if !event.dryrun {
            (1..count).for_each(|_| cx.output.stats.count(event.reason, true));
        }
        let (aftermath, now) = (Aftermath::of(held, &scene.memory), clock::now());
        let progress = Progress::begin(signal, true, cx.config.grace, aftermath, now);
        let crowd = Some(Crowd { kind, count, left: count, next_pass: now.after(PASS) });
        self.follow(cx, Kill { target, event, crowd, progress }, with_hooks);
        true
    }

    /// Costs no file where no group is large.
    fn find_bomb(&mut self, cx: &mut Context, scene: &Scene) -> Option<Bomb> {
        let (begin, rule) =
            (clock::now(), (forkbomb::least(machine::processors()), clock::ticks()));
        let Selection { proc, mut rules, .. } = cx.selection();
        let found = forkbomb::find(proc, &mut rules, &process::group_of, scene, rule);
        let (found, now) = (found.ok()?, clock::now());
        if cx.config.debug {
            let micros = (now.0 - begin.0) / 1000;
            let is_bomb = if found.is_some() { "perhaps a fork bomb" } else { "no fork bomb" };
            say!(cx.output.helper, Debug, "process groups: {is_bomb}, {micros} microseconds");
        }
        found.filter(|bomb| self.bombs.may_end(bomb, now))
    }
}

impl Crowd {
    /// What is left of it, which is signalled again. `None` until the next pass is due.
    pub fn pass_again(&mut self, cx: &mut Context, now: Moment) -> Option<Left> {
        if now < self.next_pass {
            return None;
        }
        self.next_pass = now.after(PASS);
        let left = pass(cx, &self.kind, None).count;
        let before = std::mem::replace(&mut self.left, left);
        Some(Left { is_empty: left == 0, has_shrunk: left < before })
    }
}

/// Sends SIGKILL to each living member but the one that is `spared` for now.
fn pass(cx: &mut Context, kind: &Kind, spared: Option<Identity>) -> Pass {
    let mut pass = Pass { count: 0, has_spared: false, others: None };
    let dryrun = cx.config.dryrun;
    let Selection { proc, mut rules, .. } = cx.selection();
    // If the walk fails midway, the next one goes on.
    let walked = proc.for_each(|proc, pid| {
        if process::group_of(pid) != Some(kind.group) {
            return;
        }
        // Each file that is opened may have to wait for memory: no more than needed.
        let Ok((target, stat)) = Target::hold(proc, pid) else { return };
        if stat.pgid != kind.group || !forkbomb::lives(&stat) {
            return;
        }
        let is_member = kind.includes(proc, &stat);
        let is_leader = pid.number() == kind.group;
        match rules.protection(proc, &stat) {
            None if is_member => {}
            None if is_leader => return,
            why => {
                // Of one that ends meanwhile not everything can be told.
                if proc.stat(pid).is_ok_and(|now| now.id == stat.id && forkbomb::lives(&now)) {
                    let other = Alone::HoldsOther(pid);
                    pass.others = Some(why.map_or(other, |why| Alone::Holds(pid, why)));
                }
                return;
            }
        }
        if spared == Some(stat.id) {
            pass.has_spared = true;
        } else if !dryrun && target.signal(proc, KillSignal::Kill).is_err() {
            // Gone meanwhile.
            return;
        }
        pass.count += 1;
    });
    if walked.is_err() {
        pass.others = Some(Alone::Unknown);
    }
    pass
}

/// False if the group cannot be told for sure any more.
fn kill_group(cx: &mut Context, kind: &Kind, member: &mut Target) -> bool {
    let Some(leader) = Pid::new(kind.group.into()) else { return false };
    let lives = !member.is_gone(&mut cx.proc);
    let is_member = lives && process::group_of(member.id.pid) == Some(kind.group);
    is_member && process::send_group(leader, KillSignal::Kill).is_ok()
}

/// Why the group is not signalled as a whole.
fn why_alone(kind: &Kind, others: Option<Alone>) -> Option<Alone> {
    match kind.group {
        // 0 lies outside the PID namespace, 1 is init's: in containers all processes may be in it.
        ..=1 => Some(Alone::NoGroup),
        group if group == process::own_group() => Some(Alone::OwnGroup),
        _ => others,
    }
}
