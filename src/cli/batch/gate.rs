//! Keeps the pictures in memory within bounds: each waits until there is room for its pixels.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::sync;

/// Lets pictures in while they have at most `limit` pixels together; a larger one alone.
pub(super) struct Gate {
    limit: u64,
    inside: Mutex<u64>,
    left: Condvar,
}

/// A picture's place inside; given up when dropped.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    pixels: u64,
}

impl Gate {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            inside: Mutex::new(0),
            left: Condvar::new(),
        }
    }

    /// Waits for room for `pixels`.
    pub(super) fn enter(&self, pixels: u64) -> Place<'_> {
        let pixels = pixels.clamp(1, self.limit);
        let is_full = |inside: &mut u64| *inside + pixels > self.limit;
        let waited = self.left.wait_while(sync::lock(&self.inside), is_full);
        let mut inside = waited.unwrap_or_else(PoisonError::into_inner);
        *inside += pixels;
        Place { gate: self, pixels }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *sync::lock(&self.gate.inside) -= self.pixels;
        self.gate.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn no_more_than_the_limit_is_inside_at_once() {
        let gate = Gate::new(10);
        let (inside, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for pixels in [3, 10, 4, 99, 5, 0, 7, 1] {
                let (gate, inside, most) = (&gate, &inside, &most);
                scope.spawn(move || {
                    let _place = gate.enter(pixels);
                    let counted = pixels.clamp(1, 10);
                    let now = inside.fetch_add(counted, Ordering::SeqCst) + counted;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    inside.fetch_sub(counted, Ordering::SeqCst);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 10);
        assert_eq!(*sync::lock(&gate.inside), 0);
    }
}
