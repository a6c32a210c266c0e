//! `--warn`: says once that memory gets short, while there is time to do something about it.
//!
//! Never signals. Where memory falls to the level of a signal from one look to the next, the signal
//! says it.

use crate::context::{Context, Selection};
use crate::event::Event;
use crate::helper::When;
use crate::log;
use crate::policy::{Level, Scene};
use crate::select::{self, Holders};
use crate::stats::Reason;
use crate::sys::process::KillSignal;

/// Processes between two looks at memory: a fraction of a millisecond.
const BETWEEN_LOOKS: u32 = 256;

/// Whether it was said since memory was last enough.
#[derive(Default)]
pub struct Warning {
    is_given: bool,
}

impl Warning {
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
