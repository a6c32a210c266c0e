//! `/proc/meminfo`: kept open, read with one call, parsed by keys at line starts; and with it
//! what else belongs to the state of memory: zram, tmpfs, and how long everything stalled.

use super::cgroup::Cgroup;
use super::compressed::Compressed;
use super::pressure::Pressure;
use super::Proc;
use crate::bytes;
use crate::sys::clock;
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::{KiB, Percent};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The state of memory that every decision starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// `MemTotal`, or the limit of a cgroup that counts in its place.
    pub total: KiB,
    /// `MemTotal`, always.
    pub machine: KiB,
    /// `MemAvailable`, or an estimate where the kernel has none (before 3.14), without slabs that
    /// are in use for good. At most `total`.
    pub available: KiB,
    /// `AnonPages`: what processes hold that no file backs.
    pub anon: KiB,
    /// What killing can give back: available memory, anonymous, shared by processes, what the
    /// kernel holds for them, and what compressed swap takes; at most `total`. tmpfs does not
    /// count into it.
    pub user: KiB,
    /// `Shmem`: tmpfs, and memory that processes share.
    pub shmem: KiB,
    /// What files in tmpfs hold of that, as far as is known; at most `shmem`. Of a cgroup with a
    /// limit, what no process has mapped.
    pub files: KiB,
    /// Of that, what has come since somebody looked, and may be shared by processes instead.
    pub unseen: KiB,
    /// What the kernel holds for processes, which of a fork bomb is most: `KernelStack`,
    /// `PageTables`, and of `slab` what has come with them.
    pub overhead: KiB,
    /// `SUnreclaim`.
    pub slab: KiB,
    /// What zram and zswap take to hold what is swapped out.
    pub compressed: KiB,
    /// `SwapTotal`; 0 without swap.
    pub swap_total: KiB,
    /// `SwapFree`, at most `swap_total`.
    pub swap_free: KiB,
    /// Of the last seconds, in which share all tasks waited for memory; 0 where nobody asks or
    /// the kernel does not tell.
    pub stall: Percent,
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

    /// What goes with processes: what is above this later was taken anew, and killing gives it
    /// back.
    pub fn held_by_processes(&self) -> KiB {
        self.anon.plus(self.shmem.less(self.files)).plus(self.overhead)
    }

    /// The same with what was swapped out.
    pub fn taken_by_processes(&self) -> KiB {
        self.held_by_processes().plus(self.swap_used())
    }

    /// As much as its amounts move by themselves, in caches and per-processor counters: 1/256
    /// of user memory, 1 MiB of 256.
    pub fn noise(&self) -> KiB {
        KiB(self.user.0 / 256)
    }

    /// A smaller change than this from one look to the next may be chance: 1 MiB, or 1/1000 of user
    /// memory where that is more.
    pub fn step(&self) -> KiB {
        KiB(self.user.0 / 1000).max(KiB::from_mib(1))
    }

    pub(super) fn count_user_memory(&mut self) {
        // Whoever reads this has some, so 0 is not told but made up, as in some containers.
        self.user = match self.anon {
            KiB::ZERO => self.total,
            anon => {
                let shared = self.shmem.less(self.files);
                let for_them = shared.plus(self.overhead).plus(self.compressed);
                self.available.plus(anon).plus(for_them).min(self.total)
            }
        };
    }
}

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
    let [total, free, told, active_file, inactive_file, slab, rest @ ..] = lines;
    let [anon, shmem, mapped, zswap, slab_kept, stacks, page_tables, swap_total, swap_free] = rest;
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
    let slab = reclaimable(slab.unwrap_or_default(), reserve).min(SLAB_IN_USE);
    let available = available.less(slab);
    let swap_total = swap_total.unwrap_or_default();
    let shmem = shmem.unwrap_or_default().min(total);
    // What is mapped and cannot be pages of other files, which is never more than there is.
    let cached = active_file.unwrap_or_default().plus(inactive_file.unwrap_or_default());
    let shared = mapped.unwrap_or_default().less(cached);
    Some(Memory {
        total,
        machine: total,
        available,
        anon: anon.unwrap_or_default().min(total),
        user: total,
        shmem,
        // As far as this tells; `tell_files` knows better.
        files: shmem.less(shared),
        unseen: KiB::ZERO,
        overhead: stacks.unwrap_or_default().plus(page_tables.unwrap_or_default()),
        slab: slab_kept.unwrap_or_default(),
        compressed: zswap.unwrap_or_default(),
        swap_total,
        swap_free: swap_free.unwrap_or_default().min(swap_total),
        stall: Percent::default(),
        estimated: told.is_none(),
    })
}

/// The kernel counts reclaimable slabs as available, but some of them are in use for good: small
/// machines (64 to 256 MiB) had 9.5 to 10 MiB of them left, and no other memory, when they called
/// the OOM killer. On larger ones it makes no difference.
const SLAB_IN_USE: KiB = KiB::from_mib(8);

/// Of file pages or reclaimable slabs what need not stay: at most half or the low watermark
/// does.
pub(super) fn reclaimable(held: KiB, reserve: KiB) -> KiB {
    held.less(reserve.min(KiB(held.0 / 2)))
}

/// An open `/proc/meminfo`, and what else is read with it.
pub struct MemInfo {
    file: OwnedFd,
    reserve: KiB,
    compressed: Compressed,
    pressure: Option<Pressure>,
    /// What all tmpfs held when somebody looked, with what was swapped out of it, and the
    /// machine's `Shmem` then.
    tmpfs: Option<(KiB, KiB)>,
    /// Least `SUnreclaim` that was seen: without many processes it is so much.
    least_slab: KiB,
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
        let compressed = Compressed::default();
        Ok(MemInfo {
            file,
            reserve,
            compressed,
            pressure: None,
            tmpfs: None,
            least_slab: KiB(u64::MAX),
        })
    }

    /// Measures stalls over so long from now on: those of the machine, or of a cgroup. Fails where
    /// the kernel does not tell.
    pub fn watch_stalls(
        &mut self,
        proc: &Proc,
        cgroup: Option<&Cgroup>,
        window: Option<Duration>,
    ) -> io::Result<()> {
        self.pressure = None;
        if let Some(window) = window {
            let file = match cgroup {
                Some(cgroup) => cgroup.open_pressure(Access::Read),
                None => proc.open_file(b"pressure/memory", Access::Read),
            };
            self.pressure = Some(Pressure::of(file?, window)?);
        }
        Ok(())
    }

    /// Not where they could not be read any more.
    pub fn measures_stalls(&self) -> bool {
        self.pressure.is_some()
    }

    /// No stall up to now counts any more.
    pub fn forget_stalls(&mut self) {
        if let Some(pressure) = &mut self.pressure {
            pressure.restart();
        }
    }

    /// No stall up to the last reading does.
    pub fn count_stalls_from_here(&mut self) {
        if let Some(pressure) = &mut self.pressure {
            pressure.restart_here();
        }
    }

    /// All tmpfs were seen to hold so much, while the machine's `Shmem` was that.
    pub fn take_tmpfs(&mut self, held: KiB, shmem: KiB) {
        self.tmpfs = Some((held, shmem));
    }

    /// Looks at all tmpfs now, which may wait for other file systems. What cannot be seen
    /// counts as files.
    pub fn look_at_tmpfs(&mut self, proc: &mut Proc, cgroup: Option<&Cgroup>) {
        let Ok(Some(memory)) = self.read(proc, cgroup) else { return };
        if self.asks_for_tmpfs(&memory) {
            if let Ok(held) = proc.held_by_tmpfs() {
                self.take_tmpfs(held, memory.shmem);
            }
        }
    }

    /// `Shmem` has moved so far that somebody should look at tmpfs again. What all of them hold
    /// says nothing of a cgroup.
    pub fn asks_for_tmpfs(&self, memory: &Memory) -> bool {
        !memory.is_limited()
            && self.tmpfs.map_or(true, |(_, then)| {
                memory.shmem.less(then).max(then.less(memory.shmem)) > memory.noise()
            })
    }

    /// Memory, or that of the cgroup while it has a limit. One `pread`, one more where stalls are
    /// measured, one for each zram in use, and some of a cgroup. `Ok(None)` if what was read
    /// makes no sense.
    pub fn read(&mut self, proc: &mut Proc, cgroup: Option<&Cgroup>) -> io::Result<Option<Memory>> {
        let len = fd::read_at(self.file.as_fd(), &mut proc.file, 0)?;
        let Some(mut memory) = parse(&proc.file[..len], self.reserve) else { return Ok(None) };
        self.least_slab = self.least_slab.min(memory.slab);
        // Each process has about as much in slabs (20 KiB and more) as in stack and page tables;
        // what goes beyond that is a matter of its own.
        let for_processes = memory.slab.less(self.least_slab).min(memory.overhead);
        memory.overhead = memory.overhead.plus(for_processes);
        let in_zram = self.compressed.held(proc, memory.swap_total, memory.swap_used());
        memory.compressed = memory.compressed.plus(in_zram);
        if let Some(cgroup) = cgroup {
            cgroup.bound(proc, &mut memory);
        }
        if !memory.is_limited() {
            self.tell_files(&mut memory);
        }
        memory.count_user_memory();
        if let Some(pressure) = &mut self.pressure {
            match pressure.read(proc, clock::now()) {
                Ok(stall) => memory.stall = stall,
                Err(_) => self.pressure = None,
            }
        }
        Ok(Some(memory))
    }

    /// Of what a tmpfs holds some may be swapped out (`shmem_recalc_inode` in mm/shmem.c takes back
    /// only what is neither in memory nor in swap), which `Shmem` does not count. How much, nobody
    /// tells: at most what swap holds, and only where processes have mapped more of `Shmem` than
    /// the files that are there would leave. So a file that fills memory counts, whoever fills swap.
    fn tell_files(&self, memory: &mut Memory) {
        let Some((held, then)) = self.tmpfs else {
            // All may be files.
            memory.files = memory.shmem;
            return;
        };
        let resident = held.less(memory.swap_used()).max(memory.files).min(held);
        // Until somebody looks again, what has come since may be files.
        memory.unseen = memory.shmem.less(then);
        memory.files = resident.plus(memory.unseen).min(memory.shmem);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    const MODERN: &[u8] = b"MemTotal:       24682416 kB\nMemFree:        24086980 kB\n\
        MemAvailable:   24388792 kB\nBuffers:           48452 kB\nCached:           462656 kB\n\
        SwapCached:            0 kB\nActive:           105244 kB\nInactive:         396308 kB\n\
        Active(anon):       1504 kB\nInactive(anon):     1716 kB\nActive(file):     103740 kB\n\
        Inactive(file):   394592 kB\nSwapTotal:       1000 kB\nSwapFree:        900 kB\n\
        AnonPages:          4580 kB\nShmem:             12776 kB\nSReclaimable:      14944 kB\n";

    /// As `MemInfo` does it.
    fn parse(text: &[u8], reserve: KiB) -> Option<Memory> {
        super::parse(text, reserve).map(|mut memory| {
            memory.count_user_memory();
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
    fn what_the_kernel_holds_for_processes_is_user_memory() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let amounts = |available, slab, stacks, tables| {
            format!(
                "MemTotal: 200000 kB\nMemAvailable: {available} kB\nAnonPages: 9000 kB\n\
                 SUnreclaim: {slab} kB\nKernelStack: {stacks} kB\nPageTables: {tables} kB\n"
            )
        };
        fixture.write("meminfo", amounts(150_000, 10_000, 1000, 1000));
        let mut meminfo = MemInfo::open(&mut proc).unwrap();
        let mut user = || meminfo.read(&mut proc, None).unwrap().unwrap().user;
        assert_eq!(user(), KiB(161_000));
        // A bomb: slabs grow with stacks and page tables.
        fixture.write("meminfo", amounts(20_000, 50_000, 40_000, 50_000));
        assert_eq!(user(), KiB(20_000 + 9000 + 90_000 + 40_000));
        // What grows without them is not theirs.
        fixture.write("meminfo", amounts(20_000, 150_000, 1000, 1000));
        assert_eq!(user(), KiB(20_000 + 9000 + 2000 + 2000));
    }

    #[test]
    fn files_that_are_swapped_out_take_nothing_from_what_processes_share() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let mut files = |held, shmem, mapped, swapped| {
            let mapped = if mapped == 0 { String::new() } else { format!("Mapped: {mapped} kB\n") };
            let text = format!(
                "MemTotal: 8000 kB\nMemAvailable: 800 kB\nAnonPages: 2000 kB\nShmem: {shmem} kB\n\
                 Active(file): 200 kB\nInactive(file): 50 kB\n\
                 {mapped}SwapTotal: 9000 kB\nSwapFree: {} kB\n",
                9000 - swapped
            );
            fixture.write("meminfo", text);
            let mut meminfo = MemInfo::open(&mut proc).unwrap();
            meminfo.take_tmpfs(KiB(held), KiB(shmem));
            let memory = meminfo.read(&mut proc, None).unwrap().unwrap();
            assert_eq!(memory.user, KiB(800 + 2000 + shmem).less(memory.files));
            // What has come since may be files.
            let mut since = |then| {
                meminfo.take_tmpfs(KiB(held), KiB(then));
                let memory = meminfo.read(&mut proc, None).unwrap().unwrap();
                (memory.unseen.0, memory.files.0)
            };
            assert_eq!(since(shmem - 100), (100, (memory.files.0 + 100).min(shmem)));
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
            // What drivers hold is mapped by nobody, and is no file.
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
    fn stalls_that_cannot_be_read_any_more_are_not_measured_any_more() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        fixture.write("meminfo", MODERN);
        let mut meminfo = MemInfo::open(&mut proc).unwrap();
        let window = Some(Duration::from_secs(5));
        assert!(meminfo.watch_stalls(&proc, None, window).is_err());
        // It can be opened, but not be read.
        std::fs::create_dir_all(fixture.path("pressure/memory")).unwrap();
        assert!(meminfo.watch_stalls(&proc, None, window).is_err() && !meminfo.measures_stalls());
        fixture.remove("pressure/memory");
        // It goes with a process, as that of a cgroup goes with the cgroup.
        let mut owner = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fixture.link("pressure/memory", &format!("/proc/{}/stat", owner.id()));
        meminfo.watch_stalls(&proc, None, window).unwrap();
        meminfo.read(&mut proc, None).unwrap().unwrap();
        assert!(meminfo.measures_stalls());
        owner.kill().and_then(|()| owner.wait()).unwrap();
        let memory = meminfo.read(&mut proc, None).unwrap().unwrap();
        assert_eq!((memory.stall, meminfo.measures_stalls()), (Percent::default(), false));
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
