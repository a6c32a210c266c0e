//! Of `meminfo`, whole lines with their unit count, the last of each key, and no amount is
//! larger than what holds it.

use super::{cuts, latin, number};
use crate::memory::{Memory, Tmpfs};
use crate::procfs::meminfo::parse;
use crate::units::KiB;
use std::collections::HashMap;

/// The amounts of all lines.
fn plainly(text: &[u8]) -> HashMap<String, u64> {
    let text = latin(text);
    let mut amounts = HashMap::new();
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    for line in whole.split('\n') {
        let Some((key, value)) = line.split_once(':') else { continue };
        if let [kib, "kB"] = value.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            amounts.extend(number(kib).map(|kib| (key.to_string(), kib)));
        }
    }
    amounts
}

pub fn check(input: &[u8]) {
    let amounts = plainly(input);
    for reserve in [KiB(0), KiB(11_264), KiB(u64::MAX)] {
        check_with(parse(input, reserve).ok(), &amounts);
    }
    for end in cuts(input) {
        let whole = input[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!(parse(&input[..end], KiB(0)), parse(&input[..whole], KiB(0)));
    }
}

fn check_with(memory: Option<Memory>, amounts: &HashMap<String, u64>) {
    let told = |key: &str| amounts.get(key).copied().map(KiB);
    let amount = |key: &str| told(key).unwrap_or_default();
    let needed = ["MemFree", "Active(file)", "Inactive(file)"];
    let is_told = told("MemAvailable").is_some();
    let can_be_known = is_told || needed.iter().all(|key| told(key).is_some());
    let total = amount("MemTotal");
    assert_eq!(memory.is_some(), can_be_known && total > KiB::ZERO);
    let Some(mut memory) = memory else { return };
    assert_eq!(memory.estimated, !is_told);
    assert_eq!((memory.total, memory.machine), (total, total));
    assert_eq!(memory.anon, amount("AnonPages").min(total));
    assert_eq!(memory.shmem, amount("Shmem").min(total));
    assert_eq!(memory.swap_total, amount("SwapTotal"));
    assert_eq!(memory.swap_free, amount("SwapFree").min(memory.swap_total));
    if let Some(told) = told("MemAvailable") {
        let most = told.min(total);
        assert!(memory.available <= most && most.less(memory.available) <= KiB::from_mib(8));
    }
    check_bounds(&memory);
    memory.count_slabs(KiB(10_000));
    let seen = Tmpfs { held: amount("Mapped"), shmem: amount("SReclaimable") };
    for seen in [None, Some(seen)] {
        memory.count_files(seen);
        memory.count_user();
        check_bounds(&memory);
        assert!(memory.available <= memory.user && memory.user <= total, "{memory:?}");
    }
}

/// Holds of all memory, whatever was told of it.
pub fn check_bounds(memory: &Memory) {
    let Memory { total, available, anon, shmem, files, .. } = *memory;
    assert!(available <= total && anon <= total && shmem <= total, "{memory:?}");
    assert!(total <= memory.machine && files <= shmem, "{memory:?}");
    assert!(memory.swap_free <= memory.swap_total, "{memory:?}");
}
