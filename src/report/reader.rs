//! Command lines for `--explain` and `--check`.

use crate::helper::{Helper, Setup};
use crate::procfs::process::CommandLine;
use crate::select::Assistant;
use crate::sys::io;
use crate::units::{Identity, Pid};
use std::time::Duration;

/// For one command line: no kill waits for it, but a user does.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// A helper reads command lines here too, because that may hang.
pub struct Reader(Option<Helper>);

impl Reader {
    /// Without a helper unless it is needed: then nothing is read.
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

    fn is_in_place(&mut self, id: Identity, path: &[u8], patience: Duration) -> Option<bool> {
        self.0.as_mut()?.is_in_place(id, path, patience)
    }
}
