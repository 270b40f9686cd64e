"""Fixtures of the system tests."""

import contextlib
import pathlib
import random
import shutil
import tempfile

import pytest

from flakydisk import FlakyDisk
from zooid import Disk, Node, build, image, medium


@pytest.fixture
def rng():
    return random.Random(build.seed())


@pytest.fixture
def scratch():
    """A directory for media, gone afterwards (they are large)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="media-",
                                         dir=build.test_directory()))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def boot(request):
    """boot(**options of Node) -> a started node; ends them all."""
    with contextlib.ExitStack() as stack:
        count = 0

        def started(**options):
            nonlocal count
            count += 1
            name = request.node.name + ("-%d" % count if count > 1 else "")
            return stack.enter_context(Node(name, **options))
        yield started


@pytest.fixture
def flaky(scratch):
    """flaky(disk, **options) -> (FlakyDisk, Disk reached through it); `kind`
    is a class made from FlakyDisk."""
    with contextlib.ExitStack() as stack:
        def made(disk, seed=None, kind=FlakyDisk, **options):
            # Short: a path to a socket has at most 107 bytes.
            where = pathlib.Path(stack.enter_context(
                tempfile.TemporaryDirectory(prefix="zooid-")))
            server = stack.enter_context(kind(
                disk.path, where / "nbd", build.seed() if seed is None
                else seed, **options))
            return server, Disk(disk.path, nbd=where / "nbd")
        yield made


@pytest.fixture(scope="session")
def httpd():
    """The OCI layout of busybox httpd, made once a run."""
    return image.httpd()


@pytest.fixture
def node(boot, scratch, httpd):
    """One that serves the page and has the agent in it."""
    disk = medium.web(scratch / "disk", httpd)
    node = boot(disks=[disk], ports=[medium.WEB_PORT], agent=True)
    node.wait_ready()
    node.fetch(medium.WEB_PORT)
    return node
