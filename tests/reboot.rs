//! `--reboot-after`, as far as it goes without a reboot: where it is refused, and what a dry run says. What
//! it does is seen in machines (`scripts/rescue.sh reboot`).
//!
//! The guard is in a PID namespace here, where reboot(2) would end no more than that namespace.

mod common;

use common::*;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WOULD: &str = "would reboot: memory was at or below the level of SIGKILL for 10 s";
const AFTER: Duration = Duration::from_secs(10);
const CONTAINER: &str = "--reboot-after: not in a container: outside the initial PID namespace";

/// Exit status and standard error of one that must end by itself.
fn refusal(mut command: Command) -> (Option<i32>, String) {
    let output = command.stderr(Stdio::piped()).output().expect("the guard");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn outside_the_initial_pid_namespace_it_is_an_error_unless_it_is_a_dry_run() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        for task in ["--check", "--explain", "--debug"] {
            let (status, said) = refusal(sandbox.guard_command(&["--reboot-after", "60", task]));
            assert_eq!(status, Some(2), "{task}: {said}");
            assert!(said.starts_with(&format!("oom_guard: {CONTAINER}")), "{task}: {said}");
        }
        let rehearsal = &["--reboot-after", "60", "--dryrun", "--check"];
        let (status, said) = refusal(sandbox.guard_command(rehearsal));
        assert_eq!(status, Some(0), "{said}");
        assert!(!said.contains("--reboot-after"), "{said}");
    });
}

#[test]
fn a_reload_that_asks_for_it_there_is_refused() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let conf = sandbox.path("conf");
        fs::write(&conf, "").expect("a file");
        let guard = sandbox.guard(&["-c", conf.to_str().unwrap()]);
        fs::write(&conf, "OOM_GUARD_REBOOT_AFTER=60\n").expect("a file");
        guard.signal(libc::SIGHUP);
        guard.wait_for(CONTAINER);
        guard.wait_for("the new settings are not taken; the old ones stay in force");
        guard.stop();
    });
}

#[test]
fn a_dry_run_says_once_that_it_would_after_so_long_without_one_look_above() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--reboot-after", "10", "--dryrun"]);
        guard.wait_for("rebooting       after 10 s at or below the level of SIGKILL");
        memory.available(VERY_LOW);
        std::thread::sleep(AFTER / 2);
        // By the level of SIGTERM already.
        memory.available(LOW);
        guard.make_look(2);
        let began = Instant::now();
        memory.available(VERY_LOW);
        guard.wait_for(WOULD);
        let after = began.elapsed();
        assert!(after >= AFTER, "{after:?}");
        std::thread::sleep(Duration::from_secs(1));
        guard.make_look(3);
        assert_eq!(guard.count("reboot:"), 1);
        guard.stop();
    });
}

#[test]
fn time_in_which_memory_cannot_be_read_does_not_count() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--reboot-after", "10", "--dryrun"]);
        memory.available(VERY_LOW);
        guard.make_look(2);
        memory.write("");
        guard.wait_for("trying on");
        std::thread::sleep(AFTER);
        assert_eq!(guard.count(WOULD), 0);
        let began = Instant::now();
        memory.available(VERY_LOW);
        guard.wait_for(WOULD);
        // What counted before was far less than half of it.
        assert!(began.elapsed() >= AFTER / 2, "{:?}", began.elapsed());
        guard.stop();
    });
}
