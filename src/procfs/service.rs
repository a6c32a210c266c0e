//! Which cgroup and which service a process belongs to.
//!
//! A hook of root's may restart the service that it is told of. So only names that root chose
//! count: any user names own processes at will, and cgroups below one that was delegated.

use super::cgroup::Membership;
use super::mountinfo::LongPath;
use super::stat::Stat;
use super::Proc;
use crate::bytes::{AnyBuf, Buf};
use crate::sys::io;
use crate::units::Pid;

/// The longest name of a unit has 255 bytes (`UNIT_NAME_MAX` in systemd's basic/unit-def.h), and so
/// has that of a file.
const NAME: usize = 255;
pub type Service = Buf<NAME>;
/// Slices of people and containers: what runs there has managers of its own, and names that they
/// chose (systemd.special(7)).
const OTHERS: [&[u8]; 3] = [b"user.slice", b"machine.slice", b"capsule.slice"];
/// Their managers, wherever they run: with such a service all that a user runs would be restarted.
const MANAGERS: [&[u8]; 2] = [b"user@", b"capsule@"];
/// The same of OpenRC (init.d/user.in).
const OPENRC_MANAGER: &[u8] = b"user.";
/// Units alone are called so: a name tells what manages it.
const UNIT: &[u8] = b".service";
/// Ancestors that are looked at.
const ANCESTORS: usize = 64;
/// Where no user can put a file: programs, and directories of services.
const PROGRAMS: [&[u8]; 3] = [b"/usr/", b"/bin/", b"/sbin/"];
const SERVICES: [&[u8]; 2] = [b"/etc/", b"/usr/"];

impl Proc {
    /// The path of a cgroup, and the name of a service, of the process that `stat` shows. Nothing
    /// for what it has not. Reads files and links of `/proc`, and looks up none elsewhere.
    pub fn cgroup_and_service(
        &mut self,
        stat: &Stat,
        cgroup: &mut AnyBuf,
        service: &mut AnyBuf,
    ) -> io::Result<()> {
        // In version 1 it is shown at the root then (`proc_cgroup_show` in kernel/cgroup/cgroup.c).
        let is_ending = stat.is_gone() || stat.is_leaving();
        self.for_each_cgroup(stat.id.pid, &mut |line| {
            if is_ending && !line.unified {
                return;
            }
            // A controller of version 1 that is not in use leaves everything at the root.
            if matches!(cgroup.as_bytes(), b"" | b"/") || (line.unified && line.path != b"/") {
                cgroup.clear();
                cgroup.push(line.path);
            }
            if let (true, Some(name)) = (service.is_empty(), of_cgroup(&line)) {
                service.push(name);
            }
        })?;
        if service.is_empty() {
            // If its ancestors cannot be read, the process is in no service.
            let _ = self.service_of_runit(stat, service);
        }
        Ok(())
    }

    /// runit makes no cgroups: each service is a child of a `runsv`, which works in the directory
    /// of the service. The nearest one decides, and if it is not root's there is none.
    fn service_of_runit(&mut self, stat: &Stat, service: &mut AnyBuf) -> io::Result<()> {
        let mut ppid = stat.ppid;
        for _ in 0..ANCESTORS {
            let Some(parent) = Pid::new(ppid.into()) else { break };
            let parent = self.stat(parent)?;
            if parent.comm.as_bytes() == b"runsv" {
                let (mut program, mut directory) = (LongPath::new(), LongPath::new());
                self.executable(&parent, &mut program)?;
                self.working_directory(parent.id.pid, &mut directory)?;
                if is_runsv(program.as_bytes()) && self.is_roots_beside_init(&parent) {
                    service.push(of_directory(directory.as_bytes()).unwrap_or_default());
                }
                break;
            }
            ppid = parent.ppid;
        }
        Ok(())
    }
}

/// The service that a cgroup is that of, if it lies in a hierarchy of services.
pub fn of_cgroup<'a>(line: &Membership<'a>) -> Option<&'a [u8]> {
    let path = line.path.strip_prefix(b"/")?;
    let service = match line.controllers {
        b"" if path.starts_with(b"openrc.") => of_openrc(&path[7..]),
        b"" | b"name=systemd" => of_systemd(path),
        // Deeper lie those of container managers.
        b"name=openrc" if !path.contains(&b'/') => of_openrc(path),
        _ => None,
    };
    service.filter(|name| is_name(name))
}

/// The outermost unit below the slices, if it is a service: what lies within, it has named itself
/// (`Delegate=` in systemd.resource-control(5)). A scope holds what systemd did not start.
fn of_systemd(path: &[u8]) -> Option<&[u8]> {
    let mut parts = path.split(|&byte| byte == b'/');
    loop {
        // One is put before a name that would be the kernel's (`cg_escape` in
        // basic/cgroup-util.c of systemd).
        let part = parts.next()?;
        let part = part.strip_prefix(b"_").unwrap_or(part);
        if part.ends_with(UNIT) {
            let is_manager = MANAGERS.iter().any(|manager| part.starts_with(manager));
            return (!is_manager).then_some(part);
        }
        if !part.ends_with(b".slice") || OTHERS.contains(&part) {
            return None;
        }
    }
}

/// What comes behind `/openrc.` in version 2, and in version 1 in the hierarchy of that name
/// (sh/rc-cgroup.sh of OpenRC).
fn of_openrc(path: &[u8]) -> Option<&[u8]> {
    let name = path.split(|&byte| byte == b'/').next()?;
    (!name.starts_with(OPENRC_MANAGER) && !name.ends_with(UNIT)).then_some(name)
}

/// A name alone says nothing: any user may call sudo by another one.
fn is_runsv(program: &[u8]) -> bool {
    let is_it = program.ends_with(b"/runsv") || program.ends_with(b"/busybox");
    is_it && PROGRAMS.iter().any(|place| program.starts_with(place))
}

fn of_directory(path: &[u8]) -> Option<&[u8]> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let is_there = SERVICES.iter().any(|place| path.starts_with(place));
    (is_there && is_name(name) && !name.ends_with(UNIT)).then_some(name)
}

/// Nothing that could be an option, a path, or anything to a shell: letters and digits, and what
/// names of units have besides (systemd.unit(5)).
fn is_name(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@:._-\\".contains(byte);
    (1..=NAME).contains(&name.len()) && !matches!(name[0], b'-' | b'.') && name.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::{stat_line, Fixture};

    fn service_of(line: &str) -> Option<String> {
        let line = Membership::of(line.as_bytes());
        of_cgroup(&line).map(|name| String::from_utf8(name.to_vec()).unwrap())
    }

    #[test]
    fn a_service_of_the_system_is_named_by_its_cgroup() {
        for (line, name) in [
            ("0::/system.slice/web.service", "web.service"),
            ("0::/system.slice/system-db.slice/db@main.service", "db@main.service"),
            (r"0::/system.slice/fsck@dev-a\x2db.service", r"fsck@dev-a\x2db.service"),
            ("0::/own.slice/own-deep.slice/web.service", "web.service"),
            ("0::/web.service", "web.service"),
            ("0::/system.slice/user.service", "user.service"),
            ("0::/system.slice/_cpu.service", "cpu.service"),
            ("0::/system.slice/__x.service", "_x.service"),
            ("1:name=systemd:/system.slice/web.service", "web.service"),
            // What is within it has named itself.
            ("0::/system.slice/web.service/sshd.service", "web.service"),
            ("0::/system.slice/web.service/system.slice/sshd.service", "web.service"),
            ("0::/openrc.sshd", "sshd"),
            ("0::/openrc.net.eth0", "net.eth0"),
            ("0::/openrc.web/openrc.sshd", "web"),
            ("0::/openrc.web/system.slice/sshd.service", "web"),
            ("7:name=openrc:/web", "web"),
        ] {
            assert_eq!(service_of(line).as_deref(), Some(name), "{line}");
        }
    }

    #[test]
    fn what_a_user_or_a_container_has_named_is_no_service() {
        let long = format!("0::/system.slice/{}.service", "x".repeat(NAME));
        for line in [
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sshd.service",
            "0::/user.slice/user-1000.slice/user@1000.service",
            "0::/user.slice/user-1000.slice/session-1.scope/sshd.service",
            "0::/user.slice/user-1000.slice/sshd.service",
            "0::/system.slice/user@1000.service/sshd.service",
            "0::/capsule.slice/capsule@a.service/app.slice/sshd.service",
            "0::/own.slice/capsule@a.service/sshd.service",
            "0::/machine.slice/systemd-nspawn@a.service/payload/system.slice/sshd.service",
            "0::/machine.slice/libpod-1234.scope/system.slice/sshd.service",
            "0::/system.slice/docker-1234.scope/sshd.service",
            "0::/system.slice/run-r1.scope/system.slice/sshd.service",
            "0::/docker/1234/system.slice/sshd.service",
            "0::/lxc/a/openrc.sshd",
            "0::/../system.slice/sshd.service",
            "0::/system.slice/../sshd.service",
            "0::/init.scope",
            "0::/system.slice",
            "0::/",
            "0::",
            "",
            // Other hierarchies are not those of services.
            "4:memory:/system.slice/sshd.service",
            "4:memory:/openrc.sshd",
            "1:name=elogind:/sshd",
            "1:name=systemd:/openrc.sshd",
            "7:name=openrc:/lxc/a/sshd",
            "7:name=openrc:/",
            "0::/openrc.",
            "0::/openrc.user.alice",
            "0::/openrc.web.service",
            "0::/openrc./sshd",
            // And these are no names.
            "0::/system.slice/sshd.service (deleted)",
            "0::/system.slice/--help.service",
            "0::/system.slice/.service",
            "0::/system.slice/a b.service",
            "0::/system.slice/$(id).service",
            "0::/system.slice/a;b.service",
            "0::/system.slice/größe.service",
            "0::/openrc.-x",
            "0::/openrc.a\nb",
            &long,
        ] {
            assert_eq!(service_of(line), None, "{line}");
        }
    }

    #[test]
    fn runsv_and_directories_of_services_are_where_only_root_writes() {
        for program in ["/usr/bin/runsv", "/sbin/runsv", "/bin/busybox"] {
            assert!(is_runsv(program.as_bytes()), "{program}");
        }
        for program in ["/usr/bin/sudo", "/home/u/runsv", "/tmp/busybox", "/usr/bin/xrunsv", ""] {
            assert!(!is_runsv(program.as_bytes()), "{program}");
        }
        let name = |path: &'static str| of_directory(path.as_bytes());
        assert_eq!(name("/etc/sv/web"), Some(&b"web"[..]));
        assert_eq!(name("/usr/share/runit/sv/web"), Some(&b"web"[..]));
        for path in [
            "/home/u/sshd",
            "/srv/chroot/etc/sv/sshd",
            "/etc/sv/-x",
            "/etc/sv/..",
            "/etc/sv/sshd.service",
            "/etc/sv/a b",
            "/etc/sv/web (deleted)",
            "/etc/",
            "/",
            "",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    /// Process 20 below 10, which may be a runsv; both as the kernel shows them.
    fn fixture(comm: &str, uids: &str, program: &str, directory: &str) -> Fixture {
        let fixture = Fixture::new();
        let with_parent = |pid, comm: &str, parent: i32| {
            let line = stat_line(pid, comm.as_bytes(), b'S', 0, 1, 100);
            let line = String::from_utf8(line).unwrap();
            fixture
                .write(&format!("{pid}/stat"), line.replace(") S 1 ", &format!(") S {parent} ")));
        };
        with_parent(1, "init", 0);
        with_parent(10, comm, 1);
        with_parent(20, "hog", 10);
        fixture.write("20/cgroup", "0::/\n");
        fixture.write("10/status", format!("Uid:\t{uids}\nGid:\t0\t0\t0\t0\n"));
        for pid in ["1", "10", "self"] {
            fixture.write(&format!("{pid}/ns/none"), "");
            for kind in ["user", "mnt"] {
                fixture.link(&format!("{pid}/ns/{kind}"), &format!("{kind}:[1]"));
            }
        }
        fixture.link("10/exe", program);
        fixture.link("10/cwd", directory);
        fixture
    }

    /// Cgroup and service of process 20.
    fn told(fixture: &Fixture) -> (String, String) {
        let (mut cgroup, mut service) = (LongPath::new(), Service::new());
        let mut proc = fixture.open();
        let stat = proc.stat(Pid::new(20).unwrap()).unwrap();
        proc.cgroup_and_service(&stat, &mut cgroup, &mut service).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(cgroup.as_bytes()), text(service.as_bytes()))
    }

    fn both(cgroup: &str, service: &str) -> (String, String) {
        (cgroup.into(), service.into())
    }

    /// The directory of the process is this test's, so is its owner.
    fn is_root(fixture: &Fixture) -> bool {
        let own = fixture.open().owner(Pid::new(10).unwrap()) == Ok(0);
        if !own {
            eprintln!("skipped: not root");
        }
        own
    }

    #[test]
    fn a_service_of_runit_is_named_by_its_supervisor() {
        let ids = "0\t0\t0\t0";
        let fixture = fixture("runsv", ids, "/usr/bin/runsv", "/etc/sv/web");
        if is_root(&fixture) {
            assert_eq!(told(&fixture), both("/", "web"));
            // One in a container, of which all else looks the same.
            fixture.remove("10/ns/mnt");
            fixture.link("10/ns/mnt", "mnt:[2]");
            assert_eq!(told(&fixture), both("/", ""));
        }
    }

    #[test]
    fn no_user_plays_runsv() {
        let (root, place) = ("0\t0\t0\t0", "/etc/sv/sshd");
        for (comm, ids, program, directory) in [
            // su by another name; the directory is the caller's choice.
            ("runsv", "1000\t0\t0\t0", "/usr/bin/runsv", place),
            ("runsv", root, "/usr/bin/sudo", place),
            ("runsv", root, "/home/u/runsv", place),
            ("runsv", root, "/usr/bin/runsv", "/home/u/sshd"),
            ("runsvx", root, "/usr/bin/runsv", place),
        ] {
            let fixture = fixture(comm, ids, program, directory);
            assert_eq!(told(&fixture), both("/", ""), "{comm} {ids} {program}");
        }
    }

    #[test]
    fn the_unified_hierarchy_counts_unless_it_is_not_in_use() {
        let fixture = fixture("init", "0\t0\t0\t0", "/sbin/init", "/");
        for (cgroup, told_of) in [
            ("4:memory:/a\n0::/b\n", "/b"),
            ("4:memory:/a\n2:cpu:/c\n0::/\n", "/a"),
            ("4:memory:/\n0::/\n", "/"),
            ("", ""),
        ] {
            fixture.write("20/cgroup", cgroup);
            assert_eq!(told(&fixture), both(told_of, ""), "{cgroup}");
        }
    }
}
