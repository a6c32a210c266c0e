//! Hooks: programs of the administrator's, run beside a kill.

use super::command::ShortCommand;
use super::message::{Priority, When};
use super::outbox::Outboxes;
use super::service::Variables;
use crate::bytes::{AnyBuf, Buf};
use crate::event::Event;
use crate::units::{Identity, Pid};
use std::fmt::{self, Write};

/// All variables together: of the longest, the command line, there are two.
type Environment = Buf<2304>;
/// Those of earlyoom have the same names but for the beginning.
const PREFIXES: [&str; 2] = ["OOM_GUARD", "EARLYOOM"];

/// Which hook, and for which victim.
#[derive(Clone, Copy)]
pub struct Hook(pub When, pub Pid);

impl Hook {
    pub fn say(self, out: &mut Outboxes<'_>, what: fmt::Arguments<'_>) {
        let Hook(when, victim) = self;
        let which = match when {
            When::Before => "pre-kill",
            When::After => "post-kill",
            When::Short => return out.say(Priority::Warning, format_args!("the warn hook {what}")),
        };
        out.say(Priority::Warning, format_args!("the {which} hook for process {victim} {what}"));
    }
}

/// What a hook is told, but for what the helper reads: variables as the kernel takes them, each with
/// its NUL, one behind the other. Without a process, action and reason alone.
pub fn environment(when: When, event: &Event) -> Buf<1024> {
    let Event { id, uid, adj, score, rss, swap, .. } = event;
    let (action, reason, signal) = match (when, event.dryrun) {
        (When::Short, _) => ("warn", "warn", ""),
        (_, true) => ("dryrun", event.reason.word(), event.signal()),
        (_, false) => ("kill", event.reason.word(), event.signal()),
    };
    let mut all = Buf::new();
    all.push(b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0");
    let _ = write!(all, "OOM_GUARD_ACTION={action}\0OOM_GUARD_REASON={reason}\0");
    if *id == Identity::NONE {
        return all;
    }
    let _ = write!(all, "OOM_GUARD_RSS={}\0OOM_GUARD_SWAP={}\0", rss.0, swap.0);
    let _ = write!(all, "OOM_GUARD_SCORE={score}\0OOM_GUARD_ADJ={adj}\0");
    let _ = write!(all, "OOM_GUARD_SIGNAL={signal}\0");
    for prefix in PREFIXES {
        let _ = write!(all, "{prefix}_PID={}\0", id.pid);
        if let Some(uid) = uid {
            let _ = write!(all, "{prefix}_UID={uid}\0");
        }
        add(&mut all, prefix, "NAME", event.comm.as_bytes());
    }
    all
}

/// The same with cgroup, service and command line, if it is about a process.
pub fn whole_environment(
    variables: &[u8],
    victim: Option<&(Variables, ShortCommand)>,
) -> Environment {
    let mut all = Environment::new();
    all.push(variables);
    if let Some((service, command)) = victim {
        all.push(service.as_bytes());
        PREFIXES.iter().for_each(|prefix| add(&mut all, prefix, "CMDLINE", command.as_bytes()));
    }
    all
}

/// Bytes that the process chose.
fn add(all: &mut AnyBuf, prefix: &str, key: &str, value: &[u8]) {
    let _ = write!(all, "{prefix}_{key}=");
    all.push(value);
    all.push(b"\0");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_known_is_left_out_and_is_not_root() {
        let id = Identity { pid: Pid::new(42).unwrap(), start: 1 };
        let users = |uid| {
            let event = Event { id, uid, ..Event::without_victim(false) };
            let all = environment(When::Before, &event);
            let all = String::from_utf8(all.as_bytes().to_vec()).unwrap();
            all.split('\0').filter(|text| text.contains("_UID=")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(users(Some(0)), "OOM_GUARD_UID=0 EARLYOOM_UID=0");
        assert_eq!(users(None), "");
    }
}
