"""What holds for every Python test: a deadline each, and what a failure
tells."""

import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "system"))

from zooid import build  # noqa: E402

DEADLINE_S = 180
TEARDOWN_S = 60


class Overdue(Exception):
    """A test took longer than its own deadline allows."""


def pytest_addoption(parser):
    parser.addoption("--part", default="0/1", metavar="I/N",
                     help="only every N-th test, from the I-th on")


def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("--part").split("/"))
    items[:] = items[part::parts]


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
