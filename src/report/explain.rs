//! `--explain`: the candidates as a table, the state of memory, and which one would go now.
//!
//! Runs once and ends, so unlike the loop it may allocate. Rank and protection come from the code of
//! the search.

use super::reader::{Reader, PATIENCE};
use crate::bytes::Escaped;
use crate::log::{self, LeftAlone, State, Whole};
use crate::memory::Memory;
use crate::pattern::Pattern;
use crate::policy::{Level, Limits, Short, StallLimits};
use crate::procfs::cgroup::oom_group::{self, OomGroup};
use crate::procfs::cgroup::Cgroup;
use crate::procfs::Proc;
use crate::select::{self, Candidate, Company, Family, Filter, Group, Matcher, Members};
use crate::select::{Preference, Protection, Rank, Rules, Scale, Unkillable};
use crate::settings::{Config, Patterns};
use crate::sys::{fd, io, machine};
use crate::units::{KiB, Pid};
use std::cmp::Reverse;
use std::fmt::{Display, Write};

/// Columns of the table in characters; the last one fills up to 100.
const WHY: usize = 26;
const USER: usize = 10;
const NAME: usize = 16;
/// More rows do not fit a screen; `-d` shows all.
const CANDIDATES_SHOWN: usize = 20;
const PROTECTED_SHOWN: usize = 8;
const IN_LOG: usize = 10;
const HEADER: &str =
    "rank     pid user       points score   adj    RSS   swap name             why\n";

/// One process in the table.
struct Row {
    is_candidate: bool,
    /// Of a protected process, as if it were a small candidate without points.
    rank: Rank,
    /// As `--process-limit` counts it; not read without a limit.
    resident: KiB,
    name: String,
    /// All columns but the first.
    columns: String,
}

/// All of it or, unless it is to be the `whole`, the first candidates and the state of memory.
/// `guard` is the watch that this is for, and its helper.
pub fn text(
    proc: &mut Proc,
    (memory, cgroup): (&Memory, Option<&Cgroup>),
    config: &Config,
    scale: Scale,
    whole: bool,
    guard: Option<(Pid, Option<Pid>)>,
) -> io::Result<String> {
    let patterns = &config.patterns;
    let passwd = fd::read_file(b"/etc/passwd\0", usize::MAX).unwrap_or_default();
    let mut filter = Filter::new(patterns, &passwd);
    let mut reader = Reader::start(!patterns.is_empty())?;
    let family = match guard {
        // The reader is known as a child.
        Some((watch, helper)) => Family::of_worker(proc, watch, helper),
        None => Family::now(proc, reader.helper_pid()),
    };
    let unkillable = Unkillable::default();
    let (filter, assistant) = (&mut filter, &mut reader);
    let matcher = Matcher { patterns, filter, assistant, patience: PATIENCE };
    let mut rules = Rules::new(config, (memory, cgroup), scale, family, &unkillable, matcher);
    let (mut rows, mut kernel_threads, mut hidden) = (Vec::new(), 0, 0);
    proc.for_each(|proc, pid| match row(proc, &mut rules, (config, memory), &passwd, pid) {
        Ok(Ok(row)) => rows.push(row),
        Ok(Err(Protection::KernelThread)) => kernel_threads += 1,
        Err(error) if error.is_not_permitted() => hidden += 1,
        _ => {}
    })?;
    rows.sort_unstable_by_key(|row| Reverse((row.is_candidate, row.rank)));
    let (candidates, protected) = rows.split_at(rows.partition_point(|row| row.is_candidate));
    let mut text = String::from(HEADER);
    if whole {
        let most = |few| if config.debug { usize::MAX } else { few };
        write_rows(&mut text, candidates, most(CANDIDATES_SHOWN), "more that come later");
        write_rows(&mut text, protected, most(PROTECTED_SHOWN), "more that are protected");
        write_more(&mut text, kernel_threads, &"kernel threads, protected");
        write_more(&mut text, hidden, &"processes that may not be read");
        write_units(&mut text, config, memory);
    } else {
        let first = &candidates[..candidates.len().min(IN_LOG)];
        write_rows(&mut text, first, IN_LOG, "");
    }
    let _ = writeln!(text, "{}", State(memory));
    if let Some(limit) = config.limit() {
        write_limit(&mut text, limit.rss, candidates);
    }
    if config.watches_memory() {
        let limits = Limits::of(config, memory);
        let stalled = proc.stall_share().ok().filter(|_| config.asks_for_stalls());
        write_levels(&mut text, memory, &limits, stalled);
        write_verdict(&mut text, config, limits.level(memory.available, memory), candidates);
        if let Some(first) = candidates.first().filter(|_| !config.kernel_oom) {
            write_company(&mut text, proc, &mut rules, first.rank.pid);
        }
    }
    Ok(text)
}

fn write_units(text: &mut String, config: &Config, memory: &Memory) {
    *text += "RSS and swap in MiB; points: thousandths of memory ";
    *text += match config.choice.sort_by_rss {
        true => "resident (--sort-by-rss)",
        false if memory.is_limited() => "of the machine held, plus oom_score_adj",
        false => "held, plus oom_score_adj",
    };
    *text += "\n\n";
}

/// Which candidates the limit ends, whatever their rank.
fn write_limit(text: &mut String, limit: KiB, candidates: &[Row]) {
    let above = || candidates.iter().filter(|row| row.resident > limit);
    let (mib, count) = (limit.mib(), above().count());
    let _ = match above().max_by_key(|row| (row.resident, row.rank.pid)) {
        None => writeln!(text, "above --process-limit ({mib} MiB): none"),
        Some(Row { resident, rank, name, .. }) => writeln!(
            text,
            "above --process-limit ({mib} MiB): {count}, the largest is process {} \"{name}\" with {} MiB",
            rank.pid,
            resident.mib()
        ),
    };
}

fn write_levels(text: &mut String, memory: &Memory, limits: &Limits, stalled: Option<u32>) {
    if let Some(Short { mem, swap }) = limits.warn {
        write_level(text, "warning", memory, Some(mem), Some(swap));
    }
    write_level(text, "SIGTERM", memory, limits.mem.term, limits.swap.term);
    write_level(text, "SIGKILL", memory, limits.mem.kill, limits.swap.kill);
    if let Some(share) = stalled {
        write_stall(text, &limits.stall, share);
    }
}

/// The row of one process, or what it is instead: a process that has ended has none, nor has a
/// kernel thread.
fn row(
    proc: &mut Proc,
    rules: &mut Rules<'_>,
    (config, memory): (&Config, &Memory),
    passwd: &[u8],
    pid: Pid,
) -> io::Result<Result<Row, Protection>> {
    let stat = proc.stat_with_threads(pid)?;
    let status = proc.status(&stat)?;
    let (score, adj, uid) = (proc.oom_score(pid)?, proc.oom_score_adj(pid)?, proc.owner(pid)?);
    let rss = KiB::from_pages(stat.rss_pages, machine::page());
    let resident = match config.limit() {
        Some(_) => KiB::from_pages(proc.exact_resident_pages(&stat)?, machine::page()),
        None => KiB::ZERO,
    };
    let swap = if memory.swap_used() > KiB::ZERO { status.swap } else { KiB::ZERO };
    rules.matcher.patience = PATIENCE;
    let looked = select::look_at(proc, rules, memory, stat.id);
    let is_candidate = looked.is_ok();
    let patterns = &config.patterns;
    let (rank, points, (words, pattern)) = match looked {
        Ok(Candidate { rank, preference, .. }) => {
            let small = ("spared: small", None);
            let why = if rank.large { preferred(patterns, preference) } else { small };
            (rank, rank.points, why)
        }
        Err(why @ (Protection::Gone | Protection::KernelThread)) => return Ok(Err(why)),
        Err(why) => {
            let (size, start) = (rss.plus(swap), stat.id.start);
            let why = match why {
                Protection::Ignored(Some(place)) => ("ignored", patterns.ignore.get(place)),
                _ => (why.text(), None),
            };
            let rank = Rank { large: false, points: 0, size, start, pid };
            (rank, rules.points(score, adj, rss), why)
        }
    };
    let points = rules.shown(points);
    let user = match select::users_of(passwd).find(|(known, _)| *known == uid) {
        Some((_, name)) => cut(USER, &Escaped(name)),
        None => cut(USER, &uid),
    };
    let why = match pattern {
        None => String::from(words),
        Some(pattern) => cut(WHY, &format_args!("{words}: {}", Escaped(pattern.text()))),
    };
    let (rss, swap) = (shown_mib(rank.size.less(swap)), shown_mib(swap));
    let name = cut(NAME, &Escaped(stat.comm.as_bytes()));
    let columns = format!(
        "{pid:>8} {user:USER$} {points:>6} {score:>5} {adj:>5} {rss:>6} {swap:>6} {name:NAME$} {why}"
    );
    Ok(Ok(Row { is_candidate, rank, resident, name, columns }))
}

/// At most so many rows, and how many are left out.
fn write_rows(text: &mut String, rows: &[Row], most: usize, left_out: &str) {
    for (place, row) in rows.iter().take(most).enumerate() {
        let number = place + 1;
        let place: &dyn Display = if row.is_candidate { &number } else { &"-" };
        let _ = writeln!(text, "{place:>4}{}", row.columns.trim_end_matches(' '));
    }
    let more = rows.len().saturating_sub(most);
    write_more(text, more, &format_args!("{left_out} (-d shows them)"));
}

fn write_more(text: &mut String, count: usize, what: &dyn Display) {
    if count > 0 {
        let _ = writeln!(text, "     and {count} {what}");
    }
}

/// How far memory is from a level.
fn write_level(
    text: &mut String,
    name: &str,
    memory: &Memory,
    mem: Option<KiB>,
    swap: Option<KiB>,
) {
    *text += name;
    if let (Some(mem), Some(swap)) = (mem, swap) {
        write_distance(text, ": mem avail", memory.available, mem);
        if memory.swap_total == KiB::ZERO {
            *text += "; no swap, memory alone counts";
        } else {
            write_distance(text, "; swap free", memory.swap_free, swap);
        }
    } else {
        *text += ": never by these thresholds";
    }
    text.push('\n');
}

/// How far an amount is from its threshold.
fn write_distance(text: &mut String, what: &str, now: KiB, limit: KiB) {
    let _ = write!(text, "{what} <= {} MiB, ", limit.mib());
    let _ = match now <= limit {
        true => text.write_str("reached"),
        false => write!(text, "{} MiB to go", now.less(limit).mib()),
    };
}

/// Everything stalled for `share` millionths of the last ten seconds.
fn write_stall(text: &mut String, limits: &StallLimits, share: u32) {
    let (percent, hundredths) = (share / 10_000, share / 100 % 100);
    let window = log::Seconds(limits.window);
    let _ = write!(text, "stall: {percent}.{hundredths:02}% of the last 10 s; of {window} s");
    for &(name, share) in &[("SIGTERM", limits.share.term), ("SIGKILL", limits.share.kill)] {
        if let Some(share) = share {
            let _ = write!(text, ", {name} at {share}%");
        }
    }
    let _ = writeln!(text, " if mem avail <= {} MiB", limits.mem.mib());
}

/// Which candidate would go now, and what puts it before the second.
fn write_verdict(text: &mut String, config: &Config, level: Level, candidates: &[Row]) {
    *text += match level {
        _ if config.kernel_oom => "nothing would be killed by the guard: the kernel would choose",
        _ if candidates.is_empty() => "nothing could be killed: there is no candidate",
        Level::Fine => "nothing would be killed now; first would be",
        Level::Term => "now SIGTERM would go to",
        Level::Kill => "now SIGKILL would go to",
    };
    if let ([Row { rank, name, .. }, rest @ ..], false) = (candidates, config.kernel_oom) {
        let reason = match rest.first().map(|second| second.rank) {
            None => "the only candidate",
            Some(second) if rank.large != second.large => "the only large one",
            Some(second) if rank.points != second.points => match config.choice.sort_by_rss {
                true => "most resident memory",
                false => "most points",
            },
            Some(second) if rank.size != second.size => "largest of equals",
            Some(_) => "youngest of equals",
        };
        let _ = write!(text, " process {} \"{name}\": {reason}", rank.pid);
    }
    text.push('\n');
}

/// What would go with the first candidate.
fn write_company(text: &mut String, proc: &mut Proc, rules: &mut Rules<'_>, pid: Pid) {
    let Ok(stat) = proc.stat(pid) else { return };
    let mut oom_group = OomGroup::open(proc);
    let held = proc.status(&stat).unwrap_or_default().held();
    let path = oom_group::path_of(proc, stat.id).ok();
    let path = path.as_ref().map(|path| path.as_bytes());
    let Company { members, spared } = Company::of(proc, rules, &mut oom_group, (&stat, held), path);
    for (group, why) in spared.iter().flatten() {
        let _ = writeln!(text, "{} {why}: it would not go as a whole", Whole(*group, &oom_group));
    }
    let Some(Members { group, living, exempt, .. }) = members else { return };
    let why = match group {
        Group::Processes(_) => "--kill-group",
        Group::Cgroup => "memory.oom.group",
    };
    let _ = write!(text, "with it would go ");
    let _ = match living.saturating_sub(1) {
        0 => write!(text, "no other process"),
        1 => write!(text, "the other process"),
        others => write!(text, "the {others} other processes"),
    };
    let _ = writeln!(text, " of {} ({why}){}", Whole(group, &oom_group), LeftAlone(exempt));
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

/// Whole MiB, and `<1` for less than one but not nothing.
fn shown_mib(amount: KiB) -> String {
    match amount {
        KiB(1..=1023) => String::from("<1"),
        amount => amount.mib().to_string(),
    }
}
