//! What lines, hooks and notices are told of a victim.
//!
//! Pure.

use crate::procfs::stat::Comm;
use crate::procfs::status::Held;
use crate::stats::Reason;
use crate::sys::process::KillSignal;
use crate::units::{Identity, KiB};

/// A signal that was, will be or would be sent. An amount that could not be read of the process is 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub id: Identity,
    pub comm: Comm,
    /// Effective, as `--ignore-root-user` goes by it. `None` if it could not be read: 0 is root.
    pub uid: Option<u32>,
    pub adj: i32,
    pub score: i32,
    pub rss: KiB,
    pub swap: KiB,
    /// What its end should give back.
    pub held: Held,
    pub is_kill: bool,
    pub reason: Reason,
    pub dryrun: bool,
}

impl Event {
    /// Memory is low, and there is no victim, or only the kernel knows it.
    pub fn without_victim(dryrun: bool) -> Event {
        Event {
            id: Identity::NONE,
            comm: Comm::new(),
            uid: None,
            adj: 0,
            score: 0,
            rss: KiB::ZERO,
            swap: KiB::ZERO,
            held: Held::default(),
            is_kill: false,
            reason: Reason::Memory,
            dryrun,
        }
    }

    /// `SIGTERM` or `SIGKILL`.
    pub fn signal(&self) -> &'static str {
        let signal = if self.is_kill { KillSignal::Kill } else { KillSignal::Term };
        signal.name()
    }
}
