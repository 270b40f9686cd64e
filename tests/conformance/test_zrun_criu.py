"""checkpoint and restore: what criu is called with, which a script in its place
writes down, and what its failure leaves. test_zrun_checkpoint.py has the real
one restore."""

import json
import os

import pytest

from test_zrun import bundle, left_of, wait_gone  # noqa: F401
from test_zrun_checkpoint import CRIU

# As criu does: it ends once the process, which is nobody's child then, runs.
SCRIPT = """#!/bin/sh
printf '%%s\\n' "$@" >"%s/words"
cat /proc/self/cgroup >"%s/cgroup"
[ "$1" = restore ] || exit 0
while [ "$1" != --pidfile ]; do shift; done
sleep %s </dev/null >/dev/null 2>&1 &
echo $! >"$2"
"""


class Criu:
    def __init__(self, bundle):  # noqa: F811
        self.bundle = bundle
        self.mark = "3%06d" % os.getpid()
        self.path = bundle.path / "criu-program"
        self.path.write_text(SCRIPT % (bundle.path, bundle.path, self.mark))
        self.path.chmod(0o755)
        bundle.config["mounts"].append(
            {"destination": "/tmp", "type": "bind", "source": "/usr",
             "options": ["rbind"]})

    def words(self):
        return (self.bundle.path / "words").read_text().splitlines()

    def zrun(self, *words):
        return self.bundle.zrun("--criu", self.path, *words)


@pytest.fixture
def criu(bundle):  # noqa: F811
    return Criu(bundle)


def follows(words, *pair):
    return any(words[i:i + len(pair)] == list(pair)
               for i in range(len(words)))


def running(bundle):  # noqa: F811
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return name


def test_checkpoint_calls_criu_and_removes_the_container(criu):
    bundle = criu.bundle  # noqa: F811
    name = running(bundle)
    pid = bundle.state(name)["pid"]
    done = criu.zrun("checkpoint", name)
    assert done.returncode == 0, done.stderr
    words = criu.words()
    assert words[0] == "dump"
    assert follows(words, "--tree", str(pid))
    assert follows(words, "--images-dir", "checkpoint")
    assert follows(words, "--work-dir", "checkpoint")
    assert follows(words, "--root", str(bundle.path / "rootfs"))
    assert follows(words, "--external", "mnt[/tmp]:/tmp")
    assert "--manage-cgroups=soft" in words
    assert "--leave-running" not in words
    assert len(json.loads((bundle.path / "checkpoint/descriptors.json")
                          .read_text())) == 3
    assert left_of(bundle) == ([],)


@pytest.mark.parametrize("options, want", [
    (["--leave-running"], ["--leave-running"]),
    (["--pre-dump"], ["--track-mem"]),
    (["--leave-running", "--tcp-established", "--ext-unix-sk", "--shell-job",
      "--file-locks", "--auto-dedup", "--lazy-pages"],
     ["--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks",
      "--auto-dedup", "--lazy-pages"]),
    (["--leave-running", "--page-server", "127.0.0.1:99"],
     ["--page-server", "--address", "127.0.0.1", "--port", "99"]),
    (["--leave-running", "--manage-cgroups-mode", "strict"],
     ["--manage-cgroups=strict"]),
    (["--leave-running", "--empty-ns", "network"], ["--empty-ns=net"]),
    (["--leave-running", "--image-path", "i", "--work-path", "w"],
     ["--images-dir", "i", "--work-dir", "w"]),
    (["--leave-running", "--status-fd", "1"], ["--status-fd", "1"]),
])
def test_checkpoint_options(criu, options, want):
    name = running(criu.bundle)
    done = criu.zrun("checkpoint", *options, name)
    assert done.returncode == 0, done.stderr
    assert follows(criu.words(), *want), criu.words()
    assert criu.words()[0] == ("pre-dump" if "--pre-dump" in options
                               else "dump")
    assert criu.bundle.state(name)["status"] == "running"


def test_checkpoint_with_a_parent(criu):
    """test_zrun_increment.py has the real thing."""
    name = running(criu.bundle)
    (criu.bundle.path / "old").mkdir()
    (criu.bundle.path / "old/pages-1.img").touch()
    for more in [], ["--parent-path", "../old"]:
        done = criu.zrun("checkpoint", "--pre-dump", "--image-path",
                         "new" if more else "old", *more, name)
        assert done.returncode == 0, done.stderr
        assert "--track-mem" in criu.words()
    assert follows(criu.words(), "--prev-images-dir", "../old")
    done = criu.zrun("checkpoint", "--image-path", "newer", "--parent-path",
                     "../old", name)
    assert done.returncode == 1 and "not the last" in done.stderr


def test_restore(criu):
    bundle = criu.bundle  # noqa: F811
    name = bundle.id()
    (bundle.path / "i").mkdir()
    (bundle.path / "i/descriptors.json").write_text(
        '["/dev/null", "pipe:[123]", "/x"]')
    done = criu.zrun("restore", "--detach", "--image-path", "i", "--pid-file",
                     "pid", "--tcp-established", name)
    assert done.returncode == 0, done.stderr
    words = criu.words()
    assert words[0] == "restore" and "--restore-detached" in words
    assert follows(words, "--images-dir", str(bundle.path / "i"))
    assert follows(words, "--external", "mnt[/tmp]:/usr")
    assert follows(words, "--inherit-fd", "fd[1]:pipe:[123]")
    assert words.count("--inherit-fd") == 1
    assert "--tcp-established" in words
    # It is born in the container's cgroup.
    assert (bundle.path / "cgroup").read_text().strip().endswith(name)
    state = bundle.state(name)
    assert state["status"] == "running"
    assert (bundle.path / "pid").read_text() == str(state["pid"])
    assert bundle.zrun("kill", name, "KILL").returncode == 0
    wait_gone(criu.mark)
    assert bundle.zrun("delete", name).returncode == 0


def test_restore_in_the_foreground(criu):
    bundle = criu.bundle  # noqa: F811
    script = criu.path.read_text()
    criu.path.write_text(script.replace("sleep " + criu.mark,
                                        "sh -c 'exit 6'"))
    (bundle.path / "checkpoint").mkdir()
    done = criu.zrun("restore", bundle.id())
    assert done.returncode == 6, done.stderr
    assert left_of(bundle) == ([],)


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_without_criu(bundle, command):  # noqa: F811
    name = running(bundle) if command == "checkpoint" else bundle.id()
    (bundle.path / "checkpoint").mkdir()
    done = bundle.zrun("--criu", "/no/such/criu", command, name)
    assert done.returncode == 1
    assert "there is no such program; install criu or name it with --criu" \
        in done.stderr
    if command == "checkpoint":
        assert bundle.state(name)["status"] == "running"
    else:
        assert left_of(bundle) == ([],)


def test_failure_of_the_real_criu(bundle):  # noqa: F811
    """It has nothing to restore here, on whatever kernel."""
    (bundle.path / "checkpoint").mkdir()
    done = bundle.zrun("--criu", CRIU, "restore", bundle.id())
    assert done.returncode == 1
    assert "criu restore failed: Error (" in done.stderr
    assert done.stderr.endswith("; see %s/checkpoint/restore.log\n" %
                                bundle.path)
    assert done.stderr.count("\n") == 1
    assert left_of(bundle) == ([],)
    log = (bundle.path / "checkpoint/restore.log").read_text()
    assert done.stderr.split("Error (")[1].split("; see")[0] in log


@pytest.mark.parametrize("words, line", [
    (["checkpoint", "--manage-cgroups-mode", "x", "a"],
     "want soft, full, strict or ignore"),
    (["checkpoint", "--empty-ns", "pid", "a"], "--empty-ns pid: want network"),
    (["checkpoint", "nothing"], "does not exist"),
    (["restore", "a"], "--image-path checkpoint: No such file"),
    (["restore", "--console-socket", "s", "a"],
     "a terminal cannot be restored"),
])
def test_what_is_refused(bundle, words, line):  # noqa: F811
    done = bundle.zrun(*words)
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1
    assert left_of(bundle) == ([],)


def test_checkpoint_wants_it_running(bundle):  # noqa: F811
    name = bundle.create("sleep", "1000")
    done = bundle.zrun("checkpoint", name)
    assert done.returncode == 1
    assert "cannot checkpoint a container that is created" in done.stderr


def test_failed_checkpoint_leaves_it_running(bundle):  # noqa: F811
    name = running(bundle)
    done = bundle.zrun("--criu", "/bin/false", "checkpoint", name)
    assert done.returncode == 1
    assert "criu dump failed; see checkpoint/dump.log" in done.stderr
    assert bundle.state(name)["status"] == "running"
