"""What a desired document says of an application, done by znode and the real
`zrun serve` on this machine: a program in each container tells what it sees."""

import errno
import fcntl
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from zooid import image, messages, mount
from zooid.app_node import SERVE, Node
from zooid.host import directory
from zooid.znode_host import Host, host_in_directory



@pytest.fixture(scope="session")
def busybox():
    """The layout of an image with a user, a folder of its own, and files."""
    return image.make("app", {
        "etc/passwd": (0o644, "root:x:0:0::/root:/bin/sh\n"
                              "app:x:1000:1000::/:/bin/sh\n"),
        "etc/group": (0o644, "root:x:0:\napp:x:1000:\n"),
        "data/seed/file": (0o640, "from the image\n"),
    }, ["--config.cmd", "sh"])


@pytest.fixture
def node(tmp_path, busybox):
    for host in host_in_directory():
        node = Node(host, tmp_path, busybox)
        yield node
        node.ended()


def test_what_a_container_gets(node):
    node.apply(node.app(
        entrypoint=["sh", "-c"], command=[SERVE], user="app",
        group_add=["44", "45"], working_dir="/tmp", hostname="box",
        extra_hosts={"plc": "192.0.2.1", "node": "host-gateway"},
        cap_drop=["NET_RAW", "MKNOD"],
        ulimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        shm_size=1 << 20, sysctls={"net.core.somaxconn": "77"},
        labels={"a.b": "c"}, mounts=[
            {"type": "tmpfs", "target": "/t", "size": 1 << 20,
             "mode": 0o700},
            {"type": "file", "target": "/etc/app.conf",
             "content": "x = 1\n", "uid": 1000, "mode": 0o400}]))
    root = node.root()
    process = root.parent
    assert os.readlink(process / "cwd") == "/tmp"
    assert node.status("Uid").split()[0] == "1000"
    assert node.status("Groups").split() == ["44", "45", "1000"] or \
        set(node.status("Groups").split()) >= {"44", "45"}
    bounding = int(node.status("CapBnd"), 16)
    assert not bounding >> 13 & 1 and not bounding >> 27 & 1
    assert bounding & 1
    limits = (process / "limits").read_text()
    assert "Max open files            100                  200" in limits
    conf = root / "etc/app.conf"
    assert conf.read_text() == "x = 1\n"
    assert (conf.stat().st_uid, conf.stat().st_mode & 0o777) == (1000, 0o400)
    hosts = (root / "etc/hosts").read_text()
    assert "192.0.2.1 plc\n" in hosts and "192.0.0.8 node\n" in hosts
    mounts = (process / "mountinfo").read_text()
    assert " /t rw,nosuid,nodev,noexec" in mounts
    for path in ("/t", "/dev/shm"):
        size = os.statvfs(root / path[1:])
        assert size.f_blocks * size.f_frsize == 1 << 20, path
    config = json.loads(node.host.znode("inspect", "web"))["config"]
    assert config["hostname"] == "box"
    assert config["annotations"]["a.b"] == "c"
    assert config["linux"]["sysctl"] == {"net.core.somaxconn": "77"}
    assert node.host.znode("exec", "web", "sh", "-c", "id -u; exit 7",
                           status=7) == "1000\n"
    assert node.host.znode("exec", "web", "sh", "-c", "kill -9 $$",
                           status=137) == ""
    top = node.host.znode("top", stdin=subprocess.DEVNULL).splitlines()
    assert re.match(r"web +running +\d+\.\d +", top[1]), top


def test_volume_outlives_its_container(node):
    volume = {"type": "volume", "source": "data", "target": "/data"}
    node.apply(node.app(user="app", mounts=[
        volume, {"type": "volume", "source": "v", "target": "/v",
                 "nocopy": True}]))
    root = node.root()
    assert (root / "data/seed/file").read_text() == "from the image\n"
    assert (root / "data/seed/file").stat().st_mode & 0o777 == 0o640
    assert not list((root / "v").iterdir())
    (root / "data/mine").write_text("written")
    (root / "data/seed/file").unlink()
    at = node.host.data / "volumes/shop.data"
    assert (at / "mine").read_text() == "written"
    assert not (at / ".zooid-copy").exists()
    node.apply()
    node.host.wait(lambda: not node.host.app())
    node.apply(node.app("other", mounts=[{**volume, "read_only": True}]))
    root = node.root("other")
    assert (root / "data/mine").read_text() == "written"
    assert not (root / "data/seed/file").exists()
    assert " /data ro," in (root.parent / "mountinfo").read_text()


def test_a_copy_that_was_cut_short_is_done_again(node):
    at = node.host.data / "volumes/shop.data"
    at.mkdir(parents=True)
    (at / ".zooid-copy").touch()
    (at / "half").touch()
    node.apply(node.app(mounts=[{"type": "volume", "source": "data",
                                 "target": "/data"}]))
    root = node.root()
    assert [p.name for p in (root / "data").iterdir()] == ["seed"]


def test_a_copy_by_another_start_is_waited_for(node):
    """Two that begin at once on one volume do not undo each other's work."""
    at = node.host.data / "volumes/shop.data"
    at.mkdir(parents=True)
    (at / ".zooid-copy").touch()
    (at / "half").touch()
    other = os.open(at, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    node.apply(node.app(mounts=[{"type": "volume", "source": "data",
                                 "target": "/data"}]))
    waits = re.compile("-> FLOCK .*:%d " % at.stat().st_ino)
    node.host.wait(lambda: waits.search(
        pathlib.Path("/proc/locks").read_text()))
    (at / "half").rename(at / "whole")
    (at / ".zooid-copy").unlink()
    os.close(other)
    assert [p.name for p in (node.root() / "data").iterdir()] == ["whole"]


def test_waits_for_others(node):
    """web waits for db's health and for a job, the job for db to start."""
    node.apply(
        node.app(depends_on=[{"app": "db", "condition": "healthy"},
                             {"app": "job", "condition": "completed"}]),
        node.app("db", health={"test": ["test", "-e", "/well"],
                               "interval_ms": 200, "retries": 2}),
        node.app("job", command=["sh", "-c", "sleep 0.2"], restart="no",
                 depends_on=[{"app": "db"}]))
    host = node.host
    host.wait(lambda: host.app("db")["health"] == "unhealthy")
    row = host.app()
    assert (row["state"], row["reason"]) == (
        "image", "waits for db to be healthy")
    host.wait(lambda: host.app("job")["reason"] == "exited with 0")
    assert host.app()["container"] == ""
    (node.root("db") / "well").touch()
    host.wait_state("running")
    assert host.app("db")["health"] == "healthy"
    host.kill("znode")
    host.wait(lambda: host.app("db")["health"] == "healthy")
    assert host.app()["state"] == "running"


def test_a_probe_that_hangs_is_killed(node):
    node.apply(node.app(health={
        "test": ["sleep", "1000"], "interval_ms": 100, "timeout_ms": 300,
        "retries": 2}))
    node.host.wait(lambda: node.host.app()["health"] == "unhealthy")
    assert node.host.app()["state"] == "running"


def test_stop_signal_and_grace(node):
    mounts = [{"type": "volume", "source": "v", "target": "/v"}]
    node.apply(node.app(stop_signal="SIGQUIT", mounts=mounts))
    node.root()
    node.host.znode("stop", "web")
    log = node.host.data / "volumes/shop.v/log"
    assert log.read_text() == "ended\n"
    node.apply(node.app(command=["sh", "-c", "trap '' TERM; sleep 1000"],
                        stop_grace_ms=300, mounts=mounts))
    node.host.znode("start", "web")
    node.root()
    node.host.kill("znode")  # the note of the instance has the time
    began = time.monotonic()
    node.host.znode("stop", "web")
    assert 0.3 <= time.monotonic() - began < 5


def test_resolver_of_its_own(node):
    node.apply(node.app(dns_search=["example.com", "example.net"],
                        dns_opt=["ndots:2"]))
    node.host.wait_state("running")
    assert (node.root() / "etc/resolv.conf").read_text() == (
        "nameserver 10.64.0.1\nsearch example.com example.net\n"
        "options ndots:2\n")


def test_name_servers_of_its_own(node):
    """Its own loopback's it asks itself, all others through znet."""
    node.apply(node.app(dns=["127.0.0.1", "192.0.2.1", "192.0.2.2"]))
    node.host.wait_state("running")
    assert (node.root() / "etc/resolv.conf").read_text() == (
        "nameserver 127.0.0.1\nnameserver 10.64.0.1\n")


def test_empty_entrypoint(node):
    """It leaves the image's out."""
    command = ["sh", "-c", "sleep 1000"]
    node.apply(node.app(entrypoint=[], command=command))
    node.host.wait_state("running")
    config = json.loads(node.host.znode("inspect", "web"))["config"]
    assert config["process"]["args"] == command


def test_volume_of_another_application(node):
    """It is not made, and is waited for."""
    mount_at = {"type": "volume", "target": "/v"}
    reads = node.app(name="reads", restart="no", mounts=[
        {**mount_at, "source": "kept.data", "external": True}])
    node.apply(reads)
    row = node.host.wait_state("failed", "reads")
    assert "volume kept.data: there is none on this node" in row["reason"]
    assert not (node.host.data / "volumes/kept.data").exists()
    node.apply(reads, node.app(origin={"application": "kept"}, mounts=[
        {**mount_at, "source": "data"}]))
    node.host.wait_state("running")
    (node.host.data / "volumes/kept.data/file").write_text("kept")
    assert (node.root("reads") / "v/file").read_text() == "kept"


def test_tries_end(node):
    node.apply(node.app(command=["sh", "-c", "exit 3"],
                        restart="on-failure", restart_max=2))
    row = node.host.wait_state("failed")
    node.host.wait(lambda: node.host.app()["restarts"] == 2)
    row = node.host.wait_state("failed")
    assert row["reason"] == "exited with 3" and row["container"] == "web-3"


@pytest.fixture
def btrfs(tmp_path, busybox):
    """A node whose /data is btrfs with simple quotas, as init makes it."""
    with directory() as path:
        (path / "data").mkdir()
        with mount.btrfs(tmp_path / "disk", 256, path / "data"):
            host = Host(path)
            yield Node(host, tmp_path, busybox)
            host.close()


def fill(path):
    """Writes what zstd cannot make smaller until its quota ends it."""
    with pytest.raises(OSError) as raised, open(path, "wb") as big:
        while True:
            big.write(os.urandom(1 << 20))
            big.flush()
            os.fsync(big.fileno())
    assert raised.value.errno == errno.EDQUOT


def test_volume_has_a_quota_and_snapshots(btrfs):
    host, mounts = btrfs.host, [{"type": "volume", "source": "v",
                                 "target": "/v", "size": 16 << 20}]
    btrfs.apply(btrfs.app(mounts=mounts))
    volume = btrfs.root() / "v"
    (volume / "file").write_text("first")
    fill(volume / "big")
    (volume / "big").unlink()
    row, = json.loads(host.znode("volumes", "-o", "json"))
    assert row["name"] == "shop.v" and row["limit_bytes"] == 16 << 20
    assert 0 < row["used_bytes"] <= 16 << 20
    assert re.fullmatch(r"VOLUME +MB +LIMIT\nshop\.v +\d+\.\d +16\.8\n",
                        host.znode("volumes"))
    name = host.znode("snapshot", "shop.v").strip()
    assert re.fullmatch(r"\.snapshots/shop\.v/\d{8}T\d{6}Z", name)
    (volume / "file").write_text("second")
    kept = host.data / "volumes" / name
    assert (kept / "file").read_text() == "first"
    with pytest.raises(OSError):
        (kept / "file").write_text("third")
    assert "container web-1 uses it" in host.znode("volume-rm", "shop.v",
                                                   status=1)
    assert "no such volume" in host.znode("snapshot", "shop.none", status=1)
    btrfs.apply()
    host.wait(lambda: not host.app())
    assert "shop.v" in host.znode("volumes")
    assert host.znode("volume-rm", "shop.v") == "shop.v removed\n"
    assert host.znode("volumes") == ""
    assert host.znode("volumes", "-o", "json") == "[]\n"
    assert not kept.exists()


@pytest.mark.parametrize("path, said", [
    ("v/big", "all volumes together"),
    ("big", "what it may write beside volumes")])
def test_containers_leave_the_node_its_reserve(btrfs, path, said):
    """However they fill the disk, by a volume without a limit or by the
    writable layer; who it is can be seen, and the others go on."""
    mounts = [{"type": "volume", "source": "v", "target": "/v"}]
    web, other = btrfs.app(mounts=mounts), btrfs.app("other")
    btrfs.apply(web, other)
    btrfs.host.wait(lambda: btrfs.host.app("other")["state"] == "running")
    fill(btrfs.root() / path)
    # A sixteenth of 256 MB, of which the node can still have some.
    (btrfs.host.data / "node").write_bytes(os.urandom(8 << 20))
    os.sync()
    btrfs.host.wait(lambda: re.fullmatch(
        r"has used \d+ of the \d+ MB of " + said,
        btrfs.host.app()["limit"]))
    assert btrfs.host.app("other")["limit"] == ""
    btrfs.apply(web, other, btrfs.app("third"))
    btrfs.host.wait(lambda: btrfs.host.app("third")["state"] == "running")
    third = pathlib.Path("/proc/%d/root" % btrfs.host.app("third")["pid"])
    (third / "file").write_bytes(os.urandom(4 << 20))


def test_more_room_for_a_full_volume(btrfs):
    def wanted(mb):
        btrfs.apply(btrfs.app(mounts=[{
            "type": "volume", "source": "v", "target": "/v",
            "size": mb << 20}]))
    wanted(16)
    fill(btrfs.root() / "v/big")
    before = btrfs.host.app()["container"]
    wanted(32)
    btrfs.host.wait(lambda: btrfs.host.app()["container"] != before and
                    btrfs.host.app()["state"] == "running")
    (btrfs.root() / "v/more").write_bytes(os.urandom(8 << 20))


def runs(pid):
    """Init tells of an end before the process is reaped."""
    try:
        stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_the_next_one_first(node):
    """What is replaced serves until the next one is well, also when znode is
    killed between; one that never is leaves it alone."""
    host = node.host
    node.apply(node.app())
    first = host.wait_state("running")["pid"]
    node.apply(node.app(command=["no such program"]))
    host.wait(lambda: "no such program" in host.app()["reason"])
    assert runs(first)
    health = {"test": ["test", "-e", "/well"], "interval_ms": 200}
    node.apply(node.app(health=health))
    host.wait(lambda: host.app()["state"] == "running" and
              host.app()["pid"] != first)
    row = host.app()
    assert runs(first) and len(host.rows()) == 1
    host.kill("znode")
    assert (host.app()["container"], host.app()["pid"]) == (
        row["container"], row["pid"])
    assert runs(first)
    (node.root() / "well").touch()
    host.wait(lambda: not runs(first))
    assert host.app()["pid"] == row["pid"]
    assert host.app()["health"] == "healthy"


def test_how_much_of_its_log_is_kept(node):
    """Goes to zlog with its output; another wish is another container."""
    node.apply(node.app(log={"size": 100 << 10, "files": 4}))
    node.host.wait_state("running")
    init = messages.Init(node.host.run)
    assert init.output_keep("web-1", 1) == (100 << 10, 4)
    assert init.output_keep("web-1", 2) == (100 << 10, 4)
    node.apply(node.app())
    node.host.wait(lambda: node.host.app()["container"] == "web-2" and
                   node.host.app()["state"] == "running")
    assert init.output_keep("web-2", 1) == (0, 0)


def test_two_never_share_a_volume(node):
    mounts = [{"type": "volume", "source": "v", "target": "/v"}]
    node.apply(node.app(mounts=mounts))
    first = node.host.wait_state("running")["pid"]
    node.apply(node.app(mounts=mounts, labels={"a": "b"}))
    node.host.wait(lambda: node.host.app()["container"] == "web-2")
    assert not runs(first)
    log = node.host.data / "volumes/shop.v/log"
    assert log.read_text() == "ended\n"


def test_what_the_document_grants(node):
    """More than the default is had from the signed document, and only while
    the newest one says so."""
    web = node.app(user="0:0", grants=["capability:SYS_NICE",
                                       "device:/dev/null:r:/dev/modem"])
    # Nobody can grant anything to a node whose node.json names no hub.
    node.apply(web)
    assert "names no hub" in node.host.wait_state("failed")["reason"]
    (node.host.boot / "node.json").write_text(json.dumps(
        {"hub": {"token": node.organism.token()}}))
    node.apply(dict(web, labels={"again": "1"}))
    root = node.root()
    assert int(node.status("CapEff"), 16) >> 23 & 1
    assert os.stat(root / "dev/modem").st_rdev == os.makedev(1, 3)
    node.apply(node.app(user="0:0"))
    node.host.wait(lambda: node.host.app()["digest"] and
                   not int(node.status("CapEff"), 16) >> 23 & 1)
    assert not (node.root() / "dev/modem").exists()
