//! Processes that exit by themselves. While their memory comes back no other needs to be killed.

use super::rules::Rules;
use crate::procfs::Proc;
use crate::units::{Identity, Pid};

/// More than the kernel threads of most machines. Where there are more of them, these have the
/// lower numbers as a rule, and are met first.
const LEN: usize = 256;

/// The last processes met that show no memory, in any order: kernel threads, and what is exiting.
pub struct Empty {
    pids: [Pid; LEN],
    met: usize,
}

impl Empty {
    pub const fn new() -> Empty {
        Empty { pids: [Pid::INIT; LEN], met: 0 }
    }

    pub fn add(&mut self, pid: Pid) {
        self.pids[self.met % LEN] = pid;
        self.met += 1;
    }

    pub fn pids(&self) -> &[Pid] {
        &self.pids[..self.met.min(LEN)]
    }
}

/// A process that exits by itself and whose memory may be on its way back: its memory does not show
/// any more while the kernel takes it (`exit_mm` in kernel/exit.c). Costs a file of each
/// of the `empty` ones.
pub fn leaving(proc: &mut Proc, rules: &Rules<'_>, empty: &Empty) -> Option<Identity> {
    empty.pids().iter().find_map(|&pid| {
        let stat = &proc.stat_with_threads(pid).ok()?;
        let leaves = (stat.is_leaving() || stat.is_ended()) && stat.rss_pages == 0;
        let may_be = leaves && rules.check_stat(stat).is_ok();
        (may_be && rules.is_within(proc, stat)).then_some(stat.id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let mut empty = Empty::new();
        assert_eq!(empty.pids().len(), 0);
        let pid = |number| Pid::new(number).unwrap();
        (2..10).for_each(|number| empty.add(pid(number)));
        assert_eq!(empty.pids().len(), 8);
        (10..1000).for_each(|number| empty.add(pid(number)));
        assert_eq!(empty.pids().len(), LEN);
        assert_eq!(empty.pids().iter().min(), Some(&pid(1000 - LEN as i64)));
    }
}
