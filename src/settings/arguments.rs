//! The command line: arguments to what is given, up to the first mistake.

use super::config::Config;
use super::find;
use super::given::Given;
use super::option::{Effect, Form, Spec, Task};
use super::value::Mistake;
use crate::bytes::Escaped;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a command line asks for.
#[derive(Debug, Default)]
pub struct Request {
    pub given: Vec<Given>,
    /// `None`: watch.
    pub task: Option<Task>,
    pub notices: Vec<&'static str>,
}

/// Reads arguments, without the program's own name. If one is given twice, the later one counts.
/// Not inlined: 200 bytes smaller.
#[inline(never)]
pub fn parse(arguments: impl Iterator<Item = OsString> + 'static) -> Result<Request, Mistake> {
    let mut request = Request::default();
    // What is wrong shows when it is set.
    let mut tried = Config::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(refusal)? {
        let place = match argument {
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{name}"),
            Arg::Value(text) => {
                return Err(Mistake(format!("unexpected argument \"{}\"", escaped(&text))));
            }
        };
        let spec = find::by_spelling(&place).ok_or_else(|| unknown(&place))?;
        match spec.effect {
            Effect::Task(task) => request.task = request.task.or(Some(task)),
            Effect::Nothing => request.notices.push(spec.help),
            _ => {
                let given = take(&mut parser, place, spec)?;
                given.apply(&mut tried)?;
                request.given.push(given);
            }
        }
    }
    Ok(request)
}

fn refusal(error: lexopt::Error) -> Mistake {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            Mistake(format!("{option}: takes no value, but got \"{}\"", escaped(&value)))
        }
        _ => Mistake(String::from("the arguments make no sense")),
    }
}

/// An option with the value that it takes.
fn take(parser: &mut lexopt::Parser, place: String, spec: &'static Spec) -> Result<Given, Mistake> {
    let Form(name, expects) = spec.form();
    if name.is_empty() {
        return Ok(Given::new(spec, b"true", place));
    }
    match parser.value() {
        Ok(text) => Ok(Given { spec, text: text.into_vec(), place }),
        Err(_) => {
            Err(Mistake(format!("{place}: its value {name} is missing (expected: {expects})")))
        }
    }
}

fn unknown(place: &str) -> Mistake {
    let mut said = format!("unknown option \"{}\"", Escaped(place.as_bytes()));
    let long = place.strip_prefix("--");
    if let Some(nearest) = long.and_then(|name| find::nearest_long(name.as_bytes())) {
        let _ = write!(said, "; did you mean --{nearest}?");
    }
    Mistake(said)
}

fn escaped(text: &OsStr) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Request, Mistake> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        parse(arguments.into_iter())
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
            assert_eq!(given.spec.key, "MEM_SIZE");
            assert_eq!(given.text, b"100,20", "{arguments:?}");
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
