//! Matrix tiles (AMX): detection, the permission of the kernel, configuration and the 32x32 product block.

use core::arch::asm;
use std::sync::OnceLock;

use super::lanes::BlockProduct;

/// Whether this process may use tiles with bf16 products. The first call asks the operating system.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && has_permission())
}

fn has_instructions() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    // The intrinsics are safe functions in newer compilers.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID.
    let edx = unsafe {
        if core::arch::x86_64::__cpuid(0).eax < 7 {
            return false;
        }
        core::arch::x86_64::__cpuid_count(7, 0).edx
    };
    edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
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
pub(super) unsafe fn configure() {
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
pub(super) unsafe fn release() {
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

/// One 32x32 block in 2x2 tiles: tmm0..3 hold C, tmm4..5 rows of A, tmm6..7 columns of B.
///
/// # Safety
/// As `Lanes::block_product`; [`configure`] was called on this thread.
#[inline(always)]
pub(super) unsafe fn block_product(p: BlockProduct) {
    let a_bytes = p.a_stride * 2;
    let c_bytes = p.c_stride * 4;
    // SAFETY: all addresses lie inside the operands by the caller's promise; `steps` is at least 1.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{c0} + {c_bytes}]",
            "tileloadd tmm1, [{c0} + {c_bytes} + 64]",
            "tileloadd tmm2, [{c1} + {c_bytes}]",
            "tileloadd tmm3, [{c1} + {c_bytes} + 64]",
            "3:",
            "tileloadd tmm6, [{b} + {b_bytes}]",
            "tileloadd tmm4, [{a0} + {a_bytes}]",
            "tileloadd tmm7, [{b} + {b_bytes} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a1} + {a_bytes}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{c0} + {c_bytes}], tmm0",
            "tilestored [{c0} + {c_bytes} + 64], tmm1",
            "tilestored [{c1} + {c_bytes}], tmm2",
            "tilestored [{c1} + {c_bytes} + 64], tmm3",
            accumulate = in(reg) u32::from(p.accumulate),
            steps = inout(reg) p.steps => _,
            a0 = inout(reg) p.a => _,
            a1 = inout(reg) p.a.add(16 * p.a_stride) => _,
            a_bytes = in(reg) a_bytes,
            b = inout(reg) p.b => _,
            b_bytes = in(reg) 128_usize,
            c0 = in(reg) p.c,
            c1 = in(reg) p.c.add(16 * p.c_stride),
            c_bytes = in(reg) c_bytes,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
