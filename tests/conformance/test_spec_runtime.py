"""OCI runtime specification: runtime.md, runtime-linux.md and bundle.md, the
operations and the life of a container."""

import json
import os
import re

import pytest

from oci import refused, spec

SEMVER = r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"


# ------------------------------------------------------------------ bundle.md

@spec("bundle.md: container format")
def test_config_json_lies_in_the_bundles_root(bundle):
    bundle.create("true")
    (bundle.path / "config.json").unlink()
    (bundle.path / "sub").mkdir()
    bundle.config["root"]["path"] = "../rootfs"
    (bundle.path / "sub/config.json").write_text(json.dumps(bundle.config))
    assert bundle.call("create", bundle.id()).returncode != 0


# ----------------------------------------------------------- runtime.md: state

@spec("runtime.md: state")
def test_state_has_its_properties(bundle):
    name = bundle.started("sleep", "1000")
    state = bundle.state(name)
    assert {k: type(state[k]) for k in
            ("ociVersion", "id", "status", "pid", "bundle")} == {
                "ociVersion": str, "id": str, "status": str, "pid": int,
                "bundle": str}


@spec("runtime.md: state, ociVersion")
def test_state_tells_a_version(bundle):
    assert re.match(SEMVER, bundle.state(bundle.create("true"))["ociVersion"])


@spec("runtime.md: state, id")
def test_state_tells_the_id(bundle):
    name = bundle.create("true")
    assert bundle.state(name)["id"] == name


@spec("runtime.md: state, id")
def test_id_is_unique(bundle):
    name = bundle.create("sleep", "1000")
    before = bundle.state(name)
    assert bundle.try_create("true", name=name)[1] != 0
    assert bundle.state(name) == before


@spec("runtime.md: state, pid")
def test_pid_is_the_hosts(bundle):
    pid = bundle.state(bundle.started("sleep", "1000"))["pid"]
    with open("/proc/%d/status" % pid) as status:
        assert "NSpid:\t%d\t1\n" % pid in status.read()


@spec("runtime.md: state, bundle")
def test_bundle_is_an_absolute_path(bundle):
    assert bundle.state(bundle.create("true"))["bundle"] == str(bundle.path)


@spec("runtime.md: state, annotations")
def test_annotations_are_in_the_state(bundle):
    bundle.config["annotations"] = {"org.example.a": "b", "c": ""}
    name = bundle.create("true")
    assert bundle.state(name)["annotations"] == {"org.example.a": "b",
                                                 "c": ""}


@spec("runtime.md: state, annotations")
def test_no_annotations_in_the_state(bundle):
    assert bundle.state(bundle.create("true")).get("annotations", {}) in (
        {}, None)


# ------------------------------------------------------- runtime.md: lifecycle

@spec("runtime.md: lifecycle, create")
def test_create_runs_nothing_of_the_users(bundle):
    name = bundle.create("touch", "/tmp/ran")
    assert not (bundle.rootfs / "tmp/ran").exists()
    bundle.start(name)
    bundle.finish(name)
    assert (bundle.rootfs / "tmp/ran").exists()


@spec("runtime.md: lifecycle, create")
def test_create_makes_the_environment(bundle):
    (bundle.path / "host").write_text("x")
    bundle.bind(bundle.path / "host", "/tmp/host")
    pid = bundle.state(bundle.create("true"))["pid"]
    for name in ("pid", "net", "ipc", "uts", "mnt"):
        assert os.readlink("/proc/%d/ns/%s" % (pid, name)) != \
            os.readlink("/proc/self/ns/" + name)
    with open("/proc/%d/mountinfo" % pid) as mounts:
        assert " /tmp/host " in mounts.read()


@spec("runtime.md: lifecycle, create")
def test_what_cannot_be_made_is_an_error(bundle):
    bundle.mount("/tmp", "no-such-type", "none")
    refused(bundle)


@spec("runtime.md: lifecycle, create")
def test_config_may_change_after_create(bundle):
    name = bundle.create("echo", "first")
    bundle.process["args"] = ["echo", "second"]
    bundle.config["annotations"] = {"late": "yes"}
    bundle.write()
    assert bundle.state(name).get("annotations") in (None, {})
    bundle.start(name)
    bundle.finish(name)
    assert bundle.written() == "first\n"


@spec("runtime.md: lifecycle, start")
def test_start_runs_the_process(bundle):
    name = bundle.started("sh", "-c", "echo $0 $X", "word")
    bundle.finish(name)
    assert bundle.written().split()[0] == "word"


@spec("runtime.md: lifecycle, delete")
def test_delete_undoes_create(bundle):
    name = bundle.create("true")
    cgroup = bundle.view.cgroups / bundle.linux["cgroupsPath"][1:]
    assert cgroup.is_dir()
    bundle.start(name)
    bundle.finish(name)
    assert bundle.call("delete", name).returncode == 0
    assert not cgroup.exists()
    assert not bundle.state_dir.exists() or not os.listdir(bundle.state_dir)


# ---------------------------------------------------------- runtime.md: errors

@spec("runtime.md: errors")
def test_a_failed_create_leaves_nothing(bundle):
    (bundle.rootfs / "tmp/file").write_text("")
    bundle.process["cwd"] = "/tmp/file"
    refused(bundle)
    cgroup = bundle.view.cgroups / bundle.linux["cgroupsPath"][1:]
    assert not cgroup.exists()
    assert not bundle.state_dir.exists() or not os.listdir(bundle.state_dir)


# ------------------------------------------------------ runtime.md: operations

OPERATIONS = ["state", "create", "start", "kill", "delete"]


@spec("runtime.md: operations")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_needs_an_id(bundle, operation):
    bundle.write()
    assert bundle.call(operation).returncode != 0


@spec("runtime.md: operations")
@pytest.mark.parametrize("operation", ["state", "start", "kill", "delete"])
def test_needs_a_container(bundle, operation):
    assert bundle.call(operation, "no-such").returncode != 0


@spec("runtime.md: create")
@pytest.mark.parametrize("name", ["", "a/b", "../up", "..", "."])
def test_create_refuses_an_id(bundle, name):
    bundle.write()
    assert bundle.call("create", name).returncode != 0
    assert not bundle.state_dir.exists() or not os.listdir(bundle.state_dir)


@spec("runtime.md: create")
def test_create_needs_a_bundle(bundle):
    bundle.write()
    for wrong in ("no-such", ""):
        assert bundle.call("create", "--bundle", bundle.path / wrong / "x",
                           bundle.id()).returncode != 0


@spec("runtime.md: create")
def test_created(bundle):
    assert bundle.state(bundle.create("true"))["status"] == "created"


@spec("runtime.md: start")
def test_running(bundle):
    name = bundle.started("sleep", "1000")
    assert bundle.state(name)["status"] == "running"


@spec("runtime.md: start")
def test_start_of_a_running_container(bundle):
    name = bundle.started("sh", "-c", "echo once; sleep 1000")
    assert bundle.call("start", name).returncode != 0
    assert bundle.state(name)["status"] == "running"
    bundle.stop(name)
    assert bundle.written() == "once\n"


@spec("runtime.md: start")
def test_start_of_a_stopped_container(bundle):
    name = bundle.started("echo", "once")
    bundle.finish(name)
    assert bundle.call("start", name).returncode != 0
    assert bundle.state(name)["status"] == "stopped"
    assert bundle.written() == "once\n"


@spec("runtime.md: kill")
@pytest.mark.parametrize("signal, number", [
    ("TERM", 15), ("SIGUSR1", 10), ("12", 12)])
def test_kill_sends_the_signal(bundle, signal, number):
    fifo = bundle.rootfs / "tmp/said"
    os.mkfifo(fifo)
    bundle.started("sh", "-c", "exec probe signal >/tmp/said")
    with open(fifo) as said:
        assert said.readline() == "ready\n"
        assert bundle.call("kill", bundle.ids[-1], signal).returncode == 0
        assert said.readline() == "%d\n" % number


@spec("runtime.md: kill")
def test_kill_of_a_created_container(bundle):
    name = bundle.create("sleep", "1000")
    bundle.stop(name)
    assert bundle.state(name)["status"] == "stopped"


@spec("runtime.md: kill")
def test_kill_of_a_stopped_container(bundle):
    name = bundle.started("true")
    bundle.finish(name)
    assert bundle.call("kill", name, "KILL").returncode != 0
    assert bundle.state(name)["status"] == "stopped"


@spec("runtime.md: kill")
def test_stopped_after_an_end_of_its_own(bundle):
    name = bundle.started("true")
    bundle.finish(name)
    assert bundle.state(name)["status"] == "stopped"


@spec("runtime.md: delete")
def test_delete_of_a_running_container(bundle):
    name = bundle.started("sleep", "1000")
    pid = bundle.state(name)["pid"]
    assert bundle.call("delete", name).returncode != 0
    assert bundle.state(name)["status"] == "running"
    os.kill(pid, 0)


@spec("runtime.md: delete")
def test_delete_of_a_created_container(bundle):
    """Only what is stopped may be deleted."""
    name = bundle.create("sleep", "1000")
    assert bundle.call("delete", name).returncode != 0
    assert bundle.state(name)["status"] == "created"


@spec("runtime.md: delete")
def test_delete_keeps_what_it_did_not_make(bundle, bundle_of):
    other = bundle_of("other")
    name = other.started("sleep", "1000")
    path = "/proc/%d/ns/net" % other.state(name)["pid"]
    kept = "oci-test/%d/kept" % os.getpid()
    (bundle.view.cgroups / kept).mkdir(parents=True)
    bundle.namespace("network", path)
    bundle.linux["cgroupsPath"] = "/%s/below" % kept
    bundle.bind(other.path, "/tmp")
    mine = bundle.started("true")
    bundle.finish(mine)
    assert bundle.call("delete", mine).returncode == 0
    assert other.state(name)["status"] == "running"
    assert os.path.exists(path) and other.rootfs.is_dir()
    assert (bundle.view.cgroups / kept).is_dir()
    assert bundle.rootfs.is_dir() and (bundle.path / "config.json").exists()
    (bundle.view.cgroups / kept).rmdir()


@spec("runtime.md: delete")
def test_id_may_be_used_again(bundle):
    name = bundle.started("true")
    bundle.finish(name)
    assert bundle.call("delete", name).returncode == 0
    assert bundle.create("true", name=name) == name


# ------------------------------------------------------------ runtime-linux.md

@spec("runtime-linux.md: file descriptors")
def test_only_the_standard_descriptors_are_open(bundle):
    read, write = os.pipe()
    os.set_inheritable(read, True)
    done = bundle.sh("ls /proc/self/fd", pass_fds=(read,))
    os.close(read)
    os.close(write)
    # 3: the directory that ls reads.
    assert done.stdout.split() == ["0", "1", "2", "3"]


@spec("runtime-linux.md: dev symbolic links")
@pytest.mark.parametrize("link, target", [
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")])
def test_links_of_dev(bundle, link, target):
    assert bundle.out("readlink /dev/" + link) == target + "\n"
