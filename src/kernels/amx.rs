//! Matrix tiles (AMX): detection, the permission of the kernel and configuration.

use core::arch::asm;
use std::sync::OnceLock;

/// Kinds of products, as CPUID names them (leaf 7, EDX).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Products {
    /// Of bf16, for training.
    #[allow(dead_code)]
    Bf16 = 1 << 22,
    /// Of int8.
    Int8 = 1 << 25,
}

/// Whether this process may use tiles with these products. The first call asks the operating system.
pub(crate) fn is_available(products: Products) -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    has_instructions(products) && *PERMITTED.get_or_init(has_permission)
}

fn has_instructions(products: Products) -> bool {
    const AMX_TILE: u32 = 1 << 24;
    static FEATURES: OnceLock<u32> = OnceLock::new();
    let wanted = products as u32 | AMX_TILE;
    FEATURES.get_or_init(features) & wanted == wanted
}

/// EDX of leaf 7.
fn features() -> u32 {
    // The intrinsics are safe functions in newer compilers.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID.
    unsafe {
        if core::arch::x86_64::__cpuid(0).eax < 7 {
            return 0;
        }
        core::arch::x86_64::__cpuid_count(7, 0).edx
    }
}

/// Linux hands out the 8 KiB of tile state on request only.
#[cfg(target_os = "linux")]
fn has_permission() -> bool {
    const SYS_ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call takes two integers and touches no memory of this process.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn has_permission() -> bool {
    false
}

/// Operand of `ldtilecfg`: all eight tiles have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Configures the tiles of this thread.
///
/// # Safety
/// Tiles are available.
#[inline(always)]
pub(crate) unsafe fn configure() {
    // SAFETY: the operand is a valid configuration; no tile holds a value across statements of ours.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            config = in(reg) &raw const CONFIG,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Gives the tile state back, so that a context switch need not save it.
///
/// # Safety
/// Tiles are available.
#[inline(always)]
pub(crate) unsafe fn release() {
    // SAFETY: no tile holds a value across statements of ours.
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem, preserves_flags),
        );
    }
}
