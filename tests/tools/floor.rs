//! The cheapest scan that could find a victim: one open, one read and one close of one small file a process.
//! `scripts/bench.sh` holds the guard against it.
//!
//! It only reads, chooses nothing and parses nothing, so no real scan can be faster.
//!
//! ```text
//! floor [--list] [--file NAME] [--pause MILLISECONDS] [--cold] PASSES
//! ```
//!
//! | option | what it does |
//! |---|---|
//! | `--list` | lists `/proc` anew in each pass, as any real scan must; without it the list is made once, before |
//! | `--file NAME` | the file below `/proc/PID` that is read; `oom_score` unless told otherwise |
//! | `--pause MS` | sleeps before each pass: caches and processor are then as cold as for a guard that scans at that interval |
//! | `--cold` | drops the kernel's caches of names before each pass, which takes root: `/proc/sys/vm/drop_caches` |
//!
//! It prints `processes N`, `passes N`, and the processor time of the median, fastest and slowest pass as
//! `cpu_ns_median N`, `cpu_ns_min N`, `cpu_ns_max N`, one a line. Exit status: 0 fine, 1 no `/proc`, 2 wrong usage.

use std::process::exit;
use std::time::Duration;

/// A directory entry of `getdents64` starts with inode (8), offset (8), record length (2) and type (1); see getdents(2).
const DIRENT_LENGTH_AT: usize = 16;
const DIRENT_NAME_AT: usize = 19;

/// Room for about a thousand entries of `/proc` a call. Smaller only means more calls.
const LIST_BYTES: usize = 32 << 10;

/// Room for `PID/NAME\0`: ten digits and a file name of proc(5), which are all shorter than 40 bytes.
const PATH_BYTES: usize = 64;

struct Options {
    list: bool,
    file: Vec<u8>,
    pause: Duration,
    cold: bool,
    passes: usize,
}

fn main() {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("floor: {why}");
            exit(2);
        }
    };
    let path = b"/proc\0";
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `path` ends with a NUL.
    let proc_fd = unsafe { libc::open(path.as_ptr().cast(), flags) };
    if proc_fd < 0 {
        eprintln!("floor: cannot open /proc");
        exit(1);
    }

    let mut listed = Vec::new();
    for_each_process(proc_fd, |digits| {
        listed.push((path_of(digits, &options.file), 0u8));
    });
    let mut count = listed.len();
    let mut pass_ns = Vec::with_capacity(options.passes);
    for _ in 0..options.passes {
        std::thread::sleep(options.pause);
        if options.cold && std::fs::write("/proc/sys/vm/drop_caches", "2").is_err() {
            eprintln!("floor: cannot write /proc/sys/vm/drop_caches");
            exit(1);
        }
        let start_ns = cpu_ns();
        if options.list {
            count = 0;
            for_each_process(proc_fd, |digits| {
                read_file(proc_fd, &path_of(digits, &options.file));
                count += 1;
            });
        } else {
            for (path, first_byte) in &mut listed {
                *first_byte = read_file(proc_fd, path);
            }
        }
        pass_ns.push(cpu_ns() - start_ns);
    }
    pass_ns.sort_unstable();
    println!("processes {count}\npasses {}", pass_ns.len());
    println!("cpu_ns_median {}", pass_ns[pass_ns.len() / 2]);
    println!("cpu_ns_min {}", pass_ns[0]);
    println!("cpu_ns_max {}", pass_ns[pass_ns.len() - 1]);
}

fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let file = b"oom_score".to_vec();
    let mut options = Options { list: false, file, pause: Duration::ZERO, cold: false, passes: 0 };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => options.list = true,
            "--cold" => options.cold = true,
            "--file" => {
                options.file = args.next().ok_or("--file: value missing")?.into_bytes();
                if options.file.len() > 40 {
                    return Err("--file: too long".into());
                }
            }
            "--pause" => {
                let value = args.next().ok_or("--pause: value missing")?;
                let pause_ms = value.parse();
                options.pause =
                    Duration::from_millis(pause_ms.map_err(|_| format!("--pause: {value:?}"))?);
            }
            passes => {
                options.passes = passes
                    .parse()
                    .map_err(|_| format!("{passes:?} is neither an option nor a number"))?;
            }
        }
    }
    match options.passes {
        0 => Err("the number of passes is missing".into()),
        _ => Ok(options),
    }
}

/// `PID/NAME`, closed by a NUL.
fn path_of(digits: &[u8], file: &[u8]) -> [u8; PATH_BYTES] {
    let mut path = [0; PATH_BYTES];
    path[..digits.len()].copy_from_slice(digits);
    path[digits.len()] = b'/';
    path[digits.len() + 1..][..file.len()].copy_from_slice(file);
    path
}

/// Opens, reads and closes one file. Returns its first byte, so that the read has a use; 0 if the process is gone.
fn read_file(proc_fd: libc::c_int, path: &[u8; PATH_BYTES]) -> u8 {
    // One page, as for any file of proc(5) that is one line.
    let mut buffer = [0u8; 1024];
    // SAFETY: `path_of` leaves at least one NUL at the end of `path`; the buffer is as long as told and outlives the
    // calls; the descriptor is closed once, here.
    unsafe {
        let fd = libc::openat(proc_fd, path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return 0;
        }
        libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
    }
    buffer[0]
}

/// Calls `visit` with the name of each entry of `/proc` that is a number.
fn for_each_process(proc_fd: libc::c_int, mut visit: impl FnMut(&[u8])) {
    let mut buffer = [0u8; LIST_BYTES];
    // SAFETY: takes no pointer.
    unsafe { libc::lseek(proc_fd, 0, libc::SEEK_SET) };
    loop {
        // SAFETY: the kernel writes at most as many bytes as told, and the buffer has them.
        let got = unsafe {
            libc::syscall(libc::SYS_getdents64, proc_fd, buffer.as_mut_ptr(), buffer.len())
        };
        let Ok(filled @ 1..) = usize::try_from(got) else {
            return;
        };
        let mut entry_at = 0;
        while entry_at < filled {
            let entry = &buffer[entry_at..filled];
            let length = [entry[DIRENT_LENGTH_AT], entry[DIRENT_LENGTH_AT + 1]];
            let name = &entry[DIRENT_NAME_AT..];
            if name[0].is_ascii_digit() {
                let end = name.iter().position(|byte| *byte == 0);
                visit(&name[..end.unwrap_or(0).min(10)]);
            }
            entry_at += usize::from(u16::from_ne_bytes(length));
        }
    }
}

/// Processor time of this process so far.
fn cpu_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
