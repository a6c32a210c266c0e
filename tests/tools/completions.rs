//! Completions for shells, from the same table of options as `--help`, for `scripts/man.sh`.
//!
//! ```text
//! completions bash|zsh|fish
//! completions --sources      for the tests: what it was built from
//! ```

include!("table.rs");

use settings::option::{Effect, Form, Spec, Task};
use settings::table::{OLD, OPTIONS};

const SOURCES: &str = include_str!("../../src/settings/table.rs");
/// What a pattern may begin with.
const FIELDS: &str = "name: cmd: exe: user: cgroup:";
/// A description is one line of a list.
const WIDTH: usize = 66;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("bash") => print!("{}", bash()),
        Some("zsh") => print!("{}", zsh()),
        Some("fish") => print!("{}", fish()),
        Some("--sources") => print!("{SOURCES}"),
        other => panic!("{other:?}: there is only bash, zsh, fish and --sources"),
    }
}

fn shown() -> impl Iterator<Item = &'static Spec> {
    OPTIONS.iter().take_while(|spec| spec.section != OLD)
}

/// What may stand behind an option.
enum Value {
    Nothing,
    /// A number or a name, which no list could hold.
    Free,
    Words(String),
    Pattern,
    File,
    FileOrNone,
    Directory,
    /// It may be left out.
    All,
}

impl Value {
    fn of(spec: &Spec) -> Value {
        let Form(name, expects) = spec.form();
        match (&spec.effect, *name) {
            (Effect::Task(Task::Help), _) => Value::All,
            (Effect::Pattern(_), _) => Value::Pattern,
            (Effect::Config, _) => Value::FileOrNone,
            (_, "") => Value::Nothing,
            (_, "WHAT") => Value::Words(words(expects)),
            (_, "SCRIPT") => Value::File,
            (_, "PATH") if spec.key == "CGROUP" => Value::Directory,
            (_, "PATH") => Value::File,
            _ => Value::Free,
        }
    }
}

/// Of "memory, limit or both" the words that can be given.
fn words(expects: &str) -> String {
    let words = expects.split([' ', ',']).filter(|word| !["", "or"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// The first part of the help, in one line.
fn description(spec: &Spec) -> &'static str {
    let brief = spec.brief();
    if brief.len() <= WIDTH {
        return brief;
    }
    // At a comma, or between two words.
    let end = brief[..WIDTH].rfind(", ").or_else(|| brief[..WIDTH].rfind(' '));
    &brief[..end.unwrap_or(WIDTH)]
}

/// In single quotes of any shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn comment(shell: &str) -> String {
    format!(
        "# Completion of the options of oom_guard for {shell}. Made by scripts/man.sh from the table of\n\
         # options, src/settings/table.rs: change that.\n"
    )
}

// ---- bash ----

fn bash() -> String {
    let labels = |is: fn(&Value) -> bool| {
        let all = shown().filter(|spec| is(&Value::of(spec))).flat_map(Spec::spellings);
        all.collect::<Vec<_>>().join(" | ")
    };
    let mut cases = String::new();
    let mut case = |labels: String, body: &str| {
        cases += &format!("    {labels})\n        {body}\n        ;;\n");
    };
    case(labels(|value| matches!(value, Value::Free)), "COMPREPLY=()");
    for spec in shown() {
        if let Value::Words(words) = Value::of(spec) {
            let labels = spec.spellings().collect::<Vec<_>>().join(" | ");
            case(labels, &offer(&format!("-W {}", quoted(&words))));
        }
    }
    case(
        labels(|value| matches!(value, Value::Pattern)),
        &format!("compopt -o nospace\n        {}", offer(&format!("-W {}", quoted(FIELDS)))),
    );
    case(labels(|value| matches!(value, Value::File)), &offer_files("-f"));
    case(labels(|value| matches!(value, Value::FileOrNone)), &offer_files("-W none -f"));
    case(labels(|value| matches!(value, Value::Directory)), &offer_files("-d"));
    case(labels(|value| matches!(value, Value::All)), &offer("-W all"));
    let options: Vec<_> = shown().flat_map(Spec::spellings).collect();
    case("*".into(), &offer(&format!("-W '{}'", options.join(" "))));
    format!(
        "# shellcheck shell=bash\n{}\n\
         _oom_guard() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}}
    # --option=value is three words.
    if [[ $word == '=' ]]; then
        word=
    elif [[ $option == '=' ]]; then
        option=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case $option in
{cases}    esac
}}

complete -F _oom_guard oom_guard
",
        comment("bash")
    )
}

/// What begins with the word, of what `compgen` makes by these `actions`.
fn offer(actions: &str) -> String {
    format!("mapfile -t COMPREPLY < <(compgen {actions} -- \"$word\")")
}

/// The same of files, behind whose names a directory goes on.
fn offer_files(actions: &str) -> String {
    format!("compopt -o filenames\n        {}", offer(actions))
}

// ---- zsh ----

fn zsh() -> String {
    let specs: Vec<_> = shown().map(zsh_option).collect();
    format!(
        "#compdef oom_guard\n{}
_oom_guard_pattern() {{
    compadd -S '' -- {FIELDS}
}}

_oom_guard_file() {{
    _files
    compadd -- none
}}

_arguments -s -S \\
    {}
",
        comment("zsh"),
        specs.join(" \\\n    ")
    )
}

fn zsh_option(spec: &Spec) -> String {
    let Form(name, _) = spec.form();
    let value = match Value::of(spec) {
        Value::Nothing => String::new(),
        Value::Free => format!(":{name}: "),
        Value::Words(words) => format!(":{name}:({words})"),
        Value::Pattern => format!(":{name}:_oom_guard_pattern"),
        Value::File => format!(":{name}:_files"),
        Value::FileOrNone => format!(":{name}:_oom_guard_file"),
        Value::Directory => format!(":{name}:_files -/"),
        Value::All => "::all:(all)".into(),
    };
    // A value may stand behind `=`, or in the word of a short option.
    let takes_value = !matches!(Value::of(spec), Value::Nothing | Value::All);
    let ending = |spelling: &str| match (takes_value, spelling.starts_with("--")) {
        (true, true) => "=",
        (true, false) => "+",
        (false, _) => "",
    };
    let spellings: Vec<_> = spec.spellings().collect();
    let each = spellings.iter().map(|spelling| format!("{spelling}{}", ending(spelling)));
    let each = each.collect::<Vec<_>>().join(",");
    let rest = quoted(&format!("[{}]{value}", description(spec)));
    // One that may be repeated does not exclude itself.
    let is_repeated = matches!(spec.effect, Effect::Pattern(_) | Effect::Config);
    match (is_repeated, spellings.len()) {
        (true, 1) => format!("'*'{each}{rest}"),
        (true, _) => format!("'*'{{{each}}}{rest}"),
        (false, 1) => format!("{each}{rest}"),
        (false, _) => format!("'({})'{{{each}}}{rest}", spellings.join(" ")),
    }
}

// ---- fish ----

fn fish() -> String {
    let mut text = comment("fish") + "\ncomplete -c oom_guard -f\n";
    for spec in shown() {
        text += "complete -c oom_guard";
        for spelling in spec.spellings() {
            match spelling.strip_prefix("--") {
                Some(long) => text += &format!(" -l {long}"),
                None => text += &format!(" -s {}", &spelling[1..]),
            }
        }
        text += &match Value::of(spec) {
            Value::Nothing | Value::All => String::new(),
            Value::Free => " -x".into(),
            Value::Words(words) => format!(" -x -a '{words}'"),
            Value::Pattern => format!(" -x -a '{FIELDS}'"),
            Value::File => " -r -F".into(),
            Value::FileOrNone => " -r -F -a none".into(),
            Value::Directory => " -x -a '(__fish_complete_directories)'".into(),
        };
        // Within single quotes these two have a backslash before them.
        let description = description(spec).replace('\\', "\\\\").replace('\'', "\\'");
        text += &format!(" -d '{description}'\n");
        if matches!(Value::of(spec), Value::All) {
            let spellings: Vec<_> = spec.spellings().collect();
            text += &format!(
                "complete -c oom_guard -n 'contains -- (commandline -opc)[-1] {}' -a all -d 'every option'\n",
                spellings.join(" ")
            );
        }
    }
    text
}
