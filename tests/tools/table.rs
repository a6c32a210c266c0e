// The table of options, with what it is made of, for the programs here that write from it. Included at the root of a program,
// where its modules look for each other.

#[allow(dead_code)]
#[path = "../../src/bytes.rs"]
mod bytes;
#[allow(dead_code)]
#[path = "../../src/pattern/mod.rs"]
mod pattern;
#[allow(dead_code, unused_imports)]
#[path = "../../src/settings/mod.rs"]
mod settings;
#[allow(dead_code)]
#[path = "../../src/sys/mod.rs"]
mod sys;
#[allow(dead_code)]
#[path = "../../src/units.rs"]
mod units;
