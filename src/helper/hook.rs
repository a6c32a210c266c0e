//! Hooks: programs of the administrator's, run beside a kill. None of them is waited for
//! here; what ends, fails or overruns shows at the next turn.

use super::message::{line, Priority, When};
use super::outbox::Outboxes;
use crate::bytes::Buf;
use crate::event::Event;
use crate::stats::Reason;
use crate::sys::clock;
use crate::sys::errno::Errno;
use crate::sys::fd;
use crate::sys::process::{self, Exit, Inherited};
use crate::units::{Moment, Path, Pid};
use std::fmt::{self, Write};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Hooks that run at a time. A kill has two; more of them hang already, and another one
/// would as well.
pub const HOOKS: usize = 8;

/// As much of a command line as hooks and messages are given.
pub type ShortCommand = Buf<256>;

/// All variables together: of the longest, the command line, there are two.
const ENVIRONMENT: usize = 2048;

pub struct Hooks {
    running: [Option<Running>; HOOKS],
}

struct Running {
    pid: Pid,
    when: When,
    victim: Pid,
    /// For the answer to the watch.
    number: i32,
    /// Where the child tells why it could not become the program.
    failure: OwnedFd,
    deadline: Moment,
    overran: bool,
}

/// What is run, and how.
pub struct Orders<'a> {
    pub script: &'a Path,
    pub inherited: Inherited,
    pub limit: Duration,
}

impl Hooks {
    pub fn new() -> Hooks {
        const NONE: Option<Running> = None;
        Hooks { running: [NONE; HOOKS] }
    }

    pub fn is_idle(&self) -> bool {
        self.running.iter().all(Option::is_none)
    }

    /// Starts one. False, and a line that says why, if it does not run now.
    pub fn start(
        &mut self,
        when: When,
        number: i32,
        orders: &Orders<'_>,
        event: &Event,
        command: &ShortCommand,
        out: &mut Outboxes<'_>,
    ) -> bool {
        let victim = event.id.pid;
        let Some(place) = self.running.iter_mut().find(|place| place.is_none()) else {
            say(
                out,
                Priority::Warning,
                format_args!("{} not run: {HOOKS} hooks run already", About(when, victim)),
            );
            return false;
        };
        let environment = environment(event, command);
        match process::run(orders.script.terminated(), environment.as_bytes(), &orders.inherited) {
            Ok((pid, failure)) => {
                let deadline = clock::now().after(orders.limit);
                *place =
                    Some(Running { pid, when, victim, number, failure, deadline, overran: false });
                true
            }
            Err(error) => {
                let (about, error) = (About(when, victim), Errno(&error));
                say(
                    out,
                    Priority::Warning,
                    format_args!("{about} not run: cannot start it: {error}"),
                );
                false
            }
        }
    }

    /// A child has ended. The number of the hook, if it was one.
    pub fn ended(&mut self, pid: Pid, exit: Exit, out: &mut Outboxes<'_>) -> Option<i32> {
        let is_it =
            |place: &&mut Option<Running>| place.as_ref().is_some_and(|running| running.pid == pid);
        let running = self.running.iter_mut().find(is_it)?.take()?;
        let about = About(running.when, running.victim);
        let failure = why_it_failed(&running.failure);
        match (failure, exit) {
            (Some(error), _) => {
                let error = Errno(&error);
                say(out, Priority::Warning, format_args!("{about} cannot be run: {error}"));
            }
            // That was said.
            (None, _) if running.overran => {}
            (None, Exit::Status(0)) => {}
            (None, Exit::Status(status)) => {
                say(out, Priority::Warning, format_args!("{about} ended with status {status}"));
            }
            (None, Exit::Signal(signal)) => {
                say(out, Priority::Warning, format_args!("{about} was ended by signal {signal}"));
            }
        }
        Some(running.number)
    }

    /// Ends those that run too long, with all they have started.
    pub fn end_overdue(&mut self, now: Moment, out: &mut Outboxes<'_>) {
        for running in self.running.iter_mut().flatten() {
            if !running.overran && now >= running.deadline {
                running.overran = true;
                let about = About(running.when, running.victim);
                say(out, Priority::Warning, format_args!("{about} ran too long: killed"));
                // Itself as well: it may have left its group. It was not waited for yet, so the
                // number is its own.
                let _ = process::send_group(running.pid, process::Deadly::Kill);
                let _ = process::send(running.pid, process::Deadly::Kill);
            }
        }
    }

    /// When the next one is overdue.
    pub fn deadline(&self) -> Option<Moment> {
        let running = self.running.iter().flatten().filter(|running| !running.overran);
        running.map(|running| running.deadline).min()
    }
}

/// Reads what the child wrote; nothing where it has become the program.
fn why_it_failed(failure: &OwnedFd) -> Option<io::Error> {
    let mut number = [0; 4];
    let got = fd::read(failure.as_fd(), &mut number).ok()?;
    (got == number.len()).then(|| io::Error::from_raw_os_error(i32::from_ne_bytes(number)))
}

struct About(When, Pid);

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.0 {
            When::Before => "pre-kill",
            When::After => "post-kill",
        };
        write!(f, "the {when} hook for process {}", self.1)
    }
}

fn say(out: &mut Outboxes<'_>, priority: Priority, text: fmt::Arguments<'_>) {
    out.line(priority, line(text).as_bytes());
}

/// Variables as the kernel takes them: each with its NUL, one behind the other.
fn environment(event: &Event, command: &ShortCommand) -> Buf<ENVIRONMENT> {
    let mut all = Buf::new();
    all.push(b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0");
    let (pid, uid) = (event.id.pid, event.uid);
    let (name, command) = (event.comm.as_bytes(), command.as_bytes());
    for prefix in ["OOM_GUARD", "EARLYOOM"] {
        let _ = write!(all, "{prefix}_PID={pid}\0{prefix}_UID={uid}\0");
        for (key, value) in [("NAME", name), ("CMDLINE", command)] {
            let _ = write!(all, "{prefix}_{key}=");
            all.push(value);
            all.push(b"\0");
        }
    }
    let reason = match event.reason {
        Reason::Memory => "memory",
        Reason::Limit => "limit",
    };
    let action = if event.dryrun { "dryrun" } else { "kill" };
    let _ = write!(
        all,
        "OOM_GUARD_RSS={}\0OOM_GUARD_SWAP={}\0OOM_GUARD_SCORE={}\0OOM_GUARD_ADJ={}\0\
         OOM_GUARD_SIGNAL={}\0OOM_GUARD_REASON={reason}\0OOM_GUARD_ACTION={action}\0",
        event.rss.0,
        event.swap.0,
        event.score,
        event.adj,
        event.signal(),
    );
    all
}
