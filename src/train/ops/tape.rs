//! Reverse-mode differentiation of the training operations.
//!
//! candle's own adds every gradient to a fresh tensor of zeros, with threads of its own that wait
//! for each other in loops: a third of a step where two passes share two cores. Here the gradient
//! that comes first is kept as it is, and later ones are added to it in place.
//!
//! A tape belongs to the thread that records it. What operations make while it records are
//! variables to candle, so that one of candle's own operations between recorded ones, which
//! would lose gradients, is an error.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Shape, Storage, Tensor, TensorId, bail};
use candle_core::{Var, op::BackpropOp};

use super::with_values;

/// What an operation made.
pub struct Made {
    storage: Storage,
    shape: Shape,
}

impl Made {
    /// From a storage.
    pub fn new(storage: Storage, shape: Shape) -> Self {
        Self { storage, shape }
    }

    /// From values on the CPU.
    pub fn on_cpu(values: Vec<f32>, shape: impl Into<Shape>) -> Self {
        Self::new(Storage::Cpu(CpuStorage::F32(values)), shape.into())
    }

    /// A copy of a tensor.
    ///
    /// # Errors
    /// When the device fails.
    pub fn copy_of(tensor: &Tensor) -> Result<Self> {
        #[cfg(feature = "cuda")]
        {
            use candle_core::backend::BackendStorage;
            let (storage, layout) = tensor.storage_and_layout();
            if let Storage::Cuda(storage) = &*storage {
                let storage = Storage::Cuda(storage.try_clone(layout)?);
                return Ok(Self::new(storage, layout.shape().clone()));
            }
        }
        let values = with_values([tensor], |[values]| values.to_vec())?;
        Ok(Self::on_cpu(values, tensor.shape()))
    }

    /// As a tensor without gradient.
    pub fn plain(self) -> Tensor {
        Tensor::from_storage(self.storage, self.shape, BackpropOp::none(), false)
    }

    /// As a tensor whose gradient is wanted.
    fn tracked(self) -> Tensor {
        Tensor::from_storage(self.storage, self.shape, BackpropOp::none(), true)
    }
}

/// Gradients of an operation's inputs, in their order, from those of its outputs (of which one at least is there).
type Backward = Box<dyn FnOnce(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>>>;

struct Node {
    inputs: Vec<Option<TensorId>>,
    outputs: Vec<TensorId>,
    backward: Backward,
}

/// The operations of a forward pass.
#[derive(Default)]
pub struct Tape(Vec<Node>);

thread_local! {
    static RECORDING: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// Runs a forward pass and records its operations.
///
/// # Errors
/// Those of the pass.
pub fn recorded<R, E>(
    forward: impl FnOnce() -> std::result::Result<R, E>,
) -> std::result::Result<(R, Tape), E> {
    let outer = RECORDING.replace(Some(Tape::default()));
    let result = forward();
    let tape = RECORDING.replace(outer).unwrap_or_default();
    Ok((result?, tape))
}

/// Runs operations that are not recorded: what they make has no gradient.
///
/// # Errors
/// Those of the operations.
pub fn unrecorded<R>(operations: impl FnOnce() -> Result<R>) -> Result<R> {
    let outer = RECORDING.replace(None);
    let result = operations();
    RECORDING.set(outer);
    result
}

/// The output of an operation as a tensor, on the tape if the thread records one.
///
/// # Errors
/// When an input was made by an operation that is not recorded.
pub fn record<const N: usize>(
    inputs: [&Tensor; N],
    output: Made,
    backward: impl FnOnce(Tensor) -> Result<[Option<Tensor>; N]> + 'static,
) -> Result<Tensor> {
    let backward = |[gradient]: [Option<Tensor>; 1]| match gradient {
        Some(gradient) => backward(gradient),
        None => Ok(std::array::from_fn(|_| None)),
    };
    let [output] = record_all(inputs, [output], backward)?;
    Ok(output)
}

/// [`record`] of an operation with several outputs, of which one at least has a gradient.
///
/// # Errors
/// When an input was made by an operation that is not recorded.
pub fn record_all<const N: usize, const M: usize>(
    inputs: [&Tensor; N],
    outputs: [Made; M],
    backward: impl FnOnce([Option<Tensor>; M]) -> Result<[Option<Tensor>; N]> + 'static,
) -> Result<[Tensor; M]> {
    RECORDING.with_borrow_mut(|tape| {
        let Some(Tape(nodes)) = tape else {
            return Ok(outputs.map(Made::plain));
        };
        if inputs.iter().any(|x| x.track_op() && !x.is_variable()) {
            bail!("an input comes from an operation that is not recorded");
        }
        let inputs = inputs.map(|input| input.is_variable().then(|| input.id()));
        if inputs.iter().all(Option::is_none) {
            return Ok(outputs.map(Made::plain));
        }
        let outputs = outputs.map(Made::tracked);
        nodes.push(Node {
            inputs: inputs.into(),
            outputs: outputs.iter().map(Tensor::id).collect(),
            backward: Box::new(|gradients| {
                let mut gradients = gradients.into_iter();
                let gradients = std::array::from_fn(|_| gradients.next().flatten());
                Ok(backward(gradients)?.into())
            }),
        });
        Ok(outputs)
    })
}

/// Records a function of small tensors that candle differentiates.
///
/// # Errors
/// When an operation fails.
pub fn through_candle<const N: usize>(
    inputs: [&Tensor; N],
    function: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut copies = Vec::with_capacity(N);
    for input in inputs {
        copies.push(Var::from_tensor(&input.detach())?);
    }
    let output = function(std::array::from_fn(|i| copies[i].as_tensor()))?;
    record(inputs, Made::copy_of(&output)?, move |gradient| {
        let store = (output * gradient.detach())?.sum_all()?.backward()?;
        Ok(std::array::from_fn(|i| {
            store.get(&copies[i]).map(Tensor::detach)
        }))
    })
}

/// Gradients by tensor.
#[derive(Default)]
pub struct Gradients(HashMap<TensorId, Gradient>);

struct Gradient {
    tensor: Tensor,
    /// Whether nobody else holds its values.
    is_owned: bool,
}

impl Tape {
    /// Gradients of the variables that `of` depends on, times `scale`.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn backward(self, of: &Tensor, scale: f64) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        let ones = of.detach().ones_like()?;
        gradients.add(of.id(), (ones * scale)?, true)?;
        for node in self.0.into_iter().rev() {
            let of_outputs: Vec<_> = (node.outputs.iter())
                .map(|id| gradients.take(*id))
                .collect();
            if of_outputs.iter().all(Option::is_none) {
                continue;
            }
            let passed_on: Vec<_> = of_outputs.iter().flatten().map(Tensor::id).collect();
            let of_inputs = (node.backward)(of_outputs)?;
            for (input, gradient) in node.inputs.into_iter().zip(of_inputs) {
                if let (Some(input), Some(gradient)) = (input, gradient) {
                    let is_owned = !passed_on.contains(&gradient.id());
                    gradients.add(input, gradient, is_owned)?;
                }
            }
        }
        Ok(gradients)
    }
}

impl Gradients {
    /// The gradient of a variable, if there is one. Takes it out.
    pub fn take(&mut self, of: TensorId) -> Option<Tensor> {
        self.0.remove(&of).map(|gradient| gradient.tensor)
    }

    fn add(&mut self, of: TensorId, tensor: Tensor, is_owned: bool) -> Result<()> {
        let new = Gradient { tensor, is_owned };
        let sum = match self.0.remove(&of) {
            Some(old) => old.plus(new)?,
            None => new,
        };
        self.0.insert(of, sum);
        Ok(())
    }
}

impl Gradient {
    fn plus(self, other: Self) -> Result<Self> {
        let (to, from) = if self.is_owned {
            (self, other)
        } else {
            (other, self)
        };
        let tensor = if !to.tensor.device().is_cpu() {
            (to.tensor + from.tensor)?
        } else {
            let sum = match to.is_owned {
                true => to.tensor,
                false => Made::copy_of(&to.tensor)?.plain(),
            };
            add_in_place(&sum, &from.tensor)?;
            sum
        };
        Ok(Self {
            tensor,
            is_owned: true,
        })
    }
}

/// `a += b` on the CPU.
///
/// # Errors
/// When they are of different sizes or not contiguous.
pub fn add_in_place(a: &Tensor, b: &Tensor) -> Result<()> {
    a.inplace_op2(b, &AddTo)
}

struct AddTo;

impl InplaceOp2 for AddTo {
    fn name(&self) -> &'static str {
        "add-to"
    }

    fn cpu_fwd(&self, a: &mut CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<()> {
        let (CpuStorage::F32(a), CpuStorage::F32(b)) = (a, b) else {
            bail!("gradients must be f32");
        };
        let (Some(to), Some(from)) = (la.contiguous_offsets(), lb.contiguous_offsets()) else {
            bail!("gradients must be contiguous");
        };
        let sums = a[to.0..to.1].iter_mut().zip(&b[from.0..from.1]);
        sums.for_each(|(a, b)| *a += b);
        Ok(())
    }
}
