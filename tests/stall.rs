//! The stall rule, the accounts of user memory, and files in tmpfs: the real guard on memory of the test's own making.

mod common;

use common::{
    bind_over, sandboxed, skip, wait_for, Amounts, FakeMemory, FakePressure, Guard, Hog, Sandbox,
    PRESSURE,
};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// 95 of 1000 MiB available: below the level, and swap that never runs out.
fn short() -> Amounts {
    Amounts { swap_total: 2000, swap_free: 1900, ..Amounts::available(95) }
}

/// Below twice the level.
fn nearly_short() -> Amounts {
    Amounts { available: 150, anon: 850, ..short() }
}

fn hogs(sandbox: &Sandbox) -> (Hog, Hog) {
    (sandbox.hog(&["--size", "60M"]), sandbox.hog(&["--size", "100M"]))
}

/// A guard that has seen that memory is short, before anything stalls, and a hog to end for that.
struct Scene {
    memory: FakeMemory,
    pressure: FakePressure,
    hog: Hog,
    guard: Guard,
}

impl Scene {
    fn new(sandbox: &Sandbox, options: &[&str]) -> Option<Scene> {
        let memory = FakeMemory::new(sandbox);
        let pressure = FakePressure::new(sandbox)?;
        let hog = sandbox.hog(&["--size", "100M"]);
        let guard = sandbox.guard(options);
        memory.set(short());
        guard.make_look(3);
        Some(Scene { memory, pressure, hog, guard })
    }
}

#[test]
fn a_stall_is_acted_on_whatever_the_swap_and_counts_anew_for_the_next_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let Some(pressure) = FakePressure::new(sandbox) else { return };
        let (mut small, mut large) = hogs(sandbox);
        let stats = sandbox.path("stats");
        let guard = sandbox.guard(&["-d", "--stats-file", stats.to_str().unwrap()]);
        memory.set(short());
        guard.make_look(3);
        pressure.stalled(19_100);
        guard.make_look(3);
        assert_eq!(guard.signals().len(), 0);
        // 19.1 of 48 s.
        guard.wait_for("swap free: 1900 of 2000 MiB (95.00%), stall: 39.79% of 48 s");
        memory.set(Amounts { available: 210, anon: 790, ..short() });
        guard.make_look(3);
        pressure.stalled(19_300);
        guard.make_look(3);
        assert_eq!(guard.signals().len(), 0);
        memory.set(nearly_short());
        guard.make_look(1);
        assert_eq!(large.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.wait_for("low memory! everything has waited 19.3 of the last 48 seconds for it: mem 15.00%, swap 95.00%");
        guard.wait_for("exited after");
        // Nothing new has stalled since: whatever memory is, the next one is left alone.
        memory.set(Amounts { available: 98, anon: 902, ..short() });
        guard.make_look(20);
        assert!(small.is_alive());
        assert_eq!(guard.signals().len(), 1);
        wait_for("the numbers", || {
            fs::read_to_string(&stats).is_ok_and(|page| {
                // As it was at the kill.
                page.contains("oom_guard_kills_total{signal=\"SIGTERM\",reason=\"stall\"} 1\n")
                    && page.contains("oom_guard_psi_ratio 0.402083\n")
            })
        });
        guard.stop();
    });
}

#[test]
fn a_stall_with_memory_to_spare_or_with_the_rule_off_ends_nobody() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let Some(pressure) = FakePressure::new(sandbox) else { return };
        let (_, mut large) = hogs(sandbox);
        let mut stalled = 0;
        for (psi, available) in [("0", 150), ("10,20", 210)] {
            let guard = sandbox.guard(&["--psi", psi, "--psi-window", "5"]);
            memory.set(Amounts { available, anon: 1000 - available, ..short() });
            guard.make_look(3);
            stalled += 4000;
            pressure.stalled(stalled);
            guard.make_look(20);
            assert!(large.is_alive());
            assert_eq!(guard.signals().len(), 0);
            guard.stop();
        }
    });
}

#[test]
fn a_stall_at_the_limit_of_a_cgroup_ends_nobody_while_the_machine_has_memory() {
    sandboxed(|sandbox| {
        let options = ["-d", "--psi", "10", "--psi-window", "5"];
        let Some(scene) = Scene::new(sandbox, &options) else { return };
        let Scene { pressure, mut hog, guard, .. } = scene;
        // Longer than it takes to tell.
        thread::sleep(Duration::from_millis(200));
        pressure.stalled_while_scanned(4000, 100, 10_000);
        guard.wait_for("a stall of 80.00% is that of a cgroup's limit");
        guard.make_look(20);
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        // The machine's turn.
        thread::sleep(Duration::from_millis(200));
        pressure.stalled_while_scanned(4400, 5100, 20_000);
        guard.make_look(3);
        assert_eq!(guard.signals().len(), 0);
        pressure.stalled_while_scanned(4600, 11_800, 30_000);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn what_was_scanned_while_memory_was_there_tells_nothing_of_a_stall() {
    sandboxed(|sandbox| {
        let options = ["-d", "--psi", "10", "--psi-window", "5"];
        let Some(scene) = Scene::new(sandbox, &options) else { return };
        let Scene { memory, pressure, mut hog, guard } = scene;
        memory.set(Amounts::available(700));
        guard.make_look(3);
        // Longer than it counts. Another program reads files all the while.
        thread::sleep(Duration::from_millis(5100));
        pressure.stalled_while_scanned(0, 1_000_000, 1_000_000);
        guard.make_look(3);
        pressure.stalled_while_scanned(4000, 1_000_000, 1_010_000);
        guard.make_look(3);
        memory.set(short());
        guard.make_look(3);
        thread::sleep(Duration::from_millis(200));
        pressure.stalled_while_scanned(5200, 1_000_000, 1_021_500);
        guard.wait_for("is that of a cgroup's limit");
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        guard.stop();
    });
}

#[test]
fn what_waits_for_no_disk_ends_nothing() {
    sandboxed(|sandbox| {
        let Some(scene) = Scene::new(sandbox, &[]) else { return };
        let Scene { pressure, mut hog, guard, .. } = scene;
        // As when zram compresses.
        pressure.stalled(19_000);
        pressure.waited_for_memory(48_000);
        guard.make_look(20);
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        pressure.waited_for_disks(19_300);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn without_swap_the_share_of_six_seconds_is_enough() {
    sandboxed(|sandbox| {
        let Some(scene) = Scene::new(sandbox, &[]) else { return };
        let Scene { memory, pressure, mut hog, guard } = scene;
        memory.set(Amounts { swap_total: 0, swap_free: 0, ..Amounts::available(250) });
        guard.make_look(3);
        pressure.stalled(2300);
        guard.make_look(3);
        assert!(hog.is_alive());
        pressure.stalled(2500);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.wait_for("everything has waited 2.5 of the last 6 seconds for it: mem 25.00%");
        guard.stop();
    });
}

#[test]
fn what_stalled_before_swap_went_does_not_count_after_it() {
    sandboxed(|sandbox| {
        let Some(scene) = Scene::new(sandbox, &[]) else { return };
        let Scene { memory, pressure, mut hog, guard } = scene;
        pressure.stalled(19_000);
        guard.make_look(3);
        memory.set(Amounts { swap_total: 0, swap_free: 0, ..Amounts::available(250) });
        guard.make_look(20);
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        pressure.stalled(21_500);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn a_stall_of_which_nothing_is_known_makes_no_sigkill_of_sigterm() {
    sandboxed(|sandbox| {
        let Some(scene) = Scene::new(sandbox, &["--psi", "10,60"]) else { return };
        let Scene { memory, pressure, mut hog, guard } = scene;
        // The kernel has looked for no memory.
        pressure.stalled_while_scanned(40_000, 0, 0);
        guard.make_look(20);
        assert_eq!(guard.signals().len(), 0);
        memory.set(Amounts { available: 80, swap_free: 100, ..short() });
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn sigkill_by_a_stall_comes_only_where_it_was_asked_for() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let Some(pressure) = FakePressure::new(sandbox) else { return };
        let mut stalled = 0;
        for (options, amounts, signal) in [
            (&["--psi", "20", "--psi-window", "5"][..], short(), libc::SIGTERM),
            (&["--psi", "10,40", "--psi-window", "5"], nearly_short(), libc::SIGKILL),
            (&["--psi", "60,60", "--psi-window", "2"], short(), libc::SIGKILL),
            (&["--psi", "60", "--psi-window", "2"], short(), libc::SIGTERM),
        ] {
            let mut hog = sandbox.hog(&["--size", "100M"]);
            let guard = sandbox.guard(options);
            memory.set(amounts);
            guard.make_look(3);
            stalled += 2500;
            pressure.stalled(stalled);
            guard.make_look(1);
            assert_eq!(hog.wait_for_end().signal(), Some(signal), "{options:?}");
            guard.stop();
        }
    });
}

#[test]
fn without_pressure_information_that_is_said_once_and_memory_is_watched() {
    sandboxed(|sandbox| {
        if !Path::new(PRESSURE).exists() {
            return skip("this kernel has no pressure information to hide");
        }
        let memory = FakeMemory::new(sandbox);
        // Nobody here has a terminal: opening this is refused.
        bind_over(Path::new("/dev/tty"), Path::new(PRESSURE));
        let (_, mut large) = hogs(sandbox);
        let guard = sandbox.guard(&[]);
        guard.wait_for("notice: no pressure information (");
        memory.available(90);
        large.wait_for_end();
        assert_eq!(guard.count("no pressure information"), 1);
        guard.stop();
    });
}

/// `MemTotal` of 1000 MiB and so on, with what is shared.
fn write_memory(memory: &FakeMemory, available: u64, anon: u64, shmem: u64) {
    let line = |(key, mib): (&str, u64)| format!("{key:<15} {:>8} kB\n", mib << 10);
    let lines = [
        ("MemTotal:", 1000),
        ("MemAvailable:", available),
        ("AnonPages:", anon),
        ("Shmem:", shmem),
    ];
    memory.write(&lines.into_iter().map(line).collect::<String>());
}

#[test]
fn what_processes_share_is_user_memory_and_what_tmpfs_holds_is_not() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        write_memory(&memory, 500, 100, 300);
        let guard = sandbox.guard(&["-d", "--dryrun"]);
        // Of the 300 MiB, what this machine's tmpfs hold is not known to the test; a tmpfs that grows takes from it.
        let user = || {
            guard.make_look(3);
            let lines = guard.lines("look ");
            let line = lines.last().expect("a look");
            let rest = line.split_once(" of ").expect("an amount").1;
            rest.split_whitespace().next().and_then(|mib| mib.parse::<u64>().ok()).expect("MiB")
        };
        // At first all may be files.
        wait_for("a look at tmpfs", || user() > 600);
        let before = user();
        assert!(before <= 900, "{before}");
        let mount = sandbox.path("tmpfs");
        fs::create_dir(&mount).expect("a directory");
        common::mount(None, &mount, Some("tmpfs"), 0, Some("size=64M")).expect("a tmpfs");
        fs::write(mount.join("file"), vec![1; 50 << 20]).expect("a file of 50 MiB");
        // `Shmem` must move for the guard to look at tmpfs again.
        write_memory(&memory, 500, 100, 310);
        // 50 MiB that tmpfs took, 10 of them told by `Shmem`.
        wait_for("40 MiB less", || user() + 40 == before);
        guard.stop();
    });
}
