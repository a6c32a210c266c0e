//! A `/proc/meminfo` as LXC's lxcfs has it: a server in user space answers for it (FUSE), and may end.

mod common;

use common::*;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Answers for a file, which it lays over `/proc/meminfo`, until it is dropped.
struct Server {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(text: String) -> io::Result<Server> {
        let mut open = OpenOptions::new();
        let device =
            open.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/fuse")?;
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=100444,user_id=0,group_id=0");
        mount(None, Path::new("/proc/meminfo"), Some("fuse"), 0, Some(&options))?;
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = thread::spawn(move || serve(device, text.as_bytes(), &end));
        Ok(Server { ends, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(mut device: File, text: &[u8], ends: &AtomicBool) {
    let mut request = vec![0; 1 << 17];
    while !ends.load(Ordering::Relaxed) {
        match device.read(&mut request) {
            Ok(len) => answer(&mut device, text, &request[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            // Unmounted.
            Err(_) => return,
        }
    }
}

/// What follows the header of an answer (include/uapi/linux/fuse.h), in words of 32 bits.
fn answer(device: &mut File, text: &[u8], request: &[u8]) {
    const HEADER: usize = 40;
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("a word"));
    let in_words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let body: Result<Vec<u8>, i32> = match word(4) {
        // FUSE_FORGET, FUSE_INTERRUPT and FUSE_BATCH_FORGET want none.
        2 | 36 | 42 => return,
        // FUSE_GETATTR: of inode 1, which has one link.
        3 => {
            let mut words = [0; 26];
            (words[4], words[19], words[20]) = (1, libc::S_IFREG | 0o444, 1);
            Ok(in_words(&words))
        }
        // FUSE_OPEN: each read is to come here (FOPEN_DIRECT_IO).
        14 => Ok(in_words(&[1, 0, 1, 0])),
        // FUSE_READ
        15 => {
            let (offset, size) = (word(HEADER + 8) as usize, word(HEADER + 16) as usize);
            let rest = text.get(offset..).unwrap_or_default();
            Ok(rest[..rest.len().min(size)].to_vec())
        }
        // FUSE_STATFS
        17 => Ok(in_words(&[0; 20])),
        // FUSE_RELEASE, FUSE_FLUSH
        18 | 25 => Ok(Vec::new()),
        // FUSE_INIT: version 7.31, writes of 4096 bytes.
        26 => {
            let mut words = [0; 16];
            (words[0], words[1], words[5]) = (7, 31, 4096);
            Ok(in_words(&words))
        }
        _ => Err(libc::ENOSYS),
    };
    let (body, errno) = match body {
        Ok(body) => (body, 0),
        Err(errno) => (Vec::new(), errno),
    };
    let mut whole = (16 + body.len() as u32).to_ne_bytes().to_vec();
    whole.extend((-errno).to_ne_bytes());
    whole.extend(&request[8..16]);
    whole.extend(body);
    // ENOENT: that request was interrupted.
    let _ = device.write_all(&whole);
}

#[test]
fn a_server_is_told_by_check_and_one_that_has_ended_is_not_waited_for() {
    sandboxed(|sandbox| {
        let memory = FakeMemory::new(sandbox);
        let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
        let check = || {
            let mut command = sandbox.guard_command(&["--check"]);
            let output = command.stdout(std::process::Stdio::piped()).output().expect("the guard");
            String::from_utf8(output.stdout).expect("--check prints UTF-8")
        };
        let line = "/proc/meminfo: of a FUSE server (lxcfs); if it hangs, so does the guard";
        assert!(!check().contains(line));
        let server = match Server::start(text) {
            Ok(server) => server,
            Err(error) => return skip(&format!("no FUSE: {error}")),
        };
        assert!(check().contains(line));
        let mut hog = sandbox.hog(&["--size", "60M"]);
        let guard = sandbox.guard(&[]);
        drop(server);
        guard.wait_for("cannot read /proc/meminfo: ENOTCONN (not connected); trying on");
        memory.available(LOW);
        assert!(hog.is_alive());
        uncover("/proc/meminfo");
        assert_eq!(hog.wait_for_end().signal(), Some(libc::SIGTERM));
        guard.wait_for("/proc/meminfo makes sense again");
        guard.stop();
    });
}
