//! The only room with `libc` and `unsafe`: small safe functions over the system calls
//! that the guard needs.
//!
//! -1 becomes an error in `check`, and an interrupted call is made again in
//! `retry`; no other place decides either. Never words a message, never decides.

#![allow(unsafe_code)]

pub mod arena;
pub mod clock;
pub mod fd;
pub mod io;
pub mod machine;
mod maps;
pub mod memory;
pub mod process;
pub mod signal;
pub mod socket;

use std::ffi::CStr;

/// The one place where -1 becomes an error.
fn check(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last())
}

/// The one policy for EINTR: make the call again. Waiting with a timeout does not go
/// through here; it returns early instead.
fn retry(call: impl Fn() -> libc::c_long) -> io::Result<usize> {
    loop {
        match check(call()) {
            Err(error) if error == io::Error::of(libc::EINTR) => continue,
            result => return result,
        }
    }
}

/// `path` as the kernel takes it. All paths come here with their one NUL at the end; EINVAL for
/// one that has none, as a path that was cut.
fn terminated(path: &[u8]) -> io::Result<&CStr> {
    CStr::from_bytes_with_nul(path).map_err(|_| io::Error::of(libc::EINVAL))
}
