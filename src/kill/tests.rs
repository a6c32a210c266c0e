//! The machine through whole events, on a clock of the test's own.

use super::*;
use crate::options::Settings;
use crate::units::Pid;

/// Memory of 1000 MiB; SIGTERM at or below 100 MiB, SIGKILL at or below 50.
struct World {
    machine: Machine,
    config: Config,
    memory: Memory,
    now: Moment,
}

impl World {
    fn new() -> World {
        let config = Config::resolve(Settings::default(), false).unwrap();
        let memory = Memory {
            total: KiB::from_mib(1000),
            available: KiB::from_mib(500),
            anon: KiB::from_mib(500),
            user: KiB::from_mib(1000),
            ..Memory::default()
        };
        World { machine: Machine::new(&config), config, memory, now: Moment(1_000_000_000_000) }
    }

    /// Nothing came back of what was ended, while tmpfs took 120 MiB: it pauses at 60 MiB.
    fn after_a_useless_kill() -> World {
        let mut world = World::new();
        world.set(80, 500);
        world.kill(9, 100);
        world.set(60, 620);
        assert!(matches!(world.step(false), Step::Useless { .. }));
        world
    }

    /// `mib` available; the rest is anonymous but for what tmpfs holds.
    fn set(&mut self, available: u64, tmpfs: u64) {
        self.memory.available = KiB::from_mib(available);
        self.memory.anon = KiB::from_mib(1000 - available - tmpfs);
        self.memory.files = KiB::from_mib(tmpfs);
    }

    fn step(&mut self, victim_gone: bool) -> Step {
        let limits = Limits::of(&self.config, &self.memory);
        let look = Look { now: self.now, memory: &self.memory, limits: &limits, victim_gone };
        self.machine.step(look)
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
    }

    fn signal(&mut self, pid: i64, signal: Deadly, mib: u64) {
        let held = Held { anon: KiB::from_mib(mib), ..Held::default() };
        self.machine.signalled(id(pid), signal, held, &self.memory, self.now);
    }

    /// A victim of `mib` is asked, and is gone 10 ms later.
    fn kill(&mut self, pid: i64, mib: u64) {
        assert_eq!(self.step(false), Step::Choose(Deadly::Term));
        self.signal(pid, Deadly::Term, mib);
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
    assert!(world.machine.is_idle());
}

#[test]
fn sigkill_follows_the_level() {
    let mut world = World::new();
    world.set(90, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
    world.signal(9, Deadly::Term, 300);
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
    world.signal(9, Deadly::Term, 300);
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
    world.signal(9, Deadly::Term, 300);
    world.set(300, 0);
    world.pass(5_000);
    assert_eq!(world.step(false), Step::LetOff { id: id(9) });
    assert_eq!(world.machine.signal_for(id(9), Deadly::Term), Deadly::Kill);
    assert_eq!(world.machine.signal_for(id(8), Deadly::Term), Deadly::Term);
}

#[test]
fn one_that_survives_sigkill_is_left() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
    world.signal(9, Deadly::Kill, 300);
    world.pass(1_999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Stuck { id: id(9) });
    assert!(world.machine.left().contains(id(9)));
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
}

#[test]
fn without_grace_time_alone_kills_nobody() {
    let mut world = World::new();
    world.machine.grace = None;
    world.set(90, 0);
    world.step(false);
    world.signal(9, Deadly::Term, 300);
    world.pass(3_600_000);
    assert_eq!(world.step(false), Step::Wait);
    world.set(300, 0);
    assert_eq!(world.step(false), Step::LetOff { id: id(9) });
}

#[test]
fn memory_that_comes_back_late_is_waited_for() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 300);
    for _ in 0..900 {
        world.pass(10);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.set(380, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.machine.is_idle());
}

#[test]
fn credit_holds_at_the_level_of_sigkill_too() {
    let mut world = World::new();
    world.set(49, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
    world.signal(9, Deadly::Kill, 300);
    world.pass(10);
    world.step(true);
    world.pass(9_000);
    assert_eq!(world.step(false), Step::Wait);
}

#[test]
fn a_further_fall_overrides_the_credit() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 300);
    world.pass(100);
    world.set(70, 0);
    assert_eq!(world.step(false), Step::Wait, "the cooldown still holds");
    world.set(50, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill), "SIGKILL never waits for it");
}

#[test]
fn credit_counts_no_more_than_was_held() {
    let mut world = World::new();
    world.set(60, 0);
    world.kill(9, 20);
    world.set(80, 0);
    world.pass(999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
}

#[test]
fn the_next_sigterm_waits_for_the_cooldown() {
    let mut world = World::new();
    world.set(80, 0);
    world.kill(9, 300);
    world.set(380, 0);
    world.pass(20);
    world.step(false);
    world.set(90, 0);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(980);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
}

#[test]
fn a_kill_that_gives_nothing_back_is_useless_and_pauses_double() {
    let mut world = World::new();
    world.set(40, 900);
    for pause in [10, 20, 40, 80, 160, 300, 300] {
        world.pass(1_000);
        let chosen = world.step(false);
        assert!(matches!(chosen, Step::Choose(_)), "{chosen:?}");
        world.signal(pause as i64, Deadly::Term, 60);
        world.pass(10);
        assert!(matches!(world.step(true), Step::Ended { .. }));
        world.pass(9_999);
        assert_eq!(world.step(false), Step::Wait);
        world.pass(1);
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
fn what_tmpfs_takes_of_a_kill_makes_it_useless() {
    let mut world = World::new();
    world.memory.user = KiB::from_mib(1000);
    world.set(80, 500);
    world.kill(9, 100);
    world.set(60, 620);
    assert!(matches!(world.step(false), Step::Useless { .. }));
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
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
}

#[test]
fn fresh_anonymous_memory_ends_a_pause() {
    let mut world = World::after_a_useless_kill();
    world.pass(1_000);
    assert_eq!(world.step(false), Step::Wait);
    world.set(40, 620);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
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
            assert_eq!(world.step(false), Step::Choose(Deadly::Term));
        } else {
            // Files hold it still: nobody else is ended for that, however long it takes, and
            // wherever memory happens to be when a pause is over.
            for available in [99, 102].repeat(10) {
                world.set(available, 620);
                assert_eq!(world.step(false), Step::Wait);
                world.set(99, 620);
                assert_eq!(world.step(false), Step::Wait);
                world.pass(30_000);
            }
            // Who takes more is another matter.
            world.set(45, 660);
            assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
        }
    }
}

#[test]
fn the_end_of_one_that_had_a_file_in_tmpfs_open_is_useless() {
    for at_last in [99, 102] {
        let mut world = World::new();
        world.set(95, 600);
        assert_eq!(world.step(false), Step::Choose(Deadly::Term));
        let held = Held { anon: KiB(100), shared: KiB::from_mib(500), ..Held::default() };
        world.machine.signalled(id(9), Deadly::Term, held, &world.memory, world.now);
        world.pass(10);
        assert!(matches!(world.step(true), Step::Ended { .. }));
        // A little above the level, and then at it again.
        for (millis, available) in [(10, 102), (2_000, 99), (7_900, 99)] {
            world.pass(millis);
            world.set(available, 600);
            assert_eq!(world.step(false), Step::Wait, "{available}");
        }
        world.pass(200);
        world.set(at_last, 600);
        assert!(matches!(world.step(false), Step::Useless { .. }), "{at_last}");
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
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
}

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

#[test]
fn one_that_gives_memory_back_is_not_stuck_yet() {
    let mut world = World::new();
    world.set(40, 0);
    world.step(false);
    world.signal(9, Deadly::Kill, 900);
    for available in [45, 60, 90] {
        world.pass(2_000);
        world.set(available, 0);
        assert_eq!(world.step(false), Step::Wait);
    }
    world.pass(2_000);
    assert_eq!(world.step(false), Step::Stuck { id: id(9) });
}

#[test]
fn nobody_to_end_is_waited_out_with_growing_patience() {
    let mut world = World::new();
    world.set(40, 0);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
        assert_eq!(world.machine.alone(&world.memory, world.now), Duration::from_secs(wait));
        world.pass(wait * 1000 - 1);
        assert_eq!(world.step(false), Step::Wait);
        world.pass(1);
    }
}

#[test]
fn a_dry_run_names_a_victim_once_a_second() {
    let mut world = World::new();
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
    world.machine.rehearsed(world.now);
    world.pass(999);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
}

impl World {
    /// SIGTERM is due, and process 5 leaves by itself.
    fn with_a_departure() -> World {
        let mut world = World::new();
        world.set(80, 0);
        assert_eq!(world.step(false), Step::Choose(Deadly::Term));
        assert!(world.may_await(5));
        assert_eq!(world.machine.awaited(), Some(id(5)));
        world
    }

    fn may_await(&mut self, pid: i64) -> bool {
        self.machine.may_await(id(pid), &self.memory, self.now)
    }
}

#[test]
fn who_leaves_by_itself_is_waited_for_while_memory_comes_back() {
    let mut world = World::with_a_departure();
    for available in [80, 84, 84, 88, 92] {
        world.set(available, 0);
        world.pass(60);
        assert_eq!(world.step(false), Step::Wait, "{available}");
    }
    // Not available yet, but nobody has it any more.
    world.memory.anon = KiB::from_mib(500);
    world.pass(60);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(99);
    assert_eq!(world.step(false), Step::Wait);
    world.pass(1);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
    assert_eq!(world.machine.awaited(), None);
}

#[test]
fn once_memory_is_back_nobody_is_waited_for() {
    let mut world = World::with_a_departure();
    world.set(300, 0);
    assert_eq!(world.step(false), Step::Wait);
    assert!(world.machine.is_idle());
    // Another event, another one's end.
    world.pass(5000);
    world.set(80, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
    assert!(world.may_await(6));
}

#[test]
fn whoever_takes_memory_meanwhile_is_not_waited_for() {
    let mut world = World::with_a_departure();
    world.set(77, 0);
    assert_eq!(world.step(false), Step::Wait);
    world.set(70, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
    assert!(!world.may_await(5));
    world.set(40, 0);
    assert_eq!(world.step(false), Step::Choose(Deadly::Kill));
}

#[test]
fn what_went_to_swap_did_not_come_back_and_no_wait_is_longer_than_a_second() {
    let mut world = World::with_a_departure();
    world.memory.swap_total = KiB::from_mib(1000);
    for moved in 1..20 {
        world.memory.anon = KiB::from_mib(920 - 10 * moved);
        world.memory.swap_free = KiB::from_mib(1000 - 10 * moved);
        world.pass(10);
        let expected = if moved < 10 { Hope::Left } else { Hope::Lost };
        let departure = world.machine.departure.as_mut().unwrap();
        assert_eq!(departure.hope(&world.memory, world.now), expected, "{moved}");
    }
    let mut world = World::with_a_departure();
    for given in 1..20 {
        world.memory.anon = KiB::from_mib(920 - 10 * given);
        world.pass(60);
        let expected = if given < 17 { Step::Wait } else { Step::Choose(Deadly::Term) };
        assert_eq!(world.step(false), expected, "{given}");
    }
    assert!(world.machine.lingering().contains(id(5)));
}

#[test]
fn many_who_leave_have_no_more_time_than_one() {
    let mut world = World::with_a_departure();
    for pid in 6..10 {
        world.pass(24);
        assert_eq!(world.step(true), Step::Choose(Deadly::Term));
        assert!(world.may_await(pid));
    }
    world.pass(24);
    assert_eq!(world.step(true), Step::Choose(Deadly::Term));
    assert!(!world.may_await(10));
    // After a kill it begins anew.
    world.signal(20, Deadly::Term, 300);
    assert!(world.may_await(11));
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
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
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
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
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
    assert_eq!(world.step(false), Step::Choose(Deadly::Term));
}

#[test]
fn shared_memory_that_a_process_takes_anew_ends_a_pause_and_files_do_not() {
    for (shmem, files, step) in [(700, 700, Step::Wait), (700, 620, Step::Choose(Deadly::Kill))] {
        let mut world = World::after_a_useless_kill();
        world.memory.shmem = KiB::from_mib(620);
        world.pass(1000);
        world.memory.available = KiB::from_mib(40);
        world.memory.shmem = KiB::from_mib(shmem);
        world.memory.files = KiB::from_mib(files);
        assert_eq!(world.step(false), step);
    }
}
