//! The settings in force, in the form of a configuration file, for `--check`.

use super::file::is_plain;
use super::given::Given;
use super::option::{Effect, PREFIX};
use super::source::Sources;
use super::table::OPTIONS;
use crate::bytes::{is_treacherous, Escaped};
use std::fmt::Write;

/// Columns of a setting, before the place where it stands.
const WIDTH: usize = 42;

impl Sources {
    /// Which files there are, and what is `in_force`.
    pub fn shown(&self, in_force: &[Given]) -> String {
        let mut text = String::new();
        for file in &self.files {
            let there_or_not = if file.exists() { "read" } else { "not there" };
            let _ = writeln!(text, "configuration: {}: {there_or_not}", file.name());
        }
        text.push_str("settings in force:\n");
        for spec in &OPTIONS {
            if spec.key.is_empty() || matches!(spec.effect, Effect::Config) {
                continue;
            }
            let mut number = 0;
            for given in in_force.iter().filter(|given| given.spec.key == spec.key) {
                number += 1;
                let start = text.len();
                let _ = write!(text, "  {PREFIX}{}", spec.key);
                if number > 1 {
                    let _ = write!(text, "_{number}");
                }
                write_value(&mut text, &given.text);
                while text.len() < start + WIDTH {
                    text.push(' ');
                }
                let _ = writeln!(text, " # {}", given.place);
            }
            let is_replaced = in_force.iter().any(|given| given.spec.subject() == spec.subject());
            if !is_replaced && !spec.default.is_empty() {
                let _ = writeln!(text, "  # {PREFIX}{}: {} (default)", spec.key, spec.default);
            }
        }
        text
    }
}

/// `=VALUE` as a configuration file has it; what would end a line or steer a terminal is
/// escaped.
fn write_value(text: &mut String, value: &[u8]) {
    let quote = match value {
        _ if value.iter().all(|&byte| is_plain(byte)) => "",
        _ if value.contains(&b'\'') => "\"",
        _ => "'",
    };
    let _ = match std::str::from_utf8(value) {
        Ok(value) if !value.chars().any(is_treacherous) => write!(text, "={quote}{value}{quote}"),
        _ => write!(text, "={quote}{}{quote}", Escaped(value)),
    };
}
