"""Hands inside a node (agent.c), and what their output means."""

import re
import struct

from . import cpio
from .build import product


class AgentError(Exception):
    """The node refused what the agent tried."""


class Agent:
    def __init__(self, sock):
        self._sock = sock
        sock.settimeout(60)
        greeting = self._receive(12)
        if greeting != b"zooid-agent\n":
            raise AgentError("unexpected greeting: %r" % greeting)

    def _receive(self, size):
        data = b""
        while len(data) < size:
            part = self._sock.recv(size - len(data))
            if not part:
                raise AgentError("the agent has gone")
            data += part
        return data

    def ask(self, *words, deadline_s=60):
        self._sock.settimeout(deadline_s)
        data = b"".join(str(w).encode() + b"\0" for w in words)
        self._sock.sendall(struct.pack("<I", len(data)) + data)
        size, = struct.unpack("<I", self._receive(4))
        state, output = self._receive(size).split(b"\0", 1)
        if state != b"ok":
            raise AgentError("%s: %s" % (
                " ".join(map(str, words))[:80],
                output.decode(errors="replace")))
        return output

    def read(self, path):
        return self.ask("read", path).decode(errors="replace")

    def write(self, path, text):
        self.ask("write", path, text)

    def run(self, *argv):
        return self.ask("exec", *argv).decode(errors="replace")

    def kill(self, pid, signal=9):
        self.ask("kill", pid, int(signal))

    def close(self):
        self._sock.close()

    # What the files of a node say.

    def time(self):
        """What the node's clock says, in seconds since 1970."""
        return int(self.ask("time"))

    def processes(self):
        """The number of processes, zombies included."""
        return sum(name.isdigit() for name in
                   self.ask("list", "/proc").decode().split())

    def memory_kb(self):
        """{name: kB} of /proc/meminfo."""
        return {m[1]: int(m[2]) for m in re.finditer(
            r"^(\w+):\s+(\d+) kB", self.read("/proc/meminfo"), re.MULTILINE)}

    def start_ticks(self, pid):
        """Start time of a process: field 22 of /proc/PID/stat."""
        return int(self.read("/proc/%d/stat" % pid).rsplit(")", 1)[1]
                   .split()[19])

    def pids_of(self, cgroup):
        """Processes directly in a cgroup beneath /sys/fs/cgroup."""
        text = self.read("/sys/fs/cgroup/%s/cgroup.procs" % cgroup)
        return [int(line) for line in text.split()]


# Programs of services.
PROGRAM = {name: "/bin/" + name for name in ("zlog", "zrun", "znode", "znet")}


def boot_archive(arch):
    """The cpio that puts the agent before the real init (README.md)."""
    return cpio.archive({
        "test": None,
        "test/init": product(arch, "bin/init"),
        "init": product(arch, "tests/agent", "bin/agent"),
    })
