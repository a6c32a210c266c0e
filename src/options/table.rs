//! The table: one entry for each option.

use super::{Effect, Kind, Section, Spec, Task};
use crate::units::{KiB, Percent};
use std::time::Duration;

/// `-p` as earlyoom and the original have it: first in line for the processor.
const HIGHEST: i32 = -20;
/// A check of the limit reads a file of every process; and in less time a slow board would not
/// even have started a hook.
const TENTH: Duration = Duration::from_millis(100);
/// The kernel's own least, for what it watches itself (Documentation/accounting/psi.rst).
const LEAST_WINDOW: Duration = Duration::from_millis(500);

pub static TABLE: &[Spec] = &[
    Spec {
        spelled: "-m --mem",
        key: "MEM_THRESHOLD",
        effect: Effect::Value {
            name: "PERCENT[,KILL]",
            expects: "a percentage above 0 and below 100, such as 10 or 10,5",
            kind: Kind::Percents(Percent::BELOW_HUNDRED, |settings, levels| {
                settings.mem = Some(levels)
            }),
        },
        section: Some(Section::Thresholds),
        default: "10,5",
        help: "SIGTERM when available memory is at or below PERCENT of user memory, SIGKILL at or \
               below KILL; KILL is half of PERCENT unless given, 0 is never",
    },
    Spec {
        spelled: "-s --swap",
        key: "SWAP_THRESHOLD",
        effect: Effect::Value {
            name: "PERCENT[,KILL]",
            expects: "a percentage above 0 and up to 100, such as 10 or 10,5",
            kind: Kind::Percents(Percent::HUNDRED, |settings, levels| settings.swap = Some(levels)),
        },
        section: Some(Section::Thresholds),
        default: "10,5",
        help: "the same for free swap, of total swap; both memory and swap must be low; \
               100: whatever the swap",
    },
    Spec {
        spelled: "-M --mem-size",
        key: "MEM_SIZE",
        effect: Effect::Value {
            name: "SIZE[,KILL]",
            expects:
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
            kind: Kind::Sizes(|settings, levels| settings.mem_size = Some(levels)),
        },
        section: Some(Section::Thresholds),
        default: "",
        help: "absolute, in KiB or with suffix K, M, G, T; with -m the lower one counts",
    },
    Spec {
        spelled: "-S --swap-size",
        key: "SWAP_SIZE",
        effect: Effect::Value {
            name: "SIZE[,KILL]",
            expects:
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
            kind: Kind::Sizes(|settings, levels| settings.swap_size = Some(levels)),
        },
        section: Some(Section::Thresholds),
        default: "",
        help: "absolute, for free swap; with -s the lower one counts",
    },
    Spec {
        spelled: "--psi",
        key: "PSI",
        effect: Effect::Value {
            name: "PERCENT[,KILL]",
            expects: "a percentage from 0 to 100, such as 10 or 10,50",
            kind: Kind::Shares(|settings, levels| settings.psi = levels),
        },
        section: Some(Section::Thresholds),
        default: "10",
        help:
            "stall rule: act, whatever the swap, when all tasks wait for memory for that share of \
               the window while available memory is at or below the level of -m, or for twice that \
               share up to twice that level (without swap four times the level); most hard work \
               shows up to 9, thrashing 50 and more; 0: off",
    },
    Spec {
        spelled: "--psi-window",
        key: "PSI_WINDOW",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0.5 to 31536000, decimals allowed",
            kind: Kind::Seconds(LEAST_WINDOW, |settings, window| settings.psi_window = window),
        },
        section: Some(Section::Thresholds),
        default: "5",
        help: "over how long the stall is measured",
    },
    Spec {
        spelled: "--process-limit",
        key: "PROCESS_LIMIT",
        effect: Effect::Value {
            name: "SIZE",
            expects: "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 2G",
            kind: Kind::Size(KiB(1), |settings, size| settings.process_limit = Some(size)),
        },
        section: Some(Section::Limit),
        default: "",
        help: "end any process whose RSS exceeds SIZE, the largest first, whatever memory does",
    },
    Spec {
        spelled: "--threshold",
        key: "THRESHOLD",
        effect: Effect::Value {
            name: "GB",
            expects: "an amount above 0 in GiB, such as 20 or 1.5",
            kind: Kind::Gib(|settings, size| settings.process_limit = Some(size)),
        },
        section: Some(Section::Limit),
        default: "",
        help: "the same in GiB",
    },
    Spec {
        spelled: "--interval",
        key: "INTERVAL",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0.1 to 31536000, decimals allowed",
            kind: Kind::Seconds(TENTH, |settings, every| settings.interval = Some(every)),
        },
        section: Some(Section::Limit),
        default: "60",
        help: "how often that limit is checked",
    },
    Spec {
        spelled: "--watch",
        key: "WATCH",
        effect: Effect::Value { name: "WHAT", expects: "memory, limit or both", kind: Kind::Watch },
        section: Some(Section::Limit),
        default: "both with a limit, else memory",
        help: "which of the two jobs to do: memory, limit or both",
    },
    Spec {
        spelled: "--prefer",
        key: "PREFER",
        effect: Effect::Pattern(|settings| &mut settings.patterns.prefer),
        section: Some(Section::Choosing),
        default: "",
        help: "raise a matching process by 300 points (3/10 of memory); may be repeated",
    },
    Spec {
        spelled: "--avoid",
        key: "AVOID",
        effect: Effect::Pattern(|settings| &mut settings.patterns.avoid),
        section: Some(Section::Choosing),
        default: "",
        help: "lower it by 300 points; may be repeated",
    },
    Spec {
        spelled: "--ignore",
        key: "IGNORE",
        effect: Effect::Pattern(|settings| &mut settings.patterns.ignore),
        section: Some(Section::Choosing),
        default: "",
        help: "never kill it; may be repeated",
    },
    Spec {
        spelled: "--only",
        key: "ONLY",
        effect: Effect::Pattern(|settings| &mut settings.patterns.only),
        section: Some(Section::Choosing),
        default: "",
        help: "kill nothing else; may be repeated",
    },
    Spec {
        spelled: "--sort-by-rss",
        key: "SORT_BY_RSS",
        effect: Effect::Switch(|settings, on| settings.sort_by_rss = on),
        section: Some(Section::Choosing),
        default: "",
        help: "rank by resident memory instead of the kernel's oom_score",
    },
    Spec {
        spelled: "--cgroup",
        key: "CGROUP",
        effect: Effect::Value {
            name: "PATH",
            expects: "the absolute path of a cgroup, such as /system.slice/web.service",
            kind: Kind::Cgroup,
        },
        section: Some(Section::Choosing),
        default: "",
        help: "kill only within this cgroup, whose memory limit counts as the machine's memory; \
               without it that of the container, if the guard is in one that has a limit",
    },
    Spec {
        spelled: "--ignore-root-user",
        key: "IGNORE_ROOT_USER",
        effect: Effect::Switch(|settings, on| settings.ignore_root_user = on),
        section: Some(Section::Choosing),
        default: "",
        help: "never kill root's processes",
    },
    Spec {
        spelled: "--ignore-positive-adj",
        key: "IGNORE_POSITIVE_ADJ",
        effect: Effect::Switch(|settings, on| settings.ignore_positive_adj = on),
        section: Some(Section::Choosing),
        default: "",
        help: "count a positive oom_score_adj as 0",
    },
    Spec {
        spelled: "--min-rss",
        key: "MIN_RSS",
        effect: Effect::Value {
            name: "SIZE",
            expects: "an amount in KiB or with suffix K, M, G or T, such as 25M, or 0",
            kind: Kind::Size(KiB::ZERO, |settings, size| settings.min_rss = Some(size)),
        },
        section: Some(Section::Choosing),
        default: "25M or 1% of memory, the lesser",
        help: "spare processes smaller than this while a larger candidate exists; 0: off",
    },
    Spec {
        spelled: "-g --kill-group",
        key: "KILL_GROUP",
        effect: Effect::Switch(|settings, on| settings.kill_group = on),
        section: Some(Section::Ending),
        default: "",
        help: "signal the victim's whole process group",
    },
    Spec {
        spelled: "--dryrun --dry-run",
        key: "DRY_RUN",
        effect: Effect::Switch(|settings, on| settings.dryrun = on),
        section: Some(Section::Ending),
        default: "",
        help: "say what would be killed, kill nothing",
    },
    Spec {
        spelled: "--grace",
        key: "GRACE",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            kind: Kind::Seconds(Duration::ZERO, |settings, wait| {
                settings.grace = unless_zero(wait)
            }),
        },
        section: Some(Section::Ending),
        default: "5",
        help: "after SIGTERM, how long until SIGKILL if memory is still low, or at all by the \
               limit; 0: never by time",
    },
    Spec {
        spelled: "--cooldown",
        key: "COOLDOWN",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            kind: Kind::Seconds(Duration::ZERO, |settings, wait| settings.cooldown = wait),
        },
        section: Some(Section::Ending),
        default: "1",
        help: "least time between one victim's end and the next SIGTERM",
    },
    Spec {
        spelled: "--kernel-oom",
        key: "KERNEL_OOM",
        effect: Effect::Switch(|settings, on| settings.kernel_oom = on),
        section: Some(Section::Ending),
        default: "",
        help: "let the kernel choose and kill (/proc/sysrq-trigger; root, Linux 5.17+)",
    },
    Spec {
        spelled: "-P --pre-kill --pre-kill-script",
        key: "PRE_KILL_SCRIPT",
        effect: Effect::Value {
            name: "SCRIPT",
            expects: "the absolute path of a program",
            kind: Kind::Path(|settings| &mut settings.hooks.pre_kill),
        },
        section: Some(Section::Hooks),
        default: "",
        help: "run before the signal; SIGTERM waits for it at most 200 ms, SIGKILL not at all",
    },
    Spec {
        spelled: "-N --post-kill --post-kill-script",
        key: "POST_KILL_SCRIPT",
        effect: Effect::Value {
            name: "SCRIPT",
            expects: "the absolute path of a program",
            kind: Kind::Path(|settings| &mut settings.hooks.post_kill),
        },
        section: Some(Section::Hooks),
        default: "",
        help: "run after the end of the process",
    },
    Spec {
        spelled: "--hook-timeout",
        key: "HOOK_TIMEOUT",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0.1 to 31536000, decimals allowed",
            kind: Kind::Seconds(TENTH, |settings, limit| settings.hooks.limit = limit),
        },
        section: Some(Section::Hooks),
        default: "10",
        help: "a hook still running by then is killed",
    },
    Spec {
        spelled: "-n --notify",
        key: "NOTIFY",
        effect: Effect::Switch(|settings, on| settings.notify = on),
        section: Some(Section::Hooks),
        default: "",
        help: "desktop notification over D-Bus to everyone who is logged in",
    },
    Spec {
        spelled: "-r --report",
        key: "REPORT_INTERVAL",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            kind: Kind::Seconds(Duration::ZERO, |settings, every| {
                settings.report = unless_zero(every)
            }),
        },
        section: Some(Section::Messages),
        default: "1 on a terminal, else 3600",
        help: "print the state of memory that often; 0: never",
    },
    Spec {
        spelled: "-d --debug",
        key: "DEBUG",
        effect: Effect::Switch(|settings, on| settings.debug = on),
        section: Some(Section::Messages),
        default: "",
        help: "print each look, each candidate and each decision",
    },
    Spec {
        spelled: "--syslog",
        key: "SYSLOG",
        effect: Effect::Switch(|settings, on| settings.outputs.syslog = on),
        section: Some(Section::Messages),
        default: "",
        help: "messages to /dev/log with priorities, instead of stderr",
    },
    Spec {
        spelled: "--log-file",
        key: "LOG_FILE",
        effect: Effect::Value {
            name: "PATH",
            expects: "an absolute path, such as /var/log/oom_guard.log",
            kind: Kind::Path(|settings| &mut settings.outputs.log_file),
        },
        section: Some(Section::Messages),
        default: "",
        help:
            "append messages to a file with timestamps (UTC), instead of stderr unless that is a \
               terminal; opened anew on SIGHUP",
    },
    Spec {
        spelled: "--stats-file",
        key: "STATS_FILE",
        effect: Effect::Value {
            name: "PATH",
            expects: "an absolute path, such as /var/lib/node_exporter/oom_guard.prom",
            kind: Kind::Path(|settings| &mut settings.outputs.stats_file),
        },
        section: Some(Section::Messages),
        default: "",
        help: "keep a file in Prometheus text format, replaced every 15 seconds and at every kill",
    },
    Spec {
        spelled: "-p --priority",
        key: "PRIORITY",
        effect: Effect::Switch(|settings, on| settings.priority = on.then_some(HIGHEST)),
        section: Some(Section::Guard),
        default: "",
        help: "niceness -20 and oom_score_adj -100 for the guard",
    },
    Spec {
        spelled: "--set-priority",
        key: "SET_PRIORITY",
        effect: Effect::Value {
            name: "N",
            expects: "a niceness from -20 to 19",
            kind: Kind::Niceness,
        },
        section: None,
        default: "",
        help: "-p with another niceness",
    },
    Spec {
        spelled: "-c --config",
        key: "CONFIG",
        effect: Effect::Config,
        section: Some(Section::Guard),
        default: "/etc/oom_guard.conf, if there is one",
        help:
            "read settings from FILE; may be repeated, the later one counts; -FILE may be missing; \
               none: no file",
    },
    Spec {
        spelled: "--check",
        key: "",
        effect: Effect::Task(Task::Check),
        section: Some(Section::Guard),
        default: "",
        help: "check options, configuration, permissions and what the kernel offers; print the \
               settings in force; exit",
    },
    Spec {
        spelled: "--explain",
        key: "",
        effect: Effect::Task(Task::Explain),
        section: Some(Section::Guard),
        default: "",
        help: "print the candidates in order, with all that went into the ranking, and who would \
               be killed now and why; with -d all of them",
    },
    Spec {
        spelled: "-v -V --version",
        key: "",
        effect: Effect::Task(Task::Version),
        section: Some(Section::Guard),
        default: "",
        help: "print the version",
    },
    Spec {
        spelled: "-h --help",
        key: "",
        effect: Effect::Task(Task::Help),
        section: Some(Section::Guard),
        default: "",
        help: "print this help",
    },
    Spec {
        spelled: "-k",
        key: "",
        effect: Effect::Obsolete(
            "-k is an old option of earlyoom and does nothing here; --kernel-oom does it",
        ),
        section: None,
        default: "",
        help: "",
    },
    Spec {
        spelled: "-i",
        key: "",
        effect: Effect::Obsolete(
            "-i is an old option of earlyoom and does nothing here; --ignore-positive-adj does it",
        ),
        section: None,
        default: "",
        help: "",
    },
];

/// Some options say "never" by 0.
fn unless_zero(wait: Duration) -> Option<Duration> {
    Some(wait).filter(|wait| !wait.is_zero())
}
