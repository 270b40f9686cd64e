"""What containers, name servers and the node's own link do that they should
not: others are served as before, and what it costs is bounded. Real containers
of zrun serve, znet with the sanitizers in it, the world behind a veth."""

import contextlib
import os
import re
import signal
import socket
import struct
import threading
import time

import pytest

from test_znet_dns import (SERVER_FAILURE, TRUNCATED, A, NameServer, ask, code,
                           name_servers, query, record)
from test_znet_out import echo, ip4_header, read_line
from zooid import FULL, messages
from zooid.crowd import Crowd
from zooid.host import directory
from zooid.net_host import NetHost

PORT, PUBLISHED = 7, 8007
AWAY = "198.51.100.%d"  # addresses of the world behind its first
OWN, OWN6 = "10.64.0.2", "fd7a:6f6f:6964::a40:2"


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.world.sh("ip route add local 198.51.100.0/24 dev lo")
        host.container("a", OWN, "shop")
        host.container("b", "10.64.0.3", "shop")
        yield host
        host.close()


@pytest.fixture
def inside(host):
    return host.containers["a"]


@pytest.fixture
def neighbour(host):
    return host.containers["b"]


@pytest.fixture(scope="module")
def crowd(host):
    """Serves PORT of the world and of container b, whose port is published."""
    made = [Crowd(net, "serve", "0.0.0.0", PORT)
            for net in (host.world, host.containers["b"])]
    messages.Init(host.run).bind("web", PUBLISHED, messages.route(
        host.id("b"), "10.64.0.3", PORT))
    yield made
    for one in made:
        one.close()


def count(host, name, container="a"):
    row = re.search(r"^\S+ of %s: .*" % host.id(container), host.status(), re.M)
    return int(re.search(r"%s (\d+)" % name, row[0])[1])


def served(net, address, port=PORT):
    with net.connect(address, port) as sock:
        sock.sendall(b"?")
        return sock.recv(1) == b"?"


def clients(host):
    """How many are connected, and how many may be."""
    return tuple(map(int, re.search(r"^connections (\d+) of (\d+)",
                                    host.status()).groups()))


def come(host, n):
    """n clients, with a question each."""
    socks = [host.world.connect(host.NODE, PUBLISHED) for _ in range(n)]
    for sock in socks:
        sock.sendall(b"?")
    return socks


def test_descriptors_go_to_whom_needs_them(host, inside, neighbour, crowd):
    """1,024 are room for 274 clients, or for 250 connections of a container
    and fewer clients, who get theirs when it lets go."""
    def is_empty():
        return clients(host)[0] == 0
    waiting = come(host, 300)
    host.wait(lambda: clients(host) == (274, 274))
    # What is kept for containers, clients do not get.
    assert served(neighbour, host.WORLD)
    for sock in waiting:
        sock.close()
    host.wait(is_empty)
    opened = Crowd(inside, "connect", host.WORLD, PORT, 250)
    try:
        _, room = clients(host)
        assert 100 < room < 200
        waiting = come(host, room + 20)

        def is_full():
            n, most = clients(host)
            return n == most and room <= n < room + 20
        host.wait(is_full)
        opened.tell("close")
        for sock in waiting:
            assert sock.recv(1) == b"?"
    finally:
        opened.close()
        for sock in waiting:
            sock.close()
    host.wait(is_empty)


def test_each_container_has_descriptors_of_its_own(host, neighbour, crowd):
    """Others open as many connections as they get, and clients come as many as
    there is room for: it can still have ten at a time, and its port as many
    clients."""
    greedy = ["g%d" % n for n in range(5)]
    with contextlib.ExitStack() as stack:
        for n, name in enumerate(greedy):
            net = host.container(name, "10.64.3.%d" % (n + 1))
            stack.callback(host.containers.pop, name)
            stack.callback(net.close)
            stack.callback(host.end, name)
            storm = Crowd(net, "storm", AWAY % (n + 1), PORT, 600)
            stack.callback(storm.close)
            host.wait(lambda: count(host, "dropped", name) > 0)
        messages.Init(host.run).bind("other", PUBLISHED + 1, messages.route(
            host.id("b"), "10.64.0.3", PORT))
        stack.callback(messages.Init(host.run).drop, "other", PUBLISHED + 1)
        for sock in come(host, 300):
            stack.enter_context(sock)
        host.wait(lambda: len(set(clients(host))) == 1)
        stack.callback(Crowd(neighbour, "connect", host.WORLD, PORT,
                             10).close)
        own = [stack.enter_context(host.world.connect(
            host.NODE, PUBLISHED + 1)) for _ in range(8)]
        for sock in own:
            sock.sendall(b"?")
            assert sock.recv(1) == b"?"
    host.wait(lambda: clients(host)[0] == 0)


def test_sockets_without_end(host, inside, neighbour, crowd):
    """One container opens many more connections than there is room for."""
    storms = [Crowd(inside, "storm", AWAY % (n + 1), PORT,
                    19000 if FULL else 1500) for n in range(6 if FULL else 2)]
    try:
        host.wait(lambda: count(host, "dropped") > 0)
        before = count(host, "connections")
        for _ in range(20):
            assert served(neighbour, host.WORLD)
            assert served(host.world, host.NODE, PUBLISHED)
        assert before < 1024
    finally:
        for storm in storms:
            storm.close()
    host.wait(lambda: count(host, "connections") == 0)
    assert served(inside, host.WORLD)


def segment(port=PORT, offset=5, source=4000):
    return struct.pack("!HHIIBBHHH", source, port, 7, 0, offset << 4, 2, 1000,
                       0, 0)


OPEN_MAX = 4096  # that znet opens, or begins without a byte of data at once


def test_flood_of_syns(host, inside, neighbour, crowd):
    """What is begun and never used has a limit, and is counted beyond it; soon
    after who has been at it may begin some again."""
    sent, limited = 0, count(host, "limited")
    start = time.monotonic()
    with inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        while sent < 4 * OPEN_MAX or count(host, "limited") < limited + 1000:
            for _ in range(500):
                sent += 1
                sock.sendto(ip4(host.WORLD, 6, segment(
                    source=1024 + sent % 60000)), ("tun0", 0x0800))
            assert served(neighbour, host.WORLD)
            assert served(host.world, host.NODE, PUBLISHED)
            assert time.monotonic() < start + 60
    host.wait(lambda: count(host, "connections") == 0)
    assert served(inside, host.WORLD)
    assert time.monotonic() < start + 90


def test_connections_with_data_have_no_limit(host, inside, crowd):
    """More of them than there could be without, in the time that it takes."""
    limited, begun = count(host, "limited"), 0
    start = time.monotonic()
    while begun < OPEN_MAX + 500 * (time.monotonic() - start) + 500:
        assert served(inside, host.WORLD)
        begun += 1
        assert time.monotonic() < start + 60, "nothing was shown"
    assert count(host, "limited") == limited


def test_flood_of_garbage(host, inside, neighbour, crowd):
    """Its packets are left where they cost nobody anything."""
    before, sent = count(host, "unsupported"), 0
    start = time.monotonic()
    with inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        while time.monotonic() < start + 1:
            sock.sendto(ip4(host.WORLD, 99, bytes(40)), ("tun0", 0x0800))
            sent += 1
    took = count(host, "unsupported") - before
    assert sent > 15000, "nothing was shown"
    assert took < 1000 + 11000 * (time.monotonic() - start)
    assert served(neighbour, host.WORLD)
    host.wait(lambda: served(inside, host.WORLD))


def datagram(size, said=None):
    return struct.pack("!HHHH", 4000, PORT, size if said is None else said,
                       0) + bytes(max(0, size - 8))


def ip6(to, kind, body, said=None, own=OWN6):
    return struct.pack("!IHBB", 6 << 28, len(body) if said is None else said,
                       kind, 64) + socket.inet_pton(socket.AF_INET6, own) + \
        socket.inet_pton(socket.AF_INET6, to) + body


def ip4(to, kind, body, **options):
    return ip4_header(to, kind, len(body), **options) + body


def with_byte(packet, at, value):
    return packet[:at] + bytes([value]) + packet[at + 1:]


def bad_packets():
    """None of them may lead to anything."""
    to, to6 = NetHost.WORLD, NetHost.WORLD6
    good = [ip4(to, 6, segment()), ip4(to, 17, datagram(12)),
            ip4(to, 1, b"\x08" + bytes(7)), ip6(to6, 6, segment()),
            ip6(to6, 17, datagram(12)), ip6(to6, 58, b"\x80" + bytes(7))]
    for packet in good:
        v6 = packet[0] >> 4 == 6
        header = 40 if v6 else 20
        # Cut short anywhere, as it says of itself and not.
        yield from (packet[:n] for n in range(1, len(packet)))
        for n in range(len(packet) - header):
            body = packet[header:header + n]
            yield ip6(to6, packet[6], body) if v6 else \
                ip4(to, packet[9], body)
        # Sizes that are larger than it is.
        yield with_byte(packet, 4 if v6 else 2, 0xff)
        yield from (with_byte(packet, 0, packet[0] & 15 | version << 4)
                    for version in range(16) if version not in (4, 6))
    # Headers that are too short, or longer than the packet.
    yield from (with_byte(good[0], 0, 0x40 | n) for n in (0, 1, 2, 3, 4, 15))
    yield from (ip4(to, 6, segment(offset=n)) for n in (0, 1, 4, 6, 15))
    yield from (ip6(to6, 6, segment(offset=n)) for n in (0, 1, 4, 6, 15))
    yield from (ip4(to, 17, datagram(12, n)) for n in (0, 7, 13, 0xffff))
    yield from (ip6(to6, 17, datagram(12, n)) for n in (0, 7, 13, 0xffff))
    # Fragments: the first, one in the middle, the last, and beyond 64 KB.
    for fragment in (0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff):
        yield from (ip4(to, kind, body, fragment=fragment) for kind, body in
                    ((6, segment()), (17, datagram(12)), (1, bytes(8))))
    # Other protocols, IPv6 extension headers, other messages of ICMP.
    yield from (ip4(to, n, bytes(40)) for n in range(256)
                if n not in (1, 6, 17))
    yield from (ip6(to6, n, bytes(40)) for n in range(256)
                if n not in (6, 17, 58))
    yield from (ip4(to, 1, bytes([n]) + bytes(7)) for n in range(256)
                if n != 8)
    yield from (ip6(to6, 58, bytes([n]) + bytes(7)) for n in range(256)
                if n != 128)


def useless(host):
    return count(host, "malformed") + count(host, "unsupported")


def test_every_bad_packet_is_counted_as_one(host, inside, neighbour, crowd):
    """And begins no flow. A queue full of them is as many as the TUN takes."""
    packets, pid = list(bad_packets()), host.pid("znet")
    sent, flows = useless(host), count(host, "datagrams")
    connections, step = count(host, "connections"), 400
    with inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        for i in range(0, len(packets), step):
            for packet in packets[i:i + step]:
                sock.sendto(packet, ("tun0", 0x86dd if packet[0] >> 4 == 6
                                     else 0x0800))
            sent += len(packets[i:i + step])
            # The container's kernel says a thing or two itself, of IPv6.
            host.wait(lambda: useless(host) >= sent)
            assert served(neighbour, host.WORLD)
    assert useless(host) - sent < 20
    assert count(host, "datagrams") == flows
    assert count(host, "connections") == connections
    assert host.pid("znet") == pid


def test_offloads_that_lie(host, inside, neighbour, crowd, rng):
    """A packet's own header for its device: sums and segments where there are
    none. Those that the container's kernel takes come to znet."""
    pid, before = host.pid("znet"), count(host, "out")
    with inside.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        for _ in range(2000 if FULL else 400):
            packet = rng.choice((
                ip4(host.WORLD, 6, segment() + bytes(rng.randrange(3000))),
                ip4(host.WORLD, 17, datagram(rng.randrange(8, 3000)))))
            header = struct.pack(
                "=BBHHHH", rng.randrange(4), rng.choice((0, 1, 3, 4, 5, 0x81)),
                rng.randrange(80), rng.choice((0, 1, 7, 536, 1448, 65535)),
                rng.choice((0, 20, 40, 60, 3000)), rng.choice((0, 6, 16, 90)))
            try:
                sock.sendto(header + packet, ("tun0", 0x0800))
            except OSError:  # its kernel knows better
                pass
    assert served(neighbour, host.WORLD)
    assert host.pid("znet") == pid and count(host, "out") > before


FIN, SYN, RST, ACK = 1, 2, 4, 16


class Peer:
    """A TCP of ours in container `net`, whose kernel is not heard."""

    def __init__(self, net, to, port=PORT):
        self.net, self.to, self.port = net, to, port
        self.v6 = ":" in to
        net.sh("ip %s route add blackhole %s" % (
            "-6" if self.v6 else "", to))
        self.raw = net.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.raw.bind(("tun0", 0x86dd if self.v6 else 0x0800))

    def segment(self, port, flags, seq, ack=0, window=1000, data=b""):
        tcp = struct.pack("!HHIIBBHHH", port, self.port,
                          seq & 0xffffffff, ack & 0xffffffff, 0x50, flags, window, 0, 0) + data
        return ip6(self.to, 6, tcp, own=self.own) if self.v6 else ip4(
            self.to, 6, tcp, source=self.own)

    def send(self, packets):
        for packet in packets:
            self.raw.send(packet)

    def opened(self, port, seq, window=1000):
        """The number of the other side; None: refused."""
        self.send([self.segment(port, SYN, seq, window=window)])
        return self.answer(port, seq)

    def answer(self, port, seq):
        """To a SYN of that number, as opened()."""
        while True:
            tcp = self.raw.recv(65536)[40 if self.v6 else 20:]
            to, number, ack, flags = struct.unpack("!2xHIIxB", tcp[:14])
            if to == port and ack == (seq + 1) & 0xffffffff:
                return None if flags & RST else number


def test_window_that_never_was_larger_than_a_few_bytes(host):
    """Little by little all comes through it."""
    data, address = bytes(range(256)) * 8, "10.64.0.9"
    listener = host.world.serve(host.WORLD, 0, lambda c, a: c.sendall(data))
    net, got = host.container("raw", address, "shop"), b""
    try:
        peer = Peer(net, host.WORLD, listener.getsockname()[1])
        peer.own = address
        first = peer.opened(5000, 7, 100) + 1
        while len(got) < len(data):
            peer.send([peer.segment(5000, ACK, 8, first + len(got), 100)])
            tcp = peer.raw.recv(65536)[20:]
            to, seq = struct.unpack("!2xHI", tcp[:8])
            if to == 5000 and seq == (first + len(got)) & 0xffffffff:
                got += tcp[tcp[12] >> 4 << 2:]
        assert got == data
    finally:
        listener.close()
        host.containers.pop("raw").close()
        host.end("raw")
        host.delete("raw")


def stopped(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


@contextlib.contextmanager
def held(host):
    """What containers send meanwhile, znet finds in one batch."""
    pid = host.pid("znet")
    os.kill(pid, signal.SIGSTOP)
    try:
        host.wait(lambda: stopped(pid))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_connection_begins_in_the_batch_that_ends_one(host, crowd):
    """Between the same two ports."""
    address = "10.64.0.9"
    net = host.container("raw", address, "shop")
    try:
        peer = Peer(net, host.WORLD)
        peer.own = address
        assert peer.opened(5000, 7) is not None
        with held(host):
            peer.send([peer.segment(5000, RST, 8),
                       peer.segment(5000, SYN, 999)])
        assert peer.answer(5000, 999) is not None
    finally:
        host.containers.pop("raw").close()
        host.end("raw")
        host.delete("raw")


@pytest.mark.parametrize("to", [NetHost.WORLD, NetHost.WORLD6])
def test_connections_end_and_begin_at_one_time(host, neighbour, crowd, rng,
                                               to):
    """All that makes and ends connections, in any order between the same two,
    in one batch of packets; in the end the container itself is gone before
    they are read."""
    address = "10.64.0.9"
    net, pid = host.container("raw", address, "shop"), host.pid("znet")
    peer = Peer(net, to)
    peer.own = "fd7a:6f6f:6964::a40:9" if peer.v6 else address
    try:
        rounds = 200 if FULL else 40
        for n in range(rounds):
            port, seq = 5000 + n, rng.randrange(1 << 32)
            number = peer.opened(port, seq)
            batch, at = [], seq + 1
            for _ in range(rng.randrange(2, 14)):
                kind = rng.randrange(9)
                ack = number + 1 if number is not None else 0
                size = rng.choice((1, 100, 1400))
                if kind < 3:
                    batch.append(peer.segment(port, ACK, at, ack,
                                              data=bytes(size)))
                    at += size
                elif kind == 3:
                    batch.append(peer.segment(port, ACK, at + 5000, ack,
                                              data=bytes(size)))
                elif kind == 4:
                    batch.append(peer.segment(port, FIN | ACK, at, ack))
                    at += 1
                elif kind == 5:
                    batch.append(peer.segment(port, RST, at))
                elif kind == 6:
                    at += rng.randrange(1 << 20)
                    batch.append(peer.segment(port, SYN, at))
                    at += 1
                else:
                    batch.append(peer.segment(port, ACK, at, ack,
                                              rng.choice((0, 1, 2, 536))))
            with held(host):
                peer.send(batch)
                if n == rounds - 1:
                    os.kill(net.pid, signal.SIGKILL)
            if n < rounds - 1:
                peer.send([peer.segment(port, RST, at)])
    finally:
        with contextlib.suppress(AssertionError):
            host.end("raw")
        host.containers.pop("raw").close()
    assert served(neighbour, host.WORLD)
    host.delete("raw")
    assert host.pid("znet") == pid, host.said()
    assert served(neighbour, host.WORLD)


# The node's own link.

def test_uplink_goes_and_comes(host, inside, neighbour, crowd):
    """What is open waits for it and goes on; what is begun meanwhile is told
    that there is no way; inside the node nobody notices."""
    listener = neighbour.serve("10.64.0.3", 0, echo)
    with inside.connect(host.WORLD, PORT) as open_, \
            inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow, \
            host.world.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host.WORLD, 0))
        flow.connect(server.getsockname())
        flow.send(b"before")
        assert server.recv(10) == b"before"
        host.node.sh("ip link set node0 down")
        try:
            with pytest.raises(OSError, match="unreachable|No route"):
                inside.connect(host.WORLD, PORT)
            open_.sendall(b"?")
            with inside.connect(*listener.getsockname()) as sock:
                assert read_line(sock) == OWN
        finally:
            host.node.sh(
                "ip link set node0 up; ip address replace %s/64 dev node0 "
                "nodad; ip route replace default via %s" %
                (host.NODE6, host.WORLD))
        assert open_.recv(1) == b"?"
        assert served(inside, host.WORLD)
        assert served(host.world, host.NODE, PUBLISHED)
        host.wait(lambda: passes(flow, server))


class Load:
    """Asks `net` for a connection to (address, port) with a question, again
    and again, on some threads: how often it was answered, and how often
    not."""

    def __init__(self, net, address, port=PORT, n=2):
        self.net, self.to = net, (address, port)
        self.over, self.good, self.failed = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self._run) for _ in range(n)]
        for one in self.threads:
            one.start()

    def _run(self):
        while not self.over.is_set():
            try:
                with self.net.socket() as sock:
                    sock.settimeout(2)
                    sock.connect(self.to)
                    sock.sendall(b"?")
                    assert sock.recv(1) == b"?"
                    self.good += 1
            except OSError as e:
                self.failed.append(e)

    def goes_on(self, host):
        before = self.good
        host.wait(lambda: self.good > before + 20)

    def close(self):
        self.over.set()
        for one in self.threads:
            one.join()


def test_uplink_goes_and_comes_under_load(host, inside, neighbour, crowd):
    """Time and again: what stays in the node does not notice, all else goes on
    whenever the link is there, and nothing is left of what broke."""
    pid = host.pid("znet")
    loads = [Load(inside, host.WORLD), Load(host.world, host.NODE, PUBLISHED),
             Load(inside, "10.64.0.3")]
    try:
        for _ in range(5 if FULL else 2):
            for load in loads:
                load.goes_on(host)
            host.node.sh("ip link set node0 down")
            loads[2].goes_on(host)
            # What was under way when the link went has 2 s.
            host.wait(lambda: loads[0].failed)
            host.node.sh(
                "ip link set node0 up; ip address replace %s/64 dev node0 "
                "nodad; ip route replace default via %s" %
                (host.NODE6, host.WORLD))
        for load in loads:
            load.goes_on(host)
    finally:
        for load in loads:
            load.close()
    assert not loads[2].failed and loads[0].failed
    assert host.pid("znet") == pid
    host.wait(lambda: clients(host)[0] == 0 and
              count(host, "connections") == 0)


def cpu_s(pid):
    with open("/proc/%d/schedstat" % pid) as said:
        return int(said.read().split()[0]) / 1e9


def test_tun_is_gone(host, neighbour, crowd):
    """Under load, by a container's own hand: it has no network then, others
    have theirs, and nobody waits at what is no more."""
    pid = host.pid("znet")
    net = host.container("t", "10.64.5.1", "shop")
    with contextlib.ExitStack() as stack:
        stack.callback(host.containers.pop, "t")
        stack.callback(net.close)
        stack.callback(host.end, "t")
        load = Load(net, host.WORLD)
        stack.callback(load.close)
        load.goes_on(host)
        held = stack.enter_context(net.connect(host.WORLD, PORT))
        held.sendall(b"?")
        assert held.recv(1) == b"?"
        net.sh("ip link del tun0")
        load.close()
        host.wait(lambda: "10.64.5.1" in host.said() or
                  "it has no network" in host.said())
        with pytest.raises(OSError, match="unreachable"):
            net.connect(host.WORLD, PORT)
        assert served(neighbour, host.WORLD)
        assert served(host.world, host.NODE, PUBLISHED)
        before = cpu_s(pid)
        threading.Event().wait(1)
        assert cpu_s(pid) - before < 0.2, "it asks what is gone"
    assert host.pid("znet") == pid
    host.wait(lambda: host.id("t") not in host.status())


def passes(flow, server):
    """Whether a datagram of a client gets there, from whatever address; the
    first one of a flow may be what shows that its way has gone."""
    server.settimeout(0.5)
    try:
        flow.send(b"after")
        return server.recv(10) == b"after"
    except (OSError, TimeoutError):
        return False


@pytest.fixture
def other_address(host):
    """As DHCP gives it: the old one goes."""
    def change(old, new):
        host.node.sh("ip address del %s/24 dev node0; ip address add %s/24 "
                     "dev node0; ip route replace default via %s" %
                     (old, new, host.WORLD))
    yield lambda: change(host.NODE, "192.0.2.77")
    change("192.0.2.77", host.NODE)


def test_address_of_the_node_changes(host, inside, crowd, other_address):
    """Under load. Who comes then is served at the new one, and a flow of
    datagrams goes on from there."""
    over, good = threading.Event(), []

    def load():
        while not over.is_set():
            # What was on its way is lost, and there is a moment without any.
            with contextlib.suppress(OSError), inside.socket() as sock:
                sock.settimeout(2)
                sock.connect((host.WORLD, PORT))
                sock.sendall(b"?")
                good.append(sock.recv(1))
    with inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow, \
            inside.socket(socket.AF_INET, socket.SOCK_DGRAM, 1) as ping, \
            host.world.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host.WORLD, 0))
        flow.connect(server.getsockname())
        flow.send(b"before")
        assert server.recvfrom(10)[1][0] == host.NODE
        ping.connect((host.WORLD, 0))
        ping.settimeout(0.5)
        host.wait(lambda: pings(ping))
        loads = [threading.Thread(target=load) for _ in range(4)]
        for one in loads:
            one.start()
        try:
            host.wait(lambda: len(good) > 20)
            other_address()
            before = len(good)
            host.wait(lambda: len(good) > before + 20)
            assert served(inside, host.WORLD)
            assert served(host.world, "192.0.2.77", PUBLISHED)
            host.wait(lambda: passes(flow, server))
            host.wait(lambda: pings(ping))
        finally:
            over.set()
            for one in loads:
                one.join()
    assert set(good) == {b"?"}


def pings(sock):
    try:
        sock.send(struct.pack("!BBHHH", 8, 0, 0, 0, 1))
        return sock.recv(100)[0] == 0
    except OSError:
        return False


# Name servers.

class Liar(NameServer):
    """Says what `lies` makes of the query first, if anything, then the truth,
    if told to."""
    lies, truth = staticmethod(lambda message, asked: []), True

    def _loop(self):
        while True:
            try:
                message, peer = self.datagrams.recvfrom(4096)
            except OSError:
                return
            if not message:
                return
            reply = self.reply(message)
            for lie in self.lies(message, reply):
                self.datagrams.sendto(lie, peer)
            if self.truth:
                self.datagrams.sendto(reply, peer)


@pytest.fixture(scope="module")
def liar(host):
    made = Liar(host.world, host.WORLD,
                lambda asked: (0, [record(A, b"\x0a\1\2\3", 600)], []))
    name_servers(host, host.WORLD)
    yield made
    made.close()


# Not answers to what was asked: they count for nothing, the true one comes.
FORGED = {
    "wrong id": lambda m, r: [bytes([r[0] ^ n, r[1] ^ 1]) + r[2:-4] + b"evil"
                              for n in range(1, 30)],
    "other question": lambda m, r: [r[:13] + b"X" + r[14:-4] + b"evil"],
    "no question": lambda m, r: [r[:4] + bytes(2) + r[6:12]],
    "a query": lambda m, r: [m],
    "cut": lambda m, r: [r[:n] for n in range(12)],
    "empty": lambda m, r: [b""],
    "noise": lambda m, r: [os.urandom(n) for n in (1, 12, 100, 4000, 60000)],
}
# Answers to it in bad shape: they count for none.
BROKEN = {
    "name that leads to itself": lambda m, r: [
        r[:-16] + struct.pack("!H", 0xc000 | len(r) - 16) + r[-14:]],
    "names in a ring": lambda m, r: [
        r[:-16] + struct.pack("!HH", 0xc000 | len(r) - 14,
                              0xc000 | len(r) - 16) + r[-14:]],
    "beyond the end": lambda m, r: [r[:-16] + b"\xff\xff" + r[-14:]],
    "many that are not there": lambda m, r: [r[:6] + b"\xff" * 6 + r[12:]],
    "record cut": lambda m, r: [r[:-n] for n in (1, 4, 5, 10, 15)],
    "size beyond the end": lambda m, r: [r[:-6] + b"\xff\xff" + r[-4:]],
}
# What does not fit was cut.
HUGE = {
    "huge": lambda m, r: [r + bytes(60000)],
    "huge with records": lambda m, r: [
        r[:6] + struct.pack("!H", 3000) + r[8:] + r[-16:] * 2999],
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_answers(host, inside, liar, monkeypatch, kind):
    monkeypatch.setattr(liar, "lies", FORGED[kind])
    name = "forged-%s.example" % kind.replace(" ", "-")
    for n in range(2):  # what is kept is the same
        assert ask(inside, query(name, id=n + 7)).endswith(b"\x0a\1\2\3")


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers(host, inside, neighbour, liar, monkeypatch, kind):
    """None is handed on, nor kept, and others are answered."""
    pid = host.pid("znet")
    monkeypatch.setattr(liar, "lies", BROKEN[kind])
    monkeypatch.setattr(liar, "truth", False)
    name = "broken-%s.example" % kind.replace(" ", "-")
    assert code(ask(inside, query(name))) == SERVER_FAILURE
    monkeypatch.setattr(liar, "lies", lambda m, r: [])
    monkeypatch.setattr(liar, "truth", True)
    assert ask(neighbour, query(name)).endswith(b"\x0a\1\2\3")
    assert host.pid("znet") == pid


@pytest.mark.parametrize("kind", HUGE)
def test_huge_answers(inside, liar, monkeypatch, kind):
    """Who could take 4,096 bytes is told that there is more."""
    monkeypatch.setattr(liar, "lies", HUGE[kind])
    monkeypatch.setattr(liar, "truth", False)
    reply = ask(inside, query(kind.replace(" ", "-"), edns=4096))
    assert struct.unpack("!H", reply[2:4])[0] & TRUNCATED


def test_silent_name_server(host, inside, neighbour, liar, monkeypatch):
    """Who asks one is told in the end, and who asks without end takes from
    himself only."""
    monkeypatch.setattr(liar, "truth", False)
    with inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host.RESOLVER, 53))
        before = count(host, "dropped")
        for n in range(400):
            sock.send(query("silent-%d.example" % n, id=n))
        host.wait(lambda: count(host, "dropped") > before)
        monkeypatch.setattr(liar, "truth", True)
        assert ask(neighbour, query("loud.example")).endswith(b"\x0a\1\2\3")
        assert sock.recv(100)[:2]
