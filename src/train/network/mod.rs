//! The network as it is trained: in binary32 on tensors, with gradients.
//!
//! What encodes and decodes is the network of integers in the parent module, which these
//! weights are rounded to; a test there holds both together.

mod analysis;
mod context;
mod hyperprior;
mod layers;
mod quality;
mod synthesis;

use candle_core::{Device, Result};

use crate::network::gains::RowPosition;
use analysis::Analysis;
use context::{ContextStep, context_steps};
use hyperprior::{HyperAnalysis, HyperSynthesis};
pub use layers::Loader;
pub use quality::Gains;
use quality::QualityTables;
use synthesis::Synthesis;

/// All transforms of the codec.
pub struct Network {
    /// Analysis transform g_a.
    pub analysis: Analysis,
    /// Hyper-analysis h_a.
    pub hyper_analysis: HyperAnalysis,
    /// Hyper-synthesis h_s.
    pub hyper_synthesis: HyperSynthesis,
    /// The four steps of the context model.
    pub context: Vec<ContextStep>,
    /// Synthesis transform g_s.
    pub synthesis: Synthesis,
    /// The quality-dependent vectors.
    pub quality: QualityTables,
    device: Device,
}

impl Network {
    /// Makes every layer, over variables on `device`.
    ///
    /// # Errors
    /// When weights are missing.
    pub fn new(from: &Loader<'_>, device: &Device) -> Result<Self> {
        Ok(Self {
            analysis: Analysis::new(from)?,
            hyper_analysis: HyperAnalysis::new(from)?,
            hyper_synthesis: HyperSynthesis::new(from)?,
            context: context_steps(from)?,
            synthesis: Synthesis::new(from)?,
            quality: QualityTables::new(from)?,
            device: device.clone(),
        })
    }

    /// The quality-dependent vectors at each sample's position.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn gains(&self, positions: &[RowPosition]) -> Result<Gains> {
        self.quality.at(positions, &self.device)
    }
}
