//! What an observer has to say, and its words.

use crate::bytes::Shortened;
use crate::memory::Memory;
use crate::procfs::cgroup::{Cgroup, Standing};
use crate::sys::io;
use crate::units::{Moment, Percent};
use std::fmt;
use std::time::Duration;

/// Something to be said once; its text is shown.
pub enum News<'a> {
    /// Another memory counts than before.
    Bounds(Bounds<'a>),
    /// The named cgroup tells of no stalls.
    NoStallsOf(&'a Cgroup, io::Error),
    /// Nothing tells of stalls, so that none is acted on.
    NoStalls(io::Error),
    /// Nothing tells of waiting for disks.
    NoDisks(io::Error),
    /// Stalls are told again.
    StallsAgain,
    /// Whether a stall is that of the machine cannot be told.
    NoScans(io::Error),
    /// Such a stall does not count.
    StallOfLimit(Percent),
}

/// What becomes `News`.
#[derive(Default)]
pub struct Untold {
    pub standing: Option<Standing>,
    pub no_stalls_of_cgroup: Option<io::Error>,
    pub no_stalls: Option<io::Error>,
    pub no_disks: Option<io::Error>,
    pub stalls_again: bool,
    pub no_scans: Option<io::Error>,
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
        if let Some(error) = self.no_disks.take() {
            return Some(News::NoDisks(error));
        }
        if std::mem::take(&mut self.stalls_again) {
            return Some(News::StallsAgain);
        }
        if let Some(error) = self.no_scans.take() {
            return Some(News::NoScans(error));
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
                Shortened(cgroup.path())
            ),
            News::NoStalls(error) => {
                write!(f, "no pressure information ({error}): stalls are not noticed")?;
                match error.is_not_offered() {
                    true => f.write_str("; psi=1 on the kernel's command line may turn it on"),
                    false => Ok(()),
                }
            }
            News::NoDisks(error) => write!(
                f,
                "no pressure information of disks ({error}): waiting for memory alone is a stall"
            ),
            News::StallsAgain => f.write_str("pressure information is back: stalls are noticed"),
            News::NoScans(error) => write!(
                f,
                "cannot read /proc/vmstat ({error}): the stall of a cgroup at its limit counts as \
                 the machine's"
            ),
            News::StallOfLimit(share) => {
                write!(f, "a stall of {share}% is that of a cgroup's limit")
            }
        }
    }
}

/// What lasts is said at once, and then so often.
const REMIND: Duration = Duration::from_secs(60);

/// When that is to be said next.
#[derive(Default)]
pub struct Reminder {
    next: Option<Moment>,
}

impl Reminder {
    /// Whether it is to be said now.
    pub fn is_due(&mut self, now: Moment) -> bool {
        let is_due = self.next.map_or(true, |next| now >= next);
        if is_due {
            self.next = Some(now.after(REMIND));
        }
        is_due
    }

    /// It is over. True if it was said.
    pub fn end(&mut self) -> bool {
        self.next.take().is_some()
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
        let path = Shortened(self.cgroup.path());
        match self.standing {
            Standing::Limited(limit) => write!(
                f,
                "memory limit of cgroup {path}: {} MiB counts as the machine's memory",
                limit.mib()
            ),
            Standing::Unlimited => {
                write!(f, "cgroup {path} has no memory limit now, so the machine's memory counts")
            }
            Standing::Absent if !self.cgroup.is_named() => {
                write!(f, "cgroup {path} cannot be read now, so the machine's memory counts")
            }
            Standing::Absent => write!(
                f,
                "--cgroup: {path}: there is no such cgroup with the memory controller now, so no \
                 process is a candidate"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::Fixture;
    use crate::units;

    #[test]
    fn what_lasts_is_said_at_once_and_then_every_minute() {
        let (mut reminder, at) = (Reminder::default(), |second| Moment(second * 1_000_000_000));
        let mut said_from_to = |from, to| -> Vec<u64> {
            (from..to).filter(|&second| reminder.is_due(at(second))).collect()
        };
        assert_eq!(said_from_to(5, 150), [5, 65, 125]);
        assert!(reminder.end());
        assert!(!reminder.end());
        assert!(reminder.is_due(at(150)));
    }

    #[test]
    fn the_path_of_a_cgroup_leaves_room_for_what_is_said_of_it() {
        let path = units::Path::of(format!("/{}", "\x01".repeat(1000)).as_bytes());
        let cgroup = Cgroup::find(&mut Fixture::new().open(), Some(&path));
        let said = Bounds::of(cgroup.as_ref(), &Memory::default()).unwrap().to_string();
        assert!(said.len() < 350 && said.ends_with("no process is a candidate"), "{said}");
    }

    #[test]
    fn only_a_kernel_without_pressure_information_gets_the_advice_to_turn_it_on() {
        let advice = |errno| News::NoStalls(io::Error::of(errno)).to_string().contains("psi=1");
        // ENOENT, EOPNOTSUPP; EMFILE, EACCES, ENOTCONN.
        assert!([2, 95].into_iter().all(advice));
        assert!(![24, 13, 107].into_iter().any(advice));
    }
}
