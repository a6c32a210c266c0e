//! The man page, from the same table of options as `--help`, for `scripts/man.sh`.
//!
//! ```text
//! manpage            the page: `oom_guard.8.in` with the options in it
//! manpage --table    for the tests, a line for each option: spellings, key, kind and default,
//!                    with tabs between them
//! manpage --sources  for the tests: what it was built from, since an old build makes an old page
//! ```
//!
//! What is no option stands in `oom_guard.8.in`, in the macros of man(7).

#[allow(dead_code)]
#[path = "../../src/bytes.rs"]
mod bytes;
#[allow(dead_code)]
#[path = "../../src/pattern/mod.rs"]
mod pattern;
#[allow(dead_code, unused_imports)]
#[path = "../../src/settings/mod.rs"]
mod settings;
#[allow(dead_code)]
#[path = "../../src/sys/mod.rs"]
mod sys;
#[allow(dead_code)]
#[path = "../../src/units.rs"]
mod units;

use settings::option::{Effect, Form, Spec, PREFIX};
use settings::table::{OLD, OPTIONS};

const TEMPLATE: &str = include_str!("oom_guard.8.in");
const SOURCES: &str =
    concat!(include_str!("../../src/settings/table.rs"), include_str!("oom_guard.8.in"));
/// How wide a line of the page's source may be, for who reads a diff of it.
const WIDTH: usize = 80;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => print!("{}", page()),
        Some("--table") => OPTIONS.iter().for_each(|spec| println!("{}", row(spec))),
        Some("--sources") => print!("{SOURCES}"),
        Some(other) => panic!("{other}: there is only --table and --sources"),
    }
}

fn page() -> String {
    let options: String = OPTIONS.iter().map(|spec| heading(spec.section) + &entry(spec)).collect();
    TEMPLATE.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@OPTIONS@\n", &options)
}

fn row(spec: &Spec) -> String {
    let kind = match spec.effect {
        Effect::Switch(_) => "switch",
        Effect::Value(..) => "value",
        Effect::Pattern(_) => "pattern",
        Effect::Config => "config",
        Effect::Task(_) => "task",
        Effect::Nothing => "obsolete",
    };
    [spec.spelled, spec.key, kind, spec.default].join("\t")
}

fn heading(section: &str) -> String {
    match section {
        "" => String::new(),
        OLD => format!(".SS {OLD}\nThese are understood, too.\n"),
        _ => format!(".SS {section}\n"),
    }
}

fn entry(spec: &Spec) -> String {
    let tag: Vec<_> = spec.spellings().map(bold).collect();
    let value = match spec.form() {
        Form("", _) => String::new(),
        Form(name, _) => format!(" {}", with_names(name)),
    };
    let (tag, help) = (tag.join(", "), sentence(spec.help, spec));
    format!(".TP\n{tag}{value}\n{help}{}", default_and_key(spec))
}

fn default_and_key(spec: &Spec) -> String {
    let default = match spec.default {
        "" => String::new(),
        default => format!("Default: {}.\n", escaped(default)),
    };
    let only = match spec.effect {
        Effect::Config => ", in the environment alone",
        _ => "",
    };
    match spec.key {
        "" => String::new(),
        key => format!(".br\n{default}Key: {}{only}.\n", bold(&format!("{PREFIX}{key}"))),
    }
}

/// A help text begins small and has no full stop.
fn sentence(help: &str, spec: &Spec) -> String {
    let words: Vec<_> = help.split(' ').map(|text| word(text, spec)).collect();
    let (first, rest) = words[0].split_at(1);
    let mut lines = first.to_uppercase() + rest;
    let mut column = lines.len();
    for word in &words[1..] {
        let fits = column + 1 + word.len() <= WIDTH;
        lines.extend([if fits { " " } else { "\n" }, word]);
        column = if fits { column + 1 } else { 0 } + word.len();
    }
    lines + ".\n"
}

/// A word of a help text: options are set bold, and names of values italic.
fn word(text: &str, spec: &Spec) -> String {
    let core = text.trim_matches(['(', ')', ',', ';', ':'].as_slice());
    let (before, after) = text.split_once(core).unwrap_or((text, ""));
    let name = core.trim_start_matches('-');
    let dashes = core.len() - name.len();
    let is_name = |name| {
        let Form(all, _) = spec.form();
        all.split(|c: char| !c.is_ascii_uppercase()).any(|other| !other.is_empty() && other == name)
    };
    let core = if is_name(name) {
        format!("{}{}", escaped(&core[..dashes]), with_names(name))
    } else if dashes > 0 && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        bold(core)
    } else {
        escaped(core)
    };
    format!("{before}{core}{after}")
}

/// `PERCENT[,KILL]` with its names set italic.
fn with_names(value: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in value.chars() {
        if c.is_ascii_uppercase() != inside {
            text += if inside { "\\fR" } else { "\\fI" };
            inside = !inside;
        }
        text.push(c);
    }
    text + if inside { "\\fR" } else { "" }
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// Text that says what it says in whatever place. A dash is as it is typed, where it is no
/// hyphen between two words of prose.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    match text.chars().next() {
        Some('-' | '/') => text.replace('-', "\\-"),
        // A line that begins with one of these is a request.
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}
