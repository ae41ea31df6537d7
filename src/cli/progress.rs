//! A progress bar on stderr for work that takes a while.

use std::io::IsTerminal;
use std::sync::Once;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::messages::GlobalOptions;
use crate::codec::{Progress, Round};

/// Work that ends sooner shows no bar.
const DELAY: Duration = Duration::from_millis(500);

/// A bar that appears after half a second, on a terminal, unless `--quiet`. It goes away when dropped.
pub struct Bar {
    bar: ProgressBar,
    started: Instant,
    is_wanted: bool,
    shown: Once,
    global: GlobalOptions,
}

/// How bars are drawn: by a template of `indicatif`.
pub(super) fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

impl Bar {
    /// A bar labeled with a verb such as `encoding`.
    pub fn new(label: &'static str, global: &GlobalOptions) -> Self {
        let bar = ProgressBar::hidden().with_message(label);
        bar.set_style(style(
            "{msg} [{bar:40}] {percent:>3} % {elapsed} / {duration}",
        ));
        Self {
            bar,
            started: Instant::now(),
            is_wanted: !global.quiet && std::io::stderr().is_terminal(),
            shown: Once::new(),
            global: *global,
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

    fn round(&self, round: &Round) {
        let line = || {
            let (number, bits, psnr) = (round.number, round.bits, round.psnr);
            let mark = if round.is_best { "" } else { ", not better" };
            format!(
                "round {number}: {bits} bits, {psnr:.3} dB, cost {:.0}{mark}",
                round.cost
            )
        };
        self.bar.suspend(|| self.global.detail(line));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
