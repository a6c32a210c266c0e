//! Watches how usable a small machine stays while something goes wrong in it, for `scripts/rescue.sh`.
//!
//! It starts a program from disk ten times a second and notes how late each one ends, looks at memory and stalls beside that,
//! starts what goes wrong, waits for its end, and prints what it has seen. All its memory is locked and both its threads are
//! real-time ones, so that what it measures is the machine. It ends nothing but what it has started itself.
//!
//! ```text
//! pulse --beat PROGRAM... [--idle SECONDS] [--for SECONDS] [--tail SECONDS] [--fills N] [--pause SECONDS]
//!       [--innocent PID]... [--guard PID] [--cgroup DIRECTORY] -- COMMAND [ARGUMENT...]
//! ```
//!
//! | option | what it does |
//! |---|---|
//! | `--beat PROGRAM` | a copy of BusyBox, which is started ten times a second and does nothing; may be repeated: then they take turns |
//! | `--idle SECONDS` | before it all, when each program has been started twice (5) |
//! | `--for SECONDS` | how long the command may live; then it is ended, and has not been gone (60) |
//! | `--tail SECONDS` | after its end (5) |
//! | `--fills N` | starts the command N times, one after the other (1) |
//! | `--pause SECONDS` | between two of them (11) |
//! | `--innocent PID` | a process that must live |
//! | `--guard PID` | another one, told apart |
//! | `--cgroup DIRECTORY` | an empty cgroup (v2) for the command, which is gone when nobody is left in it |
//!
//! Output: lines `result KEY VALUE...`, and `series ...`, one line for each 200 ms, of which any other rule can be tried
//! out: ms since the start, available memory in percent of user memory, free swap in percent, ms in which
//! all tasks waited for memory, and in which some waited for a disk, and pages: those that came from swap, those that went
//! there, those that came back to memory from anywhere, major faults, and those of files that are in memory (`PAGES`); at last how
//! many ms the last heartbeat took, or the one under way has taken so far.
//! Exit status: 0 measured, 1 something was refused, 2 wrong usage.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::{ptr, thread};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;

/// Ten times a second.
const BEAT: i64 = 100 * MS;
/// Between two looks at memory. An emulated machine takes 0.7 ms for a look and fills 256 MiB in 4 s, of which 5 ms are a
/// tenth of a percent.
const LOOK_NEAR: i64 = 5 * MS;
const LOOK_FAR: i64 = 20 * MS;
/// Near: so many thousandths of user memory are available.
const NEAR: u64 = 200;
/// At or below these many thousandths, memory is low: the default of all guards.
const LOW: u64 = 100;
/// Between two looks at stalls.
const STALL_EVERY: i64 = 20 * MS;
/// As many as lie within the longest window, and one more.
const STALL_LOOKS: usize = 2401;
/// The windows, in looks: 48 s is the default of `--psi-window`, and 6 s count without swap.
const WINDOWS: [usize; 2] = [300, 2400];
/// Between two looks at processes, and between two lines of the series.
const PROCESSES_EVERY: i64 = 200 * MS;
/// Ten minutes of them.
const SERIES_MOST: usize = 3000;
/// To start each of ten programs twice. It takes 2 s, unless others keep the processor busy.
const MOST_WARM_UP: i64 = 30 * SECOND;
/// Both threads need little, and all of it is locked.
const STACK_BYTES: usize = 64 << 10;

/// What tells of pages on their way, in `/proc/vmstat`. The third has been split since 5.9, and both halves are counted then.
const PAGES: [&[u8]; 7] = [
    b"pswpin ",
    b"pswpout ",
    b"workingset_refault_anon ",
    b"workingset_refault_file ",
    b"pgmajfault ",
    b"nr_active_file ",
    b"nr_inactive_file ",
];

/// Copies of BusyBox are told what to be by an argument if their own name is this.
const BUSYBOX: &[u8] = b"busybox\0";
const TRUE: &[u8] = b"true\0";
const ADJ: &[u8] = b"/proc/self/oom_score_adj\0";

// What the thread that beats tells the other one.
/// When the beat that is under way was due; 0: none.
static DUE: AtomicI64 = AtomicI64::new(0);
/// The longest delay since it was last set to 0.
static LONGEST: AtomicI64 = AtomicI64::new(0);
/// When that one was due.
static LONGEST_DUE: AtomicI64 = AtomicI64::new(0);
/// When a beat had first taken a second since this was last set to 0.
static SLOW: AtomicI64 = AtomicI64::new(0);
/// How long the last one took that has ended.
static LAST: AtomicI64 = AtomicI64::new(0);
static BEATS: AtomicI64 = AtomicI64::new(0);
static ENOUGH: AtomicBool = AtomicBool::new(false);

struct Options {
    beats: Vec<CString>,
    idle: i64,
    limit: i64,
    tail: i64,
    fills: usize,
    pause: i64,
    innocents: Vec<i32>,
    guard: Option<i32>,
    cgroup: String,
    command: Vec<CString>,
}

fn main() {
    let options = parse(std::env::args_os().skip(1)).unwrap_or_else(|why| {
        eprintln!("pulse: {why}");
        exit(2);
    });
    let mut watch = Watch::new(&options);
    // Not to be chosen by anybody: neither by a guard nor by the kernel.
    must(fs::write("/proc/self/oom_score_adj", "-1000"), "write oom_score_adj");
    // SAFETY: takes no pointer.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        fail("lock memory");
    }
    be_real_time(10);
    let beats = options.beats.clone();
    let beating = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || beat_on(&beats));
    let beating = must(beating, "start a thread");

    // First the programs come into memory.
    let warm_by = now() + MOST_WARM_UP;
    while BEATS.load(Ordering::Relaxed) < 2 * options.beats.len() as i64 && now() < warm_by {
        watch.look_and_sleep();
    }
    Stretch::take();
    watch.until(now() + options.idle);
    let idle = Stretch::take();
    watch.begin();
    // Gone after, below the threshold for, exit status, below that share of all memory for.
    let mut fills = Vec::with_capacity(options.fills);
    for number in 0..options.fills {
        if number > 0 {
            watch.until(now() + options.pause);
        }
        (watch.below, watch.below_of_total) = (0, 0);
        let started = now();
        let hog = Hog::start(&options);
        let gone = hog.watch_to_its_end(&mut watch, started + options.limit);
        let status = hog.end(&mut watch);
        // Memory comes back a little later than the process goes.
        watch.until(now() + SECOND);
        fills.push((gone.map(|at| at - started), watch.below, status, watch.below_of_total));
    }
    watch.until(now() + options.tail);
    let gaps = Stretch::take();
    ENOUGH.store(true, Ordering::Relaxed);
    watch.print(&options, &idle, &gaps, &fills);
    // One that still waits for its program to end is not waited for.
    drop(beating);
    exit(0);
}

// ---- the heart ----

/// Starts the program when it is due and waits for its end, for ever. What falls due before a late beat is started is served
/// by it: a user who has typed something waits for that one.
fn beat_on(programs: &[CString]) {
    be_real_time(20);
    let mut due = now() + BEAT;
    for program in programs.iter().cycle() {
        if ENOUGH.load(Ordering::Relaxed) {
            break;
        }
        sleep_until(due);
        DUE.store(due, Ordering::Relaxed);
        let started = now();
        let pid = spawn(program);
        let mut status = 0;
        // SAFETY: `status` may be written to.
        while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
        let ended = now();
        LAST.store(ended - due, Ordering::Relaxed);
        if LONGEST.fetch_max(ended - due, Ordering::Relaxed) < ended - due {
            LONGEST_DUE.store(due, Ordering::Relaxed);
        }
        if ended - due > SECOND {
            let _ = SLOW.compare_exchange(0, due + SECOND, Ordering::Relaxed, Ordering::Relaxed);
        }
        BEATS.fetch_add(1, Ordering::Relaxed);
        DUE.store(0, Ordering::Relaxed);
        due += BEAT * ((started - due) / BEAT + 1);
    }
}

/// Beats since the last time this was asked.
struct Stretch {
    longest: i64,
    longest_due: i64,
    beats: i64,
}

impl Stretch {
    fn take() -> Stretch {
        let due = DUE.load(Ordering::Relaxed);
        let pending = if due == 0 { 0 } else { now() - due };
        let longest = LONGEST.swap(0, Ordering::Relaxed);
        let is_pending = pending > longest;
        Stretch {
            longest: longest.max(pending),
            longest_due: if is_pending { due } else { LONGEST_DUE.load(Ordering::Relaxed) },
            beats: BEATS.swap(0, Ordering::Relaxed),
        }
    }
}

/// In a session of its own, as the program of somebody else who has logged in: there the kernel gives each session its share of
/// the processor (sched(7), autogroups), and what goes wrong is in another one.
///
/// Without copying page tables: the thread waits until the program is loaded, which is part of the delay.
fn spawn(program: &CString) -> libc::pid_t {
    /// In `spawn.h` of both C libraries; `libc` has it for neither.
    const POSIX_SPAWN_SETSID: libc::c_short = 0x80;
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: made ready by the first call.
    let attributes = unsafe {
        libc::posix_spawnattr_init(attributes.as_mut_ptr());
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), POSIX_SPAWN_SETSID);
        attributes.assume_init()
    };
    let arguments =
        [BUSYBOX.as_ptr().cast_mut().cast(), TRUE.as_ptr().cast_mut().cast(), ptr::null_mut()];
    let environment = [ptr::null_mut()];
    loop {
        let mut pid = 0;
        // SAFETY: both lists end with a null and hold strings that live as long as the program.
        let refused = unsafe {
            libc::posix_spawn(
                &mut pid,
                program.as_ptr(),
                ptr::null(),
                &attributes,
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        };
        if refused == 0 {
            return pid;
        }
        // No process or no memory is to be had: that is a delay, too.
        sleep_until(now() + 10 * MS);
    }
}

// ---- memory, stalls, processes ----

struct Look {
    at: i64,
    full_us: u64,
    disk_us: u64,
}

/// The most of a stall within a window, in thousandths of it: of all tasks for memory, and the lesser of that and of what
/// some waited for a disk.
#[derive(Clone, Copy, Default)]
struct Most {
    full: [u64; WINDOWS.len()],
    both: [u64; WINDOWS.len()],
}

struct Line {
    at: i64,
    share: u64,
    swap: u64,
    full_us: u64,
    disk_us: u64,
    pages: [u64; PAGES.len()],
    beat: i64,
}

struct Known {
    pid: i32,
    stat: File,
    start: Vec<u8>,
    name: String,
    gone_at: Option<i64>,
}

struct Watch {
    meminfo: File,
    pressure: Option<File>,
    disk_pressure: Option<File>,
    vmstat: File,
    known: Vec<Known>,
    looks: Vec<Look>,
    next: usize,
    looked: usize,
    series: Vec<Line>,
    began: i64,
    next_stall: i64,
    next_processes: i64,
    /// How long memory has been low, and since when it is; and again of all memory, as some guards reckon.
    below: i64,
    low_since: Option<i64>,
    below_of_total: i64,
    low_of_total_since: Option<i64>,
    crossings: usize,
    least: u64,
    all: Most,
    /// At the ends of windows at which at most `NEAR` is available.
    near: Most,
    oom_kills: u64,
    /// What stalled before the beginning is none of it.
    full_before: u64,
    disk_before: u64,
    pages_before: [u64; PAGES.len()],
    /// Of the processor's time that the guard had.
    guard: Option<i32>,
    guard_before: Option<u64>,
}

/// Nanoseconds that a process of one thread has had of a processor (sched-stats.rst of the kernel).
fn ran(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

impl Watch {
    fn new(options: &Options) -> Watch {
        let pids = options.innocents.iter().chain(options.guard.iter());
        let known = pids.map(|pid| {
            let stat = must(File::open(format!("/proc/{pid}/stat")), "find an innocent");
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = name.trim().replace(' ', "_");
            let mut buffer = [0; 1024];
            let start = match alive(&stat, &mut buffer) {
                Some(start) => start.to_vec(),
                None => fail("find an innocent alive"),
            };
            Known { pid: *pid, stat, start, name, gone_at: None }
        });
        let pressure = File::open("/proc/pressure/memory").ok();
        let mut watch = Watch {
            meminfo: must(File::open("/proc/meminfo"), "open /proc/meminfo"),
            // Built in, but off: then reads fail.
            pressure: pressure.filter(|file| read(file, &mut [0; 512]) > 0),
            disk_pressure: File::open("/proc/pressure/io").ok(),
            vmstat: must(File::open("/proc/vmstat"), "open /proc/vmstat"),
            known: known.collect(),
            looks: Vec::with_capacity(STALL_LOOKS),
            next: 0,
            looked: 0,
            series: Vec::with_capacity(SERIES_MOST),
            began: now(),
            next_stall: 0,
            next_processes: 0,
            below: 0,
            low_since: None,
            below_of_total: 0,
            low_of_total_since: None,
            crossings: 0,
            least: 1000,
            all: Most::default(),
            near: Most::default(),
            oom_kills: 0,
            guard: options.guard,
            guard_before: None,
            full_before: 0,
            disk_before: 0,
            pages_before: [0; PAGES.len()],
        };
        watch.oom_kills = watch.oom_kills_now();
        watch
    }

    /// From here on it counts.
    fn begin(&mut self) {
        self.began = now();
        SLOW.store(0, Ordering::Relaxed);
        (self.all, self.near) = (Most::default(), Most::default());
        (self.looked, self.next) = (0, 0);
        self.looks.clear();
        self.least = 1000;
        self.series.clear();
        (self.full_before, self.disk_before) = self.stalls();
        self.pages_before = self.pages();
        self.guard_before = self.guard.and_then(ran);
    }

    /// Watches until that time.
    fn until(&mut self, end: i64) {
        while now() < end {
            self.look_and_sleep();
        }
    }

    fn look_and_sleep(&mut self) {
        let at = now();
        let (share, swap) = self.memory(at);
        if at >= self.next_stall {
            self.next_stall = at + STALL_EVERY;
            self.note_stalls(at, share);
        }
        if at >= self.next_processes {
            self.next_processes = at + PROCESSES_EVERY;
            self.note_processes(at);
            let (full_us, disk_us) = self.stalls();
            if self.series.len() < SERIES_MOST {
                self.series.push(Line {
                    at: at - self.began,
                    share,
                    swap,
                    full_us: full_us - self.full_before,
                    disk_us: disk_us - self.disk_before,
                    pages: self.pages(),
                    beat: match DUE.load(Ordering::Relaxed) {
                        0 => LAST.load(Ordering::Relaxed),
                        due => (at - due).max(LAST.load(Ordering::Relaxed)),
                    },
                });
            }
        }
        sleep_until(at + if share <= NEAR { LOOK_NEAR } else { LOOK_FAR });
    }

    /// Available memory in thousandths of what processes hold and could have, and free swap likewise; without swap none is free.
    fn memory(&mut self, at: i64) -> (u64, u64) {
        let mut buffer = [0; 4096];
        let got = read(&self.meminfo, &mut buffer);
        let text = &buffer[..got];
        let available = number_after(text, b"MemAvailable:");
        let anon = number_after(text, b"AnonPages:");
        let user = available + anon;
        let swap = number_after(text, b"SwapTotal:");
        let share = available * 1000 / user.max(1);
        let swap = number_after(text, b"SwapFree:") * 1000 / swap.max(1);
        self.least = self.least.min(share);
        // As the guard reckons: slabs that are in use for good are not available, and what the kernel holds for processes
        // is theirs.
        let own = available.saturating_sub(number_after(text, b"SReclaimable:").min(8 << 10));
        let kernel = number_after(text, b"KernelStack:") + number_after(text, b"PageTables:");
        let low = own * 1000 / (own + anon + kernel).max(1) <= LOW && swap <= LOW;
        match (low, self.low_since) {
            (true, None) => {
                self.low_since = Some(at);
                self.crossings += 1;
            }
            (false, Some(since)) => {
                self.below += at - since;
                self.low_since = None;
            }
            _ => {}
        }
        let of_total = available * 1000 / number_after(text, b"MemTotal:").max(1);
        match (of_total <= LOW && swap <= LOW, self.low_of_total_since) {
            (true, None) => self.low_of_total_since = Some(at),
            (false, Some(since)) => {
                self.below_of_total += at - since;
                self.low_of_total_since = None;
            }
            _ => {}
        }
        (share, swap)
    }

    /// Since the boot, us in which all tasks waited for memory, and in which some waited for a disk.
    fn stalls(&self) -> (u64, u64) {
        let total = |file: &Option<File>, key: &[u8]| {
            let mut buffer = [0; 512];
            let got = file.as_ref().map_or(0, |file| read(file, &mut buffer));
            let text = &buffer[..got];
            find(text, key).map_or(0, |at| number_after(&text[at..], b"total="))
        };
        (total(&self.pressure, b"full "), total(&self.disk_pressure, b"some "))
    }

    fn pages(&self) -> [u64; PAGES.len()] {
        let mut buffer = [0; 8192];
        let got = read(&self.vmstat, &mut buffer);
        PAGES.map(|key| number_after(&buffer[..got], key))
    }

    fn note_stalls(&mut self, at: i64, share: u64) {
        if self.pressure.is_none() {
            return;
        }
        let (full_us, disk_us) = self.stalls();
        let look = Look { at, full_us, disk_us };
        for (which, &looks) in WINDOWS.iter().enumerate() {
            if self.looked < looks {
                continue;
            }
            // The place that is written next holds the oldest.
            let then = &self.looks[(self.next + STALL_LOOKS - looks) % STALL_LOOKS];
            let took_us = ((look.at - then.at) / 1000).max(1) as u64;
            let full = (look.full_us - then.full_us) * 1000 / took_us;
            let disk = (look.disk_us - then.disk_us) * 1000 / took_us;
            let near = (share <= NEAR).then_some(&mut self.near);
            for most in [Some(&mut self.all), near].into_iter().flatten() {
                most.full[which] = most.full[which].max(full);
                most.both[which] = most.both[which].max(full.min(disk));
            }
        }
        if self.looks.len() < STALL_LOOKS {
            self.looks.push(look);
        } else {
            self.looks[self.next] = look;
        }
        self.next = (self.next + 1) % STALL_LOOKS;
        self.looked += 1;
    }

    fn note_processes(&mut self, at: i64) {
        let mut buffer = [0; 1024];
        for known in &mut self.known {
            let lives = alive(&known.stat, &mut buffer).is_some_and(|start| start == known.start);
            if !lives && known.gone_at.is_none() {
                known.gone_at = Some(at - self.began);
            }
        }
    }

    fn oom_kills_now(&self) -> u64 {
        let mut buffer = [0; 8192];
        let got = read(&self.vmstat, &mut buffer);
        number_after(&buffer[..got], b"oom_kill ")
    }

    fn print(
        &mut self,
        options: &Options,
        idle: &Stretch,
        gaps: &Stretch,
        fills: &[(Option<i64>, i64, i32, i64)],
    ) {
        let out = &mut std::io::stdout().lock();
        // Others may have begun a line.
        let _ = writeln!(out);
        let mut say = |line: String| {
            // To a console.
            let _ = writeln!(out, "== {line}");
        };
        for (gone, below, status, below_of_total) in fills {
            let gone = gone.map_or("never".into(), |ns| (ns / MS).to_string());
            let (below, below_of_total) = (below / MS, below_of_total / MS);
            say(format!("result fill {gone} {below} {status} {below_of_total}"));
        }
        say(format!("result gap_ms {}", gaps.longest / MS));
        let due = gaps.longest_due - self.began;
        say(format!("result beats {}, the longest was due at {}", gaps.beats, due / MS));
        if let slow @ 1.. = SLOW.load(Ordering::Relaxed) {
            say(format!("result slow {}", (slow - self.began) / MS));
        }
        say(format!("result idle_gap_ms {}", idle.longest / MS));
        say(format!("result oom_kills {}", self.oom_kills_now() - self.oom_kills));
        let mut lost = 0;
        for known in &self.known {
            let Some(at) = known.gone_at else { continue };
            if Some(known.pid) != options.guard {
                lost += 1;
            }
            say(format!("result lost {} {} {}", known.pid, known.name, at / MS));
        }
        say(format!("result innocents {} {lost}", options.innocents.len()));
        let ran = self.guard.and_then(ran).zip(self.guard_before);
        if let Some((ran, before)) = ran {
            // Tenths of a percent.
            let share = (ran - before) * 1000 / (now() - self.began) as u64;
            say(format!("result guard_ran {}", percent(share)));
        }
        let guard = self.known.iter().find(|known| Some(known.pid) == options.guard);
        let lives = guard.map_or("-", |it| if it.gone_at.is_none() { "yes" } else { "no" });
        say(format!("result guard {lives}"));
        say(format!("result least {}", percent(self.least)));
        say(format!("result crossings {}", self.crossings));
        for (name, most) in [("stall", &self.all), ("stall_near", &self.near)] {
            let [full6, full48] = most.full.map(percent);
            let [both6, both48] = most.both.map(percent);
            say(format!("result {name} {full6} {full48} {both6} {both48}"));
        }
        for line in &self.series {
            let [swapped_in, swapped_out, anon, file, faults, ..] =
                std::array::from_fn::<_, { PAGES.len() }, _>(|at| {
                    line.pages[at].saturating_sub(self.pages_before[at])
                });
            let [.., active, inactive] = line.pages;
            say(format!(
                "series {} {} {} {} {} {swapped_in} {swapped_out} {} {faults} {} {}",
                line.at / MS,
                percent(line.share),
                percent(line.swap),
                line.full_us / 1000,
                line.disk_us / 1000,
                anon + file,
                active + inactive,
                line.beat / MS
            ));
        }
    }
}

fn percent(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

/// The start time of a process that is no zombie (proc(5): state is field 3, start time field 22).
fn alive<'a>(stat: &File, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let got = read(stat, buffer);
    let text = &buffer[..got];
    // A name may hold anything, also parentheses.
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = text[after..].split(|byte| *byte == b' ');
    let state = fields.next()?;
    let start = fields.nth(18)?;
    // A zombie whose threads live is one, too.
    let threads = text[after..].split(|byte| *byte == b' ').nth(17)?;
    ((state != b"Z" && state != b"X") || threads != b"1" && threads != b"0").then_some(start)
}

// ---- what goes wrong ----

struct Hog {
    pid: libc::pid_t,
    procs: Option<String>,
    events: Option<File>,
    status: std::cell::Cell<Option<i32>>,
}

impl Hog {
    fn start(options: &Options) -> Hog {
        let group = &options.cgroup;
        let (procs, events) = if group.is_empty() {
            (None, None)
        } else {
            let events = File::open(format!("{group}/cgroup.events"));
            (Some(format!("{group}/cgroup.procs")), Some(must(events, "open cgroup.events")))
        };
        let enter = procs.clone().map(|path| must(CString::new(path).map_err(Into::into), "path"));
        let mut arguments: Vec<_> = options.command.iter().map(|it| it.as_ptr()).collect();
        arguments.push(ptr::null());
        // SAFETY: the child calls only async-signal-safe functions and then becomes another program.
        let pid = unsafe { libc::fork() };
        if pid == -1 {
            fail("fork");
        }
        if pid == 0 {
            write_to(ADJ.as_ptr().cast(), b"0");
            if let Some(path) = &enter {
                write_to(path.as_ptr(), b"0");
            }
            // SAFETY: the list ends with a null, and its strings live in `options`.
            unsafe {
                libc::execv(arguments[0], arguments.as_ptr());
                libc::_exit(127);
            }
        }
        Hog { pid, procs, events, status: std::cell::Cell::new(None) }
    }

    fn is_gone(&self) -> bool {
        if self.status.get().is_none() {
            let mut status = 0;
            // SAFETY: `status` may be written to.
            if unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } == self.pid {
                self.status.set(Some(status));
            }
        }
        let mut buffer = [0; 128];
        let got = self.events.as_ref().map_or(0, |events| read(events, &mut buffer));
        self.status.get().is_some() && number_after(&buffer[..got], b"populated ") == 0
    }

    /// When it was gone, if it was in time.
    fn watch_to_its_end(&self, watch: &mut Watch, deadline: i64) -> Option<i64> {
        loop {
            if self.is_gone() {
                return Some(now());
            }
            if now() >= deadline {
                return None;
            }
            watch.look_and_sleep();
        }
    }

    /// Ends what is left of it, and waits for that; returns its exit status as a shell shows it, -1 for none.
    fn end(&self, watch: &mut Watch) -> i32 {
        let deadline = now() + 10 * SECOND;
        while !self.is_gone() && now() < deadline {
            match &self.procs {
                Some(procs) => {
                    let kill = procs.replace("cgroup.procs", "cgroup.kill");
                    let _ = fs::write(kill, "1");
                }
                // SAFETY: takes no pointer. It is a child that was not waited for, so the number is its own.
                None => unsafe {
                    libc::kill(self.pid, libc::SIGKILL);
                },
            }
            watch.until(now() + SECOND / 10);
        }
        match self.status.get() {
            None => -1,
            Some(status) if libc::WIFSIGNALED(status) => 128 + libc::WTERMSIG(status),
            Some(status) => libc::WEXITSTATUS(status),
        }
    }
}

/// In a forked child, so without allocating.
fn write_to(path: *const libc::c_char, text: &[u8]) {
    // SAFETY: the path ends with a NUL, and the bytes are as long as told.
    unsafe {
        let fd = libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(fd, text.as_ptr().cast(), text.len());
        libc::close(fd);
    }
}

// ---- reading ----

/// From the start of the file; 0 when that fails. Allocates nothing.
fn read(file: &File, buffer: &mut [u8]) -> usize {
    // SAFETY: the buffer is as long as told and outlives the call.
    let got = unsafe { libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(got).unwrap_or(0)
}

fn find(text: &[u8], key: &[u8]) -> Option<usize> {
    text.windows(key.len()).position(|window| window == key)
}

/// The number behind the first such word; 0 without one.
fn number_after(text: &[u8], key: &[u8]) -> u64 {
    let Some(at) = find(text, key) else { return 0 };
    let digits = text[at + key.len()..].iter().skip_while(|byte| **byte == b' ');
    digits
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

// ---- time and threads ----

/// Children are ordinary ones again.
fn be_real_time(priority: i32) {
    // SAFETY: an all-zero value of this struct is valid.
    let mut parameters: libc::sched_param = unsafe { MaybeUninit::zeroed().assume_init() };
    parameters.sched_priority = priority;
    // By the raw call, which musl's function refuses to be; 0 is the calling thread.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the struct outlives the call.
    if unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &parameters) } != 0 {
        fail("become a real-time process");
    }
}

fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    // On 32-bit targets both fields are shorter.
    #[allow(clippy::useless_conversion)]
    let ns = i64::from(time.tv_sec) * SECOND + i64::from(time.tv_nsec);
    ns
}

fn sleep_until(due: i64) {
    let time = libc::timespec {
        tv_sec: (due / SECOND) as libc::time_t,
        tv_nsec: (due % SECOND) as libc::c_long,
    };
    // SAFETY: `time` is valid, and with TIMER_ABSTIME no remainder is written.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, ptr::null_mut())
    };
}

// ---- command line ----

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options {
        beats: Vec::new(),
        idle: 5 * SECOND,
        limit: 60 * SECOND,
        tail: 5 * SECOND,
        fills: 1,
        pause: 11 * SECOND,
        innocents: Vec::new(),
        guard: None,
        cgroup: String::new(),
        command: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let option = argument.to_str().ok_or_else(|| format!("{argument:?} is no option"))?;
        if option == "--" {
            break;
        }
        let value = arguments.next().and_then(|value| value.into_string().ok());
        let value = value.ok_or_else(|| format!("{option}: value missing"))?;
        let number =
            || value.parse::<u32>().map_err(|_| format!("{option}: {value:?} is no number"));
        match option {
            "--beat" => options.beats.push(CString::new(value).map_err(|why| why.to_string())?),
            "--idle" => options.idle = i64::from(number()?) * SECOND,
            "--for" => options.limit = i64::from(number()?) * SECOND,
            "--tail" => options.tail = i64::from(number()?) * SECOND,
            "--fills" => options.fills = number()? as usize,
            "--pause" => options.pause = i64::from(number()?) * SECOND,
            "--innocent" => options.innocents.push(number()? as i32),
            "--guard" => options.guard = Some(number()? as i32),
            "--cgroup" => options.cgroup = value,
            _ => return Err(format!("{option:?} is no option")),
        }
    }
    let command = arguments.map(|argument| CString::new(argument.into_vec()));
    options.command = command.collect::<Result<_, _>>().map_err(|why| why.to_string())?;
    if options.command.is_empty() || options.beats.is_empty() {
        return Err("no command, or nothing to beat".into());
    }
    Ok(options)
}

// ---- errors ----

fn fail(what: &str) -> ! {
    eprintln!("pulse: cannot {what}: {}", std::io::Error::last_os_error());
    exit(1)
}

fn must<T>(result: std::io::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|why| {
        eprintln!("pulse: cannot {what}: {why}");
        exit(1)
    })
}
