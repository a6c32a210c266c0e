//! The writer of a tmpfs: the process whose file there grows while memory falls. Never signals.
//!
//! Its end does not give back what it has written, but ends the fall; the end of any other process
//! is for nothing. What memory did in the last second is known to the watch (`Writers`). What files
//! hold is seen by the helper, since that may hang: at two moments, which it compares (`Samples`).
//! What `/proc/PID/io` tells counts pipes as well, and no mappings: it only tells apart processes
//! that have the same file open, if one of them has written as much as the file has grown by.
//!
//! Not found, and left to the ordinary choice: a copy of many small files, none of which holds
//! much; two processes that write as much to one file, or map it; and memory without a mount
//! (memfd, System V), which goes with its processes anyway.

use crate::memory::Memory;
use crate::policy::{Level, Scene};
use crate::procfs::Proc;
use crate::sys::{clock, io};
use crate::units::{mul_div, Identity, KiB, Moment};
use std::time::Duration;

/// Between two questions. On a small machine a tmpfs took 130 MiB in 300 ms.
const BETWEEN: Duration = Duration::from_millis(25);
/// What a walk over all descriptors takes is at most a fifth of the helper's time.
const REST: u32 = 4;
/// An answer says nothing about later moments.
const FRESH: Duration = Duration::from_millis(500);
/// How long a signal waits for the first answer in a time of low memory. At the level of SIGKILL
/// there is no time for more than an answer that is on its way.
const fn patience(level: Level) -> Duration {
    match level {
        Level::Kill => Duration::from_millis(10),
        Level::Fine | Level::Term => Duration::from_millis(150),
    }
}
/// If memory falls on for so many seconds, it is low: time for two answers, and for a machine that
/// is busy.
const AHEAD: u64 = 8;
/// A file that holds less than this part of all memory is not what fills it: logs, and what
/// programs share.
const FILE: u64 = 16;
/// No more files of that size fit, so there are so few unless many processes have the same open.
const OPEN: usize = 32;

// ---- what the watch knows ----

/// The process that memory is low for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    pub id: Identity,
    /// What its file grows by in the time in which available memory `fell`.
    pub grows: KiB,
    pub fell: KiB,
}

/// What two samples have shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    /// The time between them.
    pub over: Duration,
    /// What grew most, if it is known which process has written it.
    pub most: Option<(Identity, KiB)>,
}

/// Memory at a moment.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: Moment,
    available: KiB,
    shmem: KiB,
}

const MARKS: usize = 11;
const BETWEEN_MARKS: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// What memory did in the last second, or since the last look before that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fall {
    time: Duration,
    available: KiB,
    /// What `Shmem` grew by.
    shmem: KiB,
}

impl Fall {
    /// `Shmem` made at least half of it.
    fn is_by_shmem(&self, memory: &Memory) -> bool {
        let least = memory.noise().max(memory.step());
        self.available >= least && self.shmem >= self.available.half()
    }
}

/// What is known of writers, from one look to the next.
#[derive(Default)]
pub struct Writers {
    marks: [Mark; MARKS],
    /// Of the oldest mark, which gives way to the next.
    oldest: usize,
    fall: Option<Fall>,
    /// No question before this.
    next: Moment,
    /// When the last question that was answered was asked, and what its answer was.
    answer: Option<(Moment, Option<Growth>)>,
    /// Since when a signal has waited for an answer.
    awaited: Option<Moment>,
}

impl Writers {
    /// Takes note of a look. If the helper is to be asked now, what a file must hold to count.
    pub fn observe(&mut self, scene: &Scene) -> Option<KiB> {
        let Scene { now, memory, .. } = scene;
        self.fall = self.fall_until(*now, memory);
        let newest = (self.oldest + MARKS - 1) % MARKS;
        if now.since(self.marks[newest].at) >= BETWEEN_MARKS {
            let (available, shmem) = (memory.available, memory.shmem);
            self.marks[self.oldest] = Mark { at: *now, available, shmem };
            self.oldest = (self.oldest + 1) % MARKS;
        }
        if scene.worst_level == Level::Fine {
            self.awaited = None;
        }
        let fall = self.fall.filter(|fall| fall.is_by_shmem(memory))?;
        let later = memory.available.less(KiB(fall.available.0.saturating_mul(AHEAD)));
        let is_due = *now >= self.next && scene.level_at(later) != Level::Fine;
        is_due.then_some(KiB(memory.total.0 / FILE))
    }

    fn fall_until(&self, now: Moment, memory: &Memory) -> Option<Fall> {
        let known = || self.marks.iter().filter(|mark| mark.at > Moment::default());
        let is_old = |mark: &&Mark| now.since(mark.at) >= SECOND;
        let last_second = known().filter(is_old).max_by_key(|mark| mark.at);
        let since = last_second.or_else(|| known().min_by_key(|mark| mark.at))?;
        Some(Fall {
            time: now.since(since.at),
            available: since.available.less(memory.available),
            shmem: memory.shmem.less(since.shmem),
        })
    }

    /// A question was asked, whether it is answered or not.
    pub fn asked(&mut self, now: Moment) {
        self.next = now.after(BETWEEN);
    }

    /// What was asked at a moment is answered `now`: `None`, if there was no sample before.
    pub fn answered(&mut self, asked: Moment, growth: Option<Growth>, now: Moment) {
        // The first one tells nothing yet.
        let rest = if growth.is_some() { now.since(asked) * REST } else { Duration::ZERO };
        self.next = asked.after(BETWEEN).max(now.after(rest));
        self.answer = Some((asked, growth));
    }

    /// The writer, if there is one and it is known now. Told once an answer.
    pub fn take(&mut self, scene: &Scene) -> Option<Writer> {
        let growth = self.fresh(scene.now)?;
        self.answer = None;
        let fall = self.fall.filter(|fall| fall.is_by_shmem(&scene.memory))?;
        let (id, grown) = growth.most?;
        // At that pace, in the same time.
        let nanos = |time: Duration| time.as_nanos() as u64;
        let time = nanos(growth.over).max(1);
        let grows = KiB(mul_div(grown.0, nanos(fall.time), time));
        let fell = fall.available;
        (grows >= fall.shmem.half()).then_some(Writer { id, grows: grows.min(fell), fell })
    }

    fn fresh(&self, now: Moment) -> Option<Growth> {
        let (asked, growth) = self.answer?;
        growth.filter(|_| now.since(asked) < FRESH)
    }

    /// Files may be what memory falls for, and the answer is not there yet: any other process might
    /// be ended for nothing. Once in a time of low memory.
    pub fn is_awaited(&mut self, scene: &Scene) -> bool {
        let is_by_shmem = self.fall.is_some_and(|fall| fall.is_by_shmem(&scene.memory));
        if !is_by_shmem || self.fresh(scene.now).is_some() {
            return false;
        }
        let since = *self.awaited.get_or_insert(scene.now);
        scene.now.since(since) < patience(scene.level)
    }
}

// ---- what the helper sees ----

/// A file that a process has open for writing.
#[derive(Clone, Copy)]
struct Open {
    id: Identity,
    /// Bytes that the process has written to whatever it is, if that is told.
    written: Option<u64>,
    file: (u64, u64),
    held: KiB,
}

/// All that are large enough.
#[derive(Default)]
struct Sample {
    /// When it was read; 0 for none.
    at: Moment,
    open: [Option<Open>; OPEN],
    count: usize,
}

impl Sample {
    fn read(
        &mut self,
        proc: &mut Proc,
        least: KiB,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        (self.at, self.count, self.open) = (clock::now(), 0, [None; OPEN]);
        proc.for_each_file_on_tmpfs(goes_on, &mut |proc, pid, found| {
            if found.held < least {
                return;
            }
            let Ok(stat) = proc.stat(pid) else { return };
            let written = proc.written(pid).ok();
            self.add(Open { id: stat.id, written, file: found.file, held: found.held });
        })
    }

    fn add(&mut self, open: Open) {
        // One that is open twice counts once.
        let is_same = |known: &Open| (known.id, known.file) == (open.id, open.file);
        if self.files().any(is_same) {
            return;
        }
        if let Some(place) = self.open.get_mut(self.count) {
            *place = Some(open);
        }
        self.count += 1;
    }

    fn files(&self) -> impl Iterator<Item = &Open> {
        self.open.iter().flatten()
    }

    /// What a process has of a file now, and had before; both must be known.
    fn pairs<'a>(&'a self, before: &'a Sample) -> impl Iterator<Item = (&'a Open, &'a Open)> {
        self.files().filter_map(move |now| {
            let is_same = |then: &&Open| (then.id, then.file) == (now.id, now.file);
            Some((before.files().find(is_same)?, now))
        })
    }

    fn growth_since(&self, before: &Sample) -> Growth {
        let mut growth = Growth { over: self.at.since(before.at), most: None };
        if self.count > OPEN {
            // Some other process may have the same file open.
            return growth;
        }
        for (then, now) in self.pairs(before) {
            let grown = now.held.less(then.held);
            let is_most = growth.most.map_or(true, |(_, most)| grown > most);
            if grown > KiB::ZERO && is_most && self.is_writer(before, now, grown) {
                growth.most = Some((now.id, grown));
            }
        }
        growth
    }

    /// A shell has what it redirects open, too. Of several processes the one that has written at least
    /// half of what the file has `grown` by, and more than all others together.
    fn is_writer(&self, before: &Sample, one: &Open, grown: KiB) -> bool {
        let is_other = |open: &&Open| open.file == one.file && open.id != one.id;
        if self.files().find(is_other).is_none() {
            return true;
        }
        let (mut own, mut others) = (0, 0);
        for now in self.files().filter(|open| open.file == one.file) {
            let known = before.files().find(|then| then.id == now.id);
            let then = known.map_or(Some(0), |then| then.written);
            // In doubt none is told.
            let (Some(now_written), Some(then)) = (now.written, then) else { return false };
            let written = now_written.saturating_sub(then);
            *(if now.id == one.id { &mut own } else { &mut others }) += written;
        }
        own > others && KiB(own / 1024) >= grown.half()
    }
}

/// The last look at files. Both lie here, not on the stack, which is short.
#[derive(Default)]
pub struct Samples {
    last: Sample,
    next: Sample,
}

impl Samples {
    /// Looks at all files of which each holds `least`, and what has grown since the last look;
    /// `None` if that was too long ago, or if it does not go on to the end. May hang.
    pub fn take(
        &mut self,
        proc: &mut Proc,
        least: KiB,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Growth> {
        let Samples { last, next } = self;
        let mut is_whole = true;
        let goes_on = &mut || {
            is_whole = is_whole && goes_on();
            is_whole
        };
        next.read(proc, least, goes_on).ok().filter(|()| is_whole)?;
        let is_recent = next.at.since(last.at) <= SECOND;
        let growth = is_recent.then(|| next.growth_since(last));
        std::mem::swap(last, next);
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Limits;
    use crate::settings::Config;
    use crate::units::Pid;

    fn at(millis: u64) -> Moment {
        Moment(1_000_000_000 + millis * 1_000_000)
    }

    /// Of 1000 MiB so much is available, and so much in `Shmem`; SIGTERM at or below 100 MiB.
    fn scene(millis: u64, available: u64, shmem: u64) -> Scene {
        let mib = KiB::from_mib;
        let memory = Memory {
            total: mib(1000),
            user: mib(1000),
            available: mib(available),
            anon: mib(50),
            shmem: mib(shmem),
            files: mib(shmem),
            ..Memory::default()
        };
        let config = Config::default().resolve(false).unwrap();
        Scene::of(at(millis), memory, Limits::of(&config, &memory))
    }

    fn process(number: i64) -> Identity {
        Identity { pid: Pid::new(number).unwrap(), start: 1 }
    }

    /// Memory falls, and `Shmem` grows, by so many MiB in each tenth of a second up to this.
    fn after(millis: u64, fall: u64, growth: u64) -> (Writers, Scene) {
        let mut writers = Writers::default();
        let mut last = scene(0, 990, 0);
        for step in 0..=millis / 100 {
            last = scene(step * 100, 990 - step * fall, step * growth);
            writers.observe(&last);
        }
        (writers, last)
    }

    /// The file of a process has grown by so many MiB in the 50 ms before the look.
    fn told(writers: &mut Writers, scene: &Scene, mib: u64) -> Option<Writer> {
        let over = Duration::from_millis(50);
        let most = Some((process(7), KiB::from_mib(mib)));
        writers.answered(scene.now, Some(Growth { over, most }), scene.now);
        writers.take(scene)
    }

    #[test]
    fn a_file_that_grows_by_half_of_shmem_which_makes_half_of_the_fall_is_told_once() {
        let (mut writers, scene) = after(3000, 30, 30);
        let writer = told(&mut writers, &scene, 15).unwrap();
        let fell = KiB::from_mib(300);
        assert_eq!(writer, Writer { id: process(7), grows: fell, fell });
        assert_eq!(writers.take(&scene), None);
        // A quarter of the fall.
        let (mut writers, scene) = after(3000, 30, 15);
        assert_eq!(told(&mut writers, &scene, 4).unwrap().grows, KiB::from_mib(80));
        assert_eq!(told(&mut writers, &scene, 3), None);
        // `Shmem` made less than half, or memory does not fall.
        for (fall, growth) in [(30, 14), (0, 30), (30, 0)] {
            let (mut writers, scene) = after(3000, fall, growth);
            assert_eq!(told(&mut writers, &scene, 30), None, "{fall} {growth}");
        }
    }

    #[test]
    fn what_shmem_did_before_the_last_second_is_past() {
        let (mut writers, _) = after(2000, 40, 40);
        for millis in (2100..4000).step_by(100) {
            // Processes take it from then on.
            let scene = scene(millis, 190 - (millis - 2000) / 30, 800);
            writers.observe(&scene);
            let is_told = told(&mut writers, &scene, 30).is_some();
            assert_eq!(is_told, millis < 3000, "{millis}");
        }
    }

    #[test]
    fn an_answer_counts_only_for_a_while_and_says_nothing_without_a_writer() {
        let (mut writers, scene) = after(3000, 30, 30);
        let most = Some((process(7), KiB::from_mib(15)));
        let growth = Growth { over: Duration::from_millis(50), most };
        let asked = Moment(scene.now.0 - 500_000_000);
        writers.answered(asked, Some(growth), scene.now);
        assert_eq!(writers.take(&scene), None);
        writers.answered(scene.now, Some(Growth { most: None, ..growth }), scene.now);
        assert_eq!(writers.take(&scene), None);
    }

    #[test]
    fn it_is_asked_for_while_memory_falls_by_files_to_the_level_and_not_too_often() {
        let asks = |fall, growth, from: u64| {
            let mut writers = Writers::default();
            let observe = |millis: u64| {
                let passed = millis / 10;
                writers.observe(&scene(millis, from - passed * fall, passed * growth))
            };
            (0..=1000).step_by(10).map(observe).filter(Option::is_some).count()
        };
        // 4 MiB in 10 ms: from where 8 times the fall would be too much.
        assert!(asks(4, 4, 990) > 50);
        assert_eq!(asks(4, 1, 990), 0);
        assert_eq!(asks(0, 4, 990), 0);
        // Far away.
        assert_eq!(asks(1, 1, 1900), 0);
        let (mut writers, last) = after(3000, 30, 30);
        let next =
            |writers: &mut Writers, millis: u64| writers.observe(&scene(3000 + millis, 90, 900));
        assert_eq!(next(&mut writers, 0), Some(KiB::from_mib(1000).scaled(KiB(1), KiB(16))));
        writers.asked(last.now);
        assert_eq!((next(&mut writers, 24), next(&mut writers, 25).is_some()), (None, true));
        // It took 30 ms, and told something.
        let growth = Growth { over: Duration::from_millis(50), most: None };
        writers.answered(last.now, Some(growth), at(3030));
        assert_eq!((next(&mut writers, 149), next(&mut writers, 150).is_some()), (None, true));
    }

    #[test]
    fn a_signal_waits_for_the_first_answer_once_and_sigkill_not_for_long() {
        let (mut writers, last) = after(3000, 30, 30);
        assert_eq!(last.level, Level::Term);
        assert!(writers.is_awaited(&last));
        let later = |millis: u64| scene(3000 + millis, 90, 900);
        assert!(writers.is_awaited(&later(149)) && !writers.is_awaited(&later(150)));
        // Memory was enough in between.
        writers.observe(&scene(3200, 500, 900));
        writers.observe(&later(210));
        assert!(writers.is_awaited(&later(210)));
        writers.answered(
            at(3210),
            Some(Growth { over: Duration::from_millis(50), most: None }),
            at(3210),
        );
        assert!(!writers.is_awaited(&later(211)));
        let (mut writers, last) = after(3100, 31, 31);
        assert_eq!(last.level, Level::Kill);
        let later = |millis: u64| scene(3100 + millis, 20, 970);
        assert!(writers.is_awaited(&last) && writers.is_awaited(&later(9)));
        assert!(!writers.is_awaited(&later(10)));
        let (mut writers, last) = after(3000, 30, 0);
        assert!(!writers.is_awaited(&last));
    }

    // ---- samples ----

    /// Process, MiB that it has written, inode, MiB that the file holds.
    fn sample(asked: u64, all: &[(i64, u64, u64, u64)]) -> Sample {
        let mut sample = Sample { at: at(asked), ..Sample::default() };
        for &(number, written, inode, mib) in all {
            let (id, file) = (process(number), (1, inode));
            let written = Some(written << 20);
            sample.add(Open { id, written, file, held: KiB::from_mib(mib) });
        }
        sample
    }

    type All<'a> = &'a [(i64, u64, u64, u64)];

    fn grown(before: All<'_>, now: All<'_>) -> Option<(i32, u64)> {
        let growth = sample(50, now).growth_since(&sample(0, before));
        assert_eq!(growth.over, Duration::from_millis(50));
        growth.most.map(|(id, grown)| (id.pid.number(), grown.mib()))
    }

    #[test]
    fn the_file_that_grows_most_tells_its_writer() {
        let before = [(7, 10, 1, 100), (8, 10, 2, 500), (9, 10, 3, 70)];
        assert_eq!(
            grown(&before, &[(7, 10, 1, 120), (8, 10, 2, 505), (9, 10, 3, 60)]),
            Some((7, 20))
        );
        assert_eq!(grown(&before, &before), None);
        // Another file, another process: how much has come is not known.
        assert_eq!(grown(&before, &[(7, 10, 4, 900), (6, 10, 1, 900)]), None);
        // The same one, open twice.
        assert_eq!(grown(&before, &[(7, 10, 1, 120), (7, 10, 1, 120)]), Some((7, 20)));
    }

    #[test]
    fn of_several_processes_with_the_file_open_the_one_that_writes_is_told() {
        let of = |shell: u64, program: u64, third: u64| {
            let before = [(5, 10, 1, 100), (7, 10, 1, 100), (8, 10, 1, 100)];
            let now = [(5, 10 + shell, 1, 120), (7, 10 + program, 1, 120), (8, 10 + third, 1, 120)];
            grown(&before, &now)
        };
        assert_eq!(of(0, 20, 0), Some((7, 20)));
        assert_eq!(of(5, 11, 5), Some((7, 20)));
        // In doubt none.
        assert_eq!(of(5, 11, 6), None);
        assert_eq!(of(0, 0, 0), None);
        // What it writes goes elsewhere, and another one may fill the file through a mapping.
        assert_eq!(of(0, 9, 0), None);
        // One that was not there before may have written all of it.
        assert_eq!(grown(&[(7, 10, 1, 100)], &[(7, 30, 1, 120), (8, 30, 1, 120)]), None);
    }

    #[test]
    fn one_whose_writing_is_not_told_may_have_written_it() {
        let mut now = sample(50, &[(7, 30, 1, 120), (8, 10, 1, 120)]);
        let before = sample(0, &[(7, 10, 1, 100), (8, 10, 1, 100)]);
        assert!(now.growth_since(&before).most.is_some());
        now.open[1].as_mut().unwrap().written = None;
        assert_eq!(now.growth_since(&before).most, None);
    }

    #[test]
    fn if_not_all_are_known_none_is_told() {
        let before = [(7, 10, 1, 100)];
        let others = |count: i64| {
            let all = (0..count).map(|number| (100 + number, 1, 50, 100));
            all.chain([(7, 12, 1, 120)]).collect::<Vec<_>>()
        };
        let most = OPEN as i64 - 1;
        let growth = |count| sample(50, &others(count)).growth_since(&sample(0, &before)).most;
        assert_eq!((growth(most).is_some(), growth(most + 1)), (true, None));
    }
}
