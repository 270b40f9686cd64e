"""File systems on this machine that tests mount, and hang."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time

DEADLINE_S = 30
QUOTA_CTL, SIMPLE_QUOTA = 0xc0109428, 4


def make_disk(path, size_mb):
    """A file with an empty ext4 in it."""
    with open(path, "wb") as out:
        out.truncate(size_mb << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    return path


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def unmount(path):
    """Whatever was killed or detached just now may still be ending there."""
    end = time.monotonic() + DEADLINE_S
    while True:
        done = subprocess.run(["umount", path], capture_output=True, text=True)
        if done.returncode == 0:
            return
        assert time.monotonic() < end, done.stderr


@contextlib.contextmanager
def btrfs(disk, size_mb, path):
    """A new one in file `disk`, mounted at `path`, with simple quotas, as init
    makes /data."""
    with open(disk, "wb") as out:
        out.truncate(size_mb << 20)
    subprocess.run(["mkfs.btrfs", "-q", "-n", "4k", disk], check=True)
    mount("-o", "loop", disk, path)
    try:
        top = os.open(path, os.O_RDONLY)
        fcntl.ioctl(top, QUOTA_CTL, struct.pack("=QQ", SIMPLE_QUOTA, 0))
        os.close(top)
        yield
    finally:
        unmount(path)


@contextlib.contextmanager
def tmpfs(path):
    mount("-t", "tmpfs", "tmpfs", path)
    try:
        yield
    finally:
        unmount(path)


class Frozen:
    """A file system whose writers wait, as on a disk that hangs."""

    def __init__(self, path):
        self.path, self.frozen = path, True
        subprocess.run(["fsfreeze", "-f", path], check=True)

    def thaw(self):
        if self.frozen:
            subprocess.run(["fsfreeze", "-u", self.path], check=True)
        self.frozen = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thaw()
