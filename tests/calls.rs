//! What one kill costs, counted in the system calls of the real binary.

mod common;

use common::*;
use std::ffi::c_void;
use std::io;
use std::mem::size_of_val;
use std::os::unix::process::ExitStatusExt;

/// `PTRACE_GET_SYSCALL_INFO` and `PTRACE_SYSCALL_INFO_ENTRY` (Linux 5.3), which not every `libc` names.
const GET_SYSCALL_INFO: u32 = 0x420e;
const ENTRY: u8 = 1;

/// A system call of the guard's: its number, its arguments, and the path that it opens.
struct Call {
    number: i64,
    arguments: [u64; 6],
    path: String,
}

/// The guard, stopped at each system call (ptrace(2)), for the thread that began it.
struct Traced(libc::pid_t);

impl Traced {
    fn begin(guard: &Guard) -> io::Result<Traced> {
        let pid = guard.pid() as libc::pid_t;
        let options = libc::PTRACE_O_TRACESYSGOOD as usize;
        // SAFETY: both take numbers and touch no memory.
        unsafe {
            check(libc::ptrace(libc::PTRACE_SEIZE, pid, 0usize, options))?;
            check(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0usize, 0usize))?;
        }
        Ok(Traced(pid))
    }

    /// The next call, as it begins.
    fn next(&self) -> Call {
        let mut signal = 0;
        loop {
            let mut status = 0;
            // SAFETY: `status` has room for what is written.
            check(unsafe { libc::waitpid(self.0, &mut status, libc::__WALL) }.into())
                .expect("a stop");
            assert!(libc::WIFSTOPPED(status), "the guard has ended: {status}");
            let at = libc::WSTOPSIG(status);
            let call = if at == libc::SIGTRAP | 0x80 { self.call() } else { None };
            if at != libc::SIGTRAP | 0x80 && status >> 16 == 0 {
                signal = at;
            }
            // SAFETY: takes numbers and touches no memory.
            let gone_on =
                unsafe { libc::ptrace(libc::PTRACE_SYSCALL, self.0, 0usize, signal as usize) };
            check(gone_on).expect("to go on");
            signal = 0;
            if let Some(call) = call {
                return call;
            }
        }
    }

    /// `None` where a call ends.
    fn call(&self) -> Option<Call> {
        // `struct ptrace_syscall_info`: what it is in the first byte, and of a call that begins the number in
        // the fourth word and the arguments in the next six.
        let mut words = [0u64; 11];
        let (size, at) = (size_of_val(&words), words.as_mut_ptr());
        // SAFETY: `words` has room for `size` bytes.
        check(unsafe { libc::ptrace(GET_SYSCALL_INFO as _, self.0, size, at) })
            .expect("a system call");
        if words[0].to_ne_bytes()[0] != ENTRY {
            return None;
        }
        let arguments = words[4..10].try_into().expect("six words");
        let number = words[3] as i64;
        let path = if number == libc::SYS_openat { self.text(words[5]) } else { String::new() };
        Some(Call { number, arguments, path })
    }

    fn text(&self, at: u64) -> String {
        let mut bytes = [0u8; 64];
        let ours =
            libc::iovec { iov_base: bytes.as_mut_ptr().cast::<c_void>(), iov_len: bytes.len() };
        let theirs = libc::iovec { iov_base: at as *mut c_void, iov_len: bytes.len() };
        // SAFETY: `ours` is writable for its length; of the other process only what it has is read.
        let read = unsafe { libc::process_vm_readv(self.0, &ours, 1, &theirs, 1, 0) };
        let len = usize::try_from(read).expect("the path of a file");
        let end = bytes[..len].iter().position(|&byte| byte == 0).unwrap_or(len);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

impl Drop for Traced {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: `status` has room for what is written, and the other takes numbers. Only where it has stopped can
        // it be let go.
        unsafe {
            libc::waitpid(self.0, &mut status, libc::__WALL);
            libc::ptrace(libc::PTRACE_DETACH, self.0, 0usize, 0usize);
        }
    }
}

/// All calls from the look that sees memory low to the signal. Before that look nothing lists `/proc`.
fn calls_of_a_kill(traced: &Traced) -> Vec<Call> {
    let mut calls = Vec::new();
    let (mut last_look, mut first) = (0, None);
    loop {
        let call = traced.next();
        let Call { number, arguments, .. } = call;
        let is_signal = |at: usize| matches!(arguments[at] as i32, libc::SIGTERM | libc::SIGKILL);
        match number {
            libc::SYS_pread64 => last_look = calls.len(),
            libc::SYS_getdents64 => first = first.or(Some(last_look)),
            libc::SYS_pidfd_send_signal | libc::SYS_kill if is_signal(1) => {
                return calls.split_off(first.expect("a list of processes"));
            }
            _ => {}
        }
        calls.push(call);
    }
}

/// The calls of a kill at so much memory, which ends a hog by that signal; and the guard. `None` if it cannot be traced.
fn traced_kill(
    sandbox: &Sandbox,
    memory: &FakeMemory,
    options: &[&str],
    (available, signal): (u64, libc::c_int),
) -> Option<(Guard, Vec<Call>)> {
    // One file tells of memory.
    let guard = sandbox.guard(&[&["--psi", "0"], options].concat());
    let mut hog = sandbox.hog(&["--size", "60M"]);
    guard.make_look(1);
    let traced = match Traced::begin(&guard) {
        Ok(traced) => traced,
        Err(error) => {
            skip(&format!("cannot trace the guard: {error}"));
            return None;
        }
    };
    memory.available(available);
    let calls = calls_of_a_kill(&traced);
    drop(traced);
    assert_eq!(hog.wait_for_end().signal(), Some(signal));
    Some((guard, calls))
}

#[test]
fn memory_is_read_once_in_a_look_and_once_more_before_the_signal() {
    if skip_where_emulated("an emulator has system calls of its own") {
        return;
    }
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let kill = traced_kill(sandbox, &memory, &[], (LOW, libc::SIGTERM));
        let Some((guard, calls)) = kill else { return };
        let own = format!("{}/stat", guard.pid());
        let reads = calls.iter().filter(|call| call.number == libc::SYS_pread64).count();
        let traces = calls.iter().filter(|call| call.path == own).count();
        note(&format!("{} system calls from the look to the signal", calls.len()));
        assert_eq!((reads, traces), (2, 2), "memory, and the guard's ancestors");
        guard.stop();
    });
}

#[cfg(feature = "dbus-notify")]
#[test]
fn programs_are_told_before_a_process_is_signalled() {
    if skip_where_emulated("an emulator has system calls of its own") {
        return;
    }
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let options = ["--low-memory-signal"];
        let kill = traced_kill(sandbox, &memory, &options, (LOW, libc::SIGTERM));
        let Some((guard, calls)) = kill else { return };
        // Whatever the bus does: a byte to the process that speaks to it, the level.
        let is_level = |call: &&Call| call.number == libc::SYS_write && call.arguments[2] == 1;
        assert_eq!(calls.iter().filter(is_level).count(), 1);
        guard.stop();
    });
}

/// Before Linux 6.8 it waits for whatever makes a cgroup.
#[test]
fn the_watch_reads_the_cgroup_of_no_process_before_the_signal() {
    if skip_where_emulated("an emulator has system calls of its own") {
        return;
    }
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // What a victim's cgroup might ask for.
        let point = sandbox.path("cgroup2");
        std::fs::create_dir(&point).expect("a directory");
        if let Err(error) = mount(None, &point, Some("cgroup2"), 0, None) {
            return skip(&format!("no cgroups: {error}"));
        }
        for (available, signal) in [(LOW, libc::SIGTERM), (VERY_LOW, libc::SIGKILL)] {
            let kill = traced_kill(sandbox, &memory, &[], (available, signal));
            let Some((guard, calls)) = kill else { return };
            memory.available(PLENTY);
            let paths: Vec<_> = calls.iter().map(|call| &call.path).collect();
            assert!(paths.iter().any(|path| path.ends_with("/stat")), "{paths:?}");
            assert!(!paths.iter().any(|path| path.ends_with("/cgroup")), "{paths:?}");
            guard.stop();
        }
    });
}
