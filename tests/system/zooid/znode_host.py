"""znode under `init --supervise` on this machine, with the sanitizers in it:
what its tests share."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess

from .host import BIN, DEADLINE_S, Supervised, directory
from .messages import ZNODE_REPLY, ZNODE_REQUEST

HERE = pathlib.Path(__file__).parent
UID_ZNODE = 102
OCI = "application/vnd.oci.image."
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


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


class Host(Supervised):
    def __init__(self, path):
        self.boot, self.peer = path / "boot", path / "peer"
        self.data, self.registry = path / "data", path / "peer/registry"
        super().__init__(path, ZOOID_BOOT=self.boot, ZOOID_DATA=self.data)
        for folder in (self.boot, self.registry, self.data / "pull",
                       self.data / "images", self.data / "desired"):
            folder.mkdir(parents=True)
        os.chown(self.data / "desired", UID_ZNODE, UID_ZNODE)
        write_layout(self.boot / "images/one")
        self.more = []  # services
        self.zrun = "/usr/bin/python3 %s %s" % (HERE / "zrun_peer.py",
                                                self.peer)

    def write(self, *apps, **more):
        (self.boot / "node.json").write_text(json.dumps(
            {"apps": apps, **more}))

    def start(self, *apps, **more):
        self.write(*apps, **more)
        self.supervise(
            "zrun mode=0666 : %s" % self.zrun,
            "zpull mode=0666 : /usr/bin/python3 %s %s" %
            (HERE / "zpull_peer.py", self.peer),
            "znode kmsg uid=%d mode=0666 needs=zrun : %s" %
            (UID_ZNODE, BIN / "znode"), *self.more)

    def order(self, verb, what):
        (self.peer / ("next-" + verb)).write_text(what)

    def znode(self, *words, status=0, **options):
        done = subprocess.run([BIN / "znode", *words], env=self.env,
                              text=True, capture_output=True, timeout=60,
                              **options)
        assert done.returncode == status, done.stderr + self.said()
        return done.stdout + done.stderr

    def rows(self):
        return json.loads(self.znode("ps", "-o", "json"))

    def app(self, name="web"):
        for row in self.rows():
            if row["name"] == name:
                return row
        return None

    def wait_state(self, state, name="web"):
        self.wait(lambda: (self.app(name) or {}).get("state") == state)
        return self.app(name)

    def requests(self, verb):
        path = self.peer / "requests"
        return re.findall("^%s (.*)$" % verb, path.read_text(), re.M) \
            if path.exists() else []

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


def host_in_directory():
    """The body of a fixture."""
    with directory() as path:
        host = Host(path)
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


def connects(port, address="127.0.0.1"):
    try:
        socket.create_connection((address, port), 5).close()
        return True
    except ConnectionRefusedError:
        return False
