//! The limit for each process: who is above it is asked to end and then ended, whatever memory does.
//!
//! Unless a test says otherwise, the limit is 40 MiB and nothing but the limit is watched.

mod common;

use common::*;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: &str = "--process-limit=40M";
/// Often enough for no test to wait long, rarely enough for a slow machine to do something between.
const OFTEN: &str = "--interval=0.3";
/// For tests in which the first check, right at the start, is the only one.
const ONCE: &str = "--interval=100000";
const ABOVE: &str = "60M";
const BELOW: &str = "20M";

/// The limit alone, whatever this machine's own memory is like.
fn alone<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--watch=limit", LIMIT, OFTEN][..], more].concat()
}

/// The limit beside the watch over memory.
fn beside<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&[LIMIT, OFTEN][..], more].concat()
}

/// Waits until a check has seen everyone who is there now. The last to come is the last to be seen, and little above the
/// limit it is the last to be asked.
fn wait_for_check(sandbox: &Sandbox) {
    let canary = sandbox.hog_command(&["--name", "canary", "--size", "41M"]);
    Hog::start_unready(canary).wait_for_end();
}

/// Starts a guard that does not get as far as its first report, or makes none.
fn start_unheard(sandbox: &Sandbox, options: &[&str]) -> Guard {
    let mut command = sandbox.guard_command(options);
    command.arg("--log-file").arg(sandbox.path("log"));
    sandbox.start_guard_unheard(command)
}

fn sigterm_to(pid: u32) -> String {
    format!("sending SIGTERM to process {pid} uid ")
}

fn sigkill_to(pid: u32) -> String {
    format!("sending SIGKILL to process {pid}: it ignores SIGTERM and was above the limit")
}

/// From the first signal to the end, as the guard measured it.
fn lasted(guard: &Guard, pid: u32) -> Duration {
    let said = guard.wait_for(&format!("process {pid} exited after "));
    let millis: String = said
        .split_once(" exited after ")
        .map_or("", |(_, rest)| rest)
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Duration::from_millis(millis.parse().expect("seconds with three decimals"))
}

/// The processes that were signalled, in that order.
fn order(guard: &Guard) -> Vec<u32> {
    let signals = guard.signals();
    signals.iter().map(|line| number_after(line, " to process ") as u32).collect()
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    number_after(line, "VmRSS:")
}

/// Has `/proc/PID/stat` show another number in that field, counted as proc(5) does.
fn show_stat(sandbox: &Sandbox, pid: u32, field: usize, change: impl FnOnce(u64) -> u64) {
    let place = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&place).expect("stat");
    // The name is the second field, and may hold anything.
    let (start, rest) = stat.rsplit_once(") ").expect("a name");
    let mut fields: Vec<String> = rest.split(' ').map(String::from).collect();
    let shown = &mut fields[field - 3];
    *shown = change(shown.parse().expect("a number")).to_string();
    fs::write(sandbox.path("stat"), format!("{start}) {}", fields.join(" "))).expect("a stat");
    bind_over(&sandbox.path("stat"), Path::new(&place));
}

// ---- memory-monitor's own case ----

/// Two above the limit, the smaller of which ignores SIGTERM, and one on the whitelist.
fn two_and_a_whitelist(sandbox: &Sandbox, start: impl FnOnce() -> Guard) -> Guard {
    let mut keepme = sandbox.hog(&["--name", "keepme", "--size", "400M"]);
    let mut smaller = sandbox.hog(&["--size", "300M", "--ignore-term"]);
    let mut larger = sandbox.hog(&["--size", "500M"]);
    let before = Instant::now();
    let guard = start();
    assert_eq!(larger.wait_for_end().signal(), Some(libc::SIGTERM));
    assert_eq!(smaller.wait_for_end().signal(), Some(libc::SIGKILL));
    // The default grace, by the test's clock and by the guard's.
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());
    assert!(lasted(&guard, smaller.pid()) >= Duration::from_secs(5));
    let (larger, smaller) = (larger.pid(), smaller.pid());
    assert_eq!(order(&guard), [larger, smaller, smaller]);
    guard.wait_for(&format!("process {larger} \"hog\" has 50"));
    guard.wait_for(&sigterm_to(larger));
    guard.wait_for(&sigkill_to(smaller));
    assert!(keepme.is_alive());
    guard
}

#[test]
fn of_two_above_the_limit_the_larger_is_asked_first_and_the_whitelist_holds() {
    sandboxed(|sandbox| {
        if !has_available(2000) {
            return;
        }
        let memory = FakeMemory::new(sandbox);
        let options = ["--process-limit", "200M", "--interval", "1", "--ignore", "keepme"];
        let guard = two_and_a_whitelist(sandbox, || sandbox.guard(&options));
        guard.wait_for("sending SIGTERM to any process above 200 MiB, checked every 1 s");
        drop(memory);
        guard.stop();
    });
}

/// A link with the original's name, and a place for its log.
fn memory_monitor(sandbox: &Sandbox, options: &[&str]) -> Command {
    let link = sandbox.path("memory-monitor");
    symlink(sandbox.path("oom_guard"), &link).expect("a link");
    mount(None, Path::new("/var/log"), Some("tmpfs"), 0, None).expect("a tmpfs for the log");
    let mut command = Command::new(link);
    command.args(options).stderr(fs::File::create(sandbox.path("stderr")).expect("a file"));
    command
}

#[test]
fn by_its_old_name_memory_monitor_does_the_same_and_writes_its_log() {
    sandboxed(|sandbox| {
        if !has_available(2000) {
            return;
        }
        let options = ["--threshold=0.2", "--interval=1", "--ignore=keepme"];
        let command = memory_monitor(sandbox, &options);
        let log = PathBuf::from("/var/log/memory-monitor.log");
        let guard =
            two_and_a_whitelist(sandbox, || sandbox.start_guard_with_log(command, log.clone()));
        guard.wait_for("sending SIGTERM to any process above 204 MiB, checked every 1 s");
        guard.stop();
        assert_eq!(fs::read_to_string(sandbox.path("stderr")).expect("the file"), "");
    });
}

#[test]
fn by_its_old_name_a_dry_run_kills_nobody() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", ABOVE]);
        let options = ["--dry-run", "--threshold=0.04", "--interval=30"];
        let command = memory_monitor(sandbox, &options);
        let log = PathBuf::from("/var/log/memory-monitor.log");
        let guard = sandbox.start_guard_with_log(command, log);
        guard.wait_for(&format!("would send SIGTERM to process {} uid ", hog.pid()));
        assert!(hog.is_alive());
        guard.stop();
    });
}

// ---- above, at and below ----

#[test]
fn one_page_above_the_limit_is_too_much_and_exactly_the_limit_is_not() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", "30M"]);
        // It touches its last pages while it comes to rest.
        let mut rss = 0;
        wait_for("a hog at rest", || {
            thread::sleep(Duration::from_millis(100));
            std::mem::replace(&mut rss, rss_kib(hog.pid())) == rss
        });
        let guard = |limit: u64| {
            let limit = format!("--process-limit={limit}");
            sandbox.guard(&["--watch=limit", &limit, OFTEN])
        };
        let at = guard(rss);
        wait_for_check(sandbox);
        assert!(hog.is_alive());
        at.stop();
        let below = guard(rss - 1);
        let mut ended = || {
            wait_for_check(sandbox);
            !hog.is_alive()
        };
        assert!((0..5).any(|_| ended()), "{rss} KiB are above {} KiB", rss - 1);
        below.stop();
    });
}

#[test]
fn an_end_does_not_keep_the_others_waiting() {
    sandboxed(|sandbox| {
        // Each ends at once, in the middle of what one check has found.
        let mut ending: Vec<_> = (0..8).map(|_| sandbox.hog(&["--size", "60M"])).collect();
        let staying: Vec<_> =
            (0..4).map(|_| sandbox.hog(&["--size", "41M", "--ignore-term"])).collect();
        let guard = sandbox.guard(&["--watch=limit", LIMIT, ONCE, "--grace", "0"]);
        ending.iter_mut().for_each(|hog| assert!(hog.wait_for_end().signal().is_some()));
        // Without an event the guard looks every ten seconds.
        let all_asked = || {
            let asked = staying.iter().filter(|hog| guard.count(&sigterm_to(hog.pid())) > 0);
            (asked.count() == staying.len()).then_some(())
        };
        assert!(wait_until(Duration::from_secs(6), all_asked).is_some(), "they wait");
        guard.stop();
    });
}

#[test]
fn the_size_that_counts_is_the_exact_one() {
    // Since Linux 6.2 each processor counts some pages by itself. Newer kernels add that up for `statm` and `status`, and
    // do not for `stat`: on a large machine many MiB are missing there.
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", "41M"]);
        show_stat(sandbox, hog.pid(), 24, |pages| pages * 9 / 10);
        let guard = sandbox.guard(&alone(&[]));
        let said = guard.wait_for(&sigterm_to(hog.pid()));
        assert!(said.contains("VmRSS 4"), "{said}");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn one_below_the_limit_is_left_alone_whatever_else_is_ended() {
    sandboxed(|sandbox| {
        let mut below = sandbox.hog(&["--size", "36M"]);
        let guard = sandbox.guard(&alone(&["--grace", "0.5"]));
        (0..3).for_each(|_| wait_for_check(sandbox));
        assert!(below.is_alive());
        assert!(guard.signals_to(below.pid()).is_empty());
        guard.stop();
    });
}

#[test]
fn one_that_grows_above_the_limit_later_is_seen_at_the_next_check() {
    sandboxed(|sandbox| {
        let hog = sandbox.hog_command(&["--delay", "2", "--size", ABOVE]);
        let mut hog = Hog::start_unready(hog);
        let guard = sandbox.guard(&alone(&[]));
        wait_for_check(sandbox);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        lasted(&guard, hog.pid());
        guard.stop();
    });
}

#[test]
fn one_that_has_shrunk_again_before_the_check_is_left_alone() {
    sandboxed(|sandbox| {
        let guard = sandbox.guard(&alone(&[]));
        // No check comes between.
        guard.signal(libc::SIGSTOP);
        wait_for("a stop", || processes().iter().any(|p| p.pid == guard.pid() && p.state == b'T'));
        let mut hog = sandbox.hog(&["--size", ABOVE, "--shrink"]);
        assert!(rss_kib(hog.pid()) > 40 << 10);
        hog.signal(libc::SIGUSR1);
        wait_for("less memory", || rss_kib(hog.pid()) < 10 << 10);
        guard.signal(libc::SIGCONT);
        wait_for_check(sandbox);
        assert!(hog.is_alive());
        assert!(guard.signals_to(hog.pid()).is_empty());
        guard.stop();
    });
}

// ---- SIGTERM, and then SIGKILL ----

#[test]
fn each_offender_has_a_clock_of_its_own() {
    sandboxed(|sandbox| {
        let grace = Duration::from_secs(3);
        let mut first = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&alone(&["--grace", "3"]));
        guard.wait_for(&sigterm_to(first.pid()));
        thread::sleep(Duration::from_millis(1500));
        let before = Instant::now();
        let second = sandbox.hog_command(&["--size", ABOVE, "--ignore-term"]);
        let mut second = Hog::start_unready(second);
        assert_eq!(first.wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(second.is_alive());
        assert_eq!(second.wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(before.elapsed() >= grace, "{:?}", before.elapsed());
        for hog in [&first, &second] {
            assert!(lasted(&guard, hog.pid()) >= grace);
            assert_eq!(guard.signals_to(hog.pid()).len(), 2);
        }
        guard.stop();
    });
}

#[test]
fn one_that_ends_within_the_grace_gets_no_sigkill() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", ABOVE, "--linger", "1"]);
        let guard = sandbox.guard(&alone(&["--grace", "30"]));
        assert_eq!(hog.wait_for_end().code(), Some(0));
        assert!(lasted(&guard, hog.pid()) >= Duration::from_secs(1));
        // Asked once, although several checks have seen it.
        assert_eq!(guard.signals_to(hog.pid()).len(), 1);
        guard.stop();
    });
}

#[test]
fn a_grace_of_zero_means_that_sigkill_never_comes() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&alone(&["--grace", "0"]));
        guard.wait_for(&sigterm_to(hog.pid()));
        // Longer than the default.
        thread::sleep(Duration::from_secs(6));
        wait_for_check(sandbox);
        assert!(hog.is_alive());
        // It may be asked again, but not at each check.
        assert!(guard.signals_to(hog.pid()).len() <= 3);
        assert_eq!(guard.count("sending SIGKILL"), 0);
        guard.stop();
    });
}

#[test]
fn one_that_survives_sigkill_is_reported_and_not_tried_again() {
    sandboxed(|sandbox| {
        let stuck = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        if let Err(error) = hold_at_exit(stuck.pid()) {
            return skip(&format!("cannot trace a process: {error}"));
        }
        let guard = sandbox.guard(&alone(&["--grace", "0.5"]));
        let pid = stuck.pid();
        let why = "stuck in the kernel, or its cgroup is frozen";
        guard.wait_for(&format!("process {pid} survives SIGKILL ({why}): left alone"));
        wait_for_check(sandbox);
        assert_eq!(guard.signals_to(pid).len(), 2);
        guard.stop();
    });
}

// ---- many at once ----

#[test]
fn forty_offenders_at_once_are_all_dealt_with_and_leave_nothing_open() {
    sandboxed(|sandbox| {
        let guard = sandbox.guard(&["--watch=limit", "--process-limit=6M", OFTEN, "--grace=1"]);
        let before = guard.descriptors();
        guard.signal(libc::SIGSTOP);
        // More than are waited for at a time.
        let hog = |size| sandbox.hog(&["--size", size, "--ignore-term"]);
        let small = (0..20).map(|_| hog("8M"));
        let large = (0..20).map(|_| hog("12M"));
        let mut hogs: Vec<_> = small.chain(large).collect();
        guard.signal(libc::SIGCONT);
        for hog in &mut hogs {
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        }
        for hog in &hogs {
            assert!(lasted(&guard, hog.pid()) >= Duration::from_secs(1));
            assert_eq!(guard.signals_to(hog.pid()).len(), 2);
        }
        let is_large = |pid: &u32| hogs[20..].iter().any(|hog| hog.pid() == *pid);
        assert!(order(&guard)[..20].iter().all(is_large));
        guard.make_look(2);
        assert_eq!(guard.descriptors(), before);
        guard.stop();
    });
}

#[test]
fn many_who_ignore_sigterm_leave_room_for_others_although_sigkill_never_comes() {
    sandboxed(|sandbox| {
        let mut stubborn: Vec<_> =
            (0..32).map(|_| sandbox.hog(&["--size", "10M", "--ignore-term"])).collect();
        let mut other = sandbox.hog(&["--size", "8M"]);
        let guard = sandbox.guard(&["--watch=limit", "--process-limit=6M", OFTEN, "--grace=0"]);
        guard.wait_for_many("sending SIGTERM to process ", 32);
        assert_eq!(other.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(stubborn.iter_mut().all(Hog::is_alive));
        guard.stop();
    });
}

#[test]
fn many_large_ones_on_the_whitelist_hide_nobody() {
    sandboxed(|sandbox| {
        // With its children more than a check keeps in mind.
        let ignored = ["--name", "keepme", "--size", "10M", "--children", "70"];
        let mut ignored = sandbox.hog(&ignored);
        let mut other = sandbox.hog(&["--size", "8M"]);
        let options = ["--watch=limit", "--process-limit=6M", OFTEN, "--ignore=keepme"];
        let guard = sandbox.guard(&options);
        assert_eq!(other.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(ignored.is_alive());
        assert_eq!(living("keepme").len(), 71);
        // A line may come later than its signal.
        guard.wait_for("sending SIGTERM to process ");
        assert_eq!(guard.signals().len(), 1);
        guard.stop();
    });
}

// ---- filters ----

/// Runs the guard with these options beside one that they protect and one that they do not. The first is larger.
fn expect_protected(sandbox: &Sandbox, options: &[&str], kept: Command, other: Command) {
    let (mut kept, mut other) = (Hog::start(kept), Hog::start(other));
    let guard = sandbox.guard(&alone(&[&["--grace=1"], options].concat()));
    assert_eq!(other.wait_for_end().signal(), Some(libc::SIGTERM), "{options:?}");
    lasted(&guard, other.pid());
    thread::sleep(Duration::from_millis(1500));
    assert!(kept.is_alive(), "{options:?}");
    assert!(guard.signals_to(kept.pid()).is_empty(), "{options:?}");
    guard.stop();
    kept.signal(libc::SIGKILL);
    kept.wait_for_end();
}

#[test]
fn ignore_and_only_protect_by_name_and_by_command_line() {
    sandboxed(|sandbox| {
        for options in [
            "--ignore=^keepme$",
            "--ignore=cmd:--name keepme",
            "--ignore=cmd:glob:*keepme*",
            "--only=^other$",
            "--only=cmd:--name other",
        ] {
            let kept = sandbox.hog_command(&["--name", "keepme", "--size", "80M"]);
            let other = sandbox.hog_command(&["--name", "other", "--size", ABOVE]);
            expect_protected(sandbox, &[options], kept, other);
        }
    });
}

#[test]
fn ignore_and_only_protect_by_user() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let large = || sandbox.hog_command(&["--size", "80M"]);
        let small = || sandbox.hog_command(&["--size", ABOVE]);
        let nobody = format!("--ignore=user:{NOBODY}");
        let (kept, other) = (sandbox.command_as_nobody(large()), small());
        expect_protected(sandbox, &[&nobody], kept, other);
        for options in ["--only=user:65534", "--ignore=user:^root$", "--ignore-root-user"] {
            let (kept, other) = (large(), sandbox.command_as_nobody(small()));
            expect_protected(sandbox, &[options], kept, other);
        }
    });
}

#[test]
fn one_with_oom_score_adj_minus_1000_is_left_alone() {
    sandboxed(|sandbox| {
        let mut exempt = sandbox.hog(&["--size", ABOVE]);
        let adj = format!("/proc/{}/oom_score_adj", exempt.pid());
        if let Err(error) = fs::write(adj, "-1000") {
            return skip(&format!("cannot lower oom_score_adj (CAP_SYS_RESOURCE): {error}"));
        }
        let guard = sandbox.guard(&alone(&[]));
        wait_for_check(sandbox);
        assert!(exempt.is_alive());
        guard.stop();
    });
}

#[test]
fn one_shown_with_oom_score_adj_minus_1000_is_left_alone() {
    // The same where the privilege to make such a process is missing: only what /proc shows is changed.
    sandboxed(|sandbox| {
        let mut exempt = sandbox.hog(&["--size", ABOVE]);
        fs::write(sandbox.path("adj"), "-1000\n").expect("a file to show");
        let place = format!("/proc/{}/oom_score_adj", exempt.pid());
        bind_over(&sandbox.path("adj"), Path::new(&place));
        let guard = sandbox.guard(&alone(&[]));
        wait_for_check(sandbox);
        assert!(exempt.is_alive());
        guard.stop();
    });
}

#[test]
fn neither_init_nor_the_guard_nor_its_ancestors_are_ended_however_low_the_limit() {
    sandboxed(|sandbox| {
        // A limit that everyone is above.
        let guard = sandbox.guard(&["--watch=limit", "--process-limit=1", OFTEN, "--grace=0.5"]);
        let helper = guard.helper().expect("a helper");
        for _ in 0..3 {
            wait_for_check(sandbox);
        }
        thread::sleep(Duration::from_secs(1));
        for pid in [1, std::process::id(), guard.pid(), helper] {
            assert!(guard.signals_to(pid).is_empty());
        }
        assert_eq!(guard.helper(), Some(helper));
        guard.stop();
    });
}

#[test]
fn a_kernel_thread_is_left_alone_whatever_it_shows() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", ABOVE]);
        // PF_KTHREAD of include/linux/sched.h.
        show_stat(sandbox, hog.pid(), 9, |flags| flags | 0x0020_0000);
        let guard = sandbox.guard(&alone(&[]));
        wait_for_check(sandbox);
        assert!(hog.is_alive());
        assert!(guard.signals_to(hog.pid()).is_empty());
        guard.stop();
    });
}

#[test]
fn one_that_has_come_on_the_whitelist_since_sigterm_gets_no_sigkill() {
    // It renames itself, as a script does that ends in `exec`.
    sandboxed(|sandbox| {
        let hog = ["--name", "script", "--rename", "keepme", "--size", ABOVE, "--ignore-term"];
        let mut hog = sandbox.hog(&hog);
        let guard = sandbox.guard(&alone(&["--grace", "2", "--ignore", "^keepme$"]));
        guard.wait_for(&sigterm_to(hog.pid()));
        hog.signal(libc::SIGUSR1);
        wait_for("another name", || living("keepme") == [hog.pid()]);
        thread::sleep(Duration::from_secs(4));
        assert!(hog.is_alive());
        guard.stop();
    });
}

#[test]
fn a_command_line_that_cannot_be_read_hides_no_other_offender() {
    sandboxed(|sandbox| {
        // Asked for first, since it is the largest. In doubt it is spared.
        let mut unreadable = sandbox.hog(&["--size", "80M"]);
        let mut other = sandbox.hog(&["--size", ABOVE]);
        let _trap = Trap::over(sandbox, &format!("/proc/{}/cmdline", unreadable.pid()));
        let guard = sandbox.guard(&alone(&["--ignore", "cmd:keepme"]));
        assert_eq!(other.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(unreadable.is_alive());
        guard.stop();
    });
}

#[test]
fn a_check_that_takes_long_leaves_time_for_command_lines() {
    sandboxed(|sandbox| {
        let below = sandbox.hog(&["--size", BELOW]);
        let mut above = sandbox.hog(&["--size", ABOVE]);
        // Read before anything of the other one is.
        let trap = Trap::over(sandbox, &format!("/proc/{}/statm", below.pid()));
        let guard = start_unheard(sandbox, &["--watch=limit", LIMIT, ONCE, "--ignore=cmd:keepme"]);
        let mut answer = trap.wait_for_reader();
        thread::sleep(Duration::from_millis(50));
        answer.write_all(b"20 10 5 0 0 0 0\n").expect("an answer");
        drop(answer);
        assert_eq!(above.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

#[test]
fn a_command_line_that_comes_late_is_soon_asked_for_again() {
    sandboxed(|sandbox| {
        // Later than is waited for. On a busy machine it may become so late that it counts as hanging.
        let ends_soon = || {
            let mut hog = sandbox.hog(&["--size", ABOVE]);
            let trap = Trap::over(sandbox, &format!("/proc/{}/cmdline", hog.pid()));
            let options = ["--watch=limit", LIMIT, ONCE, "--ignore", "cmd:keepme"];
            let guard = start_unheard(sandbox, &options);
            let mut answer = trap.wait_for_reader();
            thread::sleep(Duration::from_millis(100));
            answer.write_all(b"hog").expect("an answer");
            drop(answer);
            let ended = wait_until(Duration::from_secs(40), || (!hog.is_alive()).then_some(()));
            guard.stop();
            ended.is_some()
        };
        assert!((0..2).any(|_| ends_soon()));
    });
}

// ---- dry run ----

#[test]
fn a_dry_run_names_each_offender_at_each_check_and_ends_nobody() {
    sandboxed(|sandbox| {
        let mut hogs = ["80M", ABOVE].map(|size| sandbox.hog(&["--size", size]));
        let options = ["--watch=limit", LIMIT, "--interval=1", "--grace=0.5", "--dryrun"];
        let before = Instant::now();
        let guard = sandbox.guard(&options);
        for hog in &hogs {
            guard.wait_for_many(&format!("would send SIGTERM to process {} uid ", hog.pid()), 3);
        }
        assert!(before.elapsed() >= Duration::from_secs(2), "{:?}", before.elapsed());
        assert!(hogs.iter_mut().all(Hog::is_alive));
        assert_eq!(guard.count("sending SIGTERM to process "), 0);
        assert_eq!(guard.count("SIGKILL to process "), 0);
        guard.stop();
    });
}

#[test]
fn a_dry_run_names_an_offender_at_most_once_a_second() {
    sandboxed(|sandbox| {
        let hog = sandbox.hog(&["--size", ABOVE]);
        let before = Instant::now();
        let guard = sandbox.guard(&["--watch=limit", LIMIT, "--interval=0.1", "--dryrun"]);
        guard.wait_for_many(&format!("would send SIGTERM to process {} uid ", hog.pid()), 4);
        assert!(before.elapsed() >= Duration::from_secs(3), "{:?}", before.elapsed());
        guard.stop();
    });
}

#[test]
fn a_dry_run_names_all_of_very_many_offenders() {
    sandboxed(|sandbox| {
        let _many = sandbox.hog(&["--size", "10M", "--children", "70"]);
        let small = sandbox.hog(&["--size", "8M"]);
        let guard = sandbox.guard(&["--watch=limit", "--process-limit=6M", OFTEN, "--dryrun"]);
        guard.wait_for(&format!("would send SIGTERM to process {} uid ", small.pid()));
        guard.stop();
    });
}

// ---- explained ----

#[test]
fn explain_and_sigusr1_tell_what_is_above_the_limit_and_judge_memory_only_if_it_is_watched() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let first = sandbox.hog(&["--size", "80M"]);
        let _others = [BELOW, ABOVE].map(|size| sandbox.hog(&["--size", size]));
        let _kept = sandbox.hog(&["--size", "90M", "--name", "keepme"]);
        let above = format!("(40 MiB): 2, the largest is process {} \"hog\" with 8", first.pid());
        let options = |watch| ["-c", "none", "--watch", watch, LIMIT, "--ignore", "keepme"];
        let alone = sandbox.explain(&options("limit"));
        assert!(alone.lines().last().is_some_and(|line| line.contains(&above)), "{alone}");
        assert!(!alone.contains("SIGTERM"), "{alone}");
        let both = sandbox.explain(&options("both"));
        assert!(both.contains(&above), "{both}");
        let verdict = both.lines().last().unwrap_or_default();
        assert!(verdict.starts_with("nothing would be killed now; first would be "), "{both}");
        let none = sandbox.explain(&["-c", "none", "--process-limit", "500M"]);
        assert!(none.contains("\nabove --process-limit (500 MiB): none\n"), "{none}");
        let guard = sandbox.guard(&[&options("limit")[..], &["--dryrun"]].concat());
        guard.signal(libc::SIGUSR1);
        guard.wait_for(&above);
        guard.stop();
    });
}

// ---- groups, threads ----

#[test]
fn the_whole_group_of_an_offender_is_ended_when_that_is_asked_for() {
    sandboxed(|sandbox| {
        let mut hog = sandbox.hog(&["--size", ABOVE, "--new-group", "--sleepers", "3"]);
        let guard = sandbox.guard(&alone(&["-g"]));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        let pid = hog.pid();
        guard.wait_for(&format!("process group {pid} signalled with it: 4 processes"));
        guard.wait_for(&format!("process {pid} and its group {pid} exited after "));
        assert_eq!(living("hog"), []);
        guard.stop();
    });
}

#[test]
fn of_a_group_the_last_who_ignores_sigterm_gets_sigkill() {
    sandboxed(|sandbox| {
        let mut leader = sandbox.hog(&["--size", ABOVE, "--new-group"]);
        let mut stubborn = sandbox.hog_command(&["--size", BELOW, "--ignore-term"]);
        stubborn.process_group(leader.pid() as i32);
        let mut stubborn = Hog::start(stubborn);
        let guard = sandbox.guard(&alone(&["-g", "--grace", "1"]));
        assert_eq!(leader.wait_for_end().signal(), Some(libc::SIGTERM));
        assert_eq!(stubborn.wait_for_end().signal(), Some(libc::SIGKILL));
        let pid = leader.pid();
        guard.wait_for(&format!("process {pid} and its group {pid} exited after "));
        guard.stop();
    });
}

#[test]
fn of_a_group_that_holds_one_on_the_whitelist_only_the_offender_is_ended() {
    sandboxed(|sandbox| {
        let mut keepme = sandbox.hog(&["--name", "keepme", "--new-group"]);
        let mut hog = sandbox.hog_command(&["--size", ABOVE]);
        hog.process_group(keepme.pid() as i32);
        let mut hog = Hog::start(hog);
        let guard = sandbox.guard(&alone(&["-g", "--ignore", "keepme"]));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        lasted(&guard, hog.pid());
        let kept = keepme.pid();
        guard.wait_for(&format!(
            "process group {kept} holds process {kept} (protected: ignored): only the process is"
        ));
        assert!(keepme.is_alive());
        guard.stop();
    });
}

#[test]
fn a_group_is_asked_once_however_many_of_it_are_above_the_limit() {
    sandboxed(|sandbox| {
        // To many programs a second SIGTERM means that they must not take their time.
        let hog = ["--size", ABOVE, "--new-group", "--children", "2", "--linger", "2"];
        let mut hog = sandbox.hog(&hog);
        let guard = sandbox.guard(&alone(&["-g", "--grace", "30"]));
        hog.wait_for_end();
        guard.wait_for("exited after");
        assert_eq!(guard.count("signalled with it"), 1);
        guard.stop();
    });
}

#[test]
fn the_threads_of_a_leader_that_has_ended_count_and_are_ended() {
    sandboxed(|sandbox| {
        for (more, signal) in [(&[][..], libc::SIGTERM), (&["--ignore-term"][..], libc::SIGKILL)] {
            let options = [&["--size", ABOVE, "--zombie-leader"][..], more].concat();
            let mut hog = sandbox.hog(&options);
            let guard = sandbox.guard(&alone(&["--grace", "1"]));
            assert_eq!(hog.wait_for_end().signal(), Some(signal));
            lasted(&guard, hog.pid());
            let said = guard.wait_for(&format!("process {} \"hog\" has 6", hog.pid()));
            assert!(said.ends_with(" MiB resident: above the limit of 40 MiB"), "{said}");
            guard.stop();
        }
    });
}

// ---- beside the watch over memory ----

#[test]
fn where_the_limit_alone_is_watched_low_memory_ends_nobody() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut below = sandbox.hog(&["--size", "30M"]);
        let guard = sandbox.guard(&alone(&["-d"]));
        memory.available(VERY_LOW);
        guard.make_look(3);
        wait_for_check(sandbox);
        assert!(below.is_alive());
        assert_eq!(guard.count("low memory!"), 0);
        assert_eq!(guard.count("scan: "), 0);
        guard.stop();
    });
}

#[test]
fn where_memory_alone_is_watched_the_limit_does_nothing_which_is_said() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", ABOVE]);
        let guard = sandbox.guard(&["--watch=memory", LIMIT, "--interval=0.1"]);
        guard.wait_for("warning: --process-limit: no effect, since --watch memory was asked for");
        thread::sleep(Duration::from_secs(1));
        assert!(hog.is_alive());
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        assert_eq!(guard.count("above the limit"), 0);
        guard.stop();
    });
}

#[test]
fn an_offender_and_a_victim_of_low_memory_are_each_asked_once() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut bystander = sandbox.hog(&["--size", BELOW]);
        // First by points, and below the limit.
        let mut victim = sandbox.hog(&["--size", "30M", "--adj", "500", "--linger", "2"]);
        let guard = sandbox.guard(&beside(&["--grace", "30", "-m", "10,0"]));
        memory.available(LOW);
        guard.wait_for(&sigterm_to(victim.pid()));
        let offender = sandbox.hog_command(&["--size", ABOVE, "--linger", "2"]);
        let mut offender = Hog::start_unready(offender);
        offender.wait_for_end();
        victim.wait_for_end();
        for hog in [&victim, &offender] {
            lasted(&guard, hog.pid());
            assert_eq!(guard.signals_to(hog.pid()).len(), 1);
        }
        memory.available(PLENTY);
        assert!(bystander.is_alive());
        guard.stop();
    });
}

#[test]
fn an_offender_whom_low_memory_chooses_too_is_ended_and_nobody_else() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut bystander = sandbox.hog(&["--size", "30M"]);
        let mut hog = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&beside(&["--grace", "2", "-m", "10,0"]));
        guard.wait_for(&sigterm_to(hog.pid()));
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        memory.available(PLENTY);
        lasted(&guard, hog.pid());
        assert_eq!(guard.count(&format!("process {} exited after ", hog.pid())), 1);
        assert_eq!(guard.count("sending SIGKILL to process "), 1);
        assert!(bystander.is_alive());
        assert!(guard.signals_to(bystander.pid()).is_empty());
        guard.stop();
    });
}

#[test]
fn an_offender_gets_sigkill_after_its_grace_though_memory_was_low_and_has_recovered() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&[LIMIT, ONCE, "--grace=10", "-m", "10,0"]);
        guard.wait_for(&sigterm_to(hog.pid()));
        memory.available(LOW);
        guard.wait_for("low memory!");
        memory.recover(&guard);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        lasted(&guard, hog.pid());
        // It was not let off and asked anew, for another grace.
        assert_eq!(guard.count(&sigterm_to(hog.pid())), 1);
        assert_eq!(guard.count("it ignores SIGTERM and was above the limit"), 1);
        guard.stop();
    });
}

#[test]
fn the_clock_of_an_offender_runs_on_when_memory_gets_low() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&[LIMIT, ONCE, "--grace=8", "-m", "10,0"]);
        guard.wait_for(&sigterm_to(hog.pid()));
        let asked = Instant::now();
        thread::sleep(Duration::from_secs(7));
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        // Half of a grace later than its own is over, and long before a second one would be.
        assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
        guard.stop();
    });
}

/// An offender that was sent SIGKILL is still on its way out when memory gets low, and then ends. Nothing where that
/// cannot be made; that is said.
fn low_memory_while_an_offender_dies(sandbox: &Sandbox) -> Option<(Guard, u32)> {
    let memory = FakeMemory::new(sandbox);
    let mut innocent = sandbox.hog(&["--size", "30M"]);
    let dying = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
    let pid = dying.pid();
    if let Err(error) = hold_at_exit(pid) {
        skip(&format!("cannot trace a process: {error}"));
        return None;
    }
    let guard = sandbox.guard(&[LIMIT, ONCE, "--grace=1"]);
    guard.wait_for(&sigkill_to(pid));
    // What the offender holds is all that is missing.
    memory.available(LOW);
    guard.make_look(4);
    let_go(pid);
    memory.available(PLENTY);
    wait_for("a word on its end", || guard.count("exited after") + guard.count("survives") > 0);
    if guard.count("survives SIGKILL") > 0 {
        skip("the machine is too busy: the time for an end was over before it came");
        return None;
    }
    guard.make_look(2);
    assert!(innocent.is_alive());
    assert!(guard.signals_to(innocent.pid()).is_empty());
    Some((guard, pid))
}

#[test]
fn while_an_offender_is_dying_low_memory_takes_nobody_else() {
    sandboxed(|sandbox| {
        if let Some((guard, _)) = low_memory_while_an_offender_dies(sandbox) {
            guard.stop();
        }
    });
}

#[test]
fn how_long_an_offender_took_is_told_from_its_first_signal_on_whatever_memory_does() {
    sandboxed(|sandbox| {
        if let Some((guard, pid)) = low_memory_while_an_offender_dies(sandbox) {
            let took = lasted(&guard, pid);
            assert!(took >= Duration::from_secs(1), "SIGKILL alone came after a second: {took:?}");
            guard.stop();
        }
    });
}

#[test]
fn an_offender_too_small_to_matter_does_not_keep_low_memory_waiting() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut offender = sandbox.hog(&["--size", ABOVE, "--ignore-term"]);
        let guard = sandbox.guard(&[LIMIT, ONCE, "--grace=50", "-m", "10,0"]);
        guard.wait_for(&sigterm_to(offender.pid()));
        // Larger, and come since the check; with all that the offender holds memory would still be low.
        let mut victim = sandbox.hog(&["--size", "200M"]);
        memory.available(20);
        assert_eq!(victim.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(offender.is_alive(), "the victim was ended after the offender's grace");
        guard.stop();
    });
}

#[test]
fn low_memory_with_which_nothing_can_be_done_keeps_nobody_above_the_limit() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // More than a check sees between two looks at memory.
        let _crowd = sandbox.hog(&["--sleepers", "300", "--apart"]);
        let victim = sandbox.hog(&["--size", "30M", "--adj", "500", "--ignore-term"]);
        let guard = sandbox.guard(&beside(&["--grace", "0", "-m", "10,0"]));
        memory.available(LOW);
        guard.wait_for(&sigterm_to(victim.pid()));
        // It is waited for from now on, and memory stays low.
        let mut offender = Hog::start_unready(sandbox.hog_command(&["--size", ABOVE]));
        assert_eq!(offender.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.stop();
    });
}

// ---- what it costs ----

#[test]
fn checks_of_hundreds_of_processes_ten_times_a_second_delay_no_kill() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let _crowd = sandbox.hog(&["--sleepers", "300", "--apart"]);
        let options = ["--process-limit=500M", "--interval=0.1", "--cooldown=0", "-d"];
        let guard = sandbox.guard(&options);
        for _ in 0..10 {
            let mut hog = sandbox.hog(&["--size", ABOVE]);
            memory.available(VERY_LOW);
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
            memory.recover(&guard);
            lasted(&guard, hog.pid());
        }
        let log = guard.stop();
        let mut seen_in_time = true;
        for line in log.lines() {
            if line.starts_with("look ") {
                // A look is told of when all that follows from it is done.
                seen_in_time = !line.contains("mem avail:    20 of");
            } else if line.starts_with("sending SIGKILL ") {
                assert!(seen_in_time, "a look has seen it and passed it over:\n{log}");
            }
        }
        assert_eq!(log.matches("sending SIGKILL ").count(), 10);
    });
}

#[test]
fn groups_that_are_waited_for_leave_the_watch_over_memory_its_pace() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let _crowd = sandbox.hog(&["--sleepers", "300", "--apart"]);
        // So near to the limit of low memory that it looks every few milliseconds.
        memory.available(101);
        let looks = |guard: &Guard| {
            let before = guard.sleeps();
            thread::sleep(Duration::from_secs(3));
            guard.sleeps() - before
        };
        let guard = |options: &[&str]| sandbox.guard(&[&[LIMIT, ONCE][..], options].concat());
        let idle = guard(&[]);
        let undisturbed = looks(&idle);
        idle.stop();
        let mut leaders = Vec::new();
        let mut members = Vec::new();
        for _ in 0..10 {
            let leader = sandbox.hog(&["--size", ABOVE, "--new-group"]);
            let mut member = sandbox.hog_command(&["--ignore-term"]);
            member.process_group(leader.pid() as i32);
            members.push(Hog::start(member));
            leaders.push(leader);
        }
        let busy = guard(&["-g", "--grace=0"]);
        leaders.iter_mut().for_each(|leader| assert!(!leader.wait_for_end().success()));
        let disturbed = looks(&busy);
        assert!(members.iter_mut().all(Hog::is_alive));
        assert!(disturbed >= undisturbed / 4, "{disturbed} looks, and {undisturbed} without");
        busy.stop();
    });
}

#[test]
fn between_two_checks_a_look_reads_no_more_than_without_a_limit() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let _crowd = sandbox.hog(&["--sleepers", "100", "--apart"]);
        // So near to the limit of low memory that it looks every few milliseconds.
        memory.available(101);
        // Stalls would be one more, with a limit or without.
        let options = ["-r", "0", "--psi", "0"];
        for options in [options.to_vec(), [&options[..], &[LIMIT, ONCE]].concat()] {
            let options = &options[..];
            let guard = start_unheard(sandbox, options);
            wait_for("the first looks", || guard.sleeps() >= 10);
            let Some(before) = guard.reads() else {
                return skip("this kernel does not count reads (CONFIG_TASK_IO_ACCOUNTING)");
            };
            let sleeps = guard.sleeps();
            wait_for("looks", || guard.sleeps() >= sleeps + 100);
            // The two are counted one after the other.
            let (looked, read) = (guard.sleeps() - sleeps, guard.reads().unwrap_or(0) - before);
            assert!(read <= looked + 10, "{read} reads in {looked} looks: {options:?}");
            guard.stop();
        }
    });
}

#[test]
fn a_hundred_offenders_one_after_the_other_leave_nothing_open_and_nothing_allocated() {
    sandboxed(|sandbox| {
        let guard = sandbox.guard(&["--watch=limit", "--process-limit=6M", "--interval=0.1"]);
        let before = guard.descriptors();
        for _ in 0..10 {
            let hog = |_| Hog::start_unready(sandbox.hog_command(&["--size", "8M"]));
            let mut hogs: Vec<_> = (0..10).map(hog).collect();
            for hog in &mut hogs {
                hog.wait_for_end();
            }
        }
        guard.wait_for_many("exited after", 100);
        guard.make_look(2);
        assert_eq!(guard.descriptors(), before);
        guard.stop();
    });
}

// ---- the world changes meanwhile, and little is permitted ----

#[test]
fn an_offender_that_vanishes_during_the_check_is_passed_over() {
    sandboxed(|sandbox| {
        let mut first = sandbox.hog(&["--size", "80M"]);
        let mut second = sandbox.hog(&["--size", ABOVE]);
        // Read when the first has been seen, and not yet asked.
        let trap = Trap::over(sandbox, &format!("/proc/{}/statm", second.pid()));
        let guard = start_unheard(sandbox, &alone(&[]));
        let mut answer = trap.wait_for_reader();
        first.signal(libc::SIGKILL);
        first.wait_for_end();
        answer.write_all(b"20000 15000 500 0 0 0 0\n").expect("an answer");
        drop(answer);
        assert_eq!(second.wait_for_end().signal(), Some(libc::SIGTERM));
        lasted(&guard, second.pid());
        assert_eq!(order(&guard), [second.pid()]);
        guard.stop();
    });
}

#[test]
fn an_offender_that_vanishes_right_before_the_signal_is_passed_over() {
    sandboxed(|sandbox| {
        let mut first = sandbox.hog(&["--size", "80M"]);
        let mut second = sandbox.hog(&["--size", ABOVE]);
        // Read last of all, for the message.
        let trap = Trap::over(sandbox, &format!("/proc/{}/status", first.pid()));
        let guard = start_unheard(sandbox, &alone(&[]));
        let answer = trap.wait_for_reader();
        first.signal(libc::SIGKILL);
        first.wait_for_end();
        drop(answer);
        assert_eq!(second.wait_for_end().signal(), Some(libc::SIGTERM));
        lasted(&guard, second.pid());
        assert_eq!(order(&guard), [second.pid()]);
        guard.stop();
    });
}

#[test]
fn as_an_ordinary_user_the_guard_leaves_those_of_others_alone_in_silence() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let mut roots = sandbox.hog(&["--size", "80M"]);
        let own = sandbox.command_as_nobody(sandbox.hog_command(&["--size", ABOVE]));
        let mut own = Hog::start(own);
        let command = sandbox.command_as_nobody(sandbox.guard_command(&alone(&["--grace=1"])));
        let guard = sandbox.start_guard(command);
        assert_eq!(own.wait_for_end().signal(), Some(libc::SIGTERM));
        lasted(&guard, own.pid());
        thread::sleep(Duration::from_secs(2));
        assert!(roots.is_alive());
        assert_eq!(guard.count(&format!("process {}", roots.pid())), 0);
        guard.stop();
    });
}

#[test]
fn on_a_kernel_without_pidfds_offenders_and_their_groups_are_ended_all_the_same() {
    let opening = &[libc::SYS_pidfd_open][..];
    let sending = &[libc::SYS_pidfd_send_signal][..];
    sandboxed(|sandbox| {
        for (calls, errno) in
            [(opening, libc::ENOSYS), (opening, libc::EPERM), (sending, libc::ENOSYS)]
        {
            for more in [&["--grace=1"][..], &["--grace=1", "-g"][..]] {
                let hog = ["--size", ABOVE, "--new-group", "--ignore-term", "--sleepers", "2"];
                let mut hog = sandbox.hog(&hog);
                let mut command = sandbox.guard_command(&alone(more));
                refuse_calls(&mut command, calls, errno);
                let guard = sandbox.start_guard(command);
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
                guard.wait_for("exited after");
                assert_eq!(guard.signals_to(hog.pid()).len(), 2);
                guard.stop();
                wait_for("its children's end", || living("hog").is_empty());
            }
        }
    });
}
