//! Whole files through the decoder, with the tiny model.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::decode(bytes, aec_fuzz::model()));

fuzz_mutator! {
    |data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        aec_fuzz::mutate::aec_file(data, size, max_size, seed)
    }
}
