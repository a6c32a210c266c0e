//! The file of `--stats-file`: written beside its place and renamed, so that a reader finds
//! a whole one always.

use super::message::Priority;
use super::outbox::Outboxes;
use crate::bytes::{Buf, Escaped};
use crate::procfs::Proc;
use crate::stats::{Page, Stats};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::sys::{machine, process};
use crate::units::{KiB, Path, Pid};
use std::fmt::Write;
use std::os::fd::AsFd;

/// Twice what all families take.
const PAGE: usize = 6 * 1024;
/// A path of the longest kind, and what is added to it.
type LongPath = Buf<1024>;

pub struct StatsFile<'a> {
    path: &'a Path,
    watch: Pid,
    /// To be written.
    pub waiting: Option<Stats>,
    in_trouble: bool,
}

impl<'a> StatsFile<'a> {
    pub fn new(path: &'a Path, watch: Pid) -> StatsFile<'a> {
        StatsFile { path, watch, waiting: None, in_trouble: false }
    }

    /// Writes the numbers that wait. Trouble is said when it begins.
    pub fn write(&mut self, proc: &mut Proc, out: &mut Outboxes<'_>) {
        let Some(stats) = &self.waiting.take() else { return };
        let mut resident = |pid| {
            let pages = proc.resident_pages(pid).ok()?;
            Some(KiB::from_pages(pages, machine::page()))
        };
        let resident = [resident(self.watch), resident(process::own_pid())];
        let stall = proc.stall_shares().ok();
        let mut page = Buf::<PAGE>::new();
        let _ = write!(page, "{}", Page { stats, resident, stall });
        let replaced = self.replace(page.as_bytes());
        if let (Err(error), false) = (replaced, self.in_trouble) {
            let path = Escaped(self.path.as_bytes());
            out.say(
                Priority::Warning,
                format_args!("warning: cannot write {path}: {error}; trying on"),
            );
        }
        self.in_trouble = replaced.is_err();
    }

    fn replace(&self, page: &[u8]) -> io::Result<()> {
        // Collectors read `*.prom`: this one does not end so.
        let mut beside = LongPath::from_bytes(self.path.as_bytes());
        beside.push(b".tmp\0");
        // What is left of an earlier try, or what others have put there.
        let _ = fd::remove(beside.as_bytes());
        let file = fd::open(beside.as_bytes(), Access::Create)?;
        fd::let_all_read(file.as_fd())?;
        if fd::write(file.as_fd(), page)? < page.len() {
            return Err(io::Error::NO_SPACE);
        }
        fd::rename(beside.as_bytes(), self.path.terminated())
    }
}
