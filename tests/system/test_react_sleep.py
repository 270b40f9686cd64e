"""Services that sleep on disk until a client comes, and wake where they were;
by a colder start where they cannot, and no request is lost between."""

import os
import random
import signal
import threading
import time

import pytest

from zooid.host import free_port
from zooid.mount import mount, unmount
from zooid.react_host import (
    AUDIT, COUNT, Client, react_host_in_directory, react_host_with_orders)

WEB = "web"
SLEEP = {"freeze_after_ms": 100, "sleep_after_ms": 200}


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def served(port, number):
    client = Client(port)
    assert client.ask(COUNT, number) == (0, number)
    client.close()


def sleeping(host, name=WEB, **changes):
    """It has counted 0, and sleeps."""
    port = free_port()
    host.apply(host.service(name, port, **{"reactive": SLEEP, **changes}))
    served(port, 0)
    host.wait_row(name, state="asleep")
    return port


def test_wakes_where_it_was(host):
    """What it had counted it still knows; those who come together wait."""
    port = sleeping(host)
    row = host.row(WEB)
    assert row["pid"] == 0 and row["restarts"] == 0 and not row["reason"]
    assert not (host.run / "cgroups" / row["container"]).exists()
    clients = [Client(port) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(COUNT, number + 1)
    for number, client in enumerate(clients):
        assert client.answer() == (0, number + 1)
    assert clients[0].ask(AUDIT, 21) == (0, 21)
    awake = host.row(WEB)
    assert awake["container"] == row["container"]
    assert awake["why"] == "a connection came"
    assert awake["wakes"] == row["wakes"] + 1
    for client in clients:
        client.close()
    host.wait_row(WEB, state="asleep")


def test_not_while_a_client_is_connected(host):
    port = free_port()
    host.apply(host.service(WEB, port, reactive=SLEEP))
    client = Client(port)
    client.ask(COUNT, 0)
    host.wait_row(WEB, state="frozen")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert host.row(WEB)["state"] == "frozen"
    assert client.ask(AUDIT, 1) == (0, 1)
    client.close()
    host.wait_row(WEB, state="asleep")


def test_client_goes_while_it_is_frozen(host):
    """It could not end its side of the connection: it is let to, and sleeps."""
    port = free_port()
    host.apply(host.service(WEB, port, reactive=SLEEP))
    client = Client(port)
    client.ask(COUNT, 0)
    host.wait_row(WEB, state="frozen")
    client.close()
    host.wait_row(WEB, state="asleep")
    assert "cannot sleep" not in host.said()
    client = Client(port)
    assert client.ask(AUDIT, 1) == (0, 1)
    client.close()


def test_image_only_after_sleep(host):
    port = sleeping(host, reactive={**SLEEP, "image_after_ms": 400})
    host.wait_row(WEB, state="image", rests=True)
    host.wait(lambda: not list((host.data / "checkpoints").iterdir()))
    served(port, 1)
    client = Client(port)
    assert client.ask(AUDIT, 2) == (0, 1)  # it is another process
    client.close()


def test_by_hand(host):
    port = free_port()
    name = host.name(WEB)
    host.apply(host.service(WEB, port))
    served(port, 0)
    assert host.znode("sleep", name) == "%s asleep\n" % name
    assert host.znode("wake", name) == "%s running\n" % name
    assert host.row(WEB)["why"] == "by hand"
    host.znode("sleep", name)
    assert host.znode("exec", name, "/bin/busybox", "true") == ""
    host.znode("sleep", name)
    served(port, 1)
    assert Client(port).ask(AUDIT, 2) == (0, 2)
    host.znode("stop", name)
    with pytest.raises(ConnectionRefusedError):
        Client(port)
    assert "it does not run" in host.znode("sleep", name, status=1)


@pytest.mark.parametrize("since", ["", "znode"])
@pytest.mark.parametrize("wish", ["stop", "restart", "changed", "gone"])
def test_what_is_wanted_of_a_sleeper(host, wish, since):
    """Also of one that slept before znode was started."""
    port = sleeping(host)
    before = host.row(WEB)["container"]
    if since:
        host.kill(since)
    if wish == "changed":
        host.apply(host.service(WEB, port, reactive=SLEEP,
                                environment={"A": "1"}))
    elif wish == "gone":
        host.apply()
        host.wait(lambda: not host.rows())
    else:
        host.znode(wish, host.name(WEB))
    host.wait(lambda: not (host.data / "checkpoints" / before).exists())
    if wish in ("restart", "changed"):
        served(port, 1)
        assert host.row(WEB)["container"] != before


def test_health_stays_what_it_was(host):
    """Nobody wakes it to ask, and after it woke it is asked again."""
    port = free_port()
    health = {"test": ["/bin/busybox", "true"], "interval_ms": 1000}
    host.apply(host.service(WEB, port, health=health))
    host.wait_row(WEB, health="healthy")
    host.apply(host.service(WEB, port, health=health, reactive=SLEEP))
    asleep = host.wait_row(WEB, state="asleep")
    assert asleep["health"] == "healthy"
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert host.row(WEB)["state"] == "asleep"
    served(port, 0)
    assert host.row(WEB)["health"] == "healthy"
    host.wait_row(WEB, state="asleep")
    host.kill("znode")
    assert host.wait_row(WEB, state="asleep")["health"] == "healthy"
    served(port, 1)
    assert host.row(WEB)["health"] == "healthy"


def checkpoint(host):
    return host.data / "checkpoints" / host.row(WEB)["container"]


@pytest.mark.parametrize("damaged, since", [
    ("inventory.img", ""), ("core-*.img", ""), ("pages-*.img", ""),
    ("pages-*.img", "znode"), ("inventory.img", "zrun znode")])
def test_what_cannot_wake_is_started_from_its_image(host, damaged, since):
    port = sleeping(host)
    before, images = host.row(WEB)["container"], checkpoint(host)
    victim = next(images.glob(damaged))
    victim.write_bytes(victim.read_bytes()[:victim.stat().st_size // 3])
    if since:
        host.kill(*since.split())
    served(port, 1)
    row = host.row(WEB)
    assert row["container"] != before and row["restarts"] == 0
    assert "cannot wake" in host.said()
    assert not images.exists()


def test_who_cannot_sleep_stays_frozen(host):
    """criu cannot write an init that comes from outside the container's root.
    Said once, tried again only after somebody has used it."""
    port = free_port()
    host.apply(host.service(WEB, port, reactive=SLEEP, init=True))
    served(port, 0)
    host.wait(lambda: "cannot sleep" in host.said())
    host.wait_row(WEB, state="frozen")
    said = host.said()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert host.row(WEB)["state"] == "frozen"
    assert host.said() == said
    client = Client(port)
    assert client.ask(AUDIT, 1) == (0, 1)
    client.close()
    host.wait_row(WEB, state="frozen")
    refused = host.znode("sleep", host.name(WEB), status=1)
    assert "not asleep: " in refused
    assert host.said().count("cannot sleep") == 1


def test_full_disk(host):
    """It stays frozen, with what it knows, and sleeps when there is room."""
    port = free_port()
    full = host.data / "checkpoints"
    mount("-t", "tmpfs", "-o", "size=48k", "none", full)
    try:
        host.kill("zrun")  # which has the directory open
        host.apply(host.service(WEB, port, reactive=SLEEP))
        served(port, 0)
        host.wait(lambda: "cannot sleep" in host.said())
        host.wait_row(WEB, state="frozen")
        client = Client(port)
        assert client.ask(AUDIT, 1) == (0, 1)
        client.close()
        # No dump is under way then, which would not outlive its zrun.
        assert "not asleep: " in host.znode("sleep", host.name(WEB), status=1)
    finally:
        unmount(full)
    host.kill("zrun")
    served(port, 1)
    host.wait_row(WEB, state="asleep")
    client = Client(port)
    assert client.ask(AUDIT, 2) == (0, 2)
    client.close()


@pytest.mark.parametrize("since", ["", "zrun"])
def test_volume_of_a_sleeper(host, since):
    """It is in use, though nobody has it mounted."""
    mounts = [{"type": "volume", "source": "v", "target": "/v"},
              {"type": "volume", "source": "w", "target": "/w",
               "read_only": True}]
    port = sleeping(host, mounts=mounts)
    if since:
        host.kill(since)
    for volume in ("shop.v", "shop.w"):
        assert "container %s uses it" % host.row(WEB)["container"] in \
            host.znode("volume-rm", volume, status=1)
    served(port, 1)
    assert Client(port).ask(AUDIT, 2) == (0, 2)
    host.apply()
    host.wait(lambda: not host.rows())
    assert host.znode("volume-rm", "shop.v") == "shop.v removed\n"


@pytest.mark.parametrize("dies", ["znet", "znode", "zrun", "znet znode",
                                  "znode zrun"])
def test_who_dies_while_it_sleeps(host, dies):
    """It sleeps on, and wakes where it was; a client that comes while they are
    away is served too."""
    port = sleeping(host)
    before = host.row(WEB)
    for number in (1, 2):
        host.kill(*dies.split())
        row = host.wait_row(WEB, state="asleep")
        assert row["container"] == before["container"]
        assert row["ports"] == before["ports"]
        client = Client(port)
        assert client.ask(COUNT, number) == (0, number)
        assert client.ask(AUDIT, number + 1) == (0, number + 1)
        client.close()
        host.wait_row(WEB, state="asleep")
    assert host.row(WEB)["container"] == before["container"]


@pytest.fixture
def slow(tmp_path):
    """One whose criu does as it is told."""
    yield from react_host_with_orders(tmp_path)


@pytest.mark.parametrize("verb", ["dump", "restore"])
def test_criu_is_killed(slow, verb):
    """What it had counted is lost with it; the client is served by another
    instance, which sleeps and wakes."""
    port = sleeping(slow)
    if verb == "dump":
        (slow.orders / "kill-dump").touch()
        served(port, 1)
        slow.wait(lambda: not (slow.orders / "kill-dump").exists())
    else:
        (slow.orders / "kill-restore").touch()
    served(port, 2)
    assert not (slow.orders / ("kill-" + verb)).exists()
    assert ("cannot wake" in slow.said()) == (verb == "restore")
    slow.wait_row(WEB, state="asleep")
    client = Client(port)
    assert client.ask(AUDIT, 3) == (0, 1)
    client.close()


@pytest.mark.parametrize("dies", ["znode", "zrun", "znet", "znode zrun"])
@pytest.mark.parametrize("verb", ["dump", "restore"])
def test_who_dies_while_criu_works(slow, verb, dies):
    """When its processes are ended, or there and stopped. The client is served,
    by who slept or another one, which then sleeps and wakes with what it has
    counted since."""
    port = sleeping(slow)
    order = slow.orders / ("hold-after-" + verb)
    order.touch()
    if verb == "dump":
        served(port, 1)
    client = Client(port) if verb == "restore" else None
    slow.wait((slow.orders / ("held-after-" + verb)).exists)
    slow.kill(*dies.split())
    client = client or Client(port)
    client.send(COUNT, 2)
    order.unlink()
    assert client.answer() == (0, 2)
    again, counted = client.ask(AUDIT, 3)
    assert again == 0 and counted in (1, 2, 3)
    client.close()
    slow.wait_row(WEB, state="asleep")
    client = Client(port)
    assert client.ask(AUDIT, 3) == (0, counted)
    client.close()


def test_client_knocks_while_znode_is_away(host):
    """He has knocked already: nobody but he himself can tell the next one."""
    port = sleeping(host)
    pid = host.pid("znode")
    os.kill(pid, signal.SIGSTOP)
    client = Client(port)
    client.send(AUDIT, 1)
    host.kill("znode")
    assert client.answer() == (0, 1)
    client.close()


def test_znode_dies_before_image_only(host):
    """Awake again it runs on; asleep it still has an end."""
    port = sleeping(host, reactive={**SLEEP, "image_after_ms": 5000})
    host.kill("znode")
    client = Client(port)
    assert client.ask(COUNT, 1) == (0, 1)
    assert client.ask(AUDIT, 2) == (0, 2)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert host.row(WEB)["pid"]
    assert client.ask(AUDIT, 2) == (0, 2)
    client.close()
    host.wait_row(WEB, state="asleep")
    host.kill("znode")
    host.wait_row(WEB, state="image", rests=True)


def test_a_sleeper_of_which_the_record_is_lost(host):
    """Without what serve has noted it is no more than a directory."""
    port = sleeping(host)
    state = host.run / "zrun" / host.row(WEB)["container"] / "state.json"
    state.write_text(state.read_text().replace('"note":"', '"note":"!'))
    host.kill("zrun", "znode")
    client = Client(port)
    assert client.ask(COUNT, 1) == (0, 1)
    assert client.ask(AUDIT, 2) == (0, 1)  # it is another process
    client.close()


@pytest.mark.parametrize("dies", ["znode", "znet", "zrun"])
def test_dies_at_any_moment(host, rng, dies):
    """Killed at random moments between sleep and sleep: whoever comes is
    served, and the service is the same in the end."""
    port = sleeping(host)
    for number in range(1, 5):  # init waits longer each time
        served(port, number)
        time.sleep(rng.uniform(0.2, 0.3))
        host.kill(dies)
    served(port, 99)
    host.wait_row(WEB, state="asleep")


@pytest.mark.deadline(240)
def test_no_request_is_lost(host, rng):
    """Many short lives of some services, each answer came once."""
    apps = [host.service("s%d" % i, free_port(), reactive={
        "freeze_after_ms": 100, "sleep_after_ms": 100}) for i in range(3)]
    host.apply(*apps)
    errors = []

    def ask(port, seed):
        mine = random.Random(seed)
        number = 0
        try:
            for _ in range(40):
                client = Client(port)
                for _ in range(mine.randrange(1, 5)):
                    assert client.ask(COUNT, number) == (0, number)
                    number += 1
                assert client.ask(AUDIT, number) == (0, number)
                client.close()
                time.sleep(mine.uniform(0.09, 0.2))
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=ask, args=(
        app["ports"][0]["host"], rng.random())) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, (errors, host.said())
    wakes = [host.row("s%d" % i)["wakes"] for i in range(3)]
    assert sum(wakes) >= 30, wakes
