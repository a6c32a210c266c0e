//! `/proc/meminfo`: kept open, read with one call, parsed by keys at line starts.

use super::Proc;
use crate::bytes;
use crate::memory::{reclaimable, Memory};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::KiB;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

/// The lines that are used (proc(5)).
const KEYS: [&[u8]; 15] = [
    b"MemTotal:",
    b"MemFree:",
    b"MemAvailable:",
    b"Active(file):",
    b"Inactive(file):",
    b"SReclaimable:",
    b"AnonPages:",
    b"Shmem:",
    b"Mapped:",
    b"Zswap:",
    b"SUnreclaim:",
    b"KernelStack:",
    b"PageTables:",
    b"SwapTotal:",
    b"SwapFree:",
];

/// Why memory cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blind {
    Unreadable(io::Error),
    /// The text has no such line, or one without a number that can be.
    Lacks(&'static str),
}

const NO_TOTAL: Blind = Blind::Lacks("MemTotal");
/// Nor what it could be estimated from.
const NO_AVAILABLE: Blind = Blind::Lacks("MemAvailable");

impl From<io::Error> for Blind {
    fn from(error: io::Error) -> Blind {
        Blind::Unreadable(error)
    }
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blind::Unreadable(error) => write!(f, "cannot read /proc/meminfo: {error}"),
            Blind::Lacks(key) => write!(
                f,
                "/proc/meminfo makes no sense: it has no line \"{key}: NUMBER kB\" that can be used"
            ),
        }
    }
}

/// Parses a whole `/proc/meminfo`, which must have `MemTotal`, and something that tells what is
/// available. Files in tmpfs and user memory are still to be counted.
///
/// `reserve` is what the kernel keeps for itself, for the estimate: its low watermark.
pub fn parse(text: &[u8], reserve: KiB) -> Result<Memory, Blind> {
    let mut lines = [None; KEYS.len()];
    for line in bytes::whole_lines(text) {
        for (key, kib) in KEYS.iter().zip(&mut lines) {
            // This byte tells most lines apart, for less than a comparison.
            if line.get(3) == Some(&key[3]) {
                *kib = bytes::kib_after(line, key).map(KiB).or(*kib);
            }
        }
    }
    let [total, free, told, active_file, inactive_file, rest @ ..] = lines;
    let [slab, anon, shmem, mapped, zswap, slab_kept, stacks, page_tables, swap_total, swap_free] =
        rest.map(Option::unwrap_or_default);
    let total = total.filter(|&total| total > KiB::ZERO).ok_or(NO_TOTAL)?;
    let available = match told {
        Some(told) => told,
        // As the first kernel to tell it reckoned (`meminfo_proc_show` of Linux 3.14): free
        // memory above the low watermark, and of file pages and reclaimable slabs what need
        // not stay.
        None => {
            let files = active_file.zip(inactive_file).map(|(one, other)| one.plus(other));
            let (free, files) = free.zip(files).ok_or(NO_AVAILABLE)?;
            let files = reclaimable(files, reserve);
            free.less(reserve).plus(files).plus(reclaimable(slab, reserve))
        }
    }
    .min(total);
    let available = available.less(reclaimable(slab, reserve).min(SLAB_IN_USE));
    let shmem = shmem.min(total);
    // What is mapped and cannot be pages of other files, which is never more than there is.
    let cached = active_file.unwrap_or_default().plus(inactive_file.unwrap_or_default());
    let shared = mapped.less(cached);
    Ok(Memory {
        total,
        machine: total,
        largest: total,
        available,
        anon: anon.min(total),
        shmem,
        // The least.
        files: shmem.less(shared),
        overhead: stacks.plus(page_tables),
        slab: slab_kept,
        compressed: zswap,
        swap_total,
        swap_free: swap_free.min(swap_total),
        estimated: told.is_none(),
        ..Memory::default()
    })
}

/// The kernel counts reclaimable slabs as available, but some of them are in use for good: small
/// machines (64 to 256 MiB) had 9.5 to 10 MiB of them left, and no other memory, when they called
/// the OOM killer. On larger ones it makes no difference.
const SLAB_IN_USE: KiB = KiB::from_mib(8);

/// An open `/proc/meminfo`.
pub struct MemInfo {
    file: OwnedFd,
    reserve: KiB,
}

impl MemInfo {
    pub fn open(proc: &mut Proc) -> io::Result<MemInfo> {
        let file = proc.open_file(b"meminfo", Access::Read)?;
        // The low watermark is a quarter above the minimum (`__setup_per_zone_wmarks` in
        // mm/page_alloc.c). Unreadable, it counts as nothing: then the estimate is high
        // by some MiB.
        let minimum = proc.read_file(b"sys/vm/min_free_kbytes").ok();
        let minimum = minimum.map(bytes::first_word).and_then(bytes::parse_u64).unwrap_or(0);
        Ok(MemInfo { file, reserve: KiB(minimum.saturating_add(minimum / 4)) })
    }

    /// One `pread`: the machine's memory, as far as this file tells.
    pub fn read(&self, proc: &mut Proc) -> Result<Memory, Blind> {
        parse(proc.reread(&self.file)?, self.reserve)
    }

    /// The same. What cannot be read or makes no sense is opened anew by its path, and read once
    /// more: that of a FUSE server (lxcfs) stays dead when the server starts again.
    pub fn read_or_reopen(&mut self, proc: &mut Proc) -> Result<Memory, Blind> {
        let read = self.read(proc);
        if read.is_ok() {
            return read;
        }
        *self = MemInfo::open(proc)?;
        self.read(proc)
    }

    /// A server in user space answers for it, as for that of a container under lxcfs.
    pub fn is_of_fuse(&self) -> bool {
        fd::is_of_fuse(self.file.as_fd()).unwrap_or(false)
    }

    /// It is the kernel's own, of the whole machine.
    pub fn is_of_kernel(&self, proc: &Proc) -> bool {
        fd::are_together(self.file.as_fd(), proc.root.as_fd()).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Tmpfs;

    const MODERN: &[u8] = b"MemTotal:       24682416 kB\nMemFree:        24086980 kB\n\
        MemAvailable:   24388792 kB\nBuffers:           48452 kB\nCached:           462656 kB\n\
        SwapCached:            0 kB\nActive:           105244 kB\nInactive:         396308 kB\n\
        Active(anon):       1504 kB\nInactive(anon):     1716 kB\nActive(file):     103740 kB\n\
        Inactive(file):   394592 kB\nSwapTotal:       1000 kB\nSwapFree:        900 kB\n\
        AnonPages:          4580 kB\nShmem:             12776 kB\nSReclaimable:      14944 kB\n";

    /// With user memory.
    fn parse(text: &[u8], reserve: KiB) -> Result<Memory, Blind> {
        super::parse(text, reserve).map(|mut memory| {
            memory.count_user();
            memory
        })
    }

    fn without(key: &str) -> Vec<u8> {
        let lines = MODERN.split_inclusive(|&b| b == b'\n');
        lines.filter(|line| !line.starts_with(key.as_bytes())).flatten().copied().collect()
    }

    #[test]
    fn a_modern_kernel_tells_all() {
        let memory = parse(MODERN, KiB(0)).unwrap();
        let available = 24388792 - 8192;
        assert_eq!(memory.available, KiB(available));
        assert_eq!(memory.user, KiB(available + 4580));
        assert_eq!(memory.swap_used(), KiB(100));
        assert!(!memory.estimated);
    }

    #[test]
    fn files_that_are_swapped_out_take_nothing_from_what_processes_share() {
        let files = |held, shmem, mapped, swapped| {
            let mapped = if mapped == 0 { String::new() } else { format!("Mapped: {mapped} kB\n") };
            let text = format!(
                "MemTotal: 8000 kB\nMemAvailable: 800 kB\nAnonPages: 2000 kB\nShmem: {shmem} kB\n\
                 Active(file): 200 kB\nInactive(file): 50 kB\n\
                 {mapped}SwapTotal: 9000 kB\nSwapFree: {} kB\n",
                9000 - swapped
            );
            let count = |then| {
                let mut memory = super::parse(text.as_bytes(), KiB(0)).unwrap();
                memory.count_files(Some(Tmpfs { held: KiB(held), shmem: KiB(then) }));
                memory.count_user();
                memory
            };
            let memory = count(shmem);
            assert_eq!(memory.user, KiB(800 + 2000 + shmem).less(memory.files));
            // What has come since may be files.
            let later = count(shmem - 100);
            let more = (memory.files.0 + 100).min(shmem);
            assert_eq!((later.unseen, later.files), (KiB(100), KiB(more)));
            memory.files.0
        };
        for (held, shmem, mapped, swapped, expected) in [
            // Nothing is swapped out: what tmpfs hold is there.
            (1000, 3000, 2500, 0, 1000),
            (1000, 3000, 100, 0, 1000),
            // All of it is: what is there is shared by processes.
            (3000, 3000, 3250, 4000, 0),
            // Half of it; what processes map are not the files.
            (2000, 3000, 2250, 1500, 1000),
            // All that may be swapped out: they have mapped files.
            (2000, 3000, 3250, 500, 1500),
            // Only processes are swapped out, and what they map are their programs.
            (3000, 3200, 250, 9000, 3000),
            // What drivers hold is not mapped, and is no file.
            (500, 2500, 100, 9000, 500),
            // More files than `Shmem`: the rest is swapped out.
            (3000, 1000, 0, 2500, 1000),
            // A kernel that does not tell what is mapped.
            (1000, 3000, 0, 4000, 1000),
        ] {
            assert_eq!(files(held, shmem, mapped, swapped), expected, "{held} {shmem} {mapped}");
        }
    }

    #[test]
    fn before_3_14_available_memory_is_estimated_as_the_kernel_would() {
        let memory = parse(&without("MemAvailable:"), KiB(60000)).unwrap();
        let files = 103740 + 394592 - 60000;
        assert_eq!(memory.available, KiB(24086980 - 60000 + files));
        assert!(memory.estimated);
        let with_less_cache = parse(&without("MemAvailable:"), KiB(400_000)).unwrap();
        let files = (103740 + 394592) / 2;
        assert_eq!(with_less_cache.available, KiB(24086980 - 400_000 + files));
    }

    #[test]
    fn missing_lines_are_done_without_or_refused() {
        assert_eq!(parse(&without("MemTotal:"), KiB(0)), Err(NO_TOTAL));
        assert_eq!(parse(b"", KiB(0)), Err(NO_TOTAL));
        assert_eq!(parse(b"MemTotal: 100 kB\n", KiB(0)), Err(NO_AVAILABLE));
        assert_eq!(parse(b"MemTotal: 9 kB\nMemFree: 9 kB\n", KiB(0)), Err(NO_AVAILABLE));
        assert!(NO_AVAILABLE.to_string().contains("\"MemAvailable: NUMBER kB\""));
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
        assert_eq!(parse(b"MemTotal: 0 kB\nMemAvailable: 0 kB\n", KiB(0)), Err(NO_TOTAL));
        let made_up = parse(b"MemTotal: 9 kB\nMemAvailable: 1 kB\nAnonPages: 0 kB\n", KiB(0));
        assert_eq!(made_up.unwrap().user, KiB(9));
        for total in ["99999999999999999999", "-5"] {
            let text = format!("MemTotal: {total} kB\nMemAvailable: 1 kB\n");
            assert_eq!(parse(text.as_bytes(), KiB(0)), Err(NO_TOTAL));
        }
    }

    #[test]
    fn a_cut_number_is_not_a_small_number() {
        for len in 0..MODERN.len() {
            if let Ok(memory) = parse(&MODERN[..len], KiB(0)) {
                assert!(memory.available.0 > 24_000_000, "cut at {len}: {memory:?}");
            }
        }
    }
}
