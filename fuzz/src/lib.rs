//! What the targets share: an allocator that takes one large request for a failure.
//!
//! libFuzzer's own limit looks at memory in use, which a reservation that is never written to escapes. Inputs here are
//! small, so whoever asks for this much has believed a number on the wire.

use std::alloc::{GlobalAlloc, Layout, System};

/// Largest single allocation: above what decompression may produce, below what a hostile count would ask for.
const ALLOCATION_MAX: usize = 16 << 20;

struct Guard;

#[global_allocator]
static GUARD: Guard = Guard;

fn check(size: usize) {
    if size > ALLOCATION_MAX {
        // Unwinding out of an allocator is not allowed, and printing may allocate: libFuzzer reports the abort and
        // keeps the input.
        std::process::abort();
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's obligations are those of the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
