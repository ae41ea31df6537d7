//! Packed tensors of a model file (§7.1).

/// The integers that are packed at the start of `bytes`, and the bytes that follow.
pub fn unpack(bytes: &[u8]) -> Option<(Vec<i8>, &[u8])> {
    let mut rest = bytes;
    let mut take = |size: usize| {
        let (taken, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(taken)
    };
    let n = u32::from_le_bytes(take(4)?.try_into().ok()?);
    if n > 1 << 28 {
        return None;
    }
    let (a, b) = (take(1)?[0] as i8, take(1)?[0] as i8);
    let mut frequencies = Vec::new();
    for _ in a..=b {
        frequencies.push(match take(1)?[0] {
            short @ 0..128 => u32::from(short),
            first => u32::from(first - 128) << 8 | u32::from(take(1)?[0]),
        });
    }
    if frequencies.iter().sum::<u32>() != 4096 || frequencies.contains(&4096) {
        return None;
    }
    let mut sizes = [0; 4];
    for size in &mut sizes {
        *size = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
    }
    let mut streams = Vec::new();
    for size in sizes {
        let words = take(2 * size)?.chunks(2);
        let words = words.map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let mut stream = Stream {
            words: words.collect(),
            x: 0,
        };
        if stream.words.last() == Some(&0) {
            return None;
        }
        stream.refill();
        stream.refill();
        streams.push(stream);
    }
    let mut integers = Vec::new();
    for i in 0..n as usize {
        let stream = &mut streams[i % 4];
        let q = stream.x % 4096;
        let (mut v, mut cum) = (0, 0);
        while cum + frequencies[v] <= q {
            cum += frequencies[v];
            v += 1;
        }
        stream.x = frequencies[v] * (stream.x / 4096) + q - cum;
        stream.refill();
        integers.push((i32::from(a) + v as i32) as i8);
    }
    let at_end = |stream: &Stream| stream.x == 0 && stream.words.is_empty();
    streams.iter().all(at_end).then_some((integers, rest))
}

struct Stream {
    words: Vec<u16>,
    x: u32,
}

impl Stream {
    fn refill(&mut self) {
        if self.x < 1 << 16
            && let Some(word) = self.words.pop()
        {
            self.x = self.x << 16 | u32::from(word);
        }
    }
}
