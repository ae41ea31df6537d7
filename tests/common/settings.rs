//! Every way to run the codec that must not matter: kernel paths and threads.

use std::sync::Mutex;

use aec::unstable::kernels::dispatch;

/// Calls `check` for each kernel path this machine has and for several numbers of
/// threads, with a description of both.
pub fn for_each_setting(check: impl Fn(&str) + Sync) {
    // The path is one for the whole process, so tests take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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
