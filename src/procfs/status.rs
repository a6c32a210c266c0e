//! `/proc/PID/status`: of its sixty lines, the three that `stat` does not tell. Costs
//! twice a `stat`, so it is read for few.

use crate::bytes;
use crate::units::KiB;

/// What a process holds (proc(5)). A kernel thread or zombie has no such lines: zeros.
/// `rss_anon` is `None` before Linux 4.5.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Status {
    pub rss: KiB,
    pub rss_anon: Option<KiB>,
    pub swap: KiB,
}

/// What ending a process should give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Memory that no file backs; file pages count as available already.
    pub anon: KiB,
    pub swap: KiB,
}

impl Held {
    pub fn total(self) -> KiB {
        self.anon.plus(self.swap)
    }

    pub fn and(self, other: Held) -> Held {
        Held { anon: self.anon.plus(other.anon), swap: self.swap.plus(other.swap) }
    }
}

impl Status {
    /// Before Linux 4.5 RSS counts for anonymous memory, which is too much by the file
    /// pages in it.
    pub fn held(&self) -> Held {
        Held { anon: self.rss_anon.unwrap_or(self.rss), swap: self.swap }
    }

    /// Takes one line in.
    pub fn take(&mut self, line: &[u8]) {
        if let Some(rss) = bytes::kib_after(line, b"VmRSS:") {
            self.rss = KiB(rss);
        } else if let Some(anon) = bytes::kib_after(line, b"RssAnon:") {
            self.rss_anon = Some(KiB(anon));
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
            b"VmSwap:\t       7 kB",
            b"VmSwap:\t garbage",
        ] {
            status.take(line);
        }
        let anon = Some(KiB(116));
        assert_eq!(status, Status { rss: KiB(1696), rss_anon: anon, swap: KiB(7) });
    }
}
