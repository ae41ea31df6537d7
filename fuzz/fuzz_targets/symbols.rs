//! Valid files with any symbols: a hostile encoder against the decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::symbols(bytes, aec_fuzz::model()));
