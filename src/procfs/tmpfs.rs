//! What the mounted tmpfs hold: of `Shmem`, the part that no kill gives back.
//!
//! The rest is shared memory of processes (memfd, shared mappings, System V), which goes with
//! the last of them.

use super::mountinfo::{self, unescaped, LongPath};
use super::{Path, Proc};
use crate::bytes;
use crate::sys::fd;
use crate::sys::io;
use crate::units::KiB;

/// Mounts that are told apart; of more than this, one that is mounted twice counts twice.
const MOUNTS: usize = 64;

impl Proc {
    /// Adds up all tmpfs that are mounted here, each once. May wait for other file systems, on
    /// which some of them are mounted.
    pub fn held_by_tmpfs(&mut self) -> io::Result<KiB> {
        let mut seen = [(0, 0); MOUNTS];
        let (mut count, mut held) = (0, KiB::ZERO);
        self.for_each_part(Path::from_bytes(b"self/mountinfo"), b'\n', &mut |line| {
            let Some((device, path)) = tmpfs(line) else { return };
            if seen[..count].contains(&device) {
                return;
            }
            // What else was mounted over it is not meant.
            if let Ok(Some(kib)) = fd::held_by_tmpfs(path.as_bytes(), device) {
                held = held.plus(KiB(kib));
                if count < seen.len() {
                    seen[count] = device;
                    count += 1;
                }
            }
        })?;
        Ok(held)
    }
}

/// Device and path, which ends with its NUL, if a line of mountinfo is of a tmpfs.
fn tmpfs(line: &[u8]) -> Option<((u32, u32), LongPath)> {
    let mount = mountinfo::parse(line)?;
    if !mount.is_tmpfs() {
        return None;
    }
    let (major, minor) = bytes::cut_at(mount.device, b':');
    let number = |text| bytes::parse_u64(text).and_then(|number| u32::try_from(number).ok());
    let device = (number(major)?, number(minor)?);
    let mut path = unescaped(mount.point);
    path.push(b"\0");
    Some((device, path))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn lines_of_tmpfs_are_told_from_others() {
        let parse =
            |line: &[u8]| tmpfs(line).map(|(device, path)| (device, path.as_bytes().to_vec()));
        let of = |device, path: &[u8]| Some((device, path.to_vec()));
        assert_eq!(
            parse(b"36 35 0:22 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw"),
            of((0, 22), b"/run\0")
        );
        assert_eq!(
            parse(br"36 35 0:5 / /a\040b\134\012\9 rw - devtmpfs x rw"),
            of((0, 5), b"/a b\\\n\\9\0")
        );
        for other in [
            &b"36 35 8:1 / / rw - ext4 tmpfs rw"[..],
            b"36 35 0:22 / /run rw,nosuid tmpfs",
            b"36 35 22 / /run rw - tmpfs tmpfs rw",
            b"36 35 0:22",
            b"",
        ] {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn only_what_is_really_there_counts() {
        let fixture = Fixture::new();
        // No tmpfs of that device: something else lies over it.
        fixture.write("self/mountinfo", "36 35 999:9 / / rw - tmpfs tmpfs rw\n");
        assert_eq!(fixture.open().held_by_tmpfs().unwrap(), KiB::ZERO);
        fixture.remove("self");
        assert!(fixture.open().held_by_tmpfs().is_err());
    }
}
