//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes, since that
//! may hang and allocates; the guard takes over what comes of it, once nothing else is going on.

use super::start::{open_sysrq, prioritize, users_file};
use super::Daemon;
use crate::context::Context;
use crate::helper::{Helper, Priority, Setup};
use crate::limit::LimitCheck;
use crate::log;
use crate::memory::Memory;
use crate::observe::Observer;
use crate::procfs::Proc;
use crate::report::{doubts, explain};
use crate::say;
use crate::select::{Filter, Scale};
use crate::settings::{Config, Mistake, Settled, Sources};
use crate::sys::process::Inherited;
use crate::sys::{arena, clock};
use crate::units::{Moment, Pid};
use crate::worker::{Replies, Worker, TEXT};
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

/// What the helper is for, with these settings.
pub fn setup(config: &Config, inherited: Inherited) -> Setup {
    Setup {
        outputs: config.outputs.clone(),
        hooks: config.hooks.clone(),
        inherited,
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
    /// until it is `quiet`, as for `begin`.
    pub fn end(&mut self, helper: &mut Helper, quiet: bool) -> Option<Worker> {
        let (worker, asked) = self.sent.as_mut()?;
        if !worker.is_over() || (*asked == Asked::Settings && !quiet) {
            return None;
        }
        let (worker, asked) = self.sent.take()?;
        worker.lines().for_each(|(priority, line)| helper.write_line(priority, line));
        if asked == Asked::Candidates {
            if !worker.is_good() {
                say!(helper, Error, "cannot rank the processes");
            }
            return None;
        }
        Some(worker)
    }

    /// Begins what was asked for, if nothing is under way. Only if it is `quiet`: no process is
    /// being ended and memory is fine, or nothing can be done about it.
    pub fn begin(&mut self, cx: &mut Context, sources: &Sources, quiet: bool) {
        if self.sent.is_some() || !(self.settings || self.candidates) {
            return;
        }
        if !quiet {
            if !std::mem::replace(&mut self.delay_said, true) {
                let what = match self.settings {
                    true => "settings will be read again",
                    false => "the processes will be ranked",
                };
                say!(cx.output.helper, Notice, "{what} once memory is fine");
            }
            return;
        }
        self.delay_said = false;
        let asked = match std::mem::take(&mut self.candidates) {
            true => Asked::Candidates,
            false => Asked::Settings,
        };
        self.settings &= asked == Asked::Candidates;
        let (config, scale) = (&cx.config, cx.selector.scale);
        let helper = cx.output.helper.pid();
        let sent = Worker::start(|replies| {
            let Ok(mut proc) = Proc::system() else { return false };
            match asked {
                Asked::Settings => read_settings(sources, &mut proc, replies)
                    .map_err(|mistakes| say_mistakes(&mistakes, replies))
                    .is_ok(),
                Asked::Candidates => tell_candidates(config, scale, helper, &mut proc, replies),
            }
        });
        let worker = sent.unwrap_or_else(|error| {
            log::without(&mut cx.output.helper, "starting a process to find out", error);
            Worker::default()
        });
        self.sent = Some((worker, asked));
    }
}

impl Daemon {
    /// Takes new settings over, unless they were found faulty.
    pub(super) fn finish_reload(&mut self, worker: &Worker) {
        let taken = worker.is_good() && arena::renew(|| self.take_over(worker));
        let helper = &mut self.cx.output.helper;
        if !taken {
            say!(helper, Error, "the new settings are not taken; the old ones stay in force");
            return;
        }
        say!(helper, Notice, "settings were read again");
        if let Some(scene) = &self.scene {
            log::levels(helper, &self.cx.config, &scene.limits, &scene.memory);
        }
        self.cx.tell_news();
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
        (cx.config, cx.sysrq) = (config, sysrq);
        self.kills.reset(&cx.config);
        self.limit = LimitCheck::new(cx.config.limit(), now);
        cx.output.reset(&cx.config, now);
        self.scene = cx.observe_again().or(self.scene);
        true
    }
}

/// Reads the files and tries the settings out, so that all that is wrong is said here.
fn read_settings(
    sources: &Sources,
    proc: &mut Proc,
    replies: &mut Replies,
) -> Result<(), Vec<Mistake>> {
    let read = sources.read()?;
    let texts: Vec<_> = read.iter().map(Vec::as_slice).collect();
    let Settled { config, notices, .. } = sources.settle(&texts)?;
    let (memory, _) = observe(proc, &config).ok_or_else(Vec::new)?;
    config.check(memory.total)?;
    open_sysrq(&config, proc).map_err(|why| vec![why])?;
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
    helper: Option<Pid>,
    proc: &mut Proc,
    replies: &mut Replies,
) -> bool {
    let Some((memory, observer)) = observe(proc, config) else { return false };
    let seen = (&memory, observer.cgroup());
    let summary = explain::text(proc, seen, config, scale, false, helper, &mut |_| {});
    let Ok(summary) = summary else { return false };
    for line in summary.as_bytes().split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            replies.put(Priority::Info as u8, line);
        }
    }
    true
}

fn observe(proc: &mut Proc, config: &Config) -> Option<(Memory, Observer)> {
    let mut observer = Observer::open(proc, config).ok()?;
    observer.look_at_tmpfs(proc);
    let scene = observer.observe(proc, config, clock::now()).ok()??;
    Some((scene.memory, observer))
}
