//! Measures how soon a guard signals, for `scripts/bench.sh`: it is neither the program that fills memory nor the guard.
//!
//! It starts a command with SIGTERM blocked, so that the signal stays pending, and looks four times a millisecond at
//! available memory and at what is pending. When the signal is there it ends the command, and waits until it is gone.
//!
//! ```text
//! observer --crossing KIB -- COMMAND [ARGUMENT...]
//! ```
//!
//! Output: one line. `reaction_us N` is the time from the look that first saw `MemAvailable` at or below `KIB` to the one
//! that saw SIGTERM, below 0 if the signal was seen before; the error is a quarter of a millisecond. `reaction_us none`:
//! the command ended without a signal, none came for ten seconds, or available memory did not come to that within a minute.
//! Exit status: 0 measured or none, 1 something was refused, 2 wrong usage.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{exit, Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, ptr, thread};

const LOOK: Duration = Duration::from_micros(250);
/// After a signal that comes first, so long the crossing is waited for. At 1 GiB/s that is 200 MiB.
const MOST_EARLY: Duration = Duration::from_millis(200);
/// For all of it.
const MOST: Duration = Duration::from_secs(60);
/// And after a crossing that comes first, the signal.
const MOST_LATE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let parsed = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--crossing", kib, "--", _, ..] => kib.parse().ok(),
        _ => None,
    };
    let Some(crossing_kib) = parsed else {
        eprintln!("usage: observer --crossing KIB -- COMMAND [ARGUMENT...]");
        exit(2)
    };
    match observe(crossing_kib, &arguments[3..]) {
        Ok(Some(reaction_us)) => println!("reaction_us {reaction_us}"),
        Ok(None) => println!("reaction_us none"),
        Err(error) => {
            eprintln!("observer: {error}");
            exit(1)
        }
    }
}

/// Microseconds from the crossing to the signal.
fn observe(crossing_kib: u64, command: &[String]) -> io::Result<Option<i64>> {
    be_real_time();
    let meminfo = File::open("/proc/meminfo")?;
    let mut hog = Hog(start(command)?);
    let status = File::open(format!("/proc/{}/status", hog.0.id()))?;
    let (mut crossed, mut signalled) = (None, None);
    let mut next = Instant::now();
    let end = next + MOST;
    while crossed.is_none() || signalled.is_none() {
        let now = Instant::now();
        if crossed.is_none() && number(&meminfo, "MemAvailable:", 10)? <= crossing_kib {
            crossed = Some(now);
        }
        // Sent to the process, not to a thread of it: `ShdPnd` of proc(5), of which signal 1 is the lowest bit.
        if signalled.is_none() && number(&status, "ShdPnd:", 16)? & 1 << (libc::SIGTERM - 1) != 0 {
            signalled = Some(now);
        }
        let is_too_early = signalled.is_some_and(|at| now - at > MOST_EARLY);
        let is_too_late = crossed.is_some_and(|at| now - at > MOST_LATE);
        if is_too_early || is_too_late || now > end || hog.0.try_wait()?.is_some() {
            break;
        }
        next += LOOK;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    drop(hog);
    Ok(crossed.zip(signalled).map(|(crossed, signalled)| {
        // One of the two differences is 0.
        let from = |earlier, later: Instant| later.duration_since(earlier).as_micros() as i64;
        from(crossed, signalled) - from(signalled, crossed)
    }))
}

struct Hog(Child);

impl Drop for Hog {
    /// It is gone when it has been waited for, and its memory is back.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With SIGTERM blocked, which `exec` keeps (signal(7)).
fn start(command: &[String]) -> io::Result<Child> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).stdout(Stdio::null());
    // SAFETY: between fork and exec it calls only functions that are async-signal-safe, and makes no value.
    unsafe {
        child.pre_exec(|| {
            let mut set = MaybeUninit::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            match libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    };
    child.spawn()
}

/// So that it looks in time on a machine that is busy. Without the right to that it takes its turn as others do, and
/// children are ordinary ones again.
fn be_real_time() {
    // SAFETY: an all-zero value of this struct is valid.
    let mut parameters: libc::sched_param = unsafe { MaybeUninit::zeroed().assume_init() };
    parameters.sched_priority = 1;
    // musl's function always fails, so the raw call; 0 is the calling thread.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the struct outlives the call.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &parameters) };
    // The default slack of 50 us on each sleep is a fifth of what lies between two looks.
    // SAFETY: PR_SET_TIMERSLACK takes a number and no pointer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// The number on that line of a file of `/proc`, which is read from its start.
fn number(file: &File, key: &str, radix: u32) -> io::Result<u64> {
    let mut buffer = [0; 4096];
    let got = file.read_at(&mut buffer, 0)?;
    let text = String::from_utf8_lossy(&buffer[..got]);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
    let number = value.and_then(|value| u64::from_str_radix(value, radix).ok());
    number.ok_or_else(|| io::Error::other(format!("no {key} is told")))
}
