//! The rooms of the guard that read what others wrote, each at its own path, and what must be
//! true of every reading: `checks`. A fuzz target hands what the fuzzer invents to one of them.

// Targets use a part of each room.
#![allow(dead_code)]

#[path = "../../src/units.rs"]
pub mod units;

#[path = "../../src/bytes.rs"]
pub mod bytes;

#[path = "../../src/pattern/mod.rs"]
pub mod pattern;

#[path = "../../src/sys/mod.rs"]
pub mod sys;

#[path = "../../src/settings/mod.rs"]
pub mod settings;

#[path = "../../src/memory.rs"]
pub mod memory;

#[path = "../../src/procfs/mod.rs"]
pub mod procfs;

#[path = "../../src/notify/mod.rs"]
pub mod notify;

pub mod checks;
