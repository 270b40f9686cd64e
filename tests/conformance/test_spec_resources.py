"""OCI runtime specification: config-linux.md, what needs the controllers of
cgroup v2: in a node in QEMU, booted once for all of these."""

import copy
import io
import json
import os
import shlex
import subprocess
import tarfile

import pytest

from oci import BUSYBOX, CONFIG, PROBE, RUNTIME, spec
from zooid import Disk, Node, agent, build, cpio, medium

pytestmark = pytest.mark.deadline(300)  # the first one boots
PLACE = "/tmp/oci"
APPLETS = "sh cat echo sleep true tail".split()


def libraries(program):
    """What ldd names, the loader included; nothing of a static program."""
    done = subprocess.run(["ldd", program], text=True, capture_output=True)
    words = [w for w in done.stdout.split() if w.startswith("/")]
    return words if done.returncode == 0 else []


def portable(program):
    """A program as bytes, with its loader's path within PLACE."""
    data = program.read_bytes()
    for path in libraries(program):
        old = path.encode() + b"\0"
        if "/ld-" in path and old in data:
            new = (PLACE + "/lib/ld.so").encode()
            data = data.replace(old, new.ljust(len(old), b"\0"), 1)
    return data


def tools():
    """A tar of the runtime, its libraries, and a root file system."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
        add("runtime", portable(RUNTIME))
        for path in libraries(RUNTIME):
            name = "ld.so" if "/ld-" in path else os.path.basename(path)
            with open(path, "rb") as file:
                add("lib/" + name, file.read())
        with open(BUSYBOX, "rb") as file:
            add("bundle/rootfs/bin/busybox", file.read())
        for program in (PROBE, PROBE.with_name("pages")):
            add("bundle/rootfs/bin/" + program.name, program.read_bytes())
        for name in APPLETS:
            link = tarfile.TarInfo("bundle/rootfs/bin/" + name)
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("proc", "dev", "sys", "tmp"):
            folder = tarfile.TarInfo("bundle/rootfs/" + name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
    return out.getvalue()


class Guest:
    """The runtime inside the node."""

    def __init__(self, node):
        self.agent, self.count = node.agent, 0
        # The agent still has the root that the kernel unpacked.
        self.agent.run("/bin/sh", "-c", """
            set -e
            from=/proc/$PPID/root/test
            $from/busybox mkdir -p %s
            $from/busybox tar xf $from/tools.tar -C %s""" % (PLACE, PLACE))
        self.busybox = PLACE + "/bundle/rootfs/bin/busybox"

    def sh(self, script):
        return self.agent.run(self.busybox, "sh", "-c", script)

    def runtime(self, *words):
        """(exit code, output). What a container writes goes there too, and
        whoever runs on keeps no pipe open."""
        said = self.sh(
            "cd %s/bundle; LD_LIBRARY_PATH=%s/lib ../runtime --root "
            "/run/oci-state %s </dev/null >../said 2>&1; echo $?; cat ../said"
            % (PLACE, PLACE, shlex.join(words)))
        code, _, text = said.partition("\n")
        return int(code), text

    def prepare(self, resources, *args):
        """Writes a config; the container's id and its cgroup."""
        self.count += 1
        config = copy.deepcopy(CONFIG)
        config["process"]["args"] = list(args) or ["true"]
        config["linux"].update(cgroupsPath="/oci/c%d" % self.count,
                               resources=resources)
        self.agent.write(PLACE + "/bundle/config.json", json.dumps(config))
        return "c%d" % self.count, "/sys/fs/cgroup/oci/c%d/" % self.count

    def files(self, resources, names):
        """{name: text} of a created container's cgroup."""
        name, cgroup = self.prepare(resources)
        code, text = self.runtime("create", name)
        assert code == 0, text
        try:
            return {n: self.agent.read(cgroup + n).strip() for n in names}
        finally:
            self.runtime("delete", "--force", name)


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("guest")
    disk = Disk.make(scratch / "disk", {"node.json": medium.node_json()})
    with open(BUSYBOX, "rb") as file:
        extra = {"test/busybox": file.read(), "test/tools.tar": tools()}
    parts = [build.product("x86_64", "dev.cpio").read_bytes(),
             agent.boot_archive("x86_64"), cpio.archive(extra)]
    (scratch / "initrd").write_bytes(b"".join(
        p + bytes(-len(p) % 4) for p in parts))
    with Node("conformance", disks=[disk], network=False, agent=True,
              memory_mb=384, initrd=scratch / "initrd") as node:
        node.wait_ready(120)
        yield Guest(node)


M = 1 << 20
FILES = [
    ("memory", {"memory": {"limit": 64 * M}}, {"memory.max": str(64 * M)}),
    ("memory", {"memory": {"limit": -1}},
     {"memory.max": "max", "memory.swap.max": "max"}),
    ("memory", {"memory": {"reservation": 32 * M}},
     {"memory.low": str(32 * M)}),
    ("memory", {"memory": {"limit": 64 * M, "swap": 96 * M}},
     {"memory.max": str(64 * M), "memory.swap.max": str(32 * M)}),
    ("memory", {"memory": {"limit": 64 * M, "swap": -1}},
     {"memory.swap.max": "max"}),
    ("memory", {"memory": {"limit": 64 * M, "checkBeforeUpdate": True}},
     {"memory.max": str(64 * M)}),
    ("CPU", {"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
    ("CPU", {"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
    ("CPU", {"cpu": {"quota": 50000, "period": 200000}},
     {"cpu.max": "50000 200000"}),
    ("CPU", {"cpu": {"quota": -1, "period": 200000}},
     {"cpu.max": "max 200000"}),
    ("CPU", {"cpu": {"period": 50000}}, {"cpu.max": "max 50000"}),
    ("CPU", {"cpu": {"quota": 50000, "period": 100000, "burst": 20000}},
     {"cpu.max.burst": "20000"}),
    ("CPU", {"cpu": {"idle": 1, "shares": 500}}, {"cpu.idle": "1"}),
    ("CPU", {"cpu": {"cpus": "0", "mems": "0"}},
     {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    ("PIDs", {"pids": {"limit": 7}}, {"pids.max": "7"}),
    ("PIDs", {"pids": {"limit": -1}}, {"pids.max": "max"}),
    ("huge page limits", {"hugepageLimits": [
        {"pageSize": "2MB", "limit": 4 * M}]},
     {"hugetlb.2MB.max": str(4 * M), "hugetlb.2MB.rsvd.max": str(4 * M)}),
    ("unified", {"unified": {"memory.high": str(32 * M), "pids.max": "9"}},
     {"memory.high": str(32 * M), "pids.max": "9"}),
    ("unified", {"unified": {"cpu.weight": "77"}}, {"cpu.weight": "77"}),
]


@pytest.mark.parametrize(
    "section, resources, want",
    [pytest.param(*f, marks=spec("config-linux.md: " + f[0]),
                  id=json.dumps(f[1])[1:-1].replace('"', "")) for f in FILES])
def test_limit(guest, section, resources, want):
    assert guest.files(resources, want) == want


IO = [("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
      ("throttleReadIOPSDevice", "riops"),
      ("throttleWriteIOPSDevice", "wiops")]


@spec("config-linux.md: block IO")
@pytest.mark.parametrize("key, word", IO)
def test_block_io(guest, key, word):
    major, minor = guest.agent.read("/sys/block/vda/dev").strip().split(":")
    limit = {"major": int(major), "minor": int(minor), "rate": 1048576}
    said = guest.files({"blockIO": {key: [limit]}}, ["io.max"])["io.max"]
    assert said.startswith("%s:%s " % (major, minor))
    assert word + "=1048576" in said.split()


@spec("config-linux.md: PIDs")
def test_no_more_processes_than_the_limit(guest):
    name, _ = guest.prepare(
        {"pids": {"limit": 4}}, "sh", "-c",
        "for n in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all")
    _, text = guest.runtime("run", name)
    assert "can't fork" in text


@spec("config-linux.md: memory")
def test_no_more_memory_than_the_limit(guest):
    name, _ = guest.prepare(
        {"memory": {"limit": 8 * M, "swap": 8 * M}}, "sh", "-c",
        "tail /dev/zero; echo $?")
    _, text = guest.runtime("run", name)
    assert "137" in text.split()


@spec("config-linux.md: unified")
@pytest.mark.parametrize("resources", [
    {"unified": {"nosuch.max": "1"}}, {"unified": {"memory.high": "lots"}},
    {"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]},
    {"memory": {"swap": 1 * M, "limit": 2 * M}},
    {"cpu": {"quota": 5, "period": 100000}}],
    ids=["no controller", "no number", "no page size", "swap below limit",
         "quota too small"])
def test_limit_that_cannot_be_set(guest, resources):
    name, cgroup = guest.prepare(resources)
    code, _ = guest.runtime("create", name)
    assert code != 0
    assert os.path.basename(cgroup[:-1]) not in guest.sh(
        "ls /sys/fs/cgroup/oci 2>/dev/null || :").split()


@spec("config-linux.md: cgroups path")
def test_processes_are_in_the_cgroup(guest):
    name, cgroup = guest.prepare({}, "sleep", "1000")
    assert guest.runtime("create", name)[0] == 0
    assert guest.runtime("start", name)[0] == 0
    pids = guest.agent.read(cgroup + "cgroup.procs").split()
    assert len(pids) == 1
    assert guest.runtime("delete", "--force", name)[0] == 0
    assert name not in guest.sh("ls /sys/fs/cgroup/oci").split()


# What zrun's commands make of the same files.

UPDATES = [
    (["--memory", "64m"], {"memory.max": str(64 * M)}),
    (["--memory", "64m", "--memory-swap", "96m"],
     {"memory.max": str(64 * M), "memory.swap.max": str(32 * M)}),
    (["--memory-swap", "160M"], {"memory.swap.max": str(32 * M)}),
    (["--memory", "-1", "--memory-swap", "-1"],
     {"memory.max": "max", "memory.swap.max": "max"}),
    (["--memory-reservation", "32m"], {"memory.low": str(32 * M)}),
    (["--cpu-share", "2"], {"cpu.weight": "1"}),
    (["--cpu-quota", "50000", "--cpu-period", "200000"],
     {"cpu.max": "50000 200000"}),
    (["--cpuset-cpus", "0", "--cpuset-mems", "0"],
     {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    (["--cpu-idle", "1"], {"cpu.idle": "1"}),
    (["--pids-limit", "7"], {"pids.max": "7"}),
    (["--pids-limit", "-1"], {"pids.max": "max"}),
    (["-r", "../limits.json"], {"pids.max": "6", "memory.high": str(32 * M)}),
]


@pytest.fixture
def limited(guest):
    """(name, cgroup) of a container that runs, with some limits."""
    name, cgroup = guest.prepare(
        {"memory": {"limit": 128 * M}, "pids": {"limit": 99}}, "sleep", "1000")
    assert guest.runtime("create", name)[0] == 0
    assert guest.runtime("start", name)[0] == 0
    yield name, cgroup
    guest.runtime("delete", "--force", name)


@pytest.mark.parametrize("options, want", UPDATES,
                         ids=[" ".join(u[0]) for u in UPDATES])
def test_update(guest, limited, options, want):
    name, cgroup = limited
    guest.agent.write(PLACE + "/limits.json", json.dumps(
        {"pids": {"limit": 6}, "unified": {"memory.high": str(32 * M)}}))
    code, text = guest.runtime("update", *options, name)
    assert (code, text) == (0, "")
    assert {n: guest.agent.read(cgroup + n).strip() for n in want} == want


def test_update_changes_nothing_else(guest, limited):
    name, cgroup = limited
    assert guest.runtime("update", "--cpu-share", "2", name)[0] == 0
    assert guest.agent.read(cgroup + "pids.max").strip() == "99"
    assert guest.agent.read(cgroup + "memory.max").strip() == str(128 * M)


def test_events_count_what_is_used(guest, limited):
    code, text = guest.runtime("events", "--stats", limited[0])
    data = json.loads(text)["data"]
    assert data["pids"] == {"current": 1, "limit": 99}
    assert data["memory"]["usage"]["limit"] == 128 * M
    assert 0 < data["memory"]["usage"]["usage"] < 128 * M
    assert data["memory"]["raw"]["anon"] > 0
    assert data["cpu"]["usage"]["total"] > 0


def test_events_tell_of_a_process_killed_for_memory(guest):
    name, _ = guest.prepare({"memory": {"limit": 8 * M, "swap": 8 * M}},
                            "sh", "-c", "tail /dev/zero; true")
    assert guest.runtime("create", name)[0] == 0
    text = guest.sh("""
        cd %s/bundle; zrun="../runtime --root /run/oci-state"
        mkfifo ../events; $zrun events --interval 1ms %s >../events &
        exec 3<../events; read -r first <&3
        $zrun start %s >/dev/null 2>&1 </dev/null; cat <&3""" % (
            PLACE, name, name))
    kinds = [json.loads(line)["type"] for line in text.splitlines()]
    assert kinds.count("oom") == 1 and set(kinds) == {"oom", "stats"}
    assert guest.runtime("delete", name)[0] == 0


# Files of which the kernel refuses one while the other is as before.

ORDERED = [
    ({"cpu": {"quota": 50000, "period": 100000, "burst": 20000}},
     {"cpu": {"quota": 10000, "burst": 5000}},
     {"cpu.max": "10000 100000", "cpu.max.burst": "5000"}),
    ({"cpu": {"idle": 1}}, {"cpu": {"idle": 0, "shares": 262144}},
     {"cpu.idle": "0", "cpu.weight": "10000"}),
    ({"memory": {"limit": 64 * M}},
     {"memory": {"limit": 48 * M, "checkBeforeUpdate": True}},
     {"memory.max": str(48 * M)}),
]


@pytest.fixture
def updated(guest):
    """updated(resources, others) -> (exit code, output, cgroup)"""
    made = []

    def update(resources, others):
        name, cgroup = guest.prepare(resources, "sleep", "1000")
        made.append(name)
        for command in "create", "start":
            assert guest.runtime(command, name)[0] == 0
        guest.agent.write(PLACE + "/bundle/others.json", json.dumps(others))
        return guest.runtime("update", "--resources", "others.json",
                             name) + (cgroup,)
    yield update
    for name in made:
        guest.runtime("delete", "--force", name)


@pytest.mark.parametrize("resources, others, want", ORDERED,
                         ids=["quota below the burst", "no longer idle",
                              "memory that suffices"])
def test_update_in_the_order_that_it_takes(guest, updated, resources, others, want):
    code, text, cgroup = updated(resources, others)
    assert code == 0, text
    assert {n: guest.agent.read(cgroup + n).strip() for n in want} == want


@spec("config-linux.md: memory")
def test_check_before_update(guest, updated):
    """Rather an error than that the kernel kills for it."""
    code, text, cgroup = updated(
        {"memory": {"limit": 64 * M}},
        {"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert code != 0 and "limit" in text
    assert guest.agent.read(cgroup + "memory.max").strip() == str(64 * M)
    assert len(guest.agent.read(cgroup + "cgroup.procs").split()) == 1
