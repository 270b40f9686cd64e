"""A hub, zagent and znode, all real: what an operator wants runs, and what
nobody of this organism signed for this node does not, whoever brings it."""

import base64
import contextlib
import json
import sqlite3

import pytest

from agent import Agent, until
from hub import Hub, Node
from zooid.znode_host import host_in_directory, write_layout


@pytest.fixture
def host():
    yield from host_in_directory()


@pytest.fixture
def node(hub, host):
    """An agent and a znode that are one node."""
    folder = host.run.parent
    token = hub.token()
    agent = Agent(folder.parent, token, folder=folder.name, znode=False)
    host.start(name="n1", hub={"token": token})
    host.agent = agent.start()
    with contextlib.closing(agent):
        agent.wait_state("connected")
        yield host
        agent.stop()


def image(host, layer):
    """Where this host's pulls come from; the digest of its manifest."""
    new = host.registry / "new"
    manifest, _ = write_layout(new, layer)
    new.rename(host.registry / manifest[7:])
    return manifest


def put(hub, digest, **changes):
    return hub.operator.ask("PUT", "/v1/apps/shop", {
        "nodes": ["n1"], "apps": [{
            "name": "web", "image": "hub/web:1", "digest": digest,
            "command": ["run"], "restart": "always", **changes}]})


def row(hub):
    return next((r for r in hub.operator.get("/v1/ps")["rows"]
                 if r["name"] == "web"), {})


def listed(hub, name):
    return next(n for n in hub.operator.get("/v1/nodes")["nodes"]
                if n["name"] == name)


def facts(hub):
    return listed(hub, "n1")["facts"]


def test_what_is_applied_runs_and_is_seen(hub, node):
    put(hub, image(node, b"one"))
    until(lambda: row(hub).get("state") == "running")
    assert row(hub)["container"] == node.app()["container"]
    before = node.app()["pid"]
    node.agent.kill()
    node.agent.start().wait_state("connected")
    hub.kill()
    hub.start()
    node.agent.wait_state("connected")
    node.kill("znode")
    until(lambda: row(hub).get("state") == "running")
    assert node.app()["pid"] == before, "a healthy workload was restarted"
    hub.operator.ask("DELETE", "/v1/apps/shop")
    until(lambda: node.app() is None)
    until(lambda: not row(hub))


def stored(hub, name):
    """(epoch, revision, envelope) of a node's document in the store."""
    with contextlib.closing(sqlite3.connect(
            hub.directory / "store.db", 30)) as db:
        value, = db.execute("SELECT value FROM entry WHERE key = ?",
                            ("desired/" + listed(hub, name)["id"],)).fetchone()
    head, envelope = bytes(value).split(b"\n", 1)
    return (*map(int, head.split()), envelope)


def tamper(hub, node, envelope):
    """Puts it into the store of the hub in the place of a newer document."""
    epoch, revision, _ = stored(hub, "n1")
    with contextlib.closing(sqlite3.connect(
            hub.directory / "store.db", 30)) as db, db:
        db.execute("UPDATE entry SET value = ? WHERE key = ?",
                   (b"%d %d\n" % (epoch, revision + 1000) + envelope,
                    "desired/" + listed(hub, "n1")["id"]))
    node.agent.kill()
    node.agent.start()


def with_payload(envelope, **changes):
    """The same signature over something else."""
    parts = json.loads(envelope)
    document = json.loads(base64.b64decode(parts["payload"]))
    parts["payload"] = base64.b64encode(json.dumps(
        {**document, **changes}).encode()).decode()
    return json.dumps(parts).encode()


def signed_elsewhere(hub, tmp_path):
    """A document that a hub of another organism made for a node n1."""
    with contextlib.closing(Hub(tmp_path / "other")) as other:
        other.start()
        node = Node(other, tmp_path / "nodes", "n1")
        with node.watch() as watch:
            watch.document()
        envelope = stored(other, "n1")[2]
        other.stop()
    return envelope


def test_store_that_was_tampered_with(hub, node, tmp_path):
    digest = image(node, b"one")
    put(hub, digest)
    until(lambda: row(hub).get("state") == "running")
    before = node.app()["pid"]
    old = stored(hub, "n1")[2]
    put(hub, digest, environment={"NEW": "1"})
    until(lambda: row(hub).get("current") and node.app()["pid"] != before)
    pid = until(lambda: node.app()["state"] == "running" and node.app()["pid"])
    other = Node(hub, tmp_path, "n2")
    with other.watch() as watch:
        watch.document()
    newest = stored(hub, "n1")[2]
    for envelope, why in [
            (with_payload(newest, revision=9999), "signature"),
            (signed_elsewhere(hub, tmp_path), "root"),
            (stored(hub, "n2")[2], "is for node"),
            (b"{}", "envelope")]:
        tamper(hub, node, envelope)
        until(lambda: why in facts(hub).get("document_error", ""))
        assert node.app()["pid"] == pid, why
    tamper(hub, node, old)
    node.agent.wait_state("connected")
    until(lambda: "document_error" not in facts(hub))
    assert node.app()["pid"] == pid, "replayed"
