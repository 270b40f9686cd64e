"""The power goes at any moment of a pull, an unpacking, a start, a replacement,
a collection, writes to a volume and the turning over of a log.

A node in QEMU lives through them once, with a disk that remembers what it was
told and when something was acknowledged. Each cut is then one that this disk
would have left: what was acknowledged is there, and nothing that has its final
name is half made."""

import contextlib
import gzip
import hashlib
import io
import json
import pathlib
import random
import stat
import subprocess
import tarfile
import tempfile
import threading
import time

import pytest

from colony import PORT, Colony
from zooid import FULL, Disk, build, image, web
from zooid.disk import check
from zooid.history import FLUSH, Recorded, Replay, cuts, mounted

CUTS = 1000 if FULL else 150
TORN = 400 if FULL else 60
CHECKED = 10  # each n-th of them also by btrfs check
LIARS_CUTS = 40
LINE = "%08d\n"
LINES_MIN = 30
# Appends a line to a file of a volume and answers when it is on the disk.
CGI_WRITE = """#!/bin/sh
n=$(wc -l </v/lines)
printf '%08d\\n' $((n + 1)) |
	dd of=/v/lines oflag=append conv=notrunc,fsync 2>/dev/null || exit
printf 'Content-Type: text/plain\\n\\n%d' $((n + 1))
"""
CGI_LOG = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
i=0
while [ $i -lt 2000 ]; do
	echo "a line that says little, number $((i += 1))" >&2
done
"""
COMPOSE = """\
name: shop
services:
  web:
    image: hub/%s:latest
    command: [sh, -c, "touch /v/lines; exec httpd -f -h /www"]
    ports: ["%d:80"]
    volumes: ["v:/v"]
    restart: always
volumes:
  v:
"""


def site(number):
    """The layout of an image with files of all sizes."""
    rng = random.Random(number)
    files = {"www/index.html": (0o644, "page %d\n" % number),
             "www/cgi-bin/write": (0o755, CGI_WRITE),
             "www/cgi-bin/log": (0o755, CGI_LOG)}
    for i in range(120):
        data = rng.randbytes(1 << rng.randrange(1, 17))
        files["www/%d" % i] = (0o644, data if i % 2 else data.hex())
    return image.make("cuts%d" % number, files, [
        "--config.exposedports", "80/tcp", "--config.env", "PATH=/bin"])


def tree_of(layout):
    """(diff_id, {path: digest of the content, or what else it is})."""
    data = gzip.decompress(image.blob(layout, "layer").read_bytes())
    tree = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            path = entry.name.strip("./")
            if entry.isfile():
                tree[path] = hashlib.sha256(
                    archive.extractfile(entry).read()).hexdigest()
            elif path:
                tree[path] = entry.linkname if entry.issym() else "directory"
    return hashlib.sha256(data).hexdigest(), tree


def tree_at(top):
    tree = {}
    for path in top.rglob("*"):
        kind = path.lstat().st_mode
        tree[str(path.relative_to(top))] = (
            str(path.readlink()) if stat.S_ISLNK(kind) else
            "directory" if stat.S_ISDIR(kind) else
            hashlib.sha256(path.read_bytes()).hexdigest())
    return tree


def digest_of(layout):
    index = json.loads((layout / "index.json").read_text())
    return index["manifests"][0]["digest"].split(":")[1]


class Life:
    """One life of a node; `told` are the (step, what, value) that somebody
    was told, in order."""

    def __init__(self, directory):
        self.layouts = {"one": site(1), "two": site(2)}
        self.trees = dict(map(tree_of, self.layouts.values()))
        self.digests = {name: digest_of(layout)
                        for name, layout in self.layouts.items()}
        self.told = []
        with Colony(directory / "colony") as colony:
            for name, layout in self.layouts.items():
                colony.push(layout, name + ":latest")
            disk = colony.disk("n1")
            with Recorded(disk.path, directory / "nbd") as self.server:
                node = colony.boot("n1", Disk(disk.path,
                                              nbd=directory / "nbd"))
                colony.wait_nodes(["n1"], 120)
                for name in ("one", "two", "one"):
                    self.tell("wanted", name)
                    colony.apply("n1", text=COMPOSE % (name, PORT))
                    self.run(node, name)
                node.console_poweroff(60)
            self.history = self.server.history
            self.part = disk.partitions()["ZOOID-DATA"]
        # From where on there is a file system.
        self.begin = self.told[1][0] // 2

    def tell(self, what, value):
        self.told.append((len(self.server.history), what, value))

    def run(self, node, name):
        page = "page %d\n" % (1 + (name == "two"))
        while node.fetch(PORT) != page:
            time.sleep(web.PAUSE_S)
        self.tell("image", name)
        over = threading.Event()
        log = threading.Thread(target=self.log, args=(node, over))
        log.start()
        for _ in range(LINES_MIN):
            lines = int(node.fetch(PORT, "/cgi-bin/write"))
            self.tell("lines", lines)
        over.set()
        log.join()

    def log(self, node, over):
        while not over.is_set():
            node.fetch(PORT, "/cgi-bin/log")

    def known(self, at, what):
        return [value for step, kind, value in self.told
                if kind == what and step <= at]


@pytest.fixture(scope="module")
def life():
    # Short: a path to a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="zooid-") as directory:
        yield Life(pathlib.Path(directory))


def check_images(data, life, at):
    """What has its final name is whole, and what runs is there."""
    layers = data / "layers"
    for layer in layers.iterdir() if layers.exists() else ():
        if not layer.name.startswith(".tmp"):
            check_layer(layer, life.trees[layer.name])
    index = data / "images/index.json"
    names = [entry["digest"].split(":")[1] for entry in
             json.loads(index.read_text())["manifests"]] \
        if index.exists() else []
    for name in names:
        manifest = check_blob(data, name)
        config = check_blob(data, manifest["config"]["digest"].split(":")[1])
        for diff_id in config["rootfs"]["diff_ids"]:
            layer = layers / diff_id.split(":")[1]
            assert layer.is_dir(), "image %s: no layer %s" % (name, layer)
    runs = life.known(at, "image")
    if runs:
        # The one before goes as soon as the next one runs.
        wanted = {life.digests[runs[-1]],
                  life.digests[life.known(at, "wanted")[-1]]}
        assert wanted & set(names), "%s: has %s, none of %s that ran" % (
            index, names, wanted)


def check_layer(layer, tree):
    is_there = tree_at(layer)
    wrong = ["%s: is %s, was %s" % (layer / path, is_there.get(path),
                                    tree.get(path))
             for path in sorted(is_there.keys() | tree.keys())
             if is_there.get(path) != tree.get(path)]
    assert not wrong, "layer: %d paths: %s" % (len(wrong), wrong[:5])


def check_blob(data, name):
    path = data / "images/blobs/sha256" / name
    text = path.read_bytes()
    assert hashlib.sha256(text).hexdigest() == name, \
        "blob %s: not its digest" % path
    return json.loads(text)


def check_lines(data, life, at):
    acknowledged = max(life.known(at, "lines"), default=0)
    path = data / "volumes/shop.v/lines"
    lines = path.read_text() if path.exists() else ""
    whole = "".join(LINE % (i + 1) for i in range(len(lines) // len(LINE % 0)))
    assert lines.startswith(whole), "volume %s: not lines in order" % path
    assert whole.count("\n") >= acknowledged, \
        "volume %s: %d lines, %d were acknowledged" % (
            path, whole.count("\n"), acknowledged)


def check_logs(data):
    for path in data.glob("logs/**/*"):
        if path.is_file():
            assert b"\0" not in path.read_bytes(), "log %s: holes" % path


def cut(scratch, life, history, rng, n):
    """n disks as cuts at moments of `history` left them, (step, file)."""
    return cuts(Replay(scratch / "data", history, life.part),
                sorted(rng.randrange(life.begin, len(history))
                       for _ in range(n)), rng)


@contextlib.contextmanager
def torn(scratch, life, rng, n):
    """n disks as cuts in the middle of a superblock left them."""
    replay = Replay(scratch / "data", life.history, life.part)
    supers = replay.supers(life.begin)

    def disks():
        for at in sorted(rng.choices(supers, k=n)):
            replay.go(at)
            with replay.torn(rng) as device:
                yield at, device
    with contextlib.closing(replay):
        yield disks()


def check_data(data, life, at):
    check_images(data, life, at)
    check_lines(data, life, at)
    check_logs(data)


def check_disk(device, where, life, at):
    """As a node finds it; what is wrong is told with the step of the cut."""
    try:
        with mounted(device, where) as data:
            check_data(data, life, at)
    except Exception as error:
        raise AssertionError("cut before step %d: %s: %s" % (
            at, type(error).__name__, error)) from error


def check_tree(device, at):
    said = check(device)
    assert said == "clean", "cut before step %d: btrfs check: %s" % (at, said)


@pytest.mark.deadline(3600 if FULL else 600)
def test_cuts(scratch, life):
    with cut(scratch, life, life.history, random.Random(build.seed()),
             CUTS) as disks:
        for number, (at, device) in enumerate(disks):
            check_disk(device, scratch / "mounted", life, at)
            if number % CHECKED == 0:
                check_tree(device, at)


@pytest.mark.deadline(3600 if FULL else 600)
def test_torn_superblocks(scratch, life):
    """The power goes while a superblock is written, of which any sectors may
    then be the new ones."""
    with torn(scratch, life, random.Random(build.seed()), TORN) as disks:
        for number, (at, device) in enumerate(disks):
            check_disk(device, scratch / "mounted", life, at)
            if number % CHECKED == 0:
                check_tree(device, at)


def test_canary(scratch, life):
    """A disk that lies about flushes does not survive the same: else the test
    above proves nothing."""
    lies = [step for step in life.history if step is not FLUSH]
    with cut(scratch, life, lies, random.Random(build.seed()),
             LIARS_CUTS) as disks, \
            pytest.raises((AssertionError, RuntimeError,
                           subprocess.CalledProcessError)):
        for _, device in disks:
            with mounted(device, scratch / "mounted") as data:
                check_data(data, life, 0)


def test_life_had_it_all(life, scratch):
    """Else the cuts are of less than they say; and what is wrong is seen."""
    end = len(life.history)
    hexadecimal, _ = tree_of(life.layouts["one"])
    replay = Replay(scratch / "data", life.history, life.part)
    replay.go(end)
    replay.close()
    with mounted(replay.path, scratch / "mounted") as data:
        check_data(data, life, end)
        assert [layer.name for layer in (data / "layers").iterdir()] == \
            [hexadecimal]  # the other was collected
        assert (data / "logs/web.log.1").exists()
        assert max(life.known(end, "lines")) >= 3 * LINES_MIN
        page = data / "layers" / hexadecimal / "www/index.html"
        page.write_bytes(bytes(page.stat().st_size))
        with pytest.raises(AssertionError):
            check_images(data, life, end)
        lines = data / "volumes/shop.v/lines"
        lines.write_text(lines.read_text()[:-len(LINE % 0)])
        with pytest.raises(AssertionError):
            check_lines(data, life, end)
