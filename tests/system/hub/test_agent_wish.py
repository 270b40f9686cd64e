"""What an operator wants of a service for now, from zctl to the kernel: hub,
zagent, znode, znet and zrun serve, all real."""

import contextlib
import json
import os
import subprocess

import pytest

from agent import Agent, until
from zooid.build import BUILD
from zooid.host import directory, free_port
from zooid.react_host import AUDIT, COUNT, Client, PORT, ReactHost

ZCTL = BUILD / "host/bin/zctl"


class WishHost(ReactHost):
    """Its documents are the hub's."""

    def close(self):
        self.hub.operator.ask("DELETE", "/v1/apps/shop")
        self.wait(lambda: not self.rows())
        super(ReactHost, self).close()


@pytest.fixture
def host(hub, tmp_path):
    with directory() as path:
        made = WishHost(path, tmp_path / "organism")
        made.hub = hub
        agent = Agent(path.parent, hub.token(), folder=path.name, znode=False)
        made.port = free_port()
        with contextlib.closing(agent):
            agent.start().wait_state("connected")
            hub.operator.ask("PUT", "/v1/apps/shop", {
                "nodes": ["n1"], "apps": [{
                    "name": made.name("web"), "image": "hub/audited",
                    "digest": made.digest, "restart": "always", "ports": [
                        {"host": made.port, "container": PORT}],
                    "reactive": {"freeze_after_ms": 600000}}]})
            made.wait(lambda: made.row("web"))
            made.wait_row("web", state="running")
            yield made
            made.close()
            agent.stop()


def zctl(host, *words, status=0):
    done = subprocess.run([ZCTL, *words], capture_output=True, text=True,
                          timeout=60, env={
        **os.environ, "ASAN_OPTIONS": "detect_leaks=0",
        "ZOOID_OPERATOR": str(host.hub.directory / "operator.json")})
    assert status in (None, done.returncode), (done, host.said())
    return done.stdout + done.stderr


def test_by_hand(host):
    """Each verb, and that a client is served whatever came before."""
    name, client = host.name("web"), Client(host.port)
    assert client.ask(COUNT, 1) == (0, 1)
    until(lambda: name in zctl(host, "ps", "-a"))
    assert zctl(host, "freeze", "n1/" + name) == "n1/%s frozen\n" % name
    assert host.freezer("web")
    assert zctl(host, "thaw", name) == "n1/%s running\n" % name
    assert not host.freezer("web")
    zctl(host, "freeze", name)
    assert client.ask(AUDIT, 2) == (0, 1)
    client.close()
    assert zctl(host, "sleep", name) == "n1/%s asleep\n" % name
    assert host.row("web")["pid"] == 0
    said = json.loads(zctl(host, "wake", name, "-o", "json"))
    assert said == {"state": "running"}
    assert Client(host.port).ask(AUDIT, 2) == (0, 1)


def test_refused(host):
    """By the node, in its own words; and of who may not."""
    name, client = host.name("web"), Client(host.port)
    until(lambda: name in zctl(host, "ps", "-a"))
    client.send(COUNT, 1, 3000000)
    until(lambda: "not frozen: a request came" in zctl(
        host, "freeze", name, status=None))
    assert "a request came" in zctl(host, "freeze", name, status=1)
    assert client.answer() == (3000000, 1)
    assert "no such application" in zctl(host, "wake", "n1/nothing", status=1)
