"""Clients, and applications, that break off or hardly get on while bytes are
on their way. znet with the sanitizers in it, one container's namespace."""

import os
import socket
import threading
import time

import pytest

from test_znet import RESET, Host, echo, read_all, read_line
from zooid.host import directory


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = Host(path)
        yield host
        host.close()


def descriptors(host):
    return len(os.listdir("/proc/%d/fd" % host.pid("znet")))


def fill(sock):
    """Sends until nobody takes any more."""
    sock.settimeout(0.3)
    try:
        while True:
            sock.send(bytes(1 << 20))
    except TimeoutError:
        pass


def is_reset(sock, ended_before):
    """Whether sock learns that the other one broke off; one whose stream had
    ended well before is noticed by who still sends."""
    sock.settimeout(30)
    try:
        while sock.recv(1 << 20):
            pass
        while ended_before:
            sock.send(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


class Held:
    """An application that does as it is told with each of its connections."""

    def __init__(self, host, port):
        self.taken, self.more = [], threading.Semaphore(0)
        self.host, self.over = host, threading.Event()
        host.inside.serve(port, self._take)

    def _take(self, connection, address):
        self.taken.append(connection)
        self.more.release()
        self.over.wait()

    def next(self):
        assert self.more.acquire(timeout=30)
        return self.taken[-1]


@pytest.mark.parametrize("who", ["client", "application"])
@pytest.mark.parametrize("flows", ["up", "down", "both"])
@pytest.mark.parametrize("half", [False, True])
def test_reset_with_bytes_on_their_way(host, who, flows, half, request):
    """The other one learns of it, whatever waits in between, and nothing is
    kept; also when one stream had ended before."""
    number = 100 + request.node.callspec.indices["who"] + \
        2 * request.node.callspec.indices["flows"] + \
        10 * request.node.callspec.indices["half"]
    held = Held(host, number)
    port = host.publish("web%d" % number, number)
    for _ in range(3):
        client = host.connect(port)
        inside = held.next()
        if flows != "down":
            fill(client)
        if flows != "up":
            fill(inside)
        breaks, learns = (client, inside) if who == "client" else \
            (inside, client)
        if half:
            breaks.shutdown(socket.SHUT_WR)
        breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        breaks.close()
        # Also while the other one reads nothing.
        host.wait(lambda: host.count("connections") == 0)
        assert is_reset(learns, half)
        learns.close()
    held.over.set()
    assert host.count("pipes in use") == 0


def test_half_closed_is_whole(host):
    """A stream that ended, with the other one full: what is on its way is all
    delivered."""
    said = os.urandom(8 << 20)

    def answer(connection, address):
        assert read_all(connection) == b"question"
        connection.sendall(said)
    host.inside.serve(200, answer)
    with host.connect(host.publish("half", 200)) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        host.wait(lambda: host.count("pipes in use") > 0)
        assert read_all(client) == said
    host.wait(lambda: host.count("connections") == 0)


def test_slower_than_a_byte_a_second(host):
    """A hundred of them: each byte comes through, none holds a pipe, and who
    has something to say is served meanwhile."""
    host.inside.serve(201, echo)
    port = host.publish("slow", 201)
    slow = [host.connect(port) for _ in range(100)]
    for sock in slow:
        read_line(sock)
    for turn in range(3):
        start = time.monotonic()
        for sock in slow:
            sock.sendall(b"x")
        for sock in slow:
            assert sock.recv(10) == b"x"
        assert host.count("pipes in use") == 0
        while time.monotonic() - start < 1.1:
            with host.connect(port) as fast:
                read_line(fast)
                fast.sendall(bytes(100000))
                fast.shutdown(socket.SHUT_WR)
                assert len(read_all(fast)) == 100000
    assert descriptors(host) < 400
    for sock in slow:
        sock.close()
    host.wait(lambda: host.count("connections") == 0)
