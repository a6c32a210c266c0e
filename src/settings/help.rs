//! The text of `--help`, from the table.

use super::option::{Form, Spec};
use super::table::{OLD, SECTIONS};

const HEAD: &str = "Usage: oom_guard [OPTION]...
Ends the right process before memory runs out, so that the machine does not freeze.
";
const TAIL: &str = "
PATTERN is [FIELD:][glob:]TEXT; FIELD is name (unless given), cmd, exe, user or cgroup; TEXT
is a regular expression searched anywhere in it, or a glob for all of it.
SIZE is in KiB, or has a binary suffix K, M, G or T.
Exit status: 0 fine, 1 cannot run, 2 wrong usage.
";

pub fn help() -> String {
    let mut text = String::from(HEAD);
    for (title, options) in SECTIONS.iter().filter(|(title, _)| *title != OLD) {
        text = text + "\n" + title + ":\n";
        options.iter().for_each(|spec| push(&mut text, spec));
    }
    text + TAIL
}

/// Columns of the spellings, and of a line.
const LEFT: usize = 29;
const WIDTH: usize = 90;

fn push(text: &mut String, spec: &Spec) {
    let mut line = format!("  {}", spec.spelled.replace(' ', ", "));
    let Form(value, _) = spec.form();
    if !value.is_empty() {
        line = line + " " + value;
    }
    let default = match spec.default {
        "" => String::new(),
        default => format!(" (default: {default})"),
    };
    let help = format!("{}{default}", spec.help);
    let mut is_full = line.len() > LEFT;
    for word in help.split(' ') {
        if is_full || line.len() + word.len() >= WIDTH {
            *text += &line;
            text.push('\n');
            line.clear();
            is_full = false;
        }
        line = format!("{line:<LEFT$} {word}");
    }
    *text += &line;
    text.push('\n');
}
