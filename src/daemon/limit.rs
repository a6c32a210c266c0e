//! The limit for each process: everyone above it is asked to end, the largest first, and
//! ended after the grace, whatever memory does.
//!
//! Each offender has a clock of its own. The watch over memory goes on meanwhile: a check
//! looks at memory now and then and gives way.

use super::hold::{InHand, Miss, HOOK};
use super::Daemon;
use crate::config::Limit;
use crate::helper::Word;
use crate::kill::STUCK_AFTER;
use crate::log;
use crate::policy::{Level, Limits};
use crate::procfs::status::Held;
use crate::say;
use crate::scan;
use crate::stats::Reason;
use crate::sys::errno::Errno;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::process::Deadly;
use crate::sys::{clock, machine};
use crate::units::{Identity, KiB, Moment, Pid};
use crate::victim::Candidate;
use std::io;
use std::time::Duration;

/// Offenders that are waited for at a time. Each has a descriptor, of which a service may
/// have 1024; more of them wait for the next check.
pub const FLIGHTS: usize = 32;
/// Where not all could be dealt with, or memory came first.
const SOON: Duration = Duration::from_secs(1);
/// Processes between two looks at memory: a fraction of a millisecond.
const BETWEEN_LOOKS: u32 = 256;

/// Those who were asked to end.
pub struct Offenders {
    flights: [Option<Flight>; FLIGHTS],
    next_check: Option<Moment>,
}

struct Flight {
    hand: InHand,
    held: Held,
    first: Moment,
    /// When something must be done; `None`: never by time.
    deadline: Option<Moment>,
}

impl Offenders {
    pub fn new(limit: Option<Limit>, now: Moment) -> Offenders {
        const NONE: Option<Flight> = None;
        Offenders { flights: [NONE; FLIGHTS], next_check: limit.map(|_| now) }
    }

    /// New settings are in force; who was asked already stays so.
    pub fn reset(&mut self, limit: Option<Limit>, now: Moment) {
        self.next_check = limit.map(|_| now);
    }

    fn is_due(&self, now: Moment) -> bool {
        self.next_check.is_some_and(|at| now >= at)
    }

    fn contains(&self, id: Identity) -> bool {
        self.flights.iter().flatten().any(|flight| flight.hand.target.id == id)
    }

    fn has_room(&self) -> bool {
        self.flights.iter().any(Option::is_none)
    }

    fn add(&mut self, flight: Flight) {
        if let Some(place) = self.flights.iter_mut().find(|place| place.is_none()) {
            *place = Some(flight);
        }
    }

    /// Forgets a process that low memory has made a victim of.
    pub fn forget(&mut self, id: Identity) {
        for place in &mut self.flights {
            if place.as_ref().is_some_and(|flight| flight.hand.target.id == id) {
                *place = None;
            }
        }
    }

    /// One who was sent SIGKILL, and so gives memory back by itself, and what it held.
    pub fn take_dying(&mut self) -> Option<(InHand, Held)> {
        let is_dying = |place: &&mut Option<Flight>| {
            place.as_ref().is_some_and(|flight| flight.hand.event.is_kill)
        };
        let flight = self.flights.iter_mut().find(is_dying)?.take()?;
        Some((flight.hand, flight.held))
    }

    pub fn wait_by<const N: usize>(&self, waiter: &mut Waiter<N>) {
        for pidfd in self.flights.iter().flatten().filter_map(|flight| flight.hand.target.pidfd()) {
            waiter.add(pidfd, Wish::Readable);
        }
    }

    /// An end that no descriptor tells must be looked for.
    pub fn needs_looking(&self) -> bool {
        self.flights.iter().flatten().any(|flight| flight.hand.target.needs_looking())
    }

    /// When something is due by time.
    pub fn deadline(&self) -> Option<Moment> {
        let flights = self.flights.iter().flatten().filter_map(|flight| flight.deadline);
        flights.chain(self.next_check).min()
    }
}

impl Daemon {
    /// Does what is due for the limit. True if that took a while.
    pub(super) fn enforce_limit(&mut self) -> bool {
        for place in 0..FLIGHTS {
            if let Some(flight) = self.offenders.flights[place].take() {
                self.offenders.flights[place] = self.follow(flight);
            }
        }
        let now = clock::now();
        let Some(limit) = self.config.limit.filter(|_| self.offenders.is_due(now)) else {
            return false;
        };
        let all_done = self.check_limit(limit);
        let wait = if all_done { limit.every } else { SOON.min(limit.every) };
        self.offenders.next_check = Some(now.after(wait));
        true
    }

    /// What has become of one who was asked; `None` once nothing more is to be done.
    fn follow(&mut self, mut flight: Flight) -> Option<Flight> {
        let now = clock::now();
        let (id, pid) = (flight.hand.target.id, flight.hand.target.id.pid);
        if flight.hand.target.is_gone(&mut self.proc) {
            log::exited(&mut self.helper, pid, flight.hand.target.group, now.since(flight.first));
            self.ended(&flight.hand.event);
            return None;
        }
        if flight.deadline.map_or(true, |at| now < at) {
            return Some(flight);
        }
        if flight.hand.event.is_kill {
            self.machine.remember_left(id);
            log::stuck(&mut self.helper, pid);
            self.notify(Word::Stuck, &flight.hand.event);
            return None;
        }
        let why = "it ignores SIGTERM and was above the limit";
        if let Err(error) = self.finish_off(&mut flight.hand, why) {
            self.leave_offender(id, &error);
            return None;
        }
        flight.deadline = Some(now.after(STUCK_AFTER));
        Some(flight)
    }

    /// Asks everyone above the limit to end. False if that is not all done.
    fn check_limit(&mut self, limit: Limit) -> bool {
        let (meminfo, config) = (&self.meminfo, &self.config);
        let mut seen = 0;
        let mut give_way = false;
        let above = scan::above(&mut self.proc, limit.rss, &mut |proc| {
            seen += 1;
            if seen % BETWEEN_LOOKS == 0 && !give_way {
                let memory = meminfo.read(proc).ok().flatten();
                give_way = memory.is_some_and(|memory| {
                    Limits::of(config, &memory).level(memory.available, &memory) != Level::Fine
                });
            }
            !give_way
        });
        let above = match above {
            Ok(above) => above,
            Err(error) => {
                let error = Errno(&error);
                say!(self.helper, Error, "cannot list /proc for the limit: {error}; trying again");
                return false;
            }
        };
        // All of a check together wait no longer than one would.
        let hook_until = clock::now().after(HOOK);
        for &(_, pid) in above.entries() {
            if !self.offenders.has_room() {
                return false;
            }
            // One that vanishes meanwhile, or may not be ended, is none.
            let _ = self.ask_to_end(pid, limit, hook_until);
        }
        !give_way && above.is_whole()
    }

    fn ask_to_end(&mut self, pid: Pid, limit: Limit, hook_until: Moment) -> Result<(), Miss> {
        let candidate = self.offender(pid, limit)?;
        let id = candidate.id();
        let in_flight = self.victim.as_ref().is_some_and(|hand| hand.target.id == id);
        if in_flight || self.offenders.contains(id) {
            return Ok(());
        }
        let (signal, reason) = (Deadly::Term, Reason::Limit);
        let mut hand = self.take_hold(&candidate, signal, reason, hook_until, Level::Term)?;
        // All that takes time is done: look again.
        let candidate = self.offender(pid, limit)?;
        if candidate.id() != id {
            return Err(Miss::Gone);
        }
        let sent = self.send(&mut hand, &candidate, signal, |helper, portrait| {
            log::above_limit(helper, portrait, limit.rss);
        });
        if let Err(Miss::Refused(error)) = &sent {
            self.leave_offender(id, error);
        }
        let held = sent?;
        if !self.config.dryrun {
            let first = clock::now();
            let deadline = self.config.grace.map(|grace| first.after(grace));
            self.offenders.add(Flight { hand, held, first, deadline });
        }
        Ok(())
    }

    /// The process as one that may be ended for its size, if it is one.
    fn offender(&mut self, pid: Pid, limit: Limit) -> Result<Candidate, Miss> {
        let stat = self.proc.stat_with_threads(pid).map_err(|_| Miss::Gone)?;
        let rss = KiB::from_pages(stat.rss_pages, machine::page());
        if rss <= limit.rss {
            return Err(Miss::Recovered);
        }
        self.judging(|proc, rules, judge| {
            let protection =
                rules.protection(&stat).or_else(|| scan::exemption(proc, rules, judge, &stat));
            if protection.is_some() {
                return Err(Miss::Gone);
            }
            let score = proc.oom_score(pid).unwrap_or(0);
            let standing = rules.standing(rules.scale.points(score), rss);
            Ok(Candidate { stat, score, standing, verdict: Default::default() })
        })
    }

    fn leave_offender(&mut self, id: Identity, error: &io::Error) {
        self.machine.remember_left(id);
        log::not_permitted(&mut self.helper, id.pid, error);
    }
}
