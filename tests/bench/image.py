"""An image of 200 MB from Debian's docker-registry on loopback: zpull and the
unpacking of `zrun serve` against `podman pull`, in turns."""

import contextlib
import gzip
import io
import json
import os
import pathlib
import random
import socket
import subprocess
import tarfile
import tempfile
import threading
import time

import zooid.host
from row import Row
from zooid import BUILD
from zooid.build import test_directory
from zooid.messages import ZRUN_REPLY, ZRUN_REQUEST
from zooid.pulls import BEGUN, PROGRESS, PULL, Pull
from zooid.registries import OCI, DockerRegistry, digest

PULLS = 3
LAYERS, FILES, FILE_BYTES = 4, 1000, 50000
UNPACK, PULLED = 5, 1
UID_ZPULL = 104
SAMPLE_S = 0.005
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


# The image.

def layer_tar(number):
    """Files of words that gzip makes about a third of, as programs are."""
    dice = random.Random(number)
    words = [dice.randbytes(8) for _ in range(4096)]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(FILES):
            data = b"".join(dice.choices(words, k=FILE_BYTES // 8))
            info = tarfile.TarInfo("layer-%d/%d/%d" % (number, i // 50, i))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(blobs, data, kind):
    name = digest(data)
    (blobs / name[7:]).write_bytes(data)
    return {"mediaType": OCI + kind, "digest": name, "size": len(data)}


def layout_make(layout):
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    tars = [layer_tar(i) for i in range(LAYERS)]
    config = put(blobs, json.dumps({
        "architecture": ARCHITECTURE, "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": [digest(t) for t in tars]},
    }).encode(), "config.v1+json")
    layers = [put(blobs, gzip.compress(t, 6, mtime=0), "layer.v1.tar+gzip")
              for t in tars]
    manifest = put(blobs, json.dumps({
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": config, "layers": layers}).encode(), "manifest.v1+json")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [manifest]}))


def layout_of_bench():
    """Made once."""
    layout = test_directory() / "images/bench-200"
    if not layout.exists():
        with tempfile.TemporaryDirectory(dir=test_directory()) as scratch:
            made = pathlib.Path(scratch) / "layout"
            layout_make(made)
            layout.parent.mkdir(exist_ok=True)
            made.rename(layout)
    return layout


def manifest_of(layout):
    return json.loads((layout / "index.json").read_text())[
        "manifests"][0]["digest"]


# Memory.

def family(pid):
    """A process and all that come from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/%d/task" % parent):
                path = "/proc/%d/task/%s/children" % (parent, task)
                found += map(int, pathlib.Path(path).read_text().split())
    return found


def resident_bytes(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(pathlib.Path("/proc/%d/statm" % pid).read_text()
                         .split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


class Peak(threading.Thread):
    """The most resident memory of a family, looked at every few ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.bytes, self.over = pid, 0, threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_S):
            self.bytes = max(self.bytes, resident_bytes(family(self.pid)))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


# The two.

class Node(zooid.host.Supervised):
    def __init__(self, path, registry):
        self.boot, self.data = path / "boot", path / "data"
        super().__init__(path, ZOOID_BOOT=self.boot, ZOOID_DATA=self.data)
        for folder in (self.boot, self.data / "pull", self.data / "images"):
            folder.mkdir(parents=True)
        os.chown(self.data / "pull", UID_ZPULL, UID_ZPULL)
        (self.boot / "node.json").write_text(json.dumps(
            {"registries": [{"host": registry.host, "http": True}]}))
        own = zooid.host.BIN
        self.supervise(
            "zpull kmsg uid=%d mode=0666 : %s/zpull" % (UID_ZPULL, own),
            "zrun kmsg mode=0666 : %s/zrun serve" % own)

    def follow(self, reply):
        """As znode does it: layers are unpacked while they come, until a pipe
        hangs up."""
        end, ours = os.pipe()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(str(self.run / "zrun.sock"))
        socket.send_fds(sock, [ZRUN_REQUEST.pack(
            ZRUN_REQUEST.size, UNPACK, 0, PULLED, b"", reply.digest.encode(),
            reply.path.encode(), b"")], [end])
        os.close(end)
        return sock, ours

    def pull(self, image, name):
        pull = Pull(self.run, PULL, image, name)
        while (begun := pull.receive()).verb == PROGRESS:
            pass
        assert begun.verb == BEGUN, begun
        sock, ours = self.follow(begun)
        reply = pull.end()
        os.close(ours)
        assert reply.error == 0, reply
        with sock:
            assert ZRUN_REPLY.unpack(sock.recv(4096))[2] == 0


def zooid_pull(registry, name):
    """Seconds and the most bytes."""
    with zooid.host.directory() as path, \
            contextlib.closing(Node(path, registry)) as node:
        with Peak(node.process.pid) as peak:
            start = time.monotonic()
            node.pull(registry.host + "/bench", name)
            seconds = time.monotonic() - start
        return seconds, peak.bytes


def podman_pull(registry, name):
    with zooid.host.directory() as path:
        start = time.monotonic()
        process = subprocess.Popen(
            ["podman", "--root", path / "root", "--runroot", path / "run",
             "--storage-driver", "overlay", "pull", "--quiet",
             "--tls-verify=false", "%s/bench@%s" % (registry.host, name)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with Peak(process.pid) as peak:
            assert process.wait(timeout=300) == 0
            seconds = time.monotonic() - start
        subprocess.run(["umount", "--lazy", path / "root/overlay"],
                       stderr=subprocess.DEVNULL)
        return seconds, peak.bytes


def image_rows():
    zooid.host.BIN = BUILD / os.uname().machine / "bin"
    layout = layout_of_bench()
    found = {zooid_pull: [], podman_pull: []}
    with zooid.host.directory() as path, contextlib.closing(
            DockerRegistry(path / "registry")) as registry:
        registry.push(layout, "bench:latest")
        for _ in range(PULLS):
            for pull, results in found.items():
                results.append(pull(registry, manifest_of(layout)))
    (seconds, peak), (their_seconds, their_peak) = (
        (min(r[0] for r in results), max(r[1] for r in results))
        for results in found.values())
    yield Row("pull: 200 MB, unpacked", seconds, "s", 1,
              seconds / their_seconds, "podman pull")
    yield Row("pull: peak memory", peak / (1 << 20), "MB", 0.25,
              peak / their_peak, "podman pull")


GROUPS = [image_rows]
