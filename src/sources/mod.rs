//! Where settings come from, and which of them count: command line, environment,
//! configuration files, and what the program is called. A higher source replaces a lower
//! one, option by option.
//!
//! `file` reads the text of a configuration file. Everything given is checked, also what a
//! higher source replaces: a slip in a file must not wait for the day it counts.

mod file;

pub use file::is_plain;

use crate::bytes::Escaped;
use crate::options::{self, Effect, Settings, Spec, Wrong, PREFIX};
use crate::pattern;
use crate::sys::errno::Errno;
use crate::sys::process;
use crate::units::Fault;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

/// Read where no other is named, if it is there.
const FILE: &str = "/etc/oom_guard.conf";

/// Called by a name that begins with this, the program is the memory-monitor that it replaces:
/// the limit only, with that one's defaults, and a file of its own, since both may run.
const MONITOR: &[u8] = b"memory-monitor";
const MONITOR_FILE: &str = "/etc/memory-monitor.conf";
const MONITOR_SETTINGS: [(&str, &str); 3] =
    [("WATCH", "limit"), ("THRESHOLD", "20"), ("LOG_FILE", "/var/log/memory-monitor.log")];

/// Larger ones are something else (a log, a device): a default file with all its comments
/// has a tenth of it.
pub const LONGEST: usize = 64 * 1024;

/// One setting as a source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub spec: &'static Spec,
    /// `None`: a switch on the command line.
    pub text: Option<Vec<u8>>,
    pub place: Place,
}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As it was spelled.
    Argument(String),
    Variable(String),
    Line {
        file: Rc<[u8]>,
        number: usize,
        key: String,
    },
    /// What the program's name implies.
    Name,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Argument(option) => f.write_str(option),
            Place::Variable(key) => write!(f, "{key} in the environment"),
            Place::Line { file, number, key } => {
                let colon = if key.is_empty() { "" } else { ": " };
                write!(f, "{}:{number}{colon}{key}", Escaped(file))
            }
            Place::Name => f.write_str("the program's name"),
        }
    }
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Value {
        place: Place,
        value: Vec<u8>,
        fault: Fault,
        expects: &'static str,
    },
    Pattern {
        place: Place,
        value: Vec<u8>,
        fault: pattern::Fault,
    },
    UnknownKey {
        place: Place,
        nearest: Option<&'static str>,
    },
    Repeated {
        place: Place,
        first: usize,
    },
    /// A configuration file is named where none can be.
    Nested {
        place: Place,
    },
    /// Not what all readers of such a file understand alike.
    Unclear {
        place: Place,
        what: &'static str,
    },
    Unreadable {
        file: Rc<[u8]>,
        why: Unreadable,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// What the kernel said.
    Errno(i32),
    TooLarge,
    /// A directory, a device, a FIFO that would be waited for.
    NoFile,
}

/// How much of a pattern is shown, and how much from the faulty byte on.
const WHOLE: usize = 200;
const REST: usize = 20;

/// Quoted text, at most so many bytes of it.
struct Cut<'a>(&'a [u8], usize);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut(text, limit) = *self;
        let dots = if text.len() > limit { "..." } else { "" };
        write!(f, "\"{}\"{dots}", Escaped(&text[..text.len().min(limit)]))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Value { place, value, fault, expects } => {
                write!(f, "{place}: {} {} (expected: {expects})", Cut(value, WHOLE), fault.text())
            }
            Refusal::Pattern { place, value, fault } => {
                let rest = value.get(fault.at..).unwrap_or_default();
                write!(f, "{place}: {}: {}, at byte {}", Cut(value, WHOLE), fault.what, fault.at + 1)?;
                match rest {
                    [] => Ok(()),
                    _ => write!(f, ": {}", Cut(rest, REST)),
                }
            }
            Refusal::UnknownKey { place, nearest } => {
                write!(f, "{place}: there is no such setting")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {PREFIX}{nearest}?"),
                    None => Ok(()),
                }
            }
            Refusal::Repeated { place, first } => write!(
                f,
                "{place}: stands in line {first} already, and other readers would take the last one \
                 (further patterns are numbered: {PREFIX}IGNORE_2)"
            ),
            Refusal::Nested { place } => {
                write!(f, "{place}: a file cannot name another one; use -c for each")
            }
            Refusal::Unclear { place, what } => write!(f, "{place}: {what}"),
            Refusal::Unreadable { file, why } => {
                write!(f, "{}: cannot read it: ", Escaped(file))?;
                match why {
                    Unreadable::Errno(errno) => Errno(&io::Error::from_raw_os_error(*errno)).fmt(f),
                    Unreadable::TooLarge => write!(f, "it is larger than {} KiB", LONGEST / 1024),
                    Unreadable::NoFile => f.write_str("it is no regular file"),
                }
            }
        }
    }
}

/// A configuration file as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    pub name: Rc<[u8]>,
    pub may_be_missing: bool,
}

impl ConfigFile {
    fn parse(text: &[u8]) -> ConfigFile {
        match text.strip_prefix(b"-") {
            Some(name) => ConfigFile { name: name.into(), may_be_missing: true },
            None => ConfigFile { name: text.into(), may_be_missing: false },
        }
    }

    /// Its text; none where it is missing and may be.
    pub fn read(&self) -> Result<Vec<u8>, Refusal> {
        let path = OsStr::from_bytes(&self.name);
        let read = || {
            if !std::fs::metadata(path)?.is_file() {
                return Ok(Err(Unreadable::NoFile));
            }
            let mut text = Vec::new();
            std::fs::File::open(path)?.take(LONGEST as u64 + 1).read_to_end(&mut text)?;
            Ok::<_, io::Error>(match text.len() {
                0..=LONGEST => Ok(text),
                _ => Err(Unreadable::TooLarge),
            })
        };
        let text = match read() {
            Ok(text) => text,
            Err(error) if self.may_be_missing && is_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(Unreadable::Errno(error.raw_os_error().unwrap_or(0))),
        };
        text.map_err(|why| Refusal::Unreadable { file: self.name.clone(), why })
    }

    /// Why it deserves less trust than a guard that kills by it.
    pub fn doubt(&self) -> Option<Doubt> {
        let metadata = std::fs::metadata(OsStr::from_bytes(&self.name)).ok()?;
        let others_write = metadata.mode() & 0o022 != 0;
        let is_trusted = metadata.uid() == 0 || metadata.uid() == process::own_user();
        (others_write || !is_trusted).then(|| Doubt { file: self.name.clone() })
    }
}

/// Others than root and this user may change a file of settings.
pub struct Doubt {
    file: Rc<[u8]>,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: others may change it, and with it what is killed", Escaped(&self.file))
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Everything that settings are made from, and made anew from when files have changed.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    arguments: Vec<Given>,
    environment: Vec<Given>,
    pub files: Vec<ConfigFile>,
    name: Vec<Given>,
    /// Variables that look like settings and are none.
    pub unknown: Vec<Refusal>,
}

/// Settings from all sources together.
#[derive(Debug, Default)]
pub struct Merged {
    pub settings: Settings,
    /// Those that count, from the highest source down.
    pub in_force: Vec<Given>,
}

impl Sources {
    /// `program` is what it was called as, perhaps with a path.
    pub fn of(
        program: &[u8],
        arguments: Vec<Given>,
        variables: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Sources {
        let mut sources = Sources { arguments, ..Sources::default() };
        for (key, value) in variables {
            sources.take_variable(&key, value);
        }
        let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let is_monitor = name.starts_with(MONITOR);
        if is_monitor {
            sources.name = MONITOR_SETTINGS.iter().filter_map(Given::by_name).collect();
        }
        let usual = if is_monitor { MONITOR_FILE } else { FILE };
        sources.files = sources.named_files().unwrap_or_else(|| {
            vec![ConfigFile { name: usual.as_bytes().into(), may_be_missing: true }]
        });
        sources
    }

    /// What deserves a second look before it is trusted.
    pub fn doubts(&self) -> impl Iterator<Item = Doubt> + '_ {
        self.files.iter().filter_map(ConfigFile::doubt)
    }

    fn take_variable(&mut self, key: &[u8], value: Vec<u8>) {
        let Some(rest) = key.strip_prefix(PREFIX.as_bytes()) else { return };
        let (rest, place) = (String::from_utf8_lossy(rest), variable(key));
        match options::by_key(&rest) {
            Some(spec) => self.environment.push(Given { spec, text: Some(value), place }),
            // A hook may well start a guard.
            None if HOOK_VARIABLES.contains(&rest.as_ref()) => {}
            None => {
                let nearest = options::nearest_key(&rest);
                self.unknown.push(Refusal::UnknownKey { place, nearest });
            }
        }
    }

    /// What `-c` says, or else the environment.
    fn named_files(&self) -> Option<Vec<ConfigFile>> {
        let names = |source: &[Given]| {
            let named = source.iter().filter(|given| matches!(given.spec.effect, Effect::Config));
            let named: Vec<_> = named.map(Given::text).collect();
            let none = named.iter().rposition(|name| *name == b"none");
            // Those without a name are refused where all sources meet.
            let counting = named[none.map_or(0, |at| at + 1)..].iter();
            let counting = counting.filter(|name| !name.is_empty() && **name != b"-");
            (!named.is_empty()).then(|| counting.map(|name| ConfigFile::parse(name)).collect())
        };
        names(&self.arguments).or_else(|| names(&self.environment))
    }

    /// Settings from all sources, with the text of each file. All that is wrong is told, not
    /// the first alone.
    pub fn merge(&self, texts: &[Vec<u8>]) -> Result<Merged, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut merged = Merged::default();
        for source in [&self.arguments, &self.environment] {
            merged.add(source.iter().cloned().map(Ok), &mut refusals);
        }
        for (file, text) in self.files.iter().zip(texts).rev() {
            merged.add(file::parse(&file.name, text).into_iter(), &mut refusals);
        }
        merged.add(self.name.iter().cloned().map(Ok), &mut refusals);
        if refusals.is_empty() {
            Ok(merged)
        } else {
            Err(refusals)
        }
    }
}

impl Merged {
    /// Takes what a lower source gives, where no higher one has spoken.
    fn add(
        &mut self,
        level: impl Iterator<Item = Result<Given, Refusal>>,
        refusals: &mut Vec<Refusal>,
    ) {
        let higher = self.in_force.len();
        let mut replaced = Settings::default();
        for given in level {
            let given = match given {
                Ok(given) => given,
                Err(refusal) => {
                    refusals.push(refusal);
                    continue;
                }
            };
            let subject = given.spec.subject();
            let is_replaced =
                self.in_force[..higher].iter().any(|given| given.spec.subject() == subject);
            let settings = if is_replaced { &mut replaced } else { &mut self.settings };
            match given.apply(settings) {
                Err(refusal) => refusals.push(refusal),
                Ok(()) if is_replaced => {}
                Ok(()) => {
                    self.in_force.retain(|before| !given.spec.overrules(before.spec));
                    self.in_force.push(given);
                }
            }
        }
    }
}

impl Given {
    fn by_name((key, text): &(&str, &str)) -> Option<Given> {
        let spec = options::by_key(key)?;
        Some(Given { spec, text: Some(text.as_bytes().to_vec()), place: Place::Name })
    }

    fn text(&self) -> &[u8] {
        self.text.as_deref().unwrap_or_default()
    }

    /// Sets what it says.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), Refusal> {
        let expects = self.spec.expects();
        self.spec.apply(settings, self.text.as_deref()).map_err(|wrong| {
            let (place, value) = (self.place.clone(), self.text().to_vec());
            match wrong {
                Wrong::Value(fault) => Refusal::Value { place, value, fault, expects },
                Wrong::Pattern(fault) => Refusal::Pattern { place, value, fault },
            }
        })
    }
}

fn variable(key: &[u8]) -> Place {
    Place::Variable(Escaped(key).to_string())
}

/// What hooks are told, after `PREFIX`; never settings.
const HOOK_VARIABLES: [&str; 11] =
    ["PID", "NAME", "RSS", "SCORE", "SWAP", "UID", "ADJ", "CMDLINE", "SIGNAL", "REASON", "ACTION"];
