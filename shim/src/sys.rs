//! Where the C runtime hands over to us, and the only unsafe code of the program.
//!
//! Rust's own start-up is left out on purpose. It sets SIGPIPE to ignored, which the command would
//! inherit; and where a standard descriptor is closed it opens `/dev/null`, and aborts when there is
//! none, as early in the boot of a machine. So is what walks a stack after a panic: see [`unwind`].

use std::ffi::c_int;
#[cfg(not(test))]
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
#[cfg(not(test))]
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;

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

/// What the kernel does with a signal that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disposition {
    /// What is usual for it: signal(7).
    Default,
    /// Nothing.
    Ignore,
}

/// Makes these signals wait instead of arriving, and no others; gives those that did before. The lowest
/// bit is signal 1. Not by the C library, which hides some of the 64 from its callers.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn block_signals(mask: u64) -> Result<u64, Errno> {
    let mut former = 0_u64;
    let (new, old) = (&raw const mask, &raw mut former);
    // SAFETY: both are valid for the 8 bytes that the kernel reads and writes: rt_sigprocmask(2).
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, size_of::<u64>()) };
    Errno::result(result).map(|_zero| former)
}

/// A descriptor that tells which of these signals wait; it does not block, and is not inherited.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn signal_descriptor(mask: u64) -> Result<OwnedFd, Errno> {
    let (new, flags) = (&raw const mask, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
    // SAFETY: `new` is valid for the 8 bytes that the kernel reads: signalfd4(2).
    let result = unsafe { libc::syscall(libc::SYS_signalfd4, NO_DESCRIPTOR, new, size_of::<u64>(), flags) };
    let raw = Errno::result(result)?;
    i32::try_from(raw).map(own_descriptor).map_err(|_larger| Errno::EBADF)
}

/// Takes charge of a descriptor that the kernel has just made for us.
#[expect(unsafe_code, reason = "that nobody else closes it can't be seen from a number")]
pub(crate) fn own_descriptor(raw: RawFd) -> OwnedFd {
    // SAFETY: the callers have it from a call that makes a new one, and keep no other handle to it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Sets what is done with a signal, and gives what was done before.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn set_disposition(signal: c_int, new: Disposition) -> Result<Disposition, Errno> {
    let handler = match new {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    // SAFETY: neither of the two is a function that would run.
    let former = unsafe { libc::signal(signal, handler) };
    match former {
        libc::SIG_ERR => Err(Errno::last()),
        libc::SIG_IGN => Ok(Disposition::Ignore),
        _ => Ok(Disposition::Default),
    }
}

/// Whether nothing is done with a signal.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn is_ignored(signal: c_int) -> bool {
    let mut found = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and `found` is valid to be written: sigaction(2).
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) };
    // SAFETY: it is numbers only, for which zeros are valid.
    let found = unsafe { found.assume_init() };
    result == 0 && found.sa_sigaction == libc::SIG_IGN
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

/// signalfd4(2): a new one, not one that is changed.
const NO_DESCRIPTOR: c_int = -1;
