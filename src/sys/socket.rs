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

/// A socket that sends datagrams to the one at `path`, which ends with its NUL.
pub fn connect(path: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: all zero is a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() > address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, &from) in address.sun_path.iter_mut().zip(path) {
        *to = from as libc::c_char;
    }
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    // SAFETY: the kernel has just handed out `fd`.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let (at, len) = (&address as *const libc::sockaddr_un, std::mem::size_of_val(&address));
    // SAFETY: `address` is readable for its length.
    check(unsafe { libc::connect(fd as i32, at.cast(), len as libc::socklen_t) }.into())?;
    Ok(socket)
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
