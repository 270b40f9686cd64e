"""How nodes come: tokens, certificates, names, renewal, revocation."""

import json
import ssl
import time

import pytest

from hub import (Client, Node, Refused, issued, opened, openssl, token_parts,
                 zhub)


def test_enrolled_node_is_listed(hub, tmp_path):
    node = Node(hub, tmp_path, "n1", hub.token(
        "--place", "tokyo/rack3", "--label", "site=a"))
    assert node.id.startswith("n-") and len(node.id) == 16
    listed, = hub.operator.get("/v1/nodes")["nodes"]
    assert listed["id"] == node.id and listed["name"] == "n1"
    assert listed["place"] == "tokyo/rack3"
    assert listed["labels"] == {"site": "a"}
    assert listed["state"] == "offline"
    text = openssl("x509", "-in", node.directory / "chain.pem", "-noout",
                   "-ext", "subjectAltName,extendedKeyUsage").decode()
    assert "URI:zooid:///tokyo/rack3/n1" in text
    assert "TLS Web Client Authentication" in text


BAD_TOKENS = {
    "wrong secret": lambda t: {"secret": "x" * 43},
    "wrong id": lambda t: {"token": "0" * 16},
    "id that is a path": lambda t: {"token": "../node"},
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_token_is_refused(hub, tmp_path, name):
    token = hub.token()
    node = Node(hub, tmp_path, "n1", enrol=False)
    with pytest.raises(Refused) as refused:
        node.enrol(token, **BAD_TOKENS[name](token))
    assert refused.value.status == 403
    assert refused.value.error == "unknown token"
    assert "enrolment refused" in hub.said()
    assert hub.operator.get("/v1/nodes")["nodes"] == []


def test_used_token_is_refused_but_a_lost_reply_is_not(hub, tmp_path):
    token = hub.token()
    first = Node(hub, tmp_path, "n1", token)
    again = first.enrol(token)
    assert again["node"] == first.id, "the same key is the same node"
    other = Node(hub, tmp_path, "n2", enrol=False)
    with pytest.raises(Refused, match="used up") as refused:
        other.enrol(token)
    assert refused.value.status == 403


def test_token_counts_its_uses(hub, tmp_path):
    token = hub.token("--uses", "2")
    Node(hub, tmp_path, "n1", token)
    Node(hub, tmp_path, "n2", token)
    with pytest.raises(Refused, match="used up"):
        Node(hub, tmp_path, "n3", token)


def test_expired_token_is_refused(hub, tmp_path):
    made = hub.operator.ask("POST", "/v1/tokens", {"expires": 1})
    node = Node(hub, tmp_path, "n1", enrol=False)
    over = time.monotonic() + 2
    while time.monotonic() < over:  # only the clock makes it so
        hub.operator.get("/v1/tokens")
    with pytest.raises(Refused, match="expired"):
        node.enrol(made["token"])


def test_taken_name_is_refused_until_revoked(hub, tmp_path):
    first = Node(hub, tmp_path / "a", "n1")
    with pytest.raises(Refused) as refused:
        Node(hub, tmp_path / "b", "n1")
    assert refused.value.status == 409 and first.id in refused.value.error
    hub.operator.ask("POST", "/v1/nodes/n1/revoke")
    second = Node(hub, tmp_path / "c", "n1")
    assert second.id != first.id


@pytest.mark.parametrize("csr", [
    "", "not PEM", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
    "-----END CERTIFICATE REQUEST-----\n"])
def test_bad_request_for_a_certificate(hub, tmp_path, csr):
    node = Node(hub, tmp_path, "n1", enrol=False)
    with pytest.raises(Refused) as refused:
        node.enrol(hub.token(), csr=csr)
    assert refused.value.status == 400


def test_request_signed_by_another_key(hub, tmp_path):
    node = Node(hub, tmp_path, "n1", enrol=False)
    lines = node.csr.splitlines()
    last = lines[-2]
    lines[-2] = last[:-6] + ("B" if last[-6] != "B" else "C") + last[-5:]
    with pytest.raises(Refused) as refused:
        node.enrol(hub.token(), csr="\n".join(lines) + "\n")
    assert refused.value.status == 400


def test_revoked_node_is_refused_at_once(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    with node.watch() as watch:
        watch.document()
        hub.operator.ask("POST", "/v1/nodes/n1/revoke")
        with pytest.raises((ConnectionError, AssertionError, ssl.SSLError,
                            Exception)):
            while watch.frame(10):
                pass
            raise ConnectionError
    with pytest.raises(Refused, match="revoked"):
        node.watch()
    with pytest.raises(Refused, match="revoked"):
        node.client.ask("POST", "/v1/renew", {"csr": node.csr})


def test_renewal(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    before = (node.directory / "chain.pem").read_text()
    chain = node.client.ask("POST", "/v1/renew", {"csr": node.csr})["chain"]
    assert chain != before
    node.keep(chain)
    with node.watch() as watch:
        assert watch.document()["node"] == node.id


def test_outdated_certificate_may_only_renew(hub, tmp_path):
    node = Node(hub, tmp_path, "n1")
    node.keep(issued(hub, node.directory, node.csr, node.id, "-startdate",
                     "20200101000000Z", "-enddate", "20200201000000Z"))
    with pytest.raises(Refused, match="outdated"):
        node.watch()
    node.keep(node.client.ask("POST", "/v1/renew",
                              {"csr": node.csr})["chain"])
    with node.watch() as watch:
        assert watch.document()["name"] == "n1"


def test_certificate_of_another_authority(hub, tmp_path):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            tmp_path / "key", "-out", tmp_path / "cert", "-subj",
            "/CN=operator", "-addext",
            "subjectAltName=URI:zooid:///operator/operator")
    with pytest.raises((Refused, OSError)):
        Client(hub, tmp_path / "cert", tmp_path / "key").get("/v1/nodes")


def test_time_is_signed(hub):
    reply = hub.anyone().get("/v1/time?nonce=abc-123")
    said = opened(hub, json.dumps(reply), "time")
    assert said["nonce"] == "abc-123" and said["time"].endswith("Z")
    with pytest.raises(Refused):
        hub.anyone().get("/v1/time?nonce=%22")


def test_who_may_ask_what(hub, tmp_path):
    zhub("operator", "--dir", hub.directory, "--viewer", "eve")
    node, other = Node(hub, tmp_path, "n1"), Node(hub, tmp_path, "n2")
    viewer, anyone = hub.credential("eve"), hub.anyone()
    rows = [
        (anyone, "GET", "/v1/nodes", 401),
        (anyone, "GET", "/v1/nodes/%s/desired" % node.id, 401),
        (node.client, "GET", "/v1/nodes", 403),
        (node.client, "PUT", "/v1/apps/x", 403),
        (node.client, "POST", "/v1/tokens", 403),
        (node.client, "GET", "/v1/nodes/%s/desired" % other.id, 403),
        (node.client, "PUT", "/v1/nodes/%s/observed" % other.id, 403),
        (viewer, "PUT", "/v1/apps/x", 403),
        (viewer, "POST", "/v1/tokens", 403),
        (viewer, "POST", "/v1/nodes/n1/revoke", 403),
        (viewer, "POST", "/v1/renew", 403),
        (hub.operator, "GET", "/v1/nodes/%s/desired" % node.id, 403),
        (hub.operator, "GET", "/v1/nothing", 404),
        (hub.operator, "PATCH", "/v1/nodes", 405),
    ]
    for client, method, path, status in rows:
        with pytest.raises(Refused) as refused:
            client.ask(method, path, "{}" if method != "GET" else None)
        assert refused.value.status == status, (method, path)
    assert len(viewer.get("/v1/nodes")["nodes"]) == 2


def test_enrolled_before_sigkill_is_enrolled_after(hub, tmp_path):
    token = hub.token("--uses", "50")
    for n in range(5):
        node = Node(hub, tmp_path, "n%d" % n, token)
        hub.kill()
        hub.start()
        with node.watch() as watch:
            assert watch.document()["node"] == node.id
    uses, = [t["uses"] for t in hub.operator.get("/v1/tokens")["tokens"]
             if t["id"] == token_parts(token)["id"]]
    assert uses == 45
