"""All that a disk was told while a machine ran, and the disks that a power cut
at any moment of it would have left."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from flakydisk import SECTOR, FlakyDisk, Write
from .disk import recover, run
from .mount import unmount

FLUSH = None
SUPER_AT = 64 << 10  # the first superblock of btrfs


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
    def copy(self):
        """The file as it is, for a moment, to change."""
        with tempfile.NamedTemporaryFile(dir=self.path.parent) as copy:
            subprocess.run(["cp", "--sparse=always", self.path, copy.name],
                           check=True)
            yield copy

    @contextlib.contextmanager
    def cut(self, rng):
        """The file of a disk that lost its power now; see FlakyDisk.cut."""
        with self.copy() as copy:
            keep = rng.random()
            kept = [w for w in self.pending if w.sure or rng.random() < keep]
            for write in kept:
                size = len(write.data)
                if write is kept[-1] and not write.sure:
                    size = rng.randint(0, size // SECTOR) * SECTOR
                self.apply(copy.fileno(), write, size)
            yield copy.name

    def supers(self, begin):
        """The steps from `begin` on that write the first superblock."""
        at = self.start + SUPER_AT
        return [number for number in range(begin, len(self.history))
                if self.history[number] is not FLUSH
                and self.history[number].offset == at]

    @contextlib.contextmanager
    def torn(self, rng):
        """The file of a disk whose power went while it took the step in hand:
        some of its sectors, and all before it."""
        step = self.history[self.at]
        with self.copy() as copy:
            for write in self.pending:
                self.apply(copy.fileno(), write, len(write.data))
            for at in range(0, len(step.data), SECTOR):
                if rng.random() < 0.5:
                    sector = step.data[at:at + SECTOR]
                    self.apply(copy.fileno(),
                               Write(step.offset + at, sector, False), SECTOR)
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
def cuts(replay, moments, rng):
    """The disks that cuts at those moments left, (step, file)."""
    def disks():
        for at in moments:
            replay.go(at)
            with replay.cut(rng) as device:
                yield at, device
    with contextlib.closing(replay):
        yield disks()


@contextlib.contextmanager
def mounted(path, where):
    """A copy of /data, as init mounts it."""
    where.mkdir(exist_ok=True)
    with looped(path) as device:
        done = subprocess.run(["mount", device, where],
                              capture_output=True, text=True)
        if done.returncode:
            did = recover(device)
            done = subprocess.run(["mount", device, where],
                                  capture_output=True, text=True)
            assert done.returncode == 0, "%s: %s" % (did, done.stderr)
        try:
            yield where
        finally:
            unmount(where)
