//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes;
//! the watch takes over what comes of it, once nothing else is going on.

use super::start::{open_sysrq, prioritize, raised, tell_doubts, users_file};
use super::Daemon;
use crate::bytes::Buf;
use crate::errand::{Came, Errand, Report, ROOM};
use crate::helper::{Priority, Setup, LINE};
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
use std::os::fd::BorrowedFd;

/// More than a person mends in one go; a file that is no configuration has thousands.
const REFUSALS: usize = 20;

/// What was asked for and has not begun, and what has.
#[derive(Default)]
pub struct Asked {
    pub settings: bool,
    pub candidates: bool,
    /// That the settings have to wait.
    delay_said: bool,
    running: Option<(Errand, What)>,
    /// New settings are there to be taken over, or were found faulty.
    settings_back: Option<bool>,
    /// Of each configuration file, and then what counts of `/etc/passwd`.
    texts: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Settings,
    Candidates,
}

impl Asked {
    /// What becomes readable when something comes of it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|(errand, _)| errand.fd())
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.running.as_ref().map(|(errand, _)| errand.deadline())
    }
}

/// What the helper works with, by these settings.
pub fn setup(config: &Config, inherited: Inherited) -> Setup {
    Setup {
        outputs: config.outputs.clone(),
        hooks: config.hooks.clone(),
        inherited,
        priority: config.priority,
    }
}

impl Daemon {
    /// Begins what was asked for, or goes on with it. New settings are taken over while
    /// nobody is being ended and, unless nothing can be done about it, memory is fine: then
    /// it is `quiet`.
    pub(super) fn run_errands(&mut self, quiet: bool) {
        self.collect();
        if self.asked.running.is_some() {
            return;
        }
        if let Some(good) = self.asked.settings_back.filter(|_| quiet) {
            self.asked.settings_back = None;
            self.finish_settings(good);
        } else if self.asked.settings_back.is_some() {
            // They wait.
        } else if self.asked.candidates && quiet {
            (self.asked.candidates, self.asked.delay_said) = (false, false);
            self.send_for(What::Candidates);
        } else if self.asked.settings && quiet {
            (self.asked.settings, self.asked.delay_said) = (false, false);
            arena::begin_half();
            let files = self.sources.files.len();
            self.asked.texts = arena::unsealed(|| vec![Vec::new(); files + 1]);
            self.send_for(What::Settings);
        } else if (self.asked.settings || self.asked.candidates) && !self.asked.delay_said {
            self.asked.delay_said = true;
            let what = match self.asked.settings {
                true => "settings will be read again",
                false => "the processes will be ranked",
            };
            say!(self.helper, Notice, "{what} once memory is fine");
        }
    }

    fn send_for(&mut self, what: What) {
        let sent = Errand::start(|report| {
            let Ok(mut proc) = Proc::system() else { return false };
            let Daemon { config, sources, scale, helper, .. } = &*self;
            match what {
                What::Settings => read_settings(sources, &mut proc, report),
                What::Candidates => {
                    tell_candidates(config, *scale, helper.pid(), &mut proc, report)
                }
            }
        });
        match sent {
            Ok(errand) => self.asked.running = Some((errand, what)),
            Err(error) => {
                log::without(&mut self.helper, "starting a process to find out", error);
                self.come_back(what, false);
            }
        }
    }

    fn collect(&mut self) {
        while let Some((errand, what)) = &mut self.asked.running {
            let what = *what;
            let mut room = [0; ROOM];
            match errand.next(&mut room) {
                None => return,
                Some(Came::Line(priority, line)) => self.helper.write_line(priority, line),
                Some(Came::Text(file, text)) => {
                    if let Some(whole) = self.asked.texts.get_mut(file) {
                        arena::unsealed(|| whole.extend_from_slice(text));
                    }
                }
                Some(Came::Done(good)) => {
                    self.asked.running = None;
                    self.come_back(what, good);
                }
            }
        }
    }

    fn come_back(&mut self, what: What, good: bool) {
        match what {
            What::Settings => self.asked.settings_back = Some(good),
            What::Candidates if good => {}
            What::Candidates => say!(self.helper, Error, "cannot rank the processes"),
        }
    }

    fn finish_settings(&mut self, good: bool) {
        let mut texts = std::mem::take(&mut self.asked.texts);
        let passwd = texts.pop().unwrap_or_default();
        let taken = good && arena::unsealed(|| self.take_over(&texts, &passwd));
        arena::end_half(taken);
        if !taken {
            say!(self.helper, Error, "the new settings are not taken; the old ones stay in force");
            return;
        }
        say!(self.helper, Notice, "settings were read again");
        if let Some(scene) = &self.scene {
            log::levels(&mut self.helper, &self.config, &scene.limits, &scene.memory);
        }
        self.tell_news();
    }

    fn take_over(&mut self, texts: &[Vec<u8>], passwd: &[u8]) -> bool {
        // All that can be wrong was said when they were tried out.
        let Ok((config, _)) = self.sources.settle(texts) else { return false };
        if config.needs_sysrq() && self.sysrq.is_none() {
            let Ok(sysrq) = open_sysrq(&self.proc) else { return false };
            self.sysrq = Some(sysrq);
        }
        // Before the helper, which is to have the same.
        let is_raised = config.priority != self.config.priority;
        let mut refused = (Ok(()), Ok(()));
        if is_raised {
            refused = prioritize(&mut self.proc, raised(self.inherited, config.priority));
        }
        if let Err(error) = self.helper.change(setup(&config, self.inherited)) {
            if is_raised {
                // The old settings stay in force, and so does that one.
                let _ = prioritize(&mut self.proc, raised(self.inherited, self.config.priority));
            }
            log::without(&mut self.helper, "starting a helper for new settings", error);
            return false;
        }
        log::priority(&mut self.helper, refused);
        let now = clock::now();
        self.machine.reset(&config);
        self.ahead.forget();
        self.offenders.reset(config.limit(), config.dryrun, now);
        self.next_report = config.report.map(|every| now.after(every));
        self.next_stats = config.outputs.stats_file.as_ref().map(|_| now);
        self.filter = Filter::new(&config.patterns, passwd);
        self.observer.reconfigure(&mut self.proc, &self.config, &config);
        self.config = config;
        self.scene = self.look_again().or(self.scene);
        true
    }
}

/// Reads the files and tries the settings out, so that all that is wrong is said here.
fn read_settings(sources: &Sources, proc: &mut Proc, report: &mut Report<'_>) -> bool {
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
            say_mistakes(&mistakes, report);
            return false;
        }
    };
    if let Some(Err(why)) = config.needs_sysrq().then(|| open_sysrq(proc)) {
        report.say(Priority::Error, format_args!("{why}"));
        return false;
    }
    let mut filter = Filter::new(&config.patterns, &users_file(&config));
    tell_doubts(&config, sources, &memory, &mut filter, &mut |doubt| {
        report.say(Priority::Warning, format_args!("warning: {doubt}"));
    });
    texts.iter().enumerate().for_each(|(file, text)| report.text(file, text));
    for (uid, name) in filter.users() {
        let mut line = Buf::<LINE>::from_bytes(name);
        line.push(b":x:");
        line.push_number(*uid);
        line.push(b"\n");
        report.text(texts.len(), line.as_bytes());
    }
    true
}

fn say_mistakes(mistakes: &[Mistake], report: &mut Report<'_>) {
    for mistake in mistakes.iter().take(REFUSALS) {
        report.say(Priority::Error, format_args!("{mistake}"));
    }
    if mistakes.len() > REFUSALS {
        let more = mistakes.len() - REFUSALS;
        report.say(Priority::Error, format_args!("and {more} more mistakes"));
    }
}

fn tell_candidates(
    config: &Config,
    scale: Scale,
    helper: Option<Pid>,
    proc: &mut Proc,
    report: &mut Report<'_>,
) -> bool {
    let Some((memory, observer)) = observe(proc, config) else { return false };
    let seen = (&memory, observer.cgroup());
    let summary = explain::text(proc, seen, config, scale, false, helper, &mut |_| {});
    let Ok(summary) = summary else { return false };
    for line in summary.as_bytes().split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            report.line(Priority::Info, line);
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
