"""Fixtures of the hub's tests: real zhub and zagent processes on loopback."""

import contextlib

import pytest

from agent import Agent
from hub import Hub
from zooid import FULL

# Minutes each, on a busy machine: of `make test-all`. In one of several hundred
# cuts test_store_cuts reads EIO from /data: open, and no test that others wait
# for until its cause is known.
collect_ignore = [] if FULL else ["test_colony_applications.py",
                                  "test_colony_wordpress.py",
                                  "test_store_cuts.py"]


@pytest.fixture
def hub(tmp_path):
    """A hub that serves, with the sanitizers in it."""
    with contextlib.closing(Hub(tmp_path / "hub")) as made:
        made.start()
        yield made
        made.stop()


@pytest.fixture
def agents(tmp_path):
    """Makes agents, with the sanitizers in them, and ends them."""
    with contextlib.ExitStack() as stack:
        def make(token, name="n1", **more):
            agent = Agent(tmp_path, token, name, **more)
            stack.callback(agent.close)
            return agent
        yield make
