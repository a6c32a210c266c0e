//! `--check`: the settings in force and the place of each, what the kernel offers, and warnings
//! about both.
//!
//! Runs once and ends, so unlike the loop it may allocate.

use super::doubts::{self, Reach};
use super::reader::{Reader, PATIENCE};
use crate::bytes::Escaped;
use crate::log;
use crate::memory::Memory;
use crate::notify::low_memory;
use crate::observe::Bounds;
use crate::pattern::Field;
use crate::procfs::cgroup::Cgroup;
use crate::procfs::meminfo::MemInfo;
use crate::procfs::Proc;
use crate::select::{Family, Filter, Matcher, Protection};
use crate::settings::{doubt, Config, Given, Outputs, Sources, Tell};
use crate::sys::io;
use crate::sys::{fd, machine, memory, process, socket};
use crate::units::{KiB, Path};
use std::fmt::{self, Write};
use std::os::fd::AsFd;

/// All that `--check` prints. Warnings of what it alone looks at are told.
pub fn text(
    proc: &mut Proc,
    sources: &Sources,
    config: &Config,
    in_force: &[Given],
    (memory, cgroup): (&Memory, Option<&Cgroup>),
    tell: Tell<'_>,
) -> io::Result<String> {
    look_at_outputs(&config.outputs, tell);
    let family = Family::now(proc, None);
    doubts::of_rivals(proc, config, &family, 1, tell);
    try_patterns(proc, config, &family, tell)?;
    let mut text = sources.shown(in_force);
    write_machine(&mut text, proc, memory, Bounds::of(cgroup, memory));
    if config.outputs.low_memory_signal {
        say(&mut text, "system bus", low_memory::try_system_bus());
    }
    Ok(text)
}

fn write_machine(text: &mut String, proc: &mut Proc, memory: &Memory, bounds: Option<Bounds<'_>>) {
    let (major, minor) = machine::kernel_release();
    let _ = writeln!(text, "\nthis machine: Linux {major}.{minor}\n  {}", log::State(memory));
    let available = match memory.estimated {
        true => "estimated: the kernel does not tell it (3.14 and later do)",
        false => "told by the kernel",
    };
    let _ = writeln!(text, "  MemAvailable: {available}");
    if memory.arc > KiB::ZERO {
        let _ = writeln!(text, "  ZFS: {} MiB of its cache count as available", memory.arc.mib());
    }
    if MemInfo::open(proc).is_ok_and(|meminfo| meminfo.is_of_fuse()) {
        let _ = writeln!(
            text,
            "  /proc/meminfo: of a FUSE server (lxcfs); if it hangs, so does the guard"
        );
    }
    // A doubt about it was told.
    if let Some(bounds) = bounds.filter(|bounds| !bounds.is_doubtful()) {
        let _ = writeln!(text, "  {bounds}");
    }
    say(text, "pressure information (PSI)", proc.stall_shares().map(drop));
    say(text, "pressure information of disks", proc.disk_shares().map(drop));
    let pidfd = process::pidfd_open(process::own_pid());
    let release =
        pidfd.as_ref().map_or(Err(io::Error::GONE), |pidfd| process::release_memory(pidfd.as_fd()));
    say(text, "signals through pidfd (Linux 5.3)", pidfd.map(drop));
    // The guard itself is not dying, which a kernel that knows the call says.
    let is_known = release == Err(io::Error::INVALID);
    let release = if is_known { Ok(()) } else { release };
    say(text, "process_mrelease (Linux 5.15)", release);
    say(text, "locking memory", memory::lock());
    let _ = writeln!(text, "  processes that can be ended: {}", Reach::of_guard(proc));
}

fn say(text: &mut String, what: &str, result: Result<(), impl fmt::Display>) {
    let _ = match result {
        Ok(()) => writeln!(text, "  {what}: yes"),
        Err(error) => writeln!(text, "  {what}: no, {error}"),
    };
}

fn look_at_outputs(outputs: &Outputs, tell: Tell<'_>) {
    if outputs.syslog {
        if let Err(error) = socket::connect(b"/dev/log\0") {
            tell(format_args!("--syslog: /dev/log: {error}"));
        }
    }
    let is_directory =
        |path: &Path| fd::look_up(path.terminated()).is_ok_and(|found| found.is_directory());
    // A file that is replaced, or is not there yet, is made in its directory.
    let may_write = |path: &Path, is_replaced: bool| match fd::look_up(path.terminated()) {
        Ok(_) if !is_replaced => fd::check_writable(path.terminated()),
        _ => fd::check_writable(path.parent().terminated()),
    };
    for (option, path, is_replaced) in
        &[("--log-file", &outputs.log_file, false), ("--stats-file", &outputs.stats_file, true)]
    {
        let Some(path) = path else { continue };
        let shown = Escaped(path.as_bytes());
        if is_directory(path) {
            tell(format_args!("{option}: {shown} is a directory"));
        } else if !is_directory(&path.parent()) {
            tell(format_args!("{option}: there is no directory for {shown}"));
        } else if let Err(error) = may_write(path, *is_replaced) {
            tell(format_args!("{option}: {shown}: cannot write it: {error}"));
        }
    }
}

/// Warns of each `--ignore` and `--only` that matches no process: it is usually a slip.
fn try_patterns(
    proc: &mut Proc,
    config: &Config,
    family: &Family,
    tell: Tell<'_>,
) -> io::Result<()> {
    let patterns = &config.patterns;
    let passwd = fd::read_file(b"/etc/passwd\0", usize::MAX).unwrap_or_default();
    let mut filter = Filter::new(patterns, &passwd);
    let mut reader = Reader::start(!patterns.ignore.is_empty() || !patterns.only.is_empty())?;
    let (filter, assistant) = (&mut filter, &mut reader);
    let mut matcher = Matcher { patterns, filter, assistant, patience: PATIENCE };
    for (option, list) in &[("--ignore", &patterns.ignore), ("--only", &patterns.only)] {
        // Of what is doubted anyway, enough was said.
        for pattern in list.iter().filter(|pattern| doubt(pattern).is_none()) {
            let mut matched = [false; Field::ALL.len()];
            proc.for_each(|proc, pid| {
                let Ok(stat) = proc.stat(pid) else { return };
                // The command lines of the guard and its ancestors name the pattern themselves.
                let asks = [Protection::Guard, Protection::Ancestor, Protection::KernelThread];
                if !family.protection(&stat).is_some_and(|why| asks.contains(&why)) {
                    matcher.patience = PATIENCE;
                    matcher.note_matches(&mut matched, pattern, proc, &stat);
                }
            })?;
            if matched[pattern.field() as usize] {
                continue;
            }
            let mut would = String::new();
            for field in Field::ALL {
                if matched[field as usize] {
                    let _ = write!(would, "; {}: would", field.word());
                }
            }
            let shown = Escaped(pattern.text());
            tell(format_args!("{option} \"{shown}\": matches no process now{would}"));
        }
    }
    Ok(())
}
