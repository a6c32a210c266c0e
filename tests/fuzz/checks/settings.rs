//! A configuration file means to the guard what it means to a shell and to systemd; all that is
//! taken can be written down again; and what is said about the rest is one line each.

use crate::bytes::Escaped;
use crate::settings::file::settings;
use crate::settings::Config;

/// A line, the key and the value.
type Assignment = (usize, String, Vec<u8>);

/// What the guard takes, and what it finds wrong.
fn read(text: &[u8]) -> (Vec<Assignment>, Vec<String>) {
    let (mut taken, mut wrong) = (Vec::new(), Vec::new());
    for found in settings(Escaped(b"F"), text) {
        match found {
            Ok(given) => {
                let mut place = given.place.splitn(3, ':');
                let mut part = || place.next().unwrap().trim();
                assert_eq!(part(), "F");
                taken.push((part().parse().unwrap(), part().to_string(), given.text.clone()));
                wrong.extend(given.apply(&mut Config::default()).err());
            }
            Err(mistake) => wrong.push(mistake),
        }
    }
    (taken, wrong)
}

fn line_of(said: &str) -> Option<usize> {
    said.strip_prefix("F:")?.split(':').next()?.parse().ok()
}

pub fn check(input: &[u8]) {
    let (taken, wrong) = read(input);
    let lines = input.split(|&byte| byte == b'\n').count();
    for said in &wrong {
        assert!(line_of(said).is_some_and(|line| (1..=lines).contains(&line)), "{said}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
    for (nth, (line, key, value)) in taken.iter().enumerate() {
        assert!((1..=lines).contains(line) && !value.contains(&b'\n') && !value.contains(&0));
        assert!(taken[..nth].iter().all(|(before, other, _)| before < line && other != key));
    }
    let mut written = Vec::new();
    for (_, key, value) in &taken {
        let quote = if value.contains(&b'\'') { b'"' } else { b'\'' };
        written.extend([key.as_bytes(), &[b'=', quote], value, &[quote, b'\n']].concat());
    }
    let (again, _) = read(&written);
    let kept = |taken: &[Assignment]| -> Vec<_> {
        taken.iter().map(|(_, key, value)| (key.clone(), value.clone())).collect()
    };
    assert_eq!(kept(&again), kept(&taken));
    check_others(&without(input, &wrong));
}

/// The text with its wrong lines emptied.
fn without(text: &[u8], wrong: &[String]) -> Vec<u8> {
    let is_wrong = |line: usize| wrong.iter().any(|said| line_of(said) == Some(line));
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let kept = lines.map(|(before, line)| if is_wrong(before + 1) { b"" } else { line });
    kept.collect::<Vec<_>>().join(&b'\n')
}

/// Of a file without mistakes: with one in it the whole file counts for nothing.
fn check_others(text: &[u8]) {
    let (taken, wrong) = read(text);
    assert_eq!(wrong, [""; 0], "each mistake is of its own line");
    let (assigned, known) = Shell::read(text);
    for setting in taken.iter().filter(|(line, ..)| *line < known) {
        assert!(assigned.contains(setting), "{setting:?} is not in {assigned:?}");
    }
    // A carriage return within a line ends it for systemd alone.
    let ends_lines = |pair: &[u8]| pair[0] != b'\r' || pair[1] == b'\n';
    if !text.contains(&0) && text.windows(2).all(ends_lines) {
        let assigned = systemd(text);
        for (line, key, value) in &taken {
            let is_it = |(other, read): &(String, Vec<u8>)| {
                // To systemd it belongs to the key, which then is none.
                other.strip_prefix("export").map_or(&other[..], str::trim) == key && read == value
            };
            assert!(assigned.iter().any(is_it), "{line}: {key} is not in {assigned:?}");
        }
    }
}

/// Reads as systemd does from version 254 on (`parse_env_file_internal` in src/basic/env-file.c).
fn systemd(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Line,
        Comment,
        Key,
        BeforeValue,
        Value,
        Quoted(u8),
    }
    let (mut assigned, mut at) = (Vec::new(), At::Line);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut bytes = text.iter().copied().chain([b'\n']);
    while let Some(byte) = bytes.next() {
        let is_end = matches!(byte, b'\n' | b'\r');
        at = match at {
            At::Line if matches!(byte, b'#' | b';') => At::Comment,
            At::Line if byte.is_ascii_whitespace() => At::Line,
            At::Comment | At::Key if is_end => At::Line,
            At::Comment => At::Comment,
            At::Key if byte == b'=' => At::BeforeValue,
            At::Line | At::Key => {
                if at == At::Line {
                    (key, value) = (Vec::new(), Vec::new());
                }
                key.push(byte);
                At::Key
            }
            At::BeforeValue | At::Value if is_end => {
                while at == At::Value && value.last().is_some_and(u8::is_ascii_whitespace) {
                    value.pop();
                }
                let key = String::from_utf8_lossy(&key).trim().to_string();
                assigned.push((key, value.clone()));
                At::Line
            }
            At::BeforeValue if matches!(byte, b'\'' | b'"') => At::Quoted(byte),
            At::BeforeValue if matches!(byte, b' ' | b'\t') => At::BeforeValue,
            At::BeforeValue | At::Value => {
                match byte {
                    b'\\' => {
                        value.extend(bytes.next().filter(|byte| !matches!(byte, b'\n' | b'\r')))
                    }
                    _ => value.push(byte),
                }
                At::Value
            }
            At::Quoted(quote) if byte == quote => At::BeforeValue,
            At::Quoted(b'"') if byte == b'\\' => {
                match bytes.next() {
                    Some(b'\n') | None => {}
                    Some(byte @ (b'"' | b'\\' | b'`' | b'$')) => value.push(byte),
                    Some(byte) => value.extend([b'\\', byte]),
                }
                at
            }
            At::Quoted(_) => {
                value.push(byte);
                at
            }
        };
    }
    assigned
}

/// Reads as a shell does, byte by byte, as much of its language as can be told simply.
struct Shell<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Shell<'a> {
    /// What the text assigns, and the first line that is not known: where something begins that
    /// is not told simply.
    fn read(text: &'a [u8]) -> (Vec<Assignment>, usize) {
        let (mut shell, mut assigned) = (Shell { text, at: 0, line: 1 }, Vec::new());
        while shell.at < text.len() {
            let line = shell.line;
            let Some(words) = shell.command() else { return (assigned, line) };
            let (word, rest) = match &words[..] {
                [first, second, rest @ ..] if first == b"export" => (second, rest),
                [first, rest @ ..] => (first, rest),
                [] => continue,
            };
            let end = word.iter().position(|&byte| byte == b'=');
            if let (Some(end), []) = (end, rest) {
                let key = String::from_utf8_lossy(&word[..end]).into_owned();
                assigned.push((line, key, word[end + 1..].to_vec()));
            }
        }
        (assigned, usize::MAX)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += 1;
        self.line += usize::from(byte == Some(b'\n'));
        byte
    }

    /// The words up to the end of a line, or of several.
    fn command(&mut self) -> Option<Vec<Vec<u8>>> {
        let (mut words, mut word) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let byte = self.next();
            match byte {
                Some(b' ' | b'\t' | b'\n') | None => {
                    words.extend(word.take());
                    if byte.is_none() || byte == Some(b'\n') {
                        return Some(words);
                    }
                }
                Some(b'#') if word.is_none() => {
                    while self.text.get(self.at).is_some_and(|&byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                Some(b'\\') => match self.next()? {
                    b'\n' => {}
                    byte => word.get_or_insert_with(Vec::new).push(byte),
                },
                Some(quote @ (b'\'' | b'"')) => {
                    let word = word.get_or_insert_with(Vec::new);
                    self.quoted(quote, word)?;
                }
                Some(b'$' | b'`' | b'(' | b')' | b'<' | b'>' | b'|' | b'&' | b';' | 0) => {
                    return None
                }
                Some(byte) => word.get_or_insert_with(Vec::new).push(byte),
            }
        }
    }

    fn quoted(&mut self, quote: u8, word: &mut Vec<u8>) -> Option<()> {
        loop {
            match self.next()? {
                byte if byte == quote => return Some(()),
                b'\\' if quote == b'"' => match self.next()? {
                    b'\n' => {}
                    byte @ (b'$' | b'`' | b'"' | b'\\') => word.push(byte),
                    byte => word.extend([b'\\', byte]),
                },
                0 => return None,
                b'$' | b'`' if quote == b'"' => return None,
                byte => word.push(byte),
            }
        }
    }
}
