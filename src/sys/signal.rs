//! Signals as something to read: no handler ever runs.

use super::{check, fd, io};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

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
    // What is ignored never reaches a descriptor, and a parent may have ignored these, as
    // nohup does. SIGINT stays as it is: a shell ignores it for what runs in the background.
    for &signal in &[libc::SIGTERM, libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1] {
        treat(signal, libc::SIG_DFL);
    }
    let (set, flags) = (mask(libc::SIG_BLOCK, signals), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
    // SAFETY: `set` is initialised and lives for the call.
    let fd = check(unsafe { libc::signalfd(-1, &set, flags) }.into())?;
    // SAFETY: the kernel has just handed out `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The next signal, if one has come.
pub fn next(fd: &OwnedFd) -> Option<Signal> {
    // Whole entries come, each with the number first (signalfd(2)).
    let mut entry = [0; std::mem::size_of::<libc::signalfd_siginfo>()];
    if fd::read(fd.as_fd(), &mut entry) != Ok(entry.len()) {
        return None;
    }
    match libc::c_int::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]) {
        libc::SIGCHLD => Some(Signal::Child),
        libc::SIGHUP => Some(Signal::Reread),
        libc::SIGUSR1 => Some(Signal::Tell),
        _ => Some(Signal::Stop),
    }
}

/// Blocks the signals of a terminal and of a service manager for good: the helper ends
/// when the watch does, after it has written what the watch said last.
pub(super) fn leave_to_parent() {
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1];
    mask(libc::SIG_BLOCK, &signals);
}

/// Ends this process when `seconds` are over, wherever it hangs then; not its children. 0 takes
/// that back.
pub fn end_after(seconds: u32) {
    // A parent may have blocked or ignored the signal.
    treat(libc::SIGALRM, libc::SIG_DFL);
    mask(libc::SIG_UNBLOCK, &[libc::SIGALRM]);
    // SAFETY: takes no pointer.
    unsafe { libc::alarm(seconds) };
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

/// Blocks `signals`, has them come again, or blocks them alone, as `how` says; they are returned
/// as a set.
pub(super) fn mask(how: libc::c_int, signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: `sigemptyset` initialises the set; the numbers are valid signals. The last call can
    // only fail for another `how`.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for &signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(how, &set, std::ptr::null_mut());
        set
    }
}
