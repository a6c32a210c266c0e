//! The watch: wait, look, decide, act. Nothing here may block, and nothing allocates once the loop
//! has begun.
//!
//! Here is the loop; `start` prepares it, and `reload` does what SIGHUP and SIGUSR1 ask for.

mod reload;
mod start;

use crate::context::Context;
use crate::helper;
use crate::kill::{Attention, Kills, KILLS};
use crate::limit::LimitCheck;
use crate::log;
use crate::observe::Reminder;
use crate::policy::{Budget, FillRate, Level, Scene};
use crate::reboot::Reboot;
use crate::say;
use crate::settings::Sources;
use crate::supervisor::Supervisor;
use crate::sys::fd::{Interest, Waiter};
use crate::sys::process::Inherited;
use crate::sys::signal::{self, Signal};
use crate::sys::{arena, clock, io, memory};
use crate::units::Moment;
use crate::warning::Warning;
use reload::Reload;
pub use start::{try_out, users_file, Parts};
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
/// Steps in one look; a state machine that wants more is wrong, and looks again first.
const STEPS: usize = 8;

pub struct Daemon {
    cx: Context,
    kills: Kills,
    limit: LimitCheck,
    warning: Warning,
    supervisor: Supervisor,
    reboot: Reboot,
    /// Where settings come from, and what the guard was started with.
    sources: Sources,
    inherited: Inherited,
    reload: Reload,
    pace: Pace,
    /// What was seen last; `None` while memory cannot be read.
    scene: Option<Scene>,
    /// That it cannot be read.
    blindness: Reminder,
    signals: OwnedFd,
    /// A signal waits to be read.
    signalled: bool,
}

/// What the time to the next look goes by, besides memory.
struct Pace {
    rate: FillRate,
    budget: Budget,
    /// What was done since memory was read took so long that it is to be read again.
    hurried: bool,
}

impl Daemon {
    /// Watches until a signal ends it.
    pub fn run(mut self: Box<Self>) -> io::Result<()> {
        let output = &mut self.cx.output;
        output.helper.spawn()?;
        output.tend_emitter();
        if let Err(error) = memory::lock() {
            log::without(&mut output.helper, "locking memory", error);
        }
        if let Err(error) = memory::touch_all(memory::WATCH) {
            log::without(&mut output.helper, "touching all memory", error);
        }
        if self.cx.config.debug {
            say!(output.helper, Debug, "{} bytes allocated", arena::used());
        }
        arena::seal();
        self.tell_ready();
        let mut used = clock::cpu_time();
        while !self.stopped() {
            let plain = self.look();
            let now_used = clock::cpu_time();
            if plain {
                self.pace.budget.spent(now_used.saturating_sub(used));
            }
            used = now_used;
            self.supervisor.live(clock::now());
            self.wait();
        }
        self.supervisor.stopping();
        let mut helper = self.cx.output.helper;
        helper.wait_for_room(helper::FINISH);
        if arena::late_allocations() > 0 {
            say!(helper, Notice, "bug: {} allocations while watching", arena::late_allocations());
        }
        say!(helper, Notice, "stopped by a signal");
        helper.finish();
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
                Signal::Child => self.cx.output.helper.reap(),
                Signal::Reread => {
                    self.cx.output.helper.reopen_log();
                    self.reload.settings = true;
                }
                Signal::Tell => self.reload.candidates = true,
            }
        }
        false
    }

    /// The service manager may start what is to be guarded.
    fn tell_ready(&mut self) {
        let state = log::State(&self.cx.memory);
        if let Err(error) = self.supervisor.ready(format_args!("{state}")) {
            log::without(&mut self.cx.output.helper, "NOTIFY_SOCKET", error);
        }
    }

    /// One look and all that follows from it. True if nothing did, so that what it cost is the cost
    /// of looking.
    fn look(&mut self) -> bool {
        let mut plain = true;
        for _ in 0..STEPS {
            self.observe();
            if let Some(scene) = &self.scene {
                self.kills.follow_writers(&mut self.cx, scene);
            }
            if self.kills.advance(&mut self.cx, self.scene.as_ref()) {
                plain = false;
                self.observe();
            }
            let Some(scene) = &self.scene else { break };
            if !self.kills.act(&mut self.cx, scene) {
                break;
            }
            plain = false;
        }
        // Memory has its turn between any two things that take time: what the limit has left to do
        // waits for the next look, which comes soon.
        let scene = self.scene.as_ref();
        self.pace.hurried = !plain
            || self.limit.step(&mut self.cx, &mut self.kills, scene)
            || self.warning.step(&mut self.cx, scene);
        self.reboot.step(&mut self.cx, scene);
        self.after_look();
        plain && !self.pace.hurried && self.scene.is_some()
    }

    fn observe(&mut self) {
        let Context { observer, output, .. } = &mut self.cx;
        output.stats.count_look();
        if let Some(held) = output.helper.take_tmpfs() {
            observer.take_tmpfs(held);
        }
        let observed = self.cx.observe();
        self.scene = observed.ok();
        let helper = &mut self.cx.output.helper;
        match &observed {
            Ok(scene) => {
                self.warning.note(helper, scene);
                self.pace.rate.observe(scene.memory.available, scene.now);
                if self.blindness.end() {
                    say!(helper, Notice, "/proc/meminfo makes sense again");
                }
            }
            Err(blind) if self.blindness.is_due(clock::now()) => {
                say!(helper, Error, "{blind}; trying on");
            }
            Err(_) => {}
        }
    }

    fn after_look(&mut self) {
        self.cx.tell_news();
        let Context { observer, config, output, proc, oom_group, .. } = &mut self.cx;
        if let Some(scene) = &self.scene {
            if output.look(config, scene) {
                self.supervisor.status(format_args!("{}", log::State(&scene.memory)));
            }
            observer.ask_for_tmpfs(scene, || output.helper.ask_for_tmpfs());
        }
        let is_pausing = self.kills.is_pausing();
        let none_begun = is_pausing || self.kills.is_idle();
        let is_calm = |scene: &&Scene| scene.level == Level::Fine && none_begun;
        let calm = self.scene.as_ref().filter(is_calm);
        if let Some(scene) = calm {
            self.kills.end_event();
            output.revive_helper();
            if oom_group.open_late(proc, scene.now) && config.debug {
                say!(output.helper, Debug, "cgroups of version 2 are mounted by now");
            }
        }
        // Blind, nothing can be done about memory either.
        let quiet = calm.is_some() || is_pausing || (self.scene.is_none() && none_begun);
        if let Some(worker) = self.reload.end(&mut self.cx.output.helper, quiet) {
            self.finish_reload(&worker);
        }
        let waits_for = match self.scene {
            _ if !quiet => Some("memory is fine"),
            None => Some("memory can be read"),
            Some(_) => None,
        };
        if self.reload.begin(&mut self.cx, &self.sources, waits_for) {
            self.supervisor.reloading(clock::now());
        }
    }

    fn wait(&mut self) {
        let timeout = self.timeout();
        let is_blind = self.scene.is_none();
        let mut waiter = Waiter::<{ 4 + KILLS }>::new();
        let signals = waiter.add(self.signals.as_fd(), Interest::Readable);
        let psi = self.cx.observer.trigger().map(|psi| waiter.add(psi, Interest::Priority));
        if let Some(child) = self.reload.fd() {
            waiter.add(child, Interest::Readable);
        }
        self.kills.wait_by(&mut waiter, is_blind);
        let emitter =
            self.cx.output.helper.emitter_fd().map(|fd| waiter.add(fd, Interest::Readable));
        waiter.wait(Some(timeout));
        self.signalled = waiter.is_ready(signals);
        if psi.is_some_and(|place| waiter.is_broken(place)) {
            self.cx.observer.lose_trigger();
        }
        if emitter.is_some_and(|place| waiter.is_ready(place)) {
            self.cx.output.helper.hear_emitter();
        }
    }

    /// How long nothing can happen that needs a look.
    fn timeout(&self) -> Duration {
        let now = clock::now();
        let reboot = self.reboot.deadline(&self.cx.config, now);
        let Some(scene) = &self.scene else {
            return reboot.map_or(BLIND, |at| at.since(now).min(BLIND));
        };
        let memory = &scene.memory;
        let closest = now.after(self.pace.budget.least_wait(self.pace.rate.falls(memory.noise())));
        if self.pace.hurried {
            return closest.since(now);
        }
        let is_told = self.cx.observer.trigger().is_some();
        let by_headroom = || scene.quiet_for(self.pace.rate.at(now), is_told);
        let quiet = match self.kills.attention(scene, now) {
            Attention::Closest => Some(Duration::ZERO),
            Attention::NowAndThen => {
                Some(by_headroom().map_or(NOW_AND_THEN, |q| q.min(NOW_AND_THEN)))
            }
            Attention::ByHeadroom => by_headroom(),
        };
        let follow = self.kills.needs_looking().then(|| now.after(FOLLOW));
        let due = [
            quiet.map(|quiet| now.after(quiet)),
            self.kills.deadline(self.cx.config.grace, now),
            self.cx.output.deadline(now),
            self.supervisor.deadline(),
            self.limit.deadline(),
            self.reload.deadline(),
            reboot,
        ];
        let next = due.into_iter().flatten().fold(now.after(FURTHEST), Moment::min);
        let next = next.max(closest);
        follow.map_or(next, |follow| next.min(follow)).since(now)
    }
}
