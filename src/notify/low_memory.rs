//! `org.freedesktop.LowMemoryMonitor` on the system bus: owns the name, and emits the signal at which
//! programs drop caches (`GMemoryMonitor` of GLib). What name, path, interface and types are stands in
//! low-memory-monitor's org.freedesktop.LowMemoryMonitor.xml and in GLib's gmemorymonitordbus.c.
//!
//! For a process of its own, which nothing waits for. Whatever the bus does, each step ends in time.

use super::bus::{of_bus, Bus, Fault};
use super::wire::{self, Call, Member, Values};
use crate::sys::fd::{self, Interest, Waiter};
use crate::sys::{clock, socket};
use crate::units::Moment;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A bus that is just being started takes clients in some seconds later.
const PATIENCE: Duration = Duration::from_secs(10);
/// For `--check`, for which a person waits.
const PATIENCE_OF_CHECK: Duration = Duration::from_secs(2);
/// Between two tries to connect: doubles from the first to the last.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// Between two requests for a name that another process has.
const REQUEST_AGAIN: Duration = Duration::from_secs(60);
/// A level that could not be told for so long is old news.
const FRESH: Duration = Duration::from_secs(15);

const NAME: &str = "org.freedesktop.LowMemoryMonitor";

const LOW_MEMORY_WARNING: Member = Member {
    destination: None,
    path: "/org/freedesktop/LowMemoryMonitor",
    interface: NAME,
    name: "LowMemoryWarning",
    signature: "y",
};

const REQUEST_NAME: Member = of_bus("RequestName", "su");
/// Its flag and two of its answers (D-Bus Specification, "org.freedesktop.DBus.RequestName").
const DO_NOT_QUEUE: u32 = 4;
const PRIMARY_OWNER: u32 = 1;
const ALREADY_OWNER: u32 = 4;

/// What there is to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    Owned,
    Taken,
    Failed(Fault),
    Told(u8),
}

impl News {
    /// A person should look.
    pub fn is_trouble(self) -> bool {
        matches!(self, News::Taken | News::Failed(_))
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Owned => write!(f, "low-memory signal: {NAME} is owned"),
            News::Taken => write!(f, "low-memory signal: another process owns {NAME}; trying on"),
            News::Failed(Fault::Refused) => {
                write!(
                    f,
                    "low-memory signal: the system bus refuses {NAME} (by its policy?); trying on"
                )
            }
            News::Failed(fault) => {
                write!(f, "low-memory signal: no system bus: {fault}; trying on")
            }
            News::Told(level) => write!(f, "low-memory signal: LowMemoryWarning {level}"),
        }
    }
}

/// Whether the system bus takes a client, and if not, why.
pub fn try_system_bus() -> Result<(), impl fmt::Display> {
    super::enter_system_bus(clock::now().after(PATIENCE_OF_CHECK)).map(drop)
}

/// Owns the name and emits each level that comes from `levels`, one byte a message, until the other
/// end is closed. What there is to say is told once.
pub fn serve(levels: BorrowedFd<'_>, tell: &mut dyn FnMut(News)) {
    let mut monitor = Monitor { levels, latest: None, tell, said: None };
    let mut again = AGAIN;
    loop {
        let start = clock::now();
        let Err(fault) = monitor.hold() else { return };
        monitor.say(News::Failed(fault));
        if clock::now().since(start) >= AGAIN_AT_MOST {
            again = AGAIN;
        }
        if !monitor.rest(again) {
            return;
        }
        again = (again * 2).min(AGAIN_AT_MOST);
    }
}

struct Monitor<'a> {
    levels: BorrowedFd<'a>,
    /// The last level that is not told yet, and when it came.
    latest: Option<(u8, Moment)>,
    tell: &'a mut dyn FnMut(News),
    /// What was said last of the connection.
    said: Option<News>,
}

impl Monitor<'_> {
    /// Says what is new of the connection.
    fn say(&mut self, news: News) {
        let before = self.said.replace(news);
        let fails_still = matches!((before, news), (Some(News::Failed(_)), News::Failed(_)));
        if before != Some(news) && !fails_still {
            (self.tell)(news);
        }
    }

    /// Connects, and serves until the connection fails or the other end of the levels is closed.
    fn hold(&mut self) -> Result<(), Fault> {
        let mut bus = super::enter_system_bus(clock::now().after(PATIENCE))?;
        let mut is_owner = false;
        let mut request_at = clock::now();
        loop {
            bus.end_at(clock::now().after(PATIENCE));
            if !is_owner && clock::now() >= request_at {
                is_owner = request_name(&mut bus)?;
                request_at = clock::now().after(REQUEST_AGAIN);
                self.say(if is_owner { News::Owned } else { News::Taken });
            }
            if is_owner {
                self.emit(&mut bus)?;
            }
            let mut waiter = Waiter::<2>::new();
            waiter.add(self.levels, Interest::Readable);
            let incoming = waiter.add(bus.fd(), Interest::Readable);
            let rest = request_at.since(clock::now());
            waiter.wait(Some(rest).filter(|_| !is_owner));
            if !self.take_levels() {
                return Ok(());
            }
            if waiter.is_ready(incoming) {
                bus.serve(answer)?;
            }
        }
    }

    /// Sends the signal for the last level, if there is one that is no old news.
    fn emit(&mut self, bus: &mut Bus) -> Result<(), Fault> {
        let Some((level, came)) = self.latest.take() else { return Ok(()) };
        if clock::now().since(came) < FRESH {
            let mut body = Values::default();
            body.byte(level);
            bus.post(&LOW_MEMORY_WARNING, &body)?;
            (self.tell)(News::Told(level));
        }
        Ok(())
    }

    /// Of several the last counts. False if the other end is closed.
    fn take_levels(&mut self) -> bool {
        let mut level = [0];
        loop {
            match socket::receive(self.levels, &mut level) {
                Ok(1) => self.latest = Some((level[0], clock::now())),
                Err(error) if error.is_for_later() => return true,
                _ => return false,
            }
        }
    }

    /// Waits without a connection. False if the other end is closed.
    fn rest(&mut self, time: Duration) -> bool {
        let end = clock::now().after(time);
        loop {
            let left = end.since(clock::now());
            if left == Duration::ZERO {
                return true;
            }
            fd::wait_for(self.levels, Interest::Readable, left);
            if !self.take_levels() {
                return false;
            }
        }
    }
}

/// True if this process owns the name. It asks for no place in the queue: another owner keeps the name.
fn request_name(bus: &mut Bus) -> Result<bool, Fault> {
    let mut body = Values::default();
    body.string(NAME.as_bytes());
    body.number(DO_NOT_QUEUE);
    let answer = bus.call(&REQUEST_NAME, &body)?;
    Ok(matches!(answer, Some(PRIMARY_OWNER | ALREADY_OWNER)))
}

const INTROSPECTION: &str = "<node><interface name=\"org.freedesktop.LowMemoryMonitor\">\
    <signal name=\"LowMemoryWarning\"><arg name=\"level\" type=\"y\"/></signal></interface></node>";

/// What a call gets. A proxy of GLib asks for all properties before its program goes on.
fn answer(serial: u32, call: &Call<'_>) -> Values {
    let mut body = Values::default();
    let result = match (call.interface, call.name) {
        (b"org.freedesktop.DBus.Peer", b"Ping") => Ok(("", &body)),
        (b"org.freedesktop.DBus.Properties", b"GetAll") => {
            body.structures(&Values::default());
            Ok(("a{sv}", &body))
        }
        (b"org.freedesktop.DBus.Introspectable", b"Introspect") => {
            body.string(INTROSPECTION.as_bytes());
            Ok(("s", &body))
        }
        _ => Err("org.freedesktop.DBus.Error.UnknownMethod"),
    };
    wire::answer(serial, call, result)
}

#[cfg(test)]
mod tests;
