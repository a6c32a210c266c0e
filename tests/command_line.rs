//! What the command line accepts, what it refuses and in which words, and what `--explain`
//! shows; with the real binary.
//!
//! Nothing here can end a process: every command line is given `--dryrun` first, and one
//! that goes on watching although it should not is ended after a while.
//!
//! `GUARD_BIN` names another guard to test, `GUARD_TOOLS` the directory of `hog`.

mod common;

use common::*;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

/// What a table may be wide.
const COLUMNS: usize = 100;
/// More than any machine has.
const TOO_MUCH: &str = "8000000T";

// ---- tables ----

/// Each option that takes a value, and what it says would be right.
const VALUED: &[(&str, &str)] = &[
    ("-m", "a percentage above 0 and below 100"),
    ("--mem", "a percentage above 0 and below 100"),
    ("-s", "a percentage above 0 and up to 100"),
    ("--swap", "a percentage above 0 and up to 100"),
    ("-M", "an amount above 0 in KiB or with suffix K, M, G or T"),
    ("--mem-size", "an amount above 0 in KiB or with suffix K, M, G or T"),
    ("-S", "an amount above 0 in KiB or with suffix K, M, G or T"),
    ("--swap-size", "an amount above 0 in KiB or with suffix K, M, G or T"),
    ("--min-rss", "an amount in KiB or with suffix K, M, G or T"),
    ("--process-limit", "an amount above 0 in KiB or with suffix K, M, G or T"),
    ("--threshold", "an amount above 0 in GiB"),
    ("--interval", "seconds from 0.1 to 31536000"),
    ("--grace", "seconds from 0 to 31536000"),
    ("--cooldown", "seconds from 0 to 31536000"),
    ("-r", "seconds from 0 to 31536000"),
    ("--report", "seconds from 0 to 31536000"),
    ("--psi", "a percentage from 0 to 100"),
    ("--psi-window", "seconds from 0.5 to 31536000"),
    ("-w", "a percentage from 0 to below 100"),
    ("--warn", "a percentage from 0 to below 100"),
    ("--ready-fd", "the number of a descriptor from 3 on that is open"),
    ("--reboot-after", "seconds from 10 to 31536000, decimals allowed, or 0"),
    ("--set-priority", "a niceness from -20 to 19"),
];

/// Values that are wrong for each of them, and what is wrong.
const NEVER_RIGHT: &[(&[u8], &str)] = &[
    (b"", "is empty"),
    (b"abc", "is not a number"),
    (b"nan", "is not a number"),
    (b"NaN", "is not a number"),
    (b"inf", "is not a number"),
    (b"-inf", "is not a number"),
    (b"1e3", "is not a number"),
    (b"0x10", "is not a number"),
    (b"+5", "is not a number"),
    (b"5x", "is not a number"),
    (b"5 ", "is not a number"),
    (b" 5", "is not a number"),
    (b"5 5", "is not a number"),
    (b"5;5", "is not a number"),
    (b"1_000", "is not a number"),
    (b"1.2.3", "is not a number"),
    (b"5.", "is not a number"),
    (b"..5", "is not a number"),
    (b".", "is not a number"),
    (b"-", "is not a number"),
    (b"--5", "is not a number"),
    (b"--explain", "is not a number"),
    (b"5%", "is not a number"),
    (b"5kB", "is not a number"),
    (b"5MiB", "is not a number"),
    (b"5 percent", "is not a number"),
    (b"5sec", "is not a number"),
    ("\u{665}".as_bytes(), "is not a number"),
    (b"5\n", "is not a number"),
    (b"5\noom_guard: killed process 1", "is not a number"),
    (b"\x1b[2J\x075", "is not a number"),
    (b"\xff\xfe", "is not a number"),
    (b"5\xc3", "is not a number"),
    (b"1111111111111111111111111111111111111111", "has too many digits"),
];

/// Faulty command lines, and how the first line of the answer begins, after `oom_guard: `.
/// Arguments are separated by blanks.
const FAULTY: &[(&str, &str)] = &[
    // No value.
    ("-m", "-m: its value PERCENT[,KILL] is missing (expected: a percentage"),
    ("--mem", "--mem: its value PERCENT[,KILL] is missing (expected: a percentage"),
    ("-s", "-s: its value PERCENT[,KILL] is missing"),
    ("--swap", "--swap: its value PERCENT[,KILL] is missing"),
    ("-M", "-M: its value SIZE[,KILL] is missing (expected: an amount"),
    ("--mem-size", "--mem-size: its value SIZE[,KILL] is missing"),
    ("-S", "-S: its value SIZE[,KILL] is missing"),
    ("--swap-size", "--swap-size: its value SIZE[,KILL] is missing"),
    ("--min-rss", "--min-rss: its value SIZE is missing (expected: an amount"),
    ("--grace", "--grace: its value SECONDS is missing (expected: seconds"),
    ("--cooldown", "--cooldown: its value SECONDS is missing"),
    ("-r", "-r: its value SECONDS is missing"),
    ("--report", "--report: its value SECONDS is missing"),
    ("--set-priority", "--set-priority: its value N is missing (expected: a niceness"),
    ("-g -d -m", "-m: its value PERCENT[,KILL] is missing"),
    ("-gdm", "-m: its value PERCENT[,KILL] is missing"),
    // An empty one.
    ("--mem=", "--mem: \"\" is empty (expected: a percentage"),
    ("-m=", "-m: \"\" is empty"),
    ("--grace=", "--grace: \"\" is empty"),
    ("-r=", "-r: \"\" is empty"),
    ("--set-priority=", "--set-priority: \"\" is empty"),
    // Below what is allowed.
    ("-m -5", "-m: \"-5\" is negative (expected: a percentage"),
    ("-m=-5", "-m: \"-5\" is negative"),
    ("-m-5", "-m: \"-5\" is negative"),
    ("--mem -0.5", "--mem: \"-0.5\" is negative"),
    ("-m 10,-5", "-m: \"10,-5\" is negative"),
    ("-s -5", "-s: \"-5\" is negative"),
    ("-M -5", "-M: \"-5\" is negative (expected: an amount"),
    ("-M -5M", "-M: \"-5M\" is negative"),
    ("-S -1G", "-S: \"-1G\" is negative"),
    ("-S 1G,-1", "-S: \"1G,-1\" is negative"),
    ("--min-rss -1", "--min-rss: \"-1\" is negative"),
    ("--grace -5", "--grace: \"-5\" is negative (expected: seconds"),
    ("--cooldown -0.1", "--cooldown: \"-0.1\" is negative"),
    ("-r -1", "-r: \"-1\" is negative"),
    ("-m 0", "-m: \"0\" is out of range (expected: a percentage above 0"),
    ("-m 0.0", "-m: \"0.0\" is out of range"),
    ("-m 0,0", "-m: \"0,0\" is out of range"),
    ("-s 0", "-s: \"0\" is out of range"),
    ("-M 0", "-M: \"0\" is out of range (expected: an amount above 0"),
    ("-M 0G", "-M: \"0G\" is out of range"),
    ("-M 0.5", "-M: \"0.5\" is out of range"),
    ("-S 0,5", "-S: \"0,5\" is out of range"),
    ("--set-priority -21", "--set-priority: \"-21\" is out of range (expected: a niceness"),
    ("--reboot-after 9.999999", "--reboot-after: \"9.999999\" is out of range (expected: seconds from 10"),
    ("--reboot-after 0.000001", "--reboot-after: \"0.000001\" is out of range"),
    ("--reboot-after -15", "--reboot-after: \"-15\" is negative"),
    // Above.
    ("--reboot-after 31536001", "--reboot-after: \"31536001\" is out of range"),
    ("-m 100", "-m: \"100\" is out of range (expected: a percentage above 0 and below 100"),
    ("-m 99.999999,100", "-m: \"99.999999,100\" is out of range"),
    ("-m 5000", "-m: \"5000\" is out of range"),
    ("-m 999999999999", "-m: \"999999999999\" is out of range"),
    ("-s 100.000001", "-s: \"100.000001\" is out of range"),
    ("-s 50,101", "-s: \"50,101\" is out of range"),
    ("-M 999999999999T", "-M: \"999999999999T\" is out of range"),
    ("-S 9000000T", "-S: \"9000000T\" is out of range"),
    ("--min-rss 999999999999T", "--min-rss: \"999999999999T\" is out of range"),
    ("--grace 31536001", "--grace: \"31536001\" is out of range"),
    ("--cooldown 31536000.000001", "--cooldown: \"31536000.000001\" is out of range"),
    ("-r 999999999999", "-r: \"999999999999\" is out of range"),
    ("--set-priority 20", "--set-priority: \"20\" is out of range"),
    // Overlong.
    ("-m 10.1234567", "-m: \"10.1234567\" has too many digits"),
    ("-m 0000000000010", "-m: \"0000000000010\" has too many digits"),
    ("-M 1.0000001G", "-M: \"1.0000001G\" has too many digits"),
    ("-r 1.0000001", "-r: \"1.0000001\" has too many digits"),
    ("--set-priority 0000000005", "--set-priority: \"0000000005\" has too many digits"),
    // Patterns: what is wrong, and the byte from which on it is.
    ("--prefer", "--prefer: its value PATTERN is missing (expected: a regular expression or glob"),
    ("--avoid", "--avoid: its value PATTERN is missing"),
    ("--ignore", "--ignore: its value PATTERN is missing"),
    ("--only", "--only: its value PATTERN is missing"),
    ("--prefer=", "--prefer: \"\": an empty pattern matches everything; write .* if that is meant"),
    ("--ignore user:", "--ignore: \"user:\": an empty pattern matches everything"),
    ("--only exe:glob:", "--only: \"exe:glob:\": an empty pattern matches everything"),
    ("--avoid a(", "--avoid: \"a(\": this group is never closed, at byte 2: \"(\""),
    ("--ignore cmd:a)", "--ignore: \"cmd:a)\": this closes a group that was never opened, at byte 6"),
    ("--only exe:glob:[a", "--only: \"exe:glob:[a\": this class is never closed, at byte 10: \"[a\""),
    ("--only glob:[b-a]", "--only: \"glob:[b-a]\": this range ends before it begins, at byte 7"),
    ("--prefer [a", "--prefer: \"[a\": this class is never closed, at byte 1: \"[a\""),
    ("--prefer x[z-a]", "--prefer: \"x[z-a]\": this range ends before it begins, at byte 3: \"z-a]\""),
    ("--prefer [[:alfa:]]", "--prefer: \"[[:alfa:]]\": there is no class of that name, at byte 2"),
    ("--prefer *a", "--prefer: \"*a\": there is nothing to repeat here, at byte 1: \"*a\""),
    ("--prefer a|+", "--prefer: \"a|+\": there is nothing to repeat here, at byte 3: \"+\""),
    ("--prefer a{2,1}", "--prefer: \"a{2,1}\": the first count is above the second, at byte 2"),
    ("--prefer a{1001}", "--prefer: \"a{1001}\": a count is at most 1000, at byte 2: \"{1001}\""),
    ("--prefer a{x}", "--prefer: \"a{x}\": a count is written {n}, {n,} or {n,m}; a literal { as \\{"),
    (
        "--prefer (a{1000}){1000}",
        "--prefer: \"(a{1000}){1000}\": the pattern is too large here (more than 4096 steps), at byte 10",
    ),
    (
        "--prefer a{1000}{1000}",
        "--prefer: \"a{1000}{1000}\": the pattern is too large here (more than 4096 steps), at byte 8",
    ),
    ("--prefer (a)\\1", "--prefer: \"(a)\\\\1\": backreferences are not supported, at byte 4: \"\\\\1\""),
    ("--prefer (?=a)", "--prefer: \"(?=a)\": look-around is not supported, at byte 1: \"(?=a)\""),
    ("--prefer (?<n>a)", "--prefer: \"(?<n>a)\": named groups are not supported, at byte 1"),
    ("--prefer a(?i)b", "--prefer: \"a(?i)b\": (?i) is supported at the start only; use (?i:...)"),
    ("--prefer \\q", "--prefer: \"\\\\q\": this escape is not supported, at byte 1: \"\\\\q\""),
    ("--prefer \\xg0", "--prefer: \"\\\\xg0\": \\x takes two hexadecimal digits, at byte 1"),
    ("--prefer a\\", "--prefer: \"a\\\\\": a backslash at the end escapes nothing, at byte 2"),
    ("--only glob:a\\", "--only: \"glob:a\\\\\": a backslash at the end escapes nothing, at byte 7"),
    ("--prefer a --prefer ( --avoid )", "--prefer: \"(\": this group is never closed, at byte 1"),
    ("--dryrun --prefer=(?:a", "--prefer: \"(?:a\": this group is never closed, at byte 1"),
    // Commas.
    ("-m 10,", "-m: \"10,\" is empty"),
    ("-m ,5", "-m: \",5\" is empty"),
    ("-m ,", "-m: \",\" is empty"),
    ("-m 10,5,3", "-m: \"10,5,3\" is not a number"),
    ("-m 10,,5", "-m: \"10,,5\" is not a number"),
    ("-s 10,5,", "-s: \"10,5,\" is not a number"),
    ("-M 100,50,25", "-M: \"100,50,25\" is not a number"),
    ("-S 1G;1M", "-S: \"1G;1M\" is not a number"),
    ("--min-rss 5,5", "--min-rss: \"5,5\" is not a number"),
    ("--grace 5,5", "--grace: \"5,5\" is not a number"),
    ("-r 1,5", "-r: \"1,5\" is not a number"),
    ("--set-priority -5,5", "--set-priority: \"-5,5\" is not a number"),
    // Units of another kind.
    ("-m 10%,5%", "-m: \"10%,5%\" is not a number"),
    ("-m 500M", "-m: \"500M\" is not a number"),
    ("-M 10%", "-M: \"10%\" is not a number"),
    ("-M 500MB", "-M: \"500MB\" is not a number"),
    ("-M M", "-M: \"M\" is not a number"),
    ("-M 5MM", "-M: \"5MM\" is not a number"),
    ("-S 1P", "-S: \"1P\" is not a number"),
    ("--grace 5s", "--grace: \"5s\" is not a number"),
    ("--cooldown 1m", "--cooldown: \"1m\" is not a number"),
    ("-r never", "-r: \"never\" is not a number"),
    ("--set-priority -5.5", "--set-priority: \"-5.5\" is not a number"),
    // What follows an option that takes a value is its value, whatever it looks like.
    ("--mem --swap 5", "--mem: \"--swap\" is not a number"),
    ("-m -s 5", "-m: \"-s\" is not a number"),
    ("-m -- 5", "-m: \"--\" is not a number"),
    ("-mg", "-m: \"g\" is not a number"),
    ("-m5g", "-m: \"5g\" is not a number"),
    ("-gmd", "-m: \"d\" is not a number"),
    ("-r--explain", "-r: \"--explain\" is not a number"),
    // A switch takes none.
    ("--dryrun=1", "--dryrun: takes no value, but got \"1\""),
    ("--dry-run=true", "--dry-run: takes no value, but got \"true\""),
    ("--kill-group=yes", "--kill-group: takes no value, but got \"yes\""),
    ("-g=1", "-g: takes no value, but got \"1\""),
    ("-dg=1", "-g: takes no value, but got \"1\""),
    ("-d=", "-d: takes no value, but got \"\""),
    ("--debug=0", "--debug: takes no value, but got \"0\""),
    ("--sort-by-rss=no", "--sort-by-rss: takes no value, but got \"no\""),
    ("--ignore-root-user=on", "--ignore-root-user: takes no value, but got \"on\""),
    ("--ignore-positive-adj=off", "--ignore-positive-adj: takes no value, but got \"off\""),
    ("--kernel-oom=1", "--kernel-oom: takes no value, but got \"1\""),
    ("--priority=-5", "--priority: takes no value, but got \"-5\""),
    ("--explain=all", "--explain: takes no value, but got \"all\""),
    ("--help=mem", "--help: takes no value, but got \"mem\""),
    ("--help=all", "--help: takes no value, but got \"all\""),
    ("--version=", "--version: takes no value, but got \"\""),
    ("-k=1", "-k: takes no value, but got \"1\""),
    // Unknown options, and the one that was meant.
    ("--dryrnu", "unknown option \"--dryrnu\"; did you mean --dryrun?"),
    ("--repotr 5", "unknown option \"--repotr\"; did you mean --report?"),
    ("--repotr=5", "unknown option \"--repotr\"; did you mean --report?"),
    ("--kil-group", "unknown option \"--kil-group\"; did you mean --kill-group?"),
    ("--swapsize 5", "unknown option \"--swapsize\"; did you mean --swap-size?"),
    ("--mem_size 5", "unknown option \"--mem_size\"; did you mean --mem-size?"),
    ("--explane", "unknown option \"--explane\"; did you mean --explain?"),
    ("--verison", "unknown option \"--verison\"; did you mean --version?"),
    ("--helpp", "unknown option \"--helpp\"; did you mean --help?"),
    (
        "--ignore-root-users",
        "unknown option \"--ignore-root-users\"; did you mean --ignore-root-user?",
    ),
    ("--frobnicate", "unknown option \"--frobnicate\""),
    ("--x=5", "unknown option \"--x\""),
    ("--m 5", "unknown option \"--m\""),
    ("--g", "unknown option \"--g\""),
    ("---mem 5", "unknown option \"---mem\""),
    ("--=5", "unknown option \"--\""),
    ("-Z", "unknown option \"-Z\""),
    ("-Z5", "unknown option \"-Z\""),
    ("-gZd", "unknown option \"-Z\""),
    ("-5", "unknown option \"-5\""),
    ("-mem", "-m: \"em\" is not a number"),
    ("-dryrun", "-r: \"yrun\" is not a number"),
    ("-é", "unknown option \"-é\""),
    // Arguments that belong to no option.
    ("stray", "unexpected argument \"stray\""),
    ("5", "unexpected argument \"5\""),
    ("-m 5 3", "unexpected argument \"3\""),
    ("-g stray --bad", "unexpected argument \"stray\""),
    ("-", "unexpected argument \"-\""),
    ("-- stray", "unexpected argument \"stray\""),
    ("-- --explain", "unexpected argument \"--explain\""),
    ("-g -- -m 5", "unexpected argument \"-m\""),
    // A fault counts even where another option would end the program.
    ("--version --bad", "unknown option \"--bad\""),
    ("--help stray", "unexpected argument \"stray\""),
    ("--help all all", "unexpected argument \"all\""),
    ("--help -d all", "unexpected argument \"all\""),
    ("all --help", "unexpected argument \"all\""),
    ("--check all", "unexpected argument \"all\""),
    ("--explain -m abc", "-m: \"abc\" is not a number"),
    ("-vm", "-m: its value PERCENT[,KILL] is missing"),
    // The first fault is told, and a later right value does not mend it.
    ("-m abc -m 10", "-m: \"abc\" is not a number"),
    ("-m 10 -m abc", "-m: \"abc\" is not a number"),
    ("-m abc -s def", "-m: \"abc\" is not a number"),
];

/// Faulty in bytes that a table of text cannot hold.
const FAULTY_BYTES: &[(&[u8], &str)] = &[
    (b"\xff", "unexpected argument \"\\xff\""),
    (b"a\nb\x1b[2J", "unexpected argument \"a\\nb\\x1b[2J\""),
    (b"--a\nb\x1b[2J", "unknown option \"--a\\nb\\x1b[2J\""),
    (b"--me\xff", "unknown option \"--me"),
    (b"-\xff", "unknown option \"-"),
    (b"-\n", "unknown option \"-\\n\""),
    (b"--dryrun=\n\xff", "--dryrun: takes no value, but got \"\\n\\xff\""),
    (b"-m1\n0", "-m: \"1\\n0\" is not a number"),
    (b"--only=(\x1b\xff", "--only: \"(\\x1b\\xff\": this group is never closed, at byte 1"),
    (b"--mem=\x1b[2J", "--mem: \"\\x1b[2J\" is not a number"),
    (b"", "unexpected argument \"\""),
];

/// Each right in itself, but not together or not on this machine.
const CONTRADICTORY: &[(&str, &str)] = &[
    ("--kernel-oom --sort-by-rss", "--kernel-oom: cannot go with --sort-by-rss"),
    ("--kernel-oom --ignore-root-user", "--kernel-oom: cannot go with --ignore-root-user"),
    ("--ignore-positive-adj --kernel-oom", "--kernel-oom: cannot go with --ignore-positive-adj"),
    ("--kernel-oom --min-rss 5M", "--kernel-oom: cannot go with --min-rss"),
    ("--min-rss=0 --kernel-oom", "--kernel-oom: cannot go with --min-rss"),
    ("--kernel-oom --prefer x", "--kernel-oom: cannot go with --prefer"),
    ("--kernel-oom --avoid x", "--kernel-oom: cannot go with --avoid"),
    ("--kernel-oom --ignore x", "--kernel-oom: cannot go with --ignore"),
    ("--kernel-oom --only x", "--kernel-oom: cannot go with --only"),
    ("--kernel-oom -g", "--kernel-oom: cannot go with --kill-group"),
    ("-dg --kernel-oom", "--kernel-oom: cannot go with --kill-group"),
    ("--reboot-after 15 -m 10,0", "--reboot-after: cannot go with a KILL of 0 in -m"),
    ("-M 7M,0 --reboot-after 15", "--reboot-after: cannot go with a KILL of 0 in -M"),
    ("--reboot-after 15 -s 10,0", "--reboot-after: cannot go with a KILL of 0 in -s"),
    ("--reboot-after 15 -S 1M,0", "--reboot-after: cannot go with a KILL of 0 in -S"),
    (
        "--reboot-after 15 --watch limit --threshold 1",
        "--reboot-after: cannot go with --watch limit: memory is not watched",
    ),
    ("--reboot-after 15 --cgroup /x", "--reboot-after: cannot go with --cgroup"),
    ("--dryrun --reboot-after 15 -m 10,0", "--reboot-after: cannot go with a KILL of 0 in -m"),
    (
        "-M 8000000T",
        "-M: 8589934592000000 KiB is more than 16 times what this machine has (MemTotal ",
    ),
    ("--mem-size=8000000T", "-M: 8589934592000000 KiB is more than 16 times what this machine has"),
    ("-M 1M,8000000T", "-M: 8589934592000000 KiB is more than 16 times what this machine has"),
    ("-M 1M -M 8000000T", "-M: 8589934592000000 KiB is more than 16 times what this machine has"),
    (
        "--explain -M 8000000T",
        "-M: 8589934592000000 KiB is more than 16 times what this machine has",
    ),
];

/// Accepted, and a piece of what `--explain` shows then.
const ACCEPTED: &[(&str, &str)] = &[
    ("", "rank"),
    ("--", "rank"),
    // The last one counts.
    ("-M 3M,1M -M 7M,5M", "SIGTERM: mem avail <= 7 MiB"),
    ("-M 3M,1M -M 7M,5M", "SIGKILL: mem avail <= 5 MiB"),
    ("-M 8000000T --mem-size 7M", "SIGTERM: mem avail <= 7 MiB"),
    ("-M 7M -M 14M", "SIGKILL: mem avail <= 7 MiB"),
    // All spellings mean the same.
    ("-M7M", "SIGTERM: mem avail <= 7 MiB"),
    ("-M=7M", "SIGTERM: mem avail <= 7 MiB"),
    ("-M7168", "SIGTERM: mem avail <= 7 MiB"),
    ("-M 7168K", "SIGTERM: mem avail <= 7 MiB"),
    ("-M 7168k", "SIGTERM: mem avail <= 7 MiB"),
    ("--mem-size=7.5m", "SIGTERM: mem avail <= 7 MiB"),
    ("-gdM7M", "SIGTERM: mem avail <= 7 MiB"),
    ("-dgM=7M,2M", "SIGKILL: mem avail <= 2 MiB"),
    ("-M 0.01G", "SIGTERM: mem avail <= 10 MiB"),
    ("-M 0.00001T", "SIGTERM: mem avail <= 10 MiB"),
    // A KILL of 0 means never.
    ("-m 10,0", "SIGKILL: never"),
    ("-M 7M,0", "SIGKILL: never"),
    ("-s 10,0", "SIGKILL: never"),
    ("-M 7M,3M -m 10,0", "SIGKILL: never"),
    // Of two the lower one counts.
    ("-m 99 -M 7M", "SIGTERM: mem avail <= 7 MiB"),
    ("-M 7M -m 99,0.000001", "SIGKILL: mem avail <= 0 MiB"),
    // The edges of what is allowed.
    ("-m 99.999999", "SIGTERM: mem avail"),
    ("-m 3.14,0.5", "SIGTERM: mem avail"),
    ("-m 0.000001", "SIGTERM: mem avail"),
    ("-s 100,100", "SIGTERM: mem avail"),
    ("-M 1", "SIGTERM: mem avail <= 0 MiB"),
    ("--min-rss 0", "rank"),
    ("--min-rss 8000000T", "rank"),
    ("--grace 0 --cooldown 0 -r 0", "rank"),
    ("--grace 31536000 --cooldown 0.000001 --report 0.5", "rank"),
    ("--set-priority -20", "rank"),
    ("--set-priority=19", "rank"),
    // Patterns.
    ("--prefer (chrome|firefox) --prefer=java --avoid (^|/)(init|Xorg|sshd)$", "rank"),
    ("--prefer cmd:--type=renderer --ignore user:root --ignore exe:glob:/usr/sbin/*", "rank"),
    ("--only (user:)x", "rank"),
    ("--prefer --avoid --avoid --", "rank"),
    ("--ignore .", "nothing could be killed: there is no candidate"),
    // Switches, bundled and repeated.
    ("-gdp", "rank"),
    ("-g -g --kill-group", "rank"),
    ("--dryrun --dry-run", "rank"),
    ("--sort-by-rss", "(--sort-by-rss)"),
    ("--sort-by-rss --sort-by-rss", "(--sort-by-rss)"),
    ("--ignore-root-user --ignore-positive-adj", "rank"),
    ("--kernel-oom", "rank"),
    ("--reboot-after 0 -m 10,0", "rank"),
    ("--reboot-after 10 --dryrun", "rank"),
    ("--explain", "rank"),
    // Of several tasks the first one counts.
    ("--version --help", "rank"),
    ("--version --help all", "rank"),
];

/// Accepted, with a word about it on standard error.
const WARNED: &[(&str, &str)] = &[
    ("-m 10,20", "-m: KILL is above the level of SIGTERM"),
    ("--mem=10,20", "-m: KILL is above the level of SIGTERM"),
    ("-s 10,20", "-s: KILL is above the level of SIGTERM"),
    ("-M 1M,2M", "-M: KILL is above the level of SIGTERM"),
    ("-S 1M,2M", "-S: KILL is above the level of SIGTERM"),
    ("-S 8000000T", "-S: 8589934592000000 KiB is more than the swap there is"),
    ("-k", "-k is an old option of earlyoom"),
    ("-i", "-i is an old option of earlyoom"),
    ("-gki", "-i is an old option of earlyoom"),
];

/// Names of processes that mean to break a line, a column or a terminal.
const HOSTILE: &[&str] = &[
    r"",
    r"\n\n\n",
    r"\x1b[31m\x1b[2J",
    r"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
    r"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    r"\xe2\x80\xae\xe2\x80\xae\xe2\x80\xae\xe2\x80\xae\xe2\x80\xae",
    r#""""""""""""""""#,
    r"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\",
    r") R 1 1 1 1 (",
    r"\xc3",
];

// ---- the guard and its answer ----

struct Answer {
    /// `None`: it had to be ended.
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn guard() -> PathBuf {
    let other = std::env::var_os("GUARD_BIN").map(PathBuf::from);
    other.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_oom_guard")))
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// The guard with `arguments` and none of this machine's settings; it cannot kill.
fn harmless(program: &Path, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").args(["--dryrun", "-c", "none"]).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn ask(arguments: &[OsString]) -> Answer {
    finish(&mut harmless(&guard(), arguments))
}

/// Runs `command` to its end, or ends it after a while.
fn finish(command: &mut Command) -> Answer {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = read_all(child.stdout.take().unwrap());
    let stderr = read_all(child.stderr.take().unwrap());
    let status = wait(&mut child);
    let stderr = whatever_the_user(stderr.join().unwrap());
    Answer { status, stdout: stdout.join().unwrap(), stderr }
}

/// Reads aside, since a full pipe would hold up who writes.
fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("what it says is UTF-8")
    })
}

/// The exit status, or `None` if the child had to be ended.
fn wait(child: &mut Child) -> Option<i32> {
    let ended = wait_until(PATIENCE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ended.map(|status| status.code().unwrap_or(-1))
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- judging ----

/// What is wrong with the answer to a command line that must be refused with `said`.
fn fault_in_refusal(answer: &Answer, said: &str, pointer: Pointer) -> Option<String> {
    let mut lines = answer.stderr.lines();
    let first = lines.next().unwrap_or_default();
    let further: Vec<_> = lines.collect();
    let pointed = further.len() == 1 && further[0].contains("oom_guard --help");
    let fault = if !first.starts_with(&format!("oom_guard: {said}")) {
        format!("does not begin with {said:?}")
    } else if first.chars().any(char::is_control) {
        "holds a control character".to_string()
    } else if !(pointed || pointer == Pointer::MayLack && further.is_empty()) {
        "is not one line and a pointer to --help".to_string()
    } else if answer.status != Some(2) {
        format!("status is {:?}", answer.status)
    } else if !answer.stdout.is_empty() {
        format!("stdout is {:?}", answer.stdout)
    } else {
        return None;
    };
    Some(format!("{fault}: {:?}", answer.stderr))
}

/// Whether a refusal ends in a line that points to `--help`.
#[derive(Clone, Copy, PartialEq)]
enum Pointer {
    Must,
    MayLack,
}

/// Asks each command line and tells all faults at once.
fn all_are_refused(rows: impl IntoIterator<Item = (Vec<OsString>, String)>, pointer: Pointer) {
    let faults: Vec<_> = rows
        .into_iter()
        .filter_map(|(arguments, said)| {
            let fault = fault_in_refusal(&ask(&arguments), &said, pointer)?;
            Some(format!("{arguments:?}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What `--explain` prints for a command line that is fine.
fn explained(arguments: &str) -> Answer {
    let mut line = vec![OsString::from("--explain")];
    line.extend(words(arguments));
    let answer = ask(&line);
    assert_eq!(answer.status, Some(0), "{arguments}: {}", answer.stderr);
    answer
}

fn is_verdict(line: &str) -> bool {
    ["nothing would be killed", "nothing could be killed", "now SIGTERM would", "now SIGKILL would"]
        .iter()
        .any(|beginning| line.starts_with(beginning))
}

/// What anyone may expect of the output of `--explain`, whoever runs.
fn check_explanation(text: &str) {
    let verdicts = text.lines().filter(|line| is_verdict(line)).count();
    assert_eq!(verdicts, 1, "exactly one verdict:\n{text}");
    assert!(is_verdict(text.lines().last().unwrap()), "the verdict comes last:\n{text}");
    for line in text.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?} holds a control character");
        assert!(!line.contains('\u{202e}'), "{line:?} turns its direction");
        let width = line.chars().count();
        assert!(width <= COLUMNS, "{width} columns are more than {COLUMNS}:\n{line}");
    }
    check_columns(text);
}

/// Each number ends, and each text begins, where its heading does.
fn check_columns(text: &str) {
    let header = text.lines().next().unwrap();
    let rows = text.lines().skip(1).take_while(|line| !line.starts_with("RSS and swap"));
    let at = |heading: &str| header.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    for row in rows.filter(|row| !row.starts_with("     and ")) {
        let row: Vec<char> = row.chars().collect();
        let is_blank = |at: usize| row.get(at).map_or(true, |&c| c == ' ');
        for heading in ["rank", "pid", "points", "score", "adj", "RSS", "swap"] {
            let end = at(heading) + heading.len();
            let aligned = !is_blank(end - 1) && is_blank(end);
            assert!(aligned, "{heading} is out of line:\n{header}\n{}", String::from_iter(&row));
        }
        for heading in ["name", "why"] {
            let shown = String::from_iter(&row);
            assert!(is_blank(at(heading) - 1), "{heading} is out of line:\n{header}\n{shown}");
        }
    }
}

/// As a message shows it: the same escapes as in the log.
fn quoted(value: &OsStr) -> String {
    let escapes = [
        ("\\u{1b}", "\\x1b"),
        ("\\u{7}", "\\x07"),
        ("\\xFF", "\\xff"),
        ("\\xFE", "\\xfe"),
        ("\\xC3", "\\xc3"),
    ];
    let shown = format!("{value:?}");
    escapes.iter().fold(shown, |shown, (from, to)| shown.replace(from, to))
}

// ---- refused ----

#[test]
fn a_faulty_command_line_is_refused_in_one_line_that_names_option_and_value() {
    let rows = FAULTY.iter().map(|(line, said)| (words(line), said.to_string()));
    all_are_refused(rows, Pointer::Must);
}

#[test]
fn bytes_that_are_no_text_are_refused_and_shown_harmless() {
    let rows = FAULTY_BYTES
        .iter()
        .map(|(bytes, said)| (vec![OsString::from_vec(bytes.to_vec())], said.to_string()));
    all_are_refused(rows, Pointer::Must);
}

#[test]
fn every_option_refuses_every_value_that_is_no_number() {
    let rows = VALUED.iter().flat_map(|(option, expects)| {
        NEVER_RIGHT.iter().map(move |(value, fault)| {
            let value = OsStr::from_bytes(value);
            let said = format!("{option}: {} {fault} (expected: {expects}", quoted(value));
            (vec![OsString::from(option), value.to_os_string()], said)
        })
    });
    all_are_refused(rows, Pointer::Must);
}

#[test]
fn options_that_contradict_each_other_or_the_machine_are_refused() {
    let rows = CONTRADICTORY.iter().map(|(line, said)| (words(line), said.to_string()));
    all_are_refused(rows, Pointer::MayLack);
}

#[test]
fn a_pattern_as_long_as_a_book_is_refused_in_a_line_that_fits_a_screen() {
    for (pattern, said) in [
        ("a".repeat(64 << 10), "the pattern is longer than 16 KiB, at byte 16385: \""),
        ("(".repeat(10_000), "groups are nested too deeply (more than 100), at byte 101: \""),
        ("a|".repeat(5_000), "the pattern is too large here (more than 4096 steps), at byte "),
        (format!("glob:{}", "?".repeat(64 << 10)), "the glob is too large (more than 4096 steps)"),
    ] {
        let answer = ask(&["--prefer".into(), pattern.into()]);
        let shown = answer.stderr.get(..200).unwrap_or(&answer.stderr);
        let fault = fault_in_refusal(&answer, "--prefer: ", Pointer::Must);
        assert!(
            fault.is_none() && answer.stderr.contains(said),
            "{said}: {:?}, {shown}",
            answer.status
        );
        assert!(answer.stderr.len() < 500, "{} bytes: {shown}", answer.stderr.len());
    }
}

// ---- accepted ----

#[test]
fn a_right_command_line_is_accepted_and_does_what_it_says() {
    for (line, shown) in ACCEPTED {
        let answer = explained(line);
        assert!(answer.stdout.contains(shown), "{line}: no {shown:?} in:\n{}", answer.stdout);
        assert_eq!(answer.stderr, "", "{line}");
    }
}

#[test]
fn what_is_accepted_with_a_warning_says_so_and_explains_all_the_same() {
    for (line, said) in WARNED {
        let answer = explained(line);
        let told: Vec<_> = answer.stderr.lines().filter(|told| told.contains(said)).collect();
        assert_eq!(told.len(), 1, "{line}: {said:?} once in {:?}", answer.stderr);
        assert!(told[0].starts_with("oom_guard: "), "{line}: {told:?}");
    }
}

#[test]
fn the_watch_says_the_same_warnings_and_ends_on_sigterm() {
    for (line, said) in WARNED {
        let mut command = harmless(&guard(), &words(line));
        command.args(["-r", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
        // What it has to say at the start is said whatever comes after the first line.
        stderr.read_line(&mut String::new()).unwrap();
        let told = read_all(stderr);
        // SAFETY: takes no pointer; the child was not waited for, so the number is its own.
        unsafe { libc::kill(child.0.id() as libc::pid_t, libc::SIGTERM) };
        assert_eq!(wait(&mut child.0), Some(0), "{line}");
        let told = told.join().unwrap();
        assert!(told.contains(said), "{line}: no {said:?} in:\n{told}");
    }
}

#[test]
fn help_tells_the_common_options_on_one_screen() {
    let whole = ask(&words("--help all")).stdout;
    for spelling in ["--help", "-h", "-gh", "-h --version", "-h --help"] {
        let answer = ask(&words(spelling));
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{spelling}");
        let lines: Vec<_> = answer.stdout.lines().collect();
        assert!((16..=24).contains(&lines.len()), "{} lines:\n{}", lines.len(), answer.stdout);
        for line in &lines {
            assert!(line.chars().count() <= 80 && line.trim_end() == *line, "{line:?}");
        }
        assert!(lines.last().unwrap().ends_with("oom_guard --help all"), "{}", answer.stdout);
        let options: Vec<_> = lines.iter().filter(|line| line.starts_with("  -")).collect();
        assert!(options.len() > 12, "{}", answer.stdout);
        for option in options.iter().map(|line| line.split_whitespace().next().unwrap()) {
            let option = option.trim_end_matches(',');
            assert!(whole.split([' ', ',', '\n']).any(|word| word == option), "{option}");
        }
    }
}

#[test]
fn help_tells_every_option_on_stdout() {
    for spelling in ["--help all", "-h all", "-gh all", "-h all --version", "--help -- all"] {
        let answer = ask(&words(spelling));
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{spelling}");
        for (option, _) in VALUED.iter().filter(|(option, _)| *option != "--set-priority") {
            assert!(answer.stdout.contains(option), "{option}");
        }
        for line in answer.stdout.lines() {
            assert!(line.chars().count() <= COLUMNS && line.trim_end() == line, "{line:?}");
        }
        let ends = ["Exit status: 0", "1 cannot run", "2 wrong usage"];
        assert!(ends.iter().all(|end| answer.stdout.contains(end)), "{}", answer.stdout);
    }
}

#[test]
fn the_version_is_one_line_on_stdout() {
    for spelling in ["--version", "-v", "-V", "-dv", "-v --help", "--version --explain"] {
        let answer = ask(&words(spelling));
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""), "{spelling}");
        assert_eq!(answer.stdout, concat!("oom_guard ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

// ---- explained ----

#[test]
fn the_explanation_is_a_table_that_fits_and_one_verdict() {
    sandboxed(|sandbox| {
        let _hogs = [(); 3].map(|()| sandbox.hog(&["--size", "40M"]));
        for line in ["", "-d", "--sort-by-rss -d", "--ignore-root-user", "--min-rss 0", "-m 99"] {
            let answer = explained(line);
            assert_eq!(answer.stderr, "");
            check_explanation(&answer.stdout);
        }
        // All are spared.
        check_explanation(&explained(&format!("--min-rss {TOO_MUCH}")).stdout);
    });
}

#[test]
fn names_that_processes_chose_break_no_line_and_no_column() {
    sandboxed(|sandbox| {
        let hogs: Vec<_> = HOSTILE.iter().map(|name| sandbox.hog(&["--name", name])).collect();
        let text = explained("-d").stdout;
        for hog in &hogs {
            let pid = hog.pid().to_string();
            let has_pid = |line: &&str| line.split_whitespace().nth(1) == Some(&pid);
            assert_eq!(
                text.lines().filter(has_pid).count(),
                1,
                "process {pid} in one line:\n{text}"
            );
        }
        check_explanation(&text);
    });
}

#[test]
fn users_with_large_numbers_stay_in_their_column() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let mut command = sandbox.hog_command(&[]);
        command.uid(4_000_000_000).gid(4_000_000_000);
        let _hog = Hog::start(command);
        let text = explained("-d").stdout;
        assert!(text.contains(" 4000000000 "), "{text}");
        check_explanation(&text);
    });
}

#[test]
fn a_victim_with_a_hostile_name_leaves_the_verdict_one_line_that_fits() {
    sandboxed(|sandbox| {
        // Alone with the guard, the hog is the one that would go.
        let name = r"\x01".repeat(15);
        let _hog = sandbox.hog(&["--name", &name, "--size", "40M"]);
        let answer = explained("");
        assert_eq!(answer.stderr, "");
        assert!(answer.stdout.contains("the only candidate"), "{}", answer.stdout);
        check_explanation(&answer.stdout);
    });
}

#[test]
fn a_reader_that_goes_away_early_is_no_failure() {
    for line in ["--help", "--help all", "--version", "--explain", "--explain -d"] {
        let (theirs, ours) = UnixStream::pair().unwrap();
        drop(ours);
        let mut command = harmless(&guard(), &words(line));
        let stdout = Stdio::from(std::os::fd::OwnedFd::from(theirs));
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = read_all(child.stderr.take().unwrap());
        assert_eq!(wait(&mut child), Some(0), "{line}");
        assert_eq!(whatever_the_user(stderr.join().unwrap()), "", "{line}");
    }
}

#[test]
fn an_ordinary_user_gets_an_explanation_too() {
    sandboxed(|sandbox| {
        if !sandbox.has_other_users() {
            return skip("needs root, to start processes of another user");
        }
        let roots = sandbox.hog(&[]);
        let command = harmless(&sandbox.path("oom_guard"), &words("--explain -d"));
        let answer = finish(&mut sandbox.command_as_nobody(command));
        assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
        check_explanation(&answer.stdout);
        let pid = roots.pid().to_string();
        let spares_root = |line: &str| {
            line.split_whitespace().nth(1) == Some(&pid) && line.ends_with("not permitted")
        };
        assert!(answer.stdout.lines().any(spares_root), "{}", answer.stdout);
    });
}

#[test]
fn without_proc_it_says_so_and_ends_with_1() {
    sandboxed(|_| {
        mount(None, Path::new("/proc"), Some("tmpfs"), 0, None).expect("a tmpfs over /proc");
        for line in ["--explain", ""] {
            let answer = ask(&words(line));
            assert_eq!((answer.status, answer.stdout.as_str()), (Some(1), ""), "{}", answer.stderr);
            assert!(answer.stderr.starts_with("oom_guard: cannot "), "{}", answer.stderr);
            assert!(answer.stderr.contains("/proc"), "{}", answer.stderr);
            assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        }
    });
}
