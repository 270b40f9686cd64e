"""Credentials of operators: made, refused, revoked, outdated."""

import json
import re
import subprocess

import pytest

from hub import Client, Refused, issued, openssl, zhub


def operator(hub, *arguments, **more):
    return zhub("operator", "--dir", hub.directory, *arguments, **more)


@pytest.mark.parametrize("serving", [True, False])
def test_revoked_operator(hub, serving):
    """Refused at once; a new credential of the name is good at once, and so
    again and again, within one second."""
    operator(hub, "bob")
    old = []
    for _ in range(3):
        old.append(hub.credential("bob"))
        assert old[-1].get("/v1/nodes")["nodes"] == []
        if not serving:
            hub.stop()
        operator(hub, "--revoke", "bob")
        assert not list(hub.directory.glob("bob*"))
        operator(hub, "bob")
        if not serving:
            hub.start()
    for credential in old:
        with pytest.raises(Refused, match="revoked") as refused:
            credential.get("/v1/nodes")
        assert refused.value.status == 403
    assert hub.credential("bob").get("/v1/nodes")["nodes"] == []
    hub.operator.get("/v1/nodes")
    events = [json.loads(line) for line in
              hub.operator.get("/v1/events").splitlines()]
    assert [e["what"] for e in events if e.get("text") == "bob"] == [
        "operator made", *["operator revoked", "operator made"] * 3]


@pytest.mark.parametrize("serving", [True, False])
def test_nobody_is_revoked(hub, serving):
    if not serving:
        hub.stop()
    done = operator(hub, "--revoke", "nobody", check=False)
    assert done.returncode == 1 and "no operator nobody" in done.stderr
    operator(hub, "nobody")
    if not serving:
        hub.start()
    assert hub.credential("nobody").get("/v1/nodes")["nodes"] == []


def test_operator_of_a_hub_without_records(hub):
    """As older hubs made them."""
    operator(hub, "bob")
    bob = hub.credential("bob")
    hub.stop()
    for file in hub.directory.glob("store.db*"):
        file.unlink()
    hub.start()
    assert bob.get("/v1/nodes")["nodes"] == []
    operator(hub, "--revoke", "bob")
    with pytest.raises(Refused, match="revoked"):
        bob.get("/v1/nodes")


def test_credentials_are_not_replaced(hub):
    config = (hub.directory / "hub.json").read_bytes()
    for arguments in (["hub"], ["--viewer", "hub"], ["--revoke", "hub"]):
        done = operator(hub, *arguments, check=False)
        assert done.returncode == 2 and "hub.json" in done.stderr
    assert (hub.directory / "hub.json").read_bytes() == config
    before = (hub.directory / "operator.json").read_bytes()
    done = operator(hub, "operator", check=False)
    assert done.returncode == 1
    assert "zhub operator --revoke operator" in done.stderr
    assert (hub.directory / "operator.json").read_bytes() == before
    mine = hub.directory / "mine.json"
    mine.write_text("{}")
    assert operator(hub, "mine", check=False).returncode == 1
    assert operator(hub, "--revoke", "mine", check=False).returncode == 1
    assert mine.read_text() == "{}"


@pytest.mark.parametrize("kind, option", [("operator", ""),
                                          ("viewer", "--viewer ")])
def test_outdated_operator_is_told_what_to_do(hub, tmp_path, kind, option):
    key = tmp_path / "key"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    csr = openssl("req", "-new", "-key", key, "-subj", "/CN=bob").decode()
    for dates, said in (
            (["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"],
             "outdated: have `zhub operator %sbob` make another" % option),
            (["-startdate", "20900101000000Z", "-enddate", "20910101000000Z"],
             "not valid yet: the clock")):
        where = tmp_path / dates[1]
        where.mkdir()
        chain = where / "chain"
        chain.write_text(issued(hub, where, csr, "bob", *dates,
                                names="URI:zooid:///%s/bob" % kind))
        bob = Client(hub, chain, key)
        for _ in range(2):
            with pytest.raises(Refused, match=re.escape(said)) as refused:
                bob.get("/v1/nodes")
            assert refused.value.status == 403
        folder = hub.directory / "bob.d"
        folder.mkdir(exist_ok=True)
        (folder / "client.cert").write_text(chain.read_text())
        done = operator(hub, "bob", check=False)
        assert done.returncode == ("not valid" in said), done.stderr
        subprocess.run(["rm", "-rf", folder], check=True)
    (hub.directory / "bob.json").unlink()
