//! A cgroup with a limit of its own, which counts as the machine's memory: the container that
//! the guard runs in, or one that was named.
//!
//! Both versions (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). What cannot
//! be read of it limits nothing: then the machine's memory counts.

pub mod oom_group;

use super::mountinfo::{self, unescaped, LongPath};
use super::stat::Stat;
use super::{terminated, Path, Proc};
use crate::bytes;
use crate::memory::{CgroupMemory, CgroupStat, Memory};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::{self, KiB, Pid};
use std::os::fd::{AsFd, OwnedFd};

/// A longer one counts as not there: of those that container managers make none has 300 bytes.
type Text = LongPath;

/// Which hierarchy has the memory controller; it can be in one alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    Two,
    One,
}

/// A cgroup, whether it is there now or not.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    /// As `/proc/PID/cgroup` has it.
    path: Text,
    /// By `--cgroup`, so that only its processes may be ended, limited or not.
    is_named: bool,
    /// `None` while it is lost: not there.
    files: Option<Files>,
}

/// How a cgroup stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Absent,
    /// The machine's memory counts.
    Unlimited,
    /// This counts.
    Limited(KiB),
}

/// Kept open.
#[derive(Debug)]
struct Files {
    directory: OwnedFd,
    limit: OwnedFd,
    usage: OwnedFd,
    stat: OwnedFd,
    /// Above it everything within is slowed down until it is below again; it "should be used in
    /// scenarios where an external process monitors the limited cgroup" (cgroup-v2.rst).
    high: Option<OwnedFd>,
    /// In version 1 it is that of memory and swap together.
    swap_limit: Option<OwnedFd>,
    /// In version 1 it stands in `stat`.
    swap_usage: Option<OwnedFd>,
}

/// No limit.
const NONE: KiB = KiB(u64::MAX);

impl Cgroup {
    /// That at the root of the mount which is seen, if it may have a limit and this is a
    /// container: if init is within, too. (If it is not, the limit is that of a service, say
    /// of the guard's own.) Or the one that is `named`, wherever it is, by its directory or as
    /// `/proc/PID/cgroup` has it.
    pub fn find(proc: &mut Proc, named: Option<&units::Path>) -> Option<Cgroup> {
        let path = named.map_or(&b""[..], units::Path::as_bytes);
        let is_named = named.is_some();
        let mount = Mount::find(proc, path, None);
        let path_as_named = Text::from_bytes(path);
        let mut cgroup =
            Cgroup { version: mount.version, path: path_as_named, is_named, files: None };
        if let Some(below) = mount.below(path) {
            cgroup.path = joined(mount.root.as_bytes(), below, b"");
            let directory = joined(mount.point.as_bytes(), below, b"\0");
            // A path that was cut is another one's.
            let files = Files::open(mount.version, directory.as_bytes());
            cgroup.files = files.ok().filter(|_| !cgroup.path.is_cut());
        }
        let counts = is_named || (cgroup.may_be_limited() && cgroup.holds_init(proc));
        counts.then_some(cgroup)
    }

    /// Looks for it again once it is lost. True if it is there now.
    pub fn find_again(&mut self, proc: &mut Proc, named: Option<&units::Path>) -> bool {
        if let Some(found) = Cgroup::find(proc, named).filter(|found| !found.is_lost()) {
            *self = found;
        }
        !self.is_lost()
    }

    /// It was removed.
    pub fn lose(&mut self) {
        self.files = None;
    }

    /// It was not there, or is no more.
    pub fn is_lost(&self) -> bool {
        self.files.is_none()
    }

    /// As `/proc/PID/cgroup` has it, or as it was named while it is not there.
    pub fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// What tells it from another one, and from itself while it is lost.
    pub fn mark(&self) -> impl PartialEq + '_ {
        (self.version, self.path(), self.is_named, self.is_lost())
    }

    pub fn standing(&self, memory: &Memory) -> Standing {
        if memory.is_limited() {
            Standing::Limited(memory.total)
        } else if self.is_lost() {
            Standing::Absent
        } else {
            Standing::Unlimited
        }
    }

    /// Whether only processes within may be ended while memory is as it was read: `memory`.
    pub fn confines(&self, memory: &Memory) -> bool {
        self.is_named || memory.is_limited()
    }

    /// Whether a process is within. One of which that cannot be read is not, and neither is
    /// any while the cgroup is not there.
    pub fn holds(&self, proc: &mut Proc, stat: &Stat) -> bool {
        // In version 1 what is on its way out is shown at the root (`proc_cgroup_show` in
        // kernel/cgroup/cgroup.c): wherever it was, its end is worth waiting for.
        let leaves = self.version == Version::One && stat.is_leaving() && !stat.is_ended();
        let (file, mut is_within) = (proc.living_path(stat, "cgroup"), leaves);
        let read = proc.for_each_part(file, b'\n', &mut |line| {
            let line = Membership::of(line);
            let is_ours = match self.version {
                Version::One => line.of_memory,
                Version::Two => line.unified,
            };
            is_within |= is_ours && is_at_or_below(self.path(), line.path);
        });
        is_within && read.is_ok() && !self.is_lost()
    }

    /// Opens what tells how long tasks within wait (`pressure`); version 2 alone has that
    /// (Linux 4.20).
    pub fn open_pressure(&self, name: &str, access: Access) -> io::Result<OwnedFd> {
        let files = self.files.as_ref().ok_or(io::Error::GONE)?;
        open_in(&files.directory, name, access)
    }

    /// What counts in place of the memory of the `machine`; `None` if it limits nothing. Fails while
    /// it is lost, and if one of its files cannot be read any more: it was removed (ENODEV), as that
    /// of a service is when the service stops.
    pub fn read(&self, proc: &mut Proc, machine: &Memory) -> io::Result<Option<CgroupMemory>> {
        let files = self.files.as_ref().ok_or(io::Error::GONE)?;
        let high = amount(proc, files.high.as_ref())?.unwrap_or(NONE);
        let limit = amount(proc, Some(&files.limit))?.unwrap_or(NONE).min(high);
        // One of 0 is no size: it is how reclaim is forced.
        if limit >= machine.total || limit == KiB::ZERO {
            return Ok(None);
        }
        let Some(usage) = amount(proc, Some(&files.usage))? else { return Ok(None) };
        let (mut swap_limit, mut swap_used) = (NONE, None);
        // Without swap nothing more needs to be read.
        if machine.swap_total > KiB::ZERO {
            swap_used = amount(proc, files.swap_usage.as_ref())?;
            swap_limit = amount(proc, files.swap_limit.as_ref())?.unwrap_or(NONE);
            if self.version == Version::One {
                swap_limit = swap_limit.less(limit);
            }
        }
        let stat = parse_stat(self.version, proc.reread(&files.stat)?);
        Ok(stat.map(|stat| {
            let swap_used = swap_used.unwrap_or(stat.swap);
            CgroupMemory { limit, usage, swap_limit, swap_used, stat }
        }))
    }

    /// The root of all has no limit, and cannot be given one: in version 2 it has no such file,
    /// and in version 1 it alone has this one (`cgroup1_base_files` in kernel/cgroup).
    fn may_be_limited(&self) -> bool {
        let Some(files) = &self.files else { return false };
        open_in(&files.directory, "release_agent", Access::Read).is_err()
    }

    fn holds_init(&self, proc: &mut Proc) -> bool {
        proc.stat(Pid::INIT).is_ok_and(|init| self.holds(proc, &init))
    }
}

impl Files {
    fn open(version: Version, directory: &[u8]) -> io::Result<Files> {
        let directory = fd::open(directory, Access::Directory)?;
        let open = |name| open_in(&directory, name, Access::Read);
        let (limit, usage, swap_limit) = match version {
            Version::Two => ("memory.max", "memory.current", "memory.swap.max"),
            Version::One => {
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.memsw.limit_in_bytes")
            }
        };
        Ok(Files {
            limit: open(limit)?,
            usage: open(usage)?,
            stat: open("memory.stat")?,
            // Version 1 has none of these two.
            high: io::if_offered(open("memory.high"))?,
            swap_usage: io::if_offered(open("memory.swap.current"))?,
            swap_limit: io::if_offered(open(swap_limit))?,
            directory,
        })
    }
}

fn open_in(directory: &OwnedFd, name: &str, access: Access) -> io::Result<OwnedFd> {
    fd::open_at(directory.as_fd(), terminated(&mut Path::from_bytes(name.as_bytes())), access)
}

/// What a file holds; `None` if there is none, or if this kernel does not fill it (EOPNOTSUPP).
fn amount(proc: &mut Proc, file: Option<&OwnedFd>) -> io::Result<Option<KiB>> {
    let Some(file) = file else { return Ok(None) };
    Ok(io::if_offered(proc.reread(file))?.and_then(parse_amount))
}

/// The number of bytes that a file holds; `max` is more than any. `None` if it is no number.
pub fn parse_amount(text: &[u8]) -> Option<KiB> {
    match bytes::first_word(text) {
        b"max" => Some(NONE),
        number => bytes::parse_u64(number).map(|bytes| KiB(bytes / 1024)),
    }
}

type Sum = fn(&mut CgroupStat) -> &mut KiB;

/// Keys of `memory.stat`, and what each counts into.
const STAT: [(&[u8], Sum); 13] = [
    (b"anon", |stat| &mut stat.anon),
    (b"rss", |stat| &mut stat.anon),
    (b"inactive_file", |stat| &mut stat.file),
    (b"active_file", |stat| &mut stat.file),
    (b"slab_reclaimable", |stat| &mut stat.slab),
    (b"swap", |stat| &mut stat.swap),
    (b"shmem", |stat| &mut stat.shmem),
    (b"file_mapped", |stat| &mut stat.mapped),
    (b"mapped_file", |stat| &mut stat.mapped),
    (b"zswap", |stat| &mut stat.zswap),
    (b"kernel_stack", |stat| &mut stat.overhead),
    (b"pagetables", |stat| &mut stat.overhead),
    (b"slab_unreclaimable", |stat| &mut stat.overhead),
];

/// Parses `memory.stat`: in version 2 with everything below the cgroup, in version 1 that is
/// what begins with `total_`. `None` if it tells nothing that makes sense.
pub fn parse_stat(version: Version, text: &[u8]) -> Option<CgroupStat> {
    let (mut stat, mut is_known) = (CgroupStat::default(), false);
    let prefix: &[u8] = if version == Version::One { b"total_" } else { b"" };
    for line in bytes::whole_lines(text) {
        let (key, number) = bytes::cut_at(line, b' ');
        let Some(key) = key.strip_prefix(prefix) else { continue };
        let Some((_, sum)) = STAT.iter().find(|(known, _)| *known == key) else { continue };
        let sum = sum(&mut stat);
        *sum = sum.plus(KiB(bytes::parse_u64(number)? / 1024));
        is_known |= matches!(key, b"anon" | b"rss");
    }
    is_known.then_some(stat)
}

/// Where a hierarchy is mounted, and what of it.
struct Mount {
    version: Version,
    root: Text,
    point: Text,
}

impl Mount {
    /// The one that `path` lies in. Failing that the one with the memory controller, if it is
    /// there, and of several the one that is nearest to the root of all files and came last:
    /// what lies deeper are other people's. Only of a version that is `wanted`.
    fn find(proc: &mut Proc, path: &[u8], wanted: Option<Version>) -> Mount {
        let (mut best, mut rank) =
            (Mount { version: Version::Two, root: Text::new(), point: Text::new() }, None);
        let visit = &mut |line: &[u8]| {
            let Some((version, root, point)) = cgroup_mount(line) else { return };
            if wanted.is_some_and(|wanted| wanted != version) {
                return;
            }
            let point = unescaped(point);
            let above = starts_with_path(path, point.as_bytes());
            let own_rank = Some((above, version, usize::MAX - point.as_bytes().len()));
            if own_rank >= rank && !point.is_cut() {
                rank = own_rank;
                best = Mount { version, root: unescaped(root), point };
            }
        };
        // What cannot be read shows no mount.
        let _ = proc.for_each_part(Path::from_bytes(b"self/mountinfo"), b'\n', visit);
        best
    }

    /// What is to be put behind root and mount point for the cgroup at `path`, which is below
    /// either, or `/` or nothing for the root itself. `None` if it cannot be there.
    fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let (root, point) = (self.root.as_bytes(), self.point.as_bytes());
        let below = match path {
            _ if point.is_empty() => return None,
            b"" | b"/" => b"",
            _ if starts_with_path(path, point) => &path[point.len()..],
            _ => behind(root, path)?,
        };
        is_plain(below).then_some(below)
    }
}

/// What comes behind `root` in a path that begins with it.
fn behind<'a>(root: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    match root {
        b"/" => Some(path),
        _ => starts_with_path(path, root).then(|| &path[root.len()..]),
    }
}

/// Others than the kernel's own words would never be found in `/proc/PID/cgroup`.
fn is_plain(below: &[u8]) -> bool {
    let mut parts = below.split(|&byte| byte == b'/').skip(1);
    parts.all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Version, root and mount point in a line of `mountinfo`, if it is of a hierarchy that may have
/// the memory controller.
fn cgroup_mount(line: &[u8]) -> Option<(Version, &[u8], &[u8])> {
    let mount = mountinfo::parse(line)?;
    let version = match mount.kind {
        b"cgroup2" => Version::Two,
        b"cgroup" if lists_memory(mount.options) => Version::One,
        _ => return None,
    };
    Some((version, mount.root, mount.point))
}

/// `below` begins with a slash, or is empty.
fn joined(start: &[u8], below: &[u8], end: &[u8]) -> Text {
    let mut path = Text::new();
    if start != b"/" || below.is_empty() {
        path.push(start);
    }
    path.push(below);
    path.push(end);
    path
}

/// A line of `/proc/PID/cgroup` (cgroups(7)).
pub struct Membership<'a> {
    /// In the unified hierarchy, that of version 2.
    pub unified: bool,
    /// In that of the memory controller of version 1.
    pub of_memory: bool,
    /// Those of its hierarchy, or `name=NAME`; none in version 2.
    pub controllers: &'a [u8],
    pub path: &'a [u8],
}

impl Membership<'_> {
    pub fn of(line: &[u8]) -> Membership<'_> {
        let (id, rest) = bytes::cut_at(line, b':');
        let (controllers, path) = bytes::cut_at(rest, b':');
        let (unified, of_memory) = (id == b"0", lists_memory(controllers));
        Membership { unified, of_memory, controllers, path }
    }
}

/// Whether the memory controller is one of those between commas.
fn lists_memory(names: &[u8]) -> bool {
    names.split(|&byte| byte == b',').any(|name| name == b"memory")
}

/// Whether `path` is `start` or lies below it.
fn starts_with_path(path: &[u8], start: &[u8]) -> bool {
    path.strip_prefix(start).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// The same of cgroups. Their paths begin at the root of the reader's namespace, and what does
/// not lie below that one begins with one `/..` or more (cgroup_namespaces(7)).
pub fn is_at_or_below(root: &[u8], path: &[u8]) -> bool {
    let (up, down) = climb(root);
    match down {
        b"" | b"/" => climb(path).0 <= up,
        _ => starts_with_path(path, root),
    }
}

/// How often `path` goes up, and what comes then.
fn climb(mut path: &[u8]) -> (usize, &[u8]) {
    let mut up = 0;
    while let Some(rest @ ([] | [b'/', ..])) = path.strip_prefix(b"/..") {
        path = rest;
        up += 1;
    }
    (up, path)
}

#[cfg(test)]
mod tests;
