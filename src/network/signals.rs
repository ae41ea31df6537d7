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
    #[must_use]
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
}

impl ModelConfig {
    /// The names of the model's exponents, and how many each has.
    #[must_use]
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

    /// What the layer at `path` reads, and how many channels of each.
    #[must_use]
    pub fn inputs(&self, path: &str) -> Vec<(Signal, usize)> {
        let parts: Vec<&str> = path.split('.').collect();
        if let &["context", step, layer] = &parts[..] {
            return self.context_inputs(step.parse().unwrap_or(0), layer);
        }
        if path == "analysis.linear" {
            return vec![(Signal::Patches, self.channels_of(path))];
        }
        if path == "synthesis.linear" {
            return vec![(named(LATENT), self.latent_channels)];
        }
        let before = self.chains().into_iter().find_map(|chain| {
            let at = chain.iter().position(|name| name == path)?;
            Some(chain[at.checked_sub(1)?].clone())
        });
        let signal = match before.as_deref() {
            None | Some("patches") => Signal::Patches,
            Some(name) => self.output(name),
        };
        vec![(signal, self.channels_of(path))]
    }

    fn context_inputs(&self, step: usize, layer: &str) -> Vec<(Signal, usize)> {
        let (f, m) = (self.context_channels, self.latent_channels);
        let of = |layer: &str| format!("context.{step}.{layer}");
        match layer {
            "conv_in" => vec![
                (self.output("hyper_synthesis.block2"), f),
                (named(LATENT), m),
            ],
            "state" => vec![(
                self.output(&format!(
                    "context.{}.block",
                    (step + CONTEXT_STEPS - 1) % CONTEXT_STEPS
                )),
                f,
            )],
            "block" if self.has_state(step) => vec![(named(&of("state")), f)],
            "block" => vec![(named(&of("conv_in")), f)],
            _ => vec![(self.output(&of("block")), f)],
        }
    }

    /// What is computed one after another, from the input of each transform on.
    fn chains(&self) -> [Vec<String>; 4] {
        let stage = |name: &str, blocks: usize| -> Vec<String> {
            (0..blocks).map(|i| format!("{name}.{i}")).collect()
        };
        let one = |name: &str| vec![name.to_string()];
        let out = if self.synthesis_out_gain {
            one(SYNTHESIS_OUT)
        } else {
            Vec::new()
        };
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        [
            [
                list(&["patches", "analysis.conv_in"]),
                stage("analysis.stage8", self.stage8_blocks),
                one("analysis.down"),
                stage("analysis.stage16", self.stage16_blocks),
                one("analysis.conv_out"),
            ]
            .concat(),
            list(&[
                LATENT,
                "hyper_analysis.conv_in",
                "hyper_analysis.down1",
                "hyper_analysis.block",
                "hyper_analysis.down2",
            ]),
            list(&[
                HYPER_LATENT,
                "hyper_synthesis.up1",
                "hyper_synthesis.block1",
                "hyper_synthesis.up2",
                "hyper_synthesis.block2",
            ]),
            [
                list(&[LATENT, "synthesis.conv_in"]),
                stage("synthesis.stage16", self.stage16_blocks),
                one("synthesis.up"),
                stage("synthesis.stage8", self.stage8_blocks),
                out,
                one("synthesis.conv_out"),
            ]
            .concat(),
        ]
    }

    /// What a layer, or what has a name, makes.
    fn output(&self, name: &str) -> Signal {
        let is_block = self
            .layers()
            .iter()
            .any(|layer| layer.path == name && matches!(layer.kind, LayerKind::Block { .. }));
        Signal::Named(name.into(), if is_block { BLOCK_SIGNALS - 1 } else { 0 })
    }

    /// The number of channels that a layer reads.
    fn channels_of(&self, path: &str) -> usize {
        let layers = self.layers();
        match layers.iter().find(|layer| layer.path == path) {
            Some(LayerSpec {
                kind: LayerKind::Pointwise { inputs, .. },
                ..
            }) => *inputs,
            Some(LayerSpec {
                kind: LayerKind::Block { channels },
                ..
            }) => *channels,
            _ => 0,
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
                assert_eq!(channels, config.channels_of(&layer.path), "{}", layer.path);
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
