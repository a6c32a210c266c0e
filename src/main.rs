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
use check::Check;
use config::Refusal;
use daemon::{Daemon, Parts};
use explain::Explanation;
use options::{Section, Task, TABLE};
use procfs::meminfo::MemInfo;
use procfs::Proc;
use sources::Sources;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use sys::errno::Errno;
use sys::{fd, machine, process};
use victim::Scale;

/// Wrong usage or configuration.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default().into_vec();
    let request = arguments::parse(arguments).map_err(Failure::Usage);
    request.and_then(|request| run(&program, request)).unwrap_or_else(|failure| {
        match &failure {
            Failure::Settings(refusals) => refusals.iter().for_each(|refusal| complain(refusal)),
            other => complain(other),
        }
        if failure.status() == USAGE {
            complain(&"try 'oom_guard --help'");
        }
        ExitCode::from(failure.status())
    })
}

/// Writes one line to standard error, as well as that goes.
fn complain(what: &dyn Display) {
    let _ = writeln!(io::stderr(), "oom_guard: {what}");
}

/// Why the program cannot do what it was asked.
enum Failure {
    Usage(arguments::Refusal),
    /// At least one.
    Settings(Vec<Refusal>),
    /// What was tried, and what the kernel said.
    Io(&'static str, io::Error),
    NoSense,
    ForeignProc,
    NoSysrq(daemon::NoSysrq),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Settings(_) => USAGE,
            _ => 1,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Io(what, error) => write!(f, "cannot {what}: {}", Errno(error)),
            Failure::NoSense => f.write_str("cannot run: /proc/meminfo makes no sense"),
            Failure::ForeignProc => f.write_str(
                "cannot run: /proc belongs to another PID namespace, so its numbers mean others here",
            ),
            Failure::NoSysrq(why) => why.fmt(f),
            Failure::Usage(refusal) => refusal.fmt(f),
            Failure::Settings(refusals) => refusals.iter().try_for_each(|refusal| refusal.fmt(f)),
        }
    }
}

fn run(program: &[u8], request: Request) -> Result<ExitCode, Failure> {
    match request.task {
        Some(Task::Help) => return print(&help()),
        Some(Task::Version) => {
            return print(&concat!("oom_guard ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        Some(Task::Check | Task::Explain) | None => {}
    }
    let variables = std::env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec()));
    let sources = Sources::of(program, request.given, variables);
    let texts = config::read(&sources).map_err(Failure::Settings)?;
    let on_terminal = fd::is_terminal(fd::stderr());
    let settled = config::settle(&sources, &texts, on_terminal);
    let settled = settled.map_err(Failure::Settings)?;
    let config = &settled.config;
    let mut proc = Proc::system().map_err(|error| Failure::Io("open /proc", error))?;
    // Without `self` there is none of the guard in it.
    if proc.own_pid().ok() != Some(process::own_pid()) {
        return Err(Failure::ForeignProc);
    }
    let unreadable = |error| Failure::Io("read /proc/meminfo", error);
    let meminfo = MemInfo::open(&mut proc).map_err(unreadable)?;
    let memory = meminfo.read(&mut proc).map_err(unreadable)?.ok_or(Failure::NoSense)?;
    config.check_sizes(memory.total).map_err(Failure::Settings)?;
    config.check_hooks().map_err(Failure::Settings)?;
    let scale =
        own_scale(&mut proc).map_err(|error| Failure::Io("read /proc/self/oom_score", error))?;
    if request.task == Some(Task::Check) {
        let check = Check::of(&mut proc, &sources, &settled, &memory, scale)
            .map_err(|error| Failure::Io("list /proc", error))?;
        request.notices.iter().for_each(|notice| complain(&format_args!("notice: {notice}")));
        check.warnings.iter().for_each(|warning| complain(&format_args!("warning: {warning}")));
        return print(&check);
    }
    if request.task == Some(Task::Explain) {
        request.notices.iter().for_each(|notice| complain(&format_args!("notice: {notice}")));
        config
            .warnings(memory.total, memory.swap_total)
            .for_each(|warning| complain(&format_args!("warning: {warning}")));
        let explanation = Explanation::of(&mut proc, &meminfo, config, scale)
            .map_err(|error| Failure::Io("list /proc", error))?
            .ok_or(Failure::NoSense)?;
        for pattern in &explanation.unknown_users {
            complain(&format_args!("warning: {}", log::UnknownUser(pattern)));
        }
        return print(&explanation);
    }
    let sysrq = config.needs_sysrq().then(|| daemon::open_sysrq(&proc)).transpose();
    let sysrq = sysrq.map_err(Failure::NoSysrq)?;
    let notices = request.notices;
    let config = settled.config;
    let parts =
        Parts { config, sources, on_terminal, proc, meminfo, memory, scale, sysrq, notices };
    let daemon = Daemon::start(parts).map_err(|error| Failure::Io("start", error))?;
    daemon.run();
    Ok(ExitCode::SUCCESS)
}

/// A reader that goes away early (`| head`) is no failure; a full disk is.
fn print(text: &dyn Display) -> Result<ExitCode, Failure> {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io("write to standard output", error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn own_scale(proc: &mut Proc) -> io::Result<Scale> {
    let own = process::own_pid();
    let (score, adj) = (proc.oom_score(own)?, proc.oom_score_adj(own)?);
    Ok(Scale::tell(score, adj, machine::kernel_release()))
}

/// The help, from the table.
fn help() -> String {
    let mut text = String::from(
        "Usage: oom_guard [OPTION]...\n\
         Ends the right process before memory runs out, so that the machine does not freeze.\n",
    );
    for section in Section::ALL {
        let _ = write!(text, "\n{}:\n", section.title());
        for spec in TABLE.iter().filter(|spec| spec.section == Some(section)) {
            write_option(&mut text, spec);
        }
    }
    text.push_str(
        "\nPATTERN is [FIELD:][glob:]TEXT; FIELD is name (unless given), cmd, exe, user or cgroup; TEXT\n\
         is a regular expression searched anywhere in it, or a glob for all of it.\n\
         SIZE is in KiB, or has a binary suffix K, M, G or T.\n\
         Exit status: 0 fine, 1 cannot run, 2 wrong usage.\n",
    );
    text
}

/// Where the explanations begin, and where lines end, in columns.
const INDENT: usize = 30;
const WIDTH: usize = 90;

fn write_option(text: &mut String, spec: &options::Spec) {
    let mut spelling = String::from("  ");
    for letter in spec.shorts {
        let _ = write!(spelling, "-{letter}, ");
    }
    for (index, long) in spec.longs.iter().enumerate() {
        let _ = write!(spelling, "{}--{long}", if index > 0 { ", " } else { "" });
    }
    if let Some(name) = spec.value_name() {
        spelling.extend([" ", name]);
    }
    let _ = write!(text, "{spelling:<width$}", width = INDENT - 1);
    let mut column = spelling.len().max(INDENT - 1);
    let default = match spec.default {
        "" => String::new(),
        default => format!(" (default: {default})"),
    };
    for word in spec.help.split(' ').chain(default.split(' ').skip(1)) {
        if column + 1 + word.len() > WIDTH || column > INDENT && column == spelling.len() {
            let _ = write!(text, "\n{:width$}", "", width = INDENT - 1);
            column = INDENT - 1;
        }
        let _ = write!(text, " {word}");
        column += 1 + word.len();
    }
    text.push('\n');
}
