//! Notices: what users are told, by a process of its own for each, since a bus may hang.

use super::command::ShortCommand;
use crate::bytes::Buf;
use crate::event::Event;
use crate::notify::{self, News};
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::stats::Reason;
use crate::sys::io;
use crate::sys::process;
use crate::units::{Identity, KiB, Pid};
use std::fmt::Write;

/// What users are told about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A process was, or would be, sent a signal.
    Killed,
    /// Memory is low and no process can be ended.
    NoCandidate,
    /// Memory is low, and all that may be ended hold too little.
    InVain,
    /// The kernel was asked to choose and kill.
    Kernel,
    /// A process does not die of SIGKILL.
    Stuck,
}

/// A name, two sentences, and what a victim held.
type Text = Buf<512>;

/// Summary, what every user may know, and what root and the victim's owner may know besides,
/// but for the command line: with a NUL between them. The name is the process's own choice;
/// what shows it makes it harmless.
pub fn text(notice: Notice, event: &Event) -> Text {
    let mut text = Text::new();
    if matches!(notice, Notice::Killed | Notice::Stuck) {
        text.push(event.comm.as_bytes());
    }
    let (what, why) = match notice {
        Notice::Killed => (
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
                Reason::Tmpfs => "It filled memory with files. Delete some.",
            },
        ),
        Notice::NoCandidate => (
            "Memory is low, and no process can be ended",
            "All are protected or out of reach. Close something.",
        ),
        Notice::InVain => (
            "Memory is low, and no process is ended",
            "All that may be ended hold too little. Files in a tmpfs may hold the rest: delete some.",
        ),
        Notice::Kernel => ("The kernel was asked to kill a process", "Memory is low."),
        Notice::Stuck => (
            " does not end",
            "It was killed and is stuck in the kernel, or frozen. Others may go instead.",
        ),
    };
    let _ = write!(text, "{what}\0{why}\0");
    if event.id != Identity::NONE {
        let (pid, mib) = (event.id.pid, event.rss.plus(event.swap).mib());
        let _ = write!(text, " Process {pid} held {mib} MiB: ");
    }
    text
}

/// That memory gets short, with the names of what is largest, which every user may know.
pub fn short(largest: &[Option<(Stat, KiB)>]) -> Text {
    let mut text = Text::from_bytes(b"Memory gets short\0");
    let mut before = "The largest: ";
    for (stat, size) in largest.iter().flatten() {
        text.push(before.as_bytes());
        text.push(stat.comm.as_bytes());
        let _ = write!(text, " ({} MiB)", size.mib());
        before = ", ";
    }
    text.push(b".\0");
    text
}

/// Starts a process that tells all users, and ends with 0 if there was one to tell. `owner` is
/// the victim's user.
pub fn start(
    text: &[u8],
    command: &ShortCommand,
    owner: Option<u32>,
    niceness: i32,
) -> io::Result<Pid> {
    process::split(None, || {
        // Beside the watch, not before it.
        let _ = process::set_niceness(niceness.max(0));
        let Ok(mut proc) = Proc::system() else { return 1 };
        let mut parts = text.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        let mut next = || parts.next().unwrap_or_default();
        let (summary, body) = (&next(), &next());
        let body_for_owner = &[body, &next()[..], command.as_bytes()].concat();
        let told = notify::tell(&mut proc, &News { summary, body, body_for_owner, owner });
        i32::from(told == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::stat::Comm;
    use crate::units::Identity;

    #[test]
    fn others_learn_the_name_alone() {
        let event = Event {
            id: Identity { pid: Pid::new(42).unwrap(), start: 1 },
            comm: Comm::from_bytes(b"tail"),
            rss: KiB::from_mib(500),
            is_kill: true,
            ..Event::without_victim(false)
        };
        let shown = |notice, event: &Event| {
            let text = text(notice, event);
            let text = String::from_utf8(text.as_bytes().into()).unwrap();
            text.split('\0').map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(Notice::Killed, &event),
            ["tail was killed", "Memory is low.", " Process 42 held 500 MiB: "]
        );
        assert!(shown(Notice::Stuck, &event)[0].starts_with("tail does not end"));
        let none = Event::without_victim(false);
        assert_eq!(shown(Notice::NoCandidate, &none)[2], "");
        assert_eq!(shown(Notice::InVain, &none)[0], "Memory is low, and no process is ended");
    }
}
