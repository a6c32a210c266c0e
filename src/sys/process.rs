//! Processes: this one, fork and reap, signals to others, priority.

use super::arena;
use super::check;
#[cfg(feature = "dbus-notify")]
use super::fd::Owner;
use super::fd::{self, Access};
use super::io;
use super::{signal, socket};
use crate::units::Pid;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The two signals that end a process. (Numbers in `libc` differ by architecture; these
/// two happen not to.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KillSignal {
    Term,
    Kill,
}

impl KillSignal {
    const fn number(self) -> libc::c_int {
        match self {
            KillSignal::Term => libc::SIGTERM,
            KillSignal::Kill => libc::SIGKILL,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            KillSignal::Term => "SIGTERM",
            KillSignal::Kill => "SIGKILL",
        }
    }
}

pub fn own_pid() -> Pid {
    // SAFETY: takes nothing, cannot fail.
    let number = unsafe { libc::getpid() };
    Pid::new(number.into()).unwrap_or(Pid::INIT)
}

/// The effective user of this process.
pub fn own_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether this process has the capability to signal any other of its user namespace
/// (capabilities(7)).
pub fn has_cap_kill() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_KILL: u32 = 5;
    // Version and process, 0 for this one; effective, permitted and inheritable, twice 32 each.
    let (mut header, mut sets) = ([VERSION_3, 0], [0u32; 6]);
    // SAFETY: both are as large as this version wants them, and writable.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    got == 0 && sets[0] & (1 << CAP_KILL) != 0
}

/// Becomes `owner` for good, in no other group. True only if no way leads back.
#[cfg(feature = "dbus-notify")]
pub fn become_user(owner: Owner) -> bool {
    // The calls that take 32 bits of a user or group, everywhere.
    #[cfg(not(any(
        target_arch = "arm",
        target_arch = "x86",
        target_arch = "sparc",
        target_arch = "m68k"
    )))]
    use libc::{
        SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID,
    };
    #[cfg(any(
        target_arch = "arm",
        target_arch = "x86",
        target_arch = "sparc",
        target_arch = "m68k"
    ))]
    use libc::{
        SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
    };
    let Owner { user, group } = owner;
    let (mut users, mut groups) = ([!user; 3], [!group; 3]);
    let ([u, v, w], [g, h, i]) = (&mut users, &mut groups);
    // By the kernel's own calls: those of a C library have every thread do the same, for
    // which it brings 2 KiB of code; here there is one. Groups first, since only root may
    // change them.
    // SAFETY: a list of no groups needs no memory; what is read is writable.
    let all_done = unsafe {
        libc::syscall(SETGROUPS, 0, 0) == 0
            && libc::syscall(SETRESGID, group, group, group) == 0
            && libc::syscall(SETRESUID, user, user, user) == 0
            && libc::getresuid(u, v, w) == 0
            && libc::getresgid(g, h, i) == 0
            && (user == 0 || libc::syscall(SETRESUID, 0, 0, 0) != 0)
    };
    all_done && users == [user; 3] && groups == [group; 3]
}

/// The process group that this process is in.
pub fn own_group() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpgrp() }
}

/// Starts `child` in a process of its own, which ends with what it returns, and holds no
/// descriptor of this one but the standard ones and the one `kept`. It may allocate, and leaves
/// the signals of a terminal and of a service manager to this one.
///
/// EBUSY in a unit test with several threads: the child would have one only, and might find
/// a lock held by another. The guard itself starts none; a thread beside it is that of an
/// emulator (qemu-user), which looks after its own locks.
pub fn split(kept: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<Pid> {
    match fork_with(kept)? {
        Some(pid) => Ok(pid),
        None => exit(child()),
    }
}

/// The number of the child; `None` in the child itself.
fn fork_with(kept: Option<BorrowedFd<'_>>) -> io::Result<Option<Pid>> {
    #[cfg(test)]
    if std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        return Err(io::Error::of(libc::EBUSY));
    }
    // SAFETY: this is the only thread; nothing in the program starts another.
    let pid = Pid::new(check(unsafe { libc::fork() }.into())? as i64);
    if pid.is_none() {
        // A parent that ignores it must not hide the ends of the child's own children.
        signal::treat(libc::SIGCHLD, libc::SIG_DFL);
        signal::leave_to_parent();
        close_all_but(kept);
        arena::open();
    }
    Ok(pid)
}

/// Ends this process at once: there are no destructors that matter, and no buffers.
pub fn exit(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// How a child has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Status(i32),
    Signal(i32),
}

/// Collects one child that has ended, if there is one.
pub fn reap() -> Option<(Pid, Exit)> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let got = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    let exit = match libc::WIFSIGNALED(status) {
        true => Exit::Signal(libc::WTERMSIG(status)),
        false => Exit::Status(libc::WEXITSTATUS(status)),
    };
    Pid::new(got.into()).map(|pid| (pid, exit))
}

/// What the C library calls `main` with: only it can make one.
#[repr(transparent)]
pub struct Arguments(*const *const libc::c_char);

impl Arguments {
    /// Each, the program's own name first.
    pub fn texts(&self) -> impl Iterator<Item = &'static [u8]> {
        texts(self.0)
    }
}

extern "C" {
    static environ: *const *const libc::c_char;
}

/// The variables that this process was given, `KEY=VALUE` each.
pub fn environment() -> impl Iterator<Item = &'static [u8]> {
    // SAFETY: the C library sets it before `main`, and nothing here changes it.
    texts(unsafe { environ })
}

/// Of a list that ends with a null pointer, as the kernel lays it on the stack for good.
fn texts(mut at: *const *const libc::c_char) -> impl Iterator<Item = &'static [u8]> {
    std::iter::from_fn(move || {
        // SAFETY: `at` is the beginning of such a list, or within one, and not behind its end;
        // each text ends with its NUL. Nothing changes or frees them.
        unsafe {
            let text = *at;
            if text.is_null() {
                return None;
            }
            at = at.add(1);
            Some(CStr::from_ptr(text).to_bytes())
        }
    })
}

/// What the standard library would do before `main`: the standard descriptors are open, so
/// that no file takes their place, and writing to a pipe without a reader is an error and no signal.
pub fn begin() {
    signal::treat(libc::SIGPIPE, libc::SIG_IGN);
    // SAFETY: the path ends with NUL; what is closed was opened here.
    unsafe {
        // Each call gives the lowest number that is free; hooks are to have these too.
        let mut fd = 0;
        while (0..=libc::STDERR_FILENO).contains(&fd) {
            fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        }
        libc::close(fd);
    }
}

/// What this process inherited, before it raised itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inherited {
    pub niceness: i32,
    pub oom_score_adj: i32,
}

impl Inherited {
    /// `adj` is its `oom_score_adj` now.
    pub fn now(adj: i32) -> Inherited {
        // SAFETY: takes no pointer; 0 means this process.
        let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        Inherited { niceness, oom_score_adj: adj }
    }
}

/// Variables that a program may be given.
const VARIABLES: usize = 32;

/// Starts the program at `path` (with its NUL) in a process group of its own, neither
/// raised nor protected, with default signals, the standard descriptors alone, and
/// `environment`: variables with their NUL, one behind the other. What can be read from the
/// descriptor that is returned, four bytes, is why it could not be run (`errno`); its end
/// means that it is.
pub fn run(path: &[u8], environment: &[u8], inherited: &Inherited) -> io::Result<(Pid, OwnedFd)> {
    let path = super::terminated(path)?;
    let mut variables = [std::ptr::null::<libc::c_char>(); VARIABLES + 1];
    let texts = environment.split_inclusive(|&byte| byte == 0).filter(|text| text.ends_with(b"\0"));
    for (place, text) in variables[..VARIABLES].iter_mut().zip(texts) {
        *place = text.as_ptr().cast();
    }
    let arguments = [path.as_ptr(), std::ptr::null()];
    let mut adj = crate::bytes::Buf::<8>::new();
    adj.push_number(inherited.oom_score_adj.max(0) as u32);
    let (ours, theirs) = socket::pair()?;
    let pid = split(Some(theirs.as_fd()), || {
        let _ = set_niceness(inherited.niceness.max(0));
        if let Ok(file) = fd::open(b"/proc/self/oom_score_adj\0", Access::Write) {
            let _ = fd::write(file.as_fd(), adj.as_bytes());
        }
        for signal in 1..=libc::SIGRTMAX() {
            signal::treat(signal, libc::SIG_DFL);
        }
        signal::mask(libc::SIG_SETMASK, &[]);
        // SAFETY: all pointers are to what was made ready above, and end as the call wants it.
        unsafe {
            libc::setpgid(0, 0);
            libc::execve(path.as_ptr(), arguments.as_ptr(), variables.as_ptr());
        }
        let _ = fd::write(theirs.as_fd(), &io::Error::last().number().to_ne_bytes());
        127
    })?;
    // The child does the same: one of both is first. It fails once the program runs.
    // SAFETY: takes no pointer.
    unsafe { libc::setpgid(pid.number(), pid.number()) };
    Ok((pid, ours))
}

/// Closes all descriptors of this process but the standard ones and the one `kept`: also what
/// a careless parent left open.
fn close_all_but(kept: Option<BorrowedFd<'_>>) {
    const LAST_KEPT: RawFd = libc::STDERR_FILENO;
    let kept = kept.map_or(LAST_KEPT, |fd| fd.as_raw_fd().max(LAST_KEPT));
    close_range(LAST_KEPT + 1, kept - 1);
    close_range(kept + 1, RawFd::MAX);
}

fn close_range(from: RawFd, to: RawFd) {
    // Linux 5.9; one number on all machines (include/uapi/asm-generic/unistd.h).
    const SYS_CLOSE_RANGE: libc::c_long = 436;
    // As many as a process may have unless it asks for more (`RLIMIT_NOFILE`).
    const LAST: RawFd = 1023;
    if from > to {
        return;
    }
    // SAFETY: takes no pointer; only a forked child comes here, which goes on with what is
    // kept alone, and ends without dropping what it inherited.
    let closed = unsafe { libc::syscall(SYS_CLOSE_RANGE, from, to, 0) };
    if closed != 0 {
        for fd in from..=to.min(LAST) {
            // SAFETY: the same.
            unsafe { libc::close(fd) };
        }
    }
}

/// A descriptor that names this process and no later one (Linux 5.3; pidfd_open(2)).
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.number(), 0) })?;
    // SAFETY: the kernel has just handed out `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Linux 5.1; pidfd_send_signal(2).
pub fn pidfd_send(pidfd: BorrowedFd<'_>, signal: KillSignal) -> io::Result<()> {
    let (fd, info) = (pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    deliver(signal, |signal| {
        // SAFETY: a null siginfo means the same as kill(2).
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) }
    })
}

/// SIGTERM is followed by SIGCONT: a stopped process takes no note of it before that.
fn deliver(signal: KillSignal, send: impl Fn(libc::c_int) -> libc::c_long) -> io::Result<()> {
    check(send(signal.number()))?;
    if signal == KillSignal::Term {
        // If that is refused, it is gone.
        send(libc::SIGCONT);
    }
    Ok(())
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

pub fn send(pid: Pid, signal: KillSignal) -> io::Result<()> {
    // SAFETY: takes no pointer; `Pid` is above 0, so one process only is meant.
    deliver(signal, |signal| unsafe { libc::kill(pid.number(), signal) }.into())
}

/// The group of a process, 0 for one out of sight. `None` if there is none with that number. Opens no
/// file: of those under `/proc`, each costs the kernel memory when it is opened for the first time.
pub fn group_of(pid: Pid) -> Option<i32> {
    // SAFETY: takes no pointer.
    let group = unsafe { libc::getpgid(pid.number()) };
    (group >= 0).then_some(group)
}

/// To every process of the group `leader`; succeeds if one at least could be signalled.
pub fn send_group(leader: Pid, signal: KillSignal) -> io::Result<()> {
    // SAFETY: takes no pointer; `Pid` is above 0, and above 1 there is no "all".
    deliver(signal, |signal| unsafe { libc::kill(-leader.number(), signal) }.into())
}

/// Whether two processes run on the same memory, or both on none (Linux 3.5; kcmp(2)). False where
/// that cannot be told.
pub fn share_memory(one: Pid, other: Pid) -> bool {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: takes no pointer.
    let told =
        unsafe { libc::syscall(libc::SYS_kcmp, one.number(), other.number(), KCMP_VM, 0, 0) };
    told == 0
}

/// Whether this process may signal `pid`. One that is gone counts as allowed: that it is
/// gone shows elsewhere.
pub fn may_signal(pid: Pid) -> bool {
    // SAFETY: signal 0 checks and sends nothing.
    let checked = check(unsafe { libc::kill(pid.number(), 0) }.into());
    checked != Err(io::Error::REFUSED)
}

/// Sets the niceness of this process, -20 to 19.
pub fn set_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes no pointer; 0 means this process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }.into()).map(drop)
}
