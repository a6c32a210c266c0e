//! What people read: README.md and the readings beside what they are about. Short sentences, names that exist, defaults as
//! they are. `scripts/fresh.sh` and `tests/boot` run the commands of README.md.
//!
//! `--check` is all that is asked of the guard here, which ends no process. `GUARD_BIN` names another guard to test.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const README: &str = include_str!("../README.md");
const READINGS: [(&str, &str); 6] = [
    ("README.md", README),
    ("CHANGELOG.md", include_str!("../CHANGELOG.md")),
    ("init/README.md", include_str!("../init/README.md")),
    ("scripts/package/README.md", include_str!("../scripts/package/README.md")),
    ("tests/README.md", include_str!("README.md")),
    ("tests/rescue/README.md", include_str!("rescue/README.md")),
];
const PAGE: &str = include_str!("../init/oom_guard.8");
const CONF: &str = include_str!("../init/oom_guard.conf");
/// Other programs with options that README.md names.
const OTHERS: &str =
    concat!(include_str!("../scripts/install.sh"), include_str!("../scripts/test.sh"));

const MOST_LINES: usize = 220;
const MOST_WORDS: usize = 25;
/// No process is a person, and nothing is simple at three in the morning.
const NO_WORDS: [&str; 8] =
    ["who", "whom", "whose", "whoever", "somebody", "someone", "nobody", "simply"];

/// Paragraphs, items of lists, headings and rows of tables, each as one text. What is to be typed is left out.
fn prose(text: &str) -> Vec<String> {
    let (mut pieces, mut is_fenced) = (vec![String::new()], false);
    for line in text.lines() {
        let shown = line.trim();
        is_fenced ^= shown.starts_with("```");
        if is_fenced || shown.starts_with("```") || line.starts_with("    ") {
            continue;
        }
        if shown.is_empty() || ["#", "|", "- "].iter().any(|mark| shown.starts_with(mark)) {
            pieces.push(String::new());
        }
        let last = pieces.last_mut().expect("one at least");
        *last += shown;
        last.push(' ');
    }
    pieces
}

/// The words of each sentence; what stands between backticks is one word, and each cell of a table a text of its own.
fn sentences(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for piece in prose(text) {
        let spans = piece.split('`').enumerate();
        let plain: String = spans.map(|(i, span)| if i % 2 == 1 { "code" } else { span }).collect();
        for cell in plain.split('|') {
            let mut sentence = Vec::new();
            for word in cell.split_whitespace() {
                if word.contains(char::is_alphanumeric) {
                    sentence.push(word.to_string());
                }
                if word.trim_end_matches([')', '"', '*']).ends_with(['.', '?', '!']) {
                    found.push(std::mem::take(&mut sentence));
                }
            }
            found.push(sentence);
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
}

#[test]
fn no_sentence_has_more_than_25_words() {
    for (path, text) in READINGS {
        let sentences = sentences(text);
        assert!(sentences.iter().any(|sentence| sentence.len() > 10), "{path}: blind");
        for sentence in sentences {
            assert!(sentence.len() <= MOST_WORDS, "{path}: {}", sentence.join(" "));
        }
    }
}

#[test]
fn a_process_is_no_person() {
    for (path, text) in READINGS {
        for sentence in sentences(text) {
            for word in &sentence {
                let word = word.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
                assert!(!NO_WORDS.contains(&&word[..]), "{path}: {}", sentence.join(" "));
            }
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines <= MOST_LINES, "{lines} lines");
}

#[test]
fn every_option_and_key_of_the_readme_exists() {
    let page = PAGE.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
    let known: HashSet<_> = words(&page).chain(words(OTHERS)).chain(["--release"]).collect();
    let is_long = |word: &&str| word.starts_with("--") && word.contains(char::is_alphabetic);
    let is_key = |word: &&str| word.starts_with("OOM_GUARD_");
    // Spans of code that begin with an option: those of other programs stand behind their name.
    let spans = README.split('`').filter(|span| span.starts_with('-'));
    let short = spans.filter_map(|span| span.split(' ').next());
    let named = words(README).filter(|word| is_long(word) || is_key(word)).chain(short);
    let named: Vec<_> = named.map(|name| name.trim_end_matches("_2")).collect();
    assert!(named.len() > 60, "only {} were found: the test has gone blind", named.len());
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_six_settings_have_their_defaults() {
    let rows: Vec<Vec<_>> = README
        .lines()
        .filter(|line| line.starts_with("| `OOM_GUARD_"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let (key, default) = (row[1], row[4]);
        let setting = format!("\n#{key}={default}\n");
        assert!(default == "off" || CONF.contains(&setting), "{key}: {default}");
    }
}

#[test]
fn the_file_of_the_readme_is_accepted() {
    let (_, file) = README.split_once("```conf\n").expect("a file");
    let (file, _) = file.split_once("```").expect("its end");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("oom_guard.conf");
    fs::write(&path, file).expect("the file");
    let guard = std::env::var_os("GUARD_BIN")
        .map_or(PathBuf::from(env!("CARGO_BIN_EXE_oom_guard")), PathBuf::from);
    let output = Command::new(guard).args(["--check", "-c"]).arg(path).env_clear().output();
    let output = output.expect("the guard");
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout);
    for line in file.lines() {
        assert!(shown.contains(line), "{line} is not in force: {shown}");
    }
}
