//! Something that listens where a bus should, and behaves in its own manner.
//!
//! ```text
//! bus MANNER NAME
//! ```
//!
//! NAME is a path, or with an `@` before it a name of the abstract namespace. MANNER is
//!
//! - `good`: lets everyone in, answers each call, and prints all texts of each message
//!   that are longer than one byte, between bars
//! - `hang`: takes what comes and says nothing
//! - `garbage`: answers with what is no D-Bus
//! - `close`: hangs up at once
//! - `refuse`: lets nobody in
//!
//! Prints `ready` once it listens, and then never ends by itself.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manner, name] = &arguments[..] else { panic!("MANNER NAME") };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let listener = UnixListener::bind_addr(&address.expect("an address")).expect("bind");
    println!("ready");
    for stream in listener.incoming() {
        let (stream, manner) = (stream.expect("accept"), manner.clone());
        thread::spawn(move || serve(stream, &manner));
    }
}

fn serve(mut stream: UnixStream, manner: &str) {
    match manner {
        "good" => drop(serve_well(stream)),
        "hang" => read_all(stream),
        "garbage" => {
            let _ = stream.write_all(&[b'?'; 100_000]);
            read_all(stream);
        }
        "close" => {}
        "refuse" => {
            let _ = stream.write_all(b"REJECTED KERBEROS_V4\r\n");
            read_all(stream);
        }
        _ => panic!("what is {manner}?"),
    }
}

fn read_all(mut stream: UnixStream) {
    let mut buf = [0; 4096];
    while stream.read(&mut buf).is_ok_and(|len| len > 0) {}
}

fn serve_well(mut stream: UnixStream) -> std::io::Result<()> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"BEGIN\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.ends_with(b"\r\n") && line.starts_with(b"\0AUTH EXTERNAL ") {
            stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
            line.clear();
        }
    }
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4"));
        let (body, serial, fields) = (number(4), number(8), number(12));
        let mut rest = vec![0; (fields as usize).div_ceil(8) * 8 + body as usize];
        stream.read_exact(&mut rest)?;
        let texts = rest.split(|&byte| byte < b' ').filter(|text| text.len() > 1);
        let texts: Vec<_> = texts.map(String::from_utf8_lossy).collect();
        println!("|{}|", texts.join("|"));
        let no_reply_expected = 1;
        if head[2] & no_reply_expected == 0 {
            // A return whose only field is what it answers.
            let mut answer = b"l\x02\x01\x01\0\0\0\0\x01\0\0\0\x08\0\0\0\x05\x01u\0".to_vec();
            answer.extend(serial.to_le_bytes());
            stream.write_all(&answer)?;
        }
    }
}
