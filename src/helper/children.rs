//! Processes that run beside the helper: hooks, and notices on their way. None of them is
//! waited for here; what ends, fails or takes too long shows at the next turn.

use super::hook::Hook;
use super::message::Priority;
use super::outbox::Outboxes;
use crate::sys::clock;
use crate::sys::fd;
use crate::sys::io;
use crate::sys::process::{self, Exit};
use crate::units::{Moment, Pid};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Hooks that run at a time. A kill has two; more of them hang already, and another one
/// would as well.
pub const HOOKS: usize = 8;
/// At most so many notices are sent at a time. More would tell a user nothing new.
const NOTICES: usize = 4;
/// How long a notice may take: each ends within seconds by itself (`notify::tell`).
pub const NOTICE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Children {
    /// Hooks first, and behind them notices.
    places: [Option<Child>; HOOKS + NOTICES],
    /// That no user could be told was said.
    said_untold: bool,
}

pub struct Child {
    pid: Pid,
    task: Task,
    /// When it is killed; `None` once it was.
    deadline: Option<Moment>,
}

pub enum Task {
    Hook {
        hook: Hook,
        /// Of the question for its end.
        number: u64,
        /// Tells why it could not become the program.
        failure: OwnedFd,
    },
    Notice,
}

impl Child {
    pub fn new(pid: Pid, task: Task, limit: Duration) -> Child {
        Child { pid, task, deadline: Some(clock::now().after(limit)) }
    }
}

impl Children {
    /// A place for one more hook, if there is one.
    pub fn place_for_hook(&mut self) -> Option<&mut Option<Child>> {
        self.places[..HOOKS].iter_mut().find(|place| place.is_none())
    }

    pub fn place_for_notice(&mut self) -> Option<&mut Option<Child>> {
        self.places[HOOKS..].iter_mut().find(|place| place.is_none())
    }

    pub fn run_hooks(&self) -> bool {
        self.places[..HOOKS].iter().any(Option::is_some)
    }

    /// A child has ended. The number of the question, if it was a hook.
    pub fn ended(&mut self, pid: Pid, exit: Exit, out: &mut Outboxes<'_>) -> Option<u64> {
        let is_it = |place: &&mut Option<Child>| place.as_ref().is_some_and(|one| one.pid == pid);
        let child = self.places.iter_mut().find(is_it)?.take()?;
        if let Task::Hook { hook, number, failure } = child.task {
            let mut errno = [0; 4];
            match exit {
                _ if fd::read(failure.as_fd(), &mut errno) == Ok(4) => {
                    let error = io::Error::of(i32::from_ne_bytes(errno));
                    hook.say(out, format_args!("cannot be run: {error}"));
                }
                // That was said.
                _ if child.deadline.is_none() => {}
                Exit::Status(0) => {}
                Exit::Status(status) => hook.say(out, format_args!("ended with status {status}")),
                Exit::Signal(signal) => hook.say(out, format_args!("was ended by signal {signal}")),
            }
            return Some(number);
        }
        if exit != Exit::Status(0) && !std::mem::replace(&mut self.said_untold, true) {
            out.line(Priority::Notice, b"notification: nobody who is logged in could be told");
        }
        None
    }

    /// Kills each child that runs too long, with its process group.
    pub fn kill_overdue(&mut self, out: &mut Outboxes<'_>) {
        let now = clock::now();
        for child in self.places.iter_mut().flatten() {
            if child.deadline.is_some_and(|at| now >= at) {
                child.deadline = None;
                if let Task::Hook { hook, .. } = child.task {
                    hook.say(out, format_args!("ran too long: killed"));
                }
                // Itself as well: it may have left its group, or has none. It was not waited
                // for yet, so the number is its own.
                let _ = process::send_group(child.pid, process::KillSignal::Kill);
                let _ = process::send(child.pid, process::KillSignal::Kill);
            }
        }
    }

    /// When the next one is overdue.
    pub fn deadline(&self) -> Option<Moment> {
        self.places.iter().flatten().filter_map(|child| child.deadline).min()
    }
}
