"""Ways out of a container through its mounts, as they were published for other
runtimes: who made the image, or shares a volume, turns a directory into a link
at the right moment.

Each test names the guard it is of; with that guard taken out it fails."""

import contextlib
import os
import stat
import subprocess
import time

import pytest

from oci import DEADLINE, PROBE
from terminals import terminal_of

RACE_S = 20 if os.environ.get("ZOOID_TEST_FULL") else 1.5
SECRET = "of the host\n"


@pytest.fixture
def outside(tmp_path):
    """A directory of the host with one file, which no container may reach."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text(SECRET)
    return path


def untouched(path):
    return os.listdir(path) == ["secret"] and \
        (path / "secret").read_text() == SECRET


@contextlib.contextmanager
def swapping(view, a, b):
    """Exchanges two names as fast as it can."""
    swapper = view.popen([PROBE, "swap", a, b])
    try:
        yield
        assert swapper.poll() is None, "nothing was swapped"
    finally:
        swapper.kill()
        swapper.wait()


def races(bundle, *args):
    """Containers for a while, and until one could be made; the results of
    those that could."""
    start, made, tried = time.monotonic(), [], 0
    while time.monotonic() < start + RACE_S or tried < 10 or not made:
        assert time.monotonic() < start + 30, "no container could be made"
        done = bundle.run(*args)
        tried += 1
        if done.returncode == 0:
            made.append(done.stdout)
    return made


# ------------------------------------------------ links of the image, standing

LINKS = {
    "mount": lambda b: b.mount("/link/made", "tmpfs", "tmpfs"),
    "mount on a file": lambda b: b.bind("config.json", "/link/made"),
    "device": lambda b: b.linux.update(devices=[
        {"type": "c", "path": "/link/made", "major": 1, "minor": 3}]),
    "cwd": lambda b: b.process.update(cwd="/link/made"),
}


@pytest.mark.parametrize("up", [False, True], ids=["absolute", "dotdot"])
@pytest.mark.parametrize("what", LINKS)
def test_links_of_the_image_lead_nowhere_outside(bundle, outside, what, up):
    """Guard: init/base/path.c, path_open_in_root (RESOLVE_IN_ROOT)."""
    target = "../" * 20 + str(outside)[1:] if up else str(outside)
    (bundle.rootfs / "link").symlink_to(target)
    LINKS[what](bundle)
    done = bundle.sh("cat /link/secret")
    assert SECRET not in done.stdout
    assert untouched(outside)


@pytest.mark.parametrize("what, script, want", [
    ("maskedPaths", "cat /link/secret", ""),
    ("readonlyPaths", "touch /link/new 2>/dev/null; ls /link", "secret\n"),
    ("tmpcopyup", "cat /link/secret; touch /link/new", "of the image\n")])
def test_what_is_hidden_behind_a_link(bundle, outside, what, script, want):
    """The link leads to a directory that image and host both have: it is the
    image's that is hidden, and the image's that is copied.
    Guard: init/base/path.c, path_open_in_root (RESOLVE_IN_ROOT)."""
    inside = bundle.rootfs / str(outside)[1:]
    inside.mkdir(parents=True)
    (inside / "secret").write_text("of the image\n")
    (bundle.rootfs / "link").symlink_to(outside)
    if what == "tmpcopyup":
        bundle.mount("/link", "tmpfs", "tmpfs", "tmpcopyup")
    else:
        bundle.linux[what] = ["/link/secret" if "mask" in what else "/link"]
    assert bundle.sh(script).stdout == want
    assert os.listdir(inside) == ["secret"] and untouched(outside)


# --------------------------------------------------------- links that come late

@pytest.mark.parametrize("kind", ["directory", "file"])
def test_volume_that_swaps_a_directory_for_a_link(bundle, outside, kind):
    """CVE-2021-30465, CVE-2024-45310: a mount lies within a volume whose other
    users swap its directory for a link; the runtime makes the mount point, or
    mounts, on the host.
    Guard: init/base/path.c, path_open_in_root (RESOLVE_IN_ROOT)."""
    volume = bundle.path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "b").symlink_to(outside)
    bundle.bind(volume, "/volume")
    if kind == "directory":
        bundle.mount("/volume/a/made", "tmpfs", "tmpfs")
    else:
        bundle.bind("config.json", "/volume/a/made")
    with swapping(bundle.view, volume / "a", volume / "b"):
        races(bundle, "true")
    assert untouched(outside)


@pytest.mark.parametrize("name, type_", [("proc", "proc"), ("sys", "sysfs")])
def test_link_in_the_place_of_proc(bundle, name, type_):
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: procfs is mounted where
    a link of the image leads, and what is masked in /proc is not.
    Guard: runtime/zrun/child_mount.c, wants_directory."""
    place = bundle.rootfs / name
    place.rmdir()
    place.symlink_to("tmp")
    bundle.mount("/" + name, type_, type_)
    done = bundle.run("true")
    assert done.returncode == 1
    assert "must be mounted on a directory" in done.stderr


def test_proc_swapped_for_a_link_in_a_shared_root(bundle):
    """The same while another container of that root swaps /proc: wherever
    procfs lies then, its masked files are masked.
    Guard: runtime/zrun/child_hide.c, kernel_directory."""
    names = ["cmdline", "cpuinfo", "devices", "diskstats", "filesystems",
             "interrupts", "iomem", "ioports", "keys", "loadavg", "meminfo",
             "misc", "modules", "partitions", "softirqs", "stat", "swaps",
             "timer_list", "uptime", "version", "vmstat", "zoneinfo"]
    (bundle.rootfs / "elsewhere").mkdir()
    (bundle.rootfs / "decoy").symlink_to("/elsewhere")
    for name in names:
        (bundle.rootfs / "elsewhere" / name).write_text("decoy\n")
    bundle.linux["maskedPaths"] = ["/proc/" + name for name in names]
    bundle.linux["readonlyPaths"] = ["/proc/sys"]
    script = "for p in /proc /decoy /elsewhere; do (cd $p && cat %s; " \
        "echo 1 >sys/kernel/msgmax && echo wrote); done 2>/dev/null; true"
    with swapping(bundle.view, bundle.rootfs / "proc",
                  bundle.rootfs / "decoy"):
        made = races(bundle, "sh", "-c", script % " ".join(names))
    assert {word for out in made for word in out.split()} <= {"decoy"}


def test_dev_null_of_the_image_masks_nothing(bundle, outside):
    """CVE-2025-31133: a masked file is covered by the container's /dev/null,
    which its maker made a link to what he wants to write.
    Guard: runtime/zrun/child_hide.c, null_tree (the host's, and checked)."""
    bundle.config["mounts"] = bundle.config["mounts"][:1]  # no /dev
    dev = bundle.rootfs / "dev"
    os.mknod(dev / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (dev / "evil").symlink_to("/proc/sys/kernel/msgmax")
    (bundle.rootfs / "masked").mkdir()
    for n in range(200):  # as many chances in each
        (bundle.rootfs / "masked" / str(n)).write_text("")
        bundle.linux.setdefault("maskedPaths", []).append("/masked/%d" % n)
    with swapping(bundle.view, dev / "null", dev / "evil"):
        made = races(bundle, "sh", "-c", "stat -c %t:%T /masked/*")
    assert {word for out in made for word in out.split()} == {"1:3"}


def test_console_swapped_for_a_link(bundle):
    """CVE-2025-52565: the terminal is mounted on /dev/console, which the
    image's maker made a link to a file he wants covered, or writable.
    Guard: runtime/zrun/child_device.c, mount_console (O_NOFOLLOW)."""
    bundle.config["mounts"].pop()  # devpts, to come after
    bundle.config["mounts"].pop()  # no tmpfs on /dev
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance",
                 "ptmxmode=0666")
    dev = bundle.rootfs / "dev"
    (dev / "pts").mkdir()
    (dev / "console").write_text("")
    (bundle.rootfs / "etc/target").write_text("")
    (dev / "evil").symlink_to("/etc/target")
    bundle.process["terminal"] = True
    end, made = time.monotonic() + RACE_S, 0
    with swapping(bundle.view, dev / "console", dev / "evil"):
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError), \
                    terminal_of(bundle, "sleep", "1000"):
                pid = bundle.state(bundle.ids[-1])["pid"]
                with open("/proc/%d/mountinfo" % pid) as mounts:
                    text = mounts.read()
                made += 1
                if " /etc/target " in text:
                    pytest.fail("the terminal covers /etc/target")
            bundle.call("delete", "--force", bundle.ids[-1])
            (bundle.path / "console").unlink()


# ------------------------------------------------------- procfs, as it is told

FAKES = ("self/oom_score_adj", "thread-self/oom_score_adj",
         "sys/kernel/msgmax")


def fake_proc(bundle):
    """A volume that looks like procfs."""
    fake = bundle.path / "fake"
    for name in ("self", "thread-self", "sys/kernel", "sys/net/ipv4"):
        (fake / name).mkdir(parents=True)
    for name in FAKES:
        (fake / name).write_text("")
    return fake


@pytest.mark.parametrize("place", ["/proc", "/proc/sys"])
def test_volume_over_proc_gets_nothing_written(bundle, place):
    """CVE-2019-16884, CVE-2025-52881: what the runtime means for the kernel
    goes into a file of the image's maker, and the container runs without.
    Guard: runtime/zrun/child.c, set_sysctl and set_oom_score (host_proc)."""
    fake = fake_proc(bundle)
    bundle.bind(fake if place == "/proc" else fake / "sys", place)
    bundle.linux["sysctl"] = {"kernel.msgmax": "4243"}
    bundle.process["oomScoreAdj"] = 321
    name = bundle.started("sleep", "1000")
    assert [(fake / name).read_text() for name in FAKES] == [""] * 3
    pid = bundle.state(name)["pid"]
    with open("/proc/%d/oom_score_adj" % pid) as score:
        assert score.read() == "321\n"
    done = bundle.view.run(["nsenter", "-t", str(pid), "-i", "cat",
                            "/proc/sys/kernel/msgmax"])
    assert done.stdout == "4243\n"


def test_exec_in_a_container_with_a_fake_proc(bundle):
    """The same of exec.
    Guard: runtime/zrun/child.c, set_oom_score (host_proc)."""
    fake = fake_proc(bundle)
    bundle.bind(fake, "/proc")
    name = bundle.started("sleep", "1000")
    (bundle.path / "process.json").write_text(
        '{"args": ["sleep", "1000"], "cwd": "/", "oomScoreAdj": 321,'
        ' "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}')
    done = bundle.view.popen(
        [bundle.runtime, "--root", bundle.state_dir, "exec", "-d",
         "--pid-file", "pid", "-p", "process.json", name], cwd=bundle.path,
        stdout=subprocess.DEVNULL)
    assert done.wait(DEADLINE) == 0
    with open("/proc/%s/oom_score_adj" % (bundle.path / "pid").read_text()) \
            as score:
        assert score.read() == "321\n"
    assert [(fake / name).read_text() for name in FAKES] == [""] * 3


def test_source_that_is_a_link(bundle, outside):
    """A volume's user makes what an engine binds a link to the host's file.
    Guard: the option src-nofollow, runtime/zrun/mount_source.c."""
    volume = bundle.path / "volume"
    volume.mkdir()
    (volume / "data").symlink_to(outside / "secret")
    bundle.bind(volume / "data", "/tmp/data", "bind", "src-nofollow")
    done = bundle.sh("cat /tmp/data")
    assert SECRET not in done.stdout


# --------------------------------------------------------------------- cgroups

@pytest.mark.parametrize("own", [True, False], ids=["namespace", "none"])
def test_cgroups_of_others_are_out_of_reach(bundle, own):
    """CVE-2022-0492, CVE-2023-25809 and the like: a writable cgroup tree lets
    a container leave its limits. Root in it, with the tree mounted writable,
    tries every cgroup.procs above its own.
    Guards: runtime/zrun/plan.c, plan_container (OP_CGROUP_NAMESPACE comes
    when the child is in its cgroup) and cgroup_mount_bind."""
    if not own:
        bundle.share("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup")
    name = bundle.create(
        "sh", "-c", "cd /sys/fs/cgroup; ls -d oci-test zrun; "
        "for f in cgroup.procs ../cgroup.procs ../../cgroup.procs "
        "../../../cgroup.procs /proc/1/root/sys/fs/cgroup/cgroup.procs; "
        "do echo $$ >$f; done; echo tried; exec sleep 1000 2>/dev/null")
    pid = bundle.state(name)["pid"]
    before = bundle.view.run(["cat", "/proc/%d/cgroup" % pid]).stdout
    bundle.start(name)
    end = time.monotonic() + 10
    while "tried" not in bundle.written() and time.monotonic() < end:
        os.sched_yield()
    assert bundle.written() == "tried\n"
    assert bundle.view.run(["cat", "/proc/%d/cgroup" % pid]).stdout == before


def test_cgroup_tree_that_is_read_only(bundle):
    """CVE-2023-25809: without a cgroup namespace "ro" holds too.
    Guard: runtime/zrun/plan.c, cgroup_mount_bind keeps the options."""
    bundle.share("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    done = bundle.sh("echo 1 >/sys/fs/cgroup/cgroup.max.depth")
    assert "Read-only file system" in done.stderr


def test_cgroup_v1_cannot_be_mounted(bundle):
    """CVE-2022-0492: release_agent of cgroup v1 runs a program on the host.
    Guard: runtime/zrun/child_process.c, child_user (drop_bounding)."""
    bundle.grant("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD")
    done = bundle.sh("mount -t cgroup -o memory cgroup /tmp && echo mounted")
    assert "mounted" not in done.stdout
