#!/usr/bin/python3
"""A thousand real agents against a real hub, both as they are released.

Each agent is a zagent process with directories of its own and no znode; it
enrols, connects and stays. As a program: agentsim.py [N]."""

import contextlib
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/system"), str(TOP / "tests/system/hub")]

from agent import Agent  # noqa: E402
from hub import Hub  # noqa: E402
from zooid import process  # noqa: E402
from zooid.build import product  # noqa: E402

AT_ONCE = 40  # agents that may be starting
WAIT_S = 300
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")  # version 1


class Cgroup:
    """The memory of one process and of the kernel on its behalf: what its
    pages, its sockets and all that belongs to them take."""

    def __init__(self):
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        if not re.search(r"^\S+ %s cgroup " % MEMORY, mounts, re.M):
            raise OSError("%s: no cgroup memory controller" % MEMORY)
        self.path = MEMORY / ("zooid-bench-%d" % os.getpid())
        self.path.mkdir()

    def run_in(self, program):
        """A wrapper that starts program here."""
        return ["/bin/sh", "-c", 'echo $$ >%s/cgroup.procs; exec "$0" "$@"' %
                self.path, program]

    def bytes(self):
        stat = dict(line.split() for line in
                    (self.path / "memory.stat").read_text().splitlines())
        kernel = (self.path / "memory.kmem.usage_in_bytes").read_text()
        return int(stat["rss"]) + int(kernel)

    def close(self):
        self.path.rmdir()


class Colony:
    """A hub in a cgroup, and agents that are connected to it."""

    def __init__(self, directory, cgroup):
        self.directory = pathlib.Path(directory)
        self.hub = Hub(self.directory / "hub", product("x86_64", "bin/zhub"))
        self.cgroup = cgroup
        self.agents = []
        self.asker = None

    def start_hub(self):
        log = open(self.hub.log, "ab")
        with log:
            self.hub.process = process.start(
                self.cgroup.run_in(self.hub.program) +
                ["serve", "--dir", str(self.hub.directory)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait(lambda: "ready on" in self.hub.said())

    def wait(self, what):
        end = time.monotonic() + WAIT_S
        while not what():
            if time.monotonic() > end:
                raise TimeoutError(self.hub.said()[-2000:])
            select.select([], [], [], 0.05)

    def metric(self, name):
        """Over one connection: a handshake for each would be measured too."""
        if not self.asker:
            self.asker = self.hub.operator.connect()
        try:
            self.asker.request("GET", "/metrics")
            text = self.asker.getresponse().read().decode()
        except OSError:  # the hub was killed
            self.asker = None
            return self.metric(name)
        return int(re.search(r"^zooid_hub_%s (\d+)" % re.escape(name), text,
                             re.M)[1])

    def connected(self):
        return self.metric('nodes{state="ready"}')

    def start_agents(self, n):
        token = self.hub.token("--uses", str(n))
        (self.directory / "agents").mkdir()
        for i in range(n):
            agent = Agent(self.directory / "agents", token, "n%d" % i,
                          znode=False, program=product("x86_64", "bin/zagent"))
            with open(agent.log, "ab") as log:
                agent.process = process.start(
                    [agent.program], env=agent.environment,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.agents.append(agent)
            if i % 10 == 0:
                self.wait(lambda: i - self.connected() < AT_ONCE)
        self.wait(lambda: self.connected() == n)

    def restart_hub(self):
        """Killed and started; the seconds until the first and until the last
        agent is back."""
        self.hub.kill()
        seen = len(self.hub.said())
        began = time.monotonic()
        self.start_hub()
        self.wait(lambda: "ready on" in self.hub.said()[seen:])
        ready = time.monotonic() - began
        self.wait(lambda: self.connected() == len(self.agents))
        return ready, time.monotonic() - began

    def cpu_seconds(self):
        path = pathlib.Path("/proc/%d/schedstat" % self.hub.process.pid)
        return int(path.read_text().split()[0]) / 1e9

    def close(self):
        for agent in self.agents:
            process.end(agent.process)
        if self.hub.process:
            process.end(self.hub.process)


def measure(n):
    """All that is to be known of n agents."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        cgroup = stack.enter_context(contextlib.closing(Cgroup()))
        colony = stack.enter_context(
            contextlib.closing(Colony(directory, cgroup)))
        colony.start_hub()
        colony.connected()  # what the first request costs is not of agents
        found = {"n": n, "empty_bytes": cgroup.bytes()}
        began, used = time.monotonic(), colony.cpu_seconds()
        colony.start_agents(n)
        found["enrol_s"] = time.monotonic() - began
        found["enrol_cpu_ms"] = (colony.cpu_seconds() - used) * 1000 / n
        # The notes of the last second are written, buffers given back.
        select.select([], [], [], 3)
        found["bytes_each"] = (cgroup.bytes() - found["empty_bytes"]) / n
        found["rss_kb"] = colony.hub.rss_kb()
        _, found["back_s"] = colony.restart_hub()
        found["back_cpu_s"] = colony.cpu_seconds()
        for kind in ("full", "resumed"):
            found["back_" + kind] = colony.metric(
                'handshakes_total{kind="%s"}' % kind)
        select.select([], [], [], 3)
        found["bytes_each_after"] = (
            cgroup.bytes() - found["empty_bytes"]) / n
        return found


if __name__ == "__main__":
    for name, value in measure(int((sys.argv + ["1000"])[1])).items():
        print("%-18s %.2f" % (name, value))
