//! `Config`: what the guard goes by. The defaults, what follows from several options together,
//! and what contradicts itself or this machine.
//!
//! Decides nothing about memory: it only says what the user asked for.

use super::find;
use super::value::Mistake;
use crate::bytes::{self, Escaped};
use crate::pattern::{Field, Pattern};
use crate::sys::{fd, machine};
use crate::units::{KiB, Levels, Path, Percent};
use std::fmt;
use std::time::Duration;

/// Takes a line about what is accepted and still worth a word.
pub type Tell<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

/// The defaults, and over them what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub thresholds: Thresholds,
    pub watching: Watching,
    pub patterns: Patterns,
    pub choice: Choice,
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
    /// The guard's niceness, if it is to be set at all (and `oom_score_adj` with it).
    pub priority: Option<i32>,
}

/// When memory is low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Once resolved, at least one of the two is there if memory is watched; the lower one counts.
    pub mem: Option<Levels<Percent>>,
    pub mem_size: Option<Levels<KiB>>,
    /// Likewise.
    pub swap: Option<Levels<Percent>>,
    pub swap_size: Option<SwapSize>,
    /// Of the window, all tasks waited for memory and some for a disk for so long. 0 is never.
    pub psi: Levels<Percent>,
    pub psi_window: Duration,
    /// Of user memory, as `mem`: from there on it is said that memory gets short.
    pub warn: Option<Percent>,
    /// So long at or below the levels of SIGKILL, and the machine is rebooted.
    pub reboot_after: Option<Duration>,
}

/// What `-S` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapSize {
    pub term: KiB,
    /// `None`: left out.
    pub kill: Option<KiB>,
}

impl SwapSize {
    /// KILL left out is half of SIZE, but if SIZE is at or above all the swap there is, "whatever
    /// the swap" holds for both.
    pub fn levels(self, swap_total: KiB) -> Levels<KiB> {
        let SwapSize { term, kill } = self;
        let missing = if term >= swap_total { term } else { term.half() };
        Levels { term, kill: kill.unwrap_or(missing) }
    }
}

/// Which of the two jobs is done, and how the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watching {
    pub what: Option<Watch>,
    pub process_limit: Option<KiB>,
    pub interval: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    Memory,
    Limit,
    Both,
}

/// What `--process-limit` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// RSS above this is too much.
    pub rss: KiB,
    /// How often that is checked.
    pub every: Duration,
}

/// The four lists of patterns.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Patterns {
    pub prefer: Vec<Pattern>,
    pub avoid: Vec<Pattern>,
    pub ignore: Vec<Pattern>,
    pub only: Vec<Pattern>,
}

/// What else says which process is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub sort_by_rss: bool,
    pub ignore_root_user: bool,
    pub ignore_positive_adj: bool,
    /// `None`: as much as the size of memory says.
    pub min_rss: Option<KiB>,
    /// Only its processes may be ended, and its limit counts. `None`: that of the container, if
    /// there is one and it has a limit.
    pub cgroup: Option<Path>,
}

/// Where messages and numbers go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    pub stderr: bool,
    pub syslog: bool,
    pub log_file: Option<Path>,
    pub stats_file: Option<Path>,
    /// A newline is written there once memory is watched.
    pub ready_fd: Option<i32>,
    /// Programs are told on the system bus how low memory is.
    pub low_memory_signal: bool,
}

/// Programs that run beside a kill, or a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    pub pre_kill: Option<Path>,
    pub post_kill: Option<Path>,
    /// Runs when memory gets short.
    pub warn: Option<Path>,
    /// One that runs longer is killed.
    pub limit: Duration,
}

/// The original's and earlyoom's.
const MEM: Levels<Percent> = Levels { term: Percent::whole(10), kill: Percent::whole(5) };
const SWAP: Levels<Percent> = MEM;
/// Thrashing lost 52 to 64% of 48 s on a machine of 256 MiB with swap on a slow card, nothing being
/// ended, and healthy work at most 31 (tests/rescue/README.md).
const PSI: Levels<Percent> = Levels { term: Percent::whole(40), kill: Percent::whole(0) };
/// The kernel writes a program that rests to swap while another one starts, and all wait: there for
/// 6 to 15 s, and no measure tells that from the first seconds of thrashing. So 19 s must be lost.
const PSI_WINDOW: Duration = Duration::from_secs(48);
/// What sshd, databases and browsers need to close their files; longer, and a machine
/// that is short of memory waits for a process that will not go.
const GRACE: Duration = Duration::from_secs(5);
/// Long enough for the kernel's counters to take in what a victim gave back (they are
/// folded every second, `vm.stat_interval`).
const COOLDOWN: Duration = Duration::from_secs(1);
/// A log wants to be short.
const REPORT_LOG: Duration = Duration::from_secs(3600);
/// A person watches a terminal.
pub const REPORT_TERMINAL: Duration = Duration::from_secs(1);
/// A mail or a log entry takes a second; one that hangs must not pile up.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// A machine may have shrunk, or is to grow; so much more than it has is a slip of the finger.
const SLIP: u64 = 16;
/// memory-monitor's.
const INTERVAL: Duration = Duration::from_secs(60);

impl Default for Config {
    /// Not inlined: 780 bytes smaller.
    #[inline(never)]
    fn default() -> Config {
        Config {
            thresholds: Thresholds { psi: PSI, psi_window: PSI_WINDOW, ..Thresholds::default() },
            watching: Watching::default(),
            patterns: Patterns::default(),
            choice: Choice::default(),
            kill_group: false,
            dryrun: false,
            grace: Some(GRACE),
            cooldown: COOLDOWN,
            kernel_oom: false,
            report: Some(REPORT_LOG),
            debug: false,
            outputs: Outputs::default(),
            hooks: Hooks { pre_kill: None, post_kill: None, warn: None, limit: HOOK_TIMEOUT },
            notify: false,
            priority: None,
        }
    }
}

impl Patterns {
    /// Only then `/etc/passwd` matters.
    pub fn ask_for_users(&self) -> bool {
        self.all().any(|pattern| pattern.field() == Field::User)
    }

    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Those of `--ignore` first. (By `flatten` it is 500 bytes larger.)
    pub fn all(&self) -> impl Iterator<Item = &Pattern> {
        let mut lists = self.lists().into_iter();
        let mut rest = [].iter();
        std::iter::from_fn(move || loop {
            match rest.next() {
                None => rest = lists.next()?.1.iter(),
                pattern => return pattern,
            }
        })
    }

    /// Each list behind the option that gives it.
    fn lists(&self) -> [(&'static str, &Vec<Pattern>); 4] {
        [
            ("--ignore", &self.ignore),
            ("--only", &self.only),
            ("--prefer", &self.prefer),
            ("--avoid", &self.avoid),
        ]
    }

    /// Tells of each pattern that is most likely a slip.
    fn doubts(&self, tell: Tell<'_>) {
        for (option, list) in &self.lists() {
            for pattern in *list {
                if let Some(doubt) = doubt(pattern) {
                    tell(format_args!("{option} \"{}\": {doubt}", Escaped(pattern.text())));
                }
            }
        }
    }
}

/// What is most likely wrong with a pattern that could be read.
pub fn doubt(pattern: &Pattern) -> Option<&'static str> {
    let text = pattern.searched();
    let (word, behind) = bytes::cut_at(text, b':');
    let is_field = |(known, _): &(&str, Field)| find::resembles(word, known.as_bytes());
    if matches!(text, [b'\'', .., b'\''] | [b'"', .., b'"']) {
        Some("the quotes are looked for too; write it without them")
    } else if !pattern.can_match() {
        Some("can never match: there is text before ^ or after $ (a plain one is \\^ or \\$)")
    } else if pattern.is_without_field() && !behind.is_empty() && Field::WORDS.iter().any(is_field)
    {
        Some(
            "begins with no field (name, cmd, exe, user or cgroup), so all of it is looked for in \
             the name",
        )
    } else {
        None
    }
}

impl Hooks {
    pub fn are_set(&self) -> bool {
        self.pre_kill.is_some() || self.post_kill.is_some() || self.warn.is_some()
    }
}

impl Config {
    /// Puts in what follows from several options together, and refuses what contradicts itself.
    pub fn resolve(mut self, on_terminal: bool) -> Result<Config, Mistake> {
        let watches_memory = self.watches_memory();
        let Config { thresholds, watching, outputs, .. } = &mut self;
        if watches_memory && thresholds.mem_size.is_none() {
            thresholds.mem.get_or_insert(MEM);
        }
        if watches_memory && thresholds.swap_size.is_none() {
            thresholds.swap.get_or_insert(SWAP);
        }
        outputs.stderr = !outputs.syslog && (on_terminal || outputs.log_file.is_none());
        let wants_limit = matches!(watching.what, Some(Watch::Limit | Watch::Both));
        if wants_limit && watching.process_limit.is_none() {
            return Err(String::from(
                "--watch: there is no limit to watch; give one by --process-limit or --threshold",
            ));
        }
        for (option, is_on) in
            &[("notify", self.notify), ("low-memory-signal", self.outputs.low_memory_signal)]
        {
            if *is_on && !cfg!(feature = "dbus-notify") {
                return Err(format!("--{option}: this build knows no D-Bus"));
            }
        }
        if let Some(option) = self.unknown_to_kernel().filter(|_| self.kernel_oom) {
            return Err(format!(
                "--kernel-oom: cannot go with --{option}: the kernel chooses by its own rules"
            ));
        }
        match self.what_forbids_reboot().filter(|_| self.thresholds.reboot_after.is_some()) {
            Some(what) => Err(format!("--reboot-after: cannot go with {what}")),
            None => Ok(self),
        }
    }

    /// What cannot go with `--reboot-after`.
    fn what_forbids_reboot(&self) -> Option<&'static str> {
        let Thresholds { mem, mem_size, swap, swap_size, .. } = &self.thresholds;
        Some(match () {
            () if !self.watches_memory() => "--watch limit: memory is not watched",
            () if self.choice.cgroup.is_some() => "--cgroup: it is the whole machine that reboots",
            () if mem.is_some_and(|at| at.kill == Percent::default()) => "a KILL of 0 in -m",
            () if mem_size.is_some_and(|at| at.kill == KiB::ZERO) => "a KILL of 0 in -M",
            () if swap.is_some_and(|at| at.kill == Percent::default()) => "a KILL of 0 in -s",
            () if swap_size.is_some_and(|at| at.kill == Some(KiB::ZERO)) => "a KILL of 0 in -S",
            () => return None,
        })
    }

    /// What cannot go with `--kernel-oom`, if it is asked for.
    fn unknown_to_kernel(&self) -> Option<&'static str> {
        let Config { patterns, choice, hooks, .. } = self;
        Some(match () {
            () if !patterns.prefer.is_empty() => "prefer",
            () if !patterns.avoid.is_empty() => "avoid",
            () if !patterns.ignore.is_empty() => "ignore",
            () if !patterns.only.is_empty() => "only",
            () if choice.sort_by_rss => "sort-by-rss",
            () if choice.cgroup.is_some() => "cgroup",
            () if choice.ignore_root_user => "ignore-root-user",
            () if choice.ignore_positive_adj => "ignore-positive-adj",
            () if choice.min_rss.is_some() => "min-rss",
            () if self.kill_group => "kill-group",
            () if self.limit().is_some() => "process-limit",
            () if hooks.pre_kill.is_some() => "pre-kill",
            () if hooks.post_kill.is_some() => "post-kill",
            () => return None,
        })
    }

    /// The watch over memory; without it the thresholds do not count.
    pub fn watches_memory(&self) -> bool {
        self.watching.what != Some(Watch::Limit)
    }

    /// The limit for each process.
    pub fn limit(&self) -> Option<Limit> {
        let Watching { what, process_limit, interval } = self.watching;
        let limit = process_limit.filter(|_| what != Some(Watch::Memory));
        limit.map(|rss| Limit { rss, every: interval.unwrap_or(INTERVAL) })
    }

    /// The stall rule is on.
    pub fn asks_for_stalls(&self) -> bool {
        let psi = self.thresholds.psi;
        self.watches_memory() && psi.term.max(psi.kill) > Percent::default()
    }

    /// The kernel is to choose and kill.
    pub fn needs_sysrq(&self) -> bool {
        self.kernel_oom && !self.dryrun
    }

    /// The machine is to be rebooted if nothing helps.
    pub fn may_reboot(&self) -> bool {
        self.thresholds.reboot_after.is_some() && !self.dryrun
    }

    /// A process smaller than this is spared while a larger one could go. 25 MiB, since no process
    /// below that ever froze a machine of today; 1% if the machine is so small that 25 MiB are a
    /// lot.
    pub fn min_rss(&self, mem_total: KiB) -> KiB {
        let usual = KiB::from_mib(25).min(Percent::whole(1).of(mem_total));
        self.choice.min_rss.unwrap_or(usual)
    }

    /// Holds what is asked for against this machine. Looks at the hooks, which may hang.
    pub fn check(&self, mem_total: KiB) -> Result<(), Vec<Mistake>> {
        let (asked, total) = (self.largest_size().0, mem_total.0);
        let mut mistakes = Vec::new();
        if asked > total.saturating_mul(SLIP) {
            mistakes.push(format!(
                "-M: {asked} KiB is more than {SLIP} times what this machine has (MemTotal {total} KiB)"
            ));
        }
        if self.may_reboot() && !machine::is_in_first_pid_namespace() {
            mistakes.push(String::from(
                "--reboot-after: not in a container: outside the initial PID namespace reboot(2) ends \
                 the container's init alone",
            ));
        }
        let Hooks { pre_kill, post_kill, warn, .. } = &self.hooks;
        for (option, path) in
            &[("--pre-kill", pre_kill), ("--post-kill", post_kill), ("--warn-hook", warn)]
        {
            let Some(path) = path else { continue };
            if let Err(error) = fd::check_program(path.terminated()) {
                let path = Escaped(path.as_bytes());
                mistakes.push(format!("{option}: {path}: not a program that can be run: {error}"));
            }
        }
        mistakes.is_empty().then_some(()).ok_or(mistakes)
    }

    /// The larger level of `-M`.
    fn largest_size(&self) -> KiB {
        self.thresholds.mem_size.map_or(KiB::ZERO, |size| size.term.max(size.kill))
    }

    /// Tells all that is accepted and still worth a word.
    pub fn warnings(&self, mem_total: KiB, swap_total: KiB, tell: Tell<'_>) {
        self.patterns.doubts(tell);
        match self.watches_memory() {
            true => self.doubt_thresholds(mem_total, swap_total, tell),
            false => self.name_idle(tell),
        }
        let total = mem_total.0;
        match (self.watching.process_limit, self.limit()) {
            (None, _) if self.watching.interval.is_some() => tell(format_args!(
                "--interval: does nothing without a limit (--process-limit or --threshold)"
            )),
            (Some(_), None) => {
                tell(format_args!(
                    "--process-limit: no effect, since --watch memory was asked for"
                ));
            }
            (Some(KiB(asked)), Some(_)) if asked >= total => tell(format_args!(
                "--process-limit: {asked} KiB can never be reached (MemTotal {total} KiB)"
            )),
            _ => {}
        }
    }

    fn doubt_thresholds(&self, mem_total: KiB, swap_total: KiB, tell: Tell<'_>) {
        let Thresholds { mem, mem_size, swap, swap_size, psi, warn, .. } = self.thresholds;
        for (option, is_above) in &[
            ("-m", mem.is_some_and(|at| at.kill > at.term)),
            ("-s", swap.is_some_and(|at| at.kill > at.term)),
            ("-M", mem_size.is_some_and(|at| at.kill > at.term)),
            ("-S", swap_size.is_some_and(|at| at.kill > Some(at.term))),
        ] {
            if *is_above {
                tell(format_args!(
                    "{option}: KILL is above the level of SIGTERM, so SIGKILL comes first"
                ));
            }
        }
        if warn.is_none() && self.hooks.warn.is_some() {
            tell(format_args!("--warn-hook: does nothing without --warn"));
        }
        if psi.kill > Percent::default() && psi.kill < psi.term {
            tell(format_args!("--psi: KILL is below the level of SIGTERM, so SIGKILL comes first"));
        }
        let (asked, total) = (self.largest_size().0, mem_total.0);
        if asked > total {
            tell(format_args!(
                "-M: {asked} KiB is more than this machine has (MemTotal {total} KiB), so a lower \
                 level counts"
            ));
        }
        let (asked, total) = (swap_size.map_or(0, |size| size.term.0), swap_total.0);
        // Beside `-s` that one is lower.
        if asked > total && swap.is_none() {
            tell(format_args!(
                "-S: {asked} KiB is more than the swap there is ({total} KiB), so swap counts as low"
            ));
        }
    }

    /// What was given for low memory, while only the limit is watched. A value that is the default of an
    /// option passes for one that was not given.
    fn name_idle(&self, tell: Tell<'_>) {
        let Thresholds { mem, mem_size, swap, swap_size, psi, psi_window, warn, .. } =
            self.thresholds;
        let (Patterns { prefer, avoid, .. }, choice) = (&self.patterns, &self.choice);
        let mut given = Vec::new();
        for (option, is_given) in &[
            ("-m", mem.is_some()),
            ("-s", swap.is_some()),
            ("-M", mem_size.is_some()),
            ("-S", swap_size.is_some()),
            ("--psi", psi != PSI),
            ("--psi-window", psi_window != PSI_WINDOW),
            ("--warn", warn.is_some()),
            ("--warn-hook", self.hooks.warn.is_some()),
            ("--low-memory-signal", self.outputs.low_memory_signal),
            // The largest goes first.
            ("--prefer", !prefer.is_empty()),
            ("--avoid", !avoid.is_empty()),
            ("--sort-by-rss", choice.sort_by_rss),
            ("--ignore-positive-adj", choice.ignore_positive_adj),
            ("--min-rss", choice.min_rss.is_some()),
            ("--cooldown", self.cooldown != COOLDOWN),
        ] {
            if *is_given {
                given.push(*option);
            }
        }
        if !given.is_empty() {
            let given = given.join(", ");
            tell(format_args!("{given}: no effect, since --watch limit was asked for"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::find::{self, by_key};
    use super::super::option::Form;
    use super::super::value::{path, percents};
    use super::*;

    fn sizes(term: u64, kill: u64) -> Option<Levels<KiB>> {
        Some(Levels { term: KiB(term), kill: KiB(kill) })
    }

    fn with(thresholds: Thresholds) -> Config {
        Config { thresholds, ..Config::default() }.resolve(false).unwrap()
    }

    #[test]
    fn silence_means_the_defaults() {
        let config = Config::default().resolve(false).unwrap();
        assert_eq!((config.thresholds.mem, config.thresholds.swap), (Some(MEM), Some(SWAP)));
        assert_eq!((config.grace, config.cooldown), (Some(GRACE), COOLDOWN));
        assert_eq!(config.report, Some(REPORT_LOG));
        assert_eq!(config.min_rss(KiB::from_mib(24_000)), KiB::from_mib(25));
        assert_eq!(config.min_rss(KiB::from_mib(256)), KiB(2621));
    }

    #[test]
    fn a_size_displaces_the_default_percentage_and_only_that() {
        let size = Thresholds { mem_size: sizes(100, 50), ..Thresholds::default() };
        let found = with(size).thresholds;
        assert_eq!((found.mem, found.swap), (None, Some(SWAP)));
        let mem = percents(b"3,1", Percent::HUNDRED).ok();
        assert_eq!(with(Thresholds { mem, ..size }).thresholds.mem, mem);
    }

    #[test]
    fn zero_turns_off_what_is_by_time() {
        let mut config = Config::default();
        for key in ["GRACE", "REPORT_INTERVAL"] {
            by_key(key.as_bytes()).unwrap().set(&mut config, b"0").unwrap();
        }
        assert_eq!((config.grace, config.report), (None, None));
    }

    #[test]
    fn what_the_kernel_does_not_know_cannot_go_with_its_choice() {
        let kernel = || Config { kernel_oom: true, ..Config::default() };
        assert!(kernel().resolve(false).is_ok());
        for option in [
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
        ] {
            let spec = find::option(&format!("--{option}")).unwrap();
            let value = match spec.form() {
                Form("", _) => "true",
                Form("SCRIPT" | "PATH", _) => "/x",
                Form("PATTERN", _) if !cfg!(feature = "patterns") => continue,
                _ => "1",
            };
            let mut config = kernel();
            spec.set(&mut config, value.as_bytes()).unwrap();
            let said = config.resolve(false).unwrap_err();
            assert!(
                said.starts_with(&format!("--kernel-oom: cannot go with --{option}: ")),
                "{said}"
            );
        }
    }

    #[test]
    fn sizes_are_held_against_the_machine() {
        let mem_size = sizes(2000, 1000);
        let swap_size = Some(SwapSize { term: KiB(500), kill: Some(KiB(600)) });
        let config = with(Thresholds { mem_size, swap_size, ..Thresholds::default() });
        assert_eq!(config.check(KiB(125)), Ok(()));
        let mut faulty = config.clone();
        faulty.hooks.warn = path(b"/missing").ok();
        let said = faulty.check(KiB(124)).unwrap_err();
        assert!(said[0].starts_with("-M: 2000 KiB is more than 16 times"), "{said:?}");
        assert!(said[1].starts_with("--warn-hook: /missing: "), "{said:?}");
        // Beside `-s`, which is lower, it is not said.
        let swap = Some(SWAP);
        let beside = with(Thresholds { mem_size, swap_size, swap, ..Thresholds::default() });
        beside.warnings(KiB(2000), KiB(400), &mut |line| {
            assert!(line.to_string().starts_with("-S: KILL is"), "{line}");
        });
        for (total, expected) in [
            (2000, &["-S: KILL is", "-S: 500 KiB is"][..]),
            (1999, &["-S: KILL is", "-M: 2000 KiB is more than this", "-S: 500 KiB is"]),
        ] {
            let mut said = Vec::new();
            config.warnings(KiB(total), KiB(400), &mut |line| said.push(line.to_string()));
            for (said, begin) in said.iter().zip(expected) {
                assert!(said.starts_with(begin), "{said}");
            }
            assert_eq!(said.len(), expected.len());
        }
    }

    #[test]
    fn a_limit_is_watched_beside_memory_unless_one_of_them_is_asked_for() {
        let process_limit = Some(KiB(1000));
        let resolve = |what, interval| {
            let watching = Watching { what, process_limit, interval };
            let config = Config { watching, ..Config::default() }.resolve(false).unwrap();
            (config.watches_memory(), config.limit().map(|limit| limit.every))
        };
        let often = Duration::from_secs(1);
        assert_eq!(resolve(None, None), (true, Some(INTERVAL)));
        assert_eq!(resolve(None, Some(often)), (true, Some(often)));
        assert_eq!(resolve(Some(Watch::Limit), None), (false, Some(INTERVAL)));
        assert_eq!(resolve(Some(Watch::Memory), None), (true, None));
        for watch in [Watch::Limit, Watch::Both] {
            let watching = Watching { what: Some(watch), ..Watching::default() };
            let config = Config { watching, ..Config::default() };
            let said = config.resolve(false).unwrap_err();
            assert!(said.starts_with("--watch: there is no limit to watch"), "{said}");
        }
    }

    #[test]
    fn what_is_given_for_low_memory_is_named_while_only_the_limit_is_watched() {
        let said = |given: &[(&str, &str)]| {
            let mut config = Config::default();
            for (key, text) in [&[("WATCH", "limit"), ("THRESHOLD", "1")], given].concat() {
                by_key(key.as_bytes()).unwrap().set(&mut config, text.as_bytes()).unwrap();
            }
            let mut said = Vec::new();
            let tell: Tell<'_> = &mut |line| said.push(line.to_string());
            config.resolve(false).unwrap().warnings(KiB(4 << 20), KiB::ZERO, tell);
            said
        };
        assert_eq!(said(&[("GRACE", "1"), ("IGNORE_ROOT_USER", "true")]), [""; 0]);
        for (key, text, option) in [
            ("MEM_THRESHOLD", "10", "-m"),
            ("SWAP_THRESHOLD", "5,10", "-s"),
            ("MEM_SIZE", "8G,9G", "-M"),
            ("SWAP_SIZE", "8G", "-S"),
            ("PSI", "20,10", "--psi"),
            ("PSI_WINDOW", "5", "--psi-window"),
            ("WARN", "5", "--warn"),
            ("WARN_HOOK", "/x", "--warn-hook"),
            ("SORT_BY_RSS", "true", "--sort-by-rss"),
            ("IGNORE_POSITIVE_ADJ", "true", "--ignore-positive-adj"),
            ("MIN_RSS", "1M", "--min-rss"),
            ("COOLDOWN", "9", "--cooldown"),
        ] {
            let wanted = format!("{option}: no effect, since --watch limit was asked for");
            assert_eq!(said(&[(key, text)]), [wanted]);
        }
        let both = said(&[("WARN", "20"), ("MEM_SIZE", "8G")]);
        assert_eq!(both, ["-M, --warn: no effect, since --watch limit was asked for"]);
    }

    #[test]
    fn what_needs_dbus_is_refused_by_a_build_without_it() {
        for key in ["NOTIFY", "LOW_MEMORY_SIGNAL"] {
            let mut config = Config::default();
            by_key(key.as_bytes()).unwrap().set(&mut config, b"true").unwrap();
            let said = config.resolve(false).map_or_else(|said| said, |_| String::new());
            let is_refused = said.ends_with(": this build knows no D-Bus");
            assert_eq!(is_refused, !cfg!(feature = "dbus-notify"), "{said}");
        }
    }

    #[test]
    fn messages_go_where_they_were_asked_to() {
        let path = path(b"/x").ok();
        for (syslog, log_file, on_terminal, stderr) in [
            (false, None, false, true),
            (true, None, true, false),
            (false, path.clone(), false, false),
            (false, path.clone(), true, true),
            (true, path, true, false),
        ] {
            let outputs = Outputs { syslog, log_file, ..Outputs::default() };
            let config = Config { outputs, ..Config::default() };
            assert_eq!(config.resolve(on_terminal).unwrap().outputs.stderr, stderr);
        }
    }
}
