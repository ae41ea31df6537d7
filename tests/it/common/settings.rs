//! Every way to run the codec that must not matter: kernel paths and threads.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aec::unstable::kernels::dispatch;

/// The path is one for the whole process: whoever changes it is alone with those that do not mind.
static PATH: RwLock<()> = RwLock::new(());

/// Keeps the usual kernel path while it is held: for training, whose arithmetic is not the same on all.
pub fn usual_path() -> RwLockReadGuard<'static, ()> {
    PATH.read().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `check` for each kernel path this machine has and for several numbers of
/// threads, with a description of both.
pub fn for_each_setting(check: impl Fn(&str) + Sync) {
    let _alone = PATH.write().unwrap_or_else(PoisonError::into_inner);
    let usual = dispatch::active();
    for path in dispatch::available() {
        dispatch::force(path).unwrap();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| check(&format!("{path}, {threads} threads")));
        }
    }
    // What comes after in this process would be slow on the last of them.
    dispatch::force(usual).unwrap();
}
