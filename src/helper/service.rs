//! The cgroup and the service of a victim, as hooks are told.

use crate::bytes::{AnyBuf, Buf};
use crate::procfs::mountinfo::LongPath;
use crate::procfs::service::Service;
use crate::procfs::Proc;
use crate::sys::io;
use crate::units::Identity;

/// Both variables, as the kernel takes them. Of the paths that container managers make none has
/// 300 bytes.
pub type Variables = Buf<384>;

/// What does not fit or cannot be told is left out: a cut path is that of another cgroup.
pub fn read(proc: &mut Proc, id: Identity) -> io::Result<Variables> {
    let stat = proc.stat(id.pid)?;
    let (mut cgroup, mut service) = (LongPath::new(), Service::new());
    proc.cgroup_and_service(&stat, &mut cgroup, &mut service)?;
    let mut all = Variables::new();
    // The kernel's mark of a cgroup that was removed.
    if !cgroup.is_cut() && !cgroup.as_bytes().ends_with(b" (deleted)") {
        add_if_it_fits(&mut all, b"OOM_GUARD_CGROUP=", cgroup.as_bytes());
    }
    add_if_it_fits(&mut all, b"OOM_GUARD_SERVICE=", service.as_bytes());
    // The number may have gone to another one meanwhile.
    (proc.stat(id.pid)?.id == id).then_some(all).ok_or(io::Error::GONE)
}

fn add_if_it_fits(all: &mut AnyBuf, key: &[u8], value: &[u8]) {
    if !value.is_empty() && key.len() + value.len() < all.room() {
        all.push(key);
        all.push(value);
        all.push(b"\0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::fixture::{stat_line, Fixture};
    use crate::units::Pid;

    fn told(fixture: &Fixture, start: u64) -> Option<String> {
        let id = Identity { pid: Pid::new(20).unwrap(), start };
        let told = read(&mut fixture.open(), id).ok()?;
        Some(String::from_utf8(told.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_process_is_told_of_while_it_is_there() {
        let fixture = Fixture::new();
        fixture.process(20, b"hog", 0, 100);
        fixture.write("20/cgroup", "0::/system.slice/web.service\n");
        let both = "OOM_GUARD_CGROUP=/system.slice/web.service\0OOM_GUARD_SERVICE=web.service\0";
        assert_eq!(told(&fixture, 200).as_deref(), Some(both));
        // Another one has its number.
        assert_eq!(told(&fixture, 7), None);
        fixture.write("20/cgroup", "0::/gone (deleted)\n");
        assert_eq!(told(&fixture, 200).as_deref(), Some(""));
        // One that has ended is in its cgroup of version 2 still; of version 1 the kernel shows the root.
        let lines = "4:memory:/\n1:name=systemd:/\n0::/system.slice/web.service\n";
        fixture.write("20/cgroup", lines);
        fixture.write("20/stat", stat_line(20, b"hog", b'Z', 0, 1, 0));
        let start = fixture.open().stat(Pid::new(20).unwrap()).unwrap().id.start;
        assert_eq!(told(&fixture, start).as_deref(), Some(both));
        fixture.write("20/cgroup", "4:memory:/\n1:name=systemd:/system.slice/web.service\n");
        assert_eq!(told(&fixture, start).as_deref(), Some(""));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_not_cut() {
        let fixture = Fixture::new();
        fixture.process(20, b"hog", 0, 100);
        let room = Variables::new().room() - "OOM_GUARD_CGROUP=\0".len();
        for length in [room, room + 1, 1023, 1024, 1025, 5000] {
            let path = format!("/{}", "x".repeat(length - 1));
            fixture.write("20/cgroup", format!("0::{path}\n"));
            let whole = format!("OOM_GUARD_CGROUP={path}\0");
            let expected = if length <= room { &whole } else { "" };
            assert_eq!(told(&fixture, 200).as_deref(), Some(expected), "{length}");
        }
        // The path is too long, and the name is not.
        let deep = format!("0::/system.slice/web.service/{}\n", "x/".repeat(300));
        fixture.write("20/cgroup", deep);
        assert_eq!(told(&fixture, 200).as_deref(), Some("OOM_GUARD_SERVICE=web.service\0"));
    }
}
