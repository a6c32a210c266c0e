//! Lines on their way out, none of which may hold anything up: standard error may be a
//! pipe that nothing reads, the log's disk full, and syslogd gone for a while.
//!
//! What cannot be written waits; what finds no room is counted, and that is said when lines
//! pass again.

use super::message::{line, Priority, LINE, LOST};
use crate::bytes::{Buf, Escaped};
use crate::settings::Outputs;
use crate::sys::fd::{self, Access, Interest, Waiter};
use crate::sys::io;
use crate::sys::{clock, socket};
use crate::units::{Moment, Path, Pid, Timestamp};
use std::fmt::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Some hundred lines: a kill with all that is said about it, many times over.
const ROOM: usize = 8 * 1024;
/// A pipe that is ready for writing takes this much without waiting (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;
/// Between two tries if nothing tells that it would work again.
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
    /// In use even if messages go elsewhere: what is wrong there is said here.
    stderr: Outbox<'a>,
    to_stderr: bool,
    others: Vec<Outbox<'a>>,
}

impl<'a> Outboxes<'a> {
    /// `sender` is the number that syslog shows. The only call that allocates.
    pub fn open(outputs: &'a Outputs, sender: Pid) -> Outboxes<'a> {
        let mut others = Vec::new();
        if let Some(path) = &outputs.log_file {
            others.push(Outbox::new(To::File(path), None));
        }
        if outputs.syslog {
            others.push(Outbox::new(To::Syslog(sender), None));
        }
        let to = To::Stderr { is_journal: fd::stderr_is_journal() };
        let stderr = Outbox::new(to, own_terminal());
        Outboxes { stderr, to_stderr: outputs.stderr, others }
    }

    pub fn say(&mut self, priority: Priority, text: fmt::Arguments<'_>) {
        self.line(priority, line(text).as_bytes());
    }

    pub fn line(&mut self, priority: Priority, text: &[u8]) {
        for outbox in &mut self.others {
            outbox.push(priority, text);
        }
        if self.to_stderr {
            self.stderr.push(priority, text);
        }
        // A file may take its time: first everything else that the watch wants.
        self.flush_those(false);
    }

    pub fn flush(&mut self) {
        self.flush_those(true);
    }

    /// Standard error comes last, for the trouble with the others.
    fn flush_those(&mut self, with_files: bool) {
        for outbox in &mut self.others {
            let may_wait = matches!(outbox.to, To::File(_)) && outbox.lines.room() >= ENTRY;
            if with_files || !may_wait {
                if let Err(error) = outbox.flush() {
                    let path = Escaped(outbox.to.path());
                    let text = "warning: cannot write to";
                    let text = line(format_args!("{text} {path}: {error}; messages wait"));
                    self.stderr.push(Priority::Warning, text.as_bytes());
                }
            }
        }
        let _ = self.stderr.flush();
    }

    /// A file that was renamed is left, and made anew under its name.
    pub fn reopen(&mut self) {
        self.flush();
        for outbox in self.others.iter_mut().filter(|outbox| matches!(outbox.to, To::File(_))) {
            outbox.open = None;
            outbox.retry_at = outbox.retry_at.and(Some(Moment::default()));
        }
    }

    /// Adds what a wait ends by; returns when to try again anyway.
    pub fn wait_by(&self, waiter: &mut Waiter<5>) -> Option<Moment> {
        let mut again = None;
        for outbox in self.others.iter().chain([&self.stderr]) {
            match outbox.pollable() {
                _ if outbox.lines.as_bytes().is_empty() => {}
                Some(fd) => drop(waiter.add(fd, Interest::Writable)),
                // The next line tries it again: its reader may be gone for good.
                None if outbox.to.is_stderr() => {}
                None => again = Some(clock::now().after(AGAIN)),
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
            waiter.wait(Some(left));
        }
    }
}

#[derive(Clone, Copy)]
enum To<'a> {
    /// The journal takes the priority of a line from its beginning (sd-daemon(3)).
    Stderr {
        is_journal: bool,
    },
    File(&'a Path),
    Syslog(Pid),
}

impl<'a> To<'a> {
    fn is_stderr(self) -> bool {
        matches!(self, To::Stderr { .. })
    }

    fn path(self) -> &'a [u8] {
        match self {
            To::Stderr { .. } => b"standard error",
            To::File(path) => path.as_bytes(),
            To::Syslog(_) => SYSLOG.strip_suffix(b"\0").unwrap_or(SYSLOG),
        }
    }
}

struct Outbox<'a> {
    to: To<'a>,
    /// The file or the socket, while it can be written to. For standard error, if that is a
    /// terminal, the same opened once more for writing without waiting: it may take only a part
    /// of what a pipe does.
    open: Option<OwnedFd>,
    /// Finished lines, each with its newline. Apart, since most outboxes are not in use.
    lines: Box<Buf<ROOM>>,
    lost: u32,
    /// Nothing could be written, which was said, and will be tried again then.
    retry_at: Option<Moment>,
}

impl<'a> Outbox<'a> {
    fn new(to: To<'a>, open: Option<OwnedFd>) -> Outbox<'a> {
        Outbox { to, open, lines: Box::new(Buf::new()), lost: 0, retry_at: None }
    }

    /// Takes a whole line or none.
    fn push(&mut self, priority: Priority, text: &[u8]) {
        let mut entry = Entry::new();
        if self.lost > 0 {
            self.begin(&mut entry, Priority::Warning);
            let _ = writeln!(entry, "{}{LOST}", self.lost);
        }
        self.begin(&mut entry, priority);
        entry.push(text);
        entry.push(b"\n");
        if entry.is_cut() {
            entry.end_with(b"...\n");
        }
        if self.lines.room() < entry.as_bytes().len() {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.lost = 0;
        self.lines.push(entry.as_bytes());
    }

    fn begin(&self, entry: &mut Entry, priority: Priority) {
        let _ = match self.to {
            To::Stderr { is_journal: false } => Ok(()),
            To::Stderr { is_journal: true } => write!(entry, "<{}>", priority as u8),
            To::File(_) => write!(entry, "{} ", Timestamp(clock::wall())),
            // syslogd adds the time (RFC 3164, 4.3.2).
            To::Syslog(sender) => {
                write!(entry, "<{}>oom_guard[{sender}]: ", DAEMON | priority as u8)
            }
        };
    }

    /// Writes as much as is taken without waiting. The error is one that trouble begins with,
    /// and to be told.
    fn flush(&mut self) -> io::Result<()> {
        if self.retry_at.is_some_and(|at| clock::now() < at) {
            return Ok(());
        }
        while !self.lines.as_bytes().is_empty() {
            match self.write() {
                Ok(written) => {
                    self.lines.drop_front(written);
                    self.retry_at = None;
                }
                Err(error) if error.is_for_later() && self.pollable().is_some() => break,
                Err(error) => {
                    if !self.to.is_stderr() {
                        self.open = None;
                    }
                    let before = self.retry_at.replace(clock::now().after(AGAIN));
                    return if before.is_some() { Ok(()) } else { Err(error) };
                }
            }
        }
        Ok(())
    }

    /// Writes from the front of the lines, and returns how much.
    fn write(&mut self) -> io::Result<usize> {
        let lines = self.lines.as_bytes();
        match self.to {
            To::Stderr { .. } if !fd::is_ready_now(fd::stderr(), Interest::Writable) => {
                Err(io::Error::FOR_LATER)
            }
            To::Stderr { .. } => {
                // Whole lines: two helpers write while one takes over from the other.
                let piece = &lines[..lines.len().min(AT_ONCE)];
                let end = piece.iter().rposition(is_end).map_or(piece.len(), |end| end + 1);
                let to = self.open.as_ref().map_or(fd::stderr(), AsFd::as_fd);
                fd::write(to, &piece[..end])
            }
            To::File(path) => {
                let file = match &mut self.open {
                    Some(file) => file,
                    none => none.insert(fd::open(path.terminated(), Access::Append)?),
                };
                fd::write(file.as_fd(), lines)
            }
            To::Syslog(_) => {
                let end = lines.iter().position(is_end).unwrap_or(lines.len());
                let line = &lines[..end];
                let sent = match &self.open {
                    Some(socket) => fd::write(socket.as_fd(), line),
                    None => Err(io::Error::GONE),
                };
                match sent {
                    Err(error) if !error.is_for_later() => {
                        // A syslogd that was started anew listens at another socket there.
                        let socket = self.open.insert(socket::connect(SYSLOG)?);
                        fd::write(socket.as_fd(), line)?
                    }
                    result => result?,
                };
                Ok((end + 1).min(lines.len()))
            }
        }
    }

    /// What tells that it can be written to again.
    fn pollable(&self) -> Option<BorrowedFd<'_>> {
        match self.to {
            To::Stderr { .. } => Some(fd::stderr()).filter(|_| self.retry_at.is_none()),
            To::File(_) => None,
            To::Syslog(_) => self.open.as_ref().map(AsFd::as_fd),
        }
    }
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

fn own_terminal() -> Option<OwnedFd> {
    match fd::is_terminal(fd::stderr()) {
        true => fd::open(b"/proc/self/fd/2\0", Access::Trigger).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::parse_u64;
    use std::fs;

    fn outbox_to(path: &Path) -> Outbox<'_> {
        Outbox::new(To::File(path), None)
    }

    #[test]
    fn what_is_lost_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("missing/log");
        let path = Path::of(name.to_str().unwrap().as_bytes());
        let mut outbox = outbox_to(&path);
        let mut said = 0;
        while outbox.lost < 7 {
            outbox.push(Priority::Info, b"hello");
            said += 1;
            // Trouble is told when it begins.
            assert_eq!(outbox.flush().is_err(), said == 1);
        }
        fs::create_dir(folder.path().join("missing")).unwrap();
        outbox.retry_at = Some(Moment::default());
        outbox.flush().unwrap();
        outbox.push(Priority::Info, b"hello");
        outbox.flush().unwrap();
        let log = fs::read_to_string(&name).unwrap();
        let lost = log.lines().filter_map(|line| line.strip_suffix(LOST)?.split(' ').next_back());
        let lost: Vec<_> = lost.map(|number| parse_u64(number.as_bytes()).unwrap()).collect();
        assert_eq!(lost, [7]);
        assert_eq!(log.lines().filter(|line| line.ends_with(" hello")).count(), said - 7 + 1);
    }
}
