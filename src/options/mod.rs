//! Every option in one table: how it is spelled, what it takes, what it says in the help,
//! and what it sets.
//!
//! Reads no argument, file or variable itself; `sources` brings values here.

mod table;

use crate::pattern::{Field, Pattern};
use crate::units::{self, Fault, KiB, Levels, Path, Percent};
use std::fmt;
use std::time::Duration;
pub use table::TABLE;

/// The four lists of patterns.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Patterns {
    pub prefer: Vec<Pattern>,
    pub avoid: Vec<Pattern>,
    pub ignore: Vec<Pattern>,
    pub only: Vec<Pattern>,
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

/// Where messages go. All of them off: nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    pub stderr: bool,
    pub syslog: bool,
    pub log_file: Option<Path>,
    pub stats_file: Option<Path>,
}

/// Everything the guard goes by: the defaults, and over them what is asked for. What follows
/// from several options together (`memory`, `limit`, `outputs.stderr`, the defaults of `mem`
/// and `swap`) is put in by `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The watch over memory; without it the levels below do not count.
    pub memory: bool,
    /// The limit for each process.
    pub limit: Option<Limit>,
    /// In force, at least one of the two is there; the lower one counts.
    pub mem: Option<Levels<Percent>>,
    pub mem_size: Option<Levels<KiB>>,
    /// In force, at least one of the two is there; the lower one counts.
    pub swap: Option<Levels<Percent>>,
    pub swap_size: Option<Levels<KiB>>,
    /// Of the window, all tasks stalled on memory for so long. 0 is never.
    pub psi: Levels<Percent>,
    pub psi_window: Duration,
    pub process_limit: Option<KiB>,
    pub interval: Option<Duration>,
    pub watch: Option<Watch>,
    pub patterns: Patterns,
    pub sort_by_rss: bool,
    pub ignore_root_user: bool,
    pub ignore_positive_adj: bool,
    /// `None`: as much as the size of memory says.
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
    /// The guard's niceness, if it is to be set at all (and `oom_score_adj` with it).
    pub priority: Option<i32>,
    /// Of which only the processes may be ended, and whose limit counts; `None`: that of the
    /// container, if there is one and it has a limit.
    pub cgroup: Option<Path>,
}

/// In five healthy workloads on a machine of 256 MiB with swap on an SD card all tasks stalled
/// for at most 11% of 5 s while memory was nearly short, and in machines that thrash for 54 to 74%
/// while it was (`scripts/rescue.sh`). A higher share would leave those frozen for longer: it takes
/// half a second of nothing but waiting, and at 12% a slow leak into zram took a second.
const PSI: Levels<Percent> = Levels { term: Percent::whole(10), kill: Percent::whole(0) };
/// Shorter, and one burst of swapping would do; longer, and it tells no more of thrashing.
const PSI_WINDOW: Duration = Duration::from_secs(5);
/// What sshd, databases and browsers need to close their files; longer, and a machine
/// that is short of memory waits for a process that will not go.
pub const GRACE: Duration = Duration::from_secs(5);
/// Long enough for the kernel's counters to take in what a victim gave back (they are
/// folded every second, `vm.stat_interval`).
pub const COOLDOWN: Duration = Duration::from_secs(1);
/// A log wants to be short.
pub const REPORT_LOG: Duration = Duration::from_secs(3600);
/// A mail or a log entry takes a second; one that hangs must not pile up.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            memory: true,
            limit: None,
            mem: None,
            mem_size: None,
            swap: None,
            swap_size: None,
            psi: PSI,
            psi_window: PSI_WINDOW,
            process_limit: None,
            interval: None,
            watch: None,
            patterns: Patterns::default(),
            sort_by_rss: false,
            ignore_root_user: false,
            ignore_positive_adj: false,
            min_rss: None,
            kill_group: false,
            dryrun: false,
            grace: Some(GRACE),
            cooldown: COOLDOWN,
            kernel_oom: false,
            report: Some(REPORT_LOG),
            debug: false,
            outputs: Outputs::default(),
            hooks: Hooks { pre_kill: None, post_kill: None, limit: HOOK_TIMEOUT },
            notify: false,
            priority: None,
            cgroup: None,
        }
    }
}

/// Which of the two jobs is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    Memory,
    Limit,
    Both,
}

const WATCHES: [(&str, Watch); 3] =
    [("memory", Watch::Memory), ("limit", Watch::Limit), ("both", Watch::Both)];

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
    Value { name: &'static str, expects: &'static str, kind: Kind },
    /// Takes a pattern; given again, one more.
    Pattern(fn(&mut Settings) -> &mut Vec<Pattern>),
    /// Names a configuration file; given again, one more.
    Config,
    /// Changes what the program is for.
    Task(Task),
    /// Does nothing, for earlyoom's users, and says this.
    Obsolete(&'static str),
}

/// How a value is read, within what it must lie, and where it is put.
pub enum Kind {
    /// Above 0, at most this.
    Percents(Percent, fn(&mut Settings, Levels<Percent>)),
    /// From 0, which is never.
    Shares(fn(&mut Settings, Levels<Percent>)),
    /// Above 0.
    Sizes(fn(&mut Settings, Levels<KiB>)),
    /// At least this.
    Size(KiB, fn(&mut Settings, KiB)),
    /// In GiB; above 0.
    Gib(fn(&mut Settings, KiB)),
    /// At least this.
    Seconds(Duration, fn(&mut Settings, Duration)),
    Path(fn(&mut Settings) -> &mut Option<Path>),
    Cgroup,
    Watch,
    Niceness,
}

impl Kind {
    fn apply(&self, settings: &mut Settings, text: &[u8]) -> Result<(), Fault> {
        let inside = match *self {
            Kind::Percents(most, set) => {
                let levels = units::parse_percents(text)?;
                set(settings, levels);
                levels.term > Percent::whole(0) && levels.term.max(levels.kill) <= most
            }
            Kind::Shares(set) => {
                set(settings, units::parse_shares(text)?);
                true
            }
            Kind::Sizes(set) => {
                let levels = units::parse_sizes(text)?;
                set(settings, levels);
                levels.term > KiB::ZERO
            }
            Kind::Size(least, set) => {
                let size = units::parse_size(text)?;
                set(settings, size);
                size >= least
            }
            Kind::Gib(set) => {
                let size = units::parse_gib(text)?;
                set(settings, size);
                size > KiB::ZERO
            }
            Kind::Seconds(least, set) => {
                let wait = units::parse_seconds(text)?;
                set(settings, wait);
                wait >= least
            }
            Kind::Path(place) => {
                *place(settings) = Some(units::parse_path(text)?);
                true
            }
            Kind::Cgroup => {
                // A shell completes a directory with a slash.
                settings.cgroup = Some(match text {
                    b"/" => Path::of(text),
                    [directory @ .., b'/'] => units::parse_path(directory)?,
                    _ => units::parse_path(text)?,
                });
                true
            }
            Kind::Watch => {
                let meant = WATCHES.iter().find(|(word, _)| word.as_bytes() == text);
                settings.watch = Some(meant.ok_or(Fault::NotAChoice)?.1);
                true
            }
            Kind::Niceness => {
                settings.priority = Some(units::parse_niceness(text)?);
                true
            }
        };
        inside.then_some(()).ok_or(Fault::OutOfRange)
    }
}

pub struct Spec {
    /// With blanks between them, short ones first.
    pub spelled: &'static str,
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
        write!(f, "{:?}", self.spelled)
    }
}

/// What every key begins with.
pub const PREFIX: &str = "OOM_GUARD_";

/// What is wrong with a value: of a pattern, also at which byte.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub what: &'static str,
    pub at: Option<usize>,
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Wrong {
        Wrong { what: fault.text(), at: None }
    }
}

impl Spec {
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> {
        self.spelled.split_ascii_whitespace()
    }

    /// Sets what `text` says; `None` is a switch that is simply given. What is wrong may have
    /// been set, too.
    pub fn apply(&self, settings: &mut Settings, text: Option<&[u8]>) -> Result<(), Wrong> {
        let bytes = text.unwrap_or(b"");
        match &self.effect {
            Effect::Switch(set) => set(settings, text.map_or(Ok(true), units::parse_switch)?),
            Effect::Value { kind, .. } => kind.apply(settings, bytes)?,
            Effect::Pattern(list) => match Pattern::parse(bytes) {
                Ok(pattern) => {
                    // The cheapest first, whatever the order they are given in.
                    let (list, own) = (list(settings), cost(&pattern));
                    let place = list.iter().position(|other| cost(other) > own);
                    list.insert(place.unwrap_or(list.len()), pattern);
                }
                Err(fault) => return Err(Wrong { what: fault.what, at: Some(fault.at) }),
            },
            Effect::Config if bytes.is_empty() || bytes == b"-" => Err(Fault::Empty)?,
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

    /// What it is about, by the first key. Options of one subject replace each other: a source
    /// that gives one drops the others of a lower source.
    pub fn subject(&self) -> &'static str {
        let same = SAME_SUBJECT.iter().find(|(other, _)| *other == self.key);
        same.map_or(self.key, |(_, subject)| subject)
    }

    /// Given behind the other in one source, it alone counts.
    pub fn overrules(&self, other: &Spec) -> bool {
        match self.effect {
            Effect::Pattern(_) | Effect::Config => false,
            // A size and a percentage count both.
            _ if self.key.ends_with("_SIZE") || other.key.ends_with("_SIZE") => self == other,
            _ => self.subject() == other.subject(),
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

const SAME_SUBJECT: [(&str, &str); 4] = [
    ("MEM_SIZE", "MEM_THRESHOLD"),
    ("SWAP_SIZE", "SWAP_THRESHOLD"),
    ("THRESHOLD", "PROCESS_LIMIT"),
    ("SET_PRIORITY", "PRIORITY"),
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

/// `-m` or `--mem`.
pub fn by_spelling(text: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.spellings().any(|spelling| spelling == text))
}

/// The option that a key names, without `PREFIX`; one for a pattern may be numbered.
pub fn by_key(key: &[u8]) -> Option<&'static Spec> {
    let base = unnumbered(key);
    let spec = TABLE.iter().find(|spec| !base.is_empty() && spec.key.as_bytes() == base)?;
    let is_right = base.len() == key.len() || matches!(spec.effect, Effect::Pattern(_));
    is_right.then_some(spec)
}

/// A key without the number of a further pattern.
fn unnumbered(key: &[u8]) -> &[u8] {
    let digits = key.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match key.split_at(key.len() - digits) {
        // 2 and 02 would be two keys that look like one.
        ([base @ .., b'_'], [b'1'..=b'9', ..]) => base,
        _ => key,
    }
}

/// The long spelling that an unknown one most likely meant, if one is near; both without dashes.
pub fn nearest_long(name: &[u8]) -> Option<&'static str> {
    let mut nearest = Nearest { found: None, distance: usize::MAX };
    for spec in TABLE {
        for spelling in spec.spellings() {
            if let Some(long) = spelling.strip_prefix("--") {
                nearest.hear_of(name, long);
            }
        }
    }
    nearest.found
}

/// The key, without `PREFIX`, that an unknown one most likely meant, if one is near.
pub fn nearest_key(key: &[u8]) -> Option<&'static str> {
    let mut nearest = Nearest { found: None, distance: usize::MAX };
    TABLE.iter().for_each(|spec| nearest.hear_of(unnumbered(key), spec.key));
    nearest.found
}

/// The key, without `PREFIX`, that a whole one most likely meant whose `PREFIX` has a slip.
pub fn nearest_prefixed(key: &[u8]) -> Option<&'static str> {
    let mut blanks = (0..key.len()).filter(|&at| key[at] == b'_');
    let (prefix, name) = key.split_at(blanks.nth(1)? + 1);
    // Two letters that changed places count as two.
    let is_slip = distance(prefix, PREFIX.as_bytes()) <= 2;
    nearest_key(name).filter(|_| is_slip)
}

/// The nearest so far.
struct Nearest {
    found: Option<&'static str>,
    distance: usize,
}

impl Nearest {
    /// Near is what begins with `name`, or has at most a third of its letters changed, added
    /// or left out.
    fn hear_of(&mut self, name: &[u8], known: &'static str) {
        let bytes = known.as_bytes();
        let begin = &bytes[..bytes.len().min(name.len())];
        let distance = match name.len() > 2 && distance(name, begin) == 0 {
            true => 0,
            false => distance(name, bytes),
        };
        if distance * 3 <= bytes.len() && distance < self.distance && !known.is_empty() {
            *self = Nearest { found: Some(known), distance };
        }
    }
}

/// Letters of the longest key and more.
const LONGEST: usize = 32;

/// Levenshtein's distance, whatever the case of letters.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row = [0; LONGEST];
    let row = &mut row[..to.len() + 1];
    for (index, place) in row.iter_mut().enumerate() {
        *place = index;
    }
    for a in from {
        let mut diagonal = row[0];
        row[0] += 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
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
        let all: Vec<_> = TABLE.iter().flat_map(Spec::spellings).collect();
        assert_eq!(all.len(), all.iter().collect::<std::collections::HashSet<_>>().len());
    }

    #[test]
    fn every_shown_option_has_help() {
        for spec in TABLE.iter().filter(|spec| spec.section.is_some()) {
            assert!(!spec.help.is_empty(), "{spec:?}");
        }
    }

    #[test]
    fn the_readme_tells_every_option_and_its_default() {
        let readme = include_str!("../../README.md");
        for spec in TABLE.iter().filter(|spec| spec.section.is_some()) {
            let long = spec.spellings().find(|spelling| spelling.starts_with("--")).unwrap();
            assert!(readme.contains(long), "{spec:?}");
        }
    }

    #[test]
    fn a_slip_finds_its_option() {
        assert_eq!(nearest_long(b"dryrunn"), Some("dryrun"));
        assert_eq!(nearest_long(b"mem-sizes"), Some("mem-size"));
        assert_eq!(nearest_long(b"sort-by-rs"), Some("sort-by-rss"));
        assert_eq!(nearest_long(b"dry"), Some("dryrun"));
        assert_eq!(nearest_long(b"MEM"), Some("mem"));
        assert_eq!(nearest_long(b"frobnicate"), None);
        assert_eq!(nearest_key(b"mem"), Some("MEM_THRESHOLD"));
        assert_eq!(nearest_key(b"PREFRE_2"), Some("PREFER"));
        assert_eq!(nearest_key(b""), None);
    }

    #[test]
    fn only_patterns_are_numbered() {
        let key = |key: &[u8]| by_key(key).map(|spec| spec.key);
        assert_eq!((key(b"IGNORE"), key(b"IGNORE_20")), (Some("IGNORE"), Some("IGNORE")));
        for wrong in
            [&b"IGNORE_"[..], b"IGNORE_02", b"IGNORE_0", b"IGNORE2", b"GRACE_2", b"_2", b""]
        {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }

    #[cfg(feature = "patterns")]
    #[test]
    fn patterns_stand_in_the_order_of_their_cost() {
        let mut settings = Settings::default();
        let spec = by_key(b"ONLY").unwrap();
        for text in ["cmd:a", "b", "exe:c", "user:d", "e", "cgroup:f"] {
            spec.apply(&mut settings, Some(text.as_bytes())).unwrap();
        }
        let texts: Vec<_> = settings.patterns.only.iter().map(Pattern::text).collect();
        assert_eq!(texts, [&b"b"[..], b"e", b"user:d", b"exe:c", b"cgroup:f", b"cmd:a"]);
    }

    #[test]
    fn every_word_has_room() {
        let words = TABLE.iter().flat_map(|spec| spec.spellings().chain([spec.key]));
        assert!(words.chain([PREFIX]).all(|word| word.len() < LONGEST));
    }
}
