//! The tensors of 16-bit integers between the layers of the exact network: their names, and
//! which layer reads which (codec-spec.md, Exponents).
//!
//! A value of such a tensor is an integer times a power of two, whose exponent the model has.

use super::config::{LayerKind, LayerSpec, ModelConfig};
use crate::format::CONTEXT_STEPS;

/// Name of the normalized latent ŷ.
pub const LATENT: &str = "latent";
/// Name of the normalized hyper-latent ẑ.
pub const HYPER_LATENT: &str = "hyper_latent";
/// Name of the input of synthesis' last layer, where a gain is before it.
pub const SYNTHESIS_OUT: &str = "synthesis.out";

/// The tensors that a block makes, in order: `u`, `d`, `x1`, `h` and its output.
pub const BLOCK_SIGNALS: usize = 5;

/// A tensor of integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Samples.
    Patches,
    /// What has this name; of a block the tensor of this number.
    Named(String, usize),
}

/// The layers that make numbers rather than a tensor of integers.
fn makes_reals(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    ["linear", "conv_out", "down2", "mean", "scale"].contains(&last)
}

impl LayerSpec {
    /// Whether the weights have 16 bits in a model file: the linear path, whose errors reach
    /// the picture directly.
    pub fn is_wide(&self) -> bool {
        self.path.ends_with(".linear")
    }

    /// How many tensors of integers the layer makes.
    fn signals(&self) -> usize {
        match self.kind {
            LayerKind::Block { .. } => BLOCK_SIGNALS,
            LayerKind::Pointwise { .. } if !makes_reals(&self.path) => 1,
            _ => 0,
        }
    }

    /// The last tensor of integers that the layer makes.
    fn output(&self) -> Signal {
        Signal::Named(self.path.clone(), self.signals().saturating_sub(1))
    }
}

impl ModelConfig {
    /// The names of the model's exponents, and how many each has.
    pub fn exponents(&self) -> Vec<(String, usize)> {
        let of_layers = self.layers().into_iter().filter_map(|layer| {
            let count = layer.signals();
            (count > 0).then_some((layer.path, count))
        });
        let mut list: Vec<_> = of_layers.collect();
        list.push((LATENT.into(), 1));
        list.push((HYPER_LATENT.into(), 1));
        if self.synthesis_out_gain {
            list.push((SYNTHESIS_OUT.into(), 1));
        }
        list
    }

    /// What the layer at `path` reads, or what the tensor of this name is made of; and how many channels of each.
    pub fn inputs(&self, path: &str) -> Vec<(Signal, usize)> {
        let parts: Vec<&str> = path.split('.').collect();
        if let &["context", step, layer] = &parts[..] {
            return self.context_inputs(step.parse().unwrap_or(0), layer);
        }
        const SYNTHESIS_LAST: &str = "synthesis.conv_out";
        let reads_gain = path == SYNTHESIS_LAST && self.synthesis_out_gain;
        let path = if path == SYNTHESIS_OUT {
            SYNTHESIS_LAST
        } else {
            path
        };
        let in_transform = |layer: &LayerSpec| layer.path.split('.').next() == Some(parts[0]);
        let layers: Vec<_> = self.layers().into_iter().filter(in_transform).collect();
        let at = layers.iter().position(|layer| layer.path == path);
        let channels = at.map_or(0, |at| layers[at].kind.inputs());
        // A transform's layers follow each other; its linear path stands before them and reads the same.
        let before = at.and_then(|at| layers[..at].last());
        let before = before.filter(|layer| !layer.is_wide());
        let signal = match (before, parts[0]) {
            _ if reads_gain => named(SYNTHESIS_OUT),
            (Some(layer), _) => layer.output(),
            (None, "analysis") => Signal::Patches,
            (None, "hyper_synthesis") => named(HYPER_LATENT),
            (None, _) => named(LATENT),
        };
        vec![(signal, channels)]
    }

    fn context_inputs(&self, step: usize, layer: &str) -> Vec<(Signal, usize)> {
        let (f, m) = (self.context_channels, self.latent_channels);
        let block = |path: String| (Signal::Named(path, BLOCK_SIGNALS - 1), f);
        let before = (step + CONTEXT_STEPS - 1) % CONTEXT_STEPS;
        match layer {
            "conv_in" => vec![block("hyper_synthesis.block2".into()), (named(LATENT), m)],
            "state" => vec![block(format!("context.{before}.block"))],
            "block" if self.has_state(step) => vec![(named(&format!("context.{step}.state")), f)],
            "block" => vec![(named(&format!("context.{step}.conv_in")), f)],
            _ => vec![block(format!("context.{step}.block"))],
        }
    }
}

fn named(name: &str) -> Signal {
    Signal::Named(name.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_has_an_exponent_and_every_exponent_a_reader() {
        for config in [ModelConfig::tiny(), ModelConfig::base()] {
            let exponents = config.exponents();
            let mut unread: Vec<_> = exponents.iter().map(|(name, _)| name.clone()).collect();
            for layer in config.layers() {
                if matches!(layer.kind, LayerKind::Table { .. }) {
                    continue;
                }
                let inputs = config.inputs(&layer.path);
                let channels: usize = inputs.iter().map(|(_, channels)| channels).sum();
                assert_eq!(channels, layer.kind.inputs(), "{}", layer.path);
                for (signal, _) in inputs {
                    if let Signal::Named(name, part) = signal {
                        let (_, count) = exponents
                            .iter()
                            .find(|(other, _)| *other == name)
                            .unwrap_or_else(|| panic!("{} reads {name}", layer.path));
                        assert_eq!(part + 1, *count);
                        unread.retain(|other| *other != name);
                    }
                }
            }
            // Those that a gain, a residual or nothing follows.
            let rest: Vec<&str> = unread.iter().map(String::as_str).collect();
            let last8 = format!("synthesis.stage8.{}", config.stage8_blocks - 1);
            let others = [
                "context.1.conv_in",
                "context.2.conv_in",
                "context.3.conv_in",
                &last8,
            ];
            assert_eq!(rest, others);
        }
    }
}
