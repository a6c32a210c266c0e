//! The helper's side: takes messages one by one until the watch is gone.

use super::command::{self, Commands, ShortCommand};
use super::hook::{self, Hook};
use super::jobs::{Job, Jobs, Task, HOOKS, NOTICES, NOTICE_LIMIT};
use super::message::{kind, Line, Message, Priority, When, BUFFER};
use super::notice;
use super::outbox::Outboxes;
use super::statistics::StatsFile;
use super::{PassedOver, Setup};
use crate::bytes::Escaped;
use crate::procfs::cgroup::oom_group;
use crate::procfs::Proc;
use crate::stats::{unpack, Stats};
use crate::sys::fd::{self, Interest, Waiter};
use crate::sys::{arena, clock, machine, memory, process, signal, socket};
use crate::units::{least, Identity, KiB, Moment, Pid};
use crate::writer::{Growth, Samples};
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A hook before the kill, or of a warning, that its helper did not get to is no use later.
const LATE: Duration = Duration::from_secs(1);

/// What takes the last lines needs its time to write them: the journal, or syslogd.
const TAKEN: Duration = Duration::from_secs(1);

/// Serves until the other end is closed and all that it sent is done.
pub fn serve(
    watch: BorrowedFd<'_>,
    watch_pid: Pid,
    setup: &Setup,
    passed_over: &PassedOver,
) -> i32 {
    let Ok(mut proc) = Proc::system() else { return 1 };
    let Ok(child_ends) = signal::listen_for_children() else { return 1 };
    let stats_file = setup.outputs.stats_file.as_ref();
    let mut helper = Serving {
        proc: &mut proc,
        setup,
        watch,
        out: Outboxes::open(&setup.outputs, watch_pid),
        stats_file: stats_file.map(|path| StatsFile::new(path, watch_pid)),
        commands: Commands::new(setup.kills, passed_over),
        jobs: Jobs::default(),
        samples: Samples::default(),
        child_ends,
    };
    arena::forbid();
    // The watch has said already what is refused.
    let _ = memory::lock();
    let _ = memory::touch_all(memory::HELPER);
    helper.serve();
    helper.write_stats();
    helper.out.finish(super::FINISH);
    // The watch has ended, or settings have changed and another helper is at work: what runs
    // is seen to its end.
    while helper.jobs.run_hooks() {
        // Else a reader that comes back would end every wait.
        helper.out.flush();
        helper.wait(false);
        helper.look_after_jobs();
    }
    helper.out.finish(super::FINISH);
    0
}

struct Serving<'a> {
    proc: &'a mut Proc,
    setup: &'a Setup,
    watch: BorrowedFd<'a>,
    out: Outboxes<'a>,
    stats_file: Option<StatsFile<'a>>,
    commands: Commands<'a>,
    jobs: Jobs,
    samples: Samples,
    /// Becomes readable when a child ends.
    child_ends: OwnedFd,
}

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
                Err(error) if error.is_for_later() => {
                    // Once all that the watch wants is done: a disk may take its time.
                    self.write_stats();
                    self.out.flush();
                    self.wait(true);
                }
                Err(_) => return,
            }
            self.look_after_jobs();
        }
    }

    /// For whatever is next, with `watch` for a message of its as well.
    fn wait(&mut self, watch: bool) {
        let mut waiter = Waiter::<5>::new();
        if watch {
            waiter.add(self.watch, Interest::Readable);
        }
        waiter.add(self.child_ends.as_fd(), Interest::Readable);
        let due = least(self.out.wait_by(&mut waiter), self.jobs.deadline());
        waiter.wait(due.map(|at| at.since(clock::now())));
    }

    fn write_stats(&mut self) {
        if let Some(file) = &mut self.stats_file {
            file.write(self.proc, &mut self.out);
        }
    }

    fn look_after_jobs(&mut self) {
        while signal::next(&self.child_ends).is_some() {}
        while let Some((pid, exit)) = process::reap() {
            if let Some(number) = self.jobs.ended(pid, exit, &mut self.out) {
                answer(self.watch, kind::HOOK_ENDED, number, b"");
            }
        }
        self.jobs.do_what_is_due(&mut self.out);
    }

    fn take(&mut self, message: &Message<'_>) {
        let Message { kind, id, number, text } = *message;
        match kind {
            kind::LINE => self.out.line(Priority::of(number), text),
            kind::LINE_WITH_COMMAND => {
                let mut line = Line::from_bytes(text);
                let command = self.commands.short(self.proc, id);
                let _ = write!(line, ", cmdline \"{}\"", Escaped(command.as_bytes()));
                self.out.line(Priority::of(number), line.as_bytes());
            }
            kind::READ_COMMAND => match self.commands.read(self.proc, id) {
                Some(line) => answer(self.watch, kind::COMMAND, number, line.as_bytes()),
                None => answer(self.watch, kind::NO_COMMAND, number, b""),
            },
            kind::REMEMBER => {
                self.remember(id);
                let cgroup = match text {
                    b"" => oom_group::Path::new(),
                    _ => oom_group::path_of(self.proc, id).unwrap_or(oom_group::Path::new()),
                };
                answer(self.watch, kind::REMEMBER, number, cgroup.as_bytes());
            }
            kind::LOOK_UP => match command::is_in_place(self.proc, id, text) {
                Ok(true) => answer(self.watch, kind::COMMAND, number, b"yes"),
                Ok(false) => answer(self.watch, kind::COMMAND, number, b""),
                Err(_) => answer(self.watch, kind::NO_COMMAND, number, b""),
            },
            kind::TMPFS => match self.proc.held_by_tmpfs() {
                Ok(held) => answer(self.watch, kind::TMPFS, number, &held.0.to_ne_bytes()),
                Err(_) => answer(self.watch, kind::TMPFS, number, b""),
            },
            kind::WRITER => {
                let mut least = [0];
                unpack(text, &mut least);
                // Command lines that the watch waits for come first.
                let watch = self.watch;
                let goes_on = &mut || !fd::is_ready_now(watch, Interest::Readable);
                let growth = self.samples.take(self.proc, KiB(least[0]), goes_on);
                answer_writer(self.watch, number, growth);
            }
            kind::RELEASE => self.release(id, number as i32),
            kind::HOOK_BEFORE | kind::HOOK_AFTER | kind::HOOK_SHORT => {
                let runs = self.run_hook(message);
                if !runs {
                    answer(self.watch, kind::HOOK_ENDED, number, b"");
                }
            }
            kind::REOPEN => self.out.reopen(),
            kind::STATS => {
                if let Some(file) = &mut self.stats_file {
                    file.waiting = Stats::unpack(text);
                }
            }
            kind::SYNC => {
                self.sync();
                answer(self.watch, kind::SYNCED, number, b"");
            }
            kind::NOTIFY => self.notify(message),
            _ => {}
        }
    }

    /// Of a victim, before its signal.
    fn remember(&mut self, id: Identity) {
        self.commands.read(self.proc, id);
        self.commands.short(self.proc, id);
        // Only hooks are told.
        if self.setup.hooks.are_set() {
            self.commands.read_service(self.proc, id);
        }
    }

    /// False if it does not run, and a line that says why if there is one.
    fn run_hook(&mut self, message: &Message<'_>) -> bool {
        let Message { kind, id, number, text } = *message;
        let hooks = &self.setup.hooks;
        let (when, script) = match kind {
            kind::HOOK_BEFORE => (When::Before, &hooks.pre_kill),
            kind::HOOK_AFTER => (When::After, &hooks.post_kill),
            _ => (When::Short, &hooks.warn),
        };
        let Some(script) = script else { return false };
        let hook = Hook(when, id.pid);
        if when != When::After && clock::now().since(Moment(number)) > LATE {
            hook.say(&mut self.out, format_args!("not run: it comes too late"));
            return false;
        }
        let victim = (id != Identity::NONE)
            .then(|| (self.commands.service(self.proc, id), self.commands.short(self.proc, id)));
        let Some(place) = self.jobs.place(HOOKS) else {
            let most = HOOKS.len();
            hook.say(&mut self.out, format_args!("not run: {most} hooks run already"));
            return false;
        };
        let environment = hook::whole_environment(text, victim.as_ref());
        let (path, inherited) = (script.terminated(), &self.setup.inherited);
        match process::run(path, environment.as_bytes(), inherited) {
            Ok((pid, failure)) => {
                let task = Task::Hook { hook, number, failure };
                *place = Some(Job::new(pid, task, hooks.limit));
                true
            }
            Err(error) => {
                hook.say(&mut self.out, format_args!("not run: cannot start it: {error}"));
                false
            }
        }
    }

    fn notify(&mut self, message: &Message<'_>) {
        let Message { id, number, text, .. } = *message;
        // Without one, only root is told the command line.
        let owner = u32::try_from(number).ok();
        let command = match id {
            Identity::NONE => ShortCommand::new(),
            id => self.commands.short(self.proc, id),
        };
        let Some(place) = self.jobs.place(NOTICES) else {
            let why = "notification left out: others are under way still";
            return self.out.line(Priority::Notice, why.as_bytes());
        };
        match notice::start(text, &command, owner, self.setup.inherited.niceness) {
            Ok(pid) => *place = Some(Job::new(pid, Task::Notice, NOTICE_LIMIT)),
            Err(error) => {
                self.out.say(
                    Priority::Warning,
                    format_args!("notification left out: cannot fork: {error}"),
                );
            }
        }
    }

    /// Twice: once at once, and once with what was said last.
    fn sync(&mut self) {
        self.out.flush();
        machine::sync();
        clock::sleep(TAKEN);
        self.out.flush();
        machine::sync();
    }

    fn release(&mut self, id: Identity, group: i32) {
        let jobs = &mut self.jobs;
        jobs.release(id.pid);
        if group > 0 {
            let _ = self.proc.for_each(|proc, pid| {
                if pid != id.pid && proc.stat(pid).is_ok_and(|stat| stat.pgid == group) {
                    jobs.release(pid);
                }
            });
        }
    }
}

/// If the watch does not listen any more, it did not wait.
fn answer(watch: BorrowedFd<'_>, kind: u8, number: u64, text: &[u8]) {
    let _ = Message { kind, id: Identity::NONE, number, text }.send(watch);
}

fn answer_writer(watch: BorrowedFd<'_>, number: u64, growth: Option<Growth>) {
    let Some(Growth { over, most }) = growth else {
        return answer(watch, kind::WRITER, number, b"");
    };
    let (id, grown) = most.unwrap_or((Identity::NONE, KiB::ZERO));
    let mut text = [0; 16];
    text[..8].copy_from_slice(&(over.as_nanos() as u64).to_ne_bytes());
    text[8..].copy_from_slice(&grown.0.to_ne_bytes());
    let _ = Message { kind: kind::WRITER, id, number, text: &text }.send(watch);
}
