"""znet against the user-mode networks of others, on this machine: client and
server in network namespaces of their own, a veth between node and world, the
measurements of all taken in turns. The best of each counts, for what others do
on the machine only takes away.

The congestion control is reno in all of them (Net), whatever the machine has:
bbr paces by timers, and where those are dear, in a virtual machine, it is they
that are measured: znet's upload falls from 21 to 8 Gb/s, pasta's download from
15 to 10."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/system"))

from row import Row  # noqa: E402
from zooid import messages, process  # noqa: E402
from zooid.build import BUILD, product  # noqa: E402
from zooid.crowd import Crowd  # noqa: E402
from zooid.host import directory  # noqa: E402
from zooid.net_host import Net, NetHost  # noqa: E402

ROUNDS, SECONDS = 3, 2
PORT_IN, PORT_SPLICED = 5201, 5301
ECHO_IN, ECHO_SPLICED = 7, 5307
REQUESTS, CONNECTIONS = 3000, 600


def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")")[1]
    utime, stime = fields.split()[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def wait_for(what, condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what


class Slirp:
    """slirp4netns, for a namespace behind the node's."""
    name = "slirp4netns"

    def __init__(self, host):
        self.net = Net()
        self.process = process.start(host.node.command(
            shutil.which("slirp4netns"), "--configure", "--mtu=65520",
            "--disable-dns", str(self.net.pid), "tap0"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def pid(self):
        return self.process.pid

    def close(self):
        process.end(self.process)
        self.net.close()


class Pasta(Slirp):
    """pasta of 2025, the same, with a port forwarded."""
    name = "pasta"

    def __init__(self, host):
        self.net = Net()
        # It gives up its rights before it opens the namespace.
        self.name_of_net = host.path / "pasta-net"
        self.name_of_net.touch()
        subprocess.run(["mount", "--bind", "/proc/%d/ns/net" % self.net.pid,
                        self.name_of_net], check=True)
        self.process = process.start(host.node.command(
            BUILD / "host/pkg/passt/bin/pasta", "-f", "-q", "--config-net",
            "-m", "65520", "-t", "%d,%d" % (PORT_IN, ECHO_IN), "-u", "none",
            "-T", "none", "-U", "none", "--no-map-gw", "--runas", "0", "--netns-only",
            "--netns",
            self.name_of_net),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        super().close()
        subprocess.run(["umount", self.name_of_net], check=True)


class Ours:
    name = "znet"

    def __init__(self, host):
        self.host, self.net = host, host.container("bench", "10.64.0.2")
        messages.Init(host.run).bind("bench", PORT_SPLICED, messages.route(
            host.id("bench"), "10.64.0.2", PORT_IN))
        messages.Init(host.run).bind("bench", ECHO_SPLICED, messages.route(
            host.id("bench"), "10.64.0.2", ECHO_IN))

    @property
    def pid(self):
        return self.host.pid("znet")

    def close(self):
        pass


@contextlib.contextmanager
def machines():
    """(host, {name: network}); each has an iperf3 inside, the world too."""
    with contextlib.ExitStack() as stack:
        host = NetHost(stack.enter_context(directory()),
                       znet=product(os.uname().machine, "bin/znet"))
        stack.callback(host.close)
        networks = {}
        for kind in (Ours, Slirp, Pasta):
            made = networks[kind.name] = kind(host)
            stack.callback(made.close)
            wait_for(kind.name, lambda made=made: "default" in made.net.sh(
                "ip route"))
        for net in [host.world] + [n.net for n in networks.values()]:
            server = process.start(net.command("iperf3", "-s", "-p",
                                               str(PORT_IN)),
                                   stdout=subprocess.DEVNULL)
            stack.callback(process.end, server)
            wait_for("iperf3", lambda net=net: "%d" % PORT_IN in net.sh(
                "ss -ltn"))
        yield host, networks


def iperf(net, address, port, *options):
    """(Gb/s, bytes)"""
    done = subprocess.run(
        net.command("iperf3", "-J", "-t", str(SECONDS), "-c", address, "-p",
                    str(port), *options),
        text=True, capture_output=True, timeout=60)
    result = json.loads(done.stdout)
    assert "error" not in result, result["error"]
    received = result["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, received["bytes"]


class Best:
    """Of several measurements: the most Gb/s, the least CPU a GB."""

    def __init__(self):
        self.rate, self.cpu = 0.0, float("inf")

    def take(self, network, *arguments):
        before = cpu_seconds(network.pid)
        rate, size = iperf(*arguments)
        used = cpu_seconds(network.pid) - before
        self.rate = max(self.rate, rate)
        self.cpu = min(self.cpu, used / (size / 1e9))


def measured(cases, networks):
    """{(case, network): Best}, taken in turns. cases: {name: function of a
    network that gives the arguments of iperf()}."""
    best = {(case, name): Best() for case in cases for name in networks}
    for _ in range(ROUNDS):
        for case, arguments in cases.items():
            for name, network in networks.items():
                best[case, name].take(network, *arguments(network))
    return best


def outbound():
    with machines() as (host, networks):
        def case(*options):
            return lambda network: (network.net, host.WORLD, PORT_IN, *options)
        cases = {"up": case(), "down": case("-R"),
                 "up, 4 streams": case("-P4"),
                 "down, 4 streams": case("-P4", "-R"),
                 "up, MSS 1460": case("-M", "1460"),
                 "down, MSS 1460": case("-M", "1460", "-R")}
        best = measured(cases, networks)
    for name, least in (("up", 3), ("down", 1.7), ("up, 4 streams", 3),
                        ("down, 4 streams", 1.7)):
        ours = best[name, "znet"]
        slirp, pasta = best[name, "slirp4netns"], best[name, "pasta"]
        yield Row("net: out, %s" % name, ours.rate, "Gb/s",
                  ratio=ours.rate / slirp.rate, least=least,
                  peer="slirp4netns, %.2f" % slirp.rate)
        impaired = pasta.rate < 1
        yield Row("net: out, %s" % name, ours.rate, "Gb/s",
                  ratio=ours.rate / pasta.rate, least=None if impaired else 1,
                  peer="pasta%s, %.2f" % (", impaired" if impaired else "",
                                          pasta.rate))
        peer = slirp if impaired else min(slirp, pasta, key=lambda b: b.cpu)
        yield Row("net: out, %s, CPU" % name, ours.cpu, "s/GB", bound=1,
                  ratio=ours.cpu / peer.cpu,
                  peer="the better peer, %.3f" % peer.cpu)
    for way in ("up", "down"):
        small, large = (best[way + more, "znet"].rate
                        for more in (", MSS 1460", ""))
        yield Row("net: out, %s, MSS 1460" % way, small, "Gb/s",
                  ratio=small / large, least=0.7,
                  peer="that at the best MTU, %.2f" % large)


def inbound():
    with machines() as (host, networks):
        peers = {name: networks[name] for name in ("znet", "pasta")}

        def port(network):
            return PORT_SPLICED if network.name == "znet" else PORT_IN
        best = measured({
            "veth": lambda n: (host.world, host.NODE, port(n)),
            "loopback": lambda n: (host.node, "127.0.0.1", port(n)),
        }, peers)
    for case, least, path in (("veth", 1.3, "its tap path"),
                              ("loopback", 0.95, "its splice")):
        ours, pasta = best[case, "znet"], best[case, "pasta"]
        yield Row("net: in, from %s" % case, ours.rate, "Gb/s",
                  ratio=ours.rate / pasta.rate, least=least,
                  peer="pasta, %s, %.2f" % (path, pasta.rate))
        yield Row("net: in, from %s, CPU" % case, ours.cpu, "s/GB", bound=1,
                  ratio=ours.cpu / pasta.cpu, peer="pasta, %.3f" % pasta.cpu)


def round_trips_us(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    taken = []
    for _ in range(REQUESTS):
        start = time.perf_counter_ns()
        sock.sendall(b"?")
        sock.recv(1)
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1000


def connections_us(net, address, port):
    """The least time of a connection with one request, in batches."""
    least = float("inf")
    for _ in range(CONNECTIONS // 50):
        start = time.perf_counter_ns()
        for _ in range(50):
            with net.connect(address, port) as sock:
                sock.sendall(b"?")
                sock.recv(1)
        least = min(least, (time.perf_counter_ns() - start) / 50)
    return least / 1000


# Echoes every byte until the client ends.
ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1024
Server(("0.0.0.0", 7), Echo).serve_forever()
"""


@contextlib.contextmanager
def echoes(*nets):
    """Serve port 7 of each."""
    with contextlib.ExitStack() as stack:
        for net in nets:
            server = process.start(net.command(sys.executable, "-c", ECHO))
            stack.callback(process.end, server)
            wait_for("echo", lambda net=net: ":7 " in net.sh("ss -ltn"))
        yield


def latency_of(ways):
    """({way: a request}, {way: a connection with one}) in us, the least of each;
    ways: {name: (net, address, port)}."""
    trips = {name: float("inf") for name in ways}
    opened = dict(trips)
    for _ in range(ROUNDS):
        for name, (net, address, port) in ways.items():
            with net.connect(address, port) as sock:
                trips[name] = min(trips[name], round_trips_us(sock))
            opened[name] = min(opened[name], connections_us(net, address,
                                                            port))
    return trips, opened


def latency_rows(way, trips, opened):
    yield Row("net: %s, request, added, p50" % way,
              trips["znet"] - trips["none"], "us", 30)
    for name in trips.keys() - {"none", "znet"}:
        yield Row("net: %s, request, p50" % way, trips["znet"], "us",
                  ratio=trips["znet"] / trips[name],
                  peer="%s, %.1f" % (name, trips[name]))
    yield Row("net: %s, new connections" % way, 1e6 / opened["znet"], "1/s",
              ratio=opened["pasta"] / opened["znet"], least=1,
              peer="pasta, %.0f" % (1e6 / opened["pasta"]))


def latency():
    """What it adds to a request, against the same over the veth alone; of a
    client, against one whom the node serves itself."""
    with machines() as (host, networks), echoes(host.world):
        out = latency_of({"none": (host.node, host.WORLD, 7), **{
            name: (n.net, host.WORLD, 7) for name, n in networks.items()}})
    with machines() as (host, networks), \
            echoes(*[networks[name].net for name in ("znet", "pasta")]):
        # Beside pasta's, which has that port of the node.
        direct = process.start(host.node.command(sys.executable, "-c",
                                                 ECHO.replace("7)", "8)")))
        try:
            wait_for("echo", lambda: ":8 " in host.node.sh("ss -ltn"))
            in_ = latency_of({
                "none": (host.world, host.NODE, 8),
                "znet": (host.world, host.NODE, ECHO_SPLICED),
                "pasta": (host.world, host.NODE, ECHO_IN)})
        finally:
            process.end(direct)
    yield from latency_rows("out", *out)
    yield from latency_rows("in", *in_)


# As many as fit into FILES descriptors, the most that this machine gives.
FILES, IDLE, MANY, FEW, ASKED = 20000, 8000, 2000, 10, 20000


def rss_kb(pid):
    # Not of its status, which the kernel counts in rough steps.
    rolled = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", rolled, re.M)[1])


def cpu_ns(pid):
    return int(pathlib.Path("/proc/%d/schedstat" % pid).read_text().split()[0])


@contextlib.contextmanager
def roomy():
    """(host, network of a container), in which a crowd serves port 7; the
    world too."""
    with contextlib.ExitStack() as stack:
        host = NetHost(stack.enter_context(directory()), files=FILES,
                       znet=product(os.uname().machine, "bin/znet"))
        stack.callback(host.close)
        net = host.container("bench", "10.64.0.2")
        wait_for("TUN", lambda: "default" in net.sh("ip route"))
        for served in (net, host.world):
            server = Crowd(served, "serve", "0.0.0.0", 7)
            stack.callback(server.close)
        yield host, net


def crowded_in():
    """Idle connections of clients: that they are, and what one takes."""
    with roomy() as (host, _):
        messages.Init(host.run).bind("bench", PORT_SPLICED, messages.route(
            host.id("bench"), "10.64.0.2", 7))
        # What the first ones bring about is not of the others.
        clients = [Crowd(host.world, "connect", host.NODE, PORT_SPLICED, 100)]
        clients[0].tell("ask", 100)
        pid = host.pid("znet")
        before, slept = rss_kb(pid), cpu_ns(pid)
        clients.append(Crowd(host.world, "connect", host.NODE, PORT_SPLICED,
                             IDLE - 100))
        clients[1].tell("ask", IDLE - 100)
        after = rss_kb(pid)
        opened = int(re.search(r"connections (\d+) of", host.status())[1])
        slept = cpu_ns(pid)
        time.sleep(5)
        slept = cpu_ns(pid) - slept
        fds = len(os.listdir("/proc/%d/fd" % pid))
        for client in clients:
            client.close()
    yield Row("net: in, idle connections", opened, "", least=1,
              ratio=opened / IDLE, peer="%d" % IDLE)
    yield Row("net: in, an idle connection, memory of znet",
              (after - before) * 1024 / (IDLE - 100), "B")
    yield Row("net: in, an idle connection, descriptors", fds / IDLE, "")
    yield Row("net: in, %d idle connections, CPU of 5 s" % IDLE, slept / 1e6,
              "ms")


def packets(host):
    row = re.search(r"^\S+ of %s: .*" % host.id("bench"), host.status(),
                    re.M)[0]
    return sum(int(n) for n in re.findall(r"\b(\d+) packets", row))


def crowded_out():
    """What a packet costs with many connections open, against a few."""
    cost = {FEW: float("inf"), MANY: float("inf")}
    with roomy() as (host, net):
        pid = host.pid("znet")
        for _ in range(ROUNDS):
            for n in cost:
                client = Crowd(net, "connect", host.WORLD, 7, n)
                client.tell("ask", n)
                used, sent = cpu_ns(pid), packets(host)
                client.tell("ask", ASKED)
                used, sent = cpu_ns(pid) - used, packets(host) - sent
                cost[n] = min(cost[n], used / sent)
                client.close()
    yield Row("net: out, a packet at %d connections, CPU" % MANY,
              cost[MANY] / 1000, "us", 2, cost[MANY] / cost[FEW],
              "at %d, %.2f" % (FEW, cost[FEW] / 1000))


# What a container does to its neighbours; it says when it has begun.
ATTACKS = {
    "SYN flood": """
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
for n in itertools.count():
    tcp = struct.pack("!HHIIBBHHH", 1024 + n % 60000, 7, 7, 0, 80, 2, 9, 0, 0)
    send(raw, ip(6, tcp))
""", "garbage": """
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
while True:
    body = os.urandom(60)
    send(raw, ip(random.choice((1, 6, 17, 99)), body))
    send(raw, body)
""", "sockets without end": """
while True:
    socks = []
    for n in range(15000):
        socks.append(socket.socket())
        socks[-1].setblocking(False)
        socks[-1].connect_ex((world, 7))
""", "slow readers": """
socks = [socket.create_connection((world, 7)) for n in range(300)]
for sock in socks:
    sock.setblocking(False)
while True:
    for sock in socks:
        try:
            sock.send(bytes(65536))
        except OSError:
            pass
""",
}
ATTACK = """
import itertools, os, random, resource, socket, struct, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
own, world, what = sys.argv[1:]
def ip(protocol, body):
    return struct.pack("!BBHHHBBH", 69, 0, 20 + len(body), 1, 0x4000, 64,
                       protocol, 0) + socket.inet_aton(own) + \\
        socket.inet_aton(world) + body
def send(raw, packet):
    try:
        raw.sendto(packet, ("tun0", 0x0800))
    except OSError:
        pass
print("begun", flush=True)
exec(what)
"""


def requests_us(nets, address, port, n=1500):
    """{name: how long each took}, with a connection for each, in turns."""
    taken = {name: [] for name in nets}
    for _ in range(n):
        for name, net in nets.items():
            start = time.perf_counter_ns()
            with net.connect(address, port) as sock:
                sock.sendall(b"?")
                sock.recv(1)
            taken[name].append((time.perf_counter_ns() - start) / 1000)
    return taken


def p99(values):
    return sorted(values)[len(values) * 99 // 100]


def attacked(name, what):
    """In a node of its own: what ports were used is not given back at once."""
    with roomy() as (host, _), contextlib.closing(
            Crowd(host.world, "serve", "0.0.0.0", 8)):
        nets = {"container": host.container("other", "10.64.0.3"),
                "none": host.node}
        wait_for("TUN", lambda: "default" in nets["container"].sh("ip route"))
        quiet = requests_us(nets, host.WORLD, 8)
        attack = process.start(host.containers["bench"].command(
            sys.executable, "-c", ATTACK, "10.64.0.2", host.WORLD, what),
            stdout=subprocess.PIPE)
        try:
            assert attack.stdout.readline() == b"begun\n"
            requests_us(nets, host.WORLD, 8, 100)  # until it is at it
            loud = requests_us(nets, host.WORLD, 8)
        finally:
            process.end(attack)
            attack.stdout.close()
    before, after = p99(quiet["container"]), p99(loud["container"])
    null = p99(loud["none"])
    # The noise of the machine is no neighbour's.
    return Row("net: neighbour's request, %s, p99" % name, after, "us",
               2 + null / before, after / before,
               "without, %.0f (the node's own: %.0f)" % (before, null))


def neighbours():
    """What one container's worst does to another one's requests; and to those
    of the node itself, which znet has no part in."""
    for name, what in ATTACKS.items():
        yield attacked(name, what)


GROUPS = [outbound, inbound, latency, crowded_in, crowded_out, neighbours]
