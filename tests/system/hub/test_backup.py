"""zhub backup and restore when something is in the way: a full disk, a kill at
any step, files that are no backups, places that are none for one."""

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import subprocess

import pytest

from hub import ENVIRONMENT, ZHUB, Hub, zhub
from zooid import FULL

CHANGING = ("rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,"
            "fsync,fdatasync,syncfs,ftruncate,write,pwrite64")
TRIED = 1000 if FULL else 3  # of each sort of call


def parts(folder):
    """What a hub is, in bytes; of its store, the tokens that it knows."""
    with contextlib.closing(sqlite3.connect(folder / "store.db")) as store:
        tokens = [key for key, in store.execute(
            "SELECT key FROM entry WHERE key LIKE 'token/%' ORDER BY key")]
    return {"hub.json": (folder / "hub.json").read_bytes(),
            **{key.name: key.read_bytes()
               for key in sorted((folder / "keys").iterdir())},
            "tokens": tokens}


@pytest.fixture
def two(tmp_path):
    """A hub, and the backup of another."""
    made = []
    for name in ("old", "new"):
        hub = Hub(tmp_path / name)
        hub.token()
        made.append(hub)
    backup = tmp_path / "backup"
    zhub("backup", "--dir", made[1].directory, backup)
    return made[0].directory, backup, parts(made[1].directory)


@contextlib.contextmanager
def small_disk(where, size):
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "none",
                    where], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.parametrize("room", [0, 12 << 10, 40 << 10, 90 << 10])
def test_full_disk_leaves_the_old_hub(two, tmp_path, room):
    old, backup, _ = two
    folder = tmp_path / "disk/hub"
    with small_disk(tmp_path / "disk", "2m"):
        shutil.copytree(old, folder)
        before = parts(folder)
        filler = tmp_path / "disk/filler"
        with open(filler, "wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(filler.stat().st_size - room)
        done = zhub("restore", "--dir", folder, backup, check=False)
        assert done.returncode == 1
        assert "not restored: No space left on device" in done.stderr
        filler.unlink()
        assert parts(folder) == before
        assert not list(folder.glob(".restore*"))
        zhub("token", "--dir", folder)


def changing_calls(folder, backup, trace):
    """The changing calls of a whole restore, in their order."""
    subprocess.run(["strace", "-f", "-qq", "-o", trace, "-e",
                    "trace=" + CHANGING, ZHUB, "restore", "--dir", folder,
                    backup], check=True, env=ENVIRONMENT,
                   stdout=subprocess.DEVNULL)
    return re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M)


def test_killed_at_any_step(two, tmp_path):
    """The folder is the old hub or the new one, as soon as anyone looks."""
    old, backup, new = two
    before, seen = parts(old), set()
    folder = tmp_path / "hub"
    shutil.copytree(old, folder)
    calls = changing_calls(folder, backup, tmp_path / "trace")
    assert parts(folder) == new
    for name in sorted(set(calls)):
        n = calls.count(name)
        for when in {1 + i * (n - 1) // (TRIED - 1) for i in range(TRIED)}:
            shutil.rmtree(folder)
            shutil.copytree(old, folder)
            subprocess.run(
                ["strace", "-f", "-o", "/dev/null", "-e",
                 "trace=" + name, "-e",
                 "inject=%s:signal=KILL:when=%d" % (name, when), ZHUB,
                 "restore", "--dir", folder, backup], env=ENVIRONMENT,
                capture_output=True)
            zhub("operator", "--dir", folder, "bob")
            now = parts(folder)
            assert now in (before, new), (name, when)
            seen.add(now == new)
            zhub("restore", "--dir", folder, backup)
            assert parts(folder) == new, (name, when)
            assert not list(folder.glob(".restore*"))
    assert seen == {True, False}


def test_serve_goes_on_with_a_restore(two, tmp_path):
    old, backup, new = two
    subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e",
                    "inject=renameat:signal=KILL:when=%d" % (
                        changing_calls(shutil.copytree(old, tmp_path / "hub"),
                                       backup, tmp_path / "trace").count(
                                           "renameat") - 1),
                    ZHUB, "restore", "--dir", old, backup], env=ENVIRONMENT,
                   capture_output=True)
    assert (old / ".restore.ready").exists()
    done = subprocess.run([ZHUB, "serve", "--dir", old, "--listen",
                           "nowhere"], env=ENVIRONMENT, capture_output=True)
    assert b"nowhere" in done.stderr
    assert parts(old) == new


def test_root_key_stays_unless_it_is_of_another(two, tmp_path):
    old, backup, _ = two
    zhub("restore", "--dir", old, backup)
    key = old / "keys/root.key"
    root = key.read_bytes()
    offline = shutil.copytree(old, tmp_path / "offline")
    (offline / "keys/root.key").unlink()
    zhub("backup", "--dir", offline, tmp_path / "without")
    zhub("restore", "--dir", old, tmp_path / "without")
    assert key.read_bytes() == root
    other = Hub(tmp_path / "other").directory
    zhub("restore", "--dir", other, tmp_path / "without")
    assert not (other / "keys/root.key").exists()


@pytest.mark.parametrize("kind", ["empty", "text", "store", "database",
                                  "folder", "device"])
def test_what_is_no_backup(two, tmp_path, kind):
    old, _, _ = two
    before = parts(old)
    file = tmp_path / "file"
    if kind == "store":
        shutil.copy(old / "store.db", file)
    elif kind == "database":
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.executescript("PRAGMA user_version = 2; CREATE TABLE a(b);")
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file = "/dev/zero"
    else:
        file.write_bytes(b"words\n" * 1000 if kind == "text" else b"")
    done = zhub("restore", "--dir", old, file, check=False)
    assert done.returncode == 1
    assert "not restored: it is no whole backup of zhub" in done.stderr
    assert parts(old) == before


def test_backup_replaces_files_only(two, tmp_path):
    old, backup, _ = two
    before = parts(old)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    link = tmp_path / "link"
    link.symlink_to(old)
    for place in (old / "store.db", old / "new", link / "keys/ca.key", fifo,
                  link, tmp_path, "-", "/dev/full", "./-",
                  tmp_path / "none/backup", tmp_path / ("x" * 700)):
        done = zhub("backup", "--dir", old, place, check=False)
        if place == "./-":  # a name like any other
            assert done.returncode == 0
            os.unlink("-")
            continue
        assert done.returncode == 1 and str(place) in done.stderr
    assert parts(old) == before and stat.S_ISFIFO(fifo.stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert not (old / "new").exists() and link.is_symlink()
    zhub("backup", "--dir", old, backup)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = zhub("backup", "--dir", empty, tmp_path / "x", check=False)
    assert done.returncode == 1 and "holds no hub" in done.stderr
    assert not list(empty.iterdir())
