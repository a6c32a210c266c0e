//! Those that show no memory, as they are met: kernel threads, and who leaves.

use crate::units::Pid;

/// More than the kernel threads of most machines. Where there are more of them, these have the
/// lower numbers as a rule, and are met first.
const LEN: usize = 256;

/// Those met last, in any order.
pub struct Empty {
    pids: [Pid; LEN],
    met: usize,
}

impl Empty {
    pub const fn new() -> Empty {
        Empty { pids: [Pid::INIT; LEN], met: 0 }
    }

    pub fn clear(&mut self) {
        self.met = 0;
    }

    pub fn add(&mut self, pid: Pid) {
        self.pids[self.met % LEN] = pid;
        self.met += 1;
    }

    pub fn pids(&self) -> &[Pid] {
        &self.pids[..self.met.min(LEN)]
    }
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
        empty.clear();
        assert_eq!(empty.pids().len(), 0);
    }
}
