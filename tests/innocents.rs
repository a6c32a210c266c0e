//! Processes that were once ended, or stopped, in place of what fills memory: each of these tests is about one kind.

mod common;

use common::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread;
use std::time::Duration;

/// What the end of a bomb may take.
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Memory that one small process would bring back, of 1000 MiB with the default level.
const JUST_LOW: u64 = 98;

/// As a login or a service does: in a session of its own.
fn in_own_session(mut command: Command) -> Command {
    let begin = || {
        // SAFETY: takes nothing.
        match unsafe { libc::setsid() } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(begin) };
    command
}

/// Resident memory; 0 for a process that is gone.
fn resident_mib(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: sysconf takes no pointer.
    (pages.unwrap_or(0) * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64) >> 20
}

/// The state of a process: `b'T'` for one that is stopped; nothing for one that is gone.
fn state(pid: u32) -> Option<u8> {
    processes().iter().find(|process| process.pid == pid).map(|process| process.state)
}

// ---- workers that share memory ----

/// Forty workers and their parent share 60 MiB, and a hog holds 100.
fn expect_hog_before_workers(sandbox: &Sandbox, how: &[&str]) {
    let memory = FakeMemory::new(sandbox);
    let guard = sandbox.guard(&[]);
    let mut hog = sandbox.hog(&["--size", "100M"]);
    let options = ["--size", "60M", "--workers", "40", "--name", "worker", "--new-session"];
    let mut parent = sandbox.hog(&[&options[..], how].concat());
    // As the kernel counts what they hold: each page once.
    memory.set(Amounts { available: 18, anon: 180, ..Amounts::available(0) });
    assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
    memory.available(PLENTY);
    guard.wait_for("exited after");
    assert_eq!(living("worker").len(), 41);
    assert!(parent.is_alive());
    guard.stop();
}

#[test]
fn workers_that_share_memory_by_copy_on_write_are_no_bomb_beside_a_hog() {
    sandboxed(|sandbox| expect_hog_before_workers(sandbox, &[]));
}

#[test]
fn workers_that_share_a_file_in_memory_are_no_bomb_beside_a_hog() {
    sandboxed(|sandbox| expect_hog_before_workers(sandbox, &["--memfd"]));
}

// ---- parents of hogs ----

/// Has each of six hogs ended as soon as it is there. `parent` starts them.
fn end_six_hogs(memory: &FakeMemory, guard: &Guard, parent: &mut Child, mut next: impl FnMut()) {
    let (mut last, lives) = (0, "the parent of hogs lives");
    for _ in 0..6 {
        next();
        let mut pid = 0;
        wait_for("a hog", || {
            assert!(parent.try_wait().expect("wait").is_none(), "{lives}");
            pid = living("hog").into_iter().find(|&pid| pid != last).unwrap_or(0);
            resident_mib(pid) >= 30
        });
        memory.available(LOW);
        wait_for("an end", || !living("hog").contains(&pid));
        memory.recover(guard);
        last = pid;
    }
    thread::sleep(Duration::from_millis(200));
    assert!(parent.try_wait().expect("wait").is_none(), "{lives}");
    // No other process was signalled.
    assert_eq!(guard.count("sending SIGTERM to process"), 6);
    assert_eq!(guard.count("sending SIGKILL to process"), 0);
}

/// A hog of an ordinary user, if there is another one here.
fn leak(sandbox: &Sandbox) -> String {
    let user = if sandbox.has_other_users() { format!(" --user {NOBODY}") } else { String::new() };
    format!("\"$dir/hog\" --size 30M{user} >\"$dir/said\"")
}

/// Starts the script and waits until it has its older child.
fn start_supervisor(sandbox: &Sandbox, mut command: Command, body: &str) -> Child {
    command.arg(sandbox.script("supervisor", body)).stdin(Stdio::null()).stdout(Stdio::null());
    let supervisor = in_own_session(command).spawn().expect("a supervisor");
    wait_for("an older child", || living("older").len() == 1);
    supervisor
}

fn supervisor(sandbox: &Sandbox) -> String {
    format!("\"$dir/hog\" --name older >\"$dir/said\" &\nwhile :; do {}; done", leak(sandbox))
}

#[test]
fn a_supervisor_outlives_the_hogs_that_it_starts_again() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let body = supervisor(sandbox);
        let guard = sandbox.guard(&[]);
        let mut supervisor = start_supervisor(sandbox, Command::new("sh"), &body);
        end_six_hogs(&memory, &guard, &mut supervisor, || ());
        assert_eq!(living("older").len(), 1);
        guard.stop();
    });
}

#[test]
fn the_init_of_a_container_outlives_the_hogs_that_it_starts_again() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let body = supervisor(sandbox);
        let guard = sandbox.guard(&[]);
        let mut container = Command::new("unshare");
        container.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh"]);
        let mut init = start_supervisor(sandbox, container, &body);
        end_six_hogs(&memory, &guard, &mut init, || ());
        assert_eq!(living("older").len(), 1);
        guard.stop();
    });
}

/// As Postgres does: each backend leads a session, and where one is killed, all are started again.
#[test]
fn a_server_that_restarts_all_its_backends_outlives_the_one_that_leaks() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let leak = leak(sandbox);
        let body = format!(
            "while :; do\n\
             \"$dir/hog\" --name older --new-session >\"$dir/said\" & other=$!\n\
             {leak} --new-session & leak=$!\n\
             wait $leak; kill $other; wait $other\n\
             done"
        );
        let guard = sandbox.guard(&[]);
        let mut server = start_supervisor(sandbox, Command::new("sh"), &body);
        end_six_hogs(&memory, &guard, &mut server, || ());
        guard.stop();
    });
}

/// A terminal: its keyboard and screen, and what a program has of it.
fn terminal() -> (File, File) {
    let (mut user, mut program) = (-1, -1);
    let none = ptr::null_mut();
    // SAFETY: the first two have room for a descriptor, and the others may be null.
    let made = unsafe { libc::openpty(&mut user, &mut program, none, ptr::null(), ptr::null()) };
    assert_eq!(made, 0, "openpty: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just handed out both, and nobody else has them.
    unsafe { (File::from_raw_fd(user), File::from_raw_fd(program)) }
}

/// An interactive shell that leads a session on a terminal of its own; its keyboard.
fn interactive_shell() -> (Child, File) {
    let (keyboard, program) = terminal();
    let copy = || program.try_clone().expect("a descriptor");
    let mut shell = Command::new("sh");
    shell.arg("-i").env_remove("ENV").stdin(copy()).stdout(copy()).stderr(copy());
    let begin = || {
        // SAFETY: neither call takes a pointer.
        match unsafe { libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 } {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { shell.pre_exec(begin) };
    let shell = shell.spawn().expect("a shell");
    // An unread screen would hold up the shell.
    let mut screen = keyboard.try_clone().expect("a descriptor");
    thread::spawn(move || while screen.read(&mut [0; 1024]).is_ok_and(|got| got > 0) {});
    (shell, keyboard)
}

#[test]
fn a_shell_outlives_the_hogs_that_are_started_in_it() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let (mut shell, mut keyboard) = interactive_shell();
        let line = format!("'{}/hog' --size 30M\n", sandbox.dir.display());
        end_six_hogs(&memory, &guard, &mut shell, || {
            keyboard.write_all(line.as_bytes()).expect("the keyboard");
        });
        guard.stop();
    });
}

// ---- a large process that stands still ----

#[test]
fn a_database_that_has_just_loaded_outlives_a_larger_leak() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        // A fourteenth of 1450 MiB that stand still, and of 1552 that grow slowly.
        let command = sandbox.hog_command(&["--size", "200M", "--rate", "20M", "--name", "leak"]);
        let mut leak = Hog::start_unready(command);
        wait_for("a leak", || resident_mib(leak.pid()) >= 112);
        let mut database = sandbox.hog(&["--size", "104M", "--name", "database"]);
        memory.available(LOW);
        let ended = wait_until(TEN_SECONDS, || {
            (!leak.is_alive()).then_some(true).or((!database.is_alive()).then_some(false))
        });
        assert_eq!(ended, Some(true), "the leak goes");
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(database.is_alive());
        guard.stop();
    });
}

// ---- processes around a bomb ----

/// As a login would start it. Waits until so many are there.
fn start_bomb(sandbox: &Sandbox, count: usize, options: &[&str]) -> Child {
    let mut command = Command::new(sandbox.tool("bomb"));
    command.arg(sandbox.path("counts")).args(options).stdin(Stdio::null());
    let bomb = in_own_session(command).spawn().expect("the bomb");
    wait_for("a bomb", || living("bomb").len() >= count);
    bomb
}

/// Whether nothing is left of it within that time. Its first process is reaped.
fn bomb_ends(bomb: &mut Child) -> bool {
    let ended = wait_until(TEN_SECONDS, || {
        let _ = bomb.try_wait();
        living("bomb").is_empty().then_some(())
    });
    ended.is_some()
}

#[test]
fn a_guard_that_is_killed_while_it_ends_a_bomb_leaves_nothing_stopped() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // Between the first signal and the last is a moment: several tries.
        for _ in 0..5 {
            let mut guard = sandbox.guard(&[]);
            let mut bomb = start_bomb(sandbox, 140, &["--total", "150"]);
            let some = children(bomb.id());
            memory.available(JUST_LOW);
            wait_for("a stop or an end", || {
                some.iter().any(|&pid| {
                    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                    !stat.contains(") R ") && !stat.contains(") S ")
                })
            });
            guard.signal(libc::SIGKILL);
            wait_for("the guard's end", || !guard.is_running());
            memory.available(PLENTY);
            let stopped = processes().iter().filter(|process| process.state == b'T').count();
            assert_eq!(stopped, 0);
            // Some of it may be left.
            // SAFETY: takes no pointer; its first process leads the group, and its number is taken until it is waited for.
            unsafe { libc::kill(-(bomb.id() as libc::pid_t), libc::SIGKILL) };
            assert!(bomb_ends(&mut bomb));
        }
    });
}

#[test]
fn a_process_that_was_stopped_before_a_bomb_stays_stopped() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let bomb = sandbox.tool("bomb");
        let guard = sandbox.guard(&[]);
        let body = format!(
            "\"$dir/hog\" --name older >\"$dir/said\" &\n\
             read -r line <\"$dir/go\"\n\
             '{}' \"$dir/counts\" --total 150\n\
             wait",
            bomb.display()
        );
        make_fifo(&sandbox.path("go"));
        let mut script = start_supervisor(sandbox, Command::new("sh"), &body);
        let older = living("older")[0];
        signal_to(older, libc::SIGSTOP);
        // What has begun long before is none of a bomb.
        thread::sleep(Duration::from_secs(3));
        fs::write(sandbox.path("go"), "\n").expect("a word");
        wait_for("a bomb", || living("bomb").len() >= 100);
        memory.available(JUST_LOW);
        wait_for("the bomb's end", || living("bomb").is_empty());
        memory.recover(&guard);
        assert_eq!(state(older), Some(b'T'));
        assert!(script.try_wait().expect("wait").is_none());
        guard.stop();
    });
}

#[test]
fn a_shell_outlives_the_bomb_in_its_background() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let (mut shell, mut keyboard) = interactive_shell();
        let (bomb, counts) = (sandbox.tool("bomb"), sandbox.path("counts"));
        let line = format!("'{}' '{}' --total 150 &\n", bomb.display(), counts.display());
        keyboard.write_all(line.as_bytes()).expect("the keyboard");
        wait_for("a bomb", || living("bomb").len() >= 100);
        memory.available(JUST_LOW);
        wait_for("the bomb's end", || living("bomb").is_empty());
        memory.recover(&guard);
        assert!(shell.try_wait().expect("wait").is_none());
        assert_ne!(state(shell.id()), Some(b'T'));
        guard.stop();
    });
}

/// Levels that are far apart, or the wrong way round.
#[test]
fn a_bomb_is_ended_whatever_the_levels() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for (levels, low) in [("60", 598), ("10,30", 298)] {
            memory.available(700);
            let guard = sandbox.guard(&["-m", levels]);
            let mut innocent = sandbox.hog(&["--size", "5M"]);
            let options = ["--size", "512", "--total", "150"];
            let mut bomb = start_bomb(sandbox, 100, &options);
            memory.available(low);
            assert!(bomb_ends(&mut bomb), "-m {levels}");
            memory.available(700);
            assert!(innocent.is_alive());
            guard.stop();
        }
    });
}
