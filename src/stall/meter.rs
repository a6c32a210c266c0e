//! How much of the last seconds was lost to waiting, told from a counter that is read now and
//! then.
//!
//! Pure: the counter is read elsewhere.

use crate::units::{mul_div, Moment, Percent};
use std::time::Duration;

/// What is kept of one window. The share is right to a sixteenth of the window's edge, which
/// is far less than the kernel's own averages blur it.
const MARKS: usize = 16;

/// The counter at a moment: microseconds in which tasks waited.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: Moment,
    total: u64,
}

#[derive(Default)]
pub struct Meter {
    /// Rising; the first `len` are there.
    marks: [Mark; MARKS + 2],
    len: usize,
}

impl Meter {
    /// What was is forgotten: the next reading is the first one.
    pub fn restart(&mut self) {
        self.len = 0;
    }

    /// The share of the `window` before `now` that was lost, if the counter stands at `total`.
    /// What lies before the first reading counts as nothing.
    pub fn share(&mut self, now: Moment, total: u64, window: Duration) -> Percent {
        let now = Mark { at: now, total };
        let begin = Moment(now.at.0.saturating_sub(window.as_nanos() as u64));
        // Of those before the window, one is enough.
        let before = self.marks[..self.len].iter().filter(|mark| mark.at <= begin).count();
        if before > 1 {
            self.marks.copy_within(before - 1..self.len, 0);
            self.len -= before - 1;
        }
        let first = self.marks[0];
        let lost = match self.len {
            0 => 0,
            _ if first.at >= begin => total.saturating_sub(first.total),
            // The window begins between two marks: of what was lost there, its part.
            len => {
                let next = if len > 1 { self.marks[1] } else { now };
                let between = next.total.saturating_sub(first.total);
                let part = mul_div(between, next.at.0 - begin.0, next.at.0 - first.at.0);
                total.saturating_sub(next.total).saturating_add(part)
            }
        };
        self.keep(now, window);
        Percent::of_time(Duration::from_micros(lost), window)
    }

    /// Marks closer than a sixteenth of the window say no more than their neighbours.
    fn keep(&mut self, now: Mark, window: Duration) {
        let last = self.len.checked_sub(1).map(|last| self.marks[last].at);
        let close = last.is_some_and(|last| now.at.since(last) < window / MARKS as u32);
        if !close && self.len < self.marks.len() {
            self.marks[self.len] = now;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    #[test]
    fn a_steady_stall_is_its_share() {
        let mut meter = Meter::default();
        for millis in (0..=20_000).step_by(10) {
            let share = meter.share(at(millis), 7 + millis * 250, WINDOW);
            let lost = Duration::from_micros(millis.min(5000) * 250);
            assert_eq!(share, Percent::of_time(lost, WINDOW), "{millis}");
        }
    }

    #[test]
    fn what_was_before_the_first_reading_or_a_restart_does_not_count() {
        let mut meter = Meter::default();
        assert_eq!(meter.share(at(1000), 9_000_000, WINDOW), Percent::default());
        assert_eq!(meter.share(at(2000), 10_000_000, WINDOW), Percent::whole(20));
        meter.restart();
        assert_eq!(meter.share(at(2001), 10_000_000, WINDOW), Percent::default());
        assert_eq!(meter.share(at(2501), 10_500_000, WINDOW), Percent::whole(10));
    }

    #[test]
    fn a_reading_right_after_a_restart_is_what_later_ones_count_from() {
        let mut meter = Meter::default();
        assert_eq!(meter.share(at(0), 5_000_000, WINDOW), Percent::default());
        assert_eq!(meter.share(at(1000), 6_000_000, WINDOW), Percent::whole(20));
        // Too close to the one before to be kept for itself.
        assert_eq!(meter.share(at(1001), 6_500_000, WINDOW), Percent::whole(30));
        meter.restart();
        assert_eq!(meter.share(at(1001), 6_500_000, WINDOW), Percent::default());
        assert_eq!(meter.share(at(2000), 7_000_000, WINDOW), Percent::whole(10));
    }

    #[test]
    fn of_a_long_time_without_a_reading_only_its_part_counts() {
        let mut meter = Meter::default();
        meter.share(at(0), 0, WINDOW);
        assert_eq!(meter.share(at(10_000), 1_000_000, WINDOW), Percent::whole(10));
    }

    #[test]
    fn what_is_over_drops_out() {
        let mut meter = Meter::default();
        meter.share(at(0), 0, WINDOW);
        assert_eq!(meter.share(at(1000), 1_000_000, WINDOW), Percent::whole(20));
        assert_eq!(meter.share(at(5000), 1_000_000, WINDOW), Percent::whole(20));
        assert_eq!(meter.share(at(5500), 1_000_000, WINDOW), Percent::whole(10));
        assert_eq!(meter.share(at(6500), 1_000_000, WINDOW), Percent::default());
        // A counter that starts anew loses nothing but time.
        assert_eq!(meter.share(at(6600), 5, WINDOW), Percent::default());
    }

    #[test]
    fn a_stall_is_never_more_than_everything() {
        let mut meter = Meter::default();
        meter.share(at(0), 0, WINDOW);
        assert_eq!(meter.share(at(1000), u64::MAX, WINDOW), Percent::HUNDRED);
    }
}
