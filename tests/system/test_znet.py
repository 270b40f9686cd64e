"""znet under `init --supervise` on this machine, with the sanitizers in it:
connections into a namespace set up as a container's."""

import contextlib
import ipaddress
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from zooid import FULL, messages, stream
from zooid.build import BUILD
from zooid.host import BIN, DEADLINE_S, Supervised, directory, free_port
from zooid.messages import route, route_held
from zooid.namespace import Namespace, SocketMaker

UID_ZNET = 103
TRANSFER_BYTES = (50 if FULL else 4) << 20
RESET = struct.pack("ii", 1, 0)  # linger 0: close sends a reset


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def read_all(sock):
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def echo(connection, address):
    """Says who it sees, then repeats what comes."""
    connection.sendall(("%s %d\n" % address[:2]).encode())
    while data := connection.recv(65536):
        connection.sendall(data)


class Host(Supervised):
    """init --supervise with znet, and one container's namespace."""

    def __init__(self, path, znet=BIN / "znet"):
        super().__init__(path)
        self.inside = Namespace()
        self.maker = SocketMaker(self.run, {"web-1": self.inside})
        self.supervise("znet kmsg uid=%d mode=0666 : %s" %
                       (UID_ZNET, znet))
        self.init = messages.Init(self.run)

    def publish(self, app, inside_port, address=Namespace.V4, **options):
        port = free_port()
        self.init.bind(app, port, route("web-1", address, inside_port),
                       **options)
        return port

    def connect(self, port, address="127.0.0.1"):
        sock = socket.create_connection((address, port), DEADLINE_S)
        sock.settimeout(DEADLINE_S)
        return sock

    def status(self):
        done = subprocess.run([BIN / "znet", "status"], env=self.env,
                              text=True, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr + self.said()
        return done.stdout

    def count(self, name):
        return int(re.search(r"%s (\d+)" % name, self.status())[1])

    def close(self):
        super().close()
        self.maker.close()
        self.inside.close()


@pytest.fixture
def host():
    with directory() as path:
        host = Host(path)
        yield host
        host.close()


def test_the_application_sees_the_client(host):
    host.inside.serve(80, echo)
    port = host.publish("web", 80)
    with host.connect(port) as client:
        assert read_line(client) == "127.0.0.1 %d" % client.getsockname()[1]
    # There is no such address inside: seen as the container's own.
    with host.connect(port, "::1") as client:
        assert read_line(client).startswith(Namespace.V4 + " ")


def test_the_application_sees_an_ipv6_client(host):
    host.inside.serve(80, echo, v6=True)
    port = host.publish("web", 80, address=Namespace.V6)
    with host.connect(port, "::1") as client:
        assert read_line(client) == "::1 %d" % client.getsockname()[1]


def proxy_header(client, node):
    """As HAProxy's proxy-protocol.txt has it, for two (address, port)."""
    pairs = [(ipaddress.ip_address(address), port)
             for address, port in (client, node)]
    addresses = b"".join(address.packed for address, _ in pairs)
    ports = struct.pack("!HH", *(port for _, port in pairs))
    kind = 0x11 if len(addresses) == 8 else 0x21
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
        "!BBH", 0x21, kind, len(addresses) + 4) + addresses + ports


@pytest.mark.parametrize("called", ["127.0.0.1", "::1"])
def test_header_of_the_proxy_protocol(host, rng, called):
    """Before the first byte, also of a client of the family that does not
    exist inside; what follows is spliced as ever."""
    def all_back(connection, _):
        while data := connection.recv(65536):
            connection.sendall(data)
    host.inside.serve(80, all_back)
    port = free_port()
    host.init.bind("web", port, route("web-1", Namespace.V4, 80,
                                      proxy_protocol=2))
    data = rng.randbytes(TRANSFER_BYTES)
    with host.connect(port, called) as client:
        want = proxy_header(client.getsockname()[:2], (called, port))
        # Without waiting for a byte of the client.
        got = client.recv(len(want), socket.MSG_WAITALL)
        assert got == want
        sender = threading.Thread(target=lambda: (
            client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(client) == data
        sender.join()


def test_unknown_version_of_the_proxy_protocol(host):
    host.init.bind("web", free_port(), route("web-1", Namespace.V4, 80,
                                             proxy_protocol=3))
    host.wait(lambda: "bad route in the note" in host.said())


def test_one_port_of_a_client_to_two_published_ports(host):
    """Inside, both would be the same connection: the second gets another
    port."""
    host.inside.serve(80, echo)
    ports = host.publish("a", 80), host.publish("b", 80)
    own = free_port()
    clients = []
    for port in ports:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(DEADLINE_S)
        client.bind(("127.0.0.1", own))
        client.connect(("127.0.0.1", port))
        clients.append(client)
    assert read_line(clients[0]) == "127.0.0.1 %d" % own
    seen = read_line(clients[1])
    assert seen.startswith("127.0.0.1 ") and not seen.endswith(" %d" % own)


def test_half_close(host):
    host.inside.serve(80, echo)
    with host.connect(host.publish("web", 80)) as client:
        read_line(client)
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"last words"
    host.wait(lambda: host.count("connections") == 0)


def transfer(host, port, seed, slow):
    """Sends seeded bytes in pieces of all sizes; they come back the same."""
    rng = random.Random(seed)
    data = rng.randbytes(TRANSFER_BYTES)
    with host.connect(port) as client:
        read_line(client)
        return stream.echoed(client, data, rng, 1000 if slow else None)


def test_bytes_stay_the_same(host, rng):
    host.inside.serve(80, echo)
    port, results = host.publish("web", 80), []
    threads = [threading.Thread(target=lambda i=i, s=rng.random(): results
                                .append(transfer(host, port, s, i % 2)))
               for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(TRANSFER_BYTES, True)] * 6
    host.wait(lambda: host.count("connections") == 0)
    assert host.count("pipes in use") == 0


def test_back_pressure(host):
    """Of an endless answer that nobody reads, little is taken."""
    sent = 0

    def endless(connection, address):
        nonlocal sent
        while True:
            sent += connection.send(bytes(65536))
    host.inside.serve(80, endless)
    with host.connect(host.publish("web", 80)) as client:
        client.recv(1)
        before = -1
        host.wait(lambda: host.count("pipes in use") == 1)
        while sent != before:
            before = sent
            host.status()
        assert sent < 64 << 20
    host.wait(lambda: host.count("connections") == 0)


def test_slow_clients_do_not_take_all_pipes(host, rng):
    """64 of them are all there are; others go on without."""
    def endless(connection, address):
        while True:
            connection.send(bytes(65536))
    host.inside.serve(80, endless)
    host.inside.serve(81, echo)
    slow, port = host.publish("slow", 80), host.publish("web", 81)
    clients = [host.connect(slow) for _ in range(80)]
    for client in clients:
        client.recv(1)
    host.wait(lambda: host.count("pipes in use") == 64)
    assert transfer(host, port, rng.random(), False) == (TRANSFER_BYTES, True)
    # Who has no pipe gets on, too.
    for client in clients:
        client.recv(1 << 20)


def test_reset_by_the_application(host):
    def reset(connection, address):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    host.inside.serve(80, reset)
    with host.connect(host.publish("web", 80)) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_reset_by_the_client(host):
    seen = []

    def watch(connection, address):
        connection.sendall(b"hello\n")
        try:
            seen.append(connection.recv(1))
        except ConnectionResetError:
            seen.append("reset")
    host.inside.serve(80, watch)
    with host.connect(host.publish("web", 80)) as client:
        read_line(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    host.wait(lambda: seen)
    assert seen == ["reset"]


def test_application_that_listens_late(host):
    port = host.publish("web", 80)
    clients = [host.connect(port) for _ in range(5)]
    host.wait(lambda: host.count("accepted") == 1)
    host.inside.serve(80, echo)
    for client in clients:
        assert read_line(client).startswith("127.0.0.1 ")


def test_held_route(host):
    """Who is connected stays, who comes waits for the next container."""
    host.inside.serve(80, echo)
    port = host.publish("web", 80)
    old = host.connect(port)
    read_line(old)
    host.init.note("web", port, route_held())
    host.wait(lambda: "held" in host.status())
    new = host.connect(port)
    old.sendall(b"still here\n")
    assert read_line(old) == "still here"
    assert host.count("accepted") == 1
    second = Namespace()
    try:
        host.maker.namespaces["web-2"] = second
        second.serve(81, echo)
        host.init.note("web", port, route("web-2", Namespace.V4, 81))
        assert read_line(new).startswith("127.0.0.1 ")
    finally:
        second.close()


def test_dropped_listener(host):
    port = host.publish("web", 80)
    waiting = host.connect(port)
    host.wait(lambda: host.count("accepted") == 1)
    host.init.drop("web", port)
    with pytest.raises(ConnectionResetError):
        waiting.recv(1)
    with pytest.raises(ConnectionRefusedError):
        host.connect(port)


def test_refused(host):
    """Long after its start a container that refuses is believed."""
    listener = host.inside.serve(80, echo)
    port = host.publish("web", 80)
    with host.connect(port) as client:
        read_line(client)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    client = host.connect(port)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert host.count("refused") == 1


def test_killed_znet(host):
    """Its connections break; who comes meanwhile is served by the next."""
    host.inside.serve(80, echo)
    port = host.publish("web", 80)
    old = host.connect(port)
    read_line(old)
    pid = host.pid("znet")
    os.kill(pid, signal.SIGKILL)
    with host.connect(port) as client:
        assert read_line(client).startswith("127.0.0.1 ")
    with pytest.raises(ConnectionResetError):
        old.sendall(b"x")
        old.recv(1)
    assert host.pid("znet") != pid


def served_after_kill_s(host):
    """How long a client waits who comes right after the SIGKILL, among others
    who never stop coming."""
    host.inside.serve(80, echo)
    port = host.publish("web", 80)
    over = threading.Event()

    def come():
        while not over.is_set():
            with contextlib.suppress(OSError), host.connect(port) as client:
                read_line(client)

    crowd = [threading.Thread(target=come) for _ in range(4)]
    for one in crowd:
        one.start()
    host.wait(lambda: host.count("accepted") > 50)
    os.kill(host.pid("znet"), signal.SIGKILL)
    start = time.monotonic()
    with host.connect(port) as client:
        assert read_line(client).startswith("127.0.0.1 ")
    took = time.monotonic() - start
    over.set()
    for one in crowd:
        one.join()
    return took


def test_killed_znet_is_missed_for_a_moment():
    """The program that nodes run; the best of three first deaths, for the
    machine may be busy."""
    took = []
    for n in range(3):
        with directory() as path:
            host = Host(path, BUILD / "x86_64/bin/znet")
            took.append(served_after_kill_s(host))
            host.close()
    assert min(took) <= 0.05, took


def test_zrun_serve_replaced(host):
    host.inside.serve(80, echo)
    port = host.publish("web", 80)
    for _ in range(3):
        host.maker.disconnect()
        for _ in range(20):
            with host.connect(port) as client:
                assert read_line(client).startswith("127.0.0.1 ")


def test_full_table(host):
    """1,024 descriptors are room for 282 connections to one port beside
    another; the next client waits for one of them to end. Who comes to the
    other one need not."""
    host.inside.serve(80, echo)
    port, other = host.publish("web", 80), host.publish("other", 80)
    clients = [host.connect(port) for _ in range(282)]
    for client in clients:
        read_line(client)
    host.wait(lambda: re.search(r"connections 282 of 282\b", host.status()))
    late = [host.connect(port) for _ in range(4)]
    # Nobody tells when it has looked at those.
    for _ in range(5):
        assert host.count("accepted") == 282
    for client in [host.connect(other) for _ in range(8)]:
        assert read_line(client).startswith("127.0.0.1 ")
    fds = len(os.listdir("/proc/%d/fd" % host.pid("znet")))
    assert 580 <= fds < 580 + 64, "an idle connection is two descriptors"
    for client in clients[:8]:
        client.close()
    for client in late:
        assert read_line(client).startswith("127.0.0.1 ")


def test_broken_note(host):
    port = host.publish("web", 80)
    host.init.note("web", port, bytes(92))
    host.wait(lambda: "bad route in the note" in host.said())
    host.init.note("web", port, b"\xff" * 192)
    assert "held" in host.status()
