"""zrun serve under `init --supervise` on this machine: its messages, its
policy at the door, and what is found again after SIGKILL."""

import array
import contextlib
import errno
import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from zooid import image
from zooid.build import product

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
BIN = os.environ.get("ZOOID_BIN", os.path.join(TOP, "build/x86_64/bin"))
CRIU = os.path.join(BIN, "../pkg/criu/bin/criu")
START, KILL, DELETE, EXEC, UNPACK, FORGET, SOCKETS, LIST = range(1, 9)
KILL_ALL = 1
INIT_GET, INIT_DROP, INIT_WATCH = 4, 5, 6
PIDFD, OUTPUT, TUN = 0, 1, 3
EXITED, SYNCED = 2, 4
CLD_EXITED, CLD_KILLED = 1, 2
DEADLINE = 60
FULL = bool(os.environ.get("ZOOID_TEST_FULL"))

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists(BIN + "/zrun")
    or not os.path.exists(BIN + "/init"), reason="needs root, init and zrun")

CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW "
    "SETFCAP SETGID SETPCAP SETUID SYS_CHROOT AUDIT_WRITE").split()]


def sealed(value):
    fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps(value).encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd


def process(*args, **more):
    return dict({
        "args": list(args), "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}, "noNewPrivileges": True,
        "capabilities": {s: CAPABILITIES for s in
                         ("bounding", "effective", "permitted")}}, **more)


def config(*args, address=None, **more):
    safe = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "hostname": "inside", "process": process(*args, **more),
        "annotations": {"org.zooid.address": address} if address else {},
        "mounts": [
            {"destination": "/proc", "type": "proc", "options": safe},
            {"destination": "/dev", "type": "tmpfs",
             "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/sys", "type": "sysfs",
             "options": safe + ["ro"]}],
        "linux": {"namespaces": [{"type": t} for t in (
            "pid network ipc uts mount cgroup").split()]}}


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(path)

    def send(self, message, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                   array.array("i", fds))] if fds else []
        self.socket.sendmsg([message], rights)

    def receive(self):
        data, rights, _, _ = self.socket.recvmsg(4096,
                                                 socket.CMSG_SPACE(32 * 4))
        fds = array.array("i")
        for _, _, part in rights:
            fds.frombytes(part[:len(part) // 4 * 4])
        return data, list(fds)


class Reply:
    def __init__(self, data, fds):
        (size, self.verb, self.error, self.pid, id_,
         text, self.note) = struct.unpack("<IIiI64s256s192s", data)
        assert size == len(data)
        self.id = id_.split(b"\0")[0].decode()
        self.text = text.split(b"\0")[0].decode()
        self.fds = fds

    def __repr__(self):
        return "<%d %s %s>" % (self.error, self.id, self.text)


class Node:
    """init --supervise with zrun serve, and an image of busybox httpd."""

    def __init__(self, path, zrun=BIN + "/zrun"):
        self.path = path
        self.env = dict(os.environ, PATH="/usr/bin:/bin",
                        ZOOID_RUN=str(path / "run"),
                        ZOOID_DATA=str(path / "data"),
                        ZOOID_BOOT=str(path / "boot"))
        for name in ("run", "data", "boot"):
            (path / name).mkdir(exist_ok=True)
        layout = image.make("zrun-serve", {
            "etc/passwd": (0o644, "root:x:0:0::/:/bin/sh\n"
                           "www:x:33:33::/www:/bin/sh\n"),
            "www/cgi-bin/client": (0o755, image.CGI_CLIENT),
            "bin/pages": (0o755, product(os.uname().machine,
                                         "tests/pages").read_bytes())},
            ["--config.cmd", "sh"])
        shutil.copytree(layout, path / "boot/httpd")
        index = json.loads((path / "boot/httpd/index.json").read_text())
        self.digest = index["manifests"][0]["digest"]
        (path / "services").write_text(
            "zrun kmsg mode=0666 : %s --criu %s serve\n" % (zrun, CRIU))
        self.log = open(path / "log", "w+")
        self.init = subprocess.Popen(
            [BIN + "/init", "--supervise", "--services", path / "services"],
            env=self.env, stderr=self.log)
        self.wait(self.listens)

    def wait(self, condition):
        """For what no descriptor tells: asks until the deadline."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, self.read_log()
            select.select([], [], [], 0.01)

    def read_log(self):
        return open(self.log.name).read()

    def listens(self):
        try:
            self.connect().socket.close()
            return True
        except OSError:
            return False

    def connect(self):
        return Connection(str(self.path / "run/zrun.sock"))

    def ask(self, verb, connection=None, arg=0, flags=0, id="", digest="",
            path="", fds=(), note=b""):
        message = struct.pack("<IIII64s72s256s192s", 600, verb, arg, flags,
                              id.encode(), digest.encode(), path.encode(),
                              note)
        connection = connection or self.connect()
        connection.send(message, fds)
        data, got = connection.receive()
        if not data:
            raise ConnectionResetError
        return Reply(data, got)

    def start(self, id, *args, **more):
        fd = sealed(config(*args, **more))
        try:
            return self.ask(START, id=id, digest=self.digest, fds=[fd])
        finally:
            os.close(fd)

    def to_init(self, verb, kind, id="", n=0):
        connection = Connection(str(self.path / "run/init.sock"))
        connection.send(struct.pack("<IIII64s20s4xq192s", 304, verb, kind, n,
                                    id.encode(), b"", 0, b""))
        return connection

    def from_init(self, kind, id, n=0):
        data, fds = self.to_init(INIT_GET, kind, id, n).receive()
        return struct.unpack_from("<iI", data, 8), fds

    def drop(self, id, n):
        data, _ = self.to_init(INIT_DROP, PIDFD, id, n).receive()
        return struct.unpack_from("<i", data, 8)[0]

    def exec(self, id, n, *args, note=b"", connection=None, **more):
        """What its process prints goes to the pipe in the reply."""
        read, write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        fds = [sealed(process(*args, **more)), null, write, write]
        reply = self.ask(EXEC, id=id, arg=n, fds=fds, note=note,
                         connection=connection)
        for fd in fds[:3]:
            os.close(fd)
        reply.output = os.fdopen(read, "rb")
        return reply

    def ended(self, id, n):
        """How process n of a container ended, as init tells whoever asks."""
        stream = self.to_init(INIT_WATCH, PIDFD)
        while True:
            data, fds = stream.receive()
            for fd in fds:
                os.close(fd)
            (_, what, _, number, name, _, code, status, _, _, _,
             note) = struct.unpack("<IIII64sIiiIQQ192s", data)
            if (what == EXITED and number == n and
                    name.rstrip(b"\0").decode() == id):
                return code, status, note.rstrip(b"\0")

    def list(self):
        rows = {}
        for n in range(1000):
            reply = self.ask(LIST, arg=n)
            if reply.error == -errno.ENOENT:
                return rows
            rows[reply.id] = (reply.text, reply.pid)

    def cgroup(self, id):
        return self.path / "run/cgroups" / id

    def states(self):
        """Whose there are, beside what serve knows of the document."""
        return set(os.listdir(self.path / "run/zrun")) - {".grants"}

    def serve_pid(self):
        children = open("/proc/%d/task/%d/children" % (
            self.init.pid, self.init.pid)).read().split()
        for pid in children:
            try:
                line = open("/proc/%s/cmdline" % pid, "rb").read()
            except OSError:
                continue
            if line.endswith(b"\0serve\0"):
                return int(pid)
        return 0

    def kill_serve(self):
        pid = self.serve_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ended(self, id):
        self.wait(lambda: self.list()[id][0] == "stopped")

    def close(self):
        for id in self.list():
            self.ask(KILL, id=id, arg=9)
            self.wait_ended(id)
            self.ask(DELETE, id=id)
        self.init.terminate()
        self.init.wait(DEADLINE)


def with_image(path):
    made = Node(path)
    reply = made.ask(UNPACK, digest=made.digest, path="httpd")
    assert reply.error == 0, (reply, made.read_log())
    return made


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = with_image(tmp_path_factory.mktemp("serve"))
    yield made
    made.close()


@pytest.fixture
def kills(tmp_path_factory):
    """Nodes for so many kills of serve, which init starts the later the more
    often it died: each node bears five."""
    def nodes(total):
        for number in range(0, total, 5):
            made = with_image(tmp_path_factory.mktemp("kills"))
            try:
                for n in range(number, number + 5):
                    yield made, n
            finally:
                made.close()
    return nodes


def remove(node, id):
    node.ask(KILL, id=id, arg=9)
    node.wait_ended(id)
    assert node.ask(DELETE, id=id).error == 0


def test_life_of_a_container(node):
    reply = node.start("web", "httpd", "-f", "-h", "/www",
                       address="10.64.0.9", user={
                           "uid": 0, "gid": 0, "username": "www"})
    assert reply.error == 0, reply
    status = open("/proc/%d/status" % reply.pid).read()
    assert "PPid:\t%d\n" % node.init.pid in status
    assert "Uid:\t33\t33\t33\t33\n" in status
    assert "Seccomp:\t2\n" in status and "NoNewPrivs:\t1\n" in status
    assert node.list() == {"web": ("running", reply.pid)}
    assert node.start("web", "true").error == -errno.EEXIST
    assert node.start("two", "true", address="10.64.0.9").error == \
        -errno.EADDRINUSE
    assert node.ask(DELETE, id="web").error == -errno.EBUSY
    assert node.ask(FORGET, digest=node.digest).error == -errno.EBUSY
    assert node.ask(KILL, id="web", arg=9, flags=KILL_ALL).error == 0
    node.wait_ended("web")
    assert node.ask(KILL, id="web", arg=9).error == -errno.ESRCH
    assert node.ask(DELETE, id="web").error == 0
    assert node.ask(DELETE, id="web").error == -errno.ENOENT
    assert node.states() == set()
    assert os.listdir(node.path / "data/containers") == []


def test_sockets_of_its_network_show_the_clients_address(node):
    assert node.start("net", "httpd", "-f", "-h", "/www",
                      address="10.64.0.7").error == 0
    reply = node.ask(SOCKETS, id="net", arg=3)
    assert reply.error == 0 and len(reply.fds) == 3
    sockets = [socket.socket(fileno=fd) for fd in reply.fds]
    for s in sockets:
        s.settimeout(DEADLINE)
    # The program may still be on its way to listen().
    sockets[0].bind(("192.0.2.77", 0))

    def connects():
        try:
            sockets[0].connect(("10.64.0.7", 80))
            return True
        # Aborted: the socket still stood for what was refused before.
        except (ConnectionRefusedError, ConnectionAbortedError):
            return False
    node.wait(connects)
    sockets[0].sendall(b"GET /cgi-bin/client HTTP/1.0\r\n\r\n")
    answer = b""
    while part := sockets[0].recv(4096):
        answer += part
    assert b"192.0.2.77" in answer
    # A second SYN would come after a second.
    sockets[1].bind(("192.0.2.77", 0))
    sockets[1].settimeout(0.9)
    with pytest.raises(ConnectionRefusedError):
        sockets[1].connect(("10.64.0.7", 81))
    for s in sockets:
        s.close()
    remove(node, "net")


def test_output_goes_to_pipes_of_init(node):
    assert node.start("out", "sh", "-c",
                      "echo one; echo two >&2; sleep 100").error == 0
    for n, text in ((1, b"one\n"), (2, b"two\n")):
        (error, _), fds = node.from_init(OUTPUT, "out", n)
        assert error == 0
        assert select.select(fds, [], [], DEADLINE)[0]
        assert os.read(fds[0], 100) == text
        os.close(fds[0])
    remove(node, "out")


@pytest.mark.parametrize("annotations, said", [
    ({}, b"end\n"), ({"org.zooid.stdin": "open"}, b"")])
def test_standard_input(node, annotations, said):
    """At its end, or, where that is asked for, silent for ever."""
    asked = config("sh", "-c", "cat; echo end; sleep 100")
    asked["annotations"].update(annotations)
    fd = sealed(asked)
    try:
        assert node.ask(START, id="in", digest=node.digest,
                        fds=[fd]).error == 0
    finally:
        os.close(fd)
    (error, _), fds = node.from_init(OUTPUT, "in", 1)
    assert error == 0
    assert bool(select.select(fds, [], [], DEADLINE if said else 1)[0]) == \
        bool(said)
    if said:
        assert os.read(fds[0], 100) == said
    os.close(fds[0])
    remove(node, "in")


def test_exec(node):
    assert node.start("host", "sleep", "1000").error == 0
    reply = node.exec("host", 1, "sh", "-c",
                      "echo $$; hostname; id -u; exit 7",
                      user={"uid": 33, "gid": 33}, note=b"mine")
    assert reply.error == 0 and len(reply.fds) == 1, reply
    assert select.select(reply.fds, [], [], DEADLINE)[0]
    assert reply.output.read().split()[1:] == [b"inside", b"33"]
    assert node.ended("host", 1) == (CLD_EXITED, 7, b"mine")
    # The number is taken until who asked has dropped the record.
    again = node.exec("host", 1, "true")
    assert again.error == -errno.EEXIST
    assert again.text == ("container host: hand it to init as number 1: "
                          "File exists")
    assert node.drop("host", 1) == 0
    assert node.exec("host", 1, "true").error == 0
    remove(node, "host")


def test_failed_exec_leaves_no_record(node):
    assert node.start("host", "sleep", "1000").error == 0
    for _ in range(3):
        reply = node.exec("host", 2, "nothing-of-this-name")
        assert reply.error == -errno.ENOENT, reply
        assert "nothing-of-this-name" in reply.text, reply
        assert reply.output.read() == b""
        assert node.drop("host", 2) == -errno.ENOENT
    for n in (0, 17):
        reply = node.exec("host", n, "true")
        assert reply.error == -errno.EINVAL, reply
        assert reply.text == "container host: exec: want a number 1 to 16"
    remove(node, "host")


@contextlib.contextmanager
def slow_execve(node, seconds):
    """What serve makes comes to its program so much later."""
    pid = node.serve_pid()
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve", "-e",
         "inject=execve:delay_enter=%d" % (seconds * 1000000), "-p", str(pid)])
    node.wait(lambda: "TracerPid:\t0\n" not in
              open("/proc/%d/status" % pid).read())
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait(DEADLINE)


def test_exec_that_hangs_holds_up_nobody(node):
    assert node.start("host", "sleep", "1000").error == 0
    with slow_execve(node, 2):
        slow = node.connect()
        fds = [sealed(process("sh", "-c", "exit 3"))] + 3 * [
            os.open("/dev/null", os.O_RDWR)]
        slow.send(struct.pack("<IIII64s72s256s192s", 600, EXEC, 5, 0, b"host",
                              b"", b"", b""), fds)
        for fd in fds[:2]:
            os.close(fd)
        start = time.monotonic()
        for _ in range(20):
            assert node.list()["host"][0] == "running"
        assert time.monotonic() - start < 1
        assert not select.select([slow.socket], [], [], 0)[0]
        assert Reply(*slow.receive()).error == 0
    assert node.ended("host", 5) == (CLD_EXITED, 3, b"")
    # One that never comes is given up, and its record goes with the
    # container: while it is traced, even its end is not told.
    with slow_execve(node, 30):
        reply = node.exec("host", 6, "true")
        assert reply.error == -errno.ETIMEDOUT, reply
    remove(node, "host")
    assert node.from_init(PIDFD, "host", 6)[0][0] == -errno.ENOENT


def test_exec_thaws(node):
    """Born in a frozen cgroup it would never say that it is there."""
    assert node.start("host", "sleep", "1000").error == 0
    freeze = node.cgroup("host") / "cgroup.freeze"
    freeze.write_text("1")
    assert node.exec("host", 1, "true").error == 0
    assert freeze.read_text() == "0\n"
    assert node.ended("host", 1)[:2] == (CLD_EXITED, 0)
    remove(node, "host")


def test_exec_outlives_serve(node):
    """Its exit status too; what nobody drops goes with the container."""
    assert node.start("host", "sleep", "1000").error == 0
    for n, args in ((3, ("sh", "-c", "exit 5")), (16, ("sleep", "1000"))):
        assert node.exec("host", n, *args).error == 0
    assert node.kill_serve()
    assert node.ended("host", 3) == (CLD_EXITED, 5, b"")
    assert node.drop("host", 16) == -errno.EBUSY
    remove(node, "host")
    for n in 3, 16:
        assert node.drop("host", n) == -errno.ENOENT
    assert node.start("host", "sleep", "1000").error == 0
    assert node.exec("host", 16, "true").error == 0
    remove(node, "host")


def test_kill_of_serve_during_exec_leaves_it_whole(kills):
    """The process runs and init has it, or it never ran."""
    seeded = random.Random(12)
    for node, _ in kills(40 if FULL else 5):
        if "host" not in node.list():
            assert node.start("host", "sleep", "1000").error == 0
        read, write = os.pipe()
        fds = [sealed(process("sh", "-c", "echo ran; exit 9")),
               os.open("/dev/null", os.O_RDONLY), write, write]
        connection = node.connect()
        connection.send(struct.pack(
            "<IIII64s72s256s192s", 600, EXEC, 1, 0, b"host", b"", b"", b""),
            fds)
        for fd in fds[:3]:
            os.close(fd)
        select.select([connection.socket], [], [], seeded.random() * 0.01)
        node.kill_serve()
        with os.fdopen(read, "rb") as output:
            ran = output.read()
        if ran:
            assert node.ended("host", 1) == (CLD_EXITED, 9, b"")
        node.wait(lambda: node.drop("host", 1) in (0, -errno.ENOENT))
        assert node.list()["host"][0] == "running"


@pytest.mark.parametrize("change, text", [
    (lambda c: c["linux"]["namespaces"].pop(1),
     "refused: linux.namespaces: network must be new"),
    (lambda c: c["mounts"].append(
        {"destination": "/m", "type": "bind", "source": "/"}),
     "refused: mounts[3].source: / is not beneath the volumes"),
    (lambda c: c["process"]["capabilities"]["bounding"].append(
        "CAP_SYS_ADMIN"), "refused: process.capabilities.bounding: "
     "CAP_SYS_ADMIN is not among the default ones, nor granted"),
])
def test_wider_requests_are_refused_by_name(node, change, text):
    wide = json.loads(json.dumps(config("true")))
    change(wide)
    reply = node.ask(START, id="wide", digest=node.digest, fds=[sealed(wide)])
    assert reply.error == -errno.EPERM
    assert reply.text == "container wide: " + text
    assert node.list() == {}


def test_volume_by_a_link_leads_nowhere(node):
    """A source beneath the volumes must not leave them, whatever a container
    that shares the volume put there."""
    volume = node.path / "data/volumes/v"
    volume.mkdir(parents=True, exist_ok=True)
    link = volume / "etc"
    if not link.is_symlink():
        link.symlink_to("/etc")
    for source in ("v/etc", "v/../../layers", "v/etc/passwd"):
        wide = config("true")
        wide["mounts"].append({"destination": "/m", "type": "bind",
                               "source": "%s/data/volumes/%s" % (
                                   node.path, source)})
        reply = node.ask(START, id="v", digest=node.digest,
                         fds=[sealed(wide)])
        assert reply.error < 0 and "mounts[3].source" in reply.text, reply
    assert node.list() == {}


def test_failed_starts_leave_nothing(node):
    for args, more in ((["no-such"], {}), (["true"], {"cwd": "/etc/passwd"}),
                       (["true"], {"user": {"uid": 0, "gid": 0,
                                            "username": "nobody-here"}})):
        reply = node.start("bad", *args, **more)
        assert reply.error < 0 and "container bad: process." in reply.text
    assert node.start("Bad_Id", "true").error == -errno.EINVAL
    assert node.ask(START, id="bad", digest="sha256:" + "0" * 64,
                    fds=[sealed(config("true"))]).error == -errno.ENOENT
    assert node.ask(START, id="bad", digest=node.digest).error < 0
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps(config("true")).encode())
    assert node.ask(START, id="bad", digest=node.digest,
                    fds=[fd]).error == -errno.EPERM
    os.close(fd)
    assert node.list() == {}
    assert node.states() == set()
    # What is made ahead is nobody's yet.
    assert [name for name in os.listdir(node.path / "data/containers")
            if not name.startswith("@")] == []


def as_uid(uid, what):
    """Runs what() as another user; its exit status."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            code = what()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("uid, verb, allowed", [
    (102, LIST, True), (102, SOCKETS, False), (103, SOCKETS, True),
    (103, LIST, False), (103, START, False), (65534, LIST, False),
    (65534, KILL, False)])
def test_who_may_ask(node, uid, verb, allowed):
    for parent in (node.path / "run", node.path, *node.path.parents[:2]):
        os.chmod(parent, 0o755)
    error = as_uid(uid, lambda: -node.ask(verb, arg=1, id="x").error)
    # Allowed, and there is no such container.
    assert error == (errno.ENOENT if allowed else errno.EACCES)


def test_garbage_closes_only_its_own_connection(node):
    seeded = random.Random(7)
    for size in (1, 8, 599, 601, 4000):
        connection = node.connect()
        connection.send(bytes(seeded.randrange(256) for _ in range(size)))
        assert connection.receive()[0] == b""
    connection = node.connect()
    connection.send(struct.pack("<I", 600) + b"\xff" * 596)
    assert Reply(*connection.receive()).error < 0
    assert node.list() == {}


def unsealed(value, seals=0):
    fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps(value).encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def large():
    fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, (1 << 20) + 1)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd


SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE = 1, 2, 4, 8, 16


@pytest.mark.parametrize("make", [
    lambda: os.open("/", os.O_RDONLY), lambda: os.pipe()[0],
    lambda: os.open("/etc/passwd", os.O_RDONLY),
    lambda: os.open("/dev/zero", os.O_RDONLY),
    lambda: socket.socket().detach(),
    lambda: os.open("/", os.O_PATH),
    lambda: unsealed(config("true")),
    lambda: unsealed(config("true"), GROW | SHRINK | SEAL),
    lambda: unsealed(config("true"), GROW | SHRINK | SEAL | FUTURE_WRITE),
    lambda: unsealed(config("true"), WRITE | SHRINK | SEAL), large],
    ids="directory pipe file device socket path unsealed unsealed-for-write "
        "sealed-for-others growing large".split())
def test_config_that_may_change_is_not_read(node, make):
    fd = make()
    for verb in START, EXEC:
        reply = node.ask(verb, id="x", digest=node.digest, arg=1, fds=[fd])
        assert reply.error < 0, reply
    os.close(fd)
    assert node.list() == {}
    assert node.states() == set()


def test_program_that_is_missing_is_told(tmp_path):
    """Those that lie beside zrun on a node."""
    alone = shutil.copy(BIN + "/zrun", tmp_path)
    node = Node(tmp_path, alone)
    reply = node.ask(UNPACK, digest=node.digest, path="httpd")
    assert reply.error == -errno.ENOENT
    assert reply.text == "%s/zunpack: No such file or directory" % tmp_path
    reply = node.ask(17)
    assert "%s/zgrant: No such file or directory" % tmp_path in reply.text
    node.close()


@pytest.mark.parametrize("fields", [
    {"id": ""}, {"id": ".."}, {"id": "../x"}, {"id": "a/b"}, {"id": "@1"},
    {"id": "@nursery"}, {"id": "A"}, {"id": "a" * 64}, {"id": "x\n"},
    {"digest": ""}, {"digest": "sha256:../../../../etc"},
    {"digest": "sha256:" + "G" * 64}, {"digest": "sha512:" + "0" * 64},
    {"digest": "s" * 72}], ids=str)
def test_names_of_another_form_are_refused(node, fields):
    for verb in START, EXEC, KILL, DELETE, FORGET, UNPACK, SOCKETS:
        asked = dict({"id": "none", "digest": "sha256:" + "0" * 64}, **fields)
        reply = node.ask(verb, arg=1, fds=[sealed(config("true"))], **asked)
        assert reply.error < 0, reply
    assert node.list() == {}
    assert node.states() == set()
    assert os.listdir(node.path / "run/cgroups") == []


@pytest.mark.parametrize("path", [
    "..", "/", "/etc", "../data", "httpd/../..", "out", "p" * 256], ids=str)
@pytest.mark.parametrize("flags", [0, 1])
def test_layouts_lie_where_they_belong(node, path, flags):
    link = node.path / "boot/out"
    if not link.is_symlink():
        link.symlink_to("/")
    reply = node.ask(UNPACK, digest="sha256:" + "0" * 64, path=path,
                     flags=flags)
    assert reply.error < 0, reply


@pytest.mark.parametrize("verb", [0, 99, 1 << 31, (1 << 32) - 1])
def test_verbs_that_nobody_has(node, verb):
    assert node.ask(verb, id="x").error == -errno.EACCES


def test_who_does_not_read_holds_up_nobody(node):
    """A flood of requests whose replies are not taken, and more connections
    than there is room for."""
    message = struct.pack("<IIII64s72s256s192s", 600, LIST, 0, 0, b"", b"",
                          b"", b"")
    greedy = node.connect()
    greedy.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for _ in range(100000):
            greedy.socket.send(message)
    idle = [node.connect() for _ in range(100)]
    for connection in idle[:70]:
        with contextlib.suppress(ConnectionError):
            connection.send(b"\0")
    start = time.monotonic()
    assert node.start("flood", "sleep", "1000").error == 0
    assert time.monotonic() - start < 10
    for connection in idle + [greedy]:
        connection.socket.close()
    remove(node, "flood")


@pytest.mark.parametrize("make", [
    lambda: os.open("/", os.O_RDONLY), lambda: os.open("/", os.O_PATH),
    lambda: os.open("/etc/passwd", os.O_RDONLY),
    lambda: os.open("/dev/zero", os.O_RDONLY),
    lambda: os.memfd_create("x"),
    lambda: socket.socket().detach(),
    lambda: socket.socketpair()[0].detach()],
    ids="directory path file zero memory network local".split())
def test_exec_hands_on_only_pipes_and_null(node, make):
    """With a directory of the node, or a file that can be opened anew through
    /proc, root of a container would be root of the node."""
    assert node.start("host", "sleep", "1000").error == 0
    null = os.open("/dev/null", os.O_RDWR)
    for place in range(3):
        fds = [null] * 3
        fds[place] = make()
        reply = node.ask(EXEC, id="host", arg=1,
                         fds=[sealed(process("true"))] + fds)
        assert reply.error == -errno.EPERM, reply
        assert reply.text == ("container host: refused: descriptor %d: want "
                              "a pipe or the null device" % place)
        os.close(fds[place])
    os.close(null)
    remove(node, "host")


def test_null_device_of_the_node_stays_as_it_is(node):
    """Neither as a descriptor nor as the mask of a file can root of a
    container change its mode."""
    change = "chmod 600 /proc/self/fd/0 /proc/kcore /proc/keys; "
    try:
        assert node.start("null", "sh", "-c",
                          change + "exec sleep 1000").error == 0
        null = os.open("/dev/null", os.O_RDWR)
        reply = node.ask(EXEC, id="null", arg=1, fds=[
            sealed(process("sh", "-c", change + "exit 7")), null, null,
            null])
        os.close(null)
        assert reply.error == 0, reply
        assert node.ended("null", 1) == (CLD_EXITED, 7, b"")
        assert os.stat("/dev/null").st_mode & 0o777 == 0o666
    finally:
        os.chmod("/dev/null", 0o666)
    remove(node, "null")


TRACED = "State:\tt (tracing stop)"


def children(node, line):
    """Of init, those whose /proc/PID/status has the line."""
    found = set()
    for pid in open("/proc/%d/task/%d/children" % (
            node.init.pid, node.init.pid)).read().split():
        with contextlib.suppress(OSError):
            if line in open("/proc/%s/status" % pid).read().splitlines():
                found.add(int(pid))
    return found


def nursery(node):
    """The process that makes buds, and those that wait, as that or held at the
    begin of their program."""
    return children(node, "Name:\tzrun-nursery") | children(node, TRACED)


def start_from_bud(node, id, config_):
    """The shape of a config counts from the second time on."""
    for n in range(3):
        if n:
            node.ask(KILL, id=id, arg=9)
            node.wait_ended(id)
            assert node.ask(DELETE, id=id).error == 0
            node.wait(lambda: len(nursery(node)) == 5)
        fd = sealed(config_)
        reply = node.ask(START, id=id, digest=node.digest, fds=[fd])
        os.close(fd)
        assert reply.error == 0, reply
    assert os.readlink(node.path / "run/cgroups" / id).split("/")[-1][0] == "@"
    return reply


def printed(node, id, *command):
    reply = node.exec(id, 1, "sh", "-c", *command)
    assert reply.error == 0, reply
    node.ended(id, 1)
    assert node.drop(id, 1) == 0
    return reply.output.read().decode()


def readonly(*args):
    return dict(config(*args), root={"path": "rootfs", "readonly": True})


def test_containers_made_ahead_share_nothing(node):
    """But the layers, which none of them can change."""
    start_from_bud(node, "one", readonly("sleep", "1000"))
    fd = sealed(readonly("sleep", "1000"))
    assert node.ask(START, id="two", digest=node.digest, fds=[fd]).error == 0
    os.close(fd)
    print_all = "ls /dev; cat /etc/x; for n in /proc/self/ns/*; do " \
        "readlink $n; done"
    printed(node, "one", "echo of-one >/dev/x; echo of-one >/etc/x; "
            "hostname")
    seen = [printed(node, id, print_all) for id in ("one", "two")]
    assert "\nx\n" in seen[0] and "of-one" not in seen[0]
    assert "\nx\n" not in seen[1] and "of-one" not in seen[1]
    spaces = [set(re.findall(r"\w+:\[\d+\]", text)) for text in seen]
    assert len(spaces[0]) >= 8
    common = {name.split(":")[0] for name in spaces[0] & spaces[1]}
    assert common <= {"user", "time"}
    # ".." of the root is the root, and nothing of the empty one is seen.
    assert printed(node, "one", "stat -c %i:%d / /.. /proc/1/root/.. | uniq | "
                   "wc -l; grep -c files /proc/1/mountinfo") == "1\n0\n"
    for id in "one", "two":
        remove(node, id)


def test_what_a_config_hides_is_hidden_whatever_was_made_ahead(node):
    """In a shape of its own, and in one that is there already."""
    plain, hiding = config("sleep", "1000"), config("sleep", "1000")
    hiding["linux"]["maskedPaths"] = ["/proc/uptime", "/etc/passwd"]
    hiding["linux"]["readonlyPaths"] = ["/dev"]
    start_from_bud(node, "plain", plain)
    fd = sealed(hiding)
    assert node.ask(START, id="first", digest=node.digest, fds=[fd]).error == 0
    os.close(fd)
    start_from_bud(node, "later", hiding)
    look = "exec 2>/dev/null; cat /proc/uptime /etc/passwd | wc -l; " \
        "(echo >/dev/x) && echo writes"
    assert printed(node, "plain", look) == "3\nwrites\n"
    for id in "first", "later":
        assert printed(node, id, look) == "0\n"
    for id in "plain", "first", "later":
        remove(node, id)


def test_buds_go_with_serve_and_leave_nothing(node):
    start_from_bud(node, "stays", config("sleep", "1000"))
    node.wait(lambda: len(nursery(node)) == 5)
    own = os.path.realpath(node.path / "run/cgroups/stays")
    gone = [os.pidfd_open(pid) for pid in nursery(node)]
    assert node.kill_serve()
    for fd in gone:
        assert select.select([fd], [], [], DEADLINE)[0]
        os.close(fd)
    assert node.list()["stays"][0] == "running"
    assert printed(node, "stays", "echo still") == "still\n"
    remove(node, "stays")
    assert not os.path.exists(own)


def test_refused_starts_use_up_nothing(node):
    """Whoever sends what is refused takes buds out of the pool at most once
    for each start that was good, and what they leave is removed."""
    start_from_bud(node, "good", config("sleep", "1000"))
    wide = config("true")
    wide["hooks"] = {"poststop": [{"path": "/bin/true"}]}
    parent = os.path.dirname(os.path.realpath(node.path / "run/cgroups/good"))

    def cgroups():
        return sum(name[0] == "@" for name in os.listdir(parent))
    node.wait(lambda: len(nursery(node)) == 5)
    before = cgroups()
    for _ in range(12):
        node.wait(lambda: len(nursery(node)) == 5)
        fd = sealed(wide)
        assert node.ask(START, id="bad", digest=node.digest,
                        fds=[fd]).error == -errno.EPERM
        os.close(fd)
    assert cgroups() <= before + 2
    remove(node, "good")


def test_containers_outlive_serve(node):
    reply = node.start("stays", "sleep", "1000")
    assert reply.error == 0
    before = open("/proc/%d/stat" % reply.pid).read().split()[21]
    assert node.kill_serve()
    assert node.list() == {"stays": ("running", reply.pid)}
    assert open("/proc/%d/stat" % reply.pid).read().split()[21] == before
    assert node.ask(SOCKETS, id="stays", arg=1).error == 0
    remove(node, "stays")


def test_kill_of_serve_at_any_time_leaves_nothing_half_made(kills):
    """A start is cut at a random moment. Then the container runs whole and is
    listed, or nothing of it is left."""
    seeded = random.Random(11)
    for node, n in kills(60 if FULL else 5):
        name = "cut-%d" % n
        connection = node.connect()
        fd = sealed(config("sleep", "1000"))
        connection.send(struct.pack(
            "<IIII64s72s256s192s", 600, START, 0, 0, name.encode(),
            node.digest.encode(), b"", b""), [fd])
        os.close(fd)
        select.select([connection.socket], [], [], seeded.random() * 0.02)
        node.kill_serve()
        rows = node.list()
        assert node.states() == set(rows)
        assert set(os.listdir(node.path / "data/containers")) == set(rows)
        for id, (state, pid) in rows.items():
            assert state == "running" or state == "stopped"
            if state == "running":
                node.ask(KILL, id=id, arg=9)
            node.wait_ended(id)
            assert node.ask(DELETE, id=id).error == 0
        assert node.list() == {}


def tun_packet(tun, deadline_s=DEADLINE):
    """The next IP packet that the container sends, without its header."""
    ready, _, _ = select.select([tun], [], [], deadline_s)
    assert ready, "nothing was sent"
    return os.read(tun, 65600)[10:]


def tuns(pid):
    names = os.listdir("/proc/%d/fd" % pid)
    return sum(os.readlink("/proc/%d/fd/%s" % (pid, name)) == "/dev/net/tun"
               for name in names)


def test_init_does_not_close_the_last_of_a_tun(node):
    """It would wait for the kernel, as would serve: the worker of the delete
    does."""
    assert node.start("out", "sleep", "1000",
                      address="10.64.0.9").error == 0
    assert tuns(node.init.pid) == 1
    assert node.ask(KILL, id="out", arg=9).error == 0
    node.wait_ended("out")
    node.wait(lambda: tuns(node.init.pid) == 0)
    assert tuns(node.serve_pid()) == 1
    assert node.ask(DELETE, id="out").error == 0
    assert tuns(node.serve_pid()) == 0


def test_tun_is_all_that_leads_out(node):
    """Its default routes; init holds it for znet until the container ends."""
    reply = node.start("out", "sh", "-c", "ping -c1 -W1 192.0.2.1;"
                       "ping -6 -c1 -W1 2001:db8::1; sleep 1000",
                       address="10.64.0.12")
    assert reply.error == 0, reply
    (error, _), fds = node.from_init(TUN, "out")
    assert error == 0 and len(fds) == 1
    try:
        first = tun_packet(fds[0])
        assert first[9] == 1 and first[12:16] == bytes([10, 64, 0, 12])
        assert first[16:20] == bytes([192, 0, 2, 1])
        second = tun_packet(fds[0])
        assert second[6] == 58 and second[8:24] == socket.inet_pton(
            socket.AF_INET6, "fd7a:6f6f:6964::a40:c")
        assert open("/proc/%d/net/dev" % reply.pid).read().count("tun0") == 1
    finally:
        os.close(fds[0])
    assert node.ask(KILL, id="out", arg=9, flags=KILL_ALL).error == 0
    node.wait_ended("out")
    (error, _), fds = node.from_init(TUN, "out")
    assert error == -errno.ENOENT and not fds
    assert node.ask(DELETE, id="out").error == 0


def test_without_an_address_there_is_no_way_out(node):
    assert node.start("in", "sleep", "1000").error == 0
    (error, _), _ = node.from_init(TUN, "in")
    assert error == -errno.ENOENT
    remove(node, "in")
