//! Where the C runtime hands over to us, and the only unsafe code of the program.
//!
//! Rust's own start-up is left out on purpose. It sets SIGPIPE to ignored, which the command would
//! inherit; and where a standard descriptor is closed it opens `/dev/null`, and aborts when there is
//! none, as early in the boot of a machine. So is what walks a stack after a panic: see `unwind`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_int;
#[cfg(not(any(test, fuzzing)))]
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
#[cfg(not(any(test, fuzzing)))]
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc::{self, pid_t};
use nix::unistd::{ForkResult, dup};

/// The entry point that the C runtime calls.
#[cfg(not(any(test, fuzzing)))]
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
    for (index, value) in crate::options::typed_values(&args) {
        // SAFETY: as above; `value` lies within the string of this index, which is ours to change (C11, 5.1.2.2.1),
        // and nobody reads it any more.
        unsafe { (*argv.add(index)).cast_mut().add(value.start).write_bytes(b'*', value.len()) };
    }
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

/// Whether this signal is one of those that wait.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn is_waiting(signal: c_int) -> bool {
    let mut waiting = 0_u64;
    // SAFETY: it is valid for the 8 bytes that the kernel writes: rt_sigpending(2).
    let result = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut waiting, size_of::<u64>()) };
    let bit = 1_u64.rotate_left(signal.unsigned_abs().wrapping_sub(1));
    result == 0 && waiting & bit != 0
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

/// Makes a second process that goes on from here.
#[expect(unsafe_code, reason = "of the threads there are, only the calling one goes on in the child")]
pub(crate) fn fork() -> Result<ForkResult, Errno> {
    // SAFETY: this program has no other thread, so nothing is left half done, and no lock held, in the child.
    unsafe { nix::unistd::fork() }
}

/// Ends a process that was forked, without what its parent would do at its own end.
#[expect(unsafe_code, reason = "a call into C")]
pub(crate) fn end(status: c_int) -> ! {
    // SAFETY: it ends this process, and touches no memory before.
    unsafe { libc::_exit(status) }
}

/// Sends any of the 64 signals, to a process or, by its number below zero, to a whole group: kill(2).
#[expect(unsafe_code, reason = "a system call; nix knows half of the signals")]
pub(crate) fn send_signal(target: pid_t, signal: c_int) -> Result<(), Errno> {
    // SAFETY: it takes numbers alone, and the kernel refuses the wrong ones.
    Errno::result(unsafe { libc::kill(target, signal) }).map(drop)
}

/// What a child has to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChildNews {
    /// Which child.
    pub(crate) pid: pid_t,
    /// What has happened to it, one of `CLD_…`.
    pub(crate) code: c_int,
    /// Its exit status, or the signal that did it.
    pub(crate) status: c_int,
}

/// What a child has to tell, this one or any; waitid(2) has the flags.
#[expect(unsafe_code, reason = "a system call; nix can't tell that a real-time signal ended a child")]
pub(crate) fn child_news(which: Option<pid_t>, flags: c_int) -> Option<ChildNews> {
    let (kind, id) = match which.and_then(|pid| libc::id_t::try_from(pid).ok()) {
        Some(pid) => (libc::P_PID, pid),
        None => (libc::P_ALL, 0),
    };
    let mut news = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `news` is valid to be written.
    let result = unsafe { libc::waitid(kind, id, news.as_mut_ptr(), flags) };
    // SAFETY: it is numbers only, for which zeros are valid.
    let news = unsafe { news.assume_init() };
    // SAFETY: waitid(2) writes this part of the union, or leaves the zeros.
    let (pid, status) = unsafe { (news.si_pid(), news.si_status()) };
    (result == 0 && pid != 0).then_some(ChildNews { pid, code: news.si_code, status })
}

/// Whether no child is left, living or dead.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn is_childless() -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: where it gets no address it writes nothing: waitid(2).
    let result = unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), flags) };
    Errno::result(result) == Err(Errno::ECHILD)
}

/// Makes standard input, a terminal without a session, that of our new one.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn take_terminal() -> Result<(), Errno> {
    // SAFETY: this request takes a number: 0, so that no terminal is taken from another session; tty_ioctl(4).
    Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Memory that is given back is wiped first: who stays with the command keeps nothing of what it was given.
struct Wiping;

#[expect(unsafe_code, reason = "what gives out memory is trusted to give it to one only")]
// SAFETY: all memory is the system's, as it gives it; between its last use and its return it is overwritten.
// What grows is moved, by the trait's own method, so that nothing of it stays behind unwiped.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system asks for.
        or_end(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that the memory is of this size, and used by nobody any more.
        unsafe { memory.write_bytes(0, layout.size()) };
        // As far as the compiler can tell, somebody reads it now, so that writing it is not in vain.
        std::hint::black_box(memory);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static MEMORY: Wiping = Wiping;

/// Rust's own way is to abort, with words of its own and a signal for a status.
fn or_end(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        end_without_memory();
    }
    memory
}

/// With nothing that takes memory, and without what is done at an orderly end.
#[cold]
#[expect(unsafe_code, reason = "a system call")]
fn end_without_memory() -> ! {
    let _unheard = nix::unistd::write(std::io::stderr(), NO_MEMORY);
    // SAFETY: it takes any number, and does not come back.
    unsafe { libc::_exit(125) }
}

/// After the standard ones.
const FIRST_OTHER: RawFd = 3;

const NO_MEMORY: &[u8] =
    b"miosa-exec: out of memory; is a limit too low (ulimit -v, memory.max of the cgroup)?\n";

/// Whether a descriptor of this number is open and for the command: it came with us through `execve`, while
/// our own ones end with it.
#[expect(unsafe_code, reason = "a number is all there is of a descriptor that was inherited")]
pub(crate) fn is_inherited(number: RawFd) -> bool {
    // SAFETY: it is borrowed for this one call, which asks the kernel about the number and takes any.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(descriptor, FcntlArg::F_GETFD)
        .is_ok_and(|flags| !FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
}

/// Closes all descriptors that came with us but the standard ones, once the command has its own copies: who is
/// at the other end of one is to hear when the command closes it. `own` is the only one of ours.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn close_inherited(own: RawFd) {
    let close = |first: RawFd, last: RawFd| {
        // SAFETY: nobody here owns a descriptor in these ranges, which end where ours begins.
        let _since_linux_5_9 = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    let after = own.saturating_add(1);
    if own > FIRST_OTHER {
        close(FIRST_OTHER, own.saturating_sub(1));
    }
    close(after.max(FIRST_OTHER), RawFd::MAX);
}

/// Gives a descriptor this number, and leaves it open for the command.
#[expect(unsafe_code, reason = "the number may be that of a descriptor which somebody here still owns")]
pub(crate) fn place(descriptor: OwnedFd, number: RawFd) -> Result<(), Errno> {
    let descriptor = if descriptor.as_raw_fd() == number {
        // A copy onto itself would still end with `execve`; and this one must not end after the copy is made.
        let other = dup(&descriptor)?;
        drop(descriptor);
        other
    } else {
        descriptor
    };
    // SAFETY: what had this number is one of ours that `execve` closes a moment later, or nothing: see
    // `is_inherited`. Nobody reads or writes it in between. Not by nix, whose `dup2_raw` makes a descriptor of a
    // failure too, and so a panic (0.31).
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    Errno::result(result).map(drop)
}

/// How many bytes a terminal has been given and has not sent yet.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn unsent_bytes(terminal: RawFd) -> Result<c_int, Errno> {
    let mut count: c_int = 0;
    // SAFETY: the kernel writes one number there: TIOCOUTQ, ioctl_tty(2).
    let result = unsafe { libc::ioctl(terminal, libc::TIOCOUTQ, &raw mut count) };
    Errno::result(result).map(|_zero| count)
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
