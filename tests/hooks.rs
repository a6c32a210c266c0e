//! Hooks: what they are told and run in, when they run, and that nothing they do or suffer costs a kill.
//!
//! Kills are counted in looks where that can be. A hook writes down what it saw in the directory of the test.

mod common;

use common::*;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

/// In the time that SIGTERM waits for a hook, 200 ms, memory is looked at every 5 ms.
const SLEEPS_FOR_HOOK: u64 = 40 + 4 * FEW_SLEEPS;

const SLEEP_FOR_EVER: &str = "sleep 1000 & sleep 1000";

// ---- what a hook sees ----

/// Writes down what it is told and runs in: in one file after another, and then all at once. Descriptors are those of
/// another shell, since this one has its script open.
const WITNESS: &str = r#"
new="$dir/new.${0##*/}.$OOM_GUARD_PID"
mkdir "$new"
cat /proc/$$/environ >"$new/environ"
cat /proc/$$/stat >"$new/stat"
readlink /proc/$$/cwd >"$new/cwd"
cat /proc/self/status >"$new/status"
cat /proc/self/oom_score_adj >"$new/adj"
sh -c 'ls /proc/$$/fd; :' >"$new/fd"
mv "$new" "$dir/${0##*/}.$OOM_GUARD_PID"
"#;

/// What one hook has written down for one victim.
struct Seen(PathBuf);

impl Seen {
    fn wait(sandbox: &Sandbox, hook: &str, victim: u32) -> Seen {
        let path = sandbox.path(&format!("{hook}.{victim}"));
        wait_for("a hook", || path.exists());
        Seen(path)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("what the hook saw").trim_end().to_owned()
    }

    fn variables(&self) -> BTreeMap<String, OsString> {
        let all = fs::read(self.0.join("environ")).expect("an environment");
        let all = all.strip_suffix(b"\0").expect("a NUL at the end");
        let mut variables = BTreeMap::new();
        for variable in all.split(|&byte| byte == 0) {
            let equals = variable.iter().position(|&byte| byte == b'=').expect("KEY=VALUE");
            let key = String::from_utf8(variable[..equals].to_vec()).expect("a plain key");
            let value = OsString::from_vec(variable[equals + 1..].to_vec());
            assert!(variables.insert(key, value).is_none(), "twice: {variable:?}");
        }
        variables
    }

    fn variable(&self, key: &str) -> OsString {
        self.variables().remove(key).unwrap_or_else(|| panic!("no {key}"))
    }

    /// A field of `/proc/PID/stat`, counted as proc(5) does.
    fn stat(&self, field: usize) -> i64 {
        stat_field(&self.text("stat"), field)
    }

    fn signals(&self, key: &str) -> u64 {
        let text = self.text("status");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a mask")
    }
}

fn stat_field(stat: &str, field: usize) -> i64 {
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    rest.split_whitespace().nth(field - 3).expect("a field").parse().expect("a number")
}

fn status_of(pid: u32, key: &str) -> u64 {
    let status = fs::read(format!("/proc/{pid}/status")).expect("status");
    // A name may be anything.
    let status = String::from_utf8_lossy(&status);
    status.lines().find(|line| line.starts_with(key)).map_or(0, |line| number_after(line, ":"))
}

/// That of the unified hierarchy; where nothing uses it, the first that is used.
fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let path = |line: &str| line.splitn(3, ':').nth(2).expect("a path").to_owned();
    let is_used = |line: &&str| path(line) != "/";
    let unified = text.lines().filter(|line| line.starts_with("0::"));
    let found = unified.chain(text.lines()).find(is_used);
    found.map_or("/".into(), path)
}

fn witnesses(sandbox: &Sandbox) -> [String; 2] {
    ["pre", "post"].map(|name| sandbox.script(name, WITNESS))
}

/// Lets a hog end by SIGTERM; what both hooks saw.
fn seen_by_both(sandbox: &Sandbox, memory: &FakeMemory, guard: &Guard) -> [Seen; 2] {
    let mut hog = sandbox.hog(&["--size", "60M"]);
    memory.available(LOW);
    hog.wait_for_end();
    memory.recover(guard);
    ["pre", "post"].map(|hook| Seen::wait(sandbox, hook, hog.pid()))
}

const EVIL_NAME: &str = "$(x)\\n\"'\\xff\\\\";
const EVIL_NAME_BYTES: &[u8] = b"$(x)\n\"'\xff\\";
const EVIL_COMMAND: &[u8] = b"evil\nOOM_GUARD_PID=1 $(touch x) `id` \"'\\ \x1b[2J\xff\xfe ;&|";

#[test]
fn a_hook_is_told_all_about_the_victim_and_nothing_else() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let options = ["--size", "60M", "--adj", "7", "--ignore-term", "--name", EVIL_NAME];
        let mut command = sandbox.hog_command(&options);
        let uid = if sandbox.has_other_users() { NOBODY } else { 0 };
        command.arg0(OsString::from_vec(EVIL_COMMAND.to_vec())).uid(uid);
        let mut hog = Hog::start(command);
        let pid = hog.pid();
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score")).expect("oom_score");
        let [rss, swap] = ["VmRSS", "VmSwap"].map(|key| status_of(pid, key));
        let cgroup = cgroup_of(pid);

        let mut command = sandbox.guard_command(&["-P", &pre, "-N", &post, "--grace", "0.5"]);
        command.env("OOM_GUARD_MEM_THRESHOLD", "11").env("OOM_GUARD_NAME", "a setting?");
        command.env("EARLYOOM_PID", "1").env("PATH", "/evil:/usr/bin:/bin").env("SECRET", "s");
        let guard = sandbox.start_guard(command);
        memory.available(LOW);
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
        memory.recover(&guard);

        let line = [EVIL_COMMAND, b" ", options.join(" ").as_bytes()].concat();
        for (hook, signal) in [("pre", "SIGTERM"), ("post", "SIGKILL")] {
            let mut told = Seen::wait(sandbox, hook, pid).variables();
            let mut expect = |keys: &[&str], value: &[u8]| {
                for &key in keys {
                    assert_eq!(told.remove(key), Some(OsString::from_vec(value.into())), "{key}");
                }
            };
            let path = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            expect(&["PATH"], path);
            expect(&["OOM_GUARD_PID", "EARLYOOM_PID"], pid.to_string().as_bytes());
            expect(&["OOM_GUARD_UID", "EARLYOOM_UID"], uid.to_string().as_bytes());
            expect(&["OOM_GUARD_NAME", "EARLYOOM_NAME"], EVIL_NAME_BYTES);
            expect(&["OOM_GUARD_CMDLINE", "EARLYOOM_CMDLINE"], &line);
            expect(&["OOM_GUARD_ADJ"], b"7");
            expect(&["OOM_GUARD_SIGNAL"], signal.as_bytes());
            expect(&["OOM_GUARD_REASON"], b"memory");
            expect(&["OOM_GUARD_ACTION"], b"kill");
            // These go up and down a little by themselves.
            let mut about = |key: &str, value: u64, most: u64| {
                let value_told = told.remove(key).unwrap_or_else(|| panic!("no {key}"));
                let value_told: u64 = value_told.to_str().unwrap().parse().expect("a number");
                assert!(value_told.abs_diff(value) <= most, "{key}: {value_told}, not {value}");
            };
            about("OOM_GUARD_RSS", rss, 1024);
            about("OOM_GUARD_SWAP", swap, rss);
            about("OOM_GUARD_SCORE", score.trim().parse().expect("a score"), 50);
            // Wherever this test runs; what is told of other places, see below.
            assert_eq!(told.remove("OOM_GUARD_CGROUP").as_deref(), Some(OsStr::new(&cgroup)));
            told.remove("OOM_GUARD_SERVICE");
            assert!(told.is_empty(), "{told:?}");
        }
        guard.stop();
    });
}

#[test]
fn a_command_line_comes_whole_up_to_256_bytes_and_is_cut_above() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let guard = sandbox.guard(&["-P", &pre, "-N", &post, "--cooldown", "0"]);
        for length in [256, 257, 3000] {
            let options = ["--size", "60M"];
            let mut command = sandbox.hog_command(&options);
            let mut line = format!("x {}", options.join(" "));
            line.insert_str(0, &"x".repeat(length - line.len()));
            command.arg0(line.split(' ').next().expect("a name"));
            if length > 256 {
                line.replace_range(253.., "...");
            }
            let mut hog = Hog::start(command);
            memory.available(LOW);
            hog.wait_for_end();
            memory.recover(&guard);
            for hook in ["pre", "post"] {
                let told = Seen::wait(sandbox, hook, hog.pid()).variable("OOM_GUARD_CMDLINE");
                assert_eq!(told, *line);
            }
        }
        guard.stop();
    });
}

/// Lets a hog in that cgroup end; what these hooks are told of cgroup and service.
fn expect_told_of_cgroup(
    sandbox: &Sandbox,
    (memory, level): (&FakeMemory, u64),
    (guard, hooks): (&Guard, &[&str]),
    mut hog: Hog,
    [cgroup, service]: [Option<&str>; 2],
) {
    memory.available(level);
    // Once its end is taken note of, the file goes.
    let seen = hooks.iter().map(|hook| (hook, Seen::wait(sandbox, hook, hog.pid())));
    for (hook, seen) in seen.collect::<Vec<_>>() {
        let told = seen.variables();
        let value = |key: &str| told.get(key).map(|value| value.to_str().expect("UTF-8"));
        assert_eq!(value("OOM_GUARD_CGROUP"), cgroup, "{hook}");
        assert_eq!(value("OOM_GUARD_SERVICE"), service, "{hook}");
    }
    hog.wait_for_end();
    memory.recover(guard);
}

/// A hog that is in this cgroup for as long as it lives.
fn hog_in(sandbox: &Sandbox, path: &str) -> Hog {
    let hog = sandbox.hog(&["--size", "60M"]);
    let file = sandbox.path(&format!("cgroup.{}", hog.pid()));
    fs::write(&file, format!("0::{path}\n")).expect("a file");
    bind_over(&file, Path::new(&format!("/proc/{}/cgroup", hog.pid())));
    hog
}

#[test]
fn a_hook_is_told_the_cgroup_and_a_service_that_root_has_named() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let guard = sandbox.guard(&["-P", &pre, "-N", &post, "--cooldown", "0"]);
        // Too long for what hooks are told in all.
        let long = format!("/system.slice/web.service/{}", "x/".repeat(250));
        let web = "/system.slice/web.service";
        let users = "/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service";
        for (path, told, service) in [
            (web, Some(web), Some("web.service")),
            ("/openrc.web", Some("/openrc.web"), Some("web")),
            (users, Some(users), None),
            (&long, None, Some("web.service")),
        ] {
            let (how, by) = ((&memory, LOW), (&guard, &["pre", "post"][..]));
            expect_told_of_cgroup(sandbox, how, by, hog_in(sandbox, path), [told, service]);
        }
        guard.stop();
    });
}

#[test]
fn a_hook_after_a_kill_without_delay_is_told_what_was_read_before_the_signal() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let post = sandbox.script("post", WITNESS);
        let guard = sandbox.guard(&["-N", &post]);
        let web = "/system.slice/web.service";
        let (how, by) = ((&memory, VERY_LOW), (&guard, &["post"][..]));
        let told = [Some(web), Some("web.service")];
        expect_told_of_cgroup(sandbox, how, by, hog_in(sandbox, web), told);
        guard.stop();
    });
}

/// A cgroup of version 2 with another one below it; both go with their last processes.
struct Cgroups(PathBuf);

impl Cgroups {
    const BELOW: [&'static str; 2] = ["system.slice", "system.slice/web.service"];

    fn new() -> Result<Cgroups, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let point = line.ok_or("no cgroups of version 2")?.split(' ').nth(4).expect("a place");
        let name = File::open("/dev/urandom").and_then(|mut file| {
            let mut bytes = [0; 8];
            io::Read::read_exact(&mut file, &mut bytes)?;
            Ok(format!("oom_guard-test-{:016x}", u64::from_ne_bytes(bytes)))
        });
        let cgroups = Cgroups(Path::new(point).join(name.expect("random bytes")));
        let made = fs::create_dir(&cgroups.0).and_then(|()| {
            Cgroups::BELOW.iter().try_for_each(|it| fs::create_dir(cgroups.0.join(it)))
        });
        made.map_err(|error| format!("cannot make a cgroup: {error}"))?;
        Ok(cgroups)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let [slice, service] = Cgroups::BELOW.map(|it| self.0.join(it));
        // What has just ended may be there still.
        wait_until(PATIENCE, || {
            let _ = [&service, &slice, &self.0].map(fs::remove_dir);
            (!self.0.exists()).then_some(())
        });
    }
}

#[test]
fn a_hook_is_told_a_real_cgroup_as_the_guard_sees_it() {
    sandboxed(|sandbox| {
        let cgroups = match Cgroups::new() {
            Ok(cgroups) => cgroups,
            Err(why) => return skip(&why),
        };
        let members = |below: &str| cgroups.0.join(below).join("cgroup.procs");
        let hog = sandbox.hog(&["--size", "60M"]);
        let inside = members("system.slice/web.service");
        if let Err(error) = fs::write(&inside, hog.pid().to_string()) {
            return skip(&format!("cannot go into the cgroup: {error}"));
        }
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let mut command = sandbox.guard_command(&["-P", &pre, "-N", &post]);
        let members = CString::new(members("").into_os_string().into_vec()).expect("no NUL");
        let enter = move || {
            write_file(&members, "0")?;
            // SAFETY: takes a number.
            succeed(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }).map(drop)
        };
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(enter) };
        let guard = sandbox.start_guard(command);
        let told = [Some("/system.slice/web.service"), Some("web.service")];
        let (how, by) = ((&memory, LOW), (&guard, &["pre", "post"][..]));
        expect_told_of_cgroup(sandbox, how, by, hog, told);
        guard.stop();
    });
}

// ---- what a hook runs in ----

/// Signals 32 and 33, which the C library keeps to itself and lets nobody set.
const RESERVED: u64 = 3 << 31;

/// Runs both hooks under a guard that was started in this way.
fn expect_inherited(sandbox: &Sandbox, nice: i32, adj: Option<&str>, options: &[&str]) {
    let memory = FakeMemory::new(sandbox);
    let [pre, post] = witnesses(sandbox);
    let own_adj = fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj");
    let mut command = Command::new("sh");
    let adjust = adj.map_or(String::new(), |adj| format!("echo {adj} >/proc/self/oom_score_adj;"));
    command.args(["-c", &format!("{adjust} exec \"$@\""), "sh"]);
    let niceness = niceness() + nice;
    set_niceness(&mut command, niceness);
    command.arg(sandbox.path("oom_guard")).args(["-P", &pre, "-N", &post]).args(options);
    let guard = sandbox.start_guard(command);
    for seen in seen_by_both(sandbox, &memory, &guard) {
        assert_eq!(seen.stat(19), niceness.clamp(0, 19).into(), "niceness, {options:?}");
        let most: i32 = adj.unwrap_or(&own_adj).trim().parse().expect("a number");
        assert_eq!(seen.text("adj"), most.max(0).to_string(), "{options:?}");
    }
    guard.stop();
}

#[test]
fn a_hook_is_neither_raised_nor_protected() {
    sandboxed(|sandbox| expect_inherited(sandbox, 0, None, &[]));
}

#[test]
fn a_hook_of_a_guard_that_is_raised_is_not() {
    sandboxed(|sandbox| expect_inherited(sandbox, 0, None, &["-p"]));
}

#[test]
fn a_hook_of_a_guard_that_was_started_with_less_has_less() {
    // Anybody may raise this number.
    sandboxed(|sandbox| expect_inherited(sandbox, 5, Some("1000"), &[]));
}

#[test]
fn a_hook_of_a_guard_that_was_started_with_less_and_raised_itself_has_less() {
    sandboxed(|sandbox| expect_inherited(sandbox, 5, Some("1000"), &["-p"]));
}

#[test]
fn a_hook_of_a_guard_that_was_started_with_more_has_not() {
    sandboxed(|sandbox| {
        let can = Command::new("sh").args(["-c", "echo -500 >/proc/self/oom_score_adj"]).output();
        match can.is_ok_and(|output| output.status.success()) {
            true => expect_inherited(sandbox, -5, Some("-500"), &[]),
            false => skip("may not lower oom_score_adj"),
        }
    });
}

#[test]
fn a_hook_has_default_signals_standard_descriptors_and_a_group_of_its_own() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let mut command = sandbox.guard_command(&["-P", &pre, "-N", &post]);
        command.current_dir(&sandbox.dir);
        let careless_parent = || {
            // SAFETY: `set` is initialised and lives for the calls; 0 is open, and what 7 and 200 were is not used.
            unsafe {
                for signal in 1..32 {
                    libc::signal(signal, libc::SIG_IGN);
                }
                let mut set = mem::zeroed();
                libc::sigfillset(&mut set);
                libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
                match libc::dup2(0, 7) == 7 && libc::dup2(0, 200) == 200 {
                    true => Ok(()),
                    false => Err(io::Error::last_os_error()),
                }
            }
        };
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(careless_parent) };
        let guard = sandbox.start_guard(command);
        for seen in seen_by_both(sandbox, &memory, &guard) {
            for key in ["SigBlk", "SigIgn", "SigCgt"] {
                assert_eq!(seen.signals(key) & !RESERVED, 0, "{key}");
            }
            assert_eq!(seen.text("fd").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
            let stat = seen.text("stat");
            assert_eq!(Some(seen.stat(5).to_string().as_str()), stat.split_whitespace().next());
            assert_eq!(Path::new(&seen.text("cwd")), sandbox.dir);
        }
        guard.stop();
    });
}

#[test]
fn a_hook_of_a_guard_without_standard_streams_has_them() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = witnesses(sandbox);
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(sandbox.path("oom_guard"));
        command.args(["-P", &pre, "-N", &post]);
        let guard = sandbox.start_guard_unheard(command);
        for seen in seen_by_both(sandbox, &memory, &guard) {
            assert_eq!(seen.text("fd").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
        }
        guard.stop();
    });
}

// ---- when a hook runs ----

#[test]
fn sigterm_waits_for_a_hook_that_is_quick() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let look = "sleep 0.03; grep ^State: /proc/$OOM_GUARD_PID/status >$dir/new
            mv $dir/new $dir/state.$OOM_GUARD_PID";
        let pre = sandbox.script("pre", look);
        let guard = sandbox.guard(&["-P", &pre, "--cooldown", "0"]);
        // On a busy machine it may not be quick; but one that is not waited for never sees the victim alive.
        let saw_it_alive = (0..10).any(|_| {
            let mut hog = sandbox.hog(&["--size", "60M"]);
            memory.available(LOW);
            hog.wait_for_end();
            memory.recover(&guard);
            let state = sandbox.path(&format!("state.{}", hog.pid()));
            wait_for("the hook's end", || state.exists());
            fs::read_to_string(state).is_ok_and(|state| state.contains("(sleeping)"))
        });
        assert!(saw_it_alive);
        guard.stop();
    });
}

#[test]
fn sigterm_waits_for_a_slow_hook_200_ms_at_most() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", SLEEP_FOR_EVER);
        let guard = sandbox.guard(&["-P", &pre, "--hook-timeout", "30"]);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let sleeps = guard.sleeps();
        memory.available(LOW);
        let (slept, took) = follow_to_end(&guard, &mut hog, sleeps);
        note(&format!("SIGTERM after {took:?}, {slept} sleeps"));
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(slept <= SLEEPS_FOR_HOOK, "{slept} sleeps, {took:?}");
        assert_eq!(guard.count("ran too long"), 0);
        memory.recover(&guard);
        guard.stop();
    });
}

#[test]
fn sigkill_waits_for_no_hook() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", &format!("{WITNESS}\n{SLEEP_FOR_EVER}"));
        let guard = sandbox.guard(&["-P", &pre, "--hook-timeout", "30"]);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        let seen = Seen::wait(sandbox, "pre", hog.pid());
        assert_eq!(seen.variable("OOM_GUARD_SIGNAL"), "SIGKILL");
        guard.stop();
    });
}

#[test]
fn memory_that_falls_to_the_level_of_sigkill_ends_the_wait_for_a_hook() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", &format!(">$dir/began; {SLEEP_FOR_EVER}"));
        let guard = sandbox.guard(&["-P", &pre, "--hook-timeout", "30"]);
        // Should the wait be over before the fall.
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        memory.available(LOW);
        wait_for("the hook", || sandbox.path("began").exists());
        let sleeps = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut hog, sleeps, 2 * FEW_SLEEPS);
        guard.stop();
    });
}

#[test]
fn a_hook_that_frees_memory_saves_the_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        fs::copy(sandbox.path("meminfo"), sandbox.path("plenty")).expect("a copy");
        let free = "dd if=$dir/plenty of=$dir/meminfo conv=notrunc 2>/dev/null; >$dir/freed";
        let pre = sandbox.script("pre", free);
        let guard = sandbox.guard(&["-P", &pre]);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        for attempt in 0.. {
            memory.available(LOW);
            wait_for("the hook", || sandbox.path("freed").exists());
            guard.make_look(3);
            // On a busy machine the hook may be too slow for its 200 ms.
            if hog.is_alive() {
                break;
            }
            assert!(attempt < 10, "it was never saved");
            guard.wait_for_many("exited after", attempt + 1);
            fs::remove_file(sandbox.path("freed")).expect("a file");
            hog = sandbox.hog(&["--size", "60M"]);
        }
        guard.stop();
    });
}

/// The lines of a file that hooks append to; none before there is one.
fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(String::from).collect()
}

const APPEND: &str =
    "echo \"$OOM_GUARD_PID $OOM_GUARD_SIGNAL $OOM_GUARD_REASON $OOM_GUARD_ACTION\" >>$dir/${0##*/}.ran";

#[test]
fn each_hook_runs_once_for_a_victim_the_second_after_its_end() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", APPEND);
        let state = "cat /proc/$OOM_GUARD_PID/stat >$dir/stat.$OOM_GUARD_PID 2>/dev/null";
        let post = sandbox.script("post", &format!("{state}\n{APPEND}"));
        let mut expected = [Vec::new(), Vec::new()];
        // On a busy machine also one that obeys may take longer than such a grace.
        for (options, grace, last) in
            [(&["--ignore-term"][..], "0.3", "SIGKILL"), (&[], "0", "SIGTERM")]
        {
            let guard = sandbox.guard(&["-P", &pre, "-N", &post, "--grace", grace]);
            let mut hog = sandbox.hog(&[&["--size", "60M"][..], options].concat());
            let pid = hog.pid();
            memory.available(LOW);
            // Not waited for: it stays there as a zombie.
            let stat = sandbox.path(&format!("stat.{pid}"));
            wait_for("the hook", || stat.exists());
            memory.recover(&guard);
            hog.wait_for_end();
            expected[0].push(format!("{pid} SIGTERM memory kill"));
            expected[1].push(format!("{pid} {last} memory kill"));
            wait_for("both", || lines_of(&sandbox.path("post.ran")).len() == expected[1].len());
            let stat = fs::read_to_string(stat).expect("stat");
            assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
            guard.stop();
        }
        let ran = ["pre.ran", "post.ran"].map(|name| lines_of(&sandbox.path(name)));
        assert_eq!(ran, expected);
    });
}

/// Has the guard ask a process that ignores it, and let it off.
fn let_off(memory: &FakeMemory, guard: &Guard, hog: &Hog) {
    memory.available(LOW);
    guard.wait_for(&format!("sending SIGTERM to process {} ", hog.pid()));
    memory.available(PLENTY);
    guard.wait_for(&format!("process {} did not exit, but memory has recovered", hog.pid()));
}

#[test]
fn no_hook_runs_after_one_that_was_let_off() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let post = sandbox.script("post", APPEND);
        let guard = sandbox.guard(&["-N", &post, "--grace", "0.5", "--cooldown", "0"]);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let_off(&memory, &guard, &hog);
        memory.available(LOW);
        hog.wait_for_end();
        memory.recover(&guard);
        let ran = sandbox.path("post.ran");
        wait_for("the hook", || !lines_of(&ran).is_empty());
        assert_eq!(lines_of(&ran), [format!("{} SIGKILL memory kill", hog.pid())]);
        guard.stop();
    });
}

#[test]
fn one_that_was_let_off_gets_sigkill_the_next_time_which_waits_for_no_hook() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", &format!("{APPEND}\n{SLEEP_FOR_EVER}"));
        let options = ["-P", &pre, "--grace", "0.5", "--cooldown", "0", "--hook-timeout", "30"];
        let guard = sandbox.guard(&options);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let_off(&memory, &guard, &hog);
        let sleeps = guard.sleeps();
        memory.available(LOW);
        guard.expect_kill(&mut hog, sleeps, 2 * FEW_SLEEPS);
        memory.recover(&guard);
        let ran = sandbox.path("pre.ran");
        wait_for("both", || lines_of(&ran).len() == 2);
        let pid = hog.pid();
        assert_eq!(lines_of(&ran)[1], format!("{pid} SIGKILL memory kill"), "{:?}", lines_of(&ran));
        guard.stop();
    });
}

#[test]
fn all_above_the_limit_wait_for_slow_hooks_together_no_longer_than_one() {
    sandboxed(|sandbox| {
        let pre = sandbox.script("pre", &format!("{APPEND}\n{SLEEP_FOR_EVER}"));
        let post = sandbox.script("post", APPEND);
        let mut hogs = [(); 4].map(|()| sandbox.hog(&["--size", "60M"]));
        let mut options = vec!["-P", &pre, "-N", &post, "--hook-timeout", "30"];
        options.extend(["--watch=limit", "--process-limit=40M", "--interval=1000"]);
        let guard = sandbox.guard(&options);
        let (before, began) = (guard.sleeps(), Instant::now());
        hogs.iter_mut()
            .for_each(|hog| assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM)));
        let slept = guard.sleeps() - before;
        note(&format!("all were ended after {:?}, {slept} sleeps", began.elapsed()));
        assert!(slept <= SLEEPS_FOR_HOOK + 40, "{slept} sleeps");
        let mut expected = hogs.map(|hog| format!("{} SIGTERM limit kill", hog.pid()));
        expected.sort();
        for hook in ["pre.ran", "post.ran"] {
            wait_for("the hooks", || lines_of(&sandbox.path(hook)).len() == 4);
            let mut ran = lines_of(&sandbox.path(hook));
            ran.sort();
            assert_eq!(ran, expected);
        }
        guard.stop();
    });
}

#[test]
fn low_memory_ends_the_wait_of_the_limit_for_a_hook() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", &format!(">$dir/began; {SLEEP_FOR_EVER}"));
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let options = ["--process-limit=40M", "--interval=1000", "--hook-timeout=30"];
        let guard = sandbox.guard(&[&["-P", &pre][..], &options].concat());
        wait_for("the hook", || sandbox.path("began").exists());
        let sleeps = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut hog, sleeps, 2 * FEW_SLEEPS);
        guard.stop();
    });
}

#[test]
fn after_many_ends_at_a_time_each_hook_is_told_the_command_line_of_its_own() {
    sandboxed(|sandbox| {
        let append = "echo \"$OOM_GUARD_PID ${OOM_GUARD_CMDLINE%% *}\" >>$dir/${0##*/}.ran";
        let [pre, post] = ["pre", "post"].map(|name| sandbox.script(name, append));
        let start = |name: usize| {
            let mut command = sandbox.hog_command(&["--size", "60M", "--ignore-term"]);
            command.arg0(format!("hog-number-{name}"));
            Hog::start(command)
        };
        // As many as hooks may run at a time.
        let hogs: Vec<Hog> = (0..8).map(start).collect();
        let options = ["--watch=limit", "--process-limit=40M", "--interval=1000", "--grace=100"];
        let guard = sandbox.guard(&[&["-P", &pre, "-N", &post][..], &options].concat());
        let helper = guard.helper().expect("a helper");
        let ran = |hook| lines_of(&sandbox.path(hook));
        guard.wait_for_many("sending SIGTERM to process ", hogs.len());
        wait_for("the hooks before", || ran("pre.ran").len() == hogs.len());
        // Else there would be too many at a time.
        wait_for("their end", || children(helper).is_empty());
        hogs.iter().for_each(|hog| hog.signal(libc::SIGKILL));
        wait_for("the hooks after", || ran("post.ran").len() == hogs.len());
        let mut lines = ran("post.ran");
        lines.sort();
        let hogs = hogs.iter().enumerate();
        let mut expected: Vec<_> =
            hogs.map(|(name, hog)| format!("{} hog-number-{name}", hog.pid())).collect();
        expected.sort();
        assert_eq!(lines, expected);
        guard.stop();
    });
}

// ---- hooks that misbehave ----

/// What guard and helper had before any hook, and must have again.
struct Before {
    helper: u32,
    descriptors: [usize; 2],
}

impl Before {
    fn of(guard: &Guard) -> Before {
        let helper = guard.helper().expect("a helper");
        Before { helper, descriptors: [guard.pid(), helper].map(descriptors_of) }
    }

    fn expect_again(&self, guard: &Guard) {
        let guard = guard.pid();
        wait_for("no child and no zombie", || {
            children(self.helper).is_empty() && children(guard) == [self.helper]
        });
        // Also that of a process which the guard had in hand.
        wait_for("no descriptor that is left", || {
            [guard, self.helper].map(descriptors_of) == self.descriptors
        });
    }
}

/// A hook that lasts too long is ended after this; long for what should end by itself.
const SOON: &str = "1";
const LATE: &str = "60";

/// A guard with the same script for both hooks, whose kills come on time whatever the script does, and which says
/// `saying` in one line each time, or nothing. `spoil` changes the script once the guard runs.
fn expect_borne(
    sandbox: &Sandbox,
    script: &str,
    timeout: &str,
    saying: Option<&str>,
    spoil: impl FnOnce(&Path),
) {
    expect_borne_with(sandbox, script, timeout, saying, spoil, Stdio::null());
}

fn expect_borne_with(
    sandbox: &Sandbox,
    script: &str,
    timeout: &str,
    saying: Option<&str>,
    spoil: impl FnOnce(&Path),
    stdout: Stdio,
) {
    let memory = FakeMemory::new(sandbox);
    let options = ["-P", script, "-N", script, "--hook-timeout", timeout, "--cooldown", "0"];
    let mut command = sandbox.guard_command(&options);
    // One of this namespace, which a hook can name.
    command.stdout(stdout).process_group(0);
    let guard = sandbox.start_guard(command);
    spoil(Path::new(script));
    let before = Before::of(&guard);

    let mut first = sandbox.hog(&["--size", "60M"]);
    let sleeps = guard.sleeps();
    memory.available(LOW);
    let (slept, took) = follow_to_end(&guard, &mut first, sleeps);
    note(&format!("SIGTERM after {took:?}, {slept} sleeps"));
    assert!(slept <= SLEEPS_FOR_HOOK, "{slept} sleeps, {took:?}");
    memory.recover(&guard);

    let mut second = sandbox.hog(&["--size", "60M"]);
    let began = Instant::now();
    expect_kill_on_time(&memory, &guard, &mut second);
    note(&format!("SIGKILL after {:?}", began.elapsed()));
    memory.recover(&guard);

    for hog in [first, second] {
        guard.wait_for(&format!("process {} exited after", hog.pid()));
        for when in ["pre-kill", "post-kill"] {
            let about = format!("the {when} hook for process {} ", hog.pid());
            if let Some(saying) = saying {
                assert_eq!(guard.wait_for(&about), format!("{about}{saying}"));
            }
        }
    }
    before.expect_again(&guard);
    // And it is said once.
    let lines = guard.lines(" hook ");
    assert_eq!(lines.len(), if saying.is_some() { 4 } else { 0 }, "{lines:?}");
    guard.stop();
}

fn leave(_: &Path) {}

#[test]
fn a_hook_that_sleeps_for_ever_is_ended_with_its_children() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", SLEEP_FOR_EVER);
        expect_borne(sandbox, &script, SOON, Some("ran too long: killed"), leave);
        wait_for("their end", || living("sleep").is_empty());
    });
}

#[test]
fn a_hook_that_fails_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "exit 1");
        expect_borne(sandbox, &script, LATE, Some("ended with status 1"), leave);
    });
}

#[test]
fn a_hook_that_exists_no_more_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "");
        let remove = |path: &Path| fs::remove_file(path).expect("a script");
        expect_borne(sandbox, &script, LATE, Some("cannot be run: ENOENT (not found)"), remove);
    });
}

#[test]
fn a_hook_that_may_not_be_executed_any_more_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "");
        let said = "cannot be run: EACCES (permission denied)";
        expect_borne(sandbox, &script, LATE, Some(said), |path| {
            fs::set_permissions(path, Permissions::from_mode(0o644)).expect("permissions");
        });
    });
}

#[test]
fn a_hook_that_does_not_say_what_runs_it_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "");
        let said = "cannot be run: ENOEXEC (no program; does it begin with #!/bin/sh?)";
        expect_borne(sandbox, &script, LATE, Some(said), |path| {
            fs::write(path, "echo hello\n").expect("a script");
        });
    });
}

#[test]
fn a_hook_whose_shell_is_missing_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "");
        expect_borne(sandbox, &script, LATE, Some("cannot be run: ENOENT (not found)"), |path| {
            fs::write(path, "#!/nowhere/sh\n").expect("a script");
        });
    });
}

#[test]
fn a_hook_that_prints_what_nobody_reads_is_ended_like_any_that_hangs() {
    sandboxed(|sandbox| {
        let print = "exec dd if=/dev/zero bs=1048576 count=10 2>/dev/null";
        let script = sandbox.script("hook", print);
        let (_reader, writer) = full_pipe();
        let said = Some("ran too long: killed");
        expect_borne_with(sandbox, &script, SOON, said, leave, writer.into());
    });
}

#[test]
fn a_hook_that_prints_to_a_reader_who_has_gone_ends_by_sigpipe() {
    sandboxed(|sandbox| {
        let print = "exec dd if=/dev/zero bs=1048576 count=10 2>/dev/null";
        let script = sandbox.script("hook", print);
        let (reader, writer) = pipe();
        drop(reader);
        let said = Some("was ended by signal 13");
        expect_borne_with(sandbox, &script, LATE, said, leave, writer.into());
    });
}

#[test]
fn a_hook_that_fills_the_standard_error_of_the_guard_costs_no_kill_and_no_line() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let print = "exec dd if=/dev/zero bs=1048576 count=10 >&2";
        let script = sandbox.script("hook", print);
        let (_reader, writer) = full_pipe();
        let log = sandbox.path("log");
        let options = ["-P", &script, "-N", &script, "--hook-timeout", SOON, "--log-file"];
        let mut command = sandbox.guard_command(&options);
        command.arg(&log).stderr(writer);
        let guard = sandbox.start_guard_unheard(command);
        guard.wait_for("mem avail:");
        let before = Before::of(&guard);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        guard.wait_for_many("ran too long: killed", 2);
        guard.wait_for("exited after");
        before.expect_again(&guard);
        guard.stop();
    });
}

#[test]
fn a_daemon_that_a_hook_has_started_lives_on() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "$dir/hog --name daemon &");
        expect_borne(sandbox, &script, LATE, None, leave);
        wait_for("all four", || living("daemon").len() == 4);
    });
}

#[test]
fn a_hook_that_kills_itself_is_told_of() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "kill -KILL $$");
        expect_borne(sandbox, &script, LATE, Some("was ended by signal 9"), leave);
    });
}

#[test]
fn a_hook_that_stops_itself_is_ended_like_any_that_hangs() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "kill -STOP $$");
        expect_borne(sandbox, &script, SOON, Some("ran too long: killed"), leave);
    });
}

#[test]
fn a_hook_that_closes_its_descriptors_is_like_any_other() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "exec <&- >&- 2>&-");
        expect_borne(sandbox, &script, LATE, None, leave);
    });
}

#[test]
fn a_hook_that_ignores_all_it_can_is_ended_all_the_same() {
    sandboxed(|sandbox| {
        let script = sandbox.script("hook", "trap '' TERM INT HUP QUIT\nsleep 1000");
        expect_borne(sandbox, &script, SOON, Some("ran too long: killed"), leave);
    });
}

#[test]
fn a_hook_that_has_left_its_group_is_ended_all_the_same() {
    sandboxed(|sandbox| {
        // The fifth field is the group.
        let leave_group = "read -r _ _ _ _ group _ </proc/$PPID/stat
            exec \"$dir/hog\" --name sleeper --group \"$group\"";
        let script = sandbox.script("hook", leave_group);
        expect_borne(sandbox, &script, SOON, Some("ran too long: killed"), leave);
    });
}

#[test]
fn who_joins_the_group_while_the_hook_runs_is_seen_before_the_signal() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        // A process that is protected, started by the hook, and so not by one that the guard protects anyway.
        let join = "mkfifo $dir/joined.$OOM_GUARD_PID
            $dir/hog --group $OOM_GUARD_PID --name precious >$dir/joined.$OOM_GUARD_PID &
            read -r _ <$dir/joined.$OOM_GUARD_PID";
        let script = sandbox.script("hook", join);
        let guard = sandbox.guard(&["-g", "-P", &script, "--ignore", "^precious$"]);
        // On a busy machine the hook may take longer than the signal waits for it.
        let is_seen = (0..10).any(|_| {
            let mut hog = sandbox.hog(&["--size", "60M", "--new-group"]);
            memory.available(LOW);
            hog.wait_for_end();
            memory.recover(&guard);
            guard.count("(protected: ignored): only the process is signalled") > 0
        });
        assert!(is_seen && !living("precious").is_empty());
        guard.stop();
    });
}

// ---- many kills ----

#[test]
fn a_thousand_kills_leave_nothing_behind_and_lose_no_hook_without_a_word() {
    const BATCH: usize = 20;
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] =
            ["pre", "post"].map(|name| sandbox.script(name, "printf x >>$dir/${0##*/}.ran"));
        let mut options = vec!["-P", &pre, "-N", &post, "--cooldown", "0"];
        options.extend(["--process-limit=8M", "--interval=0.1"]);
        let guard = sandbox.guard(&options);
        let before = Before::of(&guard);
        let (began, mut killed) = (Instant::now(), 0);
        while killed < 1000 && began.elapsed() < Duration::from_secs(40) {
            let start = |_| Hog::start_unready(sandbox.hog_command(&["--size", "10M"]));
            let mut hogs: Vec<Hog> = (0..BATCH).map(start).collect();
            for hog in &mut hogs {
                hog.wait_for_end();
            }
            killed += BATCH;
        }
        note(&format!("{killed} kills in {:?}", began.elapsed()));
        guard.wait_for_many(" exited after ", killed);
        before.expect_again(&guard);
        drop(memory);
        let log = guard.stop();
        assert!(!log.contains("messages were lost"), "{log}");
        let ran = |hook| fs::read(sandbox.path(hook)).map_or(0, |ran| ran.len());
        // Where they last, or the helper does not get to them.
        let reasons = [" not run: 8 hooks run already", " not run: it comes too late"];
        let left_out: usize = reasons.map(|why| log.matches(why).count()).iter().sum();
        note(&format!("{} and {} hooks, {left_out} left out", ran("pre.ran"), ran("post.ran")));
        assert_eq!(ran("pre.ran") + ran("post.ran") + left_out, 2 * killed, "{left_out} left out");
        assert_eq!(log.matches(" hook for process ").count(), left_out, "{log}");
    });
}

// ---- a machine that cannot start anything ----

#[test]
fn where_no_process_may_be_started_that_costs_the_hook_and_never_the_kill() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let script = sandbox.script("hook", APPEND);
        // The limit is none for root; in a user namespace root has no such privilege.
        let as_other = |command: Command| match sandbox.has_other_users() {
            true => sandbox.command_as_nobody(command),
            false => command,
        };
        let options = ["-P", &script, "-N", &script, "--cooldown", "0"];
        let guard = sandbox.start_guard(as_other(sandbox.guard_command(&options)));
        let before = Before::of(&guard);
        let mut limit = Command::new("true");
        let helper = before.helper as libc::pid_t;
        let set = move || {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: `none` lives for the call, and the former limit is not asked for.
            match unsafe { libc::prlimit(helper, libc::RLIMIT_NPROC, &none, ptr::null_mut()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { limit.pre_exec(set) };
        // By the helper's own user, which may always lower it.
        assert!(as_other(limit).status().expect("a limit").success());
        let mut hog = Hog::start(as_other(sandbox.hog_command(&["--size", "60M"])));
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        for when in ["pre-kill", "post-kill"] {
            let about = format!("the {when} hook for process {} ", hog.pid());
            let said = "not run: cannot start it: EAGAIN (try again)";
            assert_eq!(guard.wait_for(&about), format!("{about}{said}"));
        }
        // SIGTERM waits for no hook that does not run.
        let mut hog = Hog::start(as_other(sandbox.hog_command(&["--size", "60M"])));
        let sleeps = guard.sleeps();
        memory.available(LOW);
        let (slept, took) = follow_to_end(&guard, &mut hog, sleeps);
        assert!(slept <= 2 * FEW_SLEEPS, "{slept} sleeps, {took:?}");
        memory.recover(&guard);
        guard.wait_for_many("not run: cannot start it: ", 4);
        before.expect_again(&guard);
        guard.stop();
    });
}

#[test]
fn where_all_memory_is_taken_that_costs_the_hook_and_never_the_kill() {
    sandboxed(|sandbox| {
        if skip_where_emulated("which takes memory for each step") {
            return;
        }
        let memory = FakeMemory::new(sandbox);
        let group = match MemoryGroup::new() {
            Ok(group) => group,
            Err(why) => return skip(&why),
        };
        let script = sandbox.script("hook", APPEND);
        let ran = sandbox.path("hook.ran");
        let guard = sandbox.guard(&["-P", &script, "-N", &script, "--cooldown", "0"]);
        let before = Before::of(&guard);
        // Only the helper: on a machine that is full the kernel frees something for the watch to open its files by,
        // while a group that is full just refuses.
        if let Err(why) = group.take(before.helper) {
            return skip(&why);
        }
        group.limit("4096");
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        for when in ["pre-kill", "post-kill"] {
            let said = guard.wait_for(&format!("the {when} hook for process {} ", hog.pid()));
            assert!(said.contains(" not run: cannot start it: "), "{said}");
            note(&said);
        }
        assert!(lines_of(&ran).is_empty());
        // And with memory they run again.
        group.limit("-1");
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        memory.recover(&guard);
        wait_for("the hooks", || lines_of(&ran).len() == 2);
        before.expect_again(&guard);
        guard.stop();
        drop(group);
    });
}

/// A memory cgroup that refuses instead of killing.
struct MemoryGroup {
    path: PathBuf,
    limit: &'static str,
}

impl MemoryGroup {
    fn new() -> Result<MemoryGroup, String> {
        let places =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (place, limit) in places {
            let made = tempfile::Builder::new().prefix("oom_guard-test-").tempdir_in(place);
            let Ok(path) = made.map(tempfile::TempDir::keep) else { continue };
            let group = MemoryGroup { path, limit };
            if group.path.join(limit).exists() {
                return Ok(group);
            }
        }
        Err("no memory cgroup can be made here".into())
    }

    fn limit(&self, bytes: &str) {
        let bytes = if self.limit == "memory.max" && bytes == "-1" { "max" } else { bytes };
        fs::write(self.path.join(self.limit), bytes).expect("a limit");
    }

    /// Also sees to it that the kernel kills nobody for what is missing there.
    fn take(&self, pid: u32) -> Result<(), String> {
        let control = self.path.join("memory.oom_control");
        let spared = match control.exists() {
            true => fs::write(control, "1"),
            false => fs::write(format!("/proc/{pid}/oom_score_adj"), "-1000"),
        };
        let taken =
            spared.and_then(|()| fs::write(self.path.join("cgroup.procs"), pid.to_string()));
        taken.map_err(|error| format!("no use can be made of a memory cgroup: {error}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = fs::write(self.path.join("../cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

// ---- settings ----

/// What is wrong with each, and how that is said.
fn faulty(sandbox: &Sandbox) -> [(String, &'static str); 4] {
    let plain = sandbox.path("plain");
    fs::write(&plain, "#!/bin/sh\n").expect("a file");
    let path = |name: &str| sandbox.path(name).to_str().expect("a plain path").to_owned();
    [
        ("hook.sh".into(), "is not the absolute path of a file"),
        (path("missing"), "not a program that can be run: ENOENT (not found)"),
        (path("plain"), "not a program that can be run: EACCES (permission denied)"),
        (path("."), "not a program that can be run: EISDIR (not a file)"),
    ]
}

fn expect_refusal(output: &Output, named: &str, value: &str, fault: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let tells = |line: &str| [named, value, fault].iter().all(|part| line.contains(part));
    assert!(said.lines().any(tells), "{named} {value}: {fault}:\n{said}");
}

#[test]
fn a_hook_that_cannot_be_run_is_refused_at_the_start_wherever_it_is_named() {
    sandboxed(|sandbox| {
        let file = sandbox.path("guard.conf");
        let file = file.to_str().expect("a plain path");
        let hooks = [("pre-kill", "PRE_KILL_SCRIPT"), ("post-kill", "POST_KILL_SCRIPT")];
        for (value, fault) in faulty(sandbox) {
            for (option, key) in hooks {
                let key = format!("OOM_GUARD_{key}");
                for mode in ["--check", "--dryrun"] {
                    let run = |command: &mut Command| {
                        command.stderr(Stdio::piped()).output().expect("the guard")
                    };
                    let long = format!("--{option}={value}");
                    let output = run(&mut sandbox.guard_command(&[mode, "-c", "none", &long]));
                    expect_refusal(&output, option, &value, fault);

                    let mut command = sandbox.guard_command(&[mode, "-c", "none"]);
                    let output = run(command.env(&key, &value));
                    let named = if value.starts_with('/') { option } else { &*key };
                    expect_refusal(&output, named, &value, fault);

                    fs::write(file, format!("{key}='{value}'\n")).expect("a file");
                    let output = run(&mut sandbox.guard_command(&[mode, "-c", file]));
                    expect_refusal(&output, named, &value, fault);
                }
            }
        }
    });
}

#[test]
fn new_settings_with_a_hook_that_cannot_be_run_are_refused_and_the_old_hook_stays() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let hook = sandbox.script("hook", APPEND);
        let file = sandbox.path("guard.conf");
        let key = "OOM_GUARD_POST_KILL_SCRIPT";
        fs::write(&file, format!("{key}={hook}\n")).expect("a file");
        let guard = sandbox.guard(&["-c", file.to_str().expect("a plain path")]);
        for (count, (value, fault)) in faulty(sandbox).into_iter().enumerate() {
            fs::write(&file, format!("{key}='{value}'\n")).expect("a file");
            guard.signal(libc::SIGHUP);
            guard.wait_for_many("the new settings are not taken", count + 1);
            let told = guard.lines(fault);
            assert!(told.iter().any(|line| line.contains(&*value)), "{told:?}");
        }
        let mut hog = sandbox.hog(&["--size", "60M"]);
        expect_kill_on_time(&memory, &guard, &mut hog);
        wait_for("the hook", || lines_of(&sandbox.path("hook.ran")).len() == 1);
        memory.recover(&guard);
        guard.stop();
    });
}

#[test]
fn the_kernel_that_chooses_knows_no_hook() {
    sandboxed(|sandbox| {
        let hook = sandbox.script("hook", "");
        for option in ["pre-kill", "post-kill"] {
            let long = format!("--{option}={hook}");
            let mut command = sandbox.guard_command(&["--dryrun", "--kernel-oom", &long]);
            let output = command.stderr(Stdio::piped()).output().expect("the guard");
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let conflict = format!("--kernel-oom: cannot go with --{option}");
            assert!(said.contains(&conflict), "{said}");
        }
    });
}

#[test]
fn in_a_dry_run_hooks_say_so_and_run_at_most_once_a_second() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = ["pre", "post"].map(|name| sandbox.script(name, APPEND));
        let mut hogs = [(); 4].map(|()| sandbox.hog(&["--size", "60M"]));
        let mut options = vec!["--dryrun", "-P", &pre, "-N", &post];
        options.extend(["--process-limit=40M", "--interval=0.1", "--cooldown=0"]);
        let began = Instant::now();
        let guard = sandbox.guard(&options);
        memory.available(LOW);
        let ran = |hook| lines_of(&sandbox.path(hook)).len();
        wait_for("some", || ran("post.ran") >= 4);
        // First the numbers, and then the time in which they came about.
        let ran = ["pre.ran", "post.ran"].map(ran);
        let most = began.elapsed().as_secs() as usize + 1;
        assert!(ran.iter().all(|&times| times <= most), "{ran:?}, more than {most}");
        for line in ["pre.ran", "post.ran"].iter().flat_map(|hook| lines_of(&sandbox.path(hook))) {
            assert!(line.ends_with(" dryrun"), "{line}");
        }
        assert!(hogs.iter_mut().all(Hog::is_alive));
        guard.stop();
    });
}

// ---- the example ----

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hook-example.sh")
}

/// Runs the example with a `logger` that only notes its arguments. As a function, since some shells have their own
/// one, which they prefer to any program.
const WITH_LOGGER: &str = r#"logger() { printf '%s\0' "$@" >>"$LOG.logger"; }; . "$0""#;

/// The example under that shell, told of a process with this name, and what it has written in the log.
fn run_example(sandbox: &Sandbox, shell: &[&str], path: &str, name: &[u8]) -> Vec<u8> {
    let log = sandbox.path("victims.log");
    let _ = fs::remove_file(&log);
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(example()).env_clear().env("PATH", path).env("LOG", &log);
    command.current_dir(&sandbox.dir);
    let told = [("SIGNAL", "SIGKILL"), ("PID", "77"), ("ACTION", "kill"), ("UID", "1000")];
    command.envs(told.map(|(key, value)| (format!("OOM_GUARD_{key}"), value)));
    command.env("OOM_GUARD_RSS", "4711").env("OOM_GUARD_REASON", "memory");
    command.env("OOM_GUARD_NAME", OsString::from_vec(name.to_vec()));
    command.env("OOM_GUARD_CMDLINE", OsString::from_vec(EVIL_COMMAND.to_vec()));
    let output = command.output().expect("a shell");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    fs::read(log).expect("a log")
}

fn shells() -> Vec<Vec<&'static str>> {
    let busybox = Command::new("busybox").arg("true").output();
    let has_busybox = busybox.is_ok_and(|output| output.status.success());
    if !has_busybox {
        skip("no busybox");
    }
    // With its path, since the example is run with another one.
    let find = |name: &str| {
        let all = ["/bin", "/usr/bin"].map(|dir| format!("{dir}/{name}"));
        all.into_iter().find(|path| Path::new(path).exists())
    };
    let mut shells = vec![vec!["/bin/sh"]];
    if let Some(busybox) = find("busybox").filter(|_| has_busybox) {
        shells.push(vec![Box::leak(busybox.into_boxed_str()), "sh"]);
    }
    shells
}

const NAMES: [&[u8]; 5] = [
    b"plain",
    b"a\n2026-01-01 00:00:00 SIGKILL 1 (init)",
    b"\x1b[2J\r\x7f",
    b"%s%n$(touch forged)`id`\\n\\033",
    b"-n '\" ; \xff\xfe",
];

fn expect_one_plain_line(text: &[u8]) {
    let (end, line) = text.split_last().expect("a line");
    assert_eq!(*end, b'\n');
    assert!(line.iter().all(|&byte| byte >= b' ' && byte != 0x7f), "{text:?}");
}

#[test]
fn the_example_notes_each_victim_in_one_line_that_no_name_can_forge() {
    sandboxed(|sandbox| {
        let logged = sandbox.path("victims.log.logger");
        for shell in shells() {
            let with_logger = [&shell[..], &["-c", WITH_LOGGER]].concat();
            for name in NAMES {
                let _ = fs::remove_file(&logged);
                let line = run_example(sandbox, &with_logger, "/usr/bin:/bin", name);
                expect_one_plain_line(&line);
                let shown: Vec<u8> =
                    name.iter().map(|&b| if b < b' ' || b == 0x7f { b'?' } else { b }).collect();
                let told = [
                    b"SIGKILL 77 (",
                    &shown[..],
                    b") kill of uid 1000: 4711 KiB, because of memory",
                ]
                .concat();
                assert!(line.ends_with(&[&told[..], b"\n"].concat()), "{line:?}");
                let expected = [b"-t\0oom_guard-hook\0--\0", &told[..], b"\0"].concat();
                assert_eq!(fs::read(&logged).expect("logger"), expected, "{shell:?}");
                assert!(!sandbox.path("forged").exists());
            }
        }
    });
}

#[test]
fn the_example_does_without_logger() {
    sandboxed(|sandbox| {
        let bin = sandbox.path("bin");
        fs::create_dir(&bin).expect("a directory");
        for tool in ["tr", "date"] {
            let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
            let found = found.iter().find(|path| path.exists()).expect("a tool");
            std::os::unix::fs::symlink(found, bin.join(tool)).expect("a link");
        }
        let path = bin.to_str().expect("a plain path");
        for shell in shells() {
            let mut ask = Command::new(shell[0]);
            ask.args(&shell[1..]).args(["-c", "command -v logger"]).env("PATH", path);
            if ask.output().is_ok_and(|output| output.status.success()) {
                skip(&format!("{} has a logger of its own", shell.join(" ")));
                continue;
            }
            expect_one_plain_line(&run_example(sandbox, &shell, path, b"plain"));
        }
    });
}

#[test]
fn the_example_is_a_hook() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let logs = sandbox.path("logs");
        fs::create_dir(&logs).expect("a directory");
        bind_over(&logs, Path::new("/var/log"));
        let hook = sandbox.path("hook-example.sh");
        fs::copy(example(), &hook).expect("the example");
        let hook = hook.to_str().expect("a plain path");
        let guard = sandbox.guard(&["-P", hook, "-N", hook]);
        let mut hog = sandbox.hog(&["--size", "60M", "--name", "a\\nb"]);
        memory.available(LOW);
        hog.wait_for_end();
        memory.recover(&guard);
        let log = logs.join("oom_guard-victims.log");
        wait_for("both lines", || lines_of(&log).len() == 2);
        let told = format!(" SIGTERM {} (a?b) kill of uid 0: ", hog.pid());
        assert!(lines_of(&log).iter().all(|line| line.contains(&told)), "{:?}", lines_of(&log));
        assert_eq!(guard.count(" hook "), 0);
        guard.stop();
    });
}

// ---- the one that restarts services ----

/// What manages services writes down how it was called, and so does `logger`. Those that a BusyBox shell may have itself
/// are functions.
const MANAGERS: &str = r#"note() { printf '%s|' "$@" >>"$NOTED"; echo >>"$NOTED"; }
    logger() { :; }
    sv() { note sv "$@"; }
    . "$0""#;
const MANAGER: &str = r#"printf '%s|' "${0##*/}" "$@" >>"$NOTED"; echo >>"$NOTED""#;

struct Restarts<'a> {
    sandbox: &'a Sandbox,
    shell: Vec<&'static str>,
}

impl Restarts<'_> {
    /// Runs the hook for a victim of that service and cgroup; how managers were called in all.
    fn of(&self, action: &str, service: &[u8], cgroup: &str, every: &str) -> Vec<String> {
        let output = self.command(action, service, cgroup, every).output().expect("a shell");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        lines_of(&self.sandbox.path("noted"))
    }

    fn command(&self, action: &str, service: &[u8], cgroup: &str, every: &str) -> Command {
        let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hook-restart.sh");
        let dir = self.sandbox.dir.to_str().expect("a plain path");
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).args(["-c", MANAGERS]).arg(hook).env_clear();
        command
            .env("PATH", format!("{dir}/bin:/usr/bin:/bin"))
            .env("NOTED", self.sandbox.path("noted"));
        command.env("STATE", self.sandbox.path("state/of")).env("EVERY", every);
        command.env("OOM_GUARD_ACTION", action).env("OOM_GUARD_CGROUP", cgroup);
        command.env("OOM_GUARD_PID", "77").current_dir(&self.sandbox.dir);
        let listed = [b"other ".as_slice(), service, b" more"].concat();
        command.env("RESTART", OsString::from_vec(listed));
        command.env("OOM_GUARD_SERVICE", OsString::from_vec(service.to_vec()));
        command
    }
}

/// With each shell that is there, and nothing restarted before.
fn with_restarts(sandbox: &Sandbox, body: impl Fn(&Restarts)) {
    fs::create_dir(sandbox.path("bin")).expect("a directory");
    for manager in ["systemctl", "rc-service"] {
        sandbox.script(&format!("bin/{manager}"), MANAGER);
    }
    for shell in shells() {
        let _ = fs::remove_dir_all(sandbox.path("state"));
        fs::write(sandbox.path("noted"), "").expect("a file");
        body(&Restarts { sandbox, shell });
    }
}

#[test]
fn the_hook_that_restarts_calls_what_manages_the_service() {
    sandboxed(|sandbox| {
        with_restarts(sandbox, |hook| {
            for (service, cgroup, call) in [
                (
                    "web.service",
                    "/system.slice/web.service",
                    "systemctl|--no-block|restart|--|web.service|",
                ),
                (
                    r"a\x2db@c:d_e.service",
                    "/x",
                    r"systemctl|--no-block|restart|--|a\x2db@c:d_e.service|",
                ),
                ("web", "/openrc.web", "rc-service|--|web|restart|"),
                ("db", "/openrc.db/below", "rc-service|--|db|restart|"),
                ("net.eth0", "/net.eth0", "rc-service|--|net.eth0|restart|"),
                ("old", "/openrc_old", "rc-service|--|old|restart|"),
                ("mail", "/", "sv|restart|mail|"),
                ("mail2", "", "sv|restart|mail2|"),
            ] {
                let calls = hook.of("kill", service.as_bytes(), cgroup, "600");
                assert_eq!(calls.last().map(String::as_str), Some(call), "{:?}", hook.shell);
            }
        });
    });
}

#[test]
fn the_hook_that_restarts_does_so_for_each_service_once_in_its_time() {
    sandboxed(|sandbox| {
        with_restarts(sandbox, |hook| {
            let calls =
                |service: &str, every| hook.of("kill", service.as_bytes(), "/", every).len();
            assert_eq!([calls("web", "600"), calls("web", "600"), calls("web", "600")], [1, 1, 1]);
            assert_eq!([calls("db", "600"), calls("db", "600")], [2, 2]);
            // Its time is over.
            assert_eq!([calls("web", "0"), calls("web", "600")], [3, 3]);
        });
    });
}

#[test]
fn the_hook_that_restarts_restarts_nothing_unless_it_is_listed() {
    sandboxed(|sandbox| {
        with_restarts(sandbox, |hook| {
            for listed in ["", "web web.servicex", "xweb.service"] {
                let mut command = hook.command("kill", b"web.service", "/", "600");
                assert!(command.env("RESTART", listed).status().expect("a shell").success());
            }
            assert_eq!(lines_of(&sandbox.path("noted")), [""; 0]);
        });
    });
}

#[test]
fn the_hook_that_restarts_does_nothing_for_what_was_not_ended_or_is_no_name() {
    sandboxed(|sandbox| {
        with_restarts(sandbox, |hook| {
            for action in ["dryrun", "warn", ""] {
                assert_eq!(hook.of(action, b"web.service", "/", "600"), [""; 0], "{action}");
            }
            let names: [&[u8]; 17] = [
                b"",
                b"-H",
                b"--help.service",
                b".",
                b"..",
                b"../sshd",
                b"a/b",
                b"/etc/sv/web",
                b"a b.service",
                b"a;touch forged",
                b"$(touch forged)",
                b"`touch forged`",
                b"a\nb",
                b"*",
                b"web?",
                "größe.service".as_bytes(),
                b"\xff\xfe",
            ];
            for name in names {
                assert_eq!(hook.of("kill", name, "/", "600"), [""; 0], "{name:?}");
            }
            assert!(!sandbox.path("state").exists() && !sandbox.path("forged").exists());
        });
    });
}

// ---- the helper ----

/// Appends as it begins, and hangs the first time only.
const HANG_FIRST: &str = "echo \"$OOM_GUARD_PID\" >>$dir/${0##*/}.ran
    [ -e $dir/hung ] || { >$dir/hung; sleep 1000; }";

fn expect_hooks_again(sandbox: &Sandbox, trouble: libc::c_int) {
    let memory = FakeMemory::new(sandbox);
    let pre = sandbox.script("pre", HANG_FIRST);
    let post = sandbox.script("post", "echo \"$OOM_GUARD_PID\" >>$dir/${0##*/}.ran");
    let guard = sandbox.guard(&["-P", &pre, "-N", &post, "--cooldown", "0"]);
    let helper = guard.helper().expect("a helper");
    let mut first = sandbox.hog(&["--size", "60M", "--linger", "0.5"]);
    memory.available(LOW);
    wait_for("the hook", || sandbox.path("hung").exists());
    signal_to(helper, trouble);
    first.wait_for_end();
    // One that only hangs is found out by what it owes.
    let mut second = sandbox.hog(&["--size", "60M"]);
    guard.make_look(1);
    memory.available(VERY_LOW);
    second.wait_for_end();
    memory.recover(&guard);
    guard.wait_for("the helper process was started again");
    let mut third = sandbox.hog(&["--size", "60M"]);
    expect_kill_on_time(&memory, &guard, &mut third);
    memory.recover(&guard);
    let pid = third.pid().to_string();
    for hook in ["pre.ran", "post.ran"] {
        wait_for("the next hook", || lines_of(&sandbox.path(hook)).contains(&pid));
    }
    // None ran twice.
    for hook in ["pre.ran", "post.ran"] {
        let mut ran = lines_of(&sandbox.path(hook));
        let all = ran.len();
        ran.sort();
        ran.dedup();
        assert_eq!(ran.len(), all, "{hook}");
    }
    guard.stop();
}

#[test]
fn after_a_helper_that_was_killed_while_a_hook_ran_the_next_kill_has_its_hooks() {
    sandboxed(|sandbox| expect_hooks_again(sandbox, libc::SIGKILL));
}

#[test]
fn after_a_helper_that_hung_while_a_hook_ran_the_next_kill_has_its_hooks() {
    sandboxed(|sandbox| expect_hooks_again(sandbox, libc::SIGSTOP));
}

#[test]
fn sigterm_waits_for_a_hook_that_a_hung_helper_does_not_start_200_ms_at_most() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let pre = sandbox.script("pre", APPEND);
        let guard = sandbox.guard(&["-P", &pre]);
        signal_to(guard.helper().expect("a helper"), libc::SIGSTOP);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let sleeps = guard.sleeps();
        memory.available(LOW);
        let (slept, took) = follow_to_end(&guard, &mut hog, sleeps);
        note(&format!("SIGTERM after {took:?}, {slept} sleeps"));
        assert!(slept <= SLEEPS_FOR_HOOK, "{slept} sleeps, {took:?}");
        memory.recover(&guard);
        guard.wait_for("the helper process was started again");
        guard.stop();
    });
}

#[test]
fn a_hook_before_the_kill_that_a_helper_gets_to_too_late_is_told_of() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let [pre, post] = ["pre", "post"].map(|name| sandbox.script(name, APPEND));
        let guard = sandbox.guard(&["-P", &pre, "-N", &post]);
        let helper = guard.helper().expect("a helper");
        signal_to(helper, libc::SIGSTOP);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        memory.available(LOW);
        hog.wait_for_end();
        memory.recover(&guard);
        thread::sleep(Duration::from_millis(1100));
        signal_to(helper, libc::SIGCONT);
        let pid = hog.pid();
        guard.wait_for(&format!("the pre-kill hook for process {pid} not run: it comes too late"));
        // The one after the kill is as good as ever.
        wait_for("the hook after", || lines_of(&sandbox.path("post.ran")).len() == 1);
        assert!(!sandbox.path("pre.ran").exists());
        guard.stop();
    });
}

/// A guard with a hook that runs now and takes no other one's time, and its settings, which are to change.
fn guard_with_running_hook(
    sandbox: &Sandbox,
    memory: &FakeMemory,
    timeout: &str,
) -> (Guard, PathBuf, u32) {
    let body = "echo $$ >$dir/new; mv $dir/new $dir/began
        until [ -e $dir/go ]; do sleep 0.05; done; >$dir/done";
    let post = sandbox.script("post", body);
    let file = sandbox.path("guard.conf");
    fs::write(&file, format!("OOM_GUARD_HOOK_TIMEOUT={timeout}\n")).expect("a file");
    let options = ["-c", file.to_str().expect("a plain path"), "-N", &post];
    let guard = sandbox.guard(&options);
    let mut hog = sandbox.hog(&["--size", "60M"]);
    expect_kill_on_time(memory, &guard, &mut hog);
    memory.recover(&guard);
    wait_for("the hook", || sandbox.path("began").exists());
    let hook = fs::read_to_string(sandbox.path("began")).expect("a number");
    (guard, file, hook.trim().parse().expect("a number"))
}

fn reread(guard: &Guard, file: &Path, timeout: &str) {
    fs::write(file, format!("OOM_GUARD_HOOK_TIMEOUT={timeout}\n")).expect("a file");
    guard.signal(libc::SIGHUP);
    guard.wait_for("settings were read again");
}

fn is_alone(guard: &Guard) -> bool {
    living("oom_guard").len() == 2 && children(guard.pid()).len() == 1
}

#[test]
fn a_hook_that_runs_while_the_settings_change_is_seen_to_its_end() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (guard, file, _) = guard_with_running_hook(sandbox, &memory, LATE);
        reread(&guard, &file, "0.1");
        // Far longer than the new limit.
        thread::sleep(Duration::from_millis(500));
        File::create(sandbox.path("go")).expect("a file");
        wait_for("the hook's end", || sandbox.path("done").exists());
        wait_for("guard and helper alone", || is_alone(&guard));
        assert_eq!(guard.count(" hook "), 0);
        guard.stop();
    });
}

#[test]
fn a_hook_that_hangs_while_the_settings_change_is_ended_by_the_old_ones() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (guard, file, hook) = guard_with_running_hook(sandbox, &memory, "2");
        reread(&guard, &file, LATE);
        guard.wait_for("ran too long: killed");
        wait_for("its end", || !Path::new(&format!("/proc/{hook}")).exists());
        wait_for("guard and helper alone", || is_alone(&guard));
        guard.stop();
    });
}

#[test]
fn no_process_of_the_guard_is_told_as_a_candidate_while_a_helper_sees_a_hook_to_its_end() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (guard, file, _) = guard_with_running_hook(sandbox, &memory, LATE);
        reread(&guard, &file, "50");
        guard.signal(libc::SIGUSR1);
        guard.wait_for("first would be");
        assert_eq!(guard.lines(" oom_guard  "), [""; 0]);
        File::create(sandbox.path("go")).expect("a file");
        guard.stop();
    });
}

#[test]
fn a_helper_that_only_sees_a_hook_to_its_end_is_no_candidate() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (guard, file, _) = guard_with_running_hook(sandbox, &memory, LATE);
        let old = guard.helper().expect("a helper");
        let more = "OOM_GUARD_HOOK_TIMEOUT=50\nOOM_GUARD_ONLY='^oom_guard$'\n";
        fs::write(file, more).expect("a file");
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings were read again");
        // Who has read them may be about to end.
        wait_for("the guard with an old and a new helper", || {
            let all = living("oom_guard");
            all.len() == 3 && all.contains(&old)
        });
        let signals = guard.signals();
        memory.available(LOW);
        guard.wait_for("no process to kill");
        assert_eq!(guard.signals(), signals);
        memory.recover(&guard);
        File::create(sandbox.path("go")).expect("a file");
        guard.stop();
    });
}

#[test]
fn a_guard_that_is_asked_to_end_waits_for_no_hook_and_leaves_none_that_hangs() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let (guard, _, hook) = guard_with_running_hook(sandbox, &memory, "4");
        let began = Instant::now();
        guard.stop();
        note(&format!("ended after {:?}", began.elapsed()));
        let gone = || !Path::new(&format!("/proc/{hook}")).exists();
        let ended = wait_until(Duration::from_secs(20), || gone().then_some(()));
        assert!(ended.is_some(), "the hook lives on, without a limit");
        wait_for("no guard and no helper", || living("oom_guard").is_empty());
    });
}
