//! A line of `mountinfo` is read as proc(5) says, and no path forges another field: who may mount
//! something, as FUSE's users may, names the directory as they like.

use crate::procfs::mountinfo::{parse, unescaped, LongPath};

/// As the kernel writes a path (`mangle_path` in fs/seq_file.c).
fn mangled(path: &[u8]) -> Vec<u8> {
    let mut mangled = Vec::new();
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => mangled.extend(format!("\\{byte:03o}").bytes()),
            _ => mangled.push(byte),
        }
    }
    mangled
}

fn check_line(line: &[u8]) {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let dash = fields.iter().skip(5).position(|&field| field == b"-").map(|at| at + 5);
    let read = parse(line);
    assert_eq!(read.is_some(), dash.is_some_and(|dash| dash + 1 < fields.len()));
    let (Some(mount), Some(dash)) = (read, dash) else { return };
    assert_eq!([mount.device, mount.root, mount.point, mount.kind], {
        [fields[2], fields[3], fields[4], fields[dash + 1]]
    });
    let behind = &fields[dash + 2..];
    assert_eq!(mount.options, behind.last().copied().unwrap_or_default());
}

pub fn check(input: &[u8]) {
    input.split(|&byte| byte == b'\n').for_each(check_line);
    // No path holds a NUL.
    let mut paths = input.splitn(3, |&byte| byte == 0);
    let (root, point) = (paths.next().unwrap_or_default(), paths.next().unwrap_or_default());
    let (root, point) = ([b"/", root].concat(), [b"/", point].concat());
    let (shown_root, shown_point) = (mangled(&root), mangled(&point));
    let line =
        [b"36 35 0:22 ", &shown_root[..], b" ", &shown_point, b" rw shared:1 - fuse a user_id=0"];
    let line = line.concat();
    let mount = parse(&line).expect("the kernel writes such lines");
    assert_eq!([mount.device, mount.kind, mount.options], [&b"0:22"[..], b"fuse", b"user_id=0"]);
    for (shown, path) in [(mount.root, &root), (mount.point, &point)] {
        let most = LongPath::new().room();
        assert_eq!(unescaped(shown).as_bytes(), &path[..path.len().min(most)]);
        assert_eq!(unescaped(shown).is_cut(), path.len() > most);
    }
}
