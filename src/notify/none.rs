//! In place of the room in a build without the feature `dbus-notify`, for a smaller
//! binary: no user is told anything.

use crate::procfs::Proc;

// Built, and never read.
#[allow(dead_code)]
pub struct News<'a> {
    pub summary: &'a [u8],
    pub body: &'a [u8],
    pub body_for_owner: &'a [u8],
    pub owner: Option<u32>,
}

pub fn tell(_: &mut Proc, _: &News<'_>) -> u32 {
    0
}

/// No process is started for it: `--low-memory-signal` is refused.
pub mod low_memory {
    use std::fmt;
    use std::os::fd::BorrowedFd;

    pub enum News {}

    impl News {
        pub fn is_trouble(&self) -> bool {
            match *self {}
        }
    }

    impl fmt::Display for News {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }

    pub fn serve(_: BorrowedFd<'_>, _: &mut dyn FnMut(News)) {}

    pub fn try_system_bus() -> Result<(), &'static str> {
        Ok(())
    }
}
