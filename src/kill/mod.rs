//! The kill in progress as a state machine: what the next step is, given what memory and the victim
//! look like. The rows apply from top to bottom.
//!
//! | state | what is seen | next |
//! |---|---|---|
//! | watching | memory low, and tmpfs took what the last kill gave back | useless: pausing |
//! | watching | level SIGTERM, the cooldown over; level SIGKILL | choose |
//! | watching | chosen, but another process exits by itself | settling, once an event |
//! | asked | gone | settling |
//! | asked | level SIGKILL, or the grace over and memory low | killed |
//! | asked | the grace over, memory recovered | let off, watching |
//! | killed | gone | settling |
//! | killed | 2 s without memory coming back, or 10 s over | unkillable: watching |
//! | settling | done (`aftermath`) | watching |
//! | settling | useless (`aftermath`) | pausing |
//! | pausing | memory taken anew, or a worse level than at its start | watching |
//! | pausing | the time over, but files in tmpfs hold as much as before | pausing on |
//! | pausing | the time over | watching |
//!
//! Pure: `daemon` does what a step says and reports back. `target` has the system calls.

pub mod aftermath;
pub mod target;

use crate::memory::Memory;
use crate::policy::Level;
use crate::procfs::status::Held;
use crate::select::Remembered;
use crate::settings::Config;
use crate::sys::process::Deadly;
use crate::units::{Identity, KiB, Moment};
use aftermath::{Aftermath, Baseline, Change, Verdict};
use std::time::Duration;

/// A process in uninterruptible sleep can take this long to notice SIGKILL on a busy
/// disk; one that takes longer will not go, and others must. As long as memory comes back it is
/// going: that of a very large one takes longer.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// By then other causes make memory come back.
const STUCK_AT_LAST: Duration = Duration::from_secs(10);
/// When the kernel chooses, nothing tells the end of its victim. Asked again meanwhile, it would
/// end another process.
const DELEGATED: Duration = Duration::from_millis(300);
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
    pub level: Level,
    /// See `Scene`.
    pub worst_level: Level,
    /// Nothing of the victim in flight is left alive.
    pub victim_gone: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing before the next look.
    Wait,
    /// Find a victim for this signal, then call `signalled`, `alone`, `rehearsed` or `await_exit`.
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
    /// Nothing will be done soon, unless memory is taken anew or the level gets worse.
    NowAndThen,
}

enum State {
    Watching,
    InFlight(Flight),
    Settling(Aftermath),
    Pausing(Pause),
}

struct Pause {
    until: Moment,
    /// `None`: only time ends it.
    since: Option<Since>,
}

/// How memory was at the start of a pause.
struct Since {
    /// With the least that processes have held since then.
    baseline: Baseline,
    level: Level,
    /// What was available, if the pause follows a useless kill.
    useless_at: Option<KiB>,
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
    /// When SIGKILL was sent.
    killed: Moment,
    aftermath: Aftermath,
}

pub struct Machine {
    state: State,
    grace: Option<Duration>,
    cooldown: Duration,
    /// No SIGTERM before this. Above the level, nothing is left of it.
    cool_at: Moment,
    alone: Backoff,
    useless: Backoff,
    /// A process that exits by itself was waited for since memory got low, or since the last kill.
    has_awaited: bool,
    /// What the last victim gave back, and until when that may tell something.
    last: Option<(Aftermath, Moment)>,
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
            has_awaited: false,
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
    pub fn step(&mut self, look: Look<'_>) -> Step {
        let level = look.level;
        if look.worst_level == Level::Fine {
            // The event is over.
            (self.cool_at, self.has_awaited) = (Moment::default(), false);
        }
        match &mut self.state {
            State::Watching => {}
            State::InFlight(flight) => {
                let change = flight.aftermath.observe(look.memory);
                if look.victim_gone {
                    let after = look.now.since(flight.first);
                    self.cool_at = look.now.after(self.cooldown);
                    self.state = State::Settling(flight.aftermath.begin(look.now));
                    return Step::Ended { after };
                }
                if flight.signal == Deadly::Kill && change == Change::Risen {
                    flight.wait_on(look.now);
                }
                let late = look.now >= flight.deadline;
                return match (flight.signal, level) {
                    (Deadly::Term, Level::Kill) => flight.escalate(look.now, Urgency::Level),
                    (Deadly::Term, Level::Term) if late && self.grace.is_some() => {
                        flight.escalate(look.now, Urgency::Grace)
                    }
                    (Deadly::Term, Level::Fine) if late => {
                        let id = flight.id;
                        self.let_off.add(id);
                        self.state = State::Watching;
                        Step::LetOff { id }
                    }
                    (Deadly::Kill, _) if late => {
                        let id = flight.id;
                        self.leave(id);
                        Step::Stuck { id }
                    }
                    _ => Step::Wait,
                };
            }
            State::Settling(aftermath) => match aftermath.verdict(look) {
                Verdict::Wait => return Step::Wait,
                Verdict::Done if aftermath.expected() == KiB::ZERO => {}
                Verdict::Done => self.last = Some((*aftermath, look.now.after(FLOWS_ON))),
                Verdict::Useless { gained } => {
                    let expected = aftermath.expected();
                    return self.useless(look, gained, expected, KiB::ZERO);
                }
            },
            State::Pausing(pause) => {
                if !pause.is_broken(look) {
                    if look.now < pause.until {
                        return Step::Wait;
                    }
                    if pause.is_needed(look) {
                        pause.until = look.now.after(self.useless.next(look.now));
                        return Step::Wait;
                    }
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
        let since = Since {
            baseline: Baseline::of(look.memory),
            level: look.worst_level,
            useless_at: Some(look.memory.available),
        };
        self.state = State::Pausing(Pause { until: look.now.after(pause), since: Some(since) });
        Step::Useless { gained, expected, taken, pause }
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
        (self.last, self.has_awaited) = (None, false);
        let Adopted { id, signal, held, first, deadline } = adopted;
        let (killed, aftermath) = (first, Aftermath::of(held, memory));
        self.state = State::InFlight(Flight { id, first, deadline, signal, killed, aftermath });
    }

    /// Some of a victim that is many processes is gone since the last look: its memory comes back.
    pub fn shrinks(&mut self, now: Moment) {
        if let State::InFlight(flight) = &mut self.state {
            flight.wait_on(now);
        }
    }

    /// Whether a process that exits by itself may be waited for.
    pub fn may_await(&self) -> bool {
        !self.has_awaited
    }

    /// A process exits by itself, and its memory may be what is missing: none is signalled as long
    /// as memory comes back.
    pub fn await_exit(&mut self, memory: &Memory, now: Moment) {
        self.has_awaited = true;
        self.state = State::Settling(Aftermath::of(Held::default(), memory).begin(now));
    }

    /// There was nobody to signal; returns how long the machine waits now.
    pub fn alone(&mut self, memory: &Memory, now: Moment) -> Duration {
        let wait = self.alone.next(now);
        // At a worse level there is no candidate either.
        let (baseline, level) = (Baseline::of(memory), Level::Kill);
        let since = Some(Since { baseline, level, useless_at: None });
        self.state = State::Pausing(Pause { until: now.after(wait), since });
        wait
    }

    /// A victim was named in a dry run.
    pub fn rehearsed(&mut self, now: Moment) {
        self.state = State::Pausing(Pause { until: now.after(DRY), since: None });
    }

    /// The kernel was asked to choose: nobody in flight, but memory is expected.
    pub fn delegated(&mut self, expected: Held, memory: &Memory, now: Moment) {
        self.cool_at = now.after(self.cooldown);
        let aftermath = Aftermath::of(expected, memory);
        self.state = State::Settling(aftermath.begin(now.after(DELEGATED)));
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
            State::Settling(_) => Attention::Closest,
            State::Pausing(Pause { since: None, .. }) => Attention::ByHeadroom,
            State::Pausing(_) if level == Level::Kill => Attention::Closest,
            State::Pausing(_) => Attention::NowAndThen,
        }
    }

    pub fn in_flight(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }

    /// From which level on something can be done now.
    pub fn acts_at(&self, now: Moment) -> Option<Level> {
        match &self.state {
            State::Watching if now >= self.cool_at => Some(Level::Term),
            State::Watching => Some(Level::Kill),
            State::InFlight(flight) if flight.signal == Deadly::Term => Some(Level::Kill),
            State::InFlight(_) | State::Settling(_) | State::Pausing(_) => None,
        }
    }

    /// Nothing will be done for a while, whatever memory is.
    pub fn is_pausing(&self) -> bool {
        matches!(self.state, State::Pausing(_))
    }

    /// Nothing is going on, and the machine has time for other things.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Watching)
    }

    /// When the state changes by time alone, if it does. A moment that has passed is due.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        match &self.state {
            State::Watching => Some(self.cool_at).filter(|&at| at > now),
            State::InFlight(flight) if flight.waits_for_memory(self.grace) => None,
            State::InFlight(flight) => Some(flight.deadline),
            State::Settling(aftermath) => Some(aftermath.until()),
            State::Pausing(pause) => Some(pause.until),
        }
    }
}

impl Pause {
    /// Killing may help again: processes have taken memory anew, or more is at stake.
    fn is_broken(&mut self, look: Look<'_>) -> bool {
        let Some(since) = &mut self.since else { return false };
        let now = Baseline::of(look.memory);
        let (taken, returned) = (now.held_since(since.baseline), since.baseline.held_since(now));
        // What came back meanwhile can be taken anew, too.
        if returned > KiB::ZERO {
            since.baseline = now;
        }
        // What starts and ends all the time on any machine is not that.
        let most = look.memory.noise().max(look.memory.step());
        taken > most || look.level > since.level
    }

    /// After a useless kill files in tmpfs hold most of what is in use, and there is no less
    /// available than then: ending others would not change it.
    fn is_needed(&self, look: Look<'_>) -> bool {
        let useless_at = self.since.as_ref().and_then(|since| since.useless_at);
        let (memory, level) = (look.memory, look.level);
        let in_use = memory.total.less(memory.available);
        useless_at.is_some_and(|at| memory.available.plus(memory.noise()) >= at)
            && memory.files.0 >= in_use.0 / 2
            && level != Level::Kill
            && look.worst_level != Level::Fine
    }
}

impl Flight {
    fn escalate(&mut self, now: Moment, urgency: Urgency) -> Step {
        (self.signal, self.killed) = (Deadly::Kill, now);
        self.wait_on(now);
        Step::Escalate(urgency)
    }

    /// SIGKILL was sent, or memory comes back.
    fn wait_on(&mut self, now: Moment) {
        self.deadline = now.after(STUCK_AFTER).min(self.killed.after(STUCK_AT_LAST));
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
