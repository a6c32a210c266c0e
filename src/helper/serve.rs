//! The helper's side: takes messages one by one until the watch is gone.

use super::hook::{Hooks, Orders, ShortCommand};
use super::message::{Message, Priority, Sealed, When, Word};
use super::notice::Notices;
use super::outbox::Outboxes;
use super::statistics::StatsFile;
use super::Duty;
use crate::bytes::{Buf, Escaped};
use crate::event::Event;
use crate::procfs::process::CommandLine;
use crate::procfs::Proc;
use crate::stats::Stats;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::{clock, errno, process, signal, socket};
use crate::units::{Identity, Moment, Pid};
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Serves until the other end is closed and all that it sent is done.
pub fn serve(watch: BorrowedFd<'_>, watch_pid: Pid, proc: Proc, duty: &Duty) {
    let stats_file = duty.outputs.stats_file.as_ref();
    let mut helper = Serving {
        proc,
        duty,
        command: None,
        outboxes: Outboxes::open(&duty.outputs, watch_pid),
        stats_file: stats_file.map(|path| StatsFile::new(path, watch_pid)),
        stats: None,
        releases: [None, None, None, None],
        hooks: Hooks::new(),
        notices: Notices::default(),
        recent: [NOBODY; RECENT],
        next_recent: 0,
        children: signal::listen_for_children().ok(),
    };
    let mut buf = Sealed::BUFFER;
    loop {
        match socket::receive(watch, &mut buf) {
            Ok(0) => break,
            Ok(len) => helper.take(watch, Message::parse(&buf[..len])),
            Err(error) if errno::is_for_later(&error) => {
                // Once all that the watch wants is done: a disk may take its time.
                helper.write_stats();
                helper.outboxes.flush();
                helper.wait(Some(watch));
            }
            Err(_) => break,
        }
        helper.retry_releases();
        helper.look_after_children(watch);
    }
    helper.write_stats();
    helper.outboxes.finish(super::FINISH);
    // The watch has ended, or settings have changed and another helper is at work: what runs
    // is seen to its end.
    while !helper.hooks.is_idle() {
        // Else a reader that comes back would end every wait.
        helper.outboxes.flush();
        helper.wait(None);
        helper.look_after_children(watch);
        helper.retry_releases();
    }
    helper.outboxes.finish(super::FINISH);
}

struct Serving<'a> {
    proc: Proc,
    duty: &'a Duty,
    /// The command line read last, and whose it is; `None` if it could not be read.
    command: Option<(Identity, Option<CommandLine>)>,
    outboxes: Outboxes<'a>,
    stats_file: Option<StatsFile<'a>>,
    /// To be written.
    stats: Option<Stats>,
    releases: [Option<Release>; 4],
    hooks: Hooks,
    notices: Notices,
    /// Command lines of those who were signalled last, which have none any more.
    recent: [Option<(Identity, ShortCommand)>; RECENT],
    next_recent: usize,
    /// Becomes readable when a child ends.
    children: Option<OwnedFd>,
}

/// As many as are under way at a time: all above the limit for each process, and the one of
/// low memory.
const RECENT: usize = 33;
/// A hook before the kill that its helper did not get to is no use after it.
const LATE: Duration = Duration::from_secs(1);
const NOBODY: Option<(Identity, ShortCommand)> = None;
/// Where nothing tells the end of a child.
const FOLLOW: Duration = Duration::from_millis(100);

impl Serving<'_> {
    fn wait(&mut self, watch: Option<BorrowedFd<'_>>) {
        let mut waiter = Waiter::<5>::new();
        let children = self.children.as_ref().map(AsFd::as_fd);
        for fd in watch.into_iter().chain(children) {
            waiter.add(fd, Wish::Readable);
        }
        let again = self.outboxes.wait_by(&mut waiter);
        let releasing = self.releases.iter().any(Option::is_some).then_some(RELEASE_AGAIN);
        let overdue = self.hooks.deadline().map(|at| at.since(clock::now()));
        let blind = (children.is_none() && !self.hooks.is_idle()).then_some(FOLLOW);
        waiter.wait([again, releasing, overdue, blind].into_iter().flatten().min());
    }

    fn write_stats(&mut self) {
        let (Some(stats), Some(file)) = (self.stats.take(), &mut self.stats_file) else { return };
        if let Some(trouble) = file.write(&stats, &mut self.proc) {
            self.outboxes.line(Priority::Warning, trouble.as_bytes());
        }
    }

    fn look_after_children(&mut self, watch: BorrowedFd<'_>) {
        if let Some(children) = &self.children {
            while signal::next(children).is_some() {}
        }
        while let Some((pid, exit)) = process::reap() {
            self.notices.ended(pid, exit, &mut self.outboxes);
            if let Some(number) = self.hooks.ended(pid, exit, &mut self.outboxes) {
                let _ = socket::send(watch, Message::HookEnded { number }.seal().as_bytes());
            }
        }
        self.hooks.end_overdue(clock::now(), &mut self.outboxes);
    }

    fn run_hook(&mut self, watch: BorrowedFd<'_>, when: When, number: i32, event: &Event) {
        let duty = self.duty;
        let script = match when {
            When::Before => &duty.hooks.pre_kill,
            When::After => &duty.hooks.post_kill,
        };
        let started = script.as_ref().is_some_and(|script| {
            let (inherited, limit) = (duty.inherited, duty.hooks.limit);
            let orders = Orders { script, inherited, limit };
            let command = self.short_command_of(event.id);
            self.hooks.start(when, number, &orders, event, &command, &mut self.outboxes)
        });
        if !started {
            self.answer_hook(watch, number);
        }
    }

    fn answer_hook(&self, watch: BorrowedFd<'_>, number: i32) {
        let _ = socket::send(watch, Message::HookEnded { number }.seal().as_bytes());
    }

    /// The command line of a victim, also after its end.
    fn short_command_of(&mut self, id: Identity) -> ShortCommand {
        let is_at_hand = matches!(&self.command, Some((known, Some(_))) if *known == id);
        let known = self
            .recent
            .iter()
            .position(|recent| recent.as_ref().is_some_and(|(known, _)| *known == id));
        if let (Some(place), false) = (known, is_at_hand) {
            return self.recent[place].as_ref().map_or(ShortCommand::new(), |(_, c)| c.clone());
        }
        let command = shown(self.command_of(id));
        if !command.as_bytes().is_empty() {
            let place = known.unwrap_or(self.next_recent);
            self.recent[place] = Some((id, command.clone()));
            if known.is_none() {
                self.next_recent = (self.next_recent + 1) % RECENT;
            }
        }
        command
    }

    fn take(&mut self, watch: BorrowedFd<'_>, message: Option<Message<'_>>) {
        match message {
            Some(Message::Line { priority, text }) => self.outboxes.line(priority, text),
            Some(Message::LineWithCommand { priority, id, text }) => {
                let mut line = Buf::<{ super::LINE }>::from_bytes(text);
                let command = self.short_command_of(id);
                let _ = write!(line, ", cmdline \"{}\"", Escaped(command.as_bytes()));
                self.outboxes.line(priority, line.as_bytes());
            }
            Some(Message::ReadCommand { id, question }) => {
                // Anew each time: the process may have become another program meanwhile.
                self.command = Some((id, self.read_command(id).ok()));
                let line = self.command_of(id).map(|line| line.as_bytes());
                // If the watch does not listen any more, it did not wait.
                let answer = Message::Command { question, line };
                let _ = socket::send(watch, answer.seal().as_bytes());
            }
            Some(Message::Release { id, group }) => self.release(id, group),
            Some(Message::Hook { when, number, at, event }) => {
                let is_late = clock::now().since(at) > LATE && when == When::Before;
                match Event::unpack(event).filter(|_| !is_late) {
                    Some(event) => self.run_hook(watch, when, number, &event),
                    None => self.answer_hook(watch, number),
                }
            }
            Some(Message::Reopen) => self.outboxes.reopen(),
            Some(Message::Stats(stats)) => self.stats = Some(stats),
            Some(Message::Notify { word, event }) => {
                if let Some(event) = Event::unpack(event) {
                    let command = match word {
                        Word::Killed | Word::Stuck => self.short_command_of(event.id),
                        Word::Nobody | Word::Kernel => ShortCommand::new(),
                    };
                    let niceness = self.duty.inherited.niceness;
                    self.notices.start(word, &event, &command, niceness, &mut self.outboxes);
                }
            }
            Some(Message::Command { .. } | Message::HookEnded { .. }) | None => {}
        }
    }

    /// The command line of `id` as it was read last, before it was ended perhaps.
    fn command_of(&mut self, id: Identity) -> Option<&CommandLine> {
        if self.command.as_ref().map_or(true, |(known, _)| *known != id) {
            self.command = Some((id, self.read_command(id).ok()));
        }
        self.command.as_ref().and_then(|(_, line)| line.as_ref())
    }

    fn read_command(&mut self, id: Identity) -> io::Result<CommandLine> {
        let mut line = CommandLine::new();
        let stat = self.proc.stat(id.pid)?;
        self.proc.command_line(&stat, &mut line)?;
        // The number may have gone to another one meanwhile.
        if self.proc.stat(id.pid)?.id != id {
            return Err(errno::gone());
        }
        Ok(line)
    }

    fn release(&mut self, id: Identity, group: Option<Pid>) {
        self.start_release(id.pid);
        if let Some(leader) = group {
            let mut members = [None; 64];
            let mut count = 0;
            let _ = self.proc.for_each(|proc, pid| {
                let is_member = proc.stat(pid).is_ok_and(|stat| stat.pgid == leader.number());
                if is_member && pid != id.pid && count < members.len() {
                    members[count] = Some(pid);
                    count += 1;
                }
            });
            members.into_iter().flatten().for_each(|pid| self.start_release(pid));
        }
    }

    /// A number that now belongs to another process does no harm: the kernel refuses to
    /// release what is not dying.
    fn start_release(&mut self, pid: Pid) {
        let Ok(pidfd) = process::pidfd_open(pid) else { return };
        let release = Release { pidfd, until: clock::now().after(RELEASE_FOR) };
        match self.releases.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(release),
            // More than there are places for, in a group: once, at least.
            None => drop(release.is_wanted()),
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

/// What a message shows of a command line.
fn shown(line: Option<&CommandLine>) -> ShortCommand {
    let mut shown = Buf::new();
    shown.push(line.map_or(&b""[..], |line| line.as_bytes()));
    if shown.is_cut() || line.is_some_and(|line| line.is_cut()) {
        shown.end_with(b"...");
    }
    shown
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
            Err(error) => errno::is_for_later(&error) && clock::now() < self.until,
            Ok(()) => false,
        }
    }
}
