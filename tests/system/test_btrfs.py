"""The file system of /data under power cuts, without anything of ours above
it: what it acknowledged it has, if the disk is honest; and the proof that
flakydisk can break it, if the disk lies."""

import random
import re

import pytest

from zooid import FULL, Disk, build, cpio
from zooid.disk import MB, recover, run

LIVES = 30 if FULL else 6
LIARS = 5


@pytest.fixture
def medium(scratch):
    def made(name):
        path = scratch / name
        with open(path, "wb") as file:
            file.truncate(256 * MB)
        run("mkfs.btrfs", "-q", "-n", "4k", path)
        return Disk(path)
    return made


@pytest.fixture
def start(boot, scratch):
    """start(drive) -> a machine that writes."""
    initrd = scratch / "writer.cpio"
    initrd.write_bytes(cpio.archive({
        "init": build.product("x86_64", "tests/writer")}))

    def started(drive):
        return boot(disks=[drive], network=False, initrd=initrd)
    return started


def life(start, server, drive, rng):
    """Boots, lets it write, cuts the power; (found, last told)."""
    node = start(drive)
    match = node.wait_for(r"^found (\d+)\n|^broken: (.*)\n")
    if match[2] and match[2].startswith("mount"):
        # The kernel reads only the first superblock, which the cut may have
        # torn; init mends it (init/super.c).
        node.end()
        recover(drive.path)
        server.cut()  # reads it again
        node = start(drive)
        match = node.wait_for(r"^found (\d+)\n|^broken: (.*)\n")
    found = int(match[1] or -1)
    if found >= 0:
        node.wait_for(r"^synced %d\n" % (found + rng.randrange(1, 40)))
    server.cut()
    node.end()
    told = re.findall(r"^synced (\d+)\n", node.log.text, re.M)
    return found, int(told[-1]) if told else found


@pytest.mark.deadline(40 * LIVES)
def test_honest_disk_keeps_what_was_synced(start, medium, flaky):
    seed = build.seed()
    server, drive = flaky(medium("honest"), seed=seed)
    rng = random.Random(seed)
    acknowledged = 0
    for _ in range(LIVES):
        found, last = life(start, server, drive, rng)
        assert found >= acknowledged
        acknowledged = last


@pytest.mark.deadline(80 * LIARS)
def test_canary_lying_disk_loses(start, medium, flaky):
    for attempt in range(LIARS):
        seed = build.seed() + attempt
        server, drive = flaky(medium("liar%d" % attempt), seed=seed,
                              ignore_flush=True)
        rng = random.Random(seed)
        _, acknowledged = life(start, server, drive, rng)
        try:
            found, _ = life(start, server, drive, rng)
        except RuntimeError:
            return  # not even repairable
        if found < acknowledged:
            return
    pytest.fail("%d lying disks lost nothing" % LIARS)
