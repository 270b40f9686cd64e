"""znode obeys the hub's desired document: which it believes, how it goes from
one to the next, and that it needs nobody for the one it has."""

import contextlib
import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time

import pytest

from zooid.host import free_port
from zooid.messages import (ZNODE_DESIRED, ZNODE_REQUEST, ZNODE_REVISION,
                            ZNODE_WATCH)
from zooid.organism import Organism
from zooid.znode_colony import NODE, Colony
from zooid.znode_host import (UID_ZNODE, answer, app, connects,
                              host_in_directory, sealed)


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


def test_what_is_refused(colony, host, tmp_path):
    """Each with its error, and without any trace."""
    host.start()
    colony.apply(colony.app())
    first = colony.apply(colony.app())
    row = host.wait_state("running")
    stored = (host.data / "desired/document").read_bytes()
    other = Organism(tmp_path / "other")
    web = colony.app()
    good = colony.organism.envelope(colony.document(web))
    for name, wants, text, envelope, chain in [
        ("replayed", errno.ESTALE, "not newer than 1.2",
         colony.organism.envelope(first), colony.chain),
        ("older", errno.ESTALE, "document 1.1 is not newer",
         colony.organism.envelope({**first, "revision": 1}), colony.chain),
        ("older epoch", errno.ESTALE, "document 0.99 is not newer",
         colony.organism.envelope({**first, "epoch": 0, "revision": 99}),
         colony.chain),
        ("other organism", errno.EKEYREJECTED, "another root",
         other.envelope(colony.document(web)), other.chain(NODE).encode()),
        ("signed by another", errno.EKEYREJECTED, "pinned root",
         other.envelope(colony.document(web)), colony.chain),
        ("signed by a node", errno.EKEYREJECTED, "not for this use",
         colony.organism.envelope(colony.document(web), "node"),
         colony.chain),
        ("for another node", errno.EKEYREJECTED, "is for node n-other",
         colony.organism.envelope(colony.document(web, node="n-other")),
         colony.chain),
        ("a chain of the hub", errno.EKEYREJECTED, "not for this use", good,
         (colony.organism.ca + colony.organism.root).encode()),
        ("flipped bit", errno.EKEYREJECTED, "does not fit its bytes",
         flipped_payload(good), colony.chain),
        ("no envelope", errno.EBADMSG, "not JSON", b"{", colony.chain),
        ("no chain", errno.EBADMSG, "no certificate", good, b"-----"),
        ("what it does not know", errno.EBADMSG, "gpu",
         colony.organism.envelope(colony.document({**web, "gpu": 1})),
         colony.chain),
        ("too large", errno.EBADMSG, "File too large", b" " * (1 << 20) + b" ",
         colony.chain),
    ]:
        error, revision, why = host.ask(ZNODE_DESIRED, envelope, chain)
        assert error == wants and text in why, (name, error, why)
        assert revision == (1, 2), name
    assert host.ask(ZNODE_DESIRED, good)[0] == errno.EBADMSG
    assert (host.data / "desired/document").read_bytes() == stored
    assert sorted(os.listdir(host.data / "desired")) == ["document", "pin"]
    assert host.app()["pid"] == row["pid"]
    assert host.said().count("document: refused: ") == 14


def flipped_payload(envelope):
    envelope = json.loads(envelope)
    payload = envelope["payload"]
    envelope["payload"] = payload[:40] + \
        ("B" if payload[40] == "A" else "A") + payload[41:]
    return json.dumps(envelope).encode()


def test_unsealed(colony, host):
    """Whoever could still change the bytes is not listened to."""
    host.start()
    with host.connect() as sock:
        fds = [os.memfd_create("open") for _ in range(2)]
        socket.send_fds(sock, [ZNODE_REQUEST.pack(
            ZNODE_REQUEST.size, ZNODE_DESIRED, 0, 0, b"")], fds)
        error, _, text = answer(sock)
        for fd in fds:
            os.close(fd)
    assert error == errno.EBADMSG and "sealed" in text


def test_pin_of_the_token(colony, host, tmp_path):
    """node.json's goes before the one of the first document."""
    other = Organism(tmp_path / "other")
    host.start(hub={"token": other.token()})
    error, _, text = colony.offer(colony.document(colony.app()))
    assert error == errno.EKEYREJECTED and "another root" in text
    host.write(hub={"token": colony.organism.token()})
    host.kill("znode")
    colony.apply(colony.app())
    pid = host.wait_state("running")["pid"]
    # To another organism: its numbers begin anew, the workload is its.
    host.write(hub={"token": other.token()})
    host.kill("znode")
    assert host.ask(ZNODE_REVISION) == (0, (1, colony.revision), "")
    document = colony.document(colony.app(), revision=1)
    assert host.ask(ZNODE_DESIRED, other.envelope(document),
                    other.chain(NODE).encode()) == (0, (1, 1), "")
    assert host.app()["pid"] == pid


def test_killed_while_it_stores(colony, host, rng):
    host.start()
    colony.apply(colony.app())
    pid = host.wait_state("running")["pid"]
    folder = host.data / "desired"
    for _ in range(4):
        before = colony.revision
        envelope = colony.organism.envelope(colony.document(colony.app()))
        with host.connect() as sock:
            fds = [sealed(envelope), sealed(colony.chain)]
            socket.send_fds(sock, [ZNODE_REQUEST.pack(
                ZNODE_REQUEST.size, ZNODE_DESIRED, 0, 0, b"")], fds)
            for fd in fds:
                os.close(fd)
            end = time.monotonic() + rng.random() / 50
            while time.monotonic() < end and not any(
                    name.startswith(".") for name in os.listdir(folder)):
                pass
            host.kill("znode")
            try:
                replied = answer(sock)[0] == 0
            except (ConnectionResetError, struct.error):
                replied = False
        error, (_, revision), _ = host.ask(ZNODE_REVISION)
        assert error == 0 and revision in (before, before + 1)
        assert not replied or revision == before + 1
        assert sorted(os.listdir(folder)) == ["document", "pin"]
        colony.revision = revision
        assert host.app()["pid"] == pid, host.said()
    assert host.requests("start") == ["web-1"]


def test_full_disk(colony, host):
    folder = host.data / "desired"
    subprocess.run(["mount", "-t", "tmpfs", "-o",
                    "size=64k,mode=0700,uid=%d" % UID_ZNODE, "tmpfs", folder],
                   check=True)
    try:
        host.start()
        colony.apply(colony.app())
        pid = host.wait_state("running")["pid"]
        with pytest.raises(OSError):
            with open(folder / "filler", "wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
        error, revision, text = colony.offer(colony.document(
            colony.app(command=["other"])))
        assert error == errno.ENOSPC and revision == (1, 1)
        assert "No space left" in text
        host.kill("znode")
        assert host.ask(ZNODE_REVISION) == (0, (1, 1), "")
        assert host.app()["pid"] == pid
        os.unlink(folder / "filler")
        colony.apply(colony.app())
        assert sorted(os.listdir(folder)) == ["document", "pin"]
        assert host.app()["pid"] == pid
    finally:
        host.stop()
        subprocess.run(["umount", folder], check=True)


def test_damaged_document_stops_nothing(colony, host, rng):
    port = free_port()
    host.start()
    web = colony.app(ports=[{"host": port, "container": 80}])
    colony.apply(web, colony.app("other"))
    host.wait_state("running", "other")
    before = host.wait_state("running")
    path = host.data / "desired/document"
    data = bytearray(path.read_bytes())
    at = data.index(b'"payload": "') + 20 + rng.randrange(40)
    data[at] ^= 3
    path.write_bytes(data)
    host.kill("znode")
    assert host.said().count("document: cannot be read") == 1
    assert host.ask(ZNODE_REVISION) == (0, (0, 0), "")
    row = host.app()
    assert row["state"] == "running" and row["pid"] == before["pid"]
    assert row["source"] == "hub" and connects(port)
    # Still only the same organism may say what comes next.
    colony.apply(web)
    row = host.app()
    assert row["pid"] == before["pid"] and connects(port)
    host.wait(lambda: host.app("other") is None)
    assert sorted(host.requests("start")) == ["other-1", "web-1"]


def test_same_content_is_not_touched(colony, host):
    port = free_port()
    host.start()
    web = colony.app(ports=[{"host": port, "container": 80}])
    colony.apply(web)
    before = host.wait_state("running")
    colony.apply({**web, "origin": {"application": "shop", "by": "alice"}})
    colony.apply(web, colony.app("other"), epoch=2)
    host.wait_state("running", "other")
    after = host.app()
    assert after["started_ms"] == before["started_ms"]
    assert after["container"] == "web-1"
    colony.apply({**web, "environment": {"A": "1"}}, epoch=2)
    while host.app()["container"] != "web-2":
        assert connects(port)  # waits in the queue, never refused
    assert host.wait_state("running")["restarts"] == 0
    assert host.requests("delete").count("web-1") == 1
    host.wait(lambda: host.app("other") is None)


def test_removed(colony, host):
    port = free_port()
    host.start()
    colony.apply(colony.app(ports=[{"host": port, "container": 80}]))
    pid = host.wait_state("running")["pid"]
    colony.apply()
    host.wait(lambda: host.app() is None)
    assert not connects(port)
    assert not os.path.exists("/proc/%d" % pid)
    assert host.requests("delete") == ["web-1"]
    host.wait(lambda: host.requests("forget") == [colony.digest])


def test_taken_out_and_put_in_again(colony, host):
    host.start()
    colony.apply(colony.app())
    host.wait_state("running")
    colony.apply()
    colony.apply(colony.app())
    row = host.wait_state("running")
    assert row["container"] in ("web-1", "web-2")
    host.wait(lambda: host.app()["state"] == "running")


def test_port_goes_from_one_to_another(colony, host):
    ports = [{"host": free_port(), "container": 80}]
    host.start()
    colony.apply(colony.app(ports=ports))
    host.wait_state("running")
    colony.apply(colony.app("other", ports=ports))
    host.wait(lambda: host.app("other") is not None)
    host.wait_state("running", "other")
    host.wait(lambda: host.app("other")["ports"][0]["bound"])
    assert host.said().count("port %d" % ports[0]["host"]) == 0


def test_listens_where_it_is_told(colony, host):
    port = free_port()

    def web(address):
        return colony.app(ports=[{"host": port, "container": 80,
                                  **({"address": address} if address
                                     else {})}])

    def where():
        return [a for a in ("127.0.0.1", "127.0.0.2", "127.0.0.3")
                if connects(port, a)]
    host.start()
    colony.apply(web("127.0.0.2"))
    host.wait_state("running")
    assert where() == ["127.0.0.2"]
    host.kill("znode")
    host.wait_state("running")
    assert where() == ["127.0.0.2"]
    colony.apply(web("127.0.0.3"))
    host.wait(lambda: host.app()["container"] == "web-2")
    host.wait_state("running")
    assert where() == ["127.0.0.3"]
    # What an earlier znode bound for another content is not believed.
    digest, _ = colony.image(b"another layer")
    (host.peer / "next-pull").write_text("half")
    colony.apply({**web(None), "digest": digest})
    host.wait(lambda: host.app()["reason"] == "pulling: 12 of 40 MB")
    host.kill("znode")
    host.wait(lambda: host.app()["container"] == "web-3")
    host.wait_state("running")
    assert where() == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def test_udp_and_tcp_of_one_number(colony, host):
    """They are two ports; neither is bound anew by another znode."""
    port = free_port()
    ports = [{"host": port, "container": 80},
             {"host": port, "container": 53, "protocol": "udp"}]

    def udp_is_ours():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                return False
        return True
    host.start()
    assert not udp_is_ours()
    colony.apply(colony.app(ports=ports))
    host.wait_state("running")
    host.wait(lambda: connects(port) and udp_is_ours())
    before = host.app()["ports"]
    assert before == [{**p, "bound": True} for p in ports]
    assert "%d:80,%d:53/udp" % (port, port) in host.znode("ps")
    host.kill("znode")
    host.wait_state("running")
    assert host.app()["ports"] == before
    colony.apply(colony.app(ports=ports[:1]))
    host.wait(lambda: not udp_is_ours())
    assert connects(port)


def test_name_that_node_json_has(colony, host):
    host.start(app())
    pid = host.wait_state("running")["pid"]
    colony.apply(colony.app(), colony.app("n" * 53))
    rows = json.loads(host.znode("ps", "-o", "json"))
    local, hub, long_ = rows
    assert local["source"] == "local" and local["pid"] == pid
    assert hub["source"] == "hub" and hub["state"] == "failed"
    assert "node.json has an application of that name" in hub["reason"]
    assert long_["state"] == "failed" and "52 letters" in long_["reason"]
    host.kill("znode")
    assert len(json.loads(host.znode("ps", "-o", "json"))) == 3
    assert host.app()["pid"] == pid
    colony.apply()
    assert len(json.loads(host.znode("ps", "-o", "json"))) == 1
    assert host.requests("start") == ["web-1"]


def test_image_that_is_not_there_yet(colony, host):
    host.start()
    digest, _ = colony.image(b"not pushed")
    where = host.registry / digest[7:]
    where.rename(host.registry / "hidden")
    colony.apply(colony.app(digest=digest))
    row = host.wait_state("failed")
    assert row["reason"] == "told to fail" and row["retry_ms"] > 30000
    (host.registry / "hidden").rename(where)
    colony.apply(colony.app(digest=digest))
    assert host.wait_state("running")["digest"] == digest


def test_pull_that_fails_for_now(colony, host):
    (host.peer / "next-pull").write_text("error %d" % errno.ENOTCONN)
    host.start()
    colony.apply(colony.app())
    assert host.wait_state("running")["restarts"] == 0
    assert host.requests("pull-hub") == ["one:latest"] * 2


def test_progress_and_death_of_zpull(colony, host):
    (host.peer / "next-pull").write_text("half")
    host.start()
    colony.apply(colony.app())
    host.wait(lambda: host.app()["reason"] == "pulling: 12 of 40 MB")
    assert host.app()["state"] == "pulling"
    host.kill("zpull")
    assert host.wait_state("running")["reason"] == ""


def test_old_instance_runs_until_the_image_is_here(colony, host):
    host.start()
    colony.apply(colony.app())
    before = host.wait_state("running")
    digest, _ = colony.image(b"another layer")
    (host.peer / "next-pull").write_text("half")
    colony.apply(colony.app(digest=digest))
    host.wait(lambda: host.app()["reason"] == "pulling: 12 of 40 MB")
    row = host.app()
    assert row["state"] == "running" and row["pid"] == before["pid"]
    assert row["digest"] == colony.digest
    host.kill("zpull")
    host.wait(lambda: host.app()["container"] == "web-2")
    assert host.wait_state("running")["digest"] == digest
    # Not before: the next one might not have come.
    host.wait(lambda: host.requests("forget") == [colony.digest])


def test_index_is_believed_only_itself(colony, host):
    host.start()
    other, _ = colony.image(b"evil")
    (host.peer / "next-pull").write_text("lie " + other[7:])
    colony.apply(colony.app(digest=colony.index))
    assert "index" in host.wait_state("failed")["reason"]
    assert host.requests("start") == []
    colony.apply(colony.app(digest=colony.index))
    assert host.wait_state("running")["digest"] == colony.digest


@pytest.mark.parametrize("by", ["manifest", "index"])
def test_after_a_boot_without_network(colony, host, by):
    host.start()
    colony.apply(colony.app(digest=colony.digest if by == "manifest"
                            else colony.index))
    host.wait_state("running")
    pulls = len(host.requests("pull-hub"))
    host.stop()
    (host.peer / "registry").rename(host.peer / "gone")
    host.start()
    row = host.wait_state("running")
    assert row["digest"] == colony.digest
    assert len(host.requests("pull-hub")) == pulls
    assert host.ask(ZNODE_REVISION) == (0, (1, 1), "")


def test_stop_of_unless_stopped_outlives_a_boot(colony, host):
    host.start()
    colony.apply(colony.app(restart="unless-stopped"), colony.app("other"))
    host.wait_state("running")
    host.wait_state("running", "other")
    host.znode("stop", "web")
    host.znode("stop", "other")
    host.stop()
    host.start()
    host.wait_state("running", "other")
    assert host.app()["stopped"] and not host.app()["pid"]
    colony.apply(colony.app(restart="unless-stopped"), colony.app("other"))
    assert host.app()["stopped"]
    host.znode("start", "web")
    host.stop()
    host.start()
    host.wait_state("running")


def test_watch(colony, host):
    host.start()
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(host.connect()) for _ in range(4)]
        for sock in watchers:
            assert host.ask(ZNODE_WATCH, sock=sock) == (0, (0, 0), "")
        error, _, text = host.ask(ZNODE_WATCH)
        assert error == errno.EBUSY and "too many" in text
        colony.apply(colony.app())
        host.wait_state("running")
        for i in range(20):  # nobody reads, znode goes on
            colony.apply(colony.app(command=["run", str(i)]))
        host.wait(lambda: host.app()["container"] != "web-1")
        host.wait_state("running")
        for sock in watchers:
            assert answer(sock)[0] == 0  # all of it in one or two
            sock.setblocking(False)
            told = 0
            with pytest.raises(BlockingIOError):
                while True:
                    answer(sock)
                    told += 1
            assert told <= 2
    with host.connect() as sock:
        assert host.ask(ZNODE_WATCH, sock=sock)[1] == (1, colony.revision)


def test_who_may_bring_documents(colony, host):
    host.start()
    script = ("import os, socket, sys; sys.path.insert(0, %r); "
              "os.setuid(int(sys.argv[1])); "
              "from zooid.messages import *; "
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
              "s.connect(%r); "
              "s.send(ZNODE_REQUEST.pack(ZNODE_REQUEST.size, ZNODE_REVISION, "
              "0, 0, b'')); "
              "print(ZNODE_REPLY.unpack(s.recv(4096))[2])" %
              (os.path.dirname(__file__), str(host.run / "znode.sock")))
    for uid, error in ((65534, -errno.EPERM), (105, 0), (0, 0)):
        said = subprocess.run([sys.executable, "-c", script, str(uid)],
                              check=True, capture_output=True, text=True)
        assert int(said.stdout) == error, uid


def test_a_hundred(colony, host):
    host.start()
    names = ["app-%d" % i for i in range(100)]
    colony.apply(*[colony.app(name) for name in names])

    def states(state):
        rows = json.loads(host.znode("ps", "-o", "json"))
        return [row["name"] for row in rows if row["state"] == state]
    host.wait(lambda: len(states("running")) == 100)
    assert len(host.requests("start")) == 100
    host.kill("znode")
    assert len(states("running")) == 100
    assert len(host.requests("start")) == 100
    colony.apply(*[colony.app(name) for name in names[:10]])
    host.wait(lambda: sorted(states("running")) == sorted(names[:10]))
    host.wait(lambda: len(host.requests("delete")) == 90)
    assert len(host.requests("start")) == 100
