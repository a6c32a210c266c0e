//! A fork bomb that cannot hurt the machine, for the integration tests: it counts itself, and ends by itself.
//!
//! ```text
//! bomb FILE [--style STYLE] [--total N] [--alive N] [--size SIZE] [--life MILLISECONDS] [--ignore-term] [--odd] [--new-group]
//! ```
//!
//! | option | what it does |
//! |---|---|
//! | `FILE` | where the processes count themselves: made anew |
//! | `--style fork` | each forks on and on |
//! | `--style exec` | the same, and each child becomes the program anew |
//! | `--style chain` | each forks two and exits, as `:(){ :\|:& };:` does |
//! | `--style shared` | the first fills the memory, and its children only share it |
//! | `--style jobs` | the first has as many children as may be alive, each of which lives for `--life`, as a build has |
//! | `--total N` | so many in all, at most 4000; 200 unless told otherwise |
//! | `--alive N` | so many at a time, at most 400; 200 unless told otherwise |
//! | `--size SIZE` | anonymous memory that each child fills: KiB |
//! | `--ignore-term` | ignores SIGTERM |
//! | `--odd` | one of them has the name `odd`, and no children |
//! | `--new-group` | begins a process group, as a shell with job control does for it |
//!
//! Each ends after 90 seconds, whatever happens. Exit status: 1 something was refused, 2 wrong usage.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::{env, fs, ptr};

/// What nothing on a command line can exceed.
const MOST_IN_ALL: u32 = 4000;
const MOST_ALIVE: u32 = 400;
const SECONDS: u32 = 90;

/// In `FILE`, shared by all.
#[repr(C)]
struct Counts {
    started: AtomicU32,
    /// Those that were killed count on.
    alive: AtomicU32,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Fork,
    Exec,
    Chain,
    Shared,
    Jobs,
}

struct Bomb {
    file: PathBuf,
    style: Style,
    total: u32,
    alive: u32,
    size_kib: usize,
    life_ms: u32,
    ignore_term: bool,
    odd: bool,
    new_group: bool,
    /// Became this program anew.
    again: bool,
}

fn main() {
    let bomb = parse(env::args_os().skip(1)).unwrap_or_else(|| {
        eprintln!("bomb: wrong usage");
        exit(2)
    });
    // SAFETY: takes no pointer.
    unsafe { libc::alarm(SECONDS) };
    if bomb.ignore_term {
        // SAFETY: takes no pointer but the one that stands for "ignore".
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    if bomb.new_group && !bomb.again {
        // SAFETY: takes no pointer.
        unsafe { libc::setpgid(0, 0) };
    }
    let counts = counts(&bomb.file, !bomb.again);
    if bomb.again || bomb.style == Style::Shared {
        bomb.live(counts);
    }
    bomb.go_on(counts)
}

impl Bomb {
    /// As one that forks others.
    fn go_on(&self, counts: &Counts) -> ! {
        let mut children = 0;
        loop {
            // Here nobody waits for children: orphans are init's.
            // SAFETY: takes no pointer.
            while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
            if self.style == Style::Chain && children == 2 {
                counts.alive.fetch_sub(1, SeqCst);
                exit(0);
            }
            let Some(number) = self.ticket(counts) else {
                sleep_ms(2);
                continue;
            };
            // SAFETY: there is one thread, and the child goes on as its parent does.
            match unsafe { libc::fork() } {
                -1 => exit(1),
                0 => self.begin(counts, number),
                _ => children += 1,
            }
        }
    }

    /// The right to start one more; which one that is.
    fn ticket(&self, counts: &Counts) -> Option<u32> {
        if counts.alive.load(SeqCst) >= self.alive {
            return None;
        }
        let number = counts.started.fetch_add(1, SeqCst);
        if number >= self.total {
            counts.started.fetch_sub(1, SeqCst);
            return None;
        }
        counts.alive.fetch_add(1, SeqCst);
        Some(number)
    }

    /// As a child.
    fn begin(&self, counts: &Counts, number: u32) -> ! {
        // SAFETY: takes no pointer.
        unsafe { libc::alarm(SECONDS) };
        if self.odd && number == 7 {
            // SAFETY: the name ends with NUL.
            unsafe { libc::prctl(libc::PR_SET_NAME, c"odd".as_ptr()) };
            sleep_ms(1000 * SECONDS);
        }
        if self.style == Style::Shared {
            sleep_ms(1000 * SECONDS);
        }
        if self.style == Style::Exec {
            let arguments: Vec<CString> = env::args_os()
                .map(|text| CString::new(text.as_bytes()).expect("no NUL"))
                .chain([c"--again".to_owned()])
                .collect();
            let mut pointers: Vec<_> = arguments.iter().map(|text| text.as_ptr()).collect();
            pointers.push(ptr::null());
            let own = CString::new(env::current_exe().expect("own path").as_os_str().as_bytes());
            // SAFETY: all texts end with NUL, the list with a null pointer.
            unsafe { libc::execv(own.expect("no NUL").as_ptr(), pointers.as_ptr()) };
            exit(1);
        }
        self.live(counts);
        self.go_on(counts)
    }

    fn live(&self, counts: &Counts) {
        let mut memory = vec![0u8; self.size_kib << 10];
        for page in memory.chunks_mut(4096) {
            // SAFETY: a reference is a valid place to write to.
            unsafe { ptr::write_volatile(&mut page[0], 1) };
        }
        std::mem::forget(memory);
        if self.style == Style::Jobs {
            sleep_ms(self.life_ms);
            counts.alive.fetch_sub(1, SeqCst);
            exit(0);
        }
    }
}

fn parse(mut args: impl Iterator<Item = std::ffi::OsString>) -> Option<Bomb> {
    let mut bomb = Bomb {
        file: args.next()?.into(),
        style: Style::Fork,
        total: 200,
        alive: 200,
        size_kib: 0,
        life_ms: 200,
        ignore_term: false,
        odd: false,
        new_group: false,
        again: false,
    };
    while let Some(option) = args.next() {
        let mut number = || args.next()?.to_str()?.parse::<u32>().ok();
        match option.to_str()? {
            "--total" => bomb.total = number()?.min(MOST_IN_ALL),
            "--alive" => bomb.alive = number()?.min(MOST_ALIVE),
            "--size" => bomb.size_kib = number()? as usize,
            "--life" => bomb.life_ms = number()?,
            "--ignore-term" => bomb.ignore_term = true,
            "--odd" => bomb.odd = true,
            "--new-group" => bomb.new_group = true,
            "--again" => bomb.again = true,
            "--style" => {
                bomb.style = match args.next()?.to_str()? {
                    "fork" => Style::Fork,
                    "exec" => Style::Exec,
                    "chain" => Style::Chain,
                    "shared" => Style::Shared,
                    "jobs" => Style::Jobs,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(bomb)
}

/// The counts, which all share; the first process has made them anew, and is one of them.
fn counts(path: &Path, anew: bool) -> &'static Counts {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(anew).open(path);
    let file = file.unwrap_or_else(|_| exit(1));
    let bytes = std::mem::size_of::<Counts>();
    if anew && file.set_len(bytes as u64).is_err() {
        exit(1);
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: no address is asked for; the file is as long as what is mapped.
    let at = unsafe {
        libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED {
        exit(1);
    }
    // SAFETY: the mapping is large enough, aligned to a page, never undone, and any bytes are valid counts.
    let counts = unsafe { &*at.cast::<Counts>() };
    if anew {
        counts.started.store(1, SeqCst);
        counts.alive.store(1, SeqCst);
    }
    counts
}

fn sleep_ms(milliseconds: u32) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds.into()));
}
