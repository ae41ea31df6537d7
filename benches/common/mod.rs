//! What the benches of pictures share: the picture, the numbers of threads, and the binary's allocator.

use aec::unstable::Image;

/// As in the binary, or the figures would be those of another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Soft shapes with texture: neither flat nor noise, repeatable.
pub fn picture(width: u32, height: u32) -> Image {
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / 90.0, y as f32 / 70.0);
            let shape = (u.sin() + (v + 0.3 * u).cos()) * 45.0;
            let texture = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77))
                .wrapping_mul(0x27D4_EB2F)
                >> 28;
            let base = 128.0 + shape + texture as f32;
            rgb.extend(
                [base, base * 0.9 + 10.0, 230.0 - base * 0.7]
                    .map(|sample| sample.clamp(0.0, 255.0) as u8),
            );
        }
    }
    Image::new(width, height, rgb).expect("sizes agree")
}

/// One thread, then two, then four and so on up to all cores.
pub fn thread_counts() -> Vec<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts: Vec<usize> = (0..8)
        .map(|power| 1 << power)
        .take_while(|&count| count < cores)
        .collect();
    counts.push(cores);
    counts
}

/// A pool of so many threads.
pub fn pool(threads: usize) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().expect("threads start")
}
