"""znode under `init --supervise` on this machine, with the sanitizers in it: a
peer in zrun's place fails in all ways, znode is killed in between."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from zooid.host import BIN, free_port
from zooid.znode_host import app, connects, host_in_directory

UID_ZLOG = 101


@pytest.fixture
def host():
    yield from host_in_directory()


def test_runs_and_survives_its_own_death(host):
    port = free_port()
    host.start(app(ports=["%d:80" % port]))
    before = host.wait_state("running")
    assert before["container"] == "web-1" and connects(port)
    host.kill("znode")
    after = host.app()
    for key in ("container", "pid", "started_ms", "digest", "ports"):
        assert after[key] == before[key], key
    assert after["state"] == "running" and connects(port)
    assert host.requests("start") == ["web-1"]
    assert host.requests("kill") == []


def test_a_container_that_dies_is_started_again(host):
    host.start(app())
    os.kill(host.wait_state("running")["pid"], signal.SIGKILL)
    host.wait(lambda: host.app()["container"] == "web-2")
    row = host.wait_state("running")
    assert row["restarts"] == 1
    host.kill("znode")
    assert host.app()["restarts"] == 1
    assert host.requests("delete") == ["web-1"]


@pytest.mark.parametrize("restart, status, state", [
    ("no", 3, "failed"), ("no", 0, "image"), ("on-failure", 0, "image")])
def test_one_that_is_not_started_again(host, restart, status, state):
    port = free_port()
    host.order("start", "exit %d" % status)
    host.start(app(restart=restart, ports=["%d:80" % port]))
    host.wait(lambda: host.app()["reason"] == "exited with %d" % status)
    host.wait_state(state)
    assert not connects(port)
    host.kill("znode")
    assert host.app()["reason"] == "exited with %d" % status
    assert host.requests("start") == ["web-1"]
    assert "running" in host.znode("start", "web")
    assert connects(port)


def test_stop_lasts(host):
    port = free_port()
    host.start(app(ports=["%d:80" % port]))
    host.wait_state("running")
    assert host.znode("stop", "web") == "web stopped\n"
    assert not connects(port)
    host.kill("znode")
    assert host.app()["stopped"] and not connects(port)
    assert host.znode("start", "web") == "web running\n"
    assert host.app()["container"] == "web-2" and connects(port)
    assert host.znode("restart", "web") == "web running\n"
    assert host.app()["container"] == "web-3"


@pytest.mark.parametrize("verb", ["unpack", "start"])
@pytest.mark.parametrize("who", ["zrun", "znode"])
def test_killed_in_the_middle(host, verb, who):
    """Of a call that nobody answered, or whose answer nobody took."""
    host.order(verb, "hang" if verb == "unpack" else "die")
    host.start(app())
    if verb == "unpack":
        host.wait(lambda: (host.peer / "requests").exists())
        host.kill(who)
    row = host.wait_state("running")
    if who == "znode":
        host.kill("znode")
    assert host.app()["pid"] == row["pid"]
    os.kill(row["pid"], 0)
    assert len(host.requests("start")) <= 2


@pytest.mark.parametrize("code, again", [(74, False), (1, False), (28, True)])
def test_image_that_does_not_come(host, code, again):
    """Damaged or refused: for good. No space: tried again."""
    port = free_port()
    host.order("unpack", "error %d" % code)
    host.start(app(ports=["%d:80" % port]))
    if again:
        host.wait_state("running")
        assert len(host.requests("unpack")) == 2
        return
    assert host.wait_state("failed")["reason"] == "told to fail"
    assert not connects(port)
    assert len(host.requests("unpack")) == 1
    assert "running" in host.znode("start", "web")
    assert connects(port)


def test_flipped_bits_in_documents(host, rng):
    blobs = sorted((host.boot / "images/one/blobs/sha256").iterdir())
    for path in blobs:
        data = bytearray(path.read_bytes())
        if data == b"a layer":
            continue
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    host.start(app())
    row = host.wait_state("failed")
    assert re.match(r"images/one: blob sha256:[0-9a-f]{64}: damaged",
                    row["reason"])
    assert host.said().count("blob sha256:") == 1


def test_failed_start_is_in_its_log(host):
    """Where its program wrote nothing; and among what one before it wrote."""
    (host.data / "logs").mkdir()
    os.chown(host.data / "logs", UID_ZLOG, UID_ZLOG)
    host.more = ["zlog kmsg uid=%d mode=0666 : %s" % (UID_ZLOG, BIN / "zlog")]

    def log(name):
        return subprocess.run([BIN / "zlog", "tail", name], env=host.env,
                              text=True, capture_output=True,
                              timeout=60).stdout
    for n in (1, 2):
        host.order("start", "error 22")
        if n == 1:
            host.start(app())
        else:
            assert "told to fail" in host.znode("start", "web", status=1)
        host.wait(lambda: log("web").count(" error znode: told to fail\n")
                  == n)
    assert log("web-1") == log("web")


@pytest.mark.parametrize("wish", ["freeze", "sleep"])
def test_refused_wish_is_no_reason(host, wish):
    """It is refused while the image comes, and forgotten with that."""
    host.order("unpack", "hang")
    host.start(app())
    host.wait_state("pulling")
    assert "it does not run" in host.znode(wish, "web", status=1)
    host.kill("zrun")
    assert host.wait_state("running")["why"] == ""


@pytest.mark.parametrize("words", [
    ["ps"], ["ps", "-o", "json"], ["images"], ["inspect", "web"],
    ["react", "--dry-run"], ["stop", "web"], ["help"]])
def test_output_that_cannot_be_written(host, words):
    host.start(app())
    host.wait_state("running")
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "znode", *words], env=host.env,
                              stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=60)
    assert done.returncode == 1
    assert done.stderr == \
        "znode: standard output: No space left on device\n"


def test_one_taken_out_of_node_json(host):
    host.start(app(), app("other"))
    host.wait_state("running", "other")
    pid = host.wait_state("running")["pid"]
    (host.boot / "node.json").write_text("{")
    host.kill("znode")
    assert host.app()["state"] == "running"
    os.kill(pid, 0)  # nobody knows what is wanted: it goes on
    host.write(app("other"))
    host.kill("znode")
    host.wait(lambda: host.requests("delete") == ["web-1"])
    assert host.app("other")["container"] == "other-1"
    assert "web-1: not in node.json" in host.said()


def test_images_that_nobody_names_are_forgotten(host):
    own = json.loads((host.boot / "images/one/index.json").read_text())[
        "manifests"][0]["digest"]
    others = ["sha256:" + digit * 64 for digit in "abc"]
    (host.peer / "images").write_text("\n".join(
        [others[0], own, *others[1:]]))
    host.order("unpack", "error 28")  # not before there is space again
    host.start(app())
    host.wait_state("running")
    host.wait(lambda: sorted(host.requests("forget")) == others)
    assert (host.peer / "images").read_text() == own


def test_image_not_found_keeps_the_others(host):
    (host.peer / "images").write_text("sha256:" + "a" * 64)
    host.start(app(), app("other", image="images/none"))
    host.wait_state("failed", "other")
    host.wait_state("running")
    host.znode("restart", "web")
    assert host.requests("forget") == []


def test_port_in_use(host):
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        host.start(app(ports=["%d:80" % port]))
        row = host.wait_state("running")
        assert row["ports"] == [
            {"host": port, "container": 80, "bound": False}]
    host.wait(lambda: host.app()["ports"][0]["bound"])


def test_who_may_ask(host):
    host.start(app())
    host.wait_state("running")

    def nobody():
        os.setgid(65534)
        os.setuid(65534)
    assert "web" in host.znode("ps", preexec_fn=nobody)
    for verb in ("stop", "start", "restart", "inspect"):
        said = host.znode(verb, "web", status=1, preexec_fn=nobody)
        assert "only root" in said
    assert "no such application" in host.znode("stop", "none", status=1)
    assert host.znode("stop", status=2).startswith("usage:")
    config = json.loads(host.znode("inspect", "web"))["config"]
    assert config["process"]["args"] == ["run"]
    assert host.app()["container"] == "web-1"
