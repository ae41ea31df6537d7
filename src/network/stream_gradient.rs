//! Gradients of depth-conv blocks, a few rows at a time.
//!
//! As [`BlockStream`](super::stream::BlockStream), with what a block's gradient needs kept
//! from the forward pass until the gradient, which follows it down the picture, has passed:
//! twice the blocks' reach, so that memory grows with the picture's width alone and no row is
//! computed twice. No step computes more rows than were asked for at once, not even where the
//! picture ends and all that is left could follow: the largest step sets the memory.

use super::stream::{Rows, computable, window};
use crate::kernels::integer::BlockGradient;

/// Depth-conv blocks one after another, forward and back.
pub(super) struct BlockGradientStream<'a> {
    height: usize,
    width: usize,
    /// Rows that a step computes at most.
    at_once: usize,
    blocks: Vec<OneBlock<'a>>,
    /// The output of the last block.
    output: Rows<i16>,
    /// The gradient of the first block's input.
    gradient: Rows<i16>,
}

/// One block, and the rows of it that are still needed.
struct OneBlock<'a> {
    layers: &'a BlockGradient,
    /// The block's input.
    input: Rows<i16>,
    /// Its first layer before the activation: kept for the gradient.
    first: Rows<i16>,
    /// The same after it.
    activated: Rows<i16>,
    /// Its third layer before the activation: kept for the gradient.
    hidden: Rows<i16>,
    /// The gradient of the block's output.
    output_gradient: Rows<i16>,
    /// That of what lies between its two halves.
    middle_gradient: Rows<i16>,
    /// That of the depthwise convolution's output.
    inner_gradient: Rows<i16>,
}

impl<'a> BlockGradientStream<'a> {
    /// Blocks of `channels` channels on a picture of `height` x `width` positions; a step
    /// computes `at_once` rows at most.
    pub fn new(
        blocks: &'a [BlockGradient],
        channels: usize,
        (height, width): (usize, usize),
        at_once: usize,
    ) -> Self {
        let rows = || Rows::new(width * channels);
        let blocks = blocks.iter().map(|layers| OneBlock {
            layers,
            input: rows(),
            first: rows(),
            activated: rows(),
            hidden: Rows::new(width * layers.block.hidden_channels()),
            output_gradient: rows(),
            middle_gradient: rows(),
            inner_gradient: rows(),
        });
        Self {
            height,
            width,
            at_once,
            blocks: blocks.collect(),
            output: rows(),
            gradient: rows(),
        }
    }

    /// The next `count` rows of the input, to be written.
    pub fn input(&mut self, count: usize) -> &mut [i16] {
        match self.blocks.first_mut() {
            Some(block) => block.input.append(count),
            None => self.output.append(count),
        }
    }

    /// Computes what the input allows, as many rows as a step may. The caller drops the rows of the output that it
    /// needs no more.
    pub fn output(&mut self) -> &mut Rows<i16> {
        for index in 0..self.blocks.len() {
            let (before, after) = self.blocks.split_at_mut(index + 1);
            let next = after.first_mut().map(|block| &mut block.input);
            let output = next.unwrap_or(&mut self.output);
            before[index].forward((self.height, self.width), self.at_once, output);
        }
        &mut self.output
    }

    /// The next `count` rows of the output's gradient, to be written.
    pub fn output_gradient(&mut self, count: usize) -> &mut [i16] {
        match self.blocks.last_mut() {
            Some(block) => block.output_gradient.append(count),
            None => self.gradient.append(count),
        }
    }

    /// Computes the gradient of the input as far as that of the output allows, as many rows as a step may. The caller
    /// drops the rows that it needs no more.
    pub fn gradient(&mut self) -> &mut Rows<i16> {
        for index in (0..self.blocks.len()).rev() {
            let (before, after) = self.blocks.split_at_mut(index);
            let next = before.last_mut().map(|block| &mut block.output_gradient);
            let gradient = next.unwrap_or(&mut self.gradient);
            after[0].backward((self.height, self.width), self.at_once, gradient);
        }
        &mut self.gradient
    }
}

impl OneBlock<'_> {
    /// Extends `output` as far as the input allows, by `at_once` rows at most.
    fn forward(&mut self, (height, width): (usize, usize), at_once: usize, output: &mut Rows<i16>) {
        let new = self.first.range().end..self.input.range().end;
        let x = self.input.from(new.start);
        let (first, activated) = (&mut self.first, &mut self.activated);
        let (first, activated) = (first.append(new.len()), activated.append(new.len()));
        self.layers.block.keep_first_layer(x, first, activated);
        let start = output.range().end;
        let rows = start..computable(new.end, height).min(start + at_once);
        if rows.is_empty() {
            return;
        }
        self.layers.block.keep_other_layers(
            window(&self.activated, width),
            self.input.part(rows.clone()),
            rows.clone(),
            self.hidden.append(rows.len()),
            output.append(rows.len()),
        );
        self.input.drop_above(rows.end);
        self.activated.drop_above(rows.end - 1);
    }

    /// Extends `gradient`, that of the input, as far as that of the output allows, by `at_once` rows at most.
    fn backward(
        &mut self,
        (height, width): (usize, usize),
        at_once: usize,
        gradient: &mut Rows<i16>,
    ) {
        let new = self.output_gradient.range();
        self.layers.pointwise_half(
            self.output_gradient.all(),
            self.hidden.part(new.clone()),
            self.middle_gradient.append(new.len()),
            self.inner_gradient.append(new.len()),
        );
        self.output_gradient.drop_above(new.end);
        self.hidden.drop_above(new.end);
        let start = gradient.range().end;
        let rows = start..computable(new.end, height).min(start + at_once);
        if rows.is_empty() {
            return;
        }
        self.layers.spatial_half(
            window(&self.inner_gradient, width),
            self.first.part(rows.clone()),
            self.middle_gradient.part(rows.clone()),
            rows.clone(),
            gradient.append(rows.len()),
        );
        self.first.drop_above(rows.end);
        self.middle_gradient.drop_above(rows.end);
        self.inner_gradient.drop_above(rows.end - 1);
    }
}
