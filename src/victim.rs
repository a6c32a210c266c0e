//! Who may be ended, and who before whom.
//!
//! Pure: `scan` reads what is asked here. Never signals.

use crate::filter::{Spared, Verdict};
use crate::procfs::cgroup::Cgroup;
use crate::procfs::meminfo::Memory;
use crate::procfs::stat::Stat;
use crate::settings::Config;
use crate::units::{Identity, KiB, Pid};

/// Why a process is no candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    Init,
    KernelThread,
    /// The guard, its helper, or a child of that one.
    Guard,
    /// Who started the guard, and who started that one, up to init.
    Ancestor,
    /// The kernel would never kill it: an `oom_score_adj` of -1000, as a rule.
    Exempt,
    /// `--ignore-root-user`.
    Root,
    /// `--ignore` or `--only`.
    Spared(Spared),
    /// Not in the cgroup whose memory counts.
    Outside,
    /// The guard may not signal it.
    NotPermitted,
    /// It could not be ended before.
    Left,
    /// It has ended already.
    Gone,
}

impl Protection {
    pub const fn text(self) -> &'static str {
        match self {
            Protection::Init => "protected: init",
            Protection::KernelThread => "protected: kernel thread",
            Protection::Guard => "protected: the guard",
            Protection::Ancestor => "protected: own ancestor",
            Protection::Exempt => "protected: exempt",
            Protection::Root => "protected: root's",
            Protection::Spared(Spared::Ignored(Some(_))) => "protected: ignored",
            Protection::Spared(Spared::Ignored(None)) => "protected: perhaps ignored",
            Protection::Spared(Spared::NotOnly) => "protected: not in --only",
            Protection::Outside => "protected: outside cgroup",
            Protection::NotPermitted => "not permitted",
            Protection::Left => "could not be ended",
            Protection::Gone => "has ended",
        }
    }
}

/// How the kernel words its badness in `oom_score`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Since Linux 5.9: `(1000 + points) * 2/3`, 0 for what it would never kill
    /// (`proc_oom_score` in fs/proc/base.c).
    Shifted,
    /// Before: the points, and 0 also for anything small or below.
    Plain,
}

impl Scale {
    /// Tells the scale from the guard's own score, which is small in itself: near
    /// `(1000 + adj) * 2/3` on one and near `adj` on the other. Below an adj of -900 the
    /// two come too close, and the kernel's release decides.
    pub fn tell(own_score: i32, own_adj: i32, release: (u32, u32)) -> Scale {
        let (shifted, plain) = ((1000 + own_adj) * 2 / 3, own_adj.max(0));
        let is_shifted = match own_adj {
            -900.. => own_score * 2 > shifted + plain,
            _ => release >= (5, 9),
        };
        if is_shifted {
            Scale::Shifted
        } else {
            Scale::Plain
        }
    }

    /// Thousandths of memory and swap that a process holds, plus its `oom_score_adj`:
    /// the most that can stand behind `score`, whose step is 1.5 of them on the shifted
    /// scale.
    pub fn points(self, score: i32) -> i64 {
        match self {
            Scale::Shifted => (3 * score as i64 + 4) / 2 - 1001,
            Scale::Plain => score as i64,
        }
    }
}

/// By what candidates are ranked first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranking {
    /// The kernel's badness; `Standing::points` are thousandths of memory.
    OomScore,
    /// Resident memory; `Standing::points` are KiB.
    Rss,
}

/// A candidate's place in the order: the greater one goes first. Fields in the order in which they
/// decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Standing {
    /// Not spared for being small.
    pub large: bool,
    pub points: i64,
    /// RSS plus swap.
    pub size: KiB,
    /// The younger of equals, and of those started in the same tick the one with the higher number.
    pub start: u64,
    pub pid: Pid,
}

/// A process that may be ended.
#[derive(Clone)]
pub struct Candidate {
    pub stat: Stat,
    pub score: i32,
    pub standing: Standing,
    /// Which patterns raised or lowered it.
    pub verdict: Verdict,
}

impl Candidate {
    pub fn id(&self) -> Identity {
        self.stat.id
    }
}

/// Thousandths of memory that `--prefer` adds and `--avoid` takes: what earlyoom's users know
/// as 300 points, before Linux 5.9 made 450 of it.
const BONUS: i64 = 300;

/// The rules of one choice.
pub struct Rules<'a> {
    pub ranking: Ranking,
    pub scale: Scale,
    pub ignore_root_user: bool,
    pub ignore_positive_adj: bool,
    pub min_size: KiB,
    /// What `--prefer` adds and `--avoid` takes, in the unit of `ranking`.
    pub bonus: i64,
    pub family: Family,
    pub left: &'a Remembered,
    /// Only who is within may be ended.
    pub cgroup: Option<&'a Cgroup>,
}

impl<'a> Rules<'a> {
    pub fn new(
        config: &Config,
        mem_total: KiB,
        scale: Scale,
        family: Family,
        left: &'a Remembered,
    ) -> Rules<'a> {
        let ranking = if config.choice.sort_by_rss { Ranking::Rss } else { Ranking::OomScore };
        Rules {
            ranking,
            bonus: match ranking {
                Ranking::OomScore => BONUS,
                Ranking::Rss => {
                    let share = KiB(BONUS as u64).scaled(mem_total, KiB(1000));
                    i64::try_from(share.0).unwrap_or(i64::MAX)
                }
            },
            scale,
            ignore_root_user: config.choice.ignore_root_user,
            ignore_positive_adj: config.choice.ignore_positive_adj,
            min_size: config.min_rss(mem_total),
            family,
            left,
            cgroup: None,
        }
    }

    /// For `memory` as that of `cgroup`, if it is.
    pub fn within(mut self, cgroup: Option<&'a Cgroup>, memory: &Memory) -> Rules<'a> {
        self.cgroup = cgroup.filter(|cgroup| cgroup.confines(memory));
        // The kernel's points are of the machine's memory.
        if self.ranking == Ranking::OomScore && memory.is_limited() {
            let points = KiB(BONUS as u64).scaled(memory.total, memory.machine);
            self.bonus = points.0.max(1) as i64;
        }
        self
    }

    /// What `stat` alone tells.
    pub fn protection(&self, stat: &Stat) -> Option<Protection> {
        let pid = stat.id.pid;
        if pid == Pid::INIT {
            Some(Protection::Init)
        } else if stat.is_kernel_thread() {
            Some(Protection::KernelThread)
        } else if self.family.is_own(stat) {
            Some(Protection::Guard)
        } else if self.family.has_ancestor(pid) {
            Some(Protection::Ancestor)
        } else if stat.is_gone() {
            Some(Protection::Gone)
        } else if self.left.contains(stat.id) {
            Some(Protection::Left)
        } else {
            None
        }
    }

    /// Whether a score of 0 leaves open who that is: before Linux 5.9 it may be anyone
    /// small, and only `oom_score_adj` tells.
    pub fn zero_is_exempt(&self) -> bool {
        self.scale == Scale::Shifted
    }

    /// What the patterns add to a process's points, or take.
    pub fn bonus_for(&self, verdict: &Verdict) -> i64 {
        let sign = i64::from(verdict.prefer.is_some()) - i64::from(verdict.avoid.is_some());
        self.bonus * sign
    }

    pub fn standing(&self, points: i64, size: KiB, id: Identity) -> Standing {
        let Identity { pid, start } = id;
        Standing { large: size >= self.min_size, points, size, start, pid }
    }
}

/// More levels than any supervisor, shell and session stack up.
const ANCESTORS: usize = 32;

/// The guard, its helper, and those that started it.
pub struct Family {
    own: Pid,
    helper: Option<Pid>,
    /// Init stands for none, too.
    ancestors: [Pid; ANCESTORS],
}

impl Family {
    /// Follows the parents of `own` upwards; `parent` gives the number of a process's
    /// parent, if it has one.
    pub fn trace(
        own: Pid,
        helper: Option<Pid>,
        parent: &mut dyn FnMut(Pid) -> Option<Pid>,
    ) -> Family {
        let mut ancestors = [Pid::INIT; ANCESTORS];
        let mut child = own;
        for slot in &mut ancestors {
            let Some(pid) = parent(child) else { break };
            *slot = pid;
            child = pid;
        }
        Family { own, helper, ancestors }
    }

    fn is_own(&self, stat: &Stat) -> bool {
        let of_helper = |helper: Pid| stat.id.pid == helper || stat.ppid == helper.number();
        // Helpers that were replaced end some time later. Of init everyone may be a child.
        let of_own = self.own != Pid::INIT && stat.ppid == self.own.number();
        stat.id.pid == self.own || of_own || self.helper.is_some_and(of_helper)
    }

    fn has_ancestor(&self, pid: Pid) -> bool {
        self.ancestors.contains(&pid)
    }
}

/// A handful of processes to keep in mind; the oldest gives way.
#[derive(Clone)]
pub struct Remembered {
    // More than this many victims that will not go are beyond what killing can mend.
    ids: [Identity; 16],
    next: usize,
}

const NOBODY: Identity = Identity { pid: Pid::INIT, start: u64::MAX };

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered { ids: [NOBODY; 16], next: 0 }
    }
}

impl Remembered {
    pub fn clear(&mut self) {
        *self = Remembered::default();
    }

    pub fn add(&mut self, id: Identity) {
        if !self.contains(id) {
            self.ids[self.next] = id;
            self.next = (self.next + 1) % self.ids.len();
        }
    }

    pub fn contains(&self, id: Identity) -> bool {
        self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::stat_line;
    use crate::procfs::stat::parse;

    fn pid(number: i64) -> Pid {
        Pid::new(number).unwrap()
    }

    fn rules(family: Family, left: &Remembered) -> Rules<'_> {
        let config = Config::default().resolve(false).unwrap();
        Rules::new(&config, KiB::from_mib(4000), Scale::Shifted, family, left)
    }

    #[test]
    fn points_are_thousandths_on_every_kernel() {
        for points in [-1000i64, -999, -100, -1, 0, 1, 2, 300, 999, 1000, 2000] {
            let shown = ((1000 + points) * 2 / 3) as i32;
            let undone = Scale::Shifted.points(shown);
            assert!((points..=points + 1).contains(&undone), "{points}: {shown} {undone}");
        }
        assert_eq!(Scale::Shifted.points(666), 0);
        assert_eq!(Scale::Plain.points(300), 300);
    }

    #[test]
    fn the_own_score_tells_the_scale() {
        for adj in [-900, -100, 0, 1, 500, 1000] {
            let (new, old) = ((1000 + adj) * 2 / 3, adj.max(0));
            assert_eq!(Scale::tell(new, adj, (0, 0)), Scale::Shifted, "{adj}");
            assert_eq!(Scale::tell(old, adj, (0, 0)), Scale::Plain, "{adj}");
        }
        assert_eq!(Scale::tell(0, -1000, (5, 9)), Scale::Shifted);
        assert_eq!(Scale::tell(0, -1000, (5, 8)), Scale::Plain);
        assert_eq!(Scale::tell(0, -1000, (4, 19)), Scale::Plain);
    }

    #[test]
    fn nobody_of_the_family_is_a_candidate() {
        let parents = [(50, 40), (40, 30), (30, 1)];
        let parent = |child: Pid| {
            parents.iter().find(|(c, _)| *c == child.number()).and_then(|(_, p)| Pid::new(*p))
        };
        let family = Family::trace(pid(50), Some(pid(51)), &mut { parent });
        let mut left = Remembered::default();
        left.add(Identity { pid: pid(60), start: 600 });
        let rules = rules(family, &left);
        let of = |number, state, flags, threads| {
            rules.protection(&parse(&stat_line(number, b"x", state, flags, threads, 9)).unwrap())
        };
        assert_eq!(of(1, b'S', 0, 1), Some(Protection::Init));
        assert_eq!(of(2, b'S', 0x0020_8040, 1), Some(Protection::KernelThread));
        assert_eq!(of(30, b'S', 0, 1), Some(Protection::Ancestor));
        assert_eq!(of(40, b'S', 0, 1), Some(Protection::Ancestor));
        assert_eq!(of(50, b'S', 0, 1), Some(Protection::Guard));
        assert_eq!(of(51, b'S', 0, 1), Some(Protection::Guard));
        assert_eq!(of(60, b'S', 0, 1), Some(Protection::Left));
        assert_eq!(of(70, b'Z', 0, 1), Some(Protection::Gone));
        assert_eq!(of(70, b'Z', 0, 2), None);
        assert_eq!(of(70, b'S', 0, 1), None);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let family = Family::trace(pid(5), None, &mut |_| Some(pid(7)));
        assert!(family.has_ancestor(pid(7)));
    }

    #[test]
    fn large_goes_before_points_before_size_before_the_younger() {
        let (family, left) = (Family::trace(pid(5), None, &mut |_| None), Remembered::default());
        let rules = rules(family, &left);
        let id = |start, number| Identity { pid: pid(number), start };
        let standing = |points, mib| rules.standing(points, KiB::from_mib(mib), id(7, 9));
        let (editor, hog) = (standing(400, 5), standing(200, 5000));
        assert!(hog > editor);
        assert!(standing(201, 30) > hog);
        assert!(standing(200, 5001) > hog);
        assert!(standing(401, 4) > editor);
        let started = |start, number| rules.standing(200, KiB::from_mib(50), id(start, number));
        assert!(started(8, 1) > started(7, 9));
        assert!(started(7, 10) > started(7, 9));
    }

    #[test]
    fn the_oldest_memory_gives_way() {
        let mut remembered = Remembered::default();
        let id = |number| Identity { pid: pid(number), start: 1 };
        (1..=17).for_each(|number| remembered.add(id(number)));
        assert!(!remembered.contains(id(1)));
        assert!(remembered.contains(id(2)) && remembered.contains(id(17)));
        assert!(!remembered.contains(Identity { pid: pid(17), start: 2 }));
    }
}
