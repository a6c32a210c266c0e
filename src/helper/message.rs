//! What watch and helper say to each other, as bytes. Never trusted to be whole.

use crate::bytes::Buf;
use crate::procfs::process::COMMAND_LINE;
use crate::stats::PACKED;
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
    /// Somebody is killed, or somebody should look.
    Warning = 4,
    /// Something has changed.
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Priority {
    /// Whatever else it is counts as `Info`.
    pub fn of(number: i32) -> Priority {
        match number {
            3 => Priority::Error,
            4 => Priority::Warning,
            5 => Priority::Notice,
            7 => Priority::Debug,
            _ => Priority::Info,
        }
    }
}

/// When a hook runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Before the first signal.
    Before,
    /// After the end of the process.
    After,
}

/// What people are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// A process was, or would be, sent a signal.
    Killed,
    /// Memory is low and nobody can be ended.
    Nobody,
    /// The kernel was asked to choose and kill.
    Kernel,
    /// A process does not die of SIGKILL.
    Stuck,
}

impl Word {
    /// Of a number that it was made into.
    pub fn of(number: i32) -> Word {
        match number {
            0 => Word::Killed,
            1 => Word::Nobody,
            2 => Word::Kernel,
            _ => Word::Stuck,
        }
    }
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
    /// A question, by its number, for the command line of `id`.
    pub const READ_COMMAND: u8 = b'C';
    /// The answer to a question; the second, if it could not be read.
    pub const COMMAND: u8 = b'A';
    pub const NO_COMMAND: u8 = b'U';
    /// A question for what all tmpfs hold, and the answer: a packed number of KiB.
    pub const TMPFS: u8 = b'T';
    /// The memory of `id`, and of the group of that number, if it is one.
    pub const RELEASE: u8 = b'R';
    /// A hook of that number, for the packed event; asked for at the moment `id.start`.
    pub const HOOK_BEFORE: u8 = b'B';
    pub const HOOK_AFTER: u8 = b'E';
    pub const HOOK_ENDED: u8 = b'H';
    /// People are told that word of the packed event.
    pub const NOTIFY: u8 = b'N';
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Message<'a> {
    pub kind: u8,
    pub id: Identity,
    pub number: i32,
    pub text: &'a [u8],
}

pub const NOBODY: Identity = Identity { pid: Pid::INIT, start: 0 };

/// Kind, pid, start and number, before the text.
const FIELDS: usize = 1 + 4 + 8 + 4;
/// Room for a message as it is sent.
pub const BUFFER: [u8; FIELDS + TEXT] = [0; FIELDS + TEXT];

impl<'a> Message<'a> {
    fn fields(&self) -> [u8; FIELDS] {
        let mut fields = [self.kind; FIELDS];
        fields[1..5].copy_from_slice(&self.id.pid.number().to_ne_bytes());
        fields[5..13].copy_from_slice(&self.id.start.to_ne_bytes());
        fields[13..].copy_from_slice(&self.number.to_ne_bytes());
        fields
    }

    pub fn send(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        socket::send_both(to, &self.fields(), self.text)
    }

    pub fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let fields: &[u8; FIELDS] = bytes.get(..FIELDS)?.try_into().ok()?;
        let number = |at: usize| {
            i32::from_ne_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
        };
        let start = u64::from_ne_bytes(fields[5..13].try_into().ok()?);
        let id = Identity { pid: Pid::new(number(1).into())?, start };
        Some(Message { kind: fields[0], id, number: number(13), text: &bytes[FIELDS..] })
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
            Message { kind: kind::LINE, id: NOBODY, number: Priority::Info as i32, text: b"" },
            Message { kind: kind::LINE_WITH_COMMAND, id, number: i32::MIN, text: b"hello" },
            Message { kind: kind::COMMAND, id, number: -1, text: &[b'x'; TEXT] },
        ] {
            message.send(ours.as_fd()).unwrap();
            let mut buf = BUFFER;
            let len = socket::receive(theirs.as_fd(), &mut buf).unwrap();
            assert_eq!(Message::parse(&buf[..len]), Some(message));
        }
    }

    #[test]
    fn pieces_are_no_message() {
        let fields = Message { kind: kind::REOPEN, id: NOBODY, number: 0, text: b"" }.fields();
        assert!((0..FIELDS).all(|len| Message::parse(&fields[..len]).is_none()));
        assert!(Message::parse(&fields).is_some());
        assert_eq!(Message::parse(&[0; FIELDS]), None);
    }
}
