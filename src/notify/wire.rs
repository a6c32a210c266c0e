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
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
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
    fn field(&mut self, code: u8, kind: &str, value: &[u8]) {
        self.align(8);
        self.byte(code);
        self.signature(kind);
        self.string(value);
    }

    /// The one that says what types the body has; none without a body.
    fn signature_field(&mut self, types: &str) {
        if !types.is_empty() {
            self.align(8);
            self.byte(SIGNATURE);
            self.signature("g");
            self.signature(types);
        }
    }

    /// The one that says which call is answered.
    fn reply_field(&mut self, serial: u32) {
        self.align(8);
        self.byte(REPLY_SERIAL);
        self.signature("u");
        self.number(serial);
    }
}

/// A whole message. `serial` is what the answer refers to, and never 0.
pub fn message(serial: u32, member: &Member, body: &Values) -> Values {
    let mut fields = Values::default();
    fields.field(PATH, "o", member.path.as_bytes());
    if let Some(destination) = member.destination {
        fields.field(DESTINATION, "s", destination.as_bytes());
    }
    fields.field(INTERFACE, "s", member.interface.as_bytes());
    fields.field(MEMBER, "s", member.name.as_bytes());
    fields.signature_field(member.signature);
    match member.destination {
        Some(_) => whole([CALL, 0], serial, &fields, body),
        None => whole([SIGNAL, NO_REPLY_EXPECTED], serial, &fields, body),
    }
}

/// The answer to a call: what it returns, with the types of that, or the name of an error.
pub fn answer(
    serial: u32,
    call: &Call<'_>,
    result: Result<(&'static str, &Values), &'static str>,
) -> Values {
    let mut fields = Values::default();
    fields.reply_field(call.serial);
    fields.field(DESTINATION, "s", call.sender);
    match result {
        Ok((types, body)) => {
            fields.signature_field(types);
            whole([RETURN, NO_REPLY_EXPECTED], serial, &fields, body)
        }
        Err(name) => {
            fields.field(ERROR_NAME, "s", name.as_bytes());
            whole([ERROR, NO_REPLY_EXPECTED], serial, &fields, &Values::default())
        }
    }
}

/// `head` is the kind and the flags.
fn whole(head: [u8; 2], serial: u32, fields: &Values, body: &Values) -> Values {
    let mut whole = Values::default();
    whole.byte(b'l');
    whole.push(&head);
    whole.byte(1);
    whole.number(body.as_bytes().len() as u32);
    whole.number(serial);
    whole.structures(fields);
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

/// A call of a method that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    pub serial: u32,
    pub sender: &'a [u8],
    /// Empty if the caller does not say.
    pub interface: &'a [u8],
    pub name: &'a [u8],
}

/// What no bus would say to a new client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garbage;

/// The message that `bytes` begin with, if it is an answer, and its length in bytes; `None` while a
/// part is missing. A message whose fields cannot be read is no answer. It is no fault of the bus: any
/// client may send fields of a later specification (D-Bus Specification, "Header Fields").
pub fn parse(bytes: &[u8]) -> Result<Option<(Option<Answer>, usize)>, Garbage> {
    let Some(head) = head(bytes)? else { return Ok(None) };
    let whole = head.whole();
    if whole > MESSAGE as u64 {
        return Err(Garbage);
    }
    let whole = whole as usize;
    if bytes.len() < whole {
        return Ok(None);
    }
    let is_answer = matches!(head.kind, RETURN | ERROR);
    let to = head.fields(bytes).and_then(|fields| fields.to).filter(|_| is_answer);
    Ok(Some((to.map(|to| Answer { to, is_error: head.kind == ERROR }), whole)))
}

/// How long the message is that `bytes` begin with, if that is longer than is taken.
pub fn excess(bytes: &[u8]) -> Option<usize> {
    // "The maximum length of a message, including header, header alignment padding, and body is
    // 2 to the 27th power" (D-Bus Specification, "Message Format").
    const LONGEST: u64 = 1 << 27;
    let whole = head(bytes).ok()??.whole();
    (whole > MESSAGE as u64 && whole <= LONGEST).then_some(whole as usize)
}

/// The call that a message is, which `parse` has found to be whole. `None` for what waits for no
/// answer.
pub fn call(whole: &[u8]) -> Option<Call<'_>> {
    let head = head(whole).ok()??;
    let fields = head.fields(whole)?;
    let is_call = head.kind == CALL && head.flags & NO_REPLY_EXPECTED == 0;
    is_call.then_some(())?;
    let (sender, name) = (fields.sender?, fields.member?);
    Some(Call { serial: head.serial, sender, interface: fields.interface.unwrap_or(b""), name })
}

/// The number that the body of a message begins with, which `parse` has found to be whole.
pub fn first_number(whole: &[u8]) -> Option<u32> {
    let Head { fields_end, is_big, .. } = head(whole).ok()??;
    Reader { bytes: whole, at: fields_end.div_ceil(8) as usize * 8, is_big }.number()
}

/// The fields begin here: behind byte order, kind, flags and version, and three numbers.
const HEAD: usize = 16;

/// What stands before the fields.
struct Head {
    is_big: bool,
    kind: u8,
    flags: u8,
    body: u32,
    serial: u32,
    fields_end: u64,
}

impl Head {
    /// The length of the message.
    fn whole(&self) -> u64 {
        self.fields_end.div_ceil(8) * 8 + u64::from(self.body)
    }

    /// `None` if they cannot be read. The message must be there up to their end.
    fn fields<'a>(&self, bytes: &'a [u8]) -> Option<Fields<'a>> {
        let bytes = bytes.get(..self.fields_end as usize)?;
        Reader { bytes, at: HEAD, is_big: self.is_big }.fields()
    }
}

/// The fields of a header that matter here.
#[derive(Default)]
struct Fields<'a> {
    to: Option<u32>,
    sender: Option<&'a [u8]>,
    interface: Option<&'a [u8]>,
    member: Option<&'a [u8]>,
}

/// `None` while a part is missing.
fn head(bytes: &[u8]) -> Result<Option<Head>, Garbage> {
    let Some(&order) = bytes.first() else { return Ok(None) };
    let is_big = match order {
        b'l' => false,
        b'B' => true,
        _ => return Err(Garbage),
    };
    let head = Reader { bytes, at: 1, is_big }.head();
    match head {
        Some(_) if bytes[3] != 1 => Err(Garbage),
        head => Ok(head),
    }
}

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

    /// From behind the byte order on.
    fn head(&mut self) -> Option<Head> {
        let (kind, flags, is_big) = (self.byte()?, self.byte()?, self.is_big);
        let (body, serial, fields) = (self.number()?, self.number()?, self.number()?);
        let fields_end = HEAD as u64 + u64::from(fields);
        Some(Head { is_big, kind, flags, body, serial, fields_end })
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

    /// Reads all fields of a header: each is a code and a value with its type. `None` if one cannot be
    /// read.
    fn fields(&mut self) -> Option<Fields<'a>> {
        let mut found = Fields::default();
        while self.at < self.bytes.len() {
            self.align(8)?;
            let code = self.byte()?;
            match (code, self.signature()?) {
                (REPLY_SERIAL, b"u") => found.to = Some(self.number()?),
                (_, b"u") => drop(self.number()?),
                (_, b"s" | b"o") => {
                    let len = self.number()?;
                    let text = self.text(len as usize)?;
                    match code {
                        SENDER => found.sender = Some(text),
                        INTERFACE => found.interface = Some(text),
                        MEMBER => found.member = Some(text),
                        _ => {}
                    }
                }
                (_, b"g") => drop(self.signature()?),
                // No field that is known has another type.
                _ => return None,
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
