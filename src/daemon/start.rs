//! Everything that is prepared while memory is plentiful: signals, priority, the helper,
//! how fast memory fills here, and what a user should know from the start.

use super::reload::{setup, Reload};
use super::{Daemon, Pace};
use crate::bytes::Buf;
use crate::context::{Context, Selector};
use crate::helper::Helper;
use crate::kill::Kills;
use crate::limit::LimitCheck;
use crate::log;
use crate::memory::Memory;
use crate::observe::{Observer, Reminder};
use crate::output::Output;
use crate::policy::{Budget, FillRate, Scene};
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::procfs::Proc;
use crate::reboot::Reboot;
use crate::report::doubts;
use crate::say;
use crate::select::{Family, Filter, Scale, Unkillable};
use crate::settings::{Config, Mistake, Sources};
use crate::supervisor::Supervisor;
use crate::sys::fd::{self, Access};
use crate::sys::io;
use crate::sys::memory::{self, Pages};
use crate::sys::process::Inherited;
use crate::sys::signal;
use crate::sys::{clock, machine, process};
use crate::units::KiB;
use crate::warning::Warning;
use std::fmt::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// For measuring how fast memory fills, with each kind of pages. While a machine starts, most of it is disturbed: a third of
/// the rate was found within 20 ms.
const MEASURE: Duration = Duration::from_millis(100);
const MEASURE_SIZE: KiB = KiB::from_mib(16);
/// From a level to a signal, milliseconds: a look and a scan on a busy machine.
const TOO_LATE: u64 = 10;
/// If nothing could be measured: what earlyoom reckons with.
const FILL_RATE: KiB = KiB(6_000_000);

/// What the daemon is built from, opened while that can still be refused.
pub struct Parts {
    pub config: Config,
    pub sources: Sources,
    pub proc: Proc,
    pub observer: Observer,
    pub scene: Scene,
    pub scale: Scale,
    pub sysrq: Option<OwnedFd>,
    pub notices: Vec<String>,
    pub supervisor: Supervisor,
}

/// Since Linux 5.17 writing `f` kills reliably: before, a victim that was dying already
/// could be taken for enough.
const SYSRQ_KILLS: (u32, u32) = (5, 17);

/// Holds what is asked for against this machine. What `--kernel-oom` needs, if it is asked for; all that
/// is wrong, if something is. May hang.
pub fn try_out(
    config: &Config,
    mem_total: KiB,
    proc: &Proc,
) -> Result<Option<OwnedFd>, Vec<Mistake>> {
    let mut mistakes = config.check(mem_total).err().unwrap_or_default();
    match open_sysrq(config, proc) {
        Ok(sysrq) if mistakes.is_empty() => return Ok(sysrq),
        Ok(_) => {}
        Err(mistake) => mistakes.push(mistake),
    }
    Err(mistakes)
}

/// What `--kernel-oom` needs, if it is asked for, or why that cannot be had. Allocates.
pub fn open_sysrq(config: &Config, proc: &Proc) -> Result<Option<OwnedFd>, Mistake> {
    if !config.needs_sysrq() {
        return Ok(None);
    }
    let (major, minor) = SYSRQ_KILLS;
    if machine::kernel_release() < SYSRQ_KILLS {
        return Err(format!("--kernel-oom: needs Linux {major}.{minor} or later"));
    }
    let file = proc.open_file(b"sysrq-trigger", Access::Write).map_err(|error| {
        format!(
            "cannot open /proc/sysrq-trigger for --kernel-oom (needs root, and under systemd the drop-in \
             kernel-oom.conf): {error}"
        )
    })?;
    Ok(Some(file))
}

impl Daemon {
    /// Prepares everything that the loop needs: signals, priority, helper, locked memory. Not
    /// on the stack, whose pages the loop has a better use for.
    pub fn start(parts: Parts) -> io::Result<Box<Daemon>> {
        let Parts { config, sources, mut proc, mut observer, scene, .. } = parts;
        let filter = Filter::new(&config.patterns, &users_file(&config));
        let signals = signal::listen()?;
        let rate = measure_fill_rate(&scene.memory);
        let inherited = Inherited::now(proc.oom_score_adj(process::own_pid()).unwrap_or(0));
        let refused = prioritize(&mut proc, inherited, None, config.priority);
        let helper = Helper::new(setup(&config, inherited))?;
        let now = clock::now();
        observer.start(&proc, &config, now);
        let scene = observer.observe(&mut proc, &config, now).unwrap_or(scene);
        let family = Family::now(&mut proc, None);
        let oom_group = OomGroup::open(&mut proc);
        let selector = Selector { scale: parts.scale, filter, unkillable: Unkillable::default() };
        let mut daemon = Box::new(Daemon {
            kills: Kills::new(&config),
            limit: LimitCheck::new(config.limit(), now),
            warning: Warning::default(),
            supervisor: parts.supervisor,
            reboot: Reboot::new(&config),
            reload: Reload::default(),
            sources,
            inherited,
            pace: Pace { rate: FillRate::new(rate), budget: Budget::default(), hurried: false },
            cx: Context {
                output: Output::new(helper, &config, now),
                config,
                proc,
                observer,
                memory: scene.memory,
                selector,
                oom_group,
                family,
                family_is_fresh: false,
                sysrq: parts.sysrq,
            },
            scene: Some(scene),
            blindness: Reminder::default(),
            signals,
            signalled: false,
        });
        say!(daemon.cx.output.helper, Info, "oom_guard {}", env!("CARGO_PKG_VERSION"));
        daemon.say_hello(&scene, rate, refused, &parts.notices);
        Ok(daemon)
    }

    /// What a user should know from the start.
    fn say_hello(
        &mut self,
        Scene { memory, limits, .. }: &Scene,
        rate: KiB,
        refused: (io::Result<()>, io::Result<()>),
        notices: &[String],
    ) {
        let cx = &mut self.cx;
        log::banner(&mut cx.output.helper, &cx.config, limits, memory);
        cx.tell_news();
        let sources = &self.sources;
        let Context { config, selector, family, proc, observer, output, .. } = cx;
        let helper = &mut output.helper;
        let mut warn = |doubt: fmt::Arguments<'_>| say!(helper, Warning, "warning: {doubt}");
        doubts::of_settings(config, sources, memory, &mut selector.filter, &mut warn);
        doubts::of_rights(proc, config, &mut warn);
        doubts::of_rivals(proc, config, family, 0, &mut warn);
        for notice in notices {
            say!(helper, Notice, "notice: {notice}");
        }
        if memory.estimated {
            say!(helper, Notice, "notice: this kernel tells no MemAvailable; it is estimated");
        }
        log::priority(helper, refused);
        if limits.mem.term.is_some_and(|level| level < rate.scaled(KiB(TOO_LATE), KiB(1000))) {
            log::too_late(helper, limits);
        }
        if config.debug {
            let wakes = if observer.trigger().is_some() { "yes" } else { "no" };
            let (mib, processors) = (rate.mib(), machine::processors());
            say!(
                helper,
                Debug,
                "memory fills by at most {mib} MiB a second, by {processors} processors"
            );
            say!(helper, Debug, "the kernel wakes the guard when a stall begins: {wakes}");
        }
    }
}

/// `/etc/passwd`, if patterns ask for users.
pub fn users_file(config: &Config) -> Vec<u8> {
    match config.patterns.ask_for_users() {
        true => fd::read_file(b"/etc/passwd\0", usize::MAX).unwrap_or_default(),
        false => Vec::new(),
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

/// Sets the guard's own niceness and `oom_score_adj` as `-p` wants them `now`, or as they were
/// inherited, if it wanted something else `before`. What was refused is said later.
pub fn prioritize(
    proc: &mut Proc,
    inherited: Inherited,
    before: Option<i32>,
    now: Option<i32>,
) -> (io::Result<()>, io::Result<()>) {
    if now == before {
        return (Ok(()), Ok(()));
    }
    let mut adj = inherited.oom_score_adj;
    if now.is_some() {
        // Enough to go after all others, and still not exempt: -1000 would hide a leak. A
        // supervisor may have given less already.
        adj = adj.min(-100);
    }
    let niceness = process::set_niceness(now.unwrap_or(inherited.niceness));
    if proc.oom_score_adj(process::own_pid()).is_ok_and(|has| has == adj) {
        return (niceness, Ok(()));
    }
    let mut text = Buf::<8>::new();
    let _ = write!(text, "{adj}");
    let file = proc.open_file(b"self/oom_score_adj", Access::Write);
    let adjusted = file.and_then(|file| fd::write(file.as_fd(), text.as_bytes()));
    (niceness, adjusted.map(drop))
}
