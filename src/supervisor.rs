//! What the service manager is told: that memory is watched, that settings are read, how memory is,
//! and that the guard lives (`NOTIFY_SOCKET` and `WATCHDOG_USEC`, sd_notify(3); `--ready-fd`).
//!
//! Sends without ever waiting. READY and signs of life that could not be sent are sent again a second
//! later; other messages are dropped.

use crate::bytes::{self, Buf};
use crate::sys::fd::{self, Interest};
use crate::sys::{io, socket};
use crate::units::{Moment, Pid};
use std::fmt::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// As long as a socket's address may be (unix(7)), with its NUL.
const ADDRESS: usize = 108;
/// The state, and a line that says how memory is or what is wrong with settings.
type Text = Buf<512>;
/// After what could not be sent.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Supervisor {
    /// What to send from, and where to, as the kernel takes it: a path with its NUL, or an abstract
    /// name behind one.
    manager: Option<(OwnedFd, Buf<ADDRESS>)>,
    /// Half of the time after which the manager ends a guard that gives no sign of life.
    every: Option<Duration>,
    next: Moment,
    /// READY could not be sent.
    owes_ready: bool,
    /// Of `--ready-fd`; closed once it was written to.
    ready: Option<OwnedFd>,
}

impl Supervisor {
    /// From the `variables` of the process `own`, and what `--ready-fd` names. An error says what is
    /// wrong with the address.
    pub fn of<'a>(
        variables: impl Iterator<Item = &'a [u8]>,
        own: Pid,
        ready: Option<OwnedFd>,
    ) -> (Supervisor, Result<(), &'static str>) {
        let (mut it, mut told) = (Supervisor { ready, ..Supervisor::default() }, Ok(()));
        let mut watched = Some(own);
        for variable in variables {
            let (key, value) = bytes::cut_at(variable, b'=');
            let number = || bytes::parse_u64(value);
            match key {
                b"NOTIFY_SOCKET" => match address(value) {
                    Some(address) => it.manager = socket::sender().ok().zip(Some(address)),
                    None => told = Err("is neither an absolute path nor @ and a name"),
                },
                b"WATCHDOG_USEC" => {
                    let micros = number().filter(|&micros| micros > 1);
                    it.every = micros.map(|micros| Duration::from_micros(micros / 2));
                }
                b"WATCHDOG_PID" => watched = number().and_then(|pid| Pid::new(pid as i64)),
                _ => {}
            }
        }
        if watched != Some(own) || it.manager.is_none() {
            it.every = None;
        }
        (it, told)
    }

    /// Memory is watched, with these words about it: at the start, and after each reload.
    pub fn ready(&mut self, about: fmt::Arguments<'_>) -> io::Result<()> {
        if let Some(ready) = self.ready.take() {
            if fd::is_ready_now(ready.as_fd(), Interest::Writable) {
                // It may have no reader, after a restart of the manager.
                let _ = fd::write(ready.as_fd(), b"\n");
            }
        }
        let sent = self.send(format_args!("READY=1\nSTATUS={about}"));
        // Where there is no such socket, none will come.
        self.owes_ready = sent.is_err_and(|error| !error.is_gone());
        sent.or_else(|error| if error.is_for_later() { Ok(()) } else { Err(error) })
    }

    /// Settings are being read, since `now`. Both in one message: else the second could be lost.
    pub fn reloading(&mut self, now: Moment) {
        let micros = now.0 / 1000;
        let _ = self.send(format_args!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub fn stopping(&mut self) {
        let _ = self.send(format_args!("STOPPING=1"));
    }

    /// How memory is.
    pub fn status(&mut self, about: fmt::Arguments<'_>) {
        let _ = self.send(format_args!("STATUS={about}"));
    }

    /// Gives a sign of life if one is due.
    pub fn live(&mut self, now: Moment) {
        if now < self.next {
            return;
        }
        self.next = now.after(AGAIN);
        if self.owes_ready {
            self.owes_ready = self.send(format_args!("READY=1")).is_err();
        }
        if let Some(every) = self.every {
            if self.send(format_args!("WATCHDOG=1")).is_ok() {
                self.next = now.after(if self.owes_ready { every.min(AGAIN) } else { every });
            }
        }
    }

    /// When one is due.
    pub fn deadline(&self) -> Option<Moment> {
        (self.every.is_some() || self.owes_ready).then_some(self.next)
    }

    /// By its address each time: the one that listens may have been replaced.
    fn send(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let Some((socket, address)) = &self.manager else { return Ok(()) };
        let mut message = Text::new();
        let _ = message.write_fmt(text);
        if message.is_cut() {
            message.end_with(b"...");
        }
        socket::send_to(socket.as_fd(), address.as_bytes(), message.as_bytes())
    }
}

fn address(text: &[u8]) -> Option<Buf<ADDRESS>> {
    let mut address = Buf::new();
    match text {
        [b'/', ..] => {
            address.push(text);
            address.push(b"\0");
        }
        [b'@', name @ ..] if !name.is_empty() => {
            address.push(b"\0");
            address.push(name);
        }
        _ => return None,
    }
    Some(address).filter(|address| !address.is_cut())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[&'static str]) -> (Supervisor, Result<(), &'static str>) {
        let variables = variables.iter().map(|variable| variable.as_bytes());
        Supervisor::of(variables, Pid::new(42).unwrap(), None)
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        let address = |text: &'static str| {
            let (it, told) = of(&[text]);
            assert_eq!(it.manager.is_some(), told.is_ok());
            it.manager.map(|(_, address)| address.as_bytes().to_vec())
        };
        assert_eq!(address("NOTIFY_SOCKET=/run/notify"), Some(b"/run/notify\0".to_vec()));
        assert_eq!(address("NOTIFY_SOCKET=@name"), Some(b"\0name".to_vec()));
        for wrong in ["", "@", "run/notify", "vsock:2:1234"] {
            let wrong = format!("NOTIFY_SOCKET={wrong}");
            assert_eq!(address(wrong.leak()), None);
        }
        assert_eq!(address(format!("NOTIFY_SOCKET=/{}", "x".repeat(107)).leak()), None);
        assert!(of(&["NOTIFY=1"]).0.manager.is_none());
    }

    #[test]
    fn signs_of_life_are_given_only_if_they_are_asked_of_this_process() {
        let every =
            |variables: &[&'static str]| of(&[&["NOTIFY_SOCKET=@x"], variables].concat()).0.every;
        let half = Some(Duration::from_secs(15));
        assert_eq!(every(&["WATCHDOG_USEC=30000000"]), half);
        assert_eq!(every(&["WATCHDOG_PID=42", "WATCHDOG_USEC=30000000"]), half);
        for none in ["WATCHDOG_PID=41", "WATCHDOG_PID=", "WATCHDOG_PID=-1"] {
            assert_eq!(every(&["WATCHDOG_USEC=30000000", none]), None);
        }
        for none in ["WATCHDOG_USEC=0", "WATCHDOG_USEC=x", "WATCHDOG_USEC="] {
            assert_eq!(every(&[none]), None);
        }
        assert_eq!(of(&["WATCHDOG_USEC=30000000"]).0.every, None);
    }
}
