//! Fork bombs: real and bounded ones (`tests/tools/bomb.rs`). Memory is of the test's own making.

mod common;

use common::*;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the issue allows from low memory to the end of a bomb.
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Memory that bombs of some MiB would bring back.
const JUST_LOW: u64 = 98;

/// As a terminal or a service does: in a session of its own.
fn own_session(command: &mut Command) -> &mut Command {
    let begin = || {
        // SAFETY: takes nothing.
        match unsafe { libc::setsid() } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(begin) }
}

fn bomb_command(sandbox: &Sandbox, options: &[&str]) -> Command {
    let mut command = Command::new(sandbox.tool("bomb"));
    command.arg(sandbox.path("counts")).args(options).stdin(Stdio::null());
    own_session(&mut command);
    command
}

/// A bomb of which so many are there.
struct Bomb(Child);

impl Bomb {
    fn start(sandbox: &Sandbox, count: usize, options: &[&str]) -> Bomb {
        let bomb = Bomb(bomb_command(sandbox, options).spawn().expect("the bomb"));
        wait_for("a bomb", || living("bomb").len() >= count);
        bomb
    }

    /// Waits for the end of all of it. Whoever has the orphans takes note of them.
    fn wait_for_end(&mut self) {
        let bomb = &mut self.0;
        wait_for("the bomb's end", || {
            let _ = bomb.try_wait();
            living("bomb").is_empty()
        });
    }
}

/// No other process is signalled. What the guard said.
fn expect_end_as_one(
    sandbox: &Sandbox,
    of_guard: &[&str],
    of_bomb: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> String {
    let memory = FakeMemory::new(sandbox);
    let mut innocent = sandbox.hog(&["--size", "5M"]);
    let mut command = sandbox.guard_command(of_guard);
    prepare(&mut command);
    let guard = sandbox.start_guard(command);
    let mut bomb = Bomb::start(sandbox, 100, of_bomb);
    let begin = Instant::now();
    memory.available(JUST_LOW);
    bomb.wait_for_end();
    memory.available(PLENTY);
    assert!(begin.elapsed() < TEN_SECONDS, "{:?}", begin.elapsed());
    let said = guard.wait_for("fork bomb: ");
    let group = format!(" processes \"bomb\" of uid 0 in process group {} hold ", bomb.0.id());
    assert!(said.contains(&group), "{said}");
    assert!(said.ends_with(" MiB: sending SIGKILL to the group"), "{said}");
    assert!(number_after(&said, "fork bomb: ") >= 100, "{said}");
    guard.wait_for("processes ended after ");
    assert_eq!(guard.signals(), [""; 0]);
    assert!(innocent.is_alive());
    guard.stop()
}

// ---- bombs ----

#[test]
fn a_bomb_in_which_all_fork_is_ended_as_one() {
    sandboxed(|sandbox| {
        expect_end_as_one(sandbox, &[], &["--style", "fork"], |_| ());
    });
}

#[test]
fn a_bomb_whose_parents_exit_all_the_time_is_ended_as_one() {
    sandboxed(|sandbox| {
        let options = ["--style", "chain", "--total", "4000", "--alive", "150"];
        expect_end_as_one(sandbox, &[], &options, |_| ());
    });
}

#[test]
fn a_bomb_that_becomes_its_program_anew_is_ended_as_one() {
    sandboxed(|sandbox| {
        expect_end_as_one(sandbox, &[], &["--style", "exec"], |_| ());
    });
}

#[test]
fn a_bomb_that_holds_memory_and_ignores_sigterm_is_ended_as_one() {
    sandboxed(|sandbox| {
        let options = ["--size", "512", "--total", "150", "--ignore-term"];
        expect_end_as_one(sandbox, &["-p"], &options, |_| ());
    });
}

#[test]
fn without_pidfds_a_bomb_is_ended_as_one() {
    sandboxed(|sandbox| {
        expect_end_as_one(sandbox, &[], &[], |command| {
            refuse_calls(command, &[libc::SYS_pidfd_open], libc::ENOSYS);
        });
    });
}

#[test]
fn a_bomb_that_is_as_large_as_a_victim_in_flight_is_ended_all_the_same() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "30M", "--ignore-term"]);
        let guard = sandbox.guard(&["--grace", "0"]);
        memory.available(JUST_LOW);
        guard.wait_for("sending SIGTERM to process ");
        let mut bomb = Bomb::start(sandbox, 140, &["--size", "1024", "--total", "150"]);
        // 30 MiB below the level for SIGTERM.
        memory.available(50);
        memory.available(30);
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert!(hog.is_alive());
        guard.wait_for(&format!("process {} is let off: a fork bomb is ended", hog.pid()));
        assert_eq!(guard.count("sending SIGKILL to process"), 0);
        guard.stop();
    });
}

#[test]
fn a_bomb_that_holds_most_is_ended_before_anyone_else_is_searched_for() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--debug"]);
        let mut bomb = Bomb::start(sandbox, 140, &["--size", "512", "--total", "150"]);
        // 100 MiB are in use, of which the bomb holds some 80. The end of one of them would not do.
        memory.set(Amounts { anon: 100, ..Amounts::available(5) });
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert_eq!(guard.count("scan: "), 0);
        assert!(guard.count("process groups: perhaps a fork bomb") > 0);
        guard.stop();
    });
}

#[test]
fn hooks_hear_of_a_bomb_once() {
    sandboxed(|sandbox| {
        let body = |when: &str| {
            format!(
                "echo \"$OOM_GUARD_NAME $OOM_GUARD_SIGNAL $OOM_GUARD_ACTION\" >> \"$dir/{when}\""
            )
        };
        let (before, after) =
            (sandbox.script("pre.sh", &body("before")), sandbox.script("post.sh", &body("after")));
        expect_end_as_one(sandbox, &["-P", &before, "-N", &after], &[], |_| ());
        for file in ["before", "after"] {
            let read = || std::fs::read_to_string(sandbox.path(file)).unwrap_or_default();
            wait_for("a hook", || !read().is_empty());
            assert_eq!(read(), "bomb SIGKILL kill\n", "{file}");
        }
    });
}

// ---- what is none of it ----

/// A script without job control: all that it starts is in its own group. `$1` has its numbers.
const SCRIPT: &str = "\
    \"$dir/hog\" --name other --size 3M &\n\
    \"$dir/bomb\" \"$dir/counts\" --total 150 --size 256 &\n\
    wait\n";

/// What such a script started beside the bomb lives, and so does the script.
fn expect_end_of_members(sandbox: &Sandbox, of_guard: &[&str], separate: bool) -> String {
    let memory = FakeMemory::new(sandbox);
    let guard = sandbox.guard(of_guard);
    ["hog", "bomb"].iter().for_each(|tool| drop(sandbox.tool(tool)));
    let mut command = Command::new("sh");
    command.arg(sandbox.script("script", SCRIPT)).stdin(Stdio::null()).stdout(Stdio::null());
    if separate {
        own_session(&mut command);
    }
    let mut script = command.spawn().expect("a shell");
    wait_for("a bomb", || living("bomb").len() >= 140 && living("other").len() == 1);
    memory.available(JUST_LOW);
    wait_for("the bomb's end", || living("bomb").is_empty());
    memory.available(PLENTY);
    let said = guard.wait_for("fork bomb: ");
    guard.wait_for("processes ended after ");
    assert_eq!(living("other").len(), 1);
    assert!(script.try_wait().expect("wait").is_none());
    assert_eq!(guard.signals(), [""; 0]);
    guard.stop();
    script.kill().and_then(|()| script.wait()).expect("the script's end");
    said
}

#[test]
fn of_a_script_without_job_control_the_bomb_goes_and_the_rest_lives_on() {
    sandboxed(|sandbox| {
        let said = expect_end_of_members(sandbox, &[], true);
        assert!(said.contains("sending SIGKILL to each of them, because the group holds process "));
        assert!(said.ends_with(", which is none of them"), "{said}");
    });
}

#[test]
fn of_the_group_of_a_protected_process_only_the_bomb_goes() {
    sandboxed(|sandbox| {
        let said = expect_end_of_members(sandbox, &["--ignore", "^other$"], true);
        assert!(said.contains("sending SIGKILL to each of them, because the group holds process "));
        assert!(said.ends_with(" (protected: ignored)"), "{said}");
    });
}

#[test]
fn of_the_guards_own_group_only_the_bomb_goes() {
    sandboxed(|sandbox| {
        // That of the test, in which it starts both.
        let said = expect_end_of_members(sandbox, &[], false);
        assert!(said.contains("sending SIGKILL to each of them, because the group is "), "{said}");
    });
}

#[test]
fn a_bomb_of_an_interactive_shell_leaves_the_shell() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        sandbox.tool("bomb");
        let bomb = "\"$dir/bomb\" \"$dir/counts\" --new-group --total 150 --size 256";
        let body = format!("{bomb} &\nwait\nsleep 300\n");
        let mut command = Command::new("sh");
        command.arg(sandbox.script("shell", &body)).stdin(Stdio::null()).stdout(Stdio::null());
        let mut shell = own_session(&mut command).spawn().expect("a shell");
        wait_for("a bomb", || living("bomb").len() >= 140);
        memory.available(JUST_LOW);
        wait_for("the bomb's end", || living("bomb").is_empty());
        memory.available(PLENTY);
        let said = guard.wait_for("fork bomb: ");
        assert!(said.ends_with(" sending SIGKILL to the group"), "{said}");
        assert!(!said.contains(&format!(" group {} ", shell.id())), "{said}");
        guard.wait_for("processes ended after ");
        assert!(shell.try_wait().expect("wait").is_none());
        guard.stop();
        shell.kill().and_then(|()| shell.wait()).expect("the shell's end");
    });
}

#[test]
fn workers_that_share_memory_are_no_bomb_while_a_hog_holds_more() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let mut hog = sandbox.hog(&["--size", "90M"]);
        // Each shows 60 MiB, which are the same.
        let options = ["--style", "shared", "--size", "61440", "--total", "60"];
        let _workers = Bomb::start(sandbox, 60, &options);
        memory.set(Amounts { anon: 160, ..Amounts::available(15) });
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert_eq!(guard.count("fork bomb: "), 0);
        assert_eq!(living("bomb").len(), 60);
        guard.stop();
    });
}

#[test]
fn many_short_lived_processes_are_no_bomb_while_a_hog_holds_more() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let mut hog = sandbox.hog(&["--size", "90M"]);
        let jobs = ["--style", "jobs", "--alive", "60", "--total", "4000", "--life", "300"];
        let build = Bomb::start(sandbox, 40, &jobs);
        memory.available(JUST_LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert_eq!(guard.signals().len(), 1);
        assert_eq!(guard.count("fork bomb"), 0);
        drop(build);
        guard.stop();
    });
}

#[test]
fn a_build_that_has_fewer_jobs_than_a_bomb_loses_one_of_them() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let options = ["--style", "jobs", "--alive", "20", "--size", "6000", "--life", "60000"];
        let _build = Bomb::start(sandbox, 20, &options);
        memory.available(JUST_LOW);
        guard.wait_for("exited after");
        memory.available(PLENTY);
        assert_eq!(guard.signals().len(), 1);
        assert_eq!(guard.count("fork bomb"), 0);
        guard.stop();
    });
}

#[test]
fn a_build_for_all_processors_of_the_machine_is_no_bomb_whatever_the_guard_may_use() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut command = sandbox.guard_command(&["-d"]);
        set_processors(sandbox, "0-63", &mut command);
        let guard = sandbox.start_guard(command);
        let _build = Bomb::start(sandbox, 100, &["--total", "100", "--size", "256"]);
        memory.available(JUST_LOW);
        guard.wait_for("process groups: no fork bomb");
        memory.available(PLENTY);
        assert_eq!(guard.count("fork bomb: "), 0);
        assert!(living("bomb").len() >= 99);
        guard.stop();
    });
}

#[test]
fn many_that_were_started_long_ago_are_no_bomb() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        let _server = Bomb::start(sandbox, 100, &["--total", "100", "--size", "256"]);
        thread::sleep(Duration::from_secs(12));
        memory.available(JUST_LOW);
        guard.wait_for("exited after");
        memory.available(PLENTY);
        assert_eq!(guard.signals().len(), 1);
        assert_eq!(guard.count("fork bomb"), 0);
        assert!(living("bomb").len() >= 99);
        guard.stop();
    });
}

#[test]
fn a_bomb_that_is_ignored_lives_and_one_of_it_that_is_lives_alone() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let options = ["--odd", "--total", "120", "--size", "256"];
        let mut bomb = Bomb::start(sandbox, 110, &options);
        wait_for("the odd one", || living("odd").len() == 1);
        let guard = sandbox.guard(&["--ignore", "^(bomb|odd)$"]);
        let mut hog = sandbox.hog(&["--size", "20M"]);
        memory.available(JUST_LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(living("bomb").len() >= 110);
        assert_eq!(guard.count("fork bomb"), 0);
        guard.stop();

        let guard = sandbox.guard(&["--ignore", "^odd$"]);
        memory.available(JUST_LOW);
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert_eq!(living("odd").len(), 1);
        guard.stop();
    });
}

#[test]
fn a_dry_run_says_what_it_would_do_to_a_bomb_and_ends_none() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--dryrun"]);
        let _bomb = Bomb::start(sandbox, 110, &["--total", "120", "--size", "128"]);
        memory.available(JUST_LOW);
        let said = guard.wait_for_many("fork bomb: ", 2).remove(0);
        memory.available(PLENTY);
        assert!(said.ends_with(" MiB: would send SIGKILL to the group"), "{said}");
        assert!(living("bomb").len() >= 110);
        guard.stop();
    });
}
