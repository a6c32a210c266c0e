//! The allocator: a fixed arena for the start, sealed when the loop begins.
//!
//! After the seal nothing allocates but new settings (`renew`), which go into one of two halves
//! of what is left, while the old ones are in the other. If something does all the
//! same, a debug build ends with the place; a release counts it and takes it from the next
//! bytes, of which a reserve is locked with the rest. What finds no room comes from the
//! kernel: whatever happens, the guard goes on.
//!
//! For one thread: nothing in the program starts another.

use super::memory;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Start-up needs a few KiB (`-d` tells), and patterns of the largest size some 60 KiB each;
/// a page that is never handed out is never touched.
const ARENA: usize = 256 * 1024;
/// As much as a surprise may take without a page fault: the longest line, twice.
const RESERVE: usize = 4 * 1024;
/// Outside the arena a block of this size has a mapping of its own, which goes when it does;
/// smaller ones are taken from pieces of such.
const LARGE: usize = 4096;
const PIECE: usize = 64 * 1024;

#[repr(align(16))]
struct Room(UnsafeCell<[u8; ARENA]>);

// SAFETY: there is one thread.
unsafe impl Sync for Room {}

static ROOM: Room = Room(UnsafeCell::new([0; ARENA]));

/// Bytes that blocks are taken from, one behind the other.
struct Stock {
    start: AtomicUsize,
    used: AtomicUsize,
    end: AtomicUsize,
}

impl Stock {
    const fn new(end: usize) -> Stock {
        Stock { start: AtomicUsize::new(0), used: AtomicUsize::new(0), end: AtomicUsize::new(end) }
    }

    fn set(&self, start: usize, used: usize, end: usize) {
        self.start.store(start, Relaxed);
        self.used.store(used, Relaxed);
        self.end.store(end, Relaxed);
    }

    fn become_as(&self, other: &Stock) {
        self.set(other.start.load(Relaxed), other.used.load(Relaxed), other.end.load(Relaxed));
    }

    /// Where a new block lies; `base` is the address that all these are counted from.
    fn take(&self, base: usize, layout: Layout) -> Option<usize> {
        let mask = layout.align() - 1;
        let block = (base + self.used.load(Relaxed)).checked_add(mask)? & !mask;
        let end = (block - base).checked_add(layout.size())?;
        if end > self.end.load(Relaxed) {
            return None;
        }
        self.used.store(end, Relaxed);
        Some(block)
    }
}

/// Of the arena, in bytes from its beginning.
static NOW: Stock = Stock::new(ARENA);
/// Of the last piece outside, in addresses.
static OUTSIDE: Stock = Stock::new(0);
/// Small blocks outside that were not given back.
static SMALL: AtomicUsize = AtomicUsize::new(0);
static SEALED: AtomicBool = AtomicBool::new(false);
static AFTER_SEAL: AtomicUsize = AtomicUsize::new(0);
/// Where the halves begin, once sealed.
static HALVES: AtomicUsize = AtomicUsize::new(0);

pub struct Arena;

// SAFETY: every block is aligned and lies in bytes that no other block has: above what
// was used of a stock, or in a mapping of its own.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if SEALED.load(Relaxed) {
            note_late(layout);
        }
        let block = NOW.take(base(), layout).or_else(|| take_outside(layout));
        block.map_or(null_mut(), |block| block as *mut u8)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let block = block as usize;
        let offset = block.wrapping_sub(base());
        if offset < ARENA {
            // Only the newest block can be given back, which is what growing lists need.
            if is_newest(offset, layout.size()) {
                NOW.used.store(offset, Relaxed);
            }
        } else if layout.size() >= LARGE {
            // SAFETY: such a block has a mapping of its own, and its owner has done with it.
            unsafe { memory::unmap(block, layout.size()) };
        } else if SMALL.fetch_sub(1, Relaxed) == 1 {
            OUTSIDE.used.store(OUTSIDE.start.load(Relaxed), Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let offset = (block as usize).wrapping_sub(base());
        if is_newest(offset, layout.size()) && !SEALED.load(Relaxed) {
            // What grows piece by piece stays where it is, and leaves nothing behind.
            if let Some(end) = offset.checked_add(size).filter(|&end| end <= NOW.end.load(Relaxed))
            {
                NOW.used.store(end, Relaxed);
                return block;
            }
        }
        // SAFETY: the caller's promises, handed on; both blocks have the lesser size at least.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                block.copy_to_nonoverlapping(new, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Whether nothing was taken behind it. One that ends where the present half begins is of the
/// other half.
fn is_newest(offset: usize, size: usize) -> bool {
    offset >= NOW.start.load(Relaxed) && NOW.used.load(Relaxed) == offset.wrapping_add(size)
}

fn base() -> usize {
    ROOM.0.get() as usize
}

#[cold]
fn take_outside(layout: Layout) -> Option<usize> {
    // A mapping begins with a page; nothing asks for more.
    if layout.align() > LARGE {
        return None;
    }
    if layout.size() >= LARGE {
        return memory::map(layout.size(), libc::MAP_PRIVATE).ok();
    }
    let block = OUTSIDE.take(0, layout).or_else(|| {
        let piece = memory::map(PIECE, libc::MAP_PRIVATE).ok()?;
        OUTSIDE.set(piece, piece, piece + PIECE);
        OUTSIDE.take(0, layout)
    });
    SMALL.fetch_add(usize::from(block.is_some()), Relaxed);
    block
}

fn note_late(layout: Layout) {
    AFTER_SEAL.fetch_add(1, Relaxed);
    if cfg!(debug_assertions) {
        SEALED.store(false, Relaxed);
        let place = std::backtrace::Backtrace::force_capture();
        eprintln!("allocation of {} bytes after the seal:\n{place}", layout.size());
        std::process::abort();
    }
}

/// From here on an allocation is a bug.
pub fn seal() {
    let reserve_end = (used() + RESERVE).min(ARENA);
    HALVES.store(reserve_end, Relaxed);
    NOW.end.store(reserve_end, Relaxed);
    forbid();
}

/// Allows it, for a process that is not the watch.
pub(super) fn open() {
    SEALED.store(false, Relaxed);
}

/// Forbids it again, for the helper, which may be forked from anywhere.
pub fn forbid() {
    SEALED.store(true, Relaxed);
}

/// Runs `f` with blocks from the half that is not in use. If that is true, they are in use from
/// here on, and else given up: the other half is free.
pub fn renew(f: impl FnOnce() -> bool) -> bool {
    let before = Stock::new(0);
    before.become_as(&NOW);
    let first = HALVES.load(Relaxed);
    let middle = first + (ARENA - first) / 2;
    match NOW.start.load(Relaxed) == first {
        true => NOW.set(middle, middle, ARENA),
        false => NOW.set(first, first, middle),
    }
    open();
    let done = f();
    forbid();
    if !done {
        NOW.become_as(&before);
    }
    done
}

/// Bytes handed out and never given back.
pub fn used() -> usize {
    NOW.used.load(Relaxed)
}

/// Allocations since the seal; 0 unless there is a bug.
pub fn late_allocations() -> usize {
    AFTER_SEAL.load(Relaxed)
}

/// Whether the `len` bytes from `address` on are of the arena, and none of them is in use or behind
/// that as reserve: a half may begin within a page.
pub fn is_unused(address: usize, len: usize) -> bool {
    let offset = address.wrapping_sub(base());
    let in_use = offset < used() + RESERVE && offset + len > NOW.start.load(Relaxed);
    offset <= ARENA - len && offset >= HALVES.load(Relaxed) && !in_use
}

/// What unit tests run with: the C library's allocator, counted by thread, since tests
/// share a process.
#[cfg(test)]
pub mod counted {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

    struct Counted;

    #[global_allocator]
    static ALLOCATOR: Counted = Counted;

    // SAFETY: all calls are handed on to `System` as they are.
    unsafe impl GlobalAlloc for Counted {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let _ = COUNT.try_with(|count| count.set(count.get() + 1));
            // SAFETY: the caller's promises are handed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller's promises are handed on.
            unsafe { System.dealloc(block, layout) }
        }
    }

    /// Allocations of this thread since it began.
    pub fn allocations() -> usize {
        COUNT.with(Cell::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_the_newest_can_be_given_back() {
        let take = |layout| NOW.take(base(), layout);
        let layout = Layout::from_size_align(24, 16).unwrap();
        let (first, second) = (take(layout).unwrap(), take(layout).unwrap());
        assert_eq!((first % 16, second % 16), (0, 0));
        assert!(second >= first + 24);
        let before = used();
        // SAFETY: `second` came from the arena with this layout.
        unsafe { Arena.dealloc(second as *mut u8, layout) };
        assert_eq!(used(), before - 24);
        assert_eq!(take(Layout::from_size_align(ARENA + 1, 1).unwrap()), None);
        assert_eq!(take(Layout::from_size_align(usize::MAX / 2, 1).unwrap()), None);
    }

    #[test]
    fn the_last_page_is_unused_and_what_lies_partly_behind_it_is_not_of_the_arena() {
        let end = base() + ARENA;
        assert!(is_unused(end - 4096, 4096) && !is_unused(end - 4095, 4096));
        assert!(!is_unused(base(), 4096) && !is_unused(base() - 1, 4096));
    }

    #[test]
    fn what_finds_no_room_comes_from_outside_and_goes_back() {
        let small = Layout::from_size_align(1000, 8).unwrap();
        let blocks: Vec<_> = (0..100).map(|_| take_outside(small).unwrap()).collect();
        assert!(blocks.windows(2).all(|two| two[0].abs_diff(two[1]) >= 1000));
        let large = Layout::from_size_align(2 * PIECE, 4096).unwrap();
        let last = take_outside(large).unwrap();
        // SAFETY: all came from outside with these layouts, and are written to within them.
        unsafe {
            std::slice::from_raw_parts_mut(last as *mut u8, 2 * PIECE).fill(1);
            Arena.dealloc(last as *mut u8, large);
            for &block in &blocks {
                std::slice::from_raw_parts_mut(block as *mut u8, 1000).fill(1);
                Arena.dealloc(block as *mut u8, small);
            }
        }
        assert_eq!(OUTSIDE.used.load(Relaxed), OUTSIDE.start.load(Relaxed));
    }
}
