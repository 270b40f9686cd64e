"""The operator's command against the real hub."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from hub import Hub, Node, zhub
from registry import push
from zctl import (AGAIN, FAILED, INTERRUPTED, REFUSED, USAGE, WAIT_S, ZCTL,
                  Obeying, Zctl)

SHOP = """\
name: shop
services:
  web:
    image: hub/web:1
    command: httpd -f -h "/the www"
    environment: {KEY: value, ANSWER: no}
    ports: ["8080:80"]
    restart: unless-stopped
"""


@pytest.fixture
def zctl(hub, tmp_path):
    return Zctl(hub.directory, tmp_path)


@pytest.fixture
def alone(tmp_path):
    """For what needs no hub."""
    return Zctl(tmp_path, tmp_path)


@pytest.fixture
def nodes(hub, tmp_path):
    """Makes nodes that obey."""
    with contextlib.ExitStack() as stack:
        yield lambda name, **states: stack.enter_context(
            contextlib.closing(Obeying(hub, tmp_path, name, **states)))


# ---- what is wanted, what is seen ----

def test_from_file_to_document(hub, zctl, tmp_path):
    node = Node(hub, tmp_path, "n1")
    digest = push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    assert zctl("apply", "--node", "n1") == [
        "shop: web: hub/web:1@" + digest[:19]]
    with node.watch(follow=False) as watch:
        app, = watch.document()["apps"]
    origin = app.pop("origin")
    assert origin["application"] == "shop" and origin["by"] == "operator"
    assert app == {
        "name": "web", "image": "hub/web:1", "digest": digest,
        "command": ["httpd", "-f", "-h", "/the www"],
        "environment": {"KEY": "value", "ANSWER": "no"},
        "ports": [{"host": 8080, "container": 80}],
        "restart": "unless-stopped"}
    node.observe({"name": "web", "state": "running", "restarts": 2,
                  "cpu_ms": 61500, "memory_bytes": 12 << 20,
                  "started": "2020-01-01T00:00:00Z", "container": "web-1"})
    head, row = zctl("ps")
    assert head.split() == ["NODE", "NAME", "IMAGE", "STATE", "AGE", "CPU",
                            "MEMORY", "RESTARTS"]
    # The node told and is not connected: the row says how old it is.
    assert re.fullmatch(r"n1 +web +hub/web:1 +running, \d+ s ago +\d+ d  1:01"
                        r"   12 MB         2", row), row
    row, = zctl.json("ps")["rows"]
    assert row["application"] == "shop" and row["restarts"] == 2
    assert "".join(zctl("apps", "shop")) == SHOP.replace("\n", "")
    assert zctl("rm", "shop") == []
    with node.watch(follow=False) as watch:
        assert watch.document()["apps"] == []
    assert zctl.fails("rm", "shop") == "shop: no application shop"


def test_token_lets_a_node_in(hub, zctl, tmp_path):
    token, = zctl("token", "create", "--uses", "2", "--expires", "1h",
                  "--place", "tokyo/rack3", "--label", "site=a")
    node = Node(hub, tmp_path, "n1", token)
    head, row = zctl("nodes")
    assert head.split() == ["NAME", "STATE", "SEEN", "CURRENT", "PLACE",
                            "BOARD", "LABELS", "ID"]
    assert row.split() == ["n1", "offline", "-", "no", "tokyo/rack3",
                           "x86_64", "site=a", node.id]
    listed, = zctl.json("token", "ls")["tokens"]
    assert listed["uses"] == 1
    assert zctl("token", "rm", listed["id"]) == []
    assert zctl.json("token", "ls")["tokens"] == []
    assert "no such thing" in zctl.fails("token", "rm", listed["id"])
    made = zctl.json("token", "create", "--registry")
    assert made["token"] and made["id"]


def test_revoked_node(hub, zctl, tmp_path):
    Node(hub, tmp_path, "n1")
    assert zctl("revoke", "n1") == []
    assert zctl("nodes")[1].split()[:2] == ["n1", "revoked"]
    assert "no node n1" in zctl.fails("revoke", "n1")


def test_lists(hub, zctl, nodes):
    node = nodes("n1")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1", "--wait")
    assert zctl("apps")[1].split()[:3] == ["shop", "n1", "web"]
    listed, = zctl.json("apps")["apps"]
    assert listed["name"] == "shop" and listed["apps"][0]["name"] == "web"
    assert zctl("images")[1].split()[:2] == ["hub/web", "1"]
    assert zctl.json("images")["images"][0]["repository"] == "web"
    listed, = zctl.json("nodes")["nodes"]
    assert listed["acknowledged"] == listed["desired"]
    row = zctl("nodes")[1].split()
    assert row[:2] == ["n1", "ready"] and row[4] == "yes"
    row = zctl("ps", "-a", "n1")[1].split()
    assert row[:5] == ["n1", "web", "shop", "hub/web:1", "running"]
    assert row[-2:] == ["8080:80", "c-1"]
    for wrong in ("n9", "", "N1", "n1,n2"):
        assert "no such node; see zctl nodes" in zctl.fails("ps", wrong)
    lines = zctl("events")
    assert any(re.search(r"n1/web +running$", line) for line in lines), lines
    events = [json.loads(line) for line in zctl("events", "-o", "json")]
    assert [e["what"] for e in events][-2:] == ["applied", "running"]
    last = zctl("events", "--since", events[-1]["revision"])
    assert last == []
    assert node.document["apps"][0]["name"] == "web"


def test_idle_rows_are_for_those_who_ask(hub, zctl, nodes):
    nodes("n1", web={"state": "image", "reason": "ended with 0"})
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1")
    deadline = time.monotonic() + WAIT_S
    while len(zctl("ps")) != 1:  # until the node told
        assert time.monotonic() < deadline
    assert "ended with 0" in zctl("ps", "-a")[1]


def test_strangers_cannot_write_on_the_terminal(hub, zctl, tmp_path):
    Node(hub, tmp_path, "n1").observe(
        {"name": "web", "state": "\x1b]0;title\x07run", "image": "a\nb"})
    out = "\n".join(zctl("ps"))
    assert "\x1b" not in out and "\x07" not in out
    assert "?]0;title?run" in out and "a?b" in out


# ---- apply ----

def test_wait_until_it_runs(hub, zctl, nodes):
    nodes("n1")
    nodes("n2")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    done = zctl.run("apply", "--node", "n1,n2", "--wait=30s")
    assert "zctl: shop: 2 of 2 run" in done.stderr
    done = zctl.run("apply", "--node", "*", "--wait=30s")
    assert "zctl: shop: 2 of 2 run" in done.stderr


def test_wait_tells_what_failed(hub, zctl, nodes):
    nodes("n1", web={"state": "failed", "reason": "no such program"})
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    done = zctl.run("apply", "--node", "n1", "--wait", code=FAILED)
    assert done.stderr.splitlines()[-1] == (
        "zctl: shop: web on n1 failed: no such program; see zctl logs n1/web")


def test_wait_is_no_longer_than_said(hub, zctl, nodes):
    nodes("n1", web={"state": "pulling"})
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    done = zctl.run("apply", "--node", "n1", "--wait=1s", code=AGAIN)
    assert "web on n1: pulling: not within the time" in done.stderr


def test_wait_tells_who_refuses(hub, zctl, nodes):
    nodes("n1").refusal = "signed by another key"
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    done = zctl.run("apply", "--node", "n1", "--wait=1s", code=AGAIN)
    assert done.stderr.splitlines()[-2:] == [
        "zctl: n1: refuses what is wanted of it: signed by another key",
        "zctl: shop: web on n1: being told: not within the time; it goes on "
        "without zctl"]


def test_wait_waits_for_no_dead_node(hub, zctl, nodes, tmp_path):
    nodes("n1")
    Node(hub, tmp_path, "n2")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    done = zctl.run("apply", "--node", "*", "--wait")
    assert "1 of 1 run, 1 on silent nodes" in done.stderr
    assert "they start when those come back" in done.stderr


def test_terminal_waits_by_itself(hub, zctl, nodes):
    nodes("n1")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    with zctl.terminal("apply", "--node", "n1") as terminal:
        assert b"1 of 1 run" in terminal.read(b"1 of 1 run\r\n")
        assert terminal.wait() == 0


def test_dry_run_changes_nothing(hub, zctl):
    path = zctl.compose(SHOP)
    hub.stop()  # nor is it asked
    body = json.loads(zctl.run("apply", "-f", path, "--node", "n1,n2",
                               "--node", "n3", "--dry-run").stdout)
    hub.start()
    assert body["nodes"] == ["n1", "n2", "n3"]
    assert body["apps"][0]["ports"] == [{"host": 8080, "container": 80}]
    assert zctl.json("apps")["apps"] == []


def test_bad_file_tells_all_and_leaves_nothing(hub, zctl, tmp_path):
    Node(hub, tmp_path, "n1")
    zctl.compose("services:\n  web:\n    image: hub/web\n    gpus: all\n"
                 "    restrat: no\n  db:\n    build: .\n")
    done = zctl.run("apply", "--node", "n1", code=FAILED)
    assert done.stderr.splitlines() == [
        "zctl: compose.yaml:4: services.web.gpus: no GPU is given by this "
        "yet: one that is a device of the node is, by devices:",
        "zctl: compose.yaml:5: services.web.restrat: no such key",
        "zctl: compose.yaml:7: services.db.build: nothing is built here; "
        "build it, send it with zctl push, and say image:"]
    assert zctl.json("apps")["apps"] == []


def test_names_of_applications(hub, zctl, tmp_path):
    zctl.compose("services: {web: {image: a}}")
    dry = ["apply", "--node", "n1", "--dry-run"]
    zctl(*dry)  # that of the folder is good enough
    folder = tmp_path / "My Shop.d"
    folder.mkdir()
    Node(hub, tmp_path, "n1")
    push(hub, "web", "1", b"layer")
    (folder / "compose.yml").write_text("services: {web: {image: hub/web:1}}")
    assert zctl("apply", "--node", "n1", cwd=folder)[0].startswith("myshopd:")
    zctl("apply", "--node", "n1", "-f", "-", "--name", "other", code=FAILED,
         input="services: {web: {image: hub/web:1}}")
    assert [a["name"] for a in zctl.json("apps")["apps"]] == ["myshopd"]
    assert "--name NAME" in zctl.fails(
        *dry, "-f", "-", code=USAGE, input="services: {web: {image: a}}")


def test_variables_come_from_the_environment(alone):
    alone.compose("services: {web: {image: \"hub/web:${TAG:-1}\", "
                 "environment: [MINE]}}")
    environment = {**alone.environment, "TAG": "2", "MINE": "x"}
    app, = json.loads(alone.run("apply", "--node", "n1", "--dry-run",
                               env=environment).stdout)["apps"]
    assert app["image"] == "hub/web:2" and app["environment"] == {"MINE": "x"}
    environment["MINE"] = "\udcff"
    assert "MINE is no UTF-8" in alone.fails(
        "apply", "--node", "n1", "--dry-run", env=environment)


# ---- what cannot be done ----

NOT_BUILT = ["tree", "run", "diff", "kill", "mv", "exec", "cp",
             "port-forward", "volumes", "update", "support-bundle"]


@pytest.mark.parametrize("verb", NOT_BUILT)
def test_verb_that_is_not_built(alone, verb):
    assert alone.fails(verb, "x", code=USAGE) == verb + ": not built yet"


BAD_USAGE = {
    ("frobnicate",): "frobnicate: no such command",
    ("ps", "--frob"): "--frob: no such option; see zctl ps --help",
    ("--frob", "ps"): "--frob: no such option",
    ("ps", "-x"): "-x: no such option",
    ("ps", "a", "b"): "usage: zctl ps [NODE]",
    ("ps", "-o", "yaml"): "--output: want json or table",
    ("ps", "-o"): "-o: a value is missing",
    ("logs",): "usage: zctl logs [NODE/]APP",
    ("logs", "-n", "many", "web"): "--lines: want a whole number",
    ("logs", "--since", "noon", "web"): "--since: want a time as 10m",
    ("devices",): "usage: zctl devices NODE",
    ("devices", "a/b"): "a/b: want a node",
    ("logs", "a/b/c"): "want NODE/APP",
    ("logs", "N1/web"): "want NODE/APP",
    ("freeze",): "usage: zctl freeze [NODE/]APP",
    ("wake", "a/b/c"): "want NODE/APP",
    ("rm",): "usage: zctl rm APPLICATION",
    ("rm", "a/b"): "no name",
    ("token",): "create, ls or rm what",
    ("token", "frob"): "create, ls or rm what",
    ("token", "create", "--expires", "soon"): "--expires: want a time",
    ("token", "create", "--expires", "0s"): "--expires: want a time",
    ("token", "create", "--label", "x"): "want KEY=VALUE",
    ("token", "rm"): "usage: zctl token rm ID",
    ("apply", "-f", "good.yaml"): "Give --node",
    ("apply", "-f", "good.yaml", "--node", "N 1"): "no name of a node",
    ("apply", "-f", "good.yaml", "--node", "n1,"): "no name of a node",
    ("apply", "-f", "good.yaml", "--node", "n1", "--name", "A b"):
        "A b: no name of an application",
    ("apply", "--node", "n1"): "compose.yaml: there is none here",
    ("apply", "--node", "n1", "--wait=x"): "--wait: want a time",
    ("push",): "usage: zctl push IMAGE",
    ("revoke",): "usage: zctl revoke NODE",
    ("top",): "top: needs a terminal",
    ("completion", "fish"): "want bash or zsh",
    ("help", "frob"): "frob: no such command",
    ("ps", "--timeout", "0"): "--timeout: want a time",
}


@pytest.mark.parametrize("arguments", BAD_USAGE)
def test_bad_usage_is_one_line(alone, arguments):
    alone.compose(SHOP, "good.yaml")
    line = alone.fails(*arguments, code=USAGE)
    assert BAD_USAGE[arguments] in line


BAD = {
    ("apply", "--node", "n1", "-f", "none.yaml"): "none.yaml: No such file",
    ("apply", "--node", "n1", "-f", "/"): "Is a directory",
    ("apply", "--node", "n1", "-f", "/dev/zero"): "larger than 256 KB",
    ("apply", "--node", "n1", "-f", "tab.yaml"): "tab.yaml:2:",
    ("apply", "--node", "n9", "-f", "good.yaml"): "shop: no node n9",
    ("apply", "--node", "n1", "-f", "good.yaml"):
        "shop: web: this hub has no image hub/web:1: push it first",
    ("logs", "nothing"): "nothing: no app of that name",
    ("logs", "n9/web"): "n9/web: no node n9",
    ("sleep", "n9/web"): "n9/web: no node n9",
    ("rm", "nothing"): "nothing: no application",
    ("apps", "nothing"): "nothing: no application",
    ("revoke", "n9"): "n9: no node n9",
    ("push", "nothing"): "nothing: No such file",
    ("push", "good.yaml"): "good.yaml: is no folder and no whole tar",
    ("push", "."): "is no OCI layout",
    ("token", "create", "--place", "A B"): "token: place: want ids",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line(hub, zctl, tmp_path, arguments):
    Node(hub, tmp_path, "n1")
    zctl.compose(SHOP, "good.yaml")
    zctl.compose("services:\n\tweb:\n", "tab.yaml")
    assert BAD[arguments] in zctl.fails(*arguments)
    assert zctl.json("apps")["apps"] == []


def test_help_of_every_command(alone):
    commands = [line.split("  ")[1] for line in alone("help")
                if line.startswith("  ")]
    assert len(commands) > 15
    for command in commands:
        words = command.split()
        words = words[:2] if words[0] == "token" else words[:1]
        text = alone(*words, "--help")
        assert text[0].startswith("usage: zctl " + " ".join(words))
        assert alone("help", *words) == text
    assert len([line for line in alone("token", "--help")
                if line.startswith("usage")]) == 3
    assert alone("--help") == alone("help")


def test_version(alone):
    line, = alone("version")
    assert line == "zctl " + alone.json("version")["version"]


# ---- the hub and the way to it ----

def test_hub_away_is_told_at_once(hub, zctl):
    hub.stop()
    start = time.monotonic()
    for command in ("ps", "nodes", "events"):
        line = zctl.fails(command, code=AGAIN)
        assert "hub: does not answer (localhost:%d" % hub.port in line
    assert time.monotonic() - start < 6
    hub.start()


def test_hub_that_says_nothing(zctl, tmp_path):
    credential = json.loads(open(zctl.environment["ZOOID_OPERATOR"]).read())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        credential["hub"] = ["127.0.0.1:%d" % silent.getsockname()[1]] * 2
        path = tmp_path / "silent.json"
        path.write_text(json.dumps(credential))
        path.chmod(0o600)
        start = time.monotonic()
        line = zctl.fails("ps", "--hub-file", path, "--timeout", "1s",
                          code=AGAIN)
    assert "did not answer in time" in line
    assert 2 <= time.monotonic() - start < 5


def test_every_address_is_tried(hub, zctl, tmp_path):
    credential = json.loads(open(zctl.environment["ZOOID_OPERATOR"]).read())
    credential["hub"].insert(0, "127.0.0.1:1")
    path = tmp_path / "two.json"
    path.write_text(json.dumps(credential))
    path.chmod(0o600)
    assert zctl("nodes", "--hub-file", path)


def test_hub_that_stops_in_the_middle(hub, zctl):
    hub.process.send_signal(signal.SIGSTOP)
    try:
        assert "did not answer in time" in zctl.fails(
            "ps", "--timeout", "1s", code=AGAIN)
    finally:
        hub.process.send_signal(signal.SIGCONT)


@pytest.fixture
def other(tmp_path):
    with contextlib.closing(Hub(tmp_path / "other")) as made:
        yield made


def test_hub_of_another_organism(hub, zctl, other, tmp_path):
    mixed = json.loads((other.directory / "operator.json").read_text())
    mixed["hub"] = ["localhost:%d" % hub.port]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(mixed))
    path.chmod(0o600)
    line = zctl.fails("ps", "--hub-file", path)
    assert "the hub is another one than" in line


def test_operator_of_another_organism(hub, zctl, other, tmp_path):
    mixed = json.loads((hub.directory / "operator.json").read_text())
    theirs = json.loads((other.directory / "operator.json").read_text())
    mixed["key"], mixed["chain"] = theirs["key"], theirs["chain"]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(mixed))
    path.chmod(0o600)
    line = zctl.fails("ps", "--hub-file", path, code=REFUSED)
    assert "does not take the certificate" in line


def test_who_is_refused_is_told_why(hub, other, tmp_path):
    """Also who sends more after the certificate: a close with that unread
    would be a reset, and an error to whoever writes before he reads."""
    theirs = json.loads((other.directory / "operator.json").read_text())
    pem = tmp_path / "theirs.pem"
    pem.write_text(theirs["key"] + theirs["chain"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(pem)
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(came, goes)
    with socket.create_connection(("127.0.0.1", hub.port), 20) as sock:
        done = False
        while not done:
            try:
                tls.do_handshake()
                tls.write(b"GET /v1/nodes HTTP/1.1\r\nHost: hub\r\n\r\n")
                done = True
            except ssl.SSLWantReadError:
                pass
            sock.sendall(goes.read())
            if not done:
                came.write(sock.recv(65536))
        for _ in range(20):
            tls.write(b"X-More: 1\r\n")
            sock.sendall(goes.read())
            time.sleep(0.01)
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.read(1000)
                came.write(sock.recv(65536) or pytest.fail("no alert"))


def test_viewer_may_only_look(hub, zctl, tmp_path):
    zhub("operator", "--dir", hub.directory, "--viewer", "eve")
    eve = Zctl(hub.directory, tmp_path, "eve")
    Node(hub, tmp_path, "n1")
    eve.compose(SHOP)
    assert len(eve("nodes")) == 2
    for arguments in (["rm", "shop"], ["apply", "--node", "n1"],
                      ["token", "create"], ["revoke", "n1"]):
        assert "refused by the hub" in eve.fails(*arguments, code=REFUSED)
    assert zctl("nodes")[1].split()[1] == "offline"


# ---- credentials ----

def test_where_the_credential_is(hub, zctl, tmp_path):
    home = tmp_path / "home/.config/zooid"
    home.mkdir(parents=True)
    said = zctl.environment.pop("ZOOID_OPERATOR")
    zctl.environment["HOME"] = str(tmp_path / "home")
    assert "home/.config/zooid/operator.json: No such file" in zctl.fails(
        "nodes")
    (home / "operator.json").write_bytes(open(said, "rb").read())
    (home / "operator.json").chmod(0o600)
    assert zctl("nodes")
    zctl.environment["ZOOID_HUB"] = str(tmp_path)
    assert str(tmp_path / "operator.json") in zctl.fails("nodes")
    zctl.environment["ZOOID_HUB"] = str(hub.directory)
    assert zctl("nodes")
    zctl.environment["ZOOID_OPERATOR"] = "/nowhere"
    assert "/nowhere: No such file" in zctl.fails("nodes")
    assert zctl("nodes", "--hub-file", said)
    assert zctl("--hub-file", said, "nodes")


def test_key_that_others_may_read(zctl, tmp_path):
    path = tmp_path / "open.json"
    path.write_bytes(open(zctl.environment["ZOOID_OPERATOR"], "rb").read())
    path.chmod(0o644)
    done = zctl.run("nodes", "--hub-file", path)
    assert "others may read this key (mode 644); run chmod 600" in done.stderr


BROKEN = {
    "no JSON": lambda c: "{",
    "a list": lambda c: "[]",
    "no hub": lambda c: json.dumps({**c, "hub": []}),
    "hub of numbers": lambda c: json.dumps({**c, "hub": [1]}),
    "short pin": lambda c: json.dumps({**c, "pin": "ab"}),
    "no key": lambda c: json.dumps({**c, "key": "PEM"}),
    "no chain": lambda c: json.dumps({**c, "chain": None}),
    "chain that is none": lambda c: json.dumps({**c, "chain": "x"}),
    "hub without a port": lambda c: json.dumps({**c, "hub": ["a b"]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_credential(zctl, tmp_path, name):
    good = json.loads(open(zctl.environment["ZOOID_OPERATOR"]).read())
    path = tmp_path / "broken.json"
    path.write_text(BROKEN[name](good))
    path.chmod(0o600)
    code = AGAIN if name == "hub without a port" else FAILED
    assert zctl.fails("nodes", "--hub-file", path, code=code)


# ---- what goes on ----

def interrupt(child, code=INTERRUPTED):
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=WAIT_S)
    assert child.returncode == code and err == "", (child.returncode, err)
    return out


def test_events_as_they_happen(hub, zctl, tmp_path):
    child = zctl.start("events", "-f")
    Node(hub, tmp_path, "n1")
    while "enrolled" not in child.stdout.readline():
        pass
    interrupt(child)


def test_events_end_with_the_hub(hub, zctl):
    child = zctl.start("events", "-f")
    hub.token()
    assert "token made" in child.stdout.readline()
    hub.kill()
    _, err = child.communicate(timeout=WAIT_S)
    assert child.returncode == AGAIN and len(err.splitlines()) == 1, err
    hub.start()


def test_logs(hub, zctl, nodes):
    node = nodes("n1")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1", "--wait")
    assert zctl("logs", "web") == ["one", "two"]
    assert zctl("logs", "-n", "5", "n1/web") == ["one", "two"]
    assert zctl("logs", "--tail", "5", "n1/web") == ["one", "two"]
    zctl("logs", "--since", "2026-11-26T20:00:00+01:00", "web")
    assert node.asks[-1]["since"] == "2026-11-26T20:00:00+01:00"
    assert node.asks[-1]["lines"] == 100000
    zctl("logs", "--since", "1h30m", "--tail", "7", "web")
    assert node.asks[-1]["since"] == "1h30m" and node.asks[-1]["lines"] == 7
    child = zctl.start("logs", "-f", "web")
    assert child.stdout.readline() == "one\n"
    assert child.stdout.readline() == "two\n"
    interrupt(child)
    node.hold.set()


def test_devices(hub, zctl, nodes):
    node = nodes("n1")
    told = {"devices": [{"device": "/dev/ttyUSB0",
                         "by_id": "/dev/serial/by-id/usb-a",
                         "by_path": ""}]}
    node.log = json.dumps(told).encode()
    assert [line.split() for line in zctl("devices", "n1")] == [
        ["DEVICE", "BY-ID", "BY-PATH"],
        ["/dev/ttyUSB0", "/dev/serial/by-id/usb-a", "-"]]
    assert zctl.json("devices", "n1") == told
    assert node.asks[-1]["verb"] == "devices"
    assert "no node n9" in zctl.fails("devices", "n9")


def test_node_says_why_there_is_no_log(hub, zctl, nodes):
    node = nodes("n1")
    node.log, node.log_status = b"nope: nobody here has a log\n", 404
    assert zctl.fails("logs", "n1/nope") == (
        "n1/nope: nope: nobody here has a log")
    node.log = b"\x1b[2J\n"
    assert zctl.fails("logs", "n1/nope") == "n1/nope: the hub answers 404"


@pytest.mark.parametrize("words", [["nodes"], ["ps", "-o", "json"], ["help"],
                                   ["--version"], ["events"]])
def test_output_that_cannot_be_written(hub, zctl, words):
    hub.token()
    with open("/dev/full", "w") as full:
        done = subprocess.run([ZCTL, *words], env=zctl.environment,
                              stdout=full, stderr=subprocess.PIPE, text=True)
    # Of events what failed may be known no more.
    unknown = ["Input/output error"] * (words == ["events"])
    said = "zctl: standard output: %s\n"
    assert done.returncode == FAILED
    assert done.stderr in [said % why for why in [
        "No space left on device", *unknown]]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", ZCTL, *words],
        env=zctl.environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED
    assert done.stderr in [said % why for why in [
        "Bad file descriptor", *unknown]]


def test_version(zctl):
    assert zctl("--version") == zctl("version")


def test_logs_of_two_nodes(hub, zctl, nodes):
    nodes("n1")
    nodes("n2")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "*", "--wait")
    assert zctl.fails("logs", "web") == (
        "web: is on 2 nodes; say which: NODE/web")
    assert zctl("logs", "n2/web") == ["one", "two"]


def test_logs_of_a_dead_node(hub, zctl, tmp_path):
    Node(hub, tmp_path, "n1")
    assert "not connected" in zctl.fails("logs", "n1/web", code=AGAIN)


def test_logs_cannot_command_a_terminal(hub, zctl, nodes):
    node = nodes("n1")
    node.log = b"a\x1b[31mred\x1b[0m \x1b]0;x\x07\x1b[2Jb\x9b\x08\tc\nend\n"
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1", "--wait")
    with zctl.terminal("logs", "web") as terminal:
        assert terminal.wait() == 0
        seen = terminal.read(b"end")
    assert b"a\x1b[31mred\x1b[0m" in seen
    assert b"\x1b]" not in seen and b"\x1b[2J" not in seen
    assert b"\x07" not in seen and b"\x08" not in seen


def test_top(hub, zctl, nodes):
    nodes("n1")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1", "--wait")
    for keys, code in ((b"q", 0), (b"\x03", 0)):
        with zctl.terminal("top") as terminal:
            before = subprocess.run(
                ["stty", "-a", "-F", terminal.before], check=True,
                capture_output=True).stdout
            seen = terminal.read(b"RESTARTS")
            assert b"nodes: 1 ready" in seen and b"hub/web:1" in \
                terminal.read(b"hub/web:1")
            if keys == b"q":
                terminal.type(keys)
            else:
                terminal.process.send_signal(signal.SIGINT)
            assert terminal.wait() == code
            assert terminal.seen.endswith(b"\x1b[?25h\x1b[?1049l")
            after = subprocess.run(
                ["stty", "-a", "-F", terminal.before], check=True,
                capture_output=True).stdout
            assert b"icanon" in after and b"-icanon" not in after
            assert b" echo " in after and before != b""


def test_top_outlives_the_hub(hub, zctl, nodes):
    nodes("n1")
    with zctl.terminal("top") as terminal:
        terminal.read(b"nodes: 1 ready")
        hub.kill()
        terminal.read(b"the hub is silent for")
        hub.start()
        terminal.seen = b""
        terminal.read(b"nodes: 0 ready, 0 stale, 1 offline")
        terminal.type(b"q")
        assert terminal.wait() == 0


def test_colours_only_where_they_are_wanted(hub, zctl, nodes):
    nodes("n1")
    for environment, colored in (({}, True), ({"NO_COLOR": "1"}, False),
                                 ({"TERM": "dumb"}, False)):
        with zctl.terminal("nodes", **environment) as terminal:
            assert terminal.wait() == 0
            assert (b"\x1b[" in terminal.read(b"n1")) == colored
    assert "\x1b" not in "".join(zctl("nodes"))


# ---- completion ----

def completed(zctl, shell, *words):
    if shell == "bash":
        script = (
            'source <(%(zctl)s completion bash); COMP_WORDS=("$@"); '
            'COMP_CWORD=$(($# - 1)); _zctl; printf "%%s\\n" '
            '"${COMPREPLY[@]}"')
    else:
        script = (
            'compdef() { :; }; _files() { :; }; '
            'compadd() { shift; print -l -- "$@"; }; '
            'source <(%(zctl)s completion zsh); words=("$@"); CURRENT=$#; '
            '_zctl')
    from zctl import ZCTL
    environment = {**zctl.environment, "PATH": "%s:%s" % (
        ZCTL.parent, os.environ["PATH"])}
    done = subprocess.run(
        [shell, "-c", script % {"zctl": ZCTL}, shell, "zctl", *words],
        check=True, text=True, capture_output=True, env=environment)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(hub, zctl, nodes, shell):
    nodes("n1")
    nodes("other")
    push(hub, "web", "1", b"layer")
    zctl.compose(SHOP)
    zctl("apply", "--node", "n1", "--wait")
    assert completed(zctl, shell, "ap") == ["apply", "apps"]
    assert completed(zctl, shell, "token", "") == ["create", "ls", "rm"]
    assert completed(zctl, shell, "apply", "--no") == ["--node"]
    assert completed(zctl, shell, "ps", "-o", "j") == ["json"]
    assert sorted(completed(zctl, shell, "ps", "")) == ["n1", "other"]
    assert completed(zctl, shell, "revoke", "o") == ["other"]
    assert completed(zctl, shell, "apply", "--node", "n1,o") == ["n1,other"]
    assert completed(zctl, shell, "rm", "") == ["shop"]
    assert completed(zctl, shell, "logs", "-f", "") == ["web", "n1/web"]
    assert completed(zctl, shell, "help", "log") == ["logs"]
    assert completed(zctl, shell, "completion", "") == ["bash", "zsh"]
    assert completed(zctl, shell, "push", "x") == []
    hub.process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    assert completed(zctl, shell, "ps", "") == []
    assert time.monotonic() - start < 5
    hub.process.send_signal(signal.SIGCONT)
