"""All that a disk was told while a machine ran, and the disks that a power cut
at any moment of it would have left."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from flakydisk import FlakyDisk, Write
from .disk import btrfs, run
from .mount import unmount

FLUSH = None
# What flash writes as one. A superblock that tears within is mended from its
# copy (init/super.c), which knows nothing of what was synced since the last
# commit of the whole file system: that is lost then.
PAGE = 4096


class Recorded(FlakyDisk):
    """A flakydisk that remembers every write and flush in `history`."""

    def __init__(self, *arguments, **options):
        self.history = []
        super().__init__(*arguments, **options)

    def _write(self, offset, data, fua):
        error = super()._write(offset, data, fua)
        if not error:
            self.history.append(Write(offset, data, bool(fua)))
        return error

    def _flush(self):
        error = super()._flush()
        if not error:
            self.history.append(FLUSH)
        return error


class Replay:
    """The part (start, size) of a disk that was empty, as `history` made it.
    Its file `path` is where the last flush before the moment in hand left
    it."""

    def __init__(self, path, history, part):
        self.path, self.history = path, history
        self.start, self.size = part
        self.at = 0  # steps that were taken
        self.pending = []
        with open(path, "wb") as file:
            file.truncate(self.size)
        self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self):
        os.close(self.file)

    def go(self, at):
        """On to the moment before step `at`, which is never a step back."""
        assert at >= self.at
        for step in self.history[self.at:at]:
            if step is not FLUSH:
                self.pending.append(step)
                continue
            for write in self.pending:
                self.apply(self.file, write, len(write.data))
            self.pending = []
        self.at = at

    def apply(self, file, write, size):
        offset = write.offset - self.start
        if 0 <= offset < self.size:
            os.pwrite(file, write.data[:size], offset)

    @contextlib.contextmanager
    def cut(self, rng):
        """The file of a disk that lost its power now; see FlakyDisk.cut."""
        with tempfile.NamedTemporaryFile(dir=self.path.parent) as copy:
            subprocess.run(["cp", "--sparse=always", self.path, copy.name],
                           check=True)
            keep = rng.random()
            kept = [w for w in self.pending if w.sure or rng.random() < keep]
            for write in kept:
                size = len(write.data)
                if write is kept[-1] and not write.sure:
                    size = rng.randint(0, size // PAGE) * PAGE
                self.apply(copy.fileno(), write, size)
            yield copy.name


@contextlib.contextmanager
def looped(path):
    """A loop device of its own: mount(8) takes one that another file of that
    inode number had, as long as it is there."""
    device = run("losetup", "--find", "--show", path).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(path, where):
    """A copy of /data, as init mounts it."""
    where.mkdir(exist_ok=True)
    with looped(path) as device:
        done = subprocess.run(["mount", device, where],
                              capture_output=True, text=True)
        if done.returncode:
            # A torn first superblock: init/super.c.
            repair = btrfs("rescue", "super-recover", "-y", device)
            done = subprocess.run(["mount", device, where],
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr + repair.stdout
        try:
            yield where
        finally:
            unmount(where)
