//! What all firmware here shares: the [board] that it runs on, time as embassy has it, and no allocator.
#![no_std]

pub mod board;
pub mod timer;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

/// A panic is a failure that the exit code tells.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    board::exit(false)
}

/// In the place of an allocator. Code that allocates does not link, and an allocator beside this one does not compile.
struct NoAllocator;

unsafe extern "C" {
    /// There is no such function: the linker says so if anybody allocates.
    fn nothing_here_may_allocate(size: usize) -> *mut u8;
}

// SAFETY: nothing of it is ever linked.
unsafe impl GlobalAlloc for NoAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { nothing_here_may_allocate(layout.size()) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NO_ALLOCATOR: NoAllocator = NoAllocator;
