"""Secrets of a Compose file: from zctl by a hub to a container, with zagent,
znode and `zrun serve`, all real, and where on that way they can be read."""

import base64
import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess

import pytest

from agent import Agent
from hub import Node
from zctl import Zctl
from zooid import image
from zooid.app_node import SERVE, ZRUN
from zooid.znode_host import host_in_directory

SECRET = "s3cret of the test suite\n"
COMPOSE = """\
name: shop
services:
  web:
    image: hub/web:1@%s
    command: [sh, -c, "%s"]
    user: app
    environment: {KEY_FILE: /run/secrets/key}
    secrets:
      - key
      - {source: token, target: /etc/token, uid: "7", gid: "8", mode: 0440}
    restart: always
secrets:
  key: {file: key.txt}
  token: {environment: TOKEN}
"""


@pytest.fixture(scope="session")
def busybox():
    return image.make("secrets", {
        "etc/passwd": (0o644, "root:x:0:0::/root:/bin/sh\n"
                              "app:x:1234:567::/:/bin/sh\n"),
        "etc/group": (0o644, "root:x:0:\napp:x:567:\n"),
    }, ["--config.cmd", "sh"])


@pytest.fixture
def host():
    yield from host_in_directory()


@pytest.fixture
def node(hub, host, busybox):
    """An agent, a znode and a zrun serve that are one node."""
    folder = host.run.parent
    token = hub.token()
    agent = Agent(folder.parent, token, folder=folder.name, znode=False)
    host.zrun = "%s serve" % ZRUN
    index = json.loads((busybox / "index.json").read_text())
    host.digest = index["manifests"][0]["digest"]
    (host.registry / host.digest[7:]).symlink_to(busybox)
    host.start(name="n1", hub={"token": token})
    host.agent = agent.start()
    with contextlib.closing(agent):
        agent.wait_state("connected")
        yield host
        agent.stop()


@pytest.fixture
def zctl(hub, node, tmp_path):
    zctl = Zctl(hub.directory, tmp_path)
    zctl.environment["TOKEN"] = SECRET * 2
    zctl.compose(COMPOSE % (node.digest, SERVE))
    (tmp_path / "key.txt").write_text(SECRET)
    yield zctl
    zctl("rm", "shop")
    node.wait(lambda: not node.rows())


def documents(hub, *nodes):
    """What the hub wants of each, as the node reads it."""
    found = []
    for node in nodes:
        with node.watch(follow=False) as watch:
            found.append(watch.document())
    return found


def contents(document):
    return [m["content"] for a in document["apps"] for m in a["mounts"]]


def holds(path, text):
    """Whether any file beneath path has it, as it is or as base64."""
    wanted = [text.encode(), base64.b64encode(text.encode())[:24]]
    return [str(p) for p in pathlib.Path(path).rglob("*")
            if p.is_file() and any(w in p.read_bytes() for w in wanted)]


def test_from_a_file_to_a_container(hub, node, zctl):
    shown = zctl.run("apply", "--node", "n1", "--dry-run").stdout
    assert "/run/secrets/key" in shown and "s3cret" not in shown
    replied = zctl.run("apply", "--node", "n1", "-o", "json")
    assert "s3cret" not in replied.stdout + replied.stderr
    pid = node.wait_state("running")["pid"]
    root = pathlib.Path("/proc/%d/root" % pid)
    for path, text, owner, mode in [
            ("run/secrets/key", SECRET, (1234, 567), 0o400),
            ("etc/token", SECRET * 2, (7, 8), 0o440)]:
        there = (root / path).stat()
        assert (root / path).read_text() == text
        assert (there.st_uid, there.st_gid) == owner
        assert there.st_mode & 0o7777 == mode
    mounts = (root.parent / "mountinfo").read_text()
    for path in ("/run/secrets/key", "/etc/token"):
        line = next(m for m in mounts.splitlines() if " %s " % path in m)
        assert " ro," in line and " - tmpfs " in line
    # Its user can read it, another one cannot.
    assert node.znode("exec", "web", "cat", "/run/secrets/key") == SECRET
    # Nowhere else: hub, node, and what both tell.
    assert not holds(hub.directory, "s3cret of the")
    for folder in (node.data, node.run, node.boot):
        assert not holds(folder, "s3cret of the")
    for text in (node.znode("inspect", "web"), node.znode("ps", "-o", "json"),
                 zctl.run("apps", "shop").stdout,
                 json.dumps(hub.operator.get("/v1/apps/shop")),
                 zctl.run("events", "--since", "0").stdout,
                 node.said(), node.agent.said(), hub.said()):
        assert "s3cret" not in text, text
    # It needs no hub to start again.
    hub.stop()
    node.kill("znode")
    node.kill("zrun")
    os.kill(pid, 9)
    node.wait(lambda: node.app()["pid"] not in (0, pid))
    pid = node.wait_state("running")["pid"]
    assert pathlib.Path("/proc/%d/root/run/secrets/key" % pid).read_text() \
        == SECRET
    hub.start()
    node.agent.wait_state("connected")


def test_the_same_secret_restarts_nothing(hub, node, zctl, tmp_path):
    zctl("apply", "--node", "n1")
    pid = node.wait_state("running")["pid"]
    zctl("apply", "--node", "n1")
    hub.kill()
    hub.start()
    node.agent.wait_state("connected")
    zctl("apply", "--node", "n1")
    before = node.agent.status()
    assert node.app()["pid"] == pid, before
    (tmp_path / "key.txt").write_text("another")
    zctl("apply", "--node", "n1")
    node.wait(lambda: node.app()["pid"] not in (0, pid))
    pid = node.wait_state("running")["pid"]
    assert pathlib.Path("/proc/%d/root/run/secrets/key" % pid).read_text() \
        == "another"


def test_each_node_gets_a_text_of_its_own(hub, node, zctl, tmp_path):
    others = [Node(hub, tmp_path, name) for name in ("n2", "n3")]
    zctl("apply", "--node", "n1,n2,n3")
    node.wait_state("running")
    second, third = documents(hub, *others)
    texts = contents(second) + contents(third)
    assert len(set(texts)) == 4 and all(len(t) > 100 for t in texts)


def ask_unseal(node, data, uid=None):
    """(error, bytes) of zagent, asked as that user."""
    script = """
import array, os, socket, struct, sys, fcntl
if sys.argv[2] != "-":
    os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
s.connect(sys.argv[1])
fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
os.write(fd, sys.stdin.buffer.read())
fcntl.fcntl(fd, 1033, 15)
s.sendmsg([struct.pack("=II", 8, 3)],
          [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
data, fds, _, _ = socket.recv_fds(s, 4096, 1)
print(-struct.unpack("=IIi", data[:12])[2], flush=True)
if fds:
    sys.stdout.buffer.write(os.pread(fds[0], 1 << 20, 0))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, str(node.run / "zagent.sock"),
         "-" if uid is None else str(uid)], input=data, capture_output=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    error, _, secret = done.stdout.partition(b"\n")
    return int(error), secret


def test_who_may_have_one_unsealed(hub, node, zctl, tmp_path):
    other = Node(hub, tmp_path, "n2")
    zctl("apply", "--node", "n1,n2")
    node.wait_state("running")
    stored = json.loads((node.data / "desired/document").read_bytes()
                        .partition(b"-----END CERTIFICATE-----\n")[2])
    ours = contents(json.loads(base64.b64decode(stored["payload"])))[0]
    theirs = contents(documents(hub, other)[0])[0]
    assert ask_unseal(node, ours.encode()) == (0, SECRET.encode())
    for data, uid, error in [
            (theirs, None, 129),  # EKEYREJECTED
            (ours[:-8] + "AAAAAA==", None, 129), (ours[:40], None, 22),
            ("", None, 22), (ours, 103, 1), (ours, 12345, 1)]:
        found, secret = ask_unseal(node, data.encode(), uid)
        assert (found, secret) == (error, b""), (data[:20], uid)


def test_waits_for_who_unseals(hub, node, zctl):
    """It is never started without, and neighbours are."""
    zctl("apply", "--node", "n1")
    pid = node.wait_state("running")["pid"]
    node.agent.kill()
    assert node.app()["pid"] == pid
    os.kill(pid, 9)
    node.wait(lambda: node.app()["reason"].startswith(
        "secret /run/secrets/key: "))
    assert not node.app()["pid"]
    node.agent.start()
    row = node.wait_state("running")
    key = pathlib.Path("/proc/%d/root/run/secrets/key" % row["pid"])
    assert key.read_text() == SECRET and row["reason"] == ""


def test_a_node_whose_key_the_hub_does_not_know(hub, node, zctl):
    """As of one that enrolled at an earlier version."""
    with contextlib.closing(sqlite3.connect(
            hub.directory / "store.db", 30)) as db, db:
        db.execute("DELETE FROM entry WHERE key LIKE 'public/%'")
    hub.kill()
    hub.start()
    node.agent.wait_state("connected")
    zctl("apply", "--node", "n1")
    row = node.wait_state("failed")
    assert row["reason"].startswith(
        "secret /run/secrets/key: the hub does not know this node's key")
