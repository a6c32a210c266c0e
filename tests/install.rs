//! `scripts/install.sh` and the services in `init`: installed below a directory for every init system, by dash and by
//! BusyBox alone, and driven for real where that needs no init system of their own.
//!
//! Nothing is installed on this machine. What starts a guard runs in a world of its own, by settings that let it kill
//! nothing.

mod common;

use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

const INITS: [&str; 8] =
    ["systemd", "openrc", "runit", "sysvinit", "s6", "inittab", "procd", "none"];

// ---- a release and where it goes ----

/// Who reads the script: dash with the usual tools, or BusyBox with nothing but its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shell {
    Dash,
    Busybox,
}

struct Release {
    dir: tempfile::TempDir,
}

impl Release {
    /// An unpacked release.
    fn new() -> Release {
        let release = Release { dir: tempfile::tempdir().expect("a directory") };
        fs::set_permissions(release.dir.path(), Permissions::from_mode(0o755)).expect("mode");
        fs::create_dir(release.path("top")).expect("a directory");
        copy_tree(&Path::new(CHECKOUT).join("init"), &release.path("top/init"));
        let script = Path::new(CHECKOUT).join("scripts/install.sh");
        fs::copy(script, release.path("top/install.sh")).expect("install.sh");
        let guard = std::env::var_os("GUARD_BIN")
            .map_or(PathBuf::from(env!("CARGO_BIN_EXE_oom_guard")), PathBuf::from);
        fs::copy(guard, release.path("top/oom_guard")).expect("the guard");
        fs::create_dir(release.path("root")).expect("a directory");
        release
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Below which it installs.
    fn root(&self, name: &str) -> PathBuf {
        self.path("root").join(name.trim_start_matches('/'))
    }

    fn command(&self, shell: Shell) -> Command {
        self.command_of(shell, &self.path("top/install.sh"))
    }

    fn command_of(&self, shell: Shell, script: &Path) -> Command {
        let mut command = match shell {
            Shell::Dash => Command::new("dash"),
            Shell::Busybox => {
                let busybox = program("busybox").expect("busybox");
                let tools = self.path("applets");
                if !tools.exists() {
                    link_applets(&busybox, &tools);
                }
                let mut command = Command::new(busybox);
                command.arg("sh").env("PATH", tools);
                command
            }
        };
        command.arg(script).stdin(Stdio::null()).env_remove("CARGO_TARGET_DIR");
        command
    }

    fn run(&self, shell: Shell, options: &[&str]) -> Output {
        let mut command = self.command(shell);
        command.arg("--destdir").arg(self.path("root")).args(options);
        command.output().expect("the shell")
    }

    /// What it says, where it must not fail.
    fn install(&self, shell: Shell, options: &[&str]) -> String {
        let output = self.run(shell, options);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
        assert!(output.status.success(), "{shell:?} {options:?}: {said}");
        said
    }

    /// Everything below the root: a file with its mode and content, a link with its target, a directory.
    fn tree(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let (mut folders, mut found) = (vec![self.path("root")], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = if metadata.is_symlink() {
                    fs::read_link(&path).unwrap().into_os_string().into_vec()
                } else if metadata.is_dir() {
                    folders.push(path.clone());
                    Vec::new()
                } else {
                    fs::read(&path).unwrap()
                };
                found.insert(path, (metadata.mode(), content));
            }
        }
        found
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.root(name)).is_ok()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// A directory with a link for each applet. Not every BusyBox lists itself.
fn link_applets(busybox: &Path, dir: &Path) {
    fs::create_dir(dir).unwrap();
    let list = Command::new(busybox).arg("--list").output().expect("busybox").stdout;
    let applets = String::from_utf8(list).unwrap();
    let applets: BTreeSet<_> = applets.lines().chain(["busybox"]).collect();
    for applet in applets {
        symlink(busybox, dir.join(applet)).unwrap();
    }
}

/// What the script asks of its tools.
const TOOLS: &str = r#"set -e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo a/b >one
cp one two
chmod 644 two
cmp -s one two
mv -f two three
ln -s three link
[ "$(readlink link)" = three ]
[ "$(readlink -f link)" = "$(readlink -f three)" ]
grep -qxF a/b three
[ "$(grep -v '^#' three | sed 's|a/|c/|g' | tr / _)" = c_b ]
[ -z "$(tail -c 1 three)" ]
mkdir -p deep/down
rmdir deep/down
id -u >/dev/null
uname -m >/dev/null
dirname "$work" >/dev/null
printf '%s' "$(cat three)" >/dev/null
"#;

/// The shells that can be had with the tools that the script needs; a line for each that cannot.
fn shells(test: &str) -> Vec<Shell> {
    let mut shells = Vec::new();
    for (shell, name) in [(Shell::Dash, "dash"), (Shell::Busybox, "busybox")] {
        if program(name).is_none() {
            skip(&format!("{test}: {name} is not installed"));
            continue;
        }
        let release = Release::new();
        fs::write(release.path("tools"), TOOLS).unwrap();
        let output = release.command_of(shell, &release.path("tools")).output().expect("a shell");
        match output.status.success() {
            true => shells.push(shell),
            false => {
                let why = String::from_utf8_lossy(&output.stderr);
                skip(&format!("{test} with {name}: a tool is missing or too old: {}", why.trim()));
            }
        }
    }
    shells
}

/// Runs `body` with each shell.
fn with_each_shell(test: &str, body: impl Fn(Shell, &Release)) {
    shells(test).into_iter().for_each(|shell| body(shell, &Release::new()));
}

// ---- install.sh ----

/// Where shells look for them.
const COMPLETIONS: [&str; 3] = [
    "bash-completion/completions/oom_guard",
    "zsh/site-functions/_oom_guard",
    "fish/vendor_completions.d/oom_guard.fish",
];

/// What there must be for each, beside the program and its settings.
fn expected(init: &str) -> &'static [&'static str] {
    match init {
        "systemd" => &[
            "/etc/systemd/system/oom_guard.service",
            "/etc/systemd/system/multi-user.target.wants/oom_guard.service",
            "/etc/systemd/system/memory-monitor.service",
            "/usr/local/share/oom_guard/systemd/hooks.conf",
            "/usr/local/share/oom_guard/systemd/kernel-oom.conf",
            "/usr/local/share/oom_guard/systemd/10-reboot.conf",
        ],
        "openrc" => &[
            "/etc/init.d/oom_guard",
            "/etc/conf.d/oom_guard",
            "/etc/runlevels/default/oom_guard",
            "/etc/runlevels/default/memory-monitor",
        ],
        "runit" => {
            &["/etc/sv/oom_guard/run", "/etc/sv/oom_guard/log/run", "/etc/service/oom_guard"]
        }
        "sysvinit" => {
            &["/etc/init.d/oom_guard", "/etc/rc2.d/S20oom_guard", "/etc/rc6.d/K20oom_guard"]
        }
        "s6" => &["/etc/s6/oom_guard/run", "/etc/s6/oom_guard/finish", "/service/oom_guard"],
        "inittab" => &["/usr/local/lib/oom_guard/respawn"],
        "procd" => &["/etc/init.d/oom_guard", "/etc/rc.d/S15oom_guard"],
        _ => &[],
    }
}

#[test]
fn for_every_init_system_all_is_installed_once_and_removed_again() {
    with_each_shell("installing", |shell, release| {
        for init in INITS {
            release.write("/etc/inittab", "::sysinit:/bin/true");
            release.write("/etc/default/oom_guard", "OOM_GUARD_PREFER=\"(chrome|firefox)\"\n");
            fs::create_dir_all(release.root("/etc/logrotate.d")).unwrap();
            fs::create_dir_all(release.root("/usr/share/dbus-1")).unwrap();
            let before = release.tree();
            release.install(shell, &["--init", init, "--memory-monitor"]);
            let bin = if init == "procd" { "/usr/bin" } else { "/usr/local/bin" };
            let program = release.root(bin).join("oom_guard");
            assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o755);
            for name in
                ["man/man8/oom_guard.8", "man/man5/oom_guard.conf.5"].iter().chain(&COMPLETIONS)
            {
                let share = bin.replace("/bin", "/share");
                assert!(release.has(&format!("{share}/{name}")), "{init}: no {name}");
            }
            let policy = "/usr/share/dbus-1/system.d/oom_guard.conf";
            for name in expected(init).iter().chain(&[
                "/etc/oom_guard.conf",
                "/etc/logrotate.d/oom_guard",
                policy,
            ]) {
                assert!(release.has(name), "{init}: no {name}");
            }
            let line = format!("::respawn:{}\n", "/usr/local/lib/oom_guard/respawn");
            assert_eq!(release.read("/etc/inittab").ends_with(&line), init == "inittab");
            // What it names is there.
            let monitor = fs::canonicalize(release.root(bin).join("memory-monitor")).unwrap();
            assert_eq!(monitor, fs::canonicalize(&program).unwrap());
            let once = release.tree();
            let said = release.install(shell, &[]);
            assert!(!said.contains("writing"), "{init}: {said}");
            let without_notes = |mut tree: BTreeMap<PathBuf, _>| {
                tree.retain(|path, _| !path.ends_with("share/oom_guard/installed"));
                tree
            };
            assert!(without_notes(release.tree()) == without_notes(once), "{init}");
            release.install(shell, &["--uninstall"]);
            let mut after = release.tree();
            if init == "inittab" {
                // Its last line got an end.
                assert_eq!(release.read("/etc/inittab"), "::sysinit:/bin/true\n");
                after.remove(&release.root("/etc/inittab"));
            }
            after.retain(|path, node| before.get(path) != Some(node));
            assert!(after.is_empty(), "{init} leaves {:?}", after.keys());
        }
    });
}

#[test]
fn settings_that_were_changed_are_kept_and_others_follow_the_release() {
    with_each_shell("changed settings", |shell, release| {
        release.install(shell, &["--init", "openrc"]);
        let conf = "/etc/oom_guard.conf";
        let first = release.read(conf);
        // As it came: replaced by the next one.
        let shipped = release.path("top/init/oom_guard.conf");
        fs::write(&shipped, format!("{first}# second\n")).unwrap();
        release.install(shell, &[]);
        assert!(release.read(conf).ends_with("# second\n"));
        // Changed: kept, and the next one beside it.
        release.write(conf, "OOM_GUARD_GRACE=7\n");
        release.write("/etc/conf.d/oom_guard", "OOM_GUARD_GRACE=8\n");
        release.install(shell, &[]);
        assert!(!release.has("/etc/oom_guard.conf.new"), "there is nothing new");
        fs::write(&shipped, format!("{first}# third\n")).unwrap();
        let said = release.install(shell, &[]);
        assert!(said.contains("oom_guard.conf was changed and stays"), "{said}");
        assert_eq!(release.read(conf), "OOM_GUARD_GRACE=7\n");
        assert!(release.read("/etc/oom_guard.conf.new").ends_with("# third\n"));
        release.install(shell, &["--uninstall"]);
        let mut left = release.tree();
        left.retain(|_, (mode, _)| *mode & libc::S_IFMT == libc::S_IFREG);
        let left: Vec<_> = left.into_keys().collect();
        assert_eq!(left, [release.root("/etc/conf.d/oom_guard"), release.root(conf)]);
    });
}

#[test]
fn a_service_that_came_from_elsewhere_or_was_changed_stays_beside_the_new_one() {
    with_each_shell("a former service", |shell, release| {
        let unit = "/etc/systemd/system/oom_guard.service";
        release.write(unit, "ExecStart=/usr/local/bin/oom_guard -m 20\n");
        release.write("/usr/local/bin/oom_guard", "the original\n");
        release.write("/usr/local/bin/memory-monitor.sh", "the original\n");
        release.install(shell, &["--init", "systemd", "--memory-monitor"]);
        let old = |name: &str| release.read(&format!("{name}.old"));
        assert_eq!(old(unit), "ExecStart=/usr/local/bin/oom_guard -m 20\n");
        // What a drop-in starts is the program now.
        assert_eq!(old("/usr/local/bin/memory-monitor.sh"), "the original\n");
        let link = fs::read_link(release.root("/usr/local/bin/memory-monitor.sh")).unwrap();
        assert_eq!(link, Path::new("oom_guard"));
        release.write(unit, "changed\n");
        release.install(shell, &[]);
        assert_eq!(old(unit), "changed\n");
        assert!(release.read(unit).contains("\n[Service]\n"));
    });
}

#[test]
fn a_program_that_runs_is_replaced_and_never_written_to() {
    with_each_shell("a program that runs", |shell, release| {
        release.install(shell, &["--init", "none"]);
        let program = release.root("/usr/local/bin/oom_guard");
        let before = fs::metadata(&program).unwrap().ino();
        // A file that is held open keeps its number from being used again.
        let _held = fs::File::open(&program).unwrap();
        let source = release.path("top/oom_guard");
        let mut bytes = fs::read(&source).unwrap();
        bytes.push(b'\n');
        fs::write(source, &bytes).unwrap();
        release.install(shell, &[]);
        assert_ne!(fs::metadata(&program).unwrap().ino(), before);
        assert!(fs::read(&program).unwrap() == bytes);
        let names = fs::read_dir(program.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "something was left beside it");
    });
}

#[test]
fn another_init_system_takes_the_place_of_the_former() {
    with_each_shell("another init system", |shell, release| {
        release.write("/etc/inittab", "::sysinit:/bin/true\n");
        for pair in INITS.windows(2) {
            release.install(shell, &["--init", pair[0], "--prefix", "/usr/local"]);
            release.install(shell, &["--init", pair[1], "--prefix", "/usr/local"]);
            let gone = expected(pair[0]).iter().filter(|name| !expected(pair[1]).contains(name));
            for name in gone {
                assert!(!release.has(name), "{name} is left by {}", pair[0]);
            }
            assert_eq!(release.read("/etc/inittab").contains("oom_guard"), pair[1] == "inittab");
        }
    });
}

#[test]
fn all_files_name_the_place_where_the_program_went() {
    with_each_shell("a prefix", |shell, release| {
        for init in INITS {
            release.write("/etc/inittab", "");
            release.install(shell, &["--init", init, "--prefix=/opt/guard/", "--memory-monitor"]);
            let tree = release.tree();
            for (path, (_, content)) in &tree {
                let is_program = path.ends_with("bin/oom_guard");
                let text = String::from_utf8_lossy(content);
                assert!(is_program || !text.contains("/usr/local"), "{init}: {path:?}");
                assert!(!path.to_str().unwrap().contains("/usr/local"), "{path:?}");
            }
            let program = b"/opt/guard/bin/oom_guard";
            let names_it = |content: &[u8]| content.windows(program.len()).any(|at| at == program);
            let services = tree.iter().filter(|(path, (_, content))| {
                !path.to_str().unwrap().contains("share") && names_it(content)
            });
            assert_eq!(services.count() > 0, init != "none", "{init}");
            release.install(shell, &["--uninstall", "--prefix", "/opt/guard"]);
        }
    });
}

#[test]
fn a_dry_run_says_each_step_and_does_nothing() {
    with_each_shell("a dry run", |shell, release| {
        let before = release.tree();
        let said = release.install(shell, &["--init", "openrc", "--dry-run"]);
        for step in ["bin/oom_guard", "init.d/oom_guard", "etc/oom_guard.conf", "runlevels/default"]
        {
            assert!(said.contains(step), "{said}");
        }
        assert!(release.tree() == before);
        release.install(shell, &["--init", "openrc"]);
        let before = release.tree();
        let said = release.install(shell, &["--uninstall", "--dry-run"]);
        assert!(said.contains("removing") && said.contains("bin/oom_guard"), "{said}");
        assert!(release.tree() == before);
    });
}

#[test]
fn the_init_system_of_an_image_is_found_by_what_is_there() {
    with_each_shell("finding an init system", |shell, release| {
        for (files, init) in [
            (&["/lib/systemd/systemd"][..], "systemd"),
            (&["/sbin/openrc-run", "/etc/init.d/x", "/etc/rc2.d/x"], "openrc"),
            (&["/etc/runit/runsvdir/default/x"], "runit"),
            (&["/etc/s6-linux-init/current/x"], "s6"),
            (&["/etc/init.d/x", "/etc/rc2.d/x"], "sysvinit"),
            (&["/sbin/procd", "/etc/rc.d/x"], "procd"),
        ] {
            files.iter().for_each(|file| release.write(file, ""));
            let said = release.install(shell, &["--dry-run"]);
            assert!(said.contains(&format!("with a service for {init}\n")), "{init}: {said}");
            fs::remove_dir_all(release.path("root")).unwrap();
            fs::create_dir(release.path("root")).unwrap();
        }
        let output = release.run(shell, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(one_line(&output).contains("--init"));
    });
}

/// All that it said, which must be one line of error.
fn one_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.ends_with('\n') && said.lines().count() == 1, "{said:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    said
}

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    with_each_shell("wrong usage", |shell, release| {
        let before = release.tree();
        for (options, word) in [
            (&["--unistall"][..], "--unistall"),
            (&["now"], "now"),
            (&["--init", "launchd"], "launchd"),
            (&["--init"], "--init"),
            (&["--prefix", "opt"], "--prefix"),
            (&["--prefix", "/o p|t"], "--prefix"),
            (&["--destdir", "/"], "--destdir"),
            (&["--destdir="], "--destdir"),
        ] {
            let output = release.run(shell, options);
            assert_eq!(output.status.code(), Some(2), "{options:?}: {output:?}");
            assert!(one_line(&output).contains(word), "{options:?}");
        }
        assert!(release.tree() == before);
        assert!(release.install(shell, &["--help"]).contains("--uninstall"));
    });
}

#[test]
fn what_was_never_installed_is_not_uninstalled() {
    with_each_shell("nothing to uninstall", |shell, release| {
        let output = release.run(shell, &["--uninstall"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(one_line(&output).contains("nothing was installed"));
    });
}

#[test]
fn what_went_wrong_half_way_can_be_uninstalled() {
    with_each_shell("half an installation", |shell, release| {
        let before = release.tree();
        // There is no inittab.
        let output = release.run(shell, &["--init", "inittab"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(release.has("/usr/local/bin/oom_guard"));
        release.install(shell, &["--uninstall"]);
        assert!(release.tree() == before);
    });
}

#[test]
fn without_the_right_to_it_says_so() {
    with_each_shell("an ordinary user", |shell, release| {
        let mut command = release.command(shell);
        // SAFETY: takes nothing, cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.args(["--init", "none"]).output().expect("the shell");
        assert_eq!(output.status.code(), Some(1));
        assert!(one_line(&output).contains("root"));
    });
}

#[test]
fn without_a_program_and_without_rust_it_says_how_to_get_either() {
    if shells("no program") != [Shell::Dash, Shell::Busybox] {
        return;
    }
    let release = Release::new();
    fs::remove_file(release.path("top/oom_guard")).unwrap();
    // BusyBox alone has no cargo.
    let output = release.run(Shell::Busybox, &["--init", "none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("release"));
    // In a checkout.
    fs::write(release.path("top/Cargo.toml"), "").unwrap();
    let output = release.run(Shell::Busybox, &["--init", "none"]);
    assert_eq!(output.status.code(), Some(1));
    let said = one_line(&output);
    assert!(said.contains("Rust") && said.contains("cargo build --release"), "{said}");
    assert!(!release.has("/etc"));
}

#[test]
fn a_checkout_installs_what_was_built_in_it() {
    with_each_shell("a checkout", |shell, release| {
        let checkout = release.path("checkout");
        fs::create_dir_all(checkout.join("scripts")).unwrap();
        copy_tree(&release.path("top/init"), &checkout.join("init"));
        fs::copy(release.path("top/install.sh"), checkout.join("scripts/install.sh")).unwrap();
        let elsewhere = release.path("built elsewhere");
        for (built, told) in [
            (checkout.join("target"), None),
            (elsewhere.clone(), Some(elsewhere.as_path())),
            (release.path("built here"), Some(Path::new("built here"))),
        ] {
            fs::create_dir_all(built.join("release")).unwrap();
            fs::copy(release.path("top/oom_guard"), built.join("release/oom_guard")).unwrap();
            let mut command = release.command_of(shell, &checkout.join("scripts/install.sh"));
            command.arg("--destdir").arg(release.path("root")).args(["--init", "none"]);
            command.current_dir(release.path("")).envs(told.map(|told| ("CARGO_TARGET_DIR", told)));
            let output = command.output().expect("the shell");
            assert!(output.status.success(), "{told:?}: {output:?}");
            fs::remove_file(release.root("/usr/local/bin/oom_guard")).expect("what was installed");
            fs::remove_dir_all(built).unwrap();
        }
    });
}

// ---- files that others read ----

#[test]
fn systemd_has_nothing_to_complain_of_and_finds_the_units_safe() {
    let test = "the units by systemd-analyze";
    if program("systemd-analyze").is_none() {
        return skip(&format!("{test}: it is not installed"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (name, most) in [("oom_guard", 3.5), ("memory-monitor", 3.5)] {
        let text = fs::read_to_string(init_file(&format!("systemd/{name}.service"))).unwrap();
        // Not installed here; any program will do.
        let text = text.replace(&format!("/usr/local/bin/{name}"), "/bin/sh");
        let unit = dir.path().join(format!("{name}.service"));
        fs::write(&unit, text).unwrap();
        let security = systemd_analyze(&["security", "--offline=true"], &unit);
        let Some(security) = security else { return skip(&format!("{test}: it is too old")) };
        let (_, score) = security.rsplit_once(": ").expect("a score");
        let score: f64 = score.split(' ').next().unwrap().parse().expect("a number");
        assert!(score <= most, "{name}: {security}");
        let said = systemd_analyze(&["verify", "--man=no"], &unit);
        // It also tells of other units of this machine.
        let said = said.unwrap_or_default();
        let ours: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
    for drop_in in ["10-reboot.conf", "hooks.conf", "kernel-oom.conf"] {
        let place = dir.path().join("oom_guard.service.d");
        fs::create_dir_all(&place).unwrap();
        fs::copy(init_file(&format!("systemd/{drop_in}")), place.join(drop_in)).unwrap();
    }
    let said = systemd_analyze(&["verify", "--man=no"], &dir.path().join("oom_guard.service"));
    let said = said.unwrap_or_default();
    let ours: Vec<_> = said.lines().filter(|line| line.contains("oom_guard")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

/// All that it says; nothing where it does not know the options.
fn systemd_analyze(options: &[&str], unit: &Path) -> Option<String> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(options).arg(unit).output().expect("systemd-analyze");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (!said.contains("unrecognized option")).then_some(said)
}

fn init_file(name: &str) -> PathBuf {
    Path::new(CHECKOUT).join("init").join(name)
}

#[test]
fn logrotate_reads_its_snippets() {
    let Some(logrotate) = program("logrotate") else {
        return skip("the snippets by logrotate: it is not installed");
    };
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["oom_guard", "memory-monitor"] {
        let copy = dir.path().join(name);
        fs::copy(init_file(&format!("logrotate/{name}")), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o644)).unwrap();
        let state = dir.path().join("state");
        let output = Command::new(&logrotate).arg("-d").arg("-s").arg(state).arg(copy).output();
        let output = output.expect("logrotate");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("error"), "{said}");
    }
}

// ---- services that run ----

/// A file of `init` that starts the guard of this sandbox, with settings of its own.
fn fitted(sandbox: &Sandbox, name: &str) -> String {
    let text = fs::read_to_string(init_file(name)).unwrap();
    let dir = sandbox.dir.to_str().expect("a plain path");
    let text = text.replace("/usr/local/bin/oom_guard", &format!("{dir}/oom_guard"));
    let text = text.replace("/usr/local/bin/memory-monitor", &format!("{dir}/memory-monitor"));
    // Not that of this machine, which may let it kill.
    let text = text.replace("-c -/etc/", &format!("-c -{dir}/"));
    let text = text.replace("=/run/", &format!("={dir}/"));
    let text = text.replace("/var/log/oom_guard", &format!("{dir}/logs"));
    assert!(!text.contains(" -/etc/"), "{text}");
    text
}

/// The same as a program.
fn service(sandbox: &Sandbox, name: &str, to: &str) -> PathBuf {
    let path = sandbox.path(to);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, fitted(sandbox, name)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// Settings that let it kill nothing, and `more`.
fn settings(sandbox: &Sandbox, more: &str) {
    let log = sandbox.path("guard.log");
    let text = format!("OOM_GUARD_DRY_RUN=true\nOOM_GUARD_LOG_FILE={}\n{more}", log.display());
    fs::write(sandbox.path("oom_guard.conf"), text).unwrap();
}

const FAULTY: &str = "OOM_GUARD_NONSENSE=1\n";

fn guard_log(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("guard.log")).unwrap_or_default()
}

/// The watch, once it looks; its helper is its child.
fn wait_for_watch() -> u32 {
    let mut watch = None;
    wait_for("a guard with its helper", || {
        let all = living("oom_guard");
        watch = all.into_iter().find(|&pid| !children(pid).is_empty());
        watch.is_some()
    });
    watch.unwrap()
}

fn wait_for_another_watch_than(old: u32) -> u32 {
    let mut watch = old;
    wait_for("another guard", || {
        watch = wait_for_watch();
        watch != old
    });
    watch
}

fn wait_for_no_guard() {
    wait_for("the guard's end", || living("oom_guard").is_empty());
}

/// Whether it stays away for longer than any of the services takes to start it again.
fn assert_stays_away() {
    wait_for_no_guard();
    thread::sleep(Duration::from_secs(3));
    assert!(living("oom_guard").is_empty(), "it was started again");
}

#[test]
fn the_script_for_sysvinit_starts_reloads_brings_back_and_stops_the_guard() {
    sandboxed(|sandbox| {
        for shell in [&["dash"][..], &["busybox", "sh"]] {
            if program(shell[0]).is_none() {
                skip(&format!("with {}: it is not installed", shell[0]));
                continue;
            }
            let script = service(sandbox, "sysvinit/oom_guard", "oom_guard.init");
            // It knows itself by its name.
            let dir = sandbox.path("init.d");
            fs::create_dir_all(&dir).unwrap();
            let place = dir.join("oom_guard");
            fs::rename(script, &place).unwrap();
            let call = |verb: &str| {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).arg(&place).arg(verb).stdin(Stdio::null());
                // A service may be started from anywhere.
                ignore_hangup(&mut command);
                command.output().expect("the shell").status.code()
            };
            settings(sandbox, "");
            assert_eq!(call("status"), Some(3));
            assert_eq!(call("start"), Some(0));
            let first = wait_for_watch();
            assert_eq!(call("start"), Some(0), "it runs already");
            assert_eq!(call("status"), Some(0));
            signal_to(first, libc::SIGKILL);
            let second = wait_for_another_watch_than(first);
            wait_for("the end of the old helper", || living("oom_guard").len() == 2);
            let reloads = || guard_log(sandbox).matches("settings were read again").count();
            let before = reloads();
            assert_eq!(call("reload"), Some(0));
            wait_for("a reload", || reloads() > before);
            settings(sandbox, FAULTY);
            assert_eq!(call("reload"), Some(6));
            assert_eq!(call("restart"), Some(6), "the running one is better than none");
            assert_eq!(wait_for_watch(), second);
            signal_to(second, libc::SIGKILL);
            assert_stays_away();
            assert_eq!(call("status"), Some(3));
            assert_eq!(call("start"), Some(6));
            settings(sandbox, "");
            assert_eq!(call("start"), Some(0));
            let third = wait_for_watch();
            assert_eq!(call("restart"), Some(0));
            wait_for_another_watch_than(third);
            assert_eq!(call("stop"), Some(0));
            wait_for_no_guard();
            assert_eq!(call("stop"), Some(0), "it is stopped already");
            assert_eq!(call("nonsense"), Some(2));
        }
    });
}

#[test]
fn the_script_for_sysvinit_signals_nobody_who_has_taken_over_the_number() {
    sandboxed(|sandbox| {
        settings(sandbox, "");
        let place = service(sandbox, "sysvinit/oom_guard", "init.d/oom_guard");
        let mut other = sandbox.hog(&["--size", "1M"]);
        fs::write(sandbox.path("oom_guard.pid"), format!("{}\n", other.pid())).unwrap();
        for (verb, status) in [("status", 1), ("stop", 0), ("reload", 7)] {
            let output = Command::new("sh").arg(&place).arg(verb).output().expect("sh");
            assert_eq!(output.status.code(), Some(status), "{verb}");
        }
        assert!(other.is_alive());
    });
}

/// A supervisor that runs until the end of the test.
struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What supervises a directory with `run` and `finish`.
fn brings_the_guard_back_but_not_with_wrong_settings(sandbox: &Sandbox, init: &str, by: &str) {
    let Some(by) = program(by) else { return skip(&format!("no {by}")) };
    settings(sandbox, "");
    let for_readiness = if init == "s6" { &["notification-fd"][..] } else { &[] };
    for file in ["run", "finish"].iter().chain(for_readiness) {
        service(sandbox, &format!("{init}/{file}"), &format!("{init}/oom_guard/{file}"));
    }
    let dir = sandbox.path(&format!("{init}/oom_guard"));
    let _supervisor = Supervisor(Command::new(by).arg(&dir).spawn().expect("a supervisor"));
    let first = wait_for_watch();
    signal_to(first, libc::SIGKILL);
    let second = wait_for_another_watch_than(first);
    settings(sandbox, FAULTY);
    signal_to(second, libc::SIGKILL);
    assert_stays_away();
}

#[test]
fn runit_brings_the_guard_back_but_not_with_wrong_settings() {
    sandboxed(|sandbox| {
        brings_the_guard_back_but_not_with_wrong_settings(sandbox, "runit", "runsv");
    });
}

#[test]
fn s6_brings_the_guard_back_but_not_with_wrong_settings() {
    sandboxed(|sandbox| {
        brings_the_guard_back_but_not_with_wrong_settings(sandbox, "s6", "s6-supervise");
    });
}

#[test]
fn finish_asks_to_stay_down_for_wrong_settings_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let sv = dir.path().join("sv");
    fs::write(&sv, "#!/bin/sh\necho \"$@\"\n").unwrap();
    fs::set_permissions(&sv, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let finish = |name: &str, code: &str| {
        let mut command = Command::new("sh");
        command.arg(init_file(name)).args([code, "0"]).env("PATH", &path);
        let output = command.output().expect("sh");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for code in ["0", "1", "-1", "256"] {
        assert_eq!(finish("runit/finish", code), (Some(0), String::new()));
        assert_eq!(finish("s6/finish", code), (Some(0), String::new()));
    }
    assert_eq!(finish("runit/finish", "2").1, "down .\n");
    assert_eq!(finish("s6/finish", "2").0, Some(125));
}

#[test]
fn what_busybox_init_starts_waits_for_right_settings_and_becomes_the_guard() {
    sandboxed(|sandbox| {
        settings(sandbox, FAULTY);
        let place = service(sandbox, "busybox/respawn", "respawn");
        let text = fs::read_to_string(&place).unwrap();
        assert!(text.contains("sleep 60"));
        fs::write(&place, text.replace("sleep 60", "sleep 1")).unwrap();
        let mut command = Command::new(place);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh");
        // What checks the settings is a guard as well, for a moment.
        thread::sleep(Duration::from_secs(3));
        assert!(child.try_wait().expect("wait").is_none());
        assert_eq!(guard_log(sandbox), "");
        settings(sandbox, "");
        wait_for("the guard in its place", || living("oom_guard").contains(&child.id()));
        let _ = child.kill();
        let _ = child.wait();
    });
}

/// A script whose functions somebody else calls, with that one's functions in place.
fn call_function(sandbox: &Sandbox, script: &Path, call: &str) -> (Option<i32>, String) {
    let known = "ebegin() { :; }; eend() { return $1; }; procd_open_instance() { :; }
        procd_close_instance() { :; }; procd_set_param() { echo \"set $*\"; }
        procd_send_signal() { echo \"signal $*\"; }; supervise-daemon() { echo \"daemon $*\"; }";
    // dash knows no such name of a function.
    let known = known.replace("supervise-daemon()", "supervise()");
    let text = fs::read_to_string(script).unwrap().replace("supervise-daemon \"", "supervise \"");
    let program =
        sandbox.script("called", &format!("RC_SVCNAME=oom_guard\n{known}\n{text}\n{call}"));
    let output = Command::new(program).output().expect("sh");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_scripts_for_openrc_check_settings_before_a_start_a_restart_and_a_reload() {
    sandboxed(|sandbox| {
        symlink("oom_guard", sandbox.path("memory-monitor")).unwrap();
        for name in ["oom_guard", "memory-monitor"] {
            let script = service(sandbox, &format!("openrc/{name}"), &format!("{name}.openrc"));
            let conf = sandbox.path(&format!("{name}.conf"));
            fs::write(&conf, "OOM_GUARD_GRACE=1\n").unwrap();
            for call in ["start_pre", "checkconfig", "RC_CMD=restart; stop_pre"] {
                assert_eq!(call_function(sandbox, &script, call).0, Some(0), "{name} {call}");
            }
            let (status, said) = call_function(sandbox, &script, "reload");
            assert!(status == Some(0) && said.contains("--signal HUP"), "{said}");
            fs::write(&conf, FAULTY).unwrap();
            for call in ["start_pre", "checkconfig", "reload", "RC_CMD=restart; stop_pre"] {
                let (status, said) = call_function(sandbox, &script, call);
                assert!(status == Some(2) && said.is_empty(), "{name} {call}: {status:?} {said}");
            }
            // That one may be stopped.
            assert_eq!(call_function(sandbox, &script, "RC_CMD=stop; stop_pre").0, Some(0));
        }
        // It is a file of settings, too.
        let mut command = sandbox.guard_command(&["--check", "-c"]);
        assert!(command.arg(init_file("openrc/oom_guard.confd")).status().unwrap().success());
    });
}

#[test]
fn the_script_for_procd_starts_nothing_with_wrong_settings() {
    sandboxed(|sandbox| {
        let script = service(sandbox, "procd/oom_guard", "procd");
        settings(sandbox, "");
        let (status, said) = call_function(sandbox, &script, "start_service");
        assert_eq!(status, Some(0));
        assert!(said.contains("set command ") && said.contains("set respawn "), "{said}");
        // What procd reads from standard error, it hands on as errors.
        assert!(said.contains(" --syslog "), "{said}");
        let (status, said) = call_function(sandbox, &script, "reload_service");
        assert_eq!((status, &said[..]), (Some(0), "signal oom_guard\n"));
        settings(sandbox, FAULTY);
        for call in ["start_service", "reload_service"] {
            let (status, said) = call_function(sandbox, &script, call);
            assert!(status != Some(0) && said.is_empty(), "{call}: {said}");
        }
    });
}

#[test]
fn every_service_has_the_guard_raised_and_reads_the_settings_of_all_places() {
    for (name, more) in [
        ("systemd/oom_guard.service", ""),
        ("openrc/oom_guard", " -c -/etc/conf.d/oom_guard"),
        ("runit/run", ""),
        ("s6/run", ""),
        ("sysvinit/oom_guard", ""),
        ("busybox/respawn", ""),
        ("procd/oom_guard", ""),
    ] {
        let text = fs::read_to_string(init_file(name)).unwrap();
        let files = format!("-c -/etc/oom_guard.conf -c -/etc/default/oom_guard{more}");
        assert!(text.contains("-p ") && text.contains(&files), "{name}");
        let guards: Vec<_> = text.matches("/usr/local/bin/").collect();
        assert!(!guards.is_empty(), "{name}");
    }
}
