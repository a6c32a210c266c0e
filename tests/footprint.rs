//! What a release takes: bytes on disk, and memory that it holds while it watches. Of the static binaries that
//! `scripts/build-static.sh` has left; what is not there is skipped. `GUARD_DIST` names another directory of releases.

mod common;

use common::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a release of a processor may take, in KiB. Others than x86_64 have 15% more: their instructions are of one size.
struct Limits {
    binary: u64,
    /// Resident in one process.
    rss: u64,
    /// In watch and helper together, what both use counted once.
    pss: u64,
}

/// KiB that a release takes, and a page or two to spare: it may become less, not more, unless it can do more.
const X86_64: Limits = Limits { binary: 264, rss: 400, pss: 480 };

/// The oldest Rust that is known to compile `-Cpanic=immediate-abort`. With 1.85, which does it as a feature of the standard
/// library, a release takes a tenth more.
const RUST: u32 = 95;

/// The minor version of the Rust that compiled a release, which stands in the file.
fn rust_of(release: &Path) -> u32 {
    let bytes = fs::read(release).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (_, version) = text.split_once("rustc version 1.").expect("the name of its compiler");
    version.split('.').next().and_then(|minor| minor.parse().ok()).expect("a number")
}

impl Limits {
    fn of(processor: &str, release: &Path) -> Limits {
        let share = if processor == "x86_64" { 100 } else { 115 };
        let share = if rust_of(release) < RUST { share + 10 } else { share };
        let most = |kib| kib * share / 100;
        Limits { binary: most(X86_64.binary), rss: most(X86_64.rss), pss: most(X86_64.pss) }
    }
}

/// The release for a processor, if it is there.
fn release(processor: &str) -> Option<PathBuf> {
    let beside = || {
        let own = std::env::current_exe().expect("own path");
        own.ancestors().nth(3).expect("target/PROFILE/deps").join("dist")
    };
    let dist = std::env::var_os("GUARD_DIST").map_or_else(beside, PathBuf::from);
    let path = dist.join(format!("oom_guard-linux-{processor}"));
    path.exists().then_some(path)
}

fn fits_on_disk(processor: &str) {
    let Some(path) = release(processor) else {
        return skip(&format!("size for {processor}: not built (scripts/build-static.sh)"));
    };
    let most = Limits::of(processor, &path).binary * 1024;
    let bytes = fs::metadata(path).unwrap().len();
    note(&format!("release for {processor}: {:.1} KiB", bytes as f64 / 1024.0));
    assert!(bytes <= most, "{processor}: {bytes} bytes, more than {most}");
}

#[test]
fn a_release_for_x86_64_fits_on_a_small_disk() {
    fits_on_disk("x86_64");
}

#[test]
fn a_release_for_aarch64_fits_on_a_small_disk() {
    fits_on_disk("aarch64");
}

/// The number of KiB behind `key` in a file like `smaps_rollup`.
fn kib(pid: u32, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect(file);
    text.lines().filter(|line| line.starts_with(key)).map(|line| number_after(line, key)).sum()
}

/// What the kernel maps, in its own memory.
const OF_KERNEL: [&str; 4] = ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"];

/// Other mappings that are not locked.
fn unlocked(pid: u32) -> Vec<String> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("smaps");
    let (mut name, mut found) = ("", Vec::new());
    for line in smaps.lines() {
        match line.strip_prefix("VmFlags:") {
            Some(flags) if flags.split_whitespace().any(|flag| flag == "lo") => {}
            Some(_) if OF_KERNEL.iter().any(|end| name.ends_with(end)) => {}
            Some(_) => found.push(name.to_string()),
            // The first line of a mapping begins with its addresses.
            None if line.split(' ').next().is_some_and(|word| word.contains('-')) => name = line,
            None => {}
        }
    }
    found
}

/// Looks of an hour at rest on a machine with 4 GiB or more: one a second.
const LOOKS: u64 = 3600;

#[test]
fn after_an_hours_looks_and_a_kill_it_holds_little_and_all_of_it_is_locked() {
    sandboxed(|sandbox| {
        let processor = std::env::consts::ARCH;
        let Some(path) = release(processor) else {
            return skip("memory: no release was built (scripts/build-static.sh)");
        };
        let memory = FakeMemory::new(sandbox);
        let mut command = Command::new(&path);
        command.args([
            "-p",
            "-c",
            "none",
            "--prefer",
            "(chrome|firefox)",
            "--avoid",
            "^(Xorg|sshd)$",
        ]);
        command.args(["--ignore", "cmd:none", "--log-file"]).arg(sandbox.path("log"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let guard = sandbox.start_guard_with_log(command, sandbox.path("log"));
        guard.make_look(LOOKS);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        // Not on time: on a busy machine the command line may come late, and the hog counts as ignored until it does.
        memory.available(VERY_LOW);
        hog.wait_for_end();
        guard.wait_for("exited after");
        memory.recover(&guard);

        let limits = Limits::of(processor, &path);
        let both = [guard.pid(), guard.helper().expect("a helper")];
        let rss = both.map(|pid| kib(pid, "smaps_rollup", "Rss:"));
        let pss = both.map(|pid| kib(pid, "smaps_rollup", "Pss:"));
        note(&format!("watch and helper: Rss {rss:?} KiB, Pss {pss:?} KiB"));
        for pid in both {
            assert_eq!(unlocked(pid), [""; 0]);
            assert_eq!(kib(pid, "status", "VmSwap:"), 0);
        }
        assert!(rss.iter().all(|&kib| kib <= limits.rss), "Rss {rss:?} KiB");
        assert!(pss.iter().sum::<u64>() <= limits.pss, "Pss {pss:?} KiB");
        guard.stop();
    });
}
