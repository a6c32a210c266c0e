//! What is told about the machine, its processes and the settings: `--explain`, `--check` and other
//! daemons of this kind. Never signals.

pub mod check;
pub mod doubts;
pub mod explain;
mod reader;
mod rivals;
