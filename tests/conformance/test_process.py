"""What a process gets beyond its identity: clocks, turn, place, personality,
labels. At the OCI level, as test_zrun.py, whose bundle it uses."""

import json
import os
import time

import pytest

from test_zrun import bundle, pytestmark  # noqa: F401


def refused(bundle, line):
    done = bundle.run("true")
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def started(bundle):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return name


# ----------------------------------------------------------------- clocks

def test_time_offsets(bundle):
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "time"})
    linux["timeOffsets"] = {"boottime": {"secs": 1000000},
                            "monotonic": {"secs": 5, "nanosecs": 7}}
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    done = bundle.sh("cat /proc/uptime /proc/self/timens_offsets; "
                     "readlink /proc/self/ns/time")
    uptime, *offsets, space = done.stdout.splitlines()
    # /proc/uptime tells whole hundredths.
    assert -0.01 <= float(uptime.split()[0]) - up - 1000000 < 60
    assert [line.split() for line in offsets] == [
        ["monotonic", "5", "7"], ["boottime", "1000000", "0"]]
    assert space != os.readlink("/proc/self/ns/time")


def test_exec_joins_the_time_namespace(bundle):
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "time"})
    linux["timeOffsets"] = {"boottime": {"secs": 1000000}}
    name = started(bundle)
    done = bundle.zrun("exec", name, "cat", "/proc/uptime")
    assert float(done.stdout.split()[0]) > 1000000


def test_time_offsets_in_a_user_namespace(bundle):
    """The namespace belongs to the container's root, who may set it."""
    bundle.give_to(100000)
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
    done = bundle.run("cat", "/proc/uptime")
    assert float(done.stdout.split()[0]) > 1000000, done.stderr


def test_time_offsets_before_the_epoch_of_the_clock(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {
        "monotonic": {"secs": -10 ** 9}}
    refused(bundle, "linux.timeOffsets: monotonic: ")


# ------------------------------------------------------------------- turn

def field(status, name):
    return [line.split(":", 1)[1].strip() for line in status.splitlines()
            if line.startswith(name + ":")][0]


@pytest.mark.parametrize("scheduler, policy, priority", [
    ({"policy": "SCHED_OTHER", "nice": 7}, os.SCHED_OTHER, 0),
    ({"policy": "SCHED_BATCH"}, os.SCHED_BATCH, 0),
    ({"policy": "SCHED_IDLE"}, os.SCHED_IDLE, 0),
    ({"policy": "SCHED_FIFO", "priority": 3}, os.SCHED_FIFO, 3),
    ({"policy": "SCHED_RR", "priority": 4,
      "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
     os.SCHED_RR | os.SCHED_RESET_ON_FORK, 4),
])
@pytest.mark.parametrize("user", [False, True], ids=["", "user namespace"])
def test_scheduler(bundle, scheduler, policy, priority, user):
    if user:
        bundle.give_to(100000)
    bundle.process["scheduler"] = scheduler
    pid = bundle.state(started(bundle))["pid"]
    assert os.sched_getscheduler(pid) == policy
    assert os.sched_getparam(pid).sched_priority == priority
    # Only these have one; it stays what it was with the others.
    fair = policy in (os.SCHED_OTHER, os.SCHED_BATCH)
    assert os.getpriority(os.PRIO_PROCESS, pid) == scheduler.get(
        "nice", 0 if fair else os.nice(0))


def test_scheduler_deadline(bundle):
    bundle.process["scheduler"] = {
        "policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 9000000,
        "period": 10000000, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    pid = bundle.state(started(bundle))["pid"]
    assert os.sched_getscheduler(pid) & 0xff == 6


def test_scheduler_that_the_kernel_refuses(bundle):
    bundle.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 100}
    refused(bundle, "process.scheduler: Invalid argument")


def test_scheduler_of_exec(bundle):
    name = started(bundle)
    (bundle.path / "process.json").write_text(json.dumps(
        {"args": ["sh", "-c", "cat /proc/self/sched"], "cwd": "/",
         "scheduler": {"policy": "SCHED_IDLE"}, "env": ["PATH=/bin"]}))
    done = bundle.zrun("exec", "-p", "process.json", name)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["policy", ":", "5"] in lines


@pytest.mark.parametrize("name, number", [("RT", 1), ("BE", 2), ("IDLE", 3)])
def test_io_priority(bundle, name, number):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_" + name,
                                    "priority": 4}
    assert bundle.run("ionice").stdout.split()[0] == {
        1: "realtime:", 2: "best-effort:", 3: "idle"}[number]


# ------------------------------------------------------------------ place

def test_exec_cpu_affinity(bundle):
    """Of exec only; the container's own process runs where zrun did."""
    last = max(os.sched_getaffinity(0))
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": str(last)}
    name = started(bundle)
    assert os.sched_getaffinity(bundle.state(name)["pid"]) == \
        os.sched_getaffinity(0)
    done = bundle.zrun("exec", name, "grep", "Cpus_allowed_list",
                       "/proc/self/status")
    assert field(done.stdout, "Cpus_allowed_list") == str(last)
    (bundle.path / "process.json").write_text(json.dumps(
        {"args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
         "cwd": "/", "execCPUAffinity": {"initial": "0"},
         "env": ["PATH=/bin"]}))
    done = bundle.zrun("exec", "-p", "process.json", name)
    assert field(done.stdout, "Cpus_allowed_list") == "0"


def test_exec_cpu_affinity_that_is_not_there(bundle):
    bundle.process["execCPUAffinity"] = {"final": "1000"}
    name = started(bundle)
    done = bundle.zrun("exec", name, "true")
    assert done.returncode == 255
    assert "process.execCPUAffinity.final: Invalid argument" in done.stderr


def test_memory_policy(bundle):
    bundle.config["linux"]["memoryPolicy"] = {
        "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    name = started(bundle)
    pid = bundle.state(name)["pid"]
    assert "bind=static:0" in open("/proc/%d/numa_maps" % pid).read()
    done = bundle.zrun("exec", name, "cat", "/proc/self/numa_maps")
    assert "bind=static:0" in done.stdout


def test_memory_policy_that_the_kernel_refuses(bundle):
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND",
                                              "nodes": "1000"}
    refused(bundle, "linux.memoryPolicy: Invalid argument")


# ---------------------------------------------------- personality, labels

@pytest.mark.parametrize("domain, want", [("LINUX32", "00000008"),
                                          ("LINUX", "00000000")])
def test_personality(bundle, domain, want):
    bundle.config["linux"]["personality"] = {"domain": domain}
    name = started(bundle)
    read = ["cat", "/proc/self/personality"]
    assert bundle.zrun("exec", name, *read).stdout.strip() == want
    assert bundle.run(*read).stdout.strip() == want


def apparmor_is_on():
    try:
        return open("/sys/module/apparmor/parameters/enabled").read()[0] == "Y"
    except OSError:
        return False


def test_apparmor(bundle):
    bundle.process["apparmorProfile"] = "no-such-profile"
    if apparmor_is_on():
        refused(bundle, "process.apparmorProfile: No such file")
        bundle.process["apparmorProfile"] = "unconfined"
        done = bundle.run("cat", "/proc/self/attr/current")
        assert done.stdout.strip() == "unconfined", done.stderr
    else:
        refused(bundle, "process.apparmorProfile (no-such-profile): AppArmor "
                "is not enabled on this host")


@pytest.mark.parametrize("n", [3, 8, 64])
def test_few_descriptors(bundle, n):
    """What zrun itself still opens does not count: HOME comes from a file, and
    a created container waits with a socket."""
    etc = bundle.path / "rootfs/etc"
    etc.mkdir(exist_ok=True)
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    process = bundle.config["process"]
    process["env"] = ["PATH=/bin"]
    process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": n, "hard": n}]
    done = bundle.run("env")
    assert "HOME=/root\n" in done.stdout, done.stderr
    name = started(bundle)
    with open("/proc/%d/limits" % bundle.state(name)["pid"]) as limits:
        line = [l for l in limits if l.startswith("Max open files")][0]
    assert line.split()[3:5] == [str(n), str(n)]


def test_mount_label(bundle):
    bundle.config["linux"]["mountLabel"] = "no:such:label:s0"
    if os.path.exists("/sys/fs/selinux/enforce"):
        refused(bundle, "linux.mountLabel")
    else:
        refused(bundle, "linux.mountLabel (no:such:label:s0): SELinux is "
                "not enabled on this host")


def test_selinux(bundle):
    bundle.process["selinuxLabel"] = "no:such:label:s0"
    if os.path.exists("/sys/fs/selinux/enforce"):
        refused(bundle, "process.selinuxLabel: Invalid argument")
    else:
        refused(bundle, "process.selinuxLabel (no:such:label:s0): SELinux is "
                "not enabled on this host")
