"""What the signed document grants beyond the default, as zrun serve takes it:
each request outside of it is refused, whoever asks for it."""

import errno
import hashlib
import json
import os
import select
import stat

import pytest

import test_zrun_serve as serve
from test_zrun_serve import sealed
from zooid.organism import Organism

GRANTS = 17
DEVICE = "/dev/zooid-test"

pytestmark = serve.pytestmark


class Granting:
    """A node whose node.json has the organism's token, and what znode does:
    it keeps the document and asks."""

    def __init__(self, node, organism):
        self.node, self.organism = node, organism
        self.revision = 0
        (node.path / "data/desired").mkdir()
        self.token(organism)

    def token(self, organism):
        (self.node.path / "boot/node.json").write_text(
            json.dumps({"hub": {"token": organism.token()}}))

    def document(self, grants, revision=None, node="n-0123456789abcd", **app):
        if revision is None:
            self.revision += 1
        return {"node": node, "name": "n1", "epoch": 1,
                "revision": revision or self.revision, "registry": "hub",
                "apps": [dict({"name": "app", "image": "hub/httpd",
                               "digest": self.node.digest,
                               "grants": grants}, **app),
                         {"name": "other", "image": "hub/httpd",
                          "digest": self.node.digest}]}

    def put(self, document, signer="documents", organism=None):
        organism = organism or self.organism
        self.keep(organism.root.encode() + organism.envelope(document, signer))

    def keep(self, text):
        (self.node.path / "data/desired/document").write_bytes(text)

    def ask(self):
        return self.node.ask(GRANTS)

    def grant(self, *grants, **more):
        self.put(self.document(list(grants), **more))
        reply = self.ask()
        assert reply.error == 0, reply

    def config(self, *args, service="app", capability=None, device=None,
               access=("read", "write", "mknod")):
        config = json.loads(json.dumps(serve.config(*args)))
        config["annotations"]["org.zooid.service"] = service
        if capability:
            for names in config["process"]["capabilities"].values():
                names.append("CAP_" + capability)
        if device:
            config["mounts"].append(
                {"destination": device, "source": device, "type": "device",
                 "options": list(access)})
        return config

    def start(self, id, config, digest=None):
        fd = sealed(config)
        try:
            return self.node.ask(serve.START, id=id, fds=[fd],
                                 digest=digest or self.node.digest)
        finally:
            os.close(fd)

    def said(self, id):
        _, fds = self.node.from_init(serve.OUTPUT, id, 1)
        assert select.select(fds, [], [], serve.DEADLINE)[0]
        text = os.read(fds[0], 1000).decode()
        os.close(fds[0])
        return text

    def refused(self, config, text, **more):
        reply = self.start("refused", config, **more)
        assert reply.error == -errno.EPERM and text in reply.text, reply
        assert "refused" not in self.node.list()


@pytest.fixture(scope="module")
def organism(tmp_path_factory):
    return Organism(tmp_path_factory.mktemp("organism") / "keys")


@pytest.fixture
def granting(tmp_path, organism):
    node = serve.with_image(tmp_path)
    yield Granting(node, organism)
    node.close()


@pytest.fixture
def device():
    """Another name of the null device, that nobody else has."""
    os.mknod(DEVICE, 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    yield DEVICE
    os.unlink(DEVICE)


def test_one_of_several_of_a_service(granting):
    """What it is granted is not for who has the service's name for its own."""
    granting.grant("capability:SYS_NICE")
    wide = granting.config("sleep", "1000", service="pool",
                           capability="SYS_NICE")
    granting.refused(wide, "CAP_SYS_NICE is not among the default ones")
    wide["annotations"]["org.zooid.app"] = "app"
    assert granting.start("wide", wide).error == 0
    named = granting.config("true", service="app", capability="SYS_NICE")
    named["annotations"]["org.zooid.app"] = "pool"
    granting.refused(named, "CAP_SYS_NICE is not among the default ones")


def test_capability(granting):
    wide = granting.config("sh", "-c", "grep CapEff /proc/self/status; "
                           "sleep 1000", capability="SYS_NICE")
    granting.refused(wide, "CAP_SYS_NICE is not among the default ones, nor "
                     "granted")
    granting.grant("capability:SYS_NICE")
    assert granting.start("wide", wide).error == 0
    effective = int(granting.said("wide").split()[1], 16)
    assert effective >> 23 & 1 and not effective >> 21 & 1
    # Of a process of exec the same.
    for name, error in (("SYS_NICE", 0), ("SYS_ADMIN", -errno.EPERM)):
        process = json.loads(json.dumps(serve.process("true")))
        for names in process["capabilities"].values():
            names.append("CAP_" + name)
        null = os.open("/dev/null", os.O_RDWR)
        fds = [sealed(process), null, null, null]
        assert granting.node.ask(serve.EXEC, id="wide", arg=1,
                                 fds=fds).error == error
        for fd in fds[:2]:
            os.close(fd)
    # Also when serve began anew.
    granting.node.kill_serve()
    granting.node.wait(lambda: granting.node.serve_pid())
    granting.refused(granting.config("true", service="other",
                                     capability="SYS_NICE"), "SYS_NICE")
    assert granting.start("again", wide).error == 0


def test_device(granting, device):
    use = ("ls -l %s; echo x >%s && echo written; exec sleep 1000" %
           (device, device))
    wanted = granting.config("sh", "-c", use, device=device)
    granting.refused(wanted, "device %s is not granted" % device)
    granting.grant("device:" + device)
    assert granting.start("dev", wanted).error == 0
    said = granting.said("dev")
    while "written" not in said:
        said += granting.said("dev")
    assert said.startswith("crw-r-----") and "1,   3" in said


def test_device_access(granting, device):
    granting.grant("device:%s:r" % device)
    granting.refused(granting.config("true", device=device), "not granted")
    granting.refused(granting.config("true", device=device, access=()),
                     "not granted")
    granting.refused(granting.config("true", device="/dev/null"),
                     "device /dev/null is not granted")
    # The null device is everybody's: what is granted does not show there.
    reply = granting.start("dev", granting.config(
        "true", device=device, access=["read"]))
    assert reply.error == 0, reply


def test_device_that_is_not_there(granting):
    granting.grant("device:" + DEVICE)
    reply = granting.start("dev", granting.config("true", device=DEVICE))
    assert reply.error == -errno.ENOENT, reply
    assert "device %s: No such file" % DEVICE in reply.text
    granting.grant("device:/dev/shm")
    reply = granting.start("dev", granting.config("true", device="/dev/shm"))
    assert reply.error == -errno.ENODEV, reply
    assert "dev" not in granting.node.list()


def test_only_for_the_app_and_its_image(granting):
    granting.grant("capability:SYS_NICE")
    granting.refused(granting.config("true", service="other",
                                     capability="SYS_NICE"), "SYS_NICE")
    granting.grant("capability:SYS_NICE", digest="sha256:" + 64 * "0")
    granting.refused(granting.config("true", capability="SYS_NICE"),
                     "SYS_NICE")


def test_an_index_proves_its_manifest(granting):
    index = json.dumps({"manifests": [{"digest": granting.node.digest}]})
    digest = hashlib.sha256(index.encode()).hexdigest()
    granting.grant("capability:SYS_NICE", digest="sha256:" + digest)
    path = granting.node.path / "data/desired" / ("index-" + digest)
    wide = granting.config("true", capability="SYS_NICE")
    granting.refused(wide, "SYS_NICE")
    path.write_text(index + " ")
    granting.refused(wide, "SYS_NICE")
    path.write_text(index)
    assert granting.start("wide", wide).error == 0


def test_taken_away(granting):
    granting.grant("capability:SYS_NICE")
    old = (granting.node.path / "data/desired/document").read_bytes()
    wide = granting.config("true", capability="SYS_NICE")
    assert granting.start("one", wide).error == 0
    granting.grant()
    granting.refused(wide, "SYS_NICE")
    # Nor does what was signed before bring it back.
    granting.keep(old)
    reply = granting.ask()
    assert reply.error == -errno.ESTALE and "1.1 is older than 1.2" in \
        reply.text, reply
    granting.refused(wide, "SYS_NICE")
    # Not even after a boot.
    granting.node.kill_serve()
    granting.node.wait(lambda: granting.node.serve_pid())
    os.unlink(granting.node.path / "run/zrun/.grants")
    assert granting.ask().error == -errno.ESTALE


def test_made_ahead_is_not_what_is_granted(granting):
    """What came twice is made ahead; a grant may be gone by then."""
    granting.grant("capability:SYS_NICE")
    wide = granting.config("true", capability="SYS_NICE")
    for n in range(4):
        assert granting.start("n%d" % n, wide).error == 0
    granting.grant()
    granting.refused(wide, "SYS_NICE")


@pytest.mark.parametrize("name, text, damage", [
    ("another organism's", "document: ", lambda g, d: g.put(
        d, organism=Organism(g.node.path / "others"))),
    ("signed by a node", "not for this use", lambda g, d: (
        g.organism.chain(), g.put(d, "node"))),
    ("for another node", "for node n-other", lambda g, d: g.put(
        dict(d, node="n-other"))),
    ("changed", "document: ", lambda g, d: (
        g.put(d), g.keep((g.node.path / "data/desired/document").read_bytes()
                         .replace(b'"payload": "ey', b'"payload": "ex')))),
    ("cut", "document: ", lambda g, d: (
        g.put(d), g.keep((g.node.path / "data/desired/document").read_bytes()
                         [:-200]))),
    ("none", "No such file", lambda g, d: os.unlink(
        g.node.path / "data/desired/document")),
    ("empty", "no root certificate", lambda g, d: g.keep(b"")),
    ("grants nobody knows", "want capability:NAME", lambda g, d: g.put(
        dict(d, apps=[dict(d["apps"][0], grants=["privileged"])]))),
    ("no hub", "names no hub", lambda g, d: (
        g.put(d), (g.node.path / "boot/node.json").write_text("{}"))),
])
def test_what_is_not_believed(granting, name, text, damage):
    granting.grant("capability:SYS_NICE")
    damage(granting, granting.document(["capability:SYS_NICE",
                                        "capability:SYS_ADMIN"]))
    reply = granting.ask()
    assert reply.error < 0 and text in reply.text, reply
    assert "\n" not in reply.text and reply.text.startswith("grants: ")
    granting.refused(granting.config("true", capability="SYS_ADMIN"),
                     "SYS_ADMIN")
    granting.refused(granting.config("true", capability="SYS_NICE"),
                     "SYS_NICE")


def test_another_organism_begins_anew(granting, tmp_path):
    granting.grant("capability:SYS_NICE", revision=7)
    other = Organism(tmp_path / "other")
    granting.token(other)
    granting.put(granting.document(["capability:SYS_TIME"], revision=1,
                                   node="n-new"), organism=other)
    assert granting.ask().error == 0
    assert granting.start("wide", granting.config(
        "true", capability="SYS_TIME")).error == 0
    granting.refused(granting.config("true", capability="SYS_NICE"),
                     "SYS_NICE")

