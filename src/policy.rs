//! When to act: limits from settings and memory, the level that memory has reached, and
//! how long it surely stays away from the next one.
//!
//! Pure: the clock, descriptors and messages belong to others.

use crate::memory::Memory;
use crate::settings::{Config, Thresholds};
use crate::units::{least, mul_div, KiB, Levels, Moment, Percent};
use std::time::Duration;

/// How bad it is. Later ones are worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Fine,
    /// At or below the limits for SIGTERM.
    Term,
    /// At or below the limits for SIGKILL.
    Kill,
}

impl Level {
    fn of(is_kill: bool, is_term: bool) -> Level {
        match (is_kill, is_term) {
            (true, _) => Level::Kill,
            (false, true) => Level::Term,
            (false, false) => Level::Fine,
        }
    }
}

/// All that one look saw and derived. Every decision starts from one.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// When memory was read.
    pub now: Moment,
    pub memory: Memory,
    pub limits: Limits,
    /// By amounts or by stall, whichever is worse.
    pub level: Level,
    /// The level with that much less available as memory moves by itself. Memory that is above a
    /// level by less than that is at it: after a kill that gave nothing back it may be now above
    /// and now below for long. So an event is over only if this is fine.
    pub worst_level: Level,
    /// It is the stall alone that asks for something.
    pub is_stall: bool,
}

impl Scene {
    pub fn of(now: Moment, memory: Memory, limits: Limits) -> Scene {
        let level_at = |available| limits.level(available, &memory);
        Scene {
            now,
            memory,
            limits,
            level: level_at(memory.available),
            worst_level: level_at(memory.available.less(memory.noise())),
            is_stall: limits.is_stall(&memory),
        }
    }

    /// The level if `available` were.
    pub fn level_at(&self, available: KiB) -> Level {
        self.limits.level(available, &self.memory)
    }

    /// Memory is at or below the level of SIGKILL, and not by a stall alone.
    pub fn is_gone(&self) -> bool {
        self.limits.by_amounts(self.memory.available, &self.memory) == Level::Kill
    }

    /// What is missing to twice the level, at which memory is short no more: half of user memory
    /// never is. If the level is above that, to the level itself.
    pub fn missing(&self) -> KiB {
        let Levels { term, kill } = self.limits.mem;
        let level = term.max(kill).unwrap_or(KiB::ZERO);
        let enough = level.plus(level).min(self.memory.user.half()).max(level);
        enough.less(self.memory.available)
    }

    /// How urgent it is that programs free memory, as `LowMemoryWarning` tells it: low, medium and
    /// critical (low-memory-monitor's org.freedesktop.LowMemoryMonitor.xml), or 0 for not at all.
    pub fn urgency(&self) -> u8 {
        self.urgency_of(self.level, Percent::default())
    }

    /// What is left of an urgency that was reached: as memory moves by itself, it is not left yet.
    pub fn urgency_left(&self) -> u8 {
        self.urgency_of(self.worst_level, HYSTERESIS)
    }

    fn urgency_of(&self, level: Level, less: Percent) -> u8 {
        match level {
            Level::Kill => 255,
            Level::Term => 100,
            Level::Fine if self.is_below(self.limits.caches, less) => 50,
            Level::Fine => 0,
        }
    }

    /// How long the next worse level surely stays out of reach when memory (or swap, if
    /// that has further to go) fills by `rate` KiB a second. `None`: for ever. If the beginning of
    /// a stall is `told`, only one that has begun counts.
    pub fn quiet_for(&self, rate: KiB, told: bool) -> Option<Duration> {
        let by_stall = self.limits.stall.quiet_for(&self.memory, rate, told);
        let Limits { warn, caches, .. } = self.limits;
        let by_warning = least(self.quiet_before(warn, rate), self.quiet_before(caches, rate));
        least(least(self.quiet_by_amounts(rate), by_stall), by_warning)
    }

    /// Memory gets short, as `--warn` has it.
    pub fn is_short(&self) -> bool {
        self.is_below(self.limits.warn, Percent::default())
    }

    /// It does not get short anew before it was `HYSTERESIS` above that level.
    pub fn is_short_still(&self) -> bool {
        self.is_below(self.limits.warn, HYSTERESIS)
    }

    /// The same of any such level, if there were `less` of memory and of free swap.
    fn is_below(&self, short: Option<Short>, less: Percent) -> bool {
        let memory = &self.memory;
        let (mem_left, swap_left) = (
            memory.available.less(less.of(memory.user)),
            memory.swap_free.less(less.of(memory.swap_total)),
        );
        short.is_some_and(|short| mem_left <= short.mem && swap_left <= short.swap)
    }

    /// How long that stays out of reach. Once it was reached nothing waits for it.
    fn quiet_before(&self, short: Option<Short>, rate: KiB) -> Option<Duration> {
        let Short { mem, swap } = short?;
        let missing = self.memory.available.less(mem).max(self.memory.swap_free.less(swap));
        (missing > KiB::ZERO).then(|| time_to_fill(missing, rate).max(SHORT_LOOK))
    }

    fn quiet_by_amounts(&self, rate: KiB) -> Option<Duration> {
        let Limits { mem, swap, .. } = self.limits;
        let (mem, swap) = match self.level {
            Level::Fine => (mem.term.max(mem.kill), swap.term.max(swap.kill)),
            Level::Term => (mem.kill, swap.kill),
            Level::Kill => return None,
        };
        let (mem, swap) = (self.memory.available.less(mem?), self.memory.swap_free.less(swap?));
        Some(time_to_fill(mem.max(swap), rate))
    }
}

/// The thresholds in KiB of the memory there is now. `None`: never, which is lower than
/// any amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For available memory.
    pub mem: Levels<Option<KiB>>,
    /// For free swap. Without swap, any `Some` holds.
    pub swap: Levels<Option<KiB>>,
    pub stall: StallLimits,
    /// Of `--warn`.
    pub warn: Option<Short>,
    /// Where programs are asked to drop caches.
    pub caches: Option<Short>,
    /// How `-M` counts, if that is lower than it says.
    pub lowered: Option<Lowered>,
}

/// Memory gets short when this little is available and this little swap is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short {
    pub mem: KiB,
    pub swap: KiB,
}

/// The larger of the two levels of `-M`, and what it counts as. The other is lowered by as much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lowered {
    pub asked: KiB,
    pub counts: KiB,
}

/// The stall rule: only while this little is available, at these shares of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StallLimits {
    pub mem: KiB,
    pub share: Levels<Option<Percent>>,
    pub window: Duration,
}

/// A machine may stall with memory to spare: what was swapped out long ago comes back, or a cgroup
/// of its own is full. Ending a process is no help then. Twice the level of `-m` is where thrashing
/// begins, and half of user memory is never short of any.
const STALL_TIMES: u64 = 2;
/// Without swap only the files of programs can be thrashed, all of which are wanted, while the
/// kernel counts half of them as available: that was seen to begin at 37% of 190 MiB. If there
/// is room for the code of all programs at once it is data that is read again and again, and a
/// database may do that all day.
const STALL_TIMES_WITHOUT_SWAP: u64 = 4;
const CODE: KiB = KiB::from_mib(256);
const STALL_MOST: Percent = Percent::whole(50);

impl Limits {
    pub fn of(config: &Config, memory: &Memory) -> Limits {
        let Thresholds { mem, swap, mut mem_size, swap_size, psi, psi_window, warn, .. } =
            config.thresholds;
        let mut swap_size = swap_size.map(|size| size.levels(memory.swap_total));
        let (mut mem, mut swap) = (mem, swap);
        let is_watched = config.watches_memory();
        if !is_watched {
            (mem, swap, mem_size, swap_size) = (None, None, None, None);
        }
        let lowered = mem_size.as_mut().and_then(|size| lower_to_reach(size, memory));
        let mem = lower(mem, memory.user, mem_size);
        let times = |times| KiB(mem.term.unwrap_or(KiB::ZERO).0.saturating_mul(times));
        let known = |share: Percent| (is_watched && share > Percent::default()).then_some(share);
        let mut stall = StallLimits {
            mem: times(STALL_TIMES),
            share: Levels { term: known(psi.term), kill: known(psi.kill) },
            window: psi_window,
        };
        if memory.swap_total == KiB::ZERO {
            stall.mem = stall.mem.max(times(STALL_TIMES_WITHOUT_SWAP).min(CODE));
            stall.without_swap();
        }
        stall.mem = stall.mem.min(STALL_MOST.of(memory.user));
        let swap = lower(swap, memory.swap_total, swap_size);
        // Only if memory is watched there is a level of swap.
        let warn =
            warn.zip(swap.term).map(|(warn, swap)| Short { mem: warn.of(memory.user), swap });
        let half_more = |level: KiB| level.plus(level.half());
        let before_term = mem
            .term
            .zip(swap.term)
            .map(|(mem, swap)| Short { mem: half_more(mem), swap: half_more(swap) });
        let caches = warn.or(before_term).filter(|_| config.outputs.low_memory_signal);
        Limits { mem, swap, stall, warn, caches, lowered }
    }

    /// The level of `memory` if `available` of it were available: by amounts or by stall,
    /// whichever is worse.
    pub fn level(&self, available: KiB, memory: &Memory) -> Level {
        self.by_amounts(available, memory).max(self.stall.level(available, memory.stall))
    }

    /// Whether it is the stall alone that asks for something.
    pub fn is_stall(&self, memory: &Memory) -> bool {
        let by_amounts = self.by_amounts(memory.available, memory);
        by_amounts < self.stall.level(memory.available, memory.stall)
    }

    fn by_amounts(&self, available: KiB, memory: &Memory) -> Level {
        let Limits { mem, swap, .. } = self;
        let no_swap = memory.swap_total == KiB::ZERO;
        let are_low = |mem: Option<KiB>, swap: Option<KiB>| {
            mem.is_some_and(|mem| available <= mem)
                && swap.is_some_and(|swap| no_swap || memory.swap_free <= swap)
        };
        Level::of(are_low(mem.kill, swap.kill), are_low(mem.term, swap.term))
    }
}

/// Memory moves by less than that while nothing much happens: 80 MiB of 4 GiB.
const HYSTERESIS: Percent = Percent::whole(2);

fn time_to_fill(amount: KiB, rate: KiB) -> Duration {
    Duration::from_micros(mul_div(amount.0, 1_000_000, rate.0.max(1)))
}

/// Nothing is ended there, so a tenth of a second is no loss, also where memory rests just above.
const SHORT_LOOK: Duration = Duration::from_millis(100);

/// Files that are thrashed lose 65% of it, a server beside a reader of files up to 29%
/// (tests/rescue/README.md).
const WINDOW_WITHOUT_SWAP: Duration = Duration::from_secs(6);

/// Looks at a stall that are closer tell nothing new: it is measured over seconds.
const STALL_LOOK: Duration = Duration::from_millis(20);

impl StallLimits {
    /// Without swap nothing can be moved out of memory, so a stall does not end by itself.
    fn without_swap(&mut self) {
        self.window = self.window.min(WINDOW_WITHOUT_SWAP);
    }

    /// Nothing is done for a stall, since none is measured.
    pub fn turn_off(&mut self) {
        self.share = Levels { term: None, kill: None };
    }

    /// With so much available a stall counts.
    pub fn may_act_at(&self, available: KiB) -> bool {
        available <= self.mem && self.least().is_some()
    }

    /// The largest stall that asks for nothing yet.
    pub fn brink(&self) -> Percent {
        self.least().map_or(Percent::default(), Percent::just_below)
    }

    /// The smallest that asks for something: KILL may be below the level of SIGTERM.
    fn least(&self) -> Option<Percent> {
        least(self.share.term, self.share.kill)
    }

    fn level(&self, available: KiB, stall: Percent) -> Level {
        let at = |share: Option<Percent>| {
            available <= self.mem && share.is_some_and(|share| stall >= share)
        };
        Level::of(at(self.share.kill), at(self.share.term))
    }

    /// Not before memory has fallen so far, nor before everything has stalled so long.
    fn quiet_for(&self, memory: &Memory, rate: KiB, told: bool) -> Option<Duration> {
        let next = match self.level(memory.available, memory.stall) {
            Level::Fine => self.least(),
            Level::Term => self.share.kill,
            Level::Kill => None,
        }?;
        let has_begun = memory.stall > Percent::default();
        (has_begun || !told).then(|| {
            let missing = memory.stall.up_to(next).of_duration(self.window);
            missing.max(time_to_fill(memory.available.less(self.mem), rate)).max(STALL_LOOK)
        })
    }
}

/// An amount that says "never by this", since it is lower than any.
const NEVER: KiB = KiB::ZERO;

/// A level that no kill can reach would cost one process after another. So `-M` is never above half
/// of user memory, or the part of it that it is of the largest memory seen, whichever is more.
fn lower_to_reach(size: &mut Levels<KiB>, memory: &Memory) -> Option<Lowered> {
    let (asked, user, largest) = (size.term.max(size.kill), memory.user, memory.largest);
    // All that there ever was is no level either.
    let part = if asked < largest { asked.scaled(user, largest) } else { KiB::ZERO };
    let counts = asked.min(part.max(user.half()));
    for level in [&mut size.term, &mut size.kill] {
        if counts < asked && *level > NEVER {
            *level = level.scaled(counts, asked).max(KiB(1));
        }
    }
    (counts < asked).then_some(Lowered { asked, counts })
}

/// Of a share of `whole` and a size the lower one counts, for each level by itself.
fn lower(
    share: Option<Levels<Percent>>,
    whole: KiB,
    size: Option<Levels<KiB>>,
) -> Levels<Option<KiB>> {
    // A share above 0 is never rounded down to "never".
    let amount = |share: Percent| match share == Percent::default() {
        true => NEVER,
        false => share.of(whole).max(KiB(1)),
    };
    let lower = |share: Option<Percent>, size: Option<KiB>| {
        least(share.map(amount), size).filter(|&lower| lower > NEVER)
    };
    Levels {
        term: lower(share.map(|share| share.term), size.map(|size| size.term)),
        kill: lower(share.map(|share| share.kill), size.map(|size| size.kill)),
    }
}

/// How fast memory can fill on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct FillRate {
    /// KiB a second, as measured at the start.
    measured: KiB,
    /// A faster fall that was seen, and until when it counts.
    raised: (KiB, Moment),
    last: (KiB, Moment),
    /// The most that was available since the moment, and in the time before.
    peak: (KiB, Moment),
    former_peak: KiB,
}

/// A fall that outdoes the measured rate comes in bursts; a minute covers the next one.
const RAISED_FOR: Duration = Duration::from_secs(60);
/// Over so long, or from one look to the next, memory falls or does not.
const FALL: Duration = Duration::from_millis(50);

impl FillRate {
    pub fn new(measured: KiB) -> FillRate {
        FillRate { measured, ..FillRate::default() }
    }

    /// Takes note of what is available at `now`.
    pub fn observe(&mut self, available: KiB, now: Moment) {
        let (before, then) = self.last;
        // In less than that, a batch that the kernel brings to account looks like a flood.
        if now.since(then) >= CLOSEST {
            self.last = (available, now);
            let fall = before.less(available);
            let rate = KiB(mul_div(fall.0, 1_000_000_000, now.0 - then.0));
            if rate > self.at(now) {
                self.raised = (rate, now.after(RAISED_FOR));
            }
        }
        let (peak, since) = self.peak;
        if now.since(since) >= FALL {
            (self.peak, self.former_peak) = ((available, now), peak);
        } else {
            self.peak.0 = peak.max(available);
        }
    }

    /// Memory is being taken right now: more than the `noise` since a moment ago.
    pub fn falls(&self, noise: KiB) -> bool {
        let (available, _) = self.last;
        self.peak.0.max(self.former_peak).less(available) > noise
    }

    /// KiB a second to reckon with.
    pub fn at(&self, now: Moment) -> KiB {
        let (rate, until) = self.raised;
        if now < until {
            rate
        } else {
            self.measured
        }
    }
}

/// Keeps the looking within 1% of a processor, and within 10% while memory falls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// Nanoseconds that a look costs, smoothed.
    cost: u64,
}

/// Looks and the time between them are 1 to 99; a little less than that is aimed at,
/// since reports and the clock itself cost too.
const SHARE: u64 = 110;
/// Closer looks would find the same numbers: the kernel brings what a processor allocates
/// to account in batches, which take about this long to fill.
const CLOSEST: Duration = Duration::from_millis(2);
/// A look never costs so much that nearer looks than this were forbidden; a disturbed
/// measurement must not blind the guard.
const WIDEST: Duration = Duration::from_millis(50);

impl Budget {
    /// Takes in the processor time of one look.
    pub fn spent(&mut self, cost: Duration) {
        self.cost = (self.cost * 7 + cost.as_nanos() as u64) / 8;
    }

    /// The least time until the next look. While memory `falls` it may cost more: a tenth of
    /// 100 MiB fills within `WIDEST`.
    pub fn least_wait(&self, falls: bool) -> Duration {
        let share = if falls { SHARE / 10 } else { SHARE };
        Duration::from_nanos(self.cost * share).clamp(CLOSEST, WIDEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config::{Watch, Watching};
    use crate::settings::value::{percents, shares, sizes, swap_size};

    fn percent(text: &str) -> Option<Levels<Percent>> {
        Some(percents(text.as_bytes(), Percent::HUNDRED).unwrap())
    }

    fn size(text: &str) -> Option<Levels<KiB>> {
        Some(sizes(text.as_bytes()).unwrap())
    }

    fn config(thresholds: Thresholds) -> Config {
        Config { thresholds, ..Config::default() }.resolve(false).unwrap()
    }

    #[test]
    fn a_warning_has_a_level_of_its_own_and_is_left_two_points_above() {
        let warned =
            config(Thresholds { warn: Some(Percent::whole(20)), ..Config::default().thresholds });
        let scene = |available, swap_free, swap_total| {
            let memory = memory(available, swap_free, swap_total);
            Scene::of(Moment(0), memory, Limits::of(&warned, &memory))
        };
        let told = |available, swap_free, swap_total| {
            let scene = scene(available, swap_free, swap_total);
            (scene.is_short(), scene.is_short_still())
        };
        assert_eq!(told(200, 0, 0), (true, true));
        assert_eq!(told(201, 0, 0), (false, true));
        assert_eq!(told(221, 0, 0), (false, false));
        assert_eq!(told(100, 100, 1000), (true, true));
        assert_eq!(told(100, 101, 1000), (false, true));
        assert_eq!(told(100, 121, 1000), (false, false));
        // A look comes when either level can be reached.
        let quiet = |available| scene(available, 0, 0).quiet_for(KiB(1000), true);
        assert_eq!(quiet(300), Some(Duration::from_millis(100)));
        assert_eq!(quiet(200), Some(Duration::from_millis(100)));
        assert_eq!(quiet(150), Some(Duration::from_millis(50)));
        let plain = config(Config::default().thresholds);
        let memory = memory(1, 0, 0);
        assert!(!Scene::of(Moment(0), memory, Limits::of(&plain, &memory)).is_short());
    }

    #[test]
    fn programs_are_asked_to_drop_caches_at_the_warning_or_half_above_the_first_signal() {
        let with = |thresholds, watching| {
            let mut config = Config { thresholds, watching, ..Config::default() };
            config.outputs.low_memory_signal = true;
            config.resolve(false).unwrap()
        };
        let plain = || with(Config::default().thresholds, Watching::default());
        let told = |config: &Config, memory: Memory| {
            let scene = Scene::of(Moment(0), memory, Limits::of(config, &memory));
            (scene.urgency(), scene.urgency_left())
        };
        for (available, swap_free, swap_total, expected) in [
            (151, 0, 0, (0, 50)),
            (150, 0, 0, (50, 50)),
            (171, 0, 0, (0, 0)),
            (100, 0, 0, (100, 100)),
            (50, 0, 0, (255, 255)),
            // Of swap half more as well, since that mostly comes last.
            (60, 151, 1000, (0, 50)),
            (60, 150, 1000, (50, 50)),
            (60, 100, 1000, (100, 100)),
        ] {
            let memory = memory(available, swap_free, swap_total);
            assert_eq!(told(&plain(), memory), expected, "{memory:?}");
        }
        let stalls = stalled(60, memory(200, 900, 1000));
        assert_eq!(told(&plain(), stalls).0, 100);
        let warn = Some(Percent::whole(30));
        let warned = with(Thresholds { warn, ..Config::default().thresholds }, Watching::default());
        assert_eq!(told(&warned, memory(300, 100, 1000)), (50, 50));
        assert_eq!(told(&warned, memory(300, 101, 1000)), (0, 50));
        // A look comes when the level can be reached.
        let scene =
            |config: &Config, memory| Scene::of(Moment(0), memory, Limits::of(config, &memory));
        let quiet = scene(&plain(), memory(250, 0, 0)).quiet_for(KiB(1000), true);
        assert_eq!(quiet, Some(Duration::from_millis(100)));
        let limit = Watching {
            what: Some(Watch::Limit),
            process_limit: Some(KiB(1)),
            ..Watching::default()
        };
        assert_eq!(told(&with(Config::default().thresholds, limit), memory(1, 0, 0)), (0, 0));
        let off = config(Config::default().thresholds);
        assert_eq!(told(&off, memory(150, 0, 0)), (0, 0));
    }

    /// The machine is idle, has no swap, and 95% of its memory is available. The guard measures how fast
    /// memory fills; this test fixes it, so that figures compare. earlyoom 1.7 looks 60 times from 6 GiB on,
    /// and 600 times at 256 MiB.
    #[test]
    fn how_often_an_idle_minute_is_looked_at_follows_from_memory_and_fill_rate() {
        let config = config(Config::default().thresholds);
        for (mib, mib_a_second, looks) in
            [(24_000, 6_000, 17), (24_000, 12_000, 35), (4_000, 2_000, 35), (256, 500, 137)]
        {
            let total = KiB::from_mib(mib);
            let available = Percent::whole(95).of(total);
            let memory = Memory { total, available, user: total, ..Memory::default() };
            let scene = Scene::of(Moment(0), memory, Limits::of(&config, &memory));
            let quiet = scene.quiet_for(KiB::from_mib(mib_a_second), true).unwrap();
            assert_eq!(60_000_000_000 / quiet.as_nanos() as u64, looks, "{mib} MiB");
        }
    }

    fn memory(available: u64, swap_free: u64, swap_total: u64) -> Memory {
        Memory {
            total: KiB(1000),
            largest: KiB(1000),
            available: KiB(available),
            anon: KiB(1000 - available),
            user: KiB(1000),
            swap_total: KiB(swap_total),
            swap_free: KiB(swap_free),
            ..Memory::default()
        }
    }

    fn level(settings: &Thresholds, memory: Memory) -> Level {
        Limits::of(&config(*settings), &memory).level(memory.available, &memory)
    }

    #[test]
    fn both_memory_and_swap_must_be_low() {
        let settings = Config::default().thresholds;
        for (available, swap_free, expected) in [
            (101, 0, Level::Fine),
            (100, 11, Level::Fine),
            (100, 10, Level::Term),
            (50, 6, Level::Term),
            (50, 5, Level::Kill),
            (0, 100, Level::Fine),
        ] {
            assert_eq!(level(&settings, memory(available, swap_free, 100)), expected);
        }
    }

    #[test]
    fn without_swap_memory_alone_counts() {
        assert_eq!(level(&Config::default().thresholds, memory(100, 0, 0)), Level::Term);
        assert_eq!(level(&Config::default().thresholds, memory(50, 0, 0)), Level::Kill);
    }

    #[test]
    fn whatever_the_swap_holds_for_sigkill_too_unless_kill_is_given() {
        let by_share = |text| Thresholds { swap: percent(text), ..Config::default().thresholds };
        let by_size = |text: &str| {
            let swap_size = Some(swap_size(text.as_bytes()).unwrap());
            Thresholds { swap_size, ..Config::default().thresholds }
        };
        for whatever in [by_share("100"), by_size("100"), by_size("1T"), by_size("1T,100")] {
            assert_eq!(level(&whatever, memory(100, 100, 100)), Level::Term);
            assert_eq!(level(&whatever, memory(50, 100, 100)), Level::Kill);
        }
        for given in [by_share("100,50"), by_size("1T,50")] {
            assert_eq!(level(&given, memory(50, 51, 100)), Level::Term);
            assert_eq!(level(&given, memory(50, 50, 100)), Level::Kill);
        }
        for never in [by_share("100,0"), by_size("1T,0")] {
            assert_eq!(level(&never, memory(0, 0, 100)), Level::Term);
        }
        // There is more swap by now, or less, or none.
        let some = by_size("100");
        assert_eq!(level(&some, memory(50, 51, 101)), Level::Term);
        assert_eq!(level(&some, memory(50, 50, 101)), Level::Kill);
        assert_eq!(level(&some, memory(50, 99, 99)), Level::Kill);
        assert_eq!(level(&by_size("1"), memory(50, 0, 0)), Level::Kill);
        // With a share the lower one counts, for each level.
        let both = Thresholds { swap: percent("60"), ..by_size("1T") };
        assert_eq!(level(&both, memory(50, 60, 100)), Level::Term);
        assert_eq!(level(&both, memory(50, 30, 100)), Level::Kill);
    }

    #[test]
    fn zero_means_never_sigkill() {
        for settings in [
            Thresholds { mem: percent("10,0"), ..Config::default().thresholds },
            Thresholds { swap: percent("10,0"), ..Config::default().thresholds },
            Thresholds {
                mem: percent("10"),
                mem_size: size("100,0"),
                ..Config::default().thresholds
            },
        ] {
            assert_eq!(level(&settings, memory(0, 0, 0)), Level::Term);
            assert_eq!(level(&settings, memory(0, 0, 100)), Level::Term);
        }
    }

    #[test]
    fn the_lower_of_percentage_and_size_counts_for_each_level() {
        let both = Thresholds {
            mem: percent("20,2"),
            mem_size: size("100,90"),
            ..Config::default().thresholds
        };
        assert_eq!(level(&both, memory(101, 0, 0)), Level::Fine);
        assert_eq!(level(&both, memory(100, 0, 0)), Level::Term);
        assert_eq!(level(&both, memory(21, 0, 0)), Level::Term);
        assert_eq!(level(&both, memory(20, 0, 0)), Level::Kill);
    }

    #[test]
    fn kill_above_term_means_sigkill_first() {
        let settings = Thresholds { mem: percent("10,20"), ..Config::default().thresholds };
        assert_eq!(level(&settings, memory(200, 0, 0)), Level::Kill);
    }

    #[test]
    fn a_size_is_lowered_to_what_killing_can_reach() {
        for (text, total, largest, user, term, kill) in [
            // Below half of user memory it is what it says, and with all there is.
            ("500", 1000, 1000, 1000, 500, 250),
            ("900", 1000, 1000, 1000, 900, 450),
            ("400", 1000, 1000, 800, 400, 200),
            // tmpfs holds the rest, or the machine has shrunk.
            ("500", 1000, 1000, 400, 200, 100),
            ("800", 1000, 1000, 400, 320, 160),
            ("800", 400, 1000, 400, 320, 160),
            ("800", 500, 8000, 480, 240, 120),
            // All there is, or more: also if it was no more from the start.
            ("1000", 1000, 1000, 900, 450, 225),
            ("2000", 400, 400, 390, 195, 97),
            ("2000,1000", 400, 1000, 400, 200, 100),
            // As the larger of the two.
            ("400,800", 500, 1000, 500, 200, 400),
            ("800,0", 400, 1000, 400, 320, 0),
            ("800,1", 400, 1000, 400, 320, 1),
            // There is more by now.
            ("500", 2000, 2000, 2000, 500, 250),
        ] {
            let settings = Thresholds { mem_size: size(text), ..Config::default().thresholds };
            let of = |kib| if kib > 0 { Some(KiB(kib)) } else { None };
            let (total, largest, user) = (KiB(total), KiB(largest), KiB(user));
            let memory = Memory { total, largest, user, ..memory(0, 0, 0) };
            let limits = Limits::of(&config(settings), &memory);
            assert_eq!(limits.mem, Levels { term: of(term), kill: of(kill) }, "{text} {memory:?}");
            let asked = settings.mem_size.map(|size| size.term.max(size.kill)).unwrap();
            let counts = KiB(term.max(kill));
            let lowered = (counts < asked).then_some(Lowered { asked, counts });
            assert_eq!(limits.lowered, lowered, "{text}");
            assert!(counts < user);
        }
    }

    #[test]
    fn what_is_missing_goes_by_the_level() {
        for (text, available, missing) in [
            ("10", 90, 110),
            ("10", 200, 0),
            ("30", 290, 210),
            ("60", 580, 20),
            ("99", 600, 390),
            ("10,30", 290, 210),
            ("10,60", 590, 10),
        ] {
            let settings = Thresholds { mem: percent(text), ..Config::default().thresholds };
            let memory = memory(available, 0, 0);
            let scene = Scene::of(Moment(0), memory, Limits::of(&config(settings), &memory));
            assert_eq!(scene.missing(), KiB(missing), "{text} {available}");
        }
    }

    #[test]
    fn a_tiny_share_is_not_never() {
        let settings = Thresholds { mem: percent("0.000001,0"), ..Config::default().thresholds };
        assert_eq!(level(&settings, memory(1, 0, 0)), Level::Term);
        assert_eq!(level(&settings, memory(2, 0, 0)), Level::Fine);
    }

    #[test]
    fn quiet_lasts_as_long_as_the_further_of_memory_and_swap() {
        let quiet = |memory: Memory| {
            let limits = Limits::of(&config(Config::default().thresholds), &memory);
            Scene::of(Moment(0), memory, limits).quiet_for(KiB(100), true)
        };
        assert_eq!(quiet(memory(600, 0, 0)), Some(Duration::from_secs(5)));
        assert_eq!(quiet(memory(600, 1000, 1000)), Some(Duration::from_secs(9)));
        assert_eq!(quiet(memory(100, 0, 0)), Some(Duration::from_millis(500)));
        assert_eq!(quiet(memory(50, 0, 0)), None);
    }

    #[test]
    fn memory_is_gone_by_amounts_and_not_by_a_stall() {
        let psi = shares(b"10,40").unwrap();
        let settings = Thresholds { psi, ..Config::default().thresholds };
        let is_gone = |memory: Memory| {
            let scene = Scene::of(Moment(0), memory, Limits::of(&config(settings), &memory));
            (scene.level, scene.is_gone())
        };
        assert_eq!(is_gone(memory(50, 0, 0)), (Level::Kill, true));
        assert_eq!(is_gone(memory(51, 0, 0)), (Level::Term, false));
        assert_eq!(is_gone(memory(50, 51, 1000)), (Level::Term, false));
        assert_eq!(is_gone(memory(50, 50, 1000)), (Level::Kill, true));
        assert_eq!(is_gone(stalled(90, memory(60, 900, 1000))), (Level::Kill, false));
    }

    fn stalled(stall: u32, memory: Memory) -> Memory {
        Memory { stall: Percent::whole(stall), ..memory }
    }

    #[test]
    fn a_stall_counts_whatever_the_swap_while_memory_is_short() {
        let psi = shares(b"10,40").unwrap();
        let settings = Thresholds { psi, ..Config::default().thresholds };
        for (available, stall, expected) in [
            (201, 100, Level::Fine),
            (200, 9, Level::Fine),
            (200, 10, Level::Term),
            (200, 39, Level::Term),
            (200, 40, Level::Kill),
            (100, 9, Level::Fine),
            (100, 10, Level::Term),
        ] {
            let memory = stalled(stall, memory(available, 900, 1000));
            assert_eq!(level(&settings, memory), expected, "{available} {stall}");
            let limits = Limits::of(&config(settings), &memory);
            assert_eq!(limits.is_stall(&memory), expected > Level::Fine);
            assert_eq!(limits.stall.may_act_at(memory.available), available <= 200);
            let on_the_brink = Memory { stall: limits.stall.brink(), ..memory };
            assert!(!limits.is_stall(&on_the_brink));
            let quiet = limits.stall.quiet_for(&on_the_brink, KiB(100), true);
            assert!(available > 200 || quiet == Some(STALL_LOOK));
        }
        for (available, stall, expected) in [
            (401, 39, Level::Fine),
            (400, 39, Level::Term),
            (400, 10, Level::Term),
            (400, 9, Level::Fine),
        ] {
            let without_swap = stalled(stall, memory(available, 0, 0));
            assert_eq!(level(&settings, without_swap), expected, "{available} {stall}");
            let window = Limits::of(&config(settings), &without_swap).stall.window;
            assert_eq!(window, WINDOW_WITHOUT_SWAP);
            let psi_window = WINDOW_WITHOUT_SWAP / 2;
            let shorter = config(Thresholds { psi_window, ..settings });
            assert_eq!(Limits::of(&shorter, &without_swap).stall.window, psi_window);
        }
        let large = Memory { user: KiB::from_mib(4000), ..stalled(20, memory(0, 0, 0)) };
        let large = Limits::of(&config(settings), &large);
        assert_eq!(large.stall.mem, KiB::from_mib(800));
        // Both at once: it is no stall that is new.
        let low = stalled(19, memory(100, 0, 0));
        assert!(!Limits::of(&config(settings), &low).is_stall(&low));
        let off = Thresholds { psi: shares(b"0").unwrap(), ..settings };
        assert_eq!(level(&off, stalled(100, memory(200, 0, 100))), Level::Fine);
        let off = Limits::of(&config(off), &low);
        assert!(!off.stall.may_act_at(KiB::ZERO));
        let limit = Watching {
            what: Some(Watch::Limit),
            process_limit: Some(KiB(1)),
            ..Watching::default()
        };
        let memory_off = Config { watching: limit, ..config(settings) };
        let none = stalled(100, memory(0, 0, 0));
        assert_eq!(Limits::of(&memory_off, &none).level(none.available, &none), Level::Fine);
    }

    #[test]
    fn where_sigkill_by_a_stall_comes_first_it_is_what_the_brink_is_below() {
        let (psi, psi_window) = (shares(b"60,10").unwrap(), Duration::from_secs(5));
        let settings = Thresholds { psi, psi_window, ..Config::default().thresholds };
        let memory = stalled(1, memory(100, 900, 1000));
        let limits = Limits::of(&config(settings), &memory);
        let on_the_brink = Memory { stall: limits.stall.brink(), ..memory };
        assert_eq!(level(&settings, on_the_brink), Level::Fine);
        assert_eq!(level(&settings, stalled(10, memory)), Level::Kill);
        let quiet = limits.stall.quiet_for(&memory, KiB(100), true);
        assert_eq!(quiet, Some(Duration::from_millis(450)));
    }

    #[test]
    fn never_more_than_half_of_memory_is_short() {
        let (psi, defaults) = (shares(b"50").unwrap(), Config::default().thresholds);
        let settings = Thresholds { mem: percent("40"), psi, ..defaults };
        assert_eq!(level(&settings, stalled(50, memory(501, 100, 100))), Level::Fine);
        assert_eq!(level(&settings, stalled(50, memory(500, 100, 100))), Level::Term);
        let settings = Thresholds { mem_size: size("30"), psi, ..defaults };
        assert_eq!(level(&settings, stalled(50, memory(61, 100, 100))), Level::Fine);
        assert_eq!(level(&settings, stalled(50, memory(60, 100, 100))), Level::Term);
    }

    #[test]
    fn a_stall_that_has_begun_is_followed_until_it_can_matter() {
        let (psi, psi_window) = (shares(b"10").unwrap(), Duration::from_secs(5));
        let settings =
            Thresholds { psi, psi_window, mem: percent("10"), ..Config::default().thresholds };
        let config = config(settings);
        let quiet = |stall, available, told| {
            let memory = stalled(stall, memory(available, 1_000_000, 1_000_000));
            Limits::of(&config, &memory).stall.quiet_for(&memory, KiB(100), told)
        };
        assert_eq!(quiet(0, 150, true), None);
        assert_eq!(quiet(0, 150, false), Some(Duration::from_millis(500)));
        assert_eq!(quiet(4, 150, true), Some(Duration::from_millis(300)));
        assert_eq!(quiet(4, 400, true), Some(Duration::from_secs(2)));
        assert_eq!(quiet(20, 201, true), Some(STALL_LOOK));
        assert_eq!(quiet(20, 200, true), None);
    }

    #[test]
    fn a_faster_fall_raises_the_rate_for_a_while() {
        let mut rate = FillRate::new(KiB(1000));
        let at = |seconds: u64| Moment(seconds * 1_000_000_000);
        rate.observe(KiB(10_000), at(1));
        rate.observe(KiB(9_500), at(2));
        assert_eq!(rate.at(at(2)), KiB(1000));

        rate.observe(KiB(4_500), at(3));
        assert_eq!(rate.at(at(3)), KiB(5000));
        assert_eq!(rate.at(at(64)), KiB(1000));
    }

    #[test]
    fn memory_falls_over_a_moment_or_from_look_to_look() {
        let falls = |looks: &[(u64, u64)]| {
            let mut rate = FillRate::new(KiB(1000));
            for &(millis, available) in looks {
                rate.observe(KiB(available), Moment((1000 + millis) * 1_000_000));
            }
            rate.falls(KiB(10))
        };
        assert!(!falls(&[(0, 500)]));
        assert!(!falls(&[(0, 500), (1000, 490)]));
        assert!(falls(&[(0, 500), (1000, 489)]));
        assert!(!falls(&[(0, 500), (1000, 489), (2000, 489)]));
        // Each step is less than the noise.
        assert!(falls(&[(0, 500), (10, 496), (20, 492), (30, 488)]));
        assert!(falls(&[(0, 500), (40, 495), (60, 494), (80, 489)]));
        assert!(!falls(&[(0, 500), (40, 495), (60, 494), (80, 499)]));
        assert!(!falls(&[(0, 500), (40, 490), (60, 490), (120, 490), (180, 490)]));
    }

    #[test]
    fn looks_stay_within_their_share() {
        let mut budget = Budget::default();
        assert_eq!(budget.least_wait(false), CLOSEST);
        (0..100).for_each(|_| budget.spent(Duration::from_micros(100)));
        let wait = budget.least_wait(false);
        assert!(wait >= Duration::from_micros(9_900) && wait < Duration::from_millis(12));
        budget.spent(Duration::from_secs(5));
        assert_eq!(budget.least_wait(false), WIDEST);
    }
}
