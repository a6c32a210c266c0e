//! Low memory from the first look that sees it to the last: when to choose a victim, and when not to.
//! The rows apply from top to bottom.
//!
//! | state | what is seen | next |
//! |---|---|---|
//! | watching | memory low, and tmpfs took what the last kill gave back | useless: pausing |
//! | watching | level SIGTERM, the cooldown over; level SIGKILL | choose |
//! | watching | chosen, but another process exits by itself | settling, once an event |
//! | watching | chosen, and there is no candidate, or all together hold too little | pausing, 1 s to 60 |
//! | watching | chosen, in a dry run | pausing, 1 s |
//! | watching | `--kernel-oom`: the kernel was asked | settling |
//! | killing | the kill is over (`progress`) | settling, or watching |
//! | settling | done (`aftermath`) | watching |
//! | settling | useless (`aftermath`) | pausing |
//! | settling | done, still short, and the victim wrote to a tmpfs | pausing until that grows |
//! | pausing | memory taken anew, or a worse level than at its start | watching |
//! | pausing | the time over, but files in tmpfs hold as much as before | pausing on |
//! | pausing | the time over | watching |
//! | pausing for want of candidates | new settings | watching |
//!
//! Pure: the table of kills (`mod`) does what a step says and reports back.

use super::aftermath::{Aftermath, Baseline, Verdict};
use super::progress::Stage;
use crate::memory::Memory;
use crate::policy::{Level, Scene};
use crate::procfs::status::Held;
use crate::select::Holders;
use crate::settings::Config;
use crate::sys::process::KillSignal;
use crate::units::{Identity, KiB, Moment};
use std::time::Duration;

/// When the kernel chooses, nothing tells the end of its victim. Asked again meanwhile, it would
/// end another process.
const DELEGATED: Duration = Duration::from_millis(300);
/// A candidate may appear (a process that was spared grows); looking costs a scan.
const ALONE: Backoff = Backoff::new(1, 60);
/// Memory where killing does not reach (tmpfs, the kernel) is freed by people.
const USELESS: Backoff = Backoff::new(10, 300);
/// A process that ignored SIGTERM a moment ago ignores the next one, too; what it did to an earlier
/// one says nothing.
const LET_OFF_FOR: Duration = Duration::from_secs(60);
/// More than can be asked and let off in that time with the grace of 5 s.
const LET_OFF: usize = 16;
/// Files that grow more slowly than this after a kill are not what it was for.
const FLOWS_ON: Duration = Duration::from_secs(60);
/// A process that holds at least this part of what is missing is worth its end by itself.
const WORTH: u64 = 8;
/// A dry run says each victim at most this often.
pub const DRY: Duration = Duration::from_secs(1);

/// Whether the end of a process of that size is a help, whatever others hold.
pub fn is_worth_its_end(size: KiB, scene: &Scene) -> bool {
    size.0 >= scene.missing().0 / WORTH
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Step {
    /// Nothing before the next look.
    Wait,
    /// Find a victim for this signal, then call `begins`, `alone`, `rehearsed`, `delegated` or
    /// `await_exit`.
    Choose(KillSignal),
    /// The last kill gave back `gained` of the `expected` memory, or more, and tmpfs has taken
    /// `taken` of it: pausing.
    Useless { gained: KiB, expected: KiB, taken: KiB, pause: Duration },
    /// The writer of a tmpfs has ended, and what it wrote is there: pausing.
    FilesStay,
}

/// What the time to the next look goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attention {
    /// The next level is what matters, and how far it is.
    ByHeadroom,
    /// Every change matters: is the memory coming back, or taken by others?
    Closest,
    /// Nothing will be done soon, unless memory is taken anew or the level gets worse.
    NowAndThen,
}

enum State {
    Watching,
    /// The kill in the table that is for memory decides.
    Killing,
    Settling(Aftermath),
    Pausing(Pause),
}

struct Pause {
    until: Moment,
    /// `None`: only time ends it.
    since: Option<Since>,
}

/// How memory was at the start of a pause.
struct Since {
    /// With the least that processes have held since then.
    baseline: Baseline,
    level: Level,
    /// What was available, if the pause follows a useless kill.
    useless_at: Option<KiB>,
    /// The least that `Shmem` was, if it follows the end of a writer of a tmpfs.
    shmem: Option<KiB>,
}

pub struct LowMemory {
    state: State,
    /// The kill in the table is of the writer of a tmpfs.
    for_tmpfs: bool,
    cooldown: Duration,
    /// No SIGTERM before this. Above the level, nothing is left of it.
    cool_at: Moment,
    alone: Backoff,
    useless: Backoff,
    /// A process that exits by itself was waited for since memory got low, or since the last kill.
    has_awaited: bool,
    /// What all candidates together held when they were found to hold too little.
    eligible: Option<KiB>,
    /// What the last victim gave back, and until when that may tell something.
    last: Option<(Aftermath, Moment)>,
    /// Asked once and let off, and until when that counts.
    let_off: [Option<(Identity, Moment)>; LET_OFF],
}

impl LowMemory {
    pub fn new(config: &Config) -> LowMemory {
        LowMemory {
            state: State::Watching,
            for_tmpfs: false,
            cooldown: config.cooldown,
            cool_at: Moment::default(),
            alone: ALONE,
            useless: USELESS,
            has_awaited: false,
            eligible: None,
            last: None,
            let_off: [None; LET_OFF],
        }
    }

    /// New settings are in force, which may make candidates. What else goes on goes on.
    pub fn reset(&mut self, config: &Config) {
        self.cooldown = config.cooldown;
        if matches!(&self.state, State::Pausing(pause) if pause.wants_candidates()) {
            self.state = State::Watching;
        }
        (self.alone, self.eligible) = (ALONE, None);
    }

    /// The next step; call again until it is `Wait`, each time with a fresh scene.
    pub fn step(&mut self, scene: &Scene) -> Step {
        let is_short = scene.missing() > KiB::ZERO;
        if scene.worst_level == Level::Fine {
            // The event is over.
            (self.cool_at, self.has_awaited, self.eligible) = (Moment::default(), false, None);
        }
        match &mut self.state {
            State::Watching => {}
            State::Killing => return Step::Wait,
            State::Settling(aftermath) => match aftermath.verdict(scene) {
                Verdict::Wait => return Step::Wait,
                // Its end gives back nothing, and that of another process would not, either.
                _ if self.for_tmpfs && is_short => {
                    let before = aftermath.before();
                    return self.files_stay(scene, before);
                }
                Verdict::Done if aftermath.expected() == KiB::ZERO => {}
                Verdict::Done => self.last = Some((*aftermath, scene.now.after(FLOWS_ON))),
                Verdict::Useless { gained } => {
                    let expected = aftermath.expected();
                    return self.useless(scene, gained, expected, KiB::ZERO);
                }
            },
            State::Pausing(pause) => {
                if !pause.is_broken(scene) && !pause.is_over(scene) {
                    if scene.now < pause.until {
                        return Step::Wait;
                    }
                    if pause.is_needed(scene) {
                        pause.until = scene.now.after(self.useless.next(scene.now));
                        return Step::Wait;
                    }
                }
            }
        }
        self.state = State::Watching;
        let last = self.last.filter(|&(_, until)| scene.now < until && scene.level != Level::Fine);
        if let Some((last, _)) = last {
            if let Some(taken) = last.taken_by_files(&scene.memory) {
                return self.useless(scene, last.expected(), last.expected(), taken);
            }
        }
        match scene.level {
            Level::Term if scene.now >= self.cool_at => Step::Choose(KillSignal::Term),
            Level::Kill => Step::Choose(KillSignal::Kill),
            Level::Fine | Level::Term => Step::Wait,
        }
    }

    fn useless(&mut self, scene: &Scene, gained: KiB, expected: KiB, taken: KiB) -> Step {
        self.last = None;
        let pause = self.useless.next(scene.now);
        let since = Since {
            baseline: Baseline::of(&scene.memory),
            level: scene.worst_level,
            useless_at: Some(scene.memory.available),
            shmem: None,
        };
        self.state = State::Pausing(Pause { until: scene.now.after(pause), since: Some(since) });
        Step::Useless { gained, expected, taken, pause }
    }

    /// Until memory is enough, more is written, or processes have taken some since `before`.
    fn files_stay(&mut self, scene: &Scene, before: Baseline) -> Step {
        let memory = &scene.memory;
        // What is left may move about a level, of which little is left itself.
        let since = Since {
            baseline: before,
            level: Level::Kill,
            useless_at: None,
            shmem: Some(memory.shmem),
        };
        self.state = State::Pausing(Pause { until: Moment(u64::MAX), since: Some(since) });
        Step::FilesStay
    }

    /// A kill is in progress that is for memory, perhaps of the writer of a tmpfs.
    pub fn begins(&mut self, for_tmpfs: bool) {
        self.for_tmpfs = for_tmpfs;
        (self.last, self.has_awaited, self.eligible) = (None, false, None);
        self.state = State::Killing;
    }

    /// Its victim is gone.
    pub fn ends(&mut self, aftermath: Aftermath, now: Moment) {
        self.cool_at = now.after(self.cooldown);
        self.state = State::Settling(aftermath.begin(now));
    }

    /// It was given up: unkillable, or protected by now.
    pub fn gives_up(&mut self) {
        self.state = State::Watching;
    }

    /// It was given up because memory has recovered.
    pub fn lets_off(&mut self, id: Identity, now: Moment) {
        let until = |place: &&mut Option<(Identity, Moment)>| place.map(|(_, until)| until);
        if let Some(place) = self.let_off.iter_mut().min_by_key(until) {
            *place = Some((id, now.after(LET_OFF_FOR)));
        }
        self.gives_up();
    }

    /// A process that was asked a moment ago and let off is not asked again.
    pub fn signal_for(&self, id: Identity, signal: KillSignal, now: Moment) -> KillSignal {
        let is_it = |&(known, until): &(Identity, Moment)| known == id && now < until;
        match self.let_off.iter().flatten().any(is_it) {
            true => KillSignal::Kill,
            false => signal,
        }
    }

    /// Whether a process that exits by itself may be waited for.
    pub fn may_await(&self) -> bool {
        !self.has_awaited
    }

    /// A process exits by itself, and its memory may be what is missing: none is signalled as long
    /// as memory comes back.
    pub fn await_exit(&mut self, memory: &Memory, now: Moment) {
        (self.has_awaited, self.for_tmpfs) = (true, false);
        self.state = State::Settling(Aftermath::of(Held::default(), memory).begin(now));
    }

    /// Whether killing is no help: no candidate is worth its end, all together hold less than is missing,
    /// and no more than when this was asked last.
    pub fn is_in_vain(&mut self, scene: &Scene, holders: &Holders) -> bool {
        let (eligible, missing) = (holders.eligible, scene.missing());
        let before = self.eligible.unwrap_or(eligible);
        // Of enough there may be more than was looked at.
        self.eligible = Some(eligible).filter(|_| eligible < missing);
        let have_grown = eligible >= before.plus(scene.memory.step());
        !is_worth_its_end(holders.most(), scene) && eligible < missing && !have_grown
    }

    /// There is no candidate. Returns how long to wait now, if that is to be said: not before the
    /// wait that was said last is over.
    pub fn alone(&mut self, memory: &Memory, now: Moment) -> Option<Duration> {
        let left = self.alone.until.since(now);
        let said = (left == Duration::ZERO).then(|| self.alone.next(now));
        // At a worse level there is no candidate either.
        let (baseline, level) = (Baseline::of(memory), Level::Kill);
        let since = Some(Since { baseline, level, useless_at: None, shmem: None });
        self.state = State::Pausing(Pause { until: self.alone.until, since });
        said
    }

    /// A victim was named in a dry run.
    pub fn rehearsed(&mut self, now: Moment) {
        self.state = State::Pausing(Pause { until: now.after(DRY), since: None });
    }

    /// The kernel was asked to choose: there is no victim to wait for, but `expected` memory.
    pub fn delegated(&mut self, expected: Held, memory: &Memory, now: Moment) {
        self.cool_at = now.after(self.cooldown);
        let aftermath = Aftermath::of(expected, memory);
        self.for_tmpfs = false;
        self.state = State::Settling(aftermath.begin(now.after(DELEGATED)));
    }

    /// How closely memory must be followed at `level`.
    pub fn attention(&self, level: Level, now: Moment) -> Attention {
        match self.state {
            // Something to do, and it was not done: a victim vanished, again and again.
            State::Watching if level != Level::Fine && now >= self.cool_at => Attention::Closest,
            State::Watching | State::Killing => Attention::ByHeadroom,
            State::Settling(_) => Attention::Closest,
            State::Pausing(Pause { since: None, .. }) => Attention::ByHeadroom,
            State::Pausing(_) if level == Level::Kill => Attention::Closest,
            State::Pausing(_) => Attention::NowAndThen,
        }
    }

    /// From which level on something can be done now. `stage` is that of the kill for memory.
    pub fn acts_at(&self, stage: Option<Stage>, now: Moment) -> Option<Level> {
        match self.state {
            State::Watching if now >= self.cool_at => Some(Level::Term),
            State::Watching => Some(Level::Kill),
            State::Killing => Some(Level::Kill).filter(|_| stage == Some(Stage::Asked)),
            State::Settling(_) | State::Pausing(_) => None,
        }
    }

    /// Nothing will be done for a while, whatever memory is.
    pub fn is_pausing(&self) -> bool {
        matches!(self.state, State::Pausing(_))
    }

    /// The writer of a tmpfs may be ended all the same: that is no useless kill.
    pub fn may_end_writer(&self) -> bool {
        matches!(self.state, State::Pausing(Pause { since: Some(_), .. }))
    }

    /// Nothing is going on, and the machine has time for other things.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Watching)
    }

    /// When the state changes by time alone, if it does. A moment that has passed is due.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        match &self.state {
            State::Watching => Some(self.cool_at).filter(|&at| at > now),
            State::Killing => None,
            State::Settling(aftermath) => Some(aftermath.until()),
            State::Pausing(pause) => Some(pause.until),
        }
    }
}

impl Pause {
    /// Killing may help again: processes have taken memory anew, or more is at stake.
    fn is_broken(&mut self, scene: &Scene) -> bool {
        let Some(since) = &mut self.since else { return false };
        let now = Baseline::of(&scene.memory);
        let (taken, returned) = (now.held_since(since.baseline), since.baseline.held_since(now));
        // What came back meanwhile can be taken anew, too.
        if returned > KiB::ZERO {
            since.baseline = now;
        }
        let shmem = scene.memory.shmem;
        let written = since.shmem.map_or(KiB::ZERO, |before| shmem.less(before));
        since.shmem = since.shmem.map(|before| before.min(shmem));
        // What starts and ends all the time on any machine is not that.
        let most = scene.memory.noise().max(scene.memory.step());
        taken.max(written) > most || scene.level > since.level
    }

    /// There was none, or the kernel could not be asked for one.
    fn wants_candidates(&self) -> bool {
        self.since.as_ref().is_some_and(|since| since.useless_at.is_none() && since.shmem.is_none())
    }

    /// After the end of a writer: memory is enough again.
    fn is_over(&self, scene: &Scene) -> bool {
        let follows_writer = self.since.as_ref().is_some_and(|since| since.shmem.is_some());
        follows_writer && scene.missing() == KiB::ZERO
    }

    /// After a useless kill files in tmpfs hold most of what is in use, and there is no less
    /// available than then: ending others would not change it.
    fn is_needed(&self, scene: &Scene) -> bool {
        let useless_at = self.since.as_ref().and_then(|since| since.useless_at);
        let memory = &scene.memory;
        let in_use = memory.total.less(memory.available);
        useless_at.is_some_and(|at| memory.available.plus(memory.noise()) >= at)
            && memory.files.0 >= in_use.0 / 2
            && scene.level != Level::Kill
            && scene.worst_level != Level::Fine
    }
}

/// A wait that doubles up to a limit, and starts anew after some quiet.
#[derive(Clone, Copy)]
struct Backoff {
    first: u64,
    limit: u64,
    /// The last wait in seconds, and its end.
    last: u64,
    until: Moment,
}

/// In seconds: longer than from a pause's end to the verdict on the next kill.
const QUIET: u64 = 30;

impl Backoff {
    /// In seconds.
    const fn new(first: u64, limit: u64) -> Backoff {
        Backoff { first, limit, last: 0, until: Moment(0) }
    }

    fn next(&mut self, now: Moment) -> Duration {
        let quiet = now.since(self.until).as_secs() > QUIET + self.last;
        self.last = if quiet { self.first } else { (self.last * 2).clamp(self.first, self.limit) };
        let wait = Duration::from_secs(self.last);
        self.until = now.after(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doubling_starts_anew_after_some_quiet() {
        let mut backoff = USELESS;
        let mut now = Moment(1_000_000_000_000);
        let mut next = |pass: u64| {
            now = now.after(Duration::from_secs(pass));
            backoff.next(now).as_secs()
        };
        assert_eq!([next(0), next(25), next(45)], [10, 20, 40]);
        assert_eq!(next(40 + 40 + 31), 10);
    }
}
