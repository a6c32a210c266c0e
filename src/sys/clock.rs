//! Clocks: the monotonic one, and the processor time that this process has used.

use crate::units::Moment;
use std::time::Duration;

/// `CLOCK_MONOTONIC`. It stands still while the machine is suspended, so that a grace
/// period does not run out in a closed laptop.
pub fn now() -> Moment {
    Moment(read(libc::CLOCK_MONOTONIC))
}

/// Processor time of this process, user and system together.
pub fn cpu_time() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_PROCESS_CPUTIME_ID))
}

/// Ticks of the clock by which processes start (`starttime` in `/proc/PID/stat`): hundredths of
/// a second since boot, suspended or not, on all machines (`USER_HZ` in
/// include/asm-generic/param.h; alpha alone has others).
pub fn ticks() -> u64 {
    read(libc::CLOCK_BOOTTIME) / (1_000_000_000 / HZ)
}

/// Of those in a second.
pub const HZ: u64 = 100;

/// Time since 1970 by the wall clock, which may jump.
pub fn wall() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_REALTIME))
}

/// Does nothing for so long, unless a signal interrupts.
pub fn sleep(wait: Duration) {
    let _ = super::fd::poll(&mut [], Some(wait));
}

fn read(clock: libc::clockid_t) -> u64 {
    // SAFETY: all zero is a valid `timespec`; some targets have more fields than two.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is writable. Both clocks exist in every Linux, so the call cannot
    // fail; if it did, the time would read 0.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
