//! What hooks and notifications are told of a victim, in a form that can be sent.
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

/// Bytes of fixed fields, before the name.
const FIELDS: usize = 4 + 8 + 4 + 4 + 4 + 8 + 8 + 3;
/// Bytes of the longest packed one.
pub const PACKED: usize = FIELDS + 64;

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

    pub fn pack(&self) -> crate::bytes::Buf<PACKED> {
        let mut bytes = crate::bytes::Buf::new();
        bytes.push(&self.id.pid.number().to_ne_bytes());
        bytes.push(&self.id.start.to_ne_bytes());
        bytes.push(&self.uid.to_ne_bytes());
        bytes.push(&self.adj.to_ne_bytes());
        bytes.push(&self.score.to_ne_bytes());
        bytes.push(&self.rss.0.to_ne_bytes());
        bytes.push(&self.swap.0.to_ne_bytes());
        let is_limit = self.reason == Reason::Limit;
        bytes.push(&[self.is_kill.into(), is_limit.into(), self.dryrun.into()]);
        bytes.push(self.comm.as_bytes());
        bytes
    }

    pub fn unpack(bytes: &[u8]) -> Option<Event> {
        let mut rest = bytes;
        let pid = Pid::new(i32::from_ne_bytes(take(&mut rest)?).into())?;
        let start = u64::from_ne_bytes(take(&mut rest)?);
        let uid = u32::from_ne_bytes(take(&mut rest)?);
        let adj = i32::from_ne_bytes(take(&mut rest)?);
        let score = i32::from_ne_bytes(take(&mut rest)?);
        let rss = KiB(u64::from_ne_bytes(take(&mut rest)?));
        let swap = KiB(u64::from_ne_bytes(take(&mut rest)?));
        let [is_kill, is_limit, dryrun] = take(&mut rest)?;
        Some(Event {
            id: Identity { pid, start },
            comm: Comm::from_bytes(rest),
            uid,
            adj,
            score,
            rss,
            swap,
            is_kill: is_kill != 0,
            reason: if is_limit != 0 { Reason::Limit } else { Reason::Memory },
            dryrun: dryrun != 0,
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let taken = bytes.get(..N)?.try_into().ok()?;
    *bytes = &bytes[N..];
    Some(taken)
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
            reason: Reason::Memory,
            dryrun: true,
            comm: Comm::new(),
            ..event
        };
        assert_eq!(Event::unpack(other.pack().as_bytes()), Some(other));
        assert_eq!(Event::unpack(&[0; FIELDS - 1]), None);
    }
}
