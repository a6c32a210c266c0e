//! What all processes together hold, for when the candidates seem to hold too little.

use super::candidate::Protection;
use super::rules::Rules;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::KiB;

/// Closing one of the three largest is usually enough.
const SHOWN: usize = 3;

/// RSS plus swap.
#[derive(Default)]
pub struct Holders {
    /// Of all processes that may be killed.
    pub eligible: KiB,
    /// The largest of these, the first one first.
    pub largest: [Option<(Stat, KiB)>; SHOWN],
    /// The largest that must not be.
    pub protected: Option<(Stat, Protection, KiB)>,
}

impl Holders {
    /// What the largest holds.
    pub fn most(&self) -> KiB {
        self.largest[0].as_ref().map_or(KiB::ZERO, |&(_, size)| size)
    }

    fn add(&mut self, stat: Stat, size: KiB) {
        self.eligible = self.eligible.plus(size);
        let mut next = Some((stat, size));
        for place in &mut self.largest {
            let has = |of: &Option<(Stat, KiB)>| of.as_ref().map(|&(_, size)| size);
            if has(&next) > has(place) {
                std::mem::swap(&mut next, place);
            }
        }
    }
}

/// Looks at every process as long as that `goes_on`. Costs two files of each and more.
pub fn holders(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    goes_on: &mut dyn FnMut(&mut Proc) -> bool,
) -> io::Result<Holders> {
    let mut all = Holders::default();
    proc.for_each(|proc, pid| {
        if !goes_on(proc) {
            return;
        }
        let Ok(stat) = proc.stat_with_threads(pid) else { return };
        let Ok(status) = proc.status(&stat) else { return };
        let size = status.rss.plus(status.swap);
        if size == KiB::ZERO {
            return;
        }
        match rules.protection(proc, &stat) {
            None => all.add(stat, size),
            Some(why) if all.protected.as_ref().map_or(true, |&(.., most)| size > most) => {
                all.protected = Some((stat, why, size));
            }
            Some(_) => {}
        }
    })?;
    Ok(all)
}
