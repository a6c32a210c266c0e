//! The table: one entry for each option, in the order of the help.

use super::option::Effect::{self, Pattern, Switch, Value};
use super::option::{put, Form, Spec, Task};
use super::value::{
    cgroup, gib, niceness, path, percent_or_never, percents, shares, size, sizes, swap_size,
};
use super::value::{descriptor, seconds, seconds_from_or_never, seconds_or_never, watch};
use crate::units::{KiB, Percent};
use std::time::Duration;

/// `-p` as earlyoom and the original have it: first in line for the processor.
const HIGHEST: i32 = -20;
/// A check of the limit reads a file of every process; and in less time a slow board would not
/// even have started a hook.
const TENTH: Duration = Duration::from_millis(100);
/// The kernel's own least, for what it watches itself (Documentation/accounting/psi.rst).
const LEAST_WINDOW: Duration = Duration::from_millis(500);
/// So long a victim of SIGKILL is waited for while its memory comes back; one that is stuck and the
/// next one take less. In less time a reboot would come before what may help.
const LEAST_REBOOT: Duration = Duration::from_secs(10);

const SIZES: &Form = &Form(
    "SIZE[,KILL]",
    "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
);
const SECONDS: &Form = &Form("SECONDS", "seconds from 0 to 31536000, decimals allowed");
const TENTH_OR_MORE: &Form = &Form("SECONDS", "seconds from 0.1 to 31536000, decimals allowed");
const PROGRAM: &Form = &Form("SCRIPT", "the absolute path of a program");

/// Options under this title are only understood, and not shown in the help.
pub const OLD: &str = "Old spellings";

pub static OPTIONS: [Spec; 47] = [
    Spec::new("-m --mem", "MEM_THRESHOLD")
        .begins("Thresholds")
        .effect(Value(
            &Form("PERCENT[,KILL]", "a percentage above 0 and below 100, such as 10 or 10,5"),
            |config, text| put(&mut config.thresholds.mem, percents(text, Percent::BELOW_HUNDRED)),
        ))
        .default("10,5")
        .common()
        .help(
            "SIGTERM when available memory is at or below PERCENT, SIGKILL at or below KILL; of \
                 user memory, which is what killing can give back; KILL is half of PERCENT unless \
                 given, 0: never",
        ),
    Spec::new("-s --swap", "SWAP_THRESHOLD")
        .effect(Value(
            &Form("PERCENT[,KILL]", "a percentage above 0 and up to 100, such as 10 or 10,5"),
            |config, text| put(&mut config.thresholds.swap, percents(text, Percent::HUNDRED)),
        ))
        .default("10,5")
        .common()
        .help(
            "the same for free swap; of total swap; both memory and swap must be low; 100: \
                 whatever the swap, for SIGKILL too unless KILL is given",
        ),
    Spec::new("-M --mem-size", "MEM_SIZE")
        .effect(Value(SIZES, |config, text| put(&mut config.thresholds.mem_size, sizes(text))))
        .help("as -m, in KiB or with suffix K, M, G, T; with -m the lower one counts; never above \
                 half of user memory, or its part of the largest MemTotal seen if that is more"),
    Spec::new("-S --swap-size", "SWAP_SIZE")
        .effect(Value(SIZES, |config, text| put(&mut config.thresholds.swap_size, swap_size(text))))
        .help("as -s, in KiB or with suffix K, M, G, T; with -s the lower one counts; at or \
                 above all the swap there is: as -s 100"),
    Spec::new("--psi", "PSI")
        .effect(Value(
            &Form("PERCENT[,KILL]", "a percentage from 0 to 100, such as 40 or 40,80"),
            |config, text| put(&mut config.thresholds.psi, shares(text)),
        ))
        .default("40")
        .help(
            "stall rule: act, whatever the swap, when all tasks waited for memory, and some for a \
                 disk, for that share of the window while available memory is at or below twice the \
                 level of -m; without swap at most 6 seconds count, up to four times the level; \
                 0: off",
        ),
    Spec::new("--psi-window", "PSI_WINDOW")
        .effect(Value(
            &Form("SECONDS", "seconds from 0.5 to 31536000, decimals allowed"),
            |config, text| put(&mut config.thresholds.psi_window, seconds(text, LEAST_WINDOW)),
        ))
        .default("48")
        .help("over how long the stall is measured"),
    Spec::new("-w --warn", "WARN")
        .effect(Value(
            &Form("PERCENT", "a percentage from 0 to below 100, such as 20"),
            |config, text| put(&mut config.thresholds.warn, percent_or_never(text)),
        ))
        .common()
        .help(
            "say once that memory gets short, at or below PERCENT; of user memory, with free swap at \
                 or below the level of -s; again only after it was 2 points above; 0: off",
        ),
    Spec::new("--process-limit", "PROCESS_LIMIT")
        .begins("Limit for each process")
        .effect(Value(
            &Form(
                "SIZE",
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 2G",
            ),
            |config, text| put(&mut config.watching.process_limit, size(text, KiB(1))),
        ))
        .common()
        .help("end any process whose RSS exceeds SIZE; the largest first, whatever memory does"),
    Spec::new("--threshold", "THRESHOLD")
        .effect(Value(
            &Form("GB", "an amount above 0 in GiB, such as 20 or 1.5"),
            |config, text| put(&mut config.watching.process_limit, gib(text)),
        ))
        .help("as --process-limit, in GiB"),
    Spec::new("--interval", "INTERVAL")
        .effect(Value(TENTH_OR_MORE, |config, text| {
            put(&mut config.watching.interval, seconds(text, TENTH))
        }))
        .default("60")
        .help("how often the limit is checked"),
    Spec::new("--watch", "WATCH")
        .effect(Value(&Form("WHAT", "memory, limit or both"), |config, text| {
            put(&mut config.watching.what, watch(text))
        }))
        .default("both with a limit, else memory")
        .help("which of the two jobs to do: memory, limit or both"),
    Spec::new("--prefer", "PREFER")
        .begins("Choosing the victim")
        .effect(Pattern(|config| &mut config.patterns.prefer))
        .common()
        .help("kill a matching process sooner; 300 points more, 3/10 of memory; may be repeated"),
    Spec::new("--avoid", "AVOID")
        .effect(Pattern(|config| &mut config.patterns.avoid))
        .common()
        .help("kill a matching process later; 300 points less; may be repeated"),
    Spec::new("--ignore", "IGNORE")
        .effect(Pattern(|config| &mut config.patterns.ignore))
        .common()
        .help("never kill a matching process; may be repeated"),
    Spec::new("--only", "ONLY")
        .effect(Pattern(|config| &mut config.patterns.only))
        .help("kill nothing but matching processes; may be repeated"),
    Spec::new("--sort-by-rss", "SORT_BY_RSS")
        .effect(Switch(|config, on| config.choice.sort_by_rss = on))
        .help("rank by resident memory instead of the kernel's oom_score"),
    Spec::new("--cgroup", "CGROUP")
        .effect(Value(
            &Form("PATH", "the absolute path of a cgroup, such as /system.slice/web.service"),
            |config, text| put(&mut config.choice.cgroup, cgroup(text)),
        ))
        .help(
            "kill only within this cgroup; its memory limit counts as the machine's memory; \
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
            &Form("SIZE", "an amount in KiB or with suffix K, M, G or T, such as 25M, or 0"),
            |config, text| put(&mut config.choice.min_rss, size(text, KiB::ZERO)),
        ))
        .default("25M or 1% of memory, the lesser")
        .help("spare processes smaller than this while a larger candidate exists; 0: off"),
    Spec::new("-g --kill-group", "KILL_GROUP")
        .begins("What happens to it")
        .effect(Switch(|config, on| config.kill_group = on))
        .help("signal the victim's whole process group"),
    Spec::new("--dryrun --dry-run", "DRY_RUN")
        .effect(Switch(|config, on| config.dryrun = on))
        .common()
        .help("say what would be killed, kill nothing"),
    Spec::new("--grace", "GRACE")
        .effect(Value(SECONDS, |config, text| put(&mut config.grace, seconds_or_never(text))))
        .default("5")
        .help(
            "how long from SIGTERM to SIGKILL; if memory is still low, or at all by the limit; 0: \
                 never by time",
        ),
    Spec::new("--cooldown", "COOLDOWN")
        .effect(Value(SECONDS, |config, text| {
            put(&mut config.cooldown, seconds(text, Duration::ZERO))
        }))
        .default("1")
        .help("least time between one victim's end and the next SIGTERM"),
    Spec::new("--kernel-oom", "KERNEL_OOM")
        .effect(Switch(|config, on| config.kernel_oom = on))
        .help("let the kernel choose and kill; by /proc/sysrq-trigger, root, Linux 5.17+"),
    Spec::new("--reboot-after", "REBOOT_AFTER")
        .effect(Value(
            &Form("SECONDS", "seconds from 10 to 31536000, decimals allowed, or 0"),
            |config, text| {
                let wait = seconds_from_or_never(text, LEAST_REBOOT);
                put(&mut config.thresholds.reboot_after, wait)
            },
        ))
        .default("0")
        .help(
            "reboot if memory stays at the level of SIGKILL for so long; whatever was killed; after \
                 a sync of at most 5 seconds; 0: never (CAP_SYS_BOOT, not in a container)",
        ),
    Spec::new("-P --pre-kill --pre-kill-script", "PRE_KILL_SCRIPT")
        .begins("Hooks and notifications")
        .effect(Value(PROGRAM, |config, text| put(&mut config.hooks.pre_kill, path(text))))
        .help("run before the signal; SIGTERM waits for it at most 200 ms, SIGKILL not at all"),
    Spec::new("-N --post-kill --post-kill-script", "POST_KILL_SCRIPT")
        .effect(Value(PROGRAM, |config, text| put(&mut config.hooks.post_kill, path(text))))
        .common()
        .help("run after the end of the process"),
    Spec::new("--warn-hook", "WARN_HOOK")
        .effect(Value(PROGRAM, |config, text| put(&mut config.hooks.warn, path(text))))
        .help("run when --warn says that memory gets short"),
    Spec::new("--hook-timeout", "HOOK_TIMEOUT")
        .effect(Value(TENTH_OR_MORE, |config, text| {
            put(&mut config.hooks.limit, seconds(text, TENTH))
        }))
        .default("10")
        .help("a hook still running by then is killed"),
    Spec::new("-n --notify", "NOTIFY")
        .effect(Switch(|config, on| config.notify = on))
        .common()
        .help("desktop notification to everyone who is logged in; over D-Bus, also of --warn"),
    Spec::new("--low-memory-signal", "LOW_MEMORY_SIGNAL")
        .effect(Switch(|config, on| config.outputs.low_memory_signal = on))
        .help(
            "tell programs on the system bus when to drop caches; as low-memory-monitor does, at \
                 --warn (1.5 times the level of SIGTERM without it) and at the levels of SIGTERM and \
                 SIGKILL",
        ),
    Spec::new("-r --report", "REPORT_INTERVAL")
        .begins("Messages")
        .effect(Value(SECONDS, |config, text| put(&mut config.report, seconds_or_never(text))))
        .default("1 on a terminal, else 3600")
        .common()
        .help("print the state of memory that often; 0: never"),
    Spec::new("-d --debug", "DEBUG")
        .effect(Switch(|config, on| config.debug = on))
        .help("print each look, each candidate and each decision"),
    Spec::new("--syslog", "SYSLOG")
        .effect(Switch(|config, on| config.outputs.syslog = on))
        .help("messages to /dev/log with priorities, instead of stderr"),
    Spec::new("--log-file", "LOG_FILE")
        .effect(Value(
            &Form("PATH", "an absolute path, such as /var/log/oom_guard.log"),
            |config, text| put(&mut config.outputs.log_file, path(text)),
        ))
        .help(
            "append messages to a file with timestamps (UTC); instead of stderr unless that is \
                 a terminal; opened anew on SIGHUP",
        ),
    Spec::new("--stats-file", "STATS_FILE")
        .effect(Value(
            &Form("PATH", "an absolute path, such as /var/lib/node_exporter/oom_guard.prom"),
            |config, text| put(&mut config.outputs.stats_file, path(text)),
        ))
        .help(
            "keep a file in Prometheus text format; replaced every 15 seconds, at every kill and \
                 warning",
        ),
    Spec::new("-p --priority", "PRIORITY")
        .begins("The guard itself")
        .effect(Switch(|config, on| config.priority = on.then_some(HIGHEST)))
        .common()
        .help("niceness -20 and oom_score_adj -100 for the guard"),
    Spec::new("--ready-fd", "READY_FD")
        .effect(Value(
            &Form("N", "the number of a descriptor from 3 on that is open at the start"),
            |config, text| put(&mut config.outputs.ready_fd, descriptor(text)),
        ))
        .help("write a newline to descriptor N once memory is watched (s6)"),
    Spec::new("-c --config", "CONFIG")
        .effect(Effect::Config)
        .default("/etc/oom_guard.conf, if there is one")
        .common()
        .help(
            "read settings from FILE; may be repeated, the later one counts; -FILE may be \
                 missing; none: no file",
        ),
    Spec::new("--check", "").effect(Effect::Task(Task::Check)).common().help(
        "check the settings and print those in force; options, configuration, permissions and \
                 what the kernel offers",
    ),
    Spec::new("--explain", "").effect(Effect::Task(Task::Explain)).common().help(
        "print what would be killed now, and why; the candidates in order, with all that went \
                 into the ranking; with -d all of them",
    ),
    Spec::new("-v -V --version", "").effect(Effect::Task(Task::Version)).help("print the version"),
    Spec::new("-h --help", "")
        .effect(Effect::Task(Task::Help))
        .help("print the common options; --help all: every option"),
    Spec::new("--set-priority", "SET_PRIORITY")
        .begins(OLD)
        .effect(Value(&Form("N", "a niceness from -20 to 19"), |config, text| {
            put(&mut config.priority, niceness(text))
        }))
        .help("-p with another niceness"),
    Spec::new("-k", "")
        .help("-k is an old option of earlyoom and does nothing here; --kernel-oom does it"),
    Spec::new("-i", "").help(
        "-i is an old option of earlyoom and does nothing here; --ignore-positive-adj \
                 does it",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::config::{Config, Watching};
    use super::*;
    use std::collections::HashSet;

    fn shown() -> impl Iterator<Item = &'static Spec> {
        OPTIONS.iter().take_while(|spec| spec.section != OLD)
    }

    #[test]
    fn no_spelling_stands_twice() {
        let all: Vec<_> = OPTIONS.iter().flat_map(Spec::spellings).collect();
        assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
    }

    #[test]
    fn every_shown_option_has_help() {
        for spec in shown() {
            assert!(!spec.help.is_empty(), "{spec:?}");
        }
    }

    #[test]
    fn each_default_is_what_counts_if_nothing_is_said() {
        // With a limit, so that its interval counts; that is a value only if it was given.
        let comes_to = |mut config: Config| {
            config.watching.process_limit = Some(KiB(1));
            let config = config.resolve(false).unwrap();
            (config.limit(), Config { watching: Watching::default(), ..config })
        };
        let mut tried = 0;
        for spec in shown().filter(|spec| matches!(spec.effect, Value(..))) {
            let mut config = Config::default();
            if spec.set(&mut config, spec.default.as_bytes()).is_ok() {
                assert_eq!(comes_to(config), comes_to(Config::default()), "{spec:?}");
                tried += 1;
            }
        }
        // All but those in words.
        let words = ["WATCH", "MIN_RSS", "REPORT_INTERVAL"];
        let with_value =
            |spec: &&Spec| matches!(spec.effect, Value(..)) && !spec.default.is_empty();
        assert_eq!(tried, shown().filter(with_value).count() - words.len());
    }

    #[test]
    fn the_readme_names_every_option() {
        let readme = include_str!("../../README.md");
        for spec in shown() {
            let long = spec.spellings().find(|spelling| spelling.starts_with("--")).unwrap();
            assert!(readme.contains(long), "{spec:?}");
        }
    }
}
