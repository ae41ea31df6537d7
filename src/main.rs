//! The `aec` binary: everything is in the library's command line.

/// Hands large buffers out again fast, which suits a program that asks for the same ones again and again.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(feature = "mimalloc")]
    aec::unstable::kernels::memory::give_back_idle_memory();
    aec::unstable::cli::main()
}
