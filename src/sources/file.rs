//! The text of a configuration file: lines of `KEY=VALUE`, in the part of their languages
//! that a shell, systemd's `EnvironmentFile=` and OpenRC's `conf.d` read alike
//! (systemd.exec(5), sh(1)). What they would read differently is refused.

use super::{is_for_hooks, unknown, ConfigFile, Given, Tell};
use crate::bytes::{self, Escaped};
use crate::options::{self, Effect, PREFIX};
use std::rc::Rc;

const NO_SETTING: &str = "this is no line KEY=VALUE; a comment begins with #";
const NO_KEY: &str = "is no key: letters, digits and _, with = right behind";
const BLANK: &str = "has a blank behind =; write KEY=VALUE without";
const RETURN: &str = "ends with a carriage return; save the file with Unix line ends";
const NUL: &str = "holds a NUL byte";
const UNCLOSED: &str = "has a quote that is not closed in its line";
const BEHIND_QUOTE: &str =
    "goes on behind the closing quote; quote the whole value, and give a comment its own line";
const NOT_PLAIN: &str = "has a character that needs quotes; write KEY='VALUE'";
const NOT_LITERAL: &str =
    "has $, ` or \\ in double quotes, which a shell would change; use single quotes";
const FOR_HOOKS: &str = "is what hooks are told, and no setting";
const NESTED: &str = "a file cannot name another one; use -c for each";

/// Goes through a file from setting to setting.
pub struct Reader<'a> {
    file: &'a ConfigFile,
    rest: &'a [u8],
    number: usize,
    /// Of each setting that was found, and its line.
    keys: Vec<(&'a [u8], usize)>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a ConfigFile, text: &'a [u8]) -> Reader<'a> {
        Reader { file, rest: text, number: 0, keys: Vec::new() }
    }

    /// The next setting; what is wrong up to there is told, line by line.
    pub fn next(&mut self, tell: Tell<'_>) -> Option<Rc<Given>> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            let line = bytes::trim(&self.rest[..end.unwrap_or(self.rest.len())]);
            self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
            self.number += 1;
            if line.is_empty() || line == b"\r" || line[0] == b'#' {
                continue;
            }
            let given = self.setting(line.strip_prefix(b"export ").map_or(line, bytes::trim), tell);
            if given.is_some() {
                return given;
            }
        }
        None
    }

    /// What one line gives, if it is right and for the guard.
    fn setting(&mut self, line: &'a [u8], tell: Tell<'_>) -> Option<Rc<Given>> {
        let (name, number) = (self.file.name(), self.number);
        let Some(end @ 1..) = line.iter().position(|&byte| byte == b'=') else {
            tell(format_args!("{name}:{number}: {NO_SETTING}"));
            return None;
        };
        let (key, value) = (&line[..end], literal(&line[end + 1..]));
        let place = format!("{name}:{number}: {}", Escaped(key));
        if !is_key(key) {
            return wrong(tell, &place, NO_KEY);
        }
        let Some(name) = key.strip_prefix(PREFIX.as_bytes()) else {
            // A file for a service's script as well may hold keys of others, but no slips of
            // ours.
            return match options::nearest_prefixed(key) {
                // Its next lines would look like lines of their own.
                None if value == Err(UNCLOSED) => wrong(tell, &place, UNCLOSED),
                None => None,
                nearest => unknown(tell, &place, nearest),
            };
        };
        let Some(spec) = options::by_key(name) else {
            return match is_for_hooks(name) {
                true => wrong(tell, &place, FOR_HOOKS),
                false => unknown(tell, &place, options::nearest_key(name)),
            };
        };
        if let Effect::Config = spec.effect {
            return wrong(tell, &place, NESTED);
        }
        if let Some((_, first)) = self.keys.iter().find(|(other, _)| *other == key) {
            tell(format_args!(
                "{place}: stands in line {first} already, and other readers would take the last \
                 one (further patterns are numbered: {PREFIX}IGNORE_2)"
            ));
            return None;
        }
        match value {
            Err(what) => wrong(tell, &place, what),
            Ok(value) => {
                self.keys.push((key, number));
                Some(Given::new(spec, Some(value), place))
            }
        }
    }
}

fn wrong(tell: Tell<'_>, place: &str, what: &str) -> Option<Rc<Given>> {
    tell(format_args!("{place}: {what}"));
    None
}

fn is_key(key: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    key.first().is_some_and(|first| !first.is_ascii_digit()) && key.iter().all(is_part)
}

/// What stands behind `=`, without its quotes. Blanks at its end are gone already.
fn literal(text: &[u8]) -> Result<&[u8], &'static str> {
    if text.contains(&0) {
        return Err(NUL);
    }
    if text.ends_with(b"\r") {
        return Err(RETURN);
    }
    match text.first() {
        Some(b' ' | b'\t') => Err(BLANK),
        Some(quote @ (b'\'' | b'"')) => {
            let inside = &text[1..];
            let end = inside.iter().position(|byte| byte == quote).ok_or(UNCLOSED)?;
            let (inside, behind) = (&inside[..end], &inside[end + 1..]);
            if *quote == b'"' && inside.iter().any(|byte| b"$`\\".contains(byte)) {
                return Err(NOT_LITERAL);
            }
            behind.is_empty().then_some(inside).ok_or(BEHIND_QUOTE)
        }
        _ => text.iter().all(|&byte| is_plain(byte)).then_some(text).ok_or(NOT_PLAIN),
    }
}

/// What all readers take as it is outside quotes.
pub fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:,@%+=^".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let mut refusals = Vec::new();
        let file = ConfigFile::parse(b"F");
        let tell: Tell<'_> = &mut |line| refusals.push(line.to_string());
        let mut reader = Reader::new(&file, text.as_bytes());
        let found: Vec<_> = std::iter::from_fn(|| reader.next(tell)).collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let pair = |given: &Rc<Given>| {
            let value = String::from_utf8(given.text.clone().unwrap()).unwrap();
            (given.spec.key.to_string(), value)
        };
        Ok(found.iter().map(pair).collect())
    }

    #[test]
    fn what_all_readers_understand_alike_is_taken() {
        for (line, value) in [
            ("OOM_GUARD_IGNORE=sshd", "sshd"),
            ("  OOM_GUARD_IGNORE=sshd  ", "sshd"),
            ("export OOM_GUARD_IGNORE=sshd", "sshd"),
            ("OOM_GUARD_IGNORE='(a|b) \\d$ \" # x'", "(a|b) \\d$ \" # x"),
            ("OOM_GUARD_IGNORE=\"it's (a|b)\"", "it's (a|b)"),
            ("OOM_GUARD_IGNORE_12='x' ", "x"),
            ("OOM_GUARD_IGNORE=''", ""),
            ("OOM_GUARD_IGNORE=", ""),
        ] {
            let wanted = vec![(String::from("IGNORE"), String::from(value))];
            assert_eq!(read(line), Ok(wanted), "{line}");
        }
        assert_eq!(read("# OOM_GUARD_X\n\n\t\nrc_need='a'$B\nOTHER=1\r\n"), Ok(vec![]));
    }

    #[test]
    fn what_they_would_read_differently_is_refused_with_file_line_and_key() {
        for (line, what) in [
            ("OOM_GUARD_IGNORE=a b", NOT_PLAIN),
            ("OOM_GUARD_IGNORE=a # b", NOT_PLAIN),
            ("OOM_GUARD_IGNORE=(a|b)", NOT_PLAIN),
            ("OOM_GUARD_IGNORE=a\\", NOT_PLAIN),
            ("OOM_GUARD_IGNORE=a'b'", NOT_PLAIN),
            ("OOM_GUARD_IGNORE= a", BLANK),
            ("OOM_GUARD_IGNORE='a", UNCLOSED),
            ("OOM_GUARD_IGNORE=\"a", UNCLOSED),
            ("OOM_GUARD_IGNORE='a' # b", BEHIND_QUOTE),
            ("OOM_GUARD_IGNORE='a''b'", BEHIND_QUOTE),
            ("OOM_GUARD_IGNORE=\"a$b\"", NOT_LITERAL),
            ("OOM_GUARD_IGNORE=a\r", RETURN),
            ("OOM_GUARD_IGNORE=a\0", NUL),
            ("OOM_GUARD_PID=1", FOR_HOOKS),
        ] {
            let key = line.split('=').next().unwrap();
            assert_eq!(read(&format!("#\n{line}")), Err(vec![format!("F:2: {key}: {what}")]));
        }
        for line in ["hello", "=1"] {
            assert_eq!(read(line), Err(vec![format!("F:1: {NO_SETTING}")]));
        }
        assert_eq!(read("OOM_GUARD_X =1"), Err(vec![format!("F:1: OOM_GUARD_X : {NO_KEY}")]));
    }

    #[test]
    fn slips_find_their_key_and_keys_of_others_pass() {
        for (line, key) in [
            ("OOM_GUARD_MEM=1", "MEM_THRESHOLD"),
            ("OOM_GUARD_DRYRUN=1", "DRY_RUN"),
            ("OOM_GUARD_GRACES=1", "GRACE"),
            ("OOM_GAURD_GRACE=1", "GRACE"),
            ("oom_guard_grace=1", "GRACE"),
            ("OOM_GAURD_ONLY_2=a", "ONLY"),
            ("oom_guard_avoid_10=a", "AVOID"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said[0].ends_with(&format!("did you mean OOM_GUARD_{key}?")), "{said:?}");
        }
        assert_eq!(read("OOM_SCORE_ADJ=1\nEARLYOOM_ARGS='-r 1'"), Ok(vec![]));
    }

    #[test]
    fn a_key_stands_once() {
        let said = read("OOM_GUARD_GRACE=1\nOOM_GUARD_GRACE=2").unwrap_err();
        assert!(said[0].starts_with("F:2: OOM_GUARD_GRACE: stands in line 1 already"), "{said:?}");
        assert!(read("OOM_GUARD_IGNORE=a\nOOM_GUARD_IGNORE_2=b").is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        assert_eq!(read("x\nOOM_GUARD_Y=1\nOOM_GUARD_GRACE=1\n'").unwrap_err().len(), 3);
    }
}
