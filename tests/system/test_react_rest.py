"""Services that are image only until a client comes: started for who waits in
the listen queue, stopped when nobody is left, and no request lost between."""

import random
import socket
import struct
import threading
import time

import pytest

from zooid.host import free_port
from zooid.react_host import AUDIT, COUNT, Client, react_host_in_directory

WEB = "web"
REST = {"freeze_after_ms": 100, "image_after_ms": 250}


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def resting(host, name=WEB, **changes):
    port = free_port()
    host.apply(host.service(name, port, **{"reactive": REST, **changes}))
    host.wait_row(name, state="image", rests=True)
    return port


def test_started_for_the_first_client(host):
    """Not before; those who come together all wait, and are served."""
    port = resting(host)
    row = host.row(WEB)
    assert (row["pid"], row["container"], row["wakes"]) == (0, "", 0)
    clients = [Client(port) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(COUNT, number)
    for number, client in enumerate(clients):
        assert client.answer() == (0, number)
    assert clients[0].ask(AUDIT, 20) == (0, 20)
    row = host.row(WEB)
    assert row["wakes"] == 1 and row["why"] == "a connection came"
    for client in clients:
        client.close()
    ended = host.wait_row(WEB, state="image", rests=True)
    assert ended["reason"] == "" and ended["restarts"] == 0


def test_not_stopped_while_a_client_is_connected(host):
    """Frozen, yes; and what the client counted is still there."""
    port = resting(host)
    client = Client(port)
    client.ask(COUNT, 0)
    row = host.wait_row(WEB, state="frozen")
    host.wait(lambda: clock_ms() - host.row(WEB)["since_ms"] >
              2 * REST["image_after_ms"])
    assert client.ask(AUDIT, 1) == (0, 1)
    assert host.row(WEB)["pid"] == row["pid"]
    # Its end is what is waited for then; a reset is one too.
    host.wait_row(WEB, state="frozen")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
    client.close()
    host.wait_row(WEB, state="image", rests=True)


def clock_ms():
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def test_rests_before_it_would_be_frozen(host):
    port = resting(host, reactive={"image_after_ms": 200})
    Client(port).ask(COUNT, 1)
    host.wait_row(WEB, state="image", rests=True)
    # Seen by hand too.
    name = host.name(WEB)
    assert "rests until a client comes" in host.znode("ps")
    assert host.znode("start", name) == "%s running\n" % name
    host.wait_row(WEB, state="image", rests=True)


def test_policy_and_people(host):
    port = resting(host)
    host.apply(host.service(WEB, port))
    host.wait_row(WEB, state="running", rests=False)
    host.apply(host.service(WEB, port, reactive=REST))
    assert host.row(WEB)["pid"]  # what runs is not stopped for it
    host.wait_row(WEB, state="image", rests=True)
    host.znode("stop", host.name(WEB))
    with pytest.raises(ConnectionRefusedError):
        Client(port)
    host.znode("start", host.name(WEB))
    assert Client(port).ask(COUNT, 1) == (0, 1)


def test_who_waits_for_it_may_start(host):
    """What rests is there for who asks, so it counts as started."""
    other = host.service("other", depends_on=[{"app": host.name(WEB)}])
    host.apply(host.service(WEB, reactive=REST), other)
    host.wait_row("other", state="running")
    assert host.row(WEB)["rests"]


@pytest.mark.parametrize("dies", ["znet", "znode", "zrun", "znet znode"])
def test_who_dies_while_it_rests(host, dies):
    """A client that comes while they are away is served too."""
    port = resting(host)
    host.kill(*dies.split())
    client = Client(port)
    assert client.ask(COUNT, 1) == (0, 1)
    client.close()
    host.wait_row(WEB, state="image", rests=True)


@pytest.mark.parametrize("dies", ["znode", "znet", "zrun"])
def test_dies_at_any_moment(host, rng, dies):
    """Killed at random moments between rest and rest: whoever comes is
    served, and the service is the same in the end."""
    port = resting(host, reactive={"image_after_ms": 100})
    for number in range(4):  # init waits longer each time
        client = Client(port)
        assert client.ask(COUNT, number) == (0, number)
        client.close()
        time.sleep(rng.uniform(0.09, 0.13))
        host.kill(dies)
    client = Client(port)
    assert client.ask(COUNT, 99) == (0, 99)
    client.close()
    host.wait_row(WEB, state="image", rests=True)


@pytest.mark.deadline(240)
def test_no_request_is_lost(host, rng):
    """Many short lives: each answer came, though the process that gave it may
    be stopped as soon as nobody is connected."""
    apps = [host.service("r%d" % i, free_port(), reactive={
        "image_after_ms": 100}) for i in range(4)]
    host.apply(*apps)
    errors = []

    def ask(port, seed):
        mine = random.Random(seed)
        try:
            for number in range(60):
                client = Client(port)
                for i in range(mine.randrange(1, 5)):
                    assert client.ask(COUNT, number * 8 + i)[1] == \
                        number * 8 + i
                client.close()
                time.sleep(mine.uniform(0.05, 0.16))
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=ask, args=(
        app["ports"][0]["host"], rng.random())) for app in apps
        for _ in range(1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, (errors, host.said())
    wakes = [host.row("r%d" % i)["wakes"] for i in range(4)]
    assert sum(wakes) >= 40, wakes
