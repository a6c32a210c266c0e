//! A second process for everything that could block the watch: it writes the messages,
//! reads command lines, and frees the memory of the dying.
//!
//! It is forked and locked before the loop begins. The watch sends and never waits longer
//! than it says; it lives on if the helper is stopped, hangs or dies, and starts it again.
//! `message` is what they say to each other, `serve` the helper's side, with `outbox` for
//! lines, `statistics` for numbers, `hook` for what is run beside a kill, and `notice`
//! for what people are told.

mod hook;
mod message;
mod notice;
mod outbox;
mod serve;
mod statistics;

use crate::event::Event;
use crate::procfs::process::CommandLine;
use crate::select::Remembered;
use crate::settings::{Hooks, Outputs};
use crate::stats::Stats;
use crate::sys::fd::{Waiter, Wish};
use crate::sys::io;
use crate::sys::process::Inherited;
use crate::sys::{arena, clock, memory, process, signal, socket};
use crate::units::{Identity, KiB, Moment, Pid};
use message::{kind, Message, LOST, NOBODY};
pub use message::{line, Priority, When, Word, LINE};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A helper that has answered nothing, or taken nothing, for so long is replaced. Shorter,
/// and one that waits for a page from a slow disk would be.
const HUNG_AFTER: Duration = Duration::from_secs(10);
/// For the last lines, once the watch has ended: a log that is not read by then never
/// will be.
pub const FINISH: Duration = Duration::from_secs(1);
/// Helpers that may be started in one event: as many processes may hang it and be passed
/// over. Where more do, forking on would only add to the trouble; but for one each time that
/// nobody was found, which is ever more rarely: without a helper nobody ever would be.
const SPARES: u32 = 4;
/// A process whose command line hangs would cost a helper each time it is asked for.
const UNREAD_FOR: Duration = Duration::from_secs(60);
/// One whose command line only comes late would cost all others their turn.
const LATE_FOR: Duration = Duration::from_secs(1);
/// Between two starts of a helper that does not live.
const RESTART: Duration = Duration::from_secs(1);

/// What a helper is for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Duty {
    pub outputs: Outputs,
    pub hooks: Hooks,
    pub inherited: Inherited,
    /// The guard's niceness, which it inherits.
    pub priority: Option<i32>,
}

/// The watch's end.
pub struct Helper {
    duty: Duty,
    /// Both ends stay open here: what was sent waits in the socket for the next helper if
    /// this one dies.
    ours: OwnedFd,
    theirs: OwnedFd,
    pid: Option<Pid>,
    started: Moment,
    /// Messages that found no room.
    lost: u32,
    /// That the log is to be opened anew was one of them.
    reopens: bool,
    /// The number of the last question, and for whose command line; nobody's where it found no
    /// room.
    questions: i32,
    asked: Identity,
    /// Since when it owes the answer to that.
    silent_since: Option<Moment>,
    /// The number of the last hook, and of the last that is known to have ended.
    hooks: i32,
    hook_ended: i32,
    /// How many more may be started before memory is fine again.
    spares: u32,
    /// Whose command line cost a helper, and for how long it is not tried.
    unread: Remembered,
    unread_until: Moment,
    /// The same of those whose command line was not read in time, if there are any.
    late: Remembered,
    late_until: Option<Moment>,
    /// Since when it has not taken what was sent.
    full_since: Option<Moment>,
    /// Since when it owes an answer to what tmpfs holds.
    tmpfs_asked: Option<Moment>,
    /// A helper had to be replaced for that: none is asked again.
    tmpfs_hangs: bool,
    /// What it answered last.
    tmpfs: Option<KiB>,
}

impl Helper {
    pub fn start(duty: Duty) -> io::Result<Helper> {
        let mut helper = Helper::new(duty)?;
        helper.spawn()?;
        Ok(helper)
    }

    /// One that is not there yet, but can be told already.
    pub fn new(duty: Duty) -> io::Result<Helper> {
        let (ours, theirs) = socket::pair()?;
        Ok(Helper {
            duty,
            ours,
            theirs,
            pid: None,
            started: Moment::default(),
            lost: 0,
            reopens: false,
            questions: 0,
            asked: NOBODY,
            hooks: 0,
            hook_ended: 0,
            spares: SPARES,
            silent_since: None,
            unread: Remembered::default(),
            unread_until: Moment::default(),
            late: Remembered::default(),
            late_until: None,
            full_since: None,
            tmpfs_asked: None,
            tmpfs_hangs: false,
            tmpfs: None,
        })
    }

    /// Forks it: from where the stack is short, for it keeps that.
    pub fn spawn(&mut self) -> io::Result<()> {
        let theirs = self.theirs.as_fd();
        let (duty, watch) = (&self.duty, process::own_pid());
        self.started = clock::now();
        if self.silent_since.take().is_some() {
            self.unread.add(self.asked);
            self.unread_until = self.started.after(UNREAD_FOR);
        }
        self.full_since = None;
        let asked = self.tmpfs_asked.take();
        self.tmpfs_hangs |= asked.is_some_and(|at| self.started.since(at) >= HUNG_AFTER);
        let pid = process::split(Some(theirs), || {
            arena::forbid();
            signal::leave_to_parent();
            serve::serve(theirs, watch, duty)
        })?;
        self.pid = Some(pid);
        Ok(())
    }

    /// Sends a finished line to be written.
    pub fn write_line(&mut self, priority: Priority, line: &[u8]) {
        self.send(kind::LINE, NOBODY, priority as i32, line);
    }

    /// Sends the beginning of a line that ends in the command line of `id`.
    pub fn write_line_with_command(&mut self, priority: Priority, id: Identity, line: &[u8]) {
        self.send(kind::LINE_WITH_COMMAND, id, priority as i32, line);
    }

    /// Leaves a log file that was renamed, and makes a new one.
    pub fn reopen_log(&mut self) {
        self.reopens = !self.send(kind::REOPEN, NOBODY, 0, b"");
    }

    /// Writes the file of numbers anew.
    pub fn write_stats(&mut self, stats: Stats) {
        self.send(kind::STATS, NOBODY, 0, &stats.pack());
    }

    /// Runs the hook for that moment, if there is one.
    pub fn run_hook(&mut self, when: When, event: &Event) {
        self.hooks = self.hooks.wrapping_add(1);
        let kind = match when {
            When::Before => kind::HOOK_BEFORE,
            When::After => kind::HOOK_AFTER,
        };
        let at = Identity { start: clock::now().0, ..NOBODY };
        self.send(kind, at, self.hooks, event.pack().as_bytes());
    }

    /// Waits until the last hook has ended, at most for `limit`; false if it has not.
    pub fn wait_for_hook(&mut self, limit: Duration) -> bool {
        let mut waiter = Waiter::<1>::new();
        waiter.add(self.ours.as_fd(), Wish::Readable);
        waiter.wait(Some(limit));
        self.drain();
        self.hook_ended == self.hooks
    }

    /// Tells the people who are logged in.
    pub fn notify(&mut self, word: Word, event: &Event) {
        self.send(kind::NOTIFY, NOBODY, word as i32, event.pack().as_bytes());
    }

    /// Asks what all tmpfs hold. False if an answer is owed already, or never comes.
    pub fn ask_for_tmpfs(&mut self) -> bool {
        let asks = self.tmpfs_asked.is_none() && !self.tmpfs_hangs;
        if asks && self.send(kind::TMPFS, NOBODY, 0, b"") {
            self.tmpfs_asked = Some(clock::now());
            return true;
        }
        false
    }

    /// The answer, once.
    pub fn take_tmpfs(&mut self) -> Option<KiB> {
        if self.tmpfs_asked.is_some() {
            self.drain();
        }
        self.tmpfs.take()
    }

    /// Frees the memory of `id`, which was sent a deadly signal, and of its whole `group`.
    pub fn release(&mut self, id: Identity, group: Option<Pid>) {
        self.send(kind::RELEASE, id, group.map_or(0, Pid::number), b"");
    }

    /// The command line of `id`, read now: once the process is ended it may have none. Waits
    /// for it at most `limit`, and not at all for a helper that owes an answer. `None` if it
    /// could not be read, or not in time; then it is not asked for again for a while.
    pub fn command_line(&mut self, id: Identity, limit: Duration) -> Option<CommandLine> {
        self.drain();
        let is_known = self.unread.contains(id) || self.late.contains(id);
        if self.silent_since.is_some() || limit == Duration::ZERO || is_known {
            return None;
        }
        self.questions = self.questions.wrapping_add(1);
        let is_asked = self.send(kind::READ_COMMAND, id, self.questions, b"");
        self.asked = if is_asked { id } else { NOBODY };
        let end = clock::now().after(limit);
        loop {
            let now = clock::now();
            let mut waiter = Waiter::<1>::new();
            waiter.add(self.ours.as_fd(), Wish::Readable);
            waiter.wait(Some(end.since(now)));
            if let Some(answer) = self.drain() {
                return answer;
            }
            if now >= end {
                self.silent_since = Some(now);
                self.late.add(id);
                self.late_until = Some(now.after(LATE_FOR));
                return None;
            }
        }
    }

    /// It owes an answer, because it hangs or the machine is too busy for it, and may be
    /// replaced although memory is short.
    pub fn may_be_replaced(&self) -> bool {
        self.silent_since.is_some() && self.spares > 0
    }

    /// It owes an answer, or did a moment ago: somebody may be passed over for that.
    pub fn is_behind(&self) -> bool {
        self.silent_since.is_some() || self.late_until.is_some()
    }

    /// For so long it has owed an answer.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        self.silent_since.is_some_and(|since| clock::now().since(since) >= time)
    }

    /// Starts another one although memory is short.
    pub fn replace(&mut self) -> io::Result<()> {
        self.spares -= 1;
        self.revive()
    }

    /// There is time again to ask for what could not be read: it may be only that the machine
    /// was too busy for an answer.
    pub fn ask_again(&mut self) {
        self.unread.clear();
        self.late.clear();
        self.spares = self.spares.max(1);
    }

    /// Memory is fine.
    pub fn calm(&mut self) {
        let now = clock::now();
        if now >= self.unread_until {
            self.unread.clear();
        }
        if self.late_until.is_some_and(|until| now >= until) {
            self.late.clear();
            self.late_until = None;
        }
        self.spares = SPARES;
    }

    /// Takes all answers; returns the one to the last question, if it is among them.
    fn drain(&mut self) -> Option<Option<CommandLine>> {
        let mut answer = None;
        let mut buf = message::BUFFER;
        while let Ok(len @ 1..) = socket::receive(self.ours.as_fd(), &mut buf) {
            let Some(Message { kind, number, text, .. }) = Message::parse(&buf[..len]) else {
                continue;
            };
            match kind {
                kind::HOOK_ENDED if number == self.hooks => self.hook_ended = number,
                kind::COMMAND | kind::NO_COMMAND if number == self.questions => {
                    answer = Some((kind == kind::COMMAND).then(|| CommandLine::from_bytes(text)));
                    self.silent_since = None;
                }
                kind::TMPFS => {
                    self.tmpfs_asked = None;
                    self.tmpfs = text.try_into().ok().map(u64::from_ne_bytes).map(KiB);
                }
                _ => {}
            }
        }
        answer
    }

    /// False if there is no room for it.
    fn send(&mut self, kind: u8, id: Identity, number: i32, text: &[u8]) -> bool {
        self.catch_up();
        let sent = self.put(Message { kind, id, number, text });
        if !sent {
            self.lost = self.lost.saturating_add(1);
        }
        sent
    }

    /// Says how many messages found no room, and the one that must not be lost once more.
    fn catch_up(&mut self) {
        if self.lost > 0 {
            let line = line(format_args!("{}{LOST}", self.lost));
            let (number, text) = (Priority::Warning as i32, line.as_bytes());
            if self.put(Message { kind: kind::LINE, id: NOBODY, number, text }) {
                self.lost = 0;
            }
        }
        if self.reopens {
            let message = Message { kind: kind::REOPEN, id: NOBODY, number: 0, text: b"" };
            self.reopens = !self.put(message);
        }
    }

    /// A helper that takes something does not hang, and owes no answer to what it was never asked.
    fn put(&mut self, message: Message<'_>) -> bool {
        let sent = message.send(self.ours.as_fd()).is_ok();
        if !sent {
            self.full_since = self.full_since.or_else(|| Some(clock::now()));
        } else if self.full_since.take().is_some() && self.asked == NOBODY {
            self.silent_since = None;
        }
        sent
    }

    /// Its number, while it lives.
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Takes note of helpers that have ended: there can be older ones, which hung.
    pub fn reap(&mut self) {
        while let Some((ended, _)) = process::reap() {
            self.pid = self.pid.filter(|&pid| pid != ended);
        }
    }

    /// Whether there is work for `revive`, which forks: not while memory is short.
    pub fn needs_reviving(&mut self, now: Moment) -> bool {
        if self.silent_since.is_some() {
            self.drain();
        }
        // Nothing else may be said for long.
        if self.full_since.is_some() {
            self.catch_up();
        }
        let hung = self.hung_since().is_some_and(|since| now.since(since) >= HUNG_AFTER);
        (self.pid.is_none() || hung) && now.since(self.started) >= RESTART
    }

    /// Ends a helper that hangs and starts another one, which goes on with what was sent.
    pub fn revive(&mut self) -> io::Result<()> {
        if let Some(pid) = self.pid.take() {
            let _ = process::send(pid, process::Deadly::Kill);
        }
        self.spawn()?;
        // The fork has made the watch's pages common again.
        memory::touch_all(memory::WATCH)
    }

    /// Has the helper do another duty: where it is another, by another process, while the old
    /// one writes what it was sent, sees its hooks to their end, and ends.
    pub fn relieve(&mut self, duty: Duty) -> io::Result<()> {
        if self.duty == duty {
            // The old one may lie where the next settings will.
            self.duty = duty;
            return Ok(());
        }
        self.bring_back();
        let next = Helper::start(duty)?;
        // Numbers that wait to be written are older than those of the next one.
        self.send(kind::STATS, NOBODY, 0, b"");
        let lost = self.lost;
        *self = next;
        self.lost = lost;
        // What is not brought in now is when it is needed.
        let _ = memory::touch_all(memory::WATCH);
        Ok(())
    }

    /// One that has died leaves what was said to another one, also where its duty is about to end.
    fn bring_back(&mut self) {
        self.reap();
        if self.pid.is_none() {
            let _ = self.spawn();
        }
    }

    /// When `revive` may be due without anything happening.
    pub fn deadline(&self) -> Option<Moment> {
        match self.pid {
            None => Some(self.started.after(RESTART)),
            Some(_) => self.hung_since().map(|since| since.after(HUNG_AFTER)),
        }
    }

    fn hung_since(&self) -> Option<Moment> {
        match (self.silent_since, self.full_since) {
            (Some(silent), Some(full)) => Some(silent.min(full)),
            (silent, full) => silent.or(full),
        }
    }

    /// Before the last word, which would find no room where the helper is behind.
    pub fn wait_for_room(&self, limit: Duration) {
        let mut waiter = Waiter::<1>::new();
        waiter.add(self.ours.as_fd(), Wish::Writable);
        waiter.wait(Some(limit));
    }

    /// Lets the helper write what it was sent, and waits for its end, a little longer than that
    /// takes at most; then ends it, unless it may have hooks to look after, with which it ends.
    pub fn finish(mut self) {
        self.bring_back();
        let Helper { ours, theirs, pid, duty, .. } = self;
        drop((ours, theirs));
        let Some(pid) = pid else { return };
        let end = clock::now().after(FINISH + FINISH / 4);
        while process::reap().map(|(ended, _)| ended) != Some(pid) {
            if clock::now() >= end {
                if !duty.hooks.are_set() {
                    let _ = process::send(pid, process::Deadly::Kill);
                }
                return;
            }
            Waiter::<1>::new().wait(Some(Duration::from_millis(2)));
        }
    }
}

#[cfg(test)]
mod tests;
