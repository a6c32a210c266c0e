//! ZFS: what its cache (the ARC) can give back, which meminfo does not count as available.

use super::meminfo::MemInfo;
use super::Proc;
use crate::bytes;
use crate::sys::fd::Access;
use crate::sys::io;
use crate::units::KiB;
use std::os::fd::OwnedFd;

const ARCSTATS: &[u8] = b"spl/kstat/zfs/arcstats";

/// An open `arcstats`, if there is one. Costs nothing where there is none.
pub struct Zfs {
    /// An error if it is there and could not be opened.
    arcstats: io::Result<Option<OwnedFd>>,
}

impl Zfs {
    /// The cache is that of the whole machine. So it does not count beside a `meminfo` that was
    /// laid over the kernel's and tells of a container (lxcfs).
    pub fn find(proc: &Proc, meminfo: &MemInfo) -> Zfs {
        let arcstats = io::if_offered(proc.open_file(ARCSTATS, Access::Read));
        Zfs { arcstats: arcstats.map(|file| file.filter(|_| meminfo.is_of_kernel(proc))) }
    }

    /// What the cache can give back. Fails if it is there and cannot be read.
    pub fn spare(&self, proc: &mut Proc) -> io::Result<KiB> {
        match self.arcstats.as_ref().map_err(|&error| error)? {
            Some(file) => Ok(parse(proc.reread(file)?).unwrap_or(KiB::ZERO)),
            None => Ok(KiB::ZERO),
        }
    }
}

/// `size` less `c_min`, below which the cache does not shrink. Both stand in the first 3 KiB of
/// a file that may be longer than what is read of it.
fn parse(text: &[u8]) -> Option<KiB> {
    let bytes_of = |key: &[u8]| {
        bytes::whole_lines(text).find_map(|line| {
            let mut fields = bytes::fields(line);
            let is_it = fields.next() == Some(key);
            // Between them is a number that stands for the type.
            fields.nth(1).filter(|_| is_it).and_then(bytes::parse_u64)
        })
    };
    Some(KiB(bytes_of(b"size")?.saturating_sub(bytes_of(b"c_min")?) / 1024))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    /// As OpenZFS 2.1 writes it.
    const ARCSTATS: &[u8] = b"\
13 1 0x01 123 33456 7402060102 66478716886640
name                            type data
hits                            4    174896434
misses                          4    18851609
demand_data_hits                4    94794984
demand_data_misses              4    2513667
demand_metadata_hits            4    79908225
demand_metadata_misses          4    632783
prefetch_data_hits              4    123704
prefetch_data_misses            4    15607210
prefetch_metadata_hits          4    69521
prefetch_metadata_misses        4    97949
mru_hits                        4    30145157
mru_ghost_hits                  4    111579
mfu_hits                        4    144648513
mfu_ghost_hits                  4    373974
deleted                         4    18062831
mutex_miss                      4    5415
access_skip                     4    2
evict_skip                      4    1145
evict_not_enough                4    700
evict_l2_cached                 4    0
evict_l2_eligible               4    2255312710144
evict_l2_eligible_mfu           4    253438624768
evict_l2_eligible_mru           4    2001874085376
evict_l2_ineligible             4    183844757504
evict_l2_skip                   4    0
hash_elements                   4    583035
hash_elements_max               4    760032
hash_collisions                 4    1303640
hash_chains                     4    19228
hash_chain_max                  4    4
p                               4    8383553536
c                               4    16767066112
c_min                           4    1047941632
c_max                           4    16767066112
size                            4    16791717984
compressed_size                 4    16052915712
uncompressed_size               4    16066757120
overhead_size                   4    685315584
hdr_size                        4    40836960
data_size                       4    16724525056
metadata_size                   4    13706240
arc_no_grow                     4    0
arc_sys_free                    4    1315418048
arc_raw_size                    4    0
cached_only_in_progress         4    0
";

    const SPARE: KiB = KiB((16_791_717_984 - 1_047_941_632) / 1024);

    #[test]
    fn the_cache_gives_back_all_above_its_least_size() {
        assert_eq!(parse(ARCSTATS), Some(SPARE));
        assert_eq!(parse(b"c_min 4 2048\nsize 4 1024\n"), Some(KiB::ZERO));
        assert_eq!(parse(b"c_min 4 0\nsize 4 99999999999999999999\n"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_cut_file_tells_all_or_nothing() {
        for len in 0..ARCSTATS.len() {
            let told = parse(&ARCSTATS[..len]);
            assert!(told.is_none() || told == Some(SPARE), "cut at {len}: {told:?}");
        }
    }

    #[test]
    fn it_counts_only_beside_the_meminfo_of_the_machine() {
        let fixture = Fixture::new();
        fixture.write("meminfo", "MemTotal: 9 kB\nMemAvailable: 9 kB\n");
        let mut proc = fixture.open();
        let mut spare = || {
            let meminfo = MemInfo::open(&mut proc).unwrap();
            Zfs::find(&proc, &meminfo).spare(&mut proc).unwrap()
        };
        assert_eq!(spare(), KiB::ZERO);
        fixture.write("spl/kstat/zfs/arcstats", ARCSTATS);
        assert_eq!(spare(), SPARE);
        // Of another file system, as that of lxcfs is.
        fixture.remove("meminfo");
        fixture.link("meminfo", "/proc/self/stat");
        assert_eq!(spare(), KiB::ZERO);
    }
}
