//! The helper's side: takes messages one by one until the watch is gone.

use super::hook::{self, Hooks, Orders, ShortCommand};
use super::message::{kind, Line, Message, Priority, When, Word, BUFFER, NOBODY};
use super::notice::Notices;
use super::outbox::Outboxes;
use super::statistics::StatsFile;
use super::Duty;
use crate::bytes::Escaped;
use crate::event::Event;
use crate::procfs::process::CommandLine;
use crate::procfs::Proc;
use crate::stats::Stats;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::io;
use crate::sys::{arena, clock, errno, memory, process, signal, socket};
use crate::units::{Identity, Moment, Pid};
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Serves until the other end is closed and all that it sent is done.
pub fn serve(watch: BorrowedFd<'_>, watch_pid: Pid, duty: &Duty) -> i32 {
    let Ok(mut proc) = Proc::system() else { return 1 };
    let outboxes = arena::unsealed(|| Outboxes::open(&duty.outputs, watch_pid));
    let stats_file = duty.outputs.stats_file.as_ref();
    let mut helper = Serving {
        proc: &mut proc,
        duty,
        watch,
        command: CommandLine::new(),
        command_id: None,
        command_is_known: false,
        outboxes,
        stats_file: stats_file.map(|path| StatsFile::new(path, watch_pid)),
        stats: None,
        releases: [None, None, None, None],
        hooks: Hooks::new(),
        notices: Notices::default(),
        recent: [NO_COMMAND; RECENT],
        next_recent: 0,
        children: signal::listen_for_children().ok(),
    };
    // The watch has said already what is refused.
    let _ = memory::lock();
    let _ = memory::touch_all(memory::HELPER);
    helper.serve();
    helper.write_stats();
    helper.outboxes.finish(super::FINISH);
    // The watch has ended, or settings have changed and another helper is at work: what runs
    // is seen to its end.
    while !helper.hooks.is_idle() {
        // Else a reader that comes back would end every wait.
        helper.outboxes.flush();
        helper.wait(false);
        helper.look_after_children();
        helper.retry_releases();
    }
    helper.outboxes.finish(super::FINISH);
    0
}

struct Serving<'a> {
    proc: &'a mut Proc,
    duty: &'a Duty,
    watch: BorrowedFd<'a>,
    /// The command line read last, whose it is, and whether it could be read.
    command: CommandLine,
    command_id: Option<Identity>,
    command_is_known: bool,
    outboxes: Outboxes<'a>,
    stats_file: Option<StatsFile<'a>>,
    /// To be written.
    stats: Option<Stats>,
    releases: Releases,
    hooks: Hooks,
    notices: Notices,
    /// Command lines of those who were signalled last, which have none any more.
    recent: [(Identity, ShortCommand); RECENT],
    next_recent: usize,
    /// Becomes readable when a child ends.
    children: Option<OwnedFd>,
}

/// As many as are under way at a time: all above the limit for each process, and the one of
/// low memory.
const RECENT: usize = 33;
/// A hook before the kill that its helper did not get to is no use after it.
const LATE: Duration = Duration::from_secs(1);
const NO_COMMAND: (Identity, ShortCommand) = (NOBODY, ShortCommand::new());
/// Where nothing tells the end of a child.
const FOLLOW: Duration = Duration::from_millis(100);

impl Serving<'_> {
    fn serve(&mut self) {
        let mut buf = BUFFER;
        loop {
            match socket::receive(self.watch, &mut buf) {
                Ok(0) => return,
                Ok(len) => {
                    if let Some(message) = Message::parse(&buf[..len]) {
                        self.take(&message);
                    }
                }
                Err(error) if errno::is_for_later(error) => {
                    // Once all that the watch wants is done: a disk may take its time.
                    self.write_stats();
                    self.outboxes.flush();
                    self.wait(true);
                }
                Err(_) => return,
            }
            self.retry_releases();
            self.look_after_children();
        }
    }

    /// For whatever is next, with `watch` for a message of its as well.
    fn wait(&mut self, watch: bool) {
        let mut waiter = Waiter::<5>::new();
        if watch {
            waiter.add(self.watch, Wish::Readable);
        }
        let mut wait = self.outboxes.wait_by(&mut waiter);
        let mut at_most = |limit: Duration| wait = Some(wait.map_or(limit, |wait| wait.min(limit)));
        if let Some(children) = &self.children {
            waiter.add(children.as_fd(), Wish::Readable);
        } else if !self.hooks.is_idle() {
            at_most(FOLLOW);
        }
        if self.releases.iter().any(Option::is_some) {
            at_most(RELEASE_AGAIN);
        }
        if let Some(at) = self.hooks.deadline() {
            at_most(at.since(clock::now()));
        }
        waiter.wait(wait);
    }

    fn write_stats(&mut self) {
        let (Some(stats), Some(file)) = (self.stats.take(), &mut self.stats_file) else { return };
        if let Err(error) = file.write(&stats, self.proc) {
            let text = file.trouble(error);
            self.outboxes.line(Priority::Warning, text.as_bytes());
        }
    }

    fn look_after_children(&mut self) {
        if let Some(children) = &self.children {
            while signal::next(children).is_some() {}
        }
        while let Some((pid, exit)) = process::reap() {
            self.notices.ended(pid, exit, &mut self.outboxes);
            if let Some(number) = self.hooks.ended(pid, exit, &mut self.outboxes) {
                self.answer(kind::HOOK_ENDED, number, b"");
            }
        }
        self.hooks.end_overdue(clock::now(), &mut self.outboxes);
    }

    /// If the watch does not listen any more, it did not wait.
    fn answer(&self, kind: u8, number: i32, text: &[u8]) {
        let _ = Message { kind, id: NOBODY, number, text }.send(self.watch);
    }

    /// False if it does not run.
    fn run_hook(&mut self, when: When, message: &Message<'_>) -> bool {
        let duty = self.duty;
        let script = match when {
            When::Before => &duty.hooks.pre_kill,
            When::After => &duty.hooks.post_kill,
        };
        let (Some(script), Some(event)) = (script, Event::unpack(message.text)) else {
            return false;
        };
        if when == When::Before && clock::now().since(Moment(message.id.start)) > LATE {
            hook::too_late(event.id.pid, &mut self.outboxes);
            return false;
        }
        let command = self.short_command_of(event.id);
        let orders = Orders { script, inherited: duty.inherited, limit: duty.hooks.limit };
        self.hooks.start(when, message.number, &orders, &event, &command, &mut self.outboxes)
    }

    fn take(&mut self, message: &Message<'_>) {
        let Message { kind, id, number, text } = *message;
        match kind {
            kind::LINE => self.outboxes.line(Priority::of(number), text),
            kind::LINE_WITH_COMMAND => {
                let mut line = Line::from_bytes(text);
                let command = self.short_command_of(id);
                let _ = write!(line, ", cmdline \"{}\"", Escaped(command.as_bytes()));
                self.outboxes.line(Priority::of(number), line.as_bytes());
            }
            kind::READ_COMMAND => {
                // Anew each time: the process may have become another program meanwhile.
                self.read_command(id);
                match self.command_is_known {
                    true => self.answer(kind::COMMAND, number, self.command.as_bytes()),
                    false => self.answer(kind::NO_COMMAND, number, b""),
                }
            }
            kind::TMPFS => {
                match self.proc.held_by_tmpfs() {
                    Ok(held) => self.answer(kind::TMPFS, 0, &held.0.to_ne_bytes()),
                    // It is asked again.
                    Err(_) => self.answer(kind::TMPFS, 0, b""),
                }
            }
            kind::RELEASE => self.release(id, number),
            kind::HOOK_BEFORE | kind::HOOK_AFTER => {
                let is_before = kind == kind::HOOK_BEFORE;
                let when = if is_before { When::Before } else { When::After };
                if !self.run_hook(when, message) {
                    self.answer(kind::HOOK_ENDED, number, b"");
                }
            }
            kind::REOPEN => self.outboxes.reopen(),
            kind::STATS => self.stats = Stats::unpack(text),
            kind::NOTIFY => {
                let Some(event) = Event::unpack(text) else { return };
                let word = Word::of(number);
                let command = match word {
                    Word::Killed | Word::Stuck => self.short_command_of(event.id),
                    Word::Nobody | Word::Kernel => ShortCommand::new(),
                };
                let niceness = self.duty.inherited.niceness;
                self.notices.start(word, &event, &command, niceness, &mut self.outboxes);
            }
            _ => {}
        }
    }

    /// What a message shows of the command line of a victim, also after its end.
    fn short_command_of(&mut self, id: Identity) -> ShortCommand {
        let known = self.recent.iter().position(|(known, _)| *known == id);
        if self.command_id != Some(id) || !self.command_is_known {
            if let Some(place) = known {
                return self.recent[place].1.clone();
            }
            if self.command_id != Some(id) {
                self.read_command(id);
            }
        }
        let mut shown = ShortCommand::from_bytes(self.command.as_bytes());
        if shown.is_cut() || self.command.is_cut() {
            shown.end_with(b"...");
        }
        if !shown.as_bytes().is_empty() {
            let place = known.unwrap_or(self.next_recent);
            self.recent[place] = (id, shown.clone());
            if known.is_none() {
                self.next_recent = (place + 1) % RECENT;
            }
        }
        shown
    }

    /// Reads the command line of `id` now; nothing of it, if that cannot be.
    fn read_command(&mut self, id: Identity) {
        self.command_id = Some(id);
        self.command.clear();
        let mut read = || {
            let stat = self.proc.stat(id.pid)?;
            self.proc.command_line(&stat, &mut self.command)?;
            // The number may have gone to another one meanwhile.
            Ok::<_, io::Error>(self.proc.stat(id.pid)?.id == id)
        };
        self.command_is_known = read().unwrap_or(false);
        if !self.command_is_known {
            self.command.clear();
        }
    }

    fn release(&mut self, id: Identity, group: i32) {
        let releases = &mut self.releases;
        start_release(releases, id.pid);
        if group > 0 {
            let _ = self.proc.for_each(|proc, pid| {
                if pid != id.pid && proc.stat(pid).is_ok_and(|stat| stat.pgid == group) {
                    start_release(releases, pid);
                }
            });
        }
    }

    fn retry_releases(&mut self) {
        for slot in &mut self.releases {
            if slot.as_ref().is_some_and(|release| !release.is_wanted()) {
                *slot = None;
            }
        }
    }
}

type Releases = [Option<Release>; 4];

/// A number that now belongs to another process does no harm: the kernel refuses to
/// release what is not dying.
fn start_release(releases: &mut Releases, pid: Pid) {
    let Ok(pidfd) = process::pidfd_open(pid) else { return };
    let release = Release { pidfd, until: clock::now().after(RELEASE_FOR) };
    match releases.iter_mut().find(|slot| slot.is_none()) {
        Some(slot) => *slot = Some(release),
        // More than there are places for, in a group: once, at least.
        None => drop(release.is_wanted()),
    }
}

/// How long a dying process is helped, and how often: EAGAIN means that part of it could
/// not be freed (`process_mrelease` in mm/oom_kill.c). The call itself can wait for the
/// lock of the memory map, which is why it stands here and behind what is to be written.
const RELEASE_FOR: Duration = Duration::from_secs(2);
const RELEASE_AGAIN: Duration = Duration::from_millis(5);

struct Release {
    pidfd: OwnedFd,
    until: Moment,
}

impl Release {
    /// Tries; true if another try makes sense.
    fn is_wanted(&self) -> bool {
        match process::release_memory(self.pidfd.as_fd()) {
            Err(error) => errno::is_for_later(error) && clock::now() < self.until,
            Ok(()) => false,
        }
    }
}
