//! Descriptors: open, read, write, list a directory, wait. Each path ends with its NUL.

use super::{check, io, process, retry, terminated};
use crate::bytes::{Buf, Parts};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// How a file is opened; always `O_CLOEXEC`, so that no hook inherits it.
#[derive(Clone, Copy)]
pub enum Access {
    Read,
    Write,
    /// Reading and writing without ever waiting, as PSI triggers are opened.
    Trigger,
    Directory,
    /// Writing to a terminal without ever waiting, and without making it this session's own.
    Terminal,
    /// At the end of a file, which is made if it is missing. Never waits for the reader of a FIFO,
    /// and never goes through a link, which others may have laid there.
    Append,
    /// A new file, where there is none and no link either.
    Create,
}

impl Access {
    const fn flags(self) -> libc::c_int {
        libc::O_CLOEXEC
            | match self {
                Access::Read => libc::O_RDONLY,
                Access::Write => libc::O_WRONLY,
                Access::Trigger => libc::O_RDWR | libc::O_NONBLOCK,
                Access::Directory => libc::O_RDONLY | libc::O_DIRECTORY,
                Access::Terminal => libc::O_WRONLY | libc::O_NOCTTY | libc::O_NONBLOCK,
                Access::Append => {
                    libc::O_WRONLY
                        | libc::O_APPEND
                        | libc::O_CREAT
                        | libc::O_NOCTTY
                        | libc::O_NOFOLLOW
                        | libc::O_NONBLOCK
                }
                Access::Create => libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
            }
    }
}

/// A file that is made here is for the administrator's eyes, because command lines may hold
/// secrets.
const MODE: libc::c_uint = 0o640;

/// The working directory, where a path begins that is not absolute.
// SAFETY: no descriptor that could be closed, and not -1.
const HERE: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

pub fn open(path: &[u8], access: Access) -> io::Result<OwnedFd> {
    open_at(HERE, path, access)
}

/// Opens a path relative to `directory`.
pub fn open_at(directory: BorrowedFd<'_>, path: &[u8], access: Access) -> io::Result<OwnedFd> {
    let (directory, path, flags) = (directory.as_raw_fd(), terminated(path)?, access.flags());
    // SAFETY: `path` ends with NUL and lives for the call.
    let fd = retry(|| unsafe { libc::openat(directory, path.as_ptr(), flags, MODE) }.into())?;
    // SAFETY: the kernel has just handed out `fd`, and no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A descriptor that this process was started with; EBADF if it was not. Only before anything is
/// opened here, which might have its number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just found it open, and nothing here has opened it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives a file a new name, in place of what had it.
pub fn rename(from: &[u8], to: &[u8]) -> io::Result<()> {
    let (from, to) = (terminated(from)?, terminated(to)?);
    // SAFETY: both paths end with NUL and live for the call.
    check(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) }.into()).map(drop)
}

/// Whether the file at `path` is one that this process may execute. EISDIR for a directory and
/// whatever else is no file.
pub fn check_program(path: &[u8]) -> io::Result<()> {
    let found = look_up(path)?;
    // SAFETY: the path ends with NUL and lives for the call.
    check(unsafe { libc::access(terminated(path)?.as_ptr(), libc::X_OK) }.into())?;
    match found.is_regular() {
        true => Ok(()),
        false => Err(io::Error::of(libc::EISDIR)),
    }
}

/// Whether this process may write to what is at `path`; in a directory, whether it may make files.
pub fn check_writable(path: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends with NUL and lives for the call.
    check(unsafe { libc::access(terminated(path)?.as_ptr(), libc::W_OK) }.into()).map(drop)
}

/// What lies at a path.
#[derive(Clone, Copy)]
pub struct Found {
    /// Device and inode, which one file has alone.
    pub file: (u64, u64),
    pub owner: Owner,
    /// What it takes, in KiB; on a tmpfs, of memory and swap.
    pub held: u64,
    /// Kind and permissions (inode(7)).
    pub mode: u32,
}

impl Found {
    pub fn is_regular(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// The owner of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

/// What lies at `path`; a link is followed.
pub fn look_up(path: &[u8]) -> io::Result<Found> {
    look_up_at(HERE, path)
}

/// The same of a path relative to `directory`.
#[allow(clippy::unnecessary_cast)] // The fields' types differ by processor.
pub fn look_up_at(directory: BorrowedFd<'_>, path: &[u8]) -> io::Result<Found> {
    let (directory, path) = (directory.as_raw_fd(), terminated(path)?);
    // SAFETY: all zero is a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with NUL, `stat` is writable, both live for the call.
    check(unsafe { libc::fstatat(directory, path.as_ptr(), &mut stat, 0) }.into())?;
    let owner = Owner { user: stat.st_uid, group: stat.st_gid };
    let file = (stat.st_dev as u64, stat.st_ino as u64);
    // `st_blocks` is in units of 512 bytes (inode(7)).
    let held = stat.st_blocks.max(0) as u64 / 2;
    Ok(Found { file, owner, held, mode: stat.st_mode })
}

/// What the tmpfs mounted at `path` holds, in KiB; `None` if another file system than `device`
/// (major, minor) lies there, or no tmpfs.
#[allow(clippy::unnecessary_cast)] // The fields' types differ by processor.
pub fn held_by_tmpfs(path: &[u8], device: (u32, u32)) -> io::Result<Option<u64>> {
    let directory = open(path, Access::Directory)?;
    // SAFETY: all zero is a valid `stat` and a valid `statfs`.
    let (mut stat, mut held): (libc::stat, libc::statfs) = unsafe { std::mem::zeroed() };
    // SAFETY: both are writable and live for the calls.
    unsafe {
        check(libc::fstat(directory.as_raw_fd(), &mut stat).into())?;
        check(libc::fstatfs(directory.as_raw_fd(), &mut held).into())?;
    }
    let is_it = stat.st_dev as u64 == libc::makedev(device.0, device.1) as u64;
    let blocks = held.f_blocks.saturating_sub(held.f_bfree) as u64;
    let used = blocks.saturating_mul(held.f_bsize as u64 / 1024);
    Ok(Some(used).filter(|_| is_it && held.f_type as i64 & 0xffff_ffff == TMPFS_MAGIC))
}

/// `f_type` of a tmpfs (include/uapi/linux/magic.h).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// `f_type` of a file that a server in user space answers for (fs/fuse/inode.c).
const FUSE_MAGIC: i64 = 0x6573_5546;

/// Whether such a server answers for a file: the file hangs if that does.
#[allow(clippy::unnecessary_cast)] // The field's type differs by processor.
pub fn is_of_fuse(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all zero is a valid `statfs`.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: it is writable and lives for the call.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), &mut found) }.into())?;
    Ok(found.f_type as i64 & 0xffff_ffff == FUSE_MAGIC)
}

/// Whether two files lie on the same file system.
pub fn are_together(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let device = |fd: BorrowedFd<'_>| {
        // SAFETY: all zero is a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: it is writable and lives for the call.
        check(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) }.into()).map(|_| stat.st_dev)
    };
    Ok(device(one)? == device(other)?)
}

/// The bytes of a file; what is beyond `most` is left out. Allocates.
pub fn read_file(path: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let file = open(path, Access::Read)?;
    let (mut text, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let len = read(file.as_fd(), &mut piece)?.min(most - text.len());
        if len == 0 {
            return Ok(text);
        }
        text.extend_from_slice(&piece[..len]);
    }
}

pub fn remove(path: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends with NUL and lives for the call.
    check(unsafe { libc::unlink(terminated(path)?.as_ptr()) }.into()).map(drop)
}

/// Lets all users read a file, whatever the mask that this process inherited.
pub fn let_all_read(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(libc::SYS_fchmod, fd.as_raw_fd(), 0o644) }).map(drop)
}

/// Where a link relative to `directory` leads, and how long that is; cut at `buf`.
pub fn read_link_at(directory: BorrowedFd<'_>, path: &[u8], buf: &mut [u8]) -> io::Result<usize> {
    let (path, at, len) = (terminated(path)?, buf.as_mut_ptr(), buf.len());
    // SAFETY: `path` ends with NUL; `at` points to `len` writable bytes.
    let got = unsafe { libc::readlinkat(directory.as_raw_fd(), path.as_ptr(), at.cast(), len) };
    check(got as libc::c_long)
}

/// The same of an absolute path.
pub fn read_link(path: &[u8], buf: &mut [u8]) -> io::Result<usize> {
    read_link_at(HERE, path, buf)
}

pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (at, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `at` points to `len` writable bytes.
    retry(|| unsafe { libc::read(fd.as_raw_fd(), at.cast(), len) } as libc::c_long)
}

/// Reads from the start of a file, wherever it was read up to.
pub fn reread(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (at, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `at` points to `len` writable bytes.
    retry(|| unsafe { libc::pread(fd.as_raw_fd(), at.cast(), len, 0) } as libc::c_long)
}

/// Reads a file of any length piece by piece, and calls `visit` with each part that ends with the
/// byte `last`. One that is longer than `buf` is passed over.
pub fn for_each_part(
    file: BorrowedFd<'_>,
    buf: &mut [u8],
    last: u8,
    visit: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let (mut kept, mut skipping) = (0, false);
    loop {
        let filled = kept + read(file, &mut buf[kept..])?;
        if filled == kept {
            return Ok(());
        }
        let mut parts = Parts { rest: &buf[..filled], last };
        for part in &mut parts {
            if !skipping {
                visit(part);
            }
            skipping = false;
        }
        kept = parts.rest.len();
        buf.copy_within(filled - kept..filled, 0);
        if kept == buf.len() {
            (kept, skipping) = (0, true);
        }
    }
}

pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice is readable for its length.
    retry(|| unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
        as libc::c_long)
}

pub fn rewind(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_SET) } as libc::c_long).map(drop)
}

/// Fills `buf` with directory entries (`struct linux_dirent64`, getdents64(2)) and
/// returns how many bytes are valid; 0 at the end.
pub fn read_entries(directory: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (fd, at, len) = (directory.as_raw_fd(), buf.as_mut_ptr(), buf.len());
    // SAFETY: `at` points to `len` writable bytes.
    retry(|| unsafe { libc::syscall(libc::SYS_getdents64, fd, at, len) })
}

/// Standard error, which the process has from its start to its end.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: never closed by this program, which opens /dev/null where it was closed at the
    // start (`process::begin`).
    unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }
}

/// Standard output, likewise.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for standard error.
    unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }
}

pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: takes no pointer.
    unsafe { libc::isatty(fd.as_raw_fd()) == 1 }
}

/// Whether standard error leads to the journal of systemd, which tells by `JOURNAL_STREAM` where
/// that is (systemd.exec(5)): a process may have inherited it and write elsewhere.
pub fn stderr_is_journal() -> bool {
    // SAFETY: all zero is a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives for the call; what cannot be told is no journal.
    let told = check(unsafe { libc::fstat(libc::STDERR_FILENO, &mut stat) }.into());
    let mut stream = Buf::<64>::new();
    let _ = write!(stream, "JOURNAL_STREAM={}:{}", stat.st_dev, stat.st_ino);
    told.is_ok() && process::environment().any(|variable| variable == stream.as_bytes())
}

/// What is waited for on one descriptor.
#[derive(Clone, Copy)]
pub enum Interest {
    Readable,
    Writable,
    /// A PSI trigger's event (`POLLPRI`).
    Priority,
}

/// Descriptors to wait on, at most `N`; which of them are ready is asked by the place
/// that `add` returned.
pub struct Waiter<const N: usize> {
    entries: [libc::pollfd; N],
    len: usize,
}

impl<const N: usize> Waiter<N> {
    pub fn new() -> Self {
        Waiter { entries: [libc::pollfd { fd: -1, events: 0, revents: 0 }; N], len: 0 }
    }

    /// Adds a descriptor, which must stay open until `wait` has returned.
    pub fn add(&mut self, fd: BorrowedFd<'_>, interest: Interest) -> usize {
        let events = match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
            Interest::Priority => libc::POLLPRI,
        };
        self.entries[self.len] = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        self.len += 1;
        self.len - 1
    }

    /// Waits until one is ready, a signal interrupts, or `timeout` is over (`None`: for
    /// ever). A failure counts as nothing ready: the caller looks at memory anyway.
    ///
    /// More than the process may have by now (`RLIMIT_NOFILE`, which others can lower) are refused
    /// (ppoll(2)). Then the first one is waited for alone, or none, and not for long.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let short = timeout.map_or(IF_REFUSED, |timeout| timeout.min(IF_REFUSED));
        if is_refused(poll(&mut self.entries[..self.len], timeout))
            && is_refused(poll(&mut self.entries[..self.len.min(1)], Some(short)))
        {
            let _ = poll(&mut [], Some(short));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_ready(&self, place: usize) -> bool {
        self.entries[place].revents != 0
    }

    /// The other end is gone for good (POLLERR, POLLHUP or POLLNVAL).
    pub fn is_broken(&self, place: usize) -> bool {
        self.entries[place].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0
    }
}

/// So that what is not waited for is seen soon, and a loop around this does not take a processor.
const IF_REFUSED: Duration = Duration::from_millis(20);

fn is_refused(polled: io::Result<()>) -> bool {
    polled.is_err_and(|error| !error.is_interrupted())
}

pub(super) fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    // SAFETY: all zero is a valid `timespec`; some targets have more fields than two.
    let mut limit: libc::timespec = unsafe { std::mem::zeroed() };
    let mut at = std::ptr::null();
    if let Some(wait) = timeout {
        limit.tv_sec = wait.as_secs() as _;
        limit.tv_nsec = wait.subsec_nanos() as _;
        at = &limit as *const _;
    }
    let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    // SAFETY: `entries` holds so many; `at` is null or points to the stack above; a null
    // mask leaves the signal mask alone.
    let polled = check(unsafe { libc::ppoll(first, count, at, std::ptr::null()) }.into());
    if polled.is_err() {
        entries.iter_mut().for_each(|entry| entry.revents = 0);
    }
    polled.map(drop)
}

/// Waits for one descriptor alone, and tells whether it is ready.
pub fn wait_for(fd: BorrowedFd<'_>, interest: Interest, limit: Duration) -> bool {
    let mut waiter = Waiter::<1>::new();
    let place = waiter.add(fd, interest);
    waiter.wait(Some(limit));
    waiter.is_ready(place)
}

/// Whether `fd` is ready for `interest` right now.
pub fn is_ready_now(fd: BorrowedFd<'_>, interest: Interest) -> bool {
    wait_for(fd, interest, Duration::ZERO)
}
