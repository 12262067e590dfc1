//! The end of writing.
//!
//! After a failed write or sync nobody knows what the disk holds: the kernel may have dropped the dirty
//! pages, and a second fsync that succeeds proves nothing
//! (<https://www.usenix.org/conference/atc20/presentation/rebello>). So the first failure is the last:
//! writes stop for good, the process ends, and the next start reads what is really there.

use std::sync::{Arc, OnceLock};

use crate::compact::Signal;
use crate::directory::Directory;
use crate::queue::Queue;

/// What to do when writing ended; gets the reason.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Stops writing once.
pub(crate) struct Fatal {
    reason: OnceLock<String>,
    queue: Arc<Queue>,
    merge: Arc<Signal>,
    directory: Arc<Directory>,
    hook: Option<OnFatal>,
}

impl Fatal {
    pub(crate) fn new(
        queue: Arc<Queue>,
        merge: Arc<Signal>,
        directory: Arc<Directory>,
        hook: Option<OnFatal>,
    ) -> Fatal {
        Fatal { reason: OnceLock::new(), queue, merge, directory, hook }
    }

    pub(crate) fn stop(&self, error: &str) {
        // A merge would write a list of files anew that may be in use already.
        self.merge.stop();
        let full = self.directory.is_full();
        let hint = if full { "; the disk is full: free some space and start again" } else { "" };
        if self.reason.set(format!("writing stopped: {error}{hint}")).is_err() {
            return;
        }
        let reason = self.reason.get().map_or(error, String::as_str);
        self.queue.abandon(reason);
        if full {
            self.directory.release_reserve();
        }
        tracing::error!("{reason}");
        if let Some(hook) = &self.hook {
            hook(reason);
        }
    }
}
