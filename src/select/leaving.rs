//! Processes that exit by themselves. While their memory comes back no other needs to be killed.

use super::recent::Recent;
use super::rules::Rules;
use crate::procfs::Proc;
use crate::units::{Identity, Pid};

/// The last processes met that show no memory: kernel threads, and what is exiting. More than the
/// kernel threads of most machines. If there are more of them, these have the lower numbers as a
/// rule, and are met first.
pub type Empty = Recent<Pid, 256>;

/// A process that exits by itself and whose memory may be on its way back: its memory does not show
/// any more while the kernel takes it (`exit_mm` in kernel/exit.c). Costs a file of each
/// of the `empty` ones.
pub fn leaving(proc: &mut Proc, rules: &Rules<'_>, empty: &Empty) -> Option<Identity> {
    empty.kept().iter().find_map(|&pid| {
        let stat = &proc.stat_with_threads(pid).ok()?;
        let leaves = (stat.is_leaving() || stat.is_ended()) && stat.rss_pages == 0;
        let may_be = leaves && rules.check_stat(stat).is_ok();
        (may_be && rules.is_within(proc, stat)).then_some(stat.id)
    })
}
