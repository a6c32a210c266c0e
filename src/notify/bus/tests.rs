use super::*;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Instant;

/// Long enough on a busy machine, short enough to wait for.
const TIME: Duration = Duration::from_millis(300);

/// Does with the first client what `play` does, until that has gone; tells what
/// `Bus::enter` made of it, and how long that took.
fn enter_one_that(play: impl FnOnce(UnixStream) + Send + 'static) -> (Option<Fault>, Duration) {
    enter(Some(process::own_user()), play)
}

fn enter(
    owner: Option<u32>,
    play: impl FnOnce(UnixStream) + Send + 'static,
) -> (Option<Fault>, Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || play(listener.accept().unwrap().0));
    let start = Instant::now();
    let address = format!("unix:path=/nowhere;unix:path={},guid=0", path.display());
    let fault = Bus::enter(address.as_bytes(), owner, clock::now().after(TIME)).err();
    let took = start.elapsed();
    server.join().unwrap();
    (fault, took)
}

/// Reads until the other side closes.
fn read_all(mut stream: UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

/// Lets any client in, and takes its first message, in however many pieces it comes.
fn let_in(stream: &mut UnixStream) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 1000])?;
    stream.write_all(b"OK 0123456789abcdef\r\n")?;
    stream.read_exact(&mut [0; b"BEGIN\r\n".len()])?;
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    // It has no body: behind the head there are its fields, of the length that stands last there.
    let fields = u32::from_le_bytes(head[12..].try_into().unwrap()) as usize;
    stream.read_exact(&mut vec![0; fields.next_multiple_of(8)])
}

/// Lets any client in and answers its first message with `answers`.
fn answer(mut stream: UnixStream, answers: &[&[u8]]) {
    let _ = let_in(&mut stream);
    for answer in answers {
        // In pieces, as it may come.
        for piece in answer.chunks(7) {
            let _ = stream.write_all(piece);
        }
    }
    let _ = read_all(stream);
}

/// A return to message 1, in the other byte order, and a signal.
const RETURN: &[u8] = b"B\x02\x01\x01\0\0\0\0\0\0\0\x05\0\0\0\x08\x05\x01u\0\0\0\0\x01";
const SIGNAL: &[u8] = b"l\x04\x01\x01\x03\0\0\0\x05\0\0\0\0\0\0\0abc";

/// A signal with a field of which neither number nor type is known: 100, of bytes.
const STRANGE: &[u8] =
    b"l\x04\x01\x01\x03\0\0\0\x05\0\0\0\x0d\0\0\0\x64\x02ay\0\0\0\0\x01\0\0\0\x07\0\0\0abc";

/// One with a body of that length, which looks like anything.
fn long(body: usize) -> Vec<u8> {
    let mut long = b"l\x04\x01\x01".to_vec();
    [body as u32, 9, 0].into_iter().for_each(|number| long.extend(number.to_le_bytes()));
    long.resize(long.len() + body, b'l');
    long
}

#[test]
fn a_bus_lets_us_in_and_may_say_other_things_first() {
    let long = long(5000);
    let (fault, _) =
        enter_one_that(move |stream| answer(stream, &[SIGNAL, STRANGE, SIGNAL, &long, RETURN]));
    assert_eq!(fault, None);
}

#[test]
fn we_say_who_we_are_before_anything_else() {
    let (sender, receiver) = std::sync::mpsc::channel();
    enter_one_that(move |stream| sender.send(read_all(stream)).unwrap());
    let user = process::own_user().to_string();
    let hex: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
    assert_eq!(receiver.recv().unwrap(), format!("\0AUTH EXTERNAL {hex}\r\n").into_bytes());
}

#[test]
fn another_users_socket_hears_nothing() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let other = Some(process::own_user() + 1);
    let (fault, _) = enter(other, move |stream| sender.send(read_all(stream)).unwrap());
    assert_eq!(fault, Some(Fault::NoBus));
    assert_eq!(receiver.recv().unwrap(), b"");
}

#[test]
fn silence_costs_the_time_there_is() {
    for silent in [0, 1, 2] {
        let (fault, took) = enter_one_that(move |stream| match silent {
            0 => drop(read_all(stream)),
            1 => answer(stream, &[]),
            // A message that never ends.
            _ => answer(stream, &[&RETURN[..20]]),
        });
        assert_eq!(fault, Some(Fault::Silent), "{silent}");
        assert!(took >= TIME && took < 10 * TIME, "{took:?}");
    }
}

#[test]
fn a_bus_that_talks_without_end_is_not_listened_to_longer() {
    for said in [SIGNAL, b"x"] {
        let (_, took) = enter_one_that(move |mut stream| {
            let _ = stream.write_all(if said == SIGNAL { b"OK 0\r\n" } else { b"" });
            while stream.write_all(said).is_ok() {}
        });
        assert!(took < 10 * TIME, "{took:?}");
    }
}

#[test]
fn what_is_no_bus_is_left_at_once() {
    let fault = |play: fn(UnixStream)| enter_one_that(play).0;
    let say = |mut stream: UnixStream, said: &[u8]| {
        let _ = stream.write_all(said);
        read_all(stream);
    };
    assert_eq!(fault(drop), Some(Fault::HungUp));
    let said = enter_one_that(move |stream| say(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")).0;
    assert_eq!(said, Some(Fault::Garbage));
    let said = enter_one_that(move |stream| say(stream, &[0xff; 2 * MESSAGE])).0;
    assert_eq!(said, Some(Fault::Garbage));
    assert_eq!(fault(|stream| answer(stream, &[b"garbage garbage "])), Some(Fault::Garbage));
    assert_eq!(fault(|stream| answer(stream, &[&[b'l'; 100]])), Some(Fault::Garbage));
}

#[test]
fn a_bus_that_refuses_is_asked_no_further() {
    let (fault, _) = enter_one_that(|mut stream| {
        let _ = stream.write_all(b"REJECTED DBUS_COOKIE_SHA1 ANONYMOUS\r\n");
        read_all(stream);
    });
    assert_eq!(fault, Some(Fault::Refused));
    let mut error = b"l\x03\x01\x01\0\0\0\0\x05\0\0\0\x24\0\0\0".to_vec();
    error.extend(b"\x05\x01u\0\x01\0\0\0\x04\x01s\0\x13\0\0\0org.example.Refused\0\0\0\0\0");
    let (fault, _) = enter_one_that(move |stream| answer(stream, &[&error]));
    assert_eq!(fault, Some(Fault::Refused));
}

/// A call of ours, as a bus hands it on: with its sender.
const PING: &[u8] = b"l\x01\0\x01\0\0\0\0\x2a\0\0\0\x1d\0\0\0\x07\x01s\0\x04\0\0\0:1.2\0\0\0\0\
    \x03\x01s\0\x04\0\0\0Ping\0\0\0\0";

#[test]
fn calls_are_answered_behind_whatever_is_too_long_or_strange() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let_in(&mut stream).unwrap();
        stream.write_all(RETURN).unwrap();
        let mut answers = 0;
        for body in [MESSAGE, 3 * MESSAGE + 1, 100_000] {
            stream.write_all(&[&long(body)[..], STRANGE, PING, SIGNAL].concat()).unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
            let mut rest = vec![0; 4096];
            let len = stream.read(&mut rest).unwrap();
            // What it answers: 42.
            assert_eq!((head[1], &rest[..8]), (2, &b"\x05\x01u\0\x2a\0\0\0"[..]), "{len}");
            answers += 1;
        }
        answers
    });
    let address = format!("unix:path={}", path.display());
    let end = clock::now().after(100 * TIME);
    let mut bus = Bus::enter(address.as_bytes(), Some(process::own_user()), end).unwrap();
    let pong = |serial, call: &Call<'_>| wire::answer(serial, call, Ok(("", &Values::default())));
    let mut served = Ok(());
    while served.is_ok() {
        served = bus.serve(pong);
    }
    assert_eq!(served, Err(Fault::HungUp));
    assert_eq!(server.join().unwrap(), 3);
}

#[test]
fn a_socket_without_a_listener_is_no_bus() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    drop(UnixListener::bind(dir.path().join("left")).unwrap());
    for name in ["file", "left", "missing"] {
        let address = format!("unix:path={}", dir.path().join(name).display());
        let entered = Bus::enter(address.as_bytes(), None, clock::now().after(TIME));
        assert_eq!(entered.err(), Some(Fault::NoBus), "{name}");
    }
}
