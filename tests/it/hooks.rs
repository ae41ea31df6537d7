//! `.aec` files through the `image` crate: the same samples as from the decoder itself.

use aec::unstable::{DecodeOptions, NoProgress};
use image::DynamicImage;

use crate::common::tiny;

/// A picture of each kind of samples, coded with the built-in model.
fn picture(is_gray: bool, alpha: Option<aec::unstable::Depth>) -> aec::unstable::Image {
    let (width, height) = (37, 21);
    let gray: Vec<u8> = (0..width * height).map(|i| (i * 7 % 256) as u8).collect();
    let image = if is_gray {
        aec::unstable::Image::from_gray(width, height, &gray)
    } else {
        aec::unstable::Image::new(
            width,
            height,
            (0..width * height * 3).map(|i| (i % 251) as u8).collect(),
        )
    };
    let image = image.unwrap();
    let Some(depth) = alpha else { return image };
    let samples = (0..width * height).map(|i| (i * 31 % 200) as u16).collect();
    image
        .with_alpha(aec::unstable::Alpha::new(depth, samples).unwrap())
        .unwrap()
}

#[test]
fn every_kind_of_picture_opens() {
    aec::register_image_hooks();
    let model = aec::unstable::Model::embedded().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aec");
    for is_gray in [false, true] {
        for alpha in [
            None,
            Some(aec::unstable::Depth::Eight),
            Some(aec::unstable::Depth::Sixteen),
        ] {
            let picture = picture(is_gray, alpha);
            let options = aec::unstable::EncodeOptions::default();
            let file = aec::unstable::encode(&picture, &model, &options, &NoProgress).unwrap();
            std::fs::write(&path, &file).unwrap();
            let direct =
                aec::unstable::decode(&file, &model, &DecodeOptions::default(), &NoProgress)
                    .unwrap();
            let mut png = Vec::new();
            aec::unstable::picture::io::write(
                &direct,
                aec::unstable::picture::io::OutputFormat::Png,
                &mut png,
            )
            .unwrap();
            let want = image::load_from_memory(&png).unwrap();
            let found = image::open(&path).unwrap();
            assert_eq!(found, want, "gray {is_gray}, alpha {alpha:?}");
            // Without the name, by the signature.
            let guessed: DynamicImage = image::ImageReader::new(std::io::Cursor::new(file))
                .with_guessed_format()
                .unwrap()
                .decode()
                .unwrap();
            assert_eq!(guessed, want);
        }
    }
}

#[test]
fn files_of_other_models_and_damaged_ones_are_errors() {
    aec::register_image_hooks();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.aec");
    let picture = picture(false, None);
    let options = aec::unstable::EncodeOptions::default();
    let file = aec::unstable::encode(&picture, tiny::model(), &options, &NoProgress).unwrap();
    std::fs::write(&path, &file).unwrap();
    let error = image::open(&path).unwrap_err().to_string();
    assert!(error.contains("model"), "{error}");
    std::fs::write(&path, &file[..file.len() - 1]).unwrap();
    assert!(image::open(&path).is_err());
}
