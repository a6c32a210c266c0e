//! Hooks: programs of the administrator's, run beside a kill. None of them is waited for
//! here; what ends, fails or overruns shows at the next turn.

use super::message::{line, Priority, When};
use super::outbox::Outboxes;
use crate::bytes::Buf;
use crate::event::Event;
use crate::sys::clock;
use crate::sys::fd;
use crate::sys::io;
use crate::sys::process::{self, Exit, Inherited};
use crate::units::{Moment, Path, Pid};
use std::fmt::{self, Write};
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
    about: About,
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
        let about = About(when, event.id.pid);
        let Some(place) = self.running.iter_mut().find(|place| place.is_none()) else {
            say(out, about, format_args!("not run: {HOOKS} hooks run already"));
            return false;
        };
        let environment = environment(event, command);
        match process::run(orders.script.terminated(), environment.as_bytes(), &orders.inherited) {
            Ok((pid, failure)) => {
                let deadline = clock::now().after(orders.limit);
                *place = Some(Running { pid, about, number, failure, deadline, overran: false });
                true
            }
            Err(error) => {
                say(out, about, format_args!("not run: cannot start it: {error}"));
                false
            }
        }
    }

    /// A child has ended. The number of the hook, if it was one.
    pub fn ended(&mut self, pid: Pid, exit: Exit, out: &mut Outboxes<'_>) -> Option<i32> {
        let is_it =
            |place: &&mut Option<Running>| place.as_ref().is_some_and(|running| running.pid == pid);
        let running = self.running.iter_mut().find(is_it)?.take()?;
        let about = running.about;
        match exit {
            _ if why_it_failed(&running.failure, about, out) => {}
            // That was said.
            _ if running.overran => {}
            Exit::Status(0) => {}
            Exit::Status(status) => say(out, about, format_args!("ended with status {status}")),
            Exit::Signal(signal) => say(out, about, format_args!("was ended by signal {signal}")),
        }
        Some(running.number)
    }

    /// Ends those that run too long, with all they have started.
    pub fn end_overdue(&mut self, now: Moment, out: &mut Outboxes<'_>) {
        for running in self.running.iter_mut().flatten() {
            if !running.overran && now >= running.deadline {
                running.overran = true;
                say(out, running.about, format_args!("ran too long: killed"));
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

/// Reads what the child wrote and says it; nothing where it has become the program.
fn why_it_failed(failure: &OwnedFd, about: About, out: &mut Outboxes<'_>) -> bool {
    let mut number = [0; 4];
    let failed = matches!(fd::read(failure.as_fd(), &mut number), Ok(4));
    if failed {
        let error = io::Error::of(i32::from_ne_bytes(number));
        say(out, about, format_args!("cannot be run: {error}"));
    }
    failed
}

/// Which hook, and whose.
#[derive(Clone, Copy)]
struct About(When, Pid);

/// The one before the kill, which has long come.
pub fn too_late(victim: Pid, out: &mut Outboxes<'_>) {
    say(out, About(When::Before, victim), format_args!("not run: it comes too late"));
}

fn say(out: &mut Outboxes<'_>, About(when, victim): About, what: fmt::Arguments<'_>) {
    let when = match when {
        When::Before => "pre",
        When::After => "post",
    };
    let text = line(format_args!("the {when}-kill hook for process {victim} {what}"));
    out.line(Priority::Warning, text.as_bytes());
}

/// Variables as the kernel takes them: each with its NUL, one behind the other.
fn environment(event: &Event, command: &ShortCommand) -> Buf<ENVIRONMENT> {
    let reason = event.reason.word();
    // Of earlyoom's variables there are the first two of each.
    let numbers: [i64; 6] = [
        event.id.pid.number().into(),
        event.uid.into(),
        event.rss.0 as i64,
        event.swap.0 as i64,
        event.score.into(),
        event.adj.into(),
    ];
    let texts: [&[u8]; 5] = [
        event.comm.as_bytes(),
        command.as_bytes(),
        event.signal().as_bytes(),
        reason.as_bytes(),
        if event.dryrun { b"dryrun" } else { b"kill" },
    ];
    let mut all = Buf::new();
    all.push(b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0");
    for &(prefix, most) in &[("OOM_GUARD", usize::MAX), ("EARLYOOM", 2)] {
        for (key, number) in NUMBERS.iter().zip(&numbers).take(most) {
            let _ = write!(all, "{prefix}_{key}={number}\0");
        }
        for (key, text) in TEXTS.iter().zip(&texts).take(most) {
            let _ = write!(all, "{prefix}_{key}=");
            all.push(text);
            all.push(b"\0");
        }
    }
    all
}

const NUMBERS: [&str; 6] = ["PID", "UID", "RSS", "SWAP", "SCORE", "ADJ"];
const TEXTS: [&str; 5] = ["NAME", "CMDLINE", "SIGNAL", "REASON", "ACTION"];
