"""A container that woke and sleeps again shares with its image before what has
not changed, where /data is btrfs, as on a node; what it wakes with is what it
had."""

import errno
import os
import pathlib
import random
import subprocess
import threading
import time

import pytest

import test_zrun_serve as serve
from test_zrun_sleep import (
    SLEEP, Sleeper, get, kill_criu, reaches, remove_any, web_socket)
from zooid.build import seed
from zooid.mount import btrfs

pytestmark = serve.pytestmark
FULL = 19  # ZRUN_FULL
HELD = 16 << 20


@pytest.fixture
def rng():
    return random.Random(seed())


class Disk:
    def __init__(self, path):
        self.path = path
        self.loop = os.path.basename(subprocess.run(
            ["findmnt", "-no", "SOURCE", path], check=True, text=True,
            capture_output=True).stdout.strip())

    def written(self):
        """Bytes since it was mounted, and of all that was to be."""
        subprocess.run(["sync", "-f", self.path], check=True)
        text = pathlib.Path("/sys/block", self.loop, "stat").read_text()
        return int(text.split()[6]) * 512


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("btrfs")
    (path / "data").mkdir()
    with btrfs(path / "disk", 512, path / "data"):
        yield Disk(path / "data")


# Where a file `deaf` is, it takes no notice of that its pages cannot be written.
CRIU = """#!/bin/sh
[ -e "%(deaf)s" ] && [ "$1" = dump ] || exec %(criu)s "$@"
pid=${*##*--tree }
case " $* " in *" --leave-running "*) ;; *) kill -9 "${pid%%%% *}";; esac
cd "$3"
mkdir pages-1.new
for n in 1 2; do head -c 200000 /dev/zero >pages-$n.img; done
exit 0
"""


@pytest.fixture(scope="module")
def node(disk):
    place, criu = disk.path.parent, serve.CRIU
    script = place / "criu"
    script.write_text(CRIU % {"criu": criu, "deaf": place / "deaf"})
    script.chmod(0o755)
    serve.CRIU = script
    made = serve.with_image(place)
    serve.CRIU = criu
    yield made
    made.close()


class Holder(Sleeper):
    """One that knows what must be in its memory (pages.c)."""

    def __init__(self, node, id="holder"):
        super().__init__(node, id, "pages", str(HELD >> 20))
        assert self.answer() == 0

    def answer(self):
        """How many pages are wrong, once it has looked."""
        said = self.upper("said")
        self.node.wait(said.exists)
        wrong = int(said.read_text())
        self.inside("rm /said")
        return wrong

    def ask(self, verb, **more):
        """An order to it, or a verb to serve."""
        if isinstance(verb, int):
            return super().ask(verb, **more)
        self.inside("echo %s >/order; kill -USR1 1" % verb)
        return self.answer()

    def again(self, order):
        """What it wrote of itself when it slept after that."""
        assert self.ask(order) == 0
        disk = Disk(self.node.path / "data")
        before = disk.written()
        self.sleep()
        size = disk.written() - before
        self.wake()
        return size


@pytest.fixture
def holder(node):
    made = Holder(node)
    yield made
    if made.state() != "gone":
        remove_any(made)
    assert os.listdir(node.path / "data/checkpoints") == []


def test_writes_what_changed(holder):
    """Whatever has become of its pages; and all of it again in the end, since
    what is shared keeps more of the disk than it needs."""
    whole = holder.again("nothing")
    assert whole > HELD
    for order in ("nothing", "touch", "exchange", "map"):
        assert holder.again(order) < whole / 5, order
    assert holder.again("fork touch") < whole / 5
    assert holder.again("join") < whole / 5
    assert holder.again("touch") < whole / 5
    assert holder.again("touch") > HELD
    assert holder.again("touch") < whole / 5
    assert holder.ask("nothing") == 0


@pytest.mark.parametrize("damage", ["halved", "other bytes", "gone",
                                    "a link", "in part"])
def test_image_before_is_damaged(holder, damage):
    """What is read of it counts only where it is what would be written."""
    holder.again("touch")
    pages = holder.node.path / "data/checkpoints/holder/pages-1.img"
    if damage == "halved":
        os.truncate(pages, HELD // 2)
    elif damage == "other bytes":
        with open(pages, "r+b") as file:
            for n in range(0, HELD, 7 << 16):
                file.seek(n)
                file.write(b"not what was there")
    else:
        pages.unlink()
        if damage == "a link":
            pages.symlink_to("/dev/zero")
        if damage == "in part":
            pages.write_bytes(b"x" * 4097)
    holder.again("touch")
    assert holder.ask("nothing") == 0


def fill(path, left):
    """A file that leaves so many bytes."""
    with open(path, "wb") as file:
        fs = os.statvfs(path)
        os.posix_fallocate(file.fileno(), 0, fs.f_bavail * fs.f_bsize - left)
    subprocess.run(["sync", "-f", path], check=True)


def test_full_disk(holder, rng):
    """Wherever in its pages that is, it goes on as it was, and sleeps when
    there is room."""
    checkpoints = holder.node.path / "data/checkpoints"
    assert holder.ask("fork") == 0
    refused = 0
    for whole in range(2, 20, 6):
        holder.again("touch")
        assert holder.ask("all") == 0
        fill(checkpoints / "fill", (whole << 20) + rng.randrange(6 << 20))
        reply = holder.ask(SLEEP)
        (checkpoints / "fill").unlink()
        if reply.error:
            assert "No space left" in reply.text, reply
            assert holder.state() == "running"
            assert os.listdir(checkpoints) == ["holder"]
        else:
            holder.wake()
        refused += reply.error < 0
        assert holder.ask("nothing") == 0
    assert refused > 1 and holder.ask("join") == 0


def test_pages_fail_behind_criu(holder):
    """It has done its part, and more to do, when the last of them fail."""
    holder.again("touch")
    deaf = holder.node.path / "deaf"
    deaf.touch()
    began = time.monotonic()
    reply = holder.ask(SLEEP)
    deaf.unlink()
    assert "its pages: File exists" in reply.text, reply
    assert time.monotonic() - began < 20
    assert holder.ask("nothing") == 0
    assert holder.again("touch") < HELD / 4


def test_short_disk(holder):
    """Who is awake has no image then."""
    checkpoints = holder.node.path / "data/checkpoints"
    holder.again("touch")
    assert os.listdir(checkpoints) == ["holder"]
    fill(checkpoints / "fill", 100 << 20)
    try:
        assert holder.node.ask(FULL).error == -errno.ENOENT
        holder.node.wait(lambda: os.listdir(checkpoints) == ["fill"])
        holder.again("touch")
        holder.node.wait(lambda: os.listdir(checkpoints) == ["fill"])
    finally:
        (checkpoints / "fill").unlink()


def test_connected(node):
    """criu does not save it, and has closed nothing then."""
    made = Sleeper(node, "busy", "httpd", "-f", "-h", "/www",
                   address="10.64.0.23")
    node.wait(lambda: get(made, "10.64.0.23"))
    made.sleep()
    made.wake()
    held = web_socket(made, "10.64.0.23")
    held.sendall(b"GET /cgi-bin/client HTTP/1.0\r\n")
    assert "onnected" in made.ask(SLEEP).text
    held.sendall(b"\r\n")
    assert b"200 OK" in held.recv(1000)
    held.close()
    node.wait(lambda: made.ask(SLEEP).error == 0)
    made.wake()
    remove_any(made)


@pytest.mark.parametrize("who", ["criu", "serve"])
def test_killed_while_it_sleeps_again(node, rng, who):
    """It sleeps or is lost, as it would be the first time, and nothing is left
    of it."""
    checkpoints = node.path / "data/checkpoints"
    for n in range(4):
        made = Holder(node, "victim%d" % n)
        made.again("touch")
        after_s = rng.uniform(0, 0.1)
        killer = threading.Thread(
            target=kill_criu, args=[node, after_s]) if who == "criu" else \
            threading.Timer(after_s, node.kill_serve)
        killer.start()
        try:
            made.ask(SLEEP)
        except OSError:
            pass
        killer.join()
        node.wait(lambda: reaches(node))
        node.wait(lambda: made.state() in ("asleep", "running", "stopped"))
        if made.state() == "asleep":
            made.wake()
        try:
            assert made.state() != "running" or made.ask("nothing") == 0
        except AssertionError:
            # It was about to end: nobody knows how whole it is.
            node.wait(lambda: made.state() == "stopped")
        remove_any(made)
        node.wait(lambda: os.listdir(checkpoints) == [])
