//! What runs under an init in the tests of inits: it says which signals reach it, makes orphans, or starts
//! another program in a state that a shell can't make.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork, getpgid, getppid, pause, read, setpgid};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["signals", name] => signals(name),
        ["orphans", count] => orphans(number(count)),
        ["blocking", signals, ref command @ ..] => {
            change_mask(libc::SIG_BLOCK, of(signals));
            become_it(command)
        }
        ["pending", signals, ref command @ ..] => {
            change_mask(libc::SIG_BLOCK, of(signals));
            for signal in signals.split(',') {
                send_to_itself(number(signal));
            }
            become_it(command)
        }
        ["ignoring", signal, ref command @ ..] => {
            set(number(signal), libc::SIG_IGN);
            become_it(command)
        }
        ["joining", ref command @ ..] => {
            let group = getpgid(Some(getppid())).expect("the parent's group");
            setpgid(Pid::from_raw(0), group).expect("join it");
            become_it(command)
        }
        ["mourning", ref command @ ..] => {
            if split().is_none() {
                return ExitCode::SUCCESS;
            }
            // Dead and not buried.
            waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("wait for the child");
            become_it(command)
        }
        ["shelter", ref command @ ..] => shelter(command),
        _ => panic!("no such part: {words:?}"),
    }
}

/// Takes every signal, however often it comes, and prints a line for each.
fn signals(name: &str) -> ! {
    change_mask(libc::SIG_SETMASK, u64::MAX);
    let queue = queue_of_signals();
    tell(&format!("{name} ready"));
    loop {
        // signalfd(2): 128 bytes each, the number in front.
        let mut told = [0_u8; 128];
        match read(&queue, &mut told) {
            Ok(128) => tell(&format!("{name} {}", u32::from_ne_bytes([told[0], told[1], told[2], told[3]]))),
            Err(Errno::EINTR) => {}
            other => panic!("the queue of signals: {other:?}"),
        }
    }
}

/// Makes as many orphans, each of which ends at once, then stays.
fn orphans(count: i32) -> ExitCode {
    for _ in 0..count {
        if let Some(parent) = split() {
            waitpid(parent, None).expect("wait for a parent");
            continue;
        }
        split();
        return ExitCode::SUCCESS;
    }
    tell(&format!("made {count}"));
    loop {
        pause();
    }
}

/// The PID 1 of a namespace in which an init is one process among others. It ends as that ends, or stays
/// until it is killed if the variable `STAY` is set, and says then how that ended.
fn shelter(command: &[&str]) -> ExitCode {
    let Some(child) = split() else { become_it(command) };
    let mut ended = false;
    loop {
        let status = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => status,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                let _unheard = writeln!(io::stderr(), "the init itself was killed by {signal}");
                99
            }
            Err(Errno::ECHILD) if ended => loop {
                pause();
            },
            _ => continue,
        };
        if std::env::var_os("STAY").is_none() {
            return ExitCode::from(u8::try_from(status).expect("a status"));
        }
        ended = true;
        tell(&format!("init ended {status}"));
    }
}

/// Two of us; the child's id in the first.
fn split() -> Option<Pid> {
    // SAFETY: there is one thread.
    #[expect(unsafe_code, reason = "an orphan is made by fork alone")]
    let both = unsafe { fork() }.expect("fork");
    match both {
        ForkResult::Parent { child } => Some(child),
        ForkResult::Child => None,
    }
}

fn become_it(command: &[&str]) -> ! {
    // A program in Rust ignores it from its start on.
    set(libc::SIGPIPE, libc::SIG_DFL);
    let words: Vec<CString> = command.iter().map(|word| CString::new(*word).expect("a word")).collect();
    let refused = execvp(&words[0], &words);
    panic!("{command:?}: {refused:?}")
}

/// With a mask of the kernel's own width: the C library keeps 32 and 33 for itself.
fn change_mask(how: libc::c_int, mask: u64) {
    // SAFETY: eight bytes are read of a mask that outlives the call; nothing is written.
    #[expect(unsafe_code, reason = "the C library's form leaves two signals out")]
    let changed = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const mask,
            std::ptr::null::<u64>(),
            size_of_val(&mask),
        )
    };
    assert_eq!(changed, 0, "{}", io::Error::last_os_error());
}

/// A descriptor that tells of every signal, with a mask of the kernel's own width too.
fn queue_of_signals() -> OwnedFd {
    let mask = u64::MAX;
    // SAFETY: eight bytes are read of a mask that outlives the call; nothing is written.
    #[expect(unsafe_code, reason = "the C library's form leaves two signals out")]
    let queue =
        unsafe { libc::syscall(libc::SYS_signalfd4, -1_i32, &raw const mask, size_of_val(&mask), 0_i32) };
    let queue = i32::try_from(queue).ok().filter(|queue| *queue >= 0).expect("a queue of signals");
    // SAFETY: it was made a moment ago and is nobody else's.
    #[expect(unsafe_code, reason = "the descriptor came from a bare call")]
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    queue
}

fn send_to_itself(signal: i32) {
    // SAFETY: numbers only.
    #[expect(unsafe_code, reason = "no wrapper sends real-time signals")]
    let sent = unsafe { libc::kill(libc::getpid(), signal) };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
}

fn set(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: no handler is set.
    #[expect(unsafe_code, reason = "no wrapper takes a number")]
    let former = unsafe { libc::signal(signal, disposition) };
    assert_ne!(former, libc::SIG_ERR, "{}", io::Error::last_os_error());
}

fn of(signals: &str) -> u64 {
    signals.split(',').map(|signal| 1 << (number(signal) - 1)).sum()
}

fn number(text: &str) -> i32 {
    text.parse().expect("a number")
}

/// In one write, so that the lines of several do not mix.
fn tell(line: &str) {
    io::stdout().write_all(format!("{line}\n").as_bytes()).expect("print");
}
