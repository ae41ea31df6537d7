//! The allocator's settings, for programs that run one large operation after another.

/// `mi_option_purge_delay` of mimalloc 2: milliseconds until freed memory goes back to the system.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory in the process instead of giving it back to the system.
///
/// Every operation on tensors allocates its result; memory that was given back
/// has to be cleared again page by page, which costs as much as a third of the
/// arithmetic. Has an effect where mimalloc is the allocator, as in the binary.
pub fn keep_freed_memory() {
    give_back_after(-1);
}

/// Gives memory back to the system once it has been free for half a second (whole segments: five): the parts of a
/// picture and the rows of a band use the same again and again, but the search of a large picture goes through phases
/// of seconds that each take other memory.
pub fn give_back_idle_memory() {
    give_back_after(500);
}

fn give_back_after(milliseconds: std::ffi::c_long) {
    // SAFETY: sets an integer option of the allocator; any value and any time are valid.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) }
}
