//! Hostile input: what fuzzing has found, model files and headers made to do harm, and files of a
//! hostile encoder. All of it ends in an error of one line, soon and without much memory, or in a picture.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aec::unstable::bitstream::Container;
use aec::unstable::entropy::{self, decode_plane};
use aec::unstable::{DecodeOptions, Error, Limits, Model, NoProgress};
use safetensors::tensor::Dtype;

use crate::common::checks;
use crate::common::layout::Layout;
use crate::common::memory::peak_of;
use crate::common::model_file::{ModelFile, Tensor, least, least_with};
use crate::common::settings::for_each_setting;
use crate::common::symbols::with_symbols;
use crate::common::{self, encode, pictures, tiny};

/// Most time that a refusal may take. The machine does other things too, so that one of several tries is enough.
const SOON: Duration = Duration::from_millis(20);
const TRIES: u32 = 20;

/// Most memory that an input of a fuzz target may take: well below the limit of fuzz/README.md for one block.
const MEMORY: usize = 128 << 20;

/// Checks that `work` fails soon, with less than `memory` bytes and one line of text; the error.
fn refused<T: Send>(memory: usize, work: impl Fn() -> aec::unstable::Result<T> + Sync) -> Error {
    let attempt = || {
        let timed = || {
            let start = Instant::now();
            (work(), start.elapsed())
        };
        let ((result, took), peak) = peak_of(timed);
        assert!(peak < memory, "{peak} bytes of memory");
        (result.err().expect("the input must be refused"), took)
    };
    let mut attempts = (0..TRIES).map(|_| attempt());
    let (error, took) = attempts
        .find(|(_, took)| *took < SOON)
        .unwrap_or_else(attempt);
    let text = error.to_string();
    assert!(took < SOON, "{took:?}: {text}");
    assert!(
        text.len() < 1000 && !text.contains(char::is_control),
        "{text:?}"
    );
    error
}

/// Runs a check on each file of a folder of findings; returns how many there are.
fn replay(target: &str, check: impl Fn(&[u8]) + Sync) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/regressions")
        .join(target);
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let bytes = std::fs::read(path).unwrap();
        let ((), peak) = peak_of(|| check(&bytes));
        assert!(peak < MEMORY, "{peak} bytes of memory");
    }
}

#[test]
fn findings_about_containers_stay_fixed() {
    replay("container", checks::container);
}

#[test]
fn findings_about_decoding_stay_fixed() {
    replay("decode", |bytes| checks::decode(bytes, tiny::model()));
}

#[test]
fn findings_about_symbols_stay_fixed() {
    replay("symbols", |bytes| checks::symbols(bytes, tiny::model()));
}

#[test]
fn findings_about_entropy_coding_stay_fixed() {
    replay("entropy", checks::entropy);
}

#[test]
fn findings_about_alpha_stay_fixed() {
    replay("alpha", checks::alpha);
}

#[test]
fn findings_about_weights_stay_fixed() {
    replay("weights", checks::weights);
}

#[test]
fn findings_about_pictures_stay_fixed() {
    replay("picture", checks::picture);
}

/// The golden vectors and the seeds pass the checks of the fuzz targets, so these can find something.
#[test]
fn the_checks_hold_for_valid_input() {
    for vector in common::vectors::all() {
        checks::container(&vector.file());
        checks::decode(&vector.file(), tiny::model());
    }
    for kind in 0..5 {
        let bytes: Vec<u8> = (0..2000_u32).map(|i| (i * i / 7) as u8).collect();
        checks::entropy(&[&[kind], &bytes[..]].concat());
    }
    let words = aec::unstable::entropy::ScaleTables::gaussian().to_words();
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    checks::entropy(&[&[0], &words[..]].concat());
    for (_, input) in alpha_seeds() {
        checks::alpha(&input);
    }
    checks::symbols(&[128, 69, 29, 1, 15, 255, 3, 7, 0], tiny::model());
    checks::weights(&least());
    checks::weights(tiny::bytes());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/picture");
    for entry in std::fs::read_dir(folder).unwrap() {
        checks::picture(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

/// Inputs of the alpha target: the first plane of each golden vector that has alpha, as its stream and as
/// its samples.
fn alpha_seeds() -> Vec<(String, Vec<u8>)> {
    let has_alpha = |vector: &common::vectors::Vector| vector.name.starts_with("alpha");
    let seeds = common::vectors::all().into_iter().filter(has_alpha);
    seeds
        .flat_map(|vector| {
            let (file, limits) = (vector.file(), Limits::default());
            let container = Container::parse(&file, &limits).unwrap();
            let header = &container.header;
            let tile = header.tile_grid().tile(0);
            let (width, height) = (tile.width.min(header.width), tile.height.min(header.height));
            let depth = header.alpha.unwrap();
            let stream = container.alpha[0].stream;
            let (columns, rows) = (width as usize, height as usize);
            let samples = decode_plane(stream, columns, rows, depth.max()).unwrap();
            let bytes = depth.bits() as usize / 8;
            let sample = |sample: &u16| sample.to_le_bytes().into_iter().take(bytes);
            let plane: Vec<u8> = samples.iter().flat_map(sample).collect();
            [(0, stream, "stream"), (2, &plane, "samples")].map(|(direction, rest, kind)| {
                let start = [
                    width as u8 - 1,
                    height as u8 - 1,
                    bytes as u8 - 1 + direction,
                ];
                (format!("{}-{kind}", vector.name), [&start, rest].concat())
            })
        })
        .collect()
}

/// `AEC_WRITE_SEEDS=1 cargo test --release --test it hostile` writes them anew.
#[test]
fn the_seeds_of_the_alpha_target_are_the_vectors() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/alpha");
    for (name, input) in alpha_seeds() {
        if std::env::var_os("AEC_WRITE_SEEDS").is_some() {
            std::fs::write(folder.join(&name), &input).unwrap();
        }
        assert!(
            std::fs::read(folder.join(&name)).unwrap() == input,
            "{name}"
        );
    }
}

/// `AEC_WRITE_SEEDS=1 cargo test --release --test it hostile` writes it anew.
#[test]
fn the_seed_of_the_weights_target_is_the_least_model() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/weights/least.safetensors");
    if std::env::var_os("AEC_WRITE_SEEDS").is_some() {
        std::fs::write(&path, least()).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == least());
    assert!(Model::from_bytes(&least()).is_ok());
}

/// A hostile encoder's symbols, as large as the format has them, decode to the same picture everywhere.
#[test]
fn extreme_symbols_decode_to_the_same_picture_everywhere() {
    for percent in [0.0, 50.0, 100.0] {
        let mut random = common::random::Random::new(3);
        let plain = encode(&pictures::scene(150, 70), percent, 128);
        let file = with_symbols(&plain, tiny::model(), |_| match random.byte() {
            0..85 => 1 << 20,
            85..170 => -(1 << 20),
            byte => i32::from(byte) - 200,
        });
        let expected = common::decode(&file).unwrap().rgb;
        for_each_setting(|setting| {
            let found = common::decode(&file).unwrap().rgb;
            assert!(found == expected, "quality {percent} with {setting}");
        });
    }
}

/// The least model file with one thing changed.
fn changed(change: impl FnOnce(&mut ModelFile)) -> Vec<u8> {
    let mut file = ModelFile::of(&least());
    change(&mut file);
    file.bytes()
}

/// Checks that a model file is refused for its content, and says `part` in the error.
fn refuse_model(bytes: &[u8], part: &str) {
    // The file's text and tensors, and no more: not what its configuration promises.
    let error = refused(8 * bytes.len() + (512 << 10), || Model::from_bytes(bytes));
    assert!(matches!(error, Error::Weights(_)), "{error}");
    assert!(error.to_string().contains(part), "{error}, not {part}");
}

#[test]
fn models_with_values_that_are_not_finite_are_refused() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bytes = changed(|file| {
            file.tensor("synthesis.up.bias").data[4..8].copy_from_slice(&value.to_le_bytes());
        });
        refuse_model(&bytes, "synthesis.up.bias has a value that is not finite");
    }
    for value in [65_536_f32, -1e30] {
        let bytes = changed(|file| {
            let table = file.tensor("quality.latent_gain.table");
            table.data[..4].copy_from_slice(&value.to_le_bytes());
        });
        refuse_model(&bytes, "quality.latent_gain.table has a value beyond 65535");
    }
}

/// With these weights and the largest activations a sum would leave 32 bits.
#[test]
fn models_whose_sums_may_overflow_are_refused() {
    let overflow = "weights whose sum may overflow";
    let wide = |words: &[i16]| {
        changed(|file| {
            let data = &mut file.tensor("analysis.linear.weight").data;
            data.fill(0);
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            data.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        })
    };
    // 768 inputs: the sum of the high bytes, of the low ones, and a high byte of 128.
    refuse_model(&wide(&[127 << 8; 600]), overflow);
    refuse_model(&wide(&[127; 600]), overflow);
    refuse_model(&wide(&[i16::MAX]), overflow);
    assert!(Model::from_bytes(&wide(&[127 << 8; 300])).is_ok());
    let bytes = least_with(130);
    let narrow = |weight: i8| {
        let mut file = ModelFile::of(&bytes);
        let data = &mut file.tensor("hyper_analysis.down1.weight").data;
        data.fill(weight.cast_unsigned());
        file.bytes()
    };
    // 520 inputs.
    assert!(Model::from_bytes(&narrow(126)).is_ok());
    for weight in [127, -127, -128] {
        refuse_model(&narrow(weight), overflow);
    }
}

#[test]
fn models_with_wrong_exponents_are_refused() {
    for exponent in [-21_i8, 16, i8::MIN, i8::MAX] {
        let bytes = changed(|file| {
            let data = &mut file.tensor("synthesis.stage8.0.exponents").data;
            data[3] = exponent.cast_unsigned();
        });
        refuse_model(&bytes, "synthesis.stage8.0.exponents has an exponent of");
    }
}

/// What every model that loads can stand: the largest numbers everywhere.
#[test]
fn models_of_extreme_values_code_the_same_everywhere() {
    for exponent in [-20_i8, 15] {
        let bytes = changed(|file| {
            for (name, tensor) in &mut file.tensors {
                if tensor.dtype == Dtype::F32 {
                    let ends = [65_535_f32, -65_535.0, 0.0, 1e-38];
                    let bytes = ends.iter().cycle().flat_map(|value| value.to_le_bytes());
                    let data = tensor.data.iter_mut();
                    data.zip(bytes).for_each(|(to, from)| *to = from);
                } else if name.ends_with(".exponents") {
                    tensor.data.fill(exponent.cast_unsigned());
                }
            }
        });
        let model = Model::from_bytes(&bytes).unwrap();
        let code = || {
            let options = aec::unstable::EncodeOptions {
                effort: aec::unstable::Effort::FASTEST,
                ..aec::unstable::EncodeOptions::default()
            };
            let picture = pictures::scene(70, 20);
            let file = aec::unstable::encode(&picture, &model, &options, &NoProgress).unwrap();
            let back = aec::unstable::decode(&file, &model, &DecodeOptions::default(), &NoProgress);
            (file, back.unwrap().rgb)
        };
        let expected = code();
        for_each_setting(|setting| assert!(code() == expected, "{exponent} with {setting}"));
    }
}

#[test]
fn models_with_wrong_tensors_are_refused() {
    let name = "context.2.mean.weight";
    refuse_model(&changed(|file| file.tensor(name).shape.reverse()), name);
    refuse_model(
        &changed(|file| file.tensor(name).shape = vec![2, 2, 1]),
        name,
    );
    refuse_model(
        &changed(|file| file.tensor(name).shape = [&[4][..], &[1; 3000]].concat()),
        name,
    );
    refuse_model(&changed(|file| file.tensor(name).dtype = Dtype::U8), name);
    refuse_model(
        &changed(|file| drop(file.tensors.remove(name))),
        "is missing",
    );
    refuse_model(
        &changed(|file| drop(file.tensors.remove("entropy.tables"))),
        "290 tensors, expected 291",
    );
    let extra = |file: &mut ModelFile| {
        let tensor = file.tensors.remove(name).unwrap();
        file.tensors.insert("one\nmore".into(), tensor);
    };
    refuse_model(&changed(extra), name);
}

/// The least model file with one tensor packed, and the packed bytes changed.
fn packed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(|file| {
        let tensor = file.tensors.remove(name).unwrap();
        let mut data = if tensor.dtype == Dtype::I16 {
            let (low, high): (Vec<u8>, Vec<i8>) = tensor
                .data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[low, high]| (*low, high.cast_signed()))
                .unzip();
            [entropy::pack(&high), low].concat()
        } else {
            let values: Vec<i8> = tensor.data.iter().map(|byte| byte.cast_signed()).collect();
            entropy::pack(&values)
        };
        change(&mut data);
        let (dtype, shape) = (Dtype::U8, vec![data.len()]);
        let tensor = Tensor { dtype, shape, data };
        file.tensors.insert(format!("{name}.packed"), tensor);
    })
}

#[test]
fn models_with_wrong_packed_tensors_are_refused() {
    let file = encode(&pictures::scene(64, 64), 60.0, 64);
    for name in ["context.2.mean.weight", "synthesis.linear.weight"] {
        assert!(Model::from_bytes(&packed(name, |_| ())).is_ok());
        let refuse = |change: &dyn Fn(&mut Vec<u8>), part: &str| {
            let bytes = packed(name, change);
            refuse_model(&bytes, name);
            refuse_model(&bytes, part);
            let class = crate::reference::decode(&file, &bytes).err();
            assert_eq!(class, Some(crate::reference::Class::Weights), "{part}");
        };
        refuse(&|data| data[0] ^= 1, "packed integers, expected");
        refuse(&|data| data[3] = 255, "packed integers, expected");
        refuse(&|data| data.push(0), "after packed integers");
        refuse(&|data| data[6] ^= 1, "frequencies that do not sum up");
        refuse(&Vec::clear, "cut short");
        refuse(&|data| data.truncate(40.min(data.len() / 2)), "cut short");
    }
    let name = "context.2.mean.weight";
    // A bias cannot be packed, nor a tensor be there twice, nor be something else.
    let bias = changed(|file| {
        let tensor = file.tensors.remove("synthesis.up.bias").unwrap();
        let tensor = Tensor {
            dtype: Dtype::U8,
            shape: vec![tensor.data.len()],
            ..tensor
        };
        file.tensors
            .insert("synthesis.up.bias.packed".into(), tensor);
    });
    refuse_model(&bias, "synthesis.up.bias is missing");
    let twice = changed(|file| {
        let data = entropy::pack(&[1; 4]);
        let (dtype, shape) = (Dtype::U8, vec![data.len()]);
        let tensor = Tensor { dtype, shape, data };
        file.tensors.insert(format!("{name}.packed"), tensor);
    });
    refuse_model(&twice, "292 tensors, expected 291");
    let wrong_type = changed(|file| {
        let mut tensor = file.tensors.remove(name).unwrap();
        tensor.shape = vec![tensor.data.len()];
        file.tensors.insert(format!("{name}.packed"), tensor);
    });
    refuse_model(&wrong_type, "should be U8 of one dimension");
}

#[test]
fn models_with_wrong_configurations_are_refused() {
    let with = |from: &str, to: &str| {
        let config = |file: &mut ModelFile| file.config = file.config.replace(from, to);
        changed(config)
    };
    let channels = "\"latent_channels\":4";
    refuse_model(
        &with(channels, "\"latent_channels\":4000000000"),
        "latent_channels",
    );
    refuse_model(&with(channels, "\"latent_channels\":-4"), "invalid value");
    refuse_model(
        &with(channels, "\"latent_channels\":1e400"),
        "number out of range",
    );
    // As large as allowed: the tensors are missing, and their memory is not asked for.
    let large = |file: &mut ModelFile| {
        for small in [
            "latent_channels\":4",
            "hyper_channels\":1",
            "stage8_channels\":1",
            "stage16_channels\":1",
        ] {
            let (name, _) = small.split_once(':').unwrap();
            file.config = file.config.replace(small, &format!("{name}:1024"));
        }
        file.config = file.config.replace("blocks\":1", "blocks\":16");
    };
    let error = refused(1 << 20, || Model::from_bytes(&changed(large)));
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    let less = |file: &mut ModelFile| {
        large(file);
        file.config = file.config.replace("blocks\":16", "blocks\":8");
    };
    refuse_model(&changed(less), "should be");
    refuse_model(
        &with("\"least\"", "\"le\\u001b[2Jast\""),
        "control characters",
    );
    refuse_model(
        &with("\"least\"", &format!("\"{}\"", "n".repeat(100_000))),
        "64 characters",
    );
    refuse_model(&with("\"name\"", "\"na\\nme\""), "na me");
    refuse_model(
        &with("\"name\"", &format!("\"{}\"", "n".repeat(100_000))),
        "nnn",
    );
    refuse_model(&with("{", &"[".repeat(100_000)), "invalid type");
    refuse_model(&with("}", ""), "EOF");
}

#[test]
fn models_with_wrong_tables_are_refused() {
    let with_words = |change: &dyn Fn(&mut Vec<u16>)| {
        changed(|file| {
            let tensor = file.tensor("entropy.tables");
            let mut words: Vec<u16> = tensor
                .data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&w| u16::from_le_bytes(w))
                .collect();
            change(&mut words);
            tensor.data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            tensor.shape = vec![words.len()];
        })
    };
    // Table 0: its reach, the frequencies of the magnitudes, the escape's.
    let sum = "scale tables: the frequencies do not sum to 65536";
    refuse_model(&with_words(&|words| words[1] -= 1), sum);
    refuse_model(&with_words(&|words| words[2] -= 1), sum);
    let not_a_frequency = "scale tables: a frequency is 0 or the sum is over 65536";
    refuse_model(&with_words(&|words| words[2] = 0), not_a_frequency);
    refuse_model(&with_words(&|words| words[2] = u16::MAX), not_a_frequency);
    let reach = "scale tables: a reach is not in 1..=4095";
    refuse_model(&with_words(&|words| words[0] = 0), reach);
    refuse_model(&with_words(&|words| words[0] = 4096), reach);
    refuse_model(&with_words(&|words| words[0] = u16::MAX), reach);
    let cut = "scale tables: the last table is cut short";
    refuse_model(&with_words(&|words| words.truncate(words.len() - 1)), cut);
    let fewer = "scale tables: fewer than 64 tables";
    refuse_model(&with_words(&Vec::clear), fewer);
    let more = "scale tables: more than 64 tables";
    refuse_model(&with_words(&|words| words.push(1)), more);
}

#[test]
fn model_files_with_wrong_headers_are_refused() {
    let plain = least();
    let with_length = |length: u64| [&length.to_le_bytes()[..], &plain[8..]].concat();
    for length in [
        u64::MAX,
        1 << 63,
        100_000_001,
        100_000_000,
        plain.len() as u64,
        0,
        1,
    ] {
        refuse_model(&with_length(length), "");
    }
    refuse_model(&[], "");
    refuse_model(b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "");
    let mut not_utf8 = plain.clone();
    not_utf8[20] = 0xff;
    refuse_model(&not_utf8, "UTF-8");
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    refuse_model(&header("{}"), "no configuration");
    refuse_model(&header(&"[".repeat(1 << 20)), "");
    let far = r#"{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,18446744073709551615]}}"#;
    refuse_model(&header(far), "");
}

#[test]
fn truncated_model_files_are_refused() {
    let plain = least();
    for length in (0..plain.len()).step_by(41) {
        assert!(
            Model::from_bytes(&plain[..length]).is_err(),
            "{length} bytes"
        );
    }
    assert!(Model::from_bytes(&[&plain[..], &[0]].concat()).is_err());
}

/// Decodes with the default limits.
fn decode(file: &[u8]) -> aec::unstable::Result<aec::unstable::Image> {
    aec::unstable::decode(file, tiny::model(), &DecodeOptions::default(), &NoProgress)
}

/// A small file with a change behind right checksums.
fn bomb(change: impl FnOnce(&mut Layout)) -> Vec<u8> {
    let mut layout = Layout::of(&encode(&pictures::scene(90, 64), 60.0, 64));
    change(&mut layout);
    layout.bytes()
}

#[test]
fn headers_of_huge_pictures_are_refused_at_once() {
    for (width, height, limit) in [
        (1_048_560, 1_048_560, true),
        (16_385, 16_384, true),
        // Within the limit: the tiles are missing.
        (16_384, 16_384, false),
        (1, 65_535, false),
        // Memory follows the width: sides have a limit of their own.
        (1, 1_048_560, true),
        (65_536, 1, true),
    ] {
        let file = bomb(|layout| layout.set_size(width, height));
        let error = refused(64 << 10, || decode(&file));
        let as_expected = if limit {
            matches!(error, Error::LimitExceeded { .. })
        } else {
            matches!(error, Error::Truncated { .. })
        };
        assert!(as_expected, "{width}x{height}: {error}");
    }
}

/// A picture 1 pixel wide is padded to 64, so the limit is on what is computed.
#[test]
fn thin_pictures_over_the_limit_are_refused_at_once() {
    let limits = Limits {
        max_pixels: 1 << 20,
        ..Limits::default()
    };
    let options = DecodeOptions {
        limits,
        ..DecodeOptions::default()
    };
    for (width, height) in [(1, 16_385), (16_385, 1), (1, 65_535)] {
        let file = bomb(|layout| layout.set_size(width, height));
        let error = refused(64 << 10, || {
            aec::unstable::decode(&file, tiny::model(), &options, &NoProgress)
        });
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        assert!(error.to_string().contains("sides below 64 count as 64"));
    }
}

#[test]
fn huge_lengths_are_refused_at_once() {
    // Lengths of 2^32 - 1 bytes: of a tile in the index, of a zero map, of a section.
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let index = bomb(|layout| *layout.payload(b"TIDX") = [huge, huge].concat());
    assert!(matches!(
        refused(64 << 10, || decode(&index)),
        Error::Corrupt(_)
    ));
    let map = bomb(|layout| {
        *layout.payload(b"TILE") = [&[1][..], &huge, &[0; 20]].concat();
        layout.index_tiles();
    });
    assert!(matches!(
        refused(64 << 10, || decode(&map)),
        Error::Corrupt(_)
    ));
    let mut section = bomb(|layout| layout.sections.clear());
    section.extend([b"iccP", &huge[..4], &[0x0f; 1]].concat());
    assert!(matches!(
        refused(64 << 10, || decode(&section)),
        Error::Truncated { .. }
    ));
    let profile = bomb(|layout| layout.sections.insert(0, (*b"iccP", vec![0; 5000])));
    let limits = Limits {
        max_metadata_bytes: 4998,
        ..Limits::default()
    };
    let error = refused(64 << 10, || Container::parse(&profile, &limits).map(drop));
    assert!(matches!(error, Error::LimitExceeded { .. }));
    // A block that states 2^26 bytes, which the limit allows, and has no more than a few.
    let block = [&[0x80, 0x80, 0x80, 0x20][..], &[0; 100]].concat();
    let block = bomb(|layout| layout.sections.insert(0, (*b"xmp ", block)));
    let error = refused(64 << 10, || {
        Container::parse(&block, &Limits::default()).map(drop)
    });
    assert!(matches!(error, Error::Corrupt(_)));
}

/// What a file costs follows from its number of padded pixels, not from its own size: with symbols that
/// are all 0 a few dozen bytes stand for the largest tile.
#[test]
fn memory_is_in_proportion_to_pixels() {
    let mut spent = Vec::new();
    for side in [512, 1024] {
        let picture = pictures::flat(side, side, [127; 3]);
        let zeros = with_symbols(&encode(&picture, 0.0, 4096), tiny::model(), |_| 0);
        assert!(zeros.len() < 70, "{} bytes", zeros.len());
        let (decoded, peak) = peak_of(|| decode(&zeros));
        assert_eq!(decoded.unwrap().width, side);
        spent.push(peak as f64 / f64::from(side * side));
    }
    println!("bytes per pixel: {spent:.1?}");
    assert!(spent[1] < 1.2 * spent[0], "{spent:?}");
}

/// A PNG is written in bands: no copy of the samples is made, however many bits they have.
#[test]
fn writing_a_png_takes_no_second_copy() {
    let side = 1500;
    let alpha = (0..side * side).map(|i| (i % 65_521) as u16).collect();
    let alpha = aec::unstable::Alpha::new(aec::unstable::Depth::Sixteen, alpha).unwrap();
    let picture = pictures::flat(side, side, [9, 99, 199])
        .with_alpha(alpha)
        .unwrap();
    let write = || {
        aec::unstable::picture::io::write(
            &picture,
            aec::unstable::picture::io::OutputFormat::Png,
            std::io::sink(),
        )
    };
    let (written, peak) = peak_of(write);
    written.unwrap();
    assert!(peak < 10 << 20, "{peak} bytes for 18 MB of samples");
}
