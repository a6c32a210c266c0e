//! `/proc/pressure/memory`: how much of the time tasks wait for memory
//! (Documentation/accounting/psi.rst).

use super::Proc;
use crate::bytes;
use crate::sys::errno::gone;
use std::io;

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

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn shares_are_those_of_ten_seconds() {
        let text = b"some avg10=12.34 avg60=1.00 avg300=0.00 total=99\n\
                     full avg10=100.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(parse(text), Some([123_400, 1_000_000]));
        assert_eq!(parse(&text[..60]), None);
        assert_eq!(parse(b"some avg10=x\nfull avg10=0.00 \n"), None);
    }
}
