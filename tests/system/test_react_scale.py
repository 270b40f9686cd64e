"""More instances of a service while it has more to answer than it may have at a
time, and fewer when it has less; no request is lost on the way."""

import contextlib
import os
import re
import signal
import socket
import struct
import threading

import pytest

from zooid.host import free_port
from zooid.load import Load
from zooid.react_host import AUDIT, COUNT, Client, react_host_in_directory

WEB = "web"
MANY = {"freeze_after_ms": 600000, "concurrency": 2, "max": 3}
FALL = {**MANY, "freeze_after_ms": 300}
LONG_US = 30000000  # a request that goes on


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def serving(host, **changes):
    port = free_port()
    host.apply(host.service(WEB, port, **changes))
    host.wait_row(WEB, state="running")
    return port


def busy(port, first, n, us=LONG_US):
    """So many clients that wait for their answers."""
    clients = [Client(port) for _ in range(n)]
    for i, client in enumerate(clients):
        client.send(COUNT, first + i, us)
    return clients


def close(clients):
    """With a reset: whatever they wait for is not owed to them any more."""
    for client in clients:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        client.close()


def instances(host):
    """{id: pid} of all that the machine has of the service."""
    found = {}
    for path in (host.run / "cgroups").iterdir():
        pids = []
        if path.name.startswith(host.name(WEB) + "-"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                pids = (path / "cgroup.procs").read_text().split()
        if pids:
            found[path.name] = int(pids[0])
    return found


def counted(host):
    return [int(n) for n in re.findall(r"counted (\d+)\n", host.logs(WEB))]


def knows(port, number):
    """How often a service that is asked now has counted it."""
    client = Client(port)
    try:
        return client.ask(AUDIT, number + 1)[1]
    finally:
        client.close()


def test_one_more_for_each_that_is_full(host):
    """Up to max, and not for what they can do; who comes then is led to the
    new one."""
    port = serving(host, reactive=MANY)
    for client in busy(port, 0, 2, 1000):
        client.answer()
        client.close()
    assert knows(port, 1) == 2 and "one more" not in host.said()
    clients = busy(port, 2, 3)
    assert host.wait_row(WEB, extras=1)["state"] == "running"
    host.wait(lambda: knows(port, 1) == 0)
    clients += busy(port, 5, 3)
    host.wait_row(WEB, extras=2)
    clients += busy(port, 8, 20)
    assert knows(port, 1) in (0, 2)
    assert host.row(WEB)["extras"] == 2 and len(instances(host)) == 3
    assert "and 2 more" in host.znode("ps")
    close(clients)


def test_surplus_falls_away(host):
    """Once nothing is said for freeze_after: the extra ones end, the first is
    frozen, as ever."""
    port = serving(host, reactive=FALL)
    first = host.row(WEB)
    clients = busy(port, 0, 7, 300000)
    host.wait_row(WEB, extras=2)
    for i, client in enumerate(clients):
        assert client.answer() == (300000, i)
    close(clients)
    host.wait_row(WEB, extras=0)
    row = host.wait_row(WEB, state="frozen")
    assert row["container"] == first["container"]
    assert list(instances(host)) == [first["container"]]


def test_no_request_is_lost(host):
    """Open loop, more and less in turn: all instances together have counted
    each request once, and said so."""
    port = serving(host, reactive={**FALL, "max": 4})
    loads = [Load(port, 300, 1, 1000 * i, 20000) for i in range(4)]
    most = 0
    for load in loads:
        thread = threading.Thread(target=load.run)
        thread.start()
        while thread.is_alive():
            most = max(most, host.row(WEB)["extras"])
        thread.join()
        assert not load.errors, (load.errors[:5], host.said())
        host.wait_row(WEB, extras=0)
    assert most == 3
    host.znode("stop", host.name(WEB))
    sent = sum(len(load.numbers) for load in loads)
    host.wait(lambda: sum(counted(host)) >= sent)
    assert sum(counted(host)) == sent and len(counted(host)) >= 5


@pytest.mark.parametrize("lifetime", [False, True])
def test_replaced_under_load(host, lifetime):
    """New content, or an end of their lifetimes, for all of them."""
    policy = {**FALL, **({"lifetime_ms": 1000} if lifetime else {})}
    port = serving(host, reactive=policy)
    load = Load(port, 200, 5, 0, 30000)
    thread = threading.Thread(target=load.run)
    thread.start()
    host.wait_row(WEB, extras=2)
    before = instances(host)
    if not lifetime:
        host.apply(host.service(WEB, port, reactive=policy,
                                environment={"NEW": "1"}))
    host.wait(lambda: not set(before) & set(instances(host)))
    thread.join()
    assert not load.errors, (load.errors[:5], host.said())
    assert len(load.latency_s) == len(load.numbers)
    host.znode("stop", host.name(WEB))
    host.wait(lambda: sum(counted(host)) >= len(load.numbers))
    assert sum(counted(host)) == len(load.numbers)


def test_one_that_dies_leaves_the_others(host):
    """Whichever it is, clients are led to those that are left meanwhile."""
    port = serving(host, reactive=MANY)
    clients = busy(port, 0, 3)
    host.wait_row(WEB, extras=1)
    host.wait(lambda: len(instances(host)) == 2)
    first = host.row(WEB)
    os.kill(first["pid"], signal.SIGKILL)
    assert Client(port).ask(COUNT, 9) == (0, 9)
    host.wait(lambda: host.row(WEB)["state"] == "running" and
              host.row(WEB)["pid"] not in (0, first["pid"]))
    assert Client(port).ask(COUNT, 10) == (0, 10)
    close(clients)


@pytest.mark.parametrize("dies", ["znode", "znet", "znet znode"])
def test_who_dies_while_there_are_several(host, dies):
    """They are known again, and fall away as ever."""
    port = serving(host, reactive={**FALL, "freeze_after_ms": 1000})
    clients = busy(port, 0, 7)
    host.wait_row(WEB, extras=2)
    before, first = instances(host), host.row(WEB)["container"]
    host.kill(*dies.split())
    if dies == "znode":
        host.wait_row(WEB, extras=2, container=first)
        assert instances(host) == before
    assert Client(port).ask(AUDIT, 0) == (0, 0)
    close(clients)
    host.wait_row(WEB, extras=0)
    host.wait_row(WEB, state="frozen")
    assert list(instances(host)) == [host.row(WEB)["container"]]


@pytest.mark.parametrize("ends", ["stop", "restart", "remove", "policy"])
def test_all_of_them_follow(host, ends):
    port = serving(host, reactive=MANY)
    clients = busy(port, 0, 7)
    host.wait_row(WEB, extras=2)
    before = instances(host)
    name = host.name(WEB)
    if ends in ("restart", "policy"):  # they drain
        close(clients)
    if ends == "remove":
        host.apply()
    elif ends == "policy":
        host.apply(host.service(WEB, port, reactive={}))
        host.wait(lambda: len(instances(host)) == 1)
        return
    else:
        host.znode(ends, name)
    host.wait(lambda: not set(before) & set(instances(host)))
    if ends == "restart":
        host.wait_row(WEB, state="running", extras=0)


def test_dry_run(host):
    """What the policy would do with each, and nothing is done."""
    every = {**FALL, "freeze_after_ms": 90500, "sleep_after_ms": 600000,
             "image_after_ms": 3600000, "lifetime_ms": 86400000,
             "wake": "byte"}
    soon = {"freeze_after_ms": 100, "image_after_ms": 600000}
    busy_port = free_port()
    host.apply(host.service("all", reactive=every),
               host.service("plain"),
               host.service("soon", reactive=soon),
               host.service("rests", reactive={"image_after_ms": 1000}),
               host.service("busy", busy_port, reactive=MANY))
    host.znode("start", host.name("all"))
    Client(busy_port).ask(COUNT, 1)
    clients = busy(busy_port, 2, 3)
    host.wait_row("busy", extras=1)
    host.znode("start", host.name("soon"))
    host.wait_row("soon", state="frozen")
    host.wait_row("plain", state="running")
    said = {}
    for line in host.znode("react", "--dry-run").splitlines():
        if line.startswith("  "):
            when, _, what = line.strip().partition(" ")
            said[name, when] = what.strip()
        else:
            name, said[line.split("-")[0], "now"] = (
                line.split("-")[0], line.split(": ")[1])
    assert said["all", "silent"] == "frozen after 1 min 30 s, " \
        "asleep on disk after 10 min, image only after 1 h"
    assert said["all", "crowded"].endswith("2 requests each, up to 3; 1 now")
    assert re.fullmatch("replaced after 24 h, in 2[0-3] h [0-9]+ min",
                        said["all", "old"])
    assert said["plain", "silent"] == "as it is: it is not reactive"
    assert said["soon", "now"] == "frozen"
    assert re.fullmatch("image only in 9 min [0-9]+ s", said["soon", "next"])
    assert said["soon", "asked"] == "thawed by the first connection or byte"
    assert said["rests", "asked"].startswith("started from its image")
    assert said["busy", "crowded"].endswith("; 2 now")
    assert host.row("soon")["state"] == "frozen"
    assert "usage" in host.znode("react", status=2)
    close(clients)
