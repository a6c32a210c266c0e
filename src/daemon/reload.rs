//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes, since that
//! may hang and allocates; the guard takes over what comes of it, once nothing else is going on.

use super::start::{open_sysrq, prioritize, try_out, users_file};
use super::Daemon;
use crate::context::Context;
use crate::helper::{Helper, Priority, Setup};
use crate::kill::most_kills;
use crate::limit::LimitCheck;
use crate::log;
use crate::memory::Memory;
use crate::observe::Observer;
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::meminfo::Blind;
use crate::procfs::Proc;
use crate::report::{doubts, explain};
use crate::say;
use crate::select::{Filter, Scale};
use crate::settings::{Config, Mistake, Settled, Sources};
use crate::sys::process::Inherited;
use crate::sys::{arena, clock, process};
use crate::units::{Moment, Pid};
use crate::worker::{self, Replies, Worker, TEXT};
use std::os::fd::BorrowedFd;

/// More than a person mends in one go; a file that is no configuration has thousands.
const REFUSALS: usize = 20;

/// What was asked for and has not begun, and what has.
#[derive(Default)]
pub struct Reload {
    pub settings: bool,
    pub candidates: bool,
    /// That it has to wait.
    delay_said: bool,
    sent: Option<(Worker, Asked)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Settings,
    Candidates,
}

impl Asked {
    fn text(self) -> &'static str {
        match self {
            Asked::Settings => "read the settings again",
            Asked::Candidates => "rank the processes",
        }
    }
}

/// What the helper is for, with these settings.
pub fn setup(config: &Config, inherited: Inherited) -> Setup {
    Setup {
        outputs: config.outputs.clone(),
        hooks: config.hooks.clone(),
        inherited,
        kills: most_kills(config),
        priority: config.priority,
    }
}

impl Reload {
    /// What becomes readable when something comes of it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.sent.as_ref()?.0.fd()
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.sent.as_ref()?.0.deadline()
    }

    /// Says what has come of it. The worker, if settings are to be taken over: that has to wait
    /// until it is `quiet`: no process is being ended and memory is fine, or nothing can be done
    /// about it.
    pub fn end(&mut self, helper: &mut Helper, quiet: bool) -> Option<Worker> {
        let (worker, asked) = self.sent.as_mut()?;
        if !worker.is_over() || (*asked == Asked::Settings && !quiet) {
            return None;
        }
        let (worker, asked) = self.sent.take()?;
        worker.lines().for_each(|(priority, line)| helper.write_line(priority, line));
        if !worker.has_answered() {
            let (what, most) = (asked.text(), log::Seconds(worker::LIMIT));
            let why = "the process for it was ended, or took longer than";
            say!(helper, Error, "cannot {what}: {why} {most} seconds");
        }
        Some(worker).filter(|_| asked == Asked::Settings)
    }

    /// Begins what was asked for, if nothing is under way, or says what it `waits_for`. True if settings
    /// are read from now on.
    pub fn begin(&mut self, cx: &mut Context, sources: &Sources, waits_for: Option<&str>) -> bool {
        if self.sent.is_some() || !(self.settings || self.candidates) {
            return false;
        }
        if let Some(event) = waits_for {
            if !std::mem::replace(&mut self.delay_said, true) {
                let what = match self.settings {
                    true => "settings will be read again",
                    false => "the processes will be ranked",
                };
                say!(cx.output.helper, Notice, "{what} once {event}");
            }
            return false;
        }
        self.delay_said = false;
        let asked = match std::mem::take(&mut self.candidates) {
            true => Asked::Candidates,
            false => Asked::Settings,
        };
        self.settings &= asked == Asked::Candidates;
        let (config, scale) = (&cx.config, cx.selector.scale);
        let guard = (process::own_pid(), cx.output.helper.pid());
        let sent = Worker::start(|replies| {
            let done = match asked {
                Asked::Settings => read_settings(sources, replies),
                Asked::Candidates => tell_candidates(config, scale, guard, replies),
            };
            done.map_err(|mistakes| say_mistakes(&mistakes, replies)).is_ok()
        });
        match sent {
            Ok(worker) => self.sent = Some((worker, asked)),
            Err(error) => {
                let helper = &mut cx.output.helper;
                say!(helper, Error, "cannot {}: no process for it: {error}", asked.text());
            }
        }
        self.sent.as_ref().is_some_and(|&(_, asked)| asked == Asked::Settings)
    }
}

impl Daemon {
    /// Takes new settings over, unless they were found faulty.
    pub(super) fn finish_reload(&mut self, worker: &Worker) {
        let taken = worker.is_good() && arena::renew(|| self.take_over(worker));
        let helper = &mut self.cx.output.helper;
        if !taken {
            say!(helper, Error, "the new settings are not taken; the old ones stay in force");
            let wrong = worker.lines().find(|&(priority, _)| priority == Priority::Error);
            // What a file or process chose is escaped in it.
            let wrong = wrong.and_then(|(_, line)| std::str::from_utf8(line).ok());
            let wrong = wrong.unwrap_or("the log says why");
            let _ = self.supervisor.ready(format_args!("the new settings are not taken: {wrong}"));
            return;
        }
        say!(helper, Notice, "settings were read again");
        if let Some(scene) = &self.scene {
            log::levels(helper, &self.cx.config, &scene.limits, &scene.memory);
        }
        self.cx.tell_news();
        self.tell_ready();
    }

    fn take_over(&mut self, worker: &Worker) -> bool {
        let Daemon { sources, inherited, cx, .. } = self;
        let texts: Vec<_> = worker.texts().collect();
        let Some((passwd, texts)) = texts.split_last() else { return false };
        // All that can be wrong was said when they were tried out.
        let Ok(Settled { config, .. }) = sources.settle(texts) else { return false };
        let Ok(sysrq) = open_sysrq(&config, &cx.proc) else { return false };
        let before = cx.config.priority;
        // Before the helper, which is to have the same.
        let refused = prioritize(&mut cx.proc, *inherited, before, config.priority);
        if let Err(error) = cx.output.helper.change(setup(&config, *inherited)) {
            // The old settings stay in force, and so does that one.
            let _ = prioritize(&mut cx.proc, *inherited, config.priority, before);
            log::without(&mut cx.output.helper, "starting a helper for new settings", error);
            return false;
        }
        log::priority(&mut cx.output.helper, refused);
        cx.selector.filter = Filter::new(&config.patterns, passwd);
        let now = clock::now();
        cx.observer.reconfigure(&mut cx.proc, (&cx.config, &config), now);
        cx.oom_group = OomGroup::open(&mut cx.proc);
        (cx.config, cx.sysrq) = (config, sysrq);
        self.kills.reset(&cx.config);
        self.limit = LimitCheck::new(cx.config.limit(), now);
        self.reboot.reset(&cx.config);
        cx.output.reset(&cx.config, now);
        self.scene = cx.observe_again().or(self.scene);
        true
    }
}

/// Reads the files and tries the settings out, so that all that is wrong is said here.
fn read_settings(sources: &Sources, replies: &mut Replies) -> Result<(), Vec<Mistake>> {
    let read = sources.read()?;
    let texts: Vec<_> = read.iter().map(Vec::as_slice).collect();
    let Settled { config, notices, .. } = sources.settle(&texts)?;
    let (proc, memory, _) = observe(&config)?;
    try_out(&config, memory.total, &proc)?;
    for notice in &notices {
        replies.say(Priority::Notice, format_args!("notice: {notice}"));
    }
    let mut filter = Filter::new(&config.patterns, &users_file(&config));
    doubts::of_settings(&config, sources, &memory, &mut filter, &mut |doubt| {
        replies.say(Priority::Warning, format_args!("warning: {doubt}"));
    });
    texts.iter().for_each(|text| replies.put(TEXT, text));
    let mut passwd = Vec::new();
    for (uid, name) in &filter.users {
        passwd.extend_from_slice(name);
        passwd.extend_from_slice(format!(":x:{uid}\n").as_bytes());
    }
    replies.put(TEXT, &passwd);
    Ok(())
}

fn say_mistakes(mistakes: &[Mistake], replies: &mut Replies) {
    for mistake in mistakes.iter().take(REFUSALS) {
        replies.say(Priority::Error, format_args!("{mistake}"));
    }
    if mistakes.len() > REFUSALS {
        let more = mistakes.len() - REFUSALS;
        replies.say(Priority::Error, format_args!("and {more} more mistakes"));
    }
}

fn tell_candidates(
    config: &Config,
    scale: Scale,
    guard: (Pid, Option<Pid>),
    replies: &mut Replies,
) -> Result<(), Vec<Mistake>> {
    let (mut proc, memory, observer) = observe(config)?;
    let seen = (&memory, observer.cgroup());
    let summary = explain::text(&mut proc, seen, config, scale, false, Some(guard))
        .map_err(|error| vec![format!("cannot rank the processes: {error}")])?;
    for line in summary.as_bytes().split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            replies.put(Priority::Info as u8, line);
        }
    }
    Ok(())
}

fn observe(config: &Config) -> Result<(Proc, Memory, Observer), Vec<Mistake>> {
    let look = || -> Result<_, Blind> {
        let mut proc = Proc::system()?;
        let mut observer = Observer::open(&mut proc, config)?;
        observer.look_at_tmpfs(&mut proc);
        let scene = observer.observe(&mut proc, config, clock::now())?;
        Ok((proc, scene.memory, observer))
    };
    look().map_err(|blind| vec![blind.to_string()])
}
