//! `--explain`: the candidates as a table, the state of memory, and who would go now.
//!
//! Runs once and ends, so unlike the loop it may allocate.

use crate::bytes::Escaped;
use crate::config::{Config, Patterns};
use crate::filter::{self, CommandLines, Filter, Spared, Verdict};
use crate::helper::{Duty, Helper};
use crate::log::{self, State};
use crate::pattern::Pattern;
use crate::policy::{Level, Limits};
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::process::CommandLine;
use crate::procfs::stat::{Comm, Stat};
use crate::procfs::Proc;
use crate::scan::{self, Judge};
use crate::sources::Tell;
use crate::sys::errno::is_not_permitted;
use crate::sys::{fd, machine};
use crate::units::{Identity, KiB, Pid};
use crate::victim::{Candidate, Protection, Ranking, Remembered, Rules, Scale, Standing};
use std::cmp::Reverse;
use std::fmt::{self, Display, Write};
use std::io;
use std::time::Duration;

/// For one command line: nothing waits here, but nobody likes to.
const PATIENCE: Duration = Duration::from_millis(100);
/// What is left of 100 columns for the last one, and how wide those of names are.
const WHY: usize = 26;
const USER: usize = 10;
const NAME: usize = 16;
/// More rows than fit a screen say less; `-d` shows all.
const CANDIDATES: usize = 20;
const PROTECTED: usize = 8;
/// In a log.
const SUMMARY: usize = 10;
const HEADER: &str =
    "rank     pid user       points score   adj    RSS   swap name             why\n";

/// One process in the table.
struct Row<'a> {
    pid: Pid,
    uid: u32,
    points: i64,
    score: i32,
    adj: i32,
    rss: KiB,
    swap: KiB,
    name: Comm,
    /// In words, and the pattern that it was.
    why: (&'static str, Option<&'a Pattern>),
    /// `None`: it is protected.
    standing: Option<Standing>,
}

/// The greater first: candidates by standing, then the protected by what they hold.
type Order = (Option<Standing>, KiB, Reverse<Pid>);

impl Row<'_> {
    fn order(&self) -> Order {
        (self.standing, self.rss.plus(self.swap), Reverse(self.pid))
    }
}

/// Everything that there is to explain.
struct Explanation<'a> {
    rows: Vec<Row<'a>>,
    kernel_threads: usize,
    hidden: usize,
    memory: Memory,
    limits: Limits,
    ranking: Ranking,
    passwd: Vec<u8>,
}

/// All of it. `None`: memory makes no sense. `user:` patterns that match nobody are told.
#[inline(never)]
pub fn table(
    proc: &mut Proc,
    meminfo: &MemInfo,
    config: &Config,
    scale: Scale,
    tell: Tell<'_>,
) -> io::Result<Option<String>> {
    let Some(explanation) = Explanation::of(proc, meminfo, config, scale, tell)? else {
        return Ok(None);
    };
    let limit = |few| if config.debug { usize::MAX } else { few };
    let mut text = String::from(HEADER);
    let more = explanation.write_rows(&mut text, true, limit(CANDIDATES));
    write_more(&mut text, more, "more that come later (-d shows them)");
    let more = explanation.write_rows(&mut text, false, limit(PROTECTED));
    write_more(&mut text, more, "more that are protected (-d shows them)");
    write_more(&mut text, explanation.kernel_threads, "kernel threads, protected");
    write_more(&mut text, explanation.hidden, "processes that may not be read (hidepid)");
    text += "RSS and swap in MiB; points: thousandths of memory ";
    text += match explanation.ranking {
        Ranking::OomScore => "held, plus oom_score_adj\n\n",
        Ranking::Rss => "resident (--sort-by-rss)\n\n",
    };
    explanation.write_standpoint(&mut text, config);
    Ok(Some(text))
}

/// The first candidates, and the state of memory.
pub fn summary(
    proc: &mut Proc,
    meminfo: &MemInfo,
    config: &Config,
    scale: Scale,
) -> io::Result<Option<String>> {
    let explanation = Explanation::of(proc, meminfo, config, scale, &mut |_| {})?;
    Ok(explanation.map(|explanation| {
        let mut text = String::from(HEADER);
        explanation.write_rows(&mut text, true, SUMMARY);
        explanation.write_standpoint(&mut text, config);
        text
    }))
}

fn write_more(text: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = writeln!(text, "     and {count} {what}");
    }
}

impl<'a> Explanation<'a> {
    #[inline(never)]
    fn of(
        proc: &mut Proc,
        meminfo: &MemInfo,
        config: &'a Config,
        scale: Scale,
        tell: Tell<'_>,
    ) -> io::Result<Option<Explanation<'a>>> {
        let Some(memory) = meminfo.read(proc)? else { return Ok(None) };
        let patterns = &config.patterns;
        let passwd = fd::read_file(b"/etc/passwd\0", usize::MAX).unwrap_or_default();
        let mut filter = Filter::new(patterns, &passwd);
        for pattern in filter.unknown_users(patterns) {
            tell(format_args!("{}", log::UnknownUser(pattern)));
        }
        let reader = Reader::start(!patterns.is_empty())?;
        let (family, left) = (scan::family(proc, reader.helper_pid()), Remembered::default());
        let rules = Rules::new(config, memory.total, scale, &family, &left);
        let mut explanation = Explanation {
            rows: Vec::new(),
            kernel_threads: 0,
            hidden: 0,
            memory,
            limits: Limits::of(config, &memory),
            ranking: rules.ranking,
            passwd,
        };
        let mut judge = Judging { patterns, filter, reader };
        proc.for_each(|proc, pid| {
            match explanation.row(proc, &rules, &mut judge, pid) {
                Ok(Some(row)) => explanation.rows.push(row),
                Err(error) if is_not_permitted(&error) => explanation.hidden += 1,
                Ok(None) | Err(_) => {}
            };
        })?;
        Ok(Some(explanation))
    }

    /// Reads all that went into the standing of one process. Those that have ended have no
    /// row, and kernel threads are only counted.
    fn row(
        &mut self,
        proc: &mut Proc,
        rules: &Rules<'_>,
        judge: &mut Judging<'a>,
        pid: Pid,
    ) -> io::Result<Option<Row<'a>>> {
        let stat = proc.stat_with_threads(pid)?;
        let status = proc.status(&stat)?;
        let (score, adj) = (proc.oom_score(pid)?, proc.oom_score_adj(pid)?);
        let rss = KiB::from_pages(stat.rss_pages, machine::page());
        let swap = if self.memory.swap_used() > KiB::ZERO { status.swap } else { KiB::ZERO };
        let verdict = judge.judge(proc, &stat);
        let mut points = rules.bonus_for(&verdict);
        let shown = match rules.ranking {
            Ranking::OomScore => {
                points += rules.scale.points(score);
                if rules.ignore_positive_adj {
                    points -= i64::from(adj.max(0));
                }
                points
            }
            Ranking::Rss => {
                points += rss.0 as i64;
                points.saturating_mul(1000) / self.memory.total.0.max(1) as i64
            }
        };
        let protection = match rules.protection(&stat) {
            None if score == 0 && rules.zero_is_exempt() => Some(Protection::Exempt),
            None => scan::exemption(proc, rules, judge, &stat),
            known => known,
        };
        let standing = rules.standing(points, rss.plus(swap));
        let by_pattern = judge.reason(&verdict);
        let why = match protection {
            Some(Protection::Gone) => return Ok(None),
            Some(Protection::KernelThread) => {
                self.kernel_threads += 1;
                return Ok(None);
            }
            Some(Protection::Spared(_)) if by_pattern.1.is_some() => by_pattern,
            Some(why) => (why.text(), None),
            None if !standing.large => ("spared: small", None),
            None => by_pattern,
        };
        Ok(Some(Row {
            pid,
            uid: proc.owner(pid)?,
            points: shown,
            score,
            adj,
            rss,
            swap,
            name: stat.comm,
            why,
            standing: protection.is_none().then_some(standing),
        }))
    }

    /// The next row of candidates or of the protected. (Few are shown of many, so they are
    /// not sorted.)
    fn next(&self, candidates: bool, before: Option<Order>) -> Option<&Row<'a>> {
        let mut next: Option<&Row<'a>> = None;
        for row in &self.rows {
            let is_left = before.map_or(true, |before| row.order() < before);
            if row.standing.is_some() == candidates
                && is_left
                && next.map_or(true, |next| row.order() > next.order())
            {
                next = Some(row);
            }
        }
        next
    }

    /// How many are left out comes back.
    fn write_rows(&self, text: &mut String, candidates: bool, most: usize) -> usize {
        let all = self.rows.iter().filter(|row| row.standing.is_some() == candidates).count();
        let (mut rank, mut last) = (0, None);
        while let Some(row) = self.next(candidates, last).filter(|_| rank < most) {
            rank += 1;
            last = Some(row.order());
            match candidates {
                true => pad(text, -4, format_args!("{rank}")),
                false => pad(text, -4, format_args!("-")),
            }
            self.write_row(text, row);
        }
        all - rank
    }

    fn write_row(&self, text: &mut String, row: &Row<'_>) {
        pad(text, -8, format_args!("{}", row.pid));
        *text += " ";
        let mut users = filter::users_of(&self.passwd);
        match users.find(|(uid, _)| *uid == row.uid) {
            Some((_, name)) => pad(text, USER as isize, format_args!("{}", Escaped(name))),
            None => pad(text, USER as isize, format_args!("{}", row.uid)),
        }
        pad(text, -7, format_args!("{}", row.points));
        pad(text, -6, format_args!("{}", row.score));
        pad(text, -6, format_args!("{}", row.adj));
        pad(text, -7, format_args!("{}", Mib(row.rss)));
        pad(text, -7, format_args!("{}", Mib(row.swap)));
        *text += " ";
        pad(text, NAME as isize, format_args!("{}", Escaped(row.name.as_bytes())));
        *text += " ";
        let (words, pattern) = row.why;
        match pattern {
            None => *text += words,
            Some(pattern) => {
                let pattern = Escaped(pattern.text());
                pad(text, WHY as isize, format_args!("{words}: {pattern}"));
            }
        }
        text.truncate(text.trim_end().len());
        *text += "\n";
    }

    /// The state of memory, how far it is from each level, and who would go now.
    fn write_standpoint(&self, text: &mut String, config: &Config) {
        let (memory, limits) = (&self.memory, &self.limits);
        let _ = writeln!(text, "{}", State(memory));
        for (name, mem, swap) in [
            ("SIGTERM", limits.mem.term, limits.swap.term),
            ("SIGKILL", limits.mem.kill, limits.swap.kill),
        ] {
            *text += name;
            let (Some(mem), Some(swap)) = (mem, swap) else {
                *text += ": never by these thresholds\n";
                continue;
            };
            write_distance(text, ": mem avail", memory.available, mem);
            if memory.swap_total == KiB::ZERO {
                *text += "; no swap, memory alone counts";
            } else {
                write_distance(text, "; swap free", memory.swap_free, swap);
            }
            *text += "\n";
        }
        if config.kernel_oom {
            *text += "nobody would be killed by the guard: the kernel would choose\n";
            return;
        }
        let Some(first) = self.next(true, None) else {
            *text += "nobody could be killed: there is no candidate\n";
            return;
        };
        *text += match limits.level(memory.available, memory) {
            Level::Fine => "nobody would be killed now; first would be",
            Level::Term => "now SIGTERM would go to",
            Level::Kill => "now SIGKILL would go to",
        };
        let _ = write!(text, " process {} \"", first.pid);
        pad(text, NAME as isize, format_args!("{}", Escaped(first.name.as_bytes())));
        text.truncate(text.trim_end().len());
        let _ = writeln!(text, "\": {}", self.reason(first));
    }

    /// In what the first candidate stands before the second.
    fn reason(&self, first: &Row<'_>) -> &'static str {
        let second = self.next(true, Some(first.order()));
        let (Some(first), Some(second)) = (first.standing, second.and_then(|row| row.standing))
        else {
            return "the only candidate";
        };
        if first.large != second.large {
            "the only large one"
        } else if first.points == second.points {
            match first.size == second.size {
                true => "first of equals",
                false => "largest of equals",
            }
        } else {
            match self.ranking {
                Ranking::OomScore => "most points",
                Ranking::Rss => "most resident memory",
            }
        }
    }
}

/// How far an amount is from its threshold.
fn write_distance(text: &mut String, what: &str, now: KiB, limit: KiB) {
    let _ = write!(text, "{what} <= {} MiB, ", limit.mib());
    let _ = match now <= limit {
        true => text.write_str("reached"),
        false => write!(text, "{} MiB to go", now.less(limit).mib()),
    };
}

/// Adds a column of so many characters, set to the right where `width` is below 0. What is
/// longer and stands on the left is cut, so that it stays one.
fn pad(text: &mut String, width: isize, what: fmt::Arguments<'_>) {
    let start = text.len();
    let _ = text.write_fmt(what);
    let (len, wide) = (text[start..].chars().count(), width.unsigned_abs());
    if width > 0 && len > wide {
        let kept = text[start..].char_indices().nth(wide - 1).map_or(0, |(at, _)| at);
        text.truncate(start + kept);
        *text += "~";
    }
    for _ in len..wide {
        match width < 0 {
            true => text.insert(start, ' '),
            false => text.push(' '),
        }
    }
}

/// The patterns in force.
struct Judging<'a> {
    patterns: &'a Patterns,
    filter: Filter,
    reader: Reader,
}

/// A command line may hang here as well, so that the helper reads it.
pub struct Reader(Option<Helper>);

impl Reader {
    /// With no helper, nothing is read.
    pub fn start(is_needed: bool) -> io::Result<Reader> {
        Ok(Reader(match is_needed {
            true => Some(Helper::start(Duty::default())?),
            false => None,
        }))
    }

    fn helper_pid(&self) -> Option<Pid> {
        self.0.as_ref().and_then(Helper::pid)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(helper) = self.0.take() {
            helper.finish();
        }
    }
}

impl CommandLines for Reader {
    fn command_line(&mut self, id: Identity) -> Option<CommandLine> {
        self.0.as_mut()?.command_line(id, PATIENCE)
    }
}

impl Judge for Judging<'_> {
    fn is_idle(&self) -> bool {
        self.patterns.is_empty()
    }

    fn may_prefer(&self) -> bool {
        !self.patterns.prefer.is_empty()
    }

    fn judge(&mut self, proc: &mut Proc, stat: &Stat) -> Verdict {
        self.filter.judge(self.patterns, proc, stat, &mut self.reader)
    }

    fn met(&mut self, _: &Candidate) {}
}

impl<'a> Judging<'a> {
    /// Which pattern decided, in words.
    fn reason(&self, verdict: &Verdict) -> (&'static str, Option<&'a Pattern>) {
        let patterns = self.patterns;
        match *verdict {
            Verdict { spared: Some(Spared::Ignored(Some(place))), .. } => {
                ("ignored", patterns.ignore.get(place))
            }
            Verdict { prefer: Some(_), avoid: Some(_), .. } => ("preferred and avoided", None),
            Verdict { prefer: Some(place), .. } => ("preferred", patterns.prefer.get(place)),
            Verdict { avoid: Some(place), .. } => ("avoided", patterns.avoid.get(place)),
            _ => ("", None),
        }
    }
}

/// Whole MiB, and `<1` for less than one but not nothing.
struct Mib(KiB);

impl Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KiB(1..=1023) => f.write_str("<1"),
            kib => kib.mib().fmt(f),
        }
    }
}
