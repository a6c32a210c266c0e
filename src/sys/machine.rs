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
    let mut count = 0;
    // SAFETY: all zero is a valid set; the call fills it, or leaves it as it is.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, std::mem::size_of_val(&set), &mut set);
        for processor in 0..libc::CPU_SETSIZE as usize {
            count += u32::from(libc::CPU_ISSET(processor, &set));
        }
    }
    count.max(1)
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
