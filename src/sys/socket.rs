//! Unix sockets that never wait (unix(7)): a pair that keeps messages apart, one to send
//! datagrams, and streams to a bus. All are written to as files are: SIGPIPE is ignored.

use super::{check, fd, io, retry};
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
    connect_as(libc::SOCK_DGRAM, path)
}

/// A stream to what listens at `name`: a path with its NUL, or one of the abstract
/// namespace, which begins with a NUL. EAGAIN while as many wait there already as may.
#[cfg(feature = "dbus-notify")]
pub fn connect_stream(name: &[u8]) -> io::Result<OwnedFd> {
    connect_as(libc::SOCK_STREAM, name)
}

/// A socket to send datagrams from.
pub fn sender() -> io::Result<OwnedFd> {
    create(libc::SOCK_DGRAM)
}

/// Sends one datagram to a name, as `connect_stream` takes it.
pub fn send_to(fd: BorrowedFd<'_>, name: &[u8], bytes: &[u8]) -> io::Result<()> {
    let (address, len) = address_of(name)?;
    let at = &address as *const libc::sockaddr_un;
    let (text, size) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: `bytes` and `address` are readable for their lengths.
    retry(|| unsafe { libc::sendto(fd.as_raw_fd(), text, size, 0, at.cast(), len) } as libc::c_long)
        .map(drop)
}

/// The address for a name, and how much of it counts.
fn address_of(name: &[u8]) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: all zero is a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let before_name = std::mem::size_of_val(&address) - address.sun_path.len();
    if name.len() > address.sun_path.len() {
        return Err(io::Error::of(libc::ENAMETOOLONG));
    }
    for (to, &from) in address.sun_path.iter_mut().zip(name) {
        *to = from as libc::c_char;
    }
    // To the byte: all that the length covers belongs to an abstract name.
    Ok((address, (before_name + name.len()) as libc::socklen_t))
}

fn create(kind: libc::c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    // SAFETY: the kernel has just handed out `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn connect_as(kind: libc::c_int, name: &[u8]) -> io::Result<OwnedFd> {
    let (address, len) = address_of(name)?;
    let (socket, at) = (create(kind)?, &address as *const libc::sockaddr_un);
    // SAFETY: `address` is readable for its length, of which `len` is no more than all.
    check(unsafe { libc::connect(socket.as_raw_fd(), at.cast(), len) }.into())?;
    Ok(socket)
}

/// Which user's process listens at the other end of a stream (`SO_PEERCRED`).
#[cfg(feature = "dbus-notify")]
pub fn peer_user(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: all zero is a valid `ucred`.
    let mut peer: libc::ucred = unsafe { std::mem::zeroed() };
    let mut len = std::mem::size_of_val(&peer) as libc::socklen_t;
    let (at, level, name) = (&mut peer as *mut libc::ucred, libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `peer` is writable for `len` bytes.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, at.cast(), &mut len) }.into())?;
    Ok(peer.uid)
}

/// Sends one message whole that lies in two places; EAGAIN if the other side has not read enough.
pub fn send_both(fd: BorrowedFd<'_>, head: &[u8], text: &[u8]) -> io::Result<()> {
    let part = |bytes: &[u8]| libc::iovec {
        iov_base: bytes.as_ptr() as *mut libc::c_void,
        iov_len: bytes.len(),
    };
    let parts = [part(head), part(text)];
    // SAFETY: both slices are readable for their length; nothing is written to them.
    retry(|| unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), 2) } as libc::c_long).map(drop)
}

/// One message, or what has come of a stream; `Ok(0)` when the other side has closed, EAGAIN
/// when there is none.
pub fn receive(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    match fd::read(fd, buf) {
        // The other side closed before it had read all. That is told once, and before what it
        // sent (`unix_release_sock` in net/unix/af_unix.c).
        Err(error) if error == io::Error::of(libc::ECONNRESET) => fd::read(fd, buf),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_sent_arrives_though_an_answer_was_never_read() {
        let (ours, theirs) = pair().unwrap();
        fd::write(theirs.as_fd(), b"answer").unwrap();
        fd::write(ours.as_fd(), b"last words").unwrap();
        drop(ours);
        let mut buf = [0; 16];
        assert_eq!(receive(theirs.as_fd(), &mut buf).unwrap(), 10);
        assert_eq!(&buf[..10], b"last words");
        assert_eq!(receive(theirs.as_fd(), &mut buf).unwrap(), 0);
    }
}
