//! Notices to users: on real buses and a real desktop, and past buses that behave in every way but the
//! right one.

#![cfg(feature = "dbus-notify")]

mod common;

use common::*;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Another ordinary user, to whom nothing belongs either.
const OTHER: u32 = 65533;
/// What telling may take whatever the buses do, in milliseconds, and a little more for a machine that is busy.
const BOUND: u64 = 6000;

const SUMMARY: &str = "Low memory: ended tail";
const BODY: &str = "process 4711 \"tail\"";
const FULL: &str = "process 4711 \"tail /dev/zero\", 19462 MiB";

/// A `/run` of the test's own, and the programs.
struct World<'a> {
    sandbox: &'a Sandbox,
    tell: PathBuf,
    bus: PathBuf,
}

impl World<'_> {
    fn new(sandbox: &Sandbox) -> World<'_> {
        mount(None, Path::new("/run"), Some("tmpfs"), 0, Some("mode=755")).expect("tmpfs");
        fs::create_dir("/run/user").expect("/run/user");
        // What the login does as root, its user does here himself.
        fs::set_permissions("/run/user", Permissions::from_mode(0o1777)).expect("chmod");
        World { sandbox, tell: sandbox.tool("notify"), bus: sandbox.tool("bus") }
    }

    /// With other users than root; `None` where there are none.
    fn with_users(sandbox: &Sandbox) -> Option<World<'_>> {
        if !sandbox.has_other_users() {
            skip("no other user can be had here");
            return None;
        }
        Some(World::new(sandbox))
    }

    fn as_user(&self, user: u32, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.uid(user).gid(user).stdin(Stdio::null()).current_dir("/");
        command
    }

    /// Starts a program and waits until it has said `ready`; what it says goes to a file.
    fn start(&self, mut command: Command, ready: &str) -> Running {
        static STARTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = STARTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let said = self.sandbox.path(&format!("said-{number}"));
        let file = File::create(&said).expect("a file");
        command.stderr(file.try_clone().expect("a file")).stdout(file);
        let running = Running { child: command.spawn().expect("a program"), said };
        running.wait_for(ready);
        running
    }

    fn listen(&self, user: u32, manner: &str, name: &str) -> Running {
        let mut command = self.as_user(user, &self.bus);
        command.args([manner, name]);
        self.start(command, "ready\n")
    }

    /// A name of its own for an abstract socket: those are the whole machine's.
    fn abstract_name(&self) -> String {
        self.sandbox.dir.to_str().expect("a plain path").replace('/', "-")
    }

    /// The directory that a login gives to a user.
    fn log_in(&self, user: u32) -> String {
        let home = format!("/run/user/{user}");
        let made = self.as_user(user, "mkdir").args(["-p", "-m", "700", &home]).status();
        assert!(made.is_ok_and(|status| status.success()), "{home}");
        format!("{home}/bus")
    }

    /// A bus of that manner where a login puts it.
    fn bus_of(&self, user: u32, manner: &str) -> Running {
        self.listen(user, manner, &self.log_in(user))
    }

    /// A process that has this address in its environment.
    fn process_with(&self, user: u32, address: impl AsRef<OsStr>) -> Running {
        let mut command = self.as_user(user, "sh");
        command.args(["-c", "echo ready; exec sleep 1000"]);
        command.env("DBUS_SESSION_BUS_ADDRESS", address);
        let running = self.start(command, "ready\n");
        // Until then its environment is that of the shell, which is the same.
        wait_for("sleep", || living("sleep").contains(&running.child.id()));
        running
    }

    fn tell_command(&self) -> Command {
        let mut command = Command::new(&self.tell);
        command.args([&NOBODY.to_string(), SUMMARY, BODY, FULL]).stdin(Stdio::null());
        command
    }

    /// As root, whose victim was `NOBODY`'s.
    fn tell(&self) -> Told {
        told(self.tell_command())
    }
}

/// What the program that tells has to report.
#[derive(Debug)]
struct Told {
    users: u64,
    millis: u64,
}

fn told(mut command: Command) -> Told {
    let mut once = || {
        let output = command.output().expect("the program that tells");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{}, {said}", output.status);
        said
    };
    // On a busy machine, a messenger that was killed may take longer to end than it is waited for.
    let leaves_none = |said: &str| said.lines().all(|line| line.ends_with(", children 0"));
    let said = (0..5).map(|_| once()).find(|said| leaves_none(said));
    let said = said.expect("messengers are left each time");
    assert!(said.lines().all(|line| line.contains(", descriptors 0,")), "{said}");
    wait_for("the end of all messengers", || living("notify").is_empty());
    let line = said.lines().last().expect("a line");
    let (users, millis) = (number_after(line, "users "), number_after(line, "ms "));
    assert!(millis <= BOUND, "{line}");
    Told { users, millis }
}

impl Told {
    #[track_caller]
    fn expect(&self, users: u64) {
        assert_eq!(self.users, users, "{self:?}");
    }
}

struct Running {
    child: Child,
    said: PathBuf,
}

impl Running {
    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).expect("what it said")).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let said = wait_until(Duration::from_secs(60), || self.said().contains(text).then_some(()));
        assert!(said.is_some(), "{text:?} not in:\n{}", self.said());
    }

    /// What of the notifications a `good` bus got.
    fn notifications(&self) -> Vec<String> {
        let said = self.said();
        said.lines().filter(|line| line.contains("dialog-warning")).map(String::from).collect()
    }

    #[track_caller]
    fn expect_body(&self, body: &str) {
        let all = self.notifications();
        assert_eq!(all.len(), 1, "{all:?}");
        let texts = format!("|oom_guard|dialog-warning|{SUMMARY}|{body}|urgency|");
        assert!(all[0].contains(&texts), "{all:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- who hears what ----

#[test]
fn the_owner_and_root_hear_all_and_others_only_the_name() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let [root, owner, other] = [0, NOBODY, OTHER].map(|user| world.bus_of(user, "good"));
        world.tell().expect(3);
        root.expect_body(FULL);
        owner.expect_body(FULL);
        other.expect_body(BODY);
    });
}

#[test]
fn an_ordinary_user_tells_himself_alone() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let [owner, other] = [NOBODY, OTHER].map(|user| world.bus_of(user, "good"));
        let mut command = world.tell_command();
        command.uid(NOBODY).gid(NOBODY);
        told(command).expect(1);
        owner.expect_body(FULL);
        assert_eq!(other.said(), "ready\n");
    });
}

/// Where no other user can be had, too.
#[test]
fn whoever_runs_it_hears_of_it() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let own = world.bus_of(0, "good");
        world.tell().expect(1);
        own.expect_body(FULL);
    });
}

#[test]
fn a_session_that_only_its_processes_know_is_found() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let place = format!("/run/user/{NOBODY}/a, b");
        world.log_in(NOBODY);
        let by_path = world.listen(NOBODY, "good", &place);
        let name = world.abstract_name();
        let by_name = world.listen(NOBODY, "good", &format!("@{name}"));
        let path = format!("unix:path=/nowhere;unix:path=/run/user/{NOBODY}/a%2c%20b");
        let by_number = format!("{path},guid=00");
        let name = format!("unix:abstract={name},guid=00");
        let _processes =
            [&path, &by_number, &name, &name].map(|address| world.process_with(NOBODY, address));
        world.tell().expect(1);
        by_path.expect_body(FULL);
        by_name.expect_body(FULL);
    });
}

#[test]
fn a_session_is_looked_for_where_the_login_has_no_bus_or_one_that_is_left() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let place = world.log_in(NOBODY);
        let name = world.abstract_name();
        let bus = world.listen(NOBODY, "good", &format!("@{name}"));
        let _process = world.process_with(NOBODY, format!("unix:abstract={name}"));
        world.tell().expect(1);
        drop(world.listen(NOBODY, "good", &place));
        world.tell().expect(1);
        assert_eq!(bus.notifications().len(), 2);
    });
}

#[test]
fn where_no_user_has_a_bus_none_is_told() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let mut command = Command::new(&world.tell);
        command.args(["--times", "100", "-", SUMMARY, BODY, FULL]).stdin(Stdio::null());
        told(command).expect(0);
    });
}

// ---- buses that are none ----

#[test]
fn a_bus_that_misbehaves_costs_only_its_own_user() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let good = world.bus_of(OTHER, "good");
        for (count, manner) in ["hang", "garbage", "close", "refuse"].into_iter().enumerate() {
            let _ = fs::remove_file(format!("/run/user/{NOBODY}/bus"));
            let _bus = world.bus_of(NOBODY, manner);
            let start = Instant::now();
            let command = world.tell_command();
            let teller = std::thread::spawn(move || told(command));
            wait_for("the other's notification", || good.notifications().len() > count);
            let heard = start.elapsed();
            let told = teller.join().expect("told");
            told.expect(1);
            println!("{manner}: the other has heard after {heard:?}, all in {} ms", told.millis);
            assert!(heard < Duration::from_secs(1), "{manner}: {heard:?}");
        }
    });
}

#[test]
fn many_users_whose_buses_hang_take_no_longer_than_one() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let _hanging: Vec<_> = (0..20).map(|n| world.bus_of(20_000 + n, "hang")).collect();
        let good = world.bus_of(NOBODY, "good");
        let told = world.tell();
        assert_eq!(told.users, 1, "{told:?}");
        good.expect_body(FULL);
        println!("20 hanging buses: {} ms", told.millis);
    });
}

#[test]
fn a_messenger_that_its_user_stops_is_ended() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let _bus = world.bus_of(NOBODY, "hang");
        let command = world.tell_command();
        let teller = std::thread::spawn(move || told(command));
        let is_of_nobody = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.contains(&format!("Uid:\t{NOBODY}\t")))
        };
        let mut stopped = BTreeSet::new();
        wait_for("the end of the telling", || {
            for messenger in living("notify").into_iter().filter(is_of_nobody) {
                if stopped.insert(messenger) {
                    signal_to(messenger, libc::SIGSTOP);
                }
            }
            teller.is_finished()
        });
        assert!(!stopped.is_empty());
        teller.join().expect("told").expect(0);
    });
}

// ---- addresses that lie ----

#[test]
fn nobody_is_told_at_anothers_socket() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let name = world.abstract_name();
        let trap = world.listen(OTHER, "good", &format!("@{name}"));
        // A shell that became root, or another user, by `su` keeps the address.
        let [_root, _nobody] =
            [0, NOBODY].map(|user| world.process_with(user, format!("unix:abstract={name}")));
        world.tell().expect(0);
        assert_eq!(trap.said(), "ready\n");
        // Nor where a user puts somebody else's socket in place of his own.
        let place = world.log_in(NOBODY);
        let elsewhere = sandbox.path("trap");
        fs::create_dir(&elsewhere).expect("a directory");
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o777)).expect("chmod");
        let socket = elsewhere.join("bus");
        let by_root = world.listen(0, "good", socket.to_str().expect("UTF-8"));
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).expect("chmod");
        std::os::unix::fs::symlink(&socket, place).expect("a link");
        world.tell().expect(0);
        assert_eq!(by_root.said(), "ready\n");
    });
}

#[test]
fn addresses_that_lead_nowhere_do_no_harm() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let long = |byte: &str, len: usize| format!("unix:path=/{}", byte.repeat(len));
        let name = world.abstract_name();
        let mut addresses: Vec<Vec<u8>> = [
            long("x", 107),
            long("%41", 300),
            long("x", 5000),
            long("x", 100_000),
            long("/x;unix:path=", 90),
            ";".repeat(1000),
            "unix:path=/etc/passwd".to_string(),
            "unix:path=/proc/self/mem;unix:path=/dev/zero".to_string(),
            "unix:path=%00;unix:path=/%0;unix:abstract=%zz;unix:path=".to_string(),
            "unixexec:path=/bin/false;tcp:host=127.0.0.1,port=1".to_string(),
            String::new(),
        ]
        .map(String::into_bytes)
        .to_vec();
        addresses.push(b"unix:path=\xff\xfe\x01\x1b[2J".to_vec());
        let _processes: Vec<_> = addresses
            .iter()
            .map(|address| world.process_with(NOBODY, OsStr::from_bytes(address)))
            .collect();
        world.tell().expect(0);
        let bus = world.listen(NOBODY, "good", &format!("@{name}"));
        let _process = world.process_with(NOBODY, format!("unix:abstract={name}"));
        let told = world.tell();
        println!("{told:?}");
        // Unless the lies are more than are tried.
        assert!(told.users == 1 && bus.notifications().len() == 1, "{told:?}");
    });
}

// ---- the guard itself ----

/// A guard that tells, with memory of the test's making, and a hog of `NOBODY`'s.
fn guard_and_hog(world: &World<'_>, options: &[&str]) -> (FakeMemory, Guard, Hog) {
    let memory = FakeMemory::new(world.sandbox);
    let hog =
        Hog::start(world.sandbox.command_as_nobody(world.sandbox.hog_command(&["--size", "60M"])));
    let guard =
        world.sandbox.guard(&[&["-n", "--ignore", "^(sh|bus|sleep|sd-pam)$"], options].concat());
    (memory, guard, hog)
}

#[test]
fn a_user_sees_who_was_asked_to_end_and_who_was_killed() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let (own, other) = (world.bus_of(NOBODY, "good"), world.bus_of(1234, "good"));
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--grace", "0.3"]);
        let pid = hog.pid();
        memory.available(LOW);
        hog.wait_for_end();
        own.wait_for("hog was asked to end|Memory is low. Process ");
        own.wait_for(&format!("Process {pid} held "));
        other.wait_for("hog was asked to end|Memory is low.|urgency");
        guard.stop();
    });
}

#[test]
fn a_bus_that_hangs_delays_no_kill_and_leaves_nothing_behind() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        for manner in ["silent", "garbage"] {
            let _bus = world.bus_of(NOBODY, manner);
            let (memory, guard, mut hog) = guard_and_hog(&world, &[]);
            expect_kill_on_time(&memory, &guard, &mut hog);
            memory.recover(&guard);
            guard.wait_for("notification: no user who is logged in could be told");
            let helper = guard.helper().expect("a helper");
            let mine = |parent: u32| processes().iter().filter(|p| p.parent == parent).count();
            wait_for("the messengers' end", || mine(helper) == 0);
            guard.stop();
            drop(memory);
            fs::remove_dir_all(format!("/run/user/{NOBODY}")).expect("log out");
        }
    });
}

#[test]
fn a_user_sees_that_nobody_can_be_ended() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let bus = world.bus_of(NOBODY, "good");
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--only", "^none$"]);
        memory.available(LOW);
        guard.wait_for("no process to kill");
        bus.wait_for("Memory is low, and no process can be ended|");
        assert!(hog.is_alive());
        guard.stop();
    });
}

#[test]
fn a_user_sees_that_memory_gets_short_and_what_is_largest() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let bus = world.bus_of(NOBODY, "good");
        let others = [30, 40, 50].map(|mib| {
            sandbox.hog(&["--size", &format!("{mib}M"), "--name", &format!("of-{mib}")])
        });
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--warn", "20"]);
        memory.available(190);
        bus.wait_for("Memory gets short|The largest: hog (");
        let said = bus.said();
        let places = ["hog (6", ", of-50 (5", ", of-40 (4"].map(|text| said.find(text));
        assert!(places[0].is_some() && places.windows(2).all(|two| two[0] < two[1]), "{said}");
        assert!(!said.contains("of-30"), "{said}");
        assert!(hog.is_alive());
        drop(others);
        guard.stop();
    });
}

#[test]
fn a_dry_run_says_what_would_be() {
    sandboxed(|sandbox| {
        let Some(world) = World::with_users(sandbox) else { return };
        let bus = world.bus_of(NOBODY, "good");
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--dryrun"]);
        memory.available(LOW);
        bus.wait_for("hog would be asked to end|");
        assert!(hog.is_alive());
        guard.stop();
    });
}

// ---- real parts ----

/// The programs that are missing here, if any.
fn are_missing(programs: &[&str]) -> bool {
    let is_there = |program: &&&str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).exists())
        })
    };
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        skip(&format!("not installed: {missing:?}"));
    }
    !missing.is_empty()
}

/// What `dbus-monitor` shows of our signal.
const SIGNAL: &str = "path=/; interface=net.nuetzlich.SystemNotifications; member=Notify\n";

#[test]
fn who_listens_on_the_system_bus_hears_the_name() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon", "dbus-monitor"]) {
            return;
        }
        // The rules of the distribution: who may send what.
        let Some(world) = World::with_users(sandbox) else { return };
        fs::create_dir("/run/dbus").expect("/run/dbus");
        let mut command = Command::new("dbus-daemon");
        command.args(["--system", "--nofork", "--nopidfile", "--print-address"]);
        let _bus = world.start(command, "unix:");
        let mut command = Command::new("dbus-monitor");
        command.args(["--system", "interface='net.nuetzlich.SystemNotifications'"]);
        let monitor = world.start(command, "NameLost");
        world.tell();
        monitor.wait_for(SIGNAL);
        monitor.wait_for(&format!("   string \"{SUMMARY}\"\n   string \"{BODY}\"\n"));
        assert!(!monitor.said().contains("/dev/zero"), "{}", monitor.said());
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--only", "^hog$"]);
        memory.available(LOW);
        hog.wait_for_end();
        monitor.wait_for("   string \"hog was asked to end\"\n   string \"Memory is low.\"\n");
        assert!(!monitor.said().contains("--size"), "{}", monitor.said());
        guard.stop();
    });
}

/// A bus for anybody who has the right user id, without services that it could start.
fn open_bus(world: &World<'_>, mut command: Command, address: &str) -> Running {
    let rules = format!(
        "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>\
         <policy context='default'><allow send_destination='*'/><allow eavesdrop='true'/>\
         <allow own='*'/></policy></busconfig>"
    );
    let file = world.sandbox.path("rules");
    fs::write(&file, rules).expect("rules");
    command.arg(format!("--config-file={}", file.display()));
    command.args(["--nofork", "--print-address"]);
    world.start(command, "unix:")
}

#[test]
fn the_system_bus_is_where_the_environment_says() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon", "dbus-monitor"]) {
            return;
        }
        let world = World::new(sandbox);
        let address = "unix:path=/run/elsewhere";
        let _bus = open_bus(&world, Command::new("dbus-daemon"), address);
        let mut command = Command::new("dbus-monitor");
        command.args(["--address", address]);
        let monitor = world.start(command, "NameLost");
        let mut command = world.tell_command();
        command.env("DBUS_SYSTEM_BUS_ADDRESS", address);
        told(command).expect(0);
        monitor.wait_for(SIGNAL);
    });
}

#[test]
fn a_system_bus_that_hangs_delays_nobody() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let _bus = world.listen(0, "hang", "/run/elsewhere");
        let own = world.bus_of(0, "good");
        let mut command = world.tell_command();
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/elsewhere");
        told(command).expect(1);
        own.expect_body(FULL);
    });
}

#[test]
fn a_bus_on_which_no_program_shows_notifications_tells_no_user() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon"]) {
            return;
        }
        let Some(world) = World::with_users(sandbox) else { return };
        let place = world.log_in(NOBODY);
        let command = world.as_user(NOBODY, "dbus-daemon");
        let _bus = open_bus(&world, command, &format!("unix:path={place}"));
        world.tell().expect(0);
    });
}

/// An X server leaves its lock and its socket in `/tmp`; the directory of the test, which lies there as well, stays.
fn own_tmp(sandbox: &Sandbox) {
    let kept = Path::new("/run/kept");
    fs::create_dir(kept).expect("a directory");
    bind_over(&sandbox.dir, kept);
    mount(None, Path::new("/tmp"), Some("tmpfs"), 0, Some("mode=1777")).expect("tmpfs");
    fs::create_dir_all(&sandbox.dir).expect("a directory");
    bind_over(kept, &sandbox.dir);
}

/// What `Notify` was called with, as `dbus-monitor` shows it.
const CALL: &str = r#"member=Notify
   string "oom_guard"
   uint32 0
   string "dialog-warning"
   string "Low memory: ended <tail>"
   string "process 4711 &lt;b&gt;tail&lt;/b&gt; &amp; "tail /dev/zero""
   array [
   ]
   array [
      dict entry(
         string "urgency"
         variant             byte 2
      )
   ]
   int32 -1
"#;

#[test]
fn a_real_desktop_shows_it_to_an_ordinary_user() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon", "dbus-monitor", "Xvfb", "dunst"]) {
            return;
        }
        let Some(world) = World::with_users(sandbox) else { return };
        let address = format!("unix:path={}", world.log_in(NOBODY));
        let command = world.as_user(NOBODY, "dbus-daemon");
        let _bus = open_bus(&world, command, &address);
        own_tmp(sandbox);
        let mut command = world.as_user(NOBODY, "Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "800x300x24", "-nolisten", "tcp"]);
        let screen = world.start(command, "");
        let display = wait_until(Duration::from_secs(60), || {
            let said = screen.said();
            let number = said.lines().find(|line| line.parse::<u32>().is_ok())?;
            said.ends_with('\n').then(|| format!(":{number}"))
        });
        let display = display.unwrap_or_else(|| panic!("no display: {}", screen.said()));
        let session = |program: &str| {
            let mut command = world.as_user(NOBODY, program);
            command.env("DBUS_SESSION_BUS_ADDRESS", &address).env("DISPLAY", &display);
            command.env("HOME", "/nonexistent");
            command
        };
        let monitor = world.start(session("dbus-monitor"), "NameLost");
        let mut command = session("dunst");
        command.arg("-print");
        let desktop = world.start(command, "");
        monitor.wait_for("string \"org.freedesktop.Notifications\"");
        let texts =
            ["Low memory: ended <tail>", "tail", "process 4711 <b>tail</b> & \"tail /dev/zero\""];
        let mut command = Command::new(&world.tell);
        command.arg(NOBODY.to_string()).args(texts).stdin(Stdio::null());
        told(command).expect(1);
        monitor.wait_for(CALL);
        desktop.wait_for("urgency: CRITICAL");
        desktop.wait_for("summary: 'Low memory: ended <tail>'");
        // The guard itself, as root.
        let (memory, guard, mut hog) = guard_and_hog(&world, &["--only", "^hog$"]);
        memory.available(LOW);
        hog.wait_for_end();
        desktop.wait_for("summary: 'hog was asked to end'");
        guard.stop();
    });
}

// ---- the low-memory signal ----

const MONITOR: &str = "org.freedesktop.LowMemoryMonitor";
const SYSTEM_BUS: &str = "/run/system";
const OWNED: &str = "low-memory signal: org.freedesktop.LowMemoryMonitor is owned";
/// Below 1.5 times the level of SIGTERM, and above that.
const SHORT: u64 = 145;

/// A system bus with the rules that come with D-Bus, as far as they matter here, and ours.
fn system_bus(world: &World<'_>) -> Running {
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("init/dbus/oom_guard.conf");
    let rules = format!(
        "<busconfig><type>system</type><listen>unix:path={SYSTEM_BUS}</listen><auth>EXTERNAL</auth>\
         <policy context='default'><allow user='*'/><deny own='*'/><deny send_type='method_call'/>\
         <allow send_type='signal'/><allow send_requested_reply='true' send_type='method_return'/>\
         <allow send_requested_reply='true' send_type='error'/><allow receive_type='method_call'/>\
         <allow receive_type='method_return'/><allow receive_type='error'/>\
         <allow receive_type='signal'/><allow send_destination='org.freedesktop.DBus' \
         send_interface='org.freedesktop.DBus'/></policy>\
         <policy user='root'><allow send_destination='org.freedesktop.DBus' \
         send_interface='org.freedesktop.DBus.Monitoring'/></policy>\
         <include>{}</include></busconfig>",
        policy.display()
    );
    let file = world.sandbox.path("system-rules");
    fs::write(&file, rules).expect("rules");
    let _ = fs::remove_file(SYSTEM_BUS);
    let mut command = Command::new("dbus-daemon");
    command.arg(format!("--config-file={}", file.display()));
    command.args(["--nofork", "--print-address"]);
    world.start(command, "unix:")
}

fn on_system_bus(mut command: Command) -> Command {
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={SYSTEM_BUS}"));
    command
}

/// A guard that owns the name, or tries to, and kills nothing but hogs.
fn emitting_guard(sandbox: &Sandbox, options: &[&str]) -> Guard {
    let options = [&["--low-memory-signal", "--only", "^hog$"], options].concat();
    sandbox.start_guard(on_system_bus(sandbox.guard_command(&options)))
}

fn monitor(world: &World<'_>) -> Running {
    let mut command = Command::new("dbus-monitor");
    command.args(["--system", &format!("interface='{MONITOR}'")]);
    world.start(on_system_bus(command), "NameLost")
}

/// On a system bus of the test's own, with a monitor of it, and memory of the test's making.
fn with_monitor(sandbox: &Sandbox, body: impl FnOnce(&Running, &FakeMemory)) {
    if are_missing(&["dbus-daemon", "dbus-monitor"]) {
        return;
    }
    let world = World::new(sandbox);
    let _bus = system_bus(&world);
    let monitor = monitor(&world);
    body(&monitor, &FakeMemory::new(sandbox));
}

/// The levels that were emitted, as `dbus-monitor` shows them.
fn emitted(monitor: &Running) -> Vec<u64> {
    let said = monitor.said();
    let heads =
        "path=/org/freedesktop/LowMemoryMonitor; interface=org.freedesktop.LowMemoryMonitor; \
                 member=LowMemoryWarning\n   byte ";
    said.split(heads).skip(1).map(|rest| number_after(&format!(" {rest}"), " ")).collect()
}

#[track_caller]
fn expect_emitted(monitor: &Running, levels: &[u64]) {
    let as_many = || (emitted(monitor).len() >= levels.len()).then_some(());
    wait_until(Duration::from_secs(60), as_many);
    assert_eq!(emitted(monitor), levels, "{}", monitor.said());
}

fn children(guard: &Guard) -> Vec<u32> {
    let mut all = processes();
    all.retain(|process| process.parent == guard.pid() && process.state != b'Z');
    all.iter().map(|process| process.pid).collect()
}

/// The process that holds the connection. The helper has a descriptor for the ends of its children,
/// and this one has none.
fn emitter(guard: &Guard) -> u32 {
    let listens = |pid: &u32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = links.filter_map(|link| fs::read_link(link.path()).ok());
        targets.any(|to| to.ends_with("anon_inode:[signalfd]"))
    };
    let found: Vec<_> = children(guard).into_iter().filter(|pid| !listens(pid)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// A program as it is meant to be: it holds a cache, and drops it when it is told.
const GLIB_PROGRAM: &str = r#"
import gi
gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib
cache = bytearray(64 << 20)
def warned(monitor, level):
    global cache
    cache = None
    print("warned", int(level), flush=True)
monitor = Gio.MemoryMonitor.dup_default()
monitor.connect("low-memory-warning", warned)
print("listens by", type(monitor).__name__, flush=True)
GLib.MainLoop().run()
"#;

/// A Python that knows GLib, if there is one.
fn python_with_glib() -> Option<&'static str> {
    let has_glib = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import gi; gi.require_version('Gio', '2.0'); from gi.repository import Gio; Gio.MemoryMonitor"]);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has_glib);
    if found.is_none() {
        skip("no Python with GLib's MemoryMonitor is installed (python3-gi)");
    }
    found
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    number_after(&status, "VmRSS:")
}

#[test]
fn a_program_of_glib_drops_its_cache_before_anything_is_ended() {
    sandboxed(|sandbox| {
        let Some(python) = python_with_glib() else { return };
        if are_missing(&["dbus-daemon"]) {
            return;
        }
        let Some(world) = World::with_users(sandbox) else { return };
        let _bus = system_bus(&world);
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = emitting_guard(sandbox, &[]);
        guard.wait_for("caches dropped  when mem avail <= 150 MiB (15.00%) (no swap)");
        guard.wait_for(OWNED);
        let mut command = on_system_bus(world.as_user(NOBODY, python));
        command.args(["-c", GLIB_PROGRAM]);
        let program = world.start(command, "listens by");
        let pid = program.child.id();
        let before = resident_kib(pid);
        // The program asks the bus for signals some time after it says that it listens; what comes before that is lost.
        let is_warned = || program.said().contains("warned 50").then_some(());
        for _ in 0..3 {
            memory.available(SHORT);
            if wait_until(Duration::from_secs(20), is_warned).is_some() {
                break;
            }
            memory.recover(&guard);
        }
        program.wait_for("warned 50");
        wait_for("the cache to go", || resident_kib(pid) + (60 << 10) < before);
        note(&format!("the program held {before} KiB, and then {}", resident_kib(pid)));
        guard.make_look(3);
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        memory.available(LOW);
        hog.wait_for_end();
        program.wait_for("warned 100");
        memory.available(VERY_LOW);
        program.wait_for("warned 255");
        assert_eq!(program.said().matches("warned").count(), 3, "{}", program.said());
        guard.stop();
    });
}

#[test]
fn each_level_is_emitted_once_and_not_again_while_memory_stays() {
    sandboxed(|sandbox| {
        with_monitor(sandbox, |monitor, memory| {
            let guard = emitting_guard(sandbox, &["--warn", "20", "--dryrun"]);
            guard.wait_for(OWNED);
            memory.available(205);
            guard.make_look(3);
            let begun = Instant::now();
            for (available, levels) in [
                (200, &[50][..]),
                (SHORT, &[50]),
                (VERY_LOW, &[50, 255]),
                // Neither repeated as memory comes back nor within 15 s.
                (LOW, &[50, 255]),
                (PLENTY, &[50, 255]),
                (SHORT, &[50, 255]),
                (VERY_LOW, &[50, 255]),
            ] {
                memory.available(available);
                guard.make_look(3);
                if levels.len() > 1 && begun.elapsed() >= Duration::from_secs(15) {
                    return skip("this machine is too slow to show what comes within 15 s");
                }
                expect_emitted(monitor, levels);
            }
            guard.stop();
        });
    });
}

#[test]
fn the_signal_comes_before_the_end_of_a_process() {
    sandboxed(|sandbox| {
        with_monitor(sandbox, |monitor, memory| {
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = emitting_guard(sandbox, &[]);
            guard.wait_for(OWNED);
            expect_kill_on_time(memory, &guard, &mut hog);
            expect_emitted(monitor, &[255]);
            guard.wait_for("low-memory signal: LowMemoryWarning 255");
            guard.stop();
        });
    });
}

#[test]
fn a_name_that_another_process_owns_is_left_to_it_and_that_is_said_once() {
    sandboxed(|sandbox| {
        with_monitor(sandbox, |monitor, memory| {
            let first = emitting_guard(sandbox, &["--dryrun"]);
            first.wait_for(OWNED);
            let command = sandbox.guard_command(&["--low-memory-signal", "--dryrun"]);
            let mut command = on_system_bus(command);
            let log = sandbox.path("second");
            command.stderr(File::create(&log).expect("a log"));
            let second = sandbox.start_guard_with_log(command, log);
            let said = "another process owns org.freedesktop.LowMemoryMonitor; trying on";
            second.wait_for(said);
            memory.available(SHORT);
            expect_emitted(monitor, &[50]);
            first.make_look(3);
            second.make_look(3);
            assert_eq!(emitted(monitor), [50]);
            assert_eq!(second.count(said), 1);
            second.stop();
            first.stop();
        });
    });
}

#[test]
fn a_guard_that_may_not_own_the_name_is_told_so() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon"]) {
            return;
        }
        let Some(world) = World::with_users(sandbox) else { return };
        let _bus = system_bus(&world);
        let options = ["--low-memory-signal", "--dryrun"];
        let command = sandbox.command_as_nobody(sandbox.guard_command(&options));
        let guard = sandbox.start_guard(on_system_bus(command));
        guard.wait_for(
            "the system bus refuses org.freedesktop.LowMemoryMonitor (by its policy?); trying on",
        );
        guard.stop();
    });
}

#[test]
fn the_connection_outlives_a_reload_and_a_helper_and_comes_back_after_its_end() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon", "dbus-monitor"]) {
            return;
        }
        let world = World::new(sandbox);
        let bus = system_bus(&world);
        let memory = FakeMemory::new(sandbox);
        let file = sandbox.path("settings");
        let set = |settings: &str| {
            let settings = format!("OOM_GUARD_DRY_RUN=true\n{settings}");
            fs::write(&file, settings).expect("settings");
        };
        let on = "OOM_GUARD_LOW_MEMORY_SIGNAL=true\n";
        set(on);
        let options = ["-c", file.to_str().unwrap()];
        let guard = sandbox.start_guard(on_system_bus(sandbox.guard_command(&options)));
        guard.wait_for(OWNED);
        let (connected, helpers) = (emitter(&guard), children(&guard));
        // With that the helper is another one.
        let stats = sandbox.path("stats");
        set(&format!("{on}OOM_GUARD_STATS_FILE={}\n", stats.display()));
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings were read again");
        wait_for("the numbers", || stats.exists());
        wait_for("the old helper's end", || children(&guard).len() == 2);
        assert_ne!(children(&guard), helpers);
        assert_eq!(emitter(&guard), connected);
        assert_eq!(guard.count(OWNED), 1);
        // The bus is started anew, as in an upgrade.
        drop(bus);
        guard.wait_for("low-memory signal: no system bus: it hung up; trying on");
        let _bus = system_bus(&world);
        guard.wait_for_many(OWNED, 2);
        assert_eq!(emitter(&guard), connected);
        let monitor = monitor(&world);
        memory.available(SHORT);
        expect_emitted(&monitor, &[50]);
        memory.recover(&guard);
        signal_to(connected, libc::SIGKILL);
        guard.wait_for_many(OWNED, 3);
        assert_ne!(emitter(&guard), connected);
        // Without the option there is none.
        set("");
        guard.signal(libc::SIGHUP);
        guard.wait_for_many("settings were read again", 2);
        wait_for("the emitter's end", || children(&guard).len() == 1);
        guard.stop();
        wait_for("the end of all", || living("oom_guard").is_empty());
    });
}

#[test]
fn a_system_bus_that_hangs_or_is_none_delays_no_kill_and_no_line() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        for manner in ["hang", "garbage", "close", "refuse"] {
            let _ = fs::remove_file(SYSTEM_BUS);
            let _bus = world.listen(0, manner, SYSTEM_BUS);
            let memory = FakeMemory::new(sandbox);
            let script = sandbox.script("hook", "touch \"$dir/ran\"");
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = emitting_guard(sandbox, &["--post-kill", &script]);
            expect_kill_on_time(&memory, &guard, &mut hog);
            guard.wait_for("exited after");
            wait_for("the hook", || sandbox.path("ran").exists());
            guard.wait_for("low-memory signal: ");
            assert_eq!(guard.count("; trying on"), 1, "{}", guard.log());
            guard.stop();
            fs::remove_file(sandbox.path("ran")).expect("what the hook made");
        }
    });
}

#[test]
fn whatever_others_send_each_call_is_answered_and_the_name_stays() {
    sandboxed(|sandbox| {
        if are_missing(&["dbus-daemon", "dbus-monitor", "dbus-send"]) {
            return;
        }
        let Some(world) = World::with_users(sandbox) else { return };
        let _bus = system_bus(&world);
        let monitor = monitor(&world);
        let memory = FakeMemory::new(sandbox);
        let guard = emitting_guard(sandbox, &["--dryrun"]);
        guard.wait_for(OWNED);
        let call = |method: &str, arguments: &[&str], waits: bool| {
            let mut command = on_system_bus(world.as_user(NOBODY, "dbus-send"));
            command.args(["--system", "--type=method_call", "--reply-timeout=20000"]);
            command.args(waits.then_some("--print-reply")).arg(format!("--dest={MONITOR}"));
            command.args(["/org/freedesktop/LowMemoryMonitor", method]).args(arguments);
            let output = command.output().expect("dbus-send");
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&said).into_owned())
        };
        let asks = |method: &str, arguments: &[&str]| call(method, arguments, true);
        let is_there = || {
            let (succeeds, said) = asks("org.freedesktop.DBus.Peer.Ping", &[]);
            assert!(succeeds, "{said}");
        };
        is_there();
        let (succeeds, said) =
            asks("org.freedesktop.DBus.Properties.GetAll", &[&format!("string:{MONITOR}")]);
        assert!(succeeds && said.contains("array [\n   ]"), "{said}");
        let (succeeds, said) = asks("org.freedesktop.DBus.Introspectable.Introspect", &[]);
        assert!(succeeds && said.contains("<signal name=\"LowMemoryWarning\">"), "{said}");
        let (succeeds, said) = asks(&format!("{MONITOR}.Nothing"), &[]);
        assert!(!succeeds && said.contains("org.freedesktop.DBus.Error.UnknownMethod"), "{said}");
        // More than is taken.
        for size in [3000, 4000, 4096, 10_000, 100_000] {
            let text = format!("string:{}", "x".repeat(size));
            call(&format!("{MONITOR}.Nothing"), &[&text], false);
            is_there();
        }
        memory.available(SHORT);
        expect_emitted(&monitor, &[50]);
        assert_eq!(guard.count(OWNED), 1);
        assert_eq!(guard.count("; trying on"), 0);
        guard.stop();
    });
}

#[test]
fn a_check_says_whether_the_system_bus_can_be_reached() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let check = |said: &str| {
            let mut command = on_system_bus(sandbox.guard_command(&["--low-memory-signal"]));
            let output = command.arg("--check").stdout(Stdio::piped()).output().expect("a check");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            assert!(text.contains(&format!("  system bus: {said}\n")), "{text}");
        };
        check("no, there is none");
        let bus = world.listen(0, "hang", SYSTEM_BUS);
        check("no, it does not answer");
        drop(bus);
        fs::remove_file(SYSTEM_BUS).expect("what is left of it");
        let _bus = world.listen(0, "good", SYSTEM_BUS);
        check("yes");
    });
}
