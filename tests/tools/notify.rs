//! Tells all users as the guard does, and says what came of it.
//!
//! ```text
//! notify [--times N] OWNER SUMMARY BODY BODY_FOR_OWNER
//! ```
//!
//! OWNER is a user id, or `-` for none. Prints a line: how many users were told, the milliseconds
//! that it took, and how many descriptors and children are left.

#![allow(dead_code)]

#[path = "../../src/bytes.rs"]
mod bytes;
#[path = "../../src/memory.rs"]
mod memory;
#[path = "../../src/notify/mod.rs"]
mod notify;
#[path = "../../src/procfs/mod.rs"]
mod procfs;
#[path = "../../src/sys/mod.rs"]
mod sys;
#[path = "../../src/units.rs"]
mod units;

use notify::News;
use procfs::Proc;
use std::fs;
use std::time::Instant;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count()
}

/// Running or not waited for.
fn has_children() -> bool {
    // SAFETY: a null status is not written to.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) >= 0 }
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut times = 1;
    if arguments.first().is_some_and(|first| first == "--times") {
        times = arguments[1].parse().expect("--times wants a number");
        arguments.drain(..2);
    }
    let [owner, summary, body, body_for_owner] = &arguments[..] else {
        panic!("OWNER SUMMARY BODY BODY_FOR_OWNER");
    };
    let news = News {
        summary: summary.as_bytes(),
        body: body.as_bytes(),
        body_for_owner: body_for_owner.as_bytes(),
        owner: owner.parse().ok(),
    };
    let mut proc = Proc::system().expect("/proc");
    let before = descriptors();
    for _ in 0..times {
        let start = Instant::now();
        let told = notify::tell(&mut proc, &news);
        println!(
            "users {told}, ms {}, descriptors {}, children {}",
            start.elapsed().as_millis(),
            descriptors() - before,
            u8::from(has_children()),
        );
    }
}
