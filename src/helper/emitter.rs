//! A third process, for `--low-memory-signal`: it holds the connection to the system bus, which may
//! hang. It is the watch's child and not the helper's, so it keeps the connection when a reload brings
//! another helper, and when a helper hangs.
//!
//! Here are both sides. The watch sends a byte for each level and never waits; what there is to say
//! comes back as lines.

use super::message::{self, kind, line, Message, Priority};
use crate::notify::low_memory;
use crate::sys::fd;
use crate::sys::io;
use crate::sys::{memory, process, socket};
use crate::units::{Identity, Moment, Pid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Between two starts of one that does not live.
const RESTART: Duration = Duration::from_secs(10);

/// The watch's end.
#[derive(Default)]
pub struct Emitter {
    /// `None` while there is none.
    at_work: Option<(OwnedFd, Pid)>,
    /// When the next one may be started.
    again_at: Moment,
}

impl Emitter {
    /// Starts one if it is wanted and there is none, which forks; ends one that is not wanted.
    pub fn tend(&mut self, is_wanted: bool, now: Moment) -> io::Result<()> {
        if !is_wanted {
            self.end();
        } else if self.at_work.is_none() && now >= self.again_at {
            self.again_at = now.after(RESTART);
            let (ours, theirs) = socket::pair()?;
            let theirs = theirs.as_fd();
            let pid = process::split(Some(theirs), || serve(theirs))?;
            self.at_work = Some((ours, pid));
            // As after each fork (`Helper::spawn`).
            let _ = memory::touch_all(memory::WATCH);
        }
        Ok(())
    }

    /// Has it emit the signal. One that takes nothing any more misses it.
    pub fn emit(&self, level: u8) {
        if let Some((ours, _)) = &self.at_work {
            let _ = fd::write(ours.as_fd(), &[level]);
        }
    }

    /// What becomes readable when it has something to say, or has ended.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.at_work.as_ref().map(|(ours, _)| ours.as_fd())
    }

    /// Takes what it says.
    pub fn hear(&mut self, take: &mut dyn FnMut(Priority, &[u8])) {
        let mut buf = message::BUFFER;
        while let Some((ours, _)) = &self.at_work {
            match socket::receive(ours.as_fd(), &mut buf) {
                Ok(len @ 1..) => {
                    if let Some(Message { number, text, .. }) = Message::parse(&buf[..len]) {
                        take(Priority::of(number), text);
                    }
                }
                Err(error) if error.is_for_later() => return,
                _ => self.end(),
            }
        }
    }

    /// A child has ended: its number may soon be another's.
    pub fn note_end(&mut self, ended: Pid) {
        if matches!(self.at_work, Some((_, pid)) if pid == ended) {
            self.at_work = None;
        }
    }

    /// It has nothing to finish. Its end is collected with that of others.
    pub fn end(&mut self) {
        if let Some((_, pid)) = self.at_work.take() {
            let _ = process::send(pid, process::KillSignal::Kill);
        }
    }
}

/// The other side. It allocates, little, and never in the watch's place.
fn serve(watch: BorrowedFd<'_>) -> i32 {
    // Anyone on the bus may ask it things: beside the watch, not before it.
    let _ = process::set_niceness(0);
    // When memory is low it is to be there.
    let _ = memory::lock();
    low_memory::serve(watch, &mut |news| {
        let priority = if news.is_trouble() { Priority::Notice } else { Priority::Info };
        let (number, line) = (priority as u64, line(format_args!("{news}")));
        let text = line.as_bytes();
        let _ = Message { kind: kind::LINE, id: Identity::NONE, number, text }.send(watch);
    });
    0
}
