"""Packages of this machine's Debian, in the cache: the other architecture's
busybox, a stock kernel to compare with, what applications are made of."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile


def cache():
    base = os.environ.get("ZOOID_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "zooid")
    path = pathlib.Path(base) / "debian"
    path.mkdir(parents=True, exist_ok=True)
    return path


def apt_options(root, architecture):
    """A state of its own below root: the machine's is left alone."""
    for part in ("state/lists/partial", "cache/archives/partial", "files"):
        (root / part).mkdir(parents=True)
    return ["-q", "-o", "APT::Architecture=" + architecture,
            "-o", "APT::Architectures=" + architecture,
            "-o", "Dir::State=%s/state" % root,
            "-o", "Dir::State::status=/dev/null",
            "-o", "Dir::Cache=%s/cache" % root,
            "-o", "Acquire::Languages=none",
            "-o", "APT::Install-Recommends=0",
            "-o", "APT::Sandbox::User="]


@contextlib.contextmanager
def apt_root(architecture):
    """A directory for apt that goes away, and options that lead there."""
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        root = pathlib.Path(scratch)
        options = apt_options(root, architecture)
        apt("apt-get", *options, "update", cwd=root)
        yield root, options


def package(name, architecture="amd64"):
    """The directory that holds the files of a package."""
    final = cache() / ("%s-%s" % (name, architecture))
    if final.exists():
        return final
    with apt_root(architecture) as (root, options):
        if name == "linux-image-cloud":  # a name that leads to the newest
            name = re.search(r"Depends: (linux-image-\S+)", apt(
                "apt-cache", *options, "depends",
                "linux-image-cloud-" + architecture, cwd=root))[1]
        apt("apt-get", *options, "download", name, cwd=root)
        for archive in root.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, root / "files"],
                           check=True)
        shutil.move(root / "files", final)
    return final


def with_dependencies(names, architecture="amd64"):
    """The directory that holds the archives of these packages and of all that
    they depend on."""
    final = cache() / ("-".join(names) + "-all-" + architecture)
    if final.exists():
        return final
    with apt_root(architecture) as (root, options):
        apt("apt-get", *options, "install", "--yes", "--download-only", *names,
            cwd=root)
        archives = root / "cache/archives"
        shutil.rmtree(archives / "partial")
        (archives / "lock").unlink(missing_ok=True)
        shutil.move(archives, final)
    return final


def apt(*argv, cwd):
    done = subprocess.run(argv, cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError("%s: exit %d\n%s" % (
            argv[0], done.returncode, done.stdout[-2000:]))
    return done.stdout


def busybox(arch):
    """A static busybox for the architecture `arch` of a node."""
    if arch == os.uname().machine:
        root = pathlib.Path("/")
    else:
        root = package("busybox-static", {"x86_64": "amd64",
                                          "aarch64": "arm64"}[arch])
    for name in ("bin/busybox", "usr/bin/busybox"):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError("busybox-static is not installed")


def cloud_kernel():
    """The stock kernel that Debian makes for cloud machines (x86_64)."""
    return next((package("linux-image-cloud") / "boot").glob("vmlinuz-*"))
