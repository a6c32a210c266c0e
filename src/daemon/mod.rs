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
use crate::policy::{self, Budget, FillRate, Level, Limits};
use crate::procfs::cgroup::{Cgroup, Standing};
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::reclaim::{Reclaim, Short};
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
use crate::units::{KiB, Moment, Percent};
use ahead::Ahead;
use errands::Asked;
use forkbomb::Bombs;
use hold::InHand;
use limit::{Offenders, FLIGHTS};
use start::psi_trigger;
pub use start::{find_cgroup, open_sysrq, Parts};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
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
/// Some managers change a limit every few seconds.
const BETWEEN_WORDS: Duration = Duration::from_secs(60);
/// Looking at every mounted tmpfs costs some hundred microseconds where there are many.
const TMPFS_EVERY: Duration = Duration::from_millis(20);
/// A search for a cgroup that is not there reads all mounts, which more than doubles what a look
/// costs (10 system calls, not 4); a service takes about so long to start.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Steps in one look; a machine that wants more is wrong, and looks again first.
const STEPS: usize = 8;

pub struct Daemon {
    config: Config,
    sources: Sources,
    inherited: Inherited,
    /// Standard error was one at the start.
    proc: Box<Proc>,
    meminfo: MemInfo,
    reclaim: Reclaim,
    /// Whose limit counts in place of the machine's memory, while it has one.
    cgroup: Option<Cgroup>,
    /// It is not looked for again before this.
    next_search: Moment,
    scale: Scale,
    signals: OwnedFd,
    psi: Option<OwnedFd>,
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
    /// As it was read last; `None` while it cannot be read, which was said then.
    memory: Option<Memory>,
    /// How the cgroup stood when that was said last, and from when it may be said again.
    standing: Option<Standing>,
    next_word: Moment,
    /// A signal waits to be read.
    signalled: bool,
    /// What was done since memory was read took so long that it is to be read again.
    hurried: bool,
    said_shrunk: bool,
    said_unpressed: bool,
    /// `Shmem` when the helper was asked for what tmpfs holds of it, and when it may be asked
    /// again.
    shmem_asked: KiB,
    next_tmpfs: Moment,
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
            let Some(memory) = self.memory else { return false };
            let limits = self.limits(&memory);
            let victim_gone = self.victim_is_gone();
            let look = Look { now: clock::now(), memory: &memory, limits: &limits, victim_gone };
            let step = self.machine.step(look);
            if step == Step::Wait {
                break;
            }
            plain = false;
            self.perform(step, &memory);
        }
        plain
    }

    fn read_memory(&mut self) {
        self.stats.count_look();
        self.look_for_lost_cgroup();
        if let Some(held) = self.helper.take_tmpfs() {
            self.meminfo.take_tmpfs(held, self.shmem_asked);
        }
        let was_blind = self.memory.is_none();
        let read = self.measure_memory();
        self.memory = *read.as_ref().unwrap_or(&None);
        if let Some(memory) = &self.memory {
            self.rate.observe(memory.available, clock::now());
            if was_blind {
                say!(self.helper, Notice, "/proc/meminfo makes sense again");
            }
        } else if !was_blind {
            match read {
                Err(error) => {
                    say!(self.helper, Error, "cannot read /proc/meminfo: {error}; trying on");
                }
                Ok(_) => say!(self.helper, Notice, "/proc/meminfo makes no sense; trying on"),
            }
        }
    }

    /// Memory with the stall that counts.
    fn measure_memory(&mut self) -> io::Result<Option<Memory>> {
        let mut read = self.meminfo.read(&mut self.proc, self.cgroup.as_ref())?;
        if let Some(memory) = &mut read {
            self.doubt_stall(memory);
        }
        Ok(read)
    }

    /// A stall counts only from when the kernel takes memory back, and where the machine is short
    /// of memory, not where a cgroup is that has a limit of its own.
    fn doubt_stall(&mut self, memory: &mut Memory) {
        let limits = Limits::of(&self.config, memory);
        let now = clock::now();
        // Of the memory of a cgroup its own pressure tells.
        let may_act = !memory.is_limited() && limits.stall.may_act_at(memory.available);
        let is_stalled = may_act && memory.stall > Percent::default();
        if is_stalled && self.reclaim.is_at_rest(&mut self.proc, now) {
            memory.stall = Percent::default();
            self.meminfo.count_stalls_from_here();
        }
        if !may_act || !limits.is_stall(memory) {
            self.reclaim.forget_old(now);
            if may_act {
                self.reclaim.begin(&mut self.proc, now);
            }
            return;
        }
        match self.reclaim.short(&mut self.proc, now) {
            Short::Machine => {}
            Short::Unknown => {
                self.reclaim.begin(&mut self.proc, now);
                memory.stall = limits.stall.brink();
            }
            Short::Limited => {
                if self.config.debug {
                    let stall = memory.stall;
                    say!(self.helper, Debug, "a stall of {stall}% is that of a cgroup's limit");
                }
                memory.stall = Percent::default();
                self.meminfo.forget_stalls();
                self.reclaim.restart();
            }
        }
    }

    /// That of a service goes and comes with it, and so do its stalls.
    fn look_for_lost_cgroup(&mut self) {
        let Daemon { cgroup, proc, config, .. } = self;
        let mut is_found = false;
        if let Some(cgroup) = cgroup.as_mut().filter(|cgroup| cgroup.is_lost()) {
            let now = clock::now();
            if now >= self.next_search {
                self.next_search = now.after(SEARCH_EVERY);
                is_found = cgroup.find_again(proc, config.choice.cgroup.as_ref());
            }
        }
        if is_found || (config.asks_for_stalls() && !self.meminfo.measures_stalls()) {
            self.watch_stalls();
        }
        if is_found && self.psi.is_none() {
            self.follow_pressure();
        }
    }

    /// Has a stall wake the watch early, where the kernel can.
    fn follow_pressure(&mut self) {
        if self.config.watches_memory() {
            self.psi = psi_trigger(&self.proc, self.cgroup.as_ref());
        }
    }

    /// Not closed: that waits in the kernel for all processors to come by once
    /// (`psi_trigger_destroy` in kernel/sched/psi.c), which took 20 s on a busy machine.
    fn forget_pressure(&mut self) {
        self.psi.take().map(IntoRawFd::into_raw_fd);
    }

    /// Says whose memory counts when that has changed, but not each time where it changes all
    /// the time.
    fn tell_bounds(&mut self) {
        let (Some(memory), now) = (&self.memory, clock::now()) else { return };
        let bounds = log::Bounds::of(self.cgroup.as_ref(), memory);
        let Some(bounds) = bounds.filter(|bounds| Some(bounds.standing) != self.standing) else {
            return;
        };
        if now >= self.next_word {
            (self.standing, self.next_word) = (Some(bounds.standing), now.after(BETWEEN_WORDS));
            match bounds.is_doubtful() {
                true => say!(self.helper, Warning, "warning: {bounds}"),
                false => say!(self.helper, Notice, "{bounds}"),
            }
        }
    }

    fn limits(&mut self, memory: &Memory) -> Limits {
        let limits = Limits::of(&self.config, memory);
        if limits.shrunk && !std::mem::replace(&mut self.said_shrunk, true) {
            say!(
                self.helper,
                Notice,
                "notice: user memory is below -M (tmpfs holds the rest), so -M counts as the \
                 share of it that it is of MemTotal"
            );
        }
        limits
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
        self.tell_bounds();
        let Some(memory) = self.memory else { return };
        if self.config.debug {
            say!(self.helper, Debug, "look {}: {}", self.stats.looks(), log::State(&memory));
        }
        let now = clock::now();
        if now >= self.next_tmpfs && self.meminfo.asks_for_tmpfs(&memory) {
            self.next_tmpfs = now.after(TMPFS_EVERY);
            if self.helper.ask_for_tmpfs() {
                self.shmem_asked = memory.shmem;
            }
        }
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
        let calm = policy::level(&self.config, &memory) == Level::Fine && self.machine.is_idle();
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
        if let (Some(_), Some(memory)) = (self.next_stats, self.memory) {
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
        let psi = self.psi.as_ref().map(|psi| waiter.add(psi.as_fd(), Wish::Priority));
        // While memory cannot be read, an end is not taken note of, and would end every wait.
        let seeing = self.victim.as_ref().filter(|_| self.memory.is_some());
        if let Some(pidfd) = seeing.and_then(InHand::pidfd) {
            waiter.add(pidfd, Wish::Readable);
        }
        if let Some(errand) = self.asked.fd().filter(|_| self.memory.is_some()) {
            waiter.add(errand, Wish::Readable);
        }
        self.offenders.wait_by(&mut waiter);
        waiter.wait(Some(timeout));
        self.signalled = waiter.is_ready(signals);
        if psi.is_some_and(|place| waiter.is_broken(place)) {
            match self.cgroup {
                // It went with a cgroup that was removed, so that nothing waits for anything.
                Some(_) => self.psi = None,
                None => self.forget_pressure(),
            }
        }
    }

    /// How long nothing can happen that needs a look.
    fn timeout(&self) -> Duration {
        let now = clock::now();
        let Some(memory) = &self.memory else { return BLIND };
        let falls = self.rate.falls(memory.noise());
        let closest = now.after(self.budget.least_wait(falls));
        if self.hurried {
            return closest.since(now);
        }
        let limits = Limits::of(&self.config, memory);
        let quiet = match self.machine.attention(limits.level(memory.available, memory), now) {
            Attention::Closest => Some(Duration::ZERO),
            Attention::NowAndThen => {
                let quiet = limits.quiet_for(memory, self.rate.at(now), self.psi.is_some());
                Some(quiet.unwrap_or(NOW_AND_THEN).min(NOW_AND_THEN))
            }
            Attention::ByHeadroom => {
                let quiet = limits.quiet_for(memory, self.rate.at(now), self.psi.is_some());
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
