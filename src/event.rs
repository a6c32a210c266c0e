//! What hooks and notifications are told of a victim, in a form that can be sent.
//!
//! Pure.

use crate::bytes::Buf;
use crate::procfs::stat::Comm;
use crate::stats::{unpack, Reason};
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

/// Of a packed one, before the name; the last is of flags, and above them the reason.
const NUMBERS: usize = 8;
const KILL: u64 = 1;
const DRYRUN: u64 = 2;
const REASON: u64 = 4;
/// Bytes of the longest packed one.
pub const PACKED: usize = NUMBERS * 8 + 64;

impl Event {
    /// Memory is low, and there is nobody to end.
    pub fn nobody(dryrun: bool) -> Event {
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

    pub fn pack(&self) -> Buf<PACKED> {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags =
            flag(self.is_kill, KILL) | flag(self.dryrun, DRYRUN) | (REASON * self.reason as u64);
        let numbers = [
            self.id.pid.number() as u64,
            self.id.start,
            self.uid.into(),
            self.adj as u64,
            self.score as u64,
            self.rss.0,
            self.swap.0,
            flags,
        ];
        let mut bytes = Buf::new();
        numbers.iter().for_each(|number| bytes.push(&number.to_ne_bytes()));
        bytes.push(self.comm.as_bytes());
        bytes
    }

    pub fn unpack(bytes: &[u8]) -> Option<Event> {
        let mut numbers = [0; NUMBERS];
        unpack(bytes, &mut numbers);
        let [pid, start, uid, adj, score, rss, swap, flags] = numbers;
        Some(Event {
            id: Identity { pid: Pid::new(pid as i64)?, start },
            comm: Comm::from_bytes(bytes.get(NUMBERS * 8..)?),
            uid: uid as u32,
            adj: adj as i32,
            score: score as i32,
            rss: KiB(rss),
            swap: KiB(swap),
            is_kill: flags & KILL != 0,
            reason: Reason::of(flags / REASON),
            dryrun: flags & DRYRUN != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let event = Event {
            id: Identity { pid: Pid::INIT, start: u64::MAX },
            comm: Comm::from_bytes(&[0xff; 64]),
            uid: u32::MAX,
            adj: -1000,
            score: 1333,
            rss: KiB(1 << 40),
            swap: KiB(7),
            is_kill: true,
            reason: Reason::Limit,
            dryrun: false,
        };
        assert_eq!(Event::unpack(event.pack().as_bytes()).as_ref(), Some(&event));
        let other = Event {
            is_kill: false,
            reason: Reason::Stall,
            dryrun: true,
            comm: Comm::new(),
            ..event
        };
        assert_eq!(Event::unpack(other.pack().as_bytes()), Some(other));
        assert_eq!(Event::unpack(&[0; NUMBERS * 8 - 1]), None);
    }
}
