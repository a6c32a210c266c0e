//! Numbers for `--stats-file`, and how they are written there: the Prometheus text format,
//! with base units and suffixes as its conventions want them (prometheus.io/docs/practices/naming).
//!
//! Pure: the watch counts, the helper writes.

use crate::units::KiB;
use std::fmt::{self, Write};
use std::time::Duration;

/// Why a signal was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Memory was low.
    Memory,
    /// The process was above `--process-limit`.
    Limit,
}

/// What the watch knows at one moment.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Stats {
    pub total: KiB,
    pub available: KiB,
    pub user: KiB,
    pub swap_total: KiB,
    pub swap_free: KiB,
    pub looks: u64,
    pub terms_for_memory: u64,
    pub kills_for_memory: u64,
    pub terms_for_limit: u64,
    pub kills_for_limit: u64,
    /// What the last victim held, and when it was first signalled, in seconds since 1970;
    /// 0 before there was one.
    pub last_victim: KiB,
    pub last_victim_at: u64,
}

const NUMBERS: usize = 12;
/// Bytes of a packed one.
pub const PACKED: usize = NUMBERS * 8;

impl Stats {
    /// Counts a signal that was sent.
    pub fn count(&mut self, reason: Reason, is_kill: bool) {
        let counter = match (reason, is_kill) {
            (Reason::Memory, false) => &mut self.terms_for_memory,
            (Reason::Memory, true) => &mut self.kills_for_memory,
            (Reason::Limit, false) => &mut self.terms_for_limit,
            (Reason::Limit, true) => &mut self.kills_for_limit,
        };
        *counter += 1;
    }

    /// Takes note of a new victim that holds `held`, at `wall` since 1970.
    pub fn note_victim(&mut self, held: KiB, wall: Duration) {
        self.last_victim = held;
        self.last_victim_at = wall.as_secs();
    }

    pub fn pack(&self) -> [u8; PACKED] {
        let mut bytes = [0; PACKED];
        let numbers = [
            self.total.0,
            self.available.0,
            self.user.0,
            self.swap_total.0,
            self.swap_free.0,
            self.looks,
            self.terms_for_memory,
            self.kills_for_memory,
            self.terms_for_limit,
            self.kills_for_limit,
            self.last_victim.0,
            self.last_victim_at,
        ];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub fn unpack(bytes: &[u8]) -> Option<Stats> {
        let bytes: &[u8; PACKED] = bytes.try_into().ok()?;
        let mut numbers = bytes.chunks_exact(8).map(|number| {
            u64::from_ne_bytes([
                number[0], number[1], number[2], number[3], number[4], number[5], number[6],
                number[7],
            ])
        });
        let mut next = || numbers.next();
        Some(Stats {
            total: KiB(next()?),
            available: KiB(next()?),
            user: KiB(next()?),
            swap_total: KiB(next()?),
            swap_free: KiB(next()?),
            looks: next()?,
            terms_for_memory: next()?,
            kills_for_memory: next()?,
            terms_for_limit: next()?,
            kills_for_limit: next()?,
            last_victim: KiB(next()?),
            last_victim_at: next()?,
        })
    }
}

/// The whole file.
pub struct Page<'a> {
    pub stats: &'a Stats,
    /// Resident memory of the watch and of the helper, where it could be read.
    pub resident: [Option<KiB>; 2],
    /// Millionths of the last ten seconds in which some and all tasks waited for memory,
    /// where the kernel tells.
    pub stall: Option<[u32; 2]>,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats;
        family(f, "info", "gauge", "The version of the guard.")?;
        sample(f, "info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
        for (name, help, amount) in [
            ("memory_total_bytes", "MemTotal.", stats.total),
            ("memory_available_bytes", "MemAvailable.", stats.available),
            (
                "memory_user_bytes",
                "What killing could give back at most; thresholds in percent refer to it.",
                stats.user,
            ),
            ("swap_total_bytes", "SwapTotal.", stats.swap_total),
            ("swap_free_bytes", "SwapFree.", stats.swap_free),
        ] {
            family(f, name, "gauge", help)?;
            sample(f, name, &[], bytes(amount))?;
        }
        if let Some(stall) = self.stall {
            let name = "memory_stall_ratio";
            family(
                f,
                name,
                "gauge",
                "Share of the last 10 s in which some or all (full) tasks waited for memory.",
            )?;
            for (kind, millionths) in ["some", "full"].into_iter().zip(stall) {
                let (whole, part) = (millionths / 1_000_000, millionths % 1_000_000);
                sample(f, name, &[("kind", kind)], format_args!("{whole}.{part:06}"))?;
            }
        }
        family(f, "looks_total", "counter", "Looks at memory.")?;
        sample(f, "looks_total", &[], stats.looks)?;
        family(f, "kills_total", "counter", "Signals sent, by signal and reason.")?;
        for (signal, reason, count) in [
            ("SIGTERM", "memory", stats.terms_for_memory),
            ("SIGKILL", "memory", stats.kills_for_memory),
            ("SIGTERM", "limit", stats.terms_for_limit),
            ("SIGKILL", "limit", stats.kills_for_limit),
        ] {
            sample(f, "kills_total", &[("signal", signal), ("reason", reason)], count)?;
        }
        if stats.last_victim_at > 0 {
            let name = "last_victim_bytes";
            family(f, name, "gauge", "RSS and swap of the last victim, when it was signalled.")?;
            sample(f, name, &[], bytes(stats.last_victim))?;
            let name = "last_victim_timestamp_seconds";
            family(f, name, "gauge", "When the last victim was first signalled.")?;
            sample(f, name, &[], stats.last_victim_at)?;
        }
        family(f, "resident_bytes", "gauge", "Resident memory of the guard's two processes.")?;
        for (process, resident) in ["watch", "helper"].into_iter().zip(self.resident) {
            if let Some(resident) = resident {
                sample(f, "resident_bytes", &[("process", process)], bytes(resident))?;
            }
        }
        Ok(())
    }
}

fn bytes(amount: KiB) -> u64 {
    amount.0.saturating_mul(1024)
}

fn family(f: &mut fmt::Formatter<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP oom_guard_{name} {help}\n# TYPE oom_guard_{name} {kind}")
}

/// Values of labels are the guard's own words, which need no escapes.
fn sample(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    labels: &[(&str, &str)],
    value: impl fmt::Display,
) -> fmt::Result {
    write!(f, "oom_guard_{name}")?;
    for (index, (label, text)) in labels.iter().enumerate() {
        write!(f, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' })?;
    }
    if !labels.is_empty() {
        f.write_char('}')?;
    }
    writeln!(f, " {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut stats = Stats { looks: u64::MAX, ..Stats::default() };
        stats.count(Reason::Limit, true);
        stats.note_victim(KiB(7), Duration::from_secs(9));
        assert_eq!(Stats::unpack(&stats.pack()), Some(stats));
        assert_eq!(Stats::unpack(&[0; PACKED - 1]), None);
    }

    #[test]
    fn every_sample_belongs_to_a_family_and_what_is_unknown_is_left_out() {
        let mut stats = Stats { total: KiB(2), ..Stats::default() };
        let page = Page { stats: &stats, resident: [Some(KiB(1)), None], stall: None }.to_string();
        assert!(page.contains("oom_guard_memory_total_bytes 2048\n"), "{page}");
        assert!(page.contains("oom_guard_resident_bytes{process=\"watch\"} 1024\n"), "{page}");
        assert!(!page.contains("helper\"") && !page.contains("victim") && !page.contains("stall"));
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
