//! Settings: what can be asked for, and what is. One table of options; the command line, the
//! environment and files, from each a list of what is given; and `Config`, what comes of all.
//!
//! `Sources::read` alone opens files, and may hang. `Sources::settle` makes a `Config` of their
//! texts: it reads nothing, and comes to the same each time. What is wrong is a `Mistake`, a
//! line that the caller writes: nothing here does.

mod arguments;
pub mod config;
pub mod file;
mod find;
mod given;
mod help;
mod in_force;
pub mod option;
mod source;
pub mod table;
pub mod value;

pub use arguments::parse;
pub use config::{doubt, Config, Hooks, Limit, Outputs, Patterns, Tell, Thresholds};
pub use given::Given;
pub use help::help;
pub use option::Task;
pub use source::{Settled, Sources};
pub use value::Mistake;
