//! What must hold for any bytes at all. The fuzz targets and the replay of their findings
//! (tests/it/hostile.rs) both run these; each takes an input of the target of its name.

use std::io::Cursor;
use std::sync::LazyLock;

use aec::unstable::bitstream::Container;
use aec::unstable::entropy::{
    ScaleTables, SymbolDecoder, SymbolEncoder, ZeroMap, decode_plane, encode_plane,
};
use aec::unstable::format::MAX_SYMBOL;
use aec::unstable::picture::io::{OutputFormat, read, write};
use aec::unstable::{
    DecodeOptions, Depth, Effort, EncodeOptions, Image, Limits, Model, NoProgress, Quality,
};

use super::symbols::with_symbols;

/// Small sizes, so that no single input is slow.
pub const LIMITS: Limits = Limits {
    max_pixels: 1 << 14,
    max_side: 65_535,
    max_metadata_bytes: 1 << 16,
};

const DECODE: DecodeOptions = DecodeOptions {
    limits: LIMITS,
    strip: false,
    region: None,
};

/// A file that parses is written again as a file that parses to the same.
pub fn container(bytes: &[u8]) {
    if let Ok(sections) = Container::sections(bytes) {
        let known = sections.flatten().map(|section| section.payload.len());
        assert!(known.sum::<usize>() <= bytes.len());
    }
    let Ok(container) = Container::parse(bytes, &LIMITS) else {
        return;
    };
    let written = container.write().expect("what was parsed can be written");
    let again = Container::parse(&written, &LIMITS).expect("what was written can be parsed");
    assert_eq!(again, container);
}

/// Decoding gives an error or a picture of the stated size, and what is left of a file that is not
/// damaged is all of it.
pub fn decode(bytes: &[u8], model: &Model) {
    let left = aec::unstable::decode_damaged(bytes, model, &DECODE, &NoProgress);
    let Ok(picture) = aec::unstable::decode(bytes, model, &DECODE, &NoProgress) else {
        assert!(left.is_err() || !left.unwrap().1.is_empty());
        return;
    };
    assert!(picture.pixels() <= LIMITS.max_pixels);
    assert_eq!(picture.rgb.len() as u64, 3 * picture.pixels());
    if let Some(alpha) = &picture.alpha {
        assert_eq!(alpha.samples().len() as u64, picture.pixels());
    }
    let (left, damage) = left.expect("the whole decoded");
    assert!(left == picture && damage.is_empty());
    aec::unstable::codec::decode_latents(bytes, model, &DECODE).expect("the whole decoded");
}

/// Any symbols in a valid file decode. The input: quality, width, height, then two bytes a
/// symbol; after its end all symbols are 0.
pub fn symbols(bytes: &[u8], model: &Model) {
    let Some((&[quality, width, height], rest)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let (width, height) = (u32::from(width % 128) + 1, u32::from(height % 64) + 1);
    let options = EncodeOptions {
        quality: Quality::from_percent(f64::from(quality) / 2.55).expect("0 to 100"),
        tile_size: 64,
        effort: Effort::FASTEST,
        ..EncodeOptions::default()
    };
    let gray = vec![127; (width * height * 3) as usize];
    let picture = Image::new(width, height, gray).expect("the sizes agree");
    let file =
        aec::unstable::encode(&picture, model, &options, &NoProgress).expect("a valid picture");
    let mut pairs = rest.as_chunks::<2>().0.iter();
    let file = with_symbols(&file, model, |_| {
        pairs.next().map_or(0, |&[value, scale]| {
            // Small and huge symbols alike.
            (i32::from(value as i8) << (scale % 16)).clamp(-MAX_SYMBOL, MAX_SYMBOL)
        })
    });
    let options = DecodeOptions::default();
    let decoded = aec::unstable::decode(&file, model, &options, &NoProgress).expect("a valid file");
    assert_eq!((decoded.width, decoded.height), (width, height));
}

/// A model that loads encodes, and decodes what it encoded.
pub fn weights(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes) else {
        return;
    };
    let rgb = (0..20 * 70 * 3).map(|i| (i * 7) as u8).collect();
    let picture = Image::new(20, 70, rgb).expect("the sizes agree");
    let options = EncodeOptions {
        tile_size: 64,
        ..EncodeOptions::default()
    };
    let Ok(file) = aec::unstable::encode(&picture, &model, &options, &NoProgress) else {
        return;
    };
    let decoded = aec::unstable::decode(&file, &model, &DECODE, &NoProgress).expect("its own file");
    assert_eq!((decoded.width, decoded.height), (20, 70));
}

/// A picture that can be read has the stated size, and survives PNG.
pub fn picture(bytes: &[u8]) {
    let Ok(picture) = read(bytes, &LIMITS) else {
        return;
    };
    assert!(picture.pixels() <= LIMITS.max_pixels);
    assert_eq!(picture.rgb.len() as u64, 3 * picture.pixels());
    let Ok(upright) = picture.into_upright() else {
        panic!("the orientation of a picture that was read is valid");
    };
    let mut png = Cursor::new(Vec::new());
    write(&upright, OutputFormat::Png, &mut png).expect("a valid picture");
    let limits = Limits {
        max_metadata_bytes: 1 << 20,
        ..LIMITS
    };
    let again = read(png.get_ref(), &limits).expect("our own PNG");
    assert_eq!(again.rgb, upright.rgb);
    assert!(again.alpha == upright.alpha);
}

/// Planes of alpha. The input: width, height, what follows; then a stream, or samples.
pub fn alpha(bytes: &[u8]) {
    let Some((&[width, height, kind], rest)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let (width, height) = (usize::from(width) + 1, usize::from(height) + 1);
    let depth = if kind & 1 == 0 {
        Depth::Eight
    } else {
        Depth::Sixteen
    };
    let samples = if kind & 2 == 0 {
        decode_plane(rest, width, height, depth.max())
    } else {
        Ok(any_samples(rest, width * height, depth))
    };
    // A hostile stream may say the same in more bytes than the encoder's, so streams are not compared.
    if let Ok(samples) = samples {
        assert_eq!(samples.len(), width * height);
        assert!(samples.iter().all(|&sample| sample <= depth.max()));
        let stream = encode_plane(samples.clone(), width, depth.max());
        let again = decode_plane(&stream, width, height, depth.max()).expect("our own stream");
        assert!(again == samples);
    }
}

/// `count` samples of one or two bytes each, over and over.
fn any_samples(bytes: &[u8], count: usize, depth: Depth) -> Vec<u16> {
    let samples: Vec<u16> = match depth {
        Depth::Eight => bytes.iter().map(|&byte| byte.into()).collect(),
        Depth::Sixteen => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            pairs.map(|&pair| u16::from_le_bytes(pair)).collect()
        }
    };
    let all = samples.iter().copied().cycle().take(count);
    // Opaque where nothing is said.
    all.chain(std::iter::repeat(depth.max()))
        .take(count)
        .collect()
}

static TABLES: LazyLock<ScaleTables> = LazyLock::new(ScaleTables::gaussian);

/// Tables, streams, symbols and zero maps; the first byte says which.
pub fn entropy(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    match kind % 5 {
        0 => stored_tables(rest),
        1 => changed_tables(rest),
        2 => any_stream(rest, &TABLES),
        3 => any_symbols(rest),
        _ => zero_map(rest),
    }
}

/// Tables that can be read are stored as what they were read from.
fn stored_tables(bytes: &[u8]) {
    let words: Vec<u16> = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&word| u16::from_le_bytes(word))
        .collect();
    if let Ok(tables) = ScaleTables::from_words(&words) {
        assert!(tables.to_words() == words);
    }
}

/// Changed tables of the right sums: a table, 12 bytes of changes, then a stream for them.
fn changed_tables(bytes: &[u8]) {
    let Some((&[table, ref changes @ ..], stream)) = bytes.split_first_chunk::<13>() else {
        return;
    };
    let mut words = TABLES.to_words();
    // A table's words: its reach, the frequencies of magnitudes 0 to the reach, the escape's.
    let start = (0..table % 64).fold(0, |at, _| at + usize::from(words[at]) + 3);
    let reach = usize::from(words[start]);
    for &[from, to, low, high] in changes.as_chunks::<4>().0 {
        // Between magnitudes other than 0, which all count twice.
        let [from, to] = [from, to].map(|byte| start + 2 + usize::from(byte) % reach);
        let moved = u16::from_le_bytes([low, high]).min(words[from] - 1);
        words[from] -= moved;
        words[to] += moved;
    }
    let tables = ScaleTables::from_words(&words).expect("the sums are right");
    any_stream(stream, &tables);
}

/// A stream that decodes to its end is the one that the encoder writes for its symbols. The
/// input: the number of symbols, a table for each, the stream.
fn any_stream(bytes: &[u8], tables: &ScaleTables) {
    let Some((&count, rest)) = bytes.split_first() else {
        return;
    };
    let (indices, stream) = rest.split_at(rest.len().min(usize::from(count)));
    let Ok(mut decoder) = SymbolDecoder::new(tables, stream) else {
        return;
    };
    let mut encoder = SymbolEncoder::new(tables);
    for &table in indices {
        let Ok(symbol) = decoder.pop(table) else {
            return;
        };
        assert!(tables.bits(table, symbol) >= 0.0);
        encoder.push(table, symbol);
    }
    if decoder.finish().is_ok() {
        assert_eq!(encoder.finish(), stream);
    }
}

/// Symbols survive: four bytes each, the table first.
fn any_symbols(bytes: &[u8]) {
    let symbols: Vec<(u8, i32)> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&[table, a, b, c]| {
            let symbol = i32::from_le_bytes([0, a, b, c]) >> 11;
            (table, symbol.clamp(-MAX_SYMBOL, MAX_SYMBOL))
        })
        .collect();
    let mut encoder = SymbolEncoder::new(&TABLES);
    for &(table, symbol) in &symbols {
        encoder.push(table, symbol);
    }
    let stream = encoder.finish();
    let mut decoder = SymbolDecoder::new(&TABLES, &stream).expect("our own stream");
    for &(table, symbol) in &symbols {
        assert_eq!(decoder.pop(table).expect("our own stream"), symbol);
    }
    decoder.finish().expect("our own stream");
}

/// A map that can be read is stored as what it was read from.
fn zero_map(bytes: &[u8]) {
    let Some((&channels, map)) = bytes.split_first() else {
        return;
    };
    if let Ok(read) = ZeroMap::from_bytes(map, usize::from(channels)) {
        assert_eq!(read.to_bytes(), map);
    }
}
