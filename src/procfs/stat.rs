//! `/proc/PID/stat`: one line with name, state, parent, group, start and RSS.

use crate::bytes::{self, Buf};
use crate::units::{Identity, Pid};

/// Longest name in `stat`: 15 bytes for a process (`TASK_COMM_LEN`), and up to 63 for
/// kernel workers (`proc_task_name` in fs/proc/array.c). A longer one is cut.
pub type Comm = Buf<64>;

/// A process as its `stat` shows it (proc(5)).
#[derive(Clone)]
pub struct Stat {
    pub id: Identity,
    pub comm: Comm,
    /// Field 3: `R`, `S`, `D`, `Z` and so on.
    pub state: u8,
    /// Field 4; 0 for init, kernel threads, and a parent outside the PID namespace.
    pub ppid: i32,
    /// Field 5; 0 if it lies outside the PID namespace.
    pub pgid: i32,
    /// Field 9: `PF_KTHREAD` and others (include/linux/sched.h).
    pub flags: u64,
    /// Field 20, this thread included.
    pub threads: u64,
    /// Field 24, in pages.
    pub rss_pages: u64,
}

const PF_KTHREAD: u64 = 0x0020_0000;
const PF_EXITING: u64 = 0x4;

impl Stat {
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    /// On its way out, with perhaps all its memory still.
    pub fn is_leaving(&self) -> bool {
        self.flags & PF_EXITING != 0
    }

    /// Ended, with perhaps other threads still running.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Ended with all its threads: only its parent has yet to take note.
    pub fn is_gone(&self) -> bool {
        self.is_ended() && self.threads <= 1
    }
}

/// Parses a whole `stat` line. `None` if it is empty, cut before the end of its RSS, or
/// no such line.
pub fn parse(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&b| b == b'(')?;
    // A name may hold anything, also `) R 1 1`: it ends at the last parenthesis, since
    // all that follows is numbers and one letter.
    let close = text.iter().rposition(|&b| b == b')').filter(|&close| close > open)?;
    let pid = bytes::parse_i64(text[..open].strip_suffix(b" ")?).and_then(Pid::new)?;
    let mut rest = bytes::fields(&text[close + 1..]);
    // Fields are numbered from 1 in proc(5); the state is the third.
    let state = rest.next()?[0];
    let (mut number, mut field) = ([0; 25], 4);
    while field < number.len() {
        let text = rest.next()?;
        if matches!(field, 4 | 5 | 9 | 20 | 22 | 24) {
            number[field] = bytes::parse_i64(text)?;
        }
        field += 1;
    }
    // The last one in a cut line may be cut itself: another must follow.
    rest.next()?;
    // The kernel's approximate counters can be a little below zero.
    let amount = |field: usize| number[field].max(0) as u64;
    // Cut to fewer bits, what no kernel writes would be another process.
    let id = |field: usize| i32::try_from(number[field]).ok();
    Some(Stat {
        id: Identity { pid, start: amount(22) },
        comm: Comm::from_bytes(&text[open + 1..close]),
        state,
        ppid: id(4)?,
        pgid: id(5)?,
        flags: amount(9),
        threads: amount(20),
        rss_pages: amount(24),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::stat_line;
    use super::*;

    #[test]
    fn a_real_line_parses() {
        let line = b"1689 (cat) R 1685 1685 1063 0 -1 4194304 85 0 0 0 0 0 0 0 20 0 1 0 \
            11843 3133440 424 18446744073709551615 94 95 14 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let stat = parse(line).unwrap();
        assert_eq!(stat.id, Identity { pid: Pid::new(1689).unwrap(), start: 11843 });
        assert_eq!((stat.comm.as_bytes(), stat.state), (&b"cat"[..], b'R'));
        assert_eq!((stat.ppid, stat.pgid), (1685, 1685));
        assert_eq!((stat.threads, stat.rss_pages), (1, 424));
        assert!(!stat.is_kernel_thread() && !stat.is_ended());
    }

    #[test]
    fn a_name_may_hold_anything() {
        for comm in [&b""[..], b" ", b")", b"(", b") S 1 1", b"a\nb", b"\x1b[2J", b"\xff\xfe"] {
            let stat = parse(&stat_line(42, comm, b'S', 0, 1, 7)).unwrap();
            assert_eq!(stat.comm.as_bytes(), comm);
            assert_eq!((stat.id.pid.number(), stat.rss_pages), (42, 7));
        }
    }

    #[test]
    fn a_cut_line_is_refused_or_right() {
        let line = stat_line(42, b"name", b'S', 0, 1, 123456);
        for len in 0..line.len() {
            if let Some(stat) = parse(&line[..len]) {
                assert_eq!((stat.rss_pages, stat.id.start), (123456, 420), "cut at {len}");
            }
        }
        assert!(parse(b"").is_none());
        assert!(parse(b"\0\0\0").is_none());
        assert!(parse(b"0 (x) S 1 1 1\n").is_none());
    }

    #[test]
    fn a_number_beyond_its_type_is_refused() {
        let line = String::from_utf8(stat_line(42, b"x", b'S', 0, 1, 7)).unwrap();
        for (right, wrong) in [
            ("42 (", "4294967338 ("),
            (") S 1 ", ") S 4294967297 "),
            (") S 1 42 ", ") S 1 -4294967254 "),
            (" 420 1000 7 ", " 420 1000 18446744073709551616 "),
        ] {
            assert!(line.contains(right), "{line}");
            assert!(parse(line.replace(right, wrong).as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn zombies_may_have_living_threads() {
        assert!(parse(&stat_line(42, b"z", b'Z', 0, 1, 0)).unwrap().is_gone());
        let leader = parse(&stat_line(42, b"z", b'Z', 0, 3, 0)).unwrap();
        assert!(leader.is_ended() && !leader.is_gone());
    }
}
