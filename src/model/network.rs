//! The whole network, written once: training and inference build the same
//! structure from the same named weights in different modes.

use candle_core::{Device, Result};
use candle_nn::VarBuilder;

use super::analysis::Analysis;
use super::config::ModelConfig;
use super::context::{ContextStep, context_steps};
use super::hyperprior::{HyperAnalysis, HyperSynthesis};
use super::layers::Mode;
use super::quality::{Gains, QualityTables, RowPosition};
use super::synthesis::Synthesis;

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
    pub fn new(config: &ModelConfig, vb: &VarBuilder, mode: &Mode) -> Result<Self> {
        Ok(Self {
            analysis: Analysis::new(config, &vb.pp("analysis"), mode)?,
            hyper_analysis: HyperAnalysis::new(config, &vb.pp("hyper_analysis"), mode)?,
            hyper_synthesis: HyperSynthesis::new(config, &vb.pp("hyper_synthesis"), mode)?,
            context: context_steps(config, &vb.pp("context"), mode)?,
            synthesis: Synthesis::new(config, &vb.pp("synthesis"), mode)?,
            quality: QualityTables::new(config, vb, mode)?,
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
