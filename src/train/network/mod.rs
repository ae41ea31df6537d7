//! The network as it is trained: in binary32 on tensors, with gradients.
//!
//! What encodes and decodes is the network of integers in the parent module, which these
//! weights are rounded to; a test there holds both together.

mod analysis;
mod context;
mod flat;
mod hyperprior;
mod layers;
mod quality;
mod synthesis;

use candle_core::{Device, Result};
use candle_nn::VarBuilder;

use crate::network::config::ModelConfig;
use crate::network::gains::RowPosition;
use analysis::Analysis;
use context::{ContextStep, context_steps};
pub use flat::FlatTensors;
use hyperprior::{HyperAnalysis, HyperSynthesis};
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
    /// Reads every layer of `config` from `vb`.
    ///
    /// # Errors
    /// When weights are missing or of another size.
    pub fn new(config: &ModelConfig, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            analysis: Analysis::new(config, &vb.pp("analysis"))?,
            hyper_analysis: HyperAnalysis::new(config, &vb.pp("hyper_analysis"))?,
            hyper_synthesis: HyperSynthesis::new(config, &vb.pp("hyper_synthesis"))?,
            context: context_steps(config, &vb.pp("context"))?,
            synthesis: Synthesis::new(config, &vb.pp("synthesis"))?,
            quality: QualityTables::new(config, vb)?,
            device: vb.device().clone(),
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
