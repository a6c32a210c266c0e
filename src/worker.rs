//! A forked process that finds something out for the guard: it reads files that may hang, and
//! allocates. The guard takes its answers one by one, and never waits for them.

use crate::bytes::Buf;
use crate::helper::{line, Priority, LINE};
use crate::sys::fd::{self, Wish};
use crate::sys::io;
use crate::sys::{arena, clock, memory, process, signal, socket};
use crate::units::Moment;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long one may take; longer, and a file hangs.
const LIMIT: Duration = Duration::from_secs(10);
/// Text that is sent at a time.
const PIECE: usize = LINE;

pub struct Worker {
    ours: OwnedFd,
    until: Moment,
}

/// For one message: its kind, a detail, and a piece of text.
pub const ROOM: usize = PIECE + 2;

pub enum Answer<'a> {
    Line(Priority, &'a [u8]),
    /// More of the text of a file.
    Text(usize, &'a [u8]),
    /// It is over, and all is well or not.
    Done(bool),
}

impl Worker {
    /// Sends a child; `run` is true if all is well. A child that hangs is ended.
    pub fn start(run: impl FnOnce(&mut Replies<'_>) -> bool) -> io::Result<Worker> {
        let (ours, theirs) = socket::pair()?;
        process::split(Some(theirs.as_fd()), || {
            arena::open();
            signal::leave_to_parent();
            signal::end_after(LIMIT.as_secs() as u32);
            let mut replies = Replies { watch: theirs.as_fd() };
            let good = run(&mut replies);
            replies.send(b'D', u8::from(good), b"");
            0
        })?;
        // The fork has made the pages common; what is not brought in now is when it is needed.
        let _ = memory::touch_all(memory::WATCH);
        Ok(Worker { ours, until: clock::now().after(LIMIT) })
    }

    /// What becomes readable when something has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    /// When it is given up.
    pub fn deadline(&self) -> Moment {
        self.until
    }

    /// The next that has come, if anything has. One whose process has ended early is over.
    pub fn next<'a>(&mut self, room: &'a mut [u8; ROOM]) -> Option<Answer<'a>> {
        let came = socket::receive(self.ours.as_fd(), room);
        match (came, room) {
            (Ok(len @ 2..=ROOM), [kind, detail, text @ ..]) => Some(match kind {
                b'L' => Answer::Line(Priority::of((*detail).into()), &text[..len - 2]),
                b'T' => Answer::Text((*detail).into(), &text[..len - 2]),
                _ => Answer::Done(*detail != 0),
            }),
            (Err(error), _) if error.is_for_later() && clock::now() < self.until => None,
            _ => Some(Answer::Done(false)),
        }
    }
}

/// The way back to the watch.
pub struct Replies<'a> {
    watch: BorrowedFd<'a>,
}

impl Replies<'_> {
    /// Has a line written.
    pub fn say(&mut self, priority: Priority, text: fmt::Arguments<'_>) {
        self.line(priority, line(text).as_bytes());
    }

    /// The same of a finished line.
    pub fn line(&mut self, priority: Priority, line: &[u8]) {
        self.send(b'L', priority as u8, line);
    }

    /// Hands the text of a file to the watch, which knows it by its number.
    pub fn text(&mut self, file: usize, text: &[u8]) {
        let number = u8::try_from(file).unwrap_or(u8::MAX);
        text.chunks(PIECE).for_each(|piece| self.send(b'T', number, piece));
    }

    /// Waits while the watch has other things to do.
    fn send(&mut self, kind: u8, detail: u8, text: &[u8]) {
        let mut message = Buf::<ROOM>::new();
        message.push(&[kind, detail]);
        message.push(text);
        while let Err(error) = fd::write(self.watch, message.as_bytes()) {
            if !error.is_for_later() {
                return;
            }
            fd::wait_for(self.watch, Wish::Writable, LIMIT);
        }
    }
}
