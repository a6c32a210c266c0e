//! Other daemons of this kind: two that watch the same memory end two processes if one
//! would do.

use crate::bytes::Buf;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::select::Family;
use crate::sys::io;
use crate::units::Pid;

/// By their names in `/proc/PID/comm`.
const NAMES: [&str; 6] = ["earlyoom", "nohang", "systemd-oomd", "bustd", "oomd", OWN];
const OWN: &str = "oom_guard";

/// Number and name of one that runs now. So many `own` guards do not count: settings are checked
/// beside the guard that they are for.
pub fn find(
    proc: &mut Proc,
    family: &Family,
    own: usize,
) -> io::Result<Option<(Pid, &'static str)>> {
    let (mut found, mut guards) = (None, 0);
    proc.for_each(|proc, pid| {
        let Ok(stat) = proc.stat(pid) else { return };
        let is_name = |name: &&&str| name.as_bytes() == stat.comm.as_bytes();
        let Some(&name) = NAMES.iter().find(is_name).filter(|_| found.is_none()) else { return };
        let is_other = family.protection(&stat).is_none();
        // A helper belongs to its watch.
        let parent = Pid::new(stat.ppid.into()).map(|parent| proc.stat(parent));
        let is_helper = matches!(parent, Some(Ok(parent)) if parent.comm == stat.comm);
        if is_other && !is_helper && !(name == OWN && is_script(proc, &stat)) {
            guards += usize::from(name == OWN);
            found = (name != OWN || guards > own).then_some((pid, name));
        }
    })?;
    Ok(found)
}

/// Whether a process of our name runs something else: the script that starts the service is
/// called by its file's name, as we are. If that cannot be told, it counts as a guard.
fn is_script(proc: &mut Proc, stat: &Stat) -> bool {
    // Longer ones are cut, and then it is taken for a script: no more than a warning is lost.
    let mut path = Buf::<1024>::new();
    let Ok(()) = proc.executable(stat, &mut path) else { return false };
    let file = path.as_bytes().rsplit(|&byte| byte == b'/').next();
    !file.is_some_and(|file| file.starts_with(OWN.as_bytes()))
}
