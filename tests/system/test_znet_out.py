"""The network of containers: what they open comes out of the node as its own.
Real containers of zrun serve, znet with the sanitizers in it, the world behind
a veth."""

import contextlib
import errno
import os
import random
import re
import select
import signal
import socket
import struct
import threading
import time

import pytest

from zooid import FULL, messages, stream
from zooid.build import product
from zooid.host import DEADLINE_S, directory
from zooid.net_host import Net, NetHost

TRANSFER_BYTES = (200 if FULL else 16) << 20
RESET = struct.pack("ii", 1, 0)  # linger 0: close sends a reset
WORLDS = NetHost.WORLD, NetHost.WORLD6
ETH_P_IP = 0x0800


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.container("a", "10.64.0.2")
        host.container("b", "10.64.0.3")
        yield host
        host.close()


@pytest.fixture
def inside(host):
    return host.containers["a"]


def count(host, name, container="a"):
    row = re.search(r"^\S+ of %s: .*" % host.id(container), host.status(), re.M)[0]
    return int(re.search(r"%s (\d+)" % name, row)[1])


def read_all(sock):
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        assert byte, line
        line += byte
    return line.decode().strip()


def echo(connection, address):
    """Says who it sees, then repeats what comes."""
    connection.sendall(("%s\n" % address[0]).encode())
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture(params=WORLDS, ids=["v4", "v6"])
def world(request, host):
    """(address, port) of an echo service."""
    listener = host.world.serve(request.param, 0, echo)
    yield listener.getsockname()[:2]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_comes_out_as_the_node(host, inside, world):
    with inside.connect(*world) as sock:
        assert read_line(sock) in (host.NODE, host.NODE6)
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"


def test_half_close_by_the_container(host, inside, world):
    with inside.connect(*world) as sock:
        read_line(sock)
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"last words"
    host.wait(lambda: count(host, "connections") == 0)


def test_half_close_by_the_world(host, inside):
    got = []

    def ask(connection, address):
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))
    listener = host.world.serve(host.WORLD, 0, ask)
    with inside.connect(*listener.getsockname()) as sock:
        assert read_all(sock) == b"question"
        sock.sendall(b"the " * 50000 + b"answer")
    host.wait(lambda: got)
    assert got == [b"the " * 50000 + b"answer"]
    host.wait(lambda: count(host, "connections") == 0)


def transfer(inside, world, seed, slow, mss):
    """Sends seeded bytes in pieces of all sizes; they come back the same."""
    rng = random.Random(seed)
    data = rng.randbytes(TRANSFER_BYTES)
    options = {"TCP_MAXSEG": mss} if mss else {}
    with inside.connect(*world, **options) as sock:
        read_line(sock)
        return stream.echoed(sock, data, rng, 3000 if slow else None)


def test_bytes_stay_the_same(host, inside, world, rng):
    results = []
    kinds = (False, 0), (True, 0), (False, 1460), (True, 536), (False, 9000)
    threads = [threading.Thread(target=lambda k=kind, s=rng.random():
                                results.append(transfer(inside, world, s, *k)))
               for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(TRANSFER_BYTES, True)] * len(kinds)
    host.wait(lambda: count(host, "connections") == 0)


@pytest.mark.parametrize("address", WORLDS)
def test_refused_is_told_as_such(host, inside, address):
    with pytest.raises(ConnectionRefusedError):
        inside.connect(address, 1)


def test_unreachable_is_told_as_such(host, inside):
    """The node has no route there."""
    host.node.sh("ip route add unreachable 198.51.100.0/24;"
                 "ip -6 route add unreachable 2001:db8:1::/64")
    for address in ("198.51.100.1", "2001:db8:1::1"):
        with pytest.raises(OSError, match="No route to host"):
            inside.connect(address, 80)


def test_answer_of_the_world_is_waited_for(host, inside):
    """Until the world has answered, the container's connect() lasts."""
    host.world.sh("ip address add 192.0.2.50 dev world0; "
                  "ip route add blackhole 192.0.2.99")
    with inside.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex(("192.0.2.77", 80)) == 115
        assert not select.select([], [sock], [], 0.3)[1]


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.9.1", "169.254.169.254", "224.0.0.1", "0.0.0.0",
    "255.255.255.255", "fe80::1", "::1"])
def test_closed_by_default(host, inside, address):
    """The same inside a packet, for the container's kernel would not send it
    out: by its own route to everything, local ones included."""
    before = count(host, "denied")
    port = 80
    if ":" in address:
        packet = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + \
            socket.inet_pton(socket.AF_INET6, "fd7a:6f6f:6964::a40:2") + \
            socket.inet_pton(socket.AF_INET6, address)
    else:
        packet = ip4_header(address, 6, 20)
    packet += struct.pack("!HHIIBBHHH", 4000, port, 7, 0, 5 << 4, 2, 1000, 0,
                          0)
    inject(inside, packet)
    host.wait(lambda: count(host, "denied") == before + 1)


def ip4_header(to, protocol, size, source="10.64.0.2", fragment=0x4000):
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, fragment, 64,
                       protocol, 0) + \
        socket.inet_aton(source) + socket.inet_aton(to)


def inject(inside, packet):
    """Sends bytes through the TUN, whatever they are."""
    with inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        version = 0x86dd if packet[:1] and packet[0] >> 4 == 6 else ETH_P_IP
        sock.sendto(packet, ("tun0", version))


def test_spoofed_source(host, inside):
    """Nobody speaks as somebody else."""
    before = count(host, "spoofed")
    inject(inside, ip4_header(host.WORLD, 17, 12, "10.64.0.3") +
           struct.pack("!HHHH", 5, 6, 12, 0) + b"evil")
    inject(inside, ip4_header(host.WORLD, 6, 20, "192.0.2.2") +
           struct.pack("!HHIIBBHHH", 1, 7, 0, 0, 80, 2, 9, 0, 0))
    host.wait(lambda: count(host, "spoofed") == before + 2)


def test_fragments_are_refused(host, inside):
    before = count(host, "unsupported")
    inject(inside, ip4_header(host.WORLD, 17, 12, fragment=0x2000) + bytes(12))
    inject(inside, ip4_header(host.WORLD, 17, 12, fragment=0x0001) + bytes(12))
    inject(inside, struct.pack("!IHBB", 6 << 28, 16, 44, 64) +
           socket.inet_pton(socket.AF_INET6, "fd7a:6f6f:6964::a40:2") +
           socket.inet_pton(socket.AF_INET6, host.WORLD6) + bytes(16))
    host.wait(lambda: count(host, "unsupported") == before + 3)


def test_garbage_packets(host, inside, world, rng):
    """Its neighbour is served all the while."""
    before = host.pid("znet")
    with host.containers["b"].connect(*world) as neighbour:
        read_line(neighbour)
        for _ in range(2000 if FULL else 300):
            kind = rng.randrange(3)
            body = rng.randbytes(rng.randrange(1, 100))
            if kind == 1:
                body = ip4_header(host.WORLD, rng.choice((1, 6, 17)),
                                  len(body)) + body
            elif kind == 2:
                segment = bytearray(rng.randbytes(20 + len(body)))
                segment[12] = rng.randrange(5, 16) << 4
                body = ip4_header(host.WORLD, 6, len(segment)) + segment
            inject(inside, bytes(body))
            neighbour.sendall(b"x")
            assert neighbour.recv(1) == b"x"
    assert host.pid("znet") == before


@pytest.mark.parametrize("address", WORLDS)
def test_datagrams(host, inside, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = host.world.socket(family, socket.SOCK_DGRAM)
    client = inside.socket(family, socket.SOCK_DGRAM)
    with server, client:
        server.bind((address, 0))
        client.connect(server.getsockname()[:2])
        for size in (1, 0, 1472, 20000, 65000):
            data = os.urandom(size)
            client.send(data)
            got, peer = server.recvfrom(65536)
            assert got == data and peer[0] in (host.NODE, host.NODE6)
            server.sendto(data[::-1], peer)
            assert client.recv(65536) == data[::-1]


@pytest.mark.parametrize("address", WORLDS)
def test_datagram_to_a_closed_port(host, inside, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside.socket(family, socket.SOCK_DGRAM) as client:
        client.connect((address, 9))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(10)


def test_answers_from_elsewhere_are_not_let_in(host, inside):
    server = host.world.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = host.world.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = inside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, other, client:
        server.bind((host.WORLD, 0))
        client.sendto(b"x", server.getsockname())
        _, peer = server.recvfrom(10)
        other.sendto(b"forged", peer)
        server.sendto(b"true", peer)
        assert client.recv(10) == b"true"


@pytest.mark.parametrize("address", WORLDS)
def test_echo(inside, address):
    v6 = ":" in address
    with inside.socket(socket.AF_INET6 if v6 else socket.AF_INET,
                       socket.SOCK_DGRAM, 58 if v6 else 1) as ping:
        ping.connect((address, 0))
        for n, size in enumerate((0, 56, 8000)):
            data = os.urandom(size)
            ping.send(struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 0, n) +
                      data)
            answer = ping.recv(65536)
            assert answer[0] == (129 if v6 else 0)
            assert answer[6:8] == bytes([0, n]) and answer[8:] == data


def test_reset_by_the_world(host, inside):
    def reset(connection, address):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    listener = host.world.serve(host.WORLD, 0, reset)
    with inside.connect(*listener.getsockname()) as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    host.wait(lambda: count(host, "connections") == 0)


def watched(seen):
    """Greets, and tells how the connection ended."""
    def watch(connection, address):
        connection.sendall(b"hello\n")
        try:
            seen.append(connection.recv(1))
        except ConnectionResetError:
            seen.append("reset")
    return watch


def test_reset_by_the_container(host, inside):
    seen = []
    listener = host.world.serve(host.WORLD, 0, watched(seen))
    with inside.connect(*listener.getsockname()) as sock:
        read_line(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    host.wait(lambda: seen)
    assert seen == ["reset"]


def test_back_pressure(host, inside):
    """Of an endless answer that nobody reads, little is taken; so of an
    endless question."""
    taken, over = {"in": 0, "out": 0}, threading.Event()

    def endless(connection, address):
        while True:
            taken["in"] += connection.send(bytes(65536))

    def deaf(connection, address):
        connection.recv(1)
        over.wait(DEADLINE_S)
    talker = host.world.serve(host.WORLD, 0, endless)
    listener = host.world.serve(host.WORLD, 0, deaf)
    with inside.connect(*talker.getsockname()) as reader, \
            inside.connect(*listener.getsockname()) as writer:
        reader.recv(1)
        writer.setblocking(False)
        quiet_since, before = time.monotonic(), None
        while time.monotonic() - quiet_since < 0.5:
            try:
                taken["out"] += writer.send(bytes(65536))
            except BlockingIOError:
                select.select([], [writer], [], 0.05)
            if dict(taken) != before:
                quiet_since, before = time.monotonic(), dict(taken)
        assert taken["in"] < 64 << 20 and taken["out"] < 64 << 20
        # The others go on.
        with host.containers["b"].connect(*host.world.serve(
                host.WORLD, 0, echo).getsockname()) as sock:
            assert read_line(sock) == host.NODE
    over.set()
    host.wait(lambda: count(host, "connections") == 0)


def test_window_smaller_than_a_segment(host, inside):
    """The container's window closes to less than what is ready to go in one
    piece: it is cut, and nobody waits for a timer."""
    data = bytes(range(256)) * 32768
    listener = host.world.serve(host.WORLD, 0, lambda c, a: c.sendall(data))
    with inside.connect(*listener.getsockname()) as sock:
        got = b""
        while len(got) < len(data) // 2:
            got += sock.recv(65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
        began = time.monotonic()
        assert got + read_all(sock) == data
        # 8 MB in pieces of less than 40 KB, each after 300 ms, takes a minute.
        assert time.monotonic() - began < 10
    host.wait(lambda: count(host, "connections") == 0)


@pytest.mark.parametrize("room", (2304, 4608))
def test_window_of_a_small_reader(host, inside, room):
    """It never opens further than for small segments, and there are only so
    many of them that may wait."""
    data = bytes(range(256)) * 16384
    listener = host.world.serve(host.WORLD, 0, lambda c, a: c.sendall(data))
    sock = inside.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect(listener.getsockname())
    assert read_all(sock) == data
    sock.close()
    host.wait(lambda: count(host, "connections") == 0)


def test_slow_readers_do_not_take_all_buffers(host, inside, world, rng):
    """Enough of them to fill every buffer there is, both ways."""
    def endless(connection, address):
        while True:
            connection.send(bytes(65536))
    talker = host.world.serve(host.WORLD, 0, endless)
    slow = [inside.connect(*talker.getsockname()) for _ in range(30)]
    try:
        for sock in slow:
            sock.recv(1)
        assert transfer(host.containers["b"], world, rng.random(), False,
                        0) == (TRANSFER_BYTES, True)
    finally:
        for sock in slow:
            sock.close()
    host.wait(lambda: count(host, "connections") == 0)


def test_many_connections_in_turn(host, inside, world):
    """Ports are used again, whoever closed first."""
    for n in range(300):
        with inside.connect(*world) as sock:
            read_line(sock)
            if n % 2:
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
    host.wait(lambda: count(host, "connections") == 0)


def test_same_port_again_at_once(host, inside):
    """The world has closed first, so our side waits for late packets; a new
    connection between the same two does not care."""
    listener = host.world.serve(host.WORLD, 0, lambda c, a: c.sendall(b"bye"))

    def again():
        with inside.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("10.64.0.2", 5000))
            sock.settimeout(0.9)  # a second SYN would come after a second
            try:
                sock.connect(listener.getsockname())
            except OSError as error:
                # The container's own side of the last one is not closed yet.
                assert error.errno == errno.EADDRNOTAVAIL
                return False
            return read_all(sock) == b"bye"
    for _ in range(5):
        host.wait(again)


def test_syn_flood(host, world):
    """From one container; another one's connections are opened as before."""
    before = host.pid("znet")
    name = "flood6" if ":" in world[0] else "flood4"
    flood = host.container(name, "10.64.0.8")
    with flood.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        for port in range(1024, 9000):
            try:
                sock.sendto(ip4_header(
                    "192.0.2.200", 6, 20, "10.64.0.8") + struct.pack(
                    "!HHIIBBHHH", port, 80, 7, 0, 5 << 4, 2, 1000, 0, 0),
                    ("tun0", ETH_P_IP))
            except OSError:  # the queue is full
                pass
    with host.containers["b"].connect(*world) as neighbour:
        read_line(neighbour)
    assert count(host, "dropped", name) > 0
    assert count(host, "connections", name) < 1024
    assert host.pid("znet") == before
    # What it has begun ends with it, and not when nobody answers.
    host.end(name)
    host.containers.pop(name).close()
    host.wait(lambda: host.id(name) not in host.status())


def test_idle_connections_cost_nothing(host, inside, world):
    """Nothing polls: not 20 times a second, as lwIP does by itself."""
    def switches():
        status = open("/proc/%d/status" % host.pid("znet")).read()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status,
                             re.M)[1])
    with inside.connect(*world) as sock:
        read_line(sock)
        # What was before is over, the second of late packets too.
        host.wait(lambda: count(host, "connections") == 1)
        least, end = 1000, time.monotonic() + 20
        while least > 8 and time.monotonic() < end:
            before = switches()
            threading.Event().wait(2)
            least = min(least, switches() - before)
        assert least <= 8, "%d wake-ups in two seconds" % least
        sock.sendall(b"still there")
        assert sock.recv(100) == b"still there"


def test_znet_is_killed(host, inside, world):
    """Its connections break, new ones are served by the next."""
    old = inside.connect(*world)
    read_line(old)
    host.kill("znet")
    with inside.connect(*world) as sock:
        read_line(sock)
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    with pytest.raises(ConnectionResetError):
        old.sendall(b"x")
        old.recv(1)
    old.close()


def opened_after_kill_s(host):
    """How long it takes to open a connection right after the SIGKILL, among
    others that are opened all the while."""
    inside, over, opened = host.containers["k"], threading.Event(), []
    listener = host.world.serve(host.WORLD, 0, echo)

    def come():
        while not over.is_set():
            with contextlib.suppress(OSError), inside.socket() as sock:
                sock.settimeout(2)
                sock.connect(listener.getsockname())
                opened.append(sock.recv(100))

    crowd = [threading.Thread(target=come) for _ in range(4)]
    for one in crowd:
        one.start()
    host.wait(lambda: len(opened) > 50)
    os.kill(host.pid("znet"), signal.SIGKILL)
    start = time.monotonic()
    with inside.connect(*listener.getsockname()) as sock:
        read_line(sock)
    took = time.monotonic() - start
    over.set()
    for one in crowd:
        one.join()
    listener.close()
    return took


def test_killed_znet_is_missed_for_a_moment():
    """The program that nodes run; the best of three first deaths, for the
    machine may be busy."""
    took = []
    for _ in range(3):
        with directory() as path:
            host = NetHost(path, product("x86_64", "bin/znet"))
            host.container("k", "10.64.0.2")
            took.append(opened_after_kill_s(host))
            host.close()
    assert min(took) <= 0.05, took


def test_who_went_without_a_word_is_missed(host, inside):
    """On the way out, and of a client, the node's own TCP asks after ten
    minutes. (Of the container's end see tests/unit/net_conn_test.c.)"""
    listener = host.world.serve(host.WORLD, 0, echo)
    port = listener.getsockname()[1]
    served = inside.serve("10.64.0.2", 80, echo)
    init = messages.Init(host.run)
    init.bind("web", 8080, messages.route(host.id("a"), "10.64.0.2", 80))

    def timers(net, where):
        return re.findall(r"timer:\((\w+),(\d+min)", net.sh(
            "ss -Htno state established '%s'" % where))
    with inside.connect(host.WORLD, port) as out, \
            host.world.connect(host.NODE, 8080) as client:
        read_line(out), read_line(client)
        for where in "dport = :%d" % port, "sport = :8080":
            host.wait(lambda: timers(host.node, where))
            assert set(timers(host.node, where)) <= {("keepalive", "9min"),
                                                     ("keepalive", "10min")}
    init.drop("web", 8080)
    served.close()
    listener.close()


FAR, FAR6 = "203.0.113.2", "2001:db8:2::2"


@pytest.fixture(scope="module")
def far(host):
    """Behind the world, on a link with an MTU of 1280 that its own end does
    not know of."""
    net = Net()
    host.world.sh(
        "ip link add far0 type veth peer name eth0 netns %d;"
        "ip link set far0 mtu 1280 up; ip address add 203.0.113.1/24 dev far0;"
        "ip address add 2001:db8:2::1/64 dev far0 nodad;"
        "echo 1 >/proc/sys/net/ipv4/ip_forward;"
        "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding" % net.pid)
    net.sh("ip link set eth0 up; ip address add %s/24 dev eth0;"
           "ip address add %s/64 dev eth0 nodad;"
           "ip route add default via 203.0.113.1;"
           "ip -6 route add default via 2001:db8:2::1" % (FAR, FAR6))
    host.node.sh("ip -6 route add 2001:db8:2::/64 via %s" % host.WORLD6)
    yield net
    host.node.sh("ip -6 route del 2001:db8:2::/64")
    net.close()


@pytest.mark.parametrize("address", [FAR, FAR6])
def test_narrow_path(host, inside, far, address):
    """A router says that a packet is too large: the node's TCP sends smaller
    ones, and datagrams come in pieces."""
    listener = far.serve(address, 0, lambda sock, _: sock.sendall(
        b"%d" % len(read_all(sock))))
    with inside.connect(*listener.getsockname()[:2]) as sock:
        sock.sendall(bytes(1 << 20))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"%d" % (1 << 20)
    listener.close()
    assert "mtu 1280" in host.node.sh("ip route get " + address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with far.socket(family, socket.SOCK_DGRAM) as server, \
            inside.socket(family, socket.SOCK_DGRAM) as client:
        server.bind((address, 0))
        server.settimeout(1)
        client.connect(server.getsockname()[:2])
        for size in (1, 1400, 20000):
            data = os.urandom(size)

            def passes():
                client.send(data)
                with contextlib.suppress(TimeoutError):
                    return server.recv(65536) == data
            host.wait(passes)


def test_container_ends(host):
    """With its TUN its connections end, for the world too."""
    seen = []
    listener = host.world.serve(host.WORLD, 0, watched(seen))
    gone = host.container("gone", "10.64.0.9")
    sock = gone.connect(*listener.getsockname())
    read_line(sock)
    host.end("gone")
    host.wait(lambda: seen)
    assert seen == ["reset"]
    host.wait(lambda: host.id("gone") not in host.status())
    sock.close()


TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21


def next_number(sock):
    """The sequence number of the byte that sock would send next."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, 2)
    number = sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)
    return number & 0xffffffff


def test_segments_ahead_do_not_take_all_buffers(host, inside, world):
    """Large ones with a hole before them would be kept until it is filled, on
    so many connections more than there are buffers."""
    listener = host.world.serve(host.WORLD, 0, echo)
    port = listener.getsockname()[1]
    before = count(host, "dropped")
    socks = [inside.connect(host.WORLD, port) for _ in range(33)]
    with inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as raw:
        for sock in socks:
            read_line(sock)
            seq, own = next_number(sock), sock.getsockname()[1]
            for n in range(8):
                ahead = (seq + 1000 + n * 60000) & 0xffffffff
                raw.sendto(ip4_header(host.WORLD, 6, 60020) + struct.pack(
                    "!HHIIBBHHH", own, port, ahead, 0, 80, 16, 9, 0, 0) +
                    bytes(60000), ("tun0", ETH_P_IP))
    host.wait(lambda: count(host, "dropped") > before)
    began = time.monotonic()
    with host.containers["b"].connect(*world) as neighbour:
        read_line(neighbour)
        neighbour.sendall(b"x" * 100000)
        got = 0
        while got < 100000:
            got += len(neighbour.recv(65536))
    # Starved of buffers it comes through by its own repetitions, in 13 s.
    assert time.monotonic() - began < 4
    for sock in socks:
        sock.close()
    listener.close()
    host.wait(lambda: count(host, "connections") == 0)
