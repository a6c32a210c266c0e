//! What SIGHUP and SIGUSR1 ask for. A process of its own reads files and ranks processes;
//! the watch takes over what comes of it, once nothing else is going on.

use super::start::{open_sysrq, prioritize, raised};
use super::Daemon;
use crate::config::{self, Config, Settled};
use crate::explain::Explanation;
use crate::filter::Filter;
use crate::helper::{Duty, Errand, Errands, Priority, Report};
use crate::log;
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::Proc;
use crate::say;
use crate::sources::Sources;
use crate::sys::process::Inherited;
use crate::sys::{arena, clock};
use crate::victim::Scale;
use std::rc::Rc;

/// More than a person mends in one go; a file that is no configuration has thousands.
const REFUSALS: usize = 20;

/// What was asked for and has not begun, and what has.
#[derive(Default)]
pub struct Asked {
    pub settings: bool,
    pub candidates: bool,
    /// That the settings have to wait.
    delay_said: bool,
    running: Option<Errand>,
    /// What has come back, and whether it went well.
    back: Option<(Errand, bool)>,
    /// Of each configuration file, and then what counts of `/etc/passwd`.
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
                if let Some(Err(why)) = config.needs_sysrq().then(|| open_sysrq(proc)) {
                    report.say(Priority::Error, format_args!("{why}"));
                    return false;
                }
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
                for (uid, name) in filter.users() {
                    let line = [&name[..], b":x:", uid.to_string().as_bytes(), b"\n"].concat();
                    report.text(texts.len(), &line);
                }
                true
            }
            Err(refusals) => {
                for refusal in refusals.iter().take(REFUSALS) {
                    report.say(Priority::Error, format_args!("{refusal}"));
                }
                if refusals.len() > REFUSALS {
                    let more = refusals.len() - REFUSALS;
                    report.say(Priority::Error, format_args!("and {more} more mistakes"));
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
    /// nobody is being ended and, unless nothing can be done about it, memory is fine: then
    /// it is `quiet`.
    pub(super) fn run_errands(&mut self, quiet: bool) {
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
            if quiet || errand == Errand::Candidates {
                self.asked.back = None;
                self.finish_errand(errand, good);
            }
        } else if quiet && self.asked.settings {
            (self.asked.settings, self.asked.delay_said) = (false, false);
            let files = self.sources.files.len();
            arena::begin_half();
            self.asked.texts = arena::unsealed(|| vec![Vec::new(); files + 1]);
            self.begin(Errand::Settings);
        } else if self.asked.candidates && !self.machine.in_flight() {
            self.asked.candidates = false;
            self.begin(Errand::Candidates);
        } else if self.asked.settings && !self.asked.delay_said {
            self.asked.delay_said = true;
            say!(self.helper, Notice, "settings will be read again once memory is fine");
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
                let taken = arena::unsealed(|| self.take_over(&texts, &passwd)).is_some();
                arena::end_half(taken);
                if taken {
                    say!(self.helper, Notice, "settings were read again");
                    return self.say_settings();
                }
                self.keep_settings();
            }
            (Errand::Settings, false) => {
                arena::end_half(false);
                self.keep_settings();
            }
        }
    }

    fn keep_settings(&mut self) {
        say!(self.helper, Error, "the new settings are not taken; the old ones stay in force");
    }

    fn take_over(&mut self, texts: &[Vec<u8>], passwd: &[u8]) -> Option<()> {
        let config = config::settle(&self.sources, texts, self.on_terminal).ok()?.config;
        config.check_sizes(self.memory?.total).ok()?;
        let config = Rc::new(config);
        let sysrq = match config.needs_sysrq() && self.sysrq.is_none() {
            true => Some(open_sysrq(&self.proc).ok()?),
            false => None,
        };
        let filter = Filter::new(&config.patterns, passwd);
        let desk = Desk {
            config: config.clone(),
            sources: self.sources.clone(),
            scale: self.scale,
            inherited: self.inherited,
            on_terminal: self.on_terminal,
        };
        // Before the helper, which is to have the same.
        let refused = (config.priority != self.config.priority)
            .then(|| prioritize(&mut self.proc, raised(self.inherited, config.priority)));
        if let Err(error) = self.helper.relieve(desk.duty()) {
            log::without(&mut self.helper, "starting a helper for new settings", &error);
            return None;
        }
        if let Some(refused) = &refused {
            log::priority(&mut self.helper, refused);
        }
        let now = clock::now();
        self.sysrq = self.sysrq.take().or(sysrq);
        self.machine.reset(&config);
        self.offenders.reset(config.limit, config.dryrun, now);
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
