//! Signals as something to read: no handler ever runs.

use super::check;
use super::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The signals that the guard answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGCHLD.
    Child,
    /// SIGHUP: read the configuration again.
    Reread,
    /// SIGUSR1: say how things stand.
    Tell,
}

const ANSWERED: [libc::c_int; 5] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1];

/// Blocks the signals above and gives a descriptor from which they are read.
pub fn listen() -> io::Result<OwnedFd> {
    listen_to(&ANSWERED)
}

/// The same for the ends of children alone.
pub fn listen_for_children() -> io::Result<OwnedFd> {
    listen_to(&[libc::SIGCHLD])
}

fn listen_to(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    let set = set_of(signals);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // What is ignored never reaches a descriptor, and a parent may have ignored these, as
    // nohup does. SIGINT stays as it is: a shell ignores it for what runs in the background.
    for &signal in &[libc::SIGTERM, libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1] {
        treat(signal, libc::SIG_DFL);
    }
    // SAFETY: `set` is initialised and lives for all calls.
    let fd = unsafe {
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()).into())?;
        check(libc::signalfd(-1, &set, flags).into())?
    };
    // SAFETY: the kernel has just handed out `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The next signal, if one has come.
pub fn next(fd: &OwnedFd) -> Option<Signal> {
    // SAFETY: all zero is a valid `signalfd_siginfo`.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    // SAFETY: `info` is writable for `size` bytes.
    let got = unsafe {
        libc::read(fd.as_raw_fd(), (&mut info as *mut libc::signalfd_siginfo).cast(), size)
    };
    if got != size as isize {
        return None;
    }
    match info.ssi_signo as libc::c_int {
        libc::SIGCHLD => Some(Signal::Child),
        libc::SIGHUP => Some(Signal::Reread),
        libc::SIGUSR1 => Some(Signal::Tell),
        _ => Some(Signal::Stop),
    }
}

/// Blocks the signals of a terminal and of a service manager for good: the helper ends
/// when the watch does, after it has written what the watch said last.
pub(super) fn leave_to_parent() {
    let set = set_of(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1]);
    // SAFETY: `set` is initialised; blocking can only fail for an invalid `how`.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Ends this process when `seconds` are over, wherever it hangs then; not its children.
pub fn end_after(seconds: u32) {
    let set = set_of(&[libc::SIGALRM]);
    // A parent may have blocked or ignored the signal.
    treat(libc::SIGALRM, libc::SIG_DFL);
    // SAFETY: `set` is initialised.
    unsafe {
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// Takes that back.
#[cfg(feature = "dbus-notify")]
pub fn end_never() {
    // SAFETY: takes no pointer.
    unsafe { libc::alarm(0) };
}

/// Has a signal do what it does by default, `SIG_DFL`, or nothing, `SIG_IGN`. By the kernel's
/// own call: that of a C library is prepared for handlers, of which there are none here.
pub(super) fn treat(signal: libc::c_int, how: libc::sighandler_t) {
    const IS_MIPS: bool = cfg!(any(target_arch = "mips", target_arch = "mips64"));
    // The handler, no flags, no restorer and an empty mask, with room to spare; on MIPS the
    // flags come first, and a mask has 128 bits.
    let mut action = [0usize; 8];
    action[usize::from(IS_MIPS)] = how;
    let (old, mask_size) = (std::ptr::null_mut::<usize>(), if IS_MIPS { 16 } else { 8usize });
    // SAFETY: `action` is longer than what the kernel reads, and no code of ours runs for it.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), old, mask_size) };
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set; the numbers are valid signals.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}
