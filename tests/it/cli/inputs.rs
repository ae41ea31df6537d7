//! What is said of pictures that are not kept whole, or not read, and what metadata comes through.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aec::unstable::Resolution;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use super::{TINY, Workspace};

/// A folder with a file of tests/inputs.
pub(super) fn with_input(name: &str) -> Workspace {
    let here = Workspace::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs");
    here.write(name, &fs::read(folder.join(name)).unwrap());
    here
}

/// What `encode` with the tiny model says.
fn encode(here: &Workspace, args: &[&str]) -> assert_cmd::assert::Assert {
    here.aec(&[&["encode", "--model", TINY], args].concat())
        .assert()
}

#[test]
fn what_is_not_kept_is_a_warning_that_quiet_and_strip_silence() {
    let here = with_input("iptc.jpg");
    let line = "warning: 'iptc.jpg': not kept: IPTC data\n";
    encode(&here, &["iptc.jpg", "a.aec"])
        .success()
        .stderr(contains(line));
    encode(&here, &["--out-dir", "out", "iptc.jpg"])
        .success()
        .stderr(contains(line));
    for option in ["--quiet", "--strip"] {
        encode(&here, &[option, "iptc.jpg", "a.aec"])
            .success()
            .stderr(contains("not kept").not());
    }
}

#[test]
fn damage_is_a_warning_or_an_error() {
    encode(&with_input("noeoi.jpg"), &["noeoi.jpg", "a.aec"])
        .success()
        .stderr(contains(
            "warning: 'noeoi.jpg': the JPEG data has no end marker\n",
        ));
    let here = with_input("cut50_eoi.jpg");
    encode(&here, &["cut50_eoi.jpg", "a.aec"])
        .code(1)
        .stderr(contains(
            "error: cannot read 'cut50_eoi.jpg': invalid image: the JPEG data ends too early",
        ));
    assert_eq!(here.names(), ["cut50_eoi.jpg"]);
}

#[test]
fn what_is_not_read_is_named() {
    let here = Workspace::new();
    let cases: [(&[u8], &str); 6] = [
        (b"", "the file is empty"),
        (b"\x8aA", "not a PNG, JPEG, WebP, PPM, TIFF"),
        (b"\x8aAEC\r\n\x01", "it is an .aec file already"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "HEIC pictures are not read",
        ),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "SVG pictures are not read",
        ),
        (b"Once upon a time", "not a PNG, JPEG, WebP, PPM, TIFF"),
    ];
    for (bytes, message) in cases {
        here.write("x", bytes);
        encode(&here, &["x", "a.aec"])
            .code(1)
            .stderr(contains(message));
    }
    for (name, message) in [
        ("x.jpg", "JPEG is not written"),
        ("x.webp", "WebP is not written"),
    ] {
        here.aec(&["decode", "x", name])
            .assert()
            .code(2)
            .stderr(contains(message));
    }
}

#[test]
fn a_huge_file_of_nothing_is_refused_by_its_start() {
    let here = Workspace::new();
    let file = fs::File::create(here.path("zeros")).unwrap();
    file.set_len(1 << 36).unwrap();
    encode(&here, &["zeros", "a.aec"])
        .code(1)
        .stderr(contains("not a PNG"));
    here.aec(&["decode", "zeros", "a.png"])
        .assert()
        .code(1)
        .stderr(contains("not an aec file"));
    here.aec(&["info", "zeros"])
        .assert()
        .code(1)
        .stderr(contains("not an aec file"));
}

#[test]
fn metadata_comes_through_compressed() {
    let here = with_input("gray_rgbicc.jpg");
    encode(&here, &["gray_rgbicc.jpg", "a.aec"]).success();
    here.aec(&["decode", "--model", TINY, "a.aec", "a.png"])
        .assert()
        .success();
    let (from, to) = (here.image("gray_rgbicc.jpg"), here.image("a.png"));
    assert_eq!(to.metadata, from.metadata);
    let profile = from.metadata.icc.unwrap();
    let file = here.read("a.aec");
    assert!(!file.windows(100).any(|part| part == &profile[..100]));
    here.aec(&["decode", "--model", TINY, "a.aec", "a.ppm"])
        .assert()
        .success()
        .stderr(contains("warning: 'a.ppm': not kept: the ICC profile"));

    let here = with_input("phys.png");
    encode(&here, &["--strip", "phys.png", "a.aec"]).success();
    here.aec(&["decode", "--model", TINY, "a.aec", "a.png"])
        .assert()
        .success();
    assert_eq!(
        here.image("a.png").metadata.resolution,
        Resolution::per_inch(300, 300)
    );
    here.aec(&["info", "a.aec"])
        .assert()
        .success()
        .stdout(contains("resolution "));
}

/// An XMP packet of 18 kB as photo editors write them: settings, a history with identifiers, keywords, padding.
fn packet() -> String {
    let mut state = 1_u64;
    let mut hex = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!(
            "{state:016x}{:016x}",
            state.rotate_left(29) ^ 0x1234_5678_9abc
        )
    };
    let settings: String = (0..120)
        .map(|i| {
            format!(
                "   crs:Setting{}=\"{}\"\n",
                i * 37 % 997,
                i * i * 7 % 201 - 100
            )
        })
        .collect();
    let history: String = (0..50)
        .map(|i| {
            format!(
                "     <rdf:li\n      stEvt:action=\"saved\"\n      stEvt:instanceID=\"xmp.iid:{}\"\n      \
                 stEvt:when=\"2026-0{}-{:02}T{:02}:{:02}:07+02:00\"\n      \
                 stEvt:softwareAgent=\"Adobe Photoshop Lightroom Classic 15.1 (Macintosh)\"\n      stEvt:changed=\"/metadata\"/>\n",
                hex(), 1 + i % 9, 1 + i % 28, i % 24, i * 7 % 60
            )
        })
        .collect();
    let head = "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n \
                <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n  <rdf:Description rdf:about=\"\"\n";
    let tail = "    </rdf:Seq></xmpMM:History></rdf:Description></rdf:RDF></x:xmpmeta>\n";
    let padding = format!("{}\n", " ".repeat(100)).repeat(20);
    format!(
        "{head}{settings}  ><xmpMM:History><rdf:Seq>\n{history}{tail}{padding}<?xpacket end=\"w\"?>"
    )
}

#[test]
fn a_packet_of_real_size_takes_a_fraction_of_it() {
    let here = with_input("phys.png");
    let mut image = here.image("phys.png");
    let xmp = packet();
    assert!((17_000..19_000).contains(&xmp.len()), "{}", xmp.len());
    image.metadata.xmp = Some(xmp.into_bytes());
    here.write("a.png", &super::png(&image));
    encode(&here, &["a.png", "a.aec"]).success();
    encode(&here, &["phys.png", "b.aec"]).success();
    let added = here.read("a.aec").len() - here.read("b.aec").len();
    assert!(added < 3200, "{added} bytes");
    here.aec(&["decode", "--model", TINY, "a.aec", "c.png"])
        .assert()
        .success();
    assert_eq!(here.image("c.png").metadata.xmp, image.metadata.xmp);
}

#[test]
fn modification_times_are_kept_if_asked() {
    let here = with_input("phys.png");
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let set = |name: &str| {
        fs::File::options()
            .append(true)
            .open(here.path(name))
            .unwrap()
            .set_modified(then)
    };
    let time = |name: &str| fs::metadata(here.path(name)).unwrap().modified().unwrap();
    set("phys.png").unwrap();
    encode(&here, &["phys.png", "a.aec"]).success();
    assert_ne!(time("a.aec"), then);
    encode(&here, &["--preserve", "phys.png", "b.aec"]).success();
    encode(&here, &["--preserve", "--out-dir", ".", "phys.png"]).success();
    here.aec(&["decode", "--preserve", "--model", TINY, "b.aec", "b.png"])
        .assert()
        .success();
    for name in ["b.aec", "phys.aec", "b.png"] {
        assert_eq!(time(name), then, "{name}");
    }
}
