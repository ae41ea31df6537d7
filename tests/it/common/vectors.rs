//! The golden files of `tests/vectors`: how each was made, and what `results.txt`
//! says about it. Names that begin with `x-` are files that must be refused.
//!
//! Golden files are never replaced: what the encoder makes of the same pictures today is
//! in `encoded.txt`. `AEC_WRITE_VECTORS=1 cargo test --release --test it conformance` writes
//! files that are missing, and both lists; review the difference like code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Once;

use aec::Orientation;
use aec::unstable::{Alpha, Depth, Image, Resolution};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::{class, decode, encode, pictures};

/// Makes a file's bytes.
pub type Maker = fn() -> Vec<u8>;

/// One golden file.
pub struct Vector {
    /// Name of the file without `.aec`.
    pub name: &'static str,
    /// Encodes its picture, or damages a file, with the encoder of today.
    pub make: Maker,
}

/// The folder of the vectors: beside the source, or in the current folder where a compiled test was taken elsewhere.
pub fn folder() -> PathBuf {
    let here = PathBuf::from("tests/vectors");
    if here.is_dir() {
        here
    } else {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
    }
}

/// Every vector: those that decode, then those that must be refused.
pub fn all() -> Vec<Vector> {
    let list = VALID.iter().chain(super::broken::BROKEN);
    list.map(|(name, make)| Vector { name, make: *make })
        .collect()
}

impl Vector {
    fn path(&self) -> PathBuf {
        folder().join(format!("{}.aec", self.name))
    }

    /// The committed file.
    pub fn file(&self) -> Vec<u8> {
        write_if_asked();
        std::fs::read(self.path()).unwrap()
    }

    /// Whether the file must be refused.
    pub fn must_fail(&self) -> bool {
        self.name.starts_with("x-")
    }
}

/// Vectors that decode. The table in codec-spec.md, Appendix A, says what each is for.
#[rustfmt::skip]
const VALID: &[(&str, Maker)] = &[
    ("pixel", || encode(&pictures::flat(1, 1, [200, 60, 90]), 60.0, 64)),
    ("line", || encode(&pictures::scene(1, 3000), 40.0, 1024)),
    ("odd", || encode(&pictures::scene(17, 23), 60.0, 1024)),
    ("tiles", || encode(&pictures::scene(200, 150), 50.0, 64)),
    ("uneven-tiles", || encode(&pictures::scene(257, 131), 30.0, 128)),
    ("whole-tiles", || encode(&pictures::scene(128, 64), 50.0, 64)),
    ("one-over", || encode(&pictures::scene(65, 64), 50.0, 64)),
    ("gray", || encode(&pictures::gray_scene(40, 30), 60.0, 64)),
    ("orientation", || encode(&turned(Orientation::Rotate90), 60.0, 64)),
    ("metadata", || encode(&with_metadata(), 60.0, 64)),
    ("metadata-long", || encode(&with_long_metadata(), 60.0, 64)),
    ("quality-0", || encode(&pictures::scene(70, 50), 0.0, 64)),
    ("quality-37.5", || encode(&pictures::scene(70, 50), 37.5, 64)),
    ("quality-100", || encode(&pictures::scene(70, 50), 100.0, 64)),
    ("escapes", || encode(&pictures::noise(128, 64), 100.0, 64)),
    ("all-zero", all_zero),
    ("zero-map", || encode(&pictures::flat(128, 128, [180, 90, 60]), 25.0, 1024)),
    ("unknown-ancillary", unknown_ancillary),
    ("alpha", || encode(&pictures::with_alpha(pictures::scene(200, 150), Depth::Eight), 40.0, 128)),
    ("alpha-16", || encode(&pictures::with_alpha(pictures::scene(140, 90), Depth::Sixteen), 40.0, 64)),
    ("alpha-gray", || encode(&pictures::with_alpha(pictures::gray_scene(91, 33), Depth::Eight), 40.0, 128)),
    ("alpha-orientation", || encode(&turned_alpha(), 60.0, 64)),
    ("alpha-clear", || encode(&clear(), 60.0, 64)),
];

fn turned(orientation: Orientation) -> Image {
    let mut picture = pictures::scene(50, 20);
    picture.metadata.orientation = orientation;
    picture
}

fn turned_alpha() -> Image {
    let mut picture = pictures::with_alpha(pictures::scene(100, 37), Depth::Eight);
    picture.metadata.orientation = Orientation::Rotate270FlipH;
    picture
}

/// Transparent everywhere.
fn clear() -> Image {
    let alpha = Alpha::new(Depth::Eight, vec![0; 70 * 20]).unwrap();
    pictures::scene(70, 20).with_alpha(alpha).unwrap()
}

fn with_metadata() -> Image {
    let mut picture = pictures::scene(30, 40);
    picture.metadata.icc = Some(b"not really a profile".to_vec());
    // A TIFF header and one directory without entries.
    picture.metadata.exif = Some(b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec());
    picture.metadata.xmp = Some(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>".to_vec());
    picture.metadata.resolution = Resolution::per_inch(300, 150);
    picture
}

/// Blocks that are worth compressing: by repetition, by frequency and by both.
pub fn with_long_metadata() -> Image {
    let mut picture = with_metadata();
    let bytes = |count: u32, of: fn(u32) -> u32| (0..count).map(|i| of(i) as u8).collect();
    picture.metadata.icc = Some(bytes(700, |i| i * i / 64 % 23));
    picture.metadata.exif = Some(bytes(3000, |i| i % 700 % 97));
    picture.metadata.xmp = Some(
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>\n"
            .repeat(40)
            .into_bytes(),
    );
    picture
}

/// Without a zero map, whether or not the encoder writes one here.
fn all_zero() -> Vec<u8> {
    let mut layout = Layout::of(&encode(&pictures::flat(1, 1, [127; 3]), 0.0, 64));
    let tile = layout.payload(b"TILE");
    // The stream is empty, so that the checksum comes last.
    let checksum = tile.split_off(tile.len() - 4);
    *tile = [&[0][..], &checksum].concat();
    layout.bytes()
}

fn unknown_ancillary() -> Vec<u8> {
    let mut layout = Layout::of(&encode(&with_metadata(), 60.0, 64));
    layout.sections.insert(1, (*b"zTST", b"anything".to_vec()));
    layout.bytes()
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// The upright picture's RGB bytes, then its alpha samples in 1 or 2 little-endian bytes.
pub fn picture_bytes(picture: &Image) -> Vec<u8> {
    let mut bytes = picture.rgb.clone();
    if let Some(alpha) = &picture.alpha {
        let count = alpha.depth().bits() as usize / 8;
        let sample = |sample: &u16| sample.to_le_bytes().into_iter().take(count);
        bytes.extend(alpha.samples().iter().flat_map(sample));
    }
    bytes
}

/// What decoding a file comes to: the digest of [`picture_bytes`], or the name of the error.
pub fn outcome(file: &[u8]) -> String {
    match decode(file) {
        Ok(picture) => sha256(&picture_bytes(&picture)),
        Err(error) => class(&error),
    }
}

/// `results.txt`: name to the file's digest and its outcome.
pub fn results() -> BTreeMap<String, (String, String)> {
    let lines = read_list("results.txt");
    let split = |text: String| {
        text.split_once(' ')
            .map(|(file, outcome)| (file.into(), outcome.into()))
            .unwrap()
    };
    lines
        .into_iter()
        .map(|(name, text)| (name, split(text)))
        .collect()
}

/// `encoded.txt`: name to the digest of what the encoder makes.
pub fn encoded() -> BTreeMap<String, String> {
    read_list("encoded.txt")
}

/// The `name: text` lines of a list.
fn read_list(name: &str) -> BTreeMap<String, String> {
    write_if_asked();
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    pairs
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect()
}

/// Whether the environment asks to write the vectors (see the module's head).
pub fn is_asked_to_write() -> bool {
    std::env::var_os("AEC_WRITE_VECTORS").is_some()
}

/// Writes what is missing, and the lists, once, when asked to.
fn write_if_asked() {
    static ONCE: Once = Once::new();
    if is_asked_to_write() {
        ONCE.call_once(write);
    }
}

fn write() {
    let mut text = String::from(
        "# Written by AEC_WRITE_VECTORS=1 cargo test --release --test it conformance\n\
         # name: SHA-256 of the file, SHA-256 of the upright RGB and alpha bytes or the error\n",
    );
    for vector in all() {
        if !vector.path().exists() {
            std::fs::write(vector.path(), (vector.make)()).unwrap();
        }
        let file = std::fs::read(vector.path()).unwrap();
        let (name, digest, outcome) = (vector.name, sha256(&file), outcome(&file));
        writeln!(text, "{name}: {digest} {outcome}").unwrap();
    }
    std::fs::write(folder().join("results.txt"), text).unwrap();
    write_encoded();
}

fn write_encoded() {
    let mut text =
        String::from("# name: SHA-256 of what the encoder makes of the vector's picture\n");
    for vector in all().iter().filter(|vector| !vector.must_fail()) {
        writeln!(text, "{}: {}", vector.name, sha256(&(vector.make)())).unwrap();
    }
    std::fs::write(folder().join("encoded.txt"), text).unwrap();
}
