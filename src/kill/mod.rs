//! A victim in flight, as a state machine: what the next step is, given what memory and
//! the victim look like.
//!
//! | state | what is seen | next |
//! |---|---|---|
//! | watching | level SIGTERM, the cooldown over | choose, to ask |
//! | watching | level SIGKILL | choose, to end |
//! | watching | chosen, but somebody else leaves by itself | awaiting |
//! | awaiting | memory recovered | watching |
//! | awaiting | gone, nothing comes back, or others take memory | choose again |
//! | in flight, asked | gone | settling |
//! | in flight, asked | level SIGKILL, or the grace over and memory low | SIGKILL |
//! | in flight, asked | the grace over, memory recovered | let off, watching |
//! | in flight, ended | gone | settling |
//! | in flight, ended | 2 s over, no memory coming back | stuck: left alone, watching |
//! | settling | memory given back, or taken by others | watching |
//! | settling | nothing given back | useless: pausing |
//! | watching | memory low, and tmpfs took what was given back | useless: pausing |
//! | pausing | the time over, or fresh memory taken | watching |
//!
//! Pure: `daemon` does what a step says and reports back. `target` has the system calls.

mod departure;
pub mod settle;
pub mod target;

use crate::config::Config;
use crate::policy::{Level, Limits};
use crate::procfs::meminfo::Memory;
use crate::procfs::status::Held;
use crate::sys::process::Deadly;
use crate::units::{Identity, KiB, Moment};
use crate::victim::Remembered;
use departure::{Departure, Hope};
use settle::{Settling, Verdict};
use std::time::Duration;

/// A process in uninterruptible sleep can take this long to notice SIGKILL on a busy
/// disk; one that takes longer will not go, and others must. While it gives memory back,
/// it is going: that of a very large one takes longer.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// With `--grace 0`, when memory has recovered: by then SIGTERM has done what it will.
pub const LET_OFF_AFTER: Duration = Duration::from_secs(5);
/// A candidate may appear (a process that was spared grows); looking costs a scan.
const ALONE: Backoff = Backoff::new(1, 60);
/// Memory where killing does not reach (tmpfs, the kernel) is freed by people.
const USELESS: Backoff = Backoff::new(10, 300);
/// Files that grow more slowly than this after a kill are not what it was for.
const FLOWS_ON: Duration = Duration::from_secs(60);
/// A dry run says each victim at most this often.
pub const DRY: Duration = Duration::from_secs(1);

/// One look at the world.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub now: Moment,
    pub memory: &'a Memory,
    pub limits: &'a Limits,
    /// Nothing of the victim in flight is left alive, or of who is awaited.
    pub victim_gone: bool,
}

impl Look<'_> {
    fn level(&self) -> Level {
        self.limits.level(self.memory.available, self.memory)
    }

    /// Memory that is above a level by less than it moves by itself is at that level: after a kill
    /// that gave nothing back it may be so for long, now above and now below.
    fn level_but_for_noise(&self) -> Level {
        self.limits.level(self.memory.available.less(self.memory.noise()), self.memory)
    }
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing before the next look.
    Wait,
    /// Find a victim for this signal, then call `signalled`, `alone`, `rehearsed` or
    /// `may_await`.
    Choose(Deadly),
    /// SIGKILL to the victim in flight.
    Escalate(Urgency),
    /// The victim is gone.
    Ended { after: Duration },
    /// The victim lives on, since memory has recovered.
    LetOff { id: Identity },
    /// The victim does not die.
    Stuck { id: Identity },
    /// The last kill gave back `gained` of the `expected` memory, or more, and tmpfs has taken
    /// `taken` of it: pausing.
    Useless { gained: KiB, expected: KiB, taken: KiB, pause: Duration },
}

/// Why SIGTERM is not enough any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    Level,
    Grace,
}

/// What the time to the next look goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// The next level is what matters, and how far it is.
    ByHeadroom,
    /// Every change matters: is the memory coming back, or taken by others?
    Closest,
    /// Nothing will be done soon, unless somebody takes memory anew.
    NowAndThen,
}

enum State {
    Watching,
    /// The end of who leaves by itself.
    Awaiting,
    InFlight(Flight),
    Settling(Settling),
    Pausing {
        until: Moment,
        taken_beyond: Option<KiB>,
        /// What was available when the last kill was found to be useless.
        useless_at: Option<KiB>,
    },
}

/// A process that was signalled, and when something must be done about it.
pub struct Adopted {
    pub id: Identity,
    pub signal: Deadly,
    pub held: Held,
    pub first: Moment,
    pub deadline: Moment,
}

struct Flight {
    id: Identity,
    first: Moment,
    /// What ends this stage by time: the grace, or the wait for SIGKILL to work.
    deadline: Moment,
    signal: Deadly,
    /// What was available when the deadline was set.
    available: KiB,
    settling: Settling,
}

pub struct Machine {
    state: State,
    grace: Option<Duration>,
    cooldown: Duration,
    /// No SIGTERM before this.
    cool_at: Moment,
    alone: Backoff,
    useless: Backoff,
    /// The last one that left by itself since memory got low.
    departure: Option<Departure>,
    lingering: Remembered,
    /// What the last victim gave back, and until when that may tell something.
    last: Option<(Settling, Moment)>,
    let_off: Remembered,
    left: Remembered,
}

impl Machine {
    pub fn new(config: &Config) -> Machine {
        Machine {
            state: State::Watching,
            grace: config.grace,
            cooldown: config.cooldown,
            cool_at: Moment::default(),
            alone: ALONE,
            useless: USELESS,
            departure: None,
            lingering: Remembered::default(),
            last: None,
            let_off: Remembered::default(),
            left: Remembered::default(),
        }
    }

    /// New settings are in force; what goes on goes on.
    pub fn reset(&mut self, config: &Config) {
        self.grace = config.grace;
        self.cooldown = config.cooldown;
    }

    /// The next step; call again until it is `Wait`, with a fresh look where one is due.
    #[inline(never)]
    pub fn step(&mut self, look: Look<'_>) -> Step {
        let level = look.level();
        if level == Level::Fine {
            self.departure = None;
        }
        match &mut self.state {
            State::Watching => {}
            State::Awaiting => {
                if !look.victim_gone && self.hopes(look.memory, look.now) {
                    return Step::Wait;
                }
            }
            State::InFlight(flight) => {
                flight.settling.watch_flight(look.memory);
                if look.victim_gone {
                    let after = look.now.since(flight.first);
                    self.cool_at = look.now.after(self.cooldown);
                    self.state = State::Settling(flight.settling.begin(look.now, look.memory));
                    return Step::Ended { after };
                }
                let late = look.now >= flight.deadline;
                return match (flight.signal, level) {
                    (Deadly::Term, Level::Kill) => flight.escalate(look, Urgency::Level),
                    (Deadly::Term, Level::Term) if late && self.grace.is_some() => {
                        flight.escalate(look, Urgency::Grace)
                    }
                    (Deadly::Term, Level::Fine) if late => {
                        let id = flight.id;
                        self.let_off.add(id);
                        self.state = State::Watching;
                        Step::LetOff { id }
                    }
                    (Deadly::Kill, _) if late && flight.gives_back(look) => {
                        flight.kill(look);
                        Step::Wait
                    }
                    (Deadly::Kill, _) if late => {
                        let id = flight.id;
                        self.leave(id);
                        Step::Stuck { id }
                    }
                    _ => Step::Wait,
                };
            }
            State::Settling(settling) => match settling.verdict(look) {
                Verdict::Wait => return Step::Wait,
                Verdict::Over => self.last = Some((*settling, look.now.after(FLOWS_ON))),
                Verdict::Useless { gained, expected } => {
                    return self.useless(look, gained, expected, KiB::ZERO);
                }
            },
            State::Pausing { until, taken_beyond, useless_at } => {
                // What processes take anew is where killing does reach.
                let held = look.memory.held_by_processes();
                let taken = taken_beyond.is_some_and(|beyond| held > beyond);
                // What was given back meanwhile can be taken anew, too.
                let beyond_now = fresh_beyond(look.memory);
                *taken_beyond = taken_beyond.map(|beyond| beyond.min(beyond_now));
                if look.now < *until && !taken {
                    return Step::Wait;
                }
                let still = useless_at.is_some_and(|at| is_still_with_files(look.memory, at));
                let is_low = look.level_but_for_noise() != Level::Fine;
                if is_low && level != Level::Kill && still && !taken {
                    *until = look.now.after(self.useless.next(look.now));
                    return Step::Wait;
                }
            }
        }
        self.state = State::Watching;
        if level != Level::Fine {
            let last = self.last.filter(|&(_, until)| look.now < until);
            if let Some((last, _)) = last {
                if let Some(taken) = last.taken_by_files(look.memory) {
                    return self.useless(look, last.expected(), last.expected(), taken);
                }
            }
        }
        match level {
            Level::Term if look.now >= self.cool_at => Step::Choose(Deadly::Term),
            Level::Kill => Step::Choose(Deadly::Kill),
            Level::Fine | Level::Term => Step::Wait,
        }
    }

    fn useless(&mut self, look: Look<'_>, gained: KiB, expected: KiB, taken: KiB) -> Step {
        self.last = None;
        let pause = self.useless.next(look.now);
        self.pause(look.now.after(pause), Some(look.memory));
        if let State::Pausing { useless_at, .. } = &mut self.state {
            *useless_at = Some(look.memory.available);
        }
        Step::Useless { gained, expected, taken, pause }
    }

    /// With `memory`, fresh anonymous memory ends the pause.
    fn pause(&mut self, until: Moment, memory: Option<&Memory>) {
        let taken_beyond = memory.map(fresh_beyond);
        self.departure = None;
        self.state = State::Pausing { until, taken_beyond, useless_at: None };
    }

    /// `signal` was sent to the victim, which holds `held`.
    pub fn signalled(
        &mut self,
        id: Identity,
        signal: Deadly,
        held: Held,
        memory: &Memory,
        now: Moment,
    ) {
        let wait = match signal {
            Deadly::Term => self.grace.unwrap_or(LET_OFF_AFTER),
            Deadly::Kill => STUCK_AFTER,
        };
        let deadline = now.after(wait);
        self.adopt(Adopted { id, signal, held, first: now, deadline }, memory);
    }

    /// One that was signalled for another reason is the victim of this event as well; its
    /// clock runs on. `memory` is as it was at that signal.
    pub fn adopt(&mut self, adopted: Adopted, memory: &Memory) {
        (self.last, self.departure) = (None, None);
        let Adopted { id, signal, held, first, deadline } = adopted;
        let (available, settling) = (memory.available, Settling::expect(held, memory));
        self.state = State::InFlight(Flight { id, first, deadline, signal, available, settling });
    }

    /// True where nobody is to be signalled yet, since `id` leaves by itself, and its memory may be
    /// what is missing.
    pub fn may_await(&mut self, id: Identity, memory: &Memory, now: Moment) -> bool {
        self.departure.get_or_insert(Departure::of(id, memory, now)).id = id;
        let hopes = self.hopes(memory, now);
        if hopes {
            self.state = State::Awaiting;
        }
        hopes
    }

    /// Whether the one that leaves is worth waiting for. One that takes too long is not so later
    /// either.
    fn hopes(&mut self, memory: &Memory, now: Moment) -> bool {
        let Some(departure) = &mut self.departure else { return false };
        let hope = departure.hope(memory, now);
        if hope == Hope::Lost {
            self.lingering.add(departure.id);
        }
        hope == Hope::Left
    }

    /// Those that were waited for in vain.
    pub fn lingering(&self) -> &Remembered {
        &self.lingering
    }

    /// Who is waited for without having been signalled.
    pub fn awaited(&self) -> Option<Identity> {
        let awaits = matches!(self.state, State::Awaiting);
        self.departure.as_ref().filter(|_| awaits).map(|departure| departure.id)
    }

    /// There was nobody to signal; returns how long the machine waits now.
    pub fn alone(&mut self, memory: &Memory, now: Moment) -> Duration {
        let wait = self.alone.next(now);
        self.pause(now.after(wait), Some(memory));
        wait
    }

    /// A victim was named in a dry run.
    pub fn rehearsed(&mut self, now: Moment) {
        self.pause(now.after(DRY), None);
    }

    /// The kernel was asked to choose: nobody in flight, but memory is expected.
    pub fn delegated(&mut self, expected: Held, memory: &Memory, now: Moment) {
        self.cool_at = now.after(self.cooldown);
        let mut settling = Settling::expect(expected, memory);
        self.state = State::Settling(settling.begin(now, memory));
    }

    /// The process in flight is protected by now, or may not be signalled.
    pub fn spare(&mut self) {
        self.state = State::Watching;
    }

    /// The process in flight does not end.
    fn leave(&mut self, id: Identity) {
        self.remember_left(id);
        self.state = State::Watching;
    }

    /// A process cannot be ended (stuck, EPERM): not a candidate from now on.
    pub fn remember_left(&mut self, id: Identity) {
        self.left.add(id);
    }

    /// Processes that could not be ended.
    pub fn left(&self) -> &Remembered {
        &self.left
    }

    /// A process that was asked once and let off is not asked again.
    pub fn signal_for(&self, id: Identity, signal: Deadly) -> Deadly {
        if self.let_off.contains(id) {
            Deadly::Kill
        } else {
            signal
        }
    }

    /// How closely memory must be followed at `level`.
    pub fn attention(&self, level: Level, now: Moment) -> Attention {
        match self.state {
            // Something to do, and it was not done: a victim vanished, again and again.
            State::Watching if level != Level::Fine && now >= self.cool_at => Attention::Closest,
            State::Watching | State::InFlight(_) => Attention::ByHeadroom,
            State::Settling(_) if level == Level::Fine => Attention::ByHeadroom,
            State::Settling(_) | State::Awaiting => Attention::Closest,
            State::Pausing { taken_beyond: Some(_), .. } => Attention::NowAndThen,
            State::Pausing { taken_beyond: None, .. } => Attention::ByHeadroom,
        }
    }

    pub fn in_flight(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }

    /// From which level on something can be done now.
    pub fn acts_at(&self, now: Moment) -> Option<Level> {
        match &self.state {
            State::Watching | State::Awaiting if now >= self.cool_at => Some(Level::Term),
            State::Watching | State::Awaiting => Some(Level::Kill),
            State::InFlight(flight) if flight.signal == Deadly::Term => Some(Level::Kill),
            State::InFlight(_) | State::Settling(_) | State::Pausing { .. } => None,
        }
    }

    /// Nothing will be done for a while, whatever memory is.
    pub fn is_pausing(&self) -> bool {
        matches!(self.state, State::Pausing { .. })
    }

    /// Nothing is going on, and the machine has time for other things.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Watching)
    }

    /// When the state changes by time alone, if it does. A moment that has passed is due.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        match &self.state {
            State::Watching => Some(self.cool_at).filter(|&at| at > now),
            State::Awaiting => None,
            State::InFlight(flight) if flight.waits_for_memory(self.grace) => None,
            State::InFlight(flight) => Some(flight.deadline),
            State::Settling(settling) => Some(settling.until()),
            State::Pausing { until, .. } => Some(*until),
        }
    }
}

/// Files in tmpfs hold most of what is in use, and nobody takes the rest: there were `available`
/// when that was seen first. Ending those who happen to run would not change it.
fn is_still_with_files(memory: &Memory, available: KiB) -> bool {
    let in_use = memory.total.less(memory.available);
    memory.files.0 >= in_use.0 / 2 && memory.available.plus(memory.noise()) >= available
}

/// What processes hold beyond this has been taken anew.
fn fresh_beyond(memory: &Memory) -> KiB {
    memory.held_by_processes().plus(memory.noise())
}

impl Flight {
    fn escalate(&mut self, look: Look<'_>, urgency: Urgency) -> Step {
        self.kill(look);
        Step::Escalate(urgency)
    }

    /// SIGKILL is sent, or given more time.
    fn kill(&mut self, look: Look<'_>) {
        self.signal = Deadly::Kill;
        self.deadline = look.now.after(STUCK_AFTER);
        self.available = look.memory.available;
    }

    fn gives_back(&self, look: Look<'_>) -> bool {
        look.memory.available > self.available.plus(look.memory.noise())
    }

    /// Without a grace only memory decides about a process that was asked.
    fn waits_for_memory(&self, grace: Option<Duration>) -> bool {
        self.signal == Deadly::Term && grace.is_none()
    }
}

/// A wait that doubles up to a limit, and starts anew after some quiet.
#[derive(Clone, Copy)]
struct Backoff {
    first: u64,
    limit: u64,
    /// The last wait in seconds, and its end.
    last: u64,
    until: Moment,
}

/// In seconds: longer than from a pause's end to the verdict on the next kill.
const QUIET: u64 = 30;

impl Backoff {
    /// In seconds.
    const fn new(first: u64, limit: u64) -> Backoff {
        Backoff { first, limit, last: 0, until: Moment(0) }
    }

    fn next(&mut self, now: Moment) -> Duration {
        let quiet = now.since(self.until).as_secs() > QUIET + self.last;
        self.last = if quiet { self.first } else { (self.last * 2).clamp(self.first, self.limit) };
        let wait = Duration::from_secs(self.last);
        self.until = now.after(wait);
        wait
    }
}

#[cfg(test)]
mod tests;
