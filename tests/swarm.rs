//! Fork bombs: real and bounded ones (`tests/tools/bomb.rs`). Memory is of the test's own making.

mod common;

use common::*;
use std::fs;
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

fn stopped() -> Vec<Process> {
    let mut all = processes();
    all.retain(|process| process.state == b'T');
    all
}

/// Of everything else nobody is signalled. What the guard said.
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
    assert!(said.contains(" processes \"bomb\" of uid 0 in session "), "{said}");
    assert!(said.ends_with(" MiB: stopping and killing them together"), "{said}");
    assert!(number_after(&said, "fork bomb: ") >= 100, "{said}");
    guard.wait_for("processes ended after ");
    assert_eq!(guard.signals(), [""; 0]);
    assert!(innocent.is_alive());
    assert!(stopped().is_empty());
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
fn without_the_right_to_go_first_a_bomb_is_ended_as_one() {
    sandboxed(|sandbox| {
        expect_end_as_one(sandbox, &[], &[], |command| {
            refuse_calls(command, &[libc::SYS_sched_setscheduler], libc::EPERM);
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
        memory.available(VERY_LOW + 10);
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert!(hog.is_alive());
        assert_eq!(guard.count("sending SIGKILL"), 0);
        guard.stop();
    });
}

#[test]
fn a_bomb_that_holds_most_is_ended_before_anyone_else_is_searched_for() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--debug"]);
        let mut bomb = Bomb::start(sandbox, 140, &["--size", "512", "--total", "150"]);
        // 100 MiB are in use, of which the bomb holds some 80.
        memory.set(Amounts { anon: 100, ..Amounts::available(10) });
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert_eq!(guard.count("scan: "), 0);
        assert!(guard.count("many new processes: perhaps a fork bomb") > 0);
        guard.stop();
    });
}

/// State and niceness of a process (fields 3 and 19 of its `stat`).
fn state_and_niceness(pid: u32) -> (String, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let mut fields = stat.rsplit(')').next().expect("numbers").split_whitespace();
    let state = fields.next().expect("a state").to_owned();
    (state, fields.nth(15).expect("a niceness").to_owned())
}

#[test]
fn who_is_killed_of_a_bomb_leaves_the_processors_to_others() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let innocent = sandbox.hog(&["--size", "5M"]);
        let guard = sandbox.guard(&[]);
        let mut bomb = Bomb::start(sandbox, 100, &[]);
        let first = bomb.0.id();
        let before = state_and_niceness(first).1;
        memory.available(JUST_LOW);
        // Nobody but this test takes note of its end.
        wait_for("its end", || state_and_niceness(first).0 == "Z");
        let said = guard.wait_for("processes ended after ");
        let seconds = said.split(' ').rev().nth(1).and_then(|seconds| seconds.parse::<f64>().ok());
        if seconds.expect("seconds") >= 1.0 {
            return skip("a machine that is too busy to end a bomb in a second");
        }
        assert_eq!(state_and_niceness(first).1, "19");
        assert_eq!(state_and_niceness(innocent.pid()).1, before);
        bomb.wait_for_end();
        memory.available(PLENTY);
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

/// A shell that lives for a while, starts another program, and then many subshells, each of which waits for a writer
/// that never comes. `$1` is how many.
const SHELL_BOMB: &str = "\
    mkfifo \"$dir/never\"\n\
    \"$dir/hog\" --name other &\n\
    sleep 4\n\
    n=0\n\
    while [ $n -lt $1 ]; do (read -r line <\"$dir/never\") & n=$((n + 1)); done\n\
    echo >\"$dir/begun\"\n\
    wait\n";

#[test]
fn an_older_shell_and_other_programs_of_the_session_live_on() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let script = sandbox.script("shell", SHELL_BOMB);
        let guard = sandbox.guard(&[]);
        let mut command = Command::new("sh");
        own_session(command.args([&script, "120"]).stdin(Stdio::null()).stdout(Stdio::null()));
        let mut shell = command.spawn().expect("a shell");
        wait_for("a bomb", || sandbox.path("begun").exists());
        let subshells = children(shell.id()).len();
        assert!(subshells > 120, "{subshells}");
        memory.available(JUST_LOW);
        let said = guard.wait_for("fork bomb: ");
        guard.wait_for("processes ended after ");
        memory.available(PLENTY);
        assert_eq!(number_after(&said, "fork bomb: "), 120, "{said}");
        assert!(said.contains(&format!(" in session {}, ", shell.id())), "{said}");
        // It has its end to take note of, and then waits for the other program alone.
        wait_for("the shell", || children(shell.id()).len() == 1);
        assert!(shell.try_wait().expect("wait").is_none());
        // Its number is one of those that were stopped.
        assert_eq!(living("other").len(), 1);
        assert!(stopped().is_empty());
        assert_eq!(guard.signals(), [""; 0]);
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
        let options = ["--style", "jobs", "--alive", "20", "--size", "3000", "--life", "60000"];
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
        let mut hog = sandbox.hog(&["--size", "5M"]);
        memory.available(JUST_LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(living("bomb").len() >= 110 && stopped().is_empty());
        assert_eq!(guard.count("fork bomb"), 0);
        guard.stop();

        let guard = sandbox.guard(&["--ignore", "^odd$"]);
        memory.available(JUST_LOW);
        bomb.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for("processes ended after ");
        assert_eq!(living("odd").len(), 1);
        assert!(stopped().is_empty());
        guard.stop();
    });
}

#[test]
fn a_dry_run_says_what_it_would_do_to_a_bomb_and_stops_nobody() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["--dryrun"]);
        let _bomb = Bomb::start(sandbox, 110, &["--total", "120", "--size", "128"]);
        memory.available(JUST_LOW);
        let said = guard.wait_for_many("fork bomb: ", 2).remove(0);
        memory.available(PLENTY);
        assert!(said.ends_with(" MiB: would stop and kill them together"), "{said}");
        assert!(living("bomb").len() >= 110 && stopped().is_empty());
        guard.stop();
    });
}

#[test]
fn nobody_stays_stopped_where_memory_recovers_meanwhile() {
    sandboxed(|sandbox| {
        // The moment between the stop and the next look at memory is short: several tries.
        for _ in 0..8 {
            let memory = FakeMemory::new(sandbox);
            let guard = sandbox.guard(&[]);
            let mut bomb = Bomb::start(sandbox, 300, &["--total", "320", "--alive", "320"]);
            memory.available(JUST_LOW);
            wait_for("a stop or an end", || {
                let count = |all: Vec<Process>| {
                    all.iter().filter(|one| one.state == b'T' || one.state == b'Z').count()
                };
                count(processes()) > 0
            });
            memory.available(PLENTY);
            guard.wait_for_within(TEN_SECONDS, "proc", 1);
            wait_for("either", || guard.count("go on: ") + guard.count("ended after") > 0);
            let recovered = guard.count("go on: memory has recovered") > 0;
            assert!(stopped().is_empty());
            assert!(!recovered || living("bomb").len() >= 300);
            guard.stop();
            living("bomb").into_iter().for_each(|pid| signal_to(pid, libc::SIGKILL));
            bomb.wait_for_end();
            if recovered {
                return;
            }
        }
        panic!("in no try was memory seen to recover in time");
    });
}
