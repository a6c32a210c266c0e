//! What the kernel tells under `/proc`: parsers of bytes beside the reading of files.
//!
//! The root directory is a parameter, so that tests bring their own. Every file is read
//! into a buffer that lives here from the start. Never decides anything, and reading changes
//! nothing.

pub mod cgroup;
pub mod descriptors;
pub mod meminfo;
pub mod mountinfo;
pub mod pressure;
pub mod process;
pub mod service;
pub mod stat;
pub mod status;
mod tmpfs;
pub mod vmstat;
mod walk;
pub mod zfs;
pub mod zram;

use crate::bytes::Buf;
use crate::sys::fd::{self, Access, Owner};
use crate::sys::io;
use crate::units::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// Longest path here is `4194304/task/4194304/stat` (pid_max is at most 2^22, proc(5))
/// or `sys/kernel/...`; longer ones are refused.
type Path = Buf<64>;

/// Longer files are cut, and cut lines do not count; a `status` is read in pieces. On Linux 6.18 meminfo
/// has 1.6 KiB. vmstat has 3.9 KiB after the boot and more later, but what is used of it stands in the
/// first 3.3 KiB even if each number has 12 digits; of arcstats (`zfs`), in the first 3 KiB.
const FILE: usize = 4096;

/// The root of a `/proc`, kept open.
pub struct Proc {
    root: OwnedFd,
    /// On the heap: on the stack it would be in the way of what is only there at times.
    file: Box<[u8]>,
}

impl Proc {
    /// The machine's own.
    pub fn system() -> io::Result<Proc> {
        Proc::open(b"/proc\0")
    }

    /// Opens the directory at `root`, which ends with its NUL. Allocates.
    pub fn open(root: &[u8]) -> io::Result<Proc> {
        Ok(Proc { root: fd::open(root, Access::Directory)?, file: vec![0; FILE].into() })
    }

    /// Opens a file for reading again and again.
    pub fn open_file(&self, path: &[u8], access: Access) -> io::Result<OwnedFd> {
        self.open_at(Path::from_bytes(path), access)
    }

    fn open_at(&self, mut path: Path, access: Access) -> io::Result<OwnedFd> {
        fd::open_at(self.root.as_fd(), terminated(&mut path), access)
    }

    /// One read of a whole small file; what the buffer cannot hold is cut.
    fn read(&mut self, path: Path) -> io::Result<&[u8]> {
        let file = self.open_at(path, Access::Read)?;
        let len = fd::read(file.as_fd(), &mut self.file)?;
        Ok(&self.file[..len])
    }

    /// One read of a whole small file that belongs to no process.
    pub fn read_file(&mut self, path: &[u8]) -> io::Result<&[u8]> {
        self.read(Path::from_bytes(path))
    }

    /// One read of an open file from its start; what the buffer cannot hold is cut.
    pub fn reread(&mut self, file: &OwnedFd) -> io::Result<&[u8]> {
        let len = fd::reread(file.as_fd(), &mut self.file)?;
        Ok(&self.file[..len])
    }

    /// The effective user id of a process: the owner of its directory, which, other than
    /// its files', does not change for a process that may not be dumped
    /// (`task_dump_owner` in fs/proc/base.c).
    pub fn owner(&self, pid: Pid) -> io::Result<u32> {
        Ok(self.user_and_group(pid)?.user)
    }

    /// Its effective group id beside that.
    pub fn user_and_group(&self, pid: Pid) -> io::Result<Owner> {
        let mut path = Path::new();
        path.push_number(pid.number() as u32);
        Ok(fd::look_up_at(self.root.as_fd(), terminated(&mut path))?.owner)
    }
}

/// `PID/NAME`.
fn process_path(pid: Pid, name: &str) -> Path {
    let mut path = Path::new();
    path.push_number(pid.number() as u32);
    path.push(b"/");
    path.push(name.as_bytes());
    path
}

/// As `sys` takes it. A path that was cut has no room for its end, and is refused there.
fn terminated(path: &mut Path) -> &[u8] {
    path.push(b"\0");
    path.as_bytes()
}

/// A `/proc` of a test's own making.
#[cfg(test)]
pub mod fixture {
    use super::Proc;
    use std::fs;
    use std::process::{Child, Command, Stdio};

    pub struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        pub fn new() -> Fixture {
            Fixture { dir: tempfile::tempdir().unwrap() }
        }

        pub fn open(&self) -> Proc {
            Proc::open(format!("{}\0", self.path("")).as_bytes()).unwrap()
        }

        pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        /// A symbolic link, as `exe` is one.
        pub fn link(&self, path: &str, target: &str) {
            std::os::unix::fs::symlink(target, self.dir.path().join(path)).unwrap();
        }

        /// A file with `text` that cannot be read any more once its server has ended, as those of
        /// FUSE: arguments of a process, behind a first line of other ones.
        pub fn serve(&self, path: &str, text: &str) -> Server {
            let mut command = Command::new("sh");
            command.args(["-c", "read forever", &format!("\n{text}")]).stdin(Stdio::piped());
            let server = Server(command.spawn().unwrap());
            let arguments = format!("/proc/{}/cmdline", server.0.id());
            // It may be started and have none yet.
            while !fs::read_to_string(&arguments).unwrap().contains(text) {}
            let place = self.dir.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            let _ = fs::remove_file(place);
            self.link(path, &arguments);
            server
        }

        /// Where `path` lies.
        pub fn path(&self, path: &str) -> String {
            self.dir.path().join(path).to_str().unwrap().to_string()
        }

        pub fn remove(&self, path: &str) {
            let path = self.dir.path().join(path);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }

        /// A process as the kernel shows it. `score` is what `oom_score` says; `pages`
        /// its RSS.
        pub fn process(&self, pid: i32, comm: &[u8], score: i32, pages: u64) {
            self.write(&format!("{pid}/stat"), stat_line(pid, comm, b'S', 0, 1, pages));
            self.write(&format!("{pid}/statm"), format!("{} {pages} 1 1 0 1 0\n", pages + 9));
            self.write(&format!("{pid}/oom_score"), format!("{score}\n"));
            self.write(&format!("{pid}/oom_score_adj"), "0\n");
            self.write(
                &format!("{pid}/status"),
                format!(
                    "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nRssAnon:\t{0} kB\nVmSwap:\t0 kB\n",
                    pages * 4
                ),
            );
        }
    }

    pub struct Server(Child);

    impl Server {
        pub fn end(self) {}
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.0.kill().and_then(|()| self.0.wait()).unwrap();
        }
    }

    /// A line of `stat` with `flags` (field 9) and `threads` (field 20); started at 10
    /// times its number, parent 1, a group of its own.
    pub fn stat_line(
        pid: i32,
        comm: &[u8],
        state: u8,
        flags: u32,
        threads: u32,
        pages: u64,
    ) -> Vec<u8> {
        let mut line = format!("{pid} (").into_bytes();
        line.extend_from_slice(comm);
        line.extend_from_slice(
            format!(
                ") {} 1 {pid} {pid} 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 {} 1000 {pages} 1844\n",
                state as char,
                pid * 10
            )
            .as_bytes(),
        );
        line
    }
}
