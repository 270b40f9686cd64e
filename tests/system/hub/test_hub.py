"""The hub as a whole: backup, full disk, schema of nothing lost, hostile
clients, memory, metrics."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import time

import pytest

from hub import (BUILD, ENVIRONMENT, SYNCED, ZHUB, Client, Hub, Node, Refused,
                 zhub)
from registry import digest, push, push_blob
from test_apply import put, web


def test_restored_hub_raises_the_epoch(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    image = push(hub, "web", "1", b"layer")
    put(hub, "shop", ["n1"], {"name": "web", "image": "hub/web:1"})
    with node.watch(follow=False) as watch:
        first = watch.document()
    backup = tmp_path / "backup"
    zhub("backup", "--dir", hub.directory, backup)  # while it serves
    assert backup.stat().st_mode & 0o077 == 0
    put(hub, "more", ["n1"], web("other"))
    late = Node(hub, tmp_path, "n2")
    with node.watch(follow=False) as watch:
        newest = watch.document()
    assert zhub("restore", "--dir", hub.directory, backup,
                check=False).returncode == 111
    hub.stop()
    (hub.directory / "store.db").unlink()
    epochs = []
    for _ in range(2):
        zhub("restore", "--dir", hub.directory, backup)
        hub.start()
        with node.watch(newest["epoch"], newest["revision"],
                        follow=False) as watch:
            restored = watch.document()
        assert restored["epoch"] > newest["epoch"]
        assert [a["name"] for a in restored["apps"]] == ["web"]
        assert restored["apps"] == first["apps"], "nothing restarts"
        epochs.append(restored["epoch"])
        newest = restored
        with late.watch() as watch:  # enrolled after the backup
            assert watch.document()["name"] == "n2"
        assert json.loads(hub.operator.get("/v2/web/manifests/" + image))
        hub.stop()
    assert epochs[1] > epochs[0]


def test_damaged_backup_changes_nothing(hub, tmp_path):
    push(hub, "web", "1", os.urandom(200000))
    backup = tmp_path / "backup"
    hub.stop()
    zhub("backup", "--dir", hub.directory, backup)
    good = backup.read_bytes()
    config = hub.directory / "hub.json"
    changed = config.read_text().replace("{", "{ ", 1)
    config.write_text(changed)
    blob = max((b.read_bytes() for b in
                (hub.directory / "blobs/sha256").glob("*/*")), key=len)
    for part in (blob[:40], b"SQLite format 3\0"):  # the store's, within
        bad = part[:-1] + bytes([part[-1] ^ 1])
        backup.write_bytes(good[:1] + good[1:].replace(part, bad))
        done = zhub("restore", "--dir", hub.directory, backup, check=False)
        assert done.returncode == 1 and "damaged" in done.stderr
        assert config.read_text() == changed
    hub.start()
    assert hub.operator.get("/v2/web/tags/list")["tags"] == ["1"]


def test_second_hub_in_the_folder_is_refused(hub):
    done = zhub("serve", "--dir", hub.directory, check=False)
    assert done.returncode == 111 and "another zhub" in done.stderr
    done = zhub("init", "--dir", hub.directory, "--address", "x", check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("arguments", [
    [], ["frobnicate"], ["init"], ["init", "--address", "a b"],
    ["init", "--name", "A", "--address", "x"], ["token", "--uses", "0"],
    ["token", "--expires", "2y"], ["token", "--place", "A b"],
    ["token", "--place", "operator/x"], ["token", "--label", "x"],
    ["backup"], ["operator", "A/b"], ["operator"], ["serve", "x"],
    ["status", "-o", "xml"], ["operator", "hub"],
    ["operator", "--revoke", "hub"],
    *(["init", "--address", address] for address in (
        "-1", "a.-b", "a..b", "1.2.3", "300.1.1.1", "a:0", "a:70000",
        "[1::2::3]:1", "1::2::3", "x" * 64)),
    *(["init", "--address", "x", "--listen", listen] for listen in (
        "127.0.0.1:0", ":70000", "localhost:443", ":", "x" * 300)),
    *(["init", "--address", "x", "--upstream", upstream] for upstream in (
        "", "a b", "x,defaults", "x,default,default", "*,default"))])
def test_usage(tmp_path, arguments):
    if arguments:
        arguments = [arguments[0], "--dir", tmp_path / "x", *arguments[1:]]
    done = zhub(*arguments, check=False)
    assert done.returncode == 2 and done.stderr and not done.stdout
    assert not (tmp_path / "x").exists()


def test_help_of_every_command():
    names = [line.split()[0] for line in zhub("--help").stdout.splitlines()
             if line.startswith("  ")]
    assert len(names) == 7
    for name in names:
        done = zhub(name, "--help")
        assert done.stdout.startswith("usage: zhub %s [--dir" % name)


@pytest.mark.parametrize("words", [["--version"], ["--help"],
                                   ["token", "--help"]])
def test_output_that_cannot_be_written(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([ZHUB, *words], env=ENVIRONMENT, stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1, "zhub: standard output: No space left on device\n")


def test_version():
    said = zhub("--version").stdout
    assert said == zhub("version").stdout and said.startswith("zhub ")


def test_status(hub, tmp_path):
    Node(hub, tmp_path, "n1")
    text = zhub("status", "--dir", hub.directory).stdout
    assert "1 offline" in text and "epoch 1" in text
    said = json.loads(zhub("status", "--dir", hub.directory, "-o",
                           "json").stdout)
    assert said["nodes"]["offline"] == 1 and said["disk_free_bytes"] > 0
    hub.stop()
    done = zhub("status", "--dir", hub.directory, check=False)
    assert done.returncode == 1 and "no hub serves" in done.stderr
    hub.start()


def test_metrics_are_in_prometheus_format(hub, tmp_path):
    for name, wakes in (("n1", 3), ("n2", 4)):
        Node(hub, tmp_path, name).observe(
            {"name": "web", "state": "running", "extras": 2},
            {"name": "db", "state": "frozen", "wakes": wakes,
             "wake_p50_us": 1, "wake_p99_us": 100 * wakes})
    text = hub.operator.get("/metrics").decode()
    for line in ('zooid_hub_nodes{state="offline"} 2',
                 'zooid_apps{state="running"} 2',
                 'zooid_apps{state="frozen"} 2',
                 'zooid_apps{state="asleep"} 0',
                 "zooid_hub_apps_extra_instances 4", "zooid_hub_apps_wakes 7",
                 "zooid_hub_apps_slowest_wake_p99_seconds 0.000400"):
        assert line + "\n" in text, line
    seen = set()
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, _ = line.split(" ", 3)
            assert (word, name) not in seen
            seen.add((word, name))
        else:
            name, value = line.rsplit(" ", 1)
            float(value)
            assert ("TYPE", name.split("{")[0]) in seen
    judged = subprocess.run(["promtool", "check", "metrics"], input=text,
                            text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    assert (judged.returncode, judged.stdout) == (0, "")


def counters(hub):
    return {name: int(value) for name, value in (
        line.rsplit(" ", 1) for line in
        hub.operator.get("/metrics").decode().splitlines()
        if line.startswith("zooid_hub_store_"))}


def writers(clients, n, method, path, body):
    """n requests of each client, all clients at the same time; the worst
    status."""
    worst = []

    def one(client, path):
        with contextlib.closing(client.connect()) as connection:
            for i in range(n):
                connection.request(method, path, json.dumps(body(i)))
                reply = connection.getresponse()
                reply.read()
                worst.append(reply.status)
    threads = [threading.Thread(target=one, args=(client, path(client)))
               for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == n * len(clients)
    return max(worst)


def test_writers_share_commits(hub, tmp_path):
    """What comes at the same time is one fdatasync; what nodes observe costs
    none of its own."""
    token = hub.token("--uses", "16")
    nodes = {}
    for n in range(16):
        node = Node(hub, tmp_path, "n%d" % n, token)
        nodes[node.client] = node
    before = counters(hub)
    assert writers(nodes, 25, "PUT", lambda client:
                   "/v1/nodes/%s/observed" % nodes[client].id,
                   lambda i: {"node": {"i": i}, "apps": []}) == 200
    observed = counters(hub)
    notes, commits = (observed[name] - before[name] for name in (
        "zooid_hub_store_notes_total", "zooid_hub_store_commits_total"))
    print("%d notes in %d commits" % (notes, commits))
    assert notes == 400 and commits <= 20
    assert writers(nodes, 25, "POST", lambda client:
                   "/v1/nodes/%s/acknowledged" % nodes[client].id,
                   lambda i: {"epoch": 1, "revision": i}) == 200
    assert counters(hub)["zooid_hub_store_commits_total"] - observed[
        "zooid_hub_store_commits_total"] <= 20
    before = counters(hub)
    assert writers([hub.operator] * 16, 10, "POST", lambda _: "/v1/tokens",
                   lambda _: {}) == 201
    changed = counters(hub)
    changes, commits = (changed[name] - before[name] for name in (
        "zooid_hub_store_changes_total", "zooid_hub_store_commits_total"))
    print("%d changes in %d commits" % (changes, commits))
    assert changes == 2 * 160, "the token and its event"
    assert commits <= 160


# ---- a full disk ----

@pytest.fixture
def small_hub(tmp_path):
    """A hub on a disk of 6 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", disk],
                   check=True)
    try:
        with contextlib.closing(Hub(disk / "hub")) as made:
            made.log = tmp_path / "hub.log"
            made.start()
            yield made
            made.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_full_disk(small_hub, tmp_path):
    hub = small_hub
    node = Node(hub, tmp_path, "n1")
    put(hub, "shop", ["n1"], web())
    watch = node.watch()
    while len(watch.document()["apps"]) != 1:
        pass
    assert watch.frame()[0] == SYNCED
    # The hub ends the connection before all was sent, so the client may not
    # come to read the reply.
    with pytest.raises((Refused, OSError)) as refused:
        push_blob(hub.operator, "web", os.urandom(8 << 20))
    assert refused.type is not Refused or refused.value.status == 507
    assert not list((hub.directory / "uploads").iterdir())
    filler = hub.directory.parent / "filler"
    with contextlib.suppress(OSError):
        with open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    source = "x" * 300000  # more than the log's spare room
    with pytest.raises(Refused) as refused:
        for _ in range(10):
            put(hub, "large", ["n1"], web("b", ports=[]), source=source)
    assert refused.value.status == 507
    with pytest.raises(Refused) as refused:
        Node(hub, tmp_path, "n2", hub.operator.ask(
            "POST", "/v1/tokens", {})["token"])
    assert refused.value.status == 507
    for path, event in (("/v1/tokens", "token made"), (
            "/v1/operators/bob/revoke", "operator revoked")):
        told = hub.said().count(event)
        with pytest.raises(Refused):
            while True:  # the log's spare room is used up
                hub.operator.ask("POST", path, {})
                told += 1
        assert hub.said().count(event) == told, "what did not happen"
    for state in ("failed", "running"):  # an event each
        with contextlib.suppress(Refused):
            node.observe({"name": "web", "state": state})
    assert hub.operator.get("/v1/ps")["rows"], "it serves"
    assert hub.operator.get("/v1/nodes")["nodes"][0]["state"] == "ready"
    filler.unlink()
    put(hub, "large", ["n1"], web("b", ports=[]), source=source)
    with watch:  # the node was connected all the time
        while len(watch.document()["apps"]) != 2:
            pass
    second = Node(hub, tmp_path, "n2x")
    assert second.id in [n["id"] for n in hub.operator.get("/v1/nodes")["nodes"]]
    lines = [line for line in hub.said().splitlines() if "store.db" in line]
    assert [line.split("store.db: ")[1] for line in lines] == [
        "disk full: free some space", "there is room again"] * (
            len(lines) // 2), "one line when it is full, one when it is not"
    assert len(lines) <= 6


# ---- hostile clients ----

def raw(hub, data, tls=True, alpn=("http/1.1",)):
    """Sends bytes and gives all that comes back until the end."""
    context = hub.anyone().context
    context.set_alpn_protocols(list(alpn))
    with socket.create_connection(("127.0.0.1", hub.port), 30) as s:
        if tls:
            s = context.wrap_socket(s, server_hostname="localhost")
        reply = b""
        with contextlib.suppress(OSError):
            s.sendall(data)
            while True:
                got = s.recv(65536)
                if not got:
                    break
                reply += got
        s.close()
        return reply


def serves(hub):
    assert hub.operator.get("/v1/nodes")["nodes"] is not None


HOSTILE = {
    "garbage instead of TLS": (os.urandom(4096), False, ()),
    "plain HTTP": (b"GET / HTTP/1.0\r\n\r\n", False, ()),
    "garbage in TLS": (os.urandom(4096), True, ("http/1.1",)),
    "garbage after h2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
                         os.urandom(4096), True, ("h2",)),
    "no preface": (os.urandom(4096), True, ("h2",)),
    "large headers": (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (1 << 20) +
                      b"\r\n\r\n", True, ("http/1.1",)),
    "a body without end": (
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked"
        b"\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n10000\r\n" +
        b"x" * 65536, True, ("http/1.1",)),
    "length and chunks": (
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET", True,
        ("http/1.1",)),
    "deep JSON": (
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-length: 16000\r\n\r\n" + b"[" * 16000, True,
        ("http/1.1",)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes(hub, name):
    data, tls, alpn = HOSTILE[name]
    raw(hub, data, tls, alpn)
    serves(hub)


def test_others_are_served_while_many_dawdle(hub):
    held = []
    for _ in range(300):
        s = socket.create_connection(("127.0.0.1", hub.port), 30)
        s.sendall(b"\x16\x03\x01")  # the start of a handshake
        held.append(s)
    for _ in range(5):
        serves(hub)
    for s in held:
        s.close()


def test_large_bodies_are_refused(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    for client, method, path in (
            (hub.anyone(), "POST", "/v1/enrol"),
            (node.client, "PUT", "/v1/nodes/%s/observed" % node.id),
            (hub.operator, "PUT", "/v1/apps/x"),
            (hub.operator, "PUT", "/v2/web/manifests/1")):
        with pytest.raises((Refused, OSError)) as refused:
            client.ask(method, path, b"x" * (5 << 20))
        if refused.type is Refused:
            assert refused.value.status == 413
    serves(hub)


# ---- memory ----

def test_idle_hub_is_small(tmp_path):
    program = BUILD / "x86_64/bin/zhub"
    with contextlib.closing(Hub(tmp_path / "hub", program)) as hub:
        hub.start()
        assert hub.rss_kb() <= 12 << 10
        token = hub.token("--uses", "10")
        watches = [Node(hub, tmp_path, "n%d" % n, token).watch()
                   for n in range(10)]
        for watch in watches:
            watch.document()
        push(hub, "web", "1", os.urandom(20 << 20))
        put(hub, "shop", ["*"], {"name": "web", "image": "hub/web:1"})
        for watch in watches:
            watch.document()
            watch.close()
        assert hub.rss_kb() <= 12 << 10
        hub.stop()


def test_slow_reader_costs_little(tmp_path):
    """Clients that ask for a large blob and take nothing."""
    program = BUILD / "x86_64/bin/zhub"
    with contextlib.closing(Hub(tmp_path / "hub", program)) as hub:
        hub.start()
        data = os.urandom(8 << 20)
        push_blob(hub.operator, "web", data)
        before = hub.rss_kb()
        replies = [hub.operator.open("GET", "/v2/web/blobs/" + digest(data))
                   for _ in range(50)]
        serves(hub)
        assert hub.rss_kb() - before < 50 * 128
        for reply in replies:
            reply.connection.close()
            reply.close()
        hub.stop()
