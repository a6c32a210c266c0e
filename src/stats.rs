//! Numbers for `--stats-file`, and how they are written there: the Prometheus text format,
//! with base units and suffixes as its conventions want them (prometheus.io/docs/practices/naming).
//!
//! Pure: the watch counts, the helper writes.

use crate::units::{KiB, Levels};
use std::fmt;
use std::time::Duration;

/// Why a signal was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Memory was low.
    Memory,
    /// The whole machine stalled on memory.
    Stall,
    /// The process was above `--process-limit`.
    Limit,
    /// The process filled memory with files in a tmpfs.
    Tmpfs,
}

impl Reason {
    /// As hooks and statistics call it.
    pub fn word(self) -> &'static str {
        ["memory", "stall", "limit", "tmpfs"][self as usize]
    }
}

/// What the watch counts and measures; its place among the numbers.
#[derive(Clone, Copy)]
pub enum Number {
    Total,
    Available,
    User,
    SwapTotal,
    SwapFree,
    /// The first of four: SIGTERM and SIGKILL, for memory and for swap; 0 is none.
    Levels,
    /// Millionths.
    Stall = Number::Levels as isize + 4,
    Looks,
    Warnings,
    /// The first of eight: SIGTERM and SIGKILL, for each reason in its order.
    Signals,
    /// What the last victim held, and when it was first signalled, in seconds since 1970;
    /// 0 before there was one.
    LastVictim = Number::Signals as isize + 8,
    LastVictimAt,
}

const NUMBERS: usize = Number::LastVictimAt as usize + 1;
/// Bytes of a packed one.
pub const PACKED: usize = NUMBERS * 8;

/// What the watch knows at one moment: amounts in KiB, times in seconds.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Stats([u64; NUMBERS]);

impl Stats {
    pub fn set(&mut self, number: Number, value: u64) {
        self.0[number as usize] = value;
    }

    pub fn looks(&self) -> u64 {
        self.0[Number::Looks as usize]
    }

    pub fn count_look(&mut self) {
        self.0[Number::Looks as usize] += 1;
    }

    pub fn count_warning(&mut self) {
        self.0[Number::Warnings as usize] += 1;
    }

    pub fn set_levels(&mut self, mem: Levels<Option<KiB>>, swap: Levels<Option<KiB>>) {
        let levels = [mem.term, mem.kill, swap.term, swap.kill];
        for (place, level) in self.0[Number::Levels as usize..].iter_mut().zip(levels) {
            *place = level.map_or(0, |level| level.0);
        }
    }

    /// Counts a signal that was sent.
    pub fn count(&mut self, reason: Reason, is_kill: bool) {
        self.0[Number::Signals as usize + 2 * reason as usize + usize::from(is_kill)] += 1;
    }

    /// Takes note of a new victim that holds `held`, at `wall` since 1970.
    pub fn note_victim(&mut self, held: KiB, wall: Duration) {
        self.set(Number::LastVictim, held.0);
        self.set(Number::LastVictimAt, wall.as_secs());
    }

    pub fn pack(&self) -> [u8; PACKED] {
        let mut bytes = [0; PACKED];
        for (place, number) in bytes.chunks_exact_mut(8).zip(&self.0) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub fn unpack(bytes: &[u8]) -> Option<Stats> {
        let mut stats = Stats::default();
        unpack(bytes, &mut stats.0);
        (bytes.len() == PACKED).then_some(stats)
    }
}

/// Takes as many numbers from `bytes` as there are of both.
pub fn unpack(bytes: &[u8], numbers: &mut [u64]) {
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
}

/// The samples, each with what tells its family if it is the first of that. The end of a name
/// tells kind and unit: `_total` counts, `_bytes` are kept in KiB here, and `_ratio` in
/// millionths.
static SAMPLES: [(&str, &str); 1 + NUMBERS + 4] = [
    (concat!("info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), "The version of the guard."),
    ("memory_total_bytes", "MemTotal."),
    ("memory_available_bytes", "MemAvailable."),
    (
        "memory_user_bytes",
        "What killing could give back at most; thresholds in percent refer to it.",
    ),
    ("swap_total_bytes", "SwapTotal."),
    ("swap_free_bytes", "SwapFree."),
    (
        "memory_level_bytes{signal=\"SIGTERM\"}",
        "At or below this much available memory a signal is sent, if swap is at its level, too.",
    ),
    ("memory_level_bytes{signal=\"SIGKILL\"}", ""),
    ("swap_level_bytes{signal=\"SIGTERM\"}", "The level of free swap; without swap any holds."),
    ("swap_level_bytes{signal=\"SIGKILL\"}", ""),
    (
        "psi_ratio",
        "Share of the window in which all tasks waited for memory and some for a disk (--psi).",
    ),
    ("looks_total", "Looks at memory."),
    ("warnings_total", "Warnings that memory gets short."),
    ("kills_total{signal=\"SIGTERM\",reason=\"memory\"}", "Signals sent, by signal and reason."),
    ("kills_total{signal=\"SIGKILL\",reason=\"memory\"}", ""),
    ("kills_total{signal=\"SIGTERM\",reason=\"stall\"}", ""),
    ("kills_total{signal=\"SIGKILL\",reason=\"stall\"}", ""),
    ("kills_total{signal=\"SIGTERM\",reason=\"limit\"}", ""),
    ("kills_total{signal=\"SIGKILL\",reason=\"limit\"}", ""),
    ("kills_total{signal=\"SIGTERM\",reason=\"tmpfs\"}", ""),
    ("kills_total{signal=\"SIGKILL\",reason=\"tmpfs\"}", ""),
    ("last_victim_bytes", "RSS and swap of the last victim, when it was signalled."),
    ("last_victim_timestamp_seconds", "When the last victim was first signalled."),
    (
        "memory_stall_ratio{kind=\"some\"}",
        "Share of the last 10 s in which some or all (full) tasks waited for memory.",
    ),
    ("memory_stall_ratio{kind=\"full\"}", ""),
    ("resident_bytes{process=\"watch\"}", "Resident memory of the guard's two processes."),
    ("resident_bytes{process=\"helper\"}", ""),
];

/// The whole file.
pub struct Page<'a> {
    pub stats: &'a Stats,
    /// Resident memory of the watch and of the helper, if it could be read.
    pub resident: [Option<KiB>; 2],
    /// Millionths of the last ten seconds in which some and all tasks waited for memory,
    /// if the kernel tells.
    pub stall: Option<[u32; 2]>,
}

impl Page<'_> {
    /// The value of a sample, if it is known.
    fn value(&self, place: usize) -> Option<u64> {
        const LEVELS: usize = 1 + Number::Levels as usize;
        const AFTER_LEVELS: usize = 1 + Number::Stall as usize;
        const FIRST_OF_VICTIM: usize = 1 + Number::LastVictim as usize;
        const STALL: usize = 1 + NUMBERS;
        const RESIDENT: usize = STALL + 2;
        match place {
            0 => Some(1),
            LEVELS.. if place < AFTER_LEVELS && self.stats.0[place - 1] == 0 => None,
            FIRST_OF_VICTIM.. if place < STALL && self.stats.0[NUMBERS - 1] == 0 => None,
            RESIDENT.. => self.resident[place - RESIDENT].map(|resident| resident.0),
            STALL.. => self.stall.map(|stall| stall[place - STALL].into()),
            _ => Some(self.stats.0[place - 1]),
        }
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut untold = "";
        for (place, &(sample, help)) in SAMPLES.iter().enumerate() {
            if !help.is_empty() {
                untold = help;
            }
            let Some(value) = self.value(place) else { continue };
            let end = sample.bytes().position(|byte| byte == b'{').unwrap_or(sample.len());
            let name = &sample[..end];
            if !untold.is_empty() {
                let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
                write!(f, "# HELP oom_guard_{name} {untold}\n# TYPE oom_guard_{name} {kind}\n")?;
                untold = "";
            }
            write!(f, "oom_guard_{sample} ")?;
            if name.ends_with("_ratio") {
                writeln!(f, "{}.{:06}", value / 1_000_000, value % 1_000_000)?;
            } else {
                let unit = if name.ends_with("_bytes") { 1024 } else { 1 };
                writeln!(f, "{}", value.saturating_mul(unit))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut stats = Stats::default();
        stats.set(Number::Looks, u64::MAX);
        stats.count(Reason::Limit, true);
        stats.note_victim(KiB(7), Duration::from_secs(9));
        assert_eq!(Stats::unpack(&stats.pack()), Some(stats));
        assert_eq!(Stats::unpack(&[0; PACKED - 1]), None);
    }

    #[test]
    fn each_level_has_its_own_sample_and_none_has_none() {
        let mut stats = Stats::default();
        stats.count_look();
        let levels = |term, kill| Levels { term, kill };
        stats.set_levels(levels(Some(KiB(1)), Some(KiB(2))), levels(Some(KiB(3)), None));
        let page = Page { stats: &stats, resident: [None, None], stall: None }.to_string();
        let levels: Vec<_> = page.lines().filter(|line| line.contains("_level_bytes{")).collect();
        let wanted = [
            "oom_guard_memory_level_bytes{signal=\"SIGTERM\"} 1024",
            "oom_guard_memory_level_bytes{signal=\"SIGKILL\"} 2048",
            "oom_guard_swap_level_bytes{signal=\"SIGTERM\"} 3072",
        ];
        assert_eq!(levels, wanted);
        assert!(page.contains("oom_guard_looks_total 1\n"), "{page}");
    }

    #[test]
    fn every_sample_belongs_to_a_family_and_what_is_unknown_is_left_out() {
        let mut stats = Stats::default();
        stats.set(Number::Total, 2);
        let page = Page { stats: &stats, resident: [Some(KiB(1)), None], stall: None }.to_string();
        assert!(page.contains("oom_guard_memory_total_bytes 2048\n"), "{page}");
        assert!(page.contains("oom_guard_resident_bytes{process=\"watch\"} 1024\n"), "{page}");
        assert!(
            !page.contains("helper\"")
                && !page.contains("victim")
                && !page.contains("memory_stall")
        );
        stats.note_victim(KiB(3), Duration::from_secs(9));
        let stall = Some([12_345, 1_000_000]);
        let page = Page { stats: &stats, resident: [None, None], stall }.to_string();
        assert!(page.contains("oom_guard_memory_stall_ratio{kind=\"some\"} 0.012345\n"), "{page}");
        assert!(page.contains("oom_guard_memory_stall_ratio{kind=\"full\"} 1.000000\n"), "{page}");
        assert!(page.contains("oom_guard_last_victim_bytes 3072\n"), "{page}");
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        for sample in samples {
            let name = sample.split(['{', ' ']).next().unwrap();
            assert!(page.contains(&format!("# TYPE {name} ")), "{sample}");
        }
    }
}
