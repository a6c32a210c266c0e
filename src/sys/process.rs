//! Processes: who this one is, fork and reap, signals to others, priority.

use super::check;
#[cfg(feature = "dbus-notify")]
use super::fd::Owner;
use crate::units::Pid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The two signals that end a process. (Numbers in `libc` differ by architecture; these
/// two happen not to.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadly {
    Term,
    Kill,
}

impl Deadly {
    const fn number(self) -> libc::c_int {
        match self {
            Deadly::Term => libc::SIGTERM,
            Deadly::Kill => libc::SIGKILL,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Deadly::Term => "SIGTERM",
            Deadly::Kill => "SIGKILL",
        }
    }
}

pub fn own_pid() -> Pid {
    // SAFETY: takes nothing, cannot fail.
    let number = unsafe { libc::getpid() };
    Pid::new(number.into()).unwrap_or(Pid::INIT)
}

/// Whether this process acts as root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The user as whom this process acts.
#[cfg(feature = "dbus-notify")]
pub fn own_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Becomes `owner` for good, in no other group. Succeeds only if no way leads back.
#[cfg(feature = "dbus-notify")]
pub fn become_user(owner: Owner) -> io::Result<()> {
    let Owner { user, group } = owner;
    // Groups first, since only root may change them.
    // SAFETY: a list of no groups needs no memory; the others take no pointer.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()).into())?;
        check(libc::setresgid(group, group, group).into())?;
        check(libc::setresuid(user, user, user).into())?;
    }
    let (mut users, mut groups) = ([!user; 3], [!group; 3]);
    let ([u, v, w], [g, h, i]) = (&mut users, &mut groups);
    // SAFETY: all six are writable.
    unsafe {
        check(libc::getresuid(u, v, w).into())?;
        check(libc::getresgid(g, h, i).into())?;
    }
    // SAFETY: takes no pointer.
    let is_final = user == 0 || unsafe { libc::setuid(0) } != 0;
    if users == [user; 3] && groups == [group; 3] && is_final {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EPERM))
}

/// The process group that this process is in.
pub fn own_group() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpgrp() }
}

/// Starts `child` in a process of its own, which ends with what it returns, and holds no
/// descriptor of this one but the standard ones and those `kept`.
///
/// EBUSY if this process has more than one thread: the child would have one only, and
/// might find a lock held by another.
pub fn split(kept: &[BorrowedFd<'_>], child: impl FnOnce() -> i32) -> io::Result<Pid> {
    if threads()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: this is the only thread, as just counted, and starts none meanwhile.
    let pid = check(unsafe { libc::fork() }.into())?;
    if let Some(pid) = Pid::new(pid as i64) {
        return Ok(pid);
    }
    // SAFETY: no code of ours runs for it; a parent that ignores it must not hide the ends of
    // the child's own children.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    close_all_but(kept);
    exit_now(child())
}

/// Threads of this process: each has an entry in its `task` directory, beside two links.
fn threads() -> io::Result<u64> {
    // SAFETY: all zero is a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let path = super::c_path(b"/proc/self/task\0");
    // SAFETY: `path` ends with NUL, `stat` is writable.
    check(unsafe { libc::stat(path.as_ptr(), &mut stat) }.into())?;
    #[allow(clippy::unnecessary_cast)] // 32 bits wide on some machines
    let links = stat.st_nlink as u64;
    Ok(links.saturating_sub(2))
}

/// More descriptors than the guard ever has open.
const DESCRIPTORS: RawFd = 64;

fn close_all_but(kept: &[BorrowedFd<'_>]) {
    for fd in libc::STDERR_FILENO + 1..DESCRIPTORS {
        if !kept.iter().any(|kept| kept.as_raw_fd() == fd) {
            // SAFETY: only the forked child comes here. It goes on with those alone and
            // ends without dropping what it inherited.
            unsafe { libc::close(fd) };
        }
    }
}

/// Ends this process at once, without destructors or buffers.
fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Collects one child that has ended, if there is one.
pub fn reap() -> Option<Pid> {
    reap_with_status().map(|(pid, _)| pid)
}

/// The same, with its exit status; `None` for one that a signal ended.
pub fn reap_with_status() -> Option<(Pid, Option<i32>)> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let got = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    let exited = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Pid::new(got.into()).map(|pid| (pid, exited))
}

/// A descriptor that names this process and no later one (Linux 5.3; pidfd_open(2)).
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.number(), 0) })?;
    // SAFETY: the kernel has just handed out `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Linux 5.1; pidfd_send_signal(2).
pub fn pidfd_send(pidfd: BorrowedFd<'_>, signal: Deadly) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    let (fd, signal) = (pidfd.as_raw_fd(), signal.number());
    // SAFETY: a null siginfo means the same as kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) }).map(drop)
}

/// Frees the memory of a dying process from outside (Linux 5.15;
/// process_mrelease(2)). EINVAL unless it is dying, ESRCH once its memory is gone,
/// EAGAIN when the kernel could not have the lock.
pub fn release_memory(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // libc has the constant for every musl target but riscv64; the number is the same
    // on all of them (include/uapi/asm-generic/unistd.h).
    const SYS_PROCESS_MRELEASE: libc::c_long = 448;
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(SYS_PROCESS_MRELEASE, pidfd.as_raw_fd(), 0) }).map(drop)
}

pub fn send(pid: Pid, signal: Deadly) -> io::Result<()> {
    // SAFETY: takes no pointer; `Pid` is above 0, so one process only is meant.
    check(unsafe { libc::kill(pid.number(), signal.number()) }.into()).map(drop)
}

/// To every process of the group `leader`; succeeds if one at least could be signalled.
pub fn send_group(leader: Pid, signal: Deadly) -> io::Result<()> {
    // SAFETY: takes no pointer; `Pid` is above 0, and above 1 there is no "all".
    check(unsafe { libc::kill(-leader.number(), signal.number()) }.into()).map(drop)
}

/// Whether this process may signal `pid`. One that is gone counts as allowed: that it is
/// gone shows elsewhere.
pub fn may_signal(pid: Pid) -> bool {
    // SAFETY: signal 0 checks and sends nothing.
    let checked = check(unsafe { libc::kill(pid.number(), 0) }.into());
    !checked.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
}

/// Sets the niceness of this process, -20 to 19.
pub fn set_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes no pointer; 0 means this process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }.into()).map(drop)
}
