//! What a messenger does: it becomes the user, looks for that user's buses and shows the news there.
//!
//! The user chose all that it reads: at worst that user is not told.

use super::address::{self, Name};
use super::bus::Bus;
use super::wire::{Member, Values};
use super::{text, News, ONE};
use crate::bytes::Buf;
use crate::procfs::Proc;
use crate::sys::fd::Owner;
use crate::sys::{clock, process};
use crate::units::Pid;
use std::fmt::Write;

/// Several addresses and their escapes; one that is longer is no real one.
type Address = Buf<1024>;

/// Buses of one user that are tried: one for each session, with some to spare.
const TRIED: usize = 8;

const NOTIFY: Member = Member {
    destination: Some("org.freedesktop.Notifications"),
    path: "/org/freedesktop/Notifications",
    interface: "org.freedesktop.Notifications",
    name: "Notify",
    signature: "susssasa{sv}i",
};

/// Shows the news on the user's own bus, or if there is none, on that of each
/// session, which only its processes know. True if one of them took it.
pub fn visit(owner: Owner, processes: &[(Owner, Pid)], news: &News<'_>) -> bool {
    let user = owner.user;
    let Ok(mut proc) = Proc::system() else { return false };
    if user != process::own_user() && !process::become_user(owner) {
        return false;
    }
    let is_for_all = user != 0 && news.owner != Some(user);
    let body = if is_for_all { news.body } else { news.body_for_owner };
    let notification = notification(news.summary, body);
    let end = clock::now().after(ONE);
    let show_at = |addresses: &[u8], tried: &mut Vec<Name>| {
        let Some(name) = address::names(addresses).next() else { return false };
        if tried.contains(&name) {
            return false;
        }
        tried.push(name);
        // Half of what is left, so that one that hangs leaves time for others.
        let now = clock::now();
        let end = now.after(end.since(now) / 2);
        let bus = Bus::enter(addresses, Some(user), end);
        bus.is_ok_and(|mut bus| bus.call(&NOTIFY, &notification).is_ok())
    };
    let mut address = Address::new();
    let _ = write!(address, "unix:path=/run/user/{user}/bus");
    let mut tried = Vec::new();
    if show_at(address.as_bytes(), &mut tried) {
        return true;
    }
    let mut is_told = false;
    for &(_, pid) in processes.iter().filter(|(of, _)| of.user == user) {
        if tried.len() == TRIED || clock::now() >= end {
            break;
        }
        address.clear();
        let known = proc.variable(pid, b"DBUS_SESSION_BUS_ADDRESS", &mut address);
        if known.unwrap_or(false) && !address.is_cut() {
            is_told |= show_at(address.as_bytes(), &mut tried);
        }
    }
    is_told
}

const REPLACES_NONE: u32 = 0;
/// The length of a list of strings.
const NO_ACTIONS: u32 = 0;
const CRITICAL: u8 = 2;
/// -1: for how long, the desktop knows.
const AS_LONG_AS_OTHERS: u32 = u32::MAX;

/// What `Notify` is given (Desktop Notifications Specification).
fn notification(summary: &[u8], body: &[u8]) -> Values {
    let (mut values, mut hints) = (Values::default(), Values::default());
    values.string(b"oom_guard");
    values.number(REPLACES_NONE);
    values.string(b"dialog-warning");
    values.string(text::plain(summary).as_bytes());
    values.string(text::without_markup(body).as_bytes());
    values.number(NO_ACTIONS);
    hints.string(b"urgency");
    hints.signature("y");
    hints.byte(CRITICAL);
    values.structures(&hints);
    values.number(AS_LONG_AS_OTHERS);
    values
}

#[cfg(test)]
mod tests {
    use super::super::wire::{message, MESSAGE};
    use super::*;

    /// What the library of D-Bus (libdbus 1.14.10) sends for the same call, by way of
    /// `dbus.lowlevel.MethodCallMessage` of Python.
    const RECORDED: &str = "6c01000164000000020000009b00000001016f001e0000002f6f72672f6672656564657\
        36b746f702f4e6f74696669636174696f6e730000060173001d0000006f72672e667265656465736b746f702e4e6f\
        74696669636174696f6e73000000020173001d0000006f72672e667265656465736b746f702e4e6f7469666963617\
        4696f6e7300000003017300060000004e6f746966790000080167000d73757373736173617b73767d690000000000\
        00090000006f6f6d5f6775617264000000000000000e0000006469616c6f672d7761726e696e6700000a0000006c6f\
        77206d656d6f727900000a000000656e646564207461696c0000000000001000000007000000757267656e637900\
        01790002ffffffff";

    #[test]
    fn the_call_is_what_the_library_sends() {
        let whole = message(2, &NOTIFY, &notification(b"low memory", b"ended tail"));
        let hex: String = whole.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, RECORDED);
    }

    #[test]
    fn the_longest_texts_fit_in_a_message() {
        let whole = message(2, &NOTIFY, &notification(&[b'x'; 5000], &[b'<'; 5000]));
        assert!(whole.as_bytes().len() < MESSAGE, "{}", whole.as_bytes().len());
        assert!(whole.as_bytes().ends_with(&u32::MAX.to_le_bytes()));
    }
}
