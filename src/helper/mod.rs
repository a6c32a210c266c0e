//! A second process for everything that could block the watch: it writes lines, reads command
//! lines, runs hooks, sends notices, and frees the memory of dying processes. A third one, `emitter`,
//! only for `--low-memory-signal`.
//!
//! It is forked and locked before the loop begins. The watch sends and never waits longer than
//! it says; it lives on if the helper is stopped, hangs or dies, and starts another one.
//!
//! Here is the watch's side. `message` is what they say to each other, `serve` the helper's
//! side, with `outbox` for lines, `command` for command lines, `service` for services, `jobs` for
//! what it has under way (`hook` and `notice`), and `statistics` for the file of numbers.

mod command;
mod emitter;
mod hook;
mod jobs;
mod message;
mod notice;
mod outbox;
mod serve;
mod service;
mod statistics;

use crate::event::Event;
use crate::procfs::cgroup::oom_group;
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::settings::{Hooks, Outputs};
use crate::stats::{unpack, Stats};
use crate::sys::fd::{self, Interest};
use crate::sys::io;
use crate::sys::process::Inherited;
use crate::sys::{clock, memory, process, socket};
use crate::units::{least, Identity, KiB, Moment, Pid};
use crate::writer::Growth;
use emitter::Emitter;
use message::{kind, Message, LOST};
pub use message::{line, Priority, When};
pub use notice::Notice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A helper that has answered nothing, or taken nothing, for so long is replaced. Shorter,
/// and one that waits for a page from a slow disk would be.
const HUNG_AFTER: Duration = Duration::from_secs(10);
/// For the last lines, once the watch has ended: a log that is not read by then never
/// will be.
pub const FINISH: Duration = Duration::from_secs(1);
/// Helpers that may be started in one event: as many processes may hang it and be passed
/// over. If more do, forking on would only add to the trouble; but for one each time that
/// no candidate was found, which is ever more rarely: without a helper none ever would be.
const SPARES: u32 = 4;
/// A process whose command line hangs would cost a helper each time it is asked for.
const HANGING_FOR: Duration = Duration::from_secs(60);
/// One whose command line only comes late would cost all others their turn.
const LATE_FOR: Duration = Duration::from_secs(1);
/// Processes that are passed over at a time; more of them are beyond what waiting can mend.
const PASSED_OVER: usize = 16;
/// Each with the moment until which it is not asked about.
type PassedOver = [(Identity, Moment); PASSED_OVER];
const NONE_PASSED_OVER: PassedOver = [(Identity::NONE, Moment(0)); PASSED_OVER];
/// Between two starts of a helper that does not live.
const RESTART: Duration = Duration::from_secs(1);

/// What a helper works with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Setup {
    pub outputs: Outputs,
    pub hooks: Hooks,
    pub inherited: Inherited,
    /// How many kills may be under way at a time.
    pub kills: usize,
    /// The guard's niceness, which it inherits.
    pub priority: Option<i32>,
}

/// The watch's end.
pub struct Helper {
    setup: Setup,
    /// Both ends stay open here: what was sent waits in the socket for the next helper if
    /// this one dies.
    ours: OwnedFd,
    theirs: OwnedFd,
    pid: Option<Pid>,
    /// The one before new settings, and when it is ended if it has not ended by itself: not one
    /// that may have hooks to look after.
    old: Option<(Pid, Moment)>,
    started: Moment,
    /// How many more may be started before memory is fine again.
    spares: u32,
    /// Messages that found no room.
    lost: u32,
    /// The log is to be opened anew, which found no room and must not be lost.
    reopens: bool,
    /// Since when it has not taken what was sent; `catch_up` has something to say then.
    full_since: Option<Moment>,
    asked: Asked,
    /// Command lines of these processes are not asked for, and the next helper reads them for a
    /// question alone.
    passed_over: PassedOver,
    emitter: Emitter,
}

/// Questions that are not answered yet, and what was answered. A question is known by the moment
/// at which it was asked, which is its number.
#[derive(Default)]
struct Asked {
    /// For the command line of a process that was waited for in vain; of `Identity::NONE`, if the
    /// question found no room.
    command: Option<(Identity, Moment)>,
    /// For the end of the last hook.
    hook: Option<Moment>,
    /// For what all tmpfs hold.
    tmpfs: Option<Moment>,
    /// For the writer of a tmpfs.
    writer: Option<Moment>,
    /// A helper had to be replaced for one of these: none is asked again.
    tmpfs_hangs: bool,
    tmpfs_hold: Option<KiB>,
    /// To which question, and the answer.
    growth: Option<(Moment, Option<Growth>)>,
    /// For the end of a sync, which has come.
    sync: Option<Moment>,
    is_synced: bool,
    /// Of the victim that was to be remembered last.
    cgroup: Option<(Identity, oom_group::Path)>,
}

impl Helper {
    pub fn start(setup: Setup) -> io::Result<Helper> {
        let mut helper = Helper::new(setup)?;
        helper.spawn()?;
        Ok(helper)
    }

    /// One that is not there yet, but can be told already.
    pub fn new(setup: Setup) -> io::Result<Helper> {
        let (ours, theirs) = socket::pair()?;
        Ok(Helper {
            setup,
            ours,
            theirs,
            pid: None,
            old: None,
            started: Moment::default(),
            spares: SPARES,
            lost: 0,
            reopens: false,
            full_since: None,
            asked: Asked::default(),
            passed_over: NONE_PASSED_OVER,
            emitter: Emitter::default(),
        })
    }

    /// Forks it: from where the stack is short, for it keeps that.
    pub fn spawn(&mut self) -> io::Result<()> {
        let now = clock::now();
        self.started = now;
        if let Some((id, _)) = self.asked.command.take() {
            self.pass_over(id, now.after(HANGING_FOR));
        }
        for since in [self.asked.tmpfs.take(), self.asked.writer.take()].into_iter().flatten() {
            self.asked.tmpfs_hangs |= now.since(since) >= HUNG_AFTER;
        }
        // What the last one was told to sync is to be told again.
        self.asked.sync = None;
        self.full_since = None;
        let theirs = self.theirs.as_fd();
        let (setup, passed_over, watch) = (&self.setup, &self.passed_over, process::own_pid());
        let pid = process::split(Some(theirs), || serve::serve(theirs, watch, setup, passed_over))?;
        self.pid = Some(pid);
        // The fork has made the pages common; what is not brought in now is when it is needed.
        let _ = memory::touch_all(memory::WATCH);
        Ok(())
    }

    /// Sends a finished line to be written.
    pub fn write_line(&mut self, priority: Priority, line: &[u8]) {
        self.send(kind::LINE, Identity::NONE, priority as u64, line);
    }

    /// Sends the beginning of a line that ends in the command line of `id`.
    pub fn write_line_with_command(&mut self, priority: Priority, id: Identity, line: &[u8]) {
        self.send(kind::LINE_WITH_COMMAND, id, priority as u64, line);
    }

    /// Leaves a log file that was renamed, and makes a new one.
    pub fn reopen_log(&mut self) {
        self.reopens = true;
        self.catch_up();
    }

    /// Writes the file of numbers anew.
    pub fn write_stats(&mut self, stats: Stats) {
        self.send(kind::STATS, Identity::NONE, 0, &stats.pack());
    }

    /// Runs the hook for that moment, if there is one.
    pub fn run_hook(&mut self, when: When, event: &Event) {
        let kind = match when {
            When::Before => kind::HOOK_BEFORE,
            When::After => kind::HOOK_AFTER,
            When::Short => kind::HOOK_SHORT,
        };
        self.asked.hook = self.ask(kind, event.id, hook::environment(when, event).as_bytes());
    }

    /// Waits until the last hook has ended, at most for `limit`; false if it has not.
    pub fn wait_for_hook(&mut self, limit: Duration) -> bool {
        if self.asked.hook.is_some() {
            self.wait(Interest::Readable, limit);
            self.drain();
        }
        self.asked.hook.is_none()
    }

    /// Sends a notice to each user with a session.
    pub fn notify(&mut self, notice: Notice, event: &Event) {
        let text = notice::text(notice, event);
        let user = event.uid.map_or(message::NO_USER, u64::from);
        self.send(kind::NOTIFY, event.id, user, text.as_bytes());
    }

    /// Tells each user that memory gets short, and what is largest.
    pub fn notify_short(&mut self, largest: &[Option<(Stat, KiB)>]) {
        self.send(
            kind::NOTIFY,
            Identity::NONE,
            message::NO_USER,
            notice::short(largest).as_bytes(),
        );
    }

    /// Asks what all tmpfs hold. False if an answer is owed already, or never comes.
    pub fn ask_for_tmpfs(&mut self) -> bool {
        if self.asked.tmpfs.is_some() || self.asked.tmpfs_hangs {
            return false;
        }
        self.asked.tmpfs = self.ask(kind::TMPFS, Identity::NONE, b"");
        self.asked.tmpfs.is_some()
    }

    /// The answer, once.
    pub fn take_tmpfs(&mut self) -> Option<KiB> {
        if self.asked.tmpfs.is_some() {
            self.drain();
        }
        self.asked.tmpfs_hold.take()
    }

    /// Asks for the writer of a tmpfs among files that hold `least` or more. Nothing if an answer is
    /// owed already, or never comes.
    pub fn ask_for_writer(&mut self, least: KiB) {
        if self.asked.writer.is_none() && !self.asked.tmpfs_hangs {
            self.asked.writer = self.ask(kind::WRITER, Identity::NONE, &least.0.to_ne_bytes());
        }
    }

    /// It is at work on an answer.
    pub fn owes_writer(&self) -> bool {
        self.asked.writer.is_some() && self.pid.is_some()
    }

    /// The answer, once, and when it was asked for; `None` in it if there is nothing to compare.
    pub fn take_growth(&mut self) -> Option<(Moment, Option<Growth>)> {
        if self.asked.writer.is_some() {
            self.drain();
        }
        self.asked.growth.take()
    }

    /// Has all that was written and said so far brought to the disks.
    pub fn begin_sync(&mut self) {
        // The kernel may have ended it. A fork may fail now, and then nothing is synced.
        if self.pid.is_none() {
            let _ = self.spawn();
        }
        (self.asked.sync, self.asked.is_synced) = (None, false);
        self.is_synced();
    }

    /// Whether that is done. Asks for it again if that found no room, or another helper has begun.
    pub fn is_synced(&mut self) -> bool {
        self.drain();
        if self.asked.sync.is_none() && !self.asked.is_synced {
            self.asked.sync = self.ask(kind::SYNC, Identity::NONE, b"");
        }
        self.asked.is_synced
    }

    /// Frees the memory of `id`, which was sent a deadly signal, and of its whole `group`.
    pub fn release(&mut self, id: Identity, group: Option<Pid>) {
        self.send(kind::RELEASE, id, group.map_or(0, |group| group.number() as u64), b"");
    }

    /// The command line of `id`, read now: once the process is ended it may have none. Waits
    /// for it at most `limit`, and not at all for a helper that owes an answer. `None` if it
    /// could not be read, or not in time; then it is not asked for again for a while.
    pub fn command_line(&mut self, id: Identity, limit: Duration) -> Option<CommandLine> {
        self.question(kind::READ_COMMAND, id, b"", limit)
    }

    /// Has the helper keep what messages and hooks tell of a victim, which has none of that once it
    /// has ended, and tell its cgroup if it is asked to. Waits as for a command line.
    pub fn remember(&mut self, id: Identity, with_cgroup: bool, limit: Duration) {
        self.asked.cgroup = None;
        let text: &[u8] = if with_cgroup { b"with cgroup" } else { b"" };
        self.question(kind::REMEMBER, id, text, limit);
    }

    /// The cgroup of a victim that was remembered. Waits at most for `limit` if that is late.
    pub fn cgroup_of(&mut self, id: Identity, limit: Duration) -> Option<oom_group::Path> {
        let end = clock::now().after(limit);
        loop {
            self.drain();
            if let Some((_, path)) = self.asked.cgroup.as_ref().filter(|(known, _)| *known == id) {
                return Some(path.clone()).filter(|path| !path.is_empty());
            }
            let is_owed = self.asked.command.is_some_and(|(asked, _)| asked == id);
            let left = end.since(clock::now());
            if !is_owed || left == Duration::ZERO {
                return None;
            }
            self.wait(Interest::Readable, left);
        }
    }

    /// Whether the executable of `id` is what init sees at `path` (`Proc::is_in_place`). Waits as
    /// for a command line.
    pub fn is_in_place(&mut self, id: Identity, path: &[u8], limit: Duration) -> Option<bool> {
        let told = self.question(kind::LOOK_UP, id, path, limit)?;
        Some(!told.as_bytes().is_empty())
    }

    fn question(
        &mut self,
        kind: u8,
        id: Identity,
        text: &[u8],
        limit: Duration,
    ) -> Option<CommandLine> {
        self.drain();
        if self.asked.command.is_some() || limit == Duration::ZERO || self.is_passed_over(id) {
            return None;
        }
        let start = clock::now();
        self.wait(Interest::Writable, limit);
        let asked = self.ask(kind, id, text).map(|since| (id, since));
        self.asked.command = asked.or(Some((Identity::NONE, start)));
        let end = start.after(limit);
        loop {
            let now = clock::now();
            self.wait(Interest::Readable, end.since(now));
            let line = self.drain();
            if self.asked.command.is_none() {
                return line;
            }
            if now >= end {
                self.pass_over(id, now.after(LATE_FOR));
                return None;
            }
        }
    }

    fn is_passed_over(&self, id: Identity) -> bool {
        let now = clock::now();
        self.passed_over.iter().any(|&(known, until)| known == id && now < until)
    }

    /// Replaces its own entry, or else the entry that ends first.
    fn pass_over(&mut self, id: Identity, until: Moment) {
        let order = |place: &&mut (Identity, Moment)| (place.0 != id, place.1);
        if let Some(place) = self.passed_over.iter_mut().min_by_key(order) {
            *place = (id, until);
        }
    }

    /// It owes an answer, or was late a moment ago: a process may be passed over for that.
    pub fn is_behind(&self) -> bool {
        let now = clock::now();
        let is_late = |until| now < until && until <= now.after(LATE_FOR);
        self.asked.command.is_some() || self.passed_over.iter().any(|&(_, until)| is_late(until))
    }

    /// Starts another one although memory is short, if it has owed an answer for `time`, because
    /// it hangs or the machine is too busy for it. `None` if it need not or must not be.
    pub fn replace(&mut self, time: Duration) -> Option<io::Result<()>> {
        if !self.may_be_replaced(time) {
            return None;
        }
        self.spares -= 1;
        Some(self.restart())
    }

    fn may_be_replaced(&self, time: Duration) -> bool {
        let is_silent = |(_, since)| clock::now().since(since) >= time;
        self.spares > 0 && self.asked.command.is_some_and(is_silent)
    }

    /// There is time again to ask for what could not be read: it may be only that the machine
    /// was too busy for an answer.
    pub fn ask_again(&mut self) {
        self.passed_over = NONE_PASSED_OVER;
        self.spares = self.spares.max(1);
    }

    /// Takes all answers; returns the command line that was asked for last, if it is among them.
    fn drain(&mut self) -> Option<CommandLine> {
        let mut line = None;
        let mut buf = message::BUFFER;
        while let Ok(len @ 1..) = socket::receive(self.ours.as_fd(), &mut buf) {
            let Some(Message { kind, id, number, text }) = Message::parse(&buf[..len]) else {
                continue;
            };
            let Asked { command, hook, tmpfs, writer, sync, cgroup, .. } = &mut self.asked;
            let it = Some(Moment(number));
            match kind {
                kind::REMEMBER if command.map(|(_, since)| since) == it => {
                    *cgroup = command.take().map(|(id, _)| (id, oom_group::Path::from_bytes(text)));
                }
                kind::COMMAND | kind::NO_COMMAND if command.map(|(_, since)| since) == it => {
                    *command = None;
                    line = (kind == kind::COMMAND).then(|| CommandLine::from_bytes(text));
                }
                kind::HOOK_ENDED if *hook == it => *hook = None,
                kind::SYNCED if *sync == it => {
                    *sync = None;
                    self.asked.is_synced = true;
                }
                kind::TMPFS if *tmpfs == it => {
                    *tmpfs = None;
                    // Nothing, if it could not be told.
                    let held = text.try_into().ok().map(u64::from_ne_bytes);
                    self.asked.tmpfs_hold = held.map(KiB);
                }
                kind::WRITER if *writer == it => {
                    *writer = None;
                    self.asked.growth = Some((Moment(number), growth(id, text)));
                }
                _ => {}
            }
        }
        line
    }

    /// Sends a question, which it owes the answer to if there is room for it.
    fn ask(&mut self, kind: u8, id: Identity, text: &[u8]) -> Option<Moment> {
        let now = clock::now();
        self.send(kind, id, now.0, text).then_some(now)
    }

    /// False if there is no room for it.
    fn send(&mut self, kind: u8, id: Identity, number: u64, text: &[u8]) -> bool {
        self.catch_up();
        let sent = self.put(Message { kind, id, number, text });
        if !sent {
            self.lost = self.lost.saturating_add(1);
        }
        sent
    }

    /// Says how many messages found no room, and what must not be lost once more.
    fn catch_up(&mut self) {
        if self.lost > 0 {
            let line = line(format_args!("{}{LOST}", self.lost));
            let (number, text) = (Priority::Warning as u64, line.as_bytes());
            if self.put(Message { kind: kind::LINE, id: Identity::NONE, number, text }) {
                self.lost = 0;
            }
        }
        let reopen = Message { kind: kind::REOPEN, id: Identity::NONE, number: 0, text: b"" };
        self.reopens = self.reopens && !self.put(reopen);
    }

    /// A helper that takes something does not hang, and owes no answer to what it was not asked.
    fn put(&mut self, message: Message<'_>) -> bool {
        let sent = message.send(self.ours.as_fd()).is_ok();
        if sent {
            self.full_since = None;
            self.asked.command = self.asked.command.filter(|&(id, _)| id != Identity::NONE);
        } else {
            self.full_since.get_or_insert_with(clock::now);
        }
        sent
    }

    fn wait(&self, interest: Interest, limit: Duration) {
        fd::wait_for(self.ours.as_fd(), interest, limit);
    }

    /// Its number, while it lives.
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Takes note of helpers that have ended: there can be older ones, which hung.
    pub fn reap(&mut self) {
        while let Some((ended, _)) = process::reap() {
            self.pid = self.pid.filter(|&pid| pid != ended);
            self.old = self.old.filter(|&(pid, _)| pid != ended);
            self.emitter.note_end(ended);
        }
    }

    /// Has programs told on the system bus how low memory is, if that was asked for.
    pub fn emit(&self, level: u8) {
        self.emitter.emit(level);
    }

    /// What becomes readable when the emitter has something to say; then `hear_emitter`.
    pub fn emitter_fd(&self) -> Option<BorrowedFd<'_>> {
        self.emitter.fd()
    }

    pub fn hear_emitter(&mut self) {
        let mut emitter = std::mem::take(&mut self.emitter);
        emitter.hear(&mut |priority, line| self.write_line(priority, line));
        self.emitter = emitter;
    }

    /// While memory is fine: starts the emitter if it is asked for and there is none, which forks.
    pub fn tend_emitter(&mut self) -> io::Result<()> {
        self.emitter.tend(self.setup.outputs.low_memory_signal, clock::now())
    }

    /// While memory is fine: starts another one if this one needs it, which forks. Ends the one
    /// before new settings if that hangs.
    pub fn revive(&mut self, now: Moment) -> Option<io::Result<()>> {
        self.spares = SPARES;
        if let Some((pid, _)) = self.old.filter(|&(_, at)| now >= at) {
            let _ = process::send(pid, process::KillSignal::Kill);
            self.old = None;
        }
        self.needs_restart(now).then(|| self.restart())
    }

    fn needs_restart(&mut self, now: Moment) -> bool {
        if self.asked.command.is_some() || self.asked.sync.is_some() {
            self.drain();
        }
        // Nothing else may be said for long.
        if self.full_since.is_some() {
            self.catch_up();
        }
        self.deadline().is_some_and(|at| now >= at)
    }

    /// When a restart may be due without anything happening.
    pub fn deadline(&self) -> Option<Moment> {
        let restart = self.started.after(RESTART);
        if self.pid.is_none() {
            return Some(restart);
        }
        let asked = self.asked.command.map(|(_, since)| since);
        let asked = least(asked, self.asked.sync);
        least(asked, self.full_since).map(|since| since.after(HUNG_AFTER).max(restart))
    }

    /// Ends a helper that hangs and starts another one, which goes on with what was sent.
    fn restart(&mut self) -> io::Result<()> {
        if let Some(pid) = self.pid.take() {
            let _ = process::send(pid, process::KillSignal::Kill);
        }
        self.spawn()
    }

    /// Has the helper work with another setup: if it is another, in another process, while the
    /// old one writes what it was sent, sees its hooks to their end, and ends.
    pub fn change(&mut self, setup: Setup) -> io::Result<()> {
        if self.setup == setup {
            // The old one may lie where the next settings will.
            self.setup = setup;
            return Ok(());
        }
        self.bring_back();
        let next = Helper::start(setup)?;
        // Numbers that wait to be written are older than those of the next one.
        self.send(kind::STATS, Identity::NONE, 0, b"");
        let emitter = std::mem::take(&mut self.emitter);
        let old = self.pid.filter(|_| !self.setup.hooks.are_set());
        let old = old.map(|pid| (pid, clock::now().after(HUNG_AFTER)));
        *self = Helper { lost: self.lost, emitter, old, ..next };
        Ok(())
    }

    /// One that has died leaves what was said to another one, also if that is about to end.
    fn bring_back(&mut self) {
        self.reap();
        if self.pid.is_none() {
            let _ = self.spawn();
        }
    }

    /// Waits for room before the last lines, which would find none if the helper is behind.
    pub fn wait_for_room(&self, limit: Duration) {
        self.wait(Interest::Writable, limit);
    }

    /// Lets the helper write what it was sent, and waits for its end, a little longer than that
    /// takes at most; then ends it, unless it may have hooks to look after, with which it ends.
    pub fn finish(mut self) {
        self.emitter.end();
        self.bring_back();
        let Helper { ours, theirs, pid, setup, .. } = self;
        drop((ours, theirs));
        let Some(pid) = pid else { return };
        let end = clock::now().after(FINISH + FINISH / 4);
        while process::reap().map(|(ended, _)| ended) != Some(pid) {
            if clock::now() >= end {
                if !setup.hooks.are_set() {
                    let _ = process::send(pid, process::KillSignal::Kill);
                }
                return;
            }
            clock::sleep(Duration::from_millis(2));
        }
    }
}

/// What an answer of that kind tells.
fn growth(id: Identity, text: &[u8]) -> Option<Growth> {
    let mut numbers = [0; 2];
    unpack(text, &mut numbers);
    let [nanos, grown] = numbers;
    let most = (id != Identity::NONE).then_some((id, KiB(grown)));
    (text.len() == 16).then_some(Growth { over: Duration::from_nanos(nanos), most })
}

#[cfg(test)]
mod tests;
