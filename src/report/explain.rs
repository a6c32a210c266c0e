//! `--explain`: the candidates as a table, the state of memory, and which one would go now.
//!
//! Runs once and ends, so unlike the loop it may allocate. Rank and protection come from the code of
//! the search.

use super::reader::{Reader, PATIENCE};
use crate::bytes::Escaped;
use crate::log::{self, State};
use crate::memory::Memory;
use crate::pattern::Pattern;
use crate::policy::{Level, Limits};
use crate::procfs::cgroup::Cgroup;
use crate::procfs::stat::Comm;
use crate::procfs::Proc;
use crate::select::{self, Candidate, Family, Filter, Matcher, Preference, Protection};
use crate::select::{Rank, Ranking, Remembered, Rules, Scale};
use crate::settings::Tell;
use crate::settings::{Config, Patterns};
use crate::sys::{fd, io, machine};
use crate::units::{KiB, Pid};
use std::cmp::Reverse;
use std::fmt::{self, Display, Write};

/// Columns of the table in characters; the last one fills up to 100.
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
    /// Also of a protected process, as if it were a small candidate.
    rank: Rank,
    uid: u32,
    score: i32,
    adj: i32,
    swap: KiB,
    name: Comm,
    /// In words, and the pattern that it was.
    why: (&'static str, Option<&'a Pattern>),
}

/// Everything that there is to explain.
struct Explanation<'a> {
    /// The first one first.
    candidates: Vec<Row<'a>>,
    protected: Vec<Row<'a>>,
    kernel_threads: usize,
    hidden: usize,
    memory: &'a Memory,
    ranking: Ranking,
    passwd: Vec<u8>,
}

/// All of it or, unless it is to be the `whole`, the first candidates and the state of memory.
/// `user:` patterns that match no user are told. The guard that this is for may have a `helper`.
pub fn text(
    proc: &mut Proc,
    (memory, cgroup): (&Memory, Option<&Cgroup>),
    config: &Config,
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
    let mut reader = Reader::start(!patterns.is_empty())?;
    // If there are two, the reader is known as a child.
    let family = Family::now(proc, helper.or_else(|| reader.helper_pid()));
    let unkillable = Remembered::default();
    let (filter, assistant) = (&mut filter, &mut reader);
    let matcher = Matcher { patterns, filter, assistant, patience: PATIENCE };
    let mut rules = Rules::new(config, (memory, cgroup), scale, family, &unkillable, matcher);
    let mut explanation = Explanation {
        candidates: Vec::new(),
        protected: Vec::new(),
        kernel_threads: 0,
        hidden: 0,
        memory,
        ranking: rules.ranking,
        passwd,
    };
    proc.for_each(|proc, pid| match explanation.take(proc, &mut rules, patterns, pid) {
        Err(error) if error.is_not_permitted() => explanation.hidden += 1,
        _ => {}
    })?;
    sort(&mut explanation.candidates, |row| row.rank);
    sort(&mut explanation.protected, |row| Rank { points: 0, ..row.rank });
    let mut text = String::from(HEADER);
    match whole {
        true => explanation.write_table(&mut text, config.debug),
        false => drop(explanation.write_rows(&mut text, &explanation.candidates, true, IN_LOG)),
    }
    let stall = proc.stall_shares().ok().filter(|_| config.asks_for_stalls());
    explanation.write_standpoint(&mut text, config, stall.map(|[_, full]| full));
    Ok(text)
}

/// Puts the greatest rank first.
fn sort(rows: &mut [Row<'_>], rank: fn(&Row<'_>) -> Rank) {
    rows.sort_unstable_by_key(|row| Reverse(rank(row)));
}

fn write_more(text: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = writeln!(text, "     and {count} {what}");
    }
}

impl<'a> Explanation<'a> {
    /// Adds the row of one process. A process that has ended has none; kernel threads are counted.
    fn take(
        &mut self,
        proc: &mut Proc,
        rules: &mut Rules<'_>,
        patterns: &'a Patterns,
        pid: Pid,
    ) -> io::Result<()> {
        let stat = proc.stat_with_threads(pid)?;
        let status = proc.status(&stat)?;
        let (score, adj, uid) = (proc.oom_score(pid)?, proc.oom_score_adj(pid)?, proc.owner(pid)?);
        let rss = KiB::from_pages(stat.rss_pages, machine::page());
        let swap = if self.memory.swap_used() > KiB::ZERO { status.swap } else { KiB::ZERO };
        rules.matcher.patience = PATIENCE;
        let small = ("spared: small", None);
        let (rows, rank, why) = match select::look_at(proc, rules, self.memory, stat.id) {
            Ok(Candidate { rank, preference, .. }) => {
                let why = if rank.large { preferred(patterns, preference) } else { small };
                (&mut self.candidates, rank, why)
            }
            Err(Protection::Gone) => return Ok(()),
            Err(Protection::KernelThread) => {
                self.kernel_threads += 1;
                return Ok(());
            }
            Err(why) => {
                let (points, size) = (rules.points(score, adj, rss), rss.plus(swap));
                let rank = Rank { large: false, points, size, start: stat.id.start, pid };
                let why = match why {
                    Protection::Ignored(Some(place)) => ("ignored", patterns.ignore.get(place)),
                    _ => (why.text(), None),
                };
                (&mut self.protected, rank, why)
            }
        };
        rows.push(Row { rank, uid, score, adj, swap, name: stat.comm, why });
        Ok(())
    }

    fn write_table(&self, text: &mut String, all: bool) {
        let limit = |few| if all { usize::MAX } else { few };
        let more = self.write_rows(text, &self.candidates, true, limit(CANDIDATES_SHOWN));
        write_more(text, more, "more that come later (-d shows them)");
        let more = self.write_rows(text, &self.protected, false, limit(PROTECTED_SHOWN));
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

    /// How many are left out comes back.
    fn write_rows(
        &self,
        text: &mut String,
        rows: &[Row<'_>],
        are_candidates: bool,
        most: usize,
    ) -> usize {
        for (place, row) in rows.iter().take(most).enumerate() {
            let number = place + 1;
            let place: &dyn Display = if are_candidates { &number } else { &"-" };
            self.write_row(text, place, row);
        }
        rows.len().saturating_sub(most)
    }

    fn write_row(&self, text: &mut String, place: &dyn Display, row: &Row<'_>) {
        let Row { rank, uid, score, adj, swap, name, why: (words, pattern) } = row;
        let user = match select::users_of(&self.passwd).find(|(known, _)| known == uid) {
            Some((_, name)) => cut(USER, &Escaped(name)),
            None => cut(USER, uid),
        };
        let points = match self.ranking {
            Ranking::OomScore => rank.points,
            Ranking::Rss => rank.points.saturating_mul(1000) / self.memory.total.0.max(1) as i64,
        };
        let (rss, swap, name) = (Mib(rank.size.less(*swap)), Mib(*swap), shown_name(name));
        let pid = rank.pid;
        let _ = write!(
            text,
            "{place:>4}{pid:>8} {user:USER$} {points:>6} {score:>5} {adj:>5} {rss:>6} {swap:>6} \
             {name:NAME$} "
        );
        match pattern {
            None => *text += words,
            Some(pattern) => {
                *text += &cut(WHY, &format_args!("{words}: {}", Escaped(pattern.text())));
            }
        }
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
    }

    /// The state of memory, how far it is from each level, and which candidate would go now.
    /// Everything stalled for `stall` millionths of the last ten seconds.
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
            *text += "nothing would be killed by the guard: the kernel would choose\n";
            return;
        }
        let Some(first) = self.candidates.first() else {
            *text += "nothing could be killed: there is no candidate\n";
            return;
        };
        *text += match limits.level(memory.available, memory) {
            Level::Fine => "nothing would be killed now; first would be",
            Level::Term => "now SIGTERM would go to",
            Level::Kill => "now SIGKILL would go to",
        };
        let (pid, name) = (first.rank.pid, shown_name(&first.name));
        let _ = writeln!(text, " process {pid} \"{name}\": {}", self.reason(first.rank));
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

    /// What puts the first candidate before the second.
    fn reason(&self, first: Rank) -> &'static str {
        let Some(second) = self.candidates.get(1).map(|row| row.rank) else {
            return "the only candidate";
        };
        match self.ranking {
            _ if first.large != second.large => "the only large one",
            Ranking::OomScore if first.points != second.points => "most points",
            Ranking::Rss if first.points != second.points => "most resident memory",
            _ if first.size != second.size => "largest of equals",
            _ => "youngest of equals",
        }
    }
}

/// Which patterns of `--prefer` and `--avoid` matched, in words.
fn preferred(
    patterns: &Patterns,
    Preference { prefer, avoid }: Preference,
) -> (&'static str, Option<&Pattern>) {
    match (prefer, avoid) {
        (Some(_), Some(_)) => ("preferred and avoided", None),
        (Some(place), None) => ("preferred", patterns.prefer.get(place)),
        (None, Some(place)) => ("avoided", patterns.avoid.get(place)),
        (None, None) => ("", None),
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

/// At most so many characters, so that a column stays one.
fn cut(width: usize, what: &dyn Display) -> String {
    let mut text = what.to_string();
    if text.chars().count() > width {
        while text.chars().count() >= width {
            text.pop();
        }
        text.push('~');
    }
    text
}

fn shown_name(name: &Comm) -> String {
    cut(NAME, &Escaped(name.as_bytes()))
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
