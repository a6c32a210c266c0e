//! What is accepted and still worth a word.

use super::rivals;
use crate::log;
use crate::memory::Memory;
use crate::procfs::Proc;
use crate::select::{Family, Filter};
use crate::settings::{Config, Sources, Tell};
use crate::sys::fd::Access;
use crate::units::Pid;

pub fn of_settings(
    config: &Config,
    sources: &Sources,
    memory: &Memory,
    filter: &mut Filter,
    tell: Tell<'_>,
) {
    sources.doubts(tell);
    config.warnings(memory.total, memory.swap_total, tell);
    for pattern in filter.unknown_users(&config.patterns) {
        tell(format_args!("{}", log::UnknownUser(pattern)));
    }
}

/// As a guard of this `family` finds the machine at its start.
pub fn of_machine(proc: &mut Proc, config: &Config, family: &Family, tell: Tell<'_>) {
    if is_hidden(proc) {
        tell(format_args!(
            "/proc hides the processes of other users (hidepid); only the visible ones are \
             candidates"
        ));
    }
    // A limit alone does not collide with another daemon.
    if config.watches_memory() {
        if let Ok(Some((pid, name))) = rivals::find(proc, family, 0) {
            tell(format_args!("{}", log::Rival(pid, name)));
        }
    }
}

/// Whether processes of others are out of sight: init always exists.
fn is_hidden(proc: &Proc) -> bool {
    proc.owner(Pid::INIT).is_err() || proc.open_file(b"1/stat", Access::Read).is_err()
}
