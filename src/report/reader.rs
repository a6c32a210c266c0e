//! Command lines for what runs once and ends.

use crate::helper::{Helper, Setup};
use crate::procfs::process::CommandLine;
use crate::select::Assistant;
use crate::sys::io;
use crate::units::{Identity, Pid};
use std::time::Duration;

/// For one command line: nothing waits here, but no user likes to.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// A command line may hang here as well, so that a helper reads it.
pub struct Reader(Option<Helper>);

impl Reader {
    /// Unless it is needed, there is no helper, and nothing is read.
    pub fn start(is_needed: bool) -> io::Result<Reader> {
        let helper = is_needed.then(|| Helper::start(Setup::default()));
        helper.transpose().map(Reader)
    }

    pub fn helper_pid(&self) -> Option<Pid> {
        self.0.as_ref().and_then(Helper::pid)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(helper) = self.0.take() {
            helper.finish();
        }
    }
}

impl Assistant for Reader {
    fn command_line(&mut self, id: Identity, patience: Duration) -> Option<CommandLine> {
        self.0.as_mut()?.command_line(id, patience)
    }
}
