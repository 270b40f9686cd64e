"""zrun for somebody without privilege: no cgroup rights, a user namespace with
oneself alone, or with ranges by newuidmap."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from test_zrun import BUSYBOX, DEADLINE, ZRUN, wait_gone

NOBODY = 65534
RANGE = 300000
# /etc/subuid belongs to the host: another one for this process alone.
GIVEN = """
mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift &&
exec setpriv --reuid {0} --regid {0} --clear-groups -- "$@"
""".format(NOBODY)


class User:
    def __init__(self, path):
        self.path = path
        bin_ = path / "rootfs/bin"
        bin_.mkdir(parents=True)
        for name in ("proc", "sys", "dev", "tmp"):
            (path / "rootfs" / name).mkdir()
        shutil.copy(BUSYBOX, bin_ / "busybox")
        for name in "sh cat id ls sleep true touch stat".split():
            (bin_ / name).symlink_to("busybox")
        (path / "subid").write_text("nobody:%d:1000\n" % RANGE)
        shutil.copy(ZRUN, path / "program")  # where everybody may go
        subprocess.run(["chown", "-R", "%d:%d" % (NOBODY, NOBODY), path],
                       check=True)
        self.zrun("spec", "--rootless", config=False)
        self.config = json.loads((path / "config.json").read_text())
        self.config["process"]["terminal"] = False

    def zrun(self, *words, config=True, path=os.environ["PATH"], **options):
        if config:
            (self.path / "config.json").write_text(json.dumps(self.config))
        options = {"capture_output": True, **options}
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", GIVEN, "sh", self.path / "subid",
             "env", "PATH=" + path, self.path / "program", *words],
            cwd=self.path, timeout=DEADLINE, text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.path)}, **options)

    def run(self, *args, **options):
        self.config["process"]["args"] = list(args)
        return self.zrun("run", "c", **options)

    def map_range(self, first=RANGE):
        for kind in "uid", "gid":
            self.config["linux"][kind + "Mappings"] = [
                {"containerID": 0, "hostID": NOBODY, "size": 1},
                {"containerID": 1, "hostID": first, "size": 1000}]


@pytest.fixture
def user():
    path = tempfile.mkdtemp(prefix="zrun-")  # pytest's own are closed to him
    os.chmod(path, 0o755)
    made = User(pathlib.Path(path))
    yield made
    made.zrun("delete", "--force", "c")
    shutil.rmtree(path)


def test_run(user):
    done = user.run("sh", "-c", "id -u; cat /proc/self/uid_map; exit 3")
    assert done.stdout.split() == ["0", "0", str(NOBODY), "1"], done.stderr
    assert done.returncode == 3
    assert user.zrun("list", "-q").stdout == ""


def test_life_cycle(user):
    mark = "9%06d" % os.getpid()
    user.config["process"]["args"] = ["sleep", mark]
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
            "capture_output": False}
    assert user.zrun("create", "c", **null).returncode == 0
    state = json.loads(user.zrun("state", "c").stdout)
    assert state["status"] == "created"
    assert os.stat("/proc/%d" % state["pid"]).st_uid == NOBODY
    assert user.zrun("start", "c", **null).returncode == 0
    done = user.zrun("exec", "c", "sh", "-c", "id -u; exit 4")
    assert (done.stdout, done.returncode) == ("0\n", 4), done.stderr
    assert json.loads(user.zrun("ps", "-f", "json", "c").stdout) == [
        state["pid"]]
    assert user.zrun("kill", "--all", "c", "KILL").returncode == 0
    wait_gone(mark)
    assert user.zrun("delete", "c").returncode == 0
    assert "does not exist" in user.zrun("state", "c").stderr


def test_range_of_ids(user):
    user.map_range()
    user.config["process"]["user"] = {"uid": 5, "gid": 6,
                                      "additionalGids": [7]}
    done = user.run("sh", "-c", "id -u; id -G; cat /proc/self/uid_map")
    assert done.stdout.split() == [
        "5", "6", "7", "0", str(NOBODY), "1", "1", str(RANGE),
        "1000"], done.stderr


def test_range_that_was_not_given(user):
    user.map_range(RANGE + 500)
    done = user.run("true")
    assert done.returncode == 1
    assert re.search("uid range .* not allowed", done.stderr)
    assert "linux.uidMappings: newuidmap" in done.stderr
    assert user.zrun("list", "-q").stdout == ""


def test_range_without_newuidmap(user):
    user.map_range()
    done = user.run("true", path=str(user.path))
    assert done.returncode != 0
    assert "the program newuidmap, which is not there" in done.stderr


def test_limits_without_a_cgroup_are_an_error(user):
    user.config["linux"]["resources"] = {"pids": {"limit": 10}}
    done = user.run("true")
    assert done.returncode == 1 and "cgroup" in done.stderr
    assert user.zrun("list", "-q").stdout == ""
