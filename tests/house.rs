//! The order of the rooms: each file of `src` uses only rooms that `main.rs` names before
//! its own, and only `sys` knows `libc` and `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};

struct File {
    path: PathBuf,
    /// The first part of its path below `src`: `kill` for `kill/crowd.rs`.
    room: String,
    /// Without comments, and without unit tests, which may bring anything together.
    code: String,
}

fn files() -> Vec<File> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![src.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_code = path.extension().is_some_and(|ending| ending == "rs");
            if !is_code || path.ends_with("tests.rs") {
                continue;
            }
            let below = path.strip_prefix(&src).unwrap();
            let first = below.iter().next().unwrap().to_str().unwrap();
            let room = first.trim_end_matches(".rs").to_string();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = text.lines().map(|line| line.split("//").next().unwrap());
            found.push(File { room, code: code.collect::<Vec<_>>().join("\n"), path });
        }
    }
    found
}

fn rooms() -> Vec<String> {
    let main = include_str!("../src/main.rs");
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod "));
    modules.map(|name| name.trim_end_matches(';').to_string()).collect()
}

/// The rooms that some code names as `crate::ROOM`, also within `crate::{...}`.
fn named_rooms(code: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => {
                list.split('}').next().unwrap().split(',').map(|item| word(item.trim())).collect()
            }
            None => vec![word(rest)],
        })
        // The macro that writes a line belongs to `log`.
        .map(|name| if name == "say" { "log".to_string() } else { name })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_room_is_named_in_main() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "{rooms:?}");
    for file in files() {
        assert!(file.room == "main" || rooms.contains(&file.room), "{:?}", file.path);
    }
}

#[test]
fn each_file_uses_only_rooms_before_its_own() {
    let rooms = rooms();
    let place = |room: &str| rooms.iter().position(|name| name == room);
    let mut arrows = 0;
    for file in files().iter().filter(|file| file.room != "main") {
        for used in named_rooms(&file.code) {
            let used_place =
                place(&used).unwrap_or_else(|| panic!("{:?}: crate::{used}", file.path));
            assert!(Some(used_place) <= place(&file.room), "{:?} uses {used}", file.path);
            arrows += 1;
        }
    }
    assert!(arrows > 30, "only {arrows} uses were found: the test has gone blind");
}

#[test]
fn only_sys_knows_libc_and_unsafe() {
    let mut in_sys = 0;
    for file in files() {
        let words = file.code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let count = words.filter(|word| ["libc", "unsafe"].contains(word)).count();
        if file.room == "sys" {
            in_sys += count;
        } else {
            assert_eq!(count, 0, "{:?}", file.path);
        }
    }
    assert!(in_sys > 30, "only {in_sys} were found: the test has gone blind");
}

/// Only Rust from 1.89 on lets what it borrows live as long, and an older one is promised.
#[test]
fn no_text_in_the_making_has_a_name() {
    for File { code, path, .. } in files() {
        let is_kept = |line: &&str| line.contains("let ") && line.contains("= format_args!");
        let kept: Vec<_> = code.lines().filter(is_kept).collect();
        assert!(kept.is_empty(), "{path:?}: {kept:?}");
    }
}

#[test]
fn a_room_that_is_named_in_a_list_is_seen() {
    let code = "use crate::{units, bytes}; use crate::policy::Level; crate::say!()";
    assert_eq!(named_rooms(code), ["units", "bytes", "policy", "log"]);
}
