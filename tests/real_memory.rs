//! The guard on this machine's own memory: a hog takes much of it as fast as it can, against `-m` set a little below what
//! is available now.
//!
//! One test at a time, since they share that memory. Other work on the machine moves it, too: between the level and what
//! is available lies more than such work takes meanwhile, and the hog takes more than it gives back.

mod common;

use common::small::one_at_a_time;
use common::*;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What a hog takes unless it is ended before: where there is plenty, more than the level asks for, since memory comes
/// back meanwhile. Of what was freed, the kernel keeps a part (up to an eighth of all there is) in lists of each
/// processor, where the next process there takes it from, and counts it as available only seconds later.
const MOST_MIB: u64 = 4096;
/// Less is no test.
const LEAST_MIB: u64 = 1024;
/// What may come back within a fifth of a second without being called a rise.
const STEADY_MIB: u64 = 40;

fn exactly_available_mib() -> u64 {
    // Folds what each processor has counted by itself, which else lags behind for seconds. Only root may, others wait.
    let _ = fs::read("/proc/sys/vm/stat_refresh");
    available_mib()
}

/// What is available once the memory of those who ended before has come back: a level below that which comes after it
/// might never be reached.
fn steady_available_mib() -> u64 {
    let mut before = exactly_available_mib();
    let steady = wait_until(Duration::from_secs(10), || {
        thread::sleep(Duration::from_millis(200));
        let now = exactly_available_mib();
        let rise = now.saturating_sub(before);
        before = now;
        (rise < STEADY_MIB).then_some(now)
    });
    steady.unwrap_or(before)
}

struct Plan {
    /// The value of `-m`, whose second level is far below all that a hog takes.
    level: String,
    /// A hog's `--size`.
    hog: String,
}

/// Nothing where there is too little memory to play with; that is said.
fn plan(sandbox: &Sandbox) -> Option<Plan> {
    let available = steady_available_mib();
    let hog = MOST_MIB.min(available / 2);
    if hog < LEAST_MIB {
        skip(&format!("only {available} MiB are available"));
        return None;
    }
    // Of all that killing can give back, as the guard reckons it.
    let shown = sandbox.explain(&[]);
    let line = shown.lines().find(|line| line.starts_with("mem avail:")).expect("the state");
    let level = 100.0 * (available - hog / 4) as f64 / number_after(line, " of ") as f64;
    Some(Plan { level: format!("{level:.3},{:.3}", level / 4.0), hog: format!("{hog}M") })
}

/// A few processes that have nothing to do with it.
fn bystanders(sandbox: &Sandbox) -> Vec<Hog> {
    ["0", "0", "0", "100M"].map(|size| sandbox.hog(&["--size", size])).into()
}

fn all_alive(hogs: &mut [Hog]) -> bool {
    hogs.iter_mut().all(Hog::is_alive)
}

/// `-s 100`, since this machine may have swap.
fn options<'a>(plan: &'a Plan, more: &[&'a str]) -> Vec<&'a str> {
    [&["-s", "100", "-m", &plan.level, "-r", "1"][..], more].concat()
}

#[test]
fn a_process_that_takes_memory_as_fast_as_it_can_is_ended_and_nobody_else() {
    one_at_a_time(|sandbox| {
        let Some(plan) = plan(sandbox) else { return };
        let mut bystanders = bystanders(sandbox);
        let guard = sandbox.guard(&options(&plan, &[]));
        let mut hog = Hog::start_unready(sandbox.hog_command(&["--size", &plan.hog]));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        let pid = hog.pid();
        let said = guard.wait_for(&format!("process {pid} exited after "));
        assert!(is_exit_line(&said), "{said}");
        let signals = guard.signals();
        assert_eq!(signals.len(), 1, "{signals:?}");
        assert!(is_signal_line(&signals[0], pid), "{signals:?}");
        assert!(all_alive(&mut bystanders));
        guard.stop();
    });
}

/// `process N exited after X.XXX seconds`
fn is_exit_line(line: &str) -> bool {
    let seconds =
        line.split_once(" exited after ").and_then(|(_, rest)| rest.strip_suffix(" seconds"));
    seconds.and_then(|seconds| seconds.split_once('.')).is_some_and(|(whole, part)| {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number(whole) && is_number(part) && part.len() == 3
    })
}

/// `sending SIGTERM to process N uid U "hog": oom_score S, oom_score_adj A, VmRSS M MiB, cmdline "…"`
fn is_signal_line(line: &str, pid: u32) -> bool {
    let start = format!("sending SIGTERM to process {pid} uid 0 \"hog\": oom_score ");
    let between = [", oom_score_adj 0, VmRSS ", " MiB, cmdline \""];
    let (mut rest, mut good) = (line.strip_prefix(&start).unwrap_or(""), true);
    for text in between {
        let number = rest.bytes().take_while(u8::is_ascii_digit).count();
        good &= number > 0 && rest[number..].starts_with(text);
        rest = rest.get(number + text.len()..).unwrap_or("");
    }
    // What is in between may be nothing: a process that has ended has no command line.
    good && rest.ends_with('"')
}

#[test]
fn a_hog_that_ignores_sigterm_gets_sigkill_after_the_grace() {
    one_at_a_time(|sandbox| {
        let Some(plan) = plan(sandbox) else { return };
        let mut bystanders = bystanders(sandbox);
        let guard = sandbox.guard(&options(&plan, &["--grace", "1"]));
        let before = Instant::now();
        let mut hog =
            Hog::start_unready(sandbox.hog_command(&["--size", &plan.hog, "--ignore-term"]));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(before.elapsed() >= Duration::from_secs(1));
        guard.wait_for("exited after");
        assert_eq!(guard.signals_to(hog.pid()).len(), 2);
        assert_eq!(guard.signals().len(), 2);
        assert!(all_alive(&mut bystanders));
        guard.stop();
    });
}

#[test]
fn the_whole_group_of_a_hog_is_ended_when_that_is_asked_for() {
    one_at_a_time(|sandbox| {
        let Some(plan) = plan(sandbox) else { return };
        let mut bystanders = bystanders(sandbox);
        let guard = sandbox.guard(&options(&plan, &["-g"]));
        let mut group =
            sandbox.hog_command(&["--size", &plan.hog, "--name", "group", "--new-group"]);
        group.args(["--sleepers", "3"]);
        let mut group = Hog::start_unready(group);
        assert_eq!(group.wait_for_end().signal(), Some(libc::SIGTERM));
        let pid = group.pid();
        guard.wait_for(&format!("process group {pid} signalled with it: 4 processes"));
        guard.wait_for(&format!("process {pid} and its group {pid} exited after "));
        assert_eq!(living("group"), []);
        assert!(all_alive(&mut bystanders));
        guard.stop();
    });
}

#[test]
fn without_that_the_others_of_its_group_live_on() {
    one_at_a_time(|sandbox| {
        let Some(plan) = plan(sandbox) else { return };
        let mut leader = sandbox.hog(&["--new-group"]);
        let guard = sandbox.guard(&options(&plan, &[]));
        let mut member = sandbox.hog_command(&["--size", &plan.hog]);
        std::os::unix::process::CommandExt::process_group(&mut member, leader.pid() as i32);
        let mut member = Hog::start_unready(member);
        member.wait_for_end();
        guard.wait_for("exited after");
        assert!(leader.is_alive());
        guard.stop();
    });
}

#[test]
fn the_threads_of_a_zombie_leader_are_found_and_ended() {
    one_at_a_time(|sandbox| {
        for more in [&[][..], &["--sort-by-rss"][..]] {
            let Some(plan) = plan(sandbox) else { return };
            let mut bystanders = bystanders(sandbox);
            let guard = sandbox.guard(&options(&plan, more));
            let command = sandbox.hog_command(&["--size", &plan.hog, "--zombie-leader"]);
            let mut hog = Hog::start_unready(command);
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM), "{more:?}");
            guard.wait_for(&format!("process {} exited after ", hog.pid()));
            let signals = guard.signals();
            assert_eq!(signals.len(), 1, "{signals:?}");
            // What the leader itself shows is nothing.
            assert!(number_after(&signals[0], "VmRSS ") > 0, "{signals:?}");
            assert!(all_alive(&mut bystanders));
            guard.stop();
            bystanders.iter().for_each(|hog| hog.signal(libc::SIGKILL));
        }
    });
}

#[test]
fn a_dry_run_says_who_would_be_ended_and_nobody_is() {
    one_at_a_time(|sandbox| {
        let Some(plan) = plan(sandbox) else { return };
        let mut bystanders = bystanders(sandbox);
        let guard = sandbox.guard(&options(&plan, &["--dryrun"]));
        let mut hog = sandbox.hog(&["--size", &plan.hog]);
        let pid = hog.pid();
        guard.wait_for(&format!("would send SIGTERM to process {pid} uid 0 \"hog\": "));
        assert!(hog.is_alive() && all_alive(&mut bystanders));
        assert_eq!(guard.count("sending SIGTERM to process"), 0);
        let shown = sandbox.explain(&options(&plan, &[]));
        assert!(
            shown.contains(&format!("now SIGTERM would go to process {pid} \"hog\"")),
            "{shown}"
        );
        guard.stop();
    });
}

#[test]
fn a_guard_without_privilege_ends_only_what_is_its_users_own() {
    one_at_a_time(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let Some(before) = plan(sandbox) else { return };
        let as_nobody = |command: Command| sandbox.command_as_nobody(command);
        // Before the level is set: it goes first where everybody is a candidate.
        let mut roots = sandbox.hog(&["--size", &before.hog]);
        let Some(plan) = plan(sandbox) else { return };
        let guard = sandbox.start_guard(as_nobody(sandbox.guard_command(&options(&plan, &[]))));
        let mut large = Hog::start_unready(as_nobody(sandbox.hog_command(&["--size", &plan.hog])));
        large.wait_for_end();
        guard.wait_for("exited after");
        assert!(roots.is_alive());
        assert_eq!(guard.signals().len(), 1);
        guard.stop();
    });
}

#[test]
fn sigterm_and_sigint_end_the_guard_in_peace_and_its_helper_with_it() {
    one_at_a_time(|sandbox| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let guard = sandbox.guard(&[]);
            let helper = guard.helper().expect("a helper");
            let log = guard.stop_by(signal);
            assert!(log.ends_with("stopped by a signal\n"), "{log}");
            let left: Vec<_> =
                processes().into_iter().filter(|process| process.name == b"oom_guard").collect();
            assert!(left.is_empty(), "{left:?}, helper was {helper}");
        }
    });
}
