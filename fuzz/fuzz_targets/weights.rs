//! Model files, and what a loaded model does.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::weights(bytes));
