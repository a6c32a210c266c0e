//! Lines on their way out, none of which may hold anything up: standard error may be a
//! pipe that nobody reads, the log's disk full, and syslogd gone for a while.
//!
//! What cannot be written waits; what finds no room is counted, and that is said when lines
//! pass again.

use super::message::{line, Line, Priority, LINE, LOST};
use crate::bytes::{self, Buf, Escaped};
use crate::settings::Outputs;
use crate::sys::errno;
use crate::sys::fd::{self, Access, Waiter, Wish};
use crate::sys::io;
use crate::sys::{clock, socket};
use crate::units::{Moment, Path, Pid, Timestamp};
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Some hundred lines: a kill with all that is said about it, many times over.
const ROOM: usize = 8 * 1024;
/// A pipe that is ready for writing takes this much without waiting (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;
/// Between two tries where nothing tells that it would work again.
const AGAIN: Duration = Duration::from_secs(1);
/// Where syslogd listens.
const SYSLOG: &[u8] = b"/dev/log\0";
/// The facility of daemons, as it stands before a line (syslog(3)).
const DAEMON: u8 = 3 << 3;

/// A line with all that an outbox adds: its time or its sender, and what was lost.
type Entry = Buf<ENTRY>;
const ENTRY: usize = LINE + 128;

/// All places that messages go to.
pub struct Outboxes<'a> {
    /// The first is standard error, in use even where messages go elsewhere: what is wrong
    /// there is said here.
    all: [Option<Outbox<'a>>; 3],
    to_stderr: bool,
}

impl<'a> Outboxes<'a> {
    /// `sender` is the number that syslog shows. The only call that allocates.
    pub fn open(outputs: &'a Outputs, sender: Pid) -> Outboxes<'a> {
        let file = outputs.log_file.as_ref();
        let stderr = Outbox::new(Sink::Stderr(own_terminal()));
        let file = file.map(|path| Outbox::new(Sink::File { path, open: None }));
        let syslog = outputs.syslog.then(|| Outbox::new(Sink::Syslog { sender, socket: None }));
        Outboxes { all: [Some(stderr), file, syslog], to_stderr: outputs.stderr }
    }

    pub fn line(&mut self, priority: Priority, text: &[u8]) {
        let unused = usize::from(!self.to_stderr);
        for outbox in self.all[unused..].iter_mut().flatten() {
            outbox.line(priority, text);
        }
        // A file may take its time: first everything else that the watch wants.
        self.flush_those(false);
    }

    pub fn flush(&mut self) {
        self.flush_those(true);
    }

    /// Standard error comes last, for the trouble with the others.
    fn flush_those(&mut self, with_files: bool) {
        let [stderr, others @ ..] = &mut self.all;
        let Some(stderr) = stderr else { return };
        for outbox in others.iter_mut().flatten() {
            let may_wait = matches!(outbox.sink, Sink::File { .. });
            if with_files || !may_wait || outbox.bytes.room() < ENTRY {
                if let Err(error) = outbox.flush() {
                    stderr.line(Priority::Error, outbox.sink.trouble(error).as_bytes());
                }
            }
        }
        let _ = stderr.flush();
    }

    /// A file that was renamed is left, and made anew under its name.
    pub fn reopen(&mut self) {
        self.flush();
        for outbox in self.all.iter_mut().flatten() {
            if let Sink::File { open, .. } = &mut outbox.sink {
                *open = None;
                outbox.again_at = Moment::default();
            }
        }
    }

    /// Adds what a wait ends by; returns after what time to try again anyway.
    pub fn wait_by(&self, waiter: &mut Waiter<5>) -> Option<Duration> {
        let mut again = None;
        for outbox in self.all.iter().flatten() {
            if !outbox.bytes.as_bytes().is_empty() {
                match outbox.sink.pollable() {
                    Some(fd) => drop(waiter.add(fd, Wish::Writable)),
                    None => again = Some(AGAIN),
                }
            }
        }
        again
    }

    /// Gives slow readers some time for the last lines.
    pub fn finish(&mut self, limit: Duration) {
        let end = clock::now().after(limit);
        loop {
            self.flush();
            let left = end.since(clock::now());
            let mut waiter = Waiter::new();
            let again = self.wait_by(&mut waiter);
            if left == Duration::ZERO || (waiter.is_empty() && again.is_none()) {
                return;
            }
            waiter.wait(Some(left.min(again.unwrap_or(left))));
        }
    }
}

struct Outbox<'a> {
    sink: Sink<'a>,
    /// Finished lines, each with its newline. Apart, since most outboxes are not in use.
    bytes: Box<Buf<ROOM>>,
    lost: u32,
    /// What went out last was no whole line, and told of so many lost ones.
    torn: Option<u32>,
    /// Nothing went out lately, which was said.
    in_trouble: bool,
    again_at: Moment,
}

impl<'a> Outbox<'a> {
    fn new(sink: Sink<'a>) -> Outbox<'a> {
        let (bytes, again_at) = (Box::new(Buf::new()), Moment::default());
        Outbox { sink, bytes, lost: 0, torn: None, in_trouble: false, again_at }
    }

    /// Takes a whole line or none.
    fn line(&mut self, priority: Priority, text: &[u8]) {
        let mut entry = Entry::new();
        if self.torn.is_some() && self.bytes.as_bytes().is_empty() {
            entry.push(b"\n");
        }
        if self.lost > 0 {
            self.sink.begin(&mut entry, Priority::Warning);
            let _ = writeln!(entry, "{}{LOST}", self.lost);
        }
        self.sink.begin(&mut entry, priority);
        entry.push(text);
        entry.push(b"\n");
        if entry.is_cut() {
            entry.end_with(b"...\n");
        }
        if self.bytes.room() < entry.as_bytes().len() {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.lost = 0;
        self.bytes.push(entry.as_bytes());
    }

    /// Writes as much as is taken without waiting. The error is one where trouble begins,
    /// and to be told.
    fn flush(&mut self) -> io::Result<()> {
        while !self.bytes.as_bytes().is_empty() && clock::now() >= self.again_at {
            match self.sink.write(self.bytes.as_bytes()) {
                Ok(written) => {
                    self.torn = torn_after(self.bytes.as_bytes(), written);
                    self.bytes.drop_front(written);
                    self.in_trouble = false;
                }
                Err(error) if errno::is_for_later(error) && self.sink.pollable().is_some() => {
                    break;
                }
                // Nobody will ever read it, or it is a file on a full disk.
                Err(_) if matches!(self.sink, Sink::Stderr(_)) => {
                    let lost = lost_with(self.bytes.as_bytes(), self.torn);
                    self.lost = self.lost.saturating_add(lost);
                    self.bytes.clear();
                }
                Err(error) => {
                    self.sink.close();
                    self.again_at = clock::now().after(AGAIN);
                    return match std::mem::replace(&mut self.in_trouble, true) {
                        true => Ok(()),
                        false => Err(error),
                    };
                }
            }
        }
        Ok(())
    }
}

/// Of how many lost lines the line tells within which the first `written` of `bytes` end.
fn torn_after(bytes: &[u8], written: usize) -> Option<u32> {
    let begin = bytes[..written].iter().rposition(is_end).map_or(0, |end| end + 1);
    let rest = &bytes[begin..];
    let len = rest.iter().position(is_end).unwrap_or(rest.len());
    (begin < written).then(|| told_in(&rest[..len]))
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

/// Of how many lost lines this one tells.
fn told_in(line: &[u8]) -> u32 {
    let number = line.strip_suffix(LOST.as_bytes()).and_then(bytes::parse_u64);
    number.map_or(0, |number| number as u32)
}

/// How many lines are lost when `waiting` is, of which the first has been begun where one is
/// `torn`: that is there in part, unless it told of others.
fn lost_with(waiting: &[u8], torn: Option<u32>) -> u32 {
    let mut lost = torn.unwrap_or(0);
    for line in waiting.split_inclusive(is_end).skip(usize::from(torn.is_some())) {
        lost = lost.saturating_add(told_in(&line[..line.len() - 1]).max(1));
    }
    lost
}

fn own_terminal() -> Option<OwnedFd> {
    match fd::is_terminal(fd::stderr()) {
        true => fd::open_bytes(b"/proc/self/fd/2\0", Access::Trigger).ok(),
        false => None,
    }
}

/// Where the lines of one outbox go.
enum Sink<'a> {
    /// With a terminal, which may take only a part of what a pipe does, opened a second time
    /// for writing without waiting.
    Stderr(Option<OwnedFd>),
    File {
        path: &'a Path,
        open: Option<OwnedFd>,
    },
    Syslog {
        sender: Pid,
        socket: Option<OwnedFd>,
    },
}

impl Sink<'_> {
    fn begin(&self, entry: &mut Entry, priority: Priority) {
        let _ = match self {
            Sink::Stderr(_) => Ok(()),
            Sink::File { .. } => write!(entry, "{} ", Timestamp(clock::wall())),
            // syslogd adds the time (RFC 3164, 4.3.2).
            Sink::Syslog { sender, .. } => {
                write!(entry, "<{}>oom_guard[{sender}]: ", DAEMON | priority as u8)
            }
        };
    }

    /// Writes from the front of `lines`, and returns how much.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stderr(_) if !fd::is_ready_now(fd::stderr(), Wish::Writable) => {
                Err(errno::for_later())
            }
            Sink::Stderr(terminal) => {
                // Whole lines: two helpers write while one takes over from the other.
                let piece = &lines[..lines.len().min(AT_ONCE)];
                let end = piece.iter().rposition(is_end).map_or(piece.len(), |end| end + 1);
                let to = terminal.as_ref().map_or(fd::stderr(), AsFd::as_fd);
                fd::write(to, &piece[..end])
            }
            Sink::File { path, open } => {
                let file = match open {
                    Some(file) => file,
                    None => open.insert(fd::open_bytes(path.terminated(), Access::Append)?),
                };
                fd::write(file.as_fd(), lines)
            }
            Sink::Syslog { socket, .. } => {
                let end = lines.iter().position(is_end).unwrap_or(lines.len());
                let line = &lines[..end];
                let sent = match socket {
                    Some(open) => socket::send(open.as_fd(), line),
                    None => Err(errno::gone()),
                };
                match sent {
                    Err(error) if !errno::is_for_later(error) => {
                        // A syslogd that was started anew listens at another socket there.
                        let open = socket.insert(socket::connect(SYSLOG)?);
                        socket::send(open.as_fd(), line)?;
                    }
                    result => result?,
                }
                Ok((end + 1).min(lines.len()))
            }
        }
    }

    /// What tells that it can be written to again.
    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Sink::Stderr(_) => Some(fd::stderr()),
            Sink::File { .. } => None,
            Sink::Syslog { socket, .. } => socket.as_ref().map(AsFd::as_fd),
        }
    }

    fn close(&mut self) {
        match self {
            Sink::Stderr(_) => {}
            Sink::File { open: fd, .. } | Sink::Syslog { socket: fd, .. } => *fd = None,
        }
    }

    fn trouble(&self, error: io::Error) -> Line {
        let path = match self {
            Sink::Stderr(_) => &b"standard error"[..],
            Sink::File { path, .. } => path.as_bytes(),
            Sink::Syslog { .. } => SYSLOG.split_last().map_or(SYSLOG, |(_, path)| path),
        };
        let path = Escaped(path);
        line(format_args!("warning: cannot write to {path}: {error}; messages wait"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_counted_once() {
        assert_eq!(lost_with(b"", None), 0);
        assert_eq!(lost_with(b"a\nb\n", None), 2);
        assert_eq!(lost_with(b"7 messages were lost here\nb\n", None), 8);
        // The rest of a line, of which the beginning is there.
        assert_eq!(lost_with(b"st\nb\n", Some(0)), 1);
        assert_eq!(lost_with(b" were lost here\nb\n", Some(7)), 8);
    }
}
