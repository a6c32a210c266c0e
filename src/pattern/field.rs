//! Which text of a process a pattern looks at.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `comm`, and the full name if the kernel cut it.
    Name,
    /// Arguments joined by single spaces.
    Cmd,
    /// Path of the executable.
    Exe,
    /// Name or number of the effective user.
    User,
    /// Path of the cgroup, in any hierarchy.
    Cgroup,
}

impl Field {
    pub const ALL: [Field; 5] = [Field::Name, Field::Cmd, Field::Exe, Field::User, Field::Cgroup];

    /// What is written before the colon, in the order of the fields; then what other tools call them.
    pub const WORDS: [(&'static str, Field); 8] = [
        ("name", Field::Name),
        ("cmd", Field::Cmd),
        ("exe", Field::Exe),
        ("user", Field::User),
        ("cgroup", Field::Cgroup),
        ("comm", Field::Name),
        ("cmdline", Field::Cmd),
        ("uid", Field::User),
    ];

    pub const fn word(self) -> &'static str {
        Field::WORDS[self as usize].0
    }
}
