//! Choice of the instruction set at run time.
//!
//! An [`Engine`] can only be obtained for instructions that this machine has, so holding one is the proof that the
//! matching [`Lanes`] token may be made.

use std::sync::OnceLock;

use super::lanes::Lanes;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::zmm::Zmm;
#[cfg(target_arch = "x86_64")]
use crate::kernels::amx::{self, Products};

/// An instruction set of this machine that the training kernels can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Engine {
    /// The fastest engine of this machine. Detected once.
    pub fn best() -> Self {
        static BEST: OnceLock<Engine> = OnceLock::new();
        *BEST.get_or_init(|| Self::supported()[0])
    }

    /// Every engine that this machine supports, fastest first. Never empty.
    pub fn supported() -> Vec<Self> {
        let mut engines = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && is_x86_feature_detected!("avx512bf16") && amx::is_available(Products::Bf16)
            {
                engines.push(Self(Kind::Amx));
            }
            if avx512 {
                engines.push(Self(Kind::Avx512));
            }
            if avx2 {
                engines.push(Self(Kind::Avx2));
            }
        }
        engines.push(Self(Kind::Plain));
        engines
    }

    /// Runs `task` compiled for this instruction set.
    pub(super) fn run<T: Task>(self, task: T) {
        match self.0 {
            // SAFETY: `supported` makes an engine only where its features were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => unsafe { run_amx(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { run_avx512(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(task) },
            Kind::Plain => task.run(Portable::<{ cfg!(target_arch = "aarch64") }>),
        }
    }
}

/// Work that is compiled once for each instruction set. Implementations of `run`, and all that they call with the
/// lanes, must be `#[inline(always)]`: only then does the code take on the features of the caller.
pub(super) trait Task {
    /// Does the work.
    fn run<L: Lanes>(self, lanes: L);
}

/// Runs a loop on an engine over the variables that it names with their types: a [`Task`] where it is used, which a
/// closure cannot be, as it would have to take the lanes of every engine.
macro_rules! on_engine {
    ($engine:expr, <$a:lifetime> |$lanes:ident| { $($name:ident: $kind:ty),+ } => $body:block) => {{
        struct Work<$a> {
            $($name: $kind),+
        }
        impl<$a> $crate::train::kernels::engine::Task for Work<$a> {
            #[inline(always)]
            fn run<L: $crate::train::kernels::lanes::Lanes>(self, $lanes: L) {
                let Self { $($name),+ } = self;
                $body
            }
        }
        $engine.run(Work { $($name),+ });
    }};
}
pub(super) use on_engine;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn run_amx<T: Task>(task: T) {
    // SAFETY: the features are those of this function, and tiles are available when this engine exists.
    task.run(unsafe { Zmm::<true>::new() });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<T: Task>(task: T) {
    // SAFETY: the features are those of this function.
    task.run(unsafe { Zmm::<false>::new() });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(task: T) {
    task.run(Portable::<true>);
}
