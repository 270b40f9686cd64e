"""The registry: skopeo as people use it, and the wire below."""

import base64
import contextlib
import gzip
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile
import threading

import pytest

from agent import until
from hub import Client, Node, Refused
from registry import MANIFEST, digest, push, push_blob, push_manifest

INDEX = "application/vnd.oci.image.index.v1+json"


def skopeo(*arguments, check=True):
    done = subprocess.run(["skopeo", *map(str, arguments)], text=True,
                          capture_output=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def layout_digests(path):
    return sorted(p.name for p in (path / "blobs/sha256").iterdir())


@pytest.fixture
def image(tmp_path):
    """A small OCI layout."""
    layout = tmp_path / "image"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data, kind):
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("noise")
        entry.size = 3 << 20
        archive.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    tar = tar.getvalue()
    layer = gzip.compress(tar, 1)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": [digest(tar)]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": blob(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip")]})
    entry = blob(manifest.encode(), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout


def test_skopeo_pushes_and_pulls(hub, image, tmp_path):
    where = "docker://localhost:%d/team/web:1" % hub.port
    certificates = hub.directory / "operator.d"
    skopeo("copy", "--dest-cert-dir", certificates, "oci:%s:latest" % image,
           where)
    skopeo("copy", "--dest-cert-dir", certificates, "oci:%s:latest" % image,
           where)  # again: nothing is sent twice
    skopeo("copy", "--src-cert-dir", certificates, where,
           "oci:%s:latest" % (tmp_path / "back"))
    assert layout_digests(tmp_path / "back") == layout_digests(image)
    listed, = hub.operator.get("/v1/images")["images"]
    assert listed["repository"] == "team/web" and listed["tag"] == "1"
    assert listed["size"] > 3 << 20
    assert hub.operator.get("/v2/team/web/tags/list")["tags"] == ["1"]
    assert hub.operator.get("/v2/_catalog")["repositories"] == ["team/web"]


def test_skopeo_with_tokens(hub, image, tmp_path):
    certificates = tmp_path / "ca"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(hub.root.read_bytes())
    where = "docker://localhost:%d/web:1" % hub.port
    copy = ("copy", "--dest-cert-dir", certificates)
    assert skopeo(*copy, "oci:%s:latest" % image, where,
                  check=False).returncode != 0
    skopeo(*copy, "--dest-creds", "me:" + hub.token("--registry"),
           "oci:%s:latest" % image, where)
    node = Node(hub, tmp_path, "n1")
    pull = node.client.ask("POST", "/v1/nodes/%s/pull-token" % node.id)
    assert pull["registry"] == "localhost:%d" % hub.port
    bearer = {"authorization": "Bearer " + pull["token"]}
    manifest = hub.anyone().ask("GET", "/v2/web/manifests/1", None, bearer)
    assert json.loads(manifest)["schemaVersion"] == 2
    with pytest.raises(Refused) as refused:
        hub.anyone().ask("POST", "/v2/web/blobs/uploads/", "", bearer)
    assert refused.value.status == 403
    for bad in ("Bearer x", "Bearer %s.x" % node.id, "Basic x", "Basic " +
                base64.b64encode(b"me:%s.x" % node.id.encode()).decode()):
        with pytest.raises(Refused) as refused:
            hub.anyone().ask("GET", "/v2/", None, {"authorization": bad})
        assert refused.value.status == 401
    hub.operator.ask("POST", "/v1/nodes/n1/revoke")
    with pytest.raises(Refused):
        hub.anyone().ask("GET", "/v2/", None, bearer)


@pytest.fixture
def store():
    """Where podman keeps its images; it wants short paths."""
    with tempfile.TemporaryDirectory(prefix="pod-") as directory:
        (pathlib.Path(directory) / "auth.json").write_text("{}")
        yield pathlib.Path(directory)


def podman(store, *arguments, check=True):
    """Nothing is run, so no cgroup matters."""
    done = subprocess.run(
        ["podman", "--root", store / "root", "--runroot", store / "run",
         "--storage-driver", "vfs", *map(str, arguments)], text=True,
        capture_output=True, timeout=120,
        env={**os.environ, "REGISTRY_AUTH_FILE": str(store / "auth.json")})
    assert not check or done.returncode == 0, done.stderr
    return done


def test_podman_pushes_and_pulls(hub, image, store, tmp_path):
    """By certificate, by token, and without either."""
    certificates = hub.directory / "operator.d"
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_bytes(hub.root.read_bytes())
    where = "localhost:%d/team/web" % hub.port
    loaded = podman(store, "pull", "-q", "oci:%s:latest" % image).stdout.strip()
    podman(store, "push", "--cert-dir", certificates, loaded, where + ":1")
    podman(store, "push", "--cert-dir", trust, "--creds",
           "me:" + hub.token("--registry"), loaded, where + ":2")
    assert hub.operator.get("/v2/team/web/tags/list")["tags"] == ["1", "2"]
    for tag in ("1", "2"):
        refused = podman(store, "push", "--cert-dir", trust, loaded,
                         where + ":" + tag, check=False)
        assert refused.returncode != 0
        # As podman 4 puts it, and as podman 5 does.
        assert re.search("unauthorized|authentication required",
                         refused.stderr), refused.stderr
    podman(store, "rmi", "--all", "--force")
    podman(store, "login", "--cert-dir", trust, "--username", "me",
           "--password", hub.token("--registry"), "localhost:%d" % hub.port)
    pulled = [podman(store, "pull", "-q", "--cert-dir", folder, where + tag)
              .stdout.strip() for folder, tag in ((certificates, ":1"),
                                                  (trust, ":2"))]
    assert pulled == [loaded, loaded]
    podman(store, "rmi", "--all", "--force")


def test_damaged_blob_is_found_and_mended_by_a_push(hub, image):
    """Whoever pulls it sees another digest; the hub sees it too."""
    where = "docker://localhost:%d/web:1" % hub.port
    push_it = ("copy", "--dest-cert-dir", hub.directory / "operator.d",
               "oci:%s:latest" % image, where)
    skopeo(*push_it)
    for name in layout_digests(image):
        stored = hub.directory / "blobs/sha256" / name[:2] / name
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 1
        stored.write_bytes(data)
        path = "/v2/web/blobs/sha256:" + name
        hub.operator.ask("GET", path)
        until(lambda: not stored.exists())
        with pytest.raises(Refused) as refused:
            hub.operator.ask("GET", path)
        assert refused.value.status == 404
    assert hub.said().count("damaged on the disk") == len(
        layout_digests(image))
    skopeo(*push_it)
    for name in layout_digests(image):
        assert digest(hub.operator.ask(
            "GET", "/v2/web/blobs/sha256:" + name))[7:] == name


def test_http1_connection_is_kept(hub):
    """Whole, HEAD, a range and an error, one after the other on one
    connection."""
    data = os.urandom(300000)
    push_blob(hub.operator, "web", data)
    path = "/v2/web/blobs/" + digest(data)
    with contextlib.closing(hub.operator.connect()) as connection:
        sockets = set()
        for method, where, headers, status, body in (
                ("GET", path, {}, 200, data),
                ("HEAD", path, {}, 200, b""),
                ("GET", path, {"range": "bytes=7-299"}, 206, data[7:300]),
                ("HEAD", path + "0", {}, 400, b""),
                ("GET", "/v2/web/manifests/none", {}, 404, None),
                ("GET", path, {"range": "bytes=-5"}, 206, data[-5:]),
                ("GET", path, {"range": "bytes=-0"}, 416, None),
                ("GET", "/v2/", {}, 200, b"{}")):
            connection.request(method, where, headers=headers)
            reply = connection.getresponse()
            got = reply.read()
            assert reply.status == status, (method, where, headers)
            assert body is None or got == body
            if method == "HEAD" and status == 200:
                assert reply.headers["content-length"] == str(len(data))
            sockets.add(connection.sock.fileno())
            sockets.add(id(connection.sock))
        assert len(sockets) == 2, "it was the same all the time"


def location(reply):
    with contextlib.closing(reply.connection):
        reply.read()
    return reply.headers["location"], reply.headers.get("range")


def test_chunks_resume_after_sigkill(hub):
    data = os.urandom(1 << 20)
    half = len(data) // 2
    client = hub.operator
    where, _ = location(client.open("POST", "/v2/web/blobs/uploads/", ""))
    where, reached = location(client.open("PATCH", where, data[:half], {
        "content-range": "0-%d" % (half - 1)}))
    assert reached == "0-%d" % (half - 1)
    hub.kill()
    hub.start()
    where, reached = location(client.open("GET", where))
    assert reached == "0-%d" % (half - 1)
    with pytest.raises(Refused) as refused:
        client.open("PATCH", where, b"x", {"content-range": "7-7"})
    assert refused.value.status == 416
    location(client.open("PATCH", where, data[half:]))
    with pytest.raises(Refused) as refused:
        client.ask("GET", "/v2/web/blobs/" + digest(data))
    assert refused.value.status == 404, "not before it is complete"
    reply = client.open("PUT", "%s?digest=%s" % (where, digest(data)), b"")
    assert location(reply)[0] == "/v2/web/blobs/" + digest(data)
    assert client.ask("GET", "/v2/web/blobs/" + digest(data)) == data
    mounted = client.open("POST", "/v2/other/blobs/uploads/?mount=%s&from=web"
                          % digest(data), "")
    assert mounted.status == 201
    mounted.connection.close()


def test_ranges(hub):
    data = bytes(range(256)) * 100
    push_blob(hub.operator, "web", data)
    path = "/v2/web/blobs/" + digest(data)
    rows = [("bytes=0-9", data[:10]), ("bytes=100-", data[100:]),
            ("bytes=25590-99999", data[25590:]), ("lines=1-2", data)]
    for value, expected in rows:
        assert hub.operator.ask("GET", path, None, {"range": value}) == \
            expected, value
    with pytest.raises(Refused) as refused:
        hub.operator.ask("GET", path, None, {"range": "bytes=25600-"})
    assert refused.value.status == 416


def test_bytes_of_another_digest_are_refused(hub):
    good = digest(b"what was meant")
    with pytest.raises(Refused) as refused:
        hub.operator.ask("POST", "/v2/web/blobs/uploads/?digest=" + good,
                         b"what was ment")
    assert refused.value.status == 400
    with pytest.raises(Refused):
        hub.operator.ask("GET", "/v2/web/blobs/" + good)
    assert not list((hub.directory / "uploads").iterdir())


BAD_MANIFESTS = {
    "no JSON": (b"{", "MANIFEST_INVALID"),
    "no schema": (b"{}", "MANIFEST_INVALID"),
    "a blob that is not here": (json.dumps({
        "schemaVersion": 2, "config": {"digest": digest(b"none")}}).encode(),
        "MANIFEST_BLOB_UNKNOWN"),
    "a digest that is none": (json.dumps({
        "schemaVersion": 2, "config": {"digest": "../x"}}).encode(),
        "MANIFEST_INVALID"),
    "nothing": (b"", "MANIFEST_INVALID"),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_bad_manifest(hub, name):
    data, code = BAD_MANIFESTS[name]
    with pytest.raises(Refused, match=code) as refused:
        hub.operator.ask("PUT", "/v2/web/manifests/1", data,
                         {"content-type": MANIFEST})
    assert refused.value.status == 400


@pytest.mark.parametrize("path", [
    "/v2/Web/manifests/1", "/v2/a..b/manifests/1", "/v2/../manifests/1",
    "/v2/web/manifests/-x", "/v2/web/manifests/" + "x" * 200,
    "/v2/web/blobs/sha256:xyz", "/v2/web/nothing", "/v2/" + "a/" * 150 +
    "b/manifests/1", "/v2/web/blobs/uploads/../../x", "/v2//manifests/1"])
def test_bad_path(hub, path):
    with pytest.raises(Refused) as refused:
        hub.operator.ask("GET", path)
    assert refused.value.status in (400, 404)


def test_index_tags_referrers_and_deletion(hub):
    first = push(hub, "web", "1", b"layer")
    index = push_manifest(hub.operator, "web", "all", {
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": MANIFEST, "digest": first, "size": 1,
             "platform": {"os": "linux", "architecture": "amd64"}},
            {"mediaType": MANIFEST, "digest": digest(b"absent"), "size": 1}]},
        INDEX)
    reply = hub.operator.open("HEAD", "/v2/web/manifests/all")
    assert reply.headers["docker-content-digest"] == index
    assert reply.headers["content-type"] == INDEX
    reply.connection.close()
    about = push(hub, "web", "signature", b"signed", artifactType="x/y",
                 subject={"mediaType": MANIFEST, "digest": first, "size": 1})
    listed = json.loads(hub.operator.ask("GET", "/v2/web/referrers/" + first))
    assert [m["digest"] for m in listed["manifests"]] == [about]
    assert listed["manifests"][0]["artifactType"] == "x/y"
    assert json.loads(hub.operator.ask("GET", "/v2/web/referrers/" + about)) \
        ["manifests"] == []
    page = hub.operator.open("GET", "/v2/web/tags/list?n=2")
    assert json.loads(page.read())["tags"] == ["1", "all"]
    assert "last=all" in page.headers["link"]
    page.connection.close()
    rest = hub.operator.get("/v2/web/tags/list?n=2&last=all")
    assert rest["tags"] == ["signature"]
    hub.operator.ask("DELETE", "/v2/web/manifests/1")
    with pytest.raises(Refused):
        hub.operator.ask("GET", "/v2/web/manifests/1")
    assert hub.operator.ask("GET", "/v2/web/manifests/" + first)
    hub.operator.ask("DELETE", "/v2/web/manifests/" + about)
    assert hub.operator.get("/v2/web/tags/list")["tags"] == ["all"]
    listed = json.loads(hub.operator.ask("GET", "/v2/web/referrers/" + first))
    assert listed["manifests"] == []


def test_many_pushes_at_once(hub):
    def one(n):
        push(hub, "web", "t%d" % n, b"layer %d" % n,
             Client(hub, hub.directory / "operator.d/client.cert",
                    hub.directory / "operator.d/client.key"))
    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.operator.get("/v2/web/tags/list")["tags"]) == 16


def test_hub_killed_during_a_push(hub, image):
    for n in range(3):
        push_process = subprocess.Popen(
            ["skopeo", "copy", "--dest-cert-dir",
             str(hub.directory / "operator.d"), "oci:%s:latest" % image,
             "docker://localhost:%d/web:%d" % (hub.port, n)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        push_process.stdout.readline()
        hub.kill()
        push_process.communicate()
        hub.start()
        for tag in range(n + 1):
            try:
                manifest = json.loads(hub.operator.ask(
                    "GET", "/v2/web/manifests/%d" % tag))
            except Refused as refused:
                assert refused.status == 404
                continue
            for blob in [manifest["config"], *manifest["layers"]]:
                assert digest(hub.operator.ask(
                    "GET", "/v2/web/blobs/" + blob["digest"])) == \
                    blob["digest"]
