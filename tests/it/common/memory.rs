//! An allocator that counts, for tests of how much memory something asks for. It counts by thread, so that
//! tests which run at the same time do not count each other's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes that are held, and the most that were at one time.
#[derive(Default)]
struct Meter {
    now: AtomicIsize,
    peak: AtomicIsize,
}

impl Meter {
    /// Notes a block that comes, or with a negative size one that goes.
    fn add(&self, size: isize) {
        let now = self.now.fetch_add(size, Ordering::Relaxed) + size;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }
}

thread_local! {
    /// What counts the memory of this thread.
    static METER: Cell<Option<&'static Meter>> = const { Cell::new(None) };
}

fn count(size: isize) {
    if let Some(meter) = METER.get() {
        meter.add(size);
    }
}

/// The system's allocator, with a count for the threads that have a meter.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged. A layout has at most `isize::MAX` bytes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As if the block had to be copied: for a moment there are both.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that `work` held at most at one time. It runs on a pool of its own, whose threads all count.
pub fn peak_of<T: Send>(work: impl FnOnce() -> T + Send) -> (T, usize) {
    // A few bytes for each call, which the threads may outlive.
    let meter: &'static Meter = Box::leak(Box::default());
    let pool = rayon::ThreadPoolBuilder::new()
        .start_handler(move |_| METER.set(Some(meter)))
        .build()
        .unwrap();
    let result = pool.install(work);
    (result, meter.peak.load(Ordering::Relaxed).cast_unsigned())
}
