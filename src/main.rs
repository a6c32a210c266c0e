//! oom_guard: ends the right process before memory runs out.
//!
//! From arguments to exit code; the rest is in the rooms below, each of which uses only
//! those named before it.

#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod units;

mod bytes;

#[cfg(feature = "patterns")]
mod pattern;
#[cfg(not(feature = "patterns"))]
#[path = "pattern/none.rs"]
mod pattern;

mod sys;

mod settings;

mod memory;

mod procfs;

mod policy;

mod stall;

mod observe;

mod select;

mod forkbomb;

mod writer;

mod stats;

mod event;

#[cfg(feature = "dbus-notify")]
mod notify;
#[cfg(not(feature = "dbus-notify"))]
#[path = "notify/none.rs"]
mod notify;

mod helper;

mod worker;

mod log;

mod supervisor;

mod report;

mod output;

mod context;

mod kill;

mod limit;

mod warning;

mod reboot;

mod daemon;

// What fuzzing has saved is read by the unit tests, too.
#[cfg(test)]
#[path = "../tests/fuzz/checks/mod.rs"]
mod checks;

use daemon::{Daemon, Parts};
use helper::Priority;
use memory::Memory;
use observe::{Bounds, Observer};
use procfs::Proc;
use report::{check, doubts, explain};
use select::{Filter, Scale};
use settings::{Mistake, Settled, Sources, Task};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use supervisor::Supervisor;
#[cfg(not(test))]
use sys::arena;
use sys::{clock, fd, io, machine, process};

#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: arena::Arena = arena::Arena;

/// Status of what cannot run, and of wrong usage or configuration.
const CANNOT: i32 = 1;
const USAGE: i32 = 2;

/// Called by the C library: what the standard library does before that is 2 KiB of code.
#[allow(unsafe_code)] // that it has this name
#[cfg_attr(not(test), no_mangle)]
extern "C" fn main(_: i32, arguments: process::Arguments) -> i32 {
    process::begin();
    // The loop runs where the stack is short again.
    if let Err(error) = prepare(&arguments).run() {
        cannot("start", error);
    }
    0
}

/// The daemon, ready to run. Whatever else was asked for is done here, and is all.
/// Not inlined: its frame must not stay on the stack while the guard runs (40 KiB of memory).
#[inline(never)]
fn prepare(arguments: &process::Arguments) -> Box<Daemon> {
    let mut arguments = arguments.texts();
    let program = arguments.next().unwrap_or_default();
    let arguments = arguments.map(|text| OsString::from_vec(text.to_vec()));
    let request = settings::parse(arguments).unwrap_or_else(|mistake| misused(&[mistake]));
    match request.task {
        Some(Task::Help) => print(settings::help(request.all).as_bytes()),
        Some(Task::Version) => {
            print(concat!("oom_guard ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())
        }
        Some(Task::Check | Task::Explain) | None => {}
    }
    let sources = Sources::of(program, request.given);
    let mut settled = settle(&sources);
    settled.notices.extend(request.notices.into_iter().map(String::from));
    let config = &settled.config;
    // Before anything else is open.
    let ready = config.outputs.ready_fd.filter(|_| request.task.is_none()).and_then(inherited);
    let mut proc = Proc::system().unwrap_or_else(|error| cannot("open /proc", error));
    // Without `self` there is none of the guard in it.
    if proc.own_pid().ok() != Some(process::own_pid()) {
        cannot_run("/proc belongs to another PID namespace, so its numbers mean others here");
    }
    let mut observer =
        Observer::open(&mut proc, config).unwrap_or_else(|blind| fail(format_args!("{blind}")));
    // A guard has its helper look, since that can hang.
    if request.task.is_some() {
        observer.look_at_tmpfs(&mut proc);
    }
    let scene = observer.observe(&mut proc, config, clock::now());
    let scene = scene.unwrap_or_else(|blind| fail(format_args!("{blind}")));
    let memory = &scene.memory;
    let tried = match request.task {
        // It only says that the kernel would choose.
        Some(Task::Explain) => config.check(memory.total).map(|()| None),
        _ => daemon::try_out(config, memory.total, &proc),
    };
    let sysrq = tried.unwrap_or_else(|mistakes| misused(&mistakes));
    let scale =
        own_scale(&mut proc).unwrap_or_else(|error| cannot("read /proc/self/oom_score", error));
    if let Some(task) = request.task {
        report(task, &sources, &settled, (&mut proc, &observer, memory), scale);
    }
    let Settled { config, mut notices, .. } = settled;
    let supervisor = own_supervisor(ready, &mut notices);
    let parts = Parts { config, sources, proc, observer, scene, scale, sysrq, notices, supervisor };
    Daemon::start(parts).unwrap_or_else(|error| cannot("start", error))
}

/// `--check` and `--explain`.
fn report(
    task: Task,
    sources: &Sources,
    Settled { config, in_force, notices }: &Settled,
    (proc, observer, memory): (&mut Proc, &Observer, &Memory),
    scale: Scale,
) -> ! {
    for notice in notices {
        complain(Priority::Notice, format_args!("notice: {notice}"));
    }
    let seen = (memory, observer.cgroup());
    if let Some(doubt) = Bounds::of(seen.1, seen.0).filter(Bounds::is_doubtful) {
        warn(format_args!("{doubt}"));
    }
    let mut filter = Filter::new(&config.patterns, &daemon::users_file(config));
    doubts::of_settings(config, sources, memory, &mut filter, &mut warn);
    doubts::of_rights(proc, config, &mut warn);
    let text = match task {
        Task::Check => check::text(proc, sources, config, in_force, seen, &mut warn),
        _ => explain::text(proc, seen, config, scale, true, None),
    };
    match text {
        Ok(text) => print(text.as_bytes()),
        Err(error) => cannot("list /proc", error),
    }
}

/// What `--ready-fd` names. A guard is worth more than a word to its service manager.
fn inherited(number: i32) -> Option<OwnedFd> {
    let warns = |error| warn(format_args!("--ready-fd: {number}: {error}; going on without it"));
    fd::inherited(number).map_err(warns).ok()
}

fn own_supervisor(ready: Option<OwnedFd>, notices: &mut Vec<String>) -> Supervisor {
    let (supervisor, told) = Supervisor::of(process::environment(), process::own_pid(), ready);
    if let Err(why) = told {
        notices.push(format!("NOTIFY_SOCKET: {why}; going on without it"));
    }
    supervisor
}

fn settle(sources: &Sources) -> Settled {
    let settled = sources.read().and_then(|texts| {
        let texts: Vec<_> = texts.iter().map(Vec::as_slice).collect();
        sources.settle(&texts)
    });
    settled.unwrap_or_else(|mistakes| misused(&mistakes))
}

fn own_scale(proc: &mut Proc) -> io::Result<Scale> {
    let own = process::own_pid();
    let (score, adj) = (proc.oom_score(own)?, proc.oom_score_adj(own)?);
    Ok(Scale::tell(score, adj, machine::kernel_release()))
}

/// Writes one line to standard error, as well as that goes.
fn complain(priority: Priority, what: fmt::Arguments<'_>) {
    let mut line = format!("oom_guard: {what}\n");
    if fd::stderr_is_journal() {
        line = format!("<{}>{line}", priority as u8);
    }
    let _ = fd::write(fd::stderr(), line.as_bytes());
}

fn warn(what: fmt::Arguments<'_>) {
    complain(Priority::Warning, format_args!("warning: {what}"));
}

/// Says what was tried, and what the kernel said.
fn cannot(what: &str, error: io::Error) -> ! {
    fail(format_args!("cannot {what}: {error}"))
}

fn cannot_run(why: &str) -> ! {
    fail(format_args!("cannot run: {why}"))
}

fn fail(why: fmt::Arguments<'_>) -> ! {
    complain(Priority::Error, why);
    process::exit(CANNOT)
}

fn misused(mistakes: &[Mistake]) -> ! {
    mistakes.iter().for_each(|mistake| complain(Priority::Error, format_args!("{mistake}")));
    complain(Priority::Error, format_args!("try 'oom_guard --help'"));
    process::exit(USAGE);
}

/// A reader that goes away early (`| head`) is no failure; a full disk is.
fn print(text: &[u8]) -> ! {
    let mut rest = text;
    while !rest.is_empty() {
        match fd::write(fd::stdout(), rest) {
            Ok(len @ 1..) => rest = &rest[len..],
            Ok(_) | Err(io::Error::BROKEN_PIPE) => break,
            Err(error) => cannot("write to standard output", error),
        }
    }
    process::exit(0);
}
