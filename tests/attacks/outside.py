"""What a hostile client does with descriptors and credentials: `outside.py SOCKET WHAT`. A line on standard
output tells that it has done it; a line on standard input lets it go on."""

import array
import ctypes
import os
import socket
import struct
import sys

REQUEST = b"GET /v1/resolve HTTP/1.1\r\nHost: x\r\n\r\n"
LIBC = ctypes.CDLL(None, use_errno=True)


def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    stream.connect(sys.argv[1])
    return stream


def ask(stream):
    """The status of an answer; "closed" when there is none."""
    try:
        stream.sendall(REQUEST)
        return stream.recv(1 << 20)[9:12].decode() or "closed"
    except (BrokenPipeError, ConnectionResetError):
        return "closed"


def say(*words):
    print(*words, flush=True)


def wait():
    sys.stdin.readline()


def flood_descriptors():
    """As many as one message takes, again and again, between and within requests."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(253)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", held))]
    sent = 0
    for _ in range(200):
        stream = connect()
        try:
            for byte in REQUEST:
                stream.sendmsg([bytes([byte])], rights)
                sent += len(held)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        stream.close()
    say(sent)
    kept = connect()
    kept.sendmsg([REQUEST[:-2]], rights)
    wait()
    kept.sendall(REQUEST[-2:])
    say(kept.recv(1 << 20)[9:12].decode())


def flood_credentials():
    stream = connect()
    own = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
    for byte in REQUEST * 50:
        stream.sendmsg([bytes([byte])], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, own)])
    say(stream.recv(1 << 20)[9:12].decode())


def delegate():
    """Hands a connected descriptor to another process, which uses it in another sandbox."""
    near, far = socket.socketpair()
    if os.fork() == 0:
        near.close()
        LIBC.unshare(0x10000000 | 0x00020000)  # user and mount namespaces of its own
        _, (received,), _, _ = socket.recv_fds(far, 1, 1)
        stream = socket.socket(fileno=received)
        stream.settimeout(30)
        say(ask(stream))
        wait()
        say(ask(stream))
        os._exit(0)
    stream = connect()
    socket.send_fds(near, [b"x"], [stream.fileno()])
    stream.close()
    os.wait()


def exit_after_connecting():
    """The process whose credentials the connection has is gone before the first byte is sent."""
    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        stream = connect()
        socket.send_fds(far, [b"x"], [stream.fileno()])
        os._exit(0)
    far.close()
    _, (received,), _, _ = socket.recv_fds(near, 1, 1)
    os.waitpid(child, 0)
    stream = socket.socket(fileno=received)
    stream.settimeout(30)
    say(ask(stream))


def just_ask():
    try:
        say(ask(connect()))
    except PermissionError:
        say("denied")


globals()[sys.argv[2]]()
