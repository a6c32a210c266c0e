//! Files that processes have open for writing on a tmpfs.
//!
//! For the helper: a list of mounts may wait for what is mounted. A file is looked at only if it
//! lies on a tmpfs, which its descriptor tells without it: others may hang.

use super::{mountinfo, process_path, terminated, Path, Proc};
use crate::bytes;
use crate::sys::fd;
use crate::sys::io;
use crate::units::{KiB, Pid};
use std::os::fd::AsFd;

/// Mounts that are told apart in one walk. Files on others are passed over.
const MOUNTS: usize = 64;

/// A file on a tmpfs that a process may write to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFile {
    /// Device and inode.
    pub file: (u64, u64),
    pub held: KiB,
}

/// Which mounts are of a tmpfs, as far as was asked. Known for one walk only: numbers are used
/// again.
struct Mounts {
    known: [(u64, bool); MOUNTS],
    count: usize,
}

impl Mounts {
    /// A process may have a mount namespace of its own, so its own list tells; no two mounts of all
    /// have the same number (`mnt_alloc_id` in fs/namespace.c). What is in no list is no candidate:
    /// memfd and System V lie on a mount of the kernel's own, others on one that was taken away.
    fn has_tmpfs(&mut self, proc: &mut Proc, pid: Pid, id: u64) -> bool {
        let known = self.known[..self.count].iter().find(|&&(known, _)| known == id);
        if let Some(&(_, is_tmpfs)) = known {
            return is_tmpfs;
        }
        if self.count == MOUNTS {
            return false;
        }
        let mut is_tmpfs = false;
        let read = proc.for_each_part(process_path(pid, "mountinfo"), b'\n', &mut |line| {
            let mount = mountinfo::parse(line);
            let is_it = |mount: &mountinfo::Mount<'_>| bytes::parse_u64(mount.id) == Some(id);
            is_tmpfs |= mount.filter(is_it).is_some_and(|mount| mount.is_tmpfs());
        });
        if read.is_ok() {
            self.known[self.count] = (id, is_tmpfs);
            self.count += 1;
        }
        is_tmpfs
    }
}

impl Proc {
    /// Calls `visit` with each file on a tmpfs that any process has open for writing, as long as that
    /// `goes_on`. Passed over are processes that the guard may not trace.
    pub fn for_each_file_on_tmpfs(
        &mut self,
        goes_on: &mut dyn FnMut() -> bool,
        visit: &mut dyn FnMut(&mut Proc, Pid, OpenFile),
    ) -> io::Result<()> {
        let mut mounts = Mounts { known: [(0, false); MOUNTS], count: 0 };
        self.for_each(|proc, pid| {
            if !goes_on() {
                return;
            }
            let _ = proc.for_each_descriptor(pid, &mut |proc, number| {
                if let Some(file) = proc.file_on_tmpfs(pid, number, &mut mounts) {
                    visit(proc, pid, file);
                }
            });
        })
    }

    /// Bytes that a process has written by system calls, to pipes as well (`wchar`, proc(5)). Waits
    /// while the process becomes another program (`do_io_accounting` in fs/proc/base.c).
    pub fn written(&mut self, pid: Pid) -> io::Result<u64> {
        let mut lines = bytes::whole_lines(self.read(process_path(pid, "io"))?);
        let written = lines.find_map(|line| bytes::parse_u64(line.strip_prefix(b"wchar: ")?));
        written.ok_or(io::Error::GONE)
    }

    fn file_on_tmpfs(&mut self, pid: Pid, number: u32, mounts: &mut Mounts) -> Option<OpenFile> {
        // The cheapest first: most descriptors are sockets and pipes.
        let (mut link, mut target) = (descriptor_path(pid, "fd/", number), [0; 16]);
        let root = self.root.as_fd();
        let len = fd::read_link_at(root, terminated(&mut link), &mut target).ok()?;
        if !may_be_file(&target[..len]) {
            return None;
        }
        let info = Info::parse(self.read(descriptor_path(pid, "fdinfo/", number)).ok()?)?;
        if !info.may_write || !mounts.has_tmpfs(self, pid, info.mount) {
            return None;
        }
        let found = fd::look_up_at(self.root.as_fd(), link.as_bytes()).ok()?;
        let file = OpenFile { file: found.file, held: KiB(found.held) };
        found.is_regular().then_some(file)
    }
}

/// `PID/fd/N`.
fn descriptor_path(pid: Pid, folder: &str, number: u32) -> Path {
    let mut path = process_path(pid, folder);
    path.push_number(number);
    path
}

/// By the path that a link in `fd` shows, of which the beginning will do. Of some devices even
/// `fdinfo` takes locks.
fn may_be_file(target: &[u8]) -> bool {
    let is_device = target.starts_with(b"/dev/") && !target.starts_with(b"/dev/shm/");
    target.starts_with(b"/") && !is_device
}

/// What is used of `/proc/PID/fdinfo/N` (proc(5)), which is told of the descriptor, not of the
/// file.
#[derive(PartialEq, Eq, Debug)]
struct Info {
    may_write: bool,
    mount: u64,
}

impl Info {
    fn parse(text: &[u8]) -> Option<Info> {
        let after = |key: &[u8]| {
            let line = bytes::whole_lines(text).find_map(|line| line.strip_prefix(key))?;
            Some(bytes::trim(line))
        };
        // Octal; `O_ACCMODE` is the last two bits (include/uapi/asm-generic/fcntl.h).
        let access = after(b"flags:")?.last()? & 3;
        Some(Info {
            may_write: matches!(access, 1 | 2),
            mount: bytes::parse_u64(after(b"mnt_id:")?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use std::fs::File;

    const MOUNTINFO: &str =
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n29 22 0:25 / /tmp rw - tmpfs x rw\n";

    #[test]
    fn access_and_mount_are_told_by_the_descriptor() {
        let parse = |flags: &str| {
            let text = format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\nino:\t5\n");
            Info::parse(text.as_bytes())
        };
        let told = |may_write| Some(Info { may_write, mount: 29 });
        for (flags, may_write) in
            [("0100000", false), ("0100001", true), ("02102002", true), ("010000003", false)]
        {
            assert_eq!(parse(flags), told(may_write), "{flags}");
        }
        assert_eq!(Info::parse(b"pos:\t0\nflags:\t01\n"), None);
        assert_eq!(Info::parse(b"flags:\t01\nmnt_id:\t-\n"), None);
        assert_eq!(Info::parse(b""), None);
    }

    /// Of a process with descriptors of one real file of 64 KiB, the files that are met.
    fn met(descriptors: &[(u32, &str, u64)], mountinfo: &str) -> Vec<(i32, KiB)> {
        let fixture = Fixture::new();
        let path = fixture.path("file");
        // What a file system cannot make smaller.
        let mut random = 1u32;
        let bytes = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        });
        let bytes: Vec<_> = bytes.take(64 << 10).collect();
        fixture.write("file", bytes);
        // Else it may have no place on its disk yet.
        File::open(&path).unwrap().sync_all().unwrap();
        fixture.write("42/fd/x", "");
        fixture.write("42/mountinfo", mountinfo);
        for (number, flags, mount) in descriptors {
            fixture.link(&format!("42/fd/{number}"), &path);
            let info = format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t{mount}\n");
            fixture.write(&format!("42/fdinfo/{number}"), info);
        }
        // Another process, with none.
        fixture.write("43/stat", "");
        let mut all = Vec::new();
        let mut visit =
            |_: &mut Proc, pid: Pid, file: OpenFile| all.push((pid.number(), file.held));
        fixture.open().for_each_file_on_tmpfs(&mut || true, &mut visit).unwrap();
        all
    }

    #[test]
    fn only_files_on_a_tmpfs_that_are_open_for_writing_are_met() {
        let all = met(&[(0, "01", 29), (1, "02", 29), (2, "00", 29), (3, "01", 22)], MOUNTINFO);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|&(pid, held)| pid == 42 && held >= KiB(64)), "{all:?}");
        // Of no list.
        assert_eq!(met(&[(3, "01", 30)], MOUNTINFO), []);
        assert_eq!(met(&[(3, "01", 29)], ""), []);
    }

    #[test]
    fn after_so_many_mounts_others_are_passed_over() {
        let fixture = Fixture::new();
        fixture.write("42/mountinfo", MOUNTINFO);
        let (mut proc, pid) = (fixture.open(), Pid::new(42).unwrap());
        let mut mounts = Mounts { known: [(0, false); MOUNTS], count: MOUNTS - 1 };
        assert!(mounts.has_tmpfs(&mut proc, pid, 29));
        fixture.write("42/mountinfo", MOUNTINFO.replace("29 22", "30 22"));
        assert!(mounts.has_tmpfs(&mut proc, pid, 29));
        assert!(!mounts.has_tmpfs(&mut proc, pid, 30));
        mounts.count = 0;
        assert!(mounts.has_tmpfs(&mut proc, pid, 30));
    }

    #[test]
    fn what_a_process_has_written_is_told() {
        let fixture = Fixture::new();
        fixture.write("42/io", "rchar: 5\nwchar: 4711\nsyscr: 6\nwrite_bytes: 8\n");
        fixture.write("43/io", "rchar: 5\nwchar: 47");
        let written = |number| fixture.open().written(Pid::new(number).unwrap()).ok();
        assert_eq!([written(42), written(43), written(44)], [Some(4711), None, None]);
    }

    #[test]
    fn what_is_no_file_is_told_by_its_link() {
        for no_file in
            ["pipe:[17]", "socket:[17]", "anon_inode:[eventfd]", "/dev/null", "/dev/dri/card0", ""]
        {
            assert!(!may_be_file(no_file.as_bytes()), "{no_file}");
        }
        for file in ["/tmp/x", "/dev/shm/x", "/run/log/x (deleted)"] {
            assert!(may_be_file(file.as_bytes()), "{file}");
        }
    }
}
