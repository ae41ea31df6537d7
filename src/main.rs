//! The `aec` binary: everything is in the library's command line.

/// Returns large buffers to the system slowly and hands them out fast, which suits a program
/// that asks for the same big tensors again and again.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(feature = "mimalloc")]
    aec::unstable::kernels::memory::keep_freed_memory();
    aec::unstable::cli::main()
}
