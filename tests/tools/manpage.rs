//! The man pages, from the same table of options as `--help`, for `scripts/man.sh`.
//!
//! ```text
//! manpage            oom_guard(8): `oom_guard.8.in` with the options in it, and with what
//!                    `options.in` adds to each
//! manpage --conf     oom_guard.conf(5): `oom_guard.conf.5.in` with the keys in it
//! manpage --table    for the tests, a line for each option: spellings, key, kind and default,
//!                    with tabs between them
//! manpage --sources  for the tests: what it was built from, since an old build makes an old page
//! ```
//!
//! The templates are written in the macros of man(7).

include!("table.rs");

use settings::option::{Effect, Form, Spec, PREFIX};
use settings::table::{OLD, OPTIONS};

const PAGE: &str = include_str!("oom_guard.8.in");
const CONF: &str = include_str!("oom_guard.conf.5.in");
/// A block for each option: a line `@ SPELLING`, text for behind its help, and after a line
/// `@ because` why its default is what it is.
const NOTES: &str = include_str!("options.in");
const SOURCES: &str = concat!(
    include_str!("../../src/settings/table.rs"),
    include_str!("oom_guard.8.in"),
    include_str!("oom_guard.conf.5.in"),
    include_str!("options.in")
);
/// How wide a line of the page's source may be, so that a diff of it is easy to read.
const WIDTH: usize = 80;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => print!("{}", page()),
        Some("--conf") => print!("{}", conf()),
        Some("--table") => OPTIONS.iter().for_each(|spec| println!("{}", row(spec))),
        Some("--sources") => print!("{SOURCES}"),
        Some(other) => panic!("{other}: there is only --conf, --table and --sources"),
    }
}

fn page() -> String {
    let notes = notes();
    for [name, ..] in &notes {
        assert!(OPTIONS.iter().any(|spec| has_name(spec, name)), "options.in: --{name}");
    }
    let options: String =
        OPTIONS.iter().map(|spec| heading(spec.section) + &entry(spec, &notes)).collect();
    with_version(PAGE).replace("@OPTIONS@\n", &options)
}

fn conf() -> String {
    let keyed = OPTIONS.iter().filter(|spec| !spec.key.is_empty());
    let keys: String = keyed
        .map(|spec| match spec.section {
            "" => setting(spec),
            section => format!(".SS {section}\n{}", setting(spec)),
        })
        .collect();
    with_version(CONF).replace("@KEYS@\n", &keys)
}

fn with_version(template: &str) -> String {
    template.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// Name of the option, text, and the reason of its default.
fn notes() -> Vec<[&'static str; 3]> {
    let blocks = NOTES.split("@ --").skip(1);
    blocks
        .map(|block| {
            let (name, body) = block.split_once('\n').expect("a line");
            let (text, because) = body.split_once("@ because\n").unwrap_or((body, ""));
            [name, text, because]
        })
        .collect()
}

fn has_name(spec: &Spec, name: &str) -> bool {
    spec.spellings().any(|spelling| spelling.strip_prefix("--") == Some(name))
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

fn entry(spec: &Spec, notes: &[[&str; 3]]) -> String {
    let note = notes.iter().find(|[name, ..]| has_name(spec, name));
    let [_, text, because] = note.copied().unwrap_or_default();
    let value = match spec.form() {
        Form("", _) => String::new(),
        Form(name, _) => format!(" {}", with_names(name)),
    };
    let (tag, help) = (spellings(spec), sentence(spec.help, spec));
    let default = default(spec);
    let default = if default.is_empty() { default } else { format!(".br\n{default}{because}") };
    let only = match spec.effect {
        Effect::Config => ", in the environment alone",
        _ => "",
    };
    let key = match spec.key {
        "" => String::new(),
        key => format!(".br\nKey: {}{only}.\n", bold(&format!("{PREFIX}{key}"))),
    };
    format!(".TP\n{tag}{value}\n{help}{text}{default}{key}")
}

/// What a file may say.
fn setting(spec: &Spec) -> String {
    let key = bold(&format!("{PREFIX}{}=", spec.key));
    let value = match spec.form() {
        Form("", _) => format!("{}|{}", bold("true"), bold("false")),
        Form(name, _) => with_names(name),
    };
    let only = match spec.effect {
        Effect::Config => "In the environment alone.\n",
        _ => "",
    };
    let (tag, help, default) = (spellings(spec), sentence(spec.brief(), spec), default(spec));
    format!(".TP\n{key}{value}\n{tag}.\n{help}{only}{default}")
}

fn spellings(spec: &Spec) -> String {
    spec.spellings().map(bold).collect::<Vec<_>>().join(", ")
}

fn default(spec: &Spec) -> String {
    match spec.default {
        "" => String::new(),
        default => format!("Default: {}.\n", escaped(default)),
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
