//! Events to lines. What is said has the words here; when it is said is decided
//! elsewhere.
//!
//! A line goes to the helper, which writes it. Bytes that a process chose are escaped.

use crate::bytes::{Escaped, Shortened};
use crate::event::Event;
use crate::forkbomb::Bomb;
use crate::helper::{line, Helper, Priority};
use crate::memory::Memory;
use crate::pattern::Pattern;
use crate::policy::{Limits, Lowered, Scene, Short, StallLimits};
use crate::procfs::cgroup::oom_group::OomGroup;
use crate::select::{Alone, Candidate, Group, Holders, Members, Preference, Protection};
use crate::settings::{Config, Patterns};
use crate::sys::io;
use crate::sys::process::KillSignal;
use crate::units::{KiB, Percent, Pid};
use crate::writer::{Growth, Writer};
use std::fmt;
use std::time::Duration;

/// Sends a line to the helper: `say!(helper, Info, "{} of {}", a, b)`.
#[macro_export]
macro_rules! say {
    ($helper:expr, $priority:ident, $($text:tt)*) => {
        $helper.say($crate::helper::Priority::$priority, format_args!($($text)*))
    };
}

impl Helper {
    /// Sends a line.
    pub fn say(&mut self, priority: Priority, text: fmt::Arguments<'_>) {
        self.write_line(priority, line(text).as_bytes());
    }
}

/// `mem avail: 21790 of 23909 MiB (91.14%), swap free:    0 of    0 MiB ( 0.00%)`
pub struct State<'a>(pub &'a Memory);

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.0;
        write!(
            f,
            "mem avail: {:5} of {:5} MiB ({:5}%), swap free: {:4} of {:4} MiB ({:5}%)",
            memory.available.mib(),
            memory.user.mib(),
            Percent::share(memory.available, memory.user),
            memory.swap_free.mib(),
            memory.swap_total.mib(),
            Percent::share(memory.swap_free, memory.swap_total),
        )
    }
}

/// With `-d`: what a look has seen.
pub fn look(helper: &mut Helper, number: u64, scene: &Scene) {
    let Scene { memory, limits, .. } = scene;
    let (share, window) = (memory.stall, Seconds(limits.stall.window));
    say!(helper, Debug, "look {number}: {}, stall: {share}% of {window} s", State(memory));
}

/// A level of memory and swap.
struct Threshold<'a> {
    memory: &'a Memory,
    level: (Option<KiB>, Option<KiB>),
}

impl fmt::Display for Threshold<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(mem), Some(swap)) = self.level else { return f.write_str("never") };
        let share = Percent::share(mem, self.memory.user);
        write!(f, "when mem avail <= {} MiB ({share}%)", mem.mib())?;
        if self.memory.swap_total == KiB::ZERO {
            return f.write_str(" (no swap)");
        }
        let share = Percent::share(swap, self.memory.swap_total);
        write!(f, " and swap free <= {} MiB ({share}%)", swap.mib())
    }
}

pub fn banner(helper: &mut Helper, config: &Config, limits: &Limits, memory: &Memory) {
    say!(
        helper,
        Info,
        "mem total: {} MiB, user mem total: {} MiB, swap total: {} MiB",
        memory.total.mib(),
        memory.user.mib(),
        memory.swap_total.mib()
    );
    levels(helper, config, limits, memory);
}

/// What is watched for, and what would be done.
pub fn levels(helper: &mut Helper, config: &Config, limits: &Limits, memory: &Memory) {
    if config.watches_memory() {
        let Limits { mem, swap, warn, caches, .. } = limits;
        let threshold = |mem, swap| Threshold { memory, level: (mem, swap) };
        for (what, short) in &[("warning", warn), ("caches dropped", caches)] {
            if let Some(Short { mem, swap }) = **short {
                say!(helper, Info, "{what:15} {}", threshold(Some(mem), Some(swap)));
            }
        }
        say!(helper, Info, "sending SIGTERM {}", threshold(mem.term, swap.term));
        say!(helper, Info, "        SIGKILL {}", threshold(mem.kill, swap.kill));
        stall_levels(helper, limits, memory);
    }
    if let Some(after) = config.thresholds.reboot_after {
        let seconds = Seconds(after);
        say!(helper, Info, "rebooting       after {seconds} s at or below the level of SIGKILL");
    }
    if let Some(limit) = config.limit() {
        let (mib, seconds) = (limit.rss.mib(), Seconds(limit.every));
        say!(
            helper,
            Info,
            "sending SIGTERM to any process above {mib} MiB, checked every {seconds} s"
        );
    }
    if config.dryrun {
        say!(helper, Notice, "dry run: nothing will be killed");
    }
}

fn stall_levels(helper: &mut Helper, limits: &Limits, memory: &Memory) {
    let StallLimits { mem, share, window } = limits.stall;
    for &(name, share) in &[("SIGTERM", share.term), ("SIGKILL", share.kill)] {
        if let Some(share) = share {
            say!(
                helper,
                Info,
                "        {name} also when mem avail <= {} MiB ({}%) and everything has waited for \
                 memory and a disk in {share}% of {} s",
                mem.mib(),
                Percent::share(mem, memory.user),
                Seconds(window)
            );
        }
    }
}

/// `--reboot-after`.
pub fn reboots(helper: &mut Helper, after: Duration, dryrun: bool) {
    let seconds = Seconds(after);
    match dryrun {
        true => say!(
            helper,
            Notice,
            "would reboot: memory was at or below the level of SIGKILL for {seconds} s"
        ),
        false => say!(
            helper,
            Error,
            "memory is gone and no kill has helped: rebooting after {seconds} s at or below the level of \
             SIGKILL"
        ),
    }
}

/// A refusal that the guard lives with.
pub fn without(helper: &mut Helper, what: &str, error: io::Error) {
    say!(helper, Warning, "warning: {what}: {error}; going on without it");
}

/// `-M` counts as less than it says.
pub fn lowered(helper: &mut Helper, memory: &Memory, lowered: Lowered) {
    let Lowered { asked, counts } = lowered;
    say!(
        helper,
        Notice,
        "notice: -M: {} MiB counts as {} MiB now: user memory is {} MiB, and the largest MemTotal \
         seen is {} MiB",
        asked.mib(),
        counts.mib(),
        memory.user.mib(),
        memory.largest.mib()
    );
}

/// A level below what may fill before anything can be done.
pub fn too_late(helper: &mut Helper, limits: &Limits) {
    let mib = limits.mem.term.map_or(0, KiB::mib);
    say!(
        helper,
        Warning,
        "warning: the level for SIGTERM, {mib} MiB, can fill in less time than it takes to act"
    );
}

pub fn low(helper: &mut Helper, scene: &Scene, signal: KillSignal) {
    let memory = &scene.memory;
    if scene.is_stall {
        return say!(
            helper,
            Warning,
            "low memory! everything has waited {} of the last {} seconds for it: mem {}%, swap {}%",
            Tenths(memory.stall.of_duration(scene.limits.stall.window)),
            Seconds(scene.limits.stall.window),
            Percent::share(memory.available, memory.user),
            Percent::share(memory.swap_free, memory.swap_total),
        );
    }
    say!(
        helper,
        Warning,
        "low memory! at or below {} limits: mem {}%, swap {}%",
        signal.name(),
        Percent::share(memory.available, memory.user),
        Percent::share(memory.swap_free, memory.swap_total),
    );
}

/// `--warn`.
pub fn short(helper: &mut Helper, scene: &Scene) {
    say!(helper, Warning, "memory gets short: {}", State(&scene.memory));
}

/// With `-d`: one that goes before all met so far, and by which patterns. Points are thousandths of
/// memory.
pub fn candidate(helper: &mut Helper, candidate: &Candidate, points: i64, patterns: &Patterns) {
    let Preference { prefer, avoid } = candidate.preference;
    say!(
        helper,
        Debug,
        "candidate: process {} \"{}\": points {points}, oom_score {}, RSS and swap {} MiB{}{}",
        candidate.id().pid,
        Escaped(candidate.stat.comm.as_bytes()),
        candidate.score,
        candidate.rank.size.mib(),
        By("preferred", &patterns.prefer, prefer),
        By("avoided", &patterns.avoid, avoid)
    );
}

/// What one pattern did, if one matched.
struct By<'a>(&'static str, &'a [Pattern], Option<usize>);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &By(verb, list, place) = self;
        match place.and_then(|place| list.get(place)) {
            Some(pattern) => write!(f, ", {verb} by \"{}\"", Escaped(pattern.text())),
            None => Ok(()),
        }
    }
}

/// `sending SIGTERM to process …, cmdline "…"`; the helper adds the command line.
pub fn sending(helper: &mut Helper, event: &Event) {
    let Event { id, uid, score, adj, .. } = event;
    let text = line(format_args!(
        "{} {} to process {} uid {} \"{}\": oom_score {score}, oom_score_adj {adj}, VmRSS {} MiB",
        if event.dryrun { "would send" } else { "sending" },
        event.signal(),
        id.pid,
        User(*uid),
        Escaped(event.comm.as_bytes()),
        event.rss.mib()
    ));
    helper.write_line_with_command(Priority::Warning, *id, text.as_bytes());
}

struct User(Option<u32>);

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(uid) => write!(f, "{uid}"),
            None => f.write_str("unknown"),
        }
    }
}

pub fn group_too(helper: &mut Helper, members: &Members, oom_group: &OomGroup, dryrun: bool) {
    let Members { group, living, exempt, held } = members;
    let would = if dryrun { "would be " } else { "" };
    say!(
        helper,
        Notice,
        "{} {would}signalled with it: {living} {} {} MiB{}",
        Whole(*group, oom_group),
        if *living == 1 { "process that holds" } else { "processes that hold" },
        held.total().mib(),
        LeftAlone(*exempt)
    );
}

/// Members of a cgroup that stay.
pub struct LeftAlone(pub u32);

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            exempt => write!(f, " ({exempt} more left alone: exempt)"),
        }
    }
}

/// Processes on the same memory.
pub fn sharers_too(helper: &mut Helper, event: &Event, count: u32) {
    let (pid, would) = (event.id.pid, if event.dryrun { "would be " } else { "" });
    say!(helper, Notice, "process {pid} shares its memory with {count} more: {would}signalled too");
}

/// `60`, or `0.500`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds, 0) => write!(f, "{seconds}"),
            (seconds, millis) => write!(f, "{seconds}.{millis:03}"),
        }
    }
}

/// `7.2`.
struct Tenths(Duration);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() as u64 + 50) / 100;
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// `1 second`, `2 seconds`.
struct Wait(Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.as_secs() == 1 { "" } else { "s" };
        write!(f, "{} second{plural}", self.0.as_secs())
    }
}

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Alone::NoGroup => "is out of sight",
            Alone::OwnGroup => "is the guard's own",
            Alone::Unknown => "could not be read",
            Alone::HoldsOther(pid) => {
                return write!(f, "holds process {pid}, which is none of them")
            }
            Alone::Holds(pid, why) => return write!(f, "holds process {pid} ({})", why.text()),
        })
    }
}

/// A group that would go with a victim. `oom_group` is its cgroup.
pub struct Whole<'a>(pub Group, pub &'a OomGroup);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whole(Group::Processes(number), _) => write!(f, "process group {number}"),
            Whole(Group::Cgroup, cgroup) => write!(f, "cgroup {}", Shortened(cgroup.path())),
        }
    }
}

/// With `or_group` the process group may go in place of a cgroup.
pub fn group_spared(helper: &mut Helper, group: Whole<'_>, why: &Alone, or_group: bool) {
    let rest = match group {
        Whole(Group::Cgroup, _) if or_group => "at most its process group",
        _ => "only the process",
    };
    say!(helper, Notice, "{group} {why}: {rest} is signalled");
}

pub fn exited(helper: &mut Helper, pid: Pid, group: Option<Whole<'_>>, after: Duration) {
    let (seconds, millis) = (after.as_secs(), after.subsec_millis());
    say!(
        helper,
        Notice,
        "process {pid}{} exited after {seconds}.{millis:03} seconds",
        AndGroup(group)
    );
}

/// Others of its group are left.
pub fn exited_alone(helper: &mut Helper, pid: Pid, group: Whole<'_>, after: Duration) {
    let (seconds, millis) = (after.as_secs(), after.subsec_millis());
    say!(
        helper,
        Notice,
        "process {pid} exited after {seconds}.{millis:03} seconds; others of {group} are left"
    );
}

struct AndGroup<'a>(Option<Whole<'a>>);

impl fmt::Display for AndGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(Whole(Group::Processes(number), _)) => write!(f, " and its group {number}"),
            Some(cgroup) => write!(f, " and its {cgroup}"),
            None => Ok(()),
        }
    }
}

pub fn above_limit(helper: &mut Helper, event: &Event, limit: KiB) {
    say!(
        helper,
        Warning,
        "process {} \"{}\" has {} MiB resident: above the limit of {} MiB",
        event.id.pid,
        Escaped(event.comm.as_bytes()),
        event.rss.mib(),
        limit.mib()
    );
}

/// SIGKILL to a victim that was asked to end.
pub fn escalated(helper: &mut Helper, pid: Pid, why: &str) {
    say!(helper, Warning, "sending SIGKILL to process {pid}: {why}");
}

/// The same to others of a group, of which the victim has ended.
pub fn escalated_rest(helper: &mut Helper, pid: Pid, group: Whole<'_>) {
    say!(
        helper,
        Warning,
        "sending SIGKILL to the rest of {group}: process {pid} has exited, and others have not"
    );
}

/// Memory has recovered before the victim's end.
pub fn let_off(helper: &mut Helper, pid: Pid) {
    say!(helper, Notice, "process {pid} did not exit, but memory has recovered: let off");
}

/// A fork bomb was found that is the better victim.
pub fn let_off_for_bomb(helper: &mut Helper, pid: Pid) {
    say!(helper, Notice, "process {pid} is let off: a fork bomb is ended in its place");
}

/// A victim of the limit will do for low memory as well.
pub fn adopted(helper: &mut Helper, pid: Pid) {
    say!(helper, Notice, "process {pid} was asked to end already: waiting for it");
}

/// A process that was asked to end has become another one.
pub fn spared_later(helper: &mut Helper, pid: Pid, why: Protection) {
    say!(helper, Notice, "process {pid} is not sent SIGKILL: {}", why.text());
}

/// With so many `others` of its group.
pub fn stuck(helper: &mut Helper, pid: Pid, others: u32, is_frozen: bool) {
    let why = match is_frozen {
        true => "its cgroup is frozen; it ends once that is thawed",
        false => "stuck in the kernel, or its cgroup is frozen",
    };
    match others {
        0 => say!(helper, Warning, "process {pid} survives SIGKILL ({why}): left alone"),
        _ => say!(
            helper,
            Warning,
            "process {pid} and {others} more of its group survive SIGKILL ({why}): left alone"
        ),
    }
}

/// A process that may not be signalled would be chosen again and again.
pub fn not_permitted(helper: &mut Helper, pid: Pid, error: io::Error) {
    say!(helper, Warning, "cannot signal process {pid}: {error}: left alone");
}

/// Before the signal to a process that may hold next to nothing itself.
pub fn writer(helper: &mut Helper, writer: &Writer) {
    let Writer { id, grows, fell } = writer;
    say!(
        helper,
        Warning,
        "process {} writes to a tmpfs: its file has grown by {} of the {} MiB that memory fell",
        id.pid,
        grows.mib(),
        fell.mib()
    );
}

/// With `-d`: what the helper has seen of files in tmpfs, which took so long.
pub fn growth(helper: &mut Helper, growth: Option<Growth>, time: Duration) {
    let micros = time.as_micros() as u64;
    match growth.and_then(|growth| growth.most) {
        None => say!(helper, Debug, "files open on tmpfs: {micros} microseconds"),
        Some((id, grown)) => {
            let (pid, kib) = (id.pid, grown.0);
            say!(
                helper,
                Debug,
                "files open on tmpfs: that of process {pid} has grown by {kib} KiB, {micros} microseconds"
            );
        }
    }
}

pub fn files_stay(helper: &mut Helper, memory: &Memory) {
    let files = memory.files.mib();
    say!(
        helper,
        Warning,
        "files in tmpfs hold {files} MiB: delete some; no kill unless they grow or processes take more"
    );
}

/// What was refused of `-p`: niceness and `oom_score_adj`.
pub fn priority(helper: &mut Helper, (niceness, adj): (io::Result<()>, io::Result<()>)) {
    if let Err(error) = niceness {
        without(helper, "-p: niceness", error);
    }
    if let Err(error) = adj {
        without(helper, "-p: oom_score_adj", error);
    }
}

pub fn useless(
    helper: &mut Helper,
    memory: &Memory,
    [gained, expected, taken]: [KiB; 3],
    pause: Duration,
) {
    let (pause, files) = (Wait(pause), memory.files.mib());
    if taken > KiB::ZERO {
        return say!(
            helper,
            Warning,
            "useless kill: of {} MiB given back, files in tmpfs have taken {} (they hold {files} \
             MiB by now), so no kill for {pause}: delete some",
            expected.mib(),
            taken.mib()
        );
    }
    say!(
        helper,
        Warning,
        "useless kill: it gave back {} of {} MiB; memory is held where killing does not reach \
         (files in tmpfs hold {files} MiB), so no kill for {pause}",
        gained.mib(),
        expected.mib()
    );
}

pub fn no_candidate(helper: &mut Helper, wait: Duration) {
    say!(
        helper,
        Error,
        "no process to kill: all are protected or out of reach; trying again in {}",
        Wait(wait)
    );
}

/// There are candidates, and all together they hold too little.
pub fn in_vain(helper: &mut Helper, scene: &Scene, holders: &Holders, wait: Duration) {
    say!(
        helper,
        Error,
        "no process to kill: all that may be killed hold {} MiB, and {} MiB are missing; {}files in tmpfs \
         hold {} MiB; trying again in {}",
        holders.eligible.mib(),
        scene.missing().mib(),
        Protected(holders),
        scene.memory.files.mib(),
        Wait(wait)
    );
}

struct Protected<'a>(&'a Holders);

impl fmt::Display for Protected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((stat, why, size)) = &self.0.protected else { return Ok(()) };
        let (pid, name) = (stat.id.pid, Escaped(stat.comm.as_bytes()));
        write!(f, "process {pid} \"{name}\" ({}) holds {} MiB, ", why.text(), size.mib())
    }
}

/// Choosing has failed altogether.
pub fn cannot(helper: &mut Helper, what: &str, error: io::Error, wait: Duration) {
    say!(helper, Error, "cannot {what}: {error}; trying again in {}", Wait(wait));
}

/// `--kernel-oom`.
pub fn delegated(helper: &mut Helper, dryrun: bool) {
    match dryrun {
        true => say!(helper, Notice, "would ask the kernel to kill (sysrq f)"),
        false => say!(helper, Warning, "asked the kernel to kill (sysrq f)"),
    }
}

/// A fork bomb, and why its group was not signalled as a whole.
pub fn bomb(helper: &mut Helper, bomb: &Bomb, alone: Option<&Alone>, dryrun: bool) {
    let Bomb { kind, count, held, largest } = bomb;
    say!(
        helper,
        Warning,
        "fork bomb: {count} processes \"{}\" of uid {} in process group {} hold {} MiB: {} SIGKILL to {}",
        Escaped(largest.comm.as_bytes()),
        kind.user,
        kind.group,
        held.mib(),
        if dryrun { "would send" } else { "sending" },
        All(alone)
    );
}

struct All<'a>(Option<&'a Alone>);

impl fmt::Display for All<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the group"),
            Some(why) => write!(f, "each of them, because the group {why}"),
        }
    }
}

pub fn bomb_ended(helper: &mut Helper, count: u32, after: Duration) {
    let (seconds, millis) = (after.as_secs(), after.subsec_millis());
    say!(helper, Notice, "fork bomb: {count} processes ended after {seconds}.{millis:03} seconds");
}
