"""znode under `init --supervise` on this machine, with the sanitizers in it: a
peer in zrun's place fails in all ways, znode is killed in between."""

import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from zooid import BUILD, process

BIN = BUILD / "host/bin"
PEER = pathlib.Path(__file__).with_name("zooid") / "zrun_peer.py"
UID_ZNODE = 102
DEADLINE_S = 30
OCI = "application/vnd.oci.image."
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def free_port():
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def app(name="web", **changes):
    return {"name": name, "image": "images/one", "command": ["run"],
            **changes}


def write_layout(directory):
    """An OCI layout of documents; its layer is never read here."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": OCI + media, "digest": "sha256:" + digest,
                "size": len(data)}
    layer = blob(b"a layer", "layer.v1.tar")
    config = blob(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }).encode(), "config.v1+json")
    manifest = blob(json.dumps({
        "schemaVersion": 2, "config": config, "layers": [layer],
    }).encode(), "manifest.v1+json")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [manifest]}))


class Host:
    def __init__(self, directory):
        self.boot, self.run = directory / "boot", directory / "run"
        self.peer, self.data = directory / "peer", directory / "data"
        for path in (self.boot, self.run, self.peer, self.data / "images",
                     self.data / "desired"):
            path.mkdir(parents=True)
        os.chown(self.data / "desired", UID_ZNODE, UID_ZNODE)
        write_layout(self.boot / "images/one")
        self.env = {**os.environ, "ZOOID_RUN": str(self.run),
                    "ZOOID_BOOT": str(self.boot),
                    "ZOOID_DATA": str(self.data),
                    "ASAN_OPTIONS": "detect_leaks=0"}
        self.errors = directory / "stderr"
        self.process = None

    def write(self, *apps):
        (self.boot / "node.json").write_text(json.dumps({"apps": apps}))

    def start(self, *apps):
        self.write(*apps)
        table = self.run.with_name("services")
        table.write_text(
            "zrun mode=0666 : /usr/bin/python3 %s %s\n"
            "znode kmsg uid=%d mode=0666 needs=zrun : %s\n" %
            (PEER, self.peer, UID_ZNODE, BIN / "znode"))
        with open(self.errors, "wb") as errors:
            self.process = process.start(
                [BIN / "init", "--supervise", "--services", table],
                env=self.env, stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors)
        self.wait(lambda: "init: ready" in self.said())

    def order(self, verb, what):
        (self.peer / ("next-" + verb)).write_text(what)

    def said(self):
        return self.errors.read_text(errors="replace")

    def wait(self, ready):
        end = time.monotonic() + DEADLINE_S
        while not ready():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()

    def znode(self, *words, status=0, **options):
        done = subprocess.run([BIN / "znode", *words], env=self.env,
                              text=True, capture_output=True, timeout=60,
                              **options)
        assert done.returncode == status, done.stderr + self.said()
        return done.stdout + done.stderr

    def app(self, name="web"):
        for row in json.loads(self.znode("ps", "-o", "json")):
            if row["name"] == name:
                return row
        return None

    def wait_state(self, state, name="web"):
        self.wait(lambda: self.app(name)["state"] == state)
        return self.app(name)

    def requests(self, verb):
        path = self.peer / "requests"
        return re.findall("^%s (.*)$" % verb, path.read_text(), re.M)

    def pid(self, name):
        path = "/proc/%d/task/%d/children" % ((self.process.pid,) * 2)
        for pid in open(path).read().split():
            with open("/proc/%s/cmdline" % pid) as file:
                if name in file.read():
                    return int(pid)
        return None

    def kill(self, name):
        """SIGKILL; returns when init has a new one ready."""
        word = {"znode": "znode", "zrun": "zrun_peer"}[name]
        ready = self.said().count("init: %s: ready" % name)
        os.kill(self.pid(word), signal.SIGKILL)
        self.wait(lambda: self.said().count("init: %s: ready" % name) > ready)

    def close(self):
        process.end(self.process, term_s=20)
        assert "Sanitizer" not in self.said(), self.said()
        assert "runtime error" not in self.said(), self.said()


@pytest.fixture
def host():
    # Not tmp_path, which znode's own user may not enter.
    with tempfile.TemporaryDirectory(prefix="zooid-") as directory:
        os.chmod(directory, 0o755)
        host = Host(pathlib.Path(directory))
        yield host
        host.close()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except ConnectionRefusedError:
        return False


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
