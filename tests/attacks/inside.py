"""What code in a sandbox may try with the folder of its socket: `inside.py ATTEMPT...` prints what came of each."""

import ctypes
import errno
import json
import os
import socket
import sys

FOLDER = "/run/miosa"
SOCKET = FOLDER + "/miosa.sock"
REMOUNT, BIND = 32, 4096
LIBC = ctypes.CDLL(None, use_errno=True)


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()


def replace_with(make):
    make(FOLDER + "/mine")
    os.rename(FOLDER + "/mine", SOCKET)


def call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "refused")


def mount(source, target, kind, flags):
    call(LIBC.mount, source.encode(), target.encode(), kind.encode(), flags, None)


def remount_elsewhere():
    os.makedirs("/tmp/elsewhere", exist_ok=True)
    mount(FOLDER, "/tmp/elsewhere", "", BIND)
    mount("", "/tmp/elsewhere", "", REMOUNT | BIND)


def from_outside(path="/tmp/mine"):
    if not os.path.lexists(path):
        listen(path)
    os.rename(path, SOCKET)


ATTEMPTS = {
    "unlink": lambda: os.unlink(SOCKET),
    "rename_over": lambda: replace_with(listen),
    "rename_over_from_outside": from_outside,
    "rename_away": lambda: os.rename(SOCKET, FOLDER + "/away"),
    "bind_beside": lambda: listen(FOLDER + "/beside"),
    "chmod": lambda: os.chmod(SOCKET, 0o600),
    "chmod_folder": lambda: os.chmod(FOLDER, 0o777),
    "chown": lambda: os.chown(SOCKET, 1000, 1000),
    "chown_folder": lambda: os.chown(FOLDER, 1000, 1000),
    "hard_link": lambda: os.link(SOCKET, FOLDER + "/second"),
    "hard_link_outside": lambda: os.link(SOCKET, "/tmp/second"),
    "symlink": lambda: replace_with(lambda path: os.symlink("../../admin.sock", path)),
    "symlink_beside": lambda: os.symlink("/var/run/docker.sock", FOLDER + "/docker.sock"),
    "file": lambda: open(FOLDER + "/file", "x").close(),
    "fifo": lambda: os.mkfifo(FOLDER + "/fifo"),
    "folder": lambda: os.mkdir(FOLDER + "/folder"),
    "unnamed_file": lambda: os.close(os.open(FOLDER, os.O_TMPFILE | os.O_WRONLY)),
    "times": lambda: os.utime(SOCKET, (0, 0)),
    "attribute": lambda: os.setxattr(FOLDER, "user.mine", b"1"),
    "remount": lambda: mount("", FOLDER, "", REMOUNT | BIND),
    "remount_elsewhere": remount_elsewhere,
    "unmount": lambda: call(LIBC.umount2, FOLDER.encode(), 0),
    "unmount_lazily": lambda: call(LIBC.umount2, FOLDER.encode(), 2),
    "overmount": lambda: mount("tmpfs", FOLDER, "tmpfs", 0),
}


def attempt(name):
    try:
        ATTEMPTS[name]()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


print(json.dumps({name: attempt(name) for name in sys.argv[1:] or ATTEMPTS}))
