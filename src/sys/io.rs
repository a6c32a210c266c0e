//! What a call of the kernel gives: `std::io`'s names, but with an error that is only its number.
//! Theirs may own a text, and the code that would drop it stands wherever one goes by.

pub use super::errno::Errno as Error;

pub type Result<T> = std::result::Result<T, Error>;
