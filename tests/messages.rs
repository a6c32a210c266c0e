//! Where messages and numbers go besides standard error: BusyBox's syslogd, a file with logrotate, Prometheus' own parser,
//! a terminal. None of them holds up the watching, whatever becomes of it; and what is lost is counted.

mod common;

use common::*;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LOST: &str = " messages were lost here";

// ---- what holds for every log ----

/// Has it look until then; so rarely that what comes of it in a second, when a log is tried again, finds room.
fn look_until(what: &str, guard: &Guard, mut holds: impl FnMut() -> bool) {
    wait_for(what, || {
        guard.look_slowly(1);
        thread::sleep(Duration::from_millis(30));
        holds()
    });
}

/// With the watch stopped, once its helper has sent all there was and syslogd has written it.
fn while_it_says_nothing(guard: &Guard, change: impl FnOnce()) {
    let is = |pid, state| processes().iter().any(|p| p.pid == pid && p.state == state);
    let helper = guard.helper().expect("a helper");
    guard.signal(libc::SIGSTOP);
    wait_for("a stop", || is(guard.pid(), b'T'));
    // It sleeps once it has nothing more to do.
    wait_for("a helper at rest", || (0..5).all(|_| is(helper, b'S')));
    // What is sent now comes after all that was sent before.
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.send_to(b"<30>other: that was all", "/dev/log").expect("syslogd");
    wait_for("all that was said", || guard.count("that was all") == 1);
    change();
    guard.signal(libc::SIGCONT);
}

fn wait_for_a_new_look(guard: &Guard) {
    let before = guard.looks();
    look_until("a look in the log", guard, || guard.looks() > before);
}

/// Each look that `-d` shows follows the one before, or as many lines are said to be lost as are missing.
fn assert_every_look_is_there_or_counted(log: &str) {
    let (mut last, mut lost) = (None, 0);
    for line in whole_lines(log) {
        if let Some((before, _)) = line.split_once(LOST) {
            let number = before.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
            lost += number.unwrap_or_else(|| panic!("no number in {line:?}"));
        } else if let Some(look) = look_number(line) {
            let expected = last.map_or(look, |last| last + lost + 1);
            assert_eq!(look, expected, "after {last:?} and {lost} lost ones");
            (last, lost) = (Some(look), 0);
        }
    }
    assert!(last.is_some(), "no look in {log:?}");
}

/// Without what is just being written.
fn whole_lines(log: &str) -> impl Iterator<Item = &str> {
    log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines()
}

fn look_number(line: &str) -> Option<u64> {
    line.contains("look ").then(|| number_after(line, "look "))
}

/// What follows the line that contains `text`.
fn after<'a>(log: &'a str, text: &str) -> &'a str {
    let (_, rest) = log.split_once(text).unwrap_or_else(|| panic!("no {text:?}"));
    rest.split_once('\n').map_or("", |(_, rest)| rest)
}

/// With a log that takes nothing any more: the kill comes on time, and once the log is mended, what has waited comes out,
/// and then the number of what was lost.
fn assert_borne(sandbox: &Sandbox, memory: &FakeMemory, guard: &Guard, mend: impl FnOnce()) {
    let mut hog = sandbox.hog(&["--size", "60M"]);
    expect_kill_on_time(memory, guard, &mut hog);
    memory.recover(guard);
    // More than waits.
    guard.look_slowly(300);
    mend();
    look_until("lines that flow again", guard, || guard.count(LOST) > 0);
    wait_for_a_new_look(guard);
    let log = guard.log();
    let pid = hog.pid();
    assert!(log.contains(&format!("sending SIGKILL to process {pid} ")));
    assert_every_look_is_there_or_counted(after(&log, &format!("process {pid} exited after ")));
}

/// Has it look until it has noticed that its log takes nothing; few lines wait then.
fn wait_for_warning(sandbox: &Sandbox, guard: &Guard, path: &Path) {
    let text = format!("warning: cannot write to {}: ", path.display());
    look_until(&text, guard, || sandbox.stderr().contains(&text));
}

/// The one that says that the log takes nothing; and once is enough.
fn assert_one_warning(sandbox: &Sandbox) {
    let said = sandbox.stderr();
    let (warnings, lines) = (said.matches("warning: ").count(), said.lines().count());
    assert_eq!((warnings, lines), (1, 1), "{said}");
}

// ---- syslog ----

/// A `/dev` of this test's own with what programs expect there, so that `/dev/log` is that of this test. `/run`, too:
/// syslogd writes its number there.
fn own_dev(sandbox: &Sandbox) {
    let (real, dev) = (sandbox.path("dev"), Path::new("/dev"));
    fs::create_dir(&real).expect("a directory for /dev");
    bind_over(dev, &real);
    mount_tmpfs(dev, "mode=755");
    for name in ["null", "zero", "full", "random", "urandom"] {
        File::create(dev.join(name)).expect("a place for a device");
        bind_over(&real.join(name), &dev.join(name));
    }
    mount_tmpfs(&fs::canonicalize("/var/run").expect("/var/run"), "mode=755");
}

fn mount_tmpfs(place: &Path, options: &str) {
    mount(None, place, Some("tmpfs"), 0, Some(options))
        .unwrap_or_else(|error| panic!("cannot mount a tmpfs on {place:?}: {error}"));
}

/// Asked for its help, since that starts nothing.
fn is_syslogd_missing() -> bool {
    let asked = Command::new("busybox").args(["syslogd", "--help"]).output();
    let has =
        asked.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("Usage: syslogd"));
    if !has {
        skip("no BusyBox with syslogd");
    }
    !has
}

/// A running syslogd that writes to the file `messages`.
struct Syslogd(Child);

impl Syslogd {
    fn start(sandbox: &Sandbox) -> Syslogd {
        let mut command = Command::new("busybox");
        command.args(["syslogd", "-n", "-O"]).arg(sandbox.path("messages"));
        let child = command.stdin(Stdio::null()).spawn().expect("syslogd");
        wait_for("/dev/log", || UnixDatagram::unbound().unwrap().connect("/dev/log").is_ok());
        Syslogd(child)
    }

    fn stop(mut self) {
        signal_to(self.0.id(), libc::SIGTERM);
        self.0.wait().expect("its end");
    }
}

fn guard_with_syslog(sandbox: &Sandbox, options: &[&str]) -> Guard {
    sandbox.guard_with_log(&sandbox.path("messages"), &[&["--syslog"], options].concat())
}

#[test]
fn syslogd_gets_each_message_with_facility_priority_and_the_number_of_the_watch() {
    sandboxed(|sandbox| {
        if is_syslogd_missing() {
            return;
        }
        own_dev(sandbox);
        let _syslogd = Syslogd::start(sandbox);
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        // Not syslogd.
        let guard = guard_with_syslog(sandbox, &["-d", "--only", "^hog$"]);
        let from = |priority: &str| format!(" daemon.{priority} oom_guard[{}]: ", guard.pid());
        guard.wait_for(&(from("info") + "oom_guard "));
        guard.wait_for(&(from("debug") + "look "));
        expect_kill_on_time(&memory, &guard, &mut hog);
        let pid = hog.pid();
        guard.wait_for(&format!("{}low memory! ", from("warn")));
        guard.wait_for(&format!("{}sending SIGKILL to process {pid} uid 0 \"hog\"", from("warn")));
        guard.wait_for(&format!("{}process {pid} exited after ", from("notice")));
        memory.recover(&guard);
        memory.available(VERY_LOW);
        guard.wait_for(&(from("err") + "no process to kill"));
        memory.recover(&guard);
        let ours = guard.lines("oom_guard[");
        assert!(ours.iter().all(|line| line.contains(&format!(" oom_guard[{}]: ", guard.pid()))));
        assert_eq!(sandbox.stderr(), "");
        guard.stop();
    });
}

#[test]
fn a_syslogd_that_was_away_gets_what_was_said_meanwhile_or_its_count() {
    sandboxed(|sandbox| {
        if is_syslogd_missing() {
            return;
        }
        own_dev(sandbox);
        let syslogd = Syslogd::start(sandbox);
        let memory = FakeMemory::new(sandbox);
        let guard = guard_with_syslog(sandbox, &["-d"]);
        wait_for_a_new_look(&guard);
        // What it has taken and not read yet when it ends is lost, and nobody can count it.
        while_it_says_nothing(&guard, || syslogd.stop());
        wait_for_warning(sandbox, &guard, Path::new("/dev/log"));
        let syslogd = Syslogd::start(sandbox);
        wait_for_a_new_look(&guard);
        assert_every_look_is_there_or_counted(&guard.log());
        assert_eq!(guard.count(LOST), 0);
        assert_one_warning(sandbox);
        syslogd.stop();
        // And now more than waits, and a kill among it.
        assert_borne(sandbox, &memory, &guard, || drop(Syslogd::start(sandbox)));
        guard.stop();
    });
}

#[test]
fn a_syslogd_that_comes_after_the_guard_gets_all_that_was_said_before() {
    sandboxed(|sandbox| {
        if is_syslogd_missing() {
            return;
        }
        own_dev(sandbox);
        let memory = FakeMemory::new(sandbox);
        let guard = guard_with_syslog(sandbox, &[]);
        wait_for_warning(sandbox, &guard, Path::new("/dev/log"));
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        let _syslogd = Syslogd::start(sandbox);
        guard.wait_for(": oom_guard ");
        guard.wait_for(&format!("process {} exited after ", hog.pid()));
        assert_one_warning(sandbox);
        guard.stop();
    });
}

/// Sends until nobody can any more. A sender has a limit of its own, which may be less than the queue's.
fn fill_queue() {
    let is_taken = || {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.set_nonblocking(true).expect("a socket that does not wait");
        (0..10_000).take_while(|_| sender.send_to(b"<30>other: hello", "/dev/log").is_ok()).count()
    };
    while is_taken() > 0 {}
}

#[test]
fn a_syslog_socket_that_nobody_reads_delays_no_kill_and_the_next_one_is_found() {
    sandboxed(|sandbox| {
        if is_syslogd_missing() {
            return;
        }
        own_dev(sandbox);
        let deaf = UnixDatagram::bind("/dev/log").expect("a socket");
        fill_queue();
        let memory = FakeMemory::new(sandbox);
        let guard = guard_with_syslog(sandbox, &["-d"]);
        assert_borne(sandbox, &memory, &guard, || {
            drop(deaf);
            fs::remove_file("/dev/log").expect("remove the socket");
            drop(Syslogd::start(sandbox));
        });
        guard.stop();
    });
}

// ---- a file ----

fn guard_with_file(sandbox: &Sandbox, path: &Path, options: &[&str]) -> Guard {
    let path_option = ["--log-file", path.to_str().expect("UTF-8")];
    sandbox.guard_with_log(path, &[&path_option, options].concat())
}

/// `2026-11-28T23:00:00.042Z ` and a message.
fn is_stamped(line: &str) -> bool {
    let form = b"0000-00-00T00:00:00.000Z ";
    let fits = |(&byte, &form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    let is_stamped = line.len() > form.len() && line.as_bytes().iter().zip(form).all(fits);
    // The date once more is that of the line behind a torn one.
    is_stamped && !line[form.len()..].contains(&line[.."0000-00-00T".len()])
}

fn assert_all_stamped(log: &str) {
    assert!(log.ends_with('\n'), "{log}");
    log.lines().for_each(|line| assert!(is_stamped(line), "{line:?} in:\n{log}"));
}

#[test]
fn a_log_file_is_appended_to_with_the_time_in_utc_and_is_not_for_everyone() {
    sandboxed(|sandbox| {
        let path = sandbox.path("guard.log");
        let first = guard_with_file(sandbox, &path, &["--dryrun"]).stop();
        assert_eq!(mode(&path), 0o640);
        assert_all_stamped(&first);
        let second = guard_with_file(sandbox, &path, &["--dryrun"]).stop();
        assert!(second.starts_with(&first) && second.len() > first.len(), "{second}");
        assert_all_stamped(&second);
        assert_eq!(sandbox.stderr(), "");
        // `date` reads it, and it is the time.
        let stamp = second.lines().last().and_then(|line| line.split(' ').next()).expect("a time");
        let read = Command::new("date").args(["-u", "+%s", "-d", stamp]).output().expect("date");
        let Ok(read) = String::from_utf8(read.stdout).unwrap_or_default().trim().parse::<u64>()
        else {
            return skip("a date that reads no RFC 3339");
        };
        assert!(read <= seconds_now() && seconds_now() - read < 600, "{stamp}");
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Has lines flow while `rotate` is called that often. All that is then in the rotated files, oldest first, and in the
/// log.
fn text_of_rotated_logs(
    sandbox: &Sandbox,
    guard: &Guard,
    times: usize,
    rotate: impl Fn(usize) + Sync,
    file: impl Fn(usize) -> PathBuf,
) -> String {
    wait_for_a_new_look(guard);
    thread::scope(|scope| {
        let rotation = scope.spawn(|| (0..times).for_each(&rotate));
        while !rotation.is_finished() {
            guard.look_slowly(1);
            // Else a helper that waits for the disk might have more before it than finds room.
            wait_for("the helper", || guard.helper_waits());
        }
    });
    // An old helper may be about to end.
    wait_for("a single helper", || living("oom_guard").len() == 2);
    wait_for_a_new_look(guard);
    let text =
        |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let all: Vec<_> = (0..times).map(|time| text(file(time))).chain([guard.log()]).collect();
    all.iter().for_each(|log| assert_all_stamped(log));
    let all = all.concat();
    assert_eq!(all.lines().find(|line| line.contains(LOST)), None);
    assert_eq!(sandbox.stderr(), "");
    all
}

/// Wherever it stands.
fn assert_each_look_is_there_once(all: &str) {
    let mut looks: Vec<_> = all.lines().filter_map(look_number).collect();
    looks.sort_unstable();
    let expected: Vec<_> = (looks[0]..).take(looks.len()).collect();
    assert_eq!(looks, expected);
}

fn wait_for_lines_in(path: &Path) {
    wait_for("a new log with lines", || fs::metadata(path).is_ok_and(|log| log.len() > 0));
}

fn rotated_by_hand(sandbox: &Sandbox) -> String {
    let _memory = FakeMemory::new(sandbox);
    let path = sandbox.path("guard.log");
    let guard = guard_with_file(sandbox, &path, &["-d"]);
    let old = |time: usize| sandbox.path(&format!("guard.log.{time}"));
    let rotate = |time: usize| {
        fs::rename(&path, old(time)).expect("rename");
        guard.signal(libc::SIGHUP);
        wait_for_lines_in(&path);
    };
    let all = text_of_rotated_logs(sandbox, &guard, 60, rotate, old);
    guard.stop();
    all
}

#[test]
fn no_line_is_lost_or_torn_by_many_rotations() {
    sandboxed(|sandbox| assert_each_look_is_there_once(&rotated_by_hand(sandbox)));
}

#[test]
fn lines_keep_their_order_over_many_rotations() {
    sandboxed(|sandbox| assert_every_look_is_there_or_counted(&rotated_by_hand(sandbox)));
}

#[test]
fn logrotate_itself_loses_no_line() {
    sandboxed(|sandbox| {
        let Some(logrotate) = program("logrotate") else { return skip("no logrotate") };
        let _memory = FakeMemory::new(sandbox);
        let path = sandbox.path("guard.log");
        let guard = guard_with_file(sandbox, &path, &["-d"]);
        let settings = format!(
            "{} {{\n rotate 100\n start 0\n create\n postrotate\n kill -HUP {}\n endscript\n}}\n",
            path.display(),
            guard.pid()
        );
        let settings_file = sandbox.path("logrotate.conf");
        fs::write(&settings_file, settings).expect("settings");
        fs::set_permissions(&settings_file, Permissions::from_mode(0o644)).expect("mode");
        let times = 10;
        let rotate = |_| {
            let mut command = Command::new(&logrotate);
            command.arg("-f").arg("-s").arg(sandbox.path("state")).arg(&settings_file);
            assert!(command.status().expect("logrotate").success());
            wait_for_lines_in(&path);
        };
        // The oldest has the highest number.
        let old = |time: usize| sandbox.path(&format!("guard.log.{}", times - 1 - time));
        let all = text_of_rotated_logs(sandbox, &guard, times, rotate, old);
        assert_each_look_is_there_once(&all);
        assert_eq!(mode(&path), 0o640);
        guard.stop();
    });
}

// ---- the journal ----

/// Has standard error of the command be a file, of which `JOURNAL_STREAM` says that it is the journal: `inode` beside its
/// own.
fn with_stream(sandbox: &Sandbox, command: &mut Command, inode: u64) -> PathBuf {
    let path = sandbox.path("journal");
    let file = File::create(&path).expect("a file");
    let is = file.metadata().expect("the file");
    command.env("JOURNAL_STREAM", format!("{}:{}", is.dev(), is.ino() + inode)).stderr(file);
    path
}

#[test]
fn each_line_for_the_journal_carries_its_priority() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let log = sandbox.path("guard.log");
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let mut command = sandbox.guard_command(&["-d", "--log-file"]);
        command.arg(&log);
        let journal = with_stream(sandbox, &mut command, 0);
        // With a log file, only what is wrong with that comes here.
        fs::create_dir(&log).expect("a directory in the way");
        let guard = sandbox.start_guard_unheard(command).with_log(&journal);
        guard.wait_for("<4>warning: cannot write to ");
        guard.stop();

        let mut command = sandbox.guard_command(&["-d"]);
        with_stream(sandbox, &mut command, 0);
        let guard = sandbox.start_guard_unheard(command).with_log(&journal);
        guard.wait_for("<6>oom_guard ");
        guard.wait_for("<7>look ");
        expect_kill_on_time(&memory, &guard, &mut hog);
        let pid = hog.pid();
        guard.wait_for("<4>low memory! ");
        guard.wait_for(&format!("<4>sending SIGKILL to process {pid} uid 0 \"hog\""));
        guard.wait_for(&format!("<5>process {pid} exited after "));
        memory.recover(&guard);
        memory.available(VERY_LOW);
        guard.wait_for("<3>no process to kill");
        memory.recover(&guard);
        let log = guard.stop();
        assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
    });
}

#[test]
fn what_is_said_before_the_start_has_a_priority_in_the_journal_too() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        for (options, status, said) in [
            (&["-m", "abc"][..], 2, "<3>oom_guard: -m: "),
            (&["--check", "--ignore", "nothing of this name"], 0, "<4>oom_guard: warning: "),
            (&["--check", "-k"], 0, "<5>oom_guard: notice: "),
        ] {
            let mut command = sandbox.guard_command(options);
            let journal = with_stream(sandbox, &mut command, 0);
            assert_eq!(command.status().expect("the guard").code(), Some(status));
            let log = fs::read_to_string(journal).expect("what it said");
            assert!(log.contains(said) && log.lines().all(|line| line.starts_with('<')), "{log}");
        }
    });
}

#[test]
fn a_standard_error_that_is_not_the_journal_has_plain_lines() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        // As of a service whose standard error was led elsewhere.
        let mut command = sandbox.guard_command(&["-d"]);
        let journal = with_stream(sandbox, &mut command, 1);
        let guard = sandbox.start_guard_unheard(command).with_log(&journal);
        guard.wait_for("look ");
        let log = guard.stop();
        assert!(log.lines().all(|line| !line.starts_with('<')), "{log}");
        for other in ["", ":", "0:0", "18446744073709551615:18446744073709551616"] {
            let mut command = sandbox.guard_command(&["-m", "abc"]);
            let journal = with_stream(sandbox, &mut command, 0);
            command.env("JOURNAL_STREAM", other);
            assert_eq!(command.status().expect("the guard").code(), Some(2));
            let log = fs::read_to_string(journal).expect("what it said");
            assert!(log.starts_with("oom_guard: -m: "), "{log}");
        }
    });
}

// ---- a file that takes nothing ----

/// A small file system of its own.
fn small_disk(sandbox: &Sandbox) -> PathBuf {
    let disk = sandbox.path("disk");
    fs::create_dir(&disk).expect("a directory");
    mount_tmpfs(&disk, "size=64k,mode=755");
    disk
}

/// Takes all the room there is; removed, the disk has room again.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).expect("a file");
    while file.write(&[0; 4096]).is_ok_and(|len| len > 0) {}
    path
}

#[test]
fn a_full_disk_delays_no_kill_and_what_is_lost_is_said() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let disk = small_disk(sandbox);
        let path = disk.join("guard.log");
        let guard = guard_with_file(sandbox, &path, &["-d"]);
        let filler = fill(&disk);
        wait_for_warning(sandbox, &guard, &path);
        assert_borne(sandbox, &memory, &guard, || fs::remove_file(&filler).expect("remove"));
        assert_all_stamped(&guard.log());
        assert_one_warning(sandbox);
        guard.stop();
    });
}

#[test]
fn a_read_only_disk_delays_no_kill_and_what_is_lost_is_said() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let disk = small_disk(sandbox);
        let path = disk.join("guard.log");
        let change =
            |flags| mount(None, &disk, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None);
        change(libc::MS_RDONLY).expect("remount read-only");
        let guard = guard_with_file(sandbox, &path, &["-d"]);
        wait_for_warning(sandbox, &guard, &path);
        assert_borne(sandbox, &memory, &guard, || change(0).expect("remount"));
        assert_all_stamped(&guard.log());
        assert_one_warning(sandbox);
        guard.stop();
    });
}

#[test]
fn a_directory_that_was_removed_delays_no_kill_and_is_found_again() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let folder = sandbox.path("folder");
        fs::create_dir(&folder).expect("a directory");
        let path = folder.join("guard.log");
        let guard = guard_with_file(sandbox, &path, &["-d"]);
        guard.wait_for("look ");
        fs::remove_dir_all(&folder).expect("remove");
        // Until then it writes to the file that has no name any more.
        guard.signal(libc::SIGHUP);
        wait_for_warning(sandbox, &guard, &path);
        wait_for("a single helper", || living("oom_guard").len() == 2);
        guard.look_slowly(3);
        assert_borne(sandbox, &memory, &guard, || fs::create_dir(&folder).expect("a directory"));
        assert_all_stamped(&guard.log());
        guard.stop();
    });
}

#[test]
fn a_fifo_without_a_reader_delays_no_kill_and_gets_its_lines_once_it_has_one() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (path, copy) = (sandbox.path("fifo"), sandbox.path("copy"));
        make_fifo(&path);
        let option = ["-d", "--log-file", path.to_str().expect("UTF-8")];
        let guard = sandbox.guard_with_log(&copy, &option);
        wait_for_warning(sandbox, &guard, &path);
        let mut reader = None;
        assert_borne(sandbox, &memory, &guard, || {
            let mut command = Command::new("cat");
            command.arg(&path).stdout(File::create(&copy).expect("a copy"));
            reader = Some(command.spawn().expect("cat"));
        });
        assert_one_warning(sandbox);
        guard.stop();
        reader.expect("cat").wait().expect("its end");
        assert_all_stamped(&fs::read_to_string(&copy).expect("the copy"));
    });
}

#[test]
fn what_waits_for_room_outlives_a_rotation_or_is_counted() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let disk = small_disk(sandbox);
        let path = disk.join("guard.log");
        let guard = guard_with_file(sandbox, &path, &["-d"]);
        let filler = fill(&disk);
        wait_for_warning(sandbox, &guard, &path);
        guard.look_slowly(10);
        // As logrotate does, which has found no room either.
        guard.signal(libc::SIGHUP);
        guard.look_slowly(10);
        fs::remove_file(filler).expect("remove");
        wait_for_a_new_look(&guard);
        let log = guard.log();
        assert_all_stamped(&log);
        assert_every_look_is_there_or_counted(&log);
        guard.stop();
    });
}

#[test]
fn a_standard_error_on_a_full_disk_says_how_much_it_has_lost_and_tears_no_line() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let disk = small_disk(sandbox);
        let path = disk.join("guard.log");
        let mut command = sandbox.guard_command(&["-d"]);
        command.stderr(File::options().create(true).append(true).open(&path).expect("a log"));
        let guard = sandbox.start_guard_unheard(command).with_log(&path);
        wait_for_a_new_look(&guard);
        let filler = fill(&disk);
        guard.look_slowly(200);
        fs::remove_file(filler).expect("remove");
        wait_for_a_new_look(&guard);
        let log = guard.log();
        let begins_well = |line: &str| line.starts_with("look ") || line.contains(LOST);
        let looks = &log[log.find("look ").expect("a look")..];
        assert!(looks.lines().all(begins_well), "{log}");
        assert_every_look_is_there_or_counted(&log);
        guard.stop();
    });
}

// ---- numbers ----

/// Values by name and labels, as `NAME{LABEL=VALUE,…}`.
type Samples = BTreeMap<String, f64>;

/// Reads pages, each behind a NUL, by Prometheus' own parser; prints the samples of each and then an empty line.
const PARSE: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
for page in sys.stdin.read().split('\\0')[1:]:
    for family in parse(page):
        assert family.type in ('gauge', 'counter') and family.documentation, family
        assert family.samples, family
        for sample in family.samples:
            labels = ','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))
            print(f'{sample.name}{{{labels}}}', sample.value)
    print()
";

/// The Python that has that parser.
fn python() -> Option<&'static str> {
    // Another one may come first in PATH, without the distribution's packages.
    let mut pythons = ["/usr/bin/python3", "python3"].into_iter();
    pythons.find(|python| {
        let mut command = Command::new(python);
        command.args(["-c", "import prometheus_client.parser"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn parsed(python: &str, pages: &[String]) -> Vec<Samples> {
    let mut command = Command::new(python);
    command.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python");
    let mut stdin = child.stdin.take().expect("a pipe");
    for page in pages {
        write!(stdin, "\0{page}").expect("python reads");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("python");
    assert!(output.status.success(), "{pages:#?}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_string(), value.parse().expect("a number"))
    };
    let all: Vec<_> =
        said.split_terminator("\n\n").map(|p| p.lines().map(sample).collect()).collect();
    assert_eq!(all.len(), pages.len());
    all
}

const PYTHON_MISSING: &str = "no Python with prometheus_client";

fn guard_with_stats(sandbox: &Sandbox, path: &Path, options: &[&str]) -> Guard {
    let stats = ["--stats-file", path.to_str().expect("UTF-8")];
    sandbox.guard(&[&stats, options].concat())
}

/// From the first line to the last; which families there are is the parser's matter.
fn is_whole(page: &str) -> bool {
    page.starts_with("# HELP oom_guard_info ")
        && page.ends_with('\n')
        && page
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("oom_guard_resident_bytes{process=\"helper\"} "))
}

fn kills(signal: &str, reason: &str) -> String {
    format!("oom_guard_kills_total{{reason={reason},signal={signal}}}")
}

#[test]
fn the_numbers_are_those_of_memory_of_the_kills_and_of_the_guard_itself() {
    sandboxed(|sandbox| {
        let Some(python) = python() else { return skip(PYTHON_MISSING) };
        let memory = FakeMemory::new(sandbox);
        let mut amounts = Amounts { swap_total: 100, swap_free: 70, ..Amounts::available(PLENTY) };
        memory.set(amounts);
        let path = sandbox.path("guard.prom");
        let limited = ["--process-limit", "100M", "--interval", "0.1", "--grace", "1"];
        let options = [&limited[..], &["-s", "100,100", "--cooldown", "0"]].concat();
        let guard = guard_with_stats(sandbox, &path, &options);
        wait_for("a file at the start", || path.exists());
        let page = || fs::read_to_string(&path).expect("the file");
        let first = parsed(python, &[page()]).remove(0);
        assert_eq!(first[&kills("SIGTERM", "memory")], 0.0);
        assert!(!first.contains_key("oom_guard_last_victim_bytes{}"), "{first:?}");
        assert_eq!(mode(&path), 0o644);

        let ended = |hog: &mut Hog| {
            hog.wait_for_end();
            memory.set(Amounts { available: PLENTY, anon: 400, ..amounts });
            guard.make_look(2);
            guard.wait_for(&format!("process {} exited after ", hog.pid()));
        };
        // One that obeys, one that does not, one that is not asked.
        for (available, options) in [(LOW, &[][..]), (LOW, &["--ignore-term"]), (VERY_LOW, &[])] {
            let mut hog = sandbox.hog(&[&["--size", "60M"], options].concat());
            memory.set(Amounts { available, anon: 1000 - available, ..amounts });
            ended(&mut hog);
        }
        // Above the limit: one that obeys, one that does not.
        for options in [&[][..], &["--ignore-term"]] {
            let command = sandbox.hog_command(&[&["--size", "150M"], options].concat());
            ended(&mut Hog::start_unready(command));
        }
        // They come after all that is said.
        let last = "oom_guard_kills_total{signal=\"SIGKILL\",reason=\"limit\"} 1\n";
        wait_for("numbers of the last kill", || page().contains(last));
        let samples = parsed(python, &[page()]).remove(0);
        assert_eq!(samples[&kills("SIGTERM", "memory")], 2.0);
        assert_eq!(samples[&kills("SIGKILL", "memory")], 2.0);
        assert_eq!(samples[&kills("SIGTERM", "limit")], 2.0);
        assert_eq!(samples[&kills("SIGKILL", "limit")], 1.0);
        let mib = |name: &str| samples[&format!("oom_guard_{name}_bytes{{}}")] / f64::from(1 << 20);
        assert!((100.0..155.0).contains(&mib("last_victim")), "{samples:?}");
        let at = samples["oom_guard_last_victim_timestamp_seconds{}"] as u64;
        assert!(at <= seconds_now() && seconds_now() - at < 60, "{samples:?}");

        amounts.available = 500;
        memory.set(amounts);
        guard.make_look(1);
        // Read again, the settings are followed by numbers.
        let before = fs::metadata(&path).expect("the file").ino();
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings were read again");
        wait_for("new numbers", || fs::metadata(&path).is_ok_and(|file| file.ino() != before));
        let samples = parsed(python, &[page()]).remove(0);
        let mib = |name: &str| samples[&format!("oom_guard_{name}_bytes{{}}")] / f64::from(1 << 20);
        assert_eq!((mib("memory_total"), mib("memory_available")), (1000.0, 500.0));
        assert_eq!(mib("memory_user"), 900.0);
        assert_eq!((mib("swap_total"), mib("swap_free")), (100.0, 70.0));
        assert_eq!(samples[&kills("SIGKILL", "limit")], 1.0);
        let version = format!("oom_guard_info{{version={}}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(samples[&version], 1.0);
        wait_for("a single helper", || living("oom_guard").len() == 2);
        let helper = guard.helper().expect("a helper");
        for (process, pid) in [("watch", guard.pid()), ("helper", helper)] {
            let said = samples[&format!("oom_guard_resident_bytes{{process={process}}}")];
            // What a processor has counted by itself may be missing (`percpu_counter`).
            let difference = (said - resident_bytes(pid)).abs();
            assert!(difference <= f64::from(512 << 10), "{process}: {said}, off by {difference}");
        }
        guard.stop();
    });
}

fn resident_bytes(pid: u32) -> f64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("statm");
    let pages: f64 = statm.split(' ').nth(1).expect("resident pages").parse().expect("a number");
    // SAFETY: takes no pointer.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64
}

#[test]
fn a_reader_finds_whole_numbers_always_and_counters_never_fall() {
    sandboxed(|sandbox| {
        let Some(python) = python() else { return skip(PYTHON_MISSING) };
        let _memory = FakeMemory::new(sandbox);
        let path = sandbox.path("guard.prom");
        let limited = ["--process-limit", "20M", "--interval", "0.1", "--grace", "5"];
        let guard = guard_with_stats(sandbox, &path, &limited);
        wait_for("a file at the start", || path.exists());
        let start_unready = |options: &[&str]| Hog::start_unready(sandbox.hog_command(options));
        let mut pages: Vec<String> = Vec::new();
        thread::scope(|scope| {
            let kills = scope.spawn(|| {
                for _ in 0..30 {
                    start_unready(&["--size", "30M"]).wait_for_end();
                    guard.signal(libc::SIGHUP);
                }
            });
            while !kills.is_finished() {
                let page = fs::read_to_string(&path).expect("a file is there always");
                if pages.last() != Some(&page) {
                    pages.push(page);
                }
            }
        });
        // A busy machine lets the reader miss some of them.
        assert!(pages.len() > 2, "only {} different ones", pages.len());
        pages.iter().for_each(|page| assert!(is_whole(page), "{page:?}"));
        let page = || fs::read_to_string(&path).expect("a file is there always");
        let all_kills = "oom_guard_kills_total{signal=\"SIGTERM\",reason=\"limit\"} 30\n";
        wait_for("the numbers of the last kill", || page().contains(all_kills));
        pages.push(page());
        // Python is above the limit, too.
        let log = guard.stop();
        assert!(!log.contains("warning: "), "{log}");
        let all = parsed(python, &pages);
        let counters: Vec<_> = all[0].keys().filter(|name| name.contains("_total{")).collect();
        assert_eq!(counters.len(), 10, "{counters:?}");
        for two in all.windows(2) {
            assert!(counters.iter().all(|&name| two[0][name] <= two[1][name]), "{two:#?}");
        }
    });
}

#[test]
fn a_helper_that_is_relieved_writes_no_old_numbers_over_new_ones() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (path, file) = (sandbox.path("guard.prom"), sandbox.path("guard.conf"));
        let set = |timeout| {
            fs::write(&file, format!("OOM_GUARD_HOOK_TIMEOUT={timeout}\n")).expect("a file");
        };
        set(5);
        let guard = guard_with_stats(sandbox, &path, &["-c", file.to_str().expect("UTF-8")]);
        wait_for("a file at the start", || path.exists());
        let old = guard.helper().expect("a helper");
        signal_to(old, libc::SIGSTOP);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        set(6);
        guard.signal(libc::SIGHUP);
        let page = || fs::read_to_string(&path).expect("a file is there always");
        let kill = "oom_guard_kills_total{signal=\"SIGKILL\",reason=\"memory\"} 1\n";
        wait_for("numbers of the new one", || page().contains(kill));
        let looks = || number_after(&page(), "\noom_guard_looks_total ");
        let before = looks();
        signal_to(old, libc::SIGCONT);
        wait_for("a single helper", || living("oom_guard").len() == 2);
        assert!(looks() >= before, "{} looks, and {before} before", looks());
        guard.stop();
    });
}

#[test]
fn numbers_are_written_every_fifteen_seconds_although_nothing_happens() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let path = sandbox.path("guard.prom");
        let guard = guard_with_stats(sandbox, &path, &["-r", "0.1"]);
        wait_for("a file at the start", || path.exists());
        let times = || fs::metadata(&path).map(|file| (file.ino(), file.mtime())).ok();
        let first = times().expect("the file");
        let next = || times().filter(|next| next.0 != first.0);
        let next = wait_until(Duration::from_secs(60), next).expect("new numbers");
        assert!((14..=25).contains(&(next.1 - first.1)), "{first:?}, {next:?}");
        guard.stop();
    });
}

/// A place for numbers that takes none: one warning, kills on time, and numbers once it is mended.
fn assert_numbers_borne(sandbox: &Sandbox, path: &Path, mend: impl FnOnce()) {
    let memory = FakeMemory::new(sandbox);
    let guard = guard_with_stats(sandbox, path, &["--cooldown", "0"]);
    let warning = format!("warning: cannot write {}: ", path.display());
    guard.wait_for(&warning);
    let kill = || {
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        guard.wait_for(&format!("process {} exited after ", hog.pid()));
    };
    (0..3).for_each(|_| kill());
    assert_eq!(guard.count("warning: "), 1, "{}", guard.log());
    assert!(!path.exists() || is_whole(&fs::read_to_string(path).expect("the file")));
    mend();
    kill();
    let kills = "oom_guard_kills_total{signal=\"SIGKILL\",reason=\"memory\"} 4\n";
    // They come after all that is said.
    let page = || fs::read_to_string(path).ok();
    wait_for("numbers of the last kill", || page().is_some_and(|page| page.contains(kills)));
    let page = page().expect("the file");
    assert!(is_whole(&page), "{page}");
    guard.stop();
}

#[test]
fn a_missing_directory_for_numbers_is_said_once_and_found_when_it_comes() {
    sandboxed(|sandbox| {
        let folder = sandbox.path("folder");
        let make = || fs::create_dir(&folder).expect("a directory");
        assert_numbers_borne(sandbox, &folder.join("guard.prom"), make);
    });
}

#[test]
fn a_full_disk_for_numbers_is_said_once_and_used_when_it_has_room() {
    sandboxed(|sandbox| {
        let disk = small_disk(sandbox);
        let filler = fill(&disk);
        let make_room = || fs::remove_file(&filler).expect("remove");
        assert_numbers_borne(sandbox, &disk.join("guard.prom"), make_room);
    });
}

#[test]
fn a_read_only_disk_for_numbers_is_said_once_and_used_when_it_can_be_written() {
    sandboxed(|sandbox| {
        let disk = small_disk(sandbox);
        let change =
            |flags| mount(None, &disk, None, libc::MS_REMOUNT | libc::MS_BIND | flags, None);
        change(libc::MS_RDONLY).expect("remount read-only");
        let make_writable = || change(0).expect("remount");
        assert_numbers_borne(sandbox, &disk.join("guard.prom"), make_writable);
    });
}

#[test]
fn a_link_in_the_way_of_numbers_is_not_followed() {
    sandboxed(|sandbox| {
        let (path, beside) = (sandbox.path("guard.prom"), sandbox.path("guard.prom.tmp"));
        let (precious, missing) = (sandbox.path("precious"), sandbox.path("missing"));
        fs::write(&precious, "precious").expect("a file");
        for target in [&precious, &missing] {
            let _ = fs::remove_file(&beside);
            symlink(target, &beside).expect("a link");
            let guard = guard_with_stats(sandbox, &path, &[]);
            wait_for("numbers or a warning", || path.exists() || guard.count("cannot write ") == 1);
            guard.stop();
            assert_eq!(fs::read_to_string(&precious).expect("the file"), "precious");
            assert!(!missing.exists());
        }
    });
}

// ---- a terminal ----

/// Both ends of a terminal: what a person has before him, and what a program writes to.
fn terminal() -> io::Result<(File, File)> {
    let mut ends = [-1; 2];
    let [person, program] = &mut ends;
    // SAFETY: both places have room for a descriptor; no name, no settings and no size are asked for.
    match unsafe { libc::openpty(person, program, null_mut(), null_mut(), null_mut()) } {
        // SAFETY: the kernel has just handed out both, and nobody else has them.
        0 => Ok(unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts the guard with a log file and the terminal as standard error.
fn guard_on_terminal(sandbox: &Sandbox, path: &Path, terminal: File, options: &[&str]) -> Guard {
    let mut command = sandbox.guard_command(options);
    command.arg("--log-file").arg(path).stderr(terminal);
    let guard = sandbox.start_guard_unheard(command).with_log(path);
    guard.wait_for("mem avail: ");
    guard
}

#[test]
fn on_a_terminal_a_log_file_is_written_and_the_person_sees_the_same() {
    sandboxed(|sandbox| {
        let (mut person, terminal) = match terminal() {
            Ok(ends) => ends,
            Err(error) => return skip(&format!("no pseudo-terminal: {error}")),
        };
        let _memory = FakeMemory::new(sandbox);
        let path = sandbox.path("guard.log");
        let guard = guard_on_terminal(sandbox, &path, terminal, &[]);
        // On a terminal once a second, unless told otherwise.
        guard.wait_for_many("mem avail: ", 3);
        let log = guard.stop();
        assert_all_stamped(&log);
        set_blocking(&person, false);
        let mut seen = Vec::new();
        // Ends with an error, as that of a terminal whose other side was closed does.
        let _ = person.read_to_end(&mut seen);
        let seen = String::from_utf8(seen).expect("UTF-8").replace("\r\n", "\n");
        let seen = whatever_the_speed(seen);
        let stamp = "0000-00-00T00:00:00.000Z ".len();
        let unstamped: String = log.lines().map(|line| line[stamp..].to_string() + "\n").collect();
        assert_eq!(seen, unstamped);
    });
}

#[test]
fn a_terminal_that_nobody_reads_holds_up_neither_a_kill_nor_the_log_file() {
    sandboxed(|sandbox| {
        let (_person, terminal) = match terminal() {
            Ok(ends) => ends,
            Err(error) => return skip(&format!("no pseudo-terminal: {error}")),
        };
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let path = sandbox.path("guard.log");
        let guard = guard_on_terminal(sandbox, &path, terminal, &["-d"]);
        let helper = guard.helper();
        // More than a terminal takes; the kernel keeps about 70 KiB for one. Not more at a time than a helper that waits
        // for the disk finds room for.
        for _ in 0..10 {
            let before = guard.looks();
            guard.look_slowly(100);
            wait_for("the looks in the log file", || guard.looks() >= before + 100);
        }
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        let exit = format!("process {} exited after ", hog.pid());
        guard.wait_for_within(Duration::from_secs(5), &exit, 1);
        assert_eq!(guard.helper(), helper);
        let log = guard.stop();
        let before = log.split_once("low memory!").expect("the kill").0;
        assert_every_look_is_there_or_counted(before);
        assert_eq!(log.lines().find(|line| line.contains(LOST)), None);
    });
}

// ---- processes that lie ----

/// What would pass for other lines, and what would paint over them.
const LIES: [&str; 4] = ["x\\n<24>fake: y", "a\\x0d\\x1b[2Kb", "\\x1b]0;t\\x07", "\") exited\\n"];

/// Has a guard end processes with such names and command lines.
fn tell_lies(sandbox: &Sandbox, memory: &FakeMemory, guard: &Guard) {
    for name in LIES {
        let mut command = sandbox.hog_command(&["--size", "60M", "--name", name]);
        command.arg0("evil\n2026-01-01T00:00:00.000Z process 1 exited\x1b[1A\r\n<0>init: forged");
        let mut hog = Hog::start(command);
        memory.available(VERY_LOW);
        hog.wait_for_end();
        memory.recover(guard);
        guard.wait_for(&format!("process {} exited after ", hog.pid()));
    }
}

/// The beginnings of all that is said by the guard without `-d` from its start to its end, with a limit reached.
const BEGINNINGS: [&str; 10] = [
    "oom_guard ",
    "mem total: ",
    "sending SIG",
    "        SIGKILL ",
    "        SIGTERM also ",
    // Where the kernel tells of no stalls.
    "notice: no pressure information ",
    "mem avail: ",
    "low memory! ",
    "process ",
    "stopped by a signal",
];

fn assert_unforged<'a>(said: impl Iterator<Item = &'a str>) {
    let mut kills = 0;
    for text in said {
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)), "{text:?}");
        kills += usize::from(text.starts_with("process "));
    }
    assert_eq!(kills, LIES.len());
}

#[test]
fn no_process_forges_a_line_in_a_log_file() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let guard = guard_with_file(sandbox, &sandbox.path("guard.log"), &["--cooldown", "0"]);
        tell_lies(sandbox, &memory, &guard);
        let log = guard.stop();
        assert_all_stamped(&log);
        assert_unforged(log.split_terminator('\n').map(|line| line.split_once(' ').unwrap().1));
    });
}

#[test]
fn no_process_forges_a_line_of_syslog() {
    sandboxed(|sandbox| {
        if is_syslogd_missing() {
            return;
        }
        own_dev(sandbox);
        let _syslogd = Syslogd::start(sandbox);
        let memory = FakeMemory::new(sandbox);
        let guard = guard_with_syslog(sandbox, &["--cooldown", "0"]);
        tell_lies(sandbox, &memory, &guard);
        let tag = format!(" oom_guard[{}]: ", guard.pid());
        let log = guard.stop();
        let ours = || log.split_terminator('\n').filter_map(|line| line.split_once(&tag));
        assert_unforged(ours().map(|(_, said)| said));
        assert!(ours().all(|(before, _)| before.contains(" daemon.")), "{log}");
        // The other lines are syslogd's own.
        let others = log.split_terminator('\n').filter(|line| !line.contains(&tag));
        others.for_each(|line| assert!(line.contains(" syslog.info syslogd "), "{line:?}"));
    });
}
