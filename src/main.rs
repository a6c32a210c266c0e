//! oom_guard: ends the right process before memory runs out.
//!
//! From arguments to exit code; the rest is in the rooms below, each of which uses only
//! those named before it.

#![deny(unsafe_code)]

mod units;

mod bytes;

#[cfg(feature = "patterns")]
mod pattern;
#[cfg(not(feature = "patterns"))]
#[path = "pattern/none.rs"]
mod pattern;

mod options;

mod sys;

mod sources;

mod config;

mod arguments;

mod procfs;

mod policy;

mod filter;

mod victim;

mod scan;

mod kill;

mod stats;

mod event;

#[cfg(feature = "dbus-notify")]
mod notify;
#[cfg(not(feature = "dbus-notify"))]
#[path = "notify/none.rs"]
mod notify;

mod helper;

mod errand;

mod log;

mod rivals;

mod explain;

mod check;

mod daemon;

use arguments::Request;
use daemon::{Daemon, Parts};
use options::{Section, Spec, Task, TABLE};
use procfs::meminfo::MemInfo;
use procfs::Proc;
use sources::Sources;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use sys::errno::{is_broken_pipe, Errno};
use sys::{fd, machine, process};
use victim::Scale;

/// Status of what cannot run, and of wrong usage or configuration.
const CANNOT: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default().into_vec();
    let request = arguments::parse(arguments, &mut complain);
    let done = request.ok_or(USAGE).and_then(|request| run(&program, request));
    let status = done.err().unwrap_or(0);
    if status == USAGE {
        complain(format_args!("try 'oom_guard --help'"));
    }
    ExitCode::from(status)
}

/// Writes one line to standard error, as well as that goes.
fn complain(what: fmt::Arguments<'_>) {
    let _ = fd::write(fd::stderr(), format!("oom_guard: {what}\n").as_bytes());
}

fn warn(what: fmt::Arguments<'_>) {
    complain(format_args!("warning: {what}"));
}

/// Says what was tried, and what the kernel said.
#[inline(never)]
fn cannot(what: &str, error: &io::Error) -> u8 {
    complain(format_args!("cannot {what}: {}", Errno(error)));
    CANNOT
}

/// An error is the exit status, once it is said why.
fn run(program: &[u8], request: Request) -> Result<(), u8> {
    match request.task {
        Some(Task::Help) => return print(&help()),
        Some(Task::Version) => {
            return print(concat!("oom_guard ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())
        }
        Some(Task::Check | Task::Explain) | None => {}
    }
    let sources = Sources::of(program, request.given);
    let texts = sources.read(&mut complain).ok_or(USAGE)?;
    let on_terminal = fd::is_terminal(fd::stderr());
    let settled = config::settle(&sources, &texts, on_terminal, &mut complain).ok_or(USAGE)?;
    let config = &settled.config;
    let mut proc = Proc::system().map_err(|error| cannot("open /proc", &error))?;
    // Without `self` there is none of the guard in it.
    if proc.own_pid().ok() != Some(process::own_pid()) {
        complain(format_args!(
            "cannot run: /proc belongs to another PID namespace, so its numbers mean others here"
        ));
        return Err(CANNOT);
    }
    let unreadable = |error| cannot("read /proc/meminfo", &error);
    let meminfo = MemInfo::open(&mut proc).map_err(unreadable)?;
    let memory = meminfo.read(&mut proc).map_err(unreadable)?.ok_or_else(no_sense)?;
    if !config.check_sizes(memory.total, &mut complain) || !config.check_hooks(&mut complain) {
        return Err(USAGE);
    }
    let scale =
        own_scale(&mut proc).map_err(|error| cannot("read /proc/self/oom_score", &error))?;
    if let Some(task) = request.task {
        for notice in request.notices {
            complain(format_args!("notice: {notice}"));
        }
        let unlisted = |error| cannot("list /proc", &error);
        if task == Task::Check {
            let checked = check::text(&mut proc, &sources, &settled, &memory, scale, &mut warn);
            return print(checked.map_err(unlisted)?.as_bytes());
        }
        config.warnings(memory.total, memory.swap_total, &mut warn);
        let explained = explain::table(&mut proc, &meminfo, config, scale, &mut warn);
        return print(explained.map_err(unlisted)?.ok_or_else(no_sense)?.as_bytes());
    }
    let sysrq = match config.needs_sysrq() {
        true => Some(daemon::open_sysrq(&proc).map_err(|why| {
            complain(format_args!("{why}"));
            CANNOT
        })?),
        false => None,
    };
    let (config, notices) = (settled.config, request.notices);
    let parts =
        Parts { config, sources, on_terminal, proc, meminfo, memory, scale, sysrq, notices };
    let daemon = Daemon::start(parts).map_err(|error| cannot("start", &error))?;
    daemon.run();
    Ok(())
}

fn no_sense() -> u8 {
    complain(format_args!("cannot run: /proc/meminfo makes no sense"));
    CANNOT
}

/// A reader that goes away early (`| head`) is no failure; a full disk is.
fn print(text: &[u8]) -> Result<(), u8> {
    let mut rest = text;
    while !rest.is_empty() {
        match fd::write(fd::stdout(), rest) {
            Ok(len) => rest = &rest[len..],
            Err(error) if is_broken_pipe(&error) => break,
            Err(error) => return Err(cannot("write to standard output", &error)),
        }
    }
    Ok(())
}

fn own_scale(proc: &mut Proc) -> io::Result<Scale> {
    let own = process::own_pid();
    let (score, adj) = (proc.oom_score(own)?, proc.oom_score_adj(own)?);
    Ok(Scale::tell(score, adj, machine::kernel_release()))
}

/// The help, from the table.
#[inline(never)]
fn help() -> Vec<u8> {
    let mut text = Vec::from(
        "Usage: oom_guard [OPTION]...\n\
         Ends the right process before memory runs out, so that the machine does not freeze.\n",
    );
    for section in Section::ALL {
        push(&mut text, &["\n", section.title(), ":\n"]);
        for spec in TABLE.iter().filter(|spec| spec.section == Some(section)) {
            push_option(&mut text, spec);
        }
    }
    push(&mut text, &[
        "\nPATTERN is [FIELD:][glob:]TEXT; FIELD is name (unless given), cmd, exe, user or cgroup; TEXT\n\
         is a regular expression searched anywhere in it, or a glob for all of it.\n\
         SIZE is in KiB, or has a binary suffix K, M, G or T.\n\
         Exit status: 0 fine, 1 cannot run, 2 wrong usage.\n",
    ]);
    text
}

fn push(text: &mut Vec<u8>, pieces: &[&str]) {
    pieces.iter().for_each(|piece| text.extend_from_slice(piece.as_bytes()));
}

/// Where the explanations begin, and where lines end, in columns.
const INDENT: usize = 30;
const WIDTH: usize = 90;

fn push_option(text: &mut Vec<u8>, spec: &Spec) {
    let mut line = text.len();
    let mut comma = "  ";
    for spelling in spec.spelled {
        push(text, &[comma, spelling]);
        comma = ", ";
    }
    if let Some(name) = spec.value_name() {
        push(text, &[" ", name]);
    }
    let mut help = Vec::from(spec.help);
    if !spec.default.is_empty() {
        push(&mut help, &[" (default: ", spec.default, ")"]);
    }
    let mut is_full = text.len() - line >= INDENT;
    for word in help.split(|&byte| byte == b' ') {
        if is_full || text.len() - line + word.len() >= WIDTH {
            text.push(b'\n');
            line = text.len();
            is_full = false;
        }
        text.resize(text.len().max(line + INDENT - 1), b' ');
        text.push(b' ');
        text.extend_from_slice(word);
    }
    text.push(b'\n');
}
