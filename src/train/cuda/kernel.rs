//! The kernels of `train.cu` and `visual.cu`, which share one signature: what each computes of the inputs `a`, `b` and `c`, what it is
//! called there, and what its sizes mean.

use super::visual::Visual;
use super::{SUM_COLUMNS, THREADS};

/// A kernel with its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a b[sample, channel]`, of pictures of a size.
    ScaleChannels(Size),
    /// `a b[sample]`, with so many values per sample.
    ScaleSamples(usize),
    /// `(a - b)^2`.
    SquaredError,
    /// To the nearest integer, ties to even.
    RoundEven,
    /// `round(a - b) + b`.
    Quantize,
    /// Of a layer: `act(a + b[channel])`, of so many channels.
    BiasActivate(usize),
    /// Its gradient with respect to `a`: `c act'(a + b[channel])`.
    BiasActivateGradient(usize),
    /// `a + b[channel]`, of so many channels.
    AddBias(usize),
    /// `a + b[channel] + c`, of so many channels.
    AddBiasAndResidual(usize),
    /// Depthwise 3x3 convolution with `b`: taps `[9, channels]` and bias.
    Depthwise(Size),
    /// The gradient of its input: with the taps turned round, without a bias.
    DepthwiseTurned(Size),
    /// The gradient of its parameters `[strips, 10, channels]`, of the input `a` and the gradient `b`.
    DepthwiseGradients {
        /// Of one picture.
        size: Size,
        /// Rows of the whole batch.
        all_rows: usize,
        /// Rows per strip.
        strip: usize,
    },
    /// Sums of the columns of `a` over strips of rows: `[strips, columns]`.
    ColumnSums(Strips),
    /// Sums of the columns of `a b`.
    ColumnProducts(Strips),
    /// Sums of equal parts of the rows of `a`: `[rows, parts]`.
    RowSums(Parts),
    /// Sums of their squares.
    RowSquares(Parts),
    /// Space to depth in cells of `cell` x `cell` pixels.
    SpaceToDepth {
        /// Of one picture before.
        size: Size,
        /// Side of a cell.
        cell: usize,
    },
    /// Its inverse.
    DepthToSpace {
        /// Of one picture afterwards.
        size: Size,
        /// Side of a cell.
        cell: usize,
    },
    /// What a step of the context model codes of the latent `a`.
    TakeStep(Step),
    /// The latent `a` with `b` in the place of what the step codes.
    PlaceStep(Step),
    /// Coded values times the gains of their channels: `a b[sample, channel]`.
    ScaleStep(Step),
    /// `8 a + b[sample, channel]` of coded values (the product by a power of two is exact).
    IndexStep(Step),
    /// Sums over positions of the products of coded values: `[samples, channels]`.
    StepProducts(Step),
    /// Bits of the residuals `a` at the scale indices `b`.
    Rate,
    /// The symbols that an encoder chooses for them, where an error of one step is worth `c` bits.
    RateChoices,
    /// Gradients of the bits with respect to residuals, then to indices.
    RateGradients,
    /// A part of the visual error.
    Visual(Visual),
}

/// The size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Size {
    /// A size of so many rows, columns and channels.
    pub fn new(height: usize, width: usize, channels: usize) -> Self {
        Self {
            height,
            width,
            channels,
        }
    }

    /// Values of one picture.
    pub fn values(self) -> usize {
        self.height * self.width * self.channels
    }
}

/// A matrix in strips of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strips {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Rows per strip.
    pub strip: usize,
}

/// Rows in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Values per row.
    pub columns: usize,
    /// Parts per row.
    pub parts: usize,
}

/// A step of the context model on latents of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Of one sample's latent.
    pub size: Size,
    /// Which of the four steps.
    pub step: usize,
}

#[cfg_attr(not(any(feature = "cuda", test)), allow(dead_code))]
impl Kernel {
    /// Its name, and the sizes `n`, `p`, `q`, `r` and `s` for so many outputs.
    pub(super) fn launch(self, outputs: usize) -> (&'static str, [usize; 5]) {
        let n = outputs;
        let step = |Step { size, step }: Step| [n, size.width, size.height, size.channels, step];
        let cells = |size: Size, cell| [n, size.width, size.channels, cell, size.height];
        match self {
            Self::Add => ("add", [n, 0, 0, 0, 0]),
            Self::Subtract => ("add", [n, 1, 0, 0, 0]),
            Self::ScaleChannels(of) => ("scale_channels", [n, of.values(), of.channels, 0, 0]),
            Self::ScaleSamples(sample) => ("scale_samples", [n, sample, 0, 0, 0]),
            Self::SquaredError => ("squared_error", [n, 0, 0, 0, 0]),
            Self::RoundEven => ("round_even", [n, 0, 0, 0, 0]),
            Self::Quantize => ("quantize", [n, 0, 0, 0, 0]),
            Self::BiasActivate(channels) => ("bias_activate", [n, channels, 0, 0, 0]),
            Self::BiasActivateGradient(channels) => {
                ("bias_activate_gradient", [n, channels, 0, 0, 0])
            }
            Self::AddBias(channels) => ("add_bias", [n, channels, 0, 0, 0]),
            Self::AddBiasAndResidual(channels) => ("add_bias", [n, channels, 1, 0, 0]),
            Self::Depthwise(of) => ("depthwise", [n, of.height, of.width, of.channels, 0]),
            Self::DepthwiseTurned(of) => ("depthwise", [n, of.height, of.width, of.channels, 1]),
            Self::DepthwiseGradients {
                size,
                all_rows,
                strip,
            } => {
                let sizes = [all_rows, size.height, size.width, size.channels, strip];
                ("depthwise_gradients", sizes)
            }
            Self::ColumnSums(of) => ("column_sums", [of.rows, of.columns, 0, of.strip, 0]),
            Self::ColumnProducts(of) => ("column_sums", [of.rows, of.columns, 0, of.strip, 1]),
            Self::RowSums(of) => ("row_sums", [n / of.parts, of.columns, of.parts, 0, 0]),
            Self::RowSquares(of) => ("row_sums", [n / of.parts, of.columns, of.parts, 1, 0]),
            Self::SpaceToDepth { size, cell } => ("space_to_depth", cells(size, cell)),
            Self::DepthToSpace { size, cell } => ("depth_to_space", cells(size, cell)),
            Self::TakeStep(of) => ("take_step", step(of)),
            Self::PlaceStep(of) => ("place_step", step(of)),
            Self::ScaleStep(of) => ("scale_step", step(of)),
            Self::IndexStep(of) => ("index_step", step(of)),
            Self::StepProducts(of) => ("step_products", step(of)),
            Self::Rate => ("rate", [n, 0, 0, 0, 0]),
            Self::RateChoices => ("rate_choices", [n, 0, 0, 0, 0]),
            Self::RateGradients => ("rate_gradients", [n / 2, 0, 0, 0, 0]),
            Self::Visual(part) => part.launch(n),
        }
    }

    /// How many blocks of threads it is launched on for so many outputs.
    pub(super) fn blocks(self, outputs: usize) -> usize {
        let by_columns = |columns: usize| outputs / columns.max(1) * columns.div_ceil(SUM_COLUMNS);
        match self {
            Self::ColumnSums(of) | Self::ColumnProducts(of) => by_columns(of.columns),
            Self::DepthwiseGradients { size, .. } => by_columns(size.channels) / 10,
            Self::RowSums(_) | Self::RowSquares(_) => outputs,
            _ => outputs.div_ceil(THREADS),
        }
    }
}
