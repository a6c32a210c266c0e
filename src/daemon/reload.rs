//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes, since that
//! may hang and allocates; the guard takes over what comes of it, once nothing else is going on.

use super::start::{open_sysrq, prioritize, raised, tell_doubts, users_file};
use super::Daemon;
use crate::bytes::Buf;
use crate::context::Context;
use crate::helper::{Priority, Setup, LINE};
use crate::limit::LimitCheck;
use crate::log;
use crate::memory::Memory;
use crate::observe::Observer;
use crate::procfs::Proc;
use crate::report::explain;
use crate::say;
use crate::select::{Filter, Scale};
use crate::settings::{Config, Mistake, Sources};
use crate::sys::process::Inherited;
use crate::sys::{arena, clock};
use crate::units::{Moment, Pid};
use crate::worker::{Answer, Replies, Worker, ROOM};
use std::os::fd::BorrowedFd;

/// More than a person mends in one go; a file that is no configuration has thousands.
const REFUSALS: usize = 20;

/// Where settings come from, what was asked for and has not begun, and what has.
pub struct Reload {
    pub settings: bool,
    pub candidates: bool,
    pub sources: Sources,
    inherited: Inherited,
    /// That the settings have to wait.
    delay_said: bool,
    running: Option<(Worker, Asked)>,
    /// New settings are there to be taken over, or were found faulty.
    settings_back: Option<bool>,
    /// Of each configuration file, and then what counts of `/etc/passwd`.
    texts: Vec<Vec<u8>>,
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
    pub fn new(sources: Sources, inherited: Inherited) -> Reload {
        Reload {
            settings: false,
            candidates: false,
            sources,
            inherited,
            delay_said: false,
            running: None,
            settings_back: None,
            texts: Vec::new(),
        }
    }

    /// What becomes readable when something comes of it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|(worker, _)| worker.fd())
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.running.as_ref().map(|(worker, _)| worker.deadline())
    }

    /// Begins what was asked for, or goes on with it. True if new settings are there to be taken
    /// over. Nothing begins, and nothing is taken over, unless it is `quiet`: no process is being
    /// ended and memory is fine, or nothing can be done about it.
    pub fn go_on(&mut self, cx: &mut Context, quiet: bool) -> bool {
        self.collect(cx);
        if self.running.is_some() {
            return false;
        }
        if self.settings_back.is_some() {
            return quiet;
        }
        let asked = match (self.candidates, self.settings) {
            (true, _) => Asked::Candidates,
            (false, true) => Asked::Settings,
            (false, false) => return false,
        };
        if !quiet {
            if !std::mem::replace(&mut self.delay_said, true) {
                let what = match self.settings {
                    true => "settings will be read again",
                    false => "the processes will be ranked",
                };
                say!(cx.output.helper, Notice, "{what} once memory is fine");
            }
            return false;
        }
        self.delay_said = false;
        match asked {
            Asked::Candidates => self.candidates = false,
            Asked::Settings => {
                self.settings = false;
                arena::begin_half();
                let files = self.sources.files.len();
                self.texts = arena::unsealed(|| vec![Vec::new(); files + 1]);
            }
        }
        self.send_for(cx, asked);
        false
    }

    fn send_for(&mut self, cx: &mut Context, asked: Asked) {
        let (config, scale) = (&cx.config, cx.selector.scale);
        let helper = cx.output.helper.pid();
        let sent = Worker::start(|replies| {
            let Ok(mut proc) = Proc::system() else { return false };
            match asked {
                Asked::Settings => read_settings(&self.sources, &mut proc, replies),
                Asked::Candidates => tell_candidates(config, scale, helper, &mut proc, replies),
            }
        });
        match sent {
            Ok(worker) => self.running = Some((worker, asked)),
            Err(error) => {
                log::without(&mut cx.output.helper, "starting a process to find out", error);
                self.come_back(cx, asked, false);
            }
        }
    }

    fn collect(&mut self, cx: &mut Context) {
        while let Some((worker, asked)) = &mut self.running {
            let asked = *asked;
            let mut room = [0; ROOM];
            match worker.next(&mut room) {
                None => return,
                Some(Answer::Line(priority, line)) => cx.output.helper.write_line(priority, line),
                Some(Answer::Text(file, text)) => {
                    if let Some(whole) = self.texts.get_mut(file) {
                        arena::unsealed(|| whole.extend_from_slice(text));
                    }
                }
                Some(Answer::Done(good)) => {
                    self.running = None;
                    self.come_back(cx, asked, good);
                }
            }
        }
    }

    fn come_back(&mut self, cx: &mut Context, asked: Asked, good: bool) {
        match asked {
            Asked::Settings => self.settings_back = Some(good),
            Asked::Candidates if good => {}
            Asked::Candidates => say!(cx.output.helper, Error, "cannot rank the processes"),
        }
    }
}

impl Daemon {
    /// Takes new settings over, unless they were found faulty.
    pub(super) fn finish_reload(&mut self) {
        let good = self.reload.settings_back.take() == Some(true);
        let mut texts = std::mem::take(&mut self.reload.texts);
        let passwd = texts.pop().unwrap_or_default();
        let taken = good && arena::unsealed(|| self.take_over(&texts, &passwd));
        arena::end_half(taken);
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

    fn take_over(&mut self, texts: &[Vec<u8>], passwd: &[u8]) -> bool {
        let Reload { sources, inherited, .. } = &self.reload;
        let cx = &mut self.cx;
        // All that can be wrong was said when they were tried out.
        let Ok((config, _)) = sources.settle(texts) else { return false };
        if config.needs_sysrq() && cx.sysrq.is_none() {
            let Ok(sysrq) = open_sysrq(&cx.proc) else { return false };
            cx.sysrq = Some(sysrq);
        }
        // Before the helper, which is to have the same.
        let is_raised = config.priority != cx.config.priority;
        let mut refused = (Ok(()), Ok(()));
        if is_raised {
            refused = prioritize(&mut cx.proc, raised(*inherited, config.priority));
        }
        if let Err(error) = cx.output.helper.change(setup(&config, *inherited)) {
            if is_raised {
                // The old settings stay in force, and so does that one.
                let _ = prioritize(&mut cx.proc, raised(*inherited, cx.config.priority));
            }
            log::without(&mut cx.output.helper, "starting a helper for new settings", error);
            return false;
        }
        log::priority(&mut cx.output.helper, refused);
        cx.selector.filter = Filter::new(&config.patterns, passwd);
        let now = clock::now();
        cx.observer.reconfigure(&mut cx.proc, (&cx.config, &config), now);
        cx.config = config;
        self.kills.reset(&cx.config);
        self.limit = LimitCheck::new(cx.config.limit(), now);
        cx.output.reset(&cx.config, now);
        self.scene = cx.observe_again().or(self.scene);
        true
    }
}

/// Reads the files and tries the settings out, so that all that is wrong is said here.
fn read_settings(sources: &Sources, proc: &mut Proc, replies: &mut Replies<'_>) -> bool {
    let tried = sources.read().and_then(|texts| {
        let (config, _) = sources.settle(&texts)?;
        let seen = observe(proc, &config);
        if let Some((memory, _)) = &seen {
            config.check(memory.total)?;
        }
        Ok((texts, config, seen))
    });
    let (texts, config, memory) = match tried {
        Ok((texts, config, Some((memory, _)))) => (texts, config, memory),
        Ok((_, _, None)) => return false,
        Err(mistakes) => {
            say_mistakes(&mistakes, replies);
            return false;
        }
    };
    if let Some(Err(why)) = config.needs_sysrq().then(|| open_sysrq(proc)) {
        replies.say(Priority::Error, format_args!("{why}"));
        return false;
    }
    let mut filter = Filter::new(&config.patterns, &users_file(&config));
    tell_doubts(&config, sources, &memory, &mut filter, &mut |doubt| {
        replies.say(Priority::Warning, format_args!("warning: {doubt}"));
    });
    texts.iter().enumerate().for_each(|(file, text)| replies.text(file, text));
    for (uid, name) in &filter.users {
        let mut line = Buf::<LINE>::from_bytes(name);
        line.push(b":x:");
        line.push_number(*uid);
        line.push(b"\n");
        replies.text(texts.len(), line.as_bytes());
    }
    true
}

fn say_mistakes(mistakes: &[Mistake], replies: &mut Replies<'_>) {
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
    replies: &mut Replies<'_>,
) -> bool {
    let Some((memory, observer)) = observe(proc, config) else { return false };
    let seen = (&memory, observer.cgroup());
    let summary = explain::text(proc, seen, config, scale, false, helper, &mut |_| {});
    let Ok(summary) = summary else { return false };
    for line in summary.as_bytes().split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            replies.line(Priority::Info, line);
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
