//! Messages of D-Bus as bytes (D-Bus Specification, "Message Protocol"): as much as it
//! takes to call a method, to send a signal and to know the answer.
//!
//! Never reads or writes anything itself. What comes back may be anything: a message is
//! refused as a whole before one byte of it is read that is not there.

/// The longest message that is sent or taken. What is sent here has two texts and comes to
/// 2.5 KiB at most; the answers of a bus to a new client, to some 200 bytes.
pub const MESSAGE: usize = 4096;

/// A method, or a signal if there is no `destination`.
pub struct Member {
    pub destination: Option<&'static str>,
    pub path: &'static str,
    pub interface: &'static str,
    pub name: &'static str,
    /// Of what it is given.
    pub signature: &'static str,
}

// Kinds of messages, the one flag that is used, and the fields of a header.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const NO_REPLY_EXPECTED: u8 = 1;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Values one behind the other, each at a multiple of its own size.
#[derive(Default)]
pub struct Values {
    bytes: Vec<u8>,
}

impl Values {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn align(&mut self, to: usize) {
        while self.bytes.len() % to != 0 {
            self.byte(0);
        }
    }

    pub fn byte(&mut self, value: u8) {
        self.push(&[value]);
    }

    pub fn number(&mut self, value: u32) {
        self.align(4);
        self.push(&value.to_le_bytes());
    }

    /// A string or an object path: valid UTF-8 without a NUL.
    pub fn string(&mut self, text: &[u8]) {
        self.number(text.len() as u32);
        self.push(text);
        self.byte(0);
    }

    pub fn signature(&mut self, text: &str) {
        self.byte(text.len() as u8);
        self.push(text.as_bytes());
        self.byte(0);
    }

    /// An array of structures or of dictionary entries.
    pub fn structures(&mut self, elements: &Values) {
        self.number(elements.as_bytes().len() as u32);
        self.align(8);
        self.push(elements.as_bytes());
    }

    /// A field of a header, of type `kind`.
    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.byte(code);
        self.signature(kind);
        match kind {
            "g" => self.signature(value),
            _ => self.string(value.as_bytes()),
        }
    }
}

/// A whole message. `serial` is what the answer refers to, and never 0.
pub fn message(serial: u32, member: &Member, body: &Values) -> Values {
    let mut fields = Values::default();
    fields.field(PATH, "o", member.path);
    if let Some(destination) = member.destination {
        fields.field(DESTINATION, "s", destination);
    }
    fields.field(INTERFACE, "s", member.interface);
    fields.field(MEMBER, "s", member.name);
    if !member.signature.is_empty() {
        fields.field(SIGNATURE, "g", member.signature);
    }
    let mut whole = Values::default();
    whole.byte(b'l');
    match member.destination {
        Some(_) => whole.push(&[CALL, 0]),
        None => whole.push(&[SIGNAL, NO_REPLY_EXPECTED]),
    }
    whole.byte(1);
    whole.number(body.as_bytes().len() as u32);
    whole.number(serial);
    whole.structures(&fields);
    whole.align(8);
    whole.push(body.as_bytes());
    whole
}

/// What a client cares about: the answer to a call of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The serial of the call.
    pub to: u32,
    pub is_error: bool,
}

/// What no bus would say to a new client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garbage;

/// The message that `bytes` begin with, if it is an answer, and its length; `None` while a part is
/// missing.
pub fn parse(bytes: &[u8]) -> Result<Option<(Option<Answer>, usize)>, Garbage> {
    let Some(&order) = bytes.first() else { return Ok(None) };
    let is_big = match order {
        b'l' => false,
        b'B' => true,
        _ => return Err(Garbage),
    };
    let mut head = Reader { bytes, at: 1, is_big };
    let Some([kind, body, fields]) = head.head() else { return Ok(None) };
    let fields_end = HEAD as u64 + u64::from(fields);
    let whole = fields_end.div_ceil(8) * 8 + u64::from(body);
    if bytes[3] != 1 || whole > MESSAGE as u64 {
        return Err(Garbage);
    }
    let whole = whole as usize;
    if bytes.len() < whole {
        return Ok(None);
    }
    let mut fields = Reader { bytes: &bytes[..fields_end as usize], at: HEAD, is_big };
    let to = fields.reply_serial().ok_or(Garbage)?;
    let answer = match kind as u8 {
        kind @ (RETURN | ERROR) => Some(Answer { to: to.ok_or(Garbage)?, is_error: kind == ERROR }),
        _ => None,
    };
    Ok(Some((answer, whole)))
}

/// The fields begin here: behind byte order, kind, flags and version, and three numbers.
const HEAD: usize = 16;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_big: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.take((to - self.at % to) % to).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Kind, length of the body and length of the fields, from behind the byte order on.
    fn head(&mut self) -> Option<[u32; 3]> {
        let kind = self.byte()?;
        let (body, _serial, fields) = (self.number()?, self.number()?, self.number()?);
        Some([kind.into(), body, fields])
    }

    /// Text of that length, and its NUL.
    fn text(&mut self, len: usize) -> Option<&'a [u8]> {
        let (text, end) = (self.take(len)?, self.byte()?);
        (end == 0).then_some(text)
    }

    fn signature(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        self.text(len.into())
    }

    /// Reads all fields of a header: each is a code and a value with its type. `None` if they make
    /// no sense.
    fn reply_serial(&mut self) -> Option<Option<u32>> {
        let mut to = None;
        while self.at < self.bytes.len() {
            self.align(8)?;
            let code = self.byte()?;
            match (code, self.signature()?) {
                (REPLY_SERIAL, b"u") => to = Some(self.number()?),
                (_, b"u") => drop(self.number()?),
                (_, b"s" | b"o") => {
                    let len = self.number()?;
                    self.text(len as usize)?;
                }
                (_, b"g") => drop(self.signature()?),
                // No field of a header has another type.
                _ => return None,
            }
        }
        Some(to)
    }
}

#[cfg(test)]
mod tests;
