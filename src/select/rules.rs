//! Which processes are eligible, and what counts for their rank.
//!
//! All ask here whether a process may be killed: search, group, limit, fork bombs and `--explain`.
//! When in doubt it may not. Never signals.

use super::candidate::{Preference, Protection, Rank, Scale};
use super::filter::Matcher;
use super::recent::Unkillable;
use crate::memory::Memory;
use crate::procfs::cgroup::Cgroup;
use crate::procfs::stat::Stat;
use crate::procfs::Proc;
use crate::settings::Config;
use crate::sys::process;
use crate::units::{Identity, KiB, Pid};

/// Thousandths of memory that `--prefer` adds and `--avoid` takes: what earlyoom's users know
/// as 300 points, before Linux 5.9 made 450 of it.
const BONUS: KiB = KiB(300);

/// The rules of one choice.
pub struct Rules<'a> {
    pub matcher: Matcher<'a>,
    pub(super) config: &'a Config,
    pub(super) scale: Scale,
    /// All memory that counts.
    total: KiB,
    min_size: KiB,
    /// What `--prefer` adds and `--avoid` takes, in the unit of `Rank::points`.
    pub(super) bonus: i64,
    family: Family,
    unkillable: &'a Unkillable,
    /// Only what is within may be killed.
    pub(super) cgroup: Option<&'a Cgroup>,
}

impl<'a> Rules<'a> {
    /// For `memory`, which is that of the cgroup if that has a limit.
    pub fn new(
        config: &'a Config,
        (memory, cgroup): (&Memory, Option<&'a Cgroup>),
        scale: Scale,
        family: Family,
        unkillable: &'a Unkillable,
        matcher: Matcher<'a>,
    ) -> Rules<'a> {
        Rules {
            bonus: as_points(match config.choice.sort_by_rss {
                true => BONUS.scaled(memory.total, KiB(1000)),
                // The kernel's points are of the machine's memory.
                false if memory.is_limited() => {
                    BONUS.scaled(memory.total, memory.machine).max(KiB(1))
                }
                false => BONUS,
            }),
            config,
            scale,
            total: memory.total,
            min_size: config.min_rss(memory.total),
            family,
            unkillable,
            cgroup: cgroup.filter(|cgroup| cgroup.confines(memory)),
            matcher,
        }
    }

    /// Why a process must not be killed, if so.
    pub fn protection(&mut self, proc: &mut Proc, stat: &Stat) -> Option<Protection> {
        let mut check = || {
            self.check_stat(stat)?;
            // Before the patterns: a process that has ended cannot be matched.
            self.check_rights(proc, stat.id.pid, None)?;
            self.check_scope(proc, stat)
        };
        check().err()
    }

    /// As far as `stat` alone tells.
    pub(super) fn check_stat(&self, stat: &Stat) -> Result<(), Protection> {
        match self.family.protection(stat) {
            Some(why) => Err(why),
            None if self.unkillable.contains(stat.id) => Err(Protection::Unkillable),
            None => Ok(()),
        }
    }

    /// Exempt, root's, or out of the guard's reach. `oom_score_adj` is read unless the score tells.
    pub(super) fn check_rights(
        &self,
        proc: &mut Proc,
        pid: Pid,
        score: Option<i32>,
    ) -> Result<(), Protection> {
        let is_exempt = match score.and_then(|score| self.scale.exempts(score)) {
            Some(told) => told,
            None => match proc.oom_score_adj(pid) {
                Err(error) if error.is_gone() => return Err(Protection::Gone),
                Err(_) => return Err(Protection::Unreadable),
                Ok(adj) => adj == -1000,
            },
        };
        if is_exempt {
            Err(Protection::Exempt)
        } else if self.config.choice.ignore_root_user
            && proc.owner(pid).map_or(true, |owner| owner == 0)
        {
            Err(Protection::Root)
        } else if !process::may_signal(pid) {
            Err(Protection::NotPermitted)
        } else {
            Ok(())
        }
    }

    /// Outside, or not for the patterns.
    pub(super) fn check_scope(
        &mut self,
        proc: &mut Proc,
        stat: &Stat,
    ) -> Result<Preference, Protection> {
        match self.is_within(proc, stat) {
            true => self.matcher.preference(proc, stat),
            false => Err(Protection::Outside),
        }
    }

    /// Whether the memory of a process counts: always, unless that of a cgroup counts alone.
    pub fn is_within(&self, proc: &mut Proc, stat: &Stat) -> bool {
        self.cgroup.map_or(true, |cgroup| cgroup.holds(proc, stat))
    }

    /// Points without what the patterns add. `adj` matters only with `--ignore-positive-adj`.
    pub fn points(&self, score: i32, adj: i32, rss: KiB) -> i64 {
        let choice = &self.config.choice;
        let ignored = if choice.ignore_positive_adj { adj.max(0) } else { 0 };
        match choice.sort_by_rss {
            true => as_points(rss),
            false => self.scale.points(score) - i64::from(ignored),
        }
    }

    /// Points as they are shown: in thousandths of memory, also with `--sort-by-rss`.
    pub fn shown(&self, points: i64) -> i64 {
        match self.config.choice.sort_by_rss {
            true => points.saturating_mul(1000) / as_points(self.total).max(1),
            false => points,
        }
    }

    /// What the patterns add to the points of a process, or take.
    pub(super) fn bonus_for(&self, preference: &Preference) -> i64 {
        let Preference { prefer, avoid } = preference;
        self.bonus * (i64::from(prefer.is_some()) - i64::from(avoid.is_some()))
    }

    /// The most that they can add.
    pub(super) fn most_bonus(&self) -> i64 {
        self.bonus * i64::from(!self.matcher.patterns.prefer.is_empty())
    }

    pub(super) fn rank(&self, points: i64, size: KiB, id: Identity) -> Rank {
        let Identity { pid, start } = id;
        Rank { large: size >= self.min_size, points, size, start, pid }
    }
}

/// As much as leaves room for a bonus.
fn as_points(amount: KiB) -> i64 {
    amount.0.min(i64::MAX as u64 / 2) as i64
}

/// More levels than any supervisor, shell and session stack up.
const ANCESTORS: usize = 32;

/// The guard, its helper, and the processes that started it.
#[derive(Clone, Copy)]
pub struct Family {
    /// The guard and its helper; of a worker, itself and both of these.
    guards: [Option<Pid>; 3],
    /// Init stands for none, too.
    ancestors: [Pid; ANCESTORS],
}

impl Family {
    /// The guard and its ancestors, as they are now.
    pub fn now(proc: &mut Proc, helper: Option<Pid>) -> Family {
        Family::of(proc, process::own_pid(), helper)
    }

    /// The same for a worker; `watch` is the number of its guard.
    pub fn of_worker(proc: &mut Proc, watch: Pid, helper: Option<Pid>) -> Family {
        let own = process::own_pid();
        Family { guards: [Some(own), helper, Some(watch)], ..Family::of(proc, own, helper) }
    }

    fn of(proc: &mut Proc, own: Pid, helper: Option<Pid>) -> Family {
        let ancestors = [Pid::INIT; ANCESTORS];
        let mut family = Family { guards: [Some(own), helper, None], ancestors };
        family.renew(proc, own, helper);
        family
    }

    /// Looks again. What cannot be read, say because descriptors have run out, is as it was.
    pub fn renew(&mut self, proc: &mut Proc, own: Pid, helper: Option<Pid>) {
        self.guards[1] = helper;
        let mut child = own;
        for place in 0..ANCESTORS {
            let Ok(stat) = proc.stat(child) else { return };
            let Some(parent) = Pid::new(stat.ppid.into()) else {
                return self.ancestors[place..].fill(Pid::INIT);
            };
            self.ancestors[place] = parent;
            child = parent;
        }
    }

    /// Why a process must not be killed whatever the settings, as far as `stat` tells.
    pub fn protection(&self, stat: &Stat) -> Option<Protection> {
        // Helpers that were replaced end some time later. Of init every process may be a child.
        let is_child = |of: Pid| of != Pid::INIT && stat.ppid == of.number();
        let is_guard = |guard: Pid| guard == stat.id.pid || is_child(guard);
        if stat.id.pid == Pid::INIT {
            Some(Protection::Init)
        } else if stat.is_kernel_thread() {
            Some(Protection::KernelThread)
        } else if self.guards.into_iter().flatten().any(is_guard) {
            Some(Protection::Guard)
        } else if self.ancestors.contains(&stat.id.pid) {
            Some(Protection::Ancestor)
        } else if stat.is_gone() {
            Some(Protection::Gone)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::{Assistant, Filter};
    use super::*;
    use crate::procfs::fixture::{stat_line, Fixture};
    use crate::procfs::process::CommandLine;
    use crate::procfs::stat::parse;
    use std::time::Duration;

    fn pid(number: i64) -> Pid {
        Pid::new(number).unwrap()
    }

    /// A `/proc` in which processes have these parents.
    fn with_parents(parents: &[(i32, i32)]) -> Fixture {
        let fixture = Fixture::new();
        for &(child, parent) in parents {
            let line = String::from_utf8(stat_line(child, b"x", b'S', 0, 1, 9)).unwrap();
            fixture.write(
                &format!("{child}/stat"),
                line.replacen(" S 1 ", &format!(" S {parent} "), 1),
            );
        }
        fixture
    }

    struct Absent;

    impl Assistant for Absent {
        fn command_line(&mut self, _: Identity, _: Duration) -> Option<CommandLine> {
            None
        }

        fn is_in_place(&mut self, _: Identity, _: &[u8], _: Duration) -> Option<bool> {
            None
        }
    }

    fn with_rules(family: Family, unkillable: &Unkillable, act: &mut dyn FnMut(&Rules<'_>)) {
        let config = Config::resolve(Default::default(), false).unwrap();
        let patterns = &config.patterns;
        let (filter, assistant) = (&mut Filter::new(patterns, b""), &mut Absent);
        let matcher = Matcher { patterns, filter, assistant, patience: Duration::ZERO };
        let memory = Memory { total: KiB::from_mib(4000), ..Memory::default() };
        let seen = (&memory, None);
        act(&Rules::new(&config, seen, Scale::Shifted, family, unkillable, matcher));
    }

    #[test]
    fn no_process_of_the_family_is_a_candidate() {
        let parents = [(50, 40), (40, 30), (30, 1)];
        let family = Family::of(&mut with_parents(&parents).open(), pid(50), Some(pid(51)));
        let mut unkillable = Unkillable::default();
        unkillable.add(Identity { pid: pid(60), start: 600 }, &mut |_| true);
        with_rules(family, &unkillable, &mut |rules| {
            let of = |number, state, flags, threads| {
                let line = stat_line(number, b"x", state, flags, threads, 9);
                rules.check_stat(&parse(&line).unwrap()).err()
            };
            assert_eq!(of(1, b'S', 0, 1), Some(Protection::Init));
            assert_eq!(of(2, b'S', 0x0020_8040, 1), Some(Protection::KernelThread));
            assert_eq!(of(30, b'S', 0, 1), Some(Protection::Ancestor));
            assert_eq!(of(40, b'S', 0, 1), Some(Protection::Ancestor));
            assert_eq!(of(50, b'S', 0, 1), Some(Protection::Guard));
            assert_eq!(of(51, b'S', 0, 1), Some(Protection::Guard));
            assert_eq!(of(60, b'S', 0, 1), Some(Protection::Unkillable));
            assert_eq!(of(70, b'Z', 0, 1), Some(Protection::Gone));
            assert_eq!(of(70, b'Z', 0, 2), None);
            assert_eq!(of(70, b'S', 0, 1), None);
        });
    }

    #[test]
    fn an_ancestor_that_cannot_be_read_is_still_one() {
        let fixture = with_parents(&[(5, 7), (7, 9), (9, 0)]);
        let mut proc = fixture.open();
        let mut family = Family::of(&mut proc, pid(5), None);
        let protects = |family: &Family, number| {
            let line = stat_line(number, b"x", b'S', 0, 1, 9);
            family.protection(&parse(&line).unwrap()) == Some(Protection::Ancestor)
        };
        fixture.remove("7/stat");
        family.renew(&mut proc, pid(5), None);
        assert!(protects(&family, 7) && protects(&family, 9));
        // Its parent has ended, and it was handed on.
        let fixture = with_parents(&[(5, 8), (8, 0)]);
        family.renew(&mut fixture.open(), pid(5), None);
        assert!(protects(&family, 8) && !protects(&family, 7) && !protects(&family, 9));
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let family = Family::of(&mut with_parents(&[(5, 7), (7, 5)]).open(), pid(5), None);
        let line = stat_line(7, b"x", b'S', 0, 1, 9);
        assert_eq!(family.protection(&parse(&line).unwrap()), Some(Protection::Ancestor));
    }

    #[test]
    fn large_goes_before_points_before_size_before_the_younger() {
        let family = Family::of(&mut with_parents(&[]).open(), pid(5), None);
        with_rules(family, &Unkillable::default(), &mut |rules| {
            let id = |start, number| Identity { pid: pid(number), start };
            let rank = |points, mib| rules.rank(points, KiB::from_mib(mib), id(7, 9));
            let (editor, hog) = (rank(400, 5), rank(200, 5000));
            assert!(hog > editor);
            assert!(rank(201, 30) > hog);
            assert!(rank(200, 5001) > hog);
            assert!(rank(401, 4) > editor);
            let started = |start, number| rules.rank(200, KiB::from_mib(50), id(start, number));
            assert!(started(8, 1) > started(7, 9));
            assert!(started(7, 10) > started(7, 9));
        });
    }
}
