//! Nothing of the user's is lost: what an output may replace, and what it is written into.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use predicates::str::contains;

use super::{AEC, TINY, Workspace, gradient, jpeg, png};

/// `one.png`, `two.png` and `two.aec`, encoded with the tests' model.
fn pictures() -> Workspace {
    let here = Workspace::new();
    here.write("one.png", &png(&gradient(40, 30)));
    // Pictures of other programs do not say that this one wrote them.
    here.write("one.png", &foreign(&here.read("one.png")));
    here.write("two.png", &foreign(&png(&gradient(30, 40))));
    encode(&here, "two.png", "two.aec").success();
    here
}

/// A PNG without the text chunk that says who wrote it.
fn foreign(png: &[u8]) -> Vec<u8> {
    let at = png.windows(8).position(|w| w == b"tEXtSoft").unwrap() - 4;
    [&png[..at], &png[at + 12 + 12..]].concat()
}

fn encode(here: &Workspace, input: &str, output: &str) -> assert_cmd::assert::Assert {
    here.aec(&["encode", input, output, "--model", TINY])
        .assert()
}

fn decode(here: &Workspace, args: &[&str]) -> assert_cmd::assert::Assert {
    here.aec(&[&["decode", "--model", TINY], args].concat())
        .assert()
}

/// Every file's name and bytes.
fn contents(here: &Workspace) -> Vec<(String, Vec<u8>)> {
    let names = here.names();
    let files = names.into_iter().filter(|name| here.path(name).is_file());
    files.map(|name| (name.clone(), here.read(&name))).collect()
}

#[test]
fn encode_refuses_the_name_and_the_content_of_a_picture() {
    let here = pictures();
    here.write("no-extension", &here.read("one.png"));
    here.write("notes.txt", b"mine");
    let before = contents(&here);
    for output in ["two.png", "one.png", "new.jpg", "new.HEIC", "new.tiff"] {
        encode(&here, "one.png", output)
            .code(2)
            .stderr(contains("encode writes .aec files"))
            .stderr(contains("--out-dir"));
    }
    for output in ["no-extension", "notes.txt"] {
        encode(&here, "one.png", output)
            .code(1)
            .stderr(contains("it exists and is not an .aec file"))
            .stderr(contains("--overwrite"));
    }
    assert!(contents(&here) == before);
    here.write("empty", b"");
    for output in ["two.aec", "empty", "new.aec"] {
        encode(&here, "one.png", output).success();
    }
    here.aec(&[
        "encode",
        "one.png",
        "notes.txt",
        "--overwrite",
        "--model",
        TINY,
    ])
    .assert()
    .success();
    assert!(here.read("notes.txt") == here.read("new.aec"));
}

#[test]
fn decode_replaces_only_what_it_wrote() {
    let here = pictures();
    let before = contents(&here);
    decode(&here, &["two.aec", "one.png"])
        .code(1)
        .stderr(contains(
            "cannot write 'one.png': it exists and is not a PNG that 'aec decode' wrote",
        ));
    decode(&here, &["two.aec", "new.aec", "--format", "png"])
        .code(2)
        .stderr(contains("decode writes pictures"));
    assert!(contents(&here) == before);
    decode(&here, &["two.aec", "back.png"]).success();
    decode(&here, &["two.aec", "back.png"]).success();
    decode(&here, &["two.aec", "back.ppm"]).success();
    decode(&here, &["two.aec", "back.ppm"]).code(1);
    decode(&here, &["two.aec", "one.png", "--overwrite"]).success();
    assert!(here.read("one.png") == here.read("back.png"));
}

#[test]
fn a_folder_decoded_into_itself_keeps_its_originals() {
    let here = Workspace::new();
    fs::create_dir(here.path("ph")).unwrap();
    let original = foreign(&png(&gradient(40, 30)));
    here.write("ph/a.png", &original);
    let many = |command: &str, more: &[&str]| {
        let args = [command, "ph", "--out-dir", "ph", "--model", TINY];
        here.aec(&[&args[..], more].concat()).assert()
    };
    many("encode", &[]).success();
    many("decode", &[])
        .code(1)
        .stderr(contains(
            "cannot write 'ph/a.png': it exists and is not a PNG",
        ))
        .stderr(contains("0 done, 1 failed"));
    assert!(here.read("ph/a.png") == original);
    many("decode", &["--overwrite"]).success();
    assert!(here.read("ph/a.png") != original);
    many("decode", &[]).success();
}

#[cfg(unix)]
#[test]
fn the_input_is_never_the_output() {
    use std::os::unix::fs::symlink;
    let here = pictures();
    // Named without the extension, so that only the file itself can tell.
    fs::rename(here.path("one.png"), here.path("one")).unwrap();
    fs::hard_link(here.path("one"), here.path("hard")).unwrap();
    symlink("one", here.path("soft")).unwrap();
    fs::hard_link(here.path("two.aec"), here.path("two.png.hard")).unwrap();
    let before = contents(&here);
    for output in ["one", "./one", "hard", "soft"] {
        here.aec(&["encode", "one", output, "--model", TINY, "--overwrite"])
            .assert()
            .code(1)
            .stderr(contains("it is the input 'one'"));
    }
    decode(
        &here,
        &["two.aec", "two.png.hard", "--format", "png", "--overwrite"],
    )
    .code(1)
    .stderr(contains("it is the input 'two.aec'"));
    // In a batch: the output of one input is another name of a second one.
    fs::create_dir(here.path("out")).unwrap();
    fs::hard_link(here.path("two.png"), here.path("out/one.aec")).unwrap();
    here.aec(&[
        "encode",
        "one",
        "two.png",
        "--out-dir",
        "out",
        "--overwrite",
        "--model",
        TINY,
    ])
    .assert()
    .code(1)
    .stderr(contains(
        "the result of 'one' would replace the input 'two.png'",
    ));
    assert!(contents(&here) == before);
}

#[cfg(unix)]
#[test]
fn read_only_files_and_dangling_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let here = pictures();
    let old = here.read("two.aec");
    fs::set_permissions(here.path("two.aec"), fs::Permissions::from_mode(0o444)).unwrap();
    symlink("nowhere", here.path("link.aec")).unwrap();
    encode(&here, "one.png", "two.aec")
        .code(1)
        .stderr(contains("cannot write 'two.aec': it is read-only"));
    encode(&here, "one.png", "link.aec")
        .code(1)
        .stderr(contains("it is a link to 'nowhere', which does not exist"));
    for args in [&["two.png"][..], &["two.png", "--no-clobber"]] {
        let args = [args, &["--out-dir", ".", "--model", TINY]].concat();
        let code = i32::from(args.len() == 5);
        here.aec(&[&["encode"], &args[..]].concat())
            .assert()
            .code(code);
    }
    assert!(here.read("two.aec") == old);
    assert!(here.path("link.aec").is_symlink() && !here.path("nowhere").exists());
    for output in ["two.aec", "link.aec"] {
        here.aec(&["encode", "one.png", output, "--overwrite", "--model", TINY])
            .assert()
            .success();
    }
    assert!(here.read("two.aec") == here.read("link.aec"));
}

#[cfg(unix)]
#[test]
fn open_files_are_written_into() {
    use std::os::unix::fs::symlink;
    let here = pictures();
    decode(&here, &["two.aec", "plain.png"]).success();
    symlink("/dev/stdout", here.path("link.png")).unwrap();
    for name in [
        "/dev/stdout",
        "/dev/fd/1",
        "/proc/self/fd/1",
        "link.png",
        "-",
    ] {
        if !here.path(name).exists() && name != "-" {
            continue;
        }
        let mut file = fs::File::create(here.path("out")).unwrap();
        std::io::Write::write_all(&mut file, b"before ").unwrap();
        let status = std::process::Command::new(AEC)
            .current_dir(here.folder.path())
            .args([
                "decode", "--quiet", "--model", TINY, "two.aec", name, "--format", "png",
            ])
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .status()
            .unwrap();
        assert!(status.success(), "{name}");
        // The descriptor goes on to refer to the file that was written.
        std::io::Write::write_all(&mut file, b" after").unwrap();
        let wanted = [b"before ", &here.read("plain.png")[..], b" after"].concat();
        assert!(here.read("out") == wanted, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_over_the_size_limit_is_an_error() {
    let here = pictures();
    here.write("large.png", &png(&gradient(400, 300)));
    let old = here.read("two.aec");
    let output = here.bash("ulimit -f 1; exec $aec encode large.png two.aec -q 100");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write 'two.aec': "), "{stderr}");
    assert!(here.read("two.aec") == old);
    assert!(here.names().iter().all(|name| !name.starts_with('.')));
}

#[test]
fn runs_and_results_are_not_replaced() {
    let here = Workspace::new();
    fs::create_dir(here.path("run")).unwrap();
    fs::create_dir(here.path("res")).unwrap();
    fs::create_dir(here.path("pics")).unwrap();
    here.write("pics/a.png", &png(&gradient(64, 64)));
    for name in [
        "model.safetensors",
        "weights.safetensors",
        "checkpoint.safetensors",
        "log.tsv",
        "config.toml",
    ] {
        here.write(&format!("run/{name}"), b"mine");
        here.aec(&["train", "--data", "pics", "--out", "run"])
            .assert()
            .code(1)
            .stderr(contains(format!(
                "the folder 'run' holds a run already: {name}"
            )))
            .stderr(contains("--resume"))
            .stderr(contains("--overwrite"));
        fs::remove_file(here.path(&format!("run/{name}"))).unwrap();
    }
    for name in ["results.tsv", "index.html", "rd.svg"] {
        here.write(&format!("res/{name}"), b"mine");
        here.aec(&["bench", "pics", "--out", "res", "--model", TINY])
            .assert()
            .code(1)
            .stderr(contains(format!(
                "the folder 'res' holds results already: {name}"
            )));
        assert_eq!(here.read(&format!("res/{name}")), b"mine");
        fs::remove_file(here.path(&format!("res/{name}"))).unwrap();
    }
    assert!(files(&here.path("run")).is_empty() && files(&here.path("res")).is_empty());
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[cfg(unix)]
#[test]
fn names_and_errors_hold_no_codes_and_no_temporary_paths() {
    use std::os::unix::fs::PermissionsExt;
    let here = pictures();
    let name = "a\u{1b}[31m\nb.png";
    here.write(name, &here.read("one.png"));
    for args in [
        &["encode", name, "c\u{1b}[32m.aec", "--model", TINY][..],
        &["encode", "none\u{1b}[31m.png", "x.aec"],
        &["info", name],
        &["compare", name, "one.png"],
        &["compare", name, "none\u{1b}"],
        &["decode", "two.aec", "x.png", "--bad\u{1b}[31m"],
    ] {
        let output = here.aec(args).output().unwrap();
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8(stream).unwrap();
            assert!(!text.contains('\u{1b}'), "{args:?}: {text:?}");
        }
    }
    // Root may write anywhere.
    fs::create_dir(here.path("closed")).unwrap();
    fs::set_permissions(here.path("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let output = here
        .aec(&["encode", "one.png", "closed/x.aec", "--model", TINY])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains(".tmp"), "{stderr}");
}

#[test]
fn stripping_is_not_silent_about_more_than_metadata() {
    let here = Workspace::new();
    let mut file = jpeg(&gradient(40, 30));
    file.extend([1; 300]);
    here.write("a.jpg", &file);
    for strip in [&[][..], &["--strip"]] {
        let run = here
            .aec(&["encode", "a.jpg", "a.aec", "--model", TINY])
            .args(strip)
            .assert();
        run.success()
            .stderr(contains("300 bytes behind the picture"));
    }
}

#[test]
fn pictures_that_differ_below_eight_bits_are_not_called_identical() {
    let here = Workspace::new();
    for (name, low) in [("a.ppm", 0), ("b.ppm", 1)] {
        here.write(
            name,
            &[&b"P6\n1 1\n65535\n"[..], &[7, low, 8, 0, 9, 0]].concat(),
        );
    }
    let output = here
        .aec(&["compare", "--metric", "psnr", "--json", "a.ppm", "b.ppm"])
        .output();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"identical\":false"), "{text}");
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(warnings.contains("rounded"), "{warnings}");
    let run = here
        .aec(&["compare", "--metric", "psnr", "--json", "a.ppm", "a.ppm"])
        .assert();
    run.success().stdout(contains("\"identical\":false"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_no_fault_of_files() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    let output = here.bash("$aec info a.aec a.aec a.aec > /dev/full");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.matches("error:").count(), 1, "{stderr}");
    assert!(!stderr.contains("files failed"), "{stderr}");
    let output = here.bash("set -o pipefail; $aec info a.aec a.aec a.aec | true");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.is_empty(), "{stderr}");
}
