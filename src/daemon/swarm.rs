//! A fork bomb is ended as one: first all of it is stopped, so that none starts others while
//! others are ended, and then killed.
//!
//! All of that is one step of the watch, bounded in time, so that nobody stays stopped: the guard
//! itself takes signals only between two steps (and a supervisor must leave it that time).

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
use crate::scan;
use crate::swarm::{self, Herd, Swarm};
use crate::sys::fd::Waiter;
use crate::sys::process::{self, Deadly, Order};
use crate::sys::{clock, machine};
use crate::units::{KiB, Moment, Pid};
use crate::victim::{Candidate, BONUS};
use std::time::Duration;

/// Whoever was told to stop makes no other process (`copy_process` in kernel/fork.c), but for the
/// one that is under way, which may wait for memory.
const STOP: Duration = Duration::from_secs(1);
/// To end takes longer: each has its memory to give back. Seen with 800 on a slow processor: 2 s.
const END: Duration = Duration::from_secs(4);
/// So long those that end leave the processors to others: at 800 ends nobody else would get one.
/// Then they have their turns again, lest programs that never wait keep them from ending.
const BEHIND: Duration = Duration::from_secs(2);
/// For what was signalled to get its turn, at least and at most.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);
/// So many numbers before the last one are asked for again: a process has its number some time
/// before it can be found by that (`alloc_pid` in kernel/pid.c).
const LATE: i32 = 64;
/// Passes that met new ones before their session's leader has to stop, too. As a rule that is a
/// login shell that waits; one that sees it stopped may take it for the user's wish (sudo).
const WITHOUT_LEADER: u32 = 2;

/// What may be a fork bomb.
pub(super) struct Suspect {
    herd: Herd,
    /// As a glance tells; those that came last were started `since` then.
    swarm: Swarm,
    has_leader: bool,
}

/// Who stands for all.
#[derive(Default)]
struct Roll {
    largest: Option<Stat>,
}

impl Daemon {
    /// Ends a fork bomb, if there is one that goes before the best single candidate. True if
    /// that is all that is to be done now.
    #[inline(never)]
    pub(super) fn end_swarm(&mut self, memory: &Memory) -> bool {
        let mut suspect = self.suspect_swarm(memory);
        if self.end_suspect(&mut suspect, None, memory) {
            return true;
        }
        let mut best = None;
        suspect.is_some()
            && self.find(memory, &mut best).is_ok()
            && self.end_suspect(&mut suspect, best.as_ref(), memory)
    }

    /// Costs one file where nothing is to be suspected.
    #[inline(never)]
    pub(super) fn suspect_swarm(&mut self, memory: &Memory) -> Option<Suspect> {
        let (begin, now) = (clock::now(), clock::ticks());
        let (last, least) = (self.proc.last_pid().ok()?, swarm::least(machine::processors()));
        let herd = Herd::find(last, least, &process::session_of)?;
        let Court { proc, rules, mut judge, .. } = self.court();
        let sessions = &process::session_of;
        let found = swarm::glance(proc, &rules, &mut judge, &herd, now, sessions);
        if self.config.debug {
            let micros = (clock::now().0 - begin.0) / 1000;
            let is_bomb = if found.is_some() { "perhaps a fork bomb" } else { "no fork bomb" };
            say!(self.helper, Debug, "many new processes: {is_bomb}, {micros} microseconds");
        }
        Some(Suspect { herd, swarm: found?.within(memory), has_leader: false })
    }

    /// Ends what is suspected, if it goes before the `best` single candidate; as long as nobody
    /// has searched for that, if nobody can go before it. Then nothing is left to suspect.
    #[inline(never)]
    pub(super) fn end_suspect(
        &mut self,
        suspect: &mut Option<Suspect>,
        best: Option<&Candidate>,
        memory: &Memory,
    ) -> bool {
        let Some(found) = suspect else { return false };
        let rival = match best {
            Some(best) => self.rival(best, memory),
            None if found.swarm.is_most(memory) => KiB::ZERO,
            None => return false,
        };
        if !self.exceeds(&found.swarm, rival, memory) {
            return false;
        }
        match suspect.take() {
            Some(found) if self.config.dryrun => self.rehearse_swarm(&found, memory),
            Some(found) => self.stop_and_end(found, memory),
            None => false,
        }
    }

    /// It is large enough, goes before the largest single candidate, and its end brings memory
    /// back: else it is not what fills memory.
    fn exceeds(&self, swarm: &Swarm, rival: KiB, memory: &Memory) -> bool {
        swarm.count >= swarm::least(machine::processors())
            && swarm.held >= rival
            && swarm.held >= self.missing(memory)
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

    /// Measures all of it, where all is quiet. `None` if it is none, or another goes before it.
    #[inline(never)]
    fn measure(&mut self, suspect: &Suspect, memory: &Memory) -> Option<(Swarm, Roll)> {
        let Swarm { kind, since, .. } = suspect.swarm;
        let mut roll = Roll::default();
        let Court { proc, rules, mut judge, .. } = self.court();
        let now = clock::ticks();
        let sessions = &process::session_of;
        let swarm = swarm::measure(proc, &rules, &mut judge, kind, now, sessions, &mut |stat| {
            // Older ones may be none of it.
            if stat.id.start >= since {
                roll.add(stat);
            }
        });
        let swarm = swarm.ok().flatten()?.within(memory);
        let mut rival = KiB::ZERO;
        if !swarm.is_most(memory) {
            let mut best = None;
            self.find(memory, &mut best).ok()?;
            // Where nobody may be ended, it may not.
            rival = self.rival(best.as_ref()?, memory);
        }
        self.exceeds(&swarm, rival, memory).then_some((swarm, roll))
    }

    /// How far available memory is below the level.
    fn missing(&self, memory: &Memory) -> KiB {
        let limits = Limits::of(&self.config, memory);
        limits.mem.term.unwrap_or(KiB::ZERO).less(memory.available)
    }

    #[inline(never)]
    fn stop_and_end(&mut self, mut suspect: Suspect, before: &Memory) -> bool {
        self.stop_all(&mut suspect);
        let first = clock::now();
        // All is quiet now: look again.
        let found = self.measure(&suspect, before);
        // Who waited for memory in the middle of a fork may have made one more meanwhile.
        self.stop_all(&mut suspect);
        let memory = self.fresh_memory().unwrap_or(*before);
        // Little more than the level is no recovery: they stand still.
        let is_fine = memory.available > Limits::of(&self.config, &memory).stall.mem;
        let left = match &found {
            Some((swarm, roll)) if !is_fine => self.kill_swarm(swarm, roll, &memory),
            _ => None,
        };
        // Those that were spared after all, too.
        let_go(&suspect);
        let (Some((swarm, _)), Some(left)) = (found, left) else {
            log::swarm_spared(&mut self.helper, is_fine);
            return is_fine;
        };
        let now = clock::now();
        let count = swarm.count.saturating_sub(left);
        log::swarm_ended(&mut self.helper, count, left, now.since(first));
        let anon = swarm.held.min(self.missing(&memory).plus(KiB(1)));
        self.machine.delegated(Held { anon, ..Held::default() }, &memory, now);
        self.meminfo.forget_stalls();
        true
    }

    /// How many do not end.
    #[inline(never)]
    fn kill_swarm(&mut self, swarm: &Swarm, roll: &Roll, memory: &Memory) -> Option<u32> {
        let largest = roll.largest.as_ref()?;
        log::low(&mut self.helper, &self.config, memory, Deadly::Kill);
        log::swarm(&mut self.helper, swarm, largest, false);
        let event = self.event_of(largest, memory);
        if self.may_run_hooks() && self.config.hooks.pre_kill.is_some() {
            self.helper.run_hook(When::Before, &event);
        }
        let left = self.kill_all(swarm);
        self.note_swarm(swarm, &event);
        Some(left)
    }

    #[inline(never)]
    fn note_swarm(&mut self, swarm: &Swarm, event: &Event) {
        self.stats.note_victim(swarm.held, clock::wall());
        (0..swarm.count).for_each(|_| self.stats.count(event.reason, true));
        self.notify(Word::Killed, event);
        self.report_numbers();
        self.ended(event);
    }

    #[inline(never)]
    fn rehearse_swarm(&mut self, suspect: &Suspect, memory: &Memory) -> bool {
        let found = self.measure(suspect, memory);
        let Some((swarm, Roll { largest: Some(largest), .. })) = &found else { return false };
        log::low(&mut self.helper, &self.config, memory, Deadly::Kill);
        log::swarm(&mut self.helper, swarm, largest, true);
        let event = self.event_of(largest, memory);
        if self.may_run_hooks() {
            if self.config.hooks.pre_kill.is_some() {
                self.helper.run_hook(When::Before, &event);
            }
            self.notify(Word::Killed, &event);
            self.ended(&event);
        }
        self.machine.rehearsed(clock::now());
        true
    }

    /// What hooks and people are told: the largest stands for all.
    fn event_of(&mut self, largest: &Stat, memory: &Memory) -> Event {
        let score = self.proc.oom_score(largest.id.pid).unwrap_or(0);
        let rss = KiB::from_pages(largest.rss_pages, machine::page());
        let Court { rules, .. } = self.court();
        let standing = rules.standing(rules.scale.points(score), rss, largest.id);
        let stat = largest.clone();
        let candidate = Candidate { stat, score, standing, verdict: Verdict::default() };
        self.event(&candidate, Deadly::Kill, self.reason(memory))
    }

    /// Stops all of the session that came lately: from one number to the next, until nobody new
    /// is met.
    #[inline(never)]
    fn stop_all(&mut self, suspect: &mut Suspect) {
        let Suspect { herd, has_leader, .. } = suspect;
        let Court { proc, rules, .. } = self.court();
        // Only while it stops them: whoever runs before all others and has to wait for memory
        // holds those up that give memory back (kswapd, RCU).
        process::go_first();
        let mut pause = Pause::until(STOP);
        let (mut from, mut met, mut passes) = (herd.lowest, 0, 0);
        loop {
            let mut new = 0;
            for number in from..=herd.last {
                let Some(pid) = Pid::new(number.into()) else { continue };
                let is_spared = rules.family.includes(pid) || number == herd.session;
                if !is_spared && stop(pid, herd.session) {
                    new += u32::from(number > met);
                }
            }
            passes += 1;
            if new == 0 {
                break;
            }
            if let (Some(leader), true) = (Pid::new(herd.session.into()), passes > WITHOUT_LEADER) {
                *has_leader = !rules.family.includes(leader) && stop(leader, herd.session);
            }
            if !pause.wait() {
                break;
            }
            met = herd.last;
            from = (met - LATE).max(herd.lowest);
            let last = proc.last_pid().map_or(met, Pid::number);
            // Lower where numbers have begun anew.
            herd.last = last.max(met);
        }
        process::go_in_turn();
    }

    /// How many do not end.
    #[inline(never)]
    fn kill_all(&mut self, swarm: &Swarm) -> u32 {
        let mut pause = Pause::until(END);
        let in_turn = clock::now().after(BEHIND);
        loop {
            let mut count = 0;
            let niceness = if clock::now() < in_turn { process::LAST } else { process::IN_TURN };
            let Court { proc, rules, mut judge, .. } = self.court();
            let sessions = &process::session_of;
            // Where the walk fails midway, the next one goes on.
            let _ = swarm::for_each(proc, swarm.kind, swarm.since, sessions, &mut |proc, stat| {
                // What is on its way out needs nothing but time.
                let leaves = stat.is_leaving() && stat.threads <= 1;
                if !leaves && scan::protection(proc, &rules, &mut judge, stat).is_none() {
                    // Else it is gone meanwhile, or may not be signalled.
                    let sent = Target::open(proc, stat.id).and_then(|target| {
                        process::renice(stat.id.pid, niceness);
                        target.signal_one(proc, Deadly::Kill)
                    });
                    count += u32::from(sent.is_ok());
                }
            });
            if count == 0 || !pause.wait() {
                return count;
            }
        }
    }
}

impl Roll {
    fn add(&mut self, stat: &Stat) {
        let is_larger = |largest: &Stat| stat.rss_pages > largest.rss_pages;
        if self.largest.as_ref().map_or(true, is_larger) {
            self.largest = Some(stat.clone());
        }
    }
}

/// By number, since a descriptor takes memory; between the two calls numbers cannot have gone
/// round. Even if the number were another's by then, that one is let go like all.
fn stop(pid: Pid, session: i32) -> bool {
    process::session_of(pid) == Some(session) && process::send(pid, Order::STOP).is_ok()
}

/// Lets everybody go on who may have been stopped here: of the session, or on the way into one of
/// its own when the signal came. That says nothing to those that run.
#[inline(never)]
fn let_go(suspect: &Suspect) {
    let Suspect { herd, has_leader, .. } = suspect;
    let leader = has_leader.then_some(herd.session);
    for number in (herd.lowest..=herd.last).chain(leader) {
        let Some(pid) = Pid::new(number.into()) else { continue };
        let session = process::session_of(pid);
        if session.is_some_and(|session| session == herd.session || session == number) {
            let _ = process::send(pid, Order::GO_ON);
        }
    }
}

/// Pauses between walks, until the time is over: as long as the walk took at least, so that those
/// that end have a processor to do that.
struct Pause {
    end: Moment,
    woke: Moment,
}

impl Pause {
    fn until(limit: Duration) -> Pause {
        let now = clock::now();
        Pause { end: now.after(limit), woke: now }
    }

    /// False if the time is over.
    fn wait(&mut self) -> bool {
        let now = clock::now();
        if now >= self.end {
            return false;
        }
        Waiter::<1>::new().wait(Some(now.since(self.woke).clamp(PAUSE, LONGEST_PAUSE)));
        self.woke = clock::now();
        true
    }
}
