"""What it costs that a service follows access: with a frozen one the time to
the first byte, with an awake one the time that is added on the way in. Direct
requests, from within the container's own network namespace, are interleaved."""

import contextlib
import errno
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/system"))

from row import Row  # noqa: E402
from zooid import Node, medium, messages, mount  # noqa: E402
from zooid.build import BUILD, test_directory  # noqa: E402
from zooid.host import directory, free_port  # noqa: E402
from zooid.net_host import Net  # noqa: E402
from zooid.react_host import (  # noqa: E402
    COUNT, FILL, PORT, Client, ReactHost, audited)
from zooid.site import Site  # noqa: E402

ROUNDS, AWAKE, STARTS = 400, 4000, 60
PAUSE_S = 0.005
RECLAIMS = 30
SITES = 5
DISK_MB = 8192
ZNODE_FREEZE = 9


@contextlib.contextmanager
def reacting():
    """A host with the file systems of a node: /run in memory, /data a btrfs.
    Each file that the machine's own frees might cost it a discard."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(directory())
        organism = stack.enter_context(tempfile.TemporaryDirectory())
        for name in ("run", "data"):
            (path / name).mkdir()
        stack.enter_context(mount.tmpfs(path / "run"))
        stack.enter_context(mount.btrfs(path / "disk", DISK_MB,
                                        path / "data"))
        host = ReactHost(path, pathlib.Path(organism) / "organism",
                         BUILD / os.uname().machine / "bin")
        stack.callback(host.close)
        yield host


@contextlib.contextmanager
def service(**changes):
    """(host, its row, a client through znet, one inside)"""
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(reacting())
        port = free_port()
        host.apply(host.service("web", port, **changes))
        row = host.wait_row("web", state="running")
        inside = Net(row["pid"])
        with inside.entered():
            direct = Client(PORT)
        yield host, row, Client(port), direct


def us(ask):
    start = time.perf_counter_ns()
    ask(COUNT)
    return (time.perf_counter_ns() - start) / 1000


def p(values, part):
    return sorted(values)[int(len(values) * part)]


class Hand:
    """Freezes by hand, on one connection, and waits until the kernel has: each
    process stands still, and for a while."""

    def __init__(self, host, row):
        self.sock, self.name = host.connect(), row["name"].encode()
        self.events = host.run / "cgroups" / row["container"] / \
            "cgroup.events"

    def freeze(self):
        """Again while it is still known of a request that it had."""
        error = -errno.EBUSY
        while error == -errno.EBUSY:
            self.sock.send(messages.ZNODE_REQUEST.pack(
                messages.ZNODE_REQUEST.size, ZNODE_FREEZE, 0, 0, self.name))
            error = messages.ZNODE_REPLY.unpack(
                self.sock.recv(messages.ZNODE_REPLY.size))[2]
        assert error == 0, error
        while "frozen 1" not in self.events.read_text():
            pass
        time.sleep(PAUSE_S)


def react_frozen():
    with service(reactive={"freeze_after_ms": 600000}) as \
            (host, row, client, direct):
        hand = Hand(host, row)
        woken, plain = [], []
        for _ in range(ROUNDS):
            hand.freeze()
            woken.append(us(client.ask))
            plain.append(us(direct.ask))
    yield Row("react: frozen to first byte, p50", p(woken, 0.5), "us",
              bound=500)
    least = 2 * p(plain, 0.99) + 1000
    yield Row("react: frozen to first byte, p99", p(woken, 0.99), "us",
              bound=least)
    yield Row("react: the same direct, p99", p(plain, 0.99), "us")


def waits(pid):
    """How often the process has gone to sleep by itself."""
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status,
                         re.M)[1])


def react_awake():
    """Against no znet at all, and against znet without the reactor. What is
    added is znet's being woken, for the request and for its answer: 5 us each
    on the core of who wakes it, some 25 us on another one of a virtual machine,
    busy or not; unless it waits for them awake, as when events come fast. So the
    wake-ups are counted too: a third one would be too many.
    """
    reactive = {"freeze_after_ms": 600000}
    with service(reactive=reactive) as (host, row, client, direct):
        port = free_port()
        host.apply(host.service("web", row["ports"][0]["host"],
                                reactive=reactive),
                   host.service("plain", port))
        host.wait_row("plain", state="running")
        asks = [client.ask, direct.ask, Client(port).ask]
        times = [[] for _ in asks]
        znet = host.pid("znet")
        before = waits(znet)
        for _ in range(AWAKE):
            for ask, took in zip(asks, times):
                took.append(us(ask))
        woken = (waits(znet) - before) / (2 * AWAKE)
    reactive, direct, plain = map(statistics.median, times)
    yield Row("react: added when awake, p50", reactive - direct, "us",
              bound=30)
    yield Row("react: of that by the reactor", reactive - plain, "us",
              bound=30)
    yield Row("react: wake-ups of znet for a request", woken, "", bound=2.1)


@contextlib.contextmanager
def host_of(**changes):
    """(host, the port of its service "web")"""
    with reacting() as host:
        port = free_port()
        host.apply(host.service("web", port, **changes))
        yield host, port


def first_byte_ms(port):
    """From connect() of the first client."""
    start = time.perf_counter_ns()
    client = Client(port)
    client.ask(COUNT)
    took = (time.perf_counter_ns() - start) / 1e6
    client.close()
    return took


def pss_kb(container):
    """What the processes of a container use, shares counted in part."""
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if container in (process / "cgroup").read_text():
                total += int(re.search(r"^Pss:\s+(\d+)", (
                    process / "smaps_rollup").read_text(), re.M)[1])
        except OSError:
            continue  # it has ended
    return total


def react_asleep():
    """Its checkpoint lies in the file system, with what that caches of it."""
    took = []
    with host_of(reactive={"freeze_after_ms": 100,
                           "sleep_after_ms": 100}) as (host, port):
        client = Client(port)
        client.ask(COUNT)  # open, it does not let it fall asleep
        container = host.wait_alive("web")["container"]
        awake = pss_kb(container)
        client.close()
        for _ in range(STARTS):
            host.wait_row("web", state="asleep")
            asleep = pss_kb(container)
            took.append(first_byte_ms(port))
    yield Row("react: asleep to first byte, p50", p(took, 0.5), "ms",
              bound=35)
    yield Row("react: asleep to first byte, p99", p(took, 0.99), "ms",
              bound=70)
    yield Row("react: memory of its processes kept asleep",
              100 * asleep / awake, "%", bound=5)


def react_image():
    took = []
    with host_of(reactive={"image_after_ms": 100}) as (host, port):
        for _ in range(STARTS):
            host.wait_row("web", state="image", rests=True)
            took.append(first_byte_ms(port))
    yield Row("react: image only to first byte, p50", p(took, 0.5), "ms",
              bound=5)
    yield Row("react: image only to first byte, p99", p(took, 0.99), "ms")


def react_restored():
    """Of one that takes half a second to warm."""
    took = []
    with host_of(environment={"WARM_MS": "500"},
                 reactive={"image_after_ms": 100,
                           "checkpoint": "listen"}) as (host, port):
        host.wait_row("web", state="image", rests=True)
        cold = first_byte_ms(port)
        for _ in range(STARTS):
            host.wait_row("web", state="image", rests=True)
            took.append(first_byte_ms(port))
    yield Row("react: image only to first byte, warm, p50", p(took, 0.5), "ms",
              0.1, p(took, 0.5) / cold, "the first, which warms")
    yield Row("react: image only to first byte, warm, p99", p(took, 0.99),
              "ms", bound=70)


def react_wordpress():
    """Its cold start is that of the application: MariaDB, on a volume that
    has the site, then PHP. That of PHP's service beside a MariaDB that runs is
    told too, and what a page takes of one that is awake."""
    cold, alone, asleep, awake = [], [], [], []
    with reacting() as host:
        site = Site(host)
        for _ in range(SITES):
            cold.append(site.cold_ms())
            alone.append(site.cold_alone_ms())
            asleep.append(site.asleep_ms())
            awake.append(site.page_ms())
    yield Row("react: WordPress cold to first page, p50", p(cold, 0.5), "ms")
    yield Row("react: WordPress (PHP) asleep to first page, p50",
              p(asleep, 0.5), "ms", 0.1, p(asleep, 0.5) / p(cold, 0.5),
              "cold")
    yield Row("react: the same, to PHP's own cold start", p(asleep, 0.5),
              "ms", None, p(asleep, 0.5) / p(alone, 0.5),
              "cold beside MariaDB, %.0f ms" % p(alone, 0.5))
    yield Row("react: a page of WordPress awake, p50", p(awake, 0.5), "ms")


class Guest:
    """A node of ours in QEMU: this machine's cgroups have no memory
    controller."""

    def __init__(self, node):
        self.node = node
        self.group = "/run/zooid/cgroups/%s/" % json.loads(
            node.agent.run("/bin/znode", "ps", "-o", "json"))[0]["container"]

    def anon(self):
        return int(self.node.agent.read(
            self.group + "memory.stat").split(None, 2)[1])

    def freeze(self):
        """And until nothing more is pushed out."""
        self.node.agent.run("/bin/znode", "freeze", "web")
        last = None
        while True:
            now = (self.anon(), self.node.agent.read(
                self.group + "memory.swap.max").strip())
            if now == last and now[1] == "0":
                return
            last = now
            time.sleep(0.1)


def react_reclaimed():
    """Under TCG, so a ratio to what the same request takes there of one that
    is awake."""
    path = test_directory() / "bench-reclaim.img"
    disk = medium.web(path, audited(), text=medium.node_json(medium.web_app(
        ports=["%d:%d" % (medium.WEB_PORT, PORT)])))
    woken, awake, left = [], [], []
    with Node("bench-reclaim", disks=[disk], ports=[medium.WEB_PORT],
              agent=True) as node:
        node.wait_ready()
        node.wait_console("ps", r"^web .*running")
        client, guest = Client(node.port(medium.WEB_PORT)), Guest(node)
        client.ask(FILL, arg=24)
        before = guest.anon()
        for _ in range(RECLAIMS):
            guest.freeze()
            left.append(guest.anon())
            woken.append(us(client.ask))
            awake.append(us(client.ask))
    path.unlink()
    yield Row("react: frozen and reclaimed, memory returned",
              100 * (1 - max(left) / before), "%")
    yield Row("react: frozen and reclaimed to first byte, p50, TCG",
              p(woken, 0.5), "us", None, p(woken, 0.5) / p(awake, 0.5),
              "awake, TCG")


GROUPS = [react_frozen, react_awake, react_asleep, react_image,
          react_restored, react_wordpress, react_reclaimed]
