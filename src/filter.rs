//! What the patterns say of one process: its fields are read when a pattern asks, the cheap
//! ones first, and each at most once.
//!
//! Never ranks and never signals. A field that cannot be read counts as matched by
//! `--ignore` and as not matched by `--only`: when in doubt, the process lives.

use crate::bytes::{self, Buf};
use crate::config::Patterns;
use crate::pattern::{Field, Pattern, Scratch};
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::units::Identity;

/// What is matched of a path; longer ones are cut (a name is at most 255 bytes, and paths
/// of more than a few hundred are rare).
type Path = Buf<1024>;

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

/// What was read of the process at hand. The outer `None`: not read yet; the inner one: it
/// cannot be.
#[derive(Default)]
struct Fields {
    /// Empty if the name is 15 bytes long, and that is all of it.
    full_name: Option<Option<Path>>,
    user: Option<Option<u32>>,
    exe: Option<Option<Path>>,
    cgroup: Option<Option<Path>>,
    command: Option<Option<CommandLine>>,
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
        let longest = patterns.all().map(Pattern::len).max().unwrap_or(0);
        let mut scratch = Scratch::new(longest);
        let mut is_asked_for = |name: &[u8]| {
            patterns.all().any(|pattern| {
                pattern.field() == Field::User && pattern.is_match(name, &mut scratch)
            })
        };
        let users = users_of(passwd)
            .filter(|(_, name)| is_asked_for(name))
            .map(|(uid, name)| (uid, name.to_vec()))
            .collect();
        Filter { scratch, users, fields: Fields::default() }
    }

    /// The same, able to tell names of users whatever the patterns ask for.
    pub fn with_users(patterns: &Patterns, passwd: &[u8]) -> Filter {
        let users = users_of(passwd).map(|(uid, name)| (uid, name.to_vec())).collect();
        Filter { users, ..Filter::new(patterns, b"") }
    }

    /// Numbers and names that the patterns ask for.
    pub fn users(&self) -> &[(u32, Vec<u8>)] {
        &self.users
    }

    /// `user:` patterns that match no name of `/etc/passwd`. Numbers are no names.
    pub fn unknown_users<'a>(&mut self, patterns: &'a Patterns) -> Vec<&'a Pattern> {
        let scratch = &mut self.scratch;
        let users = &self.users;
        let of_user = patterns.all().filter(|pattern| pattern.field() == Field::User);
        of_user
            .filter(|pattern| pattern.number().is_none())
            .filter(|pattern| !users.iter().any(|(_, name)| pattern.is_match(name, scratch)))
            .collect()
    }

    pub fn judge(
        &mut self,
        patterns: &Patterns,
        proc: &mut Proc,
        stat: &Stat,
        commands: &mut dyn CommandLines,
    ) -> Verdict {
        self.fields = Fields::default();
        let mut subject = Subject { proc, stat, commands };
        for (place, pattern) in patterns.ignore.iter().enumerate() {
            match self.matches(pattern, &mut subject) {
                Some(false) => {}
                known => return spared(Spared::Ignored(known.map(|_| place))),
            }
        }
        if !patterns.only.is_empty() && self.first_of(&patterns.only, &mut subject).is_none() {
            return spared(Spared::NotOnly);
        }
        Verdict {
            prefer: self.first_of(&patterns.prefer, &mut subject),
            avoid: self.first_of(&patterns.avoid, &mut subject),
            spared: None,
        }
    }

    /// The fields in which `pattern` matches, whichever it is written for.
    pub fn fields_that_match(
        &mut self,
        pattern: &Pattern,
        proc: &mut Proc,
        stat: &Stat,
        commands: &mut dyn CommandLines,
    ) -> Vec<Field> {
        self.fields = Fields::default();
        let mut subject = Subject { proc, stat, commands };
        let mut matching = Field::ALL.to_vec();
        matching.retain(|&field| self.matches_in(field, pattern, &mut subject) == Some(true));
        matching
    }

    fn first_of(&mut self, list: &[Pattern], subject: &mut Subject<'_>) -> Option<usize> {
        list.iter().position(|pattern| self.matches(pattern, subject) == Some(true))
    }

    /// `None` if what it asks for cannot be read.
    fn matches(&mut self, pattern: &Pattern, subject: &mut Subject<'_>) -> Option<bool> {
        self.matches_in(pattern.field(), pattern, subject)
    }

    fn matches_in(
        &mut self,
        field: Field,
        pattern: &Pattern,
        subject: &mut Subject<'_>,
    ) -> Option<bool> {
        let Filter { scratch, users, fields } = self;
        match field {
            Field::Name => {
                let comm = subject.stat.comm.as_bytes();
                if pattern.is_match(comm, scratch) {
                    return Some(true);
                }
                if comm.len() != COMM {
                    return Some(false);
                }
                let full = fields.full_name(subject)?.as_bytes();
                Some(!full.is_empty() && pattern.is_match(full, scratch))
            }
            Field::User => {
                let uid = fields.user(subject)?;
                if let Some(number) = pattern.number() {
                    return Some(number == u64::from(uid));
                }
                let mut number = Buf::<10>::new();
                number.push_number(uid);
                let mut names = users.iter().filter(|(known, _)| *known == uid);
                let by_name = names.any(|(_, name)| pattern.is_match(name, scratch));
                Some(by_name || pattern.is_match(number.as_bytes(), scratch))
            }
            Field::Exe => Some(pattern.is_match(fields.exe(subject)?.as_bytes(), scratch)),
            Field::Cgroup => Some(pattern.is_match(fields.cgroup(subject)?.as_bytes(), scratch)),
            Field::Cmd => Some(pattern.is_match(fields.command(subject)?.as_bytes(), scratch)),
        }
    }
}

fn spared(why: Spared) -> Verdict {
    Verdict { spared: Some(why), ..Verdict::default() }
}

impl Fields {
    fn user(&mut self, subject: &mut Subject<'_>) -> Option<u32> {
        *self.user.get_or_insert_with(|| subject.proc.owner(subject.stat.id.pid).ok())
    }

    fn exe(&mut self, subject: &mut Subject<'_>) -> Option<&Path> {
        let read = |subject: &mut Subject<'_>| {
            let mut path = Path::new();
            subject.proc.executable(subject.stat, &mut path).ok().map(|()| path)
        };
        self.exe.get_or_insert_with(|| read(subject)).as_ref()
    }

    fn cgroup(&mut self, subject: &mut Subject<'_>) -> Option<&Path> {
        let read = |subject: &mut Subject<'_>| {
            let mut path = Path::new();
            subject.proc.cgroup(subject.stat.id.pid, &mut path).ok().map(|()| path)
        };
        self.cgroup.get_or_insert_with(|| read(subject)).as_ref()
    }

    fn command(&mut self, subject: &mut Subject<'_>) -> Option<&CommandLine> {
        let id = subject.stat.id;
        self.command.get_or_insert_with(|| subject.commands.command_line(id)).as_ref()
    }

    /// The name that was cut: what the executable is called, or for a script one of its
    /// first arguments, if that goes on where the name ends.
    fn full_name(&mut self, subject: &mut Subject<'_>) -> Option<&Path> {
        if self.full_name.is_none() {
            let comm = subject.stat.comm.as_bytes();
            let goes_on = |path: &[u8]| {
                let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
                let is = name.len() > COMM && name.starts_with(comm);
                is.then(|| Path::from_bytes(name))
            };
            let by_exe = self.exe(subject).and_then(|path| goes_on(path.as_bytes()));
            let full_name = by_exe.or_else(|| {
                let command = self.command(subject)?;
                let first = bytes::fields(command.as_bytes()).take(3).find_map(goes_on);
                Some(first.unwrap_or(Path::new()))
            });
            self.full_name = Some(full_name);
        }
        self.full_name.as_ref()?.as_ref()
    }
}

/// Number and name of each user (passwd(5)).
pub fn users_of(passwd: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    passwd.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let number = bytes::parse_u64(fields.nth(1)?)?;
        Some((u32::try_from(number).ok()?, name))
    })
}
