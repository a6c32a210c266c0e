//! A connection to a bus: authenticate, say hello, call (D-Bus Specification,
//! "Authentication Protocol" and "Message Bus Specification").
//!
//! All of it ends at one deadline, whatever the other side does, and nothing is sent to a
//! socket at which another user listens than the one that is meant.

use super::address;
use super::wire::{self, Answer, Call, Member, Values, MESSAGE};
use crate::bytes::{self, Buf};
use crate::sys::fd::{self, Interest};
use crate::sys::io;
use crate::sys::{clock, process, socket};
use crate::units::Moment;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Why a bus did not take what it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing that listens there is a bus of that user.
    NoBus,
    Silent,
    HungUp,
    Garbage,
    Refused,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::NoBus => "there is none",
            Fault::Silent => "it does not answer",
            Fault::HungUp => "it hung up",
            Fault::Garbage => "what answers is no bus",
            Fault::Refused => "it refuses",
        })
    }
}

const HELLO: Member = of_bus("Hello", "");
/// Asks for next to nothing; the answer tells that what was sent before has arrived.
const GET_ID: Member = of_bus("GetId", "");

/// A method of the bus itself.
pub const fn of_bus(name: &'static str, signature: &'static str) -> Member {
    Member {
        destination: Some("org.freedesktop.DBus"),
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        name,
        signature,
    }
}

/// Between two tries if nothing tells when to try again: the queue of the bus is full, or the kernel
/// is short of memory.
const AGAIN: Duration = Duration::from_millis(20);

pub struct Bus {
    socket: OwnedFd,
    /// What has come and was not looked at yet.
    inbox: Vec<u8>,
    /// So much of what comes next belongs to a message that is too long to be taken.
    skip: usize,
    /// The number of the last message.
    serial: u32,
    end: Moment,
}

impl Bus {
    /// Enters the first bus of `addresses` at which `owner` listens; `None` for any user.
    pub fn enter(addresses: &[u8], owner: Option<u32>, end: Moment) -> Result<Bus, Fault> {
        let mut socket = Err(Fault::NoBus);
        for name in address::names(addresses) {
            socket = connect(&name, owner, end);
            if !matches!(socket, Err(Fault::NoBus)) {
                break;
            }
        }
        let socket = socket?;
        let mut bus = Bus { socket, inbox: Vec::new(), skip: 0, serial: 0, end };
        bus.authenticate()?;
        bus.call(&HELLO, &Values::default())?;
        Ok(bus)
    }

    /// The user id, in decimal, is written in hexadecimal.
    fn authenticate(&mut self) -> Result<(), Fault> {
        let (mut user, mut line) = (Buf::<10>::new(), Buf::<64>::new());
        user.push_number(process::own_user());
        line.push(b"\0AUTH EXTERNAL ");
        for &digit in user.as_bytes() {
            line.push(&[b'3', digit]);
        }
        line.push(b"\r\n");
        self.send(line.as_bytes())?;
        let end = loop {
            if let Some(len) = self.inbox.windows(2).position(|end| end == b"\r\n") {
                break len + 2;
            }
            if self.inbox.len() == MESSAGE {
                return Err(Fault::Garbage);
            }
            self.receive()?;
        };
        let answer: Vec<u8> = self.inbox.drain(..end).collect();
        match bytes::first_word(&answer) {
            b"OK" => self.send(b"BEGIN\r\n"),
            b"REJECTED" | b"ERROR" | b"DATA" => Err(Fault::Refused),
            _ => Err(Fault::Garbage),
        }
    }

    /// Calls a method and waits until it has returned. Returns the number that comes back first, if
    /// one does.
    pub fn call(&mut self, member: &Member, body: &Values) -> Result<Option<u32>, Fault> {
        self.post(member, body)?;
        loop {
            let Some((answer, len)) = self.next()? else {
                self.receive()?;
                continue;
            };
            let number = wire::first_number(&self.inbox[..len]);
            self.inbox.drain(..len);
            match answer {
                Some(Answer { to, is_error }) if to == self.serial => {
                    return if is_error { Err(Fault::Refused) } else { Ok(number) };
                }
                _ => {}
            }
        }
    }

    /// Sends a signal and waits until the bus has it.
    pub fn signal(&mut self, member: &Member, body: &Values) -> Result<(), Fault> {
        self.post(member, body)?;
        self.call(&GET_ID, &Values::default()).map(drop)
    }

    /// Sends a signal, or a call, and does not wait for an answer.
    pub fn post(&mut self, member: &Member, body: &Values) -> Result<(), Fault> {
        let serial = self.next_serial();
        self.send(wire::message(serial, member, body).as_bytes())
    }

    /// 0 is none.
    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        self.serial
    }

    /// What becomes readable when something has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// All that is done from here on ends then.
    pub fn end_at(&mut self, end: Moment) {
        self.end = end;
    }

    /// Takes what has come, waiting for it if nothing has. Each call among it is answered with what
    /// `answer` makes of it, which is given the serial of the answer.
    pub fn serve(&mut self, answer: fn(u32, &Call<'_>) -> Values) -> Result<(), Fault> {
        self.receive()?;
        loop {
            let Some((_, len)) = self.next()? else { return Ok(()) };
            let serial = self.next_serial();
            let call = wire::call(&self.inbox[..len]).map(|call| answer(serial, &call));
            self.inbox.drain(..len);
            if let Some(answer) = call {
                self.send(answer.as_bytes())?;
            }
        }
    }

    /// The next message in the inbox, if it is an answer, and its length; `None` while a part of it
    /// is missing. One that is too long is skipped: else anyone could have the connection broken off.
    fn next(&mut self) -> Result<Option<(Option<Answer>, usize)>, Fault> {
        if let Some(len) = wire::excess(&self.inbox) {
            self.skip = len - self.inbox.len();
            self.inbox.clear();
        }
        wire::parse(&self.inbox).map_err(|_| Fault::Garbage)
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match fd::write(self.socket.as_fd(), bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => self.wait(error, Interest::Writable)?,
            }
        }
        Ok(())
    }

    /// Waits for something to come, and takes it. Only with room for it: a message for
    /// which there is none is garbage already.
    fn receive(&mut self) -> Result<(), Fault> {
        let mut buf = [0; MESSAGE];
        let room = MESSAGE - self.inbox.len();
        loop {
            // Also if something comes all the time.
            if clock::now() >= self.end {
                return Err(Fault::Silent);
            }
            match socket::receive(self.socket.as_fd(), &mut buf[..room]) {
                Ok(0) => return Err(Fault::HungUp),
                Ok(len) => {
                    let skipped = self.skip.min(len);
                    self.skip -= skipped;
                    self.inbox.extend_from_slice(&buf[skipped..len]);
                    return Ok(());
                }
                Err(error) => self.wait(error, Interest::Readable)?,
            }
        }
    }

    /// After a call that failed: waits until it may be made again, if ever.
    fn wait(&self, error: io::Error, interest: Interest) -> Result<(), Fault> {
        let now = clock::now();
        if !error.is_for_later() {
            return Err(Fault::HungUp);
        }
        if now >= self.end {
            return Err(Fault::Silent);
        }
        if fd::is_ready_now(self.socket.as_fd(), interest) {
            // The kernel was short of something else.
            clock::sleep(AGAIN);
        } else {
            fd::wait_for(self.socket.as_fd(), interest, self.end.since(now));
        }
        Ok(())
    }
}

fn connect(name: &[u8], owner: Option<u32>, end: Moment) -> Result<OwnedFd, Fault> {
    loop {
        match socket::connect_stream(name) {
            Ok(socket) => {
                let peer = socket::peer_user(socket.as_fd()).ok();
                let is_meant = owner.is_none() || owner == peer;
                return is_meant.then_some(socket).ok_or(Fault::NoBus);
            }
            Err(error) if !error.is_for_later() => return Err(Fault::NoBus),
            Err(_) if clock::now() >= end => return Err(Fault::Silent),
            Err(_) => clock::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests;
