//! What patterns do, with the real binary and real processes: every example that users are told, and what happens where
//! a field cannot be read. Who would go is asked of the guard and of `--explain`, which must agree.

mod common;

use common::*;
use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr;

// ---- asking ----

/// What all command lines of a choice are waited for.
const CHOICE_MICROS: u64 = 20_000;

/// Memory that is low, and who would go for it.
struct World<'a> {
    sandbox: &'a Sandbox,
    _memory: FakeMemory,
}

impl World<'_> {
    fn new(sandbox: &Sandbox) -> World<'_> {
        let memory = FakeMemory::new(sandbox);
        memory.available(LOW);
        World { sandbox, _memory: memory }
    }

    /// A hog of that name and size.
    fn hog(&self, name: &str, size: &str) -> Hog {
        self.sandbox.hog(&["--name", name, "--size", size])
    }

    /// The guard's victim, or `None` if it says that there is nobody; and what it said with `-d`. Asks anew where a choice
    /// took so long that it went without some command lines, as it may on a busy machine.
    fn asked(&self, options: &[&str]) -> (Option<u32>, String) {
        let in_time = |log: &str| {
            let mut scans = log.lines().filter(|line| line.starts_with("scan: "));
            // What is not told in time right before the signal counts as gone.
            !log.contains(" is gone already")
                && scans.all(|line| number_after(line, "files, ") < CHOICE_MICROS)
        };
        let asked = wait_until(PATIENCE / 2, || {
            Some(self.asked_once(options)).filter(|(_, log)| in_time(log))
        });
        asked.expect("a choice in time")
    }

    fn asked_once(&self, options: &[&str]) -> (Option<u32>, String) {
        let guard = self.sandbox.guard(&[options, &["--dryrun", "-d"]].concat());
        let (victim, nobody) = ("would send SIGTERM to process ", "no process to kill");
        wait_for("a choice", || guard.count(victim) + guard.count(nobody) > 0);
        let chosen = guard.lines(victim).first().map(|line| number_after(line, victim) as u32);
        (chosen, guard.stop())
    }

    /// Who would go, as the guard and `--explain` say alike.
    fn victim(&self, options: &[&str]) -> Option<u32> {
        let (chosen, log) = self.asked(options);
        let shown = self.sandbox.explain(options);
        let verdict = shown.lines().last().expect("a verdict");
        let (would, nobody) = ("now SIGTERM would go to process ", "nothing could be killed");
        let explained = match verdict.contains(would) {
            true => Some(number_after(verdict, would) as u32),
            false => {
                assert!(verdict.contains(nobody), "{shown}");
                None
            }
        };
        assert_eq!(chosen, explained, "{options:?}: the guard says\n{log}and --explain\n{shown}");
        chosen
    }

    fn expect(&self, options: &[&str], hog: &Hog) {
        let victim = self.victim(options);
        assert_eq!(victim, Some(hog.pid()), "{options:?}\n{}", self.sandbox.explain(options));
    }

    /// The row of a process in the table of `--explain`.
    fn row(&self, options: &[&str], pid: u32) -> String {
        let shown = self.sandbox.explain(options);
        let is_its = |line: &&str| line.split_whitespace().nth(1) == Some(&pid.to_string());
        shown.lines().find(is_its).unwrap_or_else(|| panic!("no {pid} in\n{shown}")).to_string()
    }
}

/// The hog as a program of another path.
fn copy_of_hog(sandbox: &Sandbox, path: &str) -> PathBuf {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::copy(sandbox.path("hog"), &path).expect("a copy of the hog");
    path
}

/// Runs it, with another first argument than its path if that is asked for.
fn run_hog(path: &Path, first: Option<&str>, size: &str) -> Hog {
    let mut command = Command::new(path);
    if let Some(first) = first {
        command.arg0(first);
    }
    command.args(["--size", size]).stdin(Stdio::null()).stdout(Stdio::piped());
    Hog::start(command)
}

/// Users as the test needs them, for its world only.
fn set_users(sandbox: &Sandbox, lines: &str) {
    fs::write(sandbox.path("passwd"), lines).expect("a list of users");
    bind_over(&sandbox.path("passwd"), Path::new("/etc/passwd"));
}

/// A file over one that a process shows.
fn show(sandbox: &Sandbox, pid: u32, name: &str, text: &str) {
    let file = sandbox.path(&format!("{pid}-{name}"));
    fs::write(&file, text).expect("a file to show");
    bind_over(&file, Path::new(&format!("/proc/{pid}/{name}")));
}

// ---- the examples that users are told ----

#[test]
fn a_smaller_process_goes_first_if_it_is_preferred_by_a_part_of_its_name() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let other = world.hog("other", "60M");
        let prefer = ["--prefer", "(chrome|firefox)"];
        world.expect(&prefer, &other);
        for name in ["chrome", "firefox", "my-chrome-1"] {
            let mut hog = world.hog(name, "20M");
            world.expect(&prefer, &hog);
            hog.signal(libc::SIGKILL);
            hog.wait_for_end();
        }
    });
}

#[test]
fn a_larger_process_goes_last_if_it_is_avoided_by_its_whole_name() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let avoid = ["--avoid", "(^|/)(init|Xorg|sshd)$"];
        let _avoided = ["init", "Xorg", "sshd", "lib/sshd"].map(|name| world.hog(name, "60M"));
        let small = world.hog("other", "20M");
        world.expect(&avoid, &small);
        let alike = world.hog("sshd-session", "30M");
        world.expect(&avoid, &alike);
        let alike = world.hog("notinit", "40M");
        world.expect(&avoid, &alike);
    });
}

#[test]
fn the_command_line_is_matched_with_its_arguments_joined_by_single_blanks() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = sandbox.path("hog");
        let large = run_hog(&path, Some("hog --type=gpu"), "60M");
        let small = run_hog(&path, Some("hog --type=renderer"), "20M");
        world.expect(&[], &large);
        world.expect(&["--prefer", "cmd:--type=renderer"], &small);
        world.expect(&["--prefer", "cmd:^hog --type=renderer --size 20M$"], &small);
        world.expect(&["--prefer", "cmd:glob:*renderer --size ??M"], &small);
        world.expect(&["--prefer", "cmd:renderer  --size"], &large);
        world.expect(&["--prefer", "renderer"], &large);
    });
}

#[test]
fn a_user_is_matched_by_name_and_by_number() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        set_users(sandbox, &format!("root:x:0:0::/:\npostgres:x:{NOBODY}:{NOBODY}::/:\n"));
        let world = World::new(sandbox);
        let others = sandbox.hog_command(&["--size", "60M"]);
        let others = Hog::start(sandbox.command_as_nobody(others));
        let roots = world.hog("other", "20M");
        world.expect(&[], &others);
        world.expect(&["--ignore", "user:postgres"], &roots);
        world.expect(&["--ignore", "user:glob:post*"], &roots);
        world.expect(&["--ignore", &format!("user:{NOBODY}")], &roots);
        world.expect(&["--ignore", "user:root"], &others);
        world.expect(&["--only", "user:root"], &roots);
        world.expect(&["--only", "user:^0$"], &roots);
        world.expect(&["--prefer", "user:^(root)$"], &roots);
        let row = world.row(&["--ignore", "user:postgres"], others.pid());
        assert!(row.contains(" postgres ") && row.ends_with("ignored: user:postgres"), "{row}");
    });
}

#[test]
fn an_ordinary_user_matches_its_own_processes_by_name() {
    sandboxed(|sandbox| {
        // Whoever runs the test is number 0 in its world.
        set_users(sandbox, "postgres:x:0:0::/:\nsecond:x:0:0::/:\n");
        let world = World::new(sandbox);
        let hog = world.hog("other", "20M");
        for user in ["user:postgres", "user:second", "user:^0$"] {
            world.expect(&["--only", user], &hog);
            assert_eq!(world.victim(&["--ignore", user]), None);
        }
        assert_eq!(world.victim(&["--only", "user:1"]), None);
    });
}

#[test]
fn a_user_that_nobody_knows_is_warned_of_by_the_guard_and_its_explanation() {
    sandboxed(|sandbox| {
        set_users(sandbox, "postgres:x:70:70::/:\n");
        let world = World::new(sandbox);
        let hog = world.hog("other", "20M");
        let options = ["--ignore", "user:postgrse", "--ignore", "user:7000", "--ignore=user:gres"];
        let (victim, log) = world.asked(&options);
        assert_eq!(victim, Some(hog.pid()));
        let warnings: Vec<_> = log.lines().filter(|line| line.starts_with("warning: ")).collect();
        let told = |line: &&&str| line.contains("user:");
        assert_eq!(warnings.iter().filter(told).count(), 1, "{warnings:?}");
        assert!(warnings.iter().any(|line| line.contains("\"user:postgrse\"")), "{warnings:?}");
        let mut command = sandbox.guard_command(&options);
        let output = command.arg("--explain").stderr(Stdio::piped()).output().expect("the guard");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("\"user:postgrse\""), "--explain says {said:?}");
    });
}

#[test]
fn the_path_of_the_executable_is_matched_whole_by_a_glob_and_in_part_by_an_expression() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let daemon = copy_of_hog(sandbox, "usr/sbin/daemon");
        let (large, small) = (run_hog(&daemon, None, "60M"), world.hog("other", "20M"));
        let dir = sandbox.dir.display();
        world.expect(&["--ignore", &format!("exe:glob:{dir}/usr/sbin/*")], &small);
        world.expect(&["--ignore", "exe:/usr/sbin/d"], &small);
        world.expect(&["--ignore", "exe:glob:*/hog"], &large);
        world.expect(&["--ignore", "exe:glob:/usr/sbin/*"], &large);
        world.expect(&["--ignore", "exe:sbin$"], &large);
        world.expect(&["--ignore", "sbin"], &large);
        fs::remove_file(&daemon).expect("remove");
        world.expect(&["--ignore", "exe:/usr/sbin/daemon$"], &small);
    });
}

#[test]
fn the_path_of_the_cgroup_is_matched() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, small) = (world.hog("large", "60M"), world.hog("small", "20M"));
        show(sandbox, large.pid(), "cgroup", "0::/system.slice/postgresql.service\n");
        show(sandbox, small.pid(), "cgroup", "0::/user.slice/user-1000.slice/app.scope\n");
        world.expect(&["--ignore", "cgroup:postgresql"], &small);
        world.expect(&["--ignore", "cgroup:glob:/system.slice/*"], &small);
        world.expect(&["--ignore", "cgroup:glob:/system.slice"], &large);
        world.expect(&["--prefer", "cgroup:^/user\\.slice/"], &small);
        world.expect(&["--only", "cgroup:app\\.scope$"], &small);
        world.expect(&["--ignore", "cgroup:0::"], &large);
    });
}

#[test]
fn a_cgroup_of_any_hierarchy_is_matched() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, small) = (world.hog("large", "60M"), world.hog("small", "20M"));
        show(sandbox, small.pid(), "cgroup", "0::/other\n");
        let shown = sandbox.path(&format!("{}-cgroup", large.pid()));
        show(sandbox, large.pid(), "cgroup", "");
        for (text, patterns) in [
            // Containers beside a systemd of old.
            (
                "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n\
                 0::/system.slice/containerd.service\n",
                &["^/docker/abc$", "^/system\\.slice/containerd\\.service$"][..],
            ),
            // A systemd that does not account for memory.
            (
                "9:memory:/\n3:cpu:/\n1:name=systemd:/system.slice/sshd.service\n",
                &["^/system\\.slice/sshd\\.service$", "glob:/system.slice/*"],
            ),
            (
                "9:memory:/system.slice\n1:name=systemd:/system.slice/sshd.service\n0::/\n",
                &["^/system\\.slice/sshd\\.service$", "^/system\\.slice$"],
            ),
            ("2:name=elogind:/c1\n1:name=openrc:/lightdm\n", &["^/c1$", "^/lightdm$"]),
            ("4:name=openrc:/sshd\n0::/\n", &["^/sshd$"]),
            ("4:pids:/\n1:name=openrc:/\n0::/\n", &["^/$"]),
            ("0::/with:colon\n", &["^/with:colon$"]),
        ] {
            fs::write(&shown, text).expect("a file to show");
            for pattern in patterns {
                world.expect(&["--ignore", &format!("cgroup:{pattern}")], &small);
            }
            // Neither the root, if there is more, nor names of hierarchies, nor two paths as one.
            let has_root = patterns.contains(&"^/$");
            for pattern in ["^/$", "systemd:", "^name=", "openrc:", "c1.*lightdm", "abc\\s"] {
                if !(has_root && pattern == "^/$") {
                    world.expect(&["--ignore", &format!("cgroup:{pattern}")], &large);
                }
            }
        }
    });
}

#[test]
fn an_expression_that_begins_with_the_word_of_a_field_is_written_with_a_group() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, small) = (world.hog("large", "60M"), world.hog("user:x", "20M"));
        world.expect(&["--prefer", "(user:)x"], &small);
        world.expect(&["--prefer", "name:user:x"], &small);
        world.expect(&["--prefer", "user:x"], &large);
    });
}

// ---- programs that are not what init sees at their path ----

/// Has `command`, which is of that user, start in namespaces of its own, in which `what` lies over `place`. With a `root`
/// all of that is there, and it becomes the root.
fn start_apart(
    command: &mut Command,
    (kinds, user): (libc::c_int, u32),
    (what, place): (&Path, &Path),
    root: Option<&Path>,
) {
    let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let within = root.map_or(place.to_path_buf(), |root| {
        root.join(place.strip_prefix("/").expect("an absolute path"))
    });
    let (what, place, root) = (c_string(what), c_string(&within), root.map(c_string));
    let map = format!("0 {user} 1");
    let enter = move || {
        let none = c"none".as_ptr();
        let mount = |what: *const libc::c_char, place: *const libc::c_char, flags| {
            // SAFETY: both end with NUL, and the other two may be null.
            succeed(unsafe { libc::mount(what, place, ptr::null(), flags, ptr::null()) })
        };
        // SAFETY: takes a number.
        succeed(unsafe { libc::unshare(kinds) })?;
        if kinds & libc::CLONE_NEWUSER != 0 {
            // A process that has just become another user's may not write its own files.
            // SAFETY: takes numbers.
            succeed(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })?;
            write_file(c"/proc/self/setgroups", "deny")?;
            write_file(c"/proc/self/uid_map", &map)?;
            write_file(c"/proc/self/gid_map", &map)?;
        }
        if kinds & libc::CLONE_NEWNS == 0 {
            return Ok(());
        }
        mount(none, c"/".as_ptr(), libc::MS_REC | libc::MS_PRIVATE)?;
        if let Some(root) = &root {
            mount(c"/".as_ptr(), root.as_ptr(), libc::MS_REC | libc::MS_BIND)?;
        }
        mount(what.as_ptr(), place.as_ptr(), libc::MS_BIND)?;
        if let Some(root) = &root {
            let here = c".".as_ptr();
            // SAFETY: all paths end with NUL.
            unsafe {
                succeed(libc::chdir(root.as_ptr()))?;
                succeed(libc::syscall(libc::SYS_pivot_root, here, here) as libc::c_int)?;
                succeed(libc::umount2(here, libc::MNT_DETACH))?;
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(enter) };
}

const USERS_AND_FILES: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;

/// A hog from `path`, started apart; `None` if this machine does not let a program do that.
fn hog_apart(
    sandbox: &Sandbox,
    path: &Path,
    (kinds, user): (libc::c_int, u32),
    over: (&Path, &Path),
    root: Option<&Path>,
) -> Option<Hog> {
    let mut command = Command::new(path);
    command.args(["--size", "60M"]).stdin(Stdio::null()).stdout(Stdio::piped());
    if user == NOBODY {
        command = sandbox.command_as_nobody(command);
    }
    start_apart(&mut command, (kinds, user), over, root);
    let mut probe = Command::new("true");
    if user == NOBODY {
        probe = sandbox.command_as_nobody(probe);
    }
    start_apart(&mut probe, (kinds, user), over, root);
    match probe.status() {
        Ok(_) => Some(Hog::start(command)),
        Err(error) => {
            skip(&format!("no namespaces of its own for a hog: {error}"));
            None
        }
    }
}

/// What `/proc` shows of its program.
fn program_of(pid: u32) -> String {
    let link = fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
    link.to_str().expect("a plain path").to_string()
}

/// Sees that patterns for programs take `fake`, which holds most, for another one than that at `path`, which it shows.
fn expect_container(world: &World<'_>, fake: &Hog, small: &Hog, path: &str) {
    let shown = program_of(fake.pid());
    assert_eq!(shown.trim_end_matches(" (deleted)"), path);
    let quoted = path.replace('.', "\\.");
    for ordinary in [&*format!("^{quoted}$"), &format!("glob:{path}"), "agetty$", ".", "glob:*"] {
        world.expect(&["--ignore", &format!("exe:{ordinary}")], fake);
    }
    for named in [&*format!("^container:{quoted}$"), "glob:container:*", "container:"] {
        world.expect(&["--ignore", &format!("exe:{named}")], small);
        world.expect(&["--prefer", "^hog$", "--only", &format!("exe:{named}")], fake);
    }
}

#[test]
fn a_program_that_is_laid_over_another_one_in_a_namespace_is_not_that_one() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (path, fake) = (copy_of_hog(sandbox, "usr/sbin/agetty"), copy_of_hog(sandbox, "fake"));
        let root = sandbox.path("root");
        fs::create_dir(&root).expect("a directory");
        let shown = path.to_str().expect("a plain path");
        let genuine = run_hog(&path, None, "40M");
        let other = world.hog("other", "20M");
        let over = (&*fake, &*path);
        for (kinds, root) in [
            (USERS_AND_FILES, None),
            (USERS_AND_FILES, Some(&*root)),
            (libc::CLONE_NEWNS, None),
            (libc::CLONE_NEWNS, Some(&*root)),
        ] {
            let Some(mut fake) = hog_apart(sandbox, &path, (kinds, 0), over, root) else { return };
            expect_container(&world, &fake, &genuine, shown);
            fake.signal(libc::SIGKILL);
            fake.wait_for_end();
        }
        let only = format!("exe:^{shown}$");
        world.expect(&["--only", &only], &genuine);
        world.expect(&["--ignore", &only], &other);
    });
}

#[test]
fn an_ordinary_user_cannot_lay_a_program_over_another_one_to_be_spared() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let world = World::new(sandbox);
        let (path, fake) = (copy_of_hog(sandbox, "usr/sbin/agetty"), copy_of_hog(sandbox, "fake"));
        std::os::unix::fs::chown(&fake, Some(NOBODY), Some(NOBODY)).expect("another owner");
        let shown = path.to_str().expect("a plain path");
        let genuine = run_hog(&path, None, "20M");
        let kinds = (USERS_AND_FILES, NOBODY);
        let Some(laid) = hog_apart(sandbox, &path, kinds, (&fake, &path), None) else { return };
        expect_container(&world, &laid, &genuine, shown);
        // From there it is run in the namespaces of all others.
        let there = format!("/proc/{}/root{shown}", laid.pid());
        let mut command = sandbox.command_as_nobody(Command::new(&there));
        command.args(["--size", "80M"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let borrowed = Hog::start(command);
        expect_container(&world, &borrowed, &genuine, shown);
        // And then removed, as an upgrade does with a program that runs.
        fs::remove_file(&fake).expect("remove");
        assert!(program_of(borrowed.pid()).ends_with(" (deleted)"));
        expect_container(&world, &borrowed, &genuine, shown);
    });
}

#[test]
fn a_program_whose_users_are_others_is_shown_as_of_a_container() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = copy_of_hog(sandbox, "usr/sbin/agetty");
        let small = world.hog("other", "20M");
        let kinds = (libc::CLONE_NEWUSER, 0);
        let Some(hog) = hog_apart(sandbox, &path, kinds, (&path, &path), None) else { return };
        expect_container(&world, &hog, &small, path.to_str().expect("a plain path"));
    });
}

#[test]
fn a_service_with_files_of_its_own_is_known_by_the_path_of_its_program() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = copy_of_hog(sandbox, "usr/sbin/daemon");
        let (tmp, own) = (sandbox.path("tmp"), sandbox.path("own"));
        for directory in [&tmp, &own] {
            fs::create_dir(directory).expect("a directory");
        }
        let small = world.hog("other", "20M");
        let ignore = format!("exe:^{}$", path.display());
        // As `PrivateTmp=` does.
        let kinds = (libc::CLONE_NEWNS, 0);
        let Some(service) = hog_apart(sandbox, &path, kinds, (&own, &tmp), None) else { return };
        if program_of(service.pid()) != path.to_str().expect("UTF-8") {
            return skip(
                "in a chroot the kernel shows paths of other mount namespaces from above it",
            );
        }
        world.expect(&["--ignore", &ignore], &small);
        world.expect(&["--only", &ignore], &service);
        // A guard whose own files are others, and one of a service that was upgraded: only init's count.
        let fake = copy_of_hog(sandbox, "fake");
        let mut command = sandbox.guard_command(&["--explain", "--ignore", &ignore]);
        start_apart(&mut command, kinds, (&fake, &path), None);
        let output = command.stdout(Stdio::piped()).output().expect("the guard");
        let shown = String::from_utf8(output.stdout).expect("--explain prints UTF-8");
        let verdict = format!("now SIGTERM would go to process {} ", small.pid());
        assert!(shown.lines().last().is_some_and(|line| line.contains(&verdict)), "{shown}");
        fs::rename(&fake, &path).expect("an upgrade");
        world.expect(&["--ignore", &ignore], &service);
        world.expect(&["--ignore", "exe:^container:"], &small);
    });
}

#[test]
fn a_program_that_was_replaced_keeps_its_path() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (path, next) = (copy_of_hog(sandbox, "usr/sbin/daemon"), copy_of_hog(sandbox, "next"));
        let (service, small) = (run_hog(&path, None, "60M"), world.hog("other", "20M"));
        let pattern = format!("exe:^{}$", path.display());
        fs::rename(&next, &path).expect("an upgrade");
        assert!(program_of(service.pid()).ends_with(" (deleted)"));
        world.expect(&["--ignore", &pattern], &small);
        world.expect(&["--only", &pattern], &service);
        world.expect(&["--ignore", "exe:container:"], &service);
    });
}

#[test]
fn a_guard_of_an_ordinary_user_looks_up_programs_where_it_is() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let _world = World::new(sandbox);
        let path = copy_of_hog(sandbox, "usr/sbin/daemon");
        let start = |path: &Path, size| {
            let mut command = sandbox.command_as_nobody(Command::new(path));
            command.args(["--size", size]).stdin(Stdio::null()).stdout(Stdio::piped());
            Hog::start(command)
        };
        let (large, small) = (start(&path, "60M"), start(&sandbox.path("hog"), "20M"));
        let ignore = format!("exe:^{}$", path.display());
        for (options, hog) in [(&["--ignore", &ignore][..], &small), (&["--only", &ignore], &large)]
        {
            let command = sandbox.guard_command(&[options, &["--explain"]].concat());
            let mut command = sandbox.command_as_nobody(command);
            let output = command.stdout(Stdio::piped()).output().expect("the guard");
            let shown = String::from_utf8(output.stdout).expect("--explain prints UTF-8");
            let verdict = format!("now SIGTERM would go to process {} ", hog.pid());
            assert!(shown.lines().last().is_some_and(|line| line.contains(&verdict)), "{shown}");
        }
    });
}

#[test]
fn a_program_that_cannot_be_looked_up_in_time_counts_as_ignored_and_the_next_one_goes() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let path = copy_of_hog(sandbox, "usr/sbin/daemon");
        let mut large = run_hog(&path, None, "60M");
        let mut other = sandbox.hog(&["--size", "20M"]);
        let guard = sandbox.guard(&["--ignore", "exe:/usr/sbin/"]);
        let helper = guard.helper().expect("a helper");
        signal_to(helper, libc::SIGSTOP);
        let before = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut other, before, FEW_SLEEPS);
        memory.available(PLENTY);
        signal_to(helper, libc::SIGCONT);
        guard.wait_for("exited after");
        assert!(large.is_alive());
        guard.stop();
    });
}

// ---- several patterns ----

#[test]
fn only_what_only_names_can_go() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let _large = world.hog("large", "60M");
        let (middle, small) = (world.hog("middle", "40M"), world.hog("small", "20M"));
        world.expect(&["--only", "^small$"], &small);
        world.expect(&["--only", "^small$", "--only", "mid"], &middle);
        world.expect(&["--only", "^(small|middle)$", "--ignore", "^middle$"], &small);
        assert_eq!(world.victim(&["--only", "^smal$"]), None);
    });
}

#[test]
fn each_option_may_be_repeated_and_any_of_its_patterns_counts() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let [a, b, c] =
            [("a", "60M"), ("b", "40M"), ("c", "20M")].map(|(name, size)| world.hog(name, size));
        world.expect(&["--prefer", "^b$", "--prefer", "^c$"], &b);
        world.expect(&["--prefer=^x$", "--prefer=^c$"], &c);
        world.expect(&["--avoid", "^a$", "--avoid", "^b$"], &c);
        world.expect(&["--ignore", "^a$", "--ignore", "cmd:--name b"], &c);
        world.expect(&["--ignore", "^x$", "--ignore", "^y$"], &a);
    });
}

#[test]
fn preferred_and_avoided_at_once_is_neither() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, small) = (world.hog("large", "60M"), world.hog("small", "20M"));
        world.expect(&["--prefer", "small", "--avoid", "^s"], &large);
        world.expect(&["--prefer", "large", "--avoid", "^l"], &large);
        world.expect(&["--prefer", "small", "--avoid", "x", "--avoid", "^l"], &small);
        let row = world.row(&["--prefer", "small", "--avoid", "^s"], small.pid());
        assert!(row.ends_with("preferred and avoided"), "{row}");
    });
}

#[test]
fn a_preferred_process_that_is_too_small_to_matter_is_spared_as_any_other() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, tiny) = (world.hog("large", "60M"), world.hog("tiny", "1M"));
        world.expect(&["--prefer", "tiny"], &large);
        world.expect(&["--prefer", "tiny", "--min-rss", "0"], &tiny);
    });
}

#[test]
fn with_sort_by_rss_a_preferred_process_counts_for_three_tenths_of_memory_more() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (large, small) = (world.hog("large", "350M"), world.hog("small", "20M"));
        // Of 1000 MiB: 20 + 300 against 350, and against 50.
        world.expect(&["--sort-by-rss", "--prefer", "small"], &large);
        world.expect(&["--sort-by-rss", "--prefer", "small", "--avoid", "large"], &small);
        world.expect(&["--sort-by-rss", "--ignore", "large"], &small);
    });
}

#[test]
fn where_all_are_ignored_there_is_no_process_to_kill() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let mut hogs = ["a", "b"].map(|name| world.hog(name, "40M"));
        for pattern in [".", ".*", "glob:*", "cmd:.", "exe:^/", "user:.", "cgroup:."] {
            assert_eq!(world.victim(&["--ignore", pattern]), None, "{pattern}");
        }
        let row = world.row(&["--ignore", "^a$"], hogs[0].pid());
        assert!(row.ends_with("ignored: ^a$"), "{row}");
        let row = world.row(&["--only", "^a$"], hogs[1].pid());
        assert!(row.ends_with("protected: not in --only"), "{row}");
        // And in earnest.
        let guard = sandbox.guard(&["--ignore", "."]);
        guard.wait_for_many("no process to kill", 2);
        assert!(hogs.iter_mut().all(Hog::is_alive));
        assert_eq!(guard.signals().len(), 0);
        guard.stop();
    });
}

// ---- full names ----

#[test]
fn a_name_that_the_kernel_cut_is_matched_by_its_full_name_too() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = copy_of_hog(sandbox, "gnome-control-center");
        let (small, large) = (run_hog(&path, None, "20M"), world.hog("other", "60M"));
        let comm = fs::read_to_string(format!("/proc/{}/comm", small.pid())).expect("comm");
        assert_eq!(comm, "gnome-control-c\n");
        for pattern in ["^gnome-control-center$", "^gnome-control-c$", "glob:gnome-control-center"]
        {
            world.expect(&["--prefer", pattern], &small);
            world.expect(&["--ignore", pattern], &large);
            world.expect(&["--only", pattern], &small);
        }
        world.expect(&["--prefer", "^gnome-control-cente$"], &large);
        world.expect(&["--only", "center"], &small);
    });
}

/// A script that waits for its end.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_script_with_a_long_name_is_matched_by_its_full_name() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = sandbox.path("a-script-with-a-long-name");
        fs::write(&path, "#!/bin/sh\nread line\n").expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(&path);
        let script = Script(command.stdin(Stdio::piped()).spawn().expect("the script"));
        let pid = script.0.id();
        let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).expect("comm");
        wait_for("the script", || comm() == "a-script-with-a\n");
        let large = world.hog("other", "60M");
        let options = ["--min-rss", "0", "--prefer", "^a-script-with-a-long-name$"];
        assert_eq!(world.victim(&options), Some(pid));
        world.expect(&["--min-rss", "0", "--prefer", "^a-script-with-a-long$"], &large);
    });
}

// ---- what is asked for again ----

#[test]
fn a_group_that_holds_an_ignored_process_loses_only_the_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        for pattern in ["^spared$", "cmd:--name spared", "exe:hog$"] {
            let path = copy_of_hog(sandbox, "large");
            let mut leader = Command::new(&path);
            leader.args(["--size", "60M", "--new-group"]).stdout(Stdio::piped());
            let mut leader = Hog::start(leader);
            let mut member = sandbox.hog_command(&["--size", "20M", "--name", "spared"]);
            member.process_group(leader.pid() as i32);
            let mut member = Hog::start(member);
            let guard = sandbox.guard(&["-g", "--ignore", pattern]);
            memory.available(LOW);
            assert_eq!(leader.wait_for_end().signal(), Some(libc::SIGTERM));
            memory.available(PLENTY);
            let said = guard.wait_for("only the process is signalled");
            let holds = |why| format!("holds process {} (protected: {why})", member.pid());
            // On a busy machine a command line comes late.
            let perhaps = pattern.starts_with("cmd:") && said.contains(&holds("perhaps ignored"));
            assert!(said.contains(&holds("ignored")) || perhaps, "{said}");
            guard.wait_for("exited after");
            assert!(member.is_alive(), "{pattern}");
            guard.stop();
            member.signal(libc::SIGKILL);
        }
    });
}

#[test]
fn a_process_that_has_become_another_program_is_matched_by_its_new_command_line() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exec \"$0\" --name new --size 60M"]);
        command.arg(sandbox.path("hog")).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut script = Script(command.spawn().expect("sh"));
        let pid = script.0.id();
        // With it there is enough to be had.
        let other = sandbox.hog(&["--name", "other", "--size", "120M"]);
        let mut options = vec!["--dryrun", "--min-rss", "0", "--avoid", "^other$"];
        options.extend(["--ignore", "cmd:--name new --size 60M$"]);
        let guard = sandbox.guard(&options);
        guard.wait_for(&format!("would send SIGTERM to process {pid} "));
        script.0.stdin.take().expect("stdin").write_all(b"\n").expect("a line");
        wait_for("the program", || living("new") == [pid]);
        guard.wait_for(&format!("would send SIGTERM to process {} ", other.pid()));
        guard.stop();
        drop(world);
    });
}

// ---- what cannot be read ----

/// From low memory to the victim's end, where a command line is waited for and another helper started meanwhile.
const FEW_SLEEPS: u64 = 20;

/// Of a busy machine the new helper is late, too, and is asked again after a second, while memory is looked at every 100 ms. One
/// that hangs would be asked after a minute.
const WITH_LATE_HELPER: u64 = 200;

#[test]
fn a_command_line_that_cannot_be_read_counts_as_ignored_and_the_next_one_goes_on_time() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut stuck = sandbox.hog(&["--size", "60M"]);
        let mut other = sandbox.hog(&["--size", "20M"]);
        let _trap = Trap::over(sandbox, &format!("/proc/{}/cmdline", stuck.pid()));
        let guard = sandbox.guard(&["--ignore", "cmd:^nobody is called so$"]);
        let before = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut other, before, WITH_LATE_HELPER);
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(stuck.is_alive());
        guard.stop();
    });
}

#[test]
fn a_command_line_that_cannot_be_read_is_not_in_only_and_the_next_one_goes_on_time() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut stuck = sandbox.hog(&["--size", "60M"]);
        let mut other = sandbox.hog(&["--size", "20M"]);
        let _trap = Trap::over(sandbox, &format!("/proc/{}/cmdline", stuck.pid()));
        let guard = sandbox.guard(&["--only", "cmd:hog"]);
        let before = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut other, before, WITH_LATE_HELPER);
        memory.available(PLENTY);
        guard.wait_for("exited after");
        assert!(stuck.is_alive());
        guard.stop();
    });
}

#[test]
fn a_command_line_that_cannot_be_read_delays_no_kill_of_whom_it_could_only_raise() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut stuck = sandbox.hog(&["--size", "60M"]);
        let _trap = Trap::over(sandbox, &format!("/proc/{}/cmdline", stuck.pid()));
        let guard = sandbox.guard(&["--prefer", "cmd:hog", "--avoid", "cmd:size"]);
        let before = guard.sleeps();
        memory.available(VERY_LOW);
        guard.expect_kill(&mut stuck, before, FEW_SLEEPS);
        memory.available(PLENTY);
        guard.wait_for("exited after");
        guard.stop();
    });
}

#[test]
fn a_full_name_that_cannot_be_read_counts_as_ignored() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let path = sandbox.path("a-script-with-a-long-name");
        fs::write(&path, "#!/bin/sh\nread line\n").expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(&path);
        let mut script = Script(command.stdin(Stdio::piped()).spawn().expect("the script"));
        let pid = script.0.id();
        wait_for("the script", || living("a-script-with-a") == [pid]);
        let _trap = Trap::over(sandbox, &format!("/proc/{pid}/cmdline"));
        let guard = sandbox.guard(&["--min-rss", "0", "--ignore", "^a-script-with-a-long-name$"]);
        memory.available(LOW);
        guard.make_look(8);
        assert!(script.0.try_wait().expect("wait").is_none(), "it was ended");
        guard.signal(libc::SIGKILL);
    });
}

#[test]
fn a_long_command_line_is_matched_in_its_first_2048_bytes() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = sandbox.path("hog");
        // The same length for both.
        let first = |mark: &str, at: usize| format!("{}{mark}{}", "-".repeat(at), "-".repeat(3000));
        let small = run_hog(&path, Some(&first("MARK", 1800)), "20M");
        let large = run_hog(&path, Some(&first("MARK", 2100)), "60M");
        world.expect(&["--prefer", "cmd:MARK"], &small);
        world.expect(&["--ignore", "cmd:MARK"], &large);
    });
}

#[test]
fn a_leader_that_ended_before_its_threads_is_matched_by_their_command_line_and_executable() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let path = copy_of_hog(sandbox, "opt/browser");
        let mut command = Command::new(path);
        command.args(["--size", "20M", "--zombie-leader"]).stdout(Stdio::piped());
        let zombie = Hog::start(command);
        let large = world.hog("other", "60M");
        for pattern in ["cmd:--zombie-leader$", "exe:/opt/browser$", "^browser$"] {
            world.expect(&["--prefer", pattern], &zombie);
            world.expect(&["--ignore", pattern], &large);
        }
    });
}

// ---- what is said ----

#[test]
fn debug_and_the_explanation_name_the_pattern_that_matched() {
    sandboxed(|sandbox| {
        let world = World::new(sandbox);
        let (small, large) = (world.hog("small", "20M"), world.hog("large", "60M"));
        let options =
            ["--prefer", "no", "--prefer", "cmd:name small", "--avoid", "^la", "--ignore", "x\"y"];
        let (victim, log) = world.asked(&options);
        assert_eq!(victim, Some(small.pid()), "{log}");
        assert!(log.contains(", preferred by \"cmd:name small\""), "{log}");
        let row = world.row(&options, small.pid());
        assert!(row.ends_with("preferred: cmd:name small"), "{row}");
        let row = world.row(&options, large.pid());
        assert!(row.ends_with("avoided: ^la"), "{row}");
        let row = world.row(&["--ignore", "no", "--ignore", "name:ge$"], large.pid());
        assert!(row.ends_with("ignored: name:ge$"), "{row}");
    });
}

#[test]
fn the_protected_are_listed_by_what_they_hold_whatever_their_points() {
    sandboxed(|sandbox| {
        let small = sandbox.hog(&["--size", "20M", "--adj", "500"]);
        let large = sandbox.hog(&["--size", "90M"]);
        let shown = sandbox.explain(&["--ignore", "^hog$", "-d"]);
        let place = |hog: &Hog| {
            let is_its =
                |line: &str| line.split_whitespace().nth(1) == Some(&hog.pid().to_string());
            shown.lines().position(is_its).unwrap_or_else(|| panic!("no {} in\n{shown}", hog.pid()))
        };
        assert!(place(&large) < place(&small), "{shown}");
    });
}
