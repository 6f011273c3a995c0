//! The program `miosa-control`, and nothing of it: that is the library beside it.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes every block of the heap that is given back or outgrown: values pass through buffers of
/// libraries that wipe nothing.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    miosa_control::main()
}
