//! Hogs one after another in a small machine: each is ended at its level, however many there were before, and no other process.
//!
//! The short form is part of every run. `GUARD_HOGS=100` has as many of them, and wants a machine that does nothing else;
//! there `--nocapture` shows the levels.

mod common;

use common::small::{one_at_a_time, one_at_a_time_for, SmallMachine};
use common::*;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use std::{env, fs, thread};

/// What is available when a hog begins, in percent of memory: so much that it is the largest by far, alone or in a pair,
/// when it meets the level, whatever other tests on the real machine take meanwhile.
const ROOM: u64 = 30;
/// What is available when it slows down.
const SLOW: u64 = 18;
/// What a hog takes at most: more than there is.
const MOST: u64 = 60;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Plain,
    Stubborn,
    ZombieLeading,
    InMemoryFile,
}

use Kind::*;

impl Kind {
    fn options(self) -> &'static [&'static str] {
        match self {
            Plain => &[],
            Stubborn => &["--ignore-term"],
            ZombieLeading => &["--zombie-leader"],
            InMemoryFile => &["--memfd"],
        }
    }
}

/// Ten hogs, those in one row at a time.
const ROUND: [&[Kind]; 8] = [
    &[Plain],
    &[Plain],
    &[Plain],
    &[Stubborn],
    &[ZombieLeading],
    &[InMemoryFile],
    &[Plain, Plain],
    &[Plain, Stubborn],
];

/// How low available memory may be when a hog is signalled, in percent.
const ALONE: f64 = 9.0;
const TOGETHER: f64 = 4.0;
/// Of single ones most are not as low: 30 ms after the level was met.
const USUAL: f64 = 9.7;

/// How many hogs the long form has; `None` for the short form.
fn wanted() -> Option<u32> {
    env::var("GUARD_HOGS").ok().map(|hogs| hogs.parse().expect("GUARD_HOGS"))
}

/// Of the levels of alike hogs the one that must not be too low: in the long form the lowest, in the short form, which
/// bears that now and then one is signalled late on a busy machine, the one in the middle.
fn decisive(mut levels: Vec<f64>) -> f64 {
    assert!(!levels.is_empty(), "never signalled");
    levels.sort_by(f64::total_cmp);
    match wanted() {
        Some(_) => levels[0],
        None => levels[levels.len() / 2],
    }
}

/// Xorshift (Marsaglia, 2003), from a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(self.below(900)));
    }
}

/// Starts them together and waits for their ends. Their numbers.
fn run(sandbox: &Sandbox, machine: &SmallMachine, kinds: &[Kind]) -> Vec<u32> {
    let (size, rate) = (format!("{}M", machine.share_mib(MOST)), machine.rate());
    let slow = SLOW.to_string();
    let start = |kind: &Kind| {
        let options =
            [&["--size", &size, "--rate", &rate, "--slow-from", &slow][..], kind.options()]
                .concat();
        Hog::start_unready(sandbox.hog_command(&options))
    };
    let mut hogs: Vec<_> = kinds.iter().map(start).collect();
    for (hog, kind) in hogs.iter_mut().zip(kinds) {
        let ended = hog.wait_for_end();
        assert!(ended.signal().is_some(), "{kind:?}: {ended:?}");
    }
    hogs.iter().map(Hog::pid).collect()
}

/// Available memory in percent as the guard saw it when it first signalled each process.
fn levels(guard: &Guard) -> HashMap<u32, f64> {
    let (mut levels, mut level) = (HashMap::new(), f64::NAN);
    for line in guard.log().lines() {
        if let Some((_, rest)) =
            line.split_once(": mem ").filter(|_| line.starts_with("low memory!"))
        {
            level = rest.split('%').next().and_then(|share| share.parse().ok()).expect("a share");
        } else if line.starts_with("sending SIG") && line.contains(" to process ") {
            levels.entry(number_after(line, " to process ") as u32).or_insert(level);
        }
    }
    levels
}

/// What the guard has at a time: descriptors, resident and locked memory.
fn belongings(guard: &Guard) -> (usize, Vec<String>) {
    let status = fs::read_to_string(format!("/proc/{}/status", guard.pid())).expect("status");
    let memory =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmLck"));
    (guard.descriptors(), memory.map(String::from).collect())
}

fn innocents(sandbox: &Sandbox, machine: &SmallMachine) -> Vec<Hog> {
    let size = format!("{}K", machine.share_mib(1) * 1536);
    let options = ["--size", &size, "--name", "innocent"];
    (0..12).map(|_| sandbox.hog(&options)).collect()
}

fn lowest(all: &[f64]) -> f64 {
    all.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn hogs_one_after_another_are_ended_each_at_its_level_and_alone() {
    let least = wanted().unwrap_or(1);
    one_at_a_time_for(LIFETIME + Duration::from_secs(6) * least, |sandbox| {
        let Some(mut machine) = SmallMachine::new(sandbox) else { return };
        let mut innocents = innocents(sandbox, &machine);
        machine.leave(ROOM);
        let guard = sandbox.guard(&[]);
        let before = belongings(&guard);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut hogs = Vec::new();
        while hogs.len() < least as usize {
            let mut round = ROUND;
            random.shuffle(&mut round);
            for kinds in round {
                random.pause();
                machine.leave(ROOM);
                let pids = run(sandbox, &machine, kinds);
                hogs.extend(pids.into_iter().map(|pid| (pid, kinds)));
            }
        }
        guard.wait_for(&format!("process {} exited after ", hogs[hogs.len() - 1].0));
        let levels = levels(&guard);
        let of = |meant: &[Kind]| -> Vec<f64> {
            let meant = hogs.iter().filter(|(_, kinds)| *kinds == meant);
            meant.filter_map(|(pid, _)| levels.get(pid).copied()).collect()
        };
        let alike = &ROUND[2..];
        let all = alike.iter().map(|kinds| format!("{kinds:?} {:.2}%", lowest(&of(kinds))));
        let all = all.collect::<Vec<_>>().join(", ");
        note(&format!("{} hogs, signalled at the lowest at: {all}", hogs.len()));
        if machine.was_late() {
            return;
        }
        for (count, bound) in [(1, ALONE), (2, TOGETHER)] {
            let meant = alike.iter().filter(|kinds| kinds.len() == count);
            assert!(decisive(meant.flat_map(|kinds| of(kinds)).collect()) >= bound, "{all}");
        }
        assert!(levels.values().all(|&level| level <= 10.0), "{levels:?}");
        assert_eq!(levels.len(), hogs.len());
        assert!(innocents.iter_mut().all(Hog::is_alive));
        assert_eq!(belongings(&guard), before);
        guard.stop();
    });
}

/// A service that leaks and is started again by its supervisor is nothing else. One at a time may be signalled late on a
/// busy machine; where all are, the guard waits for memory that the next one has long taken.
#[test]
fn hogs_in_a_row_are_each_ended_at_once() {
    let count = if wanted().is_some() { 12 } else { 6 };
    one_at_a_time(|sandbox| {
        let Some(mut machine) = SmallMachine::new(sandbox) else { return };
        if skip_where_emulated("which is late each time") {
            return;
        }
        let guard = sandbox.guard(&[]);
        let mut pids = Vec::new();
        for _ in 0..count {
            machine.leave(ROOM);
            pids.extend(run(sandbox, &machine, &[Plain]));
            thread::sleep(Duration::from_millis(500));
        }
        let levels = levels(&guard);
        let mut all: Vec<_> = pids.iter().filter_map(|pid| levels.get(pid).copied()).collect();
        note(&format!("signalled at {all:?}% of memory"));
        if machine.was_late() {
            return;
        }
        assert_eq!(all.len(), count, "{all:?}");
        all.sort_by(f64::total_cmp);
        assert!(all[count / 2] >= USUAL, "{all:?}");
        assert!(wanted().is_none() || all[0] >= ALONE, "{all:?}");
        guard.stop();
    });
}
