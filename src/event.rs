//! What hooks and notices are told of a victim.
//!
//! Pure.

use crate::procfs::stat::Comm;
use crate::stats::Reason;
use crate::units::{Identity, KiB, Pid};

/// A signal that was, will be or would be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub id: Identity,
    pub comm: Comm,
    pub uid: u32,
    pub adj: i32,
    pub score: i32,
    pub rss: KiB,
    pub swap: KiB,
    pub is_kill: bool,
    pub reason: Reason,
    pub dryrun: bool,
}

impl Event {
    /// Memory is low, and there is no victim, or only the kernel knows it.
    pub fn without_victim(dryrun: bool) -> Event {
        Event {
            id: Identity { pid: Pid::INIT, start: 0 },
            comm: Comm::new(),
            uid: 0,
            adj: 0,
            score: 0,
            rss: KiB::ZERO,
            swap: KiB::ZERO,
            is_kill: false,
            reason: Reason::Memory,
            dryrun,
        }
    }

    pub fn signal(&self) -> &'static str {
        if self.is_kill {
            "SIGKILL"
        } else {
            "SIGTERM"
        }
    }
}
