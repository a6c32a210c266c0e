//! Hogs that come back: whose child each victim was, so that who starts a new one after each
//! victim can be told from who has started many at once.
//!
//! Pure. Times are in ticks since boot, as processes start (`clock::ticks`).

use crate::sys::clock::HZ;
use crate::units::{Identity, Pid};

/// So many victims in that time, each started after the one before had ended: with the next one
/// its parent goes, too.
pub const VICTIMS: usize = 3;
pub const SECONDS: u64 = 30;
/// An end is noticed late where processors are taken, and the next one may be started before.
const LATE: u64 = HZ / 2;
/// Parents to keep in mind: with cooldown and credit there are hardly more victims in that time.
const PARENTS: usize = 8;

/// The ends of victims under one parent that came one after the other, the last one last.
#[derive(Clone, Copy)]
struct Series {
    parent: Identity,
    ends: [u64; VICTIMS],
    count: u32,
}

const NONE: Series =
    Series { parent: Identity { pid: Pid::INIT, start: u64::MAX }, ends: [0; VICTIMS], count: 0 };

/// A victim that has not ended yet.
struct Flight {
    victim: Identity,
    parent: Identity,
    signalled: u64,
}

pub struct Respawns {
    series: [Series; PARENTS],
    flight: Option<Flight>,
}

impl Default for Respawns {
    fn default() -> Respawns {
        Respawns { series: [NONE; PARENTS], flight: None }
    }
}

impl Respawns {
    /// Low memory has made a victim of a child of `parent`.
    pub fn signalled(&mut self, victim: Identity, parent: Option<Identity>, now: u64) {
        self.flight = parent.map(|parent| Flight { victim, parent, signalled: now });
    }

    /// Its end was noticed.
    pub fn ended(&mut self, victim: Identity, now: u64) {
        if let Some(flight) = self.flight.take().filter(|flight| flight.victim == victim) {
            let ended = now.saturating_sub(LATE).max(flight.signalled);
            self.note(flight.parent, victim.start, ended);
        }
    }

    /// A victim under `parent` that was started at `start` has ended at `end`. One that was there
    /// already when the last one ended was not started for it, and says nothing.
    #[inline(never)]
    pub fn note(&mut self, parent: Identity, start: u64, end: u64) {
        let known = self.series.iter_mut().find(|series| series.parent == parent);
        if let Some(series) = known {
            if series.last() <= start || series.last() + SECONDS * HZ < end {
                series.ends.rotate_left(1);
                series.ends[VICTIMS - 1] = end;
                series.count += 1;
            }
            return;
        }
        let oldest = self.series.iter_mut().min_by_key(|series| series.last());
        if let Some(oldest) = oldest {
            *oldest = Series { parent, ends: [0, 0, end], count: 1 };
        }
    }

    /// Whether a child of `parent` that was started at `start` is one too many: then when the
    /// first of those before it ended.
    #[inline(never)]
    pub fn is_due(&self, parent: Identity, start: u64, now: u64) -> Option<u64> {
        let mut due = self.series.iter().filter(|series| {
            series.parent == parent
                && series.count as usize >= VICTIMS
                && series.last() <= start
                && now.saturating_sub(series.ends[0]) <= SECONDS * HZ
        });
        due.next().map(|series| series.ends[0])
    }
}

impl Series {
    fn last(&self) -> u64 {
        self.ends[VICTIMS - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: i64, start: u64) -> Identity {
        Identity { pid: Pid::new(pid).unwrap(), start }
    }

    const PARENT: i64 = 50;

    /// Victims with start and end in seconds, in the order of their ends.
    fn after(victims: &[(u64, u64)]) -> Respawns {
        let mut respawns = Respawns::default();
        for (number, &(start, end)) in victims.iter().enumerate() {
            let victim = id(100 + number as i64, start * HZ);
            respawns.signalled(victim, Some(id(PARENT, 1)), end * HZ);
            respawns.ended(victim, end * HZ);
        }
        respawns
    }

    fn is_due(respawns: &Respawns, start: u64) -> bool {
        respawns.is_due(id(PARENT, 1), start * HZ, start * HZ + HZ).is_some()
    }

    #[test]
    fn a_new_hog_after_each_of_three_victims_is_one_too_many() {
        let victims = [(100, 103), (103, 106), (106, 109)];
        assert!(is_due(&after(&victims), 109));
        assert!(!is_due(&after(&victims[1..]), 109), "two only");
        let respawns = after(&victims);
        assert_eq!(respawns.is_due(id(PARENT, 2), 109 * HZ, 110 * HZ), None, "another process");
        assert!(!is_due(&respawns, 108), "it was there before the last one had ended");
    }

    #[test]
    fn many_that_were_started_at_once_are_no_respawn() {
        let many: Vec<_> = (0..20).map(|number| (100, 101 + number)).collect();
        let respawns = after(&many);
        assert!((100..140).all(|start| !is_due(&respawns, start)));
    }

    #[test]
    fn one_that_was_there_all_the_time_does_not_hide_those_that_come_back() {
        assert!(is_due(&after(&[(100, 103), (103, 106), (90, 107), (106, 109)]), 109));
    }

    #[test]
    fn slow_ones_are_none() {
        assert!(is_due(&after(&[(80, 100), (100, 115), (115, 129)]), 129));
        assert!(!is_due(&after(&[(80, 100), (100, 115), (115, 131)]), 131));
    }

    #[test]
    fn an_old_series_does_not_hide_a_new_one() {
        // A hog that was there all the time, and ended long after the others.
        let victims = [(10, 20), (15, 100), (100, 103), (103, 106)];
        assert!(is_due(&after(&victims), 106));
    }

    #[test]
    fn an_end_that_is_noticed_late_counts() {
        let mut respawns = after(&[(100, 103), (103, 106)]);
        let victim = id(200, 106 * HZ);
        respawns.signalled(victim, Some(id(PARENT, 1)), 109 * HZ - 40);
        respawns.ended(victim, 109 * HZ);
        // It was started when the third one ended, which was noticed 30 ms later.
        assert!(respawns.is_due(id(PARENT, 1), 109 * HZ - 3, 110 * HZ).is_some());
    }

    #[test]
    fn the_end_of_another_process_counts_for_nobody() {
        let mut respawns = after(&[(100, 103), (103, 106)]);
        respawns.signalled(id(200, 106 * HZ), Some(id(PARENT, 1)), 109 * HZ);
        respawns.ended(id(200, 107 * HZ), 109 * HZ);
        assert!(!is_due(&respawns, 109));
    }

    #[test]
    fn more_parents_than_places_push_the_oldest_out() {
        let mut respawns = after(&[(100, 103), (103, 106), (106, 109)]);
        for other in 0..PARENTS as i64 {
            respawns.note(id(1000 + other, 1), 100 * HZ, 110 * HZ);
        }
        assert!(!is_due(&respawns, 109));
    }
}
