//! The neighbors of a sample that both sides know already (spec: "Alpha", `at`).

/// Samples kept beyond each end of a row, so that every sample has all its neighbors.
const MARGIN: usize = 2;

/// The row that is coded and the two above it.
pub(super) struct KnownRows {
    above2: Vec<u16>,
    above: Vec<u16>,
    current: Vec<u16>,
}

impl KnownRows {
    /// Before the first row; what lies above it is `max`.
    pub(super) fn new(width: usize, max: u16) -> Self {
        let row = vec![max; width + 2 * MARGIN];
        Self {
            above2: row.clone(),
            above: row.clone(),
            current: row,
        }
    }

    /// Starts the next row.
    pub(super) fn start(&mut self) {
        let end = self.current.len() - MARGIN;
        let last = self.current[end - 1];
        self.current[end..].fill(last);
        std::mem::swap(&mut self.above2, &mut self.above);
        std::mem::swap(&mut self.above, &mut self.current);
        let first = self.above[MARGIN];
        self.current[..MARGIN].fill(first);
    }

    /// Sets samples of the current row from column `x` on.
    #[inline]
    pub(super) fn set(&mut self, x: usize, values: &[u16]) {
        self.current[MARGIN + x..][..values.len()].copy_from_slice(values);
    }

    /// The sample that a flat block at column `x` repeats, in its first row or a later one.
    pub(super) fn repeated(&self, x: usize, is_first_row: bool) -> u16 {
        if is_first_row {
            self.current[MARGIN + x - 1]
        } else {
            self.above[MARGIN + x]
        }
    }

    /// The neighbors of column `x` of the current row.
    #[inline]
    pub(super) fn neighbors(&self, x: usize) -> Neighbors {
        let above2 = &self.above2[MARGIN + x - 1..MARGIN + x + 2];
        let above = &self.above[x..x + 2 * MARGIN + 1];
        let current = &self.current[x..x + MARGIN];
        Neighbors {
            w: current[1],
            ww: current[0],
            nww: above[0],
            nw: above[1],
            n: above[2],
            ne: above[3],
            nee: above[4],
            nnw: above2[0],
            nn: above2[1],
            nne: above2[2],
        }
    }
}

/// The samples around a sample, by points of the compass: `nww` is one row up, two columns left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbors {
    pub(super) w: u16,
    pub(super) ww: u16,
    pub(super) nww: u16,
    pub(super) nw: u16,
    pub(super) n: u16,
    pub(super) ne: u16,
    pub(super) nee: u16,
    pub(super) nnw: u16,
    pub(super) nn: u16,
    pub(super) nne: u16,
}

impl Neighbors {
    /// The median of west, north, and west + north - northwest: it follows edges and slopes.
    #[inline]
    pub(super) fn prediction(&self) -> u16 {
        let (low, high) = (self.w.min(self.n), self.w.max(self.n));
        if self.nw >= high {
            low
        } else if self.nw <= low {
            high
        } else {
            // Between the two, as the northwest is.
            low + (high - self.nw)
        }
    }

    /// One bit per neighbor: whether it differs from `value`.
    #[inline]
    pub(super) fn pattern(&self, value: u16) -> usize {
        let all = [
            self.w, self.n, self.nw, self.ne, self.ww, self.nn, self.nee, self.nww, self.nne,
            self.nnw,
        ];
        all.iter()
            .fold(0, |bits, &v| 2 * bits + usize::from(v != value))
    }

    /// Four differences between neighbors, each one of seven classes.
    #[inline]
    pub(super) fn gradients(&self) -> usize {
        let class = |a: u16, b: u16| {
            let size = match a.abs_diff(b) {
                0 => 0,
                1 => 1,
                2..=11 => 2,
                _ => 3,
            };
            if a < b { 3 - size } else { 3 + size }
        };
        let classes = [
            class(self.w, self.nw),
            class(self.n, self.nw),
            class(self.ne, self.n),
            class(self.w, self.ww),
        ];
        classes.iter().fold(0, |index, class| 7 * index + class)
    }

    /// The number of bits of the sum of three differences, 0..=18.
    #[inline]
    pub(super) fn activity(&self) -> usize {
        let difference = |a: u16, b: u16| u32::from(a.abs_diff(b));
        let sum =
            difference(self.w, self.nw) + difference(self.n, self.nw) + difference(self.ne, self.n);
        (u32::BITS - sum.leading_zeros()) as usize
    }

    /// How many of the four nearest are `value`.
    #[inline]
    pub(super) fn count(&self, value: u16) -> usize {
        [self.w, self.n, self.nw, self.ne]
            .iter()
            .filter(|&&v| v == value)
            .count()
    }
}
