//! The end of a fork bomb: each member gets SIGKILL as it is met, by a pidfd of its own, in passes
//! until one meets none. If the first pass met no process of the group that must live, the whole
//! group gets one SIGKILL besides, which no fork escapes (`copy_process` in kernel/fork.c).

use super::hold::{Court, InHand};
use super::{Daemon, FOLLOW};
use crate::forkbomb::{self, Bomb, Kind};
use crate::helper::Notice;
use crate::kill::target::Target;
use crate::log::{self, Alone};
use crate::memory::Memory;
use crate::policy::{Level, Limits};
use crate::procfs::status::Held;
use crate::say;
use crate::sys::process::{self, Deadly};
use crate::sys::{clock, machine};
use crate::units::{Identity, Moment, Pid};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A bomb that is being ended.
pub(super) struct Ending {
    kind: Kind,
    pub(super) count: u32,
    /// Members that the last pass met.
    left: u32,
    next_pass: Moment,
}

/// What is known of bombs from one look to the next.
#[derive(Default)]
pub(super) struct Bombs {
    /// The group that was the largest, how many it had, and when.
    seen: Option<(i32, u32, Moment)>,
    /// One that does not end.
    left: Option<i32>,
}

impl Bombs {
    /// Whether a group that ends by itself would be ended: it has fewer members than a second ago.
    fn shrinks(&mut self, bomb: &Bomb, now: Moment) -> bool {
        let group = bomb.kind.group;
        let before = self.seen.filter(|&(seen, ..)| seen == group);
        if before.map_or(true, |(.., at)| now.since(at) >= SECOND) {
            self.seen = Some((group, bomb.count, now));
            return before.is_some_and(|(_, count, _)| bomb.count < count);
        }
        false
    }

    pub(super) fn leave(&mut self, ending: &Ending) {
        self.left = Some(ending.kind.group);
    }

    pub(super) fn forget(&mut self) {
        *self = Bombs::default();
    }
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

impl Daemon {
    /// Ends the fork bomb that goes before all other candidates, if there is one. True if that is
    /// all that is to be done now.
    pub(super) fn end_bomb(&mut self, before: &Memory) -> bool {
        let Some(bomb) = self.find_bomb(before) else { return false };
        let (signal, reason) = (Deadly::Kill, self.reason());
        // Hooks and people are told about the largest member, which stands for all.
        let hand = self.take_hold(&bomb.largest, signal, reason, clock::now(), Level::Kill);
        let Some(mut hand) = hand else { return false };
        // All that takes time is done: look again.
        let fresh = self.look_again();
        if fresh.is_some_and(|fresh| fresh.level == Level::Fine) {
            return true;
        }
        let memory = fresh.map_or(*before, |fresh| fresh.memory);
        // As long as this one lives, the number of the group is no other's.
        let id = bomb.largest.id;
        let pass = self.pass(&bomb.kind, Some(id));
        if pass.count == 0 {
            return false;
        }
        let alone = why_alone(&bomb.kind, pass.others);
        if pass.has_spared && !self.config.dryrun {
            let is_whole = alone.is_none() && self.kill_group(&bomb.kind, &mut hand.target);
            if !is_whole {
                // Where that fails it is gone meanwhile.
                let _ = hand.target.signal(&mut self.proc, signal);
            }
        }
        log::low(&mut self.helper, &self.config, &memory, signal);
        let bomb = Bomb { count: pass.count, ..bomb };
        log::bomb(&mut self.helper, &bomb, alone.as_ref(), self.config.dryrun);
        let now = clock::now();
        if self.config.dryrun {
            if hand.with_hooks {
                self.notify(Notice::Killed, &hand.event);
                self.ended(&hand.event);
            }
            self.machine.rehearsed(now);
            return true;
        }
        self.stats.note_victim(bomb.held, clock::wall());
        (0..pass.count).for_each(|_| self.stats.count(reason, true));
        self.notify(Notice::Killed, &hand.event);
        self.report_numbers();
        let held = Held { anon: bomb.held, ..Held::default() };
        self.machine.signalled(id, signal, held, &memory, now);
        let next_pass = now.after(FOLLOW);
        let (kind, count) = (bomb.kind, bomb.count);
        hand.bomb = Some(Ending { kind, count, left: count, next_pass });
        self.offenders.forget(id);
        self.victim = Some(hand);
        true
    }

    /// Costs no file where no group is large.
    fn find_bomb(&mut self, memory: &Memory) -> Option<Bomb> {
        let begin = clock::now();
        let limits = Limits::of(&self.config, memory);
        let rule = (forkbomb::least(machine::processors()), clock::ticks());
        let Court { proc, mut rules, .. } = self.court();
        let seen = (memory, &limits);
        let groups = &process::group_of;
        let found = forkbomb::find(proc, &mut rules, groups, seen, rule).ok()?;
        let now = clock::now();
        if self.config.debug {
            let micros = (now.0 - begin.0) / 1000;
            let is_bomb = if found.is_some() { "perhaps a fork bomb" } else { "no fork bomb" };
            say!(self.helper, Debug, "process groups: {is_bomb}, {micros} microseconds");
        }
        let bomb = found.filter(|bomb| self.bombs.left != Some(bomb.kind.group))?;
        (!self.bombs.shrinks(&bomb, now)).then_some(bomb)
    }

    /// Sends SIGKILL to each living member but the one that is `spared` for now.
    fn pass(&mut self, kind: &Kind, spared: Option<Identity>) -> Pass {
        let mut pass = Pass { count: 0, has_spared: false, others: None };
        let dryrun = self.config.dryrun;
        let Court { proc, mut rules, .. } = self.court();
        // Where the walk fails midway, the next one goes on.
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
            } else if !dryrun && target.signal(proc, Deadly::Kill).is_err() {
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
    fn kill_group(&mut self, kind: &Kind, member: &mut Target) -> bool {
        let Some(leader) = Pid::new(kind.group.into()) else { return false };
        let lives = !member.is_gone(&mut self.proc);
        let is_member = lives && process::group_of(member.id.pid) == Some(kind.group);
        is_member && process::send_group(leader, Deadly::Kill).is_ok()
    }

    /// Whether a bomb that is being ended is gone. What is left of it is signalled again.
    pub(super) fn bomb_is_gone(&mut self) -> bool {
        let Some(InHand { bomb: Some(ending), .. }) = &mut self.victim else { return true };
        let now = clock::now();
        if now < ending.next_pass {
            return false;
        }
        ending.next_pass = now.after(FOLLOW);
        let (kind, before) = (ending.kind, ending.left);
        let left = self.pass(&kind, None).count;
        if let Some(InHand { bomb: Some(ending), .. }) = &mut self.victim {
            ending.left = left;
        }
        if left < before {
            self.machine.shrinks(now);
        }
        left == 0
    }
}

/// Why the group is not signalled as a whole.
fn why_alone(kind: &Kind, others: Option<Alone>) -> Option<Alone> {
    match kind.group {
        // 0 lies outside the PID namespace, 1 is init's: there it is everybody's.
        ..=1 => Some(Alone::NoGroup),
        group if group == process::own_group() => Some(Alone::OwnGroup),
        _ => others,
    }
}
