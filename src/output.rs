//! The way out: the helper, which writes and tells, and the numbers. What is said regularly is due
//! here.
//!
//! Never decides. The words are in `log`.

use crate::helper::Helper;
use crate::log;
use crate::memory::Memory;
use crate::policy::Scene;
use crate::say;
use crate::settings::Config;
use crate::stats::{Number, Stats};
use crate::sys::{clock, io};
use crate::units::{least, KiB, Moment};
use std::time::Duration;

/// As often as Prometheus is usually told to look.
const NUMBERS_EVERY: Duration = Duration::from_secs(15);
/// Files in tmpfs may come and go all the time.
const BETWEEN_LOWERED: Duration = Duration::from_secs(60);

pub struct Output {
    pub helper: Helper,
    pub stats: Stats,
    next_report: Option<Moment>,
    next_numbers: Option<Moment>,
    /// What `-M` was said to count as, and from when that may be forgotten.
    lowered: Option<KiB>,
    forget_lowered: Moment,
}

impl Output {
    pub fn new(helper: Helper, config: &Config, now: Moment) -> Output {
        let stats = Stats::default();
        let mut output = Output {
            helper,
            stats,
            next_report: None,
            next_numbers: None,
            lowered: None,
            forget_lowered: now,
        };
        output.reset(config, now);
        output.next_report = config.report.map(|_| now);
        output
    }

    /// Settings have changed.
    pub fn reset(&mut self, config: &Config, now: Moment) {
        self.next_report = config.report.map(|every| now.after(every));
        self.next_numbers = config.outputs.stats_file.as_ref().map(|_| now);
        self.lowered = None;
    }

    /// Says what is due at every look. True if the state of memory was.
    pub fn look(&mut self, config: &Config, scene: &Scene) -> bool {
        let Scene { now, memory, .. } = scene;
        self.tell_lowered(scene);
        if config.debug {
            log::look(&mut self.helper, self.stats.looks(), scene);
        }
        let reports = self.next_report.is_some_and(|at| *now >= at);
        if reports {
            if !config.debug {
                say!(self.helper, Info, "{}", log::State(memory));
            }
            self.next_report = config.report.map(|every| now.after(every));
        }
        if self.next_numbers.is_some_and(|at| *now >= at) {
            self.next_numbers = Some(now.after(NUMBERS_EVERY));
            self.write_numbers(memory);
        }
        reports
    }

    /// Says that `-M` is lowered, and again if it was not meanwhile, or is by half of that.
    fn tell_lowered(&mut self, Scene { now, memory, limits, .. }: &Scene) {
        match limits.lowered {
            None if *now >= self.forget_lowered => self.lowered = None,
            Some(lowered) if self.lowered.map_or(true, |said| lowered.counts < said.half()) => {
                self.lowered = Some(lowered.counts);
                self.forget_lowered = now.after(BETWEEN_LOWERED);
                log::lowered(&mut self.helper, memory, lowered);
            }
            _ => {}
        }
    }

    /// Has the file of `--stats-file` written, if there is one.
    pub fn write_numbers(&mut self, memory: &Memory) {
        if self.next_numbers.is_none() {
            return;
        }
        for &(number, amount) in &[
            (Number::Total, memory.total),
            (Number::Available, memory.available),
            (Number::User, memory.user),
            (Number::SwapTotal, memory.swap_total),
            (Number::SwapFree, memory.swap_free),
        ] {
            self.stats.set(number, amount.0);
        }
        self.stats.set(Number::Stall, memory.stall.parts_per_million());
        self.helper.write_stats(self.stats);
    }

    /// Starts another helper although memory is short, if this one has owed an answer for `time`:
    /// without it no process would be ended. True if it was to be.
    pub fn replace_helper(&mut self, time: Duration) -> bool {
        let started = self.helper.replace(time);
        self.tell_start(started, "the helper process did not answer: started another one")
    }

    /// Starts the helper again, if it needs that. This forks: not while memory is short.
    pub fn revive_helper(&mut self) {
        let started = self.helper.revive(clock::now());
        self.tell_start(started, "the helper process was started again");
        self.tend_emitter();
    }

    /// The same for the process of `--low-memory-signal`.
    pub fn tend_emitter(&mut self) {
        if let Err(error) = self.helper.tend_emitter() {
            log::without(&mut self.helper, "a process for --low-memory-signal", error);
        }
    }

    fn tell_start(&mut self, started: Option<io::Result<()>>, what: &str) -> bool {
        match started {
            None => return false,
            Some(Ok(())) => say!(self.helper, Notice, "{what}"),
            Some(Err(error)) => {
                log::without(&mut self.helper, "starting the helper again", error);
            }
        }
        true
    }

    /// When something is due by time.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        // One of the helper's that has passed waits for calm, which every look finds out.
        let helper = self.helper.deadline().filter(|&at| at > now);
        least(least(self.next_report, self.next_numbers), helper)
    }
}
