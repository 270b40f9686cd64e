"""OCI runtime specification: config.md, hooks, and their place in the
lifecycle of runtime.md."""

import json
import os

import pytest

from oci import refused, spec

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer",
         "poststart", "poststop"]
ON_HOST = ["prestart", "createRuntime", "createContainer", "poststart",
           "poststop"]
OF_CREATE = KINDS[:3]


def hook(script, **more):
    """A hook that is a shell script; $0 is its first argument."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin"], **more}


def log_hooks(bundle, *kinds, script="echo %s >>%s"):
    """Each writes its kind into a log, which the container has as /tmp/log."""
    log = bundle.path / "log"
    log.write_text("")
    bundle.bind(log, "/tmp/log")
    bundle.config["hooks"] = {
        kind: [hook(script % (kind, "/tmp/log" if kind == "startContainer"
                              else log))] for kind in kinds}
    return log


@spec("runtime.md: lifecycle, hooks")
def test_hooks_in_the_order_of_life(bundle):
    log = log_hooks(bundle, *KINDS)
    name = bundle.create("sh", "-c", "echo program >>/tmp/log")
    assert log.read_text().split() == OF_CREATE
    bundle.start(name)
    bundle.finish(name)
    # poststart comes when the program may have run already.
    said = log.read_text().split()
    assert said[:4] == KINDS[:4]
    assert sorted(said[4:]) == ["poststart", "program"]
    assert bundle.call("delete", name).returncode == 0
    assert log.read_text().split()[6:] == ["poststop"]


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", KINDS)
def test_hooks_of_a_kind_in_the_listed_order(bundle, kind):
    log = log_hooks(bundle, kind)
    to = "/tmp/log" if kind == "startContainer" else log
    bundle.config["hooks"][kind] = [
        hook("echo %d >>%s" % (n, to)) for n in range(5)]
    assert bundle.run("true").returncode == 0
    assert log.read_text().split() == list("01234")


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", KINDS)
def test_hook_gets_the_state(bundle, kind):
    log = log_hooks(bundle, kind, script=": %s; cat >>%s")
    bundle.config["annotations"] = {"a": "b"}
    name = bundle.create("sleep", "1000")
    bundle.start(name)
    pid = bundle.state(name)["pid"]
    bundle.stop(name)
    assert bundle.call("delete", name).returncode == 0
    state = json.loads(log.read_text())
    assert state["id"] == name and state["bundle"] == str(bundle.path)
    assert state["annotations"] == {"a": "b"}
    assert state["ociVersion"].startswith("1.")
    want = {"startContainer": ["created"], "poststart": ["running"],
            "poststop": ["stopped"]}.get(kind, ["creating", "created"])
    assert state["status"] in want
    if kind == "poststart" or kind in OF_CREATE and state["status"] == \
            "created":
        assert state["pid"] == pid


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", KINDS)
def test_namespaces_of_a_hook(bundle, kind):
    """prestart, createRuntime, poststart and poststop in the runtime's,
    createContainer and startContainer in the container's."""
    log = log_hooks(bundle, kind,
                    script=": %s; readlink /proc/self/ns/uts >>%s")
    name = bundle.create("sleep", "1000")
    inside = os.readlink("/proc/%d/ns/uts" % bundle.state(name)["pid"])
    bundle.start(name)
    bundle.stop(name)
    assert bundle.call("delete", name).returncode == 0
    want = inside if kind.endswith("Container") else \
        os.readlink("/proc/self/ns/uts")
    assert log.read_text().split() == [want]


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", ON_HOST)
def test_path_of_a_hook_is_the_runtimes(bundle, kind):
    program = bundle.path / "program"
    program.write_text("#!/bin/sh\necho ran >%s\n" % (bundle.path / "log"))
    program.chmod(0o755)
    bundle.config["hooks"] = {kind: [{"path": str(program)}]}
    assert bundle.run("true").returncode == 0
    assert (bundle.path / "log").read_text() == "ran\n"


@spec("config.md: POSIX-platform hooks")
def test_path_of_start_container_is_the_containers(bundle):
    program = bundle.rootfs / "only-inside"
    program.write_text("#!/bin/sh\necho ran >/tmp/said\n")
    program.chmod(0o755)
    bundle.config["hooks"] = {"startContainer": [{"path": "/only-inside"}]}
    assert bundle.run("true").returncode == 0
    assert (bundle.rootfs / "tmp/said").read_text() == "ran\n"


@spec("config.md: POSIX-platform hooks")
def test_arguments_and_environment_of_a_hook(bundle):
    log = bundle.path / "log"
    bundle.config["hooks"] = {"createRuntime": [{
        "path": "/bin/sh", "env": ["A=1", "B=x y"],
        "args": ["name", "-c", 'echo "$0:$1:$A:$B:$HOME" >' + str(log),
                 "zero", "one"]}]}
    assert bundle.run("true").returncode == 0
    assert log.read_text() == "zero:one:1:x y:\n"


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", KINDS)
def test_path_of_a_hook_is_absolute(bundle, kind):
    bundle.config["hooks"] = {kind: [{"path": "bin/true"}]}
    refused(bundle)


@spec("config.md: POSIX-platform hooks")
@pytest.mark.parametrize("kind", ["createRuntime", "poststop"])
@pytest.mark.parametrize("timeout", [0, -1])
def test_timeout_of_a_hook_is_above_zero(bundle, kind, timeout):
    bundle.config["hooks"] = {kind: [hook("true", timeout=timeout)]}
    refused(bundle)


@spec("config.md: POSIX-platform hooks")
def test_hook_past_its_timeout(bundle):
    bundle.config["hooks"] = {"createRuntime": [
        hook("exec sleep 1000", timeout=1)]}
    refused(bundle)


@spec("runtime.md: lifecycle, hooks")
@pytest.mark.parametrize("kind", OF_CREATE)
def test_failing_hook_of_create(bundle, kind):
    """An error, the container stopped, poststop run all the same."""
    log = bundle.path / "log"
    bundle.config["hooks"] = {kind: [hook("exit 3"),
                                     hook("echo second >>%s" % log)],
                              "poststop": [hook("echo stop >>%s" % log)]}
    refused(bundle)
    assert log.read_text().split() == ["stop"]
    assert not (bundle.view.cgroups /
                bundle.linux["cgroupsPath"][1:]).exists()


@spec("runtime.md: lifecycle, hooks")
def test_failing_start_container(bundle):
    bundle.config["hooks"] = {"startContainer": [hook("exit 3")]}
    name = bundle.create("touch", "/tmp/ran")
    assert bundle.call("start", name).returncode != 0
    done = bundle.call("state", name)
    assert done.returncode != 0 or \
        json.loads(done.stdout)["status"] == "stopped"
    assert not (bundle.rootfs / "tmp/ran").exists()


@spec("runtime.md: lifecycle, hooks")
def test_failing_poststop_is_a_warning(bundle):
    log = bundle.path / "log"
    bundle.config["hooks"] = {"poststop": [hook("exit 3"),
                                           hook("echo second >>%s" % log)]}
    name = bundle.started("true")
    bundle.finish(name)
    assert bundle.call("delete", name).returncode == 0
    assert log.read_text() == "second\n"
    assert not bundle.exists(name)


@spec("config.md: POSIX-platform hooks")
def test_hook_that_does_not_read_its_state(bundle):
    bundle.config["annotations"] = {"long": "x" * 200000}
    bundle.config["hooks"] = {"createRuntime": [hook("exec <&-; exit 0")]}
    assert bundle.run("true").returncode == 0


@spec("config.md: POSIX-platform hooks, prestart")
def test_prestart_comes_before_the_new_root(bundle):
    """It still sees the host through the process it prepares."""
    log = bundle.path / "log"
    bundle.config["hooks"] = {"createRuntime": [hook(
        "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); "
        "test -e /proc/$pid/root%s/config.json && echo before >%s" % (
            bundle.path, log))]}
    assert bundle.run("true").returncode == 0
    assert log.read_text() == "before\n"
