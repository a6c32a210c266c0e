//! What goes with a victim: a cgroup that is ended as a whole, or, with `--kill-group`, its process
//! group. Never signals.

use super::candidate::Protection;
use super::rules::Rules;
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::cgroup::Cgroup;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::sys::{io, process};
use crate::units::{Identity, Pid};

/// Processes that are signalled together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// A process group, by its number.
    Processes(i32),
    /// The cgroup that `OomGroup` found last.
    Cgroup,
}

impl Group {
    /// The process with that number, if it is a living member. Fails if that cannot be told.
    pub fn member(
        self,
        proc: &mut Proc,
        oom_group: &OomGroup,
        pid: Pid,
    ) -> io::Result<Option<Stat>> {
        // Most processes are elsewhere, which one file tells.
        if self == Group::Cgroup && !oom_group.holds(proc, pid)? {
            return Ok(None);
        }
        match (proc.stat(pid), self) {
            (Ok(stat), _) if stat.is_gone() => Ok(None),
            (Ok(stat), Group::Processes(number)) if number != stat.pgid => Ok(None),
            (Ok(stat), _) => Ok(Some(stat)),
            (Err(error), _) if error.is_gone() => Ok(None),
            // A call tells of one that is out of sight (`hidepid`).
            (Err(error), Group::Processes(number)) => match process::group_of(pid) {
                Some(group) if group != number => Ok(None),
                _ => Err(error),
            },
            (Err(error), Group::Cgroup) => Err(error),
        }
    }
}

/// The members of a group that may be ended.
#[derive(Debug)]
pub struct Members {
    pub group: Group,
    pub living: u32,
    /// So many of a cgroup are left alone, as the kernel does (`oom_kill_memcg_member` in
    /// mm/oom_kill.c).
    pub exempt: u32,
    /// What their end gives back: memory of its own of each, no page twice.
    pub held: Held,
}

/// Why a group is not signalled as a whole.
#[derive(Debug)]
pub enum Alone {
    NoGroup,
    OwnGroup,
    Holds(Pid, Protection),
    /// A process that does not belong to a fork bomb.
    HoldsOther(Pid),
    Unknown,
}

/// What goes with a victim.
#[derive(Default)]
pub struct Company {
    pub members: Option<Members>,
    /// Groups that might have gone, and why they do not.
    pub spared: [Option<(Group, Alone)>; 2],
}

impl Company {
    /// Its cgroup at `path`, if that asks for it; else its process group, if settings ask for that.
    pub fn of(
        proc: &mut Proc,
        rules: &mut Rules<'_>,
        oom_group: &mut OomGroup,
        (stat, held): (&Stat, Held),
        path: Option<&[u8]>,
    ) -> Company {
        let domain = rules.cgroup.map(Cgroup::path);
        let asks = path.is_some_and(|path| oom_group.find(path, domain));
        let cgroup = asks.then_some(Group::Cgroup);
        let group = rules.config.kill_group.then_some(Group::Processes(stat.pgid));
        let mut company = Company::default();
        for (place, group) in [cgroup, group].into_iter().enumerate() {
            let Some(group) = group else { continue };
            match members(proc, rules, oom_group, group, Some((stat.id, held))) {
                Ok(members) => {
                    company.members = Some(members);
                    break;
                }
                Err(why) => company.spared[place] = Some((group, why)),
            }
        }
        company
    }
}

/// Looks at every member of a group but the `victim`, which may have been signalled and counts with what
/// it held. Fails if it holds one that must not be signalled.
pub fn members(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    oom_group: &OomGroup,
    group: Group,
    victim: Option<(Identity, Held)>,
) -> Result<Members, Alone> {
    match group {
        // 0 lies outside the PID namespace, 1 would be "all" to kill(2).
        Group::Processes(..=1) => return Err(Alone::NoGroup),
        Group::Processes(own) if own == process::own_group() => return Err(Alone::OwnGroup),
        _ => {}
    }
    let living = u32::from(victim.is_some());
    let (id, held) = victim.unzip();
    let mut found = Members { group, living, exempt: 0, held: held.unwrap_or_default() };
    let (mut protected, mut all_known) = (None, true);
    let walked = proc.for_each(|proc, pid| {
        let member = group.member(proc, oom_group, pid);
        all_known &= member.is_ok();
        let Some(stat) = member.iter().flatten().find(|stat| id != Some(stat.id)) else { return };
        match rules.protection(proc, stat) {
            Some(Protection::Exempt) if group == Group::Cgroup => found.exempt += 1,
            Some(Protection::Gone) => {}
            Some(why) => protected = protected.or(Some((pid, why))),
            None => {
                found.living += 1;
                if let Ok(status) = proc.status(stat) {
                    found.held = found.held.and(status.held());
                }
            }
        }
    });
    match (walked, protected) {
        (Err(_), _) => Err(Alone::Unknown),
        (_, Some((pid, why))) => Err(Alone::Holds(pid, why)),
        (_, None) if !all_known => Err(Alone::Unknown),
        _ => Ok(found),
    }
}
