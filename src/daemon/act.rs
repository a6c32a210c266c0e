//! What low memory asks for: choosing a victim, ending it, and what follows.

use super::hold::{Court, InHand, Miss, HOOK};
use super::limit::Flight;
use super::Daemon;
use crate::event::Event;
use crate::helper::Notice;
use crate::kill::{Adopted, Step, Urgency};
use crate::log;
use crate::memory::Memory;
use crate::policy::{Level, Limits, Scene};
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::say;
use crate::select::{self, Empty, Found};
use crate::stats::Reason;
use crate::sys::errno;
use crate::sys::io;
use crate::sys::process::Deadly;
use crate::sys::{clock, fd};
use crate::units::KiB;
use std::os::fd::AsFd;

/// A scan takes long enough for its result to have vanished; then it is made again.
const ATTEMPTS: usize = 3;

impl Daemon {
    pub(super) fn perform(&mut self, step: Step, memory: &Memory) {
        match step {
            Step::Wait => {}
            Step::Choose(signal) if self.config.kernel_oom => self.delegate(signal, memory),
            Step::Choose(signal) => match self.take_offender() {
                Some(flight) => self.adopt(flight, signal, memory),
                None => self.choose(signal, memory),
            },
            // The victim may have been chosen before the bomb could be told.
            Step::Escalate(_) if self.end_bomb(memory) => {
                if !self.victim.as_ref().is_some_and(|hand| hand.bomb.is_some()) {
                    self.victim = None;
                    self.machine.spare();
                }
            }
            Step::Escalate(urgency) => self.escalate(urgency),
            Step::Ended { after } => {
                // What stalled for its sake is not to be laid at the next one's door.
                self.observer.restart_stalls();
                if let Some(hand) = self.victim.take() {
                    let InHand { target, bomb, event, .. } = &hand;
                    match bomb {
                        Some(ending) => log::bomb_ended(&mut self.helper, ending.count, after),
                        None => log::exited(&mut self.helper, target.id.pid, target.group, after),
                    }
                    self.ended(event);
                }
            }
            Step::LetOff { id } => {
                self.victim = None;
                self.offenders.check_again(clock::now());
                let pid = id.pid;
                say!(
                    self.helper,
                    Notice,
                    "process {pid} did not exit, but memory has recovered: let off"
                );
            }
            Step::Stuck { id } => {
                log::stuck(&mut self.helper, id.pid);
                if let Some(hand) = self.victim.take() {
                    hand.bomb.iter().for_each(|ending| self.bombs.leave(ending));
                    self.notify(Notice::Stuck, &hand.event);
                }
            }
            Step::Useless { gained, expected, taken, pause } => {
                log::useless(&mut self.helper, memory, [gained, expected, taken], pause);
            }
        }
    }

    /// One above the limit was asked to end anyway: it is the victim of this event.
    fn adopt(&mut self, flight: Flight, signal: Deadly, memory: &Memory) {
        let Flight { hand, held, first, deadline, memory: before } = flight;
        let id = hand.target.id;
        log::low(&mut self.helper, &self.config, memory, signal);
        say!(self.helper, Notice, "process {} was asked to end already: waiting for it", id.pid);
        let signal = if hand.event.is_kill { Deadly::Kill } else { Deadly::Term };
        let adopted = Adopted { id, signal, held, first, deadline };
        self.machine.adopt(adopted, &before.unwrap_or(*memory));
        self.victim = Some(hand);
    }

    fn choose(&mut self, signal: Deadly, memory: &Memory) {
        for _ in 0..ATTEMPTS {
            // Before the search, which reads a file of each process while a bomb goes on.
            if self.end_bomb(memory) {
                return;
            }
            let mut best = self.foreseen(memory);
            if best.is_none() {
                let found = match self.find(memory) {
                    Ok(found) => found,
                    Err(error) => return self.wait_in_vain("list /proc", error, memory),
                };
                if self.awaits_a_departure(memory, &found.empty) {
                    return;
                }
                best = found.best;
            }
            let Some(candidate) = &best else {
                // A process may have been protected only because the helper hangs.
                if self.helper.may_be_replaced() && !self.config.patterns.is_empty() {
                    self.replace_helper();
                    continue;
                }
                log::low(&mut self.helper, &self.config, memory, signal);
                let wait = self.machine.alone(memory, clock::now());
                self.helper.ask_again();
                log::nobody(&mut self.helper, wait);
                return self
                    .notify(Notice::NoCandidate, &Event::without_victim(self.config.dryrun));
            };
            let pid = candidate.id().pid;
            let (why, again) = match self.end(&candidate.stat, signal) {
                Ok(()) | Err(Miss::Refused) => return,
                Err(Miss::Gone) => ("is gone already", true),
                Err(Miss::Recovered) => ("is spared: memory has recovered", false),
            };
            if self.config.debug {
                say!(self.helper, Debug, "process {pid} {why}");
            }
            if !again {
                return;
            }
        }
    }

    /// Whether a process exits by itself and is waited for, before any is ended. Not while memory
    /// still falls from what it was `before`: then there is no time to look for one.
    fn awaits_a_departure(&mut self, before: &Memory, empty: &Empty) -> bool {
        let fresh = self.look_again().filter(|_| self.machine.may_await());
        let Some(Scene { memory, .. }) = fresh else { return false };
        if memory.available.plus(memory.noise()) < before.available {
            return false;
        }
        let Court { proc, rules, .. } = self.court();
        let Some(id) = select::leaving(proc, &rules, empty) else { return false };
        self.machine.await_exit(&memory, clock::now());
        if self.config.debug {
            say!(self.helper, Debug, "process {} leaves by itself: waiting for it", id.pid);
        }
        true
    }

    fn wait_in_vain(&mut self, what: &str, error: io::Error, memory: &Memory) {
        let seconds = self.machine.alone(memory, clock::now()).as_secs();
        say!(self.helper, Error, "cannot {what}: {error}; trying again in {seconds} seconds");
    }

    /// Forks although memory is short: without it nobody would be ended.
    pub(super) fn replace_helper(&mut self) {
        match self.helper.replace() {
            Ok(()) => {
                say!(self.helper, Notice, "the helper process did not answer: started another one")
            }
            Err(error) => log::without(&mut self.helper, "starting the helper again", error),
        }
    }

    pub(super) fn find(&mut self, memory: &Memory) -> io::Result<Found> {
        let before = clock::now();
        let Court { proc, mut rules, .. } = self.court();
        let found = select::find(proc, &mut rules, memory)?;
        if self.config.debug {
            let micros = (clock::now().0 - before.0) / 1000;
            let Found { seen, files, .. } = found;
            say!(
                self.helper,
                Debug,
                "scan: {seen} processes, {files} files, {micros} microseconds"
            );
        }
        Ok(found)
    }

    /// Takes hold of the candidate, looks at it and at memory once more, since choosing took
    /// long enough for the world to change, and ends it.
    fn end(&mut self, stat: &Stat, wanted: Deadly) -> Result<(), Miss> {
        let id = stat.id;
        let wanted = self.machine.signal_for(id, wanted);
        let hook_until = clock::now().after(HOOK);
        let reason = self.reason();
        let mut hand = self.take_hold(stat, wanted, reason, hook_until, Level::Kill);
        let Some(in_hand) = &mut hand else { return Err(Miss::Gone) };
        // All that takes time is done; what is read from here on is fresh. If it cannot be,
        // what was read a moment ago has to do.
        let Some(scene) = self.look_again().or(self.scene) else { return Err(Miss::Recovered) };
        let memory = scene.memory;
        let signal = match scene.level {
            Level::Fine => return Err(Miss::Recovered),
            Level::Term => self.machine.signal_for(id, Deadly::Term),
            Level::Kill => Deadly::Kill,
        };
        let Court { proc, mut rules, .. } = self.court();
        let again = select::look_at(proc, &mut rules, &memory, id);
        let Ok(candidate) = again else { return Err(Miss::Gone) };
        let held = self.send(in_hand, &candidate.stat, signal, Some(&memory))?;
        let now = clock::now();
        if self.config.dryrun {
            self.machine.rehearsed(now);
        } else {
            self.machine.signalled(id, signal, held, &memory, now);
            self.victim = hand;
            self.offenders.forget(id);
        }
        Ok(())
    }

    pub(super) fn reason(&self) -> Reason {
        match self.scene.is_some_and(|scene| scene.is_stall) {
            true => Reason::Stall,
            false => Reason::Memory,
        }
    }

    fn escalate(&mut self, urgency: Urgency) {
        let why = match urgency {
            Urgency::Level => "memory is at or below the limit for SIGKILL",
            Urgency::Grace => "it ignores SIGTERM and memory is still low",
        };
        let mut hand = self.victim.take();
        if hand.as_mut().is_some_and(|hand| self.finish_off(hand, why)) {
            self.victim = hand;
        } else {
            self.machine.spare();
        }
    }

    /// `--kernel-oom`: the kernel chooses and kills.
    fn delegate(&mut self, signal: Deadly, memory: &Memory) {
        let now = clock::now();
        log::low(&mut self.helper, &self.config, memory, signal);
        if self.config.dryrun {
            say!(self.helper, Notice, "would ask the kernel to kill (sysrq f)");
            return self.machine.rehearsed(now);
        }
        let asked =
            self.sysrq.as_ref().map_or(Err(errno::gone()), |sysrq| fd::write(sysrq.as_fd(), b"f"));
        match asked {
            Ok(_) => {
                say!(self.helper, Warning, "asked the kernel to kill (sysrq f)");
                self.notify(Notice::Kernel, &Event::without_victim(false));
                // Whoever it is should give back what is missing.
                let limit = Limits::of(&self.config, memory).mem.term.unwrap_or(KiB::ZERO);
                let anon = limit.less(memory.available).plus(KiB(1));
                self.machine.delegated(Held { anon, ..Held::default() }, memory, now);
            }
            Err(error) => self.wait_in_vain("write to /proc/sysrq-trigger", error, memory),
        }
    }
}
