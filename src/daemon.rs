//! The watch: wait, look, decide, act. Nothing here may block, and nothing allocates once
//! the loop has begun.

use crate::config::Config;
use crate::helper::Helper;
use crate::kill::settle::Held;
use crate::kill::target::Target;
use crate::kill::{Look, Machine, Step, Urgency};
use crate::log::{self, Alone, Portrait};
use crate::policy::{Budget, FillRate, Level, Limits};
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::Proc;
use crate::say;
use crate::sys::errno::{self, Errno};
use crate::sys::fd::{self, Access, Waiter, Wish};
use crate::sys::memory::{self, Pages};
use crate::sys::process::Deadly;
use crate::sys::signal::{self, Signal};
use crate::sys::{arena, clock, machine, process};
use crate::units::{KiB, Moment, Pid};
use crate::victim::{Candidate, Rules, Scale};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Even where memory is far away: swap that was switched on, or a clock that a suspended
/// machine held, is noticed within this.
const FURTHEST: Duration = Duration::from_secs(10);
/// While memory cannot be read, or a wait of one second is asked for.
const BLIND: Duration = Duration::from_secs(1);
/// A victim's end shows only by looking, where there is no pidfd or a group to wait for.
const FOLLOW: Duration = Duration::from_millis(20);
/// A helper that is awake answers in a tenth of this; longer, and the message goes without
/// waiting for the command line.
const COMMAND_LINE: Duration = Duration::from_millis(2);
/// A scan takes long enough for its result to have vanished; then it is made again.
const ATTEMPTS: usize = 3;
/// Steps in one look; a machine that wants more is wrong, and looks again first.
const STEPS: usize = 8;
/// For measuring how fast memory fills: a few milliseconds, on the slowest board too.
const MEASURE: Duration = Duration::from_millis(5);
const MEASURE_SIZE: KiB = KiB::from_mib(16);
/// If nothing could be measured: what earlyoom reckons with.
const FILL_RATE: KiB = KiB(6_000_000);
/// What the helper gets to write the last lines.
const FINISH: Duration = Duration::from_secs(1);
/// Stalls of a twentieth of two seconds wake the watch early. Windows that are a multiple
/// of 2 s need no privilege (Documentation/accounting/psi.rst).
const PSI_TRIGGER: &[u8] = b"some 100000 2000000\0";

pub struct Daemon {
    config: Config,
    proc: Proc,
    meminfo: MemInfo,
    scale: Scale,
    signals: OwnedFd,
    psi: Option<OwnedFd>,
    sysrq: Option<OwnedFd>,
    helper: Helper,
    machine: Machine,
    target: Option<Target>,
    rate: FillRate,
    budget: Budget,
    /// Why memory could not be read was said.
    blind: bool,
    said_shrunk: bool,
    next_report: Option<Moment>,
    looks: u64,
}

/// What the daemon is built from, opened while that can still be refused.
pub struct Parts {
    pub config: Config,
    pub proc: Proc,
    pub meminfo: MemInfo,
    pub memory: Memory,
    pub scale: Scale,
    pub sysrq: Option<OwnedFd>,
    pub notices: Vec<&'static str>,
}

impl Daemon {
    /// Prepares everything that the loop needs: signals, priority, helper, locked memory.
    pub fn start(parts: Parts) -> io::Result<Daemon> {
        let Parts { config, proc, meminfo, memory, scale, sysrq, notices } = parts;
        let signals = signal::listen()?;
        let rate = measure_fill_rate(&memory);
        let refused = config.priority.map(|niceness| prioritize(&proc, niceness));
        let mut helper = Helper::start()?;

        let limits = Limits::of(&config, &memory);
        log::banner(&mut helper, &config, &limits, &memory);
        notices.into_iter().for_each(|notice| say!(helper, "notice: {notice}"));
        config.warnings(memory.swap_total).for_each(|warning| log::warning(&mut helper, warning));
        if memory.estimated {
            say!(helper, "notice: this kernel tells no MemAvailable; it is estimated");
        }
        if let Some((Err(error), _)) = &refused {
            log::without(&mut helper, "-p: niceness", error);
        }
        if let Some((_, Err(error))) = &refused {
            log::without(&mut helper, "-p: oom_score_adj", error);
        }
        if is_hidden(&proc) {
            say!(
                helper,
                "warning: /proc hides the processes of other users (hidepid); only the visible \
                 ones are candidates"
            );
        }
        let psi = psi_trigger(&proc);
        if config.debug {
            say!(helper, "memory fills by at most {} MiB a second", rate.mib());
            say!(helper, "pressure information: {}", if psi.is_some() { "yes" } else { "no" });
        }
        Ok(Daemon {
            machine: Machine::new(&config),
            next_report: config.report.map(|_| clock::now()),
            config,
            proc,
            meminfo,
            scale,
            signals,
            psi,
            sysrq,
            helper,
            target: None,
            rate: FillRate::new(rate),
            budget: Budget::new(),
            blind: false,
            said_shrunk: false,
            looks: 0,
        })
    }

    /// Watches until a signal ends it.
    pub fn run(mut self) {
        match memory::lock().and_then(|_| memory::touch_all()) {
            Ok(()) => {}
            Err(error) => log::without(&mut self.helper, "locking memory", &error),
        }
        if self.config.debug {
            say!(self.helper, "{} bytes allocated", arena::used());
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
        if arena::late_allocations() > 0 {
            say!(self.helper, "bug: {} allocations while watching", arena::late_allocations());
        }
        say!(self.helper, "stopped by a signal");
        self.helper.finish(FINISH);
    }

    /// Takes the signals that have come; true if one of them ends the guard.
    fn stopped(&mut self) -> bool {
        while let Some(signal) = signal::next(&self.signals) {
            match signal {
                Signal::Stop => return true,
                Signal::Child => self.helper.reap(),
            }
        }
        false
    }

    /// One look and all that follows from it. True if nothing did, so that what it cost
    /// is the cost of looking.
    fn look(&mut self) -> bool {
        let Some(mut memory) = self.read_memory() else { return false };
        let mut plain = true;
        for _ in 0..STEPS {
            let limits = self.limits(&memory);
            let victim_gone = self.machine.in_flight() && self.victim_is_gone();
            let look = Look { now: clock::now(), memory: &memory, limits: &limits, victim_gone };
            let step = self.machine.step(look);
            if step == Step::Wait {
                break;
            }
            plain = false;
            self.perform(step, &memory);
            match self.read_memory() {
                Some(fresh) => memory = fresh,
                None => return false,
            }
        }
        self.after_look(&memory);
        plain
    }

    fn read_memory(&mut self) -> Option<Memory> {
        self.looks += 1;
        let read = self.meminfo.read(&mut self.proc);
        if let Ok(Some(memory)) = read {
            if std::mem::take(&mut self.blind) {
                say!(self.helper, "/proc/meminfo makes sense again");
            }
            self.rate.observe(memory.available, clock::now());
            return Some(memory);
        }
        if !std::mem::replace(&mut self.blind, true) {
            match read {
                Err(error) => {
                    say!(self.helper, "cannot read /proc/meminfo: {}; trying on", Errno(&error))
                }
                Ok(_) => say!(self.helper, "/proc/meminfo makes no sense; trying on"),
            }
        }
        None
    }

    fn limits(&mut self, memory: &Memory) -> Limits {
        let limits = Limits::of(&self.config, memory);
        if limits.shrunk && !std::mem::replace(&mut self.said_shrunk, true) {
            say!(
                self.helper,
                "notice: user memory is below -M (tmpfs holds the rest), so -M counts as the share \
                 of it that it is of MemTotal"
            );
        }
        limits
    }

    fn victim_is_gone(&mut self) -> bool {
        let target = self.target.as_mut();
        target.map_or(true, |target| target.is_gone(&mut self.proc))
    }

    fn after_look(&mut self, memory: &Memory) {
        if self.config.debug {
            say!(self.helper, "look {}: {}", self.looks, log::State(memory));
        }
        let now = clock::now();
        if self.next_report.is_some_and(|at| now >= at) {
            if !self.config.debug {
                say!(self.helper, "{}", log::State(memory));
            }
            self.next_report = self.config.report.map(|every| now.after(every));
        }
        let limits = self.limits(memory);
        let calm = limits.level(memory.available, memory) == Level::Fine && self.machine.is_idle();
        if calm && self.helper.needs_reviving(now) {
            match self.helper.revive() {
                Ok(()) => say!(self.helper, "the helper process was started again"),
                Err(error) => log::without(&mut self.helper, "starting the helper again", &error),
            }
        }
    }

    fn perform(&mut self, step: Step, memory: &Memory) {
        match step {
            Step::Wait => {}
            Step::Choose(signal) => self.choose(signal, memory),
            Step::Escalate(urgency) => self.escalate(urgency),
            Step::Ended { after } => {
                if let Some(target) = self.target.take() {
                    log::exited(&mut self.helper, target.id.pid, target.group, after);
                }
            }
            Step::LetOff => {
                if let Some(target) = self.target.take() {
                    say!(
                        self.helper,
                        "process {} did not exit, but memory has recovered: let off",
                        target.id.pid
                    );
                }
            }
            Step::Stuck { id } => {
                self.target = None;
                say!(
                    self.helper,
                    "process {} survives SIGKILL (stuck in the kernel): left alone",
                    id.pid
                );
            }
            Step::Useless { gained, expected, pause } => {
                log::useless(&mut self.helper, gained, expected, pause);
            }
        }
    }

    /// Finds a victim, looks again, and signals it. Whatever happens, the machine hears.
    fn choose(&mut self, signal: Deadly, memory: &Memory) {
        if self.config.kernel_oom {
            return self.delegate(memory, signal);
        }
        for _ in 0..ATTEMPTS {
            let Some(candidate) = self.find(memory) else {
                let wait = self.machine.alone(clock::now());
                log::low(&mut self.helper, memory, signal);
                log::nobody(&mut self.helper, wait);
                return;
            };
            match self.take_on(signal, &candidate) {
                Ok(()) => return,
                Err(error) if errno::is_gone(&error) => {
                    if self.config.debug {
                        say!(self.helper, "process {} is gone already", candidate.id().pid);
                    }
                }
                Err(error) => {
                    self.machine.leave(candidate.id());
                    say!(
                        self.helper,
                        "cannot signal process {}: {}: left alone",
                        candidate.id().pid,
                        Errno(&error)
                    );
                    return;
                }
            }
        }
    }

    fn find(&mut self, memory: &Memory) -> Option<Candidate> {
        let before = clock::now();
        let family = crate::scan::family(&mut self.proc);
        let left = self.machine.left();
        let rules = Rules::new(&self.config, memory.total, self.scale, &family, left);
        let found = crate::scan::find(&mut self.proc, &rules, memory);
        match found {
            Ok(found) => {
                if self.config.debug {
                    let micros = clock::now().since(before).as_micros();
                    say!(
                        self.helper,
                        "scan: {} processes, {} files, {micros} microseconds",
                        found.seen,
                        found.files
                    );
                }
                found.best
            }
            Err(error) => {
                say!(self.helper, "cannot list /proc: {}", Errno(&error));
                None
            }
        }
    }

    /// The steps from a choice to the signal. ESRCH if the world has changed meanwhile:
    /// the process is gone, or is no candidate any more, or memory has recovered.
    fn take_on(&mut self, signal: Deadly, candidate: &Candidate) -> io::Result<()> {
        let mut target = Target::open(&mut self.proc, candidate.id())?;
        if !self.config.dryrun {
            self.helper.read_command(candidate.id(), COMMAND_LINE);
        }
        let memory = self.meminfo.read(&mut self.proc)?.ok_or_else(errno::gone)?;
        let limits = Limits::of(&self.config, &memory);
        let level = limits.level(memory.available, &memory);
        let family = crate::scan::family(&mut self.proc);
        let left = self.machine.left();
        let rules = Rules::new(&self.config, memory.total, self.scale, &family, left);
        let candidate = crate::scan::again(&mut self.proc, &rules, &memory, candidate)
            .ok_or_else(errno::gone)?;
        let signal = match level {
            Level::Fine => return Err(errno::gone()),
            Level::Term => self.machine.signal_for(candidate.id(), signal),
            Level::Kill => Deadly::Kill,
        };
        let spared = self.config.kill_group.then(|| {
            let spared = group_of(&mut self.proc, &rules, &candidate);
            (candidate.stat.pgid, spared)
        });
        if let Some((_, Ok(group))) = &spared {
            target.group = Some(group.leader);
        }
        let status = self.proc.status(candidate.id().pid, candidate.stat.is_ended())?;
        let adj = self.proc.oom_score_adj(candidate.id().pid).unwrap_or(0);
        if !self.config.dryrun {
            target.signal(&mut self.proc, signal)?;
        }

        let now = clock::now();
        let (id, dryrun) = (candidate.id(), self.config.dryrun);
        log::low(&mut self.helper, &memory, signal);
        let portrait = Portrait { candidate: &candidate, uid: status.uid, adj, rss: status.rss };
        log::sending(&mut self.helper, signal, dryrun, &portrait);
        let mut held = Held { anon: status.rss_anon.unwrap_or(status.rss), swap: status.swap };
        match spared {
            Some((_, Ok(group))) => {
                held.anon = held.anon.max(group.rss);
                log::group_too(&mut self.helper, group.leader, group.living, group.rss, dryrun);
            }
            Some((pgid, Err(why))) => log::group_spared(&mut self.helper, pgid, &why),
            None => {}
        }
        if dryrun {
            self.machine.rehearsed(now);
            return Ok(());
        }
        if signal == Deadly::Kill {
            self.helper.release(id, target.group);
        }
        self.machine.signalled(id, signal, held, &memory, now);
        self.target = Some(target);
        Ok(())
    }

    fn escalate(&mut self, urgency: Urgency) {
        let Some(target) = &self.target else { return };
        let sent = target.signal(&mut self.proc, Deadly::Kill);
        let pid = target.id.pid;
        match (&sent, urgency) {
            (Ok(()), Urgency::Level) => say!(
                self.helper,
                "sending SIGKILL to process {pid}: memory is at or below the limit for SIGKILL"
            ),
            (Ok(()), Urgency::Grace) => {
                say!(
                    self.helper,
                    "sending SIGKILL to process {pid}: it ignores SIGTERM and memory is still low"
                )
            }
            // Its end is seen at the next look.
            (Err(error), _) if errno::is_gone(error) => {}
            (Err(error), _) => say!(self.helper, "cannot signal process {pid}: {}", Errno(error)),
        }
        if sent.is_ok() {
            self.helper.release(target.id, target.group);
        }
    }

    /// `--kernel-oom`: the kernel chooses and kills.
    fn delegate(&mut self, memory: &Memory, signal: Deadly) {
        let now = clock::now();
        log::low(&mut self.helper, memory, signal);
        if self.config.dryrun {
            say!(self.helper, "would ask the kernel to kill (sysrq f)");
            return self.machine.rehearsed(now);
        }
        let asked = match &self.sysrq {
            Some(sysrq) => fd::write(sysrq.as_fd(), b"f"),
            None => Err(errno::gone()),
        };
        match asked {
            Ok(_) => {
                say!(self.helper, "asked the kernel to kill (sysrq f)");
                let limits = Limits::of(&self.config, memory);
                let missing = limits.mem.term.unwrap_or(KiB::ZERO).less(memory.available);
                let expected = Held { anon: missing.plus(KiB(1)), swap: KiB::ZERO };
                self.machine.delegated(expected, memory, now);
            }
            Err(error) => {
                let wait = self.machine.alone(now);
                say!(
                    self.helper,
                    "cannot write to /proc/sysrq-trigger: {}; trying again in {} seconds",
                    Errno(&error),
                    wait.as_secs()
                );
            }
        }
    }

    fn wait(&mut self) {
        let timeout = self.timeout();
        let mut waiter = Waiter::<4>::new();
        waiter.add(self.signals.as_fd(), Wish::Readable);
        let psi = self.psi.as_ref().map(|psi| waiter.add(psi.as_fd(), Wish::Priority));
        if let Some(pidfd) = self.target.as_ref().and_then(Target::pidfd) {
            waiter.add(pidfd, Wish::Readable);
        }
        waiter.wait(Some(timeout));
        if psi.is_some_and(|place| waiter.is_broken(place)) {
            self.psi = None;
        }
    }

    /// How long nothing can happen that needs a look.
    fn timeout(&mut self) -> Duration {
        let now = clock::now();
        let Some(memory) = self.meminfo.read(&mut self.proc).ok().flatten().filter(|_| !self.blind)
        else {
            return BLIND;
        };
        let limits = Limits::of(&self.config, &memory);
        let quiet = limits.quiet_for(&memory, self.rate.at(now)).unwrap_or(FURTHEST);
        let mut timeout = quiet.clamp(self.budget.least_wait(), FURTHEST);
        if self
            .target
            .as_ref()
            .is_some_and(|target| target.pidfd().is_none() || target.group.is_some())
        {
            timeout = timeout.min(FOLLOW);
        }
        let deadlines = [self.machine.deadline(), self.next_report, self.helper.deadline()];
        for deadline in deadlines.into_iter().flatten().filter(|&deadline| deadline > now) {
            timeout = timeout.min(deadline.since(now));
        }
        timeout
    }
}

struct FreeGroup {
    leader: Pid,
    living: u32,
    rss: KiB,
}

/// The group to signal with the candidate, or why it is left alone.
fn group_of(proc: &mut Proc, rules: &Rules<'_>, candidate: &Candidate) -> Result<FreeGroup, Alone> {
    let pgid = candidate.stat.pgid;
    // 0 lies outside the PID namespace, 1 would be "all" to kill(2).
    let leader =
        Pid::new(pgid.into()).filter(|&leader| leader != Pid::INIT).ok_or(Alone::NoGroup)?;
    if pgid == process::own_group() {
        return Err(Alone::OwnGroup);
    }
    let group = crate::scan::group(proc, rules, leader).map_err(|_| Alone::Unknown)?;
    match group.protected {
        Some((pid, why)) => Err(Alone::Holds(pid, why)),
        None => Ok(FreeGroup { leader, living: group.living, rss: group.rss }),
    }
}

/// KiB a second that memory can fill by: one process in huge pages, or all processors in
/// plain ones, whichever is more. (Huge pages on all processors are rarer, wake the watch
/// by pressure, and raise the rate once seen.)
fn measure_fill_rate(memory: &Memory) -> KiB {
    // Never more than a twentieth of what is left.
    let size = MEASURE_SIZE.min(KiB(memory.available.0 / 20));
    let one = |pages| memory::fill_rate(pages, size, MEASURE).unwrap_or(KiB::ZERO);
    let all = KiB(one(Pages::Plain).0.saturating_mul(machine::processors().into()));
    let rate = all.max(one(Pages::Huge));
    if rate == KiB::ZERO {
        FILL_RATE
    } else {
        rate
    }
}

/// The guard's own niceness and `oom_score_adj`; what was refused is said later.
fn prioritize(proc: &Proc, niceness: i32) -> (io::Result<()>, io::Result<()>) {
    // Enough to go after everyone else, and still not exempt: -1000 would hide a leak.
    const ADJ: &[u8] = b"-100";
    let adjusted = proc
        .open_file(b"self/oom_score_adj", Access::Write)
        .and_then(|file| fd::write(file.as_fd(), ADJ).map(drop));
    (process::set_niceness(niceness), adjusted)
}

/// Whether processes of others are out of sight: init always exists.
fn is_hidden(proc: &Proc) -> bool {
    proc.owner(Pid::INIT).is_err() || proc.open_file(b"1/stat", Access::Read).is_err()
}

fn psi_trigger(proc: &Proc) -> Option<OwnedFd> {
    let file = proc.open_file(b"pressure/memory", Access::Trigger).ok()?;
    fd::write(file.as_fd(), PSI_TRIGGER).ok()?;
    Some(file)
}
