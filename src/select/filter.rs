//! What the patterns say about one process: its fields are read when a pattern asks, the cheap
//! ones first, and each at most once.
//!
//! Never ranks and never signals. A field that cannot be read counts as matched by
//! `--ignore` and as not matched by `--only`: when in doubt, the process lives.

use super::candidate::{Candidate, Preference, Protection};
use crate::bytes;
use crate::pattern::{Field, Pattern, Scratch};
use crate::procfs::process::{CommandLine, CONTAINER};
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::settings::Patterns;
use crate::sys::clock;
use crate::units::Identity;
use std::time::Duration;

/// The kernel cuts names of processes here (`TASK_COMM_LEN` - 1).
const COMM: usize = 15;

/// Fields besides the name.
const TEXTS: usize = 4;

/// What a choice leaves to the helper.
pub trait Assistant {
    /// Reads a command line, which can hang. `None` if it is not to be had in time.
    fn command_line(&mut self, id: Identity, patience: Duration) -> Option<CommandLine>;

    /// Whether the executable of a process, at `path`, is what init sees there, which can hang
    /// likewise.
    fn is_in_place(&mut self, id: Identity, path: &[u8], patience: Duration) -> Option<bool>;

    /// With `-d`: hears of each candidate that goes before all met so far, with its points in
    /// thousandths of memory.
    fn met(&mut self, _: &Candidate, _: i64, _: &Patterns) {}
}

/// What matching needs and keeps, made at the start.
pub struct Filter {
    scratch: Scratch,
    /// Numbers and names that patterns match.
    pub users: Vec<(u32, Vec<u8>)>,
    /// What was read of the process at hand, by field: all but the name, which comes first. Long
    /// paths are cut as command lines are. None without patterns.
    texts: Box<[CommandLine]>,
    /// `None`: not read yet; false: it cannot be.
    known: [Option<bool>; TEXTS],
    /// Whether its executable is where init sees it. `None`: not asked yet, or not told.
    in_place: Option<Option<bool>>,
}

impl Filter {
    /// `passwd` is the text of `/etc/passwd`. A user is kept if a pattern matches its
    /// name.
    pub fn new(patterns: &Patterns, passwd: &[u8]) -> Filter {
        let longest = patterns.all().map(Pattern::len).max().unwrap_or(0);
        let (mut scratch, mut users) = (Scratch::new(longest), Vec::new());
        for (uid, name) in users_of(passwd) {
            if patterns.all().any(|pattern| pattern.is_match(name, &mut scratch)) {
                users.push((uid, name.to_vec()));
            }
        }
        let count = if patterns.is_empty() { 0 } else { TEXTS };
        Filter {
            scratch,
            users,
            texts: (0..count).map(|_| CommandLine::new()).collect(),
            known: Default::default(),
            in_place: None,
        }
    }

    /// Begins with another process.
    fn begin(&mut self) {
        (self.known, self.in_place) = Default::default();
    }

    /// `user:` patterns that match no name of `/etc/passwd`. Numbers are no names.
    pub fn unknown_users<'a>(&mut self, patterns: &'a Patterns) -> Vec<&'a Pattern> {
        let Filter { scratch, users, .. } = self;
        let mut unknown = Vec::new();
        for pattern in patterns.all() {
            let is_name = pattern.field() == Field::User && pattern.number().is_none();
            if is_name && !users.iter().any(|(_, name)| pattern.is_match(name, scratch)) {
                unknown.push(pattern);
            }
        }
        unknown
    }
}

/// The patterns in force, and all that it takes to match them.
pub struct Matcher<'a> {
    pub patterns: &'a Patterns,
    pub filter: &'a mut Filter,
    pub assistant: &'a mut dyn Assistant,
    /// How long the assistant is waited for from now on, all together.
    pub patience: Duration,
}

impl Matcher<'_> {
    pub(super) fn preference(
        &mut self,
        proc: &mut Proc,
        stat: &Stat,
    ) -> Result<Preference, Protection> {
        self.filter.begin();
        let Patterns { ignore, only, prefer, avoid } = self.patterns;
        for (place, pattern) in ignore.iter().enumerate() {
            match self.matches(pattern.field(), pattern, proc, stat) {
                Some(false) => {}
                told => return Err(Protection::Ignored(told.map(|_| place))),
            }
        }
        let mut first_of = |list: &[Pattern]| {
            list.iter().position(|pattern| {
                self.matches(pattern.field(), pattern, proc, stat) == Some(true)
            })
        };
        if !only.is_empty() && first_of(only).is_none() {
            return Err(Protection::NotOnly);
        }
        Ok(Preference { prefer: first_of(prefer), avoid: first_of(avoid) })
    }

    /// Notes the fields in which `pattern` matches, whichever it is written for.
    pub fn note_matches(
        &mut self,
        matched: &mut [bool; Field::ALL.len()],
        pattern: &Pattern,
        proc: &mut Proc,
        stat: &Stat,
    ) {
        self.filter.begin();
        for field in Field::ALL {
            matched[field as usize] |= self.matches(field, pattern, proc, stat) == Some(true);
        }
    }

    /// `None` if what is asked for cannot be read.
    fn matches(
        &mut self,
        field: Field,
        pattern: &Pattern,
        proc: &mut Proc,
        stat: &Stat,
    ) -> Option<bool> {
        if field == Field::Name {
            return self.matches_name(pattern, proc, stat);
        }
        let place = self.read(field, proc, stat)?;
        if field == Field::Exe {
            return self.matches_program(pattern, place, stat.id);
        }
        let Filter { scratch, users, texts, .. } = &mut *self.filter;
        let text = texts[place].as_bytes();
        if field == Field::Cgroup {
            let mut paths = text.split(|&byte| byte == b'\n');
            return Some(paths.any(|path| pattern.is_match(path, scratch)));
        }
        if field == Field::User {
            let uid = bytes::parse_u64(text);
            if let Some(wanted) = pattern.number() {
                return Some(uid == Some(wanted));
            }
            let mut names = users.iter().filter(|(known, _)| Some(u64::from(*known)) == uid);
            if names.any(|(_, name)| pattern.is_match(name, scratch)) {
                return Some(true);
            }
        }
        Some(pattern.is_match(text, scratch))
    }

    /// The mark is part of the path if that is not what init sees, and only a pattern that names it
    /// matches then. Which it is matters only if the pattern might match.
    fn matches_program(&mut self, pattern: &Pattern, place: usize, id: Identity) -> Option<bool> {
        let Filter { scratch, texts, in_place, .. } = &mut *self.filter;
        let marked = texts[place].as_bytes();
        let path = &marked[CONTAINER.len()..];
        let names_it = pattern.searched().windows(CONTAINER.len()).any(|part| part == CONTAINER);
        let if_in_place = pattern.is_match(path, scratch);
        let if_not = names_it && pattern.is_match(marked, scratch);
        if if_in_place == if_not {
            return Some(if_not);
        }
        let (assistant, patience) = (&mut self.assistant, &mut self.patience);
        let told = in_place.get_or_insert_with(|| {
            waiting(patience, |patience| assistant.is_in_place(id, path, patience))
        });
        told.map(|in_place| if in_place { if_in_place } else { if_not })
    }

    fn matches_name(&mut self, pattern: &Pattern, proc: &mut Proc, stat: &Stat) -> Option<bool> {
        let comm = stat.comm.as_bytes();
        let matches = pattern.is_match(comm, &mut self.filter.scratch);
        if matches || comm.len() != COMM {
            return Some(matches);
        }
        // The name was cut: it is what the executable is called, or for a script one of
        // its first arguments, if that begins with the name and goes on.
        if let Some(place) = self.read(Field::Exe, proc, stat) {
            let Filter { scratch, texts, .. } = &mut *self.filter;
            if let Some(name) = goes_on(texts[place].as_bytes(), comm) {
                return Some(pattern.is_match(name, scratch));
            }
        }
        let place = self.read(Field::Cmd, proc, stat)?;
        let Filter { scratch, texts, .. } = &mut *self.filter;
        let mut arguments = bytes::fields(texts[place].as_bytes()).take(3);
        let name = arguments.find_map(|path| goes_on(path, comm));
        Some(name.is_some_and(|name| pattern.is_match(name, scratch)))
    }

    /// Reads a field, unless it was read. Its place among the texts; `None` if it cannot be read.
    fn read(&mut self, field: Field, proc: &mut Proc, stat: &Stat) -> Option<usize> {
        // The name has none.
        let place = (field as usize).checked_sub(1)?;
        let Filter { known, texts, .. } = &mut *self.filter;
        let text = &mut texts[place];
        let is_known = *known[place].get_or_insert_with(|| {
            text.clear();
            match field {
                Field::Name => false,
                Field::Exe => proc.marked_executable(stat, text).is_ok(),
                Field::Cgroup => proc.cgroups(stat.id.pid, text).is_ok(),
                Field::User => proc.owner(stat.id.pid).map(|user| text.push_number(user)).is_ok(),
                Field::Cmd => {
                    let (assistant, patience) = (&mut self.assistant, &mut self.patience);
                    let line =
                        waiting(patience, |patience| assistant.command_line(stat.id, patience));
                    line.map(|line| *text = line).is_some()
                }
            }
        });
        is_known.then_some(place)
    }
}

/// Asks for something, and takes the time for it from what is left.
fn waiting<T>(patience: &mut Duration, ask: impl FnOnce(Duration) -> T) -> T {
    let before = clock::now();
    let answer = ask(*patience);
    *patience = patience.saturating_sub(clock::now().since(before));
    answer
}

/// The last part of `path`, if that begins with `comm` and goes on.
fn goes_on<'a>(path: &'a [u8], comm: &[u8]) -> Option<&'a [u8]> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    (name.len() > COMM && name.starts_with(comm)).then_some(name)
}

/// Number and name of each user (passwd(5)).
pub fn users_of(passwd: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    passwd.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        let number = u32::try_from(bytes::parse_u64(number)?).ok()?;
        Some((number, name))
    })
}
