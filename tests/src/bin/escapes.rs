//! What somebody would try who has taken over a service from inside. It is run in the place of the service's
//! own program, and prints a line an attempt: `escape NAME: refused REASON`, or `escape NAME: DONE`.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;

/// Runs every attempt; arguments are the directories that the service may write.
fn main() {
    let own: Vec<String> = std::env::args().skip(1).collect();
    if own == [COPY] {
        return;
    }
    network();
    programs(&own);
    files(&own);
    processes();
    privileges();
    memory();
}

fn network() {
    let families = [
        ("socket-inet", libc::AF_INET),
        ("socket-inet6", libc::AF_INET6),
        ("socket-netlink", libc::AF_NETLINK),
        ("socket-packet", libc::AF_PACKET),
        ("socket-vsock", libc::AF_VSOCK),
    ];
    for (name, family) in families {
        tell(name, call(libc::SYS_socket, [word(family), word(libc::SOCK_STREAM), 0, 0, 0, 0]));
    }
    let raw = [word(libc::AF_INET), word(libc::SOCK_RAW), word(libc::IPPROTO_ICMP), 0, 0, 0];
    tell("socket-raw", call(libc::SYS_socket, raw));
    // Through who has a network.
    tell("bus", UnixStream::connect("/run/dbus/system_bus_socket").map(drop));
    tell("resolver", UnixStream::connect("/run/systemd/resolve/io.systemd.Resolve").map(drop));
    tell("manager", UnixStream::connect("/run/systemd/private").map(drop));
    // What the daemon is for, the link must not have.
    tell("admin-socket", UnixStream::connect("/run/miosa/admin.sock").map(drop));
    tell("bind-in-runtime", UnixListener::bind("/run/miosa/resources/forged.sock").map(drop));
}

fn programs(own: &[String]) {
    for shell in ["/bin/sh", "/usr/bin/env", "/usr/bin/systemctl"] {
        tell(&format!("exec{}", shell.replace('/', "-")), run(Command::new(shell).arg("--version")));
    }
    let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = loader.into_iter().find(|path| Path::new(path).exists()).unwrap_or("/none");
    tell("exec-by-the-loader", run(Command::new(loader).args(["/bin/sh", "-c", "true"])));
    let places = own.iter().map(String::as_str).chain(["/tmp", "/var/tmp", "/dev/shm", "/run", "/dev"]);
    for place in places {
        let name = format!("exec-from{}", place.replace('/', "-"));
        tell(&name, exec_copy(Path::new(place)));
    }
    let name = CString::default();
    tell("memfd", call(libc::SYS_memfd_create, [address(name.as_ptr()), 0, 0, 0, 0, 0]));
}

fn files(own: &[String]) {
    for path in ["/escaped", "/etc/escaped", "/usr/bin/escaped", "/usr/lib/escaped", "/var/lib/escaped"] {
        tell(&format!("write{}", path.replace('/', "-")), File::create(path).map(drop));
    }
    for path in ["/run/escaped", "/run/systemd/system/escaped.service", "/dev/escaped", "/sys/escaped"] {
        tell(&format!("write{}", path.replace('/', "-")), File::create(path).map(drop));
    }
    let sensitive =
        ["/etc/shadow", "/root", "/home", "/proc/1/environ", "/proc/kmsg", "/proc/sys/kernel/core_pattern"];
    for path in sensitive {
        let read =
            if Path::new(path).is_dir() { fs::read_dir(path).map(drop) } else { fs::read(path).map(drop) };
        tell(&format!("read{}", path.replace('/', "-")), read);
    }
    tell("read-the-host-key", fs::read("/var/lib/miosa/host.key").map(drop));
    tell("read-the-master-key", fs::read("/var/lib/miosa-control/master.key").map(drop));
    tell("list-the-resources", fs::read_dir("/run/miosa/resources").map(drop));
    for device in ["/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/kvm"] {
        let opened = OpenOptions::new().read(true).open(device).map(drop);
        tell(&format!("device{}", device.replace('/', "-")), opened);
    }
    for place in own {
        let file = Path::new(place).join("escaped");
        // It must be able to do this, or nothing above means anything.
        tell(&format!("own-file{}", place.replace('/', "-")), fs::write(&file, "x"));
        let setuid = fs::set_permissions(&file, fs::Permissions::from_mode(0o4755));
        tell(&format!("setuid-file{}", place.replace('/', "-")), setuid);
        tell(&format!("chown{}", place.replace('/', "-")), std::os::unix::fs::chown(&file, Some(0), Some(0)));
        let node = CString::new(format!("{place}/node")).unwrap_or_default();
        let device = [word(libc::AT_FDCWD), address(node.as_ptr()), 0o060_666, 0xfd00, 0, 0];
        tell(&format!("mknod{}", place.replace('/', "-")), call(libc::SYS_mknodat, device));
        let _gone = fs::remove_file(&file);
    }
}

fn processes() {
    tell("signal-init", call(libc::SYS_kill, [1, word(libc::SIGCONT), 0, 0, 0, 0]));
    tell("trace-init", call(libc::SYS_ptrace, [long(libc::PTRACE_SEIZE), 1, 0, 0, 0, 0]));
    tell("trace-me", call(libc::SYS_ptrace, [long(libc::PTRACE_TRACEME), 0, 0, 0, 0, 0]));
    tell("read-memory-of-init", call(libc::SYS_process_vm_readv, [1, 0, 0, 0, 0, 0]));
    tell("see-init", fs::metadata("/proc/1").map(drop));
}

fn privileges() {
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("network", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
    ] {
        tell(&format!("unshare-{name}"), call(libc::SYS_unshare, [word(flag), 0, 0, 0, 0, 0]));
    }
    let (tmpfs, target) = (CString::from(c"tmpfs"), CString::from(c"/tmp"));
    let mount = [address(tmpfs.as_ptr()), address(target.as_ptr()), address(tmpfs.as_ptr()), 0, 0, 0];
    tell("mount", call(libc::SYS_mount, mount));
    tell("unmount", call(libc::SYS_umount2, [address(target.as_ptr()), 0, 0, 0, 0, 0]));
    tell("chroot", call(libc::SYS_chroot, [address(target.as_ptr()), 0, 0, 0, 0, 0]));
    tell("setuid", call(libc::SYS_setuid, [0; 6]));
    tell("setgroups", call(libc::SYS_setgroups, [0; 6]));
    tell("hostname", call(libc::SYS_sethostname, [address(target.as_ptr()), 4, 0, 0, 0, 0]));
    tell("clock", call(libc::SYS_clock_settime, [0; 6]));
    tell("reboot", call(libc::SYS_reboot, [0; 6]));
    tell("module", call(libc::SYS_init_module, [0; 6]));
    tell("bpf", call(libc::SYS_bpf, [0; 6]));
    tell("perf", call(libc::SYS_perf_event_open, [0; 6]));
    tell("realtime", call(libc::SYS_sched_setscheduler, [0, word(libc::SCHED_FIFO), 0, 0, 0, 0]));
    tell("personality", call(libc::SYS_personality, [long(libc::ADDR_NO_RANDOMIZE), 0, 0, 0, 0, 0]));
    // Of the keyring of its user: KEY_SPEC_USER_KEYRING, keyctl(2).
    tell("keyring", call(libc::SYS_keyctl, [0, word(-4), 1, 0, 0, 0]));
    let (kind, name) = (CString::from(c"user"), CString::from(c"escaped"));
    let key = [address(kind.as_ptr()), address(name.as_ptr()), address(name.as_ptr()), 1, word(-4), 0];
    tell("add-key", call(libc::SYS_add_key, key));
}

fn memory() {
    let (length, private) = (4096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let map = [0, length, word(all), word(private), word(-1), 0];
    tell("map-writable-and-executable", call(libc::SYS_mmap, map));
    let map = [0, length, word(libc::PROT_READ | libc::PROT_WRITE), word(private), word(-1), 0];
    let page = value(libc::SYS_mmap, map);
    // It must be able to do this.
    tell("own-memory", page.as_ref().map(|_| ()).map_err(|error| io::Error::from(error.kind())));
    let executable = word(libc::PROT_READ | libc::PROT_EXEC);
    tell("make-executable", call(libc::SYS_mprotect, [page.unwrap_or(0), length, executable, 0, 0, 0]));
    tell("userfaultfd", call(libc::SYS_userfaultfd, [0; 6]));
}

/// A copy of this very program, which ends at once.
fn exec_copy(place: &Path) -> io::Result<()> {
    let copy = place.join("escaped-program");
    let copied = fs::copy("/proc/self/exe", &copy).and_then(|_| {
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        run(Command::new(&copy).arg(COPY))
    });
    let _gone = fs::remove_file(&copy);
    copied
}

/// Whether a program can be started, and reaches its end in order.
fn run(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

fn call(number: libc::c_long, arguments: [libc::c_long; 6]) -> io::Result<()> {
    value(number, arguments).map(drop)
}

#[expect(unsafe_code, reason = "what is tried has no safe form")]
fn value(number: libc::c_long, [a, b, c, d, e, f]: [libc::c_long; 6]) -> io::Result<libc::c_long> {
    // SAFETY: what succeeds maps a page nobody uses, or makes a descriptor nobody uses; the pointers are of
    // strings that live longer than the call.
    let returned = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

fn tell(name: &str, outcome: io::Result<()>) {
    let line = match outcome {
        Ok(()) => format!("escape {name}: DONE"),
        Err(error) => format!("escape {name}: refused {error}"),
    };
    // Whoever reads can do without a line only if it is told so.
    writeln!(io::stdout(), "{line}").expect("tell");
    let _order = io::stdout().flush();
}

fn word(number: i32) -> libc::c_long {
    libc::c_long::from(number)
}

fn long<T: TryInto<libc::c_long>>(number: T) -> libc::c_long {
    number.try_into().unwrap_or_default()
}

fn address(pointer: *const libc::c_char) -> libc::c_long {
    pointer.expose_provenance().try_into().unwrap_or_default()
}

/// Tells a copy that it is one.
const COPY: &str = "--copy";
