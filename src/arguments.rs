//! The command line: arguments to settings as they were given, and the first error to one
//! line.

use crate::bytes::Escaped;
use crate::options::{self, Effect, Settings, Spec, Task};
use crate::sources::{Given, Tell};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// What a command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub given: Vec<Rc<Given>>,
    /// `None`: watch.
    pub task: Option<Task>,
    pub notices: Vec<&'static str>,
}

/// Reads arguments, without the program's own name. Where one is given twice, the later
/// one counts. The first that is wrong is told, without the program's name.
pub fn parse(
    arguments: impl Iterator<Item = OsString> + 'static,
    tell: Tell<'_>,
) -> Option<Request> {
    let mut request = Request::default();
    // What is wrong shows when it is set.
    let mut tried = Settings::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    loop {
        let place = match parser.next() {
            Ok(None) => return Some(request),
            Ok(Some(lexopt::Arg::Short(letter))) => format!("-{letter}"),
            Ok(Some(lexopt::Arg::Long(name))) => format!("--{name}"),
            Ok(Some(lexopt::Arg::Value(text))) => {
                tell(format_args!("unexpected argument \"{}\"", escaped(&text)));
                return None;
            }
            Err(lexopt::Error::UnexpectedValue { option, value }) => {
                tell(format_args!("{option}: takes no value, but got \"{}\"", escaped(&value)));
                return None;
            }
            Err(_) => {
                tell(format_args!("the arguments make no sense"));
                return None;
            }
        };
        let Some(spec) = options::by_spelling(&place) else {
            unknown(&place, tell);
            return None;
        };
        match spec.effect {
            Effect::Task(task) => request.task = request.task.or(Some(task)),
            Effect::Obsolete(notice) => request.notices.push(notice),
            _ => {
                let given = take(&mut parser, place, spec, tell)?;
                if !given.apply(&mut tried, tell) {
                    return None;
                }
                request.given.push(given);
            }
        }
    }
}

/// An option with the value that it takes.
fn take(
    parser: &mut lexopt::Parser,
    place: String,
    spec: &'static Spec,
    tell: Tell<'_>,
) -> Option<Rc<Given>> {
    let Some(name) = spec.value_name() else { return Some(Given::new(spec, None, place)) };
    let Ok(value) = parser.value() else {
        let expects = spec.expects();
        tell(format_args!("{place}: its value {name} is missing (expected: {expects})"));
        return None;
    };
    Some(Given::new(spec, Some(value.as_bytes()), place))
}

fn unknown(place: &str, tell: Tell<'_>) {
    let shown = Escaped(place.as_bytes());
    let nearest = place.strip_prefix("--").and_then(|name| options::nearest_long(name.as_bytes()));
    match nearest {
        Some(nearest) => {
            tell(format_args!("unknown option \"{shown}\"; did you mean --{nearest}?"))
        }
        None => tell(format_args!("unknown option \"{shown}\"")),
    }
}

fn escaped(text: &OsStr) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Request, String> {
        let mut said = String::new();
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        let request = parse(arguments.into_iter(), &mut |line| said = line.to_string());
        request.ok_or(said)
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
            assert_eq!(given.text.as_deref(), Some(&b"100,20"[..]), "{arguments:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_option_and_what_would_be_right() {
        let said = |arguments: &[&str]| of(arguments).unwrap_err();
        assert_eq!(said(&["-m"]), "-m: its value PERCENT[,KILL] is missing (expected: a percentage above 0 and below 100, such as 10 or 10,5)");
        assert_eq!(said(&["--dryrun=x"]), "--dryrun: takes no value, but got \"x\"");
        assert_eq!(said(&["--dryrnu"]), "unknown option \"--dryrnu\"; did you mean --dryrun?");
        assert_eq!(said(&["-Z"]), "unknown option \"-Z\"");
        assert_eq!(said(&["stray"]), "unexpected argument \"stray\"");
    }
}
