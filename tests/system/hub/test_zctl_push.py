"""Images on their way to the hub."""

import json
import re
import shutil
import signal
import subprocess
import time

import pytest

from hub import Refused
from registry import MANIFEST, digest
from zctl import FAILED, INTERRUPTED, USAGE, WAIT_S, Zctl
from zooid import image

INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def zctl(hub, tmp_path):
    return Zctl(hub.directory, tmp_path)


@pytest.fixture
def layout(tmp_path):
    """Busybox with a page, made by umoci: a copy that tests may break."""
    copy = tmp_path / "httpd"
    shutil.copytree(image.httpd(), copy)
    return copy


def blob_put(layout, data, media):
    path = image.blobs(layout) / digest(data).split(":")[1]
    path.write_bytes(data)
    return {"mediaType": media, "digest": digest(data), "size": len(data)}


def manifest_put(layout, *layers):
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                "config": blob_put(layout, b"{}", CONFIG),
                "layers": [blob_put(layout, data, LAYER) for data in layers]}
    return blob_put(layout, json.dumps(manifest).encode(), MANIFEST)


def named(layout, **entries):
    """Writes index.json: what is called what."""
    manifests = [{**entry, "annotations": {
        "org.opencontainers.image.ref.name": name}}
        for name, entry in entries.items()]
    (layout / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": manifests}))


def made(path, **entries):
    """A layout of these images."""
    image.blobs(path).mkdir(parents=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named(path, **{name: manifest_put(path, data)
                   for name, data in entries.items()})
    return path


def test_push_and_images(hub, zctl, layout):
    line, = zctl("push", layout)
    name, _, pushed = line.partition("@")
    assert name == "hub/httpd:latest"
    assert pushed == "sha256:" + image.blob(layout, "manifest").name
    assert zctl("images")[1].split()[:3] == [
        "hub/httpd", "latest", pushed[:19]]
    for blob in ("config", "layer"):
        path = image.blob(layout, blob)
        assert hub.operator.ask("GET", "/v2/httpd/blobs/sha256:" +
                                path.name) == path.read_bytes()
    done = zctl.json("push", "--name", "hub/shop/web:1.2", layout)
    assert done == {"repository": "shop/web", "tag": "1.2", "digest": pushed,
                    "bytes": done["bytes"], "sent_bytes": 0}
    out = zctl.run("push", layout)
    assert out.stderr.count("are there") == 2


def test_what_was_pushed_runs_elsewhere(hub, zctl, layout, tmp_path):
    zctl("push", "--name", "web:1", layout)
    subprocess.run(
        ["skopeo", "copy", "--src-cert-dir",
         str(hub.directory / "operator.d"),
         "docker://localhost:%d/web:1" % hub.port,
         "oci:%s:latest" % (tmp_path / "copy")], check=True,
        capture_output=True)
    assert image.manifest(tmp_path / "copy") == image.manifest(layout)


@pytest.mark.parametrize("form", ["ustar", "gnu", "pax"])
def test_archive(zctl, layout, tmp_path, form):
    subprocess.run(["tar", "--format", form, "-C", layout, "-cf",
                    tmp_path / "Web.tar", "."], check=True)
    assert zctl("push", "Web.tar")[0].startswith("hub/web:latest@")


def test_archive_by_skopeo(zctl, layout, tmp_path):
    subprocess.run(["skopeo", "copy", "oci:%s:latest" % layout,
                    "oci-archive:%s:v3" % (tmp_path / "httpd.tar")],
                   check=True, capture_output=True)
    assert zctl("push", "httpd.tar")[0].startswith("hub/httpd:v3@")


def test_docker_archive_is_refused_with_the_way(zctl, layout, tmp_path):
    subprocess.run(["skopeo", "copy", "oci:%s:latest" % layout,
                    "docker-archive:%s" % (tmp_path / "d.tar")],
                   check=True, capture_output=True)
    assert zctl.fails("push", "d.tar") == (
        "d.tar: is a docker-archive; make another of it: skopeo copy "
        "docker-archive:FILE oci-archive:NEW.tar")
    subprocess.run(["gzip", tmp_path / "d.tar"], check=True)
    assert "unpack it with gzip -d" in zctl.fails("push", "d.tar.gz")


def test_one_of_several(hub, zctl, tmp_path):
    path = made(tmp_path / "two", one=b"1", two=b"2")
    assert "holds 2 images (one, two): say FILE:TAG" in zctl.fails(
        "push", path)
    assert "no image three in it, only one, two" in zctl.fails(
        "push", "%s:three" % path)
    assert zctl("push", "%s:two" % path)[0].startswith("hub/two:two@")
    listed, = zctl.json("images")["images"]
    assert listed["tag"] == "two"


def test_image_for_several_platforms(hub, zctl, tmp_path):
    path = made(tmp_path / "multi")
    inner = [{**manifest_put(path, b"layer of " + arch.encode()),
              "platform": {"os": "linux", "architecture": arch}}
             for arch in ("amd64", "arm64")]
    # As buildx adds it: of no platform, with layers that no node unpacks.
    note = {"schemaVersion": 2, "mediaType": MANIFEST,
            "config": blob_put(path, b"{}", CONFIG),
            "layers": [blob_put(path, b"[]", "application/vnd.in-toto+json")]}
    inner.append({**blob_put(path, json.dumps(note).encode(), MANIFEST),
                  "platform": {"os": "unknown", "architecture": "unknown"}})
    whole = blob_put(path, json.dumps({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": inner}).encode(),
        INDEX)
    named(path, latest=whole)
    assert zctl("push", path) == ["hub/multi:latest@" + whole["digest"]]
    for part in inner:
        assert hub.operator.ask("GET", "/v2/multi/manifests/" + part["digest"])


def damaged(path):
    image.flip_bit(image.blob(path, "manifest"), 30)


def shortened(path):
    layer = image.blob(path, "layer")
    layer.write_bytes(layer.read_bytes()[:-1])


def twisted(path):
    image.flip_bit(image.blob(path, "layer"), 1000)


def without_a_layer(path):
    image.blob(path, "layer").unlink()


def without_a_manifest(path):
    image.blob(path, "manifest").unlink()


def led_astray(path):
    layer = image.blob(path, "layer")
    layer.unlink()
    layer.symlink_to("/etc/passwd")


def without_an_image(path):
    named(path)


def without_json(path):
    (path / "index.json").write_text("{")


def of_another_time(path):
    (path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')


BROKEN = {
    damaged: "is damaged", shortened: "bytes, not",
    twisted: "sha256:", without_a_layer: "is missing from the layout",
    without_a_manifest: "is missing from the layout",
    led_astray: "leads out of the layout",
    without_an_image: "holds no image", without_json: "index",
    of_another_time: "imageLayoutVersion: want 1",
}


@pytest.mark.parametrize("fault", BROKEN, ids=lambda f: f.__name__)
def test_broken_layout_leaves_no_name(zctl, layout, fault):
    fault(layout)
    done = zctl.run("push", layout, code=FAILED)
    assert done.stdout == "" and BROKEN[fault] in done.stderr.splitlines()[-1]
    assert zctl.json("images")["images"] == []


def test_archive_that_is_cut(zctl, layout, tmp_path):
    path = tmp_path / "cut.tar"
    subprocess.run(["tar", "-C", layout, "-cf", path, "."], check=True)
    path.write_bytes(path.read_bytes()[:500000])
    assert "is no folder and no whole tar archive" in zctl.fails("push", path)


@pytest.mark.parametrize("name", ["Web", "web:", "web:a b", "../web", "/web",
                                  "hub/", "web//a", "web:-x"])
def test_bad_name(zctl, layout, name):
    assert "no name of an image" in zctl.fails(
        "push", "--name", name, layout, code=USAGE)


def uploads(hub):
    return list((hub.directory / "uploads").iterdir())


def test_interrupted_push_leaves_nothing(hub, zctl, tmp_path):
    path = made(tmp_path / "big", latest=bytes(range(256)) * (64 << 12))
    child = zctl.start("push", path)
    child.stderr.readline()  # the config is there, the layer on its way
    hub.process.send_signal(signal.SIGSTOP)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=WAIT_S)
    assert child.returncode == INTERRUPTED and out == ""
    hub.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + WAIT_S
    while uploads(hub):
        assert time.monotonic() < deadline
    assert zctl.json("images")["images"] == []
    with pytest.raises(Refused):
        hub.operator.ask("GET", "/v2/big/manifests/latest")
    assert zctl("push", path)  # and it can be done again


def test_hub_killed_during_a_push(hub, zctl, tmp_path):
    path = made(tmp_path / "big", latest=bytes(range(256)) * (64 << 12))
    child = zctl.start("push", path)
    child.stderr.readline()
    hub.kill()
    _, err = child.communicate(timeout=WAIT_S)
    assert child.returncode == 111 and len(err.splitlines()) == 1, err
    hub.start()
    assert zctl("push", path)


def test_progress_on_a_terminal(zctl, layout):
    with zctl.terminal("push", layout) as terminal:
        assert terminal.wait() == 0
        seen = terminal.read(b"@sha256:")
    assert re.search(rb"httpd \[#+\] (\d\.\d MB) of \1\r", seen), seen
    assert b"zctl: sha256:" not in seen
