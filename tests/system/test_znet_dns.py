"""The resolver of containers, against name servers of our own in the world."""

import contextlib
import os
import re
import socket
import struct
import threading
import time

import pytest

from zooid.host import directory
from zooid.messages import (DRAINED, INIT_DROP, KIND_TUN, ZNET_DRAIN, Init,
                            Reactor)
from zooid.net_host import NetHost, place

RESOLVER, RESOLVER6 = NetHost.RESOLVER, "fd7a:6f6f:6964::a40:1"
A, SOA, AAAA, TXT = 1, 6, 28, 16
SERVER_FAILURE, NO_NAME, REFUSED = 2, 3, 5
TRUNCATED = 0x0200


def name_bytes(name):
    return b"".join(bytes([len(part)]) + part.encode()
                    for part in name.split(".")) + b"\0"


def question(name, kind=A):
    return name_bytes(name) + struct.pack("!HH", kind, 1)


def query(name, kind=A, id=0x1234, edns=0):
    extra = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", id, 0x0100, 1, 0, 0, bool(edns)) + \
        question(name, kind) + extra


def record(kind, data, ttl):
    return struct.pack("!HHHIH", 0xc00c, kind, 1, ttl, len(data)) + data


def soa(ttl, least):
    data = b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, least)
    return record(SOA, data, ttl)


class NameServer:
    """answer(question bytes) -> (code, answer records, authority records) or
    None for silence; those that were asked are in `asked`."""

    def __init__(self, net, address, answer):
        self.answer, self.asked = answer, []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.datagrams = net.socket(family, socket.SOCK_DGRAM)
        self.datagrams.settimeout(None)
        self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.datagrams.bind(place(address, 53))
        self.streams = net.serve(address, 53, self._stream)
        threading.Thread(target=self._loop, daemon=True).start()

    def reply(self, message):
        end = 12
        while message[end]:
            end += 1 + message[end]
        end += 5
        asked = message[12:end]
        self.asked.append(asked)
        made = self.answer(asked.lower())
        if made is None:
            return None
        code, answers, authority = made
        return message[:2] + struct.pack(
            "!HHHHH", 0x8180 | code, 1, len(answers), len(authority), 0) + \
            asked + b"".join(answers) + b"".join(authority)

    def _loop(self):
        with contextlib.suppress(OSError):
            while True:
                message, peer = self.datagrams.recvfrom(4096)
                if not message:
                    return
                reply = self.reply(message)
                if reply:
                    # One that somebody guessed comes first.
                    self.datagrams.sendto(os.urandom(2) + reply[2:-1] + b"!",
                                          peer)
                    self.datagrams.sendto(reply, peer)

    def _stream(self, connection, peer):
        size, = struct.unpack("!H", connection.recv(2))
        reply = self.reply(connection.recv(size))
        connection.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        # Wakes the thread that receives.
        with contextlib.suppress(OSError):
            self.datagrams.shutdown(socket.SHUT_RDWR)
        self.datagrams.close()
        self.streams.shutdown(socket.SHUT_RDWR)
        self.streams.close()


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.container("a", "10.64.0.2", "shop", "front")
        host.container("b", "10.64.0.3", "shop", "back")
        host.container("c", "10.64.0.4", "bank", "vault")
        yield host
        host.close()


@pytest.fixture
def inside(host):
    return host.containers["a"]


def name_servers(host, *addresses):
    """znet asks init again when what it knows is two seconds old."""
    (host.run / "resolv.conf").write_text(
        "search example.com\n# a comment\n" +
        "".join("nameserver %s\n" % a for a in addresses))
    end = time.monotonic() + 2.1
    while time.monotonic() < end:
        threading.Event().wait(end - time.monotonic())


@pytest.fixture(scope="module")
def server(host):
    """What it tells is in the name: ttl-N, none, fails."""
    def answer(asked):
        first = asked[1:1 + asked[0]].decode("latin-1")
        if first.startswith("none"):
            return NO_NAME, [], [soa(3600, 2)]
        if first.startswith("fails"):
            return SERVER_FAILURE, [], []
        if first.startswith("silent"):
            return None
        if first.startswith("large"):
            return 0, [record(TXT, bytes([200]) + bytes(200), 60)] * 5, []
        kind = struct.unpack("!H", asked[-4:-2])[0]
        data = b"\x0a\1\2\3" if kind == A else bytes(15) + b"\7"
        ttl = int(first[4:].split("-")[0]) if first.startswith("ttl") else 60
        return 0, [record(kind, data, ttl)], []
    made = NameServer(host.world, host.WORLD, answer)
    name_servers(host, host.WORLD)
    yield made
    made.close()


def ask(inside, message, to=RESOLVER):
    with inside.socket(socket.AF_INET6 if ":" in to else socket.AF_INET,
                       socket.SOCK_DGRAM) as sock:
        sock.connect((to, 53))
        sock.send(message)
        return sock.recv(65536)


def count(host, name):
    row = re.search(r"^10\.64\.0\.2 of .*", host.status(), re.M)[0]
    return int(re.search(r"%s (\d+)" % name, row)[1])


def code(reply):
    return reply[3] & 15


@pytest.mark.parametrize("to", [RESOLVER, RESOLVER6])
@pytest.mark.parametrize("kind, data", [(A, b"\x0a\1\2\3"),
                                        (AAAA, bytes(15) + b"\7")])
def test_names_are_resolved(inside, server, to, kind, data):
    reply = ask(inside, query("www-%s.example" % to[:2], kind, 0x4242), to)
    assert reply[:2] == b"\x42\x42" and code(reply) == 0
    assert reply.endswith(data)


def test_an_answer_is_kept_for_as_long_as_it_says(inside, server):
    before = len(server.asked)
    first = ask(inside, query("ttl-3.example"))
    assert ask(inside, query("TTL-3.Example", id=7))[:2] == b"\0\7"
    assert len(server.asked) == before + 1
    end, ttls = time.monotonic() + 20, set()
    while len(server.asked) == before + 1:
        assert time.monotonic() < end
        reply = ask(inside, query("ttl-3.example"))
        ttls.add(struct.unpack("!I", reply[-10:-6])[0])
    assert struct.unpack("!I", first[-10:-6]) == (3,)
    assert {1, 2} <= ttls, "it grows older"


def test_that_there_is_no_name_is_kept_too(inside, server):
    before = len(server.asked)
    for _ in range(3):
        assert code(ask(inside, query("none-1.example"))) == NO_NAME
    assert len(server.asked) == before + 1


def test_failures_are_not_kept(inside, server):
    before = len(server.asked)
    for n in range(1, 3):
        assert code(ask(inside, query("fails.example"))) == SERVER_FAILURE
        assert len(server.asked) == before + 4 * n, "asked four times"


def test_too_large_for_a_datagram(inside, server):
    """The asker is told to come by TCP, and is answered there; with EDNS he
    gets all at once."""
    message = query("large.example", TXT)
    reply = ask(inside, message)
    assert struct.unpack("!H", reply[2:4])[0] & TRUNCATED
    assert len(reply) == 12 + len(question("large.example"))
    with inside.connect(RESOLVER, 53) as sock:
        sock.sendall(struct.pack("!H", len(message)) + message)
        size, = struct.unpack("!H", sock.recv(2))
        whole = sock.recv(size)
    assert whole.count(bytes(200)) == 5
    assert ask(inside, query("large.example", TXT, edns=4096)).count(
        bytes(200)) == 5


def test_bad_queries(host, inside, server, rng):
    before = host.pid("znet")
    good = query("still.example")
    for n in range(200):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] = rng.randrange(256)
        with inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(bad[:rng.randrange(len(bad) + 1)]),
                        (RESOLVER, 53))
    assert code(ask(inside, good)) == 0
    assert host.pid("znet") == before


def test_name_servers_change(host, inside, server):
    """One that is not there any more, then one that is; the second one is
    asked where the first is silent."""
    second = NameServer(host.world, host.WORLD6,
                        lambda asked: (0, [record(A, b"\x0a\4\4\4", 60)], []))
    try:
        name_servers(host, "192.0.2.123", host.WORLD6)
        assert ask(inside, query("moved.example")).endswith(b"\x0a\4\4\4")
        assert len(second.asked) == 1
        name_servers(host)
        assert code(ask(inside, query("nobody.example"))) == SERVER_FAILURE
    finally:
        second.close()
        name_servers(host, host.WORLD)


def test_name_servers_of_its_own(host, inside, server):
    """They are asked in place of the node's, and what they say is nobody
    else's, nor the other way round."""
    own = NameServer(host.world, host.WORLD6,
                     lambda asked: (0, [record(A, b"\x0a\5\5\5", 60)], []))
    host.container("own", "10.64.0.31", "shop", "own",
                   policy="default allow\ndns %s\n" % host.WORLD6)
    try:
        asks = host.containers["own"]
        theirs = query("ttl-60-shared.example")
        assert ask(inside, theirs).endswith(b"\x0a\1\2\3")
        assert ask(asks, theirs).endswith(b"\x0a\5\5\5")
        assert ask(asks, query("ttl-60-own.example")).endswith(b"\x0a\5\5\5")
        assert ask(inside, query("ttl-60-own.example")).endswith(
            b"\x0a\1\2\3")
        assert ask(asks, query("back")).endswith(socket.inet_aton(BACK[0]))
        assert len(own.asked) == 2
    finally:
        own.close()
    try:
        before = len(server.asked)
        assert code(ask(asks, query("gone.example"))) == SERVER_FAILURE
        assert len(server.asked) == before, "the node's are not asked"
    finally:
        host.end("own")
        host.containers.pop("own").close()
        host.delete("own")


def test_policy_goes_while_its_name_servers_are_asked(host, inside, server):
    """What they say then is kept for nobody, and the node's are not asked."""
    policy_gone = threading.Event()

    def answer(asked):
        policy_gone.wait(30)
        return 0, [record(A, b"\x0a\5\5\5", 60)], []
    own = NameServer(host.world, host.WORLD6, answer)
    asks = host.container("own", "10.64.0.31", "shop", "own",
                          policy="default allow\ndns %s\n" % host.WORLD6)
    late, before = query("ttl-60-late.example"), len(server.asked)
    try:
        with asks.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((RESOLVER, 53))
            sock.send(late)
            host.wait(lambda: own.asked)
            Init(host.run).call(INIT_DROP, KIND_TUN, host.id("own"), 1)
            policy_gone.set()
            sock.recv(65536)
        assert len(server.asked) == before
        assert ask(inside, late).endswith(b"\x0a\1\2\3")
    finally:
        policy_gone.set()
        own.close()
        host.end("own")
        host.containers.pop("own").close()
        host.delete("own")


def test_name_server_that_is_the_router(host, inside, server):
    """Whose address means something on its link only."""
    at, link = host.world.link_local("world0")
    router = NameServer(host.world, "%s%%%d" % (at, link), lambda asked: (
        0, [record(A, b"\x0a\7\7\7", 60)], []))
    name_servers(host, "%s%%%d" % (at, host.node.link_local("node0")[1]))
    try:
        assert ask(inside, query("router.example"))[-4:] == b"\x0a\7\7\7"
        assert router.asked
    finally:
        router.close()
        name_servers(host, host.WORLD)


def test_other_ports_of_the_resolver_are_closed(inside):
    with pytest.raises(OSError, match="No route to host"):
        inside.connect(RESOLVER, 80)


BACK = "10.64.0.3", "fd7a:6f6f:6964::a40:3"


def test_services_have_names(host, inside, server):
    before = len(server.asked)
    assert ask(inside, query("back")).endswith(socket.inet_aton(BACK[0]))
    assert ask(inside, query("BACK", AAAA)).endswith(
        socket.inet_pton(socket.AF_INET6, BACK[1]))
    reply = ask(inside, query("back", TXT))
    assert code(reply) == 0 and reply[6:8] == b"\0\0"
    assert len(server.asked) == before
    # Of another application there is no such name here.
    assert not ask(inside, query("vault")).endswith(bytes([10, 64, 0, 4]))
    assert len(server.asked) == before + 1


def test_other_names_of_a_service(host, inside, server):
    """Those that a Compose file gives it; none is part of another's."""
    host.container("n", "10.64.0.30", "shop", "app_db my.db.local cache")
    try:
        for name in ("app_db", "MY.db.Local", "cache"):
            assert ask(inside, query(name)).endswith(
                socket.inet_aton("10.64.0.30")), name
        before = len(server.asked)
        for name in ("app", "local", "db.local", "cach"):
            assert not ask(inside, query(name)).endswith(
                socket.inet_aton("10.64.0.30")), name
        assert len(server.asked) == before + 4
    finally:
        host.end("n")
        host.containers.pop("n").close()
        host.delete("n")


def test_several_of_a_service_in_turn(host, inside, server, monkeypatch):
    """Of two instances of one app, of which one is about to go, one."""
    monkeypatch.setattr(host, "id", lambda name: name)
    pid = os.getpid()
    names = ["p%d-1-1" % pid, "p%d-2-1" % pid, "p%d-2-2" % pid]
    try:
        for i, name in enumerate(names):
            host.container(name, "10.64.0.%d" % (20 + i), "shop", "worker")
        given = []
        for _ in range(8):  # as a resolver asks, for both at once
            given.append(ask(inside, query("worker"))[-4:])
            assert ask(inside, query("worker", AAAA)).endswith(given[-1])
        assert sorted(set(given)) == [bytes([10, 64, 0, 20]),
                                      bytes([10, 64, 0, 21])]
        assert given[0] != given[1] and given[::2] == [given[0]] * 4
        assert len(server.asked) == 0 or b"worker" not in b"".join(
            server.asked)
    finally:
        for name in names:
            if name in host.containers:
                host.end(name)
                host.containers.pop(name).close()


def test_who_drains_is_not_named(host, inside, monkeypatch):
    """And does not end before what was told of it is forgotten."""
    monkeypatch.setattr(host, "id", lambda name: name)
    names = ["d%d-1" % os.getpid(), "d%d-2" % os.getpid()]
    reactor = Reactor(host.run)
    try:
        # The number counts, not the order.
        host.container(names[1], "10.64.0.31", "shop", "drains")
        host.container(names[0], "10.64.0.30", "shop", "drains")
        asked = time.monotonic()
        assert ask(inside, query("drains"))[-4:] == bytes([10, 64, 0, 30])
        reactor.tell(ZNET_DRAIN, names[0])
        host.wait(lambda: ask(inside, query("drains"))[-4:] ==
                  bytes([10, 64, 0, 31]))
        for _ in range(3):
            assert ask(inside, query("drains")).endswith(b"\x1f")
        assert reactor.event()[::5] == (DRAINED, names[0])
        assert time.monotonic() - asked > 4.9
    finally:
        reactor.close()
        for name in names:
            if name in host.containers:
                host.end(name)
                host.containers.pop(name).close()


@pytest.mark.parametrize("address, seen", [
    (BACK[0], "10.64.0.2"), (BACK[1], "fd7a:6f6f:6964::a40:2")])
def test_services_reach_each_other(host, inside, address, seen):
    """By their own addresses; who does not listen refuses."""
    listener = host.containers["b"].serve(
        address, 0, lambda c, a: c.sendall(a[0].encode() + b" " + c.recv(99)))
    with inside.connect(*listener.getsockname()[:2]) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == seen.encode() + b" hello"
        assert sock.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        inside.connect(address, 1)


@pytest.mark.parametrize("address, seen", [
    (BACK[0], "10.64.0.2"), (BACK[1], "fd7a:6f6f:6964::a40:2")])
def test_services_reach_each_other_by_datagrams(host, inside, address, seen):
    """The answers come back, and only those."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    back = host.containers["b"]
    with back.socket(family, socket.SOCK_DGRAM) as server, \
            back.socket(family, socket.SOCK_DGRAM) as other, \
            inside.socket(family, socket.SOCK_DGRAM) as client:
        server.bind((address, 9))
        client.connect((address, 9))
        for size in (0, 1, 1472, 60000):
            data = os.urandom(size)
            client.send(data)
            got, peer = server.recvfrom(65536)
            assert got == data
            assert peer[:2] == (seen, client.getsockname()[1])
            server.sendto(data[::-1], peer)
            assert client.recv(65536) == data[::-1]
        other.sendto(b"unasked", peer)
        server.sendto(b"asked", peer)
        assert client.recv(100) == b"asked"


def test_other_applications_are_closed(host, inside):
    before = count(host, "denied")
    listener = host.containers["c"].listen("10.64.0.4", 0)
    for address in (listener.getsockname()[0], "10.64.77.77"):
        with pytest.raises(OSError, match="No route to host"):
            inside.connect(address, listener.getsockname()[1])
    assert count(host, "denied") == before + 1
    listener.close()
    with host.containers["c"].socket(kind=socket.SOCK_DGRAM) as server, \
            inside.socket(kind=socket.SOCK_DGRAM) as client:
        server.bind(("10.64.0.4", 0))
        client.connect(server.getsockname())
        client.send(b"?")
        with pytest.raises(OSError, match="No route to host|Operation not"):
            client.recv(1)
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.recv(1)
    assert count(host, "denied") == before + 2


def test_a_flood_of_questions(host, inside, server):
    """One container's wait for answers that do not come; what is known is
    still told."""
    ask(inside, query("known.example"))
    dropped = count(host, "dropped")
    with inside.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((RESOLVER, 53))
        for n in range(400):
            sock.send(query("silent-%d.example" % n, id=n))
    assert code(ask(inside, query("known.example"))) == 0
    assert count(host, "dropped") > dropped
