"""Fixtures of the conformance tests, and what `table` reads."""

import json
import os

import pytest

import oci


def pytest_addoption(parser):
    parser.addoption("--results", metavar="FILE",
                     help="a JSON line there for each test of the "
                     "specification")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "spec(section): the part of the OCI runtime specification "
        "a test is of")


@pytest.fixture(scope="session")
def view():
    assert os.getuid() == 0, "these tests need root"
    made = oci.View()
    yield made
    made.close()


@pytest.fixture
def bundle_of(tmp_path, view):
    """bundle_of(name) -> a Bundle; all their containers are deleted."""
    made = []

    def make(name="bundle"):
        (tmp_path / name).mkdir()
        made.append(oci.Bundle(tmp_path / name, view))
        return made[-1]
    yield make
    for bundle in made:
        bundle.clean()


@pytest.fixture
def bundle(bundle_of):
    return bundle_of()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    file = item.config.getoption("--results")
    mark = item.get_closest_marker("spec")
    if not file or not mark or report.passed and report.when != "call":
        return
    with open(file, "a") as out:
        print(json.dumps({
            "test": "%s::%s" % (item.path.name, item.name),
            "section": mark.args[0],
            "passed": report.passed,
            "why": "" if report.passed else str(call.excinfo.value)[:200],
        }), file=out)
