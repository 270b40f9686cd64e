"""The disk is full when an application comes, at every stage of its coming: what
runs is left alone, who cannot start says why in one line, and everything goes on
by itself when there is room again."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal

import pytest

from test_node_app import busybox, runs  # noqa: F401
from zooid import image, mount
from zooid.app_node import Node
from zooid.host import directory
from zooid.znode_host import Host

KB, MB = 1 << 10, 1 << 20
VOLUME = [{"type": "volume", "source": "v", "target": "/v"}]


@pytest.fixture(scope="session")
def second():
    """The layout of an image with files that zstd cannot make smaller."""
    return image.make("second", {"data/file": (0o644, os.urandom(MB)),
                                 "v/seed": (0o644, os.urandom(3 * MB))},
                      ["--config.cmd", "sh"])


@pytest.fixture
def node(tmp_path, busybox, second):  # noqa: F811
    """On btrfs, with one application that runs; what is pulled lies elsewhere,
    as if it had come before the disk was full."""
    with directory() as path, contextlib.ExitStack() as stack:
        (path / "data").mkdir()
        stack.enter_context(mount.btrfs(tmp_path / "disk", 128, path / "data"))
        host = Host(path)
        mount.mount("-t", "tmpfs", "none", host.data / "pull")
        stack.callback(mount.unmount, host.data / "pull")
        stack.callback(host.close)
        node = Node(host, tmp_path, busybox)
        index = json.loads((second / "index.json").read_text())
        node.second = index["manifests"][0]["digest"]
        (host.registry / node.second[7:]).symlink_to(second)
        yield node


def fill_data(path, left=0):
    """Takes all but `left` bytes of what files lie in."""
    with open(path / "filler", "wb", buffering=0) as filler:
        for step in (MB, 4 * KB):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(os.urandom(step))
                    os.fsync(filler.fileno())
        filler.truncate(max(filler.tell() - left, 0))
    os.sync()


def fill_all(path):
    """Takes also the space that names and small files lie in."""
    fill_data(path)
    (path / "names").mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (path / "names" / str(number)).write_bytes(os.urandom(1500))
    os.sync()


def empty(path):
    (path / "filler").unlink()
    shutil.rmtree(path / "names", ignore_errors=True)
    os.sync()


def fill_but_a_little(path):
    """Less than an image takes is left above the node's reserve."""
    fill_data(path, 9 * MB)


@pytest.mark.parametrize("fill", [fill_data, fill_but_a_little, fill_all])
def test_full_when_it_comes(node, fill):
    host, first = node.host, node.app("first", mounts=VOLUME)
    wanted = first, node.app("second", digest=node.second, mounts=[
        {"type": "volume", "source": "w", "target": "/v"}])
    node.apply(first)
    pid = host.wait_state("running", "first")["pid"]
    fill(host.data)
    refused = node.ask(*wanted)
    if refused:
        assert "desired: No space left on device" in refused
    else:
        host.wait(lambda: re.search(  # it goes while an attempt is made
            r"needs at least 6 MB, \d MB are left above the node's reserve: "
            "remove an image", (host.app("second") or {}).get("reason", "")))
    assert not list((host.data / "layers").glob(".tmp*"))
    assert host.app("first")["pid"] == pid and runs(pid)
    empty(host.data)
    if refused:
        node.apply(*wanted)
    root = pathlib.Path("/proc/%d/root" %
                        host.wait_state("running", "second")["pid"])
    assert len((root / "data/file").read_bytes()) == MB
    assert len((root / "v/seed").read_bytes()) == 3 * MB
    assert host.app("first")["pid"] == pid


@pytest.mark.parametrize("fill", [fill_data, fill_all])
@pytest.mark.parametrize("written", [True, False])
def test_full_when_it_starts_again(node, fill, written):
    """What ran runs, with its volume, though this was still empty."""
    host = node.host
    node.apply(node.app("first", mounts=VOLUME))
    pid = host.wait_state("running", "first")["pid"]
    if written:
        (node.root("first") / "v/file").write_text("kept")
    fill(host.data)
    os.kill(pid, signal.SIGKILL)
    host.wait(lambda: host.app("first")["state"] == "running" and
              host.app("first")["pid"] != pid)
    if written:
        assert (node.root("first") / "v/file").read_text() == "kept"


def test_volume_that_cannot_be_filled(node):
    """What the image has for it does not fit: said, and done when it does."""
    def wanted(size):
        node.apply(node.app("second", digest=node.second, mounts=[
            {**VOLUME[0], "size": size}]))
    wanted(2 * MB)
    node.host.wait(lambda: "(/v): fill the volume: Quota exceeded" in
                   (node.host.app("second") or {}).get("reason", ""))
    wanted(16 * MB)
    seed = node.root("second") / "v/seed"
    assert len(seed.read_bytes()) == 3 * MB
    assert os.listdir(seed.parent) == ["seed"]
