"""Services under `init --supervise` on this machine, with the sanitizers in
them: what the tests of one daemon alone share."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

from . import BUILD, process

# build/x86_64/bin: without the sanitizers, as on a node.
BIN = pathlib.Path(os.environ.get("ZOOID_BIN", BUILD / "host/bin"))
DEADLINE_S = 30


def free_port():
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def free_ports(count):
    """As many different ones, TCP."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(socket.AF_INET6))
                 for _ in range(count)]
        for sock in socks:
            sock.bind(("::", 0))
        return [sock.getsockname()[1] for sock in socks]


@contextlib.contextmanager
def directory():
    """Not tmp_path, which a daemon's own user may not enter."""
    with tempfile.TemporaryDirectory(prefix="zooid-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


class Supervised:
    def __init__(self, path, **env):
        self.path, self.run = path, path / "run"
        self.run.mkdir(exist_ok=True)
        self.env = {**os.environ, "ZOOID_RUN": str(self.run),
                    "ASAN_OPTIONS": "detect_leaks=0",
                    **{name: str(value) for name, value in env.items()}}
        self.errors = path / "stderr"
        self.process = None
        self.prefix = []  # a command that runs init somewhere else

    def supervise(self, *services):
        """Starts init with these lines of its table; returns when all of it is
        ready."""
        table = self.path / "services"
        table.write_text("\n".join(services) + "\n")
        ready = self.said().count("init: ready")
        with open(self.errors, "ab") as errors:
            self.process = process.start(
                [*self.prefix, BIN / "init", "--supervise", "--services",
                 table],
                env=self.env, stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors)
        self.wait(lambda: self.said().count("init: ready") > ready)

    def said(self):
        return self.errors.read_text(errors="replace") \
            if self.errors.exists() else ""

    def wait(self, ready):
        end = time.monotonic() + DEADLINE_S
        while not ready():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()

    def pid(self, service):
        """None while it does not run."""
        done = subprocess.run([BIN / "init", "status"], env=self.env,
                              text=True, capture_output=True, timeout=30)
        row = re.search(r"^%s +\S+ +(\d+) " % service, done.stdout, re.M)
        return int(row[1]) if row else None

    def kill(self, *services):
        """SIGKILL, of several at the same moment; returns when init has new
        ones ready."""
        lines = ["init: %s: ready" % service for service in services]
        ready = [self.said().count(line) for line in lines]
        pids = [self.pid(service) for service in services]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        self.wait(lambda: all(self.said().count(line) > n
                              for line, n in zip(lines, ready)))

    def stop(self):
        """As a power-off: nothing runs any more, what was written is kept."""
        process.end(self.process, term_s=20)
        assert self.process.returncode == 0, self.said()
        self.process = None

    def close(self):
        if self.process:
            process.end(self.process, term_s=20)
        assert "Sanitizer" not in self.said(), self.said()
        assert "runtime error" not in self.said(), self.said()
