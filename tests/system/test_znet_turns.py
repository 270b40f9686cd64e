"""That one container's many sockets keep nobody waiting: znet is stopped until
each of them has something for it, and one of a neighbour too, the last. Then
the neighbour is not the last that is served."""

import contextlib
import os
import signal
import socket
import struct

import pytest

from zooid import messages
from zooid.host import directory
from zooid.net_host import NetHost

MANY = 50  # less than the events of one turn, LOOP_BATCH
MUCH = 60000  # bytes
PORT, PUBLISHED = 7, {"a": 8007, "b": 8008}
ADDRESS = {"a": "10.64.0.2", "b": "10.64.0.3"}
SO_TIMESTAMPNS = 35
PACKETS = 200  # that a TUN and a socket hold


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        for name, address in ADDRESS.items():
            host.container(name, address)
            messages.Init(host.run).bind(name, PUBLISHED[name], messages.route(
                host.id(name), address, PORT))
        yield host
        host.close()


@contextlib.contextmanager
def stopped(host):
    pid = host.pid("znet")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def outbound(host, name):
    """(who sends, who receives) of a connection that container `name` opens."""
    with host.world.listen(host.WORLD, PORT) as listener:
        receiver = host.containers[name].connect(host.WORLD, PORT)
        return listener.accept()[0], receiver


def inbound(host, name):
    """Likewise, of one that a client in the world opens."""
    with host.containers[name].listen(ADDRESS[name], PORT) as listener:
        receiver = host.world.connect(host.NODE, PUBLISHED[name])
        return listener.accept()[0], receiver


def came_ns(sock, size):
    """When the last of so many bytes came in, by the kernel's clock."""
    came = 0
    while size:
        data, ancillary, _, _ = sock.recvmsg(size, 100)
        assert data
        size -= len(data)
        for _, kind, value in ancillary:
            if kind == SO_TIMESTAMPNS:
                s, ns = struct.unpack("qq", value[:16])
                came = s * 10 ** 9 + ns
    return came


@pytest.mark.parametrize("connection", [outbound, inbound])
def test_neighbour_is_not_the_last(host, connection):
    with contextlib.ExitStack() as stack:
        def pair(name):
            sender, receiver = map(stack.enter_context, connection(host, name))
            receiver.settimeout(30)
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            # All that has to do with opening it is over.
            sender.sendall(b"?")
            assert receiver.recv(1) == b"?"
            return sender, receiver
        many = [pair("a") for _ in range(MANY)]
        one = pair("b")
        with stopped(host):
            for sender, _ in many:
                sender.sendall(bytes(MUCH))
            one[0].sendall(b"!")
        mine = came_ns(one[1], 1)
        before = sum(came_ns(receiver, MUCH) < mine for _, receiver in many)
    assert mine and before < MANY // 2, before


def test_its_packets_are_not_the_last(host):
    """Of those that a container's own kernel holds."""
    with contextlib.ExitStack() as stack:
        def sock(net):
            return stack.enter_context(net.socket(kind=socket.SOCK_DGRAM))
        world, a, b = map(sock, (host.world, *map(
            host.containers.get, ADDRESS)))
        world.bind((host.WORLD, PORT))
        for one in (a, b):  # they have flows then
            one.sendto(b"?", (host.WORLD, PORT))
            assert world.recv(1) == b"?"
        with stopped(host):
            for _ in range(PACKETS):
                a.sendto(b"a", (host.WORLD, PORT))
            b.sendto(b"b", (host.WORLD, PORT))
        came = [world.recv(1) for _ in range(PACKETS + 1)]
    assert came.index(b"b") < PACKETS // 2
