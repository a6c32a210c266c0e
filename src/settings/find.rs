//! Options by what a user calls them, and the one that a slip most likely meant.

use super::option::{Effect, Spec, PREFIX};
use super::table::options;
use crate::bytes::is_same_word;

/// `-m` or `--mem`.
pub fn by_spelling(text: &str) -> Option<&'static Spec> {
    options().find(|spec| spec.spellings().any(|spelling| spelling == text))
}

/// The option that a key names, without `PREFIX`; one for a pattern may be numbered.
pub fn by_key(key: &[u8]) -> Option<&'static Spec> {
    let base = unnumbered(key);
    let spec = options().find(|spec| !base.is_empty() && spec.key.as_bytes() == base)?;
    let is_right = base.len() == key.len() || matches!(spec.effect, Effect::Pattern(_));
    is_right.then_some(spec)
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

/// The long spelling that an unknown one most likely meant, if one is near; both without dashes.
pub fn nearest_long(name: &[u8]) -> Option<&'static str> {
    let mut known = Vec::new();
    for spec in options() {
        known.extend(spec.spellings().filter_map(|spelling| spelling.strip_prefix("--")));
    }
    nearest(name, &known)
}

/// The key, without `PREFIX`, that an unknown one most likely meant, if one is near.
pub fn nearest_key(key: &[u8]) -> Option<&'static str> {
    let mut known = Vec::new();
    for spec in options().filter(|spec| !spec.key.is_empty()) {
        known.push(spec.key);
    }
    nearest(unnumbered(key), &known)
}

/// The key, without `PREFIX`, that a whole one most likely meant whose `PREFIX` has a slip.
pub fn nearest_prefixed(key: &[u8]) -> Option<&'static str> {
    let mut blanks = (0..key.len()).filter(|&at| key[at] == b'_');
    let (prefix, name) = key.split_at(blanks.nth(1)? + 1);
    // Two letters that changed places count as two.
    let is_slip = distance(prefix, PREFIX.as_bytes()) <= 2;
    nearest_key(name).filter(|_| is_slip)
}

/// Near is what begins with `name`, or has at most a third of its letters changed, added or left
/// out.
fn nearest(name: &[u8], known: &[&'static str]) -> Option<&'static str> {
    let (mut nearest, mut least) = (None, usize::MAX);
    for word in known {
        let begin = &word.as_bytes()[..word.len().min(name.len())];
        let is_begin = name.len() > 2 && is_same_word(name, begin);
        let distance = if is_begin { 0 } else { distance(name, word.as_bytes()) };
        if distance * 3 <= word.len() && distance < least {
            (nearest, least) = (Some(*word), distance);
        }
    }
    nearest
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
        assert_eq!(nearest_long(b"dryrunn"), Some("dryrun"));
        assert_eq!(nearest_long(b"mem-sizes"), Some("mem-size"));
        assert_eq!(nearest_long(b"sort-by-rs"), Some("sort-by-rss"));
        assert_eq!(nearest_long(b"dry"), Some("dryrun"));
        assert_eq!(nearest_long(b"MEM"), Some("mem"));
        assert_eq!(nearest_long(b"frobnicate"), None);
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
