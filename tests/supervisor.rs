//! What the service manager is told, by its socket and by a descriptor.

mod common;

use common::*;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// What listens in place of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn new(sandbox: &Sandbox) -> (Manager, String) {
        let path = sandbox.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        (Manager::of(socket), path.to_str().unwrap().to_owned())
    }

    fn of(socket: UnixDatagram) -> Manager {
        socket.set_nonblocking(true).expect("a socket that does not wait");
        Manager(socket)
    }

    fn next(&self) -> Option<String> {
        let mut text = [0; 1024];
        let len = self.0.recv(&mut text).ok()?;
        Some(String::from_utf8(text[..len].to_vec()).expect("text"))
    }

    /// The next message that begins so; those before it are passed over.
    fn wait_for(&self, begin: &str) -> String {
        let mut all = Vec::new();
        let found = wait_until(Duration::from_secs(60), || {
            let text = self.next()?;
            all.push(text.clone());
            Some(text).filter(|text| text.starts_with(begin))
        });
        found.unwrap_or_else(|| panic!("no {begin} in {all:?}"))
    }
}

fn told_by(sandbox: &Sandbox, address: &str, options: &[&str]) -> Command {
    let mut command = sandbox.guard_command(options);
    command.env("NOTIFY_SOCKET", address);
    command
}

#[test]
fn it_is_told_of_the_start_of_reports_reloads_and_the_end() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let (manager, address) = Manager::new(sandbox);
        let file = sandbox.path("conf");
        fs::write(&file, "").unwrap();
        let options = ["-c", file.to_str().unwrap(), "-r", "0.1"];
        let guard = sandbox.start_guard(told_by(sandbox, &address, &options));
        let state = "mem avail:   600 of  1000 MiB (60.00%), swap free:    0 of    0 MiB ( 0.00%)";
        assert_eq!(manager.wait_for("READY"), format!("READY=1\nSTATUS={state}"));
        assert_eq!(manager.wait_for("STATUS"), format!("STATUS={state}"));
        guard.signal(libc::SIGHUP);
        let told = manager.wait_for("RELOADING");
        let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&told);
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        // Both clocks begin at the boot, and one stands still while the machine sleeps.
        let seconds = micros.parse::<f64>().unwrap() / 1e6;
        assert!(seconds > 0.0 && seconds <= uptime + 1.0, "{told} {uptime}");
        assert_eq!(manager.wait_for("READY"), format!("READY=1\nSTATUS={state}"));
        fs::write(&file, "OOM_GUARD_MEM_THRESHOLD=lots\n").unwrap();
        guard.signal(libc::SIGHUP);
        manager.wait_for("RELOADING");
        let told = manager.wait_for("READY");
        let why = "READY=1\nSTATUS=the new settings are not taken: ";
        assert!(told.starts_with(why) && told.contains(": \"lots\" is not a number"), "{told}");
        guard.stop();
        manager.wait_for("STOPPING=1");
    });
}

#[test]
fn a_reload_and_a_question_wait_while_memory_cannot_be_read_and_none_is_left_unanswered() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (manager, address) = Manager::new(sandbox);
        let file = sandbox.path("conf");
        fs::write(&file, "").unwrap();
        let options = ["-c", file.to_str().unwrap()];
        let guard = sandbox.start_guard(told_by(sandbox, &address, &options));
        manager.wait_for("READY");
        let go_blind = |times| {
            memory.write("nonsense\n");
            guard.make_look(1);
            guard.wait_for_many("/proc/meminfo makes no sense", times);
        };
        go_blind(1);
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings will be read again once memory can be read");
        memory.available(PLENTY);
        manager.wait_for("RELOADING");
        manager.wait_for("READY");
        guard.wait_for("settings were read again");
        go_blind(2);
        guard.signal(libc::SIGUSR1);
        guard.wait_for("the processes will be ranked once memory can be read");
        memory.available(PLENTY);
        guard.wait_for("SIGTERM: ");
        // The process that reads settings has begun before, and ends while memory cannot be read.
        fs::write(&file, "OOM_GUARD_AVOID=user:nobody\n").unwrap();
        let trap = Trap::over(sandbox, "/etc/passwd");
        guard.signal(libc::SIGHUP);
        let mut reader = trap.wait_for_reader();
        manager.wait_for("RELOADING");
        go_blind(3);
        reader.write_all(b"nobody:x:65534:65534::/:/bin/false\n").unwrap();
        drop(reader);
        guard.wait_for_many("settings were read again", 2);
        manager.wait_for("READY");
        memory.available(PLENTY);
        guard.stop();
    });
}

#[test]
fn signs_of_life_stop_while_the_guard_hangs() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let name = format!("oom-guard-test-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = Manager::of(UnixDatagram::bind_addr(&at).expect("a socket"));
        let mut command = told_by(sandbox, &format!("@{name}"), &[]);
        command.env("WATCHDOG_USEC", "400000");
        let guard = sandbox.start_guard(command);
        for _ in 0..3 {
            manager.wait_for("WATCHDOG=1");
        }
        guard.signal(libc::SIGSTOP);
        wait_for("silence", || {
            std::thread::sleep(Duration::from_millis(500));
            std::iter::from_fn(|| manager.next()).count() == 0
        });
        guard.signal(libc::SIGCONT);
        manager.wait_for("WATCHDOG=1");
        guard.stop();
    });
}

#[test]
fn a_manager_that_reads_nothing_is_gone_or_has_no_address_holds_nothing_up() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (manager, address) = Manager::new(sandbox);
        // As many as it takes until no more find room.
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"X", &address).is_ok() {}
        let guard = sandbox.start_guard(told_by(sandbox, &address, &["-r", "0.01"]));
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        // That it is ready is not lost.
        memory.recover(&guard);
        manager.wait_for("READY=1");
        drop(manager);
        guard.make_look(2);
        let log = guard.stop();
        assert!(!log.contains("NOTIFY_SOCKET"), "{log}");
        for (address, said) in [
            (
                &*address,
                "warning: NOTIFY_SOCKET: ECONNREFUSED (nobody listens); going on without it",
            ),
            ("/nowhere", "warning: NOTIFY_SOCKET: ENOENT (not found); going on without it"),
            (
                "here",
                "notice: NOTIFY_SOCKET: is neither an absolute path nor @ and a name; going on",
            ),
        ] {
            let guard = sandbox.start_guard(told_by(sandbox, address, &[]));
            guard.wait_for(said);
            guard.stop();
        }
    });
}

/// Has the guard be started with this as descriptor 3.
fn with_third(command: &mut Command, third: &OwnedFd) {
    let third = third.as_raw_fd();
    // SAFETY: only calls that may be made after a fork.
    unsafe {
        command.pre_exec(move || match third {
            // Then it only has to stay open.
            3 => succeed(libc::fcntl(3, libc::F_SETFD, 0)).map(drop),
            third => succeed(libc::dup2(third, 3)).map(drop),
        })
    };
}

fn two_ends() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: there is room for both, which nothing else owns.
    unsafe {
        succeed(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC)).expect("a pipe");
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

#[test]
fn a_newline_comes_to_the_descriptor_and_its_end() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let (ours, theirs) = two_ends();
        let mut command = sandbox.guard_command(&["--ready-fd", "3"]);
        with_third(&mut command, &theirs);
        let guard = sandbox.start_guard(command);
        drop(theirs);
        let mut text = String::new();
        // Up to the end: neither the guard nor its helper keeps it.
        fs::File::from(ours).read_to_string(&mut text).expect("a pipe");
        assert_eq!(text, "\n");
        guard.stop();
        // Whatever started it first has gone.
        let (ours, theirs) = two_ends();
        drop(ours);
        let mut command = sandbox.guard_command(&["--ready-fd", "3"]);
        with_third(&mut command, &theirs);
        let guard = sandbox.start_guard(command);
        guard.make_look(2);
        guard.stop();
    });
}

#[test]
fn a_descriptor_that_is_not_open_is_worth_a_warning_and_not_the_guard() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--ready-fd", "77"]);
        guard.wait_for("warning: --ready-fd: 77: EBADF (bad descriptor); going on without it");
        guard.make_look(2);
        guard.stop();
    });
}
