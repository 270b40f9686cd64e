"""Containers that follow access: what freezes them, what thaws them, and that
no request is lost on the way. With the real init, zrun serve, znet and znode
on this machine."""

import json
import os
import random
import socket
import threading
import time

import pytest

from zooid import FULL, messages
from zooid.host import DEADLINE_S, free_port
from zooid.react_host import (AUDIT, BURN, COUNT, Client,
                              react_host_in_directory)
from zooid.znode_host import sealed

AFTER_MS = 150  # freeze_after of these tests
SOON = {"freeze_after_ms": AFTER_MS}
WEB = "web"


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def running(host, **changes):
    """A service that runs, and its port."""
    port = free_port()
    host.apply(host.service(WEB, port, **changes))
    host.wait_alive(WEB)
    client = Client(port)
    assert client.ask(COUNT, 0) == (0, 0)
    return port, client


def test_without_reactive_nothing_freezes(host):
    """Not even when a sibling that is reactive does."""
    host.apply(host.service("still"), host.service(WEB, reactive=SOON))
    host.wait_row("still", state="running")
    host.wait_row(WEB, state="frozen")
    assert host.row("still")["state"] == "running"
    assert not host.freezer("still") and host.freezer(WEB)


def test_payload_thaws_on_an_open_connection(host):
    """Frozen with the connection open; the next request is answered on it."""
    _, client = running(host, reactive={"freeze_after_ms": 1000})
    before = host.row(WEB)["wakes"]
    for number in range(1, 4):
        row = host.wait_row(WEB, state="frozen")
        assert row["why"] == "" and host.freezer(WEB)
        assert client.ask(COUNT, number) == (0, number)
        row = host.wait_row(WEB, wakes=before + number)
    assert row["why"] == "a request came"
    assert 0 < row["wake_p50_us"] <= row["wake_p99_us"]
    assert client.ask(AUDIT, 4) == (0, 4)


def test_new_connection_thaws(host):
    port, client = running(host, reactive=SOON)
    host.wait_row(WEB, state="frozen")
    idle = Client(port)
    assert host.wait_row(WEB, wakes=1)["why"] == "a connection came"
    host.wait_row(WEB, state="frozen")
    idle.close()
    client.close()


def test_wakes_at_the_first_byte_only(host):
    port, client = running(host, reactive={**SOON, "wake": "byte"})
    host.wait_row(WEB, state="frozen")
    late = Client(port)
    other = Client(port)
    other.close()
    client.close()
    # What came before this was seen by znet when this is answered.
    assert host.row(WEB)["state"] == "frozen"
    assert late.ask(COUNT, 1) == (0, 1)
    assert host.wait_row(WEB, wakes=1)["why"] == "a request came"


def test_end_and_reset_wake_nobody(host):
    """The ends of streams, and keep-alive packets, are the kernel's."""
    _, client = running(host, reactive=SOON)
    port = host.row(WEB)["ports"][0]["host"]
    broken, alive = Client(port), Client(port)
    alive.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    alive.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    alive.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    host.wait_row(WEB, state="frozen")
    wakes = host.row(WEB)["wakes"]
    client.sock.shutdown(socket.SHUT_WR)
    broken.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           b"\1\0\0\0\0\0\0\0")
    broken.close()

    def probed():
        """A keep-alive packet was sent: the kernel counts them."""
        with open("/proc/net/netstat") as file:
            lines = [line.split() for line in file if line[:6] == "TcpExt"]
        return int(dict(zip(*lines))["TCPKeepAlive"]) > before
    with open("/proc/net/netstat") as file:
        lines = [line.split() for line in file if line[:6] == "TcpExt"]
    before = int(dict(zip(*lines))["TCPKeepAlive"])
    host.wait(probed)
    assert host.row(WEB)["state"] == "frozen"
    assert host.row(WEB)["wakes"] == wakes
    assert alive.ask(AUDIT, 1) == (0, 1)


def test_long_request_keeps_it_awake(host):
    """Four times freeze_after without a byte, on one of two connections."""
    port, client = running(host, reactive=SOON)
    client.send(COUNT, 1, 4 * AFTER_MS * 1000)
    other = Client(port)
    assert other.ask(COUNT, 2) == (0, 2)
    assert client.answer() == (4 * AFTER_MS * 1000, 1)
    assert host.row(WEB)["wakes"] == 0
    host.wait_row(WEB, state="frozen")


def test_what_computes_is_not_frozen(host):
    _, client = running(host, reactive=SOON)
    start = time.monotonic()
    client.ask(BURN, arg=1500)
    assert host.wait_row(WEB, why="it computes")["state"] == "running"
    host.wait_row(WEB, state="frozen")
    assert time.monotonic() - start > 1


def test_health_probes_do_not_wake(host):
    """Its health stays what it was, and is looked at again once it runs."""
    health = {"test": ["sh", "-c", "true"], "interval_ms": 100,
              "timeout_ms": 5000, "retries": 1}
    _, client = running(host, reactive=SOON, health=health)
    host.wait_row(WEB, health="healthy")
    host.wait_row(WEB, state="frozen")
    # Several intervals later, told by a second service that has the same.
    host.wait(lambda: host.row(WEB)["state"] == "frozen" and
              clock_ms() - host.row(WEB)["since_ms"] > 500)
    row = host.row(WEB)
    assert row["health"] == "healthy" and row["wakes"] == 0
    assert client.ask(COUNT, 1) == (0, 1)
    host.wait_row(WEB, state="frozen")


def clock_ms():
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def test_exec_thaws_and_keeps_it_awake(host):
    running(host, reactive=SOON)
    host.wait_row(WEB, state="frozen")
    said = host.znode("exec", host.name(WEB), "sh", "-c",
                      "sleep 1; echo done")
    assert said == "done\n"
    row = host.row(WEB)
    assert row["wakes"] == 1, row
    host.wait_row(WEB, state="frozen")


def test_what_others_execute_thaws_it(host):
    """Whoever asks zrun; znode learns of it by init."""
    running(host, reactive=SOON)
    row = host.wait_row(WEB, state="frozen")
    process = {"args": ["sleep", "1"], "cwd": "/", "env": ["PATH=/bin"],
               "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True}
    null = os.open("/dev/null", os.O_RDWR)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(host.run / "zrun.sock"))
        socket.send_fds(sock, [messages.ZRUN_REQUEST.pack(
            messages.ZRUN_REQUEST.size, messages.ZRUN_EXEC, 1, 0,
            row["container"].encode(), b"", b"", b"")],
            [sealed(json.dumps(process).encode()), null, null, null])
        reply = messages.ZRUN_REPLY.unpack(
            socket.recv_fds(sock, messages.ZRUN_REPLY.size, 1)[0])
    os.close(null)
    assert reply[2] == 0, reply
    row = host.wait_row(WEB, wakes=1)
    assert row["why"] == "a program was executed in it"
    host.wait_row(WEB, state="frozen")


def test_by_hand(host):
    """Of one that is not reactive too; a request wakes it as ever, and it
    stays awake then."""
    port, client = running(host)
    name = host.name(WEB)
    assert host.znode("freeze", name) == "%s frozen\n" % name
    assert host.freezer(WEB)
    assert host.znode("freeze", name) == "%s frozen\n" % name
    assert host.znode("thaw", name) == "%s running\n" % name
    assert not host.freezer(WEB)
    assert host.row(WEB)["why"] == "by hand"
    host.znode("freeze", name)
    assert client.ask(COUNT, 1) == (0, 1)
    assert host.wait_row(WEB, state="running")["wakes"] == 2
    client.send(COUNT, 2, 500000)
    Client(port).ask(COUNT, 3)
    assert "a request came" in host.znode("freeze", name, status=1)
    assert client.answer() == (500000, 2)


def test_frozen_is_stopped_restarted_and_replaced(host):
    port, client = running(host, reactive=SOON)
    host.wait_row(WEB, state="frozen")
    host.znode("restart", host.name(WEB))
    host.wait_row(WEB, state="frozen")
    first = host.row(WEB)["container"]
    host.apply(host.service(WEB, port, reactive=SOON,
                            environment={"NEW": "1"}))
    host.wait(lambda: host.row(WEB)["container"] != first and
              host.row(WEB)["state"] == "frozen")
    assert Client(port).ask(COUNT, 7) == (0, 7)
    host.wait_row(WEB, state="frozen")
    host.znode("stop", host.name(WEB))
    assert host.row(WEB)["stopped"]
    client.close()


def test_policy_changes_without_a_restart(host):
    port, _ = running(host, reactive=SOON)
    before = host.wait_row(WEB, state="frozen")
    host.apply(host.service(WEB, port))
    row = host.wait_row(WEB, state="running")
    assert row["pid"] == before["pid"] and not row["reactive"]
    host.apply(host.service(WEB, port, reactive=SOON))
    assert host.wait_row(WEB, state="frozen")["pid"] == before["pid"]


@pytest.mark.parametrize("dies", ["znet", "znode", "zrun", "znet znode"])
def test_who_dies_leaves_nothing_frozen(host, dies):
    """A frozen service answers after any of them was killed, on a new
    connection, and is frozen again later."""
    port, client = running(host, reactive={"freeze_after_ms": 1000})
    host.wait_row(WEB, state="frozen")
    host.kill(*dies.split())
    if dies != "zrun":
        host.wait(lambda: not host.freezer(WEB))
    assert Client(port).ask(COUNT, 1) == (0, 1)
    host.wait_row(WEB, state="frozen")
    client.close()


class Asker(threading.Thread):
    """Asks one service, with pauses about as long as it takes to be frozen,
    on connections that live for a random number of requests."""

    def __init__(self, port, numbers, rng):
        super().__init__(daemon=True)
        self.port, self.numbers, self.rng = port, numbers, rng
        self.error = None

    def run(self):
        try:
            self._ask()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _ask(self):
        client, left = None, 0
        for number in self.numbers:
            if not left:
                if client:
                    client.close()
                client, left = Client(self.port), self.rng.randrange(1, 400)
            if self.rng.random() < 0.012:
                time.sleep(self.rng.uniform(0.6, 1.6) * 0.1)
            assert client.ask(COUNT, number)[1] == number
            left -= 1


@pytest.mark.deadline(300)
def test_no_request_is_lost(host, rng):
    """100,000 requests over 1,000 changes of state; what the services have
    counted is what was sent, each once."""
    apps, requests, changes = 10, 1000000 if FULL else 100000, \
        10000 if FULL else 1000
    services = [host.service("a%d" % i, free_port(), reactive={
        "freeze_after_ms": 100,
        "wake": "byte" if i % 2 else "connect"}) for i in range(apps)]
    each = requests // apps
    host.apply(*services)
    askers = []
    for i, service in enumerate(services):
        host.wait_alive("a%d" % i)
        askers.append(Asker(service["ports"][0]["host"], range(each),
                            random.Random(rng.random())))
    for asker in askers:
        asker.start()
    # And a person who freezes whatever runs, at any moment.
    while any(asker.is_alive() for asker in askers):
        name = host.name("a%d" % rng.randrange(apps))
        os.spawnve(os.P_WAIT, str(host.bin / "znode"),
                   ["znode", "freeze", name],
                   {**host.env, "ASAN_OPTIONS": "detect_leaks=0"})
    for asker in askers:
        asker.join()
        assert asker.error is None, (asker.error, host.said())
    woken = 0
    for i, service in enumerate(services):
        client = Client(service["ports"][0]["host"])
        assert client.ask(AUDIT, each) == (0, each)
        client.close()
        woken += host.row("a%d" % i)["wakes"]
    assert 2 * woken >= changes, woken
