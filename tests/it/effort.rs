//! The encoder's search: files that cost less, the same on every machine.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aec::unstable::codec::bit_usage;
use aec::unstable::metrics::visual::Comparison;
use aec::unstable::metrics::{RgbView, squared_error};
use aec::unstable::{
    DecodeOptions, Depth, Effort, EncodeOptions, Error, Image, Model, NoProgress, Progress,
    Quality, Round, Tune, encode,
};

use crate::common::settings::for_each_setting;
use crate::common::{decode, pictures, tiny};

fn options(level: u8, tune: Tune, percent: f64) -> EncodeOptions {
    EncodeOptions {
        quality: Quality::from_percent(percent).unwrap(),
        tile_size: 64,
        effort: Effort::new(level).unwrap(),
        tune,
        ..EncodeOptions::default()
    }
}

fn file(image: &Image, options: &EncodeOptions) -> Vec<u8> {
    encode(image, tiny::model(), options, &NoProgress).unwrap()
}

fn view(image: &Image) -> RgbView<'_> {
    RgbView::new(&image.rgb, image.width, image.height).unwrap()
}

/// Bits and what the squared error is worth in bits at a quality.
fn cost(image: &Image, file: &[u8], percent: f64) -> f64 {
    cost_of(image, file, &decode(file).unwrap(), percent)
}

fn cost_of(image: &Image, file: &[u8], back: &Image, percent: f64) -> f64 {
    let error = squared_error(&view(image), &view(back)).unwrap() as f64;
    let lambda = tiny::model().config().lambda(percent / 100.0);
    8.0 * file.len() as f64 + lambda / 3.0 * error
}

#[test]
fn bytes_do_not_depend_on_threads_or_instructions() {
    let image = pictures::scene(150, 140);
    let settings = [
        options(2, Tune::Psnr, 60.0),
        options(4, Tune::Psnr, 60.0),
        options(2, Tune::Ssim, 60.0),
        options(4, Tune::Ssim, 60.0),
        options(9, Tune::Psnr, 40.0),
        options(7, Tune::Ssim, 40.0),
    ];
    let expected: Mutex<Option<Vec<Vec<u8>>>> = Mutex::new(None);
    for_each_setting(|setting| {
        let files: Vec<_> = settings
            .iter()
            .map(|options| file(&image, options))
            .collect();
        let mut expected = expected.lock().unwrap();
        let expected = expected.get_or_insert_with(|| files.clone());
        assert!(*expected == files, "with {setting}");
    });
}

#[test]
fn no_effort_costs_more_than_a_single_pass() {
    let images = [
        pictures::scene(200, 130),
        pictures::noise(90, 70),
        pictures::flat(40, 70, [200, 30, 90]),
    ];
    for image in &images {
        for percent in [20.0, 60.0, 95.0] {
            let of = |level| {
                let options = options(level, Tune::Psnr, percent);
                cost(image, &file(image, &options), percent)
            };
            let single = of(1);
            for level in [2, 3, 4, 6] {
                // A byte or two of headers may change with the lengths that they hold.
                assert!(of(level) <= single + 16.0, "effort {level} at {percent}");
            }
        }
    }
}

#[test]
fn a_part_of_a_tall_picture_judges_the_last_round() {
    let image = pictures::scene(40, 1100);
    let of = |level| {
        let options = options(level, Tune::Psnr, 60.0);
        cost(&image, &file(&image, &options), 60.0)
    };
    let (single, searched) = (of(1), of(Effort::DEFAULT.level()));
    assert!(searched < 0.995 * single, "{searched} {single}");
}

#[test]
fn search_makes_a_picture_cost_less() {
    let (image, model) = (pictures::scene(200, 130), Model::embedded().unwrap());
    let of = |level| {
        let options = options(level, Tune::Psnr, 60.0);
        let file = encode(&image, &model, &options, &NoProgress).unwrap();
        let back =
            aec::unstable::decode(&file, &model, &DecodeOptions::default(), &NoProgress).unwrap();
        cost_of(&image, &file, &back, 60.0)
    };
    let costs = [of(1), of(Effort::DEFAULT.level()), of(9)];
    assert!(
        costs[1] < 0.995 * costs[0] && costs[2] <= costs[1],
        "{costs:?}"
    );
}

#[test]
fn search_leaves_the_hyper_latent_alone() {
    let (image, model) = (pictures::scene(200, 130), Model::embedded().unwrap());
    let usage = |level| {
        let options = options(level, Tune::Psnr, 60.0);
        let file = encode(&image, &model, &options, &NoProgress).unwrap();
        bit_usage(&file, &model, &DecodeOptions::default(), &NoProgress).unwrap()
    };
    let (single, searched) = (usage(1), usage(4));
    assert!(single.hyper_bits() > 0.0 && searched.blocks != single.blocks);
    // What a symbol takes of the stream is known to a fraction of a bit.
    let pairs = searched.hyper_channels.iter().zip(&single.hyper_channels);
    for (searched, single) in pairs {
        assert!((searched - single).abs() < 1e-3, "{searched} {single}");
    }
}

#[test]
fn odd_pictures_survive_every_effort() {
    let images = [
        pictures::scene(17, 23),
        pictures::scene(1, 1),
        pictures::gray_scene(40, 17),
        pictures::with_alpha(pictures::scene(70, 66), Depth::Eight),
    ];
    for image in &images {
        for level in [1, Effort::DEFAULT.level(), 9] {
            for tune in [Tune::Psnr, Tune::Ssim] {
                let back = decode(&file(image, &options(level, tune, 80.0))).unwrap();
                assert_eq!((back.width, back.height), (image.width, image.height));
                assert_eq!(back.is_gray, image.is_gray);
                assert_eq!(back.alpha, image.alpha);
            }
        }
    }
}

/// Bits, cost and whether it is the best so far, of each round.
#[derive(Default)]
struct Costs(Mutex<Vec<(u64, f64, bool)>>);

impl Progress for Costs {
    fn report(&self, _: u64, _: u64) -> bool {
        true
    }

    fn round(&self, round: &Round) {
        let mut rounds = self.0.lock().unwrap();
        rounds.push((round.bits, round.cost, round.is_best));
    }
}

#[test]
fn tuning_for_the_eye_makes_visual_and_squared_error_small() {
    let model = Model::embedded_for(Tune::Ssim).unwrap();
    let image = pictures::scene(200, 180);
    let costs = Costs::default();
    let file = encode(&image, &model, &options(4, Tune::Ssim, 40.0), &costs).unwrap();
    let rounds = costs.0.into_inner().unwrap();
    let best = rounds.iter().rfind(|round| round.2).unwrap();
    assert!(best.1 < 0.99 * rounds[0].1, "{rounds:?}");

    let back =
        aec::unstable::decode(&file, &model, &DecodeOptions::default(), &NoProgress).unwrap();
    let error = squared_error(&view(&image), &view(&back)).unwrap() as f64;
    let samples = |image: &Image| -> Vec<f32> {
        let bytes = image.rgb.iter();
        bytes.map(|byte| f32::from(*byte) / 255.0 - 0.5).collect()
    };
    let comparison = Comparison::new(&samples(&image), &samples(&back), 200);
    let visual = comparison.sums(0..180).error();
    let (lambda, pixels) = (model.config().lambda(0.4), 200.0 * 180.0);
    let distortion = 0.65 * error / (3.0 * pixels) + 0.35 * 8.5 * visual;
    let want = best.0 as f64 + lambda * pixels * distortion;
    assert!((best.1 / want - 1.0).abs() < 1e-4, "{} {want}", best.1);
}

/// Counts rounds; cancels after some units of work.
struct Watch {
    most: u64,
    rounds: AtomicU64,
    last: AtomicU64,
}

impl Progress for Watch {
    fn report(&self, done: u64, total: u64) -> bool {
        assert!(done <= total);
        self.last.store(done, Ordering::Relaxed);
        done < self.most
    }

    fn round(&self, round: &Round) {
        assert!(round.bits > 0 && round.cost > round.bits as f64);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn rounds_are_told_and_can_be_cancelled() {
    let image = pictures::scene(100, 80);
    let watch = |most| Watch {
        most,
        rounds: AtomicU64::new(0),
        last: AtomicU64::new(0),
    };
    let all = watch(u64::MAX);
    let options = options(5, Tune::Psnr, 60.0);
    encode(&image, tiny::model(), &options, &all).unwrap();
    assert!(all.rounds.into_inner() >= 2);
    let end = all.last.into_inner();
    for part in 1..8 {
        let watch = watch(end * part / 8);
        let result = encode(&image, tiny::model(), &options, &watch);
        assert!(matches!(result, Err(Error::Cancelled)), "{part}");
    }
}

#[test]
fn a_pattern_that_cannot_be_coded_costs_next_to_nothing() {
    // The tiny model makes noise of oblique lines of one pixel.
    let is_white = |i: usize| (i % 128 + 2 * (i / 128)).is_multiple_of(3);
    let rgb = (0..128 * 128).flat_map(|i| [if is_white(i) { 255 } else { 0 }; 3]);
    let image = Image::new(128, 128, rgb.collect()).unwrap();
    let bytes = |effort| {
        let options = EncodeOptions {
            quality: Quality::from_percent(50.0).unwrap(),
            effort,
            tune: Tune::Psnr,
            ..EncodeOptions::default()
        };
        let file = encode(&image, tiny::model(), &options, &NoProgress).unwrap();
        file.len()
    };
    let (single_pass, searched) = (bytes(Effort::FASTEST), bytes(Effort::default()));
    assert!(
        searched < 320 && 2 * searched < single_pass,
        "{single_pass} {searched}"
    );
}

#[test]
fn the_quality_dial_rises_between_the_rows_of_its_tables() {
    let model = Model::embedded().unwrap();
    let smooth = (0..96 * 96).flat_map(|i| {
        let (x, y) = ((i % 96) as u8, (i / 96) as u8);
        [x + y / 2, 90 + y, 200 - x]
    });
    let smooth = Image::new(96, 96, smooth.collect()).unwrap();
    for (name, image) in [("smooth", smooth), ("textured", pictures::scene(96, 96))] {
        let (mut bytes, mut error) = (0, u64::MAX);
        for step in 0..=40 {
            let options = EncodeOptions {
                quality: Quality::from_percent(2.5 * f64::from(step)).unwrap(),
                effort: Effort::FASTEST,
                ..EncodeOptions::default()
            };
            let found = encode(&image, &model, &options, &NoProgress).unwrap();
            let back = aec::unstable::decode(
                &found,
                &model,
                &aec::unstable::DecodeOptions::default(),
                &NoProgress,
            );
            let now = squared_error(&view(&image), &view(&back.unwrap())).unwrap();
            assert!(
                found.len() + found.len() / 50 + 8 >= bytes,
                "{name}, step {step}"
            );
            // 0.1 dB; a decibel where a single symbol decides, and half of one where every third sample is one off.
            let samples = image.rgb.len() as u64;
            let slack = match found.len() {
                ..200 => 1.26,
                _ if 3 * now < samples => 1.12,
                _ => 1.023,
            };
            assert!(
                now as f64 <= slack * error as f64,
                "{name}, step {step}: {now} {error}"
            );
            (bytes, error) = (found.len(), now);
        }
    }
}
