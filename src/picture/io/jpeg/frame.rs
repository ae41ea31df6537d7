//! The frame of a JPEG picture: its size and how its components are sampled.

/// More bits than a coefficient has.
pub(super) const NOT_SENT: u8 = u8::MAX;

/// One component.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub id: u8,
    /// Blocks across and down in a unit of an interleaved scan, 1..=4.
    pub h: u8,
    pub v: u8,
    /// Columns and rows of blocks that hold samples.
    pub blocks: (u32, u32),
    /// Blocks in a row, with those that only fill up a unit.
    pub stride: u64,
    /// Per block, which coefficients are known not to be zero; for progressive frames only.
    pub coded: Vec<u64>,
    /// Per coefficient, how many of its low bits are still missing; [`NOT_SENT`] before its first scan.
    pub missing_bits: [u8; 64],
}

/// A frame header.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub is_progressive: bool,
    pub width: u16,
    pub height: u16,
    pub components: Vec<Component>,
    /// Columns and rows of units in an interleaved scan.
    pub units: (u32, u32),
}

impl Frame {
    /// Reads the content of a frame header; says in a few words what is wrong with it.
    pub(super) fn read(marker: u8, content: &[u8]) -> Result<Self, &'static str> {
        let Some((&[precision, h0, h1, w0, w1, count], mut rest)) = content.split_first_chunk()
        else {
            return Err("its frame header is too short");
        };
        if precision != 8 {
            return Err("it has more than 8 bits per sample");
        }
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        if width == 0 || height == 0 {
            return Err("its frame header states no size");
        }
        let mut components = Vec::new();
        while let (Some((&[id, sampling, _], tail)), true) = (
            rest.split_first_chunk(),
            components.len() < usize::from(count),
        ) {
            rest = tail;
            let (h, v) = (sampling >> 4, sampling & 15);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err("its frame header is damaged");
            }
            components.push(Component {
                id,
                h,
                v,
                blocks: (0, 0),
                stride: 0,
                coded: Vec::new(),
                missing_bits: [NOT_SENT; 64],
            });
        }
        if components.len() != usize::from(count) || ![1, 3, 4].contains(&count) {
            return Err("it has a number of components other than 1, 3 and 4");
        }
        let mut frame = Self {
            is_progressive: marker == 0xc2,
            width,
            height,
            components,
            units: (0, 0),
        };
        frame.lay_out();
        Ok(frame)
    }

    /// Finds the numbers of units and blocks.
    fn lay_out(&mut self) {
        let most = |side: fn(&Component) -> u8| self.components.iter().map(side).max().unwrap_or(1);
        let (h_max, v_max) = (u32::from(most(|c| c.h)), u32::from(most(|c| c.v)));
        let (width, height) = (u32::from(self.width), u32::from(self.height));
        self.units = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
        for component in &mut self.components {
            let blocks =
                |size: u32, own: u8, most: u32| (size * u32::from(own)).div_ceil(most).div_ceil(8);
            component.blocks = (
                blocks(width, component.h, h_max),
                blocks(height, component.v, v_max),
            );
            component.stride = u64::from(self.units.0) * u64::from(component.h);
        }
    }

    /// Whether a scan had the mean of the blocks, for every component.
    pub(super) fn has_all_components(&self) -> bool {
        let mut components = self.components.iter();
        components.all(|component| component.missing_bits[0] != NOT_SENT)
    }

    /// Whether the scans had every bit of every coefficient.
    pub(super) fn is_precise(&self) -> bool {
        let mut components = self.components.iter();
        components.all(|component| component.missing_bits == [0; 64])
    }

    /// Makes room to note coefficients. The number of pixels is bounded before this is called.
    #[allow(clippy::cast_possible_truncation)] // bounded by the pixels
    pub(super) fn note_coefficients(&mut self) {
        if self.is_progressive {
            let rows = u64::from(self.units.1);
            for component in &mut self.components {
                let blocks = component.stride * rows * u64::from(component.v);
                component.coded = vec![0; blocks as usize];
            }
        }
    }
}
