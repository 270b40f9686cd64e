"""What the signed document grants beyond the default, as zrun serve takes it:
each request outside of it is refused, whoever asks for it."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import select
import signal
import stat
import subprocess

import pytest

import test_zrun_serve as serve
from test_zrun_serve import sealed
from test_zrun_sleep import SLEEP
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
    with contextlib.suppress(FileNotFoundError):
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


INSIDE = "/dev/stick"
NOBODYS = 240  # no driver has that major number: who may use it is told so


def plug(minor=None):
    """Another device has the name, or none; and the kernel tells of one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(DEVICE)
    if minor is not None:
        os.mknod(DEVICE, 0o620 | stat.S_IFCHR, os.makedev(NOBODYS, minor))
        os.chown(DEVICE, 7, 8)
        os.chmod(DEVICE, 0o620)
    pathlib.Path("/sys/devices/virtual/mem/null/uevent").write_text("change")


class Plugged:
    """A container with the device."""

    def __init__(self, granting, id, script="exec sleep 1000", **changes):
        config = granting.config("sh", "-c", script)
        config["mounts"].append(
            {"destination": INSIDE, "source": DEVICE, "type": "device",
             "options": ["read", "write"]})
        reply = granting.start(id, dict(config, **changes))
        assert reply.error == 0, reply
        self.node = granting.node
        self.path = pathlib.Path("/proc/%d/root%s" % (reply.pid, INSIDE))

    def wait(self, minor):
        self.node.wait(lambda: self.minor() == minor)

    def minor(self):
        try:
            return os.minor(self.path.stat().st_rdev)
        except FileNotFoundError:
            return None


@pytest.fixture
def plugged(granting, device):
    """Which numbers it may use it tries, by nodes of its own."""
    granting.grant("device:%s:rw:%s" % (device, INSIDE))
    plug(11)
    yield Plugged(granting, "dev", (
        "mknod /dev/a c %d 11; mknod /dev/b c %d 4; "
        "while sleep 0.05; do can=may; for n in a b; do (: </dev/$n) 2>&1 | "
        "grep -q permitted || can=$can-$n; done; echo $can; done") %
        (NOBODYS, NOBODYS))


def can_use(granting, names):
    """Until it is so, by its last line."""
    granting.node.wait(lambda: granting.said("dev").split()[-1] == names)


def test_device_is_plugged_again(granting, plugged):
    """It has the number that it has now, and what had that before may not be
    used by the old number."""
    assert plugged.minor() == 11
    can_use(granting, "may-a")
    plug(4)
    plugged.wait(4)
    st = plugged.path.stat()
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (7, 8, 0o620)
    can_use(granting, "may-b")
    plug()
    plugged.wait(None)
    can_use(granting, "may")
    plug(11)
    plugged.wait(11)
    can_use(granting, "may-a")
    for text in "it is %d:4 now" % NOBODYS, "it has gone":
        assert ("dev: device %s: %s" % (DEVICE, text) in
                granting.node.read_log())


def test_device_is_plugged_while_serve_is_away(granting, plugged):
    os.kill(granting.node.serve_pid(), signal.SIGSTOP)
    plug(4)
    granting.node.kill_serve()
    granting.node.wait(lambda: granting.node.serve_pid())
    plugged.wait(4)
    can_use(granting, "may-b")


def test_many_are_plugged_at_once(granting, plugged):
    others = [Plugged(granting, "more-%d" % n) for n in range(20)]
    for minor in [4, 11] * 10 + [4]:
        plug(minor)
    for one in [plugged, *others]:
        one.wait(4)
    can_use(granting, "may-b")


def test_device_follows_no_link(granting, device):
    """What the container puts in the way is its own, and stays."""
    granting.grant("device:%s:rw:%s" % (device, INSIDE))
    for n, (script, kept) in enumerate([
            ("ln -s /etc/passwd", lambda p: p.is_symlink()),
            ("echo mine >",
             lambda p: p.is_file() and p.read_text() == "mine\n")]):
        plug(3)
        one = Plugged(granting, "own-%d" % n, script + " /dev/own; "
                      "mv /dev/own /dev/stick; exec sleep 1000")
        granting.node.wait(lambda: kept(one.path))
        plug(5)
        granting.node.wait(lambda: "own-%d: device %s: File exists" %
                           (n, DEVICE) in granting.node.read_log())
        assert kept(one.path)


def test_device_of_who_ends_meanwhile(granting, device):
    granting.grant("device:%s:rw:%s" % (device, INSIDE))
    for n in range(20):
        plug(3 + n % 2 * 2)
        Plugged(granting, "short", "exit 0")
        granting.node.wait(lambda: granting.node.ask(
            serve.DELETE, id="short").error == 0)
    assert granting.start("usual", granting.config(
        "sleep", "1000", service="other")).error == 0


def test_device_access(granting, device):
    granting.grant("device:%s:r" % device)
    granting.refused(granting.config("true", device=device), "not granted")
    granting.refused(granting.config("true", device=device, access=()),
                     "not granted")
    granting.refused(granting.config("true", device="/dev/null"),
                     "device /dev/null is not granted")
    # What is noted of it is a line, and none of another.
    for target in ("/dev/a\ndevice:/dev/mem:rwm", "/dev/a:r"):
        lines = granting.config("true")
        lines["mounts"].append(
            {"destination": target, "source": device, "type": "device",
             "options": ["read"]})
        granting.refused(lines, "not granted")
    # The null device is everybody's: what is granted does not show there.
    reply = granting.start("dev", granting.config(
        "true", device=device, access=["read"]))
    assert reply.error == 0, reply


def same_namespace(pid, kind):
    return (os.readlink("/proc/%d/ns/%s" % (pid, kind)) ==
            os.readlink("/proc/self/ns/%s" % kind))


def without(config, *kinds):
    """In the node's namespaces of these kinds."""
    config = json.loads(json.dumps(config))
    config["linux"]["namespaces"] = [
        n for n in config["linux"]["namespaces"] if n["type"] not in kinds]
    return config


@pytest.mark.parametrize("kind, file", [("network", "net"), ("pid", "pid"),
                                        ("ipc", "ipc")])
def test_namespace_of_the_node(granting, kind, file):
    shared = without(granting.config("sleep", "1000"), kind)
    granting.refused(shared, "linux.namespaces: %s must be new" % kind)
    others = {"network", "pid", "ipc"} - {kind}
    granting.grant(*(k + ":host" for k in others))
    granting.refused(shared, "linux.namespaces: %s must be new" % kind)
    granting.grant(kind + ":host")
    for other in ("mount", "cgroup", *others):
        granting.refused(without(shared, other),
                         "linux.namespaces: %s must be new" % other)
    reply = granting.start("shares", shared)
    assert reply.error == 0, reply
    for name in ("net", "pid", "ipc", "mnt", "uts"):
        assert same_namespace(reply.pid, name) == (name == file), name
    # In the node's network nobody gets a socket that may be anybody.
    sockets = granting.node.ask(serve.SOCKETS, id="shares", arg=1)
    assert (sockets.error == -errno.EPERM) == (kind == "network"), sockets
    fd = sealed(shared)
    asleep = granting.node.ask(SLEEP, id="shares", fds=[fd])
    os.close(fd)
    assert asleep.error == -errno.EINVAL, asleep
    assert "it has namespaces of the node" in asleep.text


def test_the_nodes_processes_end_with_it(granting):
    """Though no namespace of processes ends."""
    granting.grant("pid:host")
    reply = granting.start("shares", without(granting.config(
        "sh", "-c", "sleep 1000 & sleep 1000 & echo $!; exec sleep 1000"),
        "pid"))
    assert reply.error == 0, reply
    other = int(granting.said("shares"))
    assert same_namespace(other, "pid") and not same_namespace(other, "mnt")
    os.kill(reply.pid, signal.SIGKILL)
    granting.node.wait(lambda: granting.node.ask(
        serve.DELETE, id="shares").error == 0)
    granting.node.wait(lambda: not os.path.exists("/proc/%d" % other))


def test_the_nodes_network_gets_no_address(granting):
    granting.grant("network:host")
    shared = without(granting.config("sleep", "1000"), "network")
    shared["annotations"]["org.zooid.address"] = "10.64.0.9"
    granting.refused(shared, "linux.namespaces: network must be new")
    shared = without(granting.config("sleep", "1000"), "network")
    shared["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    reply = granting.start("sysctl", shared)
    assert reply.error < 0 and "belongs to no namespace" in reply.text, reply


def test_the_nodes_namespaces_are_not_joined(granting):
    """Who was granted none would have them by another one that was."""
    granting.grant("pid:host")
    has = without(granting.config("sleep", "1000"), "pid")
    has["annotations"]["org.zooid.application"] = "shop"
    reply = granting.start("has", has)
    assert reply.error == 0, reply
    joins = granting.config("true", service="other")
    joins["annotations"]["org.zooid.application"] = "shop"
    for n in joins["linux"]["namespaces"]:
        if n["type"] == "pid":
            n["path"] = "/proc/%d/ns/pid" % reply.pid
    granting.refused(joins, "linux.namespaces: pid must be new, or that of a "
                     "container of the same application")


def bind(config, source, target="/there", *options):
    config["mounts"].append({"destination": target, "source": source,
                             "type": "bind",
                             "options": list(options or ("rbind",))})
    return config


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shared"
    (folder / "in").mkdir(parents=True)
    (folder / "file").write_text("of the node\n")
    yield folder


def test_bind(granting, folder):
    use = ("cat /there/file; echo x >/there/in/new && echo written; "
           "exec sleep 1000")
    wanted = bind(granting.config("sh", "-c", use), str(folder))
    refusal = "mounts[3].source: %.60s is not beneath the volumes" % folder
    granting.refused(wanted, refusal)
    granting.grant("bind:%s:ro" % folder, "bind:%s" % (folder / "in"))
    granting.refused(wanted, refusal)
    for options in (("rbind", "ro"), ("bind",), ("rbind", "rw", "rro", "rrw")):
        granting.refused(bind(granting.config("true"), str(folder), "/there",
                              *options), refusal)
    granting.refused(bind(granting.config("true"), str(folder) + "/",
                          "/there", "rbind", "rro"), "mounts[3].source")
    granting.grant("bind:%s:rw:/there" % folder)
    assert granting.start("dev", wanted).error == 0
    said = granting.said("dev")
    while "written" not in said:
        said += granting.said("dev")
    assert said == "of the node\nwritten\n"
    assert (folder / "in/new").read_text() == "x\n"


@pytest.fixture
def mounted(folder):
    """Before the node is there, whose mounts are its own."""
    subprocess.run(["mount", "-t", "tmpfs", "below", folder / "in"],
                   check=True)
    (folder / "in/file").write_text("of a mount below\n")
    yield folder
    subprocess.run(["umount", folder / "in"], check=True)


def test_bind_that_is_read_only(mounted, granting, folder):
    """Also what is mounted below it."""
    granting.grant("bind:%s:ro" % folder)
    use = ("touch /there/a /there/in/a; cat /there/in/file; "
           "grep ' /there' /proc/self/mountinfo; exec sleep 1000")
    config = bind(granting.config("sh", "-c", use), str(folder), "/there",
                  "rbind", "rro")
    reply = granting.start("ro", config)
    assert reply.error == 0, reply
    said = granting.said("ro")
    while said.count("\n") < 3:
        said += granting.said("ro")
    said, *mounts = said.splitlines()
    assert said == "of a mount below"
    assert [line.split()[4] for line in mounts] == ["/there", "/there/in"]
    for line in mounts:
        assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert sorted(os.listdir(folder)) == ["file", "in"]
    assert os.listdir(folder / "in") == ["file"]


def test_bind_follows_no_link(granting, folder):
    """A daemon could lay it, where it may write."""
    (folder / "link").symlink_to("/etc")
    granting.grant("bind:%s:ro" % (folder / "link"),
                   "bind:%s:ro" % (folder / "link/ssl"))
    for path in (folder / "link", folder / "link/ssl"):
        reply = granting.start("link", bind(
            granting.config("true"), str(path), "/there", "rbind", "rro"))
        assert reply.error == -errno.ELOOP, reply
    assert "link" not in granting.node.list()


def test_privileged(granting, device):
    use = ("grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; ls -l %s; "
           "mount -t tmpfs none /mnt && echo mounted; "
           "test -w /proc/sys/kernel && echo sys; "
           "mknod /mnt/x c 1 5 && dd if=/mnt/x bs=1 count=1 2>/dev/null | "
           "wc -c; echo end; exec sleep 1000") % device
    wanted = granting.config("sh", "-c", "mkdir -p /mnt;" + use)
    for mount in wanted["mounts"]:
        mount["options"] = [o for o in mount["options"] if o != "ro"]
    everything = ["CAP_" + name for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID "
        "SETPCAP NET_BIND_SERVICE NET_ADMIN NET_RAW SYS_PTRACE SYS_CHROOT "
        "SYS_ADMIN MKNOD").split()]
    for names in wanted["process"]["capabilities"]:
        wanted["process"]["capabilities"][names] = everything
    granting.refused(wanted, "is not among the default ones, nor granted")
    granting.grant("capability:SYS_ADMIN")
    granting.refused(wanted, "is not among the default ones, nor granted")
    granting.grant("privileged")
    assert granting.start("all", wanted).error == 0
    said = granting.said("all")
    while "end\n" not in said:
        said += granting.said("all")
    lines = said.splitlines()
    assert lines[0].split() == ["CapEff:"] + [lines[0].split()[1]]
    assert int(lines[0].split()[1], 16) >> 21 & 1, said
    assert lines[1].split() == ["NoNewPrivs:", "1"], said
    assert lines[2].split() == ["Seccomp:", "0"], said
    assert "crw-r-----" in lines[3] and "1,   3" in lines[3], said
    assert lines[4:] == ["mounted", "sys", "1", "end"], said
    # Another one of it is in its namespaces; the node's need a grant each.
    granting.refused(without(wanted, "network"), "network must be new")
    granting.refused(bind(granting.config("true"), "/"), "mounts[3].source")
    # A process of exec has no profile either, also when serve began anew.
    granting.node.kill_serve()
    granting.node.wait(lambda: granting.node.serve_pid())
    null = os.open("/dev/null", os.O_RDWR)
    out, into = os.pipe()
    process = json.loads(json.dumps(serve.process(
        "sh", "-c", "grep Seccomp: /proc/self/status")))
    fds = [sealed(process), null, into, null]
    assert granting.node.ask(serve.EXEC, id="all", arg=1, fds=fds).error == 0
    os.close(into)
    assert os.read(out, 100).split() == [b"Seccomp:", b"0"]
    for fd in (fds[0], null, out):
        os.close(fd)
    # And who is not, after it, is as ever.
    usual = granting.config("sh", "-c", "grep Seccomp: /proc/self/status; "
                            "exec sleep 1000", service="other")
    assert granting.start("usual", usual).error == 0
    assert granting.said("usual").split() == ["Seccomp:", "2"]


def test_device_that_is_not_there(granting):
    granting.grant("device:" + DEVICE)
    reply = granting.start("dev", granting.config("true", device=DEVICE))
    assert reply.error == -errno.ENODEV, reply
    assert "device %s: No such device" % DEVICE in reply.text
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
        dict(d, apps=[dict(d["apps"][0], grants=["everything"])]))),
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

