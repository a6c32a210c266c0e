//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes;
//! the watch takes over what comes of it, once nothing else is going on.

use super::start::prioritize;
use super::Daemon;
use crate::config::{self, Config, Settled};
use crate::explain::Explanation;
use crate::filter::Filter;
use crate::helper::{Duty, Errand, Errands, Priority, Report};
use crate::log;
use crate::pattern::Field;
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::Proc;
use crate::say;
use crate::sources::Sources;
use crate::sys::process::Inherited;
use crate::sys::{arena, clock};
use crate::victim::Scale;
use std::rc::Rc;

/// What was asked for and has not begun, and what has.
#[derive(Default)]
pub struct Asked {
    pub settings: bool,
    pub candidates: bool,
    running: Option<Errand>,
    /// What has come back, and whether it went well.
    back: Option<(Errand, bool)>,
    /// Of each configuration file, and then of `/etc/passwd`.
    texts: Vec<Vec<u8>>,
}

/// What an errand needs of the settings in force when its helper was started.
pub struct Desk {
    pub config: Rc<Config>,
    pub sources: Rc<Sources>,
    pub scale: Scale,
    pub inherited: Inherited,
    pub on_terminal: bool,
}

impl Desk {
    pub fn duty(self) -> Duty {
        Duty {
            outputs: self.config.outputs.clone(),
            hooks: self.config.hooks.clone(),
            inherited: self.inherited,
            errands: Some(Rc::new(self)),
        }
    }

    /// Reads the files and tries the settings out, so that all that is wrong is said here.
    fn read_settings(&self, proc: &mut Proc, report: &mut Report<'_>) -> bool {
        let Some(memory) = memory(proc) else { return false };
        let mut texts = Vec::new();
        for file in &self.sources.files {
            match file.read() {
                Ok(text) => texts.push(text),
                Err(refusal) => {
                    report.say(Priority::Error, format_args!("{refusal}"));
                    return false;
                }
            }
        }
        let settled = config::settle(&self.sources, &texts, self.on_terminal);
        let fits = |settled: &Settled| {
            settled.config.check_sizes(memory.total).and_then(|()| settled.config.check_hooks())
        };
        match settled.and_then(|settled| fits(&settled).map(|()| settled)) {
            Ok(settled) => {
                let config = settled.config;
                let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
                config.warnings(memory.total, memory.swap_total).for_each(|warning| {
                    report.say(Priority::Warning, format_args!("warning: {warning}"));
                });
                let mut filter = Filter::new(&config.patterns, &passwd);
                for pattern in filter.unknown_users(&config.patterns) {
                    let unknown = log::UnknownUser(pattern);
                    report.say(Priority::Warning, format_args!("warning: {unknown}"));
                }
                texts.iter().enumerate().for_each(|(file, text)| report.text(file, text));
                if config.patterns.all().any(|pattern| pattern.field() == Field::User) {
                    report.text(texts.len(), &passwd);
                }
                true
            }
            Err(refusals) => {
                for refusal in refusals {
                    report.say(Priority::Error, format_args!("{refusal}"));
                }
                false
            }
        }
    }

    fn tell_candidates(&self, proc: &mut Proc, report: &mut Report<'_>) -> bool {
        let meminfo = MemInfo::open(proc);
        let explanation =
            meminfo.and_then(|meminfo| Explanation::of(proc, &meminfo, &self.config, self.scale));
        let Ok(Some(explanation)) = explanation else { return false };
        for line in explanation.summary().lines().filter(|line| !line.is_empty()) {
            report.say(Priority::Info, format_args!("{line}"));
        }
        true
    }
}

impl Errands for Desk {
    fn run(&self, errand: Errand, mut proc: Proc, report: &mut Report<'_>) -> bool {
        match errand {
            Errand::Settings => self.read_settings(&mut proc, report),
            Errand::Candidates => self.tell_candidates(&mut proc, report),
        }
    }
}

fn memory(proc: &mut Proc) -> Option<Memory> {
    MemInfo::open(proc).and_then(|meminfo| meminfo.read(proc)).ok().flatten()
}

impl Daemon {
    /// Begins what was asked for, or goes on with it. New settings are taken over while
    /// memory is fine and nobody is being ended.
    pub(super) fn run_errands(&mut self, calm: bool) {
        if let Some(errand) = self.asked.running {
            if let Some(good) = self.helper.collect(&mut self.asked.texts) {
                self.asked.running = None;
                self.asked.back = Some((errand, good));
            }
        }
        if self.asked.running.is_some() {
            return;
        }
        if let Some((errand, good)) = self.asked.back {
            if calm || errand == Errand::Candidates {
                self.asked.back = None;
                self.finish_errand(errand, good);
            }
        } else if calm && self.asked.settings {
            self.asked.settings = false;
            let files = self.sources.files.len();
            arena::begin_half();
            self.asked.texts = arena::unsealed(|| vec![Vec::new(); files + 1]);
            self.begin(Errand::Settings);
        } else if self.asked.candidates && self.machine.is_idle() {
            self.asked.candidates = false;
            self.begin(Errand::Candidates);
        }
    }

    fn begin(&mut self, errand: Errand) {
        self.asked.running = Some(errand);
        self.helper.go(errand);
    }

    fn finish_errand(&mut self, errand: Errand, good: bool) {
        let mut texts = std::mem::take(&mut self.asked.texts);
        match (errand, good) {
            (Errand::Candidates, true) => {}
            (Errand::Candidates, false) => say!(self.helper, Error, "cannot rank the processes"),
            (Errand::Settings, true) => {
                let passwd = texts.pop().unwrap_or_default();
                if arena::unsealed(|| self.take_over(&texts, &passwd)).is_some() {
                    arena::keep_half();
                    say!(self.helper, Notice, "settings were read again");
                    return self.say_settings();
                }
                self.keep_settings();
            }
            (Errand::Settings, false) => self.keep_settings(),
        }
    }

    fn keep_settings(&mut self) {
        say!(self.helper, Error, "the new settings are not taken; the old ones stay in force");
    }

    fn take_over(&mut self, texts: &[Vec<u8>], passwd: &[u8]) -> Option<()> {
        let config = config::settle(&self.sources, texts, self.on_terminal).ok()?.config;
        config.check_sizes(self.memory?.total).ok()?;
        let config = Rc::new(config);
        let sysrq = match (&self.sysrq, config.kernel_oom && !config.dryrun) {
            (None, true) => Some(super::start::open_sysrq(&self.proc).ok()?),
            _ => None,
        };
        let filter = Filter::new(&config.patterns, passwd);
        let desk = Desk {
            config: config.clone(),
            sources: self.sources.clone(),
            scale: self.scale,
            inherited: self.inherited,
            on_terminal: self.on_terminal,
        };
        if let Err(error) = self.helper.relieve(desk.duty()) {
            log::without(&mut self.helper, "starting a helper for new settings", &error);
            return None;
        }
        if let Some(niceness) = config.priority.filter(|_| config.priority != self.config.priority)
        {
            log::priority(&mut self.helper, &prioritize(&mut self.proc, niceness));
        }
        let now = clock::now();
        self.sysrq = self.sysrq.take().or(sysrq);
        self.machine.reset(&config);
        self.offenders.reset(config.limit, now);
        self.next_report = config.report.map(|every| now.after(every));
        self.next_stats = config.outputs.stats_file.as_ref().map(|_| now);
        self.filter = filter;
        self.config = config;
        Some(())
    }

    fn say_settings(&mut self) {
        let Some(memory) = self.memory else { return };
        let limits = crate::policy::Limits::of(&self.config, &memory);
        log::levels(&mut self.helper, &self.config, &limits, &memory);
    }
}
