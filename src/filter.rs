//! What the patterns say of one process: its fields are read when a pattern asks, the cheap
//! ones first, and each at most once.
//!
//! Never ranks and never signals. A field that cannot be read counts as matched by
//! `--ignore` and as not matched by `--only`: when in doubt, the process lives.

use crate::bytes;
use crate::pattern::{Field, Pattern, Scratch};
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::settings::Patterns;
use crate::units::Identity;

/// The kernel cuts names of processes here (`TASK_COMM_LEN` - 1).
const COMM: usize = 15;

/// Who can tell command lines without hanging.
pub trait CommandLines {
    /// `None` if it is not to be had in time.
    fn command_line(&mut self, id: Identity) -> Option<CommandLine>;
}

/// What the patterns say of a process: which of each list matched, by its place there.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub prefer: Option<usize>,
    pub avoid: Option<usize>,
    pub spared: Option<Spared>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spared {
    /// By that pattern of `--ignore`; `None` if a field could not be read.
    Ignored(Option<usize>),
    /// No pattern of `--only` matches.
    NotOnly,
}

/// What matching needs, made at the start.
pub struct Filter {
    scratch: Scratch,
    users: Vec<(u32, Vec<u8>)>,
    fields: Fields,
}

/// What was read of the process at hand, by field: all but the name, which comes first.
struct Fields {
    /// `None`: not read yet; false: it cannot be.
    known: [Option<bool>; 4],
    /// Long paths are cut as command lines are.
    texts: [CommandLine; 4],
}

/// One process, and where its fields come from.
struct Subject<'a> {
    proc: &'a mut Proc,
    stat: &'a Stat,
    commands: &'a mut dyn CommandLines,
}

impl Filter {
    /// `passwd` is the text of `/etc/passwd`, of which those count that `user:` patterns ask
    /// for (`Patterns::ask_for_users`).
    pub fn new(patterns: &Patterns, passwd: &[u8]) -> Filter {
        let (mut of_user, mut longest) = (Vec::new(), 0);
        for pattern in patterns.all() {
            longest = longest.max(pattern.len());
            if pattern.field() == Field::User {
                of_user.push(pattern);
            }
        }
        let (known, text) = (Default::default(), CommandLine::new);
        let texts = [text(), text(), text(), text()];
        let (scratch, users) = (Scratch::new(longest), Vec::new());
        let mut filter = Filter { scratch, users, fields: Fields { known, texts } };
        for (uid, name) in users_of(passwd) {
            if of_user.iter().any(|pattern| pattern.is_match(name, &mut filter.scratch)) {
                filter.users.push((uid, name.to_vec()));
            }
        }
        filter
    }

    /// The same, able to tell names of users whatever the patterns ask for.
    pub fn with_users(patterns: &Patterns, passwd: &[u8]) -> Filter {
        let mut filter = Filter::new(patterns, b"");
        for (uid, name) in users_of(passwd) {
            filter.users.push((uid, name.to_vec()));
        }
        filter
    }

    /// Numbers and names that the patterns ask for.
    pub fn users(&self) -> &[(u32, Vec<u8>)] {
        &self.users
    }

    /// `user:` patterns that match no name of `/etc/passwd`. Numbers are no names.
    pub fn unknown_users<'a>(&mut self, patterns: &'a Patterns) -> Vec<&'a Pattern> {
        let mut unknown = Vec::new();
        for pattern in patterns.all() {
            let is_name = pattern.field() == Field::User && pattern.number().is_none();
            let mut users = self.users.iter();
            if is_name && !users.any(|(_, name)| pattern.is_match(name, &mut self.scratch)) {
                unknown.push(pattern);
            }
        }
        unknown
    }

    pub fn judge(
        &mut self,
        patterns: &Patterns,
        proc: &mut Proc,
        stat: &Stat,
        commands: &mut dyn CommandLines,
    ) -> Verdict {
        self.fields.known = Default::default();
        let mut subject = Subject { proc, stat, commands };
        let mut verdict = Verdict::default();
        for (place, pattern) in patterns.ignore.iter().enumerate() {
            match self.matches(pattern.field(), pattern, &mut subject) {
                Some(false) => {}
                known => {
                    verdict.spared = Some(Spared::Ignored(known.map(|_| place)));
                    return verdict;
                }
            }
        }
        if !patterns.only.is_empty() && self.first_of(&patterns.only, &mut subject).is_none() {
            verdict.spared = Some(Spared::NotOnly);
            return verdict;
        }
        verdict.prefer = self.first_of(&patterns.prefer, &mut subject);
        verdict.avoid = self.first_of(&patterns.avoid, &mut subject);
        verdict
    }

    /// The fields in which `pattern` matches, whichever it is written for.
    pub fn fields_that_match(
        &mut self,
        pattern: &Pattern,
        proc: &mut Proc,
        stat: &Stat,
        commands: &mut dyn CommandLines,
    ) -> Vec<Field> {
        self.fields.known = Default::default();
        let mut subject = Subject { proc, stat, commands };
        let mut matching = Vec::new();
        for &field in &Field::ALL {
            if self.matches(field, pattern, &mut subject) == Some(true) {
                matching.push(field);
            }
        }
        matching
    }

    fn first_of(&mut self, list: &[Pattern], subject: &mut Subject<'_>) -> Option<usize> {
        list.iter()
            .position(|pattern| self.matches(pattern.field(), pattern, subject) == Some(true))
    }

    /// `None` if what is asked for cannot be read.
    fn matches(
        &mut self,
        field: Field,
        pattern: &Pattern,
        subject: &mut Subject<'_>,
    ) -> Option<bool> {
        let Filter { scratch, users, fields } = self;
        if field == Field::Name {
            let comm = subject.stat.comm.as_bytes();
            let matches = pattern.is_match(comm, scratch);
            if matches || comm.len() != COMM {
                return Some(matches);
            }
            // The name was cut: it is what the executable is called, or for a script one of
            // its first arguments, if that goes on where the name ends.
            let exe = fields.text(Field::Exe, subject);
            if let Some(name) = exe.and_then(|path| goes_on(path, comm)) {
                return Some(pattern.is_match(name, scratch));
            }
            for path in bytes::fields(fields.text(Field::Cmd, subject)?).take(3) {
                if let Some(name) = goes_on(path, comm) {
                    return Some(pattern.is_match(name, scratch));
                }
            }
            return Some(false);
        }
        let text = fields.text(field, subject)?;
        if field == Field::User {
            let (uid, wanted) = (bytes::parse_u64(text), pattern.number());
            if wanted.is_some() {
                return Some(wanted == uid);
            }
            for (known, name) in users {
                if Some(u64::from(*known)) == uid && pattern.is_match(name, scratch) {
                    return Some(true);
                }
            }
        }
        Some(pattern.is_match(text, scratch))
    }
}

/// The last part of `path`, if that goes on where `comm` was cut.
fn goes_on<'a>(path: &'a [u8], comm: &[u8]) -> Option<&'a [u8]> {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let name = &path[start..];
    (name.len() > COMM && name.starts_with(comm)).then_some(name)
}

impl Fields {
    fn text(&mut self, field: Field, subject: &mut Subject<'_>) -> Option<&[u8]> {
        let place = field as usize - 1;
        let (known, text) = (&mut self.known[place], &mut self.texts[place]);
        if known.is_none() {
            text.clear();
            let (proc, stat) = (&mut *subject.proc, subject.stat);
            *known = Some(match field {
                Field::Exe => proc.executable(stat, text).is_ok(),
                Field::Cgroup => proc.cgroup(stat.id.pid, text).is_ok(),
                Field::User => proc.owner(stat.id.pid).map(|user| text.push_number(user)).is_ok(),
                Field::Cmd => {
                    let command = subject.commands.command_line(stat.id);
                    command.map(|command| *text = command).is_some()
                }
                Field::Name => false,
            });
        }
        (*known == Some(true)).then(|| text.as_bytes())
    }
}

/// Number and name of each user (passwd(5)).
pub fn users_of(passwd: &[u8]) -> Users<'_> {
    Users(passwd)
}

pub struct Users<'a>(&'a [u8]);

impl<'a> Iterator for Users<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        while !self.0.is_empty() {
            let (line, rest) = bytes::cut_at(self.0, b'\n');
            self.0 = rest;
            let (name, fields) = bytes::cut_at(line, b':');
            let (_, fields) = bytes::cut_at(fields, b':');
            let (number, _) = bytes::cut_at(fields, b':');
            if let Some(number @ 0..=0xffff_ffff) = bytes::parse_u64(number) {
                return Some((number as u32, name));
            }
        }
        None
    }
}
