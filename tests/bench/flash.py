#!/usr/bin/python3
"""A flash crowd on a service that is image only; and what the first client of
one waits for, beside those who begin cold too: a gateway that has crun run a
container for the request (as FastContainer does), and a process that gets the
listening socket when somebody knocks (as inetd and systemd do).

    unshare --mount tests/bench/flash.py        prints the cold ones as JSON

The same program answers in all three, and they are asked in turns. crun wants
a pure cgroup v2 tree, so that is done in a mount namespace of its own."""

import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/system"))

from react import first_byte_ms, host_of, p  # noqa: E402
from row import Row  # noqa: E402
from zooid.build import BUILD, product  # noqa: E402
from zooid.host import DEADLINE_S, free_port  # noqa: E402
from zooid.load import Load  # noqa: E402

ROUNDS = 30
RATE, SECONDS, WORK_US = 1000, 4, 10000
SETTLED_S = 0.25
CRUN = BUILD / "host/pkg/crun/bin/crun"
AUDITED = product(os.uname().machine, "tests/audited")


class Gateway:
    """Answers one client after the other, each by a container that is made
    for him and removed after him."""

    def __init__(self, path):
        self.path, self.inside = path, free_port()
        self.idle = threading.Event()
        (path / "rootfs/bin").mkdir(parents=True)
        for name in ("proc", "sys", "dev"):
            (path / "rootfs" / name).mkdir()
        shutil.copy(AUDITED, path / "rootfs/bin/audited")
        self._crun("spec")
        config = json.loads((path / "config.json").read_text())
        config["process"].update(terminal=False, args=[
            "/bin/audited", str(self.inside)])
        config["linux"]["namespaces"] = [
            {"type": name} for name in "pid ipc uts cgroup mount".split()]
        (path / "config.json").write_text(json.dumps(config))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _crun(self, *words):
        # Where a process is in the cgroup of the bench crun would try for
        # seconds to make one below: it is spared that, and makes none.
        subprocess.run([CRUN, "--cgroup-manager", "disabled", "--root",
                        self.path / "state", *words],
                       cwd=self.path, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def _inside(self):
        """It listens as soon as it does."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.inside))
            except ConnectionRefusedError:
                assert time.monotonic() < end

    def _serve(self):
        while True:
            client, _ = self.listener.accept()
            self._crun("run", "--detach", "flash")
            with client, self._inside() as inside:
                lead(client, inside)
            self._crun("delete", "--force", "flash")
            self.idle.set()


def lead(client, inside):
    """Until the client has gone."""
    other = {client: inside, inside: client}
    while True:
        for one in select.select([client, inside], [], [])[0]:
            data = one.recv(4096)
            if not data:
                return
            other[one].sendall(data)


class Activated:
    """A process gets the socket when a client waits in its queue."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.idle, self.done = threading.Event(), threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            select.select([self.listener], [], [])
            with subprocess.Popen([AUDITED, "-"], stdin=self.listener,
                                  stdout=subprocess.DEVNULL) as process:
                self.done.wait(DEADLINE_S)
                process.kill()
            self.done.clear()
            self.idle.set()


def cold():
    """[ms] of each kind, taken in turns."""
    took = {"ours": [], "crun": [], "socket": []}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path, \
            host_of(reactive={"image_after_ms": 100}) as (host, port):
        gateway, activated = Gateway(pathlib.Path(path)), Activated()
        for _ in range(ROUNDS):
            host.wait_row("web", state="image", rests=True)
            took["ours"].append(first_byte_ms(port))
            took["crun"].append(first_byte_ms(gateway.port))
            assert gateway.idle.wait(DEADLINE_S)
            gateway.idle.clear()
            took["socket"].append(first_byte_ms(activated.port))
            activated.done.set()
            assert activated.idle.wait(DEADLINE_S)
            activated.idle.clear()
    return took


def flash_cold():
    took = json.loads(subprocess.run(
        ["unshare", "--mount", "--propagation", "private", __file__],
        check=True, stdout=subprocess.PIPE).stdout)
    ours, crun, activated = (p(took[name], 0.5)
                             for name in ("ours", "crun", "socket"))
    yield Row("flash: image only to first byte, p50", ours, "ms", 5)
    yield Row("flash: a cold crun run, p50", crun, "ms", None, crun / ours,
              "ours")
    yield Row("flash: socket activation, p50", activated, "ms", None,
              activated / ours, "ours")


def flash_crowd():
    """Each request takes the service 10 ms, so one instance has ten at a
    time."""
    with host_of(reactive={"image_after_ms": 60000, "concurrency": 4,
                           "max": 4}) as (host, port):
        host.wait_row("web", state="image", rests=True)
        load = Load(port, RATE, SECONDS, work_us=WORK_US)
        load.run()
        extras = host.row("web")["extras"]
    yield Row("flash: errors of %d requests" % len(load.numbers),
              len(load.errors), "", 0)
    yield Row("flash: 0 to 1,000/s, p50", load.p(0.5) * 1e3, "ms")
    yield Row("flash: p99 of the first 250 ms", sorted(
        load.latency_s[n] for n in load.numbers[:int(RATE * SETTLED_S)]
        if n in load.latency_s)[-3] * 1e3, "ms")
    yield Row("flash: p99 after that", load.p(0.99, SETTLED_S) * 1e3, "ms",
              100)
    yield Row("flash: instances at its end", 1 + extras, "")


GROUPS = [flash_cold, flash_crowd]

if __name__ == "__main__":
    subprocess.run("umount -l /sys/fs/cgroup;"
                   " mount -t cgroup2 none /sys/fs/cgroup", shell=True,
                   check=True)
    print(json.dumps(cold()))
