//! The text of `--help`, from the table.

use super::option::{Form, Spec};
use super::table::{OLD, OPTIONS};
use std::fmt::Write;

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
    for spec in OPTIONS.iter().take_while(|spec| spec.section != OLD) {
        if !spec.section.is_empty() {
            let _ = writeln!(text, "\n{}:", spec.section);
        }
        push(&mut text, spec);
    }
    text + TAIL
}

/// Columns of the spellings, and of a line.
const LEFT: usize = 29;
const WIDTH: usize = 90;

fn push(text: &mut String, spec: &Spec) {
    let mut line = String::from(" ");
    for spelling in spec.spellings() {
        line = line + " " + spelling + ",";
    }
    line.pop();
    let Form(value, _) = spec.form();
    if !value.is_empty() {
        line = line + " " + value;
    }
    let mut help = String::from(spec.help);
    if !spec.default.is_empty() {
        let _ = write!(help, " (default: {})", spec.default);
    }
    let mut is_full = line.len() > LEFT;
    for word in help.split(' ') {
        if is_full || line.len() + word.len() >= WIDTH {
            let _ = writeln!(text, "{line}");
            line.clear();
            is_full = false;
        }
        while line.len() < LEFT {
            line.push(' ');
        }
        line = line + " " + word;
    }
    let _ = writeln!(text, "{line}");
}
