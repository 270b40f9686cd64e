"""The six kinds of hooks: when, where and with what each runs, and what its
failure does. Source: runtime specification, config.md and runtime.md."""

import json
import os
import pathlib
import subprocess
import time

import pytest

from test_zrun import DEADLINE, ZRUN, bundle, left_of, processes_of  # noqa: F401

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer",
         "poststart", "poststop"]

# Appends its argument, the state and the mount namespace to a log.
NOTE = """#!/bin/sh
echo "$1 $(readlink /proc/self/ns/mnt) $PWD $(cat)" >>"$LOG"
"""


class Hooks:
    """Hooks that note into one log, seen at /tmp/hooks inside too."""

    def __init__(self, bundle):
        self.bundle = bundle
        self.log = bundle.path / "rootfs/tmp/hooks"
        self.script = bundle.path / "note"
        for path in self.script, bundle.path / "rootfs/bin/note":
            path.write_text(NOTE)
            path.chmod(0o755)
        bundle.config["root"]["readonly"] = False
        self.config = bundle.config["hooks"] = {}

    def add(self, kind, path=None, **more):
        inside = kind == "startContainer"
        log = "/tmp/hooks" if inside else self.log
        hook = {"path": path or ("/bin/note" if inside else str(self.script)),
                "args": ["note", kind], "env": ["LOG=%s" % log,
                                                "PATH=/bin:/usr/bin"]}
        hook.update(more)
        self.config.setdefault(kind, []).append(hook)

    def entries(self):
        """[(kind, mount namespace, directory, state)]."""
        if not self.log.exists():
            return []
        found = [line.split(" ", 3) for line in
                 self.log.read_text().splitlines()]
        return [(k, ns, pwd, json.loads(state)) for k, ns, pwd, state in found]

    def kinds(self):
        return [entry[0] for entry in self.entries()]


@pytest.fixture
def hooks(bundle):  # noqa: F811
    return Hooks(bundle)


def test_hooks_run_in_order_where_and_with_what_they_should(bundle, hooks):  # noqa: F811
    for kind in KINDS:
        hooks.add(kind)
    bundle.config["annotations"] = {"a": "b"}
    host = os.readlink("/proc/self/ns/mnt")
    name = bundle.create("sleep", "1000")
    assert hooks.kinds() == KINDS[:3]
    pid = bundle.state(name)["pid"]
    inside = os.readlink("/proc/%d/ns/mnt" % pid)
    assert bundle.zrun("start", name).returncode == 0
    assert hooks.kinds() == KINDS[:5]
    bundle.zrun("delete", "--force", name)
    assert hooks.kinds() == KINDS
    where = {kind: ns for kind, ns, _, _ in hooks.entries()}
    assert where == {"prestart": host, "createRuntime": host,
                     "createContainer": inside, "startContainer": inside,
                     "poststart": host, "poststop": host}
    states = {kind: state for kind, _, _, state in hooks.entries()}
    assert {k: s["status"] for k, s in states.items()} == {
        "prestart": "creating", "createRuntime": "creating",
        "createContainer": "creating", "startContainer": "created",
        "poststart": "running", "poststop": "stopped"}
    for kind, state in states.items():
        assert state["id"] == name and state["bundle"] == str(bundle.path)
        assert state["pid"] == (0 if kind == "poststop" else pid)
        assert state["annotations"] == {"a": "b"}
    assert dict((k, pwd) for k, _, pwd, _ in hooks.entries())[
        "createContainer"] == str(bundle.path / "rootfs")


def test_hooks_of_run(bundle, hooks):  # noqa: F811
    for kind in KINDS:
        hooks.add(kind)
    done = bundle.run("true")
    assert done.returncode == 0, done.stderr
    assert hooks.kinds() == KINDS


def test_a_hook_has_only_its_own_arguments_and_environment(bundle, hooks):  # noqa: F811
    out = bundle.path / "out"
    hooks.add("prestart", path="/bin/busybox", env=["A=1"], args=[
        "busybox", "sh", "-c", "(echo $0 $1; tr '\\0' '\\n' </proc/$$/environ; "
        "ls /proc/self/fd) >%s" % out, "x", "y"])
    assert bundle.run("true").returncode == 0
    # The last descriptor is ls's own.
    assert out.read_text().splitlines() == ["x y", "A=1", "0", "1", "2", "3"]


def test_a_hook_that_does_not_read_its_state(bundle, hooks):  # noqa: F811
    bundle.config["annotations"] = {"long": "x" * (1 << 20)}
    for kind in KINDS:
        hooks.add(kind, path="/bin/busybox", args=["true"])
    done = bundle.run("true")
    assert (done.returncode, done.stderr) == (0, "")


def test_each_hook_reads_the_whole_state(bundle, hooks):  # noqa: F811
    for kind in KINDS:
        hooks.add(kind)
        hooks.add(kind)
    assert bundle.run("true").returncode == 0
    assert hooks.kinds() == [kind for kind in KINDS for _ in range(2)]


FAIL = {"path": "/bin/busybox", "args": ["false"]}


@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_failing_hook_ends_the_container(bundle, hooks, kind):  # noqa: F811
    hooks.add(kind, **FAIL)
    hooks.add(kind)
    hooks.add("poststop")
    marker = "5%06d" % os.getpid()
    done = bundle.run("sleep", marker)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "hooks.%s" % kind in done.stderr
    assert "[0] (/bin/busybox): exit status 1" in done.stderr
    assert hooks.kinds() == ["poststop"]
    assert not list(processes_of(marker)) and left_of(bundle) == ([],)


@pytest.mark.parametrize("kind", KINDS[3:5])
def test_a_hook_that_fails_start(bundle, hooks, kind):  # noqa: F811
    hooks.add(kind, **FAIL)
    hooks.add("poststop")
    name = bundle.create("sleep", "1000")
    done = bundle.zrun("start", name)
    assert done.returncode == 1 and "hooks.%s" % kind in done.stderr
    bundle.wait_ended(name)
    assert bundle.state(name)["status"] == "stopped"
    assert bundle.zrun("delete", name).returncode == 0
    assert hooks.kinds() == ["poststop"]


def test_a_failing_poststop_hook_is_a_warning(bundle, hooks):  # noqa: F811
    hooks.add("poststop", **FAIL)
    hooks.add("poststop")
    name = bundle.create("sleep", "1000")
    done = bundle.zrun("delete", "--force", name)
    assert done.returncode == 0 and "hooks.poststop" in done.stderr
    assert hooks.kinds() == ["poststop"] and left_of(bundle) == ([],)


@pytest.mark.parametrize("kind", KINDS[:5])
def test_a_hook_past_its_timeout(bundle, hooks, kind):  # noqa: F811
    marker = "6%06d" % os.getpid()
    hooks.add(kind, path="/bin/busybox", timeout=1, args=[
        "busybox", "sh", "-c", "busybox sleep %s; true" % marker])
    start = time.monotonic()
    done = bundle.run("sleep", "1000")
    assert done.returncode == 1 and "hooks.%s" % kind in done.stderr
    assert "timed out" in done.stderr
    assert 1 <= time.monotonic() - start < DEADLINE / 2
    assert not list(processes_of(marker))


def test_a_hook_that_is_killed_or_missing(bundle, hooks):  # noqa: F811
    hooks.add("prestart", path="/bin/busybox",
              args=["sh", "-c", "kill -9 $$"])
    assert "killed by signal 9" in bundle.run("true").stderr
    hooks.config["prestart"][0]["path"] = "/no/such"
    assert "(/no/such): execute: No such file" in bundle.run("true").stderr


def test_a_runtime_killed_in_a_hook_leaves_no_process(bundle, hooks):  # noqa: F811
    """The hook dies with it, and so does the container's process."""
    for kind in KINDS[:3]:
        marker = "7%06d" % os.getpid()
        hooks.config.clear()
        hooks.add(kind, path="/bin/busybox", args=["sleep", marker])
        bundle.process["args"] = ["sleep", "1000"]
        (bundle.path / "config.json").write_text(json.dumps(bundle.config))
        child = subprocess.Popen(
            [ZRUN, "--root", bundle.root, "create", bundle.id()],
            cwd=bundle.path)
        end = time.monotonic() + DEADLINE
        while not list(processes_of(marker)) and time.monotonic() < end:
            pass
        child.kill()
        child.wait()
        while list(processes_of(marker)) or list(
                processes_of(str(bundle.root))):
            assert time.monotonic() < end, kind
        assert bundle.zrun("list", "-q").stdout.split() == [bundle.ids[-1]]
        done = bundle.zrun("delete", "--force", bundle.ids[-1])
        assert done.returncode == 0, done.stderr
        assert left_of(bundle) == ([],)


def test_hooks_see_the_network_namespace_by_pid(bundle, hooks):  # noqa: F811
    """What CNI and slirp4netns do."""
    out = pathlib.Path(bundle.path / "ns")
    hooks.add("createRuntime", path="/bin/busybox", args=[
        "busybox", "sh", "-c",
        "pid=$(busybox sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/');"
        " busybox readlink /proc/$pid/ns/net >%s" % out])
    name = bundle.create("sleep", "1000")
    pid = bundle.state(name)["pid"]
    assert out.read_text().strip() == os.readlink("/proc/%d/ns/net" % pid)


def test_run_makes_a_network_that_is_the_container_s_alone(bundle, tmp_path):  # noqa: F811
    """`run` makes the namespace while the container mounts its files: those of
    sysfs are of that one, and hooks run in the host's as always.
    Guard: runtime/zrun/launch_network.c, network_new and is_indifferent."""
    out = tmp_path / "poststop"
    bundle.config["hooks"] = {"poststop": [{
        "path": "/bin/sh", "args": [
            "sh", "-c", "readlink /proc/self/ns/net >%s" % out]}]}
    done = bundle.sh("readlink /proc/self/ns/net; ls /sys/class/net;"
                     " cat /sys/class/net/lo/flags")
    inside, links, flags = done.stdout.split()
    host = os.readlink("/proc/self/ns/net")
    assert links == "lo" and int(flags, 16) & 1
    assert inside != host and out.read_text().strip() == host
