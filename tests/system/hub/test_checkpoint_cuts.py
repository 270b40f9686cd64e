"""The power goes at any moment of a dump, a restore, a wake, and while a
checkpoint takes the place of another.

A node in QEMU lives through them once, as in test_store_cuts.py: one service
begins where it first listened, the other sleeps, and writes a volume. On each
disk that a cut leaves the checkpoint of the first is the one that was sealed,
byte for byte, or there was none yet; the lines of the volume that somebody was
told of are there; and a node that boots from it serves both."""

import contextlib
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import time
import typing

import pytest

from colony import Colony
from test_store_cuts import CGI_WRITE, LINE
from zooid import FULL, Disk, Node, build, image, web
from zooid.history import FLUSH, Recorded, Replay, cuts, mounted

CUTS = 400 if FULL else 40
LIARS_CUTS = 20
GENERATIONS = 6 if FULL else 3
DEADLINE_S = 60
LINES = 4  # in each
WEB, NOTE = 8080, 8081
SEALED, RESTORED = "is in its checkpoint", "goes on from its checkpoint"
REFUSED = "its config is another one; it is started from its image"
# What is compressed is written by workers of the kernel's, and last.
COMPOSE = """\
name: shop
services:
  web:
    image: hub/cuts:latest
    command: [sh, -c, "cp /www/random /made; yes $GENERATION |
      head -c 500000 >/text; exec httpd -f -h /www"]
    environment: {GENERATION: "%d"}
    ports: ["8080:80"]
    stop_signal: SIGKILL
    x-zooid: {reactive: {freeze_after: 300ms, image_after: 600ms,
      checkpoint: listen}}
  note:
    image: hub/cuts:latest
    command: [sh, -c, "touch /v/lines; exec httpd -f -h /www"]
    ports: ["8081:80"]
    volumes: ["v:/v"]
    x-zooid: {reactive: {freeze_after: 1h}}
volumes:
  v:
"""
HASHES = "cd /data/checkpoints/@web && find . -type f | xargs sha256sum"
# As much of it as there is at any moment comes to the disk.
ASLEEP = "(while [ ! -e /tmp/over ]; do sync; done) & znode sleep note; " \
    "s=$?; >/tmp/over; wait; rm /tmp/over; exit $s"


class Span(typing.NamedTuple):
    """What went on between two steps of the history."""
    what: str  # a dump, a restore, a sleep, a wake
    begin: int
    end: int


class Made(typing.NamedTuple):
    """A checkpoint: between two steps it was made, since the second somebody
    has been told of it."""
    begin: int
    told: int
    tree: dict  # {path: sha256}
    removed: bool  # the one before it went first


class Life:
    """`spans` of what was done; the checkpoints that were `made`; `lines` are
    (step, how many somebody was told of)."""

    def __init__(self, directory):
        self.spans, self.made, self.lines = [], [], []
        layout = image.make("checkpoint-cuts", {
            "www/index.html": (0o644, web.PAGE),
            "www/random": (0o644, random.Random(1).randbytes(300000)),
            "www/cgi-bin/write": (0o755, CGI_WRITE)}, [
                "--config.env", "PATH=/bin"])
        with Colony(directory / "colony") as colony:
            colony.push(layout, "cuts:latest")
            self.disk = colony.disk("n1")
            with Recorded(self.disk.path, directory / "nbd") as self.server:
                self.node = colony.boot("n1", Disk(
                    self.disk.path, nbd=directory / "nbd"),
                    ports=[WEB, NOTE], agent=True)
                self.node.wait_ready()
                colony.wait_nodes(["n1"], 120)
                for number in range(GENERATIONS):
                    self.live(colony, number)
                self.node.console_poweroff(60)
            self.history = self.server.history
        self.part = self.disk.partitions()["ZOOID-DATA"]

    @contextlib.contextmanager
    def span(self, what):
        begin = len(self.server.history)
        yield
        self.spans.append(Span(what, begin, len(self.server.history)))

    def shell(self, script):
        return self.node.agent.run("/bin/busybox", "sh", "-c", script)

    def rows(self):
        return json.loads(self.node.agent.run("/bin/znode", "ps", "-o",
                                              "json"))

    def row(self, name):
        return next(row for row in self.rows() if row["name"] == name)

    def rests(self):
        return self.row("web")["rests"] and not self.row("web")["pid"]

    def live(self, colony, number):
        if not number:
            colony.apply("n1", text=COMPOSE % number, options=())
            until(lambda: {row["name"]: row["state"] for row in self.rows()}
                  == {"note": "running", "web": "image"}, self.node)
        with self.span("dump"):
            self.make(colony, number)
        self.made.append(Made(self.spans[-1].begin, self.spans[-1].end,
                              hashes(self.shell(HASHES)), number % 3 == 2))
        until(self.rests, self.node)
        with self.span("restore"):
            self.ask_until(RESTORED, len(said(self.node)))
            self.shell("sync")
        self.write(LINES)
        with self.span("sleep"):
            self.shell(ASLEEP)
        assert self.row("note")["state"] == "asleep"
        with self.span("wake"):
            self.write(1)
            self.shell("sync")

    def make(self, colony, number):
        """Of one name, each in another way."""
        was = len(said(self.node))
        if number % 3 == 1:
            self.shell("znode restart web")
        elif number % 3 == 2:
            colony.apply("n1", text=COMPOSE % number, options=())
            self.ask_until(REFUSED, was)
        self.ask_until(SEALED, was)

    def ask_until(self, what, was):
        until(lambda: self.node.fetch(WEB) == web.PAGE and
              what in said(self.node)[was:], self.node)

    def write(self, n):
        for _ in range(n):
            lines = int(self.node.fetch(NOTE, "/cgi-bin/write"))
            self.lines.append((len(self.server.history), lines))

    def acknowledged(self, at):
        return max((n for step, n in self.lines if step <= at), default=0)


def until(is_so, node):
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end, said(node)


def said(node, by="znode"):
    """In this life and those before."""
    return node.agent.run("/bin/zlog", "tail", "-n", "1000", by)


def hashes(text):
    return dict(reversed(line.split("  ./", 1)) for line in text.splitlines())


@pytest.fixture(scope="module")
def life():
    # Short: a path to a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="zooid-") as directory:
        yield Life(pathlib.Path(directory))


def refused(directory):
    """What zrun says against a checkpoint before it looks at anything else;
    None if it takes it."""
    with tempfile.TemporaryDirectory() as nothing:
        said = subprocess.run(
            [build.product("x86_64", "bin/zrun"), "--root", nothing, "restore",
             "--image-path", directory, "--bundle", nothing, "cut"],
            capture_output=True, text=True).stderr
    return None if "config.json in %s: No such" % nothing in said else said


def tree_at(top):
    return {str(path.relative_to(top)):
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in top.rglob("*") if path.is_file()
            and not path.is_symlink()}


def difference(tree, wanted):
    return sorted(path for path in tree.keys() | wanted.keys()
                  if tree.get(path) != wanted.get(path))


def check_checkpoint(data, life, at):
    """It is one of those that may be there, and whole. Whether it is there."""
    begun = [n for n, made in enumerate(life.made) if made.begin <= at]
    told = [n for n, made in enumerate(life.made) if made.told <= at]
    may = begun[told[-1] if told else 0:]
    path = data / "checkpoints/@web"
    if not path.exists():
        assert not told or any(life.made[n].removed for n in may[1:]), \
            "checkpoint %d is gone" % told[-1]
        return False
    assert not refused(path), refused(path)
    tree = tree_at(path)
    wrong = [difference(tree, life.made[n].tree) for n in may]
    assert not all(wrong), "checkpoint: none of %s: %s" % (may, wrong)
    return True


def check_others(data, life):
    """What zrun would take is whole, too, although it removes it. The kinds of
    them."""
    kinds = set()
    directory = data / "checkpoints"
    for path in directory.iterdir() if directory.exists() else ():
        if path.name == "@web":
            continue
        kinds.add("half" if path.name.startswith("@") else "asleep")
        # One that is removed loses its list or its layer first.
        if path.name == "@web.new" and (path / "sizes").exists() \
                and not refused(path):
            tree = tree_at(path).items()
            assert any(tree <= made.tree.items() for made in life.made), \
                "%s is not what was sealed" % path
    return kinds


def check_lines(data, life, at):
    path = data / "volumes/shop.v/lines"
    lines = path.read_text() if path.exists() else ""
    check_text(lines, life.acknowledged(at))


def check_text(lines, acknowledged):
    whole = "".join(LINE % (i + 1) for i in range(len(lines) // len(LINE % 0)))
    assert lines.startswith(whole)
    assert whole.count("\n") >= acknowledged, \
        "volume: %d lines, %d were acknowledged" % (
            whole.count("\n"), acknowledged)


def check_data(data, life, at):
    """The kinds of checkpoints that are there."""
    kinds = check_others(data, life)
    if check_checkpoint(data, life, at):
        kinds.add("kept")
    check_lines(data, life, at)
    return kinds


def moments(life, rng, n, what=None):
    """n of them, in order, each span having as many as any other."""
    spans = [s for s in life.spans if what in (None, s.what)
             and s.end > s.begin]
    return sorted(rng.randrange(s.begin, s.end) for s in
                  (spans * (n // len(spans) + 1))[:n])


def cut(scratch, life, history, chosen, rng):
    """The disks that cuts at those moments of `history` left, (step, file)."""
    return cuts(Replay(scratch / "data", history, life.part), chosen, rng)


@pytest.mark.deadline(3600 if FULL else 600)
def test_cuts(scratch, life):
    rng = random.Random(build.seed())
    seen = []
    with cut(scratch, life, life.history, moments(life, rng, CUTS),
             rng) as disks:
        for at, device in disks:
            try:
                with mounted(device, scratch / "mounted") as data:
                    seen.append(check_data(data, life, at))
            except Exception as error:
                raise AssertionError("cut before step %d: %s: %s" % (
                    at, type(error).__name__, error)) from error
    for kind in "half", "asleep", "kept":
        assert any(kind in kinds for kinds in seen), \
            "%s: in none of %d: %s" % (kind, CUTS, life.spans)
    assert not all("kept" in kinds for kinds in seen)


def test_canary(scratch, life):
    """A disk that lies about flushes does not survive the same: else the test
    above proves nothing."""
    rng = random.Random(build.seed())
    chosen = moments(life, rng, LIARS_CUTS)
    lies = [step for step in life.history if step is not FLUSH]
    kept = [sum(step is not FLUSH for step in life.history[:at])
            for at in chosen]
    failed = 0
    with cut(scratch, life, lies, kept, rng) as disks:
        for at, (_, device) in zip(chosen, disks):
            try:
                with mounted(device, scratch / "mounted") as data:
                    check_data(data, life, at)
            except (AssertionError, RuntimeError, OSError,
                    subprocess.CalledProcessError):
                failed += 1
    assert failed > LIARS_CUTS // 2


def test_what_is_wrong_is_seen(scratch, life):
    """In a checkpoint that is of the right length, too."""
    end = len(life.history)
    replay = Replay(scratch / "data", life.history, life.part)
    replay.go(end)
    replay.close()
    with mounted(replay.path, scratch / "mounted") as data:
        # Of one that slept before there may be an image, too.
        assert "kept" in check_data(data, life, end)
        path = data / "checkpoints/@web"
        for victim in (path / "layer/upper/text", next(path.glob("pages-*"))):
            was = victim.read_bytes()
            victim.write_bytes(was[:-4096] + bytes(4096))
            with pytest.raises(AssertionError, match="checkpoint: none of"):
                check_checkpoint(data, life, end)
            victim.write_bytes(was)
        check_checkpoint(data, life, end)
        victim.write_bytes(was[:-1])
        with pytest.raises(AssertionError, match="%d bytes, not %d" % (
                len(was) - 1, len(was))):
            check_checkpoint(data, life, end)
        (path / "sizes").write_bytes(b"")
        with pytest.raises(AssertionError, match="its dump did not end"):
            check_checkpoint(data, life, end)
        shutil.rmtree(path)
        with pytest.raises(AssertionError, match="is gone"):
            check_checkpoint(data, life, end)


# ------------------------------------------------------------------ the node

def find(scratch, life, rng, what, kinds):
    """(step, a whole disk that a cut in the midst of `what` left), with
    checkpoints of all `kinds`."""
    with cut(scratch, life, life.history, moments(life, rng, 40, what),
             rng) as disks:
        for at, device in disks:
            copy = scratch / "copy"
            subprocess.run(["cp", "--sparse=always", device, copy], check=True)
            with mounted(device, scratch / "mounted") as data:
                if kinds <= check_data(data, life, at):
                    return at, whole(scratch, life, copy)
    raise AssertionError("no cut of a %s left %s" % (what, kinds))


def whole(scratch, life, data):
    """The medium with that file in the place of its part."""
    start, size = life.part
    path = scratch / "whole"
    run = {"check": True, "capture_output": True}
    subprocess.run(["cp", "--sparse=always", life.disk.path, path], **run)
    subprocess.run(["fallocate", "--punch-hole", "--offset", str(start),
                    "--length", str(size), path], **run)
    subprocess.run(["dd", "if=%s" % data, "of=%s" % path, "bs=1M",
                    "oflag=seek_bytes", "seek=%d" % start,
                    "conv=notrunc,sparse"], **run)
    return Disk(path)


OTHER_CPU = ["-cpu", "Nehalem"]
ANEW = "the system or the processor is another one; it is started from its " \
    "image"
BOOTS = [("dump", {"half", "kept"}, [], RESTORED),
         ("sleep", {"asleep", "kept"}, [], RESTORED),
         ("wake", {"kept"}, OTHER_CPU, ANEW)]


# One test, as one process may not have all tests of a file.
@pytest.mark.deadline(600)
def test_boots(scratch, life):
    """The node serves both, from what is whole; what is not is removed, and a
    checkpoint of another processor is made anew."""
    rng = random.Random(build.seed())
    for what, kinds, extra, path in BOOTS:
        at, disk = find(scratch, life, rng, what, kinds)
        with Node("checkpoint-cuts-" + what, disks=[disk], ports=[WEB, NOTE],
                  agent=True, dev=False, extra=extra) as node:
            node.wait_ready()
            check_node(node, life.acknowledged(at), kinds, path)


def check_node(node, acknowledged, kinds, path):
    was = len(said(node))
    assert node.fetch(WEB) == web.PAGE
    lines = int(node.fetch(NOTE, "/cgi-bin/write"))
    assert lines > acknowledged
    check_text(node.agent.read("/data/volumes/shop.v/lines"), lines)
    until(lambda: path in said(node)[was:], node)
    if path == ANEW:
        until(lambda: SEALED in said(node)[was:], node)
    if "asleep" in kinds:
        assert "note-1: the checkpoint of its last sleep" in said(node, "zrun")
    until(lambda: node.agent.ask("list", "/data/checkpoints").split() ==
          [b".", b"..", b"@web"], node)
