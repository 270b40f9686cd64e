"""--systemd-cgroup: the container's cgroup is a scope of systemd's. Debian's
systemd runs as the first process of a container, and zrun inside of it."""

import os
import subprocess
import time

import oci
import pytest

from zooid import debian

PACKAGES = ["base-files", "base-passwd", "coreutils", "dash", "systemd", "dbus"]
DEADLINE_S = 30
CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID", "SETPCAP",
    "SYS_CHROOT", "SYS_ADMIN", "SYS_PTRACE", "MKNOD", "NET_ADMIN")]


def unpack(root):
    """The packages, and what their postinst would do for a boot."""
    archives = debian.with_dependencies(PACKAGES)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, root], check=True)
    for name, line in ("passwd", "messagebus:x:100:100::/:/bin/false\n"), \
            ("group", "messagebus:x:100:\n"):
        master = root / "usr/share/base-passwd" / (name + ".master")
        (root / "etc" / name).write_text(master.read_text() + line)
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")


class Systemd:
    """A container whose first process is systemd."""

    def __init__(self, directory, view):
        self.outer = oci.Bundle(directory / "outer", view, oci.ZRUN)
        self.outer.rootfs = directory / "outer/debian"
        self.outer.rootfs.mkdir()
        unpack(self.outer.rootfs)
        self.outer.config["root"]["path"] = "debian"
        self.outer.process["env"] = [
            "container=oci", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        for kind in ("bounding", "effective", "permitted", "inheritable"):
            self.outer.process["capabilities"][kind] = CAPABILITIES
        self.outer.mount("/sys", "sysfs", "sysfs", "ro")
        self.outer.mount("/sys/fs/cgroup", "cgroup2", "cgroup")
        for path in ("/run", "/tmp"):
            self.outer.mount(path, "tmpfs", "tmpfs", "mode=755")
        self.outer.bind(oci.ZRUN, "/usr/bin/zrun")
        self.outer.bind(directory, "/bundles", "rbind")
        self.name = self.outer.started("/lib/systemd/systemd",
                                       "--log-target=console")
        wait(lambda: self("busctl", "list").returncode == 0)

    def __call__(self, *words):
        return self.outer.call("exec", self.name, *words)

    def said(self, *words):
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def property(self, unit, name):
        return self.said("systemctl", "show", "--value", "-p", name,
                         unit).strip()

    def scopes(self):
        return self.said("systemctl", "list-units", "--type=scope", "--plain",
                         "--no-legend", "--all").split("\n")

    def wait_gone(self, unit):
        wait(lambda: not any(unit in line for line in self.scopes()))


def wait(true):
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory, view):
    directory = tmp_path_factory.mktemp("systemd")
    (directory / "outer").mkdir()
    made = Systemd(directory, view)
    yield made
    made.outer.clean()


class Inner:
    """A bundle for the zrun inside; its containers are deleted by force."""

    def __init__(self, systemd, directory, view):
        self.systemd = systemd
        self.bundle = oci.Bundle(directory, view, oci.ZRUN)
        self.path = "/bundles/" + directory.name
        self.linux = self.bundle.linux
        del self.linux["cgroupsPath"]
        # Its own would show the container's cgroup as "/".
        self.bundle.share("cgroup")

    def __call__(self, *words, environment=()):
        """Into files: what `create` has made keeps a pipe open."""
        done = self.systemd(
            "env", *environment, "/bin/sh", "-c",
            'exec /usr/bin/zrun --systemd-cgroup "$@" >$0/out 2>$0/err',
            self.path, "--root", self.path + "/state", *words)
        done.stdout, done.stderr = (
            (self.bundle.path / name).read_text() for name in ("out", "err"))
        return done

    def make(self, verb, *args, **more):
        """(name, what it did)."""
        self.bundle.process["args"] = list(args)
        self.bundle.write()
        name = self.bundle.id()
        return name, self(verb, "-b", self.path, name, **more)


@pytest.fixture
def inner(systemd, view, request):
    directory = systemd.outer.path.parent / (
        "inner-%d" % len(list(systemd.outer.path.parent.iterdir())))
    directory.mkdir()
    made = Inner(systemd, directory, view)
    yield made
    for name in made.bundle.ids:
        made("delete", "--force", name)


def test_scope_of_its_own(inner):
    name, done = inner.make("run", "cat", "/proc/self/cgroup")
    assert done.returncode == 0, done.stderr
    assert "0::/system.slice/zrun-%s.scope/container\n" % name in done.stdout
    inner.systemd.wait_gone(name)


def test_slice_and_unit_as_wanted(inner):
    inner.linux["cgroupsPath"] = "machine-pod.slice:libpod:abc"
    name, done = inner.make("create", "sleep", "100")
    assert done.returncode == 0, done.stderr
    unit = "libpod-abc.scope"
    inner.systemd("zrun", "--root", inner.path + "/state", "start", name)
    assert inner.systemd.property(unit, "ActiveState") == "active"
    assert inner.systemd.property(unit, "Delegate") == "yes"
    group = inner.systemd.property(unit, "ControlGroup")
    assert group == "/machine.slice/machine-pod.slice/libpod-abc.scope"
    held = inner.systemd.said("ls", "/sys/fs/cgroup" + group).split()
    assert "container" in held and "zrun" not in held
    into = inner("exec", name, "cat", "/proc/self/cgroup")
    assert "0::%s/container\n" % group in into.stdout, into.stderr
    assert inner("pause", name).returncode == 0
    assert inner("resume", name).returncode == 0
    # systemd does not undo it when it reads its units again.
    inner.systemd.said("systemctl", "daemon-reload")
    assert inner("kill", name, "KILL").returncode == 0
    wait(lambda: '"stopped"' in inner("state", name).stdout)
    assert inner("delete", name).returncode == 0
    inner.systemd.wait_gone(unit)


def test_unit_that_is_there_already(inner):
    inner.linux["cgroupsPath"] = ":taken:x"
    first, done = inner.make("create", "sleep", "100")
    assert done.returncode == 0, done.stderr
    second, done = inner.make("create", "sleep", "100")
    assert done.returncode == 1
    assert "systemd does not make taken-x.scope" in done.stderr
    assert inner("state", second).returncode == 1
    assert inner("start", first).returncode == 0


def test_nothing_is_left_of_what_fails(inner):
    inner.linux["cgroupsPath"] = ":failed:x"
    inner.bundle.mount("/no", "bind", "/does/not/exist", "bind")
    name, done = inner.make("create", "true")
    assert done.returncode == 1 and "/does/not/exist" in done.stderr
    assert inner("state", name).returncode == 1
    inner.systemd.wait_gone("failed-x.scope")


def test_nothing_is_left_of_a_killed_zrun(inner):
    """Killed when the scope is there and the container is not yet whole."""
    inner.linux["cgroupsPath"] = ":killed:x"
    inner.bundle.config["hooks"] = {"createRuntime": [{
        "path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]}]}
    name, done = inner.make("create", "true")
    assert done.returncode != 0
    assert inner("delete", "--force", name).returncode == 0
    inner.systemd.wait_gone("killed-x.scope")


@pytest.mark.parametrize("path", ["x", "/x/y", "a.slice:b", "a:b:", "a:b:c:d",
                                  "a/b:c:d"])
def test_bad_cgroups_path(inner, path):
    inner.linux["cgroupsPath"] = path
    _, done = inner.make("create", "true")
    assert done.returncode == 1
    assert "linux.cgroupsPath (%s): systemd wants slice:prefix:name" % path \
        in done.stderr


def test_without_its_client(inner):
    _, done = inner.make("create", "true", environment=["PATH=/none"])
    assert done.returncode == 1
    assert "busctl: there is no such program" in done.stderr


def test_manager_by_name(inner):
    inner.bundle.process["args"] = ["cat", "/proc/self/cgroup"]
    inner.bundle.write()
    name = inner.bundle.id()
    done = inner.systemd("zrun", "--root", inner.path + "/state",
                         "--cgroup-manager", "systemd", "run", "-b",
                         inner.path, name)
    assert "/zrun-%s.scope/container\n" % name in done.stdout, done.stderr
