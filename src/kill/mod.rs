//! All kills in progress, whatever they are for: the one table of victims that were signalled. It
//! alone acquires a victim, looks again, signals, escalates and gives up.
//!
//! `progress` says how far one kill is, `low_memory` when a victim is to be chosen, `aftermath` what
//! a kill gave back: these are pure. `target` has the system calls, `crowd` ends fork bombs.

mod aftermath;
mod crowd;
pub mod low_memory;
mod progress;
mod target;

use crate::context::{Context, Selection, CHOICE};
use crate::event::Event;
use crate::forkbomb::Bombs;
use crate::helper::{Notice, When};
use crate::log::{self, Whole};
use crate::policy::{Level, Scene};
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::say;
use crate::select::{self, Candidate, Company, Empty, Group, Holders, Members};
use crate::settings::Config;
use crate::stats::Reason;
use crate::sys::fd::{Interest, Waiter};
use crate::sys::process::KillSignal;
use crate::sys::{clock, fd, io};
use crate::units::{least, Identity, KiB, Moment};
use crate::writer::{Writer, Writers};
use aftermath::Aftermath;
use crowd::Crowd;
pub use low_memory::{Attention, DRY};
use low_memory::{LowMemory, Step};
use progress::{Next, Progress, Seen, Stage, Urgency};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use target::Target;

/// Kills for the limit at a time. Each has a descriptor, of which a service may have 1024; more of
/// them wait for a later check.
const FOR_LIMIT: usize = 32;
/// And one for low memory.
pub const KILLS: usize = FOR_LIMIT + 1;
/// Whether a group is empty takes a walk over `/proc`: for the limit of all groups together, and for
/// memory, not more than this often, which is a few hundredths of a processor with some hundred
/// processes.
const WALK: Duration = Duration::from_millis(100);
/// A scan takes long enough for its result to have vanished; then it is made again.
const ATTEMPTS: usize = 3;
/// How long SIGTERM waits for the hook before it. Memory is looked at meanwhile.
pub const HOOK: Duration = Duration::from_millis(200);
/// Between two such looks: what fills in that time is little beside the levels.
const HOOK_LOOK: Duration = Duration::from_millis(5);
/// In a dry run, hooks for the same process over and over would be a nuisance.
const DRY_HOOKS: Duration = Duration::from_secs(1);

/// As many as there can be at a time with these settings.
pub fn most_kills(config: &Config) -> usize {
    config.limit().map_or(1, |_| KILLS)
}

/// Allocates.
fn empty_table(config: &Config) -> Box<[Option<Kill>]> {
    (0..most_kills(config)).map(|_| None).collect()
}

/// How long a command line is waited for, since its process may have none after the signal.
/// A helper that is awake answers in a tenth of a millisecond. If all processors are busy, it has to
/// wait for its turn. Where SIGKILL is due, time counts more than a message.
const fn patience(signal: KillSignal) -> Duration {
    match signal {
        KillSignal::Term => Duration::from_millis(20),
        KillSignal::Kill => Duration::from_millis(2),
    }
}

/// A victim with what it is for and how to end it, not yet acquired.
pub struct Proposal {
    pub stat: Stat,
    pub signal: KillSignal,
    /// For being above this limit; else for memory.
    pub limit: Option<KiB>,
    /// For what it writes to a tmpfs.
    pub writer: Option<Writer>,
    /// SIGTERM waits for the hook before it until then.
    pub hook_until: Moment,
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

/// A victim that was signalled.
struct Kill {
    target: Target,
    event: Event,
    /// It stands for all members of a fork bomb.
    crowd: Option<Crowd>,
    progress: Progress,
}

impl Kill {
    /// Is this process, or of the group that goes with it.
    fn includes(&self, cx: &mut Context, id: Identity) -> bool {
        let Context { proc, oom_group, .. } = cx;
        // One that cannot be told is not signalled for something else.
        let is_member = |group: Group| {
            group.member(proc, oom_group, id.pid).map_or(true, |member| member.is_some())
        };
        self.target.id == id || self.target.group.is_some_and(is_member)
    }

    fn needs_looking(&self) -> bool {
        self.crowd.is_some() || self.target.needs_looking()
    }
}

pub struct Kills {
    /// As many places as `most_kills` tells.
    table: Box<[Option<Kill>]>,
    low: LowMemory,
    bombs: Bombs,
    writers: Writers,
    /// The next one to be looked at first.
    turn: usize,
    /// No walk for a group before these: for the limit, and for memory.
    next_walk: [Moment; 2],
    /// No hooks of a dry run before this.
    next_dry_hooks: Moment,
}

impl Kills {
    pub fn new(config: &Config) -> Kills {
        Kills {
            table: empty_table(config),
            low: LowMemory::new(config),
            bombs: Bombs::default(),
            writers: Writers::default(),
            turn: 0,
            next_walk: Default::default(),
            next_dry_hooks: Moment::default(),
        }
    }

    // ---- those in progress ----

    /// Follows each kill one step, up to one that gets SIGKILL now: memory comes first. True if
    /// something was done, which takes time. `scene` is `None` while memory cannot be read; then those
    /// for memory wait.
    pub fn advance(&mut self, cx: &mut Context, scene: Option<&Scene>) -> bool {
        let (now, mut acted) = (clock::now(), false);
        let first = self.turn;
        let places = self.table.len();
        for place in (0..places).map(|step| (first + step) % places) {
            let Some(mut kill) = self.table[place].take() else { continue };
            let for_memory = kill.progress.for_memory;
            if for_memory && scene.is_none() {
                self.table[place] = Some(kill);
                continue;
            }
            let walked = self.next_walk;
            let seen = match self.pursue(cx, &mut kill, place, now) {
                true => Seen::Gone,
                false if kill.target.has_left_others() => Seen::OthersLeft,
                false => Seen::Alive,
            };
            let next = kill.progress.next(now, seen, scene, cx.config.grace);
            acted |= next != Next::Wait || walked != self.next_walk;
            let goes_on = match next {
                Next::Wait => true,
                Next::Gone { after } | Next::OthersStay { after } => {
                    self.ended(cx, &kill, seen, after, now);
                    continue;
                }
                Next::Escalate(urgency) => self.escalate(cx, &mut kill, urgency, scene),
                Next::LetOff => {
                    self.let_off(cx, &kill);
                    false
                }
                Next::Unkillable => {
                    self.unkillable(cx, &kill);
                    false
                }
            };
            if goes_on {
                self.table[place] = Some(kill);
            } else if for_memory && self.for_memory().is_none() {
                self.low.gives_up();
            }
            if let Next::Escalate(_) = next {
                self.turn = (place + 1) % self.table.len();
                break;
            }
        }
        acted
    }

    /// True once nothing of it lives. A process that was started in its cgroup since SIGKILL gets that
    /// as well, and so does each member of a fork bomb that is left.
    fn pursue(&mut self, cx: &mut Context, kill: &mut Kill, place: usize, now: Moment) -> bool {
        if let Some(crowd) = &mut kill.crowd {
            let Some(left) = crowd.pass_again(cx, now) else { return false };
            if left.has_shrunk {
                kill.progress.wait_on(now);
            }
            return left.is_empty;
        }
        let next_walk = &mut self.next_walk[usize::from(kill.progress.for_memory)];
        let target = &mut kill.target;
        target.has_ended();
        if target.takes_a_walk() {
            if now < *next_walk {
                return false;
            }
            *next_walk = now.after(WALK);
            self.turn = (place + 1) % self.table.len();
        }
        let is_gone = target.is_gone(&mut cx.proc);
        if !is_gone || target.group != Some(Group::Cgroup) {
            return is_gone;
        }
        let again = (kill.progress.stage == Stage::Killed).then_some(KillSignal::Kill);
        signal_members(cx, target.id, again) == Some(0)
    }

    fn ended(&mut self, cx: &mut Context, kill: &Kill, seen: Seen, after: Duration, now: Moment) {
        let Kill { target, event, crowd, progress } = kill;
        let group = target.group.map(|group| Whole(group, &cx.oom_group));
        let (helper, pid) = (&mut cx.output.helper, target.id.pid);
        match (crowd, group) {
            (Some(crowd), _) => log::bomb_ended(helper, crowd.count, after),
            (None, Some(group)) if seen == Seen::OthersLeft => {
                log::exited_alone(helper, pid, group, after);
            }
            (None, group) => log::exited(helper, pid, group, after),
        }
        if seen == Seen::OthersLeft && progress.stage == Stage::Killed {
            give_up_rest(cx, kill);
        }
        cx.tell_end(event);
        if progress.for_memory {
            // What stalled for its sake is not to be laid at the next one's door.
            cx.observer.restart_stalls();
            let aftermath = match seen {
                Seen::OthersLeft => progress.aftermath.of_a_part(),
                _ => progress.aftermath,
            };
            self.low.ends(aftermath, now);
        }
    }

    fn let_off(&mut self, cx: &mut Context, kill: &Kill) {
        if kill.progress.for_memory {
            self.low.lets_off(kill.target.id, clock::now());
            log::let_off(&mut cx.output.helper, kill.target.id.pid);
        }
    }

    fn unkillable(&mut self, cx: &mut Context, kill: &Kill) {
        let id = kill.target.id;
        cx.give_up(id);
        if let Some(crowd) = &kill.crowd {
            self.bombs.is_unkillable(&crowd.kind);
        }
        log::stuck(&mut cx.output.helper, id.pid, 0, cx.proc.is_frozen(id.pid));
        cx.notify(Notice::Stuck, &kill.event);
    }

    /// SIGKILL for one that was asked, unless it has come under protection meanwhile. False if
    /// nothing more is to be expected of it.
    fn escalate(
        &mut self,
        cx: &mut Context,
        kill: &mut Kill,
        urgency: Urgency,
        scene: Option<&Scene>,
    ) -> bool {
        // Where memory is fine again, only what is left of a group is to end.
        let is_low = |scene: &&Scene| scene.level != Level::Fine;
        let for_memory = scene.filter(|_| kill.progress.for_memory).filter(is_low);
        // The victim may have been chosen before the bomb could be told.
        if for_memory.is_some_and(|scene| self.end_bomb(cx, scene)) {
            if self.for_memory().is_none() {
                // Memory is fine again.
                kill.progress.is_not_killed();
                return true;
            }
            log::let_off_for_bomb(&mut cx.output.helper, kill.target.id.pid);
            return false;
        }
        let why = match (urgency, for_memory) {
            (Urgency::Level, _) => "memory is at or below the limit for SIGKILL",
            (Urgency::Grace, Some(_)) => "it ignores SIGTERM and memory is still low",
            (Urgency::Grace, None) => "it ignores SIGTERM and was above the limit",
        };
        let target = &mut kill.target;
        let Identity { pid, .. } = target.id;
        if let Some(why) = cx.later_protection(target.id) {
            log::spared_later(&mut cx.output.helper, pid, why);
            return false;
        }
        kill.event.is_kill = true;
        let is_rest = kill.target.has_left_others();
        match signal_again(cx, &mut kill.target) {
            Ok(()) => {
                let helper = &mut cx.output.helper;
                match kill.target.group.filter(|_| is_rest) {
                    Some(group) => log::escalated_rest(helper, pid, Whole(group, &cx.oom_group)),
                    None => log::escalated(helper, pid, why),
                }
                cx.tell_signal(&kill.event, kill.target.group);
                true
            }
            // Of one that is gone the end is seen at the next look.
            Err(miss) => miss == Miss::Gone,
        }
    }

    // ---- low memory ----

    /// What low memory asks for at this look: a victim, and what follows from the last one. True if
    /// something was done, and memory is to be looked at again.
    pub fn act(&mut self, cx: &mut Context, scene: &Scene) -> bool {
        match self.low.step(scene) {
            Step::Wait => return self.end_writer_in_pause(cx, scene),
            Step::Choose(_) if cx.output.helper.owes_writer() && self.writers.is_awaited(scene) => {
                return false;
            }
            Step::Choose(signal) if cx.config.kernel_oom => self.delegate(cx, signal, scene),
            Step::Choose(signal) => {
                if !self.adopt(cx, signal, scene) {
                    self.choose(cx, signal, scene);
                }
            }
            Step::Useless { gained, expected, taken, pause } => {
                let amounts = [gained, expected, taken];
                log::useless(&mut cx.output.helper, &scene.memory, amounts, pause);
            }
            Step::FilesStay => log::files_stay(&mut cx.output.helper, &scene.memory),
        }
        true
    }

    /// The largest that was signalled for the limit is the victim of this event as well, if its end
    /// is near or gives back what is missing: then no other needs to go.
    fn adopt(&mut self, cx: &mut Context, signal: KillSignal, scene: &Scene) -> bool {
        let mut largest: Option<&mut Kill> = None;
        for kill in self.table.iter_mut().flatten() {
            let held = kill.event.held;
            let will_do = kill.event.is_kill || suffices(scene, held);
            let target = &mut kill.target;
            let ended = target.has_ended() || target.takes_a_walk();
            let is_larger =
                largest.as_ref().map_or(true, |most| held.total() > most.event.held.total());
            if will_do && is_larger && !ended && cx.proc.is_running(target.id).unwrap_or(false) {
                largest = Some(kill);
            }
        }
        let Some(kill) = largest else { return false };
        kill.progress.for_memory = true;
        let Identity { pid, .. } = kill.target.id;
        self.low.begins(false);
        log::low(&mut cx.output.helper, scene, signal);
        log::adopted(&mut cx.output.helper, pid);
        true
    }

    fn choose(&mut self, cx: &mut Context, signal: KillSignal, scene: &Scene) {
        for _ in 0..ATTEMPTS {
            // Before the search, which reads a file of each process while a bomb goes on.
            if self.end_bomb(cx, scene) || self.end_writer(cx, scene) {
                return;
            }
            let found = match cx.find() {
                Ok(found) => found,
                Err(error) => return self.wait_in_vain(cx, "list /proc", error, scene),
            };
            if self.awaits_an_exit(cx, scene, &found.empty) {
                return;
            }
            let Some(candidate) = found.best else {
                // One may have been spared only because the helper hangs.
                if !cx.config.patterns.is_empty() && cx.output.replace_helper(Duration::ZERO) {
                    continue;
                }
                if let Some(error) = found.shortage {
                    return self.wait_in_vain(cx, "look at all processes", error, scene);
                }
                return self.without_candidate(cx, signal, scene, None);
            };
            if let Some(holders) = self.is_in_vain(cx, scene, &candidate) {
                return self.without_candidate(cx, signal, scene, Some(&holders));
            }
            let (pid, stat) = (candidate.id().pid, candidate.stat);
            let hook_until = clock::now().after(HOOK);
            let proposal = Proposal { stat, signal, limit: None, writer: None, hook_until };
            let (why, again) = match self.begin(cx, proposal, Some(scene)) {
                Ok(()) | Err(Miss::Refused) => return,
                Err(Miss::Gone) => ("is gone already", true),
                Err(Miss::Recovered) => ("is spared: memory has recovered", false),
            };
            if cx.config.debug {
                say!(cx.output.helper, Debug, "process {pid} {why}");
            }
            if !again {
                return;
            }
        }
    }

    /// Takes note of a look, and has the helper look for the writer of a tmpfs if there may be one.
    pub fn follow_writers(&mut self, cx: &mut Context, scene: &Scene) {
        if cx.config.kernel_oom {
            return;
        }
        let helper = &mut cx.output.helper;
        if let Some((asked, growth)) = helper.take_growth() {
            if cx.config.debug {
                log::growth(helper, growth, scene.now.since(asked));
            }
            self.writers.answered(asked, growth, scene.now);
        }
        if let Some(least) = self.writers.observe(scene) {
            self.writers.asked(scene.now);
            helper.ask_for_writer(least);
        }
    }

    /// Ends the writer of a tmpfs, if it is known and may be ended. True if that is all that is to be
    /// done now.
    fn end_writer(&mut self, cx: &mut Context, scene: &Scene) -> bool {
        let Some(writer) = self.writers.take(scene) else { return false };
        let Some(stat) = cx.look_again(writer.id) else { return false };
        let signal = if scene.level == Level::Kill { KillSignal::Kill } else { KillSignal::Term };
        let hook_until = clock::now().after(HOOK);
        let proposal = Proposal { stat, signal, limit: None, writer: Some(writer), hook_until };
        !matches!(self.begin(cx, proposal, Some(scene)), Err(Miss::Gone | Miss::Refused))
    }

    fn end_writer_in_pause(&mut self, cx: &mut Context, scene: &Scene) -> bool {
        let may_be = scene.level != Level::Fine && self.low.may_end_writer();
        may_be && self.end_writer(cx, scene)
    }

    /// What holds the memory, if ending the candidates one by one would be for nothing.
    fn is_in_vain(
        &mut self,
        cx: &mut Context,
        scene: &Scene,
        first: &Candidate,
    ) -> Option<Holders> {
        if low_memory::is_worth_its_end(first.rank.size, scene) {
            return None;
        }
        // No further than it takes to tell.
        let goes_on = &mut |_: &mut _, found: &Holders| found.eligible < scene.missing();
        let Selection { proc, mut rules, .. } = cx.selection();
        let holders = select::holders(proc, &mut rules, &scene.memory, goes_on).ok()?;
        self.low.is_in_vain(scene, &holders).then_some(holders)
    }

    /// There is none, or, with `holders`, none that would help.
    fn without_candidate(
        &mut self,
        cx: &mut Context,
        signal: KillSignal,
        scene: &Scene,
        holders: Option<&Holders>,
    ) {
        let Some(wait) = self.low.alone(&scene.memory, clock::now()) else { return };
        cx.output.helper.ask_again();
        log::low(&mut cx.output.helper, scene, signal);
        let notice = match holders {
            None => {
                log::no_candidate(&mut cx.output.helper, wait);
                Notice::NoCandidate
            }
            Some(holders) => {
                log::in_vain(&mut cx.output.helper, scene, holders, wait);
                Notice::InVain
            }
        };
        cx.notify(notice, &Event::without_victim(cx.config.dryrun));
    }

    /// Whether a process exits by itself and is waited for, before any is ended: once in a time of
    /// low memory, and no longer than as memory comes back.
    fn awaits_an_exit(&mut self, cx: &mut Context, scene: &Scene, empty: &Empty) -> bool {
        if !self.low.may_await() {
            return false;
        }
        let Selection { proc, rules, .. } = cx.selection();
        let Some(id) = select::leaving(proc, &rules, empty) else { return false };
        self.low.await_exit(&scene.memory, clock::now());
        if cx.config.debug {
            let Identity { pid, .. } = id;
            say!(cx.output.helper, Debug, "process {pid} leaves by itself: waiting for it");
        }
        true
    }

    fn wait_in_vain(&mut self, cx: &mut Context, what: &str, error: io::Error, scene: &Scene) {
        if let Some(wait) = self.low.alone(&scene.memory, clock::now()) {
            log::cannot(&mut cx.output.helper, what, error, wait);
        }
    }

    /// `--kernel-oom`: the kernel chooses and kills.
    fn delegate(&mut self, cx: &mut Context, signal: KillSignal, scene: &Scene) {
        let (now, dryrun) = (clock::now(), cx.config.dryrun);
        log::low(&mut cx.output.helper, scene, signal);
        let write = |sysrq: &OwnedFd| fd::write(sysrq.as_fd(), b"f");
        let asked = cx.sysrq.as_ref().map_or(Err(io::Error::GONE), write);
        if let (false, Err(error)) = (dryrun, asked) {
            return self.wait_in_vain(cx, "write to /proc/sysrq-trigger", error, scene);
        }
        log::delegated(&mut cx.output.helper, dryrun);
        if dryrun {
            return self.low.rehearsed(now);
        }
        cx.notify(Notice::Kernel, &Event::without_victim(false));
        // Whichever it is should give back what is missing.
        let limit = scene.limits.mem.term.unwrap_or(KiB::ZERO);
        let anon = limit.less(scene.memory.available).plus(KiB(1));
        self.low.delegated(Held { anon, ..Held::default() }, &scene.memory, now);
    }

    // ---- from a proposal to the signal ----

    /// Acquires the victim, looks at it and at memory once more, since choosing took long enough for
    /// the world to change, and signals it.
    pub fn begin(
        &mut self,
        cx: &mut Context,
        mut proposal: Proposal,
        before: Option<&Scene>,
    ) -> Result<(), Miss> {
        let (id, limit) = (proposal.stat.id, proposal.limit);
        if limit.is_none() {
            proposal.signal = self.low.signal_for(id, proposal.signal, clock::now());
        }
        let (target, with_hooks) = self.acquire(cx, &proposal, before)?;
        // All that takes time is done; what is read from here on is fresh. If it cannot be, what was
        // read a moment ago has to do.
        let fresh = cx.observe_again();
        let scene = fresh.as_ref().or(before);
        if let (None, Some(scene)) = (limit, scene) {
            proposal.signal = match scene.level {
                Level::Fine => return Err(Miss::Recovered),
                Level::Term => self.low.signal_for(id, KillSignal::Term, scene.now),
                Level::Kill => KillSignal::Kill,
            };
        }
        let again = match limit {
            None => cx.look_again(id),
            Some(limit) => cx.above(id.pid, limit).filter(|stat| stat.id == id),
        };
        proposal.stat = again.ok_or(Miss::Gone)?;
        let kill = send(cx, target, &proposal, scene)?;
        self.follow(cx, kill, with_hooks);
        Ok(())
    }

    /// Opens the victim, has its command line read while it has one, and runs the hook: in a dry run
    /// not for each victim, which is told besides.
    fn acquire(
        &mut self,
        cx: &mut Context,
        proposal: &Proposal,
        scene: Option<&Scene>,
    ) -> Result<(Target, bool), Miss> {
        let id = proposal.stat.id;
        let target = Target::open(&mut cx.proc, id).map_err(|_| Miss::Gone)?;
        // What hangs here counts as unknown to the patterns: no less patience than theirs.
        let plain = cx.config.patterns.is_empty();
        let patience = if plain { patience(proposal.signal) } else { CHOICE };
        let with_cgroup = proposal.limit.is_none() && cx.oom_group.is_mounted();
        cx.output.helper.remember(id, with_cgroup, patience);
        let now = clock::now();
        let with_hooks = !cx.config.dryrun || now >= self.next_dry_hooks;
        if with_hooks {
            self.next_dry_hooks = now.after(DRY_HOOKS);
            run_hook(cx, proposal, scene);
        }
        Ok((target, with_hooks))
    }

    /// The victim was signalled, or would be in a dry run.
    fn follow(&mut self, cx: &mut Context, kill: Kill, with_hooks: bool) {
        if !cx.config.dryrun {
            cx.output.stats.note_victim(kill.event.held.total(), clock::wall());
            cx.tell_signal(&kill.event, kill.target.group);
            return self.add(kill);
        }
        if with_hooks {
            cx.tell_rehearsal(&kill.event);
        }
        if kill.progress.for_memory {
            self.low.rehearsed(clock::now());
        }
    }

    /// In place of what was known of the same process.
    fn add(&mut self, kill: Kill) {
        if kill.progress.for_memory {
            self.low.begins(kill.event.reason == Reason::Tmpfs);
        }
        let id = kill.target.id;
        let is_same =
            |other: &Option<Kill>| other.as_ref().is_some_and(|other| other.target.id == id);
        let place = self.table.iter().position(is_same);
        let place = place.or_else(|| self.table.iter().position(Option::is_none));
        if let Some(place) = place {
            self.table[place] = Some(kill);
        }
    }

    // ---- what others ask ----

    /// New settings are in force. What goes on goes on, if any process may be ended still. Allocates.
    pub fn reset(&mut self, config: &Config) {
        self.low.reset(config);
        let for_limit_too = !config.dryrun && config.limit().is_some();
        let before = std::mem::replace(&mut self.table, empty_table(config)).into_vec();
        let kept = before.into_iter().flatten();
        let kept = kept.filter(|kill| for_limit_too || kill.progress.for_memory);
        self.table.iter_mut().zip(kept).for_each(|(place, kill)| *place = Some(kill));
        self.turn = 0;
    }

    fn for_memory(&self) -> Option<&Kill> {
        self.table.iter().flatten().find(|kill| kill.progress.for_memory)
    }

    /// The kill in which a process is, alone or with its group: whether that is for memory.
    pub fn includes(&self, cx: &mut Context, id: Identity) -> Option<bool> {
        let kill = self.table.iter().flatten().find(|kill| kill.includes(cx, id))?;
        Some(kill.progress.for_memory)
    }

    pub fn has_room(&self) -> bool {
        let for_limit = self.table.iter().flatten().filter(|kill| !kill.progress.for_memory);
        for_limit.count() < FOR_LIMIT
    }

    pub fn attention(&self, scene: &Scene, now: Moment) -> Attention {
        self.low.attention(scene.level, now)
    }

    /// From which level on something can be done for memory now.
    pub fn acts_at(&self, now: Moment) -> Option<Level> {
        self.low.acts_at(self.for_memory().map(|kill| kill.progress.stage), now)
    }

    pub fn is_pausing(&self) -> bool {
        self.low.is_pausing()
    }

    /// Nothing is done for memory.
    pub fn is_idle(&self) -> bool {
        self.low.is_idle()
    }

    /// Memory is fine, and nothing is done for it.
    pub fn end_event(&mut self) {
        self.bombs.forget();
    }

    /// When something is due by time.
    pub fn deadline(&self, grace: Option<Duration>, now: Moment) -> Option<Moment> {
        let mut first = self.low.deadline(now);
        for kill in self.table.iter().flatten() {
            first = least(first, kill.progress.deadline(grace));
        }
        first
    }

    /// Adds what tells the ends. While memory cannot be read, the end of one that is for memory is
    /// not taken note of, and would end every wait.
    pub fn wait_by<const N: usize>(&self, waiter: &mut Waiter<N>, is_blind: bool) {
        for kill in self.table.iter().flatten().filter(|kill| kill.crowd.is_none()) {
            let is_waited_for = !(is_blind && kill.progress.for_memory);
            if let Some(pidfd) = kill.target.pidfd().filter(|_| is_waited_for) {
                waiter.add(pidfd, Interest::Readable);
            }
        }
    }

    /// An end that no descriptor tells must be looked for.
    pub fn needs_looking(&self) -> bool {
        self.table.iter().flatten().any(Kill::needs_looking)
    }
}

/// Whether memory would be above all levels with what a victim gives back.
fn suffices(scene: &Scene, held: Held) -> bool {
    scene.level_at(scene.memory.available.plus(held.anon)) == Level::Fine
}

impl Proposal {
    fn reason(&self, scene: Option<&Scene>) -> Reason {
        match (self.limit, scene) {
            (Some(_), _) => Reason::Limit,
            _ if self.writer.is_some() => Reason::Tmpfs,
            (None, Some(scene)) if scene.is_stall => Reason::Stall,
            (None, _) => Reason::Memory,
        }
    }
}

/// Runs the hook before the kill. SIGTERM waits for it, but not where memory gets worse meanwhile.
fn run_hook(cx: &mut Context, proposal: &Proposal, scene: Option<&Scene>) {
    if cx.config.hooks.pre_kill.is_none() {
        return;
    }
    let event = cx.event(&proposal.stat, proposal.signal, proposal.reason(scene));
    cx.output.helper.run_hook(When::Before, &event);
    if proposal.signal == KillSignal::Term {
        let hurry = if proposal.limit.is_some() { Level::Term } else { Level::Kill };
        wait_for_hook(cx, proposal.hook_until, hurry);
    }
}

/// First the signal, then the message. In a dry run there is only the message.
fn send(
    cx: &mut Context,
    mut target: Target,
    proposal: &Proposal,
    scene: Option<&Scene>,
) -> Result<Kill, Miss> {
    let Proposal { stat, signal, limit, writer, .. } = proposal;
    let mut event = cx.event(stat, *signal, proposal.reason(scene));
    let to_send = (!event.dryrun).then_some(*signal);
    // What follows reads a file of each process, and before Linux 6.8 that may wait. The victim of a
    // group that goes with `-g` must not get SIGTERM twice.
    let can_be_first = *signal == KillSignal::Kill || !cx.config.kill_group;
    let first = to_send.filter(|_| can_be_first && limit.is_none() && cx.oom_group.is_mounted());
    let mut sharers = 0;
    if let Some(first) = first {
        sharers = signal_sharers(cx, stat.id, to_send);
        signal_victim(cx, &target, first)?;
    }
    // What is in its group is looked at last: others may have joined it a moment ago.
    let Company { members, spared } = cx.company(stat, event.held, limit.is_none());
    if let Some(members) = &members {
        (target.group, event.held) = (Some(members.group), members.held);
    }
    if first.is_none() {
        sharers = signal_sharers(cx, stat.id, to_send);
    }
    match (first, to_send, &members) {
        (None, Some(signal), _) => signal_all(cx, &target, members.as_ref(), signal)?,
        // The victim may have ended by now.
        (Some(signal), _, Some(members)) => signal_others(cx, &target, members, signal),
        _ => {}
    }
    let helper = &mut cx.output.helper;
    match (limit, scene) {
        (None, Some(scene)) => log::low(helper, scene, *signal),
        _ => log::above_limit(helper, &event, limit.unwrap_or_default()),
    }
    if let Some(writer) = writer {
        log::writer(helper, writer);
    }
    log::sending(helper, &event);
    for (group, why) in spared.iter().flatten() {
        log::group_spared(helper, Whole(*group, &cx.oom_group), why, cx.config.kill_group);
    }
    if let Some(members) = &members {
        log::group_too(helper, members, &cx.oom_group, event.dryrun);
    }
    let mut held = event.held;
    if sharers > 0 {
        log::sharers_too(helper, &event, sharers);
        // Others may keep it.
        held = Held::default();
    }
    let aftermath = Aftermath::of(held, &cx.memory);
    let (grace, now) = (cx.config.grace, clock::now());
    let progress = Progress::begin(*signal, limit.is_none(), grace, aftermath, now);
    Ok(Kill { target, event, crowd: None, progress })
}

/// The victim comes first: it holds most.
fn signal_all(
    cx: &mut Context,
    target: &Target,
    members: Option<&Members>,
    signal: KillSignal,
) -> Result<(), Miss> {
    // The victim itself may have ended: then only other members of its cgroup are left.
    let is_left = target.group == Some(Group::Cgroup) && target.has_left_others();
    match signal_victim(cx, target, signal) {
        Err(Miss::Gone) if is_left => {}
        result => result?,
    }
    if let Some(members @ Members { group: Group::Cgroup, .. }) = members {
        signal_others(cx, target, members, signal);
    }
    Ok(())
}

fn signal_victim(cx: &mut Context, target: &Target, signal: KillSignal) -> Result<(), Miss> {
    target.signal(&mut cx.proc, signal).map_err(|error| {
        if !error.is_not_permitted() {
            return Miss::Gone;
        }
        cx.give_up(target.id);
        log::not_permitted(&mut cx.output.helper, target.id.pid, error);
        Miss::Refused
    })
}

/// After the victim, which may have ended by now.
fn signal_others(cx: &mut Context, target: &Target, members: &Members, signal: KillSignal) {
    if let Group::Processes(_) = members.group {
        let _ = target.signal(&mut cx.proc, signal);
        return;
    }
    let kills_all = signal == KillSignal::Kill && members.exempt == 0;
    if !kills_all || cx.oom_group.kill_all().is_err() {
        signal_members(cx, target.id, Some(signal));
    }
}

/// SIGKILL to a victim that was asked, and to all that is in its group by now.
fn signal_again(cx: &mut Context, target: &mut Target) -> Result<(), Miss> {
    let kill = KillSignal::Kill;
    signal_sharers(cx, target.id, Some(kill));
    let is_first = target.group == Some(Group::Cgroup) && !target.has_left_others();
    if is_first {
        signal_victim(cx, target, kill)?;
    }
    // Others may have joined the group since it was asked.
    let members = target.group.map(|group| (group, cx.members(group)));
    if let Some((group, Err(why))) = &members {
        target.group = None;
        let group = Whole(*group, &cx.oom_group);
        log::group_spared(&mut cx.output.helper, group, why, false);
    }
    let members = members.and_then(|(_, members)| members.ok());
    match members {
        Some(members) if is_first => signal_others(cx, target, &members, kill),
        None if is_first => {}
        members => signal_all(cx, target, members.as_ref(), kill)?,
    }
    Ok(())
}

fn signal_sharers(cx: &mut Context, id: Identity, signal: Option<KillSignal>) -> u32 {
    let Selection { proc, mut rules, .. } = cx.selection();
    target::signal_sharers(proc, &mut rules, id, signal)
}

/// What is left of its group has survived SIGKILL.
fn give_up_rest(cx: &mut Context, kill: &Kill) {
    let Some(group) = kill.target.group else { return };
    let Selection { proc, mut rules, oom_group, .. } = cx.selection();
    let rest = target::rest_of(proc, &mut rules, oom_group, group);
    let Some(stat) = &rest.first else { return };
    rest.ids.iter().flatten().for_each(|&id| cx.give_up(id));
    let is_frozen = cx.proc.is_frozen(stat.id.pid);
    log::stuck(&mut cx.output.helper, stat.id.pid, rest.count - 1, is_frozen);
    let event = cx.event(stat, KillSignal::Kill, kill.event.reason);
    cx.notify(Notice::Stuck, &event);
}

fn signal_members(cx: &mut Context, id: Identity, signal: Option<KillSignal>) -> Option<u32> {
    let Selection { proc, mut rules, oom_group, .. } = cx.selection();
    target::signal_members(proc, &mut rules, oom_group, id, signal)
}

fn wait_for_hook(cx: &mut Context, until: Moment, hurry: Level) {
    loop {
        let left = until.since(clock::now());
        if left == Duration::ZERO || cx.output.helper.wait_for_hook(left.min(HOOK_LOOK)) {
            return;
        }
        if cx.observe_again().is_some_and(|scene| scene.level >= hurry) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
