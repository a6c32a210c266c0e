//! What the guard bears: readers that do not read, a helper that dies or hangs, files that cannot be read, processes
//! that lie about themselves or vanish. The kill comes all the same, and on time, which is counted in looks.

mod common;

use common::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

// ---- nobody reads ----

#[test]
fn a_full_pipe_that_nobody_reads_delays_no_kill_and_loses_no_message() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let (mut reader, writer) = full_pipe();
        let mut command = sandbox.guard_command(&[]);
        command.stderr(writer);
        let guard = sandbox.start_guard_unheard(command);
        guard.make_look(3);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.available(PLENTY);
        let expected = format!("process {} exited after ", hog.pid());
        let said = read_until(&mut reader, &expected);
        assert!(said.contains(&format!("sending SIGKILL to process {} ", hog.pid())), "{said}");
        assert!(!said.contains("messages were lost"), "{said}");
        guard.stop();
    });
}

#[test]
fn a_flood_of_messages_into_a_full_pipe_delays_no_kill_and_what_is_lost_is_said() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let (mut reader, writer) = full_pipe();
        let mut command = sandbox.guard_command(&["-d"]);
        command.stderr(writer);
        let guard = sandbox.start_guard_unheard(command);
        // More than the pipe, the helper and the socket between hold together.
        guard.make_look(2000);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.available(PLENTY);
        read_until(&mut reader, "messages were lost here");
        // And now that somebody reads, all is well again, once what has waited is out.
        memory.available(PLENTY - 1);
        guard.make_look(3);
        read_until(&mut reader, " mem avail:   599 of  1000 MiB");
        guard.signal(libc::SIGTERM);
        read_until(&mut reader, "stopped by a signal");
    });
}

/// Reads until `text` has come; all that was read.
fn read_until(reader: &mut File, text: &str) -> String {
    set_blocking(reader, false);
    let (mut said, mut buf) = (String::new(), [0; 4096]);
    wait_for(text, || {
        while let Ok(len @ 1..) = reader.read(&mut buf) {
            said.push_str(&String::from_utf8_lossy(&buf[..len]));
        }
        said.contains(text)
    });
    said
}

#[test]
fn a_reader_who_has_gone_away_is_no_reason_to_end() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let (reader, writer) = pipe();
        let mut command = sandbox.guard_command(&["-d"]);
        command.stderr(writer);
        let guard = sandbox.start_guard_unheard(command);
        // The pipe now lives in guard and helper alone.
        drop(reader);
        guard.make_look(50);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.available(PLENTY);
        guard.make_look(3);
        assert!(guard.helper().is_some());
        guard.stop();
    });
}

#[test]
fn a_guard_without_standard_streams_does_its_work() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let mut command = Command::new("sh");
        let guard = sandbox.path("oom_guard");
        command.args(["-c", "exec \"$0\" -d <&- >&- 2>&-"]).arg(guard);
        let guard = sandbox.start_guard_unheard(command);
        expect_kill_on_time(&memory, &guard, &mut hog);
        guard.stop();
    });
}

// ---- the helper ----

#[test]
fn a_helper_that_was_killed_delays_no_kill_and_is_started_again() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        let helper = guard.helper().expect("a helper");
        expect_kill_on_time_after(&memory, &guard, &mut hog, || {
            signal_to(helper, libc::SIGKILL);
        });
        memory.available(PLENTY);
        guard.wait_for("the helper process was started again");
        let pid = hog.pid();
        guard.wait_for(&format!("sending SIGKILL to process {pid} uid 0 \"hog\": "));
        guard.wait_for(&format!("process {pid} exited after "));
        assert!(guard.helper().is_some_and(|now| now != helper));
        guard.stop();
    });
}

#[test]
fn a_helper_that_dies_right_before_the_guard_ends_costs_no_message() {
    sandboxed(|sandbox| {
        let guard = sandbox.guard(&[]);
        let helper = guard.helper().expect("a helper");
        let is = |pid, state| processes().iter().any(|p| p.pid == pid && p.state == state);
        guard.signal(libc::SIGSTOP);
        wait_for("a stop", || is(guard.pid(), b'T'));
        signal_to(helper, libc::SIGKILL);
        wait_for("its end", || is(helper, b'Z'));
        guard.signal(libc::SIGTERM);
        guard.signal(libc::SIGCONT);
        let log = guard.stop();
        assert_eq!(log.matches("stopped by a signal\n").count(), 1, "{log}");
    });
}

#[test]
fn a_helper_that_is_killed_again_and_again_is_started_again_and_again() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        for times in 1..=3 {
            wait_for("a helper", || guard.helper().is_some());
            signal_to(guard.helper().expect("a helper"), libc::SIGKILL);
            guard.wait_for_many("the helper process was started again", times);
        }
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        guard.wait_for("sending SIGKILL to process ");
        guard.stop();
    });
}

#[test]
fn a_helper_that_is_stopped_delays_no_kill_and_is_replaced() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        let helper = guard.helper().expect("a helper");
        signal_to(helper, libc::SIGSTOP);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.available(PLENTY);
        guard.wait_for("the helper process was started again");
        guard.wait_for(&format!("sending SIGKILL to process {} uid 0 \"hog\": ", hog.pid()));
        wait_for("its end", || processes().iter().all(|process| process.pid != helper));
        guard.stop();
    });
}

#[test]
fn a_helper_that_hangs_when_the_settings_change_is_ended_though_another_one_is_at_work() {
    sandboxed(|sandbox| {
        let file = sandbox.path("guard.conf");
        fs::write(&file, "").expect("a file");
        let guard = sandbox.guard(&["-c", file.to_str().expect("a plain path")]);
        let helper = guard.helper().expect("a helper");
        signal_to(helper, libc::SIGSTOP);
        let stats = sandbox.path("stats");
        fs::write(&file, format!("OOM_GUARD_STATS_FILE={}\n", stats.display())).expect("a file");
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings were read again");
        wait_for("its end", || processes().iter().all(|process| process.pid != helper));
        wait_for("the numbers", || stats.exists());
        guard.stop();
    });
}

#[test]
fn a_helper_does_not_outlive_a_guard_that_was_killed() {
    sandboxed(|sandbox| {
        let mut guard = sandbox.guard(&[]);
        let helper = guard.helper().expect("a helper");
        guard.signal(libc::SIGKILL);
        wait_for("the guard's end", || !guard.is_running());
        wait_for("the helper's end", || processes().iter().all(|process| process.pid != helper));
    });
}

#[test]
fn a_command_line_that_cannot_be_read_delays_no_kill() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let pid = hog.pid();
        // As with a page that never comes: whoever opens the file waits for ever.
        let _trap = Trap::over(sandbox, &format!("/proc/{pid}/cmdline"));
        let guard = sandbox.guard(&[]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.available(PLENTY);
        guard.wait_for("the helper process was started again");
        let said = guard.wait_for(&format!("sending SIGKILL to process {pid} uid 0 \"hog\": "));
        assert!(said.ends_with(", cmdline \"\""), "{said}");
        guard.wait_for(&format!("process {pid} exited after "));
        guard.stop();
    });
}

#[test]
fn a_command_line_that_hung_one_helper_does_not_hang_the_next_with_a_message() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--ignore-term", "--size", "60M"]);
        let pid = hog.pid();
        let _trap = Trap::over(sandbox, &format!("/proc/{pid}/cmdline"));
        // Longer than the test takes until memory has recovered, on a busy machine too.
        let guard = sandbox.guard(&["-m", "10,0", "--grace", "10"]);
        memory.available(LOW);
        guard.look_slowly(3);
        memory.available(PLENTY);
        // The first one hangs at the question, and the next one finds the message that it left.
        guard.wait_for("the helper process was started again");
        let said = guard.wait_for(&format!("sending SIGTERM to process {pid} uid 0 \"hog\": "));
        assert!(said.ends_with(", cmdline \"\""), "{said}");
        guard.wait_for("let off");
        assert!(hog.is_alive());
        guard.stop();
    });
}

// ---- memory of its own ----

#[test]
fn ten_thousand_looks_a_scan_a_kill_and_a_new_helper_allocate_nothing() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        // As near to the limit as can be, where it looks most often; and woken, to save the minute that takes.
        memory.available(101);
        let guard = sandbox.guard(&["-d", "-r", "1"]);
        while guard.looks() < 10_000 {
            guard.make_look(500);
        }
        signal_to(guard.helper().expect("a helper"), libc::SIGKILL);
        guard.wait_for("the helper process was started again");
        memory.available(VERY_LOW);
        hog.wait_for_end();
        guard.wait_for("scan: ");
        guard.wait_for("exited after");
        memory.available(PLENTY);
        // An allocation would have aborted a debug build, and is told by a release when it ends.
        guard.stop();
    });
}

// ---- names and files that lie ----

/// What a process calls itself, as the hog wants it, and how a message shows it.
const HOSTILE: [(&str, &str); 9] = [
    ("a\\nb", "a\\nb"),
    (") R 1 1", ") R 1 1"),
    ("\") R 1 1\"", "\\\") R 1 1\\\""),
    ("\\x1b[2J", "\\x1b[2J"),
    ("\\xff\\xfe", "\\xff\\xfe"),
    ("two words", "two words"),
    ("(((", "((("),
    ("\\\\", "\\\\"),
    ("", ""),
];

const HOSTILE_COMMAND: &str = "evil\nsending SIGTERM to process 1 uid 0 \"init\"";
const HOSTILE_COMMAND_SHOWN: &str =
    "cmdline \"evil\\nsending SIGTERM to process 1 uid 0 \\\"init\\\" --ignore-term --size 30M";

fn hostile_hog(sandbox: &Sandbox, name: &str) -> Hog {
    let mut command = sandbox.hog_command(&["--ignore-term", "--size", "30M", "--name", name]);
    command.arg0(HOSTILE_COMMAND);
    Hog::start(command)
}

fn has_no_control_characters(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}

#[test]
fn no_name_and_no_command_line_forges_a_message() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&["-m", "10,0", "--grace", "0", "--cooldown", "0"]);
        for (victims, (name, shown)) in HOSTILE.into_iter().enumerate() {
            let mut hog = hostile_hog(sandbox, name);
            let pid = hog.pid();
            memory.available(LOW);
            // It lives until its command line was read.
            let start = format!("sending SIGTERM to process {pid} uid 0 \"{shown}\": oom_score ");
            let said = guard.wait_for(&start);
            assert!(said.contains(HOSTILE_COMMAND_SHOWN), "{said}");
            hog.signal(libc::SIGKILL);
            hog.wait_for_end();
            memory.recover(&guard);
            guard.wait_for(&format!("process {pid} exited after "));
            let lines = guard.log().lines().count();
            assert_eq!(lines, BANNER_LINES + (victims + 1) * LINES_A_KILL);
        }
        let log = guard.stop();
        assert!(has_no_control_characters(&log), "{log}");
    });
}

/// Version, memory, two thresholds, that of stalls or why there is none, and the first report.
const BANNER_LINES: usize = 6;
/// Low memory, the signal, the end.
const LINES_A_KILL: usize = 3;

#[test]
fn no_name_breaks_the_table_of_explain() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let hogs = HOSTILE.map(|(name, _)| hostile_hog(sandbox, name));
        let shown = sandbox.explain(&[]);
        assert!(has_no_control_characters(&shown), "{shown}");
        for hog in &hogs {
            let pid = hog.pid().to_string();
            let is_row = |line: &&str| line.split_whitespace().nth(1) == Some(&*pid);
            assert_eq!(shown.lines().filter(is_row).count(), 1, "{pid}:\n{shown}");
        }
        let mut table = shown.lines().take_while(|line| !line.is_empty());
        assert!(table.all(|line| line.chars().count() <= 100), "{shown}");
    });
}

#[test]
fn a_stat_that_is_empty_cut_or_of_another_hides_only_its_own_process() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut broken = sandbox.hog(&["--size", "60M"]);
        let pid = broken.pid();
        let stat = sandbox.path("stat");
        fs::write(&stat, "").expect("a stat");
        bind_over(&stat, Path::new(&format!("/proc/{pid}/stat")));
        let guard = sandbox.guard(&["--cooldown", "0"]);
        let wrong = [
            String::new(),
            String::from("\n"),
            format!("{pid}"),
            format!("{pid} (hog"),
            format!("{pid} (hog) "),
            format!("{pid} (hog) S 1 2"),
            format!("{pid} (hog) S -1 -2 -3 x y z"),
            format!("{pid} (hog) S{}", " 99999999999999999999999".repeat(49)),
            format!("1 (sh) S 0{}", " 0".repeat(48)),
        ];
        for text in wrong {
            fs::write(&stat, &text).expect("a stat");
            let mut other = sandbox.hog(&["--size", "20M"]);
            memory.available(LOW);
            other.wait_for_end();
            guard.wait_for(&format!("process {} exited after ", other.pid()));
            memory.recover(&guard);
            assert!(broken.is_alive(), "{text:?}");
            sandbox.explain(&[]);
        }
        guard.stop();
    });
}

#[test]
fn a_process_that_vanishes_during_the_scan_is_passed_over() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut first = sandbox.hog(&["--size", "60M"]);
        let mut second = sandbox.hog(&["--size", "30M"]);
        // The score of the second is read after that of the first, by which the first is chosen.
        let trap = Trap::over(sandbox, &format!("/proc/{}/oom_score", second.pid()));
        let guard = sandbox.guard(&[]);
        memory.available(LOW);
        let mut answer = trap.wait_for_reader();
        first.signal(libc::SIGKILL);
        first.wait_for_end();
        answer.write_all(b"666\n").expect("an answer");
        drop(answer);
        assert_eq!(second.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert_eq!(guard.signals().len(), 1);
        guard.stop();
    });
}

#[test]
fn hundreds_of_processes_that_come_and_go_confuse_neither_scan_nor_kill_nor_explain() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut guard = sandbox.guard(&["-d", "--min-rss", "0", "--cooldown", "0"]);
        let protected = [1, std::process::id(), guard.pid(), guard.helper().expect("a helper")];
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| storm(sandbox, &enough));
            }
            // One victim each time, of processes of which most do not live as long as a scan takes.
            for _ in 0..60 {
                memory.available(VERY_LOW);
                guard.make_look(2);
                memory.recover(&guard);
                sandbox.explain(&["-d"]);
            }
            enough.store(true, Ordering::Relaxed);
        });
        assert!(guard.is_running());
        assert!(guard.count("scan: ") >= 30, "{} scans", guard.count("scan: "));
        for line in guard.lines("sending SIGKILL to process") {
            let pid = number_after(&line, " to process ") as u32;
            assert!(!protected.contains(&pid), "{line}");
        }
        guard.stop();
    });
}

/// Starts processes and ends each of them a moment later, until there were `enough`.
fn storm(sandbox: &Sandbox, enough: &AtomicBool) {
    // Bounded, should the rest of the test hang.
    for count in 0..5000 {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let size = if count % 4 == 0 { "8M" } else { "0" };
        let mut hog = sandbox.hog_command(&["--size", size]);
        let mut hog = hog.stdout(Stdio::null()).spawn().expect("the hog");
        thread::sleep(Duration::from_millis(count % 5));
        hog.kill().and_then(|()| hog.wait()).expect("its end");
    }
}

// ---- files that go away and come back ----

#[test]
fn a_meminfo_whose_server_ends_is_opened_anew_until_there_is_another_one() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
        // The arguments of a process cannot be read once it has ended, as a file of FUSE whose server has ended.
        let mut server = Command::new("sh");
        let server = server.args(["-c", "read forever", &format!("\n{text}")]);
        let mut server = server.stdin(Stdio::piped()).spawn().expect("a server");
        let served = format!("/proc/{}/cmdline", server.id());
        wait_for("its arguments", || {
            fs::read_to_string(&served).expect("its arguments").contains(&text)
        });
        bind_over(Path::new(&served), Path::new("/proc/meminfo"));
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        server.kill().and_then(|()| server.wait()).expect("its end");
        guard.wait_for("cannot read /proc/meminfo: ESRCH (no such process); trying on");
        memory.available(LOW);
        assert!(hog.is_alive());
        uncover("/proc/meminfo");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.wait_for("/proc/meminfo makes sense again");
        guard.stop();
    });
}

#[test]
fn a_guard_without_descriptors_says_so_and_not_that_all_are_protected() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        for options in [&["--sort-by-rss"][..], &[]] {
            let guard = sandbox.guard(options);
            let before = leave_no_descriptor(guard.pid());
            memory.available(LOW);
            let said = guard.wait_for("cannot look at all processes: EMFILE (too many open files)");
            assert!(said.ends_with("; trying again in 1 second"), "{said}");
            assert_eq!(guard.count("no process to kill"), 0);
            assert!(hog.is_alive());
            if options.is_empty() {
                limit_descriptors(guard.pid(), before);
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
            }
            memory.available(PLENTY);
            guard.stop();
        }
    });
}

/// Lets a process open nothing any more. How many descriptors it might have before.
fn leave_no_descriptor(pid: u32) -> libc::rlim_t {
    // It may be reading a file right now.
    let is_open =
        |fd: &libc::rlim_t| (0..20).all(|_| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok());
    let first_free = (0..).find(|fd| !is_open(fd)).expect("one that is not open");
    limit_descriptors(pid, first_free)
}

/// So many descriptors may a process have from now on; what is open stays open. How many it might have before.
fn limit_descriptors(pid: u32, count: libc::rlim_t) -> libc::rlim_t {
    let pid = pid as libc::pid_t;
    // SAFETY: all zero is a valid `rlimit`.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` lives for both calls.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, std::ptr::null_mut()), 0);
        before
    }
}

#[test]
fn fewer_descriptors_than_it_waits_on_make_it_neither_busy_nor_deaf() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let guard = sandbox.guard(&[]);
        limit_descriptors(guard.pid(), 1);
        // The wait that goes on has begun with all of them: this ends it.
        guard.signal(libc::SIGUSR1);
        let before = guard.sleeps();
        wait_for("sleep", || guard.sleeps() > before + FEW_SLEEPS);
        guard.stop();
    });
}

// ---- victims that will not go ----

#[test]
fn a_victim_that_survives_sigkill_is_reported_and_left_and_the_next_one_chosen() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let stuck = sandbox.hog(&["--size", "60M"]);
        if let Err(error) = hold_at_exit(stuck.pid()) {
            return skip(&format!("cannot trace a process: {error}"));
        }
        let mut next = sandbox.hog(&["--size", "30M"]);
        let guard = sandbox.guard(&[]);
        memory.available(VERY_LOW);
        assert_eq!(next.wait_for_end().signal(), Some(libc::SIGKILL));
        memory.recover(&guard);
        guard.wait_for(&format!("process {} survives SIGKILL", stuck.pid()));
        // And it is not tried again.
        memory.available(VERY_LOW);
        guard.wait_for("no process to kill");
        assert_eq!(guard.signals_to(stuck.pid()).len(), 1);
        guard.stop();
    });
}

#[test]
fn on_a_kernel_without_pidfds_victims_and_groups_are_ended_all_the_same() {
    // ENOSYS from an old kernel, EPERM from a container's filter; and pidfd_send_signal is missing by itself, too.
    let opening = &[libc::SYS_pidfd_open][..];
    let sending = &[libc::SYS_pidfd_send_signal][..];
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let combinations =
            [(opening, libc::ENOSYS), (opening, libc::EPERM), (sending, libc::ENOSYS)];
        for (calls, errno) in combinations {
            for options in [&["--grace", "1"][..], &["--grace", "1", "-g"][..]] {
                let hog = ["--size", "60M", "--new-group", "--ignore-term", "--sleepers", "2"];
                let mut hog = sandbox.hog(&hog);
                let mut command = sandbox.guard_command(options);
                refuse_calls(&mut command, calls, errno);
                let guard = sandbox.start_guard(command);
                memory.available(LOW);
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
                memory.recover(&guard);
                guard.wait_for("exited after");
                assert_eq!(guard.signals_to(hog.pid()).len(), 2);
                guard.stop();
                wait_for("its children's end", || living("hog").is_empty());
            }
        }
    });
}

// ---- little is permitted ----

#[test]
fn where_proc_hides_other_users_the_guard_warns_and_ends_what_it_sees() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        if let Err(error) = mount(None, Path::new("/proc"), Some("proc"), 0, Some("hidepid=2")) {
            return skip(&format!("cannot mount /proc with hidepid=2: {error}"));
        }
        let memory = FakeMemory::new(sandbox);
        let mut roots = sandbox.hog(&["--size", "60M"]);
        let mut own =
            Hog::start(sandbox.command_as_nobody(sandbox.hog_command(&["--size", "30M"])));
        let command = |options: &[&str]| sandbox.command_as_nobody(sandbox.guard_command(options));
        let hides = "warning: /proc hides the processes of other users (hidepid)";
        for option in ["--check", "--explain"] {
            let output = command(&[option]).stderr(Stdio::piped()).output().expect("the guard");
            let said = String::from_utf8(output.stderr).expect("UTF-8");
            assert!(said.contains(hides), "{said}");
            let output = sandbox.guard_command(&[option]).stderr(Stdio::piped()).output();
            let said = String::from_utf8(output.expect("the guard").stderr).expect("UTF-8");
            assert!(!said.contains(hides), "as root: {said}");
        }
        let guard = sandbox.start_guard(command(&[]));
        guard.wait_for(hides);
        memory.available(LOW);
        own.wait_for_end();
        memory.recover(&guard);
        memory.available(LOW);
        guard.wait_for("no process to kill");
        assert!(roots.is_alive());
        guard.stop();
    });
}

/// What a guard has of CAP_KILL, beside its user.
#[derive(Clone, Copy, Debug)]
enum Rights {
    /// Those of its user.
    Usual,
    NoCapKill,
    CapKill,
    /// All, in a user namespace of its own.
    OwnNamespace,
}

fn call(number: libc::c_long, one: usize, two: usize, three: usize) -> io::Result<()> {
    // SAFETY: each caller says what its arguments are.
    match unsafe { libc::syscall(number, one, two, three, 0usize, 0usize) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has the command run with these rights, as nobody or as root.
fn with_rights(command: &mut Command, rights: Rights, as_nobody: bool) {
    const CAP_KILL: usize = 5;
    let enter = move || {
        let user = NOBODY as usize;
        // Version 3 of capget(2), for this process; the sets twice, each with that one.
        let (header, sets) =
            ([0x2008_0522u32, 0], [1u32 << CAP_KILL, 1 << CAP_KILL, 1 << CAP_KILL, 0, 0, 0]);
        match rights {
            Rights::NoCapKill => {
                call(libc::SYS_prctl, libc::PR_CAPBSET_DROP as usize, CAP_KILL, 0)?;
            }
            Rights::CapKill => {
                call(libc::SYS_prctl, libc::PR_SET_KEEPCAPS as usize, 1, 0)?;
            }
            Rights::OwnNamespace => {
                call(libc::SYS_unshare, libc::CLONE_NEWUSER as usize, 0, 0)?;
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", "0 0 1")?;
                fs::write("/proc/self/gid_map", "0 0 1")?;
            }
            Rights::Usual => {}
        }
        if as_nobody {
            call(libc::SYS_setresgid, user, user, user)?;
            call(libc::SYS_setresuid, user, user, user)?;
        }
        if let Rights::CapKill = rights {
            // Both arrays live for the call.
            call(libc::SYS_capset, header.as_ptr() as usize, sets.as_ptr() as usize, 0)?;
            let (ambient, raise) = (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE);
            call(libc::SYS_prctl, ambient as usize, raise as usize, CAP_KILL)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; this process has one thread in it.
    unsafe { command.pre_exec(enter) };
}

#[test]
fn check_explain_and_the_guard_tell_alike_by_capability_what_can_be_ended() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let _memory = FakeMemory::new(sandbox);
        let roots = sandbox.hog(&["--size", "60M"]);
        let nobodys =
            Hog::start(sandbox.command_as_nobody(sandbox.hog_command(&["--size", "60M"])));
        let own_user = "those of the same user (CAP_KILL is missing)";
        let own_namespace = "those of the same user namespace (CAP_KILL counts there alone)";
        for (rights, as_nobody, reach, [ends_roots, ends_nobodys]) in [
            (Rights::Usual, false, "all", [true, true]),
            (Rights::NoCapKill, false, own_user, [true, false]),
            (Rights::Usual, true, own_user, [false, true]),
            (Rights::CapKill, true, "all", [true, true]),
            // The map gives it the same user outside.
            (Rights::OwnNamespace, false, own_namespace, [true, false]),
        ] {
            let case = format!("{rights:?}, as nobody: {as_nobody}");
            let command = |options: &[&str]| {
                let mut command = sandbox.guard_command(options);
                with_rights(&mut command, rights, as_nobody);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command
            };
            let run = |option| match command(&[option]).output() {
                Err(error) => {
                    skip(&format!("{case}: {error}"));
                    None
                }
                Ok(output) => {
                    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
                    Some((text(output.stdout), text(output.stderr)))
                }
            };
            let Some((checked, check_said)) = run("--check") else { continue };
            let Some((explained, explain_said)) = run("--explain") else { continue };
            let line = format!("  processes that can be ended: {reach}\n");
            assert!(checked.contains(&line), "{case}: {checked}");
            for (hog, can) in [(&roots, ends_roots), (&nobodys, ends_nobodys)] {
                let row = explained.lines().find(|row| row.contains(&format!(" {} ", hog.pid())));
                let row = row.unwrap_or_else(|| panic!("{case}: {explained}"));
                assert_eq!(row.ends_with("not permitted"), !can, "{case}: {row}");
            }
            let guard = sandbox.start_guard(command(&[]));
            let log = guard.stop();
            let warning = format!("warning: not all processes can be ended, only {reach}\n");
            for said in [check_said, explain_said, log] {
                assert_eq!(said.contains(&warning), reach != "all", "{case}: {said}");
                assert_eq!(said.contains("not all processes"), reach != "all", "{case}: {said}");
            }
        }
    });
}

#[test]
fn too_few_descriptors_are_not_taken_for_a_hidden_proc() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let mut started = 0;
        for most in 3..40 {
            let mut command = sandbox.guard_command(&["-c", "none"]);
            let log = sandbox.path("log");
            command.stderr(File::create(&log).expect("a log"));
            // SAFETY: the closure makes one system call, which reads what lives for it.
            unsafe {
                command.pre_exec(move || {
                    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                    match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    }
                })
            };
            let mut guard = command.spawn().expect("the guard");
            let said = || fs::read_to_string(&log).expect("the log");
            wait_for("a start or an end", || {
                said().contains("mem avail:") || guard.try_wait().expect("wait").is_some()
            });
            if guard.try_wait().expect("wait").is_none() {
                signal_to(guard.id(), libc::SIGTERM);
                guard.wait().expect("its end");
                started += 1;
            }
            assert!(!said().contains("hidepid"), "with {most} descriptors: {}", said());
        }
        assert!(started > 0);
    });
}

#[test]
fn without_permission_to_lock_memory_the_guard_warns_and_works_on() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // In a user namespace root has no privilege over the machine, and need not be left.
        let as_other = |command: Command| match sandbox.has_other_users() {
            true => sandbox.command_as_nobody(command),
            false => command,
        };
        let mut hog = Hog::start(as_other(sandbox.hog_command(&["--size", "60M"])));
        let mut command = as_other(sandbox.guard_command(&[]));
        limit_memlock(&mut command, 0);
        let guard = sandbox.start_guard(command);
        let said = guard.wait_for("warning: locking memory: ");
        assert!(said.ends_with("; going on without it"), "{said}");
        expect_kill_on_time(&memory, &guard, &mut hog);
        guard.wait_for("exited after");
        guard.stop();
    });
}

// ---- nothing is brought in late ----

/// Pages that a process had to wait for: without and with the disk (fields 10 and 12 of
/// `/proc/PID/stat`).
fn page_faults(pid: u32) -> [u64; 2] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    let field = |number: usize| rest.split_whitespace().nth(number - 3).unwrap().parse().unwrap();
    [field(10), field(12)]
}

/// The kill of a group costs neither watch nor helper a page fault, once `prepare` is done with them and with the file
/// of their settings.
fn expect_no_page_fault(sandbox: &Sandbox, prepare: impl Fn(&Guard, &Path)) {
    let memory = FakeMemory::new(sandbox);
    let [log, stats, conf] = ["log", "stats", "conf"].map(|name| sandbox.path(name));
    // On a busy machine the helper may be late with a command line, and is replaced then.
    let helper_came_along = || {
        let _ = fs::remove_file(&stats);
        fs::write(&conf, "").expect("settings");
        let mut command =
            sandbox.guard_command(&["-g", "--grace", "0.2", "--ignore", "cmd:none", "-c"]);
        command.arg(&conf).arg("--log-file").arg(&log).arg("--stats-file").arg(&stats);
        let guard = sandbox.start_guard(command);
        wait_for("the first look", || stats.exists());
        prepare(&guard, &conf);
        wait_for("watch and helper alone", || {
            living("oom_guard").len() == 2 && children(guard.pid()).len() == 1
        });
        // Brought in by now is what the next look needs.
        guard.make_look(1);
        wait_for("a helper at rest", || guard.helper_waits());
        let helper = guard.helper().expect("a helper");
        let before = [page_faults(guard.pid()), page_faults(helper)];
        let mut hog = sandbox.hog(&["--size", "60M", "--new-group", "--ignore-term"]);
        memory.available(LOW);
        hog.wait_for_end();
        guard.wait_for("exited after");
        let trouble = ["no process to kill", "started another one"];
        let came_along = trouble.iter().all(|text| guard.count(text) == 0);
        if came_along {
            assert_eq!([page_faults(guard.pid()), page_faults(helper)], before);
        }
        memory.recover(&guard);
        guard.stop();
        came_along
    };
    assert!((0..10).any(|_| helper_came_along()));
}

#[test]
fn no_kill_costs_watch_or_helper_a_page_fault() {
    sandboxed(|sandbox| {
        if !skip_where_emulated("whose pages come as it needs them") {
            expect_no_page_fault(sandbox, |_, _| {});
        }
    });
}

#[test]
fn no_kill_costs_a_page_fault_after_new_settings_a_list_of_candidates_and_a_new_helper() {
    sandboxed(|sandbox| {
        if skip_where_emulated("whose pages come as it needs them") {
            return;
        }
        expect_no_page_fault(sandbox, |guard, conf| {
            // Twice with another helper, and once with the same.
            let texts = ["HOOK_TIMEOUT=7", "PREFER='(a|b)+c{9}'", "PREFER='(a|b)+c{8}'"];
            for (done, text) in texts.iter().enumerate() {
                fs::write(conf, format!("OOM_GUARD_{text}\n")).expect("settings");
                guard.signal(libc::SIGHUP);
                guard.wait_for_many("settings were read again", done + 1);
            }
            guard.signal(libc::SIGUSR1);
            guard.wait_for("rank     pid user");
            wait_for("one child", || children(guard.pid()).len() == 1);
            // And with one in place of another that has died.
            signal_to(guard.helper().expect("a helper"), libc::SIGKILL);
            guard.wait_for("the helper process was started again");
        });
    });
}
