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

/// Processes that cannot be ended. Once it is full of such as live, no other is kept: the first to be
/// chosen are the largest.
#[derive(Clone)]
pub struct Unkillable([Option<Identity>; 64]);

impl Default for Unkillable {
    fn default() -> Unkillable {
        Unkillable([None; 64])
    }
}

impl Unkillable {
    /// In the place of one that does not live any more, as `lives` tells.
    pub fn add(&mut self, id: Identity, lives: &mut dyn FnMut(Identity) -> bool) {
        let mut is_free = |place: &&mut Option<Identity>| {
            place.map_or(true, |known| known == id || !lives(known))
        };
        if let Some(place) = self.0.iter_mut().find(|place| is_free(place)) {
            *place = Some(id);
        }
    }

    pub fn contains(&self, id: Identity) -> bool {
        self.0.contains(&Some(id))
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

    #[test]
    fn the_first_that_cannot_be_ended_are_kept_as_long_as_they_live() {
        let id = |number| Identity { pid: Pid::new(number).unwrap(), start: 1 };
        let mut unkillable = Unkillable::default();
        (2..=100).for_each(|number| unkillable.add(id(number), &mut |_| true));
        assert!((2..=65).all(|number| unkillable.contains(id(number))));
        assert!(!unkillable.contains(id(66)));
        unkillable.add(id(200), &mut |known| known != id(7));
        assert!(unkillable.contains(id(200)) && !unkillable.contains(id(7)));
        assert!(!unkillable.contains(Identity { start: 2, ..id(200) }));
    }
}
