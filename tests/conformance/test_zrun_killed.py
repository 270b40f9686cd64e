"""zrun ended by SIGKILL at each system call of create, start, exec and delete:
no process runs on that nobody knows of, `list` names the remnant, and `delete
--force` leaves nothing. One call in some; every one with ZOOID_TEST_FULL."""

import json
import os
import re
import subprocess
import time

import pytest

from test_zrun import (DEADLINE, ZRUN, bundle, left_of,  # noqa: F401
                       processes_of, wait_gone)

FULL = bool(os.environ.get("ZOOID_TEST_FULL"))
STEP = 1 if FULL else 4


class Killed:
    """zrun commands under strace, which kills them where it is told to."""

    def __init__(self, bundle):  # noqa: F811
        self.bundle = bundle
        self.mark = "4%06d" % os.getpid()
        bundle.process["args"] = ["sleep", self.mark]
        (bundle.path / "config.json").write_text(json.dumps(bundle.config))

    def zrun(self, strace, *words):
        return subprocess.run(
            ["strace", *strace, ZRUN, "--root", self.bundle.root, *words],
            cwd=self.bundle.path, timeout=DEADLINE, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def points(self, *words):
        """(name, how often so far) of the calls of a command that is not
        killed; every STEPth, from another start for each command."""
        log = self.bundle.path / "calls"
        assert self.zrun(["-o", log], *words) == 0
        seen, points = {}, []
        for line in open(log):
            match = re.match(r"(\w+)\(", line)
            if match:
                seen[match[1]] = seen.get(match[1], 0) + 1
                points.append((match[1], seen[match[1]]))
        assert len(points) > 20
        return points[len(words[0]) % STEP::STEP]

    def at(self, point, *words):
        """Runs words, killed at that call; its exit status."""
        return self.zrun(["-o", "/dev/null", "-e", "trace=" + point[0], "-e",
                          "inject=%s:signal=KILL:when=%d" % point], *words)

    def listed(self):
        listed = json.loads(self.bundle.zrun("list", "-f", "json").stdout)
        return {entry["id"]: entry["status"] for entry in listed}

    def cgroups(self):
        tree = next(line.split()[1] for line in open("/proc/mounts")
                    if line.split()[2] == "cgroup2")
        below = os.path.join(tree, "zrun")
        return [name for name in (os.listdir(below) if os.path.isdir(below)
                                  else []) if name in self.bundle.ids]

    def swept(self, name, point):
        """delete --force leaves nothing."""
        done = self.bundle.zrun("delete", "--force", name)
        assert done.returncode == 0, (point, done.stderr)
        wait_gone(self.mark)
        assert left_of(self.bundle) == ([],), point
        assert self.cgroups() == [], point


@pytest.fixture
def killed(bundle):  # noqa: F811
    return Killed(bundle)


@pytest.mark.deadline(1800 if FULL else 180)
def test_killed_at_any_call_of_create(killed):
    name = killed.bundle.id()
    points = killed.points("create", name)
    killed.swept(name, None)
    for point in points:
        killed.at(point, "create", name)
        listed = killed.listed()
        if listed.get(name) != "created":
            wait_gone(str(killed.bundle.root))
        # Whatever was made is under the name that is listed.
        assert listed or left_of(killed.bundle)[0] == [], point
        assert listed or not killed.cgroups(), point
        killed.swept(name, point)


@pytest.mark.deadline(1800 if FULL else 180)
def test_killed_at_any_call_of_start(killed):
    name = killed.bundle.id()
    assert killed.zrun([], "create", name) == 0
    points = killed.points("start", name)
    killed.swept(name, None)
    for point in points:
        assert killed.zrun([], "create", name) == 0
        killed.at(point, "start", name)
        assert killed.listed()[name] in ("created", "running"), point
        killed.swept(name, point)


def command(pid):
    """"": it has ended."""
    try:
        with open("/proc/%d/cmdline" % pid) as file:
            return file.read().split("\0")[0]
    except OSError:
        return ""


@pytest.mark.deadline(1800 if FULL else 180)
def test_killed_at_any_call_of_exec(killed):
    """The container's own process notices nothing. Once the program runs it is
    one of the container's; before, it ends with zrun."""
    name, mark = killed.bundle.id(), "5" + killed.mark
    assert killed.zrun([], "run", "--detach", name) == 0
    words = ["exec", "--detach", name, "sleep", mark]
    for point in killed.points(*words):
        killed.at(point, *words)
        # zrun's child is about to end, or to execute if it was told to.
        end = time.monotonic() + DEADLINE
        while any(command(pid) not in ("sleep", "")
                  for pid in processes_of(mark)):
            assert time.monotonic() < end, point
            time.sleep(.01)
        assert killed.listed() == {name: "running"}, point
    inside = json.loads(killed.bundle.zrun("ps", "-f", "json", name).stdout)
    assert set(processes_of(mark)) <= set(inside)
    killed.swept(name, None)
    wait_gone(mark)


@pytest.mark.deadline(1800 if FULL else 180)
def test_killed_at_any_call_of_delete(killed):
    name = killed.bundle.id()
    assert killed.zrun([], "run", "--detach", name) == 0
    for point in killed.points("delete", "--force", name):
        assert killed.zrun([], "run", "--detach", name) == 0
        killed.at(point, "delete", "--force", name)
        # What is left has its name in the list as long as it is there.
        assert name in killed.listed() or \
            not (killed.cgroups() or list(processes_of(killed.mark))), point
        killed.swept(name, point)
