//! `/proc/vmstat`: how many pages the kernel has looked at to take memory back.

use super::Proc;
use crate::bytes;
use crate::sys::io;

/// Pages since boot (`shrink_inactive_list` in mm/vmscan.c).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scanned {
    pub for_machine: u64,
    /// Cgroups included; 0 if the kernel does not tell (before 5.8).
    pub in_all: u64,
}

impl Proc {
    /// One open, read, close.
    pub fn scanned(&mut self) -> io::Result<Scanned> {
        parse(self.read_file(b"vmstat")?).ok_or(io::Error::GONE)
    }
}

/// `None` if it lacks what every kernel with pressure information tells. Of a file that is cut
/// `in_all` may be missing, as before 5.8.
fn parse(text: &[u8]) -> Option<Scanned> {
    let count = |key: &[u8]| {
        let rest = bytes::whole_lines(text).find_map(|line| line.strip_prefix(key));
        rest.and_then(bytes::parse_u64)
    };
    let for_machine = count(b"pgscan_kswapd ")?.saturating_add(count(b"pgscan_direct ")?);
    let in_all = count(b"pgscan_anon ").zip(count(b"pgscan_file "));
    let in_all = in_all.map_or(0, |(anon, file)| anon.saturating_add(file));
    Some(Scanned { for_machine, in_all })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::FILE;
    use super::*;

    const TEXT: &str = "pgscan_kswapd 70\npgscan_direct 30\npgscan_anon 60\npgscan_file 900\n";
    const SCANNED: Scanned = Scanned { for_machine: 100, in_all: 960 };

    #[test]
    fn a_cut_file_tells_less_and_nothing_wrong() {
        for len in 0..TEXT.len() {
            let told = parse(&TEXT.as_bytes()[..len]);
            let less = Some(Scanned { in_all: 0, ..SCANNED });
            assert!(told.is_none() || told == less, "cut at {len}: {told:?}");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_what_is_read_tells_all_that_is_used() {
        let fixture = Fixture::new();
        let others = |bytes| "nr_other 123456789012\n".repeat(bytes / 22);
        let told = |before: usize| {
            fixture.write("vmstat", [others(before), TEXT.into(), others(2000)].concat());
            fixture.open().scanned()
        };
        assert_eq!(told(3300), Ok(SCANNED));
        assert_eq!(told(FILE), Err(io::Error::GONE));
    }

    #[test]
    fn pages_are_those_looked_at_and_not_those_of_similar_lines() {
        let text = b"pgscan_kswapd 7\npgscan_direct 3\npgscan_direct_throttle 9\n\
            pgscan_anon 6\npgscan_file 90\nnr_unstable 0\n";
        assert_eq!(parse(text), Some(Scanned { for_machine: 10, in_all: 96 }));
        // A cut number is a wrong number.
        assert_eq!(parse(b"pgscan_direct 3\npgscan_kswapd 7"), None);
        let old = b"pgscan_kswapd 1\npgscan_direct 2\n";
        assert_eq!(parse(old), Some(Scanned { for_machine: 3, in_all: 0 }));
        assert_eq!(parse(b""), None);
    }
}
