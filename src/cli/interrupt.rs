//! Signals: at Ctrl-C the process ends with status 130 and leaves no unfinished file behind;
//! a file over the system's size limit is an error of the write.

#[cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::messages::INTERRUPTED;
use crate::atomic;

/// Whether the work ends itself at the first request, having saved what it did.
static IS_GRACEFUL: AtomicBool = AtomicBool::new(false);
/// Set at the first request to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler for Ctrl-C and requests to terminate.
pub(super) fn install() {
    // With a handler, `write` reports what by default would kill the process.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    // Without a handler the system's default action ends the process, which is good enough.
    let _ = ctrlc::set_handler(|| {
        if !STOP.swap(true, Ordering::Relaxed) && IS_GRACEFUL.load(Ordering::Relaxed) {
            return;
        }
        let _discarded = atomic::discard_all();
        std::process::exit(INTERRUPTED);
    });
}

/// Makes the first Ctrl-C set the flag that is returned instead of ending the
/// process; a second one still ends it.
pub(super) fn stop_at_request() -> &'static AtomicBool {
    IS_GRACEFUL.store(true, Ordering::Relaxed);
    &STOP
}
