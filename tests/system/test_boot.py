"""A node starts, whatever it finds; and ends as it was told to."""

import re

import pytest

from zooid import ARCHES, Disk, medium, web

MB = 1 << 20
BUILD_TIME_LEAST = 1767225600  # 2026: no image of Zooid is older


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("dev", [False, True], ids=["release", "dev"])
def test_boots_to_ready(boot, arch, dev):
    node = boot(arch=arch, dev=dev)
    node.wait_ready()
    status = node.console("status")
    for service in ("zlog", "zrun", "znode", "znet"):
        assert re.search(r"^%s +ready +\d+ +1 " % service, status, re.M), status


def test_boots_with_an_empty_medium(boot, scratch):
    path = scratch / "empty.img"
    path.write_bytes(bytes(64 * MB))
    node = boot(disks=[Disk(path)])
    node.wait_ready()
    assert node.console("status")


def test_boots_with_garbage_on_the_medium(boot, scratch, rng):
    path = scratch / "garbage.img"
    path.write_bytes(rng.randbytes(8 * MB) + bytes(56 * MB))
    node = boot(disks=[Disk(path)])
    node.wait_ready()
    assert node.console("status")


def test_no_network_card(boot, scratch, httpd):
    disk = medium.web(scratch / "disk", httpd)
    node = boot(disks=[disk], network=False)
    node.wait_ready()
    node.wait_console("ps", r"web.* running")


def test_no_link_at_boot_and_then_one(boot, scratch, httpd):
    """Ready all the same; when the cable is plugged in, the page is served
    without a restart."""
    disk = medium.web(scratch / "disk", httpd)
    node = boot(disks=[disk], ports=[medium.WEB_PORT], paused=True)
    node.link(up=False)
    node.resume()
    node.wait_ready()
    node.link(up=True)
    assert node.fetch(medium.WEB_PORT)


def test_small_machine_runs_a_container(boot, scratch, httpd):
    disk = medium.web(scratch / "disk", httpd)
    node = boot(memory_mb=96, disks=[disk], ports=[medium.WEB_PORT])
    node.wait_ready()
    assert node.fetch(medium.WEB_PORT) == web.PAGE


@pytest.mark.parametrize("arch", ARCHES)
def test_poweroff(boot, scratch, arch):
    disk = Disk.make(scratch / "disk", {"node.json": medium.node_json()})
    node = boot(arch=arch, disks=[disk])
    node.wait_ready()
    node.console_poweroff()
    assert "ZOOID-DATA" in disk.partitions()
    assert disk.check_data() == "clean"


def test_reboot(boot, scratch, httpd):
    disk = medium.web(scratch / "disk", httpd)
    node = boot(disks=[disk], ports=[medium.WEB_PORT])
    node.wait_ready()
    assert node.fetch(medium.WEB_PORT) == web.PAGE
    mark = node.log.mark()
    node.log.send("\rreboot\r")
    node.qmp.wait_event("RESET", 30)
    node.wait_ready(mark=mark)
    assert node.fetch(medium.WEB_PORT) == web.PAGE


def test_power_button(boot, scratch):
    """ACPI's button is an orderly poweroff."""
    disk = Disk.make(scratch / "disk", {"node.json": medium.node_json()})
    node = boot(disks=[disk])
    node.wait_ready()
    node.qmp.command("system_powerdown")
    node.wait_end(30)
    assert disk.check_data() == "clean"


def test_clock_floor(boot):
    """A machine whose clock lost its battery does not live before the build
    of its image."""
    node = boot(extra=["-rtc", "base=1990-01-01T00:00:00"], agent=True)
    node.wait_ready()
    assert node.agent.time() > BUILD_TIME_LEAST
