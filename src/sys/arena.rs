//! The allocator: a fixed arena for the start, sealed when the loop begins.
//!
//! After the seal nothing allocates but new settings (`unsealed`), which go into one of two
//! halves of what is left, while the old ones are in the other. If something does all the
//! same, a debug build ends with the place; a release counts it and takes it from the next
//! bytes, of which a reserve is locked with the rest. What finds no room comes from the C
//! library: whatever happens, the guard goes on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Start-up needs a few KiB (`-d` tells), and patterns of the largest size some 60 KiB each;
/// a page that is never handed out is never touched.
const ARENA: usize = 256 * 1024;
/// As much as a surprise may take without a page fault.
const RESERVE: usize = 16 * 1024;

#[repr(align(4096))]
struct Room(UnsafeCell<[u8; ARENA]>);

// SAFETY: bytes are handed out once each, by an atomic counter, and only the one who
// got them touches them.
unsafe impl Sync for Room {}

static ROOM: Room = Room(UnsafeCell::new([0; ARENA]));
static USED: AtomicUsize = AtomicUsize::new(0);
static SEALED: AtomicBool = AtomicBool::new(false);
/// Where the bytes end that may be handed out now.
static END: AtomicUsize = AtomicUsize::new(ARENA);
static AFTER_SEAL: AtomicUsize = AtomicUsize::new(0);
/// Where the halves begin, once sealed.
static HALVES: AtomicUsize = AtomicUsize::new(0);
/// What is in use is in the second half.
static IN_SECOND: AtomicBool = AtomicBool::new(true);
/// `USED` and `END` as they were before a half was begun.
static KEPT: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

pub struct Arena;

#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: Arena = Arena;

// SAFETY: every block is aligned and lies in bytes that nobody else was given: either
// above the counter's old value and below its new one, or in a block of `System`.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if SEALED.load(Ordering::Relaxed) {
            note_late(layout);
        }
        match take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promises about `layout` are handed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let offset = (block as usize).wrapping_sub(base());
        if offset >= ARENA {
            // SAFETY: not from the arena, so `alloc` got it from `System`.
            unsafe { System.dealloc(block, layout) };
            return;
        }
        // Only the newest block can be given back, which is what growing lists need.
        let (end, start) = (offset + layout.size(), offset);
        let _ = USED.compare_exchange(end, start, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn base() -> usize {
    ROOM.0.get() as usize
}

fn take(layout: Layout) -> Option<*mut u8> {
    // The room itself is aligned to 4096, and nothing asks for more.
    if layout.align() > 4096 {
        return None;
    }
    let mut start = 0;
    let claim = |used: usize| {
        start = used.checked_add(layout.align() - 1)? & !(layout.align() - 1);
        start.checked_add(layout.size()).filter(|&end| end <= END.load(Ordering::Relaxed))
    };
    USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok()?;
    // SAFETY: `start` lies inside the room.
    Some(unsafe { ROOM.0.get().cast::<u8>().add(start) })
}

fn note_late(layout: Layout) {
    AFTER_SEAL.fetch_add(1, Ordering::Relaxed);
    if cfg!(debug_assertions) {
        SEALED.store(false, Ordering::Relaxed);
        let place = std::backtrace::Backtrace::force_capture();
        eprintln!("allocation of {} bytes after the seal:\n{place}", layout.size());
        std::process::abort();
    }
}

/// From here on an allocation is a bug.
pub fn seal() {
    let reserve_end = (used() + RESERVE).min(ARENA);
    HALVES.store(reserve_end, Ordering::Relaxed);
    END.store(reserve_end, Ordering::Relaxed);
    SEALED.store(true, Ordering::Relaxed);
}

/// Allows it again, for a process that is not the watch.
pub fn open() {
    SEALED.store(false, Ordering::Relaxed);
}

/// Forbids it again, for the helper, which may be forked from anywhere.
pub fn forbid() {
    SEALED.store(true, Ordering::Relaxed);
}

/// Allows it while `f` runs.
pub fn unsealed<T>(f: impl FnOnce() -> T) -> T {
    let was_sealed = SEALED.swap(false, Ordering::Relaxed);
    let done = f();
    SEALED.store(was_sealed, Ordering::Relaxed);
    done
}

/// From here on blocks come from the half that is not in use.
pub fn begin_half() {
    KEPT[0].store(used(), Ordering::Relaxed);
    KEPT[1].store(END.load(Ordering::Relaxed), Ordering::Relaxed);
    let first = HALVES.load(Ordering::Relaxed);
    let middle = first + (ARENA - first) / 2;
    let (start, end) = match IN_SECOND.load(Ordering::Relaxed) {
        true => (first, middle),
        false => (middle, ARENA),
    };
    USED.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
}

/// What was allocated since `begin_half` is in use from here on, or, if not `keep`, was given
/// up: the other half is free.
pub fn end_half(keep: bool) {
    if keep {
        IN_SECOND.fetch_xor(true, Ordering::Relaxed);
    } else {
        USED.store(KEPT[0].load(Ordering::Relaxed), Ordering::Relaxed);
        END.store(KEPT[1].load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Bytes handed out and never given back.
pub fn used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// Allocations since the seal; 0 unless there is a bug.
pub fn late_allocations() -> usize {
    AFTER_SEAL.load(Ordering::Relaxed)
}

/// Addresses in the arena behind what is used and behind the reserve.
pub fn unused() -> Range<usize> {
    base() + (used() + RESERVE).min(ARENA)..base() + ARENA
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
        let layout = Layout::from_size_align(24, 16).unwrap();
        let first = take(layout).unwrap() as usize;
        let second = take(layout).unwrap();
        assert_eq!((first % 16, second as usize % 16), (0, 0));
        assert!(second as usize >= first + 24);
        let before = used();
        // SAFETY: `second` came from the arena with this layout.
        unsafe { Arena.dealloc(second, layout) };
        assert_eq!(used(), before - 24);
        assert_eq!(take(Layout::from_size_align(ARENA + 1, 1).unwrap()), None);
    }
}
