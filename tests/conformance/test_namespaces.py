"""Namespaces that are joined: by path, by a descriptor, and together with a
user namespace."""

import json
import os
import subprocess

import pytest

from test_zrun import DEADLINE, ZRUN, bundle, pytestmark  # noqa: F401

FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts",
         "cgroup": "cgroup", "time": "time", "user": "user"}


def started(bundle):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return bundle.state(name)["pid"]


def spaces(pid, kinds=tuple(FILES)):
    return [os.readlink("/proc/%s/ns/%s" % (pid, FILES[k])) for k in kinds]


def join(bundle, pid, *kinds):
    """The config joins these of process pid; the others stay as they are."""
    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"]
                           if n["type"] not in kinds] + [
        {"type": k, "path": "/proc/%d/ns/%s" % (pid, FILES[k])}
        for k in kinds]
    if "user" in kinds:
        linux.pop("uidMappings", None)
        linux.pop("gidMappings", None)


def unmounted(bundle):
    """Without what the kernel mounts only for the owner of a network or IPC
    namespace."""
    bundle.config["mounts"] = [
        m for m in bundle.config["mounts"]
        if not m["destination"].startswith(("/sys", "/dev/mqueue"))]


def inside(bundle):
    done = bundle.sh("for n in pid net ipc uts cgroup time user; do "
                     "readlink /proc/self/ns/$n; done")
    assert done.returncode == 0, done.stderr
    return dict(zip(FILES, done.stdout.split()))


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid"])
def test_joins_one(bundle, kind):
    pid = started(bundle)
    bundle.config.pop("hostname")
    join(bundle, pid, kind)
    assert inside(bundle)[kind] == spaces(pid, [kind])[0]


def test_joins_a_time_namespace(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 777}}
    pid = started(bundle)
    bundle.config["linux"].pop("timeOffsets")
    join(bundle, pid, "time")
    assert inside(bundle)["time"] == spaces(pid, ["time"])[0]


def test_joins_all_at_once(bundle):
    pid = started(bundle)
    bundle.config.pop("hostname")
    kinds = ["pid", "network", "ipc", "uts", "cgroup"]
    join(bundle, pid, *kinds)
    got = inside(bundle)
    assert [got[k] for k in kinds] == spaces(pid, kinds)


# ---------------------------------------------------- with user namespaces

def test_joins_a_user_namespace(bundle):
    """As the containers of a pod: what is new belongs to it."""
    bundle.give_to(100000)
    pid = started(bundle)
    join(bundle, pid, "user")
    bundle.process["oomScoreAdj"] = 500
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    got = inside(bundle)
    assert got["user"] == spaces(pid, ["user"])[0]
    assert got["network"] != spaces(pid, ["network"])[0]
    done = bundle.sh("id -u; cat /proc/self/uid_map /proc/self/oom_score_adj; "
                     "ulimit -n; hostname; echo x >/dev/null && echo null; "
                     "stat -c %u /proc/1")
    assert done.stdout.split() == ["0", "0", "100000", "1000", "500", "50",
                                   "zrun", "null", "0"], done.stderr


def test_joins_a_user_namespace_and_others_of_it(bundle):
    bundle.give_to(100000)
    pid = started(bundle)
    bundle.config.pop("hostname")
    kinds = ["user", "network", "ipc", "uts", "pid"]
    join(bundle, pid, *kinds)
    got = inside(bundle)
    assert [got[k] for k in kinds] == spaces(pid, kinds)


def test_joins_the_hosts_network_with_a_new_user_namespace(bundle):
    """Which belongs to a user namespace above."""
    pid = started(bundle)
    bundle.give_to(100000)
    unmounted(bundle)
    join(bundle, pid, "network", "ipc")
    got = inside(bundle)
    assert [got["network"], got["ipc"]] == spaces(pid, ["network", "ipc"])
    assert got["user"] not in (spaces("self", ["user"])[0],
                               spaces(pid, ["user"])[0])


def test_exec_into_what_belongs_to_several_user_namespaces(bundle):
    pid = started(bundle)
    bundle.give_to(100000)
    unmounted(bundle)
    join(bundle, pid, "network")
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    want = spaces(bundle.state(name)["pid"], ["network", "user", "uts"])
    done = bundle.zrun("exec", name, "sh", "-c", "for n in net user uts; do "
                       "readlink /proc/self/ns/$n; done; id -u")
    assert done.stdout.split() == want + ["0"], done.stderr


def test_exec_into_a_joined_user_namespace(bundle):
    bundle.give_to(100000)
    pid = started(bundle)
    join(bundle, pid, "user")
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    done = bundle.zrun("exec", name, "sh", "-c",
                       "id -u; readlink /proc/self/ns/user")
    assert done.stdout.split() == ["0"] + spaces(pid, ["user"]), done.stderr


def test_signals_and_exit_code_of_a_child_made_by_another(bundle):
    bundle.give_to(100000)
    join(bundle, started(bundle), "user")
    assert bundle.sh("exit 9").returncode == 9
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    assert bundle.zrun("kill", name, "KILL").returncode == 0
    bundle.wait_ended(name)
    assert bundle.zrun("delete", name).returncode == 0


def test_joins_the_user_namespace_that_it_is_in(bundle):
    join(bundle, os.getpid(), "user")
    assert inside(bundle)["user"] == spaces("self", ["user"])[0]


def test_limits_and_score_in_a_user_namespace(bundle):
    bundle.give_to(100000)
    bundle.process["oomScoreAdj"] = 300
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    done = bundle.sh("cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn")
    assert done.stdout.split() == ["300", "50", "60"], done.stderr


def test_fifo_in_a_user_namespace(bundle):
    bundle.give_to(100000)
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/fifo", "type": "p", "fileMode": 0o640, "uid": 3,
         "gid": 4}]
    done = bundle.run("stat", "-c", "%F %a %u:%g", "/dev/fifo")
    assert done.stdout == "fifo 640 3:4\n", done.stderr


# ------------------------------------------------------------ descriptors

def run_with(bundle, fd, kind):
    """`zrun run`, joining by a descriptor that it inherits."""
    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"]
                           if n["type"] != kind] + [
        {"type": kind, "path": "/proc/self/fd/%d" % fd}]
    bundle.process["args"] = ["readlink", "/proc/self/ns/" + FILES[kind]]
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    return subprocess.run(
        [ZRUN, "--root", bundle.root, "run", bundle.id()],
        cwd=bundle.path, timeout=DEADLINE, text=True, pass_fds=[fd],
        stdin=subprocess.DEVNULL, capture_output=True)


@pytest.mark.parametrize("kind", ["network", "pid"])
def test_joins_by_a_descriptor(bundle, kind):
    pid = started(bundle)
    fd = os.open("/proc/%d/ns/%s" % (pid, FILES[kind]), os.O_RDONLY)
    done = run_with(bundle, fd, kind)
    os.close(fd)
    assert done.stdout.strip() == spaces(pid, [kind])[0], done.stderr


@pytest.mark.parametrize("kind", ["network", "pid"])
def test_joins_by_a_pidfd(bundle, kind):
    pid = started(bundle)
    fd = os.pidfd_open(pid)
    done = run_with(bundle, fd, kind)
    os.close(fd)
    assert done.stdout.strip() == spaces(pid, [kind])[0], done.stderr


# ---------------------------------------------------------------- refused

@pytest.mark.parametrize("path, line", [
    ("/no/such", "linux.namespaces: ipc (/no/such): No such file"),
    ("/proc/self/fd/77", "linux.namespaces: ipc (/proc/self/fd/77): "),
    ("/proc/self/ns/net", "linux.namespaces (ipc): Invalid argument"),
    ("/dev/null", "linux.namespaces (ipc): Invalid argument"),
])
def test_wrong_path(bundle, path, line):
    linux = bundle.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"]
                           if n["type"] != "ipc"] + [
        {"type": "ipc", "path": path}]
    done = bundle.run("true")
    assert done.returncode == 1 and line in done.stderr, done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def test_wrong_path_with_a_user_namespace(bundle):
    bundle.give_to(100000)
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "ipc"] + [{"type": "ipc", "path": "/proc/self/ns/net"}]
    done = bundle.run("true")
    assert done.returncode == 1
    assert "linux.namespaces (ipc): Invalid argument" in done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


# ------------------------------------------------------- mount namespaces

def without_mounts(bundle):
    """What is left of the config when nothing may be mounted."""
    bundle.config["mounts"] = []
    bundle.config["root"]["readonly"] = False
    for name in "maskedPaths", "readonlyPaths":
        bundle.config["linux"].pop(name, None)
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "mount"]


def mount_id():
    return os.readlink("/proc/self/ns/mnt")


def test_without_a_mount_namespace(bundle):
    """It has the host's, and its root all the same; nothing is mounted."""
    without_mounts(bundle)
    before = open("/proc/self/mountinfo").read()
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    pid = bundle.state(name)["pid"]
    assert os.readlink("/proc/%d/ns/mnt" % pid) == mount_id()
    assert os.readlink("/proc/%d/root" % pid) == str(bundle.path / "rootfs")
    done = bundle.zrun("exec", name, "sh", "-c", "ls /; pwd; ls /..")
    assert done.stdout.split().count("bin") == 2, done.stderr
    assert open("/proc/self/mountinfo").read() == before


def mounted_below(path):
    return [line.split()[4] for line in open("/proc/self/mountinfo")
            if line.split()[4].startswith(str(path))]


def shares_mounts(bundle):
    """No mount namespace, but mounts: as the suites of others ask for it."""
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "mount"]
    (bundle.path / "rootfs/hidden").write_text("secret")
    bundle.config["linux"]["maskedPaths"] = ["/hidden"]
    bundle.config["linux"]["readonlyPaths"] = ["/proc/sys"]


def test_mounts_without_a_mount_namespace(bundle):
    """They are there, hide what they should, and go with the container."""
    shares_mounts(bundle)
    done = bundle.sh("readlink /proc/self/ns/mnt; echo $$; cat /hidden; "
                     "touch /x; stat -c %F /dev/null; "
                     "echo 1 >/proc/sys/kernel/threads-max")
    assert done.stdout.split("\n")[:3] == [
        mount_id(), "1", "character special file"], done.stderr
    assert done.stderr.count("Read-only file system") == 2, done.stderr
    assert mounted_below(bundle.path) == []


@pytest.mark.parametrize("command", [["delete"], ["delete", "--force"]])
def test_mounts_without_a_mount_namespace_go_with_delete(bundle, command):
    shares_mounts(bundle)
    bundle.config["root"]["readonly"] = False
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    root = str(bundle.path / "rootfs")
    assert {root, root + "/proc", root + "/hidden"} <= set(
        mounted_below(bundle.path))
    done = bundle.zrun("exec", name, "sh", "-c", "ls /; cat /hidden")
    assert "bin" in done.stdout.split() and "secret" not in done.stdout
    if command == ["delete"]:
        bundle.zrun("kill", name, "KILL")
        bundle.wait_ended(name)
    assert bundle.zrun(*command, name).returncode == 0
    assert mounted_below(bundle.path) == []


def test_mounts_without_a_mount_namespace_that_fail(bundle):
    shares_mounts(bundle)
    bundle.config["mounts"].append(
        {"destination": "/m", "type": "tmpfs", "options": ["no-such"]})
    assert bundle.run("true").returncode == 1
    assert mounted_below(bundle.path) == []
    assert bundle.zrun("list", "-q").stdout == ""


def test_mount_of_somebody_else_on_the_root_stays(bundle):
    shares_mounts(bundle)
    root = bundle.path / "rootfs"
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        assert bundle.run("true").returncode == 0
        assert mounted_below(bundle.path) == [str(root)]
        name = bundle.create("sleep", "1000")
        subprocess.run(["umount", "-l", root], check=True)  # zrun's own
        assert bundle.zrun("delete", "--force", name).returncode == 0
        assert mounted_below(bundle.path) == [str(root)]
    finally:
        subprocess.run(["umount", "-l", root], check=True)


def test_joins_a_mount_namespace(bundle):
    holder = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", "echo ready; exec sleep 1000"],
        stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "ready\n"
        path = "/proc/%d/ns/mnt" % holder.pid
        want = os.readlink(path)
        bundle.config["root"]["readonly"] = False
        bundle.config["linux"]["namespaces"] = [
            n for n in bundle.config["linux"]["namespaces"]
            if n["type"] != "mount"] + [{"type": "mount", "path": path}]
        before = open("/proc/self/mountinfo").read()
        name = bundle.create("sleep", "1000")
        assert bundle.zrun("start", name).returncode == 0
        assert os.readlink("/proc/%d/ns/mnt" % bundle.state(name)["pid"]) == \
            want
        done = bundle.zrun("exec", name, "sh", "-c",
                           "readlink /proc/self/ns/mnt; ls / | grep -c bin")
        assert done.stdout.split() == [want, "1"], done.stderr
        assert open("/proc/self/mountinfo").read() == before
    finally:
        holder.kill()
        holder.wait()


def test_mappings_beside_a_joined_user_namespace(bundle):
    """Engines tell them again; they are what the namespace has."""
    bundle.give_to(100000)
    maps = bundle.config["linux"]["uidMappings"]
    pid = started(bundle)
    join(bundle, pid, "user")
    bundle.config["linux"].update(uidMappings=maps, gidMappings=maps)
    assert inside(bundle)["user"] == spaces(pid, ["user"])[0]
