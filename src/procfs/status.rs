//! `/proc/PID/status`: of its sixty lines, the four that `stat` does not tell. Costs
//! twice a `stat`, so it is read for few.

use crate::bytes;
use crate::units::KiB;

/// What a process holds (proc(5)). A kernel thread or zombie has no such lines: zeros.
/// `rss_anon` is `None` before Linux 4.5.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Status {
    pub rss: KiB,
    pub rss_anon: Option<KiB>,
    /// Shared with others, or a file in tmpfs (Linux 4.5).
    pub rss_shmem: KiB,
    pub swap: KiB,
}

/// What ending a process should give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Memory that no file backs; file pages count as available already.
    pub anon: KiB,
    pub swap: KiB,
    /// Comes back with the last process that shares it, unless it is a file in tmpfs.
    pub shared: KiB,
}

impl Held {
    /// All that is its own.
    pub fn own(self) -> KiB {
        self.anon.plus(self.swap)
    }

    /// The same; of one that has next to nothing of its own what it shares.
    pub fn total(self) -> KiB {
        let own = self.own();
        if own.0 < self.shared.0 / 4 {
            self.shared
        } else {
            own
        }
    }

    pub fn and(self, other: Held) -> Held {
        Held {
            anon: self.anon.plus(other.anon),
            swap: self.swap.plus(other.swap),
            // As a rule with each other.
            shared: self.shared.max(other.shared),
        }
    }
}

impl Status {
    /// Before Linux 4.5 RSS counts for anonymous memory, which is too much by the file
    /// pages in it.
    pub fn held(&self) -> Held {
        let anon = self.rss_anon.unwrap_or(self.rss);
        Held { anon, swap: self.swap, shared: self.rss_shmem }
    }

    /// Takes one line in.
    pub fn take(&mut self, line: &[u8]) {
        if let Some(rss) = bytes::kib_after(line, b"VmRSS:") {
            self.rss = KiB(rss);
        } else if let Some(anon) = bytes::kib_after(line, b"RssAnon:") {
            self.rss_anon = Some(KiB(anon));
        } else if let Some(shmem) = bytes::kib_after(line, b"RssShmem:") {
            self.rss_shmem = KiB(shmem);
        } else if let Some(swap) = bytes::kib_after(line, b"VmSwap:") {
            self.swap = KiB(swap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_are_taken() {
        let mut status = Status::default();
        for line in [
            &b"Name:\tVmSwap:\t99 kB"[..],
            b"VmRSS:\t    1696 kB",
            b"RssAnon:\t     116 kB",
            b"RssShmem:\t     900 kB",
            b"VmSwap:\t       7 kB",
            b"VmSwap:\t garbage",
        ] {
            status.take(line);
        }
        let anon = Some(KiB(116));
        let rss_shmem = KiB(900);
        assert_eq!(status, Status { rss: KiB(1696), rss_anon: anon, rss_shmem, swap: KiB(7) });
        assert_eq!(status.held().total(), KiB(900));
        let mostly_its_own = Held { anon: KiB(218), ..status.held() };
        assert_eq!(mostly_its_own.total(), KiB(225));
    }
}
