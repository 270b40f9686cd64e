"""checkpoint and restore of real containers by the criu that nodes carry."""

import os
import shutil
import subprocess
import time

import pytest

from oci import PROBE
from test_zrun import ZRUN, bundle, left_of  # noqa: F401

CRIU = os.path.join(os.path.dirname(ZRUN), "../pkg/criu/bin/criu")
# Only the process's memory knows how far it has counted.
COUNT = "n=0; while :; do n=$((n+1)); echo $n >>/count; sleep 0.02; done"


def zrun(bundle, *words):  # noqa: F811
    done = bundle.zrun("--criu", CRIU, *words)
    assert done.returncode == 0, done.stderr
    return done


def count(bundle):  # noqa: F811
    """How far; each number once, which it is not when it begins anew."""
    path = bundle.path / "rootfs/count"
    said = path.read_text().split() if path.exists() else []
    assert said == [str(n + 1) for n in range(len(said))]
    return len(said)


def wait_count(bundle, above):  # noqa: F811
    end = time.monotonic() + 20
    while count(bundle) <= above:
        assert time.monotonic() < end, count(bundle)
        time.sleep(0.01)


def running(bundle, script):  # noqa: F811
    bundle.config["root"]["readonly"] = False
    name = bundle.create("sh", "-c", script)
    assert bundle.zrun("start", name).returncode == 0
    return name


def inside(bundle, name, script):  # noqa: F811
    done = bundle.zrun("exec", name, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def counting(bundle):  # noqa: F811
    name = running(bundle, COUNT)
    wait_count(bundle, 3)
    return name


def test_goes_on_where_it_was(bundle, counting):  # noqa: F811
    zrun(bundle, "checkpoint", counting)
    assert left_of(bundle) == ([],)
    was = count(bundle)
    zrun(bundle, "restore", "--detach", counting)
    assert bundle.state(counting)["status"] == "running"
    wait_count(bundle, was + 2)
    zrun(bundle, "kill", counting, "KILL")
    bundle.wait_ended(counting)
    zrun(bundle, "delete", counting)


def test_twice(bundle, counting):  # noqa: F811
    for path in ("first", "second"):
        zrun(bundle, "checkpoint", "--image-path", path, counting)
        was = count(bundle)
        zrun(bundle, "restore", "--detach", "--image-path", path, counting)
        wait_count(bundle, was + 2)


def test_first_code_is_shared_memory(bundle):  # noqa: F811
    """As of PHP's opcache: criu cannot write its call there."""
    shutil.copy(PROBE, bundle.path / "rootfs/bin/probe")
    name = running(bundle, "exec probe shared-code >/said")
    said = bundle.path / "rootfs/said"
    while not said.exists() or said.read_text() == "":
        time.sleep(0.01)
    assert said.read_text() == "ready\n"
    zrun(bundle, "checkpoint", name)
    zrun(bundle, "restore", "--detach", name)
    assert " r-xs " in inside(bundle, name, "head -n 1 /proc/1/maps")
    zrun(bundle, "kill", name, "KILL")
    bundle.wait_ended(name)


def test_leave_running(bundle, counting):  # noqa: F811
    zrun(bundle, "checkpoint", "--leave-running", counting)
    wait_count(bundle, count(bundle) + 2)
    assert bundle.state(counting)["status"] == "running"


def test_paused_stays_paused(bundle, counting):  # noqa: F811
    zrun(bundle, "pause", counting)
    zrun(bundle, "checkpoint", "--leave-running", counting)
    assert bundle.state(counting)["status"] == "paused"


def test_what_it_sees_is_the_same(bundle):  # noqa: F811
    bundle.config["linux"]["maskedPaths"] = ["/proc/timer_list",
                                             "/sys/firmware"]
    bundle.config["linux"]["readonlyPaths"] = ["/proc/bus", "/proc/sys"]
    bundle.config["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "options": ["ro", "size=1m"]})
    for names in bundle.process["capabilities"].values():
        names.append("CAP_CHOWN")
    name = running(
        bundle, "set -e; cd /dev/shm; echo kept >file; busybox chmod 646 file;"
        "busybox chown 7:8 file; busybox ln -s file link; mknod fifo p; cd /;"
        "exec 7</dev/shm/file; " + COUNT)
    wait_count(bundle, 1)
    # Without times: what is made anew has its own.
    look = ("busybox stat -c '%A %h %u:%g %t,%T %N' /dev/* /dev/shm/*; "
            "cat /dev/shm/link; "
            "cat /proc/1/status | grep -E 'Cap|Seccomp:|NoNew|Uid|Gid'; "
            "cut -d' ' -f5,6,9 /proc/1/mountinfo | sort; "
            "cat /proc/self/cgroup; readlink /proc/1/fd/7; "
            "readlink /proc/1/exe; readlink /proc/1/cwd; hostname; "
            "! touch /proc/sys/vm/x 2>&1; ! touch /sys/firmware/x 2>&1; "
            "! touch /tmp/x 2>&1; "
            "wc -c </proc/timer_list")
    before = inside(bundle, name, look)
    assert "-rw-r--rw- 1 7:8 0,0 /dev/shm/file\n" in before
    zrun(bundle, "checkpoint", name)
    zrun(bundle, "restore", "--detach", name)
    assert inside(bundle, name, look).splitlines() == before.splitlines()
    assert before.endswith("\n0\n") and "kept" in before


def test_bind_mounts_come_from_the_config(bundle):  # noqa: F811
    outside = bundle.path / "outside"
    outside.mkdir()
    bundle.config["mounts"].append(
        {"destination": "/tmp", "type": "bind", "source": str(outside),
         "options": ["rbind"]})
    name = running(bundle, "touch /tmp/here; " + COUNT)
    wait_count(bundle, 1)
    zrun(bundle, "checkpoint", name)
    (outside / "new").touch()
    zrun(bundle, "restore", "--detach", name)
    assert inside(bundle, name, "ls /tmp") == "here\nnew\n"


def test_restored_in_the_foreground(bundle):  # noqa: F811
    name = running(bundle, "touch /count; trap 'exit 5' USR1; " + COUNT)
    wait_count(bundle, 1)
    zrun(bundle, "checkpoint", name)
    pid = os.fork()
    if pid == 0:
        os.chdir(bundle.path)
        os.execv(ZRUN, [ZRUN, "--root", str(bundle.root), "--criu", CRIU,
                        "restore", name])
    wait_count(bundle, count(bundle) + 1)
    assert bundle.zrun("kill", name, "USR1").returncode == 0
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert left_of(bundle) == ([],)


@pytest.mark.parametrize("damage", [
    "inventory.img", "pstree.img", "mounts", "mounts.d/0", "core-*.img",
    "pages-1.img"])
def test_a_damaged_image(bundle, counting, damage):  # noqa: F811
    zrun(bundle, "checkpoint", counting)
    victim = next((bundle.path / "checkpoint").glob(damage))
    if victim.is_dir():
        shutil.rmtree(victim)
    else:
        victim.write_bytes(victim.read_bytes()[:victim.stat().st_size // 3])
    done = bundle.zrun("--criu", CRIU, "restore", "--detach", counting)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert left_of(bundle) == ([],)


def test_a_dump_that_did_not_end(bundle, counting):  # noqa: F811
    """Killed in between, over an image that was whole."""
    zrun(bundle, "checkpoint", "--leave-running", counting)
    program = bundle.path / "criu-that-kills"
    program.write_text("#!/bin/sh\nkill -9 $PPID\n")
    program.chmod(0o755)
    done = bundle.zrun("--criu", program, "checkpoint", counting)
    assert done.returncode == -9
    zrun(bundle, "delete", "--force", counting)
    done = bundle.zrun("--criu", CRIU, "restore", "--detach", counting)
    assert done.returncode == 1
    assert "its dump did not end" in done.stderr, done.stderr
    assert left_of(bundle) == ([],)


def test_a_full_disk(bundle, counting):  # noqa: F811
    """The container runs on, and what is there is no image."""
    small = bundle.path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "small", small],
                   check=True)
    try:
        done = bundle.zrun("--criu", CRIU, "checkpoint", "--image-path",
                           small / "image", counting)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert bundle.state(counting)["status"] == "running"
        wait_count(bundle, count(bundle) + 1)
        zrun(bundle, "delete", "--force", counting)
        done = bundle.zrun("--criu", CRIU, "restore", "--detach",
                           "--image-path", small / "image", counting)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert left_of(bundle) == ([],)
    finally:
        subprocess.run(["umount", small], check=True)


def test_what_cannot_be_saved_is_told_and_runs_on(bundle):  # noqa: F811
    """An open TCP connection, without leave to restore one."""
    name = running(bundle, "busybox nc -l -p 80 -e cat & "
                   "(sleep 1000 | until busybox nc 127.0.0.1 80; do "
                   "sleep 0.1; done) & " + COUNT)
    wait_count(bundle, 3)
    while "01" not in inside(bundle, name, "cut -c35-36 /proc/net/tcp"):
        pass
    done = bundle.zrun("--criu", CRIU, "checkpoint", name)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "Connected TCP socket" in done.stderr, done.stderr
    assert bundle.state(name)["status"] == "running"
    wait_count(bundle, count(bundle) + 1)
