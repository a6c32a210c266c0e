//! What an option is: how it is spelled, what it takes, what it says in the help, what it sets.

use super::config::Config;
use super::value::{self, Fault};
use crate::pattern::{Field, Pattern};

/// What every key begins with.
pub const PREFIX: &str = "OOM_GUARD_";

#[derive(Debug)]
pub struct Spec {
    /// With blanks between them, short ones first.
    pub spelled: &'static str,
    /// What it is called in the environment and in files, after `PREFIX`; empty for what is
    /// no setting.
    pub key: &'static str,
    pub effect: Effect,
    /// In words; empty for "off" and "none".
    pub default: &'static str,
    /// The part before the first semicolon must make sense alone (`brief`).
    pub help: &'static str,
    /// Shown on the one screen of `--help`.
    pub common: bool,
    /// The title of the section of the help that begins with it; empty within a section.
    pub section: &'static str,
}

/// What an option does when it is met.
#[derive(Debug)]
pub enum Effect {
    /// Sets something on, or, by its key, off.
    Switch(fn(&mut Config, bool)),
    /// Reads a value and sets what it says.
    Value(&'static Form, fn(&mut Config, &[u8]) -> Result<(), Fault>),
    /// Takes a pattern; given again, one more.
    Pattern(fn(&mut Config) -> &mut Vec<Pattern>),
    /// Names a configuration file; given again, one more.
    Config,
    /// Changes what the program is for.
    Task(Task),
    /// Does nothing, for earlyoom's users; its help is said instead.
    Nothing,
}

/// What a value is called in the help, empty for a switch; and what would be right, for the
/// message about one that is not.
#[derive(Debug)]
pub struct Form(pub &'static str, pub &'static str);

/// What an invocation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Help,
    Version,
    Check,
    Explain,
}

impl Spec {
    /// Spelled so, with that key; it does nothing yet.
    pub const fn new(spelled: &'static str, key: &'static str) -> Spec {
        let effect = Effect::Nothing;
        Spec { spelled, key, effect, default: "", help: "", common: false, section: "" }
    }

    pub const fn effect(self, effect: Effect) -> Spec {
        Spec { effect, ..self }
    }

    pub const fn default(self, default: &'static str) -> Spec {
        Spec { default, ..self }
    }

    pub const fn help(self, help: &'static str) -> Spec {
        Spec { help, ..self }
    }

    pub const fn common(self) -> Spec {
        Spec { common: true, ..self }
    }

    /// The first of a section.
    pub const fn begins(self, section: &'static str) -> Spec {
        Spec { section, ..self }
    }

    pub fn spellings(&self) -> impl Iterator<Item = &'static str> {
        self.spelled.split_ascii_whitespace()
    }

    /// The help as far as it stands alone.
    pub fn brief(&self) -> &'static str {
        self.help.split(';').next().unwrap_or_default()
    }

    pub fn form(&self) -> &'static Form {
        match self.effect {
            Effect::Value(form, _) => form,
            Effect::Pattern(_) => &Form("PATTERN", "a regular expression or glob"),
            Effect::Config => &Form("FILE", "the path of a file, or none"),
            Effect::Switch(_) | Effect::Task(_) | Effect::Nothing => {
                &Form("", "true or false, yes or no, on or off, 1 or 0")
            }
        }
    }

    /// Sets what `text` says, or tells what is wrong with it, and in a pattern from which byte on.
    pub fn set(&self, config: &mut Config, text: &[u8]) -> Result<(), (Fault, Option<usize>)> {
        let set = match self.effect {
            Effect::Switch(set) => value::switch(text).map(|on| set(config, on)),
            Effect::Value(_, set) => set(config, text),
            Effect::Pattern(list) => {
                let pattern = Pattern::parse(text).map_err(|fault| (fault.what, Some(fault.at)))?;
                let list = list(config);
                // The cheapest first, whatever the order they are given in.
                let place = list.iter().position(|other| cost(other) > cost(&pattern));
                list.insert(place.unwrap_or(list.len()), pattern);
                Ok(())
            }
            Effect::Config if text.is_empty() || text == b"-" => Err(value::EMPTY),
            Effect::Config | Effect::Task(_) | Effect::Nothing => Ok(()),
        };
        set.map_err(|what| (what, None))
    }

    /// What it is about, by the first key. Options of one subject replace each other: a source
    /// that gives one drops the others of a lower source.
    pub fn subject(&self) -> &'static str {
        match self.key {
            "MEM_SIZE" => "MEM_THRESHOLD",
            "SWAP_SIZE" => "SWAP_THRESHOLD",
            "THRESHOLD" => "PROCESS_LIMIT",
            "SET_PRIORITY" => "PRIORITY",
            key => key,
        }
    }

    /// Given behind the other in one source, it alone counts.
    pub fn overrules(&self, other: &Spec) -> bool {
        match self.effect {
            Effect::Pattern(_) | Effect::Config => false,
            // A size and a percentage count both.
            _ if self.key.ends_with("_SIZE") || other.key.ends_with("_SIZE") => {
                self.key == other.key
            }
            _ => self.subject() == other.subject(),
        }
    }
}

/// Puts a value in its place, if it is one.
pub fn put<T>(place: &mut impl From<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    *place = value?.into();
    Ok(())
}

/// What reading a field takes: nothing, one call, a file, another process's help.
fn cost(pattern: &Pattern) -> u8 {
    match pattern.field() {
        Field::Name => 0,
        Field::User => 1,
        Field::Exe | Field::Cgroup => 2,
        Field::Cmd => 3,
    }
}

#[cfg(all(test, feature = "patterns"))]
mod tests {
    use super::super::find::by_key;
    use super::*;

    #[test]
    fn patterns_stand_in_the_order_of_their_cost() {
        let mut config = Config::default();
        let spec = by_key(b"ONLY").unwrap();
        for text in ["cmd:a", "b", "exe:c", "user:d", "e", "cgroup:f"] {
            spec.set(&mut config, text.as_bytes()).unwrap();
        }
        let texts: Vec<_> = config.patterns.only.iter().map(Pattern::text).collect();
        assert_eq!(texts, [&b"b"[..], b"e", b"user:d", b"exe:c", b"cgroup:f", b"cmd:a"]);
    }
}
