//! `/proc/pressure/memory`: how much of the time tasks wait for memory
//! (Documentation/accounting/psi.rst).

use super::Proc;
use crate::bytes;
use crate::stall::Meter;
use crate::sys::errno::gone;
use crate::sys::fd;
use crate::sys::io;
use crate::units::{Moment, Percent};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

impl Proc {
    /// Millionths of the last ten seconds in which some, and in which all tasks waited for
    /// memory. Fails where the kernel has no such file, or was started with `psi=0`
    /// (EOPNOTSUPP).
    pub fn stall_shares(&mut self) -> io::Result<[u32; 2]> {
        parse(self.read_file(b"pressure/memory")?).ok_or_else(gone)
    }
}

fn parse(text: &[u8]) -> Option<[u32; 2]> {
    Some([share(text, b"some avg10=")?, share(text, b"full avg10=")?])
}

/// The number behind `key`, which has two decimals.
fn share(text: &[u8], key: &[u8]) -> Option<u32> {
    let average = bytes::whole_lines(text).find_map(|line| line.strip_prefix(key))?;
    let (percent, hundredths) = match bytes::first_word(average) {
        [percent @ .., b'.', tens, ones] => (percent, [*tens, *ones]),
        _ => return None,
    };
    let of_percent = bytes::parse_u64(percent)? * 100 + bytes::parse_u64(&hundredths)?;
    u32::try_from(of_percent * 100).ok()
}

/// The microseconds since the boot in which all tasks stalled, which is the only number that is
/// exact: the averages are of ten seconds and more, and two seconds late.
fn total(text: &[u8]) -> Option<u64> {
    let full = bytes::whole_lines(text).find(|line| line.starts_with(b"full "))?;
    let total = bytes::fields(full).find_map(|field| field.strip_prefix(b"total="))?;
    bytes::parse_u64(total)
}

/// An open file of that kind, and what was read from it.
pub struct Pressure {
    file: OwnedFd,
    meter: Meter,
}

impl Pressure {
    /// Fails where nothing can be read, as with `psi=0`.
    pub fn of(file: OwnedFd, window: Duration) -> io::Result<Pressure> {
        fd::read_at(file.as_fd(), &mut [0; 1], 0)?;
        Ok(Pressure { file, meter: Meter::new(window) })
    }

    /// One `pread`: which share of the window all tasks stalled. What makes no sense says that
    /// they did not. Fails where the file went with its cgroup.
    pub fn read(&mut self, proc: &mut Proc, now: Moment) -> io::Result<Percent> {
        let len = fd::read_at(self.file.as_fd(), &mut proc.file, 0)?;
        let total = total(&proc.file[..len]);
        Ok(total.map_or(Percent::default(), |total| self.meter.share(now, total)))
    }

    /// What was does not count any more.
    pub fn restart(&mut self) {
        self.meter.restart();
    }

    /// What was up to the last reading does not.
    pub fn restart_here(&mut self) {
        self.meter.restart_here();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"some avg10=12.34 avg60=1.00 avg300=0.00 total=99\n\
                          full avg10=100.00 avg60=0.00 avg300=0.00 total=9\n";

    #[test]
    fn shares_are_those_of_ten_seconds() {
        assert_eq!(parse(TEXT), Some([123_400, 1_000_000]));
        assert_eq!(parse(&TEXT[..60]), None);
        assert_eq!(parse(b"some avg10=x\nfull avg10=0.00 \n"), None);
    }

    #[test]
    fn the_counter_is_that_of_a_full_stall() {
        assert_eq!(total(TEXT), Some(9));
        // A cut number is a wrong number.
        assert_eq!(total(&TEXT[..TEXT.len() - 1]), None);
        assert_eq!(total(b"some avg10=0.00 total=5\nfull avg10=0.00 total=x\n"), None);
        assert_eq!(total(b""), None);
    }
}
