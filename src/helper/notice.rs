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
use crate::sys::errno::Errno;
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
                let error = Errno(&error);
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
    let (summary, body, body_for_owner) = texts(word, event, command);
    let told = notify::tell(
        proc,
        &News {
            summary: summary.as_bytes(),
            body: body.as_bytes(),
            body_for_owner: body_for_owner.as_bytes(),
            owner: (event.id.pid != Pid::INIT).then_some(event.uid),
        },
    );
    told.users
}

/// Summary, what everyone may know, and what root and the process's owner may. The name is
/// the process's own choice; whoever shows it makes it harmless.
fn texts(word: Word, event: &Event, command: &ShortCommand) -> (Text, Text, Text) {
    let (mut summary, mut body) = (Text::new(), Text::new());
    let cause = match event.reason {
        Reason::Memory => "Memory is low",
        Reason::Limit => "It was too large",
    };
    let would = if event.dryrun { "would be" } else { "was" };
    let done = if event.is_kill { "killed" } else { "asked to end" };
    let name = event.comm.as_bytes();
    let _ = match word {
        Word::Killed => {
            summary.push(name);
            let _ = write!(summary, " {would} {done}");
            write!(body, "{cause}.")
        }
        Word::Nobody => {
            let _ = summary.write_str("Memory is low, and no process can be ended");
            body.write_str("All are protected or out of reach. Close something.")
        }
        Word::Kernel => {
            let _ = summary.write_str("The kernel was asked to kill a process");
            body.write_str("Memory is low.")
        }
        Word::Stuck => {
            summary.push(name);
            let _ = summary.write_str(" does not end");
            body.write_str("It was killed and is stuck in the kernel. Others may go instead.")
        }
    };
    let mut body_for_owner = body.clone();
    if event.id.pid != Pid::INIT {
        let (pid, mib) = (event.id.pid, event.rss.plus(event.swap).mib());
        let _ = write!(body_for_owner, " Process {pid} held {mib} MiB: ");
        body_for_owner.push(command.as_bytes());
    }
    (summary, body, body_for_owner)
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
            let (summary, body, more) = texts(word, &event, &command);
            [summary, body, more].map(|text| String::from_utf8(text.as_bytes().to_vec()).unwrap())
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
        let (_, body, more) = texts(Word::Nobody, &Event::nobody(false), &command);
        assert_eq!(body, more);
    }
}
