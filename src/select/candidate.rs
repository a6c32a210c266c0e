//! The types of a choice: why a process is protected, or a candidate and its rank.
//!
//! Pure.

use crate::procfs::stat::Stat;
use crate::units::{Identity, KiB, Pid};

/// Why a process is no candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    Init,
    KernelThread,
    /// The guard, its helper, or a child of either.
    Guard,
    /// The process that started the guard, the one that started that, and so on up to init.
    Ancestor,
    /// It has ended already.
    Gone,
    /// An earlier attempt to end it failed.
    Unkillable,
    /// The kernel would never kill it, usually because of an `oom_score_adj` of -1000.
    Exempt,
    /// What tells whether it is exempt cannot be read.
    Unreadable,
    /// `--ignore-root-user`.
    Root,
    /// The guard may not signal it.
    NotPermitted,
    /// Not in the cgroup whose memory counts.
    Outside,
    /// By that pattern of `--ignore`; `None` if a field could not be read.
    Ignored(Option<usize>),
    /// No pattern of `--only` matches.
    NotOnly,
}

impl Protection {
    /// Something of it could not be read, and it may be none.
    pub const fn is_doubtful(self) -> bool {
        matches!(self, Protection::Unreadable | Protection::Ignored(None) | Protection::NotOnly)
    }

    pub const fn text(self) -> &'static str {
        match self {
            Protection::Init => "protected: init",
            Protection::KernelThread => "protected: kernel thread",
            Protection::Guard => "protected: the guard",
            Protection::Ancestor => "protected: own ancestor",
            Protection::Gone => "has ended",
            Protection::Unkillable => "could not be ended",
            Protection::Exempt => "protected: exempt",
            Protection::Unreadable => "protected: unreadable",
            Protection::Root => "protected: root's",
            Protection::NotPermitted => "not permitted",
            Protection::Outside => "protected: outside cgroup",
            Protection::Ignored(Some(_)) => "protected: ignored",
            Protection::Ignored(None) => "protected: perhaps ignored",
            Protection::NotOnly => "protected: not in --only",
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

    /// Whether a process with `score` is exempt; `None` if only `oom_score_adj` can tell.
    pub fn exempts(self, score: i32) -> Option<bool> {
        match self {
            _ if score > 0 => Some(false),
            Scale::Shifted => Some(true),
            Scale::Plain => None,
        }
    }
}

/// A candidate's place in the order: the greater one goes first. Fields in the order in which they
/// decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    /// At least as large as `--min-rss`.
    pub large: bool,
    /// The kernel's badness in thousandths of memory; with `--sort-by-rss`, resident KiB.
    pub points: i64,
    /// RSS plus swap.
    pub size: KiB,
    /// The younger of equals, and of two started in the same tick the one with the higher number.
    pub start: u64,
    pub pid: Pid,
}

/// Which pattern of `--prefer` and which of `--avoid` matched, by its place in the list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Preference {
    pub prefer: Option<usize>,
    pub avoid: Option<usize>,
}

/// A process that may be killed.
#[derive(Clone)]
pub struct Candidate {
    pub stat: Stat,
    pub score: i32,
    pub rank: Rank,
    pub preference: Preference,
}

impl Candidate {
    pub fn id(&self) -> Identity {
        self.stat.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_score_of_zero_says_exempt_since_5_9_and_nothing_before() {
        let told = |score| [Scale::Shifted, Scale::Plain].map(|scale| scale.exempts(score));
        assert_eq!(told(1), [Some(false); 2]);
        assert_eq!(told(0), [Some(true), None]);
    }
}
