//! Every option in one table: how it is spelled, what it takes, what it says in the help,
//! and what it sets.
//!
//! Reads no argument, file or variable itself; `sources` brings values here.

mod table;

use crate::pattern::{self, Pattern};
use crate::units::{self, Fault, KiB, Levels, Path, Percent};
use std::fmt;
use std::time::Duration;
pub use table::TABLE;

/// What is asked for: `None` where nothing is.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Settings {
    pub mem: Option<Levels<Percent>>,
    pub swap: Option<Levels<Percent>>,
    pub mem_size: Option<Levels<KiB>>,
    pub swap_size: Option<Levels<KiB>>,
    pub process_limit: Option<KiB>,
    pub interval: Option<Duration>,
    pub watch: Option<Watch>,
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
    pub pre_kill: Option<Path>,
    pub post_kill: Option<Path>,
    pub hook_timeout: Option<Duration>,
    pub notify: Option<bool>,
    pub report: Option<Duration>,
    pub debug: Option<bool>,
    pub syslog: Option<bool>,
    pub log_file: Option<Path>,
    pub stats_file: Option<Path>,
    /// The guard's niceness; `Some(None)` leaves it as it is.
    pub priority: Option<Option<i32>>,
}

/// Which of the two jobs is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    Memory,
    Limit,
    Both,
}

/// What an invocation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Help,
    Version,
    Check,
    Explain,
}

/// What an option does when it is met.
pub enum Effect {
    /// Sets something on (or, from a source where it can be said, off).
    Switch(fn(&mut Settings, bool)),
    /// Takes a value.
    Value {
        name: &'static str,
        expects: &'static str,
        set: fn(&mut Settings, &[u8]) -> Result<(), Fault>,
    },
    /// Takes a pattern; given again, one more.
    Pattern(fn(&mut Settings) -> &mut Vec<Pattern>),
    /// Names a configuration file; given again, one more.
    Config,
    /// Changes what the program is for.
    Task(Task),
    /// Does nothing, for earlyoom's users, and says this.
    Obsolete(&'static str),
}

pub struct Spec {
    /// Without the dashes; the first is the one that is shown.
    pub longs: &'static [&'static str],
    pub shorts: &'static [char],
    /// What it is called in the environment and in files, after `PREFIX`; empty for what is
    /// no setting.
    pub key: &'static str,
    pub effect: Effect,
    /// Heading in the help; old spellings that are only understood have none.
    pub section: Option<Section>,
    /// In words; empty for "off" and "none".
    pub default: &'static str,
    pub help: &'static str,
}

/// Each stands in the table once, so where it stands is what it is.
impl PartialEq for Spec {
    fn eq(&self, other: &Spec) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Spec {}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.longs)
    }
}

/// What every key begins with.
pub const PREFIX: &str = "OOM_GUARD_";

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    Value(Fault),
    Pattern(pattern::Fault),
}

impl Spec {
    /// Sets what `text` says; `None` is a switch that is simply given.
    pub fn apply(&self, settings: &mut Settings, text: Option<&[u8]>) -> Result<(), Wrong> {
        let bytes = text.unwrap_or(b"");
        match self.effect {
            Effect::Switch(set) => {
                let on = text.map_or(Ok(true), units::parse_switch);
                set(settings, on.map_err(Wrong::Value)?);
            }
            Effect::Value { set, .. } => set(settings, bytes).map_err(Wrong::Value)?,
            Effect::Pattern(list) => {
                let pattern = Pattern::parse(bytes).map_err(Wrong::Pattern)?;
                list(settings).push(pattern);
            }
            Effect::Config if [&b""[..], b"-"].contains(&bytes) => {
                return Err(Wrong::Value(Fault::Empty));
            }
            Effect::Config | Effect::Task(_) | Effect::Obsolete(_) => {}
        }
        Ok(())
    }

    /// What it takes, in the help.
    pub fn value_name(&self) -> Option<&'static str> {
        match self.effect {
            Effect::Value { name, .. } => Some(name),
            Effect::Pattern(_) => Some("PATTERN"),
            Effect::Config => Some("FILE"),
            Effect::Switch(_) | Effect::Task(_) | Effect::Obsolete(_) => None,
        }
    }

    /// What would be right, for the message about a value that is not.
    pub fn expects(&self) -> &'static str {
        match self.effect {
            Effect::Value { expects, .. } => expects,
            Effect::Pattern(_) => "a regular expression or glob",
            Effect::Config => "the path of a file, or none",
            Effect::Switch(_) | Effect::Task(_) | Effect::Obsolete(_) => {
                "true or false, yes or no, on or off, 1 or 0"
            }
        }
    }

    /// What it is about. Options of one subject replace each other: a source that gives one
    /// drops the others of a lower source.
    pub fn subject(&self) -> &'static str {
        let name = self.longs.first().copied().unwrap_or("");
        SAME_SUBJECT.iter().find(|(other, _)| *other == name).map_or(name, |(_, subject)| subject)
    }
}

impl Spec {
    /// Given behind the other in one source, it alone counts.
    pub fn overrules(&self, other: &Spec) -> bool {
        let sets_the_same = || {
            let named = |spec: &Spec| ["mem-size", "swap-size"].contains(&spec.longs[0]);
            self.subject() == other.subject() && !named(self) && !named(other)
        };
        match self.effect {
            Effect::Pattern(_) | Effect::Config => false,
            _ => self == other || sets_the_same(),
        }
    }
}

const SAME_SUBJECT: [(&str, &str); 4] = [
    ("mem-size", "mem"),
    ("swap-size", "swap"),
    ("threshold", "process-limit"),
    ("set-priority", "priority"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Thresholds,
    Limit,
    Choosing,
    Ending,
    Hooks,
    Messages,
    Guard,
}

impl Section {
    pub const ALL: [Section; 7] = [
        Section::Thresholds,
        Section::Limit,
        Section::Choosing,
        Section::Ending,
        Section::Hooks,
        Section::Messages,
        Section::Guard,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Section::Thresholds => "Thresholds",
            Section::Limit => "Limit for each process",
            Section::Choosing => "Choosing the victim",
            Section::Ending => "What happens to it",
            Section::Hooks => "Hooks and notifications",
            Section::Messages => "Messages",
            Section::Guard => "The guard itself",
        }
    }
}

pub fn by_long(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.longs.contains(&name))
}

pub fn by_short(letter: char) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.shorts.contains(&letter))
}

/// The option that a key names, without `PREFIX`; one for a pattern may be numbered.
pub fn by_key(key: &str) -> Option<&'static Spec> {
    let known = |key: &str| TABLE.iter().find(|spec| !key.is_empty() && spec.key == key);
    known(key).or_else(|| {
        let (base, number) = key.rsplit_once('_')?;
        // 2 and 02 would be two keys that look like one.
        let is_number = !number.is_empty()
            && !number.starts_with('0')
            && number.bytes().all(|byte| byte.is_ascii_digit());
        let spec = known(base).filter(|_| is_number)?;
        matches!(spec.effect, Effect::Pattern(_)).then_some(spec)
    })
}

/// The long name that an unknown one most likely meant, if one is near.
pub fn nearest_long(name: &str) -> Option<&'static str> {
    nearest(&name.to_ascii_lowercase(), TABLE.iter().flat_map(|spec| spec.longs.iter().copied()))
}

/// The key, without `PREFIX`, that an unknown one most likely meant, if one is near.
pub fn nearest_key(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_uppercase();
    // Who knows only the option writes that.
    let by_option = by_long(&key.to_ascii_lowercase().replace('_', "-")).map(|spec| spec.key);
    let keys = TABLE.iter().map(|spec| spec.key).filter(|key| !key.is_empty());
    by_option.filter(|key| !key.is_empty()).or_else(|| nearest(&key, keys))
}

/// The key, without `PREFIX`, that a whole one meant whose `PREFIX` has a slip.
pub fn nearest_prefixed(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_uppercase();
    let (second, _) = key.match_indices('_').nth(1)?;
    let (prefix, name) = key.split_at(second + 1);
    // Two letters that changed places count as two.
    let is_slip = distance(prefix.as_bytes(), PREFIX.as_bytes()) <= 2;
    by_key(name).filter(|_| is_slip).map(|spec| spec.key)
}

/// Begun with `name`, or at most a third of its letters changed, added or left out.
fn nearest(name: &str, all: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    if let Some(begun) = all.clone().find(|known| name.len() > 2 && known.starts_with(name)) {
        return Some(begun);
    }
    let distances = all.map(|known| (distance(name.as_bytes(), known.as_bytes()), known));
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
        let readme = include_str!("../../README.md");
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
