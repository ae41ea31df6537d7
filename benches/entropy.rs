//! Speed of the symbol coder, in symbols per second.
//!
//! The symbols of a 1024 x 1024 tile: one per pixel, most of them from narrow tables, as a
//! trained model predicts them at low and high quality.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // benchmarks know their numbers

use aec::unstable::entropy::{ScaleTables, SymbolChecksum, SymbolDecoder, SymbolEncoder};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const SYMBOLS: usize = 1 << 20;

/// A xorshift generator: the same input on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Table indices around `center`, and for each a symbol of that table's own distribution: what the decoder
/// makes of random bytes.
fn symbols(tables: &ScaleTables, center: u64) -> Vec<(u8, i32)> {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let bytes: Vec<u8> = (0..2 * SYMBOLS).map(|_| random.next() as u8 | 1).collect();
    let mut decoder = SymbolDecoder::new(tables, &bytes).expect("the last byte is odd");
    let mut one = || {
        let spread = (0..4).map(|_| random.next() % center).sum::<u64>() / 2;
        let table = spread.min(63) as u8;
        (table, decoder.pop(table).unwrap_or(0))
    };
    (0..SYMBOLS).map(|_| one()).collect()
}

fn encode(tables: &ScaleTables, symbols: &[(u8, i32)]) -> Vec<u8> {
    let mut encoder = SymbolEncoder::new(tables);
    for &(table, symbol) in symbols {
        encoder.push(table, symbol);
    }
    encoder.finish()
}

fn decode(tables: &ScaleTables, stream: &[u8], symbols: &[(u8, i32)]) -> i32 {
    let mut decoder = SymbolDecoder::new(tables, stream).expect("a stream of ours");
    let sum = symbols
        .iter()
        .map(|&(table, _)| decoder.pop(table).expect("a stream of ours"))
        .sum();
    decoder.finish().expect("a stream of ours");
    sum
}

fn coder(criterion: &mut Criterion) {
    let tables = ScaleTables::gaussian();
    for (name, center) in [("low quality", 12), ("high quality", 35)] {
        let symbols = symbols(&tables, center);
        let stream = encode(&tables, &symbols);
        let mut group = criterion.benchmark_group(format!("entropy, {name}"));
        group
            .sample_size(20)
            .throughput(Throughput::Elements(SYMBOLS as u64));
        group.bench_function("encode", |b| {
            b.iter(|| encode(&tables, black_box(&symbols)))
        });
        group.bench_function("decode", |b| {
            b.iter(|| decode(&tables, black_box(&stream), &symbols))
        });
        group.bench_function("bits", |b| {
            b.iter(|| {
                black_box(&symbols)
                    .iter()
                    .map(|&(table, symbol)| tables.bits(table, symbol))
                    .sum::<f32>()
            })
        });
        group.finish();
    }
}

fn checksum(criterion: &mut Criterion) {
    let symbols: Vec<i32> = (0..SYMBOLS as i32).map(|i| i % 17 - 8).collect();
    let mut group = criterion.benchmark_group("entropy");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(SYMBOLS as u64));
    group.bench_function("checksum", |b| {
        b.iter(|| {
            let mut checksum = SymbolChecksum::new();
            checksum.update(black_box(&symbols));
            checksum.finish()
        });
    });
    group.bench_function("tables from the formula", |b| b.iter(ScaleTables::gaussian));
    let words = ScaleTables::gaussian().to_words();
    group.bench_function("tables from words", |b| {
        b.iter(|| ScaleTables::from_words(black_box(&words)))
    });
    group.finish();
}

criterion_group!(benches, coder, checksum);
criterion_main!(benches);
