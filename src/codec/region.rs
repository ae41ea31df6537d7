//! Parts of the picture as people see it, and where they lie in the picture as it is stored.

use std::fmt;

use super::area::Area;
use crate::bitstream::Header;
use crate::error::{Error, Result};
use crate::orientation::{Orientation, inverse, upright};

/// A rectangle of the upright picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl Region {
    /// Checks that the region is one of the picture.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when it is empty or does not lie within it.
    pub(crate) fn check(&self, header: &Header) -> Result<()> {
        self.stored(header).map(drop)
    }

    /// The pixels of the stored picture that a region shows.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when it is empty or does not lie within the picture.
    pub(super) fn stored(&self, header: &Header) -> Result<Area> {
        let (width, height) = upright(header.orientation, (header.width, header.height));
        let fits = |start: u32, size: u32, whole: u32| {
            size > 0 && u64::from(start) + u64::from(size) <= u64::from(whole)
        };
        if !fits(self.x, self.width, width) || !fits(self.y, self.height, height) {
            return Err(Error::InvalidOption(format!(
                "region {self} does not lie within the picture of {width}x{height}"
            )));
        }
        let sides = [self.x, self.y, self.width, self.height];
        let [x, y, width, height] = sides.map(|side| side as usize);
        let area = Area::new(x, y, width, height);
        let stored = (header.width as usize, header.height as usize);
        Ok(source(header.orientation, &area, stored))
    }

    /// The region that shows an area of the stored picture, as far as the area lies within it.
    pub(super) fn showing(area: &Area, header: &Header) -> Option<Self> {
        let (width, height) = (header.width as usize, header.height as usize);
        let area = area.intersection(&Area::whole(width, height))?;
        let sides = upright(header.orientation, (width, height));
        let area = source(inverse(header.orientation), &area, sides);
        // Not more than the header's sizes, which have 32 bits.
        Some(Self {
            x: area.x as u32,
            y: area.y as u32,
            width: area.width as u32,
            height: area.height as u32,
        })
    }
}

impl fmt::Display for Region {
    /// As on the command line: `x,y,width,height`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

/// The area of a stored picture of `width` x `height` that becomes `area` when an orientation is
/// applied (codec-spec.md, Crop, gray, orientation).
fn source(orientation: Orientation, area: &Area, (width, height): (usize, usize)) -> Area {
    let mirrored = |start: usize, size: usize, whole: usize| whole - start - size;
    let Area { x, y, .. } = *area;
    let (w, h) = (area.width, area.height);
    let (x, y) = match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (mirrored(x, w, width), y),
        Orientation::Rotate180 => (mirrored(x, w, width), mirrored(y, h, height)),
        Orientation::FlipVertical => (x, mirrored(y, h, height)),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (y, mirrored(x, w, height)),
        Orientation::Rotate270FlipH => (mirrored(y, h, width), mirrored(x, w, height)),
        Orientation::Rotate270 => (mirrored(y, h, width), x),
    };
    let (width, height) = upright(orientation, (w, h));
    Area::new(x, y, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::{ModelId, Quality};

    fn header(orientation: u8) -> Header {
        Header {
            width: 50,
            height: 20,
            is_gray: false,
            alpha: None,
            orientation: Orientation::from_exif(orientation).unwrap(),
            quality: Quality::default(),
            tile_size: 64,
            model: ModelId([0; 8]),
        }
    }

    #[test]
    fn areas_and_the_regions_that_show_them_belong_together() {
        let area = Area::new(3, 5, 30, 10);
        for orientation in 1..=8 {
            let header = header(orientation);
            let region = Region::showing(&area, &header).unwrap();
            assert_eq!(region.stored(&header).unwrap(), area, "{orientation}");
        }
        let turned = Region::showing(&area, &header(6)).unwrap();
        assert_eq!(turned.to_string(), "5,3,10,30");
    }

    #[test]
    fn regions_outside_of_the_upright_picture_are_refused() {
        let region = |x, y, width, height| Region {
            x,
            y,
            width,
            height,
        };
        let cases = [
            (region(0, 0, 50, 20), true, false),
            (region(0, 0, 20, 50), false, true),
            (region(49, 19, 1, 1), true, false),
            (region(0, 0, 0, 1), false, false),
            (region(0, 0, 1, 0), false, false),
            (region(u32::MAX, 0, u32::MAX, 1), false, false),
        ];
        for (region, fits, fits_turned) in cases {
            for (orientation, fits) in [(1, fits), (8, fits_turned)] {
                let stored = region.stored(&header(orientation));
                assert_eq!(stored.is_ok(), fits, "{region} {orientation}");
            }
        }
    }
}
