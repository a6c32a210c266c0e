//! What watch and helper say to each other, as bytes. Never trusted to be whole.

use crate::bytes::Buf;
use crate::procfs::process::COMMAND_LINE;
use crate::stats::{Stats, PACKED};
use crate::units::{Identity, Moment, Pid};
use std::fmt::{self, Write};

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
        const ALL: [Priority; 4] =
            [Priority::Error, Priority::Warning, Priority::Notice, Priority::Debug];
        ALL.into_iter().find(|known| *known as i32 == number).unwrap_or(Priority::Info)
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

/// A message as it is sent: a kind, fixed fields, and text to its end.
pub struct Sealed(Buf<{ TEXT + FIELDS }>);

/// Kind, pid, start, and a number of many meanings.
const FIELDS: usize = 1 + 4 + 8 + 4;

impl Sealed {
    pub const BUFFER: [u8; TEXT + FIELDS] = [0; TEXT + FIELDS];

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Message<'a> {
    Line {
        priority: Priority,
        text: &'a [u8],
    },
    LineWithCommand {
        priority: Priority,
        id: Identity,
        text: &'a [u8],
    },
    /// The log file has been renamed.
    Reopen,
    Stats(Stats),
    ReadCommand {
        id: Identity,
        question: i32,
    },
    /// The answer to a question; `None` if it could not be read.
    Command {
        question: i32,
        line: Option<&'a [u8]>,
    },
    Release {
        id: Identity,
        group: Option<Pid>,
    },
    /// `event` is a packed one, here and below.
    Hook {
        when: When,
        number: i32,
        /// When it was asked for.
        at: Moment,
        event: &'a [u8],
    },
    HookEnded {
        number: i32,
    },
    Notify {
        word: Word,
        event: &'a [u8],
    },
}

const NOBODY: Identity = Identity { pid: Pid::INIT, start: 0 };

impl<'a> Message<'a> {
    pub fn seal(self) -> Sealed {
        let packed;
        let (kind, id, number, text) = match self {
            Message::Line { priority, text } => (b'L', NOBODY, priority as i32, text),
            Message::LineWithCommand { priority, id, text } => (b'V', id, priority as i32, text),
            Message::Reopen => (b'O', NOBODY, 0, &b""[..]),
            Message::Stats(stats) => {
                packed = stats.pack();
                (b'S', NOBODY, 0, &packed[..])
            }
            Message::ReadCommand { id, question } => (b'C', id, question, &b""[..]),
            Message::Command { question, line: Some(line) } => (b'A', NOBODY, question, line),
            Message::Command { question, line: None } => (b'U', NOBODY, question, &b""[..]),
            Message::Release { id, group } => (b'R', id, group.map_or(0, Pid::number), &b""[..]),
            Message::Hook { when, number, at, event } => {
                let kind = if when == When::Before { b'B' } else { b'E' };
                (kind, Identity { start: at.0, ..NOBODY }, number, event)
            }
            Message::HookEnded { number } => (b'H', NOBODY, number, &b""[..]),
            Message::Notify { word, event } => (b'N', NOBODY, word as i32, event),
        };
        let mut bytes = Buf::new();
        bytes.push(&[kind]);
        bytes.push(&id.pid.number().to_ne_bytes());
        bytes.push(&id.start.to_ne_bytes());
        bytes.push(&number.to_ne_bytes());
        bytes.push(text);
        Sealed(bytes)
    }

    pub fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let (fields, text) = (bytes.get(..FIELDS)?, &bytes[FIELDS..]);
        let number = |at: usize| Some(i32::from_ne_bytes(fields.get(at..at + 4)?.try_into().ok()?));
        let pid = Pid::new(number(1)?.into())?;
        let start = u64::from_ne_bytes(fields[5..13].try_into().ok()?);
        let (id, number) = (Identity { pid, start }, number(13)?);
        let priority = Priority::of(number);
        match fields[0] {
            b'L' => Some(Message::Line { priority, text }),
            b'V' => Some(Message::LineWithCommand { priority, id, text }),
            b'O' => Some(Message::Reopen),
            b'S' => Stats::unpack(text).map(Message::Stats),
            b'C' => Some(Message::ReadCommand { id, question: number }),
            b'A' => Some(Message::Command { question: number, line: Some(text) }),
            b'U' => Some(Message::Command { question: number, line: None }),
            b'R' => Some(Message::Release { id, group: Pid::new(number.into()) }),
            b'B' | b'E' => {
                let when = if fields[0] == b'B' { When::Before } else { When::After };
                Some(Message::Hook { when, number, at: Moment(start), event: text })
            }
            b'H' => Some(Message::HookEnded { number }),
            b'N' => {
                let words = [Word::Killed, Word::Nobody, Word::Kernel, Word::Stuck];
                let word = words.into_iter().find(|word| *word as i32 == number)?;
                Some(Message::Notify { word, event: text })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_parsed() {
        let id = Identity { pid: Pid::new(42).unwrap(), start: u64::MAX };
        let mut stats = Stats::default();
        stats.count_look();
        for message in [
            Message::Line { priority: Priority::Info, text: b"" },
            Message::Line { priority: Priority::Error, text: b"hello" },
            Message::LineWithCommand { priority: Priority::Debug, id, text: b"sending" },
            Message::Reopen,
            Message::Stats(stats),
            Message::ReadCommand { id, question: 7 },
            Message::Command { question: i32::MIN, line: Some(b"sh -c x") },
            Message::Command { question: 0, line: Some(b"") },
            Message::Command { question: -1, line: None },
            Message::Command { question: 1, line: Some(&[b'x'; COMMAND_LINE]) },
            Message::Release { id, group: None },
            Message::Release { id, group: Pid::new(7) },
            Message::Hook { when: When::Before, number: 1, at: Moment(7), event: b"x" },
            Message::Hook { when: When::After, number: -1, at: Moment(0), event: b"" },
            Message::HookEnded { number: 9 },
            Message::Notify { word: Word::Killed, event: b"x" },
            Message::Notify { word: Word::Stuck, event: b"x" },
        ] {
            assert_eq!(Message::parse(message.seal().as_bytes()), Some(message));
        }
    }

    #[test]
    fn pieces_and_garbage_are_no_message() {
        let sealed = Message::Line { priority: Priority::Info, text: b"" }.seal();
        for len in 0..sealed.as_bytes().len() {
            assert_eq!(Message::parse(&sealed.as_bytes()[..len]), None);
        }
        assert_eq!(Message::parse(&[b'x'; 40]), None);
        let packed = Message::Stats(Stats::default()).seal();
        assert_eq!(Message::parse(&packed.as_bytes()[..packed.as_bytes().len() - 1]), None);
    }
}
