"""`make image` and `make flash`: what they write onto a medium, and what they
refuse. The media are loop devices."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from zooid import BUILD, TOP, process
from zooid.mount import Frozen, make_disk, mount, unmount

FLASH = TOP / "board/flash"
MEDIUM_MB, IMAGE_MB = 24, 14
DEADLINE_S = 60
JUNK = b"what was there before" * 1000


def run(*argv):
    return subprocess.run([str(a) for a in argv], check=True, text=True,
                          capture_output=True).stdout.strip()


@pytest.fixture
def image(tmp_path):
    folder = tmp_path / "zooid"
    folder.mkdir()
    (folder / "node.json").write_text("{}")
    run(TOP / "board/mkdisk", "-z", IMAGE_MB - 2, tmp_path / "image", folder)
    return tmp_path / "image"


TOKEN = "zooid1." + base64.urlsafe_b64encode(json.dumps({
    "hub": ["hub.example.com:443"], "pin": "ab" * 32, "id": "t-17",
    "secret": "s3cret-of-a-token"}).encode()).decode().rstrip("=")


@pytest.fixture
def checkout(tmp_path):
    """make(word...) -> (status, output, errors) in a checkout whose kernel is
    linked: what a person made last in the real one stays."""
    top = tmp_path / "checkout"
    (top / "build/x86_64").mkdir(parents=True)
    (top / "build/host/gen").mkdir(parents=True)
    for entry in TOP.iterdir():
        if entry.name not in ("build", ".git"):
            (top / entry.name).symlink_to(entry)
    made = ["build/deps", "build/x86_64/kernel.ok", "build/host/gen/mknode"]
    for name in made + ["build/x86_64/zooid.efi"]:
        (top / name).symlink_to(BUILD.parent / name)

    def make(*words, answer=""):
        old = [word for name in made for word in ("-o", name)]
        done = subprocess.run(["make", "-C", top, *old, *words], text=True,
                              input=answer, capture_output=True,
                              timeout=DEADLINE_S,
                              env={k: v for k, v in os.environ.items()
                                   if not k.startswith("MAKE")})
        return done.returncode, done.stdout, done.stderr
    make.top = top
    return make


def zooid_folder(path, text):
    path.mkdir(parents=True)
    (path / "node.json").write_text(text)
    return path


def in_zooid(disk, name):
    """A file of the ZOOID partition of a disk."""
    start = re.search(r"start= *(\d+),.*ZOOID\"", run("sfdisk", "-d", disk))[1]
    return run("mcopy", "-n", "-i", "%s@@%d" % (disk, int(start) * 512),
               "::/" + name, "-")


def test_flash_writes_the_image_that_was_made(checkout, tmp_path):
    text = json.dumps({"name": "shop-7", "hub": {"token": TOKEN}})
    folder = zooid_folder(tmp_path / "of a node", text)
    status, said, errors = checkout("image", "ZOOID=%s" % folder)
    about = "node shop-7, hub hub.example.com:443, token t-17\n"
    assert status == 0 and about in said, said + errors
    image = checkout.top / "build/x86_64/zooid.img"
    medium = Medium(tmp_path / "medium", (image.stat().st_size >> 20) + 1)
    try:
        status, said, errors = checkout("flash", "DEV=" + medium.device,
                                        answer=medium.device + "\n")
        assert status == 0, errors
        assert about in said.split("Type")[0]
        assert "s3cret" not in said + errors
        assert in_zooid(medium.path, "node.json") == text
    finally:
        medium.close()


def test_flash_makes_an_image_where_there_is_none(checkout, tmp_path):
    medium = Medium(tmp_path / "medium", 200)
    try:
        status, said, _ = checkout("flash", "DEV=" + medium.device)
        assert status != 0 and "node zooid, no hub\n" in said
        other = zooid_folder(tmp_path / "other", '{"name": "other"}')
        for words in (["ZOOID=%s" % other], []):
            _, said, _ = checkout("flash", "DEV=" + medium.device, *words)
            assert "node other, no hub\n" in said.split("Type")[0]
        assert medium.untouched()
    finally:
        medium.close()


@pytest.mark.parametrize("what, line", [
    ("nope", "{}: No such file or directory"),
    ("node.json", "{}: Not a directory"),
    ("broken", "{}/node.json:2: nmae: unknown key: want one of name"),
    ("text", "{}/node.json:1: "),
    ("large", "mkdisk: {}: 2101 MB in 3 files, the ZOOID partition holds at "
              "most 2000 MB")])
def test_image_refuses_a_folder(checkout, tmp_path, what, line):
    (tmp_path / "node.json").write_text("{}")
    zooid_folder(tmp_path / "broken", '{\n "nmae": "a"}')
    zooid_folder(tmp_path / "text", "name: a\n")
    with open(zooid_folder(tmp_path / "large", "{}") / "big", "wb") as big:
        big.truncate(2100 << 20)
    status, _, errors = checkout("image", "ZOOID=%s" % (tmp_path / what))
    said = [text for text in errors.splitlines()
            if not text.startswith("make: ")]
    assert status != 0 and len(said) == 1, errors
    assert said[0].startswith(line.format(tmp_path / what))
    assert not list((checkout.top / "build/x86_64").glob("zooid.img*"))


def test_image_is_as_large_as_its_folder_needs(checkout, tmp_path):
    folder = zooid_folder(tmp_path / "zooid", "{}")
    blobs = folder / "images/web/blobs"
    blobs.mkdir(parents=True)
    for n in range(1000):
        (blobs / ("%d" % n)).write_text("small")
    with open(blobs / "layer", "wb") as layer:
        layer.truncate(100 << 20)
    status, _, errors = checkout("image", "ZOOID=%s" % folder)
    assert status == 0, errors
    image = checkout.top / "build/x86_64/zooid.img"
    assert 200 < image.stat().st_size >> 20 < 215
    assert in_zooid(image, "images/web/blobs/999") == "small"


@pytest.mark.parametrize("size_mb, line", [
    (8, "mkdisk: {}: 9 MB, the ZOOID partition has 8 MB (-z)\n"),
    (9, "mkdisk: {}/big: Disk full, on a ZOOID partition of 9 MB\n")])
def test_zooid_that_is_said_too_small(tmp_path, size_mb, line):
    folder = zooid_folder(tmp_path / "zooid", "{}")
    with open(folder / "big", "wb") as big:
        big.truncate((size_mb + (size_mb == 8) << 20) - 30000)
    done = subprocess.run([TOP / "board/mkdisk", "-z", str(size_mb),
                           tmp_path / "out", folder], text=True,
                          capture_output=True)
    assert done.returncode == 1 and done.stderr == line.format(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["zooid"]


class Medium:
    def __init__(self, path, size_mb=MEDIUM_MB):
        self.path = path
        with open(path, "wb") as out:
            out.write(JUNK)
            out.truncate(size_mb << 20)
        self.device = run("losetup", "-fP", "--show", path)

    def content(self):
        run("blockdev", "--flushbufs", self.device)
        return self.path.read_bytes()

    def untouched(self):
        return self.content() == JUNK.ljust(self.path.stat().st_size, b"\0")

    def close(self):
        run("losetup", "-d", self.device)


@pytest.fixture
def medium(tmp_path):
    made = Medium(tmp_path / "medium")
    yield made
    made.close()


def flash(image, device, answer=""):
    done = subprocess.run([FLASH, image, device], input=answer, text=True,
                          capture_output=True, timeout=DEADLINE_S)
    return done.returncode, done.stdout, done.stderr


def test_writes_a_medium(image, medium):
    status, said, errors = flash(image, medium.device, medium.device + "\n")
    assert status == 0, errors
    assert said.endswith("flash: %s: done\n" % medium.device)
    whole, data = medium.content(), image.read_bytes()
    # But for the table, which now tells of a larger medium.
    assert whole[1 << 20:len(data) - (1 << 20)] == \
        data[1 << 20:-1 << 20]
    assert "ZOOID" in run("sfdisk", "-d", medium.device)
    check = run("sfdisk", "--verify", medium.device)
    assert "No errors" in check and "warning" not in check.lower()
    assert whole[-512:].startswith(b"EFI PART")
    assert run("mcopy", "-i", "%s@@1M" % medium.path, "::/node.json",
               "-") == "{}"


@pytest.mark.parametrize("answer", ["", "\n", "yes\n", "/dev/loop\n"])
def test_asks_first(image, medium, answer):
    status, said, errors = flash(image, medium.device, answer)
    assert status == 1
    assert "All data on it will be lost. Type %s to go on" % \
        medium.device in said
    assert errors == "flash: %s: not confirmed, nothing written\n" % \
        medium.device
    assert medium.untouched()


def refused(image, device, answer=None):
    status, said, errors = flash(image, device, "%s\n" % (answer or device))
    assert status == 1 and "Type" not in said
    return errors


def test_refuses_what_is_no_medium(image, medium, tmp_path):
    assert "not a block device" in refused(image, tmp_path / "image")
    assert "not a block device" in refused(image, "/dev/null")
    assert "not a block device" in refused(image, "/dev/nothing-of-this-name")


def test_refuses_a_partition(image, medium):
    assert flash(image, medium.device, medium.device + "\n")[0] == 0
    run("partx", "-u", medium.device)
    assert "not a whole medium" in refused(image, medium.device + "p1")


def test_refuses_one_that_is_too_small(image, tmp_path):
    small = Medium(tmp_path / "small", IMAGE_MB - 1)
    try:
        assert "%d MB are too few, %s wants %d" % (
            IMAGE_MB - 1, image, IMAGE_MB) in refused(image, small.device)
        assert small.untouched()
    finally:
        small.close()


def test_refuses_one_that_is_mounted(image, medium, tmp_path):
    assert flash(image, medium.device, medium.device + "\n")[0] == 0
    run("partx", "-u", medium.device)
    run("mkfs.ext4", "-q", "-F", medium.device + "p1")
    before = medium.content()
    mount(medium.device + "p1", tmp_path / "zooid")
    try:
        errors = refused(image, medium.device)
        assert "in use, nothing written" in errors
        assert str(tmp_path / "zooid") in errors
    finally:
        unmount(tmp_path / "zooid")
    assert medium.content()[:1 << 20] == before[:1 << 20]


def test_refuses_one_mounted_where_nobody_sees_it(image, medium, tmp_path):
    """In a mount namespace of its own; the kernel knows."""
    run("mkfs.ext4", "-q", "-F", medium.device)
    holder = process.start(
        ["unshare", "-m", "sh", "-c", "mount %s %s && echo && cat" % (
            medium.device, tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"\n"
        assert "in use by the system" in refused(image, medium.device)
    finally:
        holder.stdin.close()
        holder.wait(DEADLINE_S)


def test_refuses_the_disk_of_the_system(image):
    source = run("findmnt", "-nvo", "SOURCE", "/")
    if not source.startswith("/dev/"):
        source = "/dev/" + run("lsblk", "-nro", "NAME").split("\n")[0]
    disk = run("lsblk", "-nrspo", "NAME", source).split("\n")[-1]
    # Whatever goes wrong, the answer does not confirm it.
    assert "in use" in refused(image, disk, answer="no")


def started(image, medium):
    child = process.start([FLASH, image, medium.device],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    said = b""
    while not said.endswith(b"to go on: "):
        said += child.stdout.read(1)
    return child


def test_interrupted_at_the_question(image, medium):
    child = started(image, medium)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(DEADLINE_S) != 0
    assert medium.untouched()


def test_interrupted_while_it_writes(image, tmp_path):
    """The medium hangs, so the signal comes in the middle: what is left is an
    empty medium, not half a node."""
    at = tmp_path / "at"
    at.mkdir()
    mount("-o", "loop", make_disk(tmp_path / "disk", 2 * MEDIUM_MB), at)
    medium = Medium(at / "medium")
    try:
        assert flash(image, medium.device, medium.device + "\n")[0] == 0
        child = started(image, medium)
        with Frozen(at):
            child.stdin.write(medium.device.encode() + b"\n")
            child.stdin.flush()
            wait_for_writer(child.pid)
            os.killpg(child.pid, signal.SIGINT)
        _, errors = child.communicate(timeout=DEADLINE_S)
        assert child.returncode == 1
        assert b"interrupted while writing; it holds no node now" in errors
        assert subprocess.run(["sfdisk", "-d", medium.device],
                              capture_output=True).returncode == 1
    finally:
        medium.close()
        unmount(at)


def wait_for_writer(pid):
    """A dd of the script waits for the medium, in the kernel."""
    path = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid))
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for child in path.read_text().split():
            try:
                stat = pathlib.Path("/proc/%s/stat" % child).read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "(dd)" in stat and stat.rsplit(")", 1)[1].split()[0] == "D":
                return
    raise AssertionError("nothing was written")
