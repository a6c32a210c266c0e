//! The real guard among real processes, in a world of their own.
//!
//! Each test runs in PID and mount namespaces that are made for it, so the guard sees nothing but the processes
//! of that test and can hit nothing else. The test runs itself once more in there: `sandboxed` is its outside and its
//! inside. When the inside ends, in whatever way, the kernel ends all that it has started.

// Each file of tests is a program of its own and uses only some of this.
#![allow(dead_code)]

pub mod small;

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, mem, ptr, thread};

/// What an event may take on a machine that is busy with other things. Nothing should take nearly as long; but a busy
/// virtual machine was seen to need 20 s for an RCU grace period, for which every process waits that gives up a pressure
/// trigger or a mount.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a whole test may take, before its world is ended.
pub const LIFETIME: Duration = Duration::from_secs(180);

/// Where the inside of a test finds its directory; not set outside.
const INSIDE: &str = "GUARD_TEST_DIR";

/// Nobody's number everywhere, and nothing belongs to it.
pub const NOBODY: u32 = 65534;

// ---- outside and inside ----

/// Runs `body` in a world of its own. `body` must be a closure within the test function: the name of the test is known
/// by it.
pub fn sandboxed<F: FnOnce(&Sandbox)>(body: F) {
    sandboxed_for(LIFETIME, body);
}

/// The same with another time after which its world is ended.
pub fn sandboxed_for<F: FnOnce(&Sandbox)>(lifetime: Duration, body: F) {
    match env::var_os(INSIDE) {
        Some(dir) => body(&Sandbox::enter(PathBuf::from(dir))),
        None => run_inside(test_name::<F>(), lifetime),
    }
}

/// Says why a test is not made; for its last line.
pub fn skip(why: &str) {
    // Not `eprintln`, which is kept back for tests that pass.
    let _ = writeln!(io::stderr(), "skip: {why}");
}

/// Whether the guard runs in an emulator of another processor, which is seen by the kernel in its place: with threads,
/// memory and page faults of its own. Says so as the reason for skipping.
pub fn skip_where_emulated(why: &str) -> bool {
    let emulated = env::var("GUARD_EMULATED").is_ok_and(|target| !target.is_empty());
    if emulated {
        skip(&format!("an emulator is in between, {why}"));
    }
    emulated
}

/// A number that is worth a look although the test passes; shown like the reasons for skipping.
pub fn note(what: &str) {
    eprintln!("noted: {what}");
}

/// `crate::path::test::{{closure}}` without its ends.
fn test_name<F>() -> &'static str {
    let name = std::any::type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").expect("sandboxed wants a closure");
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

fn run_inside(test: &str, lifetime: Duration) {
    if let Err(why) = namespaces() {
        return skip(&format!("{test}: {why}"));
    }
    let _turn = Turn::take();
    let dir = tempfile::tempdir().expect("a directory for the test");
    // Guards and hogs of other users must get there, too.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("permissions");
    let output = dir.path().join("output");
    let file = File::create(&output).expect("a file for the output");
    let mut command = Command::new("sh");
    // A first process that waits for all there are: orphans do not stay as zombies.
    command.args(["-c", "\"$@\"; exit $?", "sh"]).arg(env::current_exe().expect("own path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    // Neither settings of the guard nor addresses of a desktop or of a supervisor.
    let kept = |name: &OsStr| {
        let begins = ["GUARD_", "RUST_", "PATH", "TMPDIR"];
        begins.iter().any(|begin| name.as_bytes().starts_with(begin.as_bytes()))
    };
    command.env_clear().envs(env::vars_os().filter(|(name, _)| kept(name)));
    command.env(INSIDE, dir.path());
    command.stdin(Stdio::null()).stderr(file.try_clone().expect("output")).stdout(file);
    isolate(&mut command);
    let mut child = command.spawn().expect("a shell");
    let ended = wait_until(lifetime, || child.try_wait().expect("wait"));
    if ended.is_none() {
        // With it goes its namespace.
        let _ = child.kill();
        let _ = child.wait();
    }
    let said = String::from_utf8_lossy(&fs::read(&output).expect("output")).into_owned();
    // Behind the name of the test, which has no newline yet.
    said.lines().filter_map(|line| line.split_once("skip: ")).for_each(|(_, why)| {
        skip(&format!("{test}: {why}"));
    });
    said.lines().filter_map(|line| line.split_once("noted: ")).for_each(|(_, what)| {
        let _ = writeln!(io::stderr(), "noted: {test}: {what}");
    });
    let passed = said.contains("test result: ok. 1 passed");
    assert!(passed && ended.is_some_and(|status| status.success()), "{ended:?} inside:\n{said}");
}

/// What the processes of one test hold at most. A test that wants more asks for it by `has_available`.
const TEST_MIB: u64 = 500;

/// So many tests at a time as there is room for, and one at least: else the hogs of all would fill a small machine.
struct Turn;

static RUNNING: Mutex<u64> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Turn {
        static AT_ONCE: OnceLock<u64> = OnceLock::new();
        let at_once = *AT_ONCE.get_or_init(|| (available_mib() / TEST_MIB).max(1));
        let running = RUNNING.lock().expect("no test panics with it");
        let mut running = ENDED
            .wait_while(running, |running| *running >= at_once)
            .expect("no test panics with it");
        *running += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().expect("no test panics with it") -= 1;
        ENDED.notify_one();
    }
}

pub fn available_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    line.map_or(0, |line| number_after(line, ":") >> 10)
}

/// Whether so much is available; says it as the reason for skipping, if not. Of no use once there is a `FakeMemory`.
pub fn has_available(mib: u64) -> bool {
    let available = available_mib();
    if available < mib {
        skip(&format!("only {available} MiB are available"));
    }
    available >= mib
}

/// Whether this machine lets the tests make namespaces; if not, why.
fn namespaces() -> &'static Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED.get_or_init(|| {
        let mut command = Command::new("true");
        isolate(&mut command);
        match command.stdin(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("a process in namespaces of its own: {status}")),
            Err(error) => Err(format!("namespaces are refused: {error}")),
        }
    })
}

/// Has `command` start as the first process of a PID and a mount namespace, where an ordinary user becomes root. All ends
/// with that process, and that process with this one: a test that is interrupted leaves nothing behind.
///
/// Not by unshare(1): its options differ between util-linux and BusyBox, and not every BusyBox has it.
fn isolate(command: &mut Command) {
    // SAFETY: both take nothing and cannot fail.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let (mut kinds, mut maps) = (libc::CLONE_NEWNS | libc::CLONE_NEWPID, Vec::new());
    if user != 0 {
        kinds |= libc::CLONE_NEWUSER;
        // In this order; see user_namespaces(7).
        maps.push((c"/proc/self/setgroups", "deny".to_string()));
        maps.push((c"/proc/self/uid_map", format!("0 {user} 1")));
        maps.push((c"/proc/self/gid_map", format!("0 {group} 1")));
    }
    let enter = move || {
        // SAFETY: takes a number.
        succeed(unsafe { libc::unshare(kinds) })?;
        maps.iter().try_for_each(|(path, text)| write_file(path, text))?;
        die_with_parent()?;
        // A PID namespace begins with the next child, which becomes the program.
        // SAFETY: this process has one thread, as always between fork and exec.
        match succeed(unsafe { libc::fork() })? {
            0 => {}
            first => end_with(first),
        }
        die_with_parent()?;
        // No mount of the test is seen outside.
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let (none, proc) = (c"none".as_ptr(), c"proc".as_ptr());
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        // SAFETY: all strings end with NUL; neither call wants data.
        unsafe {
            succeed(libc::mount(none, c"/".as_ptr(), ptr::null(), private, ptr::null()))?;
            succeed(libc::mount(proc, c"/proc".as_ptr(), proc, flags, ptr::null()))?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(enter) };
}

/// What a system call has returned, with -1 as the error that it stands for.
pub fn succeed(returned: libc::c_int) -> io::Result<libc::c_int> {
    match returned {
        -1 => Err(io::Error::last_os_error()),
        returned => Ok(returned),
    }
}

/// Writes without allocating.
pub fn write_file(path: &CStr, text: &str) -> io::Result<()> {
    // SAFETY: `path` ends with NUL, and `text` has as many bytes as it says.
    unsafe {
        let file = succeed(libc::open(path.as_ptr(), libc::O_WRONLY))?;
        let written = libc::write(file, text.as_ptr().cast(), text.len());
        succeed(written as libc::c_int)?;
        succeed(libc::close(file)).map(drop)
    }
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes a number and no pointer.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    succeed(set).map(drop)
}

/// More descriptors than a test program has open.
const DESCRIPTORS: libc::c_int = 1024;

/// Waits for a child, and ends with success if it did.
fn end_with(child: libc::pid_t) -> ! {
    let mut status = 0;
    // Among them is the pipe that tells the parent, by being closed, that the program was started.
    // SAFETY: all take numbers, but for `status`, which lives for the call. Nothing here is used again after the closing.
    unsafe {
        for descriptor in 0..DESCRIPTORS {
            libc::close(descriptor);
        }
        while succeed(libc::waitpid(child, &mut status, 0))
            .is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
        {}
        libc::_exit(if status == 0 { 0 } else { 1 })
    }
}

// ---- waiting ----

/// Asks again and again until there is an answer.
pub fn wait_until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many descriptors a process has open at rest: the fewest of some looks, since it may be reading a file at any one.
pub fn descriptors_of(pid: u32) -> usize {
    let count = |_| {
        thread::sleep(Duration::from_millis(1));
        fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count()
    };
    (0..20).map(count).min().expect("some looks")
}

/// Waits until `holds`, or fails with `what` did not happen.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let done = wait_until(PATIENCE, || holds().then_some(()));
    assert!(done.is_some(), "waited in vain: {what}");
}

// ---- the inside ----

/// The inside of a test: its directory and the programs that it starts.
pub struct Sandbox {
    pub dir: PathBuf,
    guard: PathBuf,
    hog: PathBuf,
}

impl Sandbox {
    /// Copies the programs, since another user may not get to where they were built.
    fn enter(dir: PathBuf) -> Sandbox {
        // A machine may have a guard of its own.
        let empty = dir.join("empty");
        File::create(&empty).expect("an empty file");
        let settings = ["/etc/oom_guard.conf", "/etc/memory-monitor.conf"].map(Path::new);
        settings.iter().filter(|path| path.exists()).for_each(|path| bind_over(&empty, path));
        let guard = env::var_os("GUARD_BIN")
            .map_or(PathBuf::from(env!("CARGO_BIN_EXE_oom_guard")), PathBuf::from);
        let guard = copy(&guard, dir.join("oom_guard"));
        let hog = copy(&tools().join("hog"), dir.join("hog"));
        Sandbox { dir, guard, hog }
    }

    /// Another program that only tests use, where every user gets to.
    pub fn tool(&self, name: &str) -> PathBuf {
        copy(&tools().join(name), self.path(name))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The guard, for what needs more than `guard` does. Its messages go to nowhere yet.
    pub fn guard_command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.guard);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the guard and waits for its first look.
    pub fn guard(&self, options: &[&str]) -> Guard {
        self.start_guard(self.guard_command(options))
    }

    /// The same with a command that the test has changed.
    pub fn start_guard(&self, mut command: Command) -> Guard {
        let file = File::create(self.path("log")).expect("a log");
        command.stderr(file);
        let guard = self.spawn_guard(command);
        guard.wait_for("mem avail:");
        guard
    }

    /// The same for one whose messages go to a file of its own.
    pub fn start_guard_with_log(&self, mut command: Command, log: PathBuf) -> Guard {
        let guard = Guard { child: command.spawn().expect("the guard"), log };
        guard.wait_for("mem avail:");
        guard
    }

    /// Starts the guard with standard error as `command` has it. Returns when the helper is there, which is little before
    /// the first look.
    pub fn start_guard_unheard(&self, command: Command) -> Guard {
        let guard = self.spawn_guard(command);
        wait_for("a helper", || guard.helper().is_some());
        guard
    }

    /// Starts a guard whose messages come to `log` by its own doing. What it says on standard error all the same goes to
    /// the file `stderr`.
    pub fn guard_with_log(&self, log: &Path, options: &[&str]) -> Guard {
        let mut command = self.guard_command(options);
        command.stderr(File::create(self.path("stderr")).expect("a file for stderr"));
        let guard = self.start_guard_unheard(command).with_log(log);
        guard.look_slowly(3);
        guard
    }

    /// What that one has said on standard error.
    pub fn stderr(&self) -> String {
        whatever_the_speed(fs::read_to_string(self.path("stderr")).expect("stderr"))
    }

    fn spawn_guard(&self, mut command: Command) -> Guard {
        Guard { child: command.spawn().expect("the guard"), log: self.path("log") }
    }

    /// What `--explain` prints.
    pub fn explain(&self, options: &[&str]) -> String {
        let mut command = self.guard_command(options);
        let output = command.arg("--explain").stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = output.output().expect("the guard");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("--explain prints UTF-8")
    }

    pub fn hog_command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.hog);
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Writes a program for `sh` that finds the directory of the test in `$dir`; its path.
    pub fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(name);
        let dir = self.dir.to_str().expect("a plain path");
        fs::write(&path, format!("#!/bin/sh\ndir='{dir}'\n{body}\n")).expect("a script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("permissions");
        path.to_str().expect("a plain path").to_owned()
    }

    /// Starts a hog and waits until it has all that it should have.
    pub fn hog(&self, options: &[&str]) -> Hog {
        Hog::start(self.hog_command(options))
    }

    /// The same program, run by an ordinary user who owns nothing.
    pub fn command_as_nobody(&self, mut command: Command) -> Command {
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    /// Whether the test may start programs as another user: in a user namespace with one user it may not.
    pub fn has_other_users(&self) -> bool {
        Command::new("true").uid(NOBODY).gid(NOBODY).status().is_ok_and(|status| status.success())
    }
}

fn copy(from: &Path, to: PathBuf) -> PathBuf {
    fs::copy(from, &to)
        .unwrap_or_else(|error| panic!("{from:?}: {error} (cargo build --examples?)"));
    to
}

/// The directory of the programs that only tests use.
fn tools() -> PathBuf {
    let beside = || {
        let own = env::current_exe().expect("own path");
        own.parent().and_then(Path::parent).expect("target/PROFILE/deps").join("examples")
    };
    env::var_os("GUARD_TOOLS").map_or_else(beside, PathBuf::from)
}

/// Messages without the warning that only a fast machine gets.
pub fn whatever_the_speed(said: String) -> String {
    let depends = |line: &&str| line.contains(" can fill in less time than it takes to act");
    said.split_inclusive('\n').filter(|line| !depends(line)).collect()
}

/// Messages without the warnings that only an ordinary user gets, for tests that run outside a sandbox.
pub fn whatever_the_user(said: String) -> String {
    let depends = |line: &&str| {
        line.contains("warning: not all processes can be ended, ") || line.contains("(hidepid)")
    };
    said.split_inclusive('\n').filter(|line| !depends(line)).collect()
}

// ---- the guard ----

/// A running guard whose messages go to a file.
pub struct Guard {
    child: Child,
    log: PathBuf,
}

impl Guard {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The same with its messages elsewhere.
    pub fn with_log(mut self, log: &Path) -> Guard {
        self.log = log.to_path_buf();
        self
    }

    /// All messages so far; none where standard error is something else.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        whatever_the_speed(String::from_utf8(log).expect("the log is UTF-8"))
    }

    /// Lines that contain `text`. Where one goes over a page's end, a reader may find its beginning alone.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let log = self.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.contains(text)).map(String::from).collect()
    }

    pub fn count(&self, text: &str) -> usize {
        self.lines(text).len()
    }

    /// Waits for a line that contains `text`; the first one.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_many(text, 1).remove(0)
    }

    /// Waits until `count` lines contain `text`.
    pub fn wait_for_many(&self, text: &str, count: usize) -> Vec<String> {
        self.wait_for_within(PATIENCE, text, count)
    }

    pub fn wait_for_within(&self, limit: Duration, text: &str, count: usize) -> Vec<String> {
        let found = wait_until(limit, || Some(self.lines(text)).filter(|all| all.len() >= count));
        found.unwrap_or_else(|| panic!("waited in vain for {count} of {text:?}"))
    }

    /// Number of the last look that `-d` has shown.
    pub fn looks(&self) -> u64 {
        self.lines("look ").last().map_or(0, |line| number_after(line, "look "))
    }

    /// Waits for that many further looks; wants `-d`.
    pub fn wait_for_looks(&self, count: u64) {
        let enough = self.looks() + count;
        wait_for("looks", || self.looks() >= enough);
    }

    /// How often it has slept. Between two looks it does once.
    pub fn sleeps(&self) -> u64 {
        sleeps_of(self.pid())
    }

    /// Makes it look that often at once: a signal wakes it, and it looks before it sleeps again. One at a time: where a
    /// look takes longer than sending the next one, it would never sleep.
    pub fn make_look(&self, count: u64) {
        for _ in 0..count {
            let sleeps = self.sleeps();
            let end = Instant::now() + PATIENCE;
            self.signal(libc::SIGCHLD);
            while self.sleeps() == sleeps {
                thread::yield_now();
                assert!(Instant::now() < end, "the guard does not wake");
            }
        }
    }

    /// Waits for the hog's end by SIGKILL, and sees that the guard slept at most `most` times for it since it had slept
    /// `before` times.
    pub fn expect_kill(&self, hog: &mut Hog, before: u64, most: u64) {
        let (slept, _) = follow_to_end(self, hog, before);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        assert!(slept <= most, "the kill came after {slept} sleeps");
    }

    /// The same with one look a signal, where a flood of `-d` would be in the way.
    pub fn look_slowly(&self, count: u64) {
        for _ in 0..count {
            let sleeps = self.sleeps();
            self.signal(libc::SIGCHLD);
            wait_for("a look", || self.sleeps() > sleeps);
        }
    }

    /// Lines that announce a signal for this process.
    pub fn signals_to(&self, pid: u32) -> Vec<String> {
        let whom = format!("to process {pid}");
        let mut lines = self.lines("sending SIG");
        // Not 123 for 12.
        lines.retain(|line| {
            line.split_once(&whom)
                .is_some_and(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        lines
    }

    /// Lines that announce a signal for anybody.
    pub fn signals(&self) -> Vec<String> {
        self.lines(" to process ")
    }

    pub fn helper(&self) -> Option<u32> {
        let all = processes();
        all.iter().find(|process| process.parent == self.pid()).map(|process| process.pid)
    }

    /// Whether it has nothing to do.
    pub fn helper_waits(&self) -> bool {
        self.helper().and_then(process).is_some_and(|helper| helper.state == b'S')
    }

    pub fn signal(&self, signal: libc::c_int) {
        signal_to(self.pid(), signal);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// How many descriptors it has open at rest.
    pub fn descriptors(&self) -> usize {
        descriptors_of(self.pid())
    }

    /// How often it has read anything, where the kernel counts that.
    pub fn reads(&self) -> Option<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid())).ok()?;
        io.lines().find(|line| line.starts_with("syscr:")).map(|line| number_after(line, "syscr:"))
    }

    /// Asks it to end, and sees that it does so in peace: a debug build that allocates while watching aborts, a release
    /// says so.
    pub fn stop(self) -> String {
        self.stop_by(libc::SIGTERM)
    }

    pub fn stop_by(mut self, signal: libc::c_int) -> String {
        let pid = self.pid();
        self.signal(signal);
        let mut ended = || self.child.try_wait().expect("wait");
        // The kernel closes a trigger of pressure only when all processors have come by, for which a busy machine was seen
        // to take a minute.
        let in_kernel = || whereabouts(pid).contains("synchronize_rcu");
        let status = wait_until(PATIENCE, &mut ended)
            .or_else(|| in_kernel().then(|| wait_until(10 * PATIENCE, &mut ended)).flatten());
        let log = self.log();
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{status:?}, {}", whereabouts(pid));
        assert!(!log.contains("bug:"), "{log}");
        log
    }
}

/// What it does, sees and said tells most about a test that fails.
impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the guard: {}", whereabouts(self.pid()));
            eprintln!("memory: {}", meminfo(&["MemAvailable:", "AnonPages:"]).join(", "));
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "the guard's last messages:\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
    }
}

/// The lines of `/proc/meminfo` that begin so.
fn meminfo(keys: &[&str]) -> Vec<String> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let lines = text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The number that follows `text` in `line`.
pub fn number_after(line: &str, text: &str) -> u64 {
    let (_, rest) = line.split_once(text).unwrap_or_else(|| panic!("no {text:?} in {line:?}"));
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse().unwrap_or_else(|_| panic!("no number after {text:?} in {line:?}"))
}

// ---- other processes ----

/// A process that misbehaves; see `tests/tools/hog.rs`.
pub struct Hog {
    child: Child,
    // A pipe without a reader would end it.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Hog {
    pub fn start(command: Command) -> Hog {
        let mut hog = Hog::start_unready(command);
        let mut said = String::new();
        if let Some(stdout) = &mut hog._stdout {
            stdout.read_line(&mut said).expect("the hog's stdout");
        }
        assert_eq!(said, "ready\n", "the hog is not ready");
        hog
    }

    /// Does not wait until it is ready, since it may be ended before.
    pub fn start_unready(mut command: Command) -> Hog {
        let mut child = command.spawn().expect("the hog");
        let stdout = child.stdout.take().map(BufReader::new);
        Hog { child, _stdout: stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits for its end; which signal it was, if one.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let pid = self.pid();
        let ended = wait_until(PATIENCE, || self.child.try_wait().expect("wait"));
        ended.unwrap_or_else(|| panic!("hog {pid} lives on, {}", whereabouts(pid)))
    }

    pub fn signal(&self, signal: libc::c_int) {
        signal_to(self.pid(), signal);
    }
}

pub fn signal_to(pid: u32, signal: libc::c_int) {
    // SAFETY: takes no pointer; the number is that of a child that was not waited for, in a namespace of the test's own.
    let sent = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(sent, 0, "cannot signal {pid}: {}", io::Error::last_os_error());
}

/// Has the process stop on its way out, with all its memory, for as long as this one lives (`PTRACE_EVENT_EXIT`,
/// ptrace(2)). To the guard that looks like a process that is stuck in the kernel.
pub fn hold_at_exit(pid: u32) -> io::Result<()> {
    let (pid, options) = (pid as libc::pid_t, libc::PTRACE_O_TRACEEXIT);
    // SAFETY: PTRACE_SEIZE takes numbers and touches no memory.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0usize, options as usize) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets a process go that was held there, and waits for its end.
pub fn let_go(pid: u32) {
    // SAFETY: PTRACE_CONT takes numbers and touches no memory. ESRCH: it is not held, or not yet.
    let go = || unsafe { libc::ptrace(libc::PTRACE_CONT, pid as libc::pid_t, 0usize, 0usize) };
    wait_for("an end", || {
        go();
        process(pid).map_or(true, |process| process.state == b'Z')
    });
}

/// What `/proc/PID/stat` says about a process.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub state: u8,
    pub name: Vec<u8>,
}

/// All processes of this namespace, those that vanish meanwhile excepted.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let open = stat.iter().position(|&b| b == b'(')?;
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let mut fields = rest.split_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, state, name: stat[open + 1..close].to_vec() })
}

/// Processes of this name that are no zombies.
pub fn living(name: &str) -> Vec<u32> {
    let mut all = processes();
    all.retain(|process| process.name == name.as_bytes() && process.state != b'Z');
    all.iter().map(|process| process.pid).collect()
}

/// Those that `parent` has started and not waited for yet.
pub fn children(parent: u32) -> Vec<u32> {
    let all = processes().into_iter().filter(|process| process.parent == parent);
    all.map(|process| process.pid).collect()
}

/// The state of a process and where in the kernel it waits.
fn whereabouts(pid: u32) -> String {
    let state = process(pid).map(|process| char::from(process.state));
    let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    format!("state {state:?}, waits in {place:?}")
}

fn sleeps_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
    number_after(line.expect("voluntary_ctxt_switches"), "switches:")
}

// ---- memory of the test's own making ----

/// How much memory there is of each kind, in MiB.
#[derive(Clone, Copy)]
pub struct Amounts {
    pub total: u64,
    pub available: u64,
    pub anon: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}

impl Amounts {
    /// Of 1000 MiB, all that is not available is held by processes.
    pub fn available(available: u64) -> Amounts {
        let anon = 1000u64.saturating_sub(available);
        Amounts { total: 1000, available, anon, swap_total: 0, swap_free: 0 }
    }
}

/// Far from every limit that the tests set.
pub const PLENTY: u64 = 600;
/// Below the default limit for SIGTERM (10%), above that for SIGKILL (5%).
pub const LOW: u64 = 90;
/// Below both.
pub const VERY_LOW: u64 = 45;

/// A file over `/proc/meminfo`.
pub struct FakeMemory {
    file: File,
}

impl FakeMemory {
    /// Starts with plenty.
    pub fn new(sandbox: &Sandbox) -> FakeMemory {
        let memory = FakeMemory::unmounted(&sandbox.path("meminfo"));
        bind_over(&sandbox.path("meminfo"), Path::new("/proc/meminfo"));
        memory
    }

    pub fn unmounted(path: &Path) -> FakeMemory {
        let memory = FakeMemory { file: File::create(path).expect("a file for meminfo") };
        memory.available(PLENTY);
        memory
    }

    pub fn available(&self, mib: u64) {
        self.set(Amounts::available(mib));
    }

    /// Plenty again, and the guard has seen it: a moment of plenty between two looks is none.
    pub fn recover(&self, guard: &Guard) {
        self.available(PLENTY);
        guard.make_look(2);
    }

    pub fn set(&self, amounts: Amounts) {
        let lines = [
            ("MemTotal:", amounts.total),
            ("MemFree:", amounts.available / 2),
            ("MemAvailable:", amounts.available),
            ("SwapTotal:", amounts.swap_total),
            ("SwapFree:", amounts.swap_free),
            ("AnonPages:", amounts.anon),
        ];
        // Always of the same length, so that no reader sees a number cut.
        let line = |(key, mib): (&str, u64)| format!("{key:<15} {:>8} kB\n", mib << 10);
        self.write(&lines.into_iter().map(line).collect::<String>());
    }

    /// In place, since the guard keeps the file open.
    pub fn write(&self, text: &str) {
        self.file.write_all_at(text.as_bytes(), 0).expect("write meminfo");
        self.file.set_len(text.len() as u64).expect("cut meminfo");
    }
}

pub const PRESSURE: &str = "/proc/pressure/memory";

/// Files over `/proc/pressure/memory`, `/proc/pressure/io` and `/proc/vmstat`.
pub struct FakePressure {
    file: File,
    disks: File,
    vmstat: File,
}

fn pressure(millis: u64) -> Vec<u8> {
    let (averages, total) = ("avg10=0.00 avg60=0.00 avg300=0.00", 1_000_000 + millis * 1000);
    let some = format!("some {averages} total={:012}\n", total + 5);
    format!("{some}full {averages} total={total:012}\n").into_bytes()
}

impl FakePressure {
    /// `None` where this kernel has nothing to mount over.
    pub fn new(sandbox: &Sandbox) -> Option<FakePressure> {
        if !Path::new(PRESSURE).exists() {
            skip("this kernel has no pressure information");
            return None;
        }
        let path = sandbox.path("pressure");
        let pressure = FakePressure::unmounted(&path);
        bind_over(&path, Path::new(PRESSURE));
        bind_over(&path.with_extension("io"), Path::new("/proc/pressure/io"));
        bind_over(&path.with_extension("vmstat"), Path::new("/proc/vmstat"));
        Some(pressure)
    }

    pub fn unmounted(path: &Path) -> FakePressure {
        let create = |path: &Path| File::create(path).expect("a file for pressure");
        let beside = |what| create(&path.with_extension(what));
        // As a cgroup has them: `memory.pressure` and `io.pressure`.
        let disks = match path.file_name() {
            Some(name) if name == "memory.pressure" => create(&path.with_file_name("io.pressure")),
            _ => beside("io"),
        };
        let pressure = FakePressure { file: create(path), disks, vmstat: beside("vmstat") };
        pressure.stalled(0);
        pressure
    }

    /// Everything has stalled for so long since the boot, something has waited for a disk, and the kernel has looked for
    /// memory for the machine.
    pub fn stalled(&self, millis: u64) {
        self.stalled_while_scanned(millis, millis, millis);
    }

    /// The same with so many pages looked at, for the machine and in all.
    pub fn stalled_while_scanned(&self, millis: u64, for_machine: u64, in_all: u64) {
        let scans = [
            ("pgscan_kswapd", for_machine),
            ("pgscan_direct", 0),
            ("pgscan_anon", in_all),
            ("pgscan_file", 0),
        ];
        let scans = scans.map(|(key, pages)| format!("{key} {pages:012}\n")).concat();
        self.vmstat.write_all_at(scans.as_bytes(), 0).expect("write vmstat");
        self.waited_for_disks(millis);
        self.waited_for_memory(millis);
    }

    /// Something has waited for a disk for so long since the boot.
    pub fn waited_for_disks(&self, millis: u64) {
        self.disks.write_all_at(&pressure(millis), 0).expect("write pressure of disks");
    }

    /// Everything has waited for memory for so long since the boot.
    pub fn waited_for_memory(&self, millis: u64) {
        self.file.write_all_at(&pressure(millis), 0).expect("write pressure");
    }
}

/// Mounts the file (or directory) `what` over another one, for this namespace only.
pub fn bind_over(what: &Path, place: &Path) {
    mount(Some(what), place, None, libc::MS_BIND | libc::MS_REC, None)
        .unwrap_or_else(|error| panic!("cannot mount {what:?} over {place:?}: {error}"));
}

/// Takes away what was mounted last over a file.
pub fn uncover(path: &str) {
    let path = CString::new(path).expect("no NUL");
    // SAFETY: `path` ends with NUL and lives for the call.
    let done = succeed(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) });
    done.expect("something mounted there");
}

pub fn mount(
    what: Option<&Path>,
    place: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: Option<&str>,
) -> io::Result<()> {
    let c_string = |text: &OsStr| CString::new(text.as_bytes()).expect("no NUL");
    let what = c_string(what.map_or(OsStr::new("none"), Path::as_os_str));
    let place = c_string(place.as_os_str());
    let kind = c_string(OsStr::new(kind.unwrap_or("")));
    let options = options.map(|options| c_string(OsStr::new(options)));
    let data = options.as_ref().map_or(ptr::null(), |options| options.as_ptr().cast());
    // SAFETY: all strings end with NUL and live for the call.
    match unsafe { libc::mount(what.as_ptr(), place.as_ptr(), kind.as_ptr(), flags, data) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// ---- kills on time ----

/// Waits for the hog's end. How often the guard has slept until the hog was last seen without a signal, since it had slept
/// `before` times, and how long that took: what the kernel takes to end a process, and the test to see that, is another
/// matter.
pub fn follow_to_end(guard: &Guard, hog: &mut Hog, before: u64) -> (u64, Duration) {
    let (began, mut last) = (Instant::now(), (0, Duration::ZERO));
    wait_for("the hog's end", || {
        let sleeps = guard.sleeps();
        let alive = hog.is_alive();
        if alive && !is_dying(hog.pid()) {
            last = (sleeps - before, began.elapsed());
        }
        !alive
    });
    last
}

/// `PF_EXITING` of the kernel, in the ninth field of `/proc/PID/stat`.
const EXITING: u64 = 4;

/// Whether it has got a signal that ends it: until it takes note of that, SIGKILL is pending.
fn is_dying(pid: u32) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (stat, status) = (read("stat"), read("status"));
    let (stat, status) = (String::from_utf8_lossy(&stat), String::from_utf8_lossy(&status));
    // The name, which is the second field, may hold anything.
    let flags = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(6)?.parse().ok());
    let pending = |key| {
        let mask = status.lines().find_map(|line| line.strip_prefix(key));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    let killed = (pending("SigPnd:") | pending("ShdPnd:")) >> (libc::SIGKILL - 1) & 1;
    killed == 1 || flags.unwrap_or(0) & EXITING != 0
}

/// From low memory to the signal. It sleeps once before it sees, once for the helper's answer, and now and then
/// once more until the end is over; 3 is the most that was seen.
pub const FEW_SLEEPS: u64 = 6;

/// Lets memory get very low and sees that the hog is ended in few looks.
pub fn expect_kill_on_time(memory: &FakeMemory, guard: &Guard, hog: &mut Hog) {
    let before = guard.sleeps();
    memory.available(VERY_LOW);
    guard.expect_kill(hog, before, FEW_SLEEPS);
}

/// The same, where what is needed to see it must be done while the guard stands still.
pub fn expect_kill_on_time_after(
    memory: &FakeMemory,
    guard: &Guard,
    hog: &mut Hog,
    prepare: impl FnOnce(),
) {
    guard.signal(libc::SIGSTOP);
    wait_for("a stop", || processes().iter().any(|p| p.pid == guard.pid() && p.state == b'T'));
    prepare();
    let before = guard.sleeps();
    memory.available(VERY_LOW);
    guard.signal(libc::SIGCONT);
    guard.expect_kill(hog, before, FEW_SLEEPS);
}

// ---- writers that wait ----

/// A pipe that takes nothing any more, and makes those wait who write to it.
pub fn full_pipe() -> (File, File) {
    let (reader, mut writer) = pipe();
    set_blocking(&writer, false);
    for size in [4096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    set_blocking(&writer, true);
    (reader, writer)
}

// ---- files that make a reader wait ----

/// A FIFO over a file: whoever opens that file waits until the test answers.
pub struct Trap {
    path: PathBuf,
    place: CString,
}

pub fn make_fifo(path: &Path) {
    let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: `name` ends with NUL and lives for the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o666) };
    assert_eq!(made, 0, "mkfifo: {}", io::Error::last_os_error());
}

impl Trap {
    pub fn over(sandbox: &Sandbox, place: &str) -> Trap {
        let path = sandbox.path(&place.replace('/', "_"));
        make_fifo(&path);
        bind_over(&path, Path::new(place));
        Trap { path, place: CString::new(place).expect("no NUL") }
    }

    /// Waits until somebody has stepped in; what is written to the file that is returned is what they read. For the next
    /// reader the file is itself again.
    pub fn wait_for_reader(self) -> File {
        let mut open = OpenOptions::new();
        open.write(true).custom_flags(libc::O_NONBLOCK);
        // Refused (ENXIO) while there is no reader; see fifo(7).
        let answer = wait_until(PATIENCE, || open.open(&self.path).ok()).expect("a reader");
        // SAFETY: `place` ends with NUL and lives for the call.
        let removed = unsafe { libc::umount2(self.place.as_ptr(), libc::MNT_DETACH) };
        assert_eq!(removed, 0, "umount: {}", io::Error::last_os_error());
        answer
    }
}

// ---- limits, filters and pipes ----

/// Both ends of a pipe, reader first.
pub fn pipe() -> (File, File) {
    use std::os::fd::FromRawFd;
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0, "pipe: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just handed out both, and nobody else has them.
    unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) }
}

/// Changes whether reads and writes of this file wait.
pub fn set_blocking(file: &File, blocking: bool) {
    use std::os::fd::AsRawFd;
    let flags = if blocking { 0 } else { libc::O_NONBLOCK };
    // SAFETY: takes no pointer; the descriptor is open.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set, 0, "fcntl: {}", io::Error::last_os_error());
}

/// How nice this process is.
pub fn niceness() -> i32 {
    // SAFETY: takes numbers; 0 means this process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Has the program that `command` starts run with this niceness, if that is granted.
pub fn set_niceness(command: &mut Command, niceness: i32) {
    let set = move || {
        // SAFETY: takes numbers; 0 means this process.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Makes this machine one of the processors in `list`, as `0-3`, and has the program that `command` starts use one of
/// those that there are.
pub fn set_processors(sandbox: &Sandbox, list: &str, command: &mut Command) {
    let online = sandbox.path("online");
    fs::write(&online, format!("{list}\n")).expect("a list of processors");
    bind_over(&online, Path::new("/sys/devices/system/cpu/online"));
    let confine = || {
        // SAFETY: all zero is a valid set.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        let size = mem::size_of_val(&set);
        // SAFETY: `set` has the size that both are told; 0 means this process.
        unsafe {
            succeed(libc::sched_getaffinity(0, size, &mut set))?;
            let usable = (0..size * 8).find(|&number| libc::CPU_ISSET(number, &set));
            libc::CPU_ZERO(&mut set);
            libc::CPU_SET(usable.unwrap_or(0), &mut set);
            succeed(libc::sched_setaffinity(0, size, &set)).map(drop)
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(confine) };
}

/// Has the program that `command` starts ignore SIGHUP, as `nohup` does.
pub fn ignore_hangup(command: &mut Command) {
    let ignore = || {
        // SAFETY: no handler is set.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(ignore) };
}

/// Looked for in `PATH`, and where only root does.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut all = env::split_paths(&path).chain(more).map(|folder| folder.join(name));
    all.find(|file| file.is_file())
}

/// Sets a limit (setrlimit(2)) for the program that `command` starts.
pub fn limit_memlock(command: &mut Command, bytes: libc::rlim_t) {
    let set = move || {
        // SAFETY: all zero is a valid `rlimit`.
        let mut limit: libc::rlimit = unsafe { mem::zeroed() };
        (limit.rlim_cur, limit.rlim_max) = (bytes, bytes);
        // SAFETY: `limit` lives for the call.
        match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(set) };
}

/// Lets these system calls fail with `errno` in the program that `command` starts, as they do in an older kernel
/// (ENOSYS) or under a filter (EPERM).
pub fn refuse_calls(command: &mut Command, calls: &[libc::c_long], errno: libc::c_int) {
    let step = |code: u32, skip_if_not: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: skip_if_not,
        k,
    };
    let answer = libc::BPF_RET | libc::BPF_K;
    // The number of the call comes first in what a filter sees (`struct seccomp_data`, seccomp(2)).
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &call in calls {
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32));
        filter.push(step(answer, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    filter.push(step(answer, 0, libc::SECCOMP_RET_ALLOW));
    let set = move || {
        let program = libc::sock_fprog {
            len: filter.len() as libc::c_ushort,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the first call takes numbers; the second reads `program`, which names `len` steps.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
        };
        match set {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(set) };
}
