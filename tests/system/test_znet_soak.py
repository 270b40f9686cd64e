"""znet for an hour under all that it does at once, with the address sanitizer,
and under valgrind: no error, with the first no leak, memory that does not grow,
and nothing is left when all have gone. tests/soak/znet_soak.c is the program."""

import contextlib
import os
import random
import re
import signal
import socket
import struct
import threading
import time

import pytest

from test_znet_dns import A, NameServer, ask, name_servers, query, record
from test_znet_faults import bad_packets
from zooid import FULL, messages
from zooid.build import product
from zooid.crowd import Crowd
from zooid.host import directory
from zooid.net_host import NetHost

SOAK_S = 3600 if FULL else 20
PORT, PUBLISHED = 7, 8017
OWN = "10.64.0.2"
GROWTH_KB = 4096
RESET = struct.pack("ii", 1, 0)
KINDS = {
    "asan": ("host", "/usr/bin/env ASAN_OPTIONS=detect_leaks=1:"
             "quarantine_size_mb=1 %s"),
    # Of a static program it does not see what is allocated: leaks are for the
    # other one to find.
    "valgrind": ("x86_64", "/usr/bin/valgrind -q --error-exitcode=9 %s"),
}


class Load:
    """Runs each of `work` over and over, in a thread of its own, and keeps
    what went wrong."""

    def __init__(self, *work):
        self.over, self.failures = threading.Event(), []
        self.rounds = {one.__name__: 0 for one in work}
        self.threads = [threading.Thread(target=self._run, args=(one,))
                        for one in work]
        for thread in self.threads:
            thread.start()

    def _run(self, work):
        rng = random.Random(work.__name__)
        while not self.over.is_set():
            try:
                work(rng)
            except Exception as e:  # all of them count
                self.failures.append((work.__name__, repr(e)))
                return
            self.rounds[work.__name__] += 1

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.failures:
            self.over.wait(min(1, max(0, end - time.monotonic())))

    def close(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures and all(self.rounds.values()), (
            self.failures, self.rounds)


def exchange(sock, rng):
    """Some bytes there and back, then one of the ways to end."""
    sock.settimeout(60)
    data = rng.randbytes(rng.choice((1, 100, 5000, 200000)))
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    got = b""
    while len(got) < len(data):
        piece = sock.recv(65536)
        assert piece, (len(got), len(data))
        got += piece
    sender.join()
    assert got == data
    how = rng.randrange(4)
    if how == 0:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    elif how == 1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class Soak:
    def __init__(self, host):
        self.host, self.init = host, messages.Init(host.run)
        self.inside = host.container("a", OWN, "shop", "front",
                                     "default allow\nallow *.example\n")
        self.neighbour = host.container("b", "10.64.0.3", "shop", "back")
        self.stack = contextlib.ExitStack()
        for net in (host.world, self.neighbour):
            self.stack.callback(Crowd(net, "serve", "0.0.0.0", PORT).close)
            self._repeat(net)
        route = messages.route(host.id("b"), "10.64.0.3", PORT)
        for n in (PUBLISHED, PUBLISHED | messages.LISTEN_UDP):
            self.init.bind("web", n, route)
        self.server = NameServer(
            host.world, host.WORLD,
            lambda asked: (0, [record(A, b"\x0a\1\2\3", 1)], []))
        self.stack.callback(self.server.close)
        name_servers(host, host.WORLD)
        self.bad = list(bad_packets())
        self.n, self.pause = 0, threading.Event()

    def _repeat(self, net):
        sock = net.socket(kind=socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", PORT))
        sock.settimeout(None)

        def loop():
            with contextlib.suppress(OSError):
                while (got := sock.recvfrom(65536))[0] != b"stop":
                    sock.sendto(*got)
        threading.Thread(target=loop, daemon=True).start()

        def stop():
            with net.socket(kind=socket.SOCK_DGRAM) as ender:
                ender.sendto(b"stop", ("127.0.0.1", PORT))
        self.stack.callback(stop)

    def clients(self, rng):
        to = rng.choice((self.host.NODE, self.host.NODE6))
        with self.host.world.connect(to, PUBLISHED) as sock:
            exchange(sock, rng)

    def connections(self, rng):
        to = rng.choice((self.host.WORLD, "10.64.0.3"))
        with self.inside.connect(to, PORT) as sock:
            exchange(sock, rng)
        with pytest.raises(OSError):
            self.inside.connect(to, 1)

    def datagrams(self, rng):
        for net, to in ((self.inside, (self.host.WORLD, PORT)),
                        (self.inside, ("10.64.0.3", PORT)),
                        (self.host.node, ("127.0.0.1", PUBLISHED)),
                        (self.host.world, (self.host.NODE, PUBLISHED))):
            with net.socket(kind=socket.SOCK_DGRAM) as sock:
                sock.connect(to)
                sock.settimeout(5)
                data = rng.randbytes(rng.randrange(20000))
                # A datagram may be lost.
                for last in (False, False, True):
                    sock.send(data)
                    try:
                        assert sock.recv(65536) == data
                        break
                    except TimeoutError:
                        assert not last

    def names(self, rng):
        name = "n%d.example" % rng.randrange(1000)
        with contextlib.suppress(TimeoutError):
            ask(self.inside, query(name, id=rng.randrange(65536)))
        with self.inside.connect(self.host.RESOLVER, 53) as sock:
            sock.settimeout(30)
            message = query(name)
            sock.sendall(struct.pack("!H", len(message)) + message)
            with contextlib.suppress(OSError):
                assert sock.recv(2)

    def garbage(self, rng):
        with self.inside.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                0) as sock:
            for packet in rng.sample(self.bad, 20):
                with contextlib.suppress(OSError):
                    sock.sendto(packet, ("tun0", 0x86dd if packet[0] >> 4 == 6
                                         else 0x0800))
        self.host.status()

    def comings(self, rng):
        """A container comes, with a port, opens connections, and goes with
        them open."""
        self.n += 1
        name, address = "x%d" % self.n, "10.64.9.%d" % (1 + self.n % 200)
        net = self.host.container(name, address, "shop", "new",
                                  "default deny\nallow %s\n" % self.host.WORLD)
        with net.connect(self.host.WORLD, PORT) as sock, \
                net.socket(kind=socket.SOCK_DGRAM) as flow:
            sock.sendall(b"x")
            flow.sendto(b"x", (self.host.WORLD, PORT))
            self.init.bind("new", PUBLISHED + 1, messages.route(
                self.host.id(name), address, PORT))
            waiting = self.host.world.connect(self.host.NODE, PUBLISHED + 1)
            self.init.note("new", PUBLISHED + 1, messages.route_held())
            self.init.drop("new", PUBLISHED + 1)
            waiting.close()
            self.host.end(name)
        self.host.containers.pop(name).close()
        self.host.delete(name)
        self.pause.wait(0.1)

    def load(self):
        return Load(self.clients, self.connections, self.datagrams,
                    self.names, self.garbage, self.comings)


def resident_kb(pid):
    with open("/proc/%d/status" % pid) as status:
        return int(re.search(r"^VmRSS:\s+(\d+)", status.read(), re.M)[1])


def nothing_open(host):
    status = host.status()
    return "\nconnections 0 of " in "\n" + status and not re.search(
        r"connections [1-9]\d*[, ]", status.split("\n", 1)[1])


@pytest.mark.deadline(SOAK_S + 300)
@pytest.mark.parametrize("kind", KINDS)
def test_soak(kind, capfd):
    flavour, command = KINDS[kind]
    with directory() as path:
        host = NetHost(path, command % product(flavour, "tests/znet_soak"))
        try:
            soak = Soak(host)
            pid = host.pid("znet")
            load = soak.load()
            load.run(SOAK_S / 4)
            before = resident_kb(pid)
            load.run(SOAK_S * 3 / 4)
            after = resident_kb(pid)
            load.close()
            host.wait(lambda: nothing_open(host))
            assert host.pid("znet") == pid, host.said()
            soak.stack.close()
            os.kill(pid, signal.SIGTERM)
            host.wait(lambda: host.pid("znet") not in (None, pid))
            with capfd.disabled():
                print("%s: %d s, %s; %d KB grew to %d" % (
                    kind, SOAK_S, load.rounds, before, after))
            assert after <= before + GROWTH_KB
            assert "==%d==" % pid not in host.said(), host.said()
            assert "znet: exited with status 0" in host.said(), host.said()
        finally:
            host.close()
