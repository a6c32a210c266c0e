//! The table: one entry for each option, in the order of the help.

use super::config::Watch;
use super::option::Effect::{self, Pattern, Switch, Value};
use super::option::Kind::{Other, Path, Percents, Seconds, Sizes};
use super::option::{Form, Spec, Task};
use super::value::{cgroup, gib, niceness, shares, size};
use crate::units::{KiB, Percent};
use std::time::Duration;

/// `-p` as earlyoom and the original have it: first in line for the processor.
const HIGHEST: i32 = -20;
/// A check of the limit reads a file of every process; and in less time a slow board would not
/// even have started a hook. In milliseconds.
const TENTH: u32 = 100;
/// The kernel's own least, for what it watches itself (Documentation/accounting/psi.rst). In
/// milliseconds.
const LEAST_WINDOW: u32 = 500;

const SIZES: Form = Form(
    "SIZE[,KILL]",
    "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
);
const SECONDS: Form = Form("SECONDS", "seconds from 0 to 31536000, decimals allowed");
const TENTH_OR_MORE: Form = Form("SECONDS", "seconds from 0.1 to 31536000, decimals allowed");
const PROGRAM: Form = Form("SCRIPT", "the absolute path of a program");

pub fn options() -> impl Iterator<Item = &'static Spec> {
    let (mut sections, mut rest) = (SECTIONS.iter(), &[][..]);
    std::iter::from_fn(move || loop {
        if let [first, behind @ ..] = rest {
            rest = behind;
            return Some(first);
        }
        rest = sections.next()?.1;
    })
}

/// What is only understood, and not shown in the help.
pub const OLD: &str = "Old spellings";

/// What stands together in the help, and under which title.
pub static SECTIONS: [(&str, &[Spec]); 8] = [
    ("Thresholds", &THRESHOLDS),
    ("Limit for each process", &LIMIT),
    ("Choosing the victim", &CHOOSING),
    ("What happens to it", &ENDING),
    ("Hooks and notifications", &HOOKS),
    ("Messages", &MESSAGES),
    ("The guard itself", &GUARD),
    (OLD, &OLD_SPELLINGS),
];

static THRESHOLDS: [Spec; 6] = [
    Spec::new("-m --mem", "MEM_THRESHOLD")
        .effect(Value(
            Form("PERCENT[,KILL]", "a percentage above 0 and below 100, such as 10 or 10,5"),
            Percents(Percent::BELOW_HUNDRED, |config| &mut config.thresholds.mem),
        ))
        .default("10,5")
        .help(
            "SIGTERM when available memory is at or below PERCENT of user memory, SIGKILL at \
                 or below KILL; KILL is half of PERCENT unless given, 0 is never",
        ),
    Spec::new("-s --swap", "SWAP_THRESHOLD")
        .effect(Value(
            Form("PERCENT[,KILL]", "a percentage above 0 and up to 100, such as 10 or 10,5"),
            Percents(Percent::HUNDRED, |config| &mut config.thresholds.swap),
        ))
        .default("10,5")
        .help(
            "the same for free swap, of total swap; both memory and swap must be low; 100: \
                 whatever the swap",
        ),
    Spec::new("-M --mem-size", "MEM_SIZE")
        .effect(Value(SIZES, Sizes(|config| &mut config.thresholds.mem_size)))
        .help("absolute, in KiB or with suffix K, M, G, T; with -m the lower one counts"),
    Spec::new("-S --swap-size", "SWAP_SIZE")
        .effect(Value(SIZES, Sizes(|config| &mut config.thresholds.swap_size)))
        .help("absolute, for free swap; with -s the lower one counts"),
    Spec::new("--psi", "PSI")
        .effect(Value(
            Form("PERCENT[,KILL]", "a percentage from 0 to 100, such as 10 or 10,50"),
            Other(|config, text| shares(text).map(|levels| config.thresholds.psi = levels)),
        ))
        .default("10")
        .help(
            "stall rule: act, whatever the swap, when all tasks wait for memory for that share \
                 of the window while available memory is at or below the level of -m, or for twice \
                 that share up to twice that level (without swap four times the level); most hard \
                 work shows up to 9, thrashing 50 and more; 0: off",
        ),
    Spec::new("--psi-window", "PSI_WINDOW")
        .effect(Value(
            Form("SECONDS", "seconds from 0.5 to 31536000, decimals allowed"),
            Seconds(LEAST_WINDOW, |config, wait| config.thresholds.psi_window = wait),
        ))
        .default("5")
        .help("over how long the stall is measured"),
];

static LIMIT: [Spec; 4] = [
    Spec::new("--process-limit", "PROCESS_LIMIT")
        .effect(Value(
            Form(
                "SIZE",
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 2G",
            ),
            Other(|config, text| {
                size(text, KiB(1)).map(|size| config.watching.process_limit = Some(size))
            }),
        ))
        .help("end any process whose RSS exceeds SIZE, the largest first, whatever memory does"),
    Spec::new("--threshold", "THRESHOLD")
        .effect(Value(
            Form("GB", "an amount above 0 in GiB, such as 20 or 1.5"),
            Other(|config, text| gib(text).map(|size| config.watching.process_limit = Some(size))),
        ))
        .help("the same in GiB"),
    Spec::new("--interval", "INTERVAL")
        .effect(Value(
            TENTH_OR_MORE,
            Seconds(TENTH, |config, wait| config.watching.interval = Some(wait)),
        ))
        .default("60")
        .help("how often that limit is checked"),
    Spec::new("--watch", "WATCH")
        .effect(Value(
            Form("WHAT", "memory, limit or both"),
            Other(|config, text| Watch::parse(text).map(|what| config.watching.what = Some(what))),
        ))
        .default("both with a limit, else memory")
        .help("which of the two jobs to do: memory, limit or both"),
];

static CHOOSING: [Spec; 9] = [
    Spec::new("--prefer", "PREFER")
        .effect(Pattern(|config| &mut config.patterns.prefer))
        .help("raise a matching process by 300 points (3/10 of memory); may be repeated"),
    Spec::new("--avoid", "AVOID")
        .effect(Pattern(|config| &mut config.patterns.avoid))
        .help("lower it by 300 points; may be repeated"),
    Spec::new("--ignore", "IGNORE")
        .effect(Pattern(|config| &mut config.patterns.ignore))
        .help("never kill it; may be repeated"),
    Spec::new("--only", "ONLY")
        .effect(Pattern(|config| &mut config.patterns.only))
        .help("kill nothing else; may be repeated"),
    Spec::new("--sort-by-rss", "SORT_BY_RSS")
        .effect(Switch(|config, on| config.choice.sort_by_rss = on))
        .help("rank by resident memory instead of the kernel's oom_score"),
    Spec::new("--cgroup", "CGROUP")
        .effect(Value(
            Form("PATH", "the absolute path of a cgroup, such as /system.slice/web.service"),
            Other(|config, text| cgroup(text).map(|path| config.choice.cgroup = Some(path))),
        ))
        .help(
            "kill only within this cgroup, whose memory limit counts as the machine's memory; \
                 without it that of the container, if the guard is in one that has a limit",
        ),
    Spec::new("--ignore-root-user", "IGNORE_ROOT_USER")
        .effect(Switch(|config, on| config.choice.ignore_root_user = on))
        .help("never kill root's processes"),
    Spec::new("--ignore-positive-adj", "IGNORE_POSITIVE_ADJ")
        .effect(Switch(|config, on| config.choice.ignore_positive_adj = on))
        .help("count a positive oom_score_adj as 0"),
    Spec::new("--min-rss", "MIN_RSS")
        .effect(Value(
            Form("SIZE", "an amount in KiB or with suffix K, M, G or T, such as 25M, or 0"),
            Other(|config, text| {
                size(text, KiB::ZERO).map(|size| config.choice.min_rss = Some(size))
            }),
        ))
        .default("25M or 1% of memory, the lesser")
        .help("spare processes smaller than this while a larger candidate exists; 0: off"),
];

static ENDING: [Spec; 5] = [
    Spec::new("-g --kill-group", "KILL_GROUP")
        .effect(Switch(|config, on| config.kill_group = on))
        .help("signal the victim's whole process group"),
    Spec::new("--dryrun --dry-run", "DRY_RUN")
        .effect(Switch(|config, on| config.dryrun = on))
        .help("say what would be killed, kill nothing"),
    Spec::new("--grace", "GRACE")
        .effect(Value(SECONDS, Seconds(0, |config, wait| config.grace = unless_zero(wait))))
        .default("5")
        .help(
            "after SIGTERM, how long until SIGKILL if memory is still low, or at all by the \
                 limit; 0: never by time",
        ),
    Spec::new("--cooldown", "COOLDOWN")
        .effect(Value(SECONDS, Seconds(0, |config, wait| config.cooldown = wait)))
        .default("1")
        .help("least time between one victim's end and the next SIGTERM"),
    Spec::new("--kernel-oom", "KERNEL_OOM")
        .effect(Switch(|config, on| config.kernel_oom = on))
        .help("let the kernel choose and kill (/proc/sysrq-trigger; root, Linux 5.17+)"),
];

static HOOKS: [Spec; 4] = [
    Spec::new("-P --pre-kill --pre-kill-script", "PRE_KILL_SCRIPT")
        .effect(Value(PROGRAM, Path(|config| &mut config.hooks.pre_kill)))
        .help("run before the signal; SIGTERM waits for it at most 200 ms, SIGKILL not at all"),
    Spec::new("-N --post-kill --post-kill-script", "POST_KILL_SCRIPT")
        .effect(Value(PROGRAM, Path(|config| &mut config.hooks.post_kill)))
        .help("run after the end of the process"),
    Spec::new("--hook-timeout", "HOOK_TIMEOUT")
        .effect(Value(TENTH_OR_MORE, Seconds(TENTH, |config, wait| config.hooks.limit = wait)))
        .default("10")
        .help("a hook still running by then is killed"),
    Spec::new("-n --notify", "NOTIFY")
        .effect(Switch(|config, on| config.notify = on))
        .help("desktop notification over D-Bus to everyone who is logged in"),
];

static MESSAGES: [Spec; 5] = [
    Spec::new("-r --report", "REPORT_INTERVAL")
        .effect(Value(SECONDS, Seconds(0, |config, wait| config.report = unless_zero(wait))))
        .default("1 on a terminal, else 3600")
        .help("print the state of memory that often; 0: never"),
    Spec::new("-d --debug", "DEBUG")
        .effect(Switch(|config, on| config.debug = on))
        .help("print each look, each candidate and each decision"),
    Spec::new("--syslog", "SYSLOG")
        .effect(Switch(|config, on| config.outputs.syslog = on))
        .help("messages to /dev/log with priorities, instead of stderr"),
    Spec::new("--log-file", "LOG_FILE")
        .effect(Value(
            Form("PATH", "an absolute path, such as /var/log/oom_guard.log"),
            Path(|config| &mut config.outputs.log_file),
        ))
        .help(
            "append messages to a file with timestamps (UTC), instead of stderr unless that is \
                 a terminal; opened anew on SIGHUP",
        ),
    Spec::new("--stats-file", "STATS_FILE")
        .effect(Value(
            Form("PATH", "an absolute path, such as /var/lib/node_exporter/oom_guard.prom"),
            Path(|config| &mut config.outputs.stats_file),
        ))
        .help("keep a file in Prometheus text format, replaced every 15 seconds and at every kill"),
];

static GUARD: [Spec; 6] = [
    Spec::new("-p --priority", "PRIORITY")
        .effect(Switch(|config, on| config.priority = on.then_some(HIGHEST)))
        .help("niceness -20 and oom_score_adj -100 for the guard"),
    Spec::new("-c --config", "CONFIG")
        .effect(Effect::Config)
        .default("/etc/oom_guard.conf, if there is one")
        .help(
            "read settings from FILE; may be repeated, the later one counts; -FILE may be \
                 missing; none: no file",
        ),
    Spec::new("--check", "").effect(Effect::Task(Task::Check)).help(
        "check options, configuration, permissions and what the kernel offers; print the \
                 settings in force; exit",
    ),
    Spec::new("--explain", "").effect(Effect::Task(Task::Explain)).help(
        "print the candidates in order, with all that went into the ranking, and who would \
                 be killed now and why; with -d all of them",
    ),
    Spec::new("-v -V --version", "").effect(Effect::Task(Task::Version)).help("print the version"),
    Spec::new("-h --help", "").effect(Effect::Task(Task::Help)).help("print this help"),
];

static OLD_SPELLINGS: [Spec; 3] = [
    Spec::new("--set-priority", "SET_PRIORITY")
        .effect(Value(
            Form("N", "a niceness from -20 to 19"),
            Other(|config, text| niceness(text).map(|niceness| config.priority = Some(niceness))),
        ))
        .help("-p with another niceness"),
    Spec::new("-k", "")
        .help("-k is an old option of earlyoom and does nothing here; --kernel-oom does it"),
    Spec::new("-i", "").help(
        "-i is an old option of earlyoom and does nothing here; --ignore-positive-adj \
                 does it",
    ),
];

/// Some options say "never" by 0.
fn unless_zero(wait: Duration) -> Option<Duration> {
    Some(wait).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn shown() -> impl Iterator<Item = &'static Spec> {
        let shown = SECTIONS.iter().filter(|(title, _)| *title != OLD);
        shown.flat_map(|(_, options)| *options)
    }

    #[test]
    fn no_spelling_stands_twice() {
        let all: Vec<_> = options().flat_map(Spec::spellings).collect();
        assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
    }

    #[test]
    fn every_shown_option_has_help() {
        for spec in shown() {
            assert!(!spec.help.is_empty(), "{spec:?}");
        }
    }

    #[test]
    fn the_readme_tells_every_option_and_its_default() {
        let readme = include_str!("../../README.md");
        for spec in shown() {
            let long = spec.spellings().find(|spelling| spelling.starts_with("--")).unwrap();
            assert!(readme.contains(long), "{spec:?}");
        }
    }
}
