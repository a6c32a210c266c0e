//! Where settings come from and which of them count: command line, environment, files and the program's name; what is
//! said about those that are wrong; and how a running guard takes new ones.
//!
//! Outside a sandbox the guard is only ever asked to `--check`, which ends nobody.

mod common;

use common::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than any file of settings may have.
const LONGEST: usize = 64 << 10;

// ---- the table ----

/// An option that has a key, and two values that are right for it; those of a switch are `true` and `false`.
struct Setting {
    option: &'static str,
    key: &'static str,
    one: &'static str,
    other: &'static str,
}

const fn row(
    option: &'static str,
    key: &'static str,
    one: &'static str,
    other: &'static str,
) -> Setting {
    Setting { option, key, one, other }
}

const SETTINGS: &[Setting] = &[
    row("--mem", "MEM_THRESHOLD", "12,6", "3.14"),
    row("--swap", "SWAP_THRESHOLD", "100", "20,10"),
    row("--mem-size", "MEM_SIZE", "64M,32M", "1024"),
    row("--swap-size", "SWAP_SIZE", "1M", "2M,0"),
    row("--psi", "PSI", "0", "12.5,40"),
    row("--psi-window", "PSI_WINDOW", "2", "0.5"),
    row("--warn", "WARN", "0", "12.5"),
    row("--process-limit", "PROCESS_LIMIT", "500M", "1024"),
    row("--threshold", "THRESHOLD", "1.5", "2"),
    row("--interval", "INTERVAL", "30", "0.5"),
    row("--watch", "WATCH", "memory", "limit"),
    row("--prefer", "PREFER", "(chrome|firefox)", "user:postgres"),
    row("--avoid", "AVOID", "(^|/)(init|Xorg|sshd)$", "cmd:--type=renderer"),
    row("--ignore", "IGNORE", "exe:glob:/usr/sbin/*", "sshd"),
    row("--only", "ONLY", "it's", "two words"),
    row("--sort-by-rss", "SORT_BY_RSS", "true", "false"),
    row("--cgroup", "CGROUP", "/one", "/sys/fs/cgroup"),
    row("--ignore-root-user", "IGNORE_ROOT_USER", "true", "false"),
    row("--ignore-positive-adj", "IGNORE_POSITIVE_ADJ", "true", "false"),
    row("--min-rss", "MIN_RSS", "0", "50M"),
    row("--kill-group", "KILL_GROUP", "true", "false"),
    row("--dryrun", "DRY_RUN", "true", "false"),
    row("--grace", "GRACE", "0", "2.5"),
    row("--cooldown", "COOLDOWN", "3", "0"),
    row("--kernel-oom", "KERNEL_OOM", "true", "false"),
    // More is refused in a container.
    row("--reboot-after", "REBOOT_AFTER", "0", "0.0"),
    row("--pre-kill", "PRE_KILL_SCRIPT", "/bin/sh", "/bin/true"),
    row("--post-kill", "POST_KILL_SCRIPT", "/bin/sh", "/bin/true"),
    row("--warn-hook", "WARN_HOOK", "/bin/sh", "/bin/true"),
    row("--hook-timeout", "HOOK_TIMEOUT", "0.1", "60"),
    row("--notify", "NOTIFY", "true", "false"),
    row("--low-memory-signal", "LOW_MEMORY_SIGNAL", "true", "false"),
    row("--report", "REPORT_INTERVAL", "0", "60"),
    row("--debug", "DEBUG", "true", "false"),
    row("--syslog", "SYSLOG", "true", "false"),
    row("--log-file", "LOG_FILE", "/tmp/one.log", "/tmp/it is another.log"),
    row("--stats-file", "STATS_FILE", "/tmp/one.prom", "/tmp/other.prom"),
    row("--priority", "PRIORITY", "true", "false"),
    row("--ready-fd", "READY_FD", "3", "1048576"),
    row("--set-priority", "SET_PRIORITY", "-20", "5"),
];

/// Options of one subject, and two values for each.
const SAME_SUBJECT: &[[&str; 2]] = &[
    ["MEM_THRESHOLD", "MEM_SIZE"],
    ["SWAP_THRESHOLD", "SWAP_SIZE"],
    ["PROCESS_LIMIT", "THRESHOLD"],
    ["PRIORITY", "SET_PRIORITY"],
];

impl Setting {
    fn of(key: &str) -> &'static Setting {
        SETTINGS.iter().find(|setting| setting.key == key).expect("a known key")
    }

    fn is_switch(&self) -> bool {
        self.other == "false"
    }
}

/// `KEY=VALUE` as a file has it, and as `--check` shows it.
fn line(key: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=^".contains(c);
    let quote = match value {
        _ if value.chars().all(is_plain) => "",
        _ if value.contains('\'') => "\"",
        _ => "'",
    };
    format!("OOM_GUARD_{key}={quote}{value}{quote}")
}

// ---- sources ----

/// From the lowest to the highest.
const SOURCES: [Source; 4] =
    [Source::FirstFile, Source::LastFile, Source::Environment, Source::Arguments];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    FirstFile,
    LastFile,
    Environment,
    Arguments,
}

/// What is given to a guard, source by source.
struct Given {
    room: tempfile::TempDir,
    first: String,
    last: String,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Given {
    fn nothing() -> Given {
        let room = tempfile::tempdir().expect("a directory for files");
        let (first, last) = Default::default();
        Given { room, first, last, environment: Vec::new(), arguments: Vec::new() }
    }

    fn with(mut self, source: Source, key: &str, value: &str) -> Given {
        let text = line(key, value) + "\n";
        match source {
            Source::FirstFile => self.first += &text,
            Source::LastFile => self.last += &text,
            Source::Environment => {
                self.environment.push((format!("OOM_GUARD_{key}"), value.to_string()));
            }
            Source::Arguments => {
                let base = key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
                let setting = Setting::of(base);
                let value = if setting.is_switch() { "" } else { &*format!("={value}") };
                self.arguments.push(format!("{}{value}", setting.option));
            }
        }
        self
    }

    fn file(&self, source: Source) -> PathBuf {
        let name = if source == Source::FirstFile { "first.conf" } else { "last.conf" };
        self.room.path().join(name)
    }

    /// Where `--check` says that a setting stands which is the first of its source.
    fn place(&self, source: Source, key: &str) -> String {
        match source {
            Source::Arguments => Setting::of(key).option.to_string(),
            Source::Environment => format!("OOM_GUARD_{key} in the environment"),
            _ => format!("{}:1: OOM_GUARD_{key}", self.file(source).display()),
        }
    }

    fn check(&self) -> Answer {
        fs::write(self.file(Source::FirstFile), &self.first).expect("a file");
        fs::write(self.file(Source::LastFile), &self.last).expect("a file");
        let mut command = check(&[]);
        command.envs(self.environment.iter().cloned()).args(&self.arguments);
        for source in [Source::FirstFile, Source::LastFile] {
            command.arg("-c").arg(self.file(source));
        }
        Answer::of(&mut command)
    }
}

fn guard() -> PathBuf {
    std::env::var_os("GUARD_BIN").map_or(env!("CARGO_BIN_EXE_oom_guard").into(), PathBuf::from)
}

/// The guard's `--check`, which has nothing but its arguments yet.
fn check(arguments: &[&str]) -> Command {
    let mut command = Command::new(guard());
    command.env_clear().arg("--check").args(arguments);
    command
}

/// The same for a file with this text.
fn check_file(text: impl AsRef<[u8]>) -> (Answer, Conf) {
    let conf = Conf::new(text);
    (Answer::of(check(&["-c"]).arg(&conf.path)), conf)
}

/// A configuration file that vanishes in the end.
struct Conf {
    path: PathBuf,
    _room: tempfile::TempDir,
}

impl Conf {
    fn new(text: impl AsRef<[u8]>) -> Conf {
        let room = tempfile::tempdir().expect("a directory for a file");
        let path = room.path().join("guard.conf");
        fs::write(&path, text).expect("a file");
        Conf { path, _room: room }
    }

    /// The beginning of what is said about one of its lines.
    fn line(&self, number: usize) -> String {
        format!("{}:{number}: ", self.path.display())
    }
}

/// What a guard that was asked to `--check` has answered.
#[derive(Debug)]
struct Answer {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn of(command: &mut Command) -> Answer {
        let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = output.output().expect("the guard");
        let text = |bytes| String::from_utf8(bytes).expect("what it says is UTF-8");
        let (stdout, stderr) = (text(output.stdout), whatever_the_user(text(output.stderr)));
        Answer { status: output.status.code(), stdout, stderr }
    }

    /// The same, for what must be accepted.
    fn good(command: &mut Command) -> Answer {
        let answer = Answer::of(command);
        assert_eq!(answer.status, Some(0), "{answer:?}");
        answer
    }

    /// The settings in force: how each is shown, and where it stands.
    fn in_force(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, Some(0), "{self:?}");
        let lines = self.stdout.lines().skip_while(|line| *line != "settings in force:").skip(1);
        let lines = lines.take_while(|line| !line.is_empty());
        let pairs = lines.filter_map(|line| line.strip_prefix("  ")?.rsplit_once(" # "));
        pairs.map(|(shown, place)| (shown.trim_end().to_string(), place.to_string())).collect()
    }

    /// How the settings in force are shown that have one of these keys, numbered or not.
    fn shown(&self, keys: &[&str]) -> Vec<String> {
        let mut shown: Vec<_> = self.in_force().into_iter().map(|(shown, _)| shown).collect();
        shown.retain(|shown| {
            let key = shown.split('=').next().unwrap_or_default().trim_start_matches("OOM_GUARD_");
            keys.contains(&key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_'))
        });
        shown
    }

    /// What was said on standard error, without the program's name. Guards of other tests do not count.
    fn said(&self) -> Vec<&str> {
        let said = |line| str::strip_prefix(line, "oom_guard: ").expect("the program's name");
        let is_of_others =
            |line: &&str| line.ends_with(" watches memory too: both may kill where one would do");
        self.stderr.lines().map(said).filter(|line| !is_of_others(line)).collect()
    }

    /// The lines of a refusal, without the one that points to the help.
    fn refusals(&self) -> Vec<&str> {
        let mut said = self.said();
        assert_eq!(said.pop(), Some("try 'oom_guard --help'"), "{self:?}");
        assert_eq!((self.status, &*self.stdout), (Some(2), ""), "{self:?}");
        said
    }
}

// ---- each source, and each against each ----

#[test]
fn the_table_has_every_key() {
    let table = include_str!("../src/settings/table.rs");
    let rows = table.lines().filter_map(|line| line.trim().strip_prefix("Spec::new(\""));
    let keys = rows.map(|row| row.split('"').nth(2).expect("a key"));
    let known: BTreeSet<_> = keys.filter(|key| !["", "CONFIG"].contains(key)).collect();
    assert_eq!(SETTINGS.iter().map(|setting| setting.key).collect::<BTreeSet<_>>(), known);
    assert!(known.len() > 20, "only {known:?}: the test has gone blind");
}

/// Sees that `key` is in force with `value` and nothing else; what is wrong with that.
fn fault(given: Given, source: Source, key: &str, value: &str) -> Option<String> {
    // Nobody can be told to watch a limit that is not there.
    let given = match key {
        "WATCH" => given.with(Source::FirstFile, "THRESHOLD", "1"),
        // Without a dry run it needs a right, and a file of the kernel's.
        "KERNEL_OOM" => given.with(Source::FirstFile, "DRY_RUN", "true"),
        _ => given,
    };
    let answer = given.check();
    if answer.status != Some(0) {
        return Some(format!("{key} from {source:?}: {answer:?}"));
    }
    let mut found = answer.in_force();
    found.retain(|(shown, _)| shown.starts_with(&format!("OOM_GUARD_{key}=")));
    let wanted = (line(key, value), given.place(source, key));
    let is_right = found == [wanted.clone()];
    (!is_right).then(|| format!("{key} from {source:?}: {found:?} instead of {wanted:?}"))
}

#[test]
fn each_option_is_set_by_each_source() {
    let mut faults = Vec::new();
    for setting in SETTINGS {
        for source in SOURCES {
            let given = Given::nothing().with(source, setting.key, setting.one);
            faults.extend(fault(given, source, setting.key, setting.one));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Each source with each that is above it.
fn pairs_of_sources() -> impl Iterator<Item = (Source, Source)> {
    let above = |low| SOURCES[low + 1..].iter().map(move |&high| (SOURCES[low], high));
    (0..SOURCES.len()).flat_map(above)
}

#[test]
fn a_higher_source_replaces_a_lower_one_option_by_option() {
    let mut faults = Vec::new();
    for &Setting { key, one, other, .. } in SETTINGS {
        for (low, high) in pairs_of_sources() {
            // The command line can only turn on.
            let can_turn_off = Setting::of(key).is_switch() && high != Source::Arguments;
            let (below, above) = if can_turn_off { (one, other) } else { (other, one) };
            let given = Given::nothing().with(low, key, below).with(high, key, above);
            faults.extend(fault(given, high, key, above));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn all_four_sources_together_leave_the_command_line_and_what_it_does_not_say() {
    let keys = ["GRACE", "COOLDOWN", "MIN_RSS", "INTERVAL"];
    let mut given = Given::nothing();
    for (index, source) in SOURCES.into_iter().enumerate() {
        for key in &keys[index..] {
            given = given.with(source, key, &index.to_string().replace('0', "7"));
        }
    }
    let shown: BTreeSet<_> = given.check().shown(&keys).into_iter().collect();
    let wanted = ["GRACE=7", "COOLDOWN=1", "MIN_RSS=2", "INTERVAL=3"];
    assert_eq!(shown, wanted.map(|setting| format!("OOM_GUARD_{setting}")).into());
}

#[test]
fn what_nobody_sets_is_shown_with_its_default() {
    let stdout = Answer::good(&mut check(&["-c", "none"])).stdout;
    for default in ["MEM_THRESHOLD: 10,5", "SWAP_THRESHOLD: 10,5", "GRACE: 5", "COOLDOWN: 1"] {
        let line = format!("\n  # OOM_GUARD_{default} (default)\n");
        assert!(stdout.contains(&line), "no {line:?} in {stdout}");
    }
    // And what a size has replaced is not in force.
    let stdout = Answer::good(&mut check(&["-c", "none", "-M", "1M"])).stdout;
    assert!(!stdout.contains("MEM_THRESHOLD"), "{stdout}");
}

#[test]
fn a_higher_source_that_sets_one_of_a_subject_drops_all_of_it_below() {
    let mut faults = String::new();
    for keys in SAME_SUBJECT {
        for (low, high) in pairs_of_sources() {
            for above in keys {
                let mut given = Given::nothing();
                for key in keys {
                    given = given.with(low, key, Setting::of(key).other);
                }
                let one = Setting::of(above).one;
                let shown = given.with(high, above, one).check().shown(keys);
                if shown != [line(above, one)] {
                    let _ = writeln!(faults, "{above} from {high:?} over {low:?}: {shown:?}");
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn percentage_and_size_of_one_source_count_together() {
    for source in SOURCES {
        let given = Given::nothing().with(source, "MEM_SIZE", "1M");
        let shown = given.with(source, "MEM_THRESHOLD", "5").check();
        let keys = ["MEM_SIZE", "MEM_THRESHOLD"];
        assert_eq!(shown.shown(&keys).len(), 2, "{shown:?}");
    }
}

#[test]
fn two_spellings_of_one_limit_or_priority_leave_only_the_later_in_force() {
    for keys in &SAME_SUBJECT[2..] {
        for [first, later] in [[keys[0], keys[1]], [keys[1], keys[0]]] {
            for source in [Source::FirstFile, Source::Arguments] {
                let given = Given::nothing().with(source, first, Setting::of(first).one);
                let given = given.with(source, later, Setting::of(later).one);
                let shown = given.check().shown(keys);
                assert_eq!(shown, [line(later, Setting::of(later).one)], "{source:?}");
            }
        }
    }
}

#[test]
fn an_option_that_is_given_twice_counts_as_the_last_time() {
    let answer = Answer::good(&mut check(&["-c", "none", "--grace", "1", "--grace=2"]));
    assert_eq!(answer.shown(&["GRACE"]), ["OOM_GUARD_GRACE=2"]);
}

// ---- patterns and switches ----

#[test]
fn further_patterns_are_repeated_as_options_and_numbered_as_keys() {
    let further = ["IGNORE", "IGNORE_2", "IGNORE_17"];
    for source in SOURCES {
        let keys = further.into_iter().zip(["a b", "c", "(d|e)"]);
        let given = keys.fold(Given::nothing(), |given, (key, text)| given.with(source, key, text));
        let shown: BTreeSet<_> = given.check().shown(&["IGNORE"]).into_iter().collect();
        assert_eq!(shown.len(), 3, "{source:?}: {shown:?}");
        let values = shown.iter().filter_map(|shown| shown.split_once('=')).map(|(_, value)| value);
        assert_eq!(values.collect::<BTreeSet<_>>(), BTreeSet::from(["'(d|e)'", "'a b'", "c"]));
    }
}

#[test]
fn a_higher_source_replaces_the_whole_list_whatever_its_numbers() {
    for (low, high) in pairs_of_sources() {
        let given = Given::nothing().with(low, "ONLY", "a").with(low, "ONLY_2", "b");
        let given = given.with(low, "AVOID", "stays").with(high, "ONLY_9", "c");
        let answer = given.check();
        assert_eq!(answer.shown(&["ONLY"]), ["OOM_GUARD_ONLY=c"], "{high:?} over {low:?}");
        assert_eq!(answer.shown(&["AVOID"]), ["OOM_GUARD_AVOID=stays"]);
    }
}

#[test]
fn patterns_that_a_higher_source_replaces_are_told_by_check_at_the_start_and_after_a_reload() {
    sandboxed(|sandbox| {
        let [first, last] = ["first.conf", "last.conf"].map(|name| sandbox.path(name));
        fs::write(
            &first,
            "OOM_GUARD_IGNORE='a\"b'\n#\nOOM_GUARD_IGNORE_2=Xorg\nOOM_GUARD_GRACE=1\n",
        )
        .expect("a file");
        fs::write(&last, "OOM_GUARD_GRACE=2\nOOM_GUARD_IGNORE=postgres\n").expect("a file");
        let [first, last] = [&first, &last].map(|path| path.to_str().expect("a plain path"));
        let by = format!("does not count: {last}:2: OOM_GUARD_IGNORE replaces it");
        let wanted = [
            format!("notice: {first}:1: OOM_GUARD_IGNORE: \"a\\\"b\" {by}"),
            format!("notice: {first}:3: OOM_GUARD_IGNORE_2: \"Xorg\" {by}"),
        ];
        let files = ["-c", first, "-c", last];
        let told = told_by_check(sandbox, &files);
        let notices: Vec<_> =
            told.into_iter().filter(|line| line.starts_with("notice: ")).collect();
        assert_eq!(notices, wanted);
        // A line for each pattern, whichever source replaces it; none for what is of another option.
        let told =
            told_by_check(sandbox, &[&files[..], &["--ignore", "x", "--avoid", "y"]].concat());
        let by_option =
            told.iter().filter(|line| line.ends_with("does not count: --ignore replaces it"));
        assert_eq!(by_option.count(), 3, "{told:?}");
        let guard = sandbox.guard(&files);
        wanted.iter().for_each(|line| drop(guard.wait_for(line)));
        guard.signal(libc::SIGHUP);
        guard.wait_for("settings were read again");
        wanted.iter().for_each(|line| assert_eq!(guard.count(line), 2, "{}", guard.log()));
        guard.stop();
    });
}

#[test]
fn a_file_that_sets_nothing_is_told_unless_it_may_be_missing() {
    let settings_of_others = "EARLYOOM_ARGS='-r 3600'\n";
    for (text, is_told) in [
        (settings_of_others, true),
        ("# OOM_GUARD_GRACE=1\n", true),
        ("", true),
        ("OOM_GUARD_GRACE=1\n", false),
    ] {
        let conf = Conf::new(text);
        let path = conf.path.to_str().expect("a plain path");
        let said = format!("notice: {path}: holds no setting (OOM_GUARD_KEY=VALUE)");
        let wanted: &[&str] = if is_told { &[&said] } else { &[] };
        assert_eq!(Answer::good(&mut check(&["-c", path])).said(), wanted);
        assert_eq!(Answer::good(&mut check(&["-c", &format!("-{path}")])).said(), [""; 0]);
    }
}

#[test]
fn a_switch_takes_every_spelling_of_yes_and_no() {
    // The kernel knows no groups, so both together are refused; that tells yes from no.
    let with_group = |word| Given::nothing().with(Source::FirstFile, "KILL_GROUP", word);
    for source in [Source::LastFile, Source::Environment] {
        let status = |word| {
            with_group("true").with(source, "KERNEL_OOM", word).check().status.expect("a status")
        };
        for yes in ["true", "1", "yes", "on", "TRUE", "True", "yEs", "ON"] {
            assert_eq!(status(yes), 2, "{source:?}: {yes}");
        }
        for no in ["false", "0", "no", "off", "FALSE", "False", "nO", "OFF"] {
            assert_eq!(status(no), 0, "{source:?}: {no}");
        }
        let given = with_group("on").with(Source::FirstFile, "KERNEL_OOM", "on");
        assert_eq!(given.with(source, "KERNEL_OOM", "off").check().status, Some(0), "{source:?}");
    }
}

#[test]
fn a_switch_takes_nothing_else() {
    for word in ["", "2", "y", "truee", " true", "true ", "ja", "-1"] {
        let answer = Given::nothing().with(Source::Environment, "DRY_RUN", word).check();
        let fault = if word.is_empty() { "is empty" } else { "is neither yes nor no" };
        let said = format!(
            "OOM_GUARD_DRY_RUN in the environment: {word:?} {fault} \
             (expected: true or false, yes or no, on or off, 1 or 0)"
        );
        assert_eq!(answer.refusals(), [said]);
    }
}

#[test]
fn what_check_shows_can_be_given_again_as_a_file() {
    let arguments =
        ["-m7,3", "-M", "1G", "-g", "--prefer", "a b", "--prefer=x", "--only", "it's", "-r0", "-p"];
    let first = Answer::good(check(&["-c", "none"]).args(arguments)).in_force();
    let shown: Vec<_> = first.into_iter().map(|(shown, _)| shown).collect();
    let (answer, _) = check_file(shown.join("\n"));
    let again: Vec<_> = answer.in_force().into_iter().map(|(shown, _)| shown).collect();
    assert_eq!(again, shown);
}

// ---- mistakes ----

/// Lines of a file that are wrong, and what is said about each behind file and line.
const MISTAKES: &[(&[u8], &str)] = &[
    (b"hello", "this is no line KEY=VALUE; a comment begins with #"),
    (
        b"OOM_GUARD_MEM_THRESHOLD=abc",
        "OOM_GUARD_MEM_THRESHOLD: \"abc\" is not a number (expected: a percentage above 0 and below \
         100, such as 10 or 10,5)",
    ),
    (
        b"OOM_GUARD_SWAP_THRESHOLD=101",
        "OOM_GUARD_SWAP_THRESHOLD: \"101\" is out of range (expected: a percentage above 0 and up to \
         100, such as 10 or 10,5)",
    ),
    (
        b"OOM_GUARD_MEM_SIZE=-1",
        "OOM_GUARD_MEM_SIZE: \"-1\" is negative (expected: an amount above 0 in KiB or with suffix K, \
         M, G or T, such as 500M or 1G,256M)",
    ),
    (
        b"OOM_GUARD_COOLDOWN=1.0000001",
        "OOM_GUARD_COOLDOWN: \"1.0000001\" has too many digits (expected: seconds from 0 to 31536000, \
         decimals allowed)",
    ),
    (
        b"OOM_GUARD_SET_PRIORITY=20",
        "OOM_GUARD_SET_PRIORITY: \"20\" is out of range (expected: a niceness from -20 to 19)",
    ),
    (
        b"OOM_GUARD_DRY_RUN=maybe",
        "OOM_GUARD_DRY_RUN: \"maybe\" is neither yes nor no (expected: true or false, yes or no, on or \
         off, 1 or 0)",
    ),
    (
        b"OOM_GUARD_WATCH=everything",
        "OOM_GUARD_WATCH: \"everything\" is none of the choices (expected: memory, limit or both)",
    ),
    (
        b"OOM_GUARD_LOG_FILE=guard.log",
        "OOM_GUARD_LOG_FILE: \"guard.log\" is not the absolute path of a file (expected: an absolute \
         path, such as /var/log/oom_guard.log)",
    ),
    (
        b"OOM_GUARD_THRESHOLD=",
        "OOM_GUARD_THRESHOLD: \"\" is empty (expected: an amount above 0 in GiB, such as 20 or 1.5)",
    ),
    (
        b"OOM_GUARD_PREFER_2='a(b'",
        "OOM_GUARD_PREFER_2: \"a(b\": this group is never closed, at byte 2: \"(b\"",
    ),
    (b"OOM_GUARD_AVOID=a b", "OOM_GUARD_AVOID: has a character that needs quotes; write KEY='VALUE'"),
    (b"OOM_GUARD_AVOID='a", "OOM_GUARD_AVOID: has a quote that is not closed in its line"),
    (
        b"OOM_GUARD_AVOID=\"a$\"",
        "OOM_GUARD_AVOID: has $, ` or \\ in double quotes, which a shell would change; use single \
         quotes",
    ),
    (
        b"OOM_GUARD_AVOID='a' # sshd",
        "OOM_GUARD_AVOID: goes on behind the closing quote; quote the whole value, and give a comment \
         its own line",
    ),
    (b"OOM_GUARD_AVOID= a", "OOM_GUARD_AVOID: has a blank behind =; write KEY=VALUE without"),
    (
        b"OOM_GUARD_AVOID =a",
        "OOM_GUARD_AVOID : is no key: letters, digits and _, with = right behind",
    ),
    (b"OOM_GUARD_AVOID='\xff\0'", "OOM_GUARD_AVOID: holds a NUL byte"),
    (
        b"OOM_GUARD_AVOID=a\r",
        "OOM_GUARD_AVOID: ends with a carriage return; save the file with Unix line ends",
    ),
    (
        b"OOM_GUARD_COOLDWON=1",
        "OOM_GUARD_COOLDWON: there is no such setting; did you mean OOM_GUARD_COOLDOWN?",
    ),
    (
        b"OOM_GAURD_DEBUG=1",
        "OOM_GAURD_DEBUG: there is no such setting; did you mean OOM_GUARD_DEBUG?",
    ),
    (b"OOM_GUARD_MEM_THRESHOLD_2=1", "OOM_GUARD_MEM_THRESHOLD_2: there is no such setting; did you \
         mean OOM_GUARD_MEM_THRESHOLD?"),
    (b"OOM_GUARD_PID=1", "OOM_GUARD_PID: is what hooks are told, and no setting"),
    (
        b"OOM_GUARD_CONFIG=/etc/other.conf",
        "OOM_GUARD_CONFIG: a file cannot name another one; use -c for each",
    ),
    // The last but one is right.
    (b"OOM_GUARD_GRACE=1", ""),
    (
        b"export OOM_GUARD_GRACE=2",
        "OOM_GUARD_GRACE: stands in line 25 already, and other readers would take the last one \
         (further patterns are numbered: OOM_GUARD_IGNORE_2)",
    ),
];

#[test]
fn every_mistake_of_a_file_is_told_in_a_line_with_file_line_key_and_what_would_be_right() {
    let lines: Vec<_> = MISTAKES.iter().map(|(line, _)| *line).collect();
    let (answer, conf) = check_file(lines.join(&b'\n'));
    let said = |(index, (_, said)): (usize, &(_, &str))| {
        (!said.is_empty()).then(|| conf.line(index + 1) + said)
    };
    let wanted: Vec<_> = MISTAKES.iter().enumerate().filter_map(said).collect();
    assert_eq!(answer.refusals(), wanted);
}

#[test]
fn mistakes_of_environment_and_files_are_told_together_also_of_what_is_replaced() {
    let wrong = &SOURCES[..3];
    let given = Given::nothing().with(Source::Arguments, "GRACE", "1");
    let given = wrong.iter().fold(given, |given, &source| given.with(source, "GRACE", "x"));
    let answer = given.check();
    let told = answer.refusals();
    assert_eq!(told.len(), wrong.len(), "{told:?}");
    for &source in wrong {
        let begin = format!("{}: \"x\" is not a number", given.place(source, "GRACE"));
        assert!(told.iter().any(|said| said.starts_with(&begin)), "no {begin:?} in {told:?}");
    }
}

#[test]
fn every_file_that_cannot_be_read_is_told() {
    let answer = Answer::of(&mut check(&["-c", "/missing/one", "-c", "/missing/two"]));
    let said = |name| format!("/missing/{name}: cannot read it: ENOENT (not found)");
    assert_eq!(answer.refusals(), ["one", "two"].map(said));
}

// ---- files ----

#[test]
fn a_file_that_is_missing_may_be_so_with_a_dash() {
    let answer = Answer::of(&mut check(&["-c", "/missing.conf"]));
    assert_eq!(answer.refusals(), ["/missing.conf: cannot read it: ENOENT (not found)"]);
    let answer = Answer::good(&mut check(&["-c", "-/missing.conf"]));
    assert!(answer.stdout.starts_with("configuration: /missing.conf: not there\n"), "{answer:?}");
    assert!(answer.said().is_empty(), "{answer:?}");
}

#[test]
fn a_dash_excuses_nothing_but_that_a_file_is_missing() {
    let (answer, _) = check_file("x");
    assert_eq!(answer.refusals().len(), 1);
    let room = tempfile::tempdir().expect("a directory");
    for dash in ["", "-"] {
        let name = format!("{dash}{}", room.path().display());
        let answer = Answer::of(&mut check(&["-c", &name]));
        let said = format!("{}: cannot read it: it is no regular file", room.path().display());
        assert!(answer.refusals()[0].starts_with(&said), "{answer:?}");
    }
}

#[test]
fn a_file_without_a_name_is_refused_as_such() {
    for name in ["", "-"] {
        let answer = Answer::of(&mut check(&["-c", name]));
        assert!(answer.refusals()[0].starts_with("-c: "), "{answer:?}");
    }
}

#[test]
fn a_file_may_have_64_kib_and_no_more() {
    let text = |len: usize| {
        let setting = "\nOOM_GUARD_GRACE=7";
        "#".repeat(len - setting.len()) + setting
    };
    let (answer, _) = check_file(text(LONGEST));
    assert_eq!(answer.shown(&["GRACE"]), ["OOM_GUARD_GRACE=7"]);
    let (answer, conf) = check_file(text(LONGEST + 1));
    let said = format!("{}: cannot read it: it is larger than 64 KiB", conf.path.display());
    assert_eq!(answer.refusals(), [said]);
    let answer = Answer::of(&mut check(&["-c", "/dev/zero"]));
    assert_eq!(answer.refusals(), ["/dev/zero: cannot read it: it is no regular file"]);
}

#[test]
fn an_empty_file_sets_nothing_and_a_last_line_needs_no_newline() {
    for text in ["", "\n", "\n\n", "# only\n  # this", " \t\n"] {
        let (answer, _) = check_file(text);
        assert_eq!((answer.in_force().len(), answer.said().len()), (0, 1), "{text:?}: {answer:?}");
    }
    let (answer, _) = check_file("OOM_GUARD_GRACE=7");
    assert_eq!(answer.shown(&["GRACE"]), ["OOM_GUARD_GRACE=7"]);
}

#[test]
fn a_file_with_the_line_ends_of_another_system_is_refused_where_it_sets_something() {
    let (answer, conf) = check_file("# a comment\r\n\r\nOOM_GUARD_GRACE=7\r\n");
    let said = "OOM_GUARD_GRACE: ends with a carriage return; save the file with Unix line ends";
    assert_eq!(answer.refusals(), [conf.line(3) + said]);
}

#[test]
fn settings_of_others_are_left_to_them() {
    let (answer, _) = check_file("rc_ulimit='-c 0'\nOTHER=$(ls) x\nMAILTO=root\r\nOOM_SCORE=1\n");
    assert_eq!((answer.in_force().len(), answer.said().len()), (0, 1), "{answer:?}");
}

#[test]
fn garbage_is_refused_and_crashes_nothing() {
    let mut random = Random(1);
    for round in 0..40 {
        let mut text = match round % 4 {
            0 => Vec::new(),
            1 => b"OOM_GUARD_IGNORE='".to_vec(),
            2 => b"OOM_GUARD_PREFER='glob:".to_vec(),
            _ => b"OOM_GUARD_".to_vec(),
        };
        text.extend((0..random.below(3000)).map(|_| random.below(256) as u8));
        let (answer, _) = check_file(&text);
        assert!([Some(0), Some(2)].contains(&answer.status), "{round}: {answer:?}");
        for text in [&answer.stdout, &answer.stderr] {
            let is_harmless = |c: char| c == '\n' || !c.is_control();
            assert!(text.chars().all(is_harmless), "{round}: {text:?}");
        }
    }
}

/// Numbers that are the same each time (Knuth's generator).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// Parts of patterns that can stand side by side, with all that a shell takes for something else.
const PARTS: &[&str] = &[
    "a", "B9", " ", "  ", "\"", "'", "#", "(x|y)", "[$!+]", "\\d", "\\\\", "$", "^", "a*", "b{2}",
    "c+?", "\\$", "`", "!", "~", "&", ";", "=", "%", "é", ",", "/", "<", ">", "$(x)", "$x", "@",
    ".", "-", "_",
];

/// A line for `value` in one of the spellings that a file may have, if there is any.
fn spelled(random: &mut Random, key: &str, value: &str) -> Option<String> {
    let mut quotes = Vec::new();
    if line(key, value).ends_with(&format!("={value}")) {
        quotes.push("");
    }
    if !value.contains('\'') {
        quotes.push("'");
    }
    if !value.contains(['"', '$', '`', '\\']) {
        quotes.push("\"");
    }
    let quote = (!quotes.is_empty()).then(|| random.of(&quotes))?;
    let (before, after) = (random.of(&["", "export ", "  ", "\t"]), random.of(&["", " ", "\t"]));
    Some(format!("{before}OOM_GUARD_{key}={quote}{value}{quote}{after}\n"))
}

/// What a shell has in its variables after it has read the file.
fn read_by_shell(file: &Path) -> BTreeMap<String, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "set -a; . \"$0\"; env"]).arg(file);
    let output = shell.env_clear().env("PATH", "/usr/bin:/bin").output().expect("sh");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let variables = String::from_utf8(output.stdout).expect("UTF-8");
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    let ours = pairs.filter(|(key, _)| key.starts_with("OOM_GUARD_"));
    ours.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn a_shell_and_the_guard_read_the_same_values_from_a_file() {
    let mut random = Random(2);
    let mut text = String::new();
    for number in 1..=100 {
        let value: String = (0..=random.below(6)).map(|_| random.of(PARTS)).collect();
        text.extend(spelled(&mut random, &format!("AVOID_{number}"), &value));
    }
    let (answer, conf) = check_file(&text);
    let unquoted = |shown: &str| match shown.split_once('=').expect("KEY=VALUE").1 {
        value if value.starts_with(['\'', '"']) => value[1..value.len() - 1].to_string(),
        value => value.to_string(),
    };
    let key = |place: &str| place.rsplit(": ").next().expect("a key").to_string();
    let by_guard = answer.in_force();
    let by_guard = by_guard.iter().map(|(shown, place)| (key(place), unquoted(shown)));
    let by_guard: BTreeMap<_, _> = by_guard.collect();
    assert_eq!(by_guard, read_by_shell(&conf.path));
    assert!(by_guard.len() == text.lines().count() && by_guard.len() > 60, "{text}");
}

#[test]
fn a_file_that_an_ordinary_user_may_not_read_is_told_and_not_passed_over() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let conf = sandbox.path("guard.conf");
        fs::write(&conf, "").expect("a file");
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o600)).expect("permissions");
        for dash in ["", "-"] {
            let name = format!("{dash}{}", conf.display());
            let command = sandbox.guard_command(&["--check", "-c", &name]);
            let answer = Answer::of(&mut sandbox.command_as_nobody(command));
            let said = format!("{}: cannot read it: EACCES", conf.display());
            assert!(answer.refusals()[0].starts_with(&said), "{answer:?}");
        }
    });
}

// ---- which files ----

/// Nothing in `/etc` but these files.
fn etc(files: &[(&str, &str)]) {
    mount(None, Path::new("/etc"), Some("tmpfs"), 0, None).expect("a directory over /etc");
    for (name, text) in files {
        fs::write(Path::new("/etc").join(name), text).expect("a file");
    }
}

#[test]
fn without_a_name_the_file_in_etc_is_read_if_there_is_one() {
    sandboxed(|sandbox| {
        etc(&[]);
        let check = |options| Answer::good(&mut sandbox.guard_command(options));
        let answer = check(&["--check"]);
        assert!(answer.stdout.starts_with("configuration: /etc/oom_guard.conf: not there\n"));
        assert!(answer.in_force().is_empty() && answer.stderr.is_empty(), "{answer:?}");
        fs::write("/etc/oom_guard.conf", "OOM_GUARD_GRACE=7").expect("a file");
        let answer = check(&["--check"]);
        assert!(answer.stdout.starts_with("configuration: /etc/oom_guard.conf: read\n"));
        let place = String::from("/etc/oom_guard.conf:1: OOM_GUARD_GRACE");
        assert_eq!(answer.in_force(), [(String::from("OOM_GUARD_GRACE=7"), place)]);
        assert!(check(&["--check", "-c", "none"]).in_force().is_empty());
        assert!(check(&["--check", "-c", "-/missing"]).in_force().is_empty());
    });
}

#[test]
fn the_variable_names_the_file_and_the_option_another_one() {
    let [one, other] = ["1", "2"].map(|value| Conf::new(format!("OOM_GUARD_GRACE={value}")));
    let shown = |arguments: &[&str]| {
        let mut command = check(arguments);
        command.env("OOM_GUARD_CONFIG", &one.path);
        Answer::good(&mut command).shown(&["GRACE"])
    };
    let other = other.path.to_str().expect("a plain path");
    assert_eq!(shown(&[]), ["OOM_GUARD_GRACE=1"]);
    assert_eq!(shown(&["-c", other]), ["OOM_GUARD_GRACE=2"]);
    assert_eq!(shown(&["-c", other, "-c", "none"]), [""; 0]);
    assert_eq!(shown(&["-c", "none", "-c", other]), ["OOM_GUARD_GRACE=2"]);
    for name in ["none", "-/missing.conf"] {
        let answer = Answer::good(check(&[]).env("OOM_GUARD_CONFIG", name));
        assert!(answer.in_force().is_empty(), "{answer:?}");
    }
    let answer = Answer::of(check(&[]).env("OOM_GUARD_CONFIG", "/missing.conf"));
    assert_eq!(answer.refusals().len(), 1);
}

// ---- a running guard ----

/// A configuration file that is written again and again.
struct Reread {
    path: PathBuf,
}

impl Reread {
    fn new(sandbox: &Sandbox, text: &str) -> Reread {
        let reread = Reread { path: sandbox.path("guard.conf") };
        reread.write(text);
        reread
    }

    /// In one go: a reading that still goes on sees all of the old text or all of this.
    fn write(&self, text: &str) {
        let whole = self.path.with_extension("whole");
        fs::write(&whole, text).expect("a file");
        fs::rename(&whole, &self.path).expect("the file");
    }

    fn options(&self) -> [&str; 2] {
        ["-c", self.path.to_str().expect("a plain path")]
    }

    /// Has the guard read it again, and waits for what it says about that.
    fn expect(&self, guard: &Guard, said: &str) {
        let before = guard.count(said);
        guard.signal(libc::SIGHUP);
        guard.wait_for_many(said, before + 1);
    }

    fn taken(&self, guard: &Guard, text: &str) {
        self.write(text);
        self.expect(guard, TAKEN);
    }

    fn refused(&self, guard: &Guard, text: &str) {
        self.write(text);
        self.expect(guard, REFUSED);
    }
}

const TAKEN: &str = "settings were read again";
const REFUSED: &str = "the new settings are not taken; the old ones stay in force";
const NOBODY_LEFT: &str = "no process to kill";
/// A file that is no configuration must not flood the log.
const MISTAKES_TOLD: usize = 20;
/// Protects the hog.
const SPARING: &str = "OOM_GUARD_IGNORE='^hog$'\n";

/// Lets memory get low, and sees that the hog is spared.
fn expect_spared(memory: &FakeMemory, guard: &Guard, hog: &mut Hog) {
    let before = guard.count(NOBODY_LEFT);
    memory.available(LOW);
    guard.wait_for_many(NOBODY_LEFT, before + 1);
    assert!(hog.is_alive());
    memory.recover(guard);
}

/// The same, for what is not spared.
fn expect_ended(memory: &FakeMemory, guard: &Guard, hog: &mut Hog) {
    memory.available(LOW);
    assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
    memory.recover(guard);
}

#[test]
fn new_patterns_count_from_the_signal_on() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        file.taken(&guard, SPARING);
        expect_spared(&memory, &guard, &mut hog);
        // A file alone changes nothing.
        file.write("");
        expect_spared(&memory, &guard, &mut hog);
        file.taken(&guard, "");
        expect_ended(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn new_thresholds_are_said_and_kept() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, "OOM_GUARD_MEM_THRESHOLD=5");
        let guard = sandbox.guard(&file.options());
        guard.wait_for("sending SIGTERM when mem avail <= 50 MiB (5.00%)");
        memory.available(LOW);
        guard.make_look(3);
        assert!(hog.is_alive() && guard.signals().is_empty());
        memory.recover(&guard);
        file.taken(&guard, "OOM_GUARD_MEM_THRESHOLD=15,2");
        guard.wait_for("sending SIGTERM when mem avail <= 150 MiB (15.00%)");
        guard.wait_for("        SIGKILL when mem avail <= 20 MiB (2.00%)");
        expect_ended(&memory, &guard, &mut hog);
        memory.recover(&guard);
        // More than there is, from a larger machine.
        file.taken(&guard, "OOM_GUARD_MEM_SIZE=1600M");
        guard.wait_for("warning: -M: 1638400 KiB is more than this machine has (MemTotal ");
        guard.wait_for("sending SIGTERM when mem avail <= 500 MiB (50.00%)");
        guard.wait_for("notice: -M: 1600 MiB counts as 500 MiB now: user memory is 1000 MiB");
        file.taken(&guard, "OOM_GUARD_MEM_SIZE=1700M");
        guard.wait_for("notice: -M: 1700 MiB counts as 500 MiB now: user memory is 1000 MiB");
        guard.stop();
    });
}

#[test]
fn a_limit_for_each_process_comes_and_goes_with_the_file() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let limit = "OOM_GUARD_PROCESS_LIMIT=50M\nOOM_GUARD_INTERVAL=0.1\n";
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        let mut hog = sandbox.hog(&["--size", "60M"]);
        file.taken(&guard, limit);
        guard.wait_for("sending SIGTERM to any process above 50 MiB, checked every 0.100 s");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        file.taken(&guard, &format!("{limit}{SPARING}"));
        let mut hog = sandbox.hog(&["--size", "60M"]);
        guard.make_look(5);
        file.taken(&guard, "");
        guard.make_look(5);
        assert!(hog.is_alive());
        file.taken(&guard, limit);
        hog.wait_for_end();
        guard.stop();
    });
}

#[test]
fn a_dry_run_that_is_over_is_over() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, "OOM_GUARD_DRY_RUN=yes");
        let guard = sandbox.guard(&file.options());
        memory.available(LOW);
        guard.wait_for("would send SIGTERM to process ");
        assert!(hog.is_alive());
        memory.recover(&guard);
        file.taken(&guard, "OOM_GUARD_DRY_RUN=no");
        expect_ended(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn a_faulty_file_is_refused_with_all_its_mistakes_and_the_old_settings_go_on() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        let text: Vec<_> = MISTAKES.iter().map(|(line, _)| *line).collect();
        fs::write(&file.path, text.join(&b'\n')).expect("a file");
        file.expect(&guard, REFUSED);
        let told = MISTAKES.iter().enumerate().filter(|(_, (_, said))| !said.is_empty());
        for (index, (_, said)) in told.take(MISTAKES_TOLD) {
            let wanted = format!("{}:{}: {said}", file.path.display(), index + 1);
            assert_eq!(guard.count(&wanted), 1, "{wanted}");
        }
        // All but the one line that is right.
        guard.wait_for(&format!("and {} more mistakes", MISTAKES.len() - 1 - MISTAKES_TOLD));
        expect_spared(&memory, &guard, &mut hog);
        // Neither are settings that contradict each other, or the machine.
        for (text, said) in [
            ("OOM_GUARD_WATCH=limit", "--watch: there is no limit to watch"),
            ("OOM_GUARD_MEM_SIZE=16001M", "-M: 16385024 KiB is more than 16 times what this"),
        ] {
            file.refused(&guard, text);
            guard.wait_for(said);
        }
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn a_file_that_was_removed_is_refused_unless_it_may_be_missing() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        fs::remove_file(&file.path).expect("its end");
        file.expect(&guard, REFUSED);
        guard.wait_for(&format!("{}: cannot read it: ENOENT", file.path.display()));
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();

        file.write(SPARING);
        let guard = sandbox.guard(&["-c", &format!("-{}", file.path.display())]);
        expect_spared(&memory, &guard, &mut hog);
        fs::remove_file(&file.path).expect("its end");
        file.expect(&guard, TAKEN);
        expect_ended(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn what_command_line_and_environment_say_stays_in_force() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, "");
        let mut command = sandbox.guard_command(&["--ignore", "^hog$"]);
        command.args(file.options()).env("OOM_GUARD_MEM_THRESHOLD", "20");
        let guard = sandbox.start_guard(command);
        file.taken(&guard, "OOM_GUARD_IGNORE=x\nOOM_GUARD_MEM_THRESHOLD=1\n");
        guard.wait_for_many("sending SIGTERM when mem avail <= 200 MiB (20.00%)", 2);
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count()
}

/// Waits until there is one helper and nothing else of the guard's, and nothing is left open.
fn expect_nothing_left(guard: &Guard, descriptors_before: usize) {
    wait_for("guard and helper alone", || living("oom_guard").len() == 2);
    let children = || processes().iter().filter(|process| process.parent == guard.pid()).count();
    wait_for("one child", || children() == 1);
    // A child's end may be noticed before that of what it had to say.
    wait_for("nothing open", || descriptors(guard.pid()) == descriptors_before);
}

#[test]
fn twenty_signals_in_a_row_leave_nothing_behind() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        let before = descriptors(guard.pid());
        for _ in 0..20 {
            guard.signal(libc::SIGHUP);
            guard.make_look(1);
        }
        file.taken(&guard, SPARING);
        expect_nothing_left(&guard, before);
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn a_hundred_good_and_bad_files_in_turn_leave_nothing_behind() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        let before = descriptors(guard.pid());
        for round in 1..=50 {
            let grace = format!("OOM_GUARD_GRACE={round}\n");
            file.taken(&guard, &format!("{grace}{SPARING}"));
            file.refused(&guard, &format!("{grace}{SPARING}hello\n"));
        }
        expect_nothing_left(&guard, before);
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn large_settings_are_not_written_over_those_in_force() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        // As much as a file may have; few patterns, nearly as large as may be; and many small ones.
        let long = format!("{SPARING}{}\n", "#".repeat(LONGEST - 1024));
        let with_patterns = |count, pattern: &str| {
            let further = |number| format!("OOM_GUARD_IGNORE_{number}='{pattern}'\n");
            SPARING.to_string() + &(2..=count).map(further).collect::<String>()
        };
        let few = with_patterns(4, &"[a-z]{1000}".repeat(3));
        let many = with_patterns(100, "[a-z]{60}");
        let file = Reread::new(sandbox, SPARING);
        let mut guard = sandbox.guard(&file.options());
        for text in [SPARING, SPARING, &long, SPARING, &few, &few, &many, &many, &many, &long] {
            file.taken(&guard, text);
            guard.make_look(3);
            assert!(guard.is_running());
        }
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn settings_that_are_too_long_to_be_handed_over_are_refused() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let others: Vec<_> = (1..=4).map(|number| sandbox.path(&format!("{number}"))).collect();
        for path in &others {
            fs::write(path, "#".repeat(LONGEST - 1024)).expect("a file");
        }
        let mut options = file.options().to_vec();
        others.iter().for_each(|path| options.extend(["-c", path.to_str().expect("UTF-8")]));
        let guard = sandbox.guard(&options);
        file.taken(&guard, &format!("{SPARING}OOM_GUARD_HOOK_TIMEOUT=7\n"));
        file.refused(&guard, &format!("{SPARING}{}\n", "#".repeat(4096)));
        guard.wait_for("more than 256 KiB");
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn a_helper_for_new_settings_keeps_nothing_of_how_they_were_read() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        let before = descriptors(guard.pid());
        for timeout in 1..=2 {
            file.taken(&guard, &format!("OOM_GUARD_HOOK_TIMEOUT={timeout}\n"));
            expect_nothing_left(&guard, before);
            for pid in [guard.pid(), guard.helper().expect("a helper")] {
                let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
                assert!(!maps.contains(" rw-s "), "{maps}");
            }
        }
        guard.stop();
    });
}

#[test]
fn a_second_signal_during_a_reading_is_not_left_for_the_next_look() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        guard.make_look(1);
        guard.signal(libc::SIGHUP);
        // One look later the first is on its way.
        let sleeps = guard.sleeps();
        wait_for("a look", || guard.sleeps() > sleeps);
        file.write("OOM_GUARD_MEM_THRESHOLD=33");
        guard.signal(libc::SIGHUP);
        guard.wait_for_within(Duration::from_secs(5), "(33.00%)", 1);
        guard.stop();
    });
}

#[test]
fn new_settings_wait_for_the_end_of_a_victim() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M", "--ignore-term"]);
        let file = Reread::new(sandbox, "OOM_GUARD_GRACE=0\n");
        let guard = sandbox.guard(&file.options());
        memory.available(LOW);
        guard.wait_for("sending SIGTERM to process ");
        file.write("OOM_GUARD_GRACE=0.1\n");
        guard.signal(libc::SIGHUP);
        guard.make_look(10);
        guard.wait_for("settings will be read again once memory is fine");
        assert_eq!((guard.count(TAKEN), hog.is_alive()), (0, true));
        hog.signal(libc::SIGKILL);
        hog.wait_for_end();
        memory.available(PLENTY);
        guard.wait_for(TAKEN);
        let log = guard.stop();
        assert!(log.find("exited after") < log.find(TAKEN), "{log}");
    });
}

#[test]
fn new_settings_that_make_candidates_are_taken_although_memory_is_low() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        memory.available(LOW);
        guard.wait_for(NOBODY_LEFT);
        assert!(hog.is_alive());
        file.taken(&guard, "");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.recover(&guard);
        guard.stop();
    });
}

#[test]
fn a_pause_for_want_of_candidates_ends_with_new_settings() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        // Each pause is twice as long as the one before, and ended by a further fall.
        for _ in 0..4 {
            expect_spared(&memory, &guard, &mut hog);
        }
        memory.available(LOW);
        guard.wait_for("trying again in 16 seconds");
        let paused = Instant::now();
        file.taken(&guard, "");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        assert!(paused.elapsed() < Duration::from_secs(14), "{:?}", paused.elapsed());
        memory.recover(&guard);
        guard.stop();
    });
}

#[test]
fn what_is_said_of_new_settings_is_not_lost_with_a_helper_that_has_died() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        // While memory is low it is not started again.
        memory.available(LOW);
        guard.wait_for(NOBODY_LEFT);
        let helper = guard.helper().expect("a helper");
        signal_to(helper, libc::SIGKILL);
        wait_for("its end", || children(guard.pid()).is_empty());
        // But another one, for other work; and of the levels there is something to say.
        let text = "OOM_GUARD_HOOK_TIMEOUT=7\nOOM_GUARD_MEM_THRESHOLD=5,10\n";
        file.taken(&guard, &format!("{SPARING}{text}"));
        guard.wait_for("warning: -m: KILL is above the level of SIGTERM");
        assert!(hog.is_alive());
        memory.recover(&guard);
        guard.stop();
    });
}

#[test]
fn a_file_that_would_be_waited_for_is_refused_at_once() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        let before = descriptors(guard.pid());
        let _fifo = Trap::over(sandbox, file.path.to_str().expect("a plain path"));
        file.expect(&guard, REFUSED);
        guard.wait_for("cannot read it: it is no regular file");
        expect_nothing_left(&guard, before);
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn a_reading_that_hangs_is_given_up_and_leaves_nobody_waiting() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        let before = descriptors(guard.pid());
        file.write("OOM_GUARD_PREFER='user:postgres'");
        let _trap = Trap::over(sandbox, "/etc/passwd");
        guard.signal(libc::SIGHUP);
        wait_for("a reader", || living("oom_guard").len() == 3);
        // The watch goes on meanwhile.
        expect_spared(&memory, &guard, &mut hog);
        guard.wait_for(REFUSED);
        let why = "the process for it was ended, or took longer than 10 seconds";
        assert_eq!(guard.count(&format!("cannot read the settings again: {why}")), 1);
        expect_nothing_left(&guard, before);
        guard.stop();
    });
}

#[test]
fn a_reading_that_is_ended_is_refused_with_the_reason() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let file = Reread::new(sandbox, SPARING);
        let guard = sandbox.guard(&file.options());
        let helper = guard.helper();
        file.write("OOM_GUARD_PREFER='user:postgres'");
        let _trap = Trap::over(sandbox, "/etc/passwd");
        guard.signal(libc::SIGHUP);
        let reader = || children(guard.pid()).into_iter().find(|&child| Some(child) != helper);
        signal_to(wait_until(PATIENCE, reader).expect("a reader"), libc::SIGKILL);
        guard.wait_for("cannot read the settings again: the process for it was ended");
        guard.wait_for(REFUSED);
        expect_spared(&memory, &guard, &mut hog);
        guard.stop();
    });
}

#[test]
fn an_ignored_sighup_is_answered_all_the_same() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "");
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(sandbox.path("oom_guard"));
        command.args(file.options()).stdin(Stdio::null()).stdout(Stdio::null());
        let guard = sandbox.start_guard(command);
        file.taken(&guard, "OOM_GUARD_MEM_THRESHOLD=15");
        guard.wait_for("(15.00%)");
        guard.stop();
    });
}

#[test]
fn a_choice_by_the_kernel_that_is_not_permitted_is_refused_with_the_reason() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "");
        let command = sandbox.guard_command(&file.options());
        let guard = sandbox.start_guard(sandbox.command_as_nobody(command));
        file.refused(&guard, "OOM_GUARD_KERNEL_OOM=yes");
        guard.wait_for("/proc/sysrq-trigger");
        guard.stop();
    });
}

#[test]
fn check_and_start_refuse_a_choice_by_the_kernel_that_is_not_permitted() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let _memory = FakeMemory::new(sandbox);
        for task in ["--check", "--debug"] {
            let options = ["-c", "none", "--kernel-oom", "--warn-hook", "/missing", task];
            let command = sandbox.guard_command(&options);
            let answer = Answer::of(&mut sandbox.command_as_nobody(command));
            let said = answer.refusals();
            assert_eq!(said.len(), 2, "{said:?}");
            assert!(said[0].starts_with("--warn-hook: /missing: "), "{said:?}");
            let why = [
                "for --kernel-oom (needs root, and under systemd the drop-in",
                "--kernel-oom: needs Linux ",
            ];
            assert!(why.iter().any(|why| said[1].contains(why)), "{said:?}");
        }
    });
}

#[test]
fn a_priority_that_is_switched_off_changes_nothing() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "OOM_GUARD_PRIORITY=yes");
        let mut command = sandbox.guard_command(&file.options());
        command.env("OOM_GUARD_PRIORITY", "no");
        let niceness = (niceness() + 7).min(19);
        set_niceness(&mut command, niceness);
        let guard = sandbox.start_guard(command);
        let own = |file| fs::read_to_string(format!("/proc/{}/{file}", guard.pid())).expect(file);
        let inherited = fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj");
        assert_eq!(own("oom_score_adj"), inherited);
        // The 19th field (proc(5)); the name has no blank.
        assert_eq!(own("stat").split(' ').nth(18), Some(&*niceness.to_string()));
        assert_eq!(guard.lines("-p: "), [""; 0]);
        guard.stop();
    });
}

// ---- SIGUSR1 ----

#[test]
fn sigusr1_logs_the_ten_first_candidates_and_the_state() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let mut hogs: Vec<_> = (0..12).map(|_| sandbox.hog(&["--size", "3M"])).collect();
        let guard = sandbox.guard(&["-c", "none"]);
        let before = descriptors(guard.pid());
        for times in 1..=2 {
            let told = guard.log().lines().count();
            guard.signal(libc::SIGUSR1);
            guard.wait_for_many("nothing would be killed now; first would be ", times);
            let log = guard.log();
            let mut lines = log.lines().skip(told);
            let header = lines.next().expect("a header");
            assert!(header.contains("rank     pid user "), "{log}");
            for rank in 1..=10 {
                let row = lines.next().expect("a candidate");
                assert!(row.trim_start().starts_with(&format!("{rank} ")), "{rank}: {row}");
                assert!(row.contains(" hog "), "{row}");
            }
            // Where the kernel tells of stalls there is a line about them.
            let mut lines = lines.filter(|line| !line.starts_with("stall: "));
            for begin in ["mem avail:   600 of  1000 MiB", "SIGTERM: ", "SIGKILL: ", "nothing "] {
                let line = lines.next().expect("the state");
                assert!(line.starts_with(begin), "{begin}: {line}");
            }
            assert_eq!(lines.next(), None);
        }
        assert!(hogs.iter_mut().all(Hog::is_alive));
        expect_nothing_left(&guard, before);
        guard.stop();
    });
}

#[test]
fn sigusr1_names_nobody_of_the_guard_itself() {
    sandboxed(|sandbox| {
        for options in [&["-c", "none"][..], &["-c", "none", "--prefer", "^oom_guard$"]] {
            let _memory = FakeMemory::new(sandbox);
            let _hog = sandbox.hog(&["--size", "3M"]);
            let guard = sandbox.guard(options);
            guard.signal(libc::SIGUSR1);
            guard.wait_for("nothing would be killed now; first would be ");
            assert_eq!(guard.lines("oom_guard  "), [""; 0], "{}", guard.log());
            guard.stop();
        }
    });
}

#[test]
fn sigusr1_and_sighup_together_are_both_answered() {
    sandboxed(|sandbox| {
        let _memory = FakeMemory::new(sandbox);
        let file = Reread::new(sandbox, "");
        let guard = sandbox.guard(&file.options());
        for times in 1..=5 {
            guard.signal(libc::SIGUSR1);
            guard.signal(libc::SIGHUP);
            guard.wait_for_many(TAKEN, times);
            guard.wait_for_many("rank     pid user ", times);
        }
        guard.stop();
    });
}

// ---- the name that it was called by ----

/// The program under the name of the one that it replaces.
fn monitor(sandbox: &Sandbox, name: &str, options: &[&str]) -> Command {
    let link = sandbox.path(name);
    if !link.exists() {
        symlink("oom_guard", &link).expect("a link");
    }
    let mut command = Command::new(link);
    command.env_clear().args(options).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn called_as_memory_monitor_it_has_that_ones_defaults_and_file() {
    sandboxed(|sandbox| {
        etc(&[("oom_guard.conf", "not for this one")]);
        for name in ["memory-monitor", "memory-monitor.sh", "memory-monitor-2"] {
            let answer = Answer::good(&mut monitor(sandbox, name, &["--check"]));
            let settings = ["THRESHOLD=20", "WATCH=limit", "LOG_FILE=/var/log/memory-monitor.log"];
            let by_name = |setting| (format!("OOM_GUARD_{setting}"), "the program's name".into());
            assert_eq!(answer.in_force(), settings.map(by_name), "{name}");
            assert!(answer.stdout.contains("configuration: /etc/memory-monitor.conf: not there\n"));
            assert!(answer.stdout.contains("\n  # OOM_GUARD_INTERVAL: 60 (default)\n"));
        }
        let options = ["--check", "--dry-run", "--threshold=15", "--interval=30"];
        let mut answer = Answer::good(&mut monitor(sandbox, "memory-monitor", &options));
        assert_eq!(
            answer.shown(&["THRESHOLD", "INTERVAL", "DRY_RUN", "WATCH"]),
            [
                "OOM_GUARD_THRESHOLD=15",
                "OOM_GUARD_INTERVAL=30",
                "OOM_GUARD_WATCH=limit",
                "OOM_GUARD_DRY_RUN=true",
            ]
        );
        fs::write("/etc/memory-monitor.conf", "OOM_GUARD_PROCESS_LIMIT=1G").expect("a file");
        answer = Answer::good(&mut monitor(sandbox, "memory-monitor", &["--check"]));
        assert_eq!(answer.shown(&["THRESHOLD", "PROCESS_LIMIT"]), ["OOM_GUARD_PROCESS_LIMIT=1G"]);
        // By any other name it is itself.
        fs::remove_file("/etc/oom_guard.conf").expect("its end");
        answer = Answer::good(&mut monitor(sandbox, "oom_guard-memory-monitor", &["--check"]));
        assert!(answer.in_force().is_empty(), "{answer:?}");
    });
}

#[test]
fn as_memory_monitor_it_watches_the_limit_alone_and_logs_where_that_one_did() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        etc(&[]);
        bind_over(&sandbox.dir, Path::new("/var/log"));
        // What the harness reads.
        symlink("memory-monitor.log", sandbox.path("log")).expect("a link");
        let mut large = sandbox.hog(&["--size", "80M"]);
        let mut small = sandbox.hog(&["--size", "20M"]);
        let options = ["--dry-run", "--threshold=0.05", "--interval=0.2"];
        let guard = sandbox.start_guard_unheard(monitor(sandbox, "memory-monitor", &options));
        guard.wait_for("sending SIGTERM to any process above 51 MiB, checked every 0.200 s");
        guard.wait_for(&format!("would send SIGTERM to process {} ", large.pid()));
        guard.stop();

        fs::remove_file(sandbox.path("memory-monitor.log")).expect("its end");
        let guard = sandbox.start_guard_unheard(monitor(sandbox, "memory-monitor", &options[1..]));
        assert_eq!(large.wait_for_end().signal(), Some(libc::SIGTERM));
        memory.available(VERY_LOW);
        guard.make_look(3);
        assert!(small.is_alive());
        memory.recover(&guard);
        guard.wait_for(&format!("sending SIGTERM to process {} ", large.pid()));
        assert_eq!(guard.signals().len(), 1);
        guard.stop();
    });
}

// ---- what --check warns of ----

#[test]
fn check_shows_what_cannot_be_seen() {
    let (answer, _) =
        check_file("OOM_GUARD_IGNORE='ss\u{200b}hd'\nOOM_GUARD_ONLY='\u{feff}a\u{202e}'\n");
    let said = format!("{}{}", answer.said().join("\n"), answer.stdout);
    assert!(said.contains("ss\\u{200b}hd") && said.contains("\\u{feff}a\\u{202e}"), "{said}");
    assert!(said.is_ascii(), "{said}");
    // What another system's editor puts before the first line.
    let (answer, conf) = check_file("\u{feff}OOM_GUARD_GRACE=1\n");
    let wanted = conf.line(1)
        + "\\u{feff}OOM_GUARD_GRACE: is no key: letters, digits and _, with = right behind";
    assert_eq!(answer.refusals(), [wanted]);
}

#[test]
fn check_warns_of_what_does_nothing_and_ends_well() {
    let unlimited = "--interval: does nothing without a limit (--process-limit or --threshold)";
    for (arguments, said) in [
        (&["--interval", "5"][..], unlimited),
        (&["--process-limit", "8000T"], "--process-limit: 8589934592000 KiB can never be reached"),
        (&["--threshold", "8000000"], "--process-limit: 8388608000000 KiB can never be reached"),
        (
            &["--process-limit", "1G", "--watch", "memory"],
            "--process-limit: no effect, since --watch memory was asked for",
        ),
        (&["-m", "5,10"], "-m: KILL is above the level of SIGTERM, so SIGKILL comes first"),
        (&["-S", "8000T"], "-S: 8589934592000 KiB is more than the swap there is"),
        (&["--avoid", "user:no-such-user"], "\"user:no-such-user\": /etc/passwd has no such user"),
        (&["--log-file", "/missing/guard.log"], "--log-file: there is no directory for /missing/"),
        (&["--stats-file", "/tmp"], "--stats-file: /tmp is a directory"),
    ] {
        let answer = Answer::good(check(&["-c", "none"]).args(arguments));
        let told = answer.said();
        let wanted = format!("warning: {said}");
        assert!(told.len() == 1 && told[0].starts_with(&wanted), "{arguments:?}: {told:?}");
    }
}

#[test]
fn check_warns_of_outputs_that_may_not_be_written() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let roots = sandbox.path("roots");
        fs::create_dir(&roots).expect("a directory");
        let (log, open) = (roots.join("log"), roots.join("open"));
        fs::write(&log, "").expect("a file");
        fs::write(&open, "").expect("a file");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).expect("permissions");
        let new = roots.join("new");
        for (option, path, is_refused) in [
            ("--log-file", &log, true),
            ("--log-file", &new, true),
            ("--log-file", &open, false),
            // It is replaced.
            ("--stats-file", &open, true),
        ] {
            let path = path.display().to_string();
            let command = sandbox.guard_command(&["--check", "-c", "none", option, &path]);
            let answer = Answer::good(&mut sandbox.command_as_nobody(command));
            let said = format!("warning: {option}: {path}: cannot write it: EACCES");
            let is_told = answer.said().iter().any(|line| line.starts_with(&said));
            assert_eq!(is_told, is_refused, "{option} {path}: {answer:?}");
        }
    });
}

#[test]
fn patterns_that_are_most_likely_slips_are_warned_of_at_the_start_and_by_check() {
    const QUOTES: &str = "the quotes are looked for too; write it without them";
    const NEVER: &str =
        "can never match: there is text before ^ or after $ (a plain one is \\^ or \\$)";
    const NO_FIELD: &str = "begins with no field (name, cmd, exe, user or cgroup), so all of it is looked for in the name";
    sandboxed(|sandbox| {
        let slips = [
            ("--avoid", "'^sshd$'", QUOTES),
            ("--ignore", "\"user:postgres\"", QUOTES),
            ("--only", "name:'sshd'", QUOTES),
            ("--ignore", "cmd:/usr/bin/^x", NEVER),
            ("--prefer", "^a$b", NEVER),
            ("--ignore", "(x$|y$)z", NEVER),
            ("--ignore", "cmdlin:foo", NO_FIELD),
            ("--ignore", "users:postgres", NO_FIELD),
            ("--avoid", "Name:x", NO_FIELD),
            ("--ignore", "command:x", NO_FIELD),
            ("--ignore", "glob:exe:/usr/*", NO_FIELD),
        ];
        let right = [
            ("--avoid", "tmux: server"),
            ("--avoid", "it's"),
            ("--prefer", "cmd:--title='x'"),
            ("--avoid", "(user:)x"),
            ("--avoid", "name:user:x"),
            ("--prefer", "comm:x"),
            ("--prefer", "cmdline:x"),
            ("--avoid", "uid:0"),
            ("--prefer", "(^|/)x$"),
            ("--prefer", "glob:*^$x"),
        ];
        let mut options = vec!["-c", "none"];
        slips.iter().for_each(|(option, pattern, _)| options.extend([option, pattern]));
        right.iter().for_each(|(option, pattern)| options.extend([option, pattern]));
        let mut wanted: Vec<_> = slips
            .iter()
            .map(|(option, pattern, why)| {
                let shown = pattern.replace('"', "\\\"");
                format!("warning: {option} \"{shown}\": {why}")
            })
            .collect();
        wanted.sort();
        let mut told = told_by_check(sandbox, &options);
        told.sort();
        assert_eq!(told, wanted);
        let log = sandbox.guard(&options).stop();
        let mut told: Vec<_> = log.lines().filter(|line| line.starts_with("warning: --")).collect();
        told.sort();
        assert_eq!(told, wanted);
    });
}

/// What `--check` says in a sandbox, line by line.
fn told_by_check(sandbox: &Sandbox, options: &[&str]) -> Vec<String> {
    let answer = Answer::good(sandbox.guard_command(&["--check"]).args(options));
    answer.said().iter().map(|line| line.to_string()).collect()
}

#[test]
fn check_tells_of_a_protection_that_protects_nobody_and_in_which_field_it_would() {
    sandboxed(|sandbox| {
        let _hog = sandbox.hog(&["--name", "worker"]);
        // In a file, since the command line of a process shows nothing of it.
        let file = sandbox.path("guard.conf");
        let option = ["-c", file.to_str().expect("a plain path")];
        for (key, pattern, fields) in [
            ("IGNORE", "^worker$", None),
            ("IGNORE", "cmd:/hog --name w", None),
            ("IGNORE", "exe:/hog$", None),
            ("IGNORE", "comm:^worker$", None),
            ("IGNORE", "cmdline:/hog --name w", None),
            ("IGNORE", "uid:0", None),
            ("IGNORE", "/hog$", Some("; exe: would")),
            ("ONLY", "/hog --name", Some("; cmd: would")),
            ("ONLY", "cmd:^worker$", Some("; name: would")),
            ("ONLY", "nobody-is-so", Some("")),
            // What only changes the order may well wait for its process.
            ("PREFER", "nobody-is-so", None),
            ("AVOID", "nobody-is-so", None),
        ] {
            fs::write(&file, line(key, pattern)).expect("a file");
            let option_name = Setting::of(key).option;
            let warning = |fields| {
                format!("warning: {option_name} \"{pattern}\": matches no process now{fields}")
            };
            let wanted: Vec<_> = fields.map(warning).into_iter().collect();
            assert_eq!(told_by_check(sandbox, &option), wanted);
        }
    });
}

#[test]
fn the_command_line_that_names_a_protection_is_not_protected_by_it() {
    sandboxed(|sandbox| {
        for pattern in ["nobody-is-so", "cmd:nobody-is-so"] {
            let told = told_by_check(sandbox, &["-c", "none", "--ignore", pattern]);
            let wanted = format!("warning: --ignore \"{pattern}\": matches no process now");
            assert_eq!(told, [wanted]);
        }
    });
}

#[test]
fn a_variable_that_is_no_setting_is_warned_of_and_those_of_hooks_are_not() {
    let hooks = [
        "PID", "NAME", "RSS", "SCORE", "SWAP", "UID", "ADJ", "CMDLINE", "SIGNAL", "REASON",
        "ACTION", "SERVICE",
    ];
    let mut command = check(&["-c", "none"]);
    command.envs(hooks.map(|name| (format!("OOM_GUARD_{name}"), "1")));
    assert_eq!(Answer::good(&mut command).said(), [""; 0]);
    // The cgroup of the victim, unless it stands alone.
    command.env("OOM_GUARD_CGROUP", "/no/such");
    let answer = Answer::good(&mut command);
    assert!(answer.said().is_empty() && answer.in_force().is_empty(), "{answer:?}");
    let own = Answer::good(check(&["-c", "none"]).env("OOM_GUARD_CGROUP", "/no/such")).in_force();
    assert_eq!(own[0].0, "OOM_GUARD_CGROUP=/no/such");
    command.envs([("OOM_GUARD_GRACES", "x"), ("OOM_GUARD_NONSENSE", "1"), ("OOM_GUARDIAN", "1")]);
    let answer = Answer::good(&mut command);
    let told: BTreeSet<_> = answer.said().into_iter().collect();
    let unknown = "in the environment: there is no such setting";
    let wanted = [
        format!("warning: OOM_GUARD_GRACES {unknown}; did you mean OOM_GUARD_GRACE?"),
        format!("warning: OOM_GUARD_NONSENSE {unknown}"),
    ];
    assert_eq!(told, wanted.iter().map(String::as_str).collect());
    assert!(answer.in_force().is_empty());
    let mut command = Command::new(guard());
    command.env_clear().env("OOM_GUARD_NONSENSE", "1").args(["--explain", "-c", "none"]);
    assert_eq!(Answer::good(&mut command).said(), [&wanted[1]]);
}
