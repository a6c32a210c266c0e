//! The writer of a tmpfs: a real one, whose file lies on a tmpfs of the test's own, on memory of its making.

mod common;

use common::*;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// What is written at a time, and how often: 50 MiB a second, whatever the machine's speed.
const PIECE: usize = 1 << 20;
const EVERY: Duration = Duration::from_millis(20);

/// 1000 MiB, of which processes hold 700. What is written to the tmpfs is available no more.
const AVAILABLE: u64 = 200;
const ANON: u64 = 700;
/// Memory is low with 122 MiB in the tmpfs, and at the level of SIGKILL with 163.
const MOST: u64 = 155;

struct Tmpfs {
    memory: FakeMemory,
    path: PathBuf,
    written: u64,
}

impl Tmpfs {
    fn new(sandbox: &Sandbox) -> Tmpfs {
        let path = sandbox.path("tmpfs");
        fs::create_dir(&path).expect("a directory");
        mount(None, &path, Some("tmpfs"), 0, Some("size=300M")).expect("a tmpfs");
        let tmpfs = Tmpfs { memory: FakeMemory::new(sandbox), path, written: 0 };
        tmpfs.tell(ANON);
        tmpfs
    }

    fn file(&self) -> File {
        File::create(self.path.join("file")).expect("a file on the tmpfs")
    }

    /// In meminfo, with so much that processes hold.
    fn tell(&self, anon: u64) {
        let line = |(key, mib): (&str, u64)| format!("{key:<15} {:>8} kB\n", mib << 10);
        let lines = [
            ("MemTotal:", 1000),
            ("MemAvailable:", AVAILABLE + ANON - anon - self.written),
            ("AnonPages:", anon),
            ("Shmem:", self.written),
        ];
        self.memory.write(&lines.into_iter().map(line).collect::<String>());
    }

    /// Has the program write what it is given, until it has ended or there is enough. How much that was.
    fn fill(&mut self, writer: &mut Child) -> u64 {
        let mut to = writer.stdin.take().expect("its standard input");
        while self.written < MOST && to.write_all(&[1; PIECE]).is_ok() {
            self.written += 1;
            self.tell(ANON);
            thread::sleep(EVERY);
        }
        writer.stdin = Some(to);
        self.written
    }
}

/// Copies what it is given.
fn cat(command: &mut Command, to: File) -> Child {
    command.stdin(Stdio::piped()).stdout(to).spawn().expect("a program that copies")
}

/// The ordinary choice.
fn innocent(sandbox: &Sandbox) -> Hog {
    sandbox.hog(&["--size", "60M", "--adj", "300"])
}

const GROWN: &str = "writes to a tmpfs: its file has grown by ";

#[test]
fn the_writer_is_ended_whatever_its_size_and_none_for_what_it_has_left() {
    sandboxed(|sandbox| {
        let mut tmpfs = Tmpfs::new(sandbox);
        let (mut hog, stats) = (innocent(sandbox), sandbox.path("stats"));
        let hook = sandbox.script("hook", "echo \"$OOM_GUARD_PID $OOM_GUARD_REASON\" >$dir/told");
        let guard =
            sandbox.guard(&["-N", &hook, "--stats-file", stats.to_str().expect("a plain path")]);
        let mut writer = cat(&mut Command::new("cat"), tmpfs.file());
        let written = tmpfs.fill(&mut writer);
        assert!(written > 110, "{written}");
        let pid = writer.id();
        writer.wait().expect("its end");
        let line = guard.wait_for(GROWN);
        assert!(line.contains(&format!("process {pid} {GROWN}")), "{line}");
        assert_eq!(guard.signals_to(pid).len(), 1);
        // Memory is as low as before.
        guard.wait_for("files in tmpfs hold ");
        guard.make_look(10);
        let told = || fs::read_to_string(sandbox.path("told")).unwrap_or_default();
        wait_for("the hook", || told() == format!("{pid} tmpfs\n"));
        assert!(hog.is_alive() && guard.count("useless") == 0);
        let sample = "oom_guard_kills_total{signal=\"SIGTERM\",reason=\"tmpfs\"} 1\n";
        assert!(fs::read_to_string(&stats).expect("numbers").contains(sample));
        // Now a process takes more.
        tmpfs.tell(ANON + 20);
        hog.wait_for_end();
        guard.stop();
    });
}

#[test]
fn a_shell_outlives_what_it_has_started_on_a_file_of_its_own() {
    sandboxed(|sandbox| {
        let mut tmpfs = Tmpfs::new(sandbox);
        let mut hog = innocent(sandbox);
        let guard = sandbox.guard(&[]);
        let mut shell = cat(
            Command::new("sh").args(["-c", "cat; exec </dev/null; kill -STOP $$"]),
            tmpfs.file(),
        );
        wait_for("its child", || !living("cat").is_empty());
        let child = living("cat")[0];
        tmpfs.fill(&mut shell);
        guard.wait_for(&format!("process {child} {GROWN}"));
        wait_for("its end", || living("cat").is_empty());
        assert!(shell.try_wait().expect("wait").is_none() && hog.is_alive());
        shell.kill().and_then(|()| shell.wait()).expect("its end");
        guard.stop();
    });
}

#[test]
fn a_writer_that_is_protected_lives_and_the_ordinary_choice_goes_on() {
    sandboxed(|sandbox| {
        let mut tmpfs = Tmpfs::new(sandbox);
        let mut hog = innocent(sandbox);
        let guard = sandbox.guard(&["--ignore", "^cat$"]);
        let mut writer = cat(&mut Command::new("cat"), tmpfs.file());
        tmpfs.fill(&mut writer);
        hog.wait_for_end();
        assert!(writer.try_wait().expect("wait").is_none());
        assert_eq!(guard.count(GROWN), 0);
        guard.stop();
        writer.kill().and_then(|()| writer.wait()).expect("its end");
    });
}

#[test]
fn what_memory_does_not_fall_for_is_no_reason() {
    sandboxed(|sandbox| {
        let mut tmpfs = Tmpfs::new(sandbox);
        let mut hog = innocent(sandbox);
        let guard = sandbox.guard(&[]);
        // It was there before.
        let mut writer = cat(&mut Command::new("cat"), tmpfs.file());
        let mut to = writer.stdin.take().expect("its standard input");
        for _ in 0..100 {
            to.write_all(&[1; PIECE]).expect("write");
        }
        tmpfs.written = 100;
        tmpfs.tell(ANON);
        guard.make_look(3);
        thread::sleep(Duration::from_millis(1500));
        // Processes take the rest, and a little is written meanwhile.
        for anon in 0..60 {
            if anon % 10 == 0 {
                to.write_all(&[1; PIECE]).expect("write");
                tmpfs.written += 1;
            }
            tmpfs.tell(ANON + anon);
            thread::sleep(EVERY);
        }
        hog.wait_for_end();
        assert!(writer.try_wait().expect("wait").is_none());
        guard.stop();
        writer.kill().and_then(|()| writer.wait()).expect("its end");
    });
}
