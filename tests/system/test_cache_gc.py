"""`make cache-gc`, on a cache of its own."""

import fcntl
import os
import subprocess
import time

from zooid import TOP

DAY_S = 86400


def collect(cache):
    done = subprocess.run([TOP / "rootfs/packages/cache-gc"], text=True,
                          capture_output=True, timeout=60,
                          env={**os.environ, "ZOOID_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def put(path, age_days, size=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    if size:
        path.write_bytes(b"x" * size)
    else:
        path.mkdir()
        (path / "file").write_text("part of it")
    when = time.time() - age_days * DAY_S
    os.utime(path, (when, when))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_removes_what_nobody_used(tmp_path):
    for age, name in ((1, "new"), (29, "used"), (40, "old")):
        put(tmp_path / "pkg/zlib" / ("host-" + name), age)
        put(tmp_path / "src" / name, age, 3 << 20)
        put(tmp_path / "log" / (name + ".log"), age, 10)
        put(tmp_path / "lock" / ("zlib-host-" + name), age, 1)
    assert collect(tmp_path) == "cache-gc: freed 3 MB of 9\n"
    assert names(tmp_path / "pkg/zlib") == ["host-new", "host-used"]
    assert names(tmp_path / "src") == ["new", "used"]
    assert names(tmp_path / "log") == ["new.log", "used.log"]
    assert names(tmp_path / "lock") == ["zlib-host-new", "zlib-host-used"]


def test_leaves_running_builds_alone(tmp_path):
    put(tmp_path / "pkg/zlib/host-1", 1)
    for name in "lock", "log":
        (tmp_path / name).mkdir()
    put(tmp_path / "tmp/zlib-host-2.100", 0)
    put(tmp_path / "tmp/zlib-host-3.200", 0)
    put(tmp_path / "lock/zlib-host-3", 40, 1)
    with open(tmp_path / "lock/zlib-host-3", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        collect(tmp_path)
        assert names(tmp_path / "tmp") == ["zlib-host-3.200"]
        assert "zlib-host-3" in names(tmp_path / "lock")
    collect(tmp_path)
    assert names(tmp_path / "tmp") == []


def test_an_empty_cache(tmp_path):
    assert collect(tmp_path) == "cache-gc: %s: nothing there\n" % tmp_path
    for name in "pkg", "lock", "log":
        (tmp_path / name).mkdir()
    assert collect(tmp_path).startswith("cache-gc: freed 0 MB")
