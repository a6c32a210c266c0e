//! What is said over D-Bus: a notification on the desktop of each user, and signals on the system bus.
//!
//! Speaks to a user's bus, and reads that user's processes, only as that user: for each user there is
//! a process of its own, which becomes that user first. All of them work at the same time, so a bus
//! that hangs delays no other.

pub mod address;
mod bus;
pub mod low_memory;
pub mod text;
mod visit;
pub mod wire;

use crate::procfs::Proc;
use crate::sys::fd::Owner;
use crate::sys::process::Exit;
use crate::sys::{clock, process, signal};
use crate::units::{Moment, Pid};
use bus::{Bus, Fault};
use std::time::Duration;
use visit::visit;
use wire::{Member, Values};

/// What there is to say.
pub struct News<'a> {
    pub summary: &'a [u8],
    /// What every user may know.
    pub body: &'a [u8],
    /// What only root and `owner` may know: a command line can hold secrets.
    pub body_for_owner: &'a [u8],
    pub owner: Option<u32>,
}

/// How long one user's messenger works at most, of which the first bus has half: a desktop
/// that must be started first, while memory is short, takes its time.
const ONE: Duration = Duration::from_secs(4);
/// How long all of them work.
const ALL: Duration = Duration::from_secs(5);
/// When the kernel ends what hangs in a system call, in seconds: a little later.
const ONE_ENDS: u32 = 5;
const ALL_ENDS: u32 = 6;
/// Messengers at work at the same time. Most find no bus and end at once, so hundreds of users take
/// their turns.
const MESSENGERS: usize = 32;
/// How often is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long messengers that were just killed are waited for.
const LAST_LOOKS: Duration = Duration::from_millis(200);

/// The signal that systembus-notify listens for.
const BROADCAST: Member = Member {
    destination: None,
    path: "/",
    interface: "net.nuetzlich.SystemNotifications",
    name: "Notify",
    signature: "ss",
};

const SYSTEM_BUS: &[u8] = b"unix:path=/var/run/dbus/system_bus_socket";

/// Tells the news to every user, or not as root, to this one: to how many. Only for a process of its
/// own with a single thread and no other children: that process is ended if this takes more than 6
/// seconds.
pub fn tell(proc: &mut Proc, news: &News<'_>) -> u32 {
    signal::end_after(ALL_ENDS);
    let end = clock::now().after(ALL);
    let mut messengers = Messengers::default();
    messengers.send(end, &|| {
        let _ = broadcast(news);
        false
    });
    let (processes, mut users) = (processes(proc), Vec::new());
    for &(owner, _) in &processes {
        if !users.contains(&owner.user) {
            users.push(owner.user);
            messengers.send(end, &|| visit(owner, &processes, news));
        }
    }
    messengers.wait(0, end);
    // What takes too long is ended.
    for &pid in &messengers.at_work {
        let _ = process::send(pid, process::KillSignal::Kill);
    }
    messengers.wait(0, clock::now().after(LAST_LOOKS));
    signal::end_after(0);
    messengers.told
}

/// The processes of each user that this process may become.
fn processes(proc: &mut Proc) -> Vec<(Owner, Pid)> {
    let mut processes = Vec::new();
    let own = process::own_user();
    let _ = proc.for_each(|proc, pid| {
        let Ok(owner) = proc.user_and_group(pid) else { return };
        if (own == 0 || owner.user == own) && proc.has_one_user(pid).unwrap_or(false) {
            processes.push((owner, pid));
        }
    });
    processes
}

#[derive(Default)]
struct Messengers {
    at_work: Vec<Pid>,
    /// How many have told a user. Their exit status is all that they report.
    told: u32,
}

impl Messengers {
    /// Sends one, once there are few enough, and as long as there is time.
    fn send(&mut self, end: Moment, act: &dyn Fn() -> bool) {
        self.wait(MESSENGERS - 1, end);
        if clock::now() < end {
            let messenger = process::split(None, || {
                signal::end_after(ONE_ENDS);
                i32::from(!act())
            });
            self.at_work.extend(messenger.ok());
        }
    }

    /// Waits until at most `most` are at work.
    fn wait(&mut self, most: usize, end: Moment) {
        while self.at_work.len() > most && clock::now() < end {
            let Some((pid, exit)) = process::reap() else {
                clock::sleep(LOOK);
                continue;
            };
            self.at_work.retain(|&messenger| messenger != pid);
            self.told += u32::from(exit == Exit::Status(0));
        }
    }
}

const SYSTEM_BUS_VARIABLE: &[u8] = b"DBUS_SYSTEM_BUS_ADDRESS=";

fn enter_system_bus(end: Moment) -> Result<Bus, Fault> {
    let set = process::environment().find_map(|text| text.strip_prefix(SYSTEM_BUS_VARIABLE));
    Bus::enter(set.unwrap_or(SYSTEM_BUS), None, end)
}

fn broadcast(news: &News<'_>) -> Result<(), Fault> {
    let mut bus = enter_system_bus(clock::now().after(ONE))?;
    let mut body = Values::default();
    body.string(text::plain(news.summary).as_bytes());
    body.string(text::without_markup(news.body).as_bytes());
    bus.signal(&BROADCAST, &body)
}
