//! A progress bar on stderr for work that takes a while.

use std::io::IsTerminal;
use std::sync::Once;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages::GlobalOptions;
use crate::codec::Progress;

/// Work that ends sooner shows no bar.
const DELAY: Duration = Duration::from_millis(500);

/// A bar that appears after half a second, on a terminal, unless `--quiet`. It goes away when dropped.
pub struct Bar {
    bar: ProgressBar,
    started: Instant,
    is_wanted: bool,
    shown: Once,
}

impl Bar {
    /// A bar labeled with a verb such as `encoding`.
    #[must_use]
    pub fn new(label: &'static str, global: &GlobalOptions) -> Self {
        let bar = ProgressBar::hidden().with_message(label);
        let style =
            ProgressStyle::with_template("{msg} [{bar:40}] {percent:>3} % {elapsed} / {duration}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Self {
            bar,
            started: Instant::now(),
            is_wanted: !global.quiet && std::io::stderr().is_terminal(),
            shown: Once::new(),
        }
    }

    /// Takes the bar away while `print` writes to stderr.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl Progress for Bar {
    fn report(&self, done: u64, total: u64) -> bool {
        if self.is_wanted && self.started.elapsed() >= DELAY {
            self.shown
                .call_once(|| self.bar.set_draw_target(ProgressDrawTarget::stderr()));
            self.bar.set_length(total);
            self.bar.set_position(done);
        }
        true
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
