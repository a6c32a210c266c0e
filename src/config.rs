//! The settings in force: defaults put in where nothing was asked, and what contradicts
//! itself refused.
//!
//! Decides nothing about memory: it only says what the user asked for.

use crate::bytes::Escaped;
use crate::options::{Settings, Watch};
use crate::pattern::{Field, Pattern};
use crate::sources::{self, Given, Sources};
use crate::sys::errno::Errno;
use crate::sys::fd;
use crate::units::{KiB, Levels, Path, Percent};
use std::fmt;
use std::io;
use std::time::Duration;

/// The four lists of patterns.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Patterns {
    pub prefer: Vec<Pattern>,
    pub avoid: Vec<Pattern>,
    pub ignore: Vec<Pattern>,
    pub only: Vec<Pattern>,
}

impl Patterns {
    /// Only then `/etc/passwd` matters.
    pub fn ask_for_users(&self) -> bool {
        self.all().any(|pattern| pattern.field() == Field::User)
    }

    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    pub fn all(&self) -> impl Iterator<Item = &Pattern> {
        [&self.ignore, &self.only, &self.prefer, &self.avoid].into_iter().flatten()
    }

    /// Puts the cheapest fields of each list first, whatever the order they were given in.
    fn sort(&mut self) {
        for list in [&mut self.prefer, &mut self.avoid, &mut self.ignore, &mut self.only] {
            // The few patterns of a person; a sort of the library's costs 2 KiB of code.
            for end in 1..list.len() {
                let mut at = end;
                while at > 0 && cost(&list[at - 1]) > cost(&list[at]) {
                    list.swap(at - 1, at);
                    at -= 1;
                }
            }
        }
    }
}

/// What reading a field takes: nothing, one call, a file, another process's help.
fn cost(pattern: &Pattern) -> u8 {
    match pattern.field() {
        Field::Name => 0,
        Field::User => 1,
        Field::Exe | Field::Cgroup => 2,
        Field::Cmd => 3,
    }
}

/// What `--process-limit` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// RSS above this is too much.
    pub rss: KiB,
    /// How often that is checked.
    pub every: Duration,
}

/// Programs that run beside a kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    pub pre_kill: Option<Path>,
    pub post_kill: Option<Path>,
    /// One that runs longer is killed.
    pub limit: Duration,
}

impl Hooks {
    pub fn are_set(&self) -> bool {
        self.pre_kill.is_some() || self.post_kill.is_some()
    }
}

/// Where messages go. All of them off: nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    pub stderr: bool,
    pub syslog: bool,
    pub log_file: Option<Path>,
    pub stats_file: Option<Path>,
}

/// Everything the guard goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The watch over memory; without it the levels below do not count.
    pub memory: bool,
    /// The limit for each process.
    pub limit: Option<Limit>,
    /// At least one of the two is there; the lower one counts.
    pub mem: Option<Levels<Percent>>,
    pub mem_size: Option<Levels<KiB>>,
    /// At least one of the two is there; the lower one counts.
    pub swap: Option<Levels<Percent>>,
    pub swap_size: Option<Levels<KiB>>,
    pub patterns: Patterns,
    pub sort_by_rss: bool,
    pub ignore_root_user: bool,
    pub ignore_positive_adj: bool,
    /// `None`: as much as `default_min_rss` says.
    pub min_rss: Option<KiB>,
    pub kill_group: bool,
    pub dryrun: bool,
    /// `None`: no SIGKILL by time.
    pub grace: Option<Duration>,
    pub cooldown: Duration,
    pub kernel_oom: bool,
    /// `None`: never.
    pub report: Option<Duration>,
    pub debug: bool,
    pub outputs: Outputs,
    pub hooks: Hooks,
    pub notify: bool,
    /// A setting that does nothing.
    idle: Option<Warning>,
    /// The guard's niceness, if it is to be set at all (and `oom_score_adj` with it).
    pub priority: Option<i32>,
}

/// The original's and earlyoom's.
const MEM: Levels<Percent> = Levels { term: Percent::whole(10), kill: Percent::whole(5) };
const SWAP: Levels<Percent> = MEM;
/// What sshd, databases and browsers need to close their files; longer, and a machine
/// that is short of memory waits for a process that will not go.
const GRACE: Duration = Duration::from_secs(5);
/// Long enough for the kernel's counters to take in what a victim gave back (they are
/// folded every second, `vm.stat_interval`).
const COOLDOWN: Duration = Duration::from_secs(1);
/// A person watches a terminal; a log wants to be short.
const REPORT_TERMINAL: Duration = Duration::from_secs(1);
const REPORT_LOG: Duration = Duration::from_secs(3600);
/// A mail or a log entry takes a second; one that hangs must not pile up.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// memory-monitor's.
const INTERVAL: Duration = Duration::from_secs(60);

/// Settings that cannot be in force together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    KernelChooses(&'static str),
    NoLimit,
    NoNotify,
    MoreThanThereIs {
        asked: KiB,
        total: KiB,
    },
    /// A hook that is missing, or may not be executed.
    NoHook {
        option: &'static str,
        path: Path,
        errno: i32,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::KernelChooses(option) => {
                write!(
                    f,
                    "--kernel-oom: cannot go with --{option}: the kernel chooses by its own rules"
                )
            }
            Conflict::NoHook { option, path, errno } => {
                let (path, error) =
                    (Escaped(path.as_bytes()), io::Error::from_raw_os_error(*errno));
                write!(f, "{option}: {path}: not a program that can be run: {}", Errno(&error))
            }
            Conflict::NoNotify => f.write_str("--notify: this build knows no D-Bus"),
            Conflict::NoLimit => f.write_str(
                "--watch: there is no limit to watch; give one by --process-limit or --threshold",
            ),
            Conflict::MoreThanThereIs { asked, total } => {
                let (asked, total) = (asked.0, total.0);
                write!(f, "-M: {asked} KiB is more than this machine has (MemTotal {total} KiB)")
            }
        }
    }
}

/// Why settings are not put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Source(sources::Refusal),
    Conflict(Conflict),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Source(refusal) => refusal.fmt(f),
            Refusal::Conflict(conflict) => conflict.fmt(f),
        }
    }
}

/// Settings that are good for this machine, and where each of them stands.
pub struct Settled {
    pub config: Config,
    pub in_force: Vec<Given>,
}

/// The text of each file.
pub fn read(sources: &Sources) -> Result<Vec<Vec<u8>>, Vec<Refusal>> {
    let (mut texts, mut refusals) = (Vec::new(), Vec::new());
    for file in &sources.files {
        match file.read() {
            Ok(text) => texts.push(text),
            Err(refusal) => refusals.push(Refusal::Source(refusal)),
        }
    }
    refusals.is_empty().then_some(texts).ok_or(refusals)
}

/// Makes settings of all sources, with the text of each file.
pub fn settle(
    sources: &Sources,
    texts: &[Vec<u8>],
    on_terminal: bool,
) -> Result<Settled, Vec<Refusal>> {
    let merged = sources
        .merge(texts)
        .map_err(|refusals| refusals.into_iter().map(Refusal::Source).collect::<Vec<_>>())?;
    let config = Config::resolve(merged.settings, on_terminal)
        .map_err(|conflict| vec![Refusal::Conflict(conflict)])?;
    Ok(Settled { config, in_force: merged.in_force })
}

/// What a user should know about settings that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    KillAboveTerm(&'static str),
    SwapSizeAboveTotal { asked: KiB, total: KiB },
    IntervalAlone,
    LimitIdle,
    LimitAboveTotal { asked: KiB, total: KiB },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::KillAboveTerm(option) => {
                write!(f, "{option}: KILL is above the level of SIGTERM, so SIGKILL comes first")
            }
            Warning::SwapSizeAboveTotal { asked, total } => {
                let (asked, total) = (asked.0, total.0);
                write!(f, "-S: {asked} KiB is more than the swap there is ({total} KiB), so swap counts as low")
            }
            Warning::IntervalAlone => f.write_str(
                "--interval: does nothing without a limit (--process-limit or --threshold)",
            ),
            Warning::LimitIdle => {
                f.write_str("--process-limit: does nothing, since --watch memory was asked for")
            }
            Warning::LimitAboveTotal { asked, total } => {
                let (asked, total) = (asked.0, total.0);
                write!(
                    f,
                    "--process-limit: {asked} KiB can never be reached (MemTotal {total} KiB)"
                )
            }
        }
    }
}

impl Config {
    /// Puts `settings` in force, with a default for whatever they leave open.
    pub fn resolve(settings: Settings, on_terminal: bool) -> Result<Config, Conflict> {
        let on = |switch: Option<bool>| switch.unwrap_or(false);
        let never_if_zero = |wait: Duration| (wait > Duration::ZERO).then_some(wait);
        let report =
            settings.report.unwrap_or(if on_terminal { REPORT_TERMINAL } else { REPORT_LOG });
        let watch = settings.watch.unwrap_or(match settings.process_limit {
            Some(_) => Watch::Both,
            None => Watch::Memory,
        });
        let to_file_only = settings.log_file.is_some() && !on_terminal;
        let mut patterns = Patterns {
            prefer: settings.prefer,
            avoid: settings.avoid,
            ignore: settings.ignore,
            only: settings.only,
        };
        patterns.sort();
        let config = Config {
            memory: watch != Watch::Limit,
            limit: match (watch, settings.process_limit) {
                (Watch::Memory, _) => None,
                (_, None) => return Err(Conflict::NoLimit),
                (_, Some(rss)) => Some(Limit { rss, every: settings.interval.unwrap_or(INTERVAL) }),
            },
            mem: settings.mem.or(settings.mem_size.is_none().then_some(MEM)),
            mem_size: settings.mem_size,
            swap: settings.swap.or(settings.swap_size.is_none().then_some(SWAP)),
            swap_size: settings.swap_size,
            patterns,
            sort_by_rss: on(settings.sort_by_rss),
            ignore_root_user: on(settings.ignore_root_user),
            ignore_positive_adj: on(settings.ignore_positive_adj),
            min_rss: settings.min_rss,
            kill_group: on(settings.kill_group),
            dryrun: on(settings.dryrun),
            grace: never_if_zero(settings.grace.unwrap_or(GRACE)),
            cooldown: settings.cooldown.unwrap_or(COOLDOWN),
            kernel_oom: on(settings.kernel_oom),
            report: never_if_zero(report),
            debug: on(settings.debug),
            outputs: Outputs {
                stderr: !on(settings.syslog) && !to_file_only,
                syslog: on(settings.syslog),
                log_file: settings.log_file,
                stats_file: settings.stats_file,
            },
            hooks: Hooks {
                pre_kill: settings.pre_kill,
                post_kill: settings.post_kill,
                limit: settings.hook_timeout.unwrap_or(HOOK_TIMEOUT),
            },
            notify: on(settings.notify),
            idle: match (watch, settings.process_limit, settings.interval) {
                (_, None, Some(_)) => Some(Warning::IntervalAlone),
                (Watch::Memory, Some(_), _) => Some(Warning::LimitIdle),
                _ => None,
            },
            priority: settings.priority.flatten(),
        };
        if config.notify && !cfg!(feature = "dbus-notify") {
            return Err(Conflict::NoNotify);
        }
        config.check_kernel_oom()?;
        Ok(config)
    }

    fn check_kernel_oom(&self) -> Result<(), Conflict> {
        let patterns = &self.patterns;
        let unknown_to_kernel = [
            (!patterns.prefer.is_empty(), "prefer"),
            (!patterns.avoid.is_empty(), "avoid"),
            (!patterns.ignore.is_empty(), "ignore"),
            (!patterns.only.is_empty(), "only"),
            (self.sort_by_rss, "sort-by-rss"),
            (self.ignore_root_user, "ignore-root-user"),
            (self.ignore_positive_adj, "ignore-positive-adj"),
            (self.min_rss.is_some(), "min-rss"),
            (self.kill_group, "kill-group"),
            (self.limit.is_some(), "process-limit"),
            (self.hooks.pre_kill.is_some(), "pre-kill"),
            (self.hooks.post_kill.is_some(), "post-kill"),
        ];
        let other = unknown_to_kernel.iter().find(|(asked, _)| self.kernel_oom && *asked);
        other.map_or(Ok(()), |(_, option)| Err(Conflict::KernelChooses(option)))
    }

    /// The kernel is to choose and kill.
    pub fn needs_sysrq(&self) -> bool {
        self.kernel_oom && !self.dryrun
    }

    /// Holds absolute levels against the memory and swap of this machine.
    pub fn check_sizes(&self, mem_total: KiB) -> Result<(), Vec<Refusal>> {
        let asked = self.mem_size.map_or(KiB::ZERO, |size| size.term.max(size.kill));
        if asked > mem_total {
            let conflict = Conflict::MoreThanThereIs { asked, total: mem_total };
            return Err(vec![Refusal::Conflict(conflict)]);
        }
        Ok(())
    }

    /// Looks whether the hooks can be run.
    pub fn check_hooks(&self) -> Result<(), Vec<Refusal>> {
        let hooks = [("--pre-kill", &self.hooks.pre_kill), ("--post-kill", &self.hooks.post_kill)];
        let faults = hooks.into_iter().filter_map(|(option, path)| {
            let path = path.as_ref()?;
            let error = fd::check_program(path.terminated()).err()?;
            let errno = error.raw_os_error().unwrap_or(0);
            Some(Refusal::Conflict(Conflict::NoHook { option, path: path.clone(), errno }))
        });
        let faults: Vec<_> = faults.collect();
        faults.is_empty().then_some(()).ok_or(faults)
    }

    /// All that is accepted and still worth a word.
    pub fn warnings(&self, mem_total: KiB, swap_total: KiB) -> impl Iterator<Item = Warning> {
        let above = |is: bool, option| is.then_some(Warning::KillAboveTerm(option));
        let asked = self.swap_size.map_or(KiB::ZERO, |size| size.term);
        let swap_size = (asked > swap_total)
            .then_some(Warning::SwapSizeAboveTotal { asked, total: swap_total });
        [
            above(self.mem.is_some_and(|levels| levels.kill > levels.term), "-m"),
            above(self.swap.is_some_and(|levels| levels.kill > levels.term), "-s"),
            above(self.mem_size.is_some_and(|levels| levels.kill > levels.term), "-M"),
            above(self.swap_size.is_some_and(|levels| levels.kill > levels.term), "-S"),
            swap_size,
            self.idle,
            self.limit
                .filter(|limit| limit.rss >= mem_total)
                .map(|limit| Warning::LimitAboveTotal { asked: limit.rss, total: mem_total }),
        ]
        .into_iter()
        .flatten()
    }

    /// A process smaller than this is spared while a larger one could go.
    pub fn min_rss(&self, mem_total: KiB) -> KiB {
        self.min_rss.unwrap_or_else(|| default_min_rss(mem_total))
    }
}

/// 25 MiB, since no process below that ever froze a machine of today; 1% where a machine
/// is so small that 25 MiB are a lot.
fn default_min_rss(mem_total: KiB) -> KiB {
    KiB::from_mib(25).min(Percent::whole(1).of(mem_total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{parse_path, parse_percent};

    fn sizes(term: u64, kill: u64) -> Option<Levels<KiB>> {
        Some(Levels { term: KiB(term), kill: KiB(kill) })
    }

    #[test]
    fn silence_means_the_defaults() {
        let config = Config::resolve(Settings::default(), false).unwrap();
        assert_eq!((config.mem, config.swap), (Some(MEM), Some(SWAP)));
        assert_eq!((config.grace, config.cooldown), (Some(GRACE), COOLDOWN));
        assert_eq!(config.report, Some(REPORT_LOG));
        assert_eq!(config.min_rss(KiB::from_mib(24_000)), KiB::from_mib(25));
        assert_eq!(config.min_rss(KiB::from_mib(256)), KiB(2621));
    }

    #[test]
    fn a_size_displaces_the_default_percentage_and_only_that() {
        let settings = Settings { mem_size: sizes(100, 50), ..Settings::default() };
        let config = Config::resolve(settings, false).unwrap();
        assert_eq!((config.mem, config.swap), (None, Some(SWAP)));
        let mem = Levels { term: parse_percent(b"3").unwrap(), kill: parse_percent(b"1").unwrap() };
        let both = Settings { mem: Some(mem), mem_size: sizes(100, 50), ..Settings::default() };
        assert_eq!(Config::resolve(both, false).unwrap().mem, Some(mem));
    }

    #[test]
    fn zero_turns_off_what_is_by_time() {
        let zero = Some(Duration::ZERO);
        let settings = Settings { grace: zero, report: zero, ..Settings::default() };
        let config = Config::resolve(settings, true).unwrap();
        assert_eq!((config.grace, config.report), (None, None));
    }

    #[test]
    fn what_the_kernel_does_not_know_cannot_go_with_its_choice() {
        let kernel = Settings { kernel_oom: Some(true), ..Settings::default() };
        assert!(Config::resolve(kernel.clone(), false).is_ok());
        let with_filter = Settings { ignore_root_user: Some(true), ..kernel };
        let conflict = Config::resolve(with_filter, false).unwrap_err();
        assert_eq!(conflict, Conflict::KernelChooses("ignore-root-user"));
    }

    #[test]
    fn sizes_are_held_against_the_machine() {
        let settings = Settings {
            mem_size: sizes(2000, 1000),
            swap_size: sizes(500, 600),
            ..Settings::default()
        };
        let config = Config::resolve(settings, false).unwrap();
        assert!(config.check_sizes(KiB(2000)).is_ok());
        assert!(config.check_sizes(KiB(1999)).is_err());
        let warnings: Vec<_> = config.warnings(KiB(2000), KiB(400)).collect();
        let above_total = Warning::SwapSizeAboveTotal { asked: KiB(500), total: KiB(400) };
        assert_eq!(warnings, [Warning::KillAboveTerm("-S"), above_total]);
    }

    #[test]
    fn a_limit_is_watched_beside_memory_unless_one_of_them_is_asked_for() {
        let limit = Some(KiB(1000));
        let resolve = |watch, interval| {
            let settings =
                Settings { process_limit: limit, watch, interval, ..Settings::default() };
            let config = Config::resolve(settings, false).unwrap();
            (config.memory, config.limit.map(|limit| limit.every))
        };
        let often = Duration::from_secs(1);
        assert_eq!(resolve(None, None), (true, Some(INTERVAL)));
        assert_eq!(resolve(None, Some(often)), (true, Some(often)));
        assert_eq!(resolve(Some(Watch::Limit), None), (false, Some(INTERVAL)));
        assert_eq!(resolve(Some(Watch::Memory), None), (true, None));
        for watch in [Watch::Limit, Watch::Both] {
            let settings = Settings { watch: Some(watch), ..Settings::default() };
            assert_eq!(Config::resolve(settings, false), Err(Conflict::NoLimit));
        }
    }

    #[test]
    fn messages_go_where_they_were_asked_to() {
        let path = parse_path(b"/x").ok();
        for (syslog, log_file, on_terminal, stderr) in [
            (false, None, false, true),
            (true, None, true, false),
            (false, path.clone(), false, false),
            (false, path.clone(), true, true),
            (true, path, true, false),
        ] {
            let settings = Settings { syslog: Some(syslog), log_file, ..Settings::default() };
            assert_eq!(Config::resolve(settings, on_terminal).unwrap().outputs.stderr, stderr);
        }
    }
}
