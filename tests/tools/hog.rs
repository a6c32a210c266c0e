//! A process that misbehaves in named ways, for the integration tests and for `scripts/bench.sh`.
//!
//! It takes memory, prints `ready` on stdout once everything asked for is in place, and sleeps until somebody ends it.
//! It is never installed, and it never touches any process but itself and its own children, which die with it.
//!
//! ```text
//! hog [--name COMM] [--size SIZE] [--rate BYTES_PER_SECOND] [--huge] [--delay SECONDS] [--adj N] [--new-group]
//!     [--children N] [--sleepers N] [--apart] [--threads N] [--zombie-leader] [--ignore-term] [--linger SECONDS]
//!     [--rename COMM] [--shrink] [--memfd] [--map FILE] [--lock] [--noise]
//!     [--slow-from PERCENT] [--new-session] [--user N] [--workers N] [--sharer] [--until PERCENT] [--exit SECONDS] [--rest SECONDS] [--touch PAGES_PER_SECOND] [--read FILE] [--jobs N] [--stick FILE] [--bomb] [--spin] [--group PID]
//! ```
//!
//! | option | what it does |
//! |---|---|
//! | `--name COMM` | sets `comm` to these bytes; `\n`, `\t`, `\\` and `\xHH` are understood |
//! | `--size SIZE` | anonymous memory to fill: bytes, or with suffix K, M, G |
//! | `--rate RATE` | bytes a second to fill at (same suffixes); without it as fast as possible |
//! | `--slow-from PERCENT` | fills four times as fast until available memory is that share of it and of anonymous memory together |
//! | `--huge` | asks for huge pages, the fastest way to eat memory |
//! | `--delay SECONDS` | sleeps before it fills |
//! | `--adj N` | writes its own `oom_score_adj` |
//! | `--new-group` | becomes the leader of a process group of its own |
//! | `--new-session` | becomes the leader of a session of its own |
//! | `--user N` | goes on as this user and group |
//! | `--children N` | forks N children in the same group; each of them fills SIZE, too |
//! | `--sleepers N` | forks N children that hold nothing |
//! | `--apart` | each of those in a process group of its own |
//! | `--workers N` | once it is filled, forks N children within a second, which read and share all of that memory |
//! | `--sharer` | once it is filled, starts a child that runs on the same memory, as one of vfork(2) does |
//! | `--threads N` | starts N further threads that sleep |
//! | `--zombie-leader` | the main thread ends; a second thread does all the rest, so that the leader is a zombie |
//! | `--ignore-term` | ignores SIGTERM; so do the children |
//! | `--linger SECONDS` | on SIGTERM, holds its memory that much longer, then exits |
//! | `--rename COMM` | on SIGUSR1, takes this name, written as for `--name` |
//! | `--shrink` | on SIGUSR1, gives back all that it has filled |
//! | `--memfd` | the memory is a file in memory that has no name |
//! | `--map FILE` | the memory is that file, which is made, say in a tmpfs |
//! | `--lock` | the memory is locked |
//! | `--noise` | two thirds of each page do not compress, as in most programs (without: one byte is not 0) |
//! | `--until PERCENT` | fills only until available memory is that share of it and of anonymous memory together |
//! | `--exit SECONDS` | exits that long after it is filled |
//! | `--group PID` | joins that process group, of the same session |
//! | `--rest SECONDS` | sleeps between that and `--touch` |
//! | `--touch RATE` | then writes to that many pages a second, at random; 0: as many as it can |
//! | `--read FILE` | another thread maps that file and reads from it at random, from the start: most often from the first eighth |
//! | `--jobs N` | as many threads for each of these two |
//! | `--stick FILE` | a second thread reads that file past all caches, from the start: it hangs in the kernel when the disk does |
//! | `--bomb` | forks for ever, and so does each child, when it has filled SIZE |
//! | `--spin` | instead of sleeping at the end, never sleeps |
//!
//! Exit status: 0 fine, 1 something was refused, 2 wrong usage.

use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::{ptr, thread};

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Between two looks at the clock: a quarter of a millisecond at 1 GiB/s.
const CHUNK_BYTES: usize = 256 << 10;

/// A pace that has fallen behind further than this starts anew, so that a pause of the machine is not made up for by a
/// burst that is faster than the rate.
const MAX_LAG_NS: i64 = 10_000_000;

/// Whether SIGTERM has arrived.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// What SIGUSR1 asks for: the name to take, and the mapping whose pages are to be given back.
static NEW_NAME: OnceLock<Vec<u8>> = OnceLock::new();
static FILLED: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());
static FILLED_BYTES: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Default)]
struct Options {
    name: Option<Vec<u8>>,
    size_bytes: usize,
    rate: Option<u64>,
    huge: bool,
    delay_ns: i64,
    adj: Option<i32>,
    new_group: bool,
    new_session: bool,
    user: Option<libc::uid_t>,
    workers: u32,
    sharer: bool,
    children: usize,
    sleepers: usize,
    apart: bool,
    threads: usize,
    zombie_leader: bool,
    ignore_term: bool,
    linger_ns: Option<i64>,
    rename: Option<Vec<u8>>,
    shrink: bool,
    memfd: bool,
    map: Option<CString>,
    lock: bool,
    noise: bool,
    until_percent: Option<u64>,
    slow_from_percent: Option<u64>,
    exit_ns: Option<i64>,
    rest_ns: i64,
    group: libc::pid_t,
    touch: Option<u64>,
    read: Option<CString>,
    stick: Option<CString>,
    bomb: bool,
    spin: bool,
    jobs: usize,
}

fn main() {
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("hog: {why}");
            exit(2);
        }
    };
    if options.new_group {
        become_group_leader();
    }
    // SAFETY: takes nothing.
    if options.new_session && unsafe { libc::setsid() } == -1 {
        fail("setsid");
    }
    // SAFETY: takes no pointer.
    if options.group != 0 && unsafe { libc::setpgid(0, options.group) } != 0 {
        fail("join the group");
    }
    if let Some(adj) = options.adj {
        let written = std::fs::write("/proc/self/oom_score_adj", format!("{adj}\n"));
        check(written, "write oom_score_adj");
    }
    if let Some(name) = &options.name {
        set_name(name);
    }
    if let Some(user) = options.user {
        // SAFETY: neither call takes a pointer.
        if unsafe { libc::setgid(user) != 0 || libc::setuid(user) != 0 } {
            fail("become another user");
        }
    }
    if options.ignore_term {
        set_handler(libc::SIGTERM, libc::SIG_IGN);
    } else if options.linger_ns.is_some() {
        set_handler(
            libc::SIGTERM,
            note_sigterm as extern "C" fn(libc::c_int) as libc::sighandler_t,
        );
    }
    if let Some(name) = &options.rename {
        // Set once, and before the handler could run.
        let _ = NEW_NAME.set(name.clone());
    }
    if options.rename.is_some() || options.shrink {
        set_handler(libc::SIGUSR1, change as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
    if options.zombie_leader {
        thread::spawn(move || misbehave(&options));
        end_this_thread();
    }
    misbehave(&options);
}

/// Everything after the set-up. Runs in the only thread that goes on, so that the children's parent thread, to whose
/// end `PR_SET_PDEATHSIG` is tied, is the one that stays.
fn misbehave(options: &Options) -> ! {
    sleep_ns(options.delay_ns);
    if options.bomb {
        bomb(options);
    }
    for job in 0..options.jobs {
        if let Some(file) = options.read.clone() {
            let started = thread::Builder::new().spawn(move || read_at_random(&file, job));
            check(started, "start a thread");
        }
    }
    if let Some(file) = options.stick.clone() {
        check(thread::Builder::new().spawn(move || stick(&file)), "start a thread");
    }
    // First the children: they must not inherit the memory that is filled below.
    start_children(options);
    for _ in 0..options.threads {
        // A stack of the least size that the standard library grants, since many threads may be asked for.
        let started = thread::Builder::new().stack_size(16 << 10).spawn(|| sleep_for_ever());
        check(started, "start a thread");
    }
    let memory = fill(options);
    if let (1.., Some((memory, filled))) = (options.workers, &memory) {
        start_workers(options.workers, memory, *filled);
    }
    if options.sharer {
        start_sharer();
    }
    println!("ready");
    check(io::stdout().flush(), "write to stdout");
    if let Some(linger_ns) = options.linger_ns {
        wait_for_term();
        sleep_ns(linger_ns);
        exit(0);
    }
    if let Some(exit_ns) = options.exit_ns {
        let started = thread::Builder::new().spawn(move || {
            sleep_ns(exit_ns);
            exit(0)
        });
        check(started, "start a thread");
    }
    sleep_ns(options.rest_ns);
    if let (Some((memory, filled)), Some(rate)) = (memory, options.touch) {
        for job in 1..options.jobs {
            let memory = memory.for_job(job);
            let started = thread::Builder::new().spawn(move || memory.touch_for_ever(filled, rate));
            check(started, "start a thread");
        }
        memory.touch_for_ever(filled, rate);
    }
    if options.spin {
        loop {
            std::hint::spin_loop();
        }
    }
    sleep_for_ever()
}

// ---- command line ----

fn parse(args: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options { jobs: 1, ..Options::default() };
    let mut args = args;
    while let Some(arg) = args.next() {
        let option = arg.to_str().ok_or_else(|| format!("{arg:?} is no option"))?;
        let mut value = || args.next().ok_or_else(|| format!("{option}: value missing"));
        match option {
            "--name" => options.name = Some(parse_name(&value()?.into_vec())?),
            "--size" => options.size_bytes = parse_size(option, &value()?)? as usize,
            "--rate" => options.rate = Some(parse_size(option, &value()?)?.max(1)),
            "--huge" => options.huge = true,
            "--delay" => options.delay_ns = parse_seconds(option, &value()?)?,
            "--adj" => options.adj = Some(parse_number(option, &value()?)?),
            "--new-group" => options.new_group = true,
            "--new-session" => options.new_session = true,
            "--user" => options.user = Some(parse_number(option, &value()?)?),
            "--sharer" => options.sharer = true,
            "--workers" => options.workers = parse_number(option, &value()?)?,
            "--children" => options.children = parse_number(option, &value()?)?,
            "--sleepers" => options.sleepers = parse_number(option, &value()?)?,
            "--apart" => options.apart = true,
            "--threads" => options.threads = parse_number(option, &value()?)?,
            "--zombie-leader" => options.zombie_leader = true,
            "--ignore-term" => options.ignore_term = true,
            "--linger" => options.linger_ns = Some(parse_seconds(option, &value()?)?),
            "--rename" => options.rename = Some(parse_name(&value()?.into_vec())?),
            "--shrink" => options.shrink = true,
            "--memfd" => options.memfd = true,
            "--map" => options.map = Some(parse_path(value()?)?),
            "--lock" => options.lock = true,
            "--noise" => options.noise = true,
            "--until" => options.until_percent = Some(parse_number(option, &value()?)?),
            "--slow-from" => {
                options.slow_from_percent = Some(parse_number(option, &value()?)?);
            }
            "--exit" => options.exit_ns = Some(parse_seconds(option, &value()?)?),
            "--group" => options.group = parse_number(option, &value()?)?,
            "--rest" => options.rest_ns = parse_seconds(option, &value()?)?,
            "--touch" => options.touch = Some(parse_number(option, &value()?)?),
            "--read" => options.read = Some(parse_path(value()?)?),
            "--stick" => options.stick = Some(parse_path(value()?)?),
            "--bomb" => options.bomb = true,
            "--jobs" => options.jobs = parse_number(option, &value()?)?,
            "--spin" => options.spin = true,
            _ => return Err(format!("{option:?} is no option")),
        }
    }
    if options.ignore_term && options.linger_ns.is_some() {
        return Err("--ignore-term with --linger makes no sense".into());
    }
    Ok(options)
}

fn parse_number<T: std::str::FromStr>(option: &str, value: &OsString) -> Result<T, String> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{option}: {value:?} is not a number that fits"))
}

fn parse_path(value: OsString) -> Result<CString, String> {
    CString::new(value.into_vec()).map_err(|why| why.to_string())
}

fn parse_seconds(option: &str, value: &OsString) -> Result<i64, String> {
    let seconds: f64 = parse_number(option, value)?;
    if !(0.0..=1e9).contains(&seconds) {
        return Err(format!("{option}: {value:?} is out of range"));
    }
    Ok((seconds * NS_PER_SECOND as f64) as i64)
}

/// Bytes, with binary suffix K, M or G.
fn parse_size(option: &str, value: &OsString) -> Result<u64, String> {
    let bad = || format!("{option}: {value:?} is not a size");
    let text = value.to_str().ok_or_else(bad)?;
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// The bytes of a `comm`, its escapes undone, closed by the NUL that `prctl` wants.
fn parse_name(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut name = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let meant = match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let mut digit = || rest.next().and_then(|d| (d as char).to_digit(16));
                    match (digit(), digit()) {
                        (Some(high), Some(low)) => (high * 16 + low) as u8,
                        _ => return Err("--name: \\x wants two hexadecimal digits".into()),
                    }
                }
                _ => return Err("--name: unknown escape".into()),
            },
            other => other,
        };
        if meant == 0 {
            return Err("--name: a name cannot hold a NUL".into());
        }
        name.push(meant);
    }
    name.push(0);
    Ok(name)
}

// ---- filling ----

/// Absolute times at which each chunk is due. Sleeping until a point in time, and not for a duration, keeps the error of
/// one sleep from adding to the next.
struct Pace {
    rate: Option<u64>,
    start_ns: i64,
    done_bytes: u64,
}

impl Pace {
    fn new(rate: Option<u64>) -> Pace {
        Pace { rate, start_ns: monotonic_ns(), done_bytes: 0 }
    }

    fn wait(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        self.done_bytes += bytes as u64;
        let due_after_ns = u128::from(self.done_bytes) * NS_PER_SECOND as u128 / u128::from(rate);
        let due_ns = self.start_ns + due_after_ns as i64;
        let now_ns = monotonic_ns();
        if due_ns > now_ns {
            sleep_until_ns(due_ns);
        } else if now_ns - due_ns > MAX_LAG_NS {
            self.start_ns = now_ns;
            self.done_bytes = 0;
        }
    }
}

/// Anonymous memory of this size, still without pages. It is never given back: the process ends with it.
struct Mapping {
    start: *mut u8,
    size_bytes: usize,
    page_bytes: usize,
    noise: bool,
    random: Random,
}

// SAFETY: the memory lives as long as the process, and threads do no more with it than to write bytes that nobody reads.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(options: &Options) -> Mapping {
        let size_bytes = options.size_bytes;
        let fd = match &options.map {
            // SAFETY: the path ends with a NUL.
            Some(path) => unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) },
            // SAFETY: so does the name.
            None if options.memfd => unsafe { libc::memfd_create(c"hog".as_ptr(), 0) },
            None => -1,
        };
        let is_file = options.map.is_some() || options.memfd;
        // SAFETY: takes no pointer.
        if is_file && unsafe { libc::ftruncate(fd, size_bytes as libc::off_t) } != 0 {
            fail("make a file");
        }
        let kind = if is_file { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
        // SAFETY: no address is asked for, so the kernel chooses a free range and no existing mapping is replaced.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                // Without a reservation, strict overcommit does not refuse what will be touched only in part.
                kind | libc::MAP_NORESERVE,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            fail("mmap");
        }
        // SAFETY: the range is the mapping made above. Pages are locked as they come, not all at once.
        if options.lock
            && unsafe { libc::mlock2(start, size_bytes, libc::MLOCK_ONFAULT as libc::c_uint) } != 0
        {
            fail("mlock2");
        }
        let advice = if options.huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        // SAFETY: the range is the mapping made above. A refusal (a kernel without huge pages) changes only the speed.
        unsafe { libc::madvise(start, size_bytes, advice) };
        // SAFETY: sysconf takes no pointer.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Mapping {
            start: start.cast(),
            size_bytes,
            page_bytes: usize::try_from(page_bytes).unwrap_or(4096),
            noise: options.noise,
            random: Random(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Writes one byte to each page from `from` on, `CHUNK_BYTES` at most. Returns how far it came.
    fn touch_chunk(&mut self, from: usize) -> usize {
        let to = self.size_bytes.min(from + CHUNK_BYTES);
        for offset in (from..to).step_by(self.page_bytes) {
            // SAFETY: `offset` lies below `size_bytes`, and the mapping is writable and lives as long as the process.
            unsafe { self.start.add(offset).write_volatile(1) };
            let noise = if self.noise { (self.page_bytes * 2 / 3).min(to - offset) } else { 0 };
            for inside in (8..noise & !7).step_by(8) {
                let value = self.random.next();
                // SAFETY: likewise, and both numbers are multiples of 8.
                unsafe { self.start.add(offset + inside).cast::<u64>().write_volatile(value) };
            }
        }
        to
    }

    /// Reads one byte of each page.
    fn read(&self, filled: usize) {
        for offset in (0..filled).step_by(self.page_bytes) {
            // SAFETY: `offset` lies below `size_bytes`, and the mapping lives as long as the process.
            unsafe { self.start.add(offset).read_volatile() };
        }
    }

    /// The same memory for another thread, which touches it in another order.
    fn for_job(&self, job: usize) -> Mapping {
        Mapping { random: Random(self.random.0 ^ job as u64), ..*self }
    }

    /// Writes to so many pages a second, at random; 0: as many as it can.
    fn touch_for_ever(mut self, filled: usize, rate: u64) -> ! {
        let pages = (filled / self.page_bytes).max(1) as u64;
        let mut pace = Pace::new((rate > 0).then_some(rate));
        loop {
            let page = (self.random.next() % pages) as usize;
            // SAFETY: the page lies below `size_bytes`, and the mapping is writable and lives as long as the process.
            unsafe { self.start.add(page * self.page_bytes).write_volatile(2) };
            pace.wait(1);
        }
    }
}

/// Xorshift (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Takes `--size`, and returns it and how much of it is filled. Runs in forked children, too, so it must not allocate from
/// the heap.
fn fill(options: &Options) -> Option<(Mapping, usize)> {
    if options.size_bytes == 0 {
        return None;
    }
    let meminfo = Meminfo::open();
    let mut memory = Mapping::new(options);
    if options.shrink {
        FILLED_BYTES.store(memory.size_bytes, Ordering::Relaxed);
        FILLED.store(memory.start.cast(), Ordering::Release);
    }
    let mut slow_from = options.slow_from_percent;
    let mut pace =
        Pace::new(options.rate.map(|rate| if slow_from.is_some() { rate * 4 } else { rate }));
    let mut done = 0;
    while done < memory.size_bytes {
        let next = memory.touch_chunk(done);
        pace.wait(next - done);
        done = next;
        if options.until_percent.is_some_and(|percent| meminfo.is_down_to(percent)) {
            break;
        }
        if slow_from.is_some_and(|percent| meminfo.is_down_to(percent)) {
            slow_from = None;
            pace = Pace::new(options.rate);
        }
    }
    Some((memory, done))
}

/// `/proc/meminfo`, opened once.
struct Meminfo {
    fd: libc::c_int,
}

impl Meminfo {
    fn open() -> Meminfo {
        let path = b"/proc/meminfo\0";
        // SAFETY: `path` ends with a NUL.
        let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd < 0 {
            fail("open /proc/meminfo");
        }
        Meminfo { fd }
    }

    /// Whether available memory is at most that share of it and of anonymous memory together.
    fn is_down_to(&self, percent: u64) -> bool {
        let available = self.kib(b"MemAvailable:");
        available * 100 <= (available + self.kib(b"AnonPages:")) * percent
    }

    /// That line in KiB (proc(5)). The first 1024 bytes are sure to hold those that are asked for here, up to AnonPages.
    fn kib(&self, key: &[u8]) -> u64 {
        let mut buffer = [0u8; 1024];
        // SAFETY: the buffer is as long as told and outlives the call.
        let got = unsafe { libc::pread(self.fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let text = &buffer[..usize::try_from(got).unwrap_or(0)];
        let Some(at) = text.windows(key.len()).position(|window| window == key) else {
            fail("find it in /proc/meminfo");
        };
        let digits = text[at + key.len()..].iter().skip_while(|b| **b == b' ');
        digits
            .take_while(|b| b.is_ascii_digit())
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    }
}

// ---- processes, threads, signals ----

fn become_group_leader() {
    // SAFETY: none of the three calls takes a pointer.
    let (refused, group, pid) =
        unsafe { (libc::setpgid(0, 0) != 0, libc::getpgrp(), libc::getpid()) };
    // A session leader is refused, but leads its group already.
    if refused && group != pid {
        fail("setpgid");
    }
}

fn set_name(name: &[u8]) {
    // SAFETY: `parse_name` closes the bytes with a NUL.
    if unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } != 0 {
        fail("set the name");
    }
}

fn set_handler(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: an all-zero sigaction is a valid one: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `handler` is SIG_IGN or a function of the signature that stands for flags without SA_SIGINFO, and it calls
    // nothing but async-signal-safe functions.
    if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
        fail("sigaction");
    }
}

/// Runs as a signal handler: stores a flag, nothing else.
extern "C" fn note_sigterm(_signal: libc::c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
}

/// Runs as a signal handler, of which both calls may be made there: takes another name, gives memory back.
extern "C" fn change(_signal: libc::c_int) {
    if let Some(name) = NEW_NAME.get() {
        // SAFETY: `parse_name` closes the bytes with a NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
    let (start, bytes) = (FILLED.load(Ordering::Acquire), FILLED_BYTES.load(Ordering::Relaxed));
    if !start.is_null() {
        // SAFETY: the range is a mapping that lives as long as the process, and nobody reads what it holds.
        unsafe { libc::madvise(start, bytes, libc::MADV_DONTNEED) };
    }
}

/// Looks every millisecond: simpler than closing the gap between a look and a `pause`, and the idle hog is not measured.
fn wait_for_term() {
    while !TERMINATED.load(Ordering::Relaxed) {
        sleep_ns(1_000_000);
    }
}

/// Forks `--children` and `--sleepers` and waits until all of them have what they should hold.
fn start_children(options: &Options) {
    let total = options.children + options.sleepers;
    if total == 0 {
        return;
    }
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        fail("pipe");
    }
    let [read_end, write_end] = ends;
    // SAFETY: takes no pointer.
    let parent = unsafe { libc::getpid() };
    for index in 0..total {
        // SAFETY: the child calls only async-signal-safe functions and never allocates: whatever lock another thread
        // held at this moment stays locked there. Nothing is buffered yet that both could write.
        match unsafe { libc::fork() } {
            -1 => fail("fork"),
            0 => live_as_child(options, index < options.children, parent, write_end),
            _ => {}
        }
    }
    // SAFETY: this descriptor is ours and is not used again. With it open, a child's death would not end the reads.
    unsafe { libc::close(write_end) };
    let mut filled = 0;
    let mut buffer = [0u8; 64];
    while filled < total {
        // SAFETY: the buffer is as long as told and outlives the call.
        let got = unsafe { libc::read(read_end, buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(got) {
            Ok(0) => fail("have all children fill their memory"),
            Ok(count) => filled += count,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => fail("read from the children"),
        }
    }
    // SAFETY: this descriptor is ours and is not used again.
    unsafe { libc::close(read_end) };
}

/// Forks as many children, which share this memory: as pages of one file, or until they write to it.
fn start_workers(count: u32, memory: &Mapping, filled: usize) {
    // SAFETY: takes no pointer.
    let parent = unsafe { libc::getpid() };
    for _ in 0..count {
        // SAFETY: the child calls only async-signal-safe functions and never allocates.
        match unsafe { libc::fork() } {
            -1 => fail("fork"),
            0 => {
                die_with(parent);
                memory.read(filled);
                sleep_for_ever()
            }
            _ => sleep_ns(NS_PER_SECOND / i64::from(count)),
        }
    }
}

/// A child on this memory, with a stack of its own, which only sleeps.
fn start_sharer() {
    const STACK: usize = 64 << 10;
    extern "C" fn sleep(_: *mut libc::c_void) -> libc::c_int {
        sleep_for_ever()
    }
    // Never given back: the child runs on it.
    let stack = Box::leak(vec![0u128; STACK / 16].into_boxed_slice());
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end, which is aligned, and nothing else is on it; the child touches no other
    // memory.
    let child = unsafe {
        libc::clone(sleep, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::null_mut())
    };
    if child == -1 {
        fail("clone");
    }
}

/// In a child of `parent`, which does not outlive it.
fn die_with(parent: libc::pid_t) {
    // SAFETY: takes a number and no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    // SAFETY: neither call takes a pointer. A parent that was gone before the line above will send nothing.
    unsafe {
        if libc::getppid() != parent {
            libc::_exit(1);
        }
    }
}

/// The life of a forked child.
fn live_as_child(options: &Options, fills: bool, parent: libc::pid_t, write_end: libc::c_int) -> ! {
    die_with(parent);
    if fills {
        fill(options);
    } else if options.apart {
        // SAFETY: takes no pointer.
        unsafe { libc::setpgid(0, 0) };
    }
    let byte = [1u8];
    // SAFETY: the buffer holds the one byte; the descriptor is the child's own copy and is not used again.
    unsafe {
        libc::write(write_end, byte.as_ptr().cast(), 1);
        libc::close(write_end);
    }
    sleep_for_ever()
}

/// Each process forks every 20 ms: an emulated machine cannot do more than double in that time.
fn bomb(options: &Options) -> ! {
    const EVERY_NS: i64 = 20_000_000;
    let mut filled = fill(options);
    loop {
        // SAFETY: takes no pointer; there is no other thread.
        if unsafe { libc::fork() } == 0 {
            // It writes to what it shares with its parent, and so has its own.
            if let Some((memory, size)) = &mut filled {
                let mut done = 0;
                while done < *size {
                    done = memory.touch_chunk(done);
                }
            }
        }
        sleep_ns(EVERY_NS);
    }
}

/// Reads from that file at random, page by page as they are needed, for ever.
fn read_at_random(path: &CString, job: usize) -> ! {
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
    // SAFETY: takes no pointer.
    let size = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
    let Ok(pages @ 1..) = usize::try_from(size / 4096) else { fail("read the file") };
    // SAFETY: no address is asked for.
    let start = unsafe {
        libc::mmap(ptr::null_mut(), pages * 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
    };
    if start == libc::MAP_FAILED {
        fail("map the file");
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ job as u64);
    loop {
        let number = random.next();
        // What is used is not all used alike.
        let wanted = if number >> 61 == 0 { pages } else { pages.div_euclid(8).max(1) };
        let page = (number % wanted as u64) as usize;
        // SAFETY: the page lies within the mapping, which nobody takes away.
        unsafe { start.cast::<u8>().add(page * 4096).read_volatile() };
    }
}

/// Reads the file past all caches, for ever. Such a read cannot be interrupted.
fn stick(path: &CString) -> ! {
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECT) };
    if fd < 0 {
        fail("open the file");
    }
    // What is read past the caches goes to whole pages.
    // SAFETY: no address is asked for.
    let buffer = unsafe {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0)
    };
    loop {
        // SAFETY: the buffer has 4096 bytes, of which nothing else knows.
        unsafe { libc::pread(fd, buffer, 4096, 0) };
        // One may be let through.
        sleep_ns(1_000_000);
    }
}

/// Ends the calling thread and leaves the others alone. As the main thread it becomes a zombie that leads living ones.
fn end_this_thread() -> ! {
    // SAFETY: this stack holds nothing that another thread uses: the options were moved into the new one. Ending by the
    // raw call, not by `pthread_exit`, unwinds nothing.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit returned")
}

fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: takes no pointer.
        unsafe { libc::pause() };
    }
}

// ---- time ----

fn monotonic_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    // On 32-bit targets both fields are shorter.
    #[allow(clippy::useless_conversion)]
    let ns = i64::from(now.tv_sec) * NS_PER_SECOND + i64::from(now.tv_nsec);
    ns
}

/// Sleeps until that time of `CLOCK_MONOTONIC`; a signal ends it early.
fn sleep_until_ns(due_ns: i64) {
    let due = libc::timespec {
        tv_sec: (due_ns / NS_PER_SECOND) as libc::time_t,
        tv_nsec: (due_ns % NS_PER_SECOND) as libc::c_long,
    };
    // SAFETY: `due` is a valid time, and with TIMER_ABSTIME no remainder is written.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &due, ptr::null_mut())
    };
}

/// Sleeps that long, whatever signals come.
fn sleep_ns(duration_ns: i64) {
    let due_ns = monotonic_ns() + duration_ns;
    while monotonic_ns() < due_ns {
        sleep_until_ns(due_ns);
    }
}

// ---- errors ----

/// Says what could not be done, with the reason in errno, and exits. Writes without allocating, since children call it.
fn fail(what: &str) -> ! {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let _ = writeln!(io::stderr(), "hog: cannot {what} (errno {errno})");
    // SAFETY: takes no pointer. Exit handlers are left out on purpose: in a child they are the parent's.
    unsafe { libc::_exit(1) }
}

fn check<T>(result: io::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|why| {
        eprintln!("hog: cannot {what}: {why}");
        exit(1)
    })
}
