//! The text of a configuration file: lines of `KEY=VALUE`, in the part of their languages
//! that a shell, systemd's `EnvironmentFile=` and OpenRC's `conf.d` read alike
//! (systemd.exec(5), sh(1)). What they would read differently is refused.

use super::find;
use super::given::Given;
use super::option::{Effect, PREFIX};
use super::value::Mistake;
use crate::bytes::{self, Escaped};

const NO_SETTING: &str = "this is no line KEY=VALUE; a comment begins with #";
const NO_KEY: &str = "is no key: letters, digits and _, with = right behind";
const BLANK: &str = "has a blank behind =; write KEY=VALUE without";
const RETURN: &str = "ends with a carriage return; save the file with Unix line ends";
const NUL: &str = "holds a NUL byte";
const UNCLOSED: &str = "has a quote that is not closed in its line";
const GOES_ON: &str = "goes on in the next line: close each quote in its line, and end with no \\";
const BEHIND_QUOTE: &str =
    "goes on behind the closing quote; quote the whole value, and give a comment its own line";
const NOT_PLAIN: &str = "has a character that needs quotes; write KEY='VALUE'";
const NOT_LITERAL: &str =
    "has $, ` or \\ in double quotes, which a shell would change; use single quotes";
const FOR_HOOKS: &str = "is what hooks are told, and no setting";
const NESTED: &str = "a file cannot name another one; use -c for each";

/// What the text of a file gives, setting by setting, and what is wrong with it, line by line.
/// The file is shown by its `name`.
pub fn settings<'a>(
    name: Escaped<'a>,
    text: &'a [u8],
) -> impl Iterator<Item = Result<Given, Mistake>> + 'a {
    let mut keys = Vec::new();
    text.split(|&byte| byte == b'\n').enumerate().filter_map(move |(before, line)| {
        let line = bytes::trim(line);
        if line.is_empty() || line == b"\r" || line[0] == b'#' {
            return None;
        }
        let line = line.strip_prefix(b"export ").map_or(line, bytes::trim);
        setting(line, before + 1, &name, &mut keys).transpose()
    })
}

/// What one line gives, if it is right and for the guard. `keys` are those before it, each with
/// its line.
fn setting<'a>(
    line: &'a [u8],
    number: usize,
    name: &Escaped<'_>,
    keys: &mut Vec<(&'a [u8], usize)>,
) -> Result<Option<Given>, Mistake> {
    let Some(end @ 1..) = line.iter().position(|&byte| byte == b'=') else {
        return Err(format!("{name}:{number}: {NO_SETTING}"));
    };
    let (key, value) = (&line[..end], literal(&line[end + 1..]));
    let place = format!("{name}:{number}: {}", Escaped(key));
    let wrong = |what: &str| format!("{place}: {what}");
    if !is_key(key) {
        return Err(wrong(NO_KEY));
    }
    let Some(name) = key.strip_prefix(PREFIX.as_bytes()) else {
        // A file for a service's script as well may hold keys of others, but no slips of ours.
        return match find::slip(key, &place) {
            Some(slip) => Err(slip),
            // The next lines would look like lines of their own.
            None if goes_on(&line[end + 1..]) => Err(wrong(GOES_ON)),
            None => Ok(None),
        };
    };
    if is_for_hooks(name) {
        return Err(wrong(FOR_HOOKS));
    }
    let spec = find::setting(name, &place)?;
    if let Effect::Config = spec.effect {
        return Err(wrong(NESTED));
    }
    if let Some((_, first)) = keys.iter().find(|(other, _)| *other == key) {
        return Err(wrong(&format!(
            "stands in line {first} already, and other readers would take the last one \
             (further patterns are numbered: {PREFIX}IGNORE_2)"
        )));
    }
    let text = value.map_err(wrong)?.to_vec();
    keys.push((key, number));
    Ok(Some(Given { spec, text, place }))
}

/// What hooks are told, after `PREFIX`; never settings.
pub fn is_for_hooks(name: &[u8]) -> bool {
    HOOK_VARIABLES.iter().any(|variable| variable.as_bytes() == name)
}

/// But for `CGROUP`, which is a setting as well.
const HOOK_VARIABLES: [&str; 12] = [
    "PID", "NAME", "RSS", "SCORE", "SWAP", "UID", "ADJ", "CMDLINE", "SIGNAL", "REASON", "ACTION",
    "SERVICE",
];

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

/// Whether a shell or systemd reads on behind the end of a line with this value: within quotes, or
/// after a backslash, which to systemd counts in a comment behind a value, too.
fn goes_on(text: &[u8]) -> bool {
    let (mut quote, mut before, mut rest) = (None, b'=', text.iter());
    while let Some(&byte) = rest.next() {
        match (quote, byte) {
            (None, b'#') if matches!(before, b' ' | b'\t') => return text.ends_with(b"\\"),
            (Some(open), _) if open == byte => quote = None,
            (None | Some(b'"' | b'`'), b'\\') if rest.next().is_none() => return true,
            (None, b'\'' | b'"' | b'`') => quote = Some(byte),
            _ => {}
        }
        before = byte;
    }
    quote.is_some()
}

/// What all readers take as it is outside quotes.
pub fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:,@%+=^".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let (mut settings, mut mistakes) = (Vec::new(), Vec::new());
        for found in super::settings(Escaped(b"F"), text.as_bytes()) {
            match found {
                Ok(Given { spec, text, .. }) => {
                    settings.push((spec.key.to_string(), String::from_utf8(text).unwrap()));
                }
                Err(mistake) => mistakes.push(mistake.to_string()),
            }
        }
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(mistakes)
        }
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
    fn a_line_of_others_ends_where_it_ends_for_other_readers() {
        for value in
            ["a # b\\", "a\\", "'a", "a'b", "'a'\"b", "\"a\\\"", "\"a\\", "`a", "a\\'b'c", "a 'b"]
        {
            let said = read(&format!("A={value}\nOOM_GUARD_GRACE=1\nB='{value}"));
            assert_eq!(said.unwrap_err()[0], format!("F:1: A: {GOES_ON}"), "{value}");
        }
        for value in
            ["a\\ b", "'a\\'", "\"a'b\"", "a\\\\", "\"\\\"\"", "`a 'b`", "a # it's", "'a' # b"]
        {
            let said = read(&format!("A={value}\nOOM_GUARD_GRACE=1"));
            assert_eq!(said, Ok(vec![("GRACE".to_string(), "1".to_string())]), "{value}");
        }
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
