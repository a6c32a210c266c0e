//! `/proc/pressure`: how much of the time tasks wait for memory, and for disks
//! (Documentation/accounting/psi.rst).

use super::Proc;
use crate::bytes;
use crate::sys::io;

pub const PATH: &[u8] = b"pressure/memory";
pub const PATH_OF_DISKS: &[u8] = b"pressure/io";
/// The same of a cgroup.
pub const OF_CGROUP: &str = "memory.pressure";
pub const OF_CGROUP_DISKS: &str = "io.pressure";

/// How many tasks must wait for it to count.
#[derive(Clone, Copy)]
pub enum Waiting {
    /// At least one task.
    Some,
    /// Every task that has something to do.
    All,
}

impl Proc {
    /// Millionths of the last ten seconds in which some, and in which all tasks waited for
    /// memory. Fails if the kernel has no such file, or was started with `psi=0`
    /// (EOPNOTSUPP).
    pub fn stall_shares(&mut self) -> io::Result<[u32; 2]> {
        shares(self.read_file(PATH)?).ok_or(io::Error::GONE)
    }

    /// The same for a disk.
    pub fn disk_shares(&mut self) -> io::Result<[u32; 2]> {
        shares(self.read_file(PATH_OF_DISKS)?).ok_or(io::Error::GONE)
    }

    /// Millionths of the last ten seconds in which all tasks waited for memory and some for a disk,
    /// if the kernel tells of disks: that much at most.
    pub fn stall_share(&mut self) -> io::Result<u32> {
        let [_, full] = self.stall_shares()?;
        Ok(self.disk_shares().map_or(full, |[some, _]| full.min(some)))
    }
}

fn shares(text: &[u8]) -> Option<[u32; 2]> {
    Some([share(text, b"some avg10=")?, share(text, b"full avg10=")?])
}

/// The number behind `key`, which has two decimals.
fn share(text: &[u8], key: &[u8]) -> Option<u32> {
    let average = bytes::whole_lines(text).find_map(|line| line.strip_prefix(key))?;
    let [percent @ .., b'.', tens, ones] = bytes::first_word(average) else { return None };
    let of_percent = bytes::parse_u64(percent)? * 100 + bytes::parse_u64(&[*tens, *ones])?;
    u32::try_from(of_percent * 100).ok()
}

/// The microseconds since the boot in which tasks waited, which is the only number that is exact:
/// the averages are of ten seconds and more, and two seconds late.
pub fn total(text: &[u8], waiting: Waiting) -> Option<u64> {
    let key: &[u8] = match waiting {
        Waiting::Some => b"some ",
        Waiting::All => b"full ",
    };
    let line = bytes::whole_lines(text).find(|line| line.starts_with(key))?;
    let total = bytes::fields(line).find_map(|field| field.strip_prefix(b"total="))?;
    bytes::parse_u64(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"some avg10=12.34 avg60=1.00 avg300=0.00 total=99\n\
                          full avg10=100.00 avg60=0.00 avg300=0.00 total=9\n";

    #[test]
    fn shares_are_those_of_ten_seconds() {
        assert_eq!(shares(TEXT), Some([123_400, 1_000_000]));
        assert_eq!(shares(&TEXT[..60]), None);
        assert_eq!(shares(b"some avg10=x\nfull avg10=0.00 \n"), None);
    }

    #[test]
    fn the_counter_is_that_of_the_tasks_asked_for() {
        assert_eq!(total(TEXT, Waiting::All), Some(9));
        assert_eq!(total(TEXT, Waiting::Some), Some(99));
        // A cut number is a wrong number.
        assert_eq!(total(&TEXT[..TEXT.len() - 1], Waiting::All), None);
        let broken = b"some avg10=0.00 total=5\nfull avg10=0.00 total=x\n";
        assert_eq!(total(broken, Waiting::All), None);
        assert_eq!(total(b"", Waiting::Some), None);
    }
}
