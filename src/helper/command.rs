//! What is read of processes and can hang: command lines, whole ones for the watch, short ones for
//! messages, notices and hooks; and whether a program is where it seems to be.

use super::service::{self, Variables};
use super::PassedOver;
use crate::bytes::Buf;
use crate::procfs::process::{CommandLine, CONTAINER};
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::Identity;

/// As much of a command line as messages, notices and hooks are given.
pub type ShortCommand = Buf<256>;

/// Whether the executable of `id` is what init sees at `path`. Not if the process has become another
/// program since it was there.
pub fn is_in_place(proc: &mut Proc, id: Identity, path: &[u8]) -> io::Result<bool> {
    let (stat, mut marked) = (proc.stat(id.pid)?, CommandLine::new());
    proc.marked_executable(&stat, &mut marked)?;
    let is_it = marked.as_bytes().strip_prefix(CONTAINER) == Some(path);
    let is_in_place = is_it && proc.is_in_place(&stat)?;
    // The number may have gone to another one meanwhile.
    let is_same = proc.stat(id.pid)?.id == id;
    is_same.then_some(is_in_place).ok_or(io::Error::GONE)
}

/// What is kept of a victim: once it has ended, it has none of it.
struct Known {
    id: Identity,
    command: ShortCommand,
    service: Variables,
}

impl Known {
    /// Nothing yet.
    fn of(id: Identity) -> Known {
        Known { id, command: ShortCommand::new(), service: Variables::new() }
    }
}

pub struct Commands<'a> {
    /// The one read last, and of which process; of none, if it could not be read.
    line: CommandLine,
    id: Option<Identity>,
    /// The latest victims.
    recent: Box<[Known]>,
    next: usize,
    /// An earlier helper was late with these, or hung. Without a question, which the watch waits
    /// for, it would not notice if this one hung, too.
    passed_over: &'a PassedOver,
}

impl<'a> Commands<'a> {
    /// For so many `kills` at a time, and what is told to go first beside them. Allocates.
    pub fn new(kills: usize, passed_over: &'a PassedOver) -> Commands<'a> {
        let recent = (0..=kills).map(|_| Known::of(Identity::NONE)).collect();
        Commands { line: CommandLine::new(), id: None, recent, next: 0, passed_over }
    }

    /// That of `id`, read anew: the process may have become another program meanwhile. `None`
    /// if it cannot be read.
    pub fn read(&mut self, proc: &mut Proc, id: Identity) -> Option<&CommandLine> {
        let mut read = || {
            let stat = proc.stat(id.pid)?;
            proc.command_line(&stat, &mut self.line)?;
            // The number may have gone to another one meanwhile.
            Ok::<_, io::Error>(proc.stat(id.pid)?.id == id)
        };
        self.id = read().unwrap_or(false).then_some(id);
        self.id.map(|_| &self.line)
    }

    /// What is shown of that of a victim, also after its end; empty, if it was never read, or is
    /// passed over.
    pub fn short(&mut self, proc: &mut Proc, id: Identity) -> ShortCommand {
        if self.id != Some(id) {
            if let Some(known) = self.known(id).filter(|known| !known.command.is_empty()) {
                return known.command.clone();
            }
            if self.is_passed_over(id) || self.read(proc, id).is_none() {
                return ShortCommand::new();
            }
        }
        let mut shown = ShortCommand::from_bytes(self.line.as_bytes());
        if shown.is_cut() || self.line.is_cut() {
            shown.end_with(b"...");
        }
        if !shown.is_empty() {
            self.keep(id).command = shown.clone();
        }
        shown
    }

    /// Its cgroup and service, also after its end; nothing, as for the command line.
    pub fn service(&mut self, proc: &mut Proc, id: Identity) -> Variables {
        match self.known(id).filter(|known| !known.service.is_empty()) {
            Some(known) => known.service.clone(),
            None if self.is_passed_over(id) => Variables::new(),
            None => self.read_service(proc, id),
        }
    }

    /// The same, read anew.
    pub fn read_service(&mut self, proc: &mut Proc, id: Identity) -> Variables {
        let service = service::read(proc, id).unwrap_or(Variables::new());
        if !service.is_empty() {
            self.keep(id).service = service.clone();
        }
        service
    }

    fn is_passed_over(&self, id: Identity) -> bool {
        self.passed_over.iter().any(|&(known, _)| known == id)
    }

    fn known(&self, id: Identity) -> Option<&Known> {
        self.recent.iter().find(|known| known.id == id)
    }

    /// Its place, or that of the one that came first.
    fn keep(&mut self, id: Identity) -> &mut Known {
        let known = self.recent.iter().position(|known| known.id == id);
        let place = known.unwrap_or(self.next);
        if known.is_none() {
            self.recent[place] = Known::of(id);
            self.next = (place + 1) % self.recent.len();
        }
        &mut self.recent[place]
    }
}
