"""Applications that share namespaces, the process that reaps, and the health
that an image brings, by znode, `zrun serve` and znet on this machine."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import time
import urllib.request

import pytest

from zooid import image, messages
from zooid.app_node import Node
from zooid.host import BIN, free_port
from zooid.znode_host import host_in_directory

UID_ZNET = 103
KINDS = ("net", "pid", "ipc", "uts", "mnt", "cgroup")
GRACE_MS = 200  # of programs that do not heed SIGTERM as first process
HTTPD = "mkdir /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w"


@pytest.fixture(scope="session")
def busybox():
    return image.make("pod", {}, ["--config.cmd", "sh"])


@pytest.fixture
def node(tmp_path, busybox):
    for host in host_in_directory():
        host.more = ["znet kmsg uid=%d mode=0666 needs=zrun : %s" %
                     (UID_ZNET, BIN / "znet")]
        node = Node(host, tmp_path, busybox)
        yield node
        node.ended()


def namespaces(node, name):
    pid = node.host.wait_state("running", name)["pid"]
    return {kind: os.readlink("/proc/%d/ns/%s" % (pid, kind))
            for kind in KINDS}


def shared(node, one, other):
    a, b = namespaces(node, one), namespaces(node, other)
    return {kind for kind in KINDS if a[kind] == b[kind]}


def page(port):
    with contextlib.closing(urllib.request.urlopen(
            "http://127.0.0.1:%d/" % port, timeout=20)) as reply:
        return reply.read().decode()


def member(node, *shares, name="member", on="web", **changes):
    return node.app(name, pod={"app": on, "shares": list(shares)},
                    stop_grace_ms=GRACE_MS, **changes)


def sleeps(node, name="web", **changes):
    return node.app(name, command=["sleep", "100000"],
                    stop_grace_ms=GRACE_MS, **changes)


def test_what_is_shared(node):
    node.apply(sleeps(node), member(node, "network"),
               member(node, "network", "pid", "ipc", name="all"),
               member(node, "ipc", name="memory"), node.app("alone"))
    assert shared(node, "web", "member") == {"net"}
    assert shared(node, "web", "all") == {"net", "pid", "ipc"}
    assert shared(node, "web", "memory") == {"ipc"}
    assert shared(node, "web", "alone") == set()
    # One address, told by both.
    config = {name: json.loads(node.host.znode("inspect", name))["config"]
              for name in ("web", "member")}
    address = config["web"]["annotations"]["org.zooid.address"]
    assert "org.zooid.address" not in config["member"]["annotations"]
    exec_ = node.host.znode("exec", "member", "ip", "address", "show", "lo")
    assert "inet %s/32" % address in exec_
    assert "100000" in node.host.znode("exec", "all", "ps")
    assert "100000" not in node.host.znode("exec", "member", "ps")


def test_ports_lead_to_who_shares_the_network(node):
    port = free_port()
    node.apply(sleeps(node, ports=[{"host": port, "container": 80}]),
               member(node, "network", command=["sh", "-c", HTTPD]))
    node.host.wait_state("running", "member")
    assert page(port) == "member\n"


@pytest.mark.parametrize("shares", [("network",), ("network", "pid", "ipc")])
def test_started_anew_after_whom_it_shares_with(node, shares):
    """However that came to its end; each only then, and in that order."""
    host, port = node.host, free_port()
    ports = [{"host": port, "container": 80}]
    apps = [sleeps(node, ports=ports),
            member(node, *shares, command=["sh", "-c", HTTPD])]
    node.apply(*apps)
    host.wait_state("running", "member")
    first = host.app("member")["container"]
    assert page(port) == "member\n"
    host.kill("znode")
    assert host.app("member")["container"] == first
    node.apply(*apps)
    assert shared(node, "web", "member") >= {"net"}
    for change in (
            lambda: os.kill(host.app()["pid"], 9),
            lambda: host.znode("restart", "web"),
            lambda: node.apply(sleeps(node, ports=ports, labels={"a": "b"}),
                               apps[1])):
        web, before = host.app()["container"], host.app("member")["container"]
        change()
        host.wait(lambda: host.app()["container"] != web and
                  host.app("member")["container"] != before and
                  host.app("member")["state"] == "running")
        host.wait(lambda: shared(node, "web", "member") >= {"net"})
        assert host.app("member")["started_ms"] >= host.app()["started_ms"]
        assert page(port) == "member\n"
    # What is not the other's doing touches it alone.
    web = host.app()["container"]
    os.kill(host.app("member")["pid"], 9)
    host.wait_state("running", "member")
    host.wait(lambda: page(port) == "member\n")
    assert host.app()["container"] == web


def test_several_are_one_name(node):
    httpd = {"command": ["sh", "-c", HTTPD], "service": "web",
             "stop_grace_ms": GRACE_MS}
    node.apply(node.app("web-1", **httpd), node.app("web-2", **httpd),
               node.app("client"))
    for name in ("web-1", "web-2", "client"):
        node.host.wait_state("running", name)

    def asked():
        # busybox asks by itself only here.
        found = re.findall(r"10\.64\.\d+\.\d+", node.host.znode(
            "exec", "client", "sh", "-c", "nslookup web 2>&1 || true"))
        return node.host.znode(
            "exec", "client", "sh", "-c",
            "wget -qO- http://%s/ 2>&1 || true" % found[-1]).strip()
    node.host.wait(lambda: {asked() for _ in range(4)} == {"web-1", "web-2"})


def test_the_two_are_not_replaced_side_by_side(node):
    """Where they would be in each other's way."""
    host, port = node.host, free_port()
    web = sleeps(node, ports=[{"host": port, "container": 80}])
    httpd = {"command": ["sh", "-c", HTTPD + " || exit 3"]}
    node.apply(web, member(node, "network", **httpd))
    host.wait_state("running", "member")
    before = host.app("member")["pid"]
    node.apply(web, member(node, "network", labels={"a": "b"}, **httpd))
    host.wait(lambda: host.app("member")["container"] == "member-2")
    assert not os.path.exists("/proc/%d" % before)
    assert page(port) == "member\n"
    assert host.app("member")["restarts"] == 0
    assert host.app()["container"] == "web-1"


def test_killed_by_the_end_of_its_pid_namespace(node):
    """It is not its own end."""
    host = node.host
    node.apply(sleeps(node), member(node, "pid", restart="no"))
    host.wait_state("running", "member")
    os.kill(host.app()["pid"], 9)
    host.wait(lambda: host.app("member")["container"] == "member-2")
    host.wait_state("running", "member")


def test_waits_for_whom_it_shares_with(node):
    node.apply(node.app(command=["no such program"]),
               member(node, "network"))
    node.host.wait(lambda: "no such program" in node.host.app()["reason"])
    row = node.host.app("member")
    assert (row["state"], row["reason"]) == ("image",
                                             "waits for web to start")


def ask_start(node, name, namespaces, application):
    """(error, text) of zrun serve, asked as a captured znode could."""
    kinds = {"pid": None, "network": None, "ipc": None, "uts": None,
             "mount": None, "cgroup": None, **namespaces}
    config = {
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "process": {"args": ["sleep", "100000"], "cwd": "/", "env": [],
                    "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True},
        "annotations": {"org.zooid.application": application},
        "mounts": [{"destination": "/proc", "type": "proc",
                    "options": ["nosuid", "noexec", "nodev"]}],
        "linux": {"namespaces": [
            {"type": kind, **({"path": path} if path else {})}
            for kind, path in kinds.items()]}}
    fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(fd, "wb", buffering=0) as file, \
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        file.write(json.dumps(config).encode())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
        sock.settimeout(30)
        sock.connect(str(node.host.run / "zrun.sock"))
        socket.send_fds(sock, [messages.ZRUN_REQUEST.pack(
            messages.ZRUN_REQUEST.size, messages.ZRUN_START, 0, 0,
            name.encode(), node.digest.encode(), b"", b"")], [fd])
        reply = messages.ZRUN_REPLY.unpack(
            sock.recv(messages.ZRUN_REPLY.size))
    return -reply[2], reply[5].split(b"\0")[0].decode()


def test_what_a_captured_znode_cannot_join(node):
    node.apply(sleeps(node))
    pid = node.host.wait_state("running")["pid"]
    path, own = "/proc/%d/ns/%%s" % pid, "/proc/%d/ns/%%s" % os.getpid()
    cases = [
        ("network", own % "net", "shop", errno.ESRCH),
        ("pid", own % "pid", "shop", errno.ESRCH),
        ("network", "/proc/self/ns/net", "shop", errno.EPERM),
        ("network", path % "net", "other", errno.EPERM),
        ("network", path % "net", "", errno.EPERM),
        ("mount", path % "mnt", "shop", errno.EPERM),
        ("network", path % "pid", "shop", errno.EPERM)]
    # Also where an earlier zrun serve started it.
    for again in (False, True):
        if again:
            node.host.kill("zrun")
        for kind, what, application, want in cases:
            error, text = ask_start(node, "evil", {kind: what}, application)
            assert error == want, (kind, what, application, text)
            assert "linux.namespaces: " + kind in text
    # That it is taken where nothing is wrong.
    error, text = ask_start(node, "good", {"network": path % "net"}, "shop")
    assert error == 0, text
    good = node.host.app("good")
    assert good is None or good["state"] != "failed"


def zombies(pid):
    """Those whose parent is process pid."""
    found = 0
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(") ")[2].split()[:2]
            found += state == "Z" and int(parent) == pid
    return found


ORPHAN = "(sleep 0.1 & echo $! >/orphan); exec sleep 100000"


def test_init_reaps_and_hands_on_signals(node):
    host = node.host
    script = ["sh", "-c", ORPHAN]
    node.apply(node.app(command=script, init=True),
               node.app("plain", command=script, stop_grace_ms=GRACE_MS))
    with_, without = node.root(), node.root("plain")
    assert (with_.parent / "comm").read_text() == "zreap\n"
    assert (without.parent / "comm").read_text() == "sleep\n"
    plain = host.app("plain")["pid"]
    # It stays, as nobody waits for it: there the test sees one at all.
    host.wait(lambda: zombies(plain) == 1)
    host.wait(lambda: not pathlib.Path(
        "/proc/%d/task/%d/children" % ((host.app()["pid"],) * 2))
        .read_text().split()[1:])
    assert zombies(host.app()["pid"]) == 0
    # The first process of a pid namespace ignores what it does not handle.
    began = time.monotonic()
    host.znode("stop", "web")
    assert time.monotonic() - began < 8
    assert host.app()["reason"] == "exited with 143"


def test_init_ends_as_its_program(node):
    host = node.host
    node.apply(node.app(command=["sh", "-c", "exit 7"], init=True,
                        restart="no", user="1000:1000"))
    host.wait(lambda: host.app()["reason"] == "exited with 7")
    # It is the node's, and nobody's to write.
    node.apply(node.app(init=True))
    assert (node.root().parent / "comm").read_text() == "zreap\n"
    done = host.znode("exec", "web", "sh", "-c",
                      "echo x >/proc/1/exe; echo $?")
    assert "Text file busy" in done or "Read-only file system" in done, done


def health_image(node, layout, check):
    """The same image with a HEALTHCHECK, in the registry; its digest."""
    new = node.host.registry / "new"
    shutil.copytree(layout, new)
    blobs = new / "blobs/sha256"

    def put(document):
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return "sha256:" + digest, len(data)
    manifest = image.manifest(layout)
    config = json.loads(image.blob(layout, "config").read_text())
    config["config"]["Healthcheck"] = check
    digest, size = put(config)
    manifest["config"].update(digest=digest, size=size)
    digest, size = put(manifest)
    index = json.loads((new / "index.json").read_text())
    index["manifests"][0].update(digest=digest, size=size)
    (new / "index.json").write_text(json.dumps(index))
    new.rename(node.host.registry / digest[7:])
    return digest


def test_health_that_the_image_brings(node, busybox):
    host = node.host
    digest = health_image(node, busybox, {
        "Test": ["CMD-SHELL", "test -e /well"], "Interval": 200000000,
        "Retries": 2})
    node.apply(node.app(digest=digest, image="hub/pod"),
               node.app("off", digest=digest, health={"off": True}),
               node.app("own", digest=digest,
                        health={"test": ["true"], "interval_ms": 100}),
               node.app("after", depends_on=[{"app": "web",
                                              "condition": "healthy"}]))
    host.wait(lambda: host.app()["health"] == "unhealthy")
    host.wait(lambda: host.app("own")["health"] == "healthy")
    host.wait_state("running", "off")
    assert host.app("off")["health"] == "none"
    assert host.app("after")["reason"] == "waits for web to be healthy"
    (node.root() / "well").touch()
    host.wait(lambda: host.app()["health"] == "healthy")
    host.wait_state("running", "after")
    # A later znode looks as well.
    host.kill("znode")
    host.wait(lambda: host.app()["health"] == "healthy")
    (node.root() / "well").unlink()
    host.wait(lambda: host.app()["health"] == "unhealthy")
