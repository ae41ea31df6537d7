//! Limits: wide pictures, files that ask for more than they hold, and many sections.

use std::time::{Duration, Instant};

use predicates::str::contains;

use super::parts::with_tiles;
use super::{TINY, Workspace, gradient, png};
use crate::common::layout::Layout;

/// Work that is refused before it starts.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A file of one tile of 64 x 64 that says it has another size, in tiles of 64.
fn file_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut layout = Layout::of(&with_tiles(&gradient(64, 64)).read("a.aec"));
    layout.set_size(width, height);
    layout.bytes()
}

#[test]
fn long_sides_are_refused_at_once() {
    let here = Workspace::new();
    here.write("wide.png", &png(&gradient(300_000, 1)));
    here.write("high.png", &png(&gradient(1, 65_536)));
    here.write("wide.aec", &file_of_size(262_144, 64));
    here.write("thin.aec", &file_of_size(1_048_560, 1));
    here.write("high.aec", &file_of_size(64, 65_536));
    let started = Instant::now();
    for (args, what) in [
        (&["encode", "wide.png", "x.aec"][..], "width 300000"),
        (&["encode", "high.png", "x.aec"], "height 65536"),
        (&["decode", "wide.aec", "x.png"], "width 262144"),
        (
            &["decode", "wide.aec", "x.png", "--region", "0,0,9,9"],
            "width 262144",
        ),
        (
            &["decode", "thin.aec", "x.png", "--keep-going"],
            "width 1048560",
        ),
        (&["info", "high.aec"], "height 65536"),
        (&["info", "--verify", "high.aec"], "height 65536"),
        (&["compare", "wide.png", "wide.png"], "width 300000"),
        (&["inspect", "wide.png"], "width 300000"),
        (&["latent", "export", "wide.aec", "x.npy"], "width 262144"),
    ] {
        here.aec(args)
            .assert()
            .code(1)
            .stderr(contains(format!("{what} is more than the limit of 65535")))
            .stderr(contains("hint: raise it with --max-side"));
    }
    assert!(started.elapsed() < 4 * AT_ONCE, "{:?}", started.elapsed());
    // With the limit raised, what is missing is the next thing to be said.
    here.aec(&["info", "wide.aec", "--max-side", "300000"])
        .assert()
        .code(1)
        .stderr(contains("file is truncated"));
    let args = [
        "encode",
        "high.png",
        "high2.aec",
        "--max-side",
        "65536",
        "--model",
        TINY,
    ];
    here.aec(&args).assert().success();
}

#[test]
fn a_few_bytes_do_not_ask_for_a_large_picture() {
    let here = Workspace::new();
    here.write("large.aec", &file_of_size(16_384, 16_384));
    here.write("small.aec", &file_of_size(1000, 1000));
    let decode = |input: &str, more: &[&str]| {
        let args = ["decode", input, "x.png", "--keep-going", "--model", TINY];
        here.aec(&[&args[..], more].concat()).output().unwrap()
    };
    let started = Instant::now();
    let output = decode("large.aec", &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("1 of 65536 tiles are intact"), "{stderr}");
    assert!(stderr.contains("region 0,0,64,64"), "{stderr}");
    assert!(started.elapsed() < AT_ONCE && !here.path("x.png").exists());

    for (input, region) in [
        ("large.aec", &["--region", "0,0,64,64"][..]),
        ("small.aec", &[]),
    ] {
        let output = decode(input, region);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("what is left of the picture was written"),
            "{stderr}"
        );
        assert!(stderr.lines().count() < 10, "{stderr}");
        std::fs::remove_file(here.path("x.png")).unwrap();
    }
    // The same damage of many tiles is one line.
    let output = here
        .aec(&["info", "--verify", "small.aec"])
        .env(
            "AEC_MODEL_DIR",
            std::path::Path::new(TINY).parent().unwrap(),
        )
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("254 tiles, the first at 128,0: "),
        "{stderr}"
    );
    assert!(stderr.contains("--keep-going"), "{stderr}");
}

#[test]
fn damage_is_named_with_what_can_be_done() {
    let here = with_tiles(&gradient(150, 100));
    let mut file = here.read("a.aec");
    let tiles: Vec<usize> = (0..file.len() - 4)
        .filter(|&i| &file[i..i + 4] == b"TILE")
        .collect();
    for tile in [tiles[1], tiles[4]] {
        file[tile + 20] ^= 1;
    }
    here.write("b.aec", &file);
    here.aec(&["decode", "b.aec", "x.png", "--model", TINY])
        .assert()
        .code(1)
        .stderr(contains("hint: --keep-going writes what is left"));
    here.aec(&["info", "--verify", "b.aec"])
        .env(
            "AEC_MODEL_DIR",
            std::path::Path::new(TINY).parent().unwrap(),
        )
        .assert()
        .code(1)
        .stderr(contains("tile at 64,0 (64x64 pixels): "))
        .stderr(contains("tile at 64,64 (64x36 pixels): "))
        .stderr(contains("2 of its parts are damaged"));
}

#[test]
fn many_sections_are_listed_as_they_are_read() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    let mut layout = Layout::of(&here.read("a.aec"));
    let empty = (*b"zTST", Vec::new());
    layout
        .sections
        .splice(0..0, std::iter::repeat_n(empty, 3000));
    here.write("many.aec", &layout.bytes());
    let output = here
        .aec(&["info", "--sections", "many.aec"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        3 + 3002
    );
    let output = here
        .aec(&["info", "--sections", "--json", "many.aec"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sections = json["sections"].as_array().unwrap();
    assert_eq!(
        (sections.len(), &sections[3001]["tag"]),
        (3002, &"END".into())
    );
    assert_eq!(json["width"], 40);
}

#[cfg(target_os = "linux")]
#[test]
fn a_picture_without_memory_does_not_end_the_batch() {
    let here = Workspace::new();
    // 42 megapixels of nothing: bits, so that they take little memory themselves.
    here.write(
        "large.pbm",
        &[&b"P4\n6400 6400\n"[..], &[0; 800 * 6400]].concat(),
    );
    here.write("small.png", &png(&gradient(40, 30)));
    let encode = format!("encode --model {TINY} -j 1 --out-dir out large.pbm small.png");
    let output = here.bash(&format!("ulimit -v 1600000; exec $aec {encode}"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("large.pbm': it takes about 2.66 GB of memory"),
        "{stderr}"
    );
    assert!(stderr.contains("1 done, 1 failed"), "{stderr}");
}
