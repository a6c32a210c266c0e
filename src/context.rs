//! What every decision works with: settings, `/proc`, the observer, what selecting needs, and the
//! way out. A question about processes or memory that more than one rule asks is asked here.
//!
//! Never decides, and keeps no state of a kill.

use crate::event::Event;
use crate::helper::{Helper, Notice, When};
use crate::log;
use crate::memory::Memory;
use crate::observe::{News, Observer};
use crate::output::Output;
use crate::policy::Scene;
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::meminfo::Blind;
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::status::Held;
use crate::procfs::Proc;
use crate::say;
use crate::select::{
    self, Alone, Assistant, Candidate, Company, Family, Filter, Found, Group, Matcher, Members,
    Protection, Rules, Scale, Unkillable,
};
use crate::settings::{Config, Patterns};
use crate::stats::Reason;
use crate::sys::process::{self, KillSignal};
use crate::sys::{clock, io, machine};
use crate::units::{Identity, KiB, Pid};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long all command lines together that patterns ask for are waited for in one choice.
pub const CHOICE: Duration = Duration::from_millis(20);

pub struct Context {
    pub config: Config,
    pub proc: Proc,
    pub observer: Observer,
    /// At the last look that could read it.
    pub memory: Memory,
    pub selector: Selector,
    /// The cgroup of the victim, if that is to be ended as a whole.
    pub oom_group: OomGroup,
    pub family: Family,
    /// It was read since the last look.
    pub family_is_fresh: bool,
    pub output: Output,
    /// For `--kernel-oom`.
    pub sysrq: Option<OwnedFd>,
}

/// What selecting needs besides settings.
pub struct Selector {
    pub scale: Scale,
    pub filter: Filter,
    /// An attempt to end them failed: no candidates from now on.
    pub unkillable: Unkillable,
}

/// All that a choice takes, as it is now.
pub struct Selection<'a> {
    pub proc: &'a mut Proc,
    pub rules: Rules<'a>,
    pub oom_group: &'a mut OomGroup,
    pub observer: &'a Observer,
    pub config: &'a Config,
}

impl Assistant for Helper {
    fn command_line(&mut self, id: Identity, patience: Duration) -> Option<CommandLine> {
        self.command_line(id, patience)
    }

    fn is_in_place(&mut self, id: Identity, path: &[u8], patience: Duration) -> Option<bool> {
        self.is_in_place(id, path, patience)
    }

    fn met(&mut self, candidate: &Candidate, points: i64, patterns: &Patterns) {
        log::candidate(self, candidate, points, patterns);
    }
}

impl Context {
    // ---- memory and processes ----

    /// One look at memory.
    pub fn observe(&mut self) -> Result<Scene, Blind> {
        self.family_is_fresh = false;
        let scene = self.observer.observe(&mut self.proc, &self.config, clock::now())?;
        self.memory = scene.memory;
        self.output.stats.set_levels(scene.limits.mem, scene.limits.swap);
        Ok(scene)
    }

    /// The same, if memory can be read.
    pub fn observe_again(&mut self) -> Option<Scene> {
        self.observe().ok()
    }

    pub fn selection(&mut self) -> Selection<'_> {
        if !std::mem::replace(&mut self.family_is_fresh, true) {
            let helper = self.output.helper.pid();
            self.family.renew(&mut self.proc, process::own_pid(), helper);
        }
        let Context { config, proc, observer, memory, selector, oom_group, output, .. } = self;
        let family = self.family;
        let Selector { scale, filter, unkillable } = selector;
        let matcher = Matcher {
            patterns: &config.patterns,
            filter,
            assistant: &mut output.helper,
            patience: CHOICE,
        };
        let seen = (&*memory, observer.cgroup());
        let rules = Rules::new(config, seen, *scale, family, unkillable, matcher);
        Selection { proc, rules, oom_group, observer, config }
    }

    /// The process that would go first now.
    pub fn find(&mut self) -> io::Result<Found> {
        let (before, memory) = (clock::now(), self.memory);
        let Selection { proc, mut rules, .. } = self.selection();
        let found = select::find(proc, &mut rules, &memory)?;
        if self.config.debug {
            let micros = (clock::now().0 - before.0) / 1000;
            let Found { seen, files, .. } = found;
            let helper = &mut self.output.helper;
            say!(helper, Debug, "scan: {seen} processes, {files} files, {micros} microseconds");
        }
        Ok(found)
    }

    /// A candidate as it is now, if it is one still.
    pub fn look_again(&mut self, id: Identity) -> Option<Stat> {
        let memory = self.memory;
        let Selection { proc, mut rules, .. } = self.selection();
        select::look_at(proc, &mut rules, &memory, id).ok().map(|candidate| candidate.stat)
    }

    /// The process is no candidate from now on.
    pub fn give_up(&mut self, id: Identity) {
        let Context { proc, selector, .. } = self;
        selector.unkillable.add(id, &mut |known| proc.is_running(known).unwrap_or(true));
    }

    /// The process as one that may be ended for its size, if it is one.
    pub fn above(&mut self, pid: Pid, limit: KiB) -> Option<Stat> {
        let stat = self.proc.stat_with_threads(pid).ok()?;
        let rss = KiB::from_pages(self.proc.exact_resident_pages(&stat).ok()?, machine::page());
        let Selection { proc, mut rules, .. } = self.selection();
        let is_above = rss > limit && rules.protection(proc, &stat).is_none();
        is_above.then_some(stat)
    }

    /// What protects a process by now that was eligible before. What cannot be read of it says
    /// nothing: it may be ending.
    pub fn later_protection(&mut self, id: Identity) -> Option<Protection> {
        let Selection { proc, mut rules, .. } = self.selection();
        let stat = proc.stat_with_threads(id.pid).ok().filter(|stat| stat.id == id)?;
        rules.protection(proc, &stat).filter(|why| {
            matches!(
                why,
                Protection::Exempt
                    | Protection::Root
                    | Protection::Outside
                    | Protection::Ignored(Some(_))
            )
        })
    }

    /// What goes with a victim, which holds so much. Its cgroup goes only for memory.
    pub fn company(&mut self, stat: &Stat, held: Held, for_memory: bool) -> Company {
        let may_ask = for_memory && self.oom_group.is_mounted();
        let path = may_ask.then(|| self.output.helper.cgroup_of(stat.id, CHOICE)).flatten();
        let Selection { proc, mut rules, oom_group, .. } = self.selection();
        let path = path.as_ref().map(|path| path.as_bytes());
        Company::of(proc, &mut rules, oom_group, (stat, held), path)
    }

    /// A group that goes with a victim, as it is now.
    pub fn members(&mut self, group: Group) -> Result<Members, Alone> {
        let Selection { proc, mut rules, oom_group, .. } = self.selection();
        select::members(proc, &mut rules, oom_group, group, None)
    }

    /// A signal to the process, as it is told.
    pub fn event(&mut self, stat: &Stat, signal: KillSignal, reason: Reason) -> Event {
        let pid = stat.id.pid;
        let status = self.proc.status(stat).unwrap_or_default();
        Event {
            id: stat.id,
            comm: stat.comm.clone(),
            uid: self.proc.owner(pid).ok(),
            adj: self.proc.oom_score_adj(pid).unwrap_or(0),
            score: self.proc.oom_score(pid).unwrap_or(0),
            rss: status.rss,
            swap: status.swap,
            held: status.held(),
            is_kill: signal == KillSignal::Kill,
            reason,
            dryrun: self.config.dryrun,
        }
    }

    // ---- what is told ----

    /// What the observer has seen that is worth a line.
    pub fn tell_news(&mut self) {
        let Context { observer, output, config, .. } = self;
        let helper = &mut output.helper;
        while let Some(news) = observer.news() {
            match news {
                News::Bounds(bounds) if bounds.is_doubtful() => {
                    say!(helper, Warning, "warning: {bounds}");
                }
                News::Bounds(bounds) => say!(helper, Notice, "{bounds}"),
                News::NoStalls(_) | News::NoStallsOf(..) | News::NoDisks(_) | News::NoScans(_) => {
                    say!(helper, Notice, "notice: {news}");
                }
                News::StallsAgain => say!(helper, Notice, "{news}"),
                News::StallOfLimit(_) if !config.debug => {}
                News::StallOfLimit(_) => say!(helper, Debug, "{news}"),
            }
        }
    }

    /// The signal was sent.
    pub fn tell_signal(&mut self, event: &Event, group: Option<Group>) {
        let group = match group {
            Some(Group::Processes(number)) => Pid::new(number.into()),
            _ => None,
        };
        // If SIGTERM is not handled it is deadly at once; else the kernel refuses.
        self.output.helper.release(event.id, group);
        self.output.stats.count(event.reason, event.is_kill);
        self.notify(Notice::Killed, event);
        self.output.write_numbers(&self.memory);
    }

    /// In a dry run it would have been sent.
    pub fn tell_rehearsal(&mut self, event: &Event) {
        self.notify(Notice::Killed, event);
        self.tell_end(event);
    }

    pub fn tell_end(&mut self, event: &Event) {
        if self.config.hooks.post_kill.is_some() {
            self.output.helper.run_hook(When::After, event);
        }
    }

    pub fn notify(&mut self, notice: Notice, event: &Event) {
        if self.config.notify {
            self.output.helper.notify(notice, event);
        }
    }
}
