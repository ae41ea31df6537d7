//! Matrix tiles (AMX): the 32x32 product block.

use core::arch::asm;

use super::lanes::BlockProduct;

/// One 32x32 block in 2x2 tiles: tmm0..3 hold C, tmm4..5 rows of A, tmm6..7 columns of B.
///
/// # Safety
/// As `Lanes::block_product`; `kernels::amx::configure` was called on this thread.
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
