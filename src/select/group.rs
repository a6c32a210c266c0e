//! A whole process group, as a victim of `--kill-group`.

use super::candidate::Protection;
use super::rules::Rules;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::Pid;

/// What is known of a process group.
pub struct Group {
    pub leader: Pid,
    /// A member that must not be signalled, and why.
    pub protected: Option<(Pid, Protection)>,
    pub living: u32,
    /// What its end gives back: memory of its own of each member, no page twice.
    pub held: Held,
}

/// Looks at every member of the group `leader`.
pub fn group(proc: &mut Proc, rules: &mut Rules<'_>, leader: Pid) -> io::Result<Group> {
    let mut group = Group { leader, protected: None, living: 0, held: Held::default() };
    proc.for_each(|proc, pid| {
        let Ok(stat) = &proc.stat(pid) else { return };
        if stat.pgid != leader.number() || stat.is_gone() {
            return;
        }
        group.living += 1;
        if let Ok(status) = proc.status(stat) {
            group.held = group.held.and(status.held());
        }
        match rules.protection(proc, stat) {
            None | Some(Protection::Gone) => {}
            Some(why) => group.protected = group.protected.or(Some((pid, why))),
        }
    })?;
    Ok(group)
}
