//! A victim in flight, as a state machine: what the next step is, given what memory and
//! the victim look like.
//!
//! | state | what is seen | next |
//! |---|---|---|
//! | watching | level SIGTERM, the cooldown over | choose, to ask |
//! | watching | level SIGKILL | choose, to end |
//! | in flight, asked | gone | settling |
//! | in flight, asked | level SIGKILL, or the grace over and memory low | SIGKILL |
//! | in flight, asked | the grace over, memory recovered | let off, watching |
//! | in flight, ended | gone | settling |
//! | in flight, ended | 2 s over | stuck: left alone, watching |
//! | settling | memory given back, or taken by others | watching |
//! | settling | nothing given back | useless: pausing |
//! | pausing | the time over, memory fine, or fresh memory taken | watching |
//!
//! Pure: `daemon` does what a step says and reports back. `target` has the system calls.

pub mod settle;
pub mod target;

use crate::config::Config;
use crate::policy::{Level, Limits};
use crate::procfs::meminfo::Memory;
use crate::sys::process::Deadly;
use crate::units::{Identity, KiB, Moment};
use crate::victim::Remembered;
use settle::{Held, Settling, Verdict};
use std::time::Duration;

/// A process in uninterruptible sleep can take this long to notice SIGKILL on a busy
/// disk; one that takes longer will not go, and others must.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// A candidate may appear (a process that was spared grows); looking costs a scan.
const ALONE: Backoff = Backoff::new(1, 60);
/// Memory where killing does not reach (tmpfs, the kernel) is freed by people.
const USELESS: Backoff = Backoff::new(10, 300);
/// A dry run says each victim at most this often.
const DRY: Duration = Duration::from_secs(1);

/// One look at the world.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub now: Moment,
    pub memory: &'a Memory,
    pub limits: &'a Limits,
    /// Nothing of the victim in flight is left alive.
    pub victim_gone: bool,
}

impl Look<'_> {
    fn level(&self) -> Level {
        self.limits.level(self.memory.available, self.memory)
    }
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing before the next look.
    Wait,
    /// Find a victim for this signal, then call `signalled`, `alone`, `rehearsed` or
    /// `leave`.
    Choose(Deadly),
    /// SIGKILL to the victim in flight.
    Escalate(Urgency),
    /// The victim is gone.
    Ended { after: Duration },
    /// The victim lives on, since memory has recovered.
    LetOff { id: Identity },
    /// The victim does not die.
    Stuck { id: Identity },
    /// The last kill gave back `gained` of the `expected` memory: pausing.
    Useless { gained: KiB, expected: KiB, pause: Duration },
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
    InFlight(Flight),
    Settling(Settling),
    Pausing { until: Moment, taken_beyond: Option<KiB> },
}

struct Flight {
    id: Identity,
    first: Moment,
    /// What ends this stage by time: the grace, or the wait for SIGKILL to work.
    deadline: Option<Moment>,
    signal: Deadly,
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
            let_off: Remembered::default(),
            left: Remembered::default(),
        }
    }

    /// The next step; call again until it is `Wait`, with a fresh look where one is due.
    pub fn step(&mut self, look: Look<'_>) -> Step {
        let level = look.level();
        match &mut self.state {
            State::Watching => match level {
                Level::Fine => {
                    self.alone = ALONE;
                    self.useless = USELESS;
                    Step::Wait
                }
                Level::Term if look.now < self.cool_at => Step::Wait,
                Level::Term => Step::Choose(Deadly::Term),
                Level::Kill => Step::Choose(Deadly::Kill),
            },
            State::InFlight(flight) => {
                flight.settling.watch_flight(look.memory);
                let late = flight.deadline.is_some_and(|deadline| look.now >= deadline);
                let (id, signal) = (flight.id, flight.signal);
                if look.victim_gone {
                    let after = look.now.since(flight.first);
                    self.cool_at = look.now.after(self.cooldown);
                    self.state = State::Settling(flight.settling.begin(look.now, look.memory));
                    return Step::Ended { after };
                }
                match (signal, level) {
                    (Deadly::Term, Level::Kill) => self.escalate(look.now, Urgency::Level),
                    (Deadly::Term, Level::Term) if late => self.escalate(look.now, Urgency::Grace),
                    (Deadly::Term, Level::Fine) if late => {
                        self.let_off.add(id);
                        self.state = State::Watching;
                        Step::LetOff { id }
                    }
                    (Deadly::Kill, _) if late => {
                        self.leave(id);
                        Step::Stuck { id }
                    }
                    _ => Step::Wait,
                }
            }
            State::Settling(settling) => match settling.verdict(look) {
                Verdict::Wait => Step::Wait,
                Verdict::Over => {
                    self.state = State::Watching;
                    self.step(look)
                }
                Verdict::Useless { gained, expected } => {
                    let pause = self.useless.next();
                    let taken_beyond = Some(look.memory.anon.plus(settle::noise(look.memory)));
                    self.state = State::Pausing { until: look.now.after(pause), taken_beyond };
                    Step::Useless { gained, expected, pause }
                }
            },
            State::Pausing { until, taken_beyond } => {
                // Anonymous memory that is taken anew is where killing does reach.
                let taken = taken_beyond.is_some_and(|beyond| look.memory.anon > beyond);
                if look.now < *until && level != Level::Fine && !taken {
                    return Step::Wait;
                }
                self.state = State::Watching;
                self.step(look)
            }
        }
    }

    fn escalate(&mut self, now: Moment, urgency: Urgency) -> Step {
        if let State::InFlight(flight) = &mut self.state {
            flight.signal = Deadly::Kill;
            flight.deadline = Some(now.after(STUCK_AFTER));
        }
        Step::Escalate(urgency)
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
            Deadly::Term => self.grace,
            Deadly::Kill => Some(STUCK_AFTER),
        };
        self.alone = ALONE;
        self.state = State::InFlight(Flight {
            id,
            first: now,
            deadline: wait.map(|wait| now.after(wait)),
            signal,
            settling: Settling::expect(held, memory),
        });
    }

    /// There was nobody to signal; returns how long the machine waits now.
    pub fn alone(&mut self, now: Moment) -> Duration {
        let wait = self.alone.next();
        self.state = State::Pausing { until: now.after(wait), taken_beyond: None };
        wait
    }

    /// A victim was named in a dry run.
    pub fn rehearsed(&mut self, now: Moment) {
        self.state = State::Pausing { until: now.after(DRY), taken_beyond: None };
    }

    /// The kernel was asked to choose: nobody in flight, but memory is expected.
    pub fn delegated(&mut self, expected: Held, memory: &Memory, now: Moment) {
        self.cool_at = now.after(self.cooldown);
        let mut settling = Settling::expect(expected, memory);
        self.state = State::Settling(settling.begin(now, memory));
    }

    /// A process cannot be ended (stuck, EPERM): not a candidate from now on.
    pub fn leave(&mut self, id: Identity) {
        self.left.add(id);
        self.state = State::Watching;
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
    pub fn attention(&self, level: Level) -> Attention {
        match self.state {
            State::Watching | State::InFlight(_) => Attention::ByHeadroom,
            State::Settling(_) if level == Level::Fine => Attention::ByHeadroom,
            State::Settling(_) => Attention::Closest,
            State::Pausing { taken_beyond: Some(_), .. } => Attention::NowAndThen,
            State::Pausing { taken_beyond: None, .. } => Attention::ByHeadroom,
        }
    }

    pub fn in_flight(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }

    /// Nothing is going on, and the machine has time for other things.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Watching)
    }

    /// When the state changes by time alone, if it does.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            State::Watching => Some(self.cool_at),
            State::InFlight(flight) => flight.deadline,
            State::Settling(settling) => Some(settling.until()),
            State::Pausing { until, .. } => Some(*until),
        }
    }
}

/// A wait that doubles up to a limit, in seconds.
#[derive(Clone, Copy)]
struct Backoff {
    next: u64,
    limit: u64,
}

impl Backoff {
    const fn new(first: u64, limit: u64) -> Backoff {
        Backoff { next: first, limit }
    }

    fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.limit);
        Duration::from_secs(wait)
    }
}

#[cfg(test)]
mod tests;
