//! A small machine on a large one: real processes fill real memory and real kills give it back, and the levels are those
//! of a machine of a few GiB.

use super::{bind_over, mount, number_after, sandboxed_for, skip, Sandbox, INSIDE, LIFETIME};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io, mem, ptr, thread};

/// No machine is larger.
const MOST_MIB: u64 = 3072;
/// Below this much available memory, a quarter of it is no machine.
const LEAST_AVAILABLE_MIB: u64 = 1024;
/// How often its `meminfo` is written.
const EVERY: Duration = Duration::from_millis(2);
/// In that time a hundredth of memory is taken at `rate`.
const MOST_LATE_MS: u64 = 100;

/// One test at a time that takes much of the real machine's memory, whichever program it belongs to. The lock is on a directory that is there
/// for every user, so that nothing has to be made or removed.
pub fn one_at_a_time<F: FnOnce(&Sandbox)>(body: F) {
    one_at_a_time_for(LIFETIME, body);
}

/// The same with another time after which its world is ended.
pub fn one_at_a_time_for<F: FnOnce(&Sandbox)>(lifetime: Duration, body: F) {
    let _turn = match env::var_os(INSIDE) {
        // The outside of this test has it.
        Some(_) => None,
        None => Some(turn()),
    };
    sandboxed_for(lifetime, body);
}

fn turn() -> File {
    let shared = File::open(env::temp_dir()).expect("the directory for temporary files");
    // SAFETY: takes no pointer; the descriptor is open.
    let locked = unsafe { libc::flock(shared.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0, "flock: {}", io::Error::last_os_error());
    shared
}

/// As the kernel does, of which the calling thread does the work: comes before all processes, where that is granted.
fn go_first() {
    // SAFETY: all zero is a valid `sched_param`.
    let mut first: libc::sched_param = unsafe { mem::zeroed() };
    first.sched_priority = 1;
    // Not the function of the C library, which musl does not have.
    // SAFETY: `first` lives for the call.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &first) };
}

/// A file over `/proc/meminfo` with the real one less a constant.
pub struct SmallMachine {
    total_kib: u64,
    latest: Arc<AtomicU64>,
    ballast: Ballast,
}

impl SmallMachine {
    /// A quarter of what is available. `None` where that is too little; that is said.
    pub fn new(sandbox: &Sandbox) -> Option<SmallMachine> {
        let real = Real::open();
        let now = real.read();
        if now.available < LEAST_AVAILABLE_MIB << 10 {
            skip(&format!("only {} MiB are available", now.available >> 10));
            return None;
        }
        let total_kib = (now.available / 4).min(MOST_MIB << 10);
        let scale = Scale::of(&now, total_kib);
        // In memory, where no write waits for a disk.
        let place = sandbox.path("small");
        fs::create_dir(&place).expect("a directory");
        mount(None, &place, Some("tmpfs"), 0, None).expect("a tmpfs");
        let path = place.join("meminfo");
        let file = File::create(&path).expect("a file for meminfo");
        let write = move || {
            let text = scale.text(&real.read());
            file.write_all_at(text.as_bytes(), 0).expect("write meminfo");
        };
        write();
        bind_over(&path, Path::new("/proc/meminfo"));
        let latest = Arc::new(AtomicU64::new(0));
        let writer = Arc::clone(&latest);
        thread::spawn(move || {
            go_first();
            let mut before = Instant::now();
            loop {
                thread::sleep(EVERY);
                write();
                writer.fetch_max(before.elapsed().as_millis() as u64, Relaxed);
                before = Instant::now();
            }
        });
        Some(SmallMachine { total_kib, latest, ballast: Ballast::new(total_kib << 10) })
    }

    /// That share of all memory, in MiB.
    pub fn share_mib(&self, percent: u64) -> u64 {
        (self.total_kib * percent / 100) >> 10
    }

    /// A tenth of all memory a second, but no more than 300 MiB: the value of a hog's `--rate`. Whatever the machine's
    /// speed, memory falls through the levels as slowly.
    pub fn rate(&self) -> String {
        format!("{}K", (self.total_kib / 10).min(300 << 10))
    }

    /// Whether its `meminfo` was ever so old that no guard could have been in time: the machine is too busy for a verdict.
    /// That is said.
    pub fn was_late(&self) -> bool {
        let latest = self.latest.load(Relaxed);
        if latest > MOST_LATE_MS {
            skip(&format!("the machine is too busy: meminfo was {latest} ms old"));
        }
        latest > MOST_LATE_MS
    }

    /// Takes memory until only that share is available, or gives back what others on the real machine have taken. The test
    /// itself holds it, which the guard never ends, since it is an ancestor of the guard.
    pub fn leave(&mut self, percent: u64) {
        const TOLERANCE: u64 = 3;
        if self.available_percent() + TOLERANCE < percent {
            while self.available_percent() < percent && self.ballast.shrink() {}
        } else if self.available_percent() > percent + TOLERANCE {
            while self.available_percent() > percent && self.ballast.grow() {}
        }
    }

    /// As the guard reckons it.
    pub fn available_percent(&self) -> u64 {
        let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
        let available = kib(&text, "MemAvailable");
        let user = (available + kib(&text, "AnonPages")).min(self.total_kib);
        available * 100 / user.max(1)
    }
}

/// Memory of which so much from the start has pages.
struct Ballast {
    start: *mut u8,
    most: usize,
    held: usize,
}

impl Ballast {
    const STEP: usize = 1 << 20;

    fn new(most: u64) -> Ballast {
        let most = most as usize & !(Ballast::STEP - 1);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: no address is asked for, so no other mapping is replaced.
        let start = unsafe { libc::mmap(ptr::null_mut(), most, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        Ballast { start: start.cast(), most, held: 0 }
    }

    /// Whether there is more to take. No faster than the file tells of it.
    fn grow(&mut self) -> bool {
        thread::sleep(EVERY / 8);
        let end = (self.held + Ballast::STEP).min(self.most);
        for offset in (self.held..end).step_by(4096) {
            // SAFETY: it lies below `most` in a mapping that is writable and never undone.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
        self.held = end;
        end < self.most
    }

    /// Whether there is more to give.
    fn shrink(&mut self) -> bool {
        thread::sleep(EVERY / 8);
        self.held = self.held.saturating_sub(Ballast::STEP);
        // SAFETY: the range lies in the mapping, and its contents are never read.
        unsafe {
            libc::madvise(self.start.add(self.held).cast(), Ballast::STEP, libc::MADV_DONTNEED)
        };
        self.held > 0
    }
}

/// What the machine around this one has.
struct Real {
    meminfo: File,
    zones: Option<File>,
}

/// In KiB.
struct Amounts {
    text: String,
    total: u64,
    free: u64,
    available: u64,
    anon: u64,
    /// What each processor keeps in lists of its own, which counts as neither free nor available.
    kept: u64,
}

impl Real {
    /// Opened once: by its name it is soon that of the small machine.
    fn open() -> Real {
        let meminfo = File::open("/proc/meminfo").expect("meminfo");
        Real { meminfo, zones: File::open("/proc/zoneinfo").ok() }
    }

    fn read(&self) -> Amounts {
        let text = read_again(&self.meminfo);
        let [total, free, available, anon] =
            ["MemTotal", "MemFree", "MemAvailable", "AnonPages"].map(|key| kib(&text, key));
        let zones = self.zones.as_ref().map(read_again).unwrap_or_default();
        let counts = zones.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
        let pages: u64 = counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum();
        // SAFETY: sysconf takes no pointer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        Amounts { text, total, free, available, anon, kept: pages * (page >> 10) }
    }
}

/// The whole file from its beginning.
fn read_again(file: &File) -> String {
    let mut text = vec![0; 4096];
    let mut length = 0;
    loop {
        let got = file.read_at(&mut text[length..], length as u64).expect("read a file of /proc");
        if got == 0 {
            break;
        }
        length += got;
        text.resize(length + 4096, 0);
    }
    text.truncate(length);
    String::from_utf8(text).expect("plain text")
}

/// In KiB.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find(|line| line.strip_prefix(key).is_some_and(|l| l.starts_with(':')));
    number_after(line.unwrap_or_else(|| panic!("no {key}")), ":")
}

/// What the small machine has less than the real one, in KiB.
struct Scale {
    total: u64,
    /// Of what is free and available.
    gone: u64,
    /// Held by the processes that were there before.
    anon: u64,
}

impl Scale {
    fn of(real: &Amounts, total: u64) -> Scale {
        let mut scale = Scale { total, gone: 0, anon: real.anon };
        scale.gone = scale.given(real, real.available) - total;
        scale
    }

    /// With what the lists of the small machine would not hold, since the kernel lets them grow with the memory there is: on
    /// a large machine up to the size of a hog, whose end would then seem to give nothing back.
    fn given(&self, real: &Amounts, value: u64) -> u64 {
        (value + real.kept - real.kept * self.total / real.total).saturating_sub(self.gone)
    }

    /// Always of the same length, so that no reader sees a number cut.
    fn text(&self, real: &Amounts) -> String {
        let mut text = String::new();
        for line in real.text.lines().filter(|line| line.ends_with(" kB")) {
            let Some((key, _)) = line.split_once(':') else { continue };
            let value = match key {
                "MemTotal" => self.total,
                "MemFree" => self.given(real, real.free),
                "MemAvailable" => self.given(real, real.available),
                "AnonPages" => real.anon.saturating_sub(self.anon),
                // Nothing is swapped out, since the real machine has room.
                "SwapTotal" | "SwapFree" => 0,
                _ => number_after(line, ":"),
            };
            text.push_str(&format!("{:<16}{value:>12} kB\n", format!("{key}:")));
        }
        text
    }
}
