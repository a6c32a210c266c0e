//! A fork bomb is ended as one: first all of it is stopped, so that none starts others while
//! others are ended, and then killed.
//!
//! All of that is one step of the watch, bounded in time, so that nobody stays stopped whatever
//! comes: the guard itself takes signals only between two steps.

use super::hold::Court;
use super::Daemon;
use crate::event::Event;
use crate::filter::Verdict;
use crate::helper::{When, Word};
use crate::kill::target::Target;
use crate::log;
use crate::policy::Limits;
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::say;
use crate::scan::Judge;
use crate::swarm::{self, Measure, Parents, Swarm};
use crate::sys::fd::Waiter;
use crate::sys::process::{self, Deadly, Order};
use crate::sys::{clock, machine};
use crate::units::{Identity, KiB, Moment, Pid};
use crate::victim::{Candidate, BONUS};
use std::time::Duration;

/// What stops is stopped by then, unless it waits for a disk: it cannot fork there. One walk does
/// as a rule, since whoever comes later has a higher number and so is met in the same.
const STOP: Duration = Duration::from_secs(1);
/// To end takes longer: each has its memory to give back.
const END: Duration = Duration::from_secs(2);
/// For what was signalled to get its turn; doubled from one walk to the next, up to the longest,
/// since each walk takes a processor from those that end.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Who was met in one walk and may be ended.
#[derive(Default)]
struct Roll {
    count: u32,
    /// Of those, who had not been met in the walk before, and ran.
    new: u32,
    largest: Option<Stat>,
    parents: Parents,
}

impl Daemon {
    /// Ends a fork bomb, if there is one that goes before the `best` single candidate. True if
    /// that is all that is to be done now.
    #[inline(never)]
    pub(super) fn end_swarm(&mut self, best: Option<&Candidate>, memory: &Memory) -> bool {
        let (begin, now) = (clock::now(), clock::ticks());
        let Ok(Some(kind)) = swarm::suspect(&mut self.proc, now) else { return false };
        let mut found = None;
        if best.is_none() && self.find(memory, &mut found).is_err() {
            return false;
        }
        // Where nobody may be ended, it may not.
        let Some(best) = best.or(found.as_ref()) else { return false };
        let rival = self.rival(best, memory);
        let found = self.measure(kind, now, rival, memory);
        if self.config.debug {
            let micros = (clock::now().0 - begin.0) / 1000;
            let is_bomb = if found.is_some() { "a fork bomb" } else { "no fork bomb" };
            say!(self.helper, Debug, "many new processes: {is_bomb}, {micros} microseconds");
        }
        let Some(swarm) = found else { return false };
        if self.config.dryrun {
            self.rehearse_swarm(&swarm, memory);
            return true;
        }
        self.stop_and_end(&swarm, rival, memory)
    }

    /// What the best single candidate counts for.
    #[inline(never)]
    fn rival(&mut self, best: &Candidate, memory: &Memory) -> KiB {
        let raised = match best.verdict {
            Verdict { prefer: Some(_), avoid: None, .. } => {
                KiB(BONUS as u64).scaled(memory.total, KiB(1000))
            }
            _ => KiB::ZERO,
        };
        let status = self.proc.status(&best.stat).unwrap_or_default();
        status.rss.plus(status.swap).plus(raised)
    }

    #[inline(never)]
    fn measure(
        &mut self,
        kind: swarm::Kind,
        now: u64,
        rival: KiB,
        memory: &Memory,
    ) -> Option<Swarm> {
        let measure = Measure::new(machine::processors(), rival, self.missing(memory));
        let Court { proc, rules, mut judge, .. } = self.court();
        let swarm = swarm::measure(proc, &rules, &mut judge, kind, now).ok().flatten()?;
        if rules.ignore_root_user && kind.user == 0 {
            return None;
        }
        // What they have in common was counted with each.
        let most = memory.user.less(memory.available).plus(memory.swap_used());
        let swarm = Swarm { held: swarm.held.min(most), ..swarm };
        measure.exceeded_by(&swarm).then_some(swarm)
    }

    /// How far available memory is below the level.
    fn missing(&self, memory: &Memory) -> KiB {
        let limits = Limits::of(&self.config, memory);
        limits.mem.term.unwrap_or(KiB::ZERO).less(memory.available)
    }

    #[inline(never)]
    fn stop_and_end(&mut self, swarm: &Swarm, rival: KiB, before: &Memory) -> bool {
        // Only while it stops them: whoever runs before all others and has to wait for memory
        // holds those up that give memory back (kswapd, RCU).
        process::go_first();
        let roll = self.stop_all(swarm);
        process::go_in_turn();
        let first = clock::now();
        // All is quiet now: look again.
        let still = self.measure(swarm.kind, clock::ticks(), rival, before);
        let memory = self.fresh_memory().unwrap_or(*before);
        // Little more than the level is no recovery: they stand still.
        let is_fine = memory.available > Limits::of(&self.config, &memory).stall.mem;
        let (Some(largest), Some(_), false) = (&roll.largest, still, is_fine) else {
            self.let_go(swarm);
            if roll.count > 0 {
                log::swarm_spared(&mut self.helper, is_fine);
            }
            return is_fine;
        };
        log::low(&mut self.helper, &self.config, &memory, Deadly::Kill);
        log::swarm(&mut self.helper, swarm, largest, roll.count, false);
        let parent = self.source(swarm, &roll);
        if let Some(parent) = parent {
            self.end_respawner(parent, largest, swarm.since, Deadly::Kill, &memory);
        }
        let event = self.event_of(largest, &memory);
        let hooks = self.may_run_hooks();
        if hooks && self.config.hooks.pre_kill.is_some() {
            self.helper.run_hook(When::Before, &event);
        }
        let left = self.kill_all(swarm);
        // Those that were spared after all.
        self.let_go(swarm);
        let now = clock::now();
        log::swarm_ended(&mut self.helper, roll.count.saturating_sub(left), left, now.since(first));
        self.note_swarm(swarm, &event, roll.count);
        if let Some(parent) = parent {
            self.respawns.note(parent, swarm.since, clock::ticks());
        }
        let anon = swarm.held.min(self.missing(&memory).plus(KiB(1)));
        self.machine.delegated(Held { anon, swap: KiB::ZERO }, &memory, now);
        self.meminfo.forget_stalls();
        true
    }

    #[inline(never)]
    fn note_swarm(&mut self, swarm: &Swarm, event: &Event, count: u32) {
        self.stats.note_victim(swarm.held, clock::wall());
        (0..count).for_each(|_| self.stats.count(event.reason, true));
        self.notify(Word::Killed, event);
        self.report_numbers();
        self.ended(event);
    }

    #[inline(never)]
    fn rehearse_swarm(&mut self, swarm: &Swarm, memory: &Memory) {
        let roll = self.walk(swarm, None, 0);
        if let Some(largest) = &roll.largest {
            log::low(&mut self.helper, &self.config, memory, Deadly::Kill);
            log::swarm(&mut self.helper, swarm, largest, roll.count, true);
            let event = self.event_of(largest, memory);
            if self.may_run_hooks() {
                if self.config.hooks.pre_kill.is_some() {
                    self.helper.run_hook(When::Before, &event);
                }
                self.notify(Word::Killed, &event);
                self.ended(&event);
            }
        }
        self.machine.rehearsed(clock::now());
    }

    /// What hooks and people are told: the largest stands for all.
    fn event_of(&mut self, largest: &Stat, memory: &Memory) -> Event {
        let score = self.proc.oom_score(largest.id.pid).unwrap_or(0);
        let rss = KiB::from_pages(largest.rss_pages, machine::page());
        let Court { rules, .. } = self.court();
        let standing = rules.standing(rules.scale.points(score), rss);
        let stat = largest.clone();
        let candidate = Candidate { stat, score, standing, verdict: Verdict::default() };
        self.event(&candidate, Deadly::Kill, self.reason(memory))
    }

    /// Stops all of it. Returns who was met in the last walk.
    #[inline(never)]
    fn stop_all(&mut self, swarm: &Swarm) -> Roll {
        let (mut pause, mut met) = (Pause::until(STOP), 0);
        loop {
            let now = clock::ticks();
            let roll = self.walk(swarm, Some(Order::STOP), met);
            // Who was met before and still runs has the signal, and no turn yet.
            if roll.new == 0 || !pause.wait() {
                return roll;
            }
            met = now;
        }
    }

    /// How many do not end.
    #[inline(never)]
    fn kill_all(&mut self, swarm: &Swarm) -> u32 {
        let mut pause = Pause::until(END);
        loop {
            let roll = self.walk(swarm, Some(Deadly::Kill.into()), 0);
            if roll.count == 0 || !pause.wait() {
                return roll.count;
            }
        }
    }

    /// Sends `order` to each that may be ended, unless it is stopped and that is all it says.
    /// Those that were started before `met` are not new.
    #[inline(never)]
    fn walk(&mut self, swarm: &Swarm, order: Option<Order>, met: u64) -> Roll {
        let mut roll = Roll::default();
        let Court { proc, rules, mut judge, .. } = self.court();
        // Where the walk fails midway, what was met so far counts.
        let _ = swarm::for_each(proc, swarm.kind, swarm.since, &mut |proc, stat| {
            let is_stopped = stat.is_stopped() && order == Some(Order::STOP);
            if !is_stopped {
                let pid = stat.id.pid;
                if rules.protection(stat).is_some()
                    || swarm::is_exempt(proc, &rules, pid)
                    || judge.judge(proc, stat).spared.is_some()
                    || (rules.ignore_root_user && swarm.kind.user == 0)
                {
                    return;
                }
                if let Some(order) = order {
                    let target = Target::open(proc, stat.id);
                    if target.and_then(|target| target.signal_one(proc, order)).is_err() {
                        // Gone meanwhile, or it may not be signalled.
                        return;
                    }
                }
                roll.new += u32::from(stat.id.start >= met);
            }
            roll.count += 1;
            roll.parents.add(stat.ppid);
            let is_larger = |largest: &Stat| stat.rss_pages > largest.rss_pages;
            if roll.largest.as_ref().map_or(true, is_larger) {
                roll.largest = Some(stat.clone());
            }
        });
        roll
    }

    /// Lets everybody go on who may have been stopped here. Whoever was on the way into another
    /// name, program, user or session when the signal came is in that by now, where one of the
    /// last two is still the same; and who had no turn yet does not show that it will stop. So
    /// all these are told, which says nothing to those that run.
    #[inline(never)]
    fn let_go(&mut self, swarm: &Swarm) {
        let _ = self.proc.for_each(|proc, pid| {
            let Ok(stat) = &proc.stat(pid) else { return };
            let is_near = stat.session == swarm.kind.session
                || proc.owner(pid).is_ok_and(|user| user == swarm.kind.user);
            if stat.id.start >= swarm.since && is_near && !stat.is_kernel_thread() {
                let target = Target::open(proc, stat.id);
                let _ = target.and_then(|target| target.signal_one(proc, Order::GO_ON));
            }
        });
    }

    /// Who has started most of it and is none of it.
    fn source(&mut self, swarm: &Swarm, roll: &Roll) -> Option<Identity> {
        let parent = self.proc.stat(roll.parents.most()?).ok()?;
        let is_member = parent.session == swarm.kind.session && parent.id.start >= swarm.since;
        (!is_member && parent.id.pid != Pid::INIT).then_some(parent.id)
    }
}

/// Pauses between walks, until the time is over.
struct Pause {
    end: Moment,
    next: Duration,
}

impl Pause {
    fn until(limit: Duration) -> Pause {
        Pause { end: clock::now().after(limit), next: PAUSE }
    }

    /// False if the time is over.
    fn wait(&mut self) -> bool {
        if clock::now() >= self.end {
            return false;
        }
        Waiter::<1>::new().wait(Some(self.next));
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}
