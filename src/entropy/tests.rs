//! Tests of tables and coder together: golden streams, round trips, and damage.

use crate::format::{MAX_SYMBOL, SCALE_LEVELS, SIGMA_MAX, SIGMA_MIN};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result};

static TABLES: LazyLock<ScaleTables> = LazyLock::new(ScaleTables::gaussian);

fn encode(tables: &ScaleTables, symbols: &[(u8, i32)]) -> Vec<u8> {
    let mut encoder = SymbolEncoder::new(tables);
    for &(table, symbol) in symbols {
        encoder.push(table, symbol);
    }
    encoder.finish()
}

/// Decodes one symbol per wanted one, with its table, and checks the end.
fn decode(tables: &ScaleTables, stream: &[u8], wanted: &[(u8, i32)]) -> Result<Vec<(u8, i32)>> {
    let mut decoder = SymbolDecoder::new(tables, stream)?;
    let symbols = wanted
        .iter()
        .map(|&(table, _)| Ok((table, decoder.pop(table)?)))
        .collect();
    decoder.finish().and(symbols)
}

fn bits(tables: &ScaleTables, symbols: &[(u8, i32)]) -> f64 {
    symbols
        .iter()
        .map(|&(table, symbol)| f64::from(tables.bits(table, symbol)))
        .sum()
}

/// Symbols of a plausible tile, as the decoder makes them from pseudo-random bytes.
fn sample(count: usize) -> Vec<(u8, i32)> {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let bytes: Vec<u8> = (0..count * 2).map(|_| random() as u8 | 1).collect();
    let mut decoder = SymbolDecoder::new(&TABLES, &bytes).unwrap();
    let mut symbols = Vec::new();
    for _ in 0..count {
        let table = (random() % 64) as u8;
        symbols.push((table, decoder.pop(table).unwrap_or(0)));
    }
    symbols
}

#[test]
fn gaussian_tables_are_frozen() {
    let words = TABLES.to_words();
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    assert_eq!(words.len(), 6182);
    assert_eq!(crc32fast::hash(&bytes), 0x12A1_397A);
    assert_eq!(words[..5], [1, 65_531, 2, 1, 2]);
}

#[test]
fn sigma_spans_its_range() {
    assert!((ScaleTables::sigma(0) - SIGMA_MIN).abs() < 1e-12);
    assert!((ScaleTables::sigma(63) - SIGMA_MAX).abs() < 1e-10);
    let formula = 0.12 * (20.0 * (160.0_f64 / 0.12).ln() / 63.0).exp();
    assert!((ScaleTables::sigma(20) - formula).abs() < 1e-12);
}

#[test]
fn stored_tables_are_rebuilt_equal() {
    let words = TABLES.to_words();
    let rebuilt = ScaleTables::from_words(&words).unwrap();
    assert_eq!(rebuilt.to_words(), words);
    let symbols = sample(2000);
    assert_eq!(encode(&rebuilt, &symbols), encode(&TABLES, &symbols));
}

#[test]
fn hostile_tables_are_refused() {
    let good = TABLES.to_words();
    let refused = |words: &[u16]| matches!(ScaleTables::from_words(words), Err(Error::Weights(_)));
    for length in (0..good.len()).step_by(13).chain([good.len() - 1]) {
        assert!(refused(&good[..length]), "{length} words");
    }
    for i in (0..200).chain(good.len() - 200..good.len()) {
        for change in [
            0,
            1,
            0xFFFF,
            good[i].wrapping_add(1),
            good[i].wrapping_sub(1),
        ] {
            let mut words = good.clone();
            words[i] = change;
            assert!(change == good[i] || refused(&words), "word {i} = {change}");
        }
    }
    let extra: Vec<u16> = good.iter().copied().chain([1]).collect();
    assert!(refused(&extra));
}

#[test]
fn golden_stream_of_the_specification() {
    let symbols = [(20, 2), (20, -1), (20, 0)];
    let stream = encode(&TABLES, &symbols);
    assert_eq!(stream, [0xd8, 0xf4, 0x03]);
    assert_eq!(decode(&TABLES, &stream, &symbols).unwrap(), symbols);
}

#[test]
fn golden_stream() {
    // Table 20 has sigma 1.18 and reach 6, so 9 and -300 are escaped.
    let symbols = [
        (20, 0),
        (20, -1),
        (20, 1),
        (40, -17),
        (0, 0),
        (20, 9),
        (20, -300),
        (63, 400),
        (20, 2),
    ];
    let stream = encode(&TABLES, &symbols);
    assert_eq!(
        stream,
        [
            0xff, 0xff, 0x07, 0xf6, 0xc3, 0x52, 0x93, 0x2b, 0x32, 0xa8, 0xff, 0x73
        ]
    );
    assert_eq!(decode(&TABLES, &stream, &symbols).unwrap(), symbols);
}

#[test]
fn zeros_at_the_end_cost_nothing() {
    assert!(encode(&TABLES, &[(5, 0); 1000]).is_empty());
    assert!(
        decode(&TABLES, &[], &[(63, 0); 1000])
            .unwrap()
            .iter()
            .all(|&(_, s)| s == 0)
    );
    let mut symbols = vec![(30, 3)];
    let short = encode(&TABLES, &symbols);
    symbols.extend([(30, 0); 1000]);
    assert_eq!(encode(&TABLES, &symbols), short);
}

#[test]
fn symbols_at_the_limits_survive_and_beyond_are_clamped() {
    let symbols: Vec<(u8, i32)> = (0..64)
        .flat_map(|t| [MAX_SYMBOL, -MAX_SYMBOL, MAX_SYMBOL - 1, 0].map(|s| (t, s)))
        .collect();
    assert_eq!(
        decode(&TABLES, &encode(&TABLES, &symbols), &symbols).unwrap(),
        symbols
    );
    let clamped = encode(&TABLES, &[(3, i32::MIN), (3, i32::MAX)]);
    assert_eq!(
        clamped,
        encode(&TABLES, &[(3, -MAX_SYMBOL), (3, MAX_SYMBOL)])
    );
}

#[test]
fn table_indices_beyond_the_last_mean_the_last() {
    let symbols = [(64, 5), (255, -2000), (63, 1)];
    let last = symbols.map(|(_, symbol)| (63, symbol));
    assert_eq!(encode(&TABLES, &symbols), encode(&TABLES, &last));
    assert_eq!(TABLES.bits(200, 7), TABLES.bits(63, 7));
}

#[test]
fn streams_are_as_long_as_bits_says() {
    for count in [1, 10, 100, 1000, 20_000] {
        let symbols = sample(count);
        let estimate = bits(&TABLES, &symbols) / 8.0;
        let length = encode(&TABLES, &symbols).len() as f64;
        assert!(
            (length - estimate).abs() < 4.0 + estimate * 1e-4,
            "{count}: {length} bytes, estimate {estimate}"
        );
    }
}

#[test]
fn no_truncation_or_bit_flip_gives_the_same_symbols() {
    // Damage may leave a valid stream of other symbols, which the tile's checksum tells; it rarely does.
    let symbols = sample(300);
    let stream = encode(&TABLES, &symbols);
    let cut = (0..stream.len()).map(|length| stream[..length].to_vec());
    let flipped = (0..8 * stream.len()).map(|bit| {
        let mut bytes = stream.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    for damaged in cut.chain(flipped) {
        if let Ok(decoded) = decode(&TABLES, &damaged, &symbols) {
            assert_ne!(decoded, symbols);
        }
    }
}

#[test]
fn symbols_left_over_and_zero_tails_are_refused() {
    let symbols = sample(300);
    let mut stream = encode(&TABLES, &symbols);
    assert!(decode(&TABLES, &stream, &symbols[..200]).is_err());
    stream.push(0);
    assert!(matches!(
        SymbolDecoder::new(&TABLES, &stream),
        Err(Error::Corrupt(_))
    ));
    assert!(SymbolDecoder::new(&TABLES, &[0; 8]).is_err());
}

/// Tables with any reach up to 40 and any frequencies.
fn any_tables() -> impl Strategy<Value = ScaleTables> {
    let table = prop::collection::vec(1..500_u32, 2..42);
    prop::collection::vec((table, 1..500_u16), SCALE_LEVELS).prop_map(|tables| {
        let mut words = Vec::new();
        for (mut magnitudes, escape) in tables {
            let others: u32 = 2 * magnitudes[1..].iter().sum::<u32>() + u32::from(escape);
            magnitudes[0] = 65_536 - others;
            words.push(magnitudes.len() as u16 - 1);
            words.extend(magnitudes.iter().map(|&f| f as u16));
            words.push(escape);
        }
        ScaleTables::from_words(&words).unwrap()
    })
}

fn any_symbols() -> impl Strategy<Value = Vec<(u8, i32)>> {
    let symbol = prop_oneof![
        8 => -3..=3_i32,
        4 => -60..=60_i32,
        1 => -MAX_SYMBOL..=MAX_SYMBOL,
    ];
    prop::collection::vec((0..64_u8, symbol), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn symbols_survive_gaussian_tables(symbols in any_symbols()) {
        let stream = encode(&TABLES, &symbols);
        prop_assert_eq!(decode(&TABLES, &stream, &symbols).unwrap(), symbols);
    }

    #[test]
    fn symbols_survive_any_tables(tables in any_tables(), symbols in any_symbols()) {
        let stream = encode(&tables, &symbols);
        let estimate = bits(&tables, &symbols) / 8.0;
        prop_assert!((stream.len() as f64) < estimate + 4.0);
        prop_assert_eq!(decode(&tables, &stream, &symbols).unwrap(), symbols);
    }

    #[test]
    fn any_stream_that_decodes_is_the_one_we_write(stream: Vec<u8>, tables in prop::collection::vec(0..64_u8, 1..40)) {
        let Ok(mut decoder) = SymbolDecoder::new(&TABLES, &stream) else { return Ok(()) };
        let symbols: Result<Vec<_>> = tables.iter().map(|&t| Ok((t, decoder.pop(t)?))).collect();
        if let (Ok(symbols), Ok(())) = (symbols, decoder.finish()) {
            prop_assert_eq!(encode(&TABLES, &symbols), stream);
        }
    }

    #[test]
    fn any_table_words_never_panic(words: Vec<u16>) {
        prop_assert!(ScaleTables::from_words(&words).is_err());
    }
}
