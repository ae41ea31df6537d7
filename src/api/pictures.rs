//! Pictures of the `image` crate as ours, and back.

use ::image::{DynamicImage, ImageBuffer, Pixel, Primitive};

use crate::error::{Error, Result};
use crate::picture::Image;
use crate::picture::notes::Notes;
use crate::picture::samples::{Samples, color_type, samples};

impl TryFrom<DynamicImage> for Image {
    type Error = Error;

    /// The samples, without metadata: colors of 16 bits are rounded to 8, alpha is kept as it is, and dropped if it
    /// is opaque everywhere.
    ///
    /// # Errors
    /// [`Error::Image`] for a picture without pixels, [`Error::Unsupported`] for samples that are not integers.
    fn try_from(picture: DynamicImage) -> Result<Self> {
        let samples = Samples {
            width: picture.width(),
            height: picture.height(),
            color: picture.color(),
            data: picture.into_bytes(),
        };
        samples.into_image(None, &mut Notes::default())
    }
}

impl TryFrom<Image> for DynamicImage {
    type Error = Error;

    /// The samples of the upright picture; the metadata is dropped.
    ///
    /// # Errors
    /// [`Error::Image`] when the picture's fields disagree.
    fn try_from(image: Image) -> Result<Self> {
        let image = image.into_upright()?;
        let size = (image.width, image.height);
        let color = color_type(
            image.is_gray,
            image.alpha.as_ref().map(|alpha| alpha.depth()),
        );
        let bytes = samples(&image).into_owned();
        let picture = match (
            color.bytes_per_pixel() / color.channel_count(),
            color.channel_count(),
        ) {
            (1, 1) => buffer(size, bytes).map(Self::ImageLuma8),
            (1, 2) => buffer(size, bytes).map(Self::ImageLumaA8),
            (1, 3) => buffer(size, bytes).map(Self::ImageRgb8),
            (1, 4) => buffer(size, bytes).map(Self::ImageRgba8),
            (_, 2) => buffer(size, wide(&bytes)).map(Self::ImageLumaA16),
            _ => buffer(size, wide(&bytes)).map(Self::ImageRgba16),
        };
        picture.ok_or_else(|| Error::Image("the samples do not fit the size".into()))
    }
}

fn buffer<P>(
    (width, height): (u32, u32),
    samples: Vec<P::Subpixel>,
) -> Option<ImageBuffer<P, Vec<P::Subpixel>>>
where
    P: Pixel<Subpixel: Primitive>,
{
    ImageBuffer::from_raw(width, height, samples)
}

/// Native-endian samples of 16 bits.
fn wide(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|&pair| u16::from_ne_bytes(pair)).collect()
}
