//! The golden files: every kernel path and number of threads decodes them to the same
//! pixels, refuses the broken ones in the same way, and encodes to the same bytes.

use crate::common;
use crate::common::settings::for_each_setting;
use crate::common::vectors::{all, encoded, folder, outcome, results, sha256};

#[test]
fn results_name_every_file_once() {
    let mut names: Vec<String> = all().iter().map(|vector| vector.name.to_string()).collect();
    names.sort();
    assert_eq!(names, results().into_keys().collect::<Vec<_>>());
    let files = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aec = files.filter(|path| path.extension().is_some_and(|extension| extension == "aec"));
    assert_eq!(aec.count(), names.len());
}

#[test]
fn files_are_the_reviewed_ones() {
    let results = results();
    for vector in all() {
        assert_eq!(
            sha256(&vector.file()),
            results[vector.name].0,
            "{}",
            vector.name
        );
    }
}

#[test]
fn every_setting_decodes_to_the_same_result() {
    let results = results();
    for_each_setting(|setting| {
        for vector in all() {
            assert_eq!(
                outcome(&vector.file()),
                results[vector.name].1,
                "{} with {setting}",
                vector.name
            );
        }
    });
}

#[test]
fn every_setting_encodes_to_the_same_bytes() {
    let encoded = encoded();
    for_each_setting(|setting| {
        for vector in all().iter().filter(|vector| !vector.must_fail()) {
            let found = sha256(&(vector.make)());
            assert_eq!(
                found, encoded[vector.name],
                "{} with {setting}",
                vector.name
            );
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

fn specification() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/codec-spec.md")).unwrap()
}

#[test]
fn specification_names_every_vector() {
    let text = specification();
    for vector in all() {
        assert!(
            text.contains(&format!("`{}`", vector.name)),
            "{}",
            vector.name
        );
    }
    assert!(text.contains(&aec::unstable::model_id(common::tiny::model()).to_string()));
}

/// The bytes of the worked example are those of its vector.
#[test]
fn specification_shows_the_bytes_of_its_example() {
    let text = specification();
    let (_, example) = text.split_once("*Example:* vector `all-zero`").unwrap();
    let (example, _) = example.split_once("It decodes").unwrap();
    let rows = example.lines().filter_map(|line| line.strip_prefix("    "));
    // Bytes are in the first 28 columns, explanations after them.
    let digits = rows.flat_map(|row| row.get(..28).unwrap_or(row).split_whitespace());
    let bytes: Vec<u8> = digits
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let vector = all()
        .into_iter()
        .find(|vector| vector.name == "all-zero")
        .unwrap();
    assert_eq!(bytes, vector.file());
}
