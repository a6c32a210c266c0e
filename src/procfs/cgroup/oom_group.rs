//! A cgroup of version 2 that is ended as a whole: `memory.oom.group` (Linux 4.19, cgroup-v2.rst).
//!
//! `/proc/PID/cgroup` tells the members. `cgroup.procs` would take a walk through a tree that users
//! make as deep and as wide as they like, and cannot be read of threaded cgroups.
//!
//! A file of cgroupfs waits for no other (`memory_oom_group_show` in mm/memcontrol.c reads one field;
//! kernfs holds a lock for each open file). Before Linux 6.8 `/proc/PID/cgroup` waits as long as a
//! cgroup is being made or removed (`cgroup_mutex` in `proc_cgroup_show`, kernel/cgroup/cgroup.c). So
//! the helper reads that of a victim (`path_of`), and the watch those of others (`holds`) once the
//! victim has its signal; but before SIGTERM with `-g`, which must reach no process twice.

use super::{behind, is_at_or_below, is_plain, open_in, starts_with_path, Mount, Text, Version};
use crate::procfs::Proc;
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::{Identity, Moment, Pid};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// As `/proc/PID/cgroup` has it.
pub type Path = Text;

/// Containers and small init systems may mount it late, or never.
const SEARCH_EVERY: Duration = Duration::from_secs(60);
const FLAG: &str = "memory.oom.group";

/// What is seen of the hierarchy of version 2, and the cgroup of it that was found last.
pub struct OomGroup {
    root: Text,
    /// `None` where it is not mounted.
    mount: Option<OwnedFd>,
    next_search: Moment,
    path: Path,
    /// Its directory, which names it and no later one at the same path.
    directory: Option<OwnedFd>,
}

impl OomGroup {
    pub fn open(proc: &mut Proc) -> OomGroup {
        let Mount { root, mut point, .. } = Mount::find(proc, b"", Some(Version::Two));
        point.push(b"\0");
        let mount = fd::open(point.as_bytes(), Access::Directory).ok();
        let next_search = Moment::default();
        OomGroup { root, mount, next_search, path: Text::new(), directory: None }
    }

    /// Looks again, once a minute, if it was not mounted yet. True if it is by now.
    pub fn open_late(&mut self, proc: &mut Proc, now: Moment) -> bool {
        if self.mount.is_some() || now < self.next_search {
            return false;
        }
        *self = OomGroup::open(proc);
        self.next_search = now.after(SEARCH_EVERY);
        self.is_mounted()
    }

    /// One may be found.
    pub fn is_mounted(&self) -> bool {
        self.mount.is_some()
    }

    /// Finds that of a process at `path`: the highest one below the root that is seen, as the kernel does
    /// (`mem_cgroup_get_oom_group` in mm/memcontrol.c), and at or below `domain`, if memory of that
    /// alone counts. False if there is none.
    pub fn find(&mut self, path: &[u8], domain: Option<&[u8]>) -> bool {
        self.directory = None;
        let Some(mount) = &self.mount else { return false };
        let Some(below) = behind(self.root.as_bytes(), path) else { return false };
        let slashes = below.iter().enumerate().skip(1).filter(|(_, &byte)| byte == b'/');
        let ends = slashes.map(|(place, _)| place).chain([below.len()]);
        let above = path.len() - below.len();
        // A slash alone is the root.
        for end in ends.filter(|&end| end > 1) {
            let whole = &path[..above + end];
            let is_within = domain.map_or(true, |domain| is_at_or_below(domain, whole));
            if is_within && is_plain(&below[..end]) {
                self.directory = open_asking(mount, &below[1..end]);
            }
            if self.directory.is_some() {
                self.path = Text::from_bytes(whole);
                return true;
            }
        }
        false
    }

    pub fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    /// Whether a process is within, zombie or not. Fails if it is there and that cannot be told.
    pub fn holds(&self, proc: &mut Proc, pid: Pid) -> io::Result<bool> {
        let Some(directory) = &self.directory else { return Ok(false) };
        let mut is_within = false;
        let told = for_unified(proc, pid, &mut |path| {
            is_within = starts_with_path(path, self.path());
        });
        // Behind its path, for another one may have that by now.
        let is_there = || open_in(directory, FLAG, Access::Read).map(|_| true);
        match told.and_then(|()| if is_within { is_there() } else { Ok(false) }) {
            Err(error) if error.is_gone() => Ok(false),
            told => told,
        }
    }

    /// SIGKILL to each process within, of which none escapes by a fork (`cgroup.kill`, Linux 5.14).
    pub fn kill_all(&self) -> io::Result<()> {
        let directory = self.directory.as_ref().ok_or(io::Error::GONE)?;
        let file = open_in(directory, "cgroup.kill", Access::Write)?;
        fd::write(file.as_fd(), b"1").map(drop)
    }
}

/// The path of a process. May have to wait.
pub fn path_of(proc: &mut Proc, id: Identity) -> io::Result<Path> {
    let mut path = Path::new();
    for_unified(proc, id.pid, &mut |text| path.push(text))?;
    if path.is_cut() {
        // What was cut away is deeper than any that a manager makes, and the highest one counts.
        let whole = path.as_bytes().iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        path = Path::from_bytes(&path.as_bytes()[..whole]);
    }
    // The number may have gone to another one meanwhile.
    (proc.stat(id.pid)?.id == id).then_some(path).ok_or(io::Error::GONE)
}

/// Calls `visit` with the path of a process in the hierarchy of version 2. A newline, which would
/// end it, is in none (`cgroup_mkdir` in kernel/cgroup/cgroup.c); all else is as it was given.
fn for_unified(proc: &mut Proc, pid: Pid, visit: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    proc.for_each_cgroup(pid, &mut |line| {
        if line.unified {
            visit(line.path);
        }
    })
}

/// The cgroup at `path`, if it is to be ended as a whole.
fn open_asking(mount: &OwnedFd, path: &[u8]) -> Option<OwnedFd> {
    let mut path = Text::from_bytes(path);
    path.push(b"\0");
    let directory = fd::open_at(mount.as_fd(), path.as_bytes(), Access::Directory).ok()?;
    let flag = open_in(&directory, FLAG, Access::Read).ok()?;
    let mut text = [0; 4];
    let len = fd::read(flag.as_fd(), &mut text).ok()?;
    text[..len].starts_with(b"1").then_some(directory)
}
