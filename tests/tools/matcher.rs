//! Times our matcher beside the `regex` crate, for `scripts/bench.sh`.
//!
//! ```text
//! matcher ROUNDS
//! ```
//!
//! For each pattern it matches 5,000 names of processes, by turns with both, and prints a
//! line: what the pattern is, and the median microseconds for all names of each.

#[allow(dead_code)]
#[path = "../../src/bytes.rs"]
mod bytes;
#[allow(dead_code)]
#[path = "../../src/pattern/mod.rs"]
mod pattern;

use pattern::{Pattern, Scratch};
use std::time::{Duration, Instant};

const NAMES: usize = 5000;

/// Names as they are met: at most 15 bytes, many of a kind.
fn names() -> Vec<String> {
    let kinds = [
        "systemd-journal",
        "sshd",
        "init",
        "bash",
        "kworker/0:1-eve",
        "postgres",
        "chromium",
        "python3",
        "Xorg",
        "dbus-daemon",
        "sleeper",
        "Web Content",
        "containerd-shim",
        "nginx",
    ];
    let name = |number: usize| match number % 3 {
        0 => format!("worker-{number}"),
        _ => kinds[number % kinds.len()].to_string(),
    };
    (0..NAMES).map(name).collect()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn timed(matches: impl FnMut(&String) -> bool, names: &[String]) -> (Duration, usize) {
    let start = Instant::now();
    let mut matches = matches;
    let count = names.iter().filter(|name| matches(name)).count();
    (start.elapsed(), count)
}

fn compare(what: &str, source: &str, rounds: usize, names: &[String]) {
    let ours = Pattern::parse(source.as_bytes()).expect("a pattern of ours");
    let mut scratch = Scratch::new(ours.len());
    let theirs = regex::bytes::RegexBuilder::new(source).unicode(false).build().expect("theirs");
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (time, ours) = timed(|name| ours.is_match(name.as_bytes(), &mut scratch), names);
        our_times.push(time);
        let (time, theirs) = timed(|name| theirs.is_match(name.as_bytes()), names);
        their_times.push(time);
        assert_eq!(ours, theirs, "{what}");
    }
    println!("{what}\t{:.0}\t{:.0}", median(our_times), median(their_times));
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(21);
    let names = names();
    compare("short", "(^|/)(init|Xorg|sshd|systemd-.*)$", rounds, &names);
    let words: Vec<String> = (0..186).map(|number| format!("service-{number}")).collect();
    let alternation = format!("^({})$", words.join("|"));
    assert!(alternation.len() >= 2048, "{}", alternation.len());
    compare("2 KiB alternation", &alternation, rounds, &names);
}
