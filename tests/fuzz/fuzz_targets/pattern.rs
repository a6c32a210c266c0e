//! Feeds the pattern engine with patterns and texts that nobody would write.
//!
//! A plain test of the engine runs the saved corpus too, and counts the steps of each match, which
//! here only the timeout bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oom_guard_fuzz::pattern::{Pattern, Scratch};

/// Most places of a program.
const LIMIT: usize = 4096;

fuzz_target!(|input: &[u8]| {
    // The pattern goes up to the first NUL or newline, the text from there to the end.
    let mut parts = input.splitn(2, |byte| matches!(byte, 0 | b'\n'));
    let source = parts.next().unwrap_or_default();
    let text = parts.next().unwrap_or_default();
    match Pattern::parse(source) {
        Ok(pattern) => {
            assert!(pattern.len() <= LIMIT, "{} places", pattern.len());
            assert_eq!(pattern.text(), source);
            let mut scratch = Scratch::new(pattern.len());
            let matched = pattern.is_match(text, &mut scratch);
            // What a match leaves behind must not change the next.
            assert_eq!(pattern.is_match(text, &mut scratch), matched);
        }
        Err(fault) => assert!(fault.at <= source.len(), "{fault:?}"),
    }
});
