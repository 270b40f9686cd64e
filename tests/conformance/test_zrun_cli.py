"""zrun's commands and options, as scripts and engines use them."""

import json
import os
import select
import subprocess

import pytest

from test_zrun import DEADLINE, ZRUN, bundle  # noqa: F401


@pytest.fixture
def running(bundle):  # noqa: F811
    """(bundle, name of a container that sleeps)."""
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return bundle, name


def has_controllers():
    with open("/proc/mounts") as mounts:
        trees = [line.split()[1] for line in mounts
                 if line.split()[2] == "cgroup2"]
    return any("memory" in open(t + "/cgroup.controllers").read()
               for t in trees)


# --------------------------------------------------------------------- ps

def test_ps(running):
    bundle, name = running  # noqa: F811
    pid = bundle.state(name)["pid"]
    assert json.loads(bundle.zrun("ps", "-f", "json", name).stdout) == [pid]
    title, *lines = bundle.zrun("ps", name).stdout.splitlines()
    assert "PID" in title.split() and "CMD" in title.split()
    assert [line.split()[1] for line in lines] == [str(pid)]
    assert lines[0].endswith("sleep 1000")


def test_ps_shows_a_child_too_and_takes_options_of_ps(bundle):  # noqa: F811
    bundle.config["root"]["readonly"] = False
    os.mkfifo(bundle.path / "rootfs/tmp/up")
    name = bundle.create("sh", "-c", "sleep 1001 & echo >/tmp/up; wait")
    bundle.zrun("start", name)
    (bundle.path / "rootfs/tmp/up").read_text()
    done = bundle.zrun("ps", name, "-o", "comm,pid")
    title, *lines = done.stdout.splitlines()
    assert title.split() == ["COMMAND", "PID"]
    done = bundle.zrun("ps", name, "-A", "-o", "comm,pid")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "sh", "sleep"]
    done = bundle.zrun("ps", name, "-o", "comm")
    assert done.returncode == 1 and "no column PID" in done.stderr


def test_ps_refuses(running):
    bundle, name = running  # noqa: F811
    assert bundle.zrun("ps", "-f", "xml", name).returncode == 1
    assert bundle.zrun("ps").returncode == 1
    assert "does not exist" in bundle.zrun("ps", "nothing").stderr


# ----------------------------------------------------------------- events

def test_events_stats(running):
    bundle, name = running  # noqa: F811
    event = json.loads(bundle.zrun("events", "--stats", name).stdout)
    assert event["type"] == "stats" and event["id"] == name
    usage = event["data"]["cpu"]["usage"]
    assert usage["total"] >= usage["user"] + usage["kernel"] - 2000
    assert usage["total"] > 0


def test_events_until_the_end(running):
    bundle, name = running  # noqa: F811
    child = subprocess.Popen(
        [ZRUN, "--root", bundle.root, "events", "--interval", "50ms", name],
        stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            assert json.loads(child.stdout.readline())["type"] == "stats"
        bundle.zrun("kill", name, "KILL")
        assert child.wait(DEADLINE) == 0
    finally:
        child.kill()
    bundle.wait_ended(name)
    done = bundle.zrun("events", "--stats", name)
    assert done.returncode == 1 and "is stopped" in done.stderr


@pytest.mark.parametrize("interval", ["0s", "5", "x", "-1s"])
def test_events_refuses_an_interval(running, interval):
    bundle, name = running  # noqa: F811
    done = bundle.zrun("events", "--interval", interval, name)
    assert done.returncode == 1 and "--interval" in done.stderr


# ----------------------------------------------------------------- update

@pytest.mark.parametrize("options, line", [
    (["--memory", "5x"], "--memory 5x: want a number"),
    (["--memory", "9999999999g"], "--memory 9999999999g: want a number"),
    (["--blkio-weight", "9"],
     "--blkio-weight 9: want a number from 10 to 1000"),
    (["--pids-limit", ""], "--pids-limit : want a number"),
    (["--kernel-memory", "1m"],
     "--kernel-memory: cgroup v2 has no such limit"),
    (["--l3-cache-schema", "x"],
     "--l3-cache-schema: Intel RDT is not supported"),
    (["-r", "none"], "--resources none: No such file or directory"),
    (["-r", "bad"], "--resources: memory.limit: want an integer"),
])
def test_update_refuses(running, options, line):
    bundle, name = running  # noqa: F811
    (bundle.path / "bad").write_text('{"memory": {"limit": "1g"}}')
    done = bundle.zrun("update", *options, name)
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1


def test_update_where_the_controller_is_not_there(running):
    """On a hybrid host; with controllers see tests/system/test_zrun.py."""
    bundle, name = running  # noqa: F811
    done = bundle.zrun("update", "--pids-limit", "5", name)
    if has_controllers():
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "linux.resources.pids.limit" in done.stderr
        assert "no pids.max here" in done.stderr


def test_update_of_a_stopped_container(running):
    bundle, name = running  # noqa: F811
    bundle.zrun("kill", name, "KILL")
    bundle.wait_ended(name)
    done = bundle.zrun("update", "--pids-limit", "5", name)
    assert done.returncode == 1
    assert "cannot update a container that is stopped" in done.stderr
