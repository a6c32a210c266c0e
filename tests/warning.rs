//! `--warn`: that memory gets short is said once, before anything is ended.

mod common;

use common::*;
use std::fs;
use std::process::Stdio;

/// Below the level of a warning in these tests, 20%, and above all others.
const SHORT: u64 = 190;

const WITNESS: &str = r#"
env | grep ^OOM_GUARD_ | sort >"$dir/new"
mv "$dir/new" "$dir/warned.$(ls "$dir" | grep -c warned)"
"#;

const SAID: &str = "memory gets short: ";

/// So often it was said by now.
fn expect_said(guard: &Guard, times: usize) {
    guard.make_look(3);
    guard.wait_for_many(SAID, times);
    assert_eq!(guard.count(SAID), times);
}

#[test]
fn it_is_said_once_and_again_only_after_memory_was_two_points_above() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let stats = sandbox.path("stats");
        let guard = sandbox.guard(&["--warn", "20", "--stats-file", stats.to_str().unwrap()]);
        guard.wait_for("warning         when mem avail <= 200 MiB (20.00%) (no swap)");
        for (available, times) in
            [(205, 0), (200, 1), (150, 1), (215, 1), (150, 1), (225, 1), (SHORT, 2)]
        {
            memory.available(available);
            expect_said(&guard, times);
        }
        guard.wait_for("memory gets short: mem avail:   200 of  1000 MiB (20.00%), swap free:");
        wait_for("the numbers", || {
            fs::read_to_string(&stats)
                .is_ok_and(|page| page.contains("oom_guard_warnings_total 2\n"))
        });
        assert!(hog.is_alive());
        assert_eq!(guard.signals().len(), 0);
        guard.stop();
    });
}

#[test]
fn swap_that_is_left_and_a_fall_to_the_level_of_a_signal_are_no_warning() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&["--warn", "20"]);
        let with_swap =
            |swap_free| Amounts { swap_total: 1000, swap_free, ..Amounts::available(SHORT) };
        memory.set(with_swap(110));
        expect_said(&guard, 0);
        memory.set(with_swap(100));
        expect_said(&guard, 1);
        memory.recover(&guard);
        memory.available(LOW);
        hog.wait_for_end();
        memory.available(SHORT);
        // It was short all the while.
        expect_said(&guard, 1);
        guard.stop();
    });
}

#[test]
fn the_hook_is_told_what_would_go_first_and_runs_beside_the_guard() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let script = sandbox.script("warn", WITNESS);
        let seen = |number| {
            let path = sandbox.path(&format!("warned.{number}"));
            wait_for("a hook", || path.exists());
            fs::read_to_string(path).expect("what the hook saw")
        };
        let guard = sandbox.guard(&["-w", "20", "--warn-hook", &script]);
        memory.available(SHORT);
        // No process but the guard and its own: nothing that a script might take for one is told.
        assert_eq!(seen(0), "OOM_GUARD_ACTION=warn\nOOM_GUARD_REASON=warn\n");
        memory.recover(&guard);
        let mut hog = sandbox.hog(&["--size", "60M", "--name", "largest"]);
        memory.available(SHORT);
        let told = seen(1);
        for line in [
            &format!("OOM_GUARD_PID={}", hog.pid()),
            "OOM_GUARD_NAME=largest",
            "OOM_GUARD_ACTION=warn",
            "OOM_GUARD_REASON=warn",
            "OOM_GUARD_SIGNAL=",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
        assert!(told.contains("OOM_GUARD_CMDLINE="), "{told}");
        assert!(hog.is_alive());
        guard.stop();
    });
}

#[test]
fn a_level_that_is_never_met_first_and_a_hook_without_a_level_are_worth_a_word() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let script = sandbox.script("warn", "");
        for (options, said) in [
            (&["-w", "10"][..], "--warn: is not above the level of SIGTERM, so no warning comes"),
            (&["-w", "20", "-M", "300M"], "--warn: is not above the level of SIGTERM"),
            (&["-w", "20", "-M", "100M", "-m", "30"], ""),
            (&["--warn-hook", &script], "--warn-hook: does nothing without --warn"),
            (&["-w", "20", "--warn-hook", &script], ""),
        ] {
            let mut command = sandbox.guard_command(&[options, &["--check"]].concat());
            let output = command.stderr(Stdio::piped()).output().expect("a check");
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(text.contains("--warn"), !said.is_empty(), "{text}");
            assert!(text.contains(said), "{text}");
        }
    });
}

#[test]
fn a_hook_that_is_told_of_no_process_has_nothing_read_of_init() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let _trap = Trap::over(sandbox, "/proc/1/cgroup");
        let script = sandbox.script("witness", WITNESS);
        let guard = sandbox.guard(&["-w", "20", "--warn-hook", &script, "--only", "^none$"]);
        memory.available(SHORT);
        wait_for("the hook", || sandbox.path("warned.0").exists());
        guard.stop();
    });
}
