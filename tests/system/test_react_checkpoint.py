"""Services that are written to disk when they first listen, and later started
from there: warm, quickly, and never from what is not theirs."""

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest

from zooid.host import directory, free_port
from zooid.load import Load
from zooid.mount import btrfs, mount, unmount
from zooid.react_host import (
    AUDIT, COUNT, Client, ReactHost, react_host_in_directory,
    react_host_with_orders)

WEB = "web"
WARM_S = 1.0
WARM = {"WARM_MS": "1000"}
LISTEN = {"freeze_after_ms": 100, "image_after_ms": 300,
          "checkpoint": "listen"}
AWAKE = {"freeze_after_ms": 600000, "checkpoint": "listen"}


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def service(host, port, **changes):
    return host.service(WEB, port, **{
        "reactive": LISTEN, "environment": WARM, **changes})


def serving(host, **changes):
    port = free_port()
    host.apply(service(host, port, **changes))
    return port


def first_answer(port, number=0):
    """(seconds until a client has his answer, how many it had counted)"""
    begin = time.monotonic()
    client = Client(port)
    counted = client.ask(AUDIT, 1000)[1]
    taken = time.monotonic() - begin
    assert client.ask(COUNT, number) == (0, number)
    client.close()
    return taken, counted


def warmed(host):
    """How often one has warmed, all instances together."""
    try:
        return host.logs(WEB).count("warmed\n")
    except subprocess.CalledProcessError:
        return 0  # there is no log yet


def rest(host):
    host.wait_row(WEB, state="image", rests=True)
    host.wait(lambda: not host.row(WEB)["pid"])


def checkpoint(host):
    return host.data / "checkpoints" / ("@" + host.name(WEB))


def starts(host, port, is_warm):
    """The next start from image only is of that kind, and begins with what was
    when it first listened."""
    rest(host)
    before = warmed(host)
    taken, counted = first_answer(port)
    assert counted == 0
    if is_warm:
        assert taken < WARM_S / 2, host.said()
    else:
        assert taken >= WARM_S
    host.wait(lambda: warmed(host) == before + (not is_warm))


def made(host, **changes):
    """A service that rests, and has a checkpoint."""
    port = serving(host, **changes)
    starts(host, port, False)
    assert checkpoint(host).is_dir()
    rest(host)
    return port


def test_second_cold_start_is_quick(host):
    """Each begins where the first one listened, not where that ended; those
    who come together wait, and none is refused."""
    port = made(host)
    for _ in range(3):
        starts(host, port, True)
    rest(host)
    clients = [Client(port) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(COUNT, number)
    for number, client in enumerate(clients):
        assert client.answer() == (0, number)
    assert clients[0].ask(AUDIT, 20) == (0, 20)
    assert "goes on from its checkpoint" in host.said()
    assert "cannot" not in host.said()
    assert host.row(WEB)["restarts"] == 0


def asked(host):
    """What would become of it if a client came, as --dry-run says."""
    said = host.znode("react", "--dry-run")
    return next(line.split(None, 1)[1] for line in said.splitlines()
                if line.strip().startswith("asked"))


def test_it_is_seen(host):
    """Also by a znode that was started later; not one that is not to be used
    any more."""
    port = serving(host)
    assert host.row(WEB)["warm"] is False
    first_answer(port)
    host.wait(lambda: "is in its checkpoint" in host.said())
    rest(host)
    assert host.row(WEB)["warm"] is True
    assert "has a checkpoint" in host.znode("ps")
    assert asked(host) == "started from its checkpoint, by a client of its " \
        "ports"
    host.kill("znode")
    host.wait_row(WEB, state="image", rests=True, warm=True)
    (checkpoint(host) / "key").unlink()
    first_answer(port)
    host.wait(lambda: "cannot use its checkpoint" in host.said())
    host.wait(lambda: host.said().count("is in its checkpoint") == 2)
    rest(host)
    assert host.row(WEB)["warm"] is True
    host.apply(service(host, port, reactive={"freeze_after_ms": 100,
                                             "image_after_ms": 300}))
    host.wait_row(WEB, state="image", rests=True, warm=False)
    assert asked(host).startswith("started from its image")


@pytest.fixture(params=["copied", "btrfs"])
def layered(request, tmp_path):
    """Where layers are copied, and where /data is as on a node."""
    with directory() as path, contextlib.ExitStack() as stack:
        (path / "data").mkdir()
        if request.param == "btrfs":
            stack.enter_context(btrfs(tmp_path / "disk", 256, path / "data"))
        host = ReactHost(path, tmp_path / "organism")
        yield host
        host.close()


def test_files_are_of_the_same_moment(layered):
    """What the first one wrote later is not there."""
    host = layered
    port = serving(host, reactive=AWAKE)
    first_answer(port)
    name = host.name(WEB)
    host.wait(lambda: "is in its checkpoint" in host.said())
    host.znode("exec", name, "/bin/busybox", "touch", "/later")
    host.apply(service(host, port, reactive=LISTEN))
    starts(host, port, True)
    rest(host)
    client = Client(port)
    assert client.ask(AUDIT, 9) == (0, 0)
    listed = host.znode("exec", name, "/bin/busybox", "ls", "/").split()
    assert "warmed" in listed and "later" not in listed
    assert host.znode("exec", name, "/bin/busybox", "cat", "/warmed") == \
        "warmed\n"
    client.close()
    host.apply()
    host.wait(lambda: not list((host.data / "checkpoints").iterdir()))


def test_each_further_instance_too(host):
    """They have addresses of their own."""
    port = serving(host, reactive={**AWAKE, "concurrency": 1, "max": 3})
    first_answer(port)
    clients = [Client(port) for _ in range(3)]
    begin = time.monotonic()
    for number, client in enumerate(clients):
        client.send(COUNT, number, 800000)
    host.wait(lambda: host.row(WEB)["extras"] == 2)
    assert time.monotonic() - begin < WARM_S
    late = Client(port)
    assert late.ask(AUDIT, 1000)[1] == 0
    for number, client in enumerate(clients):
        assert client.answer() == (800000, number)
    assert warmed(host) == 1
    assert host.said().count("goes on from its checkpoint") == 2


@pytest.mark.parametrize("what", [
    "config", "file", "restart", "key", "kernel", "old", "crash"])
def test_it_is_made_anew(host, what):
    """And the one after that is quick again."""
    life = {"reactive": {**LISTEN, "lifetime_ms": 3600000}}
    text = {"type": "file", "target": "/etc/app.conf", "content": "1"}
    port = made(host, mounts=[text], **life)
    said = "another one"
    if what == "config":
        host.apply(service(host, port, environment={**WARM, "NEW": "1"},
                           mounts=[text], **life))
        said = "its config is another one"
    elif what == "file":
        host.apply(service(host, port, mounts=[{**text, "content": "2"}],
                           **life))
        said = "its config is another one"
    elif what == "restart":
        host.znode("restart", host.name(WEB))
        said = ""
    elif what == "key":
        key = checkpoint(host) / "key"
        key.write_text(key.read_text().replace("machine ", "machine 0"))
        said = "the system or the processor is another one"
    elif what == "kernel":
        host.services = [
            line.replace(" : ", " : /usr/bin/setarch --uname-2.6 ")
            if line.startswith("zrun ") else line for line in host.services]
        host.reboot()
        host.wait(lambda: host.row(WEB))
        said = "the system or the processor is another one"
    elif what == "old":
        day = time.time() - 86400
        os.utime(checkpoint(host), (day, day))
        said = "it is too old"
    else:
        client = Client(port)
        client.ask(COUNT, 1)
        os.kill(host.row(WEB)["pid"], signal.SIGKILL)
        host.wait(lambda: host.row(WEB)["restarts"] == 1)
        client.close()
        host.wait(lambda: warmed(host) == 2)
        rest(host)
        starts(host, port, True)
        return
    if what != "restart":
        starts(host, port, False)
    else:
        first_answer(port)
    assert said in host.said()
    host.wait(lambda: warmed(host) == 2)
    starts(host, port, True)


@pytest.mark.parametrize("damaged", [
    "inventory.img", "core-*.img", "pages-*.img", "files.img", "sizes", "key",
    "layer", "mounts.d"])
def test_a_damaged_one_is_not_used(host, damaged):
    """The client of that start is served all the same, by a cold one."""
    port = made(host)
    victim = next(checkpoint(host).glob(damaged))
    if victim.is_dir():
        victim.rename(victim.with_name("elsewhere"))
    else:
        victim.write_bytes(victim.read_bytes()[:victim.stat().st_size // 3])
    starts(host, port, False)
    assert "cannot use its checkpoint" in host.said()
    starts(host, port, True)
    assert host.row(WEB)["restarts"] == 0


def test_bytes_that_criu_cannot_read(host):
    """Of the right length."""
    port = made(host)
    victim = next(checkpoint(host).glob("core-*.img"))
    victim.write_bytes(b"\xff" * victim.stat().st_size)
    starts(host, port, False)
    assert "criu restore failed" in host.said()
    starts(host, port, True)


@pytest.mark.parametrize("dies", ["znode", "zrun", "znet", "znode zrun",
                                  "boot"])
def test_it_outlives_them(host, dies):
    port = made(host)
    if dies == "boot":
        host.reboot()
        host.wait(lambda: host.row(WEB))
    else:
        host.kill(*dies.split())
    starts(host, port, True)
    # What is made ahead does not suffer from that it began so.
    host.znode("restart", host.name(WEB))
    host.wait(lambda: warmed(host) >= 2)
    assert "started without it" not in host.said()


@pytest.mark.parametrize("dies", ["znode", "zrun", "znode zrun"])
def test_who_dies_while_it_warms(host, dies):
    """Then there is none of this instance, but of the next."""
    port = serving(host)
    client = Client(port)
    client.send(COUNT, 1)
    time.sleep(WARM_S / 2)
    host.kill(*dies.split())
    assert client.answer() == (0, 1)
    client.close()
    assert not checkpoint(host).exists()
    starts(host, port, False)
    starts(host, port, True)


@pytest.fixture
def slow(tmp_path):
    """One whose criu does as it is told."""
    yield from react_host_with_orders(tmp_path)


@pytest.mark.parametrize("verb", ["dump", "restore"])
def test_criu_is_killed(slow, verb):
    """The client is answered, by another instance where the one that was to be
    written was lost; the next start is as if nothing had been."""
    if verb == "restore":
        port = made(slow)
    else:
        port = serving(slow, restart="no")
    (slow.orders / ("kill-" + verb)).touch()
    taken, counted = first_answer(port)
    assert counted == 0 and taken >= WARM_S
    assert not (slow.orders / ("kill-" + verb)).exists()
    assert slow.row(WEB)["restarts"] == 0
    starts(slow, port, True)


@pytest.mark.parametrize("dies", ["znode", "zrun", "znet", "znode zrun"])
@pytest.mark.parametrize("verb", ["dump", "restore"])
def test_who_dies_while_criu_works(slow, verb, dies):
    port = made(slow) if verb == "restore" else serving(slow)
    (slow.orders / ("hold-" + verb)).touch()
    client = Client(port)
    client.send(COUNT, 1)
    slow.wait((slow.orders / ("held-" + verb)).exists)
    slow.kill(*dies.split())
    (slow.orders / ("hold-" + verb)).unlink()
    assert client.answer() == (0, 1)
    client.close()
    rest(slow)
    first_answer(port)
    starts(slow, port, True)


def test_clients_are_held(slow):
    """A connection could not be written, were it only in the listen queue."""
    (slow.orders / "hold-dump").touch()
    port = serving(slow)
    clients = [Client(port) for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(COUNT, number)
    slow.wait((slow.orders / "held-dump").exists)
    (slow.orders / "hold-dump").unlink()
    for number, client in enumerate(clients):
        assert client.answer() == (0, number)
        client.close()
    assert "no checkpoint" not in slow.said()
    starts(slow, port, True)


def test_stopped_while_criu_works(slow):
    port = serving(slow)
    (slow.orders / "hold-dump").touch()
    client = Client(port)
    client.send(COUNT, 1)
    slow.wait((slow.orders / "held-dump").exists)
    slow.znode("stop", slow.name(WEB))
    assert not slow.row(WEB)["pid"]
    assert "cannot stop" not in slow.said()
    client.close()


def test_full_disk(host):
    """It serves, and is written when there is room."""
    full = host.data / "checkpoints"
    mount("-t", "tmpfs", "-o", "size=48k", "none", full)
    try:
        host.kill("zrun")  # which has the directory open
        port = serving(host)
        starts(host, port, False)
        assert "no checkpoint of" in host.said()
        assert not list(full.iterdir())
        rest(host)
    finally:
        unmount(full)
    host.kill("zrun")
    starts(host, port, False)
    starts(host, port, True)


def test_who_cannot_be_written_is_not_tried_for_ever(slow):
    (slow.orders / "criu").write_text("#!/bin/sh\nexit 1\n")
    port = serving(slow, environment={"WARM_MS": "1"})
    for n in range(5):
        rest(slow)
        assert first_answer(port)[1] == 0
        slow.wait(lambda: slow.said().count("no checkpoint of") ==
                  min(n + 1, 3))


@pytest.mark.deadline(150)
def test_who_does_not_listen(host):
    """Clients are not held for ever: what follows is between it and them."""
    port = serving(host, ports=[], reactive=AWAKE,
                   entrypoint=["/bin/busybox"], command=["sleep", "1000"])
    del port
    host.wait_row(WEB, state="running")
    end = time.monotonic() + 90
    while "it does not listen" not in host.said():
        assert time.monotonic() < end
        time.sleep(0.5)
    assert host.row(WEB)["state"] == "running"


def test_health_waits_for_it(host):
    """A probe would be lost in it."""
    port = serving(host, reactive=AWAKE, health={
        "test": ["/bin/busybox", "sleep", "1"], "interval_ms": 500,
        "timeout_ms": 5000})
    first_answer(port)
    host.wait_row(WEB, health="healthy")
    assert "no checkpoint" not in host.said()
    assert checkpoint(host).is_dir()


def test_who_depends_on_it_waits_for_it(host):
    """He could be connected at that moment."""
    host.apply(service(host, free_port(), reactive=AWAKE),
               host.service("front", free_port(), depends_on=[
                   {"app": host.name(WEB), "condition": "started"}]))
    host.wait_row("front", state="running")
    assert "is in its checkpoint" in host.said()
    assert host.row("front")["started_ms"] >= \
        host.row(WEB)["started_ms"] + 1000 * WARM_S


def test_no_request_is_lost_when_it_takes_over(host):
    """The old one serves until the new one is written."""
    port = serving(host, reactive=AWAKE)
    first_answer(port)
    load = Load(port, 100, 4)
    thread = threading.Thread(target=load.run)
    thread.start()
    host.apply(service(host, port, reactive=AWAKE,
                       environment={**WARM, "NEW": "1"}))
    thread.join()
    assert not load.errors, (load.errors[:5], host.said())
    assert len(load.latency_s) == len(load.numbers)
    assert max(load.latency_s.values()) < WARM_S
    assert host.said().count("is in its checkpoint") == 2
    assert "no checkpoint" not in host.said()


@pytest.mark.parametrize("why", ["gone", "not wanted", "while znode was away"])
def test_what_nobody_wants_is_removed(host, why):
    port = made(host)
    if why == "while znode was away":
        stray = checkpoint(host).with_name("@other")
        stray.mkdir()
        half = checkpoint(host).with_name("@other.new")
        half.mkdir()
        host.kill("zrun", "znode")
        host.wait(lambda: not stray.exists())
        assert not half.exists()
        starts(host, port, True)
        return
    if why == "gone":
        host.apply()
    else:
        host.apply(service(host, port, reactive={
            "freeze_after_ms": 100, "image_after_ms": 300}))
    host.wait(lambda: not checkpoint(host).exists())


@pytest.mark.parametrize("dies", ["znode", "zrun"])
def test_dies_at_any_moment(host, rng, dies):
    """Whoever comes is served, and all is as ever in the end."""
    port = serving(host, environment={"WARM_MS": "50"})
    for number in range(8):
        client = Client(port)
        client.send(COUNT, number)
        time.sleep(rng.uniform(0, 0.15))
        host.kill(dies)
        assert client.answer() == (0, number)
        client.close()
    rest(host)
    first_answer(port)
    rest(host)
    said = host.said().count("goes on from its checkpoint")
    first_answer(port)
    assert host.said().count("goes on from its checkpoint") == said + 1


def test_clocks(host):
    """What counts from the boot goes on from when it listened, by a time
    namespace of its own."""
    port = made(host)
    client = Client(port)
    client.ask(COUNT, 1)
    with open("/proc/%d/timens_offsets" % host.row(WEB)["pid"],
              encoding="ascii") as offsets:
        first = offsets.readline().split()
    client.close()
    assert first[0] == "monotonic" and int(first[1]) < 0
