"""Many services that sleep: what each of them holds, what they cost while
nobody comes, and that each wakes for whom it is meant, where it was, also when
znode has been started anew meanwhile."""

import os
import pathlib
import time

import pytest

from zooid import FULL
from zooid.host import free_ports
from zooid.react_host import AUDIT, COUNT, Client, react_host_in_directory

SERVICES = 1000 if FULL else 300
WOKEN = 100 if FULL else 30
SLEEP = {"freeze_after_ms": 100, "sleep_after_ms": 200}
DAEMONS = ["zlog", "zrun", "znet", "znode"]
IDLE = 0.005  # of one core
LOOK_S = 2
SOME = 40  # descriptors: pools, a connection or two


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def cpu_s(pids):
    return sum(int(pathlib.Path("/proc/%d/schedstat" % pid).read_text()
                   .split()[0]) for pid in pids) / 1e9


def wait_all_asleep(host, count, deadline_s):
    end = time.monotonic() + deadline_s
    while True:
        rows = host.rows()
        awake = [r for r in rows if r["state"] != "asleep"]
        if len(rows) == count and not awake:
            return
        assert time.monotonic() < end, (len(rows), awake[:3], host.said())
        time.sleep(0.2)


def wait_idle(pids):
    """Until a while costs next to nothing: what was begun has an end."""
    end = time.monotonic() + 60
    used = None
    while used is None or used > IDLE * LOOK_S:
        assert time.monotonic() < end, used
        before = cpu_s(pids)
        time.sleep(LOOK_S)
        used = cpu_s(pids) - before


@pytest.mark.deadline(900 if FULL else 240)
def test_many_sleep(host, rng):
    pids = {name: host.pid(name) for name in DAEMONS}
    pids["init"] = host.process.pid
    before = {name: descriptors(pid) for name, pid in pids.items()}
    ports = free_ports(SERVICES)
    host.apply(*[host.service("s%d" % i, port, reactive=SLEEP)
                 for i, port in enumerate(ports)])
    wait_all_asleep(host, SERVICES, 600 if FULL else 180)
    held = {name: descriptors(pid) - before[name]
            for name, pid in pids.items()}
    # A listener each, here and there; no pipe, pidfd, TUN, freezer, namespace.
    assert held.pop("init") <= SERVICES + SOME
    assert held.pop("znet") <= SERVICES + SOME
    assert max(held.values()) <= SOME, held
    wait_idle(pids.values())
    host.kill("znode")
    wait_all_asleep(host, SERVICES, 60)
    woken = rng.sample(range(SERVICES), WOKEN)
    for turn in range(2):
        for i in woken:
            client = Client(ports[i])
            assert client.ask(COUNT, turn) == (0, turn)
            assert client.ask(AUDIT, turn + 1) == (0, turn + 1)
            client.close()
        wait_all_asleep(host, SERVICES, 180)
    rows = host.rows()
    assert all(row["container"] == row["name"] + "-1" for row in rows)
    wakes = {row["name"]: row["wakes"] for row in rows}
    assert [i for i in range(SERVICES)
            if wakes[host.name("s%d" % i)] >= 2] == sorted(woken)
