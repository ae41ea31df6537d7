//! The `aec` binary: everything is in [`aec::cli`].

/// Returns large buffers to the system slowly and hands them out fast, which suits a program
/// that asks for the same big tensors again and again.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(feature = "mimalloc")]
    aec::kernels::memory::keep_freed_memory();
    aec::cli::main()
}
