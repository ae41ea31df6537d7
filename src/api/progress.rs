//! A caller's closure as the codec's progress.

use std::ops::ControlFlow;

use crate::codec::Progress;

type Watcher<'a> = dyn Fn(u64, u64) -> ControlFlow<()> + Send + Sync + 'a;

/// The closure that is told how far the work is, if there is one.
#[derive(Default)]
pub(super) struct Watch<'a>(Option<Box<Watcher<'a>>>);

impl<'a> Watch<'a> {
    pub(super) fn new(watcher: impl Fn(u64, u64) -> ControlFlow<()> + Send + Sync + 'a) -> Self {
        Self(Some(Box::new(watcher)))
    }
}

impl Progress for Watch<'_> {
    fn report(&self, done: u64, total: u64) -> bool {
        let watcher = self.0.as_deref();
        watcher.is_none_or(|watcher| watcher(done, total).is_continue())
    }
}
