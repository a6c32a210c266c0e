//! The man pages, the completions for shells and the default configuration file: made from the table
//! of options, or held against it, and good for those programs that read them. And the pictures, which
//! are drawn from the tables of figures.
//!
//! `--check` is all that is asked of the guard here, which ends no process.
//!
//! `GUARD_BIN` names another guard to test, `GUARD_TOOLS` the directory of `manpage` and `completions`.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../init/oom_guard.8");
const CONF_PAGE: &str = include_str!("../init/oom_guard.conf.5");
const CONF: &str = include_str!("../init/oom_guard.conf");
const TABLE: &str = include_str!("../src/settings/table.rs");
/// What the pages are made from.
const SOURCES: [&str; 4] = [
    TABLE,
    include_str!("tools/oom_guard.8.in"),
    include_str!("tools/oom_guard.conf.5.in"),
    include_str!("tools/options.in"),
];
/// A setting that is commented out.
const OFF: &str = "#OOM_GUARD_";

// ---- the table of options ----

/// What `manpage --table` tells of an option.
struct Row {
    spellings: Vec<String>,
    key: String,
    kind: String,
    default: String,
}

impl Row {
    fn is_setting(&self) -> bool {
        !self.key.is_empty() && self.kind != "config"
    }
}

fn table() -> Vec<Row> {
    let row = |line: &str| {
        let columns: Vec<_> = line.split('\t').map(String::from).collect();
        let [spellings, key, kind, default] = columns.try_into().expect("four columns");
        let spellings = spellings.split(' ').map(String::from).collect();
        Row { spellings, key, kind, default }
    };
    let rows: Vec<_> = manpage(&["--table"]).lines().map(row).collect();
    assert!(rows.len() > 20, "only {} options were found: the test has gone blind", rows.len());
    rows
}

fn manpage(arguments: &[&str]) -> String {
    printed(tool("manpage").args(arguments).output().expect("manpage (cargo build --examples?)"))
}

fn completions(argument: &str) -> String {
    let output = tool("completions").arg(argument).output();
    printed(output.expect("completions (cargo build --examples?)"))
}

fn tool(name: &str) -> Command {
    let beside = || {
        let own = std::env::current_exe().expect("own path");
        own.parent().and_then(Path::parent).expect("target/PROFILE/deps").join("examples")
    };
    let tools = std::env::var_os("GUARD_TOOLS").map_or_else(beside, PathBuf::from);
    Command::new(tools.join(name))
}

fn printed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a program that may not be here says of what it is given; `None` without the program.
fn said_by(program: &str, arguments: &[&str], given: &str) -> Option<Output> {
    let mut command = Command::new(program);
    // Neither the caller's settings nor the machine's language count.
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C");
    command
        .env("HOME", "/nonexistent")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        // An ordinary user may not look into all directories of root's PATH.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied]
                .contains(&error.kind()) =>
        {
            // Not `eprintln`, which is kept back for tests that pass.
            let _ = writeln!(io::stderr(), "skip: a document by {program}: it is not installed");
            return None;
        }
        child => child.expect(program),
    };
    // It may have its own reasons not to read all.
    let _ = child.stdin.take().expect("its input").write_all(given.as_bytes());
    Some(child.wait_with_output().expect(program))
}

/// Whole, both are too long to be shown.
fn assert_same(now: &str, then: &str, file: &str) {
    let differing = now.lines().zip(then.lines()).find(|(now, then)| now != then);
    assert!(now == then, "{file} is out of date; run scripts/man.sh: {differing:?}");
}

// ---- the man pages ----

#[test]
fn the_man_pages_are_what_is_made_of_the_table_now() {
    // As happens where only one file of tests is built.
    let is_new = manpage(&["--sources"]) == SOURCES.concat();
    assert!(is_new, "manpage is an old build: cargo build --examples");
    assert_same(&manpage(&[]), PAGE, "init/oom_guard.8");
    assert_same(&manpage(&["--conf"]), CONF_PAGE, "init/oom_guard.conf.5");
}

fn words_of(page: &str) -> HashSet<String> {
    let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    plain.split(|c| !is_part(c)).map(String::from).collect()
}

#[test]
fn every_option_and_every_key_stands_in_both_man_pages() {
    let pages = [words_of(PAGE), words_of(CONF_PAGE)];
    for row in table() {
        let key = format!("OOM_GUARD_{}", row.key);
        for (words, is_all) in pages.iter().zip([true, false]) {
            if row.key.is_empty() && !is_all {
                continue;
            }
            for spelling in &row.spellings {
                assert!(words.contains(spelling), "{spelling}");
            }
            assert!(row.key.is_empty() || words.contains(&key), "{key}");
        }
    }
}

#[test]
fn the_man_page_tells_why_a_default_is_what_it_is() {
    let reasons = SOURCES[3].split("@ --").skip(1);
    let told: HashSet<_> = reasons
        .filter(|block| block.contains("@ because\n"))
        .map(|block| block.lines().next().expect("a name"))
        .collect();
    for row in table().iter().filter(|row| !row.default.is_empty()) {
        let has_reason = row.spellings.iter().any(|spelling| told.contains(&spelling[2..]));
        assert!(has_reason, "{:?} has a default, and no reason in options.in", row.spellings);
    }
}

#[test]
fn the_man_page_has_every_metric_and_every_variable_of_hooks() {
    let words = words_of(PAGE);
    let stats = include_str!("../src/stats.rs");
    let (_, samples) = stats.split_once("static SAMPLES").expect("SAMPLES");
    let (samples, _) = samples.split_once("\n];").expect("its end");
    // NAME or NAME{LABEL="...
    let names = samples.split('"').map(|text| text.split('{').next().expect("one part"));
    let is_name = |name: &&str| {
        let ends = ["_total", "_bytes", "_ratio", "_seconds", "info"];
        !name.contains(' ') && ends.iter().any(|end| name.ends_with(end))
    };
    let names: HashSet<_> = names.filter(is_name).collect();
    assert!(names.len() > 12, "only {names:?}: the test has gone blind");
    for name in names {
        assert!(words.contains(&format!("oom_guard_{name}")), "{name}");
    }
    let hooks =
        [include_str!("../src/helper/hook.rs"), include_str!("../src/helper/service.rs")].concat();
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let whole = hooks.split(|c| !is_part(c)).filter(|word| word.starts_with("OOM_GUARD_"));
    let mut variables: HashSet<_> = whole.map(String::from).collect();
    for name in ["PID", "UID", "NAME", "CMDLINE"] {
        variables.insert(format!("OOM_GUARD_{name}"));
        variables.insert(format!("EARLYOOM_{name}"));
    }
    assert!(variables.len() > 12, "only {variables:?}: the test has gone blind");
    for variable in variables {
        assert!(words.contains(&variable), "{variable}");
    }
}

#[test]
fn mandoc_has_nothing_to_warn_of() {
    for page in [PAGE, CONF_PAGE] {
        let Some(output) = said_by("mandoc", &["-Tlint", "-Wwarning"], page) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // A date would be that of nothing: the page changes with the table.
        let faults: Vec<_> = said.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(faults.is_empty() && output.stderr.is_empty(), "{faults:#?}");
    }
}

#[test]
fn groff_has_nothing_to_warn_of() {
    for page in [PAGE, CONF_PAGE] {
        // What it sets goes to nowhere (-z), its warnings to standard error.
        let Some(output) = said_by("groff", &["-man", "-ww", "-z"], page) else { return };
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&said), "");
    }
}

// ---- completions ----

const BASH: &str = include_str!("../init/completions/oom_guard.bash");
const ZSH: &str = include_str!("../init/completions/_oom_guard");
const FISH: &str = include_str!("../init/completions/oom_guard.fish");

#[test]
fn completions_are_what_is_made_of_the_table_now() {
    let is_new = completions("--sources") == TABLE;
    assert!(is_new, "completions is an old build: cargo build --examples");
    for (shell, then, file) in [
        ("bash", BASH, "oom_guard.bash"),
        ("zsh", ZSH, "_oom_guard"),
        ("fish", FISH, "oom_guard.fish"),
    ] {
        assert_same(&completions(shell), then, &format!("init/completions/{file}"));
    }
}

/// All spellings that the help shows.
fn shown_spellings() -> HashSet<String> {
    let rows = table().into_iter().take_while(|row| row.spellings[0] != "--set-priority");
    rows.flat_map(|row| row.spellings).collect()
}

/// What bash offers for the last of these words, for each line of them.
fn offered_by_bash(lines: &[&[&str]]) -> Option<Vec<HashSet<String>>> {
    // `compopt` is refused outside of a completion.
    let mut script = format!("compopt() {{ :; }}\n{BASH}\nset -eu\n");
    for words in lines {
        let all = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        script += &format!(
            "COMP_WORDS=(oom_guard {all})\nCOMP_CWORD={}\nCOMPREPLY=()\n_oom_guard\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\" =====\n",
            words.len()
        );
    }
    let text = printed(said_by("bash", &["--norc", "--noprofile"], &script)?);
    let answers = text.split("=====\n").take(lines.len());
    let lines_of =
        |answer: &str| answer.lines().filter(|line| !line.is_empty()).map(String::from).collect();
    Some(answers.map(lines_of).collect())
}

#[test]
fn bash_offers_options_and_what_they_take() {
    let Some(offered) = offered_by_bash(&[
        &[""],
        &["--pr"],
        &["--watch", ""],
        &["--watch", "=", "l"],
        &["--watch", "="],
        &["-m", ""],
        &["--help", ""],
        &["--prefer", ""],
        &["--only", "us"],
        &["-P", "/bin/s"],
        &["-c", "no"],
        &["--cgroup", "/proc/sel"],
        &["-m", "5", "--min"],
    ]) else {
        return;
    };
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<HashSet<_>>();
    assert_eq!(offered[0], shown_spellings());
    let begun = "--prefer --process-limit --priority --pre-kill --pre-kill-script";
    assert_eq!(offered[1], words(begun));
    assert_eq!(offered[2], words("memory limit both"));
    assert_eq!(offered[3], words("limit"));
    assert_eq!(offered[4], words("memory limit both"));
    assert_eq!(offered[5], words(""));
    assert_eq!(offered[6], words("all"));
    assert_eq!(offered[7], words("name: cmd: exe: user: cgroup:"));
    assert_eq!(offered[8], words("user:"));
    assert!(offered[9].contains("/bin/sh"), "{:?}", offered[9]);
    assert!(offered[10].contains("none"), "{:?}", offered[10]);
    assert_eq!(offered[11], words("/proc/self"));
    assert_eq!(offered[12], words("--min-rss"));
}

#[test]
fn zsh_reads_what_each_option_takes() {
    // The words that the shell would go by, one a line.
    let script = format!("_arguments() {{ print -rl -- \"$@\" }}\n{ZSH}");
    let Some(output) = said_by("zsh", &["-f"], &script) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = printed(output);
    let specs: Vec<_> = text.lines().skip_while(|line| !line.contains('[')).collect();
    for spelling in shown_spellings() {
        // Behind what excludes it, and before its value and its description.
        let is_it = |spec: &&str| {
            let excluded = spec.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let spec = excluded.map_or(*spec, |(_, rest)| rest);
            let (option, _) = spec.split_once('[').expect("a description");
            option.trim_start_matches('*').trim_end_matches(['+', '=']) == spelling
        };
        assert_eq!(specs.iter().filter(|spec| is_it(spec)).count(), 1, "{spelling}: {text}");
    }
    assert!(text.contains(":WHAT:(memory limit both)"), "{text}");
}

#[test]
fn fish_offers_options_and_what_they_take() {
    let lines = ["--", "-", "--watch ", "--help ", "-m ", "--prefer ", "-c no", "--min"];
    let mut script = String::from(FISH);
    for line in lines {
        script += &format!("\ncomplete -C 'oom_guard {line}'\necho =====");
    }
    let Some(output) = said_by("fish", &["--no-config"], &script) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = printed(output);
    // A description follows behind a tab.
    let offered: Vec<HashSet<String>> = text
        .split("=====\n")
        .map(|answer| answer.lines().map(|line| line.split('\t').next().unwrap().into()).collect())
        .collect();
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<HashSet<_>>();
    let (long, short): (HashSet<_>, _) =
        shown_spellings().into_iter().partition(|spelling| spelling.starts_with("--"));
    assert_eq!(offered[0], long);
    assert!(offered[1].is_superset(&short), "{:?}", offered[1]);
    assert_eq!(offered[2], words("memory limit both"));
    assert!(offered[3].contains("all"), "{:?}", offered[3]);
    assert_eq!(offered[4], words(""));
    assert_eq!(offered[5], words("name: cmd: exe: user: cgroup:"));
    assert!(offered[6].contains("none"), "{:?}", offered[6]);
    assert_eq!(offered[7], words("--min-rss"));
}

// ---- pictures ----

/// As scripts/rescue.sh leaves them.
const SERIES: &str = "\r
== start\r
== result fill FILL 0 137 0\r
== result gap_ms GAP\r
== series 0 88.1 100.0 0 0 0 0 0 0\r
== series 200 40.2 100.0 0 0 0 0 0 0\r
== series 400 9.3 88.0 0 0 0 0 0 0\r
== series 60000 7.5 20.1 9 9 9 9 9 9\r
";
/// As tests/rescue/README.md has them.
const FIGURES: &str = "
| scenario | ended after, s | gap, s | killed | earlyoom: ended after | gap | killed |
|---|---|---|---|---|---|---|
| slow: on the card | 16.6 | 2.8 | 1 | never | 9.2 | 0 |
| bomb | 4.4 to 15 | **4.2 to 11.2** | all | never | | 2 |
| quick | 0.7 | 0.06 | 1 | 1.7 | 0.10 | 1 |

| scenario | gap | full |
|---|---|---|
| healthy-start | 2.6 | 47 |
| slow | 10.0 | 63 |
| bomb | 41.5 | 63 |

| measure | guard | earlyoom | ratio | floor | ratio |
|---|---|---|---|---|---|
| a scan, 5,000 processes, one stands out, ms | 28.5 | 67.7 | 0.43 | 24.9 | 1.13 |
| the same with `--prefer` | 31.1 | 99.8 | 0.32 | 29.5 | 1.04 |
| a scan, 1,000 processes, one stands out | 6.52 | - | - | 5.78 | 1.10 |
";

fn plot() -> Command {
    let mut command = Command::new("sh");
    command.arg(Path::new(CHECKOUT).join("scripts/plot.sh"));
    command.env_remove("FIGURES").env_remove("LOGS");
    command
}

/// The values of an attribute of all elements of a class.
fn values(svg: &str, class: &str, attribute: &str) -> Vec<f64> {
    let lines = svg.lines().filter(|line| line.contains(&format!("class=\"{class}\"")));
    let value = |line: &str| {
        let (_, rest) = line.split_once(&format!(" {attribute}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    lines.filter_map(value).collect()
}

#[test]
fn pictures_show_the_figures_they_are_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("figures"), FIGURES).expect("figures");
    for (guard, gap, fill) in [("none", "41500", "never"), ("ours", "2900", "12034")] {
        let log = SERIES.replace("GAP", gap).replace("FILL", fill);
        fs::write(path(&format!("thrash.{guard}.log")), log).expect("a log");
    }
    let mut command = plot();
    command.arg("--out").arg(dir.path()).args(["gaps", "scan", "memory", "thrash"]);
    command.env("FIGURES", path("figures")).env("LOGS", dir.path());
    printed(command.output().expect("sh"));
    let svg = |name: &str| fs::read_to_string(path(name)).expect(name);

    let gaps = svg("gaps.svg");
    // The square of the legend first, 11 wide.
    let bars = |guard| values(&gaps, guard, "width").split_off(1);
    let (none, earlyoom, ours) = (bars("none"), bars("earlyoom"), bars("ours"));
    assert_eq!([none.len(), earlyoom.len(), ours.len()], [2, 1, 2], "{gaps}");
    assert!((none[0] / none[1] - 10.0 / 41.5).abs() < 0.01, "{none:?}");
    assert!((ours[0] / ours[1] - 2.8 / 11.2).abs() < 0.01, "{ours:?}");
    assert!(gaps.contains(">earlyoom: not measured<"), "{gaps}");
    assert!(!gaps.contains("quick") && !gaps.contains("healthy"), "{gaps}");

    let scan = svg("scan.svg");
    let heights = values(&scan, "ours", "cy");
    let floors = values(&scan, "floor", "cy");
    assert_eq!((heights.len(), floors.len()), (2, 2), "{scan}");
    assert_eq!(values(&scan, "earlyoom", "cy").len(), 1, "one figure is missing: {scan}");
    // From 1,000 to 5,000, upwards; and the floor is lower.
    assert!(heights[1] < heights[0] && heights[1] < floors[1], "{scan}");

    let memory = svg("memory.svg");
    assert!(memory.contains("no guard, longest gap 41.5 s"), "{memory}");
    assert!(memory.contains("oom_guard: ended after 12.0 s"), "{memory}");
    assert_eq!(memory.matches("<polyline").count(), 2, "{memory}");

    for svg in [gaps, scan, memory] {
        // On light and on dark.
        assert!(svg.contains("prefers-color-scheme: dark"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("nan") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn a_picture_without_figures_is_not_drawn() {
    let dir = tempfile::tempdir().expect("a directory");
    let output =
        plot().arg("--out").arg(dir.path()).env("FIGURES", "/dev/null").env("LOGS", "/").output();
    let output = output.expect("sh");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    for picture in ["gaps", "scan", "memory"] {
        assert!(said.contains(&format!("plot.sh: {picture}: there ")), "{said}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
}

#[test]
fn the_pictures_are_drawn_from_the_tables_of_now() {
    let dir = tempfile::tempdir().expect("a directory");
    printed(plot().arg("--out").arg(dir.path()).args(["gaps", "scan"]).output().expect("sh"));
    for name in ["gaps.svg", "scan.svg"] {
        let now = fs::read_to_string(dir.path().join(name)).expect(name);
        let kept = Path::new(CHECKOUT).join("tests/rescue").join(name);
        let kept = fs::read_to_string(kept).expect(name);
        assert!(now == kept, "tests/rescue/{name} is out of date: run scripts/plot.sh gaps scan");
    }
}

// ---- the default configuration file ----

/// Key, without its prefix, and value of each setting that is commented out, as it is written.
fn settings_off() -> Vec<(&'static str, &'static str)> {
    let settings = CONF.lines().filter_map(|line| line.strip_prefix(OFF));
    settings.map(|setting| setting.split_once('=').expect(setting)).collect()
}

/// All settings of the file, without what comments them out.
fn uncommented() -> String {
    CONF.replace(OFF, &OFF[1..])
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory for a file");
    let path = dir.path().join("oom_guard.conf");
    fs::write(&path, text).expect("the file");
    (dir, path)
}

fn guard() -> PathBuf {
    std::env::var_os("GUARD_BIN")
        .map_or(PathBuf::from(env!("CARGO_BIN_EXE_oom_guard")), PathBuf::from)
}

/// What `--check` shows as given, in the form of a configuration file.
fn in_force(command: &mut Command) -> Vec<String> {
    let text = printed(command.env_clear().output().expect("the guard"));
    let settings = text.lines().filter_map(|line| line.strip_prefix("  OOM_GUARD_"));
    let without_place = |setting: &str| setting.rsplit_once(" # ").map(|(it, _)| it.to_string());
    settings.map(|setting| without_place(setting).expect("a place").trim_end().into()).collect()
}

fn in_force_by_file(text: &str) -> Vec<String> {
    let (_dir, path) = written(text);
    in_force(Command::new(guard()).args(["--check", "-c"]).arg(path))
}

#[test]
fn the_file_has_comments_and_settings_and_nothing_that_one_of_its_readers_would_trip_over() {
    for line in CONF.lines() {
        let is_comment = line == "#" || line.starts_with("# ");
        assert!(line.is_empty() || is_comment || line.starts_with(OFF), "{line}");
        // Older versions of systemd take the line behind a backslash for more of the comment.
        assert!(line == line.trim() && !line.ends_with('\\'), "{line:?}");
    }
}

#[test]
fn the_file_has_every_key_once_in_the_order_of_the_help() {
    let table = table();
    let wanted: Vec<_> = table.iter().filter(|row| row.is_setting()).map(|row| &row.key).collect();
    let keys: Vec<_> = settings_off().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, wanted);
}

#[test]
fn as_it_is_the_file_is_accepted_and_sets_nothing() {
    assert_eq!(in_force_by_file(CONF), [""; 0]);
}

#[test]
fn uncommented_the_file_is_accepted_as_a_whole_and_line_by_line() {
    let all: Vec<_> = settings_off().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let plain = |setting: &String| setting.replace('\'', "");
    let shown: Vec<_> = in_force_by_file(&uncommented()).iter().map(plain).collect();
    // Two spellings of one setting: the later one counts.
    let overruled = ["PROCESS_LIMIT=", "PRIORITY="];
    let counts = |setting: &&String| !overruled.iter().any(|key| setting.starts_with(key));
    assert_eq!(shown, all.iter().filter(counts).map(plain).collect::<Vec<_>>());
    for setting in &all {
        let shown = in_force_by_file(&format!("OOM_GUARD_{setting}\n"));
        assert_eq!(shown.iter().map(plain).collect::<Vec<_>>(), [plain(setting)]);
    }
}

#[test]
fn what_has_a_default_stands_in_the_file_with_it() {
    let table = table();
    for (key, value) in settings_off() {
        let row = table.iter().find(|row| row.key == key).expect(key);
        // A default in words has the value as one of them: `1 on a terminal, else 3600`.
        let is_default = match (&row.kind[..], &row.default[..]) {
            ("switch", "") => value == "false",
            (_, "") => continue,
            (_, default) => default.split(' ').any(|word| word == value),
        };
        assert!(is_default, "{key}={value}, but the default is {:?}", row.default);
    }
}

#[test]
fn a_shell_reads_the_same_from_the_file_as_the_guard() {
    let (_dir, path) = written(&uncommented());
    let script = "set -a; . \"$1\"; exec \"$2\" --check -c none";
    let mut shell = Command::new("sh");
    shell.args(["-euc", script, "sh"]).args([path, guard()]);
    assert_eq!(in_force(&mut shell), in_force_by_file(&uncommented()));
}
