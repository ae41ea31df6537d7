//! Gradients of depth-conv blocks, a few rows at a time.
//!
//! As [`BlockStream`](super::stream::BlockStream), with what a block's gradient needs kept
//! from the forward pass until the gradient, which follows it down the picture, has passed:
//! twice the blocks' reach, so that memory grows with the picture's width alone and no row is
//! computed twice. No step computes more rows than were asked for at once, not even where the
//! picture ends and all that is left could follow: the largest step sets the memory.

use super::stream::{Rows, computable};
use crate::kernels::block::{
    PackedBlock, block_first_layer, block_gradient_pointwise, block_gradient_spatial,
    block_other_layers,
};
use crate::kernels::depthwise::RowsOf;

/// Depth-conv blocks one after another, forward and back.
pub(super) struct BlockGradientStream<'a> {
    height: usize,
    width: usize,
    /// Rows that a step computes at most.
    at_once: usize,
    blocks: Vec<OneBlock<'a>>,
    /// The output of the last block.
    output: Rows<f32>,
    /// The gradient of the first block's input.
    gradient: Rows<f32>,
}

/// One block, and the rows of it that are still needed.
struct OneBlock<'a> {
    forward: &'a PackedBlock,
    /// The same transposed.
    backward: &'a PackedBlock,
    /// The block's input.
    input: Rows<f32>,
    /// Its first layer before the activation: kept for the gradient.
    first: Rows<f32>,
    /// The same after it.
    activated: Rows<f32>,
    /// Its third layer before the activation: kept for the gradient.
    hidden: Rows<f32>,
    /// The gradient of the block's output.
    output_gradient: Rows<f32>,
    /// That of what lies between its two halves.
    middle_gradient: Rows<f32>,
    /// That of the depthwise convolution's output.
    inner_gradient: Rows<f32>,
}

impl<'a> BlockGradientStream<'a> {
    /// Blocks of `channels` channels, and the same transposed, on a picture of `height` x `width` positions; a step
    /// computes `at_once` rows at most.
    pub fn new(
        blocks: impl Iterator<Item = (&'a PackedBlock, &'a PackedBlock)>,
        channels: usize,
        (height, width): (usize, usize),
        at_once: usize,
    ) -> Self {
        let rows = || Rows::new(width * channels);
        let blocks = blocks.map(|(forward, backward)| OneBlock {
            forward,
            backward,
            input: rows(),
            first: rows(),
            activated: rows(),
            hidden: Rows::new(width * forward.w3.outputs()),
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
    pub fn input(&mut self, count: usize) -> &mut [f32] {
        match self.blocks.first_mut() {
            Some(block) => block.input.append(count),
            None => self.output.append(count),
        }
    }

    /// Computes what the input allows, as many rows as a step may. The caller drops the rows of the output that it
    /// needs no more.
    pub fn output(&mut self) -> &mut Rows<f32> {
        for index in 0..self.blocks.len() {
            let (before, after) = self.blocks.split_at_mut(index + 1);
            let next = after.first_mut().map(|block| &mut block.input);
            let output = next.unwrap_or(&mut self.output);
            before[index].forward((self.height, self.width), self.at_once, output);
        }
        &mut self.output
    }

    /// The next `count` rows of the output's gradient, to be written.
    pub fn output_gradient(&mut self, count: usize) -> &mut [f32] {
        match self.blocks.last_mut() {
            Some(block) => block.output_gradient.append(count),
            None => self.gradient.append(count),
        }
    }

    /// Computes the gradient of the input as far as that of the output allows, as many rows as a step may. The caller
    /// drops the rows that it needs no more.
    pub fn gradient(&mut self) -> &mut Rows<f32> {
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
    fn forward(&mut self, (height, width): (usize, usize), at_once: usize, output: &mut Rows<f32>) {
        let new = self.first.range().end..self.input.range().end;
        let x = self.input.from(new.start);
        let (first, activated) = (&mut self.first, &mut self.activated);
        block_first_layer(
            x,
            self.forward,
            first.append(new.len()),
            activated.append(new.len()),
        );
        let start = output.range().end;
        let rows = start..computable(new.end, height).min(start + at_once);
        if rows.is_empty() {
            return;
        }
        block_other_layers(
            rows_of(&self.activated, width),
            self.input.part(rows.clone()),
            self.forward,
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
        gradient: &mut Rows<f32>,
    ) {
        let new = self.output_gradient.range();
        block_gradient_pointwise(
            self.output_gradient.all(),
            self.hidden.part(new.clone()),
            self.backward,
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
        block_gradient_spatial(
            rows_of(&self.inner_gradient, width),
            self.first.part(rows.clone()),
            self.middle_gradient.part(rows.clone()),
            self.backward,
            rows.clone(),
            gradient.append(rows.len()),
        );
        self.first.drop_above(rows.end);
        self.middle_gradient.drop_above(rows.end);
        self.inner_gradient.drop_above(rows.end - 1);
    }
}

fn rows_of(rows: &Rows<f32>, width: usize) -> RowsOf<'_> {
    RowsOf {
        top: rows.range().start,
        width,
        values: rows.all(),
    }
}
