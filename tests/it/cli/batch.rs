//! Many files in one run.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

use super::{Workspace, gradient, jpeg, png};

/// `aec encode` or `decode` of many with the tests' tiny model, which is quick.
fn many(here: &Workspace, command: &str, args: &[&str]) -> Command {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tiny.safetensors");
    let mut aec = here.aec(&[command, "--out-dir", "out", "--model"]);
    aec.arg(model).args(args);
    aec
}

/// Pictures in a folder tree, with files beside them that are to be left alone.
fn tree() -> Workspace {
    let here = Workspace::new();
    for folder in ["pics/sub/deep", "pics/.hidden", "pics/empty"] {
        fs::create_dir_all(here.path(folder)).unwrap();
    }
    for (i, name) in ["a.png", "b.c.PNG", "sub/a.png", "sub/deep/x.png"]
        .iter()
        .enumerate()
    {
        let picture = gradient(40 + 30 * i as u32, 50);
        here.write(&format!("pics/{name}"), &png(&picture));
    }
    here.write("pics/notes.txt", b"not a picture");
    here.write("pics/.hidden/h.png", b"not looked at");
    here.write("pics/.h.png", b"not looked at");
    here
}

/// Every file below a folder, as paths relative to it, sorted.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap();
                files.push(relative.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_folder_is_encoded_and_decoded_with_its_sub_folders() {
    let here = tree();
    many(&here, "encode", &["pics"])
        .assert()
        .success()
        .stdout("")
        .stderr(
            contains("4 done, 0 failed: ")
                .and(contains(" bytes, "))
                .and(contains(" bpp, ")),
        );
    let encoded = ["a.aec", "b.c.aec", "sub/a.aec", "sub/deep/x.aec"];
    assert_eq!(files_below(&here.path("out")), encoded);

    // The same bytes as one by one.
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tiny.safetensors");
    here.aec(&["encode", "pics/sub/a.png", "one.aec", "--model"])
        .arg(model)
        .assert()
        .success();
    assert!(here.read("one.aec") == here.read("out/sub/a.aec"));

    for (args, extension) in [(&[][..], "png"), (&["--format", "ppm"], "ppm")] {
        fs::rename(here.path("out"), here.path(&format!("aec-{extension}"))).unwrap();
        many(&here, "decode", &[&format!("aec-{extension}")])
            .args(args)
            .assert()
            .success()
            .stderr(contains("4 done, 0 failed: "));
        let decoded = encoded.map(|name| name.replace("aec", extension));
        assert_eq!(files_below(&here.path("out")), decoded);
        let picture = here.image(&format!("out/sub/deep/x.{extension}"));
        assert_eq!((picture.width, picture.height), (130, 50));
        fs::remove_dir_all(here.path("out")).unwrap();
        fs::rename(here.path(&format!("aec-{extension}")), here.path("out")).unwrap();
    }
}

#[test]
fn files_and_folders_may_be_mixed_and_named_twice() {
    let here = tree();
    here.write("d.png", &png(&gradient(30, 20)));
    let args = [
        "d.png",
        "pics/sub",
        "pics/b.c.PNG",
        "./d.png",
        "-j",
        "3",
        "-v",
    ];
    many(&here, "encode", &args)
        .assert()
        .success()
        .stderr(contains("d.png → out/d.aec: 30x20, "))
        .stderr(contains("\n4 done, 0 failed: "));
    assert_eq!(
        files_below(&here.path("out")),
        ["a.aec", "b.c.aec", "d.aec", "deep/x.aec"]
    );
    many(&here, "encode", &["--quiet", "pics"])
        .assert()
        .success()
        .stderr("");
}

#[test]
fn a_failure_does_not_stop_the_others() {
    let here = tree();
    here.write("pics/bad.png", b"hello");
    here.write("pics/sub/cut.png", &here.read("pics/a.png")[..60]);
    many(&here, "encode", &["none.png", "pics"])
        .assert()
        .code(1)
        .stderr(contains("error: cannot read 'none.png': "))
        .stderr(contains(
            "error: cannot read 'pics/bad.png': invalid image: not a PNG",
        ))
        .stderr(contains("error: cannot read 'pics/sub/cut.png': "))
        .stderr(contains("\nerror: 4 done, 3 failed: "));
    assert_eq!(
        files_below(&here.path("out")),
        ["a.aec", "b.c.aec", "sub/a.aec", "sub/deep/x.aec"]
    );
    let mut broken = here.read("out/a.aec");
    let last = broken.len() - 20;
    broken[last] ^= 1;
    here.write("broken.aec", &broken);
    many(&here, "decode", &["broken.aec", "out/b.c.aec"])
        .assert()
        .code(1)
        .stderr(contains("error: cannot decode 'broken.aec': "))
        .stderr(contains("\nerror: 1 done, 1 failed: "));
    assert!(here.path("out/b.c.png").exists());
    assert!(!here.path("out/broken.png").exists());
}

#[test]
fn nothing_is_written_when_outputs_would_collide() {
    let here = tree();
    here.write("pics/a.ppm", b"P6 1 1 255 abc");
    fs::create_dir(here.path("other")).unwrap();
    here.write("other/x.png", &png(&gradient(20, 20)));
    here.write("x.png", &png(&gradient(20, 20)));
    for (inputs, output) in [
        (["pics", "x.png"], "out/a.aec"),
        (["other", "x.png"], "out/x.aec"),
        (["other/x.png", "x.png"], "out/x.aec"),
    ] {
        many(&here, "encode", &inputs)
            .assert()
            .code(1)
            .stderr(contains(format!("would both become '{output}'")));
    }
    assert!(!here.path("out").exists());
}

#[test]
fn pictures_of_one_name_keep_their_extensions() {
    let here = Workspace::new();
    let picture = gradient(20, 20);
    let jpeg = jpeg(&picture);
    fs::create_dir(here.path("pics")).unwrap();
    here.write("pics/a.png", &png(&picture));
    here.write("pics/a.jfif", &jpeg);
    here.write(
        "pics/a.pam",
        b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\nx",
    );
    many(&here, "encode", &["pics"])
        .assert()
        .code(1)
        .stderr(contains("would both become 'out/a.aec'").and(contains("--keep-extension")));
    many(&here, "encode", &["pics", "--keep-extension"])
        .assert()
        .success()
        .stderr(contains("3 done"));
    let names = ["a.jfif.aec", "a.pam.aec", "a.png.aec"];
    assert_eq!(files_below(&here.path("out")), names);
}

#[test]
fn outputs_do_not_replace_inputs() {
    let here = Workspace::new();
    fs::create_dir_all(here.path("out/sub")).unwrap();
    fs::create_dir_all(here.path("pics/sub")).unwrap();
    here.write("pics/sub/a.png", &png(&gradient(20, 20)));
    // A picture by its content, at the place of the other one's result.
    here.write("out/sub/a.aec", &png(&gradient(30, 20)));
    let before = here.read("out/sub/a.aec");
    many(&here, "encode", &["out/sub/a.aec", "pics"])
        .assert()
        .code(1)
        .stderr(contains(
            "the result of 'pics/sub/a.png' would replace the input 'out/sub/a.aec'",
        ));
    assert!(here.read("out/sub/a.aec") == before);
    assert_eq!(files_below(&here.path("out")), ["sub/a.aec"]);
}

#[test]
fn no_clobber_leaves_what_exists() {
    let here = tree();
    fs::create_dir_all(here.path("out/sub")).unwrap();
    here.write("out/sub/a.aec", b"old");
    many(&here, "encode", &["--no-clobber", "pics"])
        .assert()
        .success()
        .stderr(contains("3 done, 1 skipped, 0 failed: "));
    assert_eq!(here.read("out/sub/a.aec"), b"old");
    many(&here, "encode", &["--no-clobber", "pics"])
        .assert()
        .success()
        .stderr("0 done, 4 skipped, 0 failed\n");
    many(&here, "encode", &["pics"])
        .assert()
        .code(1)
        .stderr(contains(
            "cannot write 'out/sub/a.aec': it exists and is not an .aec file",
        ))
        .stderr(contains("3 done, 1 failed"));
    assert_eq!(here.read("out/sub/a.aec"), b"old");
    many(&here, "encode", &["pics", "--overwrite"])
        .assert()
        .success();
    assert!(here.read("out/sub/a.aec") != b"old");
}

#[test]
fn targets_hold_for_every_file() {
    let here = tree();
    here.write("pics/large.png", &png(&gradient(900, 700)));
    many(&here, "encode", &["--target-size", "90", "pics"])
        .assert()
        .code(1)
        .stderr(contains(
            "error: cannot encode 'pics/large.png': the target of 90 bytes is out of reach",
        ))
        .stderr(contains("\nerror: 4 done, 1 failed: "));
    assert!(!here.path("out/large.aec").exists());
    many(
        &here,
        "encode",
        &["--target-bpp", "0.8", "pics/a.png", "pics/sub/deep"],
    )
    .assert()
    .success()
    .stderr(contains("2 done, 0 failed: "));
    for (name, pixels) in [("a", 40 * 50), ("x", 130 * 50)] {
        let bytes = here.read(&format!("out/{name}.aec")).len();
        assert!(bytes * 8 <= pixels * 8 / 10, "{name}: {bytes} bytes");
    }
}

#[test]
fn lossy_inputs_are_warned_about_once() {
    let here = Workspace::new();
    let image = gradient(40, 30);
    let jpeg = jpeg(&image);
    here.write("a.jpg", &jpeg);
    here.write("b.jpg", &jpeg);
    many(&here, "encode", &["a.jpg", "b.jpg"])
        .assert()
        .success()
        .stderr(contains("warning: 2 inputs are already lossy"));
}

#[test]
fn runs_that_cannot_start_are_refused() {
    let here = tree();
    many(&here, "encode", &["pics/empty"])
        .assert()
        .code(1)
        .stderr(contains(
            "no pictures (PNG, JPEG, WebP, PPM, TIFF, BMP, GIF, QOI, TGA) in 'pics/empty'",
        ));
    many(&here, "decode", &["pics"])
        .assert()
        .code(1)
        .stderr(contains("no .aec files in 'pics'"));
    many(&here, "encode", &["pics/a.png", "-"])
        .write_stdin(here.read("pics/a.png"))
        .assert()
        .code(2)
        .stderr(contains("cannot use '-' with --out-dir"));
    here.aec(&["encode", "pics/a.png", "x.aec", "y.aec"])
        .assert()
        .code(2)
        .stderr(contains("--out-dir"));
    assert!(!here.path("out").exists());
    here.write("out", b"a file");
    many(&here, "encode", &["pics"])
        .assert()
        .code(1)
        .stderr(contains("cannot write into 'out': it is not a folder"));
    assert_eq!(here.read("out"), b"a file");
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_not_followed() {
    use std::os::unix::fs::symlink;
    let here = tree();
    symlink("..", here.path("pics/sub/loop")).unwrap();
    symlink("a.png", here.path("pics/linked.png")).unwrap();
    symlink("nowhere.png", here.path("pics/dangling.png")).unwrap();
    many(&here, "encode", &["pics"])
        .assert()
        .success()
        .stderr(contains("5 done, 0 failed: "));
    assert!(here.path("out/linked.aec").exists());
}

#[cfg(unix)]
#[test]
fn two_inputs_do_not_end_in_one_file_by_a_link() {
    use std::os::unix::fs::symlink;
    let here = Workspace::new();
    for name in ["a.png", "b.png", "c.png"] {
        here.write(name, &png(&gradient(40, 30)));
    }
    fs::create_dir_all(here.path("out/sub")).unwrap();
    here.write("out/b.aec", b"");
    symlink("b.aec", here.path("out/a.aec")).unwrap();
    let run = many(&here, "encode", &["a.png", "b.png"]).assert().code(1);
    run.stderr(contains("would both become"));
    assert_eq!(here.read("out/b.aec"), b"");
    // Through a link to a folder as well.
    symlink("sub", here.path("out/link")).unwrap();
    for folder in ["in/sub", "in/link"] {
        fs::create_dir_all(here.path(folder)).unwrap();
        fs::copy(here.path("c.png"), here.path(folder).join("c.png")).unwrap();
    }
    let run = many(&here, "encode", &["in"]).assert().code(1);
    run.stderr(contains("would both become"));
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_in_a_folder_is_a_failure() {
    let here = Workspace::new();
    fs::create_dir(here.path("in")).unwrap();
    here.write("in/a.png", &png(&gradient(40, 30)));
    // A link to itself: the error that a folder of somebody else's gives all but root.
    std::os::unix::fs::symlink("b.png", here.path("in/b.png")).unwrap();
    let run = many(&here, "encode", &["in"]).assert().code(1);
    run.stderr(contains("cannot read 'in/b.png'").and(contains("1 done, 1 failed")));
}

#[test]
fn rates_are_of_whole_pictures_where_a_region_is_decoded() {
    let here = Workspace::new();
    here.write("a.png", &png(&gradient(320, 200)));
    many(&here, "encode", &["a.png"]).assert().success();
    let bytes = here.read("out/a.aec").len() as f64;
    let rate = format!(" {:.3} bpp", bytes * 8.0 / (320.0 * 200.0));
    many(&here, "decode", &["out/a.aec", "--region", "8,8,16,16"])
        .assert()
        .success()
        .stderr(contains(rate));
}
