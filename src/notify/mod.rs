//! Word to everyone who is logged in, over D-Bus: a notification on the desktop of each
//! user, and a signal for whoever listens on the system bus.
//!
//! Never speaks to a user's bus as anybody else than that user, and never reads a user's
//! processes so either: for each user there is a process of its own, which becomes that
//! user first. All of them work at the same time, so a bus that hangs delays no other.

mod address;
mod bus;
mod text;
mod visit;
mod wire;

use crate::procfs::Proc;
use crate::sys::fd::Owner;
use crate::sys::process::Exit;
use crate::sys::{clock, process, signal};
use crate::units::{Moment, Pid};
use bus::Bus;
pub use bus::Fault;
use std::time::Duration;
use visit::visit;
use wire::{Member, Values};

/// What there is to say.
pub struct News<'a> {
    pub summary: &'a [u8],
    /// What everyone may know.
    pub body: &'a [u8],
    /// What only root and `owner` may know: a command line can hold secrets.
    pub body_for_owner: &'a [u8],
    pub owner: Option<u32>,
}

/// What became of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Told {
    /// Users on whose desktop it stands.
    pub users: u32,
    /// The first user whose bus did not take it, and why. Users without one are no trouble.
    pub trouble: Option<(u32, Fault)>,
    /// Why the system bus did not take it, if there is one.
    pub system_trouble: Option<Fault>,
}

/// How long one user's messenger works at most, of which the first bus has half: a desktop
/// that must be started first, while memory is short, takes its time.
const ONE: Duration = Duration::from_secs(4);
/// How long all of them work.
const ALL: Duration = Duration::from_secs(5);
/// When the kernel ends what hangs in a system call, in seconds: a little later.
const ONE_ENDS: u32 = 5;
const ALL_ENDS: u32 = 6;
/// Messengers at work at the same time. Most find no bus and end at once, so users of
/// whom there are hundreds take their turns.
const MESSENGERS: usize = 32;
/// How often is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(5);
/// For those that were just killed.
const LAST_LOOKS: Duration = Duration::from_millis(200);

/// The one that systembus-notify listens for.
const BROADCAST: Member = Member {
    destination: None,
    path: "/",
    interface: "net.nuetzlich.SystemNotifications",
    name: "Notify",
    signature: "ss",
};

const SYSTEM_BUS: &[u8] = b"unix:path=/var/run/dbus/system_bus_socket";

/// Tells the news to every user, or not as root, to this one. Only for a process of its own
/// with a single thread and no other children: that process is ended if this takes more
/// than 6 seconds.
pub fn tell(proc: &mut Proc, news: &News<'_>) -> Told {
    signal::end_after(ALL_ENDS);
    let end = clock::now().after(ALL);
    let mut office = Office::default();
    office.send(Whom::System, end, &|| broadcast(news));
    let people = people(proc);
    for &owner in &people.users {
        office.send(Whom::User(owner.user), end, &|| visit(owner, &people.processes, news));
    }
    office.close(end);
    signal::end_after(0);
    office.told
}

/// Users with processes, and so perhaps with a bus.
#[derive(Default)]
struct People {
    users: Vec<Owner>,
    /// All their processes.
    processes: Vec<(u32, Pid)>,
}

/// Those to whom this process may send somebody.
fn people(proc: &mut Proc) -> People {
    let mut people = People::default();
    let own = process::own_user();
    let _ = proc.for_each(|proc, pid| {
        let Ok(owner) = proc.user_and_group(pid) else { return };
        if own != 0 && owner.user != own || !proc.has_one_user(pid).unwrap_or(false) {
            return;
        }
        people.processes.push((owner.user, pid));
        if people.users.iter().all(|known| known.user != owner.user) {
            people.users.push(owner);
        }
    });
    people
}

#[derive(Clone, Copy)]
enum Whom {
    System,
    User(u32),
}

/// Messengers at work, and what came of the others.
#[derive(Default)]
struct Office {
    out: Vec<(Pid, Whom)>,
    told: Told,
}

impl Office {
    /// Sends a messenger, once there are few enough, and as long as there is time.
    fn send(&mut self, whom: Whom, end: Moment, act: &dyn Fn() -> Result<(), Fault>) {
        while self.out.len() >= MESSENGERS && clock::now() < end {
            self.wait();
        }
        if clock::now() >= end {
            return self.note(whom, Err(Fault::Silent));
        }
        let messenger = process::split(None, || {
            signal::end_after(ONE_ENDS);
            status_of(act())
        });
        match messenger {
            Ok(pid) => self.out.push((pid, whom)),
            Err(_) => self.note(whom, Err(Fault::NoProcess)),
        }
    }

    /// Waits for all, and ends those that take too long.
    fn close(&mut self, end: Moment) {
        while !self.out.is_empty() && clock::now() < end {
            self.wait();
        }
        for (pid, _) in &self.out {
            let _ = process::send(*pid, process::KillSignal::Kill);
        }
        let end = clock::now().after(LAST_LOOKS);
        while !self.out.is_empty() && clock::now() < end {
            self.wait();
        }
    }

    fn wait(&mut self) {
        let Some((pid, exit)) = process::reap() else {
            return clock::sleep(LOOK);
        };
        if let Some(place) = self.out.iter().position(|(out, _)| *out == pid) {
            let (_, whom) = self.out.swap_remove(place);
            // One that was ended had no answer either.
            let result = match exit {
                Exit::Status(status) => result_of(status),
                Exit::Signal(_) => Err(Fault::Silent),
            };
            self.note(whom, result);
        }
    }

    fn note(&mut self, whom: Whom, result: Result<(), Fault>) {
        let trouble = result.err().filter(|fault| *fault != Fault::NoBus);
        match whom {
            Whom::System => self.told.system_trouble = trouble,
            Whom::User(user) => {
                self.told.users += u32::from(result.is_ok());
                self.told.trouble = self.told.trouble.or(trouble.map(|fault| (user, fault)));
            }
        }
    }
}

/// A messenger's exit status is all that it reports.
fn status_of(result: Result<(), Fault>) -> i32 {
    result.err().map_or(0, |fault| fault as i32 + 1)
}

/// Any other status is that of a process that has gone wrong.
fn result_of(status: i32) -> Result<(), Fault> {
    match status {
        0 => Ok(()),
        _ => Err(Fault::ALL.get(status as usize - 1).copied().unwrap_or(Fault::Silent)),
    }
}

const SYSTEM_BUS_VARIABLE: &[u8] = b"DBUS_SYSTEM_BUS_ADDRESS=";

fn broadcast(news: &News<'_>) -> Result<(), Fault> {
    let set = process::environment().find_map(|text| text.strip_prefix(SYSTEM_BUS_VARIABLE));
    let end = clock::now().after(ONE);
    let mut bus = Bus::enter(set.unwrap_or(SYSTEM_BUS), None, end)?;
    let mut body = Values::new();
    body.string(text::plain(news.summary).as_bytes());
    body.string(text::without_markup(news.body).as_bytes());
    bus.signal(&BROADCAST, &body)
}
