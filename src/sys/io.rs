//! What a call of the kernel gives: `std::io`'s names, but with an error that is only its number.
//!
//! That of `std` may own a text, which costs code to drop it wherever it goes by. It allocates
//! when it is printed, and its words depend on the C library.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. Shown as `EPERM (not permitted)`, or `errno 123` for one that the table
/// lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error(i32);

impl Error {
    /// A right is missing.
    pub const REFUSED: Error = Error(libc::EPERM);
    /// The process is not there.
    pub const GONE: Error = Error(libc::ESRCH);
    /// A file took only a part.
    pub const NO_SPACE: Error = Error(libc::ENOSPC);
    /// The call would have to wait.
    pub const FOR_LATER: Error = Error(libc::EAGAIN);
    pub const INVALID: Error = Error(libc::EINVAL);
    /// The reader of a pipe has gone.
    pub const BROKEN_PIPE: Error = Error(libc::EPIPE);

    pub const fn of(number: i32) -> Error {
        Error(number)
    }

    /// Of the call that has just failed.
    pub(super) fn last() -> Error {
        Error(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    pub const fn number(self) -> i32 {
        self.0
    }

    /// The process is not there (any more): it has no directory in `/proc` (ENOENT), or it
    /// went between opening and reading (ESRCH).
    pub fn is_gone(self) -> bool {
        matches!(self.0, libc::ENOENT | libc::ESRCH)
    }

    pub fn is_not_permitted(self) -> bool {
        matches!(self.0, libc::EPERM | libc::EACCES)
    }

    /// By a signal.
    pub fn is_interrupted(self) -> bool {
        self.0 == libc::EINTR
    }

    /// The call would have had to wait, or the kernel is short of something for now.
    pub fn is_for_later(self) -> bool {
        matches!(self.0, libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)
    }

    /// There were no descriptors or no memory for it: it says nothing of the file.
    pub fn is_shortage(self) -> bool {
        matches!(self.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    }

    /// The kernel has no such file, or it is turned off.
    pub fn is_not_offered(self) -> bool {
        matches!(self.0, libc::ENOENT | libc::EOPNOTSUPP)
    }

    /// The kernel knows no such call: too old, or a filter (seccomp) answers in its place,
    /// usually with EPERM.
    pub fn is_missing_call(self) -> bool {
        matches!(self.0, libc::ENOSYS | libc::EPERM | libc::EINVAL)
    }
}

/// The result, or `None` if the kernel does not have what was asked for.
pub fn if_offered<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.is_not_offered() => Ok(None),
        result => result.map(Some),
    }
}

/// The errors that the calls of this program are documented to give.
const NAMES: [(i32, &str); 33] = [
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
    (libc::ECONNABORTED, "ECONNABORTED (connection broken off)"),
    (libc::EPROTOTYPE, "EPROTOTYPE (a socket of another kind)"),
    (libc::ELOOP, "ELOOP (a link)"),
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(errno, _)| *errno == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_have_names_and_others_a_number() {
        let shown = |errno| Error(errno).to_string();
        assert_eq!(shown(libc::EPERM), "EPERM (not permitted)");
        assert_eq!(shown(4095), "errno 4095");
    }
}
