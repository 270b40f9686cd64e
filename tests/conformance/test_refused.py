"""Configs that are wrong, and what is said of them; configs made to hurt, and
that nothing stays behind."""

import copy
import json
import os
import pathlib
import uuid

import pytest

from oci import DEADLINE

NO_FILE = "No such file or directory"


def mount(c, **more):
    c["mounts"].append({"destination": "/tmp/at", "type": "tmpfs",
                        "source": "tmpfs", **more})


def bind(c, source, destination="/tmp/at"):
    mount(c, type="bind", source=source, destination=destination,
          options=["bind"])


def resources(c, **more):
    c["linux"]["resources"] = more


def seccomp(c, **more):
    c["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", **more}


WRONG = [
    # what the config says of itself
    (lambda c: c.pop("ociVersion"), "config.json: ociVersion: missing"),
    (lambda c: c.update(ociVersion="2.0.0"),
     'config.json: ociVersion: "2.0.0" is not a version 1.*'),
    (lambda c: c.pop("root"), "config.json: root: missing"),
    (lambda c: c.pop("process"), "config.json: process: missing"),
    (lambda c: c["process"].pop("cwd"), "config.json: process: cwd is missing"),
    (lambda c: c["process"].update(cwd="etc"),
     'config.json: process.cwd: "etc" is not an absolute path'),
    (lambda c: c["process"].update(args=[]),
     "config.json: process: args is missing or empty"),
    (lambda c: c["process"].update(env=["A"]),
     'config.json: process.env: [0]: "A" is not NAME=value'),
    (lambda c: c["process"]["user"].update(uid="root"),
     "config.json: process.user.uid: want an integer from 0 to 4294967295"),
    (lambda c: c["process"]["user"].update(uid=1.0),
     "config.json: process.user.uid: want an integer from 0 to 4294967295"),
    (lambda c: c["process"]["user"].update(uid=1 << 32),
     "config.json: process.user.uid: want an integer from 0 to 4294967295"),
    (lambda c: c["process"].update(rlimits=[
        {"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
     'config.json: process.rlimits[0]: "RLIMIT_X" is no known limit'),
    (lambda c: c["process"].update(oomScoreAdj=2000),
     "config.json: process.oomScoreAdj: want -1000 to 1000"),
    (lambda c: c.update(mounts=[{"type": "tmpfs"}]),
     "config.json: mounts[0]: destination is missing"),
    (lambda c: c["linux"]["namespaces"].append({"type": "pid"}),
     "config.json: linux.namespaces: [6]: pid is given twice"),
    (lambda c: c["linux"]["namespaces"].append({"type": "moon"}),
     "config.json: linux.namespaces[6].type: is no known namespace"),
    (lambda c: resources(c, memory={"limit": "1g"}),
     "config.json: linux.resources.memory.limit: want an integer"),
    (lambda c: c["linux"].update(rootfsPropagation="up"),
     'config.json: linux.rootfsPropagation: "up" is no propagation'),
    (lambda c: c["linux"].update(maskedPaths=["/a", "b"]),
     'config.json: linux.maskedPaths[1]: "b" is not an absolute path'),
    (lambda c: seccomp(c, defaultAction="SCMP_ACT_X"),
     "config.json: linux.seccomp.defaultAction: is no known action"),
    # what the kernel says
    (lambda c: c["root"].update(path="nowhere"),
     "root.path (nowhere): " + NO_FILE),
    (lambda c: bind(c, "/no/such"),
     "mounts[3] (/tmp/at): source /no/such: " + NO_FILE),
    (lambda c: mount(c, type="nofs"),
     "mounts[3] (/tmp/at): file system type nofs: No such device"),
    (lambda c: mount(c, destination="/bin/busybox/x"),
     "mounts[3] (/bin/busybox/x): make /bin/busybox/x in the root: "
     "Not a directory"),
    (lambda c: mount(c, options=["size=much"]),
     "mounts[3] (/tmp/at): tmpfs: Bad value for 'size': Invalid argument"),
    (lambda c: c["process"].update(cwd="/bin/busybox"),
     "process.cwd (/bin/busybox): Not a directory"),
    (lambda c: c["process"].update(args=["/bin/none"]),
     "process.args: exec /bin/none: " + NO_FILE),
    (lambda c: c["process"].update(args=["/etc"]),
     "process.args: exec /etc: Is a directory"),
    (lambda c: c["linux"].update(sysctl={"kernel.panic": "1"}),
     "linux.sysctl.kernel.panic: belongs to no namespace of the container"),
    (lambda c: c["linux"].update(sysctl={"kernel.msgmax": "much"}),
     "linux.sysctl (kernel.msgmax): Invalid argument"),
    (lambda c: c["linux"].update(sysctl={"net.no.such": "1"}),
     "linux.sysctl (net.no.such): " + NO_FILE),
    (lambda c: c["linux"]["namespaces"][2].update(path="/no/such"),
     "linux.namespaces: network (/no/such): " + NO_FILE),
    (lambda c: c["linux"]["namespaces"][2].update(path="/dev/null"),
     "linux.namespaces (network): Invalid argument"),
    (lambda c: resources(c, unified={"nosuch.max": "1"}),
     "linux.resources.unified: the cgroup v2 tree has no nosuch.max here "
     "(is its controller enabled, or kept by cgroup v1?)"),
    (lambda c: resources(c, unified={"cgroup.max.depth": "deep"}),
     "linux.resources.unified: write cgroup.max.depth: Invalid argument"),
    (lambda c: c["linux"].update(cgroupsPath="/a/../b"),
     "linux.cgroupsPath (a/../b): Invalid argument"),
    (lambda c: c["linux"].update(devices=[
        {"type": "c", "path": "/bin/busybox", "major": 1, "minor": 3}]),
     "linux.devices[0] (/bin/busybox): is another kind of file: File exists"),
]


@pytest.mark.parametrize("change, line", WRONG,
                         ids=[line[:50] for _, line in WRONG])
def test_what_is_said(bundle, change, line):
    """The place in the config, and the kernel's reason."""
    change(bundle.config)
    name, code, error = bundle.try_create()
    assert (code, error) == (1, "zrun: container %s: %s\n" % (name, line))


# ------------------------------------------------------------ nothing is left

class Surroundings:
    """What a container could leave behind."""

    def __init__(self, bundle):
        self.bundle = bundle
        self.mark = "OCI_MARK=%s" % uuid.uuid4()
        bundle.write()
        bundle.state_dir.mkdir()
        self.before = self.look()

    def look(self):
        bundle = self.bundle
        with open("/proc/%d/mountinfo" % bundle.view.holder.pid) as file:
            mounts = file.read()
        return {
            "state": sorted(os.listdir(bundle.state_dir))
            if bundle.state_dir.exists() else [],
            # The one that all share is made by the first, and stays.
            "cgroups": sorted(str(p) for p in (
                bundle.view.cgroups / "oci-test" / str(os.getpid())
                ).rglob("*") if p.is_dir()),
            "mounts": mounts,
            # Mount points that were made in the root stay.
            "files": sorted(str(p) for p in bundle.path.parent.glob("*/*")),
            # A namespace lives by a process or a mount.
            "processes": [p for p in pathlib.Path("/proc").glob("[0-9]*")
                          if self.is_ours(p)],
        }

    def is_ours(self, process):
        try:
            return self.mark.encode() in (process / "environ").read_bytes()
        except OSError:
            return False

    def run(self, text):
        """A config as bytes; what came of it."""
        bundle = self.bundle
        (bundle.path / "config.json").write_bytes(text)
        name, value = self.mark.split("=")
        return bundle.call("run", bundle.id(), timeout=DEADLINE,
                           env={**os.environ, name: value})


def check(around, name, text, refused):
    done = around.run(text)
    assert around.look() == around.before, name
    if refused:
        assert done.returncode == 1, name
    if done.returncode != 0:
        assert done.stderr.startswith("zrun: "), (name, done.stderr)
        assert done.stderr.count("\n") == 1, (name, done.stderr)


MALFORMED = {
    "empty": b"", "brace": b"{", "list": b"[]", "null": b"null",
    "number": b"5", "nothing in it": b"{}", "zeros": bytes(1000),
    "byte order mark": b"\xef\xbb\xbf{}", "utf-16": "{}".encode("utf-16"),
    "not utf-8": b'{"ociVersion": "1.0.0\xff"}', "comment": b"/* */ {}",
    "deep list": b"[" * 300000, "deep object": b'{"a":' * 300000,
    "deep and whole": b'{"annotations":' * 50000 + b"1" + b"}" * 50000,
    "too large": b" " * (4 << 20) + b"{}",
    "a long text": b'{"ociVersion": "' + b"1" * (3 << 20) + b'"}',
    "many numbers": b"[" + b"1," * 1000000 + b"1]",
    "many mounts": b'{"ociVersion":"1.0.0","mounts":[' + b"{}," * 200000 +
                   b"{}]}",
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(100000)) +
                 b"}",
}


def test_malformed_configs_leave_nothing(bundle):
    around = Surroundings(bundle)
    for name, text in MALFORMED.items():
        check(around, name, text, refused=True)


def test_truncated_configs_leave_nothing(bundle):
    around = Surroundings(bundle)
    text = json.dumps(bundle.config, indent=1).encode()
    for size in range(0, len(text) - 1, 50):
        check(around, size, text[:size], refused=True)


def places(value, path=()):
    """The way to everything in a config."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def changed(config, path, value):
    config = copy.deepcopy(config)
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


HOSTILE = [-1, 1 << 70, 1.5, "\0", "/\0etc", "x" * 5000, "../" * 1000, [[]],
           {"": None}, True]


def test_wrong_values_leave_nothing(bundle):
    """Each value of the config replaced by some that it cannot be."""
    bundle.linux.update(maskedPaths=["/proc/keys"],
                        sysctl={"kernel.msgmax": "4242"})
    bundle.linux["resources"] = {"devices": [{"allow": False,
                                              "access": "rwm"}],
                                 "pids": {"limit": 1}}
    bundle.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]
    del bundle.linux["resources"]["pids"]
    around = Surroundings(bundle)
    ways = list(places(bundle.config))
    step = 1 if os.environ.get("ZOOID_TEST_FULL") else 4
    for n in range(0, len(ways) * len(HOSTILE), step):
        path, value = ways[n // len(HOSTILE)], HOSTILE[n % len(HOSTILE)]
        text = json.dumps(changed(bundle.config, path, value)).encode()
        check(around, (path, str(value)[:20]), text, refused=False)


@pytest.mark.parametrize("text", [
    '"ociVersion": "1.0.0", "ociVersion": "1.0.0"',
    '"root": {"path": "rootfs"}, "root": {"path": "/"}',
    '"process": {"cwd": "/", "args": ["true"], "args": ["sh"]}',
    '"linux": {"maskedPaths": [], "maskedPaths": ["/proc"]}'])
def test_key_given_twice_is_refused(bundle, text):
    """Two readers of one config must not see two configs."""
    around = Surroundings(bundle)
    whole = json.dumps(bundle.config)[1:-1]
    first = text.split(":")[0]
    parts = [p for p in (text, whole) if p]
    assert first in whole
    check(around, text, ("{%s, %s}" % tuple(parts)).encode(), refused=True)


def tree(root):
    return {str(path.relative_to(root)) for path in root.rglob("*")}


LATE = {
    "program": lambda b: b.process.update(args=["no-such"]),
    "mount": lambda b: bind(b.config, "/no-such-source", "/late"),
    "user": lambda b: b.process.update(
        user={"uid": 0, "gid": 0}, args=["/etc"]),
}


@pytest.mark.parametrize("kind", ["", "user namespace", "joined"])
@pytest.mark.parametrize("late", LATE)
def test_places_made_for_a_refused_config_are_removed(bundle, late, kind):
    """Mount points, the working directory, devices: those that the image had
    stay, with what is in them."""
    for name in ("proc", "sys", "dev"):
        (bundle.rootfs / name).rmdir()
    (bundle.rootfs / "had").mkdir()
    mount(bundle.config, destination="/deep/in/the/root")
    mount(bundle.config, destination="/had")
    bind(bundle.config, "config.json", "/files/file")
    bundle.process["cwd"] = "/srv/here"
    bundle.linux["devices"] = [{"path": "/pipes/pipe", "type": "p"}]
    if kind == "user namespace":
        bundle.user_namespace()
    elif kind == "joined":
        bundle.namespace("ipc", "/proc/self/ns/ipc")
    before = tree(bundle.rootfs)
    LATE[late](bundle)
    done = bundle.run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert tree(bundle.rootfs) == before


def test_places_made_for_a_container_stay(bundle):
    mount(bundle.config, destination="/deep/in/the/root")
    assert bundle.run("true").returncode == 0
    assert (bundle.rootfs / "deep/in/the/root").is_dir()
