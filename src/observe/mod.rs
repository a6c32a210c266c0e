//! Observes memory: all that a look reads, put together into a `Scene`.
//!
//! The one place that reads memory. What is worth a line is handed out as `News`, and neither said
//! nor acted on here.

mod news;

use crate::memory::{Memory, Tmpfs};
use crate::policy::{Level, Limits, Scene};
use crate::procfs::cgroup::{Cgroup, Standing};
use crate::procfs::meminfo::{Blind, MemInfo};
use crate::procfs::zfs::Zfs;
use crate::procfs::zram::Zram;
use crate::procfs::Proc;
use crate::settings::Config;
use crate::stall::{open_trigger, Stall, Stalls};
use crate::sys::{clock, memory, process};
use crate::units::{KiB, Moment};
use news::Untold;
pub use news::{Bounds, News, Reminder};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// A search for a cgroup that is not there reads all mounts, which more than doubles what a look
/// costs (10 system calls, not 4); a service takes about so long to start.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// What cannot be read for now is tried again after so long.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Looking at every mounted tmpfs costs some hundred microseconds where there are many.
const TMPFS_EVERY: Duration = Duration::from_millis(20);
/// After this the guard has closed a trigger that its child is to close last.
const HOLD_TRIGGER: Duration = Duration::from_secs(1);
/// Some managers change a limit every few seconds.
const BETWEEN_BOUNDS: Duration = Duration::from_secs(60);

/// Says when a long walk over processes is to glance at memory.
#[derive(Default)]
pub struct Glances {
    seen: u32,
}

/// Processes between two glances: a fraction of a millisecond.
const BETWEEN_GLANCES: u32 = 256;

impl Glances {
    /// Called once a process.
    pub fn is_due(&mut self) -> bool {
        self.seen += 1;
        self.seen % BETWEEN_GLANCES == 0
    }
}

/// What is open and known of memory, from one look to the next.
pub struct Observer {
    meminfo: MemInfo,
    zfs: Zfs,
    zram: Zram,
    /// Least `SUnreclaim` that was seen: without many processes it is so much.
    least_slab: KiB,
    /// Its limit counts in place of the machine's memory, while it has one.
    cgroup: Option<Cgroup>,
    /// The largest memory that was seen, of the machine and of the cgroup.
    largest: [KiB; 2],
    /// It is not looked for again before this.
    next_search: Moment,
    tmpfs: SeenTmpfs,
    /// `None` if none are to be measured, or nothing tells of them.
    stalls: Option<Stalls>,
    /// When to try again what told of them before, or what could not be opened for want of something.
    next_stalls: Option<Moment>,
    trigger: Option<OwnedFd>,
    told: Told,
    untold: Untold,
}

/// What all tmpfs were seen to hold.
#[derive(Default)]
struct SeenTmpfs {
    seen: Option<Tmpfs>,
    /// `Shmem` when the helper was asked to look, and when it may be asked again.
    shmem_asked: KiB,
    next: Moment,
}

/// What was news, and is not again for some time.
#[derive(Default)]
struct Told {
    /// How the cgroup stood, and from when it may be news again.
    standing: Option<Standing>,
    next_bounds: Moment,
    /// That the cgroup tells of no stalls.
    no_stalls_of_cgroup: bool,
    /// That nothing tells of disks.
    no_disks: bool,
    no_stalls: Reminder,
    no_scans: Reminder,
}

impl Told {
    /// Nothing, but that a container has no limit: that is no news.
    fn of(cgroup: Option<&Cgroup>) -> Told {
        let container = cgroup.filter(|cgroup| !cgroup.is_named());
        Told { standing: container.map(|_| Standing::Unlimited), ..Told::default() }
    }
}

impl Observer {
    /// Opens `/proc/meminfo`, and finds the cgroup that counts in place of the machine. No stalls are measured
    /// until `start`.
    pub fn open(proc: &mut Proc, config: &Config) -> Result<Observer, Blind> {
        let meminfo = MemInfo::open(proc)?;
        let cgroup = find_cgroup(proc, config);
        Ok(Observer {
            zfs: Zfs::find(proc, &meminfo),
            meminfo,
            zram: Zram::default(),
            least_slab: KiB(u64::MAX),
            largest: [KiB::ZERO; 2],
            next_search: Moment::default(),
            tmpfs: SeenTmpfs::default(),
            stalls: None,
            next_stalls: None,
            trigger: None,
            told: Told::of(cgroup.as_ref()),
            untold: Untold::default(),
            cgroup,
        })
    }

    /// Measures stalls from now on, as the settings ask for, and has their beginning wake the guard
    /// if the kernel can.
    pub fn start(&mut self, proc: &Proc, config: &Config, now: Moment) {
        self.measure_stalls(proc, config, now);
        self.set_trigger(proc, config);
    }

    /// New settings are in force.
    pub fn reconfigure(&mut self, proc: &mut Proc, (old, new): (&Config, &Config), now: Moment) {
        // Another one may have been laid over it, which the open one does not show.
        if let Ok(meminfo) = MemInfo::open(proc) {
            self.meminfo = meminfo;
        }
        (self.zfs, self.zram) = (Zfs::find(proc, &self.meminfo), Zram::default());
        let cgroup = find_cgroup(proc, new);
        // The option may be the same, and what is found another one.
        let is_other = cgroup.as_ref().map(Cgroup::mark) != self.cgroup.as_ref().map(Cgroup::mark);
        self.cgroup = cgroup;
        if is_other {
            (self.told, self.next_search) = (Told::of(self.cgroup.as_ref()), Moment::default());
            self.largest[1] = KiB::ZERO;
            self.close_trigger();
        }
        self.set_trigger(proc, new);
        let is_measured = Config::asks_for_stalls;
        if is_other || is_measured(old) != is_measured(new) || self.stalls.is_none() {
            (self.next_stalls, self.told.no_stalls) = (None, Reminder::default());
            self.measure_stalls(proc, new, now);
        }
    }

    /// One look at memory: that of the machine, or of the cgroup while it has a limit. One `pread`, two
    /// more while stalls are measured, one for each zram in use, one of ZFS, and some of a cgroup; while
    /// memory is short, `vmstat` is opened, read and closed. What cannot be read any more is opened anew
    /// by its path.
    pub fn observe(
        &mut self,
        proc: &mut Proc,
        config: &Config,
        now: Moment,
    ) -> Result<Scene, Blind> {
        let machine = self.meminfo.read_or_reopen(proc)?;
        self.zram.follow(proc, machine.swap_total);
        self.least_slab = self.least_slab.min(machine.slab);
        let (mut memory, lost) = self.account(proc, machine);
        if self.open_anew(proc, config, lost, now) {
            self.zram.follow(proc, machine.swap_total);
            (memory, _) = self.account(proc, machine);
        }
        self.largest[usize::from(memory.is_limited())] = memory.largest;
        self.note_bounds(&memory, now);
        let mut limits = Limits::of(config, &memory);
        let read = self.stalls.as_mut().map(|stalls| stalls.read(proc, &memory, &limits, now));
        match read {
            Some(Ok(Stall::Counts(share))) => memory.stall = share,
            Some(Ok(Stall::OfLimit(share))) => self.untold.of_limit = Some(share),
            // The file went with its cgroup, or with its server.
            Some(Err(_)) => self.measure_stalls(proc, config, now),
            None => self.try_stalls_again(proc, config, now),
        }
        self.note_unread_scans(now);
        if self.stalls.is_none() {
            limits.stall.turn_off();
        }
        Ok(Scene::of(now, memory, limits))
    }

    /// The level by amounts alone, for the middle of a long walk; `None` if it cannot be told.
    /// Changes nothing.
    pub fn glance(&self, proc: &mut Proc, config: &Config) -> Option<Level> {
        let machine = self.meminfo.read(proc).ok()?;
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
        // It went with its cgroup or its server, so that closing it waits for nothing.
        self.trigger = None;
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
        if !memory.is_limited()
            && *now >= self.tmpfs.next
            && self.tmpfs.seen.map_or(true, has_moved)
        {
            self.tmpfs.next = now.after(TMPFS_EVERY);
            if ask() {
                self.tmpfs.shmem_asked = memory.shmem;
            }
        }
    }

    /// All tmpfs were seen to hold so much, some time after that was asked for.
    pub fn take_tmpfs(&mut self, held: KiB) {
        self.tmpfs.seen = Some(Tmpfs { held, shmem: self.tmpfs.shmem_asked });
    }

    /// Looks at all tmpfs now, which may hang: never in the guard itself. What cannot be seen counts
    /// as files.
    pub fn look_at_tmpfs(&mut self, proc: &mut Proc) {
        let Ok(Memory { shmem, .. }) = self.meminfo.read(proc) else { return };
        self.tmpfs.seen = proc.held_by_tmpfs().ok().map(|held| Tmpfs { held, shmem });
    }

    /// The next thing to be said, if there is one.
    pub fn news(&mut self) -> Option<News<'_>> {
        self.untold.next(self.cgroup.as_ref())
    }

    /// Memory with all that meminfo does not tell, and what could not be read.
    fn account(&self, proc: &mut Proc, mut memory: Memory) -> (Memory, Lost) {
        let mut lost = Lost::default();
        memory.count_slabs(self.least_slab);
        match self.zfs.spare(proc) {
            Ok(spare) => memory.count_arc(spare),
            Err(_) => lost.of_machine = true,
        }
        if memory.swap_used() > KiB::ZERO {
            let (held, is_lost) = self.zram.held(proc);
            memory.compressed = memory.compressed.plus(held);
            lost.of_machine |= is_lost;
        }
        let own = self.cgroup.as_ref().map_or(Ok(None), |cgroup| cgroup.read(proc, &memory));
        match own {
            Ok(Some(own)) => memory = memory.within(&own),
            _ => memory.count_files(self.tmpfs.seen),
        }
        memory.largest = self.largest[usize::from(memory.is_limited())].max(memory.total);
        memory.count_user();
        lost.cgroup = own.is_err();
        (memory, lost)
    }

    /// Looks anew for what is lost, once a second: a cgroup of a service goes and comes with it, and so
    /// do its stalls. True if it has looked.
    fn open_anew(&mut self, proc: &mut Proc, config: &Config, lost: Lost, now: Moment) -> bool {
        if lost.cgroup {
            self.cgroup.as_mut().map(Cgroup::lose);
        }
        if lost == Lost::default() || now < self.next_search {
            return false;
        }
        self.next_search = now.after(SEARCH_EVERY);
        // What can be read stays open: opening it anew may fail.
        if lost.of_machine {
            (self.zfs, self.zram) = (Zfs::find(proc, &self.meminfo), Zram::default());
        }
        let cgroup = self.cgroup.as_mut().filter(|cgroup| cgroup.is_lost());
        if cgroup.is_some_and(|cgroup| cgroup.find_again(proc, config.choice.cgroup.as_ref())) {
            self.start(proc, config, now);
        }
        true
    }

    /// It is news when another memory counts than before, but not each time if that changes all the
    /// time.
    fn note_bounds(&mut self, memory: &Memory, now: Moment) {
        let standing = self.cgroup.as_ref().map(|cgroup| cgroup.standing(memory));
        if standing.is_some() && standing != self.told.standing && now >= self.told.next_bounds {
            (self.told.standing, self.untold.standing) = (standing, standing);
            self.told.next_bounds = now.after(BETWEEN_BOUNDS);
        }
    }

    fn note_unread_scans(&mut self, now: Moment) {
        match self.stalls.as_ref().and_then(Stalls::unread) {
            Some(error) if self.told.no_scans.is_due(now) => self.untold.no_scans = Some(error),
            Some(_) => {}
            None => drop(self.told.no_scans.end()),
        }
    }

    /// Measures the stalls of the cgroup, or if it tells of none, the machine's.
    fn measure_stalls(&mut self, proc: &Proc, config: &Config, now: Moment) {
        let was_measured = self.stalls.take().is_some();
        if !config.asks_for_stalls() {
            return;
        }
        if let Some(cgroup) = &self.cgroup {
            match Stalls::open(proc, Some(cgroup)) {
                Ok(stalls) => return self.begin_stalls(stalls),
                // That one is not there is other news.
                Err(error)
                    if cgroup.is_named() && !cgroup.is_lost() && !self.told.no_stalls_of_cgroup =>
                {
                    self.told.no_stalls_of_cgroup = true;
                    self.untold.no_stalls_of_cgroup = Some(error);
                }
                Err(_) => {}
            }
        }
        match Stalls::open(proc, None) {
            Ok(stalls) => self.begin_stalls(stalls),
            Err(error) => {
                if was_measured || error.is_shortage() {
                    self.next_stalls = Some(now.after(TRY_EVERY));
                }
                if self.told.no_stalls.is_due(now) {
                    self.untold.no_stalls = Some(error);
                }
            }
        }
    }

    fn begin_stalls(&mut self, stalls: Stalls) {
        if let Some(error) = stalls.without_disks() {
            if !std::mem::replace(&mut self.told.no_disks, true) {
                self.untold.no_disks = Some(error);
            }
        }
        (self.stalls, self.next_stalls) = (Some(stalls), None);
        self.untold.stalls_again = self.told.no_stalls.end();
    }

    fn try_stalls_again(&mut self, proc: &Proc, config: &Config, now: Moment) {
        if self.next_stalls.is_some_and(|next| now >= next) {
            self.next_stalls = Some(now.after(TRY_EVERY));
            self.start(proc, config, now);
        }
    }

    fn set_trigger(&mut self, proc: &Proc, config: &Config) {
        if self.trigger.is_none() && config.watches_memory() {
            self.trigger = open_trigger(proc, self.cgroup.as_ref());
        }
    }

    /// Has a child hold it last and close it by its end: that waits in the kernel for all processors
    /// to come by once (`psi_trigger_destroy` in kernel/sched/psi.c), which took 20 s on a busy
    /// machine. Without a child it stays open.
    fn close_trigger(&mut self) {
        let Some(trigger) = self.trigger.take() else { return };
        let child = process::split(Some(trigger.as_fd()), || {
            clock::sleep(HOLD_TRIGGER);
            0
        });
        if child.is_err() {
            let _ = trigger.into_raw_fd();
            return;
        }
        drop(trigger);
        // As after each fork (`Helper::spawn`).
        let _ = memory::touch_all(memory::WATCH);
    }
}

/// What should be there and could not be read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Lost {
    cgroup: bool,
    of_machine: bool,
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

    /// All stalls up to now are `total` microseconds.
    fn pressure(total: u64) -> String {
        format!("full avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n")
    }

    #[test]
    fn a_kernel_without_pressure_information_is_asked_once() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        assert!(matches!(observer.news(), Some(News::NoStalls(_))));
        // What comes later is not looked for.
        fixture.write("pressure/memory", pressure(0));
        let scene = observer.observe(&mut proc, &config, at(100_000)).unwrap();
        assert!(observer.news().is_none());
        assert!(!scene.limits.stall.may_act_at(KiB::ZERO));
    }

    #[test]
    fn stalls_that_cannot_be_read_any_more_are_looked_for_each_second_which_is_said_each_minute() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        fixture.write("pressure/io", pressure(0).replace("full", "some"));
        let server = fixture.serve("pressure/memory", &pressure(0));
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        let mut look = |millis| {
            let scene = observer.observe(&mut proc, &config, at(millis)).unwrap();
            let said = observer.news().map(|news| news.to_string()).unwrap_or_default();
            (scene.limits.stall.may_act_at(KiB::ZERO), said)
        };
        assert_eq!(look(1), (true, String::new()));
        server.end();
        // Its path leads to another one by now: nothing is lost.
        let server = fixture.serve("pressure/memory", &pressure(0));
        assert_eq!(look(2), (true, String::new()));
        server.end();
        let blind = "no pressure information (ENOENT (not found)): stalls are not noticed";
        let (acts, said) = look(3);
        assert!(!acts && said.starts_with(blind), "{said}");
        (1..60).for_each(|second| assert_eq!(look(second * 1000), (false, String::new())));
        let (acts, said) = look(60_100);
        assert!(!acts && said.starts_with(blind), "{said}");
        fixture.remove("pressure/memory");
        fixture.write("pressure/memory", pressure(0));
        // Not at each look.
        assert_eq!(look(60_200), (false, String::new()));
        let (acts, said) = look(61_200);
        assert!(acts && said.starts_with("pressure information is back"), "{said}");
        assert_eq!(look(61_300), (true, String::new()));
    }

    #[test]
    fn that_there_is_no_pressure_of_disks_is_said_once() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let server = fixture.serve("pressure/memory", &pressure(0));
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        let said = observer.news().map(|news| news.to_string()).unwrap_or_default();
        assert!(said.starts_with("no pressure information of disks (ENOENT"), "{said}");
        // Opened anew, it is no news.
        server.end();
        let _server = fixture.serve("pressure/memory", &pressure(0));
        observer.observe(&mut proc, &config, at(1)).unwrap();
        assert!(observer.news().is_none());
    }

    #[test]
    fn that_vmstat_cannot_be_read_is_said_each_minute() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO.replace("90000", "900").replace("5000", "90000"));
        fixture.write("pressure/memory", pressure(0));
        fixture.write("pressure/io", pressure(0).replace("full", "some"));
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        let mut look = |second: u64| {
            fixture.write("pressure/memory", pressure(second * 500_000));
            fixture.write("pressure/io", pressure(second * 500_000).replace("full", "some"));
            observer.observe(&mut proc, &config, at(second * 1000)).unwrap();
            observer.news().map(|news| news.to_string()).unwrap_or_default()
        };
        let said = (1..=121).filter(|&second| !look(second).is_empty()).collect::<Vec<_>>();
        assert_eq!(said, [1, 61, 121]);
        assert!(look(181).starts_with("cannot read /proc/vmstat (ENOENT (not found)): "));
        fixture.write("vmstat", "pgscan_kswapd 1\npgscan_direct 1\n");
        assert_eq!(look(200), "");
        fixture.remove("vmstat");
        // It is read again when what was counted is too old.
        assert!(!look(212).is_empty());
    }

    #[test]
    fn a_meminfo_that_cannot_be_read_or_makes_no_sense_is_opened_anew_at_each_look() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        let server = fixture.serve("meminfo", MEMINFO);
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut look = || observer.observe(&mut proc, &config, at(0));
        assert!(look().is_ok());
        server.end();
        assert!(matches!(look(), Err(Blind::Unreadable(_))));
        assert!(matches!(look(), Err(Blind::Unreadable(_))));
        let other = MEMINFO.replace("90000", "80000");
        let server = fixture.serve("meminfo", &other);
        assert_eq!(look().unwrap().memory.available, KiB(80_000));
        server.end();
        let server = fixture.serve("meminfo", "nonsense\n");
        assert!(matches!(look(), Err(Blind::Lacks("MemTotal"))));
        // Another one was laid over it, which the old descriptor does not show.
        let _other = fixture.serve("meminfo", MEMINFO);
        assert!(look().is_ok());
        drop(server);
    }

    #[test]
    fn the_cache_of_zfs_is_available_also_after_its_file_was_replaced() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO.replace("90000", "9000").replace("5000", "90000"));
        let arcstats = |kib: u64| format!("c_min 4 1024\nsize 4 {}\n", (kib + 1) * 1024);
        let server = fixture.serve("spl/kstat/zfs/arcstats", &arcstats(50_000));
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut second = 0;
        let mut available = |observer: &mut Observer, proc: &mut Proc| {
            second += 1;
            observer.observe(proc, &config, at(second * 1000)).unwrap().memory.available
        };
        assert_eq!(available(&mut observer, &mut proc), KiB(59_000));
        assert_eq!(observer.glance(&mut proc, &config), Some(Level::Fine));
        server.end();
        let server = fixture.serve("spl/kstat/zfs/arcstats", &arcstats(40_000));
        assert_eq!(available(&mut observer, &mut proc), KiB(49_000));
        // Never more than there is.
        drop(server);
        let server = fixture.serve("spl/kstat/zfs/arcstats", &arcstats(900_000));
        assert_eq!(available(&mut observer, &mut proc), KiB(100_000));
        // Where it is gone, it gives nothing back.
        server.end();
        assert_eq!(available(&mut observer, &mut proc), KiB(9000));
        assert_eq!(observer.glance(&mut proc, &config), Some(Level::Term));
        // What comes later counts from a reload on.
        fixture.remove("spl/kstat/zfs/arcstats");
        fixture.write("spl/kstat/zfs/arcstats", arcstats(50_000));
        assert_eq!(available(&mut observer, &mut proc), KiB(9000));
        observer.reconfigure(&mut proc, (&config, &config), at(0));
        assert_eq!(available(&mut observer, &mut proc), KiB(59_000));
    }

    #[test]
    fn what_is_there_and_cannot_be_opened_is_tried_again_each_second() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", format!("{MEMINFO}SwapTotal: 9 kB\nSwapFree: 8 kB\n"));
        // A link to itself cannot be opened, nor a directory be read.
        fixture.write("spl/kstat/zfs/other", "");
        fixture.link("spl/kstat/zfs/arcstats", "arcstats");
        fixture.write("swaps/other", "");
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut look = |millis| {
            let memory = observer.observe(&mut proc, &config, at(millis)).unwrap().memory;
            (memory.arc, observer.zram.held(&mut proc).1)
        };
        assert_eq!(look(0), (KiB::ZERO, true));
        fixture.remove("spl/kstat/zfs/arcstats");
        fixture.write("spl/kstat/zfs/arcstats", "c_min 4 1024\nsize 4 3072\n");
        fixture.remove("swaps");
        fixture.write("swaps", "Filename\n");
        assert_eq!(look(999), (KiB::ZERO, true));
        assert_eq!(look(1000), (KiB(2), false));
        // A reload looks for all of it.
        fixture.remove("swaps");
        fixture.write("swaps/other", "");
        assert_eq!(look(9000), (KiB(2), false));
        observer.reconfigure(&mut proc, (&config, &config), at(9000));
        observer.observe(&mut proc, &config, at(9000)).unwrap();
        assert!(observer.zram.held(&mut proc).1);
    }

    #[test]
    fn a_cgroup_of_which_any_file_cannot_be_read_any_more_is_opened_anew() {
        for lost in FILES_OF_CGROUP.map(|(name, _)| name) {
            let fixture = Fixture::new();
            let mut proc = fixture.open();
            fixture.write("meminfo", format!("{MEMINFO}SwapTotal: 900 kB\nSwapFree: 900 kB\n"));
            set_cgroup(&fixture, "/web");
            let mut config = config();
            config.choice.cgroup = Some(crate::units::Path::of(b"/web"));
            let text = FILES_OF_CGROUP.into_iter().find(|&(name, _)| name == lost).unwrap().1;
            let file = format!("cg/web/{lost}");
            // An amount is the first word of its file; here it would be one of the arguments.
            let server = fixture.serve(&file, text);
            let mut observer = Observer::open(&mut proc, &config).unwrap();
            let look = |observer: &mut Observer, proc: &mut Proc, millis| {
                let memory = observer.observe(proc, &config, at(millis)).unwrap().memory;
                (memory.total, memory.swap_total, memory.swap_free)
            };
            look(&mut observer, &mut proc, 0);
            server.end();
            // Opened anew in vain: the machine's counts.
            let machine = (KiB(100_000), KiB(900), KiB(900));
            fixture.remove(&file);
            fixture.link(&file, lost);
            assert_eq!(look(&mut observer, &mut proc, 1000), machine, "{lost}");
            assert!(observer.cgroup().unwrap().is_lost());
            fixture.remove(&file);
            fixture.write(&file, text);
            assert_eq!(look(&mut observer, &mut proc, 1999), machine, "{lost}");
            let expected = (KiB(50_000), KiB(600), KiB(500));
            assert_eq!(look(&mut observer, &mut proc, 2000), expected, "{lost}");
        }
    }

    const FILES_OF_CGROUP: [(&str, &str); 6] = [
        ("memory.max", "61440000\n"),
        ("memory.high", "51200000\n"),
        ("memory.current", "10240000\n"),
        ("memory.stat", "anon 1024000\n"),
        ("memory.swap.max", "614400\n"),
        ("memory.swap.current", "102400\n"),
    ];

    /// A cgroup with a limit of 50,000 KiB, which can be mounted, and holds init.
    fn set_cgroup(fixture: &Fixture, name: &str) {
        fixture.process(1, b"init", 0, 1);
        fixture.write("1/cgroup", "0::/\n");
        let mount = format!("30 22 0:26 / {} rw - cgroup2 none rw\n", fixture.path("cg"));
        fixture.write("self/mountinfo", mount);
        for (file, text) in FILES_OF_CGROUP {
            fixture.write(&format!("cg{name}/{file}"), text);
        }
        fixture.write(&format!("cg{name}/memory.pressure"), pressure(0));
    }

    #[test]
    fn what_is_said_of_a_cgroup_that_is_gone_tells_a_container_from_a_named_one() {
        for (named, expected, is_doubtful) in [
            (None, "cgroup / cannot be read now, so the machine's memory counts", false),
            (Some("/"), "--cgroup: /: there is no such cgroup with", true),
        ] {
            let fixture = Fixture::new();
            let mut proc = fixture.open();
            fixture.write("meminfo", MEMINFO);
            set_cgroup(&fixture, "");
            let mut config = config();
            config.choice.cgroup = named.map(|path| crate::units::Path::of(path.as_bytes()));
            let mut observer = Observer::open(&mut proc, &config).unwrap();
            let mut look = |observer: &mut Observer, millis| {
                observer.observe(&mut proc, &config, at(millis)).unwrap();
                match observer.news() {
                    Some(News::Bounds(bounds)) => (bounds.to_string(), bounds.is_doubtful()),
                    _ => panic!("no news of the cgroup"),
                }
            };
            assert!(look(&mut observer, 0).0.contains("48 MiB counts"));
            fixture.remove("cg");
            // What is open is readable still.
            observer.cgroup.as_mut().unwrap().lose();
            let (said, doubt) = look(&mut observer, 60_000);
            assert!(said.starts_with(expected) && doubt == is_doubtful, "{said}");
        }
    }

    #[test]
    fn a_reload_takes_over_what_is_found_whether_the_option_changed_or_not() {
        let fixture = Fixture::new();
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        fixture.write("pressure/memory", pressure(0));
        let stall = |observer: &mut Observer, proc: &mut Proc, config: &Config, second: u64| {
            fixture.write("pressure/memory", pressure(second * 200_000));
            observer.observe(proc, config, at(second * 1000)).unwrap().memory.stall
        };
        // A named one that comes later, which the reload finds and no look.
        let mut config = config();
        config.choice.cgroup = Some(crate::units::Path::of(b"/web"));
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        stall(&mut observer, &mut proc, &config, 1);
        assert!(stall(&mut observer, &mut proc, &config, 2) > Percent::default());
        set_cgroup(&fixture, "/web");
        observer.reconfigure(&mut proc, (&config, &config), at(2000));
        (3..5).for_each(|second| {
            assert_eq!(stall(&mut observer, &mut proc, &config, second), Percent::default());
        });
        // That of a container, which does not count with `--kernel-oom`.
        set_cgroup(&fixture, "");
        config.choice.cgroup = None;
        let kernel = Config { kernel_oom: true, ..self::config() };
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        observer.start(&proc, &config, at(0));
        (1..3).for_each(|second| {
            assert_eq!(stall(&mut observer, &mut proc, &config, second), Percent::default());
        });
        observer.reconfigure(&mut proc, (&config, &kernel), at(3000));
        stall(&mut observer, &mut proc, &kernel, 4);
        assert!(stall(&mut observer, &mut proc, &kernel, 5) > Percent::default());
    }

    #[test]
    fn tmpfs_is_looked_at_again_when_shmem_has_moved() {
        let (fixture, config) = (Fixture::new(), config());
        let mut proc = fixture.open();
        fixture.write("meminfo", MEMINFO);
        let mut observer = Observer::open(&mut proc, &config).unwrap();
        let mut look = |millis, shmem: u64, answer: Option<u64>| {
            fixture.write("meminfo", format!("{MEMINFO}Shmem: {shmem} kB\n"));
            let scene = observer.observe(&mut proc, &config, at(millis)).unwrap();
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
