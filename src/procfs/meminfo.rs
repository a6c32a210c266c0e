//! `/proc/meminfo`: kept open, read with one call, parsed by keys at line starts.

use super::cgroup::Cgroup;
use super::Proc;
use crate::bytes;
use crate::sys::fd::{self, Access};
use crate::units::KiB;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The state of memory that every decision starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// `MemTotal`, or the limit of a cgroup that counts in its place.
    pub total: KiB,
    /// `MemTotal`, always.
    pub machine: KiB,
    /// `MemAvailable`, or an estimate where the kernel has none (before 3.14). At most
    /// `total`.
    pub available: KiB,
    /// `AnonPages`: what processes hold that no file backs.
    pub anon: KiB,
    /// What killing can give back: available and anonymous memory together, at most
    /// `total`. tmpfs does not count into it.
    pub user: KiB,
    /// `SwapTotal`; 0 without swap.
    pub swap_total: KiB,
    /// `SwapFree`, at most `swap_total`.
    pub swap_free: KiB,
    /// `available` was estimated.
    pub estimated: bool,
}

impl Memory {
    pub fn swap_used(&self) -> KiB {
        self.swap_total.less(self.swap_free)
    }

    /// It is that of a cgroup with a limit.
    pub fn is_limited(&self) -> bool {
        self.total < self.machine
    }
}

/// The lines that are used (proc(5)).
const KEYS: [&[u8]; 9] = [
    b"MemTotal:",
    b"MemFree:",
    b"MemAvailable:",
    b"Active(file):",
    b"Inactive(file):",
    b"SReclaimable:",
    b"AnonPages:",
    b"SwapTotal:",
    b"SwapFree:",
];

/// Parses a whole `/proc/meminfo`. `None` if it lacks `MemTotal` or all that tells what
/// is available.
///
/// `reserve` is what the kernel keeps for itself, for the estimate: its low watermark.
pub fn parse(text: &[u8], reserve: KiB) -> Option<Memory> {
    let mut lines = [None; KEYS.len()];
    for line in bytes::whole_lines(text) {
        for (key, kib) in KEYS.iter().zip(&mut lines) {
            // This byte tells most lines apart, for less than a comparison.
            if line.get(3) == Some(&key[3]) {
                *kib = bytes::kib_after(line, key).map(KiB).or(*kib);
            }
        }
    }
    let [total, free, told, active_file, inactive_file, slab, anon, swap_total, swap_free] = lines;
    let total = total.filter(|&total| total > KiB::ZERO)?;
    let available = match told {
        Some(told) => told,
        // As the first kernel to tell it reckoned (`meminfo_proc_show` of Linux 3.14): free
        // memory above the low watermark, and of file pages and reclaimable slabs what need
        // not stay.
        None => {
            let files = reclaimable(active_file?.plus(inactive_file?), reserve);
            let slab = reclaimable(slab.unwrap_or_default(), reserve);
            free?.less(reserve).plus(files).plus(slab)
        }
    }
    .min(total);
    let anon = anon.unwrap_or_default().min(total);
    // This process has some, so 0 is not told but made up, as in some containers.
    let user = if anon == KiB::ZERO { total } else { available.plus(anon).min(total) };
    let swap_total = swap_total.unwrap_or_default();
    let swap_free = swap_free.unwrap_or_default().min(swap_total);
    let estimated = told.is_none();
    let machine = total;
    Some(Memory { total, machine, available, anon, user, swap_total, swap_free, estimated })
}

/// Of file pages or reclaimable slabs what need not stay: at most half or the low watermark
/// does.
pub(super) fn reclaimable(held: KiB, reserve: KiB) -> KiB {
    held.less(reserve.min(KiB(held.0 / 2)))
}

/// An open `/proc/meminfo`.
pub struct MemInfo {
    file: OwnedFd,
    reserve: KiB,
    /// Whose limit counts in place of the machine's memory, while it has one.
    pub cgroup: Option<Cgroup>,
}

impl MemInfo {
    pub fn open(proc: &mut Proc) -> io::Result<MemInfo> {
        let file = proc.open_file(b"meminfo", Access::Read)?;
        // The low watermark is a quarter above the minimum (`__setup_per_zone_wmarks` in
        // mm/page_alloc.c). Unreadable, it counts as nothing: then the estimate is high
        // by some MiB.
        let minimum = proc.read_file(b"sys/vm/min_free_kbytes").ok();
        let minimum = minimum.map(bytes::first_word).and_then(bytes::parse_u64).unwrap_or(0);
        let reserve = KiB(minimum.saturating_add(minimum / 4));
        Ok(MemInfo { file, reserve, cgroup: None })
    }

    /// One `pread`, and some of the cgroup if there is one. `Ok(None)` if what was read makes
    /// no sense.
    pub fn read(&self, proc: &mut Proc) -> io::Result<Option<Memory>> {
        self.read_within(proc, self.cgroup.as_ref())
    }

    /// The same for another cgroup, or none.
    #[inline(never)]
    pub fn read_within(
        &self,
        proc: &mut Proc,
        cgroup: Option<&Cgroup>,
    ) -> io::Result<Option<Memory>> {
        let len = fd::read_at(self.file.as_fd(), &mut proc.file, 0)?;
        let mut memory = parse(&proc.file[..len], self.reserve);
        if let (Some(cgroup), Some(memory)) = (cgroup, &mut memory) {
            cgroup.bound(proc, memory);
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &[u8] = b"MemTotal:       24682416 kB\nMemFree:        24086980 kB\n\
        MemAvailable:   24388792 kB\nBuffers:           48452 kB\nCached:           462656 kB\n\
        SwapCached:            0 kB\nActive:           105244 kB\nInactive:         396308 kB\n\
        Active(anon):       1504 kB\nInactive(anon):     1716 kB\nActive(file):     103740 kB\n\
        Inactive(file):   394592 kB\nSwapTotal:       1000 kB\nSwapFree:        900 kB\n\
        AnonPages:          4580 kB\nShmem:             12776 kB\nSReclaimable:      14944 kB\n";

    fn without(key: &str) -> Vec<u8> {
        let lines = MODERN.split_inclusive(|&b| b == b'\n');
        lines.filter(|line| !line.starts_with(key.as_bytes())).flatten().copied().collect()
    }

    #[test]
    fn a_modern_kernel_tells_all() {
        let memory = parse(MODERN, KiB(0)).unwrap();
        assert_eq!(memory.available, KiB(24388792));
        assert_eq!(memory.user, KiB(24388792 + 4580));
        assert_eq!(memory.swap_used(), KiB(100));
        assert!(!memory.estimated);
    }

    #[test]
    fn before_3_14_available_memory_is_estimated_as_the_kernel_would() {
        let memory = parse(&without("MemAvailable:"), KiB(60000)).unwrap();
        let files = 103740 + 394592 - 60000;
        assert_eq!(memory.available, KiB(24086980 - 60000 + files + 14944 / 2));
        assert!(memory.estimated);
        let with_less_cache = parse(&without("MemAvailable:"), KiB(400_000)).unwrap();
        let files = (103740 + 394592) / 2;
        assert_eq!(with_less_cache.available, KiB(24086980 - 400_000 + files + 14944 / 2));
    }

    #[test]
    fn missing_lines_are_done_without_or_refused() {
        assert_eq!(parse(&without("MemTotal:"), KiB(0)), None);
        assert_eq!(parse(b"", KiB(0)), None);
        assert_eq!(parse(b"MemTotal: 100 kB\n", KiB(0)), None);
        let no_swap = parse(&without("Swap"), KiB(0)).unwrap();
        assert_eq!((no_swap.swap_total, no_swap.swap_free), (KiB(0), KiB(0)));
        let no_anon = parse(&without("AnonPages:"), KiB(0)).unwrap();
        assert_eq!(no_anon.user, no_anon.total);
    }

    #[test]
    fn absurd_lines_are_bounded() {
        let absurd = b"MemTotal: 100 kB\nMemAvailable: 500 kB\nAnonPages: 900 kB\n\
            SwapTotal: 5 kB\nSwapFree: 7 kB\n";
        let memory = parse(absurd, KiB(0)).unwrap();
        assert_eq!((memory.available, memory.user), (KiB(100), KiB(100)));
        assert_eq!(memory.swap_free, KiB(5));
        assert_eq!(parse(b"MemTotal: 0 kB\nMemAvailable: 0 kB\n", KiB(0)), None);
        let made_up = parse(b"MemTotal: 9 kB\nMemAvailable: 1 kB\nAnonPages: 0 kB\n", KiB(0));
        assert_eq!(made_up.unwrap().user, KiB(9));
        assert_eq!(parse(b"MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n", KiB(0)), None);
        assert_eq!(parse(b"MemTotal: -5 kB\nMemAvailable: 1 kB\n", KiB(0)), None);
    }

    #[test]
    fn a_cut_number_is_not_a_small_number() {
        for len in 0..MODERN.len() {
            if let Some(memory) = parse(&MODERN[..len], KiB(0)) {
                assert!(memory.available.0 > 24_000_000, "cut at {len}: {memory:?}");
            }
        }
    }
}
