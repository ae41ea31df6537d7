//! The library against the reference decoder, which was written from codec-spec.md alone:
//! the same upright pixels for every golden file, the same error class for every broken one.

use aec::unstable::{DecodeOptions, Depth, Model, NoProgress, entropy, model_id};
use rayon::prelude::*;

use crate::common::layout::Layout;
use crate::common::model_file::ModelFile;
use crate::common::vectors::{Vector, all, outcome, sha256};
use crate::common::{self, class, pictures, tiny};
use crate::reference as decoder;
use crate::reference::Statistics;

fn vectors(must_fail: bool) -> impl Iterator<Item = Vector> {
    all()
        .into_iter()
        .filter(move |vector| vector.must_fail() == must_fail)
}

#[test]
fn both_decoders_give_the_same_pixels() {
    for vector in vectors(false) {
        let (expected, found) = (
            decoder::decode(&vector.file(), tiny::bytes()),
            common::decode(&vector.file()).unwrap(),
        );
        let expected = expected.unwrap_or_else(|class| panic!("{}: {class:?}", vector.name));
        assert_eq!(
            (found.width as usize, found.height as usize),
            (expected.width, expected.height),
            "{}",
            vector.name
        );
        assert!(found.rgb == expected.rgb, "{}", vector.name);
        let alpha = found
            .alpha
            .map(|alpha| (alpha.depth().bits(), alpha.samples().to_vec()));
        assert!(alpha == expected.alpha, "{}", vector.name);
        let metadata = found.metadata;
        let blocks = [
            (*b"iccP", metadata.icc),
            (*b"exif", metadata.exif),
            (*b"xmp ", metadata.xmp),
        ];
        let blocks: Vec<_> = blocks
            .into_iter()
            .filter_map(|(tag, block)| Some((tag, block?)))
            .collect();
        assert!(blocks == expected.blocks, "{}", vector.name);
    }
}

/// A packed model file is the plain one under another form, to both.
#[test]
fn both_decoders_read_packed_models() {
    let plain = tiny::bytes();
    let weights = aec::unstable::network::IntegerWeights::from_bytes(plain).unwrap();
    let packed = weights.to_bytes().unwrap();
    assert!(packed.len() < plain.len());
    let unpacked = ModelFile::of(&packed).bytes();
    assert!(unpacked == ModelFile::of(plain).bytes());
    assert_eq!(unpacked.len(), plain.len());
    let model = Model::from_bytes(&packed).unwrap();
    assert_eq!(model_id(&model), model_id(tiny::model()));
    for vector in vectors(false).take(3) {
        let (file, options) = (vector.file(), DecodeOptions::default());
        let expected = decoder::decode(&file, &packed).ok().unwrap();
        let found = aec::unstable::decode(&file, &model, &options, &NoProgress).unwrap();
        assert!(found.rgb == expected.rgb, "{}", vector.name);
        assert!(expected.rgb == decoder::decode(&file, plain).ok().unwrap().rgb);
    }
}

/// What one side packs the other unpacks, whatever the values.
#[test]
fn both_decoders_unpack_the_same_integers() {
    let mut random = common::random::Random::new(6);
    for count in [0, 1, 2, 3, 4, 5, 100, 1001, 20_000] {
        let spread = random.within(1.0).abs();
        let value = |_| (spread * f32::from(random.byte().cast_signed())) as i8;
        let values: Vec<i8> = (0..count).map(value).collect();
        let packed = [entropy::pack(&values), vec![1, 2, 3]].concat();
        let (found, rest) = decoder::unpack(&packed).unwrap();
        assert!(found == values && rest == [1, 2, 3], "{count} values");
        let mut found = vec![0; values.len()];
        assert_eq!(entropy::unpack(&packed, &mut found).unwrap(), [1, 2, 3]);
        assert!(found == values);
    }
}

#[test]
fn both_decoders_refuse_with_the_same_class() {
    for vector in vectors(true) {
        let expected = decoder::decode(&vector.file(), tiny::bytes()).err();
        let found = common::decode(&vector.file())
            .err()
            .map(|error| class(&error));
        assert_eq!(
            found,
            expected.map(|class| format!("{class:?}")),
            "{}",
            vector.name
        );
    }
}

/// A small file with one bit changed behind right checksums: another picture or an error,
/// and the same one from both decoders.
#[test]
fn both_decoders_agree_on_damaged_files() {
    let layout = Layout::of(&common::encode(&pictures::scene(20, 10), 30.0, 64));
    let (header, tile) = (layout.header.len(), layout.clone().payload(b"TILE").len());
    (0..8 * (header + tile)).into_par_iter().for_each(|bit| {
        let mut damaged = layout.clone();
        let at = bit / 8;
        if at < header {
            damaged.header[at] ^= 1 << (bit % 8);
        } else {
            damaged.payload(b"TILE")[at - header] ^= 1 << (bit % 8);
        }
        agree_on(&damaged.bytes(), bit);
    });
}

/// Two faults in one file: both decoders report the same one, whichever places they are in.
#[test]
fn both_decoders_agree_on_pairs_of_damages() {
    type Change = fn(&mut Layout);
    let changes: [Change; 14] = [
        |_| (),
        |layout| layout.header[6] = 2,
        |layout| layout.header[7] |= 8,
        |layout| layout.header[8] = 9,
        |layout| layout.set_size(1_000_000, 1_000_000),
        |layout| layout.set_size(9000, 9000),
        |layout| layout.sections.insert(0, (*b"XTST", vec![])),
        |layout| layout.payload(b"TIDX").push(1),
        |layout| {
            layout.payload(b"TIDX").pop();
        },
        |layout| layout.payload(b"TIDX")[0] ^= 1,
        |layout| layout.payload(b"TILE").truncate(4),
        |layout| layout.payload(b"TILE")[0] = 2,
        |layout| layout.payload(b"ALPH").truncate(3),
        |layout| layout.payload(b"END ").push(0),
    ];
    let picture = pictures::with_alpha(pictures::scene(90, 20), Depth::Eight);
    let layout = Layout::of(&common::encode(&picture, 30.0, 64));
    let mut files = Vec::new();
    for first in changes {
        for second in changes {
            let mut damaged = layout.clone();
            first(&mut damaged);
            second(&mut damaged);
            files.push(damaged.bytes());
        }
    }
    // And damage to bytes behind a change: cut or flipped in every section.
    for change in changes {
        let mut damaged = layout.clone();
        change(&mut damaged);
        let file = damaged.bytes();
        for tag in [b"TIDX", b"TILE", b"ALPH", b"END "] {
            let Some(at) = file.windows(4).position(|four| four == tag) else {
                continue;
            };
            for offset in [0, 2, 4, 6] {
                files.push(file[..at + offset].to_vec());
                let mut flipped = file.clone();
                flipped[at + offset] ^= 0x81;
                files.push(flipped);
            }
        }
        files.push([&file[..], b"more"].concat());
    }
    files
        .par_iter()
        .enumerate()
        .for_each(|(i, file)| agree_on(file, i));
}

/// The same for the alpha channel.
#[test]
fn both_decoders_agree_on_damaged_alpha() {
    for depth in [Depth::Eight, Depth::Sixteen] {
        let picture = pictures::with_alpha(pictures::scene(50, 40), depth);
        let layout = Layout::of(&common::encode(&picture, 0.0, 64));
        let length = layout.clone().payload(b"ALPH").len();
        (0..8 * length).into_par_iter().for_each(|bit| {
            let mut damaged = layout.clone();
            damaged.payload(b"ALPH")[bit / 8] ^= 1 << (bit % 8);
            agree_on(&damaged.bytes(), bit);
        });
    }
}

fn agree_on(file: &[u8], bit: usize) {
    let expected = match decoder::decode(file, tiny::bytes()) {
        Ok(picture) => sha256(&picture.bytes()),
        Err(class) => format!("{class:?}"),
    };
    assert_eq!(outcome(file), expected, "bit or case {bit}");
}

fn statistics(name: &str) -> Statistics {
    let vector = vectors(false).find(|vector| vector.name == name).unwrap();
    decoder::decode(&vector.file(), tiny::bytes())
        .unwrap()
        .statistics
}

/// The vectors do make use of what they are said to test.
#[test]
fn vectors_reach_every_kind_of_symbol() {
    let escapes = statistics("escapes");
    assert!(
        escapes.escapes > 10 && escapes.nonzero * 2 > escapes.coded,
        "{escapes:?}"
    );
    let low = statistics("quality-0");
    assert!(
        low.skipped > 0 && low.nonzero > 0 && low.coded > low.nonzero,
        "{low:?}"
    );
    let mapped = statistics("zero-map");
    assert!(mapped.unmapped > 0 && mapped.nonzero > 0, "{mapped:?}");
    let zero = statistics("all-zero");
    assert!(zero.nonzero == 0 && zero.coded > 0, "{zero:?}");
}

/// The shipped model, which is much larger; slow, so only on request.
#[test]
#[ignore = "slow: the reference decoder on the shipped model"]
fn both_decoders_agree_on_the_shipped_model() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/base.safetensors");
    let weights = std::fs::read(path).unwrap();
    let model = aec::unstable::Model::from_bytes(&weights).unwrap();
    let picture = pictures::scene(150, 100);
    let file = aec::unstable::encode(
        &picture,
        &model,
        &aec::unstable::EncodeOptions::default(),
        &aec::unstable::NoProgress,
    )
    .unwrap();
    let found = aec::unstable::decode(
        &file,
        &model,
        &aec::unstable::DecodeOptions::default(),
        &aec::unstable::NoProgress,
    )
    .unwrap();
    assert!(found.rgb == decoder::decode(&file, &weights).unwrap().rgb);
}
