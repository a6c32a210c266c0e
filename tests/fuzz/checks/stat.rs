//! A line of `stat` is read as proc(5) says, and no name forges another field.

use super::{cuts, latin, number};
use crate::procfs::stat::{parse, Stat};

/// Number, name, state, parent, group, flags, threads, start and RSS.
type Told = (i64, String, char, [i64; 2], [u64; 4]);

fn told(stat: &Stat) -> Told {
    (
        stat.id.pid.number().into(),
        latin(stat.comm.as_bytes()),
        char::from(stat.state),
        [stat.ppid.into(), stat.pgid.into()],
        [stat.flags, stat.threads, stat.id.start, stat.rss_pages],
    )
}

/// The same from the text, slowly.
fn plainly(line: &[u8]) -> Option<Told> {
    let line = latin(line);
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let signed = |text: &str| match text.strip_prefix('-') {
        Some(digits) => number(digits).map(|number: i64| -number),
        None => number(text),
    };
    // The first behind the name is the third. The last one that is used must not be cut.
    let field = |at: usize| signed(fields[at - 3]);
    if fields.len() <= 24 - 3 + 1 {
        return None;
    }
    let amount = |at| field(at).map(|number| number.max(0) as u64);
    let small = |at| field(at).filter(|&number| i32::try_from(number).is_ok());
    Some((
        signed(pid).filter(|pid| (1..=i64::from(i32::MAX)).contains(pid))?,
        name.chars().take(64).collect(),
        fields[0].chars().next()?,
        [small(4)?, small(5)?],
        [amount(9)?, amount(20)?, amount(22)?, amount(24)?],
    ))
}

pub fn check(input: &[u8]) {
    let stat = parse(input).as_ref().map(told);
    assert_eq!(stat, plainly(input));
    if let (Some(whole), Some(close)) = (stat, input.iter().rposition(|&byte| byte == b')')) {
        for end in cuts(input).filter(|&end| end > close) {
            let cut = parse(&input[..end]).as_ref().map(told);
            assert!(cut.is_none() || cut.as_ref() == Some(&whole), "cut at {end}: {cut:?}");
        }
    }
    let name = &input[..input.len().min(64)];
    let line = [b"42 (", name, b") S 1 7 7 0 -1 4194304 8 0 0 0 3 4 0 0 20 0 5 0 99 10 77 1844\n"];
    let forged = parse(&line.concat()).as_ref().map(told);
    assert_eq!(forged, Some((42, latin(name), 'S', [1, 7], [4_194_304, 5, 99, 77])));
}
