"""zpull fetch, with the sanitizers in it, against registries on loopback:
Debian's docker-registry, and one that misbehaves."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

import pytest

from zooid import BUILD, image
from zooid.registries import (Authority, DockerRegistry, Registry, cut_after,
                              digest, flipped, seeded)

ZPULL = BUILD / "host/bin/zpull"
# A confined process cannot be looked into for leaks.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:exitcode=99",
               "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99"}
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def fetch(reference, layout, *options, status=0):
    """Its output, standard error behind it."""
    done = subprocess.run([ZPULL, "fetch", *options, reference, layout],
                          text=True, capture_output=True, env=ENVIRONMENT,
                          timeout=120)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def fetch_plain(registry, layout, name="web", status=0):
    return fetch("%s/%s" % (registry.host, name), layout, "--plain-http",
                 "--platform", "linux/amd64", status=status)


def check(layout):
    """Every blob that the layout's image needs is there and whole."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs/sha256"
    manifest, = index["manifests"]
    data = (blobs / manifest["digest"][7:]).read_bytes()
    assert digest(data) == manifest["digest"]
    assert len(data) == manifest["size"]
    document = json.loads(data)
    for blob in [document["config"], *document["layers"]]:
        data = (blobs / blob["digest"][7:]).read_bytes()
        assert digest(data) == blob["digest"]
    assert not list(blobs.glob("*.tmp"))
    return manifest


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def registry():
    with contextlib.closing(Registry()) as made:
        yield made


@pytest.fixture
def layout(tmp_path):
    return tmp_path / "layout"


# ---- registries as they are

@pytest.mark.parametrize("plain", [True, False])
def test_docker_registry(tmp_path, layout, authority, plain):
    with contextlib.closing(DockerRegistry(
            tmp_path / "registry", None if plain else authority)) as registry:
        registry.push(image.httpd(), "team/web:1.0")
        options = ["--plain-http"] if plain else ["--ca", authority.ca]
        said = fetch(registry.host + "/team/web:1.0", layout, *options)
        manifest = check(layout)
        assert said == manifest["digest"] + "\n"
        assert manifest["annotations"] == {
            "org.opencontainers.image.ref.name": "1.0"}
        subprocess.run(["skopeo", "inspect", "oci:%s:1.0" % layout],
                       check=True, capture_output=True, timeout=60)
        asked = registry.log.read_text().count("/blobs/")
        fetch("%s/team/web@%s" % (registry.host, manifest["digest"]), layout,
              *options)
        assert registry.log.read_text().count("/blobs/") == asked
        said = fetch(registry.host + "/team/web:2", layout, *options, status=1)
        assert said == "zpull: %s/team/web:2: not there\n" % registry.host


def test_certificate_of_a_stranger(tmp_path, layout, authority):
    with contextlib.closing(Registry(authority)) as registry:
        registry.image(b"layer", architecture=ARCHITECTURE)
        said = fetch(registry.host + "/web", layout, status=1)
        assert "certificate" in said.lower()
        other = tmp_path / "other"
        other.mkdir()
        said = fetch(registry.host + "/web", layout, "--ca",
                     Authority(other).ca, status=1)
        assert "certificate" in said.lower()
        assert registry.asked == []
        fetch(registry.host + "/web", layout, "--ca", authority.ca)
        # Its name counts too: the certificate has no 127.0.0.2.
        said = fetch("127.0.0.2:%d/web" % registry.server_port, layout, "--ca",
                     authority.ca, status=111)
        assert "127.0.0.2" in said


def test_name_is_resolved(layout, registry):
    registry.image(b"layer")
    fetch("localhost:%d/web" % registry.server_port, layout, "--plain-http",
          "--platform", "linux/amd64")
    check(layout)
    said = fetch("no-such-host.invalid/web", layout, status=111)
    assert "the name no-such-host.invalid is not known here" in said


def test_index_of_platforms(layout, registry):
    entries = []
    for name in ("arm64", "amd64"):
        descriptor = registry.image(name.encode(), tag=None,
                                    architecture=name)
        entries.append({**descriptor, "platform": {
            "os": "linux", "architecture": name}})
    index = registry.document("web", {"schemaVersion": 2,
                                      "manifests": entries}, "index.v1+json",
                              "latest")
    assert fetch_plain(registry, layout) == entries[1]["digest"] + "\n"
    assert check(layout)["digest"] == entries[1]["digest"]
    assert not registry.paths(entries[0]["digest"])
    assert (layout / "blobs/sha256" / index["digest"][7:]).exists()
    said = fetch(registry.host + "/web", layout, "--plain-http", "--platform",
                 "linux/riscv64", status=1)
    assert "web: image index: no image for linux/riscv64" in said


def test_image_for_another_machine(layout, registry):
    """Noticed before its layers are fetched."""
    layer = seeded(100000)
    registry.image(layer, architecture="riscv64")
    said = fetch_plain(registry, layout, status=1)
    assert "web: made for linux/riscv64, wanted for linux/amd64" in said
    assert not registry.paths(digest(layer))


def test_tokens(tmp_path, layout, authority):
    """Anonymous, then with credentials; only the service sees them."""
    with contextlib.closing(Registry(authority, token="secret")) as registry:
        registry.image(b"layer", architecture=ARCHITECTURE)
        asked = []

        def service(handler, *_):
            asked.append((handler.path, handler.headers["Authorization"]))
            handler.reply(200, b'{"token":"secret"}')
        registry.rules["/token"] = service
        fetch(registry.host + "/web", layout, "--ca", authority.ca)
        assert asked == [(
            "/token?service=here&scope=repository%3aweb%3apull", None)]
        login = tmp_path / "login"
        login.write_text("me:pass word\n")
        fetch(registry.host + "/web", layout, "--ca", authority.ca, "--login",
              login)
        assert asked[1][1] == "Basic bWU6cGFzcyB3b3Jk"
        registry.rules["/token"] = lambda handler, *_: handler.reply(401)
        said = fetch(registry.host + "/web", layout, "--ca", authority.ca,
                     status=100)
        assert "the token service refuses it" in said
        registry.rules["/token"] = lambda handler, *_: handler.reply(
            200, b'{"token":"other"}')
        said = fetch(registry.host + "/web", layout, "--ca", authority.ca,
                     status=100)
        assert "not allowed, or no such repository" in said
        registry.rules["/token"] = lambda handler, *_: handler.reply(
            200, b'{"token":"a\\r\\nb"}')
        said = fetch(registry.host + "/web", layout, "--ca", authority.ca,
                     status=1)
        assert "sent no token" in said


def test_basic_authentication(tmp_path, layout, registry):
    registry.image(b"layer")
    path = "/v2/web/manifests/latest"
    document = registry.documents[path]

    def rule(handler, *_):
        if handler.headers["Authorization"] == "Basic bWU6eA==":
            handler.reply(200, document[1])
        else:
            handler.challenge('Basic realm="x"')
    registry.rules[path] = rule
    said = fetch_plain(registry, layout, status=100)
    assert "wants credentials" in said
    login = tmp_path / "login"
    login.write_text("me:x")
    fetch(registry.host + "/web", layout, "--plain-http", "--platform",
          "linux/amd64", "--login", login)


def test_redirected_blob_without_credentials(tmp_path, layout, authority):
    """As public registries do: the blob lies at somebody else's."""
    with contextlib.ExitStack() as stack:
        registry, store = [
            stack.enter_context(contextlib.closing(made))
            for made in (Registry(authority, token="secret"),
                         Registry(authority))]
        layer = seeded(100000)
        registry.image(layer, architecture=ARCHITECTURE)
        registry.rules["/token"] = lambda handler, *_: handler.reply(
            200, b'{"access_token":"secret"}')
        name = digest(layer)
        store.blobs[name] = layer
        where = "%s/blobs/%s" % (store.url, name)
        registry.rules[name] = lambda handler, *_: handler.reply(
            307, b"", {"Location": where})
        fetch(registry.host + "/web", layout, "--ca", authority.ca)
        check(layout)
        (path, headers), = store.asked
        assert path.endswith(name) and "Authorization" not in headers
        # Away from TLS nothing leads.
        registry.rules[name] = lambda handler, *_: handler.reply(
            302, b"", {"Location": where.replace("https", "http")})
        (layout / "blobs/sha256" / name[7:]).unlink()
        said = fetch(registry.host + "/web", layout, "--ca", authority.ca,
                     status=1)
        assert "redirected from HTTPS to plain HTTP" in said


# ---- bad links: what came is not sent again

def test_cut_bodies_are_resumed(layout, registry):
    layer = seeded(2 << 20)
    registry.image(layer)
    registry.rules[digest(layer)] = cut_after(300000)
    fetch_plain(registry, layout)
    check(layout)
    assert len(registry.paths(digest(layer))) == 7
    assert registry.sent[digest(layer)] == len(layer)


def test_goes_on_where_a_killed_one_was(layout, registry):
    layer = seeded(4 << 20)
    registry.image(layer)
    half = layout / "blobs/sha256" / (digest(layer)[7:] + ".tmp")
    half.parent.mkdir(parents=True)
    half.write_bytes(layer[:3000000])
    fetch_plain(registry, layout)
    check(layout)
    assert registry.sent[digest(layer)] == len(layer) - 3000000


def test_damaged_beginning_is_fetched_anew(layout, registry):
    layer = seeded(1 << 20)
    registry.image(layer)
    half = layout / "blobs/sha256" / (digest(layer)[7:] + ".tmp")
    half.parent.mkdir(parents=True)
    for damaged in (b"x" + layer[1:500000],  # a bit that flipped
                    b"x" + layer[1:],	     # all there, and wrong
                    layer + b"more"):
        half.write_bytes(damaged)
        (layout / "blobs/sha256" / digest(layer)[7:]).unlink(True)
        fetch_plain(registry, layout)
        check(layout)


def test_registry_without_ranges(layout, registry):
    layer = seeded(1 << 20)
    registry.image(layer)
    half = layout / "blobs/sha256" / (digest(layer)[7:] + ".tmp")
    half.parent.mkdir(parents=True)
    half.write_bytes(layer[:500000])
    registry.rules[digest(layer)] = \
        lambda handler, data, first: handler.part(data, 0)
    fetch_plain(registry, layout)
    check(layout)


def test_range_not_satisfiable(layout, registry):
    layer = seeded(100000)
    registry.image(layer)
    half = layout / "blobs/sha256" / (digest(layer)[7:] + ".tmp")
    half.parent.mkdir(parents=True)
    half.write_bytes(layer[:50000])
    registry.rules[digest(layer)] = lambda handler, data, first: \
        handler.reply(416) if first else handler.part(data, 0)
    fetch_plain(registry, layout)
    check(layout)


def test_busy_registry_is_asked_again(layout, registry):
    layer = seeded(1000)
    registry.image(layer)
    count = []

    def busy(handler, data, first):
        count.append(time.monotonic())
        if len(count) <= 2:
            handler.reply(503 if len(count) == 1 else 429, b"",
                          {"Retry-After": "1"})
        else:
            handler.part(data, first)
    registry.rules[digest(layer)] = busy
    fetch_plain(registry, layout)
    assert count[1] - count[0] >= 1 and count[2] - count[1] >= 1
    registry.rules["/v2/web/manifests/latest"] = \
        lambda handler, *_: handler.reply(500)
    said = fetch_plain(registry, layout, status=111)
    assert "web:latest: busy, status 500" in said
    assert len(registry.paths("manifests")) == 1 + 5


def test_nobody_there(layout):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        host = "127.0.0.1:%d" % sock.getsockname()[1]
        said = fetch(host + "/web", layout, "--plain-http", status=111)
    assert re.match(r"zpull: %s/web:latest: .*connect" % host, said)


# ---- registries that mean ill

def refused(registry, layout, layer, text, status=1):
    said = fetch_plain(registry, layout, status=status)
    assert text in said, said
    blobs = layout / "blobs/sha256"
    assert not (blobs / digest(layer)[7:]).exists()
    assert not (layout / "index.json").exists()


def test_flipped_bit(layout, registry):
    layer = seeded(300000)
    registry.image(layer)
    registry.rules[digest(layer)] = flipped()
    refused(registry, layout, layer, "its bytes have another digest")
    assert len(registry.paths(digest(layer))) == 2
    registry.rules[digest(layer)] = flipped(times=1)
    fetch_plain(registry, layout)
    check(layout)


def test_flipped_bit_in_documents(layout, registry):
    manifest = registry.image(b"layer")
    path = "/v2/web/manifests/" + manifest["digest"]
    kind, data = registry.documents[path]
    registry.documents[path] = kind, data.replace(b"layers", b"Layers")
    said = fetch_plain(registry, layout, "web@" + manifest["digest"], 1)
    assert "its bytes have another digest" in said


@pytest.mark.parametrize("name, value", [
    ("starts elsewhere", "bytes 1-%(last)d/%(size)d"),
    ("another size", "bytes %(first)d-%(last)d/99"),
    ("past the end", "bytes %(first)d-%(size)d/*"),
    ("none", None)])
def test_wrong_ranges(layout, registry, name, value):
    layer = seeded(100000)
    registry.image(layer)
    half = layout / "blobs/sha256" / (digest(layer)[7:] + ".tmp")
    half.parent.mkdir(parents=True)

    def rule(handler, data, first):
        text = value and value % {"first": first, "last": len(data) - 1,
                                  "size": len(data)}
        handler.head(206, len(data) - first,
                     {"Content-Range": text} if text else {})
        handler.send(data[first:])
    registry.rules[digest(layer)] = rule
    half.write_bytes(layer[:50000])
    refused(registry, layout, layer,
            "another range came than was asked for")


def endless(handler, data, first):
    handler.head(200, None, {"Transfer-Encoding": "chunked"})
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"4000\r\n" + bytes(0x4000) + b"\r\n")
    handler.close_connection = True


def test_endless_bodies(layout, registry):
    layer = seeded(100000)
    registry.image(layer)
    registry.rules[digest(layer)] = endless
    refused(registry, layout, layer, "more bytes came than its size 100000")
    registry.rules["/v2/web/manifests/latest"] = endless
    said = fetch_plain(registry, layout, status=1)
    assert "more than 4096 KB of text" in said
    # An error's body is not read to its end either.

    def error(handler, *_):
        handler.head(404, None, {"Transfer-Encoding": "chunked"})
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"4000\r\n" + bytes(0x4000) + b"\r\n")
        handler.close_connection = True
    registry.rules["/v2/web/manifests/latest"] = error
    assert "not there" in fetch_plain(registry, layout, status=1)


def test_wrong_lengths(layout, registry):
    layer = seeded(100000)
    registry.image(layer)

    def longer(handler, data, first):
        handler.head(200, len(data) + 1)
        handler.send(data + b"x")
    registry.rules[digest(layer)] = longer
    refused(registry, layout, layer,
            "100001 bytes are offered where 100000 are to come")
    registry.rules[digest(layer)] = \
        lambda handler, data, first: handler.reply(200, data[:99999])
    refused(registry, layout, layer, "cut after 99999 of 100000 bytes", 111)


@pytest.mark.parametrize("text, why", [
    (b" " * (5 << 20), "more than 4096 KB of text"),
    (b"", "empty"),
    (b"{}", "web: manifest: "),
    (b"[" * 100000, "web: manifest: "),
    (b"<html>", "web: manifest: "),
    (b'{"schemaVersion":2,"manifests":[]}', "no image for linux/amd64"),
    (b'{"schemaVersion":2,"manifests":7}', "web: manifest: ")])
def test_documents_that_are_none(layout, registry, text, why):
    registry.document("web", text, "manifest.v1+json", "latest")
    assert why in fetch_plain(registry, layout, status=1)


def test_redirects_without_end(layout, registry):
    path = "/v2/web/manifests/latest"
    registry.rules[path] = lambda handler, *_: handler.reply(
        302, b"", {"Location": path})
    said = fetch_plain(registry, layout, status=1)
    assert "redirected without end" in said
    assert len(registry.asked) == 6
    for to in ("", "ftp://127.0.0.1/x", "file:///etc/passwd",
               "http://user:word@%s/x" % registry.host, "http://[::1/x"):
        registry.rules[path] = lambda handler, *_, to=to: handler.reply(
            302, b"", {"Location": to})
        said = fetch_plain(registry, layout, status=1)
        assert said.startswith("zpull: %s/web" % registry.host), said


def test_headers_without_end(layout, registry):
    def rule(handler, *_):
        handler.send_response(200)
        handler.flush_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"X-Header: %s\r\n" % (b"x" * 8000))
        handler.close_connection = True
    registry.rules["/v2/web/manifests/latest"] = rule
    said = fetch_plain(registry, layout, status=111)
    assert "Too large response headers" in said


def test_slow_loris(layout, registry):
    """A byte now and then is not enough, in a header or in a body."""
    layer = seeded(100000)
    registry.image(layer)

    def drip(handler, data):
        with contextlib.suppress(OSError):
            for i in range(len(data)):
                handler.wfile.write(data[i:i + 1])
                handler.connection.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    if not handler.connection.recv(1):
                        return
        handler.close_connection = True

    def rule(handler, data, first):
        handler.head(200, len(data))
        drip(handler, data)
    registry.rules[digest(layer)] = rule
    start = time.monotonic()
    refused(registry, layout, layer, "web: blob", 111)
    assert time.monotonic() - start < 60


def test_not_a_registry(layout, authority):
    """TLS to one without, garbage, and a door that closes."""
    with contextlib.closing(Registry()) as registry:
        said = fetch(registry.host + "/web", layout, status=111)
        assert said.startswith("zpull: %s/web:latest: " % registry.host)
        registry.rules["/v2/web/manifests/latest"] = \
            lambda handler, *_: handler.wfile.write(b"SSH-2.0-hello\r\n") \
            and handler.cut()
        fetch_plain(registry, layout, status=1)
        registry.rules["/v2/web/manifests/latest"] = \
            lambda handler, *_: handler.cut()
        fetch_plain(registry, layout, status=111)


# ---- usage

@pytest.mark.parametrize("arguments, status, text", [
    ([], 2, "usage: zpull"),
    (["--help"], 0, "usage: zpull"),
    (["push"], 2, "usage: zpull"),
    (["fetch", "busybox"], 2, "usage: zpull"),
    (["fetch", "busybox", "layout"], 2, "busybox: names no registry"),
    (["fetch", "Busybox", "x"], 2, "zpull: Busybox: no image reference\n"),
    (["fetch", "--platform", "linux", "a", "x"], 2,
     "zpull: linux: want OS/ARCH, linux/arm64\n"),
    (["fetch", "--plain-http", "--ca", "a", "b", "x"], 2,
     "zpull: --ca: not with --plain-http\n"),
    (["fetch", "--ca", "/no/such", "h.example/b", "x"], 1,
     "zpull: /no/such: No such file or directory\n"),
    (["fetch", "h.example/b", "/no/such/layout"], 1,
     "zpull: /no/such/layout: No such file or directory\n"),
    (["fetch", "--login", "/dev/null", "h.example/b", "x"], 1,
     "zpull: /dev/null: want one line USER:PASSWORD\n"),
])
def test_usage(tmp_path, arguments, status, text):
    done = subprocess.run(
        [ZPULL, *(arguments or ["--no-such"])], text=True,
        capture_output=True, env=ENVIRONMENT, cwd=tmp_path, timeout=30)
    assert done.returncode == status
    assert text in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
