//! `/proc/PID/status`: of its sixty lines, the four that `stat` does not tell. Costs
//! twice a `stat`, so it is read for few.

use crate::bytes;
use crate::units::KiB;

/// Who a process is and what it holds (proc(5)). A kernel thread or zombie has no `Vm`
/// and `Rss` lines: zeros. `rss_anon` is `None` before Linux 4.5.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Status {
    /// Real user id.
    pub uid: u32,
    pub rss: KiB,
    pub rss_anon: Option<KiB>,
    pub swap: KiB,
}

impl Status {
    /// Takes one line in.
    pub fn take(&mut self, line: &[u8]) {
        if let Some(rss) = bytes::kib_after(line, b"VmRSS:") {
            self.rss = KiB(rss);
        } else if let Some(anon) = bytes::kib_after(line, b"RssAnon:") {
            self.rss_anon = Some(KiB(anon));
        } else if let Some(swap) = bytes::kib_after(line, b"VmSwap:") {
            self.swap = KiB(swap);
        } else if let Some(ids) = line.strip_prefix(b"Uid:") {
            let real = bytes::fields(ids).next().and_then(bytes::parse_u64);
            self.uid = real.and_then(|uid| u32::try_from(uid).ok()).unwrap_or(self.uid);
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
            b"Uid:\t1000\t0\t0\t0",
            b"VmRSS:\t    1696 kB",
            b"RssAnon:\t     116 kB",
            b"VmSwap:\t       7 kB",
            b"VmSwap:\t garbage",
        ] {
            status.take(line);
        }
        let anon = Some(KiB(116));
        assert_eq!(status, Status { uid: 1000, rss: KiB(1696), rss_anon: anon, swap: KiB(7) });
    }
}
