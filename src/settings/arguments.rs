//! The command line: arguments to what is given, up to the first mistake.

use super::config::Config;
use super::find;
use super::given::Given;
use super::option::{Effect, Form, Spec, Task};
use super::value::Mistake;
use crate::bytes::Escaped;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a command line asks for.
#[derive(Debug, Default)]
pub struct Request {
    pub given: Vec<Given>,
    /// `None`: watch.
    pub task: Option<Task>,
    /// The whole help, not the common options.
    pub all: bool,
    pub notices: Vec<&'static str>,
}

/// Reads arguments, without the program's own name. If one is given twice, the later one counts.
pub fn parse(arguments: impl Iterator<Item = OsString> + 'static) -> Result<Request, Mistake> {
    let mut request = Request::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut after_help = false;
    while let Some(argument) = parser.next().map_err(refusal)? {
        let may_be_all = std::mem::take(&mut after_help);
        let place = match argument {
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{name}"),
            Arg::Value(text) if may_be_all && text == "all" => {
                request.all = true;
                continue;
            }
            Arg::Value(text) => {
                return Err(format!("unexpected argument \"{}\"", escaped(&text)));
            }
        };
        let spec = find::option(&place)?;
        match spec.effect {
            Effect::Task(task) => {
                after_help = task == Task::Help;
                request.task = request.task.or(Some(task));
            }
            Effect::Nothing => request.notices.push(spec.help),
            _ => {
                let text = value(&mut parser, spec, &place)?;
                let given = Given { spec, text, place };
                // What is wrong shows when it is set.
                given.apply(&mut Config::default())?;
                request.given.push(given);
            }
        }
    }
    Ok(request)
}

fn refusal(error: lexopt::Error) -> Mistake {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("{option}: takes no value, but got \"{}\"", escaped(&value))
        }
        _ => String::from("the arguments make no sense"),
    }
}

/// The value that an option takes, if it takes one.
fn value(parser: &mut lexopt::Parser, spec: &Spec, place: &str) -> Result<Vec<u8>, Mistake> {
    let Form(name, expects) = spec.form();
    if name.is_empty() {
        return Ok(b"true".to_vec());
    }
    parser
        .value()
        .map(OsString::into_vec)
        .map_err(|_| format!("{place}: its value {name} is missing (expected: {expects})"))
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
