//! `--check`: the settings in force and where they stand, what the kernel offers, and what
//! of both deserves a second thought.
//!
//! Runs once and ends, so unlike the loop it may allocate.

use crate::bytes::{self, Escaped};
use crate::config::{Config, Settled};
use crate::explain::Reader;
use crate::filter::{CommandLines, Filter};
use crate::log;
use crate::options::{Effect, Spec, PREFIX, TABLE};
use crate::pattern::{Field, Pattern};
use crate::procfs::meminfo::Memory;
use crate::procfs::Proc;
use crate::rivals;
use crate::scan;
use crate::sources::{self, Given, Sources};
use crate::sys::errno::{self, Errno};
use crate::sys::{machine, memory, process, socket};
use crate::victim::{Protection, Remembered, Rules, Scale};
use std::ffi::OsStr;
use std::fmt::{self, Display, Write};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// All that `--check` prints.
pub struct Check {
    text: String,
    pub warnings: Vec<String>,
}

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Check {
    pub fn of(
        proc: &mut Proc,
        sources: &Sources,
        settled: &Settled,
        memory: &Memory,
        scale: Scale,
    ) -> io::Result<Check> {
        let config = &settled.config;
        let mut check = Check { text: String::new(), warnings: Vec::new() };
        check.warnings.extend(sources.unknown.iter().map(|variable| variable.to_string()));
        let warnings = config.warnings(memory.total, memory.swap_total);
        check.warnings.extend(warnings.map(|warning| warning.to_string()));
        check.warnings.extend(sources.doubts().map(|doubt| doubt.to_string()));
        check.say_files(sources);
        check.say_settings(&settled.in_force);
        check.say_machine(proc, memory);
        check.look_at_outputs(config);
        let (family, left) = (scan::family(proc, None), Remembered::default());
        let rules = Rules::new(config, memory.total, scale, family, &left);
        if let Some((pid, name)) = rivals::find(proc, &rules, 1)?.filter(|_| config.memory) {
            check.warnings.push(log::Rival(pid, name).to_string());
        }
        check.try_patterns(proc, config, &rules)?;
        Ok(check)
    }

    fn say_files(&mut self, sources: &Sources) {
        for file in &sources.files {
            let exists = Path::new(OsStr::from_bytes(&file.name)).exists();
            let there_or_not = if exists { "read" } else { "not there" };
            let _ = writeln!(self.text, "configuration: {}: {there_or_not}", Escaped(&file.name));
        }
    }

    /// In the form of a configuration file.
    fn say_settings(&mut self, in_force: &[Given]) {
        self.text.push_str("settings in force:\n");
        let is_setting =
            |spec: &&Spec| !spec.key.is_empty() && !matches!(spec.effect, Effect::Config);
        for spec in TABLE.iter().filter(is_setting) {
            let given: Vec<_> = in_force.iter().filter(|given| given.spec == spec).collect();
            let is_replaced = in_force.iter().any(|given| given.spec.subject() == spec.subject());
            if given.is_empty() && !spec.default.is_empty() && !is_replaced {
                let _ = writeln!(self.text, "  # {PREFIX}{}: {} (default)", spec.key, spec.default);
            }
            for (index, given) in given.iter().enumerate() {
                let setting = setting(spec, index, given.text.as_deref().unwrap_or(b"true"));
                let _ = writeln!(self.text, "  {setting:<40} # {}", given.place);
            }
        }
    }

    fn say_machine(&mut self, proc: &mut Proc, memory: &Memory) {
        let (major, minor) = machine::kernel_release();
        let _ = writeln!(self.text, "\nthis machine: Linux {major}.{minor}");
        let _ = writeln!(self.text, "  {}", log::State(memory));
        let available = match memory.estimated {
            true => "estimated: the kernel does not tell it (3.14 and later do)",
            false => "told by the kernel",
        };
        self.say("MemAvailable", available);
        self.say_result("pressure information (PSI)", proc.stall_shares().map(drop));
        let pidfd = process::pidfd_open(process::own_pid());
        let release = match &pidfd {
            Ok(pidfd) => process::release_memory(pidfd.as_fd()),
            Err(_) => Err(errno::gone()),
        };
        self.say_result("signals through pidfd (Linux 5.3)", pidfd.map(drop));
        // The guard itself is not dying, which a kernel that knows the call says.
        let release = release.or_else(|error| match errno::is_invalid(&error) {
            true => Ok(()),
            false => Err(error),
        });
        self.say_result("process_mrelease (Linux 5.15)", release);
        self.say_result("locking memory", memory::lock());
        let reach = match process::own_user() == 0 {
            true => "all",
            false => "those of this user (not root)",
        };
        self.say("processes that can be ended", reach);
    }

    fn say(&mut self, what: &str, text: &str) {
        let _ = writeln!(self.text, "  {what}: {text}");
    }

    fn say_result(&mut self, what: &str, result: io::Result<()>) {
        match result {
            Ok(()) => self.say(what, "yes"),
            Err(error) => self.say(what, &format!("no, {}", Errno(&error))),
        }
    }

    fn look_at_outputs(&mut self, config: &Config) {
        let outputs = &config.outputs;
        if outputs.syslog {
            if let Err(error) = socket::connect(b"/dev/log\0") {
                self.warnings.push(format!("--syslog: /dev/log: {}", Errno(&error)));
            }
        }
        for (option, path) in
            [("--log-file", &outputs.log_file), ("--stats-file", &outputs.stats_file)]
        {
            let Some(path) = path else { continue };
            let shown = Escaped(path.as_bytes());
            let path = Path::new(OsStr::from_bytes(path.as_bytes()));
            if path.is_dir() {
                self.warnings.push(format!("{option}: {shown} is a directory"));
            } else if !path.parent().is_some_and(Path::is_dir) {
                self.warnings.push(format!("{option}: there is no directory for {shown}"));
            }
        }
    }

    /// A protection that protects nobody is a slip, as a rule.
    fn try_patterns(
        &mut self,
        proc: &mut Proc,
        config: &Config,
        rules: &Rules<'_>,
    ) -> io::Result<()> {
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let mut filter = Filter::with_users(&config.patterns, &passwd);
        for pattern in filter.unknown_users(&config.patterns) {
            self.warnings.push(log::UnknownUser(pattern).to_string());
        }
        let protecting = config.patterns.ignore.len() + config.patterns.only.len();
        let mut reader = Reader::start(protecting > 0)?;
        let lists = [("--ignore", &config.patterns.ignore), ("--only", &config.patterns.only)];
        for (option, pattern) in lists
            .iter()
            .flat_map(|(option, list)| list.iter().map(move |pattern| (option, pattern)))
        {
            let matching = fields_that_match(proc, &mut filter, &mut reader, rules, pattern)?;
            if matching.contains(&pattern.field()) {
                continue;
            }
            let mut warning =
                format!("{option} \"{}\": matches no process now", Escaped(pattern.text()));
            for field in matching {
                let _ = write!(warning, "; {}: would", field.word());
            }
            self.warnings.push(warning);
        }
        Ok(())
    }
}

/// The fields in which `pattern` matches some process, whichever it is written for.
fn fields_that_match(
    proc: &mut Proc,
    filter: &mut Filter,
    commands: &mut dyn CommandLines,
    rules: &Rules<'_>,
    pattern: &Pattern,
) -> io::Result<Vec<Field>> {
    let mut matching = Vec::new();
    proc.for_each(|proc, pid| {
        let Ok(stat) = proc.stat(pid) else { return };
        // The command lines of those that ask name the pattern themselves.
        let asks = [Protection::Guard, Protection::Ancestor, Protection::KernelThread];
        if rules.protection(&stat).is_some_and(|why| asks.contains(&why)) {
            return;
        }
        for field in filter.fields_that_match(pattern, proc, &stat, commands) {
            if !matching.contains(&field) {
                matching.push(field);
            }
        }
    })?;
    Ok(matching)
}

/// `KEY=VALUE` as a configuration file has it.
fn setting(spec: &Spec, index: usize, value: &[u8]) -> String {
    let number = if index > 0 { format!("_{}", index + 1) } else { String::new() };
    let quote = if value.contains(&b'\'') { '"' } else { '\'' };
    let value = String::from_utf8_lossy(value);
    let is_plain = value.bytes().all(sources::is_plain);
    match is_plain {
        true => format!("{PREFIX}{}{number}={value}", spec.key),
        false => format!("{PREFIX}{}{number}={quote}{}{quote}", spec.key, Line(&value)),
    }
}

/// Text with nothing in it that would end a line or steer a terminal.
struct Line<'a>(&'a str);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match bytes::is_treacherous(c) {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}
