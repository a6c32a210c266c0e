//! Where settings come from, and which of them count: command line, environment,
//! configuration files, and what the program is called. A higher source replaces a lower
//! one, option by option.
//!
//! `file` reads the text of a configuration file. Everything given is checked, also what a
//! higher source replaces: a slip in a file must not wait for the day it counts.

mod file;

use file::Reader;

pub use file::is_plain;

use crate::bytes::Escaped;
use crate::options::{self, Effect, Settings, Spec, Wrong, PREFIX};
use crate::sys::errno;
use crate::sys::{fd, process};
use crate::units::Path;
use std::fmt;
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
const LONGEST: usize = 64 * 1024;
const TOO_LARGE: &str = "it is larger than 64 KiB";
/// A directory, a device, a FIFO that would be waited for.
const NO_FILE: &str = "it is no regular file";

/// Takes a line for the user: what is wrong, or what is worth a word.
pub type Tell<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

/// One setting as a source gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    pub spec: &'static Spec,
    /// `None`: a switch on the command line.
    pub text: Option<Vec<u8>>,
    /// Where it stands, as it is shown.
    pub place: String,
}

/// How much of a value is shown, and how much from the faulty byte on.
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

impl Given {
    pub fn new(spec: &'static Spec, text: Option<&[u8]>, place: String) -> Rc<Given> {
        Rc::new(Given { spec, text: text.map(<[u8]>::to_vec), place })
    }

    fn text(&self) -> &[u8] {
        self.text.as_deref().unwrap_or_default()
    }

    /// Sets what it says; false if that is wrong.
    pub fn apply(&self, settings: &mut Settings, tell: Tell<'_>) -> bool {
        let (place, text) = (&self.place, self.text());
        let Err(Wrong { what, at }) = self.spec.apply(settings, self.text.as_deref()) else {
            return true;
        };
        let whole = Cut(text, WHOLE);
        let Some(at) = at else {
            tell(format_args!("{place}: {whole} {what} (expected: {})", self.spec.expects()));
            return false;
        };
        match text.get(at..) {
            None | Some([]) => tell(format_args!("{place}: {whole}: {what}, at byte {}", at + 1)),
            Some(rest) => {
                let rest = Cut(rest, REST);
                tell(format_args!("{place}: {whole}: {what}, at byte {}: {rest}", at + 1));
            }
        }
        false
    }
}

/// Tells of a key that is none, and of the one that it most likely meant.
fn unknown(tell: Tell<'_>, place: &str, nearest: Option<&str>) -> Option<Rc<Given>> {
    match nearest {
        None => tell(format_args!("{place}: there is no such setting")),
        Some(key) => {
            tell(format_args!("{place}: there is no such setting; did you mean {PREFIX}{key}?"));
        }
    }
    None
}

/// A configuration file as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    pub path: Path,
    may_be_missing: bool,
}

impl ConfigFile {
    fn parse(text: &[u8]) -> ConfigFile {
        let name = text.strip_prefix(b"-");
        ConfigFile { path: Path::of(name.unwrap_or(text)), may_be_missing: name.is_some() }
    }

    /// Its text, empty where it is missing and may be; `None` if it cannot be read, which is
    /// told.
    fn read(&self, tell: Tell<'_>) -> Option<Vec<u8>> {
        let path = self.path.terminated();
        let is_file = fd::look_up(path).map(|file| file.is_regular());
        let text = is_file.and_then(|is_file| match is_file {
            true => fd::read_file(path, LONGEST + 1).map(Some),
            false => Ok(None),
        });
        let error;
        let why: &dyn fmt::Display = match text {
            Ok(Some(text)) if text.len() <= LONGEST => return Some(text),
            Ok(Some(_)) => &TOO_LARGE,
            Ok(None) => &NO_FILE,
            Err(missing) if self.may_be_missing && errno::is_gone(missing) => {
                return Some(Vec::new())
            }
            Err(other) => {
                error = other;
                &error
            }
        };
        tell(format_args!("{}: cannot read it: {why}", self.name()));
        None
    }

    pub fn exists(&self) -> bool {
        fd::look_up(self.path.terminated()).is_ok()
    }

    pub fn name(&self) -> Escaped<'_> {
        Escaped(self.path.as_bytes())
    }
}

/// Everything that settings are made from, and made anew from when files have changed.
pub struct Sources {
    arguments: Vec<Rc<Given>>,
    environment: Vec<Rc<Given>>,
    pub files: Vec<ConfigFile>,
    name: Vec<Rc<Given>>,
    /// What is said of variables that look like settings and are none.
    pub unknown: Vec<String>,
}

impl Sources {
    /// `program` is what it was called as, perhaps with a path.
    pub fn of(program: &[u8], arguments: Vec<Rc<Given>>) -> Sources {
        let (mut environment, mut unknown) = (Vec::new(), Vec::new());
        let tell: Tell<'_> = &mut |line| unknown.push(line.to_string());
        for variable in process::environment() {
            if let Some(given) = of_variable(variable, tell) {
                environment.push(given);
            }
        }
        let begin = program.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (mut name, mut usual) = (Vec::new(), FILE);
        if program[begin..].starts_with(MONITOR) {
            usual = MONITOR_FILE;
            for (key, text) in &MONITOR_SETTINGS {
                let Some(spec) = options::by_key(key.as_bytes()) else { continue };
                let place = String::from("the program's name");
                name.push(Given::new(spec, Some(text.as_bytes()), place));
            }
        }
        let files = named_files(&arguments).or_else(|| named_files(&environment));
        let files = files.unwrap_or_else(|| {
            vec![ConfigFile { path: Path::of(usual.as_bytes()), may_be_missing: true }]
        });
        Sources { arguments, environment, files, name, unknown }
    }

    /// Tells of files that others than root and this user may change.
    pub fn doubts(&self, tell: Tell<'_>) {
        for file in &self.files {
            let Ok(found) = fd::look_up(file.path.terminated()) else { continue };
            let owner = found.owner.user;
            if found.mode & 0o022 != 0 || (owner != 0 && owner != process::own_user()) {
                let name = file.name();
                tell(format_args!("{name}: others may change it, and with it what is killed"));
            }
        }
    }

    /// The text of each file; `None` if one cannot be read.
    pub fn read(&self, tell: Tell<'_>) -> Option<Vec<Vec<u8>>> {
        let (mut is_good, mut texts) = (true, Vec::new());
        for file in &self.files {
            let text = file.read(tell);
            is_good &= text.is_some();
            texts.push(text.unwrap_or_default());
        }
        is_good.then_some(texts)
    }

    /// Puts what all sources say into `settings`, with the text of each file, and hands out
    /// what counts, from the highest source down. All that is wrong is told, not the first
    /// alone; then there is nothing.
    pub fn merge(
        &self,
        texts: &[Vec<u8>],
        settings: &mut Settings,
        tell: Tell<'_>,
    ) -> Option<Vec<Rc<Given>>> {
        let mut is_good = true;
        let tell: Tell<'_> = &mut |line| {
            is_good = false;
            tell(line);
        };
        let (replaced, in_force) = (Settings::default(), Vec::new());
        let mut merging = Merging { settings, replaced, in_force, higher: 0 };
        merging.add(&self.arguments, tell);
        merging.add(&self.environment, tell);
        for (file, text) in self.files.iter().zip(texts).rev() {
            merging.higher = merging.in_force.len();
            let mut reader = Reader::new(file, text);
            while let Some(given) = reader.next(tell) {
                merging.take(given, tell);
            }
        }
        merging.add(&self.name, tell);
        let in_force = merging.in_force;
        is_good.then_some(in_force)
    }
}

/// What `KEY=VALUE` in the environment sets. What looks like a setting and is none is told,
/// unless it is for hooks: one of them may well start a guard.
fn of_variable(variable: &[u8], tell: Tell<'_>) -> Option<Rc<Given>> {
    let end = variable.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&variable[..end], &variable[end + 1..]);
    let name = key.strip_prefix(PREFIX.as_bytes()).filter(|name| !is_for_hooks(name))?;
    let place = format!("{} in the environment", Escaped(key));
    match options::by_key(name) {
        Some(spec) => Some(Given::new(spec, Some(value), place)),
        None => unknown(tell, &place, options::nearest_key(name)),
    }
}

/// What `-c` says, or the environment in its place.
fn named_files(source: &[Rc<Given>]) -> Option<Vec<ConfigFile>> {
    let mut files = None;
    for given in source.iter().filter(|given| matches!(given.spec.effect, Effect::Config)) {
        let files = files.get_or_insert_with(Vec::new);
        match given.text() {
            b"none" => files.clear(),
            // Refused where all sources meet.
            b"" | b"-" => {}
            name => files.push(ConfigFile::parse(name)),
        }
    }
    files
}

struct Merging<'a> {
    settings: &'a mut Settings,
    /// What a higher source has replaced, which is only checked.
    replaced: Settings,
    in_force: Vec<Rc<Given>>,
    /// How many of these are of a higher source.
    higher: usize,
}

impl Merging<'_> {
    fn add(&mut self, source: &[Rc<Given>], tell: Tell<'_>) {
        self.higher = self.in_force.len();
        for given in source {
            self.take(given.clone(), tell);
        }
    }

    /// Takes what a lower source gives, where no higher one has spoken.
    fn take(&mut self, given: Rc<Given>, tell: Tell<'_>) {
        let is_same = |other: &Rc<Given>| other.spec.subject() == given.spec.subject();
        if self.in_force[..self.higher].iter().any(is_same) {
            given.apply(&mut self.replaced, tell);
        } else if given.apply(self.settings, tell) {
            let is_overruled = |before: &Rc<Given>| given.spec.overrules(before.spec);
            match self.in_force.iter().position(is_overruled) {
                Some(place) => self.in_force[place] = given,
                None => self.in_force.push(given),
            }
        }
    }
}

/// What hooks are told, after `PREFIX`; never settings.
fn is_for_hooks(name: &[u8]) -> bool {
    HOOK_VARIABLES.iter().any(|variable| variable.as_bytes() == name)
}

const HOOK_VARIABLES: [&str; 11] =
    ["PID", "NAME", "RSS", "SCORE", "SWAP", "UID", "ADJ", "CMDLINE", "SIGNAL", "REASON", "ACTION"];
