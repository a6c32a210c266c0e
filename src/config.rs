//! The settings in force: what follows from several options together put in, and what
//! contradicts itself refused.
//!
//! Decides nothing about memory: it only says what the user asked for.

pub use crate::options::{Hooks, Limit, Outputs, Patterns, Settings as Config};

use crate::bytes::Escaped;
use crate::options::Watch;
use crate::pattern::{Field, Pattern};
use crate::sources::{Given, Sources, Tell};
use crate::sys::fd;
use crate::units::{KiB, Levels, Path, Percent};
use std::rc::Rc;
use std::time::Duration;

impl Patterns {
    /// Only then `/etc/passwd` matters.
    pub fn ask_for_users(&self) -> bool {
        self.all().any(|pattern| pattern.field() == Field::User)
    }

    pub fn is_empty(&self) -> bool {
        self.nth(0).is_none()
    }

    pub fn all(&self) -> impl Iterator<Item = &Pattern> {
        (0..).map_while(|place| self.nth(place))
    }

    /// One of all, those of `--ignore` first.
    fn nth(&self, mut place: usize) -> Option<&Pattern> {
        for list in &[&self.ignore, &self.only, &self.prefer, &self.avoid] {
            if place < list.len() {
                return list.get(place);
            }
            place -= list.len();
        }
        None
    }
}

impl Hooks {
    pub fn are_set(&self) -> bool {
        self.pre_kill.is_some() || self.post_kill.is_some()
    }
}

/// The original's and earlyoom's.
const MEM: Levels<Percent> = Levels { term: Percent::whole(10), kill: Percent::whole(5) };
const SWAP: Levels<Percent> = MEM;
/// A person watches a terminal.
const REPORT_TERMINAL: Duration = Duration::from_secs(1);
/// memory-monitor's.
const INTERVAL: Duration = Duration::from_secs(60);

/// What cannot go with `--kernel-oom`.
const UNKNOWN_TO_KERNEL: [&str; 13] = [
    "prefer",
    "avoid",
    "ignore",
    "only",
    "sort-by-rss",
    "cgroup",
    "ignore-root-user",
    "ignore-positive-adj",
    "min-rss",
    "kill-group",
    "process-limit",
    "pre-kill",
    "post-kill",
];

impl Config {
    /// Puts what all sources say over the defaults, with the text of each file; where each of
    /// them stands comes back. What is wrong is told.
    pub fn settle(
        &mut self,
        sources: &Sources,
        texts: &[Vec<u8>],
        on_terminal: bool,
        tell: Tell<'_>,
    ) -> Option<Vec<Rc<Given>>> {
        if on_terminal {
            self.report = Some(REPORT_TERMINAL);
        }
        let in_force = sources.merge(texts, self, tell)?;
        self.complete(on_terminal, tell).then_some(in_force)
    }

    /// Puts in what follows from several options together; false if they contradict each other.
    fn complete(&mut self, on_terminal: bool, tell: Tell<'_>) -> bool {
        if self.mem_size.is_none() {
            self.mem.get_or_insert(MEM);
        }
        if self.swap_size.is_none() {
            self.swap.get_or_insert(SWAP);
        }
        self.memory = self.watch != Some(Watch::Limit);
        if self.watch != Some(Watch::Memory) {
            let every = self.interval.unwrap_or(INTERVAL);
            self.limit = self.process_limit.map(|rss| Limit { rss, every });
        }
        let outputs = &mut self.outputs;
        outputs.stderr = !outputs.syslog && (on_terminal || outputs.log_file.is_none());
        if self.limit.is_none() && matches!(self.watch, Some(Watch::Limit | Watch::Both)) {
            tell(format_args!(
                "--watch: there is no limit to watch; give one by --process-limit or --threshold"
            ));
            return false;
        }
        if self.notify && !cfg!(feature = "dbus-notify") {
            tell(format_args!("--notify: this build knows no D-Bus"));
            return false;
        }
        if let Some(option) = self.unknown_to_kernel().filter(|_| self.kernel_oom) {
            tell(format_args!(
                "--kernel-oom: cannot go with --{option}: the kernel chooses by its own rules"
            ));
            return false;
        }
        true
    }

    fn unknown_to_kernel(&self) -> Option<&'static str> {
        let patterns = &self.patterns;
        let asked = [
            !patterns.prefer.is_empty(),
            !patterns.avoid.is_empty(),
            !patterns.ignore.is_empty(),
            !patterns.only.is_empty(),
            self.sort_by_rss,
            self.cgroup.is_some(),
            self.ignore_root_user,
            self.ignore_positive_adj,
            self.min_rss.is_some(),
            self.kill_group,
            self.limit.is_some(),
            self.hooks.pre_kill.is_some(),
            self.hooks.post_kill.is_some(),
        ];
        asked.iter().position(|asked| *asked).map(|place| UNKNOWN_TO_KERNEL[place])
    }

    /// The stall rule is on.
    pub fn asks_for_stalls(&self) -> bool {
        self.memory && self.psi.term.max(self.psi.kill) > Percent::default()
    }

    /// The kernel is to choose and kill.
    pub fn needs_sysrq(&self) -> bool {
        self.kernel_oom && !self.dryrun
    }

    /// Holds absolute levels against the memory of this machine.
    pub fn check_sizes(&self, mem_total: KiB, tell: Tell<'_>) -> bool {
        let asked = self.mem_size.map_or(KiB::ZERO, |size| size.term.max(size.kill)).0;
        let total = mem_total.0;
        if asked > total {
            tell(format_args!(
                "-M: {asked} KiB is more than this machine has (MemTotal {total} KiB)"
            ));
        }
        asked <= total
    }

    /// Looks whether the hooks can be run.
    pub fn check_hooks(&self, tell: Tell<'_>) -> bool {
        // Both are told.
        is_program("--pre-kill", &self.hooks.pre_kill, tell)
            & is_program("--post-kill", &self.hooks.post_kill, tell)
    }

    /// Tells all that is accepted and still worth a word.
    pub fn warnings(&self, mem_total: KiB, swap_total: KiB, tell: Tell<'_>) {
        let share = |share: Option<Levels<Percent>>| share.is_some_and(|at| at.kill > at.term);
        let size = |size: Option<Levels<KiB>>| size.is_some_and(|at| at.kill > at.term);
        warn_above("-m", share(self.mem), tell);
        warn_above("-s", share(self.swap), tell);
        warn_above("-M", size(self.mem_size), tell);
        warn_above("-S", size(self.swap_size), tell);
        if self.psi.kill > Percent::default() && self.psi.kill < self.psi.term {
            tell(format_args!("--psi: KILL is below the level of SIGTERM, so SIGKILL comes first"));
        }
        let (asked, total) = (self.swap_size.map_or(0, |size| size.term.0), swap_total.0);
        if asked > total {
            tell(format_args!(
                "-S: {asked} KiB is more than the swap there is ({total} KiB), so swap counts as low"
            ));
        }
        let (asked, total) = (self.process_limit.map_or(0, |limit| limit.0), mem_total.0);
        if self.process_limit.is_none() && self.interval.is_some() {
            tell(format_args!(
                "--interval: does nothing without a limit (--process-limit or --threshold)"
            ));
        } else if self.process_limit.is_some() && self.limit.is_none() {
            tell(format_args!("--process-limit: does nothing, since --watch memory was asked for"));
        } else if self.limit.is_some() && asked >= total {
            tell(format_args!(
                "--process-limit: {asked} KiB can never be reached (MemTotal {total} KiB)"
            ));
        }
    }

    /// A process smaller than this is spared while a larger one could go.
    pub fn min_rss(&self, mem_total: KiB) -> KiB {
        self.min_rss.unwrap_or_else(|| default_min_rss(mem_total))
    }
}

fn warn_above(option: &str, is_above: bool, tell: Tell<'_>) {
    if is_above {
        tell(format_args!("{option}: KILL is above the level of SIGTERM, so SIGKILL comes first"));
    }
}

fn is_program(option: &str, path: &Option<Path>, tell: Tell<'_>) -> bool {
    let Some(path) = path else { return true };
    let Err(error) = fd::check_program(path.terminated()) else { return true };
    let path = Escaped(path.as_bytes());
    tell(format_args!("{option}: {path}: not a program that can be run: {error}"));
    false
}

#[cfg(test)]
impl Config {
    /// `settings` in force, or why they are not.
    pub fn resolve(mut settings: Config, on_terminal: bool) -> Result<Config, String> {
        let mut told = String::new();
        let is_good = settings.complete(on_terminal, &mut |line| told += &line.to_string());
        is_good.then_some(settings).ok_or(told)
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
    use crate::options::{by_key, by_spelling, Settings, COOLDOWN, GRACE, REPORT_LOG};
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
        let mut config = Config::default();
        for key in ["GRACE", "REPORT_INTERVAL"] {
            by_key(key.as_bytes()).unwrap().apply(&mut config, Some(b"0")).unwrap();
        }
        assert_eq!((config.grace, config.report), (None, None));
    }

    #[test]
    fn what_the_kernel_does_not_know_cannot_go_with_its_choice() {
        let kernel = || Settings { kernel_oom: true, ..Settings::default() };
        assert!(Config::resolve(kernel(), false).is_ok());
        for option in UNKNOWN_TO_KERNEL {
            let spec = by_spelling(&format!("--{option}")).unwrap();
            let value = match spec.value_name() {
                None => None,
                Some("SCRIPT" | "PATH") => Some(&b"/x"[..]),
                Some("PATTERN") if !cfg!(feature = "patterns") => continue,
                Some(_) => Some(&b"1"[..]),
            };
            let mut settings = kernel();
            spec.apply(&mut settings, value).unwrap();
            let said = Config::resolve(settings, false).unwrap_err();
            assert!(
                said.starts_with(&format!("--kernel-oom: cannot go with --{option}: ")),
                "{said}"
            );
        }
    }

    #[test]
    fn sizes_are_held_against_the_machine() {
        let settings = Settings {
            mem_size: sizes(2000, 1000),
            swap_size: sizes(500, 600),
            ..Settings::default()
        };
        let config = Config::resolve(settings, false).unwrap();
        let mut said = Vec::new();
        let tell: Tell<'_> = &mut |line| said.push(line.to_string());
        assert!(config.check_sizes(KiB(2000), tell));
        assert!(!config.check_sizes(KiB(1999), tell));
        config.warnings(KiB(2000), KiB(400), tell);
        for (said, begin) in
            said.iter().zip(["-M: 2000 KiB is more", "-S: KILL is", "-S: 500 KiB is"])
        {
            assert!(said.starts_with(begin), "{said}");
        }
        assert_eq!(said.len(), 3);
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
            let said = Config::resolve(settings, false).unwrap_err();
            assert!(said.starts_with("--watch: there is no limit to watch"), "{said}");
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
            let outputs = Outputs { syslog, log_file, ..Outputs::default() };
            let settings = Settings { outputs, ..Settings::default() };
            assert_eq!(Config::resolve(settings, on_terminal).unwrap().outputs.stderr, stderr);
        }
    }
}
