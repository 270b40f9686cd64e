"""linux.resources, as far as the machine's cgroup v2 tree has controllers; with
all of them: test_spec_resources.py. A limit that cannot be is an error
with its place."""

import glob
import os

import pytest

from test_zrun import bundle, pytestmark  # noqa: F401


def tree():
    for path in "/sys/fs/cgroup", "/sys/fs/cgroup/unified":
        if os.path.exists(path + "/cgroup.procs"):
            return path
    raise AssertionError("no cgroup v2 tree")


def controllers():
    return open(tree() + "/cgroup.controllers").read().split()


def refused(bundle, line):
    done = bundle.run("true")
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert bundle.zrun("list", "-q").stdout == ""
    assert not glob.glob(tree() + "/zrun/test-%d-*" % os.getpid())


def read(bundle, file):
    """A file of a running container's cgroup."""
    name = bundle.create("sleep", "1000")
    return open("%s/zrun/%s/%s" % (tree(), name, file)).read().strip()


def test_class_of_a_host_without_resctrl(bundle):
    """With a folder in its place: tests/unit/zrun_resctrl_test.c."""
    bundle.config["linux"]["intelRdt"] = {"closID": "gold"}
    mounts = open("/proc/self/mountinfo").read()
    refused(bundle, "linux.intelRdt.closID (gold): no such class"
            if " - resctrl " in mounts
            else "linux.intelRdt: no resctrl file system is mounted here")


def test_default_devices_and_their_neighbours(bundle):
    """What may be opened without a rule: null, zero, full, random, urandom,
    tty, console, ptmx, pts; 67 is null's number and 64."""
    open_ = ["c 1 3", "c 1 5", "c 1 7", "c 1 8", "c 1 9", "c 5 0", "c 5 1",
             "c 5 2", "c 136 0", "c 136 500"]
    shut = ["c 1 1", "c 1 2", "c 1 4", "c 1 6", "c 1 10", "c 1 11", "c 1 67",
            "c 5 3", "c 10 200", "c 0 3", "c 137 0", "c 135 0", "b 1 3",
            "b 7 0"]
    for kind in ("bounding", "effective", "permitted"):
        bundle.config["process"]["capabilities"][kind] = ["CAP_MKNOD"]
    done = bundle.sh("cd /dev; for d in %s; do mknod x ${d//_/ }; "
                     "(: <x) 2>&1 | grep -q permitted && echo $d; rm x; done"
                     % " ".join(d.replace(" ", "_") for d in open_ + shut))
    assert done.stdout.replace("_", " ").splitlines() == shut, done.stderr


# Each limit, its file, and what it must say there.
LIMITS = [
    ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
     "hugepageLimits", "hugetlb.2MB.max", "4194304"),
    ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
     "hugepageLimits", "hugetlb.2MB.rsvd.max", "4194304"),
    ("pids", {"pids": {"limit": 77}}, "pids.limit", "pids.max", "77"),
    ("memory", {"memory": {"limit": 1 << 26}}, "memory.limit", "memory.max",
     str(1 << 26)),
    ("cpu", {"cpu": {"quota": 5000, "period": 20000, "burst": 1000}},
     "cpu.quota", "cpu.max", "5000 20000"),
    ("cpu", {"cpu": {"idle": 1}}, "cpu.idle", "cpu.idle", "1"),
    ("cpu", {"cpu": {"shares": 2048}}, "cpu.shares", "cpu.weight", "79"),
    ("cpuset", {"cpu": {"cpus": "0"}}, "cpu.cpus", "cpuset.cpus", "0"),
    ("rdma", {"rdma": {"mlx5_0": {"hcaHandles": 3}}}, "rdma", "rdma.max",
     ""),
    ("misc", {"unified": {"misc.max": "res_a max"}}, "unified", "misc.max",
     ""),
]


@pytest.mark.parametrize(
    "controller, resources, name, file, want", LIMITS,
    ids=[limit[3] for limit in LIMITS])
def test_limit(bundle, controller, resources, name, file, want):
    bundle.config["linux"]["resources"].update(resources)
    if controller not in controllers():
        refused(bundle, "linux.resources.%s: the cgroup v2 tree has no %s" % (
            name, "hugetlb.2MB.max" if controller == "hugetlb" else file))
    elif want:
        assert read(bundle, file) == want
    else:  # no such device here
        refused(bundle, "linux.resources.%s: write %s: " % (name, file))


def test_limit_that_the_kernel_refuses(bundle):
    bundle.config["linux"]["resources"]["unified"] = {"cgroup.freeze": "7"}
    refused(bundle, "linux.resources.unified: write cgroup.freeze: ")


@pytest.mark.parametrize("resources, name", [
    ({"cpu": {"realtimeRuntime": 950000}}, "cpu.realtimeRuntime"),
    ({"cpu": {"realtimePeriod": 1000000}}, "cpu.realtimePeriod"),
    ({"memory": {"swappiness": 60}}, "memory.swappiness"),
    ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
    ({"blockIO": {"leafWeight": 100}}, "blockIO.leafWeight"),
    ({"network": {"classID": 7}}, "network.classID"),
    ({"network": {"priorities": [{"name": "lo", "priority": 1}]}},
     "network.priorities"),
])
def test_limit_of_version_1(bundle, resources, name):
    bundle.config["linux"]["resources"].update(resources)
    refused(bundle, "linux.resources.%s: cgroup v2 has no such limit" % name)


@pytest.mark.parametrize("form", ["/zrun-test/%s", "zrun-test/%s",
                                  "//zrun-test//deep//%s/"])
def test_cgroups_path(bundle, form):
    path = form % ("t%d" % os.getpid())
    bundle.config["linux"]["cgroupsPath"] = path
    try:
        name = bundle.create("sleep", "1000")
        pid = bundle.state(name)["pid"]
        line = [line for line in open("/proc/%d/cgroup" % pid)
                if line.startswith("0::")][0].strip()
        assert line == "0::/" + os.path.normpath(path.lstrip("/"))
        bundle.zrun("delete", "--force", name)
        assert not os.path.exists(
            tree() + "/" + os.path.normpath(path.lstrip("/")))
    finally:
        for left in ("/zrun-test/deep", "/zrun-test"):
            if os.path.isdir(tree() + left):
                os.rmdir(tree() + left)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/"])
def test_cgroups_path_that_leads_out(bundle, path):
    bundle.config["linux"]["cgroupsPath"] = path
    refused(bundle, "linux.cgroupsPath")


def test_cgroups_path_of_systemd(bundle):
    bundle.config["linux"]["cgroupsPath"] = "system.slice:zrun:x"
    refused(bundle, "linux.cgroupsPath (system.slice:zrun:x): the form "
            "slice:prefix:name needs --systemd-cgroup")
