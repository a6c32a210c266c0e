//! The one process (or group) that a signal goes to, named so that it cannot be another.

use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::select::{Group, Rules};
use crate::sys::fd::{self, Interest};
use crate::sys::io;
use crate::sys::process::{self, KillSignal};
use crate::units::{Identity, Pid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct Target {
    pub id: Identity,
    /// `None` before Linux 5.3, where descriptors have run out, or once only others of the
    /// group are alive.
    pidfd: Option<OwnedFd>,
    /// Signal the whole group: the members of a cgroup each by itself (`signal_members`).
    pub group: Option<Group>,
    /// Its own end was seen, if not that of its group.
    ended: bool,
}

impl Target {
    /// Takes hold of the process. ESRCH if it is not (or not any more) the one that was
    /// chosen: the start time is read after the descriptor was opened, so what the
    /// descriptor names and what was read are the same process.
    pub fn open(proc: &mut Proc, id: Identity) -> io::Result<Target> {
        let pidfd = open_pidfd(id.pid)?;
        if !proc.is_running(id)? {
            return Err(io::Error::GONE);
        }
        Ok(Target { id, pidfd, group: None, ended: false })
    }

    /// Takes hold of whichever process has that number, and tells what its `stat` says: read after
    /// the descriptor was opened, so both are of the same process.
    pub fn hold(proc: &mut Proc, pid: Pid) -> io::Result<(Target, Stat)> {
        let pidfd = open_pidfd(pid)?;
        let stat = proc.stat(pid)?;
        Ok((Target { id: stat.id, pidfd, group: None, ended: false }, stat))
    }

    /// The descriptor that becomes readable when the process is gone, where there is one.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Only a walk over `/proc` tells whether its group is empty.
    pub fn takes_a_walk(&self) -> bool {
        self.pidfd.is_none() && self.group.is_some()
    }

    /// No descriptor tells its end.
    pub fn needs_looking(&self) -> bool {
        self.pidfd.is_none() || self.group.is_some()
    }

    pub fn signal(&self, proc: &mut Proc, signal: KillSignal) -> io::Result<()> {
        match self.group {
            // The number of a group is taken while a process is in it; that one is, is
            // checked right before. When in doubt, it may be another group by now.
            Some(Group::Processes(number)) if self.group_lives(proc, number).unwrap_or(false) => {
                let leader = Pid::new(number.into()).ok_or(io::Error::GONE)?;
                process::send_group(leader, signal)
            }
            _ => self.signal_one(proc, signal),
        }
    }

    fn signal_one(&self, proc: &mut Proc, signal: KillSignal) -> io::Result<()> {
        if let Some(pidfd) = &self.pidfd {
            match process::pidfd_send(pidfd.as_fd(), signal) {
                // A filter may know pidfd_open and not this call.
                Err(error) if error.is_missing_call() => {}
                result => return result,
            }
        }
        // By number, so the last thing before is to look which process has it.
        if !proc.is_running(self.id)? {
            return Err(io::Error::GONE);
        }
        process::send(self.id.pid, signal)
    }

    /// Its own end is known by now, if not that of its group.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.pidfd.as_ref();
        let ended = ended.is_some_and(|pidfd| fd::is_ready_now(pidfd.as_fd(), Interest::Readable));
        if ended && self.group.is_some() {
            // It has told all it can, and would end every wait at once from now on.
            (self.pidfd, self.ended) = (None, true);
        }
        ended
    }

    /// It has ended by itself, and what goes on is about others of its group.
    pub fn has_left_others(&self) -> bool {
        self.ended && self.group.is_some()
    }

    /// Nothing of it is alive any more, but perhaps other members of its cgroup.
    pub fn is_gone(&mut self, proc: &mut Proc) -> bool {
        let one_is_gone = match &self.pidfd {
            Some(pidfd) => fd::is_ready_now(pidfd.as_fd(), Interest::Readable),
            // Unreadable for now is not gone.
            None => !proc.is_running(self.id).unwrap_or(true),
        };
        let Some(group) = self.group.filter(|_| one_is_gone) else {
            return one_is_gone;
        };
        // It has told all it can, and would end every wait at once from now on.
        (self.pidfd, self.ended) = (None, true);
        match group {
            Group::Processes(number) => !self.group_lives(proc, number).unwrap_or(true),
            Group::Cgroup => true,
        }
    }

    fn group_lives(&self, proc: &mut Proc, number: i32) -> io::Result<bool> {
        let is_member = |proc: &mut Proc, pid| {
            let stat = &proc.stat(pid);
            let stat = stat.as_ref().ok().filter(|stat| stat.pgid == number)?;
            (!stat.is_gone()).then_some(stat.id)
        };
        let mut lives = is_member(proc, self.id.pid) == Some(self.id);
        if !lives {
            proc.for_each(|proc, pid| {
                lives = lives || is_member(proc, pid).is_some();
            })?;
        }
        Ok(lives)
    }
}

/// Signals each process that shares the memory of `id`, because that comes back only with the last of
/// them. Protected ones are left alone. They are compared with `id`, so it must not be signalled before.
/// Returns how many were, or without a `signal` would be.
pub fn signal_sharers(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    id: Identity,
    signal: Option<KillSignal>,
) -> u32 {
    let mut count = 0;
    // If the walk fails, the others live on, and with them the memory: that shows.
    let _ = proc.for_each(|proc, pid| {
        if pid == id.pid || !process::share_memory(id.pid, pid) {
            return;
        }
        let Ok((other, stat)) = Target::hold(proc, pid) else { return };
        if rules.protection(proc, &stat).is_some() {
            return;
        }
        // A child of `vfork` shares only until it becomes another program. A victim that leaves has no
        // memory any more, and so seems to share it with all kernel threads: it must not have left
        // when the two were compared.
        let has_memory = |stat: &Stat| stat.id == id && !stat.is_leaving() && !stat.is_ended();
        let still = process::share_memory(id.pid, pid)
            && proc.stat(id.pid).is_ok_and(|stat| has_memory(&stat));
        let done = |signal| other.signal(proc, signal).is_ok();
        count += u32::from(still && signal.map_or(true, done));
    });
    count
}

/// Signals the members of the cgroup of `id`, which was signalled by itself. Protected ones are left
/// alone. Returns how many may live still, the protected ones apart; `None` if they cannot be told.
pub fn signal_members(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    oom_group: &OomGroup,
    id: Identity,
    signal: Option<KillSignal>,
) -> Option<u32> {
    let mut count = 0;
    let walked = proc.for_each(|proc, pid| {
        let may_live = match signal_member(proc, rules, oom_group, (pid, id), signal) {
            Ok(lives) => lives,
            Err(error) => !error.is_gone(),
        };
        count += u32::from(may_live);
    });
    walked.is_ok().then_some(count)
}

/// Whether the process with that number is a living member other than `id`, and not protected for sure.
fn signal_member(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    oom_group: &OomGroup,
    (pid, id): (Pid, Identity),
    signal: Option<KillSignal>,
) -> io::Result<bool> {
    if !oom_group.holds(proc, pid)? {
        return Ok(false);
    }
    let (member, stat) = Target::hold(proc, pid)?;
    // The number may have been another one's a moment ago.
    if stat.id == id || stat.is_gone() || !oom_group.holds(proc, pid)? {
        return Ok(false);
    }
    match (rules.protection(proc, &stat), signal) {
        (Some(why), _) => Ok(why.is_doubtful()),
        (None, Some(signal)) => member.signal(proc, signal).map(|()| true),
        (None, None) => Ok(true),
    }
}

/// So many members that survive SIGKILL are given up at once. Each further one costs another kill.
const REST: usize = 16;

/// What is alive of a group.
pub struct Rest {
    pub count: u32,
    pub first: Option<Stat>,
    pub ids: [Option<Identity>; REST],
}

/// Looks at it. Protected ones do not count.
pub fn rest_of(proc: &mut Proc, rules: &mut Rules<'_>, oom_group: &OomGroup, group: Group) -> Rest {
    let mut rest = Rest { count: 0, first: None, ids: [None; REST] };
    // If the walk fails, the others are candidates still.
    let _ = proc.for_each(|proc, pid| {
        let Ok(Some(stat)) = group.member(proc, oom_group, pid) else { return };
        if rules.protection(proc, &stat).is_some() {
            return;
        }
        if let Some(place) = rest.ids.get_mut(rest.count as usize) {
            *place = Some(stat.id);
        }
        rest.count += 1;
        rest.first.get_or_insert(stat);
    });
    rest
}

/// `None` where descriptors of processes cannot be had.
fn open_pidfd(pid: Pid) -> io::Result<Option<OwnedFd>> {
    match process::pidfd_open(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(error) if error.is_gone() => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::pattern::Pattern;
    use crate::procfs::fixture::Fixture;
    use crate::procfs::process::CommandLine;
    use crate::select::{Assistant, Family, Filter, Matcher, Scale, Unkillable};
    use crate::settings::Config;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    /// A number that no process can have (`PID_MAX_LIMIT` in include/linux/threads.h).
    const VICTIM: i32 = 5_000_000;

    /// A helper that comes too late.
    struct Late;

    impl Assistant for Late {
        fn command_line(&mut self, _: Identity, _: Duration) -> Option<CommandLine> {
            None
        }

        fn is_in_place(&mut self, _: Identity, _: &[u8], _: Duration) -> Option<bool> {
            None
        }
    }

    /// How many are left of a cgroup that has lost its victim.
    fn left(fixture: &Fixture, config: &Config) -> Option<u32> {
        let proc = &mut fixture.open();
        let patterns = &config.patterns;
        let (filter, assistant) = (&mut Filter::new(patterns, b""), &mut Late);
        let matcher = Matcher { patterns, filter, assistant, patience: Duration::ZERO };
        let (family, unkillable) =
            (Family::of_worker(proc, Pid::INIT, None), Unkillable::default());
        let (memory, scale) = (Memory::default(), Scale::Shifted);
        let rules = &mut Rules::new(config, (&memory, None), scale, family, &unkillable, matcher);
        let mut oom_group = OomGroup::open(proc);
        let id = Identity { pid: Pid::new(VICTIM.into()).unwrap(), start: 0 };
        assert!(oom_group.find(b"/web", None));
        signal_members(proc, rules, &oom_group, id, None)
    }

    #[test]
    fn what_cannot_be_told_of_a_member_is_not_its_end() {
        let mut child = Command::new("sh");
        let mut child = child.args(["-c", "read forever"]).stdin(Stdio::piped()).spawn().unwrap();
        let member = child.id() as i32;
        let none: &[&str] = &[];
        // A file with its text, or a directory, which cannot be read; and what is ignored.
        let cases = [
            ("stat", None, none, 1),
            ("cgroup", None, none, 1),
            ("oom_score_adj", None, none, 1),
            ("oom_score_adj", Some("0\n"), none, 1),
            ("oom_score_adj", Some("-1000\n"), none, 0),
            ("cgroup", Some("0::/other\n"), none, 0),
            ("x", Some(""), &["^x$"], 0),
            ("x", Some(""), &["cmd:^other$"], 1),
        ];
        for (name, text, ignore, expected) in cases {
            if cfg!(not(feature = "patterns")) && !ignore.is_empty() {
                continue;
            }
            let fixture = Fixture::new();
            let point = fixture.path("cg");
            let mount = format!("30 22 0:26 / {point} rw - cgroup2 cgroup2 rw\n");
            fixture.write("self/mountinfo", mount);
            fixture.write("cg/web/memory.oom.group", "1\n");
            for pid in [VICTIM, member] {
                fixture.process(pid, b"x", 700, 100);
                fixture.write(&format!("{pid}/cgroup"), "0::/web\n");
            }
            let file = format!("{member}/{name}");
            match text {
                Some(text) => fixture.write(&file, text),
                None => {
                    fixture.remove(&file);
                    fixture.write(&format!("{file}/x"), "");
                }
            }
            let mut config = Config::default().resolve(false).unwrap();
            let patterns = ignore.iter().map(|text| Pattern::parse(text.as_bytes()).unwrap());
            config.patterns.ignore.extend(patterns);
            assert_eq!(left(&fixture, &config), Some(expected), "{name} {text:?} {ignore:?}");
        }
        child.kill().and_then(|()| child.wait()).unwrap();
    }
}
