"""podman and containerd with zrun in the place of runc, unmodified, in a view
of the host whose cgroup tree is version 2 alone."""

import os
import subprocess
import time

import pytest

from zooid import image, process
from zooid.build import product

DEADLINE_S = 60
VIEW = """
set -e
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
echo ready
exec cat
"""
# What this machine may not have the right or the controller for.
CONTAINERS_CONF = """
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:4096", "nproc=1024:1024"]
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


class View:
    """A mount namespace that all commands of an engine share."""

    def __init__(self):
        self._holder = process.start(
            ["unshare", "-m", "sh", "-c", VIEW], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"

    def command(self, *argv):
        return ["nsenter", "-m", "-t", str(self._holder.pid), "--",
                *map(str, argv)]

    def close(self):
        process.end(self._holder)


def run(argv, status=0, **options):
    """Standard output of a command that exits with status."""
    done = subprocess.run(argv, timeout=DEADLINE_S, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          **options)
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def layout():
    return image.make("busybox", {}, ["--config.env", "PATH=/bin",
                                      "--config.cmd", "sh"])


class Podman:
    def __init__(self, directory, layout):
        conf = directory / "containers.conf"
        conf.write_text(CONTAINERS_CONF)
        self.environment = {**os.environ, "HOME": str(directory),
                            "CONTAINERS_CONF": str(conf)}
        self.view = View()
        self._argv = self.view.command(
            "podman", "--root", directory / "root", "--runroot",
            directory / "run", "--tmpdir", directory / "tmp",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
            "--events-backend", "file", "--runtime",
            product("x86_64", "bin/zrun"))
        pulled = self("pull", "-q", "oci:%s:latest" % layout).strip()
        self("tag", pulled, "busybox")

    def __call__(self, *words, **options):
        return run([*self._argv, *map(str, words)], env=self.environment,
                   **options)

    def run(self, *words, **options):
        return self("run", "--network", "none", *words, **options)

    def close(self):
        self("rm", "--all", "--force", "--time", "0")
        self.view.close()


@pytest.fixture(scope="module")
def podman(tmp_path_factory, layout):
    engine = Podman(tmp_path_factory.mktemp("podman"), layout)
    yield engine
    engine.close()


def test_podman_run(podman):
    assert podman.run("--rm", "busybox", "echo", "hello") == "hello\n"
    podman.run("--rm", "busybox", "sh", "-c", "exit 7", status=7)
    podman.run("--rm", "busybox", "no-such-program", status=127)
    assert podman.run(
        "--rm", "--user", "5:6", "--env", "A=b", "--workdir", "/tmp",
        "--hostname", "h", "busybox", "sh", "-c",
        "echo $(id -u) $(id -g) $A $PWD $(hostname)") == "5 6 b /tmp h\n"
    assert podman.run("--rm", "--tty", "busybox", "tty") == "/dev/pts/0\n"
    podman.run("--rm", "--read-only", "busybox", "touch", "/x", status=1)


def test_podman_run_in_a_user_namespace(podman):
    text = podman.run("--rm", "--uidmap", "0:100000:1000", "busybox", "cat",
                      "/proc/self/uid_map")
    assert text.split() == ["0", "100000", "1000"]


def test_podman_exec_logs_pause_stop(podman):
    podman.run("--detach", "--name", "c", "busybox", "sh", "-c",
               "trap 'echo bye; exit 9' TERM; echo out; "
               "while :; do sleep 0.1; done")
    assert podman("exec", "--user", "7", "--workdir", "/etc", "c", "sh",
                  "-c", "id -u; pwd") == "7\n/etc\n"
    podman("exec", "c", "sh", "-c", "exit 5", status=5)
    podman("exec", "c", "no-such-program", status=127)
    assert podman("exec", "--tty", "c", "tty").startswith("/dev/pts/")
    assert podman("top", "c", "pid").split()[:2] == ["PID", "1"]
    podman("pause", "c")
    assert podman("inspect", "--format", "{{.State.Status}}", "c") == \
        "paused\n"
    podman("unpause", "c")
    podman("stop", "--time", "20", "c")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "c") == "9\n"
    assert podman("logs", "c") == "out\nbye\n"
    podman("rm", "c")


def test_podman_build(podman, tmp_path):
    (tmp_path / "Containerfile").write_text(
        "FROM localhost/busybox\nRUN echo built >/file && test $(id -u) = 0\n"
        "CMD [\"cat\", \"/file\"]\n")
    podman("build", "--quiet", "--network", "none", "--tag", "built",
           tmp_path)
    assert podman.run("--rm", "built") == "built\n"


class Containerd:
    CONFIG = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{0}/socket"
"""

    def __init__(self, directory, layout):
        self.directory, self.view = directory, View()
        (directory / "config.toml").write_text(
            self.CONFIG.format(directory))
        self._log = open(directory / "log", "wb")
        self._daemon = process.start(
            self.view.command("containerd", "-c", directory / "config.toml"),
            stdout=self._log, stderr=self._log)
        self._await_socket()
        archive = directory / "image.tar"
        run(["skopeo", "copy", "-q", "oci:%s:latest" % layout,
             "docker-archive:%s:localhost/busybox:latest" % archive])
        self("image", "import", "--snapshotter", "native", archive)

    def _await_socket(self):
        """It tells nobody when it listens."""
        end = time.monotonic() + DEADLINE_S
        while not (self.directory / "socket").exists():
            assert self._daemon.poll() is None and time.monotonic() < end
            time.sleep(0.05)

    def __call__(self, *words, **options):
        return run(self.view.command("ctr", "--address",
                                     self.directory / "socket", *words),
                   **options)

    def run(self, *words, **options):
        return self("run", "--runc-binary", product("x86_64", "bin/zrun"),
                    "--runc-root", self.directory / "zrun", "--snapshotter",
                    "native", *words, **options)

    def tasks(self):
        """{id: status}"""
        lines = self("task", "list").splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def remove(self, name):
        if name in self.tasks():
            self("task", "delete", "--force", name)
        self("container", "delete", name)

    def close(self):
        for name in self("container", "list", "--quiet").split():
            self.remove(name)
        process.end(self._daemon, term_s=20)
        self._log.close()
        self.view.close()


@pytest.fixture(scope="module")
def containerd(tmp_path_factory, layout):
    engine = Containerd(tmp_path_factory.mktemp("ctr"), layout)
    yield engine
    engine.close()


IMAGE = "localhost/busybox:latest"


def test_ctr_run(containerd):
    assert containerd.run("--rm", IMAGE, "one", "echo", "hello") == "hello\n"
    containerd.run("--rm", IMAGE, "two", "sh", "-c", "exit 3", status=3)
    with pytest.raises(AssertionError, match="no-such-program"):
        containerd.run("--rm", IMAGE, "three", "no-such-program")


def test_ctr_exec_pause_kill(containerd):
    containerd.run("--detach", IMAGE, "c", "sleep", "1000")
    assert containerd.tasks() == {"c": "RUNNING"}
    assert containerd("task", "exec", "--exec-id", "e", "c", "id", "-u") == \
        "0\n"
    containerd("task", "exec", "--exec-id", "f", "c", "sh", "-c", "exit 4",
               status=4)
    assert len(containerd("task", "ps", "c").splitlines()) == 2
    containerd("task", "pause", "c")
    assert containerd.tasks() == {"c": "PAUSED"}
    containerd("task", "resume", "c")
    assert containerd.tasks() == {"c": "RUNNING"}
    containerd("task", "delete", "--force", "c")
    containerd("container", "delete", "c")
    assert not list((containerd.directory / "zrun/default").iterdir())
