//! Names of errors, since `io::Error` allocates when it is printed and the C library's
//! words differ from one to the next.

use std::fmt;
use std::io;

/// `EPERM (not permitted)`, or `errno 123` for one that the table lacks.
pub struct Errno<'a>(pub &'a io::Error);

/// The errors that the calls of this program are documented to give.
const NAMES: [(i32, &str); 32] = [
    (libc::EPERM, "EPERM (not permitted)"),
    (libc::ENOENT, "ENOENT (not found)"),
    (libc::ESRCH, "ESRCH (no such process)"),
    (libc::EINTR, "EINTR (interrupted)"),
    (libc::EIO, "EIO (input/output error)"),
    (libc::EBADF, "EBADF (bad descriptor)"),
    (libc::ECHILD, "ECHILD (no child)"),
    (libc::EAGAIN, "EAGAIN (try again)"),
    (libc::ENOMEM, "ENOMEM (no memory)"),
    (libc::EACCES, "EACCES (permission denied)"),
    (libc::EBUSY, "EBUSY (busy)"),
    (libc::EEXIST, "EEXIST (exists)"),
    (libc::ENODEV, "ENODEV (no such device)"),
    (libc::ENOTDIR, "ENOTDIR (not a directory)"),
    (libc::EINVAL, "EINVAL (invalid argument)"),
    (libc::ENFILE, "ENFILE (too many open files on the machine)"),
    (libc::EMFILE, "EMFILE (too many open files)"),
    (libc::ENOSPC, "ENOSPC (no space left)"),
    (libc::EROFS, "EROFS (read-only file system)"),
    (libc::EPIPE, "EPIPE (nobody reads)"),
    (libc::ENOSYS, "ENOSYS (not in this kernel)"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP (not supported)"),
    (libc::ENOBUFS, "ENOBUFS (no buffer space)"),
    (libc::ENOEXEC, "ENOEXEC (no program; does it begin with #!/bin/sh?)"),
    (libc::EISDIR, "EISDIR (not a file)"),
    (libc::ETXTBSY, "ETXTBSY (being written)"),
    (libc::ENXIO, "ENXIO (no device, or a FIFO without a reader)"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG (name too long)"),
    (libc::ECONNREFUSED, "ECONNREFUSED (nobody listens)"),
    (libc::ENOTCONN, "ENOTCONN (not connected)"),
    (libc::EPROTOTYPE, "EPROTOTYPE (a socket of another kind)"),
    (libc::ELOOP, "ELOOP (a link)"),
];

impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return f.write_str("unexpected end");
        };
        match NAMES.iter().find(|(errno, _)| *errno == number) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {number}"),
        }
    }
}

/// The error of a process that is not there.
pub fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// The error of a file that took only a part.
pub fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

/// The error of a call that would have to wait.
pub fn for_later() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// The process is not there (any more): it has no directory in `/proc` (ENOENT), or it
/// went between opening and reading (ESRCH).
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

pub fn is_not_permitted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

pub fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// The reader of a pipe has gone.
pub fn is_broken_pipe(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPIPE)
}

/// The call would have had to wait, or the kernel is short of something for now.
pub fn is_for_later(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}

/// The kernel knows no such call: too old, or a filter (seccomp) answers in its place,
/// usually with EPERM.
pub fn is_missing_call(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_have_names_and_others_a_number() {
        let shown = |errno| Errno(&io::Error::from_raw_os_error(errno)).to_string();
        assert_eq!(shown(libc::EPERM), "EPERM (not permitted)");
        assert_eq!(shown(4095), "errno 4095");
    }
}
