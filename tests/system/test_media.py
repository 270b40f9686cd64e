"""Media that are new, too small, too full, or wrong in one bit."""

import re
import shutil

import pytest

from zooid import Disk, image, medium, web

PORT = medium.WEB_PORT
MB = 1 << 20


def test_first_boot_fills_the_medium(boot, scratch, httpd):
    disk = medium.web(scratch / "disk", httpd, size_mb=512)
    node = boot(disks=[disk], ports=[PORT])
    node.wait_ready()
    node.fetch(PORT)
    node.console_poweroff()
    start, size = disk.partitions()["ZOOID-DATA"]
    assert start + size >= 510 * MB
    assert disk.check_data() == "clean"


def test_a_larger_medium_is_filled_later(boot, scratch, httpd):
    """The image was copied onto a larger card."""
    disk = medium.web(scratch / "disk", httpd, size_mb=384)
    node = boot(disks=[disk])
    node.wait_ready()
    node.console_poweroff()
    disk.grow(768)
    node = boot(disks=[disk], ports=[PORT])
    node.wait_ready()
    node.fetch(PORT)
    node.console_poweroff()
    start, size = disk.partitions()["ZOOID-DATA"]
    assert start + size >= 766 * MB


def test_medium_too_small(boot, scratch):
    disk = Disk.make(scratch / "disk", {"node.json": medium.node_json()},
                     size_mb=48)
    node = boot(disks=[disk])
    node.wait_ready()
    node.wait_for(r"/data needs a larger medium")
    assert "in memory only" in node.console("status")


def test_full_data(boot, scratch, httpd):
    """Every block of /data is taken: what runs goes on, the node starts
    again, the console answers, and space can be had back."""
    disk = medium.web(scratch / "disk", httpd, size_mb=384)
    node = boot(disks=[disk], ports=[PORT], agent=True)
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    assert int(node.agent.ask("fill", "/data/volumes/full")) > 100 * MB
    assert node.fetch(PORT) == web.PAGE
    assert node.console("status")
    node.console_poweroff()
    node = boot(disks=[disk], ports=[PORT], agent=True)
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    node.agent.ask("remove", "/data/volumes/full")
    assert node.fetch(PORT) == web.PAGE


@pytest.mark.parametrize("what", ["layer", "manifest", "config"])
def test_one_flipped_bit(boot, scratch, httpd, rng, what):
    """Refused with one clear line; the other application runs."""
    bad = scratch / "bad"
    shutil.copytree(httpd, bad)
    blob = image.blob(bad, what)
    image.flip_bit(blob, rng.randrange(blob.stat().st_size))
    disk = Disk.make(scratch / "disk", {
        "node.json": medium.node_json(
            medium.web_app(name="bad", image="images/bad",
                           ports=["8081:80"]), medium.web_app()),
        "images/httpd": httpd, "images/bad": bad})
    node = boot(disks=[disk], ports=[PORT, 8081])
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    line = node.wait_console("log znode", r".*\bbad\b.*sha256.*")[0]
    assert not re.search(r"^bad.* running", node.console("ps"), re.M)
    assert node.console("log znode").count(line) == 1


@pytest.mark.parametrize("error", [5])
def test_medium_dies(boot, scratch, httpd, flaky, error):
    """Every read and write fails from now on: init and the console stay, what
    is in memory is served on."""
    disk = medium.web(scratch / "disk", httpd)
    server, drive = flaky(disk)
    node = boot(disks=[drive], ports=[PORT])
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    server.fail = server.fail_reads = error
    assert node.fetch(PORT) == web.PAGE
    assert node.console("status")


def test_slow_medium(boot, scratch, httpd, flaky):
    disk = medium.web(scratch / "disk", httpd)
    server, drive = flaky(disk)
    server.delay_s = 0.02
    node = boot(disks=[drive], ports=[PORT])
    node.wait_ready()
    assert node.fetch(PORT, deadline_s=120) == web.PAGE
