//! What an observer has to say, and its words.

use crate::bytes::Escaped;
use crate::memory::Memory;
use crate::procfs::cgroup::{Cgroup, Standing};
use crate::sys::io;
use crate::units::Percent;
use std::fmt;

/// Something to be said once; its text is shown.
pub enum News<'a> {
    /// Another memory counts than before.
    Bounds(Bounds<'a>),
    /// The named cgroup tells of no stalls.
    NoStallsOf(&'a Cgroup, io::Error),
    /// The kernel tells of no stalls at all, so that none is acted on.
    NoStalls(io::Error),
    /// Such a stall does not count.
    StallOfLimit(Percent),
}

/// What becomes `News`.
#[derive(Default)]
pub struct Untold {
    pub standing: Option<Standing>,
    pub no_stalls_of_cgroup: Option<io::Error>,
    pub no_stalls: Option<io::Error>,
    pub of_limit: Option<Percent>,
}

impl Untold {
    pub fn next<'a>(&mut self, cgroup: Option<&'a Cgroup>) -> Option<News<'a>> {
        if let Some(cgroup) = cgroup {
            if let Some(error) = self.no_stalls_of_cgroup.take() {
                return Some(News::NoStallsOf(cgroup, error));
            }
            if let Some(standing) = self.standing.take() {
                return Some(News::Bounds(Bounds { cgroup, standing }));
            }
        }
        if let Some(error) = self.no_stalls.take() {
            return Some(News::NoStalls(error));
        }
        self.of_limit.take().map(News::StallOfLimit)
    }
}

impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Bounds(bounds) => bounds.fmt(f),
            News::NoStallsOf(cgroup, error) => write!(
                f,
                "cgroup {} tells of no stalls ({error}): those of the machine count",
                Escaped(cgroup.path())
            ),
            News::NoStalls(error) => write!(
                f,
                "no pressure information ({error}): stalls are not noticed; psi=1 on the kernel's \
                 command line may turn it on"
            ),
            News::StallOfLimit(share) => {
                write!(f, "a stall of {share}% is that of a cgroup's limit")
            }
        }
    }
}

/// Which cgroup counts in place of the machine, or why it does not.
pub struct Bounds<'a> {
    cgroup: &'a Cgroup,
    standing: Standing,
}

impl<'a> Bounds<'a> {
    pub fn of(cgroup: Option<&'a Cgroup>, memory: &Memory) -> Option<Bounds<'a>> {
        cgroup.map(|cgroup| Bounds { cgroup, standing: cgroup.standing(memory) })
    }

    /// It was asked for and does not count. (A container without a limit is nothing special.)
    pub fn is_doubtful(&self) -> bool {
        self.cgroup.is_named() && !matches!(self.standing, Standing::Limited(_))
    }
}

impl fmt::Display for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Escaped(self.cgroup.path());
        match self.standing {
            Standing::Limited(limit) => write!(
                f,
                "memory limit of cgroup {path}: {} MiB counts as the machine's memory",
                limit.mib()
            ),
            Standing::Unlimited => {
                write!(f, "cgroup {path} has no memory limit now, so the machine's memory counts")
            }
            Standing::Absent => write!(
                f,
                "--cgroup: {path}: there is no such cgroup with the memory controller now, so no \
                 process is a candidate"
            ),
        }
    }
}
