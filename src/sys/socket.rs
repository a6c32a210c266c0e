//! A pair of connected sockets that keep messages apart and never wait.

use super::{check, retry};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Two ends of a `SOCK_SEQPACKET` pair (unix(7)).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }.into())?;
    // SAFETY: the kernel has just handed out both.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Sends one message whole; EAGAIN if the other side has not read enough.
pub fn send(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let (at, len) = (message.as_ptr(), message.len());
    // SAFETY: the slice is readable for its length.
    retry(|| unsafe { libc::send(fd.as_raw_fd(), at.cast(), len, flags) } as libc::c_long).map(drop)
}

/// One message; `Ok(0)` when the other side has closed, EAGAIN when there is none.
pub fn receive(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (at, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: `at` points to `len` writable bytes.
    retry(|| unsafe { libc::recv(fd.as_raw_fd(), at.cast(), len, libc::MSG_DONTWAIT) }
        as libc::c_long)
}
