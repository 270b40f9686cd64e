"""The guards that the tests of escapes name: there is one each, and it is
where they say. Who moves a guard tells its test."""

import inspect
import re

import pytest

import test_escape_mounts
import test_escape_process
from oci import TOP

TESTS = [test for module in (test_escape_mounts, test_escape_process)
         for name, test in inspect.getmembers(module, inspect.isfunction)
         if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS, ids=lambda t: t.__name__)
def test_guard_is_there(test):
    named = re.findall(r"((?:init|runtime)/[\w/]+\.c)(?:,\s+([a-z]\w+))?",
                       test.__doc__.split("Guard", 1)[1])
    assert named
    for path, function in named:
        text = (TOP / path).read_text()
        assert not function or re.search(r"\b%s\(" % function, text)
