"""The thinnest path: from node.json to a served request."""

import re
import threading

import pytest

from zooid import ARCHES, image, medium, web
from zooid.image import BIG_BYTES

PORT = medium.WEB_PORT
CLIENT = "10.0.2.2"  # as QEMU's user network shows this machine to the node


@pytest.fixture
def node(boot, scratch, httpd):
    disk = medium.web(scratch / "disk", httpd)
    return boot(disks=[disk], ports=[PORT])


@pytest.mark.parametrize("arch", ARCHES)
def test_page_and_the_clients_address(boot, scratch, arch):
    disk = medium.web(scratch / "disk", image.httpd(arch))
    node = boot(arch=arch, disks=[disk], ports=[PORT])
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    seen = node.fetch(PORT, "/cgi-bin/client")
    assert seen in (CLIENT, "::ffff:" + CLIENT, "[::ffff:%s]" % CLIENT)
    assert re.search(r"^web +local +running ", node.console("ps"), re.M)


def test_large_answer_and_many_clients(node):
    node.wait_ready()
    node.fetch(PORT)
    url, results = node.url(PORT, "/big"), []
    threads = [threading.Thread(
        target=lambda: results.append(len(web.fetch(url, 90))))
        for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [BIG_BYTES] * 8


def test_two_apps_do_not_meet(boot, scratch, httpd):
    text = medium.node_json(
        medium.web_app(),
        medium.web_app(name="other", ports=["8081:80"],
                       command=["httpd", "-f", "-h", "/www/cgi-bin"]))
    disk = medium.web(scratch / "disk", httpd, text=text)
    node = boot(disks=[disk], ports=[PORT, 8081])
    node.wait_ready()
    assert node.fetch(PORT) == web.PAGE
    assert "REMOTE_ADDR" in node.fetch(8081, "/client")


def test_comes_back_after_reboot_without_the_image(boot, scratch, httpd):
    """What was unpacked once is enough."""
    disk = medium.web(scratch / "disk", httpd)
    first = boot(disks=[disk], ports=[PORT])
    first.wait_ready()
    first.fetch(PORT)
    first.console_poweroff()
    second = boot(disks=[disk], ports=[PORT])
    second.wait_ready()
    assert second.fetch(PORT) == web.PAGE
    assert "unpacked" not in second.log.text


@pytest.mark.parametrize("restart, again", [
    ("always", True), ("on-failure", True), ("no", False)])
def test_restart_policy(boot, scratch, httpd, restart, again):
    disk = medium.web(scratch / "disk", httpd, restart=restart,
                      command=["sh", "-c", "echo I was started; exit 3"])
    node = boot(disks=[disk])
    node.wait_ready()
    node.wait_console("log znode", r"web-1 exited with 3")
    if again:
        node.wait_console("log web-3", r"I was started")
    else:
        assert "web-2" not in node.console("log znode")
