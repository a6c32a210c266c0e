//! What the helper has under way besides messages, each with a deadline: hooks and notices that
//! run, and dying processes whose memory is freed. Nothing here waits for a job: its end, failure or
//! deadline shows at the next turn.

use super::hook::Hook;
use super::message::Priority;
use super::outbox::Outboxes;
use crate::sys::io;
use crate::sys::process::{self, Exit};
use crate::sys::{clock, fd};
use crate::units::{Moment, Pid};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The places for each kind of job. A kill has two hooks; if eight run, more of them hang already,
/// and another one would as well. More notices at a time would tell a user nothing new. Of a group
/// with more than four members the rest is released once.
pub const HOOKS: Range<usize> = 0..8;
pub const NOTICES: Range<usize> = 8..12;
const RELEASES: Range<usize> = 12..16;
/// How long a notice may take: each ends within seconds by itself (`notify::tell`).
pub const NOTICE_LIMIT: Duration = Duration::from_secs(10);
/// How long a dying process is helped, and how often. The call can wait for the lock of the
/// memory map, which is why it stands here and behind what is to be written.
const RELEASE_FOR: Duration = Duration::from_secs(2);
const RELEASE_AGAIN: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Jobs {
    places: [Option<Job>; RELEASES.end],
    /// That no user could be told was said.
    said_untold: bool,
}

pub struct Job {
    pid: Pid,
    task: Task,
    /// When it is killed, or tried again; `None` once it was killed.
    due: Option<Moment>,
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
    Release {
        pidfd: OwnedFd,
        until: Moment,
    },
}

impl Job {
    pub fn new(pid: Pid, task: Task, wait: Duration) -> Job {
        Job { pid, task, due: Some(clock::now().after(wait)) }
    }
}

impl Jobs {
    /// A place for one more of these, if there is one.
    pub fn place(&mut self, kind: Range<usize>) -> Option<&mut Option<Job>> {
        self.places[kind].iter_mut().find(|place| place.is_none())
    }

    pub fn run_hooks(&self) -> bool {
        self.places[HOOKS].iter().any(Option::is_some)
    }

    /// A number that now belongs to another process does no harm: the kernel refuses to release
    /// what is not dying.
    pub fn release(&mut self, pid: Pid) {
        let Ok(pidfd) = process::pidfd_open(pid) else { return };
        if is_to_be_released_again(&pidfd) {
            if let Some(place) = self.place(RELEASES) {
                let until = clock::now().after(RELEASE_FOR);
                *place = Some(Job::new(pid, Task::Release { pidfd, until }, RELEASE_AGAIN));
            }
        }
    }

    /// A child has ended. The number of the question, if it was a hook.
    pub fn ended(&mut self, pid: Pid, exit: Exit, out: &mut Outboxes<'_>) -> Option<u64> {
        let children = &mut self.places[..RELEASES.start];
        let is_it = |place: &&mut Option<Job>| place.as_ref().is_some_and(|job| job.pid == pid);
        let Job { task, due, .. } = children.iter_mut().find(is_it)?.take()?;
        if let Task::Hook { hook, number, failure } = task {
            let mut errno = [0; 4];
            match exit {
                _ if fd::read(failure.as_fd(), &mut errno) == Ok(4) => {
                    let error = io::Error::of(i32::from_ne_bytes(errno));
                    hook.say(out, format_args!("cannot be run: {error}"));
                }
                // That was said.
                _ if due.is_none() => {}
                Exit::Status(0) => {}
                Exit::Status(status) => hook.say(out, format_args!("ended with status {status}")),
                Exit::Signal(signal) => hook.say(out, format_args!("was ended by signal {signal}")),
            }
            return Some(number);
        }
        if exit != Exit::Status(0) && !std::mem::replace(&mut self.said_untold, true) {
            out.line(Priority::Notice, b"notification: no user who is logged in could be told");
        }
        None
    }

    /// Kills each child that runs too long, with its process group, and goes on with releases.
    pub fn do_what_is_due(&mut self, out: &mut Outboxes<'_>) {
        let now = clock::now();
        for place in &mut self.places {
            let Some(job) = place.as_mut().filter(|job| job.due.is_some_and(|at| now >= at)) else {
                continue;
            };
            if let Task::Release { pidfd, until } = &job.task {
                match is_to_be_released_again(pidfd) && now < *until {
                    true => job.due = Some(now.after(RELEASE_AGAIN)),
                    false => *place = None,
                }
                continue;
            }
            job.due = None;
            if let Task::Hook { hook, .. } = job.task {
                hook.say(out, format_args!("ran too long: killed"));
            }
            // Itself as well: it may have left its group, or has none. It was not waited for yet,
            // so the number is its own.
            let _ = process::send_group(job.pid, process::KillSignal::Kill);
            let _ = process::send(job.pid, process::KillSignal::Kill);
        }
    }

    /// When the next one is due.
    pub fn deadline(&self) -> Option<Moment> {
        self.places.iter().flatten().filter_map(|job| job.due).min()
    }
}

/// Tries; true if another try makes sense: EAGAIN means that part of it could not be freed
/// (`process_mrelease` in mm/oom_kill.c).
fn is_to_be_released_again(pidfd: &OwnedFd) -> bool {
    process::release_memory(pidfd.as_fd()).is_err_and(|error| error.is_for_later())
}
