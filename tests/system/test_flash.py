"""`make flash`: what it writes onto a medium, and what it refuses. The media
are loop devices."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from zooid import TOP, process
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
    source = run("findmnt", "-no", "SOURCE", "/")
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
