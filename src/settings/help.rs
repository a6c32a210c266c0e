//! The text of `--help`, from the table: one screen of common options, or all of them.

use super::option::{Form, Spec};
use super::table::{OLD, OPTIONS};
use std::fmt::Write;

const HEAD: &str = "Usage: oom_guard [OPTION]...
Ends the right process when memory and swap are low, before the machine freezes.
";
const MORE: &str = "
PATTERN is [FIELD:][glob:]TEXT; FIELD is name, cmd, exe, user or cgroup.
All options: oom_guard --help all
";
const TAIL: &str = "
PATTERN is [FIELD:][glob:]TEXT; FIELD is name (unless given), cmd, exe, user or cgroup; TEXT
is a regular expression searched anywhere in it, or a glob for all of it.
SIZE is in KiB, or has a binary suffix K, M, G or T.
Exit status: 0 fine, 1 cannot run, 2 wrong usage.
";

pub fn help(all: bool) -> String {
    let mut text = String::from(HEAD);
    if !all {
        text.push('\n');
    }
    for spec in OPTIONS.iter().take_while(|spec| spec.section != OLD) {
        if all && !spec.section.is_empty() {
            let _ = writeln!(text, "\n{}:", spec.section);
        }
        if all || spec.common {
            push(&mut text, spec, all);
        }
    }
    text + if all { TAIL } else { MORE }
}

/// Columns of the spellings, and of a line.
const SCREEN: (usize, usize) = (27, 80);
const WHOLE: (usize, usize) = (29, 90);

fn push(text: &mut String, spec: &Spec, all: bool) {
    let ((left, width), help) = if all { (WHOLE, spec.help) } else { (SCREEN, spec.brief()) };
    let mut line = String::from(" ");
    // On one screen, without old spellings.
    for spelling in spec.spellings().take(if all { usize::MAX } else { 2 }) {
        line = line + " " + spelling + ",";
    }
    line.pop();
    let Form(value, _) = spec.form();
    if !value.is_empty() {
        line = line + " " + value;
    }
    let mut help = String::from(help);
    if !spec.default.is_empty() {
        let _ = write!(help, " (default: {})", spec.default);
    }
    let mut is_full = line.len() > left;
    for word in help.split(' ') {
        if is_full || line.len() + word.len() >= width {
            let _ = writeln!(text, "{line}");
            line.clear();
            is_full = false;
        }
        while line.len() < left {
            line.push(' ');
        }
        line = line + " " + word;
    }
    let _ = writeln!(text, "{line}");
}
