//! The `image` crate's traits for decoder and encoder, and its readers made to know `.aec` files.

use std::io::{self, ErrorKind, Write};

use ::image::error::{
    DecodingError, EncodingError, ImageFormatHint, LimitError, LimitErrorKind, ParameterError,
    ParameterErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use ::image::hooks::{register_decoding_hook, register_format_detection_hook};
use ::image::metadata::Orientation;
use ::image::{ColorType, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageResult};

use super::{Decoder, Encoder};
use crate::error::Error;
use crate::format::SIGNATURE;
use crate::picture::notes::Notes;
use crate::picture::samples::{to_dynamic, to_image};

/// Extension of our files.
const EXTENSION: &str = "aec";

/// Makes `image::open` and the readers of the `image` crate decode `.aec` files, by extension
/// and by content, with the models that the library carries and the default [`Limits`](crate::Limits). Returns false
/// when somebody registered the extension before.
///
/// ```no_run
/// aec::register_image_hooks();
/// let picture = image::open("photo.aec")?;
/// # Ok::<(), image::ImageError>(())
/// ```
pub fn register_image_hooks() -> bool {
    let is_new = register_decoding_hook(
        EXTENSION.into(),
        Box::new(|reader| {
            let decoder = Decoder::new(reader).map_err(decoding_error)?;
            Ok(Box::new(decoder))
        }),
    );
    if is_new {
        register_format_detection_hook(EXTENSION.into(), &SIGNATURE, None);
    }
    is_new
}

/// Pictures are upright.
impl ImageDecoder for Decoder<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.size()
    }

    fn color_type(&self) -> ColorType {
        self.color_type()
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata().map_err(decoding_error)?.icc)
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata().map_err(decoding_error)?.exif)
    }

    fn xmp_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata().map_err(decoding_error)?.xmp)
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        Ok(Orientation::NoTransforms)
    }

    fn read_image(self, buffer: &mut [u8]) -> ImageResult<()> {
        self.decode_into(buffer).map_err(decoding_error)
    }

    fn read_image_boxed(self: Box<Self>, buffer: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(buffer)
    }
}

/// Samples of 8 and 16 bits are taken; colors of 16 bits are rounded to 8.
impl<W: Write> ImageEncoder for Encoder<'_, W> {
    fn write_image(
        self,
        buffer: &[u8],
        width: u32,
        height: u32,
        color: ExtendedColorType,
    ) -> ImageResult<()> {
        let color = simple(color)?;
        let pixels = u64::from(width) * u64::from(height);
        let bytes = pixels.saturating_mul(color.bytes_per_pixel().into());
        let is_whole = bytes == buffer.len() as u64;
        let picture = is_whole.then(|| to_dynamic((width, height), color, buffer.to_vec()));
        let picture = picture.flatten().ok_or_else(|| {
            let kind = ParameterErrorKind::DimensionMismatch;
            ImageError::Parameter(ParameterError::from_kind(kind))
        })?;
        let image = to_image(picture, None, &mut Notes::default());
        let written = image.and_then(|image| self.encode_owned(image));
        written.map_err(encoding_error)
    }

    fn set_icc_profile(&mut self, icc: Vec<u8>) -> Result<(), UnsupportedError> {
        self.metadata_mut().icc = Some(icc);
        Ok(())
    }

    /// Takes the block, and the orientation that it states, if it states one.
    fn set_exif_metadata(&mut self, exif: Vec<u8>) -> Result<(), UnsupportedError> {
        let metadata = self.metadata_mut();
        if let Some(orientation) = Orientation::from_exif_chunk(&exif) {
            metadata.orientation = orientation;
        }
        metadata.exif = Some(exif);
        Ok(())
    }
}

/// The kind of samples of 8 or 16 bits that are gray or red, green and blue.
fn simple(color: ExtendedColorType) -> ImageResult<ColorType> {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    let mut kinds = [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16].into_iter();
    let kind = kinds.find(|kind| ExtendedColorType::from(*kind) == color);
    kind.ok_or_else(|| unsupported(UnsupportedErrorKind::Color(color)))
}

fn hint() -> ImageFormatHint {
    ImageFormatHint::PathExtension(EXTENSION.into())
}

fn unsupported(kind: UnsupportedErrorKind) -> ImageError {
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(hint(), kind))
}

fn limits_exceeded() -> ImageError {
    ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError))
}

fn decoding_error(error: Error) -> ImageError {
    match error {
        Error::Io(error) => ImageError::IoError(error),
        Error::UnknownModel(_) | Error::WrongModel { .. } | Error::Unsupported(_) => {
            unsupported(UnsupportedErrorKind::GenericFeature(error.to_string()))
        }
        Error::Truncated { .. } => {
            ImageError::IoError(io::Error::new(ErrorKind::UnexpectedEof, error))
        }
        Error::LimitExceeded { .. } => limits_exceeded(),
        other => ImageError::Decoding(DecodingError::new(hint(), other)),
    }
}

fn encoding_error(error: Error) -> ImageError {
    match error {
        Error::Io(error) => ImageError::IoError(error),
        Error::LimitExceeded { .. } => limits_exceeded(),
        other => ImageError::Encoding(EncodingError::new(hint(), other)),
    }
}
