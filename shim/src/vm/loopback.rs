//! The loopback interface, which exists from the start and is down: 127.0.0.1 answers nobody until the first
//! process brings it up. The kernel gives it its addresses by itself.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

/// Brings it up, if it is not.
pub(super) fn bring_up() -> Result<(), Errno> {
    let (flags, protocol) = (SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
    let kernel = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    socket::send(kernel.as_raw_fd(), &request(), MsgFlags::empty())?;
    // The kernel answers before `send` returns.
    let mut answer = [0; 256];
    let length = socket::recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    outcome(answer.get(..length).unwrap_or_default())
}

/// A change of one flag of one interface: rtnetlink(7), RTM_NEWLINK, in the machine's own byte order.
fn request() -> [u8; 32] {
    let mut message = [0; 32];
    let fields: [(usize, &[u8]); 7] = [
        // struct nlmsghdr: length, type, flags; sequence number and sender stay 0.
        (0, &32_u32.to_ne_bytes()),
        (4, &RTM_NEWLINK.to_ne_bytes()),
        (6, &(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes()),
        (8, &SEQUENCE.to_ne_bytes()),
        // struct ifinfomsg: family and type stay 0; index, flags, which of them to change.
        (20, &LOOPBACK.to_ne_bytes()),
        (24, &IFF_UP.to_ne_bytes()),
        (28, &IFF_UP.to_ne_bytes()),
    ];
    for (at, bytes) in fields {
        for (to, from) in message.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
    message
}

/// What the kernel says of a request: struct nlmsgerr, with 0 or an error behind the header.
fn outcome(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(Errno::from_raw(error.saturating_neg())),
        _ => Err(Errno::EBADMSG),
    }
}

/// Of all interfaces it is the first that is made, in every network namespace.
const LOOPBACK: i32 = 1;
const SEQUENCE: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn a_fresh_loopback_interface_is_up_afterwards() {
        // A thread of its own, in a network of its own, which ends with it.
        let address = thread::spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNET).is_err() {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).unwrap();
            }
            let state = || fs::read_to_string("/proc/thread-self/net/fib_trie").unwrap();
            assert!(!state().contains("127.0.0.1"));
            bring_up().unwrap();
            bring_up().unwrap();
            state()
        });
        assert!(address.join().unwrap().contains("127.0.0.1"));
    }

    #[test]
    fn a_refusal_of_the_kernel_is_told() {
        let mut answer = request();
        assert_eq!(outcome(&answer), Err(Errno::EBADMSG));
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(outcome(&answer), Err(Errno::EPERM));
        answer[16..20].copy_from_slice(&0_i32.to_ne_bytes());
        assert_eq!(outcome(&answer), Ok(()));
        assert_eq!(outcome(&answer[..19]), Err(Errno::EBADMSG));
        assert_eq!(outcome(&[]), Err(Errno::EBADMSG));
    }
}
