//! Other daemons of this kind: two that watch the same memory end two processes where one
//! would do.

use crate::procfs::Proc;
use crate::units::Pid;
use crate::victim::{Protection, Rules};
use std::io;

/// By their names in `/proc/PID/comm`.
const NAMES: [&str; 6] = ["earlyoom", "nohang", "systemd-oomd", "bustd", "oomd", "oom_guard"];

/// One that runs now, if any: its number and name.
pub fn find(proc: &mut Proc, rules: &Rules<'_>) -> io::Result<Option<(Pid, &'static str)>> {
    let mut found = None;
    proc.for_each(|proc, pid| {
        if found.is_some() {
            return;
        }
        let Ok(stat) = proc.stat(pid) else { return };
        let name = NAMES.into_iter().find(|name| name.as_bytes() == stat.comm.as_bytes());
        let is_other = matches!(rules.protection(&stat), None | Some(Protection::Left));
        found = name.filter(|_| is_other).map(|name| (pid, name));
    })?;
    Ok(found)
}
