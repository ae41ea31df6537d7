//! The kernels of training against the CPU's, and the optimizer's.

pub(crate) mod emulation;

use super::{Kernel, Size, THREADS};
use crate::kernels::{depth_to_space, space_to_depth};
use emulation::{Launch, emulator, from_bytes, to_bytes};

/// Numbers of all sizes from -2 to 2.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next() * next() * 0.5).collect()
}

#[track_caller]
fn assert_bits(found: &[f32], want: &[f32]) {
    assert_eq!(found.len(), want.len());
    for (i, (found, want)) in found.iter().zip(want).enumerate() {
        assert_eq!(found.to_bits(), want.to_bits(), "value {i}: {found} {want}");
    }
}

#[test]
fn rearrangements_are_those_of_the_cpu() {
    let Some(emulator) = emulator() else { return };
    let (batch, h, w, c, s) = (2, 4, 6, 5, 2);
    let x = numbers(batch * h * w * c, 7);
    let mut want = vec![0.0; x.len()];
    let one = h * w * c;
    for (x, want) in x.chunks(one).zip(want.chunks_mut(one)) {
        space_to_depth(x, h, w, c, s, want);
    }
    let size = Size::new(h, w, c);
    let found = emulator.run(Kernel::SpaceToDepth { size, cell: s }, &[&x], x.len());
    assert_bits(&found, &want);
    let back = emulator.run(Kernel::DepthToSpace { size, cell: s }, &[&found], x.len());
    assert_bits(&back, &x);
    let mut want = vec![0.0; one];
    depth_to_space(&found[..one], h, w, c, s, &mut want);
    assert_bits(&back[..one], &want);
}

/// A launch of an optimizer kernel over arrays of `n` values and the squared norm.
fn optimizer(kernel: &str, arrays: &[&[f32]], norm: f32, scalars: &[f32]) -> Option<Vec<Vec<f32>>> {
    let n = arrays[0].len();
    let mut bytes: Vec<_> = arrays.iter().map(|array| to_bytes(array)).collect();
    bytes.push(to_bytes(&[norm * norm]));
    let mut numbers = vec![n as u64];
    numbers.extend(scalars.iter().map(|v| u64::from(v.to_bits())));
    let launch = Launch {
        kernel,
        blocks: n.div_ceil(THREADS),
        arrays: bytes,
        numbers,
    };
    let arrays = emulator()?.launch(&launch);
    Some(arrays.iter().map(|array| from_bytes(array)).collect())
}

#[test]
fn the_first_step_goes_against_the_gradient() {
    let (p, g) = (numbers(300, 9), numbers(300, 10));
    let zeros = vec![0.0; 300];
    let kinds: Vec<f32> = (0..300).map(|i| f32::from(i >= 200)).collect();
    // Clip norm, rate, decay, corrections 1 / (1 - beta), decay of the average.
    let scalars = [1.0, 0.1, 0.0, 10.0, 1000.0, 0.25];
    let arrays = [&p[..], &zeros, &zeros, &p, &zeros, &g, &kinds];
    let Some(after) = optimizer("moments", &arrays, 2.0, &scalars) else {
        return;
    };
    for i in 0..200 {
        // Adam's first step is the sign of the gradient times the rate.
        let want = p[i] - 0.1 * g[i].signum();
        assert!((after[0][i] - want).abs() < 1e-3 || g[i].abs() < 1e-4);
        let average = 0.25 * p[i] + 0.75 * after[0][i];
        assert!((after[3][i] - average).abs() < 1e-5);
    }
    for i in 200..300 {
        // Clipped to half; momentum 0.05 g, Nesterov's direction 0.95 * 0.05 g + 0.05 g.
        assert_eq!(after[0][i], p[i]);
        assert!((after[1][i] - 0.025 * g[i]).abs() < 1e-6);
        assert!((after[4][i] - 0.04875 * g[i]).abs() < 1e-6);
    }
    for norm in [f32::INFINITY, f32::NAN] {
        let after = optimizer("moments", &arrays, norm, &scalars).expect("it was built");
        assert_eq!((&after[0], &after[1], &after[3]), (&p, &zeros, &p));
    }
}

#[test]
fn matrices_move_along_their_direction() {
    let (p, direction) = (numbers(70, 11), numbers(70, 12));
    let arrays = [&p[..], &p, &direction];
    let scalars = [0.5, 0.1, 0.0];
    let Some(after) = optimizer("move_matrix", &arrays, 1.0, &scalars) else {
        return;
    };
    for i in 0..70 {
        let want = p[i] - 0.5 * direction[i] - 0.1 * p[i];
        assert!((after[0][i] - want).abs() < 1e-5 && after[0][i] == after[1][i]);
    }
    let after = optimizer("move_matrix", &arrays, f32::NAN, &scalars).expect("it was built");
    assert_eq!(after[0], p);
}

#[cfg(feature = "cli")]
#[test]
fn crops_are_cut_turned_and_scaled_like_on_the_cpu() {
    use crate::picture::Image;
    use crate::train::crop::Crop;
    use crate::train::data::append_patches;
    let Some(emulator) = emulator() else { return };
    let (width, height, side) = (37, 40, 16);
    let bytes: Vec<u8> = (0..3 * width * height)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let picture = Image::new(width, height, bytes.clone()).expect("the sizes agree");
    let (mut table, mut want) = (Vec::new(), Vec::new());
    for turn in 0..8 {
        let crop = Crop {
            picture: 0,
            x: 3,
            y: 5 + usize::from(turn),
            source: [16, 16, 17, 23, 24, 27, 16, 25][usize::from(turn)],
            turn,
        };
        let first = 3 * (crop.y * width as usize + crop.x);
        let numbers = [first, 3 * width as usize, crop.source, usize::from(turn)];
        table.extend(numbers.iter().flat_map(|n| (*n as i64).to_le_bytes()));
        append_patches(&crop.pixels(&picture, side), side, &mut want);
    }
    let launch = Launch {
        kernel: "cut_patches",
        blocks: want.len().div_ceil(THREADS),
        arrays: vec![to_bytes(&vec![f32::NAN; want.len()]), bytes, table],
        numbers: vec![want.len() as u64, side as u64],
    };
    assert_bits(&from_bytes(&emulator.launch(&launch)[0]), &want);
}
