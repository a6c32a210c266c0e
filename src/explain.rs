//! `--explain`: the candidates as a table, the state of memory, and who would go now.
//!
//! Runs once and ends, so unlike the loop it may allocate.

use crate::bytes::Escaped;
use crate::filter::{self, CommandLines, Filter, Spared, Verdict};
use crate::helper::{Duty, Helper};
use crate::log::{self, State};
use crate::pattern::Pattern;
use crate::policy::{Level, Limits};
use crate::procfs::cgroup::Cgroup;
use crate::procfs::meminfo::Memory;
use crate::procfs::process::CommandLine;
use crate::procfs::stat::{Comm, Stat};
use crate::procfs::Proc;
use crate::scan::{self, Judge};
use crate::settings::{Config, Patterns, Tell};
use crate::sys::errno::is_not_permitted;
use crate::sys::io;
use crate::sys::{fd, machine};
use crate::units::{Identity, KiB, Pid};
use crate::victim::{Candidate, Protection, Ranking, Remembered, Rules, Scale};
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// For one command line: nothing waits here, but nobody likes to.
const PATIENCE: Duration = Duration::from_millis(100);
/// What is left of 100 columns for the last one, and how wide those of names are.
const WHY: usize = 26;
const USER: usize = 10;
const NAME: usize = 16;
/// More rows than fit a screen say less; `-d` shows all.
const CANDIDATES_SHOWN: usize = 20;
const PROTECTED_SHOWN: usize = 8;
const IN_LOG: usize = 10;
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
    order: Order,
}

/// The greater first: whether it is a large candidate, a small one or protected, and for those
/// of a kind points (of candidates alone), size, start and number.
type Order = [i64; 5];

const PROTECTED: i64 = 0;
const SMALL: i64 = 1;
const LARGE: i64 = 2;

impl Row<'_> {
    fn is_candidate(&self) -> bool {
        self.order[0] > PROTECTED
    }
}

/// Everything that there is to explain.
struct Explanation<'a> {
    rows: Vec<Row<'a>>,
    kernel_threads: usize,
    hidden: usize,
    memory: &'a Memory,
    ranking: Ranking,
    passwd: Vec<u8>,
}

/// All of it or, unless it is to be the `whole`, the first candidates and the state of memory.
/// `user:` patterns that match nobody are told. The guard that this is for may have a `helper`.
pub fn text<'a>(
    proc: &mut Proc,
    (memory, cgroup): (&'a Memory, Option<&Cgroup>),
    config: &'a Config,
    scale: Scale,
    whole: bool,
    helper: Option<Pid>,
    tell: Tell<'_>,
) -> io::Result<String> {
    let patterns = &config.patterns;
    let passwd = fd::read_file(b"/etc/passwd\0", usize::MAX).unwrap_or_default();
    let mut filter = Filter::new(patterns, &passwd);
    for pattern in filter.unknown_users(patterns) {
        tell(format_args!("{}", log::UnknownUser(pattern)));
    }
    let mut reader = Reader::default();
    reader.start(!patterns.is_empty())?;
    // Where there are two, the reader is known as a child.
    let helper = helper.or_else(|| reader.helper_pid());
    let (family, left) = (scan::family(proc, helper), Remembered::default());
    let rules = Rules::new(config, memory.total, scale, family, &left).within(cgroup, memory);
    let (rows, kernel_threads, hidden, ranking) = (Vec::new(), 0, 0, rules.ranking);
    let mut explanation = Explanation { rows, kernel_threads, hidden, memory, ranking, passwd };
    let mut judge = Judging { patterns, filter: &mut filter, reader: &mut reader };
    proc.for_each(|proc, pid| match explanation.take(proc, &rules, &mut judge, pid) {
        Err(error) if is_not_permitted(error) => explanation.hidden += 1,
        _ => {}
    })?;
    let mut text = String::from(HEADER);
    match whole {
        true => explanation.write_table(&mut text, config.debug),
        false => drop(explanation.write_rows(&mut text, true, IN_LOG)),
    }
    let stall = proc.stall_shares().ok().filter(|_| config.asks_for_stalls());
    explanation.write_standpoint(&mut text, config, stall.map(|[_, full]| full));
    Ok(text)
}

fn write_more(text: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = writeln!(text, "     and {count} {what}");
    }
}

impl<'a> Explanation<'a> {
    /// Reads all that went into the standing of one process. Those that have ended have no
    /// row, and kernel threads are only counted.
    fn take(
        &mut self,
        proc: &mut Proc,
        rules: &Rules<'_>,
        judge: &mut Judging<'a, '_>,
        pid: Pid,
    ) -> io::Result<()> {
        let stat = proc.stat_with_threads(pid)?;
        let status = proc.status(&stat)?;
        let (score, adj, uid) = (proc.oom_score(pid)?, proc.oom_score_adj(pid)?, proc.owner(pid)?);
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
        let size = rss.plus(swap);
        let by_pattern = judge.reason(&verdict);
        let is_large = rules.standing(points, size, stat.id).large;
        let (class, why) = match protection {
            Some(Protection::Gone) => return Ok(()),
            Some(Protection::KernelThread) => {
                self.kernel_threads += 1;
                return Ok(());
            }
            Some(Protection::Spared(_)) if by_pattern.1.is_some() => (PROTECTED, by_pattern),
            Some(why) => (PROTECTED, (why.text(), None)),
            None if is_large => (LARGE, by_pattern),
            None => (SMALL, ("spared: small", None)),
        };
        if class == PROTECTED {
            points = 0;
        }
        let number = i64::from(pid.number());
        let order = [class, points, size.0 as i64, stat.id.start as i64, number];
        let (points, name) = (shown, stat.comm);
        self.rows.push(Row { pid, uid, points, score, adj, rss, swap, name, why, order });
        Ok(())
    }

    /// The next row of candidates or of the protected. (Few are shown of many, so they are
    /// not sorted.)
    fn next(&self, candidates: bool, before: Order) -> Option<&Row<'a>> {
        let mut next: Option<&Row<'a>> = None;
        for row in &self.rows {
            let is_first = row.order > next.map_or([i64::MIN; 5], |next| next.order);
            if row.is_candidate() == candidates && row.order < before && is_first {
                next = Some(row);
            }
        }
        next
    }

    /// How many are left out comes back.
    fn write_rows(&self, text: &mut String, candidates: bool, most: usize) -> usize {
        let (mut rank, mut last) = (0, BEFORE_ALL);
        while let Some(row) = self.next(candidates, last) {
            if rank == most {
                let all = self.rows.iter().filter(|row| row.is_candidate() == candidates).count();
                return all - rank;
            }
            rank += 1;
            last = row.order;
            let _ = match candidates {
                true => write!(text, "{rank:>4}"),
                false => text.write_str("   -"),
            };
            self.write_row(text, row);
        }
        0
    }

    fn write_row(&self, text: &mut String, row: &Row<'_>) {
        let _ = write!(text, "{:>8}", row.pid);
        match filter::users_of(&self.passwd).find(|(uid, _)| *uid == row.uid) {
            Some((_, name)) => column(text, USER, format_args!("{}", Escaped(name))),
            None => column(text, USER, format_args!("{}", row.uid)),
        }
        let Row { points, score, adj, why: (words, pattern), .. } = row;
        let (rss, swap) = (Mib(row.rss), Mib(row.swap));
        let _ = write!(text, " {points:>6} {score:>5} {adj:>5} {rss:>6} {swap:>6}");
        column(text, NAME, format_args!("{}", Escaped(row.name.as_bytes())));
        match pattern {
            None => column(text, WHY, format_args!("{words}")),
            Some(pattern) => {
                column(text, WHY, format_args!("{words}: {}", Escaped(pattern.text())));
            }
        }
        trim_end(text);
        text.push('\n');
    }

    fn write_table(&self, text: &mut String, all: bool) {
        let limit = |few| if all { usize::MAX } else { few };
        let more = self.write_rows(text, true, limit(CANDIDATES_SHOWN));
        write_more(text, more, "more that come later (-d shows them)");
        let more = self.write_rows(text, false, limit(PROTECTED_SHOWN));
        write_more(text, more, "more that are protected (-d shows them)");
        write_more(text, self.kernel_threads, "kernel threads, protected");
        write_more(text, self.hidden, "processes that may not be read (hidepid)");
        *text += "RSS and swap in MiB; points: thousandths of memory ";
        *text += match self.ranking {
            Ranking::OomScore if self.memory.is_limited() => {
                "of the machine held, plus oom_score_adj\n\n"
            }
            Ranking::OomScore => "held, plus oom_score_adj\n\n",
            Ranking::Rss => "resident (--sort-by-rss)\n\n",
        };
    }

    /// The state of memory, how far it is from each level, and who would go now. Of the last
    /// ten seconds everything stalled for `stall` millionths.
    fn write_standpoint(&self, text: &mut String, config: &Config, stall: Option<u32>) {
        let (memory, limits) = (self.memory, Limits::of(config, self.memory));
        let _ = writeln!(text, "{}", State(memory));
        self.write_level(text, "SIGTERM", limits.mem.term, limits.swap.term);
        self.write_level(text, "SIGKILL", limits.mem.kill, limits.swap.kill);
        if let Some(stall) = stall {
            let stall_rule = &limits.stall;
            let _ = write!(
                text,
                "stall: {}.{:02}% of the last 10 s; of {} s",
                stall / 10_000,
                stall / 100 % 100,
                log::Seconds(stall_rule.window)
            );
            let shares = stall_rule.share;
            for &(name, share) in &[("SIGTERM", shares.term), ("SIGKILL", shares.kill)] {
                if let Some(share) = share {
                    let _ = write!(text, ", {name} at {share}%");
                }
            }
            let surely = stall_rule.low.min(stall_rule.mem).mib();
            let _ = writeln!(text, " if mem avail <= {surely} MiB{}", log::TwiceUpTo(stall_rule));
        }
        if config.kernel_oom {
            *text += "nobody would be killed by the guard: the kernel would choose\n";
            return;
        }
        let Some(first) = self.next(true, BEFORE_ALL) else {
            *text += "nobody could be killed: there is no candidate\n";
            return;
        };
        *text += match limits.level(memory.available, memory) {
            Level::Fine => "nobody would be killed now; first would be",
            Level::Term => "now SIGTERM would go to",
            Level::Kill => "now SIGKILL would go to",
        };
        let _ = write!(text, " process {} \"", first.pid);
        cut(text, NAME, format_args!("{}", Escaped(first.name.as_bytes())));
        let _ = writeln!(text, "\": {}", self.reason(first));
    }

    fn write_level(&self, text: &mut String, name: &str, mem: Option<KiB>, swap: Option<KiB>) {
        *text += name;
        if let (Some(mem), Some(swap)) = (mem, swap) {
            write_distance(text, ": mem avail", self.memory.available, mem);
            if self.memory.swap_total == KiB::ZERO {
                *text += "; no swap, memory alone counts\n";
            } else {
                write_distance(text, "; swap free", self.memory.swap_free, swap);
                text.push('\n');
            }
        } else {
            *text += ": never by these thresholds\n";
        }
    }

    /// In what the first candidate stands before the second.
    fn reason(&self, first: &Row<'_>) -> &'static str {
        let Some(second) = self.next(true, first.order) else { return "the only candidate" };
        let differs = |place: usize| first.order[place] != second.order[place];
        match self.ranking {
            _ if differs(0) => "the only large one",
            Ranking::OomScore if differs(1) => "most points",
            Ranking::Rss if differs(1) => "most resident memory",
            _ if differs(2) => "largest of equals",
            _ => "youngest of equals",
        }
    }
}

const BEFORE_ALL: Order = [i64::MAX; 5];

/// How far an amount is from its threshold.
fn write_distance(text: &mut String, what: &str, now: KiB, limit: KiB) {
    let _ = write!(text, "{what} <= {} MiB, ", limit.mib());
    let _ = match now <= limit {
        true => text.write_str("reached"),
        false => write!(text, "{} MiB to go", now.less(limit).mib()),
    };
}

/// Adds at most so many characters, so that a column stays one; how many it was comes back.
fn cut(text: &mut String, width: usize, what: fmt::Arguments<'_>) -> usize {
    let start = text.len();
    let _ = text.write_fmt(what);
    let (mut count, mut last) = (0, start);
    for (at, byte) in text.as_bytes().iter().enumerate().skip(start) {
        let begins_character = byte & 0xc0 != 0x80;
        count += usize::from(begins_character);
        if count < width {
            last = at + 1;
        }
    }
    if count > width {
        text.truncate(last);
        text.push('~');
    }
    count.min(width)
}

/// Adds a column of so many characters, behind a blank.
fn column(text: &mut String, width: usize, what: fmt::Arguments<'_>) {
    text.push(' ');
    for _ in cut(text, width, what)..width {
        text.push(' ');
    }
}

fn trim_end(text: &mut String) {
    while text.ends_with(' ') {
        text.truncate(text.len() - 1);
    }
}

/// The patterns in force.
struct Judging<'a, 'b> {
    patterns: &'a Patterns,
    filter: &'b mut Filter,
    reader: &'b mut Reader,
}

/// A command line may hang here as well, so that the helper reads it.
#[derive(Default)]
pub struct Reader(Option<Helper>);

impl Reader {
    /// With no helper, nothing is read.
    pub fn start(&mut self, is_needed: bool) -> io::Result<()> {
        if is_needed {
            self.0 = Some(Helper::start(Duty::default())?);
        }
        Ok(())
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

impl Judge for Judging<'_, '_> {
    fn is_idle(&self) -> bool {
        self.patterns.is_empty()
    }

    fn may_prefer(&self) -> bool {
        !self.patterns.prefer.is_empty()
    }

    fn judge(&mut self, proc: &mut Proc, stat: &Stat) -> Verdict {
        self.filter.judge(self.patterns, proc, stat, self.reader)
    }

    fn met(&mut self, _: &Candidate) {}
}

impl<'a> Judging<'a, '_> {
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
            KiB(1..=1023) => f.pad("<1"),
            kib => kib.mib().fmt(f),
        }
    }
}
