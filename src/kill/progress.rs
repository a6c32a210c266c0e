//! How far one kill has come. The rows apply from top to bottom.
//!
//! | stage | what is seen | next |
//! |---|---|---|
//! | any | gone | over; for memory: settling (`low_memory`) |
//! | asked, for memory | level SIGKILL, or the grace over and memory low | killed |
//! | asked for memory alone | the grace over, memory recovered | let off, unless others of its group are left |
//! | asked | the grace over | killed |
//! | asked, without a grace | 5 s over, memory recovered or for the limit | let off |
//! | asked, without a grace | 5 s over, others of its group are left | over |
//! | killed | 2 s without memory coming back, or 10 s over | unkillable; over if the victim has ended |
//! | killed, memory low | the victim has ended, and no memory has come back for 200 ms | over |
//!
//! Pure: the table of kills (`mod`) looks, signals and says what happened.

use super::aftermath::{Aftermath, Change};
use crate::policy::{Level, Scene};
use crate::sys::process::KillSignal;
use crate::units::Moment;
use std::time::Duration;

/// A process in uninterruptible sleep can take this long to notice SIGKILL on a busy disk; one
/// that takes longer will not go, and others must. As long as memory comes back it is going: that
/// of a very large one takes longer.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// By then other causes make memory come back.
const STUCK_AT_LAST: Duration = Duration::from_secs(10);
/// The victim, which held most, has ended. When memory is low, the guard waits for other members of its
/// group only as long as memory comes back. This is twice the time between two walks over the group.
const OTHERS_QUIET: Duration = Duration::from_millis(200);
/// With `--grace 0`, by then SIGTERM has done what it will.
const LET_OFF_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Asked,
    Killed,
}

/// What is alive of a victim and of the group that went with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Alive,
    /// The victim itself has ended, and others of its group have not.
    OthersLeft,
    Gone,
}

/// What is to be done about the victim now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    Wait,
    Gone {
        after: Duration,
    },
    /// SIGKILL, since SIGTERM is not enough any more.
    Escalate(Urgency),
    LetOff,
    /// The victim has ended, and no more is done about others of its group.
    OthersStay {
        after: Duration,
    },
    Unkillable,
}

/// Why SIGTERM is not enough any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    Level,
    Grace,
}

pub struct Progress {
    /// Memory decides about it, besides time.
    pub for_memory: bool,
    /// It was asked for the limit: after its grace it gets SIGKILL whatever memory does.
    for_limit: bool,
    pub stage: Stage,
    pub aftermath: Aftermath,
    first: Moment,
    /// When SIGKILL was sent.
    killed: Moment,
    /// What ends this stage by time: the grace, or the wait for SIGKILL to work.
    deadline: Moment,
    /// The victim was alive then, or got SIGKILL, or memory came back.
    moved: Moment,
}

impl Progress {
    /// `signal` was sent now. `aftermath` began at the look before it.
    pub fn begin(
        signal: KillSignal,
        for_memory: bool,
        grace: Option<Duration>,
        aftermath: Aftermath,
        now: Moment,
    ) -> Progress {
        let (stage, wait) = match signal {
            KillSignal::Term => (Stage::Asked, grace.unwrap_or(LET_OFF_AFTER)),
            KillSignal::Kill => (Stage::Killed, STUCK_AFTER),
        };
        let deadline = now.after(wait);
        let (first, killed, moved) = (now, now, now);
        let for_limit = !for_memory;
        Progress { for_memory, for_limit, stage, aftermath, first, killed, deadline, moved }
    }

    /// `scene` is `None` while memory cannot be read. Without a `grace` SIGKILL never follows by time.
    pub fn next(
        &mut self,
        now: Moment,
        seen: Seen,
        scene: Option<&Scene>,
        grace: Option<Duration>,
    ) -> Next {
        let change = scene.map_or(Change::None, |scene| self.aftermath.observe(&scene.memory));
        if self.stage == Stage::Killed && change == Change::Risen {
            self.wait_on(now);
        }
        if seen == Seen::Alive {
            self.moved = now;
        }
        let late = now >= self.deadline;
        let after = now.since(self.first);
        let next = match (self.stage, seen) {
            (_, Seen::Gone) => Next::Gone { after },
            // It was signalled as a whole, and a part of it is no use any more.
            (Stage::Asked, Seen::OthersLeft) if late && grace.is_some() => {
                Next::Escalate(Urgency::Grace)
            }
            (Stage::Asked, _) => match self.next_of_asked(late, scene, grace) {
                Next::Wait | Next::LetOff if late && seen == Seen::OthersLeft => {
                    Next::OthersStay { after }
                }
                next => next,
            },
            (Stage::Killed, Seen::OthersLeft) if late || self.is_vain(now, scene) => {
                Next::OthersStay { after }
            }
            (Stage::Killed, Seen::Alive) if late => Next::Unkillable,
            (Stage::Killed, _) => Next::Wait,
        };
        if let Next::Escalate(_) = next {
            (self.stage, self.killed) = (Stage::Killed, now);
            self.wait_on(now);
        }
        next
    }

    fn next_of_asked(&self, late: bool, scene: Option<&Scene>, grace: Option<Duration>) -> Next {
        let level = scene.map(|scene| scene.level).filter(|_| self.for_memory);
        match (level, grace) {
            (Some(Level::Kill), _) => Next::Escalate(Urgency::Level),
            (_, Some(_)) if late && self.for_limit => Next::Escalate(Urgency::Grace),
            (Some(Level::Fine), _) if late => Next::LetOff,
            (Some(_), Some(_)) if late => Next::Escalate(Urgency::Grace),
            (None, None) if late && !self.for_memory => Next::LetOff,
            _ => Next::Wait,
        }
    }

    /// Others have to go, since what is left of a group does not.
    fn is_vain(&self, now: Moment, scene: Option<&Scene>) -> bool {
        let is_low = scene.is_some_and(|scene| scene.level != Level::Fine);
        self.for_memory && is_low && now.since(self.moved) >= OTHERS_QUIET
    }

    /// SIGKILL was due and was not sent.
    pub fn is_not_killed(&mut self) {
        self.stage = Stage::Asked;
    }

    /// SIGKILL was sent, or memory of the victim comes back.
    pub fn wait_on(&mut self, now: Moment) {
        self.deadline = now.after(STUCK_AFTER).min(self.killed.after(STUCK_AT_LAST));
        self.moved = now;
    }

    /// When the stage changes by time alone, if it does: without a `grace` memory decides about one
    /// that was asked.
    pub fn deadline(&self, grace: Option<Duration>) -> Option<Moment> {
        let waits_for_memory = self.for_memory && self.stage == Stage::Asked && grace.is_none();
        Some(self.deadline).filter(|_| !waits_for_memory)
    }
}
