//! The command line: arguments to settings as they were given, and the first error to one
//! line.

use crate::options::{self, Effect, Settings, Spec, Task};
use crate::sources::{self, Given, Place};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

/// What a command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub given: Vec<Given>,
    /// `None`: watch.
    pub task: Option<Task>,
    pub notices: Vec<&'static str>,
}

/// Why a command line is refused; displayed without the program's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Setting(sources::Refusal),
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
            Refusal::Setting(refusal) => refusal.fmt(f),
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
    spec: &'static Spec,
) -> Result<(), Refusal> {
    match spec.effect {
        Effect::Task(task) => request.task = request.task.or(Some(task)),
        Effect::Obsolete(notice) => request.notices.push(notice),
        Effect::Switch(_) | Effect::Value { .. } | Effect::Pattern(_) | Effect::Config => {
            let text = match spec.value_name() {
                None => None,
                Some(name) => match parser.value() {
                    Ok(value) => Some(value.into_vec()),
                    Err(_) => {
                        let expects = spec.expects();
                        return Err(Refusal::Missing { option, name, expects });
                    }
                },
            };
            let given = Given { spec, text, place: Place::Argument(option) };
            given.apply(&mut Settings::default()).map_err(Refusal::Setting)?;
            request.given.push(given);
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

    fn of(arguments: &[&str]) -> Result<Request, Refusal> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn all_spellings_mean_the_same() {
        for arguments in [
            &["-M", "100,20"][..],
            &["-M100,20"],
            &["-M=100,20"],
            &["--mem-size", "100,20"],
            &["--mem-size=100,20"],
            &["-gM100,20"],
            &["-M5", "-M100,20"],
        ] {
            let given = of(arguments).unwrap().given.pop().unwrap();
            assert_eq!(given.spec.longs, ["mem-size"]);
            assert_eq!(given.text.as_deref(), Some(&b"100,20"[..]), "{arguments:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_option_and_what_would_be_right() {
        let said = |arguments: &[&str]| of(arguments).unwrap_err().to_string();
        assert_eq!(said(&["-m"]), "-m: its value PERCENT[,KILL] is missing (expected: a percentage above 0 and below 100, such as 10 or 10,5)");
        assert_eq!(said(&["--dryrun=x"]), "--dryrun: takes no value, but got \"x\"");
        assert_eq!(said(&["--dryrnu"]), "unknown option \"--dryrnu\"; did you mean --dryrun?");
        assert_eq!(said(&["-Z"]), "unknown option \"-Z\"");
        assert_eq!(said(&["stray"]), "unexpected argument \"stray\"");
    }
}
