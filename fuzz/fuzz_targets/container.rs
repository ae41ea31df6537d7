//! The outside of a file: header, sections, tile index.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| aec_fuzz::checks::container(bytes));

fuzz_mutator! {
    |data: &mut [u8], size: usize, max_size: usize, seed: u32| {
        aec_fuzz::mutate::aec_file(data, size, max_size, seed)
    }
}
