//! What is accepted and still worth a word.

use super::rivals;
use crate::bytes::Escaped;
use crate::memory::Memory;
use crate::policy::Limits;
use crate::procfs::Proc;
use crate::select::{Family, Filter};
use crate::settings::{Config, Sources, Tell};
use crate::sys::fd::Access;
use crate::sys::{io, machine, process};
use crate::units::Pid;
use std::fmt;

/// What is most likely a slip, or lacks a right of the guard's.
pub fn of_settings(
    config: &Config,
    sources: &Sources,
    memory: &Memory,
    filter: &mut Filter,
    tell: Tell<'_>,
) {
    for variable in &sources.unknown {
        tell(format_args!("{variable}"));
    }
    sources.doubts(tell);
    config.warnings(memory.total, memory.swap_total, tell);
    let Limits { mem, warn, .. } = Limits::of(config, memory);
    if warn.is_some_and(|warn| Some(warn.mem) <= mem.term) {
        tell(format_args!(
            "--warn: is not above the level of SIGTERM, so no warning comes before the signal"
        ));
    }
    for pattern in filter.unknown_users(&config.patterns) {
        let text = Escaped(pattern.text());
        tell(format_args!("\"{text}\": /etc/passwd has no such user; numbers always work"));
    }
    of_reboot(config, tell);
}

/// What `--reboot-after` lacks.
fn of_reboot(config: &Config, tell: Tell<'_>) {
    if !config.may_reboot() {
        return;
    }
    match machine::may_reboot() {
        Ok(()) => {}
        Err(io::Error::REFUSED) => tell(format_args!("--reboot-after: CAP_SYS_BOOT is missing")),
        Err(error) => tell(format_args!("--reboot-after: reboot(2) is kept away: {error}")),
    }
    if let Err(error) = machine::console() {
        tell(format_args!("--reboot-after: /dev/console: {error}; it is said in the log alone"));
    }
}

/// What cannot be seen or ended.
pub fn of_rights(proc: &Proc, config: &Config, tell: Tell<'_>) {
    // Init always exists.
    let seen = proc.open_file(b"1/stat", Access::Read);
    if seen.is_err_and(is_hidepid) {
        tell(format_args!(
            "/proc hides the processes of other users (hidepid); only the visible ones are \
             candidates"
        ));
    }
    let reach = Reach::of_guard(proc);
    // With `--kernel-oom` the kernel kills, and needs no right of the guard's.
    if reach != Reach::All && !config.needs_sysrq() {
        tell(format_args!("not all processes can be ended, only {reach}"));
    }
}

/// The directory of a hidden process may not be entered with `hidepid=1`, and else it is not there
/// (`proc_pid_permission` in fs/proc/base.c). Any other error says nothing of that.
fn is_hidepid(error: io::Error) -> bool {
    error == io::Error::REFUSED || error.is_gone()
}

/// Which processes can be ended, as far as that depends on rights. `process::may_signal` tells it
/// of a single one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    All,
    OwnNamespace,
    OwnUser,
}

impl Reach {
    pub fn of_guard(proc: &Proc) -> Reach {
        let own = proc.user_namespace(process::own_pid());
        let is_with_init = own.is_ok() && own == proc.user_namespace(Pid::INIT);
        match process::has_cap_kill() {
            false => Reach::OwnUser,
            // That of init may not be readable.
            true if is_with_init || machine::is_in_first_user_namespace() => Reach::All,
            true => Reach::OwnNamespace,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reach::All => "all",
            Reach::OwnNamespace => "those of the same user namespace (CAP_KILL counts there alone)",
            Reach::OwnUser => "those of the same user (CAP_KILL is missing)",
        })
    }
}

/// Another daemon that does the same, beside so many `own` guards.
pub fn of_rivals(proc: &mut Proc, config: &Config, family: &Family, own: usize, tell: Tell<'_>) {
    // A limit alone does not collide with another daemon.
    if !config.watches_memory() {
        return;
    }
    if let Ok(Some((pid, name))) = rivals::find(proc, family, own) {
        tell(format_args!(
            "process {pid} ({name}) watches memory too: both may kill where one would do"
        ));
    }
}
