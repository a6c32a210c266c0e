//! The watch: wait, look, decide, act. Nothing here may block, and nothing allocates once
//! the loop has begun.
//!
//! Here is the loop; `start` prepares it, `act` does what low memory asks for, and `ahead` searches
//! for it in time; `limit` does what the limit for each process asks for. All do it by `hold`.
//! `forkbomb` ends fork bombs, and `errands` do what SIGHUP and SIGUSR1 ask for.

mod act;
mod ahead;
mod errands;
mod forkbomb;
mod hold;
mod limit;
mod start;

use crate::helper::{self, Helper};
use crate::kill::{Attention, Look, Machine, Step};
use crate::log;
use crate::memory::Memory;
use crate::observe::{News, Observer};
use crate::policy::{Budget, FillRate, Level, Limits, Scene};
use crate::procfs::Proc;
use crate::say;
use crate::select::{Filter, Scale};
use crate::settings::{Config, Sources};
use crate::stats::{Number, Stats};
use crate::sys::fd::{Waiter, Wish};
use crate::sys::io;
use crate::sys::process::Inherited;
use crate::sys::signal::{self, Signal};
use crate::sys::{arena, clock, memory};
use crate::units::Moment;
use ahead::Ahead;
use errands::Asked;
use forkbomb::Bombs;
use hold::InHand;
use limit::{Offenders, FLIGHTS};
pub use start::{open_sysrq, Parts};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Even where memory is far away: swap that was switched on, or a clock that a suspended
/// machine held, is noticed within this.
const FURTHEST: Duration = Duration::from_secs(10);
/// While memory cannot be read.
const BLIND: Duration = Duration::from_secs(1);
/// While nothing can be done: as rarely as it still looks prompt when that changes.
const NOW_AND_THEN: Duration = Duration::from_millis(100);
/// A victim's end shows only by looking, where there is no pidfd or a group to wait for.
const FOLLOW: Duration = Duration::from_millis(20);
/// As often as Prometheus is usually told to look.
const STATS_EVERY: Duration = Duration::from_secs(15);
/// Steps in one look; a machine that wants more is wrong, and looks again first.
const STEPS: usize = 8;

pub struct Daemon {
    config: Config,
    sources: Sources,
    inherited: Inherited,
    proc: Box<Proc>,
    observer: Observer,
    scale: Scale,
    signals: OwnedFd,
    sysrq: Option<OwnedFd>,
    helper: Helper,
    filter: Filter,
    machine: Machine,
    victim: Option<InHand>,
    bombs: Bombs,
    /// No hooks of a dry run before this.
    next_dry_hooks: Moment,
    offenders: Offenders,
    asked: Asked,
    ahead: Ahead,
    rate: FillRate,
    budget: Budget,
    /// As it was seen last; `None` while memory cannot be read, which was said then.
    scene: Option<Scene>,
    /// A signal waits to be read.
    signalled: bool,
    /// What was done since memory was read took so long that it is to be read again.
    hurried: bool,
    said_shrunk: bool,
    next_report: Option<Moment>,
    next_stats: Option<Moment>,
    stats: Stats,
}

impl Daemon {
    /// Watches until a signal ends it.
    pub fn run(mut self: Box<Self>) -> io::Result<()> {
        self.helper.spawn()?;
        if let Err(error) = memory::lock() {
            log::without(&mut self.helper, "locking memory", error);
        }
        if let Err(error) = memory::touch_all(memory::WATCH) {
            log::without(&mut self.helper, "touching all memory", error);
        }
        if self.config.debug {
            say!(self.helper, Debug, "{} bytes allocated", arena::used());
        }
        arena::seal();
        let mut used = clock::cpu_time();
        while !self.stopped() {
            let plain = self.look();
            let now_used = clock::cpu_time();
            if plain {
                self.budget.spent(now_used.saturating_sub(used));
            }
            used = now_used;
            self.wait();
        }
        self.helper.wait_for_room(helper::FINISH);
        if arena::late_allocations() > 0 {
            let late = arena::late_allocations();
            say!(self.helper, Notice, "bug: {late} allocations while watching");
        }
        say!(self.helper, Notice, "stopped by a signal");
        self.helper.finish();
        Ok(())
    }

    /// Takes the signals that have come; true if one of them ends the guard.
    fn stopped(&mut self) -> bool {
        if !std::mem::take(&mut self.signalled) {
            return false;
        }
        while let Some(signal) = signal::next(&self.signals) {
            match signal {
                Signal::Stop => return true,
                Signal::Child => self.helper.reap(),
                Signal::Reread => {
                    self.helper.reopen_log();
                    self.asked.settings = true;
                }
                Signal::Tell => self.asked.candidates = true,
            }
        }
        false
    }

    /// One look and all that follows from it. True if nothing did, so that what it cost
    /// is the cost of looking.
    fn look(&mut self) -> bool {
        let plain = self.guard_memory();
        self.hurried = self.enforce_limit();
        self.after_look();
        self.hurried |= self.look_ahead();
        plain && !self.hurried
    }

    fn guard_memory(&mut self) -> bool {
        let mut plain = true;
        for _ in 0..STEPS {
            self.read_memory();
            let Some(scene) = self.scene else { return false };
            self.tell_shrunk(&scene.limits);
            let victim_gone = self.victim_is_gone();
            let (now, memory) = (clock::now(), &scene.memory);
            let Scene { level, worst_level, .. } = scene;
            let look = Look { now, memory, level, worst_level, victim_gone };
            let step = self.machine.step(look);
            if step == Step::Wait {
                break;
            }
            plain = false;
            self.perform(step, memory);
        }
        plain
    }

    fn read_memory(&mut self) {
        self.stats.count_look();
        if let Some(held) = self.helper.take_tmpfs() {
            self.observer.take_tmpfs(held);
        }
        let was_blind = self.scene.is_none();
        let observed = self.observer.observe(&mut self.proc, &self.config, clock::now());
        self.scene = *observed.as_ref().unwrap_or(&None);
        if let Some(scene) = &self.scene {
            self.rate.observe(scene.memory.available, scene.now);
            if was_blind {
                say!(self.helper, Notice, "/proc/meminfo makes sense again");
            }
        } else if !was_blind {
            match observed {
                Err(error) => {
                    say!(self.helper, Error, "cannot read /proc/meminfo: {error}; trying on");
                }
                Ok(_) => say!(self.helper, Notice, "/proc/meminfo makes no sense; trying on"),
            }
        }
    }

    fn memory(&self) -> Option<Memory> {
        self.scene.map(|scene| scene.memory)
    }

    /// Says what the observer has to say.
    fn tell_news(&mut self) {
        let Daemon { observer, helper, config, .. } = self;
        while let Some(news) = observer.news() {
            match news {
                News::Bounds(bounds) if bounds.is_doubtful() => {
                    say!(helper, Warning, "warning: {bounds}");
                }
                News::Bounds(bounds) => say!(helper, Notice, "{bounds}"),
                News::NoStalls(_) | News::NoStallsOf(..) => say!(helper, Notice, "notice: {news}"),
                News::StallOfLimit(_) if !config.debug => {}
                News::StallOfLimit(_) => say!(helper, Debug, "{news}"),
            }
        }
    }

    fn tell_shrunk(&mut self, limits: &Limits) {
        if limits.shrunk && !std::mem::replace(&mut self.said_shrunk, true) {
            say!(
                self.helper,
                Notice,
                "notice: user memory is below -M (tmpfs holds the rest), so -M counts as the \
                 share of it that it is of MemTotal"
            );
        }
    }

    fn victim_is_gone(&mut self) -> bool {
        let hand = self.victim.as_mut().filter(|_| self.machine.in_flight());
        match hand {
            Some(InHand { bomb: Some(_), .. }) => self.bomb_is_gone(),
            Some(hand) => hand.target.is_gone(&mut self.proc),
            None => true,
        }
    }

    fn after_look(&mut self) {
        self.tell_news();
        let Some(scene) = self.scene else { return };
        let memory = scene.memory;
        if self.config.debug {
            say!(self.helper, Debug, "look {}: {}", self.stats.looks(), log::State(&memory));
        }
        let now = clock::now();
        self.observer.ask_for_tmpfs(&scene, || self.helper.ask_for_tmpfs());
        if self.next_report.is_some_and(|at| now >= at) {
            if !self.config.debug {
                say!(self.helper, Info, "{}", log::State(&memory));
            }
            self.next_report = self.config.report.map(|every| now.after(every));
        }
        if self.next_stats.is_some_and(|at| now >= at) {
            self.next_stats = Some(now.after(STATS_EVERY));
            self.report_numbers();
        }
        let calm = scene.level == Level::Fine && self.machine.is_idle();
        if calm {
            self.helper.end_event();
            self.bombs.forget();
        }
        self.run_errands(calm || self.machine.is_pausing());
        if calm && self.helper.needs_restart(now) {
            match self.helper.restart() {
                Ok(()) => say!(self.helper, Notice, "the helper process was started again"),
                Err(error) => log::without(&mut self.helper, "starting the helper again", error),
            }
        }
    }

    /// Has the file of `--stats-file` written, if there is one.
    fn report_numbers(&mut self) {
        if let (Some(_), Some(memory)) = (self.next_stats, self.memory()) {
            for &(number, amount) in &[
                (Number::Total, memory.total),
                (Number::Available, memory.available),
                (Number::User, memory.user),
                (Number::SwapTotal, memory.swap_total),
                (Number::SwapFree, memory.swap_free),
            ] {
                self.stats.set(number, amount.0);
            }
            self.helper.write_stats(self.stats);
        }
    }

    fn wait(&mut self) {
        let timeout = self.timeout();
        let mut waiter = Waiter::<{ 4 + FLIGHTS }>::new();
        let signals = waiter.add(self.signals.as_fd(), Wish::Readable);
        let trigger = self.observer.trigger().map(|fd| waiter.add(fd, Wish::Priority));
        // While memory cannot be read, an end is not taken note of, and would end every wait.
        let seeing = self.victim.as_ref().filter(|_| self.scene.is_some());
        if let Some(pidfd) = seeing.and_then(InHand::pidfd) {
            waiter.add(pidfd, Wish::Readable);
        }
        if let Some(errand) = self.asked.fd().filter(|_| self.scene.is_some()) {
            waiter.add(errand, Wish::Readable);
        }
        self.offenders.wait_by(&mut waiter);
        waiter.wait(Some(timeout));
        self.signalled = waiter.is_ready(signals);
        if trigger.is_some_and(|place| waiter.is_broken(place)) {
            self.observer.lose_trigger();
        }
    }

    /// How long nothing can happen that needs a look.
    fn timeout(&self) -> Duration {
        let now = clock::now();
        let Some(scene) = &self.scene else { return BLIND };
        let falls = self.rate.falls(scene.memory.noise());
        let closest = now.after(self.budget.least_wait(falls));
        if self.hurried {
            return closest.since(now);
        }
        let quiet = scene.quiet_for(self.rate.at(now), self.observer.trigger().is_some());
        let quiet = match self.machine.attention(scene.level, now) {
            Attention::Closest => Some(Duration::ZERO),
            Attention::NowAndThen => Some(quiet.unwrap_or(NOW_AND_THEN).min(NOW_AND_THEN)),
            Attention::ByHeadroom => {
                quiet.map(|quiet| if falls { self.ahead.wait(quiet, now) } else { quiet })
            }
        };
        let due = [
            quiet.map(|quiet| now.after(quiet)),
            self.machine.deadline(now),
            self.next_report,
            self.next_stats,
            self.offenders.deadline(),
            self.asked.deadline(),
            // One that has passed waits for calm, which every look finds out.
            self.helper.deadline().filter(|&at| at > now),
        ];
        let mut next = now.after(FURTHEST);
        for at in due.iter().flatten() {
            next = next.min(*at);
        }
        next = next.max(closest);
        let follows = self.victim.as_ref().is_some_and(InHand::needs_looking);
        if follows || self.offenders.needs_looking() {
            next = next.min(now.after(FOLLOW));
        }
        next.since(now)
    }
}
