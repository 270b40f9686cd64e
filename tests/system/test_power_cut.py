"""The power goes at any moment of a first boot and of a container's start.

Afterwards the node always boots, nothing half-made is run, and in the end the
page is served. The disk is flakydisk; the moments are counted in its writes,
drawn from the seed."""

import random

import pytest

from zooid import FULL, Late, build, medium, web

PORT = medium.WEB_PORT
CUTS = 100 if FULL else 20
CUTS_OF_A_LIFE = 5  # then a new medium
CANARY_CUTS = 10


class Lives:
    """Boots the same medium again and again, cutting each life but the last
    at a drawn number of writes."""

    def __init__(self, boot, server, drive, rng):
        self.boot, self.server, self.drive = boot, server, drive
        self.rng = rng

    def cut_one(self):
        """One life that ends at a write; whether it got there."""
        target = self.server.writes + int(self.rng.expovariate(1 / 250)) + 1

        def on_write(disk):
            if disk.writes >= target:
                disk.on_write = None
                node.process.kill()
                disk.cut()

        node = self.boot(disks=[self.drive], ports=[PORT])
        self.server.on_write = on_write
        try:
            node.wait_ready()
            page = node.fetch(PORT)
            assert page == web.PAGE
        except (Late, OSError):
            if self.server.on_write:
                raise  # it did not start although nothing was cut
        self.server.on_write = None
        cut_already = node.process.poll() is not None
        node.end()
        if not cut_already:
            self.server.cut()

    def last(self):
        """An undisturbed life: all must be well."""
        node = self.boot(disks=[self.drive], ports=[PORT])
        node.wait_ready()
        assert node.fetch(PORT) == web.PAGE
        node.console_poweroff()


@pytest.mark.deadline(1800 if FULL else 300)
@pytest.mark.parametrize("life", range(CUTS // CUTS_OF_A_LIFE))
def test_cuts(boot, scratch, httpd, flaky, life):
    seed = build.seed() * 1000 + life
    server, drive = flaky(medium.web(scratch / "disk", httpd), seed=seed)
    lives = Lives(boot, server, drive, random.Random(seed))
    for _ in range(CUTS_OF_A_LIFE):
        lives.cut_one()
    lives.last()
    assert drive.check_data() == "clean"


@pytest.mark.deadline(600)
def test_canary(boot, scratch, httpd, flaky):
    """A disk that lies about flushes does not survive the same treatment:
    else the test above proves nothing."""
    for attempt in range(CANARY_CUTS):
        seed = build.seed() * 1000 + 500 + attempt
        disk = medium.web(scratch / ("disk%d" % attempt), httpd)
        server, drive = flaky(disk, seed=seed, ignore_flush=True)
        node = boot(disks=[drive], ports=[PORT])
        node.wait_ready()
        node.fetch(PORT)
        server.cut()
        node.end()
        server.close()
        if "ZOOID-DATA" not in disk.partitions() or \
                disk.check_data() != "clean":
            return
    pytest.fail("%d lying disks, and nothing was corrupted" % CANARY_CUTS)
