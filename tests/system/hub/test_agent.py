"""zagent against a real hub: documents, reports, logs, tokens, and what
breaks them."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import time

import pytest

from agent import ZAGENT, Services, until
from hub import zhub
from relay import Relay
from zooid import BUILD

DIGEST = "sha256:" + "ab" * 32
EKEYREJECTED, ENOSPC = 129, 28
RESUMED = 'handshakes_total{kind="resumed"}'
REPORTS = "store_notes_total"


def listed(hub, name="n1"):
    nodes = hub.operator.get("/v1/nodes")["nodes"]
    return next((n for n in nodes if n["name"] == name), {})


def put(hub, name, nodes, *apps):
    return hub.operator.ask("PUT", "/v1/apps/" + name, {
        "nodes": nodes, "apps": list(apps)})


def web(**changes):
    return {"name": "web", "image": "hub/web:1", "digest": DIGEST, **changes}


def pids(document):
    return document["apps"][0].get("pids", 0) if document["apps"] else 0


def acknowledged(hub, name="n1"):
    return until(lambda: "desired" in listed(hub, name) and listed(
        hub, name).get("acknowledged") == listed(hub, name)["desired"])


def events(hub, app):
    found = hub.operator.get("/v1/events").splitlines()
    return [e["what"] for e in map(json.loads, found) if e.get("app") == app]


def test_enrols_obeys_and_tells(hub, agents):
    agent = agents(hub.token()).start()
    status = agent.wait_state("connected")
    assert status["name"] == "n1" and status["node"].startswith("n-")
    agent.znode.wait(lambda z: z.documents)
    put(hub, "shop", ["n1"], web())
    agent.znode.wait(lambda z: z.documents[-1]["apps"])
    acknowledged(hub)
    agent.znode.row("web", "running", restarts=3, cpu_ms=7)
    until(lambda: hub.operator.get("/v1/ps")["rows"][0]["state"] == "running")
    row, = hub.operator.get("/v1/ps")["rows"]
    assert row["restarts"] == 3 and row["cpu_ms"] == 7
    facts = listed(hub)["facts"]
    assert facts["arch"] in ("amd64", "arm64") and facts["cpus"] > 0
    assert facts["memory_total"] > facts["memory_available"] > 0
    chain = agent.znode.chains[0]
    assert chain.count("BEGIN CERTIFICATE") == 3
    assert chain.endswith(hub.root.read_text())
    agent.stop()


def test_node_without_a_hub_idles(agents):
    agent = agents(None).start()
    assert agent.wait_state("no hub")["reason"] == ""
    assert list(agent.identity.iterdir()) == []
    agent.stop()


def test_restarted_agent_resumes_its_session_and_revision(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    put(hub, "shop", ["n1"], web())
    agent.znode.wait(lambda z: z.documents and z.documents[-1]["apps"])
    offered = agent.znode.offered
    resumed = hub.metric(RESUMED)
    agent.stop()
    agent.start().wait_state("connected")
    acknowledged(hub)
    assert agent.znode.offered == offered, "the document came again"
    assert hub.metric(RESUMED) > resumed
    agent.kill()
    agent.start().wait_state("connected")


def test_hub_killed_while_it_applies(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    for n in range(4):
        put(hub, "shop", ["n1"], web(pids=n + 1))
        hub.kill()
        hub.start()
        began = time.monotonic()
        agent.znode.wait(lambda z: pids(z.documents[-1]) == n + 1)
        assert time.monotonic() - began < 10
    acknowledged(hub)
    numbers = [(d["epoch"], d["revision"]) for d in agent.znode.documents]
    assert numbers == sorted(set(numbers))


def test_hub_ends_in_order_and_comes_back(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    hub.stop()
    agent.wait_said("hub asked to connect anew")
    hub.start()
    began = time.monotonic()
    agent.wait_state("connected")
    assert time.monotonic() - began < 10


def test_hub_restored_from_a_backup(hub, agents, tmp_path):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    put(hub, "shop", ["n1"], web(pids=1))
    agent.znode.wait(lambda z: z.documents and pids(z.documents[-1]) == 1)
    zhub("backup", "--dir", hub.directory, tmp_path / "backup")
    for n in (2, 3):
        put(hub, "shop", ["n1"], web(pids=n))
    agent.znode.wait(lambda z: pids(z.documents[-1]) == 3)
    hub.stop()
    hub.directory.rename(tmp_path / "lost")
    zhub("restore", "--dir", hub.directory, tmp_path / "backup")
    hub.start()
    agent.znode.wait(lambda z: pids(z.documents[-1]) == 1)
    epochs = [d["epoch"] for d in agent.znode.documents]
    assert epochs[-1] > epochs[0]
    acknowledged(hub)


def test_document_that_znode_refuses(hub, agents):
    agent = agents(hub.token()).start()
    agent.znode.wait(lambda z: z.documents)
    taken = acknowledged(hub)
    agent.znode.refuse = (-EKEYREJECTED, "signed by another key")
    put(hub, "shop", ["n1"], web())
    agent.wait_said("document: not taken: signed by another key")
    until(lambda: listed(hub)["facts"].get("document_error") ==
          "signed by another key")
    assert taken and listed(hub)["acknowledged"] != listed(hub)["desired"]
    agent.znode.refuse = None
    put(hub, "shop", ["n1"], web(pids=2))
    agent.znode.wait(lambda z: pids(z.documents[-1]) == 2)
    acknowledged(hub)
    until(lambda: "document_error" not in listed(hub)["facts"])


def test_node_without_room_takes_it_later(hub, agents):
    agent = agents(hub.token()).start()
    agent.znode.wait(lambda z: z.documents)
    agent.znode.refuse = (-ENOSPC, "no space left")
    put(hub, "shop", ["n1"], web())
    agent.wait_said("document: not taken: no space left")
    agent.znode.refuse = None
    agent.znode.wait(lambda z: z.documents[-1]["apps"])
    acknowledged(hub)


def test_znode_comes_late_and_again(hub, agents):
    agent = agents(hub.token(), znode=False).start()
    agent.wait_state("connected")
    put(hub, "shop", ["n1"], web())
    znode = agent.serve_znode()
    znode.wait(lambda z: z.documents and z.documents[-1]["apps"])
    acknowledged(hub)
    znode.stop()
    put(hub, "shop", ["n1"], web(pids=2))
    znode.start()
    znode.wait(lambda z: pids(z.documents[-1]) == 2)
    znode.stop()
    znode.epoch = znode.revision = 0  # as with a new disk
    offered = znode.offered
    znode.start()
    znode.wait(lambda z: z.offered > offered and z.revision)
    acknowledged(hub)


def test_flapping_app_does_not_flood(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.znode.row("web", "starting")
    until(lambda: events(hub, "web"))
    began = time.monotonic()
    n = 0
    while time.monotonic() - began < 20:
        n += 1
        agent.znode.row("web", "running" if n % 2 else "starting",
                        restarts=n)
        agent.znode.wait(lambda z: True)
        until(lambda: time.monotonic() - began > n * 0.05, step_s=0.02)
    told = hub.metric(REPORTS)
    # One a second would be 20.
    assert told <= 14, "reports in 20 s of flapping: %d" % told
    agent.znode.row("web", "failed", reason="exit 1")
    until(lambda: events(hub, "web")[-1] == "failed", 15)


def cpu_told(hub, fresh=0):
    return {r["name"]: r["cpu_ms"] for r in hub.operator.get(
        "/v1/ps?fresh=%d" % fresh)["rows"]}


def test_counters_alone_are_not_told_but_when_asked_for(hub, agents):
    agent = agents(hub.token()).start()
    agent.znode.row("web", "running", cpu_ms=1)
    until(lambda: cpu_told(hub) == {"web": 1})
    told = hub.metric(REPORTS)
    agent.znode.row("web", "running", cpu_ms=2)
    agent.znode.row("web", "running", cpu_ms=3)
    agent.znode.row("other", "running", cpu_ms=4)
    until(lambda: cpu_told(hub) == {"web": 3, "other": 4})
    assert hub.metric(REPORTS) == told + 1
    agent.znode.row("web", "running", cpu_ms=5)
    until(lambda: cpu_told(hub, 1) == {"web": 5, "other": 4})


LINES = """
import sys, time, threading
for n in range(200):
    print("line %d" % n)
print("ready")
n = 0
while True:
    threading.Event().wait(0.1)
    print("more %d" % n)
    n += 1
"""


def test_logs(hub, agents):
    agent = agents(hub.token())
    with contextlib.closing(Services(agent, "web", LINES)):
        agent.start().wait_state("connected")
        text = until(lambda: (lambda t: t if b"more" in t else None)(
            hub.operator.get("/v1/nodes/n1/logs/web?lines=300")))
        assert text.count(b"line ") == 200
        reply = hub.operator.open(
            "GET", "/v1/nodes/n1/logs/web?lines=1&follow=1")
        seen = [reply.readline() for _ in range(20)]
        assert all(b"more" in line for line in seen)
        reply.connection.close()
        reply.close()
        until(lambda: b"line " not in since(hub, "1s"))
        assert b"more" in since(hub, "1m1s")
        assert since(hub, "2001-02-03T04:05:06%2B01:00").count(b"line ") == 200
        for bad in ("noon", "%ff", "%zz", "1s" * 30):
            with pytest.raises(Exception, match="since: want a time"):
                since(hub, bad)
        with pytest.raises(Exception, match="no application.*has a log"):
            hub.operator.get("/v1/nodes/n1/logs/nothing")
        # Readers that do not read hold up neither each other nor the rest.
        idle = [hub.operator.open(
            "GET", "/v1/nodes/n1/logs/web?lines=300&follow=1")
            for _ in range(8)]
        with pytest.raises(Exception, match="as many logs as it can"):
            hub.operator.get("/v1/nodes/n1/logs/web")
        for reply in idle:
            reply.connection.close()
            reply.close()
        until(lambda: "more" in ask_logs(hub))
        agent.stop()


def since(hub, when):
    return hub.operator.get("/v1/nodes/n1/logs/web?lines=1000&since=" + when)


def test_devices(hub, agents):
    """Those that znode tells, whatever this machine has."""
    agents(hub.token()).start().wait_state("connected")
    done = subprocess.run([BUILD / "host/bin/znode", "devices", "-o", "json"],
                          capture_output=True, check=True)
    told = json.loads(hub.operator.get("/v1/nodes/n1/devices"))
    assert told == {"devices": json.loads(done.stdout)}


def ask_logs(hub):
    with contextlib.suppress(Exception):
        return hub.operator.get("/v1/nodes/n1/logs/web?lines=5").decode()
    return ""


def test_logs_without_zlog(hub, agents):
    agents(hub.token()).start().wait_state("connected")
    with pytest.raises(Exception, match="zlog does not run"):
        hub.operator.get("/v1/nodes/n1/logs/web")


def pull_token(agent):
    """(error, text, expires, registry, token, root) of ZAGENT_PULL_TOKEN."""
    reply = struct.Struct("=IIiI200sq264s512s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(20)
        s.connect(str(agent.directory / "run/zagent.sock"))
        s.send(struct.pack("=II", 8, 2))
        data, fds, _, _ = socket.recv_fds(s, 4096, 1)
    root = b""
    for fd in fds:
        with open(fd, "rb") as f:
            f.seek(0)
            root = f.read()
    size, _, error, _, text, expires, registry, token = reply.unpack(
        data[:reply.size])
    assert size == len(data)
    return (error, text.split(b"\0")[0].decode(), expires,
            registry.split(b"\0")[0].decode(), token.split(b"\0")[0].decode(),
            root.decode())


def test_token_for_pulls(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    error, _, expires, registry, token, root = pull_token(agent)
    assert error == 0 and expires > time.time() + 60
    assert registry.endswith(":%d" % hub.port) and root == hub.root.read_text()
    assert hub.anyone().ask("GET", "/v2/", headers={
        "authorization": "Bearer " + token}) is not None
    assert pull_token(agent)[4] == token, "not kept"
    hub.kill()
    agent.wait_state("connecting")
    assert pull_token(agent)[4] == token, "not kept without the hub"
    hub.start()


def test_token_without_a_hub(agents):
    agent = agents(None).start()
    assert pull_token(agent)[:2] == (-107, "node.json names no hub")


def relayed(hub, agents, **environment):
    """An agent whose way to the hub is a relay."""
    agent = agents(hub.token(), **environment).start()
    agent.wait_state("connected")
    agent.stop()
    relay = Relay(("127.0.0.1", hub.port))
    agent.redirect("127.0.0.1:%d" % relay.port)
    agent.start()
    agent.wait_state("connected")
    return agent, relay


def test_link_that_drops_in_silence(hub, agents):
    agent, relay = relayed(hub, agents, ZOOID_HEARTBEAT_S="2")
    with relay:
        relay.forget()
        began = time.monotonic()
        put(hub, "shop", ["n1"], web())
        agent.znode.wait(lambda z: z.documents[-1]["apps"], 20)
        assert time.monotonic() - began < 2 + 10
        acknowledged(hub)


def test_link_that_was_cut(hub, agents):
    agent, relay = relayed(hub, agents, ZOOID_HEARTBEAT_S="2")
    with relay:
        relay.freeze()
        agent.wait_said("silent", 20)
        put(hub, "shop", ["n1"], web())
        relay.thaw()
        began = time.monotonic()
        agent.znode.wait(lambda z: z.documents[-1]["apps"], 20)
        assert time.monotonic() - began < 10
        relay.cut()
        agent.wait_state("connecting")
        put(hub, "shop", ["n1"], web(pids=2))
        relay.mend()
        began = time.monotonic()
        agent.znode.wait(lambda z: pids(z.documents[-1]) == 2, 20)
        assert time.monotonic() - began < 10


def test_usage():
    done = subprocess.run([ZAGENT, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: zagent")
    for arguments in (["nothing"], ["status", "-o", "yaml"], ["status", "x"]):
        done = subprocess.run([ZAGENT, *arguments], capture_output=True,
                              text=True)
        assert done.returncode == 2 and "usage: zagent" in done.stderr
    done = subprocess.run([ZAGENT, "status"], capture_output=True, text=True,
                          env={**os.environ, "ZOOID_RUN": "/nonexistent"})
    assert done.returncode == 1
    assert done.stderr == "zagent: zagent.sock: zagent does not run here\n"
