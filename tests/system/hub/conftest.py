"""Fixtures of the hub's tests: real zhub and zagent processes on loopback."""

import contextlib

import pytest

from agent import Agent
from hub import Hub
from zooid import FULL

# Minutes each, on a busy machine: of `make test-all`.
collect_ignore = [] if FULL else ["test_colony_applications.py",
                                  "test_colony_wordpress.py"]


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
