//! The table: one entry for each option.

use super::{Effect, Section, Spec, Task, Watch};
use crate::units::{self, Fault, KiB, Levels, Percent};
use std::time::Duration;

/// `-p` as earlyoom and the original have it: first in line for the processor.
const HIGHEST: i32 = -20;

pub static TABLE: &[Spec] = &[
    Spec {
        longs: &["mem"],
        shorts: &['m'],
        key: "MEM_THRESHOLD",
        effect: Effect::Value {
            name: "PERCENT[,KILL]",
            expects: "a percentage above 0 and below 100, such as 10 or 10,5",
            set: |settings, text| {
                let levels = units::parse_levels(text, units::parse_percent, units::half_percent)?;
                let inside = levels.term > Percent::whole(0)
                    && levels.term < Percent::HUNDRED
                    && levels.kill < Percent::HUNDRED;
                settings.mem = Some(inside.then_some(levels).ok_or(Fault::OutOfRange)?);
                Ok(())
            },
        },
        section: Some(Section::Thresholds),
        default: "10,5",
        help: "SIGTERM when available memory is at or below PERCENT of user memory, SIGKILL at or \
               below KILL; KILL is half of PERCENT unless given, 0 is never",
    },
    Spec {
        longs: &["swap"],
        shorts: &['s'],
        key: "SWAP_THRESHOLD",
        effect: Effect::Value {
            name: "PERCENT[,KILL]",
            expects: "a percentage above 0 and up to 100, such as 10 or 10,5",
            set: |settings, text| {
                let levels = units::parse_levels(text, units::parse_percent, units::half_percent)?;
                let inside = levels.term > Percent::whole(0);
                settings.swap = Some(inside.then_some(levels).ok_or(Fault::OutOfRange)?);
                Ok(())
            },
        },
        section: Some(Section::Thresholds),
        default: "10,5",
        help: "the same for free swap, of total swap; both memory and swap must be low; \
               100: whatever the swap",
    },
    Spec {
        longs: &["mem-size"],
        shorts: &['M'],
        key: "MEM_SIZE",
        effect: Effect::Value {
            name: "SIZE[,KILL]",
            expects:
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
            set: |settings, text| {
                settings.mem_size = Some(parse_sizes(text)?);
                Ok(())
            },
        },
        section: Some(Section::Thresholds),
        default: "",
        help: "absolute, in KiB or with suffix K, M, G, T; with -m the lower one counts",
    },
    Spec {
        longs: &["swap-size"],
        shorts: &['S'],
        key: "SWAP_SIZE",
        effect: Effect::Value {
            name: "SIZE[,KILL]",
            expects:
                "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 1G,256M",
            set: |settings, text| {
                settings.swap_size = Some(parse_sizes(text)?);
                Ok(())
            },
        },
        section: Some(Section::Thresholds),
        default: "",
        help: "absolute, for free swap; with -s the lower one counts",
    },
    Spec {
        longs: &["process-limit"],
        shorts: &[],
        key: "PROCESS_LIMIT",
        effect: Effect::Value {
            name: "SIZE",
            expects: "an amount above 0 in KiB or with suffix K, M, G or T, such as 500M or 2G",
            set: |settings, text| {
                settings.process_limit = Some(above_zero(units::parse_size(text)?)?);
                Ok(())
            },
        },
        section: Some(Section::Limit),
        default: "",
        help: "end any process whose RSS exceeds SIZE, the largest first, whatever memory does",
    },
    Spec {
        longs: &["threshold"],
        shorts: &[],
        key: "THRESHOLD",
        effect: Effect::Value {
            name: "GB",
            expects: "an amount above 0 in GiB, such as 20 or 1.5",
            set: |settings, text| {
                settings.process_limit = Some(above_zero(units::parse_gib(text)?)?);
                Ok(())
            },
        },
        section: Some(Section::Limit),
        default: "",
        help: "the same in GiB",
    },
    Spec {
        longs: &["interval"],
        shorts: &[],
        key: "INTERVAL",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0.1 to 31536000, decimals allowed",
            set: |settings, text| {
                let every = units::parse_seconds(text)?;
                // A check reads a file of every process.
                let sparing = every >= Duration::from_millis(100);
                settings.interval = Some(sparing.then_some(every).ok_or(Fault::OutOfRange)?);
                Ok(())
            },
        },
        section: Some(Section::Limit),
        default: "60",
        help: "how often that limit is checked",
    },
    Spec {
        longs: &["watch"],
        shorts: &[],
        key: "WATCH",
        effect: Effect::Value {
            name: "WHAT",
            expects: "memory, limit or both",
            set: |settings, text| {
                settings.watch = Some(match text {
                    b"memory" => Watch::Memory,
                    b"limit" => Watch::Limit,
                    b"both" => Watch::Both,
                    _ => return Err(Fault::NotAChoice),
                });
                Ok(())
            },
        },
        section: Some(Section::Limit),
        default: "both with a limit, else memory",
        help: "which of the two jobs to do: memory, limit or both",
    },
    Spec {
        longs: &["prefer"],
        shorts: &[],
        key: "PREFER",
        effect: Effect::Pattern(|settings| &mut settings.prefer),
        section: Some(Section::Choosing),
        default: "",
        help: "raise a matching process by 300 points (3/10 of memory); may be repeated",
    },
    Spec {
        longs: &["avoid"],
        shorts: &[],
        key: "AVOID",
        effect: Effect::Pattern(|settings| &mut settings.avoid),
        section: Some(Section::Choosing),
        default: "",
        help: "lower it by 300 points; may be repeated",
    },
    Spec {
        longs: &["ignore"],
        shorts: &[],
        key: "IGNORE",
        effect: Effect::Pattern(|settings| &mut settings.ignore),
        section: Some(Section::Choosing),
        default: "",
        help: "never kill it; may be repeated",
    },
    Spec {
        longs: &["only"],
        shorts: &[],
        key: "ONLY",
        effect: Effect::Pattern(|settings| &mut settings.only),
        section: Some(Section::Choosing),
        default: "",
        help: "kill nothing else; may be repeated",
    },
    Spec {
        longs: &["sort-by-rss"],
        shorts: &[],
        key: "SORT_BY_RSS",
        effect: Effect::Switch(|settings, on| settings.sort_by_rss = Some(on)),
        section: Some(Section::Choosing),
        default: "",
        help: "rank by resident memory instead of the kernel's oom_score",
    },
    Spec {
        longs: &["ignore-root-user"],
        shorts: &[],
        key: "IGNORE_ROOT_USER",
        effect: Effect::Switch(|settings, on| settings.ignore_root_user = Some(on)),
        section: Some(Section::Choosing),
        default: "",
        help: "never kill root's processes",
    },
    Spec {
        longs: &["ignore-positive-adj"],
        shorts: &[],
        key: "IGNORE_POSITIVE_ADJ",
        effect: Effect::Switch(|settings, on| settings.ignore_positive_adj = Some(on)),
        section: Some(Section::Choosing),
        default: "",
        help: "count a positive oom_score_adj as 0",
    },
    Spec {
        longs: &["min-rss"],
        shorts: &[],
        key: "MIN_RSS",
        effect: Effect::Value {
            name: "SIZE",
            expects: "an amount in KiB or with suffix K, M, G or T, such as 25M, or 0",
            set: |settings, text| {
                settings.min_rss = Some(units::parse_size(text)?);
                Ok(())
            },
        },
        section: Some(Section::Choosing),
        default: "25M or 1% of memory, the lesser",
        help: "spare processes smaller than this while a larger candidate exists; 0: off",
    },
    Spec {
        longs: &["kill-group"],
        shorts: &['g'],
        key: "KILL_GROUP",
        effect: Effect::Switch(|settings, on| settings.kill_group = Some(on)),
        section: Some(Section::Ending),
        default: "",
        help: "signal the victim's whole process group",
    },
    Spec {
        longs: &["dryrun", "dry-run"],
        shorts: &[],
        key: "DRY_RUN",
        effect: Effect::Switch(|settings, on| settings.dryrun = Some(on)),
        section: Some(Section::Ending),
        default: "",
        help: "say what would be killed, kill nothing",
    },
    Spec {
        longs: &["grace"],
        shorts: &[],
        key: "GRACE",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.grace = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Ending),
        default: "5",
        help: "after SIGTERM, how long until SIGKILL if memory is still low, or at all by the \
               limit; 0: never by time",
    },
    Spec {
        longs: &["cooldown"],
        shorts: &[],
        key: "COOLDOWN",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.cooldown = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Ending),
        default: "1",
        help: "least time between one victim's end and the next SIGTERM",
    },
    Spec {
        longs: &["kernel-oom"],
        shorts: &[],
        key: "KERNEL_OOM",
        effect: Effect::Switch(|settings, on| settings.kernel_oom = Some(on)),
        section: Some(Section::Ending),
        default: "",
        help: "let the kernel choose and kill (/proc/sysrq-trigger; root, Linux 5.17+)",
    },
    Spec {
        longs: &["pre-kill", "pre-kill-script"],
        shorts: &['P'],
        key: "PRE_KILL_SCRIPT",
        effect: Effect::Value {
            name: "SCRIPT",
            expects: "the absolute path of a program",
            set: |settings, text| {
                settings.pre_kill = Some(units::parse_path(text)?);
                Ok(())
            },
        },
        section: Some(Section::Hooks),
        default: "",
        help: "run before the signal; SIGTERM waits for it at most 200 ms, SIGKILL not at all",
    },
    Spec {
        longs: &["post-kill", "post-kill-script"],
        shorts: &['N'],
        key: "POST_KILL_SCRIPT",
        effect: Effect::Value {
            name: "SCRIPT",
            expects: "the absolute path of a program",
            set: |settings, text| {
                settings.post_kill = Some(units::parse_path(text)?);
                Ok(())
            },
        },
        section: Some(Section::Hooks),
        default: "",
        help: "run after the end of the process",
    },
    Spec {
        longs: &["hook-timeout"],
        shorts: &[],
        key: "HOOK_TIMEOUT",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0.1 to 31536000, decimals allowed",
            set: |settings, text| {
                let limit = units::parse_seconds(text)?;
                // Less, and a slow board would not even have started it.
                let enough = limit >= Duration::from_millis(100);
                settings.hook_timeout = Some(enough.then_some(limit).ok_or(Fault::OutOfRange)?);
                Ok(())
            },
        },
        section: Some(Section::Hooks),
        default: "10",
        help: "a hook still running by then is killed",
    },
    Spec {
        longs: &["notify"],
        shorts: &['n'],
        key: "NOTIFY",
        effect: Effect::Switch(|settings, on| settings.notify = Some(on)),
        section: Some(Section::Hooks),
        default: "",
        help: "desktop notification over D-Bus to everyone who is logged in",
    },
    Spec {
        longs: &["report"],
        shorts: &['r'],
        key: "REPORT_INTERVAL",
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.report = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Messages),
        default: "1 on a terminal, else 3600",
        help: "print the state of memory that often; 0: never",
    },
    Spec {
        longs: &["debug"],
        shorts: &['d'],
        key: "DEBUG",
        effect: Effect::Switch(|settings, on| settings.debug = Some(on)),
        section: Some(Section::Messages),
        default: "",
        help: "print each look, each candidate and each decision",
    },
    Spec {
        longs: &["syslog"],
        shorts: &[],
        key: "SYSLOG",
        effect: Effect::Switch(|settings, on| settings.syslog = Some(on)),
        section: Some(Section::Messages),
        default: "",
        help: "messages to /dev/log with priorities, instead of stderr",
    },
    Spec {
        longs: &["log-file"],
        shorts: &[],
        key: "LOG_FILE",
        effect: Effect::Value {
            name: "PATH",
            expects: "an absolute path, such as /var/log/oom_guard.log",
            set: |settings, text| {
                settings.log_file = Some(units::parse_path(text)?);
                Ok(())
            },
        },
        section: Some(Section::Messages),
        default: "",
        help:
            "append messages to a file with timestamps (UTC), instead of stderr unless that is a \
               terminal; opened anew on SIGHUP",
    },
    Spec {
        longs: &["stats-file"],
        shorts: &[],
        key: "STATS_FILE",
        effect: Effect::Value {
            name: "PATH",
            expects: "an absolute path, such as /var/lib/node_exporter/oom_guard.prom",
            set: |settings, text| {
                settings.stats_file = Some(units::parse_path(text)?);
                Ok(())
            },
        },
        section: Some(Section::Messages),
        default: "",
        help: "keep a file in Prometheus text format, replaced every 15 seconds and at every kill",
    },
    Spec {
        longs: &["priority"],
        shorts: &['p'],
        key: "PRIORITY",
        effect: Effect::Switch(|settings, on| settings.priority = Some(on.then_some(HIGHEST))),
        section: Some(Section::Guard),
        default: "",
        help: "niceness -20 and oom_score_adj -100 for the guard",
    },
    Spec {
        longs: &["set-priority"],
        shorts: &[],
        key: "SET_PRIORITY",
        effect: Effect::Value {
            name: "N",
            expects: "a niceness from -20 to 19",
            set: |settings, text| {
                settings.priority = Some(Some(units::parse_integer(text, -20..=19)?));
                Ok(())
            },
        },
        section: None,
        default: "",
        help: "-p with another niceness",
    },
    Spec {
        longs: &["config"],
        shorts: &['c'],
        key: "CONFIG",
        effect: Effect::Config,
        section: Some(Section::Guard),
        default: "/etc/oom_guard.conf, if there is one",
        help:
            "read settings from FILE; may be repeated, the later one counts; -FILE may be missing; \
               none: no file",
    },
    Spec {
        longs: &["check"],
        shorts: &[],
        key: "",
        effect: Effect::Task(Task::Check),
        section: Some(Section::Guard),
        default: "",
        help: "check options, configuration, permissions and what the kernel offers; print the \
               settings in force; exit",
    },
    Spec {
        longs: &["explain"],
        shorts: &[],
        key: "",
        effect: Effect::Task(Task::Explain),
        section: Some(Section::Guard),
        default: "",
        help: "print the candidates in order, with all that went into the ranking, and who would \
               be killed now and why; with -d all of them",
    },
    Spec {
        longs: &["version"],
        shorts: &['v', 'V'],
        key: "",
        effect: Effect::Task(Task::Version),
        section: Some(Section::Guard),
        default: "",
        help: "print the version",
    },
    Spec {
        longs: &["help"],
        shorts: &['h'],
        key: "",
        effect: Effect::Task(Task::Help),
        section: Some(Section::Guard),
        default: "",
        help: "print this help",
    },
    Spec {
        longs: &[],
        shorts: &['k'],
        key: "",
        effect: Effect::Obsolete(
            "-k is an old option of earlyoom and does nothing here; --kernel-oom does it",
        ),
        section: None,
        default: "",
        help: "",
    },
    Spec {
        longs: &[],
        shorts: &['i'],
        key: "",
        effect: Effect::Obsolete(
            "-i is an old option of earlyoom and does nothing here; --ignore-positive-adj does it",
        ),
        section: None,
        default: "",
        help: "",
    },
];

fn parse_sizes(text: &[u8]) -> Result<Levels<KiB>, Fault> {
    let levels = units::parse_levels(text, units::parse_size, units::half_size)?;
    above_zero(levels.term).map(|_| levels)
}

fn above_zero(size: KiB) -> Result<KiB, Fault> {
    (size > KiB::ZERO).then_some(size).ok_or(Fault::OutOfRange)
}
