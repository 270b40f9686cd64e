"""Fixtures of the hub's tests: real zhub processes on loopback."""

import contextlib

import pytest

from hub import Hub


@pytest.fixture
def hub(tmp_path):
    """A hub that serves, with the sanitizers in it."""
    with contextlib.closing(Hub(tmp_path / "hub")) as made:
        made.start()
        yield made
        made.stop()
