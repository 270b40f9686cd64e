"""Where a container may go and how fast: rules by range, port, protocol and
name; refused is told as refused; what waits for its rate."""

import itertools
import json
import os
import re
import socket
import struct
import subprocess
import time

import pytest

from test_znet_dns import (A, AAAA, TRUNCATED, TXT, NameServer, ask, code,
                           name_servers, query, record)
from zooid.host import BIN, directory
from zooid.messages import INIT_DROP, INIT_PUT, Init
from zooid.net_host import NetHost

WORLD, WORLD6 = NetHost.WORLD, NetHost.WORLD6
NAMED = "198.51.100.7"  # has a name, on the world's side
OTHER = "198.51.100.8"
METADATA = "169.254.169.254"  # of a cloud; here the node has it
RATE = 256 << 10  # bytes a second, both ways
KIND_TUN = 3
numbers = itertools.count(2)


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.world.sh("".join("ip address add %s/32 dev lo;" % a
                              for a in (NAMED, OTHER)))
        host.node.sh("ip route add 198.51.100.0/24 via %s;"
                     "ip address add %s/32 dev lo" % (WORLD, METADATA))
        yield host
        host.close()


@pytest.fixture
def made(host):
    """made(policy, ...) -> a container of the test's own."""
    names = []

    def make(policy, service="", application="shop"):
        n = next(numbers)
        names.append("t%d" % n)
        made = host.container(names[-1], "10.64.1.%d" % n, application,
                              service, policy)
        made.address, made.name = "10.64.1.%d" % n, names[-1]
        return made
    yield make
    for name in names:
        host.end(name)
        host.containers.pop(name).close()


def listen(host, address, port=0):
    return host.world.serve(address, port, lambda c, a: c.sendall(b"here"))


@pytest.fixture
def world(host):
    """Ports of services at WORLD, WORLD6, NAMED and OTHER."""
    listeners = {a: listen(host, a) for a in (WORLD, WORLD6, NAMED, OTHER)}
    yield {a: l.getsockname()[1] for a, l in listeners.items()}
    for listener in listeners.values():
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class Cutting(NameServer):
    """What is too large for a datagram it cuts."""

    def reply(self, message, most=512):
        whole = super().reply(message)
        if not whole or len(whole) <= most:
            return whole
        end = whole.index(b"\0", 12) + 5
        return whole[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + \
            whole[12:end]

    def _stream(self, connection, peer):
        size, = struct.unpack("!H", connection.recv(2))
        reply = self.reply(connection.recv(size), most=65535)
        connection.sendall(struct.pack("!H", len(reply)) + reply)


@pytest.fixture(scope="module")
def server(host):
    def answer(asked):
        name = asked[1:1 + asked[0]].decode("latin-1")
        kind = struct.unpack("!H", asked[-4:-2])[0]
        if name.startswith("large"):
            return 0, [record(TXT, bytes([200]) + bytes(200), 60)] * 5 + [
                record(A, socket.inet_aton(NAMED), 60)], []
        if kind != A:
            return 0, [], []
        if name == "node":
            return 0, [record(A, socket.inet_aton(METADATA), 60)], []
        ttl = 2 if name == "short" else 60
        return 0, [record(A, socket.inet_aton(NAMED), ttl)], []
    server = Cutting(host.world, WORLD, answer)
    name_servers(host, WORLD)
    yield server
    server.close()


def reached(inside, address, port):
    with inside.connect(address, port) as sock:
        assert sock.recv(100) == b"here"


def refused(inside, address, port):
    with pytest.raises(ConnectionRefusedError):
        inside.connect(address, port)


def count(host, name, inside):
    row = re.search(r"^%s of .*" % re.escape(inside.address), host.status(),
                    re.M)[0]
    return int(re.search(r"%s (\d+)" % name, row)[1])


def test_without_rules_all_is_open(host, made, world):
    inside = made(None)
    for address, port in world.items():
        reached(inside, address, port)


def test_the_first_rule_that_matches_wins(host, made, world):
    inside = made("allow %s tcp %d\ndeny 192.0.2.0/24\nallow any" %
                  (WORLD, world[WORLD]))
    reached(inside, WORLD, world[WORLD])
    refused(inside, WORLD, world[WORLD] - 1)
    refused(inside, "192.0.2.77", 80)
    reached(inside, OTHER, world[OTHER])
    assert count(host, "denied", inside) == 2
    other = made("deny 192.0.2.0/24\nallow %s tcp %d" %
                 (WORLD, world[WORLD]))
    refused(other, WORLD, world[WORLD])


def test_what_no_rule_matches_goes_by_the_default(host, made, world):
    inside = made("default deny\nallow %s tcp" % WORLD6)
    reached(inside, WORLD6, world[WORLD6])
    refused(inside, WORLD, world[WORLD])
    refused(inside, OTHER, world[OTHER])


def test_ranges_of_ports(host, made, world):
    port = world[WORLD]
    inside = made("default deny\nallow any tcp %d-%d" % (port, port))
    reached(inside, WORLD, port)
    other = made("default deny\nallow any tcp %d-%d" % (port + 1, port + 9))
    refused(other, WORLD, port)


def test_datagrams(host, made):
    with host.world.socket(kind=socket.SOCK_DGRAM) as there:
        there.bind((WORLD, 0))
        port = there.getsockname()[1]
        inside = made("deny any tcp\nallow any udp %d\ndeny any" % port)
        with inside.socket(kind=socket.SOCK_DGRAM) as sock:
            sock.connect((WORLD, port))
            sock.send(b"hello")
            message, peer = there.recvfrom(100)
            assert message == b"hello"
            there.sendto(b"you too", peer)
            assert sock.recv(100) == b"you too"
        with inside.socket(kind=socket.SOCK_DGRAM) as sock:
            sock.connect((WORLD, port - 1))
            sock.send(b"hello")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(100)


@pytest.mark.parametrize("policy, answers", [
    ("default deny\nallow any icmp", True), ("deny any icmp", False)])
def test_echo(host, made, policy, answers):
    inside = made(policy)
    with inside.socket(kind=socket.SOCK_DGRAM,
                       proto=socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        sock.connect((WORLD, 0))
        sock.send(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + b"ping")
        if answers:
            assert sock.recv(100).endswith(b"ping")
        else:
            with pytest.raises(ConnectionRefusedError):
                sock.recv(100)


def no_way(inside, address, port):
    with pytest.raises(OSError, match="No route to host"):
        inside.connect(address, port)


def test_no_rule_opens_the_node(host, made, server):
    """Nor does a name, whose owner may say that it is anywhere."""
    inside = made("allow any\nallow %s\nallow node.example" % METADATA)
    listener = host.node.listen(METADATA, 0)
    port = listener.getsockname()[1]
    no_way(inside, METADATA, port)
    assert ask(inside, query("node.example"))[-4:] == \
        socket.inet_aton(METADATA)
    no_way(inside, METADATA, port)
    listener.close()


def test_names(host, made, server, world):
    """Only what this container was given for that name."""
    inside = made("default deny\nallow www.example tcp")
    other = made("default deny\nallow www.example tcp")
    port = world[NAMED]
    refused(inside, NAMED, port)
    assert code(ask(inside, query("elsewhere.example"))) == 0
    refused(inside, NAMED, port)
    assert ask(inside, query("WWW.example"))[-4:] == socket.inet_aton(NAMED)
    reached(inside, NAMED, port)
    refused(inside, OTHER, world[OTHER])
    refused(other, NAMED, port)


def test_what_is_below_a_name(host, made, server, world):
    inside = made("default deny\nallow *.example tcp")
    refused(inside, NAMED, world[NAMED])
    ask(inside, query("example"))
    refused(inside, NAMED, world[NAMED])
    ask(inside, query("a.b.example"))
    reached(inside, NAMED, world[NAMED])


def test_a_name_that_is_denied(host, made, server, world):
    inside = made("deny www.example\nallow any")
    reached(inside, NAMED, world[NAMED])
    ask(inside, query("www.example"))
    refused(inside, NAMED, world[NAMED])


def test_a_name_holds_for_as_long_as_it_says(host, made, server, world):
    inside = made("default deny\nallow short.example tcp")
    ask(inside, query("short.example"))
    reached(inside, NAMED, world[NAMED])

    def is_over():
        try:
            inside.connect(NAMED, world[NAMED]).close()
        except ConnectionRefusedError:
            return True
        return False
    host.wait(is_over)
    # From the cache, or asked for anew: it holds again.
    ask(inside, query("short.example"))
    reached(inside, NAMED, world[NAMED])


def by_tcp(inside, *messages):
    with inside.connect(NetHost.RESOLVER, 53) as sock:
        sock.sendall(b"".join(struct.pack("!H", len(m)) + m
                              for m in messages))
        got = b""
        replies = []
        while len(replies) < len(messages):
            piece = sock.recv(65536)
            assert piece, (replies, got)
            got += piece
            while len(got) >= 2 and \
                    len(got) >= 2 + struct.unpack("!H", got[:2])[0]:
                size, = struct.unpack("!H", got[:2])
                replies.append(got[2:2 + size])
                got = got[2 + size:]
        return replies


def test_names_by_tcp(host, made, server, world):
    """Several questions in one go, each answered, in turn; the answer that
    does not fit a datagram is whole. Rules know what was told."""
    inside = made("default deny\nallow large.example tcp")
    refused(inside, NAMED, world[NAMED])
    replies = by_tcp(inside, query("one.example", id=1),
                     query("large.example", TXT, id=2),
                     query("three.example", AAAA, id=3))
    assert [r[:2] for r in replies] == [b"\0\1", b"\0\2", b"\0\3"]
    assert replies[1].count(bytes(200)) == 5
    # By datagram he is told to come by TCP.
    reply = ask(inside, query("large.example", TXT))
    assert struct.unpack("!H", reply[2:4])[0] & TRUNCATED
    reached(inside, NAMED, world[NAMED])
    # The resolver goes on with the same names by datagram.
    assert code(ask(inside, query("one.example"))) == 0


def test_bad_questions_by_tcp(host, made, server, rng):
    inside = made(None)
    before = host.pid("znet")
    for n in range(100):
        bad = rng.randbytes(rng.randrange(1, 300))
        with inside.connect(NetHost.RESOLVER, 53) as sock:
            sock.sendall(bad)
            sock.shutdown(socket.SHUT_WR)
            try:
                while sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert code(by_tcp(inside, query("still.example"))[0]) == 0
    assert host.pid("znet") == before
    host.wait(lambda: count(host, "connections", inside) == 0)


def test_many_streams_of_one(host, made, server):
    """One that opens ever more has no more than its part."""
    inside, other = made(None), made(None)
    held = []
    with pytest.raises(OSError, match="No route to host"):
        for n in range(65):
            held.append(inside.connect(NetHost.RESOLVER, 53))
    assert len(held) == 32
    assert code(by_tcp(other, query("free.example"))[0]) == 0
    for sock in held:
        sock.close()
    host.wait(lambda: count(host, "connections", inside) == 0)
    assert code(by_tcp(inside, query("again.example"))[0]) == 0


def net(host, *args):
    done = subprocess.run([BIN / "znode", "net", *args], env=host.env,
                          text=True, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_flows_are_counted_by_rule(host, made, world):
    """For people, as JSON and as metrics."""
    inside = made("default deny\nallow %s tcp\nallow 192.0.2.0/24" % OTHER)
    for _ in range(3):
        reached(inside, OTHER, world[OTHER])
    reached(inside, WORLD, world[WORLD])
    for _ in range(2):
        refused(inside, NAMED, world[NAMED])
    row, = (r for r in json.loads(net(host, "-o", "json"))
            if r["address"] == inside.address)
    assert row["container"] == host.id(inside.name)
    assert row["rules"] == [
        {"rule": "allow %s tcp" % OTHER, "flows": 3},
        {"rule": "allow 192.0.2.0/24", "flows": 1},
        {"rule": "default deny", "flows": 2}]
    assert row["denied"] == 2 and row["bytes_in"] > 16
    lines = net(host).splitlines()
    at, = (i for i, line in enumerate(lines) if inside.address in line)
    assert lines[0].startswith("CONTAINER")
    assert [line.split(None, 1) for line in lines[at + 1:at + 4]] == [
        ["3", "allow %s tcp" % OTHER], ["1", "allow 192.0.2.0/24"],
        ["2", "default deny"]]
    metrics = net(host, "-o", "metrics").splitlines()
    label = '{container="%s"' % row["container"]
    assert "zooid_net_denied_total%s} 2" % label in metrics
    assert 'zooid_net_rule_flows_total%s,number="1",rule="allow %s tcp"} 3' % (
        label, OTHER) in metrics
    names = [m.split("{")[0] for m in metrics if not m.startswith("#")]
    typed = {m.split()[2] for m in metrics if m.startswith("# TYPE")}
    assert set(names) == typed


def test_services_go_by_their_names(host, made, world):
    """Without a question: a neighbour is who it is."""
    inside = made("default deny\nallow db tcp", "front")
    db = made(None, "db")
    listener = db.serve(db.address, 0, lambda c, a: c.sendall(b"here"))
    reached(inside, db.address, listener.getsockname()[1])
    listener.close()
    other = made("default deny\nallow cache tcp", "front")
    refused(other, db.address, 1)
    store = made(None, "store cache")
    listener = store.serve(store.address, 0, lambda c, a: c.sendall(b"here"))
    reached(other, store.address, listener.getsockname()[1])
    listener.close()


def test_rules_outlive_znet(host, made, server, world):
    """They are in init's store: a new znet knows them before anybody goes
    anywhere; what it does not know is what was told by the resolver."""
    inside = made("default deny\nallow %s tcp\nallow www.example" % WORLD)
    ask(inside, query("www.example"))
    reached(inside, NAMED, world[NAMED])
    pid = host.pid("znet")
    os.kill(pid, 9)
    host.wait(lambda: host.pid("znet") not in (0, None, pid))
    host.wait(lambda: inside.address in host.status())
    refused(inside, OTHER, world[OTHER])
    refused(inside, NAMED, world[NAMED])
    reached(inside, WORLD, world[WORLD])


def test_without_its_rules_it_goes_nowhere(host, made, world):
    """Whatever becomes of what init keeps: none, then bytes that are none."""
    inside = made("allow any")
    reached(inside, WORLD, world[WORLD])
    init = Init(host.run)
    key = KIND_TUN, host.id(inside.name), 1

    def is_held():
        with inside.socket() as sock:
            sock.setblocking(False)
            sock.connect_ex((WORLD, world[WORLD]))
            return count(host, "limited", inside) > before
    before = count(host, "limited", inside)
    init.call(INIT_DROP, *key)
    host.wait(is_held)
    fd = os.memfd_create("policy")
    os.write(fd, os.urandom(20000))
    init.call(INIT_PUT, *key, fds=[fd])
    os.close(fd)
    host.wait(lambda: "it goes nowhere" in host.said())
    before = count(host, "limited", inside)
    host.wait(is_held)
    with inside.socket() as sock, pytest.raises(TimeoutError):
        sock.settimeout(2)
        sock.connect((WORLD, world[WORLD]))


@pytest.mark.parametrize("policy, said", [
    ("allow 10.0.0.0/33", "want a prefix of 0 to 32 bits"),
    ("allow any tcp 70000", "want a port, 1 to 65535"),
    ("up 5", "at least 65536 bytes"),
    ("allow any\n" * 65, "want at most 64 rules")])
def test_what_is_no_policy_starts_nothing(host, policy, said):
    name = "bad%d" % next(numbers)
    with pytest.raises(AssertionError, match=name):
        host.container(name, "10.64.2.9", policy=policy)
    assert said in host.said()
    assert "10.64.2.9" not in host.status()


def timed(inside, port, send):
    """Seconds for a second's bytes beyond the burst."""
    start = time.monotonic()
    with inside.connect(WORLD, port) as sock:
        if send:
            sock.sendall(bytes(RATE * 2))
        sock.shutdown(socket.SHUT_WR)
        got = 0
        while piece := sock.recv(65536):
            got += len(piece)
    return time.monotonic() - start, got


@pytest.mark.parametrize("limit", ["up", "down"])
def test_bytes_a_second(host, made, limit):
    """Two seconds' worth takes at least one and comes whole; another
    container has none of it."""
    def serve(connection, address):
        n = 0
        while piece := connection.recv(65536):
            n += len(piece)
        connection.sendall(b"%d" % n if limit == "up" else bytes(RATE * 2))
    listener = host.world.serve(WORLD, 0, serve)
    port = listener.getsockname()[1]
    slow, fast = made("%s %d" % (limit, RATE)), made(None)
    seconds, got = timed(slow, port, limit == "up")
    assert got == (len(b"%d" % (RATE * 2)) if limit == "up" else RATE * 2)
    assert seconds > 1
    assert timed(fast, port, limit == "up")[1] == got
    listener.close()
    host.wait(lambda: count(host, "connections", slow) == 0)


def test_datagrams_a_second(host, made):
    """What is too much for the way to the container is lost and counted."""
    with host.world.socket(kind=socket.SOCK_DGRAM) as there:
        there.bind((WORLD, 0))
        inside = made("down %d" % RATE)
        with inside.socket(kind=socket.SOCK_DGRAM) as sock:
            sock.connect(there.getsockname())
            sock.send(b"hello")
            _, peer = there.recvfrom(100)

            def is_limited():
                for _ in range(20):
                    there.sendto(bytes(32000), peer)
                return count(host, "limited", inside) > 0
            host.wait(is_limited)
            assert len(sock.recv(65536)) == 32000


def test_connections_a_second(host, made, world):
    """The second one of a second comes when its SYN is sent again."""
    inside = made("connections 1")
    reached(inside, WORLD, world[WORLD])
    start = time.monotonic()
    for _ in range(2):
        reached(inside, WORLD, world[WORLD])
    assert time.monotonic() - start > 1
    assert count(host, "limited", inside) > 0
