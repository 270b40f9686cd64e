"""What znet does about freezing, with a test in the place of znode and pipes in
the place of freezers: each side of a race comes in the order that is asked
for."""

import os
import select
import socket
import time

import pytest

from test_znet import Host, echo, read_line
from zooid.host import DEADLINE_S, directory, free_port
from zooid.messages import (ANSWERED, BUSY, BY_BYTE, BY_CONNECTION, BY_HAND,
                            CLOSED, DRAINED, FROZEN, KNOCK, KNOCKED, LULL,
                            QUIET, WOKEN, ZNET_CLOSE, ZNET_DRAIN,
                            ZNET_DRAIN_ANSWERS, ZNET_FORGET, ZNET_FREEZE,
                            ZNET_FREEZE_NOW, ZNET_KNOCKS, ZNET_THAW,
                            ZNET_WAKE_AT_BYTE, ZNET_WATCH, Reactor,
                            route, route_held)

WEB = "web-1"
SOON_MS = 60
INSIDE = 7000  # port inside


class Freezer:
    """A pipe that a freezer's values are written to."""

    def __init__(self):
        self.read, self.write = os.pipe()

    def values(self, n):
        got = b""
        while len(got) < n:
            assert select.select([self.read], [], [], DEADLINE_S)[0], got
            got += os.read(self.read, n - len(got))
        return got.decode()

    def is_empty(self):
        return not select.select([self.read], [], [], 0)[0]

    def close(self):
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def host():
    with directory() as path:
        made = Host(path)
        made.reactor, made.freezer = Reactor(made.run), Freezer()
        made.inside.serve(INSIDE, echo)
        made.port = made.publish("web", INSIDE)
        yield made
        made.close()
        made.freezer.close()


def watch(host, quiet_ms=SOON_MS, flags=0):
    host.reactor.tell(ZNET_WATCH, WEB, quiet_ms, flags, [host.freezer.write])


def connected(host):
    sock = host.connect(host.port)
    read_line(sock)
    return sock


def said(sock, text):
    sock.sendall(text)
    assert sock.recv(len(text), socket.MSG_WAITALL) == text


def frozen(host):
    host.reactor.until(QUIET)
    host.reactor.tell(ZNET_FREEZE, WEB)
    assert host.reactor.event()[0] == FROZEN
    assert host.freezer.values(1) == "1"


def test_lull_then_quiet_then_frozen_then_woken(host):
    sock = connected(host)
    watch(host)
    assert host.reactor.event()[::5] == (LULL, WEB)
    assert host.reactor.event()[0] == QUIET
    assert host.freezer.is_empty()
    host.reactor.tell(ZNET_FREEZE, WEB)
    assert host.reactor.event()[0] == FROZEN
    assert host.freezer.values(1) == "1"
    said(sock, b"hello")
    what, _, by, _, n_open, _ = host.reactor.event()
    assert (what, by, n_open) == (WOKEN, BY_BYTE, 1)
    assert host.freezer.values(1) == "0"
    what, _, _, us, _, _ = host.reactor.event()
    assert what == ANSWERED and 0 < us < DEADLINE_S * 1e6
    frozen(host)


def test_a_request_between_quiet_and_freeze(host):
    """It was not idle any more when it was to be frozen."""
    sock = connected(host)
    watch(host)
    host.reactor.until(QUIET)
    said(sock, b"hello")
    host.reactor.tell(ZNET_FREEZE, WEB)
    assert host.reactor.event()[0] == BUSY
    assert host.freezer.is_empty()
    frozen(host)


def test_an_answer_between_quiet_and_freeze(host):
    """And so where only the container speaks."""
    reply = []

    def late(connection, _):
        reply.append(connection)
        connection.recv(1)
    host.inside.serve(INSIDE + 1, late)
    sock = host.connect(host.publish("other", INSIDE + 1))
    host.wait(lambda: reply)
    watch(host)
    host.reactor.until(QUIET)
    reply[0].sendall(b"news")
    assert sock.recv(4, socket.MSG_WAITALL) == b"news"
    host.reactor.tell(ZNET_FREEZE, WEB)
    assert host.reactor.event()[0] == BUSY
    sock.close()


def test_by_hand_not_while_an_answer_is_due(host):
    asked = []

    def silent(connection, _):
        while data := connection.recv(100):
            asked.append((connection, data))
    host.inside.serve(INSIDE + 1, silent)
    sock = host.connect(host.publish("other", INSIDE + 1))
    watch(host, quiet_ms=0)
    sock.sendall(b"hello")
    host.wait(lambda: asked)
    host.reactor.tell(ZNET_FREEZE, WEB, flags=ZNET_FREEZE_NOW)
    assert host.reactor.event()[0] == BUSY
    asked[0][0].sendall(b"world")
    assert sock.recv(5, socket.MSG_WAITALL) == b"world"
    host.reactor.tell(ZNET_FREEZE, WEB, flags=ZNET_FREEZE_NOW)
    assert host.reactor.event()[0] == FROZEN
    host.reactor.tell(ZNET_THAW, WEB)
    what, _, by = host.reactor.event()[:3]
    assert (what, by) == (WOKEN, BY_HAND)
    assert host.freezer.values(2) == "10"
    sock.close()


def test_connection_or_byte(host):
    watch(host)
    frozen(host)
    sock = connected(host)
    assert host.reactor.event()[:3] == (WOKEN, 0, BY_CONNECTION)
    assert host.freezer.values(1) == "0"
    watch(host, flags=ZNET_WAKE_AT_BYTE)
    frozen(host)
    second = host.connect(host.port)
    second.sendall(b"x")
    assert host.reactor.event()[:3] == (WOKEN, 0, BY_BYTE)
    assert host.freezer.values(1) == "0"
    sock.close()
    second.close()


def test_forgotten_is_thawed(host):
    watch(host)
    frozen(host)
    host.reactor.tell(ZNET_FORGET, WEB)
    assert host.freezer.values(1) == "0"
    # And closed: the pipe ends once our own end is.
    os.close(host.freezer.write)
    assert select.select([host.freezer.read], [], [], DEADLINE_S)[0]
    assert os.read(host.freezer.read, 1) == b""
    host.freezer.write = os.open("/dev/null", os.O_WRONLY)


def test_znode_gone_or_another_thaws_all(host):
    watch(host)
    frozen(host)
    host.reactor.close()
    assert host.freezer.values(1) == "0"
    host.reactor = Reactor(host.run)
    watch(host)
    frozen(host)
    other = Reactor(host.run)
    other.tell(ZNET_WATCH, "another", fds=[host.freezer.write])
    assert host.freezer.values(1) == "0"
    other.close()


def test_closed_once_nobody_is_connected(host):
    """Then clients wait, for the next container; the watch of this one lets
    them in again."""
    sock = connected(host)
    watch(host)
    host.reactor.until(QUIET)
    host.reactor.tell(ZNET_CLOSE, WEB)
    said(sock, b"hello")  # turns it round
    host.reactor.until(QUIET)
    host.reactor.tell(ZNET_CLOSE, WEB)
    sock.close()
    # The container's side is not, at that moment.
    assert host.reactor.event()[::4] == (CLOSED, 1)
    late = host.connect(host.port)
    late.sendall(b"x")
    host.reactor.tell(ZNET_FORGET, WEB)
    assert host.count("accepted") == 1
    watch(host)
    assert read_line(late).startswith("127.0.0.1")
    late.close()


def test_not_closed_after_a_word(host):
    """Nobody is connected any more, but somebody was meanwhile."""
    watch(host)
    host.reactor.until(QUIET)
    sock = connected(host)
    sock.close()
    host.reactor.tell(ZNET_CLOSE, WEB)
    assert host.reactor.until(QUIET)
    connected(host).close()


def test_drained(host):
    """Nobody is let to it any more, though its route still says so; told when
    the last connection has ended, and of one without any at once."""
    sock = connected(host)
    host.reactor.tell(ZNET_DRAIN, WEB)
    late = host.connect(host.port)
    late.sendall(b"x")
    said(sock, b"hello")
    assert host.count("accepted") == 1
    host.init.note("web", host.port, route_held())
    said(sock, b"hello")
    sock.close()
    assert host.reactor.event()[::5] == (DRAINED, WEB)
    host.reactor.tell(ZNET_DRAIN, "another")
    assert host.reactor.event()[::5] == (DRAINED, "another")
    # Only a znode that says so keeps clients from it.
    host.reactor.close()
    host.init.note("web", host.port, route(WEB, host.inside.V4, INSIDE))
    assert read_line(late).startswith("127.0.0.1")
    late.close()


def in_pieces(connection, address):
    """An answer with pauses in it."""
    connection.sendall(b"ready\n")
    while connection.recv(1):
        for piece in b"abc":
            connection.sendall(bytes([piece]))
            time.sleep(0.6)


def test_an_answer_has_pauses(host):
    """Who is not waited for must have said nothing for a second: a piece of an
    answer is not all of it."""
    host.inside.serve(INSIDE + 1, in_pieces)
    sock = host.connect(host.publish("slow", INSIDE + 1))
    assert read_line(sock) == "ready"
    sock.sendall(b"?")
    assert sock.recv(1) == b"a"
    host.reactor.tell(ZNET_DRAIN, WEB, 0, ZNET_DRAIN_ANSWERS)
    assert sock.recv(1) == b"b"
    assert sock.recv(1) == b"c"
    last = time.monotonic()
    assert not select.select([host.reactor.sock], [], [], 0.5)[0]
    assert host.reactor.event()[::5] == (DRAINED, WEB)
    assert time.monotonic() - last < 3
    sock.close()


def test_drain_of_a_znode_that_went(host):
    sock = connected(host)
    host.reactor.tell(ZNET_DRAIN, WEB)
    late = host.connect(host.port)
    late.sendall(b"x")
    assert host.count("accepted") == 1
    host.reactor.close()
    assert read_line(late).startswith("127.0.0.1")
    late.close()
    sock.close()


def knocks_again(host):
    """For another znode than before."""
    host.reactor.close()
    host.reactor = Reactor(host.run)
    host.reactor.tell(ZNET_KNOCKS, "")
    assert host.reactor.event()[::5] == (KNOCKED, "rests")


def test_knock_of_who_was_accepted(host):
    """For a container that has gone meanwhile: nobody is in the queue."""
    port = free_port()
    host.init.bind("rests", port, route(WEB, host.inside.V4, INSIDE + 1))
    host.reactor.tell(ZNET_KNOCKS, "")
    client = host.connect(port)
    host.wait(lambda: host.count("accepted") == 1)  # nobody listens there
    host.init.note("rests", port, route_held(KNOCK))
    assert host.reactor.event()[::5] == (KNOCKED, "rests")
    knocks_again(host)
    host.init.note("rests", port, route(WEB, host.inside.V4, INSIDE))
    assert read_line(client).startswith("127.0.0.1")
    client.close()


def test_knock(host):
    """One for each route, whoever else comes; again for another znode."""
    port = free_port()
    host.init.bind("rests", port, route_held(KNOCK))
    host.reactor.tell(ZNET_KNOCKS, "")
    clients = [host.connect(port) for _ in range(3)]
    assert host.reactor.event()[::5] == (KNOCKED, "rests")
    knocks_again(host)
    host.init.note("rests", port, route(WEB, host.inside.V4, INSIDE))
    for client in clients:
        assert read_line(client).startswith("127.0.0.1")
        client.close()


def test_only_znode_may(host):
    """The uid of others gets the connection closed; a crowd of them does not
    keep znode out."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        other = Reactor(host.run)
        other.tell(ZNET_WATCH, WEB, 1, 0, [write])
        os._exit(0 if other.sock.recv(1) == b"" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        crowd = [Reactor(host.run) for _ in range(20)]
        os.write(write, b"r")
        time.sleep(DEADLINE_S)
        os._exit(len(crowd))
    try:
        assert os.read(read, 1) == b"r"
        watch(host)
        frozen(host)
        late = Reactor(host.run)
        late.tell(ZNET_WATCH, "another", 1, 0, [write])
        assert late.event()[0] == LULL
        late.close()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)
