//! What a look knows of memory: its amounts, and what follows from them.
//!
//! Pure: `procfs` reads the amounts, `observe` puts them together.

use crate::units::{KiB, Percent};

/// The state of memory that every decision starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// `MemTotal`, or the limit of a cgroup that counts in its place.
    pub total: KiB,
    /// `MemTotal`, always.
    pub machine: KiB,
    /// The largest `total` that was seen; not less than that.
    pub largest: KiB,
    /// `MemAvailable`, or an estimate where the kernel has none (before 3.14), without slabs that
    /// are in use for good, and with `arc`. At most `total`.
    pub available: KiB,
    /// What the cache of ZFS can give back, which `MemAvailable` does not count.
    pub arc: KiB,
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
    /// Of `files`, what has come since tmpfs was looked at, and may be shared by processes instead.
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
    /// In which share of the last seconds all tasks waited for memory and some for a disk, as far as
    /// that counts (`stall`); 0 if it is not measured.
    pub stall: Percent,
    /// `available` was estimated.
    pub estimated: bool,
}

/// What all tmpfs were seen to hold, with what was swapped out of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tmpfs {
    pub held: KiB,
    /// The machine's `Shmem` at that time.
    pub shmem: KiB,
}

/// What the files of a cgroup tell that has a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CgroupMemory {
    pub limit: KiB,
    pub usage: KiB,
    pub swap_limit: KiB,
    pub swap_used: KiB,
    pub stat: CgroupStat,
}

/// What is used of its `memory.stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CgroupStat {
    pub anon: KiB,
    /// What files hold that no tmpfs has, and that is not locked.
    pub file: KiB,
    pub slab: KiB,
    /// Told by version 1 alone.
    pub swap: KiB,
    pub shmem: KiB,
    /// Of files and of shared memory what processes have mapped.
    pub mapped: KiB,
    /// What compressed swap takes. Told by version 2 alone, and not of zram.
    pub zswap: KiB,
    /// What the kernel holds for processes; likewise.
    pub overhead: KiB,
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

    /// Counts what the cache of ZFS can give back as available.
    pub fn count_arc(&mut self, spare: KiB) {
        self.arc = spare.min(self.total.less(self.available));
        self.available = self.available.plus(self.arc);
    }

    /// Counts slabs into `overhead`: each process has about as much in them (20 KiB and more) as in
    /// stack and page tables. The `least` that was seen is there without many processes, and what
    /// goes beyond the rest is a matter of its own.
    pub fn count_slabs(&mut self, least: KiB) {
        let for_processes = self.slab.less(least).min(self.overhead);
        self.overhead = self.overhead.plus(for_processes);
    }

    /// Counts what files in tmpfs hold; `files` is the least that meminfo tells of them.
    ///
    /// Some of it may be swapped out (`shmem_recalc_inode` in mm/shmem.c takes back only what is
    /// neither in memory nor in swap), which `Shmem` does not count. How much is not told: at most
    /// what swap holds, and only if processes have mapped more of `Shmem` than the files that are
    /// there would leave. So a file that fills memory counts, whatever fills swap.
    pub fn count_files(&mut self, seen: Option<Tmpfs>) {
        let Some(Tmpfs { held, shmem }) = seen else {
            // All may be files.
            self.files = self.shmem;
            return;
        };
        let resident = held.less(self.swap_used()).max(self.files).min(held);
        // Until tmpfs is looked at again, what has come since may be files.
        self.unseen = self.shmem.less(shmem);
        self.files = resident.plus(self.unseen).min(self.shmem);
    }

    /// The machine's memory as that of a cgroup within, of which user memory is still to be
    /// counted. What the machine has no more is not available there either.
    pub fn within(&self, cgroup: &CgroupMemory) -> Memory {
        let &CgroupMemory { limit, usage, swap_limit, swap_used, stat } = cgroup;
        // As on a machine of that size, where the kernel keeps so much of them.
        let reserve = low_watermark(limit);
        let spare = reclaimable(stat.file, reserve).plus(reclaimable(stat.slab, reserve));
        let swap_total = swap_limit.min(self.swap_total);
        Memory {
            total: limit,
            available: limit.less(usage).plus(spare).min(limit).min(self.available),
            anon: stat.anon.min(limit),
            shmem: stat.shmem.min(limit),
            // Its tmpfs may be mounted out of sight, and those in sight may be others'.
            files: stat.shmem.less(stat.mapped).min(limit),
            overhead: stat.overhead,
            compressed: stat.zswap,
            swap_total,
            swap_free: swap_total.less(swap_used).min(self.swap_free),
            ..*self
        }
    }

    /// Counts `user`, once all other amounts are there.
    pub fn count_user(&mut self) {
        // Whatever reads this has some, so 0 is not told but made up, as in some containers.
        self.user = match self.anon {
            KiB::ZERO => self.total,
            _ => {
                let held = self.held_by_processes().plus(self.compressed);
                self.available.plus(held).min(self.total)
            }
        };
    }
}

/// Of file pages or reclaimable slabs what need not stay: at most half or the low watermark
/// does.
pub fn reclaimable(held: KiB, reserve: KiB) -> KiB {
    held.less(reserve.min(KiB(held.0 / 2)))
}

/// Of a machine that has `total` (`calculate_min_free_kbytes` and `__setup_per_zone_wmarks` in
/// mm/page_alloc.c): the root of 16 times that, and a quarter more.
pub fn low_watermark(total: KiB) -> KiB {
    let square = total.0.saturating_mul(16);
    // Newton's way from above; each step halves what is too much, and more.
    let mut root = 1 << 32;
    while root > square / root {
        root = (root + square / root) / 2;
    }
    KiB(root + root / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_holds_for_processes_is_user_memory() {
        let user = |available, slab, overhead| {
            let mut memory = Memory {
                total: KiB(200_000),
                available: KiB(available),
                anon: KiB(9000),
                slab: KiB(slab),
                overhead: KiB(overhead),
                ..Memory::default()
            };
            memory.count_slabs(KiB(10_000));
            memory.count_user();
            memory.user
        };
        assert_eq!(user(150_000, 10_000, 2000), KiB(161_000));
        // A bomb: slabs grow with stacks and page tables.
        assert_eq!(user(20_000, 50_000, 90_000), KiB(20_000 + 9000 + 90_000 + 40_000));
        // What grows without them is not theirs.
        assert_eq!(user(20_000, 150_000, 2000), KiB(20_000 + 9000 + 2000 + 2000));
    }

    #[test]
    fn the_watermark_is_the_kernels_for_every_size() {
        for (mib, least) in [(16, 512), (64, 1024), (4096, 8192), (1 << 20, 131_072)] {
            assert_eq!(low_watermark(KiB::from_mib(mib)), KiB(least + least / 4));
        }
        assert_eq!(low_watermark(KiB(1)), KiB(5));
        assert!(low_watermark(KiB(u64::MAX)) > KiB(1 << 32));
    }
}
