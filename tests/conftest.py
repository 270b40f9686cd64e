"""What holds for every Python test: a deadline each, and what a failure
tells."""

import fcntl
import itertools
import pathlib
import re
import signal
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "system"))

from zooid import build  # noqa: E402

DEADLINE_S = 180
TEARDOWN_S = 60
SHARE = 4  # tests
ALONE = re.compile("znode_host|react_host|app_node|test_zrun_serve")


class Overdue(Exception):
    """A test took longer than its own deadline allows."""


def pytest_addoption(parser):
    parser.addoption("--queue", metavar="FILE",
                     help="several processes with the same one share the tests")


def pytest_runtestloop(session):
    """With --queue, whoever is free takes the next tests: a few of one file,
    so that they share what its fixtures made."""
    queue = session.config.getoption("--queue")
    if not queue or session.testsfailed or session.config.option.collectonly:
        return None
    shares = []
    for path, items in itertools.groupby(session.items, lambda i: i.path):
        items, alone = list(items), runs_alone(path)
        shares += [(items[i:i + SHARE], alone)
                   for i in range(0, len(items), SHARE)]
    while taken := take([alone for _, alone in shares], queue):
        number, lock = taken
        run_share(session, shares[number][0])
        if lock:
            lock.close()
    return True


def run_share(session, items):
    for item, following in itertools.zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail or session.shouldstop:
            raise session.Interrupted(session.shouldfail or session.shouldstop)


def runs_alone(path):
    """Whether it runs `zrun serve` on this machine, on which there is one tree
    of cgroups: two containers of one name would be one to it."""
    return ALONE.search(path.name) or ALONE.search(path.read_text())


def lock_try(path):
    file = open(path, "ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def take(alone, queue):
    """(the number of a share that nobody took, what locks out others that run
    alone or None); None when all were taken."""
    while True:
        lock = lock_try(queue + ".alone")
        with open(queue, "a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            taken = set(map(int, file.read().split()))
            left = [n for n in range(len(alone)) if n not in taken]
            # Those first for which there may soon be somebody who waits.
            able = [n for n in left if lock and alone[n]] + \
                [n for n in left if not alone[n]]
            if able:
                file.write("%d\n" % able[0])
        if able and alone[able[0]]:
            return able[0], lock
        if lock:
            lock.close()
        if not left:
            return None
        if able:
            return able[0], None
        time.sleep(0.2)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "deadline(seconds): the test fails after that time, "
        "set-up included (default %d)" % DEADLINE_S)


def pytest_report_header():
    return "seed: ZOOID_TEST_SEED=%d, sizes: %s" % (
        build.seed(), "full" if build.FULL else "small")


class Deadline:
    """SIGALRM ends a phase of a test; with-blocks and fixtures still clean
    up, and get their own time for it."""

    def __init__(self, seconds, what):
        self.seconds, self.what = seconds, what

    def __enter__(self):
        signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _late(self, *_):
        raise Overdue("%s: %g s are over" % (self.what, self.seconds))


def deadline_s(item):
    mark = item.get_closest_marker("deadline")
    return mark.args[0] if mark else DEADLINE_S


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    with Deadline(deadline_s(item), "set-up of " + item.name):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    with Deadline(deadline_s(item), item.name):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    with Deadline(TEARDOWN_S, "teardown of " + item.name):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections.append(("again with", "ZOOID_TEST_SEED=%d, "
                                "serial logs in build/test/%s*" % (
                                    build.seed(), item.name)))
