"""Clients by IPv6, and a node that has nothing else."""

import contextlib
import os
import socket

import pytest

from test_znet import echo, read_line
from test_znet_dns import (RESOLVER6, A, AAAA, NameServer, ask, code,
                           name_servers, query, record)
from zooid import messages
from zooid.host import directory
from zooid.net_host import NetHost

PORT, INSIDE = 8080, 80
OWN, OWN6 = "10.64.0.2", "fd7a:6f6f:6964::a40:2"


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.container("a", OWN, "shop")
        host.init = messages.Init(host.run)
        yield host
        host.close()


@contextlib.contextmanager
def published(host, listens):
    """Of an application that listens there."""
    listener = host.containers["a"].serve(listens, INSIDE, echo)
    host.init.bind("web", PORT, messages.route(host.id("a"), OWN, INSIDE))
    try:
        yield
    finally:
        host.init.drop("web", PORT)
        # Until znet has heard of it the port is taken.
        host.wait(lambda: refused(host.node))
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def refused(net):
    try:
        net.connect("::1", PORT).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it closed just then
        pass
    return False


def seen(net, address):
    with net.connect(address, PORT) as client:
        return read_line(client), "%s %d" % client.getsockname()[:2]


def test_the_application_sees_an_ipv6_client(host):
    """In one that listens to both families so of either."""
    with published(host, "::"):
        for net, address in ((host.world, host.NODE6), (host.node, "::1")):
            for _ in range(40):  # more than are kept ready
                saw, client = seen(net, address)
                assert saw == client
        for net, address in ((host.world, host.NODE), (host.node, "127.0.0.1")):
            saw, client = seen(net, address)
            assert saw == "::ffff:" + client


def test_who_listens_to_ipv4_alone(host):
    """Sees himself; and who listens to IPv6 after him is found."""
    with published(host, "0.0.0.0"):
        for _ in range(40):
            saw, _ = seen(host.world, host.NODE6)
            assert saw.split()[0] == OWN
    with published(host, "::"):
        host.wait(lambda: len(set(seen(host.world, host.NODE6))) == 1)


def test_nobody_listens(host):
    """By neither: the client is told when it is believed."""
    with published(host, "::"):
        seen(host.world, host.NODE6)
    host.init.bind("web", PORT, messages.route(host.id("a"), OWN, INSIDE))
    with host.world.connect(host.NODE6, PORT) as client:
        late = host.containers["a"].serve("::", INSIDE, echo)
        assert read_line(client) == "%s %d" % client.getsockname()[:2]
        late.shutdown(socket.SHUT_RDWR)
        late.close()
    host.init.drop("web", PORT)


@pytest.fixture
def only(host):
    """IPv6 on the node's link."""
    host.node.sh("ip address del %s/24 dev node0; ip -6 route add default "
                 "via %s" % (host.NODE, host.WORLD6))
    yield
    host.node.sh("ip address add %s/24 dev node0; ip route replace default "
                 "via %s; ip -6 route del default" % (host.NODE, host.WORLD))


def test_node_without_ipv4(host, only):
    inside = host.containers["a"]
    server = NameServer(host.world, host.WORLD6, lambda asked: (0, [record(
        AAAA, socket.inet_pton(socket.AF_INET6, host.WORLD6), 60)]
        if asked[-4:-2] == AAAA.to_bytes(2, "big") else [], []))
    listener = host.world.serve(host.WORLD6, 0, echo)
    datagrams = host.world.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind((host.WORLD6, 0))
    name_servers(host, host.WORLD6)
    try:
        # Asked of the resolver by either.
        for to in (host.RESOLVER, RESOLVER6):
            reply = ask(inside, query("six.example", AAAA), to)
            assert code(reply) == 0
            assert socket.inet_pton(socket.AF_INET6, host.WORLD6) in reply
            assert code(ask(inside, query("six.example", A), to)) == 0
        with inside.connect(*listener.getsockname()[:2]) as sock:
            assert read_line(sock).split()[0] == host.NODE6
        with inside.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            data = os.urandom(20000)
            sock.sendto(data, datagrams.getsockname()[:2])
            got, peer = datagrams.recvfrom(65536)
            assert got == data and peer[0] == host.NODE6
        with pytest.raises(OSError, match="unreachable|No route"):
            inside.connect(host.WORLD, 80)
        for listens in ("0.0.0.0", "::"):
            with published(host, listens):
                host.wait(lambda: seen(host.world, host.NODE6)[0])
    finally:
        server.close()
        listener.close()
        datagrams.close()
