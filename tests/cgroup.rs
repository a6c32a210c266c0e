//! Containers: a cgroup whose limit counts as the machine's memory, made by the kernel where this machine lets the test
//! make one, and of files of the test's own elsewhere.

mod common;

use common::*;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const MIB: u64 = 1 << 20;

// ---- a cgroup of the test's own making ----

/// What looks like a mounted cgroup file system of version 2, and holds files of the test.
struct FakeCgroup {
    dir: PathBuf,
}

/// Where it is mounted.
const POINT: &str = "/sys/fs/cgroup";

impl FakeCgroup {
    /// Puts it in place of whatever is there. The kernel must have a real one below, which `mountinfo` shows.
    fn new(sandbox: &Sandbox) -> Result<FakeCgroup, String> {
        let point = Path::new(POINT);
        let tmp = || mount(None, point, Some("tmpfs"), 0, None);
        let real = || mount(None, point, Some("cgroup2"), 0, None);
        // What was there is out of sight for the guard only if it is gone.
        while detach(point).is_ok() {}
        tmp().and_then(|()| real()).map_err(|error| format!("no cgroup file system: {error}"))?;
        let dir = sandbox.path("cgroup");
        fs::create_dir(&dir).expect("a directory");
        bind_over(&dir, point);
        Ok(FakeCgroup { dir })
    }

    /// In place and always of the same length, since the guard keeps the file open.
    fn write(&self, name: &str, value: &str) {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.dir.join(name));
        file.and_then(|file| file.write_all_at(format!("{value:<20}\n").as_bytes(), 0))
            .expect(name);
    }

    /// All files of one below, or at the root: so many MiB, of which `used` are anonymous.
    fn set(&self, below: &str, max: Option<u64>, used: u64) {
        fs::create_dir_all(self.dir.join(below)).expect("a directory");
        let file = |name: &str| format!("./{below}/{name}");
        let bytes = |mib: u64| format!("{:015}", mib * MIB);
        self.write(&file("memory.stat"), &format!("anon {}", bytes(used)));
        self.write(&file("memory.high"), "max");
        self.write(&file("memory.current"), &bytes(used));
        self.write(&file("memory.max"), &max.map_or("max".into(), bytes));
    }
}

fn detach(place: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let place = std::ffi::CString::new(place.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: `place` ends with NUL and lives for the call.
    match unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `body` with one of 1000 MiB in a machine that has as much, or says why not.
fn with_fake(sandbox: &Sandbox, body: impl FnOnce(&FakeCgroup, &FakeMemory)) {
    match FakeCgroup::new(sandbox) {
        Ok(cgroup) => body(&cgroup, &FakeMemory::new(sandbox)),
        Err(why) => skip(&why),
    }
}

#[test]
fn the_limit_of_a_container_counts_and_follows_what_its_manager_sets() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, _| {
            cgroup.set("", Some(200), 50);
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(&["-d", "-s", "100"]);
            guard.wait_for("memory limit of cgroup /: 200 MiB counts as the machine's memory");
            guard.wait_for("mem total: 200 MiB, user mem total: 200 MiB");
            // No message for a minute: what changes all the time is not told each time.
            cgroup.set("", Some(100), 50);
            guard.wait_for("of   100 MiB");
            cgroup.set("", None, 50);
            guard.wait_for("of  1000 MiB");
            guard.look_slowly(5);
            assert!(hog.is_alive());
            assert_eq!(guard.count("counts as the machine's memory"), 1);
            cgroup.set("", Some(100), 97);
            guard.wait_for("sending SIGKILL to process");
            hog.wait_for_end();
            guard.stop();
        });
    });
}

#[test]
fn a_size_goes_by_the_largest_limit_that_was_seen_and_not_by_the_machine() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, _| {
            cgroup.set("", Some(200), 20);
            let mut hog = sandbox.hog(&["--size", "60M"]);
            let guard = sandbox.guard(&["-d", "-s", "100", "-M", "150M"]);
            cgroup.set("", None, 20);
            guard.wait_for("of  1000 MiB");
            // Three quarters of it.
            cgroup.set("", Some(100), 20);
            guard.wait_for("of   100 MiB");
            guard.look_slowly(3);
            assert!(hog.is_alive() && guard.signals().is_empty());
            cgroup.set("", Some(200), 55);
            hog.wait_for_end();
            assert_eq!(guard.count("sending SIGTERM to process"), 1);
            guard.stop();
        });
    });
}

#[test]
fn nobody_is_a_candidate_while_the_named_cgroup_is_not_there() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, memory| {
            let mut hog = sandbox.hog(&["--size", "60M"]);
            memory.available(VERY_LOW);
            let guard = sandbox.guard(&["-d", "--cgroup", "/web"]);
            guard.wait_for("warning: --cgroup: /web: there is no such cgroup");
            guard.wait_for("no process to kill");
            // Of those here none is within.
            cgroup.set("web", Some(100), 99);
            guard.wait_for("of   100 MiB");
            let table = sandbox.explain(&["--cgroup", "/sys/fs/cgroup/web/"]);
            let hogs: Vec<_> = table.lines().filter(|line| line.contains(" hog ")).collect();
            assert!(hogs.iter().all(|line| line.contains("protected: outside cgroup")), "{table}");
            assert_eq!(hogs.len(), 1, "{table}");
            assert!(table.contains("nothing could be killed"), "{table}");
            guard.look_slowly(5);
            assert!(hog.is_alive());
            assert_eq!(guard.signals(), [""; 0]);
            guard.stop();
        });
    });
}

#[test]
fn a_cgroup_that_the_configuration_names_is_taken_over_by_a_reload() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, _| {
            cgroup.set("web", Some(300), 50);
            cgroup.set("db", Some(400), 50);
            let conf = sandbox.path("conf");
            let write = |text: &str| fs::write(&conf, text).expect("a file of settings");
            write("OOM_GUARD_CGROUP=/web\n");
            let guard = sandbox.guard(&["-r", "0.01", "-c", conf.to_str().expect("UTF-8")]);
            guard.wait_for("memory limit of cgroup /web: 300 MiB");
            guard.wait_for("of   300 MiB");
            write("OOM_GUARD_CGROUP=/db\n");
            guard.signal(libc::SIGHUP);
            guard.wait_for("memory limit of cgroup /db: 400 MiB");
            guard.wait_for("of   400 MiB");
            // More than there is: refused, and the old one counts on.
            write("OOM_GUARD_CGROUP=/web\nOOM_GUARD_MEM_SIZE=4801M\n");
            guard.signal(libc::SIGHUP);
            guard.wait_for("the old ones stay in force");
            assert_eq!(guard.count("memory limit of cgroup /web"), 1);
            write("\n");
            guard.signal(libc::SIGHUP);
            guard.wait_for("of  1000 MiB");
            guard.stop();
        });
    });
}

#[test]
fn no_descriptor_is_left_of_the_stalls_of_a_cgroup_that_counts_no_more() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, _| {
            let names = ["web", "db"];
            for name in names {
                cgroup.set(name, Some(300), 50);
                cgroup.write(&format!("{name}/memory.pressure"), "some total=0\nfull total=0");
            }
            let conf = sandbox.path("conf");
            let write = |name: &str| fs::write(&conf, format!("OOM_GUARD_CGROUP=/{name}\n"));
            write("web").expect("a file of settings");
            let guard = sandbox.guard(&["-c", conf.to_str().expect("UTF-8")]);
            let triggers = || {
                let files = fs::read_dir(format!("/proc/{}/fd", guard.pid())).expect("descriptors");
                let files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
                // What is measured is open twice.
                files.filter(|file| file.ends_with("memory.pressure")).count()
            };
            guard.wait_for("memory limit of cgroup /web: 300 MiB");
            assert_eq!(triggers(), 2);
            for round in 1..5 {
                write(names[round % 2]).expect("a file of settings");
                guard.signal(libc::SIGHUP);
                guard.wait_for_many("settings were read again", round);
                assert_eq!(triggers(), 2, "{round}");
            }
            guard.stop();
        });
    });
}

#[test]
fn check_shows_which_limit_counts() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, _| {
            cgroup.set("", Some(200), 50);
            let check = |options: &[&str]| {
                let mut command = sandbox.guard_command(options);
                let command = command.args(["--check", "-c", "none"]);
                let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
                let output = output.expect("the guard");
                let text = [output.stdout, output.stderr].concat();
                (output.status.code(), String::from_utf8(text).expect("UTF-8"))
            };
            for (options, code, expected) in [
                (
                    &[][..],
                    0,
                    "  memory limit of cgroup /: 200 MiB counts as the machine's memory\n",
                ),
                (&["--cgroup", "/no"], 0, "warning: --cgroup: /no: there is no such cgroup"),
                (&["-M", "150M"], 0, "OOM_GUARD_MEM_SIZE=150M"),
                (&["-M", "250M"], 0, "warning: -M: 256000 KiB is more than this machine has"),
                (&["-M", "3201M"], 2, "-M: 3277824 KiB is more than 16 times what this machine"),
                (&["--cgroup", "web"], 2, "--cgroup: \"web\" is not the absolute path"),
                (&["--cgroup", "/web", "--kernel-oom"], 2, "--kernel-oom: cannot go with --cgroup"),
                // The kernel chooses from all of the machine.
                (&["--kernel-oom", "--dryrun", "-M", "250M"], 0, "of  1000 MiB"),
            ] {
                let (status, text) = check(options);
                assert!(status == Some(code) && text.contains(expected), "{options:?}: {text}");
            }
            cgroup.set("", None, 50);
            let (_, text) = check(&[]);
            assert!(text.contains("cgroup / has no memory limit now"), "{text}");
        });
    });
}

#[test]
fn the_stalls_of_the_machine_count_while_a_named_cgroup_tells_of_none() {
    sandboxed(|sandbox| {
        with_fake(sandbox, |cgroup, memory| {
            let Some(machine) = FakePressure::new(sandbox) else { return };
            // The cgroup goes with this one: then its file cannot be read any more, nor opened again.
            let mut owner = sandbox.hog(&["--size", "1M", "--name", "owner"]);
            cgroup.set("", None, 50);
            let (max, own) = (cgroup.dir.join("memory.max"), cgroup.dir.join("memory.pressure"));
            fs::remove_file(&max).expect("no limit");
            let gone_with_it = format!("/proc/{}/oom_score_adj", owner.pid());
            std::os::unix::fs::symlink(gone_with_it, &max).expect("a link");
            // As one that goes while it is opened: it can be, and nothing can be read.
            fs::create_dir(&own).expect("a directory");
            let mut first = sandbox.hog(&["--size", "100M"]);
            let guard =
                sandbox.guard(&["-d", "--psi", "20", "--psi-window", "5", "--cgroup", POINT]);
            guard.wait_for("notice: cgroup / tells of no stalls (");
            let swap = Amounts { swap_total: 2000, swap_free: 1900, ..Amounts::available(150) };
            memory.set(swap);
            guard.make_look(3);
            machine.stalled(1000);
            guard.make_look(1);
            first.wait_for_end();
            guard.wait_for("exited after");
            memory.set(Amounts { available: 900, anon: 100, ..swap });
            guard.make_look(3);
            owner.signal(libc::SIGKILL);
            owner.wait_for_end();
            guard.make_look(3);
            // It comes back, with stalls of its own.
            fs::remove_dir(&own).expect("no directory");
            let own = FakePressure::unmounted(&own);
            let mut second = sandbox.hog(&["--size", "100M"]);
            fs::remove_file(&max).expect("no link");
            cgroup.set("", Some(800), 680);
            guard.wait_for("of   800 MiB");
            machine.stalled(5000);
            guard.make_look(20);
            assert!(second.is_alive());
            own.stalled(1000);
            guard.make_look(1);
            second.wait_for_end();
            assert_eq!(guard.count("tells of no stalls"), 1);
            guard.stop();
        });
    });
}

/// Reads of a guard in so many looks; each look is asked for by a signal, which is one read more.
const LOOKS: u64 = 50;

fn reads_in_looks(guard: &Guard) -> Option<u64> {
    guard.look_slowly(3);
    let before = guard.reads()?;
    guard.look_slowly(LOOKS);
    Some(guard.reads()? - before)
}

#[test]
fn a_look_costs_four_reads_more_where_a_limit_counts_and_none_on_a_machine() {
    sandboxed(|sandbox| {
        if skip_where_emulated("which reads for itself") {
            return;
        }
        // By its end of signals a look now and then comes twice.
        let about = |reads: u64, a_look: u64| {
            let (least, most) = (LOOKS * a_look, (LOOKS + 5) * a_look);
            assert!((least..=most).contains(&reads), "{reads} reads, not {least} to {most}");
        };
        let guard = sandbox.guard(&["-c", "none", "-r", "3600", "--psi", "0"]);
        let Some(reads) = reads_in_looks(&guard) else {
            return skip("this kernel counts no reads");
        };
        // One of memory, and two by the signal: the second finds that there is no other.
        about(reads, 3);
        guard.stop();
        with_fake(sandbox, |cgroup, _| {
            cgroup.set("", Some(200), 50);
            let guard = sandbox.guard(&["-c", "none", "-r", "3600", "--psi", "0"]);
            about(reads_in_looks(&guard).expect("reads"), 3 + 4);
            guard.stop();
        });
    });
}

#[test]
fn a_cgroup_that_is_not_there_is_searched_for_once_a_second_at_most() {
    sandboxed(|sandbox| {
        if skip_where_emulated("which reads for itself") {
            return;
        }
        with_fake(sandbox, |_, _| {
            let options = ["-c", "none", "-r", "3600", "--psi", "0", "--cgroup", "/none"];
            let guard = sandbox.guard(&options);
            let begun = Instant::now();
            let Some(reads) = reads_in_looks(&guard) else {
                return skip("this kernel counts no reads");
            };
            // Three as on a machine. A search reads all mounts, by 4 KiB, and finds the end.
            let searches = begun.elapsed().as_secs() + 1;
            let mounts = fs::read("/proc/self/mountinfo").expect("mountinfo").len() as u64;
            let most = (LOOKS + 5) * 3 + searches * (mounts / 2048 + 2);
            assert!((LOOKS * 3..=most).contains(&reads), "{reads} reads in {searches} s");
            guard.stop();
        });
    });
}

// ---- a real one ----

/// A cgroup that the kernel made, with a limit. It is removed with its last process, or by whoever ends the test.
struct RealCgroup {
    dir: PathBuf,
    /// Where the hierarchy is mounted.
    point: PathBuf,
    is_unified: bool,
}

impl RealCgroup {
    fn new(name: &str, mib: u64) -> Result<RealCgroup, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let point_of = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let (before, after) = line.split_once(" - ")?;
                let mut fields = after.split(' ');
                let is_it = fields.next() == Some(kind)
                    && fields.nth(1)?.split(',').any(|it| it == option || option.is_empty());
                is_it.then(|| PathBuf::from(before.split(' ').nth(4).expect("a mount point")))
            })
        };
        let (point, is_unified) = match point_of("cgroup", "memory") {
            Some(point) => (point, false),
            None => (point_of("cgroup2", "").ok_or("there are no cgroups")?, true),
        };
        // Its number tells it from those of other runs.
        let dir = point.join(format!("{name}-{:08x}", random()));
        fs::create_dir(&dir).map_err(|error| format!("cannot make a cgroup: {error}"))?;
        let cgroup = RealCgroup { dir, point, is_unified };
        // Without the memory controller there is no such file, which cannot be made.
        cgroup.limit(mib).map_err(|error| format!("no limit of memory: {error}"))?;
        Ok(cgroup)
    }

    fn limit(&self, mib: u64) -> io::Result<()> {
        let name = if self.is_unified { "memory.max" } else { "memory.limit_in_bytes" };
        self.write(name, &(mib * MIB).to_string())
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        use std::io::Write;
        fs::OpenOptions::new().write(true).open(self.dir.join(name))?.write_all(text.as_bytes())
    }

    fn add(&self, pid: u32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// As `/proc/PID/cgroup` has it.
    fn path_of(&self, pid: u32) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
        let is_ours = |line: &&str| match self.is_unified {
            true => line.starts_with("0::"),
            false => line.contains(":memory:"),
        };
        text.lines()
            .find(is_ours)
            .and_then(|line| line.splitn(3, ':').nth(2))
            .expect("a path")
            .into()
    }

    /// How often the kernel has killed in it.
    fn kernel_kills(&self) -> u64 {
        let name = if self.is_unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.dir.join(name)).expect(name);
        let line = text.lines().find(|line| line.starts_with("oom_kill "));
        line.map_or(0, |line| number_after(line, "oom_kill"))
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        // Whoever is in it goes back to where it is mounted, so that it can be removed.
        let all = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        for pid in all.lines() {
            let _ = fs::write(self.point.join("cgroup.procs"), pid);
        }
        let removed = fs::remove_dir(&self.dir);
        if let (Err(error), false) = (removed, std::thread::panicking()) {
            panic!("{:?} stays: {error}", self.dir);
        }
    }
}

/// What no other run has, whatever number its process has in its world.
fn random() -> u32 {
    let mut bytes = [0u8; 4];
    let file = fs::File::open("/dev/urandom");
    file.and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes)).expect("urandom");
    u32::from_ne_bytes(bytes)
}

/// Room for a hog to grow in, as no build machine is short of.
const LIMIT: u64 = 200;

#[test]
fn in_a_real_container_the_guard_comes_before_the_kernel() {
    sandboxed(|sandbox| {
        let cgroup = match RealCgroup::new("oom_guard-test", LIMIT) {
            Ok(cgroup) => cgroup,
            Err(why) => return skip(&why),
        };
        // Its init and all that is started from here on, as in a container; and nothing else of the hierarchy is seen.
        for pid in [1, std::process::id()] {
            if let Err(error) = cgroup.add(pid) {
                return skip(&format!("cannot go into the cgroup: {error}"));
            }
        }
        let point = cgroup.point.clone();
        bind_over(&cgroup.dir, &point);
        let mut innocent = sandbox.hog(&["--size", "30M", "--name", "innocent"]);
        let guard = sandbox.guard(&["-c", "none", "-s", "100", "-m", "20,10"]);
        guard.wait_for("memory limit of cgroup");
        guard.wait_for(&format!("mem total: {LIMIT} MiB"));
        let mut hog =
            Hog::start_unready(sandbox.hog_command(&["--size", "400M", "--rate", "100M"]));
        hog.wait_for_end();
        guard.wait_for("exited after");
        // SIGKILL may follow where it does not end in time.
        assert!(!guard.signals_to(hog.pid()).is_empty(), "{}", guard.log());
        assert_eq!(guard.signals().len(), guard.signals_to(hog.pid()).len());
        assert!(innocent.is_alive());
        guard.stop();
        detach(&point).expect("what was mounted there");
        assert_eq!(cgroup.kernel_kills(), 0);
    });
}

#[test]
fn of_a_real_cgroup_that_is_named_only_the_processes_are_ended() {
    sandboxed(|sandbox| {
        let cgroup = match RealCgroup::new("oom_guard-test", LIMIT) {
            Ok(cgroup) => cgroup,
            Err(why) => return skip(&why),
        };
        let mut outside = sandbox.hog(&["--size", "250M", "--name", "outside"]);
        let mut small = sandbox.hog(&["--size", "20M", "--name", "small"]);
        if let Err(error) = cgroup.add(small.pid()) {
            return skip(&format!("cannot fill the cgroup: {error}"));
        }
        let path = cgroup.path_of(small.pid());
        let options = ["-c", "none", "-s", "100", "-m", "20,10", "-r", "0.02", "--cgroup", &path];
        let guard = sandbox.guard(&options);
        guard.wait_for(&format!("memory limit of cgroup {path}: {LIMIT} MiB"));
        let mut hog =
            sandbox.hog_command(&["--size", "400M", "--rate", "100M", "--name", "inside"]);
        let mut members = fs::OpenOptions::new();
        let members =
            members.write(true).open(cgroup.dir.join("cgroup.procs")).expect("the members");
        // By itself, before it has any memory: what it takes outside would never count.
        let enter = move || (&members).write_all(b"0");
        // SAFETY: only a system call between fork and exec.
        unsafe { hog.pre_exec(enter) };
        let mut hog = Hog::start_unready(hog);
        hog.wait_for_end();
        guard.wait_for("exited after");
        // SIGKILL may follow where it does not end in time.
        assert!(!guard.signals_to(hog.pid()).is_empty(), "{}", guard.log());
        assert!(outside.is_alive() && small.is_alive());
        assert_eq!(cgroup.kernel_kills(), 0);
        let directory = cgroup.dir.to_str().expect("UTF-8");
        let explained = sandbox.explain(&["-c", "none", "--cgroup", directory]);
        let why = |name: &str| {
            let line = explained.lines().find(|line| line.contains(name));
            line.unwrap_or_else(|| panic!("no {name} in {explained}")).to_string()
        };
        assert!(why("outside").contains("protected: outside cgroup"), "{explained}");
        assert!(why("small").trim_start().starts_with("1 "), "{explained}");
        assert!(explained.contains("of the machine held"), "{explained}");
        // The cgroup goes, as that of a service does that is stopped, and comes back.
        small.signal(libc::SIGKILL);
        small.wait_for_end();
        fs::remove_dir(&cgroup.dir).expect("the cgroup removed");
        // That is told at most once a minute, so it shows by what is available.
        let total = || number_after(&guard.lines("mem avail:").pop().expect("a report"), " of ");
        wait_for("the machine's memory", || total() > LIMIT);
        fs::create_dir(&cgroup.dir).and_then(|()| cgroup.limit(100)).expect("the cgroup again");
        wait_for("its memory", || total() == 100);
        assert_eq!(guard.signals().len(), guard.signals_to(hog.pid()).len());
        assert!(outside.is_alive());
        guard.stop();
    });
}

// ---- cgroups that are ended as a whole ----

/// Members are told by the kernel, in a hierarchy that this machine may use for nothing else; `memory.oom.group`, which needs
/// the memory controller there, is a file of the test.
struct Wholes<'a> {
    fake: &'a FakeCgroup,
    /// Where the kernel's own is mounted.
    real: PathBuf,
    /// Tells this from other runs.
    name: String,
}

impl<'a> Wholes<'a> {
    fn new(fake: &'a FakeCgroup) -> Result<Wholes<'a>, String> {
        // A longer path than that of the other.
        let real = fake.dir.join("real");
        fs::create_dir(&real).expect("a directory");
        let real = Path::new(POINT).join("real");
        mount(None, &real, Some("cgroup2"), 0, None)
            .map_err(|error| format!("no cgroups: {error}"))?;
        let wholes = Wholes { fake, real, name: format!("oom_guard-test-{:08x}", random()) };
        wholes.make("").map_err(|error| format!("cannot make a cgroup: {error}"))?;
        Ok(wholes)
    }

    /// As `/proc/PID/cgroup` has it.
    fn path(&self, below: &str) -> String {
        format!("/{}{below}", self.name)
    }

    fn make(&self, below: &str) -> io::Result<()> {
        fs::create_dir(self.real_path(below))?;
        fs::create_dir(self.fake_path(below))
    }

    fn remove(&self, below: &str) {
        fs::remove_dir(self.real_path(below)).expect("an empty cgroup");
        fs::remove_dir_all(self.fake_path(below)).expect("its files");
    }

    fn real_path(&self, below: &str) -> PathBuf {
        self.real.join(format!("{}{below}", self.name))
    }

    fn fake_path(&self, below: &str) -> PathBuf {
        self.fake.dir.join(format!("{}{below}", self.name))
    }

    /// Whether one is to be ended as a whole.
    fn ask(&self, below: &str, asks: bool) {
        self.fake
            .write(&format!("{}{below}/memory.oom.group", self.name), if asks { "1" } else { "0" });
    }

    fn add(&self, below: &str, hog: &Hog) {
        let members = self.real_path(below).join("cgroup.procs");
        fs::write(members, hog.pid().to_string()).expect("a member");
    }

    /// A hog within.
    fn hog(&self, sandbox: &Sandbox, below: &str, options: &[&str]) -> Hog {
        let hog = sandbox.hog(options);
        self.add(below, &hog);
        hog
    }
}

impl Drop for Wholes<'_> {
    fn drop(&mut self) {
        let mut all = vec![self.real_path("")];
        while let Some(dir) = all.last().cloned() {
            let below = fs::read_dir(&dir).into_iter().flatten().flatten();
            let dirs: Vec<_> =
                below.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            if !dirs.is_empty() {
                all.extend(dirs);
                continue;
            }
            let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                let _ = fs::write(self.real.join("cgroup.procs"), pid);
            }
            let removed = fs::remove_dir(&dir);
            all.pop();
            if let (Err(error), false) = (removed, std::thread::panicking()) {
                panic!("{dir:?} stays: {error}");
            }
        }
    }
}

/// Runs `body` with them in a machine of 1000 MiB, or says why not.
fn with_wholes(sandbox: &Sandbox, body: impl FnOnce(&Wholes, &FakeMemory)) {
    with_fake(sandbox, |fake, memory| match Wholes::new(fake) {
        Ok(wholes) => body(&wholes, memory),
        Err(why) => skip(&why),
    });
}

/// Makes a process look exempt, whatever this user may do.
fn exempt(sandbox: &Sandbox, hog: &Hog) {
    for (name, value) in [("oom_score", "0\n"), ("oom_score_adj", "-1000\n")] {
        fs::write(sandbox.path(name), value).expect("a file to show");
        let place = format!("/proc/{}/{name}", hog.pid());
        bind_over(&sandbox.path(name), Path::new(&place));
    }
}

#[test]
fn a_cgroup_that_asks_for_it_goes_with_all_below_but_for_exempt_ones() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            for below in ["/a b", "/a b/c", "/a b/c/d", "/a b/e", "/other"] {
                wholes.make(below).expect("a cgroup");
                // That of the lower one does not matter, nor does that beside it.
                wholes.ask(below, below == "/a b" || below == "/a b/c" || below == "/other");
            }
            let mut hog = wholes.hog(sandbox, "/a b/c", &["--size", "60M"]);
            let mut helpers = ["/a b", "/a b/c/d", "/a b/e"]
                .map(|below| wholes.hog(sandbox, below, &["--size", "2M"]));
            let mut spared = wholes.hog(sandbox, "/a b/e", &["--size", "2M"]);
            exempt(sandbox, &spared);
            let mut outside =
                ["", "/other"].map(|below| wholes.hog(sandbox, below, &["--size", "2M"]));
            let path = wholes.path("/a b");
            let explained = sandbox.explain(&[]);
            let line = format!(
                "with it would go the 3 other processes of cgroup {path} (memory.oom.group) (1 more left alone: exempt)\n"
            );
            assert!(explained.ends_with(&line), "{explained}");
            let guard = sandbox.guard(&["--dryrun"]);
            memory.available(LOW);
            let said = guard.wait_for("would be signalled with it");
            assert!(said.starts_with(&format!("cgroup {path} would be")), "{said}");
            guard.stop();
            assert!(hog.is_alive());
            let guard = sandbox.guard(&[]);
            for hog in helpers.iter_mut().chain([&mut hog]) {
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
            }
            memory.available(PLENTY);
            let pid = hog.pid();
            let said = guard.wait_for("signalled with it");
            let mib = number_after(&said, "4 processes that hold ");
            assert!((66..=70).contains(&mib), "{said}");
            let rest = format!("cgroup {path} signalled with it: 4 processes that hold {mib} MiB");
            assert_eq!(said, format!("{rest} (1 more left alone: exempt)"));
            guard.wait_for(&format!("process {pid} and its cgroup {path} exited after "));
            assert_eq!(guard.signals().len(), 1, "{}", guard.log());
            assert!(spared.is_alive() && outside.iter_mut().all(Hog::is_alive));
            guard.stop();
        });
    });
}

#[test]
fn a_cgroup_that_does_not_ask_for_it_loses_only_the_victim() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.make("/a").expect("a cgroup");
            wholes.ask("", false);
            let mut helper = wholes.hog(sandbox, "/a", &["--size", "2M"]);
            // A file that asks where none can be.
            wholes.fake.write("memory.oom.group", "1");
            let mut hog = wholes.hog(sandbox, "/a", &["--size", "60M"]);
            let guard = sandbox.guard(&[]);
            memory.available(LOW);
            hog.wait_for_end();
            memory.available(PLENTY);
            guard.wait_for("exited after");
            assert_eq!(guard.count("cgroup"), 0, "{}", guard.log());
            assert!(helper.is_alive());
            guard.stop();
        });
    });
}

#[test]
fn a_cgroup_that_holds_a_protected_process_loses_only_the_victim() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let path = wholes.path("");
            let mut kept =
                wholes.hog(sandbox, "", &["--size", "2M", "--name", "kept", "--new-group"]);
            let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
            let explained = sandbox.explain(&["--ignore", "kept"]);
            let holds =
                format!("cgroup {path} holds process {} (protected: ignored): ", kept.pid());
            assert!(
                explained.ends_with(&format!("{holds}it would not go as a whole\n")),
                "{explained}"
            );
            let guard = sandbox.guard(&["--ignore", "kept"]);
            memory.available(LOW);
            hog.wait_for_end();
            memory.available(PLENTY);
            guard.wait_for(&format!("{holds}only the process is signalled"));
            guard.wait_for("exited after");
            guard.stop();
            // Its process group is another one than that of the protected process.
            let mut hog =
                wholes.hog(sandbox, "", &["--size", "60M", "--new-group", "--sleepers", "1"]);
            let guard = sandbox.guard(&["-g", "--ignore", "kept"]);
            memory.available(LOW);
            hog.wait_for_end();
            memory.available(PLENTY);
            guard.wait_for(&format!("{holds}at most its process group is signalled"));
            let pid = hog.pid();
            guard.wait_for(&format!("process group {pid} signalled with it: 2 processes"));
            guard.wait_for(&format!("process {pid} and its group {pid} exited after"));
            guard.stop();
            // The guard itself.
            let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
            let guard = sandbox.guard(&["-r", "0.02"]);
            let members = wholes.real_path("").join("cgroup.procs");
            fs::write(members, guard.pid().to_string()).expect("a member");
            memory.available(LOW);
            hog.wait_for_end();
            memory.available(PLENTY);
            let pid = guard.pid();
            guard.wait_for(&format!("cgroup {path} holds process {pid} (protected: the guard): "));
            guard.wait_for("exited after");
            assert!(kept.is_alive());
            guard.stop();
        });
    });
}

#[test]
fn a_cgroup_has_ended_only_when_its_last_member_has() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            // Before its process group, of which another member is elsewhere.
            let mut hog = sandbox.hog(&["--size", "60M", "--new-group", "--sleepers", "1"]);
            wholes.add("", &hog);
            let mut stubborn = wholes.hog(sandbox, "", &["--size", "2M", "--ignore-term"]);
            let guard = sandbox.guard(&["-g", "--grace", "1"]);
            memory.available(LOW);
            assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
            assert_eq!(stubborn.wait_for_end().signal(), Some(libc::SIGKILL));
            memory.available(PLENTY);
            let (pid, path) = (hog.pid(), wholes.path(""));
            guard.wait_for(&format!("process {pid} and its cgroup {path} exited after "));
            assert_eq!(guard.count("process group"), 0);
            guard.stop();
        });
    });
}

#[test]
fn what_is_left_of_a_group_goes_as_well_though_memory_is_fine_again() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let ended = sandbox.path("ended");
            let hook = sandbox.script("hook", &format!("echo >> {}", ended.display()));
            // In a cgroup, in a process group, and where SIGKILL never follows by time.
            for (in_cgroup, grace) in [(true, "1"), (false, "1"), (true, "0")] {
                let mut hog = sandbox.hog(&["--size", "60M", "--new-group"]);
                let mut stubborn = sandbox.hog_command(&["--size", "2M", "--ignore-term"]);
                stubborn.process_group(if in_cgroup { 0 } else { hog.pid() as i32 });
                let mut stubborn = Hog::start(stubborn);
                if in_cgroup {
                    wholes.add("", &hog);
                    wholes.add("", &stubborn);
                }
                let guard = sandbox.guard(&["-g", "--grace", grace, "--post-kill", &hook]);
                memory.available(LOW);
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
                memory.available(PLENTY);
                let (pid, path) = (hog.pid(), wholes.path(""));
                if grace == "0" {
                    guard.wait_for(&format!("; others of cgroup {path} are left"));
                    assert!(stubborn.is_alive());
                } else {
                    assert_eq!(stubborn.wait_for_end().signal(), Some(libc::SIGKILL));
                    guard.wait_for("sending SIGKILL to the rest of ");
                    guard.wait_for(&format!("process {pid} and its "));
                }
                wait_for("the hook", || ended.exists());
                fs::remove_file(&ended).expect("what the hook wrote");
                assert_eq!(guard.count("did not exit"), 0, "{}", guard.log());
                guard.stop();
            }
        });
    });
}

#[test]
fn what_survives_sigkill_of_a_group_does_not_keep_the_next_victim() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let ended = sandbox.path("ended");
            let hook = sandbox.script("hook", &format!("echo >> {}", ended.display()));
            for in_cgroup in [true, false] {
                let mut hog = sandbox.hog(&["--size", "60M", "--new-group"]);
                let mut stuck = sandbox.hog_command(&["--size", "40M"]);
                stuck.process_group(if in_cgroup { 0 } else { hog.pid() as i32 });
                let mut stuck = Hog::start(stuck);
                if in_cgroup {
                    wholes.add("", &hog);
                    wholes.add("", &stuck);
                }
                if let Err(error) = hold_at_exit(stuck.pid()) {
                    return skip(&format!("cannot trace: {error}"));
                }
                let mut next = sandbox.hog(&["--size", "20M", "--new-group"]);
                let guard = sandbox.guard(&["-g", "--post-kill", &hook]);
                memory.available(VERY_LOW);
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
                next.wait_for_end();
                memory.available(PLENTY);
                let pid = hog.pid();
                let said = guard.wait_for(&format!("process {pid} exited after "));
                assert!(said.contains("; others of "), "{said}");
                guard.wait_for(&format!("process {} survives SIGKILL", stuck.pid()));
                // Not after the two seconds that a victim by itself is waited for.
                assert!(number_after(&said, "exited after ") < 2, "{said}");
                wait_for("the hook", || ended.exists());
                fs::remove_file(&ended).expect("what the hook wrote");
                guard.wait_for(&format!("process {0} and its group {0} exited ", next.pid()));
                assert!(guard.signals_to(stuck.pid()).is_empty(), "{}", guard.log());
                guard.stop();
                let_go(stuck.pid());
                stuck.wait_for_end();
            }
        });
    });
}

#[test]
fn a_helper_that_does_not_tell_the_cgroup_keeps_no_victim() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let mut other = wholes.hog(sandbox, "", &["--size", "2M"]);
            for (available, signal) in [(LOW, libc::SIGTERM), (VERY_LOW, libc::SIGKILL)] {
                let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
                let guard = sandbox.guard(&[]);
                let helper = guard.helper().expect("a helper");
                signal_to(helper, libc::SIGSTOP);
                memory.available(available);
                assert_eq!(hog.wait_for_end().signal(), Some(signal));
                memory.available(PLENTY);
                signal_to(helper, libc::SIGCONT);
                guard.wait_for(&format!("process {} exited after ", hog.pid()));
                assert_eq!(guard.count("signalled with it"), 0, "{}", guard.log());
                assert!(other.is_alive());
                guard.stop();
            }
        });
    });
}

#[test]
fn members_that_fork_all_the_time_are_ended_as_well() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
            let script = sandbox.script("forks", "while :; do sleep 100 & sleep 0.01; done");
            let mut forks: Vec<_> =
                (0..3).map(|_| Hog::start_unready(Command::new(&script))).collect();
            forks.iter().for_each(|fork| wholes.add("", fork));
            let members = || fs::read_to_string(wholes.real_path("").join("cgroup.procs"));
            let count = || members().expect("members").lines().count();
            wait_for("processes", || count() > 30);
            let guard = sandbox.guard(&[]);
            memory.available(VERY_LOW);
            for hog in forks.iter_mut().chain([&mut hog]) {
                assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGKILL));
            }
            wait_for("the last", || count() == 0);
            memory.available(PLENTY);
            guard.wait_for(&format!("and its cgroup {} exited", wholes.path("")));
            guard.stop();
        });
    });
}

#[test]
fn a_process_that_comes_into_the_cgroup_before_its_end_gets_sigkill_too() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.ask("", true);
            let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
            if let Err(error) = hold_at_exit(hog.pid()) {
                return skip(&format!("cannot trace: {error}"));
            }
            let mut late = sandbox.hog(&["--size", "2M"]);
            let guard = sandbox.guard(&[]);
            memory.available(VERY_LOW);
            guard.wait_for("signalled with it: 1 process that holds");
            wholes.add("", &late);
            memory.available(PLENTY);
            let_go(hog.pid());
            hog.wait_for_end();
            assert_eq!(late.wait_for_end().signal(), Some(libc::SIGKILL));
            guard.wait_for(&format!("and its cgroup {} exited", wholes.path("")));
            guard.stop();
        });
    });
}

#[test]
fn what_is_started_anew_in_place_of_a_cgroup_is_not_part_of_it() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, memory| {
            wholes.make("/a").expect("a cgroup");
            wholes.ask("/a", true);
            let mut hog = wholes.hog(sandbox, "/a", &["--size", "60M"]);
            let mut stubborn = wholes.hog(sandbox, "/a", &["--size", "2M", "--ignore-term"]);
            let guard = sandbox.guard(&["--grace", "30"]);
            memory.available(LOW);
            hog.wait_for_end();
            guard.wait_for("signalled with it");
            // As a manager does that starts a service again.
            stubborn.signal(libc::SIGKILL);
            stubborn.wait_for_end();
            wholes.remove("/a");
            wholes.make("/a").expect("another cgroup");
            wholes.ask("/a", true);
            let mut again = wholes.hog(sandbox, "/a", &["--size", "2M"]);
            guard.wait_for(&format!("and its cgroup {} exited", wholes.path("/a")));
            memory.available(PLENTY);
            assert!(again.is_alive());
            assert_eq!(guard.count("SIGKILL to"), 0);
            guard.stop();
        });
    });
}

#[test]
fn for_the_limit_of_a_process_its_cgroup_does_not_go() {
    sandboxed(|sandbox| {
        with_wholes(sandbox, |wholes, _| {
            wholes.ask("", true);
            let mut helper = wholes.hog(sandbox, "", &["--size", "2M"]);
            let mut hog = wholes.hog(sandbox, "", &["--size", "60M"]);
            let guard = sandbox.guard(&["--process-limit=40M", "--interval=0.1"]);
            hog.wait_for_end();
            guard.wait_for("exited after");
            assert_eq!(guard.count("signalled with it"), 0);
            assert!(helper.is_alive());
            guard.stop();
        });
    });
}
