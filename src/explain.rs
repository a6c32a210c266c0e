//! `--explain`: the candidates as a table, the state of memory, and who would go now.
//!
//! Runs once and ends, so unlike the loop it may allocate.

use crate::bytes::Escaped;
use crate::config::{Config, Patterns};
use crate::filter::{self, CommandLines, Filter, Spared, Verdict};
use crate::helper::{Duty, Helper};
use crate::log::State;
use crate::pattern::Pattern;
use crate::policy::{Level, Limits};
use crate::procfs::meminfo::{MemInfo, Memory};
use crate::procfs::process::CommandLine;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::scan::{self, Judge};
use crate::sys::machine;
use crate::units::{Identity, KiB, Pid};
use crate::victim::{Candidate, Protection, Ranking, Remembered, Rules, Scale, Standing};
use std::fmt::{self, Display, Write};
use std::io;
use std::time::Duration;

/// For one command line: nothing waits here, but nobody likes to.
const PATIENCE: Duration = Duration::from_millis(100);
/// What is left of 100 columns for the last one.
const WHY: usize = 26;
/// More rows than fit a screen say less; `-d` shows all.
const CANDIDATES: usize = 20;
const PROTECTED: usize = 8;
/// In a log.
const SUMMARY: usize = 10;
const HEADER: &str =
    "rank     pid user       points score   adj    RSS   swap name             why";

/// One process in the table.
struct Row {
    pid: Pid,
    user: String,
    points: i64,
    score: i32,
    adj: i32,
    rss: KiB,
    swap: KiB,
    name: String,
    why: String,
    fate: Fate,
}

enum Fate {
    Candidate(Standing),
    Protected(Protection),
}

/// Everything that `--explain` shows.
pub struct Explanation {
    rows: Vec<Row>,
    kernel_threads: usize,
    hidden: usize,
    memory: Memory,
    limits: Limits,
    ranking: Ranking,
    /// `user:` patterns that no name of `/etc/passwd` matches.
    pub unknown_users: Vec<Pattern>,
    /// `--kernel-oom`: the table is only what the guard itself would do.
    kernel_chooses: bool,
    all: bool,
}

impl Explanation {
    pub fn of(
        proc: &mut Proc,
        meminfo: &MemInfo,
        config: &Config,
        scale: Scale,
    ) -> io::Result<Option<Explanation>> {
        let Some(memory) = meminfo.read(proc)? else { return Ok(None) };
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let users = filter::users_of(&passwd).map(|(uid, name)| (uid, name.to_vec()));
        let users = Users(users.collect());
        let reader = Reader::start(!config.patterns.is_empty())?;
        let (family, left) = (scan::family(proc, reader.helper_pid()), Remembered::default());
        let rules = Rules::new(config, memory.total, scale, &family, &left);
        let mut explanation = Explanation {
            rows: Vec::new(),
            kernel_threads: 0,
            hidden: 0,
            memory,
            limits: Limits::of(config, &memory),
            ranking: rules.ranking,
            unknown_users: Vec::new(),
            kernel_chooses: config.kernel_oom,
            all: config.debug,
        };
        let mut judge = Judging {
            patterns: &config.patterns,
            filter: Filter::new(&config.patterns, &passwd),
            reader,
        };
        let unknown_users = judge.filter.unknown_users(&config.patterns).into_iter();
        explanation.unknown_users = unknown_users.cloned().collect();
        proc.for_each(|proc, pid| match row(proc, &rules, &mut judge, &memory, &users, pid) {
            Ok(Row { fate: Fate::Protected(Protection::KernelThread), .. }) => {
                explanation.kernel_threads += 1;
            }
            Ok(Row { fate: Fate::Protected(Protection::Gone), .. }) => {}
            Ok(row) => explanation.rows.push(row),
            Err(error) if crate::sys::errno::is_not_permitted(&error) => explanation.hidden += 1,
            Err(_) => {}
        })?;
        explanation.rows.sort_by_key(|row| std::cmp::Reverse(row.order()));
        Ok(Some(explanation))
    }
}

impl Row {
    /// Candidates first, by standing; then the protected, by what they hold.
    fn order(&self) -> (Option<Standing>, KiB, std::cmp::Reverse<Pid>) {
        let (size, pid) = (self.rss.plus(self.swap), std::cmp::Reverse(self.pid));
        match self.fate {
            Fate::Candidate(standing) => (Some(standing), size, pid),
            Fate::Protected(_) => (None, size, pid),
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
        Ok(Reader(is_needed.then(|| Helper::start(Duty::default())).transpose()?))
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

impl Judging<'_> {
    /// Which pattern decided, in words.
    fn reason(&self, verdict: &Verdict) -> Option<String> {
        let (verb, list, place) = match *verdict {
            Verdict { spared: Some(Spared::Ignored(place)), .. } => {
                ("ignored", &self.patterns.ignore, place)
            }
            Verdict { prefer: Some(_), avoid: Some(_), .. } => {
                return Some(String::from("preferred and avoided"))
            }
            Verdict { prefer: Some(place), .. } => {
                ("preferred", &self.patterns.prefer, Some(place))
            }
            Verdict { avoid: Some(place), .. } => ("avoided", &self.patterns.avoid, Some(place)),
            _ => return None,
        };
        let pattern = list.get(place?)?;
        Some(format!("{verb}: {}", Escaped(pattern.text())))
    }
}

/// Reads all that went into the standing of one process.
fn row(
    proc: &mut Proc,
    rules: &Rules<'_>,
    judge: &mut Judging<'_>,
    memory: &Memory,
    users: &Users,
    pid: Pid,
) -> io::Result<Row> {
    let stat = proc.stat_with_threads(pid)?;
    let status = proc.status(&stat)?;
    let (score, adj) = (proc.oom_score(pid)?, proc.oom_score_adj(pid)?);
    let rss = KiB::from_pages(stat.rss_pages, machine::page());
    let swap = if memory.swap_used() > KiB::ZERO { status.swap } else { KiB::ZERO };
    let size = rss.plus(swap);
    let verdict = judge.judge(proc, &stat);
    let bonus = rules.bonus_for(&verdict);
    let (points, standing_points) = match rules.ranking {
        Ranking::OomScore => {
            let raise = if rules.ignore_positive_adj { i64::from(adj.max(0)) } else { 0 };
            let points = rules.scale.points(score) - raise + bonus;
            (points, points)
        }
        Ranking::Rss => {
            let points = rss.0 as i64 + bonus;
            (points.saturating_mul(1000) / memory.total.0.max(1) as i64, points)
        }
    };
    let exempt = (score == 0 && rules.zero_is_exempt()).then_some(Protection::Exempt);
    let protection =
        rules.protection(&stat).or(exempt).or_else(|| scan::exemption(proc, rules, judge, &stat));
    let fate = match protection {
        Some(why) => Fate::Protected(why),
        None => Fate::Candidate(rules.standing(standing_points, size)),
    };
    let by_pattern = judge.reason(&verdict);
    let why = match fate {
        Fate::Protected(Protection::Spared(_)) => by_pattern,
        Fate::Protected(_) => None,
        Fate::Candidate(standing) if !standing.large => Some(String::from("spared: small")),
        Fate::Candidate(_) => by_pattern,
    };
    Ok(Row {
        why: why.unwrap_or_else(|| match fate {
            Fate::Protected(why) => String::from(why.text()),
            Fate::Candidate(_) => String::new(),
        }),
        pid,
        user: users.name(proc.owner(pid)?),
        points,
        score,
        adj,
        rss,
        swap,
        name: Escaped(stat.comm.as_bytes()).to_string(),
        fate,
    })
}

/// Names of users. What `/etc/passwd` does not know is shown by number; no name service is
/// asked, which a static program could not.
struct Users(Vec<(u32, Vec<u8>)>);

impl Users {
    fn name(&self, uid: u32) -> String {
        let known = self.0.iter().find(|(number, _)| *number == uid);
        known.map_or_else(|| uid.to_string(), |(_, name)| Escaped(name).to_string())
    }
}

/// Cuts `text` to `width` characters, so that a column stays one.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width - 1).chain(['~']).collect()
}

impl Explanation {
    fn row(&self, rank: Option<usize>, row: &Row) -> String {
        let rank = rank.map_or(String::from("-"), |rank| rank.to_string());
        let why = cut(&row.why, WHY);
        let line = format!(
            "{rank:>4} {:>7} {:<10} {:>6} {:>5} {:>5} {:>6} {:>6} {:<16} {why}",
            row.pid,
            cut(&row.user, 10),
            row.points,
            row.score,
            row.adj,
            Mib(row.rss),
            Mib(row.swap),
            cut(&row.name, 16),
        );
        format!("{}\n", line.trim_end())
    }

    fn candidates(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.fate, Fate::Candidate(_)))
    }

    fn protected(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.fate, Fate::Protected(_)))
    }

    /// The first candidates, and the state of memory.
    pub fn summary(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (index, row) in self.candidates().take(SUMMARY).enumerate() {
            text += &self.row(Some(index + 1), row);
        }
        text + &Standpoint(self).to_string()
    }

    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |few| if self.all { usize::MAX } else { few };
        writeln!(f, "{HEADER}")?;
        for (index, row) in self.candidates().take(limit(CANDIDATES)).enumerate() {
            f.write_str(&self.row(Some(index + 1), row))?;
        }
        let more = self.candidates().count().saturating_sub(limit(CANDIDATES));
        if more > 0 {
            writeln!(f, "     and {more} more that come later (-d shows them)")?;
        }
        for row in self.protected().take(limit(PROTECTED)) {
            f.write_str(&self.row(None, row))?;
        }
        let more = self.protected().count().saturating_sub(limit(PROTECTED));
        if more > 0 {
            writeln!(f, "     and {more} more that are protected (-d shows them)")?;
        }
        if self.kernel_threads > 0 {
            writeln!(f, "     and {} kernel threads, protected", self.kernel_threads)?;
        }
        if self.hidden > 0 {
            writeln!(f, "     and {} processes that may not be read (hidepid)", self.hidden)?;
        }
        let unit = match self.ranking {
            Ranking::OomScore => "points: thousandths of memory held, plus oom_score_adj",
            Ranking::Rss => "points: thousandths of memory resident (--sort-by-rss)",
        };
        writeln!(f, "RSS and swap in MiB; {unit}")
    }

    fn write_distance(&self, f: &mut fmt::Formatter<'_>, name: &str, level: Level) -> fmt::Result {
        let (mem, swap) = match level {
            Level::Kill => (self.limits.mem.kill, self.limits.swap.kill),
            _ => (self.limits.mem.term, self.limits.swap.term),
        };
        let (Some(mem), Some(swap)) = (mem, swap) else {
            return writeln!(f, "{name}: never by these thresholds");
        };
        write!(
            f,
            "{name}: mem avail <= {} MiB, {}",
            mem.mib(),
            Distance(self.memory.available, mem)
        )?;
        if self.memory.swap_total == KiB::ZERO {
            return writeln!(f, "; no swap, memory alone counts");
        }
        writeln!(f, "; swap free <= {} MiB, {}", swap.mib(), Distance(self.memory.swap_free, swap))
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kernel_chooses {
            return writeln!(f, "nobody would be killed by the guard: the kernel would choose");
        }
        let level = self.limits.level(self.memory.available, &self.memory);
        let Some(first) = self.candidates().next() else {
            return writeln!(f, "nobody could be killed: there is no candidate");
        };
        let mut why = String::new();
        if self.candidates().nth(1).is_none() {
            why.push_str("the only candidate");
        } else {
            self.write_reason(&mut why)?;
        }
        let who = format!("process {} \"{}\"", first.pid, cut(&first.name, 16));
        match level {
            Level::Fine => {
                writeln!(f, "nobody would be killed now; first would be {who}: {why}")
            }
            Level::Term => writeln!(f, "now SIGTERM would go to {who}: {why}"),
            Level::Kill => writeln!(f, "now SIGKILL would go to {who}: {why}"),
        }
    }

    /// In what the first candidate stands before the second.
    fn write_reason(&self, why: &mut String) -> fmt::Result {
        let mut standings = self.candidates().filter_map(|row| match row.fate {
            Fate::Candidate(standing) => Some(standing),
            Fate::Protected(_) => None,
        });
        let (Some(first), Some(second)) = (standings.next(), standings.next()) else {
            return Ok(());
        };
        if first.large != second.large {
            why.write_str("the only large one")
        } else if first.points != second.points {
            why.write_str(match self.ranking {
                Ranking::OomScore => "most points",
                Ranking::Rss => "most resident memory",
            })
        } else if first.size != second.size {
            why.write_str("largest of equals")
        } else {
            why.write_str("first of equals")
        }
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_table(f)?;
        write!(f, "\n{}", Standpoint(self))
    }
}

/// The state of memory, how far it is from each level, and who would go now.
struct Standpoint<'a>(&'a Explanation);

impl Display for Standpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standpoint(explanation) = self;
        writeln!(f, "{}", State(&explanation.memory))?;
        explanation.write_distance(f, "SIGTERM", Level::Term)?;
        explanation.write_distance(f, "SIGKILL", Level::Kill)?;
        explanation.write_verdict(f)
    }
}

/// Whole MiB, and `<1` for less than one but not nothing.
struct Mib(KiB);

impl Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            KiB(1..=1023) => f.pad("<1"),
            kib => f.pad(&kib.mib().to_string()),
        }
    }
}

/// How far an amount is from its threshold.
struct Distance(KiB, KiB);

impl Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Distance(now, limit) = *self;
        if now <= limit {
            return f.write_str("reached");
        }
        write!(f, "{} MiB to go", now.less(limit).mib())
    }
}
