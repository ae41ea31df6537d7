//! Planes of alpha: any stream, and any samples.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::alpha(bytes));
