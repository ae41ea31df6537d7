//! How large the integers of each tensor become: what exponents are chosen by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::config::ModelConfig;
use super::integer::IntegerWeights;
use super::rounding::{exponent_for, power};

/// The largest magnitudes of a network's tensors so far, by name and number.
#[derive(Debug, Clone, Default)]
pub struct Ranges(BTreeMap<String, Arc<[AtomicU16]>>);

/// Watches one tensor, where anybody wants to know.
#[derive(Debug, Clone, Default)]
pub struct Meter(Option<(Arc<[AtomicU16]>, usize)>);

impl Ranges {
    /// Of a network that has not run.
    pub fn new(config: &ModelConfig) -> Self {
        let none = |count: usize| (0..count).map(|_| AtomicU16::new(0)).collect();
        let names = config.exponents().into_iter();
        Self(names.map(|(name, count)| (name, none(count))).collect())
    }

    /// A meter of a tensor.
    pub(super) fn meter(&self, name: &str, part: usize) -> Meter {
        let found = self.0.get(name);
        Meter(found.map(|all| (all.clone(), part)))
    }

    /// Exponents with room for twice what was seen in `weights`' network.
    pub fn exponents(&self, weights: &IntegerWeights) -> BTreeMap<String, Vec<i8>> {
        let of = |(name, seen): (&String, &Arc<[AtomicU16]>)| {
            let now = weights.exponents.get(name).map_or(&[][..], Vec::as_slice);
            let chosen = seen.iter().zip(now).map(|(seen, exponent)| {
                let largest = f32::from(seen.load(Ordering::Relaxed));
                exponent_for(largest.max(1.0) * power((*exponent).into()))
            });
            (name.clone(), chosen.collect())
        };
        self.0.iter().map(of).collect()
    }
}

impl Meter {
    /// Whether anybody wants to know.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Looks at values of the tensor.
    pub fn see(&self, values: &[i16]) {
        if let Some((seen, part)) = &self.0 {
            let largest = values.iter().map(|value| value.unsigned_abs()).max();
            seen[*part].fetch_max(largest.unwrap_or(0), Ordering::Relaxed);
        }
    }
}
