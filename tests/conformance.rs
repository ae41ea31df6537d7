//! The golden files: every kernel path and number of threads decodes them to the same
//! pixels, refuses the broken ones in the same way, and encodes them to the same bytes.

mod common;

use common::settings::for_each_setting;
use common::vectors::{all, folder, outcome, results, sha256};

#[test]
fn results_name_every_file_once() {
    let mut names: Vec<String> = all().iter().map(|vector| vector.name.to_string()).collect();
    names.sort();
    assert_eq!(names, results().into_keys().collect::<Vec<_>>());
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let aec = files.filter(|path| path.extension().is_some_and(|extension| extension == "aec"));
    assert_eq!(aec.count(), names.len());
}

#[test]
fn files_are_the_reviewed_ones() {
    let results = results();
    for vector in all() {
        assert_eq!(sha256(&vector.file()), results[vector.name].0, "{}", vector.name);
    }
}

#[test]
fn every_setting_decodes_to_the_same_result() {
    let results = results();
    for_each_setting(|setting| {
        for vector in all() {
            assert_eq!(outcome(&vector.file()), results[vector.name].1, "{} with {setting}", vector.name);
        }
    });
}

#[test]
fn every_setting_encodes_to_the_same_bytes() {
    let valid: Vec<_> = all().into_iter().filter(|vector| !vector.must_fail()).collect();
    for_each_setting(|setting| {
        for vector in &valid {
            assert!((vector.make)() == vector.file(), "{} with {setting}", vector.name);
        }
    });
}

#[test]
fn names_say_which_files_fail() {
    for vector in all() {
        let fails = common::decode(&vector.file()).is_err();
        assert_eq!(fails, vector.must_fail(), "{}", vector.name);
    }
}
