//! Integers of 8 bits under one static model: how a model file's weights are stored (spec: "Packed tensors").
//!
//! The values take turns in four rANS streams, so that a processor works on four states at
//! once: a model is unpacked every time that a program starts.

use std::borrow::Borrow;
use std::num::NonZeroU16;

use constriction::UnwrapInfallible;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::stack::AnsCoder;
use constriction::stream::{Decode, Encode};

use crate::error::{Error, Result};

/// Bits of precision: the frequencies sum to `1 << PRECISION`.
const PRECISION: usize = 12;
/// What the frequencies sum to.
const TOTAL: u16 = 1 << PRECISION;
/// Frequencies from here on take two bytes, and this much of the first one says so.
const LONG: u8 = 128;
/// Streams that the values take turns in.
const LANES: usize = 4;

/// The coder of a stream: words of 16 bits, a state of 32.
type Coder = AnsCoder<u16, u32>;

/// Packs `values`, at most `u32::MAX` of them; [`unpack`] has the layout.
pub fn pack(values: &[i8]) -> Vec<u8> {
    let frequencies = Frequencies::of(values);
    let intervals = frequencies.intervals();
    let streams: [Vec<u16>; LANES] = std::array::from_fn(|lane| {
        let mut coder = Coder::new();
        for value in values.iter().skip(lane).step_by(LANES).rev() {
            coder
                .encode_symbol(*value, &intervals)
                .expect("every value that occurs has a frequency");
        }
        coder.into_compressed().unwrap_infallible()
    });
    let sizes = streams.iter().map(|words| words.len() as u32);
    let words = streams.iter().flatten();
    let mut packed = (values.len() as u32).to_le_bytes().to_vec();
    packed.extend(frequencies.to_bytes());
    packed.extend(sizes.flat_map(u32::to_le_bytes));
    packed.extend(words.flat_map(|word| word.to_le_bytes()));
    packed
}

/// Fills `values` from their packed form: how many there are, the smallest and the largest that may occur,
/// the frequencies of these and of the values between them, the number of words of each stream, and
/// the streams. Returns the bytes that follow.
///
/// # Errors
/// [`Error::Weights`] when the bytes are not the packed form of so many values.
pub fn unpack<'a>(packed: &'a [u8], values: &mut [i8]) -> Result<&'a [u8]> {
    let (count, rest) = packed.split_first_chunk().ok_or_else(cut_short)?;
    let (count, expected) = (u32::from_le_bytes(*count), values.len());
    if usize::try_from(count) != Ok(expected) {
        let text = format!("{count} packed integers, expected {expected}");
        return Err(Error::Weights(text));
    }
    let (frequencies, rest) = Frequencies::read(rest)?;
    let Some((sizes, mut rest)) = rest.split_first_chunk::<{ 4 * LANES }>() else {
        return Err(cut_short());
    };
    let mut coders: [Coder; LANES] = std::array::from_fn(|_| Coder::new());
    for (coder, size) in coders.iter_mut().zip(sizes.as_chunks::<4>().0) {
        let size = 2 * u64::from(u32::from_le_bytes(*size));
        let size = usize::try_from(size).map_err(|_| cut_short())?;
        let (words, after) = rest.split_at_checked(size).ok_or_else(cut_short)?;
        let words = words.as_chunks::<2>().0.iter();
        let words: Vec<u16> = words.map(|word| u16::from_le_bytes(*word)).collect();
        *coder = Coder::from_compressed(words).map_err(|_| wrong_end())?;
        rest = after;
    }
    let quantiles = frequencies.quantiles();
    let (turns, last) = values.as_chunks_mut::<LANES>();
    for turn in turns {
        for (value, coder) in turn.iter_mut().zip(&mut coders) {
            *value = coder.decode_symbol(&quantiles).unwrap_infallible();
        }
    }
    for (value, coder) in last.iter_mut().zip(&mut coders) {
        *value = coder.decode_symbol(&quantiles).unwrap_infallible();
    }
    if coders.iter().all(Coder::is_empty) {
        Ok(rest)
    } else {
        Err(wrong_end())
    }
}

fn cut_short() -> Error {
    Error::Weights("packed integers are cut short".into())
}

fn wrong_end() -> Error {
    Error::Weights("packed integers do not end where they should".into())
}

/// How likely the values are.
struct Frequencies {
    /// The value that the first one belongs to.
    smallest: i8,
    /// Of that value and of those after it, each below [`TOTAL`], together [`TOTAL`].
    list: Vec<u16>,
}

impl Frequencies {
    /// In proportion to how often each value occurs, and at least 1 for what does.
    fn of(values: &[i8]) -> Self {
        let mut counts = [0_u64; 256];
        for value in values {
            counts[place(*value)] += 1;
        }
        let occurs = |count: &u64| *count > 0;
        // Two at least: none may have all.
        let first = counts.iter().position(occurs).unwrap_or(0).min(254);
        let last = counts.iter().rposition(occurs).unwrap_or(0).max(first + 1);
        Self {
            smallest: value(first),
            list: proportional(&counts[first..=last]),
        }
    }

    /// Reads the stored form, and returns what follows.
    fn read(packed: &[u8]) -> Result<(Self, &[u8])> {
        let (ends, rest) = packed.split_first_chunk::<2>().ok_or_else(cut_short)?;
        let [smallest, largest] = ends.map(u8::cast_signed);
        let count = i16::from(largest) - i16::from(smallest) + 1;
        let mut bytes = rest.iter();
        let mut byte = || bytes.next().copied().ok_or_else(cut_short);
        let mut list = Vec::with_capacity(256);
        for _ in 0..count {
            list.push(match byte()? {
                first @ LONG.. => u16::from_be_bytes([first - LONG, byte()?]),
                short => short.into(),
            });
        }
        let sum: u32 = list.iter().map(|frequency| u32::from(*frequency)).sum();
        if sum != u32::from(TOTAL) || list.contains(&TOTAL) {
            let text = "packed integers have frequencies that do not sum up";
            return Err(Error::Weights(text.into()));
        }
        Ok((Self { smallest, list }, bytes.as_slice()))
    }

    /// The stored form.
    fn to_bytes(&self) -> Vec<u8> {
        let ends = [
            self.smallest,
            value(place(self.smallest) + self.list.len() - 1),
        ];
        let mut bytes = ends.map(i8::cast_unsigned).to_vec();
        for frequency in &self.list {
            match frequency.to_be_bytes() {
                [0, low] if low < LONG => bytes.push(low),
                [high, low] => bytes.extend([high + LONG, low]),
            }
        }
        bytes
    }

    /// For encoding.
    fn intervals(&self) -> Intervals {
        let mut intervals = Intervals(vec![(0, 0); 256]);
        let mut next = 0;
        for (interval, frequency) in intervals.0[place(self.smallest)..]
            .iter_mut()
            .zip(&self.list)
        {
            *interval = (next, *frequency);
            next += frequency;
        }
        intervals
    }

    /// For decoding.
    fn quantiles(&self) -> Quantiles {
        let Intervals(intervals) = self.intervals();
        let list = intervals.iter().enumerate();
        let of_value = |(at, (start, frequency)): (usize, &(u16, u16))| {
            let found = NonZeroU16::new(*frequency).map(|some| (value(at), *start, some));
            found.into_iter().cycle().take(usize::from(*frequency))
        };
        let list: Box<[_]> = list.flat_map(of_value).collect();
        Quantiles(
            list.try_into()
                .unwrap_or_else(|_| unreachable!("the frequencies sum to that")),
        )
    }
}

/// The place of a value in a list of all 256, in ascending order.
fn place(value: i8) -> usize {
    usize::from(value.cast_unsigned() ^ 0x80)
}

/// The value at a place.
fn value(place: usize) -> i8 {
    (place as u8 ^ 0x80).cast_signed()
}

/// Frequencies in proportion to `counts`, of which there are two or more: each is below [`TOTAL`], at least
/// 1 where something was counted, and they sum to it.
fn proportional(counts: &[u64]) -> Vec<u16> {
    let sum = counts.iter().sum::<u64>().max(1);
    let share = |count: &u64| {
        let share = (count * u64::from(TOTAL) / sum).min(u64::from(TOTAL) - 1) as u16;
        share.max(u16::from(*count > 0))
    };
    let mut list: Vec<u16> = counts.iter().map(share).collect();
    // One more or less where it changes the size most or least.
    let weight = |at: usize, frequency: u16| counts[at] as f64 / f64::from(frequency.max(1));
    loop {
        let sum: u16 = list.iter().sum();
        let places = 0..list.len();
        let found = if sum < TOTAL {
            let can_grow = places.filter(|at| list[*at] < TOTAL - 1);
            can_grow.max_by(|a, b| weight(*a, list[*a]).total_cmp(&weight(*b, list[*b])))
        } else if sum > TOTAL {
            let can_shrink = places.filter(|at| list[*at] > 1);
            can_shrink.min_by(|a, b| weight(*a, list[*a] - 1).total_cmp(&weight(*b, list[*b] - 1)))
        } else {
            return list;
        };
        let at = found.expect("two or more values share the frequencies");
        list[at] = if sum < TOTAL {
            list[at] + 1
        } else {
            list[at] - 1
        };
    }
}

/// Start and frequency by the place of a value.
struct Intervals(Vec<(u16, u16)>);

/// Value, start and frequency by quantile.
struct Quantiles(Box<[(i8, u16, NonZeroU16); TOTAL as usize]>);

impl EntropyModel<PRECISION> for Intervals {
    type Symbol = i8;
    type Probability = u16;
}

impl EncoderModel<PRECISION> for Intervals {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl Borrow<i8>,
    ) -> Option<(u16, NonZeroU16)> {
        let (start, frequency) = self.0[place(*symbol.borrow())];
        NonZeroU16::new(frequency).map(|frequency| (start, frequency))
    }
}

impl EntropyModel<PRECISION> for Quantiles {
    type Symbol = i8;
    type Probability = u16;
}

impl DecoderModel<PRECISION> for Quantiles {
    #[inline]
    fn quantile_function(&self, quantile: u16) -> (i8, u16, NonZeroU16) {
        self.0[usize::from(quantile)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that are about normally distributed around zero.
    fn normal(seed: u64, count: usize, deviation: f64) -> Vec<i8> {
        let mut state = seed;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let mut sum = || (0..12).map(|_| uniform()).sum::<f64>();
        (0..count)
            .map(|_| (sum() * deviation).round() as i8)
            .collect()
    }

    fn unpacked(packed: &[u8], count: usize) -> Result<Vec<i8>> {
        let mut values = vec![0; count];
        unpack(packed, &mut values).map(|_| values)
    }

    #[test]
    fn values_come_back_and_what_follows_is_left() {
        let all: Vec<i8> = (-128..=127).collect();
        let cases = [
            vec![],
            vec![7],
            vec![127; 5],
            vec![-128; 1000],
            [vec![0; 100_000], vec![1]].concat(),
            [vec![-128], vec![127; 3]].concat(),
            all.clone(),
            all.repeat(33)[..8441].to_vec(),
            normal(1, 5001, 0.3),
            normal(2, 40_003, 38.0),
        ];
        for values in cases {
            let packed = [pack(&values), b"rest".to_vec()].concat();
            let mut found = vec![55; values.len()];
            assert_eq!(unpack(&packed, &mut found).unwrap(), b"rest");
            assert!(found == values, "{} values", values.len());
        }
    }

    /// The layout, written out: the specification has the same bytes.
    #[test]
    fn the_example_of_the_specification() {
        let values = [0, 0, -1, 0, 2, 0, 0, -1, 0];
        let packed = pack(&values);
        let text: Vec<String> = packed.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "09 00 00 00 ff 02 83 8e 8a aa 00 81 c8 01 00 00 00 01 00 00 00 01 00 00 00 \
                        01 00 00 00 8e 33 1c 07 00 10 8e 03";
        assert_eq!(text.join(" "), expected);
    }

    #[test]
    fn the_size_is_near_the_entropy() {
        let values = normal(3, 100_000, 38.0);
        let mut counts = [0_u32; 256];
        values.iter().for_each(|value| counts[place(*value)] += 1);
        let bits = |count: &u32| {
            let count = f64::from((*count).max(1));
            -count * (count / 1e5).log2()
        };
        let entropy = counts.iter().map(bits).sum::<f64>() / 8.0;
        let size = pack(&values).len() as f64;
        assert!(size < 1.002 * entropy + 512.0 + 30.0, "{size} {entropy}");
    }

    #[test]
    fn what_is_not_packed_is_refused() {
        let values = normal(4, 3000, 9.0);
        let packed = pack(&values);
        for length in 0..packed.len() {
            assert!(unpacked(&packed[..length], values.len()).is_err());
        }
        for count in [0, 1, 2999, 3001, 6000] {
            assert!(unpacked(&packed, count).is_err(), "{count}");
        }
        // Whatever a byte becomes, it is refused or decodes to other values.
        for at in 0..packed.len() {
            for bit in 0..8 {
                let mut damaged = packed.clone();
                damaged[at] ^= 1 << bit;
                assert!(
                    unpacked(&damaged, values.len()).is_ok_and(|found| found != values)
                        || unpacked(&damaged, values.len()).is_err()
                );
            }
        }
    }
}
