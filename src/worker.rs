//! A forked process that finds something out for the guard: it reads files that may hang, and
//! allocates. What comes of it is left in memory that both share. The guard takes that in one
//! step when the process has ended, and never waits for it.

use crate::helper::{line, Priority};
use crate::sys::fd::{self, Interest};
use crate::sys::io;
use crate::sys::memory::{self, Shared};
use crate::sys::{clock, process, signal, socket};
use crate::units::Moment;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long one may take; longer, and a file hangs.
pub const LIMIT: Duration = Duration::from_secs(10);
/// For all that comes of it: four configuration files of the largest kind.
const ROOM: usize = 256 * 1024;
const TOO_MUCH: &[u8] =
    b"the configuration files, and what is to be said of them, take more than 256 KiB";

pub struct Worker {
    /// Ends with the process; `None` once that was seen, or the process was given up.
    end: Option<OwnedFd>,
    until: Moment,
    /// Records, and zero behind them. `None` for a process that was given up: it may still write.
    room: Option<Shared>,
}

impl Worker {
    /// Sends a child; `run` is true if all is well. A child that hangs is ended.
    pub fn start(run: impl FnOnce(&mut Replies) -> bool) -> io::Result<Worker> {
        let (ours, theirs) = socket::pair()?;
        let mut room = Shared::new(ROOM)?;
        process::split(Some(theirs.as_fd()), || {
            signal::end_after(LIMIT.as_secs() as u32);
            let mut replies = Replies::default();
            let is_good = run(&mut replies);
            replies.put(if is_good { GOOD } else { BAD }, b"");
            replies.leave_in(room.bytes_mut());
            0
        })?;
        // A helper that is started meanwhile would keep it.
        room.share_no_more();
        // The fork has made the pages common; what is not brought in now is when it is needed.
        let _ = memory::touch_all(memory::WATCH);
        Ok(Worker { end: Some(ours), until: clock::now().after(LIMIT), room: Some(room) })
    }

    /// What becomes readable when it is over.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// When it is given up.
    pub fn deadline(&self) -> Option<Moment> {
        self.end.as_ref().map(|_| self.until)
    }

    /// Whether it has ended, or is given up.
    pub fn is_over(&mut self) -> bool {
        let Some(end) = &self.end else { return true };
        let has_ended = fd::is_ready_now(end.as_fd(), Interest::Readable);
        if !has_ended {
            if clock::now() < self.until {
                return false;
            }
            self.room = None;
        }
        self.end = None;
        true
    }

    pub fn is_good(&self) -> bool {
        self.records().any(|(kind, _)| kind == GOOD)
    }

    /// It has come to an end, good or bad: it neither hung nor was ended.
    pub fn has_answered(&self) -> bool {
        self.records().any(|(kind, _)| kind == GOOD || kind == BAD)
    }

    /// What it has to say.
    pub fn lines(&self) -> impl Iterator<Item = (Priority, &[u8])> {
        let lines = self.records().filter(|(kind, _)| ![TEXT, GOOD, BAD].contains(kind));
        lines.map(|(kind, line)| (Priority::of(kind.into()), line))
    }

    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.records().filter(|&(kind, _)| kind == TEXT).map(|(_, text)| text)
    }

    /// None before it is over, and no broken one.
    fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let room = self.room.as_ref().filter(|_| self.end.is_none());
        let mut rest = room.map_or(&[][..], Shared::bytes);
        std::iter::from_fn(move || {
            let (head, behind) = (rest.get(..HEAD)?, rest.get(HEAD..)?);
            let len = u32::from_ne_bytes(head[1..].try_into().ok()?) as usize;
            let text = behind.get(..len).filter(|_| head[0] != 0)?;
            rest = &behind[len..];
            Some((head[0], text))
        })
    }
}

/// A record begins with its kind and the length of its text.
const HEAD: usize = 5;
pub const TEXT: u8 = b'T';
/// The last one, if all is well.
const GOOD: u8 = b'G';
/// The last one, if not.
const BAD: u8 = b'B';

/// What comes of it, record by record. Allocates.
#[derive(Default)]
pub struct Replies(Vec<u8>);

impl Replies {
    /// Has a line written.
    pub fn say(&mut self, priority: Priority, text: fmt::Arguments<'_>) {
        self.put(priority as u8, line(text).as_bytes());
    }

    /// Leaves a text for the watch (`TEXT`), or a line, whose kind is its priority.
    pub fn put(&mut self, kind: u8, text: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(text.len() as u32).to_ne_bytes());
        self.0.extend_from_slice(text);
    }

    /// All of it, or that it is too much.
    fn leave_in(&mut self, room: &mut [u8]) {
        if self.0.len() > room.len() {
            self.0.clear();
            self.put(Priority::Error as u8, TOO_MUCH);
            self.put(BAD, b"");
        }
        room[..self.0.len()].copy_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is over, with what `reply` left.
    fn over(reply: impl FnOnce(&mut Replies)) -> Worker {
        let mut room = Shared::new(4096).unwrap();
        let mut replies = Replies::default();
        reply(&mut replies);
        replies.leave_in(room.bytes_mut());
        Worker { end: None, until: Moment::default(), room: Some(room) }
    }

    #[test]
    fn what_was_left_is_found() {
        let worker = over(|replies| {
            replies.say(Priority::Warning, format_args!("hello"));
            replies.put(TEXT, b"one");
            replies.put(TEXT, b"");
            replies.put(Priority::Info as u8, b"");
            replies.put(GOOD, b"");
        });
        let lines: Vec<_> = worker.lines().collect();
        assert_eq!(lines, [(Priority::Warning, &b"hello"[..]), (Priority::Info, b"")]);
        assert_eq!(worker.texts().collect::<Vec<_>>(), [&b"one"[..], b""]);
        assert!(worker.is_good() && worker.has_answered());
        let ended = over(|replies| replies.put(TEXT, b"one"));
        assert!(!ended.is_good() && !ended.has_answered());
        let bad = over(|replies| replies.put(BAD, b""));
        assert!(!bad.is_good() && bad.has_answered() && bad.lines().next().is_none());
    }

    #[test]
    fn what_does_not_fit_is_said_and_is_not_good() {
        for (len, fits) in [(4096 - 2 * HEAD, true), (4097 - 2 * HEAD, false), (9999, false)] {
            let worker = over(|replies| {
                replies.put(TEXT, &vec![b'x'; len]);
                replies.put(GOOD, b"");
            });
            assert_eq!((worker.texts().count() == 1, worker.is_good()), (fits, fits), "{len}");
            assert!(worker.has_answered());
            assert_eq!(worker.lines().any(|line| line == (Priority::Error, TOO_MUCH)), !fits);
        }
    }

    #[test]
    fn before_it_is_over_there_is_nothing_and_what_was_given_up_is_left_alone() {
        let (ours, _theirs) = socket::pair().unwrap();
        let mut worker = over(|replies| replies.put(TEXT, b"one"));
        (worker.end, worker.until) = (Some(ours), clock::now().after(LIMIT));
        assert!(!worker.is_over() && worker.texts().next().is_none());
        worker.until = clock::now();
        assert!(worker.is_over() && worker.texts().next().is_none());
        assert!(worker.fd().is_none() && worker.deadline().is_none() && !worker.has_answered());
    }

    #[test]
    fn pieces_of_a_record_are_none() {
        let mut worker = over(|replies| replies.put(TEXT, b"one"));
        let bytes = worker.room.as_mut().unwrap().bytes_mut();
        bytes[1..HEAD].fill(0xff);
        assert!(worker.texts().next().is_none() && !worker.is_good());
    }
}
