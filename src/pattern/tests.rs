//! Patterns as a user meets them: what matches, what is refused, and what it costs.

use super::*;

fn matches(pattern: &str, value: &[u8]) -> bool {
    let pattern =
        Pattern::parse(pattern.as_bytes()).unwrap_or_else(|fault| panic!("{pattern}: {fault:?}"));
    let mut scratch = Scratch::new(pattern.len());
    pattern.is_match(value, &mut scratch)
}

fn fault(pattern: &str) -> Fault {
    Pattern::parse(pattern.as_bytes()).expect_err(pattern)
}

#[test]
fn the_examples_of_the_documentation_do_what_they_say() {
    for (pattern, field, yes, no) in [
        (
            "(chrome|firefox)",
            Field::Name,
            &["chrome", "firefox-esr", "xchrome"][..],
            &["chrom"][..],
        ),
        (
            "(^|/)(init|Xorg|sshd)$",
            Field::Name,
            &["init", "/sbin/init", "sshd"],
            &["sshd2", "xinit"],
        ),
        (
            "(^|/)(init|Xorg|ssh|systemd)$",
            Field::Name,
            &["systemd", "ssh"],
            &["systemd-journal", "sshd"],
        ),
        ("cmd:--type=renderer", Field::Cmd, &["/opt/chrome --type=renderer --x"], &["chrome"]),
        ("user:postgres", Field::User, &["postgres"], &["postgre"]),
        (
            "exe:glob:/usr/sbin/*",
            Field::Exe,
            &["/usr/sbin/sshd", "/usr/sbin/a/b"],
            &["/usr/bin/x", "x/usr/sbin/y"],
        ),
        ("(user:)x", Field::Name, &["user:x"], &["x"]),
        ("^gnome-control-center$", Field::Name, &["gnome-control-center"], &["gnome-control-c"]),
        ("cgroup:/docker/", Field::Cgroup, &["/docker/abc"], &["/system.slice"]),
        ("glob:java*", Field::Name, &["java", "javac"], &["xjava"]),
        ("name:glob:[!a-c]?\\*", Field::Name, &["dx*"], &["ax*", "dxy"]),
        ("glob:tty[[:digit:]x]", Field::Name, &["tty1", "ttyx"], &["ttyd", "tty:]"]),
    ] {
        assert_eq!(Pattern::parse(pattern.as_bytes()).unwrap().field(), field, "{pattern}");
        yes.iter()
            .for_each(|value| assert!(matches(pattern, value.as_bytes()), "{pattern} {value}"));
        no.iter()
            .for_each(|value| assert!(!matches(pattern, value.as_bytes()), "{pattern} {value}"));
    }
}

#[test]
fn the_examples_of_the_programs_before_this_one_do_what_they_say() {
    for (pattern, yes, no) in [
        ("chrome|firefox", &["chrome", "firefox-bin"][..], &["chromium"][..]),
        ("(chrome|firefox|chromium)", &["chromium", "chrome"], &["vivaldi"]),
        ("ssh|tmux", &["sshd", "tmux: server"], &["shh"]),
        ("^systemd$", &["systemd"], &["systemd-udevd", "xsystemd"]),
        ("(ssh|systemd)", &["systemd-logind", "ssh-agent"], &["sysd"]),
        ("(ssh|systemd|postgres|nginx)", &["postgres", "nginx"], &["mysqld"]),
        ("postgres|nginx|ssh", &["postgres", "sshd"], &["apache2"]),
        ("high-memory-app", &["high-memory-app"], &["high-memory"]),
        ("critical-service", &["critical-service"], &["critical"]),
        ("important-app", &["important-app"], &["app"]),
    ] {
        yes.iter().for_each(|name| assert!(matches(pattern, name.as_bytes()), "{pattern} {name}"));
        no.iter().for_each(|name| assert!(!matches(pattern, name.as_bytes()), "{pattern} {name}"));
    }
}

#[test]
fn all_of_the_syntax_is_there() {
    for (pattern, yes, no) in [
        ("^a.c$", "a\nc", "ac"),
        ("^[[:alpha:]_]+$", "ab_", "a1"),
        ("^[[:^digit:]]$", "a", "1"),
        (r"^\d\w\s\D\W\S$", "1_ a-b", "1_ 1-b"),
        (r"\bfoo\b", "a foo b", "afoo b"),
        (r"\Boo", "foo", "oo"),
        (r"^\x41\.\t\n$", "A.\t\n", "AB\t\n"),
        ("^(?:ab)+$", "abab", "aba"),
        ("(?i)^Fire(?:fox)$", "fIREFOX", "firefo"),
        ("^a(?i:b)c$", "aBc", "aBC"),
        ("^(?i:[a-c])$", "B", "D"),
        ("^(?i:[^a])$", "b", "A"),
        ("^a{3}$", "aaa", "aa"),
        ("^a{2,}$", "aaaa", "a"),
        ("^a{1,2}$", "aa", "aaa"),
        ("^a{0}b$", "b", "ab"),
        ("^a*?b+?c??$", "aabbc", "ac"),
        ("^a{1,2}?$", "aa", "aaa"),
        ("^é+$", "éé", "e"),
        ("^[]a]$", "]", "b"),
        ("^[^]a]$", "b", "]"),
        ("^[a-]$", "-", "b"),
        (r"^[\w.-]+$", "a.b-c", "a b"),
        ("^(a|b|)c$", "c", "abc"),
        ("^((a|b)c|d)*$", "acbcd", "ab"),
    ] {
        assert!(matches(pattern, yes.as_bytes()), "{pattern} {yes:?}");
        assert!(!matches(pattern, no.as_bytes()), "{pattern} {no:?}");
    }
}

#[test]
fn a_named_class_holds_what_posix_says() {
    type Holds = fn(&u8) -> bool;
    let classes: [(&str, Holds); 13] = [
        ("alnum", u8::is_ascii_alphanumeric),
        ("alpha", u8::is_ascii_alphabetic),
        ("ascii", u8::is_ascii),
        ("blank", |byte| b" \t".contains(byte)),
        ("cntrl", u8::is_ascii_control),
        ("digit", u8::is_ascii_digit),
        ("graph", u8::is_ascii_graphic),
        ("lower", u8::is_ascii_lowercase),
        ("print", |byte| byte.is_ascii_graphic() || *byte == b' '),
        ("punct", u8::is_ascii_punctuation),
        ("space", |byte| byte.is_ascii_whitespace() || *byte == 0x0b),
        ("upper", u8::is_ascii_uppercase),
        ("xdigit", u8::is_ascii_hexdigit),
    ];
    for (name, holds) in classes {
        for byte in 0..=255 {
            assert_eq!(matches(&format!("[[:{name}:]]"), &[byte]), holds(&byte), "{name} {byte}");
        }
    }
}

#[test]
fn patterns_work_on_bytes_that_are_no_text() {
    assert!(matches(r"^\xff.\x00$", b"\xff\xfe\x00"));
    assert!(matches("^[^a]$", b"\xff"));
    assert!(matches("glob:?", b"\xff"));
    assert!(Pattern::parse(b"\xff+").is_ok());
}

#[test]
fn a_fault_names_what_is_wrong_and_the_byte() {
    for (pattern, at, what) in [
        ("", 0, "an empty pattern"),
        ("cmd:", 4, "an empty pattern"),
        ("cmd:glob:", 9, "an empty pattern"),
        ("a(b", 1, "never closed"),
        ("((a)", 0, "never closed"),
        ("user:a(b", 6, "never closed"),
        ("a)", 1, "never opened"),
        ("*a", 0, "nothing to repeat"),
        ("(|*a)", 2, "nothing to repeat"),
        ("a{", 1, "a count is"),
        ("a{x}", 1, "a count is"),
        ("a{,3}", 1, "a count is"),
        ("a{3,2}", 1, "above the second"),
        ("a{1001}", 1, "at most 1000"),
        ("a{99999999999999999999}", 1, "at most 1000"),
        ("a[b", 1, "never closed"),
        ("[]", 0, "never closed"),
        ("[z-a]", 1, "ends before"),
        (r"[\d-z]", 1, "cannot begin or end"),
        ("[[:foo:]]", 1, "no class of that name"),
        ("[é]", 1, "single bytes"),
        (r"(a)\1", 3, "backreferences"),
        ("(?=a)", 0, "look-around"),
        ("(?<!a)", 0, "look-around"),
        ("(?P<x>a)", 0, "named groups"),
        ("(?<x>a)", 0, "named groups"),
        ("(?m)a", 0, "are supported"),
        ("a(?i)b", 1, "at the start only"),
        (r"\p{L}", 0, "not supported"),
        (r"a\<b", 1, "not supported"),
        (r"\xg0", 0, "hexadecimal"),
        ("ab\\", 2, "escapes nothing"),
        ("glob:a[b", 6, "never closed"),
        ("glob:[b-a]", 6, "ends before"),
        ("glob:a\\", 6, "escapes nothing"),
    ] {
        let fault = fault(pattern);
        assert!(fault.at == at && fault.what.contains(what), "{pattern:?}: {fault:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_grows() {
    let deep = "(".repeat(10_000);
    let deep_and_closed = format!("{}a{}", &deep[..8000], ")".repeat(8000));
    let long = "a".repeat(64 * 1024);
    for (pattern, what) in [
        (long.as_str(), "longer than"),
        (&long[..5000], "too large"),
        ("a{1000}{1000}", "too large"),
        ("((a{100}){100}){100}", "too large"),
        ("(a{1000}|b{1000}){5}", "too large"),
        ("(a*){1000}{9}", "too large"),
        (&deep, "nested too deeply"),
        (&deep_and_closed, "nested too deeply"),
    ] {
        let fault = fault(pattern);
        assert!(fault.what.contains(what), "{:?}", fault);
    }
    assert!(fault(&format!("glob:{}", "*".repeat(5000))).what.contains("too large"));
    // An empty body can be repeated for nothing.
    assert!(matches("^(){1000}{1000}$", b""));
}

#[test]
fn a_two_kib_alternation_fits() {
    let names: Vec<String> = (0..200).map(|number| format!("daemon-{number}")).collect();
    let pattern = format!("^({})$", names.join("|"));
    assert!(pattern.len() > 2048);
    assert!(matches(&pattern, b"daemon-199"));
    assert!(!matches(&pattern, b"daemon-200"));
}

#[test]
fn time_is_linear_in_the_text_whatever_the_pattern() {
    for pattern in [
        "(a*)*b",
        "(a|a)*c",
        "(x+x+)+y",
        "(a+)+$b",
        "(a|aa)+b",
        "(a|b|ab)*c",
        "([a-z]+)*[0-9]",
        "(.*)*x1",
        "(.*a){12}b",
        "(a?){20}a{20}b",
        "a*a*a*a*a*b",
        "(((a*)*)*)*b",
        "(a|a?)+b",
        "(^a|a)*b",
        r"(\ba+)*b",
        "(a{0,5}){5}b",
    ] {
        let parsed = Pattern::parse(pattern.as_bytes()).unwrap();
        let mut scratch = Scratch::new(parsed.len());
        let mut steps = |letter: &str, length: usize| {
            assert!(!parsed.is_match(letter.repeat(length).as_bytes(), &mut scratch), "{pattern}");
            scratch.steps
        };
        for letter in ["a", "x"] {
            let (once, twice) = (steps(letter, 50_000), steps(letter, 100_000));
            assert!(twice <= once * 2 + 1000, "{pattern} on {letter}: {once}, {twice}");
        }
    }
}

#[test]
fn what_fuzzing_has_saved_is_read_and_matched_within_bounds() {
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/pattern");
    let (mut files, mut accepted) = (0, 0);
    for entry in std::fs::read_dir(saved).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        files += 1;
        // As the fuzz target has it: the pattern, a NUL or a newline, the text.
        let mut parts = input.splitn(2, |byte| matches!(byte, 0 | b'\n'));
        let source = parts.next().unwrap_or_default();
        let text = parts.next().unwrap_or_default();
        let pattern = match Pattern::parse(source) {
            Ok(pattern) => pattern,
            Err(fault) => {
                assert!(fault.at <= source.len(), "{path:?}: {fault:?}");
                continue;
            }
        };
        accepted += 1;
        assert!(pattern.len() <= program::LIMIT, "{path:?}: {} places", pattern.len());
        let mut scratch = Scratch::new(pattern.len());
        let matched = pattern.is_match(text, &mut scratch);
        // At each position each place is tried and followed once, and leads to two at most.
        let most = 4 * (pattern.len() as u64 + 2) * (text.len() as u64 + 1);
        assert!(scratch.steps <= most, "{path:?}: {} steps of {most}", scratch.steps);
        assert_eq!(pattern.is_match(text, &mut scratch), matched, "{path:?}");
    }
    assert!(files >= 50, "only {files} files in {saved}");
    assert!(accepted >= 20, "only {accepted} patterns of {files} are accepted");
}

/// Small and slow, to hold globs against: does `glob` match all of `text`?
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match glob.first() {
        None => text.is_empty(),
        Some(b'*') => (0..=text.len()).any(|skipped| glob_matches(&glob[1..], &text[skipped..])),
        Some(b'?') => !text.is_empty() && glob_matches(&glob[1..], &text[1..]),
        Some(b'[') => {
            let end = glob.iter().skip(2).position(|&byte| byte == b']').unwrap() + 2;
            let (inverted, members) = match &glob[1..end] {
                [b'!', members @ ..] => (true, members),
                members => (false, members),
            };
            text.first().is_some_and(|byte| members.contains(byte) != inverted)
                && glob_matches(&glob[end + 1..], &text[1..])
        }
        Some(b'\\') => text.first() == Some(&glob[1]) && glob_matches(&glob[2..], &text[1..]),
        Some(byte) => text.first() == Some(byte) && glob_matches(&glob[1..], &text[1..]),
    }
}

#[test]
fn globs_match_as_their_definition_says() {
    let mut random = Random(0x610b);
    let parts = ["a", "b", "/", "*", "*", "?", "[ab]", "[!a]", "\\*", "\\["];
    let mut matched = 0;
    for _ in 0..100_000 {
        let glob: String = (0..1 + random.below(6)).map(|_| random.pick(&parts)).collect();
        let text: String =
            (0..random.below(6)).map(|_| random.pick(&["a", "b", "/", "*", "["])).collect();
        let ours = matches(&format!("glob:{glob}"), text.as_bytes());
        assert_eq!(ours, glob_matches(glob.as_bytes(), text.as_bytes()), "{glob:?} on {text:?}");
        matched += usize::from(ours);
    }
    assert!(matched > 5_000, "{matched}");
}

/// xorshift64*, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}

/// Few letters, so that matches are common; and what is special to some part.
const LETTERS: [&str; 12] = ["a", "b", "c", "A", "B", "_", " ", "-", "/", "1", "é", "\n"];
const ATOMS: [&str; 22] = [
    ".",
    "\\d",
    "\\w",
    "\\s",
    "\\D",
    "\\W",
    "\\S",
    "[abc]",
    "[^a]",
    "[a-c1]",
    "[[:alpha:]]",
    "[^[:space:]a]",
    "\\x41",
    "\\.",
    "\\n",
    "[]a]",
    "[a-]",
    "[\\w-]",
    "^",
    "$",
    "\\b",
    "\\B",
];
const REPEATS: [&str; 14] = [
    "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,3}", "{2,}", "{0}", "{1,}?", "{0,1}?",
    "{3}?",
];

/// Writes a pattern of the supported syntax.
fn generate(random: &mut Random, depth: usize, text: &mut String) {
    for branch in 0..1 + random.below(4) / 2 {
        if branch > 0 {
            text.push('|');
        }
        for _ in 0..random.below(4) {
            match random.below(10) {
                0..=4 => text.push_str(random.pick(&LETTERS)),
                5..=7 => text.push_str(random.pick(&ATOMS)),
                _ if depth == 0 => text.push('a'),
                _ => {
                    text.push_str(random.pick(&["(", "(?:", "(?i:"]));
                    generate(random, depth - 1, text);
                    text.push(')');
                }
            }
            if random.below(3) == 0 {
                text.push_str(random.pick(&REPEATS));
            }
        }
    }
}

fn generate_text(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(14) {
        match random.below(20) {
            0 => text.push(random.next() as u8),
            _ => text.extend_from_slice(random.pick(&LETTERS).as_bytes()),
        }
    }
    text
}

#[test]
fn a_million_times_no_pattern_matches_otherwise_than_in_the_regex_crate() {
    let mut random = Random(0x5eed);
    let (mut pairs, mut matches) = (0, 0);
    while pairs < 1_000_000 {
        let mut source = String::from(random.pick(&["", "", "", "(?i)"]));
        generate(&mut random, 3, &mut source);
        let theirs = regex::bytes::RegexBuilder::new(&source)
            .unicode(false)
            .dot_matches_new_line(true)
            .build();
        let (theirs, ours) = match (theirs, parser::parse(source.as_bytes(), 0, false)) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(_), Err(_)) => continue,
            (theirs, ours) => panic!("{source:?}: {theirs:?} {ours:?}"),
        };
        let mut scratch = Scratch::new(ours.len());
        for _ in 0..100 {
            let text = generate_text(&mut random);
            let matched = ours.is_match(&text, &mut scratch);
            assert_eq!(matched, theirs.is_match(&text), "{source:?} on {text:?}");
            pairs += 1;
            matches += usize::from(matched);
        }
    }
    // Neither side may have it easy.
    assert!(matches > pairs / 10 && matches < pairs * 9 / 10, "{matches} of {pairs}");
}

#[test]
fn the_words_of_other_tools_name_the_same_fields() {
    for (pattern, field, searched) in [
        ("comm:^sshd$", Field::Name, "^sshd$"),
        ("cmdline:--type=renderer", Field::Cmd, "--type=renderer"),
        ("uid:0", Field::User, "0"),
        ("uid:glob:post*", Field::User, "post*"),
        ("commander:x", Field::Name, "commander:x"),
        ("name:user:x", Field::Name, "user:x"),
    ] {
        let pattern = Pattern::parse(pattern.as_bytes()).unwrap();
        assert_eq!((pattern.field(), pattern.searched()), (field, searched.as_bytes()));
    }
    assert_eq!(Pattern::parse(b"uid:glob:0").unwrap().number(), Some(0));
    assert_eq!(Pattern::parse(b"user:a:0").unwrap().number(), None);
}

#[test]
fn it_is_known_of_each_pattern_whether_any_text_matches() {
    // All patterns of up to six of these, held against all texts that could tell them apart.
    let texts: Vec<_> = (0..7).map(|length| "a".repeat(length)).collect();
    let (mut patterns, mut never) = (vec![String::new()], 0);
    for length in 1..=6 {
        let longer = patterns.iter().filter(|text| text.len() == length - 1);
        let longer = longer.flat_map(|text| "a^$|*".chars().map(move |c| format!("{text}{c}")));
        patterns.extend(longer.collect::<Vec<_>>());
    }
    for text in &patterns {
        let Ok(pattern) = Pattern::parse(text.as_bytes()) else { continue };
        let matched = texts.iter().any(|value| matches(text, value.as_bytes()));
        assert_eq!(pattern.can_match(), matched, "{text}");
        never += u32::from(!matched);
    }
    assert!(never > 100, "{never}");
    for (text, can) in [
        ("'^sshd$'", false),
        ("/usr/bin/^x", false),
        ("sshd$|x^", true),
        ("(^|/)(init|sshd)$", true),
        ("a(b$|c$)d", false),
        ("glob:*^$x", true),
        ("x\\$\\^y", true),
        ("[$^]x", true),
    ] {
        assert_eq!(Pattern::parse(text.as_bytes()).unwrap().can_match(), can, "{text}");
    }
}
