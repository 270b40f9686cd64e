"""zrun serve writes containers that listen to checkpoints, and starts others
from there (ZRUN_LISTEN, ZRUN_CHECKPOINT, ZRUN_RESTORE), under
`init --supervise` on this machine."""

import copy
import errno
import os
import select

import pytest

import test_zrun_serve as serve
from test_zrun_serve import (  # noqa: F401
    DELETE, EXEC, KILL, START, node, remove, sealed)

LISTEN, CHECKPOINT, RESTORE, CHECKPOINTS, REMOVE = range(20, 25)
KEEP = 1
ADDRESS = "10.64.0.9"

pytestmark = serve.pytestmark


def ask(node, verb, config, id="web", path="web", **more):  # noqa: F811
    fd = sealed(config)
    try:
        return node.ask(verb, id=id, digest=node.digest, fds=[fd], path=path,
                        **more)
    finally:
        os.close(fd)


def started(node, *args, flags=KEEP, **more):  # noqa: F811
    config = serve.config(*args, **more)
    reply = ask(node, START, config, flags=flags)
    assert reply.error == 0, reply
    return config


def listens(node, port=0, timeout_s=20):  # noqa: F811
    """Whether somebody began to within that time."""
    reply = node.ask(LISTEN, id="web", arg=port)
    assert reply.error == 0, reply
    try:
        return bool(select.select(reply.fds, [], [], timeout_s)[0])
    finally:
        os.close(reply.fds[0])


def gone(node, id="web"):  # noqa: F811
    node.ask(KILL, id=id, arg=9)
    node.wait_ended(id)
    assert node.ask(DELETE, id=id).error == 0


HTTPD = "httpd -p 81; sleep 0.2; exec httpd -f -p 80"


def test_who_listens(node):  # noqa: F811
    """Of that port alone, or of any; also since before; and its end."""
    started(node, "sh", "-c", HTTPD)
    assert listens(node, 80)
    assert listens(node, 81, 1) and listens(node, 0, 1)
    assert not listens(node, 82, 0.5)
    reply = node.ask(LISTEN, id="web", arg=82)
    assert node.exec("web", 1, "httpd", "-p", "82").error == 0
    assert select.select(reply.fds, [], [], 20)[0]
    os.close(reply.fds[0])
    reply = node.ask(LISTEN, id="web", arg=83)
    gone(node)
    assert select.select(reply.fds, [], [], 20)[0]
    os.close(reply.fds[0])
    assert node.ask(LISTEN, id="web").error == -errno.ENOENT


def test_restored_at_another_address(node):  # noqa: F811
    """Beside the first one, whose name and files it has."""
    started(node, "sh", "-c", "echo 1 >/made; exec httpd -f -p 80",
            address=ADDRESS)
    assert listens(node, 80)
    assert node.ask(CHECKPOINT, id="web", path="web").error == 0
    assert node.ask(CHECKPOINTS).id == "web"
    assert node.ask(CHECKPOINTS, arg=1).error == -errno.ENOENT
    assert node.list()["web"][0] == "running"
    other = serve.config("sh", "-c", "echo 1 >/made; exec httpd -f -p 80",
                         address="10.64.0.10")
    assert ask(node, RESTORE, other, id="two").error == 0
    reply = node.exec("two", 1, "sh", "-c", "cat /made; ip -4 addr; wget -qO- "
                      "http://10.64.0.10/cgi-bin/client || :")
    said = reply.output.read().decode()
    node.ended("two", 1)
    assert said.startswith("1\n") and "10.64.0.10" in said
    assert ADDRESS + "/" not in said
    gone(node)
    assert ask(node, RESTORE, other, path="none").error == -errno.ENOENT
    gone(node, "two")
    other["hostname"] = "another"
    reply = ask(node, RESTORE, other)
    assert reply.error == -errno.ESTALE and "its config" in reply.text
    assert node.ask(CHECKPOINTS).error == -errno.ENOENT
    assert "web" not in node.list()


def test_refused_to_who_asks_for_more(node):  # noqa: F811
    """Whatever lies in the checkpoint, for it may be another one's."""
    config = started(node, "httpd", "-f", "-p", "80")
    assert listens(node, 80)
    assert node.ask(CHECKPOINT, id="web", path="web").error == 0
    gone(node)
    other = copy.deepcopy(config)
    other["process"]["capabilities"] = {"bounding": ["CAP_SYS_ADMIN"]}
    reply = ask(node, RESTORE, other)
    assert reply.error < 0 and "refused: " in reply.text, reply
    assert "web" not in node.list()
    # It is there still, for who asks for what it is of.
    config["hostname"] = "another"
    assert ask(node, RESTORE, config).error == -errno.ESTALE
    assert node.ask(CHECKPOINTS).error == -errno.ENOENT


def with_volume(node):  # noqa: F811
    (node.path / "data/volumes/v").mkdir(parents=True, exist_ok=True)
    config = serve.config("httpd", "-f", "-p", "80")
    config["mounts"].append({
        "destination": "/v", "type": "bind", "options": ["bind"],
        "source": str(node.path / "data/volumes/v")})
    assert ask(node, START, config, flags=KEEP).error == 0


@pytest.mark.parametrize("what, error, text", [
    ("volume", errno.EINVAL, "it may write a volume"),
    ("address", errno.EINVAL, "it listens on its own address alone"),
    ("not kept", errno.ESTALE, "its config is not here"),
    ("serve", errno.ESTALE, "its config is not here"),
    ("exec", errno.EBUSY, "a process of exec runs in it"),
    ("name", errno.EINVAL, "want a name")])
def test_refused(node, what, error, text):  # noqa: F811
    """It runs on."""
    if what == "volume":
        with_volume(node)
    elif what == "address":
        started(node, "httpd", "-f", "-p", ADDRESS + ":80", address=ADDRESS)
    else:
        started(node, "httpd", "-f", "-p", "80",
                flags=KEEP if what != "not kept" else 0)
    assert listens(node)
    if what == "exec":
        assert node.exec("web", 1, "sleep", "1000").error == 0
    elif what == "serve":
        pid = node.kill_serve()
        node.wait(lambda: node.serve_pid() not in (0, pid) and node.listens())
    reply = node.ask(CHECKPOINT, id="web",
                     path="../web" if what == "name" else "web")
    assert reply.error == -error and text in reply.text, reply
    assert node.list()["web"][0] == "running"
    # One that was of no use is removed beside what serve does.
    node.wait(lambda: not os.listdir(node.path / "data/checkpoints"))
    gone(node)
