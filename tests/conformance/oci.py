"""A container of any OCI runtime, as these tests see it.

OCI_RUNTIME names the program under test, build/x86_64/bin/zrun by default. It
always runs in a mount namespace of its own in which /sys/fs/cgroup is a cgroup
v2 tree and nothing else, since some runtimes want that; what is mounted there
is gone with it. Needs root and a static busybox."""

import copy
import ctypes
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ZOOID_BUILD", TOP / "build"))
ZRUN = BUILD / os.uname().machine / "bin/zrun"
PROBE = BUILD / os.uname().machine / "tests/probe"
RUNTIME = pathlib.Path(os.environ.get("OCI_RUNTIME", ZRUN)).resolve()
BUSYBOX = "/bin/busybox"
DEADLINE = 20
CLONE_NEWNS = 0x20000
NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup")
FILES = {"mount": "mnt", "network": "net"}  # their names in /proc/PID/ns
_libc = ctypes.CDLL(None, use_errno=True)

VIEW = """
umount -l /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup && echo ready && exec sleep infinity
"""

CONFIG = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {name: [] for name in (
            "bounding", "effective", "permitted", "inheritable", "ambient")},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666",
                     "mode=0620"]},
    ],
    "linux": {"namespaces": [{"type": n} for n in NAMESPACES]},
}


def spec(section):
    """Marks a test with the section of the specification it is of."""
    return pytest.mark.spec(section)


def file_of(namespace):
    return FILES.get(namespace, namespace)


class View:
    """The mount namespace the runtime runs in."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", VIEW],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.root = pathlib.Path("/proc/%d/root" % self.holder.pid)
        self.cgroups = self.root / "sys/fs/cgroup"
        self.fd = os.open("/proc/%d/ns/mnt" % self.holder.pid,
                          os.O_RDONLY | os.O_CLOEXEC)

    def enter(self, directory):
        """For a child between fork and exec."""
        if _libc.setns(self.fd, CLONE_NEWNS) < 0:
            os._exit(126)
        os.chdir(directory)

    def popen(self, argv, cwd="/", **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            [str(a) for a in argv], preexec_fn=lambda: self.enter(cwd), **more)

    def run(self, argv, cwd="/", timeout=DEADLINE, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [str(a) for a in argv], timeout=timeout, text=True,
            capture_output=True, preexec_fn=lambda: self.enter(cwd), **more)

    def close(self):
        """Runtimes leave the cgroups above the one they made."""
        mine = self.cgroups / "oci-test" / str(os.getpid())
        for path in [*sorted(mine.rglob("*"), reverse=True), mine]:
            if path.is_dir():
                path.rmdir()
        os.close(self.fd)
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


def takes_i386():
    """Whether this kernel has the calls of 32-bit programs. Where it has not,
    who makes one is killed by SIGSEGV, filter or not."""
    return subprocess.run([PROBE, "int80", "20"], check=False,
                          stdout=subprocess.DEVNULL).returncode == 0


class Bundle:
    """A bundle of busybox and probe, and the containers made from it."""

    count = 0

    def __init__(self, path, view, runtime=RUNTIME):
        Bundle.count += 1
        self.path, self.view, self.runtime = path, view, runtime
        self.rootfs, self.state_dir = path / "rootfs", path / "state"
        self.config = copy.deepcopy(CONFIG)
        self.process = self.config["process"]
        self.linux = self.config["linux"]
        self.linux["cgroupsPath"] = "/oci-test/%d/%d" % (
            os.getpid(), Bundle.count)
        self.ids = []
        (self.rootfs / "bin").mkdir(parents=True)
        for name in ("proc", "sys", "dev", "tmp", "etc"):
            (self.rootfs / name).mkdir()
        shutil.copy(BUSYBOX, self.rootfs / "bin/busybox")
        shutil.copy(PROBE, self.rootfs / "bin/probe")
        for name in ("sh cat echo id ls sleep true false env touch hostname "
                     "mount grep wc dd mkdir stat kill readlink pwd tty head "
                     "mknod umount ps test uname ip rm ln printf".split()):
            (self.rootfs / "bin" / name).symlink_to("busybox")

    # The config.

    def mount(self, destination, type_, source, *options):
        self.config["mounts"].append(
            {"destination": destination, "type": type_, "source": source,
             "options": list(options)})

    def bind(self, source, destination, *options):
        self.mount(destination, "bind", str(source), *options or ["bind"])

    def namespace(self, type_, path=None):
        """Asks for a new one, or for that of path; replaces what was asked."""
        self.share(type_)
        self.linux["namespaces"].append(
            {"type": type_, **({"path": str(path)} if path else {})})

    def share(self, type_):
        """No namespace of that type: the runtime's own."""
        self.linux["namespaces"] = [
            n for n in self.linux["namespaces"] if n["type"] != type_]

    def user_namespace(self, first=100000, size=65536):
        maps = [{"containerID": 0, "hostID": first, "size": size}]
        self.linux.update(uidMappings=maps, gidMappings=maps)
        self.namespace("user")
        for path in [self.path, *list(self.path.parents)[:-2]]:
            path.chmod(path.stat().st_mode | 0o055)
        for path in [self.rootfs, *self.rootfs.rglob("*")]:
            os.chown(path, first, first, follow_symlinks=False)

    def grant(self, *names):
        for kind in ("bounding", "effective", "permitted"):
            self.process["capabilities"][kind] += names

    def write(self, text=None):
        (self.path / "config.json").write_text(
            json.dumps(self.config) if text is None else text)

    # The runtime's commands.

    def call(self, *args, **more):
        return self.view.run([self.runtime, "--root", self.state_dir, *args],
                             cwd=self.path, **more)

    def id(self):
        Bundle.count += 1
        self.ids.append("oci-%d-%d" % (os.getpid(), Bundle.count))
        return self.ids[-1]

    def run(self, *args, **more):
        """Runs args as the container's program until it ends."""
        if args:
            self.process["args"] = list(args)
        self.write()
        return self.call("run", self.id(), **more)

    def sh(self, script, **more):
        return self.run("sh", "-c", script, **more)

    def out(self, script):
        """What a script says that must succeed."""
        done = self.sh(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_create(self, *args, name=None, options=()):
        """(id, exit code, stderr); what its program writes is in `out`."""
        if args:
            self.process["args"] = list(args)
        self.write()
        name = name or self.id()
        with open(self.path / "out", "ab") as out, \
                open(self.path / "err", "wb") as err:
            done = self.view.popen(
                [self.runtime, "--root", self.state_dir, "create", *options,
                 name], cwd=self.path, stdout=out, stderr=err)
            code = done.wait(DEADLINE)
        return name, code, (self.path / "err").read_text()

    def create(self, *args, **more):
        name, code, error = self.try_create(*args, **more)
        assert code == 0, error
        return name

    def start(self, name):
        done = self.call("start", name)
        assert done.returncode == 0, done.stderr

    def started(self, *args, **more):
        name = self.create(*args, **more)
        self.start(name)
        return name

    def state(self, name):
        done = self.call("state", name)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def exists(self, name):
        return self.call("state", name).returncode == 0

    def written(self):
        return (self.path / "out").read_text()

    def wait(self, pid):
        """Until a process of the host's has ended."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        assert select.select([fd], [], [], DEADLINE)[0], "did not end"
        os.close(fd)

    def finish(self, name):
        """Until its program has ended by itself."""
        pid = self.state(name)["pid"]
        if pid:
            self.wait(pid)

    def stop(self, name):
        pid = self.state(name)["pid"]
        assert self.call("kill", name, "KILL").returncode == 0
        self.wait(pid)

    def console(self):
        """A listening socket for --console-socket."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(self.path / "console"))
        server.listen()
        server.settimeout(DEADLINE)
        return server

    def clean(self):
        for name in self.ids:
            self.call("delete", "--force", name)


def refused(bundle, *args):
    """That no container can be made; and the runtime's own word for it."""
    name, code, error = bundle.try_create(*args or ["true"])
    assert code != 0, "was taken"
    assert not bundle.exists(name)
    return error
