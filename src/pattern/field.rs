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
    /// Path of the cgroup.
    Cgroup,
}

impl Field {
    pub const ALL: [Field; 5] = [Field::Name, Field::Cmd, Field::Exe, Field::User, Field::Cgroup];

    pub const fn word(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Cmd => "cmd",
            Field::Exe => "exe",
            Field::User => "user",
            Field::Cgroup => "cgroup",
        }
    }
}
