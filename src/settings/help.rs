//! The text of `--help`, from the table.

use super::option::{Form, Spec};
use super::table::SECTIONS;

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
    for (title, options) in &SECTIONS {
        text = text + "\n" + title + ":\n";
        options.iter().for_each(|spec| push(&mut text, spec));
    }
    text + TAIL
}

/// Where the explanations begin, and where lines end, in columns.
const INDENT: usize = 30;
const WIDTH: usize = 90;

fn push(text: &mut String, spec: &Spec) {
    let Form(value, _) = spec.form();
    let blank = if value.is_empty() { "" } else { " " };
    let mut line = format!("  {}{blank}{value}", spec.spelled.replace(' ', ", "));
    let mut help = String::from(spec.help);
    if !spec.default.is_empty() {
        help = help + " (default: " + spec.default + ")";
    }
    let mut is_full = line.len() >= INDENT;
    for word in help.split(' ') {
        if is_full || line.len() + word.len() >= WIDTH {
            *text += &line;
            text.push('\n');
            line.clear();
            is_full = false;
        }
        while line.len() < INDENT - 1 {
            line.push(' ');
        }
        line = line + " " + word;
    }
    *text += &line;
    text.push('\n');
}
