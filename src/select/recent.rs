//! The last few of what was met, in memory of fixed size. Pure.

use crate::units::{Identity, Pid};

/// The last `N` that were added, in any order: the oldest gives way.
#[derive(Clone, Copy)]
pub struct Recent<T, const N: usize> {
    met: [T; N],
    count: usize,
}

impl<T: Copy + PartialEq, const N: usize> Recent<T, N> {
    /// None so far. `filler` is never shown.
    pub const fn none(filler: T) -> Self {
        Recent { met: [filler; N], count: 0 }
    }

    pub fn add(&mut self, item: T) {
        self.met[self.count % N] = item;
        self.count += 1;
    }

    /// Adds what `others` kept. What they have lost counts as lost here, too.
    pub fn add_all(&mut self, others: &Self) {
        others.kept().iter().for_each(|&item| self.add(item));
        self.count = self.count.max(others.count);
    }

    pub fn kept(&self) -> &[T] {
        &self.met[..self.count.min(N)]
    }

    pub fn contains(&self, item: T) -> bool {
        self.kept().contains(&item)
    }

    /// Whether some had to give way.
    pub fn has_lost(&self) -> bool {
        self.count > N
    }
}

/// The last processes met that show no memory: kernel threads, and what is exiting. More than the
/// kernel threads of most machines. If there are more of them, they usually have the lower numbers
/// and are met first.
pub type Empty = Recent<Pid, 256>;

/// Processes to keep in mind. If more victims than these do not exit, killing does not help.
pub type Remembered = Recent<Identity, 16>;

impl Default for Remembered {
    fn default() -> Remembered {
        Recent::none(Identity { pid: Pid::INIT, start: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let mut recent = Recent::<i32, 16>::none(0);
        assert!(recent.kept().is_empty() && !recent.contains(0));
        (1..=16).for_each(|number| recent.add(number));
        assert!(recent.contains(1) && !recent.has_lost());
        (17..=1000).for_each(|number| recent.add(number));
        assert!(recent.has_lost() && !recent.contains(984));
        assert!((985..=1000).all(|number| recent.contains(number)));
        assert_eq!(recent.kept().len(), 16);
        let mut other = Recent::none(0);
        other.add_all(&recent);
        assert!(other.has_lost() && other.contains(1000));
    }
}
