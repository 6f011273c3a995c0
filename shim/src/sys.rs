//! Where the C runtime hands over to us, and the only unsafe code of the program.
//!
//! Rust's own start-up is left out on purpose. It sets SIGPIPE to ignored, which the command would
//! inherit; and where a standard descriptor is closed it opens `/dev/null`, and aborts when there is
//! none, as early in the boot of a machine. So is what walks a stack after a panic: see [`unwind`].

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

/// A panic here ends the program at once, so no stack is ever walked. For its backtraces Rust's standard
/// library still brings a reader of debugging information, and musl's target a library that walks: half of
/// the program, for the addresses of functions that a stripped program can't name. The linker takes these
/// for that library's own, and leaves out all that only they would need. Their names and signatures are
/// those of the Itanium C++ ABI, Exception Handling, section 1.
#[cfg(all(not(test), target_env = "musl"))]
#[expect(unsafe_code, reason = "the linker finds these functions by their names")]
mod unwind {
    use std::ffi::{c_int, c_void};

    /// `_URC_END_OF_STACK`, without a call of `each`: what finds no caller is dead code to the compiler.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_each: *const c_void, _data: *mut c_void) -> c_int {
        5
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
        std::process::abort()
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_FindEnclosingFunction(_address: *mut c_void) -> *mut c_void {
        std::ptr::null_mut()
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetLanguageSpecificData(_frame: *mut c_void) -> *mut c_void {
        std::ptr::null_mut()
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIP(_frame: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetIPInfo(_frame: *mut c_void, _is_before: *mut c_int) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetCFA(_frame: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetRegionStart(_frame: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetTextRelBase(_frame: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_GetDataRelBase(_frame: *mut c_void) -> usize {
        0
    }

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_SetGR(_frame: *mut c_void, _register: c_int, _value: usize) {}

    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_SetIP(_frame: *mut c_void, _value: usize) {}
}
