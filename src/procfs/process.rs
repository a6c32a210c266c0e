//! The files of one process.

use super::cgroup::Membership;
use super::stat::{self, Stat};
use super::status::Status;
use super::{process_path, terminated, Path, Proc};
use crate::bytes::{self, AnyBuf, Buf};
use crate::sys::fd::{self, Access, Found};
use crate::sys::io;
use crate::units::{Identity, Pid};
use std::os::fd::AsFd;

/// As much of a command line as patterns see: the arguments that tell processes of one
/// program apart come in the first few hundred bytes. The rest is cut.
pub const COMMAND_LINE: usize = 2048;
pub type CommandLine = Buf<COMMAND_LINE>;

/// Before the path of a program that is not what init sees there.
pub const CONTAINER: &[u8] = b"container:";
/// The kernel's mark of a file that was removed.
const REMOVED: &[u8] = b" (deleted)";

impl Proc {
    /// `oom_score`: the kernel's badness, 0 for what it would never kill. ESRCH or
    /// ENOENT once the process is gone. An empty file counts as gone.
    pub fn oom_score(&mut self, pid: Pid) -> io::Result<i32> {
        self.number(process_path(pid, "oom_score"))
    }

    /// `oom_score_adj`, -1000 to 1000.
    pub fn oom_score_adj(&mut self, pid: Pid) -> io::Result<i32> {
        self.number(process_path(pid, "oom_score_adj"))
    }

    /// RSS in pages, the second number of `statm`; 0 for a kernel thread and for a leader
    /// that has ended. A third cheaper than `stat`.
    pub fn resident_pages(&mut self, pid: Pid) -> io::Result<u64> {
        self.second_number(process_path(pid, "statm"))
    }

    /// The same of the process that `stat` shows, also if its leader has ended. Other than
    /// the RSS in `stat`, it adds up what each processor has counted by itself, which may be
    /// some MiB (`task_statm` in fs/proc/task_mmu.c).
    pub fn exact_resident_pages(&mut self, stat: &Stat) -> io::Result<u64> {
        let path = self.living_path(stat, "statm");
        self.second_number(path)
    }

    pub fn stat(&mut self, pid: Pid) -> io::Result<Stat> {
        let stat = self.stat_at(process_path(pid, "stat"))?;
        (stat.id.pid == pid).then_some(stat).ok_or(io::Error::GONE)
    }

    /// The number that this process has here; another one than the kernel says means that
    /// this `/proc` belongs to another PID namespace.
    pub fn own_pid(&mut self) -> io::Result<Pid> {
        Ok(self.stat_at(Path::from_bytes(b"self/stat"))?.id.pid)
    }

    /// `stat` with the RSS of a living thread if the leader has ended before the
    /// others: such a leader shows none, although the process still holds it.
    pub fn stat_with_threads(&mut self, pid: Pid) -> io::Result<Stat> {
        let mut stat = self.stat(pid)?;
        if stat.is_ended() && !stat.is_gone() {
            let path = self.living_path(&stat, "stat");
            stat.rss_pages = self.stat_at(path)?.rss_pages;
        }
        Ok(stat)
    }

    /// The user namespace of a process, as a text that names it alone (namespaces(7)).
    pub fn user_namespace(&self, pid: Pid) -> io::Result<Buf<32>> {
        self.namespace(process_path(pid, "ns/user"))
    }

    /// Whether `id` still runs: same start, and some thread of it alive. An error says
    /// neither yes nor no.
    pub fn is_running(&mut self, id: Identity) -> io::Result<bool> {
        match self.stat(id.pid) {
            Ok(stat) => Ok(stat.id == id && !stat.is_gone()),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it is held in a frozen cgroup of version 1, where even SIGKILL waits for the thaw.
    /// False where the kernel does not tell what a process waits in.
    pub fn is_frozen(&mut self, pid: Pid) -> bool {
        self.read(process_path(pid, "wchan")).is_ok_and(|place| place.ends_with(b"refrigerator"))
    }

    /// The file `name` of the process, or of a living thread of it if the leader, which
    /// shows little any more, has ended before the others. Threads that cannot be listed
    /// are those of a process that is gone: then reading its own file fails.
    pub(super) fn living_path(&self, stat: &Stat, name: &str) -> Path {
        let pid = stat.id.pid;
        let thread = if stat.is_ended() { self.other_thread(pid) } else { None };
        let Some(thread) = thread else { return process_path(pid, name) };
        let mut path = process_path(pid, "task/");
        path.push(process_path(thread, name).as_bytes());
        path
    }

    /// The path of the executable, into `path`. Of one that was replaced meanwhile, where it
    /// was. EACCES without the right to trace the process (ptrace(2)).
    pub fn executable(&mut self, stat: &Stat, path: &mut AnyBuf) -> io::Result<()> {
        let target = self.exe(stat)?;
        path.push(target.strip_suffix(REMOVED).unwrap_or(target));
        Ok(())
    }

    /// The same behind `CONTAINER`.
    pub fn marked_executable(&mut self, stat: &Stat, path: &mut CommandLine) -> io::Result<()> {
        path.clear();
        path.push(CONTAINER);
        self.executable(stat, path)
    }

    /// Whether the executable is the file that init sees at its path, and its users are ours: in
    /// namespaces of its own a process can lay any file at any path. Looks up files, which can hang.
    pub fn is_in_place(&mut self, stat: &Stat) -> io::Result<bool> {
        let was_removed = self.exe(stat)?.ends_with(REMOVED);
        let mut path = CommandLine::new();
        self.executable(stat, &mut path)?;
        let path = path.as_bytes();
        // Before any file is looked up that such a process may have chosen.
        if !self.shares_namespace(stat, "ns/user", "self/ns/user") {
            return Ok(false);
        }
        let mut link = self.living_path(stat, "exe");
        // A file that a user keeps from root (FUSE) is not init's.
        let Ok(found) = fd::look_up_at(self.root.as_fd(), terminated(&mut link)) else {
            return Ok(false);
        };
        if self.seen_by_init(path).is_ok_and(|seen| seen.file == found.file) {
            return Ok(true);
        }
        // Replaced, say by an upgrade: by an owner of that directory.
        let name = path.iter().rev().take_while(|&&byte| byte != b'/').count();
        let directory = self.seen_by_init(&path[..path.len() - name]);
        let is_inits = directory.is_ok_and(|seen| seen.owner.user == found.owner.user)
            && self.shares_namespace(stat, "ns/mnt", "1/ns/mnt");
        Ok(was_removed && is_inits)
    }

    /// What init sees at a path, or, if the guard may not look from there, the guard itself.
    fn seen_by_init(&self, path: &[u8]) -> io::Result<Found> {
        const ROOT: &[u8] = b"1/root";
        let mut text = Buf::<{ COMMAND_LINE + 8 }>::from_bytes(ROOT);
        text.push(path);
        text.push(b"\0");
        match fd::look_up_at(self.root.as_fd(), text.as_bytes()) {
            Err(error) if error.is_not_permitted() => fd::look_up(&text.as_bytes()[ROOT.len()..]),
            seen => seen,
        }
    }

    /// Whether a process is in the namespace that the link `other` names, or, if the guard may not
    /// read that, in the guard's own. A kernel without such namespaces has one of each for all.
    fn shares_namespace(&mut self, stat: &Stat, kind: &str, other: &str) -> bool {
        let own = || {
            let mut path = Path::from_bytes(b"self/");
            path.push(kind.as_bytes());
            self.namespace(path)
        };
        let wanted = self.namespace(Path::from_bytes(other.as_bytes())).or_else(|_| own());
        let has = self.namespace(self.living_path(stat, kind));
        wanted.map_or(true, |wanted| has == Ok(wanted))
    }

    /// Such as `user:[4026531837]`.
    fn namespace(&self, mut path: Path) -> io::Result<Buf<32>> {
        let mut text = [0; 32];
        let len = fd::read_link_at(self.root.as_fd(), terminated(&mut path), &mut text)?;
        Ok(Buf::from_bytes(&text[..len]))
    }

    /// A number that stands for that path: processes that run the same program have the same.
    /// Unlike asking for the file's inode this never waits for a disk.
    pub fn program_mark(&mut self, stat: &Stat) -> io::Result<u64> {
        self.exe(stat).map(bytes::mark)
    }

    fn exe(&mut self, stat: &Stat) -> io::Result<&[u8]> {
        let mut link = self.living_path(stat, "exe");
        let len = fd::read_link_at(self.root.as_fd(), terminated(&mut link), &mut self.file)?;
        Ok(&self.file[..len])
    }

    /// The different paths of its cgroups in all hierarchies (cgroups(7)), into `paths` with a
    /// newline between them, which no path holds. A root counts only if there is nothing else: a
    /// controller that is not in use leaves everything there.
    pub fn cgroups(&mut self, pid: Pid, paths: &mut AnyBuf) -> io::Result<()> {
        self.for_each_cgroup(pid, &mut |Membership { path, .. }| {
            let is_known = |known: &[u8]| known.split(|&byte| byte == b'\n').any(|one| one == path);
            match paths.as_bytes() {
                b"" | b"/" => {
                    paths.clear();
                    paths.push(path);
                }
                known if path == b"/" || is_known(known) => {}
                _ => {
                    paths.push(b"\n");
                    paths.push(path);
                }
            }
        })
    }

    /// Its cgroup in each hierarchy.
    pub fn for_each_cgroup(
        &mut self,
        pid: Pid,
        visit: &mut dyn FnMut(Membership<'_>),
    ) -> io::Result<()> {
        let file = process_path(pid, "cgroup");
        self.for_each_part(file, b'\n', &mut |line| visit(Membership::of(line)))
    }

    /// Where it works, into `path`. Unlike a command line this is told by the kernel alone.
    pub fn working_directory(&mut self, pid: Pid, path: &mut AnyBuf) -> io::Result<()> {
        let mut link = process_path(pid, "cwd");
        let len = fd::read_link_at(self.root.as_fd(), terminated(&mut link), &mut self.file)?;
        path.push(&self.file[..len]);
        Ok(())
    }

    /// Whether it is root's alone, in all its ids, and has the users and mounts that init has. A
    /// program with rights of its own keeps the real user id of its caller.
    pub fn is_roots_beside_init(&mut self, stat: &Stat) -> bool {
        let pid = stat.id.pid;
        self.owner(pid) == Ok(0)
            && self.has_one_user(pid) == Ok(true)
            && self.shares_namespace(stat, "ns/user", "1/ns/user")
            && self.shares_namespace(stat, "ns/mnt", "1/ns/mnt")
    }

    /// Whether real, effective, saved and file system ids of a process are the same, of user and
    /// of group. If they are not, another user may have chosen its environment.
    pub fn has_one_user(&mut self, pid: Pid) -> io::Result<bool> {
        let mut lines_alike = 0;
        self.for_each_part(process_path(pid, "status"), b'\n', &mut |line| {
            let ids = line.strip_prefix(b"Uid:").or_else(|| line.strip_prefix(b"Gid:"));
            let mut ids = bytes::fields(ids.unwrap_or_default());
            let first = ids.next();
            lines_alike += u32::from(first.is_some() && ids.all(|id| Some(id) == first));
        })?;
        Ok(lines_alike == 2)
    }

    /// `status` of the process, or of a living thread of it (see `stat_with_threads`).
    pub fn status(&mut self, stat: &Stat) -> io::Result<Status> {
        let path = self.living_path(stat, "status");
        let mut status = Status::default();
        self.for_each_part(path, b'\n', &mut |line| status.take(line))?;
        Ok(status)
    }

    /// Arguments joined by blanks, read into `line`; empty for a kernel thread or once the
    /// process has ended. This read can hang on a swapped-out page, or on the memory map
    /// of a process that is forking.
    pub fn command_line(&mut self, stat: &Stat, line: &mut CommandLine) -> io::Result<()> {
        line.clear();
        let path = self.living_path(stat, "cmdline");
        let mut text = self.read(path)?;
        while let [rest @ .., 0] = text {
            text = rest;
        }
        line.push(text);
        line.replace(0, b' ');
        Ok(())
    }

    /// A variable of the environment that the process was started with; of several with
    /// that name the first, and not one that is longer than a few KiB. This read can hang
    /// as that of a command line can. EACCES for the process of another user.
    #[cfg(feature = "dbus-notify")]
    pub fn variable(&mut self, pid: Pid, name: &[u8], value: &mut AnyBuf) -> io::Result<bool> {
        let mut found = false;
        self.for_each_part(process_path(pid, "environ"), 0, &mut |entry| {
            if let (Some([b'=', rest @ ..]), false) = (entry.strip_prefix(name), found) {
                value.push(rest);
                found = true;
            }
        })?;
        Ok(found)
    }

    fn number(&mut self, path: Path) -> io::Result<i32> {
        bytes::parse_i32(bytes::first_word(self.read(path)?)).ok_or(io::Error::GONE)
    }

    fn second_number(&mut self, path: Path) -> io::Result<u64> {
        bytes::fields(self.read(path)?).nth(1).and_then(bytes::parse_u64).ok_or(io::Error::GONE)
    }

    fn stat_at(&mut self, path: Path) -> io::Result<Stat> {
        stat::parse(self.read(path)?).ok_or(io::Error::GONE)
    }

    /// Each line of a file of any length, or each part that ends with another byte. One longer than
    /// the buffer is passed over: `Groups:` can be, and says nothing that is asked here.
    pub(super) fn for_each_part(
        &mut self,
        path: Path,
        last: u8,
        visit: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let file = self.open_at(path, Access::Read)?;
        fd::for_each_part(file.as_fd(), &mut self.file, last, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_process_is_frozen_only_if_the_kernel_says_so() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let pid = Pid::new(7).unwrap();
        assert!(!proc.is_frozen(pid));
        for (wchan, frozen) in [("__refrigerator", true), ("0", false), ("", false)] {
            fixture.write("7/wchan", wchan);
            assert_eq!(proc.is_frozen(pid), frozen, "{wchan}");
        }
    }

    #[test]
    #[cfg(feature = "dbus-notify")]
    fn a_variable_is_found_behind_entries_of_any_length() {
        let fixture = Fixture::new();
        let long = "x".repeat(10_000);
        let environ = format!("A=1\0LONG={long}\0XB=no\0B=yes\0BB=no\0B=later\0LAST=cut");
        fixture.write("7/environ", environ);
        let mut proc = fixture.open();
        let mut value_of = |name: &str| {
            let mut value = Buf::<16>::new();
            let found = proc.variable(Pid::new(7).unwrap(), name.as_bytes(), &mut value);
            found.unwrap().then(|| String::from_utf8(value.as_bytes().to_vec()).unwrap())
        };
        assert_eq!(value_of("A").as_deref(), Some("1"));
        assert_eq!(value_of("B").as_deref(), Some("yes"));
        assert_eq!(value_of("LONG"), None);
        assert_eq!(value_of("LAST"), None);
        assert!(proc.variable(Pid::INIT, b"A", &mut Buf::<16>::new()).is_err());
    }
}
