//! What watch and helper say to each other, as bytes. Never trusted to be whole.

use crate::bytes::Buf;
use crate::procfs::process::COMMAND_LINE;
use crate::stats::{unpack, PACKED};
use crate::sys::io;
use crate::sys::socket;
use crate::units::{Identity, Pid};
use std::fmt::{self, Write};
use std::os::fd::BorrowedFd;

/// Longest line that is written; `proc(5)` names and a command line of 256 bytes, each
/// byte escaped to four, fit with the rest of the longest message. A longer one is cut.
pub const LINE: usize = 1500;

/// The longest text of all: a line, or a command line as patterns see it.
pub const TEXT: usize = COMMAND_LINE;
const _: () = assert!(TEXT >= LINE && TEXT >= PACKED);

/// A line without its newline.
pub type Line = Buf<LINE>;

pub fn line(text: fmt::Arguments<'_>) -> Line {
    let mut line = Line::new();
    let _ = line.write_fmt(text);
    if line.is_cut() {
        line.end_with(b"...");
    }
    line
}

/// Behind the number of lines that are missing.
pub const LOST: &str = " messages were lost here";

/// How much a line matters; the numbers are syslog's (syslog(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// The guard cannot do what it is for.
    Error = 3,
    /// A process is killed, or a person should look.
    Warning = 4,
    /// Something has changed.
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Priority {
    /// Whatever else it is counts as `Info`.
    pub fn of(number: u64) -> Priority {
        use Priority::*;
        let all = [Error, Warning, Notice, Info, Debug];
        all.into_iter().find(|&priority| priority as u64 == number).unwrap_or(Info)
    }
}

/// When a hook runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Before the first signal.
    Before,
    /// After the end of the process.
    After,
    /// When memory gets short.
    Short,
}

/// What is said, and what `id`, `number` and `text` mean with it.
pub mod kind {
    /// A line to be written; the number is its priority.
    pub const LINE: u8 = b'L';
    /// The same, to be ended with the command line of `id`.
    pub const LINE_WITH_COMMAND: u8 = b'V';
    /// The log file has been renamed.
    pub const REOPEN: u8 = b'O';
    /// The text is packed numbers.
    pub const STATS: u8 = b'S';
    /// The memory of `id`, and of the group of that number, if it is one.
    pub const RELEASE: u8 = b'R';
    /// A notice about `id`; the number is its user, or `NO_USER` (`notice::text`).
    pub const NOTIFY: u8 = b'N';
    /// A question for the command line of `id`. The number of a question is the moment at which
    /// it was asked, and that of its answer too.
    pub const READ_COMMAND: u8 = b'C';
    /// The answer; the second, if it could not be read.
    pub const COMMAND: u8 = b'A';
    pub const NO_COMMAND: u8 = b'U';
    /// The same of a victim that is about to be signalled, of which more is kept for hooks. The
    /// answer is of the same kind; with any text, that of it is the path in `/proc/PID/cgroup`.
    pub const REMEMBER: u8 = b'M';
    /// A question whether the executable of `id` is what init sees at the path of the text. The
    /// answer is as to that for a command line; its text is empty for no.
    pub const LOOK_UP: u8 = b'P';
    /// A question for what all tmpfs hold, and the answer: 8 bytes, the KiB.
    pub const TMPFS: u8 = b'T';
    /// A question for the writer of a tmpfs; the text is what a file must hold to count, 8 bytes of
    /// KiB. The answer: that process, if it is known, with two such numbers: in which time, in
    /// nanoseconds, and what its file has grown by. Nothing, if that cannot be told.
    pub const WRITER: u8 = b'F';
    /// A question for the end of a sync of all disks, and the answer.
    pub const SYNC: u8 = b'Y';
    pub const SYNCED: u8 = b'D';
    /// A question for the end of a hook, which is run for `id` with the variables of the text.
    pub const HOOK_BEFORE: u8 = b'B';
    pub const HOOK_AFTER: u8 = b'E';
    pub const HOOK_SHORT: u8 = b'W';
    pub const HOOK_ENDED: u8 = b'H';
}

/// More than any user's number.
pub const NO_USER: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Message<'a> {
    pub kind: u8,
    pub id: Identity,
    pub number: u64,
    pub text: &'a [u8],
}

/// Kind, pid, start and number, 8 bytes each, before the text.
const FIELDS: usize = 4 * 8;
/// Room for a message as it is sent.
pub const BUFFER: [u8; FIELDS + TEXT] = [0; FIELDS + TEXT];

impl<'a> Message<'a> {
    fn fields(&self) -> [u8; FIELDS] {
        let pid = self.id.pid.number() as u64;
        let numbers = [self.kind.into(), pid, self.id.start, self.number];
        let mut fields = [0; FIELDS];
        for (field, number) in fields.chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_ne_bytes());
        }
        fields
    }

    pub fn send(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        socket::send_both(to, &self.fields(), self.text)
    }

    pub fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let text = bytes.get(FIELDS..)?;
        let mut numbers = [0; 4];
        unpack(bytes, &mut numbers);
        let [kind, pid, start, number] = numbers;
        let id = Identity { pid: Pid::new(pid as i64)?, start };
        Some(Message { kind: kind as u8, id, number, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_sent_is_parsed() {
        let (ours, theirs) = socket::pair().unwrap();
        let id = Identity { pid: Pid::new(42).unwrap(), start: u64::MAX };
        for message in [
            Message {
                kind: kind::LINE,
                id: Identity::NONE,
                number: Priority::Info as u64,
                text: b"",
            },
            Message { kind: kind::LINE_WITH_COMMAND, id, number: u64::MAX, text: b"hello" },
            Message { kind: kind::COMMAND, id, number: 1, text: &[b'x'; TEXT] },
        ] {
            message.send(ours.as_fd()).unwrap();
            let mut buf = BUFFER;
            let len = socket::receive(theirs.as_fd(), &mut buf).unwrap();
            assert_eq!(Message::parse(&buf[..len]), Some(message));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_two_characters() {
        let text = "é".repeat(LINE);
        let line = line(format_args!("{text}"));
        let line = std::str::from_utf8(line.as_bytes()).unwrap();
        assert_eq!(line, format!("{}...", "é".repeat((LINE - 3) / 2)));
    }

    #[test]
    fn pieces_are_no_message() {
        let fields =
            Message { kind: kind::REOPEN, id: Identity::NONE, number: 0, text: b"" }.fields();
        assert!((0..FIELDS).all(|len| Message::parse(&fields[..len]).is_none()));
        assert!(Message::parse(&fields).is_some());
        assert_eq!(Message::parse(&[0; FIELDS]), None);
    }
}
