//! What happens to files: replaced whole, or left alone.

use std::fs;

use predicates::str::contains;

use super::{AEC, TINY, Workspace, gradient};

#[test]
fn a_failed_run_keeps_the_old_output() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    here.write("cut.aec", &here.read("a.aec")[..30]);
    let old = here.read("a.png");
    here.aec(&["decode", "cut.aec", "a.png"]).assert().code(1);
    assert_eq!(here.read("a.png"), old);
}

#[test]
fn no_clobber_and_overwriting() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    here.write("old.png", b"old");
    here.aec(&["decode", "a.aec", "old.png", "--no-clobber"])
        .assert()
        .code(1)
        .stderr(contains("cannot write 'old.png': it exists already"));
    assert_eq!(here.read("old.png"), b"old");
    here.aec(&["decode", "a.aec", "new.png", "--no-clobber"])
        .assert()
        .success();
    here.aec(&["decode", "a.aec", "old.png", "--overwrite"])
        .assert()
        .success();
    assert_eq!(here.read("old.png"), here.read("new.png"));
    here.aec(&["decode", "a.aec", "x.png", "--overwrite", "--no-clobber"])
        .assert()
        .code(2);
}

#[cfg(unix)]
#[test]
fn links_devices_and_permissions_survive() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let here = Workspace::with_encoded(&gradient(40, 30));
    here.write("real.png", b"");
    fs::set_permissions(here.path("real.png"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.png", here.path("link.png")).unwrap();
    here.aec(&["decode", "a.aec", "link.png"])
        .assert()
        .success();
    assert!(here.path("link.png").is_symlink());
    assert!(here.read("real.png").starts_with(b"\x89PNG"));
    let mode = fs::metadata(here.path("real.png"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    here.aec(&["decode", "a.aec", "/dev/null", "--format", "png"])
        .assert()
        .success();
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_success() {
    let here = Workspace::with_encoded(&gradient(600, 400));
    for format in ["ppm", "png"] {
        let mut child = std::process::Command::new(AEC)
            .current_dir(here.folder.path())
            .args(["decode", "--quiet", "--format", format, "a.aec", "-"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}");
        assert!(output.stderr.is_empty(), "{format}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_leaves_nothing() {
    let here = Workspace::new();
    let mut child = std::process::Command::new(AEC)
        .current_dir(here.folder.path())
        .args(["encode", "-", "a.aec"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Waiting for the child would close its input, and the end of input would race the signal.
    let input = child.stdin.take();
    // It waits for its input; the handler is in place long before.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(input);
    assert!(here.names().is_empty());
}

#[test]
fn no_command_replaces_its_input() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    fs::copy(here.path("a.aec"), here.path("in.npy")).unwrap();
    fs::copy(here.path("a.png"), here.path("in.html")).unwrap();
    fs::copy(TINY, here.path("in.safetensors")).unwrap();
    fs::create_dir(here.path("maps")).unwrap();
    fs::copy(here.path("a.png"), here.path("maps/bits.png")).unwrap();
    for (input, args) in [
        ("in.npy", &["latent", "export", "in.npy", "in.npy"][..]),
        ("in.html", &["inspect", "in.html", "-o", "in.html"]),
        ("maps/bits.png", &["inspect", "maps/bits.png", "-o", "maps"]),
        (
            "in.safetensors",
            &[
                "export",
                "in.safetensors",
                "--data",
                ".",
                "--out",
                "./in.safetensors",
            ],
        ),
        (
            "in.safetensors",
            &[
                "fit-tables",
                "--model",
                "in.safetensors",
                "--data",
                ".",
                "--out",
                "in.safetensors",
            ],
        ),
    ] {
        let before = here.read(input);
        let run = here.aec(args).arg("--overwrite").assert().code(1);
        run.stderr(contains("it is the input"));
        assert_eq!(here.read(input), before, "{args:?}");
    }
}

#[test]
fn what_cannot_be_a_file_is_refused_before_any_work() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    // The input is read only when the output is known to be possible.
    here.aec(&["encode", "none.png", "b.aec/"])
        .assert()
        .code(1)
        .stderr(contains(
            "cannot write 'b.aec/': it has the name of a folder",
        ));
    here.aec(&["encode", "none.png", "none/b.aec"])
        .assert()
        .code(1)
        .stderr(contains("there is no folder 'none'"));
    here.aec(&["decode", "a.aec", "a.pgm"])
        .assert()
        .code(1)
        .stderr(contains("PGM cannot hold the colors"));
    assert_eq!(here.names(), ["a.aec", "a.png"]);
}

#[cfg(unix)]
#[test]
fn a_time_is_kept_in_read_only_files_too() {
    use std::os::unix::fs::PermissionsExt;
    let here = Workspace::with_encoded(&gradient(40, 30));
    let time = |name: &str| fs::metadata(here.path(name)).unwrap().modified().unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let input = fs::File::options().append(true).open(here.path("a.aec"));
    input.unwrap().set_modified(then).unwrap();
    fs::set_permissions(here.path("a.png"), fs::Permissions::from_mode(0o444)).unwrap();
    here.aec(&["decode", "a.aec", "a.png", "--overwrite", "--preserve"])
        .assert()
        .success();
    assert_eq!(time("a.png"), then);
    let mode = fs::metadata(here.path("a.png")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o444);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_no_fault_of_the_picture() {
    let here = Workspace::with_encoded(&gradient(40, 30));
    for format in ["png", "ppm"] {
        here.aec(&["decode", "a.aec", "/dev/full", "--format", format])
            .assert()
            .code(1)
            .stderr(contains(
                "cannot write '/dev/full': No space left on device",
            ));
    }
}
