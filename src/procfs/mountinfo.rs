//! The lines of `/proc/PID/mountinfo` (proc(5)), such as
//! `36 35 0:22 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,mode=755`.

use crate::bytes::Buf;

/// As long as a path in the settings may be.
pub type LongPath = Buf<1024>;

/// What is used of a line.
pub struct Mount<'a> {
    /// Which mount of all it is, as long as it is mounted.
    pub id: &'a [u8],
    /// Major and minor number, with a colon between them.
    pub device: &'a [u8],
    /// What of the file system is mounted, and where; both are `unescaped` before use.
    pub root: &'a [u8],
    pub point: &'a [u8],
    /// The type of the file system.
    pub kind: &'a [u8],
    /// The last field: the options of the file system.
    pub options: &'a [u8],
}

impl Mount<'_> {
    /// devtmpfs and a root that was unpacked into memory are such, too (`shmem_fs_type` in
    /// mm/shmem.c).
    pub fn is_tmpfs(&self) -> bool {
        matches!(self.kind, b"tmpfs" | b"devtmpfs" | b"rootfs")
    }
}

pub fn parse(line: &[u8]) -> Option<Mount<'_>> {
    // Blanks alone: a path may hold other white space as it is, and users of FUSE choose theirs.
    let mut fields = line.split(|&byte| byte == b' ');
    let (id, _parent) = (fields.next()?, fields.next()?);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    // Behind options comes any number of tags, and then a dash.
    fields.find(|&field| field == b"-")?;
    let kind = fields.next()?;
    Some(Mount { id, device, root, point, kind, options: fields.next_back().unwrap_or_default() })
}

/// A path of mountinfo (proc(5)), in which blanks, newlines and backslashes are written as three
/// octal digits (`mangle_path` in fs/seq_file.c).
pub fn unescaped(text: &[u8]) -> LongPath {
    let (mut plain, mut rest) = (LongPath::new(), text);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, rest) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                plain.push(&[(a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')]);
                rest = behind;
            }
            _ => plain.push(&[byte]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_forges_another_field() {
        for blank in ["\x0b", "\x0c", "\r", "\u{85}"] {
            let point = format!("/home/u/a{blank}-{blank}cgroup2{blank}x");
            let line = format!("36 35 0:51 /x{blank}y {point} rw shared:5 - fuse s rw,user_id=7");
            let mount = parse(line.as_bytes()).unwrap();
            assert_eq!((mount.kind, mount.options), (&b"fuse"[..], &b"rw,user_id=7"[..]));
            assert_eq!((mount.device, mount.point), (&b"0:51"[..], point.as_bytes()));
        }
    }

    #[test]
    fn a_source_may_be_empty() {
        let mount = parse(b"36 35 0:51 / /x rw - tmpfs  rw,size=4k").unwrap();
        assert_eq!((mount.kind, mount.options), (&b"tmpfs"[..], &b"rw,size=4k"[..]));
        assert_eq!((mount.id, mount.is_tmpfs()), (&b"36"[..], true));
    }
}
