//! The few processes that stand out, as they are met.

use crate::units::Pid;

/// If all processes are alike no list is long enough; this covers the few that stand out.
pub const LEN: usize = 64;

/// The highest marks met, in falling order. Of equals the one met last goes first: it is usually the
/// youngest.
pub struct Shortlist {
    entries: [(u64, Pid); LEN],
    len: usize,
    /// The highest mark that found no place.
    dropped: Option<u64>,
}

impl Shortlist {
    pub fn new() -> Shortlist {
        Shortlist { entries: [(0, Pid::INIT); LEN], len: 0, dropped: None }
    }

    pub fn add(&mut self, mark: u64, pid: Pid) {
        if self.len == LEN {
            let lowest = self.entries[LEN - 1].0;
            self.dropped = self.dropped.max(Some(lowest.min(mark)));
            if mark < lowest {
                return;
            }
            self.len -= 1;
        }
        let mut at = self.len;
        while at > 0 && self.entries[at - 1].0 <= mark {
            self.entries[at] = self.entries[at - 1];
            at -= 1;
        }
        self.entries[at] = (mark, pid);
        self.len += 1;
    }

    pub fn entries(&self) -> &[(u64, Pid)] {
        &self.entries[..self.len]
    }

    /// The highest mark that found no place, if there was not room for all.
    pub fn dropped(&self) -> Option<u64> {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortlist_keeps_the_highest_and_tells_what_it_dropped() {
        let mut list = Shortlist::new();
        let pid = |number: i64| Pid::new(number).unwrap();
        (1..=64).for_each(|score| list.add(score, pid(1)));
        assert_eq!(list.dropped(), None);
        list.add(100, pid(2));
        assert_eq!((list.entries()[0], list.dropped()), ((100, pid(2)), Some(1)));
        list.add(2, pid(3));
        assert_eq!(list.dropped(), Some(2));
        assert_eq!(list.entries()[LEN - 1], (2, pid(3)));
        list.add(1, pid(4));
        assert_eq!(list.entries()[LEN - 1], (2, pid(3)));
        assert_eq!(list.entries().len(), LEN);
        assert!(list.entries().windows(2).all(|pair| pair[0].0 >= pair[1].0));
    }
}
