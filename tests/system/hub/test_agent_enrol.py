"""How zagent enrols and stays enrolled: tokens, keys, certificates, clocks,
and a power switch at any moment."""

import base64
import contextlib
import datetime
import json
import random
import threading
import time

import pytest

from agent import until
from hub import Hub, issued, openssl, token_parts
from relay import Relay

REFUSALS = "zagent: hub: refused: "


def token_text(parts):
    data = json.dumps(parts).encode()
    return "zooid1." + base64.urlsafe_b64encode(data).decode().rstrip("=")


def changed(token, **changes):
    return token_text({**token_parts(token), **changes})


def refused(agent, reason):
    status = agent.wait_state("refused")
    assert reason in status["reason"], status
    # Once, however often it is tried.
    assert agent.said().count(REFUSALS) == 1, agent.said()
    assert not (agent.identity / "identity.json").exists()
    return status


def uses_left(hub, token):
    return [t["uses"] for t in hub.operator.get("/v1/tokens")["tokens"]
            if t["id"] == token_parts(token)["id"]]


def csr_of(key, where):
    """A request for the key that an identity holds."""
    path = where / "key.pem"
    path.write_text(key)
    return openssl("req", "-new", "-key", path, "-subj", "/CN=x").decode()


def test_secrets_are_kept_and_not_told(hub, agents):
    token = hub.token()
    agent = agents(token).start()
    agent.wait_state("connected")
    assert agent.identity.stat().st_mode & 0o777 == 0o700
    for file in agent.identity.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert not (agent.identity / "pending.json").exists()
    assert token not in agent.said()
    assert token_parts(token)["secret"] not in agent.said()
    assert "PRIVATE" not in agent.said()
    agent.stop()


def test_wrong_token(hub, agents):
    agent = agents(changed(hub.token(), secret="x" * 43)).start()
    refused(agent, "unknown token")
    agent.stop()


def test_used_token(hub, agents):
    token = hub.token()
    agents(token, "n1").start().wait_state("connected")
    refused(agents(token, "n2").start(), "used up")


def test_expired_token(hub, agents):
    token = hub.operator.ask("POST", "/v1/tokens", {"expires": 1})["token"]
    end = time.time() + 2
    until(lambda: time.time() > end)
    refused(agents(token).start(), "expired")


def test_taken_name_is_mended(hub, agents, tmp_path):
    agents(hub.token(), "n1").start().wait_state("connected")
    second = agents(hub.token(), "n1", folder="again").start()
    refused(second, "n1 is taken by node")
    hub.operator.ask("POST", "/v1/nodes/n1/revoke")
    second.wait_state("connected")
    second.stop()


def test_wrong_authority(hub, agents, tmp_path):
    with contextlib.closing(Hub(tmp_path / "other")) as other:
        other.start()
        token = changed(hub.token(), hub=["127.0.0.1:%d" % other.port])
        agent = agents(token).start()
        refused(agent, "pinned root")
        # The right hub is where it is again.
        other.stop()
        agent.stop()


def test_token_of_another_organism_enrols_anew(hub, agents, tmp_path):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    before = agent.kept()
    agent.stop()
    agent.start().wait_state("connected")
    assert agent.kept() == before, "the same token enrols once"
    agent.stop()
    with contextlib.closing(Hub(tmp_path / "other")) as other:
        other.start()
        agent.write(other.token())
        agent.start().wait_said("enrolling anew")
        agent.wait_state("connected")
        after = agent.kept()
        assert after["pin"] != before["pin"]
        assert after["key"] != before["key"]
        assert len(other.operator.get("/v1/nodes")["nodes"]) == 1
        agent.stop()
        other.stop()


def test_broken_node_json_keeps_the_hub(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.stop()
    (agent.directory / "boot/node.json").write_text('{\n"name": 7}')
    agent.start().wait_said("node.json:2: name: 7")
    agent.wait_state("connected")
    agent.stop()
    agent.write(None)
    agent.start()
    assert agent.status()["state"] == "no hub"


def test_hub_comes_later_than_the_node(hub, agents):
    token = hub.token()
    hub.stop()
    agent = agents(token).start()
    status = agent.wait_state("enrolling")
    agent.wait_said("hub: ")
    assert "refused" in agent.status()["reason"] and status["node"] == ""
    hub.start()
    agent.wait_state("connected", 12)


@pytest.mark.parametrize("who", ["agent", "hub"])
def test_killed_at_any_moment_of_enrolment(hub, agents, who, tmp_path):
    """Each node is enrolled once and one use is gone, whenever it was cut."""
    nodes = 8
    token = hub.token("--uses", str(nodes))
    dice = random.Random(7)
    for n in range(nodes):
        agent = agents(token, "n%d" % n).start()
        pause = threading.Event()
        for _ in range(3):
            pause.wait(dice.uniform(0, 0.12))  # where it is cut
            if who == "agent":
                agent.kill()
                agent.start()
            else:
                hub.kill()
                hub.start()
        agent.wait_state("connected")
        agent.stop()
    names = sorted(x["name"] for x in hub.operator.get("/v1/nodes")["nodes"])
    assert names == ["n%d" % n for n in range(nodes)]
    assert not any(uses_left(hub, token))


def renewed(agent, before):
    until(lambda: agent.kept()["chain"] != before)
    agent.wait_state("connected")


def exchange(hub, agent, tmp_path, start, end):
    """Gives a stopped agent a certificate with other dates."""
    kept = agent.kept()
    where = tmp_path / "issue"
    where.mkdir()
    kept["chain"] = issued(hub, where, csr_of(kept["key"], where),
                           kept["node"], "-startdate", start, "-enddate", end)
    (agent.identity / "identity.json").write_text(json.dumps(kept))
    return kept["chain"]


def test_renews_at_two_thirds(hub, agents, tmp_path):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.stop()
    old = exchange(hub, agent, tmp_path, dates(-60), dates(+5))
    agent.start().wait_said("certificate renewed")
    renewed(agent, old)
    agent.stop()


def dates(days):
    """A day from now as openssl(1) wants it."""
    day = datetime.datetime.utcnow() + datetime.timedelta(days=days)
    return day.strftime("%Y%m%d%H%M%SZ")


def test_certificate_that_expired_long_ago(hub, agents, tmp_path):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.stop()
    old = exchange(hub, agent, tmp_path, dates(-500), dates(-400))
    agent.start()
    renewed(agent, old)
    agent.wait_said("certificate renewed")
    agent.znode.wait(lambda z: z.documents)
    agent.stop()


def test_revoked_node_says_so(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    hub.operator.ask("POST", "/v1/nodes/n1/revoke")
    assert "revoked" in agent.wait_state("refused")["reason"]
    agent.stop()


def test_time_is_kept(hub, agents):
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    kept = agent.identity / "time"
    until(kept.exists)
    assert abs(int(kept.read_text()) - time.time()) < 60
    agent.stop()


def test_machine_whose_clock_is_far_off(hub, agents):
    """The latest known time lies in the future, so the clock seems to be
    behind; then every certificate seems outdated, and only the hub's
    signature helps."""
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.stop()
    kept = agent.kept()
    future = int(time.time()) + 400 * 86400
    (agent.identity / "time").write_text(str(future))
    (agent.identity / ".identity.json.1").write_text("cut")
    agent.start().wait_said("cannot be set")
    agent.wait_state("connected")
    assert agent.kept() == kept, "no need to renew"
    assert not (agent.identity / ".identity.json.1").exists()
    assert int((agent.identity / "time").read_text()) < future
    agent.stop()


def test_hub_with_a_certificate_of_tomorrow(hub, agents, tmp_path):
    """It is told, and costs no more than any hub that cannot be reached."""
    agent = agents(hub.token()).start()
    agent.wait_state("connected")
    agent.stop()
    hub.stop()
    keys = hub.directory / "keys"
    good = (keys / "server.pem").read_text()
    csr = openssl("req", "-new", "-key", keys / "server.key", "-subj",
                  "/CN=hub").decode()
    (tmp_path / "issue").mkdir()
    chain = issued(hub, tmp_path / "issue", csr, "hub", "-startdate",
                   dates(1), "-enddate", dates(300), use="serverAuth",
                   names="DNS:localhost,IP:127.0.0.1")
    (keys / "server.pem").write_text(
        chain[:chain.index((keys / "ca.pem").read_text())] if good.count("BEGIN") == 1
        else chain)
    hub.start()
    with Relay(("127.0.0.1", hub.port)) as relay:
        agent.redirect("127.0.0.1:%d" % relay.port)
        agent.start().wait_said("not valid yet")
        before = relay.connections
        end = time.monotonic() + 4
        until(lambda: time.monotonic() > end)
        assert relay.connections - before < 10
        assert agent.status()["state"] == "connecting"
        hub.stop()
        (keys / "server.pem").write_text(good)
        hub.start()
        agent.wait_state("connected", 12)
        agent.stop()
