//! Scale tables, symbol streams and zero maps.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::entropy(bytes));
