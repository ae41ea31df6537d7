//! Pictures of the `image` crate as ours, and back.

use ::image::DynamicImage;

use crate::error::{Error, Result};
use crate::picture::notes::Notes;
use crate::picture::samples::{color_type, samples, to_dynamic, to_image};
use crate::picture::{Alpha, Image, misfit};

impl TryFrom<DynamicImage> for Image {
    type Error = Error;

    /// The samples, without metadata: colors of 16 bits are rounded to 8, alpha is kept as it is, and dropped if it
    /// is opaque everywhere.
    ///
    /// # Errors
    /// [`Error::Image`] for a picture without pixels, [`Error::Unsupported`] for samples that are not integers.
    fn try_from(picture: DynamicImage) -> Result<Self> {
        to_image(picture, None, &mut Notes::default())
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
        let color = color_type(image.is_gray, image.alpha.as_ref().map(Alpha::depth));
        let picture = to_dynamic(size, color, samples(&image).into_owned());
        picture.ok_or_else(misfit)
    }
}
