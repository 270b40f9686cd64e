"""Images from the hub to a node: zhub, zagent and zpull, each as it is."""

import contextlib
import json
import os
import socket
import subprocess

import pytest

from agent import until
from hub import BUILD
from registry import MANIFEST, digest, push_blob, push_manifest
from relay import Relay
from zooid import process
from zooid.pulls import DROP, FROM_HUB, PULL, Pull

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
LAYER = 6 << 20


class Puller:
    """zpull beside an agent."""

    def __init__(self, agent):
        self.run = agent.directory / "run"
        self.layouts = agent.directory / "data/pull"
        self.environment = agent.environment
        self.log = agent.directory / "zpull.log"
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = process.start(
                [BUILD / "host/bin/zpull"], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.answers)

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            return sock.connect_ex(str(self.run / "zpull.sock")) == 0

    def begin(self, name):
        return Pull(self.run, PULL, "team/web:1", name, flags=FROM_HUB)

    def part(self, image, layer):
        path = self.layouts / image[7:] / "blobs/sha256" / (
            digest(layer)[7:] + ".tmp")
        return path.stat().st_size if path.exists() else 0

    def blob(self, image, layer):
        return (self.layouts / image[7:] / "blobs/sha256" /
                digest(layer)[7:]).read_bytes()

    def close(self):
        process.end(self.process, 10)
        said = self.log.read_text()
        assert "Sanitizer" not in said and "runtime error" not in said, said


@pytest.fixture
def puller(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    made = Puller(agent)
    made.agent = agent
    yield made
    made.close()


def pushed(hub, layer):
    config = json.dumps({
        "architecture": ARCHITECTURE, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    operator, repo = hub.operator, "team/web"

    def blob(data, kind):
        return {**push_blob(operator, repo, data),
                "mediaType": "application/vnd.oci.image." + kind}
    return push_manifest(operator, repo, "1", {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": blob(config, "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar")]})


def test_image_of_the_hub(hub, puller):
    layer = os.urandom(LAYER)
    image = pushed(hub, layer)
    reply = puller.begin(image).end()
    assert reply.error == 0, (reply, puller.log.read_text())
    assert reply.digest == image
    assert puller.blob(image, layer) == layer
    assert Pull(puller.run, DROP, path=reply.path).end().error == 0
    reply = puller.begin(digest(b"unknown")).end()
    assert "not there" in reply.text


@contextlib.contextmanager
def slow_hub(hub, puller):
    """The node reaches its hub at 2 MB a second only."""
    with Relay(("127.0.0.1", hub.port), bytes_per_s=2 << 20) as relay:
        puller.agent.stop()
        puller.agent.redirect("127.0.0.1:%d" % relay.port)
        puller.agent.start()
        puller.agent.wait_state("connected")
        yield relay


def test_hub_killed_amid_a_pull(hub, puller):
    """What came is not sent again, and the pull ends by itself."""
    layer = os.urandom(LAYER)
    image = pushed(hub, layer)
    with slow_hub(hub, puller) as relay:
        pull = puller.begin(image)
        until(lambda: puller.part(image, layer) > 1 << 20)
        hub.kill()
        have = puller.part(image, layer)
        hub.start()
        relay.bytes_per_s = 0
        reply = pull.end()
        assert reply.error == 0, (reply, puller.log.read_text())
        assert puller.blob(image, layer) == layer
        assert all(p.done >= have for _, p in pull.progress[-1:])


def test_zpull_killed_amid_a_pull(hub, puller):
    layer = os.urandom(LAYER)
    image = pushed(hub, layer)
    with slow_hub(hub, puller):
        pull = puller.begin(image)
        until(lambda: puller.part(image, layer) > 3 << 20)
        puller.process.kill()
        puller.process.wait()
        with pytest.raises(ConnectionResetError):
            pull.end()
        have = puller.part(image, layer)
        puller.start()
        again = puller.begin(image)
        assert again.end().error == 0
        assert puller.blob(image, layer) == layer
        assert again.progress and again.progress[0][1].done >= have
