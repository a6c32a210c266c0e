//! What is said of memory before anything is ended: `--warn` says once that it gets short, while there
//! is time to do something about it; `--low-memory-signal` asks programs to drop caches.
//!
//! Never signals. Where memory falls to the level of a signal from one look to the next, the signal
//! says it.

use crate::context::{Context, Selection};
use crate::event::Event;
use crate::helper::{Helper, When};
use crate::log;
use crate::policy::{Level, Scene};
use crate::select::{self, Holders};
use crate::stats::Reason;
use crate::sys::process::KillSignal;
use crate::units::Moment;
use std::time::Duration;

/// Processes between two looks at memory: a fraction of a millisecond.
const BETWEEN_LOOKS: u32 = 256;

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
    /// Asks programs to free memory when that gets more urgent.
    pub fn tell_programs(&mut self, helper: &Helper, scene: &Scene) {
        if let Some(urgency) = self.told.next(scene) {
            helper.emit(urgency);
        }
    }

    /// True if it was said now, which takes a while.
    pub fn step(&mut self, cx: &mut Context, scene: Option<&Scene>) -> bool {
        let Some(scene) = scene else { return false };
        let was_given = self.is_given;
        self.is_given = match was_given {
            true => scene.is_short_still(),
            false => scene.is_short(),
        };
        let is_new = self.is_given && !was_given && scene.level == Level::Fine;
        if is_new {
            give(cx, scene);
        }
        is_new
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
    let (mut seen, mut is_fine) = (0, true);
    let Selection { proc, mut rules, observer, config, .. } = cx.selection();
    let holders = select::holders(proc, &mut rules, &mut |proc| {
        seen += 1;
        if seen % BETWEEN_LOOKS == 0 && is_fine {
            is_fine = observer.glance(proc, config) == Some(Level::Fine);
        }
        is_fine
    });
    holders.ok().filter(|_| is_fine)
}
