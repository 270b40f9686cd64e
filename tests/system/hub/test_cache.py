"""Images of other registries, pulled through the hub: another zhub, over a
link that can be bad, with its own CA and credentials; and docker-registry."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request

import pytest

from agent import until
from hub import BUILD, Hub, Node, Refused, free_port, zhub
from registry import MANIFEST, digest, push, push_blob, push_manifest
from relay import Relay
from test_apply import web
from zooid import process

LAYER = 20 << 20


class Pair:
    """`hub` pulls through from `origin`, which it reaches over `relay`."""

    def __init__(self, directory, near):
        self.origin = Hub(directory / "origin")
        self.origin.start()
        self.relay = Relay(("127.0.0.1", self.origin.port))
        self.host = "127.0.0.1:%d" % self.relay.port
        self.hub = Hub(near)
        self.hub.log = directory / "near.log"
        shutil.copy(self.origin.root, self.hub.directory / "origin.pem")
        self.configure({"host": self.host, "ca": "origin.pem", "user": "me",
                        "password": self.origin.token("--registry")})

    def configure(self, *upstreams):
        path = self.hub.directory / "hub.json"
        path.write_text(json.dumps({**json.loads(path.read_text()),
                                    "upstreams": upstreams}))

    def close(self):
        self.relay.close()
        for hub in (self.hub, self.origin):
            if hub.process:
                hub.stop()

    def manifest(self, reference, method="GET"):
        return self.hub.operator.ask(method, "/v2/%s/team/web/manifests/%s" % (
            self.host, reference))

    def blob(self, name, headers=None):
        return self.hub.operator.ask("GET", self.path(name), None, headers)

    def path(self, name):
        return "/v2/%s/team/web/blobs/%s" % (self.host, name)

    def counted(self, name):
        for line in self.hub.operator.get("/metrics").decode().splitlines():
            if line.startswith("zooid_hub_upstream_%s_total " % name):
                return int(line.split()[1])
        raise KeyError(name)


@pytest.fixture
def pair(tmp_path):
    with contextlib.closing(Pair(tmp_path, tmp_path / "near")) as made:
        made.hub.start()
        yield made


def pushed(pair, tag="1", size=100000):
    """(digest of the manifest, layer) of a new image at the origin."""
    layer = os.urandom(size)
    return push(pair.origin, "team/web", tag, layer), layer


def test_pulled_once(pair):
    image, layer = pushed(pair)
    assert pair.hub.operator.get("/v2/_catalog")["repositories"] == []
    assert digest(pair.manifest("1")) == image
    assert pair.blob(digest(layer)) == layer
    assert pair.blob(digest(b"{}")) == b"{}"
    assert pair.counted("requests") == 3
    assert pair.counted("bytes") == len(layer) + 2
    assert digest(pair.manifest(image)) == image
    assert pair.blob(digest(layer), {"range": "bytes=5-9"}) == layer[5:10]
    assert pair.counted("requests") == 3, "by digest: never again"
    assert digest(pair.manifest("1")) == image
    assert pair.counted("requests") == 4, "a tag is compared"
    second, _ = pushed(pair)
    assert digest(pair.manifest("1")) == second
    listed, = pair.hub.operator.get("/v1/images")["images"]
    assert listed["repository"] == pair.host + "/team/web"
    assert listed["digest"] == second


def test_origin_gone(pair):
    image, layer = pushed(pair)
    other, unseen = pushed(pair, "2")
    pair.manifest("1")
    pair.blob(digest(layer))
    pair.manifest("2")
    pair.relay.cut()
    assert digest(pair.manifest("1")) == image
    assert digest(pair.manifest(image)) == image
    assert pair.blob(digest(layer)) == layer
    assert "what is here is given" in pair.hub.said()
    for ask in (lambda: pair.manifest("3"), lambda: pair.blob(digest(unseen))):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.status == 503
    pair.relay.mend()
    assert pair.blob(digest(unseen)) == unseen


def test_origin_deletes_a_tag(pair):
    pushed(pair)
    pair.manifest("1")
    pair.origin.operator.ask("DELETE", "/v2/team/web/manifests/1")
    with pytest.raises(Refused, match="not there") as refused:
        pair.manifest("1")
    assert refused.value.status == 404


def read_all(reply, got):
    with contextlib.closing(reply.connection):
        got.append(reply.read())


def test_many_ask_for_the_same(pair):
    """One fetch; some come late, one wants the end only, one leaves."""
    image, layer = pushed(pair, size=LAYER)
    pair.manifest("1")
    pair.relay.bytes_per_s = 10 << 20
    path, got, threads = pair.path(digest(layer)), [], []
    leaver = pair.hub.operator.open("GET", path)
    for headers in [{}] * 6 + [{"range": "bytes=%d-" % (LAYER - 10)}]:
        reply = pair.hub.operator.open("GET", path, None, headers)
        threads.append(threading.Thread(target=read_all, args=(reply, got)))
        threads[-1].start()
    assert leaver.read(10) == layer[:10]
    leaver.connection.close()
    leaver.close()
    head = pair.hub.operator.open("HEAD", path)
    assert head.headers["content-length"] == str(LAYER)
    head.connection.close()
    for thread in threads:
        thread.join()
    assert sorted(map(len, got)) == [10] + [LAYER] * 6
    assert {g for g in got if len(g) > 10} == {layer}
    assert [g for g in got if len(g) == 10] == [layer[-10:]]
    assert pair.counted("bytes") == LAYER
    assert pair.blob(digest(layer)) == layer
    assert pair.counted("bytes") == LAYER


def test_first_bytes_come_before_the_last_is_here(pair):
    image, layer = pushed(pair, size=4 << 20)
    pair.manifest("1")
    pair.relay.bytes_per_s = 4 << 20
    reply = pair.hub.operator.open("GET", pair.path(digest(layer)))
    assert reply.read(1000) == layer[:1000]
    assert pair.counted("bytes") < len(layer)
    assert reply.read() == layer[1000:]
    reply.connection.close()


def test_broken_off_goes_on(pair):
    """The link is cut amid a blob, twice: what came is not sent again."""
    image, layer = pushed(pair, size=LAYER)
    pair.manifest("1")
    pair.relay.bytes_per_s = 20 << 20
    reply = pair.hub.operator.open("GET", pair.path(digest(layer)))
    data = b""
    for part in (2 << 20, 4 << 20):
        data += reply.read(part)
        pair.relay.cut()
        pair.relay.mend()
    data += reply.read()
    assert data == layer
    assert pair.counted("bytes") == LAYER
    assert pair.counted("failed") >= 1
    reply.connection.close()


def test_damaged_at_the_origin(pair):
    """Bytes that are not what their digest says are neither kept nor given
    as if they were whole."""
    image, layer = pushed(pair)
    name = digest(layer)
    blob = pair.origin.directory / "blobs/sha256" / name[7:9] / name[7:]
    pair.manifest("1")
    good = blob.read_bytes()
    blob.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    with pytest.raises((http.client.IncompleteRead, OSError)):
        pair.blob(name)
    until(lambda: not blob.exists())  # the origin noticed too
    with pytest.raises(Refused) as refused:
        pair.blob(name)
    assert refused.value.status == 404
    assert "its bytes have another digest" in pair.hub.said()
    assert not list((pair.hub.directory / "uploads").iterdir())
    blob.write_bytes(good)
    assert pair.blob(name) == layer


def test_damaged_here(pair):
    """Found when it was given, and fetched anew."""
    image, layer = pushed(pair)
    name = digest(layer)
    assert digest(pair.manifest("1")) == image
    pair.blob(name)
    until(lambda: not list((pair.hub.directory / "uploads").iterdir()))
    pair.hub.stop()
    pair.hub.start()  # it does not look twice within ten minutes
    for which in (name, image):
        blob = pair.hub.directory / "blobs/sha256" / which[7:9] / which[7:]
        good = blob.read_bytes()
        blob.write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
        (pair.blob if which == name else pair.manifest)(which)
        until(lambda: not blob.exists())
    assert digest(pair.manifest("1")) == image
    assert pair.blob(name) == layer


def test_hub_killed_amid_a_fetch(pair):
    image, layer = pushed(pair, size=LAYER)
    pair.manifest("1")
    pair.relay.bytes_per_s = 20 << 20
    reply = pair.hub.operator.open("GET", pair.path(digest(layer)))
    reply.read(1 << 20)
    pair.hub.kill()
    with pytest.raises((http.client.IncompleteRead, OSError)):
        reply.read()
    reply.connection.close()
    pair.hub.start()
    pair.relay.bytes_per_s = 0
    assert digest(pair.manifest("1")) == image
    assert pair.blob(digest(layer)) == layer


def test_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk],
                   check=True)
    try:
        with contextlib.closing(Pair(tmp_path, disk / "near")) as pair:
            pair.hub.start()
            _, layer = pushed(pair, size=LAYER)
            _, small = pushed(pair, "2")
            pair.manifest("1")
            pair.manifest("2")
            with pytest.raises(Refused, match="disk is full") as refused:
                pair.blob(digest(layer))
            assert refused.value.status == 507
            assert "the disk is full: free some space" in pair.hub.said()
            assert pair.blob(digest(small)) == small
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_not_from_there(pair):
    image, layer = pushed(pair)
    for name in ("localhost:1/web", "127.0.0.1:1/web", "registry.example/team/web"):
        with pytest.raises(Refused, match="no upstream") as refused:
            pair.hub.operator.get("/v2/%s/manifests/1" % name)
        assert refused.value.status == 403
    with pytest.raises(Refused, match="manifest first") as refused:
        pair.blob(digest(layer))
    assert refused.value.status == 404
    for name in (pair.host + "/team/web", "registry.example/web"):
        with pytest.raises(Refused, match="push there") as refused:
            push_blob(pair.hub.operator, name, b"x")
        assert refused.value.status == 403


def test_wrong_credentials_and_wrong_ca(pair):
    pushed(pair)
    good = {"host": pair.host, "ca": "origin.pem"}
    rows = [
        ({**good, "user": "me", "password": "x.y"}, 403, "not allowed"),
        (good, 403, "credentials"),
        ({**good, "ca": "keys/root.pem", "user": "me", "password": "x.y"}, 502,
         ""),
    ]
    for upstream, status, text in rows:
        pair.hub.stop()
        pair.configure(upstream)
        pair.hub.start()
        with pytest.raises(Refused, match=text) as refused:
            pair.manifest("1")
        assert refused.value.status == status
        assert pair.host + "/team/web" in pair.hub.said()


BAD_UPSTREAMS = {
    "no host": ({"plain": True}, 'want the key "host"'),
    "no such key": ({"host": "a.b", "token": "x"}, "upstreams[0].token"),
    "not a host": ({"host": "a b"}, "want HOST"),
    "half of the credentials": ({"host": "a.b", "user": "x"},
                                "user and password"),
    "credentials for all": ({"host": "*", "user": "x", "password": "y"},
                            "name it"),
    "no such file": ({"host": "a.b", "ca": "none.pem"}, "none.pem"),
    "plain and ca": ({"host": "a.b", "ca": "x", "plain": True}, "plain"),
}


@pytest.mark.parametrize("name", BAD_UPSTREAMS)
def test_bad_configuration(pair, name):
    upstream, text = BAD_UPSTREAMS[name]
    pair.hub.stop()
    pair.configure(upstream)
    done = zhub("serve", "--dir", pair.hub.directory, check=False)
    assert done.returncode == 1 and text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("prefix", ["", "hub/"])
def test_application_of_such_an_image(pair, tmp_path, prefix):
    image, layer = pushed(pair)
    node = Node(pair.hub, tmp_path, "n1")
    name = prefix + pair.host + "/team/web"

    def put(*apps):
        return pair.hub.operator.ask("PUT", "/v1/apps/shop", {
            "nodes": ["n1"], "apps": apps})
    local = push(pair.hub, "own", "1", b"own")
    put({"name": "a", "image": name + ":1"},
        {"name": "b", "image": name + "@" + image},
        {"name": "c", "image": "hub/own:1"}, web("d"))
    with node.watch(follow=False) as watch:
        apps = {a["name"]: a for a in watch.document()["apps"]}
    assert apps["a"]["digest"] == apps["b"]["digest"] == image
    assert apps["a"]["image"] == name + ":1" and apps["c"]["digest"] == local
    with pytest.raises(Refused, match="not there") as refused:
        put({"name": "a", "image": name + ":none"})
    assert refused.value.status == 400
    pair.relay.cut()
    with pytest.raises(Refused) as refused:
        put({"name": "a", "image": name + ":none"})
    assert refused.value.status == 503
    put({"name": "a", "image": name + ":1"})  # as it is known


def test_index_and_its_manifests(pair):
    first = push(pair.origin, "team/web", "amd64", b"for amd64")
    second = push(pair.origin, "team/web", "arm64", b"for arm64")
    kind = "application/vnd.oci.image.index.v1+json"
    index = push_manifest(pair.origin.operator, "team/web", "1", {
        "schemaVersion": 2, "mediaType": kind, "manifests": [
            {"mediaType": MANIFEST, "digest": d, "size": 1,
             "platform": {"os": "linux", "architecture": a}}
            for d, a in ((first, "amd64"), (second, "arm64"))]}, kind)
    reply = pair.hub.operator.open(
        "HEAD", "/v2/%s/team/web/manifests/1" % pair.host)
    assert reply.headers["docker-content-digest"] == index
    assert reply.headers["content-type"] == kind
    reply.connection.close()
    assert digest(pair.manifest(second)) == second
    assert pair.blob(digest(b"for arm64")) == b"for arm64"


def docker_registry(stack, directory, address, port):
    """Debian's docker-registry on plain HTTP, until the stack ends."""
    config = directory / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        "storage: {filesystem: {rootdirectory: %s}}\n"
        "http: {addr: '%s:%d'}\n" % (directory / "registry", address, port))
    child = process.start(["docker-registry", "serve", config],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.end, child)
    end = time.monotonic() + 30
    while True:  # it tells nobody when it listens
        try:
            urllib.request.urlopen("http://%s:%d/v2/" % (address, port),
                                   timeout=5)
            return
        except OSError:
            assert time.monotonic() < end and child.poll() is None


def skopeo(*arguments):
    subprocess.run(["skopeo", "copy", "-q", *map(str, arguments)], check=True)


def test_skopeo_through_the_hub(pair, tmp_path):
    """It takes no port amid a name, so that of plain HTTP it is."""
    pushed(pair)
    certificates = pair.origin.directory / "operator.d"
    with contextlib.ExitStack() as stack:
        docker_registry(stack, tmp_path, "127.77.0.1", 80)
        skopeo("--src-cert-dir", certificates, "--dest-tls-verify=false",
               "docker://localhost:%d/team/web:1" % pair.origin.port,
               "docker://127.77.0.1/team/web:1")
        pair.hub.stop()
        pair.configure({"host": "127.77.0.1", "plain": True}, {"host": "*"})
        pair.hub.start()
        for n in range(2):
            skopeo("--src-cert-dir", pair.hub.directory / "operator.d",
                   "docker://localhost:%d/127.77.0.1/team/web:1" %
                   pair.hub.port, "dir:%s" % (tmp_path / str(n)))
            stack.close()  # the second time from the cache
    first, second = (sorted(p.name for p in (tmp_path / n).iterdir())
                     for n in "01")
    assert first == second and len(first) == 4


def test_release_program_finds_names(tmp_path):
    """Confined as it is: a child looks into /etc/hosts, and asks for a name
    that nobody has."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        docker_registry(stack, tmp_path, "127.0.0.1", port)
        host = "localhost:%d" % port
        hub = stack.enter_context(contextlib.closing(
            Hub(tmp_path / "hub", BUILD / "x86_64/bin/zhub")))
        path = hub.directory / "hub.json"
        path.write_text(json.dumps({
            **json.loads(path.read_text()),
            "upstreams": [{"host": host, "plain": True}, {"host": "*"}]}))
        hub.start()
        image = push(hub, "web", "1", b"layer")
        skopeo("--src-cert-dir", hub.directory / "operator.d",
               "--dest-tls-verify=false",
               "docker://localhost:%d/web:1" % hub.port,
               "docker://%s/web:1" % host)
        assert digest(hub.operator.ask(
            "GET", "/v2/%s/web/manifests/1" % host)) == image
        with pytest.raises(Refused) as refused:
            hub.operator.get("/v2/registry.invalid/web/manifests/1")
        assert refused.value.status == 503
        assert hub.rss_kb() <= 12 << 10
        hub.stop()
