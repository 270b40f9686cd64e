"""znode under `init --supervise` on this machine, with the sanitizers in it:
what its tests share."""

import contextlib
import fcntl
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

from . import BUILD, process
from .messages import ZNODE_REPLY, ZNODE_REQUEST

# build/x86_64/bin: without the sanitizers, as on a node.
BIN = pathlib.Path(os.environ.get("ZOOID_BIN", BUILD / "host/bin"))
HERE = pathlib.Path(__file__).parent
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


def write_layout(directory, layer=b"a layer"):
    """An OCI layout of documents; its layer is never read here. The digest of
    the manifest, and that of an index for several platforms."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": OCI + media, "digest": "sha256:" + digest,
                "size": len(data)}
    layer = blob(layer, "layer.v1.tar")
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
    platforms = blob(json.dumps({"schemaVersion": 2, "manifests": [
        {**manifest, "platform": {"os": "linux", "architecture": name}}
        for name in ("arm", ARCHITECTURE)]}).encode(), "index.v1+json")
    return manifest["digest"], platforms["digest"]


class Host:
    def __init__(self, directory):
        self.boot, self.run = directory / "boot", directory / "run"
        self.peer, self.data = directory / "peer", directory / "data"
        self.registry = self.peer / "registry"
        for path in (self.boot, self.run, self.registry, self.data / "pull",
                     self.data / "images", self.data / "desired"):
            path.mkdir(parents=True)
        os.chown(self.data / "desired", UID_ZNODE, UID_ZNODE)
        write_layout(self.boot / "images/one")
        self.env = {**os.environ, "ZOOID_RUN": str(self.run),
                    "ZOOID_BOOT": str(self.boot),
                    "ZOOID_DATA": str(self.data),
                    "ASAN_OPTIONS": "detect_leaks=0"}
        self.errors = directory / "stderr"
        self.process = None
        self.zrun = "/usr/bin/python3 %s %s" % (HERE / "zrun_peer.py",
                                                self.peer)

    def write(self, *apps, **more):
        (self.boot / "node.json").write_text(json.dumps(
            {"apps": apps, **more}))

    def start(self, *apps, **more):
        self.write(*apps, **more)
        table = self.run.with_name("services")
        table.write_text(
            "zrun mode=0666 : %s\n"
            "zpull mode=0666 : /usr/bin/python3 %s %s\n"
            "znode kmsg uid=%d mode=0666 needs=zrun : %s\n" %
            (self.zrun, HERE / "zpull_peer.py", self.peer, UID_ZNODE,
             BIN / "znode"))
        ready = self.said().count("init: ready")
        with open(self.errors, "ab") as errors:
            self.process = process.start(
                [BIN / "init", "--supervise", "--services", table],
                env=self.env, stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors)
        self.wait(lambda: self.said().count("init: ready") > ready)

    def order(self, verb, what):
        (self.peer / ("next-" + verb)).write_text(what)

    def said(self):
        return self.errors.read_text(errors="replace") \
            if self.errors.exists() else ""

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
        return re.findall("^%s (.*)$" % verb, path.read_text(), re.M) \
            if path.exists() else []

    def pid(self, name):
        path = "/proc/%d/task/%d/children" % ((self.process.pid,) * 2)
        for pid in open(path).read().split():
            with open("/proc/%s/cmdline" % pid) as file:
                if name in file.read():
                    return int(pid)
        return None

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(DEADLINE_S)
        sock.connect(str(self.run / "znode.sock"))
        return sock

    def ask(self, verb, *files, sock=None):
        """(error, (epoch, revision), text) of znode's reply."""
        with contextlib.ExitStack() as stack:
            sock = sock or stack.enter_context(self.connect())
            fds = [sealed(data) for data in files]
            try:
                socket.send_fds(sock, [ZNODE_REQUEST.pack(
                    ZNODE_REQUEST.size, verb, 0, 0, b"")], fds)
            finally:
                for fd in fds:
                    os.close(fd)
            return answer(sock)

    def kill(self, name):
        """SIGKILL; returns when init has a new one ready."""
        word = {"znode": "znode", "zrun": "zrun_peer",
                "zpull": "zpull_peer"}[name]
        ready = self.said().count("init: %s: ready" % name)
        os.kill(self.pid(word), signal.SIGKILL)
        self.wait(lambda: self.said().count("init: %s: ready" % name) > ready)

    def stop(self):
        """As a power-off: nothing runs any more, /data is kept."""
        process.end(self.process, term_s=20)
        assert self.process.returncode == 0, self.said()
        self.process = None

    def close(self):
        process.end(self.process, term_s=20)
        assert "Sanitizer" not in self.said(), self.said()
        assert "runtime error" not in self.said(), self.said()


def host_in_directory():
    """The body of a fixture. Not tmp_path, which znode's own user may not
    enter."""
    with tempfile.TemporaryDirectory(prefix="zooid-") as directory:
        os.chmod(directory, 0o755)
        host = Host(pathlib.Path(directory))
        yield host
        host.close()


def sealed(data):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd


def answer(sock):
    data = sock.recv(ZNODE_REPLY.size)
    _, _, error, _, epoch, revision, text = ZNODE_REPLY.unpack(data)
    return -error, (epoch, revision), text.split(b"\0")[0].decode()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except ConnectionRefusedError:
        return False
