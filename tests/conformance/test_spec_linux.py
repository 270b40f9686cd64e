"""OCI runtime specification: config-linux.md, but for seccomp, and for what
needs a cgroup controller (test_spec_resources.py)."""

import os
import stat
import time

import pytest

from oci import NAMESPACES, file_of, refused, spec
from terminals import read_all, terminal_of

ALL = [*NAMESPACES, "time", "user"]


def inside(bundle, type_):
    return bundle.out("readlink /proc/self/ns/" + file_of(type_)).strip()


def ours(type_):
    return os.readlink("/proc/self/ns/" + file_of(type_))


# ---------------------------------------------------------------- namespaces

@spec("config-linux.md: namespaces")
@pytest.mark.parametrize("type_", ALL)
def test_new_namespace(bundle, type_):
    if type_ == "user":
        bundle.user_namespace()
    else:
        bundle.namespace(type_)
    assert inside(bundle, type_) != ours(type_)


@spec("config-linux.md: namespaces")
@pytest.mark.parametrize("type_", [n for n in NAMESPACES if n != "mount"])
def test_without_a_namespace_the_runtimes_own(bundle, type_):
    bundle.share(type_)
    if type_ == "network":
        bundle.grant("CAP_SYS_ADMIN")
    assert inside(bundle, type_) == ours(type_)


@spec("config-linux.md: namespaces")
@pytest.mark.parametrize("types", [["mount"], list(NAMESPACES)],
                         ids=["mount", "all"])
def test_mounts_in_the_runtimes_own_mount_namespace(bundle, types):
    for type_ in types:
        bundle.share(type_)
    done = bundle.sh("readlink /proc/self/ns/mnt; ls /; test -c /dev/null")
    own, *names = done.stdout.split()
    assert own == os.readlink("/proc/%d/ns/mnt" % bundle.view.holder.pid)
    assert "bin" in names and "boot" not in names
    assert done.returncode == 0, done.stderr


@spec("config-linux.md: namespaces, path")
@pytest.mark.parametrize("type_", [n for n in NAMESPACES if n != "mount"] +
                         ["time"])
def test_joined_namespace(bundle, bundle_of, type_):
    other = bundle_of("other")
    other.namespace(type_)
    pid = other.state(other.started("sleep", "1000"))["pid"]
    path = "/proc/%d/ns/%s" % (pid, file_of(type_))
    bundle.namespace(type_, path)
    assert inside(bundle, type_) == os.readlink(path)


@spec("config-linux.md: namespaces, path")
def test_joined_user_namespace(bundle, bundle_of):
    other = bundle_of("other")
    other.user_namespace()
    pid = other.state(other.started("sleep", "1000"))["pid"]
    bundle.user_namespace()
    del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    for type_ in ("user", "network", "ipc", "uts"):
        bundle.namespace(type_, "/proc/%d/ns/%s" % (pid, file_of(type_)))
    assert inside(bundle, "user") == os.readlink("/proc/%d/ns/user" % pid)


@spec("config-linux.md: namespaces, path")
@pytest.mark.parametrize("type_", ["pid", "network", "uts", "ipc"])
def test_path_of_a_namespace_of_another_type(bundle, type_):
    wrong = "cgroup" if type_ != "cgroup" else "uts"
    bundle.namespace(type_, "/proc/self/ns/" + wrong)
    refused(bundle)


@spec("config-linux.md: namespaces, path")
@pytest.mark.parametrize("path", ["ns/net", "/no/such", "/dev/null"])
def test_path_that_is_no_namespace(bundle, path):
    bundle.namespace("network", path)
    refused(bundle)


@spec("config-linux.md: namespaces")
@pytest.mark.parametrize("type_", ["pid", "network", "uts"])
def test_namespace_twice(bundle, type_):
    bundle.linux["namespaces"].append({"type": type_})
    refused(bundle)


@spec("config-linux.md: namespaces")
@pytest.mark.parametrize("entry", [{"type": "future"}, {}, {"type": 1}],
                         ids=["unknown", "no type", "number"])
def test_namespace_that_is_wrong(bundle, entry):
    bundle.linux["namespaces"].append(entry)
    refused(bundle)


@spec("config-linux.md: user namespace mappings")
def test_id_mappings(bundle):
    bundle.user_namespace()
    said = bundle.out("id -u; cat /proc/self/uid_map /proc/self/gid_map")
    assert said.split() == ["0"] + ["0", "100000", "65536"] * 2
    assert (bundle.rootfs / "bin").stat().st_uid == 100000


@spec("config-linux.md: user namespace mappings")
def test_several_id_mappings(bundle):
    bundle.user_namespace()
    bundle.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 20, "hostID": 100020, "size": 5}]
    assert bundle.out("cat /proc/self/uid_map").split() == [
        "0", "100000", "10", "20", "100020", "5"]


@spec("config-linux.md: offset for time namespace")
def test_time_offsets(bundle):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {
        "monotonic": {"secs": 1000, "nanosecs": 5},
        "boottime": {"secs": 1000000}}
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    said = float(bundle.out("cat /proc/uptime").split()[0])
    # /proc/uptime tells whole hundredths.
    assert -0.01 <= said - up - 1000000 < 100
    assert bundle.out("cat /proc/self/timens_offsets").split() == [
        "monotonic", "1000", "5", "boottime", "1000000", "0"]


# ------------------------------------------------------------------- devices

DEVICES = [
    {"type": "c", "path": "/dev/one", "major": 1, "minor": 5,
     "fileMode": 0o600, "uid": 3, "gid": 4},
    {"type": "u", "path": "/dev/two", "major": 1, "minor": 3},
    {"type": "b", "path": "/dev/deep/three", "major": 7, "minor": 0,
     "fileMode": 0o640},
    {"type": "p", "path": "/dev/four", "fileMode": 0o622},
    {"type": "c", "path": "/opt/out/of/dev", "major": 1, "minor": 7},
]


@spec("config-linux.md: devices")
@pytest.mark.parametrize("device", DEVICES, ids=[d["path"] for d in DEVICES])
def test_device(bundle, device):
    bundle.linux["devices"] = [device]
    kind = {"c": "character special file", "u": "character special file",
            "b": "block special file", "p": "fifo"}[device["type"]]
    said = bundle.out("stat -c '%%F|%%t:%%T|%%a|%%u:%%g' %s" % device["path"])
    what, numbers, mode, owner = said.strip().split("|")
    assert what == kind
    assert device["type"] == "p" or numbers == "%x:%x" % (
        device["major"], device["minor"])
    assert owner == "%d:%d" % (device.get("uid", 0), device.get("gid", 0))
    if "fileMode" in device:
        assert mode == "%o" % device["fileMode"]


@spec("config-linux.md: devices")
def test_device_that_is_there_already(bundle):
    os.mknod(bundle.rootfs / "opt", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    bundle.linux["devices"] = [
        {"type": "c", "path": "/opt", "major": 1, "minor": 5}]
    assert "character" in bundle.out("stat -c %F /opt")


@spec("config-linux.md: devices")
@pytest.mark.parametrize("what", ["file", "other device", "directory"])
def test_something_else_in_the_place_of_a_device(bundle, what):
    place = bundle.rootfs / "opt"
    if what == "file":
        place.write_text("x")
    elif what == "directory":
        place.mkdir()
    else:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    bundle.linux["devices"] = [
        {"type": "c", "path": "/opt", "major": 1, "minor": 5}]
    refused(bundle)


@spec("config-linux.md: devices")
@pytest.mark.parametrize("device", [
    {"path": "/dev/x", "major": 1, "minor": 5},
    {"type": "c", "major": 1, "minor": 5},
    {"type": "q", "path": "/dev/x", "major": 1, "minor": 5}],
    ids=["no type", "no path", "unknown type"])
def test_device_that_is_wrong(bundle, device):
    bundle.linux["devices"] = [device]
    refused(bundle)


@spec("config-linux.md: default devices")
@pytest.mark.parametrize("name, numbers", [
    ("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"),
    ("urandom", "1:9"), ("tty", "5:0")])
def test_default_device(bundle, name, numbers):
    said = bundle.out("stat -c '%%F %%t:%%T' /dev/%s; test -r /dev/%s && "
                      "test -w /dev/%s && echo both" % ((name,) * 3))
    assert said == "character special file %s\nboth\n" % numbers


@spec("config-linux.md: default devices")
def test_default_devices_work(bundle):
    assert bundle.out("head -c 5 /dev/zero | wc -c; echo x >/dev/null; "
                      "head -c 5 /dev/urandom | wc -c") == "5\n5\n"


@spec("config-linux.md: default devices")
def test_ptmx_is_the_containers(bundle):
    first, second = bundle.out("stat -L -c %t:%T:%d:%i /dev/ptmx; "
                               "stat -c %t:%T:%d:%i /dev/pts/ptmx").split()
    assert first == second and first.startswith("5:2:")


@spec("config-linux.md: default devices")
def test_console_is_the_terminal(bundle):
    bundle.process["terminal"] = True
    with terminal_of(bundle, "sh", "-c", "stat -c %t:%T /dev/console "
                     "/dev/pts/0; echo written >/dev/console") as master:
        first, second, word = read_all(master).split()
    assert first == second and word == "written"


# ------------------------------------------------------------ control groups

def cgroup_of(bundle, pid):
    """As the runtime's view shows it."""
    return bundle.view.run(["cat", "/proc/%d/cgroup" % pid]).stdout \
        .strip().splitlines()[-1].split("::")[1]


@spec("config-linux.md: cgroups path")
def test_absolute_cgroups_path(bundle):
    bundle.linux["cgroupsPath"] = "/oci-test/%d/a/b" % os.getpid()
    pid = bundle.state(bundle.create("true"))["pid"]
    assert cgroup_of(bundle, pid).endswith(bundle.linux["cgroupsPath"])
    assert (bundle.view.cgroups / bundle.linux["cgroupsPath"][1:]).is_dir()


@spec("config-linux.md: cgroups path")
def test_same_path_same_place(bundle):
    bundle.linux["cgroupsPath"] = "oci-test/%d/again" % os.getpid()
    places = set()
    for _ in range(2):
        name = bundle.create("true")
        places.add(cgroup_of(bundle, bundle.state(name)["pid"]))
        bundle.call("delete", "--force", name)
    assert len(places) == 1


@spec("config-linux.md: cgroups path")
def test_no_cgroups_path(bundle):
    del bundle.linux["cgroupsPath"]
    assert bundle.run("true").returncode == 0


@spec("config-linux.md: cgroup ownership")
def test_a_cgroup_mounted_writable_in_a_user_namespace(bundle):
    bundle.user_namespace()
    (bundle.rootfs / "sys").chmod(0o755)
    bundle.mount("/sys", "sysfs", "sysfs")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup")
    assert bundle.run("true").returncode == 0


DENY = {"allow": False, "access": "rwm"}
FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229}


@spec("config-linux.md: allowed device list")
@pytest.mark.parametrize("rules, read, write", [
    ([DENY], False, False),
    ([DENY, {**FUSE, "access": "rw"}], True, True),
    ([DENY, {**FUSE, "access": "r"}], True, False),
    ([DENY, {**FUSE, "access": "w"}], False, True),
    ([{**FUSE, "access": "rwm"},
      {"allow": False, "type": "c", "major": 10, "access": "rw"}],
     False, False),
    ([DENY, {"allow": True, "type": "c", "major": 10, "access": "rwm"}],
     True, True),
    ([DENY, {**FUSE, "access": "rwm"}, {**FUSE, "allow": False,
                                        "access": "w"}], True, False),
], ids=["none", "both", "read", "write", "last rule wins", "any minor",
        "part taken back"])
def test_allowed_devices(bundle, rules, read, write):
    """A kernel may lack what is behind the node, so EPERM alone counts."""
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/fuse", "major": 10,
                                "minor": 229}]
    bundle.linux["resources"] = {"devices": rules}
    said = bundle.out("probe call 257 -100 /dev/fuse 0; "
                      "probe call 257 -100 /dev/fuse 1").split()
    assert [s != "-1" for s in said] == [read, write]


@spec("config-linux.md: allowed device list")
def test_default_devices_need_no_rule(bundle):
    bundle.linux["resources"] = {"devices": [DENY]}
    assert bundle.out("echo x >/dev/null; head -c 1 /dev/zero | wc -c") == \
        "1\n"


@spec("config-linux.md: unified")
def test_unified(bundle):
    bundle.linux["resources"] = {"unified": {"cgroup.max.depth": "3",
                                             "cgroup.max.descendants": "7"}}
    bundle.create("true")
    at = bundle.view.cgroups / bundle.linux["cgroupsPath"][1:]
    assert (at / "cgroup.max.depth").read_text() == "3\n"
    assert (at / "cgroup.max.descendants").read_text() == "7\n"


@spec("config-linux.md: unified")
@pytest.mark.parametrize("key", ["nosuch.max", "hugetlb.3MB.max"])
def test_unified_of_a_controller_that_is_not_there(bundle, key):
    bundle.linux["resources"] = {"unified": {key: "1"}}
    refused(bundle)


@spec("config-linux.md: RDMA")
def test_rdma_limit_of_nothing(bundle):
    bundle.linux["resources"] = {"rdma": {"mlx5_1": {}}}
    refused(bundle)


@spec("config-linux.md: block IO")
def test_weight_of_a_device_without_one(bundle):
    bundle.linux["resources"] = {"blockIO": {"weightDevice": [
        {"major": 8, "minor": 0}]}}
    refused(bundle)


@spec("config-linux.md: IntelRdt")
def test_intel_rdt_without_resctrl(bundle):
    bundle.linux["intelRdt"] = {"l3CacheSchema": "L3:0=f"}
    refused(bundle)


# -------------------------------------------------------------------- sysctl

@spec("config-linux.md: sysctl")
@pytest.mark.parametrize("key, value", [
    ("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "4242"),
    ("kernel.shm_rmid_forced", "1"), ("fs.mqueue.msg_max", "20"),
    ("net.core.somaxconn", "256")])
def test_sysctl(bundle, key, value):
    path = "/proc/sys/" + key.replace(".", "/")
    with open(path) as file:
        before = file.read()
    bundle.linux["sysctl"] = {key: value}
    assert bundle.run("cat", path).stdout == value + "\n"
    with open(path) as file:
        assert file.read() == before


# ------------------------------------------------- the root and what it hides

@spec("config-linux.md: rootfs mount propagation")
@pytest.mark.parametrize("value, tag", [
    ("shared", "shared:"), ("private", None), ("unbindable", "unbindable")])
def test_rootfs_propagation(bundle, value, tag):
    bundle.linux["rootfsPropagation"] = value
    for line in bundle.out("cat /proc/self/mountinfo").splitlines():
        words = line.split()
        if words[4] == "/":
            tags = words[6:words.index("-")]
            assert tags == [] if tag is None else \
                any(t.startswith(tag) for t in tags), tags


@spec("config-linux.md: rootfs mount propagation")
def test_rootfs_that_is_a_slave(bundle):
    """What the host mounts later below the root appears inside."""
    top = bundle.path / "shared"
    (top / "rootfs").mkdir(parents=True)
    for argv in (["mount", "--rbind", bundle.path / "rootfs", top / "rootfs"],
                 ["mount", "--make-shared", top / "rootfs"]):
        assert bundle.view.run(argv).returncode == 0
    bundle.config["root"]["path"] = str(top / "rootfs")
    bundle.linux["rootfsPropagation"] = "slave"
    pid = bundle.state(bundle.started("sleep", "1000"))["pid"]
    assert bundle.view.run(["mount", "-t", "tmpfs", "tmpfs",
                            top / "rootfs/tmp"]).returncode == 0
    with open("/proc/%d/mounts" % pid) as mounts:
        assert " /tmp " in mounts.read()


@spec("config-linux.md: rootfs mount propagation")
def test_rootfs_propagation_that_is_wrong(bundle):
    bundle.linux["rootfsPropagation"] = "sideways"
    refused(bundle)


@spec("config-linux.md: masked paths")
def test_masked_paths(bundle):
    (bundle.rootfs / "etc/secret").write_text("k")
    (bundle.rootfs / "opt/deep").mkdir(parents=True)
    (bundle.rootfs / "opt/deep/key").write_text("k")
    bundle.linux["maskedPaths"] = ["/etc/secret", "/opt/deep", "/no/such",
                                   "/proc/keys"]
    assert bundle.out("cat /etc/secret /proc/keys; ls /opt/deep") == ""


@spec("config-linux.md: masked paths")
@pytest.mark.parametrize("field", ["maskedPaths", "readonlyPaths"])
def test_hidden_paths_are_absolute(bundle, field):
    bundle.linux[field] = ["etc"]
    refused(bundle)


@spec("config-linux.md: readonly paths")
def test_readonly_paths(bundle):
    bundle.linux["readonlyPaths"] = ["/etc", "/proc/sys", "/no/such"]
    done = bundle.sh("touch /etc/x; echo 1 >/proc/sys/kernel/msgmax; "
                     "touch /tmp/x && echo tmp")
    assert done.stderr.count("Read-only file system") == 2
    assert done.stdout == "tmp\n"


# --------------------------------------------------------------- personality

@spec("config-linux.md: personality")
@pytest.mark.parametrize("domain, machine", [
    ("LINUX", os.uname().machine), ("LINUX32", "i686")])
def test_personality(bundle, domain, machine):
    bundle.linux["personality"] = {"domain": domain}
    assert bundle.out("uname -m") == machine + "\n"


@spec("config-linux.md: personality")
@pytest.mark.parametrize("value", [{"domain": "BSD"}, {"flags": []}])
def test_personality_that_is_wrong(bundle, value):
    bundle.linux["personality"] = value
    refused(bundle)


# ------------------------------------------------------ since version 1.3

@spec("config-linux.md: memory policy (1.3)")
@pytest.mark.parametrize("mode, number", [
    ("MPOL_BIND", 2), ("MPOL_INTERLEAVE", 3), ("MPOL_PREFERRED", 1)])
def test_memory_policy(bundle, mode, number):
    bundle.config["ociVersion"] = "1.3.0"
    bundle.linux["memoryPolicy"] = {"mode": mode, "nodes": "0"}
    assert bundle.out("probe mempolicy") == "%d 1\n" % number


@spec("config-linux.md: network devices (1.3)")
@pytest.mark.parametrize("name", [None, "inside"])
def test_network_device_is_moved(bundle, name):
    bundle.config["ociVersion"] = "1.3.0"
    device = "oci%d" % (os.getpid() % 100000)
    run = bundle.view.run
    done = run(["ip", "link", "add", device, "type", "veth", "peer", "name",
                device + "p"])
    assert done.returncode == 0, done.stderr
    try:
        for words in (["mtu", "1400"], ["address", "02:00:00:00:00:07"]):
            assert run(["ip", "link", "set", device, *words]).returncode == 0
        run(["ip", "address", "add", "10.99.0.1/24", "dev", device])
        bundle.linux["netDevices"] = {device: {"name": name} if name else {}}
        said = bundle.out("ip address show")
        assert (name or device) + "@" in said and "mtu 1400" in said
        assert "02:00:00:00:00:07" in said and "10.99.0.1/24" in said
    finally:
        run(["ip", "link", "delete", device + "p"])


@spec("config-linux.md: network devices (1.3)")
def test_network_device_that_is_not_there(bundle):
    bundle.linux["netDevices"] = {"nosuch0": {}}
    refused(bundle)
