//! Where the C runtime hands over to us, and the only unsafe code of the program.
//!
//! Rust's own start-up is left out on purpose. It sets SIGPIPE to ignored, which the command would
//! inherit; and where a standard descriptor is closed it opens `/dev/null`, and aborts when there is
//! none, as early in the boot of a machine.

#[cfg(not(test))]
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
#[cfg(not(test))]
use std::os::unix::ffi::OsStrExt;

/// The entry point that the C runtime calls.
#[cfg(not(test))]
#[expect(unsafe_code, reason = "the C runtime calls `main` by its name, with pointers")]
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    let args: Vec<OsString> = (0..count)
        .map(|index| {
            // SAFETY: C promises `argc` valid pointers at `argv`, and `index` is below `argc`.
            let arg = unsafe { *argv.add(index) };
            // SAFETY: C promises that each of them is a string that ends in NUL, which nothing
            // changes while the program runs.
            let arg = unsafe { CStr::from_ptr(arg) };
            OsStr::from_bytes(arg.to_bytes()).to_owned()
        })
        .collect();
    crate::run::main(args, std::env::vars_os().collect())
}
