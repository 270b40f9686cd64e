"""A node whose node.json is wrong boots to its console and says where."""

import re

import pytest

from zooid import Disk, medium, web

WEB = medium.web_app()

MISTAKES = {
    "not JSON": ('{\n"name": "a"\n', r"node\.json:\d+: .*"),
    "empty": ("", r"node\.json:1: .*"),
    "binary": (bytes(range(256)), r"node\.json:\d+: .*"),
    "unknown key": (
        '{\n "nmae": "n1"\n}', r"node\.json:2: nmae: unknown key.*"),
    "wrong type": ('{\n\n"name": 7}', r"node\.json:3: name: .*"),
    "bad id": ('{"name": "Has Space"}', r"node\.json:1: name: .*"),
    "bad port": (medium.node_json(dict(WEB, ports=["80:x"])),
                 r"node\.json:\d+: apps\[0\]\.ports\[0\]: .*"),
    "port out of range": (medium.node_json(dict(WEB, ports=["70000:80"])),
                          r"node\.json:\d+: apps\[0\]\.ports\[0\]: .*"),
    "port twice": (medium.node_json(WEB, dict(WEB, name="b")),
                   r"node\.json:\d+: apps\[1\]\.ports\[0\]: .*"),
    "name twice": (medium.node_json(WEB, dict(WEB, ports=["81:80"])),
                   r"node\.json:\d+: apps\[1\]\.name: .*"),
    "image escapes": (medium.node_json(dict(WEB, image="../../data")),
                      r"node\.json:\d+: apps\[0\]\.image: .*"),
    "bad memory": (medium.node_json(dict(WEB, memory="64 apples")),
                   r"node\.json:\d+: apps\[0\]\.memory: .*"),
    "bad address": (
        '{"interfaces": [\n{"match": "eth0", "address": ["10.0.0.300/24"]}]}',
        r"node\.json:2: interfaces\[0\]\.address\[0\]: .*"),
    "password in clear": ('{"console": {"password": "secret"}}',
                          r"node\.json:1: console\.password: (?!.*secret).*"),
    "grants itself": (medium.node_json(dict(WEB, privileged=True)),
                      r"node\.json:\d+: apps\[0\]\.privileged: unknown.*"),
    "larger than allowed": ('{"name": "a"' + " " * (257 << 10) + "}",
                            r"node\.json.*"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_and_the_console_comes(boot, scratch, mistake):
    text, line = MISTAKES[mistake]
    disk = Disk.make(scratch / "disk", {"node.json": text})
    node = boot(disks=[disk])
    node.wait_for(line)
    node.wait_ready()
    assert node.console("status")


def test_no_node_json_is_no_mistake(boot, scratch):
    node = boot(disks=[Disk.make(scratch / "disk", {"README": "hello"})])
    node.wait_ready()
    assert node.console("status")
    assert not re.search(r"node\.json:\d", node.log.text)


def test_fixed_address(boot, scratch, httpd):
    """No DHCP then, and the page is served under that address."""
    text = medium.node_json(WEB, interfaces=[{
        "match": "eth0", "address": ["10.0.2.15/24"],
        "gateway": ["10.0.2.2"]}])
    disk = medium.web(scratch / "disk", httpd, text=text)
    node = boot(disks=[disk], ports=[medium.WEB_PORT])
    node.wait_ready()
    assert node.fetch(medium.WEB_PORT) == web.PAGE
    assert "10.0.2.15" in node.console("status")
