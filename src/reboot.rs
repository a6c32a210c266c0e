//! `--reboot-after`: reboots a machine when its memory is gone and no kill has helped.
//!
//! The clock runs while each look sees memory at or below the level of SIGKILL, by amounts and not by a
//! stall; a look above it sets it back. A kill that helps thus does so, and one that is waited for does
//! not. While memory cannot be read the clock stands still.
//!
//! Never waits: the helper syncs meanwhile, and looks go on. A fork would take memory.

use crate::context::Context;
use crate::log;
use crate::policy::Scene;
use crate::say;
use crate::settings::Config;
use crate::sys::{clock, fd, machine};
use crate::units::Moment;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What is written to the console before it happens, and if it does not happen after all.
const SAID: &[u8] = b"oom_guard: memory is gone and no kill has helped: rebooting\n";
const CALLED_OFF: &[u8] = b"oom_guard: memory is back: not rebooting\n";
/// For a sync, which can hang for ever (sync(2)). The rest of five seconds is for the look that sees
/// that it does.
const SYNC: Duration = Duration::from_millis(4500);
/// Whether it is done shows only by looking.
const LOOK: Duration = Duration::from_millis(20);
/// While the clock runs, the loop looks at least so often. If it did not, the guard was stopped or had
/// no turn, and what memory was like in between is unknown.
const SEEN: Duration = Duration::from_secs(2);

pub struct Reboot {
    clock: Clock,
    /// Open before it is needed.
    console: Option<OwnedFd>,
}

impl Reboot {
    pub fn new(config: &Config) -> Reboot {
        let mut reboot = Reboot { clock: Clock::default(), console: None };
        reboot.reset(config);
        reboot
    }

    /// New settings are in force, for which the clock begins anew.
    pub fn reset(&mut self, config: &Config) {
        self.clock = Clock::default();
        self.console = match config.may_reboot() {
            true => machine::console().ok(),
            false => None,
        };
    }

    pub fn step(&mut self, cx: &mut Context, scene: Option<&Scene>) {
        let Some(after) = cx.config.thresholds.reboot_after else { return };
        let is_synced = self.clock.is_syncing() && cx.output.helper.is_synced();
        let now = scene.map_or_else(clock::now, |scene| scene.now);
        let helper = &mut cx.output.helper;
        match self.clock.step(now, scene.map(Scene::is_gone), after, is_synced) {
            Step::Wait => {}
            Step::Begin if cx.config.dryrun => {
                self.clock.stage = Stage::Over;
                log::reboots(helper, after, true);
            }
            Step::Begin => {
                self.tell_console(SAID);
                log::reboots(helper, after, false);
                helper.begin_sync();
            }
            Step::Reboot => {
                let error = machine::reboot();
                say!(helper, Error, "cannot reboot: {error}");
            }
            Step::CallOff => {
                self.tell_console(CALLED_OFF);
                say!(helper, Warning, "memory is back: not rebooting");
            }
        }
    }

    /// When a look is due by time.
    pub fn deadline(&self, config: &Config, now: Moment) -> Option<Moment> {
        self.clock.deadline(config.thresholds.reboot_after?, now)
    }

    /// As much of it as is taken without waiting.
    fn tell_console(&self, line: &[u8]) {
        if let Some(console) = &self.console {
            let _ = fd::write(console.as_fd(), line);
        }
    }
}

/// How long memory has been gone, and what has come of it. Pure.
#[derive(Default)]
struct Clock {
    ran: Duration,
    /// When it was seen to be gone, if the last look did.
    last: Option<Moment>,
    stage: Stage,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Running,
    /// Until then, for the sync.
    Syncing(Moment),
    /// It was refused, or said in a dry run: once is enough until memory is back.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
enum Step {
    Wait,
    /// Say it, and have the disks synced.
    Begin,
    Reboot,
    /// Memory is back just in time.
    CallOff,
}

impl Clock {
    /// `is_gone` is `None` while memory cannot be read.
    fn step(
        &mut self,
        now: Moment,
        is_gone: Option<bool>,
        after: Duration,
        is_synced: bool,
    ) -> Step {
        if is_gone == Some(false) {
            let before = std::mem::take(self);
            return if before.is_syncing() { Step::CallOff } else { Step::Wait };
        }
        let last = std::mem::replace(&mut self.last, is_gone.map(|_| now));
        if let (Some(last), Some(_)) = (last, is_gone) {
            self.ran = self.ran.saturating_add(now.since(last).min(SEEN));
        }
        match self.stage {
            Stage::Running if self.ran >= after && is_gone.is_some() => {
                self.stage = Stage::Syncing(now.after(SYNC));
                Step::Begin
            }
            Stage::Syncing(until) if is_gone.is_some() && (is_synced || now >= until) => {
                self.stage = Stage::Over;
                Step::Reboot
            }
            _ => Step::Wait,
        }
    }

    fn is_syncing(&self) -> bool {
        matches!(self.stage, Stage::Syncing(_))
    }

    fn deadline(&self, after: Duration, now: Moment) -> Option<Moment> {
        match self.stage {
            Stage::Running => {
                self.last.map(|last| last.after(after.saturating_sub(self.ran).min(SEEN)))
            }
            Stage::Syncing(until) => Some(until.min(now.after(LOOK))),
            Stage::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(15);
    const GONE: Option<bool> = Some(true);
    const BACK: Option<bool> = Some(false);
    const BLIND: Option<bool> = None;

    fn at(millis: u64) -> Moment {
        Moment((1000 + millis) * 1_000_000)
    }

    /// What comes of looks at these milliseconds, the sync not being done.
    fn steps(clock: &mut Clock, looks: &[(u64, Option<bool>)]) -> Vec<Step> {
        looks.iter().map(|&(millis, seen)| clock.step(at(millis), seen, AFTER, false)).collect()
    }

    /// Each second memory is gone from the first millisecond up to the last one.
    fn stay_gone(clock: &mut Clock, from: u64, to: u64) {
        for millis in (from..to).step_by(1000).chain([to]) {
            assert_eq!(steps(clock, &[(millis, GONE)]), [Step::Wait], "{millis}");
        }
    }

    fn gone_since_start() -> Clock {
        let mut clock = Clock::default();
        stay_gone(&mut clock, 0, 14_999);
        clock
    }

    #[test]
    fn it_begins_once_memory_was_gone_for_so_long() {
        let mut clock = gone_since_start();
        assert_eq!(clock.deadline(AFTER, at(14_999)), Some(at(15_000)));
        assert_eq!(steps(&mut clock, &[(15_000, GONE), (15_010, GONE)]), [Step::Begin, Step::Wait]);
    }

    #[test]
    fn one_look_above_the_level_sets_it_back() {
        let mut clock = gone_since_start();
        assert_eq!(steps(&mut clock, &[(15_000, BACK)]), [Step::Wait]);
        assert_eq!(clock.deadline(AFTER, at(15_000)), None);
        stay_gone(&mut clock, 15_001, 30_000);
        assert_eq!(steps(&mut clock, &[(30_001, GONE)]), [Step::Begin]);
    }

    #[test]
    fn blind_looks_neither_count_nor_set_back() {
        let mut clock = gone_since_start();
        assert_eq!(steps(&mut clock, &[(15_500, BLIND), (90_000, BLIND)]), [Step::Wait; 2]);
        assert_eq!(clock.deadline(AFTER, at(90_000)), None);
        assert_eq!(steps(&mut clock, &[(90_500, GONE)]), [Step::Wait]);
        assert_eq!(clock.deadline(AFTER, at(90_500)), Some(at(90_501)));
        assert_eq!(steps(&mut clock, &[(90_501, GONE)]), [Step::Begin]);
    }

    #[test]
    fn time_in_which_the_guard_had_no_turn_counts_for_one_look() {
        let mut clock = Clock::default();
        assert_eq!(steps(&mut clock, &[(0, GONE), (3_600_000, GONE)]), [Step::Wait; 2]);
        assert_eq!(clock.deadline(AFTER, at(3_600_000)), Some(at(3_602_000)));
        stay_gone(&mut clock, 3_601_000, 3_612_999);
        assert_eq!(steps(&mut clock, &[(3_613_000, GONE)]), [Step::Begin]);
    }

    #[test]
    fn the_sync_is_waited_for_and_no_longer_than_five_seconds() {
        for (synced_at, reboot_at) in [(16_000, 16_000), (u64::MAX, 19_500)] {
            let mut clock = gone_since_start();
            assert_eq!(steps(&mut clock, &[(15_000, GONE)]), [Step::Begin]);
            let next = |millis, clock: &mut Clock| {
                clock.step(at(millis), GONE, AFTER, millis >= synced_at)
            };
            for millis in (15_020..reboot_at).step_by(20) {
                assert_eq!(next(millis, &mut clock), Step::Wait, "{millis}");
                let due = clock.deadline(AFTER, at(millis)).unwrap();
                assert!(due <= at(millis + 20) && due <= at(19_500));
            }
            assert_eq!(next(reboot_at, &mut clock), Step::Reboot);
            // It was refused: not again and again.
            assert_eq!(next(reboot_at + 1, &mut clock), Step::Wait);
            assert_eq!(clock.deadline(AFTER, at(reboot_at + 1)), None);
        }
    }

    #[test]
    fn after_a_sync_memory_must_be_seen_to_be_gone_still() {
        let mut clock = gone_since_start();
        let looks = [(15_000, GONE), (16_000, BLIND), (19_500, BLIND), (20_000, GONE)];
        let found = steps(&mut clock, &looks);
        assert_eq!(found, [Step::Begin, Step::Wait, Step::Wait, Step::Reboot]);
    }

    #[test]
    fn memory_that_is_back_during_the_sync_calls_it_off() {
        let mut clock = gone_since_start();
        let looks = [(15_000, GONE), (15_020, BACK)];
        assert_eq!(steps(&mut clock, &looks), [Step::Begin, Step::CallOff]);
        stay_gone(&mut clock, 15_040, 30_039);
        assert_eq!(steps(&mut clock, &[(30_040, GONE)]), [Step::Begin]);
    }
}
