"""Media for a node: GPT with the ZOOID partition, free space behind it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from .build import BUILD, TOP

MB = 1 << 20


class Disk:
    """The raw image file `path`. As a drive of a Node it may instead be
    reached through the NBD socket `nbd` (flakydisk)."""

    def __init__(self, path, nbd=None):
        self.path = pathlib.Path(path)
        self.nbd = nbd

    @classmethod
    def make(cls, path, content, size_mb=512, fat_mb=40):
        """A new medium. `content` maps paths on ZOOID to str, bytes or the
        path of a file or of a whole directory."""
        disk = cls(path)
        with folder(content) as root:
            run(TOP / "board/mkdisk", "-s", size_mb, "-z", fat_mb, disk.path,
                root)
        return disk

    def grow(self, size_mb):
        """As when the image was copied onto a larger medium."""
        with open(self.path, "r+b") as file:
            file.truncate(size_mb * MB)

    def partitions(self):
        """{GPT name: (start, size) in bytes}."""
        lines = run("sfdisk", "-d", self.path).split("\n")
        found = {}
        for line in lines:
            if " : " not in line:
                continue
            fields = dict(
                f.strip().split("=", 1)
                for f in line.split(" : ")[1].split(",") if "=" in f)
            name = fields.get("name", '""').strip().strip('"')
            found[name] = (int(fields["start"]) << 9, int(fields["size"]) << 9)
        return found

    def check_data(self):
        """What btrfs check says of ZOOID-DATA: "clean", or its output."""
        start, size = self.partitions()["ZOOID-DATA"]
        with tempfile.NamedTemporaryFile(dir=self.path.parent) as part:
            run("dd", "if=%s" % self.path, "of=" + part.name, "bs=1M",
                "iflag=skip_bytes,count_bytes", "conv=sparse,notrunc",
                "skip=%d" % start, "count=%d" % size)
            os.truncate(part.name, size)
            return check(part.name)

def btrfs(*words):
    """btrfs(8) of the node: Debian 12's does not know simple quotas."""
    own = BUILD / "x86_64/pkg/btrfs-progs/bin/btrfs.box"
    return subprocess.run(
        ["btrfs", *words], text=True,
        executable=own if own.exists() else None,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def recover(device):
    """What init does when /data does not mount; says what it did."""
    return run(BUILD / "x86_64/tests/super_recover", device).strip()


def check(device):
    """What btrfs check says of a file system: "clean", or its output."""
    done = btrfs("check", "--readonly", device)
    return "clean" if done.returncode == 0 else done.stdout


@contextlib.contextmanager
def folder(content):
    """A directory, for a moment, that holds `content`."""
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for name, what in content.items():
            to = root / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, str):
                to.write_text(what)
            elif isinstance(what, bytes):
                to.write_bytes(what)
            elif pathlib.Path(what).is_dir():
                shutil.copytree(what, to)
            else:
                shutil.copyfile(what, to)
        yield root


def run(*argv):
    """Output of a command that must succeed."""
    done = subprocess.run([str(a) for a in argv], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError("%s: exit %d\n%s" % (
            " ".join(map(str, argv)), done.returncode, done.stdout))
    return done.stdout
