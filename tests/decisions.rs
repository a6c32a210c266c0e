//! What the guard decides, with the real binary and real processes on a `/proc/meminfo` of the test's own making.
//!
//! Unless a test says otherwise there are 1000 MiB and no swap, so that 10% are 100 MiB.

mod common;

use common::*;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A guard that looks often enough, since memory is never far from its limits, to have noticed by then.
const SEVERAL_LOOKS: u64 = 8;

// ---- levels and signals ----

#[test]
fn at_the_first_level_the_largest_process_gets_sigterm_and_nobody_else() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut small = sandbox.hog(&["--size", "15M"]);
        let mut large = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        assert_eq!(large.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        let pid = large.pid();
        let said = guard.wait_for(&format!("process {pid} exited after "));
        assert!(said.ends_with(" seconds"), "{said}");
        let signals = guard.signals();
        assert_eq!(signals.len(), 1, "{signals:?}");
        assert!(
            signals[0].starts_with(&format!("sending SIGTERM to process {pid} uid 0 \"hog\": "))
        );
        assert!(signals[0].contains(", oom_score_adj 0, VmRSS 6"), "{}", signals[0]);
        // What is in between may be nothing: a process that has ended has no command line.
        assert!(
            signals[0].contains(" MiB, cmdline \"") && signals[0].ends_with('"'),
            "{}",
            signals[0]
        );
        assert!(small.is_alive());
        guard.stop();
    });
}

#[test]
fn of_two_nearly_alike_the_larger_goes_although_the_other_has_just_grown() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut old = sandbox.hog(&["--size", "100M"]);
        thread::sleep(Duration::from_secs(2));
        let guard = sandbox.guard(&[]);
        let mut new = sandbox.hog(&["--size", "97M"]);
        memory.available(LOW);
        assert_eq!(old.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(new.is_alive());
        guard.stop();
    });
}

/// Each gives back a little less than it held, and the next one takes that.
#[test]
fn a_hog_is_ended_at_its_level_however_many_were_before() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        for number in 1..=12 {
            let mut hog = sandbox.hog(&["--size", "100M"]);
            let mut available = 180;
            while hog.is_alive() && available > 60 {
                available -= 1;
                memory.available(available);
                guard.make_look(1);
            }
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
            memory.available(180);
            guard.wait_for_many("exited after", number);
            guard.make_look(2);
        }
        // The end of one may take longer than the fall to 60 MiB, but what was seen before the signal is told.
        let levels = guard.wait_for_many("low memory! ", 12);
        let late: Vec<_> = levels.iter().filter(|line| number_after(line, " mem ") < 9).collect();
        assert!(late.is_empty(), "{late:?}");
        guard.stop();
    });
}

#[test]
fn the_parent_of_hogs_that_come_back_lives_on() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let body = "while :; do \"$dir/hog\" --size 30M >/dev/null; done";
        let script = sandbox.script("supervisor", body);
        let mut shell = Command::new("sh").arg(script).spawn().expect("a shell");
        let guard = sandbox.guard(&["--cooldown", "0"]);
        let mut last = 0;
        for _ in 0..6 {
            wait_for("the next hog", || living("hog").iter().any(|&pid| pid != last));
            last = living("hog")[0];
            // The shell is large beside a hog that has only begun.
            wait_for("its memory", || resident_mib(last) >= 30);
            memory.available(LOW);
            wait_for("its end", || !living("hog").contains(&last));
            memory.recover(&guard);
            // What is said comes a little later.
            wait_for("its signal", || !guard.signals_to(last).is_empty());
            assert_eq!(guard.signals_to(last).len(), 1);
        }
        assert!(shell.try_wait().expect("wait").is_none());
        assert_eq!(guard.signals_to(shell.id()), [""; 0]);
        shell.kill().and_then(|()| shell.wait()).expect("the shell's end");
        guard.stop();
    });
}

fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find(|line| line.starts_with("VmRSS:"));
    rss.map_or(0, |line| number_after(line, "VmRSS:") / 1024)
}

#[test]
fn at_the_second_level_the_victim_gets_sigkill_at_once() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "0"]);
        memory.available(VERY_LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        let signals = guard.signals();
        assert_eq!(signals.len(), 1, "{signals:?}");
        assert!(signals[0].starts_with("sending SIGKILL to process "));
        guard.stop();
    });
}

#[test]
fn a_victim_that_ignores_sigterm_gets_sigkill_when_memory_falls_to_the_second_level() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "0", "-d"]);
        memory.available(LOW);
        guard.wait_for("sending SIGTERM to process ");
        guard.wait_for_looks(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        memory.available(VERY_LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        guard.wait_for("exited after");
        assert_eq!(guard.signals_to(hog.pid()).len(), 2);
        guard.wait_for("memory is at or below the limit for SIGKILL");
        guard.stop();
    });
}

#[test]
fn a_victim_that_ignores_sigterm_gets_sigkill_after_the_grace_while_memory_is_low() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "1"]);
        let before = Instant::now();
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(before.elapsed() >= Duration::from_secs(1));
        guard.wait_for("it ignores SIGTERM and memory is still low");
        guard.stop();
    });
}

#[test]
fn a_victim_is_let_off_when_memory_recovers_and_gets_sigkill_the_next_time() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "3"]);
        memory.available(LOW);
        guard.wait_for("sending SIGTERM to process ");
        memory.available(PLENTY);
        guard.wait_for("did not exit, but memory has recovered: let off");
        assert!(hog.is_alive());
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        guard.wait_for("exited after");
        let signals = guard.signals();
        assert_eq!(signals.len(), 2, "{signals:?}");
        assert!(signals[1].starts_with(&format!("sending SIGKILL to process {} uid ", hog.pid())));
        guard.stop();
    });
}

#[test]
fn a_kill_level_of_zero_means_that_sigkill_never_comes() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["-m", "10,0", "--grace", "0", "-d"]);
        memory.available(LOW);
        guard.wait_for("sending SIGTERM to process ");
        memory.available(0);
        guard.make_look(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        assert_eq!(guard.count("sending SIGKILL to process"), 0);
        guard.stop();
    });
}

/// High levels, and SIGKILL before SIGTERM: a little below and above it, and the signal.
const UNUSUAL: &[(&str, u64, u64, libc::c_int)] = &[
    ("-m60", 580, 610, libc::SIGTERM),
    ("-m99", 980, 996, libc::SIGTERM),
    ("-M600M", 580, 610, libc::SIGTERM),
    ("-m10,30", 290, 310, libc::SIGKILL),
    ("-m10,60", 590, 610, libc::SIGKILL),
];

#[test]
fn whatever_the_level_it_alone_says_when_memory_is_low_and_when_it_has_recovered() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for &(option, below, above, signal) in UNUSUAL {
            memory.available(above);
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(&[option, "-d"]);
            for count in 1..=2 {
                guard.make_look(3);
                assert!(hog.is_alive(), "{option}");
                assert_eq!(guard.signals().len(), count - 1, "{option} {:?}", guard.signals());
                memory.available(below);
                assert_eq!(hog.wait_for_end().signal(), Some(signal), "{option}");
                memory.available(above);
                guard.wait_for_many("exited after", count);
                // As soon as memory is above the level, nothing is left of the event.
                guard.make_look(3);
                hog = sandbox.hog(&["--size", "60M"]);
            }
            guard.make_look(3);
            assert!(hog.is_alive(), "{option}");
            guard.stop();
            hog.signal(libc::SIGKILL);
            hog.wait_for_end();
        }
    });
}

#[test]
fn a_victim_is_let_off_above_a_high_level_too() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        memory.available(610);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "3", "-m60"]);
        memory.available(580);
        guard.wait_for("sending SIGTERM to process ");
        memory.available(610);
        guard.wait_for("did not exit, but memory has recovered: let off");
        assert!(hog.is_alive());
        guard.stop();
    });
}

// ---- thresholds ----

#[test]
fn the_lower_of_percentage_and_size_counts() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for options in [["-m", "20", "-M", "100M"], ["-m", "10", "-M", "200M"]] {
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(&[&options[..], &["-d"]].concat());
            memory.available(150);
            guard.wait_for_looks(SEVERAL_LOOKS);
            assert!(hog.is_alive(), "{options:?}");
            memory.available(LOW);
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM), "{options:?}");
            memory.available(PLENTY);
            guard.stop();
        }
    });
}

/// So much memory, of which so much is available and so much more is held by processes; the rest is in tmpfs.
fn machine(total: u64, available: u64, anon: u64) -> Amounts {
    Amounts { total, anon, ..Amounts::available(available) }
}

/// What the guard says of `-M` while user memory is 400 MiB.
const LOWERED: &str = "notice: -M: 800 MiB counts as ";

#[test]
fn a_size_that_no_kill_can_reach_is_lowered_which_is_said_once() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        memory.set(machine(1000, 940, 60));
        let guard = sandbox.guard(&["-M", "800M", "-d"]);
        // Files in tmpfs, and a machine that shrinks: of 400 MiB the four fifths that 800 are of 1000, which is 320. One
        // amount changes at a time, as a look may come in between.
        for total in [1000, 500, 1000] {
            memory.set(machine(total, 340, 60));
            guard.make_look(3);
        }
        assert!(hog.is_alive() && guard.signals().is_empty());
        let said = "320 MiB now: user memory is 400 MiB, and the largest MemTotal seen is 1000 MiB";
        guard.wait_for(said);
        assert_eq!(guard.lines(LOWERED), [format!("{LOWERED}{said}")]);
        memory.set(machine(1000, 310, 90));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.set(machine(1000, 940, 60));
        guard.wait_for("exited after");
        guard.stop();
    });
}

#[test]
fn in_a_shrunken_machine_a_guard_that_starts_again_ends_nobody_for_a_size_above_all_there_is() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hogs = [0; 3].map(|_| sandbox.hog(&["--size", "60M"]));
        // The machine of 16 GiB that was lowered to 4000000 kB, on a smaller scale.
        let mut guard = {
            memory.set(machine(1600, 1400, 150));
            sandbox.guard(&["-M", "800M", "-d"])
        };
        for starts in [0, 1] {
            if starts > 0 {
                guard.stop();
                guard = sandbox.guard(&["-M", "800M", "-d"]);
                guard.wait_for("warning: -M: 819200 KiB is more than this machine has (MemTotal ");
            }
            memory.set(machine(380, 340, 40));
            guard.make_look(3);
            // Half of user memory, whatever the largest was.
            guard.wait_for(&format!("{LOWERED}190 MiB now: user memory is 380 MiB"));
            assert!(hogs.iter_mut().all(Hog::is_alive) && guard.signals().is_empty());
        }
        memory.set(machine(380, 180, 200));
        guard.wait_for("sending SIGTERM to process");
        memory.set(machine(380, 340, 40));
        guard.stop();
        // So much more is a slip of the finger.
        let mut command = sandbox.guard_command(&["-M", "7G", "--check"]);
        let answer = command.stderr(Stdio::piped()).output().expect("the guard");
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert_eq!(answer.status.code(), Some(2), "{said}");
        assert!(said.contains("-M: 7340032 KiB is more than 16 times"), "{said}");
    });
}

// ---- processors ----

#[test]
fn memory_fills_by_all_processors_of_the_machine_whatever_the_guard_may_use() {
    sandboxed(|sandbox| {
        let mut command = sandbox.guard_command(&["-d"]);
        set_processors(sandbox, "0-6,9", &mut command);
        let guard = sandbox.start_guard(command);
        guard.wait_for(" MiB a second, by 8 processors");
        guard.stop();
    });
}

// ---- swap ----

fn with_swap(available: u64, swap_total: u64, swap_free: u64) -> Amounts {
    Amounts { swap_total, swap_free, ..Amounts::available(available) }
}

#[test]
fn nobody_is_ended_before_swap_is_low_too() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        memory.set(with_swap(PLENTY, 500, 400));
        let guard = sandbox.guard(&["-d"]);
        memory.set(with_swap(VERY_LOW, 500, 60));
        guard.wait_for_looks(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        // At or below 10%, and above 5%.
        memory.set(with_swap(VERY_LOW, 500, 40));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.set(with_swap(PLENTY, 500, 500));
        guard.wait_for("exited after");
        guard.stop();
    });
}

#[test]
fn swap_that_is_switched_on_or_off_later_is_noticed() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&["-d"]);
        memory.set(with_swap(PLENTY, 500, 500));
        guard.wait_for("swap free:  500 of  500 MiB");
        memory.set(with_swap(VERY_LOW, 500, 500));
        guard.wait_for_looks(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn a_swap_threshold_of_100_percent_means_whatever_the_swap() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        memory.set(with_swap(PLENTY, 500, 500));
        let guard = sandbox.guard(&["-s", "100"]);
        memory.set(with_swap(LOW, 500, 500));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn whatever_the_swap_holds_for_sigkill_too() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for options in [["-s", "100"], ["-S", "500M"], ["-S", "8G"]] {
            let mut hog = sandbox.hog(&["--size", "60M"]);
            memory.set(with_swap(PLENTY, 500, 440));
            let guard = sandbox.guard(&options);
            memory.set(with_swap(VERY_LOW, 500, 440));
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL), "{options:?}");
            memory.set(with_swap(PLENTY, 500, 500));
            guard.wait_for("exited after");
            guard.stop();
        }
    });
}

// ---- a meminfo that says less, or nonsense ----

#[test]
fn a_kernel_without_mem_available_gets_an_estimate_which_is_said_once() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let old = |free: u64| {
            let kib = [1000, free, 20, 20, 1000 - free].map(|mib| mib << 10);
            let [total, free, active, inactive, anon] = kib;
            memory.write(&format!(
                "MemTotal: {total:>9} kB\nMemFree: {free:>9} kB\nActive(file): {active:>9} kB\n\
                 Inactive(file): {inactive:>9} kB\nAnonPages: {anon:>9} kB\n"
            ));
        };
        old(PLENTY);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&["-d"]);
        guard.wait_for_looks(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        old(0);
        hog.wait_for_end();
        old(PLENTY);
        guard.wait_for("exited after");
        assert_eq!(guard.count("tells no MemAvailable; it is estimated"), 1);
        guard.stop();
    });
}

const NONSENSE: &str = "/proc/meminfo makes no sense: it has no line \"MemTotal: NUMBER kB\" ";

#[test]
fn a_meminfo_that_makes_no_sense_ends_nobody_is_said_each_minute_and_gets_over() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        let began = Instant::now();
        for nonsense in [
            "",
            "MemTotal:",
            "MemTotal:        1024000 kB\n",
            "MemTotal:        1024000 kB\nMemAvailable:    9",
            "MemTotal:              0 kB\nMemAvailable:          0 kB\n",
            "MemTotal: 99999999999999999999999 kB\nMemAvailable: 1 kB\n",
            "MemTotal:        1024000 kB\nMemAvailable:         -1 kB\n",
            "MemTotal:        1024000 kB\nMemAvailable: 1 kB but more\n",
            "\0\0\0\0\n\u{1b}[2J\n",
        ] {
            memory.write(nonsense);
            guard.wait_for(NONSENSE);
            guard.make_look(2);
            assert!(hog.is_alive(), "{nonsense:?}");
        }
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        let minutes = began.elapsed().as_secs() / 60;
        assert!(guard.count("makes no sense: ") as u64 <= 1 + minutes);
        assert_eq!(guard.count("makes sense again"), 1);
        guard.stop();
    });
}

#[test]
fn amounts_beyond_what_there_is_count_as_all_there_is() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&["-d"]);
        memory.set(Amounts { anon: 9000, ..with_swap(5000, 100, 700) });
        guard.wait_for("mem avail:  1000 of  1000 MiB (100.00%), swap free:  100 of  100 MiB");
        memory.set(Amounts { anon: 9000, ..Amounts::available(LOW) });
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

// ---- one kill an event ----

/// What a crowd holds, and a little more.
const CROWD_MIB: u64 = 700;

/// Twenty small processes, and one that is half as large as all of them together.
fn crowd(sandbox: &Sandbox) -> (Vec<Hog>, Hog) {
    let small = (0..20).map(|_| sandbox.hog(&["--size", "20M"])).collect();
    (small, sandbox.hog(&["--size", "200M"]))
}

#[test]
fn memory_that_comes_back_too_late_costs_no_second_victim() {
    sandboxed(|sandbox| {
        if !has_available(CROWD_MIB) {
            return;
        }
        let memory = FakeMemory::new(sandbox);
        let (mut small, mut large) = crowd(sandbox);
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        large.wait_for_end();
        guard.wait_for("useless kill: it gave back 0 of 200 MiB");
        thread::sleep(Duration::from_secs(3));
        memory.available(LOW + 190);
        guard.make_look(SEVERAL_LOOKS);
        assert_eq!(guard.signals().len(), 1);
        assert!(small.iter_mut().all(Hog::is_alive));
        assert_eq!(guard.count("useless kill"), 1);
        guard.stop();
    });
}

/// A process that leaves and cannot finish: first in a namespace of its own, it waits there for one that has ended but
/// whose parent, outside, takes no note of it. Returns its number, who waits for it, and that parent.
fn one_that_leaves_for_ever() -> (u32, Child, Child) {
    let child_of = |parent: u32| {
        let mut found = None;
        wait_for("a child", || {
            found = children(parent).pop();
            found.is_some()
        });
        found.expect("found")
    };
    let mut waiting = Command::new("sh");
    waiting.args(["-c", "sleep 1000 & wait"]);
    let leave = || {
        // SAFETY: takes a number.
        match unsafe { libc::unshare(libc::CLONE_NEWPID) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { waiting.pre_exec(leave) };
    let waiting = waiting.spawn().expect("sh");
    let init = child_of(waiting.id());
    let namespace = File::open(format!("/proc/{init}/ns/pid")).expect("the namespace");
    let mut parent = Command::new("sh");
    parent.args(["-c", "sleep 1000 & exec sleep 1000"]);
    let enter = move || {
        // SAFETY: takes a descriptor, which the closure keeps open, and a number.
        match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { parent.pre_exec(enter) };
    let parent = parent.spawn().expect("sh");
    let member = child_of(parent.id());
    signal_to(init, libc::SIGKILL);
    wait_for("its end", || processes().iter().any(|p| p.pid == member && p.state == b'Z'));
    (init, waiting, parent)
}

#[test]
fn one_that_leaves_by_itself_is_waited_for_but_not_for_ever() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let (leaving, mut waiting, mut parent) = one_that_leaves_for_ever();
        for options in [&["-d"][..], &["-d", "--sort-by-rss", "--dryrun"]] {
            let guard = sandbox.guard(options);
            memory.available(LOW);
            let waits = format!("process {leaving} leaves by itself: waiting for it");
            guard.wait_for(&waits);
            guard.wait_for(&format!("SIGTERM to process {}", hog.pid()));
            let log = guard.log();
            let (before, _) = log.split_once(" to process ").expect("a signal");
            assert_eq!(before.matches(&waits).count(), 1, "{log}");
            memory.available(PLENTY);
            guard.stop();
            hog = sandbox.hog(&["--size", "60M"]);
        }
        parent.kill().expect("kill");
        parent.wait().expect("wait");
        waiting.wait().expect("wait");
    });
}

#[test]
fn memory_that_processes_take_anew_costs_the_next_one() {
    sandboxed(|sandbox| {
        if !has_available(CROWD_MIB) {
            return;
        }
        let memory = FakeMemory::new(sandbox);
        let (mut small, mut large) = crowd(sandbox);
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        large.wait_for_end();
        guard.wait_for("exited after");
        let before = Instant::now();
        // Less available, and as much more in anonymous pages.
        memory.available(LOW - 60);
        guard.wait_for_many(" to process ", 2);
        assert!(before.elapsed() < Duration::from_secs(10));
        memory.available(PLENTY);
        wait_for("an end", || small.iter_mut().any(|hog| !hog.is_alive()));
        guard.stop();
    });
}

#[test]
fn a_kill_that_gains_nothing_is_called_useless_and_followed_by_a_pause_that_doubles() {
    sandboxed(|sandbox| {
        if !has_available(CROWD_MIB) {
            return;
        }
        let memory = FakeMemory::new(sandbox);
        // As if tmpfs held what processes do not.
        let full = |anon| memory.set(Amounts { anon, ..Amounts::available(30) });
        let (mut small, mut large) = crowd(sandbox);
        let guard = sandbox.guard(&["-M", "100M,1M"]);
        full(400);
        large.wait_for_end();
        full(200);
        let first = guard.wait_for("useless kill: it gave back 0 of 200 MiB");
        let paused = Instant::now();
        assert!(first.ends_with("no kill for 10 seconds"), "{first}");
        assert_eq!(guard.signals().len(), 1);
        guard.wait_for_many("sending SIGTERM to process", 2);
        // The line may have been seen a little late.
        assert!(paused.elapsed() >= Duration::from_secs(9), "{:?}", paused.elapsed());
        let second = &guard.wait_for_many("useless kill: ", 2)[1];
        assert!(second.ends_with("no kill for 20 seconds"), "{second}");
        assert_eq!(guard.signals().len(), 2);
        assert_eq!(small.iter_mut().filter_map(|hog| hog.is_alive().then_some(())).count(), 19);
        guard.stop();
    });
}

#[test]
fn between_two_victims_the_cooldown_passes_unless_memory_is_very_low() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hogs = [100, 90, 80].map(|mib| sandbox.hog(&["--size", &format!("{mib}M")]));
        let guard = sandbox.guard(&["-m", "30,5", "--cooldown", "3"]);
        let before = Instant::now();
        // What the victims give back is not nearly enough.
        memory.available(200);
        hogs[0].wait_for_end();
        memory.available(260);
        hogs[1].wait_for_end();
        assert!(before.elapsed() >= Duration::from_secs(3), "{:?}", before.elapsed());
        guard.wait_for_many("exited after", 2);
        let before = Instant::now();
        memory.available(VERY_LOW);
        assert_eq!(hogs[2].wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
        guard.stop();
    });
}

#[test]
fn without_a_candidate_the_guard_says_so_and_tries_again_ever_less_often() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--min-rss", "0"]);
        memory.available(LOW);
        let said = guard.wait_for_many("no process to kill: ", 3);
        for (line, wait) in said.iter().zip(["1 second", "2 seconds", "4 seconds"]) {
            assert!(line.ends_with(&format!("trying again in {wait}")), "{said:?}");
        }
        let mut hog = sandbox.hog(&["--size", "60M"]);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn a_pause_ends_when_memory_recovers_and_is_taken_anew() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        memory.available(VERY_LOW);
        guard.wait_for("trying again in 8 seconds");
        let paused = Instant::now();
        // Somebody who was protected has given all back, and somebody else takes just as much.
        memory.recover(&guard);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        memory.available(VERY_LOW);
        hog.wait_for_end();
        assert!(paused.elapsed() < Duration::from_secs(7), "{:?}", paused.elapsed());
        guard.stop();
    });
}

// ---- the choice ----

#[test]
fn resident_memory_ranks_when_that_is_asked_for() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut raised = sandbox.hog(&["--size", "40M", "--adj", "500"]);
        let mut large = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&["--sort-by-rss", "-d"]);
        memory.available(LOW);
        large.wait_for_end();
        assert!(raised.is_alive());
        // 60 and a few of 1000 MiB, as `--explain` has it.
        let said = guard.wait_for(&format!("candidate: process {} \"hog\": points ", large.pid()));
        let points = said.split_once(": points ").and_then(|(_, behind)| behind.split(',').next());
        let points = points.and_then(|points| points.parse::<u32>().ok());
        assert!(points.is_some_and(|points| (60..80).contains(&points)), "{said}");
        memory.available(PLENTY);
        guard.wait_for("exited after");
        guard.stop();
    });
}

#[test]
fn a_raised_oom_score_adj_counts_unless_it_is_ignored() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for (options, raised_goes) in [(&[][..], true), (&["--ignore-positive-adj"][..], false)] {
            let mut raised = sandbox.hog(&["--size", "40M", "--adj", "500"]);
            let mut large = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(options);
            memory.available(LOW);
            let (goes, stays) =
                if raised_goes { (&mut raised, &mut large) } else { (&mut large, &mut raised) };
            goes.wait_for_end();
            assert!(stays.is_alive(), "{options:?}");
            memory.available(PLENTY);
            guard.wait_for("exited after");
            guard.stop();
            stays.signal(libc::SIGKILL);
        }
    });
}

#[test]
fn a_small_process_is_spared_while_there_is_a_larger_one() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for (options, small_goes) in [(&[][..], false), (&["--min-rss", "0"][..], true)] {
            let mut small = sandbox.hog(&["--size", "4M", "--adj", "400"]);
            let mut large = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(options);
            memory.available(LOW);
            let (goes, stays) =
                if small_goes { (&mut small, &mut large) } else { (&mut large, &mut small) };
            goes.wait_for_end();
            assert!(stays.is_alive(), "{options:?}");
            memory.available(PLENTY);
            guard.wait_for("exited after");
            guard.stop();
            stays.signal(libc::SIGKILL);
        }
    });
}

#[test]
fn a_small_process_goes_when_there_is_no_larger_one() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut small = sandbox.hog(&["--size", "1M"]);
        // Of 5 MiB more it can give back a part that is worth its end.
        let guard = sandbox.guard(&["--min-rss", "50M", "-m", "0.5"]);
        memory.available(5);
        small.wait_for_end();
        guard.stop();
    });
}

#[test]
fn roots_processes_are_spared_when_that_is_asked_for() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let memory = FakeMemory::new(sandbox);
        let mut roots = sandbox.hog(&["--size", "90M"]);
        let others = sandbox.command_as_nobody(sandbox.hog_command(&["--size", "30M"]));
        let mut others = Hog::start(others);
        let guard = sandbox.guard(&["--ignore-root-user"]);
        memory.available(LOW);
        others.wait_for_end();
        memory.recover(&guard);
        assert!(roots.is_alive());
        // And with nobody else left, still not.
        memory.available(LOW);
        guard.wait_for("no process to kill");
        assert!(roots.is_alive());
        let uid = format!("uid {NOBODY} ");
        assert!(guard.signals().iter().all(|line| line.contains(&uid)));
        guard.stop();
    });
}

#[test]
fn neither_init_nor_an_ancestor_is_ended_however_inviting() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--min-rss", "0", "--cooldown", "0"]);
        let mut hog = sandbox.hog(&["--size", "30M", "--adj", "100"]);
        let helper = guard.helper().expect("a helper");
        // The test itself is the guard's parent.
        for pid in [1, std::process::id(), guard.pid(), helper] {
            fs::write(format!("/proc/{pid}/oom_score_adj"), "900").expect("oom_score_adj");
        }
        memory.available(VERY_LOW);
        hog.wait_for_end();
        memory.recover(&guard);
        memory.available(VERY_LOW);
        guard.wait_for("no process to kill");
        let shown = sandbox.explain(&["--min-rss", "0"]);
        assert!(shown.contains("protected: init"), "{shown}");
        assert!(shown.contains("protected: own ancestor"), "{shown}");
        guard.stop();
    });
}

#[test]
fn a_stopped_process_takes_note_of_sigterm() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for options in [&[][..], &["-g"], &["--watch=limit", "--process-limit=40M", "--grace=0"]] {
            let mut hog = sandbox.hog(&["--size", "60M", "--new-group"]);
            hog.signal(libc::SIGSTOP);
            wait_for("a stop", || {
                processes().iter().any(|p| p.pid == hog.pid() && p.state == b'T')
            });
            let guard = sandbox.guard(options);
            memory.available(LOW);
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
            memory.available(PLENTY);
            guard.wait_for("exited after");
            assert_eq!(guard.signals().len(), 1, "{options:?}");
            guard.stop();
        }
    });
}

#[test]
fn processes_on_one_memory_go_together_and_that_is_not_useless() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // The child that it starts before has memory of its own.
        let mut hog = sandbox.hog(&["--size", "80M", "--sleepers", "1", "--sharer"]);
        let pids = children(hog.pid());
        let shares = |pid: &&u32| resident_mib(**pid) >= 80;
        let (sharer, other) = match *pids {
            [a, b] if shares(&&a) => (a, b),
            [a, b] => (b, a),
            _ => panic!("{pids:?}"),
        };
        assert!(shares(&&sharer) && !shares(&&other), "{pids:?}");
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        wait_for("its end", || !living("hog").contains(&sharer));
        // The younger of equals is the victim.
        guard.wait_for(&format!("process {sharer} shares its memory with 1 more: signalled too"));
        assert_eq!(guard.signals().len(), 1);
        // Nothing has come back.
        guard.make_look(20);
        guard.wait_for("no process to kill");
        assert_eq!(guard.count("useless"), 0, "{}", guard.log());
        guard.stop();
    });
}

#[test]
fn small_ones_that_cannot_help_live_and_what_holds_the_memory_is_named() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let database = sandbox.hog(&["--size", "150M", "--name", "database"]);
        let mut daemons = [(); 6].map(|()| sandbox.hog(&["--size", "5M"]));
        let guard = sandbox.guard(&["--ignore", "^database$", "--min-rss", "0"]);
        memory.available(LOW);
        let said = guard.wait_for("no process to kill: all that may be killed hold ");
        assert_eq!(number_after(&said, " MiB, and "), 110, "{said}");
        let named =
            format!("; process {} \"database\" (protected: ignored) holds 15", database.pid());
        assert!(said.contains(&named), "{said}");
        assert!(said.ends_with("; trying again in 1 second"), "{said}");
        guard.wait_for("trying again in 2 seconds");
        assert_eq!(guard.signals(), [""; 0]);
        assert!(daemons.iter_mut().all(Hog::is_alive));
        // One that grows does take memory, however little that is.
        let mut leak = sandbox.hog(&["--size", "9M"]);
        assert_eq!(leak.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(daemons.iter_mut().all(Hog::is_alive));
        guard.stop();
    });
}

#[test]
fn a_process_with_oom_score_adj_minus_1000_is_never_ended() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut exempt = sandbox.hog(&["--size", "90M"]);
        let adj = format!("/proc/{}/oom_score_adj", exempt.pid());
        if let Err(error) = fs::write(adj, "-1000") {
            return skip(&format!("cannot lower oom_score_adj (CAP_SYS_RESOURCE): {error}"));
        }
        let mut hog = sandbox.hog(&["--size", "30M"]);
        let guard = sandbox.guard(&[]);
        memory.available(VERY_LOW);
        hog.wait_for_end();
        memory.recover(&guard);
        memory.available(VERY_LOW);
        guard.wait_for("no process to kill");
        assert!(exempt.is_alive());
        assert!(sandbox.explain(&[]).contains("protected: exempt"));
        guard.stop();
    });
}

#[test]
fn a_process_shown_with_oom_score_adj_minus_1000_is_never_ended() {
    // The same where the privilege to make such a process is missing: only what /proc shows is changed.
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut exempt = sandbox.hog(&["--size", "90M"]);
        for (name, value) in [("oom_score", "0\n"), ("oom_score_adj", "-1000\n")] {
            fs::write(sandbox.path(name), value).expect("a file to show");
            let place = format!("/proc/{}/{name}", exempt.pid());
            bind_over(&sandbox.path(name), Path::new(&place));
        }
        for option in ["--min-rss=0", "--sort-by-rss"] {
            let mut hog = sandbox.hog(&["--size", "30M"]);
            let guard = sandbox.guard(&[option]);
            memory.available(VERY_LOW);
            hog.wait_for_end();
            memory.available(PLENTY);
            guard.wait_for("exited after");
            assert!(exempt.is_alive(), "{option}");
            guard.stop();
        }
    });
}

// ---- groups ----

#[test]
fn a_group_that_is_the_guards_own_loses_only_the_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut command = sandbox.guard_command(&["-g"]);
        command.process_group(0);
        let guard = sandbox.start_guard(command);
        let member = |size| {
            let mut command = sandbox.hog_command(&["--size", size]);
            command.process_group(guard.pid() as i32);
            Hog::start(command)
        };
        let (mut large, mut small) = (member("60M"), member("20M"));
        memory.available(LOW);
        large.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("is the guard's own: only the process is signalled");
        guard.wait_for("exited after");
        assert!(small.is_alive());
        guard.stop();
    });
}

#[test]
fn a_group_that_holds_an_ancestor_of_the_guard_loses_only_the_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // Both namespaces' group numbers are out of sight unless the test makes a group of its own.
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
        let mut hogs = ["60M", "20M"].map(|size| sandbox.hog(&["--size", size]));
        let mut command = sandbox.guard_command(&["-g"]);
        command.process_group(0);
        let guard = sandbox.start_guard(command);
        memory.available(LOW);
        hogs[0].wait_for_end();
        memory.available(PLENTY);
        let own = std::process::id();
        let said = guard.wait_for("only the process is signalled");
        let expected =
            format!("process group {own} holds process {own} (protected: own ancestor): ");
        assert!(said.starts_with(&expected), "{said}");
        guard.wait_for("exited after");
        assert!(hogs[1].is_alive());
        guard.stop();
    });
}

#[test]
fn a_group_that_holds_a_process_of_root_is_spared_with_ignore_root_user() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let memory = FakeMemory::new(sandbox);
        let mut leader = sandbox.hog(&["--size", "20M", "--new-group"]);
        let mut others = sandbox.hog_command(&["--size", "60M"]);
        others.process_group(leader.pid() as i32);
        let mut others = Hog::start(sandbox.command_as_nobody(others));
        let guard = sandbox.guard(&["-g", "--ignore-root-user"]);
        memory.available(LOW);
        others.wait_for_end();
        memory.available(PLENTY);
        let said = guard.wait_for("only the process is signalled");
        assert!(said.contains("(protected: root's)"), "{said}");
        guard.wait_for("exited after");
        assert!(leader.is_alive());
        guard.stop();
    });
}

#[test]
fn a_group_has_ended_only_when_its_last_member_has() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut leader = sandbox.hog(&["--size", "60M", "--new-group"]);
        let mut stubborn = sandbox.hog_command(&["--size", "20M", "--ignore-term"]);
        stubborn.process_group(leader.pid() as i32);
        let mut stubborn = Hog::start(stubborn);
        let guard = sandbox.guard(&["-d", "-g", "--grace", "1"]);
        memory.available(LOW);
        assert_eq!(leader.wait_for_end().signal(), Some(libc::SIGTERM));
        let before = guard.looks();
        assert_eq!(stubborn.wait_for_end().signal(), Some(libc::SIGKILL));
        let pid = leader.pid();
        guard.wait_for(&format!("process {pid} and its group {pid} exited after "));
        // Some fifty a second. What tells of the leader's end tells it for ever, and would end every wait at once.
        let looks = guard.looks() - before;
        assert!(looks < 500, "{looks} looks in a grace of one second");
        guard.stop();
    });
}

// ---- dry run, the kernel's own killer ----

#[test]
fn a_dry_run_names_its_victim_once_a_second_and_ends_nobody() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--new-group"]);
        let guard = sandbox.guard(&["--dryrun", "-g"]);
        let before = Instant::now();
        memory.available(VERY_LOW);
        let said = guard.wait_for_many("would send SIGKILL to process ", 3);
        assert!(before.elapsed() >= Duration::from_secs(2));
        assert!(said[0].ends_with("hog --size 60M --new-group\""), "{}", said[0]);
        guard.wait_for("would be signalled with it");
        assert!(hog.is_alive());
        assert_eq!(guard.count("sending SIGKILL to"), 0);
        guard.stop();
    });
}

#[test]
fn a_zombie_leader_is_named_with_the_command_line_of_its_threads() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let _hog = sandbox.hog(&["--size", "60M", "--zombie-leader"]);
        let guard = sandbox.guard(&["--dryrun"]);
        memory.available(LOW);
        let said = guard.wait_for("would send SIGTERM to process ");
        assert!(said.contains("VmRSS 6"), "{said}");
        assert!(said.ends_with("hog --size 60M --zombie-leader\""), "{said}");
        guard.stop();
    });
}

/// A `/proc` with nothing in it but what `--kernel-oom` wants: this machine's own may lack `sysrq-trigger`.
fn proc_with_sysrq(sandbox: &Sandbox) -> FakeMemory {
    let (proc, real) = (sandbox.path("proc"), sandbox.path("real"));
    fs::create_dir(&proc).expect("a directory");
    fs::create_dir(&real).expect("a directory");
    bind_over(Path::new("/proc"), &real);
    let link = |name: &str| {
        std::os::unix::fs::symlink(real.join(name), proc.join(name)).expect("a link");
    };
    ["self", "thread-self", "sys"].into_iter().for_each(link);
    fs::write(proc.join("sysrq-trigger"), "").expect("a file");
    FakeMemory::unmounted(&proc.join("meminfo"))
}

/// Starts the guard there, with a link to its own directory, whose number nobody knows before.
fn guard_with_sysrq(sandbox: &Sandbox, options: &str) -> Guard {
    bind_over(&sandbox.path("proc"), Path::new("/proc"));
    let dir = sandbox.dir.display();
    let mut command = std::process::Command::new("sh");
    let script = format!("ln -s {dir}/real/$$ {dir}/proc/$$ && exec {dir}/oom_guard {options}");
    command.args(["-c", &script]);
    sandbox.start_guard(command)
}

fn has_sysrq_kernel() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(17))
}

#[test]
fn with_kernel_oom_the_kernel_is_asked_to_kill() {
    sandboxed(|sandbox| {
        if !has_sysrq_kernel() {
            return skip("needs Linux 5.17");
        }
        let memory = proc_with_sysrq(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = guard_with_sysrq(sandbox, "--kernel-oom");
        memory.available(LOW);
        guard.wait_for("asked the kernel to kill (sysrq f)");
        assert_eq!(fs::read(sandbox.path("proc/sysrq-trigger")).expect("the file"), b"f");
        memory.available(PLENTY);
        assert!(hog.is_alive());
        guard.stop();
    });
}

#[test]
fn a_dry_run_with_kernel_oom_asks_the_kernel_for_nothing() {
    sandboxed(|sandbox| {
        if !has_sysrq_kernel() {
            return skip("needs Linux 5.17");
        }
        let memory = proc_with_sysrq(sandbox);
        let guard = guard_with_sysrq(sandbox, "--kernel-oom --dryrun");
        memory.available(LOW);
        guard.wait_for_many("would ask the kernel to kill (sysrq f)", 2);
        assert_eq!(fs::read(sandbox.path("proc/sysrq-trigger")).expect("the file"), b"");
        guard.stop();
    });
}

// ---- the world changes meanwhile ----

#[test]
fn a_victim_that_vanishes_right_before_the_signal_is_passed_over() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut first = sandbox.hog(&["--size", "60M"]);
        let mut second = sandbox.hog(&["--size", "30M"]);
        // Read after the second look and before the signal.
        let trap = Trap::over(sandbox, &format!("/proc/{}/oom_score_adj", first.pid()));
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        let mut answer = trap.wait_for_reader();
        first.signal(libc::SIGKILL);
        first.wait_for_end();
        answer.write_all(b"0\n").expect("an answer");
        drop(answer);
        second.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert_eq!(guard.signals_to(first.pid()).len(), 0);
        guard.stop();
    });
}

#[test]
fn a_search_that_takes_long_leaves_time_for_command_lines() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // On a busy machine the helper may be late as well; but after a search that is too long it is never asked.
        let is_found = || {
            let mut small = sandbox.hog(&["--size", "30M"]);
            let mut large = sandbox.hog(&["--size", "60M"]);
            // All scores are read before the first command line.
            let trap = Trap::over(sandbox, &format!("/proc/{}/oom_score", small.pid()));
            let guard = sandbox.guard(&["--ignore", "cmd:keepme"]);
            memory.available(LOW);
            let mut answer = trap.wait_for_reader();
            thread::sleep(Duration::from_millis(50));
            answer.write_all(b"1\n").expect("an answer");
            drop(answer);
            assert_eq!(large.wait_for_end().signal(), Some(libc::SIGTERM));
            memory.recover(&guard);
            let is_found = guard.count("no process to kill") == 0;
            guard.stop();
            small.signal(libc::SIGKILL);
            small.wait_for_end();
            is_found
        };
        assert!((0..10).any(|_| is_found()));
    });
}

#[test]
fn memory_that_recovers_during_the_choice_saves_the_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let trap = Trap::over(sandbox, &format!("/proc/{}/oom_score", hog.pid()));
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        let mut answer = trap.wait_for_reader();
        memory.available(PLENTY);
        answer.write_all(b"700\n").expect("an answer");
        drop(answer);
        guard.make_look(SEVERAL_LOOKS);
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        guard.stop();
    });
}
