//! What watch and helper say to each other, as bytes. Never trusted to be whole.

use crate::bytes::Buf;
use crate::procfs::process::COMMAND_LINE;
use crate::units::{Identity, Pid};

/// Longest line that is written; `proc(5)` names and a command line of 256 bytes, each
/// byte escaped to four, fit with the rest of the longest message. A longer one is cut.
pub const LINE: usize = 1500;

/// The longest text of all: a line, or a command line as patterns see it.
const TEXT: usize = COMMAND_LINE;
const _: () = assert!(TEXT >= LINE);

/// A message as it is sent: a kind, fixed fields, and text to its end.
pub struct Sealed(Buf<{ TEXT + FIELDS }>);

/// Kind, pid, start, group or number of a question.
const FIELDS: usize = 1 + 4 + 8 + 4;

impl Sealed {
    pub const BUFFER: [u8; TEXT + FIELDS] = [0; TEXT + FIELDS];

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    Line {
        text: &'a [u8],
    },
    LineWithCommand {
        id: Identity,
        text: &'a [u8],
    },
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
}

const NOBODY: Identity = Identity { pid: Pid::INIT, start: 0 };

impl<'a> Message<'a> {
    pub fn seal(self) -> Sealed {
        let (kind, id, number, text) = match self {
            Message::Line { text } => (b'L', NOBODY, 0, text),
            Message::LineWithCommand { id, text } => (b'V', id, 0, text),
            Message::ReadCommand { id, question } => (b'C', id, question, &b""[..]),
            Message::Command { question, line: Some(line) } => (b'A', NOBODY, question, line),
            Message::Command { question, line: None } => (b'U', NOBODY, question, &b""[..]),
            Message::Release { id, group } => (b'R', id, group.map_or(0, Pid::number), &b""[..]),
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
        let id = Identity { pid, start };
        match fields[0] {
            b'L' => Some(Message::Line { text }),
            b'V' => Some(Message::LineWithCommand { id, text }),
            b'C' => Some(Message::ReadCommand { id, question: number(13)? }),
            b'A' => Some(Message::Command { question: number(13)?, line: Some(text) }),
            b'U' => Some(Message::Command { question: number(13)?, line: None }),
            b'R' => Some(Message::Release { id, group: Pid::new(number(13)?.into()) }),
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
        for message in [
            Message::Line { text: b"" },
            Message::Line { text: b"hello" },
            Message::LineWithCommand { id, text: b"sending" },
            Message::ReadCommand { id, question: 7 },
            Message::Command { question: i32::MIN, line: Some(b"sh -c x") },
            Message::Command { question: 0, line: Some(b"") },
            Message::Command { question: -1, line: None },
            Message::Command { question: 1, line: Some(&[b'x'; COMMAND_LINE]) },
            Message::Release { id, group: None },
            Message::Release { id, group: Pid::new(7) },
        ] {
            assert_eq!(Message::parse(message.seal().as_bytes()), Some(message));
        }
    }

    #[test]
    fn pieces_and_garbage_are_no_message() {
        let sealed = Message::Line { text: b"" }.seal();
        for len in 0..sealed.as_bytes().len() {
            assert_eq!(Message::parse(&sealed.as_bytes()[..len]), None);
        }
        assert_eq!(Message::parse(&[b'x'; 40]), None);
    }
}
