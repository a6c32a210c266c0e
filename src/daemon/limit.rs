//! The limit for each process: everyone above it is asked to end, the largest first, and
//! ended after the grace, whatever memory does.
//!
//! Each offender has a clock of its own. The watch over memory goes on meanwhile: between
//! any two steps here it has its turn, and while memory is low a check waits.

use super::hold::{Court, InHand, HOOK};
use super::Daemon;
use crate::helper::Notice;
use crate::kill::{DRY, LET_OFF_AFTER, STUCK_AFTER};
use crate::log;
use crate::memory::Memory;
use crate::policy::Level;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::say;
use crate::select::{self, Shortlist};
use crate::settings::{Config, Limit};
use crate::stats::Reason;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::process::Deadly;
use crate::sys::{clock, machine};
use crate::units::{Identity, KiB, Moment, Pid};
use std::time::Duration;

/// Offenders that are waited for at a time. Each has a descriptor, of which a service may
/// have 1024; more of them wait for a later check.
pub const FLIGHTS: usize = 32;
/// Where not all could be dealt with, or memory came first.
const SOON: Duration = Duration::from_secs(1);
/// A helper that owes an answer for so long is replaced, and whom it is about is passed over
/// for a minute. Less, and a new one that waits for its turn on a busy machine would be.
const HANGS: Duration = Duration::from_secs(3);
/// Processes between two looks at memory: a fraction of a millisecond.
const BETWEEN_LOOKS: u32 = 256;
/// Whether a group is empty takes a walk over `/proc`: of all groups together not more than
/// this often.
const WALK: Duration = Duration::from_millis(100);

/// Those above the limit.
pub struct Offenders {
    /// Who was asked to end.
    flights: [Option<Flight>; FLIGHTS],
    /// Who was found by the last check and not dealt with yet.
    found: Option<Queue>,
    next_check: Option<Moment>,
    next_walk: Moment,
    /// Whose group is next to be looked at.
    turn: usize,
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

pub struct Flight {
    pub hand: InHand,
    pub held: Held,
    pub first: Moment,
    /// When something must be done.
    pub deadline: Moment,
    /// As it was at the last signal.
    pub memory: Option<Memory>,
}

impl Offenders {
    pub fn new(limit: Option<Limit>, now: Moment) -> Offenders {
        const NONE: Option<Flight> = None;
        let next_check = limit.map(|_| now);
        let flights = [NONE; FLIGHTS];
        Offenders { flights, found: None, next_check, next_walk: now, turn: 0, last: None }
    }

    /// New settings are in force. Who was asked is waited for, if anyone may be ended still.
    pub fn reset(&mut self, limit: Option<Limit>, dryrun: bool, now: Moment) {
        if dryrun || limit.is_none() {
            self.flights.iter_mut().for_each(|place| *place = None);
        }
        self.found = None;
        self.next_check = limit.map(|_| now);
    }

    /// Checks again soon: one that was left to low memory has been let off.
    pub fn check_again(&mut self, now: Moment) {
        self.next_check = self.next_check.map(|at| at.min(now));
    }

    fn is_due(&self, now: Moment) -> bool {
        self.next_check.is_some_and(|at| now >= at)
    }

    /// It was asked already, alone or with its group.
    fn contains(&self, id: Identity, pgid: i32) -> bool {
        self.flights.iter().flatten().any(|flight| flight.hand.includes(id, pgid))
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
        let mut first = self.next_check;
        for flight in self.flights.iter().flatten() {
            first = Some(first.map_or(flight.deadline, |first| first.min(flight.deadline)));
        }
        first
    }
}

impl Daemon {
    /// Does one step of what is due for the limit. True if that took a while, or another step
    /// is due.
    pub(super) fn enforce_limit(&mut self) -> bool {
        let busy = self.follow_flights();
        if busy || self.deal_with_next() {
            return true;
        }
        let now = clock::now();
        let due = self.config.limit().filter(|_| self.offenders.is_due(now));
        let Some(limit) = due else { return false };
        self.find_offenders(limit, now);
        true
    }

    /// True if one of them took a while.
    fn follow_flights(&mut self) -> bool {
        let now = clock::now();
        let may_walk = now >= self.offenders.next_walk;
        let first = self.offenders.turn;
        for place in (0..FLIGHTS).map(|step| (first + step) % FLIGHTS) {
            let Some(mut flight) = self.offenders.flights[place].take() else { continue };
            flight.hand.target.has_ended();
            let walks = flight.hand.target.takes_a_walk();
            let is_late = now >= flight.deadline;
            if walks && may_walk {
                self.offenders.next_walk = now.after(WALK);
                self.offenders.turn = place + 1;
            }
            let gone = (!walks || may_walk) && flight.hand.target.is_gone(&mut self.proc);
            if gone {
                let (target, first) = (&flight.hand.target, flight.first);
                log::exited(&mut self.helper, target.id.pid, target.group, now.since(first));
                self.ended(&flight.hand.event);
            } else if !is_late || self.put_off(&mut flight, now) {
                self.offenders.flights[place] = Some(flight);
            }
            if is_late || (walks && may_walk) {
                return true;
            }
        }
        false
    }

    /// The time of one is over. True if it is waited for on.
    fn put_off(&mut self, flight: &mut Flight, now: Moment) -> bool {
        let id = flight.hand.target.id;
        if flight.hand.event.is_kill {
            self.machine.remember_left(id);
            log::stuck(&mut self.helper, id.pid);
            self.notify(Notice::Stuck, &flight.hand.event);
            return false;
        }
        // Never by time; it is asked anew at a later check.
        if self.config.grace.is_none() {
            return false;
        }
        let why = "it ignores SIGTERM and was above the limit";
        flight.deadline = now.after(STUCK_AFTER);
        flight.memory = self.memory();
        self.finish_off(&mut flight.hand, why)
    }

    /// Finds everyone above the limit. Memory comes first: where something can be done about
    /// it, that ends early.
    fn find_offenders(&mut self, limit: Limit, now: Moment) {
        let acts_at = self.machine.acts_at(now);
        let last = self.offenders.last;
        let mut seen = 0;
        let mut give_way = false;
        let Court { proc, observer, config, mut rules } = self.court();
        let found = select::above(proc, &mut rules, limit.rss, last, &mut |proc| {
            seen += 1;
            if seen % BETWEEN_LOOKS == 0 && !give_way {
                let level = observer.glance(proc, config);
                give_way = acts_at.is_some_and(|acts_at| level >= Some(acts_at));
            }
            !give_way
        });
        self.offenders.next_check = Some(now.after(pace(&self.config, limit.every)));
        let mut again_soon = give_way;
        // Others may have been spared only because the helper hangs.
        if self.helper.is_behind() && !self.config.patterns.is_empty() {
            // It may be only late.
            if self.helper.may_be_replaced() && self.helper.is_silent_for(HANGS) {
                self.replace_helper();
            }
            again_soon = true;
        }
        match found {
            Ok(list) => {
                let is_whole = list.dropped().is_none();
                again_soon |= !is_whole;
                // In a dry run the largest would be found again and again.
                let goes_on = self.config.dryrun && !is_whole;
                self.offenders.last = list.entries().last().copied().filter(|_| goes_on);
                let hook_until = clock::now().after(HOOK);
                self.offenders.found = Some(Queue { list, next: 0, again_soon, hook_until });
            }
            Err(error) => {
                say!(self.helper, Error, "cannot list /proc for the limit: {error}; trying again");
            }
        }
    }

    /// Asks the next one to end. False if there is none.
    fn deal_with_next(&mut self) -> bool {
        let (Some(queue), Some(limit)) = (&mut self.offenders.found, self.config.limit()) else {
            return false;
        };
        let Some(&(_, pid)) = queue.list.entries().get(queue.next) else {
            let some_are_late = self.helper.is_behind() && !self.config.patterns.is_empty();
            if queue.again_soon || some_are_late {
                let soon = clock::now().after(pace(&self.config, SOON.min(limit.every)));
                self.offenders.next_check = Some(soon);
            }
            self.offenders.found = None;
            return false;
        };
        queue.next += 1;
        let hook_until = queue.hook_until;
        let later = self.ask_to_end(pid, limit, hook_until);
        if let Some(queue) = &mut self.offenders.found {
            queue.again_soon |= later;
        }
        true
    }

    /// True if that has to wait: low memory may still let it off, or there is no room. One that
    /// vanishes meanwhile, or may not be ended, is none.
    fn ask_to_end(&mut self, pid: Pid, limit: Limit, hook_until: Moment) -> bool {
        let Some(stat) = &self.offender(pid, limit) else { return false };
        let (id, pgid) = (stat.id, stat.pgid);
        if self.offenders.contains(id, pgid) {
            return false;
        }
        let is_victim = self.victim.as_ref().is_some_and(|hand| hand.includes(id, pgid));
        if is_victim || !self.offenders.has_room() {
            return true;
        }
        let (signal, reason) = (Deadly::Term, Reason::Limit);
        let mut hand = self.take_hold(stat, signal, reason, hook_until, Level::Term);
        let Some(in_hand) = &mut hand else { return false };
        // All that takes time is done: look again.
        let again = self.offender(pid, limit);
        let Some(stat) = again.as_ref().filter(|again| again.id == id) else { return false };
        let Ok(held) = self.send(in_hand, stat, signal, None) else { return false };
        if let (Some(hand), false) = (hand, self.config.dryrun) {
            let first = clock::now();
            let deadline = first.after(self.config.grace.unwrap_or(LET_OFF_AFTER));
            self.offenders.add(Flight { hand, held, first, deadline, memory: self.memory() });
        }
        false
    }

    /// The process as one that may be ended for its size, if it is one.
    fn offender(&mut self, pid: Pid, limit: Limit) -> Option<Stat> {
        let stat = self.proc.stat_with_threads(pid).ok()?;
        let rss = KiB::from_pages(self.proc.exact_resident_pages(&stat).ok()?, machine::page());
        let Court { proc, mut rules, .. } = self.court();
        let is_over = rss > limit.rss && rules.protection(proc, &stat).is_none();
        is_over.then_some(stat)
    }

    /// The largest that was asked to end, if its end is near or gives back what is missing:
    /// then nobody else needs to go.
    pub(super) fn take_offender(&mut self) -> Option<Flight> {
        let scene = self.scene?;
        let suffices =
            |held: Held| scene.level_at(scene.memory.available.plus(held.anon)) == Level::Fine;
        let Daemon { offenders, proc, .. } = self;
        let mut largest: Option<(KiB, usize)> = None;
        for (place, flight) in offenders.flights.iter_mut().enumerate() {
            let Some(flight) = flight else { continue };
            let will_do = flight.hand.event.is_kill || suffices(flight.held);
            let target = &mut flight.hand.target;
            let ended = target.has_ended() || target.takes_a_walk();
            if will_do && !ended && proc.is_running(target.id).unwrap_or(false) {
                largest = largest.max(Some((flight.held.total(), place)));
            }
        }
        offenders.flights[largest?.1].take()
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
