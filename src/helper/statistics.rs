//! The file of `--stats-file`: written beside its place and renamed, so that a reader finds
//! a whole one always.

use super::message::{line, Line};
use crate::bytes::{Buf, Escaped};
use crate::procfs::Proc;
use crate::stats::{Page, Stats};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::sys::{errno, machine, process};
use crate::units::{KiB, Path, Pid};
use std::fmt::Write;
use std::os::fd::AsFd;

/// Three times what all families take.
const PAGE: usize = 6 * 1024;
/// A path of the longest kind, and what is added to it.
type LongPath = Buf<1024>;

pub struct StatsFile<'a> {
    path: &'a Path,
    watch: Pid,
    in_trouble: bool,
}

impl<'a> StatsFile<'a> {
    pub fn new(path: &'a Path, watch: Pid) -> StatsFile<'a> {
        StatsFile { path, watch, in_trouble: false }
    }

    /// The error is one where trouble begins, and to be told.
    pub fn write(&mut self, stats: &Stats, proc: &mut Proc) -> io::Result<()> {
        let mut resident = |pid| {
            let pages = proc.resident_pages(pid).ok()?;
            Some(KiB::from_pages(pages, machine::page()))
        };
        let resident = [resident(self.watch), resident(process::own_pid())];
        let stall = proc.stall_shares().ok();
        let mut page = Buf::<PAGE>::new();
        let _ = write!(page, "{}", Page { stats, resident, stall });
        let replaced = self.replace(page.as_bytes());
        let was_in_trouble = std::mem::replace(&mut self.in_trouble, replaced.is_err());
        if was_in_trouble {
            return Ok(());
        }
        replaced
    }

    fn replace(&self, page: &[u8]) -> io::Result<()> {
        // Collectors read `*.prom`: this one does not end so.
        let mut beside = LongPath::from_bytes(self.path.as_bytes());
        beside.push(b".tmp\0");
        // What is left of an earlier try, or what others have put there.
        let _ = fd::remove(beside.as_bytes());
        let file = fd::open_bytes(beside.as_bytes(), Access::Create)?;
        fd::let_all_read(file.as_fd())?;
        if fd::write(file.as_fd(), page)? < page.len() {
            return Err(errno::no_space());
        }
        fd::rename(beside.as_bytes(), self.path.terminated())
    }

    pub fn trouble(&self, error: io::Error) -> Line {
        let path = Escaped(self.path.as_bytes());
        line(format_args!("warning: cannot write {path}: {error}; trying on"))
    }
}
