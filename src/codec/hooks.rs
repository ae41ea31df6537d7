//! `.aec` files in programs that read pictures through the `image` crate.

use std::borrow::Cow;
use std::io::Read;
use std::sync::OnceLock;

use ::image::error::{DecodingError, ImageFormatHint, UnsupportedError, UnsupportedErrorKind};
use ::image::hooks::{GenericReader, register_decoding_hook, register_format_detection_hook};
use ::image::metadata::Orientation;
use ::image::{ColorType, ImageDecoder, ImageError, ImageResult};

use crate::bitstream::{Container, Header, Reader, SIGNATURE};
use crate::codec::{DecodeOptions, Model, NoProgress, Tune, decode};
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::embedded::BASE_SSIM;
use crate::picture::{Metadata, samples};

/// Extension of our files.
const EXTENSION: &str = "aec";

/// Most bytes that are read of a file. A picture within the limits on pixels needs less.
const MAX_BYTES: u64 = 1 << 32;

/// Makes `image::open` and the readers of the `image` crate decode `.aec` files, by extension
/// and by content, with the built-in model. Returns false when somebody registered the extension
/// before.
///
/// ```
/// aec::register_image_hooks();
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("picture.aec");
/// # let picture = aec::Image::new(20, 10, vec![128; 600])?;
/// # let options = aec::EncodeOptions::default();
/// # std::fs::write(&path, aec::encode(&picture, &aec::Model::embedded()?, &options, &aec::NoProgress)?)?;
/// let picture = image::open(&path)?;
/// assert_eq!((picture.width(), picture.height()), (20, 10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn register_image_hooks() -> bool {
    let is_new = register_decoding_hook(
        EXTENSION.into(),
        Box::new(|reader| Ok(Box::new(AecDecoder::new(reader)?))),
    );
    if is_new {
        register_format_detection_hook(EXTENSION.into(), &SIGNATURE, None);
    }
    is_new
}

/// A file whose header was read, as a decoder of the `image` crate. Pictures are upright.
struct AecDecoder {
    bytes: Vec<u8>,
    size: (u32, u32),
    color: ColorType,
    metadata: Metadata,
}

impl AecDecoder {
    fn new(reader: GenericReader) -> ImageResult<Self> {
        let mut bytes = Vec::new();
        reader.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Self::parse(bytes).map_err(image_error)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self> {
        let Container {
            header, metadata, ..
        } = Container::parse(&bytes, &Limits::default())?;
        // Orientations from 5 on exchange the sides.
        let size = if header.orientation >= 5 {
            (header.height, header.width)
        } else {
            (header.width, header.height)
        };
        let color = match (header.is_gray, header.alpha) {
            (false, None) => ColorType::Rgb8,
            (true, None) => ColorType::L8,
            (false, Some(Depth::Eight)) => ColorType::Rgba8,
            (true, Some(Depth::Eight)) => ColorType::La8,
            (false, Some(Depth::Sixteen)) => ColorType::Rgba16,
            (true, Some(Depth::Sixteen)) => ColorType::La16,
        };
        let own = |block: Option<Cow<[u8]>>| block.map(Cow::into_owned);
        let mut blocks = Metadata {
            icc: own(metadata.icc),
            exif: own(metadata.exif),
            xmp: own(metadata.xmp),
            ..Metadata::default()
        };
        blocks.reset_orientation();
        Ok(Self {
            size,
            color,
            metadata: blocks,
            bytes,
        })
    }

    /// The samples in the order of the `image` crate.
    fn samples(&self) -> Result<Vec<u8>> {
        let picture = decode(
            &self.bytes,
            model_of(&self.bytes)?,
            &DecodeOptions::default(),
            &NoProgress,
        )?;
        let (samples, _) = samples(&picture, picture.is_gray);
        Ok(samples.into_owned())
    }
}

impl ImageDecoder for AecDecoder {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        self.color
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata.icc.clone())
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata.exif.clone())
    }

    fn xmp_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.metadata.xmp.clone())
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        Ok(Orientation::NoTransforms)
    }

    fn read_image(self, buffer: &mut [u8]) -> ImageResult<()> {
        let samples = self.samples().map_err(image_error)?;
        // The header of a hostile file may promise alpha where there is none to see.
        if samples.len() != buffer.len() {
            let what = Error::Corrupt("the header and the samples disagree".into());
            return Err(image_error(what));
        }
        buffer.copy_from_slice(&samples);
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, buffer: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(buffer)
    }
}

/// The built-in model that a file was made with, loaded once; another one if it was made with none of them, as the
/// decoder then says.
fn model_of(file: &[u8]) -> Result<&'static Model> {
    static MODELS: [OnceLock<Model>; 2] = [const { OnceLock::new() }; 2];
    let header = Header::read(&mut Reader::new(file))?;
    let is_ssim = header.model.0 == BASE_SSIM.id;
    let place = &MODELS[usize::from(is_ssim)];
    if let Some(model) = place.get() {
        return Ok(model);
    }
    let model = Model::embedded_for(if is_ssim { Tune::Ssim } else { Tune::Psnr })?;
    Ok(place.get_or_init(|| model))
}

fn image_error(error: Error) -> ImageError {
    let format = ImageFormatHint::PathExtension(EXTENSION.into());
    match error {
        Error::Io(error) => ImageError::IoError(error),
        Error::UnknownModel(_) | Error::Unsupported(_) => {
            let kind = UnsupportedErrorKind::GenericFeature(error.to_string());
            ImageError::Unsupported(UnsupportedError::from_format_and_kind(format, kind))
        }
        other => ImageError::Decoding(DecodingError::new(format, other)),
    }
}
