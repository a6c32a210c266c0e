//! What all processes together hold, for when the candidates seem to hold too little.

use super::candidate::Protection;
use super::rules::Rules;
use crate::memory::Memory;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::sys::{io, machine};
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

/// Looks at every process as long as `goes_on`, which sees what was found so far. Costs three files
/// of each.
pub fn holders(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    memory: &Memory,
    goes_on: &mut dyn FnMut(&mut Proc, &Holders) -> bool,
) -> io::Result<Holders> {
    let mut all = Holders::default();
    let has_swapped = memory.swap_used() > KiB::ZERO;
    proc.for_each(|proc, pid| {
        if !goes_on(proc, &all) {
            return;
        }
        let Ok(stat) = proc.stat(pid) else { return };
        if stat.is_kernel_thread() {
            return;
        }
        let Ok(size) = held_by(proc, &stat, has_swapped) else { return };
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

/// `stat` may show too little: of small ones by a third (`exact_resident_pages`).
fn held_by(proc: &mut Proc, stat: &Stat, has_swapped: bool) -> io::Result<KiB> {
    match has_swapped {
        true => proc.status(stat).map(|status| status.rss.plus(status.swap)),
        false => Ok(KiB::from_pages(proc.exact_resident_pages(stat)?, machine::page())),
    }
}
