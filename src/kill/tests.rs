//! One kill and low memory through whole events, on a clock of the test's own.

use super::aftermath::Aftermath;
use super::low_memory::{self, LowMemory};
use super::progress::{Next, Progress, Seen, Urgency};
use crate::memory::Memory;
use crate::policy::{Limits, Scene};
use crate::procfs::status::Held;
use crate::select::Holders;
use crate::settings::Config;
use crate::sys::process::KillSignal;
use crate::units::{Identity, KiB, Moment, Pid};
use std::time::Duration;

/// What was done at one look.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Wait,
    Choose(KillSignal),
    Useless { gained: KiB, expected: KiB, taken: KiB, pause: Duration },
    FilesStay,
    Escalate(Urgency),
    Ended { after: Duration },
    OthersStay { after: Duration },
    LetOff { id: Identity },
    Unkillable { id: Identity },
}

/// Memory of 1000 MiB; SIGTERM at or below 100 MiB, SIGKILL at or below 50.
struct World {
    low: LowMemory,
    kill: Option<(Identity, Progress)>,
    config: Config,
    memory: Memory,
    now: Moment,
}

impl World {
    fn new() -> World {
        let config = Config::default().resolve(false).unwrap();
        let memory = Memory {
            total: KiB::from_mib(1000),
            available: KiB::from_mib(500),
            anon: KiB::from_mib(500),
            user: KiB::from_mib(1000),
            ..Memory::default()
        };
        let (low, now) = (LowMemory::new(&config), Moment(1_000_000_000_000));
        World { low, kill: None, config, memory, now }
    }

    fn without_cooldown() -> World {
        let mut world = World::new();
        world.config.cooldown = Duration::ZERO;
        world.low.reset(&world.config);
        world
    }

    fn after_a_useless_kill() -> World {
        World::new().useless()
    }

    /// What was ended gave back 100 MiB and tmpfs took 120: it pauses at 60 MiB.
    fn useless(self) -> World {
        let mut world = self;
        world.set(80, 500);
        world.kill(9, 100);
        world.set(60, 620);
        world.settle(100);
        assert!(matches!(world.step(false), Step::Useless { .. }));
        world
    }

    /// `mib` available; the rest is anonymous but for what tmpfs holds.
    fn set(&mut self, available: u64, tmpfs: u64) {
        self.memory.available = KiB::from_mib(available);
        self.memory.anon = KiB::from_mib(1000 - available - tmpfs);
        self.memory.files = KiB::from_mib(tmpfs);
        self.memory.shmem = self.memory.files;
    }

    fn scene(&self) -> Scene {
        Scene::of(self.now, self.memory, Limits::of(&self.config, &self.memory))
    }

    fn step(&mut self, gone: bool) -> Step {
        self.look(if gone { Seen::Gone } else { Seen::Alive })
    }

    fn look(&mut self, seen: Seen) -> Step {
        let scene = self.scene();
        if let Some((id, mut progress)) = self.kill.take() {
            let step = match progress.next(self.now, seen, Some(&scene), self.config.grace) {
                Next::Wait => Step::Wait,
                Next::Escalate(urgency) => Step::Escalate(urgency),
                Next::Gone { after } => {
                    self.low.ends(progress.aftermath, self.now);
                    return Step::Ended { after };
                }
                Next::OthersStay { after } => {
                    self.low.ends(progress.aftermath.of_a_part(), self.now);
                    return Step::OthersStay { after };
                }
                Next::LetOff => {
                    self.low.lets_off(id, self.now);
                    return Step::LetOff { id };
                }
                Next::Unkillable => {
                    self.low.gives_up();
                    return Step::Unkillable { id };
                }
            };
            self.kill = Some((id, progress));
            return step;
        }
        match self.low.step(&scene) {
            low_memory::Step::Wait => Step::Wait,
            low_memory::Step::Choose(signal) => Step::Choose(signal),
            low_memory::Step::Useless { gained, expected, taken, pause } => {
                Step::Useless { gained, expected, taken, pause }
            }
            low_memory::Step::FilesStay => Step::FilesStay,
        }
    }

    /// Nothing is done before that many milliseconds are over.
    fn settle(&mut self, millis: u64) {
        assert_eq!(self.step(false), Step::Wait);
        self.pass(millis - 1);
        assert_eq!(self.step(false), Step::Wait);
        self.pass(1);
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
    }

    fn signal(&mut self, pid: i64, signal: KillSignal, mib: u64) {
        self.signal_holding(pid, signal, Held { anon: KiB::from_mib(mib), ..Held::default() });
    }

    fn signal_holding(&mut self, pid: i64, signal: KillSignal, held: Held) {
        let aftermath = Aftermath::of(held, &self.memory);
        let progress = Progress::begin(signal, true, self.config.grace, aftermath, self.now);
        self.kill = Some((id(pid), progress));
        self.low.begins(false);
    }

    /// A victim of `mib` is asked, and is gone 10 ms later.
    fn kill(&mut self, pid: i64, mib: u64) {
        assert_eq!(self.step(false), Step::Choose(KillSignal::Term));
        self.signal(pid, KillSignal::Term, mib);
        self.pass(10);
        assert_eq!(self.step(true), Step::Ended { after: Duration::from_millis(10) });
    }
}

fn id(pid: i64) -> Identity {
    Identity { pid: Pid::new(pid).unwrap(), start: 7 }
}

#[test]
fn a_victim_is_asked_and_goes() {
    let mut world = World::new();
    assert_eq!(world.step(false), Step::Wait);
    world.set(100, 0);
    world.kill(9, 300);
    world.set(400, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.low.is_idle());
}

#[test]
fn sigkill_follows_the_level() {
    let mut world = World::new();
    world.set(90, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    world.signal(9, KillSignal::Term, 300);
    world.pass(5);
    assert_eq!(world.step(false), Step::Wait);
    world.set(50, 0);
    assert_eq!(world.step(false), Step::Escalate(Urgency::Level));
    assert_eq!(world.step(false), Step::Wait);
}

#[test]
fn sigkill_follows_the_grace_while_memory_is_low() {
    let mut world = World::new();
    world.set(90, 0);
    world.step(false);
    world.signal(9, KillSignal::Term, 300);
    world.pass(4_999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Escalate(Urgency::Grace));
}

#[test]
fn one_that_outlives_recovery_is_let_off_once() {
    let mut world = World::new();
    world.set(90, 0);
    world.step(false);
    world.signal(9, KillSignal::Term, 300);
    world.set(300, 0);
    world.pass(5_000);
    assert_eq!(world.step(false), Step::LetOff { id: id(9) });
    let signal = |world: &World, pid| world.low.signal_for(id(pid), KillSignal::Term, world.now);
    world.pass(59_999);
    assert_eq!(signal(&world, 9), KillSignal::Kill);
    assert_eq!(signal(&world, 8), KillSignal::Term);
    // What it did an hour ago says nothing.
    world.pass(1);
    assert_eq!(signal(&world, 9), KillSignal::Term);
}

#[test]
fn a_group_that_has_lost_its_victim_is_not_let_off() {
    // SIGTERM is a level of 90 MiB, recovery one of 300.
    for (grace, available) in [(Some(5), 90), (Some(5), 300), (None, 90), (None, 300)] {
        let mut world = World::new();
        world.config.grace = grace.map(Duration::from_secs);
        world.set(90, 0);
        world.step(false);
        world.signal(9, KillSignal::Term, 300);
        world.set(available, 0);
        world.pass(4_999);
        assert_eq!(world.look(Seen::OthersLeft), Step::Wait);
        world.pass(1);
        let expected = match grace {
            Some(_) => Step::Escalate(Urgency::Grace),
            // Time alone kills nothing then, and the victim's end is told.
            None => Step::OthersStay { after: Duration::from_secs(5) },
        };
        assert_eq!(world.look(Seen::OthersLeft), expected, "{grace:?} {available}");
    }
}

#[test]
fn others_of_a_group_that_survive_sigkill_are_not_waited_for() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    world.signal(9, KillSignal::Kill, 300);
    // As long as the victim lives, or memory comes back.
    world.pass(500);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(199);
    world.set(45, 0);
    assert_eq!(world.look(Seen::OthersLeft), Step::Wait);
    world.pass(199);
    assert_eq!(world.look(Seen::OthersLeft), Step::Wait);
    world.pass(1);
    let after = Duration::from_millis(899);
    assert_eq!(world.look(Seen::OthersLeft), Step::OthersStay { after });
    // What they keep does not make it useless.
    world.settle(30);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    // If memory is fine, there is time.
    world.signal(10, KillSignal::Kill, 300);
    world.set(300, 0);
    assert_eq!(world.look(Seen::OthersLeft), Step::Wait);
    world.pass(1_999);
    assert_eq!(world.look(Seen::OthersLeft), Step::Wait);
    world.pass(1);
    let after = Duration::from_secs(2);
    assert_eq!(world.look(Seen::OthersLeft), Step::OthersStay { after });
}

#[test]
fn one_that_survives_sigkill_is_left() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    world.signal(9, KillSignal::Kill, 300);
    world.pass(1_999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Unkillable { id: id(9) });
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
}

#[test]
fn without_grace_time_alone_kills_nobody() {
    let mut world = World::new();
    world.config.grace = None;
    world.set(90, 0);
    world.step(false);
    world.signal(9, KillSignal::Term, 300);
    world.pass(3_600_000);
    assert_eq!(world.step(false), Step::Wait);
    world.set(300, 0);
    assert_eq!(world.step(false), Step::LetOff { id: id(9) });
}

#[test]
fn above_the_level_the_event_is_over_and_so_is_the_cooldown() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 300);
    world.set(110, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.low.is_idle());
    world.pass(10);
    world.set(90, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn a_little_above_the_level_it_is_not() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 40);
    world.set(102, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(!world.low.is_idle());
    world.pass(200);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.low.is_idle());
    world.set(99, 0);
    assert_eq!(world.step(false), Step::Wait, "the cooldown still holds");
}

#[test]
fn what_is_taken_meanwhile_ends_the_wait() {
    type Take = fn(&mut World);
    let takes: [Take; 4] = [
        |world| world.set(49, 0),
        |world| world.memory.swap_free = KiB::from_mib(8),
        |world| {
            // 30 MiB of zram for 90 of swap.
            world.memory.swap_free = KiB::ZERO;
            world.memory.compressed = KiB::from_mib(30);
        },
        |world| world.memory.anon = KiB::from_mib(960),
    ];
    for (number, take) in takes.iter().enumerate() {
        let mut world = World::new();
        world.memory.swap_total = KiB::from_mib(1000);
        world.memory.swap_free = KiB::from_mib(10);
        world.set(50, 0);
        assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
        world.signal(9, KillSignal::Kill, 400);
        world.pass(10);
        world.step(true);
        world.pass(1);
        assert_eq!(world.step(false), Step::Wait);
        take(&mut world);
        assert_eq!(world.step(false), Step::Choose(KillSignal::Kill), "{number}");
    }
}

#[test]
fn the_next_sigterm_waits_for_the_cooldown_and_sigkill_never_does() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 300);
    world.pass(100);
    world.set(70, 0);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(899);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    world.kill(10, 300);
    world.pass(100);
    world.set(50, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
}

#[test]
fn while_memory_rises_it_is_waited_for_but_no_longer_than_a_second() {
    let mut world = World::new();
    world.set(20, 0);
    world.step(false);
    world.signal(9, KillSignal::Kill, 150);
    world.pass(10);
    world.step(true);
    for available in 21..70 {
        world.pass(20);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait, "{available}");
        assert!(!world.low.is_idle());
    }
    // At the level of SIGTERM by now, and in the same event.
    world.pass(20);
    world.set(70, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn once_nothing_rises_memory_is_judged_as_it_is() {
    for (available, quiet, signal) in [(40, 30, KillSignal::Kill), (80, 100, KillSignal::Term)] {
        let mut world = World::without_cooldown();
        world.set(available - 20, 0);
        world.step(false);
        world.signal(9, KillSignal::Kill, 60);
        world.pass(10);
        world.step(true);
        // A third of it comes back.
        world.set(available, 0);
        world.settle(quiet);
        assert_eq!(world.step(false), Step::Choose(signal));
    }
}

#[test]
fn what_comes_back_before_the_end_is_told_counts() {
    let mut world = World::without_cooldown();
    world.set(50, 0);
    world.step(false);
    world.signal(9, KillSignal::Kill, 60);
    world.pass(5);
    world.set(90, 0);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(5);
    world.step(true);
    world.settle(100);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn what_others_took_of_a_victim_while_it_ended_has_come_back() {
    let mut world = World::without_cooldown();
    world.set(90, 0);
    world.step(false);
    world.signal(9, KillSignal::Term, 100);
    // They take 30 MiB, and 30 come back with its end.
    for available in [80, 70, 60] {
        world.pass(100);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.set(90, 0);
    world.step(true);
    world.settle(100);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn a_victim_that_gave_all_back_was_not_useless_however_little_that_was() {
    let mut world = World::new();
    world.set(60, 0);
    world.kill(9, 20);
    world.set(80, 0);
    world.pass(999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn a_kill_that_gives_nothing_back_is_useless_and_pauses_double() {
    let mut world = World::new();
    world.set(40, 900);
    for pause in [10, 20, 40, 80, 160, 300, 300] {
        world.pass(1_000);
        let chosen = world.step(false);
        assert!(matches!(chosen, Step::Choose(_)), "{chosen:?}");
        world.signal(pause as i64, KillSignal::Term, 60);
        world.pass(10);
        assert!(matches!(world.step(true), Step::Ended { .. }));
        world.settle(30);
        let expected = KiB::from_mib(60);
        let pause = Duration::from_secs(pause);
        assert_eq!(
            world.step(false),
            Step::Useless { gained: KiB::ZERO, expected, taken: KiB::ZERO, pause }
        );
        world.pass(pause.as_millis() as u64 - 1);
        assert_eq!(world.step(false), Step::Wait);
    }
}

#[test]
fn a_quarter_is_enough_not_to_be_useless() {
    for (gained, is_useless) in [(24, true), (25, false)] {
        let mut world = World::new();
        world.set(60, 0);
        world.kill(9, 100);
        world.set(60 + gained, 0);
        world.settle(100);
        assert_eq!(matches!(world.step(false), Step::Useless { .. }), is_useless, "{gained}");
    }
}

#[test]
fn what_tmpfs_takes_of_a_kill_makes_it_useless() {
    World::after_a_useless_kill();
}

#[test]
fn what_others_take_of_a_kill_does_not_make_it_useless() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 400);
    world.set(180, 0);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1_000);
    world.set(60, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn memory_that_processes_take_anew_ends_a_pause_wherever_it_shows() {
    type Take = fn(&mut World);
    let takes: [(Take, bool); 4] = [
        (|world| world.set(52, 620), true),
        // Swapped out to a disk or to zram, and as much is taken anew.
        (|world| world.memory.swap_free = KiB::from_mib(40), true),
        // A little less than what starts and ends all the time.
        (|world| world.set(57, 620), false),
        (|world| world.set(52, 628), false),
    ];
    for (number, (take, ends)) in takes.iter().enumerate() {
        let mut world = World::new();
        world.memory.swap_total = KiB::from_mib(1000);
        world.memory.swap_free = KiB::from_mib(48);
        let mut world = world.useless();
        world.pass(1_000);
        assert_eq!(world.step(false), Step::Wait);
        take(&mut world);
        let expected = if *ends { Step::Choose(KillSignal::Term) } else { Step::Wait };
        assert_eq!(world.step(false), expected, "{number}");
    }
}

#[test]
fn a_worse_level_ends_a_pause_and_the_same_one_does_not() {
    let mut world = World::after_a_useless_kill();
    world.pass(1_000);
    world.set(51, 629);
    assert_eq!(world.step(false), Step::Wait);
    world.set(50, 630);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    world.signal(10, KillSignal::Kill, 60);
    world.step(true);
    world.settle(30);
    assert!(matches!(world.step(false), Step::Useless { .. }));
    world.set(10, 670);
    assert_eq!(world.step(false), Step::Wait);
}

#[test]
fn memory_that_hovers_at_the_limit_does_not_end_a_pause() {
    for kernel_holds_it in [true, false] {
        let mut world = World::after_a_useless_kill();
        for (millis, available) in [(3_000, 102), (300, 99), (3_000, 102), (3_600, 99)] {
            world.pass(millis);
            world.set(available, 620);
            assert_eq!(world.step(false), Step::Wait, "{available}");
        }
        world.pass(100);
        if kernel_holds_it {
            world.memory.files = KiB::ZERO;
            assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
        } else {
            // Files hold it still: no other process is ended for that, however long it takes, and
            // wherever memory happens to be when a pause is over.
            for available in [99, 102].repeat(10) {
                world.set(available, 620);
                assert_eq!(world.step(false), Step::Wait);
                world.set(99, 620);
                assert_eq!(world.step(false), Step::Wait);
                world.pass(30_000);
            }
            // A process that takes more is another matter.
            world.set(45, 660);
            assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
        }
    }
}

#[test]
fn the_end_of_one_that_had_a_file_in_tmpfs_open_is_useless() {
    // A little above the level, or at it.
    for available in [102, 97] {
        let mut world = World::new();
        world.set(95, 600);
        assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
        let held = Held { anon: KiB(100), shared: KiB::from_mib(500), ..Held::default() };
        world.signal_holding(9, KillSignal::Term, held);
        world.pass(10);
        assert!(matches!(world.step(true), Step::Ended { .. }));
        world.set(available, 600);
        world.settle(100);
        assert!(matches!(world.step(false), Step::Useless { .. }), "{available}");
    }
}

#[test]
fn memory_that_was_given_back_in_a_pause_and_is_taken_anew_ends_it() {
    let mut world = World::after_a_useless_kill();
    world.pass(1_000);
    world.set(300, 620);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1_000);
    world.set(90, 620);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn a_victim_whose_memory_comes_back_is_waited_for_up_to_ten_seconds() {
    let mut world = World::new();
    world.set(10, 0);
    world.step(false);
    world.signal(9, KillSignal::Kill, 900);
    for available in [11, 12, 13] {
        world.pass(1_999);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.pass(1_999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Unkillable { id: id(9) });
    // The next one never stops giving memory back.
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    world.signal(8, KillSignal::Kill, 900);
    for available in 14..23 {
        world.pass(1_000);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.pass(1_000);
    world.set(23, 0);
    assert_eq!(world.step(false), Step::Unkillable { id: id(8) });
}

#[test]
fn a_victim_of_many_is_waited_for_while_some_of_them_end() {
    let mut world = World::new();
    world.set(10, 0);
    world.step(false);
    world.signal(9, KillSignal::Kill, 900);
    for _ in 0..4 {
        world.pass(1_999);
        world.kill.as_mut().unwrap().1.wait_on(world.now);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.pass(2_000);
    assert_eq!(world.step(false), Step::Unkillable { id: id(9) });
}

#[test]
fn nobody_to_end_is_waited_out_with_growing_patience() {
    let mut world = World::new();
    world.set(40, 0);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
        let said = world.low.alone(&world.memory, world.now);
        assert_eq!(said, Some(Duration::from_secs(wait)));
        world.pass(wait * 1000 - 1);
        assert_eq!(world.step(false), Step::Wait);
        world.pass(1);
    }
}

#[test]
fn an_early_look_for_a_candidate_is_silent_and_waits_no_longer() {
    let mut world = World::new();
    world.set(80, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    assert_eq!(world.low.alone(&world.memory, world.now), Some(Duration::from_secs(1)));
    // Processes take memory all the time.
    for available in [75, 70, 65, 60] {
        world.pass(200);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
        assert_eq!(world.low.alone(&world.memory, world.now), None);
    }
    world.pass(199);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    assert_eq!(world.low.alone(&world.memory, world.now), Some(Duration::from_secs(2)));
}

#[test]
fn a_dry_run_names_a_victim_once_a_second() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    world.low.rehearsed(world.now);
    world.pass(999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
}

#[test]
fn a_process_that_exits_by_itself_is_waited_for_as_long_as_memory_rises() {
    let mut world = World::new();
    world.set(80, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    assert!(world.low.may_await());
    world.low.await_exit(&world.memory, world.now);
    for available in [84, 88, 92] {
        world.pass(99);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait, "{available}");
    }
    world.pass(99);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    // Once in an event, however many there are.
    assert!(!world.low.may_await());
    world.set(300, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.low.may_await());
}

#[test]
fn what_is_taken_meanwhile_ends_the_wait_for_one_that_exits() {
    let mut world = World::new();
    world.set(80, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    world.low.await_exit(&world.memory, world.now);
    world.set(79, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    assert!(!world.low.may_await());
    // After a kill it begins anew.
    world.signal(20, KillSignal::Term, 300);
    assert!(world.low.may_await());
}

#[test]
fn the_kernels_victim_has_a_moment_to_end() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
    let held = Held { anon: KiB::from_mib(60), ..Held::default() };
    world.low.delegated(held, &world.memory, world.now);
    for available in [38, 36, 34] {
        world.pass(99);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.pass(3);
    assert_eq!(world.step(false), Step::Wait);
    world.set(30, 0);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Kill));
}

#[test]
fn what_tmpfs_takes_killing_does_not_give_back() {
    let mut world = World::new();
    world.set(100, 600);
    world.kill(9, 100);
    // It has given all back, and files take it: a second kill would be for them.
    world.set(200, 600);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(3000);
    world.set(90, 710);
    let taken = KiB::from_mib(110);
    let (expected, pause) = (KiB::from_mib(100), Duration::from_secs(10));
    assert_eq!(world.step(false), Step::Useless { gained: expected, expected, taken, pause });
    world.pass(9000);
    assert_eq!(world.step(false), Step::Wait);
    // Anonymous memory taken anew is another matter.
    world.set(80, 700);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn files_that_are_not_seen_yet_may_be_memory_that_processes_share() {
    let mut world = World::new();
    world.set(100, 600);
    world.kill(9, 100);
    world.set(200, 600);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(3000);
    world.set(90, 710);
    world.memory.unseen = KiB::from_mib(110);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn files_that_grew_while_a_hog_did_are_not_to_blame() {
    let mut world = World::new();
    world.set(100, 500);
    world.kill(9, 100);
    world.set(300, 500);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(3000);
    world.set(90, 560);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn shared_memory_that_a_process_takes_anew_ends_a_pause_and_files_do_not() {
    for (shmem, files, step) in [(700, 700, Step::Wait), (700, 620, Step::Choose(KillSignal::Term))]
    {
        let mut world = World::after_a_useless_kill();
        world.memory.shmem = KiB::from_mib(620);
        world.pass(1000);
        world.memory.available = KiB::from_mib(55);
        world.memory.shmem = KiB::from_mib(shmem);
        world.memory.files = KiB::from_mib(files);
        assert_eq!(world.step(false), step);
    }
}

fn for_limit(grace: Option<Duration>) -> Progress {
    let aftermath = Aftermath::of(Held::default(), &Memory::default());
    Progress::begin(KillSignal::Term, false, grace, aftermath, Moment::default())
}

#[test]
fn for_the_limit_time_alone_decides() {
    let grace = Some(Duration::from_secs(5));
    let mut world = World::new();
    for (available, scene) in [(500, true), (10, true), (0, false)] {
        world.set(available, 0);
        let scene = scene.then(|| world.scene());
        let mut kill = for_limit(grace);
        let mut next = |millis| {
            let now = Moment::default().after(Duration::from_millis(millis));
            kill.next(now, Seen::Alive, scene.as_ref(), grace)
        };
        assert_eq!(next(4_999), Next::Wait, "{available}");
        assert_eq!(next(5_000), Next::Escalate(Urgency::Grace));
        assert_eq!(next(6_999), Next::Wait);
        assert_eq!(next(7_000), Next::Unkillable);
    }
}

#[test]
fn one_of_the_limit_that_memory_has_taken_over_gets_sigkill_after_its_own_grace() {
    let grace = Some(Duration::from_secs(5));
    let mut world = World::new();
    world.set(500, 0);
    let scene = world.scene();
    assert!(scene.missing() == KiB::ZERO);
    let mut kill = for_limit(grace);
    kill.for_memory = true;
    let mut next = |millis| {
        let now = Moment::default().after(Duration::from_millis(millis));
        kill.next(now, Seen::Alive, Some(&scene), grace)
    };
    assert_eq!(next(4_999), Next::Wait);
    assert_eq!(next(5_000), Next::Escalate(Urgency::Grace));
}

#[test]
fn new_settings_end_a_pause_for_want_of_candidates_and_no_other() {
    let mut world = World::new();
    world.set(80, 0);
    assert_eq!(world.step(true), Step::Choose(KillSignal::Term));
    for seconds in [1, 2, 4] {
        assert_eq!(world.low.alone(&world.memory, world.now), Some(Duration::from_secs(seconds)));
        world.pass(seconds * 1000);
    }
    assert_eq!(world.low.alone(&world.memory, world.now), Some(Duration::from_secs(8)));
    assert_eq!(world.step(true), Step::Wait);
    world.low.reset(&world.config);
    assert_eq!(world.step(true), Step::Choose(KillSignal::Term));
    assert_eq!(world.low.alone(&world.memory, world.now), Some(Duration::from_secs(1)));

    let mut world = World::after_a_useless_kill();
    world.low.reset(&world.config);
    world.pass(100);
    assert_eq!(world.step(true), Step::Wait);
}

#[test]
fn for_the_limit_without_a_grace_one_is_let_off() {
    let mut kill = for_limit(None);
    let at = |millis| Moment::default().after(Duration::from_millis(millis));
    assert_eq!(kill.next(at(4_999), Seen::Alive, None, None), Next::Wait);
    assert_eq!(kill.next(at(5_000), Seen::Alive, None, None), Next::LetOff);
}

#[test]
fn candidates_that_hold_too_little_are_ended_once_they_grow() {
    let mut world = World::new();
    world.set(90, 0);
    // To 200 MiB, twice the level.
    let scene = world.scene();
    assert_eq!(scene.missing(), KiB::from_mib(110));
    world.memory.available = KiB::from_mib(50);
    let worse = world.scene();
    let mut is_in_vain = |mib, scene: &Scene| {
        let eligible = KiB::from_mib(mib);
        world.low.is_in_vain(scene, &Holders { eligible, ..Holders::default() })
    };
    let mut of = |all: &[u64]| all.iter().map(|&mib| is_in_vain(mib, &scene)).collect::<Vec<_>>();
    assert_eq!(of(&[50, 50, 49, 51, 51]), [true, true, true, false, true]);
    // They held enough, and do not any more: that is no growth.
    assert_eq!(of(&[109, 110, 95]), [false, false, true]);
    // Where they hold enough they are not counted to the end.
    assert_eq!(of(&[110]), [false]);
    assert!(is_in_vain(130, &worse));
}

// ---- the writer of a tmpfs ----

/// One that held next to nothing is gone, and 600 MiB stay in tmpfs.
fn after_the_end_of_a_writer() -> World {
    let mut world = World::new();
    world.set(90, 600);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
    world.signal(9, KillSignal::Term, 1);
    world.low.begins(true);
    world.pass(10);
    assert!(matches!(world.step(true), Step::Ended { .. }));
    world.settle(100);
    assert_eq!(world.step(false), Step::FilesStay);
    world
}

#[test]
fn after_the_end_of_a_writer_none_is_ended_as_long_as_nothing_is_taken() {
    let mut world = after_the_end_of_a_writer();
    for _ in 0..100 {
        world.pass(60_000);
        assert_eq!(world.step(false), Step::Wait);
    }
    // What a kill would be called useless for is said of none.
    assert!(world.low.may_end_writer());
}

#[test]
fn after_the_end_of_a_writer_each_thing_that_is_taken_counts() {
    for (available, tmpfs) in [(85, 605), (85, 600)] {
        let mut world = after_the_end_of_a_writer();
        world.pass(2000);
        world.set(available, tmpfs);
        assert_eq!(world.step(false), Step::Choose(KillSignal::Term), "{tmpfs}");
    }
    // Also what is written after something was deleted.
    let mut world = after_the_end_of_a_writer();
    world.set(95, 595);
    world.pass(2000);
    assert_eq!(world.step(false), Step::Wait);
    world.set(90, 600);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn once_memory_is_enough_the_end_of_a_writer_says_nothing_more() {
    let mut world = after_the_end_of_a_writer();
    // About the level, it is not.
    for available in [101, 99, 199, 40] {
        world.memory.available = KiB::from_mib(available);
        assert_eq!(world.step(false), Step::Wait);
        assert!(world.low.may_end_writer());
    }
    world.set(400, 290);
    assert_eq!(world.step(false), Step::Wait);
    assert!(!world.low.may_end_writer());
    world.set(90, 290);
    assert_eq!(world.step(false), Step::Choose(KillSignal::Term));
}

#[test]
fn a_writer_may_be_ended_while_a_useless_kill_is_waited_out_but_not_in_a_dry_run() {
    assert!(World::after_a_useless_kill().low.may_end_writer());
    let mut world = World::new();
    assert!(!world.low.may_end_writer());
    world.low.rehearsed(world.now);
    assert!(!world.low.may_end_writer());
}
