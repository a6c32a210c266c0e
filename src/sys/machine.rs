//! What machine this is: kernel release, processors, page size. And its end: sync and reboot.

use super::check;
use super::fd::{self, Access};
use super::io;
use crate::bytes;
use crate::units::KiB;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

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

/// Processors of this machine that were online at the first call, at least 1. Those that this process
/// may run on can be fewer, and say nothing of all the others.
pub fn processors() -> u32 {
    static COUNTED: AtomicU32 = AtomicU32::new(0);
    if COUNTED.load(Relaxed) == 0 {
        COUNTED.store(online().unwrap_or_else(usable).max(1), Relaxed);
    }
    COUNTED.load(Relaxed)
}

/// `None` if `/sys` does not tell.
fn online() -> Option<u32> {
    let file = fd::open(b"/sys/devices/system/cpu/online\0", Access::Read).ok()?;
    let mut text = [0; 1024];
    let len = fd::read(file.as_fd(), &mut text).ok()?;
    count_listed(bytes::first_word(&text[..len]))
}

/// How many are in a list such as `0-3,8`.
fn count_listed(list: &[u8]) -> Option<u32> {
    list.split(|&byte| byte == b',').try_fold(0, |sum: u32, range| {
        let (first, last) = bytes::cut_at(range, b'-');
        let first = bytes::parse_u64(first)?;
        let last = if last.is_empty() { first } else { bytes::parse_u64(last)? };
        let more = u32::try_from(last.checked_sub(first)?).ok()?;
        sum.checked_add(more)?.checked_add(1)
    })
}

/// The processors that this process may run on.
fn usable() -> u32 {
    let mut set = [0u64; 128];
    let (size, at) = (std::mem::size_of_val(&set), set.as_mut_ptr());
    // SAFETY: `at` points to `size` writable bytes; what is not written stays 0.
    unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, at) };
    set.iter().map(|bits| bits.count_ones()).sum()
}

/// The size of a page: 4, 16 or 64 KiB.
pub fn page() -> KiB {
    // SAFETY: takes no pointer.
    let bytes = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    KiB((bytes as u64).max(4096) / 1024)
}

/// The console of the machine. Writing to it never waits.
pub fn console() -> io::Result<OwnedFd> {
    fd::open(b"/dev/console\0", Access::Terminal)
}

/// Whether this process is in the initial PID namespace: in any other reboot(2) ends its init instead
/// (pid_namespaces(7)).
pub fn is_in_first_pid_namespace() -> bool {
    is_first(b"/proc/self/ns/pid\0", b"pid:[4026531836]")
}

/// Whether this process is in the initial user namespace.
pub fn is_in_first_user_namespace() -> bool {
    is_first(b"/proc/self/ns/user\0", b"user:[4026531837]")
}

/// The numbers of the initial ones are fixed (`PROC_PID_INIT_INO` and `PROC_USER_INIT_INO` in
/// include/linux/proc_ns.h). A kernel without namespaces of a kind has no other.
fn is_first(link: &[u8], first: &[u8]) -> bool {
    let mut name = [0; 32];
    match fd::read_link(link, &mut name) {
        Ok(len) => &name[..len] == first,
        Err(error) => error.is_gone(),
    }
}

/// Whether `reboot` would be refused. The kernel looks at the right before it looks at the magic
/// numbers, and does nothing for wrong ones (kernel/reboot.c).
pub fn may_reboot() -> io::Result<()> {
    // SAFETY: without the magic numbers it does nothing, and takes no pointer but null.
    let told = check(unsafe { libc::syscall(libc::SYS_reboot, 0, 0, 0, 0) });
    match told.map(drop) {
        Err(io::Error::INVALID) => Ok(()),
        other => other,
    }
}

/// Brings all that was written to the disks. May hang for ever.
pub fn sync() {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::sync() };
}

/// Reboots at once, without any process being told. Returns only why not.
pub fn reboot() -> io::Error {
    // SAFETY: takes no pointer.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    io::Error::last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_vendors_parse() {
        assert_eq!(parse_release(b"6.18.44-fc-v445"), (6, 18));
        assert_eq!(parse_release(b"3.10.0-1160.el7.x86_64"), (3, 10));
        assert_eq!(parse_release(b"5.4-rc1"), (5, 4));
        assert_eq!(parse_release(b""), (0, 0));
    }

    #[test]
    fn a_reboot_is_refused_without_the_right() {
        const VERSION_3: u32 = 0x2008_0522;
        const CAP_SYS_BOOT: u32 = 1 << 22;
        // The right is that of a thread (capabilities(7)).
        let thread = std::thread::spawn(|| {
            let (mut header, mut sets) = ([VERSION_3, 0], [0u32; 6]);
            let at = header.as_mut_ptr();
            // SAFETY: both are as large as this version wants them, and writable.
            assert_eq!(unsafe { libc::syscall(libc::SYS_capget, at, sets.as_mut_ptr()) }, 0);
            let has_it = sets[0] & CAP_SYS_BOOT != 0;
            let before = may_reboot();
            sets[0] &= !CAP_SYS_BOOT;
            // SAFETY: as above.
            assert_eq!(unsafe { libc::syscall(libc::SYS_capset, at, sets.as_ptr()) }, 0);
            // A filter of calls may refuse it besides, with an error of its own.
            assert!(has_it || before.is_err());
            assert!(may_reboot().is_err());
        });
        thread.join().unwrap();
    }

    #[test]
    fn processors_are_counted_from_a_list() {
        for (list, count) in [
            (&b"0"[..], Some(1)),
            (b"0-1", Some(2)),
            (b"0-3,8,10-11", Some(7)),
            (b"0-4095", Some(4096)),
            (b"", None),
            (b"0,", None),
            (b"3-0", None),
            (b"0-x", None),
            (b"0-4294967295", None),
            (b"0-18446744073709551615", None),
        ] {
            assert_eq!(count_listed(list), count, "{list:?}");
        }
    }
}
