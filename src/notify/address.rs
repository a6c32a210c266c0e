//! Addresses of buses (D-Bus Specification, "Server Addresses"): `unix:path=/run/bus`,
//! `unix:abstract=/tmp/dbus-x,guid=...`, several of them between semicolons.

/// As `sun_path` takes it, with the NUL that ends a path or begins an abstract name
/// (unix(7)); what does not fit there is no address.
pub type Name = Vec<u8>;
const LONGEST: usize = 108;

/// A user chooses how long the list is; as many as a client would ever try.
const TRIED: usize = 4;

/// The sockets of this machine among them, in their order.
pub fn names(list: &[u8]) -> impl Iterator<Item = Name> + '_ {
    list.split(|&byte| byte == b';').filter_map(name).take(TRIED)
}

fn name(address: &[u8]) -> Option<Name> {
    for pair in address.strip_prefix(b"unix:")?.split(|&byte| byte == b',') {
        let mut name = Name::new();
        if let Some(path) = pair.strip_prefix(b"path=") {
            unescape(path, &mut name)?;
            name.push(0);
        } else if let Some(text) = pair.strip_prefix(b"abstract=") {
            name.push(0);
            unescape(text, &mut name)?;
        }
        if (2..=LONGEST).contains(&name.len()) {
            return Some(name);
        }
    }
    None
}

/// `%xx` stands for a byte; a NUL would end the name too early.
fn unescape(mut text: &[u8], name: &mut Name) -> Option<()> {
    while let Some((&byte, rest)) = text.split_first() {
        let (byte, rest) = match byte {
            b'%' => (hex(*rest.first()?)? << 4 | hex(*rest.get(1)?)?, &rest[2..]),
            byte => (byte, rest),
        };
        if byte == 0 || name.len() == LONGEST {
            return None;
        }
        name.push(byte);
        text = rest;
    }
    Some(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &[u8]) -> Vec<Vec<u8>> {
        names(list).collect()
    }

    #[test]
    fn paths_and_abstract_names_are_told_apart() {
        assert_eq!(shown(b"unix:path=/run/user/1000/bus"), [b"/run/user/1000/bus\0"]);
        assert_eq!(shown(b"unix:abstract=/tmp/dbus-x,guid=0123"), [b"\0/tmp/dbus-x"]);
        assert_eq!(shown(b"unix:guid=0123,path=/a"), [b"/a\0"]);
    }

    #[test]
    fn of_a_list_those_count_that_are_sockets_here() {
        let list =
            b"tcp:host=localhost,port=1;unix:path=/a;;unix:tmpdir=/b;autolaunch:;unix:path=/c;";
        assert_eq!(shown(list), [b"/a\0", b"/c\0"]);
        assert_eq!(shown(&b"unix:path=/a;".repeat(1000)).len(), TRIED);
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(shown(b"unix:path=/a%20b%2Cc%3b%FF"), [b"/a b,c;\xff\0"]);
        for wrong in ["%", "%2", "%zz", "/a%00b", "%+1", ""] {
            assert!(shown(format!("unix:path={wrong}").as_bytes()).is_empty(), "{wrong}");
            assert!(shown(format!("unix:abstract={wrong}").as_bytes()).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_no_socket_can_have_is_none() {
        let of = |len: usize| format!("unix:path=/{}", "x".repeat(len - 1));
        assert_eq!(shown(of(107).as_bytes()).len(), 1);
        assert!(shown(of(108).as_bytes()).is_empty());
        assert!(shown(of(100_000).as_bytes()).is_empty());
    }
}
