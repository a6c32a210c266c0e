//! Observes memory: all that a look reads, put together into a `Scene`.
//!
//! The one place that reads memory. What is worth a line is handed out as `News`, and neither said
//! nor acted on here.

mod news;

use crate::memory::{Memory, Tmpfs};
use crate::policy::{Level, Limits, Scene};
use crate::procfs::cgroup::{Cgroup, Standing};
use crate::procfs::meminfo::MemInfo;
use crate::procfs::zram::Zram;
use crate::procfs::Proc;
use crate::settings::Config;
use crate::stall::{open_trigger, Stall, Stalls};
use crate::sys::io;
use crate::units::{KiB, Moment};
use news::Untold;
pub use news::{Bounds, News};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// A search for a cgroup that is not there reads all mounts, which more than doubles what a look
/// costs (10 system calls, not 4); a service takes about so long to start.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Looking at every mounted tmpfs costs some hundred microseconds where there are many.
const TMPFS_EVERY: Duration = Duration::from_millis(20);
/// Some managers change a limit every few seconds.
const BETWEEN_BOUNDS: Duration = Duration::from_secs(60);

/// What is open and known of memory, from one look to the next.
pub struct Observer {
    meminfo: MemInfo,
    zram: Zram,
    /// Least `SUnreclaim` that was seen: without many processes it is so much.
    least_slab: KiB,
    /// Its limit counts in place of the machine's memory, while it has one.
    cgroup: Option<Cgroup>,
    /// The largest memory that was seen, of the machine and of the cgroup.
    largest: [KiB; 2],
    /// It is not looked for again before this.
    next_search: Moment,
    tmpfs: Option<Tmpfs>,
    /// `Shmem` when the helper was asked to look at tmpfs, and when it may be asked again.
    shmem_asked: KiB,
    next_tmpfs: Moment,
    /// `None` if none are to be measured, or the kernel tells of none.
    stalls: Option<Stalls>,
    trigger: Option<OwnedFd>,
    /// How the cgroup stood when that was news last, and from when it may be news again.
    told: Option<Standing>,
    next_bounds: Moment,
    /// That the cgroup tells of no stalls was news.
    told_no_stalls: bool,
    untold: Untold,
}

impl Observer {
    /// Opens `/proc/meminfo`, and finds the cgroup that counts in place of the machine. No stalls are measured
    /// until `start`.
    pub fn open(proc: &mut Proc, config: &Config) -> io::Result<Observer> {
        let meminfo = MemInfo::open(proc)?;
        let cgroup = find_cgroup(proc, config);
        // A container without a limit is no news.
        let container = cgroup.as_ref().filter(|cgroup| !cgroup.is_named());
        Ok(Observer {
            meminfo,
            zram: Zram::default(),
            least_slab: KiB(u64::MAX),
            largest: [KiB::ZERO; 2],
            next_search: Moment::default(),
            tmpfs: None,
            shmem_asked: KiB::ZERO,
            next_tmpfs: Moment::default(),
            stalls: None,
            trigger: None,
            told: container.map(|_| Standing::Unlimited),
            next_bounds: Moment::default(),
            told_no_stalls: false,
            untold: Untold::default(),
            cgroup,
        })
    }

    /// Measures stalls from now on, as the settings ask for, and has their beginning wake the guard
    /// if the kernel can.
    pub fn start(&mut self, proc: &Proc, config: &Config) {
        self.measure_stalls(proc, config);
        self.set_trigger(proc, config);
    }

    /// New settings are in force.
    pub fn reconfigure(&mut self, proc: &mut Proc, old: &Config, new: &Config) {
        self.cgroup = find_cgroup(proc, new);
        let is_other = old.choice.cgroup != new.choice.cgroup;
        if is_other {
            (self.told, self.told_no_stalls) = (None, false);
            self.largest[1] = KiB::ZERO;
            (self.next_search, self.next_bounds) = (Moment::default(), Moment::default());
            self.leak_trigger();
        }
        self.set_trigger(proc, new);
        let measured = |config: &Config| (config.asks_for_stalls(), config.thresholds.psi_window);
        if is_other || measured(old) != measured(new) || self.stalls.is_none() {
            self.measure_stalls(proc, new);
        }
    }

    /// One look at memory: that of the machine, or of the cgroup while it has a limit. `Ok(None)`
    /// if what was read makes no sense. One `pread`, one more while stalls are measured, one for
    /// each zram in use, and some of a cgroup.
    pub fn observe(
        &mut self,
        proc: &mut Proc,
        config: &Config,
        now: Moment,
    ) -> io::Result<Option<Scene>> {
        self.look_for_lost_cgroup(proc, config, now);
        let Some(machine) = self.meminfo.read(proc)? else { return Ok(None) };
        self.zram.follow(proc, machine.swap_total);
        self.least_slab = self.least_slab.min(machine.slab);
        let (mut memory, is_removed) = self.account(proc, machine);
        if is_removed {
            self.cgroup.as_mut().map(Cgroup::lose);
        }
        self.largest[usize::from(memory.is_limited())] = memory.largest;
        self.note_bounds(&memory, now);
        let mut limits = Limits::of(config, &memory);
        let read = self.stalls.as_mut().map(|stalls| stalls.read(proc, &memory, &limits, now));
        match read {
            Some(Ok(Stall::Counts(share))) => memory.stall = share,
            Some(Ok(Stall::OfLimit(share))) => self.untold.of_limit = Some(share),
            // The file went with its cgroup.
            Some(Err(_)) => self.measure_stalls(proc, config),
            None => {}
        }
        if self.stalls.is_none() {
            limits.stall.turn_off();
        }
        Ok(Some(Scene::of(now, memory, limits)))
    }

    /// The level by amounts alone, for the middle of a long walk; `None` if it cannot be told.
    /// Changes nothing.
    pub fn glance(&self, proc: &mut Proc, config: &Config) -> Option<Level> {
        let machine = self.meminfo.read(proc).ok()??;
        let (memory, _) = self.account(proc, machine);
        Some(Limits::of(config, &memory).level(memory.available, &memory))
    }

    /// No stall up to now counts any more: it was that of a process which has ended.
    pub fn restart_stalls(&mut self) {
        self.stalls.as_mut().map(Stalls::restart);
    }

    /// The cgroup that may count in place of the machine.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// What tells the beginning of a stall, if the kernel can: to be polled for priority.
    pub fn trigger(&self) -> Option<BorrowedFd<'_>> {
        self.trigger.as_ref().map(AsFd::as_fd)
    }

    /// Polling the trigger has failed: it tells nothing any more.
    pub fn lose_trigger(&mut self) {
        match self.cgroup {
            // It went with a cgroup that was removed, so that closing it waits for nothing.
            Some(_) => self.trigger = None,
            None => self.leak_trigger(),
        }
    }

    /// Calls `ask` if tmpfs should be looked at again, since `Shmem` has moved. If it returns true,
    /// `take_tmpfs` is called later.
    pub fn ask_for_tmpfs(&mut self, scene: &Scene, ask: impl FnOnce() -> bool) {
        let Scene { memory, now, .. } = scene;
        let has_moved = |seen: Tmpfs| {
            let (more, less) = (memory.shmem.less(seen.shmem), seen.shmem.less(memory.shmem));
            more.max(less) > memory.noise()
        };
        // What all tmpfs hold says nothing of a cgroup.
        if !memory.is_limited() && *now >= self.next_tmpfs && self.tmpfs.map_or(true, has_moved) {
            self.next_tmpfs = now.after(TMPFS_EVERY);
            if ask() {
                self.shmem_asked = memory.shmem;
            }
        }
    }

    /// All tmpfs were seen to hold so much, some time after that was asked for.
    pub fn take_tmpfs(&mut self, held: KiB) {
        self.tmpfs = Some(Tmpfs { held, shmem: self.shmem_asked });
    }

    /// Looks at all tmpfs now, which may hang: never in the guard itself. What cannot be seen counts
    /// as files.
    pub fn look_at_tmpfs(&mut self, proc: &mut Proc) {
        let Ok(Some(Memory { shmem, .. })) = self.meminfo.read(proc) else { return };
        self.tmpfs = proc.held_by_tmpfs().ok().map(|held| Tmpfs { held, shmem });
    }

    /// The next thing to be said, if there is one.
    pub fn news(&mut self) -> Option<News<'_>> {
        self.untold.next(self.cgroup.as_ref())
    }

    /// Memory with all that meminfo does not tell, and whether its cgroup was removed.
    fn account(&self, proc: &mut Proc, mut memory: Memory) -> (Memory, bool) {
        memory.count_slabs(self.least_slab);
        if memory.swap_used() > KiB::ZERO {
            memory.compressed = memory.compressed.plus(self.zram.held(proc));
        }
        let own = self.cgroup.as_ref().map_or(Ok(None), |cgroup| cgroup.read(proc, &memory));
        match own {
            Ok(Some(own)) => memory = memory.within(&own),
            _ => memory.count_files(self.tmpfs),
        }
        memory.largest = self.largest[usize::from(memory.is_limited())].max(memory.total);
        memory.count_user();
        (memory, own.is_err())
    }

    /// That of a service goes and comes with it, and so do its stalls.
    fn look_for_lost_cgroup(&mut self, proc: &mut Proc, config: &Config, now: Moment) {
        let lost = self.cgroup.as_mut().filter(|cgroup| cgroup.is_lost());
        let Some(cgroup) = lost.filter(|_| now >= self.next_search) else { return };
        self.next_search = now.after(SEARCH_EVERY);
        if cgroup.find_again(proc, config.choice.cgroup.as_ref()) {
            self.start(proc, config);
        }
    }

    /// It is news when another memory counts than before, but not each time if that changes all the
    /// time.
    fn note_bounds(&mut self, memory: &Memory, now: Moment) {
        let standing = self.cgroup.as_ref().map(|cgroup| cgroup.standing(memory));
        if standing.is_some() && standing != self.told && now >= self.next_bounds {
            (self.told, self.untold.standing) = (standing, standing);
            self.next_bounds = now.after(BETWEEN_BOUNDS);
        }
    }

    /// Measures the stalls of the cgroup, or if it tells of none, the machine's.
    fn measure_stalls(&mut self, proc: &Proc, config: &Config) {
        self.stalls = None;
        if !config.asks_for_stalls() {
            return;
        }
        let open = |cgroup| Stalls::open(proc, cgroup, config.thresholds.psi_window);
        if let Some(cgroup) = &self.cgroup {
            match open(Some(cgroup)) {
                Ok(stalls) => return self.stalls = Some(stalls),
                // That one is not there is other news.
                Err(error) if cgroup.is_named() && !cgroup.is_lost() && !self.told_no_stalls => {
                    self.told_no_stalls = true;
                    self.untold.no_stalls_of_cgroup = Some(error);
                }
                Err(_) => {}
            }
        }
        match open(None) {
            Ok(stalls) => self.stalls = Some(stalls),
            Err(error) => self.untold.no_stalls = Some(error),
        }
    }

    fn set_trigger(&mut self, proc: &Proc, config: &Config) {
        if self.trigger.is_none() && config.watches_memory() {
            self.trigger = open_trigger(proc, self.cgroup.as_ref());
        }
    }

    /// Not closed: that waits in the kernel for all processors to come by once
    /// (`psi_trigger_destroy` in kernel/sched/psi.c), which took 20 s on a busy machine.
    fn leak_trigger(&mut self) {
        self.trigger.take().map(IntoRawFd::into_raw_fd);
    }
}

/// The memory of which cgroup counts in place of the machine's. With `--kernel-oom` of none: the
/// kernel chooses from all there is.
fn find_cgroup(proc: &mut Proc, config: &Config) -> Option<Cgroup> {
    match config.kernel_oom {
        true => None,
        false => Cgroup::find(proc, config.choice.cgroup.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::Fixture;
    use crate::units::Percent;

    const MEMINFO: &str = "MemTotal: 100000 kB\nMemAvailable: 90000 kB\nAnonPages: 5000 kB\n";

    fn config() -> Config {
        Config::default().resolve(false).unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    #[test]
    fn stalls_that_cannot_be_read_any_more_are_not_measured_any_more() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut start = |proc: &Proc| {
            observer.start(proc, &config);
            let tells = matches!(observer.news(), Some(News::NoStalls(_)));
            assert_eq!(tells, observer.stalls.is_none());
            tells
        };
        assert!(start(&proc));
        // It can be opened, but not be read.
        std::fs::create_dir_all(fixture.path("pressure/memory")).unwrap();
        assert!(start(&proc));
        fixture.remove("pressure/memory");
        // It goes with a process, as that of a cgroup goes with the cgroup.
        let mut owner = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fixture.link("pressure/memory", &format!("/proc/{}/stat", owner.id()));
        assert!(!start(&proc));
        let mut look = || observer.observe(&mut proc, &config, at(1)).unwrap().unwrap();
        assert!(look().limits.stall.may_act_at(KiB::ZERO));
        owner.kill().and_then(|()| owner.wait()).unwrap();
        let scene = look();
        assert_eq!(scene.memory.stall, Percent::default());
        assert!(!scene.limits.stall.may_act_at(KiB::ZERO));
        // That is said once.
        assert!(matches!(observer.news(), Some(News::NoStalls(_))));
        observer.observe(&mut proc, &config, at(2)).unwrap();
        assert!(observer.news().is_none());
    }

    #[test]
    fn tmpfs_is_looked_at_again_when_shmem_has_moved() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut look = |millis, shmem: u64, answer: Option<u64>| {
            fixture.write("meminfo", format!("{MEMINFO}Shmem: {shmem} kB\n"));
            let scene = observer.observe(&mut proc, &config, at(millis)).unwrap().unwrap();
            let mut is_asked = false;
            observer.ask_for_tmpfs(&scene, || {
                is_asked = true;
                answer.is_some()
            });
            answer.iter().filter(|_| is_asked).for_each(|&held| observer.take_tmpfs(KiB(held)));
            (scene.memory.files.0, is_asked)
        };
        // As long as it was not looked at, all may be files.
        assert_eq!(look(0, 3000, None), (3000, true));
        assert_eq!(look(19, 3000, None), (3000, false));
        assert_eq!(look(20, 3000, Some(1000)), (3000, true));
        assert_eq!(look(100, 3300, Some(1000)), (1300, false));
        assert_eq!(look(200, 3500, Some(1500)), (1500, true));
        assert_eq!(look(300, 3500, Some(1500)), (1500, false));
        assert_eq!(look(400, 3000, Some(1000)), (1500, true));
    }

    #[test]
    fn a_glance_tells_the_level_by_amounts() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let observer = Observer::open(&mut proc, &config).unwrap();
        assert_eq!(observer.glance(&mut proc, &config), Some(Level::Fine));
        fixture.write("meminfo", MEMINFO.replace("90000", "9000").replace("5000", "90000"));
        assert_eq!(observer.glance(&mut proc, &config), Some(Level::Term));
        fixture.write("meminfo", "");
        assert_eq!(observer.glance(&mut proc, &config), None);
    }
}
