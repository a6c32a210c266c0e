//! Where settings come from, and which of them count: command line, environment,
//! configuration files, and what the program is called. A higher source replaces a lower
//! one, option by option.
//!
//! Everything given is checked, also what a higher source replaces: a slip in a file must not
//! wait for the day it counts.

use super::config::{Config, Tell, REPORT_TERMINAL};
use super::file::{self, is_for_hooks};
use super::find;
use super::given::Given;
use super::option::{Effect, PREFIX};
use super::value::Mistake;
use crate::bytes::Escaped;
use crate::sys::{fd, process};
use crate::units::Path;

/// Read if no other is named, if it is there.
const FILE: &str = "-/etc/oom_guard.conf";

/// Called by a name that begins with this, the program is the memory-monitor that it replaces:
/// the limit only, with that one's defaults, and a file of its own, since both may run.
const MONITOR: &[u8] = b"memory-monitor";
const MONITOR_FILE: &str = "-/etc/memory-monitor.conf";
const MONITOR_SETTINGS: [(&str, &str); 3] =
    [("WATCH", "limit"), ("THRESHOLD", "20"), ("LOG_FILE", "/var/log/memory-monitor.log")];

/// Larger ones are something else (a log, a device): a default file with all its comments
/// has a tenth of it.
const LONGEST: usize = 64 * 1024;

/// A configuration file as it was asked for.
pub struct ConfigFile {
    path: Path,
    may_be_missing: bool,
}

impl ConfigFile {
    fn parse(text: &[u8]) -> ConfigFile {
        let name = text.strip_prefix(b"-");
        ConfigFile { path: Path::of(name.unwrap_or(text)), may_be_missing: name.is_some() }
    }

    /// Its text, empty if it is missing and may be.
    fn read(&self) -> Result<Vec<u8>, Mistake> {
        let path = self.path.terminated();
        let refused = |why: &str| Err(format!("{}: cannot read it: {why}", self.name()));
        let found = fd::look_up(path).and_then(|found| match found.is_regular() {
            true => fd::read_file(path, LONGEST + 1).map(Some),
            // A directory, a device, a FIFO that would be waited for.
            false => Ok(None),
        });
        match found {
            Ok(Some(text)) if text.len() <= LONGEST => Ok(text),
            Ok(Some(_)) => refused("it is larger than 64 KiB"),
            Ok(None) => refused("it is no regular file"),
            Err(error) if self.may_be_missing && error.is_gone() => Ok(Vec::new()),
            Err(error) => refused(&error.to_string()),
        }
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
    arguments: Vec<Given>,
    environment: Vec<Given>,
    pub files: Vec<ConfigFile>,
    /// What the program's name gives.
    name: Vec<Given>,
    on_terminal: bool,
    /// Variables that look like settings and are none.
    pub unknown: Vec<Mistake>,
}

impl Sources {
    /// `program` is what it was called as, perhaps with a path.
    pub fn of(program: &[u8], arguments: Vec<Given>) -> Sources {
        let (mut environment, mut unknown) = (Vec::new(), Vec::new());
        let is_of_hook = |variable: &[u8]| variable.starts_with(b"OOM_GUARD_ACTION=");
        let is_in_hook = process::environment().any(is_of_hook);
        for variable in process::environment() {
            match of_variable(variable, is_in_hook) {
                Some(Ok(given)) => environment.push(given),
                Some(Err(mistake)) => unknown.push(mistake),
                None => {}
            }
        }
        let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let (mut by_name, mut usual) = (Vec::new(), FILE);
        if name.starts_with(MONITOR) {
            usual = MONITOR_FILE;
            for (key, text) in &MONITOR_SETTINGS {
                let Some(spec) = find::by_key(key.as_bytes()) else { continue };
                let place = String::from("the program's name");
                by_name.push(Given { spec, text: text.as_bytes().to_vec(), place });
            }
        }
        let files = named_files(&arguments).or_else(|| named_files(&environment));
        Sources {
            arguments,
            environment,
            files: files.unwrap_or_else(|| vec![ConfigFile::parse(usual.as_bytes())]),
            name: by_name,
            on_terminal: fd::is_terminal(fd::stderr()),
            unknown,
        }
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

    /// The text of each file. May hang.
    pub fn read(&self) -> Result<Vec<Vec<u8>>, Vec<Mistake>> {
        let (mut texts, mut mistakes) = (Vec::new(), Vec::new());
        for file in &self.files {
            match file.read() {
                Ok(text) => texts.push(text),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        mistakes.is_empty().then_some(texts).ok_or(mistakes)
    }

    /// What all sources come to, with the text of each file. All mistakes, not the first alone.
    pub fn settle(&self, texts: &[&[u8]]) -> Result<Settled, Vec<Mistake>> {
        let mut settled = Settled::default();
        let mut mistakes = Vec::new();
        if self.on_terminal {
            settled.config.report = Some(REPORT_TERMINAL);
        }
        // Takes what the next lower source gives; false if that is nothing.
        let mut add = |source: &mut dyn Iterator<Item = Result<Given, Mistake>>| {
            let higher = settled.in_force.len();
            let mut gives = false;
            for found in source {
                gives = true;
                mistakes.extend(found.and_then(|given| settled.put(given, higher)).err());
            }
            gives
        };
        add(&mut self.arguments.iter().cloned().map(Ok));
        add(&mut self.environment.iter().cloned().map(Ok));
        let mut empty = Vec::new();
        for (file, text) in self.files.iter().zip(texts).rev() {
            let gives = add(&mut file::settings(file.name(), text));
            // One that may be missing may well hold nothing but comments.
            if !gives && !file.may_be_missing {
                empty.push(format!("{}: holds no setting ({PREFIX}KEY=VALUE)", file.name()));
            }
        }
        add(&mut self.name.iter().cloned().map(Ok));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        settled.notices.append(&mut empty);
        settled.config = settled.config.resolve(self.on_terminal).map_err(|wrong| vec![wrong])?;
        Ok(settled)
    }
}

/// What all sources come to.
#[derive(Default)]
pub struct Settled {
    pub config: Config,
    /// Of what is given all that counts, from the highest source down.
    pub in_force: Vec<Given>,
    /// Patterns that do not count, and files that give nothing.
    pub notices: Vec<String>,
}

impl Settled {
    /// The first `higher` in force are of higher sources, and replace all of their subjects.
    fn put(&mut self, given: Given, higher: usize) -> Result<(), Mistake> {
        let is_same = |other: &&Given| other.spec.subject() == given.spec.subject();
        if let Some(other) = self.in_force[..higher].iter().find(is_same) {
            // A list looks as if sources added to it.
            if let Effect::Pattern(_) = given.spec.effect {
                let (Given { place, text, .. }, by) = (&given, &other.place);
                let text = Escaped(text);
                self.notices.push(format!("{place}: \"{text}\" does not count: {by} replaces it"));
            }
            // It is only checked.
            return given.apply(&mut Config::default());
        }
        given.apply(&mut self.config)?;
        self.in_force.retain(|before| !given.spec.overrules(before.spec));
        self.in_force.push(given);
        Ok(())
    }
}

/// What `KEY=VALUE` in the environment sets. A variable for hooks is none of ours: one of them
/// may well start a guard. There, `CGROUP` is that of the victim.
fn of_variable(variable: &[u8], is_in_hook: bool) -> Option<Result<Given, Mistake>> {
    let end = variable.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&variable[..end], &variable[end + 1..]);
    let name = key.strip_prefix(PREFIX.as_bytes()).filter(|name| !is_for_hooks(name))?;
    if is_in_hook && name == b"CGROUP" {
        return None;
    }
    let place = format!("{} in the environment", Escaped(key));
    let spec = find::setting(name, &place);
    Some(spec.map(|spec| Given { spec, text: value.to_vec(), place }))
}

/// What `-c` says, or the environment in its place.
fn named_files(source: &[Given]) -> Option<Vec<ConfigFile>> {
    let mut files = None;
    for given in source.iter().filter(|given| matches!(given.spec.effect, Effect::Config)) {
        let files = files.get_or_insert_with(Vec::new);
        match &given.text[..] {
            b"none" => files.clear(),
            // Refused when all sources meet.
            b"" | b"-" => {}
            name => files.push(ConfigFile::parse(name)),
        }
    }
    files
}
