//! The command line: arguments to settings, and errors to one line.

use crate::options::{self, Effect, Settings, Spec, Task};
use crate::pattern::{self, Pattern};
use crate::units::Fault;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// How much of a pattern is shown, and how much from the faulty byte on.
const WHOLE: usize = 200;
const REST: usize = 20;

/// Quoted text, at most so many bytes of it.
struct Cut<'a>(&'a [u8], usize);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut(text, limit) = *self;
        let dots = if text.len() > limit { "..." } else { "" };
        write!(f, "{:?}{dots}", OsStr::from_bytes(&text[..text.len().min(limit)]))
    }
}

/// What a command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub settings: Settings,
    /// `None`: watch.
    pub task: Option<Task>,
    pub notices: Vec<&'static str>,
}

/// Why a command line is refused; displayed without the program's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Value { option: String, value: OsString, fault: Fault, expects: &'static str },
    Pattern { option: String, value: OsString, fault: pattern::Fault },
    Missing { option: String, name: &'static str, expects: &'static str },
    Surplus { option: String, value: OsString },
    UnknownLong { name: String },
    UnknownShort(char),
    Positional(OsString),
    NotText(OsString),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Value { option, value, fault, expects } => {
                write!(f, "{option}: {value:?} {} (expected: {expects})", fault.text())
            }
            Refusal::Pattern { option, value, fault } => {
                let rest = value.as_bytes().get(fault.at..).unwrap_or_default();
                write!(
                    f,
                    "{option}: {}: {}, at byte {}",
                    Cut(value.as_bytes(), WHOLE),
                    fault.what,
                    fault.at + 1
                )?;
                match rest {
                    [] => Ok(()),
                    _ => write!(f, ": {}", Cut(rest, REST)),
                }
            }
            Refusal::Missing { option, name, expects } => {
                write!(f, "{option}: its value {name} is missing (expected: {expects})")
            }
            Refusal::Surplus { option, value } => {
                write!(f, "{option}: takes no value, but got {value:?}")
            }
            Refusal::UnknownLong { name } => {
                write!(f, "unknown option {:?}", format!("--{name}"))?;
                match options::nearest_long(name) {
                    Some(nearest) => write!(f, "; did you mean --{nearest}?"),
                    None => Ok(()),
                }
            }
            Refusal::UnknownShort(letter) => write!(f, "unknown option {:?}", format!("-{letter}")),
            Refusal::Positional(text) => write!(f, "unexpected argument {text:?}"),
            Refusal::NotText(text) => write!(f, "{text:?} is not valid UTF-8"),
        }
    }
}

/// Reads arguments, without the program's own name. Where one is given twice, the later
/// one counts.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, Refusal> {
    let mut request = Request::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let (option, spec) = match parser.next().map_err(refusal)? {
            None => return Ok(request),
            Some(lexopt::Arg::Short(letter)) => (
                format!("-{letter}"),
                options::by_short(letter).ok_or(Refusal::UnknownShort(letter))?,
            ),
            Some(lexopt::Arg::Long(name)) => (
                format!("--{name}"),
                options::by_long(name).ok_or(Refusal::UnknownLong { name: name.to_string() })?,
            ),
            Some(lexopt::Arg::Value(text)) => return Err(Refusal::Positional(text)),
        };
        take(&mut request, &mut parser, option, spec)?;
    }
}

fn take(
    request: &mut Request,
    parser: &mut lexopt::Parser,
    option: String,
    spec: &Spec,
) -> Result<(), Refusal> {
    match spec.effect {
        Effect::Switch(set) => set(&mut request.settings, true),
        Effect::Task(task) => request.task = request.task.or(Some(task)),
        Effect::Obsolete(notice) => request.notices.push(notice),
        Effect::Pattern(list) => {
            let (name, expects) = (options::PATTERN, "a regular expression or glob");
            let Ok(value) = parser.value() else {
                return Err(Refusal::Missing { option, name, expects });
            };
            let pattern = Pattern::parse(value.as_bytes()).map_err(|fault| Refusal::Pattern {
                option,
                value,
                fault,
            })?;
            list(&mut request.settings).push(pattern);
        }
        Effect::Value { name, expects, set } => {
            let Ok(value) = parser.value() else {
                return Err(Refusal::Missing { option, name, expects });
            };
            set(&mut request.settings, value.as_bytes()).map_err(|fault| Refusal::Value {
                option,
                value,
                fault,
                expects,
            })?;
        }
    }
    Ok(())
}

fn refusal(error: lexopt::Error) -> Refusal {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => Refusal::Surplus { option, value },
        lexopt::Error::NonUnicodeValue(text) => Refusal::NotText(text),
        lexopt::Error::UnexpectedArgument(text) => Refusal::Positional(text),
        lexopt::Error::UnexpectedOption(name) => Refusal::UnknownLong { name },
        other => Refusal::Positional(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{KiB, Levels};

    fn of(arguments: &[&str]) -> Result<Request, Refusal> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn all_spellings_mean_the_same() {
        let wanted = Some(Levels { term: KiB(100), kill: KiB(20) });
        for arguments in [
            &["-M", "100,20"][..],
            &["-M100,20"],
            &["-M=100,20"],
            &["--mem-size", "100,20"],
            &["--mem-size=100,20"],
            &["-gM100,20"],
            &["-M5", "-M100,20"],
        ] {
            assert_eq!(of(arguments).unwrap().settings.mem_size, wanted, "{arguments:?}");
        }
    }

    #[test]
    fn a_refusal_names_option_value_and_what_would_be_right() {
        let said = |arguments: &[&str]| of(arguments).unwrap_err().to_string();
        assert!(said(&["-m", "abc"]).starts_with("-m: \"abc\" is not a number (expected: "));
        assert!(said(&["--mem", "-5"]).starts_with("--mem: \"-5\" is negative"));
        assert!(said(&["-m"]).starts_with("-m: its value PERCENT[,KILL] is missing"));
        assert_eq!(said(&["--dryrun=x"]), "--dryrun: takes no value, but got \"x\"");
        assert_eq!(said(&["--dryrnu"]), "unknown option \"--dryrnu\"; did you mean --dryrun?");
        assert_eq!(said(&["-Z"]), "unknown option \"-Z\"");
        assert_eq!(said(&["stray"]), "unexpected argument \"stray\"");
    }

    #[test]
    fn control_characters_in_a_value_stay_in_one_line() {
        assert!(!of(&["-m", "a\nb\x1b"]).unwrap_err().to_string().contains(['\n', '\x1b']));
    }
}
