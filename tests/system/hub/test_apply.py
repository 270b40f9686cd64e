"""From applications to desired documents, and what nodes tell back."""

import json
import os
import threading
import time

import pytest

from hub import ASK, BYE, SYNCED, Node, Refused
from registry import push

DIGEST = "sha256:" + "ab" * 32


def web(name="web", **changes):
    return {"name": name, "image": "hub/web:1", "digest": DIGEST,
            "ports": [{"host": 8080, "container": 80}], "cpus": 0.5,
            "environment": {"KEY": "value"}, **changes}


def put(hub, name, nodes, *apps, **more):
    return hub.operator.ask("PUT", "/v1/apps/" + name, {
        "nodes": nodes, "apps": list(apps), **more})


def test_document_follows_the_application(hub, tmp_path):
    node, other = Node(hub, tmp_path, "n1"), Node(hub, tmp_path, "n2")
    with node.watch() as watch, other.watch() as quiet:
        first = watch.document()
        assert first["apps"] == [] and first["node"] == node.id
        assert watch.frame()[0] == SYNCED
        quiet.document()
        assert quiet.frame()[0] == SYNCED
        put(hub, "shop", ["n1"], web())
        second = watch.document()
        assert (second["epoch"], second["revision"]) > (
            first["epoch"], first["revision"])
        app, = second["apps"]
        assert app["digest"] == DIGEST and app["cpus"] == 0.5
        assert app["origin"]["application"] == "shop"
        assert app["origin"]["by"] == "operator"
        assert watch.frame()[0] == SYNCED
        hub.operator.ask("DELETE", "/v1/apps/shop")
        assert watch.document()["apps"] == []
        # n2 was never told: the next that it hears is its own.
        put(hub, "late", ["n2"], web())
        assert quiet.document()["apps"][0]["name"] == "web"


def test_watch_resumes_by_revision(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    with node.watch() as watch:
        first = watch.document()
    with node.watch(first["epoch"], first["revision"]) as watch:
        assert watch.frame()[0] == SYNCED
        for n in range(5):
            put(hub, "shop", ["n1"], web(pids=n + 1))
        seen = watch.document()
        while seen["apps"][0]["pids"] != 5:
            seen = watch.document()
    with node.watch(first["epoch"], first["revision"], follow=False) as watch:
        assert watch.document()["revision"] == seen["revision"]
        assert watch.frame()[0] == SYNCED
        assert watch.frame() is None


def test_nothing_new_is_not_signed_again(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    put(hub, "shop", ["n1"], web())
    with node.watch(follow=False) as watch:
        before = watch.document()
    hub.stop()
    hub.start()
    with node.watch(follow=False) as watch:
        assert watch.document() == before


def test_hub_killed_between_application_and_document(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    for n in range(3):
        put(hub, "shop", ["n1"], web(pids=n + 1))
        hub.kill()
        hub.start()
        with node.watch() as watch:
            while watch.document()["apps"] == []:
                pass
        with node.watch(follow=False) as watch:
            assert watch.document()["apps"][0]["pids"] == n + 1


def test_many_nodes_all_hear(hub, tmp_path):
    token = hub.token("--uses", "12")
    nodes = [Node(hub, tmp_path, "n%d" % n, token) for n in range(12)]
    watches = [node.watch() for node in nodes]
    for watch in watches:
        watch.document()
    put(hub, "everywhere", ["*"], web())
    for node, watch in zip(nodes, watches):
        document = watch.document()
        assert document["node"] == node.id and len(document["apps"]) == 1
        watch.close()
    late = Node(hub, tmp_path, "late")
    with late.watch() as watch:
        while not watch.document()["apps"]:
            pass


REFUSED = {
    "unknown node": (["n9"], [web()], "no node n9"),
    "no nodes": ([], [web()], "nodes"),
    "unknown key": (["n1"], [web(volumes=[])], "apps[0].volumes"),
    "not pushed": (["n1"], [{"name": "a", "image": "hub/none:1"}],
                   "push it first"),
    "no image's name": (["n1"], [{"name": "a", "image": "Web:1"}],
                        "want hub/NAME:TAG"),
    "image of elsewhere": (["n1"], [{"name": "a", "image": "10.0.0.1/x"}],
                           "no upstream"),
    "port twice": (["n1"], [web(), web("web2")], "port 8080"),
    "name twice": (["n1"], [web(), web(ports=[])], "two apps of that name"),
    "port of another": (["n2", "n1"], [web("other")],
                        "of application old"),
    "name of another": (["*"], [web(ports=[])], "application old has"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_application_is_refused(hub, tmp_path, name):
    for node in ("n1", "n2"):
        Node(hub, tmp_path, node)
    put(hub, "old", ["n1"], web())
    nodes, apps, error = REFUSED[name]
    with pytest.raises(Refused) as refused:
        put(hub, "shop", nodes, *apps)
    assert refused.value.status == 400 and error in refused.value.error
    assert [a["name"] for a in hub.operator.get("/v1/apps")["apps"]] == ["old"]


def test_tag_is_resolved_when_applied(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    first = push(hub, "web", "1", b"first")
    app = {"name": "web", "image": "hub/web:1"}
    reply = put(hub, "shop", ["n1"], app, source="services: {}\n")
    assert reply["apps"][0]["digest"] == first
    second = push(hub, "web", "1", b"second")
    assert second != first
    with node.watch(follow=False) as watch:
        assert watch.document()["apps"][0]["digest"] == first
    put(hub, "shop", ["n1"], app)
    with node.watch(follow=False) as watch:
        assert watch.document()["apps"][0]["digest"] == second
    put(hub, "shop", ["n1"], app, source="services: {}\n")
    assert hub.operator.get("/v1/apps/shop")["source"] == "services: {}\n"


def test_ps_and_nodes_tell_what_nodes_told(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    put(hub, "shop", ["n1"], web())
    row, = hub.operator.get("/v1/ps")["rows"]
    assert row["state"] == "pending" and row["node_state"] == "offline"
    with node.watch() as watch:
        document = watch.document()
        node.client.ask("POST", "/v1/nodes/%s/acknowledged" % node.id, {
            "epoch": document["epoch"], "revision": document["revision"]})
        node.observe({"name": "web", "state": "running", "restarts": 2,
                      "cpu_ms": 12, "memory_bytes": 4096,
                      "digest": DIGEST},
                     {"name": "local", "state": "running",
                      "image": "images/x"}, version="0.1")
        rows = {r["name"]: r for r in hub.operator.get("/v1/ps")["rows"]}
        assert rows["web"]["state"] == "running"
        assert rows["web"]["restarts"] == 2
        assert rows["web"]["application"] == "shop"
        assert rows["web"]["node_state"] == "ready"
        assert "application" not in rows["local"]
        listed, = hub.operator.get("/v1/nodes")["nodes"]
        assert listed["state"] == "ready"
        assert listed["facts"] == {"version": "0.1"}
        assert listed["acknowledged"] == listed["desired"]
    hub.stop()
    hub.start()
    listed, = hub.operator.get("/v1/nodes")["nodes"]
    assert listed["state"] == "offline" and "seen" in listed
    assert listed["acknowledged"] == listed["desired"]
    assert len(hub.operator.get("/v1/ps")["rows"]) == 2


def tells_when_asked(node, watch, asks):
    """What an agent does with an ask to observe, until the stream ends."""
    while frame := watch.frame():
        if frame[0] == ASK and json.loads(frame[1]) == {"verb": "observe"}:
            asks.append(node.name)
            node.observe({"name": "web", "state": "running",
                          "memory_bytes": 4096 * len(asks)})


def test_ps_asks_nodes_to_tell_anew(hub, tmp_path):
    node, mute = Node(hub, tmp_path, "n1"), Node(hub, tmp_path, "n2")
    Node(hub, tmp_path, "off")
    put(hub, "shop", ["*"], web())
    asks = []
    watch = node.watch()
    agent = threading.Thread(target=tells_when_asked, args=(node, watch, asks))
    agent.start()
    start = time.monotonic()
    rows = {r["node"]: r for r in hub.operator.get("/v1/ps")["rows"]}
    assert rows["n1"]["memory_bytes"] == 4096, "told while we waited"
    assert rows["off"]["state"] == "pending"
    hub.operator.get("/v1/ps?fresh=0")
    for _ in range(3):
        hub.operator.get("/v1/ps")
    # It may have been asked again when the machine was slow, but not thrice.
    assert len(asks) <= 1 + (time.monotonic() - start) // 2
    with mute.watch() as quiet:
        quiet.document()
        start = time.monotonic()
        rows = hub.operator.get("/v1/ps")["rows"]
        assert time.monotonic() - start < 5 and len(rows) == 3
        both = [threading.Thread(target=hub.operator.get, args=("/v1/ps",))
                for _ in range(8)]
        for one in both:
            one.start()
        for one in both:
            one.join()
    hub.stop()  # bye ends the agent's stream
    agent.join()
    watch.close()
    hub.start()


def test_stale_node_is_called_so(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    reply = node.client.open("GET", "/v1/nodes/%s/desired?watch=1&heartbeat="
                             "10" % node.id)
    assert hub.operator.get("/v1/nodes")["nodes"][0]["state"] == "ready"
    reply.connection.close()
    reply.close()


def test_events_tell_and_follow(hub, tmp_path):
    reply = hub.operator.open("GET", "/v1/events?watch=1")
    Node(hub, tmp_path, "n1")
    seen = []
    while not seen or seen[-1]["what"] != "enrolled":
        seen.append(json.loads(reply.readline()))
    assert seen[-1]["node"] == "n1"
    put(hub, "shop", ["n1"], web())
    event = json.loads(reply.readline())
    assert (event["what"], event["app"], event["by"]) == (
        "applied", "shop", "operator")
    reply.connection.close()
    reply.close()
    since = hub.operator.get("/v1/events?since=%d" % seen[-1]["revision"])
    events = [json.loads(line) for line in since.splitlines()]
    assert [e["what"] for e in events] == ["applied"]
    assert "audit: operator PUT /v1/apps/shop" in hub.said()


def test_state_changes_are_events(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    for state in ("pulling", "running", "running", "failed"):
        node.observe({"name": "web", "state": state, "reason": "exit 1"})
    events = [json.loads(line) for line in
              hub.operator.get("/v1/events").splitlines()]
    assert [e["what"] for e in events if e.get("app") == "web"] == [
        "pulling", "running", "failed"]


def test_limits_are_events(hub, tmp_path):
    """Who ran into one is named, once for each time that it is reported."""
    node = Node(hub, tmp_path, "n1")
    for limit in (None, "ran into A", "ran into A", "ran into B", None):
        node.observe({"name": "web", "state": "running", "reason": "",
                      **({"limit": limit} if limit else {})})
    events = [json.loads(line) for line in
              hub.operator.get("/v1/events").splitlines()]
    assert [(e["app"], e["node"], e["text"]) for e in events
            if e["what"] == "limit"] == [("web", "n1", "ran into A"),
                                         ("web", "n1", "ran into B")]


def answer(node, watch, chunks, status=None):
    """What an agent does with an ask for logs."""
    kind, data = watch.frame()
    while kind != ASK:
        kind, data = watch.frame()
    ask = json.loads(data)
    node.asked = ask
    path = "/v1/streams/" + ask["stream"]
    connection = node.client.connect()
    try:
        connection.request(
            "POST", path + ("?status=%d" % status if status else ""),
            body=iter(chunks), headers={"transfer-encoding": "chunked"},
            encode_chunked=True)
        connection.getresponse().read()
    except OSError:
        node.broken = True
    finally:
        connection.close()


def test_logs_are_relayed(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    chunks = [os.urandom(65536) for _ in range(64)]
    with node.watch() as watch:
        agent = threading.Thread(target=answer, args=(node, watch, chunks))
        agent.start()
        text = hub.operator.get("/v1/nodes/n1/logs/web?lines=7&follow=1")
        agent.join()
    assert text == b"".join(chunks)
    assert node.asked["app"] == "web" and node.asked["lines"] == 7
    assert node.asked["follow"] is True and node.asked["verb"] == "logs"


def test_logs_that_a_node_refuses(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    with node.watch() as watch:
        agent = threading.Thread(target=answer, args=(
            node, watch, [b"no app web\n"], 404))
        agent.start()
        with pytest.raises(Refused, match="no app web") as refused:
            hub.operator.get("/v1/nodes/%s/logs/web" % node.id)
        agent.join()
    assert refused.value.status == 404


def test_operator_who_goes_ends_the_node_s_stream(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    stop = threading.Event()

    def endless():
        while not stop.is_set():
            yield b"line\n" * 1000

    with node.watch() as watch:
        agent = threading.Thread(target=answer, args=(node, watch, endless()))
        agent.start()
        reply = hub.operator.open("GET", "/v1/nodes/n1/logs/web?follow=1")
        assert reply.read(5) == b"line\n"
        reply.connection.close()
        reply.close()
        agent.join(30)
        stop.set()
        assert not agent.is_alive()
        agent.join()


def test_logs_of_a_node_that_is_away(hub, tmp_path):
    Node(hub, tmp_path, "n1")
    for name, status in (("n1", 503), ("n9", 404)):
        with pytest.raises(Refused) as refused:
            hub.operator.get("/v1/nodes/%s/logs/web" % name)
        assert refused.value.status == status


def test_stream_is_for_the_asked_node_alone(hub, tmp_path):
    node, other = Node(hub, tmp_path, "n1"), Node(hub, tmp_path, "n2")
    with node.watch() as watch:
        reader = threading.Thread(
            target=lambda: hub.operator.get("/v1/nodes/n1/logs/web"))
        reader.start()
        kind, data = watch.frame()
        while kind != ASK:
            kind, data = watch.frame()
        path = "/v1/streams/" + json.loads(data)["stream"]
        for client in (other.client, hub.operator):
            with pytest.raises(Refused) as refused:
                client.ask("POST", path, "forged")
            assert refused.value.status == 404
        node.client.ask("POST", path, "true")
        reader.join()
        with pytest.raises(Refused):
            node.client.ask("POST", path, "twice")


def test_hub_that_ends_says_bye(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    with node.watch() as watch:
        watch.document()
        watch.frame()
        hub.stop()
        assert watch.frame()[0] == BYE
    hub.start()
