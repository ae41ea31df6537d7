//! Compiles the CUDA kernels to PTX for the feature `cuda`, with the `nvcc` of the toolkit that candle needs too
//! (`NVCC`, or `bin/nvcc` under `CUDA_HOME`, or the one on the PATH).

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCES: &str = "src/train/cuda";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    for variable in ["NVCC", "CUDA_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        compile();
    }
}

fn compile() {
    let in_toolkit = || env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc"));
    let nvcc = env::var_os("NVCC").map(PathBuf::from);
    let nvcc = nvcc.or_else(in_toolkit).unwrap_or("nvcc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.ptx");
    // PTX for the oldest GPUs with TF32; the driver compiles it for the one that it finds.
    let status = Command::new(&nvcc)
        .args(["-ptx", "-O3", "-arch=compute_80", "-o"])
        .arg(&out)
        .arg(format!("{SOURCES}/all.cu"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{}: {status}", nvcc.display()),
        Err(error) => panic!("the feature 'cuda' needs {}: {error}", nvcc.display()),
    }
}
