"""Containers that use more than their share are named, on this machine: who
floods his log, who fills his volume, with bytes or with files."""

import os
import re
import time

import pytest

from zooid import image, mount
from zooid.app_node import Node
from zooid.host import BIN, directory
from zooid.znode_host import Host

UID_ZLOG = 101
QUIET_S = 12  # for which who was named is not named again

FLOOD = "yes a line of a flood"
FILL = "dd if=/dev/urandom of=/v/big bs=64k; sleep 1000"
# Empty ones, which take no data at all.
FILES = "i=0; while :; do i=$((i+1)); echo -n >/v/f$i || sleep 1; done"


@pytest.fixture
def node(tmp_path):
    """With zlog, and with /data as init makes it."""
    with directory() as path:
        (path / "data").mkdir()
        with mount.btrfs(tmp_path / "disk", 512, path / "data"):
            host = Host(path)
            (host.data / "logs").mkdir()
            os.chown(host.data / "logs", UID_ZLOG, UID_ZLOG)
            host.more = ["zlog kmsg uid=%d mode=0666 : %s" %
                         (UID_ZLOG, BIN / "zlog")]
            yield Node(host, tmp_path, image.make(
                "culprit", {}, ["--config.cmd", "sh"]))
            host.close()


def culprit(node, script, name="culprit", **more):
    return node.app(name, command=["sh", "-c", script], **more)


def volume(mb, source="v"):
    return [{"type": "volume", "source": source, "target": "/v",
             "size": mb << 20}]


def wait_named(node, pattern, name="culprit"):
    """Its row says it, and the log."""
    host = node.host
    host.wait(lambda: re.search(pattern, (host.app(name) or {"limit": ""})
                                .get("limit", "")))
    assert re.search(r"znode: %s: %s-\d+ %s" % (name, name, pattern),
                     host.said()), host.said()


def is_well(node):
    """ps answers, and another one can be applied, which runs."""
    rows = [row["name"] for row in node.host.rows()]
    assert "culprit" in rows


def test_flood_of_the_log(node):
    """Named once, not each time that lines are dropped; and by the next znode,
    whom the next zlog tells. Who is calm is not named."""
    host = node.host
    flood, calm = culprit(node, FLOOD), culprit(
        node, "while :; do echo calm; sleep 0.1; done", "calm")
    node.apply(flood, calm)
    wait_named(node, r"floods its log \(\d+ lines dropped\)")
    named = host.said().count("floods its log")
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        is_well(node)
        assert host.said().count("floods its log") == named == 1
        time.sleep(0.5)
    assert not host.app("calm").get("limit")
    host.kill("zlog")
    host.kill("znode")
    host.wait(lambda: host.said().count("floods its log") == 2)
    node.apply(flood, calm, culprit(node, "sleep 1000", "another"))
    host.wait_state("running", "another")


@pytest.mark.parametrize("script", [FILL, FILES], ids=["bytes", "files"])
def test_full_volume(node, script):
    """It ends at its quota, is named, and others write on."""
    host = node.host
    full = culprit(node, script, mounts=volume(16))
    node.apply(full)
    wait_named(node, r"has used 1\d of the 16 MB of volume shop.v")
    is_well(node)
    assert used(host.data) < 64 << 20
    node.apply(full, culprit(
        node, "dd if=/dev/zero of=/v/some bs=1M count=4 && sync && "
        "echo written && sleep 1000", "another", mounts=volume(16, "w")))
    host.wait_state("running", "another")
    host.wait(lambda: "written" in (host.data / "logs/another.log").read_text()
              if (host.data / "logs/another.log").exists() else False)
    assert not host.app("another").get("limit")
    # The next instance finds it as full.
    host.znode("restart", "culprit")
    host.wait(lambda: not host.app("culprit")["limit"])
    wait_named(node, r"has used 1\d of the 16 MB of volume shop.v")


def used(path):
    s = os.statvfs(path)
    return (s.f_blocks - s.f_bfree) * s.f_frsize
