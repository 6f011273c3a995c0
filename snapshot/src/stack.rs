//! What cryptography leaves on the stack: other people's code keeps copies of keys in frames that it
//! returns from, where nothing overwrites them until something else is called as deep.

use std::hint::black_box;

/// Does some work, and then overwrites the part of the stack that it has used. The work must hand on
/// no secret by value, or only one that is worth less than those it used.
pub(crate) fn without_traces<T>(work: impl FnOnce() -> T) -> T {
    let done = in_its_own_frame(work);
    overwrite();
    done
}

#[inline(never)]
fn in_its_own_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite() {
    let mut below = [0_u8; DEPTH];
    black_box(&mut below);
}

/// More than opening a sealed key uses without optimisation, and a small part of the smallest stack
/// that a thread has.
const DEPTH: usize = 64 * 1024;
