"""zpull under `init --supervise` on this machine, with the sanitizers in it:
its messages, what is left of a pull that was broken off, and the way through
`zrun serve` into the image store."""

import contextlib
import errno
import fcntl
import gzip
import io
import json
import os
import re
import socket
import struct
import subprocess
import tarfile
import threading
import time

import pytest

from relay import Relay
from zooid import BUILD, image
from zooid.host import BIN, Supervised, directory, free_port
from zooid.messages import ZPULL_REQUEST, ZRUN_REPLY, ZRUN_REQUEST
from zooid.mount import mount, unmount
from zooid.pulls import (BEGUN, DEADLINE_S, DROP, FROM_HUB, PROGRESS, PULL,
                         Pull, Reply, text)
from zooid.registries import (OCI, Authority, DockerRegistry, Proxy, Registry,
                              digest, flipped, seeded)

NODE_BIN = BUILD / os.uname().machine / "bin"
UID_ZNODE, UID_ZPULL = 102, 104
UNPACK, IMAGES, PULLED = 5, 9, 1
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
AGENT_REQUEST = struct.Struct("=II")
AGENT_REPLY = struct.Struct("=IIiI200sq264s512s")


class Host(Supervised):
    def __init__(self, path):
        self.boot, self.data = path / "boot", path / "data"
        super().__init__(path, ZOOID_BOOT=self.boot, ZOOID_DATA=self.data)
        self.pulled = self.data / "pull"
        for folder in (self.boot, self.pulled, self.data / "images"):
            folder.mkdir(parents=True)
        self.mounted = False

    def registries(self, *rows):
        (self.boot / "node.json").write_text(json.dumps(
            {"registries": rows}))

    def start(self, zrun=False, disk=None):
        if disk:
            mount("-t", "tmpfs", "-o", "size=%d" % disk, "none", self.data)
            self.mounted = True
            self.pulled.mkdir()
        os.chown(self.pulled, UID_ZPULL, UID_ZPULL)
        services = ["zpull kmsg uid=%d mode=0666 : %s" % (
            UID_ZPULL, BIN / "zpull")]
        if zrun:
            services.append("zrun kmsg mode=0666 : %s serve" % (
                NODE_BIN / "zrun"))
        self.supervise(*services)

    def begin(self, image, digest, flags=0):
        return Pull(self.run, PULL, image, digest, flags=flags)

    def pull(self, image, digest, flags=0):
        return self.begin(image, digest, flags).end()

    def drop(self, path):
        return Pull(self.run, DROP, path=path).end()

    def layout(self, digest):
        return self.pulled / digest[7:]

    def blob(self, layout, name, suffix=""):
        return self.layout(layout) / "blobs/sha256" / (name[7:] + suffix)

    def close(self):
        super().close()
        if self.mounted:
            unmount(self.data)


@pytest.fixture
def host():
    with directory() as path, contextlib.closing(Host(path)) as host:
        yield host


@pytest.fixture
def registry(host):
    with contextlib.closing(Registry()) as made:
        host.registries({"host": made.host, "http": True})
        yield made


@pytest.fixture
def slow(registry, host):
    """A registry behind a slow link, whose name is that of the relay."""
    with Relay(("127.0.0.1", registry.server_port),
               bytes_per_s=4 << 20) as relay:
        relay.host = "127.0.0.1:%d" % relay.port
        host.registries({"host": relay.host, "http": True})
        yield relay


def made(registry, *layers, **more):
    return registry.image(*layers, architecture=ARCHITECTURE,
                          **more)["digest"]


def range_starts(registry, layer):
    """The first byte of each request for it."""
    return [int(re.search(r"\d+", headers.get("Range", "0"))[0])
            for path, headers in registry.asked if digest(layer) in path]


def test_pull_and_drop(host, registry):
    layers = seeded(300000), seeded(200000, 2)
    name = made(registry, *layers)
    host.start()
    reply = host.pull(registry.host + "/web:latest", name)
    assert reply.error == 0, reply
    assert (reply.digest, reply.path) == (name, name[7:])
    assert reply.fds == []
    assert reply.total == reply.done > 500000
    for layer in layers:
        assert host.blob(name, digest(layer)).read_bytes() == layer
    asked = len(registry.asked)
    assert host.pull(registry.host + "/web", name).error == 0
    assert len(registry.asked) == asked, "all was there"
    assert host.drop(name[7:]).error == 0
    assert os.listdir(host.pulled) == []
    assert host.drop(name[7:]).error == 0
    for path in ("..", "../images", "", "x" * 64, name):
        assert host.drop(path).error == -errno.EINVAL
    assert "zpull: %s/web:latest: pulled, " % registry.host in host.said()


def test_index_comes_along(host, registry):
    entries = [{**registry.image(arch.encode(), tag=None, architecture=arch),
                "platform": {"os": "linux", "architecture": arch}}
               for arch in ("riscv64", ARCHITECTURE)]
    index = registry.document("web", {
        "schemaVersion": 2, "manifests": entries}, "index.v1+json")
    host.start()
    for _ in range(2):
        reply = host.pull(registry.host + "/web", index["digest"])
        assert reply.error == 0, reply
        assert reply.digest == entries[1]["digest"]
        assert reply.path == index["digest"][7:]
        fd, = reply.fds
        assert digest(os.pread(fd, 65536, 0)) == index["digest"]
        os.close(fd)


def test_killed_amid_a_blob(host, registry, slow):
    """Each time the rest comes, and only that."""
    layer = seeded(6 << 20)
    name = made(registry, layer)
    host.start()
    part = host.blob(name, digest(layer), ".tmp")
    for size in (1 << 20, 3 << 20):
        pull = host.begin(slow.host + "/web", name)
        host.wait(lambda: part.exists() and part.stat().st_size > size)
        host.kill("zpull")
        with pytest.raises(ConnectionResetError):
            pull.end()
        assert part.stat().st_size < len(layer)
    slow.bytes_per_s = 0
    reply = host.pull(slow.host + "/web", name)
    assert reply.error == 0, reply
    assert host.blob(name, digest(layer)).read_bytes() == layer
    firsts = range_starts(registry, layer)
    assert len(firsts) == 3 and firsts[0] == 0
    assert firsts[1] > 1 << 20 and firsts[2] > 3 << 20


def test_cut_links_are_survived(host, registry, slow):
    layer = seeded(4 << 20)
    name = made(registry, layer)
    host.start()
    pull = host.begin(slow.host + "/web", name)
    part = host.blob(name, digest(layer), ".tmp")
    for size in (1 << 20, 2 << 20, 3 << 20):
        host.wait(lambda: part.exists() and part.stat().st_size > size)
        slow.cut()
        slow.mend()
    reply = pull.end()
    assert reply.error == 0, reply
    assert host.blob(name, digest(layer)).read_bytes() == layer
    firsts = range_starts(registry, layer)
    assert len(firsts) == 4
    for n, first in enumerate(firsts):
        assert first >= n << 20


def test_fifty_cuts(host, registry, rng):
    """Links that are cut and kills of zpull cost next to nothing twice."""
    layer = seeded(24 << 20)
    name = made(registry, layer)
    cuts = sorted(rng.sample(range(1, len(layer)), 50))
    kills = set(rng.sample(cuts, 4))
    halted = []

    def rule(handler, data, first):
        stop = next((cut for cut in cuts if cut > first), None)
        if stop not in kills:
            handler.part(data, first, stop)
            return
        kills.remove(stop)
        handler.head(206 if first else 200, len(data) - first, {
            "Content-Range": "bytes %d-%d/%d" % (
                first, len(data) - 1, len(data))} if first else {})
        handler.send(data[first:stop])
        halted.append(stop)
        handler.connection.recv(1)  # until the other end is dead

    registry.rules[digest(layer)] = rule
    host.start()
    part = host.blob(name, digest(layer), ".tmp")
    while kills or halted:
        pull = host.begin(registry.host + "/web", name)
        host.wait(lambda: halted and part.stat().st_size == halted[0])
        host.kill("zpull")
        halted.clear()
        with pytest.raises(ConnectionResetError):
            pull.end()
    assert host.pull(registry.host + "/web", name).error == 0
    assert host.blob(name, digest(layer)).read_bytes() == layer
    assert len(range_starts(registry, layer)) == len(cuts) + 1
    assert registry.sent[digest(layer)] <= 1.02 * len(layer)


def test_progress(host, registry, slow):
    """At most four times a second, never backwards."""
    layer = seeded(6 << 20)
    name = made(registry, layer)
    host.start()
    pull = host.begin(slow.host + "/web", name)
    assert pull.end().error == 0
    times = [when for when, _ in pull.progress]
    assert len(times) >= 3
    assert len(times) <= 4 * (times[-1] - times[0]) + 2
    done = [reply.done for _, reply in pull.progress]
    assert done == sorted(done) and done[-1] > len(layer) / 2
    assert pull.progress[-1][1].total > len(layer)


def test_client_that_leaves_ends_the_pull(host, registry, slow):
    layer = seeded(6 << 20)
    name = made(registry, layer)
    host.start()
    part = host.blob(name, digest(layer), ".tmp")
    pull = host.begin(slow.host + "/web", name)
    host.wait(lambda: part.exists() and part.stat().st_size > 1 << 20)
    assert host.drop(name[7:]).error == -errno.EBUSY
    pull.sock.close()
    host.wait(lambda: host.drop(name[7:]).error == 0)
    assert os.listdir(host.pulled) == []
    slow.bytes_per_s = 0
    assert host.pull(slow.host + "/web", name).error == 0


def test_several_at_once_fetch_a_layer_once(host, registry, slow):
    shared, own = seeded(4 << 20), [seeded(1000, n) for n in range(3)]
    names = [made(registry, shared, layer, tag=str(n))
             for n, layer in enumerate(own)]
    host.start()
    pulls = [host.begin(slow.host + "/web", name) for name in names]
    pulls.append(host.begin(slow.host + "/web", names[0]))
    for pull in pulls:
        reply = pull.end()
        assert reply.error == 0, reply
    for name, layer in zip(names, own):
        assert host.blob(name, digest(shared)).read_bytes() == shared
        assert host.blob(name, digest(layer)).read_bytes() == layer
    assert registry.sent[digest(shared)] == len(shared)
    for name in names:
        assert host.drop(name[7:]).error == 0


def test_another_takes_over(host, registry, slow):
    shared = seeded(6 << 20)
    names = [made(registry, shared, seeded(1000, n), tag=str(n))
             for n in range(2)]
    host.start()
    first = host.begin(slow.host + "/web", names[0])
    part = host.blob(names[0], digest(shared), ".tmp")
    host.wait(lambda: part.exists() and part.stat().st_size > 1 << 20)
    second = host.begin(slow.host + "/web", names[1])
    host.wait(lambda: host.layout(names[1]).joinpath("blobs/sha256").exists()
              and registry.paths(names[1]))
    first.sock.close()
    reply = second.end()
    assert reply.error == 0, reply
    firsts = range_starts(registry, shared)
    assert len(firsts) == 2 and firsts[1] > 1 << 20


def test_layers_of_the_store_are_not_fetched(host, registry):
    stored, other = seeded(100000), seeded(1000, 2)
    older = registry.image(stored, tag="older", architecture=ARCHITECTURE)
    name = made(registry, stored, other)
    images = host.data / "images"
    (images / "blobs/sha256").mkdir(parents=True)
    (images / "blobs/sha256" / older["digest"][7:]).write_bytes(
        registry.documents["/v2/web/manifests/older"][1])
    (images / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [older]}))
    host.start()
    assert host.pull(registry.host + "/web", name).error == 0
    assert not registry.paths(digest(stored))
    assert not host.blob(name, digest(stored)).exists()


def test_refusals(host, registry):
    layer = seeded(1000)
    name = made(registry, layer)
    host.start()
    unknown = digest(b"unknown")
    cases = [
        (registry.host + "/web", unknown, errno.ENOENT,
         "%s/web@%.19s: not there" % (registry.host, unknown)),
        ("Web", name, errno.EINVAL, "\"Web\" with digest"),
        ("web", "sha256:12", errno.EINVAL, "is no image"),
        ("a" * 255, name, errno.EINVAL, "is no image"),
        ("127.0.0.1:1/web", name, errno.ECONNREFUSED, "127.0.0.1:1/web"),
    ]
    for reference, wanted, error, line in cases:
        reply = host.pull(reference, wanted)
        assert reply.error == -error, reply
        assert line in reply.text, reply
        assert not reply.digest and not reply.path
    registry.rules[digest(layer)] = flipped()
    reply = host.pull(registry.host + "/web", name)
    assert reply.error == -errno.EBADMSG, reply
    assert "its bytes have another digest" in reply.text
    assert not host.layout(name).exists()
    assert not host.layout(unknown).exists()


def test_only_znode_and_root(host):
    host.start()
    script = """
import os, socket, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.send(bytes.fromhex(sys.argv[2]))
sys.stdout.buffer.write(s.recv(4096))
"""
    request = ZPULL_REQUEST.pack(ZPULL_REQUEST.size, DROP, 0, 0, b"", b"",
                                 b"0" * 64)
    for uid, error in ((12345, -errno.EPERM), (UID_ZNODE, 0)):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", script % (uid, uid),
             host.run / "zpull.sock", request.hex()], check=True,
            capture_output=True, timeout=30)
        assert Reply(done.stdout, []).error == error


def test_messages_that_are_none(host, registry):
    host.start()
    name = made(registry, b"layer")
    good = ZPULL_REQUEST.pack(ZPULL_REQUEST.size, PULL, 0, 0,
                              (registry.host + "/web").encode(),
                              name.encode(), b"")
    for bad in (b"x", good[:-1], good + b"x", b"\xff" * len(good)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(str(host.run / "zpull.sock"))
            sock.send(bad)
            assert sock.recv(4096) == b""
    assert Pull(host.run, PROGRESS).receive().error == -errno.ENOSYS
    # A second request before the reply is none either.
    registry.rules["/v2/web/manifests/" + name] = \
        lambda handler, *_: handler.connection.recv(1)
    pull = host.begin(registry.host + "/web", name)
    host.wait(lambda: registry.asked)
    pull.sock.send(good)
    with pytest.raises(ConnectionResetError):
        pull.end()


def test_too_little_space(host, registry):
    """One line, before anything is fetched; what nobody wants goes first."""
    host.start(disk=16 << 20)
    old, new = seeded(7 << 20), seeded(9 << 20, 2)
    huge = seeded(16 << 20, 3)
    first, second, third = [made(registry, layer, tag=str(n))
                            for n, layer in enumerate((old, new, huge))]
    assert host.pull(registry.host + "/web", first).error == 0
    reply = host.pull(registry.host + "/web", second)
    assert reply.error == -errno.ENOSPC, reply
    assert re.fullmatch(r"%s/web: needs 10 MB, [78] MB are left above the "
                        r"node's reserve: remove an image" % registry.host,
                        reply.text)
    assert not registry.paths(digest(new))
    assert host.layout(first).exists(), "it was told to znode"
    host.kill("zpull")
    assert host.pull(registry.host + "/web", second).error == 0
    assert not host.layout(first).exists()
    assert "zpull: %s: removed, its space is needed" % first[7:] in host.said()
    assert host.pull(registry.host + "/web", third).error == -errno.ENOSPC
    assert host.layout(second).exists()


def test_disk_full_meanwhile(host, registry):
    """Somebody else fills it after it was checked."""
    layer = seeded(4 << 20)
    name = made(registry, layer)
    host.start(disk=16 << 20)

    def rule(handler, data, first):
        (host.data / "others").write_bytes(bytes(15 << 20))
        handler.part(data, first)
    registry.rules[digest(layer)] = rule
    reply = host.pull(registry.host + "/web", name)
    assert reply.error == -errno.ENOSPC, reply
    assert "No space left on device" in reply.text
    (host.data / "others").unlink()
    del registry.rules[digest(layer)]
    assert host.pull(registry.host + "/web", name).error == 0
    assert host.blob(name, digest(layer)).read_bytes() == layer


# ---- registries of node.json

def test_registry_with_a_ca_of_its_own(host, tmp_path):
    authority = Authority(tmp_path)
    with contextlib.closing(Registry(authority)) as registry:
        name = made(registry, b"layer")
        host.registries({"host": registry.host, "ca": "keys/no.pem"})
        host.start()
        reply = host.pull(registry.host + "/web", name)
        assert reply.error == -errno.ENOENT
        assert reply.text == "registry %s: certificates keys/no.pem: No " \
            "such file or directory" % registry.host
        host.registries()
        reply = host.pull(registry.host + "/web", name)
        assert reply.error == -errno.EPROTO, reply
        assert "certificate" in reply.text.lower()
        (host.boot / "keys").mkdir()
        (host.boot / "keys/ca.pem").write_bytes(authority.ca.read_bytes())
        host.registries({"host": registry.host, "ca": "keys/ca.pem"})
        assert host.pull(registry.host + "/web", name).error == 0


def test_names_without_a_registry(host):
    with contextlib.closing(Registry()) as registry:
        name = made(registry, b"layer", repository="library/web")
        row = {"host": registry.host, "http": True}
        host.registries(row)
        host.start()
        reply = host.pull("web", name)
        assert reply.error == -errno.EINVAL
        assert reply.text == "library/web names no registry: write it " \
            "before the name, or mark one of node.json's registries " \
            '"default": true'
        host.registries({**row, "default": True})
        assert host.pull("web", name).error == 0


def test_mirrors(host):
    """Passed over when they are not there or have not all of it; asked first,
    and the registry itself only for what no mirror has."""
    with contextlib.ExitStack() as stack:
        lacking, mirror, registry = (
            stack.enter_context(contextlib.closing(Registry()))
            for _ in range(3))
        layer = seeded(300000)
        for server in (lacking, mirror, registry):
            name = made(server, layer)
        lacking.blobs.clear()
        mirror.rules[digest(layer)] = flipped()
        dead = "127.0.0.1:%d" % free_port()
        mirrors = [dead, lacking.host, mirror.host]
        host.registries(
            {"host": registry.host, "http": True, "mirrors": mirrors},
            *({"host": row, "http": True} for row in mirrors))
        host.start()
        assert host.pull(registry.host + "/web", name).error == 0
        assert host.blob(name, digest(layer)).read_bytes() == layer
        assert len(registry.asked) == 1
        said = host.said()
        for row in mirrors:
            assert said.count("zpull: %s: passed over as a mirror: " % row) \
                == 1, said


def test_credentials_of_node_json(host):
    """They go to their registry, not to its mirror."""
    with contextlib.closing(Registry()) as registry, \
            contextlib.closing(Registry()) as mirror:
        name = made(registry, b"layer")
        made(mirror, b"layer")
        path = "/v2/web/manifests/" + name
        document = registry.documents[path]

        def rule(handler, *_):
            if handler.headers["Authorization"] == "Basic bWU6eA==":
                handler.reply(200, document[1])
            else:
                handler.challenge('Basic realm="x"')
        registry.rules[path] = mirror.rules[path] = rule
        row = {"host": registry.host, "http": True}
        host.registries(row)
        host.start()
        reply = host.pull(registry.host + "/web", name)
        assert reply.error == -errno.EACCES
        assert "wants credentials" in reply.text
        host.registries({**row, "user": "me", "password": "x",
                         "mirrors": [mirror.host]},
                        {"host": mirror.host, "http": True})
        assert host.pull(registry.host + "/web", name).error == 0
        assert all("Authorization" not in headers
                   for _, headers in mirror.asked)
        assert "bWU6eA" not in host.said()


def test_proxy(host, tmp_path):
    """Nothing is asked by another way; a name need not be known here."""
    authority = Authority(tmp_path)
    (host.boot / "ca.pem").write_bytes(authority.ca.read_bytes())
    secret = "Basic bWU6eA=="
    with contextlib.closing(Registry(authority)) as registry, \
            contextlib.closing(Proxy(("127.0.0.1", registry.server_port),
                                     secret)) as proxy:
        name = made(registry, b"layer")
        host.registries({"host": "*", "ca": "ca.pem",
                         "proxy": "http://me:x@" + proxy.host})
        host.start()
        assert host.pull("localhost:1/web", name).error == 0
        assert set(proxy.asked) == {"localhost:1"}
        host.drop(name[7:])
        host.registries({"host": "*", "ca": "ca.pem",
                         "proxy": "http://me:y@" + proxy.host})
        reply = host.pull("localhost:1/web", name)
        assert reply.error < 0 and "407" in reply.text, reply
        assert "me:" not in host.said()


def test_node_json_that_cannot_be_read(host):
    with contextlib.closing(Registry()) as registry:
        name = made(registry, b"layer")
        (host.boot / "node.json").write_text('{"registries": 1}')
        host.start()
        assert host.pull(registry.host + "/web", name).error < 0
        assert "node.json:1: registries: 1: want an array [...]; no registry " \
            "is taken from it" in host.said()


# ---- the hub's images

class Agent(threading.Thread):
    """Answers on zagent.sock as zagent does."""

    def __init__(self, host, registry, token, root):
        super().__init__(daemon=True)
        self.answer = registry, token
        self.root, self.error, self.asked = root, 0, 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = host.run / "zagent.sock"
        self.listener.bind(str(path))
        path.chmod(0o666)
        self.listener.listen()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    self.serve(client)

    def serve(self, client):
        size, verb = AGENT_REQUEST.unpack(client.recv(100))
        assert (size, verb) == (AGENT_REQUEST.size, 2)
        self.asked += 1
        registry, token = self.answer
        fd = os.memfd_create("root", os.MFD_ALLOW_SEALING)
        os.write(fd, self.root)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
        reply = AGENT_REPLY.pack(
            AGENT_REPLY.size, 2, self.error, 0,
            b"no hub: the line is cut" if self.error else b"",
            int(time.time()) + 600, registry.encode(), token.encode())
        socket.send_fds(client, [reply], [] if self.error else [fd])
        os.close(fd)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


def test_images_of_the_hub(host, tmp_path):
    authority = Authority(tmp_path)
    with contextlib.closing(Registry(authority, token="a.b-c")) as registry:
        name = made(registry, b"layer", repository="team/web")
        host.start()
        reply = host.pull("team/web:latest", name, FROM_HUB)
        assert reply.error == -errno.ENOTCONN
        assert reply.text == "hub/team/web: zagent does not run: no way to " \
            "the hub"
        with contextlib.closing(Agent(host, registry.host, "a.b-c",
                                      authority.ca.read_bytes())) as agent:
            agent.error = -errno.ENOTCONN
            reply = host.pull("team/web:latest", name, FROM_HUB)
            assert reply.error == -errno.ENOTCONN
            assert reply.text == "hub/team/web: no hub: the line is cut"
            agent.error = 0
            reply = host.pull("team/web:latest", name, FROM_HUB)
            assert reply.error == 0, reply
            assert {headers.get("Authorization") for _, headers in
                    registry.asked} == {"Bearer a.b-c"}
            assert agent.asked == 2
            host.drop(reply.path)
            agent.answer = registry.host, "wrong"
            reply = host.pull("team/web:latest", name, FROM_HUB)
            assert reply.error == -errno.EACCES, reply
            agent.root = b"not a certificate"
            assert host.pull("team/web", name, FROM_HUB).error < 0
            agent.answer = "no host!", "x"
            assert host.pull("team/web", name, FROM_HUB).error == \
                -errno.EINVAL


# ---- into the image store

def zrun(host, verb, digest="", path="", arg=0, flags=0):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(host.run / "zrun.sock"))
        sock.send(ZRUN_REQUEST.pack(
            ZRUN_REQUEST.size, verb, arg, flags, b"", digest.encode(),
            path.encode(), b""))
        fields = ZRUN_REPLY.unpack(sock.recv(4096))
    return fields[2], text(fields[5])


def test_from_docker_registry_into_the_store(host, tmp_path):
    with contextlib.closing(DockerRegistry(tmp_path / "registry")) as registry:
        layout = image.httpd(os.uname().machine)
        registry.push(layout, "team/web:1")
        name = json.loads((layout / "index.json").read_text())[
            "manifests"][0]["digest"]
        host.registries({"host": registry.host, "http": True})
        host.start(zrun=True)
        reply = host.pull(registry.host + "/team/web:1", name)
        assert reply.error == 0, reply
        # What zpull owns it may also change: it is not believed.
        layer = image.blob(layout, "layer")
        pulled = host.layout(name) / "blobs/sha256" / layer.name
        image.flip_bit(pulled, 1000)
        error, line = zrun(host, UNPACK, name, reply.path, flags=PULLED)
        assert error == -errno.EBADMSG and layer.name[:12] in line, line
        image.flip_bit(pulled, 1000)
        for path in ("../images", "..", name[7:] + "/../../.."):
            assert zrun(host, UNPACK, name, path, flags=PULLED)[0] < 0
        assert zrun(host, UNPACK, name, reply.path, flags=PULLED) == (0, "")
        assert host.drop(reply.path).error == 0
        assert zrun(host, IMAGES) == (0, name)
        assert zrun(host, UNPACK, name, "gone", flags=PULLED)[0] == \
            -errno.ENOENT
        # The next version shares the layer, which need not come again.
        again = host.pull(registry.host + "/team/web:1", name)
        assert again.error == 0
        assert not (host.layout(name) / "blobs/sha256" / layer.name).exists()


def archive(*files):
    """A layer in gzip, its files being (name, bytes), and its diff_id."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 1), digest(out.getvalue())


def packed_image(registry, *layers):
    """The name of an image of layers (packed, diff_id, ending of the type)."""
    config = registry.blob(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": [layer[1] for layer in layers]},
    }).encode(), "config.v1+json")
    return registry.document("web", {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": config, "layers": [
            registry.blob(packed, "layer.v1.tar" + ending)
            for packed, _, ending in layers]},
        "manifest.v1+json")["digest"]


def layers_begin(pull):
    while (reply := pull.receive()).verb == PROGRESS:
        pass
    return reply


class Follower:
    """An unpacking that follows a pull."""

    def __init__(self, host, reply):
        self.pipe, self.sock = os.pipe(), socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(host.run / "zrun.sock"))
        socket.send_fds(self.sock, [ZRUN_REQUEST.pack(
            ZRUN_REQUEST.size, UNPACK, 0, PULLED, b"", reply.digest.encode(),
            reply.path.encode(), b"")], [self.pipe[0]])
        os.close(self.pipe[0])

    def hang_up(self):
        os.close(self.pipe[1])

    def end(self):
        with self.sock:
            fields = ZRUN_REPLY.unpack(self.sock.recv(4096))
        return fields[2], text(fields[5])


def test_unpacked_while_it_comes(host, registry):
    """Half of a layer is unpacked before the rest was sent, and nothing of it
    seen; once the rest came the image is whole, before zpull is asked."""
    packed, diff_id = archive(("first", seeded(1 << 20)),
                              ("second", seeded(1 << 20, 2)))
    name = packed_image(registry, (packed, diff_id, "+gzip"))
    more = threading.Event()

    def halting(handler, data, first):
        handler.head(200, len(data))
        handler.send(data[:len(data) * 3 // 4])
        more.wait(DEADLINE_S)
        handler.send(data[len(data) * 3 // 4:])

    registry.rules[digest(packed)] = halting
    host.start(zrun=True)
    pull = host.begin(registry.host + "/web", name)
    begun = layers_begin(pull)
    assert (begun.verb, begun.error, begun.digest) == (BEGUN, 0, name), begun
    follower = Follower(host, begun)
    host.wait(lambda: [p for p in (host.data / "layers").glob(".tmp.*/first")
                       if p.stat().st_size == 1 << 20])
    assert zrun(host, IMAGES)[0] == -errno.ENOENT
    more.set()
    assert follower.end() == (0, "")
    assert (host.data / "layers" / diff_id[7:] / "second").read_bytes() == \
        seeded(1 << 20, 2)
    assert zrun(host, IMAGES) == (0, name)
    assert pull.end().error == 0
    follower.hang_up()


def test_unpacking_ends_with_the_pull(host, registry):
    """A pull that is given up leaves nothing half unpacked."""
    packed, diff_id = archive(("first", seeded(1 << 20)),
                              ("second", seeded(1 << 20, 2)))
    name = packed_image(registry, (packed, diff_id, "+gzip"))
    registry.rules[digest(packed)] = lambda handler, data, first: (
        handler.head(200, len(data)), handler.send(data[:len(data) * 3 // 4]),
        threading.Event().wait(DEADLINE_S))
    host.start(zrun=True)
    pull = host.begin(registry.host + "/web", name)
    begun = layers_begin(pull)
    follower = Follower(host, begun)
    layers = host.data / "layers"
    host.wait(lambda: list(layers.glob(".tmp.*/first")))
    pull.sock.close()
    follower.hang_up()
    error, line = follower.end()
    assert error == -errno.ECANCELED and "not all of it came" in line, line
    assert not list(layers.iterdir())
    assert zrun(host, IMAGES)[0] == -errno.ENOENT


def tool(*words, data=None):
    return subprocess.run([*map(str, words)], input=data, check=True,
                          capture_output=True, timeout=60).stdout


# struct vfs_ns_cap_data of revision 2: cap_net_raw, effective.
NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def test_layers_of_tar_and_zstd(host, registry, tmp_path):
    """What GNU tar writes of a sparse file, a file with capabilities and a
    hard link, plain and in zstd, one layer over the other."""
    for number in (1, 2):
        root = tmp_path / str(number)
        root.mkdir()
        with open(root / "sparse", "wb") as file:
            file.seek(5 << 20)
            file.write(b"here%d" % number)
            file.truncate(32 << 20)
        (root / "ping").write_bytes(b"#!")
        os.chown(root / "ping", 5, 6)
        os.setxattr(root / "ping", "security.capability", NET_RAW)
        os.setxattr(root / "ping", "user.k%d" % number, b"v")
        os.link(root / "ping", root / "pong")
    tars = [tool("tar", "--sparse", "--xattrs", "--xattrs-include=*",
                 "--format=posix", "-C", tmp_path / str(number), "-c", ".")
            for number in (1, 2)]
    name = packed_image(
        registry, (tars[0], digest(tars[0]), ""),
        (tool("zstd", "-c", data=tars[1]), digest(tars[1]), "+zstd"))
    host.start(zrun=True)
    reply = host.pull(registry.host + "/web", name)
    assert reply.error == 0, reply
    assert zrun(host, UNPACK, name, reply.path, flags=PULLED) == (0, "")
    for number, data in enumerate(tars, 1):
        root = host.data / "layers" / digest(data)[7:]
        held = (root / "sparse").read_bytes()
        assert len(held) == 32 << 20
        assert held.strip(b"\0") == b"here%d" % number
        assert held[5 << 20:][:4] == b"here"
        assert (root / "sparse").stat().st_blocks * 512 < 1 << 20
        state = (root / "ping").stat()
        assert (state.st_uid, state.st_gid, state.st_nlink) == (5, 6, 2)
        assert state.st_ino == (root / "pong").stat().st_ino
        assert os.getxattr(root / "ping", "security.capability") == NET_RAW
        assert os.getxattr(root / "ping", "user.k%d" % number) == b"v"


def test_disk_full_amid_unpacking(host, registry):
    """A layer that unpacks to more than there is, and a disk that others fill
    meanwhile: nothing is left of it, the image that was there stays."""
    small, large, late = (archive(("file", data)) for data in (
        b"small", bytes(60 << 20), seeded(6 << 20)))
    names = [packed_image(registry, (*layer, "+gzip"))
             for layer in (small, large, late)]
    host.start(zrun=True, disk=48 << 20)
    layers, others = host.data / "layers", host.data / "others"
    for name in names:
        assert host.pull(registry.host + "/web", name).error == 0

    def unpack(name):
        return zrun(host, UNPACK, name, name[7:], flags=PULLED)

    assert unpack(names[0]) == (0, "")
    error, line = unpack(names[1])
    assert error == -errno.ENOSPC and "MB of space left" in line, line
    assert [p.name for p in layers.iterdir()] == [small[1][7:]]
    others.write_bytes(bytes(36 << 20))
    error, line = unpack(names[2])
    assert error == -errno.ENOSPC and digest(late[0])[7:19] in line or \
        "remove an image" in line, line
    assert [p.name for p in layers.iterdir()] == [small[1][7:]]
    assert zrun(host, IMAGES) == (0, names[0])
    others.unlink()
    assert unpack(names[2]) == (0, "")
