//! The public interface, name by name. Whoever has to change or remove a line here breaks programs: that takes a new
//! version by the rules of semantic versioning, and a word in CHANGELOG.md. What is new is added here.

use std::ops::ControlFlow;
use std::path::Path;

use aec::{
    Alpha, Damage, Decoder, Depth, Effort, Encoder, Error, Image, Info, Limits, Metadata, Model,
    Orientation, Quality, Region, Resolution, Result, Tune,
};
use image::{ColorType, DynamicImage, ImageDecoder, ImageEncoder};

/// Every name of the crate's root.
const NAMES: [&str; 21] = [
    "Alpha",
    "Damage",
    "Decoder",
    "Depth",
    "Effort",
    "Encoder",
    "Error",
    "Image",
    "Info",
    "Limits",
    "Metadata",
    "Model",
    "Orientation",
    "Quality",
    "Region",
    "Resolution",
    "Result",
    "Tune",
    "decode",
    "encode",
    "register_image_hooks",
];

#[test]
fn no_other_names_are_public() {
    let source = include_str!("../../src/lib.rs");
    let mut found = Vec::new();
    for statement in source.split("\npub use ").skip(1) {
        let (statement, _) = statement.split_once(';').unwrap();
        let (_, names) = statement.split_once("::").unwrap();
        let names = names.split(|c: char| !c.is_alphanumeric() && c != '_');
        found.extend(names.filter(|name| !name.is_empty()));
    }
    found.sort_unstable();
    assert_eq!(found, NAMES);
    let modules: Vec<&str> = source.split("\npub mod ").skip(1).collect();
    assert!(matches!(modules[..], [hidden] if hidden.starts_with("unstable;")));
}

type Bytes = &'static [u8];
type Watcher = fn(u64, u64) -> ControlFlow<()>;

#[test]
fn functions() {
    let _: fn(&[u8]) -> Result<Image> = aec::decode;
    let _: fn(&Image, Quality) -> Result<Vec<u8>> = aec::encode;
    let _: fn() -> bool = aec::register_image_hooks;
}

#[test]
fn decoder() {
    type D = Decoder<'static>;
    type Left = (Image, Vec<Damage>);
    fn is_of_the_image_crate(_: impl ImageDecoder + Send + Sync) {}
    let _: fn(D) = is_of_the_image_crate;
    let _: fn(Bytes) -> Result<D> = Decoder::new;
    let _: fn(Bytes, Limits) -> Result<D> = Decoder::with_limits;
    let _: fn(D, Region) -> Result<D> = D::region;
    let _: fn(D, &Model) -> D = D::model;
    let _: fn(D, Watcher) -> D = D::progress;
    let _: fn(&D) -> Info = D::info;
    let _: fn(&D) -> ColorType = D::color_type;
    let _: fn(Bytes) -> Result<Info> = Info::read;
    let _: fn(&D) -> Result<Metadata> = D::metadata;
    let _: fn(&D) -> Result<Image> = D::decode;
    let _: fn(&D, &mut [u8]) -> Result<()> = D::decode_into;
    let _: fn(&D) -> usize = D::buffer_len;
    let _: fn(&D) -> Result<Left> = D::decode_damaged;
    let _ = |info: Info| -> (u32, u32, bool, Option<Depth>, Quality, String) {
        (
            info.width,
            info.height,
            info.is_gray,
            info.alpha,
            info.quality,
            info.model,
        )
    };
    let _ = |damage: Damage| match damage {
        Damage::Tile { region, error } | Damage::Alpha { region, error } => (Some(region), error),
        Damage::File(error) => (None, error),
        _ => unreachable!("kinds may be added"),
    };
}

#[test]
fn encoder() {
    type E = Encoder<'static, Vec<u8>>;
    fn is_of_the_image_crate(_: impl ImageEncoder + Send + Sync) {}
    let _: fn(E) = is_of_the_image_crate;
    let _: fn(Vec<u8>) -> E = Encoder::new;
    let _: fn(E, Quality) -> E = E::quality;
    let _: fn(E, u64) -> E = E::max_bytes;
    let _: fn(E, f64) -> E = E::max_bits_per_pixel;
    let _: fn(E, f64) -> E = E::min_psnr;
    let _: fn(E, bool) -> E = E::best_effort;
    let _: fn(E, Effort) -> E = E::effort;
    let _: fn(E, Tune) -> E = E::tune;
    let _: fn(E, u32) -> E = E::tile_size;
    let _: fn(E, Limits) -> E = E::limits;
    let _: fn(E, &Model) -> E = E::model;
    let _: fn(E, Metadata) -> E = E::metadata;
    let _: fn(E, Watcher) -> E = E::progress;
    let _: fn(E, &Image) -> Result<()> = E::encode;
}

#[test]
fn pictures() {
    let _: fn(u32, u32, Vec<u8>) -> Result<Image> = Image::new;
    let _: fn(u32, u32, &[u8]) -> Result<Image> = Image::from_gray;
    let _: fn(u32, u32, &[u8]) -> Result<Image> = Image::from_rgba;
    let _: fn(&Image) -> Vec<u8> = Image::to_rgba;
    let _: fn(Image, Alpha) -> Result<Image> = Image::with_alpha;
    let _: fn(Image) -> Result<Image> = Image::into_upright;
    let _: fn(&Image) -> Result<()> = Image::check;
    let _: fn(&Image) -> (u32, u32) = Image::upright_size;
    let _: fn(&Image) -> u64 = Image::pixels;
    let _: fn(&Image) -> Vec<u8> = Image::to_gray;
    let _: fn(&mut Image) = Image::make_gray;
    let _: fn(&mut Image, u8) = Image::flatten;
    let _: fn(DynamicImage) -> Result<Image> = TryFrom::try_from;
    let _: fn(Image) -> Result<DynamicImage> = TryFrom::try_from;
    let _ = |image: Image| -> (u32, u32, Vec<u8>, bool, Option<Alpha>, Metadata) {
        (
            image.width,
            image.height,
            image.rgb,
            image.is_gray,
            image.alpha,
            image.metadata,
        )
    };
    let _: fn(Depth, Vec<u16>) -> Result<Alpha> = Alpha::new;
    let _: fn(Vec<u16>) -> Alpha = Alpha::from_wide;
    let _: fn(&Alpha) -> Depth = Alpha::depth;
    let _: fn(&Alpha) -> &[u16] = Alpha::samples;
    let _: fn(&Alpha) -> bool = Alpha::is_opaque;
    let _: fn(Depth) -> u32 = Depth::bits;
    let _: fn(Depth) -> u16 = Depth::max;
    let _ = [Depth::Eight, Depth::Sixteen];
    let _: fn() -> Metadata = Metadata::default;
    let _: fn(&mut Metadata) = Metadata::strip;
    let _: fn(&mut Metadata) = Metadata::reset_orientation;
    let _: fn(&mut Metadata) = Metadata::read_orientation;
    let _ = |metadata: Metadata| -> ([Option<Vec<u8>>; 3], Option<Resolution>, Orientation) {
        (
            [metadata.icc, metadata.exif, metadata.xmp],
            metadata.resolution,
            metadata.orientation,
        )
    };
    let _: fn(u32, u32) -> Option<Resolution> = Resolution::per_meter;
    let _: fn(u32, u32) -> Option<Resolution> = Resolution::per_inch;
    let _: fn(u32, u32) -> Option<Resolution> = Resolution::ratio;
    let _ = |Resolution { x, y, is_per_meter }: Resolution| -> (u32, u32, bool) {
        (x, y, is_per_meter)
    };
    let _: fn(u8) -> Option<Orientation> = Orientation::from_exif;
}

#[test]
fn choices() {
    let _: fn(f64) -> Result<Quality> = Quality::from_percent;
    let _: fn(u16) -> Result<Quality> = Quality::from_raw;
    let _: fn(Quality) -> f64 = Quality::percent;
    let _: fn(Quality) -> u16 = Quality::raw;
    let _: u16 = Quality::MAX_RAW;
    let _: fn(u8) -> Result<Effort> = Effort::new;
    let _: fn(Effort) -> u8 = Effort::level;
    let _ = [Effort::FASTEST, Effort::DEFAULT, Effort::SLOWEST];
    let _ = [Tune::Psnr, Tune::Ssim];
    let _: fn(Tune) -> &'static str = Tune::name;
    let _: fn() -> (Quality, Effort, Tune, Limits) = Default::default;
    let _ = |Region {
                 x,
                 y,
                 width,
                 height,
             }: Region|
     -> [u32; 4] { [x, y, width, height] };
    let _ = |limits: Limits| -> (u64, u32, u64) {
        let Limits {
            max_pixels,
            max_side,
            max_metadata_bytes,
        } = limits;
        (max_pixels, max_side, max_metadata_bytes)
    };
    let _: fn(&'static Path) -> Result<Model> = Model::load;
    let _: fn(&[u8]) -> Result<Model> = Model::from_bytes;
    let _: fn(Tune) -> Result<Model> = Model::built_in;
    let _: fn(&Model) -> String = Model::id;
    let _: fn(&Model) -> &str = Model::name;
    let _: fn(&Model) -> Model = Clone::clone;
}

#[test]
fn errors() {
    let _ = |error: Error| match error {
        Error::NotAec | Error::Cancelled => (0, String::new()),
        Error::UnsupportedVersion { found, supported } => {
            (u64::from(found.min(supported)), String::new())
        }
        Error::Truncated { what, needed, left } => (needed - left, what.to_owned()),
        Error::LimitExceeded { what, found, limit } => (found - limit, what.to_owned()),
        Error::TargetOutOfReach {
            wanted,
            closest,
            quality,
        } => (quality as u64, wanted + &closest),
        Error::WrongModel { needed, given } => (0, needed + &given),
        Error::UnknownModel(text)
        | Error::Corrupt(text)
        | Error::Unsupported(text)
        | Error::Weights(text)
        | Error::InvalidOption(text)
        | Error::Image(text)
        | Error::Compute(text) => (0, text),
        Error::Io(error) => (0, error.to_string()),
        _ => unreachable!("kinds may be added"),
    };
}
