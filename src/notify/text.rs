//! Text that a process chose, as a bus takes it and a desktop shows it: valid UTF-8
//! without control characters, of bounded length.

use crate::bytes::{is_treacherous, Buf};

/// More than any desktop shows; 2 of them and their addresses fit in a message.
pub type Text = Buf<1024>;

const CUT: &str = "...";

/// For a summary, which is shown as it is.
pub fn plain(text: &[u8]) -> Text {
    shown(text, false)
}

/// For a body, in which a desktop looks for markup (Desktop Notifications Specification,
/// "Markup").
pub fn without_markup(text: &[u8]) -> Text {
    shown(text, true)
}

/// What does not fit goes as whole characters, so that nothing is cut in two.
fn shown(text: &[u8], may_mark_up: bool) -> Text {
    let mut shown = Text::new();
    for c in String::from_utf8_lossy(text).chars() {
        let mut utf8 = [0; 4];
        let piece = match c {
            c if is_treacherous(c) => " ",
            '&' if may_mark_up => "&amp;",
            '<' if may_mark_up => "&lt;",
            '>' if may_mark_up => "&gt;",
            c => c.encode_utf8(&mut utf8),
        };
        if shown.room() < piece.len() + CUT.len() {
            shown.push(CUT.as_bytes());
            break;
        }
        shown.push(piece.as_bytes());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_brings_markup_or_controls_into_it() {
        let shown = |text: &[u8]| String::from_utf8(without_markup(text).as_bytes().to_vec());
        assert_eq!(shown(b"<b>&amp;\"'").unwrap(), "&lt;b&gt;&amp;amp;\"'");
        assert_eq!(shown(b"a\nb\0c\x1b[2J\x7f").unwrap(), "a b c [2J ");
        assert_eq!(shown("gr\u{202e}\u{85}ö\u{df}e".as_bytes()).unwrap(), "gr  öße");
        assert_eq!(shown(b"ok\xff\xc3").unwrap(), "ok\u{fffd}\u{fffd}");
        assert_eq!(plain(b"1 < 2\n").as_bytes(), b"1 < 2 ");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        for piece in ["x", "<", "ö", "\u{1f4be}", "a<ö"] {
            let text = without_markup(piece.repeat(5000).as_bytes());
            let text = std::str::from_utf8(text.as_bytes()).unwrap().to_string();
            let kept = text.strip_suffix(CUT).unwrap();
            assert!(text.len() > 1010 && !kept.contains('<'), "{text}");
            assert!(
                kept.rsplit('&').next().unwrap().contains(';') || !kept.contains('&'),
                "{text}"
            );
        }
    }
}
