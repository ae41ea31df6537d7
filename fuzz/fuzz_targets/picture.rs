//! Pictures as the encoder reads them, of every format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::picture(bytes));
