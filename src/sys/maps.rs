//! Lines of `/proc/self/maps`: which of this process's memory can be touched ahead of
//! need.

use crate::bytes;

/// Addresses of one mapping that can be read.
pub struct Mapping {
    pub start: usize,
    pub end: usize,
    pub writable: bool,
    pub is_stack: bool,
}

/// A line such as `7f00-7f10 r-xp 00001000 08:01 42 /usr/bin/x`. `None` for what must not
/// be touched: memory that cannot be read, that another process may write to (`s` in place
/// of `p`), and what the kernel itself puts there (vdso, vvar, vsyscall).
pub fn touchable(line: &[u8]) -> Option<Mapping> {
    let mut fields = bytes::fields(line);
    let (range, rights) = (fields.next()?, fields.next()?);
    let name = fields.nth(3).unwrap_or(b"");
    let is_stack = name == b"[stack]";
    let of_kernel = name.first() == Some(&b'[') && name != b"[heap]" && !is_stack;
    if rights.first() != Some(&b'r') || rights.last() != Some(&b'p') || of_kernel {
        return None;
    }
    let dash = range.iter().position(|&b| b == b'-')?;
    let (start, end) = (address(&range[..dash])?, address(&range[dash + 1..])?);
    Some(Mapping { start, end, writable: rights.get(1) == Some(&b'w'), is_stack })
}

fn address(text: &[u8]) -> Option<usize> {
    let mut address = 0;
    for &digit in text {
        address = address << 4 | char::from(digit).to_digit(16)? as usize;
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::touchable;

    #[test]
    fn only_what_can_be_read_and_is_not_the_kernels_is_touched() {
        let code = touchable(b"7f00000-7f10000 r-xp 00001000 08:01 42   /usr/bin/x y").unwrap();
        assert_eq!((code.start, code.end, code.writable), (0x7f00000, 0x7f10000, false));
        assert!(touchable(b"7f00000-7f10000 rw-p 00000000 00:00 0 ").unwrap().writable);
        assert!(touchable(b"7f00000-7f10000 rw-p 00000000 00:00 0    [heap]").is_some());
        assert!(touchable(b"7ffd000-7ffe000 rw-p 00000000 00:00 0  [stack]").unwrap().is_stack);
        for line in [
            &b"7f00000-7f10000 ---p 00000000 00:00 0"[..],
            b"7f00000-7f10000 rw-s 00000000 00:01 42   /dev/zero (deleted)",
            b"7ffd000-7ffe000 r--p 00000000 00:00 0  [vvar]",
            b"7ffd000-7ffe000 r-xp 00000000 00:00 0  [vdso]",
            b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
            b"",
            b"garbage",
        ] {
            assert!(touchable(line).is_none());
        }
    }
}
