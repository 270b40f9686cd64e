"""znode obeys the hub's desired document: which it believes, how it goes from
one to the next, and that it needs nobody for the one it has."""

import errno
import json
import os
import signal

import pytest

from zooid.messages import ZNODE_DESIRED, ZNODE_REVISION, ZNODE_WATCH
from zooid.organism import Organism
from zooid.znode_host import (answer, app, connects, free_port,
                              host_in_directory, write_layout)

NODE = "n-0123456789abcd"


class Colony:
    """A host, the organism that it belongs to, and images in a registry."""

    def __init__(self, host, directory):
        self.host = host
        self.organism = Organism(directory / "organism")
        self.chain = self.organism.chain(NODE).encode()
        self.digest, self.index = self.image(b"a layer")
        self.revision = 0

    def image(self, layer):
        where = self.host.registry / "new"
        digests = write_layout(where, layer)
        for digest in digests:
            os.path.lexists(self.host.registry / digest[7:]) or \
                os.symlink(digests[0][7:], self.host.registry / digest[7:]) \
                if digest != digests[0] else \
                where.rename(self.host.registry / digest[7:])
        return digests

    def app(self, name="web", **changes):
        return {"name": name, "image": "hub/one:latest",
                "digest": self.digest, "command": ["run"],
                "restart": "always", **changes}

    def document(self, *apps, **changes):
        self.revision += 1
        return {"node": NODE, "name": "n1", "epoch": 1,
                "revision": self.revision, "registry": "hub",
                "apps": list(apps), **changes}

    def offer(self, document, signer="documents", chain=None):
        return self.host.ask(
            ZNODE_DESIRED, self.organism.envelope(document, signer),
            self.chain if chain is None else chain)

    def apply(self, *apps, **changes):
        document = self.document(*apps, **changes)
        assert self.offer(document) == (
            0, (document["epoch"], document["revision"]), "")
        return document


@pytest.fixture
def host():
    yield from host_in_directory()


@pytest.fixture
def colony(host, tmp_path):
    return Colony(host, tmp_path)


def test_obeyed_without_hub_after_a_restart(colony, host):
    port = free_port()
    host.start()
    assert host.ask(ZNODE_REVISION) == (0, (0, 0), "")
    colony.apply(colony.app(ports=[{"host": port, "container": 80}]))
    before = host.wait_state("running")
    assert before["source"] == "hub" and before["digest"] == colony.digest
    assert connects(port)
    assert host.requests("pull-hub") == ["one:latest"]
    assert host.requests("drop") == [colony.digest[7:]]
    host.kill("znode")
    assert host.ask(ZNODE_REVISION) == (0, (1, 1), "")
    after = host.app()
    for key in ("container", "pid", "started_ms", "digest", "ports"):
        assert after[key] == before[key], key
    assert host.requests("start") == ["web-1"]
