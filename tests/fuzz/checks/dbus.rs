//! What a bus says is read as the D-Bus Specification has it, and never before it is there; what
//! is said to one is valid, whatever a process chose; and of an address only what a socket can be
//! called counts.

use super::cuts;
use crate::notify::wire::{answer, call, first_number, message, parse};
use crate::notify::wire::{Answer, Member, Values, MESSAGE};
use crate::notify::{address, text};

/// Which call a message answers, if it does, and its length; nothing while a part is missing.
type Read = Result<Option<(Option<u32>, usize)>, ()>;

fn read(bytes: &[u8]) -> Read {
    let read = parse(bytes).map_err(drop)?;
    Ok(read.map(|(answer, len)| (answer.map(|answer| answer.to), len)))
}

fn padded(len: usize) -> usize {
    len.div_ceil(8) * 8
}

/// The same, slowly, of a message that is whole.
fn plainly(bytes: &[u8]) -> Option<(Option<u32>, usize)> {
    let is_big = match bytes[0] {
        b'l' => false,
        b'B' => true,
        _ => return None,
    };
    let (body, end) = (number(bytes, 4, is_big)?, 16 + number(bytes, 12, is_big)?);
    let is_answer = matches!(bytes[1], 2 | 3);
    let to = answered(&bytes[..end], is_big).filter(|_| is_answer);
    Some((to, padded(end) + body))
}

fn number(bytes: &[u8], at: usize, is_big: bool) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) } as usize)
}

/// The call that the fields name, which end with `bytes`. Nothing, if one of them is not known.
fn answered(bytes: &[u8], is_big: bool) -> Option<u32> {
    let (mut at, mut to) = (16, None);
    while at < bytes.len() {
        at = padded(at);
        let code = *bytes.get(at)?;
        let kind = bytes.get(at + 1..at + 4)?;
        at = match kind {
            [1, b'u', 0] => {
                let value = number(bytes, at + 4, is_big)?;
                to = (code == 5).then_some(value as u32).or(to);
                at + 8
            }
            [1, b's' | b'o', 0] => at + 8 + number(bytes, at + 4, is_big)? + 1,
            [1, b'g', 0] => at + 5 + usize::from(*bytes.get(at + 4)?) + 1,
            _ => return None,
        };
        let ends_right = matches!(kind, [_, b'u', _]) || bytes.get(at - 1) == Some(&0);
        if at > bytes.len() || !ends_right {
            return None;
        }
    }
    to
}

pub fn check(input: &[u8]) {
    check_incoming(input);
    for is_big in [false, true] {
        let answer = error(is_big, input);
        assert_eq!(read(&answer), Ok(Some((Some(7), answer.len()))));
        check_incoming(&answer);
    }
    check_said(input);
    check_addresses(input);
}

/// A call is no answer, and what it gets is one, whatever the caller is called.
fn check_call(whole: &[u8]) {
    assert!(first_number(whole).is_none() || whole.len() >= 20);
    let Some(call) = call(whole) else { return };
    assert!(whole[1] == 1 && whole[2] & 1 == 0);
    let body = Values::default();
    for result in [Ok(("", &body)), Err("org.example.Error")] {
        let (is_error, said) = (result.is_err(), answer(7, &call, result));
        let expected = Some(Answer { to: call.serial, is_error });
        let len = said.as_bytes().len();
        if len <= MESSAGE {
            assert_eq!(parse(said.as_bytes()), Ok(Some((expected, len))));
        }
    }
}

fn check_incoming(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((answers, len))) = read(rest) {
        assert!((16..=rest.len().min(MESSAGE)).contains(&len), "{len}");
        assert_eq!(plainly(rest), Some((answers, len)));
        // What comes behind it changes nothing, and without its end it is not there.
        assert_eq!(read(&rest[..len]), Ok(Some((answers, len))));
        check_call(&rest[..len]);
        for end in cuts(&rest[..len]) {
            assert_eq!(read(&rest[..end]), Ok(None), "cut at {end}");
        }
        rest = &rest[len..];
    }
    if read(rest) == Ok(None) {
        // More may come, but never more than there is room for.
        assert!(rest.len() < MESSAGE);
    } else {
        assert_eq!(read(&[rest, &[0; 100]].concat()), Err(()));
    }
}

/// An error in answer to message 7, with a text of the server's own.
fn error(is_big: bool, text: &[u8]) -> Vec<u8> {
    let number = |number: usize| match is_big {
        true => (number as u32).to_be_bytes(),
        false => (number as u32).to_le_bytes(),
    };
    let text = &text[..text.len().min(1000)];
    let name = b"org.example.Error";
    let mut whole = vec![if is_big { b'B' } else { b'l' }, 3, 0, 1];
    for part in [4 + text.len() + 1, 99, 8 + 8 + name.len() + 1] {
        whole.extend(number(part));
    }
    whole.extend([5, 1, b'u', 0]);
    whole.extend(number(7));
    whole.extend([4, 1, b's', 0]);
    whole.extend(number(name.len()));
    whole.extend(name);
    whole.resize(padded(whole.len() + 1), 0);
    whole.extend(number(text.len()));
    whole.extend(text);
    whole.push(0);
    whole
}

/// A process may choose the whole summary and the whole body.
fn check_said(input: &[u8]) {
    let member = Member {
        destination: Some("org.freedesktop.Notifications"),
        path: "/org/freedesktop/Notifications",
        interface: "org.freedesktop.Notifications",
        name: "Notify",
        signature: "ss",
    };
    let (summary, body) = (text::plain(input), text::without_markup(input));
    let mut values = Values::default();
    for said in [&summary, &body] {
        let said = std::str::from_utf8(said.as_bytes()).expect("valid UTF-8");
        assert!(!said.contains(char::is_control), "{said:?}");
        values.string(said.as_bytes());
    }
    let body = String::from_utf8_lossy(body.as_bytes());
    assert!(!body.contains(['<', '>']), "{body:?}");
    let is_entity = |rest: &str| ["amp;", "lt;", "gt;"].iter().any(|name| rest.starts_with(name));
    assert!(body.split('&').skip(1).all(is_entity), "{body:?}");
    let whole = message(7, &member, &values);
    assert_eq!(read(whole.as_bytes()), Ok(Some((None, whole.as_bytes().len()))));
}

fn check_addresses(input: &[u8]) {
    let names: Vec<_> = address::names(input).collect();
    assert!(names.len() <= 4);
    for name in names {
        // As `sun_path` takes it: a path and its NUL, or a NUL and an abstract name.
        assert!((2..=108).contains(&name.len()));
        assert_eq!(name.iter().filter(|&&byte| byte == 0).count(), 1);
        assert!(name.starts_with(b"\0") || name.ends_with(b"\0"));
    }
}
