//! Notifications: what people are told, by a process of its own for each event, since a bus
//! may hang.

use super::hook::ShortCommand;
use super::message::{line, Priority, Word, LINE};
use super::outbox::Outboxes;
use crate::bytes::Buf;
use crate::event::Event;
use crate::notify::{self, News};
use crate::procfs::Proc;
use crate::stats::Reason;
use crate::sys::process::{self, Exit};
use crate::sys::{arena, signal};
use crate::units::Pid;
use std::fmt::Write;

/// Notifications under way at a time; each ends within seconds. A person who sees four at
/// once has understood.
const UNDER_WAY: usize = 4;

type Text = Buf<LINE>;

#[derive(Default)]
pub struct Notices {
    under_way: [Option<Pid>; UNDER_WAY],
    /// That nobody could be told was said.
    said_alone: bool,
}

impl Notices {
    pub fn start(
        &mut self,
        word: Word,
        event: &Event,
        command: &ShortCommand,
        niceness: i32,
        out: &mut Outboxes<'_>,
    ) {
        let Some(place) = self.under_way.iter_mut().find(|place| place.is_none()) else {
            return say(out, "notification left out: others are under way still");
        };
        let started = process::split(None, || {
            arena::open();
            signal::leave_to_parent();
            // Beside the watch, not before it.
            let _ = process::set_niceness(niceness.max(0));
            let Ok(mut proc) = Proc::system() else { return 1 };
            i32::from(tell(&mut proc, word, event, command) == 0)
        });
        match started {
            Ok(pid) => *place = Some(pid),
            Err(error) => {
                let left_out = line(format_args!("notification left out: cannot fork: {error}"));
                out.line(Priority::Warning, left_out.as_bytes());
            }
        }
    }

    /// A child has ended, one of these perhaps.
    pub fn ended(&mut self, pid: Pid, exit: Exit, out: &mut Outboxes<'_>) {
        let Some(place) = self.under_way.iter_mut().find(|place| **place == Some(pid)) else {
            return;
        };
        *place = None;
        if exit != Exit::Status(0) && !std::mem::replace(&mut self.said_alone, true) {
            say(out, "notification: nobody who is logged in could be told");
        }
    }
}

fn say(out: &mut Outboxes<'_>, text: &str) {
    out.line(Priority::Notice, text.as_bytes());
}

/// How many have been told.
fn tell(proc: &mut Proc, word: Word, event: &Event, command: &ShortCommand) -> u32 {
    let (summary, body, for_all) = texts(word, event, command);
    let (summary, body) = (summary.as_bytes(), body.as_bytes());
    let owner = (event.id.pid != Pid::INIT).then_some(event.uid);
    let news = News { summary, body: &body[..for_all], body_for_owner: body, owner };
    notify::tell(proc, &news).users
}

/// Summary, and what root and the process's owner may know, of which everyone may know the
/// beginning of that length. The name is the process's own choice; whoever shows it makes it
/// harmless.
fn texts(word: Word, event: &Event, command: &ShortCommand) -> (Text, Text, usize) {
    let (mut summary, mut body) = (Text::new(), Text::new());
    let (what, why) = match word {
        Word::Killed => (
            match (event.dryrun, event.is_kill) {
                (false, false) => " was asked to end",
                (false, true) => " was killed",
                (true, false) => " would be asked to end",
                (true, true) => " would be killed",
            },
            match event.reason {
                Reason::Memory => "Memory is low.",
                Reason::Stall => "Memory is short, and everything waited for it.",
                Reason::Limit => "It was too large.",
            },
        ),
        Word::Nobody => (
            "Memory is low, and no process can be ended",
            "All are protected or out of reach. Close something.",
        ),
        Word::Kernel => ("The kernel was asked to kill a process", "Memory is low."),
        Word::Stuck => {
            (" does not end", "It was killed and is stuck in the kernel. Others may go instead.")
        }
    };
    if matches!(word, Word::Killed | Word::Stuck) {
        summary.push(event.comm.as_bytes());
    }
    summary.push(what.as_bytes());
    body.push(why.as_bytes());
    let for_all = body.as_bytes().len();
    if event.id.pid != Pid::INIT {
        let (pid, mib) = (event.id.pid, event.rss.plus(event.swap).mib());
        let _ = write!(body, " Process {pid} held {mib} MiB: ");
        body.push(command.as_bytes());
    }
    (summary, body, for_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::stat::Comm;
    use crate::units::{Identity, KiB};

    #[test]
    fn others_learn_the_name_alone() {
        let event = Event {
            id: Identity { pid: Pid::new(42).unwrap(), start: 1 },
            comm: Comm::from_bytes(b"tail"),
            rss: KiB::from_mib(500),
            is_kill: true,
            ..Event::nobody(false)
        };
        let command = ShortCommand::from_bytes(b"tail --password=x");
        let shown = |word| {
            let (summary, body, for_all) = texts(word, &event, &command);
            let (summary, body) = (summary.as_bytes(), body.as_bytes());
            [summary, &body[..for_all], body].map(|text| String::from_utf8(text.into()).unwrap())
        };
        assert_eq!(
            shown(Word::Killed),
            [
                "tail was killed",
                "Memory is low.",
                "Memory is low. Process 42 held 500 MiB: tail --password=x"
            ]
        );
        assert!(shown(Word::Stuck)[0].starts_with("tail does not end"));
        let (_, body, for_all) = texts(Word::Nobody, &Event::nobody(false), &command);
        assert_eq!(body.as_bytes().len(), for_all);
    }
}
