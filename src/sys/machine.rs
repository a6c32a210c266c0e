//! What machine this is: kernel release, processors, page size.

use crate::bytes;
use crate::units::KiB;

/// Major and minor number of the running kernel, `(0, 0)` if they cannot be read.
pub fn kernel_release() -> (u32, u32) {
    // SAFETY: all zero is a valid `utsname`.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` is writable; on failure it stays zero.
    unsafe { libc::uname(&mut names) };
    // SAFETY: the kernel ends the field with NUL, and before the call it was all zero.
    let release = unsafe { std::ffi::CStr::from_ptr(names.release.as_ptr()) };
    parse_release(release.to_bytes())
}

fn parse_release(release: &[u8]) -> (u32, u32) {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        bytes::parse_u64(digits).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Processors that this process may run on, at least 1.
pub fn processors() -> u32 {
    let mut set = [0u64; 128];
    let (size, at) = (std::mem::size_of_val(&set), set.as_mut_ptr());
    // SAFETY: `at` points to `size` writable bytes; what is not written stays 0.
    unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, at) };
    set.iter().map(|bits| bits.count_ones()).sum::<u32>().max(1)
}

/// The size of a page: 4, 16 or 64 KiB.
pub fn page() -> KiB {
    // SAFETY: takes no pointer.
    let bytes = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    KiB((bytes as u64).max(4096) / 1024)
}

#[cfg(test)]
mod tests {
    use super::parse_release;

    #[test]
    fn releases_of_all_vendors_parse() {
        assert_eq!(parse_release(b"6.18.44-fc-v445"), (6, 18));
        assert_eq!(parse_release(b"3.10.0-1160.el7.x86_64"), (3, 10));
        assert_eq!(parse_release(b"5.4-rc1"), (5, 4));
        assert_eq!(parse_release(b""), (0, 0));
    }
}
