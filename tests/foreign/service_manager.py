"""A service manager of a few lines: starts one program again whenever it ends, and keeps the descriptors
that it hands over (sd_notify(3), sd_listen_fds(3)).

usage: service_manager.py FOLDER PROGRAM [ARGUMENT]...

In FOLDER: `notify` is its socket; `pid` the running program; `store.json` the names of what it keeps, in
the order of their coming; `notices` what it was told. While a file `hold` is there, nothing is started.
A file `plant.json` adds descriptors that the program never handed over to the next start:
[{"name": NAME, "unix": PATH} | {"name": NAME, "tcp": true} | {"name": NAME, "pipe": true}]
"""

import array
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys

FIRST = 3


def replace(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


class Manager:
    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        self.store = []  # (name, descriptor), in order
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path("notify"))
        self.note()

    def path(self, name):
        return os.path.join(self.folder, name)

    def note(self):
        replace(self.path("store.json"), json.dumps([name for name, _ in self.store]))

    def plant(self):
        """What nobody handed over."""
        try:
            with open(self.path("plant.json")) as file:
                planted = json.load(file)
        except FileNotFoundError:
            return
        os.unlink(self.path("plant.json"))
        for plant in planted:
            if "unix" in plant:
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(plant["unix"])
                listener.listen()
                descriptor = listener.detach()
            elif "tcp" in plant:
                listener = socket.socket(socket.AF_INET)
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                descriptor = listener.detach()
            else:
                descriptor, _ = os.pipe()
            self.store.append((plant["name"], descriptor))
        self.note()

    def start(self):
        self.plant()
        kept = [descriptor for _, descriptor in self.store]
        names = ":".join(name for name, _ in self.store)

        def prepare():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            # First out of the way of the numbers they are to have.
            copies = [os.dup(descriptor) for descriptor in kept]
            high = max(copies, default=0) + FIRST + len(copies)
            copies = [os.dup2(copy, high + index) for index, copy in enumerate(copies)]
            for index, copy in enumerate(copies):
                os.dup2(copy, FIRST + index, inheritable=True)
            os.closerange(FIRST + len(copies), high + len(copies))

        handed_over = {"LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": names} if kept else {}
        # The number of the process is known to the process only.
        started = ["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"] if kept else []
        child = subprocess.Popen(
            started + self.program,
            env={**os.environ, "NOTIFY_SOCKET": self.path("notify"), **handed_over},
            close_fds=False,
            preexec_fn=prepare,
        )
        replace(self.path("pid"), str(child.pid))
        return child

    def hear(self):
        message, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 8))
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        lines = message.decode().splitlines()
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        with open(self.path("notices"), "a") as notices:
            notices.write("".join(f"{line}\n" for line in lines))
        name = said.get("FDNAME", "stored")
        if "FDSTORE" in said:
            self.store += [(name, descriptor) for descriptor in descriptors]
        if "FDSTOREREMOVE" in said:
            for _, descriptor in (kept for kept in self.store if kept[0] == name):
                os.close(descriptor)
            self.store = [kept for kept in self.store if kept[0] != name]
        self.note()

    def hear_all(self, seconds):
        while select.select([self.socket], [], [], seconds)[0]:
            self.hear()
            seconds = 0

    def run(self):
        while True:
            while os.path.exists(self.path("hold")):
                self.hear_all(0.005)
            child = self.start()
            while child.poll() is None:
                self.hear_all(0.005)
            self.hear_all(0)
            replace(self.path("pid"), "0")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Manager(sys.argv[1], sys.argv[2:]).run()


if __name__ == "__main__":
    main()
