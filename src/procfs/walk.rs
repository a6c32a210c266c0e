//! The walk over the numbers of all processes, and of all descriptors of one.

use super::{process_path, Proc};
use crate::bytes::{self, Parts};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::Pid;
use std::os::fd::AsFd;

/// Room for about 170 entries of `/proc` (24 bytes each) in one call; a larger buffer
/// saves too little to measure, since the kernel's work is by entry.
const ENTRIES: usize = 4096;
/// The same for the descriptors of one process: about 40, as many as most have.
const DESCRIPTORS: usize = 1024;

/// Where the name begins in `struct linux_dirent64`, behind inode, offset, length and
/// type (getdents64(2)), and where its length stands.
const NAME: usize = 19;
const LENGTH: std::ops::Range<usize> = 16..18;

impl Proc {
    /// Calls `visit` with each process's number. Processes that come or go during the
    /// walk may be missing; the kernel lists by rising number.
    pub fn for_each(&mut self, mut visit: impl FnMut(&mut Proc, Pid)) -> io::Result<()> {
        self.walk(&mut visit)
    }

    fn walk(&mut self, visit: &mut dyn FnMut(&mut Proc, Pid)) -> io::Result<()> {
        fd::rewind(self.root.as_fd())?;
        let mut buf = [0; ENTRIES];
        loop {
            let len = fd::read_entries(self.root.as_fd(), &mut buf)?;
            if len == 0 {
                return Ok(());
            }
            for pid in pids(&buf[..len]) {
                visit(self, pid);
            }
        }
    }

    /// The number of one living thread of `pid` besides its leader, if there is any.
    pub fn other_thread(&self, pid: Pid) -> Option<Pid> {
        let tasks = self.open_at(process_path(pid, "task"), Access::Directory).ok()?;
        // The leader comes first, so the first buffer always holds another, if any.
        let mut buf = [0; 256];
        let len = fd::read_entries(tasks.as_fd(), &mut buf).ok()?;
        let mut threads = pids(&buf[..len]);
        threads.find(|&tid| tid != pid)
    }

    /// Calls `visit` with the number of each descriptor of a process. EACCES without the right to
    /// trace it (ptrace(2)).
    pub(super) fn for_each_descriptor(
        &mut self,
        pid: Pid,
        visit: &mut dyn FnMut(&mut Proc, u32),
    ) -> io::Result<()> {
        let files = self.open_at(process_path(pid, "fd"), Access::Directory)?;
        let mut buf = [0; DESCRIPTORS];
        loop {
            let len = fd::read_entries(files.as_fd(), &mut buf)?;
            if len == 0 {
                return Ok(());
            }
            for number in Numbers(&buf[..len]).filter_map(|number| u32::try_from(number).ok()) {
                visit(self, number);
            }
        }
    }
}

/// The processes among the entries.
fn pids(entries: &[u8]) -> impl Iterator<Item = Pid> + '_ {
    Numbers(entries).filter_map(Pid::new)
}

/// The entries of which the whole name is a number.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            let length = self.0.get(LENGTH)?;
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let name = Parts { rest: self.0.get(NAME..length)?, last: 0 }.next();
            self.0 = &self.0[length..];
            let number = name.and_then(bytes::parse_i64);
            if number.is_some() {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn only_numbers_are_processes() {
        let fixture = Fixture::new();
        for name in ["1", "42", "4194304", "self", "12a", "meminfo", "99999999999"] {
            fixture.write(&format!("{name}/x"), "");
        }
        let mut found = Vec::new();
        fixture.open().for_each(|_, pid| found.push(pid.number())).unwrap();
        found.sort();
        assert_eq!(found, [1, 42, 4194304]);
    }

    #[test]
    fn the_walk_crosses_buffers_and_can_be_repeated() {
        let fixture = Fixture::new();
        (1..=1000).for_each(|pid| fixture.write(&format!("{pid}/x"), ""));
        let mut proc = fixture.open();
        for _ in 0..2 {
            let mut count = 0;
            proc.for_each(|_, _| count += 1).unwrap();
            assert_eq!(count, 1000);
        }
    }

    #[test]
    fn broken_entries_end_the_list_instead_of_crashing() {
        assert_eq!(pids(&[]).count(), 0);
        assert_eq!(pids(&[0; 17]).count(), 0);
        assert_eq!(pids(&[0; 64]).count(), 0);
        assert_eq!(pids(&[255; 64]).count(), 0);
    }
}
