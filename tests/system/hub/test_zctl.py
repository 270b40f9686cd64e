"""The operator's command against the real hub."""

import pytest

from hub import Hub, Node, zhub
from registry import push
from zctl import AGAIN, FAILED, REFUSED, USAGE, Zctl

SHOP = """\
name: shop
services:
  web:
    image: hub/web:1
    command: httpd -f -h "/the www"
    environment: {KEY: value, ANSWER: no}
    ports: ["8080:80"]
    restart: unless-stopped
"""


@pytest.fixture
def zctl(hub, tmp_path):
    return Zctl(hub, tmp_path)


def test_from_file_to_document(hub, zctl, tmp_path):
    node = Node(hub, tmp_path, "n1")
    digest = push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    assert zctl("apply", "--node", "n1") == [
        "shop: web: hub/web:1@" + digest[:19]]
    with node.watch(follow=False) as watch:
        app, = watch.document()["apps"]
    origin = app.pop("origin")
    assert origin["application"] == "shop" and origin["by"] == "operator"
    assert app == {
        "name": "web", "image": "hub/web:1", "digest": digest,
        "command": ["httpd", "-f", "-h", "/the www"],
        "environment": {"KEY": "value", "ANSWER": "no"},
        "ports": [{"host": 8080, "container": 80}],
        "restart": "unless-stopped"}
    node.observe({"name": "web", "state": "running", "restarts": 2,
                  "cpu_ms": 61500, "memory_bytes": 12 << 20,
                  "started": "2020-01-01T00:00:00Z", "container": "web-1"})
    head, row = zctl("ps")
    assert head.split() == ["NODE", "NAME", "IMAGE", "STATE", "AGE", "CPU",
                            "MEMORY", "RESTARTS"]
    assert row.split()[:3] == ["n1", "web", "hub/web:1"]
    assert "running" in row and " d  1:01   12 MB         2" in row
    row, = zctl.json("ps")["rows"]
    assert row["application"] == "shop" and row["restarts"] == 2
    assert zctl("rm", "shop") == []
    with node.watch(follow=False) as watch:
        assert watch.document()["apps"] == []
    assert zctl.fails("rm", "shop") == "shop: no application shop"


def test_token_lets_a_node_in(hub, zctl, tmp_path):
    token, = zctl("token", "create", "--uses", "2", "--expires", "1h",
                  "--place", "tokyo/rack3", "--label", "site=a")
    node = Node(hub, tmp_path, "n1", token)
    head, row = zctl("nodes")
    assert head.split() == ["NAME", "STATE", "SEEN", "CURRENT", "PLACE",
                            "BOARD", "LABELS", "ID"]
    assert row.split() == ["n1", "offline", "-", "no", "tokyo/rack3",
                           "x86_64", "site=a", node.id]
    listed, = zctl.json("token", "ls")["tokens"]
    assert listed["uses"] == 1
    assert zctl("token", "rm", listed["id"]) == []
    assert zctl.json("token", "ls")["tokens"] == []
