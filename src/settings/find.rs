//! Options by what a user calls them, and the one that a slip most likely meant.

use super::option::{Effect, Spec, PREFIX};
use super::table::OPTIONS;
use super::value::Mistake;
use crate::bytes::{is_same_word, Escaped};

/// By `-m` or `--mem`.
pub fn option(text: &str) -> Result<&'static Spec, Mistake> {
    let named = OPTIONS.iter().find(|spec| spec.spellings().any(|spelling| spelling == text));
    named.ok_or_else(|| {
        let name = text.strip_prefix("--");
        let nearest = name.and_then(|name| nearest(name.as_bytes(), "--", |spec| spec.spelled));
        unknown(format!("unknown option \"{}\"", Escaped(text.as_bytes())), "--", nearest)
    })
}

/// By a key without `PREFIX`, which stands at `place`.
pub fn setting(key: &[u8], place: &str) -> Result<&'static Spec, Mistake> {
    by_key(key).ok_or_else(|| no_setting(place, nearest_key(key)))
}

/// What a whole key with a slip in its `PREFIX` most likely meant; it stands at `place`.
pub fn slip(key: &[u8], place: &str) -> Option<Mistake> {
    let mut blanks = (0..key.len()).filter(|&at| key[at] == b'_');
    let (prefix, name) = key.split_at(blanks.nth(1)? + 1);
    // Two letters that changed places count as two.
    let is_slip = distance(prefix, PREFIX.as_bytes()) <= 2;
    let nearest = nearest_key(name).filter(|_| is_slip)?;
    Some(no_setting(place, Some(nearest)))
}

fn no_setting(place: &str, nearest: Option<&str>) -> Mistake {
    unknown(format!("{place}: there is no such setting"), PREFIX, nearest)
}

fn unknown(said: String, before: &str, nearest: Option<&str>) -> Mistake {
    match nearest {
        Some(name) => format!("{said}; did you mean {before}{name}?"),
        None => said,
    }
}

/// The option that a key names; one for a pattern may be numbered.
pub fn by_key(key: &[u8]) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| {
        let is_repeated = matches!(spec.effect, Effect::Pattern(_));
        let base = if is_repeated { unnumbered(key) } else { key };
        !base.is_empty() && spec.key.as_bytes() == base
    })
}

/// A key without the number of a further pattern.
fn unnumbered(key: &[u8]) -> &[u8] {
    let digits = key.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match key.split_at(key.len() - digits) {
        // 2 and 02 would be two keys that look like one.
        ([base @ .., b'_'], [b'1'..=b'9', ..]) => base,
        _ => key,
    }
}

/// The key that an unknown one most likely meant, if one is near.
fn nearest_key(key: &[u8]) -> Option<&'static str> {
    nearest(unnumbered(key), "", |spec| spec.key)
}

/// Of the words in those texts, without what stands `before` each. Near is what begins with
/// `name`, or has at most a third of its letters changed, added or left out.
fn nearest(name: &[u8], before: &str, text: fn(&Spec) -> &'static str) -> Option<&'static str> {
    let (mut nearest, mut least) = (None, usize::MAX);
    for spec in &OPTIONS {
        for word in text(spec).split_ascii_whitespace() {
            let Some(word) = word.strip_prefix(before) else { continue };
            let begin = &word.as_bytes()[..word.len().min(name.len())];
            let is_begin = name.len() > 2 && is_same_word(name, begin);
            let distance = if is_begin { 0 } else { distance(name, word.as_bytes()) };
            if distance * 3 <= word.len() && distance < least {
                (nearest, least) = (Some(word), distance);
            }
        }
    }
    nearest
}

/// Whether a word is most likely that `known` one, which has at most a third of its letters changed, added
/// or left out, or goes on.
pub fn resembles(word: &[u8], known: &[u8]) -> bool {
    let begin = &word[..word.len().min(known.len())];
    let is_word = word.iter().all(u8::is_ascii_alphanumeric);
    is_word && (is_same_word(begin, known) || distance(word, known) * 3 <= known.len())
}

/// Levenshtein's distance, whatever the case of letters.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<_> = (0..to.len() + 1).collect();
    for a in from {
        let mut diagonal = row[0];
        row[0] += 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_option() {
        let said = |text: &str| option(text).unwrap_err().to_string();
        for (slip, meant) in [
            ("--dryrunn", "--dryrun"),
            ("--mem-sizes", "--mem-size"),
            ("--sort-by-rs", "--sort-by-rss"),
            ("--dry", "--dryrun"),
            ("--MEM", "--mem"),
        ] {
            assert_eq!(said(slip), format!("unknown option \"{slip}\"; did you mean {meant}?"));
        }
        for unlike in ["--frobnicate", "---m", "--"] {
            assert_eq!(said(unlike), format!("unknown option \"{unlike}\""));
        }
        assert_eq!(nearest_key(b"mem"), Some("MEM_THRESHOLD"));
        assert_eq!(nearest_key(b"PREFRE_2"), Some("PREFER"));
        assert_eq!(nearest_key(b""), None);
    }

    #[test]
    fn only_patterns_are_numbered() {
        let key = |key: &[u8]| by_key(key).map(|spec| spec.key);
        assert_eq!((key(b"IGNORE"), key(b"IGNORE_20")), (Some("IGNORE"), Some("IGNORE")));
        for wrong in
            [&b"IGNORE_"[..], b"IGNORE_02", b"IGNORE_0", b"IGNORE2", b"GRACE_2", b"_2", b""]
        {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }
}
