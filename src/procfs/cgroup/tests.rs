use super::oom_group::{path_of, OomGroup};
use super::*;
use crate::memory::low_watermark;
use crate::procfs::fixture::{stat_line, Fixture};
use crate::units::{Identity, Moment};
use std::fs;
use std::path::{self, PathBuf};

const MIB: u64 = 1024 * 1024;

/// The process that is looked at.
fn hog() -> Identity {
    Identity { pid: Pid::new(70).unwrap(), start: 700 }
}

/// A `/proc` and a cgroup file system.
struct World {
    fixture: Fixture,
    proc: Proc,
    dir: tempfile::TempDir,
}

impl World {
    fn new(init: &str) -> World {
        let fixture = Fixture::new();
        fixture.process(1, b"init", 0, 1);
        fixture.write("1/cgroup", init);
        World { proc: fixture.open(), fixture, dir: tempfile::tempdir().unwrap() }
    }

    fn point(&self) -> PathBuf {
        self.dir.path().join("cg")
    }

    fn mount(&self, root: &str, kind: &str) {
        let (point, other) = (self.point(), "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        let mount = format!("30 22 0:26 {root} {} rw,nosuid - {kind}\n", point.display());
        self.fixture.write("self/mountinfo", format!("{other}{mount}"));
    }

    /// Files of version 2.
    fn limit(&self, below: &str, max: &str, current: u64, stat: &str) {
        self.files(
            below,
            &[
                ("memory.max", max),
                ("memory.high", "max"),
                ("memory.current", &current.to_string()),
                ("memory.stat", stat),
                ("memory.swap.max", "max"),
                ("memory.swap.current", "0"),
            ],
        );
    }

    fn files(&self, below: &str, files: &[(&str, &str)]) {
        let directory = self.point().join(below);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), format!("{text}\n")).unwrap();
        }
    }

    fn find(&mut self) -> Option<Cgroup> {
        Cgroup::find(&mut self.proc, None)
    }

    fn named(&mut self, path: impl AsRef<path::Path>) -> Cgroup {
        use std::os::unix::ffi::OsStrExt;
        let path = units::Path::of(path.as_ref().as_os_str().as_bytes());
        Cgroup::find(&mut self.proc, Some(&path)).unwrap()
    }

    fn memory(&mut self, cgroup: &Cgroup) -> Memory {
        self.memory_on(&machine(), cgroup)
    }

    fn memory_on(&mut self, machine: &Memory, cgroup: &Cgroup) -> Memory {
        let own = cgroup.read(&mut self.proc, machine);
        assert_eq!(own.is_err(), cgroup.is_lost());
        let Ok(Some(own)) = own else { return *machine };
        let mut memory = machine.within(&own);
        memory.count_user();
        memory
    }

    fn holds(&mut self, cgroup: &Cgroup, line: &str) -> bool {
        self.fixture.process(70, b"x", 700, 9);
        self.fixture.write("70/cgroup", line);
        let stat = self.proc.stat(Pid::new(70).unwrap()).unwrap();
        cgroup.holds(&mut self.proc, &stat)
    }
}

fn machine() -> Memory {
    let total = KiB::from_mib(4096);
    Memory {
        total,
        machine: total,
        available: KiB::from_mib(3000),
        anon: KiB::from_mib(1000),
        user: KiB::from_mib(4000),
        swap_total: KiB::from_mib(1000),
        swap_free: KiB::from_mib(900),
        ..Memory::default()
    }
}

fn stat(anon: u64, file: u64) -> String {
    let (anon, file) = (anon * MIB, file * MIB);
    format!("anon {anon}\nfile 99\ninactive_file {file}\nactive_file 0\nslab_reclaimable 0\nx")
}

#[test]
fn the_limit_of_a_container_is_its_memory() {
    let mut world = World::new("0::/init.scope\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    world.limit("", &(512 * MIB).to_string(), 300 * MIB, &stat(200, 90));
    let cgroup = world.find().unwrap();
    let memory = world.memory(&cgroup);
    assert_eq!((memory.total, memory.machine), (KiB::from_mib(512), machine().total));
    // A machine of that size keeps 3.5 MiB.
    let reserve = KiB(2896 + 2896 / 4);
    assert_eq!(low_watermark(memory.total), reserve);
    assert_eq!(memory.available, KiB::from_mib(512 - 300 + 90).less(reserve));
    assert_eq!(memory.user, memory.available.plus(KiB::from_mib(200)));
    assert_eq!((memory.swap_total, memory.swap_free), (machine().swap_total, machine().swap_free));
    assert_eq!(cgroup.standing(&memory), Standing::Limited(KiB::from_mib(512)));
    assert!(cgroup.confines(&memory) && !cgroup.confines(&machine()));
}

#[test]
fn of_what_a_cgroup_shares_files_are_what_nobody_has_mapped_whatever_tmpfs_the_guard_sees() {
    let mib = KiB::from_mib;
    for (kind, shmem, mapped, files) in
        [("shmem", 100, 30, 70), ("shmem", 100, 130, 0), ("cache", 100, 30, 0)]
    {
        let mut world = World::new("0::/\n");
        world.mount("/", "cgroup2 cgroup2 rw");
        let amounts = format!("{kind} {}\nfile_mapped {}", shmem * MIB, mapped * MIB);
        let stat = format!("{}\n{amounts}", stat(200, 0).trim_end_matches("\nx"));
        world.limit("", &(512 * MIB).to_string(), 400 * MIB, &stat);
        let cgroup = world.find().unwrap();
        // Other cgroups', some of them swapped out, and its own may be out of sight.
        let mut machine = Memory { shmem: mib(900), slab: mib(5), ..machine() };
        for held in [0, 900] {
            machine.files = mib(held);
            let memory = world.memory_on(&machine, &cgroup);
            assert_eq!((memory.files, memory.unseen), (mib(files), KiB::ZERO));
            let shared = memory.shmem.less(mib(files));
            assert_eq!(memory.user, memory.available.plus(mib(200)).plus(shared));
        }
        // Without a limit it is the machine's.
        world.files("", &[("memory.max", "max")]);
        assert_eq!(world.memory_on(&machine, &cgroup), machine);
    }
}

#[test]
fn a_limit_where_init_is_not_within_is_that_of_a_service() {
    for init in ["0::/../init.scope\n", "0::/..\n", "", "4:memory:/\n"] {
        let mut world = World::new(init);
        world.mount("/", "cgroup2 cgroup2 rw");
        world.limit("", &(64 * MIB).to_string(), 9, &stat(1, 1));
        assert!(world.find().is_none(), "{init}");
    }
}

#[test]
fn the_root_of_all_has_no_limit() {
    let mut world = World::new("0::/\n");
    assert!(world.find().is_none());
    world.mount("/", "cgroup2 cgroup2 rw");
    world.files("", &[("memory.pressure", "")]);
    assert!(world.find().is_none());
    // Of version 1 it has all files, and one more.
    let mut world = World::new("9:cpu,memory:/\n0::/\n");
    world.mount("/", "cgroup cgroup rw,cpu,memory");
    let first = [
        ("memory.limit_in_bytes", "9223372036854771712"),
        ("memory.usage_in_bytes", "9"),
        ("memory.stat", "total_rss 9"),
    ];
    world.files("", &first);
    let cgroup = world.find().unwrap();
    assert_eq!(cgroup.standing(&world.memory(&cgroup)), Standing::Unlimited);
    world.files("", &[("release_agent", "")]);
    assert!(world.find().is_none());
}

#[test]
fn version_1_counts_all_below_and_swap_together_with_memory() {
    let mut world = World::new("4:memory:/docker/77\n0::/\n");
    world.mount("/docker/77", "cgroup cgroup rw,memory");
    let mib = |mib: u64| (mib * MIB).to_string();
    let stat = format!(
        "rss {0}\ninactive_file {0}\nactive_file {0}\nswap {0}\ntotal_rss {1}\ntotal_swap {2}\n\
         total_inactive_file {2}\ntotal_active_file {2}\nshmem {0}\nmapped_file {1}\n\
         total_shmem {2}\ntotal_mapped_file {0}",
        9 * MIB,
        100 * MIB,
        50 * MIB
    );
    world.files(
        "",
        &[
            ("memory.limit_in_bytes", &mib(256)),
            ("memory.usage_in_bytes", &mib(200)),
            ("memory.memsw.limit_in_bytes", &mib(256 + 128)),
            ("memory.stat", &stat),
        ],
    );
    let cgroup = world.find().unwrap();
    let memory = world.memory(&cgroup);
    let available = KiB::from_mib(256 - 200 + 100).less(low_watermark(memory.total));
    assert_eq!((memory.available, memory.anon), (available, KiB::from_mib(100)));
    assert_eq!(memory.swap_total, KiB::from_mib(128));
    assert_eq!(memory.swap_free, KiB::from_mib(128 - 50));
    assert_eq!((memory.shmem, memory.files), (KiB::from_mib(50), KiB::from_mib(50 - 9)));
    assert!(world.holds(&cgroup, "5:cpu:/\n4:memory:/docker/77/a\n0::/x\n"));
    assert!(!world.holds(&cgroup, "5:cpu:/docker/77\n4:memory:/\n0::/docker/77\n"));
}

#[test]
fn what_ends_is_shown_at_the_root_in_version_1_and_is_waited_for() {
    let mut world = World::new("4:memory:/a\n");
    world.mount("/a", "cgroup cgroup rw,memory");
    let file = |name| (name, "0");
    let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"];
    world.files("", &names.map(file));
    let cgroup = world.find().unwrap();
    let leaving = 0x4;
    world.fixture.write("70/stat", stat_line(70, b"x", b'D', leaving, 2, 9));
    world.fixture.write("70/cgroup", "4:memory:/\n");
    let stat = world.proc.stat(Pid::new(70).unwrap()).unwrap();
    assert!(cgroup.holds(&mut world.proc, &stat));
    // A leader that has ended before its threads is where they are.
    world.fixture.write("70/stat", stat_line(70, b"x", b'Z', leaving, 2, 9));
    world.fixture.write("70/task/71/stat", stat_line(71, b"x", b'S', 0, 2, 9));
    world.fixture.write("70/task/71/cgroup", "4:memory:/a\n");
    let stat = world.proc.stat(Pid::new(70).unwrap()).unwrap();
    assert!(cgroup.holds(&mut world.proc, &stat));
    world.fixture.write("70/task/71/cgroup", "4:memory:/b\n");
    assert!(!cgroup.holds(&mut world.proc, &stat));
}

#[test]
fn who_is_within() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    world.limit("web", "max", 9, &stat(1, 1));
    let cgroup = world.named("/web");
    for (line, expected) in [
        ("0::/web", true),
        ("0::/web/worker", true),
        ("3:cpu:/web\n0::/web/odd:name", true),
        ("0::/web2", false),
        ("0::/", false),
        ("0::/other/web", false),
        ("3:memory:/web", false),
        ("", false),
    ] {
        assert_eq!(world.holds(&cgroup, &format!("{line}\n")), expected, "{line}");
    }
    world.fixture.remove("70/cgroup");
    let stat = world.proc.stat(Pid::new(70).unwrap()).unwrap();
    assert!(!cgroup.holds(&mut world.proc, &stat));
}

#[test]
fn paths_beyond_the_root_of_the_namespace_are_outside() {
    for (root, path, expected) in [
        ("/", "/", true),
        ("/", "/..x", true),
        ("/", "/..", false),
        ("/", "/../b", false),
        ("/..", "/", true),
        ("/..", "/a", true),
        ("/..", "/../b", true),
        ("/..", "/../../b", false),
        ("/../b", "/../b/c", true),
        ("/../b", "/b", false),
        ("/../b", "/../../b", false),
    ] {
        assert_eq!(is_at_or_below(root.as_bytes(), path.as_bytes()), expected, "{root} {path}");
    }
}

#[test]
fn a_cgroup_is_named_by_its_directory_or_as_a_process_shows_it() {
    let mut world = World::new("0::/\n");
    world.mount("/docker/77", "cgroup2 cgroup2 rw");
    world.limit("", "max", 9, &stat(1, 1));
    world.limit("web/a", "max", 9, &stat(1, 1));
    for path in ["/docker/77/web/a".into(), world.point().join("web/a")] {
        let cgroup = world.named(&path);
        assert_eq!(cgroup.path(), b"/docker/77/web/a");
        assert_eq!(cgroup.standing(&machine()), Standing::Unlimited);
        assert!(cgroup.confines(&machine()));
    }
    for path in ["/".into(), world.point()] {
        assert_eq!(world.named(path).path(), b"/docker/77");
    }
    for path in ["/web/a", "/docker/77/web/../web/a", "/docker/77/none", "/docker/77//web"] {
        let cgroup = world.named(path);
        assert_eq!(cgroup.standing(&machine()), Standing::Absent, "{path}");
        assert_eq!((cgroup.path(), world.memory(&cgroup)), (path.as_bytes(), machine()));
        assert!(cgroup.confines(&machine()) && !world.holds(&cgroup, "0::/\n"));
    }
    let long = format!("/docker/77/{}", "x/".repeat(500));
    assert_eq!(world.named(long).standing(&machine()), Standing::Absent);
}

#[test]
fn one_that_comes_and_goes_is_found_again() {
    let mut world = World::new("0::/\n");
    let path = units::Path::of(b"/web");
    let mut cgroup = world.named("/web");
    assert!(!cgroup.find_again(&mut world.proc, Some(&path)));
    world.mount("/", "cgroup2 cgroup2 rw");
    world.limit("web", "1048576", 0, &stat(0, 0));
    assert!(cgroup.is_lost() && cgroup.find_again(&mut world.proc, Some(&path)));
    assert!(!cgroup.is_lost());
    assert_eq!(world.memory(&cgroup).total, KiB(1024));
    // As a file of one that was removed: it cannot be read.
    let unreadable = fd::open(b"/\0", Access::Directory).unwrap();
    cgroup.files.as_mut().unwrap().limit = unreadable;
    assert!(cgroup.read(&mut world.proc, &machine()).is_err());
    cgroup.lose();
    assert_eq!(world.memory(&cgroup), machine());
    assert_eq!(cgroup.standing(&machine()), Standing::Absent);
    assert!(cgroup.is_lost() && !world.holds(&cgroup, "0::/web\n"));
    assert!(cgroup.find_again(&mut world.proc, Some(&path)));
    assert!(world.holds(&cgroup, "0::/web\n"));
}

#[test]
fn only_what_makes_sense_limits() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    let unlimited = |world: &mut World| {
        let cgroup = world.find().unwrap();
        world.memory(&cgroup) == machine()
    };
    let stat = stat(20, 5);
    let limit = |world: &World, max: &str| world.limit("", max, 30 * MIB, &stat);
    for max in ["max", "", "-5", "x", "0", "4294967296", "99999999999999999999"] {
        limit(&world, max);
        assert!(unlimited(&mut world), "{max:?}");
        limit(&world, &(64 * MIB).to_string());
        assert!(!unlimited(&mut world));
    }
    for (name, text) in [
        ("memory.current", "x"),
        ("memory.stat", ""),
        ("memory.stat", "anon x\n"),
        ("memory.stat", "file 9\n"),
        ("memory.high", "0"),
    ] {
        limit(&world, &(64 * MIB).to_string());
        world.files("", &[(name, text)]);
        assert!(unlimited(&mut world), "{name}: {text:?}");
    }
}

#[test]
fn the_lower_of_max_and_high_counts_and_nothing_is_more_than_the_machine_has() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    world.limit("", &(2048 * MIB).to_string(), 1100 * MIB, &stat(900, 150));
    let cgroup = world.find().unwrap();
    world.files("", &[("memory.high", &(1024 * MIB).to_string())]);
    world.files("", &[("memory.swap.max", &(100 * MIB).to_string())]);
    world.files("", &[("memory.swap.current", &(101 * MIB).to_string())]);
    let memory = world.memory(&cgroup);
    assert_eq!(memory.total, KiB::from_mib(1024));
    // What is above the limit already is missing; file pages stand against it.
    assert_eq!(memory.available, KiB::from_mib(150).less(low_watermark(memory.total)));
    assert_eq!((memory.swap_total, memory.swap_free), (KiB::from_mib(100), KiB(0)));
    let scarce = Memory { available: KiB::from_mib(7), swap_free: KiB(5), ..machine() };
    world.files("", &[("memory.swap.current", "0")]);
    let scarce = world.memory_on(&scarce, &cgroup);
    assert_eq!((scarce.available, scarce.swap_free), (KiB::from_mib(7), KiB(5)));
    assert_eq!(scarce.user, KiB::from_mib(907));
}

#[test]
fn mounts_are_told_apart_whatever_their_lines_hold() {
    let parts = |line: &str| {
        cgroup_mount(line.as_bytes())
            .map(|(version, root, point)| (version, root.to_vec(), unescaped(point)))
    };
    let two =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate";
    let text = |text: &str| Text::from_bytes(text.as_bytes());
    assert_eq!(parts(two), Some((Version::Two, b"/".to_vec(), text("/sys/fs/cgroup"))));
    let one = r"9 8 0:1 /d\040x /a\134b\011c\1 rw - cgroup cgroup rw,cpuacct,memory";
    let (version, root, point) = parts(one).unwrap();
    assert_eq!(
        (version, unescaped(&root), point),
        (Version::One, text("/d x"), text("/a\\b\tc\\1"))
    );
    for other in [
        "9 8 0:1 / /c rw - cgroup cgroup rw,cpu",
        "9 8 0:1 / /c rw - cgroup cgroup rw,name=memory",
        "9 8 0:1 / /cgroup2 rw - tmpfs cgroup2 rw,memory",
        "9 8 0:1 / /c rw cgroup2",
        "9 8 0:1 / /c rw -",
        "9 8 0:1",
        "",
    ] {
        assert_eq!(parts(other), None, "{other}");
    }
    for len in 0..two.len() {
        let _ = parts(&two[..len]);
    }
}

#[test]
fn of_several_mounts_the_one_for_all_counts_or_the_one_that_was_named() {
    let mut world = World::new("0::/\n");
    let long = "x".repeat(9000);
    let lines = format!(
        "1 1 0:1 /other /a/longer/path rw - cgroup2 cgroup2 rw\n\
         2 1 0:2 / /long rw - overlay overlay lowerdir={long}\n\
         3 1 0:1 /first /cg rw - cgroup2 cgroup2 rw\n\
         4 1 0:1 /over /cg rw - cgroup2 cgroup2 rw\n\
         5 1 0:1 /own /srv/root/cg rw - cgroup2 cgroup2 rw\n"
    );
    world.fixture.write("self/mountinfo", &lines);
    let root = |world: &mut World, path: &str| {
        let mount = Mount::find(&mut world.proc, path.as_bytes(), None);
        String::from_utf8(mount.root.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(root(&mut world, ""), "/over");
    assert_eq!(root(&mut world, "/srv/root/cg/web"), "/own");
    assert_eq!(root(&mut world, "/srv/root/cgx/web"), "/over");
    let hybrid =
        format!("{lines}6 1 0:9 /one /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    world.fixture.write("self/mountinfo", hybrid);
    assert_eq!(root(&mut world, ""), "/one");
    assert_eq!(root(&mut world, "/cg/web"), "/over");
}

// ---- memory.oom.group ----

impl World {
    fn ask(&self, below: &str, value: &str) {
        self.files(below, &[("memory.oom.group", value)]);
    }

    /// The path of the cgroup with which process 70 ends, if it is in `path`.
    fn whole(&mut self, path: &str, domain: Option<&str>) -> Option<String> {
        self.fixture.process(70, b"x", 700, 9);
        self.fixture.write("70/cgroup", format!("3:memory:/v1\n0::{path}\n"));
        let mut oom_group = OomGroup::open(&mut self.proc);
        let told = path_of(&mut self.proc, hog()).unwrap_or(Text::new());
        let found = oom_group.find(told.as_bytes(), domain.map(str::as_bytes));
        found.then(|| String::from_utf8(oom_group.path().to_vec()).unwrap())
    }
}

#[test]
fn the_highest_cgroup_that_asks_for_it_goes_as_a_whole() {
    let mut world = World::new("0::/\n");
    assert_eq!(world.whole("/a", None), None);
    world.mount("/", "cgroup2 cgroup2 rw");
    for (below, value) in [("", "1"), ("a", "0"), ("a/b", "1"), ("a/b/c", "0"), ("a/b/c/d", "1")] {
        world.ask(below, value);
    }
    world.files("a/x", &[]);
    let found = |path: &str| Some(String::from(path));
    for (path, expected) in [
        ("/a/b/c/d", found("/a/b")),
        ("/a/b/c", found("/a/b")),
        ("/a/b", found("/a/b")),
        ("/a/b (deleted)", None),
        ("/a/x", None),
        ("/a", None),
        ("/", None),
        ("", None),
        ("/gone/b", None),
        ("/../a/b", None),
        ("/a/../a/b", None),
        ("/a//b", None),
        ("a/b", None),
    ] {
        assert_eq!(world.whole(path, None), expected, "{path}");
    }
    // Where the memory of one cgroup counts alone, nothing above it goes.
    assert_eq!(world.whole("/a/b/c/d", Some("/a")), found("/a/b"));
    assert_eq!(world.whole("/a/b/c/d", Some("/")), found("/a/b"));
    assert_eq!(world.whole("/a/b/c/d", Some("/a/b/c")), found("/a/b/c/d"));
    assert_eq!(world.whole("/a/b/c", Some("/a/b/c")), None);
    for value in ["", "x", "0", "max"] {
        world.ask("a/b", value);
        assert_eq!(world.whole("/a/b/c", None), None, "{value}");
    }
    world.fixture.write("70/cgroup", "3:memory:/a/b\n");
    let mut oom_group = OomGroup::open(&mut world.proc);
    assert!(!oom_group.find(path_of(&mut world.proc, hog()).unwrap().as_bytes(), None));
    assert!(!oom_group.find(b"/", None) && !oom_group.find(b"", None));
    // Another process has its number.
    assert!(path_of(&mut world.proc, Identity { start: 7, ..hog() }).is_err());
}

#[test]
fn only_cgroups_that_are_seen_below_the_root_of_the_mount_ask() {
    for (root, path, expected) in [
        ("/docker/77", "/docker/77/web", Some("/docker/77/web")),
        ("/docker/77", "/docker/77/web/deeper", Some("/docker/77/web")),
        ("/docker/77", "/docker/77", None),
        ("/docker/77", "/docker/778/web", None),
        ("/docker/77", "/web", None),
        // A guard in a cgroup namespace of its own, with all of the hierarchy.
        ("/../..", "/../../web/a", Some("/../../web")),
        ("/../..", "/../../../web", None),
        ("/../..", "/web", None),
    ] {
        let mut world = World::new("0::/\n");
        world.mount(root, "cgroup2 cgroup2 rw");
        world.ask("", "1");
        world.ask("web", "1");
        assert_eq!(world.whole(path, None).as_deref(), expected, "{root} {path}");
    }
    // Other hierarchies do not count, nor is a path taken for that of the mount.
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup cgroup rw,memory");
    world.ask("web", "1");
    assert_eq!(world.whole("/web", None), None);
    world.mount("/", "cgroup2 cgroup2 rw");
    let named_alike = format!("{}/web", world.point().display());
    assert_eq!(world.whole(&named_alike, None), None);
}

#[test]
fn whatever_a_user_calls_a_cgroup_and_however_deep_it_lies() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    // As they are: nothing is escaped there.
    for name in ["a b", "a:b", "0::", "\\012", "a\tb", "\u{7}", "...", "x (deleted)"] {
        world.ask(name, "1");
        assert_eq!(world.whole(&format!("/{name}/c"), None), Some(format!("/{name}")));
    }
    let deep = "/y".repeat(1500);
    world.ask("top", "1");
    assert_eq!(world.whole(&format!("/top{deep}"), None).as_deref(), Some("/top"));
    // Longer than a file's buffer, as no kernel shows one.
    assert_eq!(world.whole(&format!("/top{}", deep.repeat(2)), None), None);
    // A name that was cut is another one's.
    let (long, last) = ("z".repeat(250), "z".repeat(19));
    let path = format!("/{}/{last}", [&long[..]; 4].join("/"));
    assert_eq!(path.len(), 1024);
    world.ask(&path[1..], "1");
    assert_eq!(world.whole(&path, None).as_ref(), Some(&path));
    assert_eq!(world.whole(&format!("{path}z"), None), None);
}

#[test]
fn a_hierarchy_that_is_mounted_late_is_found_once_a_minute() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup memory rw");
    world.ask("web", "1");
    let mut oom_group = OomGroup::open(&mut world.proc);
    let at = |seconds: u64| Moment(seconds * 1_000_000_000);
    assert!(!oom_group.open_late(&mut world.proc, at(100)));
    world.mount("/", "cgroup2 cgroup2 rw");
    assert!(!oom_group.open_late(&mut world.proc, at(159)) && !oom_group.is_mounted());
    assert!(oom_group.open_late(&mut world.proc, at(160)) && oom_group.is_mounted());
    assert!(oom_group.find(b"/web", None));
    // What was found stays.
    assert!(!oom_group.open_late(&mut world.proc, at(9_000)));
    assert_eq!(oom_group.path(), b"/web");
}

#[test]
fn members_are_those_within_as_long_as_the_cgroup_is_the_same() {
    let mut world = World::new("0::/\n");
    world.mount("/", "cgroup2 cgroup2 rw");
    world.ask("web", "1");
    world.fixture.process(70, b"x", 700, 9);
    world.fixture.write("70/cgroup", "0::/web\n");
    let pid = |number: i64| Pid::new(number).unwrap();
    let mut oom_group = OomGroup::open(&mut world.proc);
    assert_eq!(oom_group.holds(&mut world.proc, pid(70)), Ok(false));
    assert!(oom_group.find(b"/web", None));
    for (path, expected) in
        [("/web", true), ("/web/a/b", true), ("/web2", false), ("/", false), ("/a/web", false)]
    {
        world.fixture.write("71/cgroup", format!("3:memory:/web\n0::{path}\n"));
        assert_eq!(oom_group.holds(&mut world.proc, pid(71)), Ok(expected), "{path}");
    }
    assert_eq!(oom_group.holds(&mut world.proc, pid(72)), Ok(false));
    // It is there, and what it is in cannot be read.
    world.fixture.write("73/cgroup/is/a/directory", "");
    assert!(oom_group.holds(&mut world.proc, pid(73)).is_err());
    // No other can be killed by it than what is there.
    assert!(oom_group.kill_all().is_err());
    world.files("web", &[("cgroup.kill", "0")]);
    assert!(oom_group.kill_all().is_ok());
    assert_eq!(fs::read(world.point().join("web/cgroup.kill")).unwrap(), b"1\n");
    // Removed, and made anew.
    fs::remove_dir_all(world.point().join("web")).unwrap();
    world.ask("web", "1");
    assert_eq!(oom_group.holds(&mut world.proc, pid(70)), Ok(false));
    assert!(oom_group.kill_all().is_err());
}
