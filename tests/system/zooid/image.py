"""OCI images for tests, made from Debian's busybox with umoci."""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import stat
import tempfile

from . import debian
from .build import test_directory
from .disk import run
from .web import PAGE

BIG_BYTES = 4 << 20
CGI_CLIENT = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s' " \
    '"$REMOTE_ADDR"\n'
# What a container can see of its own start: ticks since the kernel's.
CGI_STARTED = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n" \
    "cut -d ' ' -f 22 /proc/1/stat\n"
# A download that lasts as long as the client likes.
CGI_TICKS = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n" \
    "while echo tick; do usleep 50000; done\n"


OCI_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def make(name, files, config, arch="x86_64"):
    """The OCI layout build/test/images/NAME with tag `latest`: a busybox root
    and `files` {path: (mode, text or bytes)}, `config` being umoci's flags.
    Made anew only when one of these changed; several may ask at once."""
    layout = test_directory() / "images" / name
    layout.parent.mkdir(parents=True, exist_ok=True)
    stamp = layout.with_name(name + ".made-from")
    made_from = hashlib.sha256(repr((
        sorted(files.items()), config, arch)).encode()).hexdigest()
    with open(layout.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != made_from:
            with tempfile.TemporaryDirectory(dir=layout.parent) as scratch:
                made = pack(pathlib.Path(scratch),
                            lambda root: fill(root, files, arch),
                            ["--architecture", OCI_ARCH[arch], *config])
                shutil.rmtree(layout, ignore_errors=True)
                made.rename(layout)
            stamp.write_text(made_from)
    return layout


def pack(scratch, fill, config):
    """An OCI layout of one layer: what `fill` puts into the directory that it
    is given."""
    layout, bundle = scratch / "layout", scratch / "bundle"
    reference = "%s:latest" % layout
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", reference)
    run("umoci", "unpack", "--image", reference, bundle)
    fill(bundle / "rootfs")
    run("umoci", "repack", "--image", reference, bundle)
    run("umoci", "config", "--image", reference, *config)
    run("umoci", "gc", "--layout", layout)
    return layout


def fill(root, files, arch):
    for directory in ("bin", "dev", "etc", "proc", "sys", "tmp", "root"):
        (root / directory).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy2(debian.busybox(arch), root / "bin/busybox")
    for applet in run(debian.busybox(os.uname().machine), "--list").split():
        if applet != "busybox":
            os.symlink("busybox", root / "bin" / applet)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    for path, (mode, data) in files.items():
        to = root / path
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(data.encode() if isinstance(data, str) else data)
        to.chmod(mode)


def httpd(arch="x86_64"):
    """Busybox's httpd on port 80 with a page, a large file, and CGI programs
    that tell the client's address, the container's start, or no end."""
    return make("httpd" if arch == "x86_64" else "httpd-" + arch, {
        "www/index.html": (0o644, PAGE),
        "www/big": (0o644, bytes(BIG_BYTES)),
        "www/cgi-bin/client": (0o755, CGI_CLIENT),
        "www/cgi-bin/started": (0o755, CGI_STARTED),
        "www/cgi-bin/ticks": (0o755, CGI_TICKS),
    }, ["--config.cmd", "httpd", "--config.cmd", "-f", "--config.cmd", "-v",
        "--config.cmd", "-h", "--config.cmd", "/www",
        "--config.exposedports", "80/tcp",
        "--config.env", "PATH=/bin"], arch)


def blobs(layout):
    return pathlib.Path(layout) / "blobs/sha256"


def manifest(layout):
    index = json.loads((layout / "index.json").read_text())
    digest = index["manifests"][0]["digest"].split(":")[1]
    return json.loads((blobs(layout) / digest).read_text())


def blob(layout, what):
    """The path of the blob of the (last) layer, the config, or the
    manifest."""
    index = json.loads((layout / "index.json").read_text())
    of_manifest = index["manifests"][0]
    document = manifest(layout)
    descriptor = {"manifest": of_manifest, "config": document["config"],
                  "layer": document["layers"][-1]}[what]
    return blobs(layout) / descriptor["digest"].split(":")[1]


def flip_bit(path, offset):
    """Changes one bit of a file in place."""
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
