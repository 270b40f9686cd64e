"""zagent against a real hub: enrolment, documents, reports."""

import contextlib

import pytest

from agent import Agent, until


@pytest.fixture
def agents(tmp_path):
    """Makes agents and ends them."""
    with contextlib.ExitStack() as stack:
        def make(token, name="n1", **more):
            agent = Agent(tmp_path, token, name, **more)
            stack.callback(agent.close)
            return agent
        yield make


def listed(hub, name="n1"):
    nodes = hub.operator.get("/v1/nodes")["nodes"]
    return next((n for n in nodes if n["name"] == name), {})


def put(hub, name, nodes, *apps):
    return hub.operator.ask("PUT", "/v1/apps/" + name, {
        "nodes": nodes, "apps": list(apps)})


def web(**changes):
    return {"name": "web", "image": "hub/web:1",
            "digest": "sha256:" + "ab" * 32, **changes}


def test_enrols_obeys_and_tells(hub, agents):
    agent = agents(hub.token()).start()
    status = agent.wait_state("connected")
    assert status["name"] == "n1" and status["node"].startswith("n-")
    agent.znode.wait(lambda z: z.documents)
    put(hub, "shop", ["n1"], web())
    agent.znode.wait(lambda z: z.documents[-1]["apps"])
    until(lambda: listed(hub)["acknowledged"] == listed(hub)["desired"])
    agent.znode.row("web", "running", restarts=3, cpu_ms=7)
    until(lambda: hub.operator.get("/v1/ps")["rows"][0]["state"] == "running")
    row, = hub.operator.get("/v1/ps")["rows"]
    assert row["restarts"] == 3 and row["cpu_ms"] == 7
    facts = listed(hub)["facts"]
    assert facts["arch"] in ("amd64", "arm64") and facts["cpus"] > 0
    assert facts["memory_total"] > facts["memory_available"] > 0
    agent.stop()
