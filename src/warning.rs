//! What is said of memory before anything is ended: `--warn` says once that it gets short, while there
//! is time to do something about it; `--low-memory-signal` asks programs to drop caches.
//!
//! Never signals. Where memory falls to the level of a signal from one look to the next, the signal
//! says it.

use crate::context::{Context, Selection};
use crate::event::Event;
use crate::helper::{Helper, When};
use crate::log;
use crate::observe::Glances;
use crate::policy::{Level, Scene};
use crate::select::{self, Holders};
use crate::stats::Reason;
use crate::sys::process::KillSignal;
use crate::units::Moment;
use std::time::Duration;

#[derive(Default)]
pub struct Warning {
    /// It was said since memory was last enough.
    is_given: bool,
    told: Told,
}

/// What programs were told of how urgent it is.
#[derive(Default)]
struct Told {
    /// What they were told and memory has not left since.
    urgency: u8,
    /// What they were told last, and when.
    last: (u8, Moment),
}

/// Between two signals of the same urgency. As in low-memory-monitor (`RECOVERY_INTERVAL` of its
/// low-memory-monitor.c), for which programs are made: collecting garbage costs them time. But where
/// memory stays, nothing is repeated: levels of stalls last for seconds, those of amounts for hours.
const BETWEEN_SIGNALS: Duration = Duration::from_secs(15);

impl Told {
    /// What they are to be told now.
    fn next(&mut self, scene: &Scene) -> Option<u8> {
        self.urgency = self.urgency.min(scene.urgency_left());
        let (urgency, (last, at)) = (scene.urgency(), self.last);
        let is_new = urgency > last || scene.now.since(at) >= BETWEEN_SIGNALS;
        if urgency <= self.urgency || !is_new {
            return None;
        }
        (self.urgency, self.last) = (urgency, (urgency, scene.now));
        Some(urgency)
    }
}

impl Warning {
    /// Before anything is signalled: asks programs to free memory when that gets more urgent.
    pub fn note(&mut self, helper: &Helper, scene: &Scene) {
        self.see(scene);
        if let Some(urgency) = self.told.next(scene) {
            helper.emit(urgency);
        }
    }

    /// What asks for a signal needs no warning any more, however soon memory is back.
    fn see(&mut self, scene: &Scene) {
        self.is_given |= scene.level > Level::Fine && scene.is_short();
    }

    /// True if it was said now, which takes a while.
    pub fn step(&mut self, cx: &mut Context, scene: Option<&Scene>) -> bool {
        let Some(scene) = scene else { return false };
        let is_due = self.is_due(scene);
        if is_due {
            give(cx, scene);
        }
        is_due
    }

    fn is_due(&mut self, scene: &Scene) -> bool {
        let was_given = self.is_given;
        self.is_given = match was_given {
            true => scene.is_short_still(),
            false => scene.is_short(),
        };
        self.is_given && !was_given
    }
}

fn give(cx: &mut Context, scene: &Scene) {
    log::short(&mut cx.output.helper, scene);
    cx.output.stats.count_warning();
    cx.output.write_numbers(&scene.memory);
    if cx.config.hooks.warn.is_some() {
        let first = cx.find().ok().and_then(|found| found.best);
        let event = match first {
            Some(first) => cx.event(&first.stat, KillSignal::Term, Reason::Memory),
            None => Event::without_victim(false),
        };
        cx.output.helper.run_hook(When::Short, &event);
    }
    if cx.config.notify {
        if let Some(holders) = holders(cx).filter(|holders| holders.largest[0].is_some()) {
            cx.output.helper.notify_short(&holders.largest);
        }
    }
}

/// The largest candidates, unless memory gets low meanwhile.
fn holders(cx: &mut Context) -> Option<Holders> {
    let (mut glances, mut is_fine, memory) = (Glances::default(), true, cx.memory);
    let Selection { proc, mut rules, observer, config, .. } = cx.selection();
    let holders = select::holders(proc, &mut rules, &memory, &mut |proc, _| {
        if glances.is_due() && is_fine {
            is_fine = observer.glance(proc, config) == Some(Level::Fine);
        }
        is_fine
    });
    holders.ok().filter(|_| is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::policy::Limits;
    use crate::settings::Config;
    use crate::units::{KiB, Percent};

    /// One of 1000 KiB without swap, and the option.
    fn scene(seconds: u64, available: u64) -> Scene {
        let mut config = Config::default();
        config.outputs.low_memory_signal = true;
        let memory = Memory {
            total: KiB(1000),
            available: KiB(available),
            user: KiB(1000),
            ..Memory::default()
        };
        let limits = Limits::of(&config.resolve(false).unwrap(), &memory);
        Scene::of(Moment(seconds * 1_000_000_000), memory, limits)
    }

    fn told(looks: &[(u64, u64)]) -> Vec<Option<u8>> {
        let mut told = Told::default();
        looks.iter().map(|&(seconds, available)| told.next(&scene(seconds, available))).collect()
    }

    #[test]
    fn a_signal_takes_the_place_of_a_warning_until_memory_was_enough() {
        let mut config = Config::default();
        config.thresholds.warn = Some(Percent::whole(20));
        let config = config.resolve(false).unwrap();
        let scene = |available| {
            let user = KiB(1000);
            let memory =
                Memory { total: user, user, available: KiB(available), ..Memory::default() };
            let limits = Limits::of(&config, &memory);
            Scene::of(Moment(1), memory, limits)
        };
        let mut warning = Warning::default();
        let mut is_due = |available| {
            warning.see(&scene(available));
            warning.is_due(&scene(available))
        };
        assert!(!is_due(50));
        assert!(!is_due(190));
        assert!(!is_due(300));
        assert!(is_due(190));
        // At the level, and back within one look.
        let mut warning = Warning::default();
        warning.see(&scene(50));
        assert!(!warning.is_due(&scene(190)));
    }

    #[test]
    fn each_level_is_told_when_it_is_reached_and_not_while_memory_stays() {
        let falls = [(100, 151), (101, 150), (200, 140), (201, 100), (202, 60), (203, 50)];
        assert_eq!(told(&falls), [None, Some(50), None, Some(100), None, Some(255)]);
        // One step down all of them: the worst alone.
        assert_eq!(told(&[(100, 600), (101, 40), (102, 40)]), [None, Some(255), None]);
    }

    #[test]
    fn a_level_is_told_again_only_after_it_was_left_and_not_too_often() {
        // Less than two points above is not left.
        assert_eq!(told(&[(100, 150), (200, 165), (201, 150)]), [Some(50), None, None]);
        assert_eq!(told(&[(100, 150), (200, 175), (201, 150)]), [Some(50), None, Some(50)]);
        let soon = [(100, 100), (105, 500), (110, 100), (114, 100), (115, 100), (116, 100)];
        assert_eq!(told(&soon), [Some(100), None, None, None, Some(100), None]);
        // Worse is told at once, and less bad only once that is over.
        let worse = [(100, 100), (101, 500), (102, 40), (103, 500), (104, 140), (117, 140)];
        assert_eq!(told(&worse), [Some(100), None, Some(255), None, None, Some(50)]);
    }
}
