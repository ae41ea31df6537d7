//! Which instruction set the kernels run on, chosen at run time.
//!
//! Every path gives the same bits, so the choice is about speed alone: it can
//! be forced to check exactly that, or to report a bug.

#[cfg(target_arch = "x86_64")]
use super::amx::{self, Products};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelPath {
    /// x86-64 with AVX-512 and its dot products, and int8 matrix tiles (AMX).
    Amx,
    /// x86-64 with AVX-512F, BW and VNNI: 16 lanes and dot products.
    Avx512Vnni,
    /// x86-64 with AVX-512F and BW: 16 lanes.
    Avx512,
    /// x86-64 with AVX2, FMA and AVX-VNNI: 8 lanes and dot products.
    AvxVnni,
    /// x86-64 with AVX2 and FMA: 8 lanes.
    Avx2,
    /// aarch64: 4 lanes.
    Neon,
    /// Plain Rust. Exact everywhere, and slow where the compiler's base
    /// instruction set has no fused multiply-add.
    Portable,
}

impl KernelPath {
    /// All paths, best first.
    const ALL: [Self; 7] = [
        Self::Amx,
        Self::Avx512Vnni,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx2,
        Self::Neon,
        Self::Portable,
    ];

    /// Name in lower case, as printed and parsed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512 => "avx512",
            Self::AvxVnni => "avxvnni",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// Whether this CPU can run the path.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => {
                Self::Avx512Vnni.is_available()
                    && is_x86_feature_detected!("avx512vbmi")
                    && amx::is_available(Products::Int8)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Vnni | Self::Avx512 | Self::AvxVnni | Self::Avx2 => false,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Portable => true,
        }
    }
}

impl fmt::Display for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KernelPath {
    type Err = Error;

    /// Parses the name that [`KernelPath::name`] gives.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for any other text.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|path| path.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::InvalidOption(format!("kernel path '{text}' (want one of {names})"))
        })
    }
}

/// The paths this CPU can run, best first; [`KernelPath::Portable`] is always last.
pub fn available() -> Vec<KernelPath> {
    let mut paths = KernelPath::ALL.to_vec();
    paths.retain(|path| path.is_available());
    paths
}

/// Index in [`KernelPath::ALL`] of the path in use, or `UNSET` before the first use.
static ACTIVE: AtomicU8 = AtomicU8::new(UNSET);
const UNSET: u8 = u8::MAX;

/// The path that the kernels use: the best available one unless [`force`] was called.
pub fn active() -> KernelPath {
    let index = usize::from(ACTIVE.load(Ordering::Relaxed));
    match KernelPath::ALL.get(index) {
        Some(path) => *path,
        None => detect(),
    }
}

/// Detects the best path and remembers it.
#[cold]
fn detect() -> KernelPath {
    let best = KernelPath::ALL
        .into_iter()
        .position(KernelPath::is_available);
    let index = best.expect("the portable path is always available");
    ACTIVE.store(index as u8, Ordering::Relaxed);
    KernelPath::ALL[index]
}

/// Makes every kernel of this process use `path` from now on.
///
/// # Errors
/// [`Error::Unsupported`] when this CPU cannot run it.
pub fn force(path: KernelPath) -> Result<()> {
    if !path.is_available() {
        return Err(Error::Unsupported(format!(
            "kernel path {path} on this CPU"
        )));
    }
    let index = KernelPath::ALL.into_iter().position(|other| other == path);
    let index = index.expect("every path is in the list");
    ACTIVE.store(index as u8, Ordering::Relaxed);
    Ok(())
}

/// A computation written once for every instruction set.
///
/// `run` and all it calls must be `#[inline(always)]`: [`run`] inlines it into
/// functions compiled for each instruction set.
pub(super) trait Kernel {
    /// What the computation returns.
    type Output;

    /// Computes.
    fn run(self) -> Self::Output;
}

/// Runs a loop, compiled for the instruction set of a path, over the variables that it names with their types: a
/// [`Kernel`] where it is used, which a closure cannot be, as the compiler is not made to inline it.
macro_rules! on_path {
    (@output) => { () };
    (@output $output:ty) => { $output };
    ($path:expr, <$a:lifetime> { $($name:ident: $kind:ty),+ } $(-> $output:ty)? => $body:block) => {{
        struct Loop<$a> {
            $($name: $kind),+
        }
        impl<$a> $crate::kernels::dispatch::Kernel for Loop<$a> {
            type Output = on_path!(@output $($output)?);

            #[inline(always)]
            fn run(self) -> Self::Output {
                let Self { $($name),+ } = self;
                $body
            }
        }
        $crate::kernels::dispatch::run($path, Loop { $($name),+ })
    }};
}
pub(super) use on_path;

/// Runs `kernel` on `path`, or on the portable path when this CPU lacks `path`.
pub(super) fn run<K: Kernel>(path: KernelPath, kernel: K) -> K::Output {
    match path {
        #[cfg(target_arch = "x86_64")]
        KernelPath::Amx | KernelPath::Avx512Vnni | KernelPath::Avx512 if path.is_available() => {
            // SAFETY: AVX-512F was detected.
            unsafe { run_avx512(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        KernelPath::AvxVnni | KernelPath::Avx2 if path.is_available() => {
            // SAFETY: AVX2 and FMA were detected.
            unsafe { run_avx2(kernel) }
        }
        _ => kernel.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
