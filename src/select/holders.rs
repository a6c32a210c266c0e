//! What all processes together hold, for when the candidates seem to hold too little.

use super::candidate::Protection;
use super::rules::Rules;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::KiB;

/// RSS plus swap.
#[derive(Default)]
pub struct Holders {
    /// Of all processes that may be killed.
    pub eligible: KiB,
    /// Of the largest of these.
    pub largest: KiB,
    /// The largest that must not be.
    pub protected: Option<(Stat, Protection, KiB)>,
}

/// Looks at every process. Costs two files of each and more.
pub fn holders(proc: &mut Proc, rules: &mut Rules<'_>) -> io::Result<Holders> {
    let mut all = Holders::default();
    proc.for_each(|proc, pid| {
        let Ok(stat) = proc.stat_with_threads(pid) else { return };
        let Ok(status) = proc.status(&stat) else { return };
        let size = status.rss.plus(status.swap);
        if size == KiB::ZERO {
            return;
        }
        match rules.protection(proc, &stat) {
            None => {
                (all.eligible, all.largest) = (all.eligible.plus(size), all.largest.max(size));
            }
            Some(why) if all.protected.as_ref().map_or(true, |&(.., most)| size > most) => {
                all.protected = Some((stat, why, size));
            }
            Some(_) => {}
        }
    })?;
    Ok(all)
}
