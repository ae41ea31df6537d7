//! The library as other programs use it: through its public names alone, with or without default features.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // tests know their numbers

mod surface;

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use aec::{
    Alpha, Damage, Decoder, Depth, Effort, Encoder, Error, Image, Info, Limits, Metadata, Model,
    Orientation, Quality, Region, Resolution, Result, Tune,
};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError};

const TINY: &[u8] = include_bytes!("../vectors/tiny.safetensors");
const FASTEST: Effort = Effort::FASTEST;

/// A smooth picture.
fn picture(width: u32, height: u32) -> Image {
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 90]));
    Image::new(width, height, rgb.collect()).unwrap()
}

/// With alpha, where pixels differ in it.
fn with_alpha(image: Image, depth: Depth) -> Image {
    let samples = (0..image.pixels()).map(|i| (i * 3 % 200) as u16);
    let alpha = Alpha::new(depth, samples.collect()).unwrap();
    image.with_alpha(alpha).unwrap()
}

fn encoded(image: &Image) -> Vec<u8> {
    let mut file = Vec::new();
    Encoder::new(&mut file)
        .effort(FASTEST)
        .encode(image)
        .unwrap();
    file
}

/// Every kind of samples that a file may hold.
fn kinds() -> Vec<Image> {
    let gray = Image::from_gray(
        37,
        21,
        &(0..37 * 21).map(|i| (i % 251) as u8).collect::<Vec<_>>(),
    );
    let (color, gray) = (picture(37, 21), gray.unwrap());
    let mut kinds = vec![color.clone(), gray.clone()];
    for image in [color, gray] {
        kinds.push(with_alpha(image.clone(), Depth::Eight));
        kinds.push(with_alpha(image, Depth::Sixteen));
    }
    kinds
}

#[test]
fn functions_and_types_give_the_same_files_and_pictures() {
    let image = picture(90, 70);
    let file = aec::encode(&image, Quality::from_percent(75.0).unwrap()).unwrap();
    let mut same = Vec::new();
    let encoder = Encoder::new(&mut same)
        .quality(Quality::from_percent(75.0).unwrap())
        .effort(Effort::DEFAULT)
        .tune(Tune::Ssim);
    encoder.encode(&image).unwrap();
    assert!(file == same);
    let back = aec::decode(&file).unwrap();
    let decoder = Decoder::new(Cursor::new(&file)).unwrap();
    assert_eq!(decoder.decode().unwrap(), back);
    let (left, damage): (Image, Vec<Damage>) = decoder.decode_damaged().unwrap();
    assert!(left == back && damage.is_empty());
}

#[test]
fn info_and_metadata_come_without_decoding() {
    let mut image = with_alpha(picture(40, 30), Depth::Sixteen);
    image.metadata.orientation = Orientation::Rotate90;
    image.metadata.icc = Some(vec![7; 30]);
    image.metadata.resolution = Resolution::per_inch(300, 150);
    let mut file = encoded(&image);
    // The symbols are damaged, the structure is not looked at.
    let end = file.len();
    let decoder = Decoder::new(&file[..]).unwrap();
    let info: Info = decoder.info();
    assert_eq!((info.width, info.height), (30, 40));
    assert_eq!((info.is_gray, info.alpha), (false, Some(Depth::Sixteen)));
    assert_eq!(info.quality, Quality::default());
    let metadata: Metadata = decoder.metadata().unwrap();
    assert_eq!(metadata, decoder.decode().unwrap().metadata);
    assert_eq!(metadata.orientation, Orientation::NoTransforms);
    file.truncate(end - 1);
    let decoder = Decoder::new(&file[..]).unwrap();
    assert_eq!(decoder.info(), info);
    assert!(matches!(decoder.decode(), Err(Error::Truncated { .. })));
    assert_eq!(decoder.decode_damaged().unwrap().1.len(), 1);
}

#[test]
fn limits_and_headers_are_checked_first() {
    let file = encoded(&picture(80, 80));
    let limits = Limits {
        max_pixels: 6399,
        ..Limits::default()
    };
    let refused = Decoder::with_limits(&file[..], limits).unwrap_err();
    assert!(matches!(refused, Error::LimitExceeded { found: 6400, .. }));
    // Nothing is read behind what is no header.
    let mut endless = std::io::repeat(7);
    assert!(matches!(Decoder::new(&mut endless), Err(Error::NotAec)));
    let refused = Encoder::new(Vec::new())
        .limits(limits)
        .encode(&picture(80, 80));
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })));
}

#[test]
fn a_region_is_a_part_of_the_picture() {
    let file = encoded(&picture(150, 100));
    let whole: DynamicImage = aec::decode(&file).unwrap().try_into().unwrap();
    let (x, y, width, height) = (31, 20, 70, 45);
    let region = Region {
        x,
        y,
        width,
        height,
    };
    let decoder = Decoder::new(&file[..]).unwrap();
    let decoder = decoder.region(region).unwrap();
    assert_eq!(decoder.info().width, 150);
    assert_eq!(decoder.dimensions(), (width, height));
    let part = DynamicImage::from_decoder(decoder).unwrap();
    assert_eq!(part, whole.crop_imm(x, y, width, height));
    let outside = Region { x: 100, ..region };
    let refused = Decoder::new(&file[..]).unwrap().region(outside);
    assert!(matches!(refused, Err(Error::InvalidOption(_))));
}

#[test]
fn samples_are_those_of_the_image_crate_for_every_kind() {
    for image in kinds() {
        for orientation in [Orientation::NoTransforms, Orientation::Rotate270FlipH] {
            let mut image = image.clone();
            image.metadata.orientation = orientation;
            let file = encoded(&image);
            let decoder = Decoder::new(&file[..]).unwrap();
            let mut samples = vec![0; decoder.buffer_len()];
            decoder.decode_into(&mut samples).unwrap();
            let decoded = aec::decode(&file).unwrap();
            let picture = DynamicImage::try_from(decoded.clone()).unwrap();
            assert!(picture.as_bytes() == samples);
            assert_eq!(picture.color(), decoder.color_type());
            assert_eq!(DynamicImage::from_decoder(decoder).unwrap(), picture);
            assert!(Image::try_from(picture).unwrap().rgb == decoded.rgb);
            let mut short = vec![0; samples.len() - 1];
            let refused = Decoder::new(&file[..]).unwrap().decode_into(&mut short);
            assert!(matches!(refused, Err(Error::InvalidOption(_))));
        }
    }
}

#[test]
fn the_image_crate_writes_what_the_encoder_does() {
    for image in kinds() {
        let file = encoded(&image);
        let source = DynamicImage::try_from(image).unwrap();
        let mut written = Vec::new();
        let encoder = Encoder::new(&mut written).effort(FASTEST);
        source.write_with_encoder(encoder).unwrap();
        assert!(written == file);
    }
    // Colors of 16 bits are rounded; what is no integer is refused.
    let wide = DynamicImage::ImageRgb16(DynamicImage::try_from(picture(9, 9)).unwrap().into());
    let mut written = Vec::new();
    let encoder = Encoder::new(&mut written).effort(FASTEST);
    wide.write_with_encoder(encoder).unwrap();
    assert!(written == encoded(&picture(9, 9)));
    let float = DynamicImage::new_rgb32f(9, 9);
    let refused = float.write_with_encoder(Encoder::new(Vec::new()));
    assert!(matches!(refused, Err(ImageError::Unsupported(_))));
    let refused = Encoder::new(Vec::new()).write_image(&[0; 5], 1, 2, ExtendedColorType::Rgb8);
    assert!(matches!(refused, Err(ImageError::Parameter(_))));
}

#[test]
fn metadata_goes_with_the_picture_or_instead_of_its_own() {
    let mut image = picture(20, 10);
    image.metadata.xmp = Some(b"<x/>".to_vec());
    let mut metadata = Metadata::default();
    metadata.exif = Some(b"MM\0*\0\0\0\x08\0\0\0\0\0\0".to_vec());
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file)
        .effort(FASTEST)
        .metadata(metadata.clone());
    encoder.encode(&image).unwrap();
    assert_eq!(aec::decode(&file).unwrap().metadata, metadata);
    // The image crate's way, with an orientation in Exif that the decoder applies.
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0".to_vec();
    exif.extend([0; 4]);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file).effort(FASTEST);
    encoder.set_icc_profile(vec![5; 9]).unwrap();
    encoder.set_exif_metadata(exif).unwrap();
    let source = DynamicImage::try_from(image).unwrap();
    source.write_with_encoder(encoder).unwrap();
    let mut decoder = Decoder::new(&file[..]).unwrap();
    assert_eq!(decoder.dimensions(), (10, 20));
    assert_eq!(decoder.icc_profile().unwrap(), Some(vec![5; 9]));
    let exif = decoder.exif_metadata().unwrap().unwrap();
    let orientation = Orientation::from_exif_chunk(&exif);
    assert_eq!(orientation, Some(Orientation::NoTransforms));
}

#[test]
fn progress_reaches_the_end_and_can_stop() {
    let image = picture(150, 100);
    let (most, total) = (AtomicU64::new(0), AtomicU64::new(1));
    let watch = |done, of| {
        most.fetch_max(done, Ordering::Relaxed);
        total.store(of, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let mut file = Vec::new();
    Encoder::new(&mut file)
        .progress(watch)
        .encode(&image)
        .unwrap();
    assert_eq!(
        most.swap(0, Ordering::Relaxed),
        total.load(Ordering::Relaxed)
    );
    let decoder = Decoder::new(&file[..]).unwrap().progress(watch);
    decoder.decode().unwrap();
    assert_eq!(most.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
    let stop = |_, _| ControlFlow::Break(());
    let mut nothing = Vec::new();
    let stopped = Encoder::new(&mut nothing).progress(stop).encode(&image);
    assert!(matches!(stopped, Err(Error::Cancelled)) && nothing.is_empty());
    let stopped = Decoder::new(&file[..]).unwrap().progress(stop).decode();
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

type Ask = for<'a> fn(Encoder<'a, &'a mut Vec<u8>>) -> Encoder<'a, &'a mut Vec<u8>>;

#[test]
fn goals_are_met_or_are_errors() {
    let image = picture(120, 90);
    let goal = |ask: Ask| -> Result<Vec<u8>> {
        let mut file = Vec::new();
        ask(Encoder::new(&mut file).effort(FASTEST)).encode(&image)?;
        Ok(file)
    };
    assert!(goal(|encoder| encoder.max_bytes(500)).unwrap().len() <= 500);
    let rate = goal(|encoder| encoder.max_bits_per_pixel(0.3)).unwrap();
    assert!(rate.len() <= 120 * 90 * 3 / 80);
    let sharp = aec::decode(&goal(|encoder| encoder.min_psnr(40.0)).unwrap()).unwrap();
    let pairs = image.rgb.iter().zip(&sharp.rgb);
    let error: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    let psnr = 10.0 * (255.0_f64.powi(2) * image.rgb.len() as f64 / error).log10();
    assert!(psnr >= 40.0, "{psnr}");
    let missed = goal(|encoder| encoder.max_bytes(20));
    assert!(matches!(missed, Err(Error::TargetOutOfReach { .. })));
}

#[test]
fn models_of_ones_own_code_and_are_named() {
    let model = Model::from_bytes(TINY).unwrap();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/tiny.safetensors");
    std::fs::write(path, TINY).unwrap();
    assert_eq!(Model::load(path).unwrap().id(), model.id());
    assert_eq!(model.name(), "tiny");
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file).model(&model).tile_size(64);
    encoder.encode(&picture(70, 70)).unwrap();
    let decoder = Decoder::new(&file[..]).unwrap();
    assert_eq!(decoder.info().model, model.id());
    let missing = decoder.decode();
    assert!(matches!(missing, Err(Error::UnknownModel(id)) if id == model.id()));
    let image = decoder.model(&model).decode().unwrap();
    assert_eq!((image.width, image.height), (70, 70));
}

#[test]
fn files_open_by_name_and_by_content() {
    assert!(aec::register_image_hooks());
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/by-name.aec");
    let by_name = |file: &[u8]| {
        std::fs::write(path, file).unwrap();
        image::open(path)
    };
    let by_content = |file: &[u8]| {
        let reader = image::ImageReader::new(Cursor::new(file));
        reader.with_guessed_format().unwrap().decode()
    };
    let file = encoded(&with_alpha(picture(30, 20), Depth::Sixteen));
    let want = DynamicImage::try_from(aec::decode(&file).unwrap()).unwrap();
    assert_eq!(by_name(&file).unwrap(), want);
    assert_eq!(by_content(&file).unwrap(), want);
    let cut = &file[..file.len() - 1];
    assert!(by_name(cut).is_err() && by_content(cut).is_err());
    let mut of_another_model = Vec::new();
    let model = Model::from_bytes(TINY).unwrap();
    let encoder = Encoder::new(&mut of_another_model).model(&model);
    encoder.encode(&picture(30, 20)).unwrap();
    let refused = by_name(&of_another_model).unwrap_err();
    assert!(matches!(refused, ImageError::Unsupported(_)));
    assert!(refused.to_string().contains(&model.id()), "{refused}");
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let file = encoded(&picture(40, 30));
    let limits = Limits {
        max_metadata_bytes: 1 << 10,
        ..Limits::default()
    };
    let decoder = Decoder::with_limits(std::io::Read::chain(&file[..], std::io::repeat(0)), limits);
    assert!(matches!(decoder, Err(Error::LimitExceeded { .. })));
}

#[test]
fn a_header_is_read_alone() {
    struct Counting<'a>(&'a [u8], usize);
    impl std::io::Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count;
            Ok(count)
        }
    }
    let file = encoded(&picture(300, 200));
    let mut reader = Counting(&file, 0);
    let info = Info::read(&mut reader).unwrap();
    assert_eq!(info, Decoder::new(&file[..]).unwrap().info());
    assert!(reader.1 <= 64 && file.len() > 64);
}

#[test]
fn samples_of_four_channels_go_in_and_out() {
    let rgba: Vec<u8> = (0..30 * 20 * 4).map(|i| (i * 7 % 256) as u8).collect();
    let image = Image::from_rgba(30, 20, &rgba).unwrap();
    assert_eq!(image.to_rgba(), rgba);
    for wrong in [&rgba[1..], &rgba[4..], &[]] {
        assert!(matches!(
            Image::from_rgba(30, 20, wrong),
            Err(Error::Image(_))
        ));
    }
    let opaque = Image::from_rgba(1, 1, &[1, 2, 3, 255]).unwrap();
    assert!(opaque.alpha.is_none() && opaque.to_rgba() == [1, 2, 3, 255]);
    let wide = Alpha::new(Depth::Sixteen, vec![0x8000]).unwrap();
    let image = Image::new(1, 1, vec![1, 2, 3])
        .unwrap()
        .with_alpha(wide)
        .unwrap();
    assert_eq!(image.to_rgba(), [1, 2, 3, 128]);
}

#[test]
fn what_could_not_be_decoded_is_not_encoded() {
    let mut image = picture(20, 10);
    image.metadata.icc = Some(vec![1; 2000]);
    let limits = Limits {
        max_metadata_bytes: 1999,
        ..Limits::default()
    };
    let tight = Encoder::new(Vec::new()).effort(FASTEST).limits(limits);
    assert!(matches!(
        tight.encode(&image),
        Err(Error::LimitExceeded { found: 2000, .. })
    ));
    image.metadata.resolution = Some(Resolution {
        x: 0,
        y: 5,
        is_per_meter: true,
    });
    let malformed = Encoder::new(Vec::new()).effort(FASTEST).encode(&image);
    assert!(matches!(malformed, Err(Error::Image(_))));
}

#[test]
fn an_orientation_counts_where_it_is_said_to() {
    // A TIFF header and one entry: orientation 6, a quarter turn.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let silent = b"II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    let mut image = picture(40, 20);
    image.metadata.exif = Some(exif.clone());
    image.metadata.read_orientation();
    assert_eq!(image.metadata.orientation, Orientation::Rotate90);
    let back = aec::decode(&encoded(&image)).unwrap();
    assert_eq!((back.width, back.height), (20, 40));
    let turned = |orientation, exif: &[u8]| {
        let mut file = Vec::new();
        let mut metadata = Metadata::default();
        metadata.orientation = orientation;
        let mut encoder = Encoder::new(&mut file).effort(FASTEST).metadata(metadata);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.encode(&picture(40, 20)).unwrap();
        let info = Decoder::new(&file[..]).unwrap().info();
        (info.width, info.height)
    };
    assert_eq!(turned(Orientation::NoTransforms, &exif), (20, 40));
    assert_eq!(turned(Orientation::Rotate270, &silent), (20, 40));
}

#[test]
fn progress_ends_at_its_total_and_the_closest_file_is_written_on_request() {
    let image = picture(120, 90);
    for goal in [20_000, 1] {
        let last = AtomicU64::new(0);
        let mut file = Vec::new();
        let encoder = Encoder::new(&mut file).effort(FASTEST).max_bytes(goal);
        let encoder = encoder.best_effort(true).progress(|done, total| {
            last.store(u64::from(done == total), Ordering::Relaxed);
            ControlFlow::Continue(())
        });
        encoder.encode(&image).unwrap();
        assert_eq!(last.into_inner(), 1);
        assert!(aec::decode(&file).is_ok());
    }
}

#[test]
fn a_built_in_model_is_used_with_its_own_search() {
    let image = picture(60, 50);
    let model = Model::built_in(Tune::Psnr).unwrap();
    let (mut by_model, mut by_tune) = (Vec::new(), Vec::new());
    Encoder::new(&mut by_model)
        .model(&model)
        .encode(&image)
        .unwrap();
    Encoder::new(&mut by_tune)
        .tune(Tune::Psnr)
        .encode(&image)
        .unwrap();
    assert!(by_model == by_tune);
}

#[test]
fn a_model_that_does_not_fit_is_named() {
    let file = encoded(&picture(40, 30));
    let (ssim, psnr) = (
        Model::built_in(Tune::Ssim).unwrap(),
        Model::built_in(Tune::Psnr).unwrap(),
    );
    let decode = |model| Decoder::new(&file[..]).unwrap().model(model).decode();
    assert!(decode(&ssim).is_ok());
    let error = decode(&psnr).unwrap_err();
    let Error::WrongModel { needed, given } = error else {
        panic!("{error}")
    };
    assert_eq!((needed, given), (ssim.id(), psnr.id()));
}
