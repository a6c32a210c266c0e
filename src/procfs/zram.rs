//! zram: what swap that is kept compressed in memory takes of it.
//!
//! Ending a process gives that back too, so it belongs to user memory. (zswap is told in
//! meminfo itself.)

use super::Proc;
use crate::bytes::{self, Buf};
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::units::KiB;
use std::os::fd::OwnedFd;

/// Devices that are followed: one a processor was once advised, and machines with more than
/// this many have one large one today. What others hold is left out.
const DEVICES: usize = 8;

/// Where the numbers of `zramN` are.
const SYS_BLOCK: &[u8] = b"/sys/block/";

/// The zram devices that are swapped to.
#[derive(Default)]
pub struct Zram {
    /// `mm_stat` of each.
    files: [Option<OwnedFd>; DEVICES],
    /// One that is there could not be opened, or what tells of them not be read.
    is_lost: bool,
    /// `SwapTotal` when they were looked for: swap that comes or goes changes it.
    found_at: KiB,
}

impl Zram {
    /// Looks for them anew if swap has come or gone.
    pub fn follow(&mut self, proc: &mut Proc, swap_total: KiB) {
        if swap_total != self.found_at {
            self.found_at = swap_total;
            self.find(proc, SYS_BLOCK);
        }
    }

    /// What they hold physically, and whether one that is there cannot be read.
    pub fn held(&self, proc: &mut Proc) -> (KiB, bool) {
        let (mut held, mut is_lost) = (KiB::ZERO, self.is_lost);
        for file in self.files.iter().flatten() {
            match proc.reread(file) {
                Ok(text) => held = held.plus(memory_used(text).unwrap_or_default()),
                Err(_) => is_lost = true,
            }
        }
        (held, is_lost)
    }

    fn find(&mut self, proc: &mut Proc, sys_block: &[u8]) {
        let swaps = io::if_offered(proc.read_file(b"swaps"));
        (self.files, self.is_lost) = (Default::default(), swaps.is_err());
        let Ok(Some(swaps)) = swaps else { return };
        let opened = bytes::whole_lines(swaps).filter_map(device_of).filter_map(|device| {
            let mut path = Buf::<128>::from_bytes(sys_block);
            path.push(device);
            path.push(b"/mm_stat\0");
            io::if_offered(fd::open(path.as_bytes(), Access::Read)).transpose()
        });
        for (place, file) in self.files.iter_mut().zip(opened) {
            self.is_lost |= file.is_err();
            *place = file.ok();
        }
    }
}

/// `zram0` of a line such as `/dev/zram0 partition 123 0 100` (proc(5), `/proc/swaps`); Android
/// has it in `/dev/block`.
fn device_of(line: &[u8]) -> Option<&[u8]> {
    let path = bytes::first_word(line);
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let device = &path[slash + 1..];
    let number = device.strip_prefix(b"zram").filter(|_| path.starts_with(b"/dev/"))?;
    bytes::parse_u64(number).map(|_| device)
}

/// `mem_used_total`, the third number of `mm_stat`, in bytes: what it takes with all that is
/// lost between compressed pages (Documentation/admin-guide/blockdev/zram.rst).
fn memory_used(mm_stat: &[u8]) -> Option<KiB> {
    let mut fields = bytes::fields(bytes::whole_lines(mm_stat).next()?);
    bytes::parse_u64(fields.nth(2)?).map(|bytes| KiB(bytes / 1024))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn what_devices_in_use_hold_is_added_up() {
        let fixture = Fixture::new();
        fixture.write(
            "swaps",
            "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0  partition 9 1 100\n\
             /swapfile file 9 1 -2\n/dev/zram12 partition 9 1 100\n/home/zram3 file 9 1 -2\n",
        );
        for (device, used) in [("zram0", 4096), ("zram3", 1 << 30), ("zram12", 10 << 10)] {
            let mm_stat = format!("  99999 1111 {used} 0 99999 0 0 0 0\n");
            fixture.write(&format!("sys/{device}/mm_stat"), mm_stat);
        }
        let mut proc = fixture.open();
        let mut zram = Zram { found_at: KiB(18), ..Default::default() };
        assert_eq!(zram.held(&mut proc), (KiB::ZERO, false));
        zram.find(&mut proc, fixture.path("sys/").as_bytes());
        zram.follow(&mut proc, KiB(18));
        assert_eq!(zram.held(&mut proc), (KiB(14), false));
        // One that goes while it is open, or says nothing, holds nothing.
        fixture.write("sys/zram0/mm_stat", "");
        assert_eq!(zram.held(&mut proc), (KiB(10), false));
        fixture.write("swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        zram.follow(&mut proc, KiB(0));
        assert_eq!(zram.held(&mut proc), (KiB::ZERO, false));
    }

    #[test]
    fn one_that_is_there_and_cannot_be_opened_is_lost() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        let mut held = || {
            let mut zram = Zram::default();
            zram.find(&mut proc, fixture.path("sys/").as_bytes());
            zram.held(&mut proc)
        };
        // Neither was ever there.
        assert_eq!(held(), (KiB::ZERO, false));
        fixture.write("swaps", "/dev/zram0 partition 9 1 100\n/dev/zram1 partition 9 1 100\n");
        fixture.write("sys/zram1/mm_stat", "1 2 3072 4\n");
        assert_eq!(held(), (KiB(3), false));
        // A link to itself cannot be opened, nor a directory be read.
        fixture.write("sys/zram0/other", "");
        fixture.link("sys/zram0/mm_stat", "mm_stat");
        assert_eq!(held(), (KiB(3), true));
        fixture.remove("swaps");
        fixture.write("swaps/other", "");
        assert_eq!(held(), (KiB::ZERO, true));
    }

    #[test]
    fn only_devices_of_that_kind_count() {
        assert_eq!(device_of(b"/dev/zram0   partition\t9"), Some(&b"zram0"[..]));
        assert_eq!(device_of(b"/dev/block/zram1 partition"), Some(&b"zram1"[..]));
        for other in [&b"/dev/sda1 p"[..], b"zram0 p", b"/dev/zram p", b"/dev/zram0x p", b""] {
            assert_eq!(device_of(other), None);
        }
    }

    #[test]
    fn a_cut_line_tells_nothing() {
        assert_eq!(memory_used(b"1 2 3072 4\n"), Some(KiB(3)));
        assert_eq!(memory_used(b"1 2 3072 4"), None);
        assert_eq!(memory_used(b"1 2\n"), None);
    }
}
