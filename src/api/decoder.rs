//! Decoding: a file whose header was read, and what is wanted of it.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use ::image::ColorType;

use super::Model;
use super::progress::Watch;
use crate::bitstream::{self, Container, Header, Quality};
use crate::codec::{self, Damage, DecodeOptions, Region, model_id};
use crate::depth::Depth;
use crate::error::{Error, Result};
use crate::limits::{Limits, at_most};
use crate::orientation::upright;
use crate::picture::samples::{color_type, samples as samples_of};
use crate::picture::{Image, Metadata};

/// No header is longer.
const HEADER_BYTES: u64 = 64;

/// Decodes the bytes of an `.aec` file. The picture is upright: its orientation has been applied.
///
/// ```
/// let picture = aec::Image::new(20, 10, vec![128; 20 * 10 * 3])?;
/// let file = aec::encode(&picture, aec::Quality::default())?;
/// let back = aec::decode(&file)?;
/// assert_eq!((back.width, back.height), (20, 10));
/// # Ok::<(), aec::Error>(())
/// ```
///
/// # Errors
/// As [`Decoder::new`] and [`Decoder::decode`].
pub fn decode(bytes: &[u8]) -> Result<Image> {
    Decoder::new(bytes)?.decode()
}

/// An `.aec` file in memory, of which the header was looked at. [`Info::read`] reads no more than that.
///
/// ```no_run
/// use aec::{Decoder, Limits, Region};
///
/// let limits = Limits { max_pixels: 50_000_000, ..Limits::default() };
/// let decoder = Decoder::with_limits(std::fs::File::open("photo.aec")?, limits)?;
/// let info = decoder.info();
/// println!("{}x{}, quality {}", info.width, info.height, info.quality);
/// let corner = Region { x: 0, y: 0, width: 256.min(info.width), height: 256.min(info.height) };
/// let picture = decoder.region(corner)?.decode()?;
/// # Ok::<(), aec::Error>(())
/// ```
///
/// It is a decoder of the `image` crate too: `image::DynamicImage::from_decoder` takes it.
pub struct Decoder<'a> {
    bytes: Vec<u8>,
    header: Header,
    options: DecodeOptions,
    model: Option<Model>,
    progress: Watch<'a>,
}

/// What a file's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Width in pixels of the whole upright picture.
    pub width: u32,
    /// Height in pixels of the whole upright picture.
    pub height: u32,
    /// Whether the picture is gray.
    pub is_gray: bool,
    /// Bits per sample of the alpha channel, if there is one.
    pub alpha: Option<Depth>,
    /// The quality it was encoded with.
    pub quality: Quality,
    /// The id of the model that the file needs, as [`Model::id`] gives it.
    pub model: String,
}

impl Info {
    /// Reads the header of a file, and no more than a few bytes behind it.
    ///
    /// # Errors
    /// As [`Decoder::new`], but for limits.
    pub fn read(mut reader: impl Read) -> Result<Self> {
        let header = read_header(&mut reader, &mut Vec::new())?;
        Ok(Self::of_header(&header))
    }

    fn of_header(header: &Header) -> Self {
        let (width, height) = upright(header.orientation, (header.width, header.height));
        Self {
            width,
            height,
            is_gray: header.is_gray,
            alpha: header.alpha,
            quality: header.quality,
            model: header.model.to_string(),
        }
    }
}

/// Reads the start of a file, which is kept in `bytes`, and the header in it.
fn read_header(reader: &mut impl Read, bytes: &mut Vec<u8>) -> Result<Header> {
    reader.take(HEADER_BYTES).read_to_end(bytes)?;
    Header::read(&mut bitstream::Reader::new(bytes))
}

impl<'a> Decoder<'a> {
    /// Reads a file whole, and of it the header, within the default [`Limits`]. Of what is longer than a picture of its
    /// size can be, it reads no more than that.
    ///
    /// # Errors
    /// [`Error::Io`] from `reader`; [`Error::NotAec`], [`Error::UnsupportedVersion`], [`Error::Unsupported`],
    /// [`Error::Truncated`] and [`Error::Corrupt`] for a header that is none; [`Error::LimitExceeded`] for a
    /// picture over the limits and for files longer than a picture of their size can be.
    pub fn new(reader: impl Read) -> Result<Self> {
        Self::with_limits(reader, Limits::default())
    }

    /// As [`new`](Self::new), within other limits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_limits(mut reader: impl Read, limits: Limits) -> Result<Self> {
        let mut bytes = Vec::new();
        let header = read_header(&mut reader, &mut bytes)?;
        limits.check_coded_pixels(header.width, header.height)?;
        let grid = header.tile_grid();
        let most = limits.most_file_bytes(u64::from(grid.width) * u64::from(grid.height));
        reader.take(most).read_to_end(&mut bytes)?;
        at_most("number of bytes", bytes.len() as u64, most)?;
        Ok(Self {
            bytes,
            header,
            options: DecodeOptions {
                limits,
                ..DecodeOptions::default()
            },
            model: None,
            progress: Watch::default(),
        })
    }

    /// Decodes this part of the upright picture only; its pixels are those of the whole one. The limits are for the whole
    /// picture all the same. Tiles on which the region depends are decoded whole, so small parts of large pictures come
    /// fastest from files of small [tiles](crate::Encoder::tile_size).
    ///
    /// # Errors
    /// [`Error::InvalidOption`] when it is empty or does not lie within the picture.
    pub fn region(mut self, region: Region) -> Result<Self> {
        region.check(&self.header)?;
        self.options.region = Some(region);
        Ok(self)
    }

    /// Decodes with this model instead of one that the library carries.
    #[must_use]
    pub fn model(mut self, model: &Model) -> Self {
        self.model = Some(model.clone());
        self
    }

    /// Tells `watcher` how many units of work are done, and of how many, now and then and from several threads;
    /// `ControlFlow::Break` ends the work with [`Error::Cancelled`].
    #[must_use]
    pub fn progress(
        mut self,
        watcher: impl Fn(u64, u64) -> ControlFlow<()> + Send + Sync + 'a,
    ) -> Self {
        self.progress = Watch::new(watcher);
        self
    }

    /// What the header says; nothing is decoded.
    #[must_use]
    pub fn info(&self) -> Info {
        Info::of_header(&self.header)
    }

    /// The metadata that the decoded picture will have; pixels are not decoded.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when it is over the limits; [`Error::Truncated`] and [`Error::Corrupt`] for a file
    /// that is damaged anywhere in its structure.
    pub fn metadata(&self) -> Result<Metadata> {
        let container = Container::parse(&self.bytes, &self.options.limits)?;
        let mut metadata = container.metadata;
        metadata.orientation = self.header.orientation;
        metadata.reset_orientation();
        Ok(metadata)
    }

    /// Decodes the picture, or the region of it.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] when the file needs a model that is not there, [`Error::WrongModel`] when another was
    /// given; [`Error::Truncated`] and [`Error::Corrupt`] for damaged files; [`Error::LimitExceeded`] for metadata over
    /// the limits; [`Error::Cancelled`] when the progress closure says so.
    pub fn decode(&self) -> Result<Image> {
        let model = self.needed_model()?;
        codec::decode(&self.bytes, model.inner(), &self.options, &self.progress)
    }

    /// Decodes into `samples`, which has [`buffer_len`](Self::buffer_len) bytes: row by row, gray or red, green,
    /// blue, then alpha if the picture has it; with an alpha of 16 bits, all have 16 bits, native-endian. A picture
    /// of colors without alpha takes no memory for another copy, unless it has to be turned.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); [`Error::InvalidOption`] when `samples` has another length.
    pub fn decode_into(&self, samples: &mut [u8]) -> Result<()> {
        let (found, wanted) = (samples.len(), self.buffer_len());
        if found != wanted {
            return Err(Error::InvalidOption(format!(
                "a buffer of {found} bytes for samples of {wanted}"
            )));
        }
        if codec::is_plain(&self.header) {
            let model = self.needed_model()?;
            let (options, progress) = (&self.options, &self.progress);
            return codec::decode_into(&self.bytes, model.inner(), options, progress, samples);
        }
        let picture = self.decode()?;
        let found = samples_of(&picture);
        if found.len() != wanted {
            let what = "the header and the samples disagree";
            return Err(Error::Corrupt(what.into()));
        }
        samples.copy_from_slice(&found);
        Ok(())
    }

    /// Number of bytes that [`decode_into`](Self::decode_into) writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let (width, height) = self.size();
        let bytes = u64::from(width) * u64::from(height);
        let bytes = bytes.saturating_mul(self.color_type().bytes_per_pixel().into());
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// As [`decode`](Self::decode), of a file that may be damaged behind its header: gives what is left of the
    /// picture, and what is wrong with the file, in its order.
    ///
    /// Damaged tiles are an even gray, damaged alpha is opaque, and damaged metadata is left out.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), of damage only when no tile that is wanted is intact, or of more than 16.8
    /// megapixels less than one in 64.
    pub fn decode_damaged(&self) -> Result<(Image, Vec<Damage>)> {
        let model = self.needed_model()?;
        codec::decode_damaged(&self.bytes, model.inner(), &self.options, &self.progress)
    }

    /// Width and height of what is wanted.
    pub(super) fn size(&self) -> (u32, u32) {
        match self.options.region {
            Some(region) => (region.width, region.height),
            None => {
                let info = self.info();
                (info.width, info.height)
            }
        }
    }

    /// The kind of the samples that [`decode_into`](Self::decode_into) writes: `L8`, `La8`, `Rgb8` or `Rgba8`, or with
    /// an alpha channel of 16 bits `La16` or `Rgba16`.
    #[must_use]
    pub fn color_type(&self) -> ColorType {
        color_type(self.header.is_gray, self.header.alpha)
    }

    /// The model of the file, or the one that was given.
    fn needed_model(&self) -> Result<Model> {
        let needed = self.header.model;
        match &self.model {
            None => Model::of_id(needed),
            Some(model) if model_id(model.inner()) == needed => Ok(model.clone()),
            Some(model) => Err(Error::WrongModel {
                needed: needed.to_string(),
                given: model.id(),
            }),
        }
    }
}

/// Without the bytes of the file.
impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("info", &self.info())
            .field("options", &self.options)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}
