"""Instances that have reached their lifetime are replaced: the next one first,
then the old one drains, and no request is lost between."""

import os
import re
import socket
import threading
import time

import pytest

from zooid.host import free_port
from zooid.load import Load
from zooid.react_host import AUDIT, COUNT, Client, react_host_in_directory

WEB = "web"
LIFE = {"freeze_after_ms": 600000, "lifetime_ms": 1000}


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def serving(host, **changes):
    port = free_port()
    host.apply(host.service(WEB, port, **changes))
    host.wait_alive(WEB)
    return port


def wait_next(host, before):
    """Until another instance has taken its place."""
    host.wait(lambda: host.row(WEB)["state"] in ("running", "frozen") and
              host.row(WEB)["container"] != before["container"])
    return host.row(WEB)


def is_there(row):
    return os.path.exists("/proc/%d" % row["pid"])


def counted(host):
    """What each instance that ended has counted, as it said at its end."""
    return [int(n) for n in re.findall(r"counted (\d+)\n", host.logs(WEB))]


def test_no_request_is_lost(host):
    """Open loop, over several lifetimes; all instances together have counted
    each request once."""
    port = serving(host, reactive=LIFE)
    load = Load(port, 200, 6)
    names = set()
    thread = threading.Thread(target=load.run)
    thread.start()
    while thread.is_alive():
        names.add(host.row(WEB)["container"])
    thread.join()
    assert not load.errors, (load.errors[:5], host.said())
    assert len(load.latency_s) == len(load.numbers)
    assert len(names) >= 3, names
    host.znode("stop", host.name(WEB))
    host.wait(lambda: sum(counted(host)) >= len(load.numbers))
    assert sum(counted(host)) == len(load.numbers)
    assert len(counted(host)) >= 3


def test_old_one_serves_who_is_connected(host):
    """And ends when he has gone; new clients are with the new one."""
    port = serving(host, reactive=LIFE)
    old = host.row(WEB)
    client = Client(port)
    client.ask(COUNT, 1)
    wait_next(host, old)
    other = Client(port)
    assert other.ask(AUDIT, 2) == (0, 0)
    assert client.ask(AUDIT, 2) == (0, 1)
    # One drains at a time: who holds on to it stays with it.
    host.wait(lambda: host.row(WEB)["since_ms"] + 3000 < clock_ms())
    assert client.ask(AUDIT, 2) == (0, 1)
    second = host.row(WEB)
    client.close()
    host.wait(lambda: not is_there(old))
    assert other.ask(AUDIT, 2) == (0, 0)
    wait_next(host, second)
    other.close()
    host.wait(lambda: not is_there(second))


def clock_ms():
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def test_a_request_that_takes_long(host):
    """Its client has ended his stream and has the first of two answers: the
    other one still comes."""
    port = serving(host, reactive=LIFE)
    old = host.row(WEB)
    client = Client(port)
    client.send(COUNT, 0)
    client.send(COUNT, 1, 2500000)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.answer() == (0, 0)
    wait_next(host, old)
    assert client.answer() == (2500000, 1)
    host.wait(lambda: not is_there(old))


@pytest.mark.parametrize("ends", ["stop", "remove"])
def test_who_is_not_wanted_does_not_drain(host, ends):
    port = serving(host, reactive=LIFE)
    old = host.row(WEB)
    client = Client(port)
    client.ask(COUNT, 1)
    wait_next(host, old)
    assert client.ask(AUDIT, 2) == (0, 1)
    if ends == "stop":
        host.znode("stop", host.name(WEB))
    else:
        host.apply()
    host.wait(lambda: not is_there(old))
    client.close()


def test_frozen_ones_too(host):
    serving(host, reactive={"freeze_after_ms": 100, "lifetime_ms": 1000})
    old = host.wait_row(WEB, state="frozen")
    wait_next(host, old)
    host.wait(lambda: not is_there(old))
    host.wait_row(WEB, state="frozen")


def test_sleepers_are_forgotten(host):
    """The time of their sleep counts; nothing is started for it."""
    port = serving(host, reactive={"freeze_after_ms": 100,
                                   "sleep_after_ms": 200,
                                   "lifetime_ms": 8000})
    client = Client(port)
    client.ask(COUNT, 1)
    client.close()
    host.wait_row(WEB, state="asleep")
    assert asked(port) == 1  # it was woken as it was
    host.wait_row(WEB, state="asleep")
    before = host.row(WEB)["container"]
    host.wait_row(WEB, state="image", rests=True)
    assert asked(port) == 0
    assert host.row(WEB)["container"] != before


def asked(port):
    """How often it has counted the request with number 1."""
    client = Client(port)
    try:
        return client.ask(AUDIT, 2)[1]
    finally:
        client.close()


def test_new_content_drains_too(host):
    """However old what it replaces."""
    port = serving(host, reactive={"freeze_after_ms": 600000})
    old = host.row(WEB)
    client = Client(port)
    client.ask(COUNT, 1)
    host.apply(host.service(WEB, port, environment={"NEW": "1"}))
    wait_next(host, old)
    assert client.ask(AUDIT, 2) == (0, 1)
    client.close()
    host.wait(lambda: not is_there(old))


VOLUME = [{"type": "volume", "source": "v", "target": "/v"}]


def change(host, why, port, **changes):
    """What makes an instance end for the next one."""
    if why == "content":
        host.apply(host.service(WEB, port, environment={"NEW": "1"},
                                **changes))


@pytest.mark.parametrize("why", ["lifetime", "content"])
def test_two_may_not_write_one_volume(host, why):
    """The old one answers what it was asked, also who has ended his stream;
    who comes meanwhile waits for the next one."""
    life = LIFE if why == "lifetime" else {"freeze_after_ms": 600000}
    port = serving(host, reactive=life, mounts=VOLUME)
    old = host.row(WEB)
    clients = [Client(port) for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(COUNT, number, 2500000)
    clients[0].sock.shutdown(socket.SHUT_WR)
    idle = Client(port)
    assert idle.ask(COUNT, 9) == (0, 9)
    change(host, why, port, reactive=life, mounts=VOLUME)
    time.sleep(1.2)
    late = [Client(port) for _ in range(5)]
    for client in late:
        client.send(AUDIT, 10)
    assert is_there(old)
    for number, client in enumerate(clients):
        assert client.answer() == (2500000, number)
    assert is_there(old)
    for client in late:
        assert client.answer() == (0, 0)  # of another instance
    assert not is_there(old)
    assert host.row(WEB)["restarts"] == 0
    with pytest.raises(ConnectionResetError):
        idle.ask(AUDIT, 10)


@pytest.mark.parametrize("ends", ["grace", "stop"])
def test_no_answer_is_waited_for_too_long(host, ends):
    grace = 1000 if ends == "grace" else 60000
    port = serving(host, mounts=VOLUME, stop_grace_ms=grace)
    old = host.row(WEB)
    client = Client(port)
    client.send(COUNT, 1, 9000000)
    host.apply(host.service(WEB, port, mounts=VOLUME, stop_grace_ms=grace,
                            environment={"NEW": "1"}))
    begin = time.monotonic()
    if ends == "stop":
        host.znode("stop", host.name(WEB))
    host.wait(lambda: not is_there(old))
    assert time.monotonic() - begin < 4
    with pytest.raises(ConnectionResetError):
        client.answer()


@pytest.mark.parametrize("dies", ["znet", "znode", "zrun", "znet znode"])
def test_who_dies_before_the_next_one(host, dies):
    """It still ends, and the next one serves."""
    port = serving(host, mounts=VOLUME, stop_grace_ms=4000)
    old = host.row(WEB)
    client = Client(port)
    client.send(COUNT, 1, 2000000)
    host.apply(host.service(WEB, port, mounts=VOLUME, stop_grace_ms=4000,
                            environment={"NEW": "1"}))
    time.sleep(0.2)
    host.kill(*dies.split())
    late = Client(port)
    if "znet" in dies:
        with pytest.raises(ConnectionResetError):
            client.answer()
    else:
        assert client.answer() == (2000000, 1)
    # Until there is a znode again the old one is led to.
    counted = late.ask(AUDIT, 2)[1]
    assert counted == 0 or dies == "znode"
    host.wait(lambda: not is_there(old))


@pytest.mark.parametrize("dies", ["znet", "znode", "zrun", "znet znode"])
def test_who_dies_while_it_drains(host, dies):
    """What drains ends all the same, and the other one serves."""
    port = serving(host, reactive=LIFE)
    old = host.row(WEB)
    client = Client(port)
    client.ask(COUNT, 1)
    wait_next(host, old)
    host.kill(*dies.split())
    if "znet" in dies:
        with pytest.raises(ConnectionResetError):
            client.ask(AUDIT, 2)
    else:
        assert client.ask(AUDIT, 2) == (0, 1)
    client.close()
    host.wait(lambda: not is_there(old))
    assert Client(port).ask(AUDIT, 2) == (0, 0)
