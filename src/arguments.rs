//! The command line: arguments to settings as they were given, and the first error to one
//! line.

use crate::bytes::{first_char, Escaped};
use crate::options::{self, Effect, Settings, Task};
use crate::sources::{Given, Tell};
use std::rc::Rc;

/// What a command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub given: Vec<Rc<Given>>,
    /// `None`: watch.
    pub task: Option<Task>,
    pub notices: Vec<&'static str>,
}

/// Reads arguments, without the program's own name: as getopt_long(3) has it, with `-o=VALUE` for
/// `-oVALUE` too. Where one is given twice, the later one counts. The first that is wrong is told,
/// without the program's name.
#[inline(never)]
pub fn parse(arguments: &mut dyn Iterator<Item = &[u8]>, tell: Tell<'_>) -> Option<Request> {
    // What is wrong shows when it is set.
    let (request, tried) = (Request::default(), Settings::default());
    let mut reading = Reading { request, tried, arguments, tell };
    let mut is_over = false;
    while let Some(argument) = reading.arguments.next() {
        match argument {
            b"--" if !is_over => is_over = true,
            [b'-', b'-', ..] if !is_over => {
                let equals = argument.iter().position(|&byte| byte == b'=');
                let name = &argument[..equals.unwrap_or(argument.len())];
                let value = equals.map(|equals| &argument[equals + 1..]);
                reading.option(name, value, value)?;
            }
            [b'-', letters @ ..] if !is_over && !letters.is_empty() => {
                let mut rest = letters;
                while !rest.is_empty() {
                    let (letter, behind) = rest.split_at(first_char(rest).len().max(1));
                    let value = behind.strip_prefix(b"=");
                    let may_be_value = value.or(Some(behind).filter(|rest| !rest.is_empty()));
                    let took = reading.option(&[b"-", letter].concat(), value, may_be_value)?;
                    rest = if took { b"" } else { behind };
                }
            }
            stray => {
                (reading.tell)(format_args!("unexpected argument \"{}\"", Escaped(stray)));
                return None;
            }
        }
    }
    Some(reading.request)
}

struct Reading<'a, 'b> {
    request: Request,
    tried: Settings,
    arguments: &'b mut dyn Iterator<Item = &'a [u8]>,
    tell: Tell<'b>,
}

impl<'a> Reading<'a, '_> {
    /// Takes an option, and what of its argument is its `value`, or is if it takes one; without,
    /// that is the next argument. Whether it takes one comes back; nothing if it is wrong.
    #[inline(never)]
    fn option(
        &mut self,
        name: &[u8],
        value: Option<&'a [u8]>,
        may_be_value: Option<&'a [u8]>,
    ) -> Option<bool> {
        let tell = &mut *self.tell;
        let Some((spec, place)) = options::by_spelling(name) else {
            unknown(name, tell);
            return None;
        };
        let mut taken = None;
        if let Some(name) = spec.value_name() {
            taken = may_be_value.or_else(|| self.arguments.next());
            if taken.is_none() {
                let expects = spec.expects();
                tell(format_args!("{place}: its value {name} is missing (expected: {expects})"));
                return None;
            }
        } else if let Some(value) = value {
            tell(format_args!("{place}: takes no value, but got \"{}\"", Escaped(value)));
            return None;
        }
        match spec.effect {
            Effect::Task(task) => self.request.task = self.request.task.or(Some(task)),
            Effect::Obsolete(notice) => self.request.notices.push(notice),
            _ => {
                let given = Given::new(spec, taken, String::from(place));
                if !given.apply(&mut self.tried, tell) {
                    return None;
                }
                self.request.given.push(given);
            }
        }
        Some(taken.is_some())
    }
}

fn unknown(place: &[u8], tell: Tell<'_>) {
    let shown = Escaped(place);
    match place.strip_prefix(b"--").and_then(options::nearest_long) {
        Some(nearest) => {
            tell(format_args!("unknown option \"{shown}\"; did you mean --{nearest}?"))
        }
        None => tell(format_args!("unknown option \"{shown}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Request, String> {
        let mut said = String::new();
        let mut arguments = arguments.iter().map(|text| text.as_bytes());
        let request = parse(&mut arguments, &mut |line| said = line.to_string());
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
        assert_eq!(said(&["-gd=x"]), "-d: takes no value, but got \"x\"");
        assert_eq!(said(&["-gZ"]), "unknown option \"-Z\"");
        assert_eq!(said(&["-gö"]), "unknown option \"-ö\"");
        assert_eq!(said(&["-="]), "unknown option \"-=\"");
        assert_eq!(said(&["stray"]), "unexpected argument \"stray\"");
        assert_eq!(said(&["-"]), "unexpected argument \"-\"");
        assert_eq!(said(&["--", "-g"]), "unexpected argument \"-g\"");
        assert!(of(&["-g", "--"]).is_ok());
    }

    #[test]
    fn a_value_may_look_like_anything() {
        for (arguments, value) in [
            (&["--prefer", "--"][..], "--"),
            (&["--prefer=--"], "--"),
            (&["--prefer=="], "="),
            (&["-N/="], "/="),
            (&["-N=/x"], "/x"),
        ] {
            let mut given = of(arguments).unwrap().given;
            assert_eq!(given.pop().unwrap().text.as_deref(), Some(value.as_bytes()));
        }
    }
}
