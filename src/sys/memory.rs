//! The guard's own memory: locked, present, and how fast this machine fills fresh
//! memory at all.

use super::fd::{self, Access};
use super::io;
use super::{arena, check, clock, machine, maps};
use crate::units::{least, KiB};
use std::os::fd::AsFd;
use std::time::Duration;

/// How deep the stack of the watch goes in its loop, and that of the helper while it serves:
/// from where they prepare their memory downwards. Read from `[stack]` in smaps around a kill
/// of a group with all messages and files, and of a walk over all descriptors. The frames of
/// a debug build are larger.
pub const WATCH: usize = 7 * FRAMES;
pub const HELPER: usize = 3 * FRAMES;
const FRAMES: usize = if cfg!(debug_assertions) { 2 } else { 1 };

/// Gives back what the stack needed once and does not any more, and locks all memory, present
/// and future: each page when it is first touched where the kernel can do that
/// (`MCL_ONFAULT`, Linux 4.4), else all that is mapped. The lock is not inherited: each side of
/// a fork asks for its own.
pub fn lock() -> io::Result<()> {
    // Without that, the pages only stay.
    let _ = for_each_mapping(&mut shed);
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE;
    // SAFETY: takes no pointer.
    match check(unsafe { libc::mlockall(all | libc::MCL_ONFAULT) }.into()) {
        Err(io::Error::INVALID) => {
            // SAFETY: takes no pointer.
            check(unsafe { libc::mlockall(all) }.into()).map(drop)
        }
        result => result.map(drop),
    }
}

/// Brings in all of this process's own memory that the loop may need, so that no later
/// step waits for the disk or for a free page. Writable pages become its own, also those
/// that a fork made common; of the arena what nothing will be allocated from stays absent, and
/// of the stack what lies more than `pages` below. Left alone is what others may write to.
pub fn touch_all(pages: usize) -> io::Result<()> {
    for_each_mapping(&mut touch)?;
    touch_stack(pages);
    Ok(())
}

/// Each mapping of this process that can be touched.
fn for_each_mapping(visit: &mut dyn FnMut(maps::Mapping)) -> io::Result<()> {
    let maps = fd::open(b"/proc/self/maps\0", Access::Read)?;
    // Some ten lines; one that loads the C library reads it in several pieces.
    fd::for_each_part(maps.as_fd(), &mut [0; 1024], b'\n', &mut |line| {
        maps::touchable(line).map(&mut *visit);
    })
}

/// An address in the caller's frame, or a little below.
#[inline(never)]
fn stack_here() -> usize {
    let here = 0u8;
    &here as *const u8 as usize
}

/// Of the stack, gives back what lies below what is in use.
fn shed(mapping: maps::Mapping) {
    if mapping.is_stack {
        // A page to spare for the call itself.
        let page = machine::page().0 as usize * 1024;
        let end = (stack_here() & !(page - 1)) - page;
        // SAFETY: the kernel has just listed the mapping; nothing will read below the stack's
        // end what was written there before.
        unsafe {
            libc::madvise(
                mapping.start as *mut _,
                end.saturating_sub(mapping.start),
                libc::MADV_DONTNEED,
            )
        };
    }
}

fn touch(mapping: maps::Mapping) {
    // Of the stack what is in use; what it may grow into has a measure of its own.
    let start = match mapping.is_stack {
        true => stack_here() & !(PAGE_MIN - 1),
        false => mapping.start,
    };
    for page in (start..mapping.end).step_by(PAGE_MIN) {
        if arena::is_unused(page, PAGE_MIN) {
            continue;
        }
        let byte = page as *mut u8;
        // SAFETY: the kernel has just listed the page as mapped with these rights, and
        // nothing unmaps in between: there is one thread, and it does not. A byte is
        // written back unchanged.
        unsafe {
            let value = byte.read_volatile();
            if mapping.writable {
                byte.write_volatile(value);
            }
        }
    }
}

/// The smallest page of any architecture: touching more often than needed is harmless.
const PAGE_MIN: usize = 4096;

/// Makes the pages present that the stack will grow into, one by one.
#[inline(never)]
fn touch_stack(pages: usize) {
    let page = [0u8; PAGE_MIN];
    if pages > 0 {
        touch_stack(pages - 1);
    }
    std::hint::black_box(&page);
}

/// Which pages a measurement asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Small ones, also where the kernel would give huge ones unasked.
    Plain,
    /// Huge ones, where the kernel gives them on request.
    Huge,
}

/// KiB that one processor fills in a second, at its best: of some pieces the one that took the
/// shortest counts, since a disturbed one only looks slower. Takes up to `size` of memory, gives
/// it back, and ends with the piece in which `limit` is over. `None` if there is none.
pub fn fill_rate(pages: Pages, size: KiB, limit: Duration) -> Option<KiB> {
    const HUGE: usize = 2 << 20;
    // As large as one page is. Of plain ones so many that reading the clock does not count.
    let piece = if pages == Pages::Huge { HUGE } else { HUGE / 8 };
    let pieces = usize::try_from(size.0).ok()? * 1024 / piece;
    let len = pieces * piece + HUGE;
    let fresh = map(len, libc::MAP_PRIVATE).ok()?;
    let advice = match pages {
        Pages::Plain => libc::MADV_NOHUGEPAGE,
        Pages::Huge => libc::MADV_HUGEPAGE,
    };
    // SAFETY: exactly this mapping; a kernel without huge pages refuses, without harm.
    unsafe { libc::madvise(fresh as *mut _, len, advice) };
    // Huge pages begin at multiples of their size; one is to spare for that.
    let first = (fresh + HUGE - 1) & !(HUGE - 1);
    let begin = clock::now();
    let mut best: Option<u64> = None;
    for number in 0..pieces {
        let before = clock::now();
        for page in (0..piece).step_by(PAGE_MIN) {
            let byte = (first + number * piece + page) as *mut u8;
            // SAFETY: inside the fresh mapping, which all pieces fit behind `first`.
            unsafe { byte.write_volatile(1) };
        }
        let after = clock::now();
        // A coarse clock may stand still.
        let taken = Some(after.0 - before.0).filter(|&taken| taken > 0);
        best = least(best, taken);
        if after.since(begin) > limit {
            break;
        }
    }
    // SAFETY: exactly this mapping, and no reference to it was made.
    unsafe { unmap(fresh, len) };
    Some(KiB(piece as u64 / 1024 * 1_000_000_000 / best?))
}

/// Memory that is all zero at first, and shared with the processes that are forked from here on.
/// `touch_all` leaves it alone.
pub struct Shared {
    start: usize,
    len: usize,
}

impl Shared {
    pub fn new(len: usize) -> io::Result<Shared> {
        Ok(Shared { start: map(len, libc::MAP_SHARED)?, len })
    }

    /// Processes that are forked from here on go without it.
    pub fn share_no_more(&self) {
        // SAFETY: exactly this mapping, which stays as it is here.
        unsafe { libc::madvise(self.start as *mut _, self.len, libc::MADV_DONTFORK) };
    }

    /// Only once no other process may write there any more.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: exactly this mapping, which is initialised and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.len) }
    }

    /// No other process may use it meanwhile.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: likewise; `self` is borrowed as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.start as *mut u8, self.len) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: `map` got exactly this mapping, and no reference to it is left.
        unsafe { unmap(self.start, self.len) };
    }
}

/// Where fresh memory of that size begins, all of it zero: `MAP_PRIVATE` or `MAP_SHARED`.
pub(super) fn map(len: usize, sharing: libc::c_int) -> io::Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = sharing | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh mapping touches no memory in use.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    match start {
        libc::MAP_FAILED => Err(io::Error::last()),
        start => Ok(start as usize),
    }
}

/// # Safety
/// `map` gave these bytes, and nothing uses them any more.
pub(super) unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(start as *mut _, len) };
}
