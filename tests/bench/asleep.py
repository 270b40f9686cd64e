"""A thousand services that sleep on one node: what they hold, what they cost
while nobody comes, and how long a client of any of them waits.

Memory is that of a node in QEMU, where nobody else has any: what MemFree falls
by from none to twenty and from there to two hundred more, all that the kernel
and the daemons keep for them included, but what is given back when memory is
short (press.py). The first ones also bring what a node has once, such as the
buds of zrun; what each of the others takes, a thousand would. They start at rest
(image_after), and each is started and put to sleep by hand, one after the
other, which under TCG takes a second.

The rest is measured on this machine, by a node's programs. Idle: the CPU of
init and its daemons in a while without a client. Wakes: of services picked at
random, one after the other; the one before sleeps again first. An answer of an
awake service between them says what the machine adds by itself."""

import json
import os
import pathlib
import random
import re
import resource
import tempfile
import time

from colony import Colony
from press import free_kb
from react import host_of, p
from row import Row
from zooid.agent import AgentError
from zooid.build import test_directory
from zooid.host import free_port, free_ports
from zooid.react_host import COUNT, Client, audited

SERVICES = 1000
FIRST, MORE = 20, 200
WAKES = 200
IDLE_S = 20
DAEMONS = ["zlog", "zrun", "znet", "znode"]
DAY_MS = 24 * 3600 * 1000
AT_ONCE = 20
TAKEN_IN_S = 600
SERVICE = """\
  s%d:
    image: hub/audited:latest
    ports: ["%d:8080"]
    x-zooid: {reactive: {freeze_after: 1h, image_after: 24h}}
"""


# ---- in QEMU

def put_to_sleep(node, names):
    for i in range(0, len(names), AT_ONCE):
        node.agent.ask("exec", "/bin/busybox", "sh", "-c", "".join(
            "/bin/znode start %s && /bin/znode sleep %s || exit 1\n" %
            (name, name) for name in names[i:i + AT_ONCE]), deadline_s=600)


def rows_of(node):
    """None of them while it takes in so many."""
    try:
        return json.loads(node.agent.run("/bin/znode", "ps", "-o", "json"))
    except AgentError:
        return []


def sleep_all(node, colony, count):
    """What is free once that many of them sleep."""
    colony.apply("n1", text="name: many\nservices:\n" + "".join(
        SERVICE % (i, 10000 + i) for i in range(count)),
                 options=("--wait=0s",))
    end = time.monotonic() + TAKEN_IN_S
    while len(rows := rows_of(node)) < count or \
            any(row["state"] not in ("image", "asleep") for row in rows):
        assert time.monotonic() < end, node.log.tail()
        time.sleep(1)
    put_to_sleep(node, [row["name"] for row in rows
                        if row["state"] == "image"])
    free = free_kb(node)
    assert all(row["state"] == "asleep" for row in rows_of(node))
    return free


def asleep_memory():
    with tempfile.TemporaryDirectory(dir=test_directory()) as directory, \
            Colony(directory) as colony:
        node = colony.boot("n1", ports=[], memory_mb=512, agent=True,
                           disk=colony.disk("n1", size_mb=4096))
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.push(audited(), "audited:latest")
        none = free_kb(node)
        first = sleep_all(node, colony, FIRST)
        each = (first - sleep_all(node, colony, FIRST + MORE)) / MORE
        once = none - first - FIRST * each
    yield Row("asleep: memory of %d services" % SERVICES,
              (once + SERVICES * each) / 1024, "MB", bound=40)
    yield Row("asleep: memory of one more", each, "KB")


# ---- on this machine

def namespaces():
    """Network namespaces of this machine as the kernel's allocator has them,
    some too many: it counts all of what a processor has put by."""
    return int(re.search(r"^net_namespace +(\d+)", pathlib.Path(
        "/proc/slabinfo").read_text(), re.M)[1])


def cpu_s(pids):
    return sum(int(pathlib.Path("/proc/%d/schedstat" % pid).read_text()
                   .split()[0]) for pid in pids) / 1e9


class Many:
    """All of them, and an awake one; each was started by a client and fell
    asleep."""

    def __init__(self, host, awake):
        self.host = host
        self.ports = free_ports(SERVICES)
        self.awake = awake
        host.apply(host.service("awake", awake))
        host.wait_row("awake", state="running")
        self.first_byte_ms()
        self.namespaces = namespaces()
        host.apply(host.service("awake", awake), *[
            host.service("s%d" % i, port, reactive={
                "freeze_after_ms": 100, "sleep_after_ms": 100,
                "image_after_ms": DAY_MS})
            for i, port in enumerate(self.ports)])
        host.wait_row("s%d" % (SERVICES - 1), state="image", rests=True)
        for i in range(SERVICES):
            self.first_byte_ms(i)
            if i % AT_ONCE == AT_ONCE - 1:
                self.wait_asleep(i)
        for i in range(SERVICES):
            self.wait_asleep(i)

    def first_byte_ms(self, i=None):
        """From connect(); of the awake one without i."""
        start = time.perf_counter_ns()
        client = Client(self.awake if i is None else self.ports[i])
        client.ask(COUNT)
        took = (time.perf_counter_ns() - start) / 1e6
        client.close()
        return took

    def wait_asleep(self, i):
        """As zrun has noted; then all others know within a moment."""
        state = self.host.run / "zrun" / \
            (self.host.name("s%d" % i) + "-1") / "state.json"
        end = time.monotonic() + 60
        while '"sleep":2' not in state.read_text():
            assert time.monotonic() < end, self.host.said()[-2000:]
            time.sleep(0.01)
        time.sleep(0.05)


def asleep_many():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    awake = free_port()
    with host_of() as (host, _):
        many = Many(host, awake)
        pids = [host.process.pid] + [host.pid(name) for name in DAEMONS]
        time.sleep(5)
        spaces = namespaces() - many.namespaces
        before = cpu_s(pids)
        time.sleep(IDLE_S)
        idle = (cpu_s(pids) - before) / IDLE_S
        took, plain = [], []
        for i in random.Random(1).sample(range(SERVICES), WAKES):
            took.append(many.first_byte_ms(i))
            many.wait_asleep(i)
            plain.append(many.first_byte_ms())
    yield Row("asleep: idle CPU of %d, of a core" % SERVICES, 100 * idle, "%",
              bound=0.5)
    yield Row("asleep: network namespaces of %d" % SERVICES, spaces, "",
              bound=SERVICES / 50)
    yield Row("asleep: one of %d to first byte, p50" % SERVICES, p(took, 0.5),
              "ms", bound=35)
    noise = p(plain, 0.99)
    yield Row("asleep: one of %d to first byte, p99" % SERVICES,
              p(took, 0.99), "ms", bound=70 + noise)
    yield Row("asleep: an awake one meanwhile, p99", noise, "ms")


GROUPS = [asleep_many, asleep_memory]
