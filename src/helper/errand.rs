//! Errands: what a process of its own does, forked from the helper, so that neither watch
//! nor helper waits for a file that hangs, or allocates.

use super::message::{Errand, Message, Priority, LINE, TEXT};
use crate::bytes::Buf;
use crate::procfs::Proc;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::{arena, clock, errno, process, signal, socket};
use std::fmt::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How long an errand may take; longer, and a file hangs.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Who runs them.
pub trait Errands {
    /// True if all is well.
    fn run(&self, errand: Errand, proc: Proc, report: &mut Report<'_>) -> bool;
}

/// The way back to the watch.
pub struct Report<'a> {
    watch: BorrowedFd<'a>,
    number: i32,
}

impl Report<'_> {
    /// Has a line written.
    pub fn say(&mut self, priority: Priority, text: fmt::Arguments<'_>) {
        let mut line = Buf::<LINE>::new();
        let _ = line.write_fmt(text);
        if line.is_cut() {
            line.end_with(b"...");
        }
        self.send(Message::Line { priority, text: line.as_bytes() });
    }

    /// Hands the text of a file to the watch.
    pub fn text(&mut self, file: usize, text: &[u8]) {
        let file = file as u32;
        let number = self.number;
        text.chunks(TEXT).for_each(|text| self.send(Message::Text { number, file, text }));
    }

    /// Waits while the watch has other things to do.
    fn send(&mut self, message: Message<'_>) {
        let sealed = message.seal();
        let end = clock::now().after(LIMIT);
        while let Err(error) = socket::send(self.watch, sealed.as_bytes()) {
            if !errno::is_for_later(&error) || clock::now() >= end {
                return;
            }
            let mut waiter = Waiter::<1>::new();
            waiter.add(self.watch, Wish::Writable);
            waiter.wait(Some(LIMIT));
        }
    }
}

/// Sends a child on an errand. Where there can be none, the watch hears nothing and stops
/// waiting by itself.
pub fn start(errands: &dyn Errands, errand: Errand, number: i32, watch: BorrowedFd<'_>) {
    let _ = process::split(&[watch], || {
        arena::open();
        signal::end_after(LIMIT.as_secs() as u32);
        let mut report = Report { watch, number };
        let good = Proc::system().is_ok_and(|proc| errands.run(errand, proc, &mut report));
        report.send(Message::Done { number, good });
        0
    });
}
