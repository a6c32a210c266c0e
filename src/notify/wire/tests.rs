use super::*;

/// What `dbus-send --system / net.nuetzlich.SystemNotifications.Notify 'string:low memory'
/// 'string:ended tail'` of dbus 1.14.10 sends: its hello, then the signal.
const HELLO: &str = "6c01000100000000010000006e00000001016f00150000002f6f72672f667265656465736b746f\
    702f4442757300000006017300140000006f72672e667265656465736b746f702e44427573000000000201730014000000\
    6f72672e667265656465736b746f702e4442757300000000030173000500000048656c6c6f000000";
const BROADCAST: &str = "6c0401011f000000020000005800000001016f00010000002f000000000000000201730021\
    0000006e65742e6e7565747a6c6963682e53797374656d4e6f74696669636174696f6e73000000000000000301730006\
    0000004e6f74696679000008016700027373000a0000006c6f77206d656d6f727900000a000000656e646564207461696c\
    00";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_bus(name: &'static str) -> Member {
    Member {
        destination: Some("org.freedesktop.DBus"),
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        name,
        signature: "",
    }
}

#[test]
fn a_call_is_what_dbus_send_sends() {
    let whole = message(1, &of_bus("Hello"), &Values::default());
    assert_eq!(hex(whole.as_bytes()), HELLO);
}

#[test]
fn a_signal_is_what_dbus_send_sends() {
    let mut body = Values::default();
    body.string(b"low memory");
    body.string(b"ended tail");
    let whole = message(2, &super::super::BROADCAST, &body);
    assert_eq!(hex(whole.as_bytes()), BROADCAST);
}

/// What a bus sends, in either byte order.
struct Forged {
    bytes: Vec<u8>,
    is_big: bool,
}

impl Forged {
    fn number(&mut self, value: u32) {
        let bytes = if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() };
        self.bytes.extend(bytes);
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().div_ceil(8) * 8, 0);
    }

    fn head(is_big: bool, kind: u8, body: u32, fields: u32) -> Forged {
        let order = if is_big { b'B' } else { b'l' };
        let mut forged = Forged { bytes: vec![order, kind, 1, 1], is_big };
        [body, 7, fields].into_iter().for_each(|number| forged.number(number));
        forged
    }

    fn error(is_big: bool) -> Vec<u8> {
        let name = b"org.example.No";
        let fields = 8 + 8 + name.len() as u32 + 1;
        let mut forged = Forged::head(is_big, ERROR, 5, fields);
        forged.bytes.extend([REPLY_SERIAL, 1, b'u', 0]);
        forged.number(9);
        forged.bytes.extend([4, 1, b's', 0]);
        forged.number(name.len() as u32);
        forged.bytes.extend(name);
        forged.bytes.push(0);
        forged.align();
        forged.bytes.extend(b"body\0");
        forged.bytes
    }
}

#[test]
fn answers_are_understood_in_both_byte_orders() {
    for is_big in [false, true] {
        let error = Forged::error(is_big);
        let expected = Some(Answer { to: 9, is_error: true });
        assert_eq!(parse(&error), Ok(Some((expected, error.len()))));
        let two = [&error[..], b"l"].concat();
        assert_eq!(parse(&two), Ok(Some((expected, error.len()))));
    }
}

#[test]
fn of_a_part_nothing_is_said() {
    for is_big in [false, true] {
        let error = Forged::error(is_big);
        for len in 0..error.len() {
            assert_eq!(parse(&error[..len]), Ok(None), "{len}");
        }
    }
}

#[test]
fn what_we_send_is_no_answer() {
    let whole = message(1, &of_bus("Hello"), &Values::default());
    let bytes = whole.as_bytes();
    assert_eq!(parse(bytes), Ok(Some((None, bytes.len()))));
}

/// A call, as a bus hands it on.
fn forged_call(is_big: bool, flags: u8, with_interface: bool) -> Vec<u8> {
    let texts: &[(u8, &[u8])] = &[(SENDER, b":1.42"), (MEMBER, b"Ping"), (INTERFACE, b"a.b")];
    let mut fields = Forged { bytes: Vec::new(), is_big };
    for (code, text) in &texts[..if with_interface { 3 } else { 2 }] {
        fields.align();
        fields.bytes.extend([*code, 1, b's', 0]);
        fields.number(text.len() as u32);
        fields.bytes.extend(*text);
        fields.bytes.push(0);
    }
    let mut forged = Forged::head(is_big, CALL, 4, fields.bytes.len() as u32);
    forged.bytes[2] = flags;
    forged.bytes.extend(fields.bytes);
    forged.align();
    forged.number(0x0102_0304);
    forged.bytes
}

#[test]
fn a_call_is_understood_and_its_answer_is_one() {
    for is_big in [false, true] {
        let bytes = forged_call(is_big, 0, true);
        assert_eq!(parse(&bytes), Ok(Some((None, bytes.len()))));
        let expected = Call { serial: 7, sender: b":1.42", interface: b"a.b", name: b"Ping" };
        assert_eq!(call(&bytes), Some(expected));
        assert_eq!(first_number(&bytes), Some(0x0102_0304));
        let mut body = Values::default();
        body.number(4);
        for (result, is_error, number) in
            [(Ok(("u", &body)), false, Some(4)), (Err("org.example.No"), true, None)]
        {
            let answer = answer(3, &expected, result);
            let bytes = answer.as_bytes();
            let told = Some(Answer { to: 7, is_error });
            assert_eq!(parse(bytes), Ok(Some((told, bytes.len()))));
            assert_eq!(first_number(bytes), number);
            assert!(bytes.windows(6).any(|part| part == b":1.42\0"));
            // Nothing answers an answer.
            assert_eq!(call(bytes), None);
        }
    }
    assert_eq!(call(&forged_call(false, 0, false)).unwrap().interface, b"");
    assert_eq!(call(&forged_call(false, NO_REPLY_EXPECTED, true)), None);
    // One that no bus has handed on has no sender.
    assert_eq!(call(message(1, &of_bus("Hello"), &Values::default()).as_bytes()), None);
    let bytes = forged_call(false, 0, true);
    for len in 0..bytes.len() {
        let _ = (call(&bytes[..len]), first_number(&bytes[..len]));
    }
}

#[test]
fn a_message_that_is_too_long_tells_how_long() {
    let head = |body| Forged::head(false, CALL, body, 0).bytes;
    assert_eq!(excess(&head(MESSAGE as u32)), Some(MESSAGE + HEAD));
    assert_eq!(excess(&head((1 << 27) - 16)), Some(1 << 27));
    for other in [head(0), head((MESSAGE - HEAD) as u32), head(1 << 27), head(u32::MAX)] {
        assert_eq!(excess(&other), None, "{other:?}");
    }
    assert_eq!(excess(&head(5000)[..15]), None);
    assert_eq!(excess(b"HTTP/1.1 400 Bad Request\r\n"), None);
}

#[test]
fn huge_lengths_and_other_versions_are_garbage() {
    let with = |body, fields| Forged::head(false, RETURN, body, fields).bytes;
    for (body, fields) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX), (MESSAGE as u32, 0)]
    {
        assert_eq!(parse(&with(body, fields)), Err(Garbage), "{body} {fields}");
    }
    let mut other = Forged::error(false);
    other[3] = 2;
    assert_eq!(parse(&other), Err(Garbage));
    assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n"), Err(Garbage));
}

#[test]
fn of_a_message_whose_fields_cannot_be_read_its_length_counts() {
    // An answer to nothing.
    let none = Forged::head(false, RETURN, 0, 0).bytes;
    assert_eq!(parse(&none), Ok(Some((None, none.len()))));
    // A text that is longer than the fields it stands in.
    let mut long = Forged::error(false);
    long[28] = 200;
    assert_eq!(parse(&long), Ok(Some((None, long.len()))));
    // Another type.
    for mut strange in [Forged::error(true), forged_call(true, 0, true)] {
        strange[HEAD..HEAD + 4].copy_from_slice(b"\x64\x01y\0");
        assert_eq!(parse(&strange), Ok(Some((None, strange.len()))));
        assert_eq!(call(&strange), None);
    }
}

/// xorshift64; the same numbers each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}

#[test]
fn whatever_comes_the_length_that_is_named_is_there() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let check = |bytes: &[u8]| {
        if let Ok(Some((_, len))) = parse(bytes) {
            assert!((HEAD..=bytes.len()).contains(&len), "{len} of {bytes:?}");
            let _ = (call(&bytes[..len]), first_number(&bytes[..len]));
        }
    };
    let mut understood = 0;
    for round in 0..200_000 {
        let mut bytes = match round % 3 {
            0 => (0..dice.below(100)).map(|_| dice.roll() as u8).collect(),
            1 => Forged::error(true),
            _ if dice.roll() % 2 == 0 => forged_call(false, 0, true),
            _ => Forged::error(false),
        };
        if round % 3 == 0 && bytes.len() > 3 {
            // Else nothing gets any further.
            (bytes[0], bytes[3]) = (b'l', 1);
            bytes.iter_mut().skip(4).filter(|byte| **byte % 4 != 0).for_each(|byte| *byte = 0);
        }
        for _ in 0..dice.below(4) {
            if !bytes.is_empty() {
                let at = dice.below(bytes.len());
                bytes[at] = dice.roll() as u8;
            }
        }
        bytes.truncate(bytes.len() - dice.below(bytes.len() / 4 + 1));
        check(&bytes);
        understood += usize::from(matches!(parse(&bytes), Ok(Some(_))));
    }
    assert!(understood > 5000, "{understood}: the test has gone blind");
}
