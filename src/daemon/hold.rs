//! A process in hand, for whatever reason: judged by the patterns, taken hold of with its
//! group, signalled, and spoken of.

use super::forkbomb::Ending;
use super::Daemon;
use crate::event::Event;
use crate::helper::{Helper, Notice, When};
use crate::kill::target::Target;
use crate::log::{self, Alone, Portrait};
use crate::memory::Memory;
use crate::observe::Observer;
use crate::policy::{Level, Scene};
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::say;
use crate::select::{self, Assistant, Candidate, Family, Group, Matcher, Protection, Rules};
use crate::settings::{Config, Patterns};
use crate::stats::Reason;
use crate::sys::process::{self, Deadly};
use crate::sys::{clock, errno};
use crate::units::{Identity, Moment, Pid};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How long all command lines together that patterns ask for are waited for in one choice.
const CHOICE: Duration = Duration::from_millis(20);
/// How long a command line is waited for, since its process may have none after the signal.
/// A helper that is awake answers in a tenth of a millisecond; on a machine whose
/// processors are all taken it has to wait for its turn. Where SIGKILL is due, time counts
/// more than a message.
const fn patience(signal: Deadly) -> Duration {
    match signal {
        Deadly::Term => Duration::from_millis(20),
        Deadly::Kill => Duration::from_millis(2),
    }
}

/// How long SIGTERM waits for the hook before it. Memory is looked at meanwhile.
pub const HOOK: Duration = Duration::from_millis(200);
/// Between two such looks: what fills in that time is little beside the levels.
const HOOK_LOOK: Duration = Duration::from_millis(5);
/// In a dry run, hooks for the same process over and over would be a nuisance.
const DRY_HOOKS: Duration = Duration::from_secs(1);

/// Taken hold of, so that the signal can reach no other.
pub struct InHand {
    pub target: Target,
    pub event: Event,
    /// Hooks run for it.
    pub with_hooks: bool,
    /// It stands for all members of a fork bomb.
    pub bomb: Option<Ending>,
}

impl InHand {
    /// What tells its end.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.target.pidfd().filter(|_| self.bomb.is_none())
    }

    pub fn needs_looking(&self) -> bool {
        self.bomb.is_some() || self.target.needs_looking()
    }

    /// Is this process, or of the group that goes with it.
    pub fn includes(&self, id: Identity, pgid: i32) -> bool {
        let in_group = self.target.group.is_some_and(|leader| leader.number() == pgid);
        self.target.id == id || in_group
    }
}

/// Why a process was not signalled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It is gone, or is no candidate any more: choose again.
    Gone,
    /// Memory is fine again.
    Recovered,
    /// The guard may not, which was said; others are chosen from now on.
    Refused,
}

impl Assistant for Helper {
    fn command_line(&mut self, id: Identity, patience: Duration) -> Option<CommandLine> {
        self.command_line(id, patience)
    }

    fn met(&mut self, candidate: &Candidate, patterns: &Patterns) {
        log::candidate(self, candidate, patterns);
    }
}

/// All that a choice takes, as it is now.
pub struct Court<'a> {
    pub proc: &'a mut Proc,
    pub observer: &'a Observer,
    pub config: &'a Config,
    pub rules: Rules<'a>,
}

impl Daemon {
    pub(super) fn court(&mut self) -> Court<'_> {
        let family = Family::now(&mut self.proc, self.helper.pid());
        let memory = self.memory().unwrap_or_default();
        let (config, observer) = (&self.config, &self.observer);
        let matcher = Matcher {
            patterns: &config.patterns,
            filter: &mut self.filter,
            assistant: &mut self.helper,
            patience: CHOICE,
        };
        let (seen, unkillable) = ((&memory, observer.cgroup()), self.machine.left());
        let rules = Rules::new(config, seen, self.scale, family, unkillable, matcher);
        Court { proc: &mut self.proc, observer, config, rules }
    }

    /// What is to be seen this moment, if memory can be read.
    pub(super) fn look_again(&mut self) -> Option<Scene> {
        self.observer.observe(&mut self.proc, &self.config, clock::now()).ok().flatten()
    }

    /// Takes hold of a candidate, has its command line read while it has one,
    /// and runs the hook, for which SIGTERM waits until `hook_until`, or until memory is at
    /// `hurry`. That takes time: look again before the signal.
    pub(super) fn take_hold(
        &mut self,
        stat: &Stat,
        wanted: Deadly,
        reason: Reason,
        hook_until: Moment,
        hurry: Level,
    ) -> Option<InHand> {
        let id = stat.id;
        let target = Target::open(&mut self.proc, id).ok()?;
        // What hangs here counts as unknown to the patterns: no less patience than theirs.
        let plain = self.config.patterns.is_empty();
        self.helper.command_line(id, if plain { patience(wanted) } else { CHOICE });
        let event = self.event(stat, wanted, reason);
        let with_hooks = self.may_run_hooks();
        if with_hooks && self.config.hooks.pre_kill.is_some() {
            self.helper.run_hook(When::Before, &event);
            if wanted == Deadly::Term {
                self.wait_for_hook(hook_until, hurry);
            }
        }
        Some(InHand { target, event, with_hooks, bomb: None })
    }

    /// In a dry run they are rare.
    pub(super) fn may_run_hooks(&mut self) -> bool {
        let now = clock::now();
        let may = !self.config.dryrun || now >= self.next_dry_hooks;
        if may {
            self.next_dry_hooks = now.after(DRY_HOOKS);
        }
        may
    }

    fn wait_for_hook(&mut self, until: Moment, hurry: Level) {
        loop {
            let left = until.since(clock::now());
            if left == Duration::ZERO || self.helper.wait_for_hook(left.min(HOOK_LOOK)) {
                return;
            }
            if self.look_again().is_some_and(|scene| scene.level >= hurry) {
                return;
            }
        }
    }

    pub(super) fn event(&mut self, stat: &Stat, signal: Deadly, reason: Reason) -> Event {
        let portrait = self.portray(stat);
        Event {
            id: stat.id,
            comm: stat.comm.clone(),
            uid: portrait.uid,
            adj: portrait.adj,
            score: portrait.score,
            rss: portrait.status.rss,
            swap: portrait.status.swap,
            is_kill: signal == Deadly::Kill,
            reason,
            dryrun: self.config.dryrun,
        }
    }

    /// First the signal, then the word: that memory is `low`, or else that it was above the
    /// limit. Returns what its end should give back. In a dry run there is only the word.
    pub(super) fn send(
        &mut self,
        hand: &mut InHand,
        stat: &Stat,
        signal: Deadly,
        low: Option<&Memory>,
    ) -> Result<Held, Miss> {
        let (dryrun, pgid) = (self.config.dryrun, stat.pgid);
        let portrait = self.portray(stat);
        let mut held = portrait.status.held();
        // Who is in its group is looked at last: others may have joined it a moment ago.
        let group = self.config.kill_group.then(|| self.free_group(pgid));
        if let Some(Ok(group)) = &group {
            hand.target.group = Some(group.leader);
            held = group.held;
        }
        if !dryrun {
            self.signal(&hand.target, signal)?;
        }
        match low {
            Some(memory) => log::low(&mut self.helper, &self.config, memory, signal),
            None => log::above_limit(&mut self.helper, &portrait, self.config.limit()),
        }
        log::sending(&mut self.helper, signal, dryrun, &portrait);
        match &group {
            Some(Ok(group)) => {
                log::group_too(&mut self.helper, group.leader, group.living, held, dryrun);
            }
            Some(Err(why)) => log::group_spared(&mut self.helper, pgid, why),
            None => {}
        }
        hand.event.is_kill = signal == Deadly::Kill;
        if !dryrun {
            self.stats.note_victim(held.total(), clock::wall());
            self.sent(hand);
        } else if hand.with_hooks {
            self.notify(Notice::Killed, &hand.event);
            self.ended(&hand.event);
        }
        Ok(held)
    }

    fn signal(&mut self, target: &Target, signal: Deadly) -> Result<(), Miss> {
        let Err(error) = target.signal(&mut self.proc, signal) else { return Ok(()) };
        if !errno::is_not_permitted(error) {
            return Err(Miss::Gone);
        }
        self.machine.remember_left(target.id);
        log::not_permitted(&mut self.helper, target.id.pid, error);
        Err(Miss::Refused)
    }

    /// Runs the hook after the end of a process.
    pub(super) fn ended(&mut self, event: &Event) {
        if self.config.hooks.post_kill.is_some() {
            self.helper.run_hook(When::After, event);
        }
    }

    pub(super) fn notify(&mut self, notice: Notice, event: &Event) {
        if self.config.notify {
            self.helper.notify(notice, event);
        }
    }

    /// Sends SIGKILL to one that was asked to end, unless it has come under protection
    /// meanwhile. False if nothing more is to be expected of it.
    pub(super) fn finish_off(&mut self, hand: &mut InHand, why: &str) -> bool {
        let Identity { pid, .. } = hand.target.id;
        if let Some(why) = self.later_protection(hand.target.id) {
            log::spared_later(&mut self.helper, pid, why);
            return false;
        }
        if let Some(leader) = hand.target.group {
            // Others may have joined the group since it was asked.
            if let Err(why) = self.free_group(leader.number()) {
                hand.target.group = None;
                log::group_spared(&mut self.helper, leader.number(), &why);
            }
        }
        hand.event.is_kill = true;
        match self.signal(&hand.target, Deadly::Kill) {
            Ok(()) => {
                say!(self.helper, Warning, "sending SIGKILL to process {pid}: {why}");
                self.sent(hand);
                true
            }
            // Of one that is gone the end is seen at the next look.
            Err(miss) => miss == Miss::Gone,
        }
    }

    /// What protects a process that was eligible before. What cannot be read of it by
    /// now says nothing: it may be ending.
    fn later_protection(&mut self, id: Identity) -> Option<Protection> {
        let Court { proc, mut rules, .. } = self.court();
        let Ok(stat) = &proc.stat_with_threads(id.pid) else { return None };
        if stat.id != id {
            return None;
        }
        rules.protection(proc, stat).filter(|why| {
            matches!(
                why,
                Protection::Exempt
                    | Protection::Root
                    | Protection::Outside
                    | Protection::Ignored(Some(_))
            )
        })
    }

    fn sent(&mut self, hand: &InHand) {
        // Where SIGTERM is not handled it is deadly at once; else the kernel refuses.
        self.helper.release(hand.target.id, hand.target.group);
        self.stats.count(hand.event.reason, hand.event.is_kill);
        self.notify(Notice::Killed, &hand.event);
        self.report_numbers();
    }

    /// What a message says about the victim. What cannot be read any more is shown as 0: no
    /// reason to spare it.
    fn portray<'a>(&mut self, stat: &'a Stat) -> Portrait<'a> {
        let pid = stat.id.pid;
        Portrait {
            stat,
            score: self.proc.oom_score(pid).unwrap_or(0),
            uid: self.proc.owner(pid).unwrap_or(0),
            adj: self.proc.oom_score_adj(pid).unwrap_or(0),
            status: self.proc.status(stat).unwrap_or_default(),
        }
    }

    /// The group to signal with the victim, or why it is left alone.
    fn free_group(&mut self, pgid: i32) -> Result<Group, Alone> {
        // 0 lies outside the PID namespace, 1 would be "all" to kill(2).
        let leader =
            Pid::new(pgid.into()).filter(|&leader| leader != Pid::INIT).ok_or(Alone::NoGroup)?;
        if pgid == process::own_group() {
            return Err(Alone::OwnGroup);
        }
        let Court { proc, mut rules, .. } = self.court();
        let group = select::group(proc, &mut rules, leader).map_err(|_| Alone::Unknown)?;
        match group.protected {
            Some((pid, why)) => Err(Alone::Holds(pid, why)),
            None => Ok(group),
        }
    }
}
