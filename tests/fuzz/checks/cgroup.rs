//! Files of cgroups: `memory.stat`, amounts, and the lines of `/proc/PID/cgroup`.

use super::meminfo::check_bounds;
use super::{cuts, latin, number};
use crate::memory::{CgroupMemory, CgroupStat, Memory};
use crate::procfs::cgroup::{is_at_or_below, parse_amount, parse_stat, Membership, Version};
use crate::procfs::service::of_cgroup;
use crate::units::KiB;

/// Each key of `memory.stat`, and where it counts: in `anon`, `file`, `slab`, `swap`, `shmem`,
/// `mapped`, `zswap` or `overhead`.
const KEYS: [(&str, usize); 13] = [
    ("anon", 0),
    ("rss", 0),
    ("active_file", 1),
    ("inactive_file", 1),
    ("slab_reclaimable", 2),
    ("swap", 3),
    ("shmem", 4),
    ("file_mapped", 5),
    ("mapped_file", 5),
    ("zswap", 6),
    ("kernel_stack", 7),
    ("pagetables", 7),
    ("slab_unreclaimable", 7),
];

fn sums(stat: &CgroupStat) -> [u64; 8] {
    let CgroupStat { anon, file, slab, swap, shmem, mapped, zswap, overhead } = *stat;
    [anon, file, slab, swap, shmem, mapped, zswap, overhead].map(|sum| sum.0)
}

/// The same from the text, slowly.
fn plainly(prefix: &str, text: &[u8]) -> Option<[u64; 8]> {
    let text = latin(text);
    let (mut sums, mut is_known) = ([0; 8], false);
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    for line in whole.split('\n') {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let Some(key) = key.strip_prefix(prefix) else { continue };
        let Some(&(_, place)) = KEYS.iter().find(|(known, _)| *known == key) else { continue };
        sums[place] += number::<u64>(value)? / 1024;
        is_known |= place == 0;
    }
    is_known.then_some(sums)
}

pub fn check(input: &[u8]) {
    for (version, prefix) in [(Version::One, "total_"), (Version::Two, "")] {
        let stat = parse_stat(version, input);
        assert_eq!(stat.as_ref().map(sums), plainly(prefix, input));
        if let Some(stat) = stat {
            check_within(stat, parse_amount(input));
        }
        for end in cuts(input) {
            let whole = input[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            assert_eq!(parse_stat(version, &input[..end]), parse_stat(version, &input[..whole]));
        }
    }
    let text = latin(input);
    let word = text.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
    let told = number(word).map(|bytes: u64| bytes / 1024);
    assert_eq!(parse_amount(input), told.or((word == "max").then_some(u64::MAX)).map(KiB));
    input.split(|&byte| byte == b'\n').for_each(check_membership);
}

/// A cgroup is never said to have more than it may have.
fn check_within(stat: CgroupStat, usage: Option<KiB>) {
    let machine = Memory {
        total: KiB(8_000_000),
        machine: KiB(8_000_000),
        available: KiB(5_000_000),
        swap_total: KiB(1000),
        swap_free: KiB(900),
        ..Memory::default()
    };
    for limit in [KiB(1), KiB(500_000), KiB(7_999_999)] {
        let (swap_limit, usage) = (stat.anon, usage.unwrap_or(stat.file));
        let cgroup = CgroupMemory { limit, usage, swap_limit, swap_used: stat.swap, stat };
        let mut memory = machine.within(&cgroup);
        memory.count_user();
        check_bounds(&memory);
        assert!(memory.is_limited() && memory.available <= machine.available);
        assert!(memory.available <= memory.user && memory.user <= limit, "{memory:?}");
    }
}

/// The path of a cgroup may hold anything but newlines.
fn check_membership(line: &[u8]) {
    let text = latin(line);
    let fields: Vec<_> = text.splitn(3, ':').collect();
    let Membership { unified, of_memory, controllers: known, path } = Membership::of(line);
    assert_eq!(unified, fields[0] == "0");
    let controllers = fields.get(1).copied().unwrap_or_default();
    assert_eq!(latin(known), controllers);
    assert_eq!(of_memory, controllers.split(',').any(|name| name == "memory"));
    assert_eq!(latin(path), fields.get(2).copied().unwrap_or_default());

    let path = [b"/", line].concat();
    let behind = |start: &[u8]| [start, &path[..]].concat();
    let (of_two, of_one) = (behind(b"0::"), behind(b"4:cpu,memory:"));
    let (of_two, of_one) = (Membership::of(&of_two), Membership::of(&of_one));
    assert!(of_two.unified && !of_two.of_memory && of_two.path == path);
    assert!(!of_one.unified && of_one.of_memory && of_one.path == path);

    // Nothing that a shell or an option parser would read otherwise, and nothing of a user's.
    for line in [line, &behind(b"0::"), &behind(b"0::/system.slice/")] {
        let Some(name) = of_cgroup(&Membership::of(line)) else { continue };
        assert!(!name.is_empty() && name.len() <= 255 && !name.starts_with(b"-"));
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@:._-\\".contains(byte);
        assert!(name.iter().all(is_plain), "{}", latin(name));
    }
    assert_eq!(of_cgroup(&Membership::of(&behind(b"0::/user.slice"))), None);

    let beyond = |end: &[u8]| [&path[..], end].concat();
    let is_outside = path == b"/.." || path.starts_with(b"/../");
    assert!(is_at_or_below(&path, &path) && is_at_or_below(b"/", &path) != is_outside);
    if !path.ends_with(b"/") && !path.ends_with(b"..") {
        assert!(is_at_or_below(&path, &beyond(b"/x")));
        assert!(!is_at_or_below(&path, &beyond(b"x")));
        assert!(!is_at_or_below(&beyond(b"/x"), &path));
    }
}
