//! What a look asks for: choosing a victim, looking again, the signal, and what is said of
//! it.

use super::Daemon;
use crate::config::Config;
use crate::filter::{CommandLines, Filter, Verdict};
use crate::helper::Helper;
use crate::kill::target::Target;
use crate::kill::{Step, Urgency};
use crate::log::{self, Alone, Portrait};
use crate::policy::{Level, Limits};
use crate::procfs::meminfo::Memory;
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::say;
use crate::scan::{self, Judge};
use crate::stats::Reason;
use crate::sys::errno::{self, Errno};
use crate::sys::process::{self, Deadly};
use crate::sys::{clock, fd};
use crate::units::{Identity, KiB, Moment, Pid};
use crate::victim::{Candidate, Rules};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long all command lines together that patterns ask for are waited for in one choice.
const CHOICE: Duration = Duration::from_millis(20);
/// How long a command line is waited for, since its process may have none after the signal.
/// A helper that is awake answers in a tenth of a millisecond; on a machine whose
/// processors are all taken it has to wait for its turn. Where SIGKILL is due, time counts
/// more than a message.
pub const fn patience(signal: Deadly) -> Duration {
    match signal {
        Deadly::Term => Duration::from_millis(20),
        Deadly::Kill => Duration::from_millis(2),
    }
}

/// A scan takes long enough for its result to have vanished; then it is made again.
const ATTEMPTS: usize = 3;

/// A victim in hand, checked for the last time.
struct Chosen {
    candidate: Candidate,
    target: Target,
    signal: Deadly,
    memory: Memory,
    /// With `-g`: what goes with it, or why nothing does.
    group: Option<Result<FreeGroup, Alone>>,
}

pub struct FreeGroup {
    pub leader: Pid,
    living: u32,
    pub held: Held,
}

/// Why a chosen process was not signalled.
enum Miss {
    /// It is gone, or is no candidate any more: choose again.
    Gone,
    /// Memory is fine again.
    Recovered,
    /// The guard may not: choose others from now on.
    Refused(io::Error),
}

/// The patterns in force, with the helper to read command lines.
pub struct PatternJudge<'a> {
    config: &'a Config,
    filter: &'a mut Filter,
    commands: Timed<'a>,
}

impl<'a> PatternJudge<'a> {
    pub fn of(config: &'a Config, filter: &'a mut Filter, helper: &'a mut Helper) -> Self {
        let until = clock::now().after(CHOICE);
        PatternJudge { config, filter, commands: Timed { helper, until } }
    }
}

/// Command lines from the helper, until the time is over.
struct Timed<'a> {
    helper: &'a mut Helper,
    until: Moment,
}

impl CommandLines for Timed<'_> {
    fn command_line(&mut self, id: Identity) -> Option<CommandLine> {
        self.helper.command_line(id, self.until.since(clock::now()))
    }
}

impl Judge for PatternJudge<'_> {
    fn is_idle(&self) -> bool {
        self.config.patterns.is_empty()
    }

    fn may_prefer(&self) -> bool {
        !self.config.patterns.prefer.is_empty()
    }

    fn judge(&mut self, proc: &mut Proc, stat: &Stat) -> Verdict {
        self.filter.judge(&self.config.patterns, proc, stat, &mut self.commands)
    }

    fn met(&mut self, candidate: &Candidate) {
        if self.config.debug {
            log::candidate(self.commands.helper, candidate, &self.config.patterns);
        }
    }
}

impl Daemon {
    pub(super) fn perform(&mut self, step: Step, memory: &Memory) {
        match step {
            Step::Wait => {}
            Step::Choose(signal) if self.config.kernel_oom => self.delegate(signal, memory),
            Step::Choose(signal) => match self.offenders.take_dying() {
                Some((target, held)) => self.adopt(target, held, memory),
                None => self.choose(signal, memory),
            },
            Step::Escalate(urgency) => self.escalate(urgency),
            Step::Ended { after } => {
                if let Some(target) = self.target.take() {
                    log::exited(&mut self.helper, target.id.pid, target.group, after);
                }
            }
            Step::LetOff { id } => {
                self.target = None;
                let pid = id.pid;
                say!(
                    self.helper,
                    Notice,
                    "process {pid} did not exit, but memory has recovered: let off"
                );
            }
            Step::Stuck { id } => {
                self.target = None;
                log::stuck(&mut self.helper, id.pid);
            }
            Step::Useless { gained, expected, pause } => {
                log::useless(&mut self.helper, gained, expected, pause);
            }
        }
    }

    /// One above the limit is being ended anyway: its memory is waited for first.
    fn adopt(&mut self, target: Target, held: Held, memory: &Memory) {
        self.machine.signalled(target.id, Deadly::Kill, held, memory, clock::now());
        self.target = Some(target);
    }

    fn choose(&mut self, signal: Deadly, memory: &Memory) {
        for _ in 0..ATTEMPTS {
            let candidate = match self.find(memory) {
                Ok(Some(candidate)) => candidate,
                // Somebody may have been spared only because the helper hangs.
                Ok(None) if self.helper.may_be_replaced() && !self.config.patterns.is_empty() => {
                    self.replace_helper();
                    continue;
                }
                Ok(None) => {
                    log::low(&mut self.helper, memory, signal);
                    let wait = self.machine.alone(memory, clock::now());
                    return log::nobody(&mut self.helper, wait);
                }
                Err(error) => {
                    let seconds = self.machine.alone(memory, clock::now()).as_secs();
                    say!(
                        self.helper,
                        Error,
                        "cannot list /proc: {}; trying again in {seconds} seconds",
                        Errno(&error)
                    );
                    return;
                }
            };
            let id = candidate.id();
            let ended = self.check(&candidate, signal, memory).and_then(|chosen| self.end(chosen));
            match ended {
                Ok(()) => return,
                Err(Miss::Gone) => self.debug_missed(id, "is gone already"),
                Err(Miss::Recovered) => {
                    return self.debug_missed(id, "is spared: memory has recovered")
                }
                Err(Miss::Refused(error)) => return self.leave(id, &error),
            }
        }
    }

    /// Forks although memory is short: without it nobody would be ended.
    fn replace_helper(&mut self) {
        match self.helper.replace() {
            Ok(()) => {
                say!(self.helper, Notice, "the helper process did not answer: started another one")
            }
            Err(error) => log::without(&mut self.helper, "starting the helper again", &error),
        }
    }

    fn find(&mut self, memory: &Memory) -> io::Result<Option<Candidate>> {
        let before = clock::now();
        let family = scan::family(&mut self.proc, self.helper.pid());
        let left = self.machine.left();
        let rules = Rules::new(&self.config, memory.total, self.scale, &family, left);
        let mut judge = PatternJudge::of(&self.config, &mut self.filter, &mut self.helper);
        let found = scan::find(&mut self.proc, &rules, &mut judge, memory)?;
        if self.config.debug {
            let micros = clock::now().since(before).as_micros();
            let (seen, files) = (found.seen, found.files);
            say!(
                self.helper,
                Debug,
                "scan: {seen} processes, {files} files, {micros} microseconds"
            );
        }
        Ok(found.best)
    }

    /// Takes hold of the candidate and looks at it and at memory once more: choosing took
    /// long enough for the world to change.
    fn check(
        &mut self,
        candidate: &Candidate,
        wanted: Deadly,
        before: &Memory,
    ) -> Result<Chosen, Miss> {
        let id = candidate.id();
        let mut target = Target::open(&mut self.proc, id).map_err(|_| Miss::Gone)?;
        let family = scan::family(&mut self.proc, self.helper.pid());
        let left = self.machine.left();
        let rules = Rules::new(&self.config, before.total, self.scale, &family, left);
        let with_group = self.config.kill_group;
        let mut judge = PatternJudge::of(&self.config, &mut self.filter, &mut self.helper);
        let pgid = candidate.stat.pgid;
        let group = with_group.then(|| group_of(&mut self.proc, &rules, &mut judge, pgid));
        if let Some(Ok(group)) = &group {
            target.group = Some(group.leader);
        }
        // What hangs here counts as unknown to the patterns below: no less patience than theirs.
        let plain = self.config.patterns.is_empty();
        self.helper.command_line(id, if plain { patience(wanted) } else { CHOICE });
        // All that takes time is done; what is read from here on is fresh. If it cannot be,
        // what was read a moment ago has to do.
        let memory = self.meminfo.read(&mut self.proc).ok().flatten().unwrap_or(*before);
        let limits = Limits::of(&self.config, &memory);
        let signal = match limits.level(memory.available, &memory) {
            Level::Fine => return Err(Miss::Recovered),
            Level::Term => self.machine.signal_for(id, Deadly::Term),
            Level::Kill => Deadly::Kill,
        };
        let mut judge = PatternJudge::of(&self.config, &mut self.filter, &mut self.helper);
        let again = scan::again(&mut self.proc, &rules, &mut judge, &memory, candidate);
        let candidate = again.ok_or(Miss::Gone)?;
        Ok(Chosen { candidate, target, signal, memory, group })
    }

    /// First the signal, then the word.
    fn end(&mut self, chosen: Chosen) -> Result<(), Miss> {
        let Chosen { candidate, target, signal, memory, group } = chosen;
        let (id, dryrun) = (candidate.id(), self.config.dryrun);
        let portrait = self.portray(&candidate);
        let held = match &group {
            Some(Ok(group)) => group.held,
            _ => portrait.status.held(),
        };
        if !dryrun {
            target.signal(&mut self.proc, signal).map_err(
                |error| match errno::is_not_permitted(&error) {
                    true => Miss::Refused(error),
                    false => Miss::Gone,
                },
            )?;
        }
        let now = clock::now();
        log::low(&mut self.helper, &memory, signal);
        log::sending(&mut self.helper, signal, dryrun, &portrait);
        self.say_group(&candidate, &group, held);
        if dryrun {
            self.machine.rehearsed(now);
            return Ok(());
        }
        if signal == Deadly::Kill {
            self.helper.release(id, target.group);
        }
        self.machine.signalled(id, signal, held, &memory, now);
        self.target = Some(target);
        self.offenders.forget(id);
        self.count(Reason::Memory, signal);
        self.stats.note_victim(held.total(), clock::wall());
        self.report_numbers();
        Ok(())
    }

    /// What a message says about the victim. What cannot be read any more is shown as 0: no
    /// reason to spare it.
    pub(super) fn portray<'a>(&mut self, candidate: &'a Candidate) -> Portrait<'a> {
        let pid = candidate.id().pid;
        Portrait {
            candidate,
            uid: self.proc.owner(pid).unwrap_or(0),
            adj: self.proc.oom_score_adj(pid).unwrap_or(0),
            status: self.proc.status(&candidate.stat).unwrap_or_default(),
        }
    }

    fn leave(&mut self, id: Identity, error: &io::Error) {
        self.machine.leave(id);
        log::not_permitted(&mut self.helper, id.pid, error);
    }

    fn debug_missed(&mut self, id: Identity, why: &str) {
        if self.config.debug {
            say!(self.helper, Debug, "process {} {why}", id.pid);
        }
    }

    fn escalate(&mut self, urgency: Urgency) {
        let Some(mut target) = self.target.take() else { return };
        let (id, pid) = (target.id, target.id.pid);
        self.spare_group_if_protected(&mut target);
        let why = match urgency {
            Urgency::Level => "memory is at or below the limit for SIGKILL",
            Urgency::Grace => "it ignores SIGTERM and memory is still low",
        };
        match target.signal(&mut self.proc, Deadly::Kill) {
            Ok(()) => {
                say!(self.helper, Warning, "sending SIGKILL to process {pid}: {why}");
                self.helper.release(id, target.group);
                self.count(Reason::Memory, Deadly::Kill);
                self.report_numbers();
            }
            Err(error) if errno::is_not_permitted(&error) => return self.leave(id, &error),
            // Its end is seen at the next look.
            Err(_) => {}
        }
        self.target = Some(target);
    }

    /// Others may have joined the group since it was asked.
    pub(super) fn spare_group_if_protected(&mut self, target: &mut Target) {
        if let Some(Err(why)) = target.group.map(|leader| self.group_again(leader)) {
            let leader = target.group.take().map_or(0, Pid::number);
            log::group_spared(&mut self.helper, leader, &why);
        }
    }

    pub(super) fn say_group(
        &mut self,
        candidate: &Candidate,
        group: &Option<Result<FreeGroup, Alone>>,
        held: Held,
    ) {
        match group {
            Some(Ok(group)) => {
                let (leader, living) = (group.leader, group.living);
                log::group_too(&mut self.helper, leader, living, held, self.config.dryrun);
            }
            Some(Err(why)) => log::group_spared(&mut self.helper, candidate.stat.pgid, why),
            None => {}
        }
    }

    fn group_again(&mut self, leader: Pid) -> Result<FreeGroup, Alone> {
        let family = scan::family(&mut self.proc, self.helper.pid());
        let total = self.memory.map_or(KiB::ZERO, |memory| memory.total);
        let left = self.machine.left();
        let rules = Rules::new(&self.config, total, self.scale, &family, left);
        let mut judge = PatternJudge::of(&self.config, &mut self.filter, &mut self.helper);
        group_of(&mut self.proc, &rules, &mut judge, leader.number())
    }

    /// `--kernel-oom`: the kernel chooses and kills.
    fn delegate(&mut self, signal: Deadly, memory: &Memory) {
        let now = clock::now();
        log::low(&mut self.helper, memory, signal);
        if self.config.dryrun {
            say!(self.helper, Notice, "would ask the kernel to kill (sysrq f)");
            return self.machine.rehearsed(now);
        }
        let asked =
            self.sysrq.as_ref().map_or(Err(errno::gone()), |sysrq| fd::write(sysrq.as_fd(), b"f"));
        match asked {
            Ok(_) => {
                say!(self.helper, Warning, "asked the kernel to kill (sysrq f)");
                // Whoever it is should give back what is missing.
                let limit = Limits::of(&self.config, memory).mem.term.unwrap_or(KiB::ZERO);
                let anon = limit.less(memory.available).plus(KiB(1));
                self.machine.delegated(Held { anon, swap: KiB::ZERO }, memory, now);
            }
            Err(error) => {
                let seconds = self.machine.alone(memory, now).as_secs();
                say!(
                    self.helper,
                    Warning,
                    "cannot write to /proc/sysrq-trigger: {}; trying again in {seconds} seconds",
                    Errno(&error)
                );
            }
        }
    }
}

/// The group to signal with the victim, or why it is left alone.
pub fn group_of(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut dyn Judge,
    pgid: i32,
) -> Result<FreeGroup, Alone> {
    // 0 lies outside the PID namespace, 1 would be "all" to kill(2).
    let leader =
        Pid::new(pgid.into()).filter(|&leader| leader != Pid::INIT).ok_or(Alone::NoGroup)?;
    if pgid == process::own_group() {
        return Err(Alone::OwnGroup);
    }
    let group = scan::group(proc, rules, judge, leader).map_err(|_| Alone::Unknown)?;
    match group.protected {
        Some((pid, why)) => Err(Alone::Holds(pid, why)),
        None => Ok(FreeGroup { leader, living: group.living, held: group.held }),
    }
}
