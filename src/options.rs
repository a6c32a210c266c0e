//! Every option in one table: how it is spelled, what it takes, what it says in the help,
//! and what it sets.
//!
//! Reads no argument, file or variable itself; `config` brings values here.

use crate::pattern::Pattern;
use crate::units::{self, Fault, KiB, Levels, Percent};
use std::time::Duration;

/// What one source of settings asks for: `None` where it is silent.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Settings {
    pub mem: Option<Levels<Percent>>,
    pub swap: Option<Levels<Percent>>,
    pub mem_size: Option<Levels<KiB>>,
    pub swap_size: Option<Levels<KiB>>,
    /// Empty where a source is silent.
    pub prefer: Vec<Pattern>,
    pub avoid: Vec<Pattern>,
    pub ignore: Vec<Pattern>,
    pub only: Vec<Pattern>,
    pub sort_by_rss: Option<bool>,
    pub ignore_root_user: Option<bool>,
    pub ignore_positive_adj: Option<bool>,
    pub min_rss: Option<KiB>,
    pub kill_group: Option<bool>,
    pub dryrun: Option<bool>,
    pub grace: Option<Duration>,
    pub cooldown: Option<Duration>,
    pub kernel_oom: Option<bool>,
    pub report: Option<Duration>,
    pub debug: Option<bool>,
    /// The guard's niceness.
    pub priority: Option<i32>,
}

/// What an invocation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Help,
    Version,
    Explain,
}

/// What an option does when it is met.
pub enum Effect {
    /// Sets something on (or, from a source where it can be said, off).
    Switch(fn(&mut Settings, bool)),
    /// Takes a value.
    Value {
        name: &'static str,
        /// What would be right, for the message about a value that is not.
        expects: &'static str,
        set: fn(&mut Settings, &[u8]) -> Result<(), Fault>,
    },
    /// Takes a pattern; given again, one more.
    Pattern(fn(&mut Settings) -> &mut Vec<Pattern>),
    /// Changes what the program is for.
    Task(Task),
    /// Does nothing, for earlyoom's users, and says this.
    Obsolete(&'static str),
}

pub struct Spec {
    /// Without the dashes; the first is the one that is shown.
    pub longs: &'static [&'static str],
    pub shorts: &'static [char],
    pub effect: Effect,
    /// Heading in the help; old spellings that are only understood have none.
    pub section: Option<Section>,
    pub help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Thresholds,
    Choosing,
    Ending,
    Messages,
    Guard,
}

impl Section {
    pub const ALL: [Section; 5] = [
        Section::Thresholds,
        Section::Choosing,
        Section::Ending,
        Section::Messages,
        Section::Guard,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Section::Thresholds => "Thresholds",
            Section::Choosing => "Choosing the victim",
            Section::Ending => "What happens to it",
            Section::Messages => "Messages",
            Section::Guard => "The guard itself",
        }
    }
}

/// What `Effect::Pattern` takes, in the help.
pub const PATTERN: &str = "PATTERN";

/// `-p` as earlyoom and the original have it: first in line for the processor.
const HIGHEST: i32 = -20;

pub const TABLE: &[Spec] = &[
    Spec {
        longs: &["mem"],
        shorts: &['m'],
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
        help: "SIGTERM when available memory is at or below PERCENT of user memory, SIGKILL at or \
               below KILL (default: 10,5; KILL is half of PERCENT unless given, 0 is never)",
    },
    Spec {
        longs: &["swap"],
        shorts: &['s'],
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
        help: "the same for free swap, of total swap; both memory and swap must be low \
               (default: 10,5; 100: whatever the swap)",
    },
    Spec {
        longs: &["mem-size"],
        shorts: &['M'],
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
        help: "absolute, in KiB or with suffix K, M, G, T; with -m the lower one counts",
    },
    Spec {
        longs: &["swap-size"],
        shorts: &['S'],
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
        help: "absolute, for free swap; with -s the lower one counts",
    },
    Spec {
        longs: &["prefer"],
        shorts: &[],
        effect: Effect::Pattern(|settings| &mut settings.prefer),
        section: Some(Section::Choosing),
        help: "raise a matching process by 300 points (3/10 of memory); may be repeated",
    },
    Spec {
        longs: &["avoid"],
        shorts: &[],
        effect: Effect::Pattern(|settings| &mut settings.avoid),
        section: Some(Section::Choosing),
        help: "lower it by 300 points; may be repeated",
    },
    Spec {
        longs: &["ignore"],
        shorts: &[],
        effect: Effect::Pattern(|settings| &mut settings.ignore),
        section: Some(Section::Choosing),
        help: "never kill it; may be repeated",
    },
    Spec {
        longs: &["only"],
        shorts: &[],
        effect: Effect::Pattern(|settings| &mut settings.only),
        section: Some(Section::Choosing),
        help: "kill nothing else; may be repeated",
    },
    Spec {
        longs: &["sort-by-rss"],
        shorts: &[],
        effect: Effect::Switch(|settings, on| settings.sort_by_rss = Some(on)),
        section: Some(Section::Choosing),
        help: "rank by resident memory instead of the kernel's oom_score",
    },
    Spec {
        longs: &["ignore-root-user"],
        shorts: &[],
        effect: Effect::Switch(|settings, on| settings.ignore_root_user = Some(on)),
        section: Some(Section::Choosing),
        help: "never kill root's processes",
    },
    Spec {
        longs: &["ignore-positive-adj"],
        shorts: &[],
        effect: Effect::Switch(|settings, on| settings.ignore_positive_adj = Some(on)),
        section: Some(Section::Choosing),
        help: "count a positive oom_score_adj as 0",
    },
    Spec {
        longs: &["min-rss"],
        shorts: &[],
        effect: Effect::Value {
            name: "SIZE",
            expects: "an amount in KiB or with suffix K, M, G or T, such as 25M, or 0",
            set: |settings, text| {
                settings.min_rss = Some(units::parse_size(text)?);
                Ok(())
            },
        },
        section: Some(Section::Choosing),
        help: "spare processes smaller than this while a larger candidate exists \
               (default: 25M or 1% of memory, the lesser; 0: off)",
    },
    Spec {
        longs: &["kill-group"],
        shorts: &['g'],
        effect: Effect::Switch(|settings, on| settings.kill_group = Some(on)),
        section: Some(Section::Ending),
        help: "signal the victim's whole process group",
    },
    Spec {
        longs: &["dryrun", "dry-run"],
        shorts: &[],
        effect: Effect::Switch(|settings, on| settings.dryrun = Some(on)),
        section: Some(Section::Ending),
        help: "say what would be killed, kill nothing",
    },
    Spec {
        longs: &["grace"],
        shorts: &[],
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.grace = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Ending),
        help: "after SIGTERM, how long until SIGKILL if memory is still low \
               (default: 5; 0: never by time)",
    },
    Spec {
        longs: &["cooldown"],
        shorts: &[],
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.cooldown = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Ending),
        help: "least time between one victim's end and the next SIGTERM (default: 1)",
    },
    Spec {
        longs: &["kernel-oom"],
        shorts: &[],
        effect: Effect::Switch(|settings, on| settings.kernel_oom = Some(on)),
        section: Some(Section::Ending),
        help: "let the kernel choose and kill (/proc/sysrq-trigger; root, Linux 5.17+)",
    },
    Spec {
        longs: &["report"],
        shorts: &['r'],
        effect: Effect::Value {
            name: "SECONDS",
            expects: "seconds from 0 to 31536000, decimals allowed",
            set: |settings, text| {
                settings.report = Some(units::parse_seconds(text)?);
                Ok(())
            },
        },
        section: Some(Section::Messages),
        help: "print the state of memory that often (default: 1 on a terminal, else 3600; \
               0: never)",
    },
    Spec {
        longs: &["debug"],
        shorts: &['d'],
        effect: Effect::Switch(|settings, on| settings.debug = Some(on)),
        section: Some(Section::Messages),
        help: "print each look, each candidate and each decision",
    },
    Spec {
        longs: &["priority"],
        shorts: &['p'],
        effect: Effect::Switch(|settings, on| {
            settings.priority = Some(if on { HIGHEST } else { 0 })
        }),
        section: Some(Section::Guard),
        help: "niceness -20 and oom_score_adj -100 for the guard",
    },
    Spec {
        longs: &["set-priority"],
        shorts: &[],
        effect: Effect::Value {
            name: "N",
            expects: "a niceness from -20 to 19",
            set: |settings, text| {
                settings.priority = Some(units::parse_integer(text, -20..=19)?);
                Ok(())
            },
        },
        section: None,
        help: "-p with another niceness",
    },
    Spec {
        longs: &["explain"],
        shorts: &[],
        effect: Effect::Task(Task::Explain),
        section: Some(Section::Guard),
        help: "print the candidates in order, with all that went into the ranking, and who would \
               be killed now and why; with -d all of them",
    },
    Spec {
        longs: &["version"],
        shorts: &['v', 'V'],
        effect: Effect::Task(Task::Version),
        section: Some(Section::Guard),
        help: "print the version",
    },
    Spec {
        longs: &["help"],
        shorts: &['h'],
        effect: Effect::Task(Task::Help),
        section: Some(Section::Guard),
        help: "print this help",
    },
    Spec {
        longs: &[],
        shorts: &['k'],
        effect: Effect::Obsolete(
            "-k is an old option of earlyoom and does nothing here; --kernel-oom does it",
        ),
        section: None,
        help: "",
    },
    Spec {
        longs: &[],
        shorts: &['i'],
        effect: Effect::Obsolete(
            "-i is an old option of earlyoom and does nothing here; --ignore-positive-adj does it",
        ),
        section: None,
        help: "",
    },
];

fn parse_sizes(text: &[u8]) -> Result<Levels<KiB>, Fault> {
    let levels = units::parse_levels(text, units::parse_size, units::half_size)?;
    if levels.term == KiB::ZERO {
        return Err(Fault::OutOfRange);
    }
    Ok(levels)
}

pub fn by_long(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.longs.contains(&name))
}

pub fn by_short(letter: char) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.shorts.contains(&letter))
}

/// The long name that an unknown one most likely meant, if one is near: begun with it, or
/// at most a third of its letters changed, added or left out.
pub fn nearest_long(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let mut all = TABLE.iter().flat_map(|spec| spec.longs.iter().copied());
    if let Some(begun) = all.clone().find(|known| name.len() > 2 && known.starts_with(&name)) {
        return Some(begun);
    }
    let distances = all.by_ref().map(|known| (distance(name.as_bytes(), known.as_bytes()), known));
    let (distance, nearest) = distances.min()?;
    (distance * 3 <= nearest.len()).then_some(nearest)
}

/// Levenshtein's distance.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_stands_twice() {
        let longs: Vec<_> = TABLE.iter().flat_map(|spec| spec.longs).collect();
        let shorts: Vec<_> = TABLE.iter().flat_map(|spec| spec.shorts).collect();
        for (count, unique) in [
            (longs.len(), longs.iter().collect::<std::collections::HashSet<_>>().len()),
            (shorts.len(), shorts.iter().collect::<std::collections::HashSet<_>>().len()),
        ] {
            assert_eq!(count, unique);
        }
    }

    #[test]
    fn every_shown_option_has_help() {
        for spec in TABLE.iter().filter(|spec| spec.section.is_some()) {
            assert!(!spec.help.is_empty(), "{:?}", spec.longs);
        }
    }

    #[test]
    fn the_readme_tells_every_option_and_its_default() {
        let readme = include_str!("../README.md");
        for spec in TABLE.iter().filter(|spec| spec.section.is_some()) {
            assert!(readme.contains(&format!("--{}", spec.longs[0])), "{:?}", spec.longs);
        }
    }

    #[test]
    fn a_slip_finds_its_option() {
        assert_eq!(nearest_long("dryrunn"), Some("dryrun"));
        assert_eq!(nearest_long("mem-sizes"), Some("mem-size"));
        assert_eq!(nearest_long("sort-by-rs"), Some("sort-by-rss"));
        assert_eq!(nearest_long("dry"), Some("dryrun"));
        assert_eq!(nearest_long("MEM"), Some("mem"));
        assert_eq!(nearest_long("frobnicate"), None);
    }
}
